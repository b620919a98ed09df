"""I/O. Loads the current tables into a database: what changed since the last load, all tables in one transaction."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from viplake.concurrency import map_bounded
from viplake.current import marks
from viplake.current.load.target import job_of
from viplake.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection

    from viplake.current.delta import DeltaTables
    from viplake.current.load.target import Target
    from viplake.lake import Lake
    from viplake.network.settings import Network

_AT_ONCE: Final = 4


@dataclass(slots=True)
class LoadReport:
    """What a load did.

    Attributes:
        changed: rows that came, by table that had changes.
        whole: tables that were made anew.
        unchanged: tables without changes.
        hours: that the loaded tables have.
    """

    changed: dict[str, int] = field(default_factory=dict)
    whole: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    hours: int = 0

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "tables": self.changed, "made_anew": self.whole, "unchanged": self.unchanged, "hours": self.hours,
        }  # fmt: skip


def open_target(url: str, network: Network) -> Target:
    """Open a database by its URL: `postgresql://...`, or the path of a DuckDB file.

    Raises:
        SettingsError: it cannot be opened.
        NetworkError: its server cannot be reached.
    """
    if url.startswith(("postgresql://", "postgres://")):
        from viplake.current.load.postgres import PostgresTarget  # noqa: PLC0415 - needs the extra `postgres`

        return PostgresTarget(url, network)
    if url.endswith(".duckdb"):
        from viplake.current.load.duckdb_file import DuckdbTarget  # noqa: PLC0415 - DuckDB, 35 MB

        return DuckdbTarget(Path(url.removeprefix("duckdb://")))
    raise SettingsError(
        f"not a database that viplake loads: {url.partition('@')[2] or url!r}",
        hint="Give postgresql://user@host/database, or a path that ends in .duckdb.",
    )


async def load(
    lake: Lake, delta: DeltaTables, target: Target, *, only: Collection[str] = (), overwrite: bool = False
) -> LoadReport:
    """Load the current tables.

    Args:
        lake: which.
        delta: its tables.
        target: the database.
        only: tables; empty: all.
        overwrite: make tables anew that somebody changed in the database.

    Raises:
        SettingsError: a table was changed in the database since the last load, or is not ours; nothing was changed.
        LakeError: the lake cannot be read.
        NetworkError: the connection to the database broke, or it was silent for too long; nothing was changed.
    """
    # Hours first: a table that gets another one meanwhile is newer than the record says, never older.
    hours = sorted(str(hour) for hour in (await marks.known(lake, await marks.days(lake))).done)
    folders = [name for name in await delta.folders("current") if not only or name in only]
    if absent := sorted(set(only) - set(folders)):
        raise SettingsError(f"there is no current table {absent[0]!r}", hint="viplake tables show lists them.")
    opened = await map_bounded(lambda name: delta.open("current", name), folders, at_once=8)
    live = {name: one for name, one in zip(folders, opened, strict=True) if one is not None}
    found = LoadReport(hours=len(hours))
    state = await asyncio.to_thread(target.state)
    with tempfile.TemporaryDirectory(prefix="viplake-") as temporary:
        for number, (name, one) in enumerate(live.items()):
            loaded = state.get(name)
            if not overwrite:
                now = await asyncio.to_thread(target.digest, name)
                if (why := _changed_by_hand(now, None if loaded is None else (loaded.rows, loaded.digest))) is not None:
                    hint = "Undo the change, or replace the table with --overwrite."
                    raise SettingsError(f"the table {name} of the database {why}", hint=hint)
            job = job_of(name, one, None if overwrite else loaded)
            if job.kind == "nothing":
                found.unchanged.append(name)
                continue
            folder = Path(temporary) / str(number)
            folder.mkdir()
            files = await _bring(lake, delta, name, job.paths, folder)
            found.changed[name] = await asyncio.to_thread(target.apply, job, files, folder)
            found.whole += [name] if job.kind == "whole" else []
            for path in files:
                path.unlink()
        await asyncio.to_thread(target.finish, live, hours)
    return found


def _changed_by_hand(now: tuple[int, str] | None, then: tuple[int, str] | None) -> str | None:
    if now == then:
        return None
    if then is None:
        return "exists, and viplake did not make it"
    if now is None:
        return "is gone"
    if now[0] != then[0]:
        return f"has {now[0]:,} rows, and had {then[0]:,} after the last load"
    return f"has other rows than after the last load, {now[0]:,} as then"


async def _bring(lake: Lake, delta: DeltaTables, name: str, paths: Collection[str], folder: Path) -> list[Path]:
    async def one(numbered: tuple[int, str]) -> Path:
        number, path = numbered
        local = folder / f"{number}.parquet"
        with local.open("wb") as file:
            async for chunk in lake.store.read(delta.key("current", name, path)):
                file.write(chunk)
        return local

    return await map_bounded(one, enumerate(paths), at_once=_AT_ONCE)
