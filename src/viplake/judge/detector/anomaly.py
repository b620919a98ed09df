"""PURE. Whether a volume is abnormal: far from what is usual, far from the last good Hour, or long a little off.

The Hours of a series are walked through in order of time, because what is abnormal depends on which Hours before were
good: a lasting change is abnormal for three and a half days, and then the new usual. For all Hours of a week the walk
begins at the same Hour, and what they are compared with as well. So every check comes to the same verdict on an Hour,
whenever it asks. Figures: `docs/bench/judge.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from viplake.judge.detector.usual import (
    A_MONTH_AGO,
    DAY,
    FEWEST,
    WEEK,
    YOUNG,
    AnomalySettings,
    UsualPast,
    median_of,
    weeks_compared,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

ADOPTED: Final = 84
"""Hours that a change lasts before it is the new usual: half a week."""

NORMAL: Final = 1.4826
"""Makes a MAD the standard deviation of a normal distribution (Hampel 1974)."""

_FOUR_FIFTHS: Final = 1.2816
"""Four fifths of a normal distribution lie within so many standard deviations of its middle."""

_WARM_UP: Final = 5
"""Days that are walked through before the week of the judged Hour: a change that lasts is adopted within four."""

_STUCK: Final = 6
"""Hours one after the other with the very same bytes: gzip alone makes two exports of a changing table differ."""

_HARDLY_EVER: Final = 0.01
"""Share of Hours with the bytes of the one before, below which such a run is none of the table's habits."""

# Chosen on the development series of bench/judge.py, never on those that it publishes.
_PAUSE: Final = 6
"""Good Hours within a run of abnormal ones that do not end it; incidents end after six, too."""

_ONGOING: Final = 0.5
"""Share of a threshold at which a run goes on: what began clearly must not flicker while it lasts."""

_BESIDE: Final = 0.5
"""Share of a threshold by which an abnormal Hour lies outside of what the weeks had at this hour and beside it."""

_SMOOTH: Final = 0.63
"""Spread of changes, beside that of volumes, below which a series is smooth: a memory of 0.8 from Hour to Hour."""

_JUMP: Final = 8.0
_JUMP_UP: Final = 12.0
_LEAST_JUMP: Final = 0.2
_LEAPS: Final = 2.5
"""Scales of its changes, logarithm, and times a large change, of a jump from the last good Hour. Upwards it takes more:
one busy Hour can add any amount to a sum of 24, but no Hour takes away more than it had."""

_LEAPS_YOUNG: Final = 1.5
"""The same in the first weeks: days of another kind make large changes that are none, and `_LEAST_YOUNG` holds too."""

_AS_MANY: Final = 0.5
"""Share by which what leaves a sum of 24 Hours may differ from what came into it a day ago: other Hours move, too."""

_BACK: Final = 0.25
"""Share of a jump within which it ends at the usual: what comes back is nothing to report."""

_CLUMP: Final = 0.25
"""How far between the smaller and the larger size, as logarithms, the least scale of a jump is that of a size. At the
smaller one, a fall to nothing would never be abnormal; at the larger one, a few records would be."""

_SLACK: Final = 1.5
_RUN: Final = 15.0
_LEAST_RUN: Final = 0.15
_MOST_AN_HOUR: Final = 6.0
"""CUSUM (Page 1954): scales that an Hour may be off for nothing, sum of the rest that is abnormal, least logarithm of
an Hour, and most that one Hour can add: a run is more than two Hours."""

_ALSO: Final = 0.25
"""Share of a jump by which others were beyond the usual, too, to be a precedent."""

_APART: Final = 0.78
"""Makes what lies between the second lowest and second highest of six values their standard deviation."""

_LEAST_YOUNG: Final = 0.45
"""Logarithm below which nothing is abnormal in a young series: a third less, or half as much again."""

_CLEARLY: Final = 2
"""Times of what was expected, or the same part of it, beyond which a volume is notified at once."""

