"""One suite over all three stores: what the rest of viplake relies on, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from fakes import DictStore
from viplake.clock import SystemClock
from viplake.errors import LakeError
from viplake.lake.store import PART_BYTES, Store, StoreSettings, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from servers.seaweed import Seaweed

STORES = ("memory", "folder", "s3", "dict")
MULTIPART = 2 * PART_BYTES + 12_345
"""Two whole parts and a rest."""


class Lost(Exception):
    """The source of a stream broke."""


def s3_settings(seaweed: Seaweed, bucket: str) -> StoreSettings:
    return seaweed.settings(f"{bucket}/below/a prefix")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(StoreSettings(f"file://{tmp_path}"))
    if request.param == "s3":
        seaweed: Seaweed = request.getfixturevalue("seaweed")
        return open_store(s3_settings(seaweed, seaweed.bucket()))
    if request.param == "dict":
        return DictStore(SystemClock())  # the tests' own: what holds over it must hold over the others
    return open_store(StoreSettings("memory://"))


async def chunked(data: bytes, size: int = 1 << 20, *, breaks: bool = False) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        await asyncio.sleep(0)
        yield data[start : start + size]
    if breaks:
        raise Lost


async def names(store: Store, prefix: str = "") -> list[str]:
    return [file.key for file in await store.files(prefix)]


def mixed(size: int) -> bytes:
    return (hashlib.sha256(b"%d" % size).digest() * (size // 32 + 1))[:size]


# -- whole or nothing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 70_000, 4 << 20])
@pytest.mark.system
async def test_a_put_object_is_read_back(store: Store, size: int) -> None:
    stored = await store.put("a/b.bin", mixed(size))
    assert (stored.key, stored.size) == ("a/b.bin", size)
    assert await store.get("a/b.bin") == mixed(size)
    assert b"".join([chunk async for chunk in store.read("a/b.bin")]) == mixed(size)


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, MULTIPART])
@pytest.mark.system
async def test_a_stream_of_any_length_is_stored_whole(store: Store, size: int) -> None:
    stored = await store.put_stream("a/b.bin", chunked(mixed(size)))
    assert (stored.key, stored.size) == ("a/b.bin", size)
    digest = hashlib.md5()
    async for chunk in store.read("a/b.bin"):
        digest.update(chunk)
    assert digest.digest() == hashlib.md5(mixed(size)).digest()
    assert [file.size for file in await store.files("a/")] == [size]


@pytest.mark.system
async def test_a_put_replaces_an_older_object_whole(store: Store) -> None:
    await store.put("a/x", b"a long first version")
    await store.put("a/x", b"short")
    assert await store.get("a/x") == b"short"
    await store.put_stream("a/x", chunked(b"a streamed third version"))
    assert await store.get("a/x") == b"a streamed third version"


@pytest.mark.parametrize("size", [0, 100, PART_BYTES - 1, PART_BYTES, MULTIPART])
@pytest.mark.system
async def test_W11_a_stream_that_breaks_raises_its_own_error_and_leaves_nothing(store: Store, size: int) -> None:
    with pytest.raises(Lost):
        await store.put_stream("a/new", chunked(mixed(size), breaks=True))
    assert await names(store) == []
    assert await store.get("a/new") is None


@pytest.mark.parametrize("size", [100, MULTIPART])
@pytest.mark.system
async def test_W11_a_stream_that_breaks_leaves_an_older_object_as_it_was(store: Store, size: int) -> None:
    await store.put("a/x", b"older")
    with pytest.raises(Lost):
        await store.put_stream("a/x", chunked(mixed(size), breaks=True))
    assert await store.get("a/x") == b"older"
    assert [file.size for file in await store.files("a/")] == [5]


@pytest.mark.parametrize("error", [LakeError("x"), OSError("x"), ValueError("x"), LookupError("x")])
@pytest.mark.system
async def test_an_error_in_a_stream_is_raised_unchanged(store: Store, error: Exception) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(0)
        raise error

    with pytest.raises(type(error)) as caught:
        await store.put_stream("a/x", broken())
    assert caught.value is error


@pytest.mark.system
async def test_a_cancelled_stream_leaves_nothing(store: Store) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1 << 20)
            begun.set()
            await asyncio.sleep(0.001)

    task = asyncio.create_task(store.put_stream("a/x", endless()))
    await begun.wait()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await names(store) == []


async def test_an_upload_that_is_cancelled_before_it_awaits_its_next_chunk_leaves_no_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The library asks for a chunk in a thread; one cancelled upload in about 600 ends before it awaits it."""

    async def asks_and_ends(_store: object, _key: str, chunks: AsyncIterator[bytes], **_options: object) -> object:
        chunks.__anext__()  # never awaited
        raise asyncio.CancelledError

    store = open_store(StoreSettings("memory://"))
    monkeypatch.setattr("obstore.put_async", asks_and_ends)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(asyncio.CancelledError):
            await store.put_stream("a/x", chunked(b"chunk"))
        gc.collect()
    assert seen == []


