"""I/O. What a query can name: a view for each table of an Hour, or of several, and for each dataset of the history.

A view that a query names reads files that were fetched through our own store. The others can only be
described: asking one of them fails, and never says that there is nothing in it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from viplake.concurrency import map_bounded
from viplake.content.profiling import spellings
from viplake.errors import WITHHELD, LakeError, SettingsError
from viplake.history.datasets import DATASETS, PARQUET_DATASETS, parse, render
from viplake.query.current_views import DeltaView
from viplake.tables import duck
from viplake.tables.files import fetch
from viplake.tables.schema import names_for
from viplake.tables.staged import Staged, Unreadable
from viplake.tables.types import TEXT, ColumnType, type_of, typed, widened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from viplake.history.build import HistoryLocation
    from viplake.history.datasets import HourDataset
    from viplake.lake import Lake
    from viplake.model import Hour
    from viplake.tables.files import HourFiles, TableFiles
    from viplake.tables.types import ValueKind

T = TypeVar("T")
ColumnTypes = dict[str, ColumnType]

_HOURS_AT_ONCE: Final = 4
"""Hours that are fetched side by side, 16 files each: latency is hidden, memory stays flat."""

_FILES_AT_ONCE: Final = 16
_LARGEST_CSV: Final = 1 << 30

_NO_COLUMNS: Final[Mapping[str, ColumnType]] = {"unknown": TEXT}
"""Columns of a table without a schema and without records: a view has at least one column."""

_HOUR_OF_PATH: Final = r"strptime(regexp_extract(path, '(\d{10})[/\\][^/\\]*$', 1), '%Y%m%d%H')"
"""Folders of staged files are called by their Hour."""


@dataclass(frozen=True, slots=True)
class Notes:
    """The warnings of a query.

    Attributes:
        warn: takes a line about what is odd.
        leave_out: takes what cannot be read, and why; it raises where the result must be whole.
    """

    warn: Callable[[str], None]
    leave_out: Callable[[str, str], None]


class View(Protocol):
    """A table that a query can name."""

    @property
    def name(self) -> str:
        """Return its name in queries."""
        ...

    @property
    def brought(self) -> bool:
        """Its files are here."""
        ...

    def describe(self) -> str:
        """SQL of a view that can be described, and fails when it is read."""
        ...

    def show(self, connection: DuckDBPyConnection, notes: Notes) -> str:
        """The view over the files that are here."""
        ...

    def weed(self, connection: DuckDBPyConnection, notes: Notes) -> bool:
        """Leave out the files that cannot be read; whether there were any."""
        ...


# -- tables ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Snapshots:
    """A table of one Hour, or of several.

    Attributes:
        name: what queries call it.
        columns: by the schemas of these Hours.
        files: what each Hour has of it.
        hourly: the Hour is its first column.
        staged: the files that are here and can be read.
        brought: they are.
    """

    name: str
    columns: ColumnTypes
    files: Mapping[Hour, TableFiles]
    hourly: bool
    staged: list[Staged] = field(default_factory=list)
    brought: bool = False

    @property
    def _head(self) -> ColumnTypes:
        return {"hour": ColumnType("timestamp")} if self.hourly else {}

    def describe(self) -> str:
        """See `View`."""
        return _view(self.name, _empty(self._head, self.columns, _not_brought(self.name)))

    def show(self, connection: DuckDBPyConnection, notes: Notes) -> str:
        """See `View`."""
        found = duck.members(connection, self.staged, first=True)
        self._leave_out(found.bad, notes)
        for label, count in found.nulls.items():
            notes.warn(f"{label}: null is in place of {count:,} {'record' if count == 1 else 'records'}")
        self.staged = sorted(found.files, key=lambda file: file.path)
        spelled = spellings(self.columns, found.counts)
        for column, members in spelled.items():
            notes.warn(f"{self.name}: column {column} is read from the member {', '.join(members)}")
        taken = {*self.columns, *(member for members in spelled.values() for member in members)}
        ahead = duck.first_members(connection, self.staged)
        others = [*ahead, *sorted(found.counts.keys() - set(ahead))]
        columns = self.columns | {name: TEXT for name in others if name not in taken}
        if not self.staged or not columns:
            return _view(self.name, _empty(self._head, columns, "false"))
        cells = [f"c{index}" for index in range(len(columns))]
        labels = names_for([*self._head, *columns])[len(self._head) :]
        self._warn_of_spellings(connection, columns, labels, notes)
        sources = [spelled.get(name, (name,)) for name in columns]
        records = duck.texts(self.staged, sources, cells, path="path" if self.hourly else None)
        values = _valued(columns.values(), cells, labels)
        hour = f"{_HOUR_OF_PATH} as hour, " if self.hourly else ""
        return _view(self.name, f"select {hour}{values} from ({records})")  # noqa: S608 - quoted

    def _warn_of_spellings(
        self, connection: DuckDBPyConnection, columns: Iterable[str], labels: Iterable[str], notes: Notes
    ) -> None:
        """Warn of records that have a column only in other case, where other records have it as declared."""
        declared = {name.lower(): name for name in self.columns}
        for name, label in zip(columns, labels, strict=True):
            column = declared.get(name.lower(), name)
            if name in self.columns or column == name:
                continue
            both = duck.texts(self.staged, [(column,), (name,)], ["c0", "c1"])
            with suppress(*duck.faults()):  # what cannot be read is reported when the query reads it
                sql = f"select 1 from ({both}) where c0 is null and c1 is not null limit 1"  # noqa: S608 - quoted
                if connection.execute(sql).fetchall():
                    notes.warn(f"{self.name}: {column} is null in records that have only {name}: see column {label}")

    def weed(self, connection: DuckDBPyConnection, notes: Notes) -> bool:
        """See `View`."""
        self.staged, bad = duck.readable(connection, self.staged)
        self._leave_out(bad, notes)
        return bool(bad)

    def _leave_out(self, bad: Iterable[duck.FileFault], notes: Notes) -> None:
        for fault in bad:
            where = "" if fault.byte is None else f", at byte {fault.byte:,} of its JSON"
            notes.leave_out(fault.file.label, f"{fault.why}{where}")


def snapshots(hours: Sequence[HourFiles], *, taken: Iterable[str], hourly: bool) -> list[Snapshots]:
    """The tables of some Hours, ascending, by name.

    Args:
        hours: and their files.
        taken: names that they cannot have.
        hourly: the Hour is the first column of each.
    """
    by_table: dict[str, dict[Hour, TableFiles]] = {}
    for known in hours:
        for table in known.tables:
            by_table.setdefault(table.table, {})[known.hour] = table
    reserved = list(taken)
    names = names_for([*reserved, *sorted(by_table)])[len(reserved) :]
    return [
        Snapshots(name, _columns(list(by_table[table].values())), by_table[table], hourly)
        for name, table in zip(names, sorted(by_table), strict=True)
    ]


def _columns(tables: Sequence[TableFiles]) -> ColumnTypes:
    """The columns of a table by the schemas of its Hours, in the order of the newest; wide enough for all of them."""
    found: ColumnTypes = {}
    for table in reversed(tables):
        for name, declared in (table.columns or {}).items():
            of = type_of(declared) or TEXT
            found[name] = widened(found[name], of) if name in found else of
    return found


# -- the history ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class CsvDataset:
    """A dataset of the history that is a CSV file; its Hour is the first column besides.

    Attributes:
        dataset: which.
        extra: further columns that people gave it.
        staged: its file, here; None where there is none.
        brought: it was looked for.
    """

    dataset: HourDataset
    extra: tuple[str, ...] = ()
    staged: Path | None = None
    brought: bool = False

    @property
    def name(self) -> str:
        """See `View`."""
        return self.dataset.name

    @property
    def _columns(self) -> ColumnTypes:
        return _types({**self.dataset.kinds} | dict.fromkeys(self.extra, "text"))

    def describe(self) -> str:
        """See `View`."""
        return _view(self.name, _empty({"hour": ColumnType("timestamp")}, self._columns, _not_brought(self.name)))

    def show(self, connection: DuckDBPyConnection, notes: Notes) -> str:  # noqa: ARG002 - as the others
        """See `View`."""
        if self.staged is None:
            return _view(self.name, _empty({"hour": ColumnType("timestamp")}, self._columns, "false"))
        cells = [f"c{index}" for index in range(len(self._columns))]
        types = ", ".join(f"{cell}: 'VARCHAR'" for cell in cells)
        values = _valued(self._columns.values(), cells, names_for(["hour", *self._columns])[1:])
        form = "auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"'"
        rows = f"read_csv({duck.quoted(str(self.staged))}, {form}, columns = {{{types}}})"
        return _view(self.name, f"select strptime(c0, '%Y%m%d-%H') as hour, {values} from {rows}")  # noqa: S608 - quoted

    def weed(self, connection: DuckDBPyConnection, notes: Notes) -> bool:  # noqa: ARG002 - as the others
        """See `View`: what is here was written anew, and can be read."""
        return False

    async def bring(self, place: HistoryLocation, folder: Path, notes: Notes) -> None:
        """Fetch the CSV file of the dataset and write it to `folder` in the form in which `observe` writes it."""
        self.brought = True
        try:
            data = await place.store.get(place.published + self.dataset.file, limit=_LARGEST_CSV)
        except LakeError as error:
            _leave_out(error, self.dataset.file, notes)
            return
        if data is None:
            notes.warn(f"there is no {self.name} yet: viplake observe makes it")
            return
        try:
            parsed = parse(self.dataset, data)
        except SettingsError as error:
            notes.leave_out(self.dataset.file, error.message)
            return
        for warning in parsed.warnings:
            notes.warn(f"{self.dataset.file}: {warning}")
        self.extra, self.staged = parsed.frame.extra, folder / self.dataset.file
        self.staged.write_bytes(render(self.dataset, parsed.frame))


@dataclass(slots=True)
class ParquetDataset:
    """A dataset of the history that is a folder of Parquet files; its times have no zone here: they are UTC.

    Attributes:
        name: what queries call it, and of the folder.
        columns: what they are.
        staged: its files, here.
        brought: they are.
    """

    name: str
    columns: Mapping[str, ValueKind]
    staged: list[Path] = field(default_factory=list)
    brought: bool = False

    def describe(self) -> str:
        """See `View`."""
        return _view(self.name, _empty({}, _types(self.columns), _not_brought(self.name)))

    def show(self, connection: DuckDBPyConnection, notes: Notes) -> str:
        """See `View`."""
        try:
            return self._shown(connection)
        except duck.faults():
            self.weed(connection, notes)
            return self._shown(connection)

    def _shown(self, connection: DuckDBPyConnection) -> str:
        if not self.staged:
            return _view(self.name, _empty({}, _types(self.columns), "false"))
        described = connection.execute(f"describe from {_parquet(self.staged)}").fetchall()
        zoned = [duck.named(name) for name, type_, *_ in described if type_ == "TIMESTAMP WITH TIME ZONE"]
        plain = ", ".join(f"cast({name} as timestamp) as {name}" for name in zoned)
        replaced = f" replace ({plain})" if plain else ""
        return _view(self.name, f"select *{replaced} from {_parquet(self.staged)}")  # noqa: S608 - quoted

    def weed(self, connection: DuckDBPyConnection, notes: Notes) -> bool:
        """See `View`."""
        good = []
        for path in self.staged:
            try:
                connection.execute(f"summarize from {_parquet([path])}").fetchall()  # reads every cell
            except duck.faults():
                notes.leave_out(f"{self.name}/{path.name}", "it cannot be read as Parquet")
            else:
                good.append(path)
        bad, self.staged = len(self.staged) - len(good), good
        return bad > 0

    async def bring(self, place: HistoryLocation, folder: Path, notes: Notes) -> None:
        """All its files."""
        self.brought = True
        prefix = f"{place.published}{self.name}/"
        keys = [file.key for file in await place.store.files(prefix) if file.key.endswith(".parquet")]
        if not keys:
            maker = "content" if self.name.endswith("_content") else "observe"
            notes.warn(f"there is no {self.name} yet: viplake {maker} makes it")
        here = folder / self.name
        here.mkdir()

        async def one(key: str) -> Path | None:
            path = here / key.removeprefix(prefix).replace("/", "-")
            try:
                with path.open("wb") as target:
                    async for chunk in place.store.read(key):
                        target.write(chunk)
            except LakeError as error:
                _leave_out(error, key.removeprefix(place.published), notes)
                return None
            return path

        self.staged = [path for path in await map_bounded(one, keys, at_once=_FILES_AT_ONCE) if path is not None]


def _leave_out(error: LakeError, name: str, notes: Notes) -> None:
    """Leave out what the store does not give, although it gives the rest; any other error ends the query."""
    if error.cause.word not in WITHHELD:
        raise error
    notes.leave_out(name, f"{WITHHELD[error.cause.word]}: {error.message}")


def _parquet(files: Iterable[Path]) -> str:
    return f"read_parquet([{', '.join(duck.quoted(str(path)) for path in files)}], union_by_name = true)"


def history() -> list[CsvDataset | ParquetDataset]:
    """The datasets of the history."""
    return [
        *(CsvDataset(dataset) for dataset in DATASETS),
        *(ParquetDataset(dataset.name, dataset.kinds) for dataset in PARQUET_DATASETS),
    ]


# -- bringing -------------------------------------------------------------------------------------------------------


async def bring(lake: Lake, place: HistoryLocation, views: Sequence[View], root: Path, notes: Notes) -> None:
    """Bring the files of some views into folders below `root`; what cannot be read is said.

    Raises:
        LakeError: the lake cannot be read.
        OSError: the local disk is full.
    """
    tables = [view for view in views if isinstance(view, Snapshots)]
    hours = sorted({hour for view in tables for hour in view.files})

    async def of(hour: Hour) -> None:
        here = {view.files[hour].table: view for view in tables if hour in view.files}
        folder = root / f"{hour.start:%Y%m%d%H}"
        found = await fetch(lake, hour, [view.files[hour] for view in here.values()], folder, unfold=False)
        for table, files in found.items():
            here[table].staged += [file for file in files if isinstance(file, Staged)]
            for file in files:
                if isinstance(file, Unreadable):
                    where = f", at byte {file.byte:,}" if file.byte and f"{file.byte:,}" not in file.why else ""
                    notes.leave_out(f"{file.name} of {hour}", f"{file.why}{where}")

    await map_bounded(of, hours, at_once=_HOURS_AT_ONCE)
    for table in tables:
        table.brought = True
        table.staged.sort(key=lambda file: file.path)
    folder = root / "history"
    folder.mkdir()
    for view in views:
        if isinstance(view, CsvDataset | ParquetDataset | DeltaView):
            await view.bring(place, folder, notes)


# -- names and values -----------------------------------------------------------------------------------------------


def _view(name: str, select: str) -> str:
    return f"create or replace view {duck.named(name)} as {select}"


def _empty(head: Mapping[str, ColumnType], columns: Mapping[str, ColumnType], where: str) -> str:
    """A relation of these columns without rows: either it is empty, or asking it fails."""
    shown = [*head.items(), *(columns or _NO_COLUMNS).items()]
    labels = names_for(name for name, _ in shown)
    cells = [f"cast(null as {kind.sql}) as {duck.named(label)}" for (_, kind), label in zip(shown, labels, strict=True)]
    return f"select {', '.join(cells)} from (select 1) where {where}"  # noqa: S608 - quoted


def _not_brought(name: str) -> str:
    message = f"{name} was not read, because the query does not name it plainly"
    return f"error({duck.quoted(message)}) is null"


def _valued(types: Iterable[ColumnType], cells: Iterable[str], labels: Iterable[str]) -> str:
    """Cells of text as what the columns are."""
    return ", ".join(
        f"{typed(cell, of)} as {duck.named(label)}" for of, cell, label in zip(types, cells, labels, strict=True)
    )


def _types(kinds: Mapping[str, ValueKind]) -> ColumnTypes:
    """The types of a dataset's columns: its ratios are doubles."""
    return {name: ColumnType("double" if kind == "decimal" else kind) for name, kind in kinds.items()}
