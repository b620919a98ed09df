"""I/O. The check: load the history, evaluate the rules, update the incidents in the lake, send notifications.

::

    evidence = await _load(...)                   # the history, the lake's newest Hours, the volumes
    judgement = decide(evidence, hours, ...)      # PURE: rules, volumes, coverage, objectives
    version = await versions.update(...)          # incidents: a version chain, so that two checks lose nothing
    await _send_notifications(...)                              # each once, grouped in one message

Incidents are stored in `_viplake/incidents/`, beside the history. A notification is claimed in the same write that
records its incident, so of two checks at once only one sends it. A check without any data reports that.
"""

from __future__ import annotations

import asyncio
import gc
import uuid
from array import array
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import dropwhile
from typing import TYPE_CHECKING, Any, Final

import structlog

from viplake.content.records import read, series
from viplake.current import marks
from viplake.errors import SettingsError, ViplakeError
from viplake.history import schema_changes
from viplake.history.build import look_at, read_history
from viplake.history.datasets import JOBS, SCHEMAS
from viplake.history.schema_store import SchemaStore
from viplake.history.volumes import Volumes
from viplake.judge.detector.usual import WEEK
from viplake.judge.evaluate import (
    AGAIN,
    Evidence,
    Judgement,
    compared_from,
    decide,
    first_of_volumes,
    gap_words,
    hours_to_judge,
    reasons,
)
from viplake.judge.incident_records import IncidentStore, pack, unpack
from viplake.judge.incidents import Acknowledgement, FoldSettings, Incident, Notification, fold, up_to
from viplake.judge.notices import claim, claimed, notice_words, notified, pass_over, subject_words
from viplake.judge.objectives import newest_periods
from viplake.judge.record import records, updated
from viplake.judge.rules.content_verdicts import BEFORE
from viplake.judge.rules.rule import MergedHours
from viplake.judge.sla import publish_sla
from viplake.lake.layout import SCHEMA_NAME
from viplake.lake.versions import Version, Versions
from viplake.model import SEVERITIES, Hour
from viplake.notify.message import Message
from viplake.notify.sending import for_programs, send_to_all
from viplake.tables.schema import LARGEST_SCHEMA, changes, read_schema
from viplake.wording import count_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from viplake.clock import Clock
    from viplake.history.build import HistoryLocation, ObserveSettings
    from viplake.history.chain import History
    from viplake.history.datasets import Row
    from viplake.history.facts import HourFacts
    from viplake.judge.coverage import Gap
    from viplake.judge.evaluate import CheckSettings
    from viplake.judge.incidents import Incidents
    from viplake.judge.objectives import ObjectiveState, SlaPeriod
    from viplake.judge.record import Record
    from viplake.lake import Lake
    from viplake.notify.message import Notifier
    from viplake.tables.schema import Change, TableSchema

log = structlog.get_logger(__name__)

LOOKED_AT: Final = 3
"""Newest Hours that every check lists in the lake, because the history has neither manifests nor schemas."""

MOST_LOOKED_AT: Final = 168
"""At most so many Hours since the last check are listed too; the first check lists a week."""

