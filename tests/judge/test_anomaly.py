"""Volumes against what is usual at their hour of the week."""

from __future__ import annotations

import math
import random

import pytest

from viplake.errors import SettingsError
from viplake.judge.anomaly import KEYS, WEEK, AnomalySettings, InsufficientHistory, Series, VolumeVerdict
from viplake.toml_tables import Table


def weekly(weeks: int, *, seed: int = 1, noise: float = 0.03) -> list[int]:
    """Busy days, quiet nights, quieter weekends."""
    chance = random.Random(seed)
    return [
        round(
            1e6 * math.exp(0.4 * math.sin(math.tau * hour / 24) - 0.5 * (hour // 24 % 7 >= 5) + chance.gauss(0, noise))
        )
        for hour in range(weeks * WEEK)
    ]


def kind(verdict: VolumeVerdict | InsufficientHistory) -> str:
    return verdict.kind if isinstance(verdict, VolumeVerdict) else "silent"


def test_a_quiet_series_raises_no_alarm() -> None:
    values = weekly(10)
    series = Series(values)
    assert {kind(series.judge(place)) for place in range(3 * WEEK, len(values))} == {"usual"}


@pytest.mark.parametrize(("factor", "expected"), [(0.5, "low"), (2, "high"), (0, "low"), (1.05, "usual")])
def test_half_double_and_nothing_are_found_at_once(factor: float, expected: str) -> None:
    values = weekly(6)
    values[-1] = round(values[-1] * factor)
    verdict = Series(values).judge(len(values) - 1)
    assert isinstance(verdict, VolumeVerdict)
    assert verdict.kind == expected
    assert verdict.least < verdict.usual < verdict.most
    assert verdict.weeks == (1, 2, 3, 4, 5)
    assert (verdict.least <= verdict.value <= verdict.most) == (expected == "usual")


def test_before_three_weeks_it_is_silent_and_says_why() -> None:
    values = weekly(3)
    verdict = Series(values).judge(len(values) - 1)
    assert verdict == InsufficientHistory("its history has 20 days, and 21 are needed")
    assert Series([5]).judge(0) == InsufficientHistory("its history has 0 days, and 21 are needed")
    assert Series([-1]).judge(0) == InsufficientHistory("it has no volume in this Hour")


def test_a_table_that_began_late_has_a_history_of_its_own() -> None:
    values = [-1] * (5 * WEEK) + weekly(2)
    assert isinstance(Series(values).judge(len(values) - 1), InsufficientHistory)


def test_the_tested_hour_is_no_part_of_what_is_usual() -> None:
    values = weekly(6)
    before = Series(values).judge(len(values) - 1)
    after = Series([*values[:-1], values[-1] * 1000]).judge(len(values) - 1)
    assert isinstance(before, VolumeVerdict)
    assert isinstance(after, VolumeVerdict)
    assert (before.usual, before.least, before.most) == (after.usual, after.least, after.most)


def test_hours_known_as_bad_are_no_part_of_what_is_usual() -> None:
    values = weekly(6)
    spoilt = frozenset(range(2 * WEEK, 5 * WEEK))
    wrong = [value * 50 if place in spoilt else value for place, value in enumerate(values)]
    assert kind(Series(wrong, spoilt, AnomalySettings(quiet_weeks=2)).judge(len(values) - 1)) == "usual"


def test_growth_is_no_alarm() -> None:
    values = [round(value * 1.01 ** (hour / 24)) for hour, value in enumerate(weekly(12))]
    series = Series(values)
    assert {kind(series.judge(place)) for place in range(4 * WEEK, len(values))} == {"usual"}


def test_a_lasting_change_is_an_alarm_and_then_the_new_usual() -> None:
    values = weekly(8)
    changed = 6 * WEEK
    values = [value * 3 if place >= changed else value for place, value in enumerate(values)]
    series = Series(values)
    verdicts = [kind(series.judge(place)) for place in range(changed, changed + WEEK)]
    assert set(verdicts[:30]) == {"high"}
    assert set(verdicts[100:]) == {"usual"}


def test_the_same_bytes_hour_after_hour_are_stuck() -> None:
    values = weekly(6)
    steady = [*values[:-6], *[values[-6]] * 6]
    last = len(steady) - 1
    lenient = AnomalySettings(threshold=100, twice=100)
    assert kind(Series(steady, frozenset(), lenient).judge(last)) == "stuck"
    assert kind(Series(steady, frozenset(), lenient).judge(last - 1)) == "usual"
    assert kind(Series([1000] * len(values)).judge(last)) == "usual", "a table that never changes is not stuck"


def test_volumes_that_come_in_few_sizes_are_no_alarm() -> None:
    chance = random.Random(5)
    values = [100_000 * chance.choice((2, 2, 2, 3)) for _ in range(8 * WEEK)]
    series = Series(values)
    assert {kind(series.judge(place)) for place in range(4 * WEEK, len(values))} == {"usual"}


def test_a_record_more_or_less_of_a_tiny_table_is_no_alarm() -> None:
    values = [300] * (6 * WEEK)
    assert kind(Series([*values, 520]).judge(len(values))) == "usual"
    assert kind(Series([*values, 520], settings=AnomalySettings(grain=1)).judge(len(values))) == "high"


def test_two_hours_nearly_far_enough_off_are_an_alarm_together() -> None:
    settings = AnomalySettings()
    values = weekly(6, noise=0.0)  # so the floor is the scale
    off = math.exp(7 * settings.floor)
    once = [*values[:-1], round(values[-1] * off)]
    twice = [*values[:-2], round(values[-2] * off), round(values[-1] * off)]
    apart = [*values[:-2], round(values[-2] / off), round(values[-1] * off)]
    assert [kind(Series(v).judge(len(v) - 1)) for v in (once, twice, apart)] == ["usual", "high", "usual"]


@pytest.mark.parametrize("value", [{"threshold": 0}, {"threshold": 5, "twice": 6}, {"weeks": 2}, {"floor": "2 %"}])
def test_thresholds_that_cannot_be_are_refused(value: dict[str, object]) -> None:
    table = Table.of("rules.volume_table", value)
    table.only(KEYS)
    with pytest.raises(SettingsError, match=r"rules\.volume_table"):
        AnomalySettings.parse(table)
