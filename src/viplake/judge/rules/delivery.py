"""PURE. The rules of delivery: whether an export arrived, in time and complete, and whether records are lost.

A breach has one cause and one owner, from ledger and listing. Hours that another program ran have no record of why they
failed; there both are `unknown`, never a guess.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from viplake.judge.record import PHASES
from viplake.judge.rules.rule import OTHER_PROGRAM, PAGE_BELOW
from viplake.wording import count_words, span_words, time_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viplake.judge.coverage import Gap
    from viplake.judge.rules.rule import Breach, Case, NoDataKind, Results, RuleConfig, RuleResult
    from viplake.model import Hour, Severity

NOTHING_LOST: Final = "nothing is lost"
"""In the summary of an outage that an export ended in time."""

OWNERS_OF_PHASES: Final = {"init": "vendor", "replication": "vendor", "transfer": "network"}
"""Who has to act on a slow phase: the vendor for trigger and replication, the network for the transfer."""


def never_started(case: Case, config: RuleConfig, results: Results) -> Iterator[RuleResult]:
    """Evaluate `never_started`: a run has claimed the Hour by minute N."""
    minutes = config.limits["minutes"]
    record = case.known
    if record.ledger or record.delivered:
        yield results.passed()
    elif not case.ours:
        yield results.no_data(OTHER_PROGRAM)
    elif case.minute < minutes:
        yield results.no_data(f"minute {minutes:.0f} is not over", "unsettled")
    else:
        yield results.breach(f"no run had started for {case.hour} by minute {minutes:.0f}", ("missed", "us"))


def missing_job(case: Case, _: RuleConfig, results: Results) -> Iterator[RuleResult]:
    """Evaluate `missing_job`: the Hour has an export."""
    record = case.known
    if record.delivered:
        yield results.passed()
    else:
        yield results.breach(f"{case.hour} delivered no export{_margin(case)}", case.attribution)


def _margin(case: Case) -> str:
    """Return the margin of the gap around the Hour once it has ended; empty before, or where records are lost."""
    hole = next((gap for gap in case.gaps if gap.table is None and gap.first <= case.hour <= gap.last), None)
    if hole is None or hole.margin is None or hole.unknown or hole.lost:
        return ""
    return f"; {NOTHING_LOST}: {hole.before} carries it, with a margin of about {span_words(hole.margin)}"


def vendor_failure(case: Case, _: RuleConfig, results: Results) -> Iterator[RuleResult]:
    """Evaluate `vendor_failure`: the vendor did not fail the Hour."""
    record = case.known
    if not record.ledger and not record.delivered:
        yield results.no_data("no run took place" if case.ours else OTHER_PROGRAM)
    elif record.outcome == "failed" and record.owner == "vendor":
        detail = record.facts.run.detail if record.facts and record.facts.run else None
        yield results.breach(f"the vendor failed {case.hour}: {detail or record.cause}", case.attribution)
    else:
        yield results.passed()


def incomplete_job(case: Case, _: RuleConfig, results: Results) -> Iterator[RuleResult]:
    """Evaluate `incomplete_job`: all files of the manifest are stored with their sizes."""
    record = case.known
    if record.facts is not None and (promise := record.facts.promise) is not None:
        lacking = promise.files - promise.stored
        if lacking:
            names = ", ".join((*promise.absent, *promise.other_size)[:3])
            what = f"{lacking} of {promise.files} promised files of {case.hour} are not stored as promised: {names}"
            yield results.breach(what, case.not_stored, after=1)
        else:
            yield results.passed()
    elif record.outcome == "failed":
        yield results.breach(f"{case.hour} failed with a part of its files stored", case.attribution)
    elif record.ledger and record.facts is not None:
        yield results.passed()
    else:
        unread: NoDataKind = "unread" if record.facts is None else "absent"
        yield results.no_data("its manifest was not compared with what is stored", unread)


def late_job(case: Case, config: RuleConfig, results: Results) -> Iterator[RuleResult]:
    """Evaluate `late_job`: the export was delivered by minute N."""
    minutes = config.limits["minutes"]
    record = case.known
    if record.outcome == "waiting":
        if case.minute < minutes:
            yield results.no_data(f"the run is in progress, and minute {minutes:.0f} is not over", "unsettled")
        else:
            yield results.breach(f"{case.hour} is not delivered by minute {minutes:.0f}", case.attribution)
    elif record.outcome == "delivered" and (took := record.took) is not None:
        late = record.facts is not None and record.facts.run is not None and record.facts.run.late
        if late or took > minutes * 60:
            seconds, slowest = max(zip(record.seconds, PHASES, strict=True), key=lambda phase: phase[0] or 0)
            longest = f"longest phase: {slowest} ({(seconds or 0) / 60:.0f} minutes in {case.hour})"
            what = f"{case.hour} took {took / 60:.0f} minutes; {longest}"
            yield results.breach(what, ("slow_phase", OWNERS_OF_PHASES[slowest]))
        else:
            yield results.passed()
    else:
        delivered = record.outcome == "delivered"
        yield results.no_data("its times are not known" if delivered else "the Hour was not delivered")


def slow_phase(case: Case, config: RuleConfig, results: Results) -> Iterator[RuleResult]:
    """Evaluate `slow_phase`: init, replication and transfer stayed within their limits."""
    seconds_of = dict(zip(PHASES, case.known.seconds, strict=True))
    slow = False
    for phase, seconds in seconds_of.items():
        limit = config.limits[f"{phase}_minutes"]
        if seconds is not None and seconds > limit * 60:
            slow = True
            what = f"the {phase} of {case.hour} took {seconds / 60:.0f} minutes; {limit:g} are the limit"
            yield results.breach(what, (f"slow_{phase}", OWNERS_OF_PHASES[phase]))
    if not slow:
        known = any(seconds is not None for seconds in seconds_of.values())
        yield results.passed() if known else results.no_data("its times are not known")


def lookback_gap(case: Case, _: RuleConfig, results: Results) -> Iterator[RuleResult]:
    """Evaluate `lookback_gap`: no records are lost or about to be."""
    breaches = [breach for gap in case.gaps if (breach := _gap(case, results, gap)) is not None]
    yield from breaches
    unknown = [gap for gap in case.gaps if gap.unknown or gap.after is None]
    if unknown and not breaches:
        many = unknown[0].unknown
        words = f"{count_words(many, 'Hour')} {'is' if many == 1 else 'are'} not on record"
        yield results.no_data(words if many else "nothing was delivered before")
    elif not breaches:
        yield results.passed()


def _gap(case: Case, results: Results, gap: Gap) -> Breach | None:
    """Return the breach of one gap; None where nothing is lost or about to be.

    A planned gap is only reported. The absence of one table does not prove a loss, because it may have had no records.
    """
    deadline = gap.deadline(case.look_back)
    over = gap.before is not None and gap.lost is None
    if over or gap.unknown or deadline is None or not gap.first <= case.hour <= gap.last:
        return None
    left = deadline - case.seen(gap)
    if gap.lost is None and left >= PAGE_BELOW:
        return None
    grave: Severity | None = "ticket" if gap.table is not None or gap.planned else None
    lost = gap.lost is not None or left < timedelta(0)
    what = (
        _lost_words(gap) if lost else f"records are lost unless an export comes by {time_words(deadline)}"
    )  # does not age
    if gap.table is not None:
        for_long = count_words(_hours(gap, case.hour), "Hour" if gap.every == 1 else "day")
        words = f"{gap.table} had no file for {for_long}: records may be lost"
        if not lost:
            words = f"{gap.table}: {what}, if it had any"
        cause = ("not_promised", "vendor") if case.sender[0] == "as_sent" else case.attribution
        return results.breach(words, cause, table=gap.table, severity=grave, group="missing_table")
    planned = f" (planned: {case.planned})" if gap.planned and case.planned is not None else ""
    group = "" if gap.before == gap.last else "outage"
    return results.breach(
        f"{what}{planned}",
        case.attribution,
        severity=grave,
        group=group,
        loss="lost" if lost else "soon",
        until=deadline,
    )


def _hours(gap: Gap, hour: Hour) -> int:
    return (hour.start - gap.first.start) // timedelta(hours=gap.every) + 1


def _lost_words(gap: Gap) -> str:
    if gap.lost is not None and gap.before == gap.last:  # each export carries less than the hour since the one before
        count = _hours(gap, gap.last)
        return (
            f"each of {count_words(count, 'export')} carries less than one hour: records are lost between them, from "
            f"{gap.lost[0]:%Y-%m-%d %H:%M} to {gap.lost[1]:%Y-%m-%d %H:%M} UTC"
        )
    begin = gap.lost[0] if gap.lost else gap.after.start if gap.after else gap.first.start
    end = time_words(gap.lost[1]) if gap.lost else "the next delivery"
    why = f" (the export of {gap.before} reaches back to {end} only)" if gap.lost else ""
    lost = f"records from about {time_words(begin)} to {end} are in no delivered Hour: lost"
    return f"{lost}, unless Veson exports them again{why}"
