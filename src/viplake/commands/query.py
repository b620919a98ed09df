"""I/O. `viplake query`: SQL over the tables and the history."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from viplake.commands.assembly import history_location, on_lake, tables_to_query
from viplake.commands.console import err, out, printable, table, warn
from viplake.commands.options import FLAG, NO_OPTIONS, NO_WINDOW, OUTPUT, Json, Options, Window
from viplake.errors import SettingsError
from viplake.query.query import QueryRequest, query
from viplake.query.result import QueryResult, being_written
from viplake.wording import count_words

if TYPE_CHECKING:
    from viplake.lake import Lake


SHOWN_ROWS: Final = 40
"""Number of result rows that are shown to people."""

_SHOWN_LETTERS: Final = 200
_SHOWN_LINES: Final = 40
_NUMBERS: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "DOUBLE", "FLOAT", "DECIMAL")


def command(
    sql: str | None = None,
    *,
    file: Annotated[Path | None, Parameter(name=["--file", "-f"], help="Read the SQL from this file.")] = None,
    window: Window = NO_WINDOW,
    unproven: Annotated[
        bool, FLAG, Parameter(help="Also read Hours without a Receipt, in a lake that another program filled.")
    ] = False,
    partial: Annotated[bool, FLAG, Parameter(help="Leave out files that cannot be read, with a warning.")] = False,
    csv: Annotated[bool, FLAG, Parameter(group=OUTPUT, help="Print all rows as CSV.")] = False,
    parquet: Annotated[Path | None, Parameter(group=OUTPUT, help="Write all rows into this file.")] = None,
    vertical: Annotated[bool, FLAG, Parameter(group=OUTPUT, help="Print a line a column, for wide rows.")] = False,
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """Run SQL over the current tables, or those of some Hours (default: the newest with a Receipt), and the datasets.

    Example: viplake query "select count(*) from Voyage" --since 2022-05-10T00

    See docs/query.md.

    Parameters
    ----------
    sql
        One statement that reads, in DuckDB's SQL; "show tables" lists what there is. Without it: --file, or stdin.
    """
    settings = options.settings()
    first, last = window.until()
    request = QueryRequest(_statement(sql, file), last, first, unproven=unproven, partial=partial)
    if csv + json + vertical + (parquet is not None) > 1:
        raise SettingsError("--csv, --json, --parquet and --vertical exclude each other")
    written = None if parquet is None else parquet.absolute()

    def take(answer: QueryResult) -> None:
        if csv:
            answer.write_csv(sys.stdout)
        elif json:
            answer.write_json(sys.stdout, {"schema_version": 1, "environment": settings.environment.name})
        elif written is not None:
            answer.write_parquet(written)
            print(written)  # noqa: T201 - the data
        else:
            print_answer(answer, vertical=vertical, color=settings.surroundings.color)

    writes = () if written is None else (being_written(written),)

    async def ask(lake: Lake) -> None:
        delta = await tables_to_query(settings, lake, warn)
        await query(lake, await history_location(settings, lake), request, take, warn=warn, writes=writes, delta=delta)

    on_lake(settings, ask)
    return 0


def _statement(sql: str | None, file: Path | None) -> str:
    """Return the SQL: given as text, in a file, or on stdin.

    Raises:
        SettingsError: there is none, there are two, or the file cannot be read.
    """
    if sql is not None and sql != "-":
        if file is not None:
            raise SettingsError("SQL and --file exclude each other")
        return sql
    try:
        if file is not None:
            return file.read_text(encoding="utf-8")
        if sql != "-" and sys.stdin.isatty():
            raise SettingsError(
                "there is no SQL", hint='Give it as text, with --file or on stdin: viplake query "show tables"'
            )
        return sys.stdin.read()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {file or 'stdin'}: {error}", hint="Give a text file in UTF-8.") from None


def print_answer(answer: QueryResult, *, vertical: bool = False, color: bool = True) -> None:
    """Print the first rows of a result; their number and their Hours go to stderr."""
    from rich.markup import escape  # noqa: PLC0415 - only tables need it

    headings = [printable(column.name) for column in answer.columns]
    rows = [[_shown(cell) for cell in row] for row in answer.rows(SHOWN_ROWS)]
    right = [place for place, column in enumerate(answer.columns) if column.type.removeprefix("U").startswith(_NUMBERS)]
    narrow = ""
    if vertical:
        for number, row in enumerate(rows, start=1):
            out(f"-- row {number}")
            for heading, cell in zip(headings, row, strict=True):
                out(f"{heading:{max(map(len, headings))}}  {cell}".rstrip())
    else:
        escaped = [[escape(cell) for cell in row] for row in rows]
        drop = range(len(headings) - 1, 0, -1)
        left_out = table([escape(heading) for heading in headings], escaped, right=right, drop=drop, color=color)
        narrow = f"; {count_words(left_out, 'column')} left out: --vertical shows all" if left_out else ""
    left = answer.count - len(rows)
    what = count_words(answer.count, "row")
    if answer.hours:
        first, last, many = answer.hours[0], answer.hours[-1], count_words(len(answer.hours), "Hour")
        what += f" of {first}" if first == last else f" of {many} from {first} to {last}"
    err(f"{what}{f'; {left:,} more: --csv gives all' if left else ''}{narrow}")


def _shown(cell: str | None) -> str:
    """Return a cell for a table: its lines, each cut, without control characters."""
    lines = (cell or "").split("\n")[:_SHOWN_LINES]
    return "\n".join(
        printable(line if len(line) <= _SHOWN_LETTERS else f"{line[:_SHOWN_LETTERS]}...") for line in lines
    )
