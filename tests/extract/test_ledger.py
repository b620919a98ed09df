"""The ledger: one writer a number, nothing lost after a lost answer, an inconsistent ledger is refused."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from fakes import DictStore, FakeClock
from faults import Flaky, Tripwire, lake_down
from viplake.errors import LakeError, NotYet
from viplake.extract.job import TRANSITIONS, IllegalTransition, State
from viplake.extract.ledger import Ledger, is_dead, summary_of, this_worker
from viplake.extract.outcome import verdict_on
from viplake.history.facts import run_facts
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.records import EventKind, Worker, parse_event
from viplake.model import Hour
from world import at

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults import When
    from viplake.lake.store import Store

HOUR = Hour.parse("2022-05-10T13")
LAYOUT = Layout.below("IMOSDL/Hourly/")
GUID = "0d2f6c9a-0000-4000-8000-000000000001"


class LedgerWorld:
    """A store and its clock, and ledgers over it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = DictStore(self.clock)

    def ledger(self, host: str = "a", store: Store | None = None) -> Ledger:
        lake = Lake(store or self.store, LAYOUT)
        return Ledger(lake, self.clock, me=Worker(host, 1), dead=lambda _worker, _me: False)

    def numbers(self) -> list[str]:
        return [key.removeprefix(LAYOUT.ledger(HOUR)) for key in sorted(self.store.objects)]

    def damage(self, number: int, change: Callable[[dict[str, object]], object]) -> None:
        key = LAYOUT.event(HOUR, number)
        record = json.loads(self.store.objects[key])
        change(record)
        self.store.objects[key] = json.dumps(record).encode()


@pytest.fixture
def lake() -> LedgerWorld:
    return LedgerWorld()


async def triggered(ledger: Ledger) -> None:
    await ledger.append(HOUR, EventKind.CLAIMED)
    await ledger.append(HOUR, EventKind.TRIGGERED, job_guid=GUID)


async def test_appended_events_are_read_back(lake: LedgerWorld) -> None:
    first = lake.ledger()
    await triggered(first)
    job = await lake.ledger("b").read(HOUR)
    assert job == replace(first.jobs[HOUR], last=job.last)
    assert (job.state, job.job_guid, job.number) == (State.TRIGGERED, GUID, 2)
    assert lake.numbers() == ["0001.json", "0002.json"]


def paths() -> dict[str, tuple[EventKind, ...]]:
    """For each pair of the table: the shortest events from IDLE that end with it."""
    ways: dict[State, tuple[EventKind, ...]] = {State.IDLE: ()}
    while missing := {after: (*ways[s], k) for (s, k), after in TRANSITIONS.items() if s in ways and after not in ways}:
        ways |= missing
    return {f"{state}-{kind}": (*ways[state], kind) for state, kind in TRANSITIONS}


@pytest.mark.parametrize("path", paths().values(), ids=paths())
async def test_history_and_run_agree_on_the_outcome_after_each_event(
    lake: LedgerWorld, path: tuple[EventKind, ...]
) -> None:
    ledger = lake.ledger()
    for kind in path:
        final = kind in {EventKind.DELIVERED, EventKind.FAILED}
        data = summary_of(ledger.jobs[HOUR]) if final else {}
        data |= {"cause": "vendor_timeout"} if kind in {EventKind.OVERDUE, EventKind.FAILED} else {}
        data |= {"files": 3, "bytes": 12} if kind is EventKind.DELIVERED else {}
        job = await ledger.append(HOUR, kind, **data)
    key = LAYOUT.event(HOUR, job.number)
    run = run_facts(parse_event(lake.store.objects[key], key))
    assert (run.outcome, run.cause or "waiting") == (verdict_on(job)[0], verdict_on(job)[1] or "waiting")


async def test_two_appends_at_once_take_two_numbers(lake: LedgerWorld) -> None:
    ledger = lake.ledger()
    await triggered(ledger)
    await ledger.append(HOUR, EventKind.REPLICATED)
    await asyncio.gather(*(ledger.append(HOUR, EventKind.WORKING) for _ in range(5)))
    assert len(lake.numbers()) == 8
    assert (await lake.ledger().read(HOUR)).number == 8


