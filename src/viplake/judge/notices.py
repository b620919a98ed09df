"""PURE. Which notifications of incidents are due, which process sends them, and their text.

Each is sent once: a check claims it in the same write that records the incident. The text says, in this order: what
happened, who has to act and the evidence, what is lost or will be and when, and the next step.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from viplake.errors import CAUSES, HEALS
from viplake.judge.detector.anomaly import ADOPTED
from viplake.judge.incidents import (
    MISSING_TABLE,
    OUTAGE,
    Incident,
    Incidents,
    Notification,
    NotificationKind,
    moment,
    period,
)
from viplake.judge.rules.catalogue import RULES
from viplake.judge.rules.delivery import NOTHING_LOST
from viplake.judge.rules.rule import CHANGED, PAGE_BELOW
from viplake.model import SEVERITIES, UNKNOWN, Hour
from viplake.wording import count_words, name_words, span_words, time_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from viplake.judge.rules.rule import Loss

FIRST_REMINDER: Final = timedelta(days=1)
"""Time from `opened` to the first reminder, if nothing else was sent since."""

LATER_REMINDERS: Final[Mapping[str, timedelta]] = {
    "page": timedelta(days=3),
    "ticket": timedelta(days=14),
    "info": timedelta(days=14),
}
"""Time from the last notification to the next reminder, by severity."""

ADOPTION: Final = timedelta(hours=ADOPTED) + timedelta(days=1)
"""After which a change of a volume is reminded of: most have become the usual volume by then, which ends them."""

_ADOPTED_GROUPS: Final = frozenset(rule.group for rule in RULES.values() if rule.counts is not None)

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

    An incident that is recovering when it becomes due waits until it ends or has another breach, unless no later
    Hour makes up for it: a loss, a point in time, files that were changed later.
    """
    stays = one.loss or one.is_point or (one.cause, one.owner) == CHANGED
    recovers = one.open and one.ended is not None and not stays
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
    wait = max(wait, ADOPTION) if one.group in _ADOPTED_GROUPS else wait
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
    "as_sent": "what is stored is exactly what Veson sent",
    "not_promised": "Veson's list of files (the manifest) does not have the file",
    "changed_in_lake": "files in the lake were changed or removed after the delivery",
    "slow_phase": "of all phases of the run, the one that depends on it took longest",
    "slow_init": "init is the time that Veson takes to answer the trigger",
    "slow_replication": "replication is the time that Veson takes to prepare the files",
    "slow_transfer": "transfer is the download of the files",
    "tables_behind": "no update of the tables ran, or it could not merge a table",
}
"""Causes that are found by rules only, with their meaning."""

_LEADS: Final[Mapping[NotificationKind, str]] = {
    "opened": "",
    "escalated": " (escalated)",
    "changed": " (the cause changed)",
    "reopened": " (open again)",
    "reminder": " (still open)",
    "resolved": "",
}

_ACKNOWLEDGED: Final = timedelta(days=7)
"""How long the acknowledgement lasts that a reminder proposes."""


def notice_words(environment: str, one: Incident, kind: NotificationKind, now: datetime) -> str:
    """The text of one notification."""
    if kind == "resolved":
        over = "Over, but records were lost" if one.loss == "lost" else "Over"
        return _joined(f"{over}: {_well(one)}.", _was_lost(one), f"({environment}, {one.key})")
    acknowledged, known = one.acknowledged, ""
    if acknowledged is not None:
        note = f": {acknowledged.note.rstrip('.')}" if acknowledged.note else ""
        known = f"Acknowledged until {moment(acknowledged.until)}{note}."
    elif kind == "reminder":
        known = f"To stop reminders for a week: viplake ack {one.key} --until {Hour.of(now + _ACKNOWLEDGED)}."
    sentences = [_sentence(one.summary), _who(one), _loss(one, now), advice(one, now), known]
    return _joined(f"{environment}{_LEADS[kind]}:", *sentences, f"({one.severity}, {one.key})")


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


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


