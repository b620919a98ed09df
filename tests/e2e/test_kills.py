"""X1, X4: the command is killed for real, at random moments of its life, on a folder and on S3; nothing is lost.

What is killed is a process of its own, with SIGKILL: no handler, no `finally`. The moments are spread over what the
same command takes without a disturbance, most of them after its imports. A kill counts only where it met a living
process. After each, and after the command that comes next, the invariants of the fault catalogue (1.18) hold.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
import random
import re
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

import commands
from commands import stay_within_the_hour
from e2e.command import Command
from e2e.lakes import Bucket, Folder
from history.lakes import At
from hooks import listening
from viplake.history.build import HistoryLocation, ObserveSettings, observe
from viplake.judge.check import CheckTarget, check
from viplake.judge.evaluate import CheckSettings
from viplake.judge.notices import LEASE
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.proof import verify
from viplake.lake.store import StoreSettings, open_store
from viplake.model import PROD, Hour
from viplake.notify.webhook import Webhook
from viplake.redact import Secret
from viplake.simulator import ExportShape, Simulator
from viplake.simulator.history import Past, Spell, generate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers.seaweed import Seaweed
    from viplake.lake.store import Store

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

AnyLake = Bucket | Folder

LAYOUT: Final = Layout.below(PROD.prefix)
QUIET: Final = {"rules": {rule: {"enabled": False} for rule in ("never_started", "missing_job")}}
"""Rules that are off: nobody runs in a lake that was only generated, and the Hour may end while it is looked at."""

HISTORY: Final = LAYOUT.observability

UNFINISHED: Final = re.compile(r"#\d+$")
"""The half of a file that a kill leaves in a folder; the next write of the file removes it once it is an hour old."""

RUNS, OBSERVATIONS, CHECKS, COPIES = 16, 14, 13, 9
"""Kills of each, on either kind of lake: more than a hundred together."""


@dataclass
class Killer:
    """Starts a command and kills it at a random moment.

    Attributes:
        command: how it is started.
        rng: says when.
        lasts: seconds that each command takes undisturbed, by its first word.
        kills: how many met a living process, likewise.
    """

    command: Command
    rng: random.Random
    lasts: dict[str, float] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)

    def measure(self, *arguments: str, expect: int = 0) -> str:
        """Run it undisturbed; its output."""
        begun = time.monotonic()
        done = self.command.run(*arguments)
        self.lasts[arguments[0]] = time.monotonic() - begun
        assert done.code == expect, done
        return done.out

    def kill(self, *arguments: str) -> bool:
        """Whether it was killed before it ended."""
        whole, start = self.lasts[arguments[0]], self.lasts["--version"]
        early = self.rng.random() < 0.2
        moment = self.rng.uniform(0.02, start) if early else self.rng.uniform(min(start, whole), whole)
        done = self.command.run(*arguments, kill_after=moment)
        killed = done.code == -signal.SIGKILL
        self.kills[arguments[0]] += killed
        if not killed:  # it was faster than when it was measured
            self.lasts[arguments[0]] = max(0.85 * whole, start)
        return killed


@dataclass
class Ground:
    """A kind of lake: makes new ones, and knows how a process and this one reach them."""

    folder: Path
    seaweed: Seaweed | None
    made: int = 0
    sample: bool = False

    def kills(self, of_all: int) -> int:
        """How many kills this test makes: all of them in the long suite, two in the sample."""
        return min(2, of_all) if self.sample else of_all

    @property
    def name(self) -> str:
        return "folder" if self.seaweed is None else "S3"

    def lake(self) -> AnyLake:
        self.made += 1
        if self.seaweed is not None:
            return Bucket(self.seaweed)
        path = self.folder / f"lake-{self.made}"
        path.mkdir()
        return Folder(path)

    def environment(self) -> dict[str, str]:
        return {} if self.seaweed is None else self.seaweed.environment()

    def store(self, url: str) -> Store:
        if self.seaweed is None:
            return open_store(StoreSettings(url))
        return open_store(
            StoreSettings(
                url,
                access_key_id=self.seaweed.access_key,
                secret_access_key=Secret(self.seaweed.secret_key),
                region=self.seaweed.region,
                endpoint=self.seaweed.endpoint,
                allow_http=True,
            )
        )

    def killer(self, lake: AnyLake, **environ: str) -> Killer:
        plain = {
            "VIPLAKE_ENVIRONMENT": "Prod",
            "VIPLAKE_LAKE": lake.url,
            "VIPLAKE_ALLOW_INSECURE_HTTP": "true",
            "VIPLAKE_LOG_LEVEL": "WARNING",
        }
        killer = Killer(Command(plain | self.environment() | environ, self.folder), random.Random(20220510))
        killer.measure("--version")
        return killer


LONG: Final = [pytest.param((kind, False), id=f"{kind}-all", marks=pytest.mark.long) for kind in ("folder", "s3")]


@pytest.fixture(params=[*(pytest.param((kind, True), id=f"{kind}-sample") for kind in ("folder", "s3")), *LONG])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    kind, sample = request.param
    return Ground(tmp_path, request.getfixturevalue("seaweed") if kind == "s3" else None, sample=sample)


# -- the run ----------------------------------------------------------------------------------------------------


def landed_is_whole(lake: AnyLake, vendor: Simulator) -> None:
    """I2, I3: whatever lies under a final name is the vendor's, byte for byte; a Receipt proves what is there."""
    objects = lake.objects()
    for guid, job in vendor.jobs.items():
        for file in job.files:
            key = f"{LAYOUT.folder(Hour.of(job.triggered_at))}{file.name}"
            if key in objects:
                source = hashlib.md5(b"".join(vendor.source(guid, job.key(file)))).hexdigest()
                assert lake.md5(key) == source, key
    for key in objects:
        if key.endswith("/_Receipt.json"):
            folder = key.removesuffix("_Receipt.json")
            proven = json.loads(lake.read(key))["files"]
            assert all(objects[folder + one["name"]]["size"] == one["size"] for one in proven)


