"""X, K and C together: whatever happens, in whatever order, the invariants hold and every Hour comes to its end."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fakes import FakeClock, small_files
from faults import Crash, Tripwire, lake_down
from machines import at_length
from viplake.errors import NetworkError, SettingsError, VendorError
from viplake.model import Hour
from world import World, at

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from viplake.extract.extraction import Extraction
    from viplake.extract.outcome import Outcome

pytestmark = pytest.mark.system

FEW = small_files(4, tables=2)
ERRORS: dict[str, Callable[[], BaseException]] = {
    "lake": lake_down,
    "network": lambda: NetworkError("reset (injected)"),
    "busy": lambda: VendorError("503 (injected)", cause="vendor_unavailable"),
    "kill": Crash,
}
VERBS = {
    "lake": ["get", "put", "put_if_absent", "files", "sweep", "read"],
    "network": ["trigger", "is_complete", "list_files", "download"],
    "busy": ["trigger", "is_complete", "list_files", "download"],
    "kill": [],
}


class Anything(RuleBasedStateMachine):
    """Ticks and runs of workers that die, freeze and meet faults, while time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(FEW, FakeClock(at("13:00:05")))
        self.wires: list[Tripwire] = []
        self.sleeper: Extraction | None = None

    def _do(self, work: Callable[[Extraction], Coroutine[None, None, Outcome]], worker: Extraction) -> None:
        try:
            outcome = asyncio.run(work(worker))
        except Crash:
            self.world.kill(worker)
        else:
            assert outcome.exit_code in {0, 1, 69, 73, 75, 77}
            assert (outcome.cause is None) == (outcome.outcome == "delivered")
        self.wires = []

    @rule(kind=st.sampled_from(sorted(ERRORS)), at=st.integers(1, 40), when=st.sampled_from(["before", "after"]))
    def fault(self, kind: str, at: int, when: str) -> None:
        """The next command meets it."""
        times = None if kind == "kill" else 1
        self.wires.append(Tripwire(at=at, when=when, error=ERRORS[kind], verbs=VERBS[kind], times=times))  # type: ignore[arg-type] # a When

    @rule(host=st.sampled_from(["one", "two"]))
    def tick(self, host: str) -> None:
        self._do(lambda worker: worker.tick(), self.world.worker(*self.wires, host=host))

    @rule()
    def run_to_the_end(self) -> None:
        self._do(lambda worker: worker.run(), self.world.worker(*self.wires))

    @rule()
    def fall_asleep(self) -> None:
        """A worker reads the ledger and then does nothing for long."""
        worker = self.world.worker(host="asleep")
        self._do(lambda worker: worker.tick(), worker)
        self.sleeper = worker

    @precondition(lambda self: self.sleeper is not None)
    @rule()
    def wake(self) -> None:
        """It goes on with what it knew."""
        worker, self.sleeper = self.sleeper, None
        assert worker is not None
        for hour, job in list(worker.ledger.jobs.items()):
            if not job.is_final:
                self._do(lambda worker, hour=hour: worker._attempt(hour), worker)  # type: ignore[misc] # bound now

    @rule(minutes=st.sampled_from([1, 3, 10, 25, 61, 200, 420]))
    def time_passes(self, minutes: int) -> None:
        self.world.clock.advance(minutes * 60)

    @rule(back=st.integers(0, 3))
    def collect(self, back: int) -> None:
        hour = Hour.of(self.world.clock.now()).shift(-back)
        worker = self.world.worker(*self.wires)

        async def collect(worker: Extraction) -> Outcome:
            try:
                return await worker.collect(hour)
            except SettingsError:
                return await worker.tick()

        self._do(collect, worker)

    @invariant()
    def everything_holds(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        """I6: left to a healthy schedule, every Hour that was begun ends with one cause."""
        world = self.world
        begun = {Hour.of(moment) for moment in world.vendor.triggers.values()}
        for _ in range(8):
            worker = world.worker()
            self._do(lambda worker: worker.tick(), worker)
            begun |= set(worker.ledger.jobs)
            world.clock.advance(timedelta(hours=1).total_seconds())
        world.check()
        for hour in begun:
            events = world.events(hour)
            last = events[-1]
            young = hour > Hour.of(world.clock.now()).shift(-3)
            old = hour.day < Hour.of(world.clock.now()).shift(-31).day
            assert last["event"] in {"delivered", "failed"} or young or old, (str(hour), [e["event"] for e in events])
            assert last["event"] != "failed" or last["cause"]


Anything.TestCase.settings = at_length(60, 14)
TestAnything = Anything.TestCase
