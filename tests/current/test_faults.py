"""What can be wrong with an Hour, a schema or a table, each with what the tables hold afterwards."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deltalake
import duckdb
import pytest

from current.lakes import COLUMNS, TableLake, cut, hour, spoil_pages
from faults import Counting, Flaky
from history.lakes import At
from viplake.clock import SystemClock
from viplake.current import marks
from viplake.current.delta import DeltaTables
from viplake.current.settings import TableSettings, TablesSettings
from viplake.current.show import show
from viplake.current.update import check, update
from viplake.errors import LakeError, SettingsError
from viplake.lake import Lake
from viplake.lake.layout import RECEIPT_NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from viplake.lake.store import Store

pytestmark = pytest.mark.system

TIED = "2022-05-09T10:00:00Z"


def row(key: int | None, name: str | None = "a", when: str | None = TIED, amount: Any = 1.5) -> dict[str, Any]:
    return {"Id": key, "Name": name, "Amount": amount, "LastUpdateGMT": when}


def same(lake: TableLake, table: str = "Voyage") -> None:
    for kind in ("history", "current"):
        assert lake.digest(kind, table) == lake.expected(kind, table), kind


def by_key(lake: TableLake, table: str = "Voyage", kind: str = "current", key: str = "Id") -> dict[str, dict[str, Any]]:
    return {one[key]: one for one in lake.rows(kind, table)}


async def folder_of_two(tmp_path: Path) -> TableLake:
    lake = TableLake(tmp_path)
    await lake.land(0, {"Voyage": [row(1), row(2, "b")]})
    await lake.land(1, {"Voyage": [row(1), row(3, "c")]})
    return lake


def written(folder: Path) -> dict[Path, int]:
    """Every file, and when it was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


# -- Hours ------------------------------------------------------------------------------------------------------------


async def test_update_of_the_same_hours_twice_writes_nothing(tmp_path: Path) -> None:
    lake = await folder_of_two(tmp_path)
    await lake.update()
    before = written(tmp_path)
    again = await lake.update()
    assert (again.hours, again.tables) == ([], {})
    assert written(tmp_path) == before


async def test_hour_without_receipt_is_merged_when_it_has_one(tmp_path: Path) -> None:
    lake = await folder_of_two(tmp_path)
    await lake.land(2, {"Voyage": [row(9, "late", "2022-05-09T12:00:00Z")]}, proven=False)
    await lake.update()
    assert "9" not in by_key(lake)
    folder = lake.folder / "IMOSDL" / "Hourly" / hour(2).folder
    await lake.prove(2, {path.name: path.read_bytes() for path in folder.iterdir()})
    await lake.update()
    same(lake)


async def test_late_hour_with_the_only_copy_of_a_version_heals_both_tables(tmp_path: Path) -> None:
    lake = await folder_of_two(tmp_path)
    await lake.land(5, {"Voyage": [row(1, "newer", "2022-05-09T12:00:00Z")]})
    await lake.update()
    await lake.land(3, {"Voyage": [row(1, "between", "2022-05-09T11:00:00Z"), row(4, "only")]})
    await lake.update()
    same(lake)


async def test_file_that_differs_from_the_receipt_holds_its_table_back_until_it_is_repaired(tmp_path: Path) -> None:
    lake = await folder_of_two(tmp_path)
    await lake.land(2, {"Voyage": [row(4, "d")], "Port": [row(7, "p")]})
    [file] = (lake.folder / "IMOSDL" / "Hourly" / hour(2).folder).glob("Voyage*")
    right = file.read_bytes()
    file.write_bytes(gzip.compress(json.dumps([row(66, "wrong")]).encode()))
    found = await lake.update()
    assert [(at, table) for at, table, _ in found.held] == [(hour(2), "Voyage")]
    same(lake, "Port")
    assert "66" not in by_key(lake)
    assert "4" not in by_key(lake)
    shown = await show(lake.lake, lake.delta())
    assert [(at, table) for at, table, _ in shown.held] == [(hour(2), "Voyage")]
    file.write_bytes(right)
    assert (await lake.update()).held == []
    same(lake)
    assert (await show(lake.lake, lake.delta())).held == ()


async def test_unreadable_and_missing_files_hold_their_tables_back(tmp_path: Path) -> None:
    lake = TableLake(tmp_path)
    await lake.land(0, {"Voyage": [row(1)], "Port": [row(2)], "Vessel": [row(3)]})
    folder = lake.folder / "IMOSDL" / "Hourly" / hour(0).folder
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != RECEIPT_NAME}
    [broken] = [name for name in files if name.startswith("Port")]
    files[broken] = files[broken][:-9]
    (folder / broken).write_bytes(files[broken])
    await lake.prove(0, files)
    [gone] = folder.glob("Vessel*")
    gone.unlink()
    found = await lake.update()
    assert sorted(table for _, table, _ in found.held) == ["Port", "Vessel"]
    same(lake)


