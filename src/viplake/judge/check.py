"""I/O. The check: load what is on record, judge it, bring the incidents in the lake up to date, tell.

::

    evidence = await _load(...)                   # the history, the lake's newest Hours, the volumes
    judgement = decide(evidence, hours, ...)      # PURE: rules, volumes, coverage, objectives
    version = await versions.update(...)          # incidents: a version chain, so that two checks lose nothing
    await _tell(...)                              # each once, grouped in one message

Incidents live in `_viplake/incidents/` of where the history lives. What is to be told is claimed in the same write
that makes it known, so that of two checks at once only one tells. A check that finds nothing on record says so.
"""

from __future__ import annotations

import asyncio
import uuid
from array import array
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import dropwhile
from typing import TYPE_CHECKING, Any, Final

import structlog

from viplake.content.records import read, series
from viplake.errors import SettingsError, ViplakeError
from viplake.history.build import look_at, read_history
from viplake.history.datasets import JOBS
from viplake.history.volumes import Volumes
from viplake.judge.detector.usual import WEEK
from viplake.judge.evaluate import (
    AGAIN,
    WEEKS_OF_VOLUMES,
    Evidence,
    Judgement,
    decide,
    first_of_volumes,
    gap_words,
    hours_to_judge,
    reasons,
)
from viplake.judge.incident_records import IncidentStore, pack, unpack
from viplake.judge.incidents import Acknowledgement, FoldSettings, Incident, Notification, fold
from viplake.judge.notices import claim, claimed, notice_words, notified, pass_over, subject_words
from viplake.judge.objectives import newest_periods
from viplake.judge.record import records
from viplake.judge.rules.content_verdicts import BEFORE
from viplake.judge.sla import publish_sla
from viplake.lake.layout import SCHEMA_NAME
from viplake.lake.versions import Version, Versions
from viplake.model import SEVERITIES, Hour
from viplake.notify.message import Message
from viplake.notify.sending import for_programs, send_to_all
from viplake.tables.schema import LARGEST_SCHEMA, changes, read_schema
from viplake.wording import count_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from viplake.clock import Clock
    from viplake.history.build import ObserveSettings, Place
    from viplake.history.chain import History
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
"""Newest Hours whose facts every check reads from the lake: the history keeps neither Promises nor schemas."""

MOST_LOOKED_AT: Final = 168
"""And those since the last check, up to so many: the first check looks back a week."""

DEADLINE: Final = 120.0
"""Seconds that judging and telling after a delivery may take."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found.

    Attributes:
        environment: `Prod` or `Test`.
        now: when.
        at: the last Hour that was judged.
        hours: how many were.
        incidents: those that are open, and those that were in the judged Hours; the oldest first.
        objectives: where each stands.
        gaps: of look-back coverage in the judged Hours, planned ones too.
        no_data: why rules could not be judged, by rule: how many Hours had each reason.
        told: what became of telling, by channel: None, or why not; empty where there was nothing to tell.
        reason: why nothing at all could be judged; empty where something was.
        look_back: what exports carry now.
        sla: the newest day, week and month, and the windows, of each indicator of the agreement.
    """

    environment: str
    now: datetime
    at: Hour
    hours: int = 0
    incidents: tuple[Incident, ...] = ()
    objectives: tuple[ObjectiveState, ...] = ()
    gaps: tuple[Gap, ...] = ()
    no_data: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    told: Mapping[str, str | None] = field(default_factory=dict)
    reason: str = ""
    look_back: timedelta = timedelta(hours=24)
    sla: tuple[SlaPeriod, ...] = ()

    @property
    def open(self) -> tuple[Incident, ...]:
        """The incidents that last."""
        return tuple(one for one in self.incidents if one.open)

    @property
    def past(self) -> int:
        """Incidents that were over at this first check: they are on record, and not notified."""
        marks = [one.notifications[-1] for one in self.incidents if one.notifications]
        return sum(not mark.tries and mark.at == self.now for mark in marks)

    @property
    def well(self) -> bool:
        """Nothing is open, and that was seen."""
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
            "told": dict(self.told),
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
            "summary": gap_words(gap, self.now, self.look_back),
        }


