"""The three datasets: built, updated, healed, rebuilt; and always what the plainest recomputation says."""

from __future__ import annotations

import asyncio
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, given, settings, strategies as st

from faults import WITHHOLDING, Counting, Crash, Fault, Flaky, Tripwire, lake_down
from history.lakes import LAYOUT, TABLES, At, at, contents, export, fill, memory, schema
from history.oracle import first_folder, schema_rows, the_three_csvs
from viplake.errors import LakeError, SettingsError
from viplake.history.build import HistoryLocation, ObserveSettings, Scope, observe, read_history, read_volumes
from viplake.history.datasets import JOBS, RUNS, SIZES, TABLES as TABLE_METRICS
from viplake.history.listing import DAYS_AT_FIRST, Listing
from viplake.history.volumes import Volumes, VolumeSeries
from viplake.lake import Lake
from viplake.lake.hours import newest_first
from viplake.lake.layout import SCHEMA_NAME, Layout
from viplake.lake.store import StoreSettings, open_store
from viplake.model import Hour

if TYPE_CHECKING:
    from viplake.history.build import Observed
    from viplake.lake.store import Store

PLAIN = ObserveSettings()
UPDATE = Scope()
H13 = Hour.parse("2022-05-10T13")


async def build(
    store: Store,
    clock: At,
    scope: Scope = UPDATE,
    settings: ObserveSettings = PLAIN,
    imports: dict[str, bytes] | None = None,
) -> Observed:
    return await observe(
        Lake(store, LAYOUT), HistoryLocation.within(Lake(store, LAYOUT)), clock, settings, scope=scope, imports=imports
    )


async def published(store: Store) -> dict[str, str]:
    found = await contents(store, LAYOUT.observability)
    return {key.rpartition("/")[2]: data.decode() for key, data in found.items() if key.endswith(".csv")}


async def some_hours(store: Store, first: Hour, count: int, *, holes: tuple[int, ...] = ()) -> dict[str, bytes]:
    objects = {
        key: data
        for number in range(count)
        if number not in holes
        for key, data in export(first.shift(number), TABLES[: 3 + number % 3], parts=1 + number % 2).items()
    }
    await fill(store, objects)
    return objects


# -- against the oracle ---------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["Voyage", "Voyage_PnL", "Voyage_PnL_Old", "Vessel", "Vessel.Pos", "V", "V_", "_V", "Ré-sumé", "A,B", 'Q"Q', "_"]
)
REST = st.sampled_from(["_1.json.gz", ".json.gz", "_PnL_1.json.gz", "PnL_2.json.gz", "_", "", "_Old.x", ".Pos_9"])
SCHEMAS = st.one_of(
    st.just(b""),
    st.just(b"[]"),
    st.just(b"{}"),
    st.just(b'[{"Name": "x"}]'),
    st.lists(NAMES, max_size=8).map(schema),
)


@st.composite
def lakes(draw: st.DrawFn) -> dict[str, bytes]:
    """Hours with anything in them, over two days and the midnight between."""
    objects: dict[str, bytes] = {}
    start = datetime(2022, 5, 10, 18, tzinfo=UTC)
    for number in draw(st.sets(st.integers(0, 12), min_size=1, max_size=6)):
        hour = start + timedelta(hours=number)
        folder = f"IMOSDL/Hourly/{hour:%Y%m%d/%H}/"
        names = draw(st.lists(st.tuples(NAMES, REST).map("".join), max_size=8, unique=True))
        for name in names:
            objects[folder + name] = b"d" * draw(st.integers(0, 1500))
        for name in draw(st.sets(st.sampled_from(["_PresignedUrls.json", "_Receipt.json", "nested/Voyage_1"]))):
            objects[folder + name] = b"r" * draw(st.integers(0, 1500))
        if draw(st.booleans()):
            objects[folder + "_MasterTableSchema.json"] = draw(SCHEMAS)
        objects["DEV/" + folder + "Vessel_1.json.gz"] = b"test, not prod"
    for stray in draw(st.sets(st.sampled_from(["notes/readme.txt", "2022/13/x", "20221399/01/x", "20220510/99/x"]))):
        objects[f"IMOSDL/Hourly/{stray}"] = b"other"
    return objects


