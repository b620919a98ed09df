"""I/O. Stores the results of content checks: a record an Hour, Parquet for users, series for rules.

::

    _viplake/content/20220510/13.json.gz              the truth: what was found; a later look replaces it
    Observability/column_content/20220510/13.parquet  the same for people: a row a table and column
    Observability/table_content/2022-05.parquet       a row an Hour and table: records, oldest and newest record time

Both under where the history lives. A record is a function of the Hour's files, but for the Hour in which the same files
were opened before.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from viplake.concurrency import map_bounded
from viplake.content.profiling import ColumnProfile, ContentFinding, HourContent, TableContent
from viplake.history.datasets import COLUMN_CONTENT, TABLE_CONTENT
from viplake.history.months import MonthlyRows, Months
from viplake.lake.records import FORMAT, Count, Moment, Part, decode, reading, utc
from viplake.model import Hour
from viplake.tables.types import ValueKind

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Mapping, Sequence

    from viplake.history.build import HistoryLocation

_ROWS: Final = MonthlyRows(TABLE_CONTENT, small=frozenset({"files", "findings"}))

_AT_ONCE: Final = 16
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


async def keep(place: HistoryLocation, found: Sequence[HourContent]) -> None:
    """Store the results of some Hours, ascending.

    Raises:
        LakeError: it cannot be written.
    """
    months = Months(place.store, place.published, place.versions, _ROWS)
    for content in found:
        await place.store.put(_key(place, content.hour), to_bytes(content))
        columns = await asyncio.to_thread(_parquet, content)
        await place.store.put(f"{place.published}{COLUMN_CONTENT.folder}{content.hour.folder}.parquet", columns)
        await months.add(content.hour, tuple((table.table, _cells(table)) for table in content.tables))
    await months.flush()


async def read(place: HistoryLocation, hours: Iterable[Hour]) -> dict[Hour, HourContent]:
    """Return the stored results of these Hours, ascending; Hours without content checks are left out.

    Raises:
        LakeError: a record cannot be read.
    """
    folder, wanted = _folder(place), sorted(set(hours))
    days = set(await place.store.folders(folder)) & {hour.day for hour in wanted}
    listed = [file.key for day in sorted(days) for file in await place.store.files(f"{folder}{day}/")]
    there = frozenset(listed)

    async def one(hour: Hour) -> HourContent | None:
        data = await place.store.get(_key(place, hour))
        return None if data is None else from_bytes(data)

    known = [hour for hour in wanted if _key(place, hour) in there]
    found = await map_bounded(one, known, at_once=_AT_ONCE)
    return {hour: content for hour, content in zip(known, found, strict=True) if content is not None}


async def series(
    place: HistoryLocation, first: Hour, last: Hour
) -> tuple[dict[str, array[int]], dict[str, array[int]]]:
    """Records, and the newest record time in seconds since 1970, of each table, one an Hour; -1 where none is known.

    Raises:
        LakeError: they cannot be read.
    """
    months = Months(place.store, place.published, place.versions, _ROWS)
    rows, newest = await months.series(first, last, ["rows", "newest"])
    return rows, newest


def _folder(place: HistoryLocation) -> str:
    return f"{place.versions.removesuffix('history/')}content/"


def _key(place: HistoryLocation, hour: Hour) -> str:
    return f"{_folder(place)}{hour.folder}.json.gz"


def _cells(table: TableContent) -> tuple[int | None, ...]:
    oldest, newest = (
        None if moment is None or moment < _EPOCH else (moment - _EPOCH) // timedelta(seconds=1)
        for moment in (table.oldest, table.newest)
    )
    return (table.files, table.rows, len(table.findings), oldest, newest)


# -- records ------------------------------------------------------------------------------------------------------


def to_json(content: HourContent) -> dict[str, Any]:
    """Return the object of the record and of `viplake content --json`."""
    return {
        "hour": str(content.hour),
        "look_back_hours": content.look_back_hours,
        "schema_problem": content.schema_problem,
        "tables": [
            {
                "table": table.table,
                "files": table.files,
                "rows": table.rows,
                "conformance": table.conformance,
                "reason": table.unknown,
                "oldest": None if table.oldest is None else utc(table.oldest),
                "newest": None if table.newest is None else utc(table.newest),
                "dated": table.dated,
                "duplicates": table.duplicates,
                "examined": None if table.examined is None else str(table.examined),
                "columns": [
                    {
                        "column": column.name,
                        "declared": column.declared or None,
                        "kind": column.kind,
                        "nulls": column.nulls,
                        "distinct": column.distinct,
                        "low": column.low,
                        "high": column.high,
                        "nonconforming": column.nonconforming,
                        "beyond": column.beyond,
                        "spelled": column.spelled or None,
                    }
                    for column in table.columns
                ],
                "findings": [finding.to_json() for finding in table.findings],
            }
            for table in content.tables
        ],
    }


def to_bytes(content: HourContent) -> bytes:
    """Return the record, compressed; equal content gives equal bytes. Empty members of newer formats are left out."""
    record = {"format": FORMAT, **({"method": content.method} if content.method else {}), **to_json(content)}
    for table in record["tables"]:
        table |= {"columns": [_without(column, "beyond", "spelled") for column in table["columns"]]}
    record["tables"] = [_without(table, "examined") for table in record["tables"]]
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    return gzip.compress(text.encode(), compresslevel=4, mtime=0)


def _without(record: Mapping[str, Any], *later: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value or name not in later}


def from_bytes(data: bytes) -> HourContent:
    """Read a record.

    Raises:
        LakeError: it is none (`ledger_damaged`), or of a newer format (`lake_format`).
    """
    with reading("a record of content"):
        record = decode(gzip.decompress(data), _Record)
        tables = tuple(map(_table, record.tables))
        return HourContent(Hour.parse(record.hour), tables, record.schema_problem, record.method)


class _Column(Part, frozen=True):
    column: str
    declared: str | None
    kind: ValueKind | None
    nulls: Count
    distinct: Count
    low: str | None
    high: str | None
    nonconforming: Count | None
    beyond: Count = 0
    spelled: str = ""


class _Table(Part, frozen=True):
    table: str
    files: Count
    rows: Count | None
    columns: tuple[_Column, ...]
    findings: tuple[ContentFinding, ...]
    reason: str | None
    oldest: Moment | None
    newest: Moment | None
    dated: Count
    duplicates: Count | None
    examined: str | None = None


class _Record(Part, frozen=True):
    hour: str
    tables: tuple[_Table, ...]
    schema_problem: str | None
    method: str = ""


def _table(record: _Table) -> TableContent:
    rows = record.rows
    if record.columns and rows is None:
        raise ValueError("columns without records")
    return TableContent(
        record.table,
        record.files,
        rows,
        tuple(_column(column, rows or 0) for column in record.columns),
        record.findings,
        record.reason,
        record.oldest,
        record.newest,
        record.dated,
        record.duplicates,
        None if record.examined is None else Hour.parse(record.examined),
    )


def _column(record: _Column, rows: int) -> ColumnProfile:
    return ColumnProfile(
        record.column,
        record.declared or "",
        record.kind,
        rows,
        record.nulls,
        record.distinct,
        record.low,
        record.high,
        record.nonconforming,
        record.beyond,
        record.spelled,
    )


def _parquet(content: HourContent) -> bytes:
    """Return Parquet with one row for each table and column."""
    import duckdb  # noqa: PLC0415 - 35 MB and 0.1 s that other commands do without

    rows = [
        {
            "hour": f"{content.hour.start:%Y-%m-%d %H:00:00}+00",
            "table": table.table,
            "column": column.name,
            "declared": column.declared or None,
            "rows": column.rows,
            "nulls": column.nulls,
            "distinct": column.distinct,
            "low": column.low,
            "high": column.high,
            "nonconforming": column.nonconforming,
        }
        for table in content.tables
        for column in table.columns
    ]
    types = ", ".join(
        f"'{name}': '{'BIGINT' if kind == 'integer' else 'VARCHAR'}'" for name, kind in COLUMN_CONTENT.kinds.items()
    )
    with tempfile.TemporaryDirectory(prefix="viplake-") as folder:
        source, target = Path(folder) / "rows.json", Path(folder) / "rows.parquet"
        source.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute(
                f"""
                copy (
                    select * replace (hour::timestamptz as hour)
                    from read_json($source, format = 'newline_delimited', records = true, columns = {{{types}}})
                ) to '$target' (format parquet, compression zstd, kv_metadata {{viplake_format: '{FORMAT}'}})
                """.replace("$target", str(target).replace("'", "''")),  # noqa: S608 - our own names
                {"source": str(source)},
            )
        return target.read_bytes()
