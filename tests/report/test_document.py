"""What the page's bytes hold, without a browser: how far back it goes, what it names, what it packs."""

from __future__ import annotations

import array
import base64
import gzip
import random
from datetime import timedelta
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st
from plotly.offline import get_plotlyjs_version

from history.lakes import LAYOUT, TABLES, at, export, fill, memory
from report.generated import FIRST, history
from viplake.history.build import HistoryLocation, ObserveSettings, observe, read_history
from viplake.history.daily import daily_views
from viplake.history.rows import Datasets, JobRow, SizeRow, TableRow
from viplake.history.volumes import VolumeSeries
from viplake.judge.check import CheckTarget
from viplake.judge.evaluate import CheckSettings
from viplake.lake import Lake
from viplake.model import PROD, Hour
from viplake.report import tables
from viplake.report.page import compose, render
from viplake.report.payload import binary, compressed, dumps, figure_json, table_json
from viplake.report.tables import FigureColumn, FigureTable
from viplake.simulator.history import generate, showcase

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

SMALL = history(days=4, tables=6)
NOW = FIRST.shift(4 * 24 - 1).start + timedelta(minutes=50)


def page(**more: Any) -> str:
    return render(SMALL, title="<Prod> & DEMO", now=NOW, **more)


async def composed(target: CheckTarget, now: datetime) -> str:
    return await compose(target, title="Prod", now=now, settings=CheckSettings(), observing=ObserveSettings())


def test_only_the_last_days_are_shown_and_the_page_states_it() -> None:
    text = page(days=2)
    assert "2022-02-10T08 to 2022-02-12T07, the last part of a longer history" in text
    assert "the last part of a longer history" not in page()


def test_the_same_history_gives_the_same_page() -> None:
    assert page() == page()


async def test_the_history_of_a_lake_becomes_a_page() -> None:
    store, first = memory(), Hour.parse("2022-05-10T00")
    for hour in first.to(first.shift(5)):
        if hour != first.shift(2):
            await fill(store, export(hour, TABLES[1:] if hour == first.shift(4) else TABLES))
    lake = Lake(store, LAYOUT)
    place = HistoryLocation.within(lake)
    await observe(lake, place, at("2022-05-10T05:45"), ObserveSettings())
    text = await composed(CheckTarget(lake, place, "Prod"), at("2022-05-10T05:50").now())
    assert "2022-05-10T00 to 2022-05-10T05" in text
    assert all(f'<option value="{table}"' in text for table in TABLES)
    assert "No Hour is on record" in await composed(
        CheckTarget(lake, HistoryLocation.elsewhere(store, "other"), "Prod"), NOW
    )


@pytest.mark.system
async def test_a_history_with_every_failure_is_shown_correctly() -> None:
    store, last = memory(), Hour.parse("2022-05-31T08")
    first, past = showcase(last, tables=10)
    await generate(Lake(store, LAYOUT), first.to(last), past, environment=PROD)
    place = HistoryLocation.within(Lake(store, LAYOUT))
    await observe(Lake(store, LAYOUT), place, at("2022-05-31T08:50"), ObserveSettings())
    history = await read_history(place)
    datasets = Datasets.of(history.frames)

    outcomes = tables.outcomes(datasets)
    told = dict(zip(outcomes.times, outcomes.column("outcome"), strict=True))
    for spell in past.spells:
        expected = {"failed": "failed", "missed": "missing", "planned": "missing", "lacking": "tables missing"}
        found = {told[hour.label] for hour in spell.first.to(spell.last)}
        assert found == {expected.get(spell.kind, "delivered")}, spell
    text = await composed(CheckTarget(Lake(store, LAYOUT), place, "Prod"), at("2022-05-31T08:50").now())
    assert '<a href="#hour=20220531-06">' in text

    days = daily_views(datasets)
    jobs, means, ratios = tables.jobs_daily(datasets), tables.tables_daily(datasets), tables.table_ratio_daily(datasets)
    assert [(row.day, row.delivered, row.expected) for row in days.jobs] == rows_of(jobs)
    assert [(row.day, round(row.delivered, 4), round(row.expected, 4)) for row in days.tables] == rows_of(means)
    assert [(row.day, round(row.completeness_ratio or 0, 4)) for row in days.tables] == [
        row[:2] for row in rows_of(ratios)
    ]


def rows_of(table: FigureTable) -> list[tuple[Any, ...]]:
    return list(zip(*(column.values for column in table.columns), strict=True))


