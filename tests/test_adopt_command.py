"""`viplake adopt` on a lake of the old script, and the commands that read its Hours afterwards."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING

import pytest

from commands import Commands
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.store import StoreSettings, open_store
from viplake.model import PROD, Hour
from viplake.simulator.history import Past, generate

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
FIRST, LAST = Hour.parse("2022-05-10T10"), Hour.parse("2022-05-10T12")


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    """Three Hours that another program landed: files and manifests, no record of viplake."""
    past = Past(tables=3, inside=FIRST, scale=1, ledger=False, receipts=False)
    store = open_store(StoreSettings(f"file://{tmp_path}/lake", create=True, durable=False))
    asyncio.run(generate(Lake(store, Layout.below("IMOSDL/Hourly")), FIRST.to(LAST), past, environment=PROD))
    return Commands({"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": f"file://{tmp_path}/lake"}, tmp_path)


def test_adopted_hours_are_verified_and_read_like_others(commands: Commands, tmp_path: Path) -> None:
    assert commands.run("query", "select count(*) from Voyage").code != 0
    done = commands.run("adopt", "--json")
    assert done.code == 0, done
    record = json.loads(done.out)
    assert [one["hour"] for one in record["adopted"]] == [str(hour) for hour in FIRST.to(LAST)]
    assert {one["proof"] for one in record["adopted"]} == {"size"}
    assert (record["schema_version"], record["present"], record["differences"]) == (1, 0, [])
    verified = commands.run("verify", "--from", str(FIRST), "--to", str(LAST), "--json")
    assert verified.code == 0
    assert {(one["valid"], one["proof"]) for one in json.loads(verified.out)["hours"]} == {(True, "size")}
    assert "proof: size" in commands.run("verify").out
    assert commands.run("query", "select count(*) from Voyage").code == 0
    assert commands.run("content", "--no-keep").code == 0
    assert (tmp_path / "lake" / "IMOSDL" / "Observability" / "historical_job_metrics.csv").exists()
    again = commands.run("adopt")
    assert (again.code, "3 had one already" in again.out) == (0, True)


def test_a_difference_is_listed_and_ends_with_1(commands: Commands, tmp_path: Path) -> None:
    folder = tmp_path / "lake" / "IMOSDL" / "Hourly" / LAST.folder
    next(folder.glob("Voyage*")).write_bytes(b"cut")
    done = commands.run("adopt", "--from", str(LAST), "--to", str(LAST))
    assert done.code == 1
    assert "wrong_size  Voyage" in done.out
    assert not (folder / "_Receipt.json").exists()


def test_the_current_hour_is_refused(commands: Commands) -> None:
    done = commands.run("adopt", "--to", "2090-01-01T00")
    assert (done.code, "is not over" in done.err) == (2, True)


def test_at_a_terminal_adopt_and_consolidate_show_hours_share_and_time_left(commands: Commands, tmp_path: Path) -> None:
    environ = commands.environ | {"VIPLAKE_LAKE": f"file://{tmp_path}/new", "VIPLAKE_COMPANY": "ACME"}
    target = Commands(environ, tmp_path)
    for command, arguments in ((target, ("consolidate", "./lake")), (commands, ("adopt", "--to", str(LAST)))):
        code, sent = command.at_a_terminal(*arguments, COLUMNS="80")
        assert code == 0, sent
        shown = [line for line in CONTROL.sub("", sent).replace("\r", "\n").splitlines() if "%" in line]
        assert len(shown) == 3
        assert all(len(line) < 80 for line in shown)
        assert all(any(str(hour) in line for line in shown) for hour in FIRST.to(LAST)), "in any order: copied together"
        assert re.search(r"█+░+ +\d+%  .* left$", shown[1]), shown
        assert "100%" in shown[2]
