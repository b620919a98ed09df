"""I/O. Brings the current and the history tables up to date with the proven Hours.

::

    for batch in batches(Hours with a Receipt and without a mark):
        begin(batch)                        # others see that these Hours may be in the tables
        for table in tables of the batch:   # those with other files than in the Hour before
            merge, commit the history, commit the current table
        begun by others meanwhile? then merge the batch again, as late Hours
        write the marks

Every step may be repeated, and may be the last one of a process: see docs/adr/0017-current-and-history-tables.md.
"""

from __future__ import annotations

import asyncio
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from viplake.concurrency import map_bounded
from viplake.current import marks
from viplake.current.anew import differing, proven_hours, rebuild
from viplake.current.delta import KINDS, ConflictError, DamagedTableError
from viplake.current.marks import HourMarks, Mark, TableMark
from viplake.current.merge import ROWS_OF_TABLE, TARGET_BYTES, Counts, Merge
from viplake.current.plan import accepted, batches, parts_of, rewriting, work_of
from viplake.current.shape import CHANGED
from viplake.current.source import HeldError, TooLargeError, folder_of, moment, rows_in, source_of, temporary_folder
from viplake.current.writer import MEMORIES, Here, Writer, connect
from viplake.errors import LakeError, SettingsError
from viplake.lake.hours import listed_days, named_hours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from viplake.current.delta import DeltaTables, Live, TableKind
    from viplake.current.settings import TablesSettings
    from viplake.current.shape import Shape, Snapshot
    from viplake.current.source import HourRows, HourSource
    from viplake.lake import Lake
    from viplake.model import Hour

log = structlog.get_logger(__name__)

_AT_ONCE: Final = 16
_RACES: Final = 50
"""Commits lost to other writers in a row before giving up."""

_VACUUM_EVERY: Final = 24
"""Versions of a table after which files of old ones are removed."""

_COMMITS_AN_UPDATE: Final = 2
"""Versions that an update adds to a table at most, in general: one for columns and one for rows."""

_MOST_VACUUMED: Final = 16
"""Delta tables that one update removes old files of."""

_KNOWN_BEFORE: Final = 31 * 24
"""Hours before a range for which the marks are read too: the range is compared with the newest of them."""

_BACK: Final = 48
"""Hours back in which the files of a table are looked for, to compare them with."""


@dataclass(slots=True)
class TableChange:
    """What an update did to a table.

    Attributes:
        current, history: versions of the Delta tables; None: there is none.
        rows: of the current table that are new or other ones.
        versions: that are new in the history.
        aside: records with a null in the key.
        distinct: see `TableMark`.
        notes: what changed in the schema, and what is unusual.
    """

    current: int | None = None
    history: int | None = None
    rows: int = 0
    versions: int = 0
    aside: int = 0
    distinct: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def versions_of(self) -> dict[TableKind, int | None]:
        """Versions of the Delta tables, by kind."""
        return {"current": self.current, "history": self.history}


@dataclass(slots=True)
class TablesUpdate:
    """What an update did.

    Attributes:
        hours: that are in the tables now, in the order in which they were merged.
        tables: that had other files than before, by name.
        skipped: how many times a table was not opened because its files had not changed.
        removed: files of old versions, by vacuum.
        held: (Hour, table, why): not merged.
    """

    hours: list[Hour] = field(default_factory=list)
    tables: dict[str, TableChange] = field(default_factory=dict)
    skipped: int = 0
    removed: int = 0
    held: list[tuple[Hour, str, str]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "hours": [str(hour) for hour in self.hours],
            "tables": {
                name: {
                    "current": one.current, "history": one.history, "rows": one.rows, "versions": one.versions,
                    "null_keys": one.aside, "notes": one.notes,
                }
                for name, one in sorted(self.tables.items())
            },
            "skipped": self.skipped,
            "removed": self.removed,
            "held": [{"hour": str(hour), "table": table, "why": why} for hour, table, why in self.held],
        }  # fmt: skip


