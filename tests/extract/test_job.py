"""The life of an ExportJob: every pair of the table, and what comes next, against expectations written by hand."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from viplake.extract.job import (
    UNTRIGGERED,
    Claim,
    Close,
    Deferral,
    Done,
    Event,
    ExportJob,
    GuidAdoption,
    IllegalTransition,
    Land,
    Limits,
    Poll,
    State,
    Step,
    TakeOver,
    Wait,
    _transitions,
    after_too_early,
    apply,
    next_step,
    replay,
)
from viplake.lake.records import EventKind, Worker
from viplake.model import Hour

if TYPE_CHECKING:
    from types import ModuleType

HOUR = Hour.parse("2022-05-10T13")
LIMITS = Limits(timedelta(minutes=50), timedelta(minutes=30))
A, B = Worker("host-a", 11), Worker("host-b", 22)
GUID = "0d2f6c9a-0000-4000-8000-000000000001"


def at(text: str) -> datetime:
    """A time of that day: `13:05`, `13:05:30`."""
    return datetime.fromisoformat(f"2022-05-10T{text}").replace(tzinfo=UTC)


def event(kind: EventKind, when: str = "13:00:10", **data: Any) -> Event:
    return Event(kind, at(when), A, "n", data)


# -- the table ----------------------------------------------------------------------------------------------

# From each state (row) with each event: the state after it; blank: illegal. Written from the design, not from code.
EXPECTED = """
            deferred  claimed  reposting  triggered  replicated  promised  working     overdue  delivered  failed  reopened
