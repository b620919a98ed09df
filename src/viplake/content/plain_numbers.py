"""PURE. Profiles columns of plain numbers with one conversion a value, and tells where that is not enough.

Every value has to be exact, so a number is converted up to three times. Nearly all columns need none of that: their
values are numbers in JSON, small enough to be exact as a double. The quick answer shows whether that is so. A column
is settled only where the answer is the one that `profiling` gives; any other column is profiled again.

Such a column is read as JSON: a text then has quotes, which no cast takes for a number. A typed column of DuckDB would
hide what is to be found: it reads `true` as 1.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from viplake.tables.types import ColumnType

_DIGITS: Final = 15
"""Of a decimal number that a double holds exactly (IEEE 754)."""

_LARGEST: Final = 1.7e308
_FINEST: Final = Decimal("1e-10")
"""Of a decimal without a scale in the schema, as `profiling` reads it."""


def is_quick(of: ColumnType | None) -> bool:
    """Return whether a column of a type can be settled by the quick answer."""
    if of is None or of.kind not in {"integer", "decimal", "double"}:
        return False
    return of.scale is None or of.scale < min(of.precision, _DIGITS)


def quick_cells(cell: str, of: ColumnType) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Return the cells of `profiling.profile_sql` for a column of JSON, and the expressions that they need, by name."""
    value = f"{cell}_plain"
    whole = {"integer": f"{value} = trunc({value})", "decimal": f"{value} = round({value}, {of.scale})"}
    good = (
        value
        if of.kind == "double" or (of.kind == "decimal" and of.scale is None)
        else (f"case when {whole[of.kind]} then 1 end")
    )
    ends = (f"min({value})", f"max({value})")
    cells = (f"count({cell})", f"approx_count_distinct({value})", *ends, f"count({good})", "0")
    return cells, {value: f"try_cast({cell} as double)"}


def settled(of: ColumnType, cells: Sequence[Any]) -> tuple[Any, ...] | None:
    """Return the cells that `profiling` would give for the quick ones; None where they do not settle the column."""
    present, distinct, low, high, good, _ = cells
    if not present:
        return tuple(cells)
    least, most = _limits(of)
    if good != present or not least <= low <= high <= most:
        return None
    ends: list[Any] = [low, high]
    if of.kind == "integer":
        ends = [int(end) for end in ends]
    elif of.kind == "decimal":
        ends = [Decimal(repr(end)) for end in ends]
        if of.scale is None and any(end.quantize(_FINEST) != end for end in ends):
            return None
    return present, distinct, *ends, good, 0


def _limits(of: ColumnType) -> tuple[float, float]:
    """Return between which values all are exact, and none is beyond the declared size."""
    if of.kind == "double":
        return -_LARGEST, _LARGEST
    if of.kind == "integer":
        return max(of.least, 1 - 2**53), min(of.most, 2**53 - 1)
    most = 10.0 ** (_DIGITS if of.scale is None else min(of.precision, _DIGITS) - of.scale)
    return math.nextafter(-most, 0), math.nextafter(most, 0)