DEADLINE: Final = 120.0
"""Time limit in seconds for check and notifications after a delivery."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of a check.

    Attributes:
        environment: `Prod` or `Test`.
        now: time of the check.
        moment: the time that its words are about: now, or the end of the last Hour where that is earlier.
        at: the last Hour that was checked.
        hours: number of checked Hours.
        incidents: the open ones, and those within the checked Hours; the oldest first.
        objectives: state of each.
        gaps: of look-back coverage in the checked Hours, planned ones included.
        no_data: for each rule that could not be evaluated, the number of Hours by reason.
        sent: for each channel None, or why it failed; empty where no notification was due.
        reason: why nothing could be evaluated; empty otherwise.
        look_back: the period that exports carry now.
        sla: the newest day, week and month, and the windows, of each indicator of the agreement.
    """

    environment: str
    now: datetime
    moment: datetime
    at: Hour
    hours: int = 0
    incidents: tuple[Incident, ...] = ()
    objectives: tuple[ObjectiveState, ...] = ()
    gaps: tuple[Gap, ...] = ()
    no_data: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    sent: Mapping[str, str | None] = field(default_factory=dict)
    reason: str = ""
    look_back: timedelta = timedelta(hours=24)
    sla: tuple[SlaPeriod, ...] = ()

    @property
    def open(self) -> tuple[Incident, ...]:
        """The open incidents."""
        return tuple(one for one in self.incidents if one.open)

    @property
    def past(self) -> int:
        """Number of incidents that had ended before this first check: recorded, but not notified."""
        marks = [one.notifications[-1] for one in self.incidents if one.notifications]
        return sum(not mark.tries and mark.at == self.now for mark in marks)

    @property
    def well(self) -> bool:
        """Whether data was evaluated and no incident is open."""
        return not self.open and not self.reason

    def to_json(self) -> dict[str, Any]:
        """As `viplake check --json` prints it."""
        return {
            "schema_version": 1,
            "environment": self.environment,
            "at": str(self.at),
            "hours": self.hours,
            "incidents": [one.to_json(self.now) for one in self.incidents],
            "objectives": [state.to_json() for state in self.objectives],
            "sla": [one.to_json() for one in self.sla],
            "coverage": [self._gap_json(gap) for gap in self.gaps],
            "no_data": {rule: dict(why) for rule, why in self.no_data.items()},
            "told": dict(self.sent),
            "reason": self.reason or None,
        }

    def _gap_json(self, gap: Gap) -> dict[str, Any]:
        return {
            "table": gap.table,
            "from": str(gap.first),
            "to": str(gap.last),
            "planned": gap.planned,
            "lasts": gap.before is None,
            "margin_hours": None if gap.margin is None else round(gap.margin.total_seconds() / 3600, 2),
            "lost": None if gap.lost is None else [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in gap.lost],
            "summary": gap_words(gap, self.moment, self.look_back),
        }


@dataclass(frozen=True, slots=True)
class CheckTarget:
    """The lake to check, and where its records are.

    Attributes:
        lake: the lake.
        place: the store and folder of its history and incidents.
        environment: `Prod` or `Test`.
        report: address of the published report, for notifications; empty where there is none.
    """

    lake: Lake
    place: HistoryLocation
    environment: str
    report: str = ""


async def check(
    target: CheckTarget,
    clock: Clock,
    settings: CheckSettings,
    observing: ObserveSettings,
    *,
    notifiers: Sequence[Notifier] | None = (),
    at: Hour | None = None,
    first: Hour | None = None,
) -> Checked:
    """Evaluate the rules, update the incidents and send the notifications that are due.

    Args:
        target: the lake.
        clock: gives the current time.
        settings: rules, calendar, objectives.
        observing: which tables are expected.
        notifiers: the channels; None: send nothing now, a later check does.
        at: the last Hour to check; None: the current one.
        first: the first Hour to check; None: at the first check all on record, later the new Hours and the last two
            days.

    Raises:
        LakeError: the lake, the history or the incidents cannot be read or written.
    """
    with _no_collections():
        return await _check(target, clock, settings, observing, notifiers or (), (first, at), later=notifiers is None)


async def _check(
    target: CheckTarget,
    clock: Clock,
    settings: CheckSettings,
    observing: ObserveSettings,
    notifiers: Sequence[Notifier],
    span: tuple[Hour | None, Hour | None],
    *,
    later: bool,
) -> Checked:
    """Evaluate, update the incidents and notify; `later`: a later check sends what is due."""
    now, (first, at) = clock.now(), span
    last = min(at or Hour.of(now), Hour.of(now))
    moment = min(now, last.end)  # incidents found in 2022 data get a time of 2022
    versions = Versions(target.place.store, incidents_prefix(target.place))
    newest = await versions.newest()
    kept = unpack(newest.content)
    evidence, hours = await _load(target, kept, observing, settings, moment, (first, last))
    if not hours:
        why = "no Hour is on record: run viplake observe"
        return Checked(target.environment, now, moment, last, reason=why)
    judgement = await asyncio.to_thread(decide, evidence, hours, settings)
    by = uuid.uuid4().hex
    least = len(SEVERITIES) if later else SEVERITIES.index(settings.notify.severity)
    watched = fold_settings(settings, observing)
    await publish_sla(target.place, judgement.sla)
    version = await versions.update(
        lambda content: pack(_marked(unpack(content), judgement, by, now, least, watched)), known=newest
    )
    sent = await _send_notifications(target, versions, version, by, notifiers, clock, last=last)
    shown = unpack(version.content).incidents
    if kept.judged is not None and last < kept.judged:  # later checks know more than this one is about
        shown = fold(up_to(kept.incidents, last, watched), judgement.findings, judgement.hours, now, watched)
    return _checked(target, judgement, shown, sent, (now, moment))