@dataclass(frozen=True, slots=True)
class CheckTarget:
    """What is checked.

    Attributes:
        lake: which.
        place: where its history is, and its incidents.
        environment: `Prod` or `Test`.
        report: where its report is published, for notifications; empty: nowhere.
    """

    lake: Lake
    place: Place
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
    """Judge, keep, tell.

    Args:
        target: where to look.
        clock: tells now.
        settings: rules, calendar, objectives.
        observing: what tables are expected.
        notifiers: whom to tell; None: nobody now, and a later check tells.
        at: the last Hour to judge; None: the current one.
        first: the first; None: all on record the first time, then what is new and the last two days.

    Raises:
        LakeError: the lake, the history or the incidents cannot be read or written.
    """
    now = clock.now()
    last = min(at or Hour.of(now), Hour.of(now))
    moment = min(now, last.end)  # a check of 2022 speaks of 2022
    versions = Versions(target.place.store, incidents_prefix(target.place))
    newest = await versions.newest()
    kept = unpack(newest.content)
    evidence, hours = await _load(target, kept, observing, _reach(settings), moment, (first, last))
    if not hours:
        why = "no Hour is on record: run viplake observe"
        return Checked(target.environment, now, last, reason=why)
    judgement = await asyncio.to_thread(decide, evidence, hours, settings)
    by = uuid.uuid4().hex
    least = len(SEVERITIES) if notifiers is None else SEVERITIES.index(settings.notify.severity)
    watched = fold_settings(settings, observing)
    await publish_sla(target.place, judgement.sla)
    version = await versions.update(
        lambda content: pack(_marked(unpack(content), judgement, by, now, least, watched)), known=newest
    )
    told = await _tell(target, versions, version, by, notifiers or (), clock)
    return _checked(target, judgement, unpack(version.content).incidents, told, now)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a check would find now.

    Attributes:
        checked: the last Hour that a check has judged; None: no check has run.
        incidents: as a check would keep them, by identity.
        records: what is on record, the newest Hours of the lake included.
    """

    checked: Hour | None
    incidents: Incidents
    records: Mapping[Hour, Record]


async def preview(
    target: CheckTarget, settings: CheckSettings, observing: ObserveSettings, *, now: datetime
) -> Preview:
    """Judge as `check` does, in memory: nothing is written and no notification is sent.

    Where a check has judged all Hours that count, its incidents are returned as they are.

    Raises:
        LakeError: the lake, the history or the incidents cannot be read.
    """
    kept = await read_kept(target.place)
    if kept.judged is not None and kept.judged >= Hour.of(now - observing.grace):
        return Preview(kept.judged, dict(kept.incidents), records((await read_history(target.place)).frames))
    evidence, hours = await _load(target, kept, observing, _reach(settings), now, (None, Hour.of(now)))
    if not hours:
        return Preview(kept.judged, dict(kept.incidents), evidence.records)
    judgement = await asyncio.to_thread(decide, evidence, hours, settings)
    folded = fold(kept.incidents, judgement.findings, judgement.hours, now, fold_settings(settings, observing))
    return Preview(kept.judged, folded, evidence.records)


def fold_settings(settings: CheckSettings, observing: ObserveSettings) -> FoldSettings:
    """When an incident is over, and which rules and tables are watched."""

    def watches(rule: str, table: str | None) -> bool:
        return table not in observing.out_of_scope and settings.rules.watches(rule, table)

    return FoldSettings(settings.rules.end_after, watches)


def incidents_prefix(place: Place) -> str:
    """Where the incidents lie: beside the history's versions."""
    return f"{place.versions.removesuffix('history/')}incidents/"


async def read_incidents(place: Place) -> Incidents:
    """The incidents as they stand, by identity.

    Raises:
        LakeError: they cannot be read.
    """
    return dict((await read_kept(place)).incidents)


async def read_kept(place: Place) -> IncidentStore:
    """The incidents as they stand, and up to which Hour was judged; nothing is written.

    Raises:
        LakeError: they cannot be read.
    """
    newest = await Versions(place.store, incidents_prefix(place)).newest()
    return unpack(newest.content)


