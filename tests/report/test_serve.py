"""The status page: made anew with the history, measured by Prometheus, read-only, and for loopback alone."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from fakes import FakeClock
from history.lakes import LAYOUT, memory
from viplake.commands.serve import application
from viplake.history.build import HistoryLocation, ObserveSettings, observe
from viplake.judge.calendar import Calendar, Planned
from viplake.judge.check import CheckTarget, check
from viplake.judge.evaluate import CheckSettings
from viplake.lake import Lake
from viplake.model import PROD, Hour
from viplake.report.status import StatusPage
from viplake.simulator.history import Past, Spell, generate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.system

FIRST = Hour.parse("2022-05-09T00")
HOURS = 130


async def default_settings() -> CheckSettings:
    return CheckSettings()


@asynccontextmanager
async def served(loopback: bool = True) -> AsyncIterator[tuple[StatusPage, Lake, FakeClock, TestServer]]:
    lake = Lake(memory(), LAYOUT)
    past = Past((Spell(FIRST.shift(20), FIRST.shift(22), "failed"),), tables=3)
    await generate(lake, FIRST.to(FIRST.shift(HOURS - 1)), past, environment=PROD)
    clock = FakeClock(FIRST.shift(HOURS - 1).start + timedelta(minutes=50))
    target = CheckTarget(lake, HistoryLocation.within(lake), "Prod")
    await observe(lake, target.place, clock, ObserveSettings())
    page = StatusPage(target, "VIP Data Lake, Prod", clock, default_settings, ObserveSettings())
    server = TestServer(application(page, loopback=loopback), host="127.0.0.1")
    await server.start_server()
    try:
        yield page, lake, clock, server
    finally:
        await server.close()


async def test_the_report_is_made_anew_when_the_history_has_a_new_version() -> None:
    async with served() as (page, lake, clock, server), ClientSession(server.make_url("/")) as session:
        first = await (await session.get("/")).text()
        assert "VIP Data Lake, Prod" in first
        made = page._made["report"]
        assert await (await session.get("/")).text() == first
        assert page._made["report"] is made
        await generate(lake, [FIRST.shift(HOURS)], Past(tables=3), environment=PROD)
        clock.advance(3600)
        await observe(lake, page.target.place, clock, ObserveSettings())
        assert f"to {FIRST.shift(HOURS)}." in await (await session.get("/")).text()
        made = page._made["report"]
        await check(page.target, clock, CheckSettings(), ObserveSettings())
        assert "No check has run" not in await (await session.get("/")).text()
        assert page._made["report"] is not made


async def test_metrics_are_prometheus_text_with_ages_outcomes_budgets_phases_and_bytes() -> None:
    async with served() as (_, _, clock, server), ClientSession(server.make_url("/")) as session:
        clock.advance(60)
        response = await session.get("/metrics")
        text = await response.text()
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    line = re.compile(r'(# (HELP|TYPE) viplake_\w+ .+|viplake_\w+\{(\w+="[^"]*",?)+\} -?[0-9.e+]+)')
    assert all(line.fullmatch(one) for one in text.splitlines())
    assert 'viplake_newest_hour_age_seconds{environment="Prod"} 0' in text
    assert 'viplake_hours{environment="Prod",outcome="failed",owner="vendor"} 3' in text
    assert f'viplake_hours{{environment="Prod",outcome="delivered",owner="none"}} {HOURS - 3}' in text
    assert 'viplake_objective_target{environment="Prod",objective="delivered"} 0.994' in text
    assert 'viplake_error_budget_left_hours{environment="Prod",objective="delivered"} -2.22' in text
    assert 'viplake_phase_seconds{environment="Prod",phase="replication"}' in text
    assert 'viplake_newest_export_bytes{environment="Prod"}' in text
    assert 'viplake_open_incidents{environment="Prod",severity="page"}' in text


async def test_metrics_count_planned_hours_as_planned() -> None:
    async def with_calendar() -> CheckSettings:
        return CheckSettings(calendar=Calendar((Planned("hole", FIRST.shift(21), FIRST.shift(22), "agreed"),)))

    async with served() as (page, _, _, server), ClientSession(server.make_url("/")) as session:
        page.settings = with_calendar
        text = await (await session.get("/metrics")).text()
    assert 'viplake_hours{environment="Prod",outcome="planned",owner="none"} 2' in text
    assert 'viplake_hours{environment="Prod",outcome="failed",owner="vendor"} 1' in text


async def test_healthz_reports_the_state_and_unknown_paths_are_404() -> None:
    async with served() as (_, _, _, server), ClientSession(server.make_url("/")) as session:
        health = await session.get("/healthz")
        assert (health.status, (await health.json())["status"]) == (200, "ok")
        assert health.headers["Cache-Control"] == "no-store"
        assert (await session.post("/")).status == 405
        assert (await session.get("/../../etc/passwd")).status == 404
        rebound = await session.get("/", headers={"Host": "attacker.example"})
        assert rebound.status == 421
    async with served(loopback=False) as (_, _, _, server), ClientSession(server.make_url("/")) as session:
        assert (await session.get("/healthz", headers={"Host": "status.example"})).status == 200
