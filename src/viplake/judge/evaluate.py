"""PURE. Evaluates rules and objectives: chooses the Hours, and collects for each the facts that the rules need.

`check` loads the data, this module evaluates it, `incidents` turns breaches into incidents. The facts are computed once
for all Hours, so that an hourly check over months with 300 tables takes about a second.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property, partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from viplake.judge.calendar import Calendar
from viplake.judge.coverage import LOOK_BACK, Gap, covering, gaps
from viplake.judge.detector.anomaly import InsufficientHistory, Series, Shared, shared_moves, with_month_before
from viplake.judge.detector.drift import drift
from viplake.judge.detector.usual import WEEK, weeks_compared
from viplake.judge.objectives import (
    INDICATORS,
    Burning,
    Graded,
    Grades,
    Indicator,
    ObjectiveSettings,
    ObjectiveState,
    SlaPeriod,
    sla_periods,
    standing,
)
from viplake.judge.record import FLOOR, PHASES, Wholeness, fulfilled, settle, wholeness
from viplake.judge.rules.catalogue import RULES, Judge, RuleSettings
from viplake.judge.rules.content_verdicts import BEFORE, CheckedContent, Nulls, standing_still
from viplake.judge.rules.delivery import OWNERS_OF_PHASES
from viplake.judge.rules.rule import Case, NoData
from viplake.model import MISSED, UNKNOWN
from viplake.notify.settings import NotifySettings
from viplake.wording import count_words, span_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from viplake.content.profiling import HourContent
    from viplake.judge.detector.anomaly import VolumeVerdict
    from viplake.judge.detector.drift import Drift
    from viplake.judge.detector.usual import AnomalySettings
    from viplake.judge.record import Record
    from viplake.judge.rules.rule import MergedHours, RuleResult
    from viplake.model import Hour
    from viplake.tables.schema import Change

AGAIN: Final = 48
"""Hours that every check evaluates again: later ticks retry for 6 hours, and people repair the day after."""

EVALUATIONS: Final = 15_000
"""Most table volumes that one check evaluates, newest Hours first. At 50 us each that takes less than a second."""

LONGEST_HOLIDAY: Final = timedelta(days=2)
"""How long exports carry a holiday at most: in more days, one of them no longer changes a volume much."""


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """The tables of `viplake.toml` that configure checks and notifications."""

    rules: RuleSettings = field(default_factory=RuleSettings)
    calendar: Calendar = field(default_factory=Calendar)
    objectives: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    notify: NotifySettings = field(default_factory=NotifySettings)

    @classmethod
    def parse(cls, tables: Mapping[str, Any]) -> CheckSettings:
        """Read `rules`, `calendar`, `objectives` and `notify`; missing ones get their defaults.

        Raises:
            SettingsError: one of them is wrong; the message names the place in one line.
        """
        return cls(
            RuleSettings.parse(tables.get("rules", {})),
            Calendar.parse(tables.get("calendar", [])),
            ObjectiveSettings.parse(tables.get("objectives", {})),
            NotifySettings.parse(tables.get("notify", {})),
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """The data that a check has loaded.

    Attributes:
        records: by Hour, ascending.
        now: time of the check.
        volumes: bytes by table, one value an Hour from `base` on; -1 where there is none.
        base: the Hour of the first volume.
        changes: how an Hour's schema differs from that of the delivered Hour before; a reason where that is unknown.
        contents: results of content checks, for the Hours to evaluate and some before, ascending.
        counts: number of records by table, one an Hour from `base` on; -1 without a content check.
        newest: the newest record time by table in seconds, likewise.
        first_run: the first Hour with a ledger, where that is before these records.
        merged: what the current tables have; None where the lake has no such tables.
    """

    records: Mapping[Hour, Record]
    now: datetime
    volumes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    base: Hour | None = None
    changes: Mapping[Hour, Sequence[Change] | str] = field(default_factory=dict)
    contents: Mapping[Hour, HourContent] = field(default_factory=dict)
    counts: Mapping[str, Sequence[int]] = field(default_factory=dict)
    newest: Mapping[str, Sequence[int]] = field(default_factory=dict)
    first_run: Hour | None = None
    merged: MergedHours | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The result of an evaluation.

    Attributes:
        hours: the evaluated Hours, ascending.
        findings: results of all rules in them.
        objectives: state of each at the last of them.
        gaps: of look-back coverage, in the whole history.
        look_back: the period that exports carry now, as configured or as measured.
        sla: the days, weeks and months that overlap the evaluated Hours, and the windows.
        grades: of all settled Hours, by indicator.
    """

    hours: tuple[Hour, ...]
    findings: tuple[RuleResult, ...] = ()
    objectives: tuple[ObjectiveState, ...] = ()
    gaps: tuple[Gap, ...] = ()
    look_back: timedelta = LOOK_BACK
    sla: tuple[SlaPeriod, ...] = ()
    grades: Mapping[Indicator, Grades] = field(default_factory=dict)


