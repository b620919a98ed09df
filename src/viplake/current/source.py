"""I/O. The records of an Hour's tables, from files that equal the Receipt, as typed rows in Parquet on this machine."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from viplake.current.shape import CHANGED, DELETED, HOUR, PROBLEMS, fit
from viplake.errors import SettingsError
from viplake.lake.layout import SCHEMA_NAME
from viplake.lake.proof import read_receipt
from viplake.tables import duck
from viplake.tables.files import TableFiles, tables_of
from viplake.tables.schema import LARGEST_SCHEMA, read_schema
from viplake.tables.staged import Staged, Unreadable
from viplake.tables.staging import stage
from viplake.tables.types import plain, trial

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

    from duckdb import DuckDBPyConnection

    from viplake.current.settings import TablesSettings
    from viplake.current.shape import Column, Deletion, Fitted, Route, Shape
    from viplake.lake import Lake
    from viplake.model import Hour, ProvenFile


class TooLargeError(Exception):
    """DuckDB needs more memory than it may have."""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder for files of this machine, which is removed afterwards.

    Raises:
        SettingsError: there is no room in it, or no such folder.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="viplake-") as name:
            yield Path(name)
    except OSError as error:
        where = tempfile.tempdir or "a temporary folder"
        hint = "Make room, or set TMPDIR to a folder that has some."
        raise SettingsError(f"no room for the tables in {where}: {error.strerror or error}", hint=hint) from None


class DamagedFileError(Exception):
    """A Parquet file of a table, which was brought here, cannot be read.

    Args:
        path: of the file, here.
        why: in one clause.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why)
        self.path, self.why = path, why


def raise_damaged(paths: Iterable[Path]) -> None:
    """Raise why DuckDB failed where one of these Parquet files is the reason.

    Raises:
        DamagedFileError: one cannot be read.
    """
    if (found := duck.damaged(paths)) is not None:
        raise DamagedFileError(*found) from None


def raise_limit(error: Exception) -> None:
    """Raise what an error of DuckDB means where this machine has too little of something.

    Raises:
        OSError: the local disk is full.
        TooLargeError: there is not enough memory.
    """
    if duck.of_space(error):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
    if duck.of_memory(error):
        raise TooLargeError from None


class HeldError(Exception):
    """A table of an Hour cannot be merged; the text says why, in one clause."""


@dataclass(frozen=True, slots=True)
class HourSource:
    """A proven Hour.

    Attributes:
        hour: which.
        tables: that have files, by name.
        proven: the files of its Receipt, by name.
        held: why none of its tables can be read; None: they can.
    """

    hour: Hour
    tables: Mapping[str, TableFiles]
    proven: Mapping[str, ProvenFile]
    held: str | None = None

    def key(self, table: str, settings: TablesSettings) -> tuple[str, ...]:
        """Columns of the key of a table: those of the settings, else of the schema; none where rows have none."""
        own = settings.of(table)
        return own.key or self.tables[table].key if own.mode == "current" else ()

    def fingerprint(self, table: str, settings: TablesSettings) -> str:
        """What the rows of a table depend on; empty where a checksum is missing."""
        sums = sorted(self.sums(table).values())
        if not all(sums):
            return ""
        return hashlib.sha256(repr([sums, *self._reading(table, settings)]).encode()).hexdigest()[:32]

    def read_like(self, other: HourSource, table: str, settings: TablesSettings) -> bool:
        """Whether the files of a table are read like those of another Hour."""
        return (
            self.held is None
            and other.held is None
            and self._reading(table, settings) == other._reading(table, settings)
        )

    def sums(self, table: str) -> dict[str, str]:
        """The MD5 of each file of a table; empty where it is not known."""
        return {name: self.proven[name].md5 or "" for name in self.tables[table].files}

    def _reading(self, table: str, settings: TablesSettings) -> list[object]:
        """What decides on how a file of a table is read."""
        known = self.tables[table]
        return [sorted((known.columns or {}).items()), known.key, settings.of(table).reading, settings.record_times]

    def without(self, other: HourSource, table: str, settings: TablesSettings) -> HourSource:
        """The same without the files of a table that another Hour has too, where both are read alike."""
        if not self.read_like(other, table, settings):
            return self
        known, there = self.tables[table], set(other.sums(table).values()) - {""}
        files = {name: size for name, size in known.files.items() if self.sums(table)[name] not in there}
        return replace(self, tables={**self.tables, table: replace(known, files=files)})


