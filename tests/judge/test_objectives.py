"""Objectives: good Hours, the budget, who spent it, and when it ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from viplake.errors import SettingsError
from viplake.judge.evaluate import CheckSettings, graded
from viplake.judge.objectives import (
    AGREED,
    DEFAULTS,
    Burning,
    Graded,
    Grades,
    Indicator,
    Objective,
    ObjectiveSettings,
    newest_periods,
    sla_periods,
    standing,
)
from viplake.judge.record import Record
from viplake.judge.sla import merged
from viplake.model import Hour

START = Hour.parse("2022-05-01T00")
MONTH = Objective("delivered", 0.99, 28 * 24)


def sample(count: int, bad: dict[int, str], **of: Any) -> dict[Hour, Graded]:
    return {START.shift(n): Graded(START.shift(n), n not in bad, bad.get(n, ""), **of) for n in range(count)}


def grades(hours: dict[Hour, Graded], name: Indicator = "delivered") -> Grades:
    return Grades(name, hours)


def test_three_bad_hours_of_four_weeks_by_owner() -> None:
    last = START.shift(671)
    state = standing(MONTH, grades(sample(672, {5: "vendor", 6: "vendor", 600: "us"})), last=last, now=last.end)
    assert (state.good, state.bad, state.unknown, state.planned) == (669, 3, 0, 0)
    assert state.sli == pytest.approx(669 / 672)
    assert state.met is True
    assert state.budget == pytest.approx(6.72)
    assert state.spent == (("vendor", 2), ("us", 1))
    # One bad Hour in the last week's 168: the 3.72 that are left last for 3.72 weeks.
    assert state.exhausted == last.end + timedelta(hours=state.left * 168)


def test_a_spent_budget_is_exhausted_now_and_the_target_missed() -> None:
    last = START.shift(671)
    state = standing(MONTH, grades(sample(672, dict.fromkeys(range(7), "aws"))), last=last, now=last.end)
    assert state.met is False
    assert state.left < 0
    assert state.exhausted == last.end


def test_without_bad_hours_of_late_it_is_never_exhausted() -> None:
    last = START.shift(671)
    assert standing(MONTH, grades(sample(672, {1: "us"})), last=last, now=last.end).exhausted is None


def test_planned_hours_count_in_neither() -> None:
    hours = sample(100, {})
    for n in range(40, 62):
        hours[START.shift(n)] = Graded(START.shift(n), good=False, owner="us", planned=True)
    state = standing(MONTH, grades(hours), last=START.shift(99), now=START.shift(100).start)
    assert (state.good, state.bad, state.planned, state.sli) == (78, 0, 22, 1.0)


def test_without_hours_the_reason_is_given_and_few_hours_are_too_early() -> None:
    nothing = standing(MONTH, grades({}), last=START, now=START.end)
    assert (nothing.sli, nothing.met, nothing.reason) == (None, None, "no Hour of the window is on record")
    assert nothing.words == "no data: no Hour of the window is on record"
    one = standing(MONTH, grades(sample(1, {})), last=START, now=START.end)
    assert (one.sli, one.good, one.unknown, one.met) == (1.0, 1, 0, None)
    assert one.words == "too early: 1 Hour of the 100 that are needed, 0 bad Hours"
    mute = standing(MONTH, grades({START: Graded(START, None)}), last=START, now=START.end)
    assert (mute.sli, mute.unknown) == (None, 1)
    assert mute.reason == "no Hour in the window has the required data"
    planned = standing(MONTH, grades(sample(3, {}, planned=True)), last=START.shift(2), now=START.end)
    assert planned.reason == "all Hours of the window are planned"


def test_hours_that_are_not_on_record_are_bad_for_delivered_and_unknown_for_on_time() -> None:
    hours = sample(10, {})
    for number in (4, 5, 6):
        del hours[START.shift(number)]
    delivered = standing(MONTH, grades(hours), last=START.shift(9), now=START.shift(10).start)
    assert (delivered.good, delivered.bad, delivered.sli, delivered.spent) == (7, 3, 0.7, (("unknown", 3),))
    on_time = standing(MONTH, grades(hours, "on_time"), last=START.shift(9), now=START.shift(10).start)
    assert (on_time.good, on_time.bad, on_time.unknown, on_time.sli) == (7, 0, 3, 1.0)


def test_planned_hours_that_are_not_on_record_do_not_count() -> None:
    hours = sample(10, {})
    del hours[START.shift(4)]
    found = Grades("delivered", hours, lambda hour: hour == START.shift(4)).tally(START, START.shift(9))
    assert (found.good, found.bad, found.planned) == (9, 0, 1)


def test_the_budget_is_worded_as_bad_hours_where_so_many_are_allowed() -> None:
    last = START.shift(671)
    out = standing(DEFAULTS[0], grades(sample(672, dict.fromkeys(range(20), "vendor"))), last=last, now=last.end)
    assert out.words == "out of SLA: 97.02% of 99.40%; 20 bad Hours where 4 are allowed (vendor 20)"
    inside = standing(DEFAULTS[0], grades(sample(672, {1: "us"})), last=last, now=last.end)
    assert inside.words == "in SLA: 99.85% of 99.40%; 1 bad Hour where 4 are allowed (us 1)"
    own = standing(DEFAULTS[2], grades(sample(672, {}), "on_time"), last=last, now=last.end)
    assert own.words == "in SLO: 100.00% of 95.00%; 0 bad Hours where 33 are allowed"


def test_days_weeks_months_and_the_window_are_in_or_out_of_sla() -> None:
    first = Hour.parse("2022-05-28T12")
    hours = {first.shift(n): Graded(first.shift(n), n != 20) for n in range(24 * 10)}
    of = {name: Grades(name, hours) for name in AGREED}
    periods = sla_periods(DEFAULTS, of, first, first.shift(239))
    delivered = [one for one in periods if one.objective.name == "delivered"]
    assert [(one.kind, str(one.first), str(one.last), one.verdict) for one in delivered if one.kind != "day"] == [
        ("week", "2022-05-28T12", "2022-05-29T23", "out of SLA"),
        ("week", "2022-05-30T00", "2022-06-05T23", "in SLA"),
        ("week", "2022-06-06T00", "2022-06-07T11", "in SLA"),
        ("month", "2022-05-28T12", "2022-05-31T23", "out of SLA"),
        ("month", "2022-06-01T00", "2022-06-07T11", "in SLA"),
        ("window", "2022-05-10T12", "2022-06-07T11", "in SLA"),
    ]
    days = [one for one in delivered if one.kind == "day"]
    assert [one.tally.expected for one in days] == [12, *[24] * 9, 12]
    assert [one.verdict for one in days].count("out of SLA") == 1
    assert [one.kind for one in newest_periods(delivered)] == ["day", "week", "month", "window"]


def test_rows_of_earlier_periods_stay_in_the_file_with_their_target() -> None:
    hours = {START.shift(n): Graded(START.shift(n), good=True) for n in range(24 * 20)}
    of = {name: Grades(name, hours) for name in AGREED}
    known = merged(None, sla_periods(DEFAULTS, of, START, START.shift(24 * 10 - 1)))
    later = (Objective("delivered", 0.9, 672),)
    text = merged(known, sla_periods(later, of, START.shift(24 * 9), START.shift(24 * 20 - 1))).decode()
    lines = text.splitlines()
    assert lines[0] == "period,from,to,indicator,target,good,expected,ratio,inSla"
    assert "day,20220501-00,20220501-23,delivered,0.994,24,24,1,1" in lines
    assert "day,20220510-00,20220510-23,delivered,0.9,24,24,1,1" in lines
    assert sum(line.startswith("window,") and ",delivered," in line for line in lines) == 1
    assert len({line.split(",")[0] + line.split(",")[1] + line.split(",")[3] for line in lines}) == len(lines)
    assert merged(b"period,from\nday,x\nday,nowhere,20220501-23,delivered,1,1,1,1,1\n", ()) == lines[0].encode() + b"\n"


@pytest.mark.parametrize(("bad", "pages"), [({7, 9}, False), ({6, 7, 9}, True), ({3, 7, 9}, False), ({7, 8, 9}, True)])
def test_three_bad_hours_of_the_last_six_page(bad: set[int], pages: bool) -> None:
    hours = sample(10, dict.fromkeys(bad, "vendor"))
    burn = Burning(hours).at(START.shift(9))
    assert (burn is not None) is pages
    assert burn is None or (burn.severity == "page" and burn.source)


def test_objectives_are_data_in_the_terms_of_openslo() -> None:
    spec = MONTH.to_openslo()["spec"]
    assert spec["budgetingMethod"] == "Timeslices"
    assert spec["timeWindow"] == [{"duration": "672h", "isRolling": True}]
    told = ObjectiveSettings.parse({"delivered": {"target": 0.995, "window": "4w"}, "on_time": {"enabled": False}})
    assert told.objectives == (Objective("delivered", 0.995, 672), DEFAULTS[1])
    assert [one.target for one in DEFAULTS] == [0.994, 0.994, 0.95]


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


def test_on_time_has_no_data_where_another_program_ran_the_hours() -> None:
    known = {START.shift(n): Record(START.shift(n), n % 3 > 0, "delivered" if n % 3 else "missed") for n in range(300)}
    state = standing(DEFAULTS[2], graded(known, "on_time", CheckSettings()), last=max(known), now=START.start)
    assert (state.sli, state.unknown) == (None, 300)
    ours = Record(START.shift(300), delivered=False, outcome="missed", cause="missed", owner="us")
    run = Record(START.shift(301), delivered=True, outcome="delivered", ledger=True, seconds=(60.0, 1200.0, 150.0))
    known |= {one.hour: one for one in (ours, run)}
    state = standing(DEFAULTS[2], graded(known, "on_time", CheckSettings()), last=max(known), now=START.start)
    assert (state.good, state.bad, state.unknown) == (1, 1, 300)


def test_an_export_that_lost_its_schema_is_not_complete() -> None:
    def record(number: int, missing: tuple[str, ...] | None) -> Record:
        expected = None if missing is None else 5
        return Record(START.shift(number), delivered=True, outcome="delivered", expected=expected, missing=missing)

    known = {one.hour: one for one in (record(0, None), record(1, ()), record(2, None), record(3, ("Voyage",)))}
    tally = graded(known, "complete", CheckSettings()).tally(START, START.shift(3))
    assert (tally.good, tally.bad, tally.unknown) == (1, 2, 1)
