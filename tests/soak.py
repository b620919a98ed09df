"""I/O. Hour after Hour with random faults: does every one come to its end, and does anything pile up?

    python tests/soak.py --hours 1000        # make soak: writes docs/dev/proof/soak.json

The vendor is the simulator over HTTP, the lake a folder; extraction, observation and judgement are the real ones, each
tick with parts of its own, as a scheduler would start them. The clock runs 400 times as fast as the wall and is set on
between ticks, so that no replication takes real time. What goes wrong is chosen by a seed: answers of the vendor,
broken and damaged downloads, a store that is out for a while, processes that die at any of their calls, two of them at
once, Hours without a run, channels that fail, a person who edits a published file.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import ctypes
import gc
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import structlog

from faults import Crash, Flaky, Tripwire, lake_down
from proof import Figure, write
from viplake.clock import SystemClock
from viplake.errors import ViplakeError
from viplake.extract.extraction import Extraction
from viplake.extract.landing import RunSettings
from viplake.extract.ledger import Ledger
from viplake.history.build import HistoryLocation, ObserveSettings, Scope, observe
from viplake.history.datasets import JOBS, RUNS
from viplake.judge.check import CheckTarget, check
from viplake.judge.evaluate import CheckSettings
from viplake.lake import Lake
from viplake.lake.layout import Layout, is_delivered_file
from viplake.lake.records import Worker, parse_receipt
from viplake.lake.store import StoreSettings, open_store
from viplake.model import PROD, Hour
from viplake.notify.message import NotSent
from viplake.redact import Secret
from viplake.simulator import ExportShape, Simulator, SimulatorSettings, running
from viplake.vendor.veson.client import VendorSettings, VesonVendor
from viplake.vendor.veson.token import VendorCredentials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viplake.lake.store import Store
    from viplake.notify.message import Audience, Message

USUAL: Final = 1000
FIRST: Final = Hour.parse("2022-02-08T08")
SPEED: Final = 400.0
TICKS: Final = 9
"""Of an Hour at most, 6 minutes apart."""

LAST_CHANCES: Final = 8
"""Quiet Hours at the end: what is overdue is given up 6 hours after its claim."""

MOST_MB: Final = 170.0
"""Resident at the end, simulator included: of a leak of 0.1 MB an Hour a thousand make 100 MB more."""

SETTLED: Final = 300
"""Hours after which every cache is full (the simulator's holds 128 exports): what grows from there on piles up."""

MOST_MB_AN_HOUR: Final = 0.015
"""From half the Hours on, where these have settled: readings of one soak differ by some MB, so over 500 Hours a leak of
0.02 MB an Hour shows for certain."""

SECRET: Final = "soak-secret"

GIVES_BACK: Final = {
    "PYTHONMALLOC": "malloc",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(128 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(128 * 1024),
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
}
"""What has glibc and Python give back what is free, so that what stays resident is held.

A folder's reads run on up to 200 threads of obstore's, which glibc spreads over sixteen arenas; Python takes a megabyte
at a time. Rows and buffers as many as the history come and go in each, and leave pieces that cannot be given back:
0.05 MB more an Hour, measured, in which a leak would hide. In one arena they are used again. The thresholds are the
defaults, which else rise; and each of the threads would keep some of what it freed for itself, which counts as taken.
"""

VENDOR_FAULTS: Final = (
    "token:status:times=2",
    "token:stillborn:times=1",
    "token:invalid_client",
    "trigger:status:times=1",
    "trigger:answer_lost:times=1",
    "trigger:accepted_status:times=1",
    "trigger:too_soon:times=1,value=iso:90",
    "trigger:bad_guid",
    "status:word:value=Failed",
    "status:word:value=Running",
    "status:status:times=4",
    "status:html:times=2",
    "status:not_found",
    "status:other_guid:times=2",
    "files:empty",
    "files:empty:times=2",
    "files:cut_json:times=2",
    "files:stale_urls:times=1",
    "files:grow:times=1",
    "files:key:file=Voyage*",
    "files:url:file=Vessel*",
    "download:cut:file=V*,each=true,times=1",
    "download:missing:file=Voyage*",
    "download:bit_flip:file=Vessel*,each=true,times=1",
    "download:slow_down:times=6",
    "download:expired:times=3",
    "download:reset:times=5",
    "download:short:file=P*,each=true,times=1",
    "download:redirect:file=Vessel*,times=1",
    "download:xml:times=2",
)
"""All of them quick: what waits for a socket's deadline has its own tests."""


@dataclass
class SoakClock:
    """A clock that runs fast and can be set on; equal on every thread.

    Attributes:
        segments: (a moment of the wall, what the clock showed then) since each time that it was set on.
    """

    segments: list[tuple[datetime, datetime]]

    def now(self) -> datetime:
        return self.from_store(SystemClock().now())

    def monotonic(self) -> float:
        return (self.now() - FIRST.start).total_seconds()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0) / SPEED)

    def from_store(self, stamped: datetime) -> datetime:
        wall, shown = next((s for s in reversed(self.segments) if s[0] <= stamped), self.segments[0])
        return shown + (stamped - wall) * SPEED

    def skip_to(self, moment: datetime) -> None:
        """Set it on; never back."""
        self.segments.append((SystemClock().now(), max(moment, self.now())))
        del self.segments[:-2_000]  # of 300 Hours: times of older records do not matter


