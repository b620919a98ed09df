"""X1: consolidation dies at every call of either store; the next call ends in the same lake and the same history."""

from __future__ import annotations

import hashlib
import itertools
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from fakes import DictStore
from faults import Crash, Flaky, Tripwire
from history.lakes import At, at, export
from samples import Share, shared
from viplake.history.build import HistoryLocation, ObserveSettings, Scope, observe
from viplake.lake import Lake, records
from viplake.lake.consolidate import SMALL, Source, consolidate
from viplake.lake.layout import RECEIPT_NAME, Layout, is_delivered_file
from viplake.model import PROD, Hour, ProvenFile, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults import When

pytestmark = pytest.mark.system

H13: Final = Hour.parse("2022-05-10T13")
LAYOUT: Final = Layout(PROD.prefix)
NOW: Final = at("2022-05-12T10:50").moment
"""Later: no update by itself would look at these Hours again today."""

OBSERVING: Final = ObserveSettings()
SIGNED: Final = b"X-Amz-Signature"


def receipt(hour: Hour, files: dict[str, bytes]) -> bytes:
    proven = tuple(
        ProvenFile(name, f"a/{name}", len(data), hashlib.md5(data).hexdigest(), None) for name, data in files.items()
    )
    return records.receipt_bytes(Receipt("Prod", "ACME", hour, f"guid-{hour}", proven, hour.start, late=False))


def named(objects: dict[str, bytes], hour: Hour) -> dict[str, bytes]:
    return {
        k.removeprefix(LAYOUT.folder(hour)): data for k, data in objects.items() if k.startswith(LAYOUT.folder(hour))
    }


def the_source(size: int = 9) -> dict[str, bytes]:
    """An Hour as the old script left it, one with a Receipt, one of a day later with a file of so many bytes."""
    old = export(H13, ("Voyage", "Vessel"))
    proven = export(H13.shift(1), ("Voyage",))
    files = {n: data for n, data in named(proven, H13.shift(1)).items() if is_delivered_file(n)}
    proven[LAYOUT.receipt(H13.shift(1))] = receipt(H13.shift(1), files)
    large = export(H13.shift(26), ("Voyage",), size=size)
    return old | proven | large


@dataclass
class Target:
    """The lake, with an Hour of its own and a part of another, observed already."""

    source: DictStore = field(default_factory=lambda: DictStore(At(NOW)))
    store: DictStore = field(default_factory=lambda: DictStore(At(NOW)))

    @classmethod
    async def fresh(cls, size: int = 9) -> Target:
        target = cls()
        for key, data in the_source(size).items():
            target.source._write(key, data)
        part = export(H13, ("Voyage",))
        mine = {k: data for k, data in part.items() if "Voyage" in k} | export(H13.shift(5), ("Voyage",))
        for key, data in mine.items():
            target.store._write(key, data)
        await observe(
            Lake(target.store, LAYOUT), HistoryLocation.within(Lake(target.store, LAYOUT)), At(NOW), OBSERVING
        )
        return target

    def again(self) -> Target:
        target = Target(self.source)
        target.store.objects.update(self.store.objects)
        target.store.stamps.update(self.store.stamps)
        return target

    async def consolidate(self, *wires: Tripwire) -> bool:
        """What `viplake consolidate` does; whether it lived."""
        mine, theirs = Flaky(self.store, *wires), Flaky(self.source, *wires)
        source = Source(Lake(theirs, LAYOUT, "s3://old"), "Prod")
        try:
            lake = Lake(mine, LAYOUT, "s3://mine")
            done = await consolidate([source], lake, environment="Prod", last=H13.shift(100))
            if done.first is not None:
                scope = Scope(first=done.first)
                await observe(lake, HistoryLocation.within(lake), At(NOW), OBSERVING, scope=scope)
        except Crash:
            return False
        return True

    @property
    def result(self) -> dict[str, bytes]:
        """What people and programs read; which version says it does not matter."""
        return {key: data for key, data in self.store.objects.items() if "_viplake/history/" not in key}

    def check(self, before: Target) -> None:
        """Nothing of ours is touched, nothing is half there, a Receipt proves the files beside it."""
        theirs = self.source.objects
        for key, data in self.store.objects.items():
            parsed = LAYOUT.parse_file(key)
            if parsed is None:
                continue
            if is_delivered_file(parsed[1]):
                assert data in (before.store.objects.get(key), theirs.get(key)), f"{key} is neither ours nor theirs"
            assert SIGNED not in data or data == before.store.objects.get(key), f"{key} holds a signature"
            if parsed[1] == RECEIPT_NAME:
                there = named(self.store.objects, parsed[0])
                assert all(len(there[file.name]) == file.size for file in records.parse_receipt(data).files)
        for key, data in before.store.objects.items():
            if LAYOUT.parse_file(key) is not None:
                assert self.store.objects[key] == data, f"{key} was touched"


@shared(every=9)
async def test_X1_after_a_crash_at_every_call_the_next_call_ends_in_the_same_lake(
    share: Share, proof: Callable[..., None]
) -> None:
    before = await Target.fresh()
    whole, wire = before.again(), Tripwire()
    assert await whole.consolidate(wire)
    assert set(the_source()) <= set(whole.store.objects)
    moments: tuple[When, ...] = ("before", "after")
    points = list(share(itertools.product(enumerate(wire.calls, 1), moments)))
    for (number, call), when in points:
        target = before.again()
        assert not await target.consolidate(Tripwire(at=number, when=when, times=None)), call
        target.check(before)
        assert await target.consolidate()
        assert target.result == whole.result, (when, call)
    proof("crash points of a consolidation and its observation", len(points), least=100)


async def test_X1_a_crash_within_a_stream_leaves_nothing_of_the_file(proof: Callable[..., None]) -> None:
    before = await Target.fresh(size=SMALL + 1)
    whole, wire = before.again(), Tripwire()
    assert await whole.consolidate(wire)
    moments: tuple[When, ...] = ("before", "during", "after")
    streams = [number for number, call in enumerate(wire.calls, 1) if call.startswith(("put_stream", "read"))]
    assert len(streams) == 2
    for number in streams:
        for when in moments:
            target = before.again()
            assert not await target.consolidate(Tripwire(at=number, when=when, times=None))
            target.check(before)
            assert await target.consolidate()
            assert target.result == whole.result, (when, number)
    proof("crash points of a consolidation and its observation", len(streams) * len(moments), least=100)


@shared(every=10)
async def test_X1_after_two_crashes_too(share: Share, proof: Callable[..., None]) -> None:
    before = await Target.fresh()
    whole, wire = before.again(), Tripwire()
    assert await whole.consolidate(wire)
    pairs = 0
    for seed in share(range(60)):
        dice, target = random.Random(seed), before.again()
        places = [dice.randint(1, len(wire.calls)) for _ in range(2)]
        moments: list[When] = [dice.choice(["before", "after"]) for _ in range(2)]
        assert not await target.consolidate(Tripwire(at=places[0], when=moments[0], times=None))
        pairs += not await target.consolidate(Tripwire(at=places[1], when=moments[1], times=None))
        target.check(before)
        assert await target.consolidate()
        assert target.result == whole.result, (places, moments)
    proof("pairs of crashes of a consolidation", pairs, least=20)
