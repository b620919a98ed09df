"""K: two living workers over one Hour, in every order of their calls with up to two changes from one to the other."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fakes import FakeClock, small_files
from samples import Share, shared
from world import HOUR, World, at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from viplake.extract.extraction import Extraction
    from viplake.extract.outcome import Outcome

pytestmark = pytest.mark.system

THREE = small_files(3, tables=1)
UNGATED = {"read", "download", "requests_sent"}


class Gated:
    """A port whose every call waits for its turn first."""

    def __init__(self, port: object, turn: Callable[[str], Awaitable[None]]) -> None:
        self._port, self._turn = port, turn

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if name in UNGATED:
            return method

        async def call(*args: Any, **more: Any) -> Any:
            await self._turn(name)
            return await method(*args, **more)

        return call


def gated(world: World, host: str, turn: Callable[[str], Awaitable[None]]) -> Extraction:
    """A worker whose calls wait for their turn."""
    worker = world.worker(host=host)
    store: Any = Gated(worker.lake.store, turn)
    vendor: Any = Gated(worker.vendor, turn)
    worker.ledger.lake = replace(worker.lake, store=store)
    worker.vendor = vendor
    return worker


class Schedule:
    """Lets one of two workers go on at a time.

    Args:
        changes: after how many calls of the active worker the other one continues; after the last change
            each goes on until it is done.
    """

    def __init__(self, *changes: int) -> None:
        self._left = list(changes)
        self._calls = 0
        self._current = 0
        self._news = asyncio.Condition()

    async def turn(self, me: int) -> None:
        async with self._news:
            await self._news.wait_for(lambda: self._current == me)
            if self._left and self._calls >= self._left[0]:
                self._left.pop(0)
                self._give_to(1 - me)
                await self._news.wait_for(lambda: self._current == me)
            self._calls += 1

    def _give_to(self, other: int) -> None:
        self._current, self._calls = other, 0
        self._news.notify_all()

    async def done(self, me: int) -> None:
        async with self._news:
            self._left.clear()
            self._give_to(1 - me)


async def both(world: World, schedule: Schedule) -> tuple[Outcome, Outcome]:
    """Two runs on two hosts under a schedule, to the end of both."""

    async def one(me: int) -> Outcome:
        worker = gated(world, f"host-{me}", lambda _verb: schedule.turn(me))
        try:
            return await worker.run()
        finally:
            await schedule.done(me)

    first, second = await asyncio.gather(one(0), one(1))
    return first, second


def new_world() -> World:
    return World(THREE, FakeClock(at("13:00:05")), {"replication": 0})


async def calls_of_a_run() -> list[str]:
    world, calls = new_world(), list[str]()

    async def note(verb: str) -> None:
        calls.append(verb)

    assert (await gated(world, "host", note).run()).outcome == "delivered"
    return calls


async def settle(world: World) -> None:
    """What must hold when both have ended, in whatever order they ran."""
    world.check()
    outcome = await world.ticks()
    assert outcome.outcome == "delivered"
    assert world.landed() == world.by_name
    await world.check_rest()
    kinds = world.kinds()
    assert kinds.count("claimed") == 1, "two workers claimed one Hour"
    assert kinds.count("delivered") == 1
    assert world.triggers_in(HOUR) == 1
    assert world.vendor.count("trigger") <= 2


@shared(every=4)
async def test_K_one_change_of_turns_at_every_call(share: Share, proof: Callable[..., None]) -> None:
    turns = list(share(range(len(await calls_of_a_run()) + 1)))
    for first in turns:
        world = new_world()
        await both(world, Schedule(first))
        await settle(world)
    proof("interleavings of two runs of one Hour", len(turns), least=500)


@shared(every=13)  # no divisor of the number of calls, so that the second turn differs too
async def test_K_two_changes_of_turns_at_every_pair_of_calls(share: Share, proof: Callable[..., None]) -> None:
    number = len(await calls_of_a_run())
    turns = list(share(itertools.product(range(number + 1), range(1, number + 1))))
    for first, second in turns:
        world = new_world()
        await both(world, Schedule(first, second))
        await settle(world)
    proof("interleavings of two runs of one Hour", len(turns), least=500)


@shared(every=7)
async def test_K_the_trigger_and_the_receipt_with_three_changes(share: Share, proof: Callable[..., None]) -> None:
    """Around the two writes that matter most, one change more."""
    calls = await calls_of_a_run()
    near = [n for n, verb in enumerate(calls) if verb in {"trigger", "put_if_absent"}]
    points = sorted({n + d for n in near for d in (0, 1)})
    turns = list(share(itertools.product(points, points[::2], (1, 2, 3))))
    for first, second, third in turns:
        world = new_world()
        await both(world, Schedule(first, second, third))
        await settle(world)
    proof("interleavings of two runs of one Hour", len(turns), least=500)


@pytest.mark.parametrize("seconds", [150, 600])
async def test_K4_a_worker_that_freezes_at_any_call_and_wakes(seconds: float) -> None:
    """All of it freezes, its signs of life included; the other goes on meanwhile."""
    for number in range(len(await calls_of_a_run())):
        world = new_world()
        asleep = Sleep(world.clock, number, seconds)
        zombie = asyncio.ensure_future(gated(world, "host-0", asleep.turn).run())
        other = asyncio.ensure_future(world.worker(host="host-1").run())
        await asyncio.gather(zombie, other)
        await settle(world)


class Sleep:
    """Freezes a worker at its n-th call."""

    def __init__(self, clock: FakeClock, number: int, seconds: float) -> None:
        self._clock, self._number, self._seconds = clock, number, seconds
        self._calls = 0
        self._until = 0.0

    async def turn(self, _verb: str) -> None:
        self._calls += 1
        if self._calls == self._number + 1:
            self._until = self._clock.monotonic() + self._seconds
        if (left := self._until - self._clock.monotonic()) > 0:
            await self._clock.sleep(left)
