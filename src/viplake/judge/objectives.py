"""PURE. Objectives: good Hours of a period, in or out of SLA, the error budget, who spent it, and how long it lasts.

The terms are OpenSLO's (`budgetingMethod: Timeslices`, a slice is an Hour). The short burn windows of the usual
alerting recipes assume many events a minute; with 24 events a day each single miss would page. So a page needs 3 bad
Hours of the last 6, or less than 6 hours until something is lost for good (`coverage`).
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

import msgspec

from viplake.model import Hour
from viplake.toml_tables import decode, refuse
from viplake.wording import count_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

Indicator = Literal["delivered", "complete", "on_time"]
PeriodKind = Literal["day", "week", "month", "window"]

INDICATORS: Final[Mapping[Indicator, str]] = {
    "delivered": "the Hour's export is in the lake",
    "complete": "the Hour's export is in the lake with every expected table",
    "on_time": "the Hour's export took no longer than it may",
}


AGREED: Final[tuple[Indicator, ...]] = ("delivered", "complete")
"""The indicators of the agreement with Veson (the SLA). The others are objectives of our own (SLO)."""

FEWEST: Final = 100
"""Hours below which an objective says "too early": one bad Hour of 99 would be 1 %."""

FEWEST_DAYS: Final = 7
"""The same for daily exports: four weeks have only 28 of them. A week has every weekday once."""


@dataclass(frozen=True, slots=True)
class Burn:
    """A burn rule: how many bad Hours in a short window are too many.

    Attributes:
        bad, window: `bad` of the last `window` Hours.
        severity: of an incident then.
        source: of these numbers.
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
"""The rules that page in addition to the time until loss."""


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

    @property
    def agreement(self) -> str:
        """`SLA` where it is agreed with Veson, else `SLO`."""
        return "SLA" if self.name in AGREED else "SLO"

    def to_openslo(self) -> dict[str, Any]:
        """Return the objective as an OpenSLO v1 `SLO`."""
        spec = {
            "description": INDICATORS[self.name],
            "service": "viplake",
            "budgetingMethod": "Timeslices",
            "timeWindow": [{"duration": f"{self.window}h", "isRolling": True}],
            "objectives": [{"displayName": self.name, "target": self.target, "timeSliceWindow": "1h"}],
        }
        name = self.name.replace("_", "-")
        return {"apiVersion": "openslo/v1", "kind": "SLO", "metadata": {"name": name}, "spec": spec}


DEFAULTS: Final = (
    Objective("delivered", 0.994, 28 * 24),
    Objective("complete", 0.994, 28 * 24),
    Objective("on_time", 0.95, 28 * 24),
)
"""0.994 is the agreement with Veson: 4 Hours of four weeks may be bad. `on_time` is ours: 33 Hours."""

_WINDOW: Final = re.compile(r"(\d{1,3})([dhw])")


@dataclass(frozen=True, slots=True)
class ObjectiveSettings:
    """All objectives that downstream users may rely on.

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
            SettingsError: an unknown key, or a target or window out of range.
        """
        given = decode("objectives", value, _Objectives)
        chosen = (_objective(default, getattr(given, default.name)) for default in DEFAULTS)
        return cls(tuple(one for one in chosen if one is not None), timedelta(minutes=given.on_time_minutes))


