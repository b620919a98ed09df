"""X1, M10: observation dies at every call of the store, and the next pass ends in the bytes of an undisturbed one."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest

from fakes import DictStore
from faults import Crash, Flaky, Tripwire
from history.lakes import LAYOUT, At, at
from samples import Share, shared
from viplake.history.build import HistoryLocation, ObserveSettings, observe, read_history
from viplake.history.datasets import DATASETS, JOBS, VOLUMES, parse
from viplake.lake import Lake
from viplake.lake.versions import Versions
from viplake.model import PROD, Hour
from viplake.simulator.history import Past, Spell, hour_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from faults import When

pytestmark = pytest.mark.system

PLAIN: Final = ObserveSettings()
FIRST: Final = Hour.parse("2022-04-30T20")
LATE: Final = FIRST.shift(1)
BEFORE: Final = Past((Spell(LATE, LATE, "missed"), Spell(FIRST.shift(2), FIRST.shift(2), "lacking")), tables=5)
AFTER: Final = Past(tables=5)
MONTHS: Final = ("2022-04", "2022-05")


@dataclass
class Observed:
    """A lake that grows by a step at a time, each followed by a pass of observation."""

    clock: At = field(default_factory=lambda: at("2022-04-30T23:50"))
    objects: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = DictStore(self.clock)
        self.store.objects.update(self.objects)
        self.store.stamps.update(dict.fromkeys(self.objects, self.clock.now()))

    def land(self, hours: range, past: Past = BEFORE) -> None:
        for number in hours:
            for key, data in hour_objects(LAYOUT, FIRST.shift(number), past, environment=PROD).items():
                self.store._write(key, data)

    async def observe(self, *wires: Tripwire) -> None:
        mine = Flaky(self.store, *wires)
        await observe(Lake(mine, LAYOUT), HistoryLocation.within(Lake(mine, LAYOUT)), self.clock, PLAIN)

    async def dies(self, *wires: Tripwire) -> bool:
        try:
            await self.observe(*wires)
        except Crash:
            return True
        return False

    def published(self) -> dict[str, bytes]:
        return {key: data for key, data in self.store.objects.items() if key.startswith(LAYOUT.observability)}

    async def everything(self) -> dict[str, Any]:
        """All that the history says, whatever the numbers of its versions are."""
        place = HistoryLocation.within(Lake(self.store, LAYOUT))
        prefix = f"{place.versions}{VOLUMES.folder}"
        known = {month: (await Versions(place.store, f"{prefix}{month}/").newest()).content for month in MONTHS}
        return self.published() | {"rows": (await read_history(place)).frames, "volumes": known}


def first_pass(lake: Observed) -> None:
    """The first four Hours of the lake, the last of a month; one is not there."""
    lake.clock.moment = at("2022-04-30T23:50").moment
    lake.land(range(4))


def next_month(lake: Observed) -> None:
    """Two Hours of another month, and with them another day."""
    lake.clock.moment = at("2022-05-01T01:50").moment
    lake.land(range(4, 6))


def late_and_edited(lake: Observed) -> None:
    """The missing Hour came late; somebody wrote a column and an old row into a published file."""
    lake.clock.moment = at("2022-05-01T02:50").moment
    lake.land(range(6, 7))
    lake.land(range(1, 2), AFTER)
    key = LAYOUT.observability + JOBS.file
    head, *rows = lake.store.objects[key].decode().splitlines()
    old = rows[0].replace(FIRST.label, "20220429-10")
    text = "\n".join([f"{head},note", f"{old},by hand", *(f"{row},seen" for row in rows)]) + "\n"
    lake.store.objects[key] = text.encode()


STEPS: Final[tuple[Callable[[Observed], None], ...]] = (first_pass, next_month, late_and_edited)


@dataclass
class Undisturbed:
    """The start, the calls and the end of a step without a crash."""

    now: datetime
    begin: dict[str, bytes]
    calls: list[str]
    end: dict[str, Any]

    def lake(self) -> Observed:
        """The lake as it is right before the pass of this step."""
        return Observed(At(self.now), dict(self.begin))


async def undisturbed() -> dict[str, Undisturbed]:
    """Each step by its name."""
    lake, known = Observed(), {}
    for step in STEPS:
        step(lake)
        begin, wire = dict(lake.store.objects), Tripwire()
        await lake.observe(wire)
        known[step.__name__] = Undisturbed(lake.clock.moment, begin, wire.calls, await lake.everything())
    return known


def nothing_is_torn(lake: Observed, before: Mapping[str, bytes], after: Mapping[str, Any]) -> None:
    """After the last write, a reader sees complete files of the last pass or of this one."""
    for key, data in lake.published().items():
        assert data in {before.get(key), after.get(key)}, key
        for dataset in DATASETS:
            if key.endswith(f"/{dataset.file}"):
                assert parse(dataset, data).unreadable == ()


@pytest.mark.parametrize("step", [step.__name__ for step in STEPS])
@shared(every=9)
async def test_X1_M10_after_a_crash_at_every_call_the_next_pass_ends_in_the_same_bytes(
    step: str, share: Share, proof: Callable[..., None]
) -> None:
    known = (await undisturbed())[step]
    moments: tuple[When, ...] = ("before", "after")
    points = list(share(itertools.product(enumerate(known.calls, 1), moments)))
    for (number, call), when in points:
        lake = known.lake()
        assert await lake.dies(Tripwire(at=number, when=when, times=None)), call
        nothing_is_torn(lake, known.begin, known.end)
        await lake.observe()
        assert await lake.everything() == known.end, (when, call)
    proof("crash points of an observation", len(points), least=100)


@shared(every=10)
async def test_X1_M10_after_two_crashes_too(share: Share, proof: Callable[..., None]) -> None:
    steps = await undisturbed()
    pairs = 0
    for seed in share(range(60)):
        dice = random.Random(seed)
        known = steps[dice.choice(sorted(steps))]
        lake = known.lake()
        places = [dice.randint(1, len(known.calls)) for _ in range(2)]
        moments: list[When] = [dice.choice(["before", "after"]) for _ in range(2)]
        assert await lake.dies(Tripwire(at=places[0], when=moments[0], times=None))
        nothing_is_torn(lake, known.begin, known.end)
        pairs += await lake.dies(Tripwire(at=places[1], when=moments[1], times=None))
        nothing_is_torn(lake, known.begin, known.end)
        await lake.observe()
        assert await lake.everything() == known.end, (places, moments)
    proof("pairs of crashes of an observation", pairs, least=20)


async def test_the_run_without_a_crash_is_the_reference() -> None:
    known = await undisturbed()
    assert [len(step.end["rows"][JOBS.name].rows) for step in known.values()] == [4, 6, 7]
    edited = known["late_and_edited"].end[LAYOUT.observability + JOBS.file].decode()
    assert "20220429-10" not in edited
    assert "seen" not in edited
