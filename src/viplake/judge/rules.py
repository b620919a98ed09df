"""PURE. Each rule looks at one Hour and says: a breach, passed, or no data, with the reason.

Rules are data: `RULES` names each with what it means, its thresholds and how grave it is, and `viplake.toml` may
change these. Absolute rules hold from the first Hour of a history on; volumes speak once there are three weeks.
"No data" is a result, never an absence: nothing here ever takes silence for health.

A breach carries one cause and one owner, from the ledger and the listing. Of Hours that another program ran nobody
left word why they failed: there both are `unknown`, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

from viplake.judge import anomaly, content_rules as inside
from viplake.judge.anomaly import AnomalySettings, Judged
from viplake.judge.record import NOBODY, PHASES
from viplake.model import SEVERITIES, Severity
from viplake.toml_tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from viplake.judge.anomaly import Silent
    from viplake.judge.calendar import Planned
    from viplake.judge.content_rules import Inside, Verdict
    from viplake.judge.coverage import Gap
    from viplake.judge.record import Record
    from viplake.model import Hour
    from viplake.tables.schema import Change

"""The mildest first: to know, to do in working hours, to get up for."""

PAGE_BELOW: Final = timedelta(hours=6)
"""Time left until something is lost for good, below which to get up: long enough for a ticket at the vendor."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule does not hold.

    Attributes:
        rule, hour: which, and where.
        table: of which table; None: of the whole export.
        severity: how grave.
        cause, owner: why, and whose turn it is; `unknown` where nobody knows.
        summary: one sentence with its numbers.
    """

    rule: str
    hour: Hour
    table: str | None
    severity: Severity
    cause: str
    owner: str
    summary: str


@dataclass(frozen=True, slots=True)
class Passed:
    """A rule holds in this Hour, for all tables that have no breach."""

    rule: str
    hour: Hour


@dataclass(frozen=True, slots=True)
class NoData:
    """A rule cannot be judged in this Hour; or need not be, where it is planned or turned off: `excused`."""

    rule: str
    hour: Hour
    reason: str
    excused: bool = False


Finding = Breach | Passed | NoData


@dataclass(frozen=True, slots=True)
class Case:
    """An Hour to judge, with all that rules ask for.

    Attributes:
        record: what is known of it; None: it is not on record.
        hour: which.
        now: when it is judged.
        ours: viplake ran before this Hour, so it should have run in it.
        unmatched: files that belong to no table in the newest delivered Hour before; None where nobody looked.
        changes: what its schema differs in from the newest delivered Hour before; a reason where that is not known.
        volumes: by table, None: of the whole export; a reason where none was judged.
        gaps: of look-back coverage, that touch this Hour.
        look_back: what an export carries.
        inside: what its files hold; None where nobody looked.
        burning: too many of the last Hours were bad.
        planned: the calendar's entry that holds it.
    """

    record: Record | None
    hour: Hour
    now: datetime
    ours: bool = True
    unmatched: int | None = None
    changes: Sequence[Change] | str = "there is no schema before to compare with"
    volumes: Mapping[str | None, Judged | Silent] | str = "no volumes are on record"
    gaps: Sequence[Gap] = ()
    look_back: timedelta = timedelta(hours=24)
    inside: Inside | None = None
    burning: bool = False
    planned: Planned | None = None

    @property
    def minute(self) -> float:
        """Minutes since its start, at the time of judging."""
        return (self.now - self.hour.start) / timedelta(minutes=1)

    @property
    def attribution(self) -> tuple[str, str]:
        """The cause and owner on record; `unknown` both where there is none."""
        record = self.record
        if record is None or record.cause is None:
            return NOBODY, NOBODY
        return record.cause, record.owner or NOBODY

    @property
    def sender(self) -> tuple[str, str]:
        """Cause and owner of what is odd in an export: what is proven is as the vendor sent it."""
        record = self.record
        if record is not None and record.cause is None and record.ledger and record.outcome == "delivered":
            return "as_sent", "vendor"
        return self.attribution

    @property
    def severity(self) -> Severity:
        """Of an outage, while it lasts: by the time left until something is lost for good."""
        at = min(self.now, self.hour.end)
        left = [gap.left(at, self.look_back) for gap in self.gaps if gap.table is None]
        close = any(time is not None and time < PAGE_BELOW for time in left)
        return "page" if close or self.burning else "ticket"


@dataclass(frozen=True, slots=True)
class Told:
    """What `viplake.toml` says of a rule.

    Attributes:
        enabled: whether it is judged.
        severity: instead of the rule's own; None: its own.
        limits: its thresholds, by key.
        anomaly: how far off is abnormal, for the rules of volumes.
    """

    enabled: bool = True
    severity: Severity | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    anomaly: AnomalySettings = field(default_factory=AnomalySettings)


@dataclass(frozen=True, slots=True)
class Limit:
    """A threshold of a rule: its key, default, range, and what it is a number of."""

    key: str
    default: float
    low: float
    high: float
    what: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, as data.

    Attributes:
        name: stable, for JSON and `viplake.toml`.
        meaning: when it is broken, in one clause.
        judge: the function that says so.
        severity: how grave a breach is, unless it says otherwise itself.
        limits: its thresholds.
        counts: it judges amounts of this, and takes the keys of `AnomalySettings` too.
    """

    name: str
    meaning: str
    judge: Callable[[Case, Told, _Found], Iterator[Finding]]
    severity: Severity = "ticket"
    limits: tuple[Limit, ...] = ()
    counts: Literal["bytes", "records"] | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """Makes the findings of one rule in one Hour."""

    rule: str
    case: Case
    severity: Severity

    def breach(
        self,
        summary: str,
        blame: tuple[str, str],
        *,
        table: str | None = None,
        severity: Severity | None = None,
    ) -> Breach:
        return Breach(self.rule, self.case.hour, table, severity or self.severity, *blame, summary)

    def passed(self) -> Passed:
        return Passed(self.rule, self.case.hour)

    def no_data(self, reason: str) -> NoData:
        return NoData(self.rule, self.case.hour, reason)


