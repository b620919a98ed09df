"""The public API: what a notebook or a script reads from a lake, without an event loop of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest

import viplake
from viplake import api
from viplake.errors import SettingsError

PAGE = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
INTERNAL = {"stored", "rows", "lake"}
"""Attributes for viplake itself: the store, the typed rows, and the way back from an Hour."""

SCHEMA = [
    {
        "DataObjectName": "Voyage",
        "Columns": [
            {"Name": "VoyageNo", "Type": "int"},
            {"Name": "Freight", "Type": "decimal(18, 2)"},
        ],
    },
    {"DataObjectName": "Invoice", "Columns": [{"Name": "InvoiceId", "Type": "int"}]},
]
VOYAGES = [{"VoyageNo": 1041, "Freight": 812500.1}, {"VoyageNo": 1042, "Freight": 640000.2}]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> viplake.DataLake:
    """Two Hours: one without a Receipt, then one with, which lacks a table."""
    root = tmp_path_factory.mktemp("lake")
    for hour, receipt in (("12", False), ("13", True)):
        folder = root / "IMOSDL" / "Hourly" / "20220511" / hour
        folder.mkdir(parents=True)
        files: dict[str, object] = {"_MasterTableSchema.json": SCHEMA, "Voyage_0001.json": VOYAGES}
        for name, content in (files | ({"_Receipt.json": {}} if receipt else {})).items():
            (folder / name).write_text(json.dumps(content))
    opened = viplake.open_lake(root.as_uri(), environment="Prod")
    done = opened.observe("2022-05-11T11", "2022-05-11T13")
    assert len(done["added"]) == 3
    return opened


def test_hours_have_outcome_size_and_missing_tables(lake: viplake.DataLake) -> None:
    assert [(one.hour, one.outcome) for one in lake.hours()] == [
        ("2022-05-11T11", "missed"),
        ("2022-05-11T12", "delivered"),
        ("2022-05-11T13", "delivered"),
    ]
    [newest] = lake.hours("2022-05-11T13")
    assert newest.missing_tables == ("Invoice",)
    assert newest.files == 2
    assert lake.newest().hour == newest.hour
    assert lake.hour("2022-05-11 12:00").outcome == "delivered"
    assert lake.hour("2030-01-01T00").outcome is None


def test_files_and_tables_of_an_hour_can_be_read(lake: viplake.DataLake) -> None:
    hour = lake.newest()
    assert sorted(hour.list_files()) == ["Voyage_0001.json", "_MasterTableSchema.json"]
    assert json.loads(hour.read("Voyage_0001.json")) == VOYAGES
    assert hour.tables() == ("Voyage",)
    frame = hour.table("Voyage")
    assert frame["VoyageNo"].tolist() == [1041, 1042]
    assert hour.table_arrow("Voyage").num_rows == 2
    with pytest.raises(SettingsError, match=r"no file 'Nothing\.json'"):
        hour.read("Nothing.json")


def test_an_hour_without_a_receipt_is_read_only_on_request(lake: viplake.DataLake) -> None:
    hour = lake.hour("2022-05-11T12")
    with pytest.raises(SettingsError, match="Receipt"):
        hour.table("Voyage")
    assert len(hour.table("Voyage", unproven=True)) == 2


@pytest.mark.system
def test_every_dataset_is_a_frame_in_order_of_time(lake: viplake.DataLake) -> None:
    jobs = lake.dataset("historical_job_metrics")
    assert isinstance(jobs, pd.DataFrame)
    assert jobs["jobDelivered"].tolist() == [0, 1, 1]
    assert jobs["hour"].is_monotonic_increasing
    for name in lake.datasets:
        assert "hour" in lake.dataset(name).columns
        assert "hour" in lake.dataset_arrow(name).schema.names
    with pytest.raises(SettingsError, match="no dataset 'jobs'"):
        lake.dataset("jobs")


def test_query_gives_frames_and_exact_decimals_in_arrow(lake: viplake.DataLake) -> None:
    sql = "select sum(cast(Freight as decimal(18, 2))) as freight from Voyage"
    assert lake.query(sql)["freight"].tolist() == [pytest.approx(1452500.3)]
    assert lake.query_arrow(sql)["freight"].to_pylist() == [Decimal("1452500.30")]
    both = lake.query("select hour, count(*) as n from Voyage group by all", since="2022-05-11T12", unproven=True)
    assert sorted(both["n"].tolist()) == [2, 2]
    assert lake.warnings == []


def test_schema_names_columns_and_types(lake: viplake.DataLake) -> None:
    assert lake.schema()["Voyage"] == {"VoyageNo": "int", "Freight": "decimal(18, 2)"}
    assert lake.schema("2022-05-11T12") == lake.schema()


def test_figures_are_numbered_as_in_the_report(lake: viplake.DataLake) -> None:
    titles = lake.figure_titles
    assert titles[2] == "Job Delivery Completeness, Averaged Daily"
    assert [figure.layout.title.text for figure in lake.figures()] == list(titles)
    with pytest.raises(SettingsError, match="no figure 0"):
        lake.figure(0)


def test_time_series_has_one_to_three_lines_and_a_target() -> None:
    days = pd.date_range("2022-05-01", periods=3)
    figure = viplake.time_series(days, {"delivered": [24, 23, None], "expected": [24, 24, 24]}, "Hours", target=23.9)
    assert [trace.name for trace in figure.data] == ["delivered", "expected"]
    assert figure.layout.shapes[0].y0 == 23.9
    for lines in ({}, {name: [1, 2, 3] for name in "abcd"}, {"short": [1]}):
        with pytest.raises(SettingsError):
            viplake.time_series(days, lines, "Hours")


def test_calls_work_inside_a_running_event_loop(lake: viplake.DataLake) -> None:
    async def cell() -> int:
        return len(lake.query("from historical_job_metrics"))

    assert asyncio.run(cell()) == 3


@pytest.mark.system
def test_importing_errors_loads_no_other_part_and_no_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import viplake.errors; new = set(sys.modules) - before\n"
        "print(sorted(m for m in new if m.split('.')[0] not in sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['viplake', 'viplake.errors']\n"
    with pytest.raises(AttributeError):
        _ = viplake.nothing


def test_public_names_of_the_package_are_those_of_the_api() -> None:
    assert viplake.__all__ == api.__all__ == sorted(api.__all__)
    for name in viplake.__all__:
        assert getattr(viplake, name) is getattr(api, name)


@pytest.mark.system
def test_examples_of_the_api_page_run_in_a_fresh_interpreter(lake: viplake.DataLake, tmp_path: Path) -> None:
    """All blocks of docs/python.md, one after the other, as a script outside of the repository."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) == PAGE.count("```python")
    shutil.copytree(lake.url.removeprefix("file://"), tmp_path / "lake")  # the page also writes
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks).replace("s3://your-bucket", (tmp_path / "lake").as_uri()))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VIPLAKE_")}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=kept, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for part in ("2022-05-11T13 delivered", "'Voyage_0001.json'", "3 Job Delivery Completeness", "there is no dataset"):
        assert part in done.stdout


def test_api_page_names_every_public_method_and_attribute() -> None:
    for kind in (viplake.DataLake, viplake.LakeHour):
        public = {name for name in (*vars(kind), *kind.__annotations__) if not name.startswith("_")}
        missing = {name for name in public - INTERNAL if not re.search(rf"\.{name}\b", PAGE)}
        assert missing == set(), kind
    assert "viplake.time_series(" in PAGE
    assert all(f"`{name}`" in PAGE for name in viplake.__all__)


def test_a_lake_of_another_environment_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "IMOSDL" / "_viplake"
    folder.mkdir(parents=True)
    (folder / "lake.json").write_text('{"format": 1, "environment": "Test", "company": "ACME"}')
    with pytest.raises(SettingsError, match="Test"):
        viplake.open_lake(tmp_path.as_uri(), environment="Prod")


def test_the_python_of_the_migration_guide_works(lake: viplake.DataLake, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (Path(__file__).parents[1] / "docs" / "migrating.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", guide, flags=re.DOTALL)
    monkeypatch.setattr(go.Figure, "show", lambda _figure: None)  # it would open a browser
    found: dict[str, Any] = {}
    exec(code.replace("s3://your-bucket", lake.url), found)
    assert found["missed"] == ["2022-05-11T11"]
    assert len(found["voyages"]) == 2
    named = set(re.findall(r"`(?:lake|hour)\.(\w+)", guide))
    assert {"observe", "dataset", "query", "hour", "schema", "figure", "read", "table"} <= named
    for name in named:
        assert (
            hasattr(viplake.DataLake, name)
            or name in viplake.LakeHour.__dataclass_fields__
            or hasattr(viplake.LakeHour, name)
        )
