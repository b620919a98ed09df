"""I/O. What a lake of the first user's size costs; writes `docs/bench/lake.md`.

    make bench-lake                               all of it
    make bench-lake ARGS='--only hour silence'    some parts; the others stand as they were
    make bench-lake ARGS='--years 0.33 1 --tables 100'

Parts: `hour` (one export of 2.45 GB in 300 files through `viplake run`), `silence` (checks after four years without an
export), `growth` (observe, check and report with 4 months, 1, 3 and 10 years of history). Each command is a process
of its own; its peak memory is `VmHWM`. The figures themselves are kept beside the page, as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import statistics
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from bench.judge import LAYOUT, facts
from bench.measuring import BIN, ROOT, machine, plain_environment, run, say, scratch, stub
from bench.transfer import viplake_environment
from viplake.clock import SystemClock
from viplake.history.build import HistoryLocation, ObserveSettings, observe
from viplake.history.datasets import DATASETS, VOLUMES, Frame, render, upsert
from viplake.history.facts import HourFacts
from viplake.history.volumes import Volumes
from viplake.lake import Lake
from viplake.lake.layout import PROMISE_NAME, SCHEMA_NAME
from viplake.lake.store import StoreSettings, open_store
from viplake.model import Hour
from viplake.wording import count_words

sys.path.insert(0, str(ROOT / "tests"))
from servers.seaweed import serve  # the same S3 server that the tests use

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FIGURES: Final = ROOT / "docs" / "bench" / "lake.json"
PAGE: Final = FIGURES.with_suffix(".md")
HOUR_BYTES: Final = 2_450_000_000
HOUR_FILES: Final = 300
YEARS: Final = (1 / 3, 1.0, 3.0, 10.0)
SILENT_YEARS: Final = 4
HOURS_A_YEAR: Final = 8766
LIVE: Final = 3
"""Newest Hours that have a folder; the last of them is not yet in the history."""


# -- one Hour ---------------------------------------------------------------------------------------------------


def measure_hour(rounds: int) -> dict[str, Any]:
    """One export of the user's largest size, into a folder and into SeaweedFS."""
    chance = random.Random(5)  # noqa: S311 - no secret
    weights = [chance.lognormvariate(0, 1.5) for _ in range(HOUR_FILES)]
    sizes = [max(int(HOUR_BYTES * weight / sum(weights)), 1000) for weight in weights]
    found: dict[str, list[dict[str, Any]]] = {"folder": [], "SeaweedFS": []}
    for _ in range(rounds):
        for target, runs in found.items():
            with stub("source", sizes=sizes) as vendor, scratch() as (home, _), serve(home / "seaweed") as server:
                (home / "lake").mkdir()
                lake = f"file://{home}/lake" if target == "folder" else f"s3://{server.bucket()}"
                environ = {**plain_environment(home), **server.environment(), **viplake_environment(vendor, lake)}
                done = run([str(BIN / "viplake"), "run", "--only-deliver", "--json"], environ, home)
                say(f"one Hour -> {target}: {done.seconds:.1f} s, {done.cpu:.1f} s of CPU, {done.peak_mb:.0f} MB")
                runs.append(asdict(done))
    return {"runs": found, "bytes": sum(sizes), "files": len(sizes), "largest": max(sizes)}


# -- histories --------------------------------------------------------------------------------------------------


class _At(SystemClock):
    """A clock that stands still."""

    def __init__(self, moment: datetime) -> None:
        super().__init__()
        self._moment = moment

    def now(self) -> datetime:
        """The moment."""
        return self._moment


async def build(folder: Path, hours: Sequence[Hour], tables: int) -> dict[Hour, HourFacts]:
    """Write the volumes of these Hours; return their facts without tables."""
    store = open_store(StoreSettings(folder.as_uri()))
    place = HistoryLocation.within(Lake(store, LAYOUT))
    volumes = Volumes(store, place.published, place.versions)
    found = {}
    for known in facts(hours, tables):
        await volumes.add([replace(known, promise=None)])
        found[known.hour] = replace(known, tables=())
    await volumes.flush()
    return found


async def take_in(folder: Path, known: dict[Hour, HourFacts], now: datetime) -> None:
    """Make the datasets of these Hours."""
    lake = Lake(open_store(StoreSettings(folder.as_uri())), LAYOUT)
    imports = {dataset.file: render(dataset, upsert(dataset, Frame(), known)) for dataset in DATASETS}
    await observe(lake, HistoryLocation.within(lake), _At(now), ObserveSettings(), imports=imports)