# -- whether it came ------------------------------------------------------------------------------------------

_NOT_ON_RECORD: Final = "the Hour is not on record: run viplake observe"
_OLD_SCRIPT: Final = "another program ran this Hour and left no word of it"


def _never_started(case: Case, told: Told, found: _Found) -> Iterator[Finding]:
    minutes = told.limits["minutes"]
    record = case.record
    if record is None:
        yield found.no_data(_NOT_ON_RECORD)
    elif record.ledger or record.delivered:
        yield found.passed()
    elif not case.ours:
        yield found.no_data(_OLD_SCRIPT)
    elif case.minute < minutes:
        yield found.no_data(f"minute {minutes:.0f} is not over")
    else:
        yield found.breach(f"nothing had claimed {case.hour} by minute {minutes:.0f}", ("missed", "us"))


def _missing_job(case: Case, _: Told, found: _Found) -> Iterator[Finding]:
    record = case.record
    if record is None:
        yield found.no_data(_NOT_ON_RECORD)
    elif record.outcome == "waiting":
        yield found.no_data("the Hour is on its way")
    elif record.delivered:
        yield found.passed()
    elif record.outcome != "failed" and case.now < case.hour.end:
        yield found.no_data("the Hour is not over")
    else:
        yield found.breach(f"{case.hour} delivered no export{_margin(case)}", case.attribution)


def _margin(case: Case) -> str:
    """What the hole that the Hour lies in came to, once it is over; empty before, or where something is lost."""
    hole = next((gap for gap in case.gaps if gap.table is None and gap.first <= case.hour <= gap.last), None)
    if hole is None or hole.margin is None or hole.unknown or hole.lost:
        return ""
    return f"; nothing is lost: {hole.before} carries it, with a margin of about {span(hole.margin)}"


