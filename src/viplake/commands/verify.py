"""I/O. `viplake verify`: compares stored files with manifest and Receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viplake.commands.assembly import on_lake
from viplake.commands.console import SHOWN_FINDINGS, answer, out, printable
from viplake.commands.options import NO_OPTIONS, NO_WINDOW, Json, Options, Window
from viplake.errors import SettingsError
from viplake.lake.hours import newest_proven
from viplake.lake.proof import Verified, verify

if TYPE_CHECKING:
    from collections.abc import Iterable

    from viplake.lake import Lake


def command(*, window: Window = NO_WINDOW, json: Json = False, options: Options = NO_OPTIONS) -> int:
    """Compare the files in the lake with the manifest and the Receipt again. Default: the newest Hour with a Receipt.

    Exit code: 0 all complete and valid, 1 not.

    Example: viplake verify --from 2022-05-10T00 --to 2022-05-10T23

    See docs/operations.md.
    """
    settings = options.settings()
    first, last = window.hours()

    async def compare(lake: Lake) -> list[Verified]:
        newest = last or window.from_ or await newest_proven(lake)
        if newest is None:
            raise SettingsError(
                "no Hour of this lake has a Receipt to verify",
                hint="viplake status shows what is there; viplake adopt writes Receipts for Hours of another program.",
            )
        hours = list((first or newest).to(newest))
        if not hours:
            raise SettingsError(f"the newest Hour with a Receipt, {newest}, is before {first}")
        return [await verify(lake, hour) for hour in hours]

    verified = on_lake(settings, compare)
    record = {"environment": settings.environment.name, "hours": [one.to_json() for one in verified]}
    answer(record, lambda: print_verified(verified), as_json=json)
    return 0 if all(one.verdict.proven for one in verified) else 1


def print_verified(verified: Iterable[Verified]) -> None:
    """Print one line an Hour, and its findings."""
    for one in verified:
        verdict = one.verdict
        words = {True: "yes", False: "NO", None: "unknown"}
        proof = "" if verdict.proof is None else f"  proof: {verdict.proof}"
        out(f"{one.hour}  complete: {words[verdict.complete]}  valid: {words[verdict.valid]}{proof}")
        for finding in verdict.findings[:SHOWN_FINDINGS]:
            out(f"  {finding.kind}  {printable(finding.file or '')}  {printable(finding.detail)}".rstrip())
        if len(verdict.findings) > SHOWN_FINDINGS:
            out(f"  and {len(verdict.findings) - SHOWN_FINDINGS} findings more (see --json)")
