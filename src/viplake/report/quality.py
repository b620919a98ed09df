"""PURE. The state of data quality that the report shows: incidents, objectives, coverage, error budgets by day.

Incidents, objectives and coverage come from the functions of `viplake check`, so that the two cannot disagree.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from viplake.history.rows import Datasets, PlannedSpan
from viplake.judge.evaluate import CheckSettings, Evidence, decide
from viplake.judge.objectives import newest_periods, standing
from viplake.model import Hour

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from viplake.judge.calendar import Planned
    from viplake.judge.coverage import Gap
    from viplake.judge.incidents import Incident
    from viplake.judge.objectives import Grades, Indicator, ObjectiveState, SlaPeriod
    from viplake.judge.record import Record

MOST_DAYS: Final = 400
"""The most days of error budget: each costs a pass over the window."""


@dataclass(frozen=True, slots=True)
class BudgetDay:
    """The error budgets at the end of a day.

    Attributes:
        last: the day's last Hour that counts.
        states: state of each objective then.
        spent: Hours of the day that were bad by any objective, by owner.
        planned: Hours of the day that the calendar takes out.
    """

    last: Hour
    states: tuple[ObjectiveState, ...]
    spent: Mapping[str, int]
    planned: int


@dataclass(frozen=True, slots=True)
class QualityState:
    """The state of data quality at a moment.

    Attributes:
        now: the moment.
        last: the last Hour that a check has judged; None: no check has run.
        incidents: that are kept, the oldest first.
        objectives: the state of each.
        gaps: of look-back coverage, in all that is on record.
        days: the error budgets over time, the oldest first.
        calendar: what was planned.
        look_back: what an export carries.
        sla: the newest day, week and month and the windows, of each indicator of the agreement.
        guids: of the vendor's jobs, by Hour, where they are known.
    """

    now: datetime
    last: Hour | None
    incidents: tuple[Incident, ...] = ()
    objectives: tuple[ObjectiveState, ...] = ()
    gaps: tuple[Gap, ...] = ()
    days: tuple[BudgetDay, ...] = ()
    calendar: tuple[Planned, ...] = ()
    look_back: timedelta = timedelta(hours=24)
    sla: tuple[SlaPeriod, ...] = ()
    guids: Mapping[Hour, str] = field(default_factory=dict)

    @property
    def open(self) -> tuple[Incident, ...]:
        """The incidents that last."""
        return tuple(one for one in self.incidents if one.open)


def quality_state(
    records: Mapping[Hour, Record],
    incidents: Iterable[Incident],
    checked: Hour | None,
    settings: CheckSettings,
    *,
    now: datetime,
    days: int | None = None,
) -> QualityState:
    """Return the state at a moment.

    Args:
        records: what is on record.
        incidents: as `judge.check.preview` or a check has them.
        checked: the last Hour that a check has judged; None: no check has run.
        settings: objectives, calendar and look-back.
        now: when, aware.
        days: of how many days back the error budgets are wanted; None, or more than `MOST_DAYS`: of so many.
    """
    last = Hour.of(now)
    decided = decide(Evidence(records, now), (last,), settings)
    return QualityState(
        now,
        checked,
        tuple(sorted(incidents, key=lambda one: (one.hour, one.key))),
        decided.objectives if records else (),
        decided.gaps,
        tuple(_days(decided.grades, settings, now, min(days or MOST_DAYS, MOST_DAYS))),
        settings.calendar.entries,
        settings.rules.look_back,
        newest_periods(decided.sla) if records else (),
        {hour: guid for hour, known in records.items() if (guid := _guid(known)) is not None},
    )


def with_agreement(datasets: Datasets, settings: CheckSettings) -> Datasets:
    """Return the history with the targets of the objectives and the planned Hours, for its figures."""
    targets: dict[str, float] = {one.name: one.target for one in settings.objectives.objectives}
    planned = tuple(PlannedSpan(one.first, one.last, f"planned {one.kind}") for one in settings.calendar.entries)
    return replace(datasets, targets=targets, planned=planned)


def _guid(known: Record) -> str | None:
    run = None if known.facts is None else known.facts.run
    return None if run is None else run.job_guid


def _days(every: Mapping[Indicator, Grades], settings: CheckSettings, now: datetime, days: int) -> list[BudgetDay]:
    grades = {one.name: every[one.name] for one in settings.objectives.objectives}
    hours: dict[str, list[Hour]] = {}
    for hour in sorted(next(iter(every.values())).by_hour):
        hours.setdefault(hour.day, []).append(hour)
    return [_day(hours[day], grades, settings, now) for day in sorted(hours)[-days:]]


def _day(hours: list[Hour], grades: Mapping[Indicator, Grades], settings: CheckSettings, now: datetime) -> BudgetDay:
    states = tuple(
        standing(one, grades[one.name], last=hours[-1], now=now, every=settings.calendar.every)
        for one in settings.objectives.objectives
    )
    spent: Counter[str] = Counter()
    for hour in hours:
        bad = [one.owner for of in grades.values() for one in of.bad(hour, hour)]
        spent.update(bad[:1])  # its owner by the first objective that it fails
    return BudgetDay(hours[-1], states, dict(spent), sum(settings.calendar.at(hour) is not None for hour in hours))