def put_live(folder: Path, hours: Sequence[Hour], tables: int) -> None:
    """Make the folders of the newest Hours; the files are as large as they should be, and empty."""
    for known in facts(hours, tables):
        target = folder / LAYOUT.file(known.hour, "x")
        target.parent.mkdir(parents=True)
        promised = []
        for table in known.tables:
            name = f"{table.table}_1.json.gz"
            target.with_name(name).touch()
            os.truncate(target.with_name(name), table.size)
            promised.append({"key": f"x/{name}", "presignedDownloadURL": "https://example.com/", "size": table.size})
        names = [f"Table_{number:03d}" for number in range(tables)]
        target.with_name(SCHEMA_NAME).write_text(json.dumps([{"DataObjectName": name} for name in names]))
        target.with_name(PROMISE_NAME).write_text(json.dumps(promised))


def command(home: Path, lake: Path, *arguments: str) -> dict[str, Any]:
    """Run a command on a lake, in a process of its own."""
    environ = plain_environment(home) | {"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": lake.as_uri()}
    return asdict(run([str(BIN / "viplake"), *arguments], environ, home, ok=(0, 1)))


def months_from(first: Hour, source: Path, target: Path) -> None:
    """Link the volumes from the month of an Hour on."""
    place = HistoryLocation.within(Lake(open_store(StoreSettings(source.as_uri())), LAYOUT))
    for prefix in (place.versions, place.published):
        for found in sorted((source / prefix / VOLUMES.folder).iterdir()):
            if found.name[:7] >= f"{first.start:%Y-%m}":
                copied = target / prefix / VOLUMES.folder / found.name
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(found, copied, copy_function=os.link) if found.is_dir() else os.link(found, copied)


def measure_growth(years: Sequence[float], tables: int) -> dict[str, Any]:
    """Observe, check and report, by the length of the history."""
    now = datetime.now(UTC)
    last = Hour.of(now).shift(-2)
    rows: dict[str, dict[str, Any]] = {}
    with scratch() as (home, _):
        whole = home / "whole"
        whole.mkdir()
        begin = last.shift(1 - int(max(years) * HOURS_A_YEAR))
        known = asyncio.run(build(whole, list(begin.to(last)), tables))
        for span in sorted(years):
            lake = home / f"lake-{span:.2f}"
            lake.mkdir()
            first = last.shift(1 - int(span * HOURS_A_YEAR))
            months_from(first, whole, lake)
            put_live(lake, list(last.shift(2 - LIVE).to(last.shift(1))), tables)
            asyncio.run(take_in(lake, {hour: one for hour, one in known.items() if hour >= first}, last.end))
            taken = {"first check": command(home, lake, "check", "--no-notify")}
            taken["observe"] = command(home, lake, "observe")
            taken["check"] = command(home, lake, "check", "--no-notify")
            taken["report"] = command(home, lake, "report", "--out", str(home / "report.html"))
            taken["report"]["bytes"] = (home / "report.html").stat().st_size
            for name, one in taken.items():
                say(f"{span:.2f} years  {name:12} {one['cpu']:6.2f} s of CPU  {one['peak_mb']:4.0f} MB")

            rows[f"{span:.2f}"] = taken
    return {"tables": tables, "years": rows}


def measure_silence() -> dict[str, Any]:
    """Checks of a lake that had two months of exports, and then none for four years."""
    now = datetime.now(UTC)
    last = Hour.of(now).shift(-1)
    first = last.shift(1 - SILENT_YEARS * HOURS_A_YEAR - 1440)
    known = {one.hour: replace(one, tables=(), run=None) for one in facts(list(first.to(first.shift(1439))), 247)}
    known |= {hour: HourFacts(hour) for hour in first.shift(1440).to(last)}
    with scratch() as (home, _):
        lake = home / "lake"
        lake.mkdir()
        asyncio.run(take_in(lake, known, last.end))
        found = {name: command(home, lake, "check", "--no-notify") for name in ("first check", "check")}
    for name, one in found.items():
        say(f"after four years: {name:12} {one['seconds']:6.2f} s  {one['cpu']:6.2f} CPU  {one['peak_mb']:4.0f} MB")
    return {"hours": len(known), "runs": found}


# -- the page ---------------------------------------------------------------------------------------------------


_INTRODUCTION: Final = """
# What a large lake costs

Written by `make bench-lake`; every run is in `lake.json` beside this page. Each command is a process of its own.
Seconds are of the whole process, CPU is that of all its threads, memory is the resident peak (`VmHWM`) in 10^6 bytes.
"Load" is the load average when the part ended. Above 1.5 the machine was busy: compare CPU, memory and counts only.
"""


