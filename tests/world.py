"""A world in one process for tests of the run: clock, vendor and lake, workers that live and die in it, and what
must hold in it whatever happens (the invariants)."""

from __future__ import annotations

import itertools
import json
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from fakes import MORNING, DictStore, FakeClock, FakeVendor, small_files
from faults import Flaky, Tripwire
from viplake.extract.extraction import Extraction
from viplake.extract.job import MAX_POSTS
from viplake.extract.landing import RunSettings
from viplake.extract.ledger import Ledger
from viplake.lake import Lake
from viplake.lake.layout import PROMISE_NAME, RECEIPT_NAME, Layout, is_delivered_file
from viplake.lake.records import EventKind, Worker, parse_promise, parse_receipt
from viplake.model import PROD, Hour

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from viplake.extract.outcome import Outcome
    from viplake.lake.store import Store
    from viplake.model import Environment
    from viplake.redact import Secret
    from viplake.vendor.port import Download, ListedFile, TooEarly, Triggered, Vendor

HOUR = Hour.of(MORNING)
TICK = 120.0
"""Seconds between two ticks of a schedule."""


class SeenBy:
    """The vendor as one worker sees it: its calls may break where this worker's tripwires say."""

    def __init__(self, vendor: Vendor, *wires: Tripwire) -> None:
        self._vendor = vendor
        self._wires = wires

    @property
    def requests_sent(self) -> int:
        return self._vendor.requests_sent

    async def authorize(self) -> None:
        checks = [wire.enter("authorize", "") for wire in self._wires]
        [check("before") for check in checks]
        await self._vendor.authorize()
        [check("after") for check in checks]

    async def trigger(self) -> Triggered | TooEarly:
        checks = [wire.enter("trigger", "") for wire in self._wires]
        [check("before") for check in checks]
        answer = await self._vendor.trigger()
        [check("after") for check in checks]
        return answer

    def last_word(self, job_guid: str) -> str:
        return self._vendor.last_word(job_guid)

    async def is_complete(self, job_guid: str) -> bool:
        checks = [wire.enter("is_complete", job_guid) for wire in self._wires]
        [check("before") for check in checks]
        answer = await self._vendor.is_complete(job_guid)
        [check("after") for check in checks]
        return answer

    async def list_files(self, job_guid: str) -> tuple[ListedFile, ...]:
        checks = [wire.enter("list_files", job_guid) for wire in self._wires]
        [check("before") for check in checks]
        answer = await self._vendor.list_files(job_guid)
        [check("after") for check in checks]
        return answer

    @asynccontextmanager
    async def download(self, url: Secret, *, start: int = 0, etag: str | None = None) -> AsyncIterator[Download]:
        checks = [wire.enter("download", str(start)) for wire in self._wires]
        [check("before") for check in checks]
        async with self._vendor.download(url, start=start, etag=etag) as body:
            yield body
            [check("after") for check in checks]


