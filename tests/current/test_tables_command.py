"""`viplake tables` and `viplake load` as people run them."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import deltalake
import pytest

from commands import Commands, Finished, environ_for, simulated
from current.lakes import COLUMNS, TableLake
from viplake.lake.records import identity_bytes

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system


def row(key: int | None, name: str, when: str = "2022-05-09T10:00:00Z") -> dict[str, Any]:
    return {"Id": key, "Name": name, "Amount": 1.25, "LastUpdateGMT": when}


async def made(tmp_path: Path) -> tuple[TableLake, Commands]:
    lake = TableLake(tmp_path / "lake")
    await lake.land(0, {"Voyage": [row(1, "a"), row(None, "b")], "Port": [row(7, "p")]})
    environ = {"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": lake.folder.as_uri(), "HOME": str(tmp_path)}
    return lake, Commands(environ, tmp_path)


async def test_tables_are_made_shown_checked_loaded_and_queried(tmp_path: Path) -> None:
    lake, viplake = await made(tmp_path)
    assert "there are no tables yet" in viplake.run("tables", "show").out
    first = viplake.run("tables")
    assert (first.code, first.err) == (0, "")
    assert "1 Hour merged into 2 tables" in first.out
    assert "Voyage: 1 record set aside: null in the key" in first.out
    assert "nothing to merge" in viplake.run("tables").out
    shown = json.loads(viplake.run("tables", "show", "--json").out)
    assert shown["tables"]["Voyage"]["current"]["rows"] == 1
    assert (shown["newest"], shown["lag_hours"], shown["tables"]["Port"]["lag_hours"]) == ("2022-05-10T00", 0, 0)
    assert deltalake.DeltaTable(shown["tables"]["Voyage"]["uri"]["current"]).count() == 1
    assert "2 tables checked" in viplake.run("tables", "--check").out
    await lake.land(1, {"Voyage": [row(2, "c")], "Port": [row(7, "p")]})
    behind = viplake.run("tables", "show").out
    assert "1 Hour behind 2022-05-10T01" in behind
    assert re.search(r"Voyage .* 2022-05-10T00 +1 h", behind)
    found = json.loads(viplake.run("tables", "--json").out)
    assert (found["hours"], found["tables"]["Voyage"]["rows"]) == (["2022-05-10T01"], 1)
    assert viplake.run("query", "select count(*) as n from Voyage", "--csv").out == "n\n2\n"
    assert viplake.run("query", "select count(*) as n from history.Voyage", "--csv").out == "n\n2\n"
    assert "2 tables loaded" in viplake.run("load", "imos.duckdb").out
    assert "0 tables loaded, 2 unchanged" in viplake.run("load", "imos.duckdb").out
    assert viplake.run("tables", "--rebuild").code == 0
    assert viplake.run("tables", "--check").code == 0


async def test_held_tables_and_differences_end_with_exit_code_1(tmp_path: Path) -> None:
    lake, viplake = await made(tmp_path)
    [file] = (lake.folder / "IMOSDL" / "Hourly" / "20220510" / "00").glob("Port*")
    file.write_bytes(b"x")
    held = viplake.run("tables")
    assert (held.code, "Port of 2022-05-10T00 is held back" in held.err) == (1, True)
    table = deltalake.DeltaTable(str(lake.folder / "IMOSDL" / "Tables" / "current" / "Voyage"))
    table.delete()
    wrong = viplake.run("tables", "--check")
    assert (wrong.code, "Voyage: 1 row of current" in wrong.err) == (1, True)


@pytest.mark.parametrize("warehouse", ["athena", "databricks", "redshift", "snowflake", "spark"])
async def test_statements_for_a_warehouse_name_every_table(tmp_path: Path, warehouse: str) -> None:
    _, viplake = await made(tmp_path)
    viplake.run("tables")
    printed = viplake.run("tables", "ddl", "--for", warehouse)
    assert printed.code == 0
    assert printed.out.lower().count("voyage") >= 2
    assert "imos_current" in printed.out
    assert len(printed.out.splitlines()) >= 6
    assert "\\n" not in printed.out
    assert viplake.run("tables", "ddl").code == 2


def test_delivery_updates_the_tables_if_the_setting_is_on(tmp_path: Path) -> None:
    with simulated() as vendor:
        viplake = Commands(environ_for(vendor, f"file://{tmp_path}/lake"), tmp_path)
        done = viplake.run("run", "--json", VIPLAKE_TABLES="true")
    assert (done.code, json.loads(done.out)["outcome"]) == (0, "delivered")
    assert "tables_updated" in done.err
    shown = json.loads(viplake.run("tables", "show", "--json").out)
    assert shown["lag_hours"] == 0
    assert len(shown["tables"]) > 10


def test_delivery_with_tables_that_cannot_be_written_has_delivered_all_the_same(tmp_path: Path) -> None:
    with simulated() as vendor:
        viplake = Commands(environ_for(vendor, f"file://{tmp_path}/lake"), tmp_path)
        (tmp_path / "lake" / "IMOSDL").mkdir(parents=True)
        (tmp_path / "lake" / "IMOSDL" / "Tables").write_text("in the way")
        done = viplake.run("run", "--json", VIPLAKE_TABLES="true")
    assert (done.code, json.loads(done.out)["outcome"]) == (0, "delivered")
    assert "tables_not_updated" in done.err


async def test_tables_of_a_lake_of_another_environment_are_refused(tmp_path: Path) -> None:
    lake, viplake = await made(tmp_path)
    await lake.store.put(lake.lake.layout.identity_key, identity_bytes("Prod", "ACME"))
    refused = viplake.run("tables", VIPLAKE_ENVIRONMENT="Test", VIPLAKE_PREFIX="IMOSDL/Hourly/")
    assert (refused.code, "belongs to Prod" in refused.err) == (2, True)
    assert not (lake.folder / "IMOSDL" / "Tables").exists()
    assert viplake.run("tables").code == 0


WITH_LITTLE_ROOM = """
mount -t tmpfs -o "size=$1" none "$2" || exit 99
shift 2 && exec "$@"
"""


async def test_full_disk_ends_the_update_and_holds_nothing_back_and_the_next_one_goes_on(tmp_path: Path) -> None:
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:  # noqa: ASYNC221 - a moment
        pytest.skip("this machine does not permit to mount a disk")
    lake, viplake = await made(tmp_path)
    dice = random.Random(1)
    await lake.land(1, {"Voyage": [row(number, f"{dice.getrandbits(160):040x}") for number in range(60_000)]})
    (tmp_path / "tmp").mkdir()
    lake.table("current", "").mkdir(parents=True)

    def with_room(size: str, folder: Path, **more: str) -> Finished:
        command = ("unshare", "-rm", "sh", "-c", WITH_LITTLE_ROOM, "sh", size, str(folder), sys.executable)
        return viplake.run_as(*command, "-m", "viplake", "tables", **more)

    for size in ("1m", "15m"):  # no room for the files of the Hour, or only for what DuckDB makes of them
        here = with_room(size, tmp_path / "tmp", TMPDIR=str(tmp_path / "tmp"))
        assert (here.code, "no room for the tables in" in here.err) == (2, True), (size, here)
    full = with_room("1m", lake.folder / "IMOSDL" / "Tables")
    assert (full.code, "disk_full" in full.err) == (73, True), full
    assert not list((lake.folder / "IMOSDL" / "_viplake" / "tables").rglob("*.held.json"))
    assert viplake.run("tables").code == 0
    for kind in ("history", "current"):
        assert lake.digest(kind, "Voyage") == lake.expected(kind, "Voyage"), kind


async def test_column_of_another_kind_or_narrower_opens_an_incident_and_keeps_its_values(tmp_path: Path) -> None:
    lake, viplake = await made(tmp_path)
    before = COLUMNS["Amount"]
    for number, of, amount in ((1, "decimal(8,2)", 1.2), (2, "bit", True)):
        columns = {"Voyage": {**COLUMNS, "Amount": of}, "Port": COLUMNS}
        records = {"Voyage": [row(number + 1, "c") | {"Amount": amount}], "Port": [row(7, "p")]}
        await lake.land(number, records, columns=columns)
        at = f"2022-05-10T{number:02}"
        assert viplake.run("observe", "--to", at).code == 0
        found = json.loads(viplake.run("check", "--at", at, "--json").out)
        texts = [one["summary"] for one in found["incidents"] if one["rule"] == "schema_change"]
        assert f"Voyage: column Amount changed from {before} to {of} in {at}" in texts
        before = of
    assert "Voyage: column Amount (decimal(10,2)) became boolean: see Amount__text" in viplake.run("tables").out
    rows = {one["Id"]: (one.get("Amount"), one.get("Amount__text")) for one in lake.rows("current", "Voyage")}
    assert rows == {"1": ("1.25", None), "2": ("1.20", None), "3": (None, "true")}


async def test_check_reports_tables_that_are_behind_until_they_are_updated(tmp_path: Path) -> None:
    lake, viplake = await made(tmp_path)
    await lake.land(1, {"Voyage": [row(2, "c")]})
    assert viplake.run("observe").code == 0

    def reported(last: int) -> list[tuple[str, str]]:
        found = json.loads(viplake.run("check", "--at", f"2022-05-10T{last:02}", "--json").out)
        return [(one["summary"], one["state"]) for one in found["incidents"] if one["rule"] == "tables_behind"]

    assert reported(1) == []
    assert viplake.run("tables").code == 0
    for number in range(2, 6):
        await lake.land(number, {"Voyage": [row(2, "c")]})
    viplake.run("observe")
    [(text, state)] = reported(5)
    assert "(2 Hours); the newest Hour that they have is 2022-05-10T01" in text
    assert state != "resolved"
    for number in range(6, 12):
        await lake.land(number, {"Voyage": [row(2, "c")]})
    viplake.run("tables")
    viplake.run("observe")
    [(_, state)] = reported(11)
    assert state == "resolved"


@pytest.mark.long
async def test_the_report_has_rows_newest_hour_lag_and_what_is_held_back_of_each_table(tmp_path: Path) -> None:
    lake, viplake = await made(tmp_path)
    assert viplake.run("observe").code == 0
    page = tmp_path / "viplake-report.html"
    assert viplake.run("report").code == 0
    assert 'id="tables"' not in page.read_text(), "no tables yet"
    [file] = (lake.folder / "IMOSDL" / "Hourly" / "20220510" / "00").glob("Port*")
    file.write_bytes(b"x")
    assert viplake.run("tables").code == 1
    await lake.land(1, {"Voyage": [row(2, "c")]})
    done = viplake.run("report")
    assert (done.code, done.err) == (0, "")
    section = page.read_text().partition('id="tables">')[2].partition("</details>")[0]
    words = "1 table, newest Hour 2022-05-10T00, 1 Hour behind the newest proven Hour; 1 table held back"
    assert f"Current and history tables: {words}" in section
    cells = [re.findall(r"<t[hd][^>]*>([^<]*)<", line) for line in section.split("<tr>")[2:]]
    rows = [row[:3] + row[4:6] for row in cells]
    assert rows == [["Voyage", "1", "1", "2022-05-10T00", "1"], ["Port", "", "", "", ""]]
    assert cells[1][6].startswith("2022-05-10T00: "), "why it is held back"
