"""I/O. A PostgreSQL database as the target of a load: a staging table, COPY, upsert, all in one transaction.

Its network errors have the causes and the time limits of every other connection (`network.settings`); proxies do not
apply, because the protocol is not HTTP.
"""

# ruff: noqa: S608 - names are quoted

from __future__ import annotations

import math
import os
import re
import socket
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from viplake.current.load.target import HOURS, STATE, Loaded, columns_of
from viplake.current.shape import CHANGED, HOUR, PROBLEMS
from viplake.current.source import raise_damaged, raise_limit
from viplake.errors import NetworkError, SettingsError, ViplakeError
from viplake.redact import redact
from viplake.tables import duck
from viplake.tables.duck import named, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from viplake.current.delta import Live
    from viplake.current.load.target import Job
    from viplake.current.shape import Column
    from viplake.network.settings import Network

_LOCK: Final = 7_305_811_204
"""Of the advisory lock that makes loads of one database wait for each other: any number that others do not use."""

_CHUNK: Final = 1 << 20
_MEMORY: Final = "256MB"
"""Of DuckDB, which writes the rows as CSV: it holds none of them for long."""

_TYPES: Final = {"integer": "bigint", "double": "double precision", "text": "text", "timestamp": "timestamptz"}


class PostgresTarget:
    """A PostgreSQL database, in the schema that its search path begins with.

    Args:
        url: `postgresql://user:password@host:port/database`; what it leaves out comes from PG* and `~/.pgpass`.
        network: trusted certificates and time limits.

    Raises:
        SettingsError: the extra `postgres` is not installed, the URL is wrong, or the server refuses.
        NetworkError: the server cannot be reached, or is not trusted.
    """

    def __init__(self, url: str, network: Network) -> None:
        try:
            import psycopg  # noqa: PLC0415 - only this needs it
        except ImportError:
            hint = "pip install 'viplake[postgres]'"
            raise SettingsError("PostgreSQL needs a package that is not installed: psycopg", hint=hint) from None
        self._errors = psycopg.Error
        self._seconds = network.timeouts.database
        try:
            defaults = _defaults(url, network)
        except psycopg.Error as error:  # it quotes the URL, or its password
            why = re.sub('".*"', "...", str(error).partition("\n")[0])
            hint = "Write signs such as @, / and % in user and password as %40, %2F and %25."
            raise SettingsError(f"the URL of the database cannot be read: {why}", hint=hint) from None
        try:
            self._connection = psycopg.connect(url, **defaults)
        except psycopg.Error as error:
            raise _failure(error) from None
        try:
            self._begin()
        except ViplakeError:
            self.close()
            raise

    def _begin(self) -> None:
        self._run("set time zone 'UTC'")
        self._run(f"select pg_advisory_xact_lock({_LOCK})")
        self._run(
            f"create table if not exists {STATE} "
            "(name text primary key, columns text, files text[], row_count bigint, digest text)"
        )
        self._run(f"create table if not exists {HOURS} (hour timestamptz primary key)")

    def _run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._limited():
            cursor = self._connection.execute(sql.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Name what fails, and end what takes too long: psycopg waits for a silent server without an end."""
        late = threading.Event()

        def end() -> None:
            late.set()
            with suppress(OSError, self._errors), socket.socket(fileno=os.dup(self._connection.fileno())) as own:
                own.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self._seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except self._errors as error:
            if late.is_set():
                raise NetworkError(f"PostgreSQL: no answer in {self._seconds:.0f} s", hint=_HINT) from None
            raise _failure(error) from None
        finally:
            timer.cancel()

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
            primary = f", primary key ({key})" if key else ""
            self._run(f"create table {name} ({columns}{primary})")
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
        with duck.connect(folder, memory=_MEMORY) as connection:
            try:
                [(count,)] = connection.execute(
                    f"copy (select {', '.join(cells)} from ({source})) to {quoted(str(target))} "
                    "(format csv, header false)"
                ).fetchall()
            except duck.errors() as error:
                raise_limit(error)
                raise_damaged(files)
                raise
        with (
            self._limited(),
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
        with self._limited():
            self._connection.commit()

    def close(self) -> None:
        """See `Target`."""
        self._connection.close()


_HINT: Final = "Check the host and port of the URL, name resolution, routes and firewalls to it."

# What libpq says of a connection, in its own words: it has no codes for them. None: a matter of settings.
_WORDS: Final[tuple[tuple[str, str | None, str], ...]] = (
    (r"invalid .*(value|integer|port|URI)|root certificate file|no password supplied|authentication method", None, ""),
    (r"certificate|host name .* not match", "tls", "its certificate cannot be trusted"),
    (r"not support SSL", "tls", "it speaks no TLS"),
    (r"translate host name|resolve host|name or service", "network", "its name cannot be resolved"),
    (r"connection refused|no such file", "network", "Connection refused"),
    (r"timeout|timed out", "network", "no connection in time"),
    (r"closed|lost|EOF|reset by peer|broken pipe", "network", "it hung up without an answer"),
    (r"SSL error", "tls", "its TLS does not agree with ours"),
    (r"invalid response|unsupported protocol|unexpected response", "network", "something else answers there"),
    ("", "network", "no connection"),
)


def _failure(error: Exception) -> SettingsError | NetworkError:
    """Return why a statement or a connection failed; what the server itself answered is a matter of settings."""
    from psycopg import OperationalError  # noqa: PLC0415 - only this needs it

    text = redact(str(error).strip())
    first = text.partition("\n")[0]
    if isinstance(error, OperationalError) and error.sqlstate is None and "FATAL:" not in text:
        found = next(words for words in _WORDS if re.search(words[0], text, re.IGNORECASE))
        if (cause := found[1]) is not None:
            hint = _HINT if cause == "network" else "Point SSL_CERT_FILE at the CA bundle of the database."
            return NetworkError(f"PostgreSQL: {found[2]}: {first}", cause=cause, hint=hint)
    hint = "Correct the URL, or the rights of its user in the database."
    return SettingsError(f"PostgreSQL refuses: {first}", hint=hint)


def _defaults(url: str, network: Network) -> dict[str, Any]:
    """Return what neither the URL nor libpq's own configuration sets: time limits, and whom to trust."""
    from psycopg import pq  # noqa: PLC0415 - only this needs it
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - as above

    from viplake.network.aws import bundle  # noqa: PLC0415 - as above

    given: dict[str, Any] = {
        option.keyword.decode(): option.val.decode() for option in pq.Conninfo.get_defaults() if option.val
    } | conninfo_to_dict(url)
    found: dict[str, Any] = {}
    if "connect_timeout" not in given:
        found["connect_timeout"] = max(2, math.ceil(network.timeouts.connect))  # libpq knows no shorter one
    verifies = str(given.get("sslmode", "")).startswith("verify-")
    if verifies and "sslrootcert" not in given and not Path("~/.postgresql/root.crt").expanduser().exists():
        found |= {"sslrootcert": trusted} if (trusted := bundle(network.ca)) else {}
    return found


def _type(column: Column) -> str:
    if column.type.kind == "decimal":
        return f"numeric({column.type.precision}, {column.type.scale})"
    return _TYPES.get(column.type.kind, column.type.kind)


def _duck_type(columns: Sequence[Column], name: str) -> str:
    own = {HOUR: "timestamptz", CHANGED: "timestamptz", PROBLEMS: "varchar"}
    return own.get(name) or next(column.sql for column in columns if column.name == name)
