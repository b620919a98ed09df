"""The calendar: what it takes, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from viplake.errors import SettingsError
from viplake.judge.calendar import Calendar
from viplake.model import Hour

HOLE = {"kind": "diversion", "from": "2022-05-10T13", "to": "2022-05-11T10", "reason": "went to another bucket"}


def test_an_entry_holds_both_of_its_ends_and_nothing_beyond() -> None:
    calendar = Calendar.parse([HOLE])
    [entry] = calendar.entries
    assert sum(1 for _ in entry.first.to(entry.last)) == 22
    assert calendar.at(Hour.parse("2022-05-10T13")) == calendar.at(Hour.parse("2022-05-11T10")) == entry
    assert calendar.at(Hour.parse("2022-05-10T12")) is calendar.at(Hour.parse("2022-05-11T11")) is None
    assert str(entry) == "diversion from 2022-05-10T13 to 2022-05-11T10: went to another bucket"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"from": "x"}, "not a list"),
        ([3], "not a table"),
        ([HOLE | {"form": "x"}], "Did you mean from"),
        ([HOLE | {"kind": "divertion"}], "Did you mean diversion"),
        ([HOLE | {"from": "yesterday"}], "no Hour"),
        ([{"from": "2022-05-10T13"}], "no Hour"),
        ([HOLE | {"to": "2022-05-10T12"}], "ends before it begins"),
        ([HOLE, HOLE | {"from": "2022-05-11T10", "to": "2022-05-11T12"}], "overlap"),
    ],
)
def test_an_entry_that_cannot_be_is_refused_in_words(value: Any, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Calendar.parse(value)
    assert words in f"{refused.value.message} {refused.value.hint}"


def test_entries_side_by_side_do_not_overlap() -> None:
    after = HOLE | {"from": "2022-05-11T11", "to": "2022-05-11T12"}
    assert len(Calendar.parse([after, HOLE]).entries) == 2


def test_a_holiday_excuses_no_hour_and_may_overlap_another_entry() -> None:
    day = {"kind": "holiday", "from": "2022-05-10T00", "to": "2022-05-10T23", "reason": "ours"}
    calendar = Calendar.parse([HOLE, day])
    assert calendar.at(Hour.parse("2022-05-10T12")) is None
    assert str(calendar.holiday(Hour.parse("2022-05-10T12"))).endswith(": ours")
    assert calendar.holiday(Hour.parse("2022-05-11T00")) is None
    assert [entry.kind for entry in calendar.entries] == ["diversion"]


@pytest.mark.parametrize(
    ("country", "zone", "first", "last"),
    [
        ("SG", "Asia/Singapore", "2022-08-08T16", "2022-08-09T15"),
        ("US", "America/New_York", "2022-07-04T04", "2022-07-05T03"),
    ],
)
def test_a_public_holiday_is_a_day_of_its_time_zone(country: str, zone: str, first: str, last: str) -> None:
    pytest.importorskip("holidays")
    calendar = Calendar.parse([{"kind": "holiday", "country": country, "zone": zone}])
    begin, end = Hour.parse(first), Hour.parse(last)
    assert all(calendar.holiday(hour) is not None for hour in begin.to(end))
    assert calendar.holiday(begin.shift(-1)) is None
    assert calendar.holiday(end.shift(1)) is None


def test_exports_carry_a_holiday_as_long_as_they_look_back() -> None:
    calendar = Calendar.parse([{"kind": "holiday", "from": "2022-05-10T00", "to": "2022-05-10T23"}])
    last, after = Hour.parse("2022-05-11T22"), Hour.parse("2022-05-11T23")
    assert calendar.holiday(last, carried=24) is not None
    assert calendar.holiday(after, carried=24) is None
    assert calendar.holiday(Hour.parse("2022-05-09T23"), carried=24) is None


def test_the_public_holidays_of_a_country_are_known_by_its_code() -> None:
    pytest.importorskip("holidays")
    calendar = Calendar.parse([{"kind": "holiday", "country": "NO"}])
    assert str(calendar.holiday(Hour.parse("2022-05-17T12"))).startswith("holiday from 2022-05-17T00 to 2022-05-17T23")
    assert calendar.holiday(Hour.parse("2022-05-18T12")) is None
    for entry in (
        {"kind": "holiday", "country": "XX"},
        {"kind": "hole", "country": "NO"},
        {"kind": "holiday", "country": "NO", "zone": "Europe/Nowhere"},
        {"kind": "holiday", "zone": "Europe/Oslo", "from": "2022-05-10T00", "to": "2022-05-10T23"},
    ):
        with pytest.raises(SettingsError):
            Calendar.parse([entry])