async def test_K_of_many_writers_one_has_the_number(lake: LedgerWorld) -> None:
    ledgers = [lake.ledger(f"host-{n}") for n in range(8)]
    results = await asyncio.gather(*(one.append(HOUR, EventKind.CLAIMED) for one in ledgers), return_exceptions=True)
    lost = [result for result in results if isinstance(result, NotYet)]
    assert len(lost) == 7
    assert {error.cause.word for error in lost} == {"claim_lost"}
    assert {ledger.jobs[HOUR].state for ledger in ledgers} == {State.CLAIMED}
    assert sum(ledger.is_mine(ledger.jobs[HOUR]) for ledger in ledgers) == 1


async def test_an_illegal_event_writes_nothing(lake: LedgerWorld) -> None:
    ledger = lake.ledger()
    with pytest.raises(IllegalTransition):
        await ledger.append(HOUR, EventKind.DELIVERED)
    await triggered(ledger)
    with pytest.raises(IllegalTransition):
        await ledger.append(HOUR, EventKind.CLAIMED)
    assert len(lake.numbers()) == 2


@pytest.mark.parametrize("when", ["before", "after"])
async def test_R3_a_lost_answer_is_read_back_by_its_nonce(lake: LedgerWorld, when: When) -> None:
    wire = Tripwire(at=1, when=when, verbs=["put_if_absent"], error=lake_down)
    job = await lake.ledger(store=Flaky(lake.store, wire)).append(HOUR, EventKind.CLAIMED)
    assert (job.state, lake.numbers()) == (State.CLAIMED, ["0001.json"])


async def test_R3_a_lost_answer_behind_another_s_event_is_a_lost_claim(lake: LedgerWorld) -> None:
    mine = lake.ledger(store=Flaky(lake.store, Tripwire(at=1, verbs=["put_if_absent"], error=lake_down)))
    await lake.ledger("b").append(HOUR, EventKind.CLAIMED)
    with pytest.raises(NotYet):
        await mine.append(HOUR, EventKind.CLAIMED)
    assert not mine.is_mine(mine.jobs[HOUR])


async def test_R2_a_create_refused_for_an_absent_object_is_retried() -> None:
    """S3 may answer 409 while two writers race and then keep neither."""

    class Conflict(DictStore):
        refusals = 2

        async def put_if_absent(self, key: str, data: bytes) -> bool:
            if self.refusals:
                self.refusals -= 1
                return False
            return await super().put_if_absent(key, data)

    lake = LedgerWorld()
    lake.store = Conflict(lake.clock)
    assert (await lake.ledger().append(HOUR, EventKind.CLAIMED)).number == 1
    lake.store = Conflict(lake.clock)
    lake.store.refusals = 99
    with pytest.raises(LakeError, match="refused as existing"):
        await lake.ledger().append(HOUR, EventKind.CLAIMED)


async def test_a_store_that_stays_down_is_reported(lake: LedgerWorld) -> None:
    wire = Tripwire(at=1, verbs=["put_if_absent"], error=lake_down, times=None)
    with pytest.raises(LakeError):
        await lake.ledger(store=Flaky(lake.store, wire)).append(HOUR, EventKind.CLAIMED)
    assert len(wire.calls) == 3
    assert lake.numbers() == []


async def test_a_forbidden_write_is_not_retried(lake: LedgerWorld) -> None:
    denied = Tripwire(at=1, verbs=["put_if_absent"], error=lambda: LakeError("no", cause="dest_denied"), times=None)
    with pytest.raises(LakeError):
        await lake.ledger(store=Flaky(lake.store, denied)).append(HOUR, EventKind.CLAIMED)
    assert len(denied.calls) == 1


async def test_times_are_the_store_s_where_events_are_read(lake: LedgerWorld) -> None:
    ledger = lake.ledger()
    await ledger.append(HOUR, EventKind.CLAIMED)
    lake.store.stamps[LAYOUT.event(HOUR, 1)] = at("13:33")
    assert ledger.jobs[HOUR].claimed_at == at("13:00:05")
    assert (await ledger.read(HOUR)).claimed_at == at("13:33")


async def delivered(lake: LedgerWorld) -> None:
    ledger = lake.ledger()
    await triggered(ledger)
    job = await ledger.append(HOUR, EventKind.REPLICATED)
    await ledger.append(HOUR, EventKind.PROMISED)
    await ledger.append(HOUR, EventKind.DELIVERED, files=1, bytes=1, **summary_of(job))


