"""PURE. The calendar: Hours of which it was known beforehand that they would lack something.

A planned Hour raises no incident and counts in no objective; figures and incidents still name it. Holes, diversions
of the flow to another bucket and maintenance at the vendor are data, never a code path.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal

from viplake.model import Hour
from viplake.toml_tables import Table, refuse

PlannedKind = Literal["hole", "maintenance", "diversion", "holiday"]

KINDS: Final[tuple[PlannedKind, ...]] = ("hole", "maintenance", "diversion", "holiday")


@dataclass(frozen=True, slots=True)
class Planned:
    """One entry of the calendar.

    Attributes:
        kind: `hole` (nobody runs), `maintenance` (the vendor's, announced), `diversion` (to another bucket),
            `holiday` (exports come as ever, but there is less in them).
        first, last: Hours, both included.
        reason: in the reader's own words.
    """

    kind: PlannedKind
    first: Hour
    last: Hour
    reason: str = ""

    def __contains__(self, hour: Hour) -> bool:
        """Whether it holds this Hour."""
        return self.first <= hour <= self.last

    def __str__(self) -> str:
        """As incidents and figures name it."""
        return f"{self.kind} from {self.first} to {self.last}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True)
class Calendar:
    """All entries, in order of time.

    Attributes:
        entries: that excuse their Hours; none overlaps another.
        holidays: exports come as ever, but there is less in them.
        due: the hour of the day of a daily export: no other Hour is expected to have one; None: every Hour is.
    """

    entries: tuple[Planned, ...] = ()
    holidays: tuple[Planned, ...] = ()
    due: int | None = None

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
        """The entry that excuses this Hour, or why no export is expected in it."""
        not_due = self.due is not None and hour.start.hour != self.due
        daily = Planned("hole", hour, hour, f"the daily export is due at {self.due:02d}:00 UTC") if not_due else None
        return next((entry for entry in self.entries if hour in entry), daily)

    def holiday(self, hour: Hour) -> Planned | None:
        """The holiday that holds this Hour."""
        end = bisect_right(self.holidays, hour, key=lambda entry: entry.first)
        return next((entry for entry in self.holidays[max(end - 3, 0) : end] if hour in entry), None)


FIRST_HOLIDAYS: Final = 2020
LAST_HOLIDAYS: Final = 2040
"""Years of the public holidays of a country, where the entry names none."""


def _entries(value: Any) -> list[Planned]:
    table = Table.of("calendar", value)
    table.only(("kind", "from", "to", "reason", "country"))
    word = table.word("kind", "hole", KINDS)
    [kind] = [known for known in KINDS if known == word]
    if (country := table.text("country")) and kind == "holiday":
        return _public_holidays(country)
    if country:
        raise refuse("country of [[calendar]]", f"belongs to a holiday, not to a {kind}", 'Write kind = "holiday".')
    entry = Planned(kind, table.hour("from"), table.hour("to"), table.text("reason"))
    if entry.last < entry.first:
        raise refuse("[[calendar]]", f"has an entry that ends before it begins: {entry}", "Exchange from and to.")
    return [entry]


def _public_holidays(country: str) -> list[Planned]:
    """The public holidays of a country, whole days of UTC."""
    try:
        from holidays import country_holidays  # noqa: PLC0415 - an extra
    except ImportError:
        hint = "pip install 'viplake[holidays]', or write each day as an entry with from and to."
        raise refuse("country of [[calendar]]", "needs the package holidays", hint) from None
    try:
        found = country_holidays(country, years=range(FIRST_HOLIDAYS, LAST_HOLIDAYS + 1))
    except NotImplementedError:
        raise refuse("country of [[calendar]]", f"is unknown: {country!r}", "Write its ISO code: NO, SG.") from None
    days = [(Hour.parse(f"{day:%Y-%m-%d}T00"), name) for day, name in sorted(found.items())]
    return [Planned("holiday", first, first.shift(23), f"{country}: {name}") for first, name in days]