def usable(objects: dict[str, bytes]) -> bool:
    try:
        first_folder(objects, "IMOSDL/Hourly/")
    except ValueError:
        return False
    return not any(name.rpartition("/")[2] in {"", ".", ".."} for name in objects)


@pytest.mark.system
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(objects=lakes(), scoped_out=st.sets(NAMES, max_size=2), in_folder=st.booleans())
def test_the_datasets_equal_a_plain_recomputation(
    objects: dict[str, bytes], scoped_out: set[str], in_folder: bool
) -> None:
    async def run() -> dict[str, str]:
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(StoreSettings(Path(folder).as_uri())) if in_folder else memory()
            await fill(store, objects)
            await build(store, at("2022-05-11T07:40"), settings=ObserveSettings(frozenset(scoped_out)))
            return await published(store)

    good = {key: data for key, data in objects.items() if "/20221399/" not in key and "/20220510/99/" not in key}
    if not usable(good):
        return
    found = asyncio.run(run())
    first = first_folder(good, "IMOSDL/Hourly/")
    last = datetime(2022, 5, 11, 7, tzinfo=UTC)
    expected = the_three_csvs(objects, "IMOSDL/Hourly/", first, last, frozenset(scoped_out))
    expected["historical_schema_versions.csv"] = schema_rows(objects, "IMOSDL/Hourly/", first, last)
    assert {name: found[name] for name in expected} == expected


async def test_thousands_of_files_an_hour_are_all_counted() -> None:
    store = memory()
    objects = export(H13, ("Voyage", "Voyage_Itinerary"), parts=1600)
    await fill(store, objects)
    await build(store, at("2022-05-10T13:45"))
    expected = the_three_csvs(objects, "IMOSDL/Hourly/", H13.start, H13.start)
    found = await published(store)
    assert {name: found[name] for name in expected} == expected


async def test_large_days_are_listed_hour_by_hour_and_come_out_the_same() -> None:
    store = memory()
    first = Hour.parse("2022-05-01T00")
    hours = list(first.to(first.shift(24 * 20 - 1)))
    await fill(store, {k: d for hour in hours[::6] for k, d in export(hour, ("Voyage",), parts=3).items()})
    plain, counting = Listing(Lake(store, LAYOUT)), Counting(store)
    large = Listing(Lake(counting, LAYOUT))
    large.large_day = 20
    expected = [facts async for day in plain.facts(hours, ledger_days=()) for facts in day]
    assert [facts async for day in large.facts(hours, ledger_days=()) for facts in day] == expected
    asked = [call.count("/") for call in counting.calls if call.startswith("pages")]
    assert asked == [3] * DAYS_AT_FIRST + [4] * 24 * (20 - DAYS_AT_FIRST)


async def test_a_listing_that_fails_ends_without_loose_ends() -> None:
    store = memory()
    await some_hours(store, Hour.parse("2022-05-08T20"), 60)
    broken = Flaky(store, Tripwire(at=2, error=lake_down, verbs=("pages",)))
    with pytest.raises(LakeError, match="injected"):
        await build(broken, at("2022-05-11T07:45"))
    assert len(asyncio.all_tasks()) == 1


# -- increments and rebuilds ----------------------------------------------------------------------------------


@pytest.mark.system
async def test_increments_end_in_the_bytes_of_a_rebuild() -> None:
    store, twin = memory(), memory()
    first = Hour.parse("2022-05-08T20")
    clock = at("2022-05-08T20:50")
    for number in range(60):
        if number not in (5, 6, 30):
            objects = export(first.shift(number), TABLES[: 2 + number % 4])
            await fill(store, objects)
            await fill(twin, objects)
        clock.moment = first.shift(number).start + timedelta(minutes=50)
        await build(store, clock)
    await build(twin, clock)
    incremental = await contents(store, LAYOUT.observability)
    assert incremental == await contents(twin, LAYOUT.observability)
    again = await build(store, clock, Scope(rebuild=True))
    assert (again.added, again.healed) == ((), ())
    assert incremental == await contents(store, LAYOUT.observability)


