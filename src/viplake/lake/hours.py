"""I/O. Which Hours are in a lake, and whether they are proven: the only module that decides it.

An Hour is in the lake where a file is right in its folder. It is proven where it has a Receipt. Keys that belong to
no hourly folder are left out and hide nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from viplake.errors import SettingsError
from viplake.lake.layout import RECEIPT_NAME, is_delivered_file
from viplake.model import Hour

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from viplake.lake import Lake
    from viplake.model import StoredFile


@dataclass(frozen=True, slots=True)
class HourFolder:
    """The folder of an Hour.

    Attributes:
        hour: which.
        files: right in it, by name; our own records are among them.
    """

    hour: Hour
    files: dict[str, StoredFile] = field(default_factory=dict)

    @property
    def proven(self) -> bool:
        """Whether the Hour has a Receipt."""
        return RECEIPT_NAME in self.files

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file, by name."""
        return {name: file.size for name, file in self.files.items()}

    @property
    def delivered(self) -> dict[str, int]:
        """Bytes of each file that the vendor delivered, by name: without our own records."""
        return {name: file.size for name, file in self.files.items() if is_delivered_file(name)}


def parse_hour(day: str, name: str) -> Hour | None:
    """The Hour of a folder `20220510/13`; None where the two names are no Hour's."""
    try:
        hour = Hour.parse(f"{day}/{name}")
    except SettingsError:
        return None
    return hour if hour.folder == f"{day}/{name}" else None


async def listed_days(lake: Lake) -> list[str]:
    """The days that have a folder (`20220510`), ascending; other names beside them are left out."""
    return [name for name in await lake.store.folders(lake.layout.prefix) if parse_hour(name, "00") is not None]


async def listed_ledger_days(lake: Lake) -> list[str]:
    """The days that have a ledger (`20220510`), ascending."""
    return [name for name in await lake.store.folders(lake.layout.ledgers) if parse_hour(name, "00") is not None]


async def named_hours(lake: Lake, day: str) -> list[Hour]:
    """The Hours of a day that have a folder, ascending: by the folders' names alone, without listing files."""
    names = await lake.store.folders(lake.layout.day(day))
    return [hour for name in names if (hour := parse_hour(day, name)) is not None]


async def day_folders(lake: Lake, day: str) -> dict[Hour, HourFolder]:
    """The Hours of a day that are in the lake, ascending: one listing.

    Raises:
        LakeError: the lake cannot be read.
    """
    found: dict[Hour, HourFolder] = {}
    for file in await lake.store.files(lake.layout.day(day)):
        if (parsed := lake.layout.parse_file(file.key)) is not None:
            found.setdefault(parsed[0], HourFolder(parsed[0])).files[parsed[1]] = file
    return dict(sorted(found.items()))


async def hour_folder(lake: Lake, hour: Hour) -> HourFolder:
    """The folder of one Hour, without files where it is not in the lake.

    Raises:
        LakeError: the lake cannot be read.
    """
    listed = await lake.store.files(lake.layout.folder(hour))
    return HourFolder(hour, {file.name: file for file in listed if lake.layout.file(hour, file.name) == file.key})


async def newest_first(lake: Lake) -> AsyncIterator[HourFolder]:
    """All Hours that are in the lake, newest first: one listing a day, as far as they are consumed.

    Raises:
        LakeError: the lake cannot be read.
    """
    for day in reversed(await listed_days(lake)):
        for folder in reversed((await day_folders(lake, day)).values()):
            yield folder


async def newest_proven(lake: Lake) -> Hour | None:
    """The newest Hour with a Receipt; None where there is none."""
    async for folder in newest_first(lake):
        if folder.proven:
            return folder.hour
    return None


async def newest_to_read(lake: Lake) -> Hour | None:
    """The newest Hour with a Receipt; in a lake without any, the newest with a delivered file; None without both."""
    unproven = None
    async for folder in newest_first(lake):
        if folder.proven:
            return folder.hour
        if unproven is None and folder.delivered:
            unproven = folder.hour
    return unproven
