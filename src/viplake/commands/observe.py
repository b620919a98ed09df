"""I/O. `viplake observe`: build or update the datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from viplake.commands import assembly
from viplake.commands.console import SHOWN_FINDINGS, answer, hour_progress, out, table, warn
from viplake.commands.options import FLAG, NO_OPTIONS, NO_WINDOW, Json, Options, Window
from viplake.errors import SettingsError
from viplake.history.build import Scope, read_history, read_imports
from viplake.history.daily import daily_views
from viplake.history.rows import Datasets
from viplake.wording import count_words, size_words

if TYPE_CHECKING:
    from viplake.history.build import Observed
    from viplake.history.daily import Daily
    from viplake.lake import Lake


def command(
    *,
    window: Window = NO_WINDOW,
    rebuild: Annotated[
        bool, FLAG, Parameter(help="Read the whole lake again, from the first hourly folder on.")
    ] = False,
    import_: Annotated[Path | None, Parameter(name="--import", help="Folder with CSVs of datasets to import.")] = None,
    daily: Annotated[bool, FLAG, Parameter(help="Print the daily views.")] = False,
    drop: Annotated[
        bool, FLAG, Parameter(help="Remove the rows of a range that is before the lake's first Hour.")
    ] = False,
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """Build or update the history: datasets with one row an Hour of what was delivered.

    Example: viplake observe --from 2022-05-10T00 --to 2022-05-10T23

    See docs/history.md.
    """
    settings = options.settings()
    first, last = window.hours()
    if drop and (first is None or last is None):
        raise SettingsError("--drop needs a range: --from and --to")
    if drop and (rebuild or daily or import_ is not None):
        raise SettingsError("--drop excludes --rebuild, --daily and --import")
    scope = Scope(first, last, rebuild=rebuild, drop=drop)
    imports = None if import_ is None else read_imports(import_)

    async def work(lake: Lake) -> tuple[Observed, Daily | None]:
        with hour_progress(last) as shown:
            observed = await assembly.observe(settings, lake, scope, imports=imports, progress=shown)
        if not daily:
            return observed, None
        rows = Datasets.of((await read_history(await assembly.history_location(settings, lake))).frames)
        if rows.jobs:
            rows = rows.between(first or rows.jobs[0].hour, last or rows.jobs[-1].hour)
        return observed, daily_views(rows)

    observed, views = assembly.on_lake(settings, work)
    record = observed.to_json() | ({} if views is None else {"daily": views.to_json()})

    def show() -> None:
        if drop:
            print_dropped(observed, f"{first} to {last}")
        elif views is None:
            print_observed(observed)
        else:
            print_daily(views)

    answer(record, show, as_json=json)
    return 0


def print_dropped(observed: Observed, period: str) -> None:
    """Print which rows were removed."""
    removed = {name: count for name, count in observed.dropped.items() if count}
    if not removed:
        out(f"no dataset has a row from {period}: nothing removed")
        return
    out(f"removed the rows from {period}:")
    for name, count in removed.items():
        out(f"  {name}  {count_words(count, 'row')}")


def print_observed(observed: Observed) -> None:
    """Print what a pass did."""
    for name, count in observed.imported.items():
        out(f"imported {count_words(count, 'row')} into {name}")
    if observed.first is not None:
        print_changes(observed)
    elif not observed.imported:
        out("nothing to observe: there is no hourly folder yet")
    for warning in observed.warnings:
        warn(warning)


def print_changes(observed: Observed) -> None:
    """Print the Hours that were looked at, and the rows that changed."""
    requests = sum(observed.requests.values())
    added, repaired = count_words(len(observed.added), "Hour"), count_words(len(observed.healed), "row")
    worse = f", {len(observed.worsened):,} worse" if observed.worsened else ""
    out(f"{observed.first} to {observed.last}  {added} added, {repaired} healed{worse},")
    out(f"  {count_words(observed.unchanged, 'Hour')} unchanged, {count_words(requests, 'request')}")
    for row in (*observed.worsened, *observed.healed)[:SHOWN_FINDINGS]:
        changed = [f"{name} {row.old[name]} -> {new}" for name, new in row.new.items() if row.old[name] != new]
        out(f"  {row.hour}  {row.dataset}: {', '.join(changed)}")


def print_daily(daily: Daily) -> None:
    """The daily views, one row a day."""
    by_day = {row.day: row for row in daily.tables}
    sizes = {row.day: row for row in daily.sizes}
    rows = []
    for jobs in daily.jobs:
        tables, volume = by_day.get(jobs.day), sizes.get(jobs.day)
        ratio = None if tables is None else tables.completeness_ratio
        rows.append(
            (
                jobs.day,
                f"{jobs.delivered} of {jobs.expected}",
                "" if jobs.success_ratio is None else f"{jobs.success_ratio:.4f}",
                "" if tables is None else f"{tables.delivered:.2f} of {tables.expected:.2f}",
                "" if ratio is None else f"{ratio:.4f}",
                "" if volume is None else f"{volume.files:,}",
                "" if volume is None else size_words(volume.size * 1000),
            )
        )
    table(("day", "Hours", "ratio", "tables (mean)", "ratio", "files", "size"), rows, right=(2, 4, 5, 6))