async def test_table_that_is_missing_or_empty_in_an_hour_stays_as_it_was(tmp_path: Path) -> None:
    lake = await folder_of_two(tmp_path)
    await lake.land(2, {"Port": [row(7, "p")]})
    await lake.land(3, {"Voyage": [], "Port": [row(7, "p")]})
    await lake.update()
    same(lake)
    assert set(by_key(lake)) == {"1", "2", "3"}


async def test_hours_of_adopt_count_unless_turned_off_by_the_setting(tmp_path: Path) -> None:
    for adopted in (True, False):
        lake = TableLake(tmp_path / str(adopted), settings=TablesSettings(adopted=adopted))
        await lake.land(0, {"Voyage": [row(1)]})
        path = lake.folder / "IMOSDL" / "Hourly" / hour(0).folder / RECEIPT_NAME
        receipt = json.loads(path.read_bytes())
        for file in receipt["files"]:
            file["md5"] = None
        path.write_text(json.dumps(receipt | {"proof": "size"}))
        await lake.update()
        assert bool(lake.rows("current", "Voyage")) is adopted


async def test_tables_of_an_unchanged_hour_are_not_opened_and_nothing_is_written(tmp_path: Path) -> None:
    lake = TableLake(tmp_path)
    for number in range(3):
        await lake.land(number, {"Voyage": [row(1)], "Port": [row(2, str(number))]}, label="same")
        counting = Counting(lake.store)
        watched = Lake(counting, lake.lake.layout, lake.lake.url)
        found = await update(watched, DeltaTables(watched, {}, SystemClock()), lake.settings)
        opened = [call for call in counting.calls if call.startswith("read ") and "Hourly" in call]
        assert len(opened) == (2 if number == 0 else 1)
        assert found.skipped == (0 if number == 0 else 1)
    same(lake)
    same(lake, "Port")
    assert len(lake.live("history", "Voyage")) == 1


async def opened_by(lake: TableLake) -> list[str]:
    """Update; the names of the files of Hours that were read."""
    counting = Counting(lake.store)
    watched = Lake(counting, lake.lake.layout, lake.lake.url)
    await update(watched, DeltaTables(watched, {}, SystemClock()), lake.settings)
    return sorted(call.rpartition("/")[2] for call in counting.calls if call.startswith("read ") and "Hourly" in call)


async def test_file_of_a_table_that_did_not_change_is_not_opened(tmp_path: Path) -> None:
    lake = TableLake(tmp_path)
    later = "2022-05-09T12:00:00Z"
    hours = [
        [row(0), row(1), row(2), row(3), row(4), row(5)],
        [row(0), row(1, "b", later), row(2), row(3), row(4), row(5)],
        [row(0), row(1, "b", later), row(2), row(3), row(4), row(5), row(6)],
    ]
    opened = []
    for number, records in enumerate(hours):
        await lake.land(number, {"Voyage": records}, files_of=3, label="same")
        opened.append(await opened_by(lake))
        same(lake)
    every = [f"Voyage_same_{part}.json.gz" for part in range(3)]
    assert opened == [every, [every[1]], [every[0]]]
    catching_up = TableLake(tmp_path / "at once")
    for number, records in enumerate(hours):
        await catching_up.land(number, {"Voyage": records}, files_of=3, label="same")
    assert len(await opened_by(catching_up)) == 5
    same(catching_up)


@pytest.mark.parametrize("when", [None, TIED])
@pytest.mark.parametrize("at_once", [True, False])
async def test_versions_that_tie_in_other_files_of_an_hour_are_decided_as_in_one_file(
    tmp_path: Path, when: str | None, *, at_once: bool
) -> None:
    lake = TableLake(tmp_path)
    a, b, other = row(1, "a", when), row(1, "b", when), row(2, "x", when)
    for number, (first, second) in enumerate([(a, other), (a, b), (a, other), (a, row(3)), (row(4), b), (a, b)]):
        await lake.land(number, {"Voyage": [first, second]}, files_of=2, label="same")
        if not at_once:
            await lake.update()
            same(lake)
    await lake.update()
    same(lake)


async def test_file_that_equals_one_of_an_hour_that_is_held_back_is_read_itself(tmp_path: Path) -> None:
    lake = TableLake(tmp_path)
    await lake.land(0, {"Voyage": [row(1), row(2)]}, files_of=2, label="same")
    await lake.land(1, {"Voyage": [row(1), row(3)]}, files_of=2, label="same")
    await lake.land(2, {"Voyage": [row(4), row(3)]}, files_of=2, label="same")
    damaged = lake.folder / "IMOSDL" / "Hourly" / hour(1).folder / "Voyage_same_1.json.gz"
    right = damaged.read_bytes()
    damaged.write_bytes(right[:-9])
    found = await lake.update()
    assert [at for at, _, _ in found.held] == [hour(1)]
    assert by_key(lake)["3"]["_hour"] == "2022-05-10 02:00:00+00"
    damaged.write_bytes(right)
    await lake.update()
    same(lake)


