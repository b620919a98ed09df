"""I/O. Runs a command's work in an event loop; a signal stops it in good order."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, TypeVar

from viplake.errors import NotYet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


def finish(work: Awaitable[T]) -> T:
    """Run the work until it ends.

    Raises:
        NotYet: a signal stopped it (`interrupted`).
    """

    async def stoppable() -> T:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            raise NotYet("stopped by a signal", cause="interrupted") from None

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(stoppable())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed (not on Windows): less work and memory for each connection."""
    try:
        import uvloop  # noqa: PLC0415 - it may be missing
    except ImportError:
        return None
    return uvloop.new_event_loop
