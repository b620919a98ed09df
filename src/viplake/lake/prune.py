"""I/O. Makes room in a folder lake: old hourly folders go, never the newest proof of a table.

What may go is decided by `expendable` from facts alone. An Hour goes Receipt first: a crash in the middle leaves
an Hour without a Receipt, which no job reads, and the next call removes the rest. The ledger and the datasets stay.
On S3 a lifecycle rule does this without us.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from viplake.errors import SettingsError
from viplake.lake.hours import newest_first
from viplake.lake.layout import SCHEMA_NAME, schema_tables
from viplake.lake.table_index import TableIndex

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from viplake.lake import Lake
    from viplake.model import Hour

SHORTEST: Final = timedelta(days=8)
"""What is younger is never removed: for a week observation still looks for Hours that came late."""

_AGE: Final = re.compile(r"(?P<count>[1-9]\d{0,4})(?P<unit>[dw])")


@dataclass(frozen=True, slots=True)
class HeldHour:
    """The content of an hourly folder.

    Attributes:
        hour: which.
        size: bytes of all its files.
        files: how many they are.
        proven: whether it has a Receipt.
        tables: those of which it holds a file.
    """

    hour: Hour
    size: int
    files: int
    proven: bool
    tables: frozenset[str]


@dataclass(frozen=True, slots=True)
class Pruned:
    """The Hours to remove, and the old Hours that stay.

    Attributes:
        removed: the Hours that go, oldest first.
        kept: old Hours that stay, each with the tables that it holds the newest proof of.
    """

    removed: tuple[HeldHour, ...]
    kept: tuple[tuple[HeldHour, frozenset[str]], ...]

    def to_json(self) -> dict[str, Any]:
        """As `viplake prune --json` prints it."""
        return {
            "removed": [{"hour": str(one.hour), "files": one.files, "bytes": one.size} for one in self.removed],
            "kept": [{"hour": str(one.hour), "tables": sorted(tables)} for one, tables in self.kept],
            "bytes": sum(one.size for one in self.removed),
        }


def parse_age(text: str) -> timedelta:
    """The age written as `90d` or `12w`.

    Raises:
        SettingsError: it is none, or less than `SHORTEST`.
    """
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise SettingsError(f"not an age: {text!r}", hint="Write it as 90d or 12w.")
    age = timedelta(days=int(match["count"]) * (7 if match["unit"] == "w" else 1))
    if age < SHORTEST:
        raise SettingsError(
            f"{text} is too short: at least {SHORTEST.days}d", hint="Each update of the history reads the last week."
        )
    return age


def expendable(held: Iterable[HeldHour], *, before: Hour, keep: int) -> Pruned:
    """Which Hours may go: those before `before`, but for the newest `keep` and for the newest proof of any table.

    The newest proof of a table is the newest Hour with a Receipt that holds a file of it; where none of those does,
    the newest Hour without one.
    """
    newest_first = sorted(held, key=lambda one: one.hour, reverse=True)
    proof: dict[str, Hour] = {}
    for one in sorted(newest_first, key=lambda one: not one.proven):
        for table in one.tables:
            proof.setdefault(table, one.hour)
    needed: dict[Hour, set[str]] = {}
    for table, hour in proof.items():
        needed.setdefault(hour, set()).add(table)
    old = [one for one in newest_first[keep:] if one.hour < before][::-1]
    return Pruned(
        tuple(one for one in old if one.hour not in needed),
        tuple((one, frozenset(needed[one.hour])) for one in old if one.hour in needed),
    )


async def held_hours(lake: Lake) -> list[HeldHour]:
    """What each hourly folder of the lake holds, by its listing; the tables' names are those of all schemas in it.

    Raises:
        LakeError: the lake cannot be read.
    """
    found = [folder async for folder in newest_first(lake)][::-1]
    known = await _known_tables(lake, [folder.hour for folder in found if SCHEMA_NAME in folder.files])
    table = cache(TableIndex(known).table_of)

    return [
        HeldHour(
            one.hour,
            sum(one.sizes.values()),
            len(one.files),
            one.proven,
            frozenset(t for name in one.delivered if (t := table(name)) is not None),
        )
        for one in found
    ]


async def remove(lake: Lake, hours: Sequence[HeldHour], folder: Path | None) -> None:
    """Remove these Hours, oldest first, the Receipt of each before anything else of it.

    Args:
        lake: which.
        hours: which.
        folder: of the lake on disk, for its empty folders; None: they are left alone.

    Raises:
        LakeError: something cannot be removed; what came before it is gone.
    """
    for one in hours:
        await lake.store.delete(lake.layout.receipt(one.hour))
        for file in await lake.store.files(lake.layout.folder(one.hour)):
            await lake.store.delete(file.key)
        if folder is not None:
            with contextlib.suppress(OSError):  # somebody's own file in it, or gone already
                (folder / lake.layout.folder(one.hour)).rmdir()
                (folder / lake.layout.day(one.hour.day)).rmdir()


async def _known_tables(lake: Lake, hours: Iterable[Hour]) -> tuple[str, ...]:
    known: set[str] = set()
    for hour in hours:
        data = await lake.store.get(lake.layout.file(hour, SCHEMA_NAME))
        known.update(schema_tables(data or b"") or ())
    return tuple(sorted(known))
