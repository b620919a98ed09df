"""PURE. A table file on this machine: its form, or why it cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

Form = Literal["array", "newline_delimited", "unstructured", "csv", "parquet"]
"""A JSON array; an object a line; objects one after the other, wherever lines end (as DuckDB calls these three); CSV
with a header; Parquet."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that can be read.

    Attributes:
        name: in the hourly folder.
        path: where it lies here.
        form: of its records.
        size: bytes as stored in the lake.
        unfolded: bytes of records.
        member: of a zip file; empty where it is none.
        header: columns of a CSV or Parquet file.
        delimiter: of a CSV file.
        blank: lines ahead of the header of a CSV file, which `path` does not have.
        raw: the file before it was written anew (see `json_repair`, `json_records`); None where it was not.
    """

    name: str
    path: Path
    form: Form
    size: int
    unfolded: int
    member: str = ""
    header: tuple[str, ...] = ()
    delimiter: str = ","
    blank: int = 0
    raw: Path | None = None

    @property
    def label(self) -> str:
        """The name to display."""
        return f"{self.name} ({self.member})" if self.member else self.name


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that cannot be read, or only in part.

    Attributes:
        name: in the hourly folder.
        why: one clause.
        byte: of the file as stored, from 0 on; None where it is not known.
        empty: there is nothing in it.
    """

    name: str
    why: str
    byte: int | None = None
    empty: bool = False
