"""I/O. The Delta tables in a query: the current table by its plain name, the history as `history.NAME`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from viplake.concurrency import map_bounded
from viplake.current.delta import ConflictError
from viplake.current.shape import CHANGED, HOUR, PROBLEMS
from viplake.errors import LakeError
from viplake.tables import duck

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from viplake.current.delta import DeltaTables, Live, TableKind
    from viplake.history.build import HistoryLocation
    from viplake.lake import Lake

HISTORY: Final = "history"
"""The schema of the history tables."""

_AT_ONCE: Final = 8
_READS: Final = 3
"""Times that a table is opened whose files a writer removes meanwhile."""

_OWN: Final = {HOUR: "timestamp", CHANGED: "timestamp", PROBLEMS: "varchar"}


@dataclass(slots=True)
class DeltaView:
    """A Delta table; its times have no zone here: they are UTC.

    Attributes:
        folder: of the table.
        kind: current or history.
        lake: where its files are.
        delta: the tables of the lake.
        live: its newest version; None: the query does not name it.
        staged: its files, by their place here.
        brought: they are.
    """

    folder: str
    kind: TableKind
    lake: Lake
    delta: DeltaTables
    live: Live | None = None
    staged: dict[Path, str] = field(default_factory=dict)
    brought: bool = False

    @property
    def name(self) -> str:
        """See `View`."""
        return self.folder if self.kind == "current" else f"{HISTORY}.{self.folder}"

    @property
    def _label(self) -> str:
        return duck.named(self.folder) if self.kind == "current" else f"{HISTORY}.{duck.named(self.folder)}"

    def describe(self) -> str:
        """See `View`."""
        columns = {} if self.live is None else self._types(self.live)
        cells = [
            f"cast(null as {sql}) as {duck.named(name)}" for name, sql in (columns or {"unknown": "varchar"}).items()
        ]
        why = duck.quoted(f"{self.name} was not read, because the query does not name it plainly")
        return self._view(f"select {', '.join(cells)} from (select 1) where error({why}) is null")  # noqa: S608 - quoted

    def show(self, connection: DuckDBPyConnection, notes: object) -> str:
        """See `View`.

        Raises:
            DamagedTableError: a file of it cannot be read.
        """
        columns = {} if self.live is None else self._types(self.live)
        if not self.staged:
            cells = [f"cast(null as {sql}) as {duck.named(name)}" for name, sql in columns.items()]
            return self._view(f"select {', '.join(cells)} from (select 1) where false")  # noqa: S608 - quoted
        try:
            there = {str(name) for name, *_ in connection.execute(f"describe from {self._files}").fetchall()}
        except duck.errors():
            self.weed(connection, notes)
            raise
        cells = [
            f"cast({duck.named(name) if name in there else 'null'} as {sql}) as {duck.named(name)}"
            for name, sql in columns.items()
        ]
        return self._view(f"select {', '.join(cells)} from {self._files}")  # noqa: S608 - quoted

    @property
    def _files(self) -> str:
        paths = ", ".join(duck.quoted(str(path)) for path in self.staged)
        return f"read_parquet([{paths}], union_by_name = true)"

    def _view(self, select: str) -> str:
        return f"create or replace view {self._label} as {select}"

    @staticmethod
    def _types(live: Live) -> dict[str, str]:
        columns = {c.name: "timestamp" if c.type.kind == "timestamp" else c.sql for c in live.shape.columns}
        return columns | _OWN

    def weed(self, connection: DuckDBPyConnection, notes: object) -> bool:  # noqa: ARG002 - as the others
        """See `View`: without one of its files it would have wrong rows, so none is left out.

        Raises:
            DamagedTableError: a file of it cannot be read.
        """
        if (found := duck.damaged(self.staged)) is None:
            return False
        what = f"{self.kind}/{self.folder}/{self.staged[found[0]]} cannot be read: {found[1]}"
        raise self.delta.damaged(self.kind, self.folder, what)

    async def bring(self, place: HistoryLocation, folder: Path, notes: object) -> None:  # noqa: ARG002 - as the others
        """All live files of the table.

        Raises:
            DamagedTableError: one of them was lost.
        """
        self.brought = True
        here = folder / f"{self.kind}-{self.folder}"
        here.mkdir()

        async def one(path: str) -> tuple[Path, str]:
            local = here / path.replace("/", "-")
            try:
                with local.open("wb") as target:
                    async for chunk in self.lake.store.read(self.delta.key(self.kind, self.folder, path)):
                        target.write(chunk)
            except FileNotFoundError:
                raise await self.delta.gone(self.kind, self.folder, path) from None
            return local, path

        for left in reversed(range(_READS)):
            try:
                self.staged = dict(await map_bounded(one, self.live.files if self.live else (), at_once=_AT_ONCE))
            except ConflictError:  # it was replaced since the table was opened
                if not left:
                    what = f"{self.kind}/{self.folder}: its files are replaced faster than they can be read"
                    raise LakeError(what, hint="Repeat the query.") from None
                self.live = await self.delta.open(self.kind, self.folder)
            else:
                return


async def delta_views(lake: Lake, delta: DeltaTables, words: Collection[str]) -> list[DeltaView]:
    """The Delta tables of a lake; those that a query names (in small letters) with their columns.

    Raises:
        LakeError: a log cannot be read.
    """
    kinds: tuple[TableKind, ...] = ("current", "history")
    views = [DeltaView(folder, kind, lake, delta) for kind in kinds for folder in await delta.folders(kind)]

    async def open_one(view: DeltaView) -> None:
        if view.name.lower() in words or view.folder.lower() in words:
            view.live = await delta.open(view.kind, view.folder)

    await map_bounded(open_one, views, at_once=_AT_ONCE)
    return views
