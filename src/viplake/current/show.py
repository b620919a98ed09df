"""I/O. What the tables are: rows, bytes and files of each, the newest Hour that they have, and what is held back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from viplake.concurrency import map_bounded
from viplake.current import marks
from viplake.current.delta import KINDS
from viplake.current.source import folder_of
from viplake.lake.hours import newest_proven

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viplake.current.delta import DeltaTables, TableKind
    from viplake.lake import Lake
    from viplake.model import Hour

_AT_ONCE: Final = 8
_BACK: Final = 48
"""Marks that are read to find the newest Hour of each table."""


@dataclass(frozen=True, slots=True)
class Size:
    """A Delta table: its version, live rows, bytes and files; rows None where the log does not say."""

    version: int
    rows: int | None
    size: int
    files: int

    def to_json(self) -> dict[str, Any]:
        """The object that `viplake tables show --json` prints."""
        return {"version": self.version, "rows": self.rows, "bytes": self.size, "files": self.files}


@dataclass(frozen=True, slots=True)
class ShownTable:
    """A table.

    Attributes:
        name: of the table.
        key: names of the columns of its key.
        sizes: of its Delta tables, by kind.
        newest: Hour that it has, as far as the last marks say.
        uri: where its Delta tables are, by kind.
    """

    name: str
    key: tuple[str, ...]
    sizes: Mapping[TableKind, Size]
    newest: Hour | None
    uri: Mapping[TableKind, str]


@dataclass(frozen=True, slots=True)
class Shown:
    """All tables.

    Attributes:
        tables: by name.
        newest: Hour that the tables have.
        proven: the newest Hour with a Receipt.
        held: (Hour, table, why) that is not merged.
    """

    tables: tuple[ShownTable, ...]
    newest: Hour | None
    proven: Hour | None
    held: tuple[tuple[Hour, str, str], ...]

    @property
    def lag(self) -> int | None:
        """Hours that the tables are behind the newest proven one; None where it is not known."""
        return self._behind(self.newest)

    def lag_of(self, table: ShownTable) -> int | None:
        """Hours that a table is behind the newest proven one, also where newer Hours lack it; None: not known."""
        return self._behind(table.newest)

    def _behind(self, newest: Hour | None) -> int | None:
        return None if newest is None or self.proven is None else self.proven.hours_since(newest)

    def to_json(self) -> dict[str, Any]:
        """The object that `viplake tables show --json` prints."""
        return {
            "newest": None if self.newest is None else str(self.newest),
            "newest_proven": None if self.proven is None else str(self.proven),
            "lag_hours": self.lag,
            "tables": {
                one.name: {
                    "key": list(one.key),
                    "newest": None if one.newest is None else str(one.newest),
                    "lag_hours": self.lag_of(one),
                    **{kind: one.sizes[kind].to_json() if kind in one.sizes else None for kind in KINDS},
                    "uri": dict(one.uri),
                }
                for one in self.tables
            },
            "held": [{"hour": str(hour), "table": table, "why": why} for hour, table, why in self.held],
        }


async def newest_marked(lake: Lake) -> Hour | None:
    """The newest Hour that the tables have.

    Raises:
        LakeError: the lake cannot be read.
    """
    for day in reversed(await marks.days(lake)):
        if done := (await marks.known(lake, [day])).done:
            return max(done)
    return None


async def show(lake: Lake, delta: DeltaTables) -> Shown:
    """Return what the tables are.

    Raises:
        LakeError: the lake cannot be read.
    """
    known = await marks.known(lake, await marks.days(lake))
    names: dict[str, str] = {}
    newest: dict[str, Hour] = {}
    held: list[tuple[Hour, str, str]] = []
    recent = sorted(known.done, reverse=True)[:_BACK]
    for hour in sorted({*recent, *(known.held & known.done)}, reverse=True):
        mark = await marks.read_mark(lake, hour)
        if mark is None:
            continue
        for table in mark.tables:
            names.setdefault(folder_of(table), table)
            newest.setdefault(table, hour)
        held += [(hour, table, why) for table, why in mark.held.items()] if hour in known.held else []
    folders = sorted({*await delta.folders("history"), *await delta.folders("current")})

    async def of(folder: str) -> ShownTable:
        sizes: dict[TableKind, Size] = {}
        key: tuple[str, ...] = ()
        for kind in KINDS:
            if (live := await delta.open(kind, folder)) is not None:
                rows = [file.rows for file in live.files.values()]
                total = None if None in rows else sum(row or 0 for row in rows)
                sizes[kind] = Size(live.version, total, sum(f.size for f in live.files.values()), len(live.files))
                key = live.shape.key
        name = names.get(folder, folder)
        return ShownTable(name, key, sizes, newest.get(name), {kind: delta.uri(kind, folder) for kind in sizes})

    tables = await map_bounded(of, folders, at_once=_AT_ONCE)
    return Shown(tuple(tables), max(known.done, default=None), await newest_proven(lake), tuple(sorted(held)))
