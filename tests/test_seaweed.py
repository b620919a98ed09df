"""The S3 of the tests keeps the promises that the lake is built on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError

from servers.seaweed import Identity

if TYPE_CHECKING:
    from servers.seaweed import Seaweed

pytestmark = pytest.mark.system


async def test_a_put_object_is_listed_and_read_back(seaweed: Seaweed) -> None:
    store = seaweed.store(seaweed.bucket())
    await obstore.put_async(store, "IMOSDL/Hourly/20220510/13/Voyages", b"rows")
    listed = await obstore.list(store, prefix="IMOSDL").collect_async()
    assert [(entry["path"], entry["size"]) for entry in listed] == [("IMOSDL/Hourly/20220510/13/Voyages", 4)]
    got = await obstore.get_async(store, "IMOSDL/Hourly/20220510/13/Voyages")
    assert bytes(await got.bytes_async()) == b"rows"


async def test_only_the_first_of_two_writers_creates_an_object(seaweed: Seaweed) -> None:
    store = seaweed.store(seaweed.bucket())
    await obstore.put_async(store, "claim", b"first", mode="create")
    with pytest.raises(AlreadyExistsError):
        await obstore.put_async(store, "claim", b"second", mode="create")
    assert bytes(await (await obstore.get_async(store, "claim")).bytes_async()) == b"first"


async def test_buckets_are_fresh_and_many(seaweed: Seaweed) -> None:
    for _ in range(12):
        store = seaweed.store(seaweed.bucket())
        assert await obstore.list(store).collect_async() == []
        await obstore.put_async(store, "one", b"1")


async def test_a_missing_bucket_is_an_error(seaweed: Seaweed) -> None:
    with pytest.raises(FileNotFoundError, match="NoSuchBucket"):
        await obstore.put_async(seaweed.store("nobody-made-this"), "one", b"1")


async def test_the_reader_reads_but_never_writes(seaweed: Seaweed) -> None:
    bucket = seaweed.bucket()
    await obstore.put_async(seaweed.store(bucket), "one", b"1")
    reader = seaweed.store(bucket, seaweed.reader)
    assert bytes(await (await obstore.get_async(reader, "one")).bytes_async()) == b"1"
    with pytest.raises(PermissionDeniedError):
        await obstore.put_async(reader, "two", b"2")


async def test_a_wrong_secret_is_refused(seaweed: Seaweed) -> None:
    liar = Identity("liar", seaweed.access_key, "canary-not-the-secret", ())
    with pytest.raises(BaseError, match=r"403|SignatureDoesNotMatch|AccessDenied"):
        await obstore.put_async(seaweed.store(seaweed.bucket(), liar), "one", b"1")
