"""I/O. `viplake content`: the records in the table files against the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.markup import escape

from viplake.commands import assembly
from viplake.commands.console import SHOWN_FINDINGS, answer, err, hour_progress, out, printable, table
from viplake.commands.options import FLAG, NO_OPTIONS, NO_WINDOW, Json, Options, Window
from viplake.content.records import to_json
from viplake.errors import SettingsError
from viplake.lake.hours import newest_to_read
from viplake.wording import count_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viplake.content.profiling import HourContent, TableContent
    from viplake.lake import Lake
    from viplake.model import Hour


def command(
    *,
    window: Window = NO_WINDOW,
    engine: Annotated[
        Literal["duckdb", "spark"],
        Parameter(help="Engine: DuckDB in this process, or the Spark session that viplake runs on."),
    ] = "duckdb",
    reopen: Annotated[bool, FLAG, Parameter(help="Also read files again that equal those of the Hour before.")] = False,
    no_keep: Annotated[bool, FLAG, Parameter(help="Do not store the results for viplake check.")] = False,
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """Profile the table files: records, nulls, ranges, and whether they match the schema. For viplake check.

    Exit code: 0 no mismatches ("unknown" is not a mismatch). 1 mismatches found, or a table could not be read.

    Example: viplake content --at 2022-05-10T13

    See docs/content.md.
    """
    settings = options.settings()
    first, last = window.hours()

    async def work(lake: Lake) -> list[HourContent]:
        end = last or await newest_to_read(lake)
        if end is None:
            raise SettingsError("no Hour has files to check", hint="Deliver an Hour first: viplake run.")
        hours = list((first or end).to(end))
        if not hours:
            raise SettingsError(f"--to {end} is before --from {first}")
        with hour_progress(end) as shown:
            show = None if json or len(hours) == 1 else shown or _print_progress
            return await assembly.content(
                settings, lake, hours, engine=engine, keeps=not no_keep, reopen=reopen, progress=show
            )

    found = assembly.on_lake(settings, work)
    record = {"environment": settings.environment.name, "hours": [to_json(one) for one in found]}
    answer(record, lambda: print_content(found, color=settings.surroundings.color), as_json=json)
    tables = [table for one in found for table in one.tables]
    return 0 if tables and all(table.rows is not None and not table.findings for table in tables) else 1


def _print_progress(hour: Hour) -> None:
    err(f"{hour}  content checked")


def print_content(found: Sequence[HourContent], *, color: bool = True) -> None:
    """Print a table of an Hour's tables, then their findings; of many Hours only the tables that have findings."""
    for content in found:
        counts = {word: sum(t.conformance == word for t in content.tables) for word in ("passed", "failed", "unknown")}
        words = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "no table has a file"
        carried = content.look_back_hours
        look_back = "" if carried is None else f"; it carries {carried:.1f} h of records"
        out(f"{content.hour}  {count_words(len(content.tables), 'table')}: {words}{look_back}")
        if content.schema_problem:
            out(f"  columns are unknown: {content.schema_problem}", indent=" " * 4)
        shown = [one for one in content.tables if len(found) == 1 or one.findings]
        if len(found) == 1 and shown:
            rows = [_row(one, explained=bool(content.schema_problem)) for one in shown]
            noted = 5 + any(row[-1] for row in rows)
            headings = ("table", "schema", "records", "files", "newest record", "note")[:noted]
            table(
                headings, [row[:noted] for row in rows], right=(2, 3), drop=(5, 4, 3), fixed=(1, 2, 3, 4), color=color
            )
        for one in shown:
            for finding in one.findings[:SHOWN_FINDINGS]:
                place = "" if finding.byte is None else f" (byte {finding.byte:,})"
                out(f"  {one.table}  {finding.kind}  {finding.detail}{place}", "bad", indent=" " * 4)


def _row(one: TableContent, *, explained: bool) -> tuple[str, ...]:
    """The cells of a table of an Hour; `explained`: why columns are unknown is already printed."""
    style = {"passed": "green", "failed": "bold red"}.get(one.conformance, "dim")
    same = "" if one.examined is None else f"same files as in {one.examined}"
    return (
        escape(printable(one.table)),
        f"[{style}]{one.conformance}[/]",
        "unreadable" if one.rows is None else f"{one.rows:,}",
        f"{one.files:,}",
        "" if one.newest is None else f"{one.newest:%Y-%m-%d %H:%M}",
        escape(printable(same or ("" if explained else one.unknown or ""))),
    )
