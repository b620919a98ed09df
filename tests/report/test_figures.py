"""The figures hold the numbers of the datasets, under the original titles, with gaps where nothing is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from report.generated import history
from viplake.history.rows import Datasets, JobRow, PlannedSpan, RunRow, SizeRow, TableRow
from viplake.history.schema_changes import SchemaVersion, versions
from viplake.history.volumes import Volume, VolumeSeries
from viplake.model import Hour
from viplake.report import figures, tables
from viplake.tables.schema import Change

SEED_TITLES = [
    "Files Delivered (partitions, schema, scripts included) in Successful Jobs, Hourly",
    "Size of Files Delivered (partitions, schema, scripts included), Hourly",
    "Job Delivery Completeness, Averaged Daily",
    "Job Delivery Completeness Ratio, Averaged Daily",
    "Job Delivery Completeness (out of 1, hourly)",
    "Table Delivery Completeness, Averaged Daily",
    "Table Delivery Completeness Ratio, Averaged Daily",
    "Table Delivery Completeness, Hourly",
    "Table Delivery Failure, Averaged Daily",
    "Table Delivery Failure, Hourly",
]


def at(text: str) -> Hour:
    return Hour.parse(text)


SMALL = Datasets(
    jobs=(
        JobRow(at("2022-05-10T10"), 1, 1),
        JobRow(at("2022-05-10T11"), 0, 1),
        JobRow(at("2022-05-10T14"), 1, 1),
        JobRow(at("2022-05-11T00"), 1, 1),
        JobRow(at("2022-05-11T01"), 0, 1),
    ),
    tables=(
        TableRow(at("2022-05-10T10"), 2, 2, 0, (), 1.0),
        TableRow(at("2022-05-10T14"), 1, 6, 5, ("A", "B", "C", "D", "E"), 0.1667),
        TableRow(at("2022-05-11T00"), 3, 4, 1, ("B",), 0.75),
    ),
    sizes=(
        SizeRow(at("2022-05-10T10"), 100, 9),
        SizeRow(at("2022-05-10T11"), 5, 1),
        SizeRow(at("2022-05-10T14"), 80, 7),
        SizeRow(at("2022-05-11T00"), 90, 8),
    ),
    runs=(
        RunRow(at("2022-05-10T10"), "delivered", "", "", 90.0, 1200.0, 150.0),
        RunRow(at("2022-05-10T11"), "failed", "vendor_timeout", "vendor", 60.0, 3000.0, None),
    ),
    volumes=VolumeSeries.of(
        (
            Volume(at("2022-05-10T10"), "A", 1, 4000),
            Volume(at("2022-05-10T10"), "F", 2, 9000),
            Volume(at("2022-05-10T14"), "F", 2, 9100),
            Volume(at("2022-05-11T00"), "A", 1, 4100),
        )
    ),
)


def points(figure: Any, name: str) -> dict[str, Any]:
    """x to y of the line of this name, and of its unfinished day; gaps left out."""
    traces = [trace for trace in figure.data if trace.name in {name, f"{name} so far"}]
    return {x: y for trace in traces for x, y in zip(trace.x, trace.y, strict=True) if y is not None}


def test_the_ten_are_the_seeds_by_title_and_order() -> None:
    assert [figure.layout.title.text for figure in figures.ten(SMALL)] == SEED_TITLES
    assert [chart.title for chart in figures.CHARTS[:10]] == SEED_TITLES


def test_figure_1_counts_files_only_where_the_job_was_delivered() -> None:
    found = points(figures.files_hourly(SMALL), "files")
    assert found == {"2022-05-10 10:00": 9, "2022-05-10 14:00": 7, "2022-05-11 00:00": 8}


def test_figure_2_holds_the_kilobytes_of_every_hour() -> None:
    assert list(points(figures.size_hourly(SMALL), "size").values()) == [100, 5, 80, 90]


def test_figures_3_and_4_sum_the_jobs_of_a_day() -> None:
    completeness = figures.job_completeness_daily(SMALL)
    assert points(completeness, "delivered") == {"2022-05-10 12:00": 2, "2022-05-11 12:00": 1}
    assert points(completeness, "expected") == {"2022-05-10 12:00": 3}
    ratios = points(figures.job_ratio_daily(SMALL), "successRatio")
    assert ratios == {"2022-05-10 12:00": 0.6667, "2022-05-11 12:00": 0.5}


def test_figure_5_holds_one_or_nought_an_hour() -> None:
    assert list(points(figures.job_completeness_hourly(SMALL), "jobDelivered").values()) == [1, 0, 1, 1, 0]


def test_figures_6_and_9_are_means_over_the_days_rows() -> None:
    assert points(figures.table_completeness_daily(SMALL), "delivered")["2022-05-10 12:00"] == 1.5
    assert points(figures.table_completeness_daily(SMALL), "expected")["2022-05-10 12:00"] == 4.0
    missing = points(figures.table_failure_daily(SMALL), "missingTables")
    assert missing == {"2022-05-10 12:00": 2.5, "2022-05-11 12:00": 1.0}


def test_figure_7_is_sum_by_sum_and_not_the_mean_of_ratios() -> None:
    ratios = points(figures.table_ratio_daily(SMALL), "completenessRatio")
    assert ratios["2022-05-10 12:00"] == 0.375  # (2 + 1) / (2 + 6); the mean of 1 and 1/6 would be 0.583


def test_figures_8_and_10_hold_every_hour_with_a_schema() -> None:
    assert list(points(figures.table_completeness_hourly(SMALL), "expected").values()) == [2, 6, 4]
    trace = figures.table_failure_hourly(SMALL).data[0]
    told = dict(zip(trace.x, trace.text, strict=True))
    assert told["2022-05-10 10:00"] == ""
    assert told["2022-05-11 00:00"] == "<br>B"


def test_a_missing_hour_breaks_the_line_and_a_lonely_one_is_a_dot() -> None:
    line, dots, *_ = figures.job_completeness_hourly(SMALL).data
    assert line.x[:4] == ("2022-05-10 10:00", "2022-05-10 11:00", "2022-05-10 12:00", "2022-05-10 13:00")
    assert line.y[:5] == (1, 0, None, None, 1)
    assert line.connectgaps is False
    assert dots.x == ("2022-05-10 14:00",)


def test_a_missing_day_breaks_a_daily_line() -> None:
    jobs = tuple(JobRow(at(f"2022-05-{day}T00"), 1, 1) for day in ("01", "02", "05"))
    trace = figures.job_ratio_daily(Datasets(jobs=jobs)).data[0]
    assert trace.x == ("2022-05-01 12:00", "2022-05-02 12:00", "2022-05-03 12:00", "2022-05-05 12:00")
    assert trace.y == (1, 1, None, None)


def test_many_missing_tables_are_cut_in_the_hover_box_but_not_in_the_table() -> None:
    names = tuple(f"TableNumber{number:03d}" for number in range(200))
    datasets = Datasets(tables=(TableRow(at("2022-05-10T10"), 0, 200, 200, names, 0.0),))
    (text,) = figures.table_failure_hourly(datasets).data[0].text
    assert text.count("<br>") == 8
    assert text.endswith(" ...")
    assert tables.missing_hourly(datasets).column("missingTablesList") == [", ".join(names)]


def test_the_heat_map_distinguishes_delivered_missing_no_job_and_unknown() -> None:
    table = tables.table_states(SMALL)
    states = {
        column.name: dict(zip((label[6:] for label in table.times), column.values, strict=True))
        for column in table.columns[1:]
    }
    assert states["A"]["10-10"] == "delivered"
    assert states["A"]["10-11"] == "no job"
    assert states["A"]["10-12"] is None
    assert states["A"]["10-14"] == "missing"
    assert states["F"]["11-00"] is None  # volumes are known for this Hour and hold none of it
    heat = figures.table_heat_map(SMALL).data[0]
    assert heat.y[0] == "B"  # the one most often missing
    assert list(heat.z[1][:5]) == [0, 2, None, None, 1]


def test_a_lonely_missing_hour_is_marked_however_narrow_its_cell() -> None:
    figure = figures.table_heat_map(SMALL)
    marks = figure.data[-1]
    assert set(zip(marks.x, marks.y, strict=True)) >= {("2022-05-10 14:00", "A"), ("2022-05-11 00:00", "B")}
    assert [shape.x0 for shape in figure.layout.shapes] == ["2022-05-10 11:00", "2022-05-11 01:00"]
    rows = tuple(TableRow(at("2022-05-10T00").shift(i), 0, 1, 1, ("A",), 0.0) for i in range(figures.SHORT_STRETCH))
    assert figures.table_heat_map(Datasets(tables=rows)).data[-1].x == ()
    assert len(figures.table_heat_map(Datasets(tables=rows[1:])).data[-1].x) == 1


def test_without_volumes_a_table_that_is_not_listed_as_missing_counts_as_delivered() -> None:
    table = tables.table_states(Datasets(jobs=SMALL.jobs, tables=SMALL.tables))
    assert table.column("B")[0] == "delivered"


def test_the_phases_are_minutes_over_the_typical_cycle() -> None:
    figure = figures.phases(SMALL)
    assert {trace.name: trace.y[0] for trace in figure.data} == {"init": 1.5, "replication": 20.0, "transfer": 2.5}
    assert [(shape.y0, shape.y1) for shape in figure.layout.shapes] == [(0, 2), (15, 25), (2, 3)]


def test_one_tables_volume_is_bytes_with_a_gap_where_it_was_not_delivered() -> None:
    trace = figures.table_volume(SMALL, "A").data[0]
    assert dict(zip(trace.x, trace.y, strict=True))["2022-05-10 14:00"] is None
    assert points(figures.table_volume(SMALL, "A"), "bytes") == {"2022-05-10 10:00": 4000, "2022-05-11 00:00": 4100}
    assert figures.largest_table(SMALL) == "F"
    assert points(figures.table_volume(SMALL), "bytes")["2022-05-10 14:00"] == 9100


def test_a_table_that_never_was_is_an_empty_figure() -> None:
    assert len(figures.table_volume(SMALL, "Nowhere").data) == 0


def test_the_calendar_shows_the_outcome_of_each_hour() -> None:
    outcomes = tables.outcomes(SMALL)
    known = [outcome for outcome in outcomes.column("outcome") if outcome]
    assert known == ["delivered", "failed", "tables missing", "tables missing", "missing"]
    assert outcomes.column("cause")[1] == "vendor_timeout"
    heat, *legend = figures.outcomes_calendar(SMALL).data
    assert heat.x == ("2022-05-10", "2022-05-11")
    assert [heat.z[hour][0] for hour in (9, 10, 11, 14)] == [None, 0, 4, 2]
    assert [trace.name for trace in legend][-1] == "missing (M)"
    assert heat.text[1][1] == "M"
    assert "vendor_timeout" in heat.customdata[11][0]


def test_figure_15_has_one_bar_a_version_with_its_changes() -> None:
    datasets = history(days=4, tables=6)
    well, broken = figures.schema_versions(datasets).data
    assert [(name, base[8:]) for name, base in zip(well.y, well.base, strict=True)] == [
        ("Schema 1", "08 08:00"),
        ("Schema 2", "09 14:00"),
        ("Schema 1", "10 00:00"),
        ("Schema 1", "10 21:00"),
    ]
    hour = 3_600_000
    assert [length // hour for length in well.x] == [30, 10, 20, 35]
    assert "column Flag added (String)" in well.customdata[1].replace("<br>", " ")
    assert (broken.name, list(broken.y), list(broken.x)) == ("cannot be read", ["Schema 3"], [hour])
    assert tables.schema_versions(datasets).column("what changed")[2] == "Voyage: column Flag removed (String)"


def test_of_many_schemas_the_newest_are_drawn_and_all_are_in_the_table() -> None:
    rows = {at("2022-05-10T00").shift(n): ("", f"{n:064x}"[::-1], "1") for n in range(figures.MOST_SCHEMAS + 5)}
    many = Datasets(schemas=versions(rows))
    figure = figures.schema_versions(many)
    assert len(figure.data[0].y) == figures.MOST_SCHEMAS
    assert list(figure.layout.yaxis.categoryarray)[-1] == f"Schema {figures.MOST_SCHEMAS + 5}"
    assert "the table below has all" in figure.layout.annotations[0].text
    assert len(tables.schema_versions(many)) == figures.MOST_SCHEMAS + 5


@pytest.mark.system
@pytest.mark.parametrize("chart", figures.CHARTS, ids=lambda chart: chart.name)
def test_every_figure_can_be_drawn_of_nothing_of_one_hour_and_of_much(chart: figures.Chart) -> None:
    for datasets in (Datasets(), Datasets(jobs=SMALL.jobs[:1]), SMALL, history(days=3)):
        figure = chart.draw(datasets)
        assert figure.layout.title.text == chart.title
        assert len({len(column.values) for column in chart.tabulate(datasets).columns}) == 1
        assert "nan" not in figure.to_json().lower().replace("nanmean", "")


def test_a_stray_date_does_not_make_an_endless_matrix() -> None:
    jobs = (JobRow(at("2001-01-01T00"), 1, 1), *SMALL.jobs)
    row = TableRow(at("2001-01-01T00"), 1, 1, 0, (), 1.0)
    strange = Datasets(jobs=jobs, tables=(row, *SMALL.tables))
    assert len(tables.table_states(strange)) == tables.MATRIX_HOURS
    assert len(tables.outcomes(strange)) == tables.MOST_HOURS


def test_figures_3_to_10_have_lines_for_the_sla_and_the_expected_value() -> None:
    datasets = replace(SMALL, targets={"delivered": 0.994, "complete": 0.99})
    drawn = [{trace.name for trace in figure.data} for figure in figures.ten(datasets)]
    assert [number for number, names in enumerate(drawn, start=1) if "expected" in names] == list(range(3, 11))
    assert [number for number, names in enumerate(drawn, start=1) if any(n.startswith("SLA") for n in names)] == [
        3, 4, 6, 7, 8, 9, 10,
    ]  # fmt: skip
    assert points(figures.job_completeness_daily(datasets), "SLA 0.994")["2022-05-10 12:00"] == 2.982
    assert points(figures.table_failure_hourly(datasets), "SLA 0.99")["2022-05-10 14:00"] == 0.06
    assert points(figures.table_failure_hourly(datasets), "expected")["2022-05-10 14:00"] == 0


def test_planned_hours_are_planned_in_every_figure_and_not_missing() -> None:
    span = PlannedSpan(at("2022-05-10T11"), at("2022-05-10T12"), "planned hole")
    datasets = replace(SMALL, planned=(span,), runs=())
    assert tables.outcomes(datasets).column("outcome")[1:3] == ["planned", None]
    assert tables.table_states(datasets).column("A")[1] == "planned"
    assert tables.jobs_hourly(datasets).column("jobDelivered")[1] is None
    before, counted = (tables.jobs_daily(of).column("expected") for of in (SMALL, datasets))
    assert (before[0], counted[0]) == (3, 2)
    assert tables.job_ratio_daily(datasets).column("successRatio")[0] == 1
    for chart in figures.CHARTS:
        shapes = chart.draw(datasets).layout.shapes
        if chart.name not in {"table-heat-map", "outcomes-calendar"}:
            assert "planned hole" in [shape.label.text for shape in shapes], chart.name


def test_the_last_day_is_a_mark_of_its_own_while_hours_are_still_to_come() -> None:
    line, mark, *_ = figures.job_completeness_daily(SMALL).data
    assert (line.y, mark.name, mark.x, mark.y) == ((2, None), "delivered so far", ("2022-05-11 12:00",), (1,))
    whole = Datasets(jobs=tuple(JobRow(at("2022-05-10T00").shift(n), 1, 1) for n in range(24)))
    assert not [trace for trace in figures.job_ratio_daily(whole).data if "so far" in trace.name]


def test_a_ratio_scale_that_does_not_begin_at_zero_is_labelled() -> None:
    near = Datasets(jobs=tuple(JobRow(at("2022-05-10T00").shift(n), n != 3, 1) for n in range(24)))
    assert "The scale begins at 0.9" in figures.job_ratio_daily(near).layout.annotations[0].text
    low = Datasets(jobs=tuple(JobRow(at("2022-05-10T00").shift(n), 0, 1) for n in range(24)))
    assert figures.job_ratio_daily(low).layout.yaxis.range[0] == 0


def test_bytes_of_a_table_are_rounded_to_a_thousandth_of_the_largest() -> None:
    scaled = tables.ScaledNumbers.of([-1, 0, 1_880_123_456, 5_123_456])
    assert list(scaled) == [None, 0, 1_880_000_000, 5_000_000]
    assert list(tables.ScaledNumbers.of([9_999, 3])) == [9_999, 3]


def test_A8_a_hostile_name_is_shown_to_the_letter() -> None:
    name = "<b onclick=alert(1)>&"
    hour = at("2022-05-10T10")
    hostile = Datasets(
        tables=(TableRow(hour, 0, 1, 1, (name,), 0.0),),
        volumes=VolumeSeries.of([Volume(hour, name, 1, 1)]),
        jobs=(JobRow(hour, 1, 1),),
    )
    assert figures.table_heat_map(hostile).data[0].y == ("&lt;b onclick=alert(1)&gt;&amp;",)
    assert figures.table_failure_hourly(hostile).data[0].text == ("<br>&lt;b onclick=alert(1)&gt;&amp;",)
    version = SchemaVersion("a" * 64, hour, hour, 1, 1, (Change(name, "table added"),))
    assert "&lt;b onclick" in figures.schema_versions(Datasets(schemas=(version,))).data[0].customdata[0].replace(
        "<br>", " "
    )
    assert "&lt;b onclick" in figures.table_volume(hostile).layout.yaxis.title.text
    assert "&lt;b onclick" in figures.outcomes_calendar(hostile).data[0].customdata[10][0]


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [{}, figures.DARK], ids=["light", "dark"])
def test_lines_and_words_have_enough_contrast(colours: dict[str, str]) -> None:
    def shown(colour: str) -> str:
        return colours.get(colour, colour)

    ground = shown(figures.PAPER)
    for line in (figures.BLUE, figures.VERMILLION, figures.FAINT):
        assert _contrast(shown(line), ground) >= 3  # WCAG 2.2, 1.4.11
    for words in (figures.INK, figures.FAINT):
        assert _contrast(shown(words), ground) >= 4.5  # WCAG 2.2, 1.4.3


def test_the_dark_figure_is_the_same_in_other_colours() -> None:
    figure = figures.phases(SMALL)
    dark = figures.dark(figure)
    assert dark.layout.paper_bgcolor == figures.DARK[figures.PAPER]
    assert dark.data[1].y == figure.data[1].y
    assert figure.layout.paper_bgcolor == figures.PAPER
