"""Sizes, counts and times read alike everywhere: in notifications, on the terminal and in the report."""

from __future__ import annotations

import sys
from datetime import timedelta

import pytest

from viplake.wording import count_words, install_hint, name_words, seconds_words, size_words, span_words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1_880_000_000, "1.88 GB"),
        (999_499, "999 kB"),
        (999_999, "1 MB"),
        (535_000, "535 kB"),
        (3_100_000_000_000, "3.1 TB"),
        (999_999_999_999_999, "1 PB"),
    ],
)
def test_a_size_has_three_digits_in_one_unit(count: int, words: str) -> None:
    assert size_words(count) == words


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(0, "0 min"), (59, "59 min"), (60, "1 h"), (310, "5 h 10 min"), (61, "1 h 1 min"), (-60, "1 h")],
)
def test_a_span_is_worded_in_hours_and_minutes(minutes: int, words: str) -> None:
    assert span_words(timedelta(minutes=minutes)) == words


@pytest.mark.parametrize(("seconds", "words"), [(None, ""), (4.25, "4.2 s"), (90.0, "90 s"), (1200.0, "20 min")])
def test_seconds_are_worded_by_their_length(seconds: float | None, words: str) -> None:
    assert seconds_words(seconds) == words


def test_an_extra_is_installed_beside_this_very_viplake() -> None:
    assert install_hint("spark", "pyspark") == f"{sys.executable} -m pip install 'viplake[spark]' pyspark"


def test_a_count_has_its_noun_in_the_right_number() -> None:
    assert [count_words(count, "Hour") for count in (0, 1, 2, 2689)] == ["0 Hours", "1 Hour", "2 Hours", "2,689 Hours"]
    assert count_words(2, "entry", "entries") == "2 entries"


def test_a_long_list_of_names_ends_with_the_number_of_omitted_ones() -> None:
    assert name_words(["A", "B"]) == "A, B"
    assert name_words(list("ABCDEFGH")) == "A, B, C, D, E and 3 more"
