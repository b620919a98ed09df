"""Proxies, certificates, and a search for secrets in everything that a failure leaves behind."""

from __future__ import annotations

import asyncio
import base64
import logging
import socket
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from structlog.testing import capture_logs
from yarl import URL

import viplake
from canary import CANARIES
from fakes import FakeClock
from servers.sockets import Authority, ForwardProxy, authority, black_hole, forward_proxy, http, playing
from vendor.rig import HASTY, Keys, Rig, client, failure, rig
from viplake.errors import NetworkError, SettingsError, ViplakeError
from viplake.network.settings import Network, Proxy, Timeouts
from viplake.redact import Secret
from viplake.vendor.http import Http, trust

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("authority"))


def proxied(address: str, ca: Authority | None = None, no_proxy: str = "") -> Network:
    """A network with this proxy, its password quoted as it must be."""
    url = URL(f"http://{address}").with_user(CANARIES.proxy_user).with_password(CANARIES.proxy_password)
    trusted = trusting(ca) if ca else Network()
    return replace(trusted, proxy=Proxy.parse(Secret(str(url))), no_proxy=no_proxy)


def trusting(ca: Authority) -> Network:
    return Network(ca=ca.file.read_text(), ca_file=ca.file)


def through(proxy: ForwardProxy, ca: Authority) -> AbstractAsyncContextManager[Rig]:
    """The simulated vendor, over https, behind this proxy."""
    return rig(tls=ca.server, network=proxied(proxy.address, ca))


# -- addresses --------------------------------------------------------------------------------------------


