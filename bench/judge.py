"""Measures judgement: what anomalies find and what they find wrongly, and what a check costs.

    python bench/judge.py recall     volumes with planted faults, beside other detectors (see judge_recall)
    python bench/judge.py year       a year of 247 tables without a fault: false notifications (see judge_year)
    python bench/judge.py check      300 tables over four months: what one check costs, in a process of its own

The thresholds were chosen on the development series (`recall --development`) and frozen before the others were run.
Figures and the machine: docs/bench/judge.md.
"""

# ruff: noqa: T201, S311, S603 - a script, which prints its figures; its chance is no secret

from __future__ import annotations

import argparse
import asyncio
import math
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from viplake.clock import SystemClock
from viplake.history.build import HistoryLocation, ObserveSettings, observe
from viplake.history.datasets import DATASETS, Frame, render, upsert
from viplake.history.facts import HourFacts, RunFacts, SchemaFacts
from viplake.history.volumes import Volumes
from viplake.judge.check import Checked, CheckTarget, check
from viplake.judge.detector.usual import WEEK
from viplake.judge.evaluate import CheckSettings
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.store import Store, StoreSettings, open_store
from viplake.lake.table_index import TableFacts
from viplake.model import Hour

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WEEKS = 17
LAYOUT = Layout("IMOSDL/Hourly/")
LAST = Hour.parse("2022-05-31T08")


@dataclass(frozen=True)
class Shape:
    """What a series is like; each drawn anew for each of them.

    Attributes:
        smallest, largest: bytes of a typical Hour.
        swing: of the working day, as a logarithm.
        weekend: how much quieter, as a logarithm.
        noise: the standard deviation, as a logarithm; its memory from one Hour to the next is up to 0.7.
        growth: a day, as a logarithm, from and to.
        undelivered: the share of Hours without a volume.
        holidays: weekdays that are like a Sunday, in the whole time.
    """

    smallest: float = 10e3
    largest: float = 30e6
    swing: float = 0.5
    weekend: float = 0.8
    noise: tuple[float, float] = (0.01, 0.07)
    growth: tuple[float, float] = (-0.002, 0.006)
    undelivered: float = 0.01
    holidays: int = 0


def series(chance: random.Random, shape: Shape, weeks: int = WEEKS) -> list[int]:
    """Volumes of so many weeks; -1 where there is none."""
    typical = math.exp(chance.uniform(math.log(shape.smallest), math.log(shape.largest)))
    swing, weekend = chance.uniform(0, shape.swing), chance.uniform(0, shape.weekend)
    noise, memory = chance.uniform(*shape.noise), chance.uniform(0, 0.7)
    growth = chance.uniform(*shape.growth)
    holidays = {chance.randrange(21, weeks * 7) for _ in range(shape.holidays)}
    values, deviation = [], 0.0
    for hour in range(weeks * WEEK):
        day = hour // 24
        deviation = memory * deviation + chance.gauss(0, noise) * math.sqrt(1 - memory**2)
        quiet = weekend if day % 7 >= 5 or day in holidays else 0.0
        level = swing * math.sin(math.tau * (hour % 24 - 6) / 24) - quiet + growth * day + deviation
        values.append(-1 if chance.random() < shape.undelivered else max(round(typical * math.exp(level)), 1))
    return values


# -- what a check costs ---------------------------------------------------------------------------------------