class _Objectives(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table as the file has it."""

    delivered: Any = msgspec.UNSET
    complete: Any = msgspec.UNSET
    on_time: Any = msgspec.UNSET
    on_time_minutes: Annotated[float, msgspec.Meta(ge=1, le=1440, description="a number of minutes")] = 60.0


class _Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table of one objective as the file has it."""

    target: Annotated[float, msgspec.Meta(ge=0.5, le=0.9999, description="a share of Hours")] | None = None
    window: str = ""
    enabled: bool = True


def _objective(default: Objective, value: Any) -> Objective | None:
    if value is msgspec.UNSET:
        return default
    given = decode(f"objectives.{default.name}", value, _Target)
    text = given.window.strip() or f"{default.window}h"
    match = _WINDOW.fullmatch(text)
    hours = int(match[1]) * {"h": 1, "d": 24, "w": 168}[match[2]] if match else 0
    if not 24 <= hours <= 366 * 24:  # noqa: PLR2004 - a day to a year
        raise refuse(
            f"window of [objectives.{default.name}]", f"is {text!r}", "It is a day to a year: 28d, 4w or 672h."
        )
    target = default.target if given.target is None else given.target
    return Objective(default.name, target, hours) if given.enabled else None


class Graded(NamedTuple):
    """The grade of an Hour by one indicator; a tuple, because a check of years makes a hundred thousand of them.

    Attributes:
        hour: the Hour.
        good: None where the grade is unknown.
        owner: who is responsible for a bad Hour; `unknown` without a record of it.
        planned: the calendar has it, and it does not count.
    """

    hour: Hour
    good: bool | None
    owner: str = "unknown"
    planned: bool = False


@dataclass(frozen=True, slots=True)
class Tally:
    """How many Hours of a period are good, bad, planned and of unknown grade."""

    good: int = 0
    bad: int = 0
    planned: int = 0
    unknown: int = 0

    @property
    def expected(self) -> int:
        """Hours that count."""
        return self.good + self.bad

    @property
    def ratio(self) -> float | None:
        """Good / expected; None where no Hour counts."""
        return self.good / self.expected if self.expected else None


class Grades:
    """The grades of all Hours by one indicator, with running sums: any period costs the same.

    An Hour without a record between the first and the last one is bad for the indicators of the agreement, because
    nothing shows that it was delivered; for `on_time` it is unknown. Planned Hours never count.

    Args:
        name: the indicator.
        graded: the Hours on record.
        planned: whether the calendar has an Hour.
    """

    def __init__(
        self,
        name: Indicator,
        graded: Mapping[Hour, Graded],
        planned: Callable[[Hour], bool] = lambda _: False,
    ) -> None:
        self.by_hour = graded
        self.first = min(graded, default=None)
        self.last = max(graded, default=None)
        known = sorted(graded.values(), key=_hour_of)
        if self.first is not None and self.last is not None and self.first.shift(len(known) - 1) != self.last:
            unknown = False if name in AGREED else None
            hours = self.first.to(self.last)
            known = [graded.get(hour) or Graded(hour, unknown, planned=planned(hour)) for hour in hours]
        kinds = [2 if one.planned else 3 if one.good is None else 0 if one.good else 1 for one in known]
        self._sums = [array("l", accumulate((one == kind for one in kinds), initial=0)) for kind in range(4)]
        self._bad = [one for one, kind in zip(known, kinds, strict=True) if kind == 1]

    def tally(self, first: Hour, last: Hour) -> Tally:
        """Return the counts of a period, both ends included."""
        begin, end = self._place(first), self._place(last.shift(1))
        return Tally(*(running[end] - running[begin] for running in self._sums))

    def bad(self, first: Hour, last: Hour) -> list[Graded]:
        """Return the bad Hours of a period, ascending."""
        begin = bisect_left(self._bad, first, key=_hour_of)
        return self._bad[begin : bisect_right(self._bad, last, key=_hour_of)]

    def _place(self, hour: Hour) -> int:
        if self.first is None:
            return 0
        return min(max((hour.start - self.first.start) // _HOUR, 0), len(self._sums[0]) - 1)


def _hour_of(one: Graded) -> Hour:
    return one.hour


_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ObjectiveState:
    """The state of an objective.

    Attributes:
        objective: which.
        good, bad: Hours of the window that count.
        planned: Hours of the window that the calendar takes out.
        unknown: Hours of the window with an unknown grade, those without a record included.
        sli: good / (good + bad); None where no Hour counts.
        budget: Hours that may be bad, of those that count.
        spent: bad Hours by owner, the largest first.
        exhausted: when the budget will be spent at the pace of the last week; now, if it is already; None if it never
            will be at that pace.
        reason: why there is no figure; empty where there is one.
        every: hours from one expected export to the next, 24 with a daily one: then the Hours that count are days.
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
    every: int = 1

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without data, or with too few Hours."""
        return None if self.sli is None or self.early else self.sli >= self.objective.target

    @property
    def early(self) -> bool:
        """Fewer Hours (or days) count than are needed: one bad one would decide."""
        return self.good + self.bad < self.needed

    @property
    def needed(self) -> int:
        """How many Hours (or days) must count before there is a verdict."""
        return FEWEST if self.every == 1 else FEWEST_DAYS

    @property
    def unit(self) -> str:
        """What is counted: Hours, or days with daily exports."""
        return "Hour" if self.every == 1 else "day"

    @property
    def words(self) -> str:
        """Return the verdict and the budget in words: `out of SLA: ...; 20 bad Hours where 4 are allowed`."""
        if self.sli is None:
            return f"no data: {self.reason}"
        bad = count_words(self.bad, f"bad {self.unit}")
        if self.early:
            counted = count_words(self.good + self.bad, self.unit)
            return f"too early: {counted} of the {self.needed} that are needed, {bad}"
        allowed = int(self.budget)
        word = "in" if self.met else "out of"
        share = f"{self.sli:.2%} of {self.objective.target:.2%}"
        owners = ", ".join(f"{owner} {hours}" for owner, hours in self.spent)
        limit = f"{bad} where {allowed} {'is' if allowed == 1 else 'are'} allowed{f' ({owners})' if owners else ''}"
        return f"{word} {self.objective.agreement}: {share}; {limit}"

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
            "verdict": self.words.partition(":")[0],
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


def standing(objective: Objective, grades: Grades, *, last: Hour, now: datetime, every: int = 1) -> ObjectiveState:
    """Return the state of an objective at the end of the Hour `last`.

    Args:
        objective: which.
        grades: of the Hours on record, by its indicator.
        last: the last Hour of the window.
        now: the time of evaluation.
        every: hours from one expected export to the next.
    """
    first = last.shift(1 - objective.window)
    tally = grades.tally(first, last)
    if not tally.expected:
        reason = "no Hour of the window is on record"
        if tally.planned and not tally.unknown:
            reason = "all Hours of the window are planned"
        elif tally.unknown:
            reason = "no Hour in the window has the required data"
        return ObjectiveState(objective, planned=tally.planned, unknown=tally.unknown, reason=reason, every=every)
    bad = grades.bad(first, last)
    budget = objective.budget_share * tally.expected
    recent = grades.tally(last.shift(1 - _PACE), last)
    state = ObjectiveState(
        objective,
        good=tally.good,
        bad=tally.bad,
        planned=tally.planned,
        unknown=tally.unknown,
        sli=tally.ratio,
        budget=budget,
        spent=_by_owner(bad),
        exhausted=_exhausted(budget - tally.bad, recent, now, every),
        every=every,
    )
    return replace(state, reason=f"too early: fewer than {state.needed} {state.unit}s count") if state.early else state


class Burning:
    """Which bad Hours end a window with as many bad Hours as a burn rule names; running sums, as in `Grades`.

    An Hour without a grade counts as neither good nor bad here: it is no reason to page.
    """

    def __init__(self, graded: Mapping[Hour, Graded]) -> None:
        self._first = min(graded, default=None)
        bad = bytearray(0 if self._first is None else (max(graded).start - self._first.start) // _HOUR + 1)
        for hour, good, _, planned in graded.values():
            if good is False and not planned and self._first is not None:
                bad[(hour.start - self._first.start) // _HOUR] = 1
        self._bad = array("l", accumulate(bad, initial=0))

    def at(self, last: Hour) -> Burn | None:
        """Return the first burn rule that the Hours up to `last`, which is bad, break; None where none does.

        The rules say whether the last one is bad: they know of a run that was not started before its Hour ends.
        """
        end = 0 if self._first is None else (last.start - self._first.start) // _HOUR
        for burn in BURNS:
            if 1 + self._until(end) - self._until(end - burn.window + 1) >= burn.bad:
                return burn
        return None

    def _until(self, place: int) -> int:
        return self._bad[min(max(place, 0), len(self._bad) - 1)]


def _by_owner(bad: Iterable[Graded]) -> tuple[tuple[str, int], ...]:
    spent: dict[str, int] = {}
    for one in bad:
        spent[one.owner] = spent.get(one.owner, 0) + 1
    return tuple(sorted(spent.items(), key=lambda item: (-item[1], item[0])))


def _exhausted(left: float, recent: Tally, now: datetime, every: int) -> datetime | None:
    if left <= 0:
        return now
    return now + timedelta(hours=every * left * recent.expected / recent.bad) if recent.bad else None


# -- by period --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SlaPeriod:
    """An indicator of the agreement in one period.

    Attributes:
        kind: day, week (from Monday on), month, or the objective's rolling window.
        first, last: Hours, both included.
        objective: with the target.
        tally: the Hours of the period.
    """

    kind: PeriodKind
    first: Hour
    last: Hour
    objective: Objective
    tally: Tally

    @property
    def met(self) -> bool | None:
        """Whether the period is in SLA; None where no Hour counts."""
        ratio = self.tally.ratio
        return None if ratio is None else ratio >= self.objective.target

    @property
    def verdict(self) -> str:
        """Return the verdict in words."""
        return "no data" if self.met is None else "in SLA" if self.met else "out of SLA"

    def to_json(self) -> dict[str, Any]:
        """Return the period as `viplake slo --json` prints it."""
        return {
            "period": self.kind,
            "from": str(self.first),
            "to": str(self.last),
            "indicator": self.objective.name,
            "target": self.objective.target,
            "good": self.tally.good,
            "expected": self.tally.expected,
            "ratio": None if self.tally.ratio is None else round(self.tally.ratio, 4),
            "in_sla": self.met,
        }


def sla_periods(
    objectives: Iterable[Objective], grades: Mapping[Indicator, Grades], first: Hour, last: Hour
) -> list[SlaPeriod]:
    """Return each day, week and month that overlaps the Hours from `first` to `last`, then the windows that end there.

    Periods are whole as far as the record goes: the first one begins before `first` where it must.
    """
    agreed = [one for one in objectives if one.name in AGREED]
    found = []
    kinds: tuple[PeriodKind, ...] = ("day", "week", "month")
    for kind in kinds:
        for begin, end in _calendar_periods(kind, first, last):
            for one in agreed:
                of = grades[one.name]
                if of.first is not None and begin <= last and end >= of.first:
                    begins, ends = max(begin, of.first), min(end, last)
                    found.append(SlaPeriod(kind, begins, ends, one, of.tally(begins, ends)))
    for one in agreed:
        begins = last.shift(1 - one.window)
        found.append(SlaPeriod("window", begins, last, one, grades[one.name].tally(begins, last)))
    return found


def newest_periods(periods: Iterable[SlaPeriod]) -> tuple[SlaPeriod, ...]:
    """Return the last period of each kind and indicator, in their order."""
    found = {(one.kind, one.objective.name): one for one in periods}
    return tuple(found.values())


def _calendar_periods(kind: PeriodKind, first: Hour, last: Hour) -> Iterator[tuple[Hour, Hour]]:
    """The days, weeks or months that overlap a range, each as its first and last Hour."""
    at = period_start(kind, first)
    while at <= last:
        after = period_start(kind, at.shift({"day": 24, "week": 168}.get(kind, 32 * 24)))
        yield at, after.shift(-1)
        at = after


def period_start(kind: PeriodKind, hour: Hour) -> Hour:
    """Return the first Hour of the day, the week (Monday) or the month that an Hour is in."""
    back = {"day": 0, "week": hour.start.weekday(), "month": hour.start.day - 1}[kind]
    return Hour.of(hour.start.replace(hour=0) - timedelta(days=back))
