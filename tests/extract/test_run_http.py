"""The run over sockets: driver, client and simulated vendor are the real ones; each tick is a process of its own."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from canary import CANARIES
from fakes import DictStore, FakeClock
from vendor.rig import HASTY, Keys, client
from viplake.extract.extraction import Extraction
from viplake.extract.landing import RunSettings
from viplake.extract.ledger import Ledger
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.records import Worker
from viplake.model import PROD, Hour
from viplake.simulator import ExportShape, Simulator, SimulatorSettings

if TYPE_CHECKING:
    from viplake.extract.outcome import Outcome

pytestmark = pytest.mark.system

LAYOUT = Layout.below(PROD.prefix)
TICK = 120.0


@dataclass
class Schedule:
    """Ticks, one after the other, with nothing in common but the lake."""

    sim: Simulator
    clock: FakeClock
    store: DictStore
    pid: int = 0

    async def tick(self, hour: Hour) -> Outcome:
        """What the Hour came to by one tick of a new process."""
        self.pid += 1
        ledger = Ledger(Lake(self.store, LAYOUT), self.clock, me=Worker("host", self.pid, "1"), dead=lambda *_: True)
        async with client(self.sim, self.clock, Keys(), HASTY) as vendor:
            run = Extraction(RunSettings(PROD, "DEMO"), vendor, self.clock, ledger, rng=random.Random(self.pid))
            outcome = await run.tick()
        return next(one for one in (outcome, *outcome.also) if one.hour == hour)


@pytest.mark.parametrize(
    ("faults", "cause"),
    [
        pytest.param(["status:html"], "vendor_contract", id="P7 a web page"),
        pytest.param(["status:no_status"], "vendor_contract", id="P7 no status"),
        pytest.param(["status:other_guid"], "vendor_contract", id="P9 another job"),
        pytest.param(["status:status:value=404"], "job_gone", id="P8 unknown"),
    ],
)
async def test_an_answer_that_stays_odd_from_tick_to_tick_is_believed_at_the_deadline(
    faults: list[str], cause: str
) -> None:
    clock = FakeClock()
    hour = Hour.of(clock.now())
    shape = SimulatorSettings(
        client_id=CANARIES.client_id, client_secret=CANARIES.client_secret, export=ExportShape(files=5)
    )
    async with Simulator(shape, clock=clock) as sim:
        schedule = Schedule(sim, clock, DictStore(clock))
        assert (await schedule.tick(hour)).outcome == "waiting"
        sim.faults.add(*faults)
        written = schedule.store.written.total()
        begun = clock.monotonic()
        while (outcome := await schedule.tick(hour)).outcome == "waiting":
            assert schedule.store.written.total() == written, "a poll writes nothing"
            await clock.sleep(TICK)
        assert (outcome.outcome, outcome.cause) == ("failed", cause)
        assert 2900 <= clock.monotonic() - begun < 3200
        written = schedule.store.written.total()
        assert (await schedule.tick(hour)).cause == cause
        assert schedule.store.written.total() == written
        sim.faults.clear()  # it was not gone after all: an overdue Hour still lands
        assert (await schedule.tick(hour)).outcome == "delivered"
