"""The transfer over sockets: client, simulated vendor and stores are the real ones, in one process."""

from __future__ import annotations

import asyncio
import contextlib
import random
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from fakes import FakeClock, FakeVendor
from vendor.rig import HASTY, Rig, rig
from viplake.extract.transfer import Landed, TransferSettings, land
from viplake.lake.store import Store, StoreSettings, open_store

if TYPE_CHECKING:
    from servers.seaweed import Seaweed

pytestmark = pytest.mark.system

FOLDER = "IMOSDL/Hourly/20220510/13/"
LARGEST = "Invoice_Line_*"
"""Of the rig's files, by the first table of its tables' order; 200,000 bytes."""

STREAMS = TransferSettings(whole_below=100_000)
"""So that the largest file passes through in parts."""


async def land_all(rig: Rig, store: Store, *, seconds: float = 1800) -> tuple[Landed, dict[str, bytes]]:
    """What a transfer came to, and the true bytes of each file by name."""
    guid = await rig.complete()
    listed = await rig.vendor.list_files(guid)
    landed = await land(
        [file.promised() for file in listed],
        listed=listed,
        relist=lambda: rig.vendor.list_files(guid),
        vendor=rig.vendor,
        store=store,
        folder=FOLDER,
        clock=rig.clock,
        deadline=rig.clock.monotonic() + seconds,
        settings=STREAMS,
        rng=random.Random(3),
    )
    return landed, {file.name: b"".join(rig.sim.source(guid, file.key)) for file in listed}


async def contents(store: Store) -> dict[str, bytes]:
    return {file.name: await store.get(file.key) or b"" for file in await store.files("")}


CUT = "download:cut:times=1,each=true"


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(["download:expired:times=1,each=true"], id="D1 expired"),
        pytest.param([CUT, "download:expired:after=1,times=1,each=true"], id="D1 expired after a cut"),
        pytest.param(["download:expired_token:times=1,each=true"], id="D2 expired token"),
        pytest.param([CUT, "download:expired_token:after=1,times=1,each=true"], id="D2 expired token after a cut"),
        pytest.param(["download:signature:times=1,each=true"], id="D3 signature"),
        pytest.param(["download:denied:times=1,each=true"], id="D3 denied"),
        pytest.param(["download:missing:times=1,each=true"], id="D4 missing"),
        pytest.param(["download:slow_down:times=2,each=true"], id="D5 slow down"),
        pytest.param(["download:status:times=2,each=true,value=500"], id="D5 500"),
        pytest.param(["download:retry_after:times=1,each=true,value=30"], id="D5 retry after"),
        pytest.param(["download:cut:times=1,each=true,value=0"], id="D6 cut at 0"),
        pytest.param(["download:cut:times=1,each=true,value=1"], id="D6 cut at 1"),
        pytest.param(["download:cut:times=2,each=true,value=mid"], id="D6 cut in the middle"),
        pytest.param(["download:cut:times=1,each=true,value=-1"], id="D6 cut before the last byte"),
        pytest.param([CUT, "download:bad_range:after=1,times=1,each=true"], id="D6 another part"),
        pytest.param(["download:reset:times=1,each=true"], id="D6 reset"),
        pytest.param([CUT, "download:ignore_range:after=1,times=1,each=true"], id="D7 Range ignored"),
        pytest.param([CUT, "download:range_error:after=1,times=1,each=true"], id="D8 416"),
        pytest.param([CUT, "download:etag_change:after=1,times=1,each=true"], id="D9 ETag changed"),
        pytest.param(["download:stall:times=1,each=true"], id="D10 stall"),
        pytest.param(["download:short:times=1,each=true"], id="D12 short"),
        pytest.param(["download:long:times=1,each=true"], id="D13 long"),
        pytest.param(["download:endless:times=1,each=true"], id="D13 endless"),
        pytest.param(["download:content_length:times=1,each=true"], id="D14 another length"),
        pytest.param(["download:chunked"], id="D14 no length"),
        pytest.param(["download:xml:times=1,each=true"], id="D15 XML"),
        pytest.param(["download:html:times=1,each=true"], id="D15 HTML"),
        pytest.param(["download:gzip_encoding"], id="D16 Content-Encoding"),
        pytest.param(["download:bit_flip:times=1,each=true"], id="D22 bit flip, MD5 known"),
        pytest.param(
            ["download:kms", "download:bit_flip:times=1,each=true,file=*.gz,value=-5"],
            id="D22 bit flip, MD5 unknown, gzip",
        ),
        pytest.param(["files:stale_urls:times=1"], id="U14 stale"),
    ],
)
async def test_a_file_with_a_transient_fault_is_stored_byte_for_byte(faults: list[str]) -> None:
    store = open_store(StoreSettings("memory://"))
    async with rig(*faults, network=HASTY) as scene:
        landed, truth = await land_all(scene, store)
        assert {name: str(error) for name, error in landed.failed.items()} == {}
        assert await contents(store) == truth
        assert {proof.name: proof.size for proof in landed.proven} == {name: len(data) for name, data in truth.items()}


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        pytest.param("denied", "source_denied", id="D3 denied"),
        pytest.param("signature", "source_denied", id="D3 signature"),
        pytest.param("missing", "source_missing", id="D4 missing"),
        pytest.param("short", "integrity", id="D12 short"),
        pytest.param("long", "integrity", id="D13 long"),
        pytest.param("endless", "integrity", id="D13 endless"),
        pytest.param("xml", "integrity", id="D15 XML"),
        pytest.param("html", "integrity", id="D15 HTML"),
        pytest.param("redirect", "vendor_contract", id="D18 redirect"),
    ],
)
async def test_a_file_with_a_permanent_fault_fails_alone_and_is_never_stored(fault: str, cause: str) -> None:
    store = open_store(StoreSettings("memory://"))
    async with rig(f"download:{fault}:file={LARGEST}", network=HASTY) as scene:
        landed, truth = await land_all(scene, store)
        [victim] = [name for name in truth if fnmatch(name, LARGEST)]
        assert {name: error.cause.word for name, error in landed.failed.items()} == {victim: cause}
        del truth[victim]
        assert await contents(store) == truth


