"""A load brings what changed into a database, once, and refuses a table that somebody else changed."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deltalake
import duckdb
import psycopg
import pytest

from commands import Commands
from current.lakes import COLUMNS, TableLake
from servers.postgres import postgresql
from viplake.current.load.load import LoadReport, load, open_target
from viplake.errors import LakeError, SettingsError
from viplake.network.settings import Network

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from viplake.current.delta import Live
    from viplake.current.load.target import Target

pytestmark = pytest.mark.system


def row(key: int, name: str, when: str = "2022-05-09T10:00:00Z") -> dict[str, Any]:
    return {"Id": key, "Name": name, "Amount": 1.25, "LastUpdateGMT": when}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL of its own."""
    with postgresql(tmp_path_factory.mktemp("postgres")) as sockets:
        yield f"postgresql://viplake@/postgres?host={sockets}"


class Database:
    """A database of a test.

    Args:
        url: as `viplake load` takes it.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, sql: str) -> list[Any]:
        if self.url.endswith(".duckdb"):
            with duckdb.connect(self.url) as connection:
                connection.execute("set timezone = 'UTC'")
                return connection.execute(sql).fetchall()
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("set time zone 'UTC'")
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    async def load(self, lake: TableLake, **options: Any) -> LoadReport:
        with closing(open_target(self.url, Network())) as target:
            return await load(lake.lake, lake.delta(), target, **options)


class KilledError(Exception):
    """The connection broke."""


class Dying:
    """A database whose connection breaks before or after the commit."""

    def __init__(self, target: Target, *, commits: bool) -> None:
        self._target, self._commits = target, commits
        self.state, self.digest, self.apply, self.close = target.state, target.digest, target.apply, target.close

    def finish(self, loaded: Mapping[str, Live], hours: Iterable[str]) -> None:
        if self._commits:
            self._target.finish(loaded, hours)
        raise KilledError


@pytest.fixture(params=["duckdb", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "duckdb":
        return Database(str(tmp_path / "imos.duckdb"))
    url: str = request.getfixturevalue("server")
    name = f"test_{abs(hash(request.node.name))}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    return Database(url.replace("/postgres?", f"/{name}?"))


def same(lake: TableLake, database: Database, table: str = "Voyage") -> None:
    """The database holds the rows of the current table, every cell as text."""
    there = database.run(f'select "Id"::text, "Name", "Amount"::text, _hour::text from "{table}"')
    here = [tuple(one.get(name) for name in ("Id", "Name", "Amount", "_hour")) for one in lake.rows("current", table)]
    assert sorted(there, key=str) == sorted(here, key=str)


async def made(tmp_path: Path) -> TableLake:
    lake = TableLake(tmp_path / "lake")
    await lake.land(0, {"Voyage": [row(1, 'a "quoted", text'), row(2, ""), row(3, "ø\n")], "Port": [row(7, "p")]})
    await lake.update()
    return lake


async def test_first_load_brings_every_row_and_the_next_one_nothing(tmp_path: Path, database: Database) -> None:
    lake = await made(tmp_path)
    first = await database.load(lake)
    assert (first.changed, sorted(first.whole)) == ({"Voyage": 3, "Port": 1}, ["Port", "Voyage"])
    same(lake, database)
    again = await database.load(lake)
    assert (again.changed, sorted(again.unchanged)) == ({}, ["Port", "Voyage"])
    assert database.run("select count(*) from _viplake_hours") == [(1,)]


async def test_changes_and_late_hours_reach_the_database(tmp_path: Path, database: Database) -> None:
    lake = await made(tmp_path)
    await lake.land(3, {"Voyage": [row(2, "newer", "2022-05-09T12:00:00Z"), row(9, "n")]})
    await lake.update()
    await database.load(lake)
    await lake.land(1, {"Voyage": [row(9, "n"), row(4, "late")]})
    await lake.update()
    found = await database.load(lake)
    assert found.unchanged == ["Port"]
    same(lake, database)
    assert database.run("""select _hour::text from "Voyage" where "Id" = 9""") == [("2022-05-10 01:00:00+00",)]


async def test_column_that_is_added_or_wider_makes_the_table_anew(tmp_path: Path, database: Database) -> None:
    lake = await made(tmp_path)
    await database.load(lake)
    wide = {"Voyage": {**COLUMNS, "Amount": "decimal(18,4)", "Port": "nvarchar(9)"}}
    await lake.land(1, {"Voyage": [row(5, "w") | {"Port": "Oslo"}]}, columns=wide)
    await lake.update()
    found = await database.load(lake)
    assert found.whole == ["Voyage"]
    same(lake, database)
    assert database.run("""select "Port" from "Voyage" where "Id" = 5""") == [("Oslo",)]


async def test_table_that_was_changed_by_hand_is_refused_with_the_difference(
    tmp_path: Path, database: Database
) -> None:
    lake = await made(tmp_path)
    await database.load(lake)
    database.run("""delete from "Voyage" where "Id" = 1""")
    with pytest.raises(SettingsError, match="has 2 rows, and had 3"):
        await database.load(lake)
    await database.load(lake, overwrite=True)
    database.run("""update "Voyage" set "Name" = 'by hand' where "Id" = 1""")
    with pytest.raises(SettingsError, match="other rows than after the last load"):
        await database.load(lake)
    await database.load(lake, overwrite=True)
    same(lake, database)


async def test_load_that_dies_before_its_commit_changes_nothing(tmp_path: Path, database: Database) -> None:
    lake = await made(tmp_path)
    await database.load(lake)
    await lake.land(1, {"Voyage": [row(4, "d")], "Port": [row(7, "p2", "2022-05-09T12:00:00Z")]})
    await lake.update()
    with closing(open_target(database.url, Network())) as target, pytest.raises(KilledError):
        await load(lake.lake, lake.delta(), Dying(target, commits=False))
    assert database.run('select count(*) from "Voyage"') == [(3,)]
    await database.load(lake)
    same(lake, database)
    same(lake, database, "Port")


async def test_load_with_a_lost_answer_to_its_commit_is_found_done(tmp_path: Path, database: Database) -> None:
    lake = await made(tmp_path)
    with closing(open_target(database.url, Network())) as target, pytest.raises(KilledError):
        await load(lake.lake, lake.delta(), Dying(target, commits=True))
    assert (await database.load(lake)).changed == {}
    same(lake, database)


async def large(tmp_path: Path) -> TableLake:
    """A lake of which a table is small in the lake, and 5 MB in a database."""
    lake = TableLake(tmp_path / "lake")
    await lake.land(0, {"Voyage": [row(number, f"{number % 50:040}") for number in range(60_000)]})
    await lake.update()
    return lake


@pytest.mark.parametrize("large_here", [True, False])
async def test_file_or_temporary_folder_without_room_is_named_and_the_next_load_brings_all(
    tmp_path: Path, database: Database, *, large_here: bool
) -> None:
    lake = await (large(tmp_path) if large_here else made(tmp_path))
    environ = {"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": lake.folder.as_uri(), "HOME": str(tmp_path)}
    # The limit on the size of a file, in blocks of 512 bytes, stands for a full disk.
    limited = ("sh", "-c", f'ulimit -f {2000 if large_here else 1}; exec "$@"', "sh", sys.executable)
    full = Commands(environ, tmp_path).run_as(*limited, "-m", "viplake", "load", database.url)
    assert (full.code, "no room for" in full.err) == (2, True), full
    assert "next   Make room, or set TMPDIR" in full.err
    await database.load(lake)
    same(lake, database)


async def test_table_that_needs_more_memory_than_a_load_may_have_is_named(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = await large(tmp_path)
    with monkeypatch.context() as little:
        little.setattr("viplake.current.load.duckdb_file._MEMORY", "4MB")
        little.setattr("viplake.current.load.postgres._MEMORY", "1MB")
        with pytest.raises(SettingsError, match="the table Voyage needs more memory"):
            await database.load(lake)
    await database.load(lake)
    same(lake, database)


@pytest.mark.parametrize("harm", ["cut", "gone"])
async def test_damaged_or_lost_file_of_a_table_is_named_and_changes_nothing(
    tmp_path: Path, database: Database, harm: str
) -> None:
    lake = await made(tmp_path)
    [file] = map(Path, lake.live("current", "Voyage"))
    whole = file.read_bytes()
    if harm == "cut":
        file.write_bytes(whole[:-30])
    else:
        file.unlink()
    with pytest.raises(LakeError, match=rf"current/Voyage/{file.name} (cannot be read|is gone)") as caught:
        await database.load(lake)
    assert (caught.value.cause.word, "Move IMOSDL/Tables/current/Voyage/" in caught.value.hint) == (
        "table_damaged",
        True,
    )
    file.write_bytes(whole)
    await database.load(lake)
    same(lake, database)


async def test_table_that_another_program_made_unreadable_for_viplake_is_not_loaded(
    tmp_path: Path, database: Database
) -> None:
    lake = await made(tmp_path)
    table = deltalake.DeltaTable(str(lake.table("current", "Voyage")))
    table.alter.add_feature(deltalake.TableFeatures.DeletionVectors, allow_protocol_versions_increase=True)
    with pytest.raises(SettingsError, match="the table Voyage cannot be loaded: another program raised"):
        await database.load(lake)


@pytest.mark.parametrize("url", ["postgresql://me:se%zzcret@h/d", "postgresql://me:secret@[bad/d"])
def test_url_that_cannot_be_read_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="the URL of the database cannot be read") as caught:
        open_target(url, Network())
    assert "cret" not in caught.value.message + caught.value.hint


def test_other_targets_are_refused() -> None:
    with pytest.raises(SettingsError, match="not a database"):
        open_target("mysql://user:word@host/db", Network())
