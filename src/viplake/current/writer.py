"""I/O. What every writer of tables does: bring files here, read the rows of an Hour, store a Parquet file."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from viplake.concurrency import map_bounded
from viplake.current.delta import NewFile
from viplake.current.plan import alike, overlaps
from viplake.current.source import (
    HeldError,
    HourRows,
    RowTarget,
    TooLargeError,
    bring,
    folder_of,
    raise_limit,
    write_rows,
    write_together,
)
from viplake.errors import SettingsError
from viplake.tables import duck

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from viplake.current.delta import DeltaTables, Live, TableKind
    from viplake.current.merge import Written
    from viplake.current.settings import TablesSettings
    from viplake.current.shape import Shape
    from viplake.current.source import HourSource
    from viplake.lake import Lake
    from viplake.tables.staged import Staged

T = TypeVar("T")

MEMORIES: Final = ("128MB", "256MB", "1GB")
"""Of DuckDB; the process adds some 150 MB. A table that needs more than one of these gets the next one, and so do the
tables after it."""


def connect(root: Path, number: int = 0) -> DuckDBPyConnection:
    """Open a connection of DuckDB that sees a folder, with the first, second, ... of its memories."""
    threads = 1 if number == len(MEMORIES) - 1 else 2  # each holds buffers
    return duck.connect(root, memory=MEMORIES[number], threads=threads)


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
    _memory: int = 0

    def enlarge(self) -> bool:
        """Give DuckDB more memory; False: it has all that it may have."""
        if self._memory == len(MEMORIES) - 1:
            return False
        self._memory += 1
        self.connection.close()
        self.connection = connect(self.root, self._memory)
        return True

    async def with_memory(self, table: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do work on a table; from its start again where DuckDB needs more memory for it.

        Raises:
            SettingsError: it needs more than there may be.
        """
        while True:
            try:
                return await work()
            except TooLargeError:
                if not self.enlarge():
                    why = f"the table {table} needs more than {MEMORIES[-1]} of memory"
                    hint = "Report the number of its rows and the size of its files as an issue of viplake."
                    raise SettingsError(why, cause="table_unreadable", hint=hint) from None

    def new_folder(self) -> Path:
        """Make an empty folder."""
        self._numbers += 1
        folder = self.root / f"{self._numbers:06d}"
        folder.mkdir()
        return folder

    async def read(
        self,
        table: str,
        sources: Sequence[HourSource],
        shape: Shape | None,
        folder: Path,
        key: Sequence[str] | None = None,
    ) -> AsyncIterator[tuple[Sequence[HourSource], HourRows | HeldError]]:
        """Read the rows of a table in some Hours, ascending: give some Hours and their rows, or why they are held back.

        Args:
            table: its name.
            sources: the Hours.
            shape: of the table; each read goes on from that of the one before.
            folder: for the files.
            key: columns of the key, in place of the Hour's own.
        """
        for group in alike(table, sources, self.settings):
            staged = self._new_name(folder / "staged")
            try:
                found = await self._read(table, group, shape, key, staged)
            finally:
                await asyncio.to_thread(shutil.rmtree, staged, ignore_errors=True)
            for some, read in found:
                if isinstance(read, HourRows) and read.fitted.refused is None:
                    shape = read.fitted.shape
                yield some, read

    async def _read(
        self, table: str, group: Sequence[HourSource], shape: Shape | None, key: Sequence[str] | None, staged: Path
    ) -> list[tuple[Sequence[HourSource], HourRows | HeldError]]:
        """Read Hours together, else one by one."""
        found: list[tuple[Sequence[HourSource], HourRows | HeldError]] = []
        brought: list[tuple[HourSource, list[Staged]]] = []
        for source in group:
            try:
                brought.append((source, await self._bring(table, source, staged / source.hour.label)))
            except HeldError as error:
                found.append(([source], error))
        target = RowTarget(self._new_name(staged.parent / "rows"), table, shape, key, self.settings)
        read = await self.in_thread(write_together, self.connection, brought, target) if brought else None
        if read is not None:
            return [*found, ([source for source, _ in brought], read)]
        for source, files in brought:
            target = replace(target, path=self._new_name(staged.parent / "rows"))
            try:
                one = await self.in_thread(write_rows, self.connection, source, files, target)
            except HeldError as error:
                found.append(([source], error))
                continue
            if one.fitted.refused is None:
                target = replace(target, shape=one.fitted.shape)
            found.append(([source], one))
        return found

    def _new_name(self, path: Path) -> Path:
        self._numbers += 1
        return path.with_name(f"{path.name}-{self._numbers}")

    async def _bring(self, table: str, source: HourSource, staged: Path) -> list[Staged]:
        if source.held is not None:
            raise HeldError(source.held)
        return await bring(self.lake, source, table, staged)

    async def rows(self, table: str, source: HourSource, shape: Shape, folder: Path) -> HourRows:
        """Write the rows of a table in an Hour to a file.

        Raises:
            HeldError: they cannot be read.
        """
        [(_, read)] = [one async for one in self.read(table, [source], shape, folder)]
        if isinstance(read, HeldError):
            raise read
        return read

    async def in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Work with DuckDB in a thread; stopped where it is when the task is cancelled."""
        task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
        try:
            return await asyncio.shield(task)
        except duck.errors() as error:
            raise_limit(error)
            raise
        except asyncio.CancelledError:
            while not task.done():
                self.connection.interrupt()
                await asyncio.wait([task], timeout=0.05)
            raise

    async def put(self, table: str, kind: TableKind, written: Written) -> NewFile:
        """Store a Parquet file, under a name that no other file has."""
        name = f"part-{uuid.uuid4().hex}.parquet"
        async with aclosing(_chunks(written.path)) as chunks:
            await self.lake.store.put_stream(self.delta.key(kind, folder_of(table), name), chunks)
        return NewFile(name, written.path.stat().st_size, written.stats)


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
            DamagedTableError: it is gone, although the table has it.
        """

        async def one(path: str) -> Path:
            if (kind, path) not in self._brought:
                local = self.folder / f"{kind}-{len(self._brought)}.parquet"
                self._brought[kind, path] = local
                try:
                    await self._copy(self.writer.delta.key(kind, folder_of(self.table), path), local)
                except FileNotFoundError:
                    raise await self.writer.delta.gone(kind, folder_of(self.table), path) from None
            return self._brought[kind, path]

        return await map_bounded(one, paths, at_once=4)

    async def _copy(self, key: str, local: Path) -> None:
        with local.open("wb") as target:
            async for chunk in self.writer.lake.store.read(key):
                target.write(chunk)

    @asynccontextmanager
    async def intact(self) -> AsyncIterator[None]:
        """Name the file where the block fails because a file that was brought cannot be read.

        Raises:
            DamagedTableError: one cannot be read.
        """
        try:
            yield
        except duck.errors():
            found = await asyncio.to_thread(duck.damaged, self._brought.values())
            if found is None:
                raise
            kind, path = next(key for key, local in self._brought.items() if local == found[0])
            what = f"{kind}/{folder_of(self.table)}/{path} cannot be read: {found[1]}"
            raise self.writer.delta.damaged(kind, folder_of(self.table), what) from None

    def stored(self, kind: TableKind, local: Iterable[str]) -> list[str]:
        """The paths in the table's folder of files that are here."""
        names = {str(path): stored for (of, stored), path in self._brought.items() if of == kind}
        return [names[path] for path in local]
