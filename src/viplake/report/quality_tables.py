"""PURE. The tables of the data-quality figures: incidents, error budgets, look-back coverage."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from viplake.judge.evaluate import gap_words
from viplake.report.tables import FigureColumn, FigureTable

if TYPE_CHECKING:
    from viplake.judge.calendar import Planned
    from viplake.judge.coverage import Gap
    from viplake.judge.incidents import Incident
    from viplake.model import Hour
    from viplake.report.quality import BudgetDay, QualityState

OPEN: Final = "open"
PLANNED: Final = "planned"
LASTS: Final = "lasts"
LOST: Final = "lost"
HEALED: Final = "nothing lost"
NOT_KNOWN: Final = "not known"

OWNERS: Final = ("vendor", "aws", "network", "us", "unknown")
"""Of incidents and of bad Hours, in this order."""

LEFT: Final = ", Hours left"
"""How the name of an objective's column ends."""

EXPORT: Final = "the whole export"

_HOUR: Final = timedelta(hours=1)


def incidents(judged: QualityState, first: Hour | None = None) -> FigureTable:
    """One row an incident and one a planned entry of the calendar, those that end before `first` left out."""
    episodes = [_of_incident(one) for one in judged.incidents if first is None or one.last >= first]
    entries = [_of_entry(one) for one in judged.calendar if first is None or one.last >= first]
    rows = sorted((*episodes, *entries), key=lambda row: (str(row[0]), str(row[1])))
    names = ("rule", "owner", "cause", "severity", "state", "until", "Hours", "tables", "summary", "acknowledged")
    return _table(rows, names, numbers=("Hours",))


_Row = tuple[str | float | None, ...]


def _of_incident(one: Incident) -> _Row:
    state = OPEN if one.open else "healed" if one.healed else "resolved"
    tables = ", ".join(one.tables) or None
    why = (one.rule, one.owner, one.cause, one.severity)
    known = None if one.acknowledged is None else one.acknowledged.words
    return (one.hour.label, *why, state, one.last.label, one.hours, tables, one.summary, known)


def _of_entry(one: Planned) -> _Row:
    hours = (one.last.end - one.first.start) // _HOUR
    rule = f"{PLANNED} {one.kind}"
    return (one.first.label, rule, None, None, None, PLANNED, one.last.label, hours, None, one.reason or None, None)


def error_budget(judged: QualityState, first: Hour | None = None) -> FigureTable:
    """One row a day: Hours of each error budget that were left at its end, and its bad Hours by owner."""
    days = [day for day in judged.days if first is None or day.last >= first]
    names = [state.objective.name for state in judged.objectives]
    rows = [_of_day(day) for day in days]
    columns = (*(f"{name}{LEFT}" for name in names), *OWNERS, PLANNED)
    return _table(rows, columns, numbers=columns, kind="day")


def _of_day(day: BudgetDay) -> _Row:
    left = (None if state.sli is None else round(state.left, 2) for state in day.states)
    return (day.last.day, *left, *(day.spent.get(owner, 0) for owner in OWNERS), day.planned)


def coverage(judged: QualityState, first: Hour | None = None) -> FigureTable:
    """One row a hole: the margin that the next delivery had, or the time left while it lasts, and what was lost."""
    gaps = sorted(
        (gap for gap in judged.gaps if first is None or gap.last >= first), key=lambda gap: (gap.first, gap.table or "")
    )
    names = ("margin", "lost", "table", "until", "delivered before", "delivered after", "state", PLANNED, "what")
    return _table([_of_gap(gap, judged) for gap in gaps], names, numbers=("margin", "lost"), unit="h")


def _of_gap(gap: Gap, judged: QualityState) -> _Row:
    left = gap.left(judged.now, judged.look_back)
    margin = gap.margin if left is None else left
    lost = None if gap.lost is None else gap.lost[1] - gap.lost[0]
    return (
        gap.first.label,
        _hours(margin),
        _hours(lost),
        gap.table or EXPORT,
        gap.last.label,
        None if gap.after is None else gap.after.label,
        None if gap.before is None else gap.before.label,
        _state(gap, lasts=left is not None),
        PLANNED if gap.planned else None,
        gap_words(gap, judged.now, judged.look_back),
    )


def _state(gap: Gap, *, lasts: bool) -> str:
    if gap.lost is not None:
        return LOST
    if gap.unknown or (gap.margin is None and not lasts):
        return NOT_KNOWN
    return LASTS if lasts else HEALED


def _hours(time: timedelta | None) -> float | None:
    return None if time is None else round(time / _HOUR, 2)


def _table(
    rows: list[_Row], names: tuple[str, ...], *, numbers: tuple[str, ...], kind: str = "hour", unit: str = ""
) -> FigureTable:
    """The rows as columns; the first value of each is its time."""
    times = [row[0] for row in rows]
    first = FigureColumn("day", "day", times) if kind == "day" else FigureColumn("date", "hour", times)
    others = (
        FigureColumn(name, "number", [row[place] for row in rows], unit)
        if name in numbers
        else FigureColumn(name, "text", [row[place] for row in rows])
        for place, name in enumerate(names, start=1)
    )
    return FigureTable((first, *others))
