"""I/O. The least that a client can do: GET a file, PUT its bytes, over connections that stay open; nothing checked.

Its time is what the stubs and this machine allow: a tool close to it is limited by them.

    python -m bench.load '{"files_url": "...", "s3": "...", "at_once": 48}'
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit
from urllib.request import urlopen

import uvloop

if TYPE_CHECKING:
    from collections.abc import Iterator


class Wire(asyncio.Protocol):
    """One connection: a request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._need = -1
        self._head = 0
        self._turn: asyncio.Future[bytes]
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._need < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            if not head.startswith(b"http/1.1 200"):
                self._turn.set_exception(OSError(head.decode()))
                return
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._head, self._need = end + 4, end + 4 + int(length)
        if len(self._buffer) >= self._need:
            body = bytes(self._buffer[self._head :])
            self._buffer.clear()
            self._need = -1
            self._turn.set_result(body)

    async def ask(self, request: bytes) -> bytes:
        """Send it, and give the body of the answer."""
        self._turn = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._turn


def _host(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


async def move(links: list[str], s3: str, at_once: int) -> None:
    """All files, one after the other on each of so many pairs of connections."""
    loop = asyncio.get_running_loop()
    queue: Iterator[str] = iter(links)

    async def work() -> None:
        _, source = await loop.create_connection(Wire, *_host(links[0]))
        _, target = await loop.create_connection(Wire, *_host(s3))
        for link in queue:
            parts = urlsplit(link)
            body = await source.ask(f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
            key = parts.path.rpartition("/")[2]
            head = f"PUT /load/{key} HTTP/1.1\r\nHost: {urlsplit(s3).netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
            await target.ask(head.encode() + body)

    await asyncio.gather(*(work() for _ in range(at_once)))


def main() -> None:
    """Fetch the list, move the files, say how long it took."""
    told = json.loads(sys.argv[1])
    with urlopen(told["files_url"]) as answer:  # noqa: S310 - loopback
        links = [file["presignedDownloadURL"] for file in json.load(answer)]
    begun = time.monotonic()
    uvloop.run(move(links, told["s3"], told["at_once"]))
    sys.stdout.write(json.dumps({"seconds": time.monotonic() - begun}) + "\n")


if __name__ == "__main__":
    main()
