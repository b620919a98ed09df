"""A proxy between a client of HTTP and its server that spoils some requests, and passes all others byte for byte.

It stands in front of a real server (SeaweedFS, the simulator), so that what a client does after a fault meets a server
that knows what had come before it: an answer that is lost was given, a request that was cut has half arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

How = Literal[
    "answer",  # `answer` in place of the server's, which never hears of the request
    "answer_after",  # the server does what it was asked, then the client gets `answer`
    "lost",  # the server does what it was asked, then the connection is reset without an answer
    "reset",  # the connection is reset when the request's head has come
    "cut",  # the connection is reset after `byte` bytes of the request's body
    "stall",  # nothing is answered, for as long as the client waits
    "slow",  # the server's answer comes `byte` bytes at a time
    "answer_cut",  # the connection is reset after `byte` bytes of the answer's body
]


@dataclass
class Spoil:
    """What happens to which requests.

    Attributes:
        how: see `How`.
        about: only requests whose first line matches this pattern.
        answer: in the server's place.
        byte: see `How`.
        times: how many of them; None: all.
        after: how many of them pass before.
        head: only requests whose head holds this text.
    """

    how: How
    about: str = ""
    answer: bytes = b""
    byte: int = 0
    times: int | None = 1
    after: int = 0
    head: str = ""
    _seen: int = 0

    def strikes(self, head: str) -> bool:
        """Whether this request meets it; counts it."""
        if not re.search(self.about, head.partition("\r\n")[0]) or self.head not in head:
            return False
        self._seen += 1
        return self._seen > self.after and (self.times is None or self._seen <= self.after + self.times)


@dataclass
class Faulty:
    """A running proxy.

    Attributes:
        port: on 127.0.0.1.
        spoils: what it does; the first that strikes counts. May be changed at any time.
        requests: the first line of each request so far, and the bytes of its body.
    """

    target: tuple[str, int]
    port: int = 0
    spoils: list[Spoil] = field(default_factory=list)
    requests: list[tuple[str, int]] = field(default_factory=list)
    _serving: set[asyncio.Task[object]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self, about: str) -> int:
        """How many requests there were whose first line matches."""
        return sum(re.search(about, line) is not None for line, _ in self.requests)

    async def end(self) -> None:
        """Leave no connection behind."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            self._serving.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:  # also where the test has ended and its loop cancels what is left
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        text = head.decode("latin-1")
        length = int(found[1]) if (found := re.search(r"(?i)\r\ncontent-length: *(\d+)", text)) else 0
        self.requests.append((text.partition("\r\n")[0], length))
        spoil = next((spoil for spoil in self.spoils if spoil.strikes(text)), None)
        how = spoil.how if spoil else None
        if spoil and how == "cut":
            await reader.readexactly(min(spoil.byte, length))
        if how in {"reset", "cut"}:
            _reset(writer)
            return
        body = await reader.readexactly(length)
        if how == "stall":
            await reader.read()
            return
        if spoil and how == "answer":
            writer.write(spoil.answer)
        else:
            answer = await self._ask(head, body)
            if how == "lost":
                _reset(writer)
                return
            await _answer(writer, answer, spoil)
        await writer.drain()

    async def _ask(self, head: bytes, body: bytes) -> bytes:
        """What the server says to this request, on a connection of its own."""
        reader, writer = await asyncio.open_connection(*self.target)
        try:
            writer.write(head[:-2] + b"Connection: close\r\n\r\n" + body)
            return await reader.read()
        finally:
            writer.close()


async def _answer(writer: asyncio.StreamWriter, answer: bytes, spoil: Spoil | None) -> None:
    if spoil and spoil.how == "answer_after":
        writer.write(spoil.answer)
    elif spoil and spoil.how == "slow":
        for at in range(0, len(answer), spoil.byte):
            writer.write(answer[at : at + spoil.byte])
            await writer.drain()
            await asyncio.sleep(0.001)
    elif spoil and spoil.how == "answer_cut":
        end = answer.index(b"\r\n\r\n") + 4 + spoil.byte
        writer.write(answer[:end])
        await writer.drain()
        await asyncio.sleep(0.05)  # a reset overtakes what the other end has not read yet
        _reset(writer)
    else:
        writer.write(answer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Hang up in the face of the other end: RST, not FIN."""
    plug = writer.get_extra_info("socket")
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def faulty(server: str, *spoils: Spoil) -> AsyncIterator[Faulty]:
    """A proxy in front of `http://127.0.0.1:PORT`."""
    host, _, port = server.rpartition("/")[2].rpartition(":")
    proxy = Faulty((host, int(port)), spoils=list(spoils))
    listening = await asyncio.start_server(proxy.serve, "127.0.0.1", limit=1 << 20)
    async with listening:
        proxy.port = listening.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            await proxy.end()


def s3_error(code: str, message: str = "", status: str = "400 Bad Request") -> bytes:
    """An answer of S3 (Amazon S3 API Reference, "Error responses")."""
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    ).encode()
    lines = (f"HTTP/1.1 {status}", "Content-Type: application/xml", f"Content-Length: {len(body)}", "Connection: close")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
