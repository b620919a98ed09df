"""I/O. Draw the pictures in docs/img anew: `make pictures`.

A generated history becomes the report, and the report is photographed in Chromium, figure by figure: what the docs
show is what users get.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from report.generated import history  # noqa: E402 - found by the line above
from viplake.report.figures import CHARTS  # noqa: E402
from viplake.report.page import render  # noqa: E402

PICTURES = ROOT / "docs" / "img"


def told() -> str:
    """A history that ends in the middle of trouble, and its page."""
    datasets = history(days=38)
    newest = max(datasets.hours())
    return render(datasets, title="VIP Data Lake: Prod", now=newest.start + timedelta(minutes=50))


def photograph(page: Page) -> None:
    """The figures as the seed numbers them, then ours."""
    for number, chart in enumerate(CHARTS, start=1):
        page.locator(f"#plot-{number}").screenshot(path=PICTURES / f"figure-{number:02d}-{chart.name}.png")


def main() -> None:
    """Write all pictures."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    text = told()
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
