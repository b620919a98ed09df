"""What the steps of an hour cost, in counts that do not depend on the machine: a limit for each, a little above today.

Requests and bytes are those of the store. Calls are those of viplake's functions, a measure of the rows and values that
are gone through. Objects are the bytes that Python held at its peak. Seconds are in docs/bench, with their machine.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import tracemalloc
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import viplake
from fakes import DictStore, FakeClock
from faults import Counting
from history.lakes import LAYOUT, At, fill
from viplake.content.examine import ContentSettings, examine
from viplake.history.build import HistoryLocation, ObserveSettings, observe
from viplake.judge.check import CheckTarget, check
from viplake.judge.evaluate import CheckSettings
from viplake.lake import Lake
from viplake.model import PROD, Hour
from viplake.report.page import compose
from viplake.simulator.history import Past, generate
from viplake.simulator.tables import ExportShape, make_export
from world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from viplake.lake.store import Store
    from viplake.model import StoredFile

pytestmark = [pytest.mark.system, pytest.mark.sources]

TABLES = 6
WEEKS = 5
SOURCES = str(Path(viplake.__file__).parent)
LAST = Hour.parse("2022-05-10T13")


class Metered(Counting):
    """A store that also counts the bytes that come and go."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.bytes_read = self.bytes_written = 0

    async def get(self, key: str, **limits: Any) -> bytes | None:
        data = await super().get(key, **limits)
        self.bytes_read += len(data or b"")
        return data

    async def read(self, key: str) -> AsyncIterator[bytes]:
        async for chunk in super().read(key):
            self.bytes_read += len(chunk)
            yield chunk

    async def put(self, key: str, data: bytes) -> StoredFile:
        self.bytes_written += len(data)
        return await super().put(key, data)

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        self.bytes_written += len(data)
        return await super().put_if_absent(key, data)


@dataclass(frozen=True)
class Cost:
    """What a step costs; as a limit, what it may cost at most."""

    requests: int
    bytes_read: int
    bytes_written: int
    calls: int
    objects: int

    def over(self, limit: Cost) -> dict[str, tuple[int, int]]:
        """What exceeds the limit: found and allowed."""
        pairs = {name: (getattr(self, name), getattr(limit, name)) for name in self.__dataclass_fields__}
        return {name: pair for name, pair in pairs.items() if pair[0] > pair[1]}


async def cost_of(store: Store, step: Callable[[Store], Awaitable[object]]) -> Cost:
    """Take the step twice, once for the calls and once for the objects, on a store that it leaves as it was."""
    assert isinstance(store, DictStore)
    before = dict(store.objects), dict(store.stamps)
    metered, profile = Metered(store), cProfile.Profile()
    loop = asyncio.get_running_loop()
    loop.run_in_executor = lambda _, work, *given: _done(work, *given)  # type: ignore[method-assign]
    profile.enable()
    await step(metered)
    profile.disable()
    store.objects, store.stamps = before
    tracemalloc.start()
    try:
        await step(store)
        objects = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    counted = pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
    calls = sum(times for (file, *_), (_, times, *_) in counted if file.startswith(SOURCES))
    return Cost(len(metered.calls), metered.bytes_read, metered.bytes_written, calls, objects)


def _done(work: Callable[..., Any], *given: Any) -> asyncio.Future[Any]:
    """The work of a thread, here: a profile sees one thread."""
    future = asyncio.get_running_loop().create_future()
    future.set_result(work(*given))
    return future


async def observed_lake() -> tuple[DictStore, At]:
    """A lake with a past that was observed and checked, and one Hour that is new."""
    clock = At(LAST.start + timedelta(minutes=45))
    store = DictStore(clock)
    past = Past((), tables=TABLES, scale=0.01)
    lake = Lake(store, LAYOUT)
    for hours in (LAST.shift(1 - WEEKS * 168).to(LAST.shift(-2)), [LAST.shift(-1)], [LAST]):
        found = list(hours)
        await generate(lake, found, past, environment=PROD)
        if found[-1] != LAST:
            clock.moment = found[-1].start + timedelta(minutes=45)
            await STEPS["observe"](lake, clock)
            await STEPS["check"](lake, clock)
    clock.moment = LAST.start + timedelta(minutes=45)
    return store, clock


STEPS: dict[str, Callable[[Lake, At], Awaitable[object]]] = {
    "observe": lambda lake, clock: observe(lake, HistoryLocation.within(lake), clock, ObserveSettings()),
    "check": lambda lake, clock: check(
        CheckTarget(lake, HistoryLocation.within(lake), "Prod"), clock, CheckSettings(), ObserveSettings()
    ),
    "report": lambda lake, clock: compose(
        CheckTarget(lake, HistoryLocation.within(lake), "Prod"),
        title="A lake",
        now=clock.now(),
        settings=CheckSettings(),
        observing=ObserveSettings(),
    ),
}


LIMITS = {
    "tick": Cost(3, 20_000, 0, 3_500, 150_000),
    "observe": Cost(30, 210_000, 210_000, 33_000, 2_000_000),
    # On a Tuesday, the most: its last two days are of two weeks, each of which is walked from its Monday.
    "check": Cost(20, 60_000, 6_000, 530_000, 3_050_000),
    "report": Cost(16, 81_000, 0, 935_000, 12_600_000),
    "content": Cost(39, 230_000, 0, 33_000, 540_000),
}


async def test_an_hours_update_check_and_report_cost_no_more_than_their_limits() -> None:
    store, clock = await observed_lake()
    for name, step in STEPS.items():
        cost = await cost_of(store, lambda at, step=step: step(Lake(at, LAYOUT), clock))  # type: ignore[misc]
        assert cost.over(LIMITS[name]) == {}, (name, cost)


async def test_an_idle_tick_costs_no_more_than_its_limits() -> None:
    world = World()
    for _ in range(24):
        begun = Hour.of(world.clock.now())
        assert (await world.worker().run()).outcome == "delivered"
        world.clock.advance((begun.end - world.clock.now()).total_seconds() + 5)
    world.clock.advance(-10)
    cost = await cost_of(world.store, lambda at: world.worker(store=at).tick())
    assert cost.over(LIMITS["tick"]) == {}, cost


async def test_a_look_into_an_hour_costs_no_more_than_its_limits() -> None:
    files = make_export(ExportShape(files=40), "onDemandExtract1DayProd", LAST.start)
    store = DictStore(FakeClock())
    bodies = {LAYOUT.file(LAST, file.name): b"".join(file.read()) for file in files}
    await fill(store, bodies)
    cost = await cost_of(store, lambda at: examine(Lake(at, LAYOUT), LAST, ContentSettings()))
    assert cost.over(LIMITS["content"]) == {}, cost
    assert cost.bytes_read <= sum(map(len, bodies.values())), "a file is read once"
