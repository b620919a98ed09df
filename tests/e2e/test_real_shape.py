"""The commands over a history of the size and disorder that the first user holds: 247 tables, months of 2022."""

from __future__ import annotations

import csv
import io
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from commands import Commands

pytestmark = pytest.mark.system

PLACES = [folder / "shared" / "history" for folder in Path(__file__).parents[3:6]]
LAST = "2022-04-15T23"


def real() -> dict[str, bytes] | None:
    """Return the published history of a real lake, where it is beside the project."""
    found = next((place for place in PLACES if place.is_dir()), None)
    return None if found is None else {path.name: path.read_bytes() for path in found.glob("historical_*.csv")}


def made() -> dict[str, bytes]:
    """Return a history of the same shape: nothing for two weeks, doubled rows, an unsorted tail, tables missing."""
    chance = random.Random(3)
    jobs = ["date,jobDelivered,JobExpected"]
    tables = ["date,tablesDelivered,tablesExpected,missingTables,missingTablesList,completenessRatio"]
    sizes = ["date,size,files"]
    for number in range(1600):
        label = f"{datetime(2022, 2, 8, 8, tzinfo=UTC) + timedelta(hours=number):%Y%m%d-%H}"
        delivered = number >= 336 and (number > 1500 or number % 97 >= 13)
        jobs.append(f"{label},{int(delivered)},1")
        sizes.append(f"{label},{round(chance.gauss(1.8e6, 2e4))},281" if delivered else f"{label},0,0")
        if delivered:
            lacking = ["AddressBookExpense"] if number <= 1500 and number % 170 < 29 else []
            there = 247 - len(lacking)
            tables.append(f"{label},{there},247,{len(lacking)},{lacking},{round(there / 247, 4)}")
    files = {"historical_job_metrics": jobs, "historical_table_metrics": tables, "historical_job_size": sizes}
    return {
        f"{name}.csv": "\n".join([*rows[:-40], *rows[-20:], *rows[-40:-20], *rows[-9:], ""]).encode()
        for name, rows in files.items()
    }


@pytest.fixture(scope="module", params=["real", "made"])
def held(request: pytest.FixtureRequest) -> dict[str, bytes]:
    """The CSV files that somebody holds."""
    files = real() if request.param == "real" else made()
    if files is None:
        pytest.skip("the real history is not beside the project")
    return files


@pytest.fixture(scope="module")
def viplake(held: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Commands:
    """The command on an empty lake into which these files were imported."""
    root = tmp_path_factory.mktemp("imported")
    (root / "lake").mkdir()
    (root / "csvs").mkdir()
    for name, data in held.items():
        (root / "csvs" / name).write_bytes(data)
    command = Commands(
        {"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": (root / "lake").as_uri(), "COLUMNS": "200"}, root
    )
    finished = command.run("observe", "--import", "csvs")
    assert finished.code == 0, finished.err
    for name, data in held.items():
        assert f"imported {len(by_hour(data)):,} rows into {name.removesuffix('.csv')}" in finished.out
    return command


def by_hour(data: bytes) -> dict[str, list[str]]:
    """Return the rows by Hour; where a row is doubled, one of them."""
    return {row[0]: row for row in list(csv.reader(io.StringIO(data.decode())))[1:] if row}


def answered(viplake: Commands, *arguments: str, code: int = 0) -> Any:
    finished = viplake.run(*arguments, "--json")
    assert finished.code == code, finished.err
    return json.loads(finished.out)


def test_every_imported_hour_counts_as_it_was_held(viplake: Commands, held: dict[str, bytes]) -> None:
    jobs = by_hour(held["historical_job_metrics.csv"])
    published = viplake.cwd / "lake" / "IMOSDL" / "Observability"
    assert by_hour((published / "historical_job_metrics.csv").read_bytes()) == jobs
    runs = list(csv.DictReader(io.StringIO((published / "historical_run_metrics.csv").read_text())))
    assert {row["date"]: row["outcome"] for row in runs} == {
        hour: "delivered" if row[1] == "1" else "missed" for hour, row in jobs.items()
    }
    assert {(row["owner"], row["cause"], row["replicationSeconds"]) for row in runs} <= {
        ("unknown", "", ""),
        ("", "", ""),
    }


def test_status_shows_what_the_history_has_of_imported_hours(viplake: Commands, held: dict[str, bytes]) -> None:
    span = ("--from", "2022-04-01T00", "--to", "2022-04-15T23")
    words = {"1": "in the history: delivered", "0": "in the history: not delivered"}
    jobs = by_hour(held["historical_job_metrics.csv"])
    wanted = {hour: words[row[1]] for hour, row in jobs.items() if "20220401-00" <= hour <= "20220415-23"}
    assert set(wanted.values()) == set(words.values())
    shown = answered(viplake, "status", *span)["hours"]
    assert {(one["outcome"], one["cause"], one["owner"]) for one in shown} == {("none", None, None)}
    assert {one["hour"].replace("-", "").replace("T", "-"): one["detail"] for one in shown} == wanted
    lines = viplake.run("status", *span).out.splitlines()
    assert sum(line.rstrip().endswith("none      in the history: delivered") for line in lines) == sum(
        word == words["1"] for word in wanted.values()
    )


def test_a_check_of_2022_speaks_of_2022(viplake: Commands, held: dict[str, bytes]) -> None:
    checked = answered(viplake, "check", "--at", LAST, "--no-notify", code=0)
    assert (checked["at"], checked["hours"]) == (LAST, 1600)
    objectives = {one["name"]: one for one in checked["objectives"]}
    labels = sorted(by_hour(held["historical_job_metrics.csv"]))[-672:]
    good = sum(by_hour(held["historical_job_metrics.csv"])[label][1] == "1" for label in labels)
    assert (objectives["delivered"]["good"], objectives["delivered"]["bad"]) == (good, 672 - good)
    assert objectives["delivered"]["verdict"] == "out of SLA"
    assert (objectives["on_time"]["sli"], objectives["on_time"]["good"]) == (None, 0)
    assert all(one["target"] == 0.994 for name, one in objectives.items() if name != "on_time")
    for one in checked["incidents"]:
        assert one["hour"] >= "2022-02-22", one  # the two weeks before the first delivery are nothing
    assert len(checked["incidents"]) < 60
    assert len([one for one in checked["incidents"] if one["rule"] == "missing_table"]) < 15


def test_slo_prints_the_verdict_of_each_period_and_the_objectives_as_openslo(viplake: Commands) -> None:
    printed = viplake.run("slo", "--at", LAST).out
    verdicts = {line.split()[0] for line in printed.splitlines() if "in SLA" in line or "out of SLA" in line}
    assert verdicts == {"day", "week", "month", "window"}
    documents = viplake.run("slo", "--openslo").out
    assert documents.count('"apiVersion": "openslo/v1"') == 3
    sla = (viplake.cwd / "lake/IMOSDL/Observability/historical_sla.csv").read_text().splitlines()
    assert sla[0] == "period,from,to,indicator,target,good,expected,ratio,inSla"
    assert any(line.startswith("month,20220301-00,20220331-23,delivered,0.994,") for line in sla)


def test_a_report_of_a_month_has_the_line_of_the_agreement(viplake: Commands) -> None:
    finished = viplake.run("report", "--from", "2022-03-01T00", "--to", "2022-03-31T23", "--out", "march.html")
    assert finished.code == 0, finished.err
    page = (viplake.cwd / "march.html").read_text()
    assert page.count("SLA") > 5
    assert "out of SLA" in page
    assert len(page) < 3_000_000