@dataclass(frozen=True, slots=True)
class Preview:
    """The result that a check would have now.

    Attributes:
        checked: the last Hour that a check evaluated; None: no check has run.
        incidents: as a check would store them, by identity.
        records: the history together with the newest Hours of the lake.
    """

    checked: Hour | None
    incidents: Incidents
    records: Mapping[Hour, Record]


async def preview(
    target: CheckTarget,
    settings: CheckSettings,
    observing: ObserveSettings,
    *,
    now: datetime,
    history: History | None = None,
) -> Preview:
    """Evaluate as `check` does, in memory: nothing is written and no notification is sent.

    If a check has already evaluated all Hours that count, its stored incidents are returned.

    Args:
        target: the lake.
        settings: rules, calendar, objectives.
        observing: which tables are expected.
        now: the time.
        history: all of it, where it was read before.

    Raises:
        LakeError: the lake, the history or the incidents cannot be read.
    """
    kept = await read_incident_store(target.place)
    if kept.judged is not None and kept.judged >= Hour.of(now - observing.grace):
        known = await read_history(target.place) if history is None else history
        return Preview(kept.judged, dict(kept.incidents), records(known.frames))
    evidence, hours = await _load(target, kept, observing, settings, now, (None, Hour.of(now)))
    if not hours:
        return Preview(kept.judged, dict(kept.incidents), evidence.records)
    judgement = await asyncio.to_thread(decide, evidence, hours, settings)
    folded = fold(kept.incidents, judgement.findings, judgement.hours, now, fold_settings(settings, observing))
    return Preview(kept.judged, folded, evidence.records)


@contextmanager
def _no_collections() -> Iterator[None]:
    """Pause the search for cycles until the last result is freed: a first check makes a million values, none in one."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def fold_settings(settings: CheckSettings, observing: ObserveSettings) -> FoldSettings:
    """Return when an incident ends, and which rules and tables are evaluated."""

    def watches(rule: str, table: str | None) -> bool:
        return table not in observing.out_of_scope and settings.rules.watches(rule, table)

    return FoldSettings(settings.rules.end_after, watches, settings.calendar.every)


def incidents_prefix(place: HistoryLocation) -> str:
    """Return the prefix of the incidents' versions, beside those of the history."""
    return f"{place.versions.removesuffix('history/')}incidents/"


async def read_incidents(place: HistoryLocation) -> Incidents:
    """Return the stored incidents, by identity.

    Raises:
        LakeError: they cannot be read.
    """
    return dict((await read_incident_store(place)).incidents)


async def read_incident_store(place: HistoryLocation) -> IncidentStore:
    """Return the stored incidents and the last evaluated Hour. Writes nothing.

    Raises:
        LakeError: they cannot be read.
    """
    newest = await Versions(place.store, incidents_prefix(place)).newest()
    return unpack(newest.content)