async def test_hour_that_equals_one_that_is_held_back_is_read_itself(tmp_path: Path) -> None:
    lake = await folder_of_two(tmp_path)
    for number in (2, 3):
        await lake.land(number, {"Voyage": [row(4, "d")]}, label="same")
    [file] = (lake.folder / "IMOSDL" / "Hourly" / hour(2).folder).glob("Voyage*")
    right = file.read_bytes()
    file.write_bytes(right[:-9])
    found = await lake.update()
    assert [(at, table) for at, table, _ in found.held] == [(hour(2), "Voyage")]
    assert by_key(lake)["4"]["_hour"] == "2022-05-10 03:00:00+00"
    await lake.update(anew=True)
    assert by_key(lake)["4"]["_hour"] == "2022-05-10 03:00:00+00"
    file.write_bytes(right)
    await lake.update()
    same(lake)


async def test_requests_of_an_update_of_the_last_days_do_not_grow_with_history(tmp_path: Path) -> None:
    requests = []
    for days in (40, 400):
        lake = TableLake(tmp_path / str(days))
        past = [hour(-24 * day) for day in range(1, days)]
        await marks.begin(lake.lake, past)
        for one in past:
            await marks.finish(lake.lake, one, marks.Mark(str(one), {}), again=False)
        await lake.land(0, {"Voyage": [row(1)]})
        counting = Counting(lake.store)
        watched = Lake(counting, lake.lake.layout, lake.lake.url)
        first = hour(0).shift(-7 * 24)
        await update(watched, DeltaTables(watched, {}, SystemClock()), lake.settings, first=first)
        requests.append(len(counting.calls))
        assert (await marks.known(lake.lake, await marks.days(lake.lake))).done == {*past, hour(0)}
    assert requests[0] == requests[1]


async def test_update_of_all_days_lists_only_days_that_lack_an_hour(tmp_path: Path) -> None:
    lake = TableLake(tmp_path)
    past = [hour(-number) for number in range(1, 24 * 9 + 1)]
    hole, held = hour(-24 * 8 + 3), hour(-24 * 6)
    await marks.begin(lake.lake, past)
    for one in past:
        if one != hole:
            why = {"Voyage": "it cannot be read"} if one == held else {}
            await marks.finish(lake.lake, one, marks.Mark(str(one), {}, why), again=False)
    for number in (-24 * 8 + 2, -24 * 6, -24 * 3, 0):
        await lake.land(number, {"Voyage": [row(1)]})
    counting = Counting(lake.store)
    watched = Lake(counting, lake.lake.layout, lake.lake.url)
    await update(watched, DeltaTables(watched, {}, SystemClock()), lake.settings)
    listed = {call for call in counting.calls if call.startswith(f"folders {lake.lake.layout.prefix}2")}
    assert listed == {f"folders {lake.lake.layout.day(one.day)}" for one in (hole, held, hour(0))}


async def test_late_hour_beside_unchanged_ones_is_decided_by_the_newest_that_carried_a_version(tmp_path: Path) -> None:
    lake = TableLake(tmp_path)
    for number in (0, 1, 3):
        await lake.land(number, {"Voyage": [row(1, "a", None)]}, label="same")
        await lake.update()
    await lake.land(2, {"Voyage": [row(1, "b", None)]})
    await lake.update()
    same(lake)


# -- records ----------------------------------------------------------------------------------------------------------


async def test_null_keys_are_set_aside_and_counted(tmp_path: Path) -> None:
    lake = TableLake(tmp_path)
    await lake.land(0, {"Voyage": [row(1), row(None), row(None, "z")]})
    found = await lake.update()
    assert found.tables["Voyage"].aside == 2
    same(lake)


async def test_value_that_does_not_fit_is_a_problem_and_the_row_stays(tmp_path: Path) -> None:
    lake = TableLake(tmp_path)
    await lake.land(0, {"Voyage": [row(1, amount="many"), row(2, amount="1.234"), row(3, amount="123456789012.5")]})
    await lake.update()
    found = by_key(lake)
    assert {key: json.loads(one["_problems"]) for key, one in found.items()} == {
        "1": {"Amount": "many"}, "2": {"Amount": "1.234"}, "3": {"Amount": "123456789012.5"},
    }  # fmt: skip
    assert not any("Amount" in one for one in found.values())


async def test_decimals_and_times_are_exact(tmp_path: Path) -> None:
    lake = TableLake(tmp_path)
    columns = {"Voyage": {"Id": "int", "Big": "decimal(38,10)", "At": "datetime", "LastUpdateGMT": "datetime"}}
    record = '{"Id": 1, "Big": 1234567890123456789.0123456789, "At": "2022-05-09T12:00:00+02:00"}'
    await lake.land(0, {"Voyage": [json.loads('{"Id": 0}')]}, columns=columns)
    folder = lake.folder / "IMOSDL" / "Hourly" / hour(0).folder
    [file] = folder.glob("Voyage*")
    file.write_bytes(gzip.compress(f"[{record}]".encode()))
    await lake.prove(0, {path.name: path.read_bytes() for path in folder.iterdir() if path.name != RECEIPT_NAME})
    await lake.update()
    [found] = lake.rows("current", "Voyage")
    assert (found["Big"], found["At"]) == ("1234567890123456789.0123456789", "2022-05-09 10:00:00+00")


