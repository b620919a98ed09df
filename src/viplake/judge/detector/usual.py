"""PURE. What is usual at each place of a series: the same hour of the weeks before, each week at its own level.

Logarithms, because half and double are equally far off. Medians, because a bad day among six weeks must not move what
is usual. Each week is put beside its own level first, so that a change of level weeks ago is no news today. Before two
weeks are known the same hour of the days before is compared. Reasons: `docs/adr/0013-what-is-usual.md`.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

DAY: Final = 24
WEEK: Final = 168
"""Hours."""

YOUNG: Final = 3 * DAY
"""Hours of history from which on the same hour of the days before says something."""

WEEKS_KNOWN: Final = 3
"""Weeks of history from which on the same hour of the weeks before is compared."""

_WITNESSES: Final = 2
"""Weeks that must have a value at an hour for the comparison with the weeks before."""

FEWEST: Final = 24
"""Hours of the last week that there must be to know its level or its spread."""

_SMALL: Final = -1.6
"""Logarithm beside the level: a fifth of it."""

_SATURDAY: Final = 5
_MANY: Final = 4
"""Weeks from which on the lowest and the highest of them are left out: one bad week excuses nothing."""

_SEPARATE_DAYS: Final = 4
A_MONTH_AGO: Final = range(28, 34)
"""Days from a working day of one month's end to the same of the next: of 26 years in six countries, 98 of 100."""

_AS_FAR: Final = 0.7
_ALSO_FAR: Final = 0.25
_AS_HIGH: Final = 0.1
"""See `UsualPast.seen_before`: shares of how far it is now, and a logarithm."""


@dataclass(frozen=True, slots=True)
class AnomalySettings:
    """How far off is abnormal. Frozen before the final measurement in `docs/bench/judge.md`.

    Attributes:
        threshold: scales from the usual, at once.
        twice: scales from the usual, in two Hours one after the other.
        weeks: of the past that say what is usual.
        quiet_weeks: of history before which only a third less or half as much again is abnormal.
        floor: least scale, as a share of the volume: what never moves must not alarm for a byte.
        grain: bytes, or records, that are nothing: added before the logarithm is taken, and the least scale.
    """

    threshold: float = 8.0
    twice: float = 6.0
    weeks: int = 6
    quiet_weeks: int = 3
    floor: float = 0.02
    grain: float = 256.0


def weeks_compared(settings: AnomalySettings) -> int:
    """Return how many weeks before its own an Hour is compared with, and those with what was usual in them."""
    return settings.weeks + WEEKS_KNOWN


GRAIN_OF_COUNTS: Final = 3.0
"""Where records are counted: log(n + 3), so that 0, 1 and 2 are alike."""


