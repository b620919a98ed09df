"""PURE. The types of columns: how a schema spells them, and which kind of value each means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

ValueKind = Literal["integer", "decimal", "boolean", "date", "timestamp", "text"]

_WORDS: Final[Mapping[ValueKind, str]] = {
    "integer": "int integer bigint long int64 int32 int16 smallint tinyint short byte",
    "decimal": "decimal numeric money smallmoney double float real number currency",
    "boolean": "bool boolean bit",
    "date": "date",
    "timestamp": "datetime datetime2 timestamp smalldatetime datetimeoffset",
    "text": "string text char nchar varchar nvarchar guid uuid uniqueidentifier xml",
}
"""How types are spelled in SQL Server, in .NET and in JSON Schema: what the vendor's documents mix."""

_KINDS: Final[Mapping[str, ValueKind]] = {word: kind for kind, words in _WORDS.items() for word in words.split()}

KINDS: Final[tuple[ValueKind, ...]] = get_args(ValueKind)


def kind_of(declared: str) -> ValueKind | None:
    """The kind of a type as a schema spells it: `decimal(28, 8)`, `System.Int32`, `nvarchar(max)`; None: unknown."""
    word = re.sub(r"\(.*|\[.*", "", declared).strip().rpartition(".")[2].casefold()
    return _KINDS.get(word)
