"""I/O. `viplake tick`: one step of every open Hour."""

from __future__ import annotations

from viplake.commands.delivery import deliver
from viplake.commands.options import NO_OPTIONS, Json, OnlyDeliver, Options


def command(*, only_deliver: OnlyDeliver = False, json: Json = False, options: Options = NO_OPTIONS) -> int:
    """Advance each unfinished Hour of today and yesterday one step, start the current Hour, and exit. For schedulers.

    Exit code: as `run`; 75 while an Hour still has steps to do.

    Example: viplake tick --profile prod --log-format json

    See docs/schedulers.md.
    """
    return deliver(options, lambda extraction: extraction.tick(), json=json, only_deliver=only_deliver)