@dataclass
class Ear:
    """A channel, deaf at times."""

    name: str = "ear"
    deaf: bool = False
    audience: Audience = "programs"
    told: Counter[tuple[str, str]] = field(default_factory=Counter)

    async def send(self, message: Message) -> None:
        if self.deaf:
            raise NotSent("deaf (injected)")
        self.told.update((notice["notice"], notice["id"]) for notice in message.body["notices"])


@dataclass(frozen=True)
class Held:
    """What this process holds: what a leak would let grow.

    Attributes:
        hour: after so many Hours.
        rss_mb: resident memory.
        files, threads, tasks: open files, Python's threads, tasks of asyncio.
        held_mb: what malloc gave and did not get back: exact, where resident memory wavers. 0 without glibc.
    """

    hour: int
    rss_mb: float
    files: int
    threads: int
    tasks: int
    held_mb: float

    @classmethod
    def now(cls, hour: int) -> Held:
        gc.collect()
        with suppress(OSError, AttributeError):  # glibc alone; what is free but scattered is no leak
            ctypes.CDLL(None).malloc_trim(0)
        status = Path("/proc/self/status").read_text(encoding="ascii")
        rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough
        return cls(hour, rss / 1024, files, threading.active_count(), len(asyncio.all_tasks()), _malloced() / 2**20)


