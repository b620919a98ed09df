"""PURE. Objectives: good Hours of a rolling window, the error budget, who spent it, and how long it lasts.

The terms are OpenSLO's (`budgetingMethod: Timeslices`, a slice is an Hour). The short burn windows of the usual
alerting recipes assume many events a minute; with 24 events a day each single miss would page. So a page needs 3 bad
Hours of the last 6, or less than 6 hours until something is lost for good (`coverage`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from viplake.toml_tables import Table, refuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from viplake.model import Hour

Indicator = Literal["delivered", "complete", "on_time"]

INDICATORS: Final[Mapping[Indicator, str]] = {
    "delivered": "the Hour's export is in the lake",
    "complete": "the Hour's export is in the lake with every expected table",
    "on_time": "the Hour's export took no longer than it may",
}


@dataclass(frozen=True, slots=True)
class Burn:
    """When bad Hours are too many at once.

    Attributes:
        bad, window: so many of the last so many Hours.
        severity: what that is.
        source: where the figures come from.
    """

    bad: int
    window: int
    severity: Literal["page", "ticket"]
    source: str


BURNS: Final = (
    Burn(
        3,
        6,
        "page",
        "Google, The Site Reliability Workbook, chapter 5, 'Low-Traffic Services and Error Budget Alerting': combine "
        "or lengthen windows until one failure alone does not page; 3 Hours are 45 % of a 99 % budget of 28 days",
    ),
)
"""What pages besides the time until loss."""


@dataclass(frozen=True, slots=True)
class Objective:
    """One objective, as `viplake.toml` declares it.

    Attributes:
        name: of its indicator too.
        target: the share of Hours that must be good, above 0 and below 1.
        window: Hours, rolling.
    """

    name: Indicator
    target: float
    window: int

    @property
    def budget_share(self) -> float:
        """The share of Hours that may be bad."""
        return 1 - self.target

    def to_openslo(self) -> dict[str, Any]:
        """The same as an OpenSLO v1 `SLO`'s spec."""
        return {
            "description": INDICATORS[self.name],
            "budgetingMethod": "Timeslices",
            "timeWindow": [{"duration": f"{self.window}h", "isRolling": True}],
            "objectives": [{"displayName": self.name, "target": self.target, "timeSliceWindow": "1h"}],
        }


DEFAULTS: Final = (
    Objective("delivered", 0.99, 28 * 24),
    Objective("complete", 0.98, 28 * 24),
    Objective("on_time", 0.95, 28 * 24),
)
"""Sensible for a young product: 6.7, 13.4 and 33.6 Hours in four weeks may be bad."""

_WINDOW: Final = re.compile(r"(\d{1,3})([dhw])")


@dataclass(frozen=True, slots=True)
class ObjectiveSettings:
    """What is promised to those downstream.

    Attributes:
        objectives: one an indicator at most.
        on_time: how long an export may take, from claim to proof.
    """

    objectives: tuple[Objective, ...] = DEFAULTS
    on_time: timedelta = timedelta(minutes=60)

    @classmethod
    def parse(cls, value: Any) -> ObjectiveSettings:
        """Read `[objectives]` of `viplake.toml`.

        Raises:
            SettingsError: an unknown key, or a target or window that cannot be.
        """
        table = Table.of("objectives", value)
        table.only((*INDICATORS, "on_time_minutes"))
        minutes = table.number("on_time_minutes", 60, low=1, high=1440, what="a number of minutes")
        chosen = tuple(_objective(table, default) for default in DEFAULTS)
        return cls(tuple(one for one in chosen if one is not None), timedelta(minutes=minutes))


def _objective(tables: Table, default: Objective) -> Objective | None:
    if default.name not in tables.values:
        return default
    table = Table.of(f"objectives.{default.name}", tables.values[default.name])
    table.only(("target", "window", "enabled"))
    target = table.number("target", default.target, low=0.5, high=0.9999, what="a share of Hours")
    text = table.text("window", f"{default.window}h")
    match = _WINDOW.fullmatch(text)
    hours = int(match[1]) * {"h": 1, "d": 24, "w": 168}[match[2]] if match else 0
    if not 24 <= hours <= 366 * 24:  # noqa: PLR2004 - a day to a year
        raise refuse(f"window of {table.name}", f"is {text!r}", "It is a day to a year: 28d, 4w or 672h.")
    return Objective(default.name, target, hours) if table.flag("enabled", default=True) else None


@dataclass(frozen=True, slots=True)
class Graded:
    """An Hour, by one indicator.

    Attributes:
        hour: which.
        good: None where it cannot be said.
        owner: whose turn a bad Hour is; `unknown` where nobody knows.
        planned: it stands in the calendar, and does not count.
    """

    hour: Hour
    good: bool | None
    owner: str = "unknown"
    planned: bool = False


