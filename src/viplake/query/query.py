"""I/O. SQL over the lake: a view for each table of an Hour, or of several, and for each dataset of the history.

::

    names = names_in(connection, sql)       # DuckDB says which tables it names; nothing was fetched yet
    hours = await hours_of(...)             # with a Receipt, unless the request says otherwise
    views = ...                             # one a table and dataset
    await bring(...)                        # the files of those that are named, through our own store
    take(answer)                            # in a thread, while they are here

The connection sees the folder of these files and nothing else (see `duck.connect`): a query cannot read or
write anywhere else, and nothing is downloaded but the lake's own files. A file that cannot be read ends the query, or
is left out with a warning where the request allows it.
"""

from __future__ import annotations

import asyncio
import difflib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from viplake.concurrency import map_bounded
from viplake.current.show import newest_marked
from viplake.errors import QueryError, SettingsError, ViplakeError, withheld_cause
from viplake.lake.hours import day_folders, listed_days, newest_first
from viplake.lake.table_index import TableIndex
from viplake.model import Hour
from viplake.query.current_views import HISTORY, delta_views
from viplake.query.result import SCHEMA, TABLE, QueryResult
from viplake.query.views import Notes, bring, history, snapshots
from viplake.tables import duck
from viplake.tables.files import files_of
from viplake.wording import count_words

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from duckdb import DuckDBPyConnection, Statement

    from viplake.current.delta import DeltaTables
    from viplake.history.build import HistoryLocation
    from viplake.lake import Lake
    from viplake.query.views import View

T = TypeVar("T")

LISTED: Final = 'viplake query "show tables" lists what there is.'

_AT_ONCE: Final = 8
"""Days or Hours that are listed side by side."""

_SEARCHED: Final = 31 * 24
"""Hours back in which a file of a table is searched for."""

_SEARCHED_FOR_UNKNOWN: Final = 7 * 24
"""Likewise, where the Hour's schema does not have the table: its name may be misspelled, and each day is a listing."""

_SHOWN_LINES: Final = 4
"""Of an error of DuckDB: what, the line, the mark below it."""

_QUALIFIED: Final = re.compile(r"(?i)(?P<schema>\"?history\"?\.)?(?P<table>.+?)(?: AS .*)?")

_WORD: Final = re.compile(r"""  "(?:[^"]|"")*" | '(?:[^']|'')*' | [^\W\d]\w*  """, re.VERBOSE)


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """A query.

    Attributes:
        sql: one statement that reads.
        at: the Hour to query; with `since` the last one; None: the newest.
        since: the first of several Hours; each table then has its Hour as the first column, `hour`.
        unproven: Hours without a Receipt count too.
        partial: what cannot be read is left out; else it ends the query.
    """

    sql: str
    at: Hour | None = None
    since: Hour | None = None
    unproven: bool = False
    partial: bool = False


async def query(
    lake: Lake,
    place: HistoryLocation,
    request: QueryRequest,
    take: Callable[[QueryResult], T],
    *,
    warn: Callable[[str], None],
    writes: Iterable[Path] = (),
    delta: DeltaTables | None = None,
) -> T:
    """Run a query and pass the result to `take`, which is called in a thread, while the files are here.

    Args:
        lake: which.
        place: of the history.
        request: the statement, and the Hours.
        take: what to do with the answer; its result is returned.
        warn: takes one line for each file or Hour that was left out, with the reason.
        writes: files that `take` will write.
        delta: the current and history tables; None: queries do not see them.

    Raises:
        SettingsError: the SQL is wrong, or there is no Hour to ask; or there is no room here for the files.
        ViplakeError: a file cannot be read (`table_unreadable`; `WITHHELD` where the store does not give it), and the
            request is not `partial`.
        LakeError: the lake cannot be read.
    """

    def leave_out(what: str, why: str) -> None:
        if not request.partial:
            raise ViplakeError(f"{what}: {why}", cause=withheld_cause(why) or "table_unreadable")
        warn(f"{what} is left out: {why}")

    with tempfile.TemporaryDirectory(prefix="viplake-") as name:
        root = Path(name)
        with duck.connect(root) as connection:
            statement = _statement(connection, request.sql)
            names = names_in(connection, statement)
        hours, views, without = await _catalog(lake, request, names, warn, delta)
        try:
            await bring(lake, place, await _named(lake, views, names, without), root, Notes(warn, leave_out))
        except OSError as error:
            hint = "Make room, or set TMPDIR to a folder that has some."
            raise SettingsError(f"the files cannot be put into {root.parent}: {error.strerror}", hint=hint) from None
        for threads in (4, 1):  # each has buffers of its own
            with duck.connect(root, writes=writes, ordered=True, threads=threads) as connection:
                notes = Notes(warn, leave_out)
                try:
                    return await _interruptible(
                        connection,
                        lambda: take(_result(connection, statement, views.values(), hours, notes)),  # noqa: B023 - it ends within this turn
                    )
                except _MemoryError as error:
                    failed = error.refused
        raise failed