idle        deferred  claimed  -          -          -           -         -           -        -          -       triggered
deferred    deferred  claimed  -          -          -           -         -           -        -          failed  triggered
claimed     deferred  -        uncertain  triggered  -           -         -           -        -          failed  triggered
uncertain   deferred  -        -          triggered  -           -         -           -        -          failed  triggered
triggered   -         -        -          -          replicated  -         -           overdue  -          failed  triggered
replicated  -         -        -          -          -           promised  replicated  overdue  delivered  failed  triggered
promised    -         -        -          -          -           promised  promised    overdue  delivered  failed  triggered
overdue     -         -        -          -          overdue     overdue   overdue     overdue  delivered  failed  triggered
delivered   -         -        -          -          -           -         -           -        -          -       triggered
failed      -         -        -          -          -           -         -           -        -          -       triggered
"""  # noqa: E501 - a table
_HEAD, *_ROWS = [line.split() for line in EXPECTED.strip().splitlines()]
ORACLE = {(row[0], kind): cell for row in _ROWS for kind, cell in zip(_HEAD, row[1:], strict=True) if cell != "-"}


def test_the_table_is_the_design_s() -> None:
    assert {(str(state), str(kind)): str(after) for (state, kind), after in _transitions().items()} == ORACLE


def test_the_oracle_knows_every_state_and_event() -> None:
    assert set(_HEAD) == set(EventKind)
    assert {row[0] for row in _ROWS} == set(State)


def test_a_job_is_untriggered_while_its_trigger_can_be_refused() -> None:
    assert {str(state) for state in UNTRIGGERED} == {state for state, kind in ORACLE if kind == "deferred"}


@pytest.mark.parametrize(("state", "kind"), list(product(State, EventKind)), ids=str)
def test_every_pair_of_the_table(state: State, kind: EventKind) -> None:
    job = ExportJob(HOUR, state, number=3, job_guid=GUID)
    expected = ORACLE.get((state, kind))
    if expected is None:
        with pytest.raises(IllegalTransition, match=f"{kind} in state {state}"):
            apply(job, event(kind))
    else:
        after = apply(job, event(kind))
        assert (after.state, after.number) == (expected, 4)


@given(st.lists(st.sampled_from(list(EventKind)), max_size=12))
def test_a_final_job_stays_final_until_it_is_reopened(kinds: list[EventKind]) -> None:
    job = ExportJob(HOUR)
    for kind in kinds:
        try:
            after = apply(job, event(kind))
        except IllegalTransition:
            assert (str(job.state), str(kind)) not in ORACLE
            continue
        assert not job.is_final or kind is EventKind.REOPENED
        assert after.number == job.number + 1
        job = after


def test_the_page_of_the_states_is_current() -> None:
    diagrams = load_tool("diagrams")
    assert diagrams.PAGE.read_text() == diagrams.states_page(), "run: python tools/diagrams.py"
    assert diagrams.main(["--check"]) == 0


def load_tool(name: str) -> ModuleType:
    path = Path(__file__).parents[2] / "tools" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- the fold -----------------------------------------------------------------------------------------------


def delivered_in_steps() -> list[Event]:
    return [
        event(EventKind.CLAIMED, "13:00:10"),
        event(EventKind.TRIGGERED, "13:00:12", job_guid=GUID),
        event(EventKind.REPLICATED, "13:20"),
        event(EventKind.PROMISED, "13:20:01", files=3, bytes=9),
        event(EventKind.WORKING, "13:21"),
        event(EventKind.DELIVERED, "13:22", files=3, bytes=9),
    ]


def test_a_job_remembers_its_moments() -> None:
    job = replay(HOUR, delivered_in_steps())
    assert (job.state, job.job_guid, job.posts, job.cause, job.late) == (State.DELIVERED, GUID, 1, None, False)
    assert (job.claimed_at, job.triggered_at) == (at("13:00:10"), at("13:00:12"))
    assert (job.replicated_at, job.promised_at, job.ended_at) == (at("13:20"), at("13:20:01"), at("13:22"))


FULL = ExportJob(
    HOUR,
    number=7,
    job_guid=GUID,
    claimed_at=at("13:01"),
    opened_at=at("13:02"),
    triggered_at=at("13:03"),
    replicated_at=at("13:04"),
    ended_at=at("13:05"),
    posts=3,
    not_before=at("13:06"),
    promised_guid="other",
    promised_at=at("13:07"),
    unproven=frozenset({"a.gz"}),
    cause="network",
    detail="reset",
)
LATER = at("13:40")
NO_CAUSE: dict[str, Any] = {"cause": None, "detail": None}
ANEW: dict[str, Any] = {"triggered_at": LATER, "opened_at": LATER, "replicated_at": None, "ended_at": None} | NO_CAUSE


@pytest.mark.parametrize(
    ("job", "state", "kind", "data", "changes"),
    [
        (FULL, State.DEFERRED, EventKind.DEFERRED, {"not_before": at("13:50")}, {"not_before": at("13:50")}),
        (FULL, State.CLAIMED, EventKind.DEFERRED, {"unsent": True}, {"not_before": None, "posts": 2}),
        (replace(FULL, opened_at=None), State.IDLE, EventKind.DEFERRED, {}, {"not_before": None, "opened_at": LATER}),
        (FULL, State.DEFERRED, EventKind.CLAIMED, {}, {"claimed_at": LATER, "posts": 4}),
        (
            replace(FULL, opened_at=None),
            State.IDLE,
            EventKind.CLAIMED,
            {},
            {"claimed_at": LATER, "opened_at": LATER, "posts": 4},
        ),
        (FULL, State.CLAIMED, EventKind.REPOSTING, {}, {"posts": 4, "reposted": True, "lost_at": at("13:01")}),
        (replace(FULL, lost_at=at("13:00")), State.CLAIMED, EventKind.REPOSTING, {}, {"posts": 4, "reposted": True}),
        (
            FULL,
            State.CLAIMED,
            EventKind.TRIGGERED,
            {"job_guid": "new"},
            {"triggered_at": LATER, "job_guid": "new"} | NO_CAUSE,
        ),
        (FULL, State.TRIGGERED, EventKind.REPLICATED, {}, {"replicated_at": LATER}),
        (FULL, State.REPLICATED, EventKind.PROMISED, {"files": 3}, {"promised_guid": GUID, "promised_at": LATER}),
        (replace(FULL, promised_guid=GUID), State.PROMISED, EventKind.PROMISED, {"files": 4}, {}),
        (FULL, State.PROMISED, EventKind.WORKING, {}, {}),
        (FULL, State.PROMISED, EventKind.OVERDUE, {"cause": "integrity"}, {"late": True, "cause": "integrity"}),
        (
            FULL,
            State.OVERDUE,
            EventKind.OVERDUE,
            {"unproven": ["b.gz"]},
            {"late": True, "unproven": frozenset({"a.gz", "b.gz"})},
        ),
        (FULL, State.PROMISED, EventKind.DELIVERED, {"files": 3}, {"ended_at": LATER} | NO_CAUSE),
        (FULL, State.OVERDUE, EventKind.FAILED, {"detail": "gone"}, {"ended_at": LATER, "detail": "gone"}),
        (FULL, State.FAILED, EventKind.REOPENED, {}, ANEW),
        (
            FULL,
            State.DELIVERED,
            EventKind.REOPENED,
            {"job_guid": "new"},
            ANEW | {"promised_guid": None, "job_guid": "new"},
        ),
    ],
)
def test_an_event_changes_this_of_a_job_and_nothing_else(
    job: ExportJob, state: State, kind: EventKind, data: dict[str, Any], changes: dict[str, Any]
) -> None:
    before, what = replace(job, state=state), Event(kind, LATER, A, "n", data)
    after = apply(before, what)
    assert after == replace(before, state=after.state, number=8, last=what, **changes)
    assert all(getattr(before, name) != value for name, value in changes.items()), "each of them is a change"


def test_a_job_is_complete_once_the_vendor_reports_it() -> None:
    steps = delivered_in_steps()
    assert [replay(HOUR, steps[:count]).is_complete for count in range(7)] == [False] * 3 + [True] * 4


def test_a_success_after_the_deadline_is_late_and_has_no_cause() -> None:
    events = delivered_in_steps()
    events.insert(2, event(EventKind.OVERDUE, "13:51", cause="vendor_timeout", detail="x"))
    job = replay(HOUR, events[:3])
    assert (job.state, job.late, job.cause, job.detail) == (State.OVERDUE, True, "vendor_timeout", "x")
    job = replay(HOUR, events)
    assert (job.state, job.late, job.cause, job.detail) == (State.DELIVERED, True, None, None)


def test_a_trigger_that_never_left_is_not_counted() -> None:
    job = replay(HOUR, [event(EventKind.CLAIMED), event(EventKind.DEFERRED, cause="network", unsent=True)])
    assert (job.posts, job.cause) == (0, "network")
    job = replay(HOUR, [event(EventKind.CLAIMED), event(EventKind.DEFERRED, cause="trigger_limited")])
    assert job.posts == 1


def test_another_export_s_promise_begins_its_own_time() -> None:
    """Files already in the folder belong to the first export: the second must not reuse them."""
    first = [*delivered_in_steps()[:4], event(EventKind.PROMISED, "13:21", files=4)]
    assert replay(HOUR, first).promised_at == at("13:20:01")
    again = [
        *first,
        event(EventKind.REOPENED, "14:00", job_guid="other"),
        event(EventKind.REPLICATED, "14:00:05"),
        event(EventKind.PROMISED, "14:00:06"),
    ]
    job = replay(HOUR, again)
    assert (job.promised_guid, job.promised_at) == ("other", at("14:00:06"))


def test_events_that_do_not_fit_each_other_are_refused() -> None:
    with pytest.raises(IllegalTransition):
        replay(HOUR, [event(EventKind.CLAIMED), event(EventKind.CLAIMED)])


# -- what comes next ----------------------------------------------------------------------------------------

CLAIMED = replay(HOUR, [event(EventKind.CLAIMED, "13:00:10")])
UNCERTAIN = apply(CLAIMED, event(EventKind.REPOSTING, "13:00:20"))
DEFERRED = apply(CLAIMED, event(EventKind.DEFERRED, "13:00:11", cause="trigger_limited", not_before=at("13:30")))
TRIGGERED = apply(CLAIMED, event(EventKind.TRIGGERED, "13:00:12", job_guid=GUID))
REPLICATED = apply(TRIGGERED, event(EventKind.REPLICATED, "13:20"))
PROMISED = apply(REPLICATED, event(EventKind.PROMISED, "13:20:05"))
WORKING = apply(PROMISED, event(EventKind.WORKING, "13:21"))
LATE = apply(TRIGGERED, event(EventKind.OVERDUE, "13:51", cause="vendor_timeout"))
LATE_COMPLETE = apply(PROMISED, event(EventKind.OVERDUE, "13:51", cause="source_missing"))
LATE_WORKING = apply(LATE_COMPLETE, event(EventKind.WORKING, "13:53"))
REPOSTED_BUT_UNSENT = apply(UNCERTAIN, event(EventKind.DEFERRED, "13:00:30", cause="network", unsent=True))
CLAIMED_AGAIN = apply(REPOSTED_BUT_UNSENT, event(EventKind.CLAIMED, "13:01"))

DEAD: dict[str, bool] = {"holder_is_dead": True}
MINE: dict[str, bool] = {"is_mine": True}


@pytest.mark.parametrize(
    ("job", "now", "who", "expected"),
    [
        # there is no claim
        (ExportJob(HOUR), "13:00:00", {}, Claim()),
        (ExportJob(HOUR), "13:59:59", {}, Claim()),
        (ExportJob(HOUR), "14:00:00", {}, Done()),
        (ExportJob(HOUR), "12:59:59", {}, Done()),
        # refused with a time
        (DEFERRED, "13:29:59", {}, Wait(until=at("13:30"))),
        (DEFERRED, "13:30", {}, Claim()),
        (DEFERRED, "14:00", {}, Close("trigger_limited")),
        (replace(DEFERRED, cause=None), "14:00", {}, Close("trigger_limited")),
        (replace(DEFERRED, cause="auth_rejected", not_before=None), "13:02", {}, Claim()),
        (replace(DEFERRED, cause="auth_rejected", not_before=None), "14:00", {}, Close("auth_rejected")),
        (replace(DEFERRED, cause="trigger_drift", posts=6), "13:31", {}, Close("trigger_drift")),
        (replace(DEFERRED, posts=5), "13:31", {}, Claim()),
        # a POST on its way
        (CLAIMED, "13:00:11", {}, Wait(until=at("13:02:10"), held=True)),
        (CLAIMED, "13:02:09", {}, Wait(until=at("13:02:10"), held=True)),
        (CLAIMED, "13:02:10", {}, TakeOver()),
        (CLAIMED, "13:00:11", DEAD, TakeOver()),
        (CLAIMED, "14:00", DEAD, Close("trigger_ack_lost")),
        (CLAIMED, "14:05", {}, Close("trigger_ack_lost")),
        (CLAIMED_AGAIN, "13:01:01", DEAD, Close("trigger_ack_lost")),
        # the one re-POST on its way
        (UNCERTAIN, "13:02:19", {}, Wait(until=at("13:02:20"), held=True)),
        (UNCERTAIN, "13:02:20", {}, Close("trigger_ack_lost")),
        (UNCERTAIN, "13:00:21", DEAD, Close("trigger_ack_lost")),
        (REPOSTED_BUT_UNSENT, "13:01", {}, Claim()),
        # the vendor replicates
        (TRIGGERED, "13:00:13", {}, Poll(last=False)),
        (TRIGGERED, "13:50:11", {}, Poll(last=False)),
        (TRIGGERED, "13:50:12", {}, Poll(last=True)),
        (TRIGGERED, "16:00", DEAD, Poll(last=True)),
        # we land
        (REPLICATED, "13:20:01", MINE, Land(last=False)),
        (REPLICATED, "13:20:01", {}, Wait(until=at("13:23"), held=True)),
        (REPLICATED, "13:20:01", DEAD, Land(last=False)),
        (REPLICATED, "13:23", {}, Land(last=False)),
        (PROMISED, "13:23:04", {}, Wait(until=at("13:23:05"), held=True)),
        (WORKING, "13:23:59", {}, Wait(until=at("13:24"), held=True)),
        (WORKING, "13:24", {}, Land(last=False)),
        (WORKING, "13:49:59", MINE, Land(last=False)),
        (WORKING, "13:50", MINE, Land(last=True)),
        # overdue: one try each time, for six hours after the claim
        (LATE, "13:52", {}, Poll(last=True)),
        (LATE, "19:00:09", {}, Poll(last=True)),
        (LATE, "19:00:10", {}, Close("vendor_timeout")),
        (LATE_COMPLETE, "13:51:01", {}, Land(last=True)),
        (LATE_WORKING, "13:53:10", {}, Wait(until=at("13:56"), held=True)),
        (LATE_WORKING, "13:53:10", DEAD, Land(last=True)),
        (LATE_COMPLETE, "19:00:10", {}, Close("source_missing")),
        (replace(LATE, cause=None), "20:00", {}, Close("abandoned")),
        # the end
        (apply(PROMISED, event(EventKind.DELIVERED)), "13:30", {}, Done()),
        (apply(CLAIMED, event(EventKind.FAILED, cause="vendor_contract")), "13:30", DEAD, Done()),
    ],
)
def test_next_step_for_each_state(job: ExportJob, now: str, who: dict[str, bool], expected: Step) -> None:
    assert next_step(job, at(now), LIMITS, **({"holder_is_dead": False} | who)) == expected


def test_a_reopened_hour_has_its_last_chance_anew() -> None:
    reopened = apply(LATE, event(EventKind.REOPENED, "19:30", job_guid=GUID))
    late = apply(reopened, event(EventKind.OVERDUE, "20:21", cause="vendor_timeout"))
    assert next_step(reopened, at("19:30:01"), LIMITS, holder_is_dead=False) == Poll(last=False)
    assert next_step(late, at("22:00"), LIMITS, holder_is_dead=False) == Poll(last=True)


@given(
    st.lists(st.sampled_from(list(EventKind)), max_size=10),
    st.integers(min_value=-3600, max_value=100_000),
    st.booleans(),
    st.booleans(),
)
def test_there_is_always_a_next_step_and_it_is_legal(
    kinds: list[EventKind], seconds: int, dead: bool, mine: bool
) -> None:
    job = ExportJob(HOUR)
    for kind in kinds:
        if (str(job.state), str(kind)) in ORACLE:
            job = apply(job, event(kind, job_guid=GUID) if kind is EventKind.TRIGGERED else event(kind))
    step = next_step(job, HOUR.start + timedelta(seconds=seconds), LIMITS, holder_is_dead=dead, is_mine=mine)
    legal = {
        Claim: {"claimed"},
        TakeOver: {"reposting"},
        Close: {"failed"},
        Poll: {"replicated", "overdue"},
        Land: {"promised", "delivered", "working"},
    }
    for follows in legal.get(type(step), set()):
        assert (str(job.state), follows) in ORACLE


# -- too early ----------------------------------------------------------------------------------------------

NOW = at("13:00:15")


def too_early(
    job: ExportJob, not_before: str | None, guid: str | None = None, *, now: datetime = NOW, previous: str | None = None
) -> Deferral | GuidAdoption | Close:
    return after_too_early(
        job,
        None if not_before is None else at(not_before),
        guid,
        now=now,
        previous_trigger=None if previous is None else at(previous),
    )


def test_G4_too_early_without_a_time_is_retried_after_ten_minutes() -> None:
    assert too_early(CLAIMED, None) == Deferral(NOW + timedelta(minutes=10), "trigger_limited")


def test_G3_a_time_that_is_now_has_passed() -> None:
    third = replace(CLAIMED, posts=3)
    assert too_early(third, "13:30", now=at("13:30")) == Deferral(at("13:31"), "trigger_limited")
    assert too_early(third, "13:30", now=at("13:29:59")) == Deferral(at("13:30"), "trigger_limited")


def test_G4_six_triggers_an_hour_and_no_more() -> None:
    assert too_early(replace(CLAIMED, posts=6), "13:40") == Close("trigger_limited")
    assert too_early(replace(CLAIMED, posts=5), "13:40") == Deferral(at("13:40"), "trigger_limited")


def test_our_own_trigger_is_in_the_way_within_two_minutes_of_its_time() -> None:
    for previous, cause in (("12:38", "trigger_drift"), ("12:42", "trigger_drift"), ("12:37:59", "trigger_limited")):
        assert too_early(CLAIMED, "13:40", previous=previous) == Deferral(at("13:40"), cause)


def test_G2_too_early_with_a_time_within_the_hour_waits_for_it() -> None:
    assert too_early(CLAIMED, "13:40") == Deferral(at("13:40"), "trigger_limited")


def test_G2_too_early_until_after_the_hour_ends_it() -> None:
    assert too_early(CLAIMED, "14:00") == Close("trigger_limited")
    assert too_early(CLAIMED, "14:40", previous="12:10") == Close("trigger_limited")


def test_G3_too_early_with_a_past_time_is_retried_at_once_then_with_growing_delay() -> None:
    waits = []
    for posts in range(1, 6):
        match too_early(replace(CLAIMED, posts=posts), "13:00:10"):
            case Deferral(when, "trigger_limited"):
                waits.append((when - NOW).total_seconds())
    assert waits == [0, 30, 60, 90, 120]


def test_G4_without_a_time_six_posts_fill_the_hour() -> None:
    job, now, posts = CLAIMED, NOW, 1
    while isinstance(verdict := too_early(job, None, now=now), Deferral):
        now, posts = verdict.not_before, posts + 1
        job = replace(job, posts=posts)
    assert verdict == Close("trigger_limited")
    assert posts == 6
    assert now < HOUR.end


def test_G4_our_own_drift_has_its_own_cause() -> None:
    assert too_early(CLAIMED, "13:58", previous="12:58") == Deferral(at("13:58"), "trigger_drift")
    assert too_early(CLAIMED, "14:00:30", previous="12:59:50") == Close("trigger_drift")
    assert too_early(CLAIMED, "13:58", previous="12:30") == Deferral(at("13:58"), "trigger_limited")


@pytest.mark.parametrize(
    ("not_before", "expected"),
    [
        ("14:00:10", Close("trigger_ack_lost")),  # the vendor's hour began with our claim: it was ours
        ("13:58:11", Close("trigger_ack_lost")),  # give or take two minutes
        ("13:58:10", Deferral(at("13:58:10"), "trigger_limited")),
        ("13:20", Deferral(at("13:20"), "trigger_limited")),  # an export of 12:20 is in the way
        (None, Close("trigger_ack_lost")),
    ],
)
def test_G6_too_early_after_a_lost_answer(not_before: str | None, expected: Deferral | Close) -> None:
    assert too_early(UNCERTAIN, not_before) == expected


def test_G5_too_early_after_a_lost_answer_with_a_guid_is_adopted() -> None:
    assert too_early(UNCERTAIN, "14:00:10", GUID) == GuidAdoption(GUID)
    assert too_early(UNCERTAIN, None, GUID) == GuidAdoption(GUID)


def test_G5_the_guid_of_an_earlier_export_is_not_adopted() -> None:
    assert too_early(UNCERTAIN, "13:20", GUID) == Deferral(at("13:20"), "trigger_limited")
    assert too_early(CLAIMED, "13:40", GUID) == Deferral(at("13:40"), "trigger_limited")


def test_G6_in_the_calendar_reading_a_lost_answer_is_known_by_the_end_of_the_hour() -> None:
    """The vendor's hour began before our claim then, of any export."""
    claimed = replay(HOUR, [event(EventKind.CLAIMED, "13:20"), event(EventKind.REPOSTING, "13:20:30")])
    assert too_early(claimed, "14:00", now=at("13:20:31")) == Close("trigger_ack_lost")
    assert too_early(claimed, "14:00", GUID, now=at("13:20:31")) == GuidAdoption(GUID)
    assert too_early(claimed, "14:00", now=at("13:20:31"), previous="12:59:30") == Close("trigger_drift")
    assert too_early(claimed, "14:00:20", now=at("13:20:31")) == Close("trigger_limited")


def test_G6_a_lost_answer_is_not_forgotten_when_the_re_post_never_left() -> None:
    assert too_early(CLAIMED_AGAIN, "14:00:10", now=at("13:01:01")) == Close("trigger_ack_lost")
    assert too_early(CLAIMED_AGAIN, "14:00:10", GUID, now=at("13:01:01")) == GuidAdoption(GUID)
