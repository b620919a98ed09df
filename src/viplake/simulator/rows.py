"""PURE. Records as an export of one Hour holds them, and what can be wrong inside its files.

Each Hour's records are made anew: keys that stand once, and times of change within the look-back before it, so that
a content check finds only the faults that were put there.
"""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from viplake.simulator.tables import Dice, records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from viplake.simulator.tables import SimulatedTable

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
"""Of the values of a number; a column that is gone; one that was not agreed on; duplicate keys; nulls; records
that no longer move; a quarter of the look-back; a file that ends too early."""

CONTENT_FAULTS: Final[tuple[ContentFault, ...]] = get_args(ContentFault)

ROWS_A_MEMBER: Final = 4

_CHANGED: Final = "LastUpdateGMT"
_TIME: Final = "%Y-%m-%dT%H:%M:%S"

TEMPLATE: Final = datetime(2022, 5, 10, 13, tzinfo=UTC)
"""The hour of the records that `moved` takes to others."""

Records = list[dict[str, Any]]


def hour_rows(table: SimulatedTable, count: int, hour: datetime, *seed: object) -> Records:
    """So many records of a table in the export of an hour, which begins at `hour`."""
    return list(records(table, count, Dice("rows", *seed, table.name, hour), hour))


def moved(rows: Iterable[dict[str, Any]], table: SimulatedTable, first: int, hour: datetime) -> Records:
    """Return records of the hour `TEMPLATE` as those of another hour: keys from `first` on, times moved."""
    key, by = table.columns[0][0], hour - TEMPLATE

    def at(text: str) -> str:
        return (datetime.fromisoformat(f"{text}+00:00") + by).isoformat()[:19]

    return [row | {key: number, _CHANGED: at(row[_CHANGED])} for number, row in enumerate(rows, start=first)]


def spoiled(table: SimulatedTable, rows: Records, fault: ContentFault, hour: datetime, since: datetime) -> Records:
    """The records with something wrong in them, since an hour; `truncated` is no fault of records."""
    change = _FAULTS.get(fault)
    return rows if change is None else [dict(row) for row in change(table, rows, hour, since)]


def partition(rows: Records, *, truncated: bool = False) -> bytes:
    """A file of records, one a line, a gzip member each few of them; where it is truncated, without its second half."""
    data = b"".join(member(rows[at : at + ROWS_A_MEMBER]) for at in range(0, len(rows), ROWS_A_MEMBER))
    return data[: len(data) // 2] if truncated else data


def member(rows: Iterable[dict[str, Any]]) -> bytes:
    """Some records, one a line, compressed."""
    return gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), mtime=0)


def _column(table: SimulatedTable, *kinds: str) -> str:
    """The first column of one of these kinds."""
    return next(name for kind in kinds for name, of in table.columns if of == kind)


def _wrong_type(table: SimulatedTable, rows: Records, _: datetime, __: datetime) -> Records:
    name = _column(table, "qty", "money", "int", "id")
    return [row | {name: f"{row[name]} (est.)"} if number % 3 == 0 else row for number, row in enumerate(rows)]


def _dropped_column(table: SimulatedTable, rows: Records, _: datetime, __: datetime) -> Records:
    name = table.columns[1][0]
    return [{key: value for key, value in row.items() if key != name} for row in rows]


def _new_column(_: SimulatedTable, rows: Records, __: datetime, ___: datetime) -> Records:
    return [row | {"CarbonGrade": "A"} for row in rows]


def _duplicate_key(table: SimulatedTable, rows: Records, _: datetime, __: datetime) -> Records:
    key = table.columns[0][0]
    return [*rows, *(row | {key: rows[0][key]} for row in rows[:2])]


def _empty_column(table: SimulatedTable, rows: Records, _: datetime, __: datetime) -> Records:
    name = table.columns[2][0]
    return [row | {name: None} if number % 10 else row for number, row in enumerate(rows)]


def _stale(_: SimulatedTable, rows: Records, __: datetime, since: datetime) -> Records:
    newest = (since - timedelta(minutes=7)).strftime(_TIME)
    return [row | {_CHANGED: newest if not number else min(row[_CHANGED], newest)} for number, row in enumerate(rows)]


def _short_look_back(_: SimulatedTable, rows: Records, hour: datetime, __: datetime) -> Records:
    def nearer(text: str) -> str:
        then = datetime.strptime(text, _TIME).replace(tzinfo=hour.tzinfo)
        return (hour - (hour - then) / 4).strftime(_TIME)

    return [row | {_CHANGED: nearer(row[_CHANGED])} for row in rows]


_FAULTS: Final[Mapping[str, Callable[[SimulatedTable, Records, datetime, datetime], Records]]] = {
    "wrong_type": _wrong_type,
    "dropped_column": _dropped_column,
    "new_column": _new_column,
    "duplicate_key": _duplicate_key,
    "empty_column": _empty_column,
    "stale": _stale,
    "short_look_back": _short_look_back,
}
