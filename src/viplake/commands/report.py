"""I/O. `viplake report`: the history as one HTML file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from viplake.clock import SystemClock
from viplake.commands.assembly import on_lake
from viplake.commands.options import NO_OPTIONS, NO_WINDOW, Options, Window
from viplake.commands.publishing import make_report, publish

if TYPE_CHECKING:
    from viplake.lake import Lake


def command(
    *,
    out: Annotated[str, Parameter(help="A file, or s3://bucket/key.html.")] = "viplake-report.html",
    window: Window = NO_WINDOW,
    options: Options = NO_OPTIONS,
) -> int:
    """Write the data-quality report as one HTML file: a verdict, then figures with their tables.

    The file needs no network to open. Without a range it has the last 120 days.

    Example: viplake report --out s3://bucket/reports/prod.html

    See docs/history.md.
    """
    settings = options.settings()
    first, last = window.hours()

    async def work(lake: Lake) -> str:
        page = await make_report(settings, lake, SystemClock(), first=first, last=last)
        return await publish(settings, page, out)

    print(on_lake(settings, work))  # noqa: T201 - the data
    return 0