_CLEARLY_STEADIER: Final = 0.8
"""Share of its spread below which what all tables do together is taken out of a table."""

_FEWEST_TOGETHER: Final = 10
"""Series of which the median says what all do together."""


Kind = Literal["usual", "low", "high", "stuck"]
VolumeView = Literal["", "level", "jump", "run"]


@dataclass(frozen=True, slots=True)
class VolumeVerdict:
    """What a volume is worth.

    Attributes:
        kind: `usual`, `low`, `high`, or `stuck` (the same bytes Hour after Hour).
        value: bytes.
        usual, least, most: bytes: what was expected, and what would have been no alarm in this Hour. A `usual` value
            lies within, a `low` or `high` one outside.
        score: scales from the middle; negative below it.
        weeks: how many weeks back the Hours lie that it was judged on, nearest first; empty where days were compared.
        view: what it was judged by: `level` (of the week), `jump` (from the last good Hour) or `run` (many Hours that
            are each a little off); empty where it is usual.
        hours: since the first abnormal one of the run that this one belongs to, both counted; 0 where it is usual.
    """

    kind: Kind
    value: int
    usual: int
    least: int
    most: int
    score: float
    weeks: tuple[int, ...]
    view: VolumeView = ""
    hours: int = 0

    @property
    def is_clear(self) -> bool:
        """Whether one Hour is enough to say so: it has less than half of what was expected, or more than twice that.

        Never of a run: each of its Hours is only a little off.
        """
        far = self.value * _CLEARLY < self.usual or self.value > self.usual * _CLEARLY
        return far and self.view != "run"


@dataclass(frozen=True, slots=True)
class InsufficientHistory:
    """Why nothing can be said."""

    reason: str


class _Spread(NamedTuple):
    """Of the good Hours of the last week about the usual; of their changes; whether without what all tables do.

    `leap` is the third largest of their changes.
    """

    wide: float
    step: float
    leap: float
    together: bool

    @property
    def smooth(self) -> bool:
        return self.step < _SMOOTH * self.wide


class _Range(NamedTuple):
    """What was expected and what is no alarm, as logarithms."""

    middle: float
    low: float
    high: float


@dataclass(slots=True)
class _Hour:
    """What is known of the Hour that the walk is at.

    Attributes:
        at: its place.
        off: how far it lies from the usual.
        middle: the usual; logarithm.
        scale: what it is judged by.
        spread: of the last week.
        young, unlike: see `UsualPast`.
    """

    at: int
    off: float
    middle: float
    scale: float
    spread: _Spread
    young: bool
    unlike: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """What the walk made of a place."""

    kind: Kind
    view: VolumeView
    ends: _Range
    score: float
    since: int


@dataclass(slots=True)
class _Walk:
    """What later Hours are judged on.

    Attributes:
        next: the place that comes next.
        good: the last good place and how far it was off.
        near: the last place, and whether it was high, where that one was far enough off to count twice.
        sums: the CUSUM of low and of high Hours.
        run: side, first and last place of the run of abnormal Hours that goes on.
        held: the level from one place to another: while a run goes on, and after a change was adopted.
        since: the place of the last adopted change.
        odd: abnormal places; they say nothing of the spread.
        unsure: something is abnormal of which it would be known whether it was so before, if more were taken out.
        found: what each place was found to be; one that is usual, as it was judged.
        offs: how far each place was off, as it was judged.
        days: how far the good places of each day were off, and of these the places of large volume, by day.
    """

    next: int
    good: tuple[int, float] | None = None
    near: tuple[int, bool] | None = None
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])
    run: tuple[bool, int, int] | None = None
    held: tuple[int, int, float] | None = None
    since: int = 0
    odd: set[int] = field(default_factory=set)
    unsure: bool = False
    offs: dict[int, float] = field(default_factory=dict)
    days: dict[int, tuple[list[tuple[int, float]], list[tuple[int, float]]]] = field(default_factory=dict)
    spreads: dict[int, _Spread] = field(default_factory=dict)
    found: dict[int, _Found | _Hour | InsufficientHistory] = field(default_factory=dict)