def rows_of(lake: AnyLake, hour: str) -> list[dict[str, str]]:
    """I5: the rows of an Hour in the published file."""
    text = lake.read(f"{HISTORY}historical_run_metrics.csv").decode()
    return [row for row in csv.DictReader(text.splitlines()) if row["date"] == Hour.parse(hour).label]


def test_X1_X4_a_run_that_is_killed_again_and_again_lands_one_export(
    ground: Ground, proof: Callable[..., None]
) -> None:
    shape = ExportShape(files=40, total_bytes=2_000_000)
    killer: Killer | None = None
    while killer is None or killer.kills.total() < ground.kills(RUNS):
        with commands.simulated(export=shape, replication_seconds=0, latency_ms=5) as vendor:
            lake = ground.lake()
            environ = commands.environ_for(vendor, lake.url)
            if killer is None:
                killer = ground.killer(lake, **environ)
                killer.measure("run", "--json")
                killer.lasts["tick"] = killer.lasts["run"]
                landed_is_whole(lake, vendor)
                continue
            killer.command.environ.update(environ)
            for verb in ("run", "tick", "run", "run", "tick", "run", "run", "run"):
                if killer.kills.total() == ground.kills(RUNS) or not killer.kill(verb, "--json"):
                    break
                landed_is_whole(lake, vendor)
            asyncio.run(its_end(killer, ground.store(lake.url), lake, vendor))
    proof(f"kills of run and tick, {ground.name}", killer.kills.total(), least=ground.kills(RUNS))


async def its_end(killer: Killer, store: Store, lake: AnyLake, vendor: Simulator) -> None:
    """The Hour ends with one outcome, one trigger, one row; what is delivered is proven."""
    done = killer.command.run("run", "--json")
    outcome = json.loads(done.out)
    assert len(vendor.jobs) == 1, "I1"
    assert (done.code, outcome["cause"]) in {(0, None), (69, "trigger_ack_lost")}, done
    # In this process, which is not killed: only the run was. An Hour without a Receipt counts after its grace only.
    hour, settings = Hour.parse(outcome["hour"]), ObserveSettings()
    at = max(datetime.now(UTC), hour.start + settings.grace)
    await observe(Lake(store, LAYOUT), HistoryLocation.within(Lake(store, LAYOUT)), At(at), settings)
    landed_is_whole(lake, vendor)
    [row] = rows_of(lake, outcome["hour"])
    assert row["outcome"] == outcome["outcome"]
    if outcome["outcome"] == "delivered":
        assert (await verify(Lake(store, LAYOUT), hour)).verdict.valid


# -- observation, judgement, consolidation -----------------------------------------------------------------------


@dataclass
class Watched:
    """A lake with some Hours in which a table stays away, and its state without a kill."""

    ground: Ground
    lake: AnyLake
    killer: Killer
    histories: int = 0

    @classmethod
    def on(cls, ground: Ground) -> Watched:
        # The current Hour must not begin to count while this runs: not at its grace, and no new Hour either.
        stay_within_the_hour(300)
        lake = ground.lake()
        last = Hour.of(datetime.now(UTC)).shift(-1)
        past = Past((Spell(last.shift(-2), last, "lacking", ("Voyage",)),), tables=4, scale=0.02)
        hours = last.shift(-6).to(last)
        asyncio.run(generate(Lake(ground.store(lake.url), LAYOUT), hours, past, environment=PROD))
        return cls(ground, lake, ground.killer(lake))

    def history(self, like: str = "") -> str:
        """A new location for a history; optionally a copy of another one."""
        self.histories += 1
        name = f"history-{self.histories}"
        self.killer.command.environ["VIPLAKE_HISTORY"] = f"{self.lake.url}/{name}"
        self.killer.command.environ["VIPLAKE_GRACE_MINUTES"] = "59"
        for key in self.lake.objects() if like else ():
            if key.startswith(f"{like}/"):
                self.lake.write(name + key.removeprefix(like), self.lake.read(key))
        return name

    def published(self, name: str) -> dict[str, bytes]:
        """What people read."""
        keys = [key for key in self.lake.objects() if key.startswith(f"{name}/") and "_viplake/" not in key]
        keys = [key for key in keys if not UNFINISHED.search(key)]
        return {key.removeprefix(name): self.lake.read(key) for key in keys}


