"""The page in a real browser: it draws everything, fetches nothing, and does what keyboards and links ask of it."""

from __future__ import annotations

import csv
import io
import itertools
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import axe_playwright_python
import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

from report.generated import FIRST, history
from viplake.history.rows import Datasets
from viplake.report import page as report_page, tables
from viplake.report.evidence import DeliveredFiles
from viplake.report.figures import CHARTS, DARK, PAPER, Chart
from viplake.report.page import Group

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

DAYS: Final = 4
SMALL: Final = history(days=DAYS, tables=6)
LAST: Final = len(CHARTS)
NUMBERS: Final = range(1, LAST + 1)


def rendered(datasets: Datasets, **more: Any) -> str:
    newest = max(datasets.hours(), default=FIRST)
    return report_page.render(datasets, title="Prod of DEMO", now=newest.start + timedelta(minutes=50), **more)


@dataclass
class Opened:
    """A page with all that it did besides showing itself."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def ready(self) -> None:
        await self.page.wait_for_selector("html[data-ready]", timeout=60_000)

    async def until(self, script: str, argument: Any = None) -> None:
        """Wait for it to be true. (Playwright's own way of waiting is forbidden by the page's policy.)"""
        for _ in range(200):
            if await self.page.evaluate(script, argument):
                return
            await self.page.wait_for_timeout(25)
        pytest.fail(f"never came true: {script}")

    async def plotted(self, number: int) -> Any:
        script = (
            "id => { const p = document.getElementById(id); return {data: p.data.map(t => t.type), layout: p.layout}; }"
        )
        return await self.page.evaluate(script, f"plot-{number}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium, which `make test` installs."""
    path = shutil.which("chromium")
    assert path, "these tests need Chromium: apt-get install chromium"
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        await started.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a small history."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(rendered(SMALL), encoding="utf-8")
    return path


@asynccontextmanager
async def opened(browser: Browser, path: Path, anchor: str = "", **options: Any) -> AsyncIterator[Opened]:
    """The page, drawn; afterwards it must have been silent and must have asked for nothing but itself."""
    context = await browser.new_context(accept_downloads=True, **options)
    found = Opened(await context.new_page())
    found.page.on("console", lambda message: found.said.append(message.text))
    found.page.on("pageerror", lambda error: found.said.append(str(error)))
    found.page.on("dialog", lambda dialog: found.said.append(f"dialog: {dialog.message}"))
    found.page.on("request", lambda request: found.asked.append(request.url))
    await found.page.goto(path.as_uri() + anchor)
    await found.ready()
    yield found
    assert found.said == []
    assert {url.partition("#")[0] for url in found.asked if not url.startswith(("data:", "blob:"))} == {path.as_uri()}
    await context.close()


DRAWN = """number => {
  const plot = document.getElementById(`plot-${number}`);
  const shapes = plot.querySelectorAll('.scatterlayer .trace path, .heatmaplayer image, .barlayer path');
  const box = plot.querySelector('svg.main-svg').getBoundingClientRect();
  return [shapes.length, Math.round(box.width), Math.round(box.height)];
}"""


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
async def test_every_figure_is_drawn_in_silence(browser: Browser, written: Path, scheme: Any, width: int) -> None:
    async with opened(browser, written, color_scheme=scheme, viewport={"width": width, "height": 800}) as report:
        for number, chart in enumerate(CHARTS, start=1):
            shapes, across, down = await report.page.evaluate(DRAWN, number)
            assert shapes, f"figure {number} ({chart.name}) is empty"
            assert across > width * 0.6
            assert down >= 200
        assert await report.page.locator("article h3").all_inner_texts() == [
            f"{number} {chart.title}" for number, chart in enumerate(CHARTS, start=1)
        ]
        # It fits, down to 320 pixels, without scrolling sideways (WCAG 2.2, 1.4.10).
        assert await report.page.evaluate("document.documentElement.scrollWidth") <= width
        await report.page.set_viewport_size({"width": 320, "height": 640})
        await report.until("document.documentElement.scrollWidth <= 320")


