"""PURE. Which columns a table has, of which types, and where the values of an Hour go.

A column has the kind of the first Hour that declares it. A wider type widens it, a narrower one fits. Values of another
kind go to a column `X__text` beside it. So the columns depend on the Hours alone, not on the order of their arrival:
a late Hour that would have decided otherwise asks for the table to be computed anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from viplake.content.profiling import spellings
from viplake.tables.schema import names_for
from viplake.tables.types import TEXT, ColumnType, type_of, widened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from viplake.model import Hour

HOUR: Final = "_hour"
CHANGED: Final = "_changed"
PROBLEMS: Final = "_problems"
DELETED: Final = "_deleted"
"""Column of the tables where a setting says which rows are deleted."""

OWN: Final = (HOUR, CHANGED, PROBLEMS, DELETED)
"""Names that no column of the records gets."""

_ODD: Final = re.compile(r"[ ,;{}()\n\t=]")
"""Characters that a column of a Delta table cannot have (Delta protocol, "Column Mapping")."""

_STORED: Final = {"integer": "long", "text": "string"}
"""What Delta calls a kind, where it has another name."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: in the table.
        source: as the schema or the records spell it.
        type: as stored: without a length, integers with 64 bits.
        since: the first Hour known to have it with this kind, `20220510-13`.
    """

    name: str
    source: str
    type: ColumnType
    since: str

    @property
    def sql(self) -> str:
        """Its type as DuckDB writes it."""
        return "timestamptz" if self.type.kind == "timestamp" else self.type.sql

    @property
    def delta(self) -> str:
        """Its type as Delta writes it."""
        if self.type.kind == "decimal":
            return f"decimal({self.type.precision},{self.type.scale})"
        return _STORED.get(self.type.kind, self.type.kind)


@dataclass(frozen=True, slots=True)
class Shape:
    """A table's columns and key.

    Attributes:
        columns: without our own.
        key: names of the columns of its key, in order; empty: no key is known.
    """

    columns: tuple[Column, ...] = ()
    key: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(column.name for column in self.columns)

    def find(self, source: str, present: Iterable[str] = ()) -> Column | None:
        """The column for a name of an Hour: of these very letters, else of these letters in another case.

        Args:
            source: the name.
            present: all names of the Hour: a column that one of them spells exactly belongs to that one.
        """
        exact = next((column for column in self.columns if column.source == source), None)
        if exact is not None:
            return exact
        taken = set(present)
        return next((c for c in self.columns if c.source.lower() == source.lower() and c.source not in taken), None)


class Deletion(NamedTuple):
    """What marks a deleted row: a column of the records, and its values in such rows, in small letters."""

    column: str
    values: tuple[str, ...]

    @property
    def source(self) -> str:
        """The source of the table's column `_deleted`: another one means that its values do not hold any more."""
        return f"{self.column} in {', '.join(self.values)}"


class Snapshot(NamedTuple):
    """The Hour that a current table has the records of, and their number."""

    hour: Hour
    rows: int


class Route(NamedTuple):
    """Where values go.

    Attributes:
        members: of records that they are read from; the first one that is there counts.
        declared: what they are tried as.
        column: of the table.
        as_text: they are of another kind than the column: only the column `X__text` has them.
    """

    members: tuple[str, ...]
    declared: ColumnType
    column: str
    as_text: bool = False


@dataclass(frozen=True, slots=True)
class Fitted:
    """How an Hour fits a table.

    Attributes:
        shape: of the table with the Hour.
        routes: of the Hour's values.
        changed: number of the route with the time at which a record changed; None: there is none.
        notes: what changed, one clause each.
        widened: a column has a wider type than before.
        anew: why the table has to be computed anew, such as a type that a late Hour decides on; None: it has not.
        deleted: number of the route that marks deleted rows; None: the Hour does not have it.
        refused: why the Hour cannot be merged; None: it can.
    """

    shape: Shape
    routes: tuple[Route, ...]
    changed: int | None
    notes: tuple[str, ...] = ()
    widened: bool = False
    anew: str | None = None
    refused: str | None = None
    deleted: int | None = None


def stored(of: ColumnType) -> ColumnType:
    """The type that a column has for values of this one."""
    if of.kind == "decimal":
        return ColumnType("decimal", *of.digits)
    return ColumnType(of.kind)


def joined(one: ColumnType, other: ColumnType) -> ColumnType | None:
    """The stored type that holds all values of both exactly; None where there is none."""
    found = stored(widened(stored(one), stored(other)))
    exact = found.kind in {one.kind, other.kind} and (found.kind not in {"double", "text"} or one.kind == other.kind)
    return found if exact else None


def parse_type(text: str) -> ColumnType | None:
    """The type of a column by Delta's word for it; None: viplake makes no such columns."""
    if match := re.fullmatch(r"decimal\((\d+), ?(\d+)\)", text):
        return ColumnType("decimal", int(match[1]), int(match[2]))
    kinds = {"long": "integer", "string": "text", "integer": "integer"}
    known = kinds.get(text, text)
    return next((ColumnType(kind) for kind in ("integer", "text", "double", "boolean", "date", "timestamp")
                 if kind == known), None)  # fmt: skip


