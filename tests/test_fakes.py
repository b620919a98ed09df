from __future__ import annotations

import asyncio

import pytest

from fakes import MORNING, FakeClock, FakeVendor
from faults import Crash, Flaky, Stamped, Tripwire, lake_down
from viplake.errors import LakeError
from viplake.lake.store import StoreSettings, open_store
from viplake.vendor.port import LinkExpired, TooEarly, Triggered


async def test_sleepers_wake_in_the_order_of_their_time() -> None:
    clock, woken = FakeClock(), list[tuple[str, float]]()

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, (clock.now() - MORNING).total_seconds()))

    await asyncio.gather(sleeper("late", 90), sleeper("early", 2), sleeper("noon", 30))
    assert woken == [("early", 2), ("noon", 30), ("late", 90)]


async def test_a_clock_without_auto_waits_for_advance() -> None:
    clock = FakeClock(auto=False)
    sleeper = asyncio.create_task(clock.sleep(10))
    await asyncio.sleep(0.05)
    assert not sleeper.done()
    clock.advance(10)
    await sleeper


async def test_the_vendor_replicates_lists_and_limits_triggers() -> None:
    clock = FakeClock()
    vendor = FakeVendor(clock)
    first = await vendor.trigger()
    assert isinstance(first, Triggered)
    assert isinstance(await vendor.trigger(), TooEarly)
    assert not await vendor.is_complete(first.job_guid)
    clock.advance(20 * 60)
    assert await vendor.is_complete(first.job_guid)
    listed = await vendor.list_files(first.job_guid)
    assert len(listed) == 60
    async with vendor.download(listed[5].url, start=3) as download:
        body = b"".join([chunk async for chunk in download.chunks()])
    assert body == vendor.files[listed[5].key][3:]
    clock.advance(3600)
    with pytest.raises(LinkExpired):
        async with vendor.download(listed[5].url):
            pass
    assert isinstance(await vendor.trigger(), Triggered)


async def test_a_tripwire_breaks_one_call_before_or_after_it_took_effect() -> None:
    store = open_store(StoreSettings("memory://"))
    before = Flaky(store, Tripwire(at=2, error=lake_down))
    await before.put("a", b"1")
    with pytest.raises(LakeError):
        await before.put("b", b"1")
    await before.put("c", b"1")
    after = Flaky(store, Tripwire(at=1, when="after", verbs=["put"], error=lake_down))
    with pytest.raises(LakeError):
        await after.put("d", b"1")
    assert [file.key for file in await store.files("")] == ["a", "c", "d"]


async def test_the_dead_do_nothing_more() -> None:
    wire = Tripwire(at=2, when="after", times=None)
    clock = FakeClock()
    store, vendor = open_store(StoreSettings("memory://")), FakeVendor(clock, wires=(wire,))
    flaky = Flaky(store, wire)
    await flaky.put("a", b"1")
    with pytest.raises(Crash):
        await vendor.trigger()
    assert len(vendor.triggers) == 1
    with pytest.raises(Crash):
        await flaky.put("b", b"1")
    assert [file.key for file in await store.files("")] == ["a"]


async def test_stamps_come_from_the_injected_clock() -> None:
    clock = FakeClock()
    store = Stamped(open_store(StoreSettings("memory://")), clock)
    clock.advance(60)
    await store.put_if_absent("x/a", b"1")
    assert [file.modified for file in await store.files("x/")] == [clock.now()]