async def acknowledge(place: Place, key: str, until: Hour, note: str) -> Incident:
    """Mark an incident as known up to an Hour.

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
    reach: int,
    now: datetime,
    span: tuple[Hour | None, Hour],
) -> tuple[Evidence, tuple[Hour, ...]]:
    """What is on record up to an Hour, and the Hours to judge."""
    first, last = span
    history = await _history(target.place, _since(kept.judged, last, first, reach))
    standing = records(history.frames)
    looked = await look_at(target.lake, _to_look_at(standing, kept.judged, last), observing)
    if not standing:  # nobody observes this lake: it begins where it first holds something, not a week ago
        looked = list(dropwhile(lambda facts: not facts.present and facts.run is None, looked))
    if not standing and not looked:
        return Evidence({}, now), ()
    known = _in_scope(records(history.frames, looked, history.first_run), observing.out_of_scope)
    hours = hours_to_judge(known, kept.judged, last, first)
    if not hours:
        return Evidence(known, now), ()
    base = first_of_volumes(known, hours).shift(-WEEKS_OF_VOLUMES * 168)
    volumes = Volumes(target.place.store, target.place.published, target.place.versions)
    sizes = await volumes.series(base, hours[-1])
    _add_looked_at(sizes, base, looked, hours[-1])
    found = await read(target.place, [*_weeks_before(hours), *hours[0].shift(-BEFORE).to(hours[0].shift(-1)), *hours])
    counts, newest = await series(target.place, base, hours[-1]) if found else ({}, {})
    changed = await _schema_changes(target, looked)
    return Evidence(known, now, sizes, base, changed, found, counts, newest, history.first_run), hours


def _reach(settings: CheckSettings) -> int:
    """Hours before the first judged one that a check needs: the longest window, or the month before."""
    return max(31 * 24, WEEKS_OF_VOLUMES * 168, *(one.window for one in settings.objectives.objectives))


def _since(judged: Hour | None, last: Hour, first: Hour | None, reach: int) -> Hour | None:
    """The Hour from which on the history is read; None: all of it, where no check has judged yet."""
    if judged is None:
        return None
    begins = min(judged.shift(1), last.shift(1 - AGAIN), last if first is None else first)
    return begins.shift(-reach)


async def _history(place: Place, since: Hour | None) -> History:
    """The history that a check needs: all of it where nothing was delivered since, so that an outage has a start."""
    history = await read_history(place, since)
    delivered = any(row[1] != "0" for row in history.rows(JOBS).values())
    return history if delivered or not history.closed else await read_history(place)


def _in_scope(known: Mapping[Hour, Record], out_of_scope: frozenset[str]) -> dict[Hour, Record]:
    """The records, without the tables that are out of scope by now among those that are missing."""
    return {
        hour: record
        if not record.missing or out_of_scope.isdisjoint(record.missing)
        else replace(record, missing=tuple(table for table in record.missing if table not in out_of_scope))
        for hour, record in known.items()
    }


def _weeks_before(hours: Sequence[Hour]) -> list[Hour]:
    """Noon of each judged day one and two weeks before: what is usual on a Saturday."""
    noons = {hour.shift(12 - hour.start.hour) for hour in hours}
    before = {noon.shift(-weeks * WEEK) for noon in noons for weeks in (1, 2)}
    return sorted(noon for noon in before if noon < hours[0].shift(-BEFORE))


def _to_look_at(standing: Mapping[Hour, Record], judged: Hour | None, last: Hour) -> list[Hour]:
    """The newest Hours, those that are new, and the delivered one before them to compare with."""
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
    """The volumes of Hours that the history does not have yet."""
    length = next((len(values) for values in series.values()), 0) or sum(1 for _ in base.to(last))
    for facts in looked:
        place = round((facts.hour.start - base.start).total_seconds() / 3600)
        for table in facts.tables if 0 <= place < length else ():
            series.setdefault(table.table, array("q", [-1]) * length)[place] = table.size


async def _schema_changes(target: CheckTarget, looked: Sequence[HourFacts]) -> dict[Hour, Sequence[Change] | str]:
    """What each schema differs in from the delivered Hour's before; read only where their hashes differ."""
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


# -- keep -----------------------------------------------------------------------------------------------------


