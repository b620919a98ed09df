"""I/O. The only module that reads the time; other modules get a `Clock` as argument.

Three readings are separate because they fail in different ways. `now` is UTC and may jump; `monotonic` never jumps and
measures deadlines within a process; and a store stamps its objects with a clock of its own, which
`from_store` translates, so that a demo or a test may run its Hours faster than the wall does.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """The port to the time."""

    def now(self) -> datetime:
        """The time, UTC, aware."""
        ...

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment; never jumps."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds of this clock; not at all for zero or less."""
        ...

    def from_store(self, stamped: datetime) -> datetime:
        """Return what this clock showed at a timestamp of the store."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The time, UTC, aware."""
        return datetime.now(UTC)  # noqa: TID251 - here is where the clock is read

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment; never jumps."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds."""
        if seconds > 0:
            await asyncio.sleep(seconds)

    def from_store(self, stamped: datetime) -> datetime:
        """Return the store's timestamp unchanged."""
        return stamped


@dataclass(frozen=True)
class ScaledClock:
    """A clock that shows `start` at the moment `origin` and runs `speed` times as fast as the wall.

    The demo lives on it, in several processes at once: equal arguments give equal times everywhere.

    Attributes:
        start: what the clock shows at `origin`, UTC.
        speed: its seconds per second of the wall.
        origin: a moment of the wall clock, UTC.
    """

    start: datetime
    speed: float
    origin: datetime = field(default_factory=lambda: SystemClock().now())

    def now(self) -> datetime:
        """The scaled time, UTC."""
        return self.from_store(SystemClock().now())

    def monotonic(self) -> float:
        """Scaled seconds since some moment."""
        return time.monotonic() * self.speed

    async def sleep(self, seconds: float) -> None:
        """Wait for so many scaled seconds."""
        if seconds > 0:
            await asyncio.sleep(seconds / self.speed)

    def from_store(self, stamped: datetime) -> datetime:
        """Return the time of this clock at the moment that the store's clock calls `stamped`."""
        return self.start + timedelta(seconds=(stamped - self.origin).total_seconds() * self.speed)
