"""PURE. The calendar: Hours for which a missing or smaller export was announced in advance.

A planned Hour raises no incident and counts in no objective; figures and incidents still name it. Outages, diversions
to another bucket and vendor maintenance are data here, never special cases in code.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from itertools import pairwise
from typing import Any, Final, Literal

import msgspec

from viplake.errors import SettingsError
from viplake.model import Hour
from viplake.toml_tables import decode, refuse
from viplake.wording import install_hint

PlannedKind = Literal["hole", "maintenance", "diversion", "holiday"]


@dataclass(frozen=True, slots=True)
class Planned:
    """One entry of the calendar.

    Attributes:
        kind: `hole` (no run is scheduled), `maintenance` (announced by the vendor), `diversion` (to another bucket) or
            `holiday` (exports arrive as usual, with fewer records).
        first, last: Hours, both included.
        reason: free text from the configuration.
    """

    kind: PlannedKind
    first: Hour
    last: Hour
    reason: str = ""

    def __contains__(self, hour: Hour) -> bool:
        """Return whether the entry includes this Hour."""
        return self.first <= hour <= self.last

    def __str__(self) -> str:
        """Return the entry in words, for incidents and figures."""
        return f"{self.kind} from {self.first} to {self.last}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True)
class Calendar:
    """All calendar entries, ascending by time.

    Attributes:
        entries: those that excuse their Hours; none overlaps another.
        holidays: those that only lower the expected volume.
        due: hour of the day (UTC) of a daily export; no other Hour is expected to have one. None: every Hour is.
    """

    entries: tuple[Planned, ...] = ()
    holidays: tuple[Planned, ...] = ()
    due: int | None = None

    @property
    def every(self) -> int:
        """Hours from one expected export to the next."""
        return 1 if self.due is None else 24

    def is_due(self, hour: Hour) -> bool:
        """Return whether an export is expected in this Hour."""
        return self.due is None or hour.start.hour == self.due

    @classmethod
    def parse(cls, value: Any) -> Calendar:
        """Read `[[calendar]]` of `viplake.toml`.

        Raises:
            SettingsError: an unknown key, no Hour, an end before its beginning, or entries that overlap.
        """
        if not isinstance(value, list):
            raise refuse("calendar", "is not a list of tables", "Write each entry under a line [[calendar]].")
        found = sorted((entry for item in value for entry in _entries(item)), key=lambda entry: entry.first)
        entries = tuple(entry for entry in found if entry.kind != "holiday")
        for one, other in pairwise(entries):
            if other.first <= one.last:
                hint = "Put each Hour into one entry only."
                raise refuse("[[calendar]]", f"has two entries that overlap: {one} and {other}", hint)
        return cls(entries, tuple(entry for entry in found if entry.kind == "holiday"))

    def at(self, hour: Hour) -> Planned | None:
        """Return the entry that excuses this Hour; with a daily export, also for Hours in which none is due."""
        for entry in self.entries:
            if hour in entry:
                return entry
        if self.is_due(hour):
            return None
        return Planned("hole", hour, hour, f"the daily export is due at {self.due:02d}:00 UTC")

    def holiday(self, hour: Hour, carried: int = 1) -> Planned | None:
        """Return the holiday in the records of an export, if any; `carried` is the number of Hours that it carries."""
        end = bisect_right(self.holidays, hour, key=lambda entry: entry.first)
        since = hour.shift(1 - carried)
        return next((entry for entry in self.holidays[max(end - _RECENT, 0) : end] if entry.last >= since), None)


_RECENT: Final = 12
"""Holidays before an Hour that may last to it: those of a few countries in a few days."""

FIRST_HOLIDAYS: Final = 2020
LAST_HOLIDAYS: Final = 2040
"""Years for which the public holidays of a country are loaded when the entry names none."""


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry as the file has it."""

    kind: PlannedKind = "hole"
    first: str = msgspec.field(name="from", default="")
    last: str = msgspec.field(name="to", default="")
    reason: str = ""
    country: str = ""
    zone: str = ""


def _entries(value: Any) -> list[Planned]:
    given = decode("calendar", value, _Entry)
    if (country := given.country.strip()) and given.kind == "holiday":
        return _public_holidays(country, _zone(given.zone.strip()))
    if given.zone:
        raise refuse("zone of [[calendar]]", "belongs to a country", "Write from and to in UTC.")
    if country:
        what = f"belongs to a holiday, not to a {given.kind}"
        raise refuse("country of [[calendar]]", what, 'Write kind = "holiday".')
    entry = Planned(given.kind, _hour("from", given.first), _hour("to", given.last), given.reason.strip())
    if entry.last < entry.first:
        raise refuse("[[calendar]]", f"has an entry that ends before it begins: {entry}", "Exchange from and to.")
    return [entry]


def _hour(key: str, text: str) -> Hour:
    try:
        return Hour.parse(text.strip())
    except SettingsError:
        hint = "Write it as 2022-05-10T13, in quotes and in UTC."
        raise refuse(f"{key} of [calendar]", f"is no Hour: {text!r}", hint) from None


def _zone(name: str) -> tzinfo:
    """Return a time zone by its name; UTC by default."""
    if not name:
        return UTC
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - for this entry alone

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        hint = "Write it as Asia/Singapore. A machine without time zones needs: pip install tzdata"
        raise refuse("zone of [[calendar]]", f"is unknown: {name!r}", hint) from None


def _public_holidays(country: str, zone: tzinfo) -> list[Planned]:
    """Return the public holidays of a country as whole days of a time zone."""
    try:
        from holidays import country_holidays  # noqa: PLC0415 - an extra
    except ImportError:
        hint = f"{install_hint('holidays')}, or write each day as an entry with from and to."
        raise refuse("country of [[calendar]]", "needs the package holidays", hint) from None
    try:
        found = country_holidays(country, years=range(FIRST_HOLIDAYS, LAST_HOLIDAYS + 1))
    except NotImplementedError:
        raise refuse("country of [[calendar]]", f"is unknown: {country!r}", "Write its ISO code: NO, SG.") from None
    days = [(datetime.combine(day, time(), zone), name) for day, name in sorted(found.items())]
    return [
        Planned("holiday", Hour.of(start), Hour.of(start + timedelta(hours=23)), f"{country}: {name}")
        for start, name in days
    ]
