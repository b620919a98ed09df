"""I/O. The two ends of a transfer, as cheap as they can be: a vendor with its file storage, and an S3.

They exist so that a measurement is of the tool in between: each is one process with a bare HTTP parser on uvloop,
answers after a set delay, and checks no signature. What they can do alone is measured by `bench.load` and published.

    python -m bench.stub source '{"sizes": [4000, 5000], "delay": 0.025}'
    python -m bench.stub s3 '{"delay": 0.025}'

Each prints its address, and lives until its standard input closes. `GET /_stub` gives its counters.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sys
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol, cast
from urllib.parse import parse_qs, quote, unquote
from xml.sax.saxutils import escape

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POOL_BYTES: Final = 16 << 20
PIECE_BYTES: Final = 256 << 10
SINGLE_PUT_BYTES: Final = 8 << 20
"""Above, an object is taken to have come in parts, and its ETag is no MD5: the threshold of AWS's own tools."""

_PAGE: Final = 1000
_GUID: Final = "5b2c1f0e-7a54-4c86-9f5e-3d2a10c0be01"


@dataclass(slots=True)
class Asked:
    """A request, all of it."""

    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    length: int
    body: bytes = b""


@dataclass(slots=True)
class Reply:
    """An answer: a head and a body, or a body in pieces."""

    status: int = 200
    body: bytes = b""
    headers: tuple[str, ...] = ()
    pieces: Iterator[memoryview] | None = None
    length: int | None = None

    def head(self) -> bytes:
        lines = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            f"Content-Length: {len(self.body) if self.length is None else self.length}",
            *self.headers,
        )
        return "\r\n".join((*lines, "", "")).encode()


class Site(Protocol):
    """What a server answers."""

    def answer(self, asked: Asked) -> Reply:
        """The answer."""
        ...