async def update(
    lake: Lake,
    delta: DeltaTables,
    settings: TablesSettings,
    *,
    first: Hour | None = None,
    last: Hour | None = None,
    anew: bool = False,
    progress: Callable[[Hour], None] | None = None,
) -> TablesUpdate:
    """Merge every proven Hour that the tables do not have.

    Args:
        lake: which.
        delta: its tables.
        settings: of the tables.
        first: Hour to look at; None: from the oldest on.
        last: likewise; None: up to the newest.
        anew: compute all tables anew first, from all proven Hours.
        progress: is called with each Hour that is done.

    Raises:
        LakeError: the lake cannot be read or written; what was committed stays, and the next update goes on.
        SettingsError: there is no room here.
    """
    with opened(lake, delta, settings) as writer:
        run = Update(writer, TablesUpdate())
        if anew:
            sources = await proven_hours(writer)
            for table in sorted({table for source in sources for table in source.tables}):
                versions, _ = await rebuild(writer, table, sources)
                run.found.tables[table] = TableChange(versions["current"], versions["history"], notes=["computed anew"])
        await run.run(first, last, progress)
    return run.found


async def check(lake: Lake, delta: DeltaTables, settings: TablesSettings) -> dict[str, dict[TableKind, int]]:
    """Compute every table anew from the Hours that are in the tables, and compare; rows that differ, by table and kind.

    Raises:
        LakeError, SettingsError: as `update`.
    """
    with opened(lake, delta, settings) as writer:
        done = (await marks.known(lake, await marks.days(lake))).done
        sources = await proven_hours(writer, done)
        found: dict[str, dict[TableKind, int]] = {}
        for table in sorted({table for source in sources for table in source.tables}):
            live = {kind: await delta.open(kind, folder_of(table)) for kind in KINDS}
            found[table] = await writer.with_memory(table, partial(differing, writer, table, sources, live))
    return found


@contextmanager
def opened(lake: Lake, delta: DeltaTables, settings: TablesSettings) -> Iterator[Writer]:
    """Give a writer with a folder for files, which is removed afterwards.

    Raises:
        SettingsError: there is no room here.
    """
    with temporary_folder() as root:
        writer = Writer(lake, delta, settings, connect(root), root)
        try:
            yield writer
        finally:
            writer.connection.close()