@dataclass(slots=True)
class Series:
    """The volumes of one table, or of the whole export, Hour after Hour.

    Args:
        values: bytes, one an Hour, without holes; below zero where there is none.
        bad: places that say nothing of what is usual: not delivered whole, or planned.
        settings: how far off is abnormal.
        exact: the values are to the byte, so that equal ones tell something.
        counted: the values are numbers of records, whose least spread is that of chance (Poisson).
        phase: the hour of the week of the first value; 0 is Monday 00:00 UTC.
    """

    values: Sequence[int]
    bad: Collection[int] = frozenset()
    settings: AnomalySettings = field(default_factory=AnomalySettings)
    exact: bool = True
    counted: bool = False
    phase: int = 0
    _monday: int | None = field(init=False, default=None)
    _cut: int = field(init=False, default=0)
    _past: UsualPast = field(init=False)
    _common: Mapping[int, float] = field(init=False, default_factory=dict)
    _walk: _Walk = field(init=False)
    _same: tuple[int, int] = field(init=False, default=(-1, -1))
    _unseen: dict[int, bool] = field(init=False, default_factory=dict)

    def begin(self, place: int) -> bool:
        """Go to the week of a place, as it is compared in every check; return whether that is another one.

        The values are cut to this week and those before it that it is compared with (`weeks_compared`). Places are
        counted from there in the methods below, which `judge` calls.
        """
        monday = place - (place + self.phase) % WEEK
        if monday == self._monday:
            return False
        cut, end = max(monday - weeks_compared(self.settings) * WEEK, 0), monday + WEEK
        self._monday, self._cut, self._common = monday, cut, {}
        self._same, self._unseen = (-1, -1), {}
        bad = {at - cut for at in self.bad if cut <= at < end}
        self._past = UsualPast(self.values[cut:end], bad, self.settings, self.counted, (self.phase + cut) % WEEK)
        self._walk = _Walk(self._warm_up)
        return True

    @property
    def _warm_up(self) -> int:
        """The place from which on Hours are walked through to judge those of its week."""
        monday = 0 if self._monday is None else self._monday
        return max(monday - self._cut - _WARM_UP * DAY, 0)

    def judge(self, place: int) -> VolumeVerdict | InsufficientHistory:
        """Return the verdict on the value at an index, compared only with earlier values."""
        if self.values[place] < 0:
            return InsufficientHistory("it has no volume in this Hour")
        self.begin(place)
        return self._judge(place - self._cut)

    def _judge(self, place: int) -> VolumeVerdict | InsufficientHistory:
        past, value = self._past, self._past.values[place]
        while self._walk.next <= place:
            self._step(self._walk.next)
            self._walk.next += 1
        found = self._walk.found[place]
        if isinstance(found, InsufficientHistory):
            return found
        if isinstance(found, _Hour):
            reach = self.settings.threshold * found.scale
            ends = _Range(found.middle, found.middle - reach, found.middle + reach)
            found = _Found("usual", "", ends, found.off / found.scale, place)
        usual, least, most = (max(round(math.exp(min(x, 99)) - past.grain), 0) for x in found.ends)
        stuck = found.kind == "usual" and self.exact and self._is_stuck(place)
        known = range(1, self.settings.weeks + 1) if past.by_weeks(place) else ()
        weeks = tuple(week for week in known if place >= week * WEEK and past.logs[place - week * WEEK] is not None)
        if not found.view:  # others of the weeks had as much at this hour or beside it
            least, most = min(least, value), max(most, value)
        hours = place - found.since + 1 if found.view else 0
        kind = "stuck" if stuck else found.kind
        return VolumeVerdict(kind, value, usual, least, most, round(found.score, 2), weeks, found.view, hours)

    @property
    def walked(self) -> range:
        """The places of its week, and those before that say how much it varies."""
        return range(self._cut + max(self._warm_up - WEEK, 0), self._cut + len(self._past.values))

    @property
    def month_before(self) -> range:
        """The places that are a precedent for its week, if they are those of a month end."""
        monday = (self._monday or 0) - self._cut
        first, end = monday - (A_MONTH_AGO[-1] * DAY + 1), monday + WEEK - A_MONTH_AGO[0] * DAY + 1
        return range(self._cut + max(first, 0), self._cut + max(end, 0))

    def off(self, place: int) -> float | None:
        """How far a volume lies from the usual of its week, as a logarithm; None where that is not known."""
        at = place - self._cut
        return self._past.off(at) if 0 <= at < len(self._past.values) else None

    @property
    def needs_month(self) -> bool:
        """Whether something is abnormal that may be usual once it is known what all did together a month before."""
        return self._walk.unsure

    def take_out(self, shared: Shared) -> None:
        """Take what all tables do together in its week out of this one, where that makes it steadier."""
        self._common = {place - self._cut: move for place, move in shared.moves.items()}
        self._walk = _Walk(self._warm_up)

    # -- the walk --------------------------------------------------------------------------------------------

    def _step(self, at: int) -> None:
        """Judge the next place and remember what later ones are judged on."""
        walk, past = self._walk, self._past
        if past.values[at] < 0:
            return
        if walk.run is not None:
            self._end_run(at)
        hour = self._hour(at)
        if isinstance(hour, InsufficientHistory):
            walk.found[at] = hour
            return
        found = self._by_level(hour) or self._by_jump(hour) or self._by_run(hour)
        if past.logs[at] is not None:
            self._remember(hour, found)
        walk.found[at] = hour if found is None else found

    def _hour(self, at: int) -> _Hour | InsufficientHistory:
        walk, past = self._walk, self._past
        age = at - past.begins
        if age < YOUNG:
            return InsufficientHistory(f"its history has {max(age, 0) // DAY} days, and {YOUNG // DAY} are needed")
        held, weekly = walk.held, past.by_weeks(at)
        off = past.off(at, held[2] if held is not None and held[0] <= at < held[1] and weekly else None)
        if off is None:
            return InsufficientHistory("no week before has a volume at this hour")
        spread = self._spread(past.day(at))
        if spread is None:
            return InsufficientHistory("too few Hours of the last week have a volume")
        unlike = not weekly and past.is_unlike(at)
        if walk.good is not None and not past.alike(walk.good[0], at):
            walk.good = None  # it was compared with other Hours: what it was off by says nothing here
        off -= self._common.get(at, 0.0) if spread.together else 0.0
        middle = past.log(at) - off
        scale = max(spread.wide, past.least(middle))
        # A week has but seven sums of 24 hours that do not overlap: they say little of how much these vary.
        if past.is_small(at) or (spread.smooth and past.is_long(at)):
            scale = max(scale, _APART * past.apart(at))
        return _Hour(at, off, middle, scale, spread, past.is_young(at), unlike)

    def _by_level(self, hour: _Hour) -> _Found | None:
        """Far from the usual at the level of the week."""
        if hour.unlike or (hour.spread.smooth and not self._past.by_weeks(hour.at)):
            return None
        reach = self.settings.threshold * hour.scale
        if self._goes_on(hour.at, hour.off):
            reach *= _ONGOING
        elif self._walk.near == (hour.at - 1, hour.off > 0):
            reach = self.settings.twice * hour.scale
        if hour.young:
            reach = max(reach, _LEAST_YOUNG)
        if abs(hour.off) < reach:
            return None
        return self._outside(hour, "level", self._level_range(hour, reach), hour.off, hour.scale)

    def _level_range(self, hour: _Hour, reach: float) -> _Range:
        level = hour.middle - (self._past.middle(hour.at) or 0.0)
        low, high = (level + x for x in self._past.beside(hour.at) or (hour.middle - level,) * 2)
        margin = _BESIDE * reach
        return _Range(hour.middle, min(hour.middle - reach, low - margin), max(hour.middle + reach, high + margin))

    def _by_jump(self, hour: _Hour) -> _Found | None:
        """Far from the last good Hour, where the table moves smoothly: rolling sums do."""
        good = self._walk.good
        if good is None or hour.at - good[0] > DAY or not (hour.spread.smooth or hour.unlike):
            return None
        hours, jump = hour.at - good[0], hour.off - good[1]
        small = min(good[1], hour.off) + _CLUMP * abs(jump)
        least = self._past.least(hour.middle + small)  # a clump of records comes and goes at once
        scale = max(hour.spread.step * math.sqrt(min(hours, 4)), least)
        leap = (_LEAPS_YOUNG if hour.young else _LEAPS) * hour.spread.leap
        reach = max((_JUMP_UP if jump > 0 else _JUMP) * scale, _LEAST_JUMP, leap)
        reach *= _ONGOING if self._goes_on(hour.at, jump) else 1
        if hour.young:
            reach = max(reach, _LEAST_YOUNG)
        if abs(jump) < reach or abs(hour.off) < _BACK * abs(jump) or self._leaves(good[0], hour.at):
            return None
        middle, margin = hour.middle + good[1], _BESIDE * reach
        from_good = self._past.log(good[0])
        low, high = (from_good + x for x in self._past.beside_change(hour.at, hours) or (middle - from_good,) * 2)
        ends = _Range(middle, min(middle - reach, low - margin), max(middle + reach, high + margin))
        return self._outside(hour, "jump", ends, jump, scale)

    def _leaves(self, first: int, at: int) -> bool:
        """Whether what came a day ago leaves a sum of 24 Hours: as many bytes, to the other side.

        The end of an abnormal stretch came to the other side, too; it says nothing of a day later.
        """
        if first < DAY or first - DAY in self._walk.odd:
            return False
        before, then, last, now = (self._past.values[place] for place in (first - DAY, at - DAY, first, at))
        if min(before, then, last, now) < 0:
            return False
        came, leaves = then - before, last - now
        return came * leaves > 0 and abs(came - leaves) <= _AS_MANY * abs(leaves)

    def _by_run(self, hour: _Hour) -> _Found | None:
        """Many Hours that are each a little off to one side, where each is a measure of its own."""
        scale = max(hour.scale, _APART * self._past.apart(hour.at))
        more = min(abs(hour.off) / scale, _MOST_AN_HOUR) - _SLACK
        if hour.unlike or hour.spread.smooth or self._walk.sums[hour.off > 0] + more < _RUN:
            return None
        reach = max(_SLACK * scale, _LEAST_YOUNG if hour.young else _LEAST_RUN)
        if abs(hour.off) < reach:
            return None
        level = hour.middle - (self._past.middle(hour.at) or 0.0)
        low, high = (level + x for x in self._past.beside(hour.at) or (hour.middle - level,) * 2)
        ends = _Range(hour.middle, min(hour.middle - reach, low), max(hour.middle + reach, high))
        return self._outside(hour, "run", ends, hour.off, scale)

    def _outside(self, hour: _Hour, view: VolumeView, ends: _Range, off: float, scale: float) -> _Found | None:
        x = self._past.log(hour.at)
        if ends.low <= x <= ends.high:
            return None
        good = self._walk.good
        if view == "jump" and good is not None:
            change = x - self._past.log(good[0])
            if self._past.changed_before(hour.at, hour.at - good[0], change, _ALSO * abs(off)):
                return None
        elif self._past.seen_before(hour.at, hour.off, 4 * hour.scale, self._common if hour.spread.together else None):
            return None
        else:
            self._walk.unsure |= hour.spread.together
        run = self._walk.run
        since = run[1] if run is not None and self._goes_on(hour.at, off) else hour.at
        return _Found("low" if off < 0 else "high", view, ends, off / scale, since)

    def _goes_on(self, at: int, off: float) -> bool:
        """Whether a run of abnormal Hours to this side goes on."""
        run = self._walk.run
        return run is not None and run[0] == (off > 0) and at - run[2] <= _PAUSE

    def _end_run(self, at: int) -> None:
        walk = self._walk
        if walk.run is not None and at - walk.run[2] > _PAUSE:
            walk.run = None
            if walk.held is not None and walk.held[0] > walk.since:
                walk.held = None

    def _remember(self, hour: _Hour, found: _Found | None) -> None:
        walk, at = self._walk, hour.at
        walk.offs[at] = hour.off + (self._common.get(at, 0.0) if hour.spread.together else 0.0)
        walk.near = (at, hour.off > 0) if abs(hour.off) >= self.settings.twice * hour.scale else None
        if not hour.unlike:
            z = hour.off / max(hour.scale, _APART * self._past.apart(at))
            for side, more in ((0, -z), (1, z)):
                grown = walk.sums[side] + min(more, _MOST_AN_HOUR) - _SLACK
                walk.sums[side] = min(max(grown, 0.0), 1.2 * _RUN) if more > 0 else 0.0
        if found is None:
            walk.good = at, hour.off
            return
        walk.odd.add(at)
        if walk.run is None or walk.run[1] != found.since:
            held = walk.held
            level = held[2] if held is not None and held[0] <= at < held[1] else self._past.level(at)
            walk.held = (at, at + WEEK, level)
        walk.run = (found.kind == "high", found.since, at)
        if at - found.since >= ADOPTED:
            self._adopt(found.since, at)

    def _adopt(self, since: int, at: int) -> None:
        """Make a change that has lasted the new usual."""
        walk, past = self._walk, self._past
        walk.since, walk.run, walk.near, walk.good, walk.sums = since, None, None, None, [0.0, 0.0]
        walk.odd = {place for place in walk.odd if place < since}
        walk.spreads.pop(past.day(at), None)
        walk.days.clear()
        places = [place for place in range(since, at + 1) if past.logs[place] is not None]
        if not past.by_weeks(since):
            walk.held = None
            past.forget_before(since)
            return
        offs = sorted(walk.offs[place] for place in places if place in walk.offs)
        level = (walk.held[2] if walk.held is not None else past.level(at)) + median_of(offs)
        walk.held = (since, since + WEEK, level)
        for place in places:
            if (off := past.off(place, level)) is not None:
                walk.offs[place] = off

    # -- how far it spreads ----------------------------------------------------------------------------------

    def _spread(self, day: int) -> _Spread | None:
        """Of the good Hours of the week before a day; None with too few of them."""
        walk = self._walk
        known = walk.spreads.get(day)
        if known is None:
            offs = self._offs(day)
            if len(offs) < FEWEST:
                return walk.spreads.get(day - 1)
            known = _Spread(*_spreads(offs), together=False)
            if self._common:
                less = _spreads([(at, off - self._common.get(at, 0.0)) for at, off in offs])
                if less[0] < _CLEARLY_STEADIER * known.wide:
                    known = _Spread(*less, together=True)
            walk.spreads[day] = known
        return known

    def _offs(self, day: int) -> list[tuple[int, float]]:
        """How far the good Hours of the week before were off; without those of small volume where there are others."""
        days, since = self._walk.days, self._walk.since
        places = self._past.week_before(day)
        for before in places:
            if before not in days:
                days[before] = self._offs_of(before)
        week = [days[before] for before in places]
        large = [item for _, found in week for item in found if item[0] >= since]
        return large if len(large) >= FEWEST else [item for found, _ in week for item in found if item[0] >= since]

    def _offs_of(self, day: int) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
        """Those of a day that is over, and those of large volume among them; kept until a change is adopted."""
        past, walk, found = self._past, self._walk, []
        for at in range(past.start(day), past.start(day + 1)):
            if past.logs[at] is not None and at not in walk.odd and not past.is_unlike(at):
                off = walk.offs.get(at)
                if off is None:
                    off = past.off(at)
                if off is not None:
                    found.append((at, off))
        return found, [item for item in found if not past.is_small(item[0])]

    def _is_stuck(self, place: int) -> bool:
        """The same bytes as in the Hours before, where such a run has never been seen."""
        values = self._past.values
        value = values[place]
        if place < WEEK or any(values[place - back] != value for back in range(1, _STUCK)):
            return False
        last, start = self._same
        if not place - _STUCK < last < place:  # else the run is the one of an Hour judged just before
            start = place - _STUCK + 1
            while start > 0 and values[start - 1] == value:
                start -= 1
        self._same = place, start
        if start not in self._unseen:
            past = [x for x in values[max(0, start - self.settings.weeks * WEEK) : start] if x >= 0]
            same = sum(one == other for one, other in pairwise(past))
            self._unseen[start] = len(past) > WEEK and same / len(past) < _HARDLY_EVER
        return self._unseen[start]


