"""I/O. `viplake slo`: in or out of SLA by day, week, month and window, and the objectives as OpenSLO."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from viplake.clock import SystemClock
from viplake.commands.assembly import check_settings, history_location, on_lake
from viplake.commands.console import answer, out, table
from viplake.commands.options import FLAG, NO_OPTIONS, NO_WINDOW, Json, Options, Window
from viplake.judge.sla import read_sla

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viplake.judge.objectives import SlaPeriod
    from viplake.lake import Lake


def command(
    *,
    window: Window = NO_WINDOW,
    openslo: Annotated[bool, FLAG, Parameter(help="Print the objectives as OpenSLO v1, for other tools.")] = False,
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """Show by day, week, month and rolling window whether delivery and completeness are in or out of SLA.

    The targets are those of [objectives]. Exit code: 0 the windows are in SLA, 1 one is out, or nothing is on record.

    Example: viplake slo --last 720

    See docs/rules.md.
    """
    settings = options.settings()
    first, last = window.hours()
    if openslo:
        configured = on_lake(settings, lambda lake: check_settings(settings, lake))
        documents = [one.to_openslo() for one in configured.objectives.objectives]
        print("\n---\n".join(jsonlib.dumps(one, indent=2) for one in documents))  # noqa: T201 - the data
        return 0

    async def work(lake: Lake) -> list[SlaPeriod]:
        place, now = await history_location(settings, lake), SystemClock().now()
        return await read_sla(place, await check_settings(settings, lake), now=now, first=first, last=last)

    periods = on_lake(settings, work)
    record = {"environment": settings.environment.name, "periods": [one.to_json() for one in periods]}
    answer(record, lambda: print_sla(periods, color=settings.surroundings.color), as_json=json)
    windows = [one.met for one in periods if one.kind == "window"]
    return 0 if windows and False not in windows else 1


def print_sla(periods: Sequence[SlaPeriod], *, color: bool = True) -> None:
    """Print one line a period, with the verdict, the ratio and the bad Hours of each indicator."""
    if not periods:
        out("the history has no Hour yet: it begins with the first hourly folder (viplake run, or viplake observe)")
        return
    names = list(dict.fromkeys(one.objective.name for one in periods))
    lines: dict[tuple[str, str, str], dict[str, SlaPeriod]] = {}
    for one in periods:
        lines.setdefault((one.kind, str(one.first), str(one.last)), {})[one.objective.name] = one
    rows = [
        [*of, str(max(one.tally.expected for one in found.values()))]
        + [cell for name in names for cell in (_cells(found[name]) if name in found else ("", "", ""))]
        for of, found in lines.items()
    ]
    headings = ["period", "from", "to", "Hours", *(heading for name in names for heading in (name, "ratio", "bad"))]
    ratios = range(5, len(headings), 3)
    bad = [place + 1 for place in ratios]
    fixed = range(len(headings))
    table(headings, rows, right=[3, *ratios, *bad], drop=(2, *reversed(bad)), fixed=fixed, color=color)


def _cells(one: SlaPeriod) -> tuple[str, str, str]:
    style = {True: "green", False: "bold red", None: "dim"}[one.met]
    ratio = "" if one.tally.ratio is None else f"{one.tally.ratio:.2%}"
    return f"[{style}]{one.verdict}[/]", ratio, f"{one.tally.expected - one.tally.good:,}"
