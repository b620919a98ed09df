"""Objectives: good Hours, the budget, who spent it, and when it ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from viplake.errors import SettingsError
from viplake.judge.objectives import (
    DEFAULTS,
    Graded,
    Objective,
    ObjectiveSettings,
    burning,
    standing,
)
from viplake.model import Hour

START = Hour.parse("2022-05-01T00")
MONTH = Objective("delivered", 0.99, 28 * 24)


def graded(count: int, bad: dict[int, str], **of: Any) -> dict[Hour, Graded]:
    return {START.shift(n): Graded(START.shift(n), n not in bad, bad.get(n, ""), **of) for n in range(count)}


def test_three_bad_hours_of_four_weeks_by_owner() -> None:
    last = START.shift(671)
    state = standing(MONTH, graded(672, {5: "vendor", 6: "vendor", 600: "us"}), last=last, now=last.end)
    assert (state.good, state.bad, state.unknown, state.planned) == (669, 3, 0, 0)
    assert state.sli == pytest.approx(669 / 672)
    assert state.met is True
    assert state.budget == pytest.approx(6.72)
    assert state.spent == (("vendor", 2), ("us", 1))
    # One bad Hour in the last week's 168: the 3.72 that are left last for 3.72 weeks.
    assert state.exhausted == last.end + timedelta(hours=state.left * 168)


def test_a_spent_budget_is_exhausted_now_and_the_target_missed() -> None:
    last = START.shift(671)
    state = standing(MONTH, graded(672, dict.fromkeys(range(7), "aws")), last=last, now=last.end)
    assert state.met is False
    assert state.left < 0
    assert state.exhausted == last.end


def test_without_bad_hours_of_late_it_is_never_exhausted() -> None:
    last = START.shift(671)
    assert standing(MONTH, graded(672, {1: "us"}), last=last, now=last.end).exhausted is None


def test_planned_hours_count_in_neither() -> None:
    hours = graded(100, {})
    for n in range(40, 62):
        hours[START.shift(n)] = Graded(START.shift(n), good=False, owner="us", planned=True)
    state = standing(MONTH, hours, last=START.shift(99), now=START.shift(100).start)
    assert (state.good, state.bad, state.planned, state.sli) == (78, 0, 22, 1.0)


def test_no_hour_one_hour_and_hours_that_do_not_tell() -> None:
    nothing = standing(MONTH, {}, last=START, now=START.end)
    assert (nothing.sli, nothing.met, nothing.reason) == (None, None, "no Hour of the window is on record")
    one = standing(MONTH, graded(1, {}), last=START, now=START.end)
    assert (one.sli, one.good, one.unknown) == (1.0, 1, 0)
    mute = standing(MONTH, {START: Graded(START, None)}, last=START, now=START.end)
    assert (mute.sli, mute.unknown) == (None, 1)
    assert "records do not tell" in mute.reason


def test_hours_that_are_not_on_record_are_unknown_not_good() -> None:
    hours = graded(100, {})
    del hours[START.shift(50)]
    state = standing(MONTH, hours, last=START.shift(101), now=START.shift(102).start)
    assert (state.good, state.unknown) == (99, 3)


@pytest.mark.parametrize(("bad", "pages"), [({7, 9}, False), ({6, 7, 9}, True), ({3, 7, 9}, False), ({7, 8, 9}, True)])
def test_three_bad_hours_of_the_last_six_page(bad: set[int], pages: bool) -> None:
    hours = graded(10, dict.fromkeys(bad, "vendor"))
    burn = burning(hours, START.shift(9))
    assert (burn is not None) is pages
    assert burn is None or (burn.severity == "page" and burn.source)


def test_objectives_are_data_in_the_terms_of_openslo() -> None:
    assert MONTH.to_openslo()["budgetingMethod"] == "Timeslices"
    assert MONTH.to_openslo()["timeWindow"] == [{"duration": "672h", "isRolling": True}]
    told = ObjectiveSettings.parse({"delivered": {"target": 0.995, "window": "4w"}, "on_time": {"enabled": False}})
    assert told.objectives == (Objective("delivered", 0.995, 672), DEFAULTS[1])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"deliverd": {}}, "Did you mean delivered"),
        ({"delivered": 3}, "not a table"),
        ({"delivered": {"target": 1}}, "a share of Hours"),
        ({"delivered": {"target": "0.99"}}, "a share of Hours"),
        ({"delivered": {"target": float("nan")}}, "a share of Hours"),
        ({"delivered": {"window": "1h"}}, "a day to a year"),
        ({"delivered": {"window": "soon"}}, "a day to a year"),
        ({"delivered": {"goal": 1}}, "unknown key"),
        ({"on_time_minutes": True}, "number of minutes"),
    ],
)
def test_an_objective_that_cannot_be_is_refused_in_words(value: Any, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        ObjectiveSettings.parse(value)
    assert words in f"{refused.value.message} {refused.value.hint}"
