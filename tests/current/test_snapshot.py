"""Tables without a key in the mode `snapshot`: the current table has the records of the newest proven Hour."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from current.lakes import COLUMNS, TableLake, hour
from faults import Crash
from viplake.current.delta import DeltaTables, TableKind
from viplake.current.load.load import load, open_target
from viplake.current.plan import accepted
from viplake.current.settings import TableSettings, TablesSettings
from viplake.current.shape import Snapshot
from viplake.current.show import show
from viplake.current.update import check
from viplake.network.settings import Network

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system

SAME = {"Rate": {"current": 0, "history": 0}}


def row(number: int, name: str = "a") -> dict[str, Any]:
    return {"Id": number, "Name": name, "Amount": 1.5, "LastUpdateGMT": None}


def made(folder: Path, **options: Any) -> TableLake:
    return TableLake(folder, settings=TablesSettings(tables={"Rate": TableSettings(mode="snapshot", **options)}))


async def land(lake: TableLake, number: int, records: list[dict[str, Any]], **options: Any) -> None:
    await lake.land(number, {"Rate": records}, keys={}, label=f"{len(records)}", **options)


def same(lake: TableLake) -> None:
    for kind in ("history", "current"):
        assert lake.digest(kind, "Rate") == lake.expected(kind, "Rate"), kind


def names(lake: TableLake) -> list[str]:
    return sorted(one["Name"] for one in lake.rows("current", "Rate"))


async def test_newest_hour_replaces_all_rows_and_history_keeps_every_version(tmp_path: Path) -> None:
    lake = made(tmp_path)
    await land(lake, 0, [row(1), row(2), row(2)])
    await lake.update()
    same(lake)
    await land(lake, 1, [row(2), row(3), row(3), row(4)], files_of=2)
    found = await lake.update()
    same(lake)
    assert found.tables["Rate"].rows == 4
    assert len(lake.rows("history", "Rate")) == 4
    assert await check(lake.lake, lake.delta(), lake.settings) == SAME


@pytest.mark.parametrize("count", [3, pytest.param(4, marks=pytest.mark.long)])
async def test_hours_in_every_order_of_arrival_give_the_newest_one(tmp_path: Path, count: int) -> None:
    """Two of the Hours have equal files, and one has another column."""
    wide = {"Rate": {**COLUMNS, "Port": "nvarchar(9)"}}
    hours: list[tuple[list[dict[str, Any]], dict[str, Any]]] = [
        ([row(1), row(2)], {}),
        ([row(2, "b"), row(3)], {"columns": wide}),
        ([row(1), row(2)], {}),
        ([row(1), row(3)], {}),
    ]
    for order in itertools.permutations(range(count)):
        lake = made(tmp_path / str(order))
        for number in order:
            records, options = hours[number]
            await land(lake, number, records, **options)
            await lake.update()
            same(lake)


async def test_unchanged_hour_writes_nothing_and_still_is_the_newest(tmp_path: Path) -> None:
    lake = made(tmp_path)
    await land(lake, 0, [row(1)])
    await land(lake, 2, [row(1)])
    await lake.update()
    versions = len(lake.log("current", "Rate"))
    await land(lake, 3, [row(1)])
    assert (await lake.update()).skipped == 1
    assert len(lake.log("current", "Rate")) == versions
    await land(lake, 1, [row(5)])
    await lake.update()
    same(lake)


async def test_hour_with_under_half_the_rows_is_refused_with_the_remedy_until_it_is_allowed(tmp_path: Path) -> None:
    lake = made(tmp_path)
    await land(lake, 0, [row(number) for number in range(5)])
    await lake.update()
    await land(lake, 1, [row(8), row(9)])
    for _ in range(2):
        [(at, table, why)] = (await lake.update()).held
        assert (at, table) == (hour(1), "Rate")
        assert "it has 2 rows, under half of the 5 of 2022-05-10T00" in why
        assert "set fewer_rows = true in [tables.Rate] of viplake.toml" in why
        assert len(lake.rows("current", "Rate")) == 5
        assert lake.digest("history", "Rate") == lake.expected("history", "Rate")
    assert [one[:2] for one in (await show(lake.lake, lake.delta())).held] == [(hour(1), "Rate")]
    await land(lake, 2, [row(8), row(9)])
    assert [one[0] for one in (await lake.update()).held] == [hour(2), hour(1)], "equal files are refused as well"
    assert await check(lake.lake, lake.delta(), lake.settings) == SAME
    assert (await lake.update(anew=True)).held != []
    assert len(lake.rows("current", "Rate")) == 5
    lake.settings = made(tmp_path, fewer_rows=True).settings
    assert (await lake.update()).held == []
    same(lake)
    assert (await show(lake.lake, lake.delta())).held == ()


async def test_hour_after_a_refused_one_replaces_the_snapshot(tmp_path: Path) -> None:
    lake = made(tmp_path)
    await land(lake, 0, [row(number) for number in range(5)])
    await land(lake, 1, [row(9)])
    await land(lake, 2, [row(number, "b") for number in range(3)])
    found = await lake.update()
    assert [one[0] for one in found.held] == [hour(1)]
    same(lake)
    assert (await lake.update()).held == [], "an older Hour replaces nothing"
    same(lake)


async def test_empty_hour_empties_the_snapshot_only_where_that_is_allowed(tmp_path: Path) -> None:
    for fewer in (False, True):
        lake = made(tmp_path / str(fewer), fewer_rows=fewer)
        await land(lake, 0, [row(1), row(2)])
        await lake.update()
        await land(lake, 1, [])
        found = await lake.update()
        assert (len(found.held), len(lake.rows("current", "Rate"))) == ((0, 0) if fewer else (1, 2))


async def test_damaged_newest_hour_leaves_the_one_before_it(tmp_path: Path) -> None:
    lake = made(tmp_path)
    await land(lake, 0, [row(1)])
    await land(lake, 3, [row(3)])
    [file] = (lake.folder / "IMOSDL" / "Hourly" / hour(3).folder).glob("Rate*")
    right = file.read_bytes()
    file.write_bytes(right[:-9])
    await lake.update()
    await land(lake, 2, [row(2, "late")])
    await lake.update()
    assert names(lake) == ["late"]
    file.write_bytes(right)
    assert (await lake.update()).held == []
    same(lake)


async def test_writers_at_once_leave_the_newest_hour(tmp_path: Path) -> None:
    for round_ in range(3):
        lake = made(tmp_path / str(round_))
        for number in range(6):
            await land(lake, number, [row(1, str(number % 3)), row(number), row(2, str(number))])
        ranges: list[dict[str, Any]] = [{}, {"first": hour(3)}, {"last": hour(4)}]
        await asyncio.gather(*(lake.update(**options) for options in ranges))
        same(lake)


async def test_rows_name_the_first_hour_when_a_writer_died_after_it_committed_the_history(tmp_path: Path) -> None:
    """The history has the late Hour already: nothing in it says that the current table does not."""
    lake = made(tmp_path)
    await land(lake, 3, [row(1), row(2)])
    await lake.update()
    await land(lake, 1, [row(1)])
    commit = DeltaTables.commit

    async def dies(self: DeltaTables, kind: TableKind, *args: Any, **named: Any) -> int:
        if kind == "current":
            raise Crash
        return await commit(self, kind, *args, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeltaTables, "commit", dies)
        with pytest.raises(Crash):
            await lake.update()
    await lake.update()
    same(lake)


async def test_other_mode_holds_the_table_back_until_it_is_computed_anew(tmp_path: Path) -> None:
    lake = made(tmp_path)
    await land(lake, 0, [row(1)])
    await lake.update()
    lake.settings = TablesSettings()
    await land(lake, 1, [row(2)])
    [(_, _, why)] = (await lake.update()).held
    assert "viplake tables --rebuild" in why
    assert (await lake.update(anew=True)).held == []
    assert lake.rows("current", "Rate") == []
    lake.settings = made(tmp_path).settings
    await land(lake, 2, [row(3)])
    assert (await lake.update()).held == []
    same(lake)
    await lake.update(anew=True)
    same(lake)


async def test_table_with_a_key_becomes_a_snapshot_when_it_is_computed_anew(tmp_path: Path) -> None:
    lake = made(tmp_path)
    settings, lake.settings = lake.settings, TablesSettings()
    for number in range(2):
        await lake.land(number, {"Rate": [row(number), row(number + 1)]})
        await lake.update()
    assert len(lake.rows("current", "Rate")) == 3
    lake.settings = settings
    await lake.land(2, {"Rate": [row(2), row(2)]})
    [(_, _, why)] = (await lake.update()).held
    assert why == "its key changed from (Id) to none"
    assert (await lake.update(anew=True)).held == []
    same(lake)


async def test_snapshot_is_loaded_into_a_database_as_a_whole(tmp_path: Path) -> None:
    lake = made(tmp_path / "lake")
    for number in range(2):
        await land(lake, number, [row(1), row(1), row(number)])
        await lake.update()
        target = open_target(str(tmp_path / "imos.duckdb"), Network())
        assert (await load(lake.lake, lake.delta(), target)).changed == {"Rate": 3}
        target.close()


def test_older_hour_is_never_accepted() -> None:
    now = Snapshot(hour(3), 10)
    assert accepted(now, {hour(1): 99, hour(2): 99}, "Rate", fewer=True) == (None, {})
    assert accepted(now, {hour(3): 10}, "Rate", fewer=False) == (hour(3), {})
    found, refused = accepted(now, {hour(4): 4, hour(5): 5, hour(6): 2}, "Rate", fewer=False)
    assert (found, sorted(refused)) == (hour(5), [hour(4), hour(6)])
