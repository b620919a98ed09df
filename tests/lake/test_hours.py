"""Which Hours are in a lake, and which of them are proven."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fakes import DictStore, FakeClock
from viplake.lake import Lake
from viplake.lake.hours import (
    day_folders,
    hour_folder,
    listed_days,
    listed_ledger_days,
    named_hours,
    newest_first,
    newest_proven,
    newest_to_read,
    parse_hour,
)
from viplake.lake.layout import PROMISE_NAME, RECEIPT_NAME, Layout
from viplake.lake.store import StoreSettings, open_store
from viplake.model import Hour

if TYPE_CHECKING:
    from pathlib import Path

LAYOUT = Layout.below("IMOSDL/Hourly/")
HOUR = Hour.parse("2022-05-10T13")


@pytest.fixture(params=["folder", "memory"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """An empty lake, in a folder or in memory."""
    store = open_store(StoreSettings(f"file://{tmp_path}")) if request.param == "folder" else DictStore(FakeClock())
    return Lake(store, LAYOUT)


async def put(lake: Lake, *files: tuple[Hour, str]) -> None:
    for hour, name in files:
        await lake.store.put(LAYOUT.file(hour, name), b"[]")


async def test_newest_proven_hour_has_a_receipt_or_does_not_exist(lake: Lake) -> None:
    assert await newest_proven(lake) is None
    await put(lake, (HOUR, RECEIPT_NAME), (HOUR.shift(30), "x.json"))
    assert await newest_proven(lake) == HOUR


async def test_newest_hour_to_read_is_the_newest_proven_or_else_the_newest_with_a_file(lake: Lake) -> None:
    assert await newest_to_read(lake) is None
    await put(lake, *((HOUR.shift(number), "T_0.json") for number in range(3)), (HOUR.shift(40), PROMISE_NAME))
    assert await newest_to_read(lake) == HOUR.shift(2)
    await put(lake, (HOUR.shift(1), RECEIPT_NAME))
    assert await newest_to_read(lake) == HOUR.shift(1)


async def test_a_folder_separates_delivered_files_from_records(lake: Lake) -> None:
    await put(lake, (HOUR, "T_0.json"), (HOUR, RECEIPT_NAME), (HOUR.shift(1), "T_0.json"))
    await lake.store.put(LAYOUT.folder(HOUR) + "below/T_1.json", b"[]")
    found = await day_folders(lake, HOUR.day)
    assert list(found) == [HOUR, HOUR.shift(1)]
    assert found[HOUR].sizes == {"T_0.json": 2, RECEIPT_NAME: 2}
    assert found[HOUR].delivered == {"T_0.json": 2}
    assert (found[HOUR].proven, found[HOUR.shift(1)].proven) == (True, False)
    assert (await hour_folder(lake, HOUR)).sizes == found[HOUR].sizes
    assert not (await hour_folder(lake, HOUR.shift(5))).files


async def test_hours_come_newest_first_and_only_days_and_hours_count(lake: Lake) -> None:
    await put(lake, (HOUR, "T_0.json"), (HOUR.shift(-24), "T_0.json"), (HOUR.shift(2), "T_0.json"))
    for other in ("20220510.bak/13/x", "latest/x", "2022051/13/x", "20229999/00/x", "20220512/24/x"):
        await lake.store.put(LAYOUT.prefix + other, b"1")
    await lake.store.put(LAYOUT.event(HOUR, 1), b"{}")
    assert [folder.hour async for folder in newest_first(lake)] == [HOUR.shift(2), HOUR, HOUR.shift(-24)]
    assert await listed_days(lake) == ["20220509", "20220510", "20220512"]
    assert await listed_ledger_days(lake) == ["20220510"]
    assert await named_hours(lake, "20220510") == [HOUR, HOUR.shift(2)]


@pytest.mark.parametrize(
    ("day", "name", "known"),
    [("20220510", "13", True), ("2022-05-10", "13", False), ("20220510", "24", False), ("20220230", "00", False),
     ("20220510", "1", False), ("01990510", "13", False), ("", "", False)],
)  # fmt: skip
def test_a_folder_is_an_hours_only_in_its_one_notation(day: str, name: str, *, known: bool) -> None:
    assert (parse_hour(day, name) is not None) is known
