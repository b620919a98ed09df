"""PURE. Figures and tables as small JSON: numbers as base64 of typed arrays, times as start and step.

A quarter of a year of 45 tables by the hour is 100,000 cells a matrix; as plain JSON the page would be several times
its size. `unpack` in `templates/page.js` is the other half. Everything packed is an object with the one key `$`.

- `{"$": "n", "t": "i1" | "i2" | "i4" | "f8", "d": base64}`: numbers, little-endian; no value is the lowest
  number of an integer type, and NaN.
- `{"$": "t", "u": milliseconds, "s": start, "n": count}`: regular times, `s` in units of `u` since 1970;
  with `"d"`: numbers as above instead of `s` and `n`.
- `{"$": "w", "w": [words], "c": packed numbers}`: texts, as places in a list of words.
"""

from __future__ import annotations

import array
import base64
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viplake.report.tables import FigureColumn, FigureTable

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_INTEGERS: Final = (("i1", "b", 2**7), ("i2", "h", 2**15), ("i4", "i", 2**31))
_SHORT: Final = 16
"""Lists below this length stay as they are."""

_DATE_TIME: Final = "%Y-%m-%d %H:%M"
_DATE: Final = "%Y-%m-%d"


def dumps(value: Any) -> str:
    """JSON that may stand in a `<script>`: nothing in it can end the element or begin another."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def pack_table(table: FigureTable) -> list[dict[str, Any]]:
    """The table's columns: name, kind, unit, values."""
    return [
        {"name": column.name, "kind": column.kind, "unit": column.unit, "values": _pack_column(column)}
        for column in table.columns
    ]


def pack_figure(value: Any) -> Any:
    """Plotly's JSON of a figure, every long list in it packed."""
    if isinstance(value, dict):
        return {
            key: (key == "x" and isinstance(inner, list | tuple) and _pack_dates(inner)) or pack_figure(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return _pack_list(value)
    return value


def _pack_list(values: Sequence[Any]) -> Any:
    if len(values) < _SHORT or any(isinstance(value, dict | list | tuple | bool) for value in values):
        return [pack_figure(value) for value in values]
    if all(value is None or isinstance(value, int | float) for value in values):
        return pack_numbers(values)
    if all(value is None or isinstance(value, str) for value in values):
        return pack_words(values)
    return list(values)


def pack_numbers(values: Sequence[float | None]) -> dict[str, Any]:
    """Numbers in the smallest type that holds them all exactly."""
    present = [value for value in values if value is not None]
    if all(float(value).is_integer() for value in present):
        low, high = min(present, default=0), max(present, default=0)
        for name, code, bound in _INTEGERS:
            if -bound < low and high < bound:
                return _typed(name, array.array(code, [-bound if value is None else int(value) for value in values]))
    return _typed("f8", array.array("d", [float("nan") if value is None else float(value) for value in values]))


def pack_words(values: Sequence[str | None]) -> dict[str, Any]:
    """Texts, each different one once."""
    places: dict[str, int] = {}
    codes = [None if value is None else places.setdefault(value, len(places)) for value in values]
    return {"$": "w", "w": list(places), "c": pack_numbers(codes)}


def _pack_column(column: FigureColumn) -> dict[str, Any]:
    if column.kind == "number":
        return pack_numbers([None if value is None else float(value) for value in column.values])
    if column.kind == "text":
        return pack_words([None if value is None else str(value) for value in column.values])
    form, unit = ("%Y%m%d-%H", _HOUR_MS) if column.kind == "hour" else ("%Y%m%d", _DAY_MS)
    return _pack_times([_milliseconds(str(value), form) // unit for value in column.values], unit)


def _pack_dates(values: Sequence[str | None]) -> dict[str, Any] | None:
    """The times that all of the texts are, by the hour or the day; None where one is not, or there are few."""
    if len(values) < _SHORT:
        return None
    for form, unit in ((_DATE_TIME, _HOUR_MS), (_DATE, _DAY_MS)):
        try:
            stamps = [_milliseconds(str(value), form) for value in values]
        except ValueError:
            continue
        if not any(stamp % unit for stamp in stamps):
            return _pack_times([stamp // unit for stamp in stamps], unit)
    return None


def _pack_times(units: Sequence[int], unit: int) -> dict[str, Any]:
    if units and units == list(range(units[0], units[0] + len(units))):
        return {"$": "t", "u": unit, "s": units[0], "n": len(units)}
    return {"$": "t", "u": unit, "d": pack_numbers(units)}


def _milliseconds(text: str, form: str) -> int:
    return int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()) * 1000


def _typed(name: str, numbers: array.array[Any]) -> dict[str, Any]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return {"$": "n", "t": name, "d": base64.b64encode(numbers.tobytes()).decode("ascii")}
