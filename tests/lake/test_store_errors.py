"""What a store says when it cannot: the cause, after which the run waits, goes on, or stops."""

from __future__ import annotations

import asyncio
import os
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
from viplake.network.settings import Network, Timeouts
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
async def test_S7_an_access_key_that_nobody_has_is_dest_auth(
    settings: StoreSettings, seaweed: Seaweed, verb: str
) -> None:
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


def test_a_folder_is_made_where_that_is_asked_for(tmp_path: Path) -> None:
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
import asyncio, sys
from viplake.errors import LakeError
from viplake.lake.store import StoreSettings, open_store

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
    await store.sweep("")  # what it would find is on its way out, in a thread of its own
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


def page(*keys: str, token: str) -> bytes:
    contents = "".join(
        f"<Contents><Key>{key}</Key><Size>1</Size><ETag>x</ETag>"
        "<LastModified>2022-05-10T13:00:00.000Z</LastModified></Contents>"
        for key in keys
    )
    listing = f"<NextContinuationToken>{token}</NextContinuationToken>{contents}"
    body = f'<?xml version="1.0"?><ListBucketResult><IsTruncated>true</IsTruncated>{listing}</ListBucketResult>'
    return http(body.encode(), "200 OK", "Content-Type: application/xml")


@pytest.mark.parametrize("keys", [("Hourly/a", "Hourly/b"), ()], ids=["the same page", "empty pages"])
@pytest.mark.parametrize("verb", ["files", "pages"])
async def test_E14_a_listing_that_repeats_its_token_is_an_error_soon(keys: tuple[str, ...], verb: str) -> None:
    network = Network(timeouts=Timeouts(read=1))
    async with playing(page(*keys, token="again"), a_connection=100_000) as wire:
        store = open_store(
            StoreSettings(
                "s3://b",
                "AKIA",
                Secret("s-0123456789"),
                region="x",
                endpoint=wire.url,
                allow_http=True,
                network=network,
            )
        )
        with pytest.raises(LakeError):
            await (store.files("Hourly/") if verb == "files" else collect(store.pages("Hourly/")))


async def test_E11_a_blank_in_the_prefix_is_a_blank_in_the_keys(settings: StoreSettings, seaweed: Seaweed) -> None:
    bucket = seaweed.bucket()
    await open_store(replace(settings, url=f"s3://{bucket}/My%20Data")).put("a", b"1")
    whole = open_store(replace(settings, url=f"s3://{bucket}"))
    assert [file.key for file in await whole.files("")] == ["My Data/a"]
