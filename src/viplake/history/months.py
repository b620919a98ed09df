"""I/O. Rows of an Hour and a table: a version chain and a Parquet file a month.

A month a file, so that an hourly update rewrites one month however long the history grows, and a reader takes them all
with one pattern. What is upserted is a plain CSV under versions (see `versions`); the Parquet file is made from it and
is only ever written, so reading Parquet back is never needed.
"""

from __future__ import annotations

import asyncio
import csv
import io
import tempfile
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from viplake.errors import LakeError, SettingsError
from viplake.lake.records import FORMAT
from viplake.lake.versions import Versions
from viplake.model import Hour
from viplake.strictjson import count_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from viplake.history.datasets import Dataset
    from viplake.lake.store import Store

NONE: Final = -1
"""In a series: there is no row, or nothing in its cell."""

Cells = tuple[int | None, ...]
Rows = tuple[tuple[str, Cells], ...]
"""Of an Hour: a table and its cells, by table."""


@dataclass(frozen=True, slots=True)
class MonthlyRows:
    """A dataset with a Parquet file a month: `table_volumes/2022-05.parquet`.

    Attributes:
        dataset: beside `hour` and `table`, its columns are whole numbers; a timestamp is seconds since 1970.
        small: integers of 32 bits.
    """

    dataset: Dataset
    small: frozenset[str] = frozenset()

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns beside `hour` and `table`."""
        return self.dataset.columns[2:]

    def sql(self, column: str) -> str:
        """The expression that makes the Parquet column of the number."""
        if self.dataset.kinds[column] == "timestamp":
            return f"to_timestamp({column})"
        return f"{column}::integer" if column in self.small else column


@dataclass(slots=True)
class Months:
    """Takes in rows in the order of their Hours and writes each month as soon as it is past.

    Args:
        store: where the history lives.
        published: prefix of the files that people read.
        versions: prefix of the versions.
        rows_of: which rows.

    Attributes:
        written: the months whose file was written, `2022-05`.
    """

    store: Store
    published: str
    versions: str
    rows_of: MonthlyRows
    written: list[str] = field(default_factory=list)
    _month: str = ""
    _hours: dict[Hour, Rows] = field(default_factory=dict)

    async def add(self, hour: Hour, rows: Rows | None) -> None:
        """Add an Hour; None: nothing is known of it, and its stored rows stay."""
        month = f"{hour.start:%Y-%m}"
        if month != self._month:
            await self.flush()
            self._month = month
        if rows is not None:
            self._hours[hour] = rows

    async def flush(self) -> None:
        """Write what was taken in."""
        hours, self._hours = self._hours, {}
        if not hours:
            return
        versions = self._versions(self._month)
        known = await versions.newest()
        newest = await versions.update(lambda content: _upsert(content, hours, self.rows_of.numbers), known=known)
        published = await versions.published() if newest.number == known.number else known.number
        while newest.content is not None and newest.number > published:
            parquet = await asyncio.to_thread(_parquet, newest.content, self.rows_of)
            await self.store.put(f"{self.published}{self.rows_of.dataset.folder}{self._month}.parquet", parquet)
            await versions.mark_published(newest.number)
            self.written.append(self._month)
            published = newest.number
            newest = await versions.newest(known=newest)

    async def rows(self, first: Hour, last: Hour) -> list[tuple[Hour, str, Cells]]:
        """The rows of these Hours, both included, by Hour and table."""
        months = dict.fromkeys(f"{hour.start:%Y-%m}" for hour in first.to(last))
        contents = await asyncio.gather(*(self._versions(month).newest() for month in months))
        found = [
            (hour, table, cells)
            for version in contents
            for hour, rows in _parse(version.content).items()
            if first <= hour <= last
            for table, cells in rows
        ]
        return sorted(found, key=lambda row: row[:2])

    async def series(self, first: Hour, last: Hour, columns: Sequence[str]) -> list[dict[str, array[int]]]:
        """For each of some columns, the values of each table, one an Hour from `first` to `last`; `NONE` without one.

        For who needs months of many tables at once: 8 bytes a value instead of an object a row.
        """
        hours = list(first.to(last))
        place = {hour.label: index for index, hour in enumerate(hours)}
        months = dict.fromkeys(f"{hour.start:%Y-%m}" for hour in hours)
        found: list[dict[str, array[int]]] = [{} for _ in columns]
        for month in months:
            content = (await self._versions(month).newest()).content
            await asyncio.to_thread(_fill, content, place, columns, found)
        return found

    def _versions(self, month: str) -> Versions:
        return Versions(self.store, f"{self.versions}{self.rows_of.dataset.folder}{month}/")


def _upsert(content: bytes | None, hours: Mapping[Hour, Rows], columns: tuple[str, ...]) -> bytes:
    """The month with the rows of these Hours; the bytes of all other Hours are joined to them as they are."""
    head = _lines([("hour", "table", *columns)])
    if content is None or b'"' in content or not content.startswith(head):  # a quoted name may go over lines
        known = _parse(content) | dict(hours)
        return head + b"".join(_rows_of(hour, known[hour]) for hour in sorted(known))
    pieces, at = [], 0
    for hour in sorted(hours):
        label = hour.label.encode()
        start, end = _place(content, label, after=False), _place(content, label, after=True)
        pieces += [content[at:start], _rows_of(hour, hours[hour])]
        at = end
    return b"".join([*pieces, content[at:]])


def _place(content: bytes, label: bytes, *, after: bool) -> int:
    """Where the rows of an Hour begin, or end, in rows that are sorted by their labels."""
    low, high = content.index(b"\n") + 1, len(content)
    while low < high:
        line = content.rfind(b"\n", low, (low + high) // 2) + 1 or low
        found = content[line : line + len(label)]
        if found < label or (after and found == label):
            low = content.index(b"\n", line) + 1
        else:
            high = line
    return low


def _rows_of(hour: Hour, rows: Rows) -> bytes:
    label = hour.label
    return _lines((label, table, *cells) for table, cells in rows)  # None is an empty cell


def _lines(rows: Iterable[Sequence[str | int | None]]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def _parse(content: bytes | None) -> dict[Hour, Rows]:
    rows: dict[str, list[tuple[str, Cells]]] = {}
    try:
        reader = csv.reader(io.StringIO((content or b"").decode(), newline=""))
        columns = next(reader, [])[2:]
        for label, table, *cells in reader:
            counts = tuple(count_of(cell) if cell else None for _, cell in zip(columns, cells, strict=True))
            rows.setdefault(label, []).append((table, counts))
        return {Hour.parse(label): tuple(tables) for label, tables in rows.items()}
    except (ValueError, TypeError, csv.Error, SettingsError) as error:
        raise LakeError(f"rows of tables cannot be read: {error}", cause="ledger_damaged") from None


def _fill(
    content: bytes | None, place: Mapping[str, int], columns: Sequence[str], found: Sequence[dict[str, array[int]]]
) -> None:
    """Sort the rows of a month into the series of their tables."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(content or b""), "utf-8", newline=""))
    header = next(reader, [])
    wanted = [(header.index(column), series) for column, series in zip(columns, found, strict=True) if header]
    for row in reader:
        index = place.get(row[0])
        if index is not None:
            table = row[1]
            for at, series in wanted:
                values = series.get(table)
                if values is None:
                    values = series[table] = array("q", [NONE]) * len(place)
                values[index] = int(row[at] or NONE)


