"""PURE. Incidents: an episode of breaches each, opened, ongoing, resolved; and what is to be told of them, once.

`fold` is a function of (what stands, what was found, when), so that two processes which race come to the same, and an
Hour that is judged again (it came late, it was repaired) changes what was said of it. Breaches that begin in the same
Hour for the same reason are one incident: 40 missing tables are one, and so is an outage however many rules it breaks.
An Hour without data neither opens nor resolves anything: what was found of it when somebody looked stands.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from viplake import strictjson
from viplake.errors import LakeError, SettingsError
from viplake.judge.record import NOBODY
from viplake.judge.rules.catalogue import ORDER, RULES, group_of
from viplake.judge.rules.rule import Breach, NoData
from viplake.lake.records import FORMAT, parse_utc, utc
from viplake.model import SEVERITIES, Hour, Severity
from viplake.wording import name_words

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from viplake.judge.rules.rule import RuleResult

State = Literal["opened", "ongoing", "resolved"]
NotificationKind = Literal["opened", "escalated", "reminder", "resolved"]

REMIND: Final = timedelta(days=1)
"""After how long what is still open is told again."""

LEASE: Final = timedelta(minutes=10)
"""How long a process has for notification before another may: three tries of 10 s on a few channels end long before."""

ATTEMPTS: Final = 5
"""Checks that try to tell one thing, each of them three times."""

KEPT: Final = timedelta(days=400)
"""How long resolved incidents are kept: a year of figures."""

_DECIDING: Final = {rule.group: rule.name for rule in RULES.values() if rule.decides}
"""The rule whose pass ends the incidents of its group."""


@dataclass(frozen=True, slots=True)
class Member:
    """What an incident is made of: a rule, for a table.

    Attributes:
        rule, table: which; `rule` is the gravest of those that are one trouble.
        last: the last Hour in breach.
        ended: the first Hour in which it held again; None: it has not.
    """

    rule: str
    table: str | None
    last: Hour
    ended: Hour | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """A thing that was, or is to be, told.

    Attributes:
        kind: what.
        at: when it was last begun to be told.
        by: the process that tells it.
        severity: that the incident had then.
        tries: how often it was begun.
        done: it is told on every channel, or nobody listens.
        sent: the channels that have it.
        failed: why the others do not, by channel.
    """

    kind: NotificationKind
    at: datetime
    by: str
    severity: Severity
    tries: int = 1
    done: bool = False
    sent: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Incident:
    """An episode.

    Attributes:
        group: the trouble.
        hour: in which it began; with `group` its identity.
        members: its rules and tables.
        severity: the gravest that it has been.
        cause, owner: the most frequent ones on record.
        summary: of the gravest breach in its last Hour.
        spans: its Hours in breach, as runs from and to, both included, ascending.
        opened_at: when it was first found.
        resolved_at: when it was found to be over; None while open.
        healed: a later look found that its Hours are well: they came late, or were repaired.
        notifications: what was told of it, oldest first.
        blames: how many breaches had each cause and owner.
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

    @property
    def key(self) -> str:
        """Its identity."""
        return f"{self.group}:{self.hour}"

    @property
    def open(self) -> bool:
        """Whether it lasts."""
        return self.resolved_at is None

    @property
    def rules(self) -> tuple[str, ...]:
        """Its rules, the gravest first."""
        return tuple(
            sorted({member.rule for member in self.members}, key=lambda name: (ORDER.get(name, len(ORDER)), name))
        )

    @property
    def rule(self) -> str:
        """The gravest of its rules."""
        return self.rules[0]

    @property
    def tables(self) -> tuple[str, ...]:
        """Its tables, sorted."""
        return tuple(sorted({member.table for member in self.members if member.table is not None}))

    @property
    def hours(self) -> int:
        """How many Hours were in breach."""
        return sum(round((last.end - first.start) / timedelta(hours=1)) for first, last in self.spans)

    @property
    def last(self) -> Hour:
        """The last Hour in breach."""
        return max(member.last for member in self.members)

    def state(self, now: datetime) -> State:
        """In the words of the JSON; `opened` in the check that found it."""
        if not self.open:
            return "resolved"
        return "opened" if self.opened_at == now else "ongoing"

    def to_json(self, now: datetime) -> dict[str, Any]:
        """As `viplake check --json` prints it."""
        tables = self.tables
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
        }