@dataclass(slots=True)
class Update:
    """An update.

    Attributes:
        writer: of the tables.
        found: what was done.
        known: which Hours may be in the tables, of the days that matter.
    """

    writer: Writer
    found: TablesUpdate
    known: HourMarks = field(default_factory=HourMarks)
    _marks: dict[Hour, Mark | None] = field(default_factory=dict)

    async def run(self, first: Hour | None, last: Hour | None, progress: Callable[[Hour], None] | None) -> None:
        """Merge every proven Hour of the range that the tables do not have."""
        every = await listed_days(self.writer.lake)
        wanted = [day for day in every if (not first or first.day <= day) and (not last or day <= last.day)]
        begun = await marks.days(self.writer.lake)
        since = first.shift(-_KNOWN_BEFORE).day if first else ""
        await self._look(sorted({*wanted, *(day for day in begun if day >= since)}))
        whole = marks.whole_days(self.known)
        looked = [day for day in wanted if day not in whole]
        names = await map_bounded(lambda day: named_hours(self.writer.lake, day), looked, at_once=_AT_ONCE)
        within = [h for day in names for h in day if (not first or first <= h) and (not last or h <= last)]
        open_ = [hour for hour in within if hour not in self.known.done or hour in self.known.held]
        adopted = self.writer.settings.adopted
        sources = [
            source
            for source in await map_bounded(
                lambda hour: source_of(self.writer.lake, hour, adopted=adopted), open_, at_once=_AT_ONCE
            )
            if source is not None
        ]
        newest = max((h for h in self.known.begun | self.known.done if h not in set(open_)), default=None)
        late = [source.hour for source in sources if newest is not None and source.hour < newest]
        again = [source for source in sources if source.hour in self.known.done]
        for batch in [*batches((s for s in sources if s not in again), late), *([source] for source in again)]:
            await self._batch(batch)
            for source in batch:
                self.found.hours.append(source.hour)
                if progress is not None:
                    progress(source.hour)
        await self._vacuum()

    async def _vacuum(self) -> None:
        """Remove old files of some tables that were written; a failure is logged, since the tables are right."""
        due: list[tuple[TableKind, str]] = [
            (kind, folder_of(name))
            for name, one in sorted(self.found.tables.items())
            for kind in KINDS
            if (version := one.versions_of[kind]) and version % _VACUUM_EVERY < _COMMITS_AN_UPDATE
        ]
        for kind, folder in due[:_MOST_VACUUMED]:
            try:
                removed = await self.writer.delta.vacuum(kind, folder)
            except LakeError as error:
                log.warning("not_vacuumed", table=f"{kind}/{folder}", cause=error.cause.word, detail=error.message)
            else:
                self.found.removed += removed

    async def _look(self, days: Iterable[str]) -> None:
        found = await marks.known(self.writer.lake, days)
        self.known.begun |= found.begun
        self.known.done |= found.done
        self.known.held |= found.held

    async def _batch(self, batch: Sequence[HourSource]) -> None:
        """Merge some Hours, and write their marks."""
        hours = {source.hour for source in batch}
        again = batch[0].hour in self.known.done
        await marks.begin(self.writer.lake, hours)
        seen: set[Hour] | None = None
        done: dict[str, TableMark] = {}
        held: dict[tuple[Hour, str], str] = {}
        while True:
            first = min(hours)
            await self._look([day for day in await marks.days(self.writer.lake) if day >= first.day])
            later = {hour for hour in self.known.begun | self.known.done if hour > first} - hours
            if later == seen:
                break
            seen = later
            held = {}
            done = await self._tables(batch, later, held, again=again)
        for source in batch:
            of_hour = {table: done[table].of_files(source.fingerprint(table, self.writer.settings))
                       for table in source.tables if table in done and (source.hour, table) not in held}  # fmt: skip
            left = {table: why for (hour, table), why in held.items() if hour == source.hour}
            if again and (before := await self._mark(source.hour)) is not None:
                of_hour = {**before.tables, **of_hour}
            await marks.finish(self.writer.lake, source.hour, Mark(str(source.hour), of_hour, left), again=again)
            self.known.done.add(source.hour)
            self._marks.pop(source.hour, None)
            self.found.held += [(source.hour, table, why) for table, why in sorted(left.items())]

    async def _tables(
        self, batch: Sequence[HourSource], later: set[Hour], held: dict[tuple[Hour, str], str], *, again: bool
    ) -> dict[str, TableMark]:
        """Merge all tables of some Hours; the versions that have them."""
        done: dict[str, TableMark] = {}
        for table in sorted({table for source in batch for table in source.tables}):
            having = [source for source in batch if table in source.tables]
            if again:
                mark = await self._mark(having[0].hour)
                if mark is None or table not in mark.held:
                    continue
            done[table] = await self._until_committed(table, having, later, held)
        return done

    async def _mark(self, hour: Hour) -> Mark | None:
        if hour not in self._marks:
            self._marks[hour] = await marks.read_mark(self.writer.lake, hour)
        return self._marks[hour]

    async def _before(self, table: str, hour: Hour) -> tuple[Hour, TableMark] | tuple[None, None]:
        """What the newest mark of an earlier Hour says of a table; None twice: there is no such mark.

        `files` is empty where an Hour in between may have it and has no mark, or has the table held back.
        """
        earlier = sorted((h for h in self.known.begun | self.known.done if h < hour), reverse=True)
        between = False
        for one in earlier[:_BACK]:
            mark = await self._mark(one) if one in self.known.done else None
            if mark is not None and table in mark.tables and table not in mark.held:
                return one, (mark.tables[table].of_files("") if between else mark.tables[table])
            between |= mark is None or table in mark.held
        return None, None

    async def _files_before(self, table: str, hour: Hour | None, before: TableMark | None) -> HourSource | None:
        """The Hour before, where its files are known and may be judged one by one."""
        if hour is None or before is None or not before.files or not before.distinct:
            return None
        source = await source_of(self.writer.lake, hour, adopted=self.writer.settings.adopted)
        if source is None or table not in source.tables:
            return None
        return source if source.fingerprint(table, self.writer.settings) == before.files else None

    async def _until_committed(
        self, table: str, having: Sequence[HourSource], later: set[Hour], held: dict[tuple[Hour, str], str]
    ) -> TableMark:
        settings = self.writer.settings
        earlier, before = await self._before(table, having[0].hour)
        fingerprints = [one.fingerprint(table, settings) for one in having]
        unread: set[Hour] = set()
        # A late Hour is compared with later ones, of which each file counts.
        whole = later or settings.of(table).mode == "snapshot"
        by_file = not whole and len(having[-1].tables[table].files) > 1
        for _ in range(_RACES):
            opened, skipped = work_of(having, fingerprints, before.files if before else None, unread)
            if not opened and before is not None:
                self.found.skipped += len(skipped)
                return before
            if by_file:
                known = await self._files_before(table, earlier, before)
                opened = parts_of(table, having, opened, known, unread, settings)
            folder = self.writer.new_folder()
            try:
                change = await self._merged(_Wanted(table, opened, later, before, by_file), held, folder)
            except ConflictError:
                continue
            except _NotByFileError:
                by_file = False
                continue
            except DamagedTableError as error:
                held |= {(source.hour, table): f"{error.message}. {error.hint}" for source in having}
                return before or TableMark(None, None, "")
            except TooLargeError:
                if self.writer.enlarge():
                    continue
                why = f"it needs more than {MEMORIES[-1]} of memory"
                held |= {(source.hour, table): why for source in having}
                return before or TableMark(None, None, "")
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            self.found.tables[table] = _added(self.found.tables.get(table), change)
            damaged = {source.hour for source in opened if (source.hour, table) in held}
            if (skipped or by_file) and damaged - unread:  # what was left out may be in one of these alone
                unread |= damaged
                continue
            self.found.skipped += len(skipped)
            return TableMark(change.current, change.history, "", change.aside, change.distinct)
        raise LakeError(f"the table {table} is written by others without a pause")

    # -- one table --------------------------------------------------------------------------------------------------

    async def _merged(self, one: _Wanted, held: dict[tuple[Hour, str], str], folder: Path) -> TableChange:
        """Merge Hours into a table, once.

        Raises:
            ConflictError: another writer was first.
            DamagedTableError: the log of the table cannot be used.
        """
        table = one.table
        live = {kind: await self.writer.delta.open(kind, folder_of(table)) for kind in KINDS}
        current, history = live["current"], live["history"]
        shape = history.shape if history else None
        change = TableChange(current.version if current else None, history.version if history else None)
        odd = next((each.odd for each in live.values() if each and each.odd), None)
        reads: dict[Hour, HourRows] = {}
        for source in one.opened:
            held.pop((source.hour, table), None)
        snapshots = self.writer.settings.of(table).mode == "snapshot"
        if odd is None and current is not None and current.snapshot is not None and not snapshots:
            odd = "its current table is a snapshot, which its settings do not want: viplake tables --rebuild"
        if odd is not None:
            held |= {(source.hour, table): odd for source in one.opened}
            return change
        if (why := _lost(live, one.before)) is not None:
            return await self._anew(one, change, why, held)
        async for sources, read in self.writer.read(table, one.opened, shape, folder):
            if isinstance(read, HeldError) or read.fitted.refused is not None:
                why = str(read) if isinstance(read, HeldError) else read.fitted.refused or ""
                held |= {(source.hour, table): why for source in sources}
                continue
            if read.fitted.anew:
                return await self._anew(one, change, f"{sources[0].hour} {read.fitted.anew}", held)
            change.notes += read.fitted.notes
            shape = read.fitted.shape
            reads[sources[0].hour] = read
        if shape is None or (history is None and not any(read.path for read in reads.values())):
            return change
        now = current.snapshot if current else None
        replacing = await self._replacing(one, shape, folder, reads, now, held) if snapshots else None
        rows = [read.path for read in reads.values() if read.path]
        hours = {source.hour for source in one.opened}
        # The history may have versions that the current table lacks where a writer was killed between their commits.
        versions = [each.version if each else None for each in live.values()]
        known = [one.before.current, one.before.history] if one.before else [None, None]
        settled = bool(shape.key) and not one.later and versions == known
        merging = _Merging(table, folder, rows, shape, live, hours, one.later, settled, one.by_file, replacing)
        await self._commit(merging, change)
        return change

    async def _replacing(
        self,
        one: _Wanted,
        shape: Shape,
        folder: Path,
        reads: dict[Hour, HourRows],
        now: Snapshot | None,
        held: dict[tuple[Hour, str], str],
    ) -> tuple[Hour, Path | None] | None:
        """The Hour that the snapshot is of, and its rows; None: of one before these.

        The newest Hour counts: where these are late, later ones are read again until one is found.
        """
        table, mine = one.table, set(reads)
        fewer = self.writer.settings.of(table).fewer_rows
        counts = {hour: await self._count(read) for hour, read in reads.items()}
        for hour in sorted(one.later - mine, reverse=True):
            if (now is not None and hour < now.hour) or not mine:
                break
            mark = await self._mark(hour) if hour in self.known.held else None
            source = await source_of(self.writer.lake, hour, adopted=self.writer.settings.adopted)
            if source is None or table not in source.tables or (mark is not None and table in mark.held):
                continue
            try:
                read = await self.writer.rows(table, source, shape, folder)
            except HeldError:
                continue
            count = await self._count(read)
            if read.fitted.refused is None and accepted(now, {hour: count}, table, fewer=fewer)[0] is not None:
                reads[hour], counts[hour] = read, count
                break
        found, refused = accepted(now, counts, table, fewer=fewer)
        held |= {(hour, table): why for hour, why in refused.items() if hour in mine}
        return None if found is None else (found, reads[found].path)

    async def _count(self, read: HourRows) -> int:
        found: int = await self.writer.in_thread(rows_in, self.writer.connection, read.path)
        return found

    async def _anew(
        self, one: _Wanted, change: TableChange, why: str, held: dict[tuple[Hour, str], str]
    ) -> TableChange:
        """Compute a table anew, or hold it back where Hours that it needs are not in the lake."""
        try:
            versions, left_out = await rebuild(self.writer, one.table)
        except SettingsError as error:
            held |= {(source.hour, one.table): f"{why}, but {error.message}" for source in one.opened}
            return change
        held |= {(source.hour, one.table): left_out[source.hour] for source in one.opened if source.hour in left_out}
        return TableChange(versions["current"], versions["history"], notes=[f"computed anew: {why}"])

    async def _commit(self, one: _Merging, change: TableChange) -> None:
        """Merge rows and commit what changes."""
        run, shape = self.writer.in_thread, one.shape
        merge: Merge = await run(
            lambda: Merge(self.writer.connection, shape, one.folder, one.rows, late=bool(one.later))
        )
        change.aside = merge.aside
        here = Here(self.writer, one.table, one.folder)
        async with here.intact():
            await self._decide(one, change, merge, here)

    async def _decide(self, one: _Merging, change: TableChange, merge: Merge, here: Here) -> None:
        """Find what changes, write and commit it."""
        run, shape = self.writer.in_thread, one.shape
        spans = await run(merge.spans, "r")
        keys = {name: span for name, span in spans.items() if name in shape.key}
        current = await here.bring("current", one.live["current"], keys) if shape.key else []
        writes: dict[TableKind, int] = {"history": 0, "current": 0}
        if one.by_file:
            if await run(merge.repeats):
                raise _NotByFileError
            # Without record times every change is a tie.
            change.distinct = not shape.key or spans[CHANGED].low is not None
        counts: Counts | None = await run(merge.newer, current) if one.settled else None
        if counts is None and await run(merge.against, current):
            spans = await run(merge.spans, "v")
            await run(merge.compare, await here.bring("history", one.live["history"], spans))
            if one.by_file and await run(merge.ties):
                raise _NotByFileError
            await self._decide_late(merge, one)
            counts = await run(merge.decide)
        if counts is not None:
            change.versions, change.rows = counts.fresh, counts.changed
            writes = {"history": counts.fresh + counts.earlier, "current": counts.changed}
        of_all = {kind: many / counts.rows if counts and counts.rows else 0.0 for kind, many in writes.items()}
        change.history = await self._write("history", one, merge, here, of_all["history"])
        if shape.key:
            change.current = await self._write("current", one, merge, here, of_all["current"])
        elif one.replacing is not None:
            await self._replace(one, merge, here, change)

    async def _replace(self, one: _Merging, merge: Merge, here: Here, change: TableChange) -> None:
        """Replace all rows of a current table by the records of an Hour.

        Args:
            one: the merge.
            merge: of it; the history has it.
            here: files of the table.
            change: of the table.

        Raises:
            ConflictError: another writer was first.
        """
        assert one.replacing is not None  # noqa: S101 - `_commit` sees to it
        (hour, path), live = one.replacing, one.live["current"]
        now = live.snapshot if live else None
        target, run = one.folder / "out" / "current", self.writer.in_thread
        rows = await run(rows_in, self.writer.connection, path)
        written = await run(merge.write_snapshot, path, target, path.stat().st_size) if path and rows else []
        if live and now and now.hour == hour and live.shape == one.shape:
            # The same Hour's rows may name a later Hour, where another writer, or one that was killed, has committed
            # earlier Hours to the history alone.
            paths = await here.bring_paths("current", live.files)
            if await run(merge.same_rows, [file.path for file in written], paths):
                return
        change.rows = rows
        adds = [await self.writer.put(one.table, "current", file) for file in written]
        change.current = await self.writer.delta.commit(
            "current", folder_of(one.table), live, one.shape, adds, [], rewrites=True, snapshot=hour
        )

    async def _decide_late(self, merge: Merge, one: _Merging) -> None:
        """Read later Hours again, newest first, as long as versions of a key tie that none of them has shown."""
        read: set[str] = set()
        for hour in sorted(one.later - one.hours, reverse=True):
            if not await self.writer.in_thread(merge.undecided, moment(hour)):
                return
            source = await source_of(self.writer.lake, hour, adopted=self.writer.settings.adopted)
            if source is None or one.table not in source.tables:
                continue
            fingerprint = source.fingerprint(one.table, self.writer.settings)
            if fingerprint in read:
                continue
            try:
                found = await self.writer.rows(one.table, source, one.shape, one.folder)
            except HeldError:
                continue
            if found.path is not None:
                await self.writer.in_thread(merge.carried, found.path)
            read |= {fingerprint} if fingerprint else set()

    async def _write(self, kind: TableKind, one: _Merging, merge: Merge, here: Here, share: float) -> int | None:
        """Write and commit what a merge changes in one Delta table; its version, None where it does not exist.

        Args:
            kind: of table.
            one: the merge.
            merge: the same, as computed.
            here: files of the table.
            share: of the rows that is written; 0: none.

        Raises:
            ConflictError: another writer was first.
        """
        live, shape, commit = one.live[kind], one.shape, self.writer.delta.commit
        writes = share > 0
        if live is None and not writes:
            return None
        files = live.files if live else {}
        known = {column.name: column.type for column in live.shape.columns} if live else {}
        widened = any(known.get(column.name, column.type) != column.type for column in shape.columns)
        if live is not None and not writes and not widened:
            if shape.names == live.shape.names:
                return live.version
            return await commit(kind, folder_of(one.table), live, shape, [], [], rewrites=False)
        touched: Iterable[str] = files
        if writes and not widened:
            touched = here.stored(kind, await self.writer.in_thread(merge.touched, kind))
        rows = sum(path.stat().st_size for path in one.rows) // ROWS_OF_TABLE
        active = rows if kind == "current" and writes else None
        chosen = rewriting(files, touched, int(rows * min(share, 1)), TARGET_BYTES, active)
        paths = await here.bring_paths(kind, chosen.paths)
        write = partial(merge.write, apart=chosen.apart) if writes else merge.copy
        written = await self.writer.in_thread(write, kind, paths, one.folder / "out" / kind, chosen.size)
        adds = [await self.writer.put(one.table, kind, file) for file in written]
        return await commit(kind, folder_of(one.table), live, shape, adds, chosen.paths, rewrites=widened)


