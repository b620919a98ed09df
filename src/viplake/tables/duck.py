"""I/O. DuckDB over staged files: a connection that reaches nothing else, relations over JSON, whose fault an error is.

Nothing is installed or loaded at run time, and no SQL, a user's least of all, can read or write outside the folder
that it is given. Memory is bounded; what does not fit goes into that folder.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from viplake.tables.staging import bad_byte

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from viplake.tables.staging import Form, Staged

MEMORY: Final = "256MB"
"""Of DuckDB; the process adds some 110 MB."""

TOO_MUCH: Final = f"it needs more than the {MEMORY} of memory that it may have"
"""Why a file, or a table, was not read to its end."""

MEMBERS: Final = "select distinct unnest(json_keys(json)) from ({records})"
"""The members of some records, each once."""

_RECORD: Final = re.compile(r"in (?:line|record/value) (?P<number>\d+): (?P<why>.*)")


def connect(
    folder: Path, *, memory: str = MEMORY, writes: Iterable[Path] = (), ordered: bool = False
) -> DuckDBPyConnection:
    """A connection to an empty database in memory that sees this folder and nothing else.

    Args:
        folder: of the staged files; also for what does not fit into memory.
        memory: as DuckDB writes it.
        writes: files that it may write besides.
        ordered: rows stay in the order of the files, and a sorted table stays sorted: costs some memory.
    """
    import duckdb  # noqa: PLC0415 - 35 MB and 0.1 s that other commands do without

    connection = duckdb.connect(
        config={
            "memory_limit": memory,
            "threads": min(os.cpu_count() or 1, 4),  # each holds buffers of 32 MB
            "temp_directory": str(folder / "spilled"),
            "preserve_insertion_order": ordered,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    allowed = ", ".join(quoted(str(path)) for path in writes)
    # It writes out all columns of a table, to count the different values of one beside other aggregates.
    if connection.execute("select 1 from duckdb_optimizers() where name = 'distinct_aggregate_rewrite'").fetchall():
        connection.execute("set disabled_optimizers = 'distinct_aggregate_rewrite'")  # since DuckDB 2.0
    connection.execute("set timezone = 'UTC'")  # not where this machine happens to stand
    connection.execute(f"set allowed_directories = [{quoted(str(folder))}]")
    connection.execute(f"set allowed_paths = [{allowed}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


def quoted(text: str) -> str:
    """Text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def named(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def objects(files: Sequence[Staged]) -> str:
    """All records of some files, as JSON in the column `json`."""
    return _union(files, lambda form, paths: f"select json from read_json_objects({paths}, format = '{form}')")  # noqa: S608 - quoted


def texts(
    files: Sequence[Staged], columns: Sequence[str], names: Sequence[str] | None = None, *, path: str | None = None
) -> str:
    """All records of some files, each of these members as text; null where a record has no such member.

    Args:
        files: at least one.
        columns: members; at least one.
        names: what the columns are called then; None: as the members.
        path: what a column with the path of each record's file is called; None: there is none.
    """
    into = list(zip(columns, names or columns, strict=True))
    if not _distinct([*columns, _PATH]):
        picked = ", ".join(f"json ->> {quoted(_pointer(column))} as {named(name)}" for column, name in into)
        return _union(files, lambda form, paths: _read("read_json_objects", picked, paths, form, path, ""))
    types = ", ".join(f"{quoted(column)}: 'VARCHAR'" for column in columns)
    picked = ", ".join(f"{named(column)} as {named(name)}" for column, name in into)
    return _union(
        files,
        lambda form, paths: _read("read_json", picked, paths, form, path, f", records = true, columns = {{{types}}}"),
    )


def _read(function: str, picked: str, paths: str, form: Form, path: str | None, more: str) -> str:
    if path is not None:
        picked, more = f"{picked}, {named(_PATH)} as {named(path)}", f"{more}, filename = {quoted(_PATH)}"
    return f"select {picked} from {function}({paths}, format = '{form}'{more})"  # noqa: S608 - quoted


_PATH: Final = "path\x1f"
"""The column with a file's path, by a name that hardly a member has."""


def _distinct(columns: Sequence[str]) -> bool:
    """Whether these can be columns: no name is empty or holds a NUL, and none differs from another in case alone."""
    return all(column and "\0" not in column for column in columns) and len(
        {column.casefold() for column in columns}
    ) == len(columns)


def _pointer(member: str) -> str:
    """A member as JSON Pointer writes it (RFC 6901)."""
    return "/" + member.replace("~", "~0").replace("/", "~1")


def _union(files: Sequence[Staged], select: Callable[[Form, str], str]) -> str:
    forms = dict.fromkeys(file.form for file in files)
    lists = {form: ", ".join(quoted(str(file.path)) for file in files if file.form == form) for form in forms}
    return " union all ".join(select(form, f"[{paths}]") for form, paths in lists.items())


# -- errors -------------------------------------------------------------------------------------------------------


def faults() -> tuple[type[Exception], ...]:
    """What SQL over files can end with, but for being told to stop; a message may quote bytes that are no text."""
    import duckdb  # noqa: PLC0415 - as above

    kinds = duckdb.DatabaseError.__subclasses__()
    return (*(kind for kind in kinds if kind is not duckdb.InterruptException), UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class Blame:
    """A file that an engine could not read.

    Attributes:
        file: which.
        why: one clause, without any of its content.
        byte: of its JSON, from 0 on; None where nobody knows.
    """

    file: Staged
    why: str
    byte: int | None


def readable(connection: DuckDBPyConnection, files: Sequence[Staged]) -> tuple[list[Staged], list[Blame]]:
    """Which of some files can be read, after an error said that one of them cannot: each is tried by itself.

    One that holds objects with line ends inside them comes back as `unstructured`.
    """
    good: list[Staged] = []
    bad: list[Blame] = []
    for file in files:
        forms: tuple[Form, ...] = ("array",) if file.form == "array" else (file.form, "unstructured")
        tried = [replace(file, form=form) for form in dict.fromkeys(forms)]
        errors = {one.form: _error(connection, one) for one in tried}
        well = next((one for one in tried if errors[one.form] is None), None)
        if well is not None:
            good.append(well)
        else:
            bad.append(Blame(file, errors[tried[0].form] or "", bad_byte(file)))
    return good, bad


def _error(connection: DuckDBPyConnection, file: Staged) -> str | None:
    """Why a file cannot be read; None where it can."""
    import duckdb  # noqa: PLC0415 - as above

    try:
        # A record that is no object, or has a member twice, fails only where that member is read.
        members = [name for (name,) in connection.execute(MEMBERS.format(records=objects([file]))).fetchall()]
        if members:
            cells = [f"c{index}" for index in range(len(members))]
            counts = ", ".join(f"count({cell})" for cell in cells)
            connection.execute(f"select {counts} from ({texts([file], members, cells)})").fetchall()  # noqa: S608 - quoted
    except duckdb.InterruptException:
        raise
    except duckdb.OutOfMemoryException:  # JSON of a million levels unfolds to some hundred times its size
        return TOO_MUCH
    except (duckdb.Error, UnicodeDecodeError) as error:  # a message may quote bytes that are no text
        return _words(str(error))
    return None


def _words(message: str) -> str:
    """An error of DuckDB in one clause, without the record that it quotes."""
    first = message.partition("\n")[0]
    place = _RECORD.search(first)
    where = f", in record {place['number']}" if place else ""
    if "recursion depth" in first:
        return "a record is nested too deep"
    if "maximum_object_size" in first:
        return "a record is larger than 16 MiB"
    if twice := re.search(r'has duplicate key "([^"]{1,80})"', first):
        return f"a record has the member {twice[1]!r} twice{where}"
    if "Expected OBJECT" in first:
        return f"it holds something that is no record{where}"
    if "Malformed JSON" in first and place:
        record = int(place["number"]) - 1  # of JSON that is none, DuckDB tells the number of the record after it
        return f"it is no JSON, in record {record}: {place['why'].rstrip('. ')[:80]}"
    return "it is no JSON of records"
