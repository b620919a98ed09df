"""Tables of which every file was examined in an earlier Hour are not opened again, and say so."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from content.tables import UNREADABLE
from history.lakes import LAYOUT, memory
from viplake.content.examine import ContentSettings, examine
from viplake.content.records import from_bytes, to_bytes
from viplake.lake import Lake
from viplake.lake.layout import SCHEMA_NAME
from viplake.lake.records import receipt_bytes
from viplake.model import Hour, ProvenFile, Receipt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from viplake.content.profiling import HourContent
    from viplake.lake.store import Store

HOUR = Hour.parse("2022-05-10T13")
SETTINGS = ContentSettings()
SCHEMA = json.dumps(
    [{"DataObjectName": name, "Columns": [{"Name": "a", "Type": "int"}]} for name in ("T", "T_Leg", "U")]
).encode()
FILES = {
    "T_13_0.json": b'[{"a": 1}]',
    "T_13_1.json": b'[{"a": "x"}]',
    "T_Leg_13.json": b'[{"a": 3}]',
    "U_13.json": b'[{"a": 4}]',
    SCHEMA_NAME: SCHEMA,
}


class ReadLake:
    """A lake that knows which of its files were read."""

    def __init__(self) -> None:
        self.store: Store = memory()
        self.read: list[str] = []

    async def land(self, hour: Hour, files: dict[str, bytes], *, md5: bool = True, receipt: bool = True) -> None:
        for name, data in files.items():
            await self.store.put(LAYOUT.file(hour, name), data)
        marks = {name: hashlib.md5(data, usedforsecurity=False).hexdigest() for name, data in files.items()}
        proven = tuple(
            ProvenFile(name, name, len(data), marks[name] if md5 else None, None) for name, data in files.items()
        )
        if receipt:
            proof = Receipt("Prod", "ACME", hour, "guid", proven, datetime(2022, 5, 10, 14, tzinfo=UTC))
            await self.store.put(LAYOUT.receipt(hour), receipt_bytes(proof))

    async def examine(
        self, hour: Hour, earlier: HourContent | None, settings: ContentSettings = SETTINGS
    ) -> HourContent:
        self.read.clear()
        inner = self.store.read

        async def read(key: str) -> AsyncIterator[bytes]:
            self.read.append(key.rpartition("/")[2])
            async for chunk in inner(key):
                yield chunk

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.store, "read", read)
            return await examine(Lake(self.store, LAYOUT), hour, settings, earlier=earlier)


def later(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same files, by the names of another Hour."""
    return {name.replace("_13", "_14"): data for name, data in files.items()}


async def test_tables_with_unchanged_files_reuse_results_and_name_their_hour() -> None:
    lake = ReadLake()
    await lake.land(HOUR, FILES)
    await lake.land(HOUR.shift(1), later(FILES) | {"U_14.json": b'[{"a": 5}, {"a": 6}]'})
    await lake.land(HOUR.shift(2), later(FILES))
    first = await lake.examine(HOUR, None)
    second = await lake.examine(HOUR.shift(1), first)
    assert lake.read == ["U_14.json"]
    assert [(table.table, table.rows, table.examined) for table in second.tables] == [
        ("T", 2, HOUR), ("T_Leg", 1, HOUR), ("U", 2, None),
    ]  # fmt: skip
    fresh = await lake.examine(HOUR.shift(1), None)
    assert [replace(table, examined=None) for table in second.tables] == list(fresh.tables)
    assert from_bytes(to_bytes(second)) == second
    third = await lake.examine(HOUR.shift(2), second)
    assert [table.examined for table in third.tables] == [HOUR, HOUR, None]
    assert lake.read == ["U_14.json"]


async def test_a_file_with_findings_is_examined_again() -> None:
    lake = ReadLake()
    files = FILES | {"U_13_1.json": UNREADABLE["page.json"].data}
    await lake.land(HOUR, files)
    await lake.land(HOUR.shift(1), later(files))
    second = await lake.examine(HOUR.shift(1), await lake.examine(HOUR, None))
    assert lake.read == ["U_14.json", "U_14_1.json"]
    assert [finding.file for finding in second.tables[2].findings] == ["U_14_1.json"]


@pytest.mark.parametrize(
    "why",
    ["a file more", "a file less", "schema", "method", "sizes alone", "no Receipt", "no Receipt before", "longer"],
)
async def test_a_file_that_may_differ_is_opened(why: str) -> None:
    lake = ReadLake()
    files = later(FILES)
    if why == "a file more":
        files["T_14_2.json"] = files["T_14_0.json"]
    if why == "a file less":
        del files["T_14_1.json"]
    if why == "schema":
        files[SCHEMA_NAME] = SCHEMA.replace(b"int", b"bit")
    await lake.land(HOUR, FILES, receipt=why != "no Receipt before")
    await lake.land(HOUR.shift(1), files, md5=why != "sizes alone", receipt=why != "no Receipt")
    if why == "longer":
        await lake.store.put(LAYOUT.file(HOUR.shift(1), "T_14_0.json"), b'[{"a": 1}, {"a": 2}]')
    settings = ContentSettings(("when",)) if why == "method" else SETTINGS
    second = await lake.examine(HOUR.shift(1), await lake.examine(HOUR, None), settings)
    assert second.tables[0].examined is None
    assert {name for name in files if name.startswith("T_14")} <= set(lake.read)
    assert second == await lake.examine(HOUR.shift(1), None, settings) or why in {
        "a file more",
        "a file less",
        "longer",
    }