def _vendor_failure(case: Case, _: Told, found: _Found) -> Iterator[Finding]:
    record = case.record
    if record is None or (not record.ledger and not record.delivered):
        yield found.no_data(_NOT_ON_RECORD if record is None else _OLD_SCRIPT if not case.ours else "no run took place")
    elif record.outcome == "failed" and record.owner == "vendor":
        detail = record.facts.run.detail if record.facts and record.facts.run else None
        yield found.breach(f"the vendor failed {case.hour}: {detail or record.cause}", case.attribution)
    else:
        yield found.passed()


def _incomplete_job(case: Case, _: Told, found: _Found) -> Iterator[Finding]:
    record = case.record
    if record is None or not record.delivered:
        yield found.no_data(_NOT_ON_RECORD if record is None else "nothing was delivered")
    elif record.outcome == "waiting":
        yield found.no_data("the Hour is on its way")
    elif record.facts is not None and (promise := record.facts.promise) is not None:
        lacking = promise.files - promise.stored
        if lacking:
            names = ", ".join((*promise.absent, *promise.other_size)[:3])
            blame = (
                case.attribution if record.cause else ("changed_in_lake", "us") if record.ledger else case.attribution
            )
            yield found.breach(
                f"{lacking} of {promise.files} promised files are not stored as promised: {names}", blame
            )
        else:
            yield found.passed()
    elif record.outcome == "failed":
        yield found.breach(f"{case.hour} failed with a part of its files stored", case.attribution)
    elif record.ledger:
        yield found.passed()
    else:
        yield found.no_data("its Promise was not compared with what is stored")


def _late_job(case: Case, told: Told, found: _Found) -> Iterator[Finding]:
    minutes = told.limits["minutes"]
    record = case.record
    if record is None or not record.ledger:
        yield found.no_data(_NOT_ON_RECORD if record is None else "no run left word of its times")
    elif record.outcome == "waiting":
        if case.minute < minutes:
            yield found.no_data(f"the Hour is on its way, and minute {minutes:.0f} is not over")
        else:
            yield found.breach(f"{case.hour} is not delivered by minute {minutes:.0f}", case.attribution)
    elif record.outcome == "delivered" and (took := record.took) is not None:
        late = record.facts is not None and record.facts.run is not None and record.facts.run.late
        if late or took > minutes * 60:
            slowest = max(zip(record.seconds, PHASES, strict=True), key=lambda phase: phase[0] or 0)[1]
            yield found.breach(
                f"{case.hour} took {took / 60:.0f} minutes, most of them the {slowest}",
                ("slow_phase", OWNERS_OF_PHASES[slowest]),
            )
        else:
            yield found.passed()
    else:
        yield found.no_data(
            "the Hour was not delivered" if record.outcome != "delivered" else "its times are not known"
        )


def _slow_phase(case: Case, told: Told, found: _Found) -> Iterator[Finding]:
    record = case.record
    if record is None or not record.ledger:
        yield found.no_data(_NOT_ON_RECORD if record is None else "no run left word of its times")
        return
    slow = False
    for phase, seconds in zip(PHASES, record.seconds, strict=True):
        limit = told.limits[f"{phase}_minutes"]
        if seconds is not None and seconds > limit * 60:
            slow = True
            what = f"the {phase} of {case.hour} took {seconds / 60:.0f} minutes; {limit:g} are the limit"
            yield found.breach(what, (f"slow_{phase}", OWNERS_OF_PHASES[phase]))
    if not slow:
        known = any(seconds is not None for seconds in record.seconds)
        yield found.passed() if known else found.no_data("its times are not known")


OWNERS_OF_PHASES: Final = {"init": "vendor", "replication": "vendor", "transfer": "network"}
"""Whose a slow phase is: the vendor answers the trigger and replicates; the transfer is mostly the way between."""


# -- what came ------------------------------------------------------------------------------------------------


