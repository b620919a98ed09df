"""What goes wrong with a download goes wrong as it says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from yarl import URL

from simulator.client import Client, Got, vendor
from viplake.simulator import ExportShape

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.system

SIZE = 200_000


@dataclass
class Scene:
    """A download under a fault: what came, as far as it came."""

    client: Client
    entry: dict[str, Any]
    source: bytes
    status: int = 0
    headers: Any = None
    body: bytes = b""
    raised: Exception | None = None


@dataclass(frozen=True)
class Case:
    """A fault, the Range asked for, and what holds then."""

    fault: str
    holds: Callable[[Scene], object]
    asked: str = ""


def _s3(status: int, code: str, message: str = "") -> Callable[[Scene], object]:
    def holds(scene: Scene) -> bool:
        found = f"<Code>{code}</Code><Message>{message}".encode() in scene.body
        return found and scene.status == status and scene.headers["Content-Type"].startswith("application/xml")

    return holds


def _broken_after(count: int) -> Callable[[Scene], object]:
    def holds(scene: Scene) -> bool:
        broken = isinstance(scene.raised, aiohttp.ClientPayloadError)
        return broken and scene.body == scene.source[:count] and int(scene.headers["Content-Length"]) == SIZE

    return holds


def _whole(scene: Scene) -> bool:
    return scene.raised is None and scene.body == scene.source


def _dropped(scene: Scene) -> bool:
    return isinstance(scene.raised, (aiohttp.ClientError, ConnectionError)) and not scene.body


CASES = (
    Case("download:status", lambda s: s.status == 503),
    Case("download:status:value=500", lambda s: s.status == 500),
    Case("download:retry_after", lambda s: (s.status, s.headers["Retry-After"]) == (429, "7")),
    Case("download:forbidden", _s3(403, "AccessDenied", "Access Denied")),
    Case("download:not_found", _s3(404, "NoSuchKey")),
    Case("download:redirect", lambda s: s.status == 302 and s.headers["Location"] == "/_simulator/followed"),
    Case("download:reset", _dropped),
    Case("download:hang:value=0.05", _dropped),
    Case("download:html", lambda s: s.status == 200 and s.body.startswith(b"<!DOCTYPE html>")),
    Case("download:slow_headers", lambda s: isinstance(s.raised, TimeoutError) and not s.status),
    Case("download:huge_header", lambda s: isinstance(s.raised, aiohttp.ClientError)),
    Case("download:expired", _s3(403, "AccessDenied", "Request has expired")),
    Case("download:expired_token", _s3(400, "ExpiredToken")),
    Case("download:signature", _s3(403, "SignatureDoesNotMatch")),
    Case("download:denied", _s3(403, "AccessDenied", "Access Denied")),
    Case("download:missing", _s3(404, "NoSuchKey")),
    Case("download:slow_down", _s3(503, "SlowDown")),
    Case("download:xml", _s3(200, "InternalError")),
    Case("download:cut", _broken_after(SIZE // 2)),
    Case("download:cut:value=0", _broken_after(0)),
    Case("download:cut:value=1", _broken_after(1)),
    Case("download:cut:value=-1", _broken_after(SIZE - 1)),
    Case("download:ignore_range", lambda s: s.status == 200 and s.body == s.source, "bytes=5-"),
    Case("download:range_error", _s3(416, "InvalidRange"), "bytes=5-"),
    Case("download:range_error", _whole),
    Case(
        "download:bad_range",
        lambda s: s.status == 206 and s.headers["Content-Range"] == f"bytes 6-{SIZE}/{SIZE}",
        "bytes=5-",
    ),
    Case("download:etag_change", lambda s: s.headers["ETag"] == f'"{"0" * 32}"' and s.body == s.source),
    Case("download:etag_change:value=new", lambda s: s.headers["ETag"] == '"new"'),
    Case("download:stall:value=7", lambda s: isinstance(s.raised, TimeoutError) and s.body == s.source[:7]),
    Case("download:slow", lambda s: isinstance(s.raised, TimeoutError) and s.body == s.source[: len(s.body)] != b""),
    Case("download:slow:value=4000000", _whole),
    Case("download:short", lambda s: s.raised is None and s.body == s.source[:-1]),
    Case("download:short:value=9", lambda s: s.headers["Content-Length"] == "9" and s.body == s.source[:9]),
    Case("download:long", lambda s: s.raised is None and s.body == s.source + b"\0"),
    Case("download:long:value=99999", lambda s: s.raised is None and s.body == s.source + b"\0" * 99_999),
    Case("download:endless", lambda s: isinstance(s.raised, TimeoutError) and len(s.body) > SIZE),
    Case("download:chunked", lambda s: _whole(s) and "Content-Length" not in s.headers),
    Case(
        "download:content_length",
        lambda s: (s.headers["Content-Length"], s.body) == (str(SIZE + 1), s.source) and s.raised,
    ),
    Case("download:content_length:value=-9", lambda s: s.body == s.source[:-9] and s.raised is None),
    Case("download:gzip_encoding", lambda s: _whole(s) and s.headers["Content-Encoding"] == "gzip"),
    Case(
        "download:bit_flip",
        lambda s: [at for at in range(SIZE) if s.body[at] != s.source[at]] == [SIZE // 2] and len(s.body) == SIZE,
    ),
    Case("download:bit_flip:value=0", lambda s: s.body[0] ^ s.source[0] == 1 and s.body[1:] == s.source[1:]),
    Case(
        "download:kms",
        lambda s: (
            _whole(s)
            and s.headers["x-amz-server-side-encryption"] == "aws:kms"
            and s.headers["ETag"] != f'"{hashlib.md5(s.source).hexdigest()}"'
        ),
    ),
    Case("download:bit_flip:value=7", lambda s: s.body[2] ^ s.source[7] == 1, "bytes=5-"),
)


async def play(client: Client, case: Case) -> Scene:
    """Download the one file under the fault, keeping what comes before a break."""
    entry = next(entry for entry in await client.listing() if entry["size"] == SIZE)
    (guid,) = client.vendor.jobs
    scene = Scene(client, entry, b"".join(client.vendor.source(guid, entry["key"])))
    client.vendor.faults.add(case.fault)
    headers = {"Range": case.asked} if case.asked else {}
    url = URL(entry["presignedDownloadURL"], encoded=True)
    try:
        async with client.http.get(url, headers=headers, allow_redirects=False) as response:
            scene.status, scene.headers = response.status, response.headers
            async for piece in response.content.iter_any():
                scene.body += piece
    except (aiohttp.ClientError, ConnectionError, TimeoutError, ValueError) as error:
        scene.raised = error
    return scene


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.fault + case.asked)
async def test_a_fault_does_what_it_documents_and_leaves_nothing_behind(case: Case) -> None:
    async with vendor(export=ExportShape(sizes=(SIZE, 10, 20))) as client:
        if case.fault.split(":")[1] in {"slow_headers", "stall", "slow", "endless"}:  # the client has to end these
            client.http._timeout = aiohttp.ClientTimeout(total=0.3)
        scene = await play(client, case)
        assert case.holds(scene), (scene.status, scene.headers, len(scene.body), scene.raised)
        client.vendor.faults.clear()
        assert (await client.get(scene.entry)).body == scene.source


async def test_D9_a_changed_etag_fails_if_match() -> None:
    async with vendor("download:etag_change:after=1") as client:
        entry = (await client.listing())[5]
        etag = (await client.get(entry)).headers["ETag"]
        assert (await client.get(entry, Range="bytes=5-", If_Match=etag)).status == 412


async def test_D6_a_cut_counts_the_bytes_of_the_answer_not_of_the_file() -> None:
    async with vendor(export=ExportShape(sizes=(SIZE,))) as client:
        scene = await play(client, Case("download:cut:value=3", bool, "bytes=10-"))
        assert scene.status == 206
        assert scene.body == scene.source[10:13]


async def test_a_fault_befalls_matching_files_alone() -> None:
    async with vendor("download:missing:file=Voyage_2*") as client:
        found: dict[bool, set[int]] = {True: set(), False: set()}
        for entry in await client.listing():
            got: Got = await client.get(entry)
            found["/Voyage_2" in entry["key"]].add(got.status)
        assert found == {True: {404}, False: {200}}


async def test_every_file_can_be_cut_once() -> None:
    async with vendor("download:cut:each=true,times=1", export=ExportShape(sizes=(5000, 6000))) as client:
        entries = [entry for entry in await client.listing() if entry["key"].endswith(".gz")]
        for entry in entries:
            with pytest.raises(aiohttp.ClientPayloadError):
                await client.get(entry)
            assert len((await client.get(entry)).body) == entry["size"]


async def test_faults_of_one_download_add_up() -> None:
    async with vendor(export=ExportShape(sizes=(SIZE,))) as client:
        client.vendor.faults.add("download:gzip_encoding", "download:bit_flip:value=1")
        scene = await play(client, Case("download:cut:value=3", bool))
        assert scene.headers["Content-Encoding"] == "gzip"
        assert scene.body[1] ^ scene.source[1] == 1
        assert len(scene.body) == 3
