"""`viplake content` in a process of its own, and what a run does with it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from commands import Commands, environ_for, simulated
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.store import StoreSettings, open_store
from viplake.model import PROD, Hour
from viplake.simulator.history import Past, Spell, generate

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system

LAST = Hour.parse("2022-05-10T13")
FIRST = LAST.shift(-2)


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    """A lake of three Hours; in the last one a column of Voyage is gone."""
    spell = Spell(LAST, LAST, "content", ("Voyage",), fault="dropped_column")
    past = Past((spell,), tables=3, inside=FIRST, scale=1)
    store = open_store(StoreSettings(f"file://{tmp_path}/lake", create=True, durable=False))
    asyncio.run(generate(Lake(store, Layout.below("IMOSDL/Hourly")), FIRST.to(LAST), past, environment=PROD))
    return Commands({"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": f"file://{tmp_path}/lake"}, tmp_path)


def kept(tmp_path: Path) -> list[str]:
    root = tmp_path / "lake" / "IMOSDL" / "_viplake" / "content"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.gz"))


def test_the_newest_hour_is_checked_and_the_result_stored(commands: Commands, tmp_path: Path) -> None:
    done = commands.run("content")
    assert (done.code, done.err) == (1, "")
    first, *lines = done.out.splitlines()
    assert first.startswith("2022-05-10T13  3 tables: 2 passed, 1 failed; it carries 2")
    assert any("missing_column  VesselCode is in the schema, and in none of" in line for line in lines)
    assert kept(tmp_path) == ["20220510/13.json.gz"]


def test_an_hour_that_agrees_exits_with_0_and_prints_one_object(commands: Commands, tmp_path: Path) -> None:
    done = commands.run("content", "--at", str(FIRST), "--json", "--no-keep")
    report: dict[str, Any] = json.loads(done.out)
    assert (done.code, report["schema_version"], report["environment"]) == (0, 1, "Prod")
    [hour] = report["hours"]
    assert (hour["hour"], [table["conformance"] for table in hour["tables"]]) == (str(FIRST), ["passed"] * 3)
    assert set(hour["tables"][0]["columns"][0]) == {
        "column", "declared", "kind", "nulls", "distinct", "low", "high", "nonconforming", "beyond",
        "spelled",
    }  # fmt: skip
    assert kept(tmp_path) == []


def test_a_range_is_looked_into_hour_by_hour(commands: Commands, tmp_path: Path) -> None:
    done = commands.run("content", "--from", str(FIRST))
    assert done.code == 1
    assert [line[:13] for line in done.out.splitlines() if line[:1] == "2"] == [str(hour) for hour in FIRST.to(LAST)]
    assert len(kept(tmp_path)) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--at", "2022-05-10T13", "--to", "2022-05-10T13"], "exclude each other"),
        (["--from", "2022-05-10T14", "--to", "2022-05-10T13"], "is before"),
        (["--at", "yesterday"], "not an Hour"),
    ],
)
def test_wrong_options_are_refused_with_a_reason(commands: Commands, arguments: list[str], words: str) -> None:
    done = commands.run("content", *arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err


def test_an_hour_without_files_is_not_well(commands: Commands) -> None:
    done = commands.run("content", "--at", "2022-05-10T01", "--no-keep")
    assert (done.code, "no table has a file" in done.out) == (1, True)


def test_a_run_with_content_checks_stores_results_that_the_check_evaluates(tmp_path: Path) -> None:
    with simulated() as vendor:
        commands = Commands(environ_for(vendor, f"file://{tmp_path}/lake"), tmp_path)
        done = commands.run("run", "--json", VIPLAKE_CONTENT_CHECKS="true")
    assert (done.code, json.loads(done.out)["outcome"]) == (0, "delivered")
    assert "looked_inside" in done.err
    assert len(kept(tmp_path)) == 1
    checked = json.loads(commands.run("check", "--json", "--no-notify").out)
    assert "nonconforming_content" not in checked["no_data"]
    assert "null_ratio" in checked["no_data"]  # there is no past yet


def test_a_run_that_cannot_look_inside_has_delivered_all_the_same(tmp_path: Path) -> None:
    with simulated() as vendor:
        commands = Commands(environ_for(vendor, f"file://{tmp_path}/lake"), tmp_path)
        (tmp_path / "lake" / "IMOSDL" / "_viplake").mkdir(parents=True)
        (tmp_path / "lake" / "IMOSDL" / "_viplake" / "content").write_text("in the way")
        done = commands.run("run", "--json", VIPLAKE_CONTENT_CHECKS="true")
    assert (done.code, json.loads(done.out)["outcome"]) == (0, "delivered")
    assert "not_looked_into" in done.err
