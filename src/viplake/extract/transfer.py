"""I/O. Lands the promised files: from the vendor's storage into the lake, in flat memory, each verified in flight.

A file costs one GET and one PUT when nothing fails, and nothing is kept on disk. Small files are held whole, so
that one request stores them; large ones pass through in parts, and a connection that breaks is resumed inside
the stream, so that the upload never notices. What to do after which error is a table (`recovery`, pure);
all else here is moving bytes. A file becomes visible only after its last byte was counted and its MD5 compared; where
the source gives no MD5, the CRC32s of a gzip body take its place.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter, deque
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog

from viplake.errors import DamagedUpload, LakeError, NetworkError, VendorError, ViplakeError, describe
from viplake.extract.flow import ByteBudget, Lanes, Pipe, ReaderGone, RetryTokens
from viplake.extract.recovery import LISTS_A_FILE, OtherSize, Recovery, kind_of, next_step
from viplake.lake.store import PART_BYTES, PARTS_AT_ONCE
from viplake.model import ProvenFile, StoredFile
from viplake.network.retry import pause
from viplake.redact import redact
from viplake.tables.gunzip import GzipWitness
from viplake.vendor.port import LinkExpired

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from viplake.clock import Clock
    from viplake.lake.store import Store
    from viplake.model import PromisedFile
    from viplake.vendor.port import Download, ListedFile, Vendor

    Sink: TypeAlias = Callable[[bytes], Awaitable[None]]

log = structlog.get_logger(__name__)

BLOCK_BYTES: Final = 1 << 20
"""Chunks from the socket are joined up to this size: one hop into the store, and one into a thread, a MiB."""

INLINE_BYTES: Final = 256 << 10
"""Blocks below are hashed on the event loop: 0.4 ms at 600 MB/s of MD5, no more than the hop to a thread."""

INLINE_GZIP_BYTES: Final = 16 << 10
"""Likewise where a block is unpacked too: ten times as many bytes come out, at about 400 MB/s."""

RETRIES_AT_ONCE: Final = 100
RETRIES_PER_SECOND: Final = 4.0
"""A cut on many files passes at once, an outage costs four requests a second at most: a thousandth of what S3
takes on one prefix (Amazon S3 User Guide, "Optimizing performance": 5,500 a second)."""

DRIP_SECONDS: Final = 60.0
DRIP_BYTES: Final = 60 * 1024
"""A connection that gave less than 1 KiB/s over a minute of waiting for it is dropped and resumed."""

FRESH_SECONDS: Final = 10.0
"""A list this young is not requested again: the vendor would return the same."""

_HEARTBEAT_SECONDS: Final = 0.25
"""How often (on the wall) the deadline is looked at while nothing else happens."""

_ABORT_SECONDS: Final = 5.0
"""How long a store may take to throw an unfinished upload away, before it is left alone."""


@dataclass(frozen=True, slots=True)
class TransferSettings:
    """Limits on concurrency and memory.

    Attributes:
        files_at_once: files side by side. 2,000 small files of 25 ms a response wait 1.6 s with 64, 2.1 s with 48.
        bytes_in_flight: bytes of all files that may be in memory. With 32 MiB the process stays below 130 MB;
            1 GB in 600 files took no longer than with 48, and a third longer with 24 (measured on loopback).
        whole_below: files up to this many bytes are held whole and stored by one request; larger ones pass
            through in parts.
    """

    files_at_once: int = 64
    bytes_in_flight: int = 32 << 20
    whole_below: int = 4 << 20


@dataclass(frozen=True, slots=True)
class Landed:
    """The result of a transfer.

    Attributes:
        proven: the files that are stored now and were verified in flight, in the order in which they were wanted.
        failed: the reason for each file that did not land, by name.
    """

    proven: tuple[ProvenFile, ...]
    failed: Mapping[str, ViplakeError]


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a transfer.

    Attributes:
        files: stored and verified.
        bytes: arrived, those of unfinished files included; never fewer than before.
    """

    files: int
    bytes: int


def _silent(_progress: Progress) -> None:
    """Report no progress."""


