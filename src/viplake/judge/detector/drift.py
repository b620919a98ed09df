"""PURE. Drift: whether a table has grown or shrunk slowly, so that no single Hour is abnormal.

Each day of the last week is compared with the same day of the two weeks before; the median of the seven says how far
the week has moved. The three weeks before say how far a day moves without drift. What changed from one day to the next
is no drift: other rules find it in its Hour, and it must not be reported again. Judged once a week, because a day more
or less changes nothing: see `docs/rules.md`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from viplake.judge.detector.anomaly import InsufficientHistory, spread_of
from viplake.judge.detector.usual import DAY, median_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_WEEK: Final = 7
_BEFORE: Final = 21
"""Days before the last week that say how far a day moves without drift."""

_FEWEST_HOURS: Final = 12
"""Of a day, to know its level."""

_FEWEST_DAYS: Final = 5
"""Of a week that must be comparable; of the three weeks before, three times as many."""

# Chosen on the development series of bench/judge.py, never on those that it publishes.
_CLEAR: Final = 2.0
"""Spreads of a day that a week must have moved: 4 standard deviations of a median of seven days."""


_SLOWLY: Final = 0.7
"""Of what a step leaves unexplained (squares), a slope may leave at most so much, or nothing says which it was."""

_SHORTEST: Final = 7
"""Days that a slope takes: it gets nothing from noise that a step does not get."""


class Drift(NamedTuple):
    """How far the level of a week lies from that of the two weeks before.

    Attributes:
        now, before: bytes of a typical Hour, in the last week and in the two weeks before.
        moved: the logarithm between them.
        clear: whether that is far more than days move by themselves, and not from one day to the next.
    """

    now: int
    before: int
    moved: float
    clear: bool


def drift(
    values: Sequence[int], place: int, bad: Collection[int] = frozenset(), grain: float = 256.0, floor: float = 0.02
) -> Drift | InsufficientHistory:
    """Compare the seven days before a place with the two weeks before them.

    Args:
        values: bytes, one an Hour; below zero where there is none.
        place: the first Hour that no longer belongs to the week.
        bad: places that say nothing.
        grain: bytes that are nothing: added before the logarithm is taken.
        floor: least spread of a day.
    """
    days = [_level(values, place - DAY * back, bad, grain) for back in range(_WEEK + _BEFORE + 2 * _WEEK, 0, -1)]
    moves = [_move(days, day) for day in range(2 * _WEEK, len(days))]
    before = sorted([move for move in moves[:_BEFORE] if move is not None])
    week = sorted([move for move in moves[_BEFORE:] if move is not None])
    if len(week) < _FEWEST_DAYS or len(before) < 3 * _FEWEST_DAYS:
        return InsufficientHistory("drift needs six weeks of volumes")
    middle, moved = median_of(before), median_of(week)
    spread = max(spread_of(sorted([abs(move - middle) for move in before])), floor)
    now = median_of(sorted([day for day in days[-_WEEK:] if day is not None]))
    size = max(round(math.exp(now) - grain), 0)
    clear = abs(moved) >= _CLEAR * spread and _is_slow(days)
    return Drift(size, max(round(math.exp(now - moved) - grain), 0), moved, clear)


def _level(values: Sequence[int], start: int, bad: Collection[int], grain: float) -> float | None:
    """The logarithm of the middle value of a day."""
    known = sorted(
        [values[at] for at in range(max(start, 0), max(start + DAY, 0)) if values[at] >= 0 and at not in bad]
    )
    return math.log(median_of(known) + grain) if len(known) >= _FEWEST_HOURS else None


def _move(days: Sequence[float | None], day: int) -> float | None:
    """How far a day lies from the same days of the two weeks before."""
    now, one, two = days[day], days[day - _WEEK], days[day - 2 * _WEEK]
    return None if now is None or one is None or two is None else now - (one + two) / 2


def _is_slow(days: Sequence[float | None]) -> bool:
    """Whether the level of the last three weeks follows a slope much better than a step at the best of places."""
    before, last = days[: -3 * _WEEK], days[-3 * _WEEK :]
    usual = [[day for day in before[weekday::_WEEK] if day is not None] for weekday in range(_WEEK)]
    known = [
        (at, day - median_of(sorted(usual[at % _WEEK])))
        for at, day in enumerate(last)
        if day is not None and usual[at % _WEEK]
    ]
    step = min((_left(known, at, at + 1) for at in range(1, len(last))), default=0.0)
    ends = [(a, b) for a in range(-1, len(last)) for b in range(a + _SHORTEST, len(last) + _WEEK)]
    slope = min((_left(known, a, b) for a, b in ends), default=0.0)
    return slope <= _SLOWLY * step


def _left(known: Sequence[tuple[int, float]], start: int, end: int) -> float:
    """The squares that the best line leaves which is level before `start`, goes evenly to `end`, and is level after."""
    shape = [min(max(at - start + 1, 0) / (end - start), 1.0) for at, _ in known]
    count, x, y = len(known), sum(shape), sum(level for _, level in known)
    xx, xy = sum(one * one for one in shape), sum(one * level for one, (_, level) in zip(shape, known, strict=True))
    below = count * xx - x * x
    rise = (count * xy - x * y) / below if below > 1e-9 else 0.0  # noqa: PLR2004 - all of it on one level
    base = (y - rise * x) / count if count else 0.0
    return sum((level - base - rise * one) ** 2 for one, (_, level) in zip(shape, known, strict=True))