@pytest.mark.system
async def test_readers_see_the_old_or_the_new_object_never_a_mixture(store: Store) -> None:
    versions = [bytes([number]) * 300_000 for number in range(6)]
    await store.put("a/x", versions[0])

    async def write() -> None:
        for version in versions[1:]:
            await store.put("a/x", version)

    writer = asyncio.create_task(write())
    while not writer.done():
        assert await store.get("a/x") in versions
    await writer


# -- one winner ---------------------------------------------------------------------------------------------


@pytest.mark.system
async def test_K2_of_eight_writers_at_once_exactly_one_wins(store: Store) -> None:
    for round_ in range(2):
        key = f"ledger/{round_:04d}.json"
        records = [b"writer %d" % number for number in range(8)]
        wins = await asyncio.gather(*(store.put_if_absent(key, record) for record in records))
        assert wins.count(True) == 1
        assert await store.get(key) == records[wins.index(True)]


@pytest.mark.system
async def test_put_if_absent_never_replaces(store: Store) -> None:
    await store.put("a/x", b"first")
    assert not await store.put_if_absent("a/x", b"second")
    assert await store.get("a/x") == b"first"
    await store.delete("a/x")
    assert await store.put_if_absent("a/x", b"third")
    assert await store.get("a/x") == b"third"


# -- listings -----------------------------------------------------------------------------------------------

ODD_NAMES = ("a (1).json.gz", "b é.gz", "c %2e.gz", "d%20e.gz", "f#g.gz", "h+i&j=k.gz", "l~m'n!.gz", "日本.gz")


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.system
async def test_odd_names_stay_as_they_are(store: Store, name: str) -> None:
    key = f"Hourly/20220510/13/{name}"
    await store.put(key, b"put")
    assert await names(store, "Hourly/20220510/13/") == [key]
    await store.put_stream(key, chunked(mixed(70_000)))
    assert await names(store, "Hourly/20220510/13/") == [key]
    assert await store.get(key) == mixed(70_000)
    await store.delete(key)
    assert await store.put_if_absent(key, b"created")
    assert await store.get(key) == b"created"
    assert await names(store) == [key]


@pytest.mark.system
async def test_files_come_by_key_from_all_depths_below_the_prefix_alone(store: Store) -> None:
    keys = ["p/2/b", "p/10/a", "p/2/a", "p/2/c/d", "p2/x", "q", "p/1"]
    for key in keys:
        await store.put(key, key.encode())
    assert await names(store) == sorted(keys)
    assert await names(store, "p/") == ["p/1", "p/10/a", "p/2/a", "p/2/b", "p/2/c/d"]
    assert await names(store, "p/2/") == ["p/2/a", "p/2/b", "p/2/c/d"]
    assert await names(store, "nothing/") == []


@pytest.mark.system
async def test_M8_a_listing_goes_beyond_a_thousand(store: Store) -> None:
    keys = [f"many/{number:04d}" for number in range(1_005)]
    for start in range(0, len(keys), 50):
        await asyncio.gather(*(store.put(key, b"") for key in keys[start : start + 50]))
    assert await names(store, "many/") == keys


