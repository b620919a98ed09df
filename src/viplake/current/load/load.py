"""I/O. Loads the current tables into a database: what changed since the last load, all tables in one transaction."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from viplake.concurrency import map_bounded
from viplake.current import marks
from viplake.current.delta import ConflictError
from viplake.current.load.target import job_of
from viplake.current.source import DamagedFileError, TooLargeError, temporary_folder
from viplake.errors import LakeError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection

    from viplake.current.delta import DeltaTables
    from viplake.current.load.target import Job, Target
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
    with temporary_folder() as temporary:
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
            folder = temporary / str(number)
            folder.mkdir()
            found.changed[name] = await _apply(lake, delta, target, job, folder)
            found.whole += [name] if job.kind == "whole" else []
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        await asyncio.to_thread(target.finish, live, hours)
    return found


async def _apply(lake: Lake, delta: DeltaTables, target: Target, job: Job, folder: Path) -> int:
    """Bring the files of a table and load them; how many rows came.

    Raises:
        SettingsError: there is not enough memory, or the database refuses.
        LakeError: a file is gone or damaged.
    """
    if job.live.odd is not None:  # its rows may not be those of its files
        hint = f"Move {delta.key('current', job.name)} out of the lake: viplake tables computes the table anew."
        raise SettingsError(f"the table {job.name} cannot be loaded: {job.live.odd}", hint=hint)
    files = await _bring(lake, delta, job.name, job.paths, folder)
    try:
        return await asyncio.to_thread(target.apply, job, files, folder)
    except DamagedFileError as error:
        what = f"current/{job.name}/{job.paths[files.index(error.path)]} cannot be read: {error.why}"
        raise delta.damaged("current", job.name, what) from None
    except TooLargeError:
        hint = "Report the number of its rows and the size of its files as an issue of viplake."
        raise SettingsError(f"the table {job.name} needs more memory than a load may have", hint=hint) from None


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
        try:
            with local.open("wb") as file:
                async for chunk in lake.store.read(delta.key("current", name, path)):
                    file.write(chunk)
        except FileNotFoundError:
            found = await delta.gone("current", name, path)
            if isinstance(found, ConflictError):
                words = f"the table {name} was rewritten while it was read"
                raise LakeError(words, hint="Run viplake load again.") from None
            raise found from None
        return local

    return await map_bounded(one, enumerate(paths), at_once=_AT_ONCE)