@dataclass(frozen=True, slots=True)
class ObjectiveState:
    """Where an objective stands.

    Attributes:
        objective: which.
        good, bad: Hours of the window that count.
        planned: Hours of the window that the calendar takes out.
        unknown: Hours of the window of which it cannot be said, those that are not on record included.
        sli: good / (good + bad); None where no Hour counts.
        budget: Hours that may be bad, of those that count.
        spent: bad Hours by owner, the largest first.
        exhausted: when the budget will be spent at the pace of the last week; the moment of asking, where it is;
            None where it never will be at that pace.
        reason: why there is no figure; empty where there is one.
    """

    objective: Objective
    good: int = 0
    bad: int = 0
    planned: int = 0
    unknown: int = 0
    sli: float | None = None
    budget: float = 0.0
    spent: tuple[tuple[str, int], ...] = ()
    exhausted: datetime | None = None
    reason: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is held; None where it cannot be said."""
        return None if self.sli is None else self.sli >= self.objective.target

    @property
    def left(self) -> float:
        """Hours of the budget that are left; negative where it is overspent."""
        return self.budget - self.bad

    def to_json(self) -> dict[str, Any]:
        """As `viplake check --json` prints it."""
        return {
            "name": self.objective.name,
            "target": self.objective.target,
            "window_hours": self.objective.window,
            "sli": None if self.sli is None else round(self.sli, 5),
            "met": self.met,
            "good": self.good,
            "bad": self.bad,
            "planned": self.planned,
            "unknown": self.unknown,
            "budget_hours": round(self.budget, 2),
            "budget_left_hours": round(self.left, 2),
            "spent_by_owner": dict(self.spent),
            "exhausted_at": None if self.exhausted is None else f"{self.exhausted:%Y-%m-%dT%H:%M:%SZ}",
            "reason": self.reason or None,
        }


_PACE: Final = 168
"""Hours, the last week: the pace at which the budget is being spent."""


def standing(objective: Objective, graded: Mapping[Hour, Graded], *, last: Hour, now: datetime) -> ObjectiveState:
    """Where an objective stands at the end of the Hour `last`.

    Args:
        objective: which.
        graded: the Hours on record, by its indicator.
        last: the last Hour of the window.
        now: when it is asked.
    """
    first = last.shift(1 - objective.window)
    inside = [one for hour, one in graded.items() if first <= hour <= last]
    planned = sum(one.planned for one in inside)
    counting = [one for one in inside if not one.planned and one.good is not None]
    begins = min((one.hour for one in inside), default=last.shift(1))
    on_record = round((last.end - begins.start) / timedelta(hours=1))
    unknown = on_record - planned - len(counting)
    if not counting:
        reason = "no Hour of the window is on record" if not inside else f"of no Hour can be said: {_why(inside)}"
        return ObjectiveState(objective, planned=planned, unknown=unknown, reason=reason)
    bad = [one for one in counting if not one.good]
    budget = objective.budget_share * len(counting)
    return ObjectiveState(
        objective,
        good=len(counting) - len(bad),
        bad=len(bad),
        planned=planned,
        unknown=unknown,
        sli=(len(counting) - len(bad)) / len(counting),
        budget=budget,
        spent=_by_owner(bad),
        exhausted=_exhausted(budget - len(bad), counting, last, now),
    )


def burning(graded: Mapping[Hour, Graded], last: Hour) -> Burn | None:
    """The first burn rule that the Hours up to `last` break; None where none does."""
    for burn in BURNS:
        hours = (graded.get(last.shift(-back)) for back in range(burn.window))
        if sum(one is not None and one.good is False and not one.planned for one in hours) >= burn.bad:
            return burn
    return None


def _why(inside: Sequence[Graded]) -> str:
    return "all of them are planned" if all(one.planned for one in inside) else "their records do not tell"


def _by_owner(bad: Iterable[Graded]) -> tuple[tuple[str, int], ...]:
    spent: dict[str, int] = {}
    for one in bad:
        spent[one.owner] = spent.get(one.owner, 0) + 1
    return tuple(sorted(spent.items(), key=lambda item: (-item[1], item[0])))


def _exhausted(left: float, counting: Iterable[Graded], last: Hour, now: datetime) -> datetime | None:
    if left <= 0:
        return now
    recent = [one for one in counting if one.hour > last.shift(-_PACE)]
    bad = sum(not one.good for one in recent)
    return now + timedelta(hours=left * len(recent) / bad) if bad else None
