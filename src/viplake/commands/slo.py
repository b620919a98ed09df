"""I/O. `viplake slo`: in or out of SLA by day, week, month and window, and the objectives as OpenSLO."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from viplake.clock import SystemClock
from viplake.commands.assembly import check_settings, on_lake, place_of
from viplake.commands.console import answer, out
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
    """Show whether delivered and complete are in or out of SLA, by day, week, month and rolling window.

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
        place, now = await place_of(settings, lake), SystemClock().now()
        return await read_sla(place, await check_settings(settings, lake), now=now, first=first, last=last)

    periods = on_lake(settings, work)
    record = {"environment": settings.environment.name, "periods": [one.to_json() for one in periods]}
    answer(record, lambda: print_sla(periods), as_json=json)
    windows = [one.met for one in periods if one.kind == "window"]
    return 0 if windows and False not in windows else 1


def print_sla(periods: Sequence[SlaPeriod], indent: str = "") -> None:
    """Print one line a period and indicator."""
    if not periods and not indent:
        out("no Hour is on record: run viplake observe")
    for one in periods:
        share = "" if one.tally.ratio is None else f", {one.tally.ratio:.2%}"
        verdict = f"{one.verdict:10}  {one.tally.good:,} of {one.tally.expected:,} Hours{share}"
        line = f"{indent}{one.kind:6}  {one.first} to {one.last}  {one.objective.name:9}  {verdict}"
        out(line, indent=" " * (len(indent) + 8))