async def test_record_time_of_the_future_or_none_orders_versions_all_the_same(tmp_path: Path) -> None:
    lake = TableLake(tmp_path)
    await lake.land(0, {"Voyage": [row(1, "future", "2099-01-01T00:00:00Z"), row(2, "none", None)]})
    await lake.land(1, {"Voyage": [row(1, "now"), row(2, "now")]})
    await lake.update()
    same(lake)
    assert by_key(lake)["1"]["Name"] == "future"


async def test_table_without_a_key_has_a_history_only(tmp_path: Path) -> None:
    lake = TableLake(tmp_path)
    await lake.land(0, {"Voyage": [row(1), row(1), row(2)]}, keys={})
    await lake.land(1, {"Voyage": [row(2), row(3)]}, keys={})
    found = await lake.update()
    assert found.tables["Voyage"].current is None
    assert lake.rows("current", "Voyage") == []
    assert lake.digest("history", "Voyage") == lake.expected("history", "Voyage", ())


def flagged(column: str = "IsDeleted", **options: Any) -> TablesSettings:
    return TablesSettings(tables={"Voyage": TableSettings(deleted=column, **options)})


def marked(lake: TableLake, kind: str = "current") -> list[tuple[str, str, str]]:
    return sorted((one["Id"], one.get("IsDeleted", ""), one["_deleted"]) for one in lake.rows(kind, "Voyage"))


async def test_rows_that_a_column_marks_as_deleted_stay_and_are_flagged(tmp_path: Path) -> None:
    lake = TableLake(tmp_path, settings=flagged())
    columns = {"Voyage": {**COLUMNS, "IsDeleted": "bit"}}
    later = "2022-05-09T12:00:00Z"
    await lake.land(0, {"Voyage": [row(1), row(2)]})
    assert (await lake.update()).tables["Voyage"].notes == ["no column IsDeleted: no row is marked as deleted"]
    await lake.land(
        2, {"Voyage": [row(1, when=later) | {"IsDeleted": True}, row(3) | {"IsDeleted": 0}]}, columns=columns
    )
    await lake.land(1, {"Voyage": [row(1) | {"IsDeleted": False}]}, columns=columns)
    await lake.update()
    assert marked(lake) == [("1", "true", "true"), ("2", "", "false"), ("3", "false", "false")]
    assert [flag for *_, flag in marked(lake, "history")].count("true") == 1
    assert await check(lake.lake, lake.delta(), lake.settings) == {"Voyage": {"current": 0, "history": 0}}


@pytest.mark.parametrize("later", [flagged("STATE", deleted_values=("Void", "x")), TablesSettings()])
async def test_other_setting_for_deleted_rows_computes_the_table_anew(tmp_path: Path, later: TablesSettings) -> None:
    lake = TableLake(tmp_path, settings=flagged("Name", deleted_values=("B",)))
    columns = {"Voyage": {**COLUMNS, "State": "nvarchar(9)"}}
    for number in range(2):
        await lake.land(number, {"Voyage": [row(1), row(2, "b") | {"State": "VOID"}]}, columns=columns)
    await lake.update()
    assert {key: one["_deleted"] for key, one in by_key(lake).items()} == {"1": "false", "2": "true"}
    lake.settings = later
    await lake.land(2, {"Voyage": [row(3) | {"State": "Void"}]}, columns=columns)
    found = await lake.update()
    [note] = found.tables["Voyage"].notes
    assert note == "computed anew: 2022-05-10T02 comes with another setting for deleted rows"
    flags = {key: one.get("_deleted") for key, one in by_key(lake).items()}
    assert flags == ({"1": "false", "2": "true", "3": "true"} if later.tables else dict.fromkeys("123"))
    assert len(lake.rows("history", "Voyage")) == 3
    lake.settings = flagged("Stat")
    await lake.land(3, {"Voyage": [row(4)]}, columns=columns)
    [note] = (await lake.update()).tables["Voyage"].notes
    assert note.endswith("for deleted rows; no column Stat: no row is marked as deleted")


# -- schema -----------------------------------------------------------------------------------------------------------


async def two_schemas(
    tmp_path: Path, before: str, after: str, values: tuple[Any, Any], order: tuple[int, int] = (0, 1)
) -> TableLake:
    lake = TableLake(tmp_path)
    for number in order:
        columns = {"Voyage": {**COLUMNS, "X": (before, after)[number]}}
        await lake.land(number, {"Voyage": [row(number + 1) | {"X": values[number]}]}, columns=columns)
        await lake.update()
    return lake


