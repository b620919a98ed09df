"""I/O. Content checks of an Hour: rows, nulls, ranges, and whether records agree with the schema.

::

    for batch in tables of the Hour:        # the next one is fetched while one is looked at
        staged = await fetch(batch)         # here, and inflated once to see that they can be
        members = ...                       # which members the records have: of all small tables in one query
        row = profile_sql(question)         # everything else, in one pass; numbers by a quick answer
        row = profile_sql(the rest)         # again, for number columns that the quick answer does not settle
        profile_of(question, row, ...)      # PURE: what that means

What cannot be read is a finding on that file; the others are still judged.
"""

from __future__ import annotations

import asyncio
import functools
import shutil
import tempfile
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from viplake.content.carry import Examined, carried_over
from viplake.content.profiling import (
    RECORD_TIMES,
    ContentFinding,
    HourContent,
    TableContent,
    TableMembers,
    TableQuestion,
    cells_of,
    examples_sql,
    odd_columns,
    profile_in_parts,
    profile_of,
    quick_columns,
    settle,
    without_future,
)
from viplake.errors import LakeError
from viplake.lake.proof import read_receipt
from viplake.tables import array_parts, duck
from viplake.tables.files import fetch, files_of, together
from viplake.tables.staged import Staged, Unreadable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence

    from duckdb import DuckDBPyConnection

    from viplake.content.profiling import ContentFindingKind
    from viplake.lake import Lake
    from viplake.model import Hour
    from viplake.tables.files import HourFiles, TableFiles

BATCH: Final = 16 << 20
"""Bytes, as stored, that are fetched together: small tables in one go, a larger one by itself."""

SMALL: Final = 4 << 20
"""Bytes of JSON of a table up to which its members are counted together with those of other tables."""

METHOD: Final = 3
"""Of examining: a higher one where the same files would give other findings."""

NOT_TOGETHER: Final = "its files can be read one by one, but not together"


@dataclass(frozen=True, slots=True)
class ContentSettings:
    """Settings of content checks.

    Attributes:
        record_times: columns that tell when a record changed, the best first.
    """

    record_times: tuple[str, ...] = RECORD_TIMES

    @property
    def method(self) -> str:
        """Everything that findings depend on besides the files."""
        return f"{METHOD} {','.join(self.record_times)}"


async def examine(
    lake: Lake,
    hour: Hour,
    settings: ContentSettings,
    *,
    earlier: HourContent | None = None,
) -> HourContent:
    """Run content checks on the files of an Hour.

    Args:
        lake: where it is.
        hour: which.
        settings: how.
        earlier: what an earlier Hour was found to hold: tables with the same files are not opened again.

    Raises:
        LakeError: the lake cannot be read.
    """
    found = await files_of(lake, hour)
    carried = await _carried(lake, found, settings, earlier)
    opened = [known for known in found.tables if known.table not in carried]
    batches = list(together(opened, lambda known: known.size, BATCH))
    tables = list(carried.values())
    with tempfile.TemporaryDirectory(prefix="viplake-") as name:
        root = Path(name)
        with duck.connect(root) as connection:
            async for batch, staged in _fetched(lake, hour, batches, root):
                looking = functools.partial(_look_into_batch, connection, batch, staged, settings)
                tables += [without_future(hour, table) for table in await _in_thread(connection, looking)]
    tables.sort(key=lambda table: table.table)
    return HourContent(hour, tuple(tables), found.schema_problem, settings.method)


async def _carried(
    lake: Lake, found: HourFiles, settings: ContentSettings, earlier: HourContent | None
) -> dict[str, TableContent]:
    """Return results to carry over from an earlier Hour; nothing where a Receipt is missing or damaged."""
    if earlier is None or earlier.method != settings.method:
        return {}
    try:
        receipt, before = [await read_receipt(lake, hour) for hour in (found.hour, earlier.hour)]
    except LakeError:
        return {}
    return carried_over(found, receipt, None if before is None else Examined(earlier, before), settings.method)


async def _in_thread(connection: DuckDBPyConnection, look: Callable[[], list[TableContent]]) -> list[TableContent]:
    looking = asyncio.ensure_future(asyncio.to_thread(look))
    try:
        return await asyncio.shield(looking)
    except asyncio.CancelledError:
        while not looking.done():  # the thread must not outlive its connection and the folder that it reads
            connection.interrupt()
            await asyncio.wait([looking], timeout=0.05)
        raise


async def _fetched(
    lake: Lake, hour: Hour, batches: Sequence[list[TableFiles]], root: Path
) -> AsyncIterator[tuple[list[TableFiles], dict[str, list[Staged | Unreadable]]]]:
    """Yield each batch with its files while the next one downloads; files are removed after their batch."""

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


def _look_into_batch(
    connection: DuckDBPyConnection,
    batch: Sequence[TableFiles],
    staged: Mapping[str, Sequence[Staged | Unreadable]],
    settings: ContentSettings,
) -> list[TableContent]:
    readable = {known.table: readable_of(staged[known.table]) for known in batch}
    most = min(SMALL, duck.ALL_MEMBERS_UP_TO)
    small = {table: files for table, files in readable.items() if sum(file.unfolded for file in files) <= most}
    members = duck.members_together(connection, small)
    return [look_into(connection, known, staged[known.table], settings, members.get(known.table)) for known in batch]