def fit(
    shape: Shape | None,
    hour: str,
    declared: Mapping[str, str],
    members: Iterable[str],
    key: Sequence[str],
    record_times: Sequence[str],
    *,
    deletion: Deletion | None = None,
) -> Fitted:
    """Fit an Hour to a table.

    Args:
        shape: of the table; None: it does not exist.
        hour: its label, `20220510-13`.
        declared: types by column, as the Hour's schema spells them.
        members: that the Hour's records have.
        key: columns of the key, by the settings or the schema.
        record_times: columns that tell when a record changed, the best first.
        deletion: what marks deleted rows; None: nothing does.
    """
    found = _Fitting(shape or Shape(), hour)
    members = list(members)
    spelled = spellings(declared, members)
    others = {member for some in spelled.values() for member in some}
    unknown = [name for name in sorted(members) if name not in declared and name not in others]
    present = {*declared, *unknown}
    for name, spelling in declared.items():
        found.add(name, spelled.get(name, (name,)), type_of(spelling) or TEXT, present)
    for name in unknown:
        known = found.shape.find(name, present)
        found.add(name, (name,), known.type if known else TEXT, present)
    names = _names_of(found.shape, key, present)
    refused = None
    if names is None or not all(any(r.column == name and not r.as_text for r in found.routes) for name in names):
        absent = ", ".join(key)
        refused = f"its key ({absent}) is not among its columns, or one of them changed its kind"
    elif shape is not None and names != shape.key:
        refused = f"its key changed from {_listed(shape.key)} to {_listed(names)}"
    else:
        found.shape = replace(found.shape, key=names)
    wanted = [name.lower() for name in record_times]
    times = [number for number, route in enumerate(found.routes) if route.members[0].lower() in wanted]
    times.sort(key=lambda number: wanted.index(found.routes[number].members[0].lower()))
    changed = times[0] if times else None
    deleted = found.flag(deletion)
    return Fitted(
        found.shape, tuple(found.routes), changed, tuple(found.notes), found.widened, found.anew, refused, deleted
    )


def _names_of(shape: Shape, key: Sequence[str], present: Iterable[str]) -> tuple[str, ...] | None:
    columns = [shape.find(name, present) for name in key]
    return tuple(column.name for column in columns if column) if all(columns) else None


def _listed(key: Sequence[str]) -> str:
    return f"({', '.join(key)})" if key else "none"


class _Fitting:
    """A shape that grows by the columns of an Hour."""

    def __init__(self, shape: Shape, hour: str) -> None:
        self.shape, self.hour = shape, hour
        self.routes: list[Route] = []
        self.notes: list[str] = []
        self.widened = False
        self.anew: str | None = None
        self._new = not shape.columns

    def add(self, name: str, members: tuple[str, ...], declared: ColumnType, present: Iterable[str]) -> None:
        """Find the column for a name of the Hour, or make it."""
        column = self.shape.find(name, present)
        if column is None:
            column = self._make(name, stored(declared))
            self._note(f"column {column.name} added ({column.delta})")
        common = joined(column.type, declared)
        if common is None and self.hour < column.since:
            self.anew = "decides on the type of a column"
        if common is None and column.type.kind != "text":
            beside = self.shape.find(f"{name}__text")
            if beside is None:
                beside = self._make(f"{name}__text", TEXT)
                self._note(f"column {column.name} ({column.delta}) became {declared.kind}: see {beside.name}")
            self.routes.append(Route(members, TEXT, beside.name, as_text=True))
            return
        if common is not None and common != column.type:
            wider = replace(column, type=common)
            self.shape = replace(
                self.shape, columns=tuple(wider if one is column else one for one in self.shape.columns)
            )
            self._note(f"column {column.name} widened from {column.delta} to {wider.delta}")
            self.widened, column = True, wider
        self.routes.append(Route(members, TEXT if common is None else declared, column.name))

    def flag(self, deletion: Deletion | None) -> int | None:
        """Make the column `_deleted`, where a setting wants it; the number of the route with its source."""
        columns = self.shape.columns
        known = next((one for one in columns if one.name == DELETED and one.source != DELETED), None)
        if (known.source if known else None) != (deletion.source if deletion else None) and not self._new:
            self.anew = "comes with another setting for deleted rows"
        if deletion is None:
            return None
        column = Column(DELETED, deletion.source, ColumnType("boolean"), known.since if known else self.hour)
        same = tuple(column if one is known else one for one in columns)
        self.shape = replace(self.shape, columns=same if known else (*same, column))
        wanted = deletion.column.lower()
        if self.shape.find(deletion.column) is None:
            missing = f"no column {deletion.column}: no row is marked as deleted"
            self.notes.append(missing)
            self.anew = self.anew and f"{self.anew}; {missing}"
        names = [route.members[0].lower() for route in self.routes]
        return names.index(wanted) if wanted in names else None

    def _make(self, source: str, of: ColumnType) -> Column:
        taken = [*OWN, *self.shape.names]
        [*_, name] = names_for([*taken, _ODD.sub("_", source)])
        column = Column(name, source, of, self.hour)
        self.shape = replace(self.shape, columns=(*self.shape.columns, column))
        return column

    def _note(self, what: str) -> None:
        if not self._new:
            self.notes.append(what)
