"""I/O. Repairs JSON that is valid but that an engine would misread; finds the byte at which JSON breaks.

DuckDB reads numbers as doubles or as integers of 64 bits: a decimal of twenty digits comes out as another one. So
where a file has a number with more digits than a double holds, all such numbers are quoted: as text they come exactly.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from isal import isal_zlib

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from viplake.tables.staged import Staged

LOCATED_UP_TO: Final = 64 << 20
"""Bytes of a file, unfolded, that are read again to find the very byte that is no JSON, or to join its arrays."""

_PIECE: Final = 1 << 20

_LONG: Final = 17
"""Characters of a number that may be more than a double holds: 15 digits fit (IEEE 754), 16 and a point may not."""

_DIGITS: Final = bytes(ord("0") if chr(code) in "0123456789." else ord(" ") for code in range(256))

_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|-?[0-9][0-9.eE+-]{%d,}' % (_LONG - 1), re.DOTALL)
"""A string of JSON, which may end with the block, or a number that is long."""


def has_long_number(data: bytes) -> bool:
    """Return whether JSON may hold a number with more digits than a double. Fast; long digits in a text count too.

    Every fourth byte is enough to see that there is none: so long a number covers four of them in a row.
    """
    return b"0000" in data[::4].translate(_DIGITS) and b"0" * _LONG in data.translate(_DIGITS)


def quote_long_numbers(path: Path) -> Path:
    """Write a JSON file again, uncompressed, with its long numbers as text; return its path."""
    target = path.with_name(f"{path.name.removesuffix('.gz')}.quoted.json")
    with target.open("wb") as out:
        rest = b""
        for block in blocks_of(path):
            data = rest + block
            end = _settled(data)
            out.write(_TOKEN.sub(_quoted, data[:end]))
            rest = data[end:]
        out.write(_TOKEN.sub(_quoted, rest))
    return target


def _settled(data: bytes) -> int:
    """Return where a block can be cut: not within a string or a number."""
    for match in _TOKEN.finditer(data):
        if match.end() == len(data):
            return match.start()
    return len(data.rstrip(b"-+.0123456789eE"))


def _quoted(match: re.Match[bytes]) -> bytes:
    return match[0] if match[0].startswith(b'"') else b'"' + match[0] + b'"'


def blocks_of(path: Path) -> Iterator[bytes]:
    """Yield a staged file in blocks, uncompressed."""
    if path.suffix == ".gz":
        import gzip  # noqa: PLC0415 - hardly a file is read this way

        with gzip.open(path, "rb") as packed:
            while block := packed.read(_PIECE):
                yield block
        return
    with path.open("rb") as plain:
        while block := plain.read(_PIECE):
            yield block


def _json_of(staged: Staged) -> bytes | None:
    """Return the JSON of a file as it was delivered; None where it is too long."""
    if staged.unfolded > LOCATED_UP_TO or staged.form in {"csv", "parquet"}:
        return None
    path = staged.raw or staged.path
    data = path.read_bytes()
    if path.suffix != ".gz":
        return data
    found = b""
    while data:  # one member after the other
        member = isal_zlib.decompressobj(wbits=31)
        found += member.decompress(data)
        data = member.unused_data
    return found


def bad_byte(staged: Staged) -> int | None:
    """Return the byte (from 0) at which JSON is invalid; None where it is valid, or too long to check.

    An engine tells a place within a record; a person wants a place in the file.
    """
    data = _json_of(staged)
    if data is None:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return error.start
    try:
        if staged.form == "array":
            json.loads(text, object_pairs_hook=_nothing)
            return None
        return _bad_line(text)
    except json.JSONDecodeError as error:
        return len(text[: error.pos].encode())
    except (RecursionError, ValueError):
        return None


def _bad_line(text: str) -> int | None:
    at = 0
    for line in text.split("\n"):
        try:
            if line.strip():
                json.loads(line, object_pairs_hook=_nothing)
        except json.JSONDecodeError as error:
            return len(text[: at + error.pos].encode())
        at += len(line) + 1
    return None


def joined_arrays(staged: Staged) -> bytes | None:
    """Return a file of several JSON arrays, one after the other, as one array; None for any other file."""
    data = _json_of(staged)
    if data is None or staged.form != "array":
        return None
    decoder = json.JSONDecoder(object_pairs_hook=_nothing)
    try:
        text = data.decode()
        parts, at = [], 0
        while (at := _past_space(text, at)) < len(text):
            value, end = decoder.raw_decode(text, at)
            if not isinstance(value, list):
                return None
            if value:
                parts.append(text[at + 1 : end - 1])
            at = end
    except (ValueError, RecursionError):
        return None
    return f"[{','.join(parts)}]".encode()


def _past_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _nothing(_: list[tuple[str, Any]]) -> None:
    """Discard a record: the parser only checks it."""
