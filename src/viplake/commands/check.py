"""I/O. `viplake check`: rules, anomalies, coverage and objectives, incidents and notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from viplake.commands import assembly
from viplake.commands.console import answer, out, warn
from viplake.commands.options import FLAG, NO_OPTIONS, NO_WINDOW, OUTPUT, Json, Options, Window
from viplake.commands.slo import print_sla
from viplake.wording import count_words, name_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viplake.judge.check import Checked
    from viplake.judge.incidents import Incident


def command(
    *,
    window: Window = NO_WINDOW,
    verbose: Annotated[
        bool, FLAG, Parameter(group=OUTPUT, help="Print every rule without data, and resolved incidents in full.")
    ] = False,
    no_notify: Annotated[bool, FLAG, Parameter(help="Update the incidents, but send no notification.")] = False,
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """Evaluate data-quality rules, volume anomalies, coverage and SLOs; update incidents; send notifications (alerts).

    --at is the last Hour that is evaluated, as things stood then; the Hours before it are evaluated too.

    Exit code: 0 no incident is open, 1 an incident is open, or no Hour is on record.

    Example: viplake check --at 2022-05-10T13

    See docs/rules.md.
    """
    settings = options.settings()
    first, last = window.until()
    checked = assembly.on_lake(
        settings, lambda lake: assembly.check(settings, lake, at=last, first=first, notify=not no_notify)
    )
    answer(
        checked.to_json(),
        lambda: print_checked(checked, verbose=verbose, color=settings.surroundings.color),
        as_json=json,
    )
    return 0 if checked.well else 1


def print_checked(checked: Checked, *, verbose: bool = False, color: bool = True, no_data: bool = True) -> None:
    """Print open incidents first, then what was resolved, the objectives and, with `no_data`, what had no data."""
    if checked.reason:
        out(f"nothing could be checked: {checked.reason}")
        return
    hours, many = count_words(checked.hours, "Hour"), len(checked.open)
    is_open = f"{count_words(many, 'incident') if many else 'no incident'} {'is' if many <= 1 else 'are'} open"
    out(f"{checked.environment}, {hours} up to {checked.at}: {is_open}", "bad" if many else "good")
    for one in checked.open:
        out("")
        out(f"  {_head(one)}  {one.key}", "bad")
        out(f"    {one.summary}", indent=" " * 4)
        if one.acknowledged is not None:
            out(f"    {one.acknowledged.words}", "dim", indent=" " * 4)
    resolved = [one for one in checked.incidents if not one.open]
    if checked.past and not verbose:  # the first check of a long past
        out("")
        out(f"{count_words(checked.past, 'past incident')} on record: viplake check --from {resolved[0].hour}", "dim")
    elif resolved:
        out("")
        out(f"{count_words(len(resolved), 'resolved incident')}{'' if verbose else ' (--verbose: in full)'}")
        for one in resolved:
            out(f"  {one.hour}  {_head(one)}: {one.summary}", "dim", indent=" " * 4 if verbose else "", cut=not verbose)
    out("")
    for state in checked.objectives:
        style = "" if state.met is None else "good" if state.met else "bad"
        out(f"objective {state.objective.name}: {state.words}", style, indent=" " * 4)
    print_sla(checked.sla, color=color)
    if no_data:
        _print_no_data(checked.no_data, verbose=verbose)
    for channel, failure in checked.sent.items():
        if failure is not None:
            warn(f"{channel} was not notified: {failure}")


def _head(one: Incident) -> str:
    return f"{one.severity:6}  {one.rule}  {one.cause} ({one.owner})"


def _print_no_data(no_data: Mapping[str, Mapping[str, int]], *, verbose: bool) -> None:
    """Print why rules have no data: one line a reason, or one line a rule with its Hours."""
    rules: dict[str, list[str]] = {}
    for rule, why in no_data.items():
        reason, hours = max(why.items(), key=lambda item: item[1])
        if verbose:
            many = count_words(sum(why.values()), "Hour")
            out(f"no data for {rule} in {many}, mostly: {reason} ({hours})", "dim", indent=" " * 4)
        rules.setdefault(reason, []).append(rule)
    if not verbose:
        for reason, names in rules.items():
            out(f"no data for {name_words(names)}: {reason}", "dim", indent=" " * 4)
        if rules:
            out("--verbose lists them by rule and Hours", "dim")
