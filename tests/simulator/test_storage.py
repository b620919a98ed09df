"""The simulated file storage signs, expires and serves ranges as S3 does."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from yarl import URL

from simulator.client import START, Client, vendor
from viplake.simulator import ExportShape
from viplake.simulator.signing import Signer

pytestmark = pytest.mark.system


def _code(body: bytes) -> str:
    return body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()


async def test_U14_a_url_expires_by_its_own_date() -> None:
    async with vendor(url_lifetime_seconds=600) as client:
        entry = (await client.listing())[5]
        client.clock.forward(600)
        assert (await client.get(entry)).status == 200
        client.clock.forward(1)
        got = await client.get(entry)
        assert (got.status, _code(got.body)) == (403, "AccessDenied")
        assert b"Request has expired" in got.body


async def test_the_requested_lifetime_wins_if_it_is_shorter() -> None:
    async with vendor(url_lifetime_seconds=600) as client:
        guid = await client.complete()
        entry = (await client.files(guid, expirationInMinutes="1")).json()[5]
        assert "X-Amz-Expires=60&" in entry["presignedDownloadURL"]
        longer = (await client.files(guid, expirationInMinutes="60")).json()[5]
        assert "X-Amz-Expires=600&" in longer["presignedDownloadURL"]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("X-Amz-Signature=", "X-Amz-Signature=0", "SignatureDoesNotMatch"),
        ("X-Amz-Expires=3600", "X-Amz-Expires=7200", "SignatureDoesNotMatch"),
        ("Voyage_2", "Voyage_3", "SignatureDoesNotMatch"),
        ("X-Amz-Credential=ASIA", "X-Amz-Credential=AKIA", "InvalidAccessKeyId"),
        ("X-Amz-Date=2022", "X-Amz-Date=MMXXII", "AuthorizationQueryParametersError"),
        ("&X-Amz-Signature=", "&Other=", "AccessDenied"),
        ("?", "?versionId=1&", "SignatureDoesNotMatch"),
    ],
)
async def test_a_changed_url_is_refused(old: str, new: str, code: str) -> None:
    async with vendor() as client:
        entry = next(entry for entry in await client.listing() if "/Voyage_2" in entry["key"])
        assert (await client.get(entry)).status == 200
        url = entry["presignedDownloadURL"]
        assert old in url
        got = await client.get({"presignedDownloadURL": url.replace(old, new)})
        assert got.status in {400, 403}
        assert _code(got.body) == code


def _botocore_url(client: Client, key: str, at: datetime) -> str:
    """The URL that botocore, which shares no code with the simulator, signs with the same keys."""
    signer = client.vendor.signer
    keys = Credentials(signer.access_key, signer.secret_key, signer.session_token)
    request = AWSRequest(method="GET", url=f"{client.vendor.base_url}/files/{key}")
    auth = S3SigV4QueryAuth(keys, "s3", signer.region, expires=900)
    request.context["timestamp"] = at.strftime("%Y%m%dT%H%M%SZ")
    request.headers["host"] = urlsplit(request.url).netloc
    auth._modify_request_before_signing(request)
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    auth._inject_signature_to_request(request, signature)
    return str(request.url)


async def test_botocore_and_the_simulator_agree_on_signatures() -> None:
    async with vendor() as client:
        entry = (await client.listing())[5]
        at = client.clock.now()
        theirs = _botocore_url(client, entry["key"], at)
        assert (await client.get({"presignedDownloadURL": theirs})).status == 200
        ours = client.vendor.signer.sign(theirs.partition("?")[0], at, 900)
        assert ours.partition("X-Amz-Signature=")[2] == theirs.partition("X-Amz-Signature=")[2]


def test_odd_names_are_signed_by_their_bytes() -> None:
    signer = Signer("AKID", "key", "session")
    url = signer.sign("http://host:1/files/a%20%28b%29/%C3%A9+.gz", START, 60)
    assert signer.refusal("host:1", url.removeprefix("http://host:1"), START) is None
    assert signer.refusal("other", url.removeprefix("http://host:1"), START) is not None


def test_U15_a_url_of_the_future_is_refused() -> None:
    signer = Signer("AKID", "key", "session")
    url = signer.sign("http://host/files/a", START + timedelta(seconds=30), 60)
    refusal = signer.refusal("host", url.removeprefix("http://host"), START)
    assert refusal is not None
    assert refusal.message == "Request is not valid yet"
    assert signer.refusal("host", url.removeprefix("http://host"), START + timedelta(seconds=30)) is None


async def test_a_signed_url_of_nothing_is_not_found() -> None:
    async with vendor() as client:
        url = client.vendor.signer.sign(f"{client.vendor.base_url}/files/DEMO/x/nothing.gz", client.clock.now(), 60)
        got = await client.get({"presignedDownloadURL": url})
        assert (got.status, _code(got.body)) == (404, "NoSuchKey")


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=100-", 100, 5000), ("bytes=10-99", 10, 100), ("bytes=-7", 4993, 5000),
     ("bytes=4999-9999", 4999, 5000), ("bytes=-9999", 0, 5000)],
)  # fmt: skip
async def test_a_range_is_served(asked: str, start: int, stop: int) -> None:
    async with vendor(export=ExportShape(sizes=(5000,))) as client:
        entry = next(entry for entry in await client.listing() if entry["size"] == 5000)
        whole = (await client.get(entry)).body
        got = await client.get(entry, Range=asked)
        assert got.status == 206
        assert got.headers["Content-Range"] == f"bytes {start}-{stop - 1}/5000"
        assert got.body == whole[start:stop]


@pytest.mark.parametrize("asked", ["bytes=5000-", "bytes=9000-9001"])
async def test_D8_a_range_behind_the_end_is_416(asked: str) -> None:
    async with vendor(export=ExportShape(sizes=(5000,))) as client:
        entry = next(entry for entry in await client.listing() if entry["size"] == 5000)
        got = await client.get(entry, Range=asked)
        assert (got.status, _code(got.body)) == (416, "InvalidRange")
        assert got.headers["Content-Range"] == "bytes */5000"


@pytest.mark.parametrize("asked", ["bytes=x-", "lines=1-2", "bytes=-", "bytes=9-2"])
async def test_an_invalid_range_is_ignored(asked: str) -> None:
    async with vendor() as client:
        entry = (await client.listing())[5]
        got = await client.get(entry, Range=asked)
        assert (got.status, len(got.body)) == (200, entry["size"])


async def test_if_match_holds_a_range_to_one_version() -> None:
    async with vendor() as client:
        entry = (await client.listing())[5]
        etag = (await client.get(entry)).headers["ETag"]
        assert (await client.get(entry, Range="bytes=5-", If_Match=etag)).status == 206
        got = await client.get(entry, Range="bytes=5-", If_Match='"other"')
        assert (got.status, _code(got.body)) == (412, "PreconditionFailed")


async def test_a_big_file_has_a_multipart_etag_and_any_offset_is_reproducible() -> None:
    size = 9 * 1024 * 1024 + 17
    async with vendor(export=ExportShape(files=1, total_bytes=size)) as client:
        (entry,) = await client.listing()
        whole = await client.get(entry)
        assert len(whole.body) == entry["size"] == size
        assert whole.headers["ETag"].strip('"').endswith("-2")
        assert whole.body == b"".join(client.vendor.source(next(iter(client.vendor.jobs)), entry["key"]))
        for start in (1, 65_535, 1_048_576, 5_000_001, size - 1):
            got = await client.get(entry, Range=f"bytes={start}-")
            assert got.body == whole.body[start:]
        assert gzip.decompress(whole.body).splitlines()


async def test_D17_an_empty_file_is_served() -> None:
    async with vendor(export=ExportShape(sizes=(0, 10))) as client:
        entry = next(entry for entry in await client.listing() if entry["size"] == 0)
        got = await client.get(entry)
        assert (got.status, got.body, got.headers["Content-Length"]) == (200, b"", "0")


async def test_a_file_was_modified_when_its_export_was_complete() -> None:
    async with vendor() as client:
        got = await client.get((await client.listing())[5])
        assert got.headers["Last-Modified"] == "Tue, 10 May 2022 13:22:11 GMT"
        assert datetime(2022, 5, 10, 13, 22, 11, tzinfo=UTC) == client.clock.now()


async def test_D21_a_body_goes_on_when_its_url_expires() -> None:
    async with vendor(export=ExportShape(files=1, total_bytes=30_000_000), url_lifetime_seconds=60) as client:
        (entry,) = await client.listing()
        async with client.http.get(URL(entry["presignedDownloadURL"], encoded=True)) as response:
            first = await response.content.readexactly(1000)
            client.clock.forward(61)
            rest = await response.read()
        assert len(first + rest) == entry["size"]
        assert (await client.get(entry)).status == 403
