"""The verdicts on content: against the Hour itself, against the Hours before it, or silent with the reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from viplake.content.profiling import ColumnProfile, ContentFinding, HourContent, TableContent
from viplake.judge.detector.anomaly import InsufficientHistory, VolumeVerdict
from viplake.judge.rules.content_verdicts import (
    BEFORE,
    NO_PAST,
    NOT_LOOKED,
    CheckedContent,
    Nulls,
    amount_words,
    look_back_changes,
    nonconforming,
    null_ratios,
    row_counts,
    stale,
    standing_still,
)
from viplake.model import Hour
from viplake.wording import size_words

HOUR = Hour.parse("2022-05-10T13")


def content(n: int = 0, *, nulls: int = 0, rows: int = 100, carried: float | None = 24, **changed: Any) -> HourContent:
    """The content of the n-th Hour after HOUR: one table with one column."""
    newest = None if carried is None else HOUR.shift(n).start
    oldest = None if newest is None or carried is None else newest - timedelta(hours=carried)
    column = ColumnProfile("Port", "string", "text", rows, nulls, 9, "a", "z", 0)
    table = TableContent("Voyage", 1, rows, (column,), (), None, oldest, newest, rows)
    return HourContent(HOUR.shift(n), (replace(table, **changed),))


def inside(now: HourContent | None, before: list[HourContent] | None = None, **more: Any) -> CheckedContent:
    past = before if before is not None else [content(n) for n in range(-5, 0)]
    return CheckedContent(HOUR, now, past, **{"nulls": Nulls.of([*past, *([now] if now else [])]), **more})


def test_without_a_content_check_every_verdict_has_that_reason() -> None:
    nothing = inside(None)
    assert {nonconforming(nothing), row_counts(nothing), null_ratios(nothing, 30), stale(nothing, 6)} == {NOT_LOOKED}
    assert look_back_changes(nothing, 25) == NOT_LOOKED


def test_a_table_with_findings_is_one_odd_thing_with_the_first_and_the_number_of_the_others() -> None:
    wrong = ContentFinding(
        "wrong_type", "Voyage", "Port: 3 of 9 values are not of type Integer: 'x'", column="Port", count=3
    )
    bad = ContentFinding("unreadable_file", "Voyage", "0.gz: it is cut", file="0.gz", byte=1234)
    verdict = nonconforming(inside(content(findings=(bad, wrong))))
    assert not isinstance(verdict, str)
    [odd] = verdict
    assert odd.table == "Voyage"
    assert odd.summary == "Voyage in 2022-05-10T13: 0.gz: it is cut (byte 1,234); and 1 more finding"
    assert nonconforming(inside(content())) == []


def test_conformance_has_no_data_where_the_schema_lists_no_columns() -> None:
    assert nonconforming(inside(content(unknown="it has no schema"))) == "it has no schema"


def test_too_few_and_too_many_records_are_odd_and_the_same_ones_again_are_not() -> None:
    def judged(kind: str) -> VolumeVerdict:
        return VolumeVerdict(kind, 5, 50, 40, 60, -9.0, (1, 2, 3))  # type: ignore[arg-type] # parametrised

    counts = {
        "A": judged("low"),
        "B": judged("high"),
        "C": judged("usual"),
        "D": judged("stuck"),
        "E": InsufficientHistory("young"),
    }
    odd = row_counts(inside(content(), counts=counts))
    assert not isinstance(odd, str)
    assert [one.table for one in odd] == ["A", "B"]
    assert odd[0].summary == (
        "A has 90 % fewer records than usual for Tuesdays at 13:00 UTC (5 records in 2022-05-10T13; usually 40 to 60 "
        "records, in 3 weeks since 2022-04-19)"
    )
    assert row_counts(inside(content(), counts={"E": InsufficientHistory("young")})) == "young"
    assert row_counts(inside(content(), counts={})) == "no number of records is on record"


def test_the_numbers_of_a_volume_never_contradict_its_sentence() -> None:
    def words(verdict: VolumeVerdict) -> str:
        return amount_words("A", HOUR, verdict, size_words, lambda count: f"{count:,} B")

    near = VolumeVerdict("high", 2_404_000, 2_000_000, 1_600_000, 2_401_000, 9.0, (1, 2))
    assert words(near) == (
        "A is 20 % larger than usual for Tuesdays at 13:00 UTC (2,404,000 B in 2022-05-10T13; usually 1,600,000 B to "
        "2,401,000 B, in 2 weeks since 2022-04-26)"
    )
    young = replace(near, value=9_000_000_000, weeks=())
    assert words(young) == ("A is far larger than usual at 13:00 UTC (9 GB in 2022-05-10T13; usually 1.6 MB to 2.4 MB)")
    jump = replace(near, kind="low", value=900_000, view="jump", hours=3)
    assert words(jump) == (
        "A is 55 % smaller than expected after the last good Hour (900 kB in 2022-05-10T13; expected 1.6 MB to "
        "2.4 MB); if it lasts, that is usual from 2022-05-13T23 on"
    )


@pytest.mark.parametrize(("nulls", "usual", "is_odd"), [(31, 0, True), (30, 0, False), (90, 61, False), (95, 60, True)])
def test_a_share_of_nulls_is_odd_so_many_points_above_the_usual(nulls: int, usual: int, *, is_odd: bool) -> None:
    before = [content(n, nulls=usual) for n in range(-5, 0)]
    odd = null_ratios(inside(content(nulls=nulls), before), 30)
    assert bool(odd) is is_odd
    if is_odd and not isinstance(odd, str):
        assert f"Port is empty in {nulls} % of its 100 records of {HOUR}; {usual} % are usual" in odd[0].summary


def test_nulls_of_few_records_short_pasts_and_missing_columns_are_no_ratio() -> None:
    assert null_ratios(inside(content(nulls=19, rows=19)), 30) == []
    assert "only 2 Hours" in str(null_ratios(inside(content(nulls=100), [content(-2), content(-1)]), 30))
    gone = ContentFinding("missing_column", "Voyage", "Port is gone", column="Port")
    assert null_ratios(inside(content(nulls=100, findings=(gone,))), 30) == []


def test_the_usual_share_is_the_median_of_the_last_hours_before() -> None:
    nulls = Nulls.of([content(n, nulls=n + 40) for n in range(-40, 1)])
    [last] = [nulls.before(HOUR, "Voyage", "Port")]
    assert last == pytest.approx((40 - (BEFORE + 1) / 2) / 100)
    assert nulls.before(HOUR.shift(-38), "Voyage", "Port") is None


@pytest.mark.parametrize(
    ("newest", "expected"),
    [
        ([*range(25), 25, 25, 25], (2, 0)),
        ([1, 1, 1, *range(2, 24), 24, 24], (1, 2)),
        ([*range(25)], (0, 0)),
        ([1, -1, *range(2, 13), -1, *range(13, 26), -1, 25, 25], (2, 0)),  # without content checks, nothing is stale
        ([*range(23), 23, 23, 23], None),  # the past is too short
        ([*range(30), -1], None),
        ([], None),
    ],
)
def test_standing_still_is_counted_in_hours_that_were_looked_into(
    newest: list[int], expected: tuple[int, int] | None
) -> None:
    place = len(newest) - 1
    assert (standing_still(newest, place) if newest else None) == expected


@pytest.mark.parametrize(("now", "longest", "is_odd"), [(6, 0, True), (5, 0, False), (6, 3, False), (7, 3, True)])
def test_a_table_is_stale_after_some_hours_and_twice_its_longest_stretch(
    now: int, longest: int, *, is_odd: bool
) -> None:
    assert bool(stale(inside(content(), stuck={"Voyage": (now, longest)}), 6)) is is_odd


def test_without_a_past_nothing_is_stale() -> None:
    assert "no table" in str(stale(inside(content(), stuck={}), 6))


@pytest.mark.parametrize(
    ("carried", "before", "told", "words"),
    [
        (6, 24, 24, "carries 6.0 h of records; 24 h are configured"),
        (48, 24, 24, "reaches back 48.0 h; before it were 24.0 h"),
        (19, 24, 24, ""),
        (6, 6, 24, "carries 6.0 h of records; 24 h are configured"),
        (48, 48, 24, ""),
    ],
)
def test_a_look_back_that_changed_or_is_less_than_configured_is_odd(
    carried: float, before: float, told: int, words: str
) -> None:
    past = [content(n, carried=before) for n in range(-24, 0)]
    odd = look_back_changes(inside(content(carried=carried), past, configured=timedelta(hours=told)), 25)
    assert not isinstance(odd, str)
    assert [words in one.summary for one in odd] == ([True] if words else [])


def test_without_record_times_the_look_back_is_not_known() -> None:
    assert "no table has enough" in str(look_back_changes(inside(content(carried=None)), 25))


def test_the_look_back_that_counts_is_that_of_the_export_itself_where_it_is_clearly_shorter() -> None:
    told = timedelta(hours=24)

    def effective(*carried: float | None) -> timedelta:
        last = 1 - len(carried)
        past = [content(n, carried=carried[0]) for n in range(last - 24, last)] if len(carried) > 1 else []
        past += [content(n + last, carried=hours) for n, hours in enumerate(carried)]
        return inside(past[-1], past[-25:-1], configured=told).look_back

    assert inside(None, []).look_back == told
    assert effective(None, None, None) == told
    assert effective(22, 23, 21) == told
    assert effective(48, 48, 48) == told
    assert effective(24, 24, 6) == timedelta(hours=6), "the export that closes a hole counts by itself"
    assert effective(24, 6, 24) == told
    assert effective(6) == told, "without an export before, few old records prove nothing"


def test_H11_quiet_nights_are_no_shorter_look_back() -> None:
    """Records of 08 to 18 h alone: the export of noon has none that is older than four hours, and lacks none."""
    evening = replace(content().tables[0], oldest=HOUR.shift(-29).start, newest=HOUR.shift(-19).start)
    noon = replace(content().tables[0], oldest=HOUR.shift(-4).start, newest=HOUR.start)
    past = [HourContent(HOUR.shift(-18), (evening,)), HourContent(HOUR.shift(-10), (replace(evening),))]
    whole = CheckedContent(HOUR, HourContent(HOUR, (replace(noon, oldest=HOUR.shift(-24).start),)), past)
    assert whole.look_back == timedelta(hours=24)
    later = CheckedContent(
        HOUR.shift(6), HourContent(HOUR.shift(6), (replace(noon, oldest=HOUR.shift(2).start),)), past
    )
    assert later.look_back == timedelta(hours=24)
    assert look_back_changes(later, 25) == []
    torn = CheckedContent(HOUR, HourContent(HOUR, (replace(noon, oldest=HOUR.shift(-2).start),)), past)
    assert torn.look_back == timedelta(hours=2), "the export of the evening has records that this one lacks"


def test_one_stray_time_does_not_set_the_look_back_of_the_export() -> None:
    table = content().tables[0]
    stray = replace(table, oldest=datetime(1999, 1, 1, tzinfo=UTC))
    assert HourContent(HOUR, (table, stray, table)).look_back_hours == 24


def test_H13_a_column_that_is_empty_on_saturdays_is_usual_on_the_next_saturday() -> None:
    saturday = [content(n - 168, nulls=60) for n in range(-3, 3)]
    friday = [content(n, nulls=2) for n in range(-5, 0)]
    now = content(nulls=60)
    assert null_ratios(inside(now, friday), 30)
    assert null_ratios(inside(now, friday, nulls=Nulls.of([*saturday, *friday, now])), 30) == []


def test_H12_a_night_without_changes_in_most_tables_makes_none_stale() -> None:
    stood = dict.fromkeys(("A", "B", "C", "Voyage"), (9, 1))
    assert stale(inside(content(), stuck=stood), 6) == []
    assert stale(inside(content(), stuck={**dict.fromkeys("ABCDE", (0, 1)), "Voyage": (9, 1)}), 6)


def test_H12_the_first_night_of_a_young_lake_is_like_no_night_before_and_makes_no_table_stale() -> None:
    """Records of 08 to 18 h in a lake of one table; from the second day on there is a night to compare with."""
    hours = range(8, 5 * 24)
    newest = [max(at for at in range(8, hour + 1) if 8 <= at % 24 <= 18) for hour in hours]
    for place in range(len(newest)):
        stood = standing_still(newest, place)
        assert stale(inside(content(), stuck={} if stood is None else {"Voyage": stood}), 6) in ([], NO_PAST)
    still = [*newest, *[newest[-1]] * 24]
    stood = standing_still(still, len(still) - 1)
    assert stood is not None
    assert stale(inside(content(), stuck={"Voyage": stood}), 6)