@pytest.mark.system
async def test_pages_list_the_same_as_files(store: Store) -> None:
    keys = [f"day/{number % 24:02d}/{number:04d}" for number in range(1100)]
    for start in range(0, len(keys), 50):
        some = enumerate(keys[start : start + 50])
        await asyncio.gather(*(store.put(key, b"x" * (number % 5)) for number, key in some))
    found = {}
    async for page in store.pages("day/"):
        assert len(page.keys) == len(page.sizes) <= 1000
        for place, (key, size) in enumerate(zip(page.keys, page.sizes, strict=True)):
            found[key] = (size, page.etag(place))
    assert found == {file.key: (file.size, file.etag) for file in await store.files("day/")}
    assert [page.keys async for page in store.pages("nothing/") if page.keys] == []


@pytest.mark.system
async def test_folders_are_the_names_right_below(store: Store) -> None:
    for key in ("h/20220511/00/a", "h/20220510/13/a", "h/20220510/14/b/c", "h/file", "i/x"):
        await store.put(key, b"1")
    assert await store.folders("h/") == ["20220510", "20220511"]
    assert await store.folders("h/20220510/") == ["13", "14"]
    assert await store.folders("") == ["h", "i"]
    assert await store.folders("none/") == []


@pytest.mark.system
async def test_the_etag_of_a_put_is_the_one_that_listings_show(store: Store) -> None:
    small = await store.put("a/small", b"1")
    large = await store.put_stream("a/large", chunked(mixed(MULTIPART)))
    listed = {file.key: file.etag for file in await store.files("a/")}
    assert listed == {"a/small": small.etag, "a/large": large.etag}
    assert None not in listed.values()
    again = await store.put("a/small", b"2")
    assert again.etag != small.etag


@pytest.mark.system
async def test_s3_has_a_checksum_of_the_whole_object_after_any_upload(seaweed: Seaweed) -> None:
    bucket = seaweed.bucket()
    settings = s3_settings(seaweed, bucket)
    store, data = open_store(settings), mixed(MULTIPART)
    await store.put("whole", data)
    await store.put_stream("parts", chunked(data))
    client = boto3.client(
        "s3",
        endpoint_url=seaweed.endpoint,
        aws_access_key_id=seaweed.access_key,
        aws_secret_access_key=seaweed.secret_key,
        region_name=seaweed.region,
        config=Config(proxies={}),
    )
    with contextlib.closing(client):
        heads = [
            client.head_object(Bucket=bucket, Key=f"below/a prefix/{name}", ChecksumMode="ENABLED")
            for name in ("whole", "parts")
        ]
    whole, parts = (head["ChecksumCRC64NVME"] for head in heads)
    assert whole == parts


@pytest.mark.system
async def test_times_are_utc_and_about_now(store: Store) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    await store.put("a/x", b"1")
    [file] = await store.files("a/")
    assert file.modified is not None
    assert file.modified.utcoffset() == timedelta(0)
    assert before <= file.modified <= datetime.now(UTC) + timedelta(seconds=2)


# -- what is not there --------------------------------------------------------------------------------------


@pytest.mark.system
async def test_getting_a_missing_key_returns_none_and_reading_it_fails(store: Store) -> None:
    assert await store.get("none") is None
    with pytest.raises(FileNotFoundError):
        _ = [chunk async for chunk in store.read("none")]


@pytest.mark.system
async def test_delete_may_be_repeated(store: Store) -> None:
    await store.put("a/x", b"1")
    await store.put("a/y", b"1")
    await store.delete("a/x")
    await store.delete("a/x")
    await store.delete("never/there")
    assert await names(store) == ["a/y"]


@pytest.mark.system
async def test_a_get_reads_no_more_than_its_limit(store: Store) -> None:
    await store.put("a/x", bytes(1_000))
    assert await store.get("a/x", limit=1_000) == bytes(1_000)
    with pytest.raises(LakeError) as caught:
        await store.get("a/x", limit=999)
    assert caught.value.cause.word == "ledger_damaged"


@pytest.mark.system
async def test_a_sweep_takes_nothing_that_is_whole(store: Store) -> None:
    await store.put("a/x", b"1")
    await store.put("a/b/y (2).gz", b"1")
    assert await store.sweep("a/") == []
    assert await store.sweep("none/") == []
    assert await names(store) == ["a/b/y (2).gz", "a/x"]