async def test_a_source_that_always_sends_the_same_other_bytes_outvotes_its_etag() -> None:
    store = open_store(StoreSettings("memory://"))
    async with rig(f"download:bit_flip:file={LARGEST}") as scene:
        landed, truth = await land_all(scene, store)
        assert landed.failed == {}
        different = {name for name, data in (await contents(store)).items() if data != truth[name]}
        assert len(different) == 1


async def test_two_requests_a_file_when_nothing_fails() -> None:
    async with rig() as scene:
        landed, truth = await land_all(scene, open_store(StoreSettings("memory://")))
        assert len(landed.proven) == len(truth)
        assert scene.sim.requests.count("download") == len(truth)
        assert scene.sim.requests.count("files") == 1


async def test_a_failure_message_has_no_link_and_no_secret() -> None:
    async with rig("download:denied") as scene:
        landed, _ = await land_all(scene, open_store(StoreSettings("memory://")))
        for error in landed.failed.values():
            text = f"{error!r} {error.hint} {error.__cause__!r} {error.__context__!r}"
            assert "X-Amz" not in text
            assert "apiToken" not in text


async def test_X2_a_transfer_that_is_cancelled_leaves_no_unfinished_upload_on_s3(seaweed: Seaweed) -> None:
    bucket = seaweed.bucket()
    store = open_store(seaweed.settings(bucket))
    vendor = FakeVendor(FakeClock(), {"e/large.gz": bytes(60 << 20)})
    enough = asyncio.Event()
    listed = vendor.listing()
    transfer = asyncio.create_task(
        land(
            [file.promised() for file in listed],
            listed=listed,
            relist=vendor.relist,
            vendor=vendor,
            store=store,
            folder=FOLDER,
            clock=vendor.clock,
            deadline=vendor.clock.monotonic() + 1800,
            on_progress=lambda progress: enough.set() if progress.bytes > 40 << 20 else None,
        )
    )
    await enough.wait()
    assert unfinished(seaweed, bucket) == [FOLDER + "large.gz"]
    transfer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await transfer
    assert unfinished(seaweed, bucket) == []
    assert await store.files("") == []


def unfinished(seaweed: Seaweed, bucket: str) -> list[str]:
    client = boto3.client(
        "s3",
        endpoint_url=seaweed.endpoint,
        aws_access_key_id=seaweed.access_key,
        aws_secret_access_key=seaweed.secret_key,
        region_name=seaweed.region,
        config=Config(proxies={}),
    )
    with contextlib.closing(client):
        return [upload["Key"] for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