@pytest.mark.system
def test_four_months_of_300_tables_stay_below_3_megabytes() -> None:
    chance = random.Random(5)
    hours = [FIRST.shift(number) for number in range(24 * 120)]
    sizes = {
        f"TableNumber{number:03d}": array.array("q", [int(4e8 / number * chance.uniform(0.985, 1.015)) for _ in hours])
        for number in range(1, 301)
    }
    datasets = Datasets(
        jobs=tuple(JobRow(hour, 1, 1) for hour in hours),
        tables=tuple(TableRow(hour, 300, 300, 0, (), 1.0) for hour in hours),
        sizes=tuple(SizeRow(hour, chance.randrange(1_780_000, 1_820_000), 580) for hour in hours),
        volumes=VolumeSeries(FIRST, sizes),
    )
    assert len(render(datasets, title="Prod", now=hours[-1].end)) < 3_000_000


def test_a_title_is_text() -> None:
    assert "<h1>&lt;Prod&gt; &amp; DEMO</h1>" in page()


def test_the_vendored_plotly_is_the_one_that_the_figures_were_made_for() -> None:
    bundle = resources.files("viplake.report").joinpath("templates", "plotly-cartesian.min.js")
    assert f"v{get_plotlyjs_version()}\n" in bundle.read_text(encoding="utf-8")[:200]


CODES = {"i1": "b", "i2": "h", "i4": "i", "f4": "f", "f8": "d"}


def read(packed: dict[str, Any]) -> list[Any]:
    """The numbers of a binary array, as Plotly reads them; NaN is none."""
    values = array.array(CODES[packed["dtype"]], base64.b64decode(packed["bdata"]))
    return [None if value != value else value for value in values]  # noqa: PLR0124 - not NaN


NUMBERS = st.one_of(
    st.none(), st.integers(-(2**53), 2**53), st.integers(-200, 200), st.floats(allow_nan=False, allow_infinity=False)
)


@given(st.lists(NUMBERS))
def test_binary_numbers_are_the_same_numbers(values: Sequence[float | None]) -> None:
    assert read(binary(values)) == values


@given(st.lists(st.one_of(st.none(), st.text(max_size=3))))
def test_words_of_a_table_are_the_same_words(values: Sequence[str | None]) -> None:
    packed = table_json(FigureTable((FigureColumn("a", "text", values),)))[0]["values"]
    assert [None if code < 0 else packed["words"][code] for code in read(packed["codes"])] == values


@given(st.lists(st.integers(0, 500_000), unique=True))
def test_hours_of_a_table_are_the_same_hours(hours: list[int]) -> None:
    start = Hour.parse("2000-01-01T00")
    before = int(start.start.timestamp()) // 3600
    column = FigureColumn("date", "hour", [start.shift(hour).label for hour in sorted(hours)])
    packed = table_json(FigureTable((column,)))[0]["values"]
    units = read(packed["units"]) if "units" in packed else range(packed["start"], packed["start"] + packed["count"])
    assert list(units) == [before + hour for hour in sorted(hours)]


def test_regular_times_of_a_trace_are_a_start_and_a_step_and_long_lists_are_binary() -> None:
    hours = [f"2022-02-08 {hour:02d}:00" for hour in range(20)]
    trace: dict[str, Any] = {"x": hours, "y": [1] * 20, "z": [[None] * 20] * 20, "ids": ["a"] * 3, "text": ["t"] * 20}
    [packed] = figure_json({"data": [trace], "layout": {}})["data"]
    assert (packed["x0"], packed["dx"]) == ("2022-02-08 00:00", 3_600_000)
    assert "x" not in packed
    assert read(packed["y"]) == [1] * 20
    assert packed["z"]["shape"] == "20, 20"
    assert (packed["ids"], packed["text"]) == (["a"] * 3, ["t"] * 20)
    [gap] = figure_json({"data": [{"x": [*hours[:5], *hours[6:]]}], "layout": {}})["data"]
    assert len(read(gap["x"])) == 19
    [names] = figure_json({"data": [{"x": ["Voyage"] * 20}], "layout": {}})["data"]
    assert names["x"] == ["Voyage"] * 20


def test_compression_gives_the_same_bytes_each_time() -> None:
    text = dumps({"a": "</script>"})
    assert compressed(text) == compressed(text)
    assert gzip.decompress(base64.b64decode(compressed(text))).decode() == text
    assert "<" not in compressed(text)
