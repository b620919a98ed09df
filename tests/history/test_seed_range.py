"""The first months on record, all of them, on a real S3 server: consolidated, built, updated, as the oracle says."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from history.lakes import LAYOUT, at, contents, fill
from history.oracle import the_three_csvs
from viplake.history.build import HistoryLocation, ObserveSettings, Scope, observe
from viplake.lake import Lake
from viplake.lake.consolidate import Source, Span, consolidate
from viplake.lake.layout import Layout
from viplake.lake.store import open_store
from viplake.model import PROD, Hour
from viplake.simulator.history import Past, Spell, hour_objects

if TYPE_CHECKING:
    from servers.seaweed import Seaweed
    from viplake.lake.store import Store

pytestmark = pytest.mark.system

FIRST, LAST = Hour.parse("2022-02-08T08"), Hour.parse("2022-05-31T08")
DIVERTED = Spell(Hour.parse("2022-05-10T13"), Hour.parse("2022-05-11T10"), "planned")
SETTINGS = ObserveSettings()


def past() -> Past:
    """Five tables an Hour, as the old script left them, with the known hole and what else goes wrong."""
    spells = (
        DIVERTED,
        Spell(Hour.parse("2022-03-01T00"), Hour.parse("2022-03-01T06"), "missed"),
        Spell(Hour.parse("2022-04-02T10"), Hour.parse("2022-04-03T11"), "lacking", ("Voyage_Itinerary",)),
        Spell(Hour.parse("2022-05-20T00"), Hour.parse("2022-05-20T02"), "lacking", ("Voyage", "Voyage_PnL")),
    )
    return Past(spells, tables=5, scale=0.02, ledger=False, receipts=False)


def bucket(seaweed: Seaweed) -> Store:
    return open_store(seaweed.settings(seaweed.bucket()))


@pytest.mark.long
async def test_the_seeds_range_matches_the_oracle_after_build_and_update(seaweed: Seaweed) -> None:
    lake = bucket(seaweed)
    objects = {
        key: data
        for hour in FIRST.to(LAST)
        for key, data in hour_objects(LAYOUT, hour, past(), environment=PROD).items()
    }
    newest = {key for key in objects if "/20220531/0" in key and key[len("IMOSDL/Hourly/20220531/") :][:2] > "05"}
    await fill(lake, {key: data for key, data in objects.items() if key not in newest})
    place = HistoryLocation.within(Lake(lake, LAYOUT))
    clock = at("2022-05-31T05:45")
    built = await observe(Lake(lake, LAYOUT), place, clock, SETTINGS)
    assert len(built.added) == 2686
    assert built.requests["schemas"] == 1
    for hour in Hour.parse("2022-05-31T06").to(LAST):
        await fill(lake, {key: objects[key] for key in newest if LAYOUT.folder(hour) in key})
        clock.moment = hour.start + timedelta(minutes=45)
        updated = await observe(Lake(lake, LAYOUT), place, clock, SETTINGS)
        assert updated.requests["listings"] + updated.requests["schemas"] <= 6
        assert updated.added == (hour,)
    found = await contents(lake, LAYOUT.observability)
    expected = the_three_csvs(objects, LAYOUT.prefix, FIRST.start, LAST.start)
    assert len(expected["historical_job_metrics.csv"].splitlines()) == 2689 + 1
    for name, text in expected.items():
        assert found[LAYOUT.observability + name].decode() == text, name
    await observe(Lake(lake, LAYOUT), place, clock, SETTINGS, scope=Scope(rebuild=True))
    assert await contents(lake, LAYOUT.observability) == found


async def test_a_lake_is_consolidated_from_two_buckets_and_then_observed(seaweed: Seaweed) -> None:
    old, diverted, lake = bucket(seaweed), bucket(seaweed), bucket(seaweed)
    old_layout = Layout.below("IMOS/Hourly/")
    first, last = Hour.parse("2022-05-09T20"), Hour.parse("2022-05-12T03")
    whole = Past(tables=5, scale=0.02, ledger=False, receipts=False)
    for hour in first.to(last):
        await fill(old, hour_objects(old_layout, hour, past(), environment=PROD))
        if hour in DIVERTED:
            await fill(diverted, hour_objects(LAYOUT, hour, whole, environment=PROD))
    sources = [
        Source(Lake(old, old_layout, "s3://old"), "Prod"),
        Source(Lake(diverted, LAYOUT, "s3://diverted"), only=(Span(DIVERTED.first, DIVERTED.last),)),
    ]
    result = await consolidate(sources, Lake(lake, LAYOUT, "s3://mine"), environment="Prod")
    assert (len(result.copied), result.holes, result.remarks) == (len(list(first.to(last))), (), ())
    assert sum(copied.source == "s3://diverted" for copied in result.copied) == 22
    assert result.first is not None
    clock = at("2022-05-12T03:45")
    scope = Scope(first=result.first)
    await observe(Lake(lake, LAYOUT), HistoryLocation.within(Lake(lake, LAYOUT)), clock, SETTINGS, scope=scope)
    objects = await contents(lake, LAYOUT.prefix)
    expected = the_three_csvs(objects, LAYOUT.prefix, first.start, last.start)
    found = await asyncio.gather(*(lake.get(LAYOUT.observability + name) for name in expected))
    assert [(data or b"").decode() for data in found] == list(expected.values())
