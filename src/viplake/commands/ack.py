"""I/O. `viplake ack`: acknowledge or mute an incident."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from viplake.clock import SystemClock
from viplake.commands.assembly import check_target, on_lake
from viplake.commands.console import answer, out
from viplake.commands.options import NO_OPTIONS, HourOrNone, Json, Options
from viplake.model import Hour

if TYPE_CHECKING:
    from viplake.judge.incidents import Incident
    from viplake.lake import Lake

ACKNOWLEDGED: Final = timedelta(days=7)
"""For how long, where no Hour is given."""


def command(
    id_: Annotated[str, Parameter(name="id", help="Id of the incident, as check prints it: outage:2022-05-10T04.")],
    /,
    *,
    until: Annotated[HourOrNone, Parameter(help="Last Hour of the acknowledgement; default: a week from now.")] = None,
    note: Annotated[str, Parameter(help="Why, in your words.")] = "",
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """Acknowledge or mute an incident, with a note. The note is stored in the lake.

    Until the Hour of --until, no reminder and no change of its cause is sent. A higher severity and the end of the
    incident are still sent. check and report show the acknowledgement and its note.

    Example: viplake ack missing_table:2022-05-10T04 --until 2022-05-17T08 --note "Veson knows, ticket 123"

    See docs/rules.md.
    """
    from viplake.judge.check import acknowledge  # noqa: PLC0415 - loads what only judging needs

    settings = options.settings()
    now = SystemClock().now()
    last = until or Hour.of(now + ACKNOWLEDGED)

    async def work(lake: Lake) -> Incident:
        return await acknowledge((await check_target(settings, lake, writes=True)).place, id_, last, note)

    one = on_lake(settings, work)
    answer(one.to_json(now), lambda: out(f"{one.key} is acknowledged until {last}: {one.summary}"), as_json=json)
    return 0
