"""Counts the false notifications of a made-up year: 247 tables, one observation and one check in each Hour.

    python bench/judge.py year                  the published year: docs/bench/judge.md
    python bench/judge.py year --part 2/4       its second quarter; the last part that ends publishes all
    python bench/judge.py year --seed 1         another year, for development; nothing is published
    python bench/judge.py year --weeks 1 --each judge the volumes anew in each check, as the product does

No fault is planted, so every notification is false. Each part runs in one process with a set clock: it writes the
Hour's files (of the right sizes, without content) into a folder, then calls `observe` and `check` as the commands do,
and counts what a channel receives. Nothing in them is replaced but one thing: the volumes of a day are judged in one
go, since a volume is compared with earlier ones only, and each check of the day takes its Hours from that (`_Daily`).

The year was made before it was measured. Most exports carry the last day, so most tables are sums of 24 hours; others
carry their own hour, all of the table, one batch a day, a few records, or never change. Activity follows the working
day of three regions with daylight saving, weekends, public holidays (in the calendar, as docs/rules.md advises), quiet
days after Christmas, a summer, growth, month ends and quarter ends, and what all tables do together. The noise of an
hour is 5 to 40 %, with a memory and heavy tails. Single Hours fail and single small tables are missing, as in life.
"""

# ruff: noqa: T201, S311 - a script, which prints its figures; its chance is no secret; see `_Daily`

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import shutil
import sys
import tempfile
import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from viplake.clock import SystemClock
from viplake.history.build import HistoryLocation, ObserveSettings, observe
from viplake.history.datasets import DATASETS, Frame, render, upsert
from viplake.history.facts import HourFacts, RunFacts, SchemaFacts
from viplake.history.volumes import Volumes
from viplake.judge import check as checking, evaluate
from viplake.judge.check import CheckTarget
from viplake.judge.evaluate import (
    CheckSettings,
    Evidence,
    compared_from,
    first_of_volumes,
    hours_to_judge,
)
from viplake.judge.record import records as records_of, updated
from viplake.lake import Lake, records
from viplake.lake.layout import SCHEMA_NAME, Layout
from viplake.lake.store import StoreSettings, open_store
from viplake.lake.table_index import TableFacts
from viplake.model import Hour, Promise, PromisedFile, ProvenFile, Receipt
from viplake.simulator.history import SMALL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from viplake.judge.detector.anomaly import InsufficientHistory, VolumeVerdict
    from viplake.judge.detector.usual import AnomalySettings
    from viplake.judge.incident_records import IncidentStore
    from viplake.judge.record import Record
    from viplake.notify.message import Audience, Message
    from viplake.tables.schema import Change

LAYOUT = Layout.below("IMOSDL/Hourly")
TABLES = 247
WEEK = 168
PAST = 10
"""Weeks on record before the first check."""

FIRST = Hour.parse("2023-01-02T00")
"""A Monday: the first Hour that is checked."""

WEEKS = 52
SEED = 2026
"""Of the published year; new with each change of what is measured, so that nothing is chosen on it."""

KEPT = 240
"""Hours of which the files stay in the folder; an observation looks back a week."""


REGIONS = (("Europe/Copenhagen", "DK", 0.5), ("Asia/Singapore", "SG", 0.3), ("America/New_York", "US", 0.2))
EMPTY = 40
"""Bytes of a file without records: an empty JSON list, compressed."""

KINDS = {"day": 0.55, "hour": 0.12, "whole": 0.13, "batch": 0.05, "few": 0.07, "rare": 0.04, "still": 0.04}


PAGE = Path(__file__).parents[1] / "docs" / "bench" / "judge.md"
RESULTS = Path(__file__).parents[1] / "build" / "judge-year"
"""Where parts leave what they found, for the last one to publish."""


