"""PURE. Which notifications of incidents are due, which process sends them, and their text.

Each is sent once: a check claims it in the same write that records the incident. The text says, in this order: what
happened, who has to act and the evidence, what is lost or will be and when, and the next step.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from viplake.errors import CAUSES
from viplake.judge.incidents import OUTAGE, Incident, Incidents, Notification, NotificationKind, moment, period
from viplake.judge.rules.catalogue import RULES
from viplake.judge.rules.rule import PAGE_BELOW
from viplake.model import SEVERITIES
from viplake.wording import count_words, name_words, span_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from viplake.judge.rules.rule import Loss
    from viplake.model import Hour

FIRST_REMINDER: Final = timedelta(days=1)
"""Time from `opened` to the first reminder, if nothing else was sent since."""

LATER_REMINDERS: Final[Mapping[str, timedelta]] = {
    "page": timedelta(days=3),
    "ticket": timedelta(days=14),
    "info": timedelta(days=14),
}
"""Time from the last notification to the next reminder, by severity."""

LEASE: Final = timedelta(minutes=10)
"""Time that a process has to send before another may; three tries of 10 s on a few channels take less."""

ATTEMPTS: Final = 5
"""Number of checks that try to send one notification, three times each."""

_LOSSES: Final[tuple[Loss, ...]] = ("", "soon", "lost")


# -- what is due ----------------------------------------------------------------------------------------------


def due(one: Incident, now: datetime) -> NotificationKind | None:
    """Return the notification that is due now; None where none is, or another process is sending it."""
    newest = one.notifications[-1] if one.notifications else None
    is_pending = newest is not None and not newest.done and newest.tries < ATTEMPTS
    if newest is not None and is_pending and abs(now - newest.at) < LEASE:
        return None
    following = _following(one, now)
    if newest is not None and is_pending and (following is None or (not newest.sent and one.open)):
        return newest.kind if newest.kind != "resolved" or not one.open else "reopened"
    return following


def _following(one: Incident, now: datetime) -> NotificationKind | None:
    """Return the notification that follows those already sent; None where none is due."""
    sent = [notification for notification in one.notifications if notification.tries]
    if not sent:
        return None if one.notifications and not one.open else _first(one)
    if not one.open:
        return None if one.is_point or sent[-1].kind == "resolved" else "resolved"
    return "reopened" if sent[-1].kind == "resolved" else _again(one, sent, now)


def _first(one: Incident) -> NotificationKind | None:
    """Return the first notification; an incident that began and ended between two checks is sent once, as resolved.

    An incident that is recovering when it becomes due waits until it ends or has another breach.
    """
    recovers = one.open and one.ended is not None and not one.loss and not one.is_point
    if not one.ready or one.healed or recovers:
        return None
    return "opened" if one.open or one.is_point else "resolved"


def _again(one: Incident, sent: Sequence[Notification], now: datetime) -> NotificationKind | None:
    """Return a further notification of an open incident."""
    graver = SEVERITIES.index(one.severity) > max(SEVERITIES.index(before.severity) for before in sent)
    nearer = _LOSSES.index(one.loss) > max(_LOSSES.index(before.loss) for before in sent)
    if (graver and one.severity == "page") or nearer:
        return "escalated"
    if one.is_point or (one.acknowledged is not None and now < one.acknowledged.until.end):
        return None
    named = {(before.cause, before.owner) for before in sent}
    if (one.cause, one.owner) not in named and ("", "") not in named:
        return "changed"
    first = len(sent) == 1 or sent[-1].kind == "reopened"
    wait = FIRST_REMINDER if first else LATER_REMINDERS[one.severity]
    lasts = one.ended is None and one.spans[-1][0].start <= sent[-1].at  # without a good Hour since
    return "reminder" if lasts and abs(now - sent[-1].at) >= wait else None


def claim(incidents: Mapping[str, Incident], by: str, now: datetime) -> Incidents:
    """Return the incidents; each notification that is due is claimed by this process."""
    result = dict(incidents)
    for key, one in incidents.items():
        kind = due(one, now)
        if kind is None:
            continue
        before = one.notifications[-1] if one.notifications else None
        again = before is not None and before.kind == kind and not before.done
        mark = Notification(kind, now, by, one.severity, cause=one.cause, owner=one.owner, loss=one.loss)
        if again and before is not None:
            mark = replace(mark, tries=before.tries + 1, sent=before.sent)
        kept = one.notifications[:-1] if again else one.notifications
        result[key] = replace(one, notifications=(*kept, mark))
    return result


def pass_over(incidents: Mapping[str, Incident], by: str, now: datetime) -> Incidents:
    """Return the incidents of a first check; those that have ended are marked as not to be notified."""
    silent = {
        key: replace(one, notifications=(Notification("resolved", now, by, one.severity, tries=0, done=True),))
        for key, one in incidents.items()
        if not one.open and not one.notifications
    }
    return {**incidents, **silent}


def claimed(incidents: Mapping[str, Incident], by: str) -> list[tuple[Incident, Notification]]:
    """Return the notifications to send: pages first, then open incidents, then ended ones; the oldest first."""
    mine = [
        (one, one.notifications[-1])
        for one in incidents.values()
        if one.notifications and not one.notifications[-1].done and one.notifications[-1].by == by
    ]
    return sorted(mine, key=lambda item: (item[1].kind == "resolved", -SEVERITIES.index(item[0].severity)))


def notified(
    incidents: Mapping[str, Incident],
    by: str,
    sent: Mapping[str, Sequence[str]],
    failed: Mapping[str, Mapping[str, str]],
) -> Incidents:
    """The incidents with the results of sending.

    Args:
        incidents: the stored ones.
        by: the process that sent.
        sent: by incident, the channels that accepted it.
        failed: by incident and channel, why it failed.
    """
    result = dict(incidents)
    for one, mark in claimed(incidents, by):
        if one.key in sent or one.key in failed:
            reached = tuple(sorted({*mark.sent, *sent.get(one.key, ())}))
            errors = dict(failed.get(one.key, {}))
            done = replace(mark, sent=reached, failed=errors, done=not errors)
            result[one.key] = replace(one, notifications=(*one.notifications[:-1], done))
    return result


# -- words ----------------------------------------------------------------------------------------------------

_OWNERS: Final = {"vendor": "Veson", "aws": "AWS", "network": "the network", "us": "us"}

_MEANINGS: Final = {
    "as_sent": "the export is as Veson sent it",
    "not_promised": "the file is not in Veson's manifest",
    "changed_in_lake": "files in the lake were changed or removed after the delivery",
    "slow_phase": "a phase of the run took too long",
    "slow_init": "Veson's answer to the trigger took too long",
    "slow_replication": "Veson's replication took too long",
    "slow_transfer": "the transfer took too long",
}
"""Causes that are found by rules only, with their meaning."""

_LEADS: Final[Mapping[NotificationKind, str]] = {
    "opened": "",
    "escalated": "graver: ",
    "changed": "the cause changed: ",
    "reopened": "again: ",
    "reminder": "still open: ",
    "resolved": "",
}


def notice_words(environment: str, one: Incident, kind: NotificationKind, now: datetime) -> str:
    """The text of one notification."""
    if kind == "resolved":
        return f"Over: {_well(one)}. {_was_lost(one)} ({environment}, {one.key})"
    acknowledged = one.acknowledged
    known = (
        "" if acknowledged is None else f"Acknowledged until {moment(acknowledged.until)}. {acknowledged.note}".strip()
    )
    sentences = [_sentence(one.summary), _who(one), _loss(one, now), _advice(one, now), known.strip()]
    return f"{environment}: {_LEADS[kind]}{' '.join(filter(None, sentences))} ({one.severity}, {one.key})"


def subject_words(environment: str, items: Sequence[tuple[Incident, NotificationKind]]) -> str:
    """One line for all notifications of a message."""
    worst = max((one.severity for one, _ in items), key=SEVERITIES.index)
    (first, kind), *others = items
    what = f"{first.rule} {kind}, since {first.hour}"
    if others:
        what = f"{len(items)} incidents, the first since {min(one.hour for one, _ in items)}"
    return f"[viplake {environment} {worst}] {what}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _cause_words(cause: str) -> str:
    if cause in _MEANINGS:
        return _MEANINGS[cause]
    known = CAUSES.get(cause)
    return known.meaning.rstrip(".") if known is not None else "no record says why"


def _who(one: Incident) -> str:
    """Who has to act, and the evidence; all causes where it changed."""
    names = dict.fromkeys((cause, owner) for cause, owner, _ in one.causes or ((one.cause, one.owner, one.hour),))
    evidence = f" ({one.evidence})" if one.evidence else ""
    if len(names) > 1:
        before = ", ".join(f"{_OWNERS.get(owner, 'unknown')} ({cause})" for cause, owner in names)
        return f"Responsible: {before}; now {_OWNERS.get(one.owner, 'unknown')}: {_cause_words(one.cause)}{evidence}."
    return f"Responsible: {_OWNERS.get(one.owner, 'unknown')}: {_cause_words(one.cause)}{evidence}."


def _loss(one: Incident, now: datetime) -> str:
    """Return what is lost, or the time left until then."""
    if one.loss == "lost":
        return _sentence(one.lost)
    if one.until is None or one.group != OUTAGE:
        return ""
    left = one.until - now
    if one.ended is not None:
        return "Exports come again; nothing is lost."
    if left <= timedelta(0):
        return "Records are being lost: no export can carry all of them any more."
    return f"Nothing is lost if an export comes by {one.until:%Y-%m-%d %H:%M} UTC ({span_words(left)} left)."


def _advice(one: Incident, now: datetime) -> str:
    """What to do now: a command."""
    rule = RULES.get(one.rule)
    cause = CAUSES.get(one.cause)
    evidence = f"viplake evidence --from {one.hour} --to {one.last}"
    if rule is not None and rule.advice and cause is None:
        return rule.advice.format(first=one.hour, last=one.last, evidence=evidence)
    if one.owner == "vendor" and one.group == OUTAGE:
        if one.until is not None and one.until - now > PAGE_BELOW and one.loss != "lost":
            return f"Nothing to do before {one.until - PAGE_BELOW:%Y-%m-%d %H:%M} UTC; then: {evidence}."
        return f"Now: {evidence}, and send it to Veson."
    if cause is not None:
        return cause.remedy
    return f"See: viplake status --last {max(one.hours, 24)}."


def _well(one: Incident) -> str:
    """Return what has recovered, and how long the incident lasted."""
    since = one.ended
    if one.closed:
        return f"{one.rule} is not watched any more: it, or its table, was turned off; it was open {period(one)}"
    rule = RULES.get(one.rule)
    what = "exports come again" if one.group == OUTAGE else f"no more of this: {rule.meaning if rule else one.rule}"
    tables = one.tables
    if one.group == "missing_table" and tables:
        verb = "is" if len(tables) == 1 else "are"
        what = f"{name_words(tables)} {verb} complete again"
    lasted = f"it lasted {count_words(one.hours, 'Hour')}"
    if one.healed:
        return f"{what}: checked again, the Hours are good"
    both = dict.fromkeys((cause, owner) for cause, owner, _ in one.causes or ((one.cause, one.owner, one.hour),))
    causes = ", ".join(f"{cause} ({_OWNERS.get(owner, 'unknown')})" for cause, owner in both)
    running = _running(one)
    return f"{what}{f' since {moment(since)}' if since else ''}{running}; {lasted}; cause: {causes}"


def _running(one: Incident) -> str:
    good: set[Hour] = {hour for member in one.members if member.last == one.last for hour in member.good}
    return f" ({count_words(len(good), 'Hour')} running)" if len(good) > 1 else ""


def _was_lost(one: Incident) -> str:
    if one.loss == "lost":
        return _sentence(one.lost)
    return "Nothing lost." if one.group == OUTAGE else ""
