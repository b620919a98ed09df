"""X1: the run dies at every boundary of its I/O, and the next one goes on: no Hour is lost, nothing is half landed."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from fakes import small_files
from faults import Crash, Tripwire, lake_down
from samples import Share, shared
from viplake.errors import NetworkError
from world import HOUR, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults import When
    from viplake.extract.outcome import Outcome

pytestmark = pytest.mark.system


SOME = small_files(16)
"""Enough for every boundary; the 60 files of X1 only repeat them."""


async def count_calls(world: World) -> list[str]:
    wire = Tripwire()
    outcome = await world.worker(wire).run()
    assert outcome.outcome == "delivered"
    return wire.calls


async def crashed(world: World, *wires: Tripwire) -> bool:
    """Run until it is delivered or dies."""
    worker = world.worker(*wires)
    try:
        await worker.run()
    except Crash:
        return True
    finally:
        world.kill(worker)
    return False


async def test_one_hour_of_60_files_from_claim_to_proof() -> None:
    world = World()
    calls = await count_calls(world)
    assert world.kinds() == ["claimed", "triggered", "replicated", "promised", "delivered"]
    assert world.landed() == world.by_name
    assert len(calls) > 2 * 60
    await world.check_rest()


async def test_a_run_is_the_same_each_time() -> None:
    first, second = World(), World()
    assert await count_calls(first) == await count_calls(second)
    assert first.store.objects == second.store.objects


@pytest.mark.parametrize("when", ["before", "after"])
@shared(every=8)
async def test_X1_a_crash_at_every_call_and_a_schedule_that_goes_on(
    when: When, share: Share, proof: Callable[..., None]
) -> None:
    calls = await count_calls(World())
    numbers = list(share(range(1, len(calls) + 1)))
    lost = []
    for number in numbers:
        world = World()
        assert await crashed(world, Tripwire(at=number, when=when, times=None))
        world.check()
        outcome = await world.ticks()
        await world.check_rest()
        assert world.vendor.count("trigger") <= 2
        assert max(world.clock.slept, default=0.0) <= 122
        if outcome.outcome != "delivered":
            assert outcome.cause == "trigger_ack_lost"
            lost.append((when, calls[number - 1]))
        else:
            assert world.landed() == world.by_name
    # Only where the vendor had accepted and the GUID died with us.
    triggered = f"put_if_absent {World().layout.event(HOUR, 2)}"
    tried = {calls[number - 1] for number in numbers}
    assert lost == [(when, call) for call in tried & {triggered if when == "before" else "trigger "}]
    proof("crash points of a run", len(numbers), least=500)


async def test_X1_G7_a_crash_between_trigger_and_its_record_delivers_if_the_vendor_names_the_guid() -> None:
    """Then nothing is lost at all: the answer to the re-POST carries the GUID (G5)."""
    world = World()
    world.vendor.tells_guid = True
    assert await crashed(world, Tripwire(at=1, when="after", times=None, verbs=["trigger"]))
    outcome = await world.ticks()
    assert outcome.outcome == "delivered"
    assert world.kinds()[:3] == ["claimed", "reposting", "triggered"]
    await world.check_rest()


@shared(every=8)
async def test_X1_two_crashes(share: Share, proof: Callable[..., None]) -> None:
    calls = await count_calls(World())
    pairs = 0
    for seed in share(range(100)):
        dice, world = random.Random(seed), World()
        first, second = dice.randint(1, len(calls)), dice.randint(1, len(calls) // 2)
        when: list[When] = [dice.choice(["before", "after"]), dice.choice(["before", "after"])]
        assert await crashed(world, Tripwire(at=first, when=when[0], times=None))
        pairs += await crashed(world, Tripwire(at=second, when=when[1], times=None))
        world.check()
        outcome = await world.ticks()
        await world.check_rest()
        assert world.vendor.count("trigger") <= 2
        assert outcome.outcome == "delivered" or outcome.cause == "trigger_ack_lost", (first, second, when)
    proof("pairs of crashes of a run", pairs, least=50)


@pytest.mark.parametrize("when", ["before", "after"])
@shared(every=4)
async def test_R3_every_call_of_the_store_may_lose_its_answer(
    when: When, share: Share, proof: Callable[..., None]
) -> None:
    """The same run goes on; where it gives up, the schedule does."""
    verbs = ["get", "read", "put", "put_if_absent", "put_stream", "files", "sweep"]
    calls = [call for call in await count_calls(World(SOME)) if call.split(" ")[0] in verbs]
    gave_up = []
    numbers = list(share(range(1, len(calls) + 1)))
    for number in numbers:
        world = World(SOME)
        wire = Tripwire(at=number, when=when, error=lake_down, verbs=verbs)
        outcome = await world.worker(wire).run()
        world.check()
        if outcome.outcome != "delivered":
            gave_up.append(calls[number - 1])
            outcome = await world.ticks()
        assert outcome.outcome == "delivered", calls[number - 1]
        await world.check_rest()
        assert world.vendor.count("trigger") == 1
    # Before the claim nothing is at stake: a failing store is said at once. Later the run outlasts it.
    claim = calls.index(f"put_if_absent {World(SOME).layout.event(HOUR, 1)}")
    assert set(gave_up) <= set(calls[:claim])
    proof("responses of the store lost in a run", len(numbers), least=100)


@pytest.mark.parametrize("when", ["before", "after"])
@shared(every=4)
async def test_every_call_of_the_vendor_may_lose_its_answer(when: When, share: Share) -> None:
    verbs = ["is_complete", "list_files", "download"]
    calls = [call for call in await count_calls(World(SOME)) if call.split(" ")[0] in verbs]
    for number in share(range(1, len(calls) + 1)):
        world = World(SOME)
        wire = Tripwire(at=number, when=when, error=lambda: NetworkError("broken (injected)"), verbs=verbs)
        outcome = await world.worker(wire).run()
        assert outcome.outcome == "delivered", calls[number - 1]
        await world.check_rest()
        assert world.vendor.count("trigger") == 1


class Stop(Tripwire):
    """Tells the run to stop, as SIGTERM does, at its n-th call."""

    def __init__(self, at: int, when: When) -> None:
        super().__init__()
        self.number, self.moment = at, when
        self.run: asyncio.Task[Outcome] | None = None

    def enter(self, verb: str, subject: str) -> Callable[[When], None]:
        super().enter(verb, subject)
        number = len(self.calls)

        def check(when: When) -> None:
            if number == self.number and when == self.moment and self.run is not None:
                self.run.cancel()

        return check


@pytest.mark.parametrize("when", ["before", "after"])
@shared(every=4)
async def test_X2_a_stop_signal_at_any_call_loses_nothing(when: When, share: Share, proof: Callable[..., None]) -> None:
    """Not even the answer to a trigger that is on its way: it is seen through first."""
    calls = await count_calls(World(SOME))
    numbers = list(share(range(1, len(calls) + 1)))
    for number in numbers:
        world = World(SOME)
        wire = Stop(number, when)
        worker = world.worker(wire)
        wire.run = asyncio.ensure_future(worker.run())
        await asyncio.wait({wire.run})
        world.kill(worker)
        world.check()
        assert wire.run.cancelled() or wire.run.result().outcome == "delivered"
        assert (await world.ticks()).outcome == "delivered", calls[number - 1]
        await world.check_rest()
        assert world.vendor.count("trigger") == 1, calls[number - 1]
    proof("points at which a run was asked to stop", len(numbers), least=100)