async def test_an_update_needs_at_most_six_requests_for_listings_and_schemas() -> None:
    store = memory()
    await some_hours(store, Hour.parse("2022-05-08T20"), 60)
    clock = at("2022-05-11T07:45")
    await build(store, clock)
    for hour in ("2022-05-11T08", "2022-05-11T09"):
        await fill(store, export(Hour.parse(hour)))
        clock.moment = Hour.parse(hour).start + timedelta(minutes=45)
        counting = Counting(store)
        result = await observe(Lake(counting, LAYOUT), HistoryLocation.within(Lake(counting, LAYOUT)), clock, PLAIN)
        of_lake = [call for call in counting.calls if "/_viplake/history/" not in call]
        asked = [call for call in of_lake if call.startswith(("pages", "files", "folders"))]
        schemas = [call for call in counting.calls if call.startswith("get") and "Schema" in call]
        assert len(asked) + len(schemas) <= 6, asked + schemas
        assert len(counting.calls) <= 36, counting.calls
        assert result.requests["listings"] + result.requests["schemas"] == len(asked) + len(schemas)


async def test_a_gap_since_the_last_update_is_filled() -> None:
    store = memory()
    await some_hours(store, Hour.parse("2022-05-08T20"), 4)
    await build(store, at("2022-05-08T23:45"))
    late = await some_hours(store, Hour.parse("2022-05-09T00"), 30, holes=(4,))
    result = await build(store, at("2022-05-10T05:45"))
    assert len(result.added) == 30
    everything = late | await contents(store, "IMOSDL/Hourly/20220508/")
    expected = the_three_csvs(
        everything, "IMOSDL/Hourly/", Hour.parse("2022-05-08T20").start, Hour.parse("2022-05-10T05").start
    )
    found = await published(store)
    assert {name: found[name] for name in expected} == expected


async def test_M11_a_late_hour_heals_and_the_change_is_logged() -> None:
    store = memory()
    await some_hours(store, Hour.parse("2022-05-10T10"), 4, holes=(2,))
    await build(store, at("2022-05-10T13:45"))
    await fill(store, export(Hour.parse("2022-05-10T12")))
    result = await build(store, at("2022-05-10T14:10"))
    assert [(row.hour.label, row.dataset) for row in result.healed] == [
        ("20220510-12", "historical_job_metrics"),
        ("20220510-12", "historical_job_size"),
        ("20220510-12", "historical_run_metrics"),
    ]
    assert result.healed[0].old["jobDelivered"] == "0"
    assert result.healed[0].new["jobDelivered"] == "1"
    assert result.to_json()["healed"][0]["hour"] == "2022-05-10T12"


async def test_an_hour_that_loses_files_has_worsened_and_not_healed() -> None:
    store = memory()
    objects = await some_hours(store, Hour.parse("2022-05-10T10"), 4)
    await build(store, at("2022-05-10T13:45"))
    for key in objects:
        if key.startswith("IMOSDL/Hourly/20220510/12/Voyage"):
            await store.delete(key)
    with structlog.testing.capture_logs() as logs:
        result = await build(store, at("2022-05-10T13:50"))
    assert result.healed == ()
    assert [row.dataset for row in result.worsened] == [
        "historical_table_metrics",
        "historical_job_size",
        "historical_run_metrics",
    ]
    assert [line["event"] for line in logs] == ["worsened"] * 3
    assert result.to_json()["worsened"][0]["hour"] == "2022-05-10T12"
    assert result.unchanged == 2


# -- rows that are removed ------------------------------------------------------------------------------------


async def test_rows_before_the_first_record_are_dropped_for_good_from_closed_months_too() -> None:
    store = memory()
    await some_hours(store, Hour.parse("2022-05-10T10"), 4)
    clock = at("2022-05-10T13:45")
    await build(store, clock)
    expected = await published(store)
    far = Hour.parse("2022-01-20T00")
    added = await build(store, clock, Scope(first=far, last=H13))
    assert len(added.added) == 2650
    result = await build(store, clock, Scope(first=far, last=Hour.parse("2022-05-10T09"), drop=True))
    assert result.dropped == {
        "historical_job_metrics": 2650,
        "historical_job_size": 2650,
        "historical_run_metrics": 2650,
        "historical_schema_versions": 0,
        "historical_table_metrics": 0,
        "table_volumes": 0,
    }
    assert await published(store) == expected
    for scope in (UPDATE, Scope(rebuild=True)):
        await build(store, at("2022-05-10T13:55"), scope)
        assert await published(store) == expected
    again = await build(store, clock, Scope(first=far, last=Hour.parse("2022-05-10T09"), drop=True))
    assert not any(again.dropped.values())