async def source_of(lake: Lake, hour: Hour, *, adopted: bool) -> HourSource | None:
    """Return a proven Hour; None where it has no Receipt, or only one over sizes and `adopted` is not set.

    Raises:
        LakeError: the lake cannot be read.
    """
    receipt = await read_receipt(lake, hour)
    if receipt is None or (receipt.proof == "size" and not adopted):
        return None
    proven = {file.name: file for file in receipt.files}
    known, held = None, "the Hour has no schema"
    if (expected := proven.get(SCHEMA_NAME)) is not None:
        data = await lake.store.get(lake.layout.file(hour, SCHEMA_NAME), limit=LARGEST_SCHEMA)
        if data is None or _differs(expected, len(data), hashlib.md5(data, usedforsecurity=False).hexdigest()):
            held = "the schema of the Hour differs from its Receipt"
        else:
            known = await asyncio.to_thread(read_schema, data)
            held = "the schema of the Hour cannot be read"
    found = tables_of(hour, {name: file.size for name, file in proven.items()}, known)
    tables = {one.table: one for one in found.tables}
    return HourSource(hour, tables, proven, None if known is not None else held)


def _differs(expected: ProvenFile, size: int, md5: str) -> str | None:
    if size != expected.size:
        return f"{expected.name} has {size:,} bytes, and {expected.size:,} in the Receipt"
    if expected.md5 not in {None, md5}:
        return f"{expected.name} differs from the Receipt: its MD5 is {md5}"
    return None


async def bring(lake: Lake, source: HourSource, table: str, folder: Path) -> list[Staged]:
    """Bring the files of a table here, each compared with the Receipt; empty ones are left out.

    Raises:
        HeldError: a file differs, is missing or cannot be read.
        LakeError: the lake cannot be read.
        OSError: the local disk is full.
    """
    wrong: dict[str, str] = {}
    folder.mkdir(parents=True)  # noqa: ASYNC240 - on this machine it waits for nothing

    async def read(name: str) -> AsyncIterator[bytes]:
        seen, size = hashlib.md5(usedforsecurity=False), 0
        async for chunk in lake.store.read(lake.layout.file(source.hour, name)):
            seen.update(chunk)
            size += len(chunk)
            yield chunk
        if (why := _differs(source.proven[name], size, seen.hexdigest())) is not None:
            wrong[name] = why

    files = await stage(source.tables[table].files, read, folder)
    bad = [f"{file.name}: {file.why}" for file in files if isinstance(file, Unreadable) and not file.empty]
    if wrong or bad:
        raise HeldError([*wrong.values(), *bad][0])
    return [file for file in files if isinstance(file, Staged)]


@dataclass(frozen=True, slots=True)
class HourRows:
    """The rows of a table in some Hours.

    Attributes:
        hours: which.
        fitted: how they fit the table.
        path: the Parquet file; None: there are no records.
    """

    hours: Sequence[Hour]
    fitted: Fitted
    path: Path | None


def rows_in(connection: DuckDBPyConnection, path: Path | None) -> int:
    """How many rows a Parquet file of ours has; None: there are no records."""
    if path is None:
        return 0
    [(count,)] = connection.execute("select count(*) from read_parquet($1)", [str(path)]).fetchall()
    return int(count)


