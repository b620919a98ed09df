"""PURE. Records as an export of one Hour holds them, and what can be wrong inside its files.

Each Hour's records are made anew: keys that stand once, and times of change within the look-back before it, so that
whoever looks inside finds nothing amiss but what was put there.
"""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from viplake.simulator.tables import Dice, records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from viplake.simulator.tables import Table

ContentFault = Literal[
    "wrong_type",
    "dropped_column",
    "new_column",
    "duplicate_key",
    "empty_column",
    "stale",
    "short_look_back",
    "truncated",
]
"""Of the values of a number; a column that is gone; one that nobody agreed on; keys that stand twice; nulls; records
that no longer move; a quarter of the look-back; a file that ends too early."""

CONTENT_FAULTS: Final[tuple[ContentFault, ...]] = get_args(ContentFault)

ROWS_A_MEMBER: Final = 4

_CHANGED: Final = "LastUpdateGMT"
_TIME: Final = "%Y-%m-%dT%H:%M:%S"

Rows = list[dict[str, Any]]


def hour_rows(table: Table, count: int, hour: datetime, *seed: object) -> Rows:
    """So many records of a table in the export of an hour, which begins at `hour`."""
    return list(records(table, count, Dice("rows", *seed, table.name, hour), hour))


def spoiled(table: Table, rows: Rows, fault: ContentFault, hour: datetime, since: datetime) -> Rows:
    """The records with something wrong in them, since an hour; `truncated` is no fault of records."""
    change = _FAULTS.get(fault)
    return rows if change is None else [dict(row) for row in change(table, rows, hour, since)]


def partition(rows: Rows, *, truncated: bool = False) -> bytes:
    """A file of records, one a line, a gzip member each few of them; where it is truncated, without its second half."""
    data = b"".join(member(rows[at : at + ROWS_A_MEMBER]) for at in range(0, len(rows), ROWS_A_MEMBER))
    return data[: len(data) // 2] if truncated else data


def member(rows: Iterable[dict[str, Any]]) -> bytes:
    """Some records, one a line, compressed."""
    return gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), mtime=0)


def _column(table: Table, *kinds: str) -> str:
    """The first column of one of these kinds."""
    return next(name for kind in kinds for name, of in table.columns if of == kind)


def _wrong_type(table: Table, rows: Rows, _: datetime, __: datetime) -> Rows:
    name = _column(table, "qty", "money", "int", "id")
    return [row | {name: f"{row[name]} (est.)"} if number % 3 == 0 else row for number, row in enumerate(rows)]


def _dropped_column(table: Table, rows: Rows, _: datetime, __: datetime) -> Rows:
    name = table.columns[1][0]
    return [{key: value for key, value in row.items() if key != name} for row in rows]


def _new_column(_: Table, rows: Rows, __: datetime, ___: datetime) -> Rows:
    return [row | {"CarbonGrade": "A"} for row in rows]


def _duplicate_key(table: Table, rows: Rows, _: datetime, __: datetime) -> Rows:
    key = table.columns[0][0]
    return [*rows, *(row | {key: rows[0][key]} for row in rows[:2])]


def _empty_column(table: Table, rows: Rows, _: datetime, __: datetime) -> Rows:
    name = table.columns[2][0]
    return [row | {name: None} if number % 10 else row for number, row in enumerate(rows)]


def _stale(_: Table, rows: Rows, __: datetime, since: datetime) -> Rows:
    newest = (since - timedelta(minutes=7)).strftime(_TIME)
    return [row | {_CHANGED: newest if not number else min(row[_CHANGED], newest)} for number, row in enumerate(rows)]


def _short_look_back(_: Table, rows: Rows, hour: datetime, __: datetime) -> Rows:
    def nearer(text: str) -> str:
        then = datetime.strptime(text, _TIME).replace(tzinfo=hour.tzinfo)
        return (hour - (hour - then) / 4).strftime(_TIME)

    return [row | {_CHANGED: nearer(row[_CHANGED])} for row in rows]


_FAULTS: Final[Mapping[str, Callable[[Table, Rows, datetime, datetime], Rows]]] = {
    "wrong_type": _wrong_type,
    "dropped_column": _dropped_column,
    "new_column": _new_column,
    "duplicate_key": _duplicate_key,
    "empty_column": _empty_column,
    "stale": _stale,
    "short_look_back": _short_look_back,
}