async def land(
    wanted: Sequence[PromisedFile],
    *,
    listed: Sequence[ListedFile],
    relist: Callable[[], Awaitable[Sequence[ListedFile]]],
    vendor: Vendor,
    store: Store,
    folder: str,
    clock: Clock,
    deadline: float,
    settings: TransferSettings | None = None,
    rng: random.Random | None = None,
    on_progress: Callable[[Progress], None] = _silent,
) -> Landed:
    """Store each wanted file below `folder` under its name, and prove it.

    Args:
        wanted: what is promised and not stored yet; names distinct.
        listed: where to fetch it, as last listed; may lack files (then the list is requested again).
        relist: asks for the list with fresh links.
        vendor: to download from.
        store: where to write.
        folder: the Hour's, with its closing slash.
        clock: measures the deadline, sleeps between attempts.
        deadline: on `clock.monotonic()`; what has not landed by then has failed.
        settings: how much at once.
        rng: jitter.
        on_progress: called as files and bytes grow.

    Raises:
        LakeError: the lake cannot be written, and another attempt would not help; nothing more was tried.
        CredentialsError: the vendor refuses the request for new links.
    """
    transfer = _Transfer(
        wanted=tuple(wanted),
        links=_Links(listed, relist, clock),
        vendor=vendor,
        store=store,
        folder=folder,
        clock=clock,
        deadline=deadline,
        settings=settings or TransferSettings(),
        rng=rng or random.Random(),  # noqa: S311 - jitter is no secret
        on_progress=on_progress,
    )
    return await transfer.run()


# -- the state of one file, and the ways out of it ----------------------------------------------------------


class _Anew(Exception):
    """Begin this file with its first byte."""


class _OutOfTime(Exception):
    """The deadline has passed."""


class _GiveUp(Exception):
    """This file has failed, for this reason."""

    def __init__(self, reason: ViplakeError) -> None:
        super().__init__()
        self.reason = reason


class _Stop(_GiveUp):
    """All files have."""


@dataclass(slots=True)
class _FileTransfer:
    """The transfer of one file, through all its attempts.

    Attributes:
        file: the file. errors: number of errors so far, by kind. since_progress: errors since the last received byte.
        digests: MD5s of downloads that contradict the source's ETag or their own CRC32s.
        furthest: bytes of it that `Progress` has counted.
        generation: of the list that the last link came from.
    """

    file: PromisedFile
    errors: Counter[str] = field(default_factory=Counter)
    since_progress: int = 0
    digests: set[str] = field(default_factory=set)
    furthest: int = 0
    generation: int = 0


class _Arrival:
    """What has come of one file: counted, hashed up to the last whole block, the rest pending.

    Attributes:
        received: bytes.
        etag: of the source, if the rest can be requested with it.
        members: looks into a gzip body, where the source gives no MD5 to prove it by.
    """

    def __init__(self) -> None:
        self.received = 0
        self.etag: str | None = None
        self.members: GzipWitness | None = None
        self._digest = hashlib.md5(usedforsecurity=False)
        self._hashing: asyncio.Future[None] | None = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0

    def take(self, chunk: bytes) -> None:
        self.received += len(chunk)
        self._pending.append(chunk)
        self._pending_bytes += len(chunk)

    @property
    def has_block(self) -> bool:
        return self._pending_bytes >= BLOCK_BYTES

    async def hand_over(self, sink: Sink) -> None:
        """Pass on what is pending; where it is much, it is hashed while the next block is on its way."""
        if not self._pending:
            return
        block = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        await self._hashed()
        unpacks = self.members is not None and self.members.looks
        if len(block) < (INLINE_GZIP_BYTES if unpacks else INLINE_BYTES):
            self._look_at(block)
        else:
            self._hashing = asyncio.ensure_future(asyncio.to_thread(self._look_at, block))
        await sink(block)

    def _look_at(self, block: bytes) -> None:
        self._digest.update(block)
        if self.members is not None:
            self.members.update(block)

    async def md5(self) -> str:
        """Return the MD5 of all bytes passed on, as 32 hex digits."""
        await self._hashed()
        return self._digest.hexdigest()

    async def flaw(self) -> str | None:
        """Return the defect of the gzip data; None if none is known."""
        await self._hashed()
        return None if self.members is None else self.members.end()

    async def _hashed(self) -> None:
        """Wait for the block before: blocks are hashed one after the other."""
        if self._hashing is not None:
            await asyncio.shield(self._hashing)  # who is cancelled here may come back, and must find it done
            self._hashing = None


class _Pace:
    """Reads chunks from a connection, and aborts it when it is too slow."""

    def __init__(self, clock: Clock, deadline: float) -> None:
        self._clock = clock
        self._deadline = deadline
        self._waited = 0.0
        self._came = 0

    async def next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        """The next chunk, None after the last one. Only waiting counts: a slow store is not the source's fault."""
        if self._waited >= DRIP_SECONDS:
            if self._came < DRIP_BYTES:
                raise NetworkError(f"the connection gave {self._came:,} bytes in {self._waited:.0f} s")
            self._waited, self._came = 0.0, 0
        begun = self._clock.monotonic()
        chunk = await anext(chunks, None)
        now = self._clock.monotonic()
        if now >= self._deadline:
            raise _OutOfTime
        self._waited += now - begun
        self._came += len(chunk or b"")
        return chunk


