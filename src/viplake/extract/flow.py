"""I/O (it waits; it reads and writes nothing). How much at once: bytes in memory, lanes, retries a second.

Every part is a plain number with a queue of waiters behind it, fair (first come, first served) and safe to
cancel. None of them knows what the numbers are for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_ONE_HALVING_A_SECOND: Final = 1.0
"""Errors of one moment have one reason: forty files that meet it halve the lanes once, not forty times."""


class ByteBudget:
    """Bytes that may be in memory at the same time.

    Args:
        size: bytes.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, amount: int) -> AsyncIterator[None]:
        """Wait for so many bytes and reserve them; a request for more than the budget gets all of it."""
        share = min(amount, self._size)
        await self._acquire(share)
        try:
            yield
        finally:
            self._release(share)

    async def _acquire(self, share: int) -> None:
        if not self._waiting and share <= self._free:
            self._free -= share
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (share, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release(share)  # it had been granted in the same moment
            else:
                self._waiting.remove(entry)
                self._grant()
            raise

    def _release(self, share: int) -> None:
        self._free += share
        self._grant()

    def _grant(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            share, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= share
                turn.set_result(None)


class Lanes:
    """Requests side by side: halved when the other end is in trouble, widened by one a full round without any.

    Additive increase, multiplicative decrease: what TCP does for the same reason (RFC 5681).

    Args:
        most: with how many it begins, and never more.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._narrowed = float("-inf")

    @property
    def limit(self) -> int:
        """Return the present limit."""
        return int(self._limit)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Wait for a free lane and keep it meanwhile."""
        await self._acquire()
        try:
            yield
        finally:
            self._release()

    def narrow(self, now: float) -> None:
        """Halve what is in use.

        Args:
            now: seconds on a clock that does not jump.
        """
        if now - self._narrowed >= _ONE_HALVING_A_SECOND:
            self._narrowed = now
            self._limit = max(1.0, min(self._limit, self._busy + 1) / 2)

    def widen(self) -> None:
        """A request went well."""
        self._limit = min(float(self._most), self._limit + 1 / self._limit)
        self._grant()

    async def _acquire(self) -> None:
        if not self._waiting and self._busy < self.limit:
            self._busy += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release()  # it had been granted in the same moment
            else:
                self._waiting.remove(turn)
            raise

    def _release(self) -> None:
        self._busy -= 1
        self._grant()

    def _grant(self) -> None:
        while self._waiting and self._busy < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._busy += 1
                turn.set_result(None)


class RetryTokens:
    """A token bucket for retries: each takes one, time and success bring them back, so an outage is no storm.

    Args:
        most: retries that may come at once.
        per_second: how fast they come back by themselves.
        now: seconds on a clock that does not jump.
    """

    def __init__(self, most: float, per_second: float, now: float) -> None:
        self._most = most
        self._per_second = per_second
        self._level = most
        self._at = now

    def in_debt(self, now: float) -> bool:
        """Whether more were taken than there are: the time for all who would begin something to wait too."""
        self._refill(now)
        return self._level < 0

    def take(self, now: float) -> float:
        """Take one; the seconds to wait until it is there."""
        self._refill(now)
        self._level -= 1
        return max(0.0, -self._level / self._per_second)

    def _refill(self, now: float) -> None:
        self._level = min(self._most, self._level + (now - self._at) * self._per_second)
        self._at = now

    def earn(self) -> None:
        """Something went well: one comes back."""
        self._level = min(self._most, self._level + 1)


class ReaderGone(Exception):
    """The reader of the pipe has ended: no more data is needed."""


class Pipe:
    """Hands blocks from one task to another, one at a time: the sender waits while a block is in it."""

    def __init__(self) -> None:
        self._blocks: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
        self._error: Exception | None = None
        self._gone = False
        self._ended = False

    async def send(self, block: bytes) -> None:
        """Pass a block to the reader.

        Raises:
            ReaderGone: the reader has ended.
        """
        if not self._gone:
            await self._blocks.put(block)
        if self._gone:
            raise ReaderGone

    async def end(self) -> None:
        """Mark the end of the input."""
        if not self._gone:
            await self._blocks.put(None)

    def abort(self, error: Exception) -> None:
        """There will be no more, and what came is not to be used: the reader gets this error."""
        self._error = error
        self._empty()
        self._blocks.put_nowait(None)

    def leave(self) -> None:
        """Mark the reader as ended and wake a waiting sender."""
        self._gone = True
        self._empty()

    def _empty(self) -> None:
        while not self._blocks.empty():
            self._blocks.get_nowait()

    def __aiter__(self) -> Pipe:
        """The blocks, for one reader."""
        return self

    async def __anext__(self) -> bytes:
        """The next block; the error of `abort`, where there was one."""
        block = None if self._ended else await self._blocks.get()
        if self._error is not None:
            raise self._error
        if block is None:
            self._ended = True
            raise StopAsyncIteration
        return block
