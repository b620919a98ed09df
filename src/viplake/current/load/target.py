"""PURE. What a database has to hold, and what a load does to a table of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from viplake.current.shape import CHANGED, HOUR, PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from viplake.current.delta import Live

STATE: Final = "_viplake_tables"
"""What was loaded: a row a table, with the paths of its files and a digest of its rows."""

HOURS: Final = "_viplake_hours"
"""The Hours that the loaded tables have."""

KindOfLoad = Literal["nothing", "changes", "whole"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the last load left of a table.

    Attributes:
        columns: name and Delta type, a line each, with the key.
        files: paths of the live files that were loaded.
        rows, digest: of the table then.
    """

    columns: str
    files: frozenset[str]
    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Job:
    """What a load does to a table.

    Attributes:
        name: of the table.
        kind: `changes`: rows of new files are upserted; `whole`: the table is made anew.
        paths: of the files to bring.
        live: the version that is loaded.
    """

    name: str
    kind: KindOfLoad
    paths: tuple[str, ...]
    live: Live


class Target(Protocol):
    """A database, in one transaction."""

    def state(self) -> Mapping[str, Loaded]:
        """What the last load left, by table."""
        ...

    def digest(self, name: str) -> tuple[int, str] | None:
        """Rows and digest of a table now; None where it is not there."""
        ...

    def apply(self, job: Job, files: Sequence[Path], folder: Path) -> int:
        """Load files into a table; how many rows came."""
        ...

    def finish(self, loaded: Mapping[str, Live], hours: Iterable[str]) -> None:
        """Record what was loaded, and commit."""
        ...

    def close(self) -> None:
        """Leave the database; what was not committed is undone."""
        ...


def columns_of(live: Live) -> str:
    """The columns of a table as a load remembers them."""
    own = {HOUR: "timestamp", CHANGED: "timestamp", PROBLEMS: "string"}
    lines = [f"{column.name} {column.delta}" for column in live.shape.columns]
    return "\n".join([*lines, *(f"{name} {of}" for name, of in own.items()), f"key {','.join(live.shape.key)}"])


def job_of(name: str, live: Live, loaded: Loaded | None) -> Job:
    """What a load does to a table.

    The current table never loses a key, but when it is computed anew: that replaces every file, and it is loaded whole.
    """
    now = frozenset(live.files)
    if loaded is not None and loaded.columns == columns_of(live):
        if now == loaded.files:
            return Job(name, "nothing", (), live)
        if now & loaded.files and live.shape.key:
            return Job(name, "changes", tuple(sorted(now - loaded.files)), live)
    return Job(name, "whole", tuple(sorted(now)), live)
