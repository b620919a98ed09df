"""Every network fault over every way out of the process: each leg gives it the same cause and owner.

A new way out is one entry of `LEGS`: a function that sends one request and returns the cause of its failure, and an
answer that it takes.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import BotoCoreError

from servers.postgres import postgresql, way_to
from servers.sockets import Authority, ForwardProxy, authority, forward_proxy, http, playing
from viplake.clock import SystemClock
from viplake.current.delta import DeltaTables, storage_options
from viplake.current.load.load import open_target
from viplake.errors import CAUSES, SettingsError, ViplakeError
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.store import Store, StoreSettings, open_store
from viplake.network.aws import AwsAccess, client, unreachable
from viplake.network.settings import Network, Proxy, Timeouts
from viplake.notify.apprise import Apprise
from viplake.notify.message import Message, NotSent
from viplake.notify.webhook import Webhook
from viplake.redact import Secret
from viplake.vendor.http import Http

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),  # apprise's own, of Python 3.11
]

KEY = Secret("canary-key-of-the-legs")
GOOD = http(b'{"SecretString": "{}"}', "200 OK", "Content-Type: application/json", 'ETag: "x"', "Connection: close",
            "Last-Modified: Tue, 10 May 2022 11:05:00 GMT")  # fmt: skip
LISTING = http(b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>", "200 OK", "Connection: close")


async def by_vendor(network: Network, url: str) -> str | None:
    async with Http(network) as session:
        try:
            await session.call("token", "GET", f"{url}/x", seconds=network.timeouts.call, cap=1000)
        except ViplakeError as error:
            return error.cause.word
    return None


def store(network: Network, url: str) -> Store:
    return open_store(
        StoreSettings("s3://bucket", "AKIA", KEY, region="eu-west-1", endpoint=url, allow_http=True, network=network)
    )


async def by_store(network: Network, url: str) -> str | None:
    try:
        await store(network, url).get("x")
    except ViplakeError as error:
        return error.cause.word
    return None


async def by_listing(network: Network, url: str) -> str | None:
    try:
        await store(network, url).files("x/")
    except ViplakeError as error:
        return error.cause.word
    return None


async def by_boto3(network: Network, url: str) -> str | None:
    made = client("secretsmanager", AwsAccess("AKIA", KEY, region="eu-west-1"), network, endpoint=url)
    try:
        await asyncio.to_thread(made.get_secret_value, SecretId="x")
    except BotoCoreError as error:
        found = unreachable(error, "it")
        return found.cause.word if found else repr(error)
    return None


async def by_webhook(network: Network, url: str) -> str | None:
    try:
        await Webhook(Secret(f"{url}/in", remember=False), network).send(Message("test", "s", "t", {}))
    except NotSent as error:
        return error.cause
    return None


async def by_apprise(network: Network, url: str) -> str | None:
    pytest.importorskip("apprise")
    address = url.replace("https://", "jsons://").replace("http://", "json://")
    try:
        await Apprise(Secret(f"{address}/in", remember=False), "x", network).send(Message("test", "s", "t", {}))
    except NotSent as error:
        return error.cause
    return None


async def by_deltalake(network: Network, url: str) -> str | None:
    pytest.importorskip("deltalake")
    settings = StoreSettings("s3://bucket", "AKIA", KEY, region="eu-west-1", endpoint=url, allow_http=True,
                             network=network)  # fmt: skip
    lake = Lake(open_store(settings), Layout.below("x/Hourly/"), settings.url)
    before = os.environ.get("SSL_CERT_FILE")
    tables = DeltaTables(lake, storage_options(settings), SystemClock())
    try:
        await tables.open("current", "Voyage")
    except ViplakeError as error:
        return error.cause.word
    finally:
        os.environ.pop("SSL_CERT_FILE", None)
        os.environ |= {} if before is None else {"SSL_CERT_FILE": before}
    return None


@dataclass(frozen=True)
class Leg:
    """A way out: what sends a request, and answers that it takes, the last one for ever.

    Attributes:
        once: it sends a request once. deltalake repeats one, but no test reaches it with a wrong proxy password: the
            store lists the tables before, is refused, and repeats nothing.
    """

    send: Callable[[Network, str], Awaitable[str | None]]
    good: Sequence[bytes] = (GOOD,)
    once: bool = True


LEGS = {
    "vendor": Leg(by_vendor),
    "store": Leg(by_store),
    "listing": Leg(by_listing, (LISTING,)),
    "boto3": Leg(by_boto3),
    "webhook": Leg(by_webhook),
    "apprise": Leg(by_apprise),
    "deltalake": Leg(by_deltalake, (http(b"", "404 Not Found", "Connection: close"), LISTING), once=False),
}


@dataclass
class HistoryLocation:
    """Where the legs go, and by which rules."""

    url: str
    network: Network
    proxy: ForwardProxy | None = None


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("authority"))


HASTY = Network(timeouts=Timeouts(connect=2, call=3, read=3, upload=3, aws=3))


def trusting(ca: Authority) -> Network:
    return replace(HASTY, ca=ca.file.read_text(), ca_file=ca.file)


def through(network: Network, proxy: ForwardProxy, password: str = "p@ss#1") -> Network:
    return replace(network, proxy=Proxy.parse(Secret(f"http://user:{password}@{proxy.address}", remember=False)))


async def placed(fault: str, good: Sequence[bytes], ca: Authority, stack: AsyncExitStack) -> HistoryLocation:
    """A server, or what is left of one, with this fault on the way."""
    if fault == "refused":
        async with playing(b"") as gone:
            return HistoryLocation(gone.url, HASTY)
    if fault == "no such name":
        return HistoryLocation("https://nowhere.invalid", HASTY)
    if fault == "hangs up":
        return HistoryLocation((await stack.enter_async_context(playing(b""))).url, HASTY)
    tls = {"another host": ca.elsewhere, "expired": ca.expired}.get(fault, ca.server)
    wire = await stack.enter_async_context(playing(*good, tls=tls))
    network = HASTY if fault == "unknown authority" else trusting(ca)
    url = f"https://127.0.0.1:{wire.port}"
    return (
        HistoryLocation(url, network)
        if fault not in PROXIES
        else await behind(PROXIES[fault], fault, HistoryLocation(url, network), stack)
    )


PROXIES: dict[str, dict[str, Any]] = {
    "through a proxy": {"user": "user", "password": "p@ss#1"},
    "a wrong password": {"user": "user", "password": "another"},
    "a proxy that refuses": {"refusal": http(b"", "403 Forbidden")},
    "a proxy that errs": {"refusal": http(b"", "502 Bad Gateway")},
    "excepted": {"refusal": http(b"", "502 Bad Gateway")},
    "no proxy there": {},
}


async def behind(kind: dict[str, Any], fault: str, place: HistoryLocation, stack: AsyncExitStack) -> HistoryLocation:
    """The same place behind a proxy."""
    if fault == "no proxy there":
        async with forward_proxy() as absent:
            return HistoryLocation(place.url, through(place.network, absent))
    proxy = await stack.enter_async_context(forward_proxy(**kind))
    network = through(place.network, proxy)
    return HistoryLocation(
        place.url, replace(network, no_proxy="127.0.0.0/8") if fault == "excepted" else network, proxy
    )


FAULTS = {
    "refused": "network",
    "no such name": "network",
    "hangs up": "network",
    "unknown authority": "tls",
    "another host": "tls",
    "expired": "tls",
    "directly": None,
    "through a proxy": None,
    "excepted": None,
    "a wrong password": "proxy_auth",
    "a proxy that refuses": "proxy",
    "a proxy that errs": "proxy",
    "no proxy there": "proxy",
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("leg", LEGS)
async def test_E5_E9_E10_each_leg_gives_a_network_fault_the_same_cause(leg: str, fault: str, ca: Authority) -> None:
    async with AsyncExitStack() as stack:
        place = await placed(fault, LEGS[leg].good, ca, stack)
        found = await LEGS[leg].send(place.network, place.url)
        if place.proxy and fault == "a wrong password" and LEGS[leg].once:
            assert len(place.proxy.targets) == 1, "a wrong password is sent once: accounts are locked"
        if place.proxy and fault == "excepted":
            assert place.proxy.targets == []
    assert found == FAULTS[fault]
    if cause := FAULTS[fault]:
        assert CAUSES[cause].owner == "network"


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("leg", LEGS)
async def test_E5_no_connection_takes_a_proxy_from_the_environment_on_its_own(
    leg: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    async with playing(*LEGS[leg].good) as wire:
        assert await LEGS[leg].send(HASTY, wire.url) is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_ENDPOINT", "http://127.0.0.1:9"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9"),
        ("AWS_SKIP_SIGNATURE", "true"),
        ("AWS_REQUEST_PAYER", "true"),
        ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true"),
        ("AWS_S3_EXPRESS", "true"),
        ("AWS_ALLOW_INVALID_CERTIFICATES", "true"),
    ],
)
@pytest.mark.parametrize("leg", ["store", "listing"])
async def test_E4_the_s3_library_reads_no_environment(
    leg: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    async with playing(*LEGS[leg].good) as wire:
        assert await LEGS[leg].send(HASTY, wire.url) is None
    head = wire.requests[0].lower()
    assert head.startswith(b"get /bucket/x " if leg == "store" else b"get /bucket?")
    assert b"authorization: aws4-hmac-sha256" in head
    assert b"request-payer" not in head


# -- the database -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the socket of a PostgreSQL."""
    pytest.importorskip("psycopg")
    with postgresql(tmp_path_factory.mktemp("postgres")) as sockets:
        yield sockets


