"""I/O. `viplake query`: SQL over the tables and the history."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from viplake.commands.assembly import on_lake, place_of
from viplake.commands.console import ON_A_PIPE, err, printable, table, warn
from viplake.commands.options import FLAG, NO_OPTIONS, NO_WINDOW, OUTPUT, Json, Options, Window
from viplake.errors import SettingsError
from viplake.query.answer import Answer, being_written
from viplake.query.query import Asked, query
from viplake.wording import count_words

if TYPE_CHECKING:
    from viplake.lake import Lake


SHOWN_ROWS: Final = 40
"""Rows of an answer that a person is shown."""

_SHOWN_LETTERS: Final = 200
_SHOWN_LINES: Final = 40
_NUMBERS: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "DOUBLE", "FLOAT", "DECIMAL")


def command(
    sql: str,
    *,
    window: Window = NO_WINDOW,
    unproven: Annotated[bool, FLAG, Parameter(help="Read Hours without a Receipt too, as in old lakes.")] = False,
    csv: Annotated[bool, FLAG, Parameter(group=OUTPUT, help="Print all rows as CSV.")] = False,
    parquet: Annotated[Path | None, Parameter(group=OUTPUT, help="Write all rows into this file.")] = None,
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """Run SQL over the tables of the newest Hour with a Receipt, or of several, and over the history.

    Example: viplake query "select count(*) from Voyage" --since 2022-05-10T00

    See docs/query.md.

    Parameters
    ----------
    sql
        One statement that reads, in DuckDB's SQL; "show tables" lists what there is.
    """
    settings = options.settings()
    first, last = window.until()
    asked = Asked(sql, last, first, unproven=unproven)
    if csv + json + (parquet is not None) > 1:
        raise SettingsError("--csv, --json and --parquet exclude each other")
    file = None if parquet is None else parquet.absolute()

    def take(answer: Answer) -> None:
        if csv:
            answer.write_csv(sys.stdout)
        elif json:
            answer.write_json(sys.stdout, {"schema_version": 1, "environment": settings.environment.name})
        elif file is not None:
            answer.write_parquet(file)
            print(file)  # noqa: T201 - the data
        else:
            print_answer(answer, color=settings.surroundings.color)

    writes = () if file is None else (being_written(file),)

    async def ask(lake: Lake) -> None:
        await query(lake, await place_of(settings, lake), asked, take, warn=warn, writes=writes)

    on_lake(settings, ask)
    return 0


def print_answer(answer: Answer, *, color: bool = True) -> None:
    """The first rows of an answer, cut to be read; how many there are, and of which Hours, goes to stderr."""
    from rich.markup import escape  # noqa: PLC0415 - only tables need it

    headings = [escape(printable(column.name)) for column in answer.columns]
    rows = [[escape(_shown(cell)) for cell in row] for row in answer.rows(SHOWN_ROWS)]
    right = [place for place, column in enumerate(answer.columns) if column.type.removeprefix("U").startswith(_NUMBERS)]
    table(headings, rows, right=right, color=color, width=None if sys.stdout.isatty() else ON_A_PIPE)
    left = answer.count - len(rows)
    what = count_words(answer.count, "row")
    if answer.hours:
        first, last, many = answer.hours[0], answer.hours[-1], count_words(len(answer.hours), "Hour")
        what += f" of {first}" if first == last else f" of {many} from {first} to {last}"
    err(f"{what}{f'; {left:,} more: --csv gives all' if left else ''}")


def _shown(cell: str | None) -> str:
    """A cell as a table has it: its lines, each cut; nothing that moves a cursor."""
    lines = (cell or "").split("\n")[:_SHOWN_LINES]
    return "\n".join(
        printable(line if len(line) <= _SHOWN_LETTERS else f"{line[:_SHOWN_LETTERS]}...") for line in lines
    )
