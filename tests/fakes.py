"""Fakes at the ports: a clock that moves by itself, and the vendor in this process, with faults to switch on."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import heapq
import itertools
import json
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import parse_qs, quote, unquote, urlsplit

from viplake.errors import CredentialsError, LakeError, NetworkError, VendorError
from viplake.lake.store import LARGEST_RECORD, Page
from viplake.model import StoredFile
from viplake.redact import Secret
from viplake.vendor.port import LinkExpired, ListedFile, SourceChanged, TooEarly, Triggered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from faults import Tripwire, When
    from viplake.clock import Clock

MORNING = datetime(2022, 5, 10, 13, 0, 5, tzinfo=UTC)


class FakeClock:
    """A clock that stands still, but for `advance` and for sleepers: when nothing else runs, the first one wakes.

    It cannot see what runs in threads (obstore's stores): there the time may move on meanwhile. Over a `DictStore`
    a run is the same each time.

    Args:
        start: what it shows first, UTC; later changes of the attribute are jumps that `monotonic` does not make.
        auto: whether sleeping moves it; False: only `advance` does.
    """

    # Turns of the idle loop before the time moves: for those who wait for threads.
    _TURNS = 20

    def __init__(self, start: datetime = MORNING, *, auto: bool = True) -> None:
        self.start = start
        self.auto = auto
        self.slept: list[float] = []
        self._elapsed = 0.0
        self._numbers = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._idle = 0
        self._watched: asyncio.AbstractEventLoop | None = None

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return 1_000.0 + self._elapsed

    def from_store(self, stamped: datetime) -> datetime:
        return stamped

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass; who slept as long wakes at the next turn of the loop."""
        self._elapsed += seconds
        self._wake()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        waiting = loop.create_future()
        me = (self._elapsed + seconds, next(self._numbers), waiting)
        heapq.heappush(self._sleepers, me)
        if self._watched is not loop:
            self._watched, self._idle = loop, 0
            loop.call_soon(self._watch, loop)
        try:
            await waiting
        finally:
            if me in self._sleepers:
                self._sleepers.remove(me)
                heapq.heapify(self._sleepers)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Move the time to the first sleeper when nothing else is left to run."""
        if not self._sleepers or not self.auto:
            self._watched = None
            return
        others_run = bool(cast("Any", loop)._ready)
        self._idle = 0 if others_run else self._idle + 1
        if self._idle >= self._TURNS:
            self._idle = 0
            self._elapsed = max(self._elapsed, self._sleepers[0][0])
            self._wake()
        loop.call_soon(self._watch, loop)

    def _wake(self) -> None:
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            waiting = heapq.heappop(self._sleepers)[2]
            if not waiting.done():
                waiting.set_result(None)


class DictStore:
    """A store in a dict: no threads, so that a run over it and a `FakeClock` is the same each time.

    Args:
        clock: stamps what is written.

    Attributes:
        objects: all objects, by key.
        written: how often each key was written.
        odd: keys that listings leave out.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.objects: dict[str, bytes] = {}
        self.stamps: dict[str, datetime] = {}
        self.written: Counter[str] = Counter()
        self.odd: list[str] = []

    def _write(self, key: str, data: bytes) -> StoredFile:
        self.objects[key] = bytes(data)
        self.stamps[key] = self.clock.now()
        self.written[key] += 1
        return StoredFile(key, len(data), _etag(data))

    async def get(self, key: str, *, limit: int = LARGEST_RECORD) -> bytes | None:
        await asyncio.sleep(0)
        data = self.objects.get(key)
        if data is not None and len(data) > limit:
            raise LakeError(f"{key} is larger than the {limit:,} bytes that it may have", cause="ledger_damaged")
        return data

    async def read(self, key: str) -> AsyncIterator[bytes]:
        await asyncio.sleep(0)
        if key not in self.objects:
            raise FileNotFoundError(key)
        data = self.objects[key]
        for start in range(0, len(data), 1 << 20):
            yield data[start : start + (1 << 20)]

    async def put(self, key: str, data: bytes) -> StoredFile:
        await asyncio.sleep(0)
        return self._write(key, data)

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        await asyncio.sleep(0)
        if key in self.objects:
            return False
        self._write(key, data)
        return True

    async def put_stream(self, key: str, chunks: AsyncIterator[bytes]) -> StoredFile:
        data = b"".join([chunk async for chunk in chunks])
        return self._write(key, data)

    async def files(self, prefix: str) -> list[StoredFile]:
        await asyncio.sleep(0)
        return [
            StoredFile(key, len(data), _etag(data), self.stamps[key])
            for key, data in sorted(self.objects.items())
            if key.startswith(prefix)
        ]

    def left_out(self, prefix: str) -> list[str]:
        """See `Store`."""
        return [key for key in self.odd if key.startswith(prefix)]

    async def pages(self, prefix: str) -> AsyncIterator[Page]:
        files = await self.files(prefix)
        for start in range(0, len(files), 100):
            some = files[start : start + 100]
            yield Page(
                [file.key for file in some], [file.size for file in some], [file.etag for file in some].__getitem__
            )

    async def folders(self, prefix: str) -> list[str]:
        await asyncio.sleep(0)
        below = (key.removeprefix(prefix) for key in self.objects if key.startswith(prefix))
        return sorted({rest.partition("/")[0] for rest in below if "/" in rest})

    async def delete(self, key: str) -> None:
        await asyncio.sleep(0)
        self.objects.pop(key, None)
        self.stamps.pop(key, None)

    async def sweep(self, prefix: str) -> list[str]:  # noqa: ARG002 - nothing half written is ever in here
        await asyncio.sleep(0)
        return []


def _etag(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


Behaviour = Literal[
    "expired",  # 403, "Request has expired"
    "denied",  # 403, plain
    "missing",  # 404
    "busy",  # 503; `value`: Retry-After in seconds
    "refused",  # no connection
    "cut",  # the connection breaks at byte `value`
    "stall",  # nothing more comes after byte `value`: what the client makes of it after 30 s
    "drip",  # from byte `value` on, one byte a second
    "short",  # a clean end at byte `value`
    "longer",  # goes on for ever after the last byte
    "flip",  # one bit of byte `value` (0: in the middle) is wrong, the length is right
    "flip_cut",  # one bit is wrong, then the connection breaks at byte `value`
    "other_size",  # the source declares a size of `value` bytes
    "no_size",  # the source declares none
    "no_range",  # Range is ignored: the whole file again
    "no_etag",  # no mark of the content
    "wrong_md5",  # the ETag looks like an MD5 and is none of this content
    "replaced",  # another file is there from now on
    "crash",  # the client fails in an unexpected way
]


@dataclass
class DownloadFault:
    """What goes wrong with which download.

    Attributes:
        kind: see `Behaviour`.
        about: only files whose key holds this text.
        value: a byte or a number, as `kind` says.
        times: how many downloads of each file meet it; None: all.
        after: how many downloads of each file go well before.
    """

    kind: Behaviour
    about: str = ""
    value: int | float = 0
    times: int | None = 1
    after: int = 0
    _seen: dict[str, int] = field(default_factory=dict)

    def strikes(self, key: str) -> bool:
        """Whether this download of the file meets the fault; counts it."""
        if self.about not in key:
            return False
        number = self._seen[key] = self._seen.get(key, 0) + 1
        return number > self.after and (self.times is None or number <= self.after + self.times)


@dataclass
class _Body:
    """`Download` from memory."""

    start: int
    size: int | None
    etag: str | None
    md5: str | None
    source: AsyncIterator[bytes]

    def chunks(self) -> AsyncIterator[bytes]:
        return self.source


def small_files(count: int = 60, *, tables: int = 12) -> dict[str, bytes]:
    """An Hour of `count` small files: a schema, a script and partitions of tables, by the vendor's key."""
    names = [f"Table{number:02d}" for number in range(tables)]
    schema = [{"DataObjectName": name, "Columns": [{"Name": "id", "Type": "int"}]} for name in names]
    files = {
        "export/_MasterTableSchema.json": json.dumps(schema).encode(),
        "export/create_tables.sql": b"-- one statement a table\n" * 8,
    }
    for number in range(count - len(files)):
        rows = [{"id": row, "table": names[number % tables], "part": number} for row in range(5 + number)]
        name = f"{names[number % tables]}_{number:04d}.json.gz"
        files[f"export/{name}"] = gzip.compress(json.dumps(rows).encode(), mtime=0)
    return files


class FakeVendor:
    """The vendor behind the `Vendor` port, in this process.

    It allows one trigger in 60 minutes (or a calendar hour), replicates for a while, lists files whose links
    expire, and breaks where requested.

    Args:
        clock: its time.
        files: what each export delivers, by key.
        replication: seconds from a trigger to `Complete`.
        rule: in which reading a trigger is allowed once an hour.
        tells_when: a refusal says when the next trigger is allowed.
        link_seconds: how long a link is good.
        late_keys: these keys join the list only `late_seconds` after `Complete`.
        wires: count and break calls by their verb: authorize, trigger, is_complete, list_files, download.

    Attributes:
        faults: what goes wrong with downloads; the first that strikes counts.
        triggers: when each trigger that was accepted came, by its GUID.
        calls: all calls, `verb subject`.
        requests: every download that was asked for: key and first byte.
        marks: the ETag that each of them had to match.
        failed_jobs: GUIDs whose export fails.
        tells_guid: a refusal carries the GUID of the export that stands in the way.
        word: the last word of a job's status.
        encrypts: the storage holds its files under a key of KMS, so that its ETags are no MD5s.
        concurrent: downloads whose body is open now; `most_concurrent`: at their peak.
    """

    def __init__(
        self,
        clock: FakeClock,
        files: Mapping[str, bytes] | None = None,
        *,
        replication: float = 20 * 60,
        rule: Literal["rolling", "calendar"] = "rolling",
        tells_when: bool = True,
        link_seconds: float = 3600,
        late_keys: tuple[str, ...] = (),
        late_seconds: float = 60,
        wires: tuple[Tripwire, ...] = (),
    ) -> None:
        self.clock = clock
        self.files: dict[str, bytes] = dict(small_files() if files is None else files)
        self.replication = replication
        self.word = '"Running"'
        self.rule = rule
        self.tells_when = tells_when
        self.link_seconds = link_seconds
        self.late_keys = late_keys
        self.late_seconds = late_seconds
        self.wires = wires
        self.faults: list[DownloadFault] = []
        self.triggers: dict[str, datetime] = {}
        self.failed_jobs: set[str] = set()
        self.calls: list[str] = []
        self.requests: list[tuple[str, int]] = []
        self.marks: list[str | None] = []
        self.rejects_secret = False
        self.tells_guid = False
        self.encrypts = False
        self.chunk = 1 << 16
        self.concurrent = 0
        self.most_concurrent = 0
        self._links = itertools.count(1)
        self._good_until: dict[str, float] = {}

    def fault(
        self,
        kind: Behaviour,
        about: str = "",
        *,
        value: float = 0,
        times: int | None = 1,
        after: int = 0,
    ) -> None:
        """Switch a fault of downloads on."""
        self.faults.append(DownloadFault(kind, about, value, times, after))

    @property
    def requests_sent(self) -> int:
        return len(self.calls)

    def count(self, verb: str) -> int:
        """How often a call was made."""
        return sum(call.split(" ")[0] == verb for call in self.calls)

    def _enter(self, verb: str, subject: str = "") -> Callable[[When], None]:
        self.calls.append(f"{verb} {subject}".rstrip())
        checks = [wire.enter(verb, subject) for wire in self.wires]

        def check(when: When) -> None:
            for one in checks:
                one(when)

        check("before")
        return check

    async def authorize(self) -> None:
        check = self._enter("authorize")
        await asyncio.sleep(0)
        if self.rejects_secret:
            raise CredentialsError("the vendor refuses our client id and secret", cause="auth_rejected")
        check("after")

    async def trigger(self) -> Triggered | TooEarly:
        check = self._enter("trigger")
        await asyncio.sleep(0)
        answer = self._trigger()
        check("after")
        return answer

    def _trigger(self) -> Triggered | TooEarly:
        now = self.clock.now()
        last = max(self.triggers.values(), default=None)
        if last is not None:
            hour = last.replace(minute=0, second=0, microsecond=0)
            allowed = (last if self.rule == "rolling" else hour) + timedelta(hours=1)
            if now < allowed:
                guid = max(self.triggers, key=lambda one: self.triggers[one])
                return TooEarly(allowed if self.tells_when else None, guid if self.tells_guid else None)
        guid = f"00000000-0000-4000-8000-{len(self.triggers) + 1:012d}"
        self.triggers[guid] = now
        return Triggered(guid)

    def _age(self, job_guid: str) -> float:
        """Seconds since the export was complete."""
        if job_guid not in self.triggers:
            raise VendorError(f"the vendor does not know the job {job_guid}", cause="job_gone")
        return (self.clock.now() - self.triggers[job_guid]).total_seconds() - self.replication

    def last_word(self, job_guid: str) -> str:
        return self.word if job_guid in self.triggers else ""

    async def is_complete(self, job_guid: str) -> bool:
        check = self._enter("is_complete", job_guid)
        await asyncio.sleep(0)
        age = self._age(job_guid)
        if job_guid in self.failed_jobs:
            raise VendorError("the vendor's export failed", cause="vendor_job_failed")
        check("after")
        return age >= 0

    async def list_files(self, job_guid: str) -> tuple[ListedFile, ...]:
        check = self._enter("list_files", job_guid)
        await asyncio.sleep(0)
        age = self._age(job_guid)
        keys = [key for key in self.files if key not in self.late_keys or age >= self.late_seconds]
        if age < 0 or not keys:
            raise VendorError("the vendor lists no file", cause="url_list_empty")
        check("after")
        return self.listing(keys)

    def listing(self, keys: list[str] | None = None) -> tuple[ListedFile, ...]:
        """A list with fresh links, as the transfer is handed one."""
        return tuple(
            ListedFile(key, len(self.files[key]), self._link(key)) for key in (self.files if keys is None else keys)
        )

    async def relist(self) -> tuple[ListedFile, ...]:
        """What the transfer asks for when links have expired, without any job."""
        check = self._enter("relist")
        await asyncio.sleep(0)
        check("after")
        return self.listing()

    def _link(self, key: str) -> Secret:
        number = f"{next(self._links):08d}"
        self._good_until[number] = self.clock.monotonic() + self.link_seconds
        return Secret(f"https://bucket.s3.amazonaws.com/{quote(key)}?X-Amz-Signature=c0ffee{number}&n={number}")

    def expire_links(self) -> None:
        """From now on, no link given so far is good."""
        self._good_until = dict.fromkeys(self._good_until, float("-inf"))

    @asynccontextmanager
    async def download(self, url: Secret, *, start: int = 0, etag: str | None = None) -> AsyncIterator[_Body]:
        parts = urlsplit(url.reveal())
        key = unquote(parts.path.lstrip("/"))
        check = self._enter("download", f"{key} from {start}")
        self.requests.append((key, start))
        self.marks.append(etag)
        await asyncio.sleep(0)
        if self.clock.monotonic() >= self._good_until[parse_qs(parts.query)["n"][0]]:
            raise LinkExpired("the link of the file has expired")
        fault = next((fault for fault in self.faults if fault.strikes(key)), None)
        body = self._open(key, start, etag, fault)
        self.concurrent += 1
        self.most_concurrent = max(self.most_concurrent, self.concurrent)
        try:
            yield body
            check("after")
        finally:
            self.concurrent -= 1

    def _open(self, key: str, start: int, etag: str | None, fault: DownloadFault | None) -> _Body:
        kind = fault.kind if fault else None
        value = fault.value if fault else 0
        _refuse(kind, value)
        if kind == "replaced":
            self.files[key] = bytes(byte ^ 0xFF for byte in self.files[key])
        data = self.files.get(key)
        if data is None:
            raise VendorError("the file is not there", cause="source_missing")
        md5 = hashlib.md5(data if kind != "wrong_md5" else b"another").hexdigest()
        current = None if kind == "no_etag" else f'"{md5}"'
        if kind == "no_range":
            start = 0
        elif etag is not None and etag != current:
            raise SourceChanged("the file at the source changed")
        size = int(value) if kind == "other_size" else None if kind in {"no_size", "longer", "short"} else len(data)
        return _Body(
            start, size, current, None if self.encrypts or not current else md5, self._send(data, start, fault)
        )

    async def _send(self, data: bytes, start: int, fault: DownloadFault | None) -> AsyncIterator[bytes]:
        kind = fault.kind if fault else None
        byte = int(fault.value) if fault else 0
        if kind in {"flip", "flip_cut"}:
            at = byte // 2 if kind == "flip_cut" else byte or len(data) // 2
            data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        end = max(start, byte) if kind in {"cut", "flip_cut", "stall", "drip", "short"} else len(data)
        for offset in range(start, end, self.chunk):
            await asyncio.sleep(0)
            yield data[offset : min(offset + self.chunk, end)]
        if kind in {"cut", "flip_cut"}:
            raise NetworkError("the connection broke")
        if kind == "stall":
            await self.clock.sleep(30)
            raise NetworkError("nothing came for 30 s")
        if kind == "drip":
            for offset in range(end, len(data)):
                await self.clock.sleep(1)
                yield data[offset : offset + 1]
        while kind == "longer":
            await asyncio.sleep(0)
            yield bytes(self.chunk)


def _refuse(kind: Behaviour | None, value: float) -> None:
    if kind == "expired":
        raise LinkExpired("the link of the file has expired")
    if kind == "denied":
        raise VendorError("the vendor's storage refuses the link", cause="source_denied")
    if kind == "missing":
        raise VendorError("the file is not there", cause="source_missing")
    if kind == "busy":
        raise VendorError("the vendor's storage is busy", cause="vendor_unavailable", retry_after=value or None)
    if kind == "refused":
        raise NetworkError("connection refused", sent=False)
    if kind == "crash":
        raise RuntimeError("nobody foresaw this")