async def test_volumes_of_hours_with_removed_folders_are_dropped_too() -> None:
    store = memory()
    objects = await some_hours(store, Hour.parse("2022-05-09T22"), 4)
    await build(store, at("2022-05-10T01:45"))
    for key in objects:
        if "/20220509/" in key:
            await store.delete(key)
    hours = Hour.parse("2022-05-09T22"), Hour.parse("2022-05-09T23")
    result = await build(store, at("2022-05-10T01:50"), Scope(*hours, drop=True))
    assert result.dropped["table_volumes"] > 0
    assert result.dropped["historical_table_metrics"] == 2
    volumes = await read_volumes(HistoryLocation.within(Lake(store, LAYOUT)), hours[0], hours[1].shift(2))
    assert all(values[:2].tolist() == [-1, -1] for values in volumes.sizes.values())
    assert any(values[2] > 0 for values in volumes.sizes.values())


@pytest.mark.parametrize(("first", "hint"), [("2022-05-01T00", "--to 2022-05-10T09"), ("2022-05-10T11", "calendar")])
async def test_rows_that_a_rebuild_writes_again_are_not_dropped(first: str, hint: str) -> None:
    store = memory()
    await some_hours(store, Hour.parse("2022-05-10T10"), 4, holes=(2,))
    await build(store, at("2022-05-10T13:45"))
    before = await contents(store, "IMOSDL/")
    with pytest.raises(SettingsError, match="records from 2022-05-10T10 on") as caught:
        await build(store, at("2022-05-10T13:45"), Scope(Hour.parse(first), Hour.parse("2022-05-10T12"), drop=True))
    assert hint in str(caught.value.hint)
    assert await contents(store, "IMOSDL/") == before


async def test_the_first_update_of_a_day_looks_for_holes_of_seven_days() -> None:
    store = memory()
    await some_hours(store, Hour.parse("2022-05-04T10"), 100, holes=(7,))
    await build(store, at("2022-05-08T13:45"))
    await fill(store, export(Hour.parse("2022-05-04T17")))
    await build(store, at("2022-05-08T14:45"))
    assert (await read_history(HistoryLocation.within(Lake(store, LAYOUT)))).rows(JOBS)[Hour.parse("2022-05-04T17")][
        1
    ] == "0"
    result = await build(store, at("2022-05-09T00:45"))
    assert {row.hour.label for row in result.healed} == {"20220504-17"}


async def test_the_current_hour_counts_after_its_grace_or_with_a_receipt() -> None:
    store = memory()
    await some_hours(store, Hour.parse("2022-05-10T10"), 4)
    await build(store, at("2022-05-10T13:10"))
    place = HistoryLocation.within(Lake(store, LAYOUT))
    assert max((await read_history(place)).rows(JOBS)) == Hour.parse("2022-05-10T12")
    await store.put(LAYOUT.receipt(H13), b"{}")
    await build(store, at("2022-05-10T13:10"))
    assert max((await read_history(place)).rows(JOBS)) == H13
    await build(store, at("2022-05-10T14:30"))
    assert max((await read_history(place)).rows(JOBS)) == Hour.parse("2022-05-10T14")


async def test_a_given_range_is_inclusive_and_touches_nothing_else() -> None:
    store = memory()
    await some_hours(store, Hour.parse("2022-05-10T01"), 10)
    scope = Scope(first=Hour.parse("2022-05-10T03"), last=Hour.parse("2022-05-10T05"))
    result = await build(store, at("2022-05-10T13:45"), scope)
    rows = (await read_history(HistoryLocation.within(Lake(store, LAYOUT)))).rows(SIZES)
    assert sorted(hour.label for hour in rows) == ["20220510-03", "20220510-04", "20220510-05"]
    assert (str(result.first), str(result.last)) == ("2022-05-10T03", "2022-05-10T05")
    everything = await build(store, at("2022-05-10T13:45"))
    assert everything.rows["historical_job_size"] == 13


