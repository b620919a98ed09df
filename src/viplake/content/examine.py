"""I/O. Content checks of an Hour: rows, nulls, ranges, and whether records agree with the schema.

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
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
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
    examples_sql,
    odd_columns,
    profile_in_parts,
    profile_of,
    without_future,
)
from viplake.errors import LakeError
from viplake.lake.proof import read_receipt
from viplake.tables import duck
from viplake.tables.files import fetch, files_of, together
from viplake.tables.staged import Staged, Unreadable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from duckdb import DuckDBPyConnection

    from viplake.content.profiling import ContentFindingKind
    from viplake.lake import Lake
    from viplake.model import Hour
    from viplake.tables.files import HourFiles, TableFiles

BATCH: Final = 16 << 20
"""Bytes, as stored, that are fetched together: small tables in one go, a larger one by itself."""

ARRAY_ALONE: Final = 32 << 20
"""Bytes of JSON in arrays from which on a second query beside the first is worth reading them twice."""

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
                for known in batch:
                    files = staged[known.table]
                    tables.append(without_future(hour, await _in_thread(connection, known, files, settings)))
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


def look_into(
    connection: DuckDBPyConnection,
    known: TableFiles,
    files: Sequence[Staged | Unreadable],
    settings: ContentSettings,
) -> TableContent:
    """Run content checks on the files of a table."""
    findings = [of_file(known.table, file) for file in files if isinstance(file, Unreadable)]
    staged = [file for file in files if isinstance(file, Staged)]
    try:
        found = duck.members(connection, staged, first=True)
        try:
            return _profiled(connection, known, found, findings, settings)
        except duck.faults():  # found in values: a member twice, bytes that are no text
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
    cells = [f"c{index}" for index in range(len(question.columns))]
    records = duck.texts(found.files, question.members, cells)
    row = _row(connection, records, question, sum(file.unfolded for file in found.files if file.form == "array"))
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


def _row(connection: DuckDBPyConnection, records: str, question: TableQuestion, arrays: int) -> Sequence[Any]:
    """Return the answer to `profile_sql`; wide tables take several queries, because memory grows with the columns."""
    parts = -(-len(question.columns) // duck.COLUMNS_TOGETHER) or 1
    while True:
        try:
            if parts == 1 and arrays > ARRAY_ALONE:
                return _row_by_two(connection, records, question)
            queries = profile_in_parts(question, parts)
            return tuple(cell for sql in queries for cell in _rows(connection, records, sql)[0])
        except duck.faults() as error:
            if not duck.of_memory(error) or parts >= len(question.columns):
                raise
            parts = min(parts * 4, len(question.columns))


def _row_by_two(connection: DuckDBPyConnection, records: str, question: TableQuestion) -> Sequence[Any]:
    """Return the same for a large array by two queries at once, because DuckDB reads an array with one thread."""
    own, *other = profile_in_parts(question, 2)
    with connection.cursor() as second, ThreadPoolExecutor(1) as beside:
        later = beside.submit(lambda: [cell for sql in other for cell in _rows(second, records, sql)[0]])
        try:
            first = _rows(connection, records, own)[0]
        except BaseException:
            second.interrupt()  # leaving waits for it
            raise
        return (*first, *later.result())


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
