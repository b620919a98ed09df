"""PURE. The life of one ExportJob: a table of transitions, the fold over its events, and what to do next.

Nothing here reads a clock or a store: events go in, a state comes out; a state, the time and the settings go in,
the next step comes out. So every rule of the run can be read and tested in one place, and a crash between any two
steps is only a shorter list of events.

An event that the table does not know raises `IllegalTransition`, and nothing happens.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from viplake.lake.records import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from viplake.lake.records import Worker
    from viplake.model import Hour

CLAIM_TTL: Final = timedelta(seconds=120)
"""When a claim without an answer may be taken over: twice the 60 s that a trigger may take."""

LEASE_TTL: Final = timedelta(seconds=180)
"""After this time without a heartbeat, a transfer may be taken over: three missed heartbeats."""

HEARTBEAT: Final = 60.0
"""Seconds between two signs of life of a worker that transfers."""

LAST_CHANCE: Final = timedelta(hours=6)
"""How long after its claim an overdue Hour is still tried."""

MAX_POSTS: Final = 6
"""Triggers sent for one Hour at most, those refused as too early included."""

UNKNOWN_WAIT: Final = timedelta(minutes=10)
"""When to ask again after "too early" without a time: six POSTs fill an hour."""

PAST_WAIT: Final = timedelta(seconds=30)
"""How much later each time to ask again after "too early" with a time that has passed: at once, then after 30 s,
60 s, ... The vendor's clock may be minutes behind ours, and the six POSTs must last for longer than that."""

RULE: Final = timedelta(minutes=60)
"""The vendor allows one trigger an hour; read as rolling it is this long."""

TOLERANCE: Final = timedelta(minutes=2)
"""What the vendor's clock and ours may differ, and what a request may take, when two times are compared."""


class State(StrEnum):
    """The state of an ExportJob."""

    IDLE = "idle"
    DEFERRED = "deferred"
    CLAIMED = "claimed"
    UNCERTAIN = "uncertain"
    TRIGGERED = "triggered"
    REPLICATED = "replicated"
    PROMISED = "promised"
    OVERDUE = "overdue"
    DELIVERED = "delivered"
    FAILED = "failed"


def _transitions() -> dict[tuple[State, EventKind], State]:
    s, k = State, EventKind
    table: dict[tuple[State, EventKind], State] = {
        # Nothing is in flight at the vendor: no POST was sent yet, or each one was surely refused.
        (s.IDLE, k.DEFERRED): s.DEFERRED,
        (s.IDLE, k.CLAIMED): s.CLAIMED,
        (s.DEFERRED, k.DEFERRED): s.DEFERRED,
        (s.DEFERRED, k.CLAIMED): s.CLAIMED,
        # One POST is on its way, or its answer was lost.
        (s.CLAIMED, k.TRIGGERED): s.TRIGGERED,
        (s.CLAIMED, k.DEFERRED): s.DEFERRED,
        (s.CLAIMED, k.REPOSTING): s.UNCERTAIN,
        (s.UNCERTAIN, k.TRIGGERED): s.TRIGGERED,
        (s.UNCERTAIN, k.DEFERRED): s.DEFERRED,
        # The vendor works, then we do.
        (s.TRIGGERED, k.REPLICATED): s.REPLICATED,
        (s.REPLICATED, k.WORKING): s.REPLICATED,
        (s.REPLICATED, k.PROMISED): s.PROMISED,
        (s.REPLICATED, k.DELIVERED): s.DELIVERED,  # its Receipt was there already: reopened after the last write failed
        (s.PROMISED, k.WORKING): s.PROMISED,
        (s.PROMISED, k.PROMISED): s.PROMISED,
        (s.PROMISED, k.DELIVERED): s.DELIVERED,
        # Past a deadline or hindered: each later tick tries once more.
        (s.OVERDUE, k.REPLICATED): s.OVERDUE,
        (s.OVERDUE, k.WORKING): s.OVERDUE,
        (s.OVERDUE, k.PROMISED): s.OVERDUE,
        (s.OVERDUE, k.OVERDUE): s.OVERDUE,
        (s.OVERDUE, k.DELIVERED): s.DELIVERED,
    }
    for state in (s.TRIGGERED, s.REPLICATED, s.PROMISED):
        table[state, k.OVERDUE] = s.OVERDUE
    for state in s:
        if state not in {s.IDLE, s.DELIVERED, s.FAILED}:
            table[state, k.FAILED] = s.FAILED
        table[state, k.REOPENED] = s.TRIGGERED  # a delivered Hour only where its proof is lost
    return table


