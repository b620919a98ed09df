"""What a store says when it cannot: the cause, after which the run waits, goes on, or stops."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import pytest

from servers.sockets import http, playing
from viplake.errors import LakeError
from viplake.lake.store import Store, StoreSettings, open_store
from viplake.redact import Secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from servers.seaweed import Seaweed

pytestmark = pytest.mark.system

T = TypeVar("T")

WRITES = ("put", "put_if_absent", "put_stream", "delete")
READS = ("get", "read", "files", "folders")


async def block() -> AsyncIterator[bytes]:
    await asyncio.sleep(0)
    yield bytes(1 << 20)


async def collect(chunks: AsyncIterator[T]) -> list[T]:
    return [chunk async for chunk in chunks]


async def call(store: Store, verb: str) -> object:
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "put": lambda: store.put("Hourly/a", b"1"),
        "put_if_absent": lambda: store.put_if_absent("Hourly/a", b"1"),
        "put_stream": lambda: store.put_stream("Hourly/a", block()),
        "delete": lambda: store.delete("Hourly/a"),
        "get": lambda: store.get("Hourly/a"),
        "read": lambda: collect(store.read("Hourly/a")),
        "files": lambda: store.files("Hourly/"),
        "folders": lambda: store.folders(""),
    }
    return await calls[verb]()


async def cause_of(store: Store, verb: str) -> str:
    with pytest.raises(LakeError) as caught:
        await call(store, verb)
    return caught.value.cause.word


@pytest.fixture
def settings(seaweed: Seaweed) -> StoreSettings:
    return StoreSettings(
        "s3://never-created",
        access_key_id=seaweed.access_key,
        secret_access_key=Secret(seaweed.secret_key),
        region=seaweed.region,
        endpoint=seaweed.endpoint,
        allow_http=True,
    )


@pytest.mark.parametrize("verb", [*WRITES, *READS])
async def test_W5_a_bucket_that_does_not_exist_is_dest_missing(settings: StoreSettings, verb: str) -> None:
    assert await cause_of(open_store(settings), verb) == "dest_missing"


@pytest.mark.parametrize("verb", [*WRITES, *READS])
async def test_S7_a_secret_key_that_is_wrong_is_dest_auth(settings: StoreSettings, seaweed: Seaweed, verb: str) -> None:
    wrong = replace(settings, url=f"s3://{seaweed.bucket()}", secret_access_key=Secret("none of the server's keys"))
    assert await cause_of(open_store(wrong), verb) == "dest_auth"


@pytest.mark.parametrize("verb", [*WRITES, *READS])
async def test_S7_an_unknown_access_key_is_dest_auth(settings: StoreSettings, seaweed: Seaweed, verb: str) -> None:
    wrong = replace(settings, url=f"s3://{seaweed.bucket()}", access_key_id="AKIANOBODYHASIT00000")
    assert await cause_of(open_store(wrong), verb) == "dest_auth"


async def test_W3_an_identity_that_may_only_read_is_dest_denied(settings: StoreSettings, seaweed: Seaweed) -> None:
    url = f"s3://{seaweed.bucket()}"
    await open_store(replace(settings, url=url)).put("Hourly/a", b"1")
    reader = replace(
        settings,
        url=url,
        access_key_id=seaweed.reader.access_key,
        secret_access_key=Secret(seaweed.reader.secret_key),
    )
    store = open_store(reader)
    assert {verb: await cause_of(store, verb) for verb in WRITES} == dict.fromkeys(WRITES, "dest_denied")
    assert await store.get("Hourly/a") == b"1"
    assert [file.key for file in await store.files("Hourly/")] == ["Hourly/a"]


async def test_no_message_of_the_store_holds_a_secret(settings: StoreSettings, seaweed: Seaweed) -> None:
    wrong = replace(settings, secret_access_key=Secret("none of the server's keys"))
    for verb in (*WRITES, *READS):
        with pytest.raises(LakeError) as caught:
            await call(open_store(wrong), verb)
        text = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.hint}"
        assert "none of the server's keys" not in text
        assert seaweed.access_key not in text
        assert "\n" not in caught.value.message


async def test_an_endpoint_that_refuses_is_network_within_seconds(settings: StoreSettings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    store = open_store(replace(settings, endpoint=f"http://127.0.0.1:{port}"))
    begun = time.monotonic()
    causes = await asyncio.gather(*(cause_of(store, verb) for verb in (*WRITES, *READS)))
    assert set(causes) == {"network"}
    assert time.monotonic() - begun < 60, "the bound of the connect timeouts, far above what it takes"


# -- folders ------------------------------------------------------------------------------------------------


def test_a_folder_that_does_not_exist_is_folder_missing(tmp_path: Path) -> None:
    with pytest.raises(LakeError) as caught:
        open_store(StoreSettings(f"file://{tmp_path}/none"))
    assert caught.value.cause.word == "folder_missing"


def test_a_folder_is_created_on_request(tmp_path: Path) -> None:
    open_store(StoreSettings(f"file://{tmp_path}/new/lake", create=True))
    assert (tmp_path / "new" / "lake").is_dir()


@pytest.mark.parametrize("verb", [*WRITES, *READS])
async def test_a_folder_that_went_away_is_folder_missing_and_not_made_again(tmp_path: Path, verb: str) -> None:
    lake = tmp_path / "lake"
    store = open_store(StoreSettings(f"file://{lake}", create=True))
    shutil.rmtree(lake)
    assert await cause_of(store, verb) == "folder_missing"
    assert not await asyncio.to_thread(lake.exists)


@pytest.mark.parametrize("verb", ["put", "put_if_absent", "put_stream"])
async def test_W17_a_place_that_cannot_be_written_is_dest_io(tmp_path: Path, verb: str) -> None:
    await asyncio.to_thread((tmp_path / "Hourly").write_text, "a file where a folder should be")
    assert await cause_of(open_store(StoreSettings(f"file://{tmp_path}")), verb) == "dest_io"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable to root")
@pytest.mark.parametrize("verb", ["put", "put_if_absent", "put_stream"])
async def test_W17_a_folder_without_the_right_to_write_is_dest_io(tmp_path: Path, verb: str) -> None:
    await asyncio.to_thread(tmp_path.chmod, 0o500)
    assert await cause_of(open_store(StoreSettings(f"file://{tmp_path}")), verb) == "dest_io"


# -- a disk of its own --------------------------------------------------------------------------------------

# A namespace of its own: the mount needs no root and ends with the process.
SMALL_DISK = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
MOUNT = 'mount -t tmpfs -o size=3m none "$1" && shift && exec "$@"'

FILL_IT = """
import asyncio, os, sys
from urllib.parse import urlsplit
from viplake.errors import LakeError
from viplake.lake.store import StoreSettings, open_store

