"""What each upload to S3 asks for (checksum, encryption, storage class), by the headers that a server receives."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from servers.sockets import http, playing
from viplake.errors import LakeError
from viplake.lake.store import PART_BYTES, Checksum, Features, StoreSettings, open_store
from viplake.redact import Secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from servers.seaweed import Seaweed

pytestmark = pytest.mark.system

DATA = b"a few bytes"
MD5 = hashlib.md5(DATA).hexdigest()
SHA256 = hashlib.sha256(DATA).hexdigest()


def at(url: str, features: Features) -> StoreSettings:
    return StoreSettings(
        "s3://b", "AKIA", Secret("s-0123456789"), region="x", endpoint=url, allow_http=True, features=features
    )


async def headers_of_a_put(features: Features, etag: str = MD5) -> dict[str, str]:
    async with playing(http(b"", "200 OK", f'ETag: "{etag}"')) as wire:
        await open_store(at(wire.url, features)).put("a", DATA)
    head = wire.requests[0].partition(b"\r\n\r\n")[0].decode()
    lines = [line.partition(": ") for line in head.split("\r\n")[1:]]
    return {name.lower(): value for name, _, value in lines}


@pytest.mark.parametrize(
    ("checksum", "header", "signed"),
    [
        ("crc64nvme", "x-amz-checksum-crc64nvme", "UNSIGNED-PAYLOAD"),
        ("sha256", "x-amz-checksum-sha256", "UNSIGNED-PAYLOAD"),
        ("md5", None, SHA256),
        ("none", None, SHA256),
    ],
)
async def test_each_checksum_sends_its_header_or_signs_the_bytes(
    checksum: Checksum, header: str | None, signed: str
) -> None:
    headers = await headers_of_a_put(Features(checksum=checksum))
    assert [name for name in headers if "checksum" in name] == ([header] if header else [])
    assert headers["x-amz-content-sha256"] == signed


async def test_md5_compares_the_etag_and_another_one_is_a_damaged_upload() -> None:
    other = hashlib.md5(b"other bytes").hexdigest()
    with pytest.raises(LakeError, match="other bytes than were sent"):
        await headers_of_a_put(Features(checksum="md5"), etag=other)
    for features in (Features(checksum="none"), Features(checksum="md5", sse="aws:kms")):
        await headers_of_a_put(features, etag=other)  # with KMS no ETag is an MD5


async def test_E16_encryption_storage_class_and_payer_travel_with_each_upload() -> None:
    features = Features(
        sse="aws:kms", kms_key="key-1", storage_class="STANDARD_IA", requester_pays=True, content_type="text/html"
    )
    headers = await headers_of_a_put(features)
    assert headers["x-amz-server-side-encryption"] == "aws:kms"
    assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "key-1"
    assert headers["x-amz-storage-class"] == "STANDARD_IA"
    assert headers["x-amz-request-payer"] == "requester"
    assert headers["content-type"] == "text/html"


@pytest.mark.parametrize("checksum", ["crc64nvme", "sha256", "md5", "none"])
async def test_a_real_store_takes_small_and_large_files_with_each_checksum(
    checksum: Checksum, seaweed: Seaweed
) -> None:
    settings = replace(
        at(seaweed.endpoint, Features(checksum=checksum)),
        url=f"s3://{seaweed.bucket()}",
        access_key_id=seaweed.access_key,
        secret_access_key=Secret(seaweed.secret_key),
        region=seaweed.region,
    )
    large = bytes(range(256)) * (PART_BYTES // 256 + 100)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 1 << 20):
            yield large[start : start + (1 << 20)]

    store = open_store(settings)
    small = await store.put("small", DATA)
    await store.put_stream("large", pieces())
    assert small.etag == MD5
    assert await store.put_if_absent("small", b"other") is False
    assert await store.get("small") == DATA
    assert await store.get("large") == large
