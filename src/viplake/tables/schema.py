"""PURE. What a schema says of columns and keys, and what two schemas differ in.

How the vendor spells columns in `_MasterTableSchema.json` is not documented, so they are looked for: the first list
of objects inside a table's entry, and in each of these a member that is a name, one that is a type, and one that is
true for the columns of the key. Where there is none, columns are "unknown", and never "unchanged".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from viplake import strictjson

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES: Final = ("Name", "ColumnName", "ElementName", "FieldName", "DataElementName", "Column", "Field")
_KEYS: Final = ("IsKey", "IsPrimaryKey", "PrimaryKey", "KeyColumn", "IsKeyColumn", "PartOfKey", "Key")
_TYPES: Final = ("Type", "DataType", "ColumnType", "ElementType", "FieldType", "SqlType")

Columns = dict[str, str]
"""Type by column; the type is empty where the schema does not tell."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        table: of which table.
        what: one clause: `column Port added (nvarchar)`.
    """

    table: str
    what: str


def columns_of(data: bytes) -> dict[str, Columns | None] | None:
    """The columns of each table of a schema, None for a table whose columns it does not tell; None: unreadable."""
    try:
        entries = strictjson.loads(data, halves=True)
        found = {strictjson.text_of(entry["DataObjectName"]): _columns(entry) for entry in entries}
        "".join(found).encode()
    except (ValueError, TypeError, KeyError):
        return None
    return found


def keys_of(data: bytes) -> dict[str, tuple[str, ...]]:
    """The columns that make up each table's key, in the order of the schema; tables without a key are left out."""
    try:
        entries = strictjson.loads(data, halves=True)
        found = {strictjson.text_of(entry["DataObjectName"]): _key(entry) for entry in entries}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
    return {table: key for table, key in found.items() if key}


def changes(before: Mapping[str, Columns | None], after: Mapping[str, Columns | None]) -> list[Change]:
    """What was added, removed or changed, by table."""
    found = []
    for table in sorted(before.keys() | after.keys()):
        if table not in after:
            found.append(Change(table, "table removed"))
        elif table not in before:
            found.append(Change(table, "table added"))
        else:
            old, new = before[table], after[table]
            if old is not None and new is not None and old != new:
                found += [Change(table, what) for what in _differences(old, new)]
    return found


def _differences(old: Columns, new: Columns) -> list[str]:
    def typed(columns: Columns, name: str) -> str:
        return f" ({columns[name]})" if columns[name] else ""

    added = [f"column {name} added{typed(new, name)}" for name in new if name not in old]
    removed = [f"column {name} removed{typed(old, name)}" for name in old if name not in new]
    changed = [
        f"column {name} changed from {old[name] or 'no type'} to {new[name] or 'no type'}"
        for name in new
        if name in old and old[name] != new[name]
    ]
    return added + removed + changed


def _columns(entry: Mapping[str, Any]) -> Columns | None:
    listed = _listed(entry)
    if listed is None:
        return None
    items, name = listed
    kind = _member(items[0], _TYPES)
    return {_shown(item[name]): _shown(item.get(kind, "")) if kind else "" for item in items if name in item}


def _key(entry: Mapping[str, Any]) -> tuple[str, ...]:
    listed = _listed(entry)
    if listed is None:
        return ()
    items, name = listed
    mark = next((found for item in items if (found := _member(item, _KEYS)) is not None), None)
    return tuple(_shown(item[name]) for item in items if name in item and mark and item.get(mark) in _TRUE)


_TRUE: Final = (True, 1, "true", "True", "Y", "Yes", "1")


def _listed(entry: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], str] | None:
    """The objects that describe a table's columns, and the member that names each; None where there are none."""
    for value in entry.values():
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            name = _member(value[0], _NAMES)
            if name is not None:
                return value, name
    return None


def _shown(value: Any) -> str:
    """As text that can be written; a half character becomes `?`."""
    return str(value).encode(errors="replace").decode()


def _member(item: Mapping[str, Any], known: tuple[str, ...]) -> str | None:
    """The member of an object that is spelled like one of these, whatever its case; the first one known wins."""
    spelled = {key.casefold().replace("_", ""): key for key in item}
    return next((spelled[word.casefold()] for word in known if word.casefold() in spelled), None)
