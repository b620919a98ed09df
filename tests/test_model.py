"""Hours and environments: arithmetic, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from viplake.errors import SettingsError
from viplake.model import PROD, TEST, Environment, Hour


@pytest.mark.parametrize("text", ["2022-05-10T13", "2022-05-10T13:00Z", "2022-05-10 13", "20220510/13", "20220510-13"])
def test_an_hour_is_read_as_it_is_written_anywhere(text: str) -> None:
    assert Hour.parse(text) == Hour(datetime(2022, 5, 10, 13, tzinfo=UTC))


@pytest.mark.parametrize(
    "text", ["", "2022-05-10", "2022-05-10!13", "2022-05-10.13", "2022-02-30T01", "2022-05-10T24", "now"]
)
def test_anything_else_is_no_hour(text: str) -> None:
    with pytest.raises(SettingsError, match="not an Hour"):
        Hour.parse(text)


def test_C2_a_moment_of_any_zone_belongs_to_its_utc_hour() -> None:
    moment = datetime(2022, 3, 27, 3, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert str(Hour.of(moment)) == "2022-03-26T22"


def test_C7_hours_go_on_over_the_end_of_a_year_and_a_leap_day() -> None:
    assert Hour.parse("2023-12-31T23").shift(1) == Hour.parse("2024-01-01T00")
    assert Hour.parse("2024-02-28T23").shift(1).folder == "20240229/00"


def test_a_range_includes_both_ends() -> None:
    seed = list(Hour.parse("2022-02-08T08").to(Hour.parse("2022-05-31T08")))
    assert len(seed) == 2_689
    assert list(Hour.parse("2022-05-10T13").to(Hour.parse("2022-05-10T12"))) == []


def test_a_moment_that_is_no_start_of_a_utc_hour_is_refused() -> None:
    for wrong in (
        datetime(2022, 5, 10, 13, 1, tzinfo=UTC),
        datetime(2022, 5, 10, 13, tzinfo=timezone(timedelta(hours=2))),
    ):
        with pytest.raises(ValueError, match="not the start"):
            Hour(wrong)


def test_F9_an_environment_is_named_exactly() -> None:
    assert Environment.named("Prod") is PROD
    assert Environment.named("Test") is TEST
    with pytest.raises(SettingsError) as raised:
        Environment.named("prod")
    assert "Did you mean 'Prod'" in raised.value.hint
    with pytest.raises(SettingsError):
        Environment.named("Staging")