async def acknowledge(place: HistoryLocation, key: str, until: Hour, note: str) -> Incident:
    """Acknowledge an incident up to an Hour.

    Raises:
        SettingsError: there is no such incident, or it is over.
        LakeError: the incidents cannot be read or written.
    """
    versions = Versions(place.store, incidents_prefix(place))

    def change(content: bytes | None) -> bytes:
        kept = unpack(content)
        one = kept.incidents.get(key)
        if one is None or not one.open:
            names = [name for name, known in kept.incidents.items() if known.open]
            hint = f"Open are: {', '.join(names)}." if names else "No incident is open."
            raise SettingsError(f"there is no open incident {key!r}", hint=hint)
        known = {**kept.incidents, key: replace(one, acknowledged=Acknowledgement(until, note))}
        return pack(IncidentStore(known, kept.judged))

    version = await versions.update(change, known=await versions.newest())
    return unpack(version.content).incidents[key]


# -- load -----------------------------------------------------------------------------------------------------


async def _load(
    target: CheckTarget,
    kept: IncidentStore,
    observing: ObserveSettings,
    settings: CheckSettings,
    now: datetime,
    span: tuple[Hour | None, Hour],
) -> tuple[Evidence, tuple[Hour, ...]]:
    """Load the evidence up to an Hour, and choose the Hours to evaluate."""
    first, last = span
    history = await _history(target.place, _since(kept.judged, last, first, _reach(settings)))
    standing = records(history.frames)
    looked = await look_at(target.lake, _to_look_at(standing, kept.judged, last), observing, place=target.place)
    if not standing:  # without a history, start at the first Hour that the lake has, not a week ago
        looked = list(dropwhile(lambda facts: not facts.present and facts.run is None, looked))
    if not standing and not looked:
        return Evidence({}, now), ()
    known = _in_scope(updated(standing, looked, history.first_run), observing.out_of_scope)
    hours = hours_to_judge(known, kept.judged, last, first)
    if not hours:
        return Evidence(known, now), ()
    base = compared_from(first_of_volumes(known, hours), settings)
    volumes = Volumes(target.place.store, target.place.published, target.place.versions)
    sizes = await volumes.series(base, hours[-1])
    _add_looked_at(sizes, base, looked, hours[-1])
    found = await read(target.place, [*_weeks_before(hours), *hours[0].shift(-BEFORE).to(hours[0].shift(-1)), *hours])
    counts, newest = await series(target.place, base, hours[-1]) if found else ({}, {})
    changed = await _schema_changes(target, looked, history, hours)
    merged = await _merged_hours(target.lake, hours[-1])
    return Evidence(known, now, sizes, base, changed, found, counts, newest, history.first_run, merged), hours


async def _merged_hours(lake: Lake, last: Hour) -> MergedHours | None:
    """Return what the current tables have of the last days; None where the lake has no such tables."""
    days = await marks.days(lake)
    if not days:
        return None
    known = await marks.known(lake, [day for day in days if last.shift(-MOST_LOOKED_AT).day <= day <= last.day])
    held: dict[str, tuple[Hour, str]] = {}
    for hour in sorted(known.held & known.done):
        mark = await marks.read_mark(lake, hour)
        for table, why in mark.held.items() if mark is not None else ():
            held.setdefault(table, (hour, why))
    return MergedHours(frozenset(known.done), held)


def _reach(settings: CheckSettings) -> int:
    """Return how many earlier Hours a check needs: the longest window, the month before, or what volumes need."""
    sunday = Hour.parse("2023-01-01T23")  # of all Hours the farthest from what it is compared with
    of_volumes = sunday.hours_since(compared_from(sunday, settings))
    return max(31 * 24, of_volumes, *(one.window for one in settings.objectives.objectives))


def _since(judged: Hour | None, last: Hour, first: Hour | None, reach: int) -> Hour | None:
    """Return the first Hour of the history to read; None: all of it, at the first check."""
    if judged is None:
        return None
    begins = min(judged.shift(1), last.shift(1 - AGAIN), last if first is None else first)
    return begins.shift(-reach)


async def _history(place: HistoryLocation, since: Hour | None) -> History:
    """Read the history that a check needs; all of it where nothing was delivered since, to find an outage's start."""
    history = await read_history(place, since)
    delivered = any(row[1] != "0" for row in history.rows(JOBS).values())
    return history if delivered or not history.closed else await read_history(place)


