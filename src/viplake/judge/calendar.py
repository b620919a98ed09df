"""PURE. The calendar: Hours of which it was known beforehand that they would lack something.

A planned Hour raises no incident and counts in no objective; figures and incidents still name it. Holes, diversions
of the flow to another bucket and maintenance at the vendor are data, never a code path.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

from viplake.toml_tables import Table, refuse

if TYPE_CHECKING:
    from viplake.model import Hour

PlannedKind = Literal["hole", "maintenance", "diversion"]

KINDS: Final[tuple[PlannedKind, ...]] = ("hole", "maintenance", "diversion")


@dataclass(frozen=True, slots=True)
class Planned:
    """One entry of the calendar.

    Attributes:
        kind: `hole` (nobody runs), `maintenance` (the vendor's, announced), `diversion` (to another bucket).
        first, last: Hours, both included.
        reason: in the reader's own words.
    """

    kind: PlannedKind
    first: Hour
    last: Hour
    reason: str = ""

    def __str__(self) -> str:
        """As incidents and figures name it."""
        return f"{self.kind} from {self.first} to {self.last}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True)
class Calendar:
    """All entries, in order of time; none overlaps another."""

    entries: tuple[Planned, ...] = ()

    @classmethod
    def parse(cls, value: Any) -> Calendar:
        """Read `[[calendar]]` of `viplake.toml`.

        Raises:
            SettingsError: an unknown key, no Hour, an end before its beginning, or entries that overlap.
        """
        if not isinstance(value, list):
            raise refuse("calendar", "is not a list of tables", "Write each entry under a line [[calendar]].")
        entries = tuple(sorted((_entry(item) for item in value), key=lambda entry: entry.first))
        for one, other in pairwise(entries):
            if other.first <= one.last:
                hint = "Let each Hour stand in one entry only."
                raise refuse("[[calendar]]", f"has two entries that overlap: {one} and {other}", hint)
        return cls(entries)

    def at(self, hour: Hour) -> Planned | None:
        """The entry that holds this Hour."""
        return next((entry for entry in self.entries if entry.first <= hour <= entry.last), None)


def _entry(value: Any) -> Planned:
    table = Table.of("calendar", value)
    table.only(("kind", "from", "to", "reason"))
    word = table.word("kind", "hole", KINDS)
    [kind] = [known for known in KINDS if known == word]
    entry = Planned(kind, table.hour("from"), table.hour("to"), table.text("reason"))
    if entry.last < entry.first:
        raise refuse("[[calendar]]", f"has an entry that ends before it begins: {entry}", "Exchange from and to.")
    return entry