# -- the year -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Region:
    """Where people work; one value an Hour of the year, its past included.

    Attributes:
        swell: of the working day, from -1 to 1.
        free: whether it is a weekend or a public holiday.
        closing: how far into the closing of a month it is: 1 on the two working days before and after its end.
        quarter: the same for quarters.
        season: how much quieter the summer and the days after Christmas are; logarithm.
    """

    swell: Sequence[float]
    free: Sequence[bool]
    closing: Sequence[bool]
    quarter: Sequence[bool]
    season: Sequence[float]

    @classmethod
    def of(cls, zone: str, country: str, hours: Sequence[Hour]) -> Region:
        """The working days of a country."""
        from holidays import country_holidays  # noqa: PLC0415 - an extra

        public = country_holidays(country, years=range(2022, 2025))
        here = ZoneInfo(zone)
        times = [hour.start.astimezone(here) for hour in hours]
        days = sorted({at.date() for at in times})
        working = [day for day in days if day.weekday() < 5 and day not in public]
        closing: set[date] = set()
        for at, day in enumerate(working[:-1]):
            if working[at + 1].month != day.month:
                closing |= set(working[max(at - 1, 0) : at + 3])
        quarters = {day for day in closing if (day + timedelta(10)).month in {1, 4, 7, 10}}
        swell = [math.cos(math.tau * (at.hour - 14) / 24) for at in times]
        free = [at.weekday() >= 5 or at.date() in public for at in times]
        season = [_season(at) for at in times]
        return cls(swell, free, [at.date() in closing for at in times], [at.date() in quarters for at in times], season)


def _season(at: datetime) -> float:
    if (at.month, at.day) >= (12, 24) or (at.month, at.day) <= (1, 1):
        return 0.4
    if at.month not in {6, 7, 8}:
        return 0.0
    return 0.15 * math.sin(math.pi * (at.timetuple().tm_yday - 152) / 92)


@dataclass(frozen=True)
class Year:
    """Everything of a seed.

    Attributes:
        hours: of the year, its past included.
        sizes: bytes by table, one an Hour; -1 where the table is missing or the Hour failed.
        failed: places of Hours without an export.
        kinds: of the tables.
    """

    hours: Sequence[Hour]
    sizes: Mapping[str, array[int]]
    failed: frozenset[int]
    kinds: Mapping[str, str]

    @classmethod
    def of(cls, seed: int, tables: int = TABLES) -> Year:
        """Make it."""
        hours = list(FIRST.shift(-PAST * WEEK).to(FIRST.shift(WEEKS * WEEK - 1)))
        before = list(hours[0].shift(-24).to(hours[-1]))  # sums begin a day earlier
        regions = [Region.of(zone, country, before) for zone, country, _ in REGIONS]
        chance = random.Random(f"{seed} lake")
        together, level = [], 0.0
        for at in range(len(before)):
            if at % 24 == 0:
                level = 0.8 * level + chance.gauss(0, 0.05 * 0.6)
            together.append(level)
        names = [*SMALL, *(f"Table{number:03d}" for number in range(tables - len(SMALL)))]
        sizes, kinds = {}, {}
        for name in names:
            own = random.Random(f"{seed} {name}")
            region = own.choices(regions, [share for *_, share in REGIONS])[0]
            kinds[name] = "few" if name in SMALL else own.choices([*KINDS], [*KINDS.values()])[0]
            sizes[name] = _table(own, kinds[name], region, together)
        failed = {at for at in range(len(hours)) if chance.random() < 0.003}
        failed -= {at + 1 for at in failed}
        for at in range(len(hours)):
            absent = names if at in failed else [chance.choice(SMALL)] if chance.random() < 0.02 else []
            for name in absent:
                sizes[name][at] = -1
        return cls(hours, sizes, frozenset(failed), kinds)


