"""PURE. Turns breaches into incidents: opened, ongoing, resolved, each with cause, owner, Hours, rules and tables.

`fold` is a function of stored incidents, results and time. So two checks at once get the same result, and an Hour that
is evaluated again (late or repaired) replaces its earlier results. Breaches of one group that overlap in time and have
the same cause are one incident. It ends after `end_after` good Hours in a row; its duration counts to the first of
them. An Hour without data neither opens nor ends an incident: earlier results stay.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

from viplake.judge.rules.catalogue import DECIDES, ORDER, RULES, group_of
from viplake.judge.rules.content_verdicts import LASTING
from viplake.judge.rules.rule import Breach, Loss, NoData
from viplake.model import SEVERITIES, UNKNOWN, Hour, Severity
from viplake.wording import count_words, name_words, time_words

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from viplake.judge.rules.rule import RuleResult

IncidentState = Literal["opened", "ongoing", "resolved"]
NotificationKind = Literal["opened", "escalated", "changed", "reopened", "reminder", "resolved"]

KEPT: Final = timedelta(days=400)
"""How long resolved incidents are stored: figures show a year."""

FLAPPING: Final = 2
"""An incident with interruptions is notified after so many times the Hours that a continuous one needs; a table that
is missing now and then is not, because the next export has its records."""

OUTAGE: Final = "outage"
"""The group of a missing export. It concerns the whole Hour, not single tables."""

MISSING_TABLE: Final = "missing_table"
"""The group of tables without a file."""

_POINTS: Final = frozenset(rule.group or rule.name for rule in RULES.values() if rule.point)


@dataclass(frozen=True, slots=True)
class Member:
    """One part of an incident: a rule, for a table.

    Attributes:
        rule, table: the rule, and the table or None.
        last: the last Hour in breach.
        good: the good Hours in a row since then.
        over: enough good Hours have followed.
    """

    rule: str
    table: str | None
    last: Hour
    good: tuple[Hour, ...] = ()
    over: bool = False

    @property
    def ended(self) -> Hour | None:
        """The first good Hour after the breach; None before there is one."""
        return self.good[0] if self.good else None


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification that was sent or is due.

    Attributes:
        kind: `opened`, `escalated`, `changed`, `reopened`, `reminder` or `resolved`.
        at: start of the last attempt to send it.
        by: the process that sends it.
        severity: of the incident at that time.
        tries: attempts to send it; 0: the incident had ended before the first check and is not notified.
        done: every channel has it, or there is no channel.
        sent: the channels that have it.
        failed: why the others do not, by channel.
        cause, owner: of the incident at that time; empty in records of older versions.
        loss: of records, at that time.
    """

    kind: NotificationKind
    at: datetime
    by: str
    severity: Severity
    tries: int = 1
    done: bool = False
    sent: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    cause: str = ""
    owner: str = ""
    loss: Loss = ""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """An acknowledgement: up to its last Hour, reminders and changes of cause are not sent."""

    until: Hour
    note: str = ""

    @property
    def words(self) -> str:
        """`acknowledged until 2022-05-17T08: ticket 123`."""
        return f"acknowledged until {self.until}{f': {self.note}' if self.note else ''}"


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident.

    Attributes:
        group: of rules, such as `outage`.
        hour: the first Hour.
        members: its rules and tables.
        severity: the highest so far.
        cause, owner: of its last Hour.
        summary: what happened, in one sentence.
        spans: its Hours in breach, as ranges with both ends included, ascending.
        opened_at: when a check first found it.
        resolved_at: when a check found that it has ended; None while open.
        healed: a later check found its Hours good: they were delivered late, or repaired.
        notifications: sent for it, oldest first.
        id: its identity.
        causes: each cause and owner with its first Hour, where they changed.
        evidence: the vendor's last response, and the GUID.
        loss: whether records are lost, or will be soon.
        lost: the lost period in words.
        until: an Hour must begin by then so that nothing is lost.
        ready: long or severe enough to be notified.
        unsure: whether records are lost is not known.
        closed: ended because its rule or table was turned off.
        acknowledged: by whom and until when.
        every: hours from one expected export to the next; its breaches are in Hours in which one was expected.
    """

    group: str
    hour: Hour
    members: tuple[Member, ...]
    severity: Severity
    cause: str
    owner: str
    summary: str
    spans: tuple[tuple[Hour, Hour], ...]
    opened_at: datetime
    resolved_at: datetime | None = None
    healed: bool = False
    notifications: tuple[Notification, ...] = ()
    id: str = ""
    causes: tuple[tuple[str, str, Hour], ...] = ()
    evidence: str = ""
    loss: Loss = ""
    lost: str = ""
    until: datetime | None = None
    ready: bool = True
    closed: bool = False
    acknowledged: Acknowledgement | None = None
    every: int = 1
    unsure: bool = False

    @property
    def key(self) -> str:
        """Its identity."""
        return self.id or f"{self.group}:{self.hour}"

    @property
    def open(self) -> bool:
        """Whether it lasts."""
        return self.resolved_at is None

    @property
    def is_point(self) -> bool:
        """Whether it is a point in time, such as a schema change, which has no end."""
        return self.group in _POINTS

    @property
    def rules(self) -> tuple[str, ...]:
        """Its rules, the most severe first."""
        return tuple(sorted({member.rule for member in self.members}, key=_gravity))

    @property
    def rule(self) -> str:
        """The most severe of its rules."""
        return self.rules[0]

    @property
    def tables(self) -> tuple[str, ...]:
        """Its tables, sorted."""
        return tuple(sorted({member.table for member in self.members if member.table is not None}))

    @property
    def hours(self) -> int:
        """How many Hours were in breach."""
        return sum(_length(first, last) for first, last in self.spans)

    @property
    def last(self) -> Hour:
        """The last Hour in breach."""
        return max(member.last for member in self.members)

    @property
    def ended(self) -> Hour | None:
        """The first good Hour after the last breach; None while there is none."""
        ended = [member.ended for member in self.members if member.last == self.last]
        return max((hour for hour in ended if hour is not None), default=None) if None not in ended else None

    @property
    def length(self) -> str:
        """How many Hours were in breach, or days where an export is expected once a day: `3 Hours`, `2 days`."""
        return count_words(self.hours, self.unit)

    @property
    def unit(self) -> str:
        """What it is counted in."""
        return "Hour" if self.every == 1 else "day"

    def state(self, now: datetime) -> IncidentState:
        """Return its state as JSON has it; `opened` in the check that found it."""
        if not self.open:
            return "resolved"
        return "opened" if self.opened_at == now else "ongoing"

    def to_json(self, now: datetime) -> dict[str, Any]:
        """As `viplake check --json` prints it."""
        tables, known = self.tables, self.acknowledged
        return {
            "id": self.key,
            "rule": self.rule,
            "rules": list(self.rules),
            "hour": str(self.hour),
            "last_hour": str(self.last),
            "hours": self.hours,
            "table": tables[0] if len(tables) == 1 else None,
            "tables": list(tables),
            "severity": self.severity,
            "state": self.state(now),
            "cause": self.cause,
            "owner": self.owner,
            "summary": self.summary,
            "healed": self.healed,
            "acknowledged_until": None if known is None else str(known.until),
            "note": None if known is None else known.note,
        }


Incidents = dict[str, Incident]
"""By identity."""


def _gravity(rule: str) -> tuple[int, str]:
    return ORDER.get(rule, len(ORDER)), rule


def _length(first: Hour, last: Hour) -> int:
    return round((last.end - first.start) / timedelta(hours=1))


# -- breaches to episodes -------------------------------------------------------------------------------------

_Thread = tuple[str, str | None]
"""A group and a table, which identify a thread of breaches; an outage has one thread, without a table."""


@dataclass(frozen=True, slots=True)
class FoldSettings:
    """How breaches become incidents.

    Attributes:
        end_after: good Hours in a row after which an incident is over; with daily exports, as many days, rounded up.
        watches: whether a rule is evaluated for a table; otherwise its incidents are closed.
        every: hours from one expected export to the next.
    """

    end_after: int = 6
    watches: Callable[[str, str | None], bool] = lambda _rule, _table: True
    every: int = 1

    def needed(self, *, is_point: bool) -> int:
        """Return how many good Hours in which an export was expected end an incident."""
        return 1 if is_point else -(-self.end_after // self.every)


@dataclass(slots=True)
class _Episode:
    """Consecutive breaches of one thread; `of` is the stored incident that it belongs to."""

    thread: _Thread
    start: Hour
    last: Hour
    members: dict[tuple[str, str | None], Hour] = field(default_factory=dict)
    hours: list[Hour] = field(default_factory=list)
    good: list[Hour] = field(default_factory=list)
    breaches: list[Breach] = field(default_factory=list)
    run: int = 0
    longest: int = 0
    over: bool = False
    closed: bool = False
    of: Incident | None = None

    def bad(self, hour: Hour, rule: str, table: str | None) -> None:
        """Add a breach of this Hour."""
        self.members[rule, table] = hour
        if not self.hours or self.hours[-1] != hour:
            self.hours.append(hour)
            self.run = 1 if self.good else self.run + 1
            self.longest = max(self.longest, self.run)
        self.last, self.good = hour, []

    @property
    def decides(self) -> str:
        """Return the rule that must pass to make an Hour good."""
        return DECIDES.get(self.thread[0]) or min((rule for rule, _ in self.members), key=_gravity)

    @property
    def cause(self) -> tuple[str, str]:
        """Return the most frequent cause and owner of its most severe rule."""
        leading = _leading(self.breaches)
        if leading:
            return Counter((breach.cause, breach.owner) for breach in leading).most_common(1)[0][0]
        return (self.of.cause, self.of.owner) if self.of is not None else (UNKNOWN, UNKNOWN)


def _thread_of(group: str, table: str | None) -> _Thread:
    return group, None if group == OUTAGE else table


def _leading(breaches: Sequence[Breach]) -> list[Breach]:
    """Return the breaches of the most severe rule."""
    lead = min((_gravity(breach.rule) for breach in breaches), default=None)
    return [breach for breach in breaches if _gravity(breach.rule) == lead]


@dataclass(slots=True)
class _Found:
    """Results by Hour, with the stored ones of Hours that have no new result."""

    known: Mapping[str, Incident]
    settings: FoldSettings
    breaches: dict[Hour, dict[_Thread, list[Breach]]] = field(default_factory=dict)
    judged: set[tuple[str, Hour]] = field(default_factory=set)
    excused: set[tuple[str, Hour]] = field(default_factory=set)
    unread: set[tuple[str, Hour]] = field(default_factory=set)

    def add(self, results: Iterable[RuleResult]) -> None:
        """Add the results of rules."""
        for result in results:
            if isinstance(result, NoData):
                if (kind := result.kind) == "excused":
                    self.excused.add((result.rule, result.hour))
                elif kind == "unread":
                    self.unread.add((result.rule, result.hour))
                continue
            self.judged.add((result.rule, result.hour))
            if isinstance(result, Breach):
                if result.presumed:
                    result = self._as_found(result)  # noqa: PLW2901 - the same breach
                thread = _thread_of(result.group or group_of(result.rule), result.table)
                self.breaches.setdefault(result.hour, {}).setdefault(thread, []).append(result)

    def _as_found(self, breach: Breach) -> Breach:
        """Return the breach with the cause that an earlier check found when it read the folder of that Hour."""
        for one in self.known.values():
            own = any((member.rule, member.table) == (breach.rule, breach.table) for member in one.members)
            if own and not one.healed and any(first <= breach.hour <= last for first, last in one.spans):
                until = [(cause, owner) for cause, owner, hour in one.causes if hour <= breach.hour]
                cause, owner = until[-1] if until else (one.cause, one.owner)
                return breach._replace(cause=cause, owner=owner, group=one.group)
        return breach

    def on_record(self, hours: Sequence[Hour]) -> tuple[_OnRecord, dict[Hour, set[_Thread]]]:
        """Return the stored breaches and good Hours of Hours that were not evaluated, by Hour and thread."""
        bad: _OnRecord = {}
        good: dict[Hour, set[_Thread]] = {}
        for one in self.known.values():
            for member in () if one.healed else one.members:
                if member.last < hours[0] and (not member.good or member.good[-1] < hours[0]):
                    continue
                thread = _thread_of(one.group, member.table)
                for begin, end in one.spans:
                    for hour in max(begin, hours[0]).to(min(end, hours[-1], member.last)):
                        if not self._is_judged(member, one, hour):
                            bad.setdefault(hour, {}).setdefault(thread, []).append((member, one))
                for hour in member.good:
                    if not self._is_judged(member, one, hour):
                        good.setdefault(hour, set()).add(thread)
        return bad, good

    def _is_judged(self, member: Member, one: Incident, hour: Hour) -> bool:
        decides = DECIDES.get(one.group, member.rule), hour
        watched = self.settings.watches(member.rule, member.table)
        if watched and (member.rule, hour) in self.unread:  # a file that is missing does not come back unseen
            return False
        return watched and (decides in self.judged or decides in self.excused)


_OnRecord = dict[Hour, dict[_Thread, list[tuple[Member, Incident]]]]


def fold(
    known: Mapping[str, Incident],
    results: Iterable[RuleResult],
    hours: Sequence[Hour],
    now: datetime,
    settings: FoldSettings = FoldSettings(),
) -> Incidents:
    """Return the incidents after an evaluation.

    Args:
        known: the stored incidents.
        results: of all rules in these Hours.
        hours: the evaluated Hours, ascending, without gaps. Stored results of Hours before and after stay.
        now: time of the check.
        settings: when an incident ends.
    """
    if not hours:
        return dict(known)
    first, last = hours[0], hours[-1]
    ends = [one.last for one in known.values() if one.hour <= last and not one.healed]
    until = max([last, *ends, *(hour for one in known.values() if one.hour <= last for hour in _good_hours(one))])
    found = _Found(known, settings)
    found.add(results)
    episodes = _walk(found, [*hours, *last.shift(1).to(until)])
    result = dict(known)
    gone = {key for key, one in known.items() if first <= one.hour <= last}
    for parts in _events(episodes):
        matches = _matching(known, parts, gone)
        one = _incident(matches[0] if matches else None, parts, first, now, settings.every)
        if not matches:
            one = replace(one, id=_new_id(one, result))
        gone -= {match.key for match in matches}
        result[one.key] = one
        for other in matches[1:]:
            result[other.key] = _closed(other, now, f"; joined with {one.key}")
    for key in gone:
        result[key] = _closed(known[key], now, "; checked again, its Hours are good", healed=True)
    return {
        key: one
        for key, one in sorted(result.items(), key=lambda item: (item[1].hour, item[0]))
        if one.resolved_at is None or now - one.resolved_at < KEPT
    }


def up_to(known: Mapping[str, Incident], last: Hour, settings: FoldSettings) -> Incidents:
    """The incidents as they stood at the end of an Hour: what came later is left out."""
    found: Incidents = {}
    for key, one in known.items():
        if one.last <= last and not any(hour > last for hour in _good_hours(one)):
            found[key] = one
            continue
        spans = tuple((first, min(end, last)) for first, end in one.spans if first <= last)
        if not spans:
            continue
        members = tuple(_member_up_to(member, one, last, settings) for member in one.members)
        is_over = all(member.over for member in members)
        found[key] = replace(
            one, members=members, spans=spans, resolved_at=one.resolved_at if is_over else None, healed=False
        )
    return found


def _member_up_to(member: Member, one: Incident, last: Hour, settings: FoldSettings) -> Member:
    newest = max(min(end, last) for first, end in one.spans if first <= last)
    good = tuple(hour for hour in member.good if member.last <= last and hour <= last)
    needed = settings.needed(is_point=one.is_point)
    return replace(member, last=min(member.last, newest), good=good, over=member.over and len(good) >= needed)


def _good_hours(one: Incident) -> Iterable[Hour]:
    return (hour for member in one.members for hour in member.good)


def _walk(found: _Found, hours: Sequence[Hour]) -> list[_Episode]:
    """Walk through the Hours: continue, end and begin episodes."""
    bad, good = found.on_record(hours)
    running = _running(found.known, hours[0])
    episodes = list(running.values())

    def episode(thread: _Thread, hour: Hour, of: Incident | None = None) -> _Episode:
        if not _goes_on(running, thread, hour):
            running[thread] = _Episode(thread, hour, hour, of=of)
            episodes.append(running[thread])
        return running[thread]

    for hour in hours:
        for thread, members in bad.get(hour, {}).items():
            for member, of in members:
                episode(thread, hour, of).bad(hour, member.rule, member.table)
        for thread, breaches in found.breaches.get(hour, {}).items():
            current = episode(thread, hour)
            for breach in breaches:
                current.bad(hour, breach.rule, breach.table)
            current.breaches += breaches
        for thread, current in list(running.items()):
            is_good = (current.decides, hour) in found.judged or thread in good.get(hour, ())
            if current.last != hour and is_good and _is_watched(found.settings, current):
                current.good.append(hour)
                if len(current.good) >= found.settings.needed(is_point=thread[0] in _POINTS):
                    running.pop(thread).over = True
    for current in running.values():
        current.over = current.closed = not _is_watched(found.settings, current)
    return episodes


def _goes_on(running: dict[_Thread, _Episode], thread: _Thread, hour: Hour) -> bool:
    """Return whether an episode goes on in an Hour; two changes of the schema in a row are two points in time."""
    current = running.get(thread)
    if current is not None and current.last != hour and thread[0] in _POINTS:
        running.pop(thread).over = True
        return False
    return current is not None


def _is_watched(settings: FoldSettings, current: _Episode) -> bool:
    return any(settings.watches(rule, table) for rule, table in current.members)


def _running(known: Mapping[str, Incident], first: Hour) -> dict[_Thread, _Episode]:
    """Return the episodes that were open before the first evaluated Hour."""
    running: dict[_Thread, _Episode] = {}
    for one in known.values():
        for member in one.members if one.hour < first and not one.healed else ():
            if member.over and (not member.good or member.good[-1] < first) and member.last < first:
                continue
            last = min(member.last, first.shift(-1))
            thread = _thread_of(one.group, member.table)
            current = running.setdefault(thread, _Episode(thread, one.hour, last, of=one))
            current.members[member.rule, member.table] = last
            if last >= current.last:
                current.last, current.good = last, [hour for hour in member.good if hour < first]
    return running


# -- episodes to incidents ------------------------------------------------------------------------------------


def _events(episodes: Iterable[_Episode]) -> list[list[_Episode]]:
    """Group episodes that overlap and have the same group and cause, or belong to one stored incident."""
    events: list[list[_Episode]] = []
    alive: list[list[_Episode]] = []
    for current in sorted(episodes, key=lambda one: (one.thread[0], one.start, one.thread[1] or "")):
        group = current.thread[0]
        alive = [parts for parts in alive if parts[0].thread[0] == group and _overlaps(parts, current)]
        same = [parts for parts in alive if current.of is not None and any(part.of is current.of for part in parts)]
        same += [parts for parts in alive if parts[0].cause == current.cause]
        if same:
            same[0].append(current)
        else:
            events.append([current])
            alive.append(events[-1])
    return events


def _overlaps(parts: Sequence[_Episode], current: _Episode) -> bool:
    return any(not part.over or current.start <= (part.good[-1] if part.good else part.last) for part in parts)


def _matching(known: Mapping[str, Incident], parts: Sequence[_Episode], free: Collection[str]) -> list[Incident]:
    """Return the stored incidents that these episodes continue or overlap, the oldest first."""
    own = {part.of.key: part.of for part in parts if part.of is not None}
    threads = {part.thread for part in parts}
    hours = {hour for part in parts for hour in part.hours}
    for key in free:
        one = known[key]
        of_threads = {_thread_of(one.group, member.table) for member in one.members}
        shared = any(begin <= hour <= end for begin, end in one.spans for hour in hours)
        if shared and not threads.isdisjoint(of_threads):
            own[key] = one
    return sorted(own.values(), key=lambda one: (one.hour, one.key))


def _new_id(one: Incident, taken: Collection[str]) -> str:
    """Return the identity, `outage:2022-05-10T04`; the cause is added where two of one group begin in one Hour."""
    base = f"{one.group}:{one.hour}"
    names = [base, f"{base}:{one.cause}", *(f"{base}:{one.cause}:{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def _incident(known: Incident | None, parts: Sequence[_Episode], first: Hour, now: datetime, every: int) -> Incident:
    """Build one incident from its episodes; `first` is the first evaluated Hour."""
    threads = {part.thread for part in parts}
    group = parts[0].thread[0]
    members = [
        Member(rule, table, last, tuple(part.good), part.over)
        for part in parts
        for (rule, table), last in part.members.items()
    ]
    kept = [m for m in known.members if _thread_of(group, m.table) not in threads] if known is not None else []
    members = _newest([*kept, *members])
    hours = [hour for part in parts for hour in part.hours]
    spans = _spans(known, hours, first)
    is_over = all(member.over for member in members)
    breaches = [breach for part in parts for breach in part.breaches]
    one = Incident(
        group,
        spans[0][0],
        tuple(members),
        known.severity if known is not None else "info",
        UNKNOWN,
        UNKNOWN,
        "",
        spans,
        now if known is None else known.opened_at,
        None if not is_over else now if known is None or known.resolved_at is None else known.resolved_at,
        notifications=() if known is None else known.notifications,
        id="" if known is None else known.key,
        acknowledged=None if known is None else known.acknowledged,
        ready=known is not None and known.ready,
        closed=is_over and any(part.closed for part in parts),
        every=every,
    )
    before = known or next((part.of for part in parts if part.of is not None), None)
    return _described(one, before, parts, breaches, first)


def _newest(members: Iterable[Member]) -> list[Member]:
    """Return each rule and table once, with its last Hour; the most severe rule first."""
    found: dict[tuple[str, str | None], Member] = {}
    for member in members:
        before = found.get((member.rule, member.table))
        if before is None or before.last <= member.last:
            found[member.rule, member.table] = member
    return sorted(found.values(), key=lambda member: (_gravity(member.rule), member.table or ""))


def _spans(known: Incident | None, found: Iterable[Hour], first: Hour) -> tuple[tuple[Hour, Hour], ...]:
    """Return the ranges of Hours in breach: stored ones before the first evaluated Hour, and new ones."""
    runs = [(begin, min(end, first.shift(-1))) for begin, end in (known.spans if known else ()) if begin < first]
    for hour in sorted(set(found)):
        if runs and runs[-1][1].shift(1) == hour:
            runs[-1] = (runs[-1][0], hour)
        else:
            runs.append((hour, hour))
    return tuple(runs)


def _described(
    one: Incident, known: Incident | None, parts: Sequence[_Episode], breaches: Sequence[Breach], first: Hour
) -> Incident:
    """Return the incident with summary and numbers of its breaches; without any, the stored ones stay."""
    newest = max((breach.hour for breach in breaches), default=None)
    leading = _leading(breaches)
    causes = _causes(one, known, leading, first)
    cause, owner, _ = causes[-1]
    losses = [breach for breach in breaches if breach.loss]
    lost = max(losses, key=lambda breach: (breach.loss == "lost", breach.hour), default=None)
    ready = one.ready or any(breach.urgent or breach.loss for breach in breaches)
    if breaches:
        lasts = max(part.longest for part in parts)
        after = min(breach.after for breach in breaches)
        flaps = one.group != MISSING_TABLE and one.hours >= FLAPPING * after
        ready = ready or lasts >= after or flaps
    one = replace(
        one,
        severity=max([one.severity, *(breach.severity for breach in breaches)], key=SEVERITIES.index),
        cause=cause,
        owner=owner,
        causes=causes,
        ready=ready,
        loss=lost.loss if lost is not None else known.loss if known is not None else "",
        lost=lost.summary if lost is not None else known.lost if known is not None else "",
    )
    if newest is None or (known is not None and known.last > newest):
        if known is None:
            return one
        severity = max(one.severity, known.severity, key=SEVERITIES.index)
        one = replace(one, severity=severity, until=known.until, unsure=known.unsure)
        return replace(one, summary=known.summary, evidence=known.evidence)
    last = max(breach.hour for breach in leading)
    ends = [breach for breach in leading if breach.hour == last]
    until = min((breach.until for breach in ends if breach.until is not None), default=None)
    unsure = any(breach.unsure for breach in breaches)
    return replace(
        one, summary=_summary(one, _typical(breaches)), evidence=ends[-1].evidence, until=until, unsure=unsure
    )


def _causes(
    one: Incident, known: Incident | None, leading: Sequence[Breach], first: Hour
) -> tuple[tuple[str, str, Hour], ...]:
    """Return each cause and owner with its first Hour."""
    found: list[tuple[str, str, Hour]] = []
    if known is not None:
        of_known = known.causes or ((known.cause, known.owner, known.hour),)
        judged = {breach.hour for breach in leading}
        found = [entry for entry in of_known if entry[2] < first or (entry[2] not in judged and not judged)]
    by_hour: dict[Hour, Counter[tuple[str, str]]] = {}
    for breach in leading:
        by_hour.setdefault(breach.hour, Counter())[breach.cause, breach.owner] += 1
    found += [(*by_hour[hour].most_common(1)[0][0], hour) for hour in sorted(by_hour)]
    if not found:
        found = [(known.cause, known.owner, one.hour)] if known is not None else [(UNKNOWN, UNKNOWN, one.hour)]
    return (found[0], *(after for before, after in pairwise(found) if before[:2] != after[:2]))


def _closed(one: Incident, now: datetime, why: str, *, healed: bool = False) -> Incident:
    """Return the incident, ended without good Hours: its Hours were repaired, or it joined another incident."""
    if one.healed or (not one.open and not healed):
        return one
    members = tuple(replace(member, good=member.good or (member.last.shift(1),), over=True) for member in one.members)
    resolved = one.resolved_at or now
    return replace(one, members=members, resolved_at=resolved, healed=healed, summary=f"{one.summary}{why}")


# -- words ----------------------------------------------------------------------------------------------------


def _typical(breaches: Sequence[Breach]) -> list[Breach]:
    """Return the breaches of the most severe rule that is violated in most of the Hours: the summary counts them."""
    hours = len({breach.hour for breach in breaches})
    for rule in sorted({breach.rule for breach in breaches}, key=_gravity):
        of_rule = [breach for breach in breaches if breach.rule == rule]
        if 2 * len({breach.hour for breach in of_rule}) > hours:
            return of_rule
    return _leading(breaches)


def _summary(one: Incident, leading: Sequence[Breach]) -> str:
    """Return the summary: headline of a rule and the Hours of the incident, or else the last breach."""
    newest = max(breach.hour for breach in leading)
    last = [breach for breach in leading if breach.hour == newest]
    rule = RULES.get(leading[0].rule)
    tables = sorted({breach.table for breach in leading if breach.table is not None})
    what = min(last, key=lambda breach: " removed" not in breach.summary).summary  # it breaks what reads the tables
    if rule is not None and rule.headline and one.hours > 1:
        return f"{rule.headline.format(tables=_named(tables))} {period(one)}{''.join(what.partition('; ')[1:])}"
    if len(tables) > 1 and rule is not None:
        what = f"{rule.meaning}: {_named(tables)}; {what}"
    what, lasting, when = what.partition(LASTING)
    what = what if one.hours == 1 or (rule is not None and rule.timed) else f"{what}; {period(one)}"
    return f"{what}{lasting}{when}" if one.ended is None else what


def _named(tables: Sequence[str]) -> str:
    return tables[0] if len(tables) == 1 else f"{count_words(len(tables), 'table')} ({name_words(tables)})"


def period(one: Incident) -> str:
    """Its Hours: `since 2022-05-10 04:00 UTC (3 Hours)`, `from ... to ...`, `in 12 of 24 Hours since ...`; or days."""
    begin, ended, last = one.spans[0][0], one.ended, one.spans[-1][1]
    expected = -(-_length(begin, last) // one.every)
    if one.hours < expected:
        return f"in {one.hours} of {count_words(expected, one.unit)} since {moment(begin)}"
    if ended is None:
        return f"since {moment(begin)} ({one.length})"
    return f"from {moment(begin)} to {moment(ended)} ({one.length})"


def moment(hour: Hour) -> str:
    """The start of an Hour as people read it."""
    return time_words(hour.start)
