"""I/O. `viplake doctor`: checks everything that a run needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Final

from cyclopts import Parameter

from viplake.commands.console import answer, out
from viplake.commands.event_loop import finish
from viplake.commands.examination import Examination, examine, try_channels, unreadable
from viplake.commands.options import FLAG, NO_OPTIONS, Json, Options
from viplake.errors import SettingsError
from viplake.wording import count_words


def command(
    *,
    notify: Annotated[bool, FLAG, Parameter(help="Also send a test message to every channel of [notify].")] = False,
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """Check what a run needs: settings, secret, proxy, certificates, token, lake, clock. No trigger.

    Exit code: 0 no check failed (warnings do not count); else that of the failed check to fix first.

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


_STYLES: Final = {"ok": "good", "warning": "waiting", "failed": "bad", "skipped": "dim"}
_INDENT: Final = " " * 28


def print_examination(found: Examination) -> None:
    """Print the settings that are not defaults, then a line a check, with its fix where one is needed."""
    for setting in found.settings:
        if setting.origin != "default":
            out(f"{setting.name:28}{setting.value}  ({setting.origin})", indent=_INDENT)
    if found.settings:
        out("(all other settings: default)", "dim")
        out("")
    for check in found.checks:
        out(f"{check.status:8}  {check.name:17} {check.detail}", _STYLES[check.status], indent=_INDENT)
        if check.cause is not None:
            out(f"{_INDENT}cause  {check.cause} ({check.owner or 'no action needed'})", indent=_INDENT)
            out(f"{_INDENT}next   {check.fix}", indent=_INDENT + " " * 7)
    failed, warned = (sum(check.status == status for check in found.checks) for status in ("failed", "warning"))
    out("")
    if failed:
        first = " Fix the first one first; later ones may depend on it." if failed > 1 else ""
        out(f"{count_words(failed, 'check')} failed.{first}", "bad")
    elif warned:
        out(count_words(warned, "warning"), "waiting")
    else:
        out("all checks passed. Next: viplake run", "good")
