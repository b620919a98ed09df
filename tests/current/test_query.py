"""Queries see the current tables by their plain names, and the history as `history.NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from current.lakes import TableLake, hour
from viplake.errors import SettingsError
from viplake.history.build import HistoryLocation
from viplake.query.query import QueryRequest, query

if TYPE_CHECKING:
    from pathlib import Path

    from viplake.model import Hour
    from viplake.query.result import QueryResult

pytestmark = pytest.mark.system


def row(key: int, name: str, when: str = "2022-05-09T10:00:00Z") -> dict[str, Any]:
    return {"Id": key, "Name": name, "Amount": 1.5, "LastUpdateGMT": when}


async def asked(lake: TableLake, sql: str, **options: Any) -> tuple[list[tuple[str | None, ...]], tuple[Hour, ...]]:
    def take(answer: QueryResult) -> tuple[list[tuple[str | None, ...]], tuple[Hour, ...]]:
        return list(answer.rows()), answer.hours

    place = HistoryLocation.within(lake.lake)
    return await query(lake.lake, place, QueryRequest(sql, **options), take, warn=lambda _: None, delta=lake.delta())


async def made(tmp_path: Path) -> TableLake:
    lake = TableLake(tmp_path)
    await lake.land(0, {"Voyage": [row(1, "a"), row(2, "b")], "Port": [row(7, "p")]})
    await lake.land(1, {"Voyage": [row(1, "a2", "2022-05-09T11:00:00Z")]})
    await lake.update()
    return lake


async def test_plain_name_is_the_current_table_and_history_has_every_version(tmp_path: Path) -> None:
    lake = await made(tmp_path)
    rows, hours = await asked(lake, "select Id, Name, _hour from voyage order by Id")
    assert rows == [("1", "a2", "2022-05-10T01:00:00"), ("2", "b", "2022-05-10T00:00:00")]
    assert hours == (hour(1),)
    rows, _ = await asked(lake, "select v.Name, h.Name from Voyage v join history.Voyage h using (Id) order by all")
    assert rows == [("a2", "a"), ("a2", "a2"), ("b", "b")]
    assert (await asked(lake, "select count(*) from Port"))[0] == [("1",)]


async def test_hours_that_are_named_are_read_from_their_files(tmp_path: Path) -> None:
    lake = await made(tmp_path)
    assert (await asked(lake, "select Name from Voyage", at=hour(1)))[0] == [("a2",)]
    rows, _ = await asked(lake, "select count(*) from Voyage", since=hour(0))
    assert rows == [("3",)]


async def test_unknown_history_is_named_in_the_error(tmp_path: Path) -> None:
    lake = await made(tmp_path)
    with pytest.raises(SettingsError, match=r"history\.vesel"):
        await asked(lake, "from history.Vesel")
    names = [name for (name, *_) in (await asked(lake, "show tables"))[0]]
    assert {"Voyage", "Port"} <= set(names)