def _table(chance: random.Random, kind: str, region: Region, together: Sequence[float]) -> array[int]:
    """The bytes of a table."""
    size = math.exp(chance.uniform(math.log(3e3), math.log(1e6)))
    swing, weekend = chance.uniform(0.2, 1.2), chance.uniform(0.0, 1.5)
    growth = chance.uniform(-0.05, 0.5) / (365 * 24)
    noise, memory = chance.uniform(0.05, 0.4), chance.uniform(0.0, 0.7)
    closing = math.log(chance.uniform(1.3, 3.0)) if chance.random() < 0.15 else 0.0
    joins = chance.uniform(0.5, 1.5)
    due, still = chance.randrange(24), round(size)
    rate = chance.uniform(0.3, 8.0)
    fresh, off, grown, made = math.sqrt(1 - memory**2), 0.0, 0.0, []
    for at, common in enumerate(together):
        wild = 2.0 if chance.random() < 0.02 else 1.0
        off = memory * off + chance.gauss(0, noise * wild) * fresh
        level = swing * region.swell[at] + growth * at + joins * (common - region.season[at]) + off
        level -= weekend if region.free[at] else 0.0
        level += (closing + (0.2 if closing and region.quarter[at] else 0.0)) if region.closing[at] else 0.0
        if kind in {"day", "hour"}:
            made.append(round(size * math.exp(level)))
        elif kind == "whole":
            grown += math.exp(level) * 5e-6
            made.append(round(120 * size * (1 + grown) * math.exp(chance.gauss(0, noise / 40))))
        elif kind == "batch":
            made.append(round(size * math.exp(level)) if at % 24 == (due + chance.randrange(2)) % 24 else 0)
        elif kind == "few":
            made.append(round(90 * _poisson(chance, rate * math.exp(level) / 3)))
        elif kind == "rare":
            made.append(round(120 * chance.randint(1, 20)) if chance.random() < 0.07 else 0)
        else:
            made.append(still)
    if kind in {"day", "few", "rare"}:
        window, sums = sum(made[:24]), []
        for at in range(24, len(made)):
            window += made[at] - made[at - 24]
            sums.append(EMPTY + window)
        return array("q", sums)
    return array("q", [EMPTY + value for value in made[24:]])


def _poisson(chance: random.Random, mean: float) -> int:
    limit, count, product = math.exp(-min(mean, 500.0)), 0, chance.random()
    while product > limit:
        count, product = count + 1, product * chance.random()
    return count


# -- the lake -------------------------------------------------------------------------------------------------


def facts_of(year: Year, places: range) -> list[HourFacts]:
    """What observations find in the Hours at these places."""
    names = tuple(sorted(year.sizes))
    schema = SchemaFacts("0" * 64, names)
    found = []
    for at in places:
        hour, bad = year.hours[at], at in year.failed
        outcome: Literal["failed", "delivered"] = "failed" if bad else "delivered"
        cause = "vendor_job_failed" if bad else None
        run = RunFacts(outcome, cause, hour.end, None, "g", 1, False, 30, 1200, 120, 1, 1)
        if bad:
            found.append(HourFacts(hour, run=run))
            continue
        sizes = {name: year.sizes[name][at] for name in names}
        tables = tuple(TableFacts(name, 1, size) for name, size in sizes.items() if size >= 0)
        absent = tuple(name for name, size in sizes.items() if size < 0)
        total, files = sum(table.size for table in tables), len(tables) + 2
        found.append(HourFacts(hour, files, total, total, True, True, schema, names, absent, tables, 0, run))
    return found


@dataclass
class Clock(SystemClock):
    """A clock that is set."""

    at: datetime = field(default_factory=lambda: FIRST.start)

    def now(self) -> datetime:
        """The time that it was set to."""
        return self.at


@dataclass
class Channel:
    """A channel that keeps what it gets."""

    got: list[dict[str, Any]] = field(default_factory=list)
    name: str = "webhook:year"
    audience: Audience = "people"

    async def send(self, message: Message) -> None:
        """Keep each notification."""
        lines = message.text.split("\n")
        notices = json.loads(message.json())["notices"]
        self.got += [{"text": text, **notice} for text, notice in zip(lines, notices, strict=False)]


