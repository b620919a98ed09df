"""I/O. `viplake run`: one Hour, from its trigger to its proof."""

from __future__ import annotations

from viplake.commands.delivery import deliver
from viplake.commands.options import NO_OPTIONS, Json, OnlyDeliver, Options


def command(*, only_deliver: OnlyDeliver = False, json: Json = False, options: Options = NO_OPTIONS) -> int:
    """Deliver the current Hour: trigger the export, wait for it, transfer the files, verify them.

    Exit code: 0 delivered, 1 incomplete, 2 settings, 69 the vendor or network, 73 the lake, 75 waiting, 77 credentials.

    Example: viplake run --profile prod

    See docs/operations.md.
    """
    return deliver(options, lambda extraction: extraction.run(), json=json, only_deliver=only_deliver)
