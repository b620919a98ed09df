"""PURE. Whether a volume is far from what is usual at this hour of the week: seasonal median and MAD, on logarithms.

Logarithms, because half and double are equally far off. Medians, because a bad day among six weeks must not move
what is usual; the level follows the last week, so that growth is no alarm and a lasting change stops being one after
about a day and a half. The tested Hour, Hours that were not delivered whole and planned ones are never part of what is
usual. Before three weeks of history it says nothing, and says why. Figures: `docs/bench/judge.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from viplake.toml_tables import Table

WEEK: Final = 168
"""Hours."""

NORMAL: Final = 1.4826
"""Makes a MAD the standard deviation of a normal distribution (Hampel 1974)."""

_FOUR_FIFTHS: Final = 1.2816
"""Four fifths of a normal distribution lie within so many standard deviations of its middle."""

_FEWEST_RECENT: Final = 24
"""Hours of the last week that there must be to follow its level."""

_STUCK: Final = 6
"""Hours one after the other with the very same bytes: gzip alone makes two exports of a changing table differ."""


@dataclass(frozen=True, slots=True)
class AnomalySettings:
    """How far off is abnormal. Frozen before the final measurement in `docs/bench/judge.md`.

    Attributes:
        threshold: scales from the usual, at once.
        twice: scales from the usual, in two Hours one after the other.
        weeks: of the past that say what is usual.
        quiet_weeks: of history that there must be.
        floor: least scale, as a share of the volume: what never moves must not alarm for a byte.
        grain: least scale, bytes: about one record more or less, compressed.
    """

    threshold: float = 8.0
    twice: float = 6.0
    weeks: int = 6
    quiet_weeks: int = 3
    floor: float = 0.02
    grain: float = 256.0

    @classmethod
    def parse(cls, table: Table) -> AnomalySettings:
        """Read the keys of a rule's table.

        Raises:
            SettingsError: a number that cannot be, or a second threshold above the first.
        """
        own = cls()
        high = table.number("threshold", own.threshold, low=3, high=100, what="a number of scales")
        twice = table.number("twice", min(own.twice, high), low=2, high=high, what="a number of scales")
        weeks = int(table.number("weeks", own.weeks, low=3, high=26, what="a number of weeks"))
        quiet = int(table.number("quiet_weeks", own.quiet_weeks, low=2, high=weeks, what="a number of weeks"))
        floor = table.number("floor", own.floor, low=0.001, high=1, what="a share")
        grain = table.number("grain_bytes", own.grain, low=0, high=1e9, what="a number of bytes")
        return cls(high, twice, weeks, quiet, floor, grain)


KEYS: Final = ("threshold", "twice", "weeks", "quiet_weeks", "floor", "grain_bytes")
"""Of a rule's table, for `AnomalySettings.parse`."""

KEYS_OF_COUNTS: Final = KEYS[:-1]
GRAIN_OF_COUNTS: Final = 3.0
"""Records more or less that are nothing, where records are counted."""


@dataclass(frozen=True, slots=True)
class VolumeVerdict:
    """What a volume is worth.

    Attributes:
        kind: `usual`, `low`, `high`, or `stuck` (the same bytes Hour after Hour).
        value: bytes.
        usual, least, most: bytes: the middle of what is usual, and what is still no alarm.
        score: scales from the middle; negative below it.
        weeks: how many weeks back the Hours lie that it was judged on, nearest first.
    """

    kind: Literal["usual", "low", "high", "stuck"]
    value: int
    usual: int
    least: int
    most: int
    score: float
    weeks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class InsufficientHistory:
    """Why nothing can be said."""

    reason: str