Incidents = dict[str, Incident]
"""By identity."""


# -- breaches to episodes -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Episode:
    """A rule, for a table, in breach from one Hour on; `of` is the incident that it is left of, where it is."""

    group: str
    rule: str
    table: str | None
    start: Hour
    last: Hour
    ended: Hour | None = None
    breaches: list[Breach] = field(default_factory=list)
    standing: list[Hour] = field(default_factory=list)
    of: Incident | None = None

    def member(self) -> Member:
        return Member(self.rule, self.table, self.last, self.ended)


_Key = tuple[str, str | None]


def _key_of(breach: Breach) -> _Key:
    group = group_of(breach.rule)
    return group, None if group == "outage" else breach.table


def fold(
    known: Mapping[str, Incident], results: Iterable[RuleResult], hours: Sequence[Hour], now: datetime
) -> Incidents:
    """The incidents after a judgement.

    Args:
        known: what stands.
        results: of these Hours, of all rules.
        hours: that were judged, ascending, without holes. What stands of Hours before and after stays.
        now: when.
    """
    if not hours:
        return dict(known)
    first, last = hours[0], hours[-1]
    episodes = _walk(known, results, hours)
    result = {key: one for key, one in known.items() if not first <= one.hour <= last}
    for (group, start), parts in _together(episodes).items():
        key = f"{group}:{start}"
        result[key] = _incident(known.get(key), group, start, parts, first, now)
    for key, one in known.items():
        if first <= one.hour <= last and key not in result:
            result[key] = _healed(one, now)
    return {
        key: one
        for key, one in sorted(result.items(), key=lambda item: (item[1].hour, item[0]))
        if one.resolved_at is None or now - one.resolved_at < KEPT
    }


def _walk(known: Mapping[str, Incident], results: Iterable[RuleResult], hours: Sequence[Hour]) -> list[_Episode]:
    """Hour by Hour: what goes on, what ends, what begins."""
    breaches: dict[Hour, dict[_Key, list[Breach]]] = {}
    judged: set[tuple[str, Hour]] = set()
    excused: set[tuple[str, Hour]] = set()
    for result in results:
        if isinstance(result, NoData):
            if result.excused:
                excused.add((result.rule, result.hour))
            continue
        judged.add((result.rule, result.hour))
        if isinstance(result, Breach):
            breaches.setdefault(result.hour, {}).setdefault(_key_of(result), []).append(result)
    standing = _standing(known, judged | excused, hours)
    running = _running(known, hours[0])
    found = list(running.values())
    for hour in hours:
        now = breaches.get(hour, {})
        for key, (rule, of) in standing.get(hour, {}).items():
            if key not in running:
                running[key] = _Episode(key[0], rule, key[1], hour, hour, of=of)
                found.append(running[key])
            running[key].last = hour
            running[key].standing.append(hour)
        for key in [key for key in running if key not in now]:
            if (_DECIDING.get(key[0], running[key].rule), hour) in judged:
                running.pop(key).ended = hour
        for key, of_key in now.items():
            of_key.sort(key=lambda breach: ORDER[breach.rule])
            episode = running.get(key)
            if episode is None:
                episode = running[key] = _Episode(key[0], of_key[0].rule, key[1], hour, hour)
                found.append(episode)
            episode.rule = min(episode.rule, of_key[0].rule, key=lambda name: ORDER.get(name, len(ORDER)))
            episode.last = hour
            episode.breaches += of_key
    return found


