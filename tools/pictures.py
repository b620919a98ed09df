"""I/O. Draw the pictures in docs/img anew: `make pictures`.

A generated lake is observed, its history becomes the report, and the report is photographed in Chromium, figure by
figure: what the docs show is what users get.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from viplake.clock import SystemClock
from viplake.history.build import HistoryLocation, ObserveSettings, observe
from viplake.judge.calendar import Calendar, Planned
from viplake.judge.check import CheckTarget
from viplake.judge.evaluate import CheckSettings
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.store import StoreSettings, open_store
from viplake.model import PROD, Hour
from viplake.report.figures import CHARTS
from viplake.report.page import compose
from viplake.simulator.history import generate, showcase

PICTURES = Path(__file__).parents[1] / "docs" / "img"
LAST = Hour.parse("2022-05-31T08")


@dataclass
class Then(SystemClock):
    """A clock that stands still, a while after the last Hour."""

    moment: datetime = LAST.start + timedelta(minutes=50)

    def now(self) -> datetime:
        """That moment."""
        return self.moment


async def told() -> str:
    """The page of some weeks in which everything happens."""
    lake, clock = Lake(open_store(StoreSettings("memory://")), Layout(PROD.prefix)), Then()
    first, past = showcase(LAST, days=42)
    await generate(lake, first.to(LAST), past, environment=PROD)
    planned = next(spell for spell in past.spells if spell.kind == "planned")
    place = HistoryLocation.within(lake)
    await observe(lake, place, clock, ObserveSettings())
    return await compose(
        CheckTarget(lake, place, "Prod"),
        title="VIP Data Lake: Prod",
        now=clock.now(),
        settings=CheckSettings(calendar=Calendar((Planned("hole", planned.first, planned.last, "agreed"),))),
        observing=ObserveSettings(),
    )


def photograph(page: Page) -> None:
    """The figures as the original notebooks number them, then ours."""
    for number, chart in enumerate(CHARTS, start=1):
        page.locator(f"#plot-{number}").screenshot(path=PICTURES / f"figure-{number:02d}-{chart.name}.png")


def main() -> None:
    """Write all pictures."""
    text = asyncio.run(told())  # before playwright, which has a loop of its own
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "report.html"
        file.write_text(text, encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": 1000, "height": 760}, color_scheme=scheme)
            page.goto(file.as_uri())
            page.wait_for_selector("html[data-ready]")
            page.screenshot(path=PICTURES / f"report-{scheme}.png")
            if scheme == "light":
                photograph(page)
        browser.close()


if __name__ == "__main__":
    main()