@dataclass(slots=True)
class Series:
    """The volumes of one table, or of the whole export, Hour after Hour.

    Args:
        values: bytes, one an Hour, without holes; below zero where there is none.
        bad: places that say nothing of what is usual: not delivered whole, or planned.
        settings: how far off is abnormal.
        exact: the values are to the byte, so that equal ones tell something.
    """

    values: Sequence[int]
    bad: Collection[int] = frozenset()
    settings: AnomalySettings = field(default_factory=AnomalySettings)
    exact: bool = True
    _logs: list[float | None] = field(init=False)
    _off: list[float | None] = field(init=False)
    _known: set[int] = field(init=False, default_factory=set)
    _scores: dict[int, Any] = field(init=False, default_factory=dict)
    _begins: int = field(init=False)

    def __post_init__(self) -> None:
        """Take logarithms once."""
        log, bad = math.log, self.bad
        self._logs = [log(value) if value > 0 and place not in bad else None for place, value in enumerate(self.values)]
        self._off = [None] * len(self._logs)
        self._begins = next((place for place, value in enumerate(self._logs) if value is not None), len(self._logs))

    def judge(self, place: int) -> VolumeVerdict | InsufficientHistory:
        """Whether the volume at this place is usual; judged only on what came before it."""
        value = self.values[place]
        if value < 0:
            return InsufficientHistory("it has no volume in this Hour")
        measure = self._measure(place)
        if isinstance(measure, InsufficientHistory):
            return measure
        middle, scale, weeks = measure
        score = self._score(value, middle, scale)
        kind = self._kind(place, score)
        reach = self.settings.threshold * scale
        usual, least, most = (round(math.exp(x)) for x in (middle, middle - reach, middle + reach))
        return VolumeVerdict(kind, value, usual, least, most, round(score, 2), weeks)

    def _kind(self, place: int, score: float) -> Literal["usual", "low", "high", "stuck"]:
        told = self.settings
        if abs(score) >= told.threshold or (abs(score) >= told.twice and self._ran_before(place, score)):
            return "low" if score < 0 else "high"
        return "stuck" if self.exact and self._is_stuck(place) else "usual"

    def _ran_before(self, place: int, score: float) -> bool:
        """Whether the Hour before was as far off, to the same side."""
        before = place - 1
        if before < 0 or self.values[before] < 0 or before in self.bad:
            return False
        measure = self._measure(before)
        if isinstance(measure, InsufficientHistory):
            return False
        other = self._score(self.values[before], measure[0], measure[1])
        return abs(other) >= self.settings.twice and (other < 0) == (score < 0)

    @staticmethod
    def _score(value: int, middle: float, scale: float) -> float:
        return (math.log(value) - middle) / scale if value > 0 else -1e6

    def _is_stuck(self, place: int) -> bool:
        """The same bytes as in the Hours before, where such a run has never been seen."""
        value = self.values[place]
        if place < WEEK or any(self.values[place - back] != value for back in range(1, _STUCK)):
            return False
        start = place - _STUCK + 1
        while start > 0 and self.values[start - 1] == value:
            start -= 1
        past = [x for x in self.values[max(0, start - self.settings.weeks * WEEK) : start] if x >= 0]
        same = sum(one == other for one, other in pairwise(past))
        return len(past) > WEEK and same / len(past) < 0.01  # noqa: PLR2004 - a table that hardly ever repeats itself

    # -- what is usual ---------------------------------------------------------------------------------------

    def _measure(self, place: int) -> tuple[float, float, tuple[int, ...]] | InsufficientHistory:
        """The middle and the scale at a place, and the weeks that they come from."""
        if place not in self._scores:
            self._scores[place] = self._measured(place)
        measured: tuple[float, float, tuple[int, ...]] | InsufficientHistory = self._scores[place]
        return measured

    def _measured(self, place: int) -> tuple[float, float, tuple[int, ...]] | InsufficientHistory:
        told = self.settings
        if place - self._begins < told.quiet_weeks * WEEK:
            have = max(place - self._begins, 0) // 24
            return InsufficientHistory(f"its history has {have} days, and {told.quiet_weeks * 7} are needed")
        weeks, around = self._around(place)
        if len(weeks) < told.quiet_weeks:
            return InsufficientHistory(f"only {len(weeks)} weeks have a volume at this hour of the week")
        middle = _median(around)
        level, spread = self._recent(place)
        if spread is None:
            spread = _spread(around, middle)
        grain = told.grain * math.exp(-middle - level)
        return middle + level, max(told.floor, grain, spread), weeks

    def _around(self, place: int) -> tuple[tuple[int, ...], list[float]]:
        """The weeks that have a volume at this hour of the week or right beside it, and these, ascending."""
        weeks, found = [], []
        logs = self._logs
        for week in range(1, self.settings.weeks + 1):
            at = place - week * WEEK
            if at < 0:
                break
            values = [value for value in logs[max(at - 1, 0) : at + 2] if value is not None]
            if values:
                weeks.append(week)
                found += values
        found.sort()
        return tuple(weeks), found

    def _recent(self, place: int) -> tuple[float, float | None]:
        """How the last week lies against what was usual in it, and its spread; 0 and None with too few Hours."""
        first = max(place - WEEK, 0)
        for at in range(first, place):
            if at not in self._known:
                self._known.add(at)
                self._off[at] = self._distance(at)
        off = [value for value in self._off[first:place] if value is not None]
        if len(off) < _FEWEST_RECENT:
            return 0.0, None
        off.sort()
        level = _median(off)
        return level, _spread(off, level)

    def _distance(self, place: int) -> float | None:
        """How far a volume lay from what was usual by the weeks before it; None where one of them is not known."""
        value = self._logs[place]
        around = self._around(place)[1] if value is not None else None
        return value - _median(around) if value is not None and around else None


def _median(ascending: Sequence[float]) -> float:
    half, odd = divmod(len(ascending), 2)
    return ascending[half] if odd else (ascending[half - 1] + ascending[half]) / 2


def _spread(values: Sequence[float], middle: float) -> float:
    """The standard deviation that they would have if they were normal, by their median and four fifths of them.

    Volumes that come in few sizes have a MAD of 0 however far apart the sizes are; four fifths of them do not.
    """
    off = sorted([abs(value - middle) for value in values])
    return max(NORMAL * _median(off), off[(4 * len(off)) // 5] / _FOUR_FIFTHS)
