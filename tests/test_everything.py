"""X, K, M, O and C together: run, observation and judgement over one lake, in any order, whatever happens to them.

The machine of the run alone is tests/extract/test_run_anything.py; here everything that viplake does meets.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from fakes import FakeClock, small_files
from faults import Crash, Flaky, Tripwire, lake_down
from machines import at_length
from viplake.errors import LakeError, NetworkError, SettingsError, VendorError
from viplake.history.build import HistoryLocation, ObserveSettings, Scope, observe, read_history
from viplake.history.datasets import DATASETS, JOBS, RUNS, parse
from viplake.judge.check import CheckTarget, check
from viplake.judge.evaluate import CheckSettings
from viplake.lake import Lake
from viplake.model import Hour
from viplake.notify.message import NotSent
from world import World, at

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from faults import When
    from viplake.extract.extraction import Extraction
    from viplake.notify.message import Audience, Message

pytestmark = pytest.mark.system

FEW: Final = small_files(4, tables=2)
OBSERVING: Final = ObserveSettings()
ERRORS: Final[dict[str, Callable[[], BaseException]]] = {
    "lake": lake_down,
    "network": lambda: NetworkError("reset (injected)"),
    "deaf": lambda: NotSent("deaf (injected)"),
    "kill": Crash,
}
VERBS: Final = {
    "lake": ["get", "put", "put_if_absent", "files", "pages", "folders", "sweep", "read"],
    "network": ["trigger", "is_complete", "list_files", "download"],
    "deaf": ["send"],
    "kill": [],
}
LIES: Final = ["cut", "flip", "short", "missing", "busy", "expired", "other_size", "no_range"]


class Everything(RuleBasedStateMachine):
    """A lake, its vendor, workers and people."""

    steps = 0

    audience: Audience = "programs"

    def __init__(self) -> None:
        super().__init__()
        self.world = World(FEW, FakeClock(at("13:00:05")))
        self.wires: list[Tripwire] = []
        self.excuses = self.failures = 0
        self.told: Counter[tuple[str, ...]] = Counter()
        self.last: dict[str, str] = {}
        self.rounds: Counter[str] = Counter()
        self.seen: set[Hour] = set()
        self.bits = itertools.cycle(range(1, min(map(len, FEW.values()))))

    # -- processes --------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return "ear"

    async def send(self, message: Message) -> None:
        """The channel that everyone tells."""
        checks = [wire.enter("send", "") for wire in self.wires]
        [check("before") for check in checks]
        self.told.update(self._once(notice) for notice in message.body["notices"])
        [check("after") for check in checks]

    def _once(self, notice: dict[str, Any]) -> tuple[str, ...]:
        """What may be sent once: of each cause, of each severity, and again only where it was over in between."""
        kind, key = notice["notice"], notice["id"]
        self.rounds[key] += kind == "reopened" and self.last.get(key) == "resolved"
        self.last[key] = kind
        more = {"changed": notice["cause"] + notice["owner"], "escalated": notice["severity"]}
        return kind, key, more.get(kind, ""), str(self.rounds[key])

    def _process(self, work: Callable[[Extraction], Coroutine[None, None, None]]) -> None:
        """What one process does, until it ends or dies."""
        worker = self.world.worker(*self.wires)
        try:
            asyncio.run(work(worker))
        except Crash:
            self.world.kill(worker)
        except (LakeError, VendorError):
            self.failures += 1
        self.excuses += len(self.wires)
        self.wires = []

    def _lake(self, *wires: Tripwire) -> CheckTarget:
        lake = Lake(Flaky(self.world.store, *wires), self.world.layout)
        return CheckTarget(lake, HistoryLocation.within(lake), "Prod")

    async def _observe(self, *hours: Hour) -> None:
        lake = self._lake(*self.wires)
        scope = Scope(hours=hours)
        await observe(lake.lake, lake.place, self.world.clock, OBSERVING, scope=scope)
        self.seen |= set((await read_history(self._lake().place)).rows(JOBS))

    async def _check(self) -> None:
        await check(self._lake(*self.wires), self.world.clock, CheckSettings(), OBSERVING, notifiers=[self])

    async def _tick(self, worker: Extraction) -> None:
        """As `viplake tick` does it."""
        outcome = await worker.tick()
        assert outcome.exit_code in {0, 1, 69, 73, 75, 77}
        assert (outcome.cause is None) == (outcome.outcome == "delivered")
        if settled := worker.settled():
            await self._observe(*settled)
            await self._check()

    # -- rules ------------------------------------------------------------------------------------------------

    @rule(minutes=st.sampled_from([1, 3, 10, 25, 61, 200]))
    def time_passes(self, minutes: int) -> None:
        self.world.clock.advance(minutes * 60)

    @rule(kind=st.sampled_from(sorted(ERRORS)), number=st.integers(1, 60), when=st.sampled_from(["before", "after"]))
    def fault(self, kind: str, number: int, when: When) -> None:
        """The next process meets it."""
        at_send = kind == "deaf"
        times = None if kind == "kill" else 1
        self.wires.append(
            Tripwire(at=1 if at_send else number, when=when, error=ERRORS[kind], verbs=VERBS[kind], times=times)
        )

    @rule()
    def tick(self) -> None:
        self._process(self._tick)

    @rule()
    def two_ticks_at_once(self) -> None:
        async def both(worker: Extraction) -> None:
            other = self.world.worker(host="another")
            results = await asyncio.gather(self._tick(worker), self._tick(other), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result

        self._process(both)

    @rule()
    def run_to_the_end(self) -> None:
        async def run(worker: Extraction) -> None:
            await worker.run()
            if settled := worker.settled():
                await self._observe(*settled)
                await self._check()

        self._process(run)

    @rule(back=st.integers(0, 3))
    def collect(self, back: int) -> None:
        async def collect(worker: Extraction) -> None:
            try:
                await worker.collect(Hour.of(self.world.clock.now()).shift(-back))
            except SettingsError:
                return
            if settled := worker.settled():
                await self._observe(*settled)

        self._process(collect)

    @rule()
    def observe(self) -> None:
        if self.world.store.objects:
            self._process(lambda _: self._observe())

    @rule()
    def check(self) -> None:
        self._process(lambda _: self._check())

    @rule(kind=st.sampled_from(LIES), times=st.integers(1, 3))
    def vendor_lies(self, kind: str, times: int) -> None:
        """A flipped bit is another one each time: what comes twice the same is the source's (ADR 0004)."""
        for _ in range(times):
            value = next(self.bits) if kind == "flip" else 3
            self.world.vendor.fault(kind, "Table", value=value)  # type: ignore[arg-type] # a Behaviour

    @rule()
    def vendor_fails(self) -> None:
        """The export of the last trigger fails."""
        self.world.vendor.failed_jobs |= set(list(self.world.vendor.triggers)[-1:])

    @rule(how=st.sampled_from(["column", "excel", "gone", "torn", "old row"]), dataset=st.sampled_from([JOBS, RUNS]))
    def somebody_edits(self, how: str, dataset: object) -> None:
        chosen = next(known for known in DATASETS if known is dataset)
        key = f"{self.world.layout.observability}{chosen.file}"
        data = self.world.store.objects.get(key)
        if data is None:
            return
        head, *rows = data.decode().splitlines()
        if how == "gone":
            del self.world.store.objects[key]
            return
        if how == "column" and not head.endswith(",note"):
            head, rows = f"{head},note", [f"{row},seen" for row in rows]
        if how == "torn":
            rows.append("20220510-1")
        if how == "old row" and chosen is JOBS:
            rows.insert(0, "20220401-07,0,1" + "," * (head.count(",") - 2))
        ends = "\r\n" if how == "excel" else "\n"
        text = ("\ufeff" if how == "excel" else "") + "".join(f"{line}{ends}" for line in (head, *rows))
        self.world.store.objects[key] = text.encode()

    # -- what must hold ---------------------------------------------------------------------------------------

    @invariant()
    def everything_holds(self) -> None:
        Everything.steps += 1
        self.world.check()
        for key, data in self.world.store.objects.items():
            assert b"X-Amz-Signature" not in data, f"I7: a link stands in {key}"

    @invariant()
    def no_acknowledged_row_is_lost(self) -> None:
        """I5: nor is there a second one of any Hour."""
        rows = asyncio.run(read_history(self._lake().place)).rows(JOBS)
        assert self.seen <= set(rows)

    @invariant()
    def everything_is_told_once(self) -> None:
        """But where a process died, or the store was out, between the telling and its record."""
        again = [times - 1 for (kind, *_), times in self.told.items() if kind != "reminder"]
        assert sum(again) <= self.excuses, self.told

    def teardown(self) -> None:
        """I6: left to a healthy schedule, all that was begun ends, with one cause, and stands in the datasets."""
        world = self.world
        self.wires, world.vendor.faults = [], []
        begun = {Hour.of(moment) for moment in world.vendor.triggers.values()}
        for _ in range(8):
            self._process(self._tick)
            self._process(lambda _: self._observe())
            self._process(lambda _: self._check())
            world.clock.advance(3600)
        self.everything_holds()
        self.no_acknowledged_row_is_lost()
        self.everything_is_told_once()
        runs = self._published(RUNS.file)
        for hour in begun:
            last = world.events(hour)[-1]
            if hour > Hour.of(world.clock.now()).shift(-3):
                continue
            assert last["event"] in {"delivered", "failed"}, (str(hour), last)
            if hour.label in runs:
                assert runs[hour.label] == last["event"], (str(hour), runs[hour.label], last)

    def _set_aside(self) -> set[str]:
        """The Hours in files that were set aside."""
        place = f"{self.world.layout.observability}quarantine/"
        kept = [data.decode() for key, data in self.world.store.objects.items() if key.startswith(place)]
        return {line.partition(",")[0] for text in kept for line in text.splitlines()}

    def _published(self, name: str) -> dict[str, str]:
        """The second column of a published file, by Hour; each has one row."""
        data = self.world.store.objects[f"{self.world.layout.observability}{name}"]
        [dataset] = [dataset for dataset in DATASETS if dataset.file == name]
        parsed = parse(dataset, data)
        assert (parsed.unreadable, parsed.warnings) == ((), ())
        lines = data.decode().splitlines()[1:]
        found = {line.split(",")[0]: line.split(",")[1] for line in lines}
        assert len(found) == len(lines), "I5: two rows of one Hour"
        return found


def test_I1_to_I10_hold_for_any_events_in_any_order(proof: Callable[..., None]) -> None:
    run_state_machine_as_test(Everything, settings=at_length(25, 16, heavy=True))
    proof("steps of the state machine over run, observation and check", Everything.steps, least=200)