def _unsettled(record: Record | None) -> str | None:
    """Why the content of an Hour cannot be judged; None where it can."""
    if record is None:
        return _NOT_ON_RECORD
    if not record.delivered:
        return "nothing was delivered"
    return "the Hour is on its way" if record.outcome == "waiting" else None


def _missing_table(case: Case, _: Told, found: _Found) -> Iterator[Finding]:
    record = case.record
    if record is None or _unsettled(record) is not None:
        yield found.no_data(_unsettled(record) or _NOT_ON_RECORD)
        return
    if record.missing is None:
        schema = record.facts.schema if record.facts else None
        yield found.no_data(f"its schema cannot be read: {schema.problem}" if schema else "it has no schema")
        return
    for table in record.missing:
        yield found.breach(f"{table} has no file in {case.hour}", _why_missing(case, table), table=table)
    if not record.missing:
        yield found.passed()


def _why_missing(case: Case, table: str) -> tuple[str, str]:
    """The vendor did not promise it, or the run did not store it."""
    facts = case.record.facts if case.record else None
    promise = facts.promise if facts else None
    if promise is not None and facts is not None and facts.run is not None:
        promised = any(known.table == table for known in promise.tables)
        return case.attribution if promised else ("not_promised", "vendor")
    return ("not_promised", "vendor") if case.sender[0] == "as_sent" else case.attribution


def _missing_partition(case: Case, _: Told, found: _Found) -> Iterator[Finding]:
    record = case.record
    promise = record.facts.promise if record is not None and record.facts is not None else None
    why = _unsettled(record)
    if why is not None or promise is None:
        yield found.no_data(why or "its Promise was not compared with what is stored")
        return
    lacking = [known for known in promise.tables if known.stored < known.promised]
    for known in lacking:
        what = f"{known.table}: {known.stored} of {known.promised} promised partitions are stored"
        yield found.breach(what, case.attribution, table=known.table)
    if not lacking:
        yield found.passed()


def _unexpected_table(case: Case, _: Told, found: _Found) -> Iterator[Finding]:
    record = case.record
    facts = record.facts if record is not None else None
    why = _unsettled(record)
    if why is not None or facts is None or facts.expected is None:
        yield found.no_data(why or ("nobody looked at its files" if facts is None else "it has no schema to go by"))
        return
    odd = [known for known in facts.tables if known.table not in facts.expected]
    for known in odd:
        what = f"{known.table} is out of scope, but came with {known.partitions} files"
        yield found.breach(what, case.sender, table=known.table)
    more = facts.unmatched - case.unmatched if case.unmatched is not None else 0
    if more > 0:
        what = f"{facts.unmatched} files belong to no table of the schema, {more} more than the Hour before"
        yield found.breach(what, case.sender)
    if not odd and more <= 0:
        yield found.passed() if case.unmatched is not None else found.no_data("there is no Hour before to compare with")


def _schema_change(case: Case, _: Told, found: _Found) -> Iterator[Finding]:
    why = _unsettled(case.record)
    if why is not None or isinstance(case.changes, str):
        yield found.no_data(why or str(case.changes))
        return
    for change in case.changes:
        planned = case.planned is not None and case.planned.kind == "maintenance"
        what = f"{change.table}: {change.what} in {case.hour}" + (f" (planned: {case.planned})" if planned else "")
        yield found.breach(what, case.sender, table=change.table, severity="info" if planned else None)
    if not case.changes:
        yield found.passed()


def _empty_file(case: Case, _: Told, found: _Found) -> Iterator[Finding]:
    record = case.record
    facts = record.facts if record is not None else None
    why = _unsettled(record)
    if why is not None or facts is None or facts.expected is None:
        yield found.no_data(why or ("nobody looked at its files" if facts is None else "it has no schema to go by"))
        return
    empty = [known for known in facts.tables if known.size <= EMPTY_GZIP * known.partitions]
    for known in empty:
        what = f"{known.table}: {known.partitions} files hold nothing ({known.size} bytes in all)"
        yield found.breach(what, case.sender, table=known.table)
    if not empty:
        yield found.passed()