async def test_the_range_of_the_seed_has_2689_hours() -> None:
    store = memory()
    scope = Scope(first=Hour.parse("2022-02-08T08"), last=Hour.parse("2022-05-31T08"))
    await fill(store, export(H13))
    result = await build(store, at("2022-07-01T00:00"), scope)
    assert result.rows["historical_job_metrics"] == 2689


async def test_an_hour_keeps_its_rows_after_its_folder_was_removed() -> None:
    store = memory()
    objects = await some_hours(store, Hour.parse("2022-05-10T10"), 4)
    await build(store, at("2022-05-10T13:45"))
    before = await published(store)
    for key in objects:
        if "/20220510/11/" in key:
            await store.delete(key)
    await build(store, at("2022-05-10T13:50"), Scope(rebuild=True))
    assert await published(store) == before


# -- run metrics, volumes, promises ---------------------------------------------------------------------------


async def ledger_event(store: Store, hour: Hour, number: int, **record: object) -> None:
    base = {"format": 1, "at": "2022-05-10T13:26:00.000Z", "nonce": "n", "worker": {"host": "h", "pid": 1}}
    await store.put(LAYOUT.event(hour, number), json.dumps(base | record).encode())


async def test_run_metrics_come_from_the_last_event_of_each_ledger() -> None:
    store = memory()
    first = Hour.parse("2022-05-10T09")
    await some_hours(store, first, 5, holes=(2, 3))
    seconds = {"init": 41.0, "replication": 1203.25, "transfer": None}
    await ledger_event(store, first.shift(1), 2, event="promised")
    await ledger_event(
        store, first.shift(1), 10, event="delivered", posts=2, files=62, bytes=1234, requests=99, seconds=seconds
    )
    await ledger_event(store, first.shift(2), 3, event="overdue", cause="vendor_timeout", detail="x")
    await ledger_event(store, first.shift(5), 1, event="claimed")
    await build(store, at("2022-05-10T14:45"))
    lines = (await published(store))["historical_run_metrics.csv"].splitlines()
    assert lines[0] == ",".join(RUNS.columns)
    assert lines[1].startswith("20220510-09,delivered,,,,,,,")
    assert lines[2] == "20220510-10,delivered,,,41,1203.25,,2,62,1234,99"
    assert lines[3] == "20220510-11,failed,vendor_timeout,vendor,,,,0,0,0,"
    assert lines[4] == "20220510-12,missed,missed,us,,,,,0,0,"
    assert lines[6].startswith("20220510-14,waiting,,,,,,0,")


async def test_a_missed_hour_of_the_old_script_is_nobodys() -> None:
    store = memory()
    await some_hours(store, Hour.parse("2022-05-10T09"), 3, holes=(1,))
    await build(store, at("2022-05-10T11:45"))
    lines = (await published(store))["historical_run_metrics.csv"].splitlines()
    assert lines[2] == "20220510-10,missed,unknown,,,,,,0,0,"


async def test_a_ledger_event_that_cannot_be_read_stops_nothing() -> None:
    store = memory()
    await some_hours(store, Hour.parse("2022-05-10T12"), 2)
    await store.put(LAYOUT.event(H13, 4), b'{"format": 1, "event"')
    result = await build(store, at("2022-05-10T13:45"))
    assert len(result.added) == 2


