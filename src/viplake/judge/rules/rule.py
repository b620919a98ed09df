"""PURE. What a rule is: its row, the Hour that it judges, and its result: a breach, a pass, or no data with the reason.

A rule names the facts that it needs. `unmet` finds missing ones in one place for all rules, so that a rule is a
function of facts that exist. "No data" is a result of its own: missing data never counts as a pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from viplake.errors import CAUSES, CREDENTIALS
from viplake.judge.detector.usual import AnomalySettings
from viplake.judge.record import Wholeness
from viplake.judge.rules.content_verdicts import NOT_LOOKED
from viplake.model import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from viplake.history.facts import HourFacts
    from viplake.judge.calendar import Planned
    from viplake.judge.coverage import Gap
    from viplake.judge.detector.anomaly import InsufficientHistory, VolumeVerdict
    from viplake.judge.detector.drift import Drift
    from viplake.judge.record import Record
    from viplake.judge.rules.content_verdicts import CheckedContent
    from viplake.model import Hour, Severity
    from viplake.tables.schema import Change

PAGE_BELOW: Final = timedelta(hours=6)
"""Time left until records are lost, below which an outage is a page: long enough for a ticket at the vendor."""

NoDataKind = Literal["absent", "unread", "unsettled", "unreadable", "excused"]
"""Why a rule has no data: nothing is on record, its folder was not listed in this check, the Hour is not over or on its
way, a file cannot be read, or the rule need not be judged because the Hour is planned or the rule is turned off."""

URGENT: Final = frozenset(
    {"dest_auth", "dest_denied", *(cause.word for cause in CAUSES.values() if cause.exit_code == CREDENTIALS)}
)
"""Causes that never go away by themselves, secrets and permissions: notified at once."""

CHANGED: Final = ("changed_in_lake", "us")
"""Cause and owner where files of a proven Hour were changed or removed later. No later Hour makes up for it."""

Loss = Literal["", "soon", "lost"]

Need = Literal["record", "begun", "settled", "run", "export", "manifest", "files", "schema", "content", "merged"]


class Breach(NamedTuple):
    """A rule is violated in an Hour; a tuple, because a long outage has two in each of its Hours.

    Attributes:
        rule, hour: the rule and the Hour.
        table: the table; None: the whole export.
        severity: `info`, `ticket` or `page`.
        cause, owner: why, and who has to act; `unknown` where no record says.
        summary: one sentence with its numbers.
        group: the incident group, where it differs from the rule's own.
        evidence: the vendor's response, and the job GUID; empty without a record.
        loss: of look-back coverage: records will be lost `soon`, or are `lost`; empty where neither is so.
        until: the last moment at which an Hour must begin so that nothing is lost; None where that is unknown.
        after: Hours in breach from which on there is a notification.
        urgent: there is a notification at once.
        unsure: whether records are lost is not known, because Hours before or in the gap are not on record.
        presumed: the folder was not read in this check; if an earlier one found the same, its cause holds.
    """

    rule: str
    hour: Hour
    table: str | None
    severity: Severity
    cause: str
    owner: str
    summary: str
    group: str = ""
    evidence: str = ""
    loss: Loss = ""
    until: datetime | None = None
    after: int = 1
    urgent: bool = False
    unsure: bool = False
    presumed: bool = False


class RulePassed(NamedTuple):
    """A rule passed in this Hour, for all tables without a breach."""

    rule: str
    hour: Hour


class NoData(NamedTuple):
    """A rule cannot be evaluated in this Hour; a tuple, because a check of years makes a million of them."""

    rule: str
    hour: Hour
    reason: str
    kind: NoDataKind = "absent"

    @property
    def excused(self) -> bool:
        """Whether the rule does not apply: the Hour is planned, or the rule is turned off."""
        return self.kind == "excused"


RuleResult = Breach | RulePassed | NoData


@dataclass(frozen=True, slots=True)
class MergedHours:
    """What the current and history tables have of the last days.

    Attributes:
        done: Hours that were merged.
        held: tables that are held back, with the oldest Hour that each lacks, and the reason.
    """

    done: frozenset[Hour] = frozenset()
    held: Mapping[str, tuple[Hour, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """An Hour to evaluate, with all facts that rules need.

    Attributes:
        record: the facts on record; None: there are none.
        hour: the Hour.
        now: time of the evaluation.
        ours: viplake ran before this Hour, so it should have run in it.
        begun: an export was delivered, or viplake ran, in this Hour or before.
        unmatched: files that belong to no table in the newest delivered Hour before; None where unknown.
        changes: how its schema differs from that of the newest delivered Hour before; a reason where that is unknown.
        volumes: verdicts by table, None for the whole export; a reason where there are none.
        drifts: how each table has drifted over the week before this Hour; None: no week begins with it.
        gaps: of look-back coverage, that overlap this Hour.
        look_back: the period that an export carries.
        checked_content: the content of its files; None where there was no content check.
        burning: with this Hour, if it is bad, too many of the last Hours were bad.
        planned: the calendar entry that includes it.
        whole: its completeness, compared with the exports before.
        merged: what the current tables have; None where the lake has no such tables.
    """

    record: Record | None
    hour: Hour
    now: datetime
    ours: bool = True
    begun: bool = True
    unmatched: int | None = None
    changes: Sequence[Change] | str = "there is no schema before to compare with"
    volumes: Mapping[str | None, VolumeVerdict | InsufficientHistory] | str = "no volumes are on record"
    drifts: Mapping[str, Drift | InsufficientHistory] | None = None
    gaps: Sequence[Gap] = ()
    look_back: timedelta = timedelta(hours=24)
    checked_content: CheckedContent | None = None
    burning: bool = False
    planned: Planned | None = None
    whole: Wholeness = field(default_factory=Wholeness)
    merged: MergedHours | None = None

    @property
    def is_open(self) -> bool:
        """Whether the Hour has not ended, or its run is in progress: then it is neither a breach nor a good Hour."""
        record = self.record
        if record is None or record.outcome == "waiting":
            return record is not None
        return not record.delivered and record.outcome != "failed" and self.now < self.hour.end

    def around(self, table: str | None) -> Iterator[Gap]:
        """Return the gaps of a table around this Hour; None: of the whole export."""
        return (gap for gap in self.gaps if gap.table == table and gap.first <= self.hour <= gap.last)

    def is_unsure(self, table: str | None) -> bool:
        """Return whether records of this Hour may be lost; `lookback_gap` reports what surely is."""
        return any(gap.unknown or gap.after is None or gap.lost is not None for gap in self.around(table))

    def until(self, table: str | None = None) -> datetime | None:
        """While a gap lasts, the latest start of an Hour that still covers all records; None otherwise."""
        lasting = next((gap for gap in self.gaps if gap.table == table and gap.before is None), None)
        return None if lasting is None or lasting.unknown else lasting.deadline(self.look_back)

    @property
    def known(self) -> Record:
        """The record, for rules that need it."""
        if self.record is None:
            raise LookupError("a rule that reads the record must name it in its needs")
        return self.record

    @property
    def files(self) -> HourFacts:
        """The facts of its folder, for rules that need them."""
        if self.known.facts is None:
            raise LookupError("a rule that reads the folder must name it in its needs")
        return self.known.facts

    @property
    def content(self) -> CheckedContent:
        """The content of its files, for rules that need it."""
        if self.checked_content is None:
            raise LookupError("a rule that reads the content must name it in its needs")
        return self.checked_content

    @property
    def minute(self) -> float:
        """Minutes from its start to the evaluation."""
        return (self.now - self.hour.start) / timedelta(minutes=1)

    @property
    def attribution(self) -> tuple[str, str]:
        """The cause and owner on record; both `unknown` where there is none."""
        record = self.record
        if record is None or record.cause is None:
            return UNKNOWN, UNKNOWN
        return record.cause, record.owner or UNKNOWN

    @property
    def sender(self) -> tuple[str, str]:
        """Cause and owner of abnormal data: in a proven Hour it is as the vendor sent it (`as_sent`, `vendor`)."""
        record = self.record
        if record is not None and record.cause is None and record.ledger and record.outcome == "delivered":
            return "as_sent", "vendor"
        return self.attribution

    @property
    def not_stored(self) -> tuple[str, str]:
        """Cause and owner of promised files that are not stored: a proven Hour was changed later."""
        record = self.record
        return CHANGED if record is not None and record.cause is None and record.ledger else self.attribution

    @property
    def evidence(self) -> str:
        """The vendor's last response, and the GUID of the job; empty without a record."""
        run = self.record.facts.run if self.record is not None and self.record.facts is not None else None
        if run is None:
            return ""
        return ", ".join(filter(None, [run.detail or "", f"GUID {run.job_guid}" if run.job_guid else ""]))

    def seen(self, gap: Gap) -> datetime:
        """Return when the Hour is over for a gap, or now: what comes later says nothing of this Hour."""
        return min(self.now, self.hour.end + gap.grace)

    @property
    def severity(self) -> Severity:
        """The severity of a running outage, by the time left until records are lost."""
        if self.burning:
            return "page"
        left = (gap.left(self.seen(gap), self.look_back) for gap in self.gaps if gap.table is None)
        return "page" if any(time is not None and time < PAGE_BELOW for time in left) else "ticket"


