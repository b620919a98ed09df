"""A generated past is the same each time, and is what the parts that read a lake take it for."""

from __future__ import annotations

import gzip
import json

import pytest

from fakes import DictStore, FakeClock
from viplake.extract.job import State
from viplake.extract.ledger import Ledger
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.proof import verify
from viplake.lake.records import parse_promise
from viplake.model import PROD, Hour
from viplake.simulator.history import Past, SchemaChange, Spell, generate, hour_objects, showcase
from viplake.simulator.rows import CONTENT_FAULTS

LAYOUT = Layout(PROD.prefix)
LAST = Hour.parse("2022-05-30T13")


async def lake(past: Past, hours: list[Hour]) -> DictStore:
    store = DictStore(FakeClock())
    await generate(Lake(store, LAYOUT), hours, past, environment=PROD)
    return store


async def test_two_generators_write_the_same_bytes() -> None:
    hours = list(LAST.shift(-5).to(LAST))
    assert (await lake(Past(tables=6), hours)).objects == (await lake(Past(tables=6), hours)).objects
    assert (await lake(Past(tables=6), hours)).objects != (await lake(Past(tables=6, seed=2), hours)).objects


async def test_a_generated_hour_verifies_and_its_ledger_replays() -> None:
    late = Spell(LAST, LAST, "late")
    failed = Spell(LAST.shift(-1), LAST.shift(-1), "failed", cause="vendor_timeout")
    lost = Spell(LAST.shift(-2), LAST.shift(-2), "failed", cause="trigger_ack_lost")
    hours = list(LAST.shift(-3).to(LAST))
    store = await lake(Past((late, failed, lost), tables=5), hours)
    assert (await verify(Lake(store, LAYOUT), LAST)).verdict.proven
    ledger = Ledger(Lake(store, LAYOUT), FakeClock())
    replayed = [await ledger.read(hour) for hour in hours]
    assert [job.state for job in replayed] == [State.DELIVERED, State.FAILED, State.FAILED, State.DELIVERED]
    assert [job.cause for job in replayed] == [None, "trigger_ack_lost", "vendor_timeout", None]
    assert [job.late for job in replayed] == [False, False, True, True]
    from_last = await ledger.read_days([LAST.day])
    assert [(from_last[job.hour].state, from_last[job.hour].posts) for job in replayed] == [
        (job.state, job.posts) for job in replayed
    ]


def test_partitions_are_gzipped_records_and_the_promise_holds_no_signature() -> None:
    objects = hour_objects(LAYOUT, LAST, Past(tables=3), environment=PROD)
    partition = next(data for key, data in objects.items() if key.endswith(".json.gz"))
    assert all(json.loads(line) for line in gzip.decompress(partition).splitlines())
    assert len(parse_promise(objects[LAYOUT.promise(LAST)]).files) == len(
        [key for key in objects if key.startswith(LAYOUT.folder(LAST)) and "/_P" not in key and "/_R" not in key]
    )


def test_an_old_lake_has_neither_ledger_nor_receipts() -> None:
    objects = hour_objects(LAYOUT, LAST, Past(tables=3, ledger=False, receipts=False, promises=False), environment=PROD)
    assert not [key for key in objects if "_viplake" in key or key.endswith(("_Receipt.json", "_PresignedUrls.json"))]


def test_spells_and_changes_show() -> None:
    past = Past(
        (
            Spell(LAST, LAST, "lacking", ("Voyage",)),
            Spell(LAST.shift(-1), LAST.shift(-1), "missed"),
            Spell(LAST.shift(-2), LAST.shift(-2), "volume", factor=20),
        ),
        (SchemaChange(LAST, removed=("Voyage_PnL",)),),
        tables=4,
    )
    assert not [key for key in hour_objects(LAYOUT, LAST, past, environment=PROD) if "/Voyage_2" in key]
    assert hour_objects(LAYOUT, LAST.shift(-1), past, environment=PROD) == {}
    assert past.schema(LAST) == ("Voyage", "Voyage_Itinerary", "Voyage_ItineraryCargo")
    plain = Past(tables=4)
    hour = LAST.shift(-2)
    large = sum(map(len, hour_objects(LAYOUT, hour, past, environment=PROD).values()))
    assert large > 3 * sum(map(len, hour_objects(LAYOUT, hour, plain, environment=PROD).values()))


@pytest.mark.parametrize("days", [21, 28])
def test_the_showcase_holds_one_of_everything_within_its_days(days: int) -> None:
    first, past = showcase(LAST, days=days)
    assert len(list(first.to(LAST))) == days * 24
    kinds = {"planned", "failed", "missed", "late", "lacking", "volume", "content"}
    assert {spell.kind for spell in past.spells} == kinds
    assert {spell.fault for spell in past.spells if spell.kind == "content"} == set(CONTENT_FAULTS)
    assert all(first <= spell.first <= spell.last <= LAST for spell in past.spells)
    assert all(first < change.since < LAST for change in past.changes)
    planned = next(spell for spell in past.spells if spell.kind == "planned")
    assert len(list(planned.first.to(planned.last))) == 22