EMPTY_GZIP: Final = 20
"""Bytes of a gzip file of nothing: header 10, an empty block 2, trailer 8 (RFC 1952, RFC 1951)."""


def _volume_job(case: Case, told: Told, found: _Found) -> Iterator[Finding]:
    record = case.record
    if (why := _unsettled(record)) is not None or record is None:
        yield found.no_data(why or _NOT_ON_RECORD)
        return
    size = (record.kilobytes or 0) * 1000
    least, most = (told.limits[key] * 1_000_000 for key in ("min_mb", "max_mb"))
    if size < least or (most and size > most):
        ends = f"at least {_bytes(round(least))}" + (f" and at most {_bytes(round(most))}" if most else "")
        what = f"{case.hour} holds {_bytes(size)}; {ends} are told"
        yield found.breach(what, case.sender)
    else:
        yield from _volumes(case, found, [None])


def _volume_table(case: Case, _: Told, found: _Found) -> Iterator[Finding]:
    if (why := _unsettled(case.record)) is not None:
        yield found.no_data(why)
    else:
        tables = case.volumes if not isinstance(case.volumes, str) else {}
        yield from _volumes(case, found, [table for table in tables if table is not None])


def _volumes(case: Case, found: _Found, tables: Sequence[str | None]) -> Iterator[Finding]:
    if isinstance(case.volumes, str):
        yield found.no_data(case.volumes)
        return
    judged = {table: case.volumes[table] for table in tables if table in case.volumes}
    known = {table: verdict for table, verdict in judged.items() if isinstance(verdict, Judged)}
    odd = {table: verdict for table, verdict in known.items() if verdict.kind != "usual"}
    for table, verdict in odd.items():
        yield found.breach(_told(case, table, verdict), case.sender, table=table)
    if known and not odd:
        yield found.passed()
    elif not known:
        reasons = [verdict.reason for verdict in judged.values() if not isinstance(verdict, Judged)]
        yield found.no_data(reasons[0] if reasons else "no volume is on record")


def _told(case: Case, table: str | None, verdict: Judged) -> str:
    weeks = ", ".join(str(case.hour.shift(-168 * week)) for week in verdict.weeks)
    name = table or "the export"
    if verdict.kind == "stuck":
        return f"{name} has {_bytes(verdict.value)} in {case.hour}, to the byte what it had in the Hours before"
    return (
        f"{name} has {_bytes(verdict.value)} in {case.hour}, too {verdict.kind}: expected are {_bytes(verdict.usual)}, "
        f"from {_bytes(verdict.least)} to {_bytes(verdict.most)}, judged on {weeks} (+-1 h)"
    )


def _inside(
    verdict: Callable[[Inside, Mapping[str, float]], Verdict],
) -> Callable[[Case, Told, _Found], Iterator[Finding]]:
    """The rule that judges the content of an Hour by this verdict."""

    def judge(case: Case, told: Told, found: _Found) -> Iterator[Finding]:
        if (why := _unsettled(case.record)) is not None or case.inside is None:
            yield found.no_data(why or inside.NOT_LOOKED)
            return
        odd = verdict(case.inside, told.limits)
        if isinstance(odd, str):
            yield found.no_data(odd)
            return
        for one in odd:
            yield found.breach(one.summary, case.sender, table=one.table)
        if not odd:
            yield found.passed()

    return judge


def _lookback_gap(case: Case, _: Told, found: _Found) -> Iterator[Finding]:
    record = case.record
    if record is None:
        yield found.no_data(_NOT_ON_RECORD)
        return
    at = min(case.now, case.hour.end)
    breaches = [breach for gap in case.gaps if (breach := _gap(case, found, gap, at)) is not None]
    yield from breaches
    unknown = [gap for gap in case.gaps if not gap.planned and (gap.unknown or gap.after is None)]
    if unknown and not breaches:
        why = f"{unknown[0].unknown} Hours are not on record" if unknown[0].unknown else "nothing was delivered before"
        yield found.no_data(why)
    elif not breaches:
        yield found.passed()


