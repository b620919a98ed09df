"""I/O. Table volumes: how many partitions and bytes each table had, one row an Hour and table (see `months`)."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from viplake.history.datasets import VOLUMES
from viplake.history.months import NONE, MonthlyRows, Months

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from viplake.history.facts import HourFacts
    from viplake.lake.store import Store
    from viplake.model import Hour

_ROWS: Final = MonthlyRows(VOLUMES, small=frozenset({"partitions"}))


@dataclass(frozen=True, slots=True)
class Volume:
    """A row: a table of an Hour that has files."""

    hour: Hour
    table: str
    partitions: int
    size: int


@dataclass(frozen=True, slots=True)
class VolumeSeries:
    """Bytes of each table, one value an Hour: 8 bytes a value instead of an object a row.

    Attributes:
        first: the Hour of the first values.
        sizes: by table, all of one length; `NONE` where the table has no file.
    """

    first: Hour
    sizes: Mapping[str, array[int]]

    @classmethod
    def of(cls, rows: Iterable[Volume]) -> VolumeSeries | None:
        """Return the series of these rows; None without rows."""
        found = list(rows)
        if not found:
            return None
        first, last = min(row.hour for row in found), max(row.hour for row in found)
        sizes = {table: array("q", [NONE]) * (_distance(first, last) + 1) for table in sorted({r.table for r in found})}
        for row in found:
            sizes[row.table][_distance(first, row.hour)] = row.size
        return cls(first, sizes)

    @property
    def last(self) -> Hour:
        """The Hour of the last values."""
        return self.first.shift(max((len(values) for values in self.sizes.values()), default=1) - 1)

    def between(self, first: Hour, last: Hour) -> VolumeSeries:
        """Return the values of these Hours, both included; `NONE` where the series does not reach."""
        before, after = _distance(first, self.first), _distance(self.last, last)
        begin, end = max(-before, 0), _distance(self.first, last) + 1
        head, tail = array("q", [NONE]) * max(before, 0), array("q", [NONE]) * max(after, 0)
        return VolumeSeries(
            first, {name: head + values[begin : max(end, 0)] + tail for name, values in self.sizes.items()}
        )


def _distance(first: Hour, hour: Hour) -> int:
    return (hour.start - first.start) // _HOUR


_HOUR: Final = timedelta(hours=1)


@dataclass(slots=True)
class Volumes:
    """Takes in facts in the order of their Hours and writes each month as soon as it is past.

    Args:
        store: where the history lives.
        published: prefix of the files that people read.
        versions: prefix of the versions.
    """

    store: Store
    published: str
    versions: str
    _months: Months = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is read yet."""
        self._months = Months(self.store, self.published, self.versions, _ROWS)

    @property
    def written(self) -> list[str]:
        """The months whose file was written, `2022-05`."""
        return self._months.written

    async def add(self, facts: Iterable[HourFacts]) -> None:
        """Add the Hours that are in the lake; the rows of other Hours stay."""
        for known in facts:
            tables = tuple((table.table, (table.partitions, table.size)) for table in known.tables)
            await self._months.add(known.hour, tables if known.delivered else None)

    async def drop(self, first: Hour, last: Hour) -> int:
        """Remove the rows of these Hours, both included, and return how many there were."""
        rows = await self._months.rows(first, last)
        for hour in dict.fromkeys(hour for hour, _, _ in rows):
            await self._months.add(hour, ())
        await self._months.flush()
        return len(rows)

    async def flush(self) -> None:
        """Write what was taken in."""
        await self._months.flush()

    async def rows(self, first: Hour, last: Hour) -> list[Volume]:
        """The rows of these Hours, both included, by Hour and table."""
        return [
            Volume(hour, table, partitions or 0, size or 0)
            for hour, table, (partitions, size) in await self._months.rows(first, last)
        ]

    async def series(self, first: Hour, last: Hour) -> dict[str, array[int]]:
        """Bytes of each table, one an Hour from `first` to `last`; -1 where it has no row."""
        [sizes] = await self._months.series(first, last, ["bytes"])
        return sizes
