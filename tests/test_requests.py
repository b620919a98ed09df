"""How many requests the steps of an hour make to S3, all of them: the table in docs/deploy.md."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faults import Counting
from history.lakes import LAYOUT, At
from viplake.errors import SettingsError
from viplake.extract.ledger import Ledger
from viplake.extract.status import status
from viplake.history.build import HistoryLocation, ObserveSettings, observe
from viplake.judge.check import CheckTarget, check
from viplake.judge.evaluate import CheckSettings
from viplake.lake import Lake
from viplake.lake.store import open_store
from viplake.model import PROD, Hour
from viplake.simulator.history import Past, generate
from world import World

if TYPE_CHECKING:
    from servers.seaweed import Seaweed
    from viplake.lake.store import Store

pytestmark = [pytest.mark.system, pytest.mark.sources]

PAGE = Path(__file__).parents[1] / "docs" / "deploy.md"
FIRST, LAST = Hour.parse("2022-03-24T00"), Hour.parse("2022-05-10T13")
KINDS = {"get": "GET", "read": "GET", "put": "PUT", "put_if_absent": "PUT", "put_stream": "PUT", "delete": "DELETE"}


def documented() -> dict[str, dict[str, int]]:
    """Return the table of the page: step -> kind of request -> how many."""
    rows = re.findall(r"^\| (.+?) \| (\d+) \| (\d+) \| (\d+) \|$", PAGE.read_text(), re.MULTILINE)
    return {step: dict(zip(("GET", "LIST", "PUT"), map(int, counts), strict=True)) for step, *counts in rows}


def by_kind(counting: Counting) -> dict[str, int]:
    found = dict.fromkeys(("GET", "LIST", "PUT"), 0)
    for verb, count in counting.verbs.items():
        kind = KINDS.get(verb, "LIST")
        found[kind] = found.get(kind, 0) + count
    return found


async def test_an_idle_tick_makes_as_many_requests_as_documented() -> None:
    world = World()
    for _ in range(24):
        begun = Hour.of(world.clock.now())
        assert (await world.worker().run()).outcome == "delivered"
        counting = Counting(world.store)
        assert (await world.worker(store=counting).tick()).outcome == "delivered"
        assert by_kind(counting) == documented()["idle tick"]
        world.clock.advance((begun.end - world.clock.now()).total_seconds() + 5)


async def test_a_tick_of_another_company_is_refused_even_where_nothing_is_to_do() -> None:
    world = World()
    assert (await world.worker().run()).outcome == "delivered"
    assert (await world.worker().tick()).outcome == "delivered"
    world.settings = replace(world.settings, company="OTHER")
    with pytest.raises(SettingsError, match="not to Prod of OTHER"):
        await world.worker().tick()


async def filled(store: Store, first: Hour, last: Hour) -> None:
    await generate(Lake(store, LAYOUT), first.to(last), Past((), tables=3, scale=0.01), environment=PROD)


@pytest.mark.long
async def test_an_update_and_a_check_make_as_many_requests_as_documented(seaweed: Seaweed) -> None:
    store = open_store(seaweed.settings(seaweed.bucket()))
    place, settings = HistoryLocation.within(Lake(store, LAYOUT)), ObserveSettings()
    await filled(store, FIRST, LAST)
    clock = At(LAST.start + timedelta(minutes=45))
    await observe(Lake(store, LAYOUT), place, clock, settings)
    await check(CheckTarget(Lake(store, LAYOUT), place, "Prod"), clock, CheckSettings(), settings)
    for following in LAST.shift(1).to(LAST.shift(2)):
        await filled(store, following, following)
        clock = At(following.start + timedelta(minutes=45))
        if following == LAST.shift(1):
            await observe(Lake(store, LAYOUT), place, clock, settings)
    found = {}
    for step in ("update after a delivery", "update with nothing new", "check", "check with nothing new"):
        counting = Counting(store)
        lake = Lake(counting, LAYOUT)
        if step.startswith("update"):
            await observe(lake, HistoryLocation.within(lake), clock, settings)
        else:
            await check(CheckTarget(lake, HistoryLocation.within(lake), "Prod"), clock, CheckSettings(), settings)
        found[step] = by_kind(counting)
    counting = Counting(store)
    await status(Ledger(Lake(counting, LAYOUT), clock), PROD, clock, last=following, hours=24)
    found["status of 24 Hours"] = by_kind(counting)
    assert found == {step: documented().get(step) for step in found}
