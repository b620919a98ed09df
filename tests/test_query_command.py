"""`viplake query` in a process of its own: what it prints where, and what it exits with."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from typing import TYPE_CHECKING

import duckdb
import pytest

from commands import Commands
from viplake.lake.layout import RECEIPT_NAME, SCHEMA_NAME, Layout
from viplake.lake.store import StoreSettings, open_store
from viplake.model import Hour

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system

LAYOUT = Layout.below("IMOSDL/Hourly")
HOUR = Hour.parse("2022-05-10T13")
SCHEMA = [{"DataObjectName": "Voyage", "Elements": [{"Name": "VoyageId", "Type": "int"}]}]
VOYAGES = [{"VoyageId": number, "Title": f'voyage {number}, "laden"'} for number in range(50)]


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    """A lake with a proven Hour, and a later one that is on its way."""
    (tmp_path / "lake").mkdir()
    store = open_store(StoreSettings(f"file://{tmp_path}/lake"))

    async def land() -> None:
        for hour in (HOUR, HOUR.shift(1)):
            await store.put(LAYOUT.file(hour, "Voyage_1.json"), json.dumps(VOYAGES).encode())
            await store.put(LAYOUT.file(hour, SCHEMA_NAME), json.dumps(SCHEMA).encode())
        await store.put(LAYOUT.file(HOUR, "Voyage_2.json.gz"), b"\x1f\x8b\x08\x00no gzip")
        await store.put(LAYOUT.file(HOUR, RECEIPT_NAME), b"{}")

    asyncio.run(land())
    return Commands({"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": f"file://{tmp_path}/lake"}, tmp_path)


def test_a_query_prints_a_table_on_stdout_and_remarks_on_stderr(commands: Commands) -> None:
    done = commands.run("query", "select VoyageId, Title from Voyage order by 1", "--partial")
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines() if line.strip()]
    assert lines[0] == ["VoyageId", "Title"]
    assert lines[2] == ["0", "voyage", "0,", '"laden"']
    assert len(lines) == 2 + 40
    warning, note = done.err.splitlines()
    assert warning == (
        "viplake: Voyage_2.json.gz of 2022-05-10T13 is left out: the gzip data end too early, after 11 bytes"
    )
    assert note == "50 rows of 2022-05-10T13; 10 more: --csv gives all"


def test_csv_json_and_parquet_hold_all_rows_and_stdout_nothing_else(commands: Commands, tmp_path: Path) -> None:
    sql = "select VoyageId, Title from Voyage order by 1"
    rows = list(csv.DictReader(io.StringIO(commands.run("query", sql, "--csv", "--partial").out)))
    assert [row["Title"] for row in rows] == [voyage["Title"] for voyage in VOYAGES]
    told = json.loads(commands.run("query", sql, "--json", "--partial").out)
    assert told == {
        "schema_version": 1,
        "environment": "Prod",
        "hours": ["2022-05-10T13"],
        "columns": [{"name": "VoyageId", "type": "BIGINT"}, {"name": "Title", "type": "VARCHAR"}],
        "rows": VOYAGES,
    }
    done = commands.run("query", sql, "--parquet", "out.parquet", "--partial")
    assert (done.code, done.out) == (0, f"{tmp_path}/out.parquet\n")
    with duckdb.connect() as connection:
        read = connection.read_parquet(str(tmp_path / "out.parquet"))
        assert read.fetchall() == [tuple(voyage.values()) for voyage in VOYAGES]


def test_H17_a_result_is_whole_or_an_error_with_the_file(commands: Commands) -> None:
    done = commands.run("query", "select count(*) from Voyage")
    assert (done.code, done.out) == (1, "")
    assert "viplake: Voyage_2.json.gz of 2022-05-10T13: the gzip data end too early, after 11 bytes\n" in done.err
    assert "  cause  table_unreadable (vendor)" in done.err
    assert "--partial" in done.err


def test_a_slip_in_sql_is_printed_in_lines_with_the_mark_below_the_place(commands: Commands) -> None:
    done = commands.run("query", "select VoyageId,\n  nope from Voyage", "--partial")
    *_, line, mark, following = done.err.splitlines()
    assert (done.code, line) == (2, "LINE 2:   nope from Voyage")
    assert line[mark.index("^") :].startswith("nope")
    assert following.startswith("  next   ")
    assert "cause" not in done.err


def test_several_hours_and_unproven_ones(commands: Commands) -> None:
    sql = "select hour, count(*) as n from Voyage group by hour order by hour"
    done = commands.run("query", sql, "--csv", "--since", "2022-05-10T00", "--unproven", "--partial")
    assert done.out.splitlines() == ["hour,n", "2022-05-10T13:00:00,50", "2022-05-10T14:00:00,50"]
    refused = commands.run("query", "from Voyage", "--at", "2022-05-10T14")
    assert (refused.code, refused.out) == (2, "")
    assert "the Hour 2022-05-10T14 has no Receipt" in refused.err
    assert "--unproven" in refused.err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["selec 1"], 'syntax error at or near "selec"'),
        (["from Voyages"], "Did you mean Voyage?"),
        (["from read_text('/etc/hostname')"], "A query reads the tables and the history, and nothing else."),
        (["from Voyage", "--csv", "--json"], "exclude each other"),
        (["from Voyage", "--at", "2022-05-10T13", "--since", "2022-05-10T14"], "is before"),
        (["from Voyage", "--partial", "--parquet", "no/such/folder/x.parquet"], "cannot write"),
    ],
)
def test_a_wrong_query_exits_with_2_and_the_reason(commands: Commands, arguments: list[str], why: str) -> None:
    done = commands.run("query", *arguments)
    assert (done.code, done.out) == (2, "")
    assert why in done.err
    assert "Traceback" not in done.err


def test_at_a_terminal_the_table_is_the_same(commands: Commands) -> None:
    code, sent = commands.at_a_terminal(
        "query", "select max(VoyageId) as newest from Voyage", "--partial", NO_COLOR="1"
    )
    assert code == 0
    assert "newest" in sent
    assert "1 row of 2022-05-10T13" in sent


@pytest.mark.parametrize("written", ["2022-05-10T13", "20220510-13", "2022-05-10 13:00"])
def test_sql_compares_the_hour_column_with_an_hour_in_each_notation(commands: Commands, written: str) -> None:
    assert commands.run("observe").code == 0
    done = commands.run("query", f"select date from historical_job_metrics where hour = '{written}'", "--csv")
    assert (done.code, done.out) == (0, "date\n20220510-13\n")


def test_unknown_table_names_the_newest_hour_that_has_it(commands: Commands, tmp_path: Path) -> None:
    store = open_store(StoreSettings(f"file://{tmp_path}/lake"))
    before = HOUR.shift(-30)

    async def land() -> None:
        await store.put(LAYOUT.file(before, "Retired_1.json"), b"[]")
        await store.put(LAYOUT.file(before, RECEIPT_NAME), b"{}")

    asyncio.run(land())
    done = commands.run("query", "select * from Retired", "--partial")
    assert done.code == 2
    assert f"this Hour has no table 'retired'; the newest Hour that has it is {before}" in done.err
    assert f"next   viplake query --at {before}" in done.err
    assert "cause" not in done.err