TRANSITIONS: Final[Mapping[tuple[State, EventKind], State]] = MappingProxyType(_transitions())
"""(state, event) -> state. What is not here is illegal."""

FINAL: Final = frozenset({State.DELIVERED, State.FAILED})
UNTRIGGERED: Final = frozenset({State.IDLE, State.DEFERRED, State.CLAIMED, State.UNCERTAIN})


class IllegalTransition(Exception):
    """An event that cannot happen in that state."""


@dataclass(frozen=True, slots=True)
class Event:
    """One record of the ledger.

    Attributes:
        kind: what happened.
        at: when, UTC: as the store stamped it where it was read, as the clock showed where it was just written.
        worker: who wrote it.
        nonce: distinguishes one writer's attempt from another's.
        data: the rest, by kind: `job_guid`, `cause`, `detail`, `not_before`, `files`, `bytes`, ...
    """

    kind: EventKind
    at: datetime
    worker: Worker
    nonce: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExportJob:
    """The state of an ExportJob, folded from the events of its Hour.

    Attributes:
        hour: that it belongs to.
        state: as of its last event.
        number: of its last event; 0 without any.
        job_guid: the vendor's, once known.
        claimed_at: of the newest claim.
        opened_at: of the first claim, or of the newest reopening: from here the last chance counts.
        triggered_at, replicated_at, ended_at: when it came to that.
        posts: triggers sent, those left out that surely never left.
        reposted: the one re-POST after a lost answer is spent.
        lost_at: time of the claim with the lost response; the trigger may have been accepted then.
        not_before: no trigger before this moment.
        promised_guid: of the ExportJob that the manifest in the folder belongs to.
        promised_at: when that ExportJob's first Promise was on record: what is older in the folder is not its.
        unproven: names of files with stored bytes other than those that were sent; none of them is kept.
        cause, detail: why it waits, is overdue or failed.
        late: it was overdue once.
        last: its last event.
    """

    hour: Hour
    state: State = State.IDLE
    number: int = 0
    job_guid: str | None = None
    claimed_at: datetime | None = None
    opened_at: datetime | None = None
    triggered_at: datetime | None = None
    replicated_at: datetime | None = None
    ended_at: datetime | None = None
    posts: int = 0
    reposted: bool = False
    lost_at: datetime | None = None
    not_before: datetime | None = None
    promised_guid: str | None = None
    promised_at: datetime | None = None
    unproven: frozenset[str] = frozenset()
    cause: str | None = None
    detail: str | None = None
    late: bool = False
    last: Event | None = None

    @property
    def is_final(self) -> bool:
        """Delivered or failed."""
        return self.state in FINAL

    @property
    def is_complete(self) -> bool:
        """Whether the vendor has reported that the export is complete."""
        return self.replicated_at is not None


def apply(job: ExportJob, event: Event) -> ExportJob:
    """The job after one more event.

    Raises:
        IllegalTransition: the table does not know this event in this state.
    """
    try:
        state = TRANSITIONS[job.state, event.kind]
    except KeyError:
        raise IllegalTransition(f"{event.kind} in state {job.state}, Hour {job.hour}") from None
    changes: dict[str, Any] = {"state": state, "number": job.number + 1, "last": event}
    changes |= _CHANGES[event.kind](job, event)
    changes |= {name: event.data[name] for name in ("job_guid", "cause", "detail") if name in event.data}
    return replace(job, **changes)


_NO_CAUSE: Final = {"cause": None, "detail": None}