def _in_scope(known: Mapping[Hour, Record], out_of_scope: frozenset[str]) -> dict[Hour, Record]:
    """Return the records; tables that are now out of scope no longer count as missing."""
    return {
        hour: record
        if not record.missing or out_of_scope.isdisjoint(record.missing)
        else replace(record, missing=tuple(table for table in record.missing if table not in out_of_scope))
        for hour, record in known.items()
    }


def _weeks_before(hours: Sequence[Hour]) -> list[Hour]:
    """Return noon one and two weeks before each checked day: weekdays are compared with their own kind."""
    noons = [hour.shift(12 - hour.start.hour) for hour in (hours[0], hours[-1])]
    before = {noon.shift(-weeks * WEEK) for noon in noons[0].to(noons[1], every=24) for weeks in (1, 2)}
    return sorted(noon for noon in before if noon < hours[0].shift(-BEFORE))


def _to_look_at(standing: Mapping[Hour, Record], judged: Hour | None, last: Hour) -> list[Hour]:
    """Return the Hours to list: the newest, the new ones, and the delivered Hour before them for comparison."""
    newest = max((hour for hour in standing if hour <= last), default=last)
    since = last.shift(1 - LOOKED_AT)
    for mark in (newest, judged):
        if mark is not None and mark < last:
            since = min(since, mark.shift(1))
    since = (
        last.shift(1 - MOST_LOOKED_AT) if judged is None or not standing else max(since, last.shift(1 - MOST_LOOKED_AT))
    )
    if standing:
        since = max(since, min(standing))
    delivered = [hour for hour, known in standing.items() if hour < since and known.delivered]
    with_schema = [hour for hour in delivered if standing[hour].expected is not None]
    return sorted({*delivered[-1:], *with_schema[-1:], *since.to(last)})


def _add_looked_at(series: dict[str, array[int]], base: Hour, looked: Iterable[HourFacts], last: Hour) -> None:
    """Add the volumes of Hours that are not in the history yet."""
    length = next((len(values) for values in series.values()), 0) or sum(1 for _ in base.to(last))
    for facts in looked:
        place = facts.hour.hours_since(base)
        for table in facts.tables if 0 <= place < length else ():
            series.setdefault(table.table, array("q", [-1]) * length)[place] = table.size


async def _schema_changes(
    target: CheckTarget, looked: Sequence[HourFacts], history: History, hours: Sequence[Hour]
) -> dict[Hour, Sequence[Change] | str]:
    """Return how each schema differs from the one before; schemas are read only where their hashes differ.

    The lake says it of the Hours that were just listed, the history of all others.
    """
    found = await _recorded_changes(target.place, history.rows(SCHEMAS), hours)
    listed = await _listed_changes(target, looked)
    return found | {hour: change for hour, change in listed.items() if not isinstance(change, str) or hour not in found}


async def _recorded_changes(
    place: HistoryLocation, rows: Mapping[Hour, Row], hours: Sequence[Hour]
) -> dict[Hour, Sequence[Change] | str]:
    """Return the changes that the history has of these Hours."""
    found = schema_changes.versions({hour: row for hour, row in rows.items() if hour <= hours[-1]})
    before = [version for version in found if version.last < hours[0] and version.tables is not None][-1:]
    recent = [version for version in found if version.last >= hours[0]]
    begins: dict[Hour, Sequence[Change] | str] = {}
    if any(version.first >= hours[0] for version in recent):
        compared = await SchemaStore(place.store, place.published).compared([*before, *recent])
        begins = {version.first: version.changes for version in compared[len(before) :]}
    return {hour: begins.get(hour, ()) for hour in rows if hours[0] <= hour <= hours[-1]}


async def _listed_changes(target: CheckTarget, looked: Sequence[HourFacts]) -> dict[Hour, Sequence[Change] | str]:
    """Return the changes between the schemas of the Hours that were just listed."""
    found: dict[Hour, Sequence[Change] | str] = {}
    before: HourFacts | None = None
    for facts in looked:
        if not facts.delivered:
            continue
        found[facts.hour] = await _compared(target, before, facts)
        if facts.schema is not None and facts.schema.sha256 is not None:
            before = facts
    return found


