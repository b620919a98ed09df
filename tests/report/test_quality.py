"""The figures of judgement hold the numbers of the check; in a browser they are drawn, in silence."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
import pytest_asyncio

from history.lakes import LAYOUT, At, memory
from report.test_page import DRAWN, browser, opened, read_table
from viplake.history.build import HistoryLocation, ObserveSettings, observe
from viplake.history.schema_changes import FIRST
from viplake.judge.calendar import Calendar, Planned
from viplake.judge.check import CheckTarget, check, preview
from viplake.judge.evaluate import CheckSettings
from viplake.lake import Lake
from viplake.model import PROD, Hour
from viplake.report import quality_figures, quality_tables
from viplake.report.figures import CHARTS, dark
from viplake.report.page import compose
from viplake.report.quality import QualityState, quality_state
from viplake.simulator.history import Spell, generate, showcase

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Browser

    from viplake.judge.check import Checked
    from viplake.report.tables import FigureTable

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

LAST: Final = Hour.parse("2022-05-31T08")
__all__ = ["browser"]


class Past:
    """A lake in which everything happened, judged."""

    def __init__(self, page: str, judged: QualityState, checked: Checked, planned: Spell) -> None:
        self.page, self.judged, self.checked, self.planned = page, judged, checked, planned


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def past() -> Past:
    store = memory()
    first, happened = showcase(LAST, tables=10)
    await generate(Lake(store, LAYOUT), first.to(LAST), happened, environment=PROD)
    clock = At(LAST.start + timedelta(minutes=50))
    lake = CheckTarget(Lake(store, LAYOUT, "memory://"), HistoryLocation.within(Lake(store, LAYOUT)), "Prod")
    await observe(Lake(store, LAYOUT), lake.place, clock, ObserveSettings())
    [planned] = [spell for spell in happened.spells if spell.kind == "planned"]
    settings = CheckSettings(calendar=Calendar((Planned("hole", planned.first, planned.last, "agreed"),)))
    checked = await check(lake, clock, settings, ObserveSettings())
    seen = await preview(lake, settings, ObserveSettings(), now=clock.now())
    judged = quality_state(seen.records, seen.incidents.values(), seen.checked, settings, now=clock.now())
    page = await compose(lake, title="Prod", now=clock.now(), settings=settings, observing=ObserveSettings())
    return Past(page, judged, checked, planned)


def rows_of(table: FigureTable) -> list[tuple[Any, ...]]:
    return list(zip(*(column.values for column in table.columns), strict=True))


async def test_each_incident_is_a_row_and_a_bar_as_long_as_it_lasted(past: Past) -> None:
    table = quality_tables.incidents(past.judged)
    rows = rows_of(table)
    found = [(one.hour.label, one.rule, one.owner, one.cause) for one in past.checked.incidents]
    assert sorted(row[:4] for row in rows if row[5] != "planned") == sorted(
        (hour, rule, owner, cause) for hour, rule, owner, cause in found
    )
    figure = quality_figures.incidents(table)
    bars = {
        (start.replace(" ", "T")[:13], rule): (trace.name, length / 3_600_000)
        for trace in figure.data
        for start, rule, length in zip(trace.base, trace.y, trace.x, strict=True)
    }
    assert bars == {
        (str(one.hour), quality_figures.rule_words(one.rule)): (
            one.owner,
            (one.last.end - one.hour.start) / timedelta(hours=1),
        )
        for one in past.checked.incidents
    }
    assert [(mark.text, mark.x, mark.y) for mark in figure.layout.annotations] == [
        ("open", f"{one.hour.start:%Y-%m-%d %H:%M}", quality_figures.rule_words(one.rule)) for one in past.checked.open
    ]


async def test_the_planned_hole_is_a_band_in_every_figure_and_no_bar(past: Past) -> None:
    hole = past.planned
    planned = quality_tables.incidents(past.judged)
    tables = (quality_tables.error_budget(past.judged), quality_tables.coverage(past.judged))
    drawn = [
        quality_figures.incidents(planned),
        quality_figures.error_budget(tables[0], planned),
        quality_figures.coverage(tables[1], planned),
    ]
    for figure in drawn:
        [band] = figure.layout.shapes
        assert (band.x0, band.x1) == (f"{hole.first.start:%Y-%m-%d %H:%M}", f"{hole.last.end:%Y-%m-%d %H:%M}")
        assert band.label.text == "planned hole"
    assert not [row for row in rows_of(planned) if row[0] == hole.first.label and row[5] != "planned"]
    assert quality_tables.incidents(past.judged, hole.last.shift(1)).column("state").count("planned") == 0


async def test_the_budget_ends_as_the_check_reports_and_counts_each_bad_hour_once(past: Past) -> None:
    table = quality_tables.error_budget(past.judged)
    for state in past.checked.objectives:
        assert table.column(f"{state.objective.name}, Hours left")[-1] == round(state.left, 2)
    bad = {one.objective.name: one.bad for one in past.checked.objectives}
    spent = {owner: sum(table.column(owner)) for owner in quality_tables.OWNERS}  # type: ignore[arg-type] # all numbers
    assert max(bad.values()) <= sum(spent.values()) <= sum(bad.values())
    for owner, hours in next(one for one in past.checked.objectives if one.objective.name == "complete").spent:
        assert spent[owner] >= hours
    assert sum(table.column("planned")) == 22  # type: ignore[arg-type] # all numbers
    assert len(quality_tables.error_budget(past.judged, LAST)) == 1


async def test_each_hole_has_its_margin_and_the_agreed_one_of_22_hours_lost_nothing(past: Past) -> None:
    rows = {(row[0], row[3]): row for row in rows_of(quality_tables.coverage(past.judged))}
    assert len(rows) == len(past.judged.gaps)
    agreed = rows[past.planned.first.label, "the whole export"]
    assert (agreed[1], agreed[2], agreed[7], agreed[8]) == (1.0, None, "nothing lost", "planned")
    lasting = [row for row in rows.values() if row[7] == "lasts"]
    [gap] = [gap for gap in past.judged.gaps if gap.before is None]
    left = gap.left(past.judged.now, past.judged.look_back)
    assert left is not None
    assert [(row[0], row[3], row[1]) for row in lasting] == [
        (gap.first.label, gap.table, round(left / timedelta(hours=1), 2))
    ]


async def test_a_loss_is_below_zero_and_marked(past: Past) -> None:
    [export, *_] = past.judged.gaps
    assert export.after is not None
    start = export.after.start
    short = replace(export, margin=timedelta(hours=-3), lost=(start, start + timedelta(hours=3)))
    table = quality_tables.coverage(replace(past.judged, gaps=(short,)))
    assert rows_of(table)[0][1:3] == (-3.0, 3.0)
    [trace] = quality_figures.coverage(table, quality_tables.incidents(past.judged)).data
    assert (trace.name, trace.marker.symbol, list(trace.y)) == ("lost", "x", [-3.0])


async def test_every_colour_has_a_word_and_dark_figures_stay_legible(past: Past) -> None:
    table = quality_tables.incidents(past.judged)
    figure = quality_figures.incidents(table)
    assert {trace.name for trace in figure.data} == {one.owner for one in past.checked.incidents}
    for trace in figure.data:
        assert all(f"owner {trace.name}" in told.replace("<br>", " ") for told in trace.customdata)
    assert dark(figure).layout.paper_bgcolor != figure.layout.paper_bgcolor


async def test_nothing_judged_draws_empty_figures() -> None:
    nothing = QualityState(LAST.start, LAST)
    table = quality_tables.incidents(nothing)
    assert len(quality_figures.incidents(table).data) == 0
    assert len(quality_figures.coverage(quality_tables.coverage(nothing), table).data) == 0
    assert len(quality_figures.error_budget(quality_tables.error_budget(nothing), table).data) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_judged_past_opens_with_its_open_incident_and_draws_it(
    browser: Browser, past: Past, tmp_path: Path, scheme: Any
) -> None:
    path = tmp_path / "judged.html"
    path.write_text(past.page, encoding="utf-8")
    assert path.stat().st_size < 4_000_000
    async with opened(browser, path, color_scheme=scheme) as report:
        words = await report.page.locator("#verdict").inner_text()
        [lasting] = [one for one in past.checked.open if one.rule == "missing_table"]
        assert f"{lasting.summary.rstrip('.')}. Cause: {lasting.cause}" in words
        assert all(f"Objective {name}:" in words for name in ("delivered", "complete", "on_time"))
        titles = await report.page.locator("article h3").all_inner_texts()
        judged = [len(CHARTS) + place for place in (1, 2, 3)]
        assert [title.split()[0] for title in titles] == [str(number) for number in range(1, len(CHARTS) + 4)]
        assert "window of 28 days" in words
        for number in judged:
            shapes, _, down = await report.page.evaluate(DRAWN, number)
            assert shapes
            assert down >= 200
        _, rows = await read_table(report, judged[0])
        assert len(rows) == len(past.checked.incidents) + 1
        _, rows = await read_table(report, len(CHARTS))
        assert [row[-2] for row in rows] == [FIRST, "CarbonIntensity: table added. VoyagePnL: table removed"]
        tiles = await report.page.locator("#verdict .tiles").inner_text()
        assert f"The same schema since\n{rows[1][0]}" in tiles