@pytest.fixture
def watched(ground: Ground) -> Watched:
    off = "".join(f"[rules.{rule}]\nenabled = false\n" for rule in QUIET["rules"])
    (ground.folder / "viplake.toml").write_text(off)
    return Watched.on(ground)


def test_X1_M10_an_observation_that_is_killed_goes_on_to_the_same_bytes(
    watched: Watched, proof: Callable[..., None]
) -> None:
    whole = watched.history()
    watched.killer.measure("observe")
    while watched.killer.kills["observe"] < watched.ground.kills(OBSERVATIONS):
        name = watched.history()
        for _ in range(min(3, watched.ground.kills(OBSERVATIONS) - watched.killer.kills["observe"])):
            watched.killer.kill("observe")
        assert watched.killer.command.run("observe").code == 0
        assert watched.published(name) == watched.published(whole)
    proof(
        f"kills of observe, {watched.ground.name}",
        watched.killer.kills["observe"],
        least=watched.ground.kills(OBSERVATIONS),
    )


def test_X8_after_a_killed_check_the_next_one_sends_every_notification(
    watched: Watched, proof: Callable[..., None]
) -> None:
    """Once; or twice, where the kill fell between the telling and the record of it."""
    observed = watched.history()
    watched.killer.measure("observe")
    with listening() as (url, got):
        settings = watched.ground.folder / "viplake.toml"
        settings.write_text(f'[notify]\nwebhook = "{url}"\n{settings.read_text()}')
        watched.history(like=observed)
        watched.killer.measure("check", expect=1)
        expected = told(got)
        assert set(expected.values()) == {1}
        while watched.killer.kills["check"] < watched.ground.kills(CHECKS):
            got.clear()
            name = watched.history(like=observed)
            watched.killer.kill("check")
            asyncio.run(checked_later(watched, name, url))
            assert set(told(got)) == set(expected)
            assert max(told(got).values()) <= 2
            got.clear()
            asyncio.run(checked_later(watched, name, url))
            assert got == [], "and then no more"
    proof(f"kills of check, {watched.ground.name}", watched.killer.kills["check"], least=watched.ground.kills(CHECKS))


async def checked_later(watched: Watched, name: str, url: str) -> None:
    """The check that comes when the lease of a dead one is over."""
    store, elsewhere = watched.ground.store(watched.lake.url), watched.ground.store(f"{watched.lake.url}/{name}")
    lake = CheckTarget(Lake(store, LAYOUT, watched.lake.url), HistoryLocation.elsewhere(elsewhere), "Prod")
    clock = At(datetime.now(UTC) + LEASE + timedelta(seconds=1))
    last = Hour.of(datetime.now(UTC))
    listening = [Webhook(Secret(url, remember=False))]
    await check(lake, clock, CheckSettings.parse(QUIET), ObserveSettings(), notifiers=listening, at=last)


def told(got: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    return Counter((notice["notice"], notice["id"]) for message in got for notice in message["notices"])


def test_X1_a_consolidation_that_is_killed_goes_on_to_the_same_lake(
    watched: Watched, proof: Callable[..., None]
) -> None:
    theirs = {key: watched.lake.md5(key) for key in watched.lake.objects() if key.startswith(LAYOUT.prefix)}
    whole: dict[str, bytes] = {}
    while watched.killer.kills["consolidate"] < watched.ground.kills(COPIES):
        lake = watched.ground.lake()
        watched.killer.command.environ["VIPLAKE_LAKE"] = lake.url
        command = ("consolidate", watched.lake.url)
        if not whole:
            watched.killer.measure(*command)
        for _ in range(min(3, watched.ground.kills(COPIES) - watched.killer.kills["consolidate"]) * bool(whole)):
            watched.killer.kill(*command)
            ours = {key: lake.md5(key) for key in lake.objects() if key in theirs}
            assert ours == {key: theirs[key] for key in ours}
        assert watched.killer.command.run(*command).code == 0
        objects = [key for key in lake.objects() if not UNFINISHED.search(key)]
        assert {key: lake.md5(key) for key in objects if key.startswith(LAYOUT.prefix)} == theirs
        published = {key: lake.read(key) for key in objects if key.startswith(HISTORY)}
        whole = whole or published
        assert published == whole
    proof(
        f"kills of consolidate, {watched.ground.name}",
        watched.killer.kills["consolidate"],
        least=watched.ground.kills(COPIES),
    )