class _MallInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc's malloc.h, 2.33 and later."""

    _fields_: ClassVar = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def _malloced() -> int:
    """Bytes that malloc gave, from its arenas and as mappings of their own, and did not get back."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError):  # another C library
        return 0
    mallinfo2.restype = _MallInfo
    info = mallinfo2()
    return int(info.uordblks + info.hblkhd)


def growth(held: list[Held]) -> list[Figure]:
    """PURE. What an Hour adds to memory, from the reading at half the Hours to the last one."""
    last = held[-1]
    half = min(held, key=lambda one: abs(one.hour - last.hour / 2))
    hours = max(1, last.hour - half.hour)
    most = MOST_MB_AN_HOUR if half.hour >= SETTLED else None
    between = f"from {half.hour} Hours to {last.hour}"
    return [
        Figure(
            f"MB that an Hour adds to resident memory, {between}",
            round((last.rss_mb - half.rss_mb) / hours, 4),
            most=most,
        ),
        Figure(
            f"MB that an Hour takes and does not free, {between}",
            round((last.held_mb - half.held_mb) / hours, 4),
            most=most,
        ),
    ]


@dataclass
class Soak:
    """A lake, its vendor, and all that happens to them.

    Attributes:
        hours: how many Hours; fewer, where `until` comes first.
        met: how often each kind of trouble was in the way.
        held: what the process held, every so many Hours.
        outcomes: what the Hours came to: `delivered`, or a cause.
        left_over: tasks that went on after their process had ended.
    """

    folder: Path
    vendor: Simulator
    clock: SoakClock
    hours: int
    seed: int = 20220510
    until: datetime | None = None
    met: Counter[str] = field(default_factory=Counter)
    held: list[Held] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    left_over: int = 0
    ear: Ear = field(default_factory=Ear)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.layout = Layout.below(PROD.prefix)
        self.store = open_store(StoreSettings(self.folder.as_uri()))
        self.skipped: set[Hour] = set()
        self._pids = iter(range(100, 10_000_000))
        self._alive: set[int] = set()

    # -- a process --------------------------------------------------------------------------------------------

    def wires(self) -> list[Tripwire]:
        """What the next process meets at its store: mostly nothing."""
        throw = self.dice.random()
        if throw < 0.10:
            self.met["process killed"] += 1
            return [Tripwire(at=self.dice.randint(1, 45), when=self.dice.choice(["before", "after"]), times=None)]
        if throw < 0.20:
            self.met["store out for some calls"] += 1
            times = self.dice.randint(1, 8)
            return [Tripwire(at=self.dice.randint(1, 45), error=lake_down, times=times)]
        return []

    async def tick(self, *, quiet: bool = False) -> None:
        """A process of its own: a tick, and what follows where it brought an Hour to its end."""
        pid = next(self._pids)
        self._alive.add(pid)
        store = Flaky(self.store, *(() if quiet else self.wires()))
        settings = VendorSettings(
            PROD,
            self.vendor.settings.company,
            token_url=self.vendor.token_url,
            export_url=self.vendor.export_url,
            files_url=self.vendor.files_url,
            allow_insecure_http=True,
        )
        dead = lambda worker, me: worker.pid == me.pid or worker.pid not in self._alive  # noqa: E731
        try:
            async with VesonVendor(settings, credentials, clock=self.clock) as vendor:
                ledger = Ledger(Lake(store, self.layout), self.clock, me=Worker("soak", pid, "1"), dead=dead)
                run = RunSettings(PROD, self.vendor.settings.company)
                extraction = Extraction(run, vendor, self.clock, ledger)
                await extraction.tick()
                if settled := extraction.settled():
                    await self.observe_and_check(store, settled)
        except Crash:
            self.met["process died"] += 1
        finally:
            self._alive.discard(pid)

    async def observe_and_check(self, store: Store, hours: tuple[Hour, ...]) -> None:
        """As after a delivery: what goes wrong here undoes nothing."""
        lake = Lake(store, self.layout)
        place = HistoryLocation.within(lake)
        with suppress(ViplakeError):
            await observe(lake, place, self.clock, ObserveSettings(), scope=Scope(hours=hours))
            await check(
                CheckTarget(lake, place, "Prod"), self.clock, CheckSettings(), ObserveSettings(), notifiers=[self.ear]
            )

    # -- an Hour ----------------------------------------------------------------------------------------------

    async def hour(self, hour: Hour, *, quiet: bool = False) -> None:
        """Its schedule: ticks, six minutes apart, until it is final."""
        self.clock.skip_to(hour.start + timedelta(seconds=self.dice.uniform(5, 60)))
        if not quiet and self.dice.random() < 0.02:
            self.met["nobody ran"] += 1
            self.skipped.add(hour)
            return
        if not quiet:
            await self.trouble()
        for _ in range(TICKS):
            died = self.met["process died"]
            if not quiet and self.dice.random() < 0.1:
                self.met["two at once"] += 1
                await asyncio.gather(self.tick(), self.tick())
            else:
                await self.tick(quiet=quiet)
            await self.nothing_is_left_running(died)
            if await self.is_final(hour) or self.clock.now() >= hour.end - timedelta(minutes=7):
                break
            self.clock.skip_to(self.clock.now() + timedelta(minutes=6))
        self.vendor.faults.clear()
        self.vendor.requests.clear()
        self.ear.deaf = False

    async def trouble(self) -> None:
        """Choose what the vendor, the channel and people do in this Hour."""
        for fault in self.dice.sample(VENDOR_FAULTS, k=self.dice.choice([0, 0, 1, 1, 2])):
            self.met[f"vendor, {fault.partition(':')[0]}"] += 1
            self.vendor.faults.add(fault)
        if self.dice.random() < 0.05:
            self.met["channel deaf"] += 1
            self.ear.deaf = True
        if self.dice.random() < 0.03:
            self.met["published file edited"] += 1
            await self.edit()

    async def edit(self) -> None:
        """Somebody opens a published file, and saves it with another end of lines and a column more."""
        path = self.folder / f"{self.layout.observability}{JOBS.file}"
        if path.is_file():
            head, *rows = path.read_text(encoding="utf-8-sig").splitlines()
            more = [] if head.endswith(",note") else [",note"]
            lines = [head + "".join(more), *(row + "," * len(more) for row in rows)]
            path.write_bytes(b"\xef\xbb\xbf" + "".join(f"{line}\r\n" for line in lines).encode())

    async def nothing_is_left_running(self, died: int) -> None:
        """A process that lived leaves no task behind; of one that died here, it is this one that has to end them."""
        mine = asyncio.current_task()
        left = [task for task in asyncio.all_tasks() if task is not mine]
        if left and self.met["process died"] == died:  # reads beside one that failed end by themselves
            left = list((await asyncio.wait(left, timeout=5))[1])
            self.left_over += len(left)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def is_final(self, hour: Hour) -> bool:
        ledger = Ledger(Lake(self.store, self.layout), self.clock)
        return (await ledger.read(hour)).is_final

    async def run(self, every: int = 100) -> None:
        """All Hours, and quiet ones in which what is open ends."""
        hours = [FIRST.shift(number) for number in range(self.hours)]
        for number, hour in enumerate(hours, 1):
            await self.hour(hour)
            if self.until is not None and SystemClock().now() >= self.until:
                self.hours = number
                del hours[number:]
            if number % every == 0 or number in {1, self.hours}:
                self.held.append(Held.now(number))
                print(self.line(), flush=True)
            if number >= self.hours:
                break
        for number in range(LAST_CHANCES):
            await self.hour(FIRST.shift(self.hours + number), quiet=True)
        await self.prove(hours)

    def line(self) -> str:
        one = self.held[-1]
        return (
            f"{one.hour:5} Hours  {one.rss_mb:6.1f} MB  {one.files} files  {one.threads} threads  {one.tasks} tasks  "
            f"{one.held_mb:.2f} MB held  {self.met.total()} troubles met, {sum(self.ear.told.values())} notices"
        )

    # -- what must hold -----------------------------------------------------------------------------------------

    async def prove(self, hours: list[Hour]) -> None:
        """The invariants of the fault catalogue (1.18), of every Hour.

        Raises:
            AssertionError: one does not hold.
        """
        excuses = self.met["process died"] + self.met["store out for some calls"]
        assert sum(self.again.values()) - len(self.again) <= excuses, f"told again without a reason: {self.again}"
        exports = Counter(Hour.of(job.triggered_at) for job in self.vendor.jobs.values())
        assert max(exports.values()) == 1, "I1: one export an Hour"
        rows = {dataset: self.rows(dataset.file) for dataset in (JOBS, RUNS)}
        for hour in hours:
            last = await self.last_event(hour)
            [row] = [row for row in rows[RUNS] if row["date"] == hour.label]
            assert len([row for row in rows[JOBS] if row["date"] == hour.label]) == 1, f"I5: {hour}"
            if last is None:
                assert row["outcome"] == "missed", f"{hour} has no ledger, and its row says {row}"
                self.outcomes["nobody ran"] += 1
                continue
            assert last["event"] in {"delivered", "failed"}, f"I6: {hour} ended as {last['event']}"
            assert (row["outcome"], row["cause"]) == (last["event"], last.get("cause") or ""), f"I6: {hour}: {row}"
            assert last["event"] == "delivered" or last["cause"], f"I6: {hour} has no cause"
            self.outcomes[last.get("cause") or "delivered"] += 1
            self.receipt_proves(hour, delivered=last["event"] == "delivered")

    def rows(self, name: str) -> list[dict[str, str]]:
        text = (self.folder / f"{self.layout.observability}{name}").read_text(encoding="utf-8")
        return list(csv.DictReader(text.splitlines()))

    async def last_event(self, hour: Hour) -> dict[str, Any] | None:
        files = await self.store.files(self.layout.ledger(hour))
        data = await self.store.get(max(file.key for file in files)) if files else None
        return None if data is None else dict(json.loads(data))

    def receipt_proves(self, hour: Hour, *, delivered: bool) -> None:
        """I2, I3: every file with size and checksum, and nothing else."""
        folder = self.folder / self.layout.folder(hour)
        path = self.folder / self.layout.receipt(hour)
        if not path.exists():
            assert not delivered, f"I2: {hour} is delivered without a Receipt"
            return
        proven = {file.name: (file.size, file.md5) for file in parse_receipt(path.read_bytes()).files}
        there = {one.name: one.read_bytes() for one in folder.iterdir() if is_delivered_file(one.name)}
        found = {name: (len(data), hashlib.md5(data).hexdigest()) for name, data in there.items()}
        assert found == proven, f"I2: {hour} is not as its Receipt proves"

    @property
    def again(self) -> dict[tuple[str, str], int]:
        """Notifications that were sent more than once; a reminder comes each day."""
        return {what: times for what, times in self.ear.told.items() if times > 1 and what[0] != "reminder"}

    def figures(self) -> list[Figure]:
        """For the page of proof."""
        warm, last = self.held[min(1, len(self.held) - 1)], self.held[-1]
        return [
            Figure("Hours", self.hours),
            Figure("Hours that ended, each with one outcome and one cause", self.outcomes.total(), least=self.hours),
            Figure("Hours delivered", self.outcomes["delivered"]),
            Figure("causes that Hours ended with", len(self.outcomes.keys() - {"delivered", "nobody ran"})),
            Figure("troubles met", self.met.total()),
            Figure("processes that died", self.met["process died"]),
            Figure(f"resident memory after {warm.hour} Hours, MB", round(warm.rss_mb, 1)),
            Figure(f"resident memory after {last.hour} Hours, MB", round(last.rss_mb, 1), most=MOST_MB),
            *growth(self.held),
            Figure(f"more open files than after {warm.hour} Hours", max(0, last.files - warm.files), most=0),
            Figure("tasks of asyncio left over", self.left_over, most=0),
            Figure("notifications sent", sum(self.ear.told.values())),
            Figure("of them again, after a kill or an outage of the store", sum(self.again.values()) - len(self.again)),
        ]


async def credentials(*, fresh: bool = False) -> VendorCredentials:  # noqa: ARG001 - the port's
    return VendorCredentials(Secret("soak"), Secret(SECRET))


@contextmanager
def soaking(folder: Path, hours: int, seed: int = 20220510) -> Iterator[Soak]:
    """A soak that is ready to run."""
    clock = SoakClock([(datetime.now(UTC), FIRST.start)])
    shape = ExportShape(files=14, total_bytes=60_000)
    settings = SimulatorSettings(client_id="soak", client_secret=SECRET, replication_seconds=300, export=shape)
    with running(settings, clock=clock) as vendor:
        yield Soak(folder, vendor, clock, hours, seed)


def main(arguments: list[str]) -> int:
    """Soak, print what came of it, and leave the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=int, default=USUAL)
    parser.add_argument("--minutes", type=float, help="stop after so many, whatever --hours says")
    parser.add_argument("--seed", type=int, default=20220510)
    parser.add_argument("--folder", type=Path, help="for the lake; default: a temporary one")
    parser.add_argument("--json", type=Path, help="where to write the summary as well")
    parser.add_argument("--no-proof", action="store_true", help="leave docs/dev/proof as it is")
    given = parser.parse_args(arguments)
    # Nothing here is encrypted, and the system's certificates take each of thousands of clients 40 ms to read.
    os.environ["SSL_CERT_FILE"] = os.devnull
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    folder = Path(tempfile.mkdtemp(prefix="viplake-soak-", dir=given.folder))
    try:
        with soaking(folder, given.hours, given.seed) as soak:
            if given.minutes is not None:
                soak.until = SystemClock().now() + timedelta(minutes=given.minutes)
            asyncio.run(soak.run())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("ended as:", ", ".join(f"{word} {count}" for word, count in soak.outcomes.most_common()))
    print("met:", ", ".join(f"{word} {count}" for word, count in soak.met.most_common()))
    figures = soak.figures()
    for one in figures:
        print(f"{one.what}: {one.figure:g}{'' if one.reached else '  MISSED'}")
    if given.json:
        summary = {"outcomes": dict(soak.outcomes), "met": dict(soak.met), "held": [vars(one) for one in soak.held]}
        given.json.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    if not given.no_proof:
        asked = "" if soak.hours == USUAL else f" ARGS='--hours {soak.hours}'"
        write("soak", f"make soak{asked}", figures)
    return 0 if all(one.reached for one in figures) else 1


if __name__ == "__main__":
    if not GIVES_BACK.items() <= os.environ.items():  # read as a process starts, so: once more
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | GIVES_BACK)
    sys.exit(main(sys.argv[1:]))