def cause_words(cause: str) -> str:
    """Return the meaning of a cause, as part of a sentence."""
    if cause in _MEANINGS:
        return _MEANINGS[cause]
    known = CAUSES.get(cause)
    return known.meaning.rstrip(".") if known is not None else "no record says why"


def _causes(one: Incident) -> dict[tuple[str, str], Hour]:
    """Return each cause and owner with its first Hour."""
    found: dict[tuple[str, str], Hour] = {}
    for cause, owner, hour in one.causes or ((one.cause, one.owner, one.hour),):
        found.setdefault((cause, owner), hour)
    return found


def _who(one: Incident) -> str:
    """Who has to act, and the evidence; also the causes before, where it changed."""
    owner, since, before = _OWNERS.get(one.owner, "unknown"), "", ""
    others = [_cause_and_owner(cause, who) for cause, who in _causes(one) if cause != one.cause]
    if others:
        since = f" since {moment(one.causes[-1][2])}"
        before = f"Before: {', '.join(others)}."
    evidence = f" ({one.evidence})" if one.evidence else ""
    return _joined(f"Responsible{since}: {owner}.", _sentence(f"{cause_words(one.cause)}{evidence}"), before)


def _cause_and_owner(cause: str, owner: str) -> str:
    return cause if cause == owner == UNKNOWN else f"{cause} ({_OWNERS.get(owner, 'unknown')})"


def _loss(one: Incident, now: datetime) -> str:
    """Return what is lost, or the time left until then."""
    if one.loss == "lost":
        return "" if one.lost in one.summary else _sentence(one.lost)
    if one.group == MISSING_TABLE and _may_be_lost(one):
        return "It was away for longer than an export reaches back: its records of that time may be lost."
    if one.until is None or one.group not in {OUTAGE, MISSING_TABLE}:
        return _risk(one)
    left = one.until - now
    is_table = one.group == MISSING_TABLE
    if one.ended is not None:
        return "It comes again; nothing is lost." if is_table else "Exports come again; nothing is lost."
    if left <= timedelta(0):
        return "" if is_table else "Records are being lost: no export can carry all of them any more."
    what = "it comes again" if is_table else "an export comes"
    return f"Nothing is lost if {what} by {time_words(one.until)} ({span_words(left)} left)."


def _risk(one: Incident) -> str:
    """Return what is at risk where no time is counted down."""
    rule = RULES.get(one.rule)
    if one.unsure or (one.group == MISSING_TABLE and one.ended is None):
        return "Whether records are lost is not known."
    if one.group not in {OUTAGE, MISSING_TABLE} or (rule is not None and rule.risk) or NOTHING_LOST in one.summary:
        return "" if rule is None else rule.risk
    return _sentence(NOTHING_LOST)


def _may_be_lost(one: Incident) -> bool:
    """Return whether a table was missing for longer than the look-back, so that its records may be lost."""
    return "lookback_gap" in one.rules


_VESON_ACTS: Final = frozenset(
    {
        "vendor_job_failed",
        "vendor_unavailable",
        "auth_unavailable",
        "vendor_timeout",
        "url_list_empty",
        "source_denied",
        "source_missing",
        "integrity",
    }
)
"""Causes of an outage in which Veson alone can do something."""


