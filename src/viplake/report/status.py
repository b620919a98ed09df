"""I/O. A live status page: the report and the metrics of a lake, rendered again after a change.

A change is a new version of the history or of the incidents, or a new Hour. Several requests at once wait for one
rendering.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from viplake.judge.check import incidents_prefix
from viplake.lake.versions import Versions
from viplake.model import Hour
from viplake.report.metrics import metrics_text
from viplake.report.page import compose, known_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from viplake.clock import Clock
    from viplake.history.build import ObserveSettings
    from viplake.judge.check import CheckTarget
    from viplake.judge.evaluate import CheckSettings

_Mark = tuple[int, int, Hour]


@dataclass(slots=True)
class StatusPage:
    """The page of one lake.

    Args:
        target: the lake and where its history is.
        title: heading of the report.
        clock: gives the current time.
        settings: reads the rules, calendar and objectives that hold now.
        observing: expected tables and the minutes of grace.
    """

    target: CheckTarget
    title: str
    clock: Clock
    settings: Callable[[], Awaitable[CheckSettings]]
    observing: ObserveSettings
    _made: dict[str, tuple[_Mark, Any]] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def report(self) -> str:
        """Return the report as HTML.

        Raises:
            LakeError: the lake cannot be read.
        """

        async def make() -> str:
            return await compose(
                self.target,
                title=self.title,
                now=self.clock.now(),
                settings=await self.settings(),
                observing=self.observing,
            )

        mark = await self.mark()
        async with self._lock:
            known = self._made.get("report")
            if known is None or known[0] != mark:
                known = self._made["report"] = (mark, await make())
            return str(known[1])

    async def metrics(self) -> str:
        """Return the metrics in Prometheus' text format; ages are those of now.

        Raises:
            LakeError: the lake cannot be read.
        """
        mark = await self.mark()
        async with self._lock:
            found = self._made.get("metrics")
            if found is None or found[0] != mark:
                known = await known_of(self.target, await self.settings(), self.observing, now=self.clock.now(), days=1)
                found = self._made["metrics"] = (mark, known)
            known = found[1]
        return metrics_text(known.datasets, known.state_at(self.clock.now()), self.target.environment)

    async def mark(self) -> _Mark:
        """Return a mark that differs when the lake has changed.

        Raises:
            LakeError: the lake cannot be read.
        """
        place = self.target.place
        chains = (Versions(place.store, place.versions), Versions(place.store, incidents_prefix(place)))
        numbers = await asyncio.gather(*(chain.numbers() for chain in chains))
        history, incidents = (max(known, default=0) for known in numbers)
        return history, incidents, Hour.of(self.clock.now() - self.observing.grace)
