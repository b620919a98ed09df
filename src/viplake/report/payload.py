"""PURE. What the script of the page reads: figures and tables as JSON, numbers as Plotly's binary arrays, compressed.

A quarter of a year of 300 tables is a million cells a matrix. Plotly.js reads numbers as base64 of typed arrays
(`{"dtype": "i2", "bdata": ...}`), and the tables of the page use the same form, so that nothing is encoded twice. The
whole is gzip in base64, which a browser unpacks by itself (`DecompressionStream`).

- regular times of a trace are `x0` and `dx`; of a table `{"unit": milliseconds, "start": units since 1970, "count"}`
- numbers of a table are a binary array, NaN is none; with `scale`: that many times the scale, and -1 is none
- words of a table are `{"words": [...], "codes": binary array}`, -1 is none
"""

from __future__ import annotations

import base64
import gzip
import json
import math
import sys
from array import array
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from viplake.report.figures import moment_of, written_as
from viplake.report.tables import CodedWords, ScaledNumbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viplake.report.tables import FigureColumn, FigureTable

_UNITS: Final = {"hour": 3_600_000, "day": 24 * 3_600_000}
"""Milliseconds of a step, by the kind of a column of times."""

_INTEGERS: Final = (("i1", "b", 2**7), ("i2", "h", 2**15), ("i4", "i", 2**31))
_EXACT: Final = 2**24
"""Whole numbers below it are exact as 4-byte floats."""

_SHORT: Final = 16
"""Lists below this length stay as they are."""


def compressed(text: str | bytes) -> str:
    """Return the text as base64 of gzip, the same bytes each time."""
    data = text.encode() if isinstance(text, str) else text
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode("ascii")


def dumps(value: Any) -> str:
    """Return compact JSON."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def binary(values: Sequence[float | None], shape: str = "") -> dict[str, Any]:
    """Return the numbers in the smallest type that has them all exactly; none is NaN."""
    more = {"shape": shape} if shape else {}
    present = [value for value in values if value is not None]
    whole = all(float(value).is_integer() for value in present)
    low, high = min(present, default=0), max(present, default=0)
    if whole and len(present) == len(values):
        for name, code, bound in _INTEGERS:
            if -bound <= low and high < bound:
                return _typed(name, array(code, [int(value) for value in values if value is not None])) | more
    name, code = ("f4", "f") if whole and low >= -_EXACT and high <= _EXACT else ("f8", "d")
    return _typed(name, array(code, [math.nan if value is None else value for value in values])) | more


def _typed(name: str, numbers: array[Any]) -> dict[str, Any]:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return {"dtype": name, "bdata": base64.b64encode(numbers.tobytes()).decode("ascii")}


# -- figures --------------------------------------------------------------------------------------------------


def figure_json(figure: dict[str, Any]) -> dict[str, Any]:
    """Return Plotly's JSON of a figure with every long list of its traces as a binary array."""
    return {"data": [_trace(trace) for trace in figure["data"]], "layout": figure["layout"]}


def _trace(trace: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in trace.items():
        if not isinstance(value, list | tuple) or len(value) < _SHORT:
            found[key] = value
        elif key == "x" and all(isinstance(one, str) for one in value):
            found |= _times(value)
        else:
            found[key] = _numbers(value)
    return found


def _numbers(values: Sequence[Any]) -> Any:
    if all(value is None or isinstance(value, int | float) for value in values):
        return binary(values)
    if all(isinstance(row, list | tuple) for row in values):
        cells = [cell for row in values for cell in row]
        if all(cell is None or isinstance(cell, int | float) for cell in cells):
            return binary(cells, f"{len(values)}, {len(values[0])}")
    return values


def _times(values: Sequence[str]) -> dict[str, Any]:
    """Return regular times as start and step, others in milliseconds since 1970."""
    try:
        stamps = [_stamp(value) for value in values]
    except ValueError:
        return {"x": values}
    step = stamps[1] - stamps[0]
    if stamps == list(range(stamps[0], stamps[0] + step * len(stamps), step)) if step > 0 else False:
        return {"x0": values[0], "dx": step}
    return {"x": binary(stamps)}


def _stamp(written: str) -> int:
    """Milliseconds since 1970 of a moment as `figures.written_as` writes it."""
    day = moment_of(written[:10].replace("-", ""))
    hour, minute = int(written[11:13] or 0), int(written[14:16] or 0)
    if written != written_as(day.replace(hour=hour, minute=minute))[: len(written)]:
        raise ValueError(written)
    return round(day.replace(tzinfo=UTC).timestamp() * 1000) + (hour * 60 + minute) * 60_000


# -- tables ---------------------------------------------------------------------------------------------------


def table_json(table: FigureTable) -> list[dict[str, Any]]:
    """Return the columns of a table: name, kind, unit, values."""
    return [
        {"name": column.name, "kind": column.kind, "unit": column.unit, "values": _column(column)}
        for column in table.columns
    ]


def _column(column: FigureColumn) -> dict[str, Any]:
    values = column.values
    if isinstance(values, ScaledNumbers):
        return _typed("i2", values.steps) | {"scale": values.scale}
    if isinstance(values, CodedWords):
        return {"words": list(values.words), "codes": _typed("i1", values.codes)}
    if column.kind in _UNITS:
        return _table_times([str(value) for value in values], _UNITS[column.kind])
    if column.kind == "number":
        return binary([None if value is None else float(value) for value in values])
    places: dict[str, int] = {}
    codes = [-1 if value is None else places.setdefault(str(value), len(places)) for value in values]
    return {"words": list(places), "codes": binary(codes)}


def _table_times(labels: Sequence[str], unit: int) -> dict[str, Any]:
    units = [round(moment_of(label).replace(tzinfo=UTC).timestamp() * 1000) // unit for label in labels]
    if units and units == list(range(units[0], units[0] + len(units))):
        return {"unit": unit, "start": units[0], "count": len(units)}
    return {"unit": unit, "units": binary(units)}
