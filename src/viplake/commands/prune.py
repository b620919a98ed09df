"""I/O. `viplake prune`: remove old Hours from a folder lake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from viplake.clock import Clock, SystemClock
from viplake.commands.assembly import folder_of, lake_to_read
from viplake.commands.console import answer, out
from viplake.commands.event_loop import finish
from viplake.commands.options import FLAG, NO_OPTIONS, Json, Options
from viplake.errors import SettingsError
from viplake.lake.prune import Pruned, expendable, held_hours, parse_age, remove
from viplake.model import Hour
from viplake.wording import count_words, size_words

if TYPE_CHECKING:
    from viplake.config import Settings


def command(
    *,
    older_than: Annotated[str, Parameter(help="Remove Hours older than this, as 90d or 12w; at least 8d.")],
    keep: Annotated[int, Parameter(help="Number of newest Hours that always stay.")] = 24,
    dry_run: Annotated[bool, FLAG, Parameter(help="Print what would be removed; remove nothing.")] = False,
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """Remove old hourly folders from a lake in a local folder. The newest proven Hour of each table stays.

    The ledger and the datasets also stay. On S3, a lifecycle rule of the bucket removes old Hours.

    Example: viplake prune --older-than 90d --dry-run

    See docs/operations.md.
    """
    settings = options.settings()
    if keep < 0:
        raise SettingsError("--keep is less than 0")
    pruned = finish(prune(settings, older_than, keep=keep, dry_run=dry_run))
    record = {"environment": settings.environment.name, "dry_run": dry_run} | pruned.to_json()
    answer(record, lambda: print_pruned(pruned, dry_run=dry_run), as_json=json)
    return 0


async def prune(settings: Settings, older_than: str, *, keep: int, dry_run: bool, clock: Clock | None = None) -> Pruned:
    """Remove the old Hours of a folder lake that are no longer needed.

    Raises:
        SettingsError: the lake is no folder, or another environment's; or the age is too short.
        LakeError: it cannot be read or written.
    """
    before = Hour.of((clock or SystemClock()).now() - parse_age(older_than))
    folder = folder_of(settings)
    if folder is None:
        raise SettingsError(
            "only folder lakes are pruned",
            hint="On S3 a lifecycle rule does it: the parameter RetentionDays of deploy/viplake.yaml.",
        )
    lake = await lake_to_read(settings)
    pruned = expendable(await held_hours(lake), before=before, keep=keep)
    if not dry_run:
        await remove(lake, pruned.removed, folder)
    return pruned


def print_pruned(pruned: Pruned, *, dry_run: bool) -> None:
    """Print the removed Hours, and the old ones that stay."""
    for one in pruned.removed:
        out(f"{one.hour}  {count_words(one.files, 'file')}, {size_words(one.size)}")
    for one, tables in pruned.kept:
        out(f"{one.hour}  stays: the newest proof of {', '.join(sorted(tables))}")
    verb = "would be removed" if dry_run else "removed"
    out(f"{count_words(len(pruned.removed), 'Hour')} {verb}, {size_words(sum(one.size for one in pruned.removed))}")
