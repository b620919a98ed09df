"""I/O. Measures the report: CPU, memory and size of the page at 300 tables, and when a browser has drawn it.

    python bench/report.py               four months, and four months out of three years
    python bench/report.py --days 30     another history

A history is built and checked once, as it is where a check runs every hour. Then the report is made in processes of its
own, and opened in Chromium. Figures and the machine: docs/bench/report.md, which it prints.
"""

# ruff: noqa: T201, S603 - a script, which prints its figures and starts itself

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # it is run by its path

from bench.judge import LAST, LAYOUT, build, one_check
from bench.measuring import machine
from viplake.history.build import HistoryLocation, ObserveSettings
from viplake.judge.check import CheckTarget
from viplake.judge.evaluate import CheckSettings
from viplake.lake import Lake
from viplake.lake.store import StoreSettings, open_store

_ROUNDS = 3


async def _report(folder: str) -> str:
    from viplake.report.page import compose  # noqa: PLC0415 - its imports are part of what is measured

    lake = Lake(open_store(StoreSettings(f"file://{folder}")), LAYOUT)
    target = CheckTarget(lake, HistoryLocation.within(lake), "Prod")
    now = LAST.end
    return await compose(target, title="Prod", now=now, settings=CheckSettings(), observing=ObserveSettings())


def timed(folder: str, out: Path) -> None:
    """Make the report in this process; print its seconds, its CPU seconds from the start, peak memory and bytes."""
    begun = time.perf_counter()
    out.write_text(asyncio.run(_report(folder)), encoding="utf-8")
    seconds, busy = time.perf_counter() - begun, time.process_time()
    # Not getrusage: its peak is inherited from the process that built the lake.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    peak = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    print(json.dumps({"seconds": seconds, "cpu": busy, "peak": peak, "bytes": out.stat().st_size}))


def drawn(page: Path) -> tuple[float, float]:
    """Return after how many seconds Chromium has drawn the first figure, and all of them."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only here

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1300, "height": 900})
        begun = time.perf_counter()
        tab.goto(page.as_uri(), wait_until="commit")
        tab.wait_for_selector("html[data-drawn]", timeout=60_000)
        first = time.perf_counter() - begun
        tab.wait_for_selector("html[data-ready]", timeout=120_000)
        whole = time.perf_counter() - begun
        browser.close()
    return first, whole


def measure(name: str, days: int, tables: int) -> str:
    """Build a history, make its report in processes of its own, and return a row of the page."""
    with tempfile.TemporaryDirectory(prefix="viplake-bench-") as folder:
        asyncio.run(build(Path(folder), days * 24, tables))
        asyncio.run(one_check(open_store(StoreSettings(f"file://{folder}"))))
        out = Path(folder) / "report.html"
        command = [sys.executable, __file__, "--timed", folder, "--out", str(out)]
        runs = [
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for _ in range(_ROUNDS)
        ]
        first, whole = drawn(out)
    cpu, seconds = (statistics.median(run[of] for run in runs) for of in ("cpu", "seconds"))
    peak = max(run["peak"] for run in runs) / 1e6
    size = runs[-1]["bytes"] / 1e6
    return f"| {name} | {cpu:.1f} | {seconds:.1f} | {peak:.0f} MB | {size:.1f} MB | {first:.1f} s | {whole:.1f} s |"


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=300)
    parser.add_argument("--days", type=int)
    parser.add_argument("--timed", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.timed:
        timed(options.timed, options.out)
        return
    histories = {"4 months": 120, "the last 4 months of 3 years": 3 * 365}
    if options.days:
        histories = {f"{options.days} days": options.days}
    load = os.getloadavg()
    print(f"{machine()}; {datetime.now(UTC):%Y-%m-%d, %H:%M} UTC; load {load[0]:.1f} at the start.\n")
    print(f"| {options.tables} tables | CPU s | seconds | peak memory | page | first figure | all figures |")
    print("|---|---|---|---|---|---|---|")
    print("| goal (4 months) | at most 3 | | 200 MB | 3 MB | 1.5 s | |")
    for name, days in histories.items():
        print(measure(name, days, options.tables), flush=True)


if __name__ == "__main__":
    main()