@pytest.mark.system
@pytest.mark.parametrize("durable", [True, False])
async def test_a_write_removes_leftovers_of_killed_writers_of_the_same_file(tmp_path: Path, durable: bool) -> None:
    store = open_store(StoreSettings(f"file://{tmp_path}", durable=durable))
    for name, minutes in (("a.csv#1", 61), ("a.csv#2", 50), ("a.csv#3", 61), ("b.csv#1", 61)):
        (tmp_path / name).write_bytes(b"half")
        written = time.time() - 60 * minutes
        os.utime(tmp_path / name, (written, written))
    await store.put("a.csv", b"whole")
    assert sorted(files_in(tmp_path)) == ["a.csv", "a.csv#2", "b.csv#1"], "a younger half may still grow"
    assert await store.get("a.csv") == b"whole"


# -- what outlives the process ------------------------------------------------------------------------------

KILLED_WRITER = """
import asyncio, sys
from viplake.lake.store import StoreSettings, open_store
from viplake.redact import Secret

async def slow():
    while True:
        yield bytes(1 << 20)
        print("sent", flush=True)
        await asyncio.sleep(0.001)

url, *s3 = sys.argv[1:]
more = {}
if s3:
    more = {"endpoint": s3[0], "access_key_id": s3[1], "secret_access_key": Secret(sys.stdin.readline().strip())}
    more |= {"region": "us-east-1", "allow_http": True}
asyncio.run(open_store(StoreSettings(url, **more)).put_stream("Hourly/20220510/13/large.gz", slow()))
"""


@pytest.mark.system
def test_W12_a_writer_that_was_killed_leaves_nothing_that_a_sweep_does_not_take(tmp_path: Path) -> None:
    url = f"file://{tmp_path}"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_WRITER, url], stdout=subprocess.PIPE, env=child_environment()
    ) as writer:
        assert writer.stdout is not None
        for _ in range(40):  # more than the parts that may wait in memory: some must be on the disk
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
    assert files_in(tmp_path) == ["large.gz#1"], "the writer did leave something"

    async def resume() -> None:
        store = open_store(StoreSettings(url))
        assert await store.files("") == []
        assert await store.sweep("Hourly/20220510/13/") == ["large.gz#1"]
        await store.put_stream("Hourly/20220510/13/large.gz", chunked(b"whole"))
        assert await store.get("Hourly/20220510/13/large.gz") == b"whole"

    asyncio.run(resume())
    assert files_in(tmp_path) == ["large.gz"]


@pytest.mark.system
async def test_W12_a_writer_to_s3_that_was_killed_leaves_nothing_that_can_be_seen(seaweed: Seaweed) -> None:
    """What it leaves is an unfinished upload: the bucket's lifecycle rule clears it, see the stack."""
    url = f"s3://{seaweed.bucket()}"
    writer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", KILLED_WRITER, url, seaweed.endpoint, seaweed.access_key),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=child_environment(),
    )
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write(f"{seaweed.secret_key}\n".encode())
    for _ in range(40):  # more than the parts that may wait in memory: some must be on their way
        await writer.stdout.readline()
    writer.kill()
    await writer.communicate()
    store = open_store(replace(s3_settings(seaweed, "none"), url=url))
    assert await store.files("") == []
    await store.put_stream("Hourly/20220510/13/large.gz", chunked(b"whole"))
    assert await store.get("Hourly/20220510/13/large.gz") == b"whole"


def files_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", ["folder", "s3"])
@pytest.mark.system
async def test_a_written_object_is_visible_to_another_process(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    settings = StoreSettings(f"file://{tmp_path}")
    if kind == "s3":
        seaweed: Seaweed = request.getfixturevalue("seaweed")
        settings = s3_settings(seaweed, seaweed.bucket())
    await open_store(settings).put("a/x", b"1")
    await open_store(settings).put_stream("a/y", chunked(mixed(MULTIPART)))
    again = open_store(replace(settings))
    assert await names(again) == ["a/x", "a/y"]
    assert await again.get("a/y") == mixed(MULTIPART)


def child_environment() -> dict[str, str]:
    """For a child that imports what this process imports."""
    return {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path)}
