"""PURE. Look-back coverage: which period no delivered export covers, and how long until its records are lost.

An export carries the records that changed in about one day before it. So the next delivered Hour closes a gap, if it
begins no later than one look-back after the last Hour before the gap. The vendor documents no exact length ("1Day" is
in the name of the configuration). So the look-back is a setting, and margins say "about".
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
"""The period in the name `onDemandExtract1Day...`."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of Hours in which a table, or the whole export, did not arrive.

    Attributes:
        table: the table; None: the whole export.
        first, last: Hours without it, both included.
        after: the last Hour before that delivered it; None where the record begins with the gap.
        before: the first Hour after that delivered it; None while the gap lasts.
        planned: all its Hours are in the calendar.
        unknown: number of its Hours for which no record shows what they delivered.
        margin: time between the next delivery and the end of the look-back, negative where records are lost; None where
            `after` or `before` is unknown.
        lost: start and end of the period that no delivered Hour covers; None where nothing is lost, or it is unknown.
        every: hours from one expected export to the next: 24 with a daily one.
        grace: time after its Hour in which an export still counts for it: until the next one is due.
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
    every: int = 1
    grace: timedelta = timedelta(0)

    def deadline(self, look_back: timedelta) -> datetime | None:
        """Latest start of an Hour that still covers the whole gap; None where unknown."""
        return None if self.after is None else self.after.start + look_back + self.grace

    def left(self, now: datetime, look_back: timedelta) -> timedelta | None:
        """Time left until records are lost, negative once they are; None after the gap has ended."""
        deadline = self.deadline(look_back)
        return None if deadline is None or self.before is not None else deadline - now


def covering(arrived: Mapping[Hour, bool], weak: Collection[Hour]) -> dict[Hour, bool | None]:
    """Return whether each Hour covers its records; a weak export neither ends nor begins a gap.

    Args:
        arrived: whether an export came, ascending.
        weak: Hours with an export that is too incomplete to end a gap.
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
    every: int = 1,
) -> list[Gap]:
    """Return all gaps: those of the whole export first, then by table and time.

    Args:
        delivered: each Hour of the record up to the last one that counts: whether it delivered an export; None where
            that is not known. Hours between its first and last that it does not have are not known either.
        lacking: by table, the Hours that delivered an export without it. A table that is not listed has the gaps of the
            whole export.
        look_back: the period that an export carries; a function of the Hour where it was measured.
        planned: whether the calendar holds an Hour.
        short: delivered Hours with an export that carries less than one hour; the rest of that hour is a gap too.
        every: hours from one expected export to the next, 24 with a daily one. `delivered` and `lacking` then have the
            Hours in which one is due, and an export that comes before the next of them counts for its Hour.
    """
    if not delivered:
        return []
    ends = (min(delivered), max(delivered))
    without = [hour for hour in ends[0].to(ends[1], every) if not delivered.get(hour)]
    carried = look_back if callable(look_back) else lambda _: look_back
    record = _Record(delivered, ends, carried, planned, every)
    holes = list(stretches(without, every))
    found = [record.gap(None, stretch) for stretch in holes]
    found += [gap for stretch in stretches(sorted(short)) if (gap := record.between(stretch)) is not None]
    begins, finishes = ({hole[place]: hole for hole in holes} for place in (0, -1))
    for table in sorted(lacking):
        own = sorted(hour for hour in lacking[table] if ends[0] <= hour <= ends[1])
        found += [record.gap(table, stretch) for stretch in _joined(own, begins, finishes, every)]
    return found


def _joined(
    own: list[Hour], begins: Mapping[Hour, list[Hour]], finishes: Mapping[Hour, list[Hour]], every: int
) -> Iterator[list[Hour]]:
    """Return a table's gaps, each joined with the export's gaps that touch it."""
    stretch: list[Hour] = []
    for hour in own:
        if stretch and stretch[-1] >= hour:
            continue
        if not stretch or stretch[-1].shift(every) != hour:
            if stretch:
                yield stretch
            stretch = [*finishes.get(hour.shift(-every), ())]
        stretch.append(hour)
        stretch += begins.get(hour.shift(every), ())
    if stretch:
        yield stretch


@dataclass(frozen=True, slots=True)
class _Record:
    """The inputs that all gaps share."""

    delivered: Mapping[Hour, bool | None]
    ends: tuple[Hour, Hour]
    look_back: Callable[[Hour], timedelta]
    planned: Callable[[Hour], bool]
    every: int

    def gap(self, table: str | None, stretch: list[Hour]) -> Gap:
        first, last = stretch[0], stretch[-1]
        after = first.shift(-self.every) if first > self.ends[0] else None
        before = last.shift(self.every) if last < self.ends[1] else None
        unknown = sum(self.delivered.get(hour) is None for hour in stretch)
        carried = self.look_back(before or self.ends[1])
        margin = None if after is None or before is None else after.start + carried - before.start
        lost = None
        if after is not None and before is not None and margin is not None and margin < timedelta(0) and not unknown:
            lost = (after.start, before.start - carried)
        planned = all(self.planned(hour) for hour in stretch)
        grace = timedelta(hours=self.every - 1)
        return Gap(table, first, last, after, before, planned, unknown, margin, lost, self.every, grace)

    def between(self, stretch: list[Hour]) -> Gap | None:
        """Return the gap of consecutive Hours with exports that each carry less than one hour."""
        carrying = [hour for hour in stretch if self.delivered.get(hour) and self.delivered.get(hour.shift(-1))]
        if not carrying:
            return None
        first, last = carrying[0], carrying[-1]
        lost = (first.shift(-1).start, last.start - self.look_back(last))
        margin = max(self.look_back(hour) for hour in carrying) - timedelta(hours=1)
        planned = all(self.planned(hour) for hour in carrying)
        return Gap(None, first, last, first.shift(-1), last, planned, margin=margin, lost=lost)
