"""I/O. One HTTP session for all requests to the vendor: verified TLS, proxies, size limits, and no URL in any error.

The files call carries the client secret in its URL, and every download link is a credential. The HTTP library
puts URLs into its exceptions; so none of them leaves this module, not even as the context of another: each is
translated here into an error that names the step and the host, and is raised after the handler has ended.

Redirects are not followed, cookies are dropped, and a body is read up to a limit, both raw and decoded.
"""

from __future__ import annotations

import re
import ssl
import zlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import aiohttp
import structlog
from yarl import URL

from viplake.errors import NetworkError
from viplake.redact import Secret, redact
from viplake.vendor.wire import HttpAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiohttp.abc import AbstractResolver

    from viplake.network.settings import Network


CONNECTIONS: Final = 256
"""At once; above any concurrency of the transfer, so that the pool is never the queue."""

ERROR_BODY: Final = 64 * 1024
"""Bytes of an answer other than 2xx that are read; they have a few hundred."""

_UNREADABLE_ENCODINGS: Final = frozenset({"br", "zstd", "compress", "x-compress"})
"""Content codings that are real and that nothing here undoes; an unknown one ("utf-8") is a mistake of its sender."""

_LONGEST_HEADER: Final = 64 * 1024
"""Bytes of a line of the head; gateways add tokens and policies of kilobytes."""

_TROUBLE: Final = (aiohttp.ClientError, OSError, TimeoutError, EOFError, ValueError)
"""What the library raises for a request that went wrong (`ValueError` for addresses that it cannot use)."""

_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_SCHEME: Final = re.compile(r"(?:^|,)\s*([\w!#$%&'*+.^`|~-]+)(?=\s+[^\s=]|\s*(?:,|$))", re.ASCII)
"""The scheme of each challenge in `Proxy-Authenticate` (RFC 9110, section 11.6.1): one header may hold several, and a
comma also parts the parameters of one. A name before `=` is a parameter."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Flight:
    """How far a request got.

    Attributes:
        step: its name in messages.
        host: that it is sent to.
        connected: it had a connection to the host, so that bytes of it may have arrived there.
        proxied: it goes through a proxy.
    """

    step: str
    host: str
    connected: bool = False
    proxied: bool = False


class Body:
    """A response: its headers have arrived, its body follows.

    Attributes:
        status: of HTTP.
        headers: names in lower case.
    """

    def __init__(self, response: aiohttp.ClientResponse, flight: _Flight) -> None:
        self._response = response
        self._flight = flight
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, undecoded.

        Raises:
            NetworkError: it breaks, or stalls.
        """
        while True:
            failure = None
            chunk = b""
            try:
                chunk = await self._response.content.readany()
            except _TROUBLE as error:
                failure = _failure(error, self._flight)
            if failure:
                raise failure
            if not chunk:
                return
            yield chunk

    async def read(self, cap: int) -> HttpAnswer:
        """The whole answer, decoded; with a flaw where it is longer than `cap` bytes or cannot be decoded."""
        codings = [one.strip().casefold() for one in self.headers.get("content-encoding", "").split(",")]
        if coding := next((one for one in codings if one in _UNREADABLE_ENCODINGS), ""):
            return HttpAnswer(self.status, self.headers, b"", f"has the encoding {coding}, which was not asked for")
        decoder: zlib._Decompress | None = None
        data = bytearray()
        begun = False
        cap = cap if self.status < 300 else min(cap, ERROR_BODY)  # noqa: PLR2004 - HTTP
        try:
            async for chunk in self.chunks():
                if not begun:
                    decoder, begun = _decoder(codings, chunk), True
                data += decoder.decompress(chunk, cap + 1 - len(data)) if decoder else chunk
                if len(data) > cap:
                    flaw = f"is longer than {cap} bytes"
                    return HttpAnswer(self.status, self.headers, bytes(data[:cap]), flaw, excessive=True)
        except zlib.error:
            return HttpAnswer(self.status, self.headers, bytes(data), "has a broken encoding")
        except NetworkError as error:
            error.came = HttpAnswer(self.status, self.headers, bytes(data), "broke off")
            raise
        cut = decoder is not None and bool(data) and not decoder.eof
        return HttpAnswer(self.status, self.headers, bytes(data), "has a broken encoding" if cut else None)