class Shared(NamedTuple):
    """What most series do together: by place, as a logarithm; `far` is what is too much to be taken out of each."""

    moves: Mapping[int, float]
    far: float


def shared_moves(series: Sequence[Series], place: int) -> Shared:
    """What most series do together at each place of a week: a quiet Friday is no news of forty tables.

    Only where ten of them are known. Where it is itself far from what they did together before this week it is left
    out: then each series is judged as it is.
    """
    for one in series:
        one.begin(place)
    walked = series[0].walked if series else range(0)
    found = _together((at, [one.off(at) for one in series]) for at in walked)
    monday = place - (place + series[0].phase) % WEEK if series else 0
    before = [shared for at, shared in found.items() if at < monday]
    far = max(_JUMP * _spread(before, 0.0), _LEAST_JUMP) if before else _LEAST_JUMP
    return Shared({at: shared for at, shared in found.items() if abs(shared) < far}, far)


def with_month_before(shared: Shared, series: Iterable[Series], place: int) -> Shared:
    """Add what they did together in the month before, where `Series.needs_month`; one series at a time is in memory."""
    places, offs = range(0), []
    for one in series:
        one.begin(place)
        places = one.month_before
        offs.append([one.off(at) for at in places])
    found = _together(zip(places, zip(*offs, strict=True), strict=True))
    return shared._replace(moves={at: x for at, x in found.items() if abs(x) < shared.far} | dict(shared.moves))


