"""The oracle itself, on the cases that are worked out by hand."""

from __future__ import annotations

from current.oracle import Record, current, history


def test_newer_record_time_wins_over_newer_hour() -> None:
    hours = {"01": [{"k": 1, "t": "5", "v": "a"}], "02": [{"k": 1, "t": "4", "v": "b"}]}
    assert current(hours, ["k"], "t") == {(1,): ((("k", 1), ("t", "5"), ("v", "a")), "01")}


def test_newest_hour_decides_between_equal_record_times_and_the_first_hour_stays() -> None:
    a, b = {"k": 1, "v": "a"}, {"k": 1, "v": "b"}
    won = current({"01": [a], "02": [b], "03": [a]}, ["k"], None)
    assert won == {(1,): ((("k", 1), ("v", "a")), "01")}
    assert list(history({"01": [a], "02": [b], "03": [a]}, ["k"]).values()) == [["01", "03"], ["02"]]


def test_content_decides_within_an_hour_and_null_keys_are_left_out() -> None:
    rows: list[Record] = [{"k": 1, "v": "a"}, {"k": 1, "v": "b"}, {"k": None, "v": "z"}]
    assert current({"01": rows}, ["k"], None) == {(1,): ((("k", 1), ("v", "b")), "01")}