_CHANGES: Final[Mapping[EventKind, Callable[[ExportJob, Event], dict[str, Any]]]] = {
    EventKind.DEFERRED: lambda job, event: {
        "not_before": event.data.get("not_before"),
        "opened_at": job.opened_at or event.at,
        "posts": job.posts - bool(event.data.get("unsent")),
    },
    EventKind.CLAIMED: lambda job, event: {
        "claimed_at": event.at,
        "opened_at": job.opened_at or event.at,
        "posts": job.posts + 1,
    },
    EventKind.REPOSTING: lambda job, _: {
        "posts": job.posts + 1,
        "reposted": True,
        "lost_at": job.lost_at or job.claimed_at,
    },
    EventKind.TRIGGERED: lambda _, event: {"triggered_at": event.at} | _NO_CAUSE,
    EventKind.REPLICATED: lambda _, event: {"replicated_at": event.at},
    EventKind.PROMISED: lambda job, event: {
        "promised_guid": job.job_guid,
        "promised_at": job.promised_at if job.promised_guid == job.job_guid else event.at,
    },
    EventKind.WORKING: lambda _job, _event: {},
    EventKind.OVERDUE: lambda job, event: {
        "late": True,
        "unproven": job.unproven | set(event.data.get("unproven", ())),
    },
    EventKind.DELIVERED: lambda _, event: {"ended_at": event.at} | _NO_CAUSE,
    EventKind.FAILED: lambda _, event: {"ended_at": event.at},
    EventKind.REOPENED: lambda job, event: (
        {
            # A delivered Hour is reopened because its folder proves nothing any more: then all of it is fetched anew.
            "promised_guid": None if job.state is State.DELIVERED else job.promised_guid,
            "triggered_at": event.at,
            "opened_at": event.at,
            "replicated_at": None,
            "ended_at": None,
        }
        | _NO_CAUSE
    ),
}
"""What each kind of event changes besides the state."""


def replay(hour: Hour, events: Iterable[Event]) -> ExportJob:
    """Fold these events, oldest first, into a job.

    Raises:
        IllegalTransition: they do not fit each other.
    """
    job = ExportJob(hour)
    for event in events:
        job = apply(job, event)
    return job


# -- what to do next ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limits:
    """The deadlines of the run.

    Attributes:
        replication: from the trigger to the vendor's `Complete`.
        transfer: from `Complete` to the Receipt.
    """

    replication: timedelta
    transfer: timedelta


@dataclass(frozen=True, slots=True)
class Done:
    """Final: nothing is left to do."""


@dataclass(frozen=True, slots=True)
class Claim:
    """No trigger is in flight and one is allowed: claim the Hour and send it."""


@dataclass(frozen=True, slots=True)
class TakeOver:
    """The claiming process has ended, and it is unknown whether Veson accepted its trigger: send it once more."""


@dataclass(frozen=True, slots=True)
class Wait:
    """No step is due now.

    Attributes:
        until: when it is worth looking again; None: at the next poll.
        held: another worker has the Hour.
    """

    until: datetime | None = None
    held: bool = False


@dataclass(frozen=True, slots=True)
class Close:
    """Give the Hour up.

    Attributes:
        cause: why.
    """

    cause: str


@dataclass(frozen=True, slots=True)
class Poll:
    """Ask the vendor whether the export is complete.

    Attributes:
        last: the deadline has passed: if it is not complete now, the Hour is overdue.
    """

    last: bool


@dataclass(frozen=True, slots=True)
class Land:
    """List, transfer and prove.

    Attributes:
        last: the deadline has passed: if it does not work now, the Hour is overdue.
    """

    last: bool


Step = Done | Claim | TakeOver | Wait | Close | Poll | Land