class _Links:
    """Where to fetch each file; new links are requested once, however many files need them."""

    def __init__(
        self,
        listed: Iterable[ListedFile],
        relist: Callable[[], Awaitable[Sequence[ListedFile]]],
        clock: Clock,
    ) -> None:
        self._relist = relist
        self._clock = clock
        self._lock = asyncio.Lock()
        self._by_key = {file.key: file for file in listed}
        self._listed_at = float("-inf")
        self._attempts = 0
        self._failure: ViplakeError | None = None
        self.generation = 0

    def get(self, key: str) -> ListedFile | None:
        return self._by_key.get(key)

    async def refresh(self, seen: int) -> None:
        """Make sure that the links are newer than those of generation `seen`, or as new as they can be."""
        attempts = self._attempts
        async with self._lock:
            if self.generation > seen or self._clock.monotonic() - self._listed_at < FRESH_SECONDS:
                return
            if self._attempts > attempts and self._failure is not None:
                raise self._failure  # another file sent the request while this one waited: the result holds for both
            self._attempts += 1
            try:
                files = await self._relist()
            except ViplakeError as error:
                self._failure = error
                raise
            self._by_key = {file.key: file for file in files}
            self._listed_at = self._clock.monotonic()
            self._failure = None
            self.generation += 1


# -- the transfer -------------------------------------------------------------------------------------------