def _decoder(codings: list[str], first: bytes) -> zlib._Decompress | None:
    """What undoes the coding that the first bytes show, whatever the header says; None where none was applied."""
    if first[:2] == b"\x1f\x8b"[: len(first)]:  # gzip, which no text begins with
        return zlib.decompressobj(31)
    if "deflate" in codings and first:
        zlib_header = first[0] & 15 == 8 and int.from_bytes(first[:2]) % 31 == 0  # noqa: PLR2004 - RFC 1950
        return zlib.decompressobj(15 if zlib_header else -15)
    return None


class Http:
    """An HTTP session, shared by all calls to the vendor.

    Args:
        network: how hosts are reached.
        resolver: resolves host names; None: the system's resolver.

    Attributes:
        requests_sent: number of requests so far.
    """

    def __init__(
        self,
        network: Network,
        *,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._resolver = resolver
        self.network = network
        self._tls = trust(network)
        self._session: aiohttp.ClientSession | None = None
        self.requests_sent = 0

    async def __aenter__(self) -> Self:
        """Open it."""
        self._session = self._new_session()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it, and all its connections."""
        if self._session:
            await self._session.close()
        self._session = None

    async def call(
        self,
        step: str,
        method: str,
        url: Secret | str,
        *,
        seconds: float,
        cap: int,
        headers: Mapping[str, Secret | str] | None = None,
        body: Secret | bytes | None = None,
        alone: bool = False,
    ) -> HttpAnswer:
        """One request with one whole answer, whatever its status.

        Args:
            step: its name in messages and logs.
            method: of HTTP.
            url: sent byte for byte.
            seconds: for all of it.
            cap: bytes of the answer, decoded as well as raw; of a refusal, at most 64 KiB.
            headers: further ones; secrets among them are revealed only to the socket.
            body: likewise.
            alone: on a connection of its own, so that no idle one that has died meanwhile can lose the request.

        Raises:
            NetworkError: no whole answer; `sent=False` where the host surely got nothing.
        """
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=self.network.timeouts.connect)
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip", **(headers or {})}
        session = self._new_session() if alone else self._opened()
        try:
            async with self._request(session, step, method, url, headers=headers, body=body, timeout=timeout) as got:
                answer = await got.read(cap) if isinstance(got, Body) else got
        finally:
            if alone:
                await session.close()
        log.debug("request to the vendor", step=step, status=answer.status, bytes=len(answer.body), flaw=answer.flaw)
        return answer

    @asynccontextmanager
    async def open(self, step: str, url: Secret, headers: Mapping[str, str]) -> AsyncIterator[Body | HttpAnswer]:
        """GET a body of any length, as it is sent; an `HttpAnswer` (with a flaw) where no HTTP came back.

        Raises:
            NetworkError: no answer.
        """
        timeout = aiohttp.ClientTimeout(
            total=None,
            connect=self.network.timeouts.queue,
            sock_connect=self.network.timeouts.connect,
            sock_read=self.network.timeouts.stall,
        )
        headers = {"Accept-Encoding": "identity", **headers}
        async with self._request(self._opened(), step, "GET", url, headers=headers, timeout=timeout) as got:
            yield got

    @asynccontextmanager
    async def _request(
        self,
        session: aiohttp.ClientSession,
        step: str,
        method: str,
        url: Secret | str,
        *,
        headers: Mapping[str, Secret | str],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the library's own deadlines, not ours
        body: Secret | bytes | None = None,
    ) -> AsyncIterator[Body | HttpAnswer]:
        flight = _Flight(step, "")
        response = None
        failure: NetworkError | HttpAnswer | None = None
        try:
            target = URL(_revealed(url), encoded=True)
            flight.host = target.host or ""
            proxy = self.network.proxy_for(_revealed(url))
            flight.proxied = proxy is not None
            self.requests_sent += 1
            response = await session.request(
                method,
                target,
                headers={name: _revealed(value) for name, value in headers.items()},
                data=body.reveal().encode() if isinstance(body, Secret) else body,
                proxy=proxy.address if proxy else None,
                proxy_headers={"Proxy-Authorization": proxy.authorization} if proxy and proxy.authorization else None,
                timeout=timeout,
                allow_redirects=False,
                trace_request_ctx=flight,
            )
        except _TROUBLE as error:
            failure = _unusable(error, flight) or _failure(error, flight)
        finally:
            target = URL()
        if isinstance(failure, NetworkError):
            raise failure
        if response is None:
            yield failure or HttpAnswer(0)
            return
        try:
            yield Body(response, flight)
        finally:
            response.release()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the session is not open: use it as a context manager")
        return self._session

    def _new_session(self) -> aiohttp.ClientSession:
        progress = aiohttp.TraceConfig()
        progress.on_connection_create_end.append(_note_connection)
        progress.on_connection_reuseconn.append(_note_connection)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=self._tls, resolver=self._resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "viplake"},
            auto_decompress=False,
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
            trust_env=False,
            trace_configs=[progress],
        )


async def _note_connection(_session: object, context: object, _params: object) -> None:
    context.trace_request_ctx.connected = True  # type: ignore[attr-defined] # the library's namespace, untyped


def _revealed(value: Secret | str) -> str:
    return value.reveal() if isinstance(value, Secret) else value


def trust(network: Network) -> ssl.SSLContext:
    """Return what verifies the other end: the system's roots, and the certificates of the network besides."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if network.ca:
        context.load_verify_locations(cadata=network.ca)
    return context


# -- the library's exceptions -----------------------------------------------------------------------------


def _unusable(error: BaseException, flight: _Flight) -> HttpAnswer | None:
    """An answer that is no HTTP (endless headers, a broken status line), where that is what went wrong."""
    spoke = isinstance(error, aiohttp.ClientResponseError) and not isinstance(error, aiohttp.ClientHttpProxyError)
    return HttpAnswer(0, flaw="is no valid HTTP") if spoke and flight.connected else None


def _failure(error: BaseException, flight: _Flight) -> NetworkError:
    """What went wrong, in words that hold no URL."""
    cause, reason = _diagnosis(error, flight)
    return NetworkError(f"the {flight.step} call to {flight.host}: {reason}", cause=cause, sent=flight.connected)


def _diagnosis(error: BaseException, flight: _Flight) -> tuple[str, str]:
    """The cause word and the reason."""
    before = flight.proxied and not flight.connected
    root = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(error, aiohttp.ClientHttpProxyError):
        if error.status == 407:  # noqa: PLR2004 - HTTP: proxy authentication required
            return "proxy_auth", _wanted_by(error)
        return "proxy", f"the proxy answered {error.status}"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return "proxy", f"the proxy cannot be reached ({_words(root)})"
    if isinstance(root, ssl.SSLError) and not isinstance(root, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "tls", _tls_words(root)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "tls", _tls_words(error.certificate_error)
    reason = _plain_reason(error, root, connected=flight.connected)
    return ("proxy", f"through the proxy: {reason}") if before else ("network", reason)


def _wanted_by(error: aiohttp.ClientHttpProxyError) -> str:
    """What a proxy wants that asks for a login: schemes other than Basic no client of ours speaks."""
    offered = ", ".join(error.headers.getall("Proxy-Authenticate", [])) if error.headers else ""
    schemes = list(dict.fromkeys(_SCHEME.findall(_QUOTED.sub("", offered))))
    if schemes and all(scheme.casefold() != "basic" for scheme in schemes):
        spoken = redact(", ".join(schemes))[:100]
        return f"the proxy speaks {spoken} only, and viplake speaks Basic alone (407)"
    return "the proxy wants other credentials (407)"


def _plain_reason(error: BaseException, root: BaseException, *, connected: bool) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name cannot be resolved"
    if isinstance(error, TimeoutError):
        return "no answer in time" if connected else "no connection in time"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer broke off"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it hung up without an answer"
    return _words(root)


def _tls_words(error: BaseException) -> str:
    detail = getattr(error, "verify_message", None) or getattr(error, "reason", None) or "handshake failed"
    return f"its certificate or TLS cannot be trusted ({redact(str(detail))})"


def _words(error: BaseException) -> str:
    """An operating system's words; those of others might quote a URL."""
    text = error.strerror if isinstance(error, OSError) else None
    return redact(text) if isinstance(text, str) and text and "://" not in text else type(error).__name__