@dataclass(frozen=True, slots=True)
class RowTarget:
    """Where rows go.

    Attributes:
        path: the Parquet file.
        table: its name.
        shape: of the table; None: it does not exist.
        key: columns of the key; None: those of the Hour.
        settings: of the tables.
    """

    path: Path
    table: str
    shape: Shape | None
    key: Sequence[str] | None
    settings: TablesSettings

    def fit(self, source: HourSource, members: Iterable[str]) -> Fitted:
        """Fit an Hour with these members to the table."""
        own = self.settings.of(self.table)
        times = (own.record_time,) if own.record_time else self.settings.record_times
        by = source.key(self.table, self.settings) if self.key is None else self.key
        declared = source.tables[self.table].columns or {}
        return fit(self.shape, source.hour.label, declared, members, by, times, deletion=own.deletion)

    @property
    def deletion(self) -> Deletion | None:
        """What marks deleted rows; None: nothing does."""
        return self.settings.of(self.table).deletion


def write_rows(
    connection: DuckDBPyConnection, source: HourSource, files: Sequence[Staged], target: RowTarget
) -> HourRows:
    """Write the rows of a table: columns as they are stored, and our own.

    Args:
        connection: that sees the files and the target.
        source: the Hour.
        files: of the table, here.
        target: where they go.

    Raises:
        HeldError: a file cannot be read to its end, or the Hour does not fit the table.
        TooLargeError: there is not enough memory.
        OSError: the local disk is full.
    """
    try:
        found = duck.members(connection, files)
        if found.bad:
            fault = found.bad[0]
            if fault.memory:
                raise TooLargeError
            raise HeldError(f"{fault.file.label}: {fault.why}")
        fitted = target.fit(source, found.counts)
        if fitted.refused is not None or not found.files:
            return HourRows([source.hour], fitted, None)
        cells = [f"c{number}" for number in range(len(fitted.routes))]
        records = duck.texts(found.files, [route.members for route in fitted.routes], cells)
        try:
            connection.execute(
                _copied(_plain_rows(fitted, records, target.deletion), moment(source.hour), moment(source.hour), target)
            )
        except duck.faults() as error:
            if duck.of_memory(error):
                raise
            rows = _exact_rows(fitted, records, target.deletion)
            connection.execute(_copied(rows, moment(source.hour), moment(source.hour), target))
    except duck.faults() as error:
        raise_limit(error)
        raise HeldError(f"it cannot be read: {_first(error)}") from None
    return HourRows([source.hour], fitted, target.path)


LARGEST_TOGETHER: Final = 64 << 20
"""Unfolded bytes of a file that is read with those of other Hours: its records are held as text."""

MOST_TOGETHER: Final = 256 << 20
"""Unfolded bytes of all of them: records that Hours share are held once."""


def write_together(
    connection: DuckDBPyConnection, brought: Sequence[tuple[HourSource, Sequence[Staged]]], target: RowTarget
) -> HourRows | None:
    """Write the rows of a table in some Hours, read alike: each record once, with its first and its last Hour.

    Records are compared as text first, so that only those that differ are parsed: Hours of a look-back window have
    most of them in common. None where this cannot be done, of which the reason does not matter: `write_rows` finds it.

    Args:
        connection: that sees the files and the target.
        brought: Hours, ascending, with the files of the table, here.
        target: where they go.
    """
    files = [(source.hour, file) for source, some in brought for file in some]
    declared = list(brought[0][0].tables[target.table].columns or {})
    fitted = target.fit(brought[0][0], declared)
    if fitted.refused is not None or not _go_together([file for _, file in files], declared, target):
        return None
    hours = [source.hour for source, _ in brought]
    if not files:
        return HourRows(hours, fitted, None)
    try:
        _gather(connection, [file for _, file in files])
        expected = f"[{', '.join(map(duck.quoted, declared))}]::varchar[]"
        odd = f"select distinct json_keys(json) from raw where json_keys(json) is distinct from {expected}"  # noqa: S608 - quoted
        for (members,) in connection.execute(odd).fetchall():
            if not members or len(set(members)) < len(members) or not set(members) <= set(declared):
                return None
        structure = ", ".join(f'{json.dumps(name)}: "VARCHAR"' for name in declared)
        cells = ", ".join(
            f"s.{duck.named(route.members[0])} as c{number}" for number, route in enumerate(fitted.routes)
        )
        records = (
            f"select {cells}, first, last from "  # noqa: S608 - quoted
            f"(select json_transform(json, {duck.quoted('{' + structure + '}')}) as s, first, last from raw)"
        )
        labels = f"[{', '.join(moment(hour) for hour, _ in files)}]"
        rows = _plain_rows(fitted, records, target.deletion, "first, last")
        connection.execute(_copied(rows, f"{labels}[first + 1]", f"{labels}[last + 1]", target))
    except duck.faults():
        return None
    finally:
        connection.execute("drop table if exists raw")
    return HourRows(hours, fitted, target.path)