class _Transfer:
    """One call of `land`."""

    def __init__(
        self,
        *,
        wanted: tuple[PromisedFile, ...],
        links: _Links,
        vendor: Vendor,
        store: Store,
        folder: str,
        clock: Clock,
        deadline: float,
        settings: TransferSettings,
        rng: random.Random,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._wanted = wanted
        self._links = links
        self._vendor = vendor
        self._store = store
        self._folder = folder
        self._clock = clock
        self._deadline = deadline
        self._settings = settings
        self._rng = rng
        self._on_progress = on_progress
        by_size = sorted(wanted, key=lambda file: -file.size)  # the largest first: no long tail behind the rest
        self._large = deque(file for file in by_size if file.size > settings.whole_below)
        self._small = deque(file for file in by_size if file.size <= settings.whole_below)
        self._budget = ByteBudget(settings.bytes_in_flight)
        self._lanes = Lanes(settings.files_at_once)
        self._tokens = RetryTokens(RETRIES_AT_ONCE, RETRIES_PER_SECOND, clock.monotonic())
        self._proven: dict[str, ProvenFile] = {}
        self._failed: dict[str, ViplakeError] = {}
        self._last_error: dict[str, ViplakeError] = {}
        self._bytes = 0

    async def run(self) -> Landed:
        crew = asyncio.create_task(self._crew())
        try:
            while not crew.done() and self._clock.monotonic() < self._deadline:
                await asyncio.wait({crew}, timeout=_HEARTBEAT_SECONDS)
        finally:
            crew.cancel()
            await asyncio.wait({crew})
        if not crew.cancelled() and (error := crew.exception()) is not None:
            raise _innermost(error) from None
        names = [file.name for file in self._wanted]
        proven = tuple(self._proven[name] for name in names if name in self._proven)
        failed = {name: self._failed.get(name) or self._too_late(name) for name in names if name not in self._proven}
        return Landed(proven, MappingProxyType(failed))

    def _too_late(self, name: str) -> ViplakeError:
        late = NetworkError(f"{name} did not arrive by the deadline", cause="transfer_timeout")
        return self._last_error.get(name, late)

    async def _crew(self) -> None:
        # While small files remain, large ones take at most half of the budget: neither kind waits for the other.
        stream = (PARTS_AT_ONCE + 1) * PART_BYTES
        for_large = max(1, self._settings.bytes_in_flight // 2 // stream)
        async with asyncio.TaskGroup() as group:
            for number in range(min(self._settings.files_at_once, len(self._wanted))):
                group.create_task(self._work(large_first=number < for_large))

    async def _work(self, *, large_first: bool) -> None:
        queues = (self._large, self._small) if large_first else (self._small, self._large)
        while (queue := queues[0] or queues[1]) and self._clock.monotonic() < self._deadline:
            await self._attend(_FileTransfer(queue.popleft()))

    async def _attend(self, file_transfer: _FileTransfer) -> None:
        """See one file to its end, whatever that is."""
        name = file_transfer.file.name
        try:
            async with self._budget.hold(self._cost(file_transfer.file)):
                if self._tokens.in_debt(self._clock.monotonic()):
                    await self._wait(self._tokens.take(self._clock.monotonic()))
                await self._bring(file_transfer)
        except _OutOfTime:
            pass
        except _Stop as end:
            raise end.reason from None
        except _GiveUp as end:
            self._failed[name] = end.reason
        except Exception as error:  # noqa: BLE001 - the boundary of a file: an unforeseen error must not fail the others
            detail = redact(describe(error))
            self._failed[name] = ViplakeError(f"cannot land {name}: {detail}", cause="unexpected")

    def _cost(self, file: PromisedFile) -> int:
        """Bytes in memory: all of a file that is held whole, the parts on their way of one that passes through."""
        return min(file.size, max(self._settings.whole_below, (PARTS_AT_ONCE + 1) * PART_BYTES))

    async def _bring(self, file_transfer: _FileTransfer) -> None:
        file = file_transfer.file
        carry = self._carry_whole if file.size <= self._settings.whole_below else self._carry_stream
        while True:
            try:
                stored, md5 = await carry(file_transfer)
            except _Anew:
                continue
            except LakeError as error:
                await self._recover(file_transfer, error)
                continue
            self._proven[file.name] = ProvenFile(file.name, file.key, file.size, md5, stored.etag)
            self._lanes.widen()
            self._tokens.earn()
            self._on_progress(Progress(len(self._proven), self._bytes))
            return

    async def _carry_whole(self, file_transfer: _FileTransfer) -> tuple[StoredFile, str]:
        blocks: list[bytes] = []

        async def keep(block: bytes) -> None:
            blocks.append(block)

        md5 = await self._fetch(file_transfer, keep)
        data = blocks[0] if len(blocks) == 1 else b"".join(blocks)
        blocks.clear()
        while True:
            try:
                async with self._lanes.one():
                    return await self._store.put(self._folder + file_transfer.file.name, data), md5
            except LakeError as error:
                await self._recover(file_transfer, error)  # the bytes are here: no second download

    async def _carry_stream(self, file_transfer: _FileTransfer) -> tuple[StoredFile, str]:
        pipe = Pipe()
        writer = asyncio.ensure_future(self._store.put_stream(self._folder + file_transfer.file.name, pipe))
        writer.add_done_callback(lambda _: pipe.leave())
        try:
            md5 = await self._fetch(file_transfer, pipe.send)
            await pipe.end()
            return await asyncio.shield(writer), md5
        except ReaderGone:
            await writer  # it failed, and says why
            raise
        finally:
            await _end(writer, pipe)

    async def _fetch(self, file_transfer: _FileTransfer, sink: Sink) -> str:
        """Pass all bytes of a file to `sink`, in order, over as many connections as it takes; their MD5.

        It returns only when they are proven; until then, `sink` must not make them visible.
        """
        arrival = _Arrival()
        while True:
            try:
                return await self._receive(file_transfer, arrival, sink)
            except ViplakeError as error:
                if await self._recover(file_transfer, error) is Recovery.ANEW:
                    raise _Anew from None

    async def _receive(self, file_transfer: _FileTransfer, arrival: _Arrival, sink: Sink) -> str:
        """The rest of a file, over one connection."""
        size, start = file_transfer.file.size, arrival.received
        if start and arrival.etag is None:
            raise _Anew  # without an ETag, the rest may belong to another file
        link = self._link(file_transfer)
        async with self._lanes.one(), self._vendor.download(link.url, start=start, etag=arrival.etag) as download:
            if download.start != start:
                raise _Anew  # the source ignores Range
            if download.size is not None and download.size != size:
                raise OtherSize(f"{file_transfer.file.name} has {download.size:,} bytes, {size:,} were promised")
            arrival.etag = _strong(download.etag)
            if start == 0 and download.md5 is None:
                arrival.members = GzipWitness()
            await self._pump(file_transfer, arrival, download, sink)
        await arrival.hand_over(sink)
        self._arrived(file_transfer, arrival.received)
        if arrival.received < size:
            raise _broken(f"{file_transfer.file.name} ends after {arrival.received:,} of {size:,} bytes")
        return _proof(file_transfer, await arrival.md5(), download.md5, await arrival.flaw())

    async def _pump(self, file_transfer: _FileTransfer, arrival: _Arrival, download: Download, sink: Sink) -> None:
        size, pace, chunks = file_transfer.file.size, _Pace(self._clock, self._deadline), download.chunks()
        try:
            while (chunk := await pace.next(chunks)) is not None:
                arrival.take(chunk)
                file_transfer.since_progress = 0
                if arrival.received > size:
                    raise _broken(f"{file_transfer.file.name} goes on after the {size:,} bytes that were promised")
                if arrival.has_block:
                    await arrival.hand_over(sink)
                    self._arrived(file_transfer, arrival.received)
        except NetworkError:
            if arrival.received != size:  # what broke after the last byte broke nothing
                raise

    def _link(self, file_transfer: _FileTransfer) -> ListedFile:
        file_transfer.generation = self._links.generation
        link = self._links.get(file_transfer.file.key)
        if link is None:
            raise VendorError(f"the vendor no longer lists {file_transfer.file.name}", cause="list_changed")
        return link

    def _arrived(self, file_transfer: _FileTransfer, received: int) -> None:
        if received > file_transfer.furthest:
            self._bytes += received - file_transfer.furthest
            file_transfer.furthest = received
            self._on_progress(Progress(len(self._proven), self._bytes))

    async def _recover(self, file_transfer: _FileTransfer, error: ViplakeError) -> Recovery:
        """Do what the table says before the next attempt, or end the file."""
        kind = kind_of(error)
        step = next_step(error, file_transfer.errors[kind])
        file_transfer.errors[kind] += 1
        self._last_error[file_transfer.file.name] = error
        if step is Recovery.STOP:
            raise _Stop(error)
        if step is Recovery.GIVE_UP:
            raise _GiveUp(_given_up(error))
        log.debug("another attempt", file=file_transfer.file.name, step=step.name, detail=error.message)
        if error.transient:
            self._lanes.narrow(self._clock.monotonic())
        if step is not Recovery.RELIST:
            await self._back_off(file_transfer, error)
        if step in {Recovery.RELIST, Recovery.RELIST_LATER}:
            try:
                await self._links.refresh(file_transfer.generation)
            except ViplakeError as failure:
                await self._recover(file_transfer, failure)
        return step

    async def _back_off(self, file_transfer: _FileTransfer, error: ViplakeError) -> None:
        # A download that went well says nothing of the store: its own errors count on.
        power = file_transfer.errors[kind_of(error)] if isinstance(error, LakeError) else file_transfer.since_progress
        file_transfer.since_progress += 1
        now = self._clock.monotonic()
        jitter = pause(power + 1, self._rng)
        requested = getattr(error, "retry_after", None) or 0.0
        await self._wait(max(jitter, requested, self._tokens.take(now)))

    async def _wait(self, seconds: float) -> None:
        """Sleep; not at all where the deadline would come first."""
        if self._clock.monotonic() + seconds >= self._deadline:
            raise _OutOfTime
        await self._clock.sleep(seconds)


def _given_up(error: ViplakeError) -> ViplakeError:
    """The reason of a file that has failed, where the last error alone does not say it."""
    if isinstance(error, DamagedUpload):
        return LakeError(error.message, cause="integrity")
    if isinstance(error, LinkExpired):
        return VendorError(f"{error.message}, as those of {LISTS_A_FILE} lists did before it", cause="source_denied")
    return error


def _proof(file_transfer: _FileTransfer, md5: str, expected: str | None, flaw: str | None) -> str:
    """The MD5, if neither the source's ETag nor the body's own CRC32s speak against it, or two downloads agree."""
    if expected is not None and md5 != expected:
        flaw = f"it has the MD5 {md5}, the source says {expected}"
    if flaw is not None and md5 not in file_transfer.digests:
        file_transfer.digests.add(md5)
        raise _broken(f"{file_transfer.file.name} is not as its source has it: {flaw}")
    if flaw is not None:
        log.warning("stored as sent, twice the same", file=file_transfer.file.name, flaw=flaw)
    return md5


def _broken(message: str) -> VendorError:
    return VendorError(message, cause="integrity")


def _strong(etag: str | None) -> str | None:
    """An ETag that `If-Match` can use (RFC 9110, section 13.1.1: weak ones never match)."""
    return None if etag is None or etag.startswith("W/") else etag


async def _end(writer: asyncio.Future[StoredFile], pipe: Pipe) -> None:
    """Leave no upload behind: an unfinished one is aborted, so that the store drops its bytes."""
    if not writer.done():
        pipe.abort(ReaderGone("the transfer of this file was given up"))
        await asyncio.wait({writer}, timeout=_ABORT_SECONDS)
        writer.cancel()
        await asyncio.wait({writer})
    if not writer.cancelled():
        writer.exception()  # the task that waited for it has it already


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
