"""Downloads over real sockets: what the client makes of a file storage that misbehaves."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from fakes import FakeClock
from servers.sockets import http, playing
from vendor.rig import HASTY, Keys, client, failure, rig
from viplake.errors import NetworkError, VendorError
from viplake.redact import Secret
from viplake.vendor.links import read_refusal
from viplake.vendor.port import LinkExpired, ListedFile, SourceChanged
from viplake.vendor.wire import HttpAnswer

pytestmark = pytest.mark.system


async def test_a_download_has_size_etag_and_checksum_of_the_source() -> None:
    async with rig() as r:
        file = await r.a_file()
        async with r.vendor.download(file.url) as download:
            data = b"".join([chunk async for chunk in download.chunks()])
            assert (download.start, download.size) == (0, len(data))
            assert download.md5 == hashlib.md5(data).hexdigest()
            assert download.etag == f'"{download.md5}"'
        assert await r.fetch(file, start=1000, etag=download.etag) == data[1000:]


@pytest.mark.parametrize(
    ("fault", "kind", "cause"),
    [
        pytest.param("expired", LinkExpired, "source_denied", id="D1 expired"),
        pytest.param("expired_token", LinkExpired, "source_denied", id="D2 expired_token"),
        pytest.param("signature", VendorError, "source_denied", id="D3 signature"),
        pytest.param("denied", VendorError, "source_denied", id="D3 denied"),
        pytest.param("missing", VendorError, "source_missing", id="D4 missing"),
        pytest.param("status:value=500", VendorError, "vendor_unavailable", id="D5 status:value=500"),
        pytest.param("slow_down", VendorError, "vendor_unavailable", id="D5 slow_down"),
        pytest.param("retry_after:value=9", VendorError, "vendor_unavailable", id="D5 retry_after:value=9"),
        pytest.param("xml", VendorError, "integrity", id="D15 xml"),
        pytest.param("html", VendorError, "integrity", id="D15 N6 html"),
        pytest.param("redirect", VendorError, "vendor_contract", id="D18 A10 redirect"),
        pytest.param("huge_header", VendorError, "vendor_contract", id="A7 huge_header"),
    ],
)
async def test_a_refused_download_is_one_request_and_one_cause(fault: str, kind: type[VendorError], cause: str) -> None:
    async with rig() as r:
        file = await r.a_file()
        r.sim.faults.add(f"download:{fault}")
        error = await failure(r.fetch(file))
        assert type(error) is kind
        assert error.cause.word == cause
        assert r.sim.requests.count("download") == 1, "one request, no retries"


async def test_D5_a_busy_storage_gives_a_time_to_wait() -> None:
    async with rig("download:retry_after:value=9") as r:
        error = await failure(r.fetch(await r.a_file()))
        assert isinstance(error, VendorError)
        assert error.retry_after == 9


@pytest.mark.parametrize("at", ["0", "1", "mid", "-1"])
async def test_D6_a_cut_is_raised_inside_the_iterator(at: str) -> None:
    async with rig(f"download:cut:value={at},times=1") as r:
        file = await r.a_file()
        got = b""
        with pytest.raises(NetworkError) as caught:  # noqa: PT012 - what came before the cut counts
            async with r.vendor.download(file.url) as download:
                async for chunk in download.chunks():
                    got += chunk
        assert caught.value.transient
        assert len(got) <= {"0": 0, "1": 1, "mid": file.size // 2, "-1": file.size - 1}[at]
        rest = await r.fetch(file, start=len(got), etag=download.etag)
        assert len(got + rest) == file.size


async def test_D7_a_range_that_is_ignored_starts_at_0() -> None:
    async with rig() as r:
        file = await r.a_file()
        r.sim.faults.add("download:ignore_range")
        async with r.vendor.download(file.url, start=100) as download:
            assert download.start == 0


@pytest.mark.parametrize("fault", ["range_error", "bad_range", "etag_change"])
async def test_D8_D9_another_file_or_part(fault: str) -> None:
    async with rig() as r:
        file = await r.a_file()
        async with r.vendor.download(file.url) as download:
            etag = download.etag
        r.sim.faults.add(f"download:{fault}")
        assert isinstance(await failure(r.fetch(file, start=100, etag=etag)), SourceChanged)


@pytest.mark.parametrize("fault", ["stall", "hang:value=5"])
async def test_D10_a_stall_is_raised_inside_the_iterator(fault: str) -> None:
    async with rig(network=HASTY) as r:
        file = await r.a_file()
        r.sim.faults.add(f"download:{fault}")
        error = await failure(r.fetch(file))
        assert isinstance(error, NetworkError)
        assert error.transient


async def test_D14_a_body_shorter_than_declared_breaks_off() -> None:
    async with rig() as r:
        file = await r.a_file()
        r.sim.faults.add("download:content_length:value=5")
        assert isinstance(await failure(r.fetch(file)), NetworkError)


async def test_D14_an_undeclared_size_is_none() -> None:
    async with rig() as r:
        file = await r.a_file()
        r.sim.faults.add("download:chunked")
        async with r.vendor.download(file.url) as download:
            assert download.size is None
            assert sum([len(chunk) async for chunk in download.chunks()]) == file.size


async def test_D16_content_encoding_is_left_as_it_is() -> None:
    async with rig() as r:
        file = await r.a_file()
        plain = await r.fetch(file)
        r.sim.faults.add("download:gzip_encoding")
        assert await r.fetch(file) == plain


async def test_D17_an_empty_file() -> None:
    async with playing(http(b"", "200 OK", 'ETag: "d41d8cd98f00b204e9800998ecf8427e"')) as wire:
        assert await whole(f"{wire.url}/empty") == b""


async def whole(url: str) -> bytes:
    """A file from anywhere on this machine."""
    vendor = client("http://127.0.0.1:1", FakeClock(), Keys())
    async with vendor, vendor.download(Secret(url, remember=False)) as download:
        return b"".join([chunk async for chunk in download.chunks()])


async def test_D19_a_host_that_cannot_be_reached() -> None:
    async with playing(b"") as gone:
        pass
    error = await failure(whole(f"{gone.url}/file?X-Amz-Signature=c0ffee"))
    assert isinstance(error, NetworkError)
    assert (error.cause.word, error.sent) == ("network", False)
    assert "127.0.0.1" in error.message
    assert "c0ffee" not in error.message


async def test_D21_a_link_that_expires_meanwhile_still_brings_the_rest() -> None:
    async with rig() as r:
        file = await r.a_file()
        async with r.vendor.download(file.url) as download:
            r.clock.advance(7200)
            assert sum([len(chunk) async for chunk in download.chunks()]) == file.size


async def test_a_reader_that_stops_early_leaves_a_client_that_goes_on() -> None:
    async with rig() as r:
        file = await r.a_file()
        async with r.vendor.download(file.url) as download:
            async for _ in download.chunks():
                break
        assert len(await r.fetch(file)) == file.size


async def test_U11_a_link_is_checked_again_before_it_is_followed() -> None:
    async with rig() as r:
        for url in ("http://10.0.0.1/x", "https://files.example.net/x", "ftp://127.0.0.1/x"):
            error = await failure(r.fetch(ListedFile("x", 1, Secret(url, remember=False))))
            assert error.cause.word == "url_rejected"


async def test_U14_an_expired_link_is_not_even_tried() -> None:
    async with rig("files:stale_urls") as r:
        assert isinstance(await failure(r.fetch(await r.a_file())), LinkExpired)
        assert r.sim.requests.count("download") == 0


async def test_U14_a_link_expires_while_we_hold_it() -> None:
    async with rig() as r:
        file = await r.a_file()
        r.clock.advance(3601)
        assert isinstance(await failure(r.fetch(file)), LinkExpired)
        assert r.sim.requests.count("download") == 0


async def test_U15_a_link_from_the_near_future_is_waited_for() -> None:
    async with rig("files:future_urls:value=30") as r:
        file = await r.a_file()
        assert len(await r.fetch(file)) == file.size
        assert r.clock.slept
        assert sum(r.clock.slept) <= 60


async def test_U15_a_link_from_the_far_future_is_not_even_tried() -> None:
    async with rig("files:future_urls:value=3000") as r:
        assert isinstance(await failure(r.fetch(await r.a_file())), LinkExpired)
        assert r.sim.requests.count("download") == 0


async def test_a_link_goes_out_byte_for_byte() -> None:
    path = "/a%2Fb%20c/%C3%A9+(1);,=&'~?X-Amz-Credential=a%2Fb%2f&x=+%20&y=%7e~;z"
    async with playing(http(b"data")) as wire:
        assert await whole(wire.url + path) == b"data"
        assert wire.requests[0].startswith(f"GET {path} HTTP/1.1\r\n".encode())
        assert b"accept-encoding: identity" in wire.requests[0].lower()
        assert b"authorization" not in wire.requests[0].lower()


async def test_N7_an_idle_connection_that_died_is_replaced() -> None:
    async with playing(http(b"data"), a_connection=2) as wire:
        async with client("http://127.0.0.1:1", FakeClock(), Keys()) as vendor:
            for _ in range(5):
                async with vendor.download(Secret(f"{wire.url}/x", remember=False)) as download:
                    assert [chunk async for chunk in download.chunks()] == [b"data"]
        assert wire.connections >= 2


@pytest.mark.parametrize("fault", ["stale_urls", "future_urls:value=7200"])
async def test_E24_links_that_are_bad_by_our_clock_in_a_second_list_too_are_tried(fault: str) -> None:
    async with rig(f"files:{fault}") as r:
        guid = await r.complete()
        first, second = [(await r.vendor.list_files(guid))[0] for _ in range(2)]
        assert isinstance(await failure(r.fetch(first)), LinkExpired)
        assert r.sim.requests.count("download") == 0
        again = (await r.vendor.list_files(guid))[0]
        assert (await failure(r.fetch(again))).cause.word == "source_denied"
        assert r.sim.requests.count("download") == 1
        assert second.key == again.key


async def test_E24_where_the_clock_is_the_reason_it_is_named() -> None:
    denied = b"<Error><Code>AccessDenied</Code><Message>Request is not valid yet</Message></Error>"
    answer = HttpAnswer(403, {"date": "Tue, 10 May 2022 11:05:00 GMT"}, denied)
    error = read_refusal(answer, "b.s3.amazonaws.com", datetime(2022, 5, 10, 13, 5, tzinfo=UTC))
    assert (error.cause.word, error.owner) == ("clock", "us")
    assert "120 min ahead of" in error.message


SKEWED = b"<Error><Code>RequestTimeTooSkewed</Code><ServerTime>2022-05-10T11:05:00Z</ServerTime></Error>"
EXPIRED = (
    b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message>"
    b"<ServerTime>2022-05-10T13:04:00Z</ServerTime></Error>"
)


@pytest.mark.parametrize(
    ("status", "date", "body", "cause"),
    [
        (403, "", SKEWED, "clock"),
        (403, "Tue, 10 May 2022 13:05:00 GMT", SKEWED, "clock"),
        (401, "Tue, 10 May 2022 11:05:00 GMT", b"<Error><Code>AuthenticationFailed</Code></Error>", "clock"),
        (403, "Tue, 10 May 2022 11:05:00 GMT", EXPIRED, "source_denied"),
        (403, "", SKEWED.replace(b"11:05:00Z", b"99:05"), "source_denied"),
    ],
    ids=["no Date", "the Date of a proxy", "401", "the storage's clock is ours", "no time at all"],
)
async def test_E24_the_storages_own_clock_decides_over_the_date_of_a_proxy(
    status: int, date: str, body: bytes, cause: str
) -> None:
    answer = HttpAnswer(status, {"date": date} if date else {}, body)
    error = read_refusal(answer, "b.s3.amazonaws.com", datetime(2022, 5, 10, 13, 5, tzinfo=UTC))
    assert error.cause.word == cause