def _marked(
    kept: IncidentStore, judgement: Judgement, by: str, now: datetime, least: int, settings: FoldSettings
) -> IncidentStore:
    """The incidents as they are now, with the notifications that this check is to send marked as its own."""
    folded = fold(kept.incidents, judgement.findings, judgement.hours, now, settings)
    if kept.judged is None:
        folded = pass_over(folded, by, now)
    audible = {key: one for key, one in folded.items() if SEVERITIES.index(one.severity) >= least}
    judged = judgement.hours[-1] if kept.judged is None else max(judgement.hours[-1], kept.judged)
    return IncidentStore(folded | claim(audible, by, now), judged)


# -- tell -----------------------------------------------------------------------------------------------------


def _known_names(notifier: Notifier) -> set[str]:
    """A channel's names in records: those of before 2026-12 name all addresses of a kind alike."""
    return {notifier.name, notifier.name.partition(":")[0]}


async def _tell(
    target: CheckTarget, versions: Versions, version: Version, by: str, notifiers: Sequence[Notifier], clock: Clock
) -> dict[str, str | None]:
    """Tell what this check has claimed, in one message a channel, and write down what became of it."""
    standing = unpack(version.content).incidents
    mine = claimed(standing, by)
    if not mine:
        return {}
    passed_over = [one for one in standing.values() if one.notifications and not one.notifications[-1].tries]
    past = sum(one.notifications[-1].by == by for one in passed_over)
    answers: dict[str, str | None] = {}
    sent: dict[str, list[str]] = {one.key: [] for one, _ in mine}
    failed: dict[str, dict[str, str]] = {one.key: {} for one, _ in mine}
    for notifier in notifiers:
        new = [(one, notification) for one, notification in mine if not _known_names(notifier) & set(notification.sent)]
        if not new:
            continue
        answers |= await send_to_all([notifier], incidents_message(target, new, clock.now(), past), clock)
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
    target: CheckTarget, told: Sequence[tuple[Incident, Notification]], now: datetime, past: int = 0
) -> Message:
    """All that is to be told, as one message: a storm is one message, not forty."""
    items = [(one, notification.kind) for one, notification in told]
    subject = subject_words(target.environment, items)
    lines = [notice_words(target.environment, one, kind, now) for one, kind in items]
    if past:
        lines.append(f"{count_words(past, 'past incident')} on record: viplake check.")
    notices = [{"notice": notification.kind, **one.to_json(now)} for one, notification in told]
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
    told: Mapping[str, str | None],
    now: datetime,
) -> Checked:
    first, last = judgement.hours[0], judgement.hours[-1]
    shown = [one for one in standing.values() if one.hour <= last and (one.open or one.last >= first)]
    return Checked(
        target.environment,
        now,
        last,
        len(judgement.hours),
        tuple(shown),
        judgement.objectives,
        tuple(gap for gap in judgement.gaps if gap.last >= first and gap.first <= last),
        reasons(judgement.findings),
        dict(told),
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
    """What follows an Hour that has just come to its end: tell programs that it is delivered, then check.

    It has its own deadline and never raises: whatever happens here changes neither the outcome nor the exit code.
    """
    try:
        async with asyncio.timeout(DEADLINE):
            if settings.notify.delivered:
                await tell_delivered(target, clock, observing, notifiers, hours)
            return await check(target, clock, settings, observing, notifiers=notifiers)
    except TimeoutError:
        log.warning("not_checked", detail=f"it took longer than {DEADLINE:.0f} s")
    except ViplakeError as error:
        log.warning("not_checked", cause=error.cause.word, detail=error.message, hint=error.hint)
    except Exception as error:  # noqa: BLE001 - a defect in judging must not hide a delivery
        log.warning("not_checked", cause="unexpected", detail=f"{type(error).__name__}: {error}")
    return None


async def tell_delivered(
    target: CheckTarget, clock: Clock, observing: ObserveSettings, notifiers: Sequence[Notifier], hours: Sequence[Hour]
) -> dict[str, str | None]:
    """Tell programs of each of these Hours that has its Receipt, so that loads downstream can start on proof.

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
    """An Hour is delivered and proven: where it lies, and what is in it."""
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
    # The same id whoever tells it: an Hour is delivered once.
    return Message("delivered", subject, text, body, key=f"delivered-{target.environment}-{facts.hour.label}")