async def test_a_final_hour_costs_one_read_and_with_the_copy_none(lake: LedgerWorld) -> None:
    await delivered(lake)
    for requests in (3, 2):
        wire = Tripwire(verbs=["get", "files"])
        fresh = lake.ledger(store=Flaky(lake.store, wire))
        found = (await fresh.read_days([HOUR.day]))[HOUR]
        assert len(wire.calls) == requests
        await fresh.remember_settled([HOUR], "Prod", "ACME")
    whole = await lake.ledger().read(HOUR)
    same = ("state", "number", "job_guid", "posts", "late", "triggered_at", "replicated_at", "claimed_at", "ended_at")
    assert [getattr(found, name) for name in same] == [getattr(whole, name) for name in same]


async def copied(lake: LedgerWorld) -> None:
    """A delivered Hour, with its last event in the copy."""
    await delivered(lake)
    ledger = lake.ledger()
    await ledger.read_days([HOUR.day])
    await ledger.remember_settled([HOUR], "Prod", "ACME")
    assert LAYOUT.event(HOUR, 5) in lake.store.objects[LAYOUT.settled].decode()


async def test_copy_hides_no_event_of_a_viplake_that_does_not_know_it(lake: LedgerWorld) -> None:
    await copied(lake)
    older = lake.ledger("older")
    await older.read(HOUR)
    await older.append(HOUR, EventKind.REOPENED, job_guid=GUID)
    job = (await lake.ledger().read_days([HOUR.day]))[HOUR]
    assert (job.state, job.number) == (State.TRIGGERED, 6)


async def test_copy_of_an_event_counts_only_while_the_same_object_is_there(lake: LedgerWorld) -> None:
    await copied(lake)
    lake.clock.advance(60)
    key = LAYOUT.event(HOUR, 5)
    other = json.loads(lake.store.objects[key]) | {"files": 2}
    await lake.store.put(key, json.dumps(other).encode())
    job = (await lake.ledger().read_days([HOUR.day]))[HOUR]
    assert job.last is not None
    assert job.last.data["files"] == 2


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b'{"format": 2, "events": {}}', b'{"format": 1, "events": [1]}'])
async def test_copy_that_cannot_be_read_is_made_anew(lake: LedgerWorld, data: bytes) -> None:
    await copied(lake)
    whole = lake.store.objects[LAYOUT.settled]
    lake.store.objects[LAYOUT.settled] = data
    ledger = lake.ledger()
    assert (await ledger.read_days([HOUR.day]))[HOUR].state is State.DELIVERED
    await ledger.remember_settled([HOUR], "Prod", "ACME")
    assert lake.store.objects[LAYOUT.settled] == whole


async def test_a_copy_that_cannot_be_written_fails_nothing(lake: LedgerWorld) -> None:
    await delivered(lake)
    wire = Tripwire(at=1, error=lake_down, about="settled", verbs=["get", "put"], times=None)
    ledger = lake.ledger(store=Flaky(lake.store, wire))
    assert (await ledger.read_days([HOUR.day]))[HOUR].state is State.DELIVERED
    await ledger.remember_settled([HOUR], "Prod", "ACME")
    assert len(wire.calls) == 2
    await lake.ledger().remember_settled([], "Prod", "ACME")
    assert LAYOUT.settled not in lake.store.objects


async def test_other_objects_in_the_ledger_s_folder_are_left_alone(lake: LedgerWorld) -> None:
    ledger = lake.ledger()
    await triggered(ledger)
    for name in ("notes.txt", "0003.json.bak", "abc.json"):
        await lake.store.put(LAYOUT.ledger(HOUR) + name, b"x")
    assert (await ledger.read_days([HOUR.day]))[HOUR].number == 2


# -- R5: damage ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"[]",
        b"null",
        b'{"format": 1}',
        b'{"format": 1, "event": "claimed", "at": "yesterday", "nonce": "n", "worker": {"host": "a", "pid": 1}}',
        b'{"format": 1, "event": "odd", "at": "2022-05-10T13:00:05Z", "nonce": "n", "worker": {"host": "a", "pid": 1}}',
        b'{"format": 1, "event": "claimed", "at": "2022-05-10T13:00:05.000Z", "nonce": "n", "worker": []}',
    ],
    ids=lambda data: repr(data)[:40],
)
async def test_R5_garbage_is_damage_and_never_a_crash(lake: LedgerWorld, data: bytes) -> None:
    ledger = lake.ledger()
    await triggered(ledger)
    lake.store.objects[LAYOUT.event(HOUR, 2)] = data
    with pytest.raises(LakeError) as caught:
        await ledger.read(HOUR)
    assert caught.value.cause.word == "ledger_damaged"
    assert await lake.ledger().read_days([HOUR.day]) == {}