async def by_database(network: Network, port: int, host: str = "127.0.0.1", mode: str = "verify-full") -> str | None:
    """Open a database as `viplake load` does, and read what it has; no proxy applies to it."""

    def work() -> None:
        url = f"postgresql://viplake:canary-word@{host}:{port}/postgres?sslmode={mode}"
        with closing(open_target(url, network)) as target:
            target.state()

    try:
        await asyncio.to_thread(work)
    except ViplakeError as error:
        return "its password is shown" if "canary-word" in f"{error} {error.hint}" else error.cause.word
    return None


@contextmanager
def database_port(fault: str, sockets: Path, ca: Authority) -> Iterator[int]:
    """The port of a database, or what is left of one, with this fault on the way."""
    if fault in {"refused", "hangs up", "silent", "speaks HTTP"}:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            if fault == "refused":
                listening.close()

            def serve() -> None:
                with suppress(OSError):
                    while True:
                        client = listening.accept()[0]
                        if fault == "speaks HTTP":
                            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                        client.close()

            serving = threading.Thread(target=serve, daemon=True)
            if fault != "silent":  # the system accepts, and nothing answers
                serving.start()
            yield port
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
        return
    tls = {"another host": ca.elsewhere, "expired": ca.expired, "no TLS": None}.get(fault, ca.server)
    breaks = {"silent later": "silent", "hangs up later": "hangs up"}.get(fault, "")
    with way_to(sockets, tls=tls, breaks=breaks) as port:  # type: ignore[arg-type] # one of its three words
        yield port


DATABASE_FAULTS = {
    **{name: cause for name, cause in FAULTS.items() if name not in PROXIES},
    "silent": "network",
    "silent later": "network",
    "hangs up later": "network",
    "no TLS": "tls",
    "speaks HTTP": "network",
}


@pytest.mark.parametrize("fault", DATABASE_FAULTS)
async def test_E9_the_database_gives_a_network_fault_the_same_cause_in_bounded_time(
    fault: str, ca: Authority, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    network = HASTY if fault == "unknown authority" else trusting(ca)
    network = replace(network, timeouts=replace(network.timeouts, database=2))
    host = "nowhere.invalid" if fault == "no such name" else "127.0.0.1"
    with database_port(fault, database, ca) as port:
        assert await by_database(network, port, host) == DATABASE_FAULTS[fault]


async def test_what_a_database_itself_refuses_is_a_matter_of_settings(ca: Authority, database: Path) -> None:
    with way_to(database, tls=ca.server) as port:
        url = f"postgresql://nobody-of-that-name@127.0.0.1:{port}/postgres?sslmode=verify-full"
        with pytest.raises(SettingsError, match="nobody-of-that-name") as failure:
            await asyncio.to_thread(open_target, url, trusting(ca))
    assert failure.value.cause.owner == "us"
