"""I/O. Table volumes: one row an Hour and table, a Parquet file a month.

A month a file, so that an hourly update rewrites one month however long the history grows, and a reader takes
them all with one pattern. What is upserted is a plain CSV under versions (see `versions`); the Parquet file is
made from it and is only ever written, so nobody depends on reading Parquet back.
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
from viplake.lake.layout import FORMAT
from viplake.model import Hour
from viplake.observe.versions import Versions
from viplake.strictjson import count_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from viplake.lake.store import Store
    from viplake.observe.facts import HourFacts, TableFacts

FOLDER: Final = "table_volumes/"
"""Below the published files: `table_volumes/2022-05.parquet`."""

_COLUMNS: Final = ("hour", "table", "partitions", "bytes")


@dataclass(frozen=True, slots=True)
class Volume:
    """A row: a table of an Hour that has files."""

    hour: Hour
    table: str
    partitions: int
    size: int


@dataclass(slots=True)
class Volumes:
    """Takes in facts in the order of their Hours and writes each month as soon as it is past.

    Args:
        store: where the history lives.
        published: prefix of the files that people read.
        versions: prefix of the versions.

    Attributes:
        written: the months whose file was written, `2022-05`.
    """

    store: Store
    published: str
    versions: str
    written: list[str] = field(default_factory=list)
    _month: str = ""
    _hours: dict[Hour, tuple[TableFacts, ...]] = field(default_factory=dict)

    async def add(self, facts: Iterable[HourFacts]) -> None:
        """Take in the Hours that the lake has; rows of others stand."""
        for known in facts:
            month = f"{known.hour.start:%Y-%m}"
            if month != self._month:
                await self.flush()
                self._month = month
            if known.delivered:
                self._hours[known.hour] = known.tables

    async def flush(self) -> None:
        """Write what was taken in."""
        hours, self._hours = self._hours, {}
        if not hours:
            return
        versions = self._versions(self._month)
        known = await versions.newest()
        newest = await versions.update(lambda content: _upsert(content, hours), known=known)
        while newest.content is not None and newest.number > await versions.published():
            parquet = await asyncio.to_thread(_parquet, newest.content)
            await self.store.put(f"{self.published}{FOLDER}{self._month}.parquet", parquet)
            await versions.mark_published(newest.number)
            self.written.append(self._month)
            newest = await versions.newest(after=newest.number)

    async def rows(self, first: Hour, last: Hour) -> list[Volume]:
        """The rows of these Hours, both included, by Hour and table."""
        months = dict.fromkeys(f"{hour.start:%Y-%m}" for hour in first.to(last))
        contents = await asyncio.gather(*(self._versions(month).newest() for month in months))
        found = [
            Volume(hour, table, partitions, size)
            for version in contents
            for hour, tables in _parse(version.content).items()
            if first <= hour <= last
            for table, partitions, size in tables
        ]
        return sorted(found, key=lambda row: (row.hour, row.table))

    async def series(self, first: Hour, last: Hour) -> dict[str, array[int]]:
        """Bytes of each table, one an Hour from `first` to `last`; -1 where it has no row.

        For who needs months of many tables at once: 8 bytes a value instead of an object a row.
        """
        hours = list(first.to(last))
        place = {hour.label: index for index, hour in enumerate(hours)}
        months = dict.fromkeys(f"{hour.start:%Y-%m}" for hour in hours)
        found: dict[str, array[int]] = {}
        for month in months:
            content = (await self._versions(month).newest()).content
            await asyncio.to_thread(_fill, content, place, found)
        return found

    def _versions(self, month: str) -> Versions:
        return Versions(self.store, f"{self.versions}{FOLDER}{month}/")


_Tables = tuple[tuple[str, int, int], ...]


def _upsert(content: bytes | None, hours: Mapping[Hour, tuple[TableFacts, ...]]) -> bytes:
    rows: dict[Hour, _Tables] = _parse(content)
    rows.update({hour: tuple((t.table, t.partitions, t.size) for t in tables) for hour, tables in hours.items()})
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for hour in sorted(rows):
        label = hour.label
        writer.writerows((label, *row) for row in rows[hour])
    return out.getvalue().encode()


def _parse(content: bytes | None) -> dict[Hour, _Tables]:
    rows: dict[str, list[tuple[str, int, int]]] = {}
    try:
        reader = csv.reader(io.StringIO((content or b"").decode(), newline=""))
        next(reader, None)
        for label, table, partitions, size in reader:
            rows.setdefault(label, []).append((table, count_of(partitions), count_of(size)))
        return {Hour.parse(label): tuple(tables) for label, tables in rows.items()}
    except (ValueError, TypeError, csv.Error, SettingsError) as error:
        raise LakeError(f"the table volumes cannot be read: {error}", cause="ledger_damaged") from None


def _fill(content: bytes | None, place: Mapping[str, int], found: dict[str, array[int]]) -> None:
    """Sort the rows of a month into the series of their tables."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(content or b""), "utf-8", newline=""))
    next(reader, None)
    for label, table, _, size in reader:
        index = place.get(label)
        if index is not None:
            series = found.get(table)
            if series is None:
                series = found[table] = array("q", [-1]) * len(place)
            series[index] = int(size)


def _parquet(content: bytes) -> bytes:
    """The rows as Parquet: `hour` a UTC timestamp, `table` text, `partitions` and `bytes` integers."""
    import duckdb  # noqa: PLC0415 - 35 MB and 0.1 s that other commands do without

    with tempfile.TemporaryDirectory(prefix="viplake-") as folder:
        source, target = Path(folder) / "rows.csv", Path(folder) / "rows.parquet"
        source.write_bytes(content)
        with duckdb.connect(config={"threads": 1}) as connection:  # one thread: the same bytes every time
            connection.execute(
                """
                copy (
                    select to_timestamp(epoch(strptime(h, '%Y%m%d-%H'))) as "hour",
                           t as "table", p as "partitions", b as "bytes"
                    from read_csv($source, header = true, delim = ',', quote = '"', escape = '"', auto_detect = false,
                        columns = {h: 'VARCHAR', t: 'VARCHAR', p: 'INTEGER', b: 'BIGINT'})
                ) to '$target' (format parquet, compression zstd, kv_metadata {viplake_format: '$format'})
                """.replace("$target", str(target).replace("'", "''")).replace("$format", str(FORMAT)),
                {"source": str(source)},
            )
        return target.read_bytes()