def has_room():
    disk = os.statvfs(urlsplit(sys.argv[1]).path)
    return disk.f_bavail * disk.f_frsize > 2 << 20

async def much():
    for _ in range(40):
        yield bytes(1 << 20)

async def main():
    store = open_store(StoreSettings(sys.argv[1]))
    await store.put("Hourly/kept", b"kept")
    for write in (
        lambda: store.put("Hourly/a", bytes(5 << 20)),
        lambda: store.put_if_absent("Hourly/b", bytes(5 << 20)),
        lambda: store.put_stream("Hourly/c", much()),
    ):
        try:
            await write()
            print("stored")
        except LakeError as error:
            print(error.cause.word)
    print([file.key for file in await store.files("")])
    await store.sweep("")
    for _ in range(300):  # what it would find is on its way out, in a thread of its own
        if has_room():
            break
        await asyncio.sleep(0.1)
    await store.put("Hourly/after", bytes(1 << 20))

asyncio.run(main())
"""


def test_W16_a_full_disk_is_disk_full_and_keeps_nothing_partial(tmp_path: Path) -> None:
    if (
        shutil.which("unshare") is None
        or subprocess.run([*SMALL_DISK, MOUNT, "sh", tmp_path, "true"], check=False).returncode
    ):
        pytest.skip("this machine lets us mount nothing, not even in a namespace")
    child = subprocess.run(
        [*SMALL_DISK, MOUNT, "sh", str(tmp_path), sys.executable, "-c", FILL_IT, f"file://{tmp_path}"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.splitlines() == ["disk_full"] * 3 + ["['Hourly/kept']"]


# -- listings and prefixes ----------------------------------------------------------------------------------


def page(*keys: str, token: str | None = None, truncated: bool = True) -> bytes:
    contents = "".join(
        f"<Contents><Key>{key}</Key><Size>1</Size><ETag>x</ETag>"
        "<LastModified>2022-05-10T13:00:00.000Z</LastModified></Contents>"
        for key in keys
    )
    listing = "" if token is None else f"<NextContinuationToken>{token}</NextContinuationToken>"
    said = f"<IsTruncated>{str(truncated).lower()}</IsTruncated>"
    body = f'<?xml version="1.0"?><ListBucketResult>{said}{listing}{contents}</ListBucketResult>'
    return http(body.encode(), "200 OK", "Content-Type: application/xml")


A_AND_B = ("Hourly/20220510/a", "Hourly/20220510/b")
ENDLESS = {
    "the same page for ever": ([page(*A_AND_B, token="again")], "token repeats", 2),
    "empty pages with the same token": ([page(token="again")], "token repeats", 2),
    "the same keys with other tokens": ([page(*A_AND_B, token=f"{n}") for n in range(9)], "the same keys", 2),
    "empty pages with other tokens": ([page(token=f"{n}") for n in range(1002)], "1,000 pages in a row", 1000),
    "truncated without a token": ([page(*A_AND_B)], "token is missing", 1),
    "truncated, empty and without a token": ([page()], "token is missing", 1),
    "a later page without a token": ([page(*A_AND_B, token="1"), page("Hourly/c")], "token is missing", 2),
    "tokens in a circle": ([page("Hourly/1", token="1"), page("Hourly/2", token="2"), page("Hourly/3", token="1")],
                           "token repeats", 3),
}  # fmt: skip


def at(url: str) -> StoreSettings:
    return StoreSettings("s3://b", "AKIA", Secret("s-0123456789"), region="x", endpoint=url, allow_http=True)


async def listed(store: Store, verb: str) -> object:
    if verb == "pages":
        return await collect(store.pages("Hourly/"))
    return await (store.files("Hourly/") if verb == "files" else store.folders("Hourly/"))


@pytest.mark.parametrize("case", ENDLESS)
@pytest.mark.parametrize("verb", ["files", "pages", "folders"])
async def test_E14_a_listing_without_an_end_or_with_a_part_missing_is_an_error_soon(case: str, verb: str) -> None:
    answers, reason, requests = ENDLESS[case]
    async with playing(*answers, a_connection=100_000) as wire:
        with pytest.raises(LakeError, match=reason) as caught:
            await listed(open_store(at(wire.url)), verb)
    assert caught.value.cause.word == "dest_refused"
    assert len(wire.requests) == requests


async def test_E14_a_continuation_token_is_followed_even_if_the_store_reports_the_end() -> None:
    async with playing(page("Hourly/a", token="1", truncated=False), page("Hourly/b", truncated=False),
                       a_connection=9) as wire:  # fmt: skip
        assert [file.key for file in await open_store(at(wire.url)).files("Hourly/")] == ["Hourly/a", "Hourly/b"]
    assert b"continuation-token=1" in wire.requests[1]


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (http(b"<html><body>Sign in</body></html>"), "intercepted"),
        (http(page(*A_AND_B).partition(b"\r\n\r\n")[2][:-30]), "dest_refused"),
        (http(b"", "200 OK"), "dest_refused"),
        (http(b'{"files": []}'), "dest_refused"),
        (http(b"", "404 Not Found"), "dest_refused"),
        (http(b"<Error><Code>NoSuchBucket</Code></Error>", "404 Not Found"), "dest_missing"),
        (http(b"", "301 Moved Permanently", "Location: https://elsewhere.example/"), "dest_region"),
    ],
    ids=["a web page", "cut", "empty", "JSON", "404 without a word", "no bucket", "a redirect"],
)
@pytest.mark.parametrize("verb", ["files", "pages", "folders"])
async def test_E14_an_answer_that_is_no_page_is_never_an_empty_listing(answer: bytes, cause: str, verb: str) -> None:
    async with playing(answer, a_connection=9) as wire:
        with pytest.raises(LakeError) as caught:
            await listed(open_store(at(wire.url)), verb)
    assert caught.value.cause.word == cause
    assert len(wire.requests) == 1


async def test_a_briefly_refused_page_is_retried_and_no_key_is_missing() -> None:
    busy = http(b"<Error><Code>SlowDown</Code></Error>", "503 Slow Down")
    answers = (page("Hourly/a", token="1"), busy, page("Hourly/b", truncated=False))
    async with playing(*answers, a_connection=9) as wire:
        pages = await collect(open_store(at(wire.url)).pages("Hourly/"))
    assert [key for one in pages for key in one.keys] == ["Hourly/a", "Hourly/b"]
    assert [b"continuation-token=1" in request for request in wire.requests] == [False, True, True]


@pytest.mark.parametrize("left_out", ["ETag", "LastModified", "Size"])
async def test_a_field_that_the_store_leaves_out_of_one_object_shifts_no_other(left_out: str) -> None:
    whole = page("Hourly/a", "Hourly/b", "Hourly/c", truncated=False).partition(b"\r\n\r\n")[2].decode()
    first, second, *rest = whole.split("<Contents>")
    second = re.sub(f"<{left_out}>.*?</{left_out}>", "", second)
    async with playing(http("<Contents>".join([first, second, *rest]).encode()), a_connection=9) as wire:
        files = await open_store(at(wire.url)).files("Hourly/")
    assert [file.key for file in files] == ["Hourly/a", "Hourly/b", "Hourly/c"]
    whole_ones = [(file.size, file.etag, file.modified is None) for file in files]
    assert whole_ones[1:] == [(1, "x", False)] * 2
    assert whole_ones[0] != whole_ones[1]


async def test_E11_a_blank_in_the_prefix_is_a_blank_in_the_keys(settings: StoreSettings, seaweed: Seaweed) -> None:
    bucket = seaweed.bucket()
    await open_store(replace(settings, url=f"s3://{bucket}/My%20Data")).put("a", b"1")
    whole = open_store(replace(settings, url=f"s3://{bucket}"))
    assert [file.key for file in await whole.files("")] == ["My Data/a"]