def _go_together(files: Sequence[Staged], declared: Sequence[str], target: RowTarget) -> bool:
    """Whether files may be read in one go: JSON, small, of columns with plain names."""
    if target.settings.of(target.table).mode == "snapshot":  # it has all records of one Hour
        return False
    forms = {file.form for file in files}
    small = max((file.unfolded for file in files), default=0) <= LARGEST_TOGETHER
    small = small and sum(file.unfolded for file in files) <= MOST_TOGETHER
    return small and len(forms) <= 1 and forms <= {"array", "newline_delimited"} and duck.are_columns(declared)


def _gather(connection: DuckDBPyConnection, files: Sequence[Staged]) -> None:
    """Make the table `raw`: records as text, with the numbers of the first and the last file that has them."""
    paths = ", ".join(duck.quoted(str(file.path)) for file in files)
    read = f"read_json_objects([{paths}], format = '{files[0].form}')"
    sql = f"select json, 0 as first, 0 as last from {read}"  # noqa: S608 - quoted
    if len(files) > 1:
        first, last = (f"cast({of}(file_index) as bigint)" for of in ("min", "max"))
        sql = f"select json, {first} as first, {last} as last from {read} group by json"  # noqa: S608 - quoted
    connection.execute(f"create or replace temp table raw as {sql}")


def _first(error: Exception) -> str:
    return str(error).partition("\n")[0][:120]


LAST: Final = '" last"'
"""A column of rows: the last of these Hours that carried the record. Columns of tables have no blank in their names."""


def _copied(rows: str, first: str, last: str, target: RowTarget) -> str:
    """SQL that stores rows with their Hours."""
    sql = f"select * exclude (first, last), {first} as {HOUR}, {last} as {LAST} from ({rows})"  # noqa: S608 - quoted
    return f"copy ({sql}) to {duck.quoted(str(target.path))} (format parquet, compression snappy)"


def _plain_rows(fitted: Fitted, records: str, deletion: Deletion | None, hours: str = "0 as first, 0 as last") -> str:
    """SQL for rows whose values all fit and are spelled as their types are; it fails at any other value.

    This takes a fraction of the time of `_exact_rows`, and gives the same rows where it does not fail.
    """
    columns = {column.name: column for column in fitted.shape.columns}
    tried, values, fits = [], {}, []
    for number, route in enumerate(fitted.routes):
        cell, column = f"c{number}", columns[route.column]
        if route.declared.kind == "text":
            values[column.name] = cell
            continue
        value = plain(cell, f"v{number}", replace(route.declared, length=None))
        tried.append(f"{value.sql} as v{number}")
        # A cast of a timestamp looks up the time zone, which is UTC.
        exact = f"make_timestamptz(epoch_us(v{number}))" if route.declared.kind == "timestamp" else f"v{number}"
        values[column.name] = f"cast({exact} as {column.sql})"
        fits.append(f"({cell} is null or ({value.fits}))")
    values |= _deleted(fitted, deletion)
    shown = [f"{values.get(name, f'cast(null as {column.sql})')} as {duck.named(name)}"
             for name, column in columns.items()]  # fmt: skip
    problems = f"case when {' and '.join(fits)} then null else error('other values') end" if fits else "null"
    own = [f"{_changed(fitted, columns, values)} as {CHANGED}", f"cast({problems} as varchar) as {PROBLEMS}", hours]
    return f"select {', '.join([*shown, *own])} from (select {', '.join(['*', *tried])} from ({records}))"  # noqa: S608 - quoted