def _together(offs: Iterable[tuple[int, Sequence[float | None]]]) -> dict[int, float]:
    """The median of each place where enough is known."""
    found = {}
    for at, group in offs:
        known = sorted([off for off in group if off is not None])
        if len(known) >= _FEWEST_TOGETHER:
            found[at] = median_of(known)
    return found


def _spreads(offs: Sequence[tuple[int, float]]) -> tuple[float, float, float]:
    """The spread about the middle, that of the changes from Hour to Hour, and the third largest of these."""
    values = sorted([off for _, off in offs])
    wide = _spread(values, median_of(values))
    steps = sorted([abs(y - x) for (one, x), (other, y) in pairwise(offs) if other == one + 1])
    return (wide, spread_of(steps), steps[-3]) if len(steps) >= FEWEST else (wide, math.inf, math.inf)


def _spread(values: Sequence[float], middle: float) -> float:
    """The standard deviation that they would have if they were normal, by their median and four fifths of them.

    Volumes that come in few sizes have a MAD of 0 however far apart the sizes are; four fifths of them do not.
    """
    return spread_of(sorted([abs(value - middle) for value in values]))


def spread_of(off: Sequence[float]) -> float:
    """The standard deviation of sorted distances from a middle, robustly: see `_spread`."""
    return max(NORMAL * median_of(off), off[(4 * len(off)) // 5] / _FOUR_FIFTHS)
