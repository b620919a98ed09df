"""Other detectors for `bench/judge.py recall`: how far off each of them finds a volume, in its own standard deviations.

Each gets what viplake gets: the same series, the same holidays (not judged), and the logarithms of volumes where it
forecasts. `recall --development` finds the limit of each: the lowest that gives at most 0.1 false alarms a week a table
on the development series of the same kind and form. So each has the limit that suits it best; viplake has one for all.
STL and Prophet learn from eight weeks, anew on each Monday, and are left out where they are not installed.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import statistics
from typing import TYPE_CHECKING

from viplake.judge.detector.usual import DAY, WEEK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.judge_recall import Table

GRAIN = 256.0
LEARNT = 8 * WEEK
AGAIN = WEEK
"""Hours from one fit to the next."""

Scores = list[float]


def seasonal_naive(table: Table, places: range) -> Scores:
    """How far from a week ago, in standard deviations of the last three weeks' differences."""
    return [_beyond(table, place, [place - WEEK]) for place in places]


def elementary(table: Table, places: range) -> Scores:
    """The z-score against the same hour of the 14 days before, as Elementary's volume test with its defaults."""
    return [_beyond(table, place, [place - DAY * back for back in range(1, 15)]) for place in places]


def _beyond(table: Table, place: int, before: Sequence[int]) -> float:
    values = table.values
    known = [values[at] for at in before if at >= 0 and values[at] >= 0]
    if values[place] < 0 or not known or place in table.bad:
        return 0.0
    if len(known) == 1:
        pairs = [(values[at], values[at - WEEK]) for at in range(max(place - 3 * WEEK, WEEK), place)]
        spread = statistics.pstdev([x - y for x, y in pairs if x >= 0 and y >= 0] or [0.0])
    else:
        spread = statistics.pstdev(known)
    return (values[place] - statistics.fmean(known)) / (spread or 1.0)


def stl(table: Table, places: range) -> Scores:
    """STL with a period of a week: the last trend and the last season go on; against the spread of the remainder."""
    return _forecast(table, places, _fit_stl)


def prophet(table: Table, places: range) -> Scores:
    """Prophet with daily and weekly seasons: against the spread of its residuals."""
    return _forecast(table, places, _fit_prophet)


Forecast = tuple[list[float], float]
_FITS: dict[tuple[str, int], Forecast] = {}


def _forecast(table: Table, places: range, fit: Callable[[list[float | None]], Forecast]) -> Scores:
    """Scores against the forecast of the last fit before each place; equal pasts are fitted once."""
    found = []
    for place in places:
        fitted = (place + table.phase) // AGAIN * AGAIN - table.phase
        if table.values[place] < 0 or place in table.bad or fitted < 2 * WEEK:
            found.append(0.0)
            continue
        past = [
            math.log(table.values[at] + GRAIN) if table.values[at] >= 0 and at not in table.bad else None
            for at in range(max(fitted - LEARNT, 0), fitted)
        ]
        key = fit.__name__, hash(tuple(past))
        if key not in _FITS:
            _FITS[key] = fit(past)
        ahead, spread = _FITS[key]
        found.append((math.log(table.values[place] + GRAIN) - ahead[place - fitted]) / max(spread, 0.001))
    return found


def _fit_stl(past: list[float | None]) -> Forecast:
    from statsmodels.tsa.seasonal import STL  # noqa: PLC0415 - a peer, where installed

    filled: list[float] = []
    for x in past:  # it knows no holes
        filled.append(x if x is not None else filled[-WEEK] if len(filled) >= WEEK else filled[-1] if filled else 0.0)
    found = STL(filled, period=WEEK).fit()
    trend, season = float(found.trend[-1]), list(map(float, found.seasonal[-WEEK:]))
    return [trend + x for x in season[:AGAIN]], statistics.pstdev(map(float, found.resid))


def _fit_prophet(past: list[float | None]) -> Forecast:
    import pandas as pd  # noqa: PLC0415 - a peer, where installed
    from prophet import Prophet  # noqa: PLC0415 - a peer, where installed

    logging.getLogger("cmdstanpy").setLevel(logging.ERROR)
    times = pd.date_range("2024-01-01", periods=len(past) + AGAIN, freq="h")
    model = Prophet(daily_seasonality=True, weekly_seasonality=True, yearly_seasonality=False, uncertainty_samples=0)
    model.fit(pd.DataFrame({"ds": times[: len(past)], "y": past}).dropna())
    ahead = list(map(float, model.predict(pd.DataFrame({"ds": times}))["yhat"]))
    off = [x - y for x, y in zip(past, ahead, strict=False) if x is not None]
    return ahead[len(past) :], statistics.pstdev(off)


PEERS: dict[str, tuple[Callable[[Table, range], Scores], str]] = {
    "seasonal naive": (seasonal_naive, ""),
    "like Elementary": (elementary, ""),
    "STL": (stl, "statsmodels"),
    "Prophet": (prophet, "prophet"),
}

LIMITS = (2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 30.0)

TUNED: dict[tuple[str, str], float] = {
    ("seasonal naive", "made, noise 10 %, hour"): 5.0,
    ("like Elementary", "made, noise 10 %, hour"): 6.0,
    ("STL", "made, noise 10 %, hour"): 8.0,
    ("Prophet", "made, noise 10 %, hour"): 5.0,
    ("seasonal naive", "made, noise 10 %, day"): 4.0,
    ("like Elementary", "made, noise 10 %, day"): 3.5,
    ("STL", "made, noise 10 %, day"): 10.0,
    ("Prophet", "made, noise 10 %, day"): 15.0,
    ("seasonal naive", "pedestrians, hour"): 8.0,
    ("like Elementary", "pedestrians, hour"): 8.0,
    ("STL", "pedestrians, hour"): 12.0,
    ("seasonal naive", "pedestrians, day"): 4.0,
    ("like Elementary", "pedestrians, day"): 3.5,
    ("STL", "pedestrians, day"): 10.0,
}
"""By peer, and by series and form: what `recall --development` found."""


def installed() -> dict[str, Callable[[Table, range], Scores]]:
    """The peers that can be measured here."""
    return {name: scores for name, (scores, needs) in PEERS.items() if not needs or importlib.util.find_spec(needs)}


def at_limit(scores: Callable[[Table, range], Scores], limit: float) -> Callable[[Table, range], list[int]]:
    """The alarms of a peer: -1 low, 1 high, 0 none."""

    def alarms(table: Table, places: range) -> list[int]:
        return [(score > limit) - (score < -limit) for score in scores(table, places)]

    return alarms


def tune(
    tables: Sequence[Table], scores: Callable[[Table, range], Scores], count: Callable[[Sequence[int]], int], begin: int
) -> float:
    """The lowest limit that gives at most 0.1 false alarms a week a table; the highest where none does."""
    each: list[tuple[Scores, float]] = []
    for table in tables:
        places = range(begin, len(table.values))
        each.append((scores(table, places), len(places) / WEEK))
    for limit in LIMITS:
        rates = [count([(s > limit) - (s < -limit) for s in found]) / weeks for found, weeks in each]
        if statistics.fmean(rates) <= 0.1:
            return limit
    return LIMITS[-1]
