"""PURE. The questions of `profiling` in Spark's SQL.

`sqlglot` translates DuckDB's SQL. It cannot translate what counts as a number or a time: Spark reads
`1d` as a number and `2022-05` as a day, DuckDB reads `2022/5/1` as one. So each `try_cast(c0 as double)` becomes a
column `c0_double` of the records, made by an expression that accepts what DuckDB accepts (tests give both the same
thousands of texts). That also converts each value once, where the SQL names it five times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlglot import exp

# The grammars of DuckDB's casts from text, as regular expressions of Java's; digits and spaces are ASCII's alone.
_SPACE: Final = r"[ \t\n\x0B\f\r]*"
_DIGITS: Final = r"[0-9]+(?:_[0-9]+)*"
_NUMBER: Final = rf"{_SPACE}\+?-?(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?{_SPACE}"
_EXACT: Final = _NUMBER.replace(r"\+?-?", "[+-]?")
_TRUTH: Final = "[A-Za-z01]+"  # the words are the same, but Spark takes them with spaces around too
_DAY: Final = rf"{_SPACE}0*([0-9]{{1,4}})([-/ \\])([0-9]{{1,2}})\2([0-9]{{1,2}})"
_CLOCK: Final = rf"[ T]{_SPACE}0*([0-9]{{1,2}}):(?:([0-9]{{1,2}})(?::(?:([0-9]{{1,2}})(?:\.([0-9]*))?)?)?)?"
_ZONE: Final = rf"(?:Z|[+-][0-9]{{2}}(?::?[0-9]{{2}}(?::?[0-9]{{2}})?)?| [^ \t\n\x0B\f\r]*){_SPACE}"
_TIME: Final = rf"{_DAY}(?:{_CLOCK}(?:{_ZONE})?)?"
_BEGINS: Final = rf"\A{_TIME}"
_ONLY_DAY: Final = rf"{_DAY}{_SPACE}"
_EPOCH: Final = rf"{_SPACE}(?i:epoch){_SPACE}"
# As nearly every value is written: read without a second look.
_ISO_DAY: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_ISO_TIME: Final = rf"{_ISO_DAY}[ T](?:[01][0-9]|2[0-3]):[0-9]{{2}}:[0-9]{{2}}(?:\.[0-9]+)?Z?"


def _literal(text: str) -> str:
    """Quote a text for Spark's SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _whole(cell: str, pattern: str) -> str:
    return f"{cell} rlike " + _literal(rf"\A(?:{pattern})\z")


def _part(cell: str, number: int) -> str:
    return f"regexp_extract({cell}, {_literal(_BEGINS)}, {number})"


def _padded(text: str, width: int) -> str:
    return f"lpad({text}, {width}, '0')"


def _number(cell: str) -> str:
    return f"case when {_whole(cell, _NUMBER)} then try_cast(translate({cell}, '_+', '') as double) end"


def _decimal(cell: str, kind: str = "decimal(38, 18)") -> str:
    return f"case when {_whole(cell, _EXACT)} then try_cast(translate({cell}, '_+', '') as {kind}) end"


def _integer(cell: str) -> str:
    return f"try_cast(round({_decimal(cell)}, 0) as bigint)"


def _truth(cell: str) -> str:
    return f"case when {_whole(cell, _TRUTH)} then try_cast({cell} as boolean) end"


def _day_of(cell: str) -> str:
    year, month, day = (_part(cell, number) for number in (1, 3, 4))
    return f"{_padded(year, 4)} || '-' || {_padded(month, 2)} || '-' || {_padded(day, 2)}"


def _time(cell: str) -> str:
    hour, minute, second, fraction = (_part(cell, number) for number in (5, 6, 7, 8))
    clock = f"{_padded(minute, 2)} || ':' || {_padded(second, 2)} || '.' || {fraction}"
    midnight = rf"{_DAY}[ T]{_SPACE}0*24:(?:0{{1,2}}(?::(?:0{{1,2}}(?:\.0*)?)?)?)?(?:{_ZONE})?"  # of the next day
    return (
        f"case when {_whole(cell, f'{_ISO_DAY}|{_ISO_TIME}')} then try_cast({cell} as timestamp_ntz)"
        f" when {_whole(cell, midnight)} then try_cast({_day_of(cell)} as timestamp_ntz) + interval '1' day"
        f" when {_whole(cell, _TIME)}"
        f" then try_cast({_day_of(cell)} || ' ' || {_padded(hour, 2)} || ':' || {clock} as timestamp_ntz)"
        f" when {_whole(cell, _EPOCH)} then timestamp_ntz'1970-01-01 00:00:00' end"
    )


def _date(cell: str) -> str:
    return (
        f"case when {_whole(cell, _ISO_DAY)} then try_cast({cell} as date)"
        f" when {_whole(cell, _ONLY_DAY)} or ({_time(cell)}) is not null and not {_whole(cell, _EPOCH)}"
        f" then try_cast({_day_of(cell)} as date)"
        f" when {_whole(cell, _EPOCH)} then date'1970-01-01' end"
    )


_TRIED: Final = {"double": _number, "bigint": _integer, "boolean": _truth, "date": _date, "timestamp": _time}


def tried(cell: str, kind: str) -> str:
    """Return Spark's expression for DuckDB's `try_cast(cell as kind)`, of the kinds in `tables.types`."""
    return _decimal(cell, kind) if kind.startswith("decimal") else _TRIED[kind](cell)


@dataclass(frozen=True, slots=True)
class SparkQuery:
    """A query in Spark's SQL.

    Attributes:
        sql: over `relation`.
        needs: the columns that it wants there besides `c0`, `c1`, ...: an expression by name.
    """

    sql: str
    needs: Mapping[str, str]


def in_spark(sql: str, relation: str) -> SparkQuery:
    """Return the SQL of `profiling` for Spark, over a relation of that name instead of `records`."""
    import sqlglot  # noqa: PLC0415 - of the extra `spark`, and 0.1 s that other commands do without
    from sqlglot import exp  # noqa: PLC0415 - as above

    needs: dict[str, str] = {}

    def turn(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Table) and node.name == "records":
            return exp.to_table(relation)
        if isinstance(node, exp.TryCast) and isinstance(node.this, exp.Column):
            kind = node.to.sql("duckdb").lower()
            name = f"{node.this.name}_" + re.sub(r"\W+", "_", kind).strip("_")
            needs[name] = tried(node.this.name, kind)
            return exp.column(name)
        return node

    return SparkQuery(sqlglot.parse_one(sql, read="duckdb").transform(turn).sql(dialect="spark"), needs)
