"""PURE. What `[tables]` and `[tables.X]` of `viplake.toml` say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from viplake.content.profiling import RECORD_TIMES
from viplake.current.shape import Deletion
from viplake.toml_tables import decode

if TYPE_CHECKING:
    from collections.abc import Mapping

Mode = Literal["current", "history", "snapshot"]
"""`current`: one row a key. `history`: no current table. `snapshot`: the current table has the records of one Hour."""


class TableSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is set for one table.

    Attributes:
        key: its columns; empty: those of the schema.
        mode: `current` needs a key.
        record_time: column with the time at which a record changed; empty: the usual names.
        fewer_rows: a snapshot may replace one that has more than twice its rows.
        deleted: column that marks deleted rows; empty: none does.
        deleted_values: that it has in such rows, in any case.
    """

    key: tuple[str, ...] = ()
    mode: Mode = "current"
    record_time: str = ""
    fewer_rows: bool = False
    deleted: str = ""
    deleted_values: tuple[str, ...] = ("1", "true")

    @property
    def deletion(self) -> Deletion | None:
        """What marks deleted rows; None: nothing does."""
        values = tuple(sorted({value.lower() for value in self.deleted_values}))
        return Deletion(self.deleted, values) if self.deleted else None

    @property
    def reading(self) -> list[object]:
        """What decides on how records become rows."""
        return [self.key, self.mode, self.record_time, self.deletion]


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
