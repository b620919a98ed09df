"""PURE. JSON from outside, read so that nothing hostile or ambiguous gets past it.

The standard parser accepts NaN, lets the last of two equal members win, can be driven out of its stack, and hands out
half characters (lone surrogates), which no file and no terminal takes. Code that reads an answer of the vendor or a
record of a lake wants none of that: one `ValueError` says why.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

DEEPEST: Final = 100
"""Levels of lists and objects. What the parser itself bears depends on the stack at that moment, and code that walks
through a value afterwards (repr, a comparison, a copy) needs more of it than the parser did."""

LARGEST_COUNT: Final = 2**63 - 1
"""What a database, a Parquet file and a file system can count."""

_HALF: Final = re.compile(r"[\ud800-\udfff]")
_HALF_ESCAPED: Final = re.compile(r"\\u[dD][89a-fA-F]")


def loads(data: bytes, *, halves: bool = False) -> Any:
    """The value in `data`: UTF-8, or UTF-16/32 recognized by its first bytes, with or without a BOM.

    Args:
        data: the JSON.
        halves: leave half characters in its texts: the caller deals with them.

    Raises:
        ValueError: it is no JSON, holds a member twice, NaN or an infinite number, a number of thousands of
            digits, half a character, or is nested too deep.
    """
    try:
        text = data.decode(json.detect_encoding(data))
        value = json.loads(
            text.removeprefix("\ufeff"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise ValueError("nested too deep") from None
    suspicious = not halves and _HALF_ESCAPED.search(text) is not None
    if suspicious or text.count("[") + text.count("{") > DEEPEST:
        _walk(value, halves=not suspicious)
    return value


def dumps(value: Any, *, default: Callable[[Any], Any] | None = None) -> bytes:
    """UTF-8 JSON for a record: indented by one, a final newline, the same bytes for the same value.

    Args:
        value: what is written.
        default: makes of any value that JSON does not know one that it knows.
    """
    return (json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False, default=default) + "\n").encode()


def text_of(value: Any) -> str:
    """The value, which must be text.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} in place of text")
    return value


def count_of(value: Any) -> int:
    """The value, which must be a whole number from 0 on, or its digits.

    Raises:
        TypeError, ValueError: it is none, or more than 63 bits hold.
    """
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,19}", value) else value
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{type(value).__name__} in place of a count")
    if not 0 <= number <= LARGEST_COUNT:
        raise ValueError("a count below 0 or of more than 63 bits")
    return number


def _walk(value: Any, *, halves: bool) -> None:
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict | list):
                if depth == DEEPEST:
                    raise ValueError("nested too deep")
                below += one
                below += one.values() if isinstance(one, dict) else ()
            elif not halves and isinstance(one, str) and _HALF.search(one):
                raise ValueError("half a character")
        level, depth = below, depth + 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a member is in one object twice")
    return result


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number