class _MemoryError(Exception):
    """A query needs more memory than it may have."""

    def __init__(self, refused: QueryError) -> None:
        super().__init__(refused.message)
        self.refused = refused


async def _interruptible(connection: DuckDBPyConnection, work: Callable[[], T]) -> T:
    """Run work in a thread; on cancellation, interrupt DuckDB and wait for the thread to end."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            connection.interrupt()
            await asyncio.wait([task], timeout=0.1)
        if not task.cancelled():
            task.exception()  # retrieved, or asyncio would log an error that was never retrieved
        raise


# -- the statement --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Names:
    """The tables that a statement names.

    Attributes:
        words: in small letters.
        sure: whether `words` are exactly the tables; otherwise they are all words of the statement.
        maybe: further words that DuckDB takes for its own tables.
    """

    words: frozenset[str]
    sure: bool
    maybe: frozenset[str] = frozenset()


def _statement(connection: DuckDBPyConnection, sql: str) -> Statement:
    from duckdb import StatementType  # noqa: PLC0415 - 35 MB and 0.1 s that other commands do without

    try:
        statements = connection.extract_statements(sql)
    except duck.faults() as error:
        raise _refused(error) from None
    if len(statements) != 1:
        raise QueryError(f"there are {len(statements)} statements in the query", hint="It takes one.")
    if statements[0].type not in {StatementType.SELECT, StatementType.MULTI, StatementType.EXPLAIN}:  # MULTI: a PIVOT
        word = statements[0].type.name
        hint = "Allowed: SELECT, FROM, WITH, VALUES, DESCRIBE, SHOW, SUMMARIZE, PIVOT, EXPLAIN."
        raise QueryError(f"only statements that read are allowed, not {word}", hint=hint)
    return statements[0]


def names_in(connection: DuckDBPyConnection, statement: Statement) -> Names:
    """Return the tables that a statement names.

    DuckDB says it, but for statements that mean nothing to it before it knows the columns, as with USING or PIVOT.

    Raises:
        SettingsError: it reaches for something that no query may.
    """
    from duckdb import PermissionException  # noqa: PLC0415 - as above

    words = (match[0] for match in _WORD.finditer(statement.query))
    plain = (word[1:-1].replace(word[0] * 2, word[0]) if word[0] in "\"'" else word for word in words)
    every = frozenset(word.lower() for word in plain)
    try:
        plain_names = connection.get_table_names(statement.query)
        named = _with_history(plain_names, connection.get_table_names(statement.query, qualified=True))
    except PermissionException as error:
        raise _refused(error) from None
    except duck.faults():
        return Names(every | {f"{HISTORY}.{word}" for word in every if HISTORY in every}, sure=False)
    own = connection.execute("select lower(view_name) from duckdb_views() where internal").fetchall()
    return Names(named, sure=True, maybe=every & {name for (name,) in own})


def _with_history(names: Iterable[str], qualified: Iterable[str]) -> frozenset[str]:
    """Names of tables in small letters, `history.voyage` for those of that schema.

    Args:
        names: without their schemas.
        qualified: with them and with their aliases, as DuckDB writes both.
    """
    split = [_QUALIFIED.fullmatch(one) for one in qualified]
    of_history = {match["table"].strip('"').lower() for match in split if match and match["schema"]}
    others = {match["table"].strip('"').lower() for match in split if match and not match["schema"]}
    plain = {name.lower() for name in names}
    return frozenset(plain - (of_history - others) | {f"{HISTORY}.{name}" for name in of_history})


async def _named(lake: Lake, views: Mapping[str, View], names: Names, without: Mapping[str, str]) -> list[View]:
    """The views that a statement names; `without` are tables of the schema that have no file, by name in small letters.

    Raises:
        SettingsError: it names one that is not there.
    """
    absent = sorted(names.words - views.keys()) if names.sure else []
    if absent and absent[0] in without:
        table = without[absent[0]]
        newest = await _newest_with(lake, absent[0], {*views, *without})
        what = f"{table} is in the schema, but no file of it was delivered"
        if newest is None:
            raise QueryError(what, hint="--at reads another Hour, --since several; viplake status shows which lack it.")
        raise _elsewhere(what, newest)
    if absent:
        if not _close(absent[0], views):
            newest = await _newest_with(lake, absent[0], {*views, *without, absent[0]}, back=_SEARCHED_FOR_UNKNOWN)
            if newest is not None:
                raise _elsewhere(f"this Hour has no table {absent[0]!r}", newest)
        raise _unknown(absent[0], views)
    return [view for key, view in views.items() if key in names.words or key in names.maybe]


def _elsewhere(what: str, newest: Hour) -> QueryError:
    return QueryError(f"{what}; the newest Hour that has it is {newest}", hint=f"viplake query --at {newest} ...")


async def _newest_with(lake: Lake, table: str, tables: Iterable[str], *, back: int = _SEARCHED) -> Hour | None:
    """The newest Hour with a Receipt that has a file of a table, so many Hours back; names are in small letters."""
    index = TableIndex(tables)
    newest: Hour | None = None
    async for folder in newest_first(lake):
        newest = newest or folder.hour
        if folder.hour < newest.shift(-back):
            return None
        if folder.proven and any(index.table_of(name.lower()) == table for name in folder.delivered):
            return folder.hour
    return None


def _close(name: str, views: Mapping[str, View]) -> list[str]:
    return [views[key].name for key in difflib.get_close_matches(name, views, n=3)]


def _unknown(name: str, views: Mapping[str, View]) -> QueryError:
    close = _close(name, views)
    meant = f"Did you mean {' or '.join(close)}? " if close else ""
    return QueryError(f"there is no table {name!r}", hint=meant + LISTED)


def _refused(error: Exception, *, lines_before: int = 0) -> QueryError:
    """What DuckDB says of a query, with the line that it points at; so many lines before it are ours."""
    import duckdb  # noqa: PLC0415 - as above

    hint = "Correct the query; its SQL is DuckDB's."
    if isinstance(error, duckdb.PermissionException):
        hint = "A query reads the tables and the history, and nothing else."
    elif isinstance(error, duckdb.OutOfMemoryException):
        hint = f"It may have {duck.MEMORY}: select fewer columns or Hours."
    elif isinstance(error, duckdb.CatalogException | duckdb.BinderException):
        hint = f"{LISTED} DESCRIBE and a table's name lists its columns."
    lines = [line.rstrip() for line in str(error).splitlines() if line.strip()][:_SHOWN_LINES]
    for number, line in enumerate(lines):
        if place := re.match(r"LINE (\d+):", line):
            label = f"LINE {max(1, int(place[1]) - lines_before)}:"
            lines[number] = label + line[place.end() :]
            if number + 1 < len(lines) and not lines[number + 1].strip(" ^"):  # the mark below the place
                lines[number + 1] = lines[number + 1][place.end() - len(label) :]
    return QueryError("\n".join(lines), hint=hint)


# -- which Hours ----------------------------------------------------------------------------------------------------


async def hours_of(lake: Lake, request: QueryRequest, warn: Callable[[str], None]) -> tuple[Hour, ...]:
    """Return the Hours that a request covers, ascending; at least one.

    Raises:
        SettingsError: there is none.
        LakeError: the lake cannot be read.
    """
    if request.since is None and request.at is not None:
        return (await _this(lake, request.at, unproven=request.unproven),)
    if request.since is None:
        return (await _newest(lake, unproven=request.unproven),)
    first, last = request.since, request.at
    wanted = [day for day in await listed_days(lake) if first.day <= day and (last is None or day <= last.day)]
    found = await map_bounded(lambda day: _delivered(lake, day), wanted, at_once=_AT_ONCE)
    within = {h: proven for day in found for h, proven in day.items() if first <= h and (last is None or h <= last)}
    hours = tuple(sorted(hour for hour, proven in within.items() if proven or request.unproven))
    left_out = len(within) - len(hours)
    if not hours:
        raise _nothing(f"no Hour from {first} to {last or 'now'}", left_out)
    if left_out:
        warn(f"{count_words(left_out, 'Hour')} without a Receipt left out; --unproven includes them")
    return hours


async def _this(lake: Lake, hour: Hour, *, unproven: bool) -> Hour:
    proven = (await _delivered(lake, hour.day)).get(hour)
    if not proven and not (unproven and proven is not None):
        raise _nothing(f"the Hour {hour}", int(proven is not None), one=True)
    return hour


async def _newest(lake: Lake, *, unproven: bool) -> Hour:
    left_out = 0
    async for folder in newest_first(lake):
        if folder.proven or (unproven and folder.delivered):
            return folder.hour
        left_out += bool(folder.delivered)
    raise _nothing("no Hour of this lake", left_out)


def _nothing(what: str, left_out: int, *, one: bool = False) -> SettingsError:
    """The error of a query that finds no Hour to read: it was not delivered, or has no Receipt."""
    if left_out:
        hint = "Without a Receipt an Hour may be incomplete. To query it anyway, add --unproven."
        return SettingsError(f"{what} has {'no' if one else 'a'} Receipt", hint=hint)
    hint = "viplake status lists the outcome of each Hour."
    return SettingsError(f"{what} {'was not' if one else 'was'} delivered", hint=hint)


async def _delivered(lake: Lake, day: str) -> dict[Hour, bool]:
    """The Hours of a day that hold anything delivered, and whether they have a Receipt."""
    found = await day_folders(lake, day)
    return {hour: folder.proven for hour, folder in found.items() if folder.proven or folder.delivered}


# -- asking ---------------------------------------------------------------------------------------------------------


async def _catalog(
    lake: Lake, request: QueryRequest, names: Names, warn: Callable[[str], None], delta: DeltaTables | None
) -> tuple[tuple[Hour, ...], dict[str, View], dict[str, str]]:
    """Return the Hours of the request, and by their names in lower case every view and the tables without a file.

    Without `--at`, `--since` and `--unproven` the current table of a name comes before the table of the newest Hour.
    """
    kept: dict[str, View] = {view.name: view for view in history()}
    newest = request.at is None and request.since is None and not request.unproven
    merged: dict[str, View] = {}
    if delta is not None:
        found_tables = await delta_views(lake, delta, names.words)
        usable = (view for view in found_tables if newest or view.kind == "history")
        merged = {view.name.lower(): view for view in usable if view.name not in kept}
    if names.sure and names.words and names.words <= kept.keys() | merged.keys() and not names.maybe:
        asks_tables = names.words & merged.keys() and newest
        hour = await newest_marked(lake) if asks_tables else None
        return (hour,) if hour else (), kept | merged, {}
    if names.sure and names.words and names.words <= kept.keys() and not names.maybe:
        return (), kept, {}  # it needs no Hour
    try:
        hours = await hours_of(lake, request, warn)
    except SettingsError as nothing:
        if names.sure and names.words:
            raise
        warn(f"{nothing.message}. {nothing.hint}")
        hours = ()
    found = await map_bounded(lambda hour: files_of(lake, hour), hours, at_once=_AT_ONCE)
    for known in found:
        if known.schema_problem is not None and known.tables:
            warn(f"{known.hour}: {known.schema_problem}, so columns that no other Hour declares are text")
    tables = snapshots(found, taken=kept, hourly=request.since is not None)
    without = {table.lower(): table for known in found for table in known.without}
    return hours, kept | {view.name.lower(): view for view in tables} | merged, without


def _result(
    connection: DuckDBPyConnection,
    statement: Statement,
    views: Collection[View],
    hours: tuple[Hour, ...],
    notes: Notes,
) -> QueryResult:
    import duckdb  # noqa: PLC0415 - as above

    brought = [view for view in views if view.brought]
    own = (
        duckdb.BinderException,
        duckdb.CatalogException,
        duckdb.PermissionException,
        duckdb.OutOfMemoryException,
        duckdb.InterruptException,
    )
    try:
        connection.execute(f"create schema {SCHEMA}")
        connection.execute(f"create schema {HISTORY}")
        for view in views:
            connection.execute(view.show(connection, notes) if view.brought else view.describe())
        try:
            _run(connection, statement)
        except own:
            raise
        except duck.errors():  # the query's own, or that of a file
            weeded = [view.weed(connection, notes) for view in brought]
            if not any(weeded):
                raise
            for view in brought:
                connection.execute(view.show(connection, notes))
            _run(connection, statement)
        return QueryResult.of(connection, hours)
    except duckdb.InterruptException:
        raise
    except duck.errors() as error:
        refused = _refused(error, lines_before=1)
        if duck.of_memory(error):
            raise _MemoryError(refused) from None
        raise refused from None


def _run(connection: DuckDBPyConnection, statement: Statement) -> None:
    """Put the whole result into `TABLE`: an error in the middle leaves no part of a result."""
    from duckdb import StatementType  # noqa: PLC0415 - as above

    if statement.type == StatementType.EXPLAIN:
        plan = connection.execute(statement.query).fetchall()
        connection.execute(f"create or replace table {TABLE} (explain_key varchar, explain_value varchar)")
        connection.executemany(f"insert into {TABLE} values (?, ?)", plan)  # noqa: S608 - our own name
        return
    from duckdb import ConversionException  # noqa: PLC0415 - as above

    text = statement.query
    while True:
        try:
            connection.execute(f"create or replace table {TABLE} as\n{text}")
        except ConversionException as error:
            before, text = text, _with_times(text, str(error))
            if text == before:
                raise
        else:
            return


def _with_times(sql: str, error: str) -> str:
    """Return the SQL with the Hour that DuckDB could not read as a time, as 2022-05-10T13, written as a time."""
    if (found := re.search(r'invalid timestamp field format: "([^"]*)"', error)) is None:
        return sql
    try:
        hour = Hour.parse(found[1])
    except SettingsError:
        return sql
    return sql.replace(f"'{found[1]}'", f"'{hour.start:%Y-%m-%d %H:%M}'")
