"""I/O. Which Hours the tables have: begun, done, and with tables held back. Every object is only created."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from viplake.concurrency import map_bounded
from viplake.lake.hours import parse_hour
from viplake.lake.records import FORMAT, Part, decode, encode, reading

if TYPE_CHECKING:
    from collections.abc import Iterable

    from viplake.lake import Lake
    from viplake.model import Hour

_AT_ONCE: Final = 16
_NAME: Final = re.compile(r"(\d{8})/(\d{2})(\.held|\.healed)?\.json")
_DAYS_ONE_BY_ONE: Final = 40
_HOURS_A_DAY: Final = 24


class TableMark(Part, frozen=True):
    """What a mark says of a table.

    Attributes:
        current, history: versions of the two Delta tables that have the Hour; None: there is no such table.
        files: fingerprint of the files and the schema.
        aside: records with a null in the key, which are in no table.
        distinct: no key has two versions of one record time in the Hour, so that its files can be judged one by one.
    """

    current: int | None
    history: int | None
    files: str
    aside: int = 0
    distinct: bool = False

    def of_files(self, files: str) -> TableMark:
        """The same with the fingerprint of an Hour's files."""
        return TableMark(self.current, self.history, files, self.aside, self.distinct)


class Mark(Part, frozen=True):
    """An Hour that is in the tables.

    Attributes:
        hour: as `2022-05-10T13`.
        tables: by name.
        held: tables that do not have it, and why.
    """

    hour: str
    tables: dict[str, TableMark]
    held: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it


@dataclass(slots=True)
class HourMarks:
    """The state of some days.

    Attributes:
        begun: Hours that a writer has begun.
        done: Hours with a mark.
        held: Hours with tables that are held back.
    """

    begun: set[Hour] = field(default_factory=set)
    done: set[Hour] = field(default_factory=set)
    held: set[Hour] = field(default_factory=set)

    def between(self, first: Hour, last: Hour) -> list[Hour]:
        """Hours that may be in the tables, after `first` and up to `last`, ascending."""
        return sorted(hour for hour in self.begun | self.done if first < hour <= last)

    @property
    def newest(self) -> Hour | None:
        """The newest Hour that may be in the tables."""
        return max(self.begun | self.done, default=None)


async def days(lake: Lake) -> list[str]:
    """Days in which an Hour was begun (`20220510`), ascending."""
    return [day for day in await lake.store.folders(lake.layout.begun) if parse_hour(day, "00") is not None]


async def known(lake: Lake, wanted: Iterable[str]) -> HourMarks:
    """The state of these days (`20220510`).

    Raises:
        LakeError: the lake cannot be read.
    """
    found, days_ = HourMarks(), set(wanted)
    # Of many days two listings have all, a thousand objects a request.
    of_days = [""] if len(days_) > _DAYS_ONE_BY_ONE else [f"{day}/" for day in sorted(days_)]
    prefixes = [(root, root + day) for root in (lake.layout.begun, lake.layout.marks) for day in of_days]
    listed = await map_bounded(lambda one: lake.store.files(one[1]), prefixes, at_once=_AT_ONCE)
    held: set[Hour] = set()
    healed: set[Hour] = set()
    kinds = {None: found.done, ".held": held, ".healed": healed}
    for (root, _), files in zip(prefixes, listed, strict=True):
        for file in files:
            match = _NAME.fullmatch(file.key.removeprefix(root))
            if match is None or match[1] not in days_ or (hour := parse_hour(match[1], match[2])) is None:
                continue
            (found.begun if root == lake.layout.begun else kinds[match[3]]).add(hour)
    found.held |= held - healed
    return found


def whole_days(known: HourMarks) -> set[str]:
    """Days (`20220510`) of which the tables have every Hour: no other Hour can arrive in them."""
    counts = Counter(hour.day for hour in known.done - known.held)
    return {day for day, count in counts.items() if count == _HOURS_A_DAY}


async def begin(lake: Lake, hours: Iterable[Hour]) -> None:
    """Record that a writer will look at these Hours.

    Raises:
        LakeError: it cannot be written.
    """

    async def one(hour: Hour) -> None:
        await lake.store.put_if_absent(
            f"{lake.layout.begun}{hour.folder}.json", encode({"format": FORMAT, "hour": str(hour)})
        )

    await map_bounded(one, hours, at_once=_AT_ONCE)


async def finish(lake: Lake, hour: Hour, mark: Mark, *, again: bool) -> None:
    """Write the mark of an Hour; `again`: it has one, and tables that were held back have it now.

    Raises:
        LakeError: it cannot be written.
    """
    key = f"{lake.layout.marks}{hour.folder}"
    data = encode({"format": FORMAT, **mark.members()})
    if again:
        if not mark.held:
            await lake.store.put_if_absent(f"{key}.healed.json", data)
        return
    if mark.held:
        await lake.store.put_if_absent(f"{key}.held.json", data)
    await lake.store.put_if_absent(f"{key}.json", data)


async def read_mark(lake: Lake, hour: Hour) -> Mark | None:
    """The mark of an Hour, with the tables that were held back at first and healed; None where there is none.

    Raises:
        LakeError: it cannot be read.
    """
    key = f"{lake.layout.marks}{hour.folder}"
    for suffix in (".healed", ""):
        data = await lake.store.get(f"{key}{suffix}.json")
        if data is not None:
            with reading(f"the mark of {hour}"):
                return decode(data, Mark)
    return None
