"""A history to draw: weekly rhythm, outages, missing tables, a new schema, odd volumes; the same each time."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Final

from viplake.history.rows import Datasets, JobRow, RunRow, SizeRow, TableRow
from viplake.history.schema_changes import compared, versions
from viplake.history.volumes import Volume, VolumeSeries
from viplake.model import Hour
from viplake.tables.schema import TableSchema

if TYPE_CHECKING:
    from viplake.history.schema_changes import SchemaVersion, Tables

FIRST: Final = Hour.parse("2022-02-08T08")
NAMES: Final = [
    "Voyage",
    "VoyageItinerary",
    "VoyageCargo",
    "VoyageCargoHandling",
    "VoyageEstimate",
    "VoyagePnl",
    "VoyageLeg",
    "VoyageDelay",
    "Vessel",
    "VesselConsumption",
    "VesselClass",
    "VesselPosition",
    "PortCall",
    "PortActivity",
    "PortExpense",
    "Port",
    "Cargo",
    "CargoParcel",
    "CargoContract",
    "Counterparty",
    "Contact",
    "Company",
    "Invoice",
    "InvoiceLine",
    "InvoicePayment",
    "Journal",
    "JournalLine",
    "Account",
    "BunkerLifting",
    "BunkerInvoice",
    "BunkerRemaining",
    "BunkerPrice",
    "TimeCharter",
    "TimeCharterHire",
    "Charterparty",
    "Laytime",
    "LaytimeEvent",
    "Claim",
    "Commission",
    "Currency",
    "ExchangeRate",
    "Trade",
    "TradeDetail",
    "User",
    "Task",
]


def history(days: int = 90, tables: int = 45, *, renamed: dict[str, str] | None = None, seed: int = 7) -> Datasets:
    """`days` x 24 Hours from `FIRST` on, with up to 45 tables, some of them under other names."""
    chance = random.Random(seed)
    names = [(renamed or {}).get(name, name) for name in NAMES[:tables]]
    jobs, table_rows, sizes, runs, volumes = [], [], [], [], []
    for number, hour in enumerate(FIRST.to(FIRST.shift(24 * days - 1))):
        outage = number in range(300, 322) or number % 331 == 5
        failed = number in range(700, 704)
        expected = names if number > 500 else names[:-2]
        gone = set(names[5:9]) if number in range(900, 915) else {n for n in expected if chance.random() < 0.0006}
        if outage or failed:
            jobs.append(JobRow(hour, 0, 1))
            sizes.append(SizeRow(hour, 0, 0))
            if failed:
                runs.append(RunRow(hour, "failed", "vendor_timeout", "vendor", 64.0, 3000.0, None))
            continue
        weekday = 1.0 if hour.start.weekday() < 5 else 0.35
        factor = weekday * (1.2 + math.sin((hour.start.hour - 8) / 24 * 2 * math.pi)) * chance.uniform(0.93, 1.07)
        factor *= 0.3 if number in range(1200, 1206) else 1
        total = files = 0
        for rank, name in enumerate(expected):
            if name in gone:
                continue
            size = int(4e8 / (rank + 1) ** 1.4 * factor)
            parts = 1 + size // 6_000_000
            volumes.append(Volume(hour, name, parts, size))
            total, files = total + size, files + parts
        jobs.append(JobRow(hour, 1, 1))
        sizes.append(SizeRow(hour, total // 1000, files + 3))
        delivered = len(expected) - len(gone)
        ratio = round(delivered / len(expected), 4)
        table_rows.append(TableRow(hour, delivered, len(expected), len(gone), tuple(sorted(gone)), ratio))
        slow = 28 if number in range(1300, 1330) else 0
        replication = (chance.uniform(15, 25) + slow) * 60
        runs.append(RunRow(hour, "delivered", "", "", chance.uniform(30, 110), replication, chance.uniform(110, 190)))
    return Datasets(
        tuple(jobs), tuple(table_rows), tuple(sizes), tuple(runs), VolumeSeries.of(volumes), schemas(jobs, names)
    )


def schemas(jobs: list[JobRow], names: list[str]) -> tuple[SchemaVersion, ...]:
    """A column comes for ten Hours of the second day, two tables for good later on, and once nothing can be read."""
    columns: Tables = {name: TableSchema({"Id": "Integer"}) for name in names}
    wider = columns | {names[0]: TableSchema({"Id": "Integer", "Flag": "String"})}
    texts = {"a": {name: columns[name] for name in names[:-2]}, "c": columns, "b": {n: wider[n] for n in names[:-2]}}
    known: dict[str, Tables | str] = {letter * 64: tables for letter, tables in texts.items()}

    def of(number: int) -> str:
        return "d" if number == 60 else "b" if number in range(30, 40) else "c" if number > 500 else "a"

    rows = {}
    for number, job in enumerate(jobs):
        letter = of(number)
        count = str(len(texts[letter])) if letter in texts else ""
        if job.delivered:
            rows[job.hour] = (job.hour.label, letter * 64, count)
    return compared(versions(rows), known)