def _exact_rows(fitted: Fitted, records: str, deletion: Deletion | None) -> str:
    """SQL for rows; values that do not fit are in a column of their own."""
    routes, columns = fitted.routes, {column.name: column for column in fitted.shape.columns}
    cells = [f"c{number}" for number in range(len(routes))]
    trials = [trial(cell, replace(route.declared, length=None)) for cell, route in zip(cells, routes, strict=True)]
    tried = "".join(f", {sql} as {name}" for one in trials for name, sql in one.tried.items())
    values, problems = {}, {}
    for cell, route, one in zip(cells, routes, trials, strict=True):
        column = columns[route.column]
        fits = f"(coalesce({one.fits}, false) and not coalesce({_beyond(cell, route, one.beyond)}, false))"
        value = f"try_cast({cell} as timestamptz)" if route.declared.kind == "timestamp" else one.value
        if route.declared.kind == "text":
            values[column.name] = cell
            continue
        values[column.name] = f"case when {fits} then cast({value} as {column.sql}) end"
        label = duck.quoted(column.name)
        problems[column.name] = (
            f"case when {cell} is not null and not {fits} then to_json({label}) || ':' || to_json({cell}) end"
        )
    values |= _deleted(fitted, deletion)
    shown = [f"{values.get(name, f'cast(null as {column.sql})')} as {duck.named(name)}"
             for name, column in columns.items()]  # fmt: skip
    odd = f"concat_ws(',', {', '.join(problems[name] for name in sorted(problems))})" if problems else "''"
    own = [
        f"{_changed(fitted, columns, values)} as {CHANGED}",
        f"'{{' || nullif({odd}, '') || '}}' as {PROBLEMS}",
        "0 as first, 0 as last",
    ]
    return f"select {', '.join([*shown, *own])} from (select *{tried} from ({records}))"  # noqa: S608 - quoted


def _deleted(fitted: Fitted, deletion: Deletion | None) -> dict[str, str]:
    """The column that marks deleted rows, as SQL by name; empty where a table has none."""
    if deletion is None:
        return {}
    marks = ", ".join(duck.quoted(value) for value in deletion.values) or "null"
    cell = "null" if fitted.deleted is None else f"c{fitted.deleted}"
    return {DELETED: f"coalesce(lower({cell}) in ({marks}), false)"}


def _beyond(cell: str, route: Route, beyond: str | None) -> str:
    """Whether a value that can be read would change when it is stored."""
    if route.declared.kind == "decimal" and route.declared.scale is None:
        return f"try_cast({cell} as decimal(38, 20)) <> try_cast({cell} as decimal(38, 10))"
    return beyond or "false"


def _changed(fitted: Fitted, columns: Mapping[str, Column], values: Mapping[str, str]) -> str:
    """The record time, as SQL."""
    if fitted.changed is None:
        return "cast(null as timestamptz)"
    name = fitted.routes[fitted.changed].column
    kind = columns[name].type.kind
    return f"try_cast({values[name]} as timestamptz)" if kind in {"timestamp", "date", "text"} else "null::timestamptz"


def moment(hour: Hour) -> str:
    """The start of an Hour, as SQL."""
    return f"timestamptz '{hour.start:%Y-%m-%d %H:00:00}+00'"


_UNSAFE = re.compile(r"[^\w.-]", re.ASCII)


def folder_of(table: str) -> str:
    """The folder of a table's Delta tables: its name, or one made of it where that could not be a folder's."""
    plain = _UNSAFE.sub("_", table)
    if plain == table and not table.startswith((".", "_")):
        return table
    return f"{plain.lstrip('._')}-{hashlib.sha256(table.encode()).hexdigest()[:8]}"
