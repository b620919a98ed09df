"""I/O. `viplake collect`: rescue an Hour."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from viplake.commands.delivery import deliver
from viplake.commands.options import NO_OPTIONS, AnHour, Json, Options


def command(
    hour: Annotated[AnHour, Parameter(help="The Hour to retry.")],
    *,
    job_guid: Annotated[str | None, Parameter(help="GUID of the export at Veson; default: the recorded one.")] = None,
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """Retry a failed or unfinished Hour from its existing export. Sends no trigger.

    If the response to the trigger was lost, --job-guid names the export.

    Example: viplake collect 2022-05-10T13

    See docs/operations.md.
    """
    return deliver(options, lambda extraction: extraction.collect(hour, job_guid), json=json, hour=hour)
