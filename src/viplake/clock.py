"""I/O. The only place that reads the time: everything else is handed a `Clock`.

Three readings are kept apart because they fail apart. `now` is UTC and may jump; `monotonic` never jumps and
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
    """What the run knows of time."""

    def now(self) -> datetime:
        """The time, UTC, aware."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never jumps."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds of this clock; not at all for zero or less."""
        ...

    def from_store(self, stamped: datetime) -> datetime:
        """What this clock showed when a store stamped an object so."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The time, UTC, aware."""
        return datetime.now(UTC)  # noqa: TID251 - here is where the clock is read

    def monotonic(self) -> float:
        """Seconds since some moment; never jumps."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds."""
        if seconds > 0:
            await asyncio.sleep(seconds)

    def from_store(self, stamped: datetime) -> datetime:
        """The store's stamp as it is."""
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
        """What this clock showed at the wall's moment `stamped`."""
        return self.start + timedelta(seconds=(stamped - self.origin).total_seconds() * self.speed)
