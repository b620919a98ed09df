"""`viplake schema` in a process of its own: what it prints for people and for programs, and what it exits with."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from commands import Commands
from viplake.history.schema_changes import FIRST, NO_COLUMNS
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.store import StoreSettings, open_store
from viplake.model import PROD, Hour
from viplake.simulator.history import Past, SchemaChange, generate
from viplake.simulator.tables import TABLES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system

LAYOUT = Layout.below("IMOSDL/Hourly")


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    (tmp_path / "lake").mkdir()
    return Commands({"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": f"file://{tmp_path}/lake"}, tmp_path)


def fill(tmp_path: Path) -> list[Hour]:
    """Six Hours up to the last one; in the fourth the schema gains a table and loses another."""
    last = Hour.of(datetime.now(UTC)).shift(-1)
    hours = list(last.shift(-5).to(last))
    change = SchemaChange(hours[3], added=("CarbonIntensity",), removed=("Voyage_PnL",))
    known = {table.name: table for table in TABLES} | {"CarbonIntensity": TABLES[0]}
    past = Past(changes=(change,), tables=4, scale=0.01, known=known)
    store = open_store(StoreSettings(f"file://{tmp_path}/lake"))
    asyncio.run(generate(Lake(store, LAYOUT), hours, past, environment=PROD))
    return hours


def test_a_lake_without_a_schema_is_reported_and_is_no_failure(commands: Commands) -> None:
    done = commands.run("schema")
    assert (done.code, done.err) == (0, "")
    assert "no Hour of the history has a schema yet" in done.out
    for arguments in ((), ("--at", "2022-05-10T13"), ("--diff", "2022-05-10T13")):
        done = commands.run("schema", *arguments, "--json")
        told = json.loads(done.out)
        assert (done.code, told["schema_version"], told["environment"]) == (0, 1, "Prod")
        assert "no Hour of the history has a schema yet" in told["reason"]


def test_versions_and_differences_are_printed_even_after_folders_are_removed(
    commands: Commands, tmp_path: Path
) -> None:
    hours = fill(tmp_path)
    assert commands.run("observe").code == 0
    shutil.rmtree(tmp_path / "lake" / "IMOSDL" / "Hourly")
    listed = json.loads(commands.run("schema", "--json").out)["versions"]
    assert [(one["first"], one["last"], one["hours"], one["tables"]) for one in listed] == [
        (str(hours[0]), str(hours[2]), 3, 4),
        (str(hours[3]), str(hours[5]), 3, 4),
    ]
    assert (listed[0]["changes"], listed[0]["reason"], listed[1]["reason"]) == (None, FIRST, None)
    assert listed[1]["changes"] == [
        {"table": "CarbonIntensity", "change": "table added"},
        {"table": "Voyage_PnL", "change": "table removed"},
    ]
    for arguments, words in (
        ((), f"{hours[3]} to {hours[5]}       3 Hours  4 tables  {listed[1]['schema'][:12]}\n  CarbonIntensity: table"),
        (("--at", str(hours[2])), f"{hours[2]}: schema {listed[0]['schema']}, 4 tables\n"),
        (("--diff", str(hours[0])), "CarbonIntensity: table added\nVoyage_PnL: table removed\n"),
        (("--diff", str(hours[5]), "--at", str(hours[0])), "CarbonIntensity: table removed\nVoyage_PnL: table added\n"),
        (("--diff", str(hours[3])), "it is the same schema\n"),
        (("--at", "2020-01-01T00"), f"no schema is on record at or before 2020-01-01T00: the first is of {hours[0]}\n"),
    ):
        done = commands.run("schema", *arguments)
        assert (done.code, done.err) == (0, "")
        assert words in done.out


def test_the_columns_of_an_hour_are_listed_with_types_or_with_the_reason(commands: Commands, tmp_path: Path) -> None:
    hours = fill(tmp_path)
    path = tmp_path / "lake" / LAYOUT.file(hours[5], "_MasterTableSchema.json")
    columns = [{"ElementName": "Id", "DataType": "Integer"}, {"ElementName": "Late\u001b[2J", "DataType": "Boolean"}]
    path.write_text(json.dumps([{"DataObjectName": "Bare"}, {"DataObjectName": "[red]Full", "DataElements": columns}]))
    assert commands.run("observe").code == 0
    told = json.loads(commands.run("schema", "--at", str(hours[5]), "--json").out)
    assert told["tables"] == [
        {"table": "Bare", "columns": None, "key": None, "reason": NO_COLUMNS},
        {
            "table": "[red]Full",
            "columns": [{"column": "Id", "type": "Integer"}, {"column": "Late\u001b[2J", "type": "Boolean"}],
            "key": None,
            "reason": None,
        },
    ]
    shown = commands.run("schema", "--at", str(hours[5])).out
    assert f"Bare  columns unknown: {NO_COLUMNS}\n[red]Full\n" in shown
    assert "Id        Integer" in shown
    assert "\u001b" not in shown


def test_hours_with_an_unknown_schema_are_counted_and_are_not_the_first_version(
    commands: Commands, tmp_path: Path
) -> None:
    hours = fill(tmp_path)
    held = tmp_path / "held"
    held.mkdir()
    (held / "historical_table_metrics.csv").write_text(
        "date,tablesDelivered,tablesExpected,missingTables,missingTablesList,completenessRatio\n"
        + "".join(f"{hours[0].shift(-back).label},4,4,0,[],1.0\n" for back in range(1, 8))
    )
    assert commands.run("observe", "--import", str(held)).code == 0
    assert commands.run("schema").out.startswith("7 Hours with an unknown schema; viplake observe --rebuild")
    told = json.loads(commands.run("schema", "--json").out)
    assert (told["unknown_hours"], told["versions"][0]["first"]) == (7, str(hours[0]))


@pytest.mark.parametrize("arguments", [("--at", "yesterday"), ("--diff", "2022-05-10")])
def test_an_invalid_hour_is_a_usage_error(commands: Commands, arguments: tuple[str, str]) -> None:
    done = commands.run("schema", *arguments)
    assert (done.code, done.out) == (2, "")
    assert arguments[1] in done.err
