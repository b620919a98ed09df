"""I/O. The answer to a query: its rows as text, exactly, and as CSV, JSON or Parquet.

The whole answer is in DuckDB's hands when this begins, in memory or beside it on disk: what is written is written of
an answer that is known, and no error comes in its middle.
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from viplake.errors import SettingsError
from viplake.tables import duck

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import TextIO

    from duckdb import DuckDBPyConnection, DuckDBPyRelation

    from viplake.model import Hour

SCHEMA: Final = "temporary"
"""Of the answer: what a query sees is the other one, so that `show tables` lists no table of ours."""

TABLE: Final = f"{SCHEMA}.answer"
"""Where the answer is."""

_BATCH: Final = 1000
_INTEGERS: Final = re.compile(r"U?(?:TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)")
_FLOATS: Final = frozenset({"DOUBLE", "FLOAT"})
_NESTED: Final = re.compile(r"(?:STRUCT|MAP|UNION)\(.*|.*\[\d*\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of the answer: its name, and its type as DuckDB writes it."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The result of a query.

    Attributes:
        connection: of DuckDB; the result is in `TABLE`.
        hours: that the query read, ascending; empty if it read none.
        columns: in order; names are unique.
        count: number of rows.
    """

    connection: DuckDBPyConnection
    hours: tuple[Hour, ...]
    columns: tuple[ResultColumn, ...]
    count: int

    @classmethod
    def of(cls, connection: DuckDBPyConnection, hours: tuple[Hour, ...]) -> QueryResult:
        """Return the result that is in `TABLE`."""
        described = connection.execute(f"describe {TABLE}").fetchall()
        count = connection.execute(f"select count(*) from {TABLE}").fetchall()[0][0]  # noqa: S608 - our own name
        return cls(
            connection, hours, tuple(ResultColumn(str(name), str(type_)) for name, type_, *_ in described), int(count)
        )

    def rows(self, most: int | None = None) -> Iterator[tuple[str | None, ...]]:
        """The rows as text: numbers exactly, times in ISO 8601 (UTC where they have a zone), nested values as JSON.

        Args:
            most: as many at most; None: all.
        """
        cells = ", ".join(_text(duck.named(column.name), column.type) for column in self.columns)
        limit = "" if most is None else f" limit {most}"
        found = self.connection.execute(f"select {cells} from {TABLE}{limit}")  # noqa: S608 - quoted
        while batch := found.fetchmany(_BATCH):
            yield from batch

    def relation(self) -> DuckDBPyRelation:
        """All rows, typed, as DuckDB hands them on to pandas or Arrow."""
        return self.connection.table(TABLE)

    def write_csv(self, out: TextIO) -> None:
        r"""All rows, quoted as RFC 4180 says, lines ended by `\n`; null is empty, an empty text is `""`."""
        out.write(",".join(_csv(column.name) for column in self.columns) + "\n")
        for row in self.rows():
            cells = [_csv(value) for value in row]
            out.write((",".join(cells) or '""') + "\n")  # an empty line would be no row

    def write_json(self, out: TextIO, head: Mapping[str, Any]) -> None:
        """One object: what `head` holds, the Hours, the columns and all rows, a line each."""
        columns = [{"name": column.name, "type": column.type} for column in self.columns]
        first = {**head, "hours": [str(hour) for hour in self.hours], "columns": columns}
        out.write(json.dumps(first, ensure_ascii=False)[:-1] + ', "rows": [')
        between = "\n"
        for row in self.rows():
            record = {c.name: _json(value, c.type) for c, value in zip(self.columns, row, strict=True)}
            out.write(between + json.dumps(record, ensure_ascii=False, allow_nan=False))
            between = ",\n"
        out.write("\n]}\n")

    def write_parquet(self, file: Path) -> None:
        """All rows, over an older file, which stays as it is if this fails.

        Raises:
            SettingsError: it cannot be written.
        """
        import duckdb  # noqa: PLC0415 - 35 MB and 0.1 s that other commands do without

        cells = ", ".join(_kept(duck.named(column.name), column.type) for column in self.columns)
        rows = f"select {cells} from {TABLE}"  # noqa: S608 - quoted
        unfinished = being_written(file)
        try:
            into = duck.quoted(str(unfinished))
            self.connection.execute(f"copy ({rows}) to {into} (format parquet, compression zstd)")
            unfinished.replace(file)
        except (duckdb.Error, OSError) as error:
            unfinished.unlink(missing_ok=True)
            why = str(error).partition("\n")[0]
            raise SettingsError(f"cannot write {file}: {why}", hint="Choose another file with --parquet.") from None


def being_written(file: Path) -> Path:
    """Return the path of a file while it is written; the connection must be allowed to write there."""
    return file.with_name(f".{file.name}.{os.getpid()}.unfinished")


def _text(cell: str, type_: str) -> str:
    """Return a cell of the result as text."""
    if _NESTED.fullmatch(type_):
        return f"cast(to_json({cell}) as varchar)"
    if type_ == "TIMESTAMP WITH TIME ZONE":
        return f"regexp_replace(replace(cast({cell} as varchar), ' ', 'T'), '[+]00$', 'Z')"
    if type_.startswith("TIMESTAMP"):
        return f"replace(cast({cell} as varchar), ' ', 'T')"
    return f"cast({cell} as varchar)"


def _kept(cell: str, type_: str) -> str:
    """A cell as Parquet has it, which knows no HUGEINT: DuckDB would write the sum of a column as a DOUBLE."""
    return f"cast({cell} as decimal(38, 0)) as {cell}" if type_ in {"HUGEINT", "UHUGEINT"} else cell


def _csv(value: str | None) -> str:
    if value is None:
        return ""
    if not value or any(mark in value for mark in ',"\r\n'):
        return '"' + value.replace('"', '""') + '"'
    return value


def _json(text: str | None, type_: str) -> Any:
    """Return a value for JSON: decimals, dates and times as exact text; NaN and infinity as null."""
    if text is None:
        return None
    if _INTEGERS.fullmatch(type_):
        return int(text)
    if type_ in _FLOATS:
        return float(text) if math.isfinite(float(text)) else None
    if type_ == "BOOLEAN":
        return text == "true"
    return _nested(text) if type_ == "JSON" or _NESTED.fullmatch(type_) else text


def _nested(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):  # a number of 5,000 digits, or nested deeper than Python reads
        return text
