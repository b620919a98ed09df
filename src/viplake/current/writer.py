"""I/O. What every writer of tables does: bring files here, read the rows of an Hour, store a Parquet file."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from viplake.concurrency import map_bounded
from viplake.current.delta import ConflictError
from viplake.current.plan import overlaps
from viplake.current.source import HeldError, bring, folder_of, raise_limit, write_rows
from viplake.tables import duck

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from viplake.current.delta import DeltaTables, Live, NewFile, TableKind
    from viplake.current.merge import Merge
    from viplake.current.settings import TablesSettings
    from viplake.current.shape import Shape
    from viplake.current.source import HourRows, HourSource
    from viplake.lake import Lake

MEMORY: Final = "256MB"
"""Of DuckDB; the process adds some 150 MB."""

MORE_MEMORY: Final = "1GB"
"""Of DuckDB, from the first table on that needs more."""


@dataclass(slots=True)
class Writer:
    """A writer of tables.

    Attributes:
        lake: which.
        delta: its tables.
        settings: of the tables.
        connection: of DuckDB; it sees `root`.
        root: a folder for files.
    """

    lake: Lake
    delta: DeltaTables
    settings: TablesSettings
    connection: DuckDBPyConnection
    root: Path
    _numbers: int = 0
    _enlarged: bool = False

    def enlarge(self) -> bool:
        """Give DuckDB more memory; False: it has it already."""
        if self._enlarged:
            return False
        self.connection.close()
        self.connection = duck.connect(self.root, memory=MORE_MEMORY, threads=1)
        self._enlarged = True
        return True

    def new_folder(self) -> Path:
        """Make an empty folder."""
        self._numbers += 1
        folder = self.root / f"{self._numbers:06d}"
        folder.mkdir()
        return folder

    async def rows(
        self, table: str, source: HourSource, shape: Shape | None, folder: Path, key: Sequence[str] | None = None
    ) -> HourRows:
        """The rows of a table in an Hour; `key` in place of the Hour's own.

        Raises:
            HeldError: they cannot be read.
        """
        if source.held is not None:
            raise HeldError(source.held)
        self._numbers += 1
        staged = folder / f"staged-{self._numbers}"
        try:
            files = await bring(self.lake, source, table, staged)
            target = folder / f"rows-{source.hour.start:%Y%m%d%H}.parquet"
            write = partial(write_rows, self.connection, source, table, files, target)
            read: HourRows = await self.in_thread(partial(write, settings=self.settings, shape=shape, key=key))
            return read
        finally:
            await asyncio.to_thread(shutil.rmtree, staged, ignore_errors=True)

    async def in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Work with DuckDB in a thread; stopped where it is when the task is cancelled."""
        task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
        try:
            return await asyncio.shield(task)
        except duck.faults() as error:
            raise_limit(error)
            raise
        except asyncio.CancelledError:
            while not task.done():
                self.connection.interrupt()
                await asyncio.wait([task], timeout=0.05)
            raise

    async def put(self, table: str, kind: TableKind, merge: Merge, path: Path) -> NewFile:
        """Store a Parquet file, under a name that no other file has."""
        name = f"part-{uuid.uuid4().hex}.parquet"
        described: NewFile = await self.in_thread(merge.describe, path, name)
        async with aclosing(_chunks(path)) as chunks:
            await self.lake.store.put_stream(self.delta.key(kind, folder_of(table), name), chunks)
        return described


async def _chunks(path: Path) -> AsyncGenerator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk


@dataclass(slots=True)
class Here:
    """Files of a table's Delta tables that were brought to this machine."""

    writer: Writer
    table: str
    folder: Path
    _brought: dict[tuple[TableKind, str], Path] = field(default_factory=dict)

    async def bring(self, kind: TableKind, live: Live | None, spans: Mapping[str, Any]) -> list[Path]:
        """Bring the live files that may have rows with these values."""
        files = live.files.values() if live else ()
        return await self.bring_paths(kind, [file.path for file in files if overlaps(file, spans)])

    async def bring_paths(self, kind: TableKind, paths: Iterable[str]) -> list[Path]:
        """Bring these files.

        Raises:
            LakeError: a file cannot be read.
            ConflictError: it is gone, since another writer replaced it and a vacuum removed it.
        """

        async def one(path: str) -> Path:
            if (kind, path) not in self._brought:
                local = self.folder / f"{kind}-{len(self._brought)}.parquet"
                self._brought[kind, path] = local
                try:
                    await self._copy(self.writer.delta.key(kind, folder_of(self.table), path), local)
                except FileNotFoundError:
                    raise ConflictError from None
            return self._brought[kind, path]

        return await map_bounded(one, paths, at_once=4)

    async def _copy(self, key: str, local: Path) -> None:
        with local.open("wb") as target:
            async for chunk in self.writer.lake.store.read(key):
                target.write(chunk)

    def stored(self, kind: TableKind, local: Iterable[str]) -> list[str]:
        """The paths in the table's folder of files that are here."""
        names = {str(path): stored for (of, stored), path in self._brought.items() if of == kind}
        return [names[path] for path in local]