def _standing(
    known: Mapping[str, Incident], judged: Collection[tuple[str, Hour]], hours: Sequence[Hour]
) -> dict[Hour, dict[_Key, tuple[str, Incident]]]:
    """What was found in Hours of which nothing can be said now; by Hour, trouble and table: rule and incident."""
    found: dict[Hour, dict[_Key, tuple[str, Incident]]] = {}
    for one in known.values():
        if one.healed:
            continue
        for begin, end in one.spans:
            for hour in max(begin, hours[0]).to(min(end, hours[-1])):
                for member in one.members:
                    key = (one.group, None if one.group == "outage" else member.table)
                    if hour <= member.last and (_DECIDING.get(one.group, member.rule), hour) not in judged:
                        found.setdefault(hour, {})[key] = (member.rule, one)
    return found


def _running(known: Mapping[str, Incident], first: Hour) -> dict[_Key, _Episode]:
    """What was in breach before the first judged Hour and had not ended by then."""
    running: dict[_Key, _Episode] = {}
    for one in known.values():
        for member in one.members if one.hour < first and not one.healed else ():
            if member.ended is None or member.ended >= first:
                last = min(member.last, first.shift(-1))
                key = (one.group, None if one.group == "outage" else member.table)
                running[key] = _Episode(one.group, member.rule, member.table, one.hour, last)
    return running


def _together(episodes: Iterable[_Episode]) -> dict[tuple[str, Hour], list[_Episode]]:
    found: dict[tuple[str, Hour], list[_Episode]] = {}
    for episode in episodes:
        found.setdefault((episode.group, episode.start), []).append(episode)
    return found


def _incident(
    known: Incident | None, group: str, start: Hour, parts: list[_Episode], first: Hour, now: datetime
) -> Incident:
    """One incident of the episodes that began together; `first` is the first Hour that was judged."""
    breaches = [breach for part in parts for breach in part.breaches]
    members = {(part.rule, part.table): part.member() for part in parts}
    if known is not None and known.hour == start:
        for member in known.members:  # those that ended before the first judged Hour
            if (member.rule, member.table) not in members and not any(p.table == member.table for p in parts):
                members[member.rule, member.table] = member
    is_over = all(member.ended is not None for member in members.values())
    one = Incident(
        group,
        start,
        tuple(sorted(members.values(), key=lambda member: (ORDER.get(member.rule, len(ORDER)), member.table or ""))),
        "info",
        NOBODY,
        NOBODY,
        "",
        _spans(known, [hour for part in parts for hour in (*part.standing, *(b.hour for b in part.breaches))], first),
        now if known is None else known.opened_at,
        None if not is_over else now if known is None or known.resolved_at is None else known.resolved_at,
        notifications=() if known is None else known.notifications,
    )
    said = known or next((part.of for part in parts if part.of is not None), None)
    if not breaches and said is not None:
        return replace(one, severity=said.severity, cause=said.cause, owner=said.owner, summary=said.summary)
    return _described(one, known, breaches)


def _described(one: Incident, known: Incident | None, breaches: list[Breach]) -> Incident:
    """With the words and figures of its breaches."""
    severities = [breach.severity for breach in breaches] + ([known.severity] if known else [])
    lead = min((ORDER[breach.rule] for breach in breaches), default=0)
    leading = [breach for breach in breaches if ORDER[breach.rule] == lead]
    blames = Counter((breach.cause, breach.owner) for breach in leading)
    [((cause, owner), _)] = blames.most_common(1)
    return replace(
        one,
        severity=max(severities, key=SEVERITIES.index),
        cause=cause,
        owner=owner,
        summary=_summary(one, leading),
    )


