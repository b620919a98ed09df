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

from extract.vendor_rig import HASTY, Rig, rig
from fakes import FakeClock, FakeVendor
from viplake.extract.transfer import Landed, TransferSettings, land
from viplake.lake.store import Store, StoreSettings, open_store
from viplake.redact import Secret

if TYPE_CHECKING:
    from servers.seaweed import Seaweed

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


@pytest.mark.parametrize(
    "faults",
    [
        ["download:expired:times=1,each=true"],
        ["download:expired_token:times=1,each=true"],
        ["download:signature:times=1,each=true"],
        ["download:denied:times=1,each=true"],
        ["download:missing:times=1,each=true"],
        ["download:slow_down:times=2,each=true"],
        ["download:status:times=2,each=true,value=500"],
        ["download:retry_after:times=1,each=true,value=30"],
        ["download:cut:times=1,each=true,value=0"],
        ["download:cut:times=1,each=true,value=1"],
        ["download:cut:times=2,each=true,value=mid"],
        ["download:cut:times=1,each=true,value=-1"],
        ["download:cut:times=1,each=true", "download:ignore_range:after=1,times=1,each=true"],
        ["download:cut:times=1,each=true", "download:range_error:after=1,times=1,each=true"],
        ["download:cut:times=1,each=true", "download:bad_range:after=1,times=1,each=true"],
        ["download:cut:times=1,each=true", "download:etag_change:after=1,times=1,each=true"],
        ["download:cut:times=1,each=true", "download:expired:after=1,times=1,each=true"],
        ["download:stall:times=1,each=true"],
        ["download:short:times=1,each=true"],
        ["download:long:times=1,each=true"],
        ["download:endless:times=1,each=true"],
        ["download:content_length:times=1,each=true"],
        ["download:xml:times=1,each=true"],
        ["download:html:times=1,each=true"],
        ["download:bit_flip:times=1,each=true"],
        ["download:reset:times=1,each=true"],
        ["download:chunked"],
        ["download:gzip_encoding"],
        ["files:stale_urls:times=1"],
    ],
    ids=" ".join,
)
async def test_D1_to_D22_what_heals_lands_byte_for_byte(faults: list[str]) -> None:
    store = open_store(StoreSettings("memory://"))
    async with rig(*faults, deadlines=HASTY) as scene:
        landed, truth = await land_all(scene, store)
        assert {name: str(error) for name, error in landed.failed.items()} == {}
        assert await contents(store) == truth
        assert {proof.name: proof.size for proof in landed.proven} == {name: len(data) for name, data in truth.items()}


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("denied", "source_denied"),
        ("signature", "source_denied"),
        ("missing", "source_missing"),
        ("short", "integrity"),
        ("long", "integrity"),
        ("endless", "integrity"),
        ("redirect", "vendor_contract"),
        ("xml", "integrity"),
        ("html", "integrity"),
    ],
)
async def test_D3_to_D18_what_does_not_heal_fails_alone_and_is_never_stored(fault: str, cause: str) -> None:
    store = open_store(StoreSettings("memory://"))
    async with rig(f"download:{fault}:file={LARGEST}", deadlines=HASTY) as scene:
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


async def test_no_link_and_no_secret_in_what_a_failure_says() -> None:
    async with rig("download:denied") as scene:
        landed, _ = await land_all(scene, open_store(StoreSettings("memory://")))
        for error in landed.failed.values():
            text = f"{error!r} {error.hint} {error.__cause__!r} {error.__context__!r}"
            assert "X-Amz" not in text
            assert "apiToken" not in text


async def test_X2_a_transfer_that_is_cancelled_leaves_no_unfinished_upload_on_s3(seaweed: Seaweed) -> None:
    bucket = seaweed.bucket()
    store = open_store(
        StoreSettings(
            f"s3://{bucket}",
            access_key_id=seaweed.access_key,
            secret_access_key=Secret(seaweed.secret_key),
            region=seaweed.region,
            endpoint=seaweed.endpoint,
            allow_http=True,
        )
    )
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
            tell=lambda progress: enough.set() if progress.bytes > 40 << 20 else None,
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