@dataclass(frozen=True, slots=True)
class Limit:
    """A threshold of a rule: key, default, range and unit."""

    key: str
    default: float
    low: float
    high: float
    what: str


@dataclass(frozen=True, slots=True)
class RuleConfig:
    """The configuration of a rule in `viplake.toml`.

    Attributes:
        enabled: whether it is evaluated.
        severity: instead of the rule's own; None: its own.
        limits: its thresholds, by key.
        anomaly: the thresholds of anomalies, for the rules of volumes.
        tables: the configuration of single tables, by name.
    """

    enabled: bool = True
    severity: Severity | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    anomaly: AnomalySettings = field(default_factory=AnomalySettings)
    tables: Mapping[str, TableConfig] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TableConfig:
    """The configuration of a table in `viplake.toml`.

    Attributes:
        ignore: the rule skips it.
        severity: instead of the rule's; None: the rule's.
        key: it is a key table: a page, at once.
    """

    ignore: bool = False
    severity: Severity | None = None
    key: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, as data.

    Attributes:
        name: stable, for JSON and `viplake.toml`.
        meaning: when it is violated, in one clause.
        judge: the function that evaluates it.
        severity: of a breach, unless the breach has its own.
        headline: text of an incident of several Hours, followed by the period; `{tables}` names its tables.
        timed: its summary says by itself how long it has lasted.
        well: text of an incident that is over: what has recovered; `{tables}` names its tables, or the export.
        advice: the next step, a command; `{last}` is its last Hour, `{verify}` the command that compares its files,
            `{evidence}` the sentence about the page for Veson's support, and `{ask}` begins a question to Veson.
        risk: whether records are lost or at risk while it lasts, where no time is counted down.
        outcome: the same once it is over.
        limits: its thresholds.
        waits: notified from so many Hours on as its limit `hours` says; where it decides, its whole group too.
        point: a point in time: it ends at the next good Hour, without a notification.
        needs: facts without which it has no data, in the order of the search.
        group: breaches of one group are one incident; empty: its own name.
        decides: its pass ends the incidents of its group; without one, each rule's pass ends its own.
        outage: the severity of a breach depends on the time left until records are lost.
        excused: planned Hours are evaluated too.
        counted_down: its incidents end in a loss of records, unless they end before.
        counts: the unit of the amounts that it evaluates; it then also takes the keys of `AnomalySettings`.
    """

    name: str
    meaning: str
    judge: Callable[[Case, RuleConfig, Results], Iterator[RuleResult]]
    severity: Severity = "ticket"
    headline: str = ""
    timed: bool = False
    well: str = ""
    advice: str = ""
    risk: str = ""
    outcome: str = ""
    limits: tuple[Limit, ...] = ()
    needs: tuple[Need, ...] = ()
    group: str = ""
    decides: bool = False
    outage: bool = False
    waits: bool = False
    point: bool = False
    excused: bool = False
    counted_down: bool = False
    counts: Literal["bytes", "records"] | None = None


class Results(NamedTuple):
    """Makes the results of one rule in one Hour."""

    rule: str
    case: Case
    severity: Severity
    group: str = ""
    after: int = 1

    def breach(
        self,
        summary: str,
        attribution: tuple[str, str],
        *,
        table: str | None = None,
        severity: Severity | None = None,
        **more: Any,
    ) -> Breach:
        """Return a breach; `attribution` is cause and owner, `more` the other members of `Breach`."""
        case, grave = self.case, severity or self.severity
        own: dict[str, Any] = {
            "group": self.group,
            "evidence": case.evidence,
            "after": self.after,
            "urgent": attribution[0] in URGENT,
        }
        own["unsure"] = self.group == "outage" and table is None and case.is_unsure(None)
        if "until" not in more:
            own["until"] = case.until()
        return Breach(self.rule, case.hour, table, grave, *attribution, summary, **(own | more))

    def passed(self) -> RulePassed:
        """Return a pass."""
        return RulePassed(self.rule, self.case.hour)

    def no_data(self, reason: str, kind: NoDataKind = "absent") -> NoData:
        """Return "no data" with its reason."""
        return NoData(self.rule, self.case.hour, reason, kind)


NOT_ON_RECORD: Final = "the Hour is not on record: run viplake observe"
OTHER_PROGRAM: Final = "another program ran this Hour; no run record exists"


def unmet(case: Case) -> dict[Need, tuple[str, NoDataKind]]:
    """Return the facts that an Hour lacks, each with the reason and the kind of "no data"."""
    record = case.record
    if record is None:
        return {"record": (NOT_ON_RECORD, "absent")}
    facts = record.facts
    schema = facts.schema if facts is not None else None
    lacking: dict[Need, tuple[bool, str, NoDataKind]] = {
        "begun": (not case.begun, "nothing was delivered before: this lake had not begun", "absent"),
        "settled": (
            case.is_open,
            "the run is in progress" if record.outcome == "waiting" else "the Hour is not over",
            "unsettled",
        ),
        "run": (not record.ledger, "no run record exists, so its times are unknown", "absent"),
        "export": (not record.delivered, "nothing was delivered", "absent"),
        "manifest": (
            facts is None or facts.promise is None,
            "its manifest was not compared with what is stored",
            "absent" if facts is not None else "unread",
        ),
        "files": (facts is None, "its folder was not read in this check", "unread"),
        "schema": (
            facts is not None and facts.expected is None,
            "it has no schema" if schema is None else f"its schema cannot be read: {schema.problem}",
            "absent" if schema is None else "unreadable",
        ),
        "content": (case.checked_content is None, NOT_LOOKED, "absent"),
        "merged": (case.merged is None, "the lake has no current tables", "absent"),
    }
    return {need: (reason, kind) for need, (is_lacking, reason, kind) in lacking.items() if is_lacking}
