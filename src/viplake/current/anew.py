"""I/O. Computes a table anew from all proven Hours, on this machine, and commits it at once or compares it."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from viplake.concurrency import map_bounded
from viplake.current import marks
from viplake.current.delta import KINDS, ConflictError
from viplake.current.merge import Counts, Merge
from viplake.current.plan import accepted, batches, work_of
from viplake.current.source import HeldError, folder_of, rows_in, source_of
from viplake.current.writer import Here
from viplake.errors import LakeError, SettingsError
from viplake.lake.hours import listed_days, named_hours

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from viplake.current.delta import Live, TableKind
    from viplake.current.merge import Written
    from viplake.current.shape import Shape, Snapshot
    from viplake.current.source import HourSource
    from viplake.current.writer import Writer
    from viplake.model import Hour

_AT_ONCE: Final = 16
_RACES: Final = 5
"""Times that a table is computed anew when others commit meanwhile."""


async def proven_hours(writer: Writer, only: Collection[Hour] | None = None) -> list[HourSource]:
    """Every proven Hour, ascending; `only` these.

    Raises:
        SettingsError: an Hour that the tables have is no longer in the lake: without it rows would be lost.
        LakeError: the lake cannot be read.
    """
    names = await map_bounded(
        lambda day: named_hours(writer.lake, day), await listed_days(writer.lake), at_once=_AT_ONCE
    )
    hours = [hour for day in names for hour in day if only is None or hour in only]
    adopted = writer.settings.adopted
    found = await map_bounded(lambda hour: source_of(writer.lake, hour, adopted=adopted), hours, at_once=_AT_ONCE)
    proven = [source for source in found if source is not None]
    done = (await marks.known(writer.lake, await marks.days(writer.lake))).done
    if gone := sorted(done - {source.hour for source in proven}):
        raise SettingsError(
            f"tables cannot be computed anew: {len(gone):,} Hours that they have are not in the lake, such as "
            f"{gone[0]}",
            hint="Bring these Hours back with viplake consolidate, or keep the tables as they are.",
        )
    return proven


@dataclass(slots=True)
class Anew:
    """A table that is computed anew.

    Attributes:
        writer: that computes it.
        table: its name.
        folder: for its files.
        shape: its columns; None: no Hour has it.
        files: here, by kind.
        held: Hours that could not be read, and why.
        refused: Hours that may not replace the snapshot, and why.
        snapshot: the Hour of which the current table has the records, in that mode.
    """

    writer: Writer
    table: str
    folder: Path
    shape: Shape | None = None
    files: dict[TableKind, list[Written]] = field(default_factory=lambda: {"history": [], "current": []})
    held: dict[Hour, str] = field(default_factory=dict)
    refused: dict[Hour, str] = field(default_factory=dict)
    snapshot: Hour | None = None
    _rows: dict[Hour, Path | None] = field(default_factory=dict)
    _shapes: dict[TableKind, Shape] = field(default_factory=dict)
    _merge: Merge = field(init=False)

    @classmethod
    async def of(cls, writer: Writer, table: str, sources: list[HourSource], live: Live | None) -> Anew:
        """Compute a table from these Hours, ascending; `live` is its current table now.

        Raises:
            SettingsError: an Hour that the table has cannot be read any more: without it rows would be lost.
            LakeError: the lake cannot be read.
        """
        having = [source for source in sources if table in source.tables]
        fingerprints = [source.fingerprint(table, writer.settings) for source in having]
        key = having[-1].key(table, writer.settings) if having else ()
        unread: set[Hour] = set()
        while True:
            made = cls(writer, table, writer.new_folder())
            opened, skipped = work_of(having, fingerprints, None, unread)
            for number, batch in enumerate(batches(opened, ())):
                await made._add(batch, key, made.folder / str(number))
            if not skipped or set(made.held) <= unread:
                break
            unread |= set(made.held)  # an Hour that was skipped may equal one of these
            await asyncio.to_thread(shutil.rmtree, made.folder, ignore_errors=True)
        for hour, why in made.held.items():
            mark = await marks.read_mark(writer.lake, hour)
            if mark is not None and table in mark.tables:
                raise SettingsError(
                    f"the table {table} cannot be computed anew: it has {hour}, and now {why}",
                    hint=f"Repair the Hour: viplake verify --from {hour} --to {hour}, then viplake collect {hour}.",
                )
        if writer.settings.of(table).mode == "snapshot":
            await made._take_snapshot(live.snapshot if live else None)
        for kind in KINDS:
            if made.shape is not None and made._shapes.get(kind, made.shape) != made.shape:
                made._replace(kind, await made._written(kind, [], made.folder / "last", plain=True))
        return made

    async def _add(self, batch: list[HourSource], key: tuple[str, ...], folder: Path) -> None:
        folder.mkdir()  # noqa: ASYNC240 - on this machine it waits for nothing
        rows = []
        async for sources, read in self.writer.read(self.table, batch, self.shape, folder, key):
            if isinstance(read, HeldError) or read.fitted.refused is not None:
                why = str(read) if isinstance(read, HeldError) else read.fitted.refused or ""
                self.held |= {source.hour: why for source in sources}
                continue
            self.shape = read.fitted.shape
            rows += [read.path] if read.path else []
            self._rows[sources[0].hour] = read.path
        if self.shape is None:
            return
        run = self.writer.in_thread
        shape = self.shape
        merge: Merge = await run(lambda: Merge(self.writer.connection, shape, folder, rows, late=False))
        self._merge = merge
        counts: Counts | None = await run(merge.newer, self._paths("current")) if shape.key else None
        if counts is None:
            if not await run(merge.against, self._paths("current")):
                return
            await run(merge.compare, self._paths("history"))
            counts = await run(merge.decide)
        assert counts is not None  # noqa: S101 - for the type checker
        changes: dict[TableKind, int] = {"history": counts.fresh + counts.earlier, "current": counts.changed}
        # Both are written before either is replaced: the current table may take a row from the history.
        written = {kind: await self._written(kind, rows, folder) for kind in KINDS if changes[kind]}
        for kind, files in written.items():
            self._replace(kind, files)

    async def _take_snapshot(self, now: Snapshot | None) -> None:
        """Write the records of the Hour that the table has now, or of a later one that may replace them."""
        rows = dict(self._rows)
        if now is not None and (before := [hour for hour in rows if hour <= now.hour]):
            rows[now.hour] = rows[max(before)]  # an Hour that was not opened equals the one before it
        run, connection = self.writer.in_thread, self.writer.connection
        counts = {hour: await run(rows_in, connection, path) for hour, path in rows.items()}
        fewer = self.writer.settings.of(self.table).fewer_rows
        self.snapshot, self.refused = accepted(now, counts, self.table, fewer=fewer)
        if self.snapshot is None or self.shape is None or not counts[self.snapshot]:
            return
        path = rows[self.snapshot]
        assert path is not None  # noqa: S101 - it has rows
        folder, shape = self.writer.new_folder(), self.shape
        merge: Merge = await run(lambda: Merge(connection, shape, folder, [path], late=True))
        await run(merge.against, [])
        await run(merge.compare, self._paths("history"))
        size = path.stat().st_size
        self._replace("current", await run(merge.write_snapshot, path, self.folder / "snapshot", size))

    async def _written(self, kind: TableKind, rows: list[Path], folder: Path, *, plain: bool = False) -> list[Written]:
        """Write all rows; `plain`: those that are here, with the columns of the table."""
        size = sum(path.stat().st_size for path in [*self._paths(kind), *rows])
        write = partial(self._merge.copy if plain else self._merge.write, kind, self._paths(kind))
        written: list[Written] = await self.writer.in_thread(write, folder / "out" / kind, size)
        return written

    def _paths(self, kind: TableKind) -> list[Path]:
        return [file.path for file in self.files[kind]]

    def _replace(self, kind: TableKind, written: list[Written]) -> None:
        for path in self._paths(kind):
            path.unlink()
        self.files[kind] = written
        if self.shape is not None:
            self._shapes[kind] = self.shape

    async def commit(self, live: Mapping[TableKind, Live | None]) -> dict[TableKind, int | None]:
        """Replace the table by this one; the versions.

        Raises:
            ConflictError: another writer committed after `live`.
            LakeError: it cannot be written.
        """
        found: dict[TableKind, int | None] = {}
        for kind in ("history", "current"):
            base = live[kind]
            found[kind] = base.version if base else None
            if self.shape is None or (base is None and not self.files[kind]):
                continue
            adds = [await self.writer.put(self.table, kind, file) for file in self.files[kind]]
            found[kind] = await self.writer.delta.commit(
                kind, folder_of(self.table), base, self.shape, adds, [], rewrites=True,
                snapshot=self.snapshot if kind == "current" else None,
            )  # fmt: skip
        return found

    async def differences(self, live: Mapping[TableKind, Live | None]) -> dict[TableKind, int]:
        """How many rows of each kind of table are not the same in the lake and here."""
        found: dict[TableKind, int] = {}
        for kind in KINDS:
            base = live[kind]
            here = Here(self.writer, self.table, self.writer.new_folder())
            files = await here.bring_paths(kind, base.files if base else ())
            if self.shape is None:
                found[kind] = sum(file.rows or 0 for file in base.files.values()) if base else 0
                continue
            async with here.intact():
                found[kind] = await self.writer.in_thread(self._merge.differing, files, self._paths(kind))
        return found


async def differing(
    writer: Writer, table: str, sources: list[HourSource], live: Mapping[TableKind, Live | None]
) -> dict[TableKind, int]:
    """How many rows of each kind of table are not what these Hours, ascending, say.

    Raises:
        SettingsError: an Hour that the table has cannot be read any more, or there is not enough memory.
        LakeError: the lake cannot be read.
    """
    anew = await Anew.of(writer, table, sources, live["current"])
    try:
        found = await anew.differences(live)
    except ConflictError:
        hint = "Run viplake tables --check again when no other viplake writes the tables."
        raise LakeError(f"the table {table} was rewritten while it was compared", hint=hint) from None
    await asyncio.to_thread(shutil.rmtree, anew.folder, ignore_errors=True)
    return found


async def rebuild(
    writer: Writer, table: str, sources: list[HourSource] | None = None
) -> tuple[dict[TableKind, int | None], dict[Hour, str]]:
    """Compute a table anew from all proven Hours and replace it; the versions, and the Hours that it lacks, and why.

    Raises:
        SettingsError: an Hour that the table has is gone, or cannot be read any more, or there is not enough memory.
        LakeError: the lake cannot be read or written, or others commit without a pause.
    """
    for _ in range(_RACES):
        try:
            return await writer.with_memory(table, partial(_replaced, writer, table, sources))
        except ConflictError:
            sources = None
    raise LakeError(f"the table {table} is written by others without a pause")


async def _replaced(
    writer: Writer, table: str, sources: list[HourSource] | None
) -> tuple[dict[TableKind, int | None], dict[Hour, str]]:
    live = {kind: await writer.delta.open(kind, folder_of(table)) for kind in KINDS}
    anew = await Anew.of(writer, table, sources or await proven_hours(writer), live["current"])
    versions = await anew.commit(live)
    await asyncio.to_thread(shutil.rmtree, anew.folder, ignore_errors=True)
    return versions, anew.held | anew.refused