class DelayLine:
    """Does things a fixed time later, never earlier: one timer for all, because all wait equally long."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._queue: deque[tuple[float, Callable[[], None]]] = deque()

    def after(self, act: Callable[[], None]) -> None:
        """Do it when the time has come."""
        if not self._seconds:
            act()
            return
        self._queue.append((time.monotonic() + self._seconds, act))
        if len(self._queue) == 1:
            self._loop.call_later(self._seconds, self._fire)

    def _fire(self) -> None:
        now = time.monotonic()
        while self._queue and self._queue[0][0] <= now:
            self._queue.popleft()[1]()
        if self._queue:
            self._loop.call_later(max(self._queue[0][0] - now, 0.001), self._fire)  # uvloop counts milliseconds


class Server:
    """One site behind a port, with its counters."""

    def __init__(self, site: Site, delay: float, loop: asyncio.AbstractEventLoop) -> None:
        self.site = site
        self.line = DelayLine(loop, delay)
        self.counts: Counter[str] = Counter()
        self.busy = 0
        self.peak = 0

    def received(self, connection: Connection, asked: Asked) -> None:
        if asked.path == "/_stub":
            connection.send(Reply(body=json.dumps({**self.counts, "peak": self.peak}).encode()))
            self.counts.clear()
            self.peak = 0
            return
        self.counts[asked.method] += 1
        self.busy += 1
        self.peak = max(self.peak, self.busy)
        reply = self.site.answer(asked)
        self.line.after(lambda: self._send(connection, reply))

    def _send(self, connection: Connection, reply: Reply) -> None:
        self.busy -= 1
        connection.send(reply)


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, one request at a time, as much of it as the clients here speak."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._buffer = bytearray()
        self._asked: Asked | None = None
        self._transport: asyncio.Transport
        self._pieces: Iterator[memoryview] | None = None
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._asked is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._asked = _parse(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
            if self._asked.headers.get(b"expect"):
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        asked = self._asked
        if len(self._buffer) >= asked.length:
            asked.body = bytes(self._buffer[: asked.length])
            del self._buffer[: asked.length]
            self._asked = None
            self._server.received(self, asked)

    def send(self, reply: Reply) -> None:
        if reply.pieces is None:
            self._transport.write(reply.head() + reply.body)
            return
        self._transport.write(reply.head())
        self._pieces = reply.pieces
        self._flow()

    def _flow(self) -> None:
        while self._pieces is not None and not self._paused:
            piece = next(self._pieces, None)
            if piece is None:
                self._pieces = None
            else:
                self._transport.write(piece)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flow()

    def connection_lost(self, _error: Exception | None) -> None:
        self._pieces = None


def _parse(head: bytes) -> Asked:
    first, *lines = head.split(b"\r\n")
    method, target, _ = first.split(b" ", 2)
    path, _, query = target.decode("latin-1").partition("?")
    pairs = (line.partition(b":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    if b"transfer-encoding" in headers:
        raise NotImplementedError("a chunked request")
    return Asked(method.decode(), path, query, headers, int(headers.get(b"content-length", 0)))


# -- the vendor ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Source:
    """The four calls, and files of given sizes, made from a pool of random bytes.

    Attributes:
        sizes: bytes of each file.
    """

    sizes: list[int]
    address: str = ""
    _pool: memoryview = field(default_factory=lambda: memoryview(random.Random(1).randbytes(POOL_BYTES)))  # noqa: S311
    _files: dict[str, Reply] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the heads of all answers."""
        for number, size in enumerate(self.sizes):
            digest = hashlib.md5(usedforsecurity=False)
            if size <= SINGLE_PUT_BYTES:
                for piece in self.pieces(number):
                    digest.update(piece)
            etag = digest.hexdigest() + ("" if size <= SINGLE_PUT_BYTES else f"-{-(-size // SINGLE_PUT_BYTES)}")
            headers = (
                "Content-Type: binary/octet-stream",
                "Accept-Ranges: bytes",
                f'ETag: "{etag}"',
                f"Last-Modified: {formatdate(usegmt=True)}",
                "x-amz-server-side-encryption: AES256",
            )
            self._files[name_of(number)] = Reply(headers=headers, length=size)

    def pieces(self, number: int) -> Iterator[memoryview]:
        """The bytes of a file."""
        at, left = number * 65_537 % POOL_BYTES, self.sizes[number]
        while left:
            piece = self._pool[at : at + min(left, PIECE_BYTES)]
            yield piece
            left -= len(piece)
            at = (at + len(piece)) % POOL_BYTES

    def answer(self, asked: Asked) -> Reply:
        """A file, or one of the four calls."""
        name = asked.path.rpartition("/")[2]
        if (file := self._files.get(name)) is not None:
            number = int(name.partition(".")[0].rpartition("_")[2])
            if file.length is not None and file.length <= PIECE_BYTES:
                return Reply(body=b"".join(self.pieces(number)), headers=file.headers)
            return Reply(headers=file.headers, length=file.length, pieces=self.pieces(number))
        answers: dict[str, Any] = {
            "token": {"access_token": "bench", "expires_in": 3600},
            "export": {"JobGuid": _GUID},
            "CheckJobStatus": {"JobStatus": "Complete"},
        }
        found = self._list() if "presignedUrls" in asked.path else answers.get(name)
        if found is None:
            return Reply(404)
        return Reply(body=json.dumps(found).encode(), headers=("Content-Type: application/json",))

    def _list(self) -> list[dict[str, Any]]:
        signed = (
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=ASIABENCHBENCHBENCH0%2F20220510%2Fus-east-1%2Fs3%2F"
            f"aws4_request&X-Amz-Date={datetime.now(UTC):%Y%m%dT%H%M%SZ}&X-Amz-Expires=3600&X-Amz-SignedHeaders=host"
            f"&X-Amz-Security-Token={'Q' * 700}&X-Amz-Signature={'0' * 64}"
        )
        return [
            {
                "key": f"bench/{name_of(number)}",
                "size": size,
                "presignedDownloadURL": f"{self.address}/f/{name}?{signed}",
            }
            for number, size in enumerate(self.sizes)
            for name in (name_of(number),)
        ]


def name_of(number: int) -> str:
    """The name of a file."""
    return f"Table{number % 50:02d}_{number:06d}.json.gz"


# -- the S3 -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stored:
    """An object."""

    data: bytes
    etag: str
    modified: float


