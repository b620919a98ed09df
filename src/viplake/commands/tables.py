"""I/O. `viplake tables`: the current and history tables in the lake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from viplake import config
from viplake.clock import SystemClock
from viplake.commands.assembly import delta_tables, on_lake
from viplake.commands.console import answer, hour_progress, out, table, warn
from viplake.commands.options import FLAG, NO_OPTIONS, NO_WINDOW, Json, Options, Window
from viplake.current.delta import KINDS
from viplake.errors import SettingsError
from viplake.wording import count_words, size_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viplake.current.delta import TableKind
    from viplake.current.load.ddl import Warehouse
    from viplake.current.show import Shown
    from viplake.current.update import TablesUpdate
    from viplake.lake import Lake

_SHOWN = 20
"""Lines of a kind that are printed; --json has all."""


def command(
    action: Annotated[
        Literal["update", "show", "ddl"],
        Parameter(
            help="update: merge the Hours that the tables do not have. show: print rows, bytes and files of each table."
            " ddl: print the statements that make them readable in a warehouse."
        ),
    ] = "update",
    *,
    window: Window = NO_WINDOW,
    rebuild: Annotated[bool, FLAG, Parameter(help="Compute all tables anew from all proven Hours.")] = False,
    for_: Annotated[
        Literal["athena", "databricks", "redshift", "snowflake", "spark"] | None,
        Parameter(name="--for", help="The warehouse, for ddl."),
    ] = None,
    check: Annotated[bool, FLAG, Parameter(help="Compute all tables anew and compare; change nothing.")] = False,
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """Build or update the current and history tables (Delta Lake) from proven Hours, each exactly once.

    Exit code: 0 all Hours are in the tables. 1 tables are held back, or --check found rows that differ.

    Example: viplake tables --from 2022-05-10T00

    See docs/tables.md.
    """
    settings = options.settings()
    if action == "show":
        return _show(settings, json=json)
    if action == "ddl":
        return _ddl(settings, for_, json=json)
    first, last = window.hours()
    if check:
        if rebuild or first or last:
            raise SettingsError("--check excludes --rebuild and a range of Hours")
        return _check(settings, json=json)
    from viplake.current.update import update  # noqa: PLC0415 - DuckDB and deltalake: only the work needs them

    async def work(lake: Lake) -> TablesUpdate:
        delta = delta_tables(settings, lake, SystemClock())
        with hour_progress(last) as shown:
            return await update(
                lake, delta, config.tables_settings(settings), first=first, last=last, anew=rebuild, progress=shown
            )

    found = on_lake(settings, work)
    record = {"environment": settings.environment.name, **found.to_json()}
    answer(record, lambda: print_update(found), as_json=json)
    return 1 if found.held else 0


def print_update(found: TablesUpdate) -> None:
    """Print what an update did."""
    if not found.hours and not found.tables:
        out("nothing to merge: the tables have every proven Hour")
        return
    rows = sum(one.rows for one in found.tables.values())
    versions = sum(one.versions for one in found.tables.values())
    hours = f"{min(found.hours)} to {max(found.hours)}  " if found.hours else ""
    out(f"{hours}{count_words(len(found.hours), 'Hour')} merged into {count_words(len(found.tables), 'table')}")
    skipped = f"; {found.skipped:,} not opened, files unchanged" if found.skipped else ""
    out(f"  {count_words(rows, 'current row')} changed, {count_words(versions, 'version')} added{skipped}")
    for name, one in sorted(found.tables.items()):
        if one.aside:
            out(f"  {name}: {count_words(one.aside, 'record')} set aside: null in the key")
        if one.current is None and one.history is not None:
            out(f"  {name}: history only, no key. Set key, or mode = 'snapshot', in [tables.{name}]")
        for note in one.notes[:_SHOWN]:
            out(f"  {name}: {note}")
    for hour, name, why in found.held[:_SHOWN]:
        warn(f"{name} of {hour} is held back: {why}")
    if len(found.held) > _SHOWN:
        warn(f"{len(found.held) - _SHOWN} more are held back; --json lists them")


def _check(settings: config.Settings, *, json: bool) -> int:
    from viplake.current.update import check  # noqa: PLC0415 - as above

    async def work(lake: Lake) -> dict[str, dict[TableKind, int]]:
        return await check(lake, delta_tables(settings, lake, SystemClock()), config.tables_settings(settings))

    found = on_lake(settings, work)
    wrong = {name: kinds for name, kinds in found.items() if any(kinds.values())}
    record: dict[str, Any] = {"environment": settings.environment.name, "tables": found, "different": sorted(wrong)}
    answer(record, lambda: _print_check(found, wrong), as_json=json)
    return 1 if wrong else 0


def _print_check(found: Mapping[str, Any], wrong: Mapping[str, Mapping[TableKind, int]]) -> None:
    if not wrong:
        out(f"{count_words(len(found), 'table')} checked: every row is what the proven Hours say")
    for name, kinds in wrong.items():
        rows = ", ".join(f"{count_words(count, 'row')} of {kind}" for kind, count in kinds.items() if count)
        warn(f"{name}: {rows} not what the proven Hours say. viplake tables --rebuild computes all tables anew")


def _show(settings: config.Settings, *, json: bool) -> int:
    from viplake.current.show import show  # noqa: PLC0415 - as above

    found = on_lake(settings, lambda lake: show(lake, delta_tables(settings, lake, SystemClock())))
    record = {"environment": settings.environment.name, **found.to_json()}
    answer(record, lambda: print_tables(found), as_json=json)
    return 0


def _ddl(settings: config.Settings, warehouse: Warehouse | None, *, json: bool) -> int:
    from viplake.current.load.ddl import WAREHOUSES, statements  # noqa: PLC0415 - as above

    if warehouse is None:
        raise SettingsError("the warehouse is not given", hint=f"Give one of {', '.join(WAREHOUSES)} with --for.")

    async def work(lake: Lake) -> list[str]:
        delta = delta_tables(settings, lake, SystemClock())
        return [
            line
            for kind in KINDS
            for line in statements(
                warehouse, f"imos_{kind}", [(name, delta.uri(kind, name)) for name in await delta.folders(kind)]
            )
        ]

    found = on_lake(settings, work)

    def show_all() -> None:
        for statement in found:
            for line in statement.splitlines():
                out(line)

    answer({"for": warehouse, "statements": found}, show_all, as_json=json)
    return 0


def print_tables(found: Shown) -> None:
    """A line a table."""
    if not found.tables:
        out("there are no tables yet: viplake tables makes them")
        return
    lag = "" if not found.lag else f", {count_words(found.lag, 'Hour')} behind {found.proven}"
    out(f"{count_words(len(found.tables), 'table')}, newest Hour {found.newest or 'none'}{lag}")
    rows = []
    for one in found.tables:
        behind = found.lag_of(one)
        current, history = one.sizes.get("current"), one.sizes.get("history")
        size = sum(each.size for each in one.sizes.values())
        files = sum(each.files for each in one.sizes.values())
        cells = ["-" if each is None or each.rows is None else f"{each.rows:,}" for each in (current, history)]
        newest = (str(one.newest or ""), "" if behind is None else f"{behind:,} h")
        rows.append((one.name, *cells, size_words(size), f"{files:,}", *newest))
    headings = ("table", "current", "history", "size", "files", "newest Hour", "lag")
    table(headings, rows, right=(1, 2, 3, 4, 6), drop=(4, 3), fixed=(0,))
    for hour, name, why in found.held[:_SHOWN]:
        warn(f"{name} of {hour} is held back: {why}")