@dataclass
class Folder:
    """The lake in a folder: what a run leaves of each Hour."""

    root: Path
    year: Year

    @cached_property
    def _schema(self) -> bytes:
        columns = [{"ColumnName": "Id", "DataType": "Integer"}, {"ColumnName": "LastUpdateGMT", "DataType": "DateTime"}]
        return json.dumps([{"DataObjectName": name, "Columns": columns} for name in sorted(self.year.sizes)]).encode()

    def deliver(self, at: int) -> None:
        """Write an Hour as a run leaves it: files, Promise, Receipt, the ledger's last event."""
        hour = self.year.hours[at]
        ended = hour.start + timedelta(minutes=27)
        worker = records.Worker("made-up", 1)
        seconds = {"init": 30.0, "replication": 1200.0, "transfer": 120.0}
        summary: dict[str, Any] = {"job_guid": f"{at:032x}", "posts": 1, "seconds": seconds}
        if at in self.year.failed:
            data = {**summary, "cause": "vendor_job_failed"}
            self._write(LAYOUT.event(hour, 1), records.event_bytes(records.EventKind.FAILED, ended, "n", worker, data))
            return
        sizes = {
            f"{name}_{at:05d}_1.json.gz": values[at] for name, values in self.year.sizes.items() if values[at] >= 0
        }
        folder = self.root / LAYOUT.folder(hour)
        folder.mkdir(parents=True)
        for name, size in sizes.items():
            with (folder / name).open("wb") as file:
                file.truncate(size)
        self._write(LAYOUT.file(hour, SCHEMA_NAME), self._schema)
        sizes[SCHEMA_NAME] = len(self._schema)
        promise = Promise(tuple(PromisedFile(f"out/{name}", size) for name, size in sizes.items()))
        proven = tuple(ProvenFile(name, f"out/{name}", size, "0" * 32, None) for name, size in sizes.items())
        self._write(LAYOUT.promise(hour), records.promise_bytes(promise))
        receipt = Receipt("Prod", "ACME", hour, f"{at:032x}", proven, ended, late=False)
        self._write(LAYOUT.receipt(hour), records.receipt_bytes(receipt))
        missing = tuple(sorted(name for name, values in self.year.sizes.items() if values[at] < 0))
        data = {**summary, "files": len(sizes), "bytes": promise.size, "missing_tables": missing, "requests": 300}
        self._write(LAYOUT.event(hour, 1), records.event_bytes(records.EventKind.DELIVERED, ended, "n", worker, data))

    def forget(self, at: int) -> None:
        """Remove an old Hour, so that the folder stays small; its rows stay in the history."""
        if at >= 0:
            hour = self.year.hours[at]
            for prefix in (LAYOUT.folder(hour), LAYOUT.ledger(hour)):
                shutil.rmtree(self.root / prefix, ignore_errors=True)

    def _write(self, key: str, data: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


# -- the volumes of a day in one go ---------------------------------------------------------------------------


class _Daily(evaluate._Volumes):
    """Judges the volumes of a day's tables once, at its first check, for all checks of the day.

    By far the most work of a check is to judge its 48 newest Hours anew; over a day, each would be judged 48 times, to
    the same end. The Hours still to come are known here, and no verdict on an Hour depends on a later one.
    """

    year: Year
    known: dict[Hour, dict[str, VolumeVerdict | InsufficientHistory]]
    until: Hour | None = None

    def _of_tables(
        self,
        tables: Mapping[str, Sequence[int]],
        lost: set[Hour],
        anomaly: AnomalySettings,
        hours: Sequence[Hour],
    ) -> dict[int, dict[str, VolumeVerdict | InsufficientHistory]]:
        cls, last, base = type(self), hours[-1], self._base
        if base is None or not tables:
            return {}
        if cls.until is None or last > cls.until:
            cls.until = end = last.shift(23 - last.start.hour)
            begin = evaluate._distance(cls.year.hours[0], last) + 1
            ahead = range(begin, begin + evaluate._distance(last, end))
            more = {name: array("q", [cls.year.sizes[name][at] for at in ahead]) for name in tables}
            longer = {name: array("q", values) + more[name] for name, values in tables.items()}
            failing = {cls.year.hours[at] for at in ahead if at in cls.year.failed or self._holiday(cls.year.hours[at])}
            found = super()._of_tables(longer, lost | failing, anomaly, [*hours, *last.shift(1).to(end)])
            cls.known = {base.shift(place): verdicts for place, verdicts in found.items()}
        places = [hour for hour in hours if hour >= self._first and self._is_judged(hour)]
        return {evaluate._distance(base, hour): cls.known.get(hour, {}) for hour in places}

    def _is_judged(self, hour: Hour) -> bool:
        at = evaluate._distance(type(self).year.hours[0], hour)
        return at not in type(self).year.failed and self._holiday(hour) is None


# -- the walk -------------------------------------------------------------------------------------------------


@dataclass
class Memory:
    """What `check` loads, without the lake: the rows of the history, and the newest Hours as a listing gives them.

    It takes the place of `viplake.judge.check._load`, which reads the same from files; `--store` reads these.
    """

    year: Year
    places: range
    _facts: dict[Hour, HourFacts] = field(init=False)
    _records: dict[Hour, Record] = field(init=False)

    def __post_init__(self) -> None:
        """Make the rows of the history, and the records of these rows."""
        self._facts = {one.hour: one for one in facts_of(self.year, self.places)}
        self._records = records_of({d.name: upsert(d, Frame(), self._facts) for d in DATASETS})

    async def load(
        self,
        target: CheckTarget,  # noqa: ARG002 - the arguments of `_load`
        kept: IncidentStore,
        observing: ObserveSettings,  # noqa: ARG002
        settings: CheckSettings,
        now: datetime,
        span: tuple[Hour | None, Hour],
    ) -> tuple[Evidence, tuple[Hour, ...]]:
        """As `_load` does, in its order."""
        first, last = span
        begin, end = self.year.hours[self.places.start], last
        if (since := checking._since(kept.judged, last, first, checking._reach(settings))) is not None:
            begin = max(begin, Hour.parse(f"{since.start:%Y-%m}-01T00"))  # months are read whole
        standing = {hour: self._records[hour] for hour in begin.to(end)}
        looked = [self._facts[hour] for hour in checking._to_look_at(standing, kept.judged, last)]
        known = updated(standing, looked, begin)
        hours = hours_to_judge(known, kept.judged, last, first)
        base = max(compared_from(first_of_volumes(known, hours), settings), begin)
        places = slice(*(evaluate._distance(self.year.hours[0], hour) for hour in (base, last.shift(1))))
        sizes = {name: values[places] for name, values in self.year.sizes.items()}
        changes: dict[Hour, Sequence[Change] | str] = {hour: () for hour in hours if known[hour].delivered}
        return Evidence(known, now, sizes, base, changes, first_run=begin), hours


async def remember(lake: Lake, year: Year, places: range) -> None:
    """Put the past into the history, as imports and earlier observations do."""
    place = HistoryLocation.within(lake)
    known = facts_of(year, places)
    imports = {d.file: render(d, upsert(d, Frame(), {one.hour: one for one in known})) for d in DATASETS}
    await observe(lake, place, Clock(at=known[-1].hour.end), ObserveSettings(), imports=imports)
    volumes = Volumes(lake.store, place.published, place.versions)
    for start in range(0, len(known), 24):
        await volumes.add(known[start : start + 24])
    await volumes.flush()


async def walk(year: Year, weeks: range, folder: Path | None) -> list[dict[str, Any]]:
    """Check each Hour of these weeks; what was notified. With a folder, observe each of them there before."""
    first, end = (PAST + weeks.start) * WEEK, (PAST + weeks.stop) * WEEK
    lake = Lake(open_store(StoreSettings("memory://" if folder is None else f"file://{folder}")), LAYOUT)
    place, channel = HistoryLocation.within(lake), Channel()
    files = None if folder is None else Folder(folder, year)
    if files is None:
        checking._load = Memory(year, range(first - PAST * WEEK, end)).load
    else:
        await lake.store.put_if_absent(LAYOUT.identity_key, records.identity_bytes("Prod", "ACME"))
        files.deliver(first - 1)
        await remember(lake, year, range(first - PAST * WEEK, first))
    calendar = [{"kind": "holiday", "country": country, "zone": zone} for zone, country, _ in REGIONS]
    settings = CheckSettings.parse({"calendar": calendar})
    target, begun = CheckTarget(lake, place, "Prod"), time.process_time()
    for at in range(first, end):
        clock = Clock(at=year.hours[at].start + timedelta(minutes=50))
        if files is not None:
            files.deliver(at)
            files.forget(at - KEPT)
            await observe(lake, place, clock, ObserveSettings())
        before = len(channel.got)
        await checking.check(target, clock, settings, ObserveSettings(), notifiers=[channel])
        for notice in channel.got[before:]:
            notice["at"] = str(year.hours[at])
            kind = year.kinds.get(notice.get("table") or "", "")
            print(f"{notice['at']} {notice['notice']} {notice['rule']} {kind}: {notice['text']}", flush=True)
        if (at + 1) % WEEK == 0:
            spent = time.process_time() - begun
            print(f"week {at // WEEK - PAST + 1}: {len(channel.got)} notifications, {spent:.0f} s of CPU", flush=True)
    return channel.got


def publish(parts: Sequence[Mapping[str, Any]]) -> None:
    """Write the result into the page, between its marks."""
    weeks, seconds = (sum(part[key] for part in parts) for key in ("weeks", "cpu"))
    notices = [notice for part in parts for notice in part["notices"]]
    incidents = {notice["id"] for notice in notices}
    kinds = Counter(notice["notice"] for notice in notices)
    rules = Counter(notice["rule"] for notice in notices)
    busiest = Counter(f"{Hour.parse(notice['at']).start:%Y-%m}" for notice in notices).most_common(3)
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    how = f"{'' if len(parts) == 1 else f', in {len(parts)} parts'}: {seconds:.0f} s of CPU"
    lines = [
        f"`python bench/judge.py year`{how}; {os.cpu_count()} cores, load {load} at the end.",
        "",
        "| | goal | reached |",
        "|---|---|---|",
        f"| false notifications a week, whole lake | at most 1 | {len(notices) / weeks:.2f} |",
        f"| notifications in {weeks} weeks | | {len(notices)}, of {len(incidents)} incidents |",
        f"| their kinds | | {_counted(kinds.most_common())} |",
        f"| their rules | | {_counted(rules.most_common())} |",
        f"| most of them in | | {_counted(busiest)} |",
    ]
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition("<!-- year -->\n")
    _, _, after = rest.partition("<!-- end of year -->\n")
    body = "\n".join(lines)
    PAGE.write_text(f"{before}<!-- year -->\n{body}\n<!-- end of year -->\n{after}", encoding="utf-8")


def _counted(found: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{count} {name}" for name, count in found) or "none"


def measure_year(arguments: Sequence[str]) -> None:
    """Walk, print, publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", default="1/1", help="which of how many parts, such as 2/4")
    parser.add_argument("--weeks", type=int, default=WEEKS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--tables", type=int, default=TABLES)
    parser.add_argument("--store", action="store_true", help="observe a folder each Hour, and load the history from it")
    parser.add_argument("--each", action="store_true", help="judge the volumes anew in each check")
    options = parser.parse_args(arguments)
    part, parts = map(int, options.part.split("/"))
    weeks = range((part - 1) * options.weeks // parts, part * options.weeks // parts)
    year = Year.of(options.seed, options.tables)
    if not options.each:
        _Daily.year = year
        evaluate._Volumes = _Daily  # type: ignore[misc]
    busy = time.process_time()
    if options.store:
        with tempfile.TemporaryDirectory(prefix="viplake-year-") as folder:
            got = asyncio.run(walk(year, weeks, Path(folder)))
    else:
        got = asyncio.run(walk(year, weeks, None))
    spent = time.process_time() - busy
    print(f"{len(got)} notifications in {len(weeks)} weeks, {spent:.0f} s of CPU")
    result = {"weeks": len(weeks), "cpu": spent, "notices": got}
    whole = options.seed == SEED and options.tables == TABLES and options.weeks == WEEKS
    if whole and not options.store and not options.each:
        RESULTS.mkdir(parents=True, exist_ok=True)
        files = [RESULTS / f"{SEED}-{number}-{parts}.json" for number in range(1, parts + 1)]
        files[part - 1].write_text(json.dumps(result), encoding="utf-8")
        if all(file.exists() for file in files):
            publish([json.loads(file.read_text(encoding="utf-8")) for file in files])


if __name__ == "__main__":
    measure_year(sys.argv[1:])
