"""The first words: what is late, missing or abnormal, since when, what to do; and never a false "all is well"."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from report.generated import history
from viplake.model import Hour
from viplake.report.assessment import Assessment, assess
from viplake.report.rows import Datasets, JobRow, RunRow, SizeRow, TableRow

START = Hour.parse("2022-05-02T00")
WEEKS = 5
LAST = START.shift(WEEKS * 168 - 1)
NOW = LAST.start + timedelta(minutes=50)


def healthy() -> Datasets:
    """Five weeks without a fault."""
    hours = list(START.to(LAST))
    return Datasets(
        jobs=tuple(JobRow(hour, 1, 1) for hour in hours),
        tables=tuple(TableRow(hour, 3, 3, 0, (), 1.0) for hour in hours),
        sizes=tuple(SizeRow(hour, 1000 + hour.start.hour, 10) for hour in hours),
        runs=tuple(RunRow(hour, "delivered", "", "", 60.0, 1200.0, 150.0) for hour in hours),
    )


def without_jobs(datasets: Datasets, gone: set[Hour], run: RunRow | None = None) -> Datasets:
    kept = [row for row in datasets.runs if row.hour not in gone]
    failed = [replace(run, hour=hour) for hour in gone] if run else []
    return replace(
        datasets,
        jobs=tuple(replace(row, delivered=0) if row.hour in gone else row for row in datasets.jobs),
        tables=tuple(row for row in datasets.tables if row.hour not in gone),
        sizes=tuple(replace(row, kilobytes=0, files=0) if row.hour in gone else row for row in datasets.sizes),
        runs=tuple(sorted((*kept, *failed), key=lambda row: row.hour)),
    )


def lacking(datasets: Datasets, names: tuple[str, ...], hours: set[Hour]) -> Datasets:
    rows = (
        replace(row, delivered=3 - len(names), missing=len(names), missing_tables=names) if row.hour in hours else row
        for row in datasets.tables
    )
    return replace(datasets, tables=tuple(rows))


def words(assessment: Assessment) -> list[str]:
    return [point.what for point in assessment.points]


def test_a_healthy_history_is_well() -> None:
    found = assess(healthy(), now=NOW)
    assert found.level == "well"
    assert found.points == ()
    assert found.headline == (
        "All is well. The newest Hour on record, 2022-06-05 23:00, was delivered with all of its tables, "
        "and 168 of the last 168 Hours were delivered."
    )


def test_no_history_is_not_well() -> None:
    found = assess(Datasets(), now=NOW)
    assert found.level == "unknown"
    assert "viplake observe" in found.points[0].advice


def test_a_history_that_ends_early_says_nothing_of_the_hours_since() -> None:
    assert assess(healthy(), now=NOW + timedelta(minutes=39)).level == "well"  # the next Hour's 30 minutes run
    found = assess(healthy(), now=NOW + timedelta(hours=4))
    assert found.level == "unknown"
    assert words(found) == ["The history ends with 2022-06-05 23:00: of the 4 Hours since, nothing is known here."]
    assert found.points[0].since == LAST.shift(1)


def test_hours_that_are_not_on_record_are_not_called_well() -> None:
    known = healthy()
    found = assess(replace(known, jobs=known.jobs[:-30] + known.jobs[-28:]), now=NOW)
    assert found.level == "unknown"
    assert words(found) == ["2 Hours of the last 7 days are not on record, the first of them 2022-06-04 18:00."]


def test_an_outage_that_lasts_is_trouble_with_its_cause_owner_and_remedy() -> None:
    run = RunRow(LAST, "failed", "vendor_timeout", "vendor")
    found = assess(without_jobs(healthy(), {LAST, LAST.shift(-1), LAST.shift(-2)}, run), now=NOW)
    assert found.level == "trouble"
    assert found.headline.startswith(
        "No job has been delivered since 2022-06-05 21:00: 3 Hours (vendor_timeout, owner: vendor"
    )
    assert "viplake collect" in found.points[0].advice
    assert found.points[0].since == LAST.shift(-2)
    assert found.points[0].figure == "outcomes-calendar"


def test_an_hour_that_is_on_its_way_is_no_outage() -> None:
    waiting = RunRow(LAST, "waiting")
    assert assess(without_jobs(healthy(), {LAST}, waiting), now=NOW).level == "well"
    partial = lacking(replace(healthy(), runs=(*healthy().runs[:-1], waiting)), ("Port",), {LAST})
    assert assess(partial, now=NOW).headline.startswith("All is well. The newest Hour on record, 2022-06-05 22:00")
    first = Datasets(jobs=(JobRow(LAST, 0, 1),), runs=(waiting,))
    assert assess(first, now=NOW).level == "unknown"
    failed = without_jobs(healthy(), {LAST.shift(-1)}, RunRow(LAST, "failed", "network", "network"))
    found = assess(without_jobs(failed, {LAST}, waiting), now=NOW)
    assert found.headline.startswith("No job has been delivered since 2022-06-05 22:00: 1 Hour (network")


def test_an_outage_that_is_over_is_told_with_its_span() -> None:
    gone = {LAST.shift(-number) for number in range(30, 52)}
    found = assess(without_jobs(healthy(), gone), now=NOW)
    assert found.level == "attention"
    assert words(found) == [
        "No job was delivered from 2022-06-03 20:00 to 2022-06-04 17:00, 22 Hours; the cause is not on record."
    ]
    assert "146 of the last 168 Hours were delivered; one thing needs a look" in found.headline


def test_many_outages_are_summed_up() -> None:
    gone = {LAST.shift(-number) for number in range(10, 34, 3)}
    found = assess(without_jobs(healthy(), gone), now=NOW)
    assert len(found.points) == 6
    assert words(found)[-1] == "Before that, 3 Hours of the last 7 days had no job either."


def test_what_lies_further_back_than_a_week_is_left_to_the_figures() -> None:
    assert assess(without_jobs(healthy(), {LAST.shift(-200)}), now=NOW).level == "well"


def test_tables_missing_now_are_trouble_since_they_went() -> None:
    hours = {LAST.shift(-number) for number in (0, 1, 2, 3, 4, 60)}
    found = assess(lacking(healthy(), ("Port", "Voyage"), hours), now=NOW)
    assert found.level == "trouble"
    assert words(found)[0] == "2 of 3 tables are missing since 2022-06-05 19:00: Port, Voyage."
    assert "VIPLAKE_OUT_OF_SCOPE" in found.points[0].advice
    assert words(found)[1].startswith("1 Hour of the last 7 days lacked tables")


def test_tables_missing_before_are_counted_by_name() -> None:
    found = assess(lacking(healthy(), ("Voyage",), {LAST.shift(-9), LAST.shift(-90)}), now=NOW)
    assert words(found) == ["2 Hours of the last 7 days lacked tables, most often: Voyage (2)."]


def test_a_newest_hour_without_a_schema_is_not_called_well() -> None:
    known = healthy()
    found = assess(replace(known, tables=known.tables[:-1]), now=NOW)
    assert found.level == "unknown"
    assert "cannot be said" in found.points[0].what


def test_a_volume_far_from_its_weeks_is_abnormal_since_it_began() -> None:
    known = healthy()
    sizes = (replace(row, kilobytes=300) if row.hour > LAST.shift(-4) else row for row in known.sizes)
    found = assess(replace(known, sizes=tuple(sizes)), now=NOW)
    assert found.level == "attention"
    (told,) = words(found)
    assert told.startswith(
        "The volume is abnormal since 2022-06-05 20:00: 2022-06-05 23:00 holds 300 kB, 29% of the 1,023"
    )


def test_a_volume_is_not_judged_before_three_weeks() -> None:
    known = healthy()
    late = known.sizes[-2 * 168 :]
    sizes = (*late[:-1], replace(late[-1], kilobytes=1))
    assert assess(replace(known, sizes=sizes), now=NOW).level == "well"


def test_a_phase_far_beyond_the_typical_cycle_is_told() -> None:
    known = healthy()
    runs = (*known.runs[:-1], replace(known.runs[-1], replication=47 * 60.0))
    found = assess(replace(known, runs=runs), now=NOW)
    assert words(found) == ["The replication of 2022-06-05 23:00 took 47 minutes; usual are 15 to 25."]


def test_the_worst_comes_first_and_a_long_history_is_read_whole() -> None:
    datasets = history(days=60)
    end = datasets.jobs[-1].hour
    found = assess(without_jobs(datasets, {end}), now=end.start + timedelta(minutes=50))
    assert [point.level for point in found.points][:1] == ["trouble"]
    order = ["trouble", "unknown", "attention"]
    assert [order.index(point.level) for point in found.points] == sorted(order.index(p.level) for p in found.points)
