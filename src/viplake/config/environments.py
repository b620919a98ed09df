"""PURE. `[environments.NAME]` of `viplake.toml`: further export configurations at the vendor, besides Test and Prod."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec

from viplake.lake.layout import Layout
from viplake.model import PROD, TEST, Environment
from viplake.toml_tables import decode, refuse

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class _Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    config_name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    prefix: str
    environment_type: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] = "Prod"
    refresh: Literal["hourly", "daily"] = "hourly"
    due: Annotated[int, msgspec.Meta(ge=0, le=23)] = 6


def declared_environments(value: Any) -> tuple[Environment, ...]:
    """Return the environments that the file declares.

    Raises:
        SettingsError: a name, key or value is invalid, or two environments would share a root.
    """
    if not isinstance(value, dict):
        raise refuse("[environments]", "is not made of tables", "Write each one as [environments.NAME].")
    found: list[Environment] = []
    for name, table in value.items():
        if not _NAME.fullmatch(name) or name.lower() in {"prod", "test"}:
            hint = "Use letters, digits, - and _; Prod and Test are built in."
            raise refuse(f"[environments.{name}]", "cannot have this name", hint)
        known = decode(f"environments.{name}", table, _Declared)
        layout = Layout.below(known.prefix)
        for other in (PROD, TEST, *found):
            if Layout.below(other.prefix).root == layout.root or other.name.lower() == name.lower():
                hint = "Give each environment a root of its own: the parent of its prefix."
                raise refuse(f"[environments.{name}]", f"shares name or root with {other.name}", hint)
        due = known.due if known.refresh == "daily" else None
        found.append(Environment(name, known.config_name, layout.prefix, known.environment_type, due))
    return tuple(found)
