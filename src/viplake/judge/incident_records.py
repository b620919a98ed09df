"""PURE. How incidents are stored: the bytes that a check writes for the next one.

Members that older versions do not know are written only where they differ from the default, so that records of older
versions keep their bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec

from viplake import strictjson
from viplake.judge.incidents import Acknowledgement, Incident, Member, Notification, NotificationKind
from viplake.judge.rules.rule import Loss
from viplake.lake.records import FORMAT, Count, Moment, Part, decode, reading, utc
from viplake.model import Hour, Severity


@dataclass(frozen=True, slots=True)
class IncidentStore:
    """The state that is stored in the lake between two checks.

    Attributes:
        incidents: by identity.
        judged: the last Hour that was evaluated; None before the first check.
    """

    incidents: Mapping[str, Incident] = field(default_factory=dict)
    judged: Hour | None = None


class _Notification(Part, frozen=True):
    kind: NotificationKind
    at: Moment
    by: str
    severity: Severity
    tries: Count
    done: bool
    sent: tuple[str, ...]
    failed: dict[str, str]
    cause: str = ""
    owner: str = ""
    loss: Loss = ""

    def value(self) -> Notification:
        return Notification(**self.members())


class _Acknowledgement(Part, frozen=True):
    until: str
    note: str = ""


class _Incident(Part, frozen=True):
    group: str
    hour: str
    severity: Severity
    cause: str
    owner: str
    summary: str
    spans: tuple[tuple[str, str], ...]
    opened_at: Moment
    resolved_at: Moment | None
    healed: bool
    rules: Annotated[tuple[tuple[str, str | None, str, str | None], ...], msgspec.Meta(min_length=1)] = msgspec.field(
        name="members"
    )
    tellings: tuple[_Notification, ...]
    id: str = ""
    good: tuple[tuple[str, ...], ...] = ()
    over: tuple[bool, ...] = ()
    causes: tuple[tuple[str, str, str], ...] = ()
    evidence: str = ""
    loss: Loss = ""
    lost: str = ""
    until: Moment | None = None
    ready: bool = True
    closed: bool = False
    acknowledged: _Acknowledgement | None = None
    every: int = 1
    unsure: bool = False

    def value(self) -> Incident:
        known = self.acknowledged
        return Incident(
            self.group,
            Hour.parse(self.hour),
            tuple(self._members()),
            self.severity,
            self.cause,
            self.owner,
            self.summary,
            tuple((Hour.parse(first), Hour.parse(last)) for first, last in self.spans),
            self.opened_at,
            self.resolved_at,
            self.healed,
            tuple(notification.value() for notification in self.tellings),
            self.id,
            tuple((cause, owner, Hour.parse(since)) for cause, owner, since in self.causes),
            self.evidence,
            self.loss,
            self.lost,
            self.until,
            self.ready,
            self.closed,
            None if known is None else Acknowledgement(Hour.parse(known.until), known.note),
            self.every,
            self.unsure,
        )

    def _members(self) -> list[Member]:
        found = []
        all_good = self.good or [() if ended is None else (ended,) for *_, ended in self.rules]
        all_over = self.over or [ended is not None for *_, ended in self.rules]
        for (rule, table, last, _), good, is_over in zip(self.rules, all_good, all_over, strict=True):
            found.append(Member(rule, table, Hour.parse(last), tuple(Hour.parse(hour) for hour in good), is_over))
        return found


class _Store(Part, frozen=True):
    judged: str | None
    incidents: tuple[_Incident, ...]


def pack(kept: IncidentStore) -> bytes:
    """Return the JSON value."""
    record = {
        "format": FORMAT,
        "judged": None if kept.judged is None else str(kept.judged),
        "incidents": [_plain_incident(one) for one in kept.incidents.values()],
    }
    return strictjson.dumps(record)


@lru_cache(maxsize=2)  # a check reads the version that it found and the one that it wrote, each several times
def unpack(data: bytes | None) -> IncidentStore:
    """Read the stored incidents; None gives an empty store. The result is shared: do not change it.

    Raises:
        LakeError: it cannot be read (`ledger_damaged`), or is of a newer format (`lake_format`).
    """
    if data is None:
        return IncidentStore()
    with reading("the incidents"):
        store = decode(data, _Store)
        found = [one.value() for one in store.incidents]
        return IncidentStore(
            {one.key: one for one in found}, None if store.judged is None else Hour.parse(store.judged)
        )


_LATER: Final = (
    *("id", "good", "over", "causes", "evidence", "loss", "lost", "until", "ready", "closed"),
    *("acknowledged", "every", "unsure"),
)
_LATER_OF_NOTIFICATIONS: Final = ("cause", "owner", "loss")


def _plain_incident(one: Incident) -> dict[str, Any]:
    plain = {item.name: _plain(getattr(one, item.name)) for item in fields(one)}
    plain["members"] = [[member.rule, member.table, str(member.last), _plain(member.ended)] for member in one.members]
    plain["tellings"] = [_plain_notification(notification) for notification in one.notifications]
    if any(member.over != (member.ended is not None) or len(member.good) > 1 for member in one.members):
        plain["good"] = [_plain(member.good) for member in one.members]
        plain["over"] = [member.over for member in one.members]
    return {
        name: plain[name]
        for name in _Incident.__struct_encode_fields__
        if name not in _LATER or plain.get(name, ()) not in _defaults(_Incident, name)
    }


def _plain_notification(notification: Notification) -> dict[str, Any]:
    plain = {item.name: _plain(getattr(notification, item.name)) for item in fields(notification)}
    return {
        name: value
        for name, value in plain.items()
        if name not in _LATER_OF_NOTIFICATIONS or value not in _defaults(_Notification, name)
    }


def _defaults(record: type[msgspec.Struct], name: str) -> tuple[Any, ...]:
    """Return the default of a member, as a value and as JSON."""
    names = record.__struct_fields__
    default = record.__struct_defaults__[names.index(name) - len(names)]
    return (default, []) if default == () else (default,)


def _plain(value: Any) -> Any:
    match value:
        case Hour():
            return str(value)
        case datetime():
            return utc(value)
        case Acknowledgement():
            return {"until": str(value.until), "note": value.note}
        case Mapping():
            return dict(value)
        case tuple():
            return [_plain(item) for item in value]
        case _:
            return value
