"""PURE. What a rule is: its row, the Hour that it judges, and its result: a breach, a pass, or no data with the reason.

A rule names the facts that it needs. `unmet` says why they are not there, in one place for all rules, so that a rule
is a function of facts that exist. "No data" is a result, never an absence: no rule takes silence for health.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

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
    from viplake.judge.record import Record
    from viplake.judge.rules.content_verdicts import Inside
    from viplake.model import Hour, Severity
    from viplake.tables.schema import Change

PAGE_BELOW: Final = timedelta(hours=6)
"""Time left until records are lost, below which an outage is a page: long enough for a ticket at the vendor."""

NoDataKind = Literal["absent", "unsettled", "unreadable", "excused"]
"""Why a rule has no data: nothing is on record, the Hour is not over or on its way, a file cannot be read, or the
rule need not be judged because the Hour is planned or the rule is turned off."""

URGENT: Final = frozenset(
    {"dest_auth", "dest_denied", *(cause.word for cause in CAUSES.values() if cause.exit_code == CREDENTIALS)}
)
"""Causes that never go away by themselves, secrets and permissions: notified at once."""

Loss = Literal["", "soon", "lost"]

Need = Literal["record", "begun", "settled", "run", "export", "manifest", "files", "schema", "content"]


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule is broken in an Hour.

    Attributes:
        rule, hour: which, and where.
        table: of which table; None: of the whole export.
        severity: how grave.
        cause, owner: why, and who has to act; `unknown` where no record says.
        summary: one sentence with its numbers.
        group: the trouble that it belongs to, where that is not its rule's own.
        evidence: what the vendor said, and the job GUID; empty where no record says.
        loss: of look-back coverage: records will be lost `soon`, or are `lost`; empty where neither is so.
        until: the last moment at which an Hour must begin so that nothing is lost; None where that is unknown.
        after: Hours in breach from which on there is a notification.
        urgent: there is a notification at once.
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


@dataclass(frozen=True, slots=True)
class RulePassed:
    """A rule holds in this Hour, for all tables that have no breach."""

    rule: str
    hour: Hour


@dataclass(frozen=True, slots=True)
class NoData:
    """A rule cannot be judged in this Hour."""

    rule: str
    hour: Hour
    reason: str
    kind: NoDataKind = "absent"

    @property
    def excused(self) -> bool:
        """The rule need not be judged: the Hour is planned, or the rule is turned off."""
        return self.kind == "excused"


RuleResult = Breach | RulePassed | NoData


@dataclass(frozen=True, slots=True)
class Case:
    """An Hour to judge, with all facts that rules need.

    Attributes:
        record: what is known of it; None: it is not on record.
        hour: which.
        now: when it is judged.
        ours: viplake ran before this Hour, so it should have run in it.
        begun: an export was delivered, or viplake ran, in this Hour or before.
        unmatched: files that belong to no table in the newest delivered Hour before; None where unknown.
        changes: how its schema differs from that of the newest delivered Hour before; a reason where that is unknown.
        volumes: by table, None: of the whole export; a reason where none was judged.
        gaps: of look-back coverage, that touch this Hour.
        look_back: what an export carries.
        inside: the content of its files; None where there was no content check.
        burning: too many of the last Hours were bad.
        planned: the calendar's entry that holds it.
        whole: its export beside those before it.
    """

    record: Record | None
    hour: Hour
    now: datetime
    ours: bool = True
    begun: bool = True
    unmatched: int | None = None
    changes: Sequence[Change] | str = "there is no schema before to compare with"
    volumes: Mapping[str | None, VolumeVerdict | InsufficientHistory] | str = "no volumes are on record"
    gaps: Sequence[Gap] = ()
    look_back: timedelta = timedelta(hours=24)
    inside: Inside | None = None
    burning: bool = False
    planned: Planned | None = None
    whole: Wholeness = field(default_factory=Wholeness)

    @property
    def is_open(self) -> bool:
        """Whether the Hour is not over, or its run is on its way: it is neither a breach nor a good Hour."""
        record = self.record
        if record is None or record.outcome == "waiting":
            return record is not None
        return not record.delivered and record.outcome != "failed" and self.now < self.hour.end

    @property
    def until(self) -> datetime | None:
        """While an outage lasts: the start of the last Hour that can still carry all records."""
        lasting = next((gap for gap in self.gaps if gap.table is None and gap.before is None), None)
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
    def content(self) -> Inside:
        """The content of its files, for rules that need it."""
        if self.inside is None:
            raise LookupError("a rule that reads the content must name it in its needs")
        return self.inside

    @property
    def minute(self) -> float:
        """Minutes since its start, at the time of judging."""
        return (self.now - self.hour.start) / timedelta(minutes=1)

    @property
    def attribution(self) -> tuple[str, str]:
        """The cause and owner on record; `unknown` both where there is none."""
        record = self.record
        if record is None or record.cause is None:
            return UNKNOWN, UNKNOWN
        return record.cause, record.owner or UNKNOWN

    @property
    def sender(self) -> tuple[str, str]:
        """Cause and owner of what is odd in an export: what is proven is as the vendor sent it."""
        record = self.record
        if record is not None and record.cause is None and record.ledger and record.outcome == "delivered":
            return "as_sent", "vendor"
        return self.attribution

    @property
    def evidence(self) -> str:
        """What the vendor said last, and the GUID of the job; empty where no record says."""
        run = self.record.facts.run if self.record is not None and self.record.facts is not None else None
        if run is None:
            return ""
        return ", ".join(filter(None, [run.detail or "", f"GUID {run.job_guid}" if run.job_guid else ""]))

    @property
    def severity(self) -> Severity:
        """Of an outage, while it lasts: by the time left until records are lost for good."""
        at = min(self.now, self.hour.end)
        left = [gap.left(at, self.look_back) for gap in self.gaps if gap.table is None]
        close = any(time is not None and time < PAGE_BELOW for time in left)
        return "page" if close or self.burning else "ticket"


@dataclass(frozen=True, slots=True)
class Limit:
    """A threshold of a rule: its key, default, range, and what it is a number of."""

    key: str
    default: float
    low: float
    high: float
    what: str


@dataclass(frozen=True, slots=True)
class RuleConfig:
    """What `viplake.toml` says of a rule.

    Attributes:
        enabled: whether it is judged.
        severity: instead of the rule's own; None: its own.
        limits: its thresholds, by key.
        anomaly: how far off is abnormal, for the rules of volumes.
        tables: what it says of single tables, by name.
    """

    enabled: bool = True
    severity: Severity | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    anomaly: AnomalySettings = field(default_factory=AnomalySettings)
    tables: Mapping[str, TableConfig] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TableConfig:
    """What `viplake.toml` says of a table.

    Attributes:
        ignore: the rule does not look at it.
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
        meaning: when it is broken, in one clause.
        judge: the function that says so.
        severity: how grave a breach is, unless it says otherwise itself.
        headline: of an incident of several Hours, which the period follows; `{tables}` names its tables.
        advice: what to do now, a command; `{first}` and `{last}` are its Hours, `{evidence}` the command that makes
            the pack for Veson's support.
        limits: its thresholds.
        waits: notified from so many Hours on as its limit `hours` says; its whole group too.
        point: a point in time: it is over at the next good Hour, and that is not notified.
        needs: facts without which it has no data, in the order in which they are looked for.
        group: the trouble that it belongs to: breaches of one group are one incident; empty: its own name.
        decides: its pass ends the incidents of its group; without it each rule's pass ends its own.
        outage: a breach is as grave as the time left until records are lost.
        excused: planned Hours are judged too.
        counted_down: its incidents end in a loss of records, unless they end before.
        counts: it judges amounts of this, and takes the keys of `AnomalySettings` too.
    """

    name: str
    meaning: str
    judge: Callable[[Case, RuleConfig, Results], Iterator[RuleResult]]
    severity: Severity = "ticket"
    headline: str = ""
    advice: str = ""
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


@dataclass(frozen=True, slots=True)
class Results:
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
        """The rule is broken; `attribution` is cause and owner, `more` the other members of `Breach`."""
        case, grave = self.case, severity or self.severity
        own = {"group": self.group, "evidence": case.evidence, "until": case.until, "after": self.after}
        own["urgent"] = attribution[0] in URGENT
        return Breach(self.rule, case.hour, table, grave, *attribution, summary, **{**own, **more})

    def passed(self) -> RulePassed:
        """The rule holds."""
        return RulePassed(self.rule, self.case.hour)

    def no_data(self, reason: str, kind: NoDataKind = "absent") -> NoData:
        """The rule cannot be judged."""
        return NoData(self.rule, self.case.hour, reason, kind)


NOT_ON_RECORD: Final = "the Hour is not on record: run viplake observe"
OTHER_PROGRAM: Final = "another program ran this Hour; no run record exists"


def unmet(case: Case) -> dict[Need, tuple[str, NoDataKind]]:
    """The facts that an Hour lacks, each with the reason and the kind of "no data"."""
    record = case.record
    if record is None:
        return {"record": (NOT_ON_RECORD, "absent")}
    facts = record.facts
    schema = facts.schema if facts is not None else None
    lacking: dict[Need, tuple[bool, str, NoDataKind]] = {
        "begun": (not case.begun, "nothing was delivered before: this lake had not begun", "absent"),
        "settled": (
            case.is_open,
            "the Hour is on its way" if record.outcome == "waiting" else "the Hour is not over",
            "unsettled",
        ),
        "run": (not record.ledger, "no run record exists, so its times are unknown", "absent"),
        "export": (not record.delivered, "nothing was delivered", "absent"),
        "manifest": (
            facts is None or facts.promise is None,
            "its manifest was not compared with what is stored",
            "absent",
        ),
        "files": (facts is None, "its folder was not read in this check", "absent"),
        "schema": (
            facts is not None and facts.expected is None,
            "it has no schema" if schema is None else f"its schema cannot be read: {schema.problem}",
            "absent" if schema is None else "unreadable",
        ),
        "content": (case.inside is None, NOT_LOOKED, "absent"),
    }
    return {need: (reason, kind) for need, (is_lacking, reason, kind) in lacking.items() if is_lacking}