async def _compared(target: CheckTarget, before: HourFacts | None, facts: HourFacts) -> Sequence[Change] | str:
    if facts.schema is None or facts.schema.tables is None:
        return "it has no schema" if facts.schema is None else f"its schema cannot be read: {facts.schema.problem}"
    if before is None or before.schema is None:
        return "there is no schema before to compare with"
    if before.schema.sha256 == facts.schema.sha256:
        return ()
    old, new = await asyncio.gather(_tables(target, before.hour), _tables(target, facts.hour))
    if old is None or new is None:
        return "one of the two schemas cannot be read"
    return changes(old, new)


async def _tables(target: CheckTarget, hour: Hour) -> dict[str, TableSchema] | None:
    data = await target.lake.store.get(target.lake.layout.file(hour, SCHEMA_NAME), limit=LARGEST_SCHEMA)
    return None if data is None else await asyncio.to_thread(read_schema, data)


# -- store ----------------------------------------------------------------------------------------------------


def _marked(
    kept: IncidentStore, judgement: Judgement, by: str, now: datetime, least: int, settings: FoldSettings
) -> IncidentStore:
    """Return the updated incidents; notifications that are due are marked as sent by this check."""
    folded = fold(kept.incidents, judgement.findings, judgement.hours, now, settings)
    if kept.judged is None:
        folded = pass_over(folded, by, now)
    audible = {key: one for key, one in folded.items() if SEVERITIES.index(one.severity) >= least}
    judged = judgement.hours[-1] if kept.judged is None else max(judgement.hours[-1], kept.judged)
    return IncidentStore(folded | claim(audible, by, now), judged)


# -- notify ---------------------------------------------------------------------------------------------------


def _known_names(notifier: Notifier) -> set[str]:
    """Return a channel's names in records; older records (before 2026-12) name only the kind, not the address."""
    return {notifier.name, notifier.name.partition(":")[0]}


async def _send_notifications(
    target: CheckTarget,
    versions: Versions,
    version: Version,
    by: str,
    notifiers: Sequence[Notifier],
    clock: Clock,
    *,
    last: Hour,
) -> dict[str, str | None]:
    """Send the notifications that this check claimed, one message a channel, and record the results."""
    standing = unpack(version.content).incidents
    mine = claimed(standing, by)
    if not mine:
        return {}
    passed_over = [one for one in standing.values() if one.notifications and not one.notifications[-1].tries]
    past = [one.hour for one in passed_over if one.notifications[-1].by == by]
    answers: dict[str, str | None] = {}
    sent: dict[str, list[str]] = {one.key: [] for one, _ in mine}
    failed: dict[str, dict[str, str]] = {one.key: {} for one, _ in mine}
    for notifier in notifiers:
        new = [(one, notification) for one, notification in mine if not _known_names(notifier) & set(notification.sent)]
        if not new:
            continue
        message = incidents_message(target, new, min(clock.now(), last.end), past)
        answers |= await send_to_all([notifier], message, clock)
        for one, _ in new:
            if (why := answers[notifier.name]) is None:
                sent[one.key].append(notifier.name)
            else:
                failed[one.key][notifier.name] = why

    def change(content: bytes | None) -> bytes:
        kept = unpack(content)
        return pack(IncidentStore(notified(kept.incidents, by, sent, failed), kept.judged))

    await versions.update(change, known=version)
    return answers


def incidents_message(
    target: CheckTarget, due: Sequence[tuple[Incident, Notification]], now: datetime, past: Sequence[Hour] = ()
) -> Message:
    """Return all notifications as one message, so that 40 incidents do not send 40 messages.

    Args:
        target: the lake, and where its report is.
        due: incidents and their notifications.
        now: the time that the texts are about.
        past: first Hours of the incidents that were over at the first check.
    """
    items = [(one, notification.kind) for one, notification in due]
    subject = subject_words(target.environment, items)
    lines = [notice_words(target.environment, one, kind, now) for one, kind in items]
    if past:
        lines.append(f"{count_words(len(past), 'past incident')} on record: viplake check --from {min(past)}.")
    notices = [{"notice": notification.kind, **one.to_json(now)} for one, notification in due]
    body = {"environment": target.environment, "lake": target.lake.url, "notices": notices}
    if target.report:
        lines.append(f"Report: {target.report}")
        body["report"] = target.report
    return Message("incidents", subject, "\n".join(lines), body)