def types(lake: TableLake, kind: str = "current") -> Mapping[str, str]:
    table = deltalake.DeltaTable(str(lake.folder / "IMOSDL" / "Tables" / kind / "Voyage"))
    return {one["name"]: one["type"] for one in json.loads(table.schema().to_json())["fields"]}


async def test_column_added_is_null_before_and_column_removed_stays(tmp_path: Path) -> None:
    lake = TableLake(tmp_path)
    await lake.land(0, {"Voyage": [row(1)]})
    await lake.update()
    wide = {"Voyage": {**COLUMNS, "Port": "nvarchar(9)"}}
    await lake.land(1, {"Voyage": [row(1) | {"Port": None}, row(2) | {"Port": "Oslo"}]}, columns=wide)
    await lake.update()
    await lake.land(2, {"Voyage": [row(3)]})
    await lake.update()
    same(lake)
    assert types(lake)["Port"] == types(lake, "history")["Port"] == "string"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_wider_type_rewrites_the_table_and_keeps_every_value(tmp_path: Path, order: tuple[int, int]) -> None:
    lake = await two_schemas(tmp_path, "decimal(10,2)", "decimal(18,4)", (1.25, 7.0625), order)
    assert types(lake)["X"] == types(lake, "history")["X"] == "decimal(18,4)"
    assert {key: one["X"] for key, one in by_key(lake).items()} == {"1": "1.2500", "2": "7.0625"}
    assert not any("_problems" in one for one in lake.rows("current", "Voyage"))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_values_of_another_kind_are_in_a_text_column_beside(tmp_path: Path, order: tuple[int, int]) -> None:
    lake = await two_schemas(tmp_path, "int", "bit", (5, True), order)
    assert types(lake)["X"] == "long"
    assert types(lake)["X__text"] == "string"
    rows = by_key(lake)
    assert (rows["1"]["X"], rows["2"]["X__text"]) == ("5", "true")
    assert "X" not in rows["2"]


async def test_narrower_type_stays_in_the_wider_column(tmp_path: Path) -> None:
    lake = await two_schemas(tmp_path, "decimal(18,4)", "decimal(10,2)", (7.0625, 1.25))
    assert types(lake)["X"] == "decimal(18,4)"
    assert {key: one["X"] for key, one in by_key(lake).items()} == {"1": "7.0625", "2": "1.2500"}


async def test_narrower_type_alone_makes_no_new_versions(tmp_path: Path) -> None:
    lake = TableLake(tmp_path)
    for number, declared in enumerate(("decimal(18,4)", "decimal(10,2)", "decimal(6,0)")):
        columns = {"Voyage": {**COLUMNS, "X": declared}}
        await lake.land(number, {"Voyage": [row(key) | {"X": key} for key in range(50)]}, columns=columns)
        found = await lake.update()
        assert found.tables["Voyage"].versions == (50 if number == 0 else 0)
    assert types(lake)["X"] == "decimal(18,4)"


async def test_value_beyond_a_narrower_type_is_a_problem_in_every_order_of_arrival(tmp_path: Path) -> None:
    expected = {"1": ("7.0625", None), "2": (None, '{"X":"8.0625"}')}
    for order in ((0, 1), (1, 0)):
        folder_ = tmp_path / str(order)
        lake = await two_schemas(folder_, "decimal(18,4)", "decimal(10,2)", (7.0625, 8.0625), order)
        assert {key: (one.get("X"), one.get("_problems")) for key, one in by_key(lake).items()} == expected


async def test_key_that_changes_stops_its_table_until_it_is_computed_anew(tmp_path: Path) -> None:
    lake = await folder_of_two(tmp_path)
    await lake.update()
    await lake.land(2, {"Voyage": [row(1, "k1"), row(1, "k2")]}, keys={"Voyage": ["Id", "Name"]})
    found = await lake.update()
    assert ["its key changed from (Id) to (Id, Name)" in why for _, _, why in found.held] == [True]
    await lake.update(anew=True)
    assert lake.digest("current", "Voyage") == lake.expected("current", "Voyage", ("Id", "Name"))


async def test_names_that_differ_in_case_are_one_column_or_two(tmp_path: Path) -> None:
    lake = TableLake(tmp_path)
    await lake.land(0, {"Voyage": [row(1) | {"Port": "Oslo"}]}, columns={"Voyage": {**COLUMNS, "Port": "text"}})
    await lake.update()
    other = {"Voyage": {**COLUMNS, "PORT": "text"}}
    await lake.land(1, {"Voyage": [row(2) | {"PORT": "Bergen"}]}, columns=other)
    twins = {"Voyage": {**COLUMNS, "Port": "text", "port": "text"}}
    await lake.land(2, {"Voyage": [row(3) | {"Port": "Rome", "port": "Bari"}]}, columns=twins)
    await lake.update()
    found = by_key(lake)
    assert (found["1"]["Port"], found["2"]["Port"], found["3"]["Port"]) == ("Oslo", "Bergen", "Rome")
    assert found["3"]["port_1"] == "Bari"


