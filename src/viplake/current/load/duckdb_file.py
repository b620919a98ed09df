"""I/O. A DuckDB file as the target of a load."""

# ruff: noqa: S608 - names are quoted

from __future__ import annotations

from typing import TYPE_CHECKING

from viplake.current.load.target import HOURS, STATE, Loaded, columns_of
from viplake.current.shape import CHANGED, HOUR, PROBLEMS
from viplake.errors import SettingsError
from viplake.tables.duck import named, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from viplake.current.delta import Live
    from viplake.current.load.target import Job


class DuckdbTarget:
    """A DuckDB file, which is made.

    Args:
        path: of the file.

    Raises:
        SettingsError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        import duckdb  # noqa: PLC0415 - 35 MB and 0.1 s that other commands do without

        try:
            self._connection = duckdb.connect(str(path))
        except duckdb.Error as error:
            first = str(error).partition("\n")[0]
            raise SettingsError(f"cannot open {path}: {first}", hint="Close the program that uses it.") from None
        self._connection.execute("set timezone = 'UTC'")
        self._connection.execute("begin")
        self._connection.execute(
            f"create table if not exists {STATE} "
            "(name varchar, columns varchar, files varchar[], row_count bigint, digest varchar)"
        )
        self._connection.execute(f"create table if not exists {HOURS} (hour timestamp)")

    def state(self) -> Mapping[str, Loaded]:
        """See `Target`."""
        rows = self._connection.execute(f"from {STATE}").fetchall()
        return {name: Loaded(columns, frozenset(files), count, digest) for name, columns, files, count, digest in rows}

    def digest(self, name: str) -> tuple[int, str] | None:
        """See `Target`."""
        there = self._connection.execute("select 1 from duckdb_tables() where table_name = $1", [name]).fetchall()
        if not there:
            return None
        [(count, total)] = self._connection.execute(
            f"select count(*), coalesce(sum(hash(t)::hugeint), 0)::varchar from {named(name)} t"
        ).fetchall()
        return count, total

    def apply(self, job: Job, files: Sequence[Path], folder: Path) -> int:  # noqa: ARG002 - as the other
        """See `Target`."""
        types = {c.name: c.sql for c in job.live.shape.columns}
        types |= {HOUR: "timestamptz", CHANGED: "timestamptz", PROBLEMS: "varchar"}
        name, run = named(job.name), self._connection.execute
        columns = ", ".join(f"{named(column)} {sql}" for column, sql in types.items())
        run(f"create or replace temp table fresh ({columns})")
        for path in files:
            run(f"insert into fresh by name from read_parquet({quoted(str(path))})")
        if job.kind == "whole":
            run(f"create or replace table {name} ({columns})")
        else:
            key = " and ".join(f"t.{named(column)} = f.{named(column)}" for column in job.live.shape.key)
            run(f"delete from {name} t using fresh f where {key}")
        run(f"insert into {name} from fresh")
        [(count,)] = run("select count(*) from fresh").fetchall()
        run("drop table fresh")
        return int(count)

    def finish(self, loaded: Mapping[str, Live], hours: Iterable[str]) -> None:
        """See `Target`."""
        run = self._connection.execute
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