def _gap(case: Case, found: _Found, gap: Gap, at: datetime) -> Breach | None:
    """The breach of one gap, as it stood at a time; None where nothing is lost or about to be."""
    deadline = gap.deadline(case.look_back)
    over = gap.before is not None and gap.lost is None
    if over or gap.planned or gap.unknown or deadline is None or not gap.first <= case.hour <= gap.last:
        return None
    name = gap.table or "every table"
    left = deadline - at
    if left >= PAGE_BELOW:
        return None
    if left < timedelta(0):
        until = f"{gap.lost[1]:%Y-%m-%d %H:%M}" if gap.lost else "the next delivery"
        after = f"{deadline - case.look_back:%Y-%m-%d %H:%M}"
        what = f"{name}: records from about {after} to {until} are in no delivered Hour: lost, unless the vendor helps"
    else:
        what = f"{name}: in {span(left)} something is lost for good, unless an Hour is delivered"
    return found.breach(what, case.attribution, table=gap.table)


def span(time: timedelta) -> str:
    """A time as a person reads it: `1 h`, `5 h 10 min`; without its sign."""
    hours, minutes = divmod(round(abs(time) / timedelta(minutes=1)), 60)
    return " ".join([f"{hours} h"] * (hours > 0) + [f"{minutes} min"] * (minutes > 0 or hours == 0))


def _bytes(count: int) -> str:
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:  # noqa: PLR2004 - SI units, and what would be rounded to a thousand
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"


# -- the table of rules ---------------------------------------------------------------------------------------


def _minutes(key: str, default: float) -> Limit:
    return Limit(key, default, 1, 1440, "a number of minutes")


RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        rule.name: rule
        for rule in (
            Rule("missing_job", "an Hour delivered no export", _missing_job),
            Rule("vendor_failure", "the vendor's export failed, or an answer broke the contract", _vendor_failure),
            Rule("incomplete_job", "promised files are not stored as promised", _incomplete_job),
            Rule(
                "never_started", "nothing claimed the Hour in time", _never_started, limits=(_minutes("minutes", 15),)
            ),
            Rule("late_job", "the export is not delivered in time", _late_job, limits=(_minutes("minutes", 60),)),
            Rule("lookback_gap", "records are lost, or about to be", _lookback_gap, "page"),
            Rule(
                "lookback_change",
                "an export carries another stretch of record time than before, or less than is told",
                _inside(lambda content, limits: inside.look_back_changes(content, limits["percent"])),
                limits=(Limit("percent", 25, 1, 100, "a number of percent"),),
            ),
            Rule("missing_table", "an expected table has no file", _missing_table),
            Rule("missing_partition", "a promised partition of a table is not stored", _missing_partition),
            Rule("empty_file", "the files of a table hold nothing", _empty_file),
            Rule(
                "nonconforming_content",
                "files of a table do not agree with the schema, or cannot be read",
                _inside(lambda content, _: inside.nonconforming(content)),
            ),
            Rule("schema_change", "tables, columns or types changed", _schema_change),
            Rule(
                "unexpected_table",
                "files came that no table of the schema in scope explains",
                _unexpected_table,
                "info",
            ),
            Rule(
                "volume_job",
                "an export is far too small or too large",
                _volume_job,
                limits=(
                    Limit("min_mb", 0, 0, 1e9, "a number of megabytes"),
                    Limit("max_mb", 0, 0, 1e9, "a number of megabytes, 0 for none"),
                ),
                counts="bytes",
            ),
            Rule("volume_table", "a table is far too small or too large", _volume_table, counts="bytes"),
            Rule(
                "row_count",
                "a table has far too few or too many records",
                _inside(lambda content, _: inside.row_counts(content)),
                counts="records",
            ),
            Rule(
                "null_ratio",
                "a column is empty in far more records than is usual",
                _inside(lambda content, limits: inside.null_ratios(content, limits["points"])),
                limits=(Limit("points", 30, 1, 100, "a number of percentage points"),),
            ),
            Rule(
                "stale_table",
                "the newest record of a table stands still",
                _inside(lambda content, limits: inside.stale(content, limits["hours"])),
                limits=(Limit("hours", 6, 1, 720, "a number of Hours"),),
            ),
            Rule(
                "slow_phase",
                "a phase of the run took far too long",
                _slow_phase,
                "info",
                # Half as long again as the upper end of what is typical: < 2, 15 to 25 and 2 to 3 minutes.
                (_minutes("init_minutes", 3), _minutes("replication_minutes", 40), _minutes("transfer_minutes", 10)),
            ),
        )
    }
)
"""Every rule, the gravest first: of several in one incident the first one names it."""


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """What `[rules]` of `viplake.toml` says.

    Attributes:
        look_back: what an export carries.
        told: by rule.
    """

    look_back: timedelta = timedelta(hours=24)
    told: Mapping[str, Told] = field(default_factory=lambda: {name: _told_of(name, {}) for name in RULES})

    @classmethod
    def parse(cls, value: Any) -> RuleSettings:
        """Read `[rules]`.

        Raises:
            SettingsError: an unknown rule or key, with a suggestion, or a threshold that cannot be.
        """
        table = Table.of("rules", value)
        table.only(("look_back_hours", *RULES))
        hours = table.number("look_back_hours", 24, low=1, high=24 * 90, what="a number of hours")
        return cls(timedelta(hours=hours), {name: _told_of(name, table.values.get(name, {})) for name in RULES})