# -- others ------------------------------------------------------------------------------------------------------------


async def test_writers_at_once_on_the_same_and_on_other_hours(tmp_path: Path) -> None:
    for round_ in range(3):
        lake = TableLake(tmp_path / str(round_))
        for number in range(6):
            await lake.land(number, {"Voyage": [row(1, str(number % 3), None), row(number), row(2, str(number))]})
        ranges: list[dict[str, Any]] = [{}, {"first": hour(3)}, {"last": hour(4)}]
        await asyncio.gather(*(lake.update(**options) for options in ranges))
        await lake.update()
        same(lake)


async def test_commit_of_another_program_is_no_obstacle(tmp_path: Path) -> None:
    lake = await folder_of_two(tmp_path)
    await lake.update()
    for kind in ("current", "history"):
        table = deltalake.DeltaTable(str(lake.folder / "IMOSDL" / "Tables" / kind / "Voyage"))
        table.optimize.z_order(["Id"])
        table.create_checkpoint()
    await lake.land(2, {"Voyage": [row(1, "later", "2022-05-09T12:00:00Z")]})
    await lake.update()
    same(lake)


async def test_table_with_a_raised_reader_version_is_held_back(tmp_path: Path) -> None:
    lake = await folder_of_two(tmp_path)
    await lake.update()
    table = deltalake.DeltaTable(str(lake.folder / "IMOSDL" / "Tables" / "current" / "Voyage"))
    feature = deltalake.TableFeatures.DeletionVectors
    table.alter.add_feature(feature, allow_protocol_versions_increase=True)
    before = table.version()
    await lake.land(2, {"Voyage": [row(5)]})
    found = await lake.update()
    assert ["reader version" in why for _, _, why in found.held] == [True]
    table.update_incremental()
    assert table.version() == before


def folder(lake: TableLake, kind: str, table: str = "Voyage") -> Path:
    return lake.folder / "IMOSDL" / "Tables" / kind / table


async def in_versions(tmp_path: Path) -> TableLake:
    """A lake with two tables of four versions each."""
    lake = TableLake(tmp_path)
    for number in range(4):
        await lake.land(number, {"Voyage": [row(number), row(1, str(number), None)], "Port": [row(number)]})
        await lake.update()
    return lake


async def test_log_without_the_versions_before_its_checkpoint_is_no_obstacle(tmp_path: Path) -> None:
    lake = await in_versions(tmp_path)
    for kind in ("current", "history"):
        table = deltalake.DeltaTable(str(folder(lake, kind)))
        table.create_checkpoint()
        for number in range(table.version()):
            (folder(lake, kind) / "_delta_log" / f"{number:020}.json").unlink()
    await lake.land(4, {"Voyage": [row(1, "later", None), row(9)]})
    assert (await lake.update()).held == []
    assert await check(lake.lake, lake.delta(), lake.settings) == {
        name: {"current": 0, "history": 0} for name in ("Port", "Voyage")
    }


def spoil_checkpoint(log: Path) -> None:
    [checkpoint] = log.glob("*.checkpoint.parquet")
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])


def remove_checkpoint(log: Path) -> None:
    [checkpoint] = log.glob("*.checkpoint.parquet")
    checkpoint.unlink()


def remove_version(log: Path) -> None:
    for path in [*log.glob("*.checkpoint.parquet"), log / "_last_checkpoint", log / f"{1:020}.json"]:
        path.unlink()


def remove_every_version(log: Path) -> None:
    for path in log.glob("0*.json"):
        path.unlink()


@pytest.mark.parametrize("kind", ["current", "history"])
@pytest.mark.parametrize("spoil", [spoil_checkpoint, remove_checkpoint, remove_version, remove_every_version])
async def test_damaged_log_holds_its_table_back_until_the_table_is_moved_away(
    tmp_path: Path, kind: str, spoil: Callable[[Path], None]
) -> None:
    lake = await in_versions(tmp_path)
    deltalake.DeltaTable(str(folder(lake, kind))).create_checkpoint()
    spoil(folder(lake, kind) / "_delta_log")
    await lake.land(4, {"Voyage": [row(1, "later", None), row(9)], "Port": [row(9)]})
    found = await lake.update()
    assert [(at, table) for at, table, _ in found.held] == [(hour(4), "Voyage")]
    assert f"Move IMOSDL/Tables/{kind}/Voyage/ out of the lake" in found.held[0][2]
    same(lake, "Port")
    folder(lake, kind).rename(tmp_path / "moved")
    await lake.land(5, {"Voyage": [row(10)], "Port": [row(9)]})
    assert (await lake.update()).held == []
    same(lake)