@dataclass(slots=True)
class UsualPast:
    """What is usual at each place.

    Args:
        values: one an Hour, without holes; below zero where there is none.
        bad: places that say nothing of what is usual.
        settings: weeks to look back, and the least scale.
        counted: the values are numbers of records, whose least spread is that of chance (Poisson).
        phase: the hour of the week of the first value; 0 is Monday 00:00 UTC.
    """

    values: Sequence[int]
    bad: Collection[int]
    settings: AnomalySettings
    counted: bool
    phase: int
    grain: float = field(init=False)
    logs: list[float | None] = field(init=False)
    begins: int = field(init=False)
    _nothing: float = field(init=False)
    _forgotten: int = field(init=False, default=0)
    _sorted_days: dict[int, list[int]] = field(init=False, default_factory=dict)
    _levels: dict[int, float] = field(init=False, default_factory=dict)
    _now: dict[int, float] = field(init=False, default_factory=dict)
    _beside_level: list[float | None] = field(init=False, default_factory=list)
    _pairs: dict[int, list[tuple[float, float]]] = field(init=False, default_factory=dict)
    _offs: dict[int, float | None] = field(init=False, default_factory=dict)
    _weekly: list[bool | None] = field(init=False)
    _small: dict[int, bool] = field(init=False, default_factory=dict)
    _whole: dict[int, bool] = field(init=False, default_factory=dict)
    _shapes: dict[int, list[tuple[float, float] | None]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Take logarithms once."""
        log, bad = math.log, self.bad
        grain = self.grain = max(self.settings.grain, 1.0)
        self._nothing = log(grain)
        self.logs = [log(v + grain) if v >= 0 else None for v in self.values]
        for place in bad:
            if 0 <= place < len(self.logs):
                self.logs[place] = None
        self.begins = next((place for place, value in enumerate(self.logs) if value is not None), len(self.logs))
        self._weekly = [None] * len(self.logs)

    def day(self, place: int) -> int:
        """Return the day of an index."""
        return (place + self.phase) // DAY

    def start(self, day: int) -> int:
        """The first place of a day."""
        return max(day * DAY - self.phase, 0)

    def log(self, place: int) -> float:
        """The logarithm of a value, a bad one too."""
        x = self.logs[place]
        return math.log(self.values[place] + self.grain) if x is None else x

    def by_weeks(self, place: int) -> bool:
        """Whether enough weeks are known: then hours of the week are compared, else hours of the day.

        Two of them must have a value at this very hour: one alone may be the odd one.
        """
        known = self._weekly[place]
        if known is None:
            known = place - self.begins >= WEEKS_KNOWN * WEEK
            if known:
                back = self.logs[max(place - self.settings.weeks * WEEK, place % WEEK) : place : WEEK]
                known = len(back) - back.count(None) >= _WITNESSES
            self._weekly[place] = known
        return known

    def is_young(self, place: int) -> bool:
        """Whether only what is far off may be called abnormal."""
        return place - self.begins < self.settings.quiet_weeks * WEEK

    def before(self, place: int) -> Sequence[int]:
        """The places that one is compared with, nearest first: the same hour of the weeks before, or of like days."""
        if self.by_weeks(place):
            return range(place - WEEK, max(place - self.settings.weeks * WEEK, self.begins) - 1, -WEEK)
        if place - self.begins < YOUNG - DAY:
            return ()
        days = range(place - DAY, max(self.begins, self._forgotten) - 1, -DAY)
        kind = self.is_weekend(place)
        return [back for back in days if self.is_weekend(back) == kind] or days

    def is_weekend(self, place: int) -> bool:
        """Whether it lies on a Saturday or Sunday."""
        return (place + self.phase) // DAY % 7 >= _SATURDAY

    def is_small(self, place: int) -> bool:
        """Whether so little is usual at this hour that it says nothing of how steady the rest is."""
        known = self._small.get(place)
        if known is None:
            level = 0.0 if self.by_weeks(place) else self._level(self.day(place))
            known = self._small[place] = (self.middle(place) or 0.0) - level < _SMALL
        return known

    def is_unlike(self, place: int) -> bool:
        """Whether no day of its kind is known: in the first weekend, or the first days of the week."""
        before = () if self.by_weeks(place) else self.before(place)
        return bool(before) and self.is_weekend(before[0]) != self.is_weekend(place)

    def alike(self, one: int, other: int) -> bool:
        """Whether two places are compared with the same kind of Hours: of the weeks, of working days, of weekends."""
        by_weeks = self.by_weeks(other)
        return self.by_weeks(one) == by_weeks and (by_weeks or self.is_weekend(one) == self.is_weekend(other))

    def forget_before(self, place: int) -> None:
        """Compare no more with days before this one: a young series has changed for good."""
        self._forgotten = place
        self._offs.clear()
        self._small.clear()

    def week_before(self, day: int) -> Sequence[int]:
        """The seven days before a day; for each with few good Hours another whole one of the week before these.

        So after Easter a level is that of a week, and not of the few Hours between two holidays.
        """
        near = range(day - 7, day)
        lacking = sum(not self._is_whole(one) for one in near)
        if not lacking:
            return near
        further = [one for one in range(day - 8, day - 15, -1) if self._is_whole(one)]
        return (*reversed(further[:lacking]), *near)

    def _is_whole(self, day: int) -> bool:
        """Whether half of its Hours are good."""
        known = self._whole.get(day)
        if known is None:
            first, end = self.start(day), max((day + 1) * DAY - self.phase, 0)
            logs = self.logs[first:end]
            known = self._whole[day] = 2 * (len(logs) - logs.count(None)) >= DAY
        return known

    # -- level -----------------------------------------------------------------------------------------------

    def _level(self, day: int) -> float:
        """The level of the week before a day: the size of Hour at which half of the volume is in smaller ones."""
        known = self._levels.get(day)
        if known is None:
            week = list(chain.from_iterable(map(self._values_of, self.week_before(day))))
            _forget(self._sorted_days, day - 7)
            if len(week) < FEWEST:  # its own first day says more than nothing
                places = range(self.begins, min(self.begins + DAY, len(self.logs)))
                week = [self.values[place] for place in places if self.logs[place] is not None]
            week.sort()  # of sorted days: that is a merge
            sums = list(accumulate(week))
            known = math.log(week[bisect_left(sums, sums[-1] / 2)] + self.grain) if week else 0.0
            self._levels[day] = known
        return known

    def _values_of(self, day: int) -> list[int]:
        """The good values of a day, sorted."""
        known = self._sorted_days.get(day)
        if known is None:
            first, end = self.start(day), max((day + 1) * DAY - self.phase, 0)
            pairs = zip(self.values[first:end], self.logs[first:end], strict=True)
            known = self._sorted_days[day] = sorted([value for value, x in pairs if x is not None])
        return known

    def _relative(self, place: int) -> Sequence[float | None]:
        """The logarithms that a place is compared with: each beside the level of its own week, or as they are."""
        return self._relative_to_level() if self.by_weeks(place) else self.logs

    def _relative_to_level(self) -> list[float | None]:
        if not self._beside_level:
            found: list[float | None] = []
            for day in range(self.day(len(self.logs) - 1) + 1):
                first, level = self.start(day), self._level(day)
                found += [None if x is None else x - level for x in self.logs[first : self.start(day + 1)]]
            self._beside_level = found
        return self._beside_level

    def level(self, place: int) -> float:
        """The level that a place is judged at: the median of how the last week lies against its usual shape.

        Hours weigh as much as they are steady: an empty night or a batch that comes now here, now there must not
        outvote the rest. Daily, from the week before the day, so that a check an hour later judges alike.
        """
        if not self.by_weeks(place):
            return 0.0
        day = (place + self.phase) // DAY
        known = self._now.get(day)
        if known is None:
            pairs = list(chain.from_iterable(map(self._pairs_of, self.week_before(day))))
            _forget(self._pairs, day - 7)
            level = self._level(day)
            if len(pairs) >= FEWEST:
                pairs.sort()  # of sorted days: that is a merge
                sums = list(accumulate([weight for _, weight in pairs]))
                level = pairs[bisect_left(sums, sums[-1] / 2)][0]
            known = self._now[day] = level
        return known

    def _pairs_of(self, day: int) -> list[tuple[float, float]]:
        """How the values of a day lie against their usual shapes, and their weights; sorted."""
        known = self._pairs.get(day)
        if known is None:
            known, level, least = [], self._level(day), self.least
            start = self.start(day)
            logs, shapes = self.logs[start : self.start(day + 1)], self._shapes_of(day)
            for place, (x, shape) in enumerate(zip(logs, shapes, strict=True), start):
                if x is not None and shape is not None and place >= self.begins + WEEK:
                    middle, apart = shape
                    known.append((x - middle, 1 / max(least(middle + level), apart) ** 2))
            known.sort()
            self._pairs[day] = known
        return known

    # -- shape -----------------------------------------------------------------------------------------------

    def _shape(self, place: int) -> tuple[float, float] | None:
        """The median of its own hour in the weeks before, beside their level, and how far these lie apart."""
        day = (place + self.phase) // DAY
        return self._shapes_of(day)[place - self.start(day)]

    def _shapes_of(self, day: int) -> list[tuple[float, float] | None]:
        """Those of a whole day: one by one they would be most of the cost of a check."""
        known = self._shapes.get(day)
        if known is None:
            relative, weeks, begins = self._relative_to_level(), self.settings.weeks, self.begins
            first, end = self.start(day), min(self.start(day + 1), len(relative))
            if (first - begins) // WEEK >= weeks:
                back = [relative[first - week * WEEK : end - week * WEEK] for week in range(weeks, 0, -1)]
                known = [_middle_of(values) for values in zip(*back, strict=True)]
            else:
                known = []
                for place in range(first, end):
                    reach = min(weeks, (place - begins) // WEEK) * WEEK
                    known.append(_middle_of(relative[place - reach : place : WEEK]))
            self._shapes[day] = known
        return known

    def _own(self, place: int) -> tuple[float, float] | None:
        if self.by_weeks(place):
            return self._shape(place)
        return _middle_of([self.logs[back] for back in self.before(place)])

    def middle(self, place: int) -> float | None:
        """The median of its own hour, beside the level; None where nothing is known of it."""
        own = self._own(place)
        return None if own is None else own[0]

    def apart(self, place: int) -> float:
        """How far the weeks lie apart at its own hour; of many without the lowest and the highest."""
        own = self._own(place)
        return 0.0 if own is None else own[1]

    def is_long(self, place: int) -> bool:
        """Whether so many weeks are known that the lowest and the highest of them are left out, one of them the first.

        The level of the first week is that of a day of it, so it lies apart from the others.
        """
        return place - self.begins >= (_MANY + 1) * WEEK

    def off(self, place: int, level: float | None = None) -> float | None:
        """Return the distance of a value from the usual, as a logarithm; None where that is not known.

        The usual is never less than nothing: at a low level, the empty hours of a table with batches are not above it.
        """
        if level is None and place in self._offs:
            return self._offs[place]
        if level is None and self.by_weeks(place):
            self._add_offs((place + self.phase) // DAY)
            return self._offs[place]
        middle = self.middle(place) if self.values[place] >= 0 else None
        if middle is None:
            off = None
        else:
            x = self.log(place)
            off = min(x - middle - (self.level(place) if level is None else level), x - self._nothing)
        if level is None:
            self._offs[place] = off
        return off

    def _add_offs(self, day: int) -> None:
        """Those of a whole day where the weeks before are known."""
        first, end = self.start(day), min(self.start(day + 1), len(self.logs))
        places = [place for place in range(first, end) if self.by_weeks(place)]
        level, offs, values, nothing = self.level(places[0]), self._offs, self.values, self._nothing
        shapes = self._shapes_of(day)
        for place in places:
            shape, x = shapes[place - first], self.log(place) if values[place] >= 0 else 0.0
            offs[place] = None if shape is None or values[place] < 0 else min(x - shape[0] - level, x - nothing)

    def least(self, middle: float) -> float:
        """The least scale at a usual value: what one record more or less, or chance, makes of it."""
        size = max(math.exp(middle), self.grain)
        by_chance = 1 / math.sqrt(size) if self.counted else self.settings.grain / size
        return max(self.settings.floor, by_chance)

    def beside(self, place: int) -> tuple[float, float] | None:
        """Return the lowest and the highest value of earlier weeks at this hour, one before and one after it.

        So a peak that moves by an hour, as with daylight saving, is within the range. None with fewer than two weeks.
        """
        relative = self._relative(place)
        return _ends([x for x in relative[max(back - 1, 0) : back + 2] if x is not None] for back in self.before(place))

    def beside_change(self, place: int, hours: int) -> tuple[float, float] | None:
        """The same of the changes within so many hours."""
        logs, found = self.logs, []
        for back in self.before(place):
            if (first := back - hours) > 0:
                pairs = zip(logs[first - 1 : first + 2], logs[back - 1 : back + 2], strict=False)
                found.append([y - x for x, y in pairs if x is not None and y is not None])
        return _ends(found)

    def seen_before(self, place: int, off: float, least: float, common: Mapping[int, float] | None = None) -> bool:
        """Whether it was as far off, to the same side, at this hour of other days; `least` is what is far at all.

        With what all tables do in common taken out of `off`, only days of which that is known count.
        """
        side = 1 if off > 0 else -1
        now = side * (self.log(place) - self.level(place))
        far = (_AS_FAR * abs(off), max(_ALSO_FAR * abs(off), least), now - _AS_HIGH)
        if common is None:
            return self._happens(place, lambda at: self._was_off(at, side, far, 0.0))
        return self._happens(place, lambda at: at in common and self._was_off(at, side, far, common[at]))

    def changed_before(self, place: int, hours: int, change: float, least: float) -> bool:
        """The same of a change within so many hours."""
        logs, far = self.logs, _AS_FAR * abs(change)
        side = 1 if change > 0 else -1

        def changed(at: int) -> bool:
            x, y = (logs[at - hours], logs[at]) if at >= hours else (None, None)
            if x is None or y is None or side * (y - x) < far:
                return False
            now, before = self.off(at), self.off(at - hours)  # what it does every Monday is no precedent
            return now is not None and before is not None and side * (now - before) >= least

        return self._happens(place, changed)

    def _happens(self, place: int, did: Callable[[int], bool]) -> bool:
        """Whether something happened at or beside this hour of other days often enough to be usual.

        About a month ago (month ends), or on four days of the last weeks that do not follow one another (batches that
        come now at two, now at four o'clock).
        """
        days, last = 0, -2
        first = self.begins + WEEKS_KNOWN * WEEK
        for back in range(1, self.settings.weeks * 7 + 1):
            at = place - back * DAY
            if at < first:
                break
            if (back in A_MONTH_AGO or back != last + 1) and (did(at - 1) or did(at) or did(at + 1)):
                days, last = days + 1, back
                if back in A_MONTH_AGO or days >= _SEPARATE_DAYS:
                    return True
        return False

    def _was_off(self, at: int, side: int, far: tuple[float, float, float], common: float) -> bool:
        """Return whether a value was far off, or off in the same direction as the evaluated one."""
        if self.logs[at] is None or (off := self.off(at)) is None:
            return False
        off = side * (off - common)
        if off >= far[0]:
            return True
        x = self._relative(at)[at] if off >= far[1] else None
        return x is not None and side * x > far[2]


def _forget(by_day: dict[int, Any], first: int) -> None:
    """Remove what is of earlier days: they come in order, and what is over would be most of the memory."""
    for day in [day for day in by_day if day < first]:
        del by_day[day]


def _middle_of(values: Sequence[float | None]) -> tuple[float, float] | None:
    """The median, and how far the values lie apart; of many without the lowest and the highest."""
    own = sorted([x for x in values if x is not None])
    if not own:
        return None
    many = len(own)
    half, odd = divmod(many, 2)
    cut = many > _MANY
    return own[half] if odd else (own[half - 1] + own[half]) / 2, own[-1 - cut] - own[cut]


def _ends(groups: Iterable[Sequence[float]]) -> tuple[float, float] | None:
    """The lowest and the highest; with many groups the second lowest and highest of them."""
    known = [group for group in groups if group]
    if len(known) < 2:  # noqa: PLR2004 - one week may be the bad one
        return None
    cut = len(known) > _MANY
    return sorted(map(min, known))[cut], sorted(map(max, known))[-1 - cut]


def median_of(ascending: Sequence[float]) -> float:
    """The median of sorted values."""
    half, odd = divmod(len(ascending), 2)
    return ascending[half] if odd else (ascending[half - 1] + ascending[half]) / 2
