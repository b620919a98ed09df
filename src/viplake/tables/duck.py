"""I/O. DuckDB over staged files: a closed connection, relations over records, files that cannot be read.

Nothing is installed or loaded at run time. No SQL, not even a user's, can read or write outside the given folder.
Memory is bounded; what does not fit goes to that folder.
"""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from viplake.tables.json_records import count_entries, without_nulls
from viplake.tables.json_repair import bad_byte, joined_arrays

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from viplake.tables.json_records import EntryCounts
    from viplake.tables.staged import Form, Staged

MEMORY: Final = "256MB"
"""Of DuckDB; the process adds some 110 MB."""

TOO_MUCH: Final = f"it needs more than the {MEMORY} of memory that it may have"
"""Why a file, or a table, was not read to its end."""

COLUMNS_TOGETHER: Final = 64
"""Columns of a wide table that are read in one go: memory grows with them."""

ALL_MEMBERS_UP_TO: Final = 128 << 20
"""Bytes of JSON of a table up to which the members of every record are counted; beyond, those of the first records:
that costs a second pass, and a new member shows in all records of an export."""

FIRST_RECORDS: Final = 200_000

_JSON: Final = frozenset({"array", "newline_delimited", "unstructured"})

_NO_RECORD: Final = "\0"
"""Counted as the one member of a value that is no object; no record has it."""

_KEYS: Final = "case json_type(json) when 'OBJECT' then json_keys(json) else [chr(0)] end"

_RECORD: Final = re.compile(r"in (?:line|record/value) (?P<number>\d+): (?P<why>.*)")
_LINE: Final = re.compile(r"Line: (?P<number>\d+)")


