"""PURE. The report's first words where Hours have been judged: open incidents, then objectives, as the check has them.

Where no check has run, the words are those of `assessment`, with the warning that nothing was judged: a history that
nobody judged is not well. The same holds for the Hours since the last check.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from viplake.errors import CAUSES
from viplake.judge.rules.catalogue import RULES
from viplake.judge.rules.delivery import span
from viplake.model import SEVERITIES, Hour
from viplake.report.assessment import GRACE, WORST, Assessment, Point, assess, stale

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from viplake.judge.incidents import Incident
    from viplake.judge.objectives import ObjectiveState
    from viplake.report.assessment import Level
    from viplake.report.judged import Judged
    from viplake.report.rows import Datasets

_LEVELS: Final[dict[str, Level]] = {"page": "trouble", "ticket": "attention", "info": "attention"}


def verdict(judged: Judged, datasets: Datasets) -> Assessment:
    """What is to be read first."""
    if judged.last is None:
        return _unjudged(assess(datasets, now=judged.now), datasets)
    unseen = [*_since_the_check(judged), *stale(datasets, Hour.of(judged.now - GRACE))]
    lasting = sorted(judged.open, key=lambda one: (-SEVERITIES.index(one.severity), one.hour))
    incidents = [_incident(one, judged) for one in lasting]
    objectives = [_objective(one) for one in judged.objectives]
    points = (*incidents, *unseen, *objectives)
    levels: set[Level] = {point.level for point in points}
    return Assessment(min(levels, key=WORST.index, default="unknown"), _headline(judged, lasting, unseen), points)


def _unjudged(assessment: Assessment, datasets: Datasets) -> Assessment:
    """The words without a judgement: they may say what is bad, and never that all is well."""
    if not datasets.jobs:
        return assessment
    what = "Nothing was judged yet: no check has run on this history."
    warning = Point("unknown", what, "Run `viplake check`, then `viplake report` again.")
    headline = assessment.headline.removeprefix("All is well. ")
    level = assessment.level if assessment.level == "trouble" else "unknown"
    headline = headline if level == "trouble" else f"Nothing was judged yet. {headline}"
    points = sorted((*assessment.points, warning), key=lambda point: WORST.index(point.level))
    return replace(assessment, level=level, headline=headline, points=tuple(points))


def _since_the_check(judged: Judged) -> Iterator[Point]:
    """Hours that have passed since the last one that was judged."""
    due = Hour.of(judged.now - GRACE)
    if judged.last is not None and judged.last < due:
        hours = (due.start - judged.last.start) // timedelta(hours=1)
        many = "the Hour" if hours == 1 else f"the {hours:,} Hours"
        what = f"The last check judged up to {_time(judged.last)}: {many} since {'is' if hours == 1 else 'are'} not."
        yield Point("unknown", what, "Run `viplake check`, then `viplake report` again.", judged.last.shift(1))


def _headline(judged: Judged, lasting: Sequence[Incident], unseen: Sequence[Point]) -> str:
    upto = f"when {_time(judged.last)} was judged" if judged.last is not None and unseen else "now"
    if lasting:
        first = lasting[0]
        many = "1 incident is" if len(lasting) == 1 else f"{len(lasting)} incidents are"
        which = ": " if len(lasting) == 1 else "; the gravest: "
        return f"{many} open{'' if upto == 'now' else f', known {upto}'}{which}{first.summary.rstrip('.')}."
    lead = f"No incident is open {upto}" if upto == "now" else f"No incident was open {upto}; nothing is known since"
    met = sum(one.met is True for one in judged.objectives)
    if not judged.objectives:
        return f"{lead}; no objective could be judged."
    return f"{lead}; {met} of {len(judged.objectives)} objectives are met."


def _incident(one: Incident, judged: Judged) -> Point:
    cause = CAUSES.get(one.cause)
    meaning = f" ({cause.meaning.rstrip('.').lower()})" if cause else ""
    what = f"{one.severity.capitalize()}, {one.rule}: {one.summary.rstrip('.')}. "
    what += f"Cause: {one.cause}{meaning}; owner: {one.owner}.{_countdown(one, judged)}"
    return Point(_LEVELS[one.severity], what, cause.remedy if cause else _ask(one), one.hour, "incidents")


def _ask(one: Incident) -> str:
    """Whom to turn to where the cause has no remedy of its own."""
    if one.owner == "vendor":
        return f"Send Veson the evidence: `viplake evidence --from {one.hour} --to {one.last}`."
    return "See whether the vendor, or whoever ran then, knows more."


def _countdown(one: Incident, judged: Judged) -> str:
    """The time until something of it is lost for good, while it lasts."""
    if not any(RULES[rule].counted_down for rule in one.rules if rule in RULES):
        return ""
    tables = one.tables or (None,)
    lasting = (gap.left(judged.now, judged.look_back) for gap in judged.gaps if gap.table in tables)
    left = min((time for time in lasting if time is not None), default=None)
    if left is None:
        return ""
    if left <= timedelta(0):
        return " Records are lost already, and more with each Hour."
    return f" {span(left)} left until records are lost for good."


def _objective(state: ObjectiveState) -> Point:
    name = f"Objective {state.objective.name}"
    if state.sli is None:
        return Point("unknown", f"{name}: no data, {state.reason}.", figure="error-budget")
    word = "met" if state.met else "MISSED"
    owners = ", ".join(f"{owner} {hours}" for owner, hours in state.spent)
    what = (
        f"{name}: {word}, {state.sli:.2%} of {state.objective.target:.2%}; {state.left:.1f} of {state.budget:.1f} "
        f"Hours of the error budget are left{f' (spent by {owners})' if owners else ''}."
    )
    return Point("well" if state.met else "attention", what, figure="error-budget")


def _time(hour: Hour) -> str:
    return f"{hour.start:%Y-%m-%d %H:%M}"
