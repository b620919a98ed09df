"""PURE. Look-back coverage: which record-time no delivered Hour carries, and how long until some is lost for good.

An export carries the records of about one day before it. So a hole heals by itself with the next delivered Hour,
as long as that Hour begins no later than one look-back after the last one before the hole. The vendor documents
no exact length ("1Day" in the name of the configuration): the look-back is a setting, and margins are "about".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from viplake.model import stretches

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from datetime import datetime

    from viplake.model import Hour

LOOK_BACK: Final = timedelta(hours=24)
"""What `onDemandExtract1Day...` says of itself."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of Hours in which a table, or the whole export, did not arrive.

    Attributes:
        table: whose; None: the whole export.
        first, last: Hours without it, both included.
        after: the last Hour before that delivered it; None where the record begins with the gap.
        before: the first Hour after that delivered it; None while the gap lasts.
        planned: every one of its Hours stands in the calendar.
        unknown: Hours of it of which nobody knows what they delivered.
        margin: from the look-back's end to the next delivery, negative where something is lost; None where `after`
            or `before` is not known.
        lost: record-time, from and to, that no delivered Hour carries; None where there is none, or nobody knows.
    """

    table: str | None
    first: Hour
    last: Hour
    after: Hour | None
    before: Hour | None
    planned: bool = False
    unknown: int = 0
    margin: timedelta | None = None
    lost: tuple[datetime, datetime] | None = None

    def deadline(self, look_back: timedelta) -> datetime | None:
        """The start of the last Hour that can still carry all of it; None where it is not known."""
        return None if self.after is None else self.after.start + look_back

    def left(self, now: datetime, look_back: timedelta) -> timedelta | None:
        """While it lasts: the time left until something is lost for good, negative once it is; else None."""
        deadline = self.deadline(look_back)
        return None if deadline is None or self.before is not None else deadline - now


def covering(arrived: Mapping[Hour, bool], weak: Collection[Hour]) -> dict[Hour, bool | None]:
    """Whether each Hour covers its records; a weak one ends no hole, and begins none.

    Args:
        arrived: whether an export came, ascending.
        weak: Hours whose export is not whole enough to end a hole.
    """
    found: dict[Hour, bool | None] = {}
    before = False
    for hour, came in arrived.items():
        before = came and (hour not in weak or before)
        found[hour] = before
    return found


def gaps(
    delivered: Mapping[Hour, bool | None],
    lacking: Mapping[str, Collection[Hour]],
    *,
    look_back: timedelta | Callable[[Hour], timedelta] = LOOK_BACK,
    planned: Callable[[Hour], bool] = lambda _: False,
    short: Collection[Hour] = (),
) -> list[Gap]:
    """All gaps, those of the whole export first, then by table and time.

    Args:
        delivered: each Hour of the record up to the last one that counts: whether it delivered an export; None where
            that is not known. Hours between its first and last that it does not have are not known either.
        lacking: the Hours that delivered an export without a table, by table. Tables that never lacked need not stand
            there: they have the gaps of the export.
        look_back: what an export carries; where that is measured, what the one of a given Hour does.
        planned: whether the calendar holds an Hour.
        short: delivered Hours whose export carries less than an hour: what it does not carry is a gap too.
    """
    if not delivered:
        return []
    ends = (min(delivered), max(delivered))
    without = [hour for hour in ends[0].to(ends[1]) if not delivered.get(hour)]
    carried = look_back if callable(look_back) else lambda _: look_back
    record = _Record(delivered, ends, carried, planned)
    holes = list(stretches(without))
    found = [record.gap(None, stretch) for stretch in holes]
    found += [gap for stretch in stretches(sorted(short)) if (gap := record.between(stretch)) is not None]
    begins, finishes = ({hole[place]: hole for hole in holes} for place in (0, -1))
    for table in sorted(lacking):
        own = sorted(hour for hour in lacking[table] if ends[0] <= hour <= ends[1])
        found += [record.gap(table, stretch) for stretch in _joined(own, begins, finishes)]
    return found


def _joined(
    own: list[Hour], begins: Mapping[Hour, list[Hour]], finishes: Mapping[Hour, list[Hour]]
) -> Iterator[list[Hour]]:
    """A table's own gaps, each with the holes of the export that touch it, before, between and behind."""
    stretch: list[Hour] = []
    for hour in own:
        if stretch and stretch[-1] >= hour:
            continue
        if not stretch or stretch[-1].shift(1) != hour:
            if stretch:
                yield stretch
            stretch = [*finishes.get(hour.shift(-1), ())]
        stretch.append(hour)
        stretch += begins.get(hour.shift(1), ())
    if stretch:
        yield stretch


@dataclass(frozen=True, slots=True)
class _Record:
    """What is common to all gaps of a record."""

    delivered: Mapping[Hour, bool | None]
    ends: tuple[Hour, Hour]
    look_back: Callable[[Hour], timedelta]
    planned: Callable[[Hour], bool]

    def gap(self, table: str | None, stretch: list[Hour]) -> Gap:
        first, last = stretch[0], stretch[-1]
        after = first.shift(-1) if first > self.ends[0] else None
        before = last.shift(1) if last < self.ends[1] else None
        unknown = sum(self.delivered.get(hour) is None for hour in stretch)
        carried = self.look_back(before or self.ends[1])
        margin = None if after is None or before is None else after.start + carried - before.start
        lost = None
        if after is not None and before is not None and margin is not None and margin < timedelta(0) and not unknown:
            lost = (after.start, before.start - carried)
        planned = all(self.planned(hour) for hour in stretch)
        return Gap(table, first, last, after, before, planned, unknown, margin, lost)

    def between(self, stretch: list[Hour]) -> Gap | None:
        """The gap of Hours that came one after the other and carry less than the hour between them."""
        carrying = [hour for hour in stretch if self.delivered.get(hour) and self.delivered.get(hour.shift(-1))]
        if not carrying:
            return None
        first, last = carrying[0], carrying[-1]
        lost = (first.shift(-1).start, last.start - self.look_back(last))
        margin = max(self.look_back(hour) for hour in carrying) - timedelta(hours=1)
        planned = all(self.planned(hour) for hour in carrying)
        return Gap(None, first, last, first.shift(-1), last, planned, margin=margin, lost=lost)