def _parquet(content: bytes, rows_of: MonthlyRows) -> bytes:
    """The rows as Parquet: `hour` a UTC timestamp, `table` text, and the other columns."""
    import duckdb  # noqa: PLC0415 - 35 MB and 0.1 s that other commands do without

    types = ", ".join(f"{column}: 'BIGINT'" for column in rows_of.numbers)
    picked = ", ".join(f'{rows_of.sql(column)} as "{column}"' for column in rows_of.numbers)
    with tempfile.TemporaryDirectory(prefix="viplake-") as folder:
        source, target = Path(folder) / "rows.csv", Path(folder) / "rows.parquet"
        source.write_bytes(content)
        with duckdb.connect(config={"threads": 1}) as connection:  # one thread: the same bytes every time
            connection.execute(
                f"""
                copy (
                    select to_timestamp(epoch(strptime(h, '%Y%m%d-%H'))) as "hour", t as "table", {picked}
                    from read_csv($source, header = true, delim = ',', quote = '"', escape = '"', auto_detect = false,
                        columns = {{h: 'VARCHAR', t: 'VARCHAR', {types}}})
                ) to '$target' (format parquet, compression zstd, kv_metadata {{viplake_format: '{FORMAT}'}})
                """.replace("$target", str(target).replace("'", "''")),  # noqa: S608 - our own names
                {"source": str(source)},
            )
        return target.read_bytes()