def _spans(known: Incident | None, found: Iterable[Hour], first: Hour) -> tuple[tuple[Hour, Hour], ...]:
    """The runs of Hours in breach: those on record before the first judged Hour, and those found now."""
    runs = [(begin, min(end, first.shift(-1))) for begin, end in (known.spans if known else ()) if begin < first]
    for hour in sorted(set(found)):
        if runs and runs[-1][1].shift(1) == hour:
            runs[-1] = (runs[-1][0], hour)
        else:
            runs.append((hour, hour))
    return tuple(runs)


def _summary(one: Incident, leading: list[Breach]) -> str:
    """The last word of the gravest rule; of many tables their names; how long it lasts."""
    newest = max(breach.hour for breach in leading)
    last = [breach for breach in leading if breach.hour == newest]
    tables = sorted({breach.table for breach in leading if breach.table is not None})
    what = last[-1].summary
    if len(tables) > 1:
        what = f"{RULES[leading[0].rule].meaning}: {len(tables)} tables, {name_words(tables)}; {what}"
    return what if one.hours == 1 else f"{what} ({one.hours} Hours since {one.hour})"


def _healed(one: Incident, now: datetime) -> Incident:
    """A look at its Hours found nothing wrong any more."""
    if one.healed:
        return one
    members = tuple(replace(member, ended=member.ended or member.last.shift(1)) for member in one.members)
    summary = f"{one.summary}; looked at again, its Hours are well"
    return replace(one, members=members, resolved_at=one.resolved_at or now, healed=True, summary=summary)


# -- notification --------------------------------------------------------------------------------------------------


def due(one: Incident, now: datetime) -> NotificationKind | None:
    """What is to be told of an incident now; None: nothing, or another process is at it."""
    newest = one.notifications[-1] if one.notifications else None
    if newest is not None and not newest.done and newest.tries < ATTEMPTS:
        if abs(now - newest.at) < LEASE:
            return None
        return newest.kind if one.open else "resolved"
    kinds = {notification.kind for notification in one.notifications}
    if not one.open:
        return None if "resolved" in kinds else "resolved"
    if newest is None:
        return "opened"
    if one.severity == "page" and all(notification.severity != "page" for notification in one.notifications):
        return "escalated"
    return "reminder" if abs(now - newest.at) >= REMIND else None


def claim(incidents: Mapping[str, Incident], by: str, now: datetime) -> Incidents:
    """The incidents with everything that is due marked as being told by this process."""
    result = dict(incidents)
    for key, one in incidents.items():
        kind = due(one, now)
        if kind is None:
            continue
        before = one.notifications[-1] if one.notifications else None
        again = before is not None and before.kind == kind and not before.done
        mark = Notification(kind, now, by, one.severity)
        if again and before is not None:
            mark = replace(mark, tries=before.tries + 1, sent=before.sent)
        kept = one.notifications[:-1] if again else one.notifications
        result[key] = replace(one, notifications=(*kept, mark))
    return result


def claimed(incidents: Mapping[str, Incident], by: str) -> list[tuple[Incident, Notification]]:
    """What this process is to tell, the oldest incident first."""
    return [
        (one, one.notifications[-1])
        for one in incidents.values()
        if one.notifications and not one.notifications[-1].done and one.notifications[-1].by == by
    ]


def notified(
    incidents: Mapping[str, Incident],
    by: str,
    sent: Mapping[str, Sequence[str]],
    failed: Mapping[str, Mapping[str, str]],
) -> Incidents:
    """The incidents with what became of the notification.

    Args:
        incidents: what stands.
        by: the process that told.
        sent: the channels that took it, by the incident's identity.
        failed: why others did not, likewise.
    """
    result = dict(incidents)
    for one, mark in claimed(incidents, by):
        if one.key in sent or one.key in failed:
            reached = tuple(sorted({*mark.sent, *sent.get(one.key, ())}))
            errors = dict(failed.get(one.key, {}))
            done = replace(mark, sent=reached, failed=errors, done=not errors)
            result[one.key] = replace(one, notifications=(*one.notifications[:-1], done))
    return result