async def test_it_follows_the_theme_and_back(browser: Browser, written: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    async with opened(browser, written, color_scheme="light") as report:
        light = await report.page.evaluate(ground)
        assert (await report.plotted(1))["layout"]["paper_bgcolor"] == PAPER
        await report.page.emulate_media(color_scheme="dark")
        dark = DARK[PAPER]
        await report.until(f"document.getElementById('plot-{LAST}').layout.paper_bgcolor === '{dark}'")
        assert await report.page.evaluate(ground) != light
        await report.page.emulate_media(color_scheme="light")
        await report.until(f"document.getElementById('plot-{LAST}').layout.paper_bgcolor === '{PAPER}'")
        assert await report.page.evaluate(ground) == light


async def read_table(report: Opened, number: int) -> tuple[list[str], list[list[str]]]:
    """All pages of a figure's table, oldest row first."""
    article = report.page.locator(f"#figure-{number}")
    await article.locator("summary").click()
    await article.locator("table").wait_for()
    head = await article.locator("thead th").evaluate_all("all => all.map(e => e.textContent)")
    rows: list[list[str]] = []
    while True:
        script = "t => [...t.querySelectorAll('tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
        rows += await article.locator("table").evaluate(script)
        if await article.get_by_role("button", name="Older").is_disabled():
            return head, rows[::-1]
        await article.get_by_role("button", name="Older").click()


def expected_rows(chart: Chart, datasets: Datasets) -> list[list[str]]:
    """The rows of the chart's table as a person reads them."""

    def shown(value: Any) -> str:
        if value is None:
            return "\N{EN DASH}"
        if isinstance(value, str):
            return value
        return f"{value:,.4f}".rstrip("0").rstrip(".")

    return [[_spoken(str(row[0])), *(shown(value) for value in row[1:])] for row in known_rows(chart, datasets)]


def known_rows(chart: Chart, datasets: Datasets) -> list[list[Any]]:
    """The rows of the chart's table that hold anything."""
    rows = zip(*(column.values for column in chart.tabulate(datasets).columns), strict=True)
    return [list(row) for row in rows if any(value is not None for value in row[1:])]


def _spoken(label: str) -> str:
    day = f"{label[:4]}-{label[4:6]}-{label[6:8]}"
    return f"{day}T{label[9:]}" if "-" in label else day


async def test_the_tables_hold_the_numbers_of_the_figures(browser: Browser, written: Path) -> None:
    async with opened(browser, written) as report:
        for number, chart in enumerate(CHARTS, start=1):
            head, rows = await read_table(report, number)
            assert head == [column.name for column in chart.tabulate(SMALL).columns]
            assert rows == expected_rows(chart, SMALL)
            assert rows


# Chromium holds back the eleventh download in a row.
@pytest.mark.parametrize("numbers", [range(1, 8), range(8, LAST + 1)], ids=["first", "last"])
async def test_the_csv_files_hold_the_numbers_of_the_figures(browser: Browser, written: Path, numbers: range) -> None:
    def plain(cell: str, value: Any) -> Any:
        return float(cell) if isinstance(value, int | float) else cell or None

    async with opened(browser, written) as report:
        for number in numbers:
            chart = CHARTS[number - 1]
            head, *found = csv.reader(io.StringIO(await downloaded(report, number), newline=""))
            assert head == [column.name for column in chart.tabulate(SMALL).columns]
            wanted = known_rows(chart, SMALL)
            assert len(found) == len(wanted)
            assert [list(map(plain, *both)) for both in zip(found, wanted, strict=True)] == wanted


async def downloaded(report: Opened, number: int) -> str:
    async with report.page.expect_download() as waiting:
        await report.page.locator(f"#figure-{number} .download").click()
    download = await waiting.value
    assert download.suggested_filename == f"viplake-{CHARTS[number - 1].name}.csv"
    return (await download.path()).read_text(encoding="utf-8")


async def test_a_figure_can_be_taken_away_as_a_picture(browser: Browser, written: Path) -> None:
    async with opened(browser, written) as report:
        async with report.page.expect_download() as waiting:
            await report.page.get_by_role("button", name="Download PNG of figure 11").click()
        download = await waiting.value
        assert download.suggested_filename == "viplake-table-heat-map.png"
        assert (await download.path()).read_bytes().startswith(b"\x89PNG")


async def test_a_link_to_a_figure_reaches_it(browser: Browser, written: Path) -> None:
    async with opened(browser, written, "#figure-9") as report:
        assert await report.page.evaluate("document.activeElement.id") == "figure-9"
        # The page may still be gliding there.
        await report.until("Math.abs(document.getElementById('figure-9').getBoundingClientRect().top) < 200")


async def test_a_link_to_a_table_shows_its_volume(browser: Browser, written: Path) -> None:
    name = "VoyageCargo"
    known = [size for size in tables.volumes(SMALL).column(name) if size is not None]
    async with opened(browser, written, f"#table={name}") as report:
        assert await report.page.locator("#choose-13").input_value() == name
        sizes = await report.page.evaluate("[...document.getElementById('plot-13').data[0].y]")
        assert [size for size in sizes if size == size] == known  # noqa: PLR0124 - not NaN
        assert f"{name}: delivered in {len(known)} of " in await report.page.locator("#summary-13").inner_text()
        await report.page.locator("#choose-13").select_option("Voyage")
        await report.until("location.hash === '#table=Voyage'")
        await report.until("document.getElementById('summary-13').textContent.startsWith('Voyage:')")


async def test_a_link_to_an_hour_shows_all_that_is_known_of_it(browser: Browser, written: Path) -> None:
    size = SMALL.sizes[20]
    async with opened(browser, written, f"#hour={size.hour.label}") as report:
        panel = report.page.locator("#one-hour")
        assert await panel.locator("h2").inner_text() == f"Hour {size.hour}"
        pairs = "d => [...d.querySelectorAll('dt')].map(t => [t.textContent, t.nextSibling.textContent])"
        facts = dict(await panel.locator("dl").evaluate(pairs))
        assert facts["size"] == f"{size.kilobytes:,} kB"
        assert facts["files"] == f"{size.files:,}"
        assert facts["outcome"] in {"delivered", "tables missing"}
        assert {"trigger (init)", "replication", "transfer", "delivered"} <= facts.keys()
        assert next(iter(facts)) == "outcome"
        tables_of = tables.volumes(SMALL).columns[1:]
        row = list(tables.volumes(SMALL).times).index(size.hour.label)
        shown = await panel.locator("#hour-delivered tr th").all_text_contents()
        assert shown == [column.name for column in tables_of if column.values[row] is not None]
        await panel.get_by_role("button", name="Hour after").click()
        after = size.hour.shift(1)
        await report.until(f"location.hash === '#hour={after.label}'")
        await panel.get_by_role("button", name="Close").click()
        assert await panel.is_hidden()


async def test_an_hour_shows_its_job_guid_and_its_files_by_name(browser: Browser, tmp_path: Path) -> None:
    hour = SMALL.sizes[20].hour
    files = {hour: DeliveredFiles("7aa6f0c7-74d5-8c66-ab87-1cbb5fb03ab9", ("Voyage_<1>.json.gz", "_Receipt.json"))}
    path = tmp_path / "report.html"
    path.write_text(rendered(SMALL, files=files, hourly="IMOSDL/Hourly/"), encoding="utf-8")
    async with opened(browser, path, f"#hour={hour.label}") as report:
        panel = report.page.locator("#one-hour")
        assert files[hour].job_guid in await panel.locator("#hour-facts").inner_text()
        await panel.locator("summary").click()
        folder = hour.label.replace("-", "/")
        assert await panel.locator("summary").inner_text() == f"2 files in IMOSDL/Hourly/{folder}/"
        assert await panel.locator("#hour-delivered th").all_inner_texts() == list(files[hour].names)


async def test_scale_labels_on_a_phone_are_level_and_do_not_overlap(browser: Browser, written: Path) -> None:
    boxes = """() => [...document.querySelectorAll('.plot')].map((plot) =>
        [...plot.querySelectorAll('.xtick text')].map((text) => {
            const box = text.getBoundingClientRect(); return [box.left, box.right, text.textContent]; }))"""
    async with opened(browser, written, viewport={"width": 390, "height": 800}) as report:
        for labels in await report.page.evaluate(boxes):
            assert labels
            for (_, right, _), (left, _, _) in itertools.pairwise(sorted(labels)):
                assert right <= left


async def test_a_link_to_nothing_does_nothing(browser: Browser, written: Path) -> None:
    async with opened(browser, written, "#%E0%A4%A") as report:
        for anchor in ("#hour=20221399-99", "#hour=x", "#table=Nowhere", "#%E0%A4%A", "#figure-99", "#"):
            await report.page.evaluate("anchor => { location.hash = anchor; }", anchor)
            assert await report.page.locator("#one-hour").is_hidden()
            assert await report.page.locator("article.reached").count() == 0


async def test_the_hour_of_the_form_is_checked(browser: Browser, written: Path) -> None:
    async with opened(browser, written) as report:
        await report.page.get_by_label("One Hour (UTC)").fill("20221399-99")
        await report.page.get_by_role("button", name="Show").click()
        assert await report.page.locator("#one-hour").is_hidden()
        await report.page.get_by_label("One Hour (UTC)").fill(str(FIRST.shift(3)))
        await report.page.keyboard.press("Enter")
        await report.page.locator("#one-hour").wait_for(state="visible")


async def test_the_range_buttons_move_all_figures(browser: Browser, written: Path) -> None:
    async with opened(browser, written) as report:
        button = report.page.get_by_role("button", name="2 days")
        await button.click()
        assert await button.get_attribute("aria-pressed") == "true"
        script = "document.getElementById('plot-8').layout.xaxis.range.map(v => +new Date(v))"
        await report.until(f"(r => r[1] - r[0] === 49 * 3600000)({script})")


async def test_the_keyboard_reaches_every_control(browser: Browser, written: Path) -> None:
    told = """() => { const e = document.activeElement;
      return (e.getAttribute('aria-label') || (e.matches('div') ? '' : e.textContent) || e.id).trim(); }"""
    async with opened(browser, written) as report:
        reached = []
        for _ in range(150):
            await report.page.keyboard.press("Tab")
            reached.append(await report.page.evaluate(told))
            if reached[-1] == f"Download PNG of figure {LAST}":
                break
        assert reached[0] == "Skip to the verdict"
        wanted = ["All", "30 days", "7 days", "2 days", "hour", "Show"]
        assert [name for name in reached if name in wanted] == wanted
        for number in NUMBERS:
            table = reached.index(f"The numbers of figure {number} as a table")
            wanted = [f"Download CSV of figure {number}", f"Download PNG of figure {number}"]
            assert reached[table + 1 : table + 3] == wanted
        visible = "getComputedStyle(document.activeElement).outlineStyle"
        assert await report.page.evaluate(visible) == "solid"
        await report.page.locator("#figure-1 summary").focus()
        await report.page.keyboard.press("Enter")
        await report.page.locator("#figure-1 table").wait_for()
        await report.page.get_by_role("button", name="Older").first.focus()
        await report.page.keyboard.press("Enter")
        assert "rows 51 to" in await report.page.locator("#figure-1 caption").inner_text()


async def test_a_screen_reader_finds_headings_landmarks_and_words_for_every_figure(
    browser: Browser, written: Path
) -> None:
    async with opened(browser, written) as report:
        levels = await report.page.evaluate(
            "[...document.querySelectorAll('h1,h2,h3,h4')].filter(h => h.checkVisibility()).map(h => +h.tagName[1])"
        )
        assert levels.count(1) == 1
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
        for landmark in ("banner", "main", "navigation", "contentinfo"):
            assert await report.page.get_by_role(landmark).count() == 1
        assert await report.page.evaluate("document.documentElement.lang") == "en"
        for number, chart in enumerate(CHARTS, start=1):
            words = f"{number} {chart.title} {await report.page.locator(f'#summary-{number}').inner_text()}"
            assert await report.page.get_by_role("group", name=words, exact=True).count() == 1
        named = "[...document.querySelectorAll('input, select')].every(e => e.labels.length === 1)"
        assert await report.page.evaluate(named)


async def test_it_prints_in_light_colours_without_controls(browser: Browser, written: Path) -> None:
    async with opened(browser, written, color_scheme="dark") as report:
        await report.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        await report.until(f"document.getElementById('plot-{LAST}').layout.paper_bgcolor === '{PAPER}'")
        await report.page.emulate_media(media="print", color_scheme="dark")
        ink = await report.page.evaluate("getComputedStyle(document.querySelector('h1')).color")
        assert ink == "rgb(28, 32, 36)"
        for control in (".controls", "nav", "#figure-1 .twin"):
            assert await report.page.locator(control).is_hidden()
        assert await report.page.locator("#verdict").is_visible()
        widths = "[...document.querySelectorAll('.plot .main-svg:first-child')].map(e => e.clientWidth)"
        assert set(await report.page.evaluate(widths)) == {690}  # A4 has 718 between margins of a centimetre
        assert len(await report.page.pdf()) > 10_000
        await report.page.emulate_media(media="screen")
        await report.page.evaluate("dispatchEvent(new Event('afterprint'))")
        await report.until(f"document.querySelector('#plot-{LAST} .main-svg').clientWidth > 700")


HOSTILE: Final = {
    "Voyage": "<img src=x onerror=alert(1)>",
    "VoyageItinerary": "</script><script>alert(2)</script>",
    "VoyageCargo": "\"><svg onload='alert(3)'>",
    "VoyageCargoHandling": "=cmd|' /C calc'!A0",
    "VoyageEstimate": "{{ 7*7 }}<!--",
    "VoyagePnl": "a  b &lt;b&gt; ${alert(4)} \u2028",
}


async def test_A8_a_hostile_name_is_shown_to_the_letter_and_does_nothing(browser: Browser, tmp_path: Path) -> None:
    datasets = history(days=30, tables=6, renamed=HOSTILE)
    assert any(row.missing_tables for row in datasets.tables)
    path = tmp_path / "hostile.html"
    path.write_text(rendered(datasets), encoding="utf-8")
    async with opened(browser, path) as report:
        assert set(await report.page.locator("#choose-13 option").evaluate_all("o => o.map(e => e.value)")) == set(
            HOSTILE.values()
        )
        assert await report.page.locator("main img, main svg[onload], article script").count() == 0
        for name in HOSTILE.values():
            await report.page.locator("#choose-13").select_option(value=name)
            await report.until("name => document.getElementById('summary-13').textContent.startsWith(name + ':')", name)
            assert (
                await report.page.locator("#plot-13 .ytitle").evaluate("e => e.textContent")
                == f"bytes of {name}".strip()
            )
        head, _ = await read_table(report, 11)
        assert set(head[1:]) == set(HOSTILE.values())
        text = await downloaded(report, 11)
    named = next(csv.reader(io.StringIO(text, newline="")))
    assert "'=cmd|' /C calc'!A0" in named
    assert HOSTILE["VoyageItinerary"] in named


async def test_a_script_that_got_in_nevertheless_is_not_run(browser: Browser, tmp_path: Path) -> None:
    text = rendered(SMALL).replace(
        "</footer>", "</footer><script>window.got = 1</script><img src=x onerror='window.got = 1'>"
    )
    path = tmp_path / "page.html"
    path.write_text(text, encoding="utf-8")
    page = await browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    await page.goto(path.as_uri())
    await page.wait_for_selector("html[data-ready]")
    assert await page.evaluate("window.got") is None
    assert any("Content Security Policy" in line for line in said)
    await page.close()


async def test_a_quarter_of_a_year_of_45_tables_stays_below_2_megabytes(browser: Browser, tmp_path: Path) -> None:
    datasets = history(days=90, tables=45)
    path = tmp_path / "large.html"
    path.write_text(rendered(datasets), encoding="utf-8")
    assert path.stat().st_size < 2_000_000
    async with opened(browser, path) as report:
        for number in NUMBERS:
            assert (await report.page.evaluate(DRAWN, number))[0]
        assert await report.page.evaluate("document.getElementById('plot-2').calcdata[0].length") == 90 * 24


async def test_an_empty_history_gives_a_page_that_states_it(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "empty.html"
    path.write_text(rendered(Datasets()), encoding="utf-8")
    async with opened(browser, path) as report:
        assert "There is no history yet" in await report.page.locator("#verdict").inner_text()
        _, rows = await read_table(report, 1)
        assert rows == []


async def test_further_charts_come_after_the_others_and_count_on(browser: Browser, tmp_path: Path) -> None:
    first = CHARTS[0]
    mine = Chart("budget", "Budget", "What is left.", first.draw, first.tabulate)
    path = tmp_path / "more.html"
    path.write_text(rendered(SMALL, more=(Group("Objectives", (mine,)),)), encoding="utf-8")
    async with opened(browser, path) as report:
        titles = await report.page.locator("article h3").all_inner_texts()
        assert [titles[0], titles[-1]] == [f"1 {CHARTS[0].title}", f"{LAST + 1} Budget"]
        assert (await report.page.evaluate(DRAWN, LAST + 1))[0]


AXE: Final = Path(axe_playwright_python.__file__).with_name("axe.min.js")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
async def test_axe_finds_nothing_serious(browser: Browser, written: Path, scheme: Any, width: int) -> None:
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}, "bypass_csp": True}
    async with opened(browser, written, f"#hour={SMALL.sizes[20].hour.label}", **options) as report:
        await report.page.locator("#figure-1 summary").click()
        await report.page.locator("#hour-delivered summary").click()
        await report.page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
        found = (await report.page.evaluate("axe.run()"))["violations"]
    serious = [(one["id"], len(one["nodes"])) for one in found if one["impact"] in {"serious", "critical"}]
    assert serious == []


async def test_a_click_on_a_point_opens_its_hour_with_the_command_to_copy(browser: Browser, written: Path) -> None:
    async with opened(browser, written, permissions=["clipboard-read", "clipboard-write"]) as report:
        for number in (2, 14):
            plot = report.page.locator(f"#plot-{number} .nsewdrag").first
            await plot.scroll_into_view_if_needed()
            box = await plot.bounding_box()
            assert box is not None
            await report.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            await report.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            await report.page.locator("#one-hour").wait_for(state="visible")
            command = await report.page.locator("#hour-command").inner_text()
            assert command.startswith("viplake verify --from 2022-02-")
            await report.page.locator("#one-hour .copy").click()
            await report.until("document.querySelector('#one-hour .copy').textContent === 'Copied'")
            assert await report.page.evaluate("navigator.clipboard.readText()") == command
            await report.page.get_by_role("button", name="Close").click()
