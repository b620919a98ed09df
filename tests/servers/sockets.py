"""Small servers that misbehave on purpose, and certificates of our own: what the simulator is too well-bred for."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@dataclass
class Wire:
    """A server that plays back bytes.

    Attributes:
        port: on 127.0.0.1.
        requests: what each request said, head and body.
        connections: how many there were.
    """

    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One request, head and body; empty where the other end left."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
    length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
    return head + await reader.readexactly(int(length.partition(b":")[2]))


@asynccontextmanager
async def playing(*answers: bytes, a_connection: int = 1, tls: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    """A server that answers one request after the other with these bytes (the last one for ever).

    Args:
        a_connection: so many answers each; then it hangs up, in the face of a further request if need be.
    """
    wire = Wire()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire.connections += 1
        try:
            with contextlib.suppress(ConnectionError):
                for _ in range(a_connection):
                    if not (request := await read_request(reader)):
                        break
                    wire.requests.append(request)
                    writer.write(answers[min(len(wire.requests), len(answers)) - 1])
                    await writer.drain()
                else:
                    if a_connection > 1:
                        await reader.read(1)  # a further request meets a closed door
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", ssl=tls)
    async with server:
        wire.port = server.sockets[0].getsockname()[1]
        yield wire


@contextlib.contextmanager
def black_hole(host: str = "127.0.0.2", port: int = 0) -> Iterator[int]:
    """A port that does not respond: its queue of connections is full, so the system drops all further packets."""
    with contextlib.ExitStack() as held:
        listening = held.enter_context(socket.socket())
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(0)
        address = listening.getsockname()
        for _ in range(8):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield address[1]


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """An answer as bytes."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class ForwardProxy:
    """A forward proxy that knows CONNECT.

    Attributes:
        port: on 127.0.0.1.
        targets: what it was asked to connect to.
        heads: the heads of the requests.
        user, password: whom it serves; None: everybody.
        refusal: an answer that it gives instead of connecting.
    """

    port: int = 0
    targets: list[str] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    user: str | None = None
    password: str = ""
    refusal: bytes = b""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        finally:  # also where the test has ended and its loop cancels what is left
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_request(reader)
        if not head:
            return
        self.heads.append(head)
        target = head.split(b" ")[1].decode()
        self.targets.append(target)
        login = base64.b64encode(f"{self.user}:{self.password}".encode())
        if self.user is not None and b"Basic " + login not in head:
            writer.write(http(b"", "407 Proxy Authentication Required", 'Proxy-Authenticate: Basic realm="x"'))
        elif self.refusal:
            writer.write(self.refusal)
        else:
            await self._tunnel(target, reader, writer)
        with contextlib.suppress(ConnectionError):
            await writer.drain()

    async def _tunnel(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = target.rpartition(":")
        there_reader, there_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))
        finally:
            there_writer.close()


async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while chunk := await source.read(1 << 16):
                target.write(chunk)
                await target.drain()
    finally:
        target.close()


@asynccontextmanager
async def forward_proxy(
    *, user: str | None = None, password: str = "", refusal: bytes = b""
) -> AsyncIterator[ForwardProxy]:
    """A running proxy."""
    proxy = ForwardProxy(user=user, password=password, refusal=refusal)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1")
    async with server:
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy


@dataclass(frozen=True)
class Authority:
    """A certificate authority of our own.

    Attributes:
        file: its certificate, PEM.
        pem: key and certificate of `server`, for one in another process.
        server: for a server that it vouches for, at 127.0.0.1 and `localhost`.
        elsewhere: likewise, for another host.
        expired: likewise, no longer good.
    """

    file: Path
    pem: Path
    server: ssl.SSLContext
    elsewhere: ssl.SSLContext
    expired: ssl.SSLContext


def authority(folder: Path) -> Authority:
    """Make one, in an empty folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test Authority")])
    builder = _certificate(name, name, key.public_key(), days=1)
    root = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(
        key, hashes.SHA256()
    )
    file = folder / "authority.pem"
    file.write_bytes(root.public_bytes(serialization.Encoding.PEM))

    def server(label: str, hosts: list[x509.GeneralName], days: int) -> ssl.SSLContext:
        own = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, label)])
        leaf = _certificate(subject, name, own.public_key(), days=days)
        signed = leaf.add_extension(x509.SubjectAlternativeName(hosts), critical=False).sign(key, hashes.SHA256())
        pem = folder / f"{label}.pem"
        pem.write_bytes(
            own.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + signed.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return context

    here: list[x509.GeneralName] = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]
    return Authority(
        file,
        folder / "server.pem",
        server("server", here, 1),
        server("elsewhere", [x509.DNSName("elsewhere.example")], 1),
        server("expired", here, -1),
    )


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=3))
        .not_valid_after(now + timedelta(days=days))
    )
