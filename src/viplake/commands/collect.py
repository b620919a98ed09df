"""I/O. `viplake collect`: rescue an Hour."""

from __future__ import annotations

from viplake.commands.delivery import deliver
from viplake.commands.options import NO_OPTIONS, HourText, Json, Options
from viplake.model import Hour


def command(hour: HourText, *, job_guid: str | None = None, json: Json = False, options: Options = NO_OPTIONS) -> int:
    """Reopen an Hour and bring it to its end; with a GUID from the vendor also one whose trigger got no answer."""
    wanted = Hour.parse(hour)
    return deliver(options, lambda extraction: extraction.collect(wanted, job_guid), json=json, hour=wanted)
