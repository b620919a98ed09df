"""Queries see the current tables by their plain names, and the history as `history.NAME`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from current.lakes import TableLake, cut, hour, spoil_pages
from viplake.current.delta import DeltaTables
from viplake.errors import LakeError, SettingsError
from viplake.history.build import HistoryLocation
from viplake.query.query import QueryRequest, query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from viplake.current.delta import Live, TableKind
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


@pytest.mark.parametrize(("kind", "name"), [("current", "Voyage"), ("history", "history.Voyage")])
@pytest.mark.parametrize("harm", [cut, spoil_pages, Path.unlink])
async def test_damaged_or_lost_file_of_a_table_is_named_and_never_left_out(
    tmp_path: Path, kind: str, name: str, harm: Callable[[Path], None]
) -> None:
    lake = await made(tmp_path)
    whole = {file: file.read_bytes() for file in map(Path, lake.live(kind, "Voyage"))}
    for file in whole:
        harm(file)
    why = "is gone, and the table needs it" if harm is Path.unlink else "cannot be read: "
    for partial in (False, True):
        with pytest.raises(LakeError, match=rf"{kind}/Voyage/part-\w+\.parquet {why}") as caught:
            await asked(lake, f"select Name from {name}", partial=partial)
        assert (caught.value.cause.word, f"Move IMOSDL/Tables/{kind}/Voyage/" in caught.value.hint) == (
            "table_damaged",
            True,
        )
    assert (await asked(lake, "select count(*) from Port"))[0] == [("1",)]
    for file, data in whole.items():
        file.write_bytes(data)
    assert (await asked(lake, f"select Name from {name} where Id = 2"))[0] == [("b",)]


def remove(files: Iterable[str]) -> None:
    for file in files:
        Path(file).unlink()


async def test_table_is_opened_again_when_its_files_are_replaced_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, opened = await made(tmp_path), DeltaTables.open

    async def open_and_replace(self: DeltaTables, kind: TableKind, folder: str) -> Live | None:
        """The first time, an update and a vacuum come right after."""
        monkeypatch.setattr(DeltaTables, "open", opened)
        found = await opened(self, kind, folder)
        before = lake.live("current", "Voyage")
        await lake.land(2, {"Voyage": [row(1, "a3", "2022-05-09T12:00:00Z")]})
        await lake.update()
        remove(set(before) - set(lake.live("current", "Voyage")))
        return found

    monkeypatch.setattr(DeltaTables, "open", open_and_replace)
    assert (await asked(lake, "select Name from Voyage order by Id"))[0] == [("a3",), ("b",)]


async def test_unknown_history_is_named_in_the_error(tmp_path: Path) -> None:
    lake = await made(tmp_path)
    with pytest.raises(SettingsError, match=r"history\.vesel"):
        await asked(lake, "from history.Vesel")
    names = [name for (name, *_) in (await asked(lake, "show tables"))[0]]
    assert {"Voyage", "Port"} <= set(names)
