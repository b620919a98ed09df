"""PURE. Finds tables of an Hour that need not be opened, because an earlier Hour had the same files.

Much of an export comes again unchanged. Receipts have the MD5 of every file, so equal files and an equal schema mean
equal findings, as long as the method is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from viplake.lake.layout import SCHEMA_NAME
from viplake.lake.table_index import TableIndex

if TYPE_CHECKING:
    from viplake.content.profiling import HourContent, TableContent
    from viplake.model import Receipt
    from viplake.tables.files import HourFiles, TableFiles

_Marks = dict[str, tuple[str, int]]
"""MD5 and bytes by file name."""


@dataclass(frozen=True, slots=True)
class Examined:
    """An earlier Hour with content checks: its results and its Receipt."""

    content: HourContent
    receipt: Receipt


def carried_over(
    found: HourFiles, receipt: Receipt | None, earlier: Examined | None, method: str
) -> dict[str, TableContent]:
    """Return the results of an earlier Hour for the tables of which all files are the same, by table.

    Args:
        found: the tables of this Hour and their files.
        receipt: of this Hour; None where there is none.
        earlier: an Hour before it.
        method: how contents are examined now.
    """
    if receipt is None or earlier is None or earlier.content.method != method:
        return {}
    now, before = _marks(receipt), _marks(earlier.receipt)
    if SCHEMA_NAME not in now or now[SCHEMA_NAME] != before.get(SCHEMA_NAME):
        return {}
    index = TableIndex([*(known.table for known in found.tables), *found.without])
    files: dict[str, list[tuple[str, int] | None]] = {}
    for file in earlier.receipt.files:
        files.setdefault(index.table_of(file.name) or "", []).append(before.get(file.name))
    contents = {table.table: table for table in earlier.content.tables}
    carried = {}
    for known in found.tables:
        table = contents.get(known.table)
        if table is not None and _settled(table) and _same(known, now, files.get(known.table, [])):
            carried[known.table] = replace(table, examined=table.examined or earlier.content.hour)
    return carried


def _marks(receipt: Receipt) -> _Marks:
    return {file.name: (file.md5, file.size) for file in receipt.files if file.md5 is not None}


def _settled(table: TableContent) -> bool:
    """Return whether all of a table was counted, and no finding names a file."""
    return table.rows is not None and all(finding.file is None for finding in table.findings)


def _same(known: TableFiles, now: _Marks, before: list[tuple[str, int] | None]) -> bool:
    marks = [mark for name, size in known.files.items() if (mark := now.get(name)) is not None and mark[1] == size]
    return len(marks) == len(known.files) and sorted(marks) == sorted(filter(None, before)) and None not in before
