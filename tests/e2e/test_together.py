"""K1, K2, M1, O2: processes run, observe and check one lake on S3 at once: one trigger, every row, each notified
once."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pytest

import commands
from e2e.lakes import Bucket
from hooks import listening
from samples import Share, shared
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.store import StoreSettings, open_store
from viplake.model import PROD, Hour
from viplake.redact import Secret
from viplake.simulator import ExportShape
from viplake.simulator.history import Past, Spell, generate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers.seaweed import Seaweed

pytestmark = pytest.mark.system

LAYOUT: Final = Layout.below(PROD.prefix)
ROUNDS: Final = 5
HOURS: Final = 5
AT_ONCE: Final = (("run",), ("observe",), ("check",), ("run",), ("observe",), ("check",))
PER_HOUR: Final = ("historical_job_metrics.csv", "historical_run_metrics.csv", "historical_job_size.csv")


def start(folder: Path, environ: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    around = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-m", "viplake", *arguments, "--json"],
        env=around | environ,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def past_of(last: Hour) -> Past:
    """A table stays away to the end, and an Hour failed before."""
    spells = (Spell(last.shift(-1), last, "lacking", ("Voyage",)), Spell(last.shift(-3), last.shift(-3), "failed"))
    return Past(spells, tables=4, scale=0.02)


async def fill(seaweed: Seaweed, bucket: Bucket, last: Hour) -> None:
    store = open_store(
        StoreSettings(
            bucket.url,
            access_key_id=seaweed.access_key,
            secret_access_key=Secret(seaweed.secret_key),
            region=seaweed.region,
            endpoint=seaweed.endpoint,
            allow_http=True,
        )
    )
    hours = last.shift(1 - HOURS).to(last)
    await generate(Lake(store, LAYOUT), hours, past_of(last), environment=PROD, company="ACME")


def labels(bucket: Bucket, name: str) -> list[str]:
    return [row["date"] for row in csv.DictReader(bucket.read(LAYOUT.observability + name).decode().splitlines())]


def told(got: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    messages = [message for message in got if message["kind"] == "incidents"]
    return Counter((notice["notice"], notice["id"]) for message in messages for notice in message["notices"])


@shared(every=ROUNDS)
def test_K2_M1_O2_processes_that_run_observe_and_check_at_once(
    seaweed: Seaweed, tmp_path: Path, share: Share, proof: Callable[..., None]
) -> None:
    processes = 0
    for number in share(range(ROUNDS)):
        with commands.simulated(export=ExportShape(files=20, total_bytes=200_000)) as vendor, listening() as (url, got):
            bucket, now = Bucket(seaweed), Hour.of(datetime.now(UTC))
            asyncio.run(fill(seaweed, bucket, now.shift(-1)))
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "viplake.toml").write_text(
                f'[notify]\nwebhook = "{url}"\ndelivered = true\n[rules]\nend_after = 1\n'
                "[rules.never_started]\nenabled = false\n[rules.missing_table]\nhours = 1\n"
            )
            environ = commands.environ_for(vendor, bucket.url, **seaweed.environment())
            order = AT_ONCE[number:] + AT_ONCE[:number]
            alive = [start(folder, environ, *arguments) for arguments in order]
            ended = [(process.args, *process.communicate(), process.returncode) for process in alive]
            processes += len(alive)
            for (command,), (_, out, err, code) in zip(order, ended, strict=True):
                assert code in {"run": {0, 75}, "observe": {0}, "check": {0, 1}}[command], (command, code, err)
                assert json.loads(out), err
            for command in ("run", "observe", "check"):
                start(folder, environ, command).communicate()
            assert len(vendor.jobs) == 1, "one trigger an Hour"
            hours = [hour.label for hour in now.shift(-HOURS).to(now)]
            for name in PER_HOUR:
                assert labels(bucket, name) == hours, name
            once = told(got)
            assert ("opened", f"missing_table:{now.shift(-2)}") in once
            assert f"outage:{now.shift(-4)}" not in {key for _, key in once}, "it was over at the first check"
            assert set(once.values()) == {1}, once
            assert sum(message["kind"] == "delivered" for message in got) <= 1
    proof("processes at once at one lake on S3", processes, least=30)
