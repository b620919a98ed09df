"""PURE. The verdict at the top of the report: open incidents, then objectives, as `viplake check` has them.

All of it comes from the rules. If no check has evaluated the newest Hours, the page has done so in memory
(`judge.check.preview`) and reports that, because no notification was sent. A history without an evaluation is never
healthy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal

from viplake.judge.notices import advice, cause_words
from viplake.judge.rules.catalogue import RULES
from viplake.model import SEVERITIES, Hour
from viplake.wording import count_words, span_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from viplake.history.rows import Datasets
    from viplake.judge.incidents import Incident
    from viplake.judge.objectives import ObjectiveState
    from viplake.report.quality import QualityState

Level = Literal["well", "attention", "trouble", "unknown"]

RECENT: Final = 7 * 24
"""Hours, the "last 7 days", in which a missing row is named."""

WORST: Final[tuple[Level, ...]] = ("trouble", "unknown", "attention", "well")

_LEVELS: Final[dict[str, Level]] = {"page": "trouble", "ticket": "attention", "info": "attention"}


@dataclass(frozen=True, slots=True)
class Point:
    """One problem, or one fact to know.

    Attributes:
        level: how bad it is.
        what: one sentence, with its numbers.
        advice: the next step; empty where there is none.
        since: the Hour it began in, where it has a beginning.
        figure: the name of the chart that shows it; empty for none.
    """

    level: Level
    what: str
    advice: str = ""
    since: Hour | None = None
    figure: str = ""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The verdict in words.

    Attributes:
        level: of the worst point.
        headline: one sentence that may be read alone.
        points: the worst first.
    """

    level: Level
    headline: str
    points: tuple[Point, ...] = ()


NOTHING_JUDGED: Final = Assessment("unknown", "No data-quality rule was evaluated for this page.")
NO_HISTORY: Final = Assessment(
    "unknown",
    "There is no history yet.",
    (Point("unknown", "No Hour is on record.", "Run `viplake observe` to build the history."),),
)


def verdict(state: QualityState, datasets: Datasets, *, grace: timedelta) -> Assessment:
    """Return the verdict; the current Hour counts after `grace`."""
    if not datasets.jobs:
        return NO_HISTORY
    due = Hour.of(state.now - grace)
    unchecked = list(_unchecked(state, due))
    stale = list(stale_points(datasets, due))
    lasting = sorted(state.open, key=lambda one: (-SEVERITIES.index(one.severity), one.hour))
    incidents = [_incident(one, state) for one in lasting]
    objectives = [_objective(one) for one in state.objectives]
    points = (*incidents, *stale, *unchecked, *objectives)
    levels: set[Level] = {point.level for point in points}
    return Assessment(min(levels, key=WORST.index, default="unknown"), _headline(state, lasting, stale), points)


def _unchecked(state: QualityState, due: Hour) -> Iterator[Point]:
    """Hours that only this page has judged: no notification was sent for them."""
    advice = "Run `viplake check` to send notifications. Schedule it to run every hour."
    if state.last is None:
        what = "No check has run on this history. This page evaluated the rules itself; no notification was sent."
        yield Point("attention", what, advice)
    elif state.last < due:
        hours = count_words((due.start - state.last.start) // timedelta(hours=1), "Hour")
        what = (
            f"The last check judged Hours up to {state.last}. This page evaluated the {hours} since itself; "
            "no notification was sent."
        )
        yield Point("attention", what, advice, state.last.shift(1))


def stale_points(datasets: Datasets, due: Hour) -> Iterator[Point]:
    """Return the Hours up to `due` that are not on record."""
    last = datasets.jobs[-1].hour
    behind = (due.start - last.start) // timedelta(hours=1)
    if behind > 0:
        yield Point(
            "unknown",
            f"The history ends with {last}: {count_words(behind, 'Hour')} since {_is(behind)} not on record.",
            "Run `viplake observe`, then `viplake report` again.",
            last.shift(1),
            "job-completeness-hourly",
        )
    known = {row.hour for row in datasets.jobs[-RECENT:]}
    holes = [hour for hour in max(min(known), last.shift(1 - RECENT)).to(last) if hour not in known]
    if holes:
        many = count_words(len(holes), "Hour")
        what = f"{many} of the last 7 days {_is(len(holes))} not on record, the first of them {holes[0]}."
        advice = f"Run `viplake observe --from {holes[0]} --to {holes[-1]}`."
        yield Point("unknown", what, advice, holes[0], "job-completeness-hourly")


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _headline(state: QualityState, lasting: Sequence[Incident], stale: Sequence[Point]) -> str:
    if lasting:
        first = lasting[0]
        many = f"{count_words(len(lasting), 'incident')} {_is(len(lasting))} open"
        which = ": " if len(lasting) == 1 else "; the most severe: "
        return f"{many}{which}{first.summary.rstrip('.')}."
    lead = f"No incident is open{', but some Hours are not on record' if stale else ''}"
    if not state.objectives:
        return f"{lead}; no objective could be evaluated."
    missed = [one for one in state.objectives if one.met is False]
    if not missed:
        early = all(one.met is None for one in state.objectives)
        return f"{lead}; {'no objective can be judged yet' if early else 'all objectives are met'}."
    return f"{lead}; {', '.join(f'{one.objective.name} is out of {one.objective.agreement}' for one in missed)}."


def _incident(one: Incident, state: QualityState) -> Point:
    what = f"{one.severity.capitalize()}, {one.rule.replace('_', ' ')}: {one.summary.rstrip('.')}. "
    what += f"Cause: {one.cause} ({cause_words(one.cause)}); owner: {one.owner}.{_countdown(one, state)}"
    what += f" It is {one.acknowledged.words.rstrip('.')}." if one.acknowledged else ""
    marked = _COMMAND.sub(r"`\g<0>`", advice(one, state.now))
    return Point(_LEVELS[one.severity], what, marked, one.hour, "incidents")


_COMMAND: Final = re.compile(r"(?<=: )viplake [^.;,()]+")
"""A command in advice: it can be copied from the page."""


def _countdown(one: Incident, state: QualityState) -> str:
    """Return the time until something of it is lost for good, while it lasts."""
    if not any(RULES[rule].counted_down for rule in one.rules if rule in RULES):
        return ""
    tables = one.tables or (None,)
    lasting = (gap.left(state.now, state.look_back) for gap in state.gaps if gap.table in tables)
    left = min((time for time in lasting if time is not None), default=None)
    if left is None:
        return ""
    if left <= timedelta(0):
        return " Records are lost already, and more with each Hour."
    return f" {span_words(left)} left until records are lost for good."


def _objective(state: ObjectiveState) -> Point:
    level: Level = "unknown" if state.sli is None else "attention" if state.met is False else "well"
    return Point(level, f"Objective {state.objective.name}: {state.words}.", figure="error-budget")
