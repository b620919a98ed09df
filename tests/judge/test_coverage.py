"""Look-back coverage: what no delivered Hour carries, and how long until something is lost."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, strategies as st

from viplake.judge.coverage import Gap, gaps
from viplake.model import Hour

START = Hour.parse("2022-05-09T00")
DAY = timedelta(hours=24)


def record(count: int, without: set[int]) -> dict[Hour, bool | None]:
    return {START.shift(n): n not in without for n in range(count)}


def test_the_hole_of_22_hours_lost_nothing_with_a_margin_of_an_hour() -> None:
    hole = [Hour.parse("2022-05-10T13").shift(n) for n in range(22)]
    delivered: dict[Hour, bool | None] = {START.shift(n): START.shift(n) not in hole for n in range(96)}
    [gap] = gaps(delivered, {})
    assert (gap.first, gap.last) == (hole[0], Hour.parse("2022-05-11T10"))
    assert gap.lost is None
    assert gap.margin == timedelta(hours=1)


def test_a_hole_longer_than_the_look_back_names_what_is_lost() -> None:
    [gap] = gaps(record(60, set(range(10, 40))), {})
    assert gap.after == START.shift(9)
    assert gap.before == START.shift(40)
    assert gap.lost == (START.shift(9).start, START.shift(16).start)
    assert gap.margin == -timedelta(hours=7)


def test_while_it_lasts_there_is_a_countdown() -> None:
    [gap] = gaps(record(10, {8, 9}), {})
    now = START.shift(10).start
    assert gap.margin is None
    assert gap.left(now, DAY) == timedelta(hours=7 + 24 - 10)
    assert gap.left(now + DAY, DAY) == timedelta(hours=-3)


def test_a_table_has_gaps_of_its_own_and_those_of_the_export_join_them() -> None:
    lacking = {"Voyage": {START.shift(4), START.shift(7)}, "Port": {START.shift(12)}}
    found = gaps(record(20, {5, 6}), lacking)
    assert [(gap.table, gap.first, gap.last) for gap in found] == [
        (None, START.shift(5), START.shift(6)),
        ("Port", START.shift(12), START.shift(12)),
        ("Voyage", START.shift(4), START.shift(7)),
    ]


def test_gaps_of_a_table_are_within_the_hours_on_record() -> None:
    lacking = {"Voyage": {START.shift(n) for n in (-1, 0, 9, 10)}}
    assert gaps(record(10, set()), lacking) == [
        Gap("Voyage", START, START, None, START.shift(1)),
        Gap("Voyage", START.shift(9), START.shift(9), START.shift(8), None),
    ]


def test_an_export_that_begins_where_the_last_one_ended_leaves_nothing_out() -> None:
    [gap] = gaps(record(60, set(range(10, 33))), {})
    assert (gap.margin, gap.lost) == (timedelta(0), None)
    [gap] = gaps(record(60, set(range(10, 34))), {})
    assert (gap.margin, gap.lost) == (-timedelta(hours=1), (START.shift(9).start, START.shift(10).start))


def test_where_the_look_back_is_measured_that_of_the_next_delivery_counts() -> None:
    measured = {START.shift(12): timedelta(hours=2), START.shift(19): timedelta(hours=30)}
    asked: list[Hour] = []

    def look_back(hour: Hour) -> timedelta:
        asked.append(hour)
        return measured[hour]

    healed, lasting = gaps(record(20, {10, 11, 18, 19}), {}, look_back=look_back)
    assert asked == [START.shift(12), START.shift(19)], "while a gap lasts, that of the end of the record"
    assert (healed.margin, healed.lost) == (-timedelta(hours=1), (START.shift(9).start, START.shift(10).start))
    assert (lasting.margin, lasting.lost) == (None, None)


def test_hours_that_are_not_on_record_are_unknown_and_prove_no_loss() -> None:
    delivered = record(60, set())
    for n in range(10, 40):
        del delivered[START.shift(n)]
    [gap] = gaps(delivered, {})
    assert gap.unknown == 30
    assert gap.lost is None


def test_an_empty_record_and_one_hour_have_no_gap_to_speak_of() -> None:
    assert gaps({}, {}) == []
    assert gaps({START: True}, {}) == []
    assert gaps({START: False}, {}) == [Gap(None, START, START, None, None)]


def test_a_gap_is_planned_only_if_all_of_it_is() -> None:
    planned = {START.shift(5), START.shift(6)}
    [inside] = gaps(record(9, {5, 6}), {}, planned=planned.__contains__)
    [beyond] = gaps(record(9, {5, 6, 7}), {}, planned=planned.__contains__)
    assert (inside.planned, beyond.planned) == (True, False)


@given(st.sets(st.integers(0, 79)), st.integers(1, 40))
def test_a_moment_is_lost_exactly_when_no_delivered_hour_carries_it(without: set[int], look_back: int) -> None:
    delivered = record(80, without)
    carried = timedelta(hours=look_back)
    lost = [gap.lost for gap in gaps(delivered, {}, look_back=carried) if gap.lost]
    there = [hour.start for hour, arrived in delivered.items() if arrived]
    if len(there) < 2:
        assert not lost
        return
    for n in range(80):
        moment = START.shift(n).start + timedelta(minutes=30)
        if not there[0] < moment < there[-1]:
            continue
        covered = any(start - carried <= moment <= start for start in there)
        assert covered != any(begin < moment < end for begin, end in lost)
