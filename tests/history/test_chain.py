"""Closed months: never parsed again by an hourly update, spliced into the published files with the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from faults import Counting
from history.lakes import LAYOUT, at, contents, export, fill, memory
from viplake.errors import LakeError
from viplake.history.build import HistoryLocation, ObserveSettings, Scope, observe, read_history
from viplake.history.chain import Chain
from viplake.history.datasets import DATASETS, JOBS, RUNS, SIZES, render
from viplake.history.months import _parse, _upsert
from viplake.judge.check import CheckTarget, check
from viplake.judge.evaluate import CheckSettings
from viplake.lake import Lake
from viplake.lake.records import EventKind, Worker, event_bytes
from viplake.model import Hour

if TYPE_CHECKING:
    from viplake.history.build import Observed
    from viplake.history.months import Rows
    from viplake.lake.store import Store

FIRST = Hour.parse("2022-02-01T00")
LAST = Hour.parse("2022-05-20T13")
NOTED = b"date,jobDelivered,JobExpected,note\n20220302-00,1,1,seen\n"
NEWEST = Scope()
KEY = LAYOUT.observability + JOBS.file


def history_location(store: Store) -> HistoryLocation:
    return HistoryLocation.within(Lake(store, LAYOUT))


async def update(store: Store, last: Hour, scope: Scope = NEWEST, imports: dict[str, bytes] | None = None) -> Observed:
    """A pass at minute 45 of an Hour."""
    clock = at(f"{last}:45")
    return await observe(
        Lake(store, LAYOUT), history_location(store), clock, ObserveSettings(), scope=scope, imports=imports
    )


async def long_history() -> Store:
    """The first Hour of each day from February to May 20 is there; built once."""
    store = memory()
    for number in range(0, 109 * 24, 24):
        await fill(store, export(FIRST.shift(number), ("Voyage",)))
    await fill(store, export(LAST, ("Voyage",)))
    await update(store, LAST, imports={JOBS.file: NOTED})
    return store


async def published(store: Store) -> dict[str, bytes]:
    found = {dataset.name: await store.get(LAYOUT.observability + dataset.file) for dataset in DATASETS}
    return {name: data for name, data in found.items() if data is not None}


async def rendered(store: Store) -> dict[str, bytes]:
    history = await read_history(history_location(store))
    return {dataset.name: render(dataset, history.frames[dataset.name]) for dataset in DATASETS}


async def test_past_months_are_closed_and_the_files_are_those_of_the_whole_history() -> None:
    store = await long_history()
    stored = await Chain(store, history_location(store).versions).read(LAST)
    assert [month.month for month in stored.closed] == ["2022-02", "2022-03", "2022-04"]
    assert min(stored.rows(JOBS)) == Hour.parse("2022-05-01T00")
    files = await published(store)
    assert files == await rendered(store)
    assert files[JOBS.name].splitlines()[:3] == [
        b"date,jobDelivered,JobExpected,note", b"20220201-00,1,1,", b"20220201-01,0,1,",
    ]  # fmt: skip
    assert (await update(store, LAST)).rows == {name: data.count(b"\n") - 1 for name, data in files.items()}


@pytest.mark.system
async def test_increments_end_in_the_bytes_of_a_rebuild_across_closed_months() -> None:
    store = await long_history()
    for number in range(1, 4):
        await fill(store, export(LAST.shift(number), ("Voyage",)))
        await update(store, LAST.shift(number))
    files = await published(store)
    await update(store, LAST.shift(3), Scope(rebuild=True))
    assert await published(store) == files == await rendered(store)


async def test_hourly_update_reads_no_closed_month() -> None:
    store = await long_history()
    await fill(store, export(LAST.shift(1), ("Voyage",)))
    wire = Counting(store)
    await update(wire, LAST.shift(1))
    assert not [call for call in wire.calls if "/closed/" in call]
    assert await published(store) == await rendered(store)


@pytest.mark.system
async def test_check_reads_the_months_of_its_windows_and_no_earlier_one() -> None:
    store = await long_history()
    target = CheckTarget(Lake(store, LAYOUT), history_location(store), "Prod")
    await check(target, at(f"{LAST}:50"), CheckSettings(), ObserveSettings())
    wire = Counting(store)
    counted = CheckTarget(Lake(wire, LAYOUT), history_location(wire), "Prod")
    await check(counted, at(f"{LAST}:55"), CheckSettings(), ObserveSettings())
    assert {call.rsplit("/", 1)[1][:7] for call in wire.calls if "/closed/" in call} == {"2022-03", "2022-04"}


async def test_hour_of_a_closed_month_heals_and_only_that_month_is_read() -> None:
    store = await long_history()
    late = Hour.parse("2022-04-10T01")
    await fill(store, export(late, ("Voyage",)))
    wire = Counting(store)
    result = await update(wire, LAST, Scope(hours=(late,)))
    assert {str(healed.hour) for healed in result.healed} == {"2022-04-10T01"}
    assert {call.rsplit("/", 1)[1][:7] for call in wire.calls if "/closed/" in call} == {"2022-04"}
    assert b"\n20220410-01,1,1,\n" in (await published(store))[JOBS.name]
    assert await published(store) == await rendered(store)


async def test_edit_in_a_closed_month_of_a_published_file_is_overwritten_with_a_warning() -> None:
    store = await long_history()
    good = await published(store)
    await store.put(KEY, good[JOBS.name].replace(b"20220301-01,0,1,", b"20220301-01,1,1,"))
    [warning] = (await update(store, LAST)).warnings
    assert "was edited" in warning
    assert await published(store) == good


async def test_import_reaches_closed_months() -> None:
    store = await long_history()
    await update(store, LAST, imports={SIZES.file: b"date,size,files,who\n20220301-01,7,3,anna\n"})
    files = await published(store)
    assert b"\n20220301-01,7,3,anna\n" in files[SIZES.name]
    assert files == await rendered(store)


async def test_first_ledger_in_a_closed_month_attributes_the_missed_hours_since() -> None:
    store = await long_history()
    hour = Hour.parse("2022-03-10T00")
    data = {"files": 1, "bytes": 1, "posts": 1}
    event = event_bytes(EventKind.DELIVERED, hour.start, "n", Worker("h", 1), data)
    await store.put(LAYOUT.event(hour, 1), event)
    await update(store, LAST, Scope(hours=(hour,)))
    rows = (await read_history(history_location(store))).rows(RUNS)
    assert [rows[hour.shift(shift)][2:4] for shift in (-1, 1, 24 * 40 + 1)] == [
        ("unknown", ""), ("missed", "us"), ("missed", "us"),
    ]  # fmt: skip
    assert await published(store) == await rendered(store)


async def test_closed_month_that_was_damaged_is_named() -> None:
    store = await long_history()
    for file in await store.files(f"{history_location(store).versions}closed/"):
        await store.put(file.key, b"x")
    with pytest.raises(LakeError, match=r"closed/2022-0\d-[0-9a-f]{16}\.gz cannot be read"):
        await read_history(history_location(store))


async def test_history_of_an_older_viplake_is_closed_by_its_next_update() -> None:
    """It kept every row in each version."""
    store = await long_history()
    history = await read_history(history_location(store))
    from viplake.history.chain import pack  # noqa: PLC0415 - this test alone writes a version

    files = await contents(store, LAYOUT.observability)
    chain = Chain(store, history_location(store).versions)
    newest = await chain.versions.newest()
    await chain.versions.update(lambda _: pack(history), known=newest)
    assert (await chain.read(LAST)).closed == ()
    await update(store, LAST)
    assert len((await chain.read(LAST)).closed) == 3
    assert await contents(store, LAYOUT.observability) == files


@given(
    stored=st.dictionaries(st.integers(0, 40), st.lists(st.sampled_from(["A", "B", 'q"', "x,y", "n\nl"]), max_size=3)),
    news=st.dictionaries(st.integers(0, 40), st.lists(st.sampled_from(["A", "Ä", 'q"']), max_size=3)),
)
def test_a_spliced_month_equals_a_full_parse(stored: dict[int, list[str]], news: dict[int, list[str]]) -> None:
    def rows(hours: dict[int, list[str]]) -> dict[Hour, Rows]:
        return {FIRST.shift(n): tuple((table, (n, None)) for table in sorted(set(ts))) for n, ts in hours.items()}

    content = _upsert(None, rows(stored), ("partitions", "bytes"))
    whole = _parse(content) | rows(news)
    spliced = _upsert(content, rows(news), ("partitions", "bytes"))
    assert spliced == _upsert(None, whole, ("partitions", "bytes"))