@pytest.mark.parametrize("kind", ["current", "history"])
@pytest.mark.parametrize("harm", [cut, spoil_pages, Path.unlink])
async def test_damaged_or_lost_file_holds_its_table_back_until_the_table_is_moved_away(
    tmp_path: Path, kind: str, harm: Callable[[Path], None]
) -> None:
    lake = await in_versions(tmp_path)
    for file in lake.live(kind, "Voyage"):
        harm(Path(file))
    await lake.land(4, {"Voyage": [row(1, "later", None), row(9)], "Port": [row(9)]})
    found = await lake.update()
    assert [(at, table) for at, table, _ in found.held] == [(hour(4), "Voyage")]
    words = r"is gone, and the table needs it" if harm is Path.unlink else "cannot be read: "
    assert re.match(rf"{kind}/Voyage/part-\w+\.parquet {words}", found.held[0][2])
    assert f"Move IMOSDL/Tables/{kind}/Voyage/ out of the lake" in found.held[0][2]
    same(lake, "Port")
    with pytest.raises(LakeError, match=words) as caught:
        await check(lake.lake, lake.delta(), lake.settings)
    assert (caught.value.cause.word, caught.value.exit_code) == ("table_damaged", 73)
    folder(lake, kind).rename(tmp_path / "moved")
    assert (await lake.update()).held == []
    same(lake)


async def test_table_that_needs_an_unknown_writer_feature_is_held_back_with_its_name(tmp_path: Path) -> None:
    lake = await folder_of_two(tmp_path)
    await lake.update()
    log = folder(lake, "current") / "_delta_log" / f"{0:020}.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for action in actions:
        if "protocol" in action:
            action["protocol"] = {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["rowTracking"]}
    log.write_text("\n".join(map(json.dumps, actions)) + "\n")
    await lake.land(4, {"Voyage": [row(9, "later")]})
    [(_, table, why)] = (await lake.update()).held
    assert (table, "RowTracking" in why) == ("Voyage", True)
    folder(lake, "current").rename(tmp_path / "moved")
    assert (await lake.update()).held == []
    same(lake)


@pytest.mark.parametrize("kind", ["current", "history"])
@pytest.mark.parametrize("before", [1, 4])
async def test_table_that_is_gone_or_an_older_one_is_computed_anew(tmp_path: Path, kind: str, before: int) -> None:
    lake = await folder_of_two(tmp_path)
    await lake.update()
    older = tmp_path / "older"
    shutil.copytree(folder(lake, kind), older)
    for number in range(2, 1 + before):
        await lake.land(number, {"Voyage": [row(1, str(number), None), row(number)]})
        await lake.update()
    shutil.rmtree(folder(lake, kind))
    if before > 1:
        shutil.copytree(older, folder(lake, kind))
    await lake.land(7, {"Voyage": [row(1, "x", "2022-05-09T22:00:00Z")]})
    found = await lake.update()
    assert [note.split(":")[0] for note in found.tables["Voyage"].notes] == ["computed anew"]
    same(lake)


async def test_test_and_prod_in_one_bucket_have_tables_of_their_own(tmp_path: Path) -> None:
    prod = await folder_of_two(tmp_path)
    test = TableLake(tmp_path, prefix="DEV/IMOSDL/Hourly/")
    await test.land(0, {"Voyage": [row(66, "of Test")]})
    await prod.update()
    before = written(tmp_path / "IMOSDL")
    await test.update()
    assert written(tmp_path / "IMOSDL") == before
    assert deltalake.DeltaTable(str(tmp_path / "DEV" / "IMOSDL" / "Tables" / "current" / "Voyage")).count() == 1
    same(prod)


async def test_check_finds_rows_that_another_program_changed(tmp_path: Path) -> None:
    lake = await folder_of_two(tmp_path)
    await lake.update()
    assert await check(lake.lake, lake.delta(), lake.settings) == {"Voyage": {"current": 0, "history": 0}}
    table = deltalake.DeltaTable(str(lake.folder / "IMOSDL" / "Tables" / "current" / "Voyage"))
    table.update(updates={"Name": "'changed by hand'"}, predicate="Id = 2")
    found = await check(lake.lake, lake.delta(), lake.settings)
    assert found == {"Voyage": {"current": 2, "history": 0}}
    await lake.update(anew=True)
    same(lake)


async def test_files_of_a_table_stay_few(tmp_path: Path) -> None:
    lake = TableLake(tmp_path)
    for number in range(12):
        await lake.land(number, {"Voyage": [row(number, "n"), row(1, str(number), None)]})
        await lake.update()
    same(lake)
    assert [len(lake.live(kind, "Voyage")) <= 2 for kind in ("current", "history")] == [True, True]


async def test_table_that_needs_more_memory_gets_it_and_is_else_held_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = TableLake(tmp_path)
    await lake.land(0, {"Voyage": [row(number, f"{number * 7919:0500d}") for number in range(20_000)]})
    monkeypatch.setattr("viplake.current.writer.MEMORIES", ("8MB", "1GB"))
    with monkeypatch.context() as little:
        little.setattr("viplake.current.writer.MEMORIES", ("8MB", "9MB"))
        found = await lake.update()
    assert ["of memory" in why for _, _, why in found.held] == [True]
    assert lake.rows("current", "Voyage") == []
    assert (await lake.update()).held == []
    same(lake)
    assert await check(lake.lake, lake.delta(), lake.settings) == {"Voyage": {"current": 0, "history": 0}}
    with monkeypatch.context() as little:
        little.setattr("viplake.current.writer.MEMORIES", ("8MB", "9MB"))
        with pytest.raises(SettingsError, match="the table Voyage needs more than 9MB of memory"):
            await check(lake.lake, lake.delta(), lake.settings)


