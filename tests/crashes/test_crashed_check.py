"""X1, X8, O2: a check dies at every call of the store or of a channel; every incident is still notified, and once.

One bound is left, and is the least that anyone can promise: between a channel that has taken a message and the
record of it lies a moment, and a check that dies in between has sent a notification without a record. The next check
sends it again:
twice then, never more, and never not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from fakes import DictStore
from faults import Crash, Flaky, Tripwire, lake_down
from history.lakes import LAYOUT, At
from samples import Share, shared
from viplake.errors import LakeError
from viplake.history.build import HistoryLocation, ObserveSettings, observe
from viplake.judge.check import CheckTarget, check, read_incidents
from viplake.judge.evaluate import CheckSettings
from viplake.judge.notices import LEASE
from viplake.lake import Lake
from viplake.model import PROD, Hour
from viplake.notify.message import NotSent
from viplake.simulator.history import Past, Spell, hour_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults import When
    from viplake.judge.incidents import Incident
    from viplake.notify.message import Audience, Message

pytestmark = pytest.mark.system

FIRST: Final = Hour.parse("2022-05-10T04")
HOURS: Final = 12
PAST: Final = Past(
    (
        Spell(FIRST.shift(3), FIRST.shift(3), "failed"),
        Spell(FIRST.shift(5), FIRST.shift(7), "failed", cause="vendor_timeout"),
        Spell(FIRST.shift(7), FIRST.shift(9), "lacking", ("Voyage",)),
    ),
    tables=5,
)
"""An Hour that failed, an outage of three, a table that stays away right after it."""

OBSERVING: Final = ObserveSettings()
SETTINGS: Final = CheckSettings.parse(
    {"rules": {"missing_job": {"hours": 1}, "missing_table": {"hours": 1}, "end_after": 1}}
)
"""Each Hour is notified at once, and an incident is over with the first good one: the more there is to lose."""

NOW: Final = 6
"""The Hour in which the process dies: the first incident is over, the second has been told of and lasts."""


@dataclass
class Ear:
    """A channel in this process; where it breaks, its tripwires say."""

    name: str
    wires: tuple[Tripwire, ...] = ()
    heard: list[Message] = field(default_factory=list)
    audience: Audience = "programs"

    async def send(self, message: Message) -> None:
        checks = [wire.enter("send", self.name) for wire in self.wires]
        [check("before") for check in checks]
        await asyncio.sleep(0)
        self.heard.append(message)
        [check("after") for check in checks]


@pytest.fixture(scope="module")
def growth() -> list[dict[str, bytes]]:
    """The lake with its history, an Hour later each: a check changes nothing of it."""
    clock = At(FIRST.start)
    store = DictStore(clock)

    async def grow() -> Iterator[dict[str, bytes]]:
        grown = []
        for number in range(HOURS):
            hour = FIRST.shift(number)
            clock.moment = hour.start.replace(minute=50)
            for key, data in hour_objects(LAYOUT, hour, PAST, environment=PROD).items():
                store._write(key, data)
            await observe(Lake(store, LAYOUT), HistoryLocation.within(Lake(store, LAYOUT)), clock, OBSERVING)
            grown.append(dict(store.objects))
        return iter(grown)

    return list(asyncio.run(grow()))


@dataclass
class Watch:
    """A lake whose Hours come in one by one, and checks of it by processes that come and go."""

    growth: list[dict[str, bytes]]
    hour: int = 0
    heard: dict[str, list[Message]] = field(default_factory=lambda: {"ear": [], "other": []})

    def __post_init__(self) -> None:
        self.clock = At(FIRST.start)
        self.store = DictStore(self.clock)

    def next_hour(self) -> None:
        """An Hour comes in and is observed."""
        self.clock.moment = FIRST.shift(self.hour).start.replace(minute=50)
        for key, data in self.growth[self.hour].items():
            if self.store.objects.get(key) != data:
                self.store._write(key, data)
        self.hour += 1

    def again(self) -> Watch:
        """Another one that is just where this one is."""
        watch = Watch(self.growth, self.hour, {channel: list(heard) for channel, heard in self.heard.items()})
        watch.clock.moment = self.clock.moment
        watch.store.objects.update(self.store.objects)
        watch.store.stamps.update(self.store.stamps)
        return watch

    async def check(self, *wires: Tripwire) -> bool:
        """A process checks and tells; whether it lived."""
        mine = Flaky(self.store, *wires)
        lake = CheckTarget(Lake(mine, LAYOUT), HistoryLocation.within(Lake(mine, LAYOUT)), "Prod")
        ears = [Ear(name, wires, heard) for name, heard in self.heard.items()]
        try:
            await check(lake, self.clock, SETTINGS, OBSERVING, notifiers=ears)
        except Crash:
            return False
        return True

    async def until(self, hours: int) -> None:
        while self.hour < hours:
            self.next_hour()
            assert await self.check()

    def told(self, channel: str) -> Counter[tuple[str, str]]:
        """How often a channel heard each thing."""
        return Counter(
            (notice["notice"], notice["id"]) for message in self.heard[channel] for notice in message.body["notices"]
        )

    async def standing(self) -> dict[str, tuple[object, ...]]:
        """The incidents, without the times of checks and notifications."""
        found = await read_incidents(HistoryLocation.within(Lake(self.store, LAYOUT)))
        return {key: self._plain(one) for key, one in found.items()}

    @staticmethod
    def _plain(one: Incident) -> tuple[object, ...]:
        assert all(notification.done for notification in one.notifications), "something is still to be told"
        return one.members, one.spans, one.severity, one.cause, one.owner, one.summary, one.healed, one.open


@dataclass
class Quiet:
    """The result without a crash: the state before the check, its calls, and the end."""

    before: Watch
    calls: list[str]
    end: Watch
    standing: dict[str, tuple[object, ...]]


@pytest.fixture
async def quiet(growth: list[dict[str, bytes]]) -> Quiet:
    watch, wire = Watch(growth), Tripwire()
    await watch.until(NOW)
    watch.next_hour()
    before = watch.again()
    assert await watch.check(wire)
    await watch.until(HOURS)
    return Quiet(before, wire.calls, watch, await watch.standing())


def points(calls: list[str]) -> Iterator[tuple[int, When, str]]:
    moments: tuple[When, ...] = ("before", "after")
    for number, call in enumerate(calls, 1):
        for when in moments:
            yield number, when, call


async def test_without_a_crash_each_notification_is_sent_once(quiet: Quiet) -> None:
    assert [key.partition(":")[0] for key in quiet.standing] == ["outage", "outage", "missing_table"]
    assert set(quiet.end.told("ear").values()) == {1}
    assert quiet.end.told("ear") == quiet.end.told("other")
    assert sum(call.startswith("send") for call in quiet.calls) == 2, "the check that dies has something to tell"


@shared(every=5)
async def test_X8_after_a_crash_at_any_call_of_a_check_each_incident_is_notified_once_or_twice(
    quiet: Quiet, share: Share, proof: Callable[..., None]
) -> None:
    twice: dict[str, list[tuple[int, When]]] = {"ear": [], "other": []}
    tried = list(share(points(quiet.calls)))
    for number, when, call in tried:
        watch = quiet.before.again()
        assert not await watch.check(Tripwire(at=number, when=when, times=None)), call
        await watch.until(HOURS)
        assert await watch.standing() == quiet.standing, (when, call)
        for channel, points_of in twice.items():
            told = watch.told(channel)
            assert set(told) == set(quiet.end.told(channel)), (when, call, channel)
            assert max(told.values()) <= 2, (when, call, channel)
            if max(told.values()) == 2:
                points_of.append((number, when))
    # Only where a channel has it, and the record of that is not written yet.
    record = [n for n, call in enumerate(quiet.calls, 1) if call.startswith("put_if_absent")][-1]
    for channel, points_of in twice.items():
        sent = quiet.calls.index(f"send {channel}") + 1
        between = [(n, w) for n, w, _ in points(quiet.calls) if sent <= n <= record]
        assert points_of == [(n, w) for n, w, _ in tried if (n, w) in between[1:-1]], channel
    proof("crash points of a check, its notifications among them", len(tried), least=40)


@shared(every=10)
async def test_X8_after_two_crashes_too(quiet: Quiet, share: Share, proof: Callable[..., None]) -> None:
    pairs = 0
    for seed in share(range(100)):
        dice, watch = random.Random(seed), quiet.before.again()
        places = [dice.randint(1, len(quiet.calls)) for _ in range(2)]
        moments: list[When] = [dice.choice(["before", "after"]) for _ in range(2)]
        assert not await watch.check(Tripwire(at=places[0], when=moments[0], times=None))
        watch.clock.moment += LEASE
        pairs += not await watch.check(Tripwire(at=places[1], when=moments[1], times=None))
        await watch.until(HOURS)
        assert await watch.standing() == quiet.standing, (places, moments)
        for channel in watch.heard:
            told = watch.told(channel)
            assert set(told) == set(quiet.end.told(channel)), (places, moments, channel)
            assert max(told.values()) <= 3, "once more for each that died between a telling and its record"
    proof("pairs of crashes of a check", pairs, least=20)


@pytest.mark.parametrize("when", ["before", "after"])
@shared(every=4)
async def test_R3_O1_every_call_of_a_check_may_lose_its_answer(quiet: Quiet, when: When, share: Share) -> None:
    """The same check goes on, or says so; the next one ends as if nothing had been."""
    for number, call in share(enumerate(quiet.calls, 1)):
        watch = quiet.before.again()
        error = deaf if call.startswith("send") else lake_down
        with contextlib.suppress(LakeError):
            assert await watch.check(Tripwire(at=number, when=when, error=error))
        await watch.until(HOURS)
        assert await watch.standing() == quiet.standing, call
        for channel in watch.heard:
            assert max(watch.told(channel).values()) <= 2


def deaf() -> NotSent:
    return NotSent("the answer was lost (injected)")