def readable_of(files: Iterable[Staged | Unreadable]) -> list[Staged]:
    """Return the files that are not known to be unreadable."""
    return [file for file in files if isinstance(file, Staged)]


def look_into(
    connection: DuckDBPyConnection,
    known: TableFiles,
    files: Sequence[Staged | Unreadable],
    settings: ContentSettings,
    found: duck.Members | None = None,
) -> TableContent:
    """Run content checks on the files of a table; `found` are its members where they are known already."""
    findings = [of_file(known.table, file) for file in files if isinstance(file, Unreadable)]
    try:
        found = found or duck.members(connection, readable_of(files), first=True)
        try:
            return _profiled(connection, known, found, findings, settings, cut=True)
        except duck.faults():  # found in values: a member twice, bytes that are no text; or an array was cut wrongly
            good, bad = duck.readable(connection, found.files)
        again = duck.members(connection, good, first=True)
        found = replace(again, bad=[*found.bad, *bad, *again.bad], nulls=found.nulls)
        return _profiled(connection, known, found, findings, settings)
    except duck.faults() as error:  # each file can be read, but not all of them at once
        return unanswered(known, findings, duck.TOO_MUCH if duck.of_memory(error) else NOT_TOGETHER)


def _profiled(
    connection: DuckDBPyConnection,
    known: TableFiles,
    found: duck.Members,
    findings: Sequence[ContentFinding],
    settings: ContentSettings,
    *,
    cut: bool = False,
) -> TableContent:
    bad = [
        of_file(known.table, Unreadable(fault.file.name, fault.why, fault.byte), fault.file.label)
        for fault in sorted(found.bad, key=lambda fault: (fault.file.name, fault.file.path))
    ]
    nulls = [of_nulls(known.table, label, count) for label, count in sorted(found.nulls.items())]
    findings = [*findings, *bad, *nulls]
    if not found.files:
        return unanswered(known, findings, known.unknown)
    members = TableMembers(len(known.files), found.counts, found.looked, tuple(findings))
    question = question_of(known, found.counts, settings)
    files = [part for file in found.files for part in (array_parts.parts(file) if cut else [file])]
    row = _answer(connection, files, question)
    records = _texts(files, question)
    examples = {
        (name, kind): [str(value) for (value,) in _rows(connection, records, examples_sql(question, name, kind))]
        for name, kind in odd_columns(question, row)
    }
    return profile_of(question, row, members, examples, known.unknown)


def question_of(known: TableFiles, counts: Iterable[str], settings: ContentSettings) -> TableQuestion:
    """Return the questions on a table with these members."""
    return TableQuestion.of(
        known.table, known.columns, sorted(counts), key=known.key, record_times=settings.record_times
    )


def _answer(connection: DuckDBPyConnection, files: Sequence[Staged], question: TableQuestion) -> Sequence[Any]:
    """Return the answer to `profile_sql`: a quick one where that settles a column, else the thorough one."""
    quick = quick_columns(question) if duck.reads_members(files, question.members) else frozenset()
    row = _row(connection, _texts(files, question, quick), question, quick)
    found, rest = settle(question, row, quick)
    if rest is not None:
        again = _row(connection, _texts(files, rest), rest)
        found |= dict(zip(rest.columns, cells_of(again), strict=True))
    return (*row[:3], *chain.from_iterable(found[name] for name in question.columns))


def _texts(files: Sequence[Staged], question: TableQuestion, quick: Collection[str] = ()) -> str:
    cells = [f"c{index}" for index in range(len(question.columns))]
    raw = {cell for cell, name in zip(cells, question.columns, strict=True) if name in quick}
    return duck.texts(files, question.members, cells, raw=raw)


def _row(
    connection: DuckDBPyConnection, records: str, question: TableQuestion, quick: Collection[str] = ()
) -> Sequence[Any]:
    """Return the answer to `profile_sql`; wide tables take several queries, because memory grows with the columns."""
    parts = -(-len(question.columns) // duck.COLUMNS_TOGETHER) or 1
    while True:
        try:
            queries = profile_in_parts(question, parts, quick)
            return tuple(chain.from_iterable(_rows(connection, records, sql)[0] for sql in queries))
        except duck.faults() as error:
            if not duck.of_memory(error) or parts >= len(question.columns):
                raise
            parts = min(parts * 4, len(question.columns))


def _rows(connection: DuckDBPyConnection, records: str, sql: str) -> list[Any]:
    return connection.execute(f"with records as ({records}) {sql}").fetchall()


def unanswered(known: TableFiles, findings: Sequence[ContentFinding], why: str | None) -> TableContent:
    """Return a table without counts, and the reason."""
    return TableContent(known.table, len(known.files), None, findings=tuple(findings), unknown=why)


def of_file(table: str, file: Unreadable, label: str = "") -> ContentFinding:
    """Return the finding on a file that cannot be read; `label` is the name to display, where it differs."""
    kind: ContentFindingKind = "empty_file" if file.empty else "unreadable_file"
    return ContentFinding(kind, table, f"{label or file.name}: {file.why}", file.name, file.byte)


def of_nulls(table: str, label: str, count: int) -> ContentFinding:
    """Return the finding on a file with null in place of records."""
    what = f"{label}: null is in place of {count:,} {'record' if count == 1 else 'records'}"
    return ContentFinding("null_record", table, what, label.partition(" (")[0], count=count)