def page(figures: dict[str, Any]) -> str:
    """Return the whole page; parts that were not measured are left out."""
    parts = [_INTRODUCTION.lstrip()]
    texts = {"hour": _hour_text, "silence": _silence_text, "growth": _growth_text}
    parts += [text(figures[name]) for name, text in texts.items() if name in figures]
    return "\n".join(parts)


def _when(part: dict[str, Any]) -> str:
    note = f" {part['note']}" if "note" in part else ""
    busy = " (busy machine)" if part["load"] > 1.5 else ""
    return f"{part['at']}; {part['machine']}. Load {part['load']:.1f}{busy}.{note}"


def _hour_text(part: dict[str, Any]) -> str:
    lines = [
        f"## One Hour: {part['bytes'] / 1e9:.2f} GB in {part['files']} files",
        "",
        f"`viplake run --only-deliver`; the largest file has {part['largest'] / 1e6:.0f} MB. {_when(part)}",
        "",
        "| into | seconds | CPU | peak MB | goal | runs |",
        "|---|---|---|---|---|---|",
    ]
    for target, runs in part["runs"].items():
        seconds, cpu = (statistics.median(one[key] for one in runs) for key in ("seconds", "cpu"))
        peak = max(one["peak_mb"] for one in runs)
        reached = "reached" if peak <= 150 else "**missed**"
        lines.append(f"| {target} | {seconds:.1f} | {cpu:.1f} | {peak:.0f} | at most 150: {reached} | {len(runs)} |")
    return "\n".join([*lines, ""])


def _silence_text(part: dict[str, Any]) -> str:
    lines = [
        "## Checks after four years without an export",
        "",
        f"{part['hours']:,} Hours on record; the last {SILENT_YEARS * HOURS_A_YEAR:,} have no export. {_when(part)}",
        "",
        "| | seconds | CPU | peak MB | goal |",
        "|---|---|---|---|---|",
    ]
    for name, one in part["runs"].items():
        reached = "reached" if one["cpu"] <= 5 else "**missed**"
        goal = f"at most 5 s of CPU: {reached}"
        lines.append(f"| {name} | {one['seconds']:.1f} | {one['cpu']:.1f} | {one['peak_mb']:.0f} | {goal} |")
    return "\n".join([*lines, ""])


def _growth_text(part: dict[str, Any]) -> str:
    names = ("first check", "observe", "check", "report")
    lines = [
        f"## Growth with history: {part['tables']} tables",
        "",
        f"A folder lake with one Hour that is new. CPU seconds, and peak MB. {_when(part)}",
        "",
        "| history | " + " | ".join(names) + " | report, MB of HTML |",
        "|---|" + "---|" * (len(names) + 1),
    ]
    for span, taken in part["years"].items():
        label = f"{round(float(span) * 12)} months" if float(span) < 1 else count_words(round(float(span)), "year")
        cells = [f"{taken[name]['cpu']:.1f} s, {taken[name]['peak_mb']:.0f} MB" for name in names]
        lines.append(f"| {label} | {' | '.join(cells)} | {taken['report']['bytes'] / 1e6:.1f} |")
    least, *_, most = part["years"].values()
    lines += [
        "",
        "| at the longest history | CPU | peak MB | against the shortest | goal: at most 1.0 s, 130 MB, 1.2 times |",
        "|---|---|---|---|---|",
    ]
    for name in ("observe", "check"):
        cpu, peak = most[name]["cpu"], most[name]["peak_mb"]
        growth = max(cpu / least[name]["cpu"], peak / least[name]["peak_mb"])
        missed = [what for what, bad in (("CPU", cpu > 1), ("memory", peak > 130), ("growth", growth > 1.2)) if bad]
        verdict = f"**missed** ({', '.join(missed)})" if missed else "reached"
        lines.append(f"| `{name}` | {cpu:.1f} s | {peak:.0f} | {growth:.2f} times | {verdict} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure the parts that are wanted, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=("hour", "silence", "growth"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--years", type=float, nargs="+", default=YEARS)
    parser.add_argument("--tables", type=int, default=300)
    parser.add_argument("--note", help="a sentence for the page about these runs")
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    given = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "hour": lambda: measure_hour(given.rounds),
        "silence": measure_silence,
        "growth": lambda: measure_growth(given.years, given.tables),
    }
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    for name in () if given.page else given.only or parts:
        measured = parts[name]()
        about = {"at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "machine": machine(), "load": os.getloadavg()[0]}
        figures[name] = measured | about | ({"note": given.note} if given.note else {})
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    PAGE.write_text(page(figures))
    say(f"{PAGE.relative_to(ROOT)} is written")


if __name__ == "__main__":
    main()
