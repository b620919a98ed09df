"""I/O. `viplake doctor`: every leg of the way, checked before an Hour depends on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter

from viplake.commands.console import answer, out
from viplake.commands.event_loop import finish
from viplake.commands.examination import Examination, examine, try_channels, unreadable
from viplake.commands.options import FLAG, NO_OPTIONS, Json, Options
from viplake.errors import SettingsError


def command(
    *,
    notify: Annotated[bool, FLAG, Parameter(help="Also send a test message to every channel of [notify].")] = False,
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """Check every leg of the way: settings, secret, proxy, certificates, token, lake, clock. It triggers nothing.

    Exit code: 0 all well or nothing worse than a warning; else that of the failed check to fix first.

    Example: viplake doctor --profile test

    See docs/operations.md.
    """
    try:
        settings = options.settings()
    except SettingsError as error:
        found = unreadable(error)
    else:
        found = finish(examine(settings))
        if notify:
            found = replace(found, checks=(*found.checks, *finish(try_channels(settings))))
    answer(found.to_json(), lambda: print_examination(found), as_json=json)
    return found.exit_code


def print_examination(found: Examination) -> None:
    """The settings that somebody decided, then a line a check, with its fix where one is needed."""
    for setting in found.settings:
        if setting.origin != "default":
            out(f"{setting.name:28}{setting.value}  ({setting.origin})")
    if found.settings:
        out("all others                  as by default")
        out("")
    for check in found.checks:
        out(f"{check.status:8}  {check.name:17} {check.detail}")
        if check.cause is not None:
            out(f"{'':27} cause  {check.cause} ({check.owner or 'nobody'})")
            out(f"{'':27} next   {check.fix}")
    counts = {status: sum(check.status == status for check in found.checks) for status in ("failed", "warning")}
    out("")
    verdict = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    out(f"{verdict}: mend the first one first" if counts["failed"] else verdict or "all well: viplake run")
