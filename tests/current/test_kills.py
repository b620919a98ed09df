"""`viplake tables` is killed for real, at random moments; the next one ends in the rows of the oracle."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from current.lakes import TableLake

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(1800)]

KILLS = 100
WRITERS, ROUNDS = 3, 20


def row(key: int, name: str, when: str | None) -> dict[str, Any]:
    return {"Id": key, "Name": name, "Amount": 1.5, "LastUpdateGMT": when}


async def land(lake: TableLake, number: int, dice: random.Random) -> None:
    times = [None, "2022-05-09T10:00:00Z", "2022-05-09T11:00:00Z"]
    tables = ("Voyage", "Port", "Vessel")
    await lake.land(
        number,
        {name: [row(dice.randrange(9), dice.choice("abc"), dice.choice(times)) for _ in range(6)] for name in tables},
    )


def started(lake: TableLake) -> subprocess.Popen[bytes]:
    here = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "TMPDIR") if name in os.environ}
    environ = here | {"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": lake.folder.as_uri()}
    command = [sys.executable, "-m", "viplake", "tables", "--quiet"]
    return subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def check(lake: TableLake) -> None:
    for table in ("Voyage", "Port", "Vessel"):
        for kind in ("history", "current"):
            assert lake.digest(kind, table) == lake.expected(kind, table), (kind, table)


async def test_a_hundred_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    dice, lake = random.Random(7), TableLake(tmp_path)
    order = list(range(24 * 14))
    dice.shuffle(order)
    await land(lake, order.pop(), dice)
    began = time.monotonic()
    assert started(lake).wait() == 0
    usual = time.monotonic() - began
    kills = 0
    while kills < KILLS:
        if kills % 4 == 0:
            await land(lake, order.pop(), dice)
        process = started(lake)
        await asyncio.sleep(usual * dice.uniform(0.3, 1.1))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        else:  # it was done before: the next one needs something to do
            await land(lake, order.pop(), dice)
        process.wait()
    assert started(lake).wait() == 0
    check(lake)


async def test_three_writers_in_twenty_rounds_lose_and_double_nothing(tmp_path: Path) -> None:
    dice, lake = random.Random(8), TableLake(tmp_path)
    order = list(range(ROUNDS * 2))
    dice.shuffle(order)
    for _ in range(ROUNDS):
        await land(lake, order.pop(), dice)
        await land(lake, order.pop(), dice)
        writers = [started(lake) for _ in range(WRITERS)]
        assert [writer.wait() for writer in writers] == [0] * WRITERS
    check(lake)
