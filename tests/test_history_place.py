"""A history outside of the lake has an owner of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from commands import Commands
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.store import StoreSettings, open_store
from viplake.model import PROD, TEST, Hour
from viplake.simulator.history import Past, generate

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system

FIRST = Hour.parse("2022-05-10T10")


@pytest.fixture
def commands(tmp_path: Path) -> dict[str, Commands]:
    """A lake with Hours of both environments, whose histories are to live in one folder."""
    lake = f"file://{tmp_path}/lake"
    store = open_store(StoreSettings(lake, create=True, durable=False))
    for environment in (PROD, TEST):
        there = Lake(store, Layout.below(environment.prefix))
        asyncio.run(generate(there, FIRST.to(FIRST.shift(2)), Past(tables=2), environment=environment))
    common = {"VIPLAKE_LAKE": lake, "VIPLAKE_HISTORY": f"file://{tmp_path}/history"}
    return {name: Commands(common | {"VIPLAKE_ENVIRONMENT": name}, tmp_path) for name in ("Prod", "Test")}


def test_H7_history_of_one_environment_is_refused_to_the_other(commands: dict[str, Commands], tmp_path: Path) -> None:
    assert commands["Prod"].run("observe").code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "history").rglob("*") if path.is_file()}
    for command in (
        ["observe"],
        ["check", "--no-notify"],
        ["report"],
        ["query", "from historical_job_metrics"],
        ["schema"],
    ):
        done = commands["Test"].run(*command)
        assert (done.code, "belongs to Prod, not to Test" in done.err) == (2, True), command
    assert {path: path.read_bytes() for path in (tmp_path / "history").rglob("*") if path.is_file()} == before
    assert commands["Prod"].run("observe").code == 0
