"""I/O. Looks inside the files of an Hour: rows, nulls, ranges, and whether they agree with the schema.

::

    for batch in tables of the Hour:        # the next one is fetched while one is looked at
        staged = await fetch(batch)         # here, and inflated once to see that they can be
        members = ...                       # which members the records have
        row = profile_sql(question)         # everything else, in one pass
        profile_of(question, row, ...)      # PURE: what that means

What cannot be read is a finding on that file; the others are still judged.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from viplake.content.profiling import (
    RECORD_TIMES,
    ContentFinding,
    HourContent,
    Question,
    Seen,
    TableContent,
    examples_sql,
    profile_in_parts,
    profile_of,
    profile_sql,
    wrong_columns,
)
from viplake.history.listing import LARGEST_SCHEMA
from viplake.lake.hours import hour_folder
from viplake.lake.layout import SCHEMA_NAME
from viplake.lake.table_index import TableIndex
from viplake.tables import duck
from viplake.tables.schema import columns_of, keys_of
from viplake.tables.staging import Staged, Unreadable, stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence

    from duckdb import DuckDBPyConnection

    from viplake.content.profiling import FindingKind
    from viplake.lake import Lake
    from viplake.model import Hour
    from viplake.tables.schema import Columns

T = TypeVar("T")

BATCH: Final = 16 << 20
"""Bytes, as stored, that are fetched together: small tables in one go, a larger one by itself."""

LOOKED_THROUGH: Final = 128 << 20
"""Bytes of JSON of a table up to which every record's members are looked at; beyond, those of the first records:
that costs a second pass, and a new member shows in all records of an export."""

FIRST_RECORDS: Final = 200_000

ARRAY_ALONE: Final = 32 << 20
"""Bytes of JSON in arrays from which on a second query beside the first is worth reading them twice."""

NOT_TOGETHER: Final = "its files can be read one by one, but not together"

_TABLE_FILE: Final = re.compile(r"(?P<table>.+?)(?:[_.]\d[\dTZ_.-]*)?\.json(?:\.gz)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ContentSettings:
    """What looking inside is told.

    Attributes:
        record_times: columns that tell when a record changed, the best first.
    """

    record_times: tuple[str, ...] = RECORD_TIMES


@dataclass(frozen=True, slots=True)
class TableFiles:
    """A table of an Hour: its files, and what the schema says of it.

    Attributes:
        table: its name.
        files: bytes by name.
        columns: by the schema; None where it tells none.
        key: columns of its key.
        unknown: why there are no columns; None where there are.
    """

    table: str
    files: Mapping[str, int]
    columns: Columns | None = None
    key: tuple[str, ...] = ()
    unknown: str | None = None

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(self.files.values())


@dataclass(frozen=True, slots=True)
class HourFiles:
    """The tables of an Hour that have files, by name; why its schema tells nothing, where it does not.

    `without` are the tables of its schema that have none.
    """

    hour: Hour
    tables: tuple[TableFiles, ...] = field(default=())
    schema_problem: str | None = None
    without: tuple[str, ...] = ()


async def examine(
    lake: Lake,
    hour: Hour,
    settings: ContentSettings,
    *,
    progress: Callable[[str], None] | None = None,
) -> HourContent:
    """Look inside the files of an Hour.

    `progress` is told each table that was looked at.

    Raises:
        LakeError: the lake cannot be read.
    """
    found = await files_of(lake, hour)
    batches = list(together(found.tables, lambda known: known.size, BATCH))
    tables: list[TableContent] = []
    with tempfile.TemporaryDirectory(prefix="viplake-") as name:
        root = Path(name)
        with duck.connect(root) as connection:
            async for batch, staged in _fetched(lake, hour, batches, root):
                for known in batch:
                    files = staged[known.table]
                    tables.append(await _in_thread(connection, known, files, settings))
                    if progress is not None:
                        progress(known.table)
    return HourContent(hour, tuple(tables), found.schema_problem)


async def _in_thread(
    connection: DuckDBPyConnection,
    known: TableFiles,
    files: Sequence[Staged | Unreadable],
    settings: ContentSettings,
) -> TableContent:
    looking = asyncio.ensure_future(asyncio.to_thread(look_into, connection, known, files, settings))
    try:
        return await asyncio.shield(looking)
    except asyncio.CancelledError:
        while not looking.done():  # the thread must not outlive its connection and the folder that it reads
            connection.interrupt()
            await asyncio.wait([looking], timeout=0.05)
        raise


# -- which files ----------------------------------------------------------------------------------------------------


async def files_of(lake: Lake, hour: Hour) -> HourFiles:
    """The tables of an Hour and their files; without a schema tables are told by the names of the files.

    Raises:
        LakeError: the lake cannot be read.
    """
    sizes = (await hour_folder(lake, hour)).delivered
    schema = None
    if SCHEMA_NAME in sizes and sizes[SCHEMA_NAME] <= LARGEST_SCHEMA:
        schema = await lake.store.get(lake.layout.file(hour, SCHEMA_NAME), limit=LARGEST_SCHEMA)
    columns = await asyncio.to_thread(columns_of, schema) if schema is not None else None
    problem = None
    if columns is None:
        problem = "it has no schema" if SCHEMA_NAME not in sizes else "its schema cannot be read"
    keys = await asyncio.to_thread(keys_of, schema) if schema is not None and columns is not None else {}
    by_table = _by_table(sizes, columns)
    tables = tuple(
        TableFiles(
            table,
            by_table[table],
            columns=(columns or {}).get(table),
            key=keys.get(table, ()),
            unknown=problem or (None if (columns or {}).get(table) else "the schema tells no columns of it"),
        )
        for table in sorted(by_table)
    )
    return HourFiles(hour, tables, problem, without=tuple(sorted((columns or {}).keys() - by_table.keys())))


def _by_table(sizes: Mapping[str, int], columns: Mapping[str, Columns | None] | None) -> dict[str, dict[str, int]]:
    index = None if columns is None else TableIndex(columns)
    found: dict[str, dict[str, int]] = {}
    for name in sorted(sizes):
        match = _TABLE_FILE.fullmatch(name)
        if match is None or name == SCHEMA_NAME:
            continue
        table = match["table"] if index is None else index.table_of(name)
        if table is not None:
            found.setdefault(table, {})[name] = sizes[name]
    return found


def together(some: Iterable[T], size: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """Those in a row that have no more bytes than that together; one with more by itself."""
    group: list[T] = []
    whole = 0
    for one in some:
        own = size(one)
        if group and whole + own > most:
            yield group
            group, whole = [], 0
        group.append(one)
        whole += own
    if group:
        yield group


async def fetch(
    lake: Lake, hour: Hour, tables: Sequence[TableFiles], folder: Path
) -> dict[str, list[Staged | Unreadable]]:
    """Bring the files of some tables into a folder, which is made; by table.

    Raises:
        LakeError: the lake cannot be read.
    """
    folder.mkdir()  # noqa: ASYNC240 - on this machine it waits for nothing
    table_of = {name: known.table for known in tables for name in known.files}
    found: dict[str, list[Staged | Unreadable]] = {known.table: [] for known in tables}
    for file in await stage(table_of, lambda name: lake.store.read(lake.layout.file(hour, name)), folder):
        found[table_of[file.name]].append(file)
    return found


async def _fetched(
    lake: Lake, hour: Hour, batches: Sequence[list[TableFiles]], root: Path
) -> AsyncIterator[tuple[list[TableFiles], dict[str, list[Staged | Unreadable]]]]:
    """Each batch with its files, the next one on its way meanwhile; files are gone as soon as the batch is done."""

    def begin(number: int) -> asyncio.Task[dict[str, list[Staged | Unreadable]]]:
        return asyncio.create_task(fetch(lake, hour, batches[number], root / str(number)))

    coming = [begin(0)] if batches else []
    try:
        for number, batch in enumerate(batches):
            staged = await coming.pop()
            if number + 1 < len(batches):
                coming.append(begin(number + 1))
            yield batch, staged
            await asyncio.to_thread(shutil.rmtree, root / str(number))
    finally:
        for task in coming:
            task.cancel()
        await asyncio.gather(*coming, return_exceptions=True)


# -- looking --------------------------------------------------------------------------------------------------------


def look_into(
    connection: DuckDBPyConnection,
    known: TableFiles,
    files: Sequence[Staged | Unreadable],
    settings: ContentSettings,
) -> TableContent:
    """What the files of a table hold."""
    import duckdb  # noqa: PLC0415 - 35 MB and 0.1 s that other commands do without

    findings = [of_file(known.table, file) for file in files if isinstance(file, Unreadable)]
    staged = [file for file in files if isinstance(file, Staged)]
    try:
        return _asked(connection, known, staged, findings, settings)
    except duckdb.InterruptException:
        raise
    except (duckdb.Error, UnicodeDecodeError):  # a message may quote bytes that are no text
        staged, bad = duck.readable(connection, staged)
    for blame in bad:
        what = f"{blame.file.name}: {blame.why}"
        findings.append(ContentFinding("unreadable_file", known.table, what, blame.file.name, blame.byte))
    try:
        return _asked(connection, known, staged, findings, settings)
    except duckdb.InterruptException:
        raise
    except duckdb.OutOfMemoryException:  # each file can be read, but not all of them at once
        return unanswered(known, findings, duck.TOO_MUCH)
    except (duckdb.Error, UnicodeDecodeError):
        return unanswered(known, findings, NOT_TOGETHER)


def _asked(
    connection: DuckDBPyConnection,
    known: TableFiles,
    staged: Sequence[Staged],
    findings: Sequence[ContentFinding],
    settings: ContentSettings,
) -> TableContent:
    if not staged:
        return unanswered(known, findings, known.unknown)
    looked = None if sum(file.unfolded for file in staged) <= LOOKED_THROUGH else FIRST_RECORDS
    members = member_counts(connection, staged, looked)
    seen = Seen(len(known.files), members, looked, tuple(findings))
    question = Question.of(
        known.table,
        known.columns,
        sorted(members),
        key=known.key,
        record_times=settings.record_times,
    )
    cells = [f"c{index}" for index in range(len(question.columns))]
    records = duck.texts(staged, question.columns, cells) if cells else duck.objects(staged)
    row = _row(connection, records, question, sum(file.unfolded for file in staged if file.form == "array"))
    examples = {
        name: [value for (value,) in _rows(connection, records, examples_sql(question, name))]
        for name in wrong_columns(question, row)
    }
    return profile_of(question, row, seen, examples, known.unknown)


def _row(connection: DuckDBPyConnection, records: str, question: Question, arrays: int) -> Sequence[Any]:
    """The answer to `profile_sql`; with a large array, which DuckDB reads with one thread, by two queries at once."""
    if arrays <= ARRAY_ALONE:
        [row] = _rows(connection, records, profile_sql(question))
        return tuple(row)
    own, other = profile_in_parts(question, 2)
    with connection.cursor() as second, ThreadPoolExecutor(1) as beside:
        later = beside.submit(_rows, second, records, other)
        try:
            first = _rows(connection, records, own)[0]
        except BaseException:
            second.interrupt()  # leaving waits for it
            raise
        return (*first, *later.result()[0])


def member_counts(connection: DuckDBPyConnection, staged: Sequence[Staged], looked: int | None) -> dict[str, int]:
    """How many records have each member."""
    records = duck.objects(staged) + ("" if looked is None else f" limit {looked}")
    found = _rows(
        connection, records, "select k, count(*) from (select unnest(json_keys(json)) as k from records) group by k"
    )
    return {str(name): int(count) for name, count in found}


def _rows(connection: DuckDBPyConnection, records: str, sql: str) -> list[Any]:
    return connection.execute(f"with records as ({records}) {sql}").fetchall()


def unanswered(known: TableFiles, findings: Sequence[ContentFinding], why: str | None) -> TableContent:
    """A table of which nothing was counted, and why."""
    return TableContent(known.table, len(known.files), None, findings=tuple(findings), unknown=why)


def of_file(table: str, file: Unreadable) -> ContentFinding:
    """What is said of a file that cannot be read."""
    kind: FindingKind = "empty_file" if file.empty else "unreadable_file"
    return ContentFinding(kind, table, f"{file.name}: {file.why}", file.name, file.byte)