async def test_volumes_hold_a_row_an_hour_and_table_also_as_parquet(tmp_path: Path) -> None:
    store = memory()
    await fill(store, export(Hour.parse("2022-04-30T23"), ("Voyage", "Port.Call"), parts=2, size=10))
    await fill(store, export(Hour.parse("2022-05-01T00"), ("Voyage_Itinerary",), parts=3, size=7))
    await build(store, at("2022-05-01T00:45"))
    place, first, last = (
        HistoryLocation.within(Lake(store, LAYOUT)),
        Hour.parse("2022-04-30T23"),
        Hour.parse("2022-05-01T00"),
    )
    rows = await Volumes(store, place.published, place.versions).rows(first, last)
    assert await read_volumes(place, first, last) == VolumeSeries.of(rows)
    assert [(str(r.hour), r.table, r.partitions, r.size) for r in rows] == [
        ("2022-04-30T23", "Port.Call", 2, 20),
        ("2022-04-30T23", "Voyage", 2, 20),
        ("2022-05-01T00", "Voyage_Itinerary", 3, 21),
    ]
    import duckdb  # noqa: PLC0415 - heavy

    for key, data in (await contents(store, f"{LAYOUT.observability}table_volumes/")).items():
        (tmp_path / key.rpartition("/")[2]).write_bytes(data)
    with duckdb.connect() as connection:
        read = connection.execute(
            'select epoch(hour)::bigint, "table", partitions, bytes from read_parquet(?) order by all',
            [str(tmp_path / "*.parquet")],
        ).fetchall()
    assert read == [(int(r.hour.start.timestamp()), r.table, r.partitions, r.size) for r in rows]


async def test_partitions_are_compared_with_the_promise() -> None:
    store = memory()
    await some_hours(store, Hour.parse("2022-05-10T10"), 2)
    await build(store, at("2022-05-10T11:45"))
    objects = export(Hour.parse("2022-05-10T12"), parts=2)
    await fill(store, objects)
    await store.delete(next(key for key in objects if "Vessel_" in key))
    result = await build(store, at("2022-05-10T12:45"))
    promise = result.facts[-1].promise
    assert promise is not None
    assert (promise.files, promise.stored, len(promise.absent)) == (12, 11, 1)
    assert [(t.table, t.promised, t.stored) for t in promise.tables if t.promised != t.stored] == [("Vessel", 2, 1)]
    assert result.to_json()["partitions"][-1]["completeness"] == pytest.approx(11 / 12)


# -- two writers, crashes -------------------------------------------------------------------------------------


@pytest.mark.system
async def test_M1_I5_two_writers_lose_no_row() -> None:
    store = memory()
    first = Hour.parse("2022-05-08T00")
    await some_hours(store, first, 48)
    clock = at("2022-05-09T23:45")

    async def writer(number: int) -> None:
        for step in range(6):
            hour = first.shift(number * 6 + step)
            await build(store, clock, Scope(first=hour, last=hour))

    await asyncio.gather(*(writer(number) for number in range(8)))
    rows = (await read_history(HistoryLocation.within(Lake(store, LAYOUT)))).rows(JOBS)
    assert sorted(rows) == list(first.to(first.shift(47)))
    assert len((await published(store))["historical_job_metrics.csv"].splitlines()) == 49


@pytest.mark.parametrize("when", ["before", "after"])
async def test_M1_a_lost_answer_of_the_store_loses_no_row(when: str) -> None:
    quiet, store = memory(), memory()
    for lake in (quiet, store):
        await some_hours(lake, Hour.parse("2022-05-10T10"), 4)
    clock = at("2022-05-10T13:45")
    await build(quiet, clock)
    wire = Tripwire(at=1, when=when, error=lake_down, verbs=("put_if_absent",), times=2)  # type: ignore[arg-type]
    flaky = Flaky(store, wire)
    await observe(Lake(flaky, LAYOUT), HistoryLocation.within(Lake(flaky, LAYOUT)), clock, PLAIN)
    assert await published(store) == await published(quiet)


@pytest.mark.system
async def test_M10_after_a_crash_at_any_call_the_next_pass_ends_in_the_same_bytes() -> None:
    clock = at("2022-05-10T13:45")

    async def lake() -> Store:
        store = memory()
        await some_hours(store, Hour.parse("2022-05-10T11"), 2)
        await build(store, at("2022-05-10T12:45"))
        await fill(store, export(H13))
        return store

    whole = await lake()
    count = Counting(whole)
    await observe(Lake(count, LAYOUT), HistoryLocation.within(Lake(count, LAYOUT)), clock, PLAIN)
    expected = await contents(whole, LAYOUT.observability)
    writes = [n for n, call in enumerate(count.calls, 1) if call.startswith(("put", "delete"))]
    for number in writes:
        for when in ("before", "after"):
            store = await lake()
            dying = Flaky(store, Tripwire(at=number, when=when, times=None))
            with pytest.raises(Crash):
                await observe(Lake(dying, LAYOUT), HistoryLocation.within(Lake(dying, LAYOUT)), clock, PLAIN)
            await build(store, clock)
            assert await contents(store, LAYOUT.observability) == expected, count.calls[number - 1]