def next_step(job: ExportJob, now: datetime, limits: Limits, *, holder_is_dead: bool, is_mine: bool = False) -> Step:
    """Return what a tick does next for this Hour.

    Args:
        job: as the ledger has it.
        now: UTC.
        limits: the deadlines.
        holder_is_dead: it is certain that the writer of the last event no longer lives.
        is_mine: the writer of the last event is who asks.
    """
    match job.state:
        case State.DELIVERED | State.FAILED:
            return Done()
        case State.IDLE:
            return Claim() if now in job.hour else Done()
        case State.DEFERRED:
            return _when_deferred(job, now)
        case State.CLAIMED | State.UNCERTAIN:
            return _when_unanswered(job, now, holder_is_dead=holder_is_dead)
        case _:
            return _when_triggered(job, now, limits, holder_is_dead=holder_is_dead, is_mine=is_mine)


def _when_deferred(job: ExportJob, now: datetime) -> Step:
    if now >= job.hour.end or job.posts >= MAX_POSTS:
        return Close(job.cause or "trigger_limited")
    if job.not_before is not None and now < job.not_before:
        return Wait(until=job.not_before)
    return Claim()


def _when_unanswered(job: ExportJob, now: datetime, *, holder_is_dead: bool) -> Step:
    if job.last is not None and not holder_is_dead and now < job.last.at + CLAIM_TTL:
        return Wait(until=job.last.at + CLAIM_TTL, held=True)
    if job.state is State.UNCERTAIN or job.reposted or now not in job.hour:
        return Close("trigger_ack_lost")
    return TakeOver()


def _when_triggered(job: ExportJob, now: datetime, limits: Limits, *, holder_is_dead: bool, is_mine: bool) -> Step:
    if job.state is State.OVERDUE and job.opened_at is not None and now >= job.opened_at + LAST_CHANCE:
        return Close(job.cause or "abandoned")
    if job.replicated_at is None:
        return Poll(last=job.triggered_at is None or now >= job.triggered_at + limits.replication)
    works = job.last is not None and job.last.kind in {EventKind.REPLICATED, EventKind.PROMISED, EventKind.WORKING}
    if works and job.last and not is_mine and not holder_is_dead and now < job.last.at + LEASE_TTL:
        return Wait(until=job.last.at + LEASE_TTL, held=True)
    return Land(last=now >= job.replicated_at + limits.transfer)


@dataclass(frozen=True, slots=True)
class Deferral:
    """The trigger was surely refused: no other before this moment."""

    not_before: datetime
    cause: str


@dataclass(frozen=True, slots=True)
class GuidAdoption:
    """Our trigger had been accepted, and the response names its GUID."""

    job_guid: str


def after_too_early(
    job: ExportJob,
    not_before: datetime | None,
    job_guid: str | None,
    *,
    now: datetime,
    previous_trigger: datetime | None,
) -> Deferral | GuidAdoption | Close:
    """Return what "too early" means for a job after this response to its trigger.

    After a lost answer it may mean that the first POST had been accepted: that is so when the vendor's hour began
    (`not_before` - 60 min) no earlier than our claim, give or take the tolerance; and, where the vendor counts
    calendar hours, when it allows none before the very end of ours. Else an earlier export blocks: ours of the Hour
    before (then our own schedule drifts), or somebody else's.

    Args:
        job: CLAIMED or UNCERTAIN.
        not_before: what the vendor allows next, where it said.
        job_guid: of the export in the way, where it said.
        now: UTC.
        previous_trigger: when we last triggered an earlier Hour, where we did.
    """
    begun = None if not_before is None else not_before - RULE
    drifted = begun is not None and previous_trigger is not None and abs(begun - previous_trigger) <= TOLERANCE
    if job.lost_at is not None:
        calendar = begun == job.hour.start and not drifted
        if begun is None or begun > job.lost_at - TOLERANCE or calendar:
            return GuidAdoption(job_guid) if job_guid else Close("trigger_ack_lost")
    cause = "trigger_drift" if drifted else "trigger_limited"
    if not_before is None:
        when = now + UNKNOWN_WAIT
    else:
        when = not_before if not_before > now else now + PAST_WAIT * max(job.posts - 1, 0)
    if when >= job.hour.end or job.posts >= MAX_POSTS:
        return Close(cause)
    return Deferral(when, cause)
