"""PURE. JSON from outside, read so that nothing hostile or ambiguous gets past it.

The standard parser accepts NaN, lets the last of two equal members win, and can be driven out of its stack.
Whoever reads an answer of the vendor or a record of a lake wants none of that: one `ValueError` says why.
"""

from __future__ import annotations

import json
import math
from typing import Any


def loads(data: bytes) -> Any:
    """The value in `data`: UTF-8, or UTF-16/32 told by its first bytes, with or without a BOM.

    Raises:
        ValueError: it is no JSON, holds a member twice, NaN or an infinite number, a number of thousands of
            digits, or is nested too deep.
    """
    try:
        text = data.decode(json.detect_encoding(data))
        return json.loads(
            text.removeprefix("\ufeff"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise ValueError("nested too deep") from None


def dumps(value: Any) -> bytes:
    """UTF-8 JSON for a record: indented by one, a final newline, the same bytes for the same value."""
    return (json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a member stands twice in one object")
    return result


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number
