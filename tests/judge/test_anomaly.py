"""Volumes against what is usual: the same hour of the weeks before, and the last good Hour."""

from __future__ import annotations

import math
import random
from itertools import accumulate
from typing import TYPE_CHECKING

import pytest

from viplake.errors import SettingsError
from viplake.judge.detector.anomaly import (
    ADOPTED,
    InsufficientHistory,
    Series,
    VolumeVerdict,
    shared_moves,
    with_month_before,
)
from viplake.judge.detector.usual import DAY, GRAIN_OF_COUNTS, WEEK, AnomalySettings, UsualPast
from viplake.judge.rules.catalogue import RuleSettings

if TYPE_CHECKING:
    from collections.abc import Callable

COUNTS = AnomalySettings(grain=GRAIN_OF_COUNTS)
PAUSE = 6


def weekly(weeks: int, *, seed: int = 1, noise: float = 0.03) -> list[int]:
    """Busy days, quiet nights, quieter weekends."""
    chance = random.Random(seed)
    return [
        round(
            1e6 * math.exp(0.4 * math.sin(math.tau * hour / 24) - 0.5 * (hour // 24 % 7 >= 5) + chance.gauss(0, noise))
        )
        for hour in range(weeks * WEEK)
    ]


def by_day(values: list[int]) -> list[int]:
    """The sum of the last 24 Hours, as an hourly export with a look-back of one day carries it."""
    sums = [0, *accumulate([*values[WEEK - DAY : WEEK], *values])]
    return [sums[end] - sums[end - DAY] for end in range(DAY + 1, len(values) + DAY + 1)]


def by_hour(values: list[int]) -> list[int]:
    return values


def kind(verdict: VolumeVerdict | InsufficientHistory) -> str:
    return verdict.kind if isinstance(verdict, VolumeVerdict) else "silent"


def counted(values: list[int]) -> Series:
    return Series(values, settings=COUNTS, exact=False, counted=True)


@pytest.mark.parametrize("form", [by_hour, by_day])
@pytest.mark.parametrize("weeks", [2, 7])
def test_what_is_kept_by_day_is_what_each_hour_gives_from_scratch(
    form: Callable[[list[int]], list[int]], weeks: int
) -> None:
    """With a lasting change, a hole and bad Hours: to the last bit, and without a look at later Hours."""
    values = form(weekly(weeks, seed=weeks))
    first = len(values) - WEEK
    values[first + 20 :] = [2 * value for value in values[first + 20 :]]
    values[first + 70 : first + 75] = [-1] * 5
    bad = frozenset({first - 30, first + 12, first + 90})
    whole, past = Series(values, bad), UsualPast(values, bad, AnomalySettings(), counted=False, phase=0)
    for place in range(first, len(values), 7):
        begun, alone = values[: place + 1], UsualPast(values, bad, AnomalySettings(), counted=False, phase=0)
        assert past.off(place) == alone.off(place)
        assert (past.level(place), past.middle(place)) == (alone.level(place), alone.middle(place))
        if values[place] >= 0:
            walked = Series(begun, bad)
            walked.judge(first)
            assert whole.judge(place) == walked.judge(place)


def alarms(series: Series, first: int = 3 * WEEK) -> list[int]:
    """The places at which an alarm begins: none within six good Hours of the one before."""
    found, last = [], -math.inf
    for place in range(first, len(series.values)):
        if kind(series.judge(place)) in {"low", "high"}:
            if place - last > PAUSE:
                found.append(place)
            last = place
    return found


@pytest.mark.parametrize("form", [by_hour, by_day])
def test_a_quiet_series_raises_no_alarm(form: Callable[[list[int]], list[int]]) -> None:
    assert alarms(Series(form(weekly(10)))) == []


@pytest.mark.parametrize("form", [by_hour, by_day])
@pytest.mark.parametrize(("factor", "expected"), [(0.5, "low"), (2, "high"), (0, "low"), (1.05, "usual")])
def test_half_double_and_nothing_are_found_at_once(
    factor: float, expected: str, form: Callable[[list[int]], list[int]]
) -> None:
    values = form(weekly(6))[:-12]
    values[-1] = round(values[-1] * factor)
    verdict = Series(values).judge(len(values) - 1)
    assert isinstance(verdict, VolumeVerdict)
    assert verdict.kind == expected
    assert verdict.least < verdict.usual < verdict.most
    assert verdict.weeks == (1, 2, 3, 4, 5)
    assert (verdict.least <= verdict.value <= verdict.most) == (expected == "usual")


@pytest.mark.parametrize("size", [2e4, 2e5, 2e6, 2e7])
@pytest.mark.parametrize("form", [by_hour, by_day])
def test_nothing_is_found_in_the_first_weeks_of_a_table_of_any_size(
    form: Callable[[list[int]], list[int]], size: float
) -> None:
    """A fall to nothing is as clear in a small table as in a large one, unless it holds but a few records."""
    values = form([round(value * size / 1e6) for value in weekly(2)])
    values[-6:] = [0] * 6
    series = Series(values)
    assert "low" in {kind(series.judge(place)) for place in range(len(values) - 6, len(values))}


def test_rolling_sum_that_loses_30_percent_is_found_where_hours_vary_by_40_percent() -> None:
    values = by_day(weekly(8, noise=0.4))
    values[-6:] = [round(value * 0.7) for value in values[-6:]]
    verdict = Series(values).judge(len(values) - 6)
    assert isinstance(verdict, VolumeVerdict)
    assert (verdict.kind, verdict.view, verdict.hours) == ("low", "jump", 1)


def test_half_of_a_noisy_table_is_found_within_a_day() -> None:
    values = weekly(8, noise=0.15)
    values[-24:] = [value // 2 for value in values[-24:]]
    series = Series(values)
    verdicts = [series.judge(place) for place in range(len(values) - 24, len(values))]
    [first, *_] = [v for v in verdicts if isinstance(v, VolumeVerdict) and v.kind != "usual"]
    assert (first.kind, first.view) == ("low", "run")
    assert first.value < first.least


def test_every_alarm_is_outside_its_range_and_every_usual_value_inside() -> None:
    chance = random.Random(8)
    for noise in (0.02, 0.1, 0.3):
        values = weekly(8, noise=noise, seed=5)
        for form in (by_hour(values), by_day(values)):
            wrong = [
                round(x * chance.choice((1, 1, 1, 1, 0.5, 1.6))) if p > 5 * WEEK else x for p, x in enumerate(form)
            ]
            series = Series(wrong, exact=False)
            verdicts = [series.judge(place) for place in range(5 * WEEK, len(wrong))]
            for verdict in verdicts:
                assert isinstance(verdict, VolumeVerdict)
                assert (verdict.least <= verdict.value <= verdict.most) == (verdict.kind == "usual")
                assert verdict.kind != "low" or verdict.value < verdict.least
                assert verdict.kind != "high" or verdict.value > verdict.most


# -- young series ---------------------------------------------------------------------------------------------


def test_before_three_days_there_is_no_verdict_and_a_reason() -> None:
    values = weekly(3)
    assert Series(values).judge(2 * DAY) == InsufficientHistory("its history has 2 days, and 3 are needed")
    assert Series([5]).judge(0) == InsufficientHistory("its history has 0 days, and 3 are needed")
    assert Series([-1]).judge(0) == InsufficientHistory("it has no volume in this Hour")


@pytest.mark.parametrize("form", [by_hour, by_day])
@pytest.mark.parametrize("day", [5, 6, 7, 9, 12, 16, 20])
def test_from_day_4_on_halved_and_empty_volumes_are_found(day: int, form: Callable[[list[int]], list[int]]) -> None:
    values = form([*weekly(1), *weekly(3)])[WEEK:]
    for factor in (0.5, 0):
        wrong = [round(value * factor) if place >= day * DAY + 9 else value for place, value in enumerate(values)]
        found = [kind(Series(wrong[: place + 1]).judge(place)) for place in range(day * DAY + 9, day * DAY + 15)]
        assert "low" in found, (day, factor)


def test_H12_first_three_weeks_of_office_hours_raise_no_alarm() -> None:
    chance = random.Random(2)
    office = [
        round(max(chance.gauss(200, 14), 0)) if hour // 24 % 7 < 5 and 8 <= hour % 24 < 18 else 0
        for hour in range(4 * WEEK)
    ]
    assert alarms(counted(office), 0) == []
    assert alarms(Series([30 + 100 * count for count in office]), 0) == []


def test_a_table_that_began_late_has_a_history_of_its_own() -> None:
    values = [-1] * (5 * WEEK) + weekly(2)[: 2 * DAY]
    assert isinstance(Series(values).judge(len(values) - 1), InsufficientHistory)


# -- what says what is usual ----------------------------------------------------------------------------------


def test_the_tested_hour_is_no_part_of_what_is_usual() -> None:
    values = weekly(6)
    before = Series([*values[:-1], values[-1] * 2000]).judge(len(values) - 1)
    after = Series([*values[:-1], values[-1] * 1000]).judge(len(values) - 1)
    assert isinstance(before, VolumeVerdict)
    assert isinstance(after, VolumeVerdict)
    assert (before.usual, before.least, before.most) == (after.usual, after.least, after.most)


def test_hours_known_as_bad_are_no_part_of_what_is_usual() -> None:
    values = weekly(6)
    spoilt = frozenset(range(2 * WEEK, 5 * WEEK))
    wrong = [value * 50 if place in spoilt else value for place, value in enumerate(values)]
    assert kind(Series(wrong, spoilt, AnomalySettings(quiet_weeks=2)).judge(len(values) - 1)) == "usual"


def wandering(seed: int, *, weeks: int = 16) -> list[int]:
    """Sums of 24 Hours that vary by 40 %, each of which is like the one before."""
    chance, memory, off, made = random.Random(seed), 0.7, 0.0, []
    for value in weekly(weeks, noise=0.0):
        off = memory * off + chance.gauss(0, 0.4) * math.sqrt(1 - memory**2)
        made.append(round(value * math.exp(off)))
    return by_day(made)


def test_a_steady_week_of_sums_of_a_day_is_no_reason_for_alarms_in_the_next() -> None:
    """A week has but seven sums that do not overlap: now and then they lie close together by chance."""
    assert [seed for seed in range(24) if alarms(Series(wandering(seed)), 9 * WEEK)] == []


def test_growth_is_no_alarm() -> None:
    values = [round(value * 1.01 ** (hour / 24)) for hour, value in enumerate(weekly(12))]
    assert alarms(Series(values), 4 * WEEK) == []


def test_a_common_change_of_all_tables_is_no_alarm_of_one_table() -> None:
    together = [math.exp(random.Random(place).gauss(0, 0.2)) for place in range(8 * WEEK)]
    tables = [[round(x * y) for x, y in zip(weekly(8, seed=n), together, strict=True)] for n in range(20)]
    tables[0][-12:] = [round(value * 0.6) for value in tables[0][-12:]]
    alone = Series(tables[0]).judge(8 * WEEK - 1)
    series = [Series(values) for values in tables]
    shared = shared_moves(series, 8 * WEEK - 1)
    for one in series:
        one.take_out(shared)
    assert kind(alone) == "usual"
    assert [kind(one.judge(8 * WEEK - 1)) for one in series[:3]] == ["low", "usual", "usual"]


def test_a_month_end_is_no_alarm_where_the_common_change_is_taken_out() -> None:
    """It is taken out of the month before as well, once something is abnormal without that."""
    ends, last = (49, 79), 12 * WEEK
    together = [math.exp(random.Random(place // 5).gauss(0, 0.2)) for place in range(last)]
    tables = [[round(x * y) for x, y in zip(weekly(12, seed=n), together, strict=True)] for n in range(20)]
    for table in tables[:3]:
        for hour in (hour for end in ends for hour in range(end * DAY, end * DAY + DAY)):
            table[hour] *= 3
    of_second = range(ends[1] * DAY, ends[1] * DAY + DAY)
    series = [Series(values) for values in tables]
    shared = shared_moves(series, of_second[0])
    found = []
    for known in (shared, with_month_before(shared, series, of_second[0])):
        for one in series:
            one.take_out(known)
        found.append([kind(one.judge(hour)) for one in series[:3] for hour in of_second])
        assert [one.needs_month for one in series] == [True] * 3 + [False] * 17 or known is not shared
    assert "high" in found[0]
    assert found[1] == ["usual"] * 3 * DAY


def test_where_most_tables_lose_half_each_of_them_is_low() -> None:
    tables = [weekly(8, seed=n) for n in range(20)]
    for values in tables[:15]:
        values[-1] //= 2
    series = [Series(values) for values in tables]
    shared = shared_moves(series, 8 * WEEK - 1)
    for one in series:
        one.take_out(shared)
    assert [kind(one.judge(8 * WEEK - 1)) for one in series] == ["low"] * 15 + ["usual"] * 5


# -- a lasting change -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [by_hour, by_day])
@pytest.mark.parametrize("factor", [0.6, 1.58, 3])
@pytest.mark.parametrize("noise", [0.01, 0.03, 0.1])
def test_H8_a_lasting_change_is_one_alarm_for_half_a_week_and_then_the_new_usual(
    form: Callable[[list[int]], list[int]], factor: float, noise: float
) -> None:
    for seed in range(3):
        changed = 6 * WEEK + 37 * seed
        values = form(weekly(12, noise=noise, seed=seed))
        series = Series([round(v * factor) if p >= changed else v for p, v in enumerate(values)])
        [begin] = alarms(series, 4 * WEEK)
        assert changed <= begin < changed + DAY
        odd = [place for place in range(begin, len(values)) if kind(series.judge(place)) != "usual"]
        assert odd[-1] <= begin + ADOPTED + PAUSE


def test_H8_flat_series_that_trebles_raises_one_alarm() -> None:
    chance = random.Random(3)
    values = [
        round(1e6 * (3 if hour >= 6 * WEEK else 1) * math.exp(chance.gauss(0, 0.02))) for hour in range(12 * WEEK)
    ]
    assert alarms(Series(values)) == [6 * WEEK]


def test_a_verdict_has_the_duration_of_its_run() -> None:
    values = weekly(6)
    values[-10:] = [value * 2 for value in values[-10:]]
    verdict = Series(values).judge(len(values) - 1)
    assert isinstance(verdict, VolumeVerdict)
    assert verdict.hours == 10


# -- regular peaks and small counts ---------------------------------------------------------------------------


def noisy(shape: Callable[[int], float], *, weeks: int = 12, noise: float = 0.03) -> list[int]:
    chance = random.Random(4)
    return [round(shape(hour) * math.exp(chance.gauss(0, noise))) for hour in range(weeks * WEEK)]


def is_month_end(hour: int) -> bool:
    return hour // 24 % 30 == 29


@pytest.mark.parametrize("form", [by_hour, by_day])
@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(lambda hour: 5e6 if hour % 168 == 9 else 1e6, id="H9 Monday 09:00"),
        pytest.param(lambda hour: 3e4 if hour % 24 == 2 else 1e4, id="H9 daily at 02:00"),
        pytest.param(lambda hour: 5e6 if (hour + (hour >= 7 * WEEK)) % 24 in {9, 10, 11} else 1e6, id="H15 peak moves"),
        pytest.param(
            lambda hour: 5e6 if (hour + (hour >= 7 * WEEK)) % 24 in range(8, 18) and hour // 24 % 7 < 5 else 1e5,
            id="H15 office hours move",
        ),
    ],
)
def test_regular_peaks_are_no_alarm(shape: Callable[[int], float], form: Callable[[list[int]], list[int]]) -> None:
    assert alarms(Series(form(noisy(shape)))) == []


def test_month_end_is_no_alarm_once_one_was_seen() -> None:
    whole = noisy(lambda hour: 3e6 if is_month_end(hour) else 1e6)
    once = noisy(lambda hour: 3e6 if is_month_end(hour) and hour % 24 == 20 else 1e6)
    assert alarms(Series(whole), 7 * WEEK) == []
    assert alarms(Series(once), 7 * WEEK) == []


@pytest.mark.parametrize("days", [28, 30, 33])
def test_a_month_end_is_no_alarm_however_many_days_its_working_days_are_apart(days: int) -> None:
    ends = (49, 49 + days)
    values = noisy(lambda hour: 3e6 if hour // 24 in ends else 1e6, weeks=13)
    assert alarms(Series(values), (ends[1] - 1) * DAY) == []
    assert alarms(Series(values), (ends[0] - 1) * DAY) != []


def jumps(places: dict[int, float], *, weeks: int = 8) -> list[int]:
    """Sums of 24 Hours of a table in which some Hours have many times as much."""
    values = weekly(weeks)
    for place, factor in places.items():
        values[place] = round(values[place] * factor)
    return by_day(values)


def test_a_sum_that_jumps_back_to_the_usual_is_no_alarm() -> None:
    """It had become less too slowly for an alarm, then as before at once."""
    values, begins = by_day(weekly(8)), 7 * WEEK + 30
    for step in range(12):
        values[begins + step] = round(values[begins + step] * 0.94**step)
    series = Series(values, settings=AnomalySettings(threshold=60, twice=60))
    assert kind(series.judge(begins + 11)) == "usual"
    assert kind(series.judge(begins + 12)) == "usual"


def test_a_peak_that_leaves_the_sum_of_a_day_is_no_second_alarm() -> None:
    place = 7 * WEEK + 30
    series = Series(jumps({place: 14.0}))
    assert alarms(series, 7 * WEEK)[:1] == [place]
    assert kind(series.judge(place + DAY)) == "usual"


def test_a_sum_that_falls_again_a_day_after_a_fault_is_an_alarm_again() -> None:
    """The end of the first fault came to the other side; it must not explain the second."""
    values, place = jumps({}), 7 * WEEK + 30
    values[place] = values[place + DAY + 1] = round(0.5 * values[place])
    series = Series(values)
    assert [kind(series.judge(at)) for at in (place, place + 1, place + DAY + 1)] == ["low", "usual", "low"]


@pytest.mark.parametrize(("factor", "expected"), [(1 / 1.35, "low"), (1.35, "usual"), (2.0, "high")])
def test_a_sum_of_24_must_rise_by_more_than_it_must_fall_because_one_busy_hour_can_add_any_amount(
    factor: float, expected: str
) -> None:
    values, place = by_day(weekly(8, noise=0.4)), 7 * WEEK + 30
    values[place] = round(values[place] * factor)
    assert kind(Series(values).judge(place)) == expected


def test_a_peak_that_does_not_come_is_low() -> None:
    values = noisy(lambda hour: 5e6 if hour % 168 == 9 else 1e6, weeks=8)
    values[7 * WEEK + 9] = 300_000
    assert kind(Series(values).judge(7 * WEEK + 9)) == "low"


def poisson(chance: random.Random, mean: float) -> int:
    if mean > 100:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), chance.random(), 0
    while product > limit:
        product *= chance.random()
        count += 1
    return count


_BATCHES = [random.Random(day).choice((2, 3, 4)) for day in range(17 * 7)]


@pytest.mark.parametrize("form", [by_hour, by_day])
@pytest.mark.parametrize(
    "count",
    [
        pytest.param(lambda _, chance: chance.choice((0, 0, 0, 1, 2, 3)), id="H10 half zeros"),
        pytest.param(lambda _, chance: chance.randint(0, 6), id="0 to 6"),
        pytest.param(lambda _, chance: chance.randint(1, 20) if chance.random() < 0.1 else 0, id="90 % zeros"),
        pytest.param(
            lambda hour, chance: poisson(chance, 20) if hour // 24 % 7 < 5 and 8 <= hour % 24 < 18 else 0,
            id="office hours",
        ),
        pytest.param(lambda hour, chance: poisson(chance, 30 if hour // 24 % 7 < 5 else 1), id="weekends"),
        pytest.param(lambda hour, chance: poisson(chance, 500) if hour % 24 == 2 else 0, id="daily batch"),
        pytest.param(
            lambda hour, chance: poisson(chance, 500) if hour % 24 == _BATCHES[hour // 24] else 0,
            id="batch at 2, 3 or 4",
        ),
        pytest.param(lambda hour, chance: poisson(chance, 500) if hour % 168 == 50 else 0, id="weekly batch"),
        pytest.param(lambda _, chance: poisson(chance, 20 * chance.gammavariate(2, 0.5)), id="negative binomial"),
    ],
)
def test_small_counts_raise_at_most_one_alarm_in_ten_weeks(
    count: Callable[[int, random.Random], int], form: Callable[[list[int]], list[int]]
) -> None:
    chance = random.Random(6)
    counts = [count(hour, chance) for hour in range(17 * WEEK)]
    assert len(alarms(counted(form(counts)), 7 * WEEK)) <= 1
    assert len(alarms(Series([30 + 100 * n for n in form(counts)]), 7 * WEEK)) <= 1


def test_a_table_of_a_hundred_records_an_hour_that_loses_all_of_them_is_low() -> None:
    chance = random.Random(7)
    values = [poisson(chance, 100) for _ in range(6 * WEEK)]
    values[-2:] = [0, 0]
    verdict = counted(values).judge(len(values) - 1)
    assert isinstance(verdict, VolumeVerdict)
    assert verdict.kind == "low"
    assert 90 < verdict.usual < 110


# -- other kinds ----------------------------------------------------------------------------------------------


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
    assert alarms(Series(values), 4 * WEEK) == []


def test_a_record_more_or_less_of_a_tiny_table_is_no_alarm() -> None:
    values = [300] * (6 * WEEK)
    assert kind(Series([*values, 520]).judge(len(values))) == "usual"
    assert kind(Series([*values, 520], settings=AnomalySettings(grain=1)).judge(len(values))) == "high"


def test_two_hours_nearly_far_enough_off_are_an_alarm_together() -> None:
    settings = AnomalySettings()
    values = [1_000_000] * (6 * WEEK)  # so the floor is the scale
    off = math.exp(7 * settings.floor)
    once = [*values[:-1], round(values[-1] * off)]
    twice = [*values[:-2], round(values[-2] * off), round(values[-1] * off)]
    apart = [*values[:-2], round(values[-2] / off), round(values[-1] * off)]
    assert [kind(Series(v).judge(len(v) - 1)) for v in (once, twice, apart)] == ["usual", "high", "usual"]


@pytest.mark.parametrize("value", [{"threshold": 0}, {"threshold": 5, "twice": 6}, {"weeks": 2}, {"floor": "2 %"}])
def test_thresholds_that_cannot_be_are_refused(value: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"rules\.volume_table"):
        RuleSettings.parse({"volume_table": value})
