"""I/O. A DuckDB file as the target of a load."""

# ruff: noqa: S608 - names are quoted

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from viplake.current.load.target import HOURS, STATE, Loaded, columns_of
from viplake.current.shape import CHANGED, HOUR, PROBLEMS
from viplake.current.source import TooLargeError, raise_damaged, temporary_folder
from viplake.errors import SettingsError
from viplake.tables import duck
from viplake.tables.duck import named, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from viplake.current.delta import Live
    from viplake.current.load.target import Job


_MEMORY: Final = "512MB"
"""Of DuckDB; what does not fit goes to a temporary folder. By default it takes 80 % of the machine's."""


class DuckdbTarget:
    """A DuckDB file, which is made.

    Its methods raise SettingsError where a disk is full or DuckDB refuses, and TooLargeError where memory does not do.

    Args:
        path: of the file.

    Raises:
        SettingsError: it cannot be opened, or there is no temporary folder.
    """

    def __init__(self, path: Path) -> None:
        import duckdb  # noqa: PLC0415 - 35 MB and 0.1 s that other commands do without

        self._path, self._open = path, ExitStack()
        self._spilled = self._open.enter_context(temporary_folder())
        fresh = not path.exists()
        config = {"memory_limit": _MEMORY, "temp_directory": str(self._spilled)}
        try:
            self._connection = duckdb.connect(str(path), config={**config, "preserve_insertion_order": False})
        except duckdb.Error as error:
            self._open.close()
            if fresh:  # what was begun of it could not be opened by the next load
                path.unlink(missing_ok=True)
            hint = "Close the program that uses it, or give the path of another file."
            refused = SettingsError(f"cannot open {path}: {_first(error)}", hint=hint)
            raise self._full(error) or refused from None
        self._run("set timezone = 'UTC'")
        self._run("begin")
        self._run(
            f"create table if not exists {STATE} "
            "(name varchar, columns varchar, files varchar[], row_count bigint, digest varchar)"
        )
        self._run(f"create table if not exists {HOURS} (hour timestamp)")

    def _run(self, sql: str, parameters: Sequence[Any] = (), *, reads: Sequence[Path] = ()) -> list[tuple[Any, ...]]:
        """Run a statement; `reads`: the Parquet files that it reads."""
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except duck.errors() as error:
            if (full := self._full(error)) is not None:
                raise full from None
            if duck.of_memory(error):
                raise TooLargeError from None
            raise_damaged(reads)
            hint = "Correct what the message names, or load into another file."
            raise SettingsError(f"{self._path} refuses: {_first(error)}", hint=hint) from None

    def _full(self, error: Exception) -> SettingsError | None:
        if not duck.of_space(error):
            return None
        where = f"{self._path}, or for temporary files in {self._spilled.parent}"
        hint = "Make room, or set TMPDIR to a folder that has some."
        return SettingsError(f"no room for {where}: {_first(error)}", hint=hint)

    def state(self) -> Mapping[str, Loaded]:
        """See `Target`."""
        rows = self._run(f"from {STATE}")
        return {name: Loaded(columns, frozenset(files), count, digest) for name, columns, files, count, digest in rows}

    def digest(self, name: str) -> tuple[int, str] | None:
        """See `Target`."""
        there = self._run("select 1 from duckdb_tables() where table_name = $1", [name])
        if not there:
            return None
        [(count, total)] = self._run(
            f"select count(*), coalesce(sum(hash(t)::hugeint), 0)::varchar from {named(name)} t"
        )
        return count, total

    def apply(self, job: Job, files: Sequence[Path], folder: Path) -> int:  # noqa: ARG002 - as the other
        """See `Target`."""
        types = {c.name: c.sql for c in job.live.shape.columns}
        types |= {HOUR: "timestamptz", CHANGED: "timestamptz", PROBLEMS: "varchar"}
        name, run = named(job.name), self._run
        columns = ", ".join(f"{named(column)} {sql}" for column, sql in types.items())
        run(f"create or replace temp table fresh ({columns})")
        for path in files:
            run(f"insert into fresh by name from read_parquet({quoted(str(path))})", reads=[path])
        if job.kind == "whole":
            run(f"create or replace table {name} ({columns})")
        else:
            key = " and ".join(f"t.{named(column)} = f.{named(column)}" for column in job.live.shape.key)
            run(f"delete from {name} t using fresh f where {key}")
        run(f"insert into {name} from fresh")
        [(count,)] = run("select count(*) from fresh")
        run("drop table fresh")
        return int(count)

    def finish(self, loaded: Mapping[str, Live], hours: Iterable[str]) -> None:
        """See `Target`."""
        run = self._run
        for name, live in loaded.items():
            count, digest = self.digest(name) or (0, "")
            run(f"delete from {STATE} where name = $1", [name])
            run(
                f"insert into {STATE} values (?, ?, ?, ?, ?)",
                [name, columns_of(live), sorted(live.files), count, digest],
            )
        run(f"delete from {HOURS}")
        run(f"insert into {HOURS} select unnest($1::varchar[])::timestamp", [[f"{hour}:00" for hour in hours]])
        run("commit")

    def close(self) -> None:
        """See `Target`."""
        self._connection.close()
        self._open.close()


def _first(error: Exception) -> str:
    return str(error).partition("\n")[0]