# -- the result -----------------------------------------------------------------------------------------------


def _checked(
    target: CheckTarget,
    judgement: Judgement,
    standing: Mapping[str, Incident],
    sent: Mapping[str, str | None],
    times: tuple[datetime, datetime],
) -> Checked:
    first, last = judgement.hours[0], judgement.hours[-1]
    shown = [one for one in standing.values() if one.hour <= last and (one.open or one.last >= first)]
    return Checked(
        target.environment,
        *times,
        last,
        len(judgement.hours),
        tuple(shown),
        judgement.objectives,
        tuple(gap for gap in judgement.gaps if gap.last >= first and gap.first <= last),
        reasons(judgement.findings),
        dict(sent),
        look_back=judgement.look_back,
        sla=newest_periods(judgement.sla),
    )


# -- after a delivery -----------------------------------------------------------------------------------------


async def after_delivery(
    target: CheckTarget,
    clock: Clock,
    settings: CheckSettings,
    observing: ObserveSettings,
    *,
    notifiers: Sequence[Notifier],
    hours: Sequence[Hour],
) -> Checked | None:
    """Notify programs that the Hour was delivered, then run a check. Called after an Hour has ended.

    It has its own time limit and never raises: a failure here changes neither the outcome nor the exit code.
    """
    try:
        async with asyncio.timeout(DEADLINE):
            if settings.notify.delivered:
                await notify_delivered(target, clock, observing, notifiers, hours)
            return await check(target, clock, settings, observing, notifiers=notifiers)
    except TimeoutError:
        log.warning("not_checked", detail=f"it took longer than {DEADLINE:.0f} s")
    except ViplakeError as error:
        log.warning("not_checked", cause=error.cause.word, detail=error.message, hint=error.hint)
    except Exception as error:  # noqa: BLE001 - a defect in judging must not hide a delivery
        log.warning("not_checked", cause="unexpected", detail=f"{type(error).__name__}: {error}")
    return None


async def notify_delivered(
    target: CheckTarget, clock: Clock, observing: ObserveSettings, notifiers: Sequence[Notifier], hours: Sequence[Hour]
) -> dict[str, str | None]:
    """Notify programs of each of these Hours that has a Receipt, so that downstream loads can start.

    Raises:
        LakeError: the lake cannot be read.
    """
    listening = for_programs(notifiers)
    answers: dict[str, str | None] = {}
    for facts in await look_at(target.lake, hours, observing, promises=False) if listening else ():
        if facts.has_receipt:
            answers |= await send_to_all(listening, delivered_message(target, facts), clock)
    return answers


def delivered_message(target: CheckTarget, facts: HourFacts) -> Message:
    """Return the message of a delivered, proven Hour: its folder, Receipt, files and missing tables."""
    run, folder = facts.run, target.lake.layout.folder(facts.hour)
    body = {
        "environment": target.environment,
        "lake": target.lake.url,
        "hour": str(facts.hour),
        "folder": folder,
        "receipt": target.lake.layout.receipt(facts.hour),
        "job_guid": None if run is None else run.job_guid,
        "files": facts.files - facts.has_promise,
        "bytes": facts.delivered_size,
        "late": run is not None and run.late,
        "missing_tables": None if facts.missing is None else list(facts.missing),
    }
    subject = f"[viplake {target.environment}] {facts.hour} delivered"
    text = f"{facts.hour} is delivered and proven: {body['files']} files, {body['bytes']} bytes in {folder}"
    # The same id from every process, because an Hour is delivered once.
    return Message("delivered", subject, text, body, key=f"delivered-{target.environment}-{facts.hour.label}")
