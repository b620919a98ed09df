"""I/O. Lists the files of each table of an Hour, with its part of the schema, and downloads them.

Every file of a table counts, whatever its form. A file that cannot be read is reported as such, never as
"not delivered".
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from viplake.errors import WITHHELD, LakeError
from viplake.lake.hours import hour_folder
from viplake.lake.layout import SCHEMA_NAME
from viplake.lake.table_index import TableIndex
from viplake.tables.schema import LARGEST_SCHEMA, TableSchema, read_schema
from viplake.tables.staging import stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from viplake.lake import Lake
    from viplake.model import Hour
    from viplake.tables.schema import Columns
    from viplake.tables.staged import Staged, Unreadable

T = TypeVar("T")

_TABLE_FILE: Final = re.compile(
    r"(?P<table>.+?)(?:[_.]\d[\dTZ_.-]*)?"
    r"(?:\.(?:json|jsonl|ndjson|csv|tsv|txt|parquet|avro|orc|xlsx?|xml))?(?:\.(?:gz|zip|bz2|xz|zst|7z))?",
    re.IGNORECASE,
)
"""A table's file by its name alone, in a lake without a schema."""

_SCRIPT: Final = re.compile(r".+\.sql(?:\.(?:gz|zip))?", re.IGNORECASE)
"""What creates tables and holds no records. Any other file that is named after a table is a file of it, read or not."""

_BESIDE: Final = re.compile(r".+\.(?:md|html?|xsd|pdf|log)", re.IGNORECASE)
"""What comes beside table files; it counts in a lake without a schema, where a table is any name of a file."""


@dataclass(frozen=True, slots=True)
class TableFiles:
    """A table of an Hour: its files, and its part of the schema.

    Attributes:
        table: its name.
        files: bytes by name.
        columns: of the schema; None where it has none.
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
    """The tables of an Hour that have files, by name; where the schema cannot be used, the reason.

    `without` are the tables of its schema that have none.
    """

    hour: Hour
    tables: tuple[TableFiles, ...] = field(default=())
    schema_problem: str | None = None
    without: tuple[str, ...] = ()


async def files_of(lake: Lake, hour: Hour) -> HourFiles:
    """Return the tables of an Hour and their files; without a schema, tables are named after their files.

    Raises:
        LakeError: the lake cannot be read.
    """
    sizes = (await hour_folder(lake, hour)).delivered
    schema = None
    if SCHEMA_NAME in sizes and sizes[SCHEMA_NAME] <= LARGEST_SCHEMA:
        try:
            schema = await lake.store.get(lake.layout.file(hour, SCHEMA_NAME), limit=LARGEST_SCHEMA)
        except LakeError as error:
            if error.cause.word not in WITHHELD:
                raise
    known = await asyncio.to_thread(read_schema, schema) if schema is not None else None
    return tables_of(hour, sizes, known)


def tables_of(hour: Hour, sizes: Mapping[str, int], known: Mapping[str, TableSchema] | None) -> HourFiles:
    """Return the tables that some files of an Hour belong to.

    Args:
        hour: which.
        sizes: bytes of the files, by name.
        known: the tables of its schema; None: it has none, or none that can be read.
    """
    problem = None
    if known is None:
        problem = "it has no schema" if SCHEMA_NAME not in sizes else "its schema cannot be read"
    by_table = _by_table(sizes, known)
    return HourFiles(
        hour,
        tuple(_table(name, by_table[name], (known or {}).get(name), problem) for name in sorted(by_table)),
        problem,
        without=tuple(sorted((known or {}).keys() - by_table.keys())),
    )


def _table(name: str, files: Mapping[str, int], schema: TableSchema | None, problem: str | None) -> TableFiles:
    schema = schema or TableSchema(None)
    unknown = problem or (None if schema.columns else "the schema has no columns for it")
    return TableFiles(name, files, schema.columns, schema.key, unknown)


def _by_table(sizes: Mapping[str, int], tables: Iterable[str] | None) -> dict[str, dict[str, int]]:
    index = None if tables is None else TableIndex(tables)
    found: dict[str, dict[str, int]] = {}
    for name in sorted(sizes):
        if name == SCHEMA_NAME or _SCRIPT.fullmatch(name):
            continue
        table = _by_name(name) if index is None else index.table_of(name)
        if table is not None:
            found.setdefault(table, {})[name] = sizes[name]
    return found


def _by_name(name: str) -> str | None:
    match = None if name.startswith("_") or _BESIDE.fullmatch(name) else _TABLE_FILE.fullmatch(name)
    return match["table"] if match else None


def together(some: Iterable[T], size: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """Group consecutive items up to `most` bytes; a larger item is a group by itself."""
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
    lake: Lake, hour: Hour, tables: Sequence[TableFiles], folder: Path, *, unfold: bool = True
) -> dict[str, list[Staged | Unreadable]]:
    """Download the files of some tables into a new folder; return them by table. See `staging.stage`.

    Raises:
        LakeError: the lake cannot be read.
        OSError: the local disk is full.
    """
    folder.mkdir()  # noqa: ASYNC240 - on this machine it waits for nothing
    table_of = {name: known.table for known in tables for name in known.files}
    found: dict[str, list[Staged | Unreadable]] = {known.table: [] for known in tables}

    def read(name: str) -> AsyncIterable[bytes]:
        return lake.store.read(lake.layout.file(hour, name))

    for file in await stage(table_of, read, folder, unfold=unfold):
        found[table_of[file.name]].append(file)
    return found
