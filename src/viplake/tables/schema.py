"""PURE. Reads columns and keys from a schema, and compares two schemas.

The spelling of columns in `_MasterTableSchema.json` is not documented, so they are searched for: the first list
of objects in a table's entry, and in each of these a member that is a name, one that is a type, sizes, and one that
marks the columns of the key. Without such a list, columns are "unknown", and never "unchanged".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from viplake.lake.layout import schema_entries
from viplake.tables.types import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

LARGEST_SCHEMA: Final = 32 << 20
"""Bytes of a schema that is read (a customer's has a few hundred kilobytes)."""

_NAMES: Final = ("Name", "ColumnName", "ElementName", "FieldName", "DataElementName", "Column", "Field")
_KEYS: Final = ("IsKey", "IsPrimaryKey", "PrimaryKey", "KeyColumn", "IsKeyColumn", "PartOfKey", "Key")
_ORDINALS: Final = ("KeyOrdinal", "PrimaryKeyOrdinal", "KeyOrder", "PrimaryKeyOrder", "KeySequence", "KeyPosition")
_KEY_LISTS: Final = ("PrimaryKey", "PrimaryKeys", "PrimaryKeyColumns", "KeyColumns", "Keys", "Key")
_TYPES: Final = ("Type", "DataType", "ColumnType", "ElementType", "FieldType", "SqlType")
_LENGTHS: Final = ("MaxLength", "MaximumLength", "CharacterMaximumLength", "Length", "Size")
_PRECISIONS: Final = ("Precision", "NumericPrecision")
_SCALES: Final = ("Scale", "NumericScale")
_NULLABLE: Final = ("IsNullable", "Nullable", "AllowNull", "AllowNulls", "AllowsNull", "AllowDBNull")
_TRUE: Final = (True, 1, "true", "True", "Y", "Yes", "1")
_FALSE: Final = (False, 0, "false", "False", "N", "No", "NO", "0")
_DEEPEST: Final = 3

Columns = dict[str, str]
"""Type by column, as SQL writes it: `decimal(28,8) not null`; empty where the schema does not tell."""


@dataclass(frozen=True, slots=True)
class TableSchema:
    """A table of a schema.

    Attributes:
        columns: types by column; None where it has none.
        key: columns of its key, in the key's order; empty where it has none.
    """

    columns: Columns | None
    key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        table: of which table.
        what: one clause: `column Port added (nvarchar)`.
    """

    table: str
    what: str


def read_schema(data: bytes) -> dict[str, TableSchema] | None:
    """Return the tables of a schema, with columns, types and keys; None where it cannot be read."""
    entries = schema_entries(data)
    try:
        return None if entries is None else {name: _table(entry) for name, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def changes(before: Mapping[str, TableSchema], after: Mapping[str, TableSchema]) -> list[Change]:
    """Return the tables, columns and types that were added, removed or changed, by table."""
    found = []
    for table in sorted(before.keys() | after.keys()):
        if table not in after:
            found.append(Change(table, "table removed"))
        elif table not in before:
            found.append(Change(table, "table added"))
        else:
            found += [Change(table, what) for what in _differences(before[table], after[table])]
    return found


def _differences(before: TableSchema, after: TableSchema) -> Iterator[str]:
    old, new = before.columns, after.columns
    if old is None or new is None:
        if old:
            yield f"its {len(old)} columns are no longer in the schema"
        return
    yield from (f"column {name} added{_typed(new, name)}" for name in new if name not in old)
    yield from (f"column {name} removed{_typed(old, name)}" for name in old if name not in new)
    for name in new:
        # INT is int, and a schema that names no type says nothing of it.
        if old.get(name) and new[name] and old[name].lower() != new[name].lower():
            yield f"column {name} changed from {old[name]} to {new[name]}"
    if before.key != after.key:
        yield f"key changed from {_listed_key(before.key)} to {_listed_key(after.key)}"


def _typed(columns: Columns, name: str) -> str:
    return f" ({columns[name]})" if columns[name] else ""


def _listed_key(key: Sequence[str]) -> str:
    return f"({', '.join(key)})" if key else "none"


def names_for(names: Iterable[str]) -> list[str]:
    """Names that a database can tell apart: it knows no empty one, and none that differs in case alone."""
    taken: set[str] = set()
    found = []
    for name in names:
        plain = name.replace("\0", "\N{REPLACEMENT CHARACTER}") or "unnamed"
        label, number = plain, 0
        while label.lower() in taken:
            number += 1
            label = f"{plain}_{number}"
        taken.add(label.lower())
        found.append(label)
    return found


# -- reading an entry -----------------------------------------------------------------------------------------------


def _table(entry: Mapping[str, Any]) -> TableSchema:
    found = _listed(entry)
    if found is None:
        return TableSchema(None)
    items, name = found
    kind = _member(items[0], _TYPES)
    named = [(_shown(item[name]), item) for item in items if name in item]
    columns = {column: _declared(item, kind) for column, item in named}
    return TableSchema(columns, _marked_key(named) or _named_key(entry, columns))


def _listed(entry: Mapping[str, Any], depth: int = 0) -> tuple[list[Mapping[str, Any]], str] | None:
    """Return the objects that describe a table's columns, and the member that holds their names; None without any."""
    below = []
    for value in entry.values():
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            items = [_flat(item) for item in value]
            name = _member(items[0], _NAMES)
            if name is not None:
                return items, name
        elif isinstance(value, dict):
            below.append(value)
    nested = (_listed(value, depth + 1) for value in below if depth < _DEEPEST)
    return next((found for found in nested if found is not None), None)


def _flat(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Flatten an object: add the members of the objects in it, unless it has a member of that name."""
    inner = {key: one for value in item.values() if isinstance(value, dict) for key, one in value.items()}
    return {**inner, **{key: value for key, value in item.items() if not isinstance(value, dict)}} if inner else item


def _declared(item: Mapping[str, Any], kind: str | None) -> str:
    """Return a column's type as SQL writes it, with size and nullability."""
    value = item.get(kind) if kind else None
    declared = "" if value is None else _shown(value)
    if not declared:
        return ""
    if "(" not in declared:
        declared += _size(item, declared)
    nullable = _member(item, _NULLABLE)
    return declared + (" not null" if nullable is not None and item[nullable] in _FALSE else "")


def _size(item: Mapping[str, Any], declared: str) -> str:
    if kind_of(declared) == "text":
        length = _number(item, _LENGTHS)
        return "" if not length else f"({length})" if length > 0 else "(max)"
    if kind_of(declared) == "decimal":
        precision, scale = _number(item, _PRECISIONS), _number(item, _SCALES)
        return "" if scale is None and not precision else f"({precision or 38},{scale or 0})"
    return ""


def _number(item: Mapping[str, Any], known: tuple[str, ...]) -> int | None:
    member = _member(item, known)
    value = None if member is None else item[member]
    try:
        return None if value is None or isinstance(value, bool) else int(value)
    except (ValueError, TypeError, OverflowError):
        return None


def _marked_key(named: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[str, ...]:
    """Return the key columns that are marked by a true value, or by their place in the key."""
    mark = next((found for _, item in named if (found := _member(item, _KEYS)) is not None), None)
    place = next((found for _, item in named if (found := _member(item, _ORDINALS)) is not None), None)
    marks = {column: item.get(mark) for column, item in named} if mark else {}
    places = _places({column: item.get(place) for column, item in named} if place else marks)
    if len(set(places.values())) == len(places) and (place or len(places) > 1):
        return tuple(sorted(places, key=lambda column: places[column]))
    if max(places.values(), default=0) > 1:
        return ()  # two columns at one place: which order is meant is not known
    return tuple(column for column, value in marks.items() if _is(value, _TRUE))


def _places(marks: Mapping[str, Any]) -> dict[str, int]:
    """Return the place in the key, from 1 on, by column."""
    found = {}
    for column, value in marks.items():
        text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
        if text.isascii() and text.isdigit() and int(text[:9]) > 0:
            found[column] = int(text[:9])
    return found


def _is(value: Any, words: tuple[Any, ...]) -> bool:
    return isinstance(value, bool | int | str) and value in words


def _named_key(entry: Mapping[str, Any], columns: Columns) -> tuple[str, ...]:
    """Return the key where the table's own entry lists its columns."""
    member = _member(entry, _KEY_LISTS)
    value = entry[member] if member is not None else None
    listed = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    names = tuple(name.strip() for name in listed if isinstance(name, str))
    return names if names and len(names) == len(listed) and set(names) <= columns.keys() else ()


def _shown(value: Any) -> str:
    """Return a text that can be written; lone surrogates become `?`."""
    return str(value).encode(errors="replace").decode()


def _member(item: Mapping[str, Any], known: tuple[str, ...]) -> str | None:
    """Return the member of an object with one of these names, in any case; the first name found wins."""
    spelled = {key.lower().replace("_", ""): key for key in item}
    return next((spelled[word.lower()] for word in known if word.lower() in spelled), None)
