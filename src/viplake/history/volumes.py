"""I/O. Table volumes: how many partitions and bytes each table had, one row an Hour and table (see `months`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from viplake.history.months import Kept, Months

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable

    from viplake.history.facts import HourFacts
    from viplake.lake.store import Store
    from viplake.model import Hour

VOLUMES: Final = Kept("table_volumes/", {"partitions": "partitions::integer", "bytes": "bytes"})
FOLDER: Final = VOLUMES.folder


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
    """

    store: Store
    published: str
    versions: str
    _months: Months = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is read yet."""
        self._months = Months(self.store, self.published, self.versions, VOLUMES)

    @property
    def written(self) -> list[str]:
        """The months whose file was written, `2022-05`."""
        return self._months.written

    async def add(self, facts: Iterable[HourFacts]) -> None:
        """Take in the Hours that the lake has; rows of others stand."""
        for known in facts:
            tables = tuple((table.table, (table.partitions, table.size)) for table in known.tables)
            await self._months.add(known.hour, tables if known.delivered else None)

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