async def test_a_pass_that_changes_nothing_writes_nothing() -> None:
    store = memory()
    await some_hours(store, Hour.parse("2022-05-10T11"), 3)
    clock = at("2022-05-10T13:45")
    await build(store, clock)
    counting = Counting(store)
    result = await observe(Lake(counting, LAYOUT), HistoryLocation.within(Lake(counting, LAYOUT)), clock, PLAIN)
    assert not [call for call in counting.calls if call.startswith(("put", "delete"))]
    assert (result.unchanged, result.added, result.healed) == (3, (), ())


@pytest.mark.system
async def test_old_versions_are_removed() -> None:
    store = memory()
    first = Hour.parse("2022-05-08T00")
    await some_hours(store, first, 60)
    for number in range(60):
        hour = first.shift(number)
        await build(store, at("2022-05-11T00:00"), Scope(first=hour, last=hour))
    kept = [f for f in await store.files("IMOSDL/_viplake/history/datasets/") if f.name.startswith("v")]
    assert len(kept) == 48


# -- bad input ------------------------------------------------------------------------------------------------


async def test_a_lake_without_the_prefix_is_reported_in_one_line() -> None:
    store = memory()
    await store.put("IMOS/Hourly/20220510/13/Voyage_1.json.gz", b"x")
    with pytest.raises(LakeError, match="no hourly folder below IMOSDL/Hourly/") as caught:
        await build(store, at("2022-05-10T13:45"))
    assert (caught.value.cause.word, caught.value.owner, caught.value.exit_code) == ("folder_missing", "us", 73)
    assert await contents(store, "IMOSDL/") == {}


async def test_another_prefix_is_a_setting() -> None:
    store = memory()
    layout = Layout.below("IMOS/Hourly/")
    await store.put("IMOS/Hourly/20220510/13/Voyage_1.json.gz", b"x")
    await observe(Lake(store, layout), HistoryLocation.within(Lake(store, layout)), at("2022-05-10T13:45"), PLAIN)
    assert b"20220510-13,1,1" in (await store.get("IMOS/Observability/historical_job_metrics.csv") or b"")


@pytest.mark.parametrize("content", [b"not json", b"{}", b'[{"x": 1}]', b"[" * 100_000, b"\xff\xfe[]"])
async def test_M5_a_schema_that_cannot_be_read_costs_only_its_row(content: bytes) -> None:
    store = memory()
    await some_hours(store, Hour.parse("2022-05-10T12"), 2)
    await store.put(LAYOUT.file(H13, "_MasterTableSchema.json"), content)
    result = await build(store, at("2022-05-10T13:45"))
    rows = (await read_history(HistoryLocation.within(Lake(store, LAYOUT)))).rows(TABLE_METRICS)
    assert sorted(hour.label for hour in rows) == ["20220510-12"]
    assert len(result.warnings) == 1


async def test_A6_a_huge_schema_is_not_read(tmp_path: Path) -> None:
    store = open_store(StoreSettings(tmp_path.as_uri()))
    await some_hours(store, H13, 1)
    with (tmp_path / LAYOUT.file(H13, "_MasterTableSchema.json")).open("wb") as sparse:
        sparse.truncate(1 << 30)
    counting = Counting(store)
    result = await observe(
        Lake(counting, LAYOUT), HistoryLocation.within(Lake(counting, LAYOUT)), at("2022-05-10T13:45"), PLAIN
    )
    assert "1,073,741,824 bytes" in result.warnings[0]
    assert not [call for call in counting.calls if call.startswith(("get", "read")) and "MasterTableSchema" in call]


