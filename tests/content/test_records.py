"""What was found inside is kept as it was found, and comes back for people and for judgement."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import duckdb
import pytest

from history.lakes import LAYOUT, memory
from viplake.content import records as contents
from viplake.content.examine import ContentSettings, examine
from viplake.content.profiling import HourContent
from viplake.errors import LakeError
from viplake.history.build import HistoryLocation
from viplake.lake import Lake
from viplake.model import PROD, Hour
from viplake.simulator.history import Past, Spell, generate

if TYPE_CHECKING:
    from pathlib import Path

    from viplake.lake.store import Store

LAST = Hour.parse("2022-06-01T01")
HOURS = list(LAST.shift(-3).to(LAST))  # two months


async def kept() -> tuple[Store, HistoryLocation, list[HourContent]]:
    store = memory()
    spells = (
        Spell(LAST, LAST, "content", ("Voyage",), fault="wrong_type"),
        Spell(HOURS[1], HOURS[1], "content", ("Voyage",), fault="truncated"),
        Spell(HOURS[2], HOURS[2], "lacking", ("Voyage",)),
    )
    past = Past(spells, tables=3, inside=HOURS[0], scale=1)
    await generate(Lake(store, LAYOUT), HOURS, past, environment=PROD)
    place = HistoryLocation.within(Lake(store, LAYOUT))
    found = [await examine(Lake(store, LAYOUT), hour, ContentSettings()) for hour in HOURS]
    await contents.keep(place, found)
    return store, place, found


async def test_stored_results_are_read_back_unchanged() -> None:
    _, place, found = await kept()
    assert any(content.findings for content in found)
    back = await contents.read(place, [*HOURS, LAST.shift(1), LAST.shift(-100)])
    assert list(back.items()) == [(content.hour, content) for content in found]


async def test_looking_again_writes_the_same_bytes() -> None:
    store, place, found = await kept()
    before = {file.key: await store.get(file.key) for file in await store.files("IMOSDL/")}
    await contents.keep(place, found)
    after = {file.key: await store.get(file.key) for file in await store.files("IMOSDL/")}
    assert after == before


async def test_series_have_one_value_an_hour_and_no_value_without_the_table() -> None:
    _, place, found = await kept()
    rows, newest = await contents.series(place, HOURS[0], LAST)
    told = [{table.table: table for table in content.tables} for content in found]
    assert list(rows["Voyage"]) == [told[0]["Voyage"].rows, -1, -1, told[3]["Voyage"].rows]
    times = [told[number]["Vessel" if "Vessel" in told[number] else "Voyage_Itinerary"].newest for number in range(4)]
    table = "Vessel" if "Vessel" in told[0] else "Voyage_Itinerary"
    assert list(newest[table]) == [round(time.timestamp()) for time in times if time is not None]


async def test_people_get_a_row_an_hour_table_and_column_as_parquet(tmp_path: Path) -> None:
    store, _, found = await kept()
    for file in await store.files(LAYOUT.observability):
        path = tmp_path / file.key.removeprefix(LAYOUT.observability).replace("/", "-")
        path.write_bytes(await store.get(file.key) or b"")
    columns = duckdb.execute(
        f'select epoch(hour), "table", "column", "rows", nulls from \'{tmp_path}/column_content-*.parquet\''
    ).fetchall()
    assert sorted(columns) == sorted(
        (content.hour.start.timestamp(), table.table, column.name, column.rows, column.nulls)
        for content in found
        for table in content.tables
        for column in table.columns
    )
    tables = duckdb.execute(
        f'select epoch(hour), "table", "rows", findings, epoch(newest) from \'{tmp_path}/table_content-*.parquet\''
    ).fetchall()
    assert sorted(tables, key=str) == sorted(
        (
            (
                content.hour.start.timestamp(),
                table.table,
                table.rows,
                len(table.findings),
                None if table.newest is None else table.newest.timestamp(),
            )
            for content in found
            for table in content.tables
        ),
        key=str,
    )


async def test_a_lake_without_content_checks_costs_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    store = memory()

    async def no_get(*_: object, **__: object) -> bytes:
        raise AssertionError("it is read")

    monkeypatch.setattr(store, "get", no_get)
    assert await contents.read(HistoryLocation.within(Lake(store, LAYOUT)), HOURS) == {}


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "ledger_damaged"),
        (b"oops", "ledger_damaged"),
        (gzip.compress(b"[]", mtime=0), "ledger_damaged"),
        (gzip.compress(b'{"format": 1}', mtime=0), "ledger_damaged"),
        (gzip.compress(b'{"format": 1, "hour": "x", "tables": [], "schema_problem": null}', mtime=0), "ledger_damaged"),
        (gzip.compress(b'{"format": 99}', mtime=0), "lake_format"),
    ],
)
def test_a_malformed_or_newer_record_is_an_error(data: bytes, cause: str) -> None:
    with pytest.raises(LakeError) as caught:
        contents.from_bytes(data)
    assert caught.value.cause.word == cause


def test_an_hour_without_tables_is_stored_too() -> None:
    empty = HourContent(LAST, (), "it has no schema")
    assert contents.from_bytes(contents.to_bytes(empty)) == empty