def connect(
    folder: Path,
    *,
    memory: str = MEMORY,
    writes: Iterable[Path] = (),
    ordered: bool = False,
    threads: int = 4,
) -> DuckDBPyConnection:
    """Open a connection to an empty in-memory database that can read this folder and nothing else.

    Args:
        folder: of the staged files; also for what does not fit into memory.
        memory: as DuckDB writes it.
        writes: files that it may write besides.
        ordered: rows stay in the order of the files, and a sorted table stays sorted: costs some memory.
        threads: at most; each holds buffers of 32 MB.
    """
    import duckdb  # noqa: PLC0415 - 35 MB and 0.1 s that other commands do without

    connection = duckdb.connect(
        config={
            "memory_limit": memory,
            "threads": min(os.cpu_count() or 1, threads),
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
    """Quote a text for SQL."""
    return "'" + text.replace("'", "''") + "'"


def named(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


# -- relations ------------------------------------------------------------------------------------------------------


def texts(
    files: Sequence[Staged],
    columns: Sequence[Sequence[str]],
    names: Sequence[str],
    *,
    path: str | None = None,
    raw: Collection[str] = (),
) -> str:
    """Return SQL for all records of some files, each of these columns as text; null where a record lacks the member.

    Args:
        files: at least one.
        columns: the members that each column is read from; the first one that is there counts.
        names: what the columns are called then.
        path: what a column with the path of each record's file is called; None: there is none.
        raw: those of `names` that come as JSON: a text in its quotes. Only where `reads_members` holds.
    """
    groups: dict[Any, list[Staged]] = {}
    for file in files:
        groups.setdefault((file.form, file.header, file.delimiter), []).append(file)
    return " union all ".join(_texts(group, columns, names, path, raw) for group in groups.values())


def reads_members(files: Sequence[Staged], columns: Sequence[Sequence[str]]) -> bool:
    """Return whether DuckDB finds the members of the records by itself, so that `texts` can return some as JSON."""
    every = [member for members in columns for member in members]
    whole = bool(columns) and all(columns) and are_columns([*every, _PATH])
    return whole and all(file.form in _JSON for file in files)


def _texts(
    group: Sequence[Staged],
    columns: Sequence[Sequence[str]],
    names: Sequence[str],
    path: str | None,
    raw: Collection[str],
) -> str:
    first = group[0]
    paths = "[" + ", ".join(quoted(str(file.path)) for file in group) + "]"
    more = "" if path is None else f", filename = {quoted(_PATH)}"
    ahead = [] if path is None else [f"{named(_PATH)} as {named(path)}"]
    if first.form in {"csv", "parquet"}:
        cells = _cells_of_header(first, columns)
        picked = [f"{cell} as {named(name)}" for cell, name in zip(cells, names, strict=True)]
        source = f"read_parquet({paths}{more})" if first.form == "parquet" else _read_csv(first, paths, more)
        return f"select {', '.join([*picked, *ahead]) or '1 as nothing'} from {source}"  # noqa: S608 - quoted
    if not reads_members(group, columns):
        picked = [f"{_pointed(members)} as {named(name)}" for members, name in zip(columns, names, strict=True)]
        source = f"read_json_objects({paths}, format = '{first.form}'{more})"
        shown = ", ".join([*picked, *ahead]) or "1 as nothing"
        return f"select {shown} from {source}"  # noqa: S608 - quoted
    kinds = {
        member: "JSON" if name in raw else "VARCHAR"
        for members, name in zip(columns, names, strict=True)
        for member in members
    }
    types = ", ".join(f"{quoted(member)}: '{kind}'" for member, kind in kinds.items())
    firsts = ((_first(map(named, members)), name) for members, name in zip(columns, names, strict=True))
    picked = [f"{f'cast({cell} as varchar)' if name in raw else cell} as {named(name)}" for cell, name in firsts]
    source = f"read_json({paths}, format = '{first.form}', records = true, columns = {{{types}}}{more})"
    return f"select {', '.join([*picked, *ahead])} from {source}"  # noqa: S608 - quoted


_PATH: Final = "path\x1f"
"""The column with a file's path, by a name that hardly a member has."""


def _read_csv(file: Staged, paths: str, more: str) -> str:
    types = ", ".join(f"h{index}: 'VARCHAR'" for index in range(len(file.header)))
    form = f"auto_detect = false, header = true, delim = {quoted(file.delimiter)}, quote = '\"', escape = '\"'"
    nulls = "nullstr = '', allow_quoted_nulls = false"
    return f"read_csv({paths}, {form}, {nulls}, columns = {{{types}}}{more})"


def _cells_of_header(file: Staged, columns: Sequence[Sequence[str]]) -> list[str]:
    places = {name: index for index, name in enumerate(file.header)}
    found = []
    for members in columns:
        there = [places[member] for member in members if member in places]
        cells = [
            f"h{place}" if file.form == "csv" else f"cast({named(file.header[place])} as varchar)" for place in there
        ]
        found.append(_first(cells) if cells else "cast(null as varchar)")
    return found


def _first(cells: Iterable[str]) -> str:
    all_of_them = list(cells)
    return all_of_them[0] if len(all_of_them) == 1 else f"coalesce({', '.join(all_of_them)})"


def _pointed(members: Sequence[str]) -> str:
    """Return SQL for the first of some members that a record has, by JSON Pointer (RFC 6901)."""
    pointers = ("/" + member.replace("~", "~0").replace("/", "~1") for member in members)
    cells = [f"json ->> {quoted(pointer)}" for pointer in pointers]
    return _first(cells) if cells else "cast(null as varchar)"


def are_columns(columns: Sequence[str]) -> bool:
    """Return whether these names can be columns: none is empty, has a NUL, or differs from another only in case."""
    return all(column and "\0" not in column for column in columns) and len(
        {column.lower() for column in columns}
    ) == len(columns)


def _objects(files: Sequence[Staged], *, named: bool = False) -> str:
    """Return SQL for all values of some JSON files, as the column `json`; `named`: and the path, as `filename`."""
    columns, more = ("json, filename", ", filename = true") if named else ("json", "")
    forms: dict[Form, list[Staged]] = {}
    for file in files:
        forms.setdefault(file.form, []).append(file)
    return " union all ".join(
        f"select {columns} from read_json_objects("  # noqa: S608 - quoted
        f"[{', '.join(quoted(str(file.path)) for file in some)}], format = '{form}'{more})"
        for form, some in forms.items()
    )


# -- which members there are ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Members:
    """The members of the records in some files.

    Attributes:
        counts: how many records have each.
        files: those that can be read, as they are to be read.
        bad: those that cannot.
        nulls: how many entries of a file are null in place of a record, by the file's label.
        looked: how many records were looked at; None: all.
    """

    counts: dict[str, int]
    files: list[Staged]
    bad: list[FileFault]
    nulls: dict[str, int]
    looked: int | None = None


@dataclass(frozen=True, slots=True)
class FileFault:
    """A file that an engine could not read.

    Attributes:
        file: which.
        why: one clause, without any of its content.
        byte: of its JSON, from 0 on; None where it is not known.
        memory: it needs more memory than there may be.
    """

    file: Staged
    why: str
    byte: int | None
    memory: bool = False


def members(connection: DuckDBPyConnection, files: Sequence[Staged], *, first: bool = False) -> Members:
    """Find the members of the records in some files, and the files that can be read.

    Args:
        connection: that sees the files.
        files: of one table.
        first: look at the first records alone where there are many.

    Raises:
        faults: the files can be read one by one, and not together.
    """
    plain = [file for file in files if file.form not in {"csv", "parquet"}]
    flat, bad = _with_headers(connection, [file for file in files if file.form in {"csv", "parquet"}])
    large = first and sum(file.unfolded for file in plain) > ALL_MEMBERS_UP_TO
    most = FIRST_RECORDS if large else None
    try:
        counts, odd = _counted(connection, plain, most)
    except faults():
        plain, worse = readable(connection, plain)
        bad += worse
        counts, odd = _counted(connection, plain, most)
    nulls: dict[str, int] = {}
    if odd:
        plain, worse, nulls = _without_odd(connection, plain)
        bad += worse
        counts, _ = _counted(connection, plain, most)
    for file in flat:
        rows = connection.execute(f"select count(*) from ({texts([file], [], [])})").fetchall()[0][0]  # noqa: S608 - quoted
        counts.update(dict.fromkeys(file.header, int(rows)))
    return Members(dict(counts), [*plain, *flat], bad, nulls, most)


def members_together(connection: DuckDBPyConnection, tables: Mapping[str, Sequence[Staged]]) -> dict[str, Members]:
    """Find the members of several small tables by one query; a query costs more than their records.

    Returns:
        What `members` returns, by table. A table is missing where its files hold anything but records in JSON: then
        `members` finds out more.
    """
    plain = {table: files for table, files in tables.items() if all(file.form in _JSON for file in files)}
    table_of = {str(file.path): table for table, files in plain.items() for file in files}
    counts: dict[str, Counter[str]] = {table: Counter() for table in plain}
    if table_of:
        records = _objects([file for files in plain.values() for file in files], named=True)
        keys = f"select filename, unnest({_KEYS}) as k from ({records})"  # noqa: S608 - quoted
        try:
            found = connection.execute(f"select filename, k, count(*) from ({keys}) group by all").fetchall()  # noqa: S608 - quoted
        except faults():
            return {}
        for path, name, count in found:
            counts[table_of[path]][str(name)] += int(count)
    known = {table: files for table, files in plain.items() if _NO_RECORD not in counts[table]}
    return {table: Members(dict(counts[table]), list(files), [], {}) for table, files in known.items()}


def first_members(connection: DuckDBPyConnection, files: Sequence[Staged]) -> list[str]:
    """Return the members of the first record of some files, in their order."""
    if not files or files[0].header:
        return list(files[0].header) if files else []
    found = connection.execute(f"select json_keys(json) from ({_objects(files[:1])} limit 1)").fetchall()  # noqa: S608 - quoted
    return list(dict.fromkeys(found[0][0] or ())) if found else []


def _counted(connection: DuckDBPyConnection, files: Sequence[Staged], most: int | None) -> tuple[Counter[str], bool]:
    """Count records by member, all or the first; also return whether other values are among them."""
    if not files:
        return Counter(), False
    records = _objects(files) + ("" if most is None else f" limit {most}")
    try:
        found = connection.execute(
            f"select k, count(*) from (select unnest({_KEYS}) as k from ({records})) group by k"  # noqa: S608 - quoted
        ).fetchall()
    except faults() as error:
        if not of_memory(error):
            raise
        each = _counted_by_scan(connection, files, most)
        members_of_all = sum((file.members for file in each), Counter[str]())
        return members_of_all, any(file.kinds.keys() - {"OBJECT"} for file in each)
    counts = Counter({str(name): int(count) for name, count in found})
    odd = counts.pop(_NO_RECORD, 0) > 0
    return counts, odd


def _counted_by_scan(connection: DuckDBPyConnection, files: Sequence[Staged], most: int | None) -> list[EntryCounts]:
    """Count the same without DuckDB, where records are too wide for its memory; it checks that the JSON is valid."""
    connection.execute(f"select count(*) from ({_objects(files)})").fetchall()  # noqa: S608 - quoted
    found: list[EntryCounts] = []
    for file in files:
        found.append(count_entries(file, most))
        most = None if most is None else max(most - found[-1].kinds.total(), 0)
    return found


def _with_headers(connection: DuckDBPyConnection, files: Sequence[Staged]) -> tuple[list[Staged], list[FileFault]]:
    """Return the CSV and Parquet files that can be read to their end, with their columns."""
    good, bad = [], []
    for file in files:
        try:
            if file.form == "parquet":
                described = connection.execute(f"describe from read_parquet({quoted(str(file.path))})").fetchall()
                file = replace(file, header=tuple(str(name) for name, *_ in described))  # noqa: PLW2901 - the same, known better
            _read_through(connection, file, file.header)
        except faults() as error:
            bad.append(_fault_of(file, error))
        else:
            good.append(file)
    return good, bad


def _without_odd(
    connection: DuckDBPyConnection, files: Sequence[Staged]
) -> tuple[list[Staged], list[FileFault], dict[str, int]]:
    """Return the files without values that are no records: nulls are left out, files with others excluded."""
    good, bad = [], []
    nulls: dict[str, int] = {}
    for file in files:
        try:
            kinds = _counted_by_scan(connection, [file], None)[0].kinds
        except faults() as error:
            bad.append(_fault_of(file, error))
            continue
        wrong = kinds.keys() - {"OBJECT", "NULL"}
        if wrong:
            what = "an array" if wrong == {"ARRAY"} else "something that is no record"
            many = sum(kinds[kind] for kind in wrong)
            why = f"it holds {what} in place of a record, {many:,} times"
            bad.append(FileFault(file, why, bad_byte(file)))
            continue
        if kinds.get("NULL"):
            nulls[file.label] = kinds["NULL"]
            file = without_nulls(file)  # noqa: PLW2901 - the same records
        good.append(file)
    return good, bad, nulls


# -- errors ---------------------------------------------------------------------------------------------------------


def faults() -> tuple[type[Exception], ...]:
    """Return the errors that SQL over files can raise, except interrupts; their messages may quote binary data."""
    import duckdb  # noqa: PLC0415 - as above

    kinds = duckdb.DatabaseError.__subclasses__()
    return (*(kind for kind in kinds if kind is not duckdb.InterruptException), UnicodeDecodeError)


def errors() -> tuple[type[Exception], ...]:
    """Return every error of DuckDB, interrupts included: bytes that are no Parquet give one of the base class alone."""
    import duckdb  # noqa: PLC0415 - as above

    return (duckdb.Error, UnicodeDecodeError)


def of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out."""
    import duckdb  # noqa: PLC0415 - as above

    return isinstance(error, duckdb.OutOfMemoryException)


def of_space(error: BaseException) -> bool:
    """Return whether an error means that the disk is full, by DuckDB's words: it has no class for it.

    A quota or a limit on the size of files (`ulimit -f`) is a full disk too.
    """
    words = map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
    return any(word in str(error) for word in (*words, "max_temp_directory_size"))


def damaged(paths: Iterable[Path]) -> tuple[Path, str] | None:
    """Return the first of some Parquet files that cannot be read to its end, and why; None: all can be read."""
    for path in paths:
        with connect(path.parent, threads=1) as connection:
            try:
                connection.execute(f"select max(hash(columns(*))) from read_parquet({quoted(str(path))})").fetchall()  # noqa: S608 - quoted
            except errors() as error:
                if not (of_memory(error) or of_space(error)):
                    return path, str(error).partition("\n")[0].replace(str(path), path.name)
    return None


def readable(connection: DuckDBPyConnection, files: Sequence[Staged]) -> tuple[list[Staged], list[FileFault]]:
    """Find which files can be read after an error that names none: try each by itself.

    One that holds objects with line ends inside them comes back as `unstructured`, one with an array behind an array
    as one array.
    """
    good: list[Staged] = []
    bad: list[FileFault] = []
    for file in files:
        fault = _tried(connection, file)
        if fault is None:
            good.append(file)
            continue
        other = _otherwise(file)
        if other is not None and _tried(connection, other) is None:
            good.append(other)
        else:
            bad.append(fault)
    return good, bad


def _otherwise(file: Staged) -> Staged | None:
    """Return the same file, to be read in another way; None where there is none."""
    if file.form == "newline_delimited":
        return replace(file, form="unstructured")
    joined = joined_arrays(file)
    if joined is None:
        return None
    path = file.path.with_name(f"{file.path.name}.joined.json")
    path.write_bytes(joined)
    return replace(file, path=path, raw=file.raw or file.path)


def _tried(connection: DuckDBPyConnection, file: Staged) -> FileFault | None:
    """Return why a file cannot be read; None where it can."""
    try:
        # A record that is no object, or has a member twice, fails only where that member is read.
        names = list(file.header)
        if not names:
            counts, odd = _counted(connection, [file], None)
            names = [] if odd else list(counts)
        _read_through(connection, file, names)
    except faults() as error:
        return _fault_of(file, error)
    return None


def _read_through(connection: DuckDBPyConnection, file: Staged, names: Sequence[str]) -> None:
    """Read every value of a file, a limited number of columns at a time."""
    for start in range(0, len(names), COLUMNS_TOGETHER):
        some = names[start : start + COLUMNS_TOGETHER]
        cells = [f"c{index}" for index in range(len(some))]
        counts = ", ".join(f"count({cell})" for cell in cells)
        records = texts([file], [(name,) for name in some], cells)
        connection.execute(f"select {counts} from ({records})").fetchall()  # noqa: S608 - quoted


def _fault_of(file: Staged, error: Exception) -> FileFault:
    if of_memory(error):  # JSON of a million levels unfolds to some hundred times its size
        return FileFault(file, TOO_MUCH, None, memory=True)
    if file.form == "parquet":
        return FileFault(file, "it cannot be read as Parquet", None)
    if file.form == "csv":
        place = _LINE.search(str(error))
        where = f", in line {int(place['number']) + file.blank:,}" if place else ""
        return FileFault(file, f"it cannot be read as CSV with its {len(file.header)} columns{where}", None)
    return FileFault(file, _words(str(error)), bad_byte(file))


def _words(message: str) -> str:
    """Return an error of DuckDB as one clause, without the record that it quotes."""
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
