"""PURE. Column types: how schemas spell them, the kind of value each means, and the SQL that converts a text.

Values come as text and each is converted: reading them as typed columns stops at the first bad value, or turns all bad
ones into nulls. The SQL is DuckDB's; `content.spark_sql` translates it for Spark.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

ValueKind = Literal["integer", "decimal", "double", "boolean", "date", "timestamp", "text"]

_WORDS: Final[Mapping[ValueKind, str]] = {
    "integer": "int integer bigint long int64 int32 int16 smallint tinyint short byte",
    "decimal": "decimal dec numeric money smallmoney currency",
    "double": "double float real number single",
    "boolean": "bool boolean bit",
    "date": "date",
    "timestamp": "datetime datetime2 timestamp smalldatetime datetimeoffset",
    "text": "string text char nchar varchar nvarchar guid uuid uniqueidentifier xml",
}
"""How types are spelled in SQL Server, in .NET and in JSON Schema: what the vendor's documents mix."""

_KINDS: Final[Mapping[str, ValueKind]] = {word: kind for kind, words in _WORDS.items() for word in words.split()}


_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "tinyint": (0, 255), "byte": (0, 255), "smallint": (-(2**15), 2**15 - 1), "short": (-(2**15), 2**15 - 1),
    "int16": (-(2**15), 2**15 - 1), "int": (-(2**31), 2**31 - 1), "int32": (-(2**31), 2**31 - 1),
}  # fmt: skip
"""Of SQL Server and .NET; what is not here has 64 bits."""

_MONEY: Final[Mapping[str, tuple[int, int]]] = {"money": (19, 4), "smallmoney": (10, 4)}

MOST_DIGITS: Final = 38
"""Of a decimal, in DuckDB and in Spark."""

_UNSIZED: Final = (38, 10)
"""Precision and scale of a decimal without them in the schema."""