# -- bytes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IncidentStore:
    """What is kept in the lake between two checks.

    Attributes:
        incidents: by identity.
        judged: the last Hour that was judged; None: none was.
    """

    incidents: Mapping[str, Incident] = field(default_factory=dict)
    judged: Hour | None = None


def pack(kept: IncidentStore) -> bytes:
    """As JSON."""
    return strictjson.dumps(
        {
            "format": FORMAT,
            "judged": None if kept.judged is None else str(kept.judged),
            "incidents": [_plain(one) for one in kept.incidents.values()],
        }
    )


def unpack(data: bytes | None) -> IncidentStore:
    """Read it; nothing: none yet.

    Raises:
        LakeError: it cannot be read (`ledger_damaged`), or is of a newer format (`lake_format`).
    """
    if data is None:
        return IncidentStore()
    try:
        record = strictjson.loads(data)
        if strictjson.count_of(record["format"]) > FORMAT:
            raise LakeError("the incidents were written by a newer viplake", cause="lake_format")
        found = [_read(item) for item in record["incidents"]]
        judged = record["judged"]
        return IncidentStore({one.key: one for one in found}, None if judged is None else Hour.parse(judged))
    except (ValueError, TypeError, KeyError, AttributeError, SettingsError) as error:
        raise LakeError(f"the incidents cannot be read: {error}", cause="ledger_damaged") from None


def _plain(one: Incident) -> dict[str, Any]:
    return {
        "group": one.group,
        "hour": str(one.hour),
        "severity": one.severity,
        "cause": one.cause,
        "owner": one.owner,
        "summary": one.summary,
        "spans": [[str(first), str(last)] for first, last in one.spans],
        "opened_at": utc(one.opened_at),
        "resolved_at": None if one.resolved_at is None else utc(one.resolved_at),
        "healed": one.healed,
        "members": [
            [member.rule, member.table, str(member.last), None if member.ended is None else str(member.ended)]
            for member in one.members
        ],
        "tellings": [
            {
                "kind": notification.kind,
                "at": utc(notification.at),
                "by": notification.by,
                "severity": notification.severity,
                "tries": notification.tries,
                "done": notification.done,
                "sent": list(notification.sent),
                "failed": dict(notification.failed),
            }
            for notification in one.notifications
        ],
    }


def _read(item: Mapping[str, Any]) -> Incident:
    group, cause, owner, summary = (strictjson.text_of(item[name]) for name in ("group", "cause", "owner", "summary"))
    members = tuple(
        Member(
            strictjson.text_of(rule),
            None if table is None else strictjson.text_of(table),
            Hour.parse(last),
            None if ended is None else Hour.parse(ended),
        )
        for rule, table, last, ended in item["members"]
    )
    if not members:
        raise ValueError("an incident of nothing")
    return Incident(
        group,
        Hour.parse(item["hour"]),
        members,
        _severity(item["severity"]),
        cause,
        owner,
        summary,
        tuple((Hour.parse(first), Hour.parse(last)) for first, last in item["spans"]),
        parse_utc(item["opened_at"]),
        None if item["resolved_at"] is None else parse_utc(item["resolved_at"]),
        bool(item["healed"]),
        tuple(_telling(told) for told in item["tellings"]),
    )


def _telling(told: Mapping[str, Any]) -> Notification:
    [kind] = [known for known in get_args(NotificationKind) if known == told["kind"]]
    return Notification(
        kind,
        parse_utc(told["at"]),
        strictjson.text_of(told["by"]),
        _severity(told["severity"]),
        strictjson.count_of(told["tries"]),
        bool(told["done"]),
        tuple(strictjson.text_of(channel) for channel in told["sent"]),
        {channel: strictjson.text_of(why) for channel, why in told["failed"].items()},
    )


def _severity(word: str) -> Severity:
    [severity] = [known for known in SEVERITIES if known == word]
    return severity