def _told_of(name: str, value: Any) -> Told:
    rule = RULES[name]
    table = Table.of(f"rules.{name}", value)
    more = {"bytes": anomaly.KEYS, "records": anomaly.KEYS_OF_COUNTS, None: ()}[rule.counts]
    table.only(("enabled", "severity", *(limit.key for limit in rule.limits), *more))
    limits = {
        limit.key: table.number(limit.key, limit.default, low=limit.low, high=limit.high, what=limit.what)
        for limit in rule.limits
    }
    if limits.get("max_mb") and limits["max_mb"] <= limits["min_mb"]:
        table.number("max_mb", 0, low=limits["min_mb"] + 1, high=1e9, what="more than min_mb")
    given = table.word("severity", rule.severity, SEVERITIES) if "severity" in table.values else None
    severity = next((known for known in SEVERITIES if known == given), None)
    judged = AnomalySettings.parse(table) if rule.counts else AnomalySettings()
    if rule.counts == "records":
        judged = replace(judged, grain=anomaly.GRAIN_OF_COUNTS)
    return Told(table.flag("enabled", default=True), severity, limits, judged)


_OUTAGE: Final = frozenset({"missing_job", "vendor_failure", "incomplete_job", "never_started"})
_EXCUSED: Final = frozenset({"schema_change"})
"""Rules that also speak of planned Hours: a change is worth knowing, planned or not."""


def judge(case: Case, settings: RuleSettings) -> Iterable[Finding]:
    """What all enabled rules say of an Hour. A planned Hour has no breaches, but for changes of its schema."""
    for name, rule in RULES.items():
        told = settings.told[name]
        if not told.enabled:
            yield NoData(name, case.hour, "the rule is turned off in viplake.toml", excused=True)
        elif case.planned is not None and name not in _EXCUSED:
            yield NoData(name, case.hour, f"planned: {case.planned}", excused=True)
        else:
            severity = told.severity or (case.severity if name in _OUTAGE else rule.severity)
            yield from rule.judge(case, told, _Found(name, case, severity))
