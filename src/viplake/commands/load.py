"""I/O. `viplake load`: the current tables into a database."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from viplake import config
from viplake.clock import SystemClock
from viplake.commands.assembly import delta_tables, on_lake
from viplake.commands.console import answer, out
from viplake.commands.options import FLAG, NO_OPTIONS, Json, Options
from viplake.wording import count_words

if TYPE_CHECKING:
    from viplake.current.load.load import LoadReport
    from viplake.lake import Lake


def command(
    target: Annotated[str, Parameter(help="postgresql://user@host/database, or a path that ends in .duckdb.")],
    *,
    table: Annotated[tuple[str, ...], Parameter(help="Load this table only; may be repeated.")] = (),
    overwrite: Annotated[bool, FLAG, Parameter(help="Replace tables that were changed in the database.")] = False,
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """Load the current tables into PostgreSQL or a DuckDB file: what changed since the last load, in one transaction.

    Example: viplake load imos.duckdb

    See docs/tables.md.
    """
    settings = options.settings()
    from viplake.current.load.load import load, open_target  # noqa: PLC0415 - only the work needs it

    async def work(lake: Lake) -> LoadReport:
        delta = delta_tables(settings, lake, SystemClock())
        network = config.network(settings, config.Secrets.of(settings))
        with closing(open_target(target, network)) as database:
            return await load(lake, delta, database, only=table, overwrite=overwrite)

    found = on_lake(settings, work)

    def show() -> None:
        changed = count_words(len(found.changed), "table")
        out(f"{changed} loaded, {len(found.unchanged):,} unchanged; they have {count_words(found.hours, 'Hour')}")
        for name, rows in sorted(found.changed.items()):
            out(f"  {name}: {count_words(rows, 'row')}{', made anew' if name in found.whole else ''}")

    answer({"environment": settings.environment.name, **found.to_json()}, show, as_json=json)
    return 0
