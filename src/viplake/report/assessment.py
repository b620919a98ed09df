"""PURE. The first words of the report: what is late, missing or abnormal, since when, and what to do.

Absolute rules only, each of them explained by its own numbers: they hold from the first Hour of a history on. They
say nothing of what they cannot judge, or say that they cannot, but never that all is well without having seen it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, Final, Literal

from viplake.errors import CAUSES
from viplake.model import Hour, stretches
from viplake.report.figures import TYPICAL_MINUTES
from viplake.report.tables import WAITING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from viplake.report.rows import Datasets, RunRow, TableRow

Level = Literal["well", "attention", "trouble", "unknown"]

RECENT: Final = 7 * 24
"""Hours, the "last 7 days", that the first words look back: what lies further back is in the figures."""

WEEKS: Final = 4
"""How many weeks back an Hour is compared with the same hour of the week."""

FEWEST_WEEKS: Final = 3
ODD: Final = 2.0
"""A volume is odd when it is this many times the usual one, or as little of it."""

SLOW: Final = 1.5
"""A phase is slow when it takes this many times the upper end of the typical range."""

MOST_NAMED: Final = 5

GRACE: Final = timedelta(minutes=30)
"""How much of the current Hour must have passed for it to count."""

WORST: Final[tuple[Level, ...]] = ("trouble", "unknown", "attention", "well")


@dataclass(frozen=True, slots=True)
class Point:
    """One thing to know.

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
    points: tuple[Point, ...]


def assess(datasets: Datasets, *, now: datetime, grace: timedelta = GRACE) -> Assessment:
    """What the history says at `now` (aware); the current Hour counts once `grace` has passed of it."""
    if not datasets.jobs:
        nothing = Point("unknown", "No Hour is on record.", "Run `viplake observe` to build the history.")
        return Assessment("unknown", "There is no history yet, so nothing can be said.", (nothing,))
    behind = list(stale(datasets, Hour.of(now - grace)))
    settled = _settled(datasets)
    rules = (_undelivered, _tables, _volume, _slow) if settled.jobs else ()
    points = [*behind, *(point for rule in rules for point in rule(settled))]
    points.sort(key=lambda point: WORST.index(point.level))
    level = points[0].level if points else "well" if settled.jobs else "unknown"
    return Assessment(level, _headline(settled, points, level), tuple(points))


def _settled(datasets: Datasets) -> Datasets:
    """Without the Hours that are on their way: part of one is neither missing nor abnormal."""
    waiting = {row.hour for row in datasets.runs if row.outcome == WAITING}
    return replace(
        datasets,
        jobs=tuple(row for row in datasets.jobs if row.hour not in waiting),
        tables=tuple(row for row in datasets.tables if row.hour not in waiting),
        sizes=tuple(row for row in datasets.sizes if row.hour not in waiting),
    )


def _headline(datasets: Datasets, points: Sequence[Point], level: Level) -> str:
    if level == "trouble":
        return points[0].what
    recent = datasets.jobs[-RECENT:]
    newest = next((row.hour for row in reversed(datasets.jobs) if row.delivered), None)
    count = f"{sum(row.delivered for row in recent):,} of the last {len(recent):,} Hours were delivered"
    if not recent:
        return "The first Hour on record is on its way."
    if newest is None:
        return f"{count[0].upper()}{count[1:]}."
    lead = f"The newest Hour on record, {_time(newest)}, was delivered"
    if level == "well":
        return f"All is well. {lead} with all of its tables, and {count}."
    many = "one thing needs" if len(points) == 1 else f"{len(points)} things need"
    return f"{lead}, and {count}; {many} a look."


# -- the rules ------------------------------------------------------------------------------------------------


def stale(datasets: Datasets, countable: Hour) -> Iterator[Point]:
    """Hours that have passed and are not on record."""
    last = datasets.jobs[-1].hour
    behind = (countable.start - last.start) // timedelta(hours=1)
    if behind > 0:
        yield Point(
            "unknown",
            f"The history ends with {_time(last)}: of the {_hours(behind)} since, nothing is known here.",
            "Run `viplake observe`, then `viplake report` again.",
            last.shift(1),
            "job-completeness-hourly",
        )
    known = {row.hour for row in datasets.jobs[-RECENT:]}
    holes = [hour for hour in max(min(known), last.shift(1 - RECENT)).to(last) if hour not in known]
    if holes:
        what = f"{_hours(len(holes))} of the last 7 days are not on record, the first of them {_time(holes[0])}."
        yield Point("unknown", what, "Run `viplake observe --from` that Hour.", holes[0], "job-completeness-hourly")


def _undelivered(datasets: Datasets) -> Iterator[Point]:
    """The outage that still lasts, then those of the last days, the newest first."""
    runs = {row.hour: row for row in datasets.runs}
    end = datasets.jobs[-1].hour
    episodes = list(stretches([row.hour for row in datasets.jobs if not row.delivered]))
    recent = [episode for episode in episodes if episode[-1] > end.shift(-RECENT)]
    if recent and recent[-1][-1] == end:
        lasting = recent.pop()
        why, advice = _explained(lasting, runs)
        what = f"No job has been delivered since {_time(lasting[0])}: {_hours(len(lasting))}{why}."
        yield Point("trouble", what, advice, lasting[0], "outcomes-calendar")
    for episode in reversed(recent[-MOST_NAMED:]):
        why, advice = _explained(episode, runs)
        yield Point(
            "attention", f"No job was delivered {_span(episode)}{why}.", advice, episode[0], "outcomes-calendar"
        )
    if more := recent[:-MOST_NAMED]:
        many = sum(len(episode) for episode in more)
        what = f"Before that, {_hours(many)} of the last 7 days had no job either."
        yield Point("attention", what, "", more[0][0], "outcomes-calendar")