@dataclass(slots=True)
class S3:
    """PUT, GET, HEAD, DELETE and ListObjectsV2 on buckets that exist as soon as they are named."""

    objects: dict[str, Stored] = field(default_factory=dict)

    def answer(self, asked: Asked) -> Reply:
        """What S3 would."""
        bucket, _, key = unquote(asked.path).removeprefix("/").partition("/")
        if not key:
            return self._of_bucket(asked, bucket)
        name = f"{bucket}/{key}"
        stored = self.objects.get(name)
        if asked.method == "PUT":
            return self._put(asked, name)
        if asked.method == "DELETE":
            self.objects.pop(name, None)
            return Reply(204)
        if asked.method not in {"GET", "HEAD"}:
            return Reply(501)
        return _error(404, "NoSuchKey") if stored is None else _shown(stored, whole=asked.method == "GET")

    def _put(self, asked: Asked, name: str) -> Reply:
        if asked.headers.get(b"if-none-match") and name in self.objects:
            return _error(412, "PreconditionFailed")
        data = _unframed(asked.body) if b"x-amz-decoded-content-length" in asked.headers else asked.body
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        self.objects[name] = Stored(data, etag, time.time())
        return Reply(headers=_marks(self.objects[name]))

    def _of_bucket(self, asked: Asked, bucket: str) -> Reply:
        query = {name: values[0] for name, values in parse_qs(asked.query, keep_blank_values=True).items()}
        if asked.method == "DELETE":  # the whole bucket with all that is in it, as no S3 would
            self.objects = {name: o for name, o in self.objects.items() if not name.startswith(f"{bucket}/")}
            return Reply(204)
        if asked.method != "GET" or query.get("list-type") != "2":
            return Reply()
        return Reply(body=self._list(bucket, query).encode(), headers=("Content-Type: application/xml",))

    def _list(self, bucket: str, query: dict[str, str]) -> str:
        whole, after = f"{bucket}/{query.get('prefix', '')}", query.get("continuation-token", "")
        keys = sorted(name[len(bucket) + 1 :] for name in self.objects if name.startswith(whole))
        delimiter, start = query.get("delimiter"), len(query.get("prefix", ""))
        folders: list[str] = []
        if delimiter:
            ends = {key: key.find(delimiter, start) for key in keys}
            folders = sorted({key[: end + 1] for key, end in ends.items() if end >= 0})
            keys = [key for key in keys if ends[key] < 0]
        left = [key for key in keys if key > after]
        page, more = left[:_PAGE], len(left) > _PAGE
        shown = quote if query.get("encoding-type") == "url" else escape
        contents = "".join(self._entry(bucket, key, shown(key)) for key in page)
        common = "".join(f"<CommonPrefixes><Prefix>{shown(one)}</Prefix></CommonPrefixes>" for one in folders)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{bucket}</Name><KeyCount>{len(page)}</KeyCount><MaxKeys>{_PAGE}</MaxKeys>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}{common}</ListBucketResult>"
        )

    def _entry(self, bucket: str, key: str, shown: str) -> str:
        stored = self.objects[f"{bucket}/{key}"]
        modified = f"{datetime.fromtimestamp(stored.modified, UTC):%Y-%m-%dT%H:%M:%S.000Z}"
        return (
            f"<Contents><Key>{shown}</Key><LastModified>{modified}</LastModified><ETag>&quot;{stored.etag}&quot;</ETag>"
            f"<Size>{len(stored.data)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )


def _shown(stored: Stored, *, whole: bool) -> Reply:
    headers = (*_marks(stored), f"Last-Modified: {formatdate(stored.modified, usegmt=True)}")
    return Reply(headers=headers, body=stored.data if whole else b"", length=len(stored.data))


def _marks(stored: Stored) -> tuple[str, ...]:
    return (f'ETag: "{stored.etag}"', "x-amz-server-side-encryption: AES256")


def _error(status: int, code: str) -> Reply:
    body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
    return Reply(status, body.encode(), ("Content-Type: application/xml",))


def _unframed(body: bytes) -> bytes:
    """A body out of its `aws-chunked` frames (size;signature CRLF data CRLF ... trailers)."""
    parts: list[bytes] = []
    at = 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end].partition(b";")[0], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2


# -- the process --------------------------------------------------------------------------------------------


async def serve(kind: str, told: dict[str, Any]) -> None:
    """Listen until standard input closes."""
    loop = asyncio.get_running_loop()
    site = Source(told["sizes"]) if kind == "source" else S3()
    server = Server(site, told.get("delay", 0.0), loop)
    listener = await loop.create_server(lambda: Connection(server), "127.0.0.1", 0, backlog=1024)
    address = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    if isinstance(site, Source):
        site.address = address
    sys.stdout.write(address + "\n")
    sys.stdout.flush()
    over = asyncio.Event()

    def watch() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=watch, daemon=True).start()
    await over.wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], json.loads(sys.argv[2])))