class Interrupted(Flaky):
    """A store in which others do something before a table's file is read for the first time."""

    def __init__(self, store: Store, others: Callable[[], Awaitable[object]]) -> None:
        super().__init__(store)
        self.others: Callable[[], Awaitable[object]] | None = others

    async def read(self, key: str) -> AsyncIterator[bytes]:
        if "/Tables/" in key and (others := self.others) is not None:
            self.others = None
            await others()
        async for chunk in super().read(key):
            yield chunk


async def test_vacuum_under_a_writer_makes_it_merge_again_and_under_a_reader_takes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = await folder_of_two(tmp_path)
    long_ago = DeltaTables(lake.lake, {}, At(datetime.now(UTC) - timedelta(days=8)))
    await update(lake.lake, long_ago, lake.settings)
    monkeypatch.setattr("viplake.current.update._VACUUM_EVERY", 1)
    await lake.land(2, {"Voyage": [row(1, "later", "2022-05-09T12:00:00Z")]})
    await lake.land(3, {"Voyage": [row(3, "later", "2022-05-09T13:00:00Z")]})
    removed = []

    async def others() -> None:
        removed.append((await update(lake.lake, long_ago, lake.settings, last=hour(2))).removed)

    interrupted = Lake(Interrupted(lake.store, others), lake.lake.layout, lake.lake.url)
    await update(interrupted, DeltaTables(interrupted, {}, SystemClock()), lake.settings, first=hour(3))
    assert removed[0] > 0, "the files that the writer was about to read"
    same(lake)
    reader = deltalake.DeltaTable(str(lake.table("current", "Voyage")))
    before = lake.digest("current", "Voyage")
    await lake.land(4, {"Voyage": [row(2, "newest", "2022-05-09T14:00:00Z")]})
    await lake.update()
    assert lake.digest("current", "Voyage") != before
    with duckdb.connect() as connection:
        found = connection.execute("select count(*) from read_parquet($1)", [reader.file_uris()]).fetchall()
    assert found == [(before.total(),)]


async def test_two_records_of_a_key_in_an_hour_are_two_versions_and_the_newer_is_current(tmp_path: Path) -> None:
    lake = TableLake(tmp_path)
    await lake.land(0, {"Voyage": [row(1, "b", "2022-05-09T12:00:00Z"), row(1, "a"), row(2, "x"), row(2, "y")]})
    await lake.update()
    same(lake)
    assert {key: one["Name"] for key, one in by_key(lake).items()} == {"1": "b", "2": "y"}


async def test_old_files_stay_for_readers_and_are_removed_after_seven_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viplake.current.update._VACUUM_EVERY", 2)
    for days in (1, 8):
        lake = TableLake(tmp_path / str(days))
        clock = At(datetime.now(UTC) - timedelta(days=days))
        removed = 0
        for number in range(4):
            await lake.land(number, {"Voyage": [row(1, str(number), f"2022-05-09T1{number}:00:00Z")]})
            found = await update(lake.lake, DeltaTables(lake.lake, {}, clock), lake.settings)
            removed += found.removed
        assert (removed > 0) is (days > 7)
        same(lake)


async def test_tables_are_not_computed_anew_from_an_hour_that_was_damaged_since(tmp_path: Path) -> None:
    lake = await folder_of_two(tmp_path)
    await lake.update()
    [file] = (lake.folder / "IMOSDL" / "Hourly" / hour(1).folder).glob("Voyage*")
    right = file.read_bytes()
    file.write_bytes(right[:-9])
    for work in (lake.update(anew=True), check(lake.lake, lake.delta(), lake.settings)):
        with pytest.raises(SettingsError, match="Voyage cannot be computed anew: it has 2022-05-10T01, and now"):
            await work
    same(lake)
    file.write_bytes(right)
    await lake.update(anew=True)
    same(lake)


async def test_tables_are_not_computed_anew_without_hours_that_they_have(tmp_path: Path) -> None:
    lake = await folder_of_two(tmp_path)
    await lake.update()
    before = lake.digest("history", "Voyage")
    for file in await lake.store.files(lake.lake.layout.folder(hour(0))):
        await lake.store.delete(file.key)
    with pytest.raises(SettingsError, match="1 Hours that they have are not in the lake, such as 2022-05-10T00"):
        await lake.update(anew=True)
    with pytest.raises(SettingsError):
        await check(lake.lake, lake.delta(), lake.settings)
    await lake.land(2, {"Voyage": [row(9, "n")]})
    await lake.update()
    assert before < lake.digest("history", "Voyage")