class SeveralAddresses(AbstractResolver):
    """Every host has these addresses, in this order; without any, no host is known."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if not self._addresses:
            raise OSError(socket.EAI_NONAME, "Name or service not known")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)
            for address in self._addresses
        ]

    async def close(self) -> None:
        pass


async def test_D19_an_unknown_host_name() -> None:
    async with Http(Network(), resolver=SeveralAddresses()) as session:
        error = await failure(session.call("token", "GET", "https://vendor.example/?x=canary", seconds=5, cap=1000))
    assert isinstance(error, NetworkError)
    assert (error.cause.word, error.sent) == ("network", False)
    assert "its name cannot be resolved" in error.message
    assert "canary" not in error.message


async def test_D20_an_address_that_swallows_packets_is_passed_over() -> None:
    async with playing(http(b"{}")) as wire:
        with black_hole("127.0.0.2", wire.port):
            url = f"http://vendor.example:{wire.port}/"
            async with Http(Network(), resolver=SeveralAddresses("127.0.0.2", "127.0.0.1")) as session:
                answer = await session.call("token", "GET", url, seconds=30, cap=1000)
                assert (answer.status, answer.body) == (200, b"{}")
            hasty = Network(timeouts=Timeouts(connect=0.3))
            async with Http(hasty, resolver=SeveralAddresses("127.0.0.2")) as session:
                error = await failure(session.call("token", "GET", url, seconds=600, cap=1000))
    assert isinstance(error, NetworkError)
    assert (error.cause.word, error.sent, error.transient) == ("network", False, True)
    assert "no connection in time" in error.message


def test_D20_no_connection_is_waited_for_longer_than_five_seconds() -> None:
    assert Timeouts().connect <= 5


# -- TLS --------------------------------------------------------------------------------------------------


async def test_N3_our_own_authority_is_trusted_where_it_is_given(ca: Authority) -> None:
    async with rig(tls=ca.server, network=trusting(ca)) as r:
        assert len(await r.fetch(await r.a_file())) > 1000


@pytest.mark.parametrize("name", ["server", "elsewhere", "expired"])
async def test_N3_N4_a_certificate_that_cannot_be_trusted(ca: Authority, name: str) -> None:
    settings: dict[str, Any] = {} if name == "server" else {"network": trusting(ca)}
    async with rig(tls=getattr(ca, name), **settings) as r:
        for call in (r.vendor.authorize(), r.vendor.trigger()):
            error = await failure(call)
            assert isinstance(error, NetworkError)
            assert (error.cause.word, error.sent) == ("tls", False)
            assert "SSL_CERT_FILE" in error.hint
        assert r.clock.slept == [], "it does not pass by itself"


def test_N3_an_authority_is_added_to_the_systems(ca: Authority) -> None:
    system = len(trust(Network()).get_ca_certs())
    assert len(trust(trusting(ca)).get_ca_certs()) == system + 1


# -- proxies ----------------------------------------------------------------------------------------------


async def test_N1_a_proxy_with_user_and_password_serves_calls_and_downloads(ca: Authority) -> None:
    serving = forward_proxy(user=CANARIES.proxy_user, password=CANARIES.proxy_password)
    async with serving as proxy, through(proxy, ca) as r:
        assert len(await r.fetch(await r.a_file())) > 1000
        assert set(proxy.targets) == {r.sim.base_url.removeprefix("https://")}
        assert not any(CANARIES.client_secret.encode() in head for head in proxy.heads)


async def test_N1_407_is_final(ca: Authority) -> None:
    async with forward_proxy(user="somebody", password="else") as proxy, through(proxy, ca) as r:
        error = await failure(r.vendor.trigger())
        assert isinstance(error, NetworkError)
        assert (error.cause.word, error.sent, error.transient) == ("proxy_auth", False, False)
        assert len(proxy.targets) == 1


async def test_E28_a_proxy_that_speaks_ntlm_alone_is_named(ca: Authority) -> None:
    refusal = http(
        b"", "407 Proxy Authentication Required", "Proxy-Authenticate: Negotiate", "Proxy-Authenticate: NTLM"
    )
    async with forward_proxy(refusal=refusal) as proxy, through(proxy, ca) as r:
        error = await failure(r.vendor.trigger())
    assert error.cause.word == "proxy_auth"
    assert "speaks Negotiate, NTLM only, and viplake speaks Basic alone" in error.message


@pytest.mark.parametrize(
    ("offered", "words"),
    [
        ("Negotiate, NTLM", "speaks Negotiate, NTLM only"),
        ("NTLM TlRMTVNTUAACAAAA==", "speaks NTLM only"),
        ('Digest realm="a, b", nonce="x", qop=auth, NTLM', "speaks Digest, NTLM only"),
        ('Negotiate, Basic realm="a, b", NTLM', "wants other credentials"),
        ("ntlm,BASIC", "wants other credentials"),
        (" , ", "wants other credentials"),
    ],
)
async def test_E28_one_header_may_offer_several_schemes(ca: Authority, offered: str, words: str) -> None:
    refusal = http(b"", "407 Proxy Authentication Required", f"proxy-authenticate: {offered}")
    async with forward_proxy(refusal=refusal) as proxy, through(proxy, ca) as r:
        error = await failure(r.vendor.trigger())
    assert error.cause.word == "proxy_auth"
    assert words in error.message


@pytest.mark.parametrize("password", ["p@ss", "p#a/s?s", "p%40ss", "pä:ss@"])
def test_E10_a_proxy_password_with_any_sign_is_sent_alike_on_every_leg(password: str) -> None:
    proxy = Proxy.parse(Secret(f"http://user:{password}@proxy.example:3128", remember=False))
    plain = unquote(password)
    assert proxy.address == "http://proxy.example:3128"
    assert proxy.authorization == "Basic " + base64.b64encode(f"user:{plain}".encode()).decode()
    assert proxy.url == f"http://user:{quote(plain, safe='')}@proxy.example:3128"


@pytest.mark.parametrize("status", ["502 Bad Gateway", "504 Gateway Timeout", "403 Forbidden"])
async def test_N2_a_proxy_that_cannot(ca: Authority, status: str) -> None:
    async with forward_proxy(refusal=http(b"<html>", status)) as proxy, through(proxy, ca) as r:
        error = await failure(r.vendor.trigger())
        assert isinstance(error, NetworkError)
        assert (error.cause.word, error.sent, error.transient) == ("proxy", False, True)
        assert len(proxy.targets) > 1, "it is tried again"


async def test_N2_a_proxy_that_is_not_there_or_hangs_up(ca: Authority) -> None:
    async with forward_proxy() as gone:
        pass
    async with forward_proxy(refusal=b"\r\n") as rude:
        for address in (gone.address, rude.address):
            async with rig(tls=ca.server, network=proxied(address, ca)) as r:
                error = await failure(r.vendor.authorize())
                assert isinstance(error, NetworkError)
                assert (error.cause.word, error.sent) == ("proxy", False)


async def test_N3_an_inspecting_proxy_without_its_ca(ca: Authority) -> None:
    async with forward_proxy() as proxy, rig(tls=ca.server, network=proxied(proxy.address)) as r:
        assert (await failure(r.vendor.authorize())).cause.word == "tls"


async def test_N5_no_proxy_is_honoured_for_calls_and_downloads(ca: Authority) -> None:
    async with forward_proxy(refusal=http(b"", "502 Bad Gateway")) as proxy:
        excepted = "s3.amazonaws.com, 127.0.0.1"
        async with rig(tls=ca.server, network=proxied(proxy.address, ca, excepted)) as r:
            assert len(await r.fetch(await r.a_file())) > 1000
            assert proxy.targets == []


@pytest.mark.parametrize(
    ("url", "no_proxy", "through"),
    [
        ("https://auth.veslink.com/x", "", True),
        ("https://auth.veslink.com/x", "veslink.com", False),
        ("https://auth.veslink.com/x", ".veslink.com", False),
        ("https://auth.veslink.com/x", "*", False),
        ("https://auth.veslink.com/x", "auth.veslink.com:443", False),
        ("https://auth.veslink.com/x", "auth.veslink.com:8443", True),
        ("https://notveslink.com/x", "veslink.com", True),
        ("https://b.s3.amazonaws.com/x", "example.com,.amazonaws.com", False),
        ("http://127.0.0.1:8000/x", "", False),
        ("https://10.1.2.3/x", "10.0.0.0/8", False),
        ("https://11.1.2.3/x", "10.0.0.0/8", True),
        ("https://[fd00::1]/x", "fd00::/8", False),
    ],
)
def test_N5_hosts_that_are_reached_through_the_proxy(url: str, no_proxy: str, through: bool) -> None:
    network = Network(Proxy.parse(Secret("http://proxy.example:3128")), no_proxy)
    assert (network.proxy_for(url) is not None) is through


def test_a_proxy_is_read_with_its_password_and_never_shown() -> None:
    proxy = Proxy.parse(Secret("http://canary-user:canary%40pass%3Aword@proxy.example:3128/"))
    assert proxy.authorization == "Basic " + base64.b64encode(b"canary-user:canary@pass:word").decode()
    assert proxy.address == "http://proxy.example:3128"
    assert proxy.url == "http://canary-user:canary%40pass%3Aword@proxy.example:3128"
    assert Proxy.parse(Secret("proxy.example:3128")).address == "http://proxy.example:3128"
    for wrong in ("socks5://canary-user:canary-word@proxy", "http://", "http://canary-word@:99999", "::", ""):
        with pytest.raises(SettingsError) as caught:
            Proxy.parse(Secret(wrong))
        assert "canary" not in str(caught.value)
    assert "canary" not in repr(proxy)


# -- the canaries -----------------------------------------------------------------------------------------


OURS = Path(viplake.__file__).parent


def everything_about(error: BaseException) -> str:
    """What any printer of errors could show of it, the hidden contexts among them."""
    parts = [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
    walked = traceback.walk_tb(error.__traceback__)  # the tests' own frames hold the rig's secret, as they must
    frames = [frame for frame, _ in walked if Path(frame.f_code.co_filename).is_relative_to(OURS)]
    assert frames
    parts += [repr(frame.f_locals) for frame in frames]
    seen: set[int] = set()
    chain: list[BaseException | None] = [error]
    while chain:
        link = chain.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        parts += [repr(link), str(link)]
        chain += [link.__cause__, link.__context__]
    return "\n".join(parts)


FAILING: dict[str, Callable[[Rig], Awaitable[Any]]] = {
    "token": lambda r: r.vendor.authorize(),
    "trigger": lambda r: r.vendor.trigger(),
    "status": lambda r: r.vendor.is_complete("7470724f-e195-416b-a2da-94e63e94f341"),
    "files": lambda r: r.vendor.list_files("7470724f-e195-416b-a2da-94e63e94f341"),
}
FAULTS = [
    *("status:value=500", "forbidden", "not_found", "redirect", "reset", "hang:value=5", "html", "huge_header"),
    *("answer_lost", "cut_body", "endless", "gzip_bomb:value=90000000", "json:value={}", "control_characters"),
]
DOWNLOAD_FAULTS = [
    *("status:value=500", "expired", "expired_token", "signature", "denied", "missing", "redirect", "reset", "html"),
    *("hang:value=5", "xml", "huge_header", "cut", "stall", "content_length", "range_error"),
]
TELLTALES = ("X-Amz-Signature=", "X-Amz-Credential=", "apiToken=c", "Bearer e", "client_secret=c")


def assert_silent(shown: str, *more: str) -> None:
    forms = [
        form
        for value in CANARIES.secret_values()
        for form in (value, URL.build(query={"x": value}).raw_query_string[2:])
    ]
    for secret in (*forms, *more, *TELLTALES):
        assert secret not in shown, secret


@pytest.mark.parametrize("call", FAILING)
async def test_no_failure_of_a_call_shows_a_secret(call: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for fault in FAULTS:
        async with rig(network=HASTY) as r:
            if call != "token":
                await r.vendor.authorize()
            token = r.vendor._authorization._token
            r.sim.faults.add(f"{call}:{fault}")
            with capture_logs() as logs:
                error = await failure(FAILING[call](r))
            assert_silent(
                everything_about(error) + repr(logs) + caplog.text, *([token.value.reveal()] if token else [])
            )


async def test_no_failure_of_a_download_shows_its_link(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for fault in DOWNLOAD_FAULTS:
        async with rig(network=HASTY) as r:
            file = await r.a_file()
            signature = URL(file.url.reveal()).query["X-Amz-Signature"]
            r.sim.faults.add(f"download:{fault}")
            with capture_logs() as logs:
                error = await failure(r.fetch(file, start=1))
            assert_silent(everything_about(error) + repr(logs) + repr(file) + caplog.text, signature)


async def test_no_failure_of_the_network_shows_a_secret(ca: Authority, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with forward_proxy() as gone:
        pass
    errors: list[ViplakeError] = []
    with capture_logs() as logs:
        async with forward_proxy(user="x") as picky:
            for network in (None, proxied(picky.address), proxied(gone.address)):
                async with rig(tls=ca.server, network=network) as r:
                    errors += [await failure(call(r)) for call in FAILING.values()]
        async with playing(b"") as nobody:
            pass
        async with client(nobody.url, FakeClock(), Keys()) as vendor:
            errors.append(await failure(vendor.list_files("7470724f-e195-416b-a2da-94e63e94f341")))
    assert {error.cause.word for error in errors} == {"tls", "proxy_auth", "proxy", "network"}
    assert_silent("\n".join(map(everything_about, errors)) + repr(logs) + caplog.text)


async def test_a_cancelled_call_shows_no_secret() -> None:
    async with rig("files:hang:value=5") as r:
        task = asyncio.create_task(r.vendor.list_files(await r.complete()))
        while r.sim.requests.count("files") == 0:  # noqa: ASYNC110 - the simulator has no event for it
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert_silent(everything_about(caught.value))