_DECLARED: Final = re.compile(
    r"\s*\[?(?P<word>[\w.]+)\]?\s*(?:\(\s*(?P<size>\d{1,9}|max)\s*(?:,\s*(?P<scale>\d{1,9})\s*)?\))?.*",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A column type against which values are checked.

    Attributes:
        kind: of value.
        precision, scale: of a decimal; scale None where the schema has none: then any number fits.
        least, most: of an integer.
        length: characters of a text at most; None: any number of them.
    """

    kind: ValueKind
    precision: int = 0
    scale: int | None = None
    least: int = -(2**63)
    most: int = 2**63 - 1
    length: int | None = None

    @property
    def digits(self) -> tuple[int, int]:
        """Precision and scale of a decimal, as an engine declares it."""
        return _UNSIZED if self.scale is None else (self.precision, self.scale)

    @property
    def sized(self) -> bool:
        """Whether a value of this kind can exceed the declared size."""
        return self.scale is not None or self.length is not None or self.most < 2**63 - 1

    @property
    def sql(self) -> str:
        """The type as DuckDB writes it."""
        return {
            "integer": "bigint",
            "decimal": "decimal({}, {})".format(*self.digits),
            "text": "varchar",
        }.get(self.kind, self.kind)


TEXT: Final = ColumnType("text")


def kind_of(declared: str) -> ValueKind | None:
    """Return the kind of a type by its spelling: `decimal(28, 8)`, `System.Int32`, `nvarchar(max)`; None: unknown."""
    found = type_of(declared)
    return None if found is None else found.kind


@lru_cache(maxsize=4096)
def type_of(declared: str) -> ColumnType | None:
    """Return the type for a spelling of a schema; None where it is unknown."""
    match = _DECLARED.fullmatch(declared)
    word = match["word"].rpartition(".")[2].lower() if match else ""
    kind = _KINDS.get(word)
    if match is None or kind is None:
        return None
    size = int(match["size"]) if match["size"] and match["size"].isdigit() else None
    if word == "number" and size:  # of Oracle; that of JSON Schema has no size
        kind = "decimal"
    if kind == "integer":
        least, most = _RANGES.get(word, (-(2**63), 2**63 - 1))
        return ColumnType(kind, least=least, most=most)
    if kind == "text":
        return ColumnType(kind, length=size or None)
    if kind == "decimal":
        precision, scale = _MONEY.get(word, (size, int(match["scale"] or 0) if size else None))
        if precision is not None and scale is not None and scale <= min(precision, MOST_DIGITS):
            return ColumnType(kind, precision=min(precision, MOST_DIGITS), scale=scale)
    return ColumnType(kind)


def widened(one: ColumnType, other: ColumnType) -> ColumnType:
    """Return the type that holds the values of both; text where no other does."""
    if one == other:
        return one
    kinds = {one.kind, other.kind}
    if kinds == {"integer"}:
        return ColumnType("integer", least=min(one.least, other.least), most=max(one.most, other.most))
    if kinds == {"date", "timestamp"}:
        return ColumnType("timestamp")
    if kinds <= {"integer", "decimal"}:
        digits = [(19, 0) if each.kind == "integer" else each.digits for each in (one, other)]
        scale = max(scale for _, scale in digits)
        precision = max(whole - part for whole, part in digits) + scale
        return ColumnType("decimal", precision, scale) if precision <= MOST_DIGITS else ColumnType("double")
    return ColumnType("double") if kinds <= {"integer", "decimal", "double"} else TEXT


# -- trying a text --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trial:
    """SQL that converts a text to a type, in two steps, because an engine repeats an expression for each use.

    Attributes:
        tried: expressions over the text, by name.
        value: over these names: the value, null where it is none.
        fits: over these names: whether it can be read as the kind; null counts as no.
        beyond: over the text and these names: whether what can be read is beyond the declared size; None: never.
    """

    tried: Mapping[str, str]
    value: str
    fits: str
    beyond: str | None = None


_RANGE: Final = {
    "double": ("-1.7e308", "1.7e308"),
    "date": ("date '0001-01-01'", "date '9999-12-31'"),
    "timestamp": ("timestamp '0001-01-01 00:00:00'", "timestamp '9999-12-31 23:59:59.999999'"),
}
"""A cast takes `NaN`, `Infinity` and the year 200000, which no column could hold."""


def trial(cell: str, of: ColumnType, length: str | None = None) -> Trial:
    """Return the SQL that converts a column of text.

    Args:
        cell: its name; those of `tried` begin with it.
        of: the type.
        length: SQL of the most characters of a text; None: that of the type.
    """

    def cast(kind: str) -> str:
        expression = f"try_cast({cell} as {kind})"
        # A cast also takes `1_000`, which no JSON writes and no other engine reads.
        return f"case when not contains({cell}, '_') then {expression} end" if of.kind in _NUMBERS else expression

    value = f"{cell}_{of.kind}"
    if of.kind == "text":
        most = length or (None if of.length is None else str(of.length))
        return Trial({}, cell, f"{cell} is not null", None if most is None else f"length({cell}) > {most}")
    if of.kind == "integer":
        # A cast of 1.5 to an integer rounds instead of failing, and a double would round 9007199254740993.
        tried = {value: cast("bigint"), f"{value}_exact": cast("decimal(38, 18)")}
        fits = f"{value} = {value}_exact"
        narrow = f"{value} not between {of.least} and {of.most}" if of.sized else None
        return Trial(tried, f"case when {fits} then {value} end", fits, narrow)
    if of.kind == "decimal":
        precision, scale = of.digits
        wide = f"decimal({MOST_DIGITS}, {MOST_DIGITS - precision + scale})"
        if of.scale is None:
            return Trial({value: cast(wide)}, value, f"{value} is not null")
        large = f"case when try_cast({cell} as {wide}) is null then {cast('double')} end"
        tried = {value: cast(wide), f"{value}_large": large}
        least, most = _RANGE["double"]
        fits = f"({value} is not null or {value}_large between {least} and {most})"
        tried[f"{value}_exact"] = cast(f"decimal({precision}, {scale})")
        # A cast of 1.2e18 to decimal(18, 0) gives a number of 19 digits, and comparing that one fails.
        same = f"case when {value} is not null then {value} = {value}_exact end"
        return Trial(tried, value, fits, f"not coalesce({same}, false)")
    least, most = _RANGE.get(of.kind, ("", ""))
    fits = f"{value} between {least} and {most}" if least else f"{value} is not null"
    return Trial({value: cast(of.kind)}, f"case when {fits} then {value} end" if least else value, fits)


@dataclass(frozen=True, slots=True)
class Plain:
    """SQL for a text that is spelled as its type is.

    Attributes:
        sql: over the text: the value; null where it is none.
        fits: over the text and the value: `trial` would find this very value, and that it fits; else false or null.
    """

    sql: str
    fits: str


def plain(cell: str, value: str, of: ColumnType) -> Plain:
    """Return the SQL that converts a column of text as long as its values are spelled as exports spell them.

    A value that is not is left to `trial`, which takes several times as long.

    Args:
        cell: name of the column.
        value: name of the converted value, in `fits`.
        of: the type; not text.
    """
    if of.kind == "integer":
        narrow = f" and {value} between {of.least} and {of.most}" if of.sized else ""
        return Plain(f"try_cast({cell} as bigint)", f"cast({value} as varchar) = {cell}{narrow}")
    if of.kind == "decimal":
        # The value has all digits of the scale: where the text begins it, none was rounded.
        precision, scale = of.digits
        return Plain(
            f"try_cast({cell} as decimal({precision}, {scale}))", f"starts_with(cast({value} as varchar), {cell})"
        )
    if of.kind == "timestamp":
        # `2022-05-10T13:14:15`, with `Z` or a fraction: without one of the zones that a cast of a timestamp drops.
        least, most = _RANGE["timestamp"]
        fraction = f"contains({cell}, '.') and not contains({cell}, '+') and not {cell} like '%-%-%-%'"
        end = f"(strlen({cell}) = 19 or strlen({cell}) = 20 and suffix({cell}, 'Z') or {fraction})"
        fits = f"{cell} like '____-__-_____:__:__%' and {end} and {value} between {least} and {most}"
        return Plain(f"try_cast({cell} as timestamp)", fits)
    least, most = _RANGE.get(of.kind, ("", ""))
    fits = f"{value} between {least} and {most}" if least else f"{value} is not null"
    if of.kind == "double":
        fits += f" and not contains({cell}, '_')"
    return Plain(f"try_cast({cell} as {of.kind})", fits)


_NUMBERS: Final = frozenset({"integer", "decimal", "double"})


def checks(cell: str, of: ColumnType, length: str | None = None) -> tuple[str, str]:
    """Return SQL over a text: whether it has the kind, and whether it exceeds the declared size."""
    found = trial(cell, of, length)
    fits, beyond = f"coalesce({found.fits}, false)", found.beyond or "false"
    for name in sorted(found.tried, key=len, reverse=True):
        fits, beyond = (re.sub(rf"\b{name}\b", f"({found.tried[name]})", sql) for sql in (fits, beyond))
    return fits, f"coalesce({beyond}, false)"


def typed(cell: str, of: ColumnType) -> str:
    """Return SQL that converts a text to its type; null where it cannot."""
    if of.kind == "text":
        return cell
    plain = f"try_cast({cell} as {of.sql})"
    if of.kind == "timestamp":
        plain = f"cast(try_cast({cell} as timestamptz) as timestamp)"  # which alone would drop the zone
    return f"case when {checks(cell, of)[0]} then {plain} end"
