"""I/O. `viplake check`: rules, anomalies, coverage and objectives, incidents and notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from viplake.commands import assembly
from viplake.commands.console import answer, out, warn
from viplake.commands.options import FLAG, NO_OPTIONS, NO_WINDOW, Json, Options, Window
from viplake.commands.slo import print_sla

if TYPE_CHECKING:
    from viplake.judge.check import Checked


def command(
    *,
    window: Window = NO_WINDOW,
    no_notify: Annotated[bool, FLAG, Parameter(help="Update the incidents, but send no notification.")] = False,
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """Evaluate data-quality rules, volume anomalies, coverage and SLOs; update incidents; send notifications.

    Exit code: 0 no incident is open, 1 one is, or nothing could be judged.

    Example: viplake check --at 2022-05-10T13

    See docs/rules.md.
    """
    settings = options.settings()
    first, last = window.until()
    checked = assembly.on_lake(
        settings, lambda lake: assembly.check(settings, lake, at=last, first=first, tells=not no_notify)
    )
    answer(checked.to_json(), lambda: print_checked(checked), as_json=json)
    return 0 if checked.well else 1


def print_checked(checked: Checked) -> None:
    """What a check found: open incidents first, then objectives, then what could not be judged."""
    if checked.reason:
        out(f"nothing could be judged: {checked.reason}")
        return
    out(f"{checked.environment}, {checked.hours} Hours up to {checked.at}: {len(checked.open)} incidents are open")
    for one in sorted(checked.incidents, key=lambda incident: not incident.open):
        out(f"  {one.state(checked.now):8}  {one.severity:6}  {one.rule}  {one.cause} ({one.owner})  {one.summary}")
    for state in checked.objectives:
        out(f"  objective {state.objective.name}: {state.words}")
    print_sla(checked.sla, "  SLA of the ")
    for rule, why in checked.no_data.items():
        reason, hours = max(why.items(), key=lambda item: item[1])
        out(f"  no data for {rule} in {sum(why.values())} Hours, mostly: {reason} ({hours})")
    for channel, failure in checked.told.items():
        if failure is not None:
            warn(f"{channel} was not notified: {failure}")
