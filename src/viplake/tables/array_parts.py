"""I/O. Cuts a large JSON array into several files, because DuckDB reads one array with one thread.

A cut needs no search of the whole file: it is made where a record seems to end and the next one to begin. A cut within
a text or within a record leaves a part that is no JSON. So parts that DuckDB can read hold exactly the records of the
file, and where it cannot read them, the file itself is read.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from viplake.tables.staged import Staged

PART: Final = 32 << 20
"""Bytes of a part: as many as a buffer of DuckDB has."""

_BLOCK: Final = 1 << 20

_FIRST: Final = re.compile(rb'\s*\[\s*(\{\s*"[^"\\]{1,200}")')
"""The beginning of an array of records, and in it that of the first record, up to its first member."""


def parts(file: Staged) -> list[Staged]:
    """Write the parts of a large array beside it, and return them; return any other file as it is."""
    if file.form != "array" or file.unfolded < 2 * PART or file.path.suffix == ".gz":
        return [file]
    with file.path.open("rb") as source:
        begins = _FIRST.match(source.read(_BLOCK))
        if begins is None:
            return [file]
        cut = re.compile(rb"\}(\s*,\s*)" + re.escape(begins[1]))
        source.seek(0)
        return [replace(file, path=part) for part in _parts(source, cut, file.path)]


def _parts(source: BinaryIO, cut: re.Pattern[bytes], path: Path) -> Iterator[Path]:
    number, block = 0, source.read(_BLOCK)
    while block:
        part = path.with_name(f"{path.name}.{number:04d}.part")
        with part.open("wb") as target:
            size, found = target.write(b"[" if number else b""), None
            while block and found is None:
                found = cut.search(block) if size >= PART else None
                size += target.write(block if found is None else block[: found.start(1)] + b"]")
                block = source.read(_BLOCK) if found is None else block[found.end(1) :]
        yield part
        number += 1
