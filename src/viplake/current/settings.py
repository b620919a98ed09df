"""PURE. What `[tables]` and `[tables.X]` of `viplake.toml` say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from viplake.content.profiling import RECORD_TIMES
from viplake.toml_tables import decode

if TYPE_CHECKING:
    from collections.abc import Mapping

Mode = Literal["current", "history"]
"""`current`: one row a key. `history`: no current table."""


class TableSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is set for one table.

    Attributes:
        key: its columns; empty: those of the schema.
        mode: `current` needs a key.
        record_time: column with the time at which a record changed; empty: the usual names.
    """

    key: tuple[str, ...] = ()
    mode: Mode = "current"
    record_time: str = ""


class _Top(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    adopted: bool = True


@dataclass(frozen=True, slots=True)
class TablesSettings:
    """What is set for all tables.

    Attributes:
        adopted: Hours with a Receipt that rests on sizes alone count too.
        record_times: columns that tell when a record changed, the best first.
        tables: by name.
    """

    adopted: bool = True
    record_times: tuple[str, ...] = RECORD_TIMES
    tables: Mapping[str, TableSettings] = field(default_factory=dict)

    @classmethod
    def parse(cls, value: Any, record_times: tuple[str, ...] = ()) -> TablesSettings:
        """Read `[tables]`.

        Args:
            value: of the file; None: there is none.
            record_times: of VIPLAKE_RECORD_TIMES; empty: the usual names.

        Raises:
            SettingsError: a key is unknown, or a value cannot be.
        """
        given = {} if value is None else value
        of_tables = {name: one for name, one in given.items() if isinstance(one, dict)} if given else {}
        top = decode("tables", {name: one for name, one in given.items() if name not in of_tables}, _Top)
        tables = {name: decode(f"tables.{name}", one, TableSettings) for name, one in of_tables.items()}
        return cls(top.adopted, record_times or RECORD_TIMES, tables)

    def of(self, table: str) -> TableSettings:
        """What is set for a table."""
        return self.tables.get(table, TableSettings())