def facts(hours: Sequence[Hour], tables: int) -> Iterator[HourFacts]:
    """Hours of many tables; now and then a table or a whole Hour is missing."""
    chance = random.Random(7)
    names = tuple(f"Table_{number:03d}" for number in range(tables))
    shape = Shape(undelivered=0.0)
    sizes = [series(chance, shape, weeks=min(len(hours) // WEEK + 1, 53)) for _ in names]
    schema = SchemaFacts("0" * 64, names)
    for place, hour in enumerate(hours):
        missed = chance.random() < 0.005
        outcome: Literal["failed", "delivered"] = "failed" if missed else "delivered"
        run = RunFacts(
            outcome, "vendor_job_failed" if missed else None, hour.end, None, "g", 1, False, 30, 1200, 120, 1, 1
        )
        if missed:
            yield HourFacts(hour, run=run)
            continue
        absent = {chance.choice(names)} if chance.random() < 0.02 else set()
        known = tuple(
            TableFacts(name, 1, sizes[number][place % len(sizes[number])])
            for number, name in enumerate(names)
            if name not in absent
        )
        total = sum(table.size for table in known)
        yield HourFacts(
            hour, len(known) + 3, total, total, True, True, schema, names, tuple(sorted(absent)), known, 1, run
        )


async def build(folder: Path, count: int, tables: int) -> None:
    """A lake with its history; only the newest Hour has a folder."""
    store = open_store(StoreSettings(f"file://{folder}"))
    place = HistoryLocation.within(Lake(store, LAYOUT))
    known = list(facts(list(LAST.shift(1 - count).to(LAST)), tables))
    imports = {d.file: render(d, upsert(d, Frame(), {one.hour: one for one in known})) for d in DATASETS}
    await store.put(LAYOUT.file(LAST, "Table_000_1.json.gz"), b"x" * 99)
    await observe(Lake(store, LAYOUT), place, _At(), ObserveSettings(), imports=imports)
    volumes = Volumes(store, place.published, place.versions)
    for start in range(0, len(known), 24):
        await volumes.add(replace(one, promise=None) for one in known[start : start + 24])
    await volumes.flush()


class _At(SystemClock):
    """A clock that stands still."""

    def now(self) -> datetime:
        """The last Hour's minute 50."""
        return LAST.start + timedelta(minutes=50)


async def one_check(store: Store) -> Checked:
    """A check as the command runs it."""
    lake = CheckTarget(Lake(store, LAYOUT), HistoryLocation.within(Lake(store, LAYOUT)), "Prod")
    return await check(lake, _At(), CheckSettings(), ObserveSettings())


def timed(folder: str) -> None:
    """In a process of its own: one check, its seconds, and the peak memory of the process."""
    begun = time.perf_counter()
    checked = asyncio.run(one_check(open_store(StoreSettings(f"file://{folder}"))))
    seconds, busy = time.perf_counter() - begun, time.process_time()
    # Not getrusage: its peak is inherited from the process that built the lake.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    peak = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    cost = f"{seconds:.2f} s ({busy:.2f} s of CPU from the process's start), {peak:.0f} MB"
    print(f"{cost}, {checked.hours} Hours judged, {len(checked.incidents)} incidents")


def measure(count: int, tables: int) -> None:
    """Build the history, then check it in processes of their own: the first check, and hourly ones."""
    with tempfile.TemporaryDirectory(prefix="viplake-bench-") as folder:
        asyncio.run(build(Path(folder), count, tables))
        for name in ("the first check", "a check an hour later", "and again"):
            print(f"{name}: ", end="", flush=True)
            subprocess.run([sys.executable, __file__, "timed", folder], check=True)


def main() -> None:
    """Parse and run."""
    if sys.argv[1:2] == ["recall"]:
        sys.path.insert(0, str(Path(__file__).parents[1]))
        from bench.judge_recall import measure_recall  # noqa: PLC0415 - found only now, where this file is run by path

        measure_recall(sys.argv[2:])
        return
    if sys.argv[1:2] == ["year"]:
        sys.path.insert(0, str(Path(__file__).parents[1]))
        from bench.judge_year import measure_year  # noqa: PLC0415 - found only now, where this file is run by path

        measure_year(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("check", "timed"))
    parser.add_argument("folder", nargs="?", default="")
    parser.add_argument("--tables", type=int, default=300)
    parser.add_argument("--days", type=int, default=120)
    options = parser.parse_args()
    if options.what == "check":
        measure(options.days * 24, options.tables)
    else:
        timed(options.folder)


if __name__ == "__main__":
    main()
