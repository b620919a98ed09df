"""I/O. Counts the members of JSON records, and drops nulls among records, in flat memory whatever their width.

To list members, DuckDB builds the trees of up to two thousand records at once: for a thousand columns it needs more
than its memory. Here, only strings and brackets are looked at. So the JSON must be valid: DuckDB checks that before.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from viplake.tables.json_repair import blocks_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from viplake.tables.staged import Staged

_UP_TO_BRACKET: Final = re.compile(rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+[{}\[\]]', re.DOTALL)
"""JSON up to the next bracket that is in no string."""

_MEMBER: Final = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"\s*+:(?:\s*+"[^"\\]*+(?:\\.[^"\\]*+)*+")?+', re.DOTALL)
"""The name of a member of a record, and its value where that is a string."""

_SCALAR: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[^",\s]++', re.DOTALL)


@dataclass(slots=True)
class EntryCounts:
    """The entries of a JSON file.

    Attributes:
        members: how many records have each; a member that a record has twice counts twice.
        kinds: how many entries are of each type: `OBJECT`, `NULL`, `ARRAY` or `SCALAR`.
    """

    members: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)


def count_entries(file: Staged, most: int | None = None) -> EntryCounts:
    """Count the entries of a valid JSON file by type, and its records by member; `most`: of the first entries alone."""
    found, names = EntryCounts(), Counter[bytes]()
    outside = _outside(file)
    for depth, piece in _pieces(file.path):
        if depth == outside:
            found.kinds.update("NULL" if one == b"null" else "SCALAR" for one in _SCALAR.findall(piece.rstrip(b"{}[]")))
            if most is not None and found.kinds.total() >= most:
                break
            if piece.endswith((b"{", b"[")):
                found.kinds["OBJECT" if piece.endswith(b"{") else "ARRAY"] += 1
        elif depth == outside + 1:
            names.update(_MEMBER.findall(piece))
    for name, count in names.items():
        found.members[json.loads(b'"%b"' % name)] += count
    return found


def without_nulls(file: Staged) -> Staged:
    """Write a valid JSON file again, without the nulls that are in place of records."""
    target = file.path.with_name(f"{file.path.name.removesuffix('.gz')}.records.json")
    outside = _outside(file)
    with target.open("wb") as out:
        for depth, piece in _pieces(file.path):
            if depth > outside:
                out.write(piece)
                if depth == outside + 1 and piece.endswith(b"}"):
                    out.write(b"\n")
            elif piece.endswith(b"{"):
                out.write(b"{")
    form = "unstructured" if file.form == "array" else file.form  # a record of an array may have line ends inside
    return replace(file, path=target, form=form, raw=file.raw or file.path)


def _outside(file: Staged) -> int:
    """Return the depth of brackets between two records."""
    return 1 if file.form == "array" else 0


def _pieces(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield JSON up to each bracket, and the rest; each piece with the number of brackets that are open before it."""
    depth, rest, grown = 0, b"", b""
    for block in blocks_of(path):
        grown += block
        if len(grown) < len(rest):  # a long string: looked at again only when it has doubled
            continue
        data, at = rest + grown, 0
        while (match := _UP_TO_BRACKET.match(data, at)) is not None:
            at = match.end()
            yield depth, match[0]
            depth += 1 if data[at - 1] in b"{[" else -1
        rest, grown = data[at:], b""
    yield depth, rest + grown
