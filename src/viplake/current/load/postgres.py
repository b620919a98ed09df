"""I/O. A PostgreSQL database as the target of a load: a staging table, COPY, upsert, all in one transaction."""

# ruff: noqa: S608 - names are quoted

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from viplake.current.load.target import HOURS, STATE, Loaded, columns_of
from viplake.current.shape import CHANGED, HOUR, PROBLEMS
from viplake.errors import SettingsError
from viplake.redact import redact
from viplake.tables import duck
from viplake.tables.duck import named, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from viplake.current.delta import Live
    from viplake.current.load.target import Job
    from viplake.current.shape import Column

_LOCK: Final = 7_305_811_204
"""Of the advisory lock that makes loads of one database wait for each other: any number that others do not use."""

_CHUNK: Final = 1 << 20
_TYPES: Final = {"integer": "bigint", "double": "double precision", "text": "text", "timestamp": "timestamptz"}


class PostgresTarget:
    """A PostgreSQL database, in the schema that its search path begins with.

    Args:
        url: `postgresql://user:password@host:port/database`; what it leaves out comes from PG* and `~/.pgpass`.

    Raises:
        SettingsError: the extra `postgres` is not installed, or the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        try:
            import psycopg  # noqa: PLC0415 - only this needs it
        except ImportError:
            hint = "pip install 'viplake[postgres]'"
            raise SettingsError("PostgreSQL needs a package that is not installed: psycopg", hint=hint) from None
        try:
            self._connection = psycopg.connect(url)
        except psycopg.Error as error:
            first = redact(str(error).partition("\n")[0])
            raise SettingsError(f"cannot connect to PostgreSQL: {first}", hint="Correct the URL.") from None
        self._run("set time zone 'UTC'")
        self._run(f"select pg_advisory_xact_lock({_LOCK})")
        self._run(
            f"create table if not exists {STATE} "
            "(name text primary key, columns text, files text[], row_count bigint, digest text)"
        )
        self._run(f"create table if not exists {HOURS} (hour timestamptz primary key)")

    def _run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(sql.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []

    def state(self) -> Mapping[str, Loaded]:
        """See `Target`."""
        rows = self._run(f"select name, columns, files, row_count, digest from {STATE}")
        return {name: Loaded(columns, frozenset(files), count, digest) for name, columns, files, count, digest in rows}

    def digest(self, name: str) -> tuple[int, str] | None:
        """See `Target`."""
        if self._run("select to_regclass(%s)", [named(name)]) == [(None,)]:
            return None
        total = "coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text"
        [(count, digest)] = self._run(f"select count(*), {total} from {named(name)} t")
        return count, digest

    def apply(self, job: Job, files: Sequence[Path], folder: Path) -> int:
        """See `Target`."""
        shape, name = job.live.shape, named(job.name)
        types = {column.name: _type(column) for column in shape.columns}
        types |= {HOUR: "timestamptz", CHANGED: "timestamptz", PROBLEMS: "text"}
        columns = ", ".join(f"{named(column)} {sql}" for column, sql in types.items())
        key = ", ".join(named(column) for column in shape.key)
        if job.kind == "whole":
            self._run(f"drop table if exists {name}")
            self._run(f"create table {name} ({columns}, primary key ({key}))")
            return self._copy(name, types, shape.columns, files, folder)
        self._run(f"create temp table fresh ({columns}) on commit drop")
        count = self._copy("fresh", types, shape.columns, files, folder)
        others = [named(column) for column in types if column not in shape.key]
        row = f"({', '.join(others)})"
        new = ", ".join(f"excluded.{column}" for column in others)
        old = ", ".join(f"{name}.{column}" for column in others)
        self._run(
            f"insert into {name} select * from fresh on conflict ({key}) do update set {row} = row({new}) "
            f"where row({old}) is distinct from row({new})"
        )
        self._run("drop table fresh")
        return count

    def _copy(
        self, into: str, types: Mapping[str, str], columns: Sequence[Column], files: Sequence[Path], folder: Path
    ) -> int:
        """Copy the rows of some Parquet files; DuckDB writes them as CSV, which costs less than rows of Python."""
        texts = {column.name for column in columns if column.type.kind == "text"} | {PROBLEMS}
        # PostgreSQL has no NUL in a text.
        cells = [f"replace({named(c)}, chr(0), '') as {named(c)}" if c in texts else named(c) for c in types]
        blank = ", ".join(f"null::{_duck_type(columns, c)} as {named(c)}" for c in types)
        paths = ", ".join(quoted(str(path)) for path in files)
        source = f"(select {blank} where false) union all by name from read_parquet([{paths}], union_by_name = true)"
        target = folder / "rows.csv"
        with duck.connect(folder) as connection:
            [(count,)] = connection.execute(
                f"copy (select {', '.join(cells)} from ({source})) to {quoted(str(target))} (format csv, header false)"
            ).fetchall()
        with (
            target.open("rb") as rows,
            self._connection.cursor() as cursor,
            cursor.copy(f"copy {into} from stdin (format csv)".encode()) as copy,
        ):
            while chunk := rows.read(_CHUNK):
                copy.write(chunk)
        target.unlink()
        return int(count)

    def finish(self, loaded: Mapping[str, Live], hours: Iterable[str]) -> None:
        """See `Target`."""
        for name, live in loaded.items():
            count, digest = self.digest(name) or (0, "")
            self._run(f"delete from {STATE} where name = %s", [name])
            values = [name, columns_of(live), sorted(live.files), count, digest]
            self._run(f"insert into {STATE} values (%s, %s, %s, %s, %s)", values)
        self._run(f"delete from {HOURS}")
        self._run(f"insert into {HOURS} select unnest(%s::timestamptz[])", [[f"{hour}:00+00" for hour in hours]])
        self._connection.commit()

    def close(self) -> None:
        """See `Target`."""
        self._connection.close()


def _type(column: Column) -> str:
    if column.type.kind == "decimal":
        return f"numeric({column.type.precision}, {column.type.scale})"
    return _TYPES.get(column.type.kind, column.type.kind)


def _duck_type(columns: Sequence[Column], name: str) -> str:
    own = {HOUR: "timestamptz", CHANGED: "timestamptz", PROBLEMS: "varchar"}
    return own.get(name) or next(column.sql for column in columns if column.name == name)