async def test_a_store_that_refuses_to_be_written_leaves_the_history_as_it_was() -> None:
    store = memory()
    await some_hours(store, Hour.parse("2022-05-10T11"), 2)
    await build(store, at("2022-05-10T12:45"))
    before = await contents(store, "IMOSDL/Observability/"), await contents(store, "IMOSDL/_viplake/")
    await fill(store, export(H13))
    denied = Flaky(
        store,
        Tripwire(
            at=1,
            error=lambda: LakeError("cannot write: AccessDenied", cause="dest_denied"),
            verbs=("put", "put_if_absent"),
            times=None,
        ),
    )
    with pytest.raises(LakeError, match="AccessDenied") as caught:
        await observe(Lake(denied, LAYOUT), HistoryLocation.within(Lake(denied, LAYOUT)), at("2022-05-10T13:45"), PLAIN)
    assert caught.value.exit_code == 73
    assert (await contents(store, "IMOSDL/Observability/"), await contents(store, "IMOSDL/_viplake/")) == before


async def test_M9_a_published_file_that_is_held_open_gets_a_neighbour_and_is_written_later() -> None:
    store = memory()
    await some_hours(store, Hour.parse("2022-05-10T11"), 3)
    clock = at("2022-05-10T13:45")
    held = Flaky(
        store,
        Tripwire(
            at=1,
            error=lambda: LakeError("cannot write: Permission denied", cause="dest_io"),
            verbs=("put",),
            about="historical_job_metrics.csv",
            times=3,
        ),
    )
    with pytest.raises(LakeError, match=r"its new content is in .*historical_job_metrics\.csv\.new"):
        await observe(Lake(held, LAYOUT), HistoryLocation.within(Lake(held, LAYOUT)), clock, PLAIN)
    await build(store, clock)
    found = await contents(store, LAYOUT.observability)
    key = f"{LAYOUT.observability}historical_job_metrics.csv"
    assert found[key] == found[f"{key}.new"]


async def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    store = memory()
    with pytest.raises(SettingsError, match=r"no Hour from .* on counts yet"):
        await build(store, at("2022-05-10T13:45"), Scope(first=H13, last=H13.shift(-1)))


async def test_the_history_may_live_elsewhere() -> None:
    store, other = memory(), memory()
    await some_hours(store, H13, 1)
    await observe(Lake(store, LAYOUT), HistoryLocation.elsewhere(other, "metrics"), at("2022-05-10T13:45"), PLAIN)
    assert await contents(store, LAYOUT.observability) == {}
    assert b"20220510-13,1,1" in (await other.get("metrics/historical_job_metrics.csv") or b"")


@pytest.mark.parametrize("fault", WITHHOLDING)
async def test_E15_schema_that_the_store_withholds_costs_no_hour(fault: Fault) -> None:
    store = memory()
    await some_hours(store, H13, 3)
    odd = LAYOUT.file(H13.shift(1), SCHEMA_NAME)
    tripwire = Tripwire(1, error=fault, verbs={"get"}, about=odd, times=None)
    await build(Flaky(store, tripwire), at("2022-05-10T16:45"))
    rows = (await read_history(HistoryLocation.within(Lake(store, LAYOUT)))).rows(JOBS)
    assert [rows[H13.shift(number)][1] for number in range(3)] == ["1", "1", "1"]


@pytest.mark.parametrize("marker", ["IMOSDL/Hourly/20220510", "IMOSDL/Hourly/20220510/13", "IMOSDL/Hourly/20220511"])
async def test_E1_marker_of_a_folder_hides_no_hour(marker: str) -> None:
    """S3 lists `IMOSDL/Hourly/20220510/`, and the library gives it without the slash."""
    store = memory()
    await some_hours(store, Hour.parse("2022-05-10T00"), 48)
    await store.put(marker, b"")
    await build(store, at("2022-05-11T23:45"))
    rows = (await read_history(HistoryLocation.within(Lake(store, LAYOUT)))).rows(JOBS)
    assert len(rows) == 48
    assert {row[1] for row in rows.values()} == {"1"}
    assert len([folder async for folder in newest_first(Lake(store, LAYOUT))]) == 48
