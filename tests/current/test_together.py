"""Hours that are read together give the rows of Hours that are read one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from current.lakes import COLUMNS, TableLake, hour
from samples import sampled
from viplake.current.source import HourRows, rows_in, source_of
from viplake.current.update import opened

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

HOURS = 4


def record(key: int, **members: Any) -> dict[str, Any]:
    return {"Id": key, "Name": f"n{key}", "Amount": 1.5, "LastUpdateGMT": "2022-05-09T10:00:00Z"} | members


ODD: dict[str, list[Any]] = {
    "a member that the schema does not name": [record(1), record(2, Zed="z")],
    "a member in another case": [{"ID": 1, "Name": "a"}, {"id": 2, "name": "b"}],
    "a null in place of a record": [record(1), None],
    "an object without members": [record(1), {}],
    "members in another order": [dict(reversed(record(1).items())), record(2)],
    "members left out": [{"Id": 1}, record(2)],
    "a value that does not fit": [record(1, Amount="much"), record(2)],
    "a value with more digits": [record(1, Amount=1.234567), record(2)],
    "a time with a zone": [record(1, LastUpdateGMT="2022-05-09T10:00:00+05:00"), record(2)],
    "a time without seconds": [record(1, LastUpdateGMT="2022-05-09T10:00"), record(2)],
    "a number as text": [record(1, Id="7"), record(2, Id="07")],
    "an object as a value": [record(1, Name={"a": [1, None]}), record(2)],
    "a number in place of a record": [record(1), 7],
    "a record twice": [record(1), record(1)],
    "no records": [],
}


@pytest.mark.parametrize("odd", sampled(ODD, every=4))
async def test_an_odd_hour_among_others_gives_the_rows_of_reading_one_by_one(tmp_path: Path, odd: str) -> None:
    together, apart = TableLake(tmp_path / "together"), TableLake(tmp_path / "apart")
    for lake in (together, apart):
        for number in range(HOURS):
            usual = [record(key, Name=f"at {number}", LastUpdateGMT=f"2022-05-09T1{number}:00:00Z") for key in (3, 4)]
            records = ODD[odd] if number == 1 else [*usual, record(5)]
            await lake.land(number, {"Voyage": records}, columns={"Voyage": COLUMNS})
            if lake is apart:
                await lake.update()
    found = await together.update()
    assert [(hour, table) for hour, table, _ in found.held] == (
        [(found.hours[1], "Voyage")] if odd == "a number in place of a record" else []
    )
    for kind in ("history", "current"):
        assert together.digest(kind, "Voyage") == apart.digest(kind, "Voyage"), kind


async def test_active_rows_in_a_file_of_their_own_are_each_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viplake.current.plan._APART_BYTES", -1)
    monkeypatch.setattr("viplake.current.plan._APART_SHARE", 0)
    lake = TableLake(tmp_path)
    for number in range(8):
        keys = range(20) if number == 0 else range(number, number + 4)
        when = f"2022-05-09T1{number}:00:00Z"
        await lake.land(number, {"Voyage": [record(key, Name=f"{number}", LastUpdateGMT=when) for key in keys]})
        await lake.update()
        for kind in ("history", "current"):
            assert lake.digest(kind, "Voyage") == lake.expected(kind, "Voyage"), (kind, number)
        assert len(lake.live("current", "Voyage")) <= 2


async def test_hours_that_are_read_alike_are_read_in_one_go_and_each_record_once(tmp_path: Path) -> None:
    lake = TableLake(tmp_path / "lake")
    sources = []
    for number in range(HOURS):
        changed = record(3, Name=f"at {number}", LastUpdateGMT=f"2022-05-09T1{number}:00:00Z")
        await lake.land(number, {"Voyage": [record(1), record(2), changed]})
        source = await source_of(lake.lake, hour(number), adopted=True)
        assert source is not None
        sources.append(source)
    with opened(lake.lake, lake.delta(), lake.settings) as writer:
        [(some, read)] = [one async for one in writer.read("Voyage", sources, None, writer.new_folder())]
        assert isinstance(read, HourRows)
        assert [source.hour for source in some] == list(read.hours) == [hour(number) for number in range(HOURS)]
        assert rows_in(writer.connection, read.path) == 2 + HOURS
