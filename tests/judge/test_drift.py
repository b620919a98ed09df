"""Drift: a table that grows or shrinks slowly, so that no single Hour is abnormal."""

from __future__ import annotations

import math
import random

import pytest

from viplake.judge.detector.anomaly import InsufficientHistory
from viplake.judge.detector.drift import Drift, drift

DAY, WEEK = 24, 168
PLACE = 8 * WEEK


def table(a_day: float = 0.0, *, days: int = 14, noise: float = 0.1, seed: int = 1) -> list[int]:
    """Eight weeks with a working day and weekends; in the last days it moves by this logarithm a day."""
    chance, values = random.Random(seed), []
    for hour in range(PLACE):
        level = 0.4 * math.sin(math.tau * hour / DAY) - 0.8 * (hour // DAY % 7 >= 5) + chance.gauss(0, noise)
        values.append(round(1e6 * math.exp(level + a_day / DAY * max(hour - PLACE + days * DAY, 0))))
    return values


def drifted(values: list[int], bad: frozenset[int] = frozenset()) -> Drift:
    found = drift(values, PLACE, bad)
    assert isinstance(found, Drift)
    return found


@pytest.mark.parametrize("a_day", [-0.03, 0.03])
def test_three_percent_a_day_for_two_weeks_is_a_clear_drift(a_day: float) -> None:
    found = drifted(table(a_day))
    assert found.clear
    assert abs(found.moved) > math.log(1.18)
    assert (found.moved > 0) == (a_day > 0) == (found.now > found.before)


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_is_no_drift(seed: int) -> None:
    found = drifted(table(noise=0.3, seed=seed))
    assert not (found.clear and abs(found.moved) > math.log(1.18))


@pytest.mark.parametrize("factor", [0.6, 1.6, 3.0])
@pytest.mark.parametrize("noise", [0.03, 0.1, 0.2])
@pytest.mark.parametrize("days", [4.3, 6.0, 9.5, 13.0])
def test_a_change_from_one_day_to_the_next_is_no_drift(factor: float, noise: float, days: float) -> None:
    """Another rule reports it in its Hour; a second notification would be an alarm about the same change."""
    for seed in range(5):
        values = table(noise=noise, seed=seed)
        for at in range(PLACE - round(days * DAY), PLACE):
            values[at] = round(values[at] * factor)
        assert not drifted(values).clear, seed


def test_two_odd_days_are_no_drift() -> None:
    values = table()
    for at in range(PLACE - 5 * DAY, PLACE - 3 * DAY):
        values[at] *= 3
    assert abs(drifted(values).moved) < math.log(1.18)


def test_bad_hours_and_hours_without_a_volume_do_not_count_for_drift() -> None:
    values, bad = table(), frozenset(range(PLACE - 4 * DAY, PLACE - 2 * DAY))
    for at in bad:
        values[at] *= 9
    assert abs(drifted(values, bad).moved) < math.log(1.18)
    for at in range(PLACE - 7 * DAY, PLACE - 6 * DAY):
        values[at] = -1
    assert isinstance(drift(values, PLACE, bad), InsufficientHistory), "four days of the week are left"


def test_drift_needs_six_weeks() -> None:
    assert isinstance(drift(table()[-5 * WEEK :], 5 * WEEK), InsufficientHistory)
    assert isinstance(drift(table()[-6 * WEEK :], 6 * WEEK), Drift)
