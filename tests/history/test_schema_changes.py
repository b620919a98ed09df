"""Schema drift: which schema held when, in the history and in words; an unknown difference is never "the same"."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from faults import Counting, Flaky, Tripwire, lake_down
from history.lakes import LAYOUT, At, at, contents, export, fill, memory, schema
from viplake.errors import LakeError
from viplake.history.build import HistoryLocation, ObserveSettings, Scope, observe, read_history
from viplake.history.datasets import SCHEMAS
from viplake.history.schema_changes import (
    FIRST,
    MOST_COMPARED,
    NO_COLUMNS,
    OLDER,
    SAME,
    UNREAD,
    Differing,
    Held,
    Listed,
    compared,
    difference,
    holding,
    lost,
    none_at,
    to_compare,
    unreadable,
    versions,
    words,
)
from viplake.history.schema_store import SchemaStore
from viplake.lake import Lake
from viplake.lake.versions import Versions
from viplake.model import Hour
from viplake.tables.schema import Change, TableSchema

if TYPE_CHECKING:
    from viplake.history.build import Observed
    from viplake.history.datasets import Row
    from viplake.history.schema_changes import SchemaVersion, Tables
    from viplake.lake.store import Store

    Known = dict[str, Tables | str]

H0 = Hour.parse("2022-05-10T00")
UPDATE = Scope()
A, B, C = "a" * 64, "b" * 64, "c" * 64

ID = TableSchema({"Id": ""})
NONE = TableSchema(None)


def rows(told: dict[int, tuple[str, str]]) -> dict[Hour, Row]:
    return {H0.shift(n): (H0.shift(n).label, sha256, tables) for n, (sha256, tables) in told.items()}


def stretch(version: SchemaVersion) -> tuple[str, int, int, int]:
    first, last = (round((hour.start - H0.start).total_seconds() / 3600) for hour in (version.first, version.last))
    return version.sha256[0], first, last, version.hours


# -- versions -------------------------------------------------------------------------------------------------


def test_a_returning_schema_is_a_new_version_and_hours_without_schema_end_none() -> None:
    found = versions(rows({0: (A, "2"), 1: (A, "2"), 4: (A, "2"), 5: (B, "3"), 7: (A, "2")}))
    assert [stretch(version) for version in found] == [("a", 0, 4, 3), ("b", 5, 5, 1), ("a", 7, 7, 1)]
    assert [version.tables for version in found] == [2, 3, 2]
    assert {version.changes for version in found} == {UNREAD}
    assert versions({}) == ()


@given(st.dictionaries(st.integers(0, 30), st.sampled_from("abc"), max_size=20))
def test_versions_partition_the_hours_in_any_order_of_rows(told: dict[int, str]) -> None:
    found = versions(rows({n: (letter * 64, "1") for n, letter in told.items()}))
    assert sum(version.hours for version in found) == len(told)
    assert all(a.last < b.first and a.sha256 != b.sha256 for a, b in pairwise(found))
    for n, letter in told.items():
        held = holding(found, H0.shift(n))
        assert held is not None
        assert (held.sha256[0], held.first <= H0.shift(n) <= held.last) == (letter, True)


def test_the_version_that_holds_is_the_newest_that_had_begun() -> None:
    found = versions(rows({2: (A, "2"), 5: (B, "3")}))
    held = [holding(found, H0.shift(n)) for n in (1, 2, 4, 5, 99)]
    assert [one and one.sha256[0] for one in held] == [None, "a", "a", "b", "b"]
    assert "2022-05-10T01" in none_at(found, H0.shift(1))
    assert "2022-05-10T02" in none_at(found, H0.shift(1))
    assert "viplake observe" in none_at((), None)


def test_each_version_is_compared_with_the_last_one_before_that_can_be_read() -> None:
    known: Known = {
        A: {"Voyage": TableSchema({"Id": "int"})},
        B: {"Voyage": TableSchema({"Id": "bigint"}), "Port": TableSchema(None)},
    }
    found = compared(versions(rows({0: (A, "1"), 1: (C, ""), 2: (B, "2"), 3: (A, "1")})), known)
    assert [version.changes for version in found] == [
        FIRST,
        unreadable(C),
        (Change("Port", "table added"), Change("Voyage", "column Id changed from int to bigint")),
        (Change("Port", "table removed"), Change("Voyage", "column Id changed from bigint to int")),
    ]


def test_an_unknown_difference_has_a_reason_and_is_never_no_change() -> None:
    known: Known = {A: {"Voyage": TableSchema({"Id": "int"})}, B: lost(B)}
    assert difference(A, B, known) == difference(B, A, known) == lost(B)
    assert difference(A, C, known) == UNREAD
    assert difference(B, B, known) == ()
    assert difference(A, C, {A: {"V": TableSchema(None)}, C: {"V": TableSchema({"Id": ""})}}) == ()
    assert words(()) == [SAME]
    assert words(lost(B)) == [lost(B)]


def test_words_are_one_line_a_table() -> None:
    told = (Change("A", "column x added (int)"), Change("A", "column y removed"), Change("B", "table added"))
    assert words(told) == ["A: column x added (int); column y removed", "B: table added"]


def test_only_the_newest_versions_are_compared_and_the_others_are_marked() -> None:
    many = MOST_COMPARED + 10
    found = versions(rows({n: (f"{n:064x}", "1") for n in range(many)}))
    needed = to_compare(found)
    told = compared(found, {sha256: {f"T{sha256[-3:]}": TableSchema(None)} for sha256 in needed})
    assert len(needed) == MOST_COMPARED + 1
    assert [version.changes for version in told[:10]] == [FIRST] + [OLDER] * 9
    assert all(len(version.changes) == 2 and version.changes != OLDER for version in told[10:])


def test_the_keys_for_programs_are_stable() -> None:
    [before, after] = compared(
        versions(rows({0: (A, "1"), 1: (B, "2")})),
        {A: {"V": ID}, B: {"V": ID, "P": NONE}},
    )
    assert before.to_json() == {
        "schema": A, "first": "2022-05-10T00", "last": "2022-05-10T00", "hours": 1, "tables": 1,
        "changes": None, "reason": FIRST,
    }  # fmt: skip
    assert after.to_json()["changes"] == [{"table": "P", "change": "table added"}]
    assert Listed((before,), 3).to_json() == {"versions": [before.to_json()], "unknown_hours": 3, "reason": None}
    assert Listed(()).to_json() == {"versions": [], "unknown_hours": 0, "reason": none_at((), None)}
    assert Held(H0.shift(5), after, {"V": TableSchema({"Id": "", "No": "int"}), "P": TableSchema(None)}).to_json() == {
        "at": "2022-05-10T05", "schema": B, "first": "2022-05-10T01", "last": "2022-05-10T01", "hours": 1,
        "tables": [
            {"table": "P", "columns": None, "key": None, "reason": NO_COLUMNS},
            {
                "table": "V",
                "columns": [{"column": "Id", "type": None}, {"column": "No", "type": "int"}],
                "key": None,
                "reason": None,
            },
        ],
        "reason": None,
    }  # fmt: skip
    assert Held(H0.shift(-1), None, "why").to_json() == {
        "at": "2022-05-09T23", "schema": None, "first": None, "last": None, "hours": None,
        "tables": None, "reason": "why",
    }  # fmt: skip
    assert Differing((H0, H0.shift(5)), (before, after), ()).to_json() == {
        "from": {"hour": "2022-05-10T00", "schema": A}, "to": {"hour": "2022-05-10T05", "schema": B},
        "changes": [], "reason": None,
    }  # fmt: skip
    assert Differing((H0, None), (None, None), "why").to_json() == {
        "from": {"hour": "2022-05-10T00", "schema": None}, "to": {"hour": None, "schema": None},
        "changes": None, "reason": "why",
    }  # fmt: skip


def test_the_newest_versions_are_printed_and_the_others_counted() -> None:
    many = compared(versions(rows({n: (f"{n:064x}", "1") for n in range(25)})), {})
    lines = list(Listed(many).lines())
    assert lines[0] == "5 older versions: --json lists them"
    assert sum(line.startswith("2022-") for line in lines) == 20
    wide = tuple(Change(f"T{n:02}", "table added") for n in range(30))
    lines = list(Listed((replace(many[1], changes=wide),)).lines())
    assert lines[-1] == "  10 tables more differ: viplake schema --diff 2022-05-10T00"
    assert len(list(Differing((H0, H0), (many[0], many[1]), wide).lines())) == 32


# -- kept by the history --------------------------------------------------------------------------------------

SMALL, LARGE = ("Voyage", "Vessel"), ("Voyage", "Vessel", "Port")


def digest(tables: tuple[str, ...]) -> str:
    return hashlib.sha256(schema(tables)).hexdigest()


async def drifting(store: Store, *, first: Hour = H0, turns: tuple[tuple[str, ...] | None, ...]) -> None:
    for number, tables in enumerate(turns):
        await fill(store, export(first.shift(number), SMALL, schema_of=tables))


async def build(store: Store, clock: At, scope: Scope = UPDATE) -> Observed:
    return await observe(
        Lake(store, LAYOUT), HistoryLocation.within(Lake(store, LAYOUT)), clock, ObserveSettings(), scope=scope
    )


async def told(store: Store) -> tuple[SchemaVersion, ...]:
    history = await read_history(HistoryLocation.within(Lake(store, LAYOUT)))
    return await SchemaStore(store, LAYOUT.observability).compared(versions(history.rows(SCHEMAS)))


async def copies(store: Store) -> dict[str, bytes]:
    return await contents(store, f"{LAYOUT.observability}schemas/")


async def test_schema_versions_are_the_same_bytes_after_updates_and_after_a_rebuild() -> None:
    store, twin = memory(), memory()
    turns = (SMALL, SMALL, LARGE, None, LARGE, SMALL)
    clock = at("2022-05-10T00:45")
    for number, tables in enumerate(turns):
        for lake in (store, twin):
            await drifting(lake, first=H0.shift(number), turns=(tables,))
        clock.moment = H0.shift(number).start.replace(minute=45)
        await build(store, clock)
    await build(twin, clock)
    assert await contents(store, LAYOUT.observability) == await contents(twin, LAYOUT.observability)
    assert [(stretch(version)[1:], version.tables) for version in await told(store)] == [
        ((0, 1, 2), 2),
        ((2, 4, 2), 3),
        ((5, 5, 1), 2),
    ]
    assert [words(version.changes) for version in await told(store)] == [
        [FIRST],
        ["Port: table added"],
        ["Port: table removed"],
    ]
    assert set(await copies(store)) == {
        f"{LAYOUT.observability}schemas/{digest(tables)}.json" for tables in (SMALL, LARGE)
    }
    published = await store.get(f"{LAYOUT.observability}historical_schema_versions.csv")
    assert (published or b"").decode().splitlines()[:2] == ["date,schema,tables", f"20220510-00,{digest(SMALL)},2"]


async def test_a_difference_is_still_known_after_the_folders_are_removed() -> None:
    store = memory()
    await drifting(store, turns=(SMALL, LARGE))
    await build(store, at("2022-05-10T01:45"))
    before = await told(store)
    for file in await store.files("IMOSDL/Hourly/"):
        await store.delete(file.key)
    await drifting(store, first=H0.shift(2), turns=(LARGE,))
    await build(store, at("2022-05-10T02:45"), Scope(rebuild=True))
    after = await told(store)
    assert [version.changes for version in after] == [version.changes for version in before]
    assert [stretch(version)[1:] for version in after] == [(0, 0, 1), (1, 2, 2)]


async def test_an_hour_with_a_redelivered_schema_heals() -> None:
    store = memory()
    await drifting(store, turns=(SMALL, SMALL))
    await build(store, at("2022-05-10T01:45"))
    await fill(store, export(H0.shift(1), SMALL, schema_of=LARGE))
    result = await build(store, at("2022-05-10T02:10"))
    [healed] = [row for row in result.healed if row.dataset == SCHEMAS.name]
    assert (healed.old["schema"], healed.new["schema"]) == (digest(SMALL), digest(LARGE))
    assert [version.sha256 for version in await told(store)] == [digest(SMALL), digest(LARGE)]


async def test_a_schema_copy_is_written_once_and_never_requested() -> None:
    store = memory()
    await drifting(store, turns=(SMALL,))
    await build(store, at("2022-05-10T00:45"))
    asked = []
    for number, tables in enumerate((SMALL, LARGE, LARGE), start=1):
        await drifting(store, first=H0.shift(number), turns=(tables,))
        counting = Counting(store)
        clock = at(f"2022-05-10T0{number}:45")
        await observe(Lake(counting, LAYOUT), HistoryLocation.within(Lake(counting, LAYOUT)), clock, ObserveSettings())
        asked.append([call.split()[0] for call in counting.calls if "MasterTableSchema" in call or "schemas/" in call])
    # Each object of this store has an ETag of its own, so each Hour's schema is read; on S3 an equal one is not.
    assert asked == [["get"], ["get", "put"], ["get"]]


async def test_a_damaged_schema_copy_is_ignored_and_repaired_by_a_rebuild() -> None:
    store = memory()
    await drifting(store, turns=(SMALL, LARGE))
    clock = at("2022-05-10T01:45")
    await build(store, clock)
    copy = SchemaStore(store, LAYOUT.observability).key(digest(LARGE))
    whole = await store.get(copy)
    await store.put(copy, schema(("Voyage", "Forged")))
    assert (await told(store))[1].changes == lost(digest(LARGE))
    await build(store, clock, Scope(rebuild=True))
    assert await store.get(copy) == whole == schema(LARGE)


async def test_a_copy_that_cannot_be_written_leaves_the_history_as_it_was() -> None:
    store = memory()
    await drifting(store, turns=(SMALL,))
    await build(store, at("2022-05-10T00:45"))
    before = await contents(store, LAYOUT.observability)
    await drifting(store, first=H0.shift(1), turns=(LARGE,))
    wire = Tripwire(at=1, error=lake_down, verbs=("put",))
    broken = Flaky(store, wire)
    with pytest.raises(LakeError):
        await observe(
            Lake(broken, LAYOUT),
            HistoryLocation.within(Lake(broken, LAYOUT)),
            at("2022-05-10T01:45"),
            ObserveSettings(),
        )
    assert await contents(store, LAYOUT.observability) == before
    await build(store, at("2022-05-10T01:45"))
    assert words((await told(store))[1].changes) == ["Port: table added"]


async def without_drift(store: Store) -> None:
    """Make of a history what a viplake left that knew no drift."""
    chain = Versions(store, "IMOSDL/_viplake/history/datasets/")
    newest = await chain.newest()
    record = json.loads(newest.content or b"")
    del record["datasets"][SCHEMAS.name]
    await chain.update(lambda _: json.dumps(record).encode(), known=newest)
    seen = json.loads(await store.get("IMOSDL/_viplake/history/schemas.json") or b"")
    del seen["kept"]
    await store.put("IMOSDL/_viplake/history/schemas.json", json.dumps(seen).encode())
    for key in (f"{LAYOUT.observability}{SCHEMAS.file}", *await copies(store)):
        await store.delete(key)


async def test_a_history_of_an_older_viplake_gets_its_rows_from_the_next_update_on_and_all_by_a_rebuild() -> None:
    store, twin = memory(), memory()
    turns = (SMALL,) * 5 + (LARGE,) * 5
    for lake in (store, twin):
        await drifting(lake, turns=turns)
    await build(store, at("2022-05-10T09:45"))
    await without_drift(store)
    assert await told(store) == ()
    clock = at("2022-05-10T10:45")
    for lake in (store, twin):
        await drifting(lake, first=H0.shift(10), turns=(LARGE,))
    updated = await build(store, clock)
    assert [row.dataset for row in updated.healed] == []
    assert [stretch(version)[1:] for version in await told(store)] == [(8, 10, 3)]
    assert list((await copies(store)).values()) == [schema(LARGE)]
    await build(store, clock, Scope(rebuild=True))
    await build(twin, clock)
    assert await contents(store, LAYOUT.observability) == await contents(twin, LAYOUT.observability)
    assert [words(version.changes) for version in await told(store)] == [[FIRST], ["Port: table added"]]


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b'[{"x": 1}]'])
async def test_a_schema_that_cannot_be_read_is_a_version_without_a_copy(content: bytes) -> None:
    store = memory()
    await drifting(store, turns=(SMALL, SMALL, LARGE))
    await store.put(LAYOUT.file(H0.shift(1), "_MasterTableSchema.json"), content)
    await build(store, at("2022-05-10T02:45"))
    found = await told(store)
    assert [version.tables for version in found] == [2, None, 3]
    assert found[1].changes == unreadable(found[1].sha256)
    assert words(found[2].changes) == ["Port: table added"]
    assert len(await copies(store)) == 2


async def test_two_writers_keep_one_copy_and_every_row() -> None:
    store = memory()
    await drifting(store, turns=(SMALL, LARGE) * 4)
    hours = [H0.shift(number) for number in range(8)]
    await asyncio.gather(*(build(store, at("2022-05-10T08:45"), Scope(first=hour, last=hour)) for hour in hours))
    assert sum(version.hours for version in await told(store)) == 8
    assert len(await copies(store)) == 2


# -- asked ----------------------------------------------------------------------------------------------------


async def test_schema_and_differences_come_from_the_copies_alone() -> None:
    store = memory()
    await drifting(store, turns=(SMALL, SMALL, LARGE))
    await store.put(LAYOUT.file(H0.shift(1), "_MasterTableSchema.json"), b"no schema")
    await build(store, at("2022-05-10T02:45"))
    history = await read_history(HistoryLocation.within(Lake(store, LAYOUT)))
    found, kept = versions(history.rows(SCHEMAS)), SchemaStore(store, LAYOUT.observability)
    for file in await store.files("IMOSDL/Hourly/"):
        await store.delete(file.key)
    assert (await kept.held(found, H0)).tables == {"Voyage": TableSchema(None), "Vessel": TableSchema(None)}
    assert (await kept.held(found, H0.shift(1))).tables == unreadable(found[1].sha256)
    assert (await kept.held(found, H0.shift(-1))).tables == none_at(found, H0.shift(-1))
    newest = await kept.differing(found, H0, None)
    assert (newest.hours, newest.changes) == ((H0, H0.shift(2)), (Change("Port", "table added"),))
    assert (await kept.differing(found, H0, H0.shift(1))).changes == unreadable(found[1].sha256)
    assert list((await kept.differing(found, H0, H0)).lines())[-1] == "it is the same schema"
    assert (await kept.differing(found, H0.shift(-1), None)).changes == none_at(found, H0.shift(-1))
    assert (await kept.differing(found, H0, H0.shift(-1))).changes == none_at(found, H0.shift(-1))
    assert (await kept.differing((), H0, None)).hours == (H0, None)
