"""PURE. Schema drift: which schema was valid from when to when, and what changed from each to the next, in words.

Two schemas are the same when their bytes are. A schema that comes back is a new version, because readers of the data
need to know about the Hours between. Hours without a schema interrupt nothing. An unknown difference is reported as
unknown, with the reason: it is never taken for "no change".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from viplake.tables.schema import Change, TableSchema, changes
from viplake.wording import count_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from viplake.history.datasets import Row
    from viplake.model import Hour

Tables = dict[str, TableSchema]
"""What a schema says of each table."""

MOST_COMPARED: Final = 200
"""The newest versions that are compared, each at a request: should schemas ever hold a date, each Hour has its own."""

FIRST: Final = "it is the first on record"
OLDER: Final = f"only the newest {MOST_COMPARED} are compared"
UNREAD: Final = "its copy was not read"
NO_COLUMNS: Final = "the schema lists none for it"
SAME: Final = "other bytes, but the same tables and the same columns, as far as they are known"

_NAMED: Final = 12
"""Hex digits by which people know a schema."""

_SHOWN: Final = 20
"""Versions, and tables of each, that people are shown at once."""


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """A range of Hours with the same schema, byte by byte.

    Attributes:
        sha256: of these bytes.
        first, last: the Hours in which it was seen first and last.
        hours: that had it.
        tables: how many it names; None where it cannot be read.
        changes: what it differs in from the last one before that can be read; or why that is not known.
    """

    sha256: str
    first: Hour
    last: Hour
    hours: int
    tables: int | None
    changes: tuple[Change, ...] | str = UNREAD

    @property
    def name(self) -> str:
        """The first digits of the hash, for display."""
        return named(self.sha256)

    @property
    def count(self) -> str:
        """The number of its tables."""
        return "tables unknown" if self.tables is None else count_words(self.tables, "table")

    def to_json(self) -> dict[str, Any]:
        """Return it as `Listed.to_json` prints it."""
        return {
            "schema": self.sha256,
            "first": str(self.first),
            "last": str(self.last),
            "hours": self.hours,
            "tables": self.tables,
            **_changes_json(self.changes),
        }


def named(sha256: str) -> str:
    """Return the first digits of a hash, for display."""
    return sha256[:_NAMED]


def versions(rows: Mapping[Hour, Row]) -> tuple[SchemaVersion, ...]:
    """Return the versions in the rows of `historical_schema_versions`, oldest first, not compared yet."""
    found = []
    for sha256, group in groupby(sorted(rows.items()), key=lambda item: item[1][1]):
        stretch = list(group)
        tables = stretch[-1][1][2]
        known = int(tables) if tables else None
        found.append(SchemaVersion(sha256, stretch[0][0], stretch[-1][0], len(stretch), known))
    return tuple(found)


def to_compare(found: Sequence[SchemaVersion]) -> frozenset[str]:
    """Return the hashes of the schemas that `compared` needs."""
    return frozenset(version.sha256 for version in found[-MOST_COMPARED - 1 :] if version.tables is not None)


def compared(found: Sequence[SchemaVersion], known: Mapping[str, Tables | str]) -> tuple[SchemaVersion, ...]:
    """Return the versions, each with its changes against the version before.

    Args:
        found: as `versions` gives them.
        known: by hash, what the schemas of `to_compare` say, or why that is not known.
    """
    changed = []
    before: SchemaVersion | None = None
    for number, version in enumerate(found):
        why: tuple[Change, ...] | str
        if version.tables is None:
            why = unreadable(version.sha256)
        elif before is None:
            why = FIRST
        elif number < len(found) - MOST_COMPARED:
            why = OLDER
        else:
            why = difference(before.sha256, version.sha256, known)
        changed.append(replace(version, changes=why))
        if version.tables is not None:
            before = version
    return tuple(changed)


def difference(before: str, after: str, known: Mapping[str, Tables | str]) -> tuple[Change, ...] | str:
    """Return the changes between two schemas, given by their hashes; or why they are unknown."""
    if before == after:
        return ()
    old, new = known.get(before, UNREAD), known.get(after, UNREAD)
    if isinstance(old, str):
        return old
    return new if isinstance(new, str) else tuple(changes(old, new))


def unreadable(sha256: str) -> str:
    """Return the reason for a schema that cannot be read."""
    return f"schema {named(sha256)} cannot be read: it is no list of tables"


def lost(sha256: str) -> str:
    """Return the reason for a schema without a stored copy."""
    return f"no copy of schema {named(sha256)} is left; if its folder is, viplake observe --rebuild makes one"


def holding(found: Iterable[SchemaVersion], at: Hour) -> SchemaVersion | None:
    """Return the version that was valid at an Hour: the newest that had begun; None before the first."""
    return max((version for version in found if version.first <= at), key=lambda version: version.first, default=None)


def words(changed: Sequence[Change] | str) -> list[str]:
    """Return changes as text, one line a table; or why they are unknown."""
    if isinstance(changed, str):
        return [changed]
    lines = [
        f"{table}: {'; '.join(change.what for change in of)}"
        for table, of in groupby(changed, key=lambda one: one.table)
    ]
    return lines or [SAME]


def none_at(found: Sequence[SchemaVersion], at: Hour | None) -> str:
    """Return why no version was valid."""
    if not found:
        return "no Hour of the history has a schema yet; viplake observe updates the history"
    return f"no schema is on record at or before {at}: the first is of {found[0].first}"


# -- output ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listed:
    """All versions.

    Attributes:
        versions: the oldest first.
        unknown: Hours with an unknown schema: an older viplake observed them, or they were imported.
    """

    versions: tuple[SchemaVersion, ...]
    unknown: int = 0

    @property
    def reason(self) -> str | None:
        """Why there is no version."""
        return None if self.versions else none_at((), None)

    def to_json(self) -> dict[str, Any]:
        """Return the object that `viplake schema --json` prints."""
        changed = [version.to_json() for version in self.versions]
        return {"versions": changed, "unknown_hours": self.unknown, "reason": self.reason}

    def lines(self) -> Iterator[str]:
        """Return the lines of `viplake schema`: the newest versions, each with its changes."""
        if self.reason is not None:
            yield self.reason
        if self.unknown:
            many = count_words(self.unknown, "Hour")
            yield f"{many} with an unknown schema; viplake observe --rebuild finds it where the folders exist"
        if len(self.versions) > _SHOWN:
            yield f"{len(self.versions) - _SHOWN} older versions: --json lists them"
        for version in self.versions[-_SHOWN:]:
            yield f"{version.first} to {version.last}  {version.hours:>6,} Hours  {version.count}  {version.name}"
            changed = words(version.changes)
            yield from (f"  {line}" for line in changed[:_SHOWN])
            if len(changed) > _SHOWN:
                yield f"  {len(changed) - _SHOWN} tables more differ: viplake schema --diff {version.first.shift(-1)}"


@dataclass(frozen=True, slots=True)
class Held:
    """The schema that was valid at an Hour.

    Attributes:
        at: the Hour.
        version: of the schema; None without one.
        tables: what it says, or why that is not known.
    """

    at: Hour
    version: SchemaVersion | None
    tables: Tables | str

    def to_json(self) -> dict[str, Any]:
        """Return the object that `viplake schema --at HOUR --json` prints."""
        version = self.version
        reason = self.tables if isinstance(self.tables, str) else None
        tables = None if isinstance(self.tables, str) else [_table_json(*one) for one in sorted(self.tables.items())]
        return {
            "at": str(self.at),
            "schema": version and version.sha256,
            "first": version and str(version.first),
            "last": version and str(version.last),
            "hours": version and version.hours,
            "tables": tables,
            "reason": reason,
        }

    def lines(self) -> Iterator[str]:
        """Return the lines of `viplake schema --at`: one a table, then one a column."""
        if self.version is not None:
            yield f"{self.at}: schema {self.version.sha256}, {self.version.count}"
            hours = count_words(self.version.hours, "Hour")
            yield f"  seen from {self.version.first} to {self.version.last} in {hours}"
        if isinstance(self.tables, str):
            yield self.tables
            return
        for table, known in sorted(self.tables.items()):
            columns = known.columns or {}
            yield table if known.columns is not None else f"{table}  columns unknown: {NO_COLUMNS}"
            width = max(map(len, columns), default=0)
            yield from (f"  {name:{width}}  {kind}".rstrip() for name, kind in columns.items())
            if known.key:
                yield f"  key: {', '.join(known.key)}"


@dataclass(frozen=True, slots=True)
class Differing:
    """The changes between the schemas of two Hours.

    Attributes:
        hours: from which to which; the second is None where the newest was meant and there is none.
        ends: whose schemas; None where none held.
        changes: the differences, or why they are not known.
    """

    hours: tuple[Hour, Hour | None]
    ends: tuple[SchemaVersion | None, SchemaVersion | None]
    changes: tuple[Change, ...] | str

    def to_json(self) -> dict[str, Any]:
        """Return the object that `viplake schema --diff HOUR --json` prints."""
        ends = zip(("from", "to"), self.hours, self.ends, strict=True)
        return {
            name: {"hour": None if hour is None else str(hour), "schema": version and version.sha256}
            for name, hour, version in ends
        } | _changes_json(self.changes)

    def lines(self) -> Iterator[str]:
        """Return the lines of `viplake schema --diff`: the two Hours, then the changes, one line a table."""
        for name, hour, version in zip(("from", "to"), self.hours, self.ends, strict=True):
            if version is not None:
                yield f"{name:4}  {hour}: schema {version.name}, {version.count}, since {version.first}"
        one = len({version and version.sha256 for version in self.ends}) == 1
        yield from ["it is the same schema"] if one and not self.changes else words(self.changes)


def _table_json(table: str, known: TableSchema) -> dict[str, Any]:
    columns = None
    if known.columns is not None:
        columns = [{"column": name, "type": kind or None} for name, kind in known.columns.items()]
    reason = NO_COLUMNS if columns is None else None
    return {"table": table, "columns": columns, "key": list(known.key) or None, "reason": reason}


def _changes_json(changed: Sequence[Change] | str) -> dict[str, Any]:
    if isinstance(changed, str):
        return {"changes": None, "reason": changed}
    return {"changes": [{"table": one.table, "change": one.what} for one in changed], "reason": None}