def hours_to_judge(on_record: Iterable[Hour], judged: Hour | None, last: Hour, first: Hour | None) -> tuple[Hour, ...]:
    """Return the Hours to evaluate: at the first check all on record, later the new ones and the last two days."""
    known = [hour for hour in on_record if hour <= last]
    if not known:
        return ()
    if first is None:
        first = min(known) if judged is None else min(judged.shift(1), last.shift(1 - AGAIN))
    return tuple(max(first, min(known)).to(last))


def first_of_volumes(records: Mapping[Hour, Record], hours: Sequence[Hour]) -> Hour:
    """Return the first Hour in which table volumes are evaluated; `EVALUATIONS` limits how many there are."""
    tables = max((known.expected or 0 for known in records.values()), default=0)
    return max(hours[0], hours[-1].shift(1 - max(EVALUATIONS // max(tables, 1), AGAIN)))


def compared_from(hour: Hour, settings: CheckSettings) -> Hour:
    """Return the first Hour whose volume says something of this Hour's: a Monday, the same for all of its week."""
    counting = (settings.rules.configs[name].anomaly for name, rule in RULES.items() if rule.counts is not None)
    return hour.shift(-_hour_of_week(hour) - max(map(weeks_compared, counting)) * WEEK)


def decide(evidence: Evidence, hours: Sequence[Hour], settings: CheckSettings) -> Judgement:
    """Evaluate all rules and objectives for these Hours."""
    if not hours:
        return Judgement(())
    daily = fulfilled(evidence.records, settings.calendar.due)
    evidence = replace(evidence, records=settle(daily, evidence.now))
    records, planned = evidence.records, settings.calendar.at
    counted = settled(records, hours[-1], evidence.now)
    contents = _Contents(evidence, settings)
    whole = whole_exports(records, settings)
    found = _gaps(counted, whole, hours[-1], evidence.now, settings, contents)
    grades = {name: graded(counted, name, settings, whole) for name in INDICATORS}
    of_delivered = grades["delivered"].by_hour
    hollow = (hour for hour, one in whole.items() if one.hollow and hour in of_delivered)
    burning = Burning({**of_delivered, **{hour: of_delivered[hour]._replace(good=False) for hour in hollow}})
    volumes = _Volumes(evidence, hours, settings, whole)
    by_hour = _by_hour(found, [hour for hour in hours if settings.calendar.is_due(hour)])
    ledgers = [hour for hour, known in records.items() if known.ledger]
    ledger = min(ledgers if evidence.first_run is None else [*ledgers, evidence.first_run], default=None)
    delivered = [hour for hour, known in records.items() if known.delivered]
    begun = min([*delivered, *([] if ledger is None else [ledger])], default=None)
    findings: list[RuleResult] = []
    judge = Judge(settings.rules)
    before: Record | None = None
    for hour in hours:
        known = records.get(hour)
        case = Case(
            known,
            hour,
            evidence.now,
            ours=ledger is not None and hour >= ledger,
            begun=begun is not None and hour >= begun,
            unmatched=before.facts.unmatched if before is not None and before.facts is not None else None,
            changes=evidence.changes.get(hour, "its schema was not compared with the one before"),
            volumes=volumes.of(hour),
            drifts=volumes.drifts(hour),
            gaps=by_hour.get(hour, ()),
            look_back=contents.look_back(hour),
            checked_content=contents.of(hour),
            burning=burning.at(hour) is not None,
            planned=planned(hour),
            whole=whole.get(hour, Wholeness()),
            merged=evidence.merged,
        )
        findings += judge.results(case)
        if known is not None and known.delivered:
            before = known
    last, every = max(counted, default=hours[-1]), settings.calendar.every
    standings = tuple(
        standing(one, grades[one.name], last=last, now=evidence.now, every=every)
        for one in settings.objectives.objectives
    )
    periods = sla_periods(settings.objectives.objectives, grades, hours[0], last)
    return Judgement(
        tuple(hours), tuple(findings), standings, tuple(found), contents.look_back(hours[-1]), tuple(periods), grades
    )


def reasons(findings: Iterable[RuleResult]) -> dict[str, dict[str, int]]:
    """Return for each rule without data the number of Hours by reason."""
    found: dict[str, dict[str, int]] = {}
    counts = Counter((finding.rule, finding.reason) for finding in findings if isinstance(finding, NoData))
    for (rule, reason), count in counts.items():
        found.setdefault(rule, {})[reason] = count
    return found


def gap_words(gap: Gap, now: datetime, look_back: timedelta) -> str:
    """Return the effect of a gap in one clause, such as `nothing lost, margin about 1 h`."""
    if gap.lost is not None:
        return f"lost: records from about {gap.lost[0]:%Y-%m-%d %H:%M} to {gap.lost[1]:%Y-%m-%d %H:%M}"
    if gap.unknown:
        are = "is" if gap.unknown == 1 else "are"
        return f"not known: {count_words(gap.unknown, 'Hour')} {are} not on record"
    if gap.after is None:
        return "not known: nothing was delivered before"
    left = gap.left(now, look_back)
    if left is not None:
        return (
            f"it lasts: {span_words(left)} left until something is lost"
            if left > timedelta(0)
            else "it lasts: lost already"
        )
    if gap.margin is None:
        return "not known"
    return f"nothing lost, margin about {span_words(gap.margin)}"


def settled(records: Mapping[Hour, Record], last: Hour, now: datetime) -> dict[Hour, Record]:
    """Return the records of all settled Hours; objectives count only these."""
    return {hour: known for hour, known in records.items() if hour <= last and _counts(known, now)}


def _counts(known: Record, now: datetime) -> bool:
    """Return whether an Hour is settled: its run has ended, or the Hour has passed without a run."""
    return known.outcome in {"delivered", "failed"} or (known.outcome != "waiting" and now >= known.hour.end)


def _arrived(known: Record) -> bool:
    return known.delivered and known.outcome == "delivered"


def _gaps(
    counted: Mapping[Hour, Record],
    whole: Mapping[Hour, Wholeness],
    last: Hour,
    now: datetime,
    settings: CheckSettings,
    contents: _Contents,
) -> list[Gap]:
    calendar = settings.calendar
    counted = {hour: known for hour, known in counted.items() if calendar.is_due(hour)}
    hollow = {hour for hour, one in whole.items() if one.hollow}
    arrived = {hour: _arrived(known) and hour not in hollow for hour, known in counted.items()}
    delivered = covering(arrived, {hour for hour, one in whole.items() if one.schema_lost})
    if delivered:
        # Past Hours without a record are unknown, also those after the last record.
        for hour in max(delivered).shift(1).to(last):
            if now >= hour.end and calendar.is_due(hour):
                delivered[hour] = None
    lacking: dict[str, set[Hour]] = {}
    for hour, known in counted.items():
        for table in whole[hour].missing or () if _arrived(known) and hour not in hollow else ():
            lacking.setdefault(table, set()).add(hour)
    planned = calendar.at
    return gaps(
        delivered,
        lacking,
        look_back=contents.look_back,
        planned=lambda hour: planned(hour) is not None,
        short=contents.short,
        every=calendar.every,
    )


def _by_hour(found: Iterable[Gap], hours: Sequence[Hour]) -> dict[Hour, list[Gap]]:
    """Return the gaps that overlap each evaluated Hour."""
    by_hour: dict[Hour, list[Gap]] = {}
    for gap in found:
        for hour in hours[bisect_left(hours, gap.first) : bisect_right(hours, gap.last)]:
            by_hour.setdefault(hour, []).append(gap)
    return by_hour


# -- objectives -----------------------------------------------------------------------------------------------


def whole_exports(records: Mapping[Hour, Record], settings: CheckSettings) -> dict[Hour, Wholeness]:
    """Return how complete the export of each delivered Hour is, by the `share` of `[rules.missing_table]`."""
    return wholeness(records, settings.rules.configs["missing_table"].limits["share"])


def graded(
    counted: Mapping[Hour, Record],
    name: Indicator,
    settings: CheckSettings,
    whole: Mapping[Hour, Wholeness] | None = None,
) -> Grades:
    """Return the grades of the settled Hours by one indicator; `whole`, where known, is what `whole_exports` says."""
    exports = whole_exports(counted, settings) if whole is None else whole
    planned = settings.calendar.at
    limit = settings.objectives.on_time
    schema_known = min((hour for hour, known in counted.items() if known.expected is not None), default=None)
    found = {}
    for hour, known in counted.items():
        had_schema = schema_known is not None and schema_known < hour
        good, owner = _grade(known, name, limit, had_schema=had_schema)
        if name == "complete" and (one := exports.get(hour)) is not None and (one.hollow or one.schema_lost):
            good = False
        found[hour] = Graded(hour, good, owner, planned(hour) is not None)
    return Grades(name, found, lambda hour: planned(hour) is not None)


def _grade(known: Record, name: Indicator, limit: timedelta, *, had_schema: bool) -> tuple[bool | None, str]:
    """Return whether an Hour is good, and who is responsible where it is not."""
    sender = "vendor" if known.ledger else UNKNOWN
    if name == "on_time" and not known.ledger and known.cause != MISSED:
        return None, UNKNOWN  # another program ran it: its times are not on record
    if not _arrived(known):
        return False, known.owner or UNKNOWN
    if name == "complete":
        # An export that lost its schema is not complete; before the first schema the grade is unknown.
        lost = False if had_schema else None
        return (lost if known.missing is None else not known.missing), sender
    if name == "on_time":
        if known.took is None:
            return None, UNKNOWN
        slowest = max(zip(known.seconds, PHASES, strict=True), key=lambda phase: phase[0] or 0)[1]
        return known.took <= limit.total_seconds(), OWNERS_OF_PHASES[slowest]
    return True, ""


# -- volumes --------------------------------------------------------------------------------------------------


def _below_floor(known: Record, one: Wholeness) -> bool:
    """Return whether an export is so small that it is reported without statistics; it is no baseline for others."""
    return one.kilobytes is not None and known.kilobytes is not None and known.kilobytes < FLOOR * one.kilobytes


class _Volumes:
    """Computes the verdicts on volumes, Hour by Hour."""

    def __init__(
        self, evidence: Evidence, hours: Sequence[Hour], settings: CheckSettings, whole: Mapping[Hour, Wholeness]
    ) -> None:
        self._records = evidence.records
        self._base = evidence.base
        configs = settings.rules.configs
        planned = settings.calendar.at
        carried = min(settings.rules.look_back, LONGEST_HOLIDAY) // timedelta(hours=1)
        self._holiday = partial(settings.calendar.holiday, carried=carried)
        tables = {table: values for table, values in evidence.volumes.items() if configs["volume_table"].enabled}
        self._first = first_of_volumes(evidence.records, hours)
        first = max(min(evidence.records, default=hours[0]), compared_from(hours[0], settings))
        unfit = {
            hour
            for hour in first.to(hours[-1])
            if (known := evidence.records.get(hour)) is None or not known.whole or planned(hour) or self._holiday(hour)
        }
        unfit |= {hour for hour, one in whole.items() if one.hollow}
        small = {hour for hour, one in whole.items() if _below_floor(evidence.records[hour], one)}
        # What is as small every week at this hour is usual.
        unfit |= {hour for hour in small if small.isdisjoint((hour.shift(-WEEK), hour.shift(WEEK)))}
        lost = {hour for hour in unfit if (known := evidence.records.get(hour)) is None or not _arrived(known)}
        lost |= {hour for hour in unfit if planned(hour) is not None or self._holiday(hour) is not None}
        self._start = first
        newest = _distance(self._first, hours[-1]) + 1
        self._too_old = InsufficientHistory(
            f"a check evaluates tables in its newest {newest} Hours; earlier ones: viplake check --at HOUR"
        )
        sizes = [self._size(hour) for hour in first.to(hours[-1])]
        anomaly, phase = configs["volume_job"].anomaly, _hour_of_week(first)
        self._whole = Series(sizes, _places(unfit, first), anomaly, exact=False, phase=phase)
        self._lost = lost
        self._drifting = evidence.volumes if configs["volume_drift"].enabled else {}
        self._one_table = list(tables)[:1] if self._base is not None else []
        self._tables = self._of_tables(tables, lost, configs["volume_table"].anomaly, hours)

    def _of_tables(
        self,
        tables: Mapping[str, Sequence[int]],
        lost: set[Hour],
        anomaly: AnomalySettings,
        hours: Sequence[Hour],
    ) -> dict[int, dict[str, VolumeVerdict | InsufficientHistory]]:
        """Return the verdicts on tables, by place; one table after the other, so that one at a time is in memory."""
        base = self._base
        if base is None or not tables:
            return {}
        bad, phase = _places(lost, base), _hour_of_week(base)
        places = [_distance(base, hour) for hour in hours if hour >= max(self._first, base) and self._is_judged(hour)]
        found: dict[int, dict[str, VolumeVerdict | InsufficientHistory]] = {place: {} for place in places}
        for _, week in groupby(places, lambda place: (place + phase) // WEEK):
            of_week = list(week)

            def fresh(table: str) -> Series:
                return Series(tables[table], bad, anomaly, phase=phase)

            series = {table: fresh(table) for table in tables}
            shared = shared_moves([*series.values()], of_week[0])
            unsure = []
            for table in tables:
                one = series.pop(table)
                _judge(one, of_week, shared, table, found)
                unsure += [table] * one.needs_month
            if unsure:
                shared = with_month_before(shared, map(fresh, tables), of_week[0])
            for table in unsure:
                _judge(fresh(table), of_week, shared, table, found)
        return found

    def _is_judged(self, hour: Hour) -> bool:
        known = self._records.get(hour)
        return known is not None and known.delivered and self._holiday(hour) is None

    def _size(self, hour: Hour) -> int:
        known = self._records.get(hour)
        return known.kilobytes * 1000 if known is not None and known.delivered and known.kilobytes is not None else -1

    def of(self, hour: Hour) -> Mapping[str | None, VolumeVerdict | InsufficientHistory] | str:
        """Return the verdicts on an Hour's volumes, or the reason why there are none."""
        known = self._records.get(hour)
        if known is None or not known.delivered:
            return "nothing was delivered"
        if (holiday := self._holiday(hour)) is not None:
            return f"a day like no other of its weekday: {holiday}"
        found: dict[str | None, VolumeVerdict | InsufficientHistory] = {
            None: self._whole.judge(_distance(self._start, hour))
        }
        if hour < self._first:  # said once, not for each table
            return found | dict.fromkeys(self._one_table, self._too_old)
        if self._base is not None:
            found.update(self._tables.get(_distance(self._base, hour), {}))
        return found

    def drifts(self, hour: Hour) -> Mapping[str, Drift | InsufficientHistory] | None:
        """Return how each table has drifted in the week before an Hour; None unless its export is the week's first."""
        if hour.start.weekday() != 0 or self._base is None:
            return None
        of_day = hour.shift(-hour.start.hour).to(hour)
        delivered = [one for one in of_day if (known := self._records.get(one)) is not None and known.delivered]
        if delivered != [hour]:
            return None
        if hour < self._first:
            return dict.fromkeys(self._one_table, self._too_old)
        bad, place = _places(self._lost, self._base), _distance(self._base, hour)
        return {table: drift(values, place, bad) for table, values in self._drifting.items()}


# -- content --------------------------------------------------------------------------------------------------


class _Contents:
    """The content records of each Hour, and the earlier ones to compare them with."""

    def __init__(self, evidence: Evidence, settings: CheckSettings) -> None:
        self._configured = settings.rules.look_back
        self._contents = evidence.contents
        self._hours = sorted(evidence.contents)
        self._nulls = Nulls.of(evidence.contents[hour] for hour in self._hours)
        self._base, self._newest = evidence.base, evidence.newest
        row_count = settings.rules.configs["row_count"]
        bad = frozenset[int]()
        if evidence.base is not None and evidence.counts:
            known = evidence.records.items()
            unfit = [hour for hour, record in known if hour >= evidence.base and not record.whole]
            bad = _places(unfit, evidence.base)
        counts = evidence.counts.items() if row_count.enabled else ()
        phase = 0 if evidence.base is None else _hour_of_week(evidence.base)
        self._counts = {
            table: Series(values, bad, row_count.anomaly, exact=False, counted=True, phase=phase)
            for table, values in counts
        }

    @cached_property
    def _carried(self) -> dict[Hour, timedelta]:
        """Return the period that each export carries, for Hours with a content check."""
        return {hour: self._checked(hour).look_back for hour in self._hours}

    def _checked(self, hour: Hour, **more: Any) -> CheckedContent:
        at = bisect_left(self._hours, hour)
        before = [self._contents[known] for known in self._hours[max(at - BEFORE, 0) : at]]
        return CheckedContent(
            hour, self._contents[hour], before, configured=self._configured, nulls=self._nulls, **more
        )

    @property
    def short(self) -> tuple[Hour, ...]:
        """Return the Hours with an export that carries less than one hour."""
        return tuple(hour for hour, carried in self._carried.items() if carried < timedelta(hours=1))

    def look_back(self, hour: Hour) -> timedelta:
        """Return the period that an Hour's export carries: measured, or the median of the last three measured."""
        if hour in self._contents:
            return self._carried[hour]
        at = bisect_right(self._hours, hour)
        recent = [self._carried[known] for known in self._hours[max(at - 3, 0) : at]]
        return sorted(recent)[len(recent) // 2] if recent else self._configured

    def of(self, hour: Hour) -> CheckedContent | None:
        """Return the content record of an Hour; None without a content check."""
        content = self._contents.get(hour)
        if content is None:
            return None
        counts: dict[str, VolumeVerdict | InsufficientHistory] = {}
        stuck: dict[str, tuple[int, int]] = {}
        if self._base is not None and hour >= self._base:
            place = _distance(self._base, hour)
            for table in content.tables:
                if (series := self._counts.get(table.table)) is not None and 0 <= place < len(series.values):
                    counts[table.table] = series.judge(place)
                newest = self._newest.get(table.table)
                if newest and place < len(newest) and (stood := standing_still(newest, place)) is not None:
                    stuck[table.table] = stood
        return self._checked(hour, counts=counts, stuck=stuck)


def _judge(
    series: Series,
    places: Sequence[int],
    shared: Shared,
    table: str,
    found: Mapping[int, dict[str, VolumeVerdict | InsufficientHistory]],
) -> None:
    """Judge a table at these places of a week."""
    series.begin(places[0])
    series.take_out(shared)
    for place in places:
        if place < len(series.values) and series.values[place] >= 0:
            found[place][table] = series.judge(place)


def _hour_of_week(hour: Hour) -> int:
    return hour.start.weekday() * 24 + hour.start.hour


def _distance(first: Hour, hour: Hour) -> int:
    return (hour.start - first.start) // timedelta(hours=1)


def _places(hours: Iterable[Hour], first: Hour) -> frozenset[int]:
    return frozenset(_distance(first, hour) for hour in hours)
