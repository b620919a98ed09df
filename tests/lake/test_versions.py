"""The chain of versions: the newest is found, and a number that was used and removed is never taken for a free one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fakes import DictStore, FakeClock
from faults import Counting, Flaky, Tripwire, lake_down
from viplake.errors import LakeError
from viplake.lake.versions import KEPT, Versions

if TYPE_CHECKING:
    from viplake.lake.store import Store

PREFIX = "history/datasets/"


async def updated(store: Store, times: int) -> None:
    versions = Versions(store, PREFIX)
    newest = await versions.newest()
    for _ in range(times):
        newest = await versions.update(lambda content: (content or b"") + b"line\n", known=newest)


@pytest.mark.parametrize("missed", [0, 1, 2, KEPT - 1, KEPT, KEPT + 1, 2 * KEPT, 3 * KEPT])
@pytest.mark.parametrize("removes", [True, False])
async def test_a_writer_that_missed_many_updates_adds_to_the_newest(missed: int, *, removes: bool) -> None:
    """Also where old versions could not be removed."""
    store = DictStore(FakeClock())
    await updated(store, 5)
    asleep = await Versions(store, PREFIX).newest()
    wire = Tripwire(at=None if removes else 1, error=lake_down, verbs=["delete"], times=None)
    await updated(Flaky(store, wire), missed)
    before = await Versions(store, PREFIX).newest()
    written = await Versions(store, PREFIX).update(lambda content: (content or b"") + b"late\n", known=asleep)
    assert written.content == (before.content or b"") + b"late\n"
    newest = await Versions(store, PREFIX).newest()
    assert (newest.number, newest.content) == (before.number + 1, written.content)


async def test_reading_takes_two_requests_and_an_update_with_it_four() -> None:
    store = DictStore(FakeClock())
    await updated(store, 5)
    counting = Counting(store)
    versions = Versions(counting, PREFIX)
    newest = await versions.newest()
    assert len(counting.calls) == 2
    newest = await versions.update(lambda content: (content or b"") + b"x", known=newest)
    assert len(counting.calls) == 4
    assert await versions.newest(known=newest) is newest


async def test_an_older_viplake_that_follows_the_hint_finds_the_newest_version() -> None:
    """It reads from the hint on until a number is absent, and takes the hint as proof that a number was used."""
    store = DictStore(FakeClock())
    for _ in range(3 * KEPT):
        await updated(store, 1)
        newest = (await Versions(store, PREFIX).newest()).number
        at = hint = int(store.objects[f"{PREFIX}newest"])
        assert newest - KEPT // 2 < hint <= newest
        while f"{PREFIX}v{at + 1:010d}.gz" in store.objects:
            at += 1
        assert at == newest


async def test_a_damaged_version_is_reported() -> None:
    store = DictStore(FakeClock())
    await updated(store, 2)
    store.objects[f"{PREFIX}v0000000002.gz"] = b"x"
    with pytest.raises(LakeError, match="is damaged"):
        await Versions(store, PREFIX).newest()
