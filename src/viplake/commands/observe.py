"""I/O. `viplake observe`: build or update the datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from viplake.commands import assembly
from viplake.commands.console import SHOWN_FINDINGS, answer, hour_progress, out, table, warn
from viplake.commands.options import FLAG, NO_OPTIONS, NO_WINDOW, Json, Options, Window
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
    rebuild: Annotated[bool, FLAG, Parameter(help="Read everything again, from the first hourly folder on.")] = False,
    import_: Annotated[Path | None, Parameter(name="--import", help="Folder with CSVs of datasets to import.")] = None,
    daily: Annotated[bool, FLAG, Parameter(help="Print the daily views.")] = False,
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """Build or update the datasets: what was delivered, Hour by Hour.

    Example: viplake observe --from 2022-05-10T00 --to 2022-05-10T23

    See docs/history.md.
    """
    settings = options.settings()
    first, last = window.hours()
    scope = Scope(first, last, rebuild=rebuild)
    imports = None if import_ is None else read_imports(import_)

    async def work(lake: Lake) -> tuple[Observed, Daily | None]:
        with hour_progress(last) as shown:
            observed = await assembly.observe(settings, lake, scope, imports=imports, progress=shown)
        if not daily:
            return observed, None
        rows = Datasets.of((await read_history(await assembly.place_of(settings, lake))).frames)
        if rows.jobs:
            rows = rows.between(first or rows.jobs[0].hour, last or rows.jobs[-1].hour)
        return observed, daily_views(rows)

    observed, views = assembly.on_lake(settings, work)
    record = observed.to_json() | ({} if views is None else {"daily": views.to_json()})
    answer(record, lambda: print_observed(observed) if views is None else print_daily(views), as_json=json)
    return 0


def print_observed(observed: Observed) -> None:
    """What a pass did."""
    if observed.first is None:
        out("nothing to observe: there is no hourly folder yet")
        return
    asked = sum(observed.requests.values())
    added, repaired = count_words(len(observed.added), "Hour"), count_words(len(observed.healed), "row")
    out(f"{observed.first} to {observed.last}  {added} added, {repaired} healed,")
    out(f"  {count_words(observed.unchanged, 'Hour')} unchanged, {count_words(asked, 'request')}")
    for healed in observed.healed[:SHOWN_FINDINGS]:
        changed = [f"{name} {healed.old[name]} -> {new}" for name, new in healed.new.items() if healed.old[name] != new]
        out(f"  {healed.hour}  {healed.dataset}: {', '.join(changed)}")
    for warning in observed.warnings:
        warn(warning)


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
