"""Table files for the tests of content: records in every shape that files come in, and files that are none."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import Any

ROWS: list[dict[str, Any]] = [{"a": number, "b": f"x{number}"} for number in range(3000)]
ARRAY = json.dumps(ROWS).encode()
LINES = b"\n".join(json.dumps(row).encode() for row in ROWS) + b"\n"
BOM = b"\xef\xbb\xbf"
MEMBER = gzip.compress(LINES, mtime=0)

# RFC 1952: FLG = FCOMMENT, a comment behind the header. DuckDB refuses it.
COMMENTED = b"\x1f\x8b\x08\x10\0\0\0\0\0\xff" + b"a comment\0" + MEMBER[10:]


def flipped(data: bytes, at: int) -> bytes:
    """The same with one bit of a byte turned round."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


READABLE: dict[str, tuple[bytes, int]] = {
    "array.json": (ARRAY, 3000),
    "array.json.gz": (gzip.compress(ARRAY, mtime=0), 3000),
    "lines.json": (LINES, 3000),
    "lines.json.gz": (MEMBER, 3000),
    "members.json.gz": (MEMBER + gzip.compress(LINES, mtime=0), 6000),
    "no_last_newline.json": (LINES[:-1], 3000),
    "bom_array.json": (BOM + ARRAY, 3000),
    "bom_lines.json.gz": (gzip.compress(BOM + LINES, mtime=0), 3000),
    "not_compressed.json.gz": (ARRAY, 3000),
    "commented.json.gz": (COMMENTED, 3000),
    "zeros_behind.json.gz": (MEMBER + bytes(512), 3000),
    "pretty.json": (b'{\n "a": 1,\n "b": "x"\n}\n{\n "a": 2\n}', 2),
    "space_before.json": (b" \n" * 40 + ARRAY, 3000),
    "no_records.json": (b"[]", 0),
    "no_records.json.gz": (gzip.compress(b"[]", mtime=0), 0),
    "large_numbers.json": (b'[{"a":' + b"9" * 5000 + b',"b":1e999},{"a":123456789012345678901234567890}]', 2),
    "nested.json": (b'[{"a":{"x":[1,2]},"b":[1]}]', 1),
    "unicode.json": ('[{"a":1,"b":"Sète \u2028 \U0001f6a2"}]'.encode(), 1),
}
"""Files that can be read, and how many records each has."""


@dataclass(frozen=True)
class Bad:
    """An unreadable file: its bytes, the expected reason, and the byte position (None: unknown)."""

    data: bytes
    words: str
    byte: int | None
    kind: str = "unreadable_file"


UNREADABLE: dict[str, Bad] = {
    "cut.json.gz": Bad(MEMBER[:-600], "end too early", len(MEMBER) - 600),
    "cut_header.json.gz": Bad(MEMBER[:6], "end too early", 6),
    "checksum.json.gz": Bad(flipped(MEMBER, len(MEMBER) - 6), "checksum", len(MEMBER) - 5),
    "second_member.json.gz": Bad(MEMBER + flipped(MEMBER, len(MEMBER) - 6), "checksum", 2 * len(MEMBER) - 5),
    "something_behind.json.gz": Bad(MEMBER + b"oops", "no gzip", len(MEMBER)),
    "empty.json": Bad(b"", "nothing in it", 0, "empty_file"),
    "empty.json.gz": Bad(gzip.compress(b"", mtime=0), "nothing in it", 0, "empty_file"),
    "spaces.json": Bad(b" \r\n\t\n", "nothing in it", 0, "empty_file"),
    "page.json": Bad(b"<!DOCTYPE html><html><body>Sign in</body></html>", "HTML", 0),
    "utf16.json": Bad(ARRAY.decode().encode("utf-16"), "UTF-16", 0),
    "text.json.gz": Bad(gzip.compress(b"oops", mtime=0), "begins with", 0),
    "cut_array.json": Bad(ARRAY[:-500], "end of data", len(ARRAY) - 500),
    "cut_line.json": Bad(LINES[:-6], "end of data", LINES.rindex(b'"x2999')),
    "colon.json": Bad(ARRAY.replace(b'{"a": 1500,', b'{"a" 1500,'), "in record 1501:", ARRAY.index(b'{"a": 1500,') + 5),
    "colon_line.json": Bad(
        LINES.replace(b'{"a": 1500,', b'{"a" 1500,'), "in record 1501:", LINES.index(b'{"a": 1500,') + 5
    ),
    "not_utf8.json": Bad(b'[{"a": 1}, {"b": "\xff\xfe"}]', "in record 2: invalid UTF-8", 18),
    "behind.json": Bad(ARRAY + b"garbage", "in record", len(ARRAY)),
    "half_character.json": Bad(b'[{"a": "\\ud800"}]', "in record 1: no low surrogate", None),
    "member_twice.json": Bad(b'[{"a": 1, "a": 2}]', "'a' twice, in record 1", None),
    "no_object.json": Bad(b'[1, 2, {"a": 1}]', "no record", None),
}
"""Files that cannot."""


def table_schema(*columns: str, table: str = "T", key: tuple[str, ...] = ()) -> bytes:
    """A `_MasterTableSchema.json` of one table; columns as `name type`."""
    entries = [
        {"Name": name, "Type": kind, "IsKey": name in key}
        for name, _, kind in (column.partition(" ") for column in columns)
    ]
    return json.dumps([{"DataObjectName": table, "Columns": entries}]).encode()