@dataclass
class World:
    """All there is.

    Attributes:
        clock, store, vendor: shared by all workers.
        settings: of the run.
        alive: pids of the workers that live.
    """

    files: Mapping[str, bytes] = field(default_factory=small_files)
    clock: FakeClock = field(default_factory=FakeClock)
    vendor_options: Mapping[str, Any] = field(default_factory=dict)
    environment: Environment = PROD
    settings_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = DictStore(self.clock)
        self.vendor = FakeVendor(self.clock, self.files, **self.vendor_options)
        self.layout = Layout.below(self.environment.prefix)
        self.settings = RunSettings(self.environment, "ACME", **self.settings_options)
        self.alive: set[int] = set()
        self._pids = itertools.count(100)

    def worker(self, *wires: Tripwire, host: str = "host", store: Store | None = None) -> Extraction:
        """A new process with an Extraction of its own, whose calls break where its tripwires say."""
        pid = next(self._pids)
        self.alive.add(pid)
        mine = Flaky(store or self.store, *wires)
        nonces = itertools.count(1)
        ledger = Ledger(
            Lake(mine, self.layout),
            self.clock,
            me=Worker(host, pid, "1"),
            dead=lambda worker, me: worker.host == me.host and (worker.pid == me.pid or worker.pid not in self.alive),
            nonce=lambda: f"{pid}-{next(nonces)}",
        )
        return Extraction(self.settings, SeenBy(self.vendor, *wires), self.clock, ledger, rng=random.Random(7))

    def kill(self, worker: Extraction) -> None:
        """Its process is gone."""
        self.alive.discard(worker.ledger.me.pid)

    # -- driving ------------------------------------------------------------------------------------------

    async def ticks(self, *, hour: Hour = HOUR, most: int = 400, fresh: bool = True) -> Outcome:
        """A schedule: tick after tick, each a process of its own, until the Hour is final."""
        worker = self.worker()
        for _ in range(most):
            if fresh:
                self.kill(worker)
                worker = self.worker()
            outcome = await worker.tick()
            mine = next((one for one in (outcome, *outcome.also) if one.hour == hour), outcome)
            if mine.hour == hour and worker.ledger.jobs[hour].is_final:
                return mine
            await self.clock.sleep(TICK)
        raise AssertionError(f"{hour} is not final after {most} ticks")

    # -- looking ------------------------------------------------------------------------------------------

    def events(self, hour: Hour = HOUR) -> list[dict[str, Any]]:
        """The ledger's records of an Hour, oldest first."""
        prefix = self.layout.ledger(hour)
        return [json.loads(data) for key, data in sorted(self.store.objects.items()) if key.startswith(prefix)]

    def kinds(self, hour: Hour = HOUR) -> list[str]:
        """What happened in an Hour, signs of life left out."""
        return [event["event"] for event in self.events(hour) if event["event"] != EventKind.WORKING]

    def folder(self, hour: Hour = HOUR) -> dict[str, bytes]:
        """The files in the Hour's folder, by name."""
        prefix = self.layout.folder(hour)
        return {k.removeprefix(prefix): data for k, data in self.store.objects.items() if k.startswith(prefix)}

    def landed(self, hour: Hour = HOUR) -> dict[str, bytes]:
        """The vendor's files among them."""
        return {name: data for name, data in self.folder(hour).items() if is_delivered_file(name)}

    @property
    def by_name(self) -> dict[str, bytes]:
        """The vendor's files, by name."""
        return {key.rpartition("/")[2]: data for key, data in self.vendor.files.items()}

    def triggers_in(self, hour: Hour) -> int:
        """Triggers that the vendor accepted within an Hour."""
        return sum(moment in hour for moment in self.vendor.triggers.values())

    # -- what must hold -----------------------------------------------------------------------------------

    def check(self) -> None:
        """The invariants that hold at any moment."""
        for key, data in self.store.objects.items():
            parsed = self.layout.parse_file(key)
            if parsed is None:
                ours = key.startswith((f"{self.layout.root}_viplake/", self.layout.observability))
                assert ours, f"{key} lies outside of hourly folders"
                continue
            hour, name = parsed
            assert self.events(hour), f"files of {hour} without a claim"
            if is_delivered_file(name):  # nothing partial under a final key
                assert data == self.by_name[name], f"{name} is not the vendor's"
            if name == RECEIPT_NAME:
                self._check_receipt(hour)
        for hour in {event[0] for key in self.store.objects if (event := self.layout.parse_event(key))}:
            self._check_ledger(hour)

    def _check_receipt(self, hour: Hour) -> None:
        folder = self.folder(hour)
        receipt, promise = parse_receipt(folder[RECEIPT_NAME]), parse_promise(folder[PROMISE_NAME])
        assert self.store.written[self.layout.receipt(hour)] == 1, "a Receipt never changes"
        assert {file.name for file in receipt.files} == set(promise.names) == set(self.landed(hour))
        assert self.landed(hour) == self.by_name
        assert receipt.hour == hour

    def _check_ledger(self, hour: Hour) -> None:
        kinds = [event["event"] for event in self.events(hour)]
        finals = [n for n, kind in enumerate(kinds) if kind in {EventKind.DELIVERED, EventKind.FAILED}]
        assert all(n == len(kinds) - 1 or kinds[n + 1] == EventKind.REOPENED for n in finals), "nothing follows the end"
        posts = sum(kind in {EventKind.CLAIMED, EventKind.REPOSTING} for kind in kinds)
        assert kinds.count(EventKind.REPOSTING) <= 1, "one re-POST at most"
        assert posts <= MAX_POSTS
        assert self.triggers_in(hour) <= 1, "the vendor accepted two triggers in one Hour"
        if EventKind.DELIVERED in kinds:
            assert RECEIPT_NAME in self.folder(hour), "delivered without a Receipt"

    async def check_rest(self, hour: Hour = HOUR) -> None:
        """A tick on a final Hour only reads and says the same again."""
        self.check()
        if self.clock.now() not in hour:
            return
        written, triggers = self.store.written.total(), self.vendor.count("trigger")
        worker = self.worker()
        outcome = await worker.tick()
        assert worker.ledger.jobs[hour].is_final
        assert (self.store.written.total(), self.vendor.count("trigger")) == (written, triggers)
        assert outcome.outcome in {"delivered", "failed"}
        if outcome.outcome == "failed":
            assert outcome.cause


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def at(text: str) -> datetime:
    """A time of that day: `13:05`."""
    return datetime.fromisoformat(f"2022-05-10T{text}+00:00")