@given(cut=st.integers(min_value=0, max_value=400), flip=st.integers(min_value=0, max_value=255))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_R5_a_torn_or_flipped_record_is_read_or_reported(cut: int, flip: int) -> None:
    lake = LedgerWorld()
    await triggered(lake.ledger())
    key = LAYOUT.event(HOUR, 2)
    data = bytearray(lake.store.objects[key])
    if cut < len(data):
        data[cut] ^= flip
    lake.store.objects[key] = bytes(data)
    ledger = lake.ledger()
    try:
        await ledger.read(HOUR)
    except LakeError as error:
        assert error.cause.word in {"ledger_damaged", "lake_format"}  # noqa: PT017 - it may as well succeed


async def test_R5_a_missing_event_is_damage(lake: LedgerWorld) -> None:
    ledger = lake.ledger()
    await triggered(ledger)
    await ledger.append(HOUR, EventKind.REPLICATED)
    del lake.store.objects[LAYOUT.event(HOUR, 2)]
    with pytest.raises(LakeError, match=r"event 2 before .*0003.json is gone"):
        await ledger.read(HOUR)
    fresh = lake.ledger()
    assert await fresh.read_days([HOUR.day]) == {}
    assert "event 2" in fresh.damaged[HOUR]


async def test_R5_events_that_do_not_fit_are_damage(lake: LedgerWorld) -> None:
    ledger = lake.ledger()
    await triggered(ledger)
    lake.damage(1, lambda record: record.update(event="working"))
    with pytest.raises(LakeError, match="is inconsistent"):
        await ledger.read(HOUR)


async def test_R5_garbage_in_a_last_summary_is_damage(lake: LedgerWorld) -> None:
    ledger = lake.ledger()
    await ledger.append(HOUR, EventKind.CLAIMED)
    await ledger.append(HOUR, EventKind.FAILED, cause="vendor_contract", posts="many")
    fresh = lake.ledger()
    assert await fresh.read_days([HOUR.day]) == {}
    assert set(fresh.damaged) == {HOUR}


async def test_R5_a_record_of_a_newer_viplake_is_refused(lake: LedgerWorld) -> None:
    ledger = lake.ledger()
    await triggered(ledger)
    lake.damage(2, lambda record: record.update(format=2))
    for read in (ledger.read(HOUR), ledger.read_days([HOUR.day])):
        with pytest.raises(LakeError) as caught:
            await read
        assert caught.value.cause.word == "lake_format"


async def test_a_cause_of_a_later_viplake_is_still_a_failure(lake: LedgerWorld) -> None:
    ledger = lake.ledger()
    await ledger.append(HOUR, EventKind.CLAIMED)
    await ledger.append(HOUR, EventKind.FAILED, cause="vendor_contract")
    lake.damage(2, lambda record: record.update(cause="never_heard_of"))
    job = (await lake.ledger().read_days([HOUR.day]))[HOUR]
    assert (job.state, job.cause) == (State.FAILED, "unexpected")


# -- who lives ----------------------------------------------------------------------------------------------


@pytest.mark.system
def test_a_process_that_has_ended_is_dead_and_one_that_runs_is_not() -> None:
    me = this_worker()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        stat = Path(f"/proc/{child.pid}/stat")
        started = stat.read_text().rpartition(")")[2].split()[19] if stat.exists() else ""
        other = replace(me, pid=child.pid, started=started)
        assert not is_dead(other, me)
        assert not is_dead(replace(other, host="elsewhere"), me)
        if started:
            assert is_dead(replace(other, started="1"), me), "a pid used anew is no sign of life"
        child.communicate(b"\n")
    assert is_dead(other, me)
    assert not is_dead(replace(other, host="elsewhere"), me), "of another machine nobody knows"
    assert is_dead(me, me), "an earlier tick of this very process has ended"


def test_a_worker_is_known_by_its_machine_and_its_start() -> None:
    assert this_worker() == this_worker()
    assert this_worker().pid == os.getpid()