def _lost(live: Mapping[TableKind, Live | None], before: TableMark | None) -> str | None:
    """Why a table lacks rows that it had: its log is gone, or was replaced by an older one; None: it has them all."""
    known: dict[TableKind, int | None] = {"current": before.current, "history": before.history} if before else {}
    for kind, version in known.items():
        found = live[kind]
        if version is not None and (found is None or found.version < version):
            now = "gone" if found is None else f"at version {found.version}"
            return f"its {kind} table is {now}, and was at version {version}"
    return None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is merged into a table.

    Attributes:
        table: its name.
        opened: Hours with files to read.
        later: Hours after the first of these that may be in the table.
        before: what the newest mark of an earlier Hour says of the table; None: it is not known.
        by_file: some files of these Hours may be left out, since the Hour before each has them too.
    """

    table: str
    opened: Sequence[HourSource]
    later: set[Hour]
    before: TableMark | None
    by_file: bool


@dataclass(frozen=True, slots=True)
class _Merging:
    """A merge of some Hours into a table.

    Attributes:
        table: its name.
        folder: for files.
        rows: of the Hours.
        shape: of the table with them.
        live: its versions that the merge starts from.
        hours: that are merged.
        later: Hours after the first of these that may be in the table.
        settled: no later Hour is in the table, and the current table has the newest versions of the history.
        by_file: see `_Wanted`.
        replacing: the Hour that replaces the current table, and its rows.
    """

    table: str
    folder: Path
    rows: Sequence[Path]
    shape: Shape
    live: Mapping[TableKind, Live | None]
    hours: set[Hour]
    later: set[Hour]
    settled: bool
    by_file: bool
    replacing: tuple[Hour, Path | None] | None


class _NotByFileError(Exception):
    """A key has versions that tie: which Hours carried them decides, so all files of the Hours are read."""


def _added(before: TableChange | None, change: TableChange) -> TableChange:
    if before is None:
        return change
    return replace(
        change,
        rows=before.rows + change.rows,
        versions=before.versions + change.versions,
        aside=before.aside + change.aside,
        notes=[*before.notes, *change.notes],
    )