def advice(one: Incident, now: datetime) -> str:
    """What to do now: a command; in notifications and in the report."""
    rule, cause = RULES.get(one.rule), CAUSES.get(one.cause)
    command = f"viplake evidence --from {one.hour} --to {one.last}"
    evidence = f"Send Veson the page that this writes: {command}."
    of_veson = one.owner == "vendor" and (cause is None or one.cause in _VESON_ACTS)
    found = "" if cause is None else cause.remedy.removesuffix(HEALS)
    own = rule is not None and (cause is None or one.owner == "vendor") and (rule.group or rule.name) == one.group
    if one.group == MISSING_TABLE and one.owner == UNKNOWN:
        found = "See since when: viplake report. If the table was retired, add it to VIPLAKE_OUT_OF_SCOPE."
    elif rule is not None and rule.advice and own and (cause is None or one.group != OUTAGE):
        ask = "Ask Veson, with this GUID," if "GUID" in one.evidence else "Ask Veson"
        found = rule.advice.format(last=one.last, verify=_verify(one), evidence=evidence, ask=ask)
    elif of_veson and one.until is not None and one.ended is None and one.until - now > PAGE_BELOW:
        then = f"{evidence[:1].lower()}{evidence[1:]}"
        return f"Nothing to do before {time_words(one.until - PAGE_BELOW)}; then {then}"
    elif of_veson:
        found = evidence
    found = _of_each_hour(one, found)
    if "viplake " not in found:
        then = "viplake run" if one.cause in {"missed", "abandoned"} and one.open else "viplake doctor"
        found = _joined(found, f"Then: {then}.")
    if one.group == OUTAGE and one.loss == "lost":
        found = _joined(found.replace(evidence, "").strip(), f"{_LOST_PERIOD}: {command}.")
    return found


_LOST_PERIOD: Final = "Ask Veson for an export of the lost period, with the page that this writes"

_REPEATED: Final = 3
"""Number of Hours that a command is repeated for by name."""


def _of_each_hour(one: Incident, found: str) -> str:
    """Return the advice with its first Hour in commands about one Hour, and for which Hours to repeat them."""
    if " HOUR" not in found:
        return found
    _, *others = [hour for first, last in one.spans for hour in first.to(last)]
    what = found.replace(" HOUR", f" {one.hour}")
    if not others:
        return what
    if len(others) <= _REPEATED:
        return f"{what} Repeat this for {', '.join(map(str, others))}."
    return f"{what} Repeat this for each Hour from {others[0]} to {others[-1]}."


def _verify(one: Incident) -> str:
    return f"viplake verify --from {one.hour} --to {one.last}"


def _well(one: Incident) -> str:
    """Return what has recovered, and how long the incident lasted."""
    if one.closed:
        return f"{one.rule} is not watched any more: it, or its table, was turned off; it was open {period(one)}"
    rule, tables = RULES.get(one.rule), one.tables
    if one.group == MISSING_TABLE and tables:
        what = f"{name_words(tables)} {'is' if len(tables) == 1 else 'are'} complete again"
        lasted = f"{'it was' if len(tables) == 1 else 'they were'} missing for {one.length}"
    else:
        names = name_words(tables) if tables else "exports"
        what = rule.well.format(tables=names) if rule is not None and rule.well else f"{one.rule} holds again"
        lasted = f"it {'was reported for' if rule is not None and rule.timed else 'lasted'} {one.length}"
    if one.healed:
        return f"{what}: checked again, the Hours are good"
    causes = ", ".join(_cause_and_owner(cause, owner) for cause, owner in _causes(one))
    since = f" since {moment(one.ended)}" if one.ended else ""
    return f"{what}{since}{_in_a_row(one)}; {lasted}; cause: {causes}"


def _in_a_row(one: Incident) -> str:
    good: set[Hour] = {hour for member in one.members if member.last == one.last for hour in member.good}
    return f", {count_words(len(good), one.unit)} in a row" if len(good) > 1 else ""


def _was_lost(one: Incident) -> str:
    rule = RULES.get(one.rule)
    if one.loss == "lost":
        evidence = f"viplake evidence --from {one.hour} --to {one.last}"
        return _joined(_sentence(one.lost), f"{_LOST_PERIOD}: {evidence}.")
    if one.closed or rule is None:
        return ""
    if one.group == MISSING_TABLE and _may_be_lost(one):
        return "Its records of that time may be lost."
    if rule.outcome and (one.group != OUTAGE or (one.cause, one.owner) == CHANGED):
        return rule.outcome.format(verify=_verify(one))
    if one.group not in {OUTAGE, MISSING_TABLE}:
        return ""
    return "Whether records were lost is not known." if one.unsure else "Nothing lost."