def _tables(datasets: Datasets) -> Iterator[Point]:
    """The tables that the newest Hour lacks, and since when; then how many Hours lacked some."""
    newest = next((row.hour for row in reversed(datasets.jobs) if row.delivered), None)
    if newest is None:
        return
    rows = [row for row in datasets.tables if row.hour > newest.shift(-RECENT)]
    if not rows or rows[-1].hour != newest:
        what = f"Whether {_time(newest)} holds all of its tables cannot be said: it has no schema that can be read."
        yield Point("unknown", what, f"Look into the folder {newest.folder}.", newest, "table-completeness-hourly")
        return
    last = rows[-1]
    first = newest
    if last.missing:
        first = _lacking_since(rows)
        many = f"{last.missing} of {last.expected} tables {'is' if last.missing == 1 else 'are'} missing"
        yield Point(
            "trouble",
            f"{many} since {_time(first)}: {_few(last.missing_tables)}.",
            "Ask Veson for them; if they are agreed to be left out, list them in VIPLAKE_OUT_OF_SCOPE.",
            first,
            "table-heat-map",
        )
    before = [row for row in rows if row.missing and row.hour < first]
    if before:
        often = Counter(name for row in before for name in row.missing_tables).most_common(MOST_NAMED)
        names = ", ".join(f"{name} ({count})" for name, count in often)
        what = f"{_hours(len(before))} of the last 7 days lacked tables, most often: {names}."
        yield Point("attention", what, "", before[0].hour, "table-heat-map")


def _volume(datasets: Datasets) -> Iterator[Point]:
    """Whether the newest delivered Hours are far from the same hours of the weeks before."""
    delivered = {row.hour for row in datasets.jobs if row.delivered}
    sizes = {row.hour: row.kilobytes for row in datasets.sizes if row.hour in delivered}
    odd: list[Hour] = []
    for hour in sorted(sizes, reverse=True)[:RECENT]:
        usual = _usual(sizes, hour)
        if usual is None or 1 / ODD <= sizes[hour] / usual <= ODD:
            break
        odd.append(hour)
    if not odd:
        return
    usual = _usual(sizes, odd[0]) or 0
    share = sizes[odd[0]] / usual
    yield Point(
        "attention",
        f"The volume is abnormal since {_time(odd[-1])}: {_time(odd[0])} holds {sizes[odd[0]]:,} kB, "
        f"{share:.0%} of the {usual:,.0f} kB that are usual at this hour of the week.",
        "See which tables changed: the heat map, and the volume of one table.",
        odd[-1],
        "size-hourly",
    )


def _slow(datasets: Datasets) -> Iterator[Point]:
    """The phases of the newest run that took much longer than they do."""
    run = next((row for row in reversed(datasets.runs) if row.outcome == "delivered"), None)
    for phase, (low, high) in TYPICAL_MINUTES.items() if run else ():
        seconds = getattr(run, phase)
        if run and seconds is not None and seconds / 60 > SLOW * high:
            usual = f"{low:g} to {high:g}" if low else f"less than {high:g}"
            what = f"The {phase} of {_time(run.hour)} took {seconds / 60:.0f} minutes; usual are {usual}."
            yield Point("attention", what, "See whether it lasts before you act.", run.hour, "phases")


# -- reading the rows -----------------------------------------------------------------------------------------


def _usual(sizes: dict[Hour, int], hour: Hour) -> float | None:
    """The median of the same hour of the weeks before; None with fewer than `FEWEST_WEEKS` of them."""
    before = [sizes[then] for week in range(1, WEEKS + 1) if (then := hour.shift(-168 * week)) in sizes]
    return median(before) or None if len(before) >= FEWEST_WEEKS else None


def _lacking_since(rows: Sequence[TableRow]) -> Hour:
    """The first Hour of the unbroken stretch of rows that lack what the last row lacks."""
    gone = set(rows[-1].missing_tables)
    first = rows[-1].hour
    for row in reversed(rows):
        if not gone <= set(row.missing_tables):
            break
        first = row.hour
    return first


def _explained(episode: Sequence[Hour], runs: dict[Hour, RunRow]) -> tuple[str, str]:
    """The cause most often on record for these Hours, in words, and its remedy."""
    causes = Counter(runs[hour].cause for hour in episode if hour in runs)
    word = causes.most_common(1)[0][0] if causes else ""
    cause = CAUSES.get(word)
    if cause is None:
        return "; the cause is not on record", "See whether the vendor, or whoever ran then, knows more."
    owner = f", owner: {cause.owner}" if cause.owner else ""
    return f" ({word}{owner}: {cause.meaning.rstrip('.').lower()})", cause.remedy


# -- wording --------------------------------------------------------------------------------------------------


def _time(hour: Hour) -> str:
    return f"{hour.start:%Y-%m-%d %H:%M}"


def _hours(count: int) -> str:
    return "1 Hour" if count == 1 else f"{count:,} Hours"


def _span(episode: Sequence[Hour]) -> str:
    if len(episode) == 1:
        return f"at {_time(episode[0])}"
    return f"from {_time(episode[0])} to {_time(episode[-1])}, {_hours(len(episode))}"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
