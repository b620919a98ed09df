"""Keys that the store's library refuses: one of them fails no listing."""

from __future__ import annotations

import os
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from structlog.testing import capture_logs

from history.lakes import At, export
from viplake.errors import LakeError
from viplake.history.build import HistoryLocation, ObserveSettings, observe, read_history
from viplake.history.datasets import JOBS
from viplake.lake import Lake
from viplake.lake.hours import day_folders, hour_folder, listed_days
from viplake.lake.layout import Layout
from viplake.lake.store import StoreSettings, open_store
from viplake.model import Hour
from viplake.redact import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAYOUT = Layout.below("IMOSDL/Hourly/")
HOUR = Hour.parse("2022-05-10T13")


@contextmanager
def listing(keys: list[str], *, ending: str = "<IsTruncated>false</IsTruncated>") -> Iterator[StoreSettings]:
    """An S3 that has these keys: objects of 3 bytes, and empty ones for the markers of folders (`a/`)."""

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            there = unquote(urlsplit(self.path).path).removeprefix("/b/") in keys
            self.send_response(200 if there else 404)
            self.send_header("Content-Length", "3")
            self.send_header("ETag", '"abc"')
            self.send_header("Last-Modified", "Tue, 10 May 2022 13:25:01 GMT")
            self.end_headers()

        def do_GET(self) -> None:
            asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            prefix, coded = asked.get("prefix", ""), asked.get("encoding-type") == "url"
            write = quote if coded else str
            found, folders = [], set()
            for key in sorted(key for key in keys if key.startswith(prefix)):
                rest = key.removeprefix(prefix)
                if "delimiter" in asked and "/" in rest:
                    folders.add(prefix + rest.partition("/")[0] + "/")
                else:
                    found.append(key)
            body = f"<ListBucketResult><Name>b</Name>{'<EncodingType>url</EncodingType>' if coded else ''}{ending}"
            for key in found:
                body += f"<Contents><Key>{write(key)}</Key><LastModified>2022-05-10T13:25:01.000Z</LastModified>"
                size = 0 if key.endswith(("/", "/_SUCCESS")) else 3
                body += f"<ETag>&quot;abc&quot;</ETag><Size>{size}</Size></Contents>"
            body += "".join(
                f"<CommonPrefixes><Prefix>{write(one)}</Prefix></CommonPrefixes>" for one in sorted(folders)
            )
            data = f"{body}</ListBucketResult>".encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield StoreSettings(
            "s3://b",
            access_key_id="a",
            secret_access_key=Secret("b", remember=False),
            region="us-east-1",
            endpoint=f"http://127.0.0.1:{server.server_address[1]}",
            allow_http=True,
        )
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.system
@pytest.mark.parametrize("odd", ["20220510/13//stray.json", "/stray.json", "20220510/./x", "20220510/../x"])
async def test_E2_stray_key_in_a_bucket_is_named_and_the_hours_are_listed(odd: str) -> None:
    good = [LAYOUT.file(HOUR.shift(number), "Voyage_1.json.gz") for number in range(3)]
    with listing([*good, LAYOUT.prefix + odd]) as settings, capture_logs() as logs:
        lake = Lake(open_store(settings), LAYOUT)
        assert list(await day_folders(lake, HOUR.day)) == [HOUR.shift(number) for number in range(3)]
        assert await listed_days(lake) == [HOUR.day]
        pages = [page async for page in lake.store.pages(LAYOUT.prefix)]
        lake = Lake(open_store(settings), LAYOUT)
        await day_folders(lake, HOUR.day)
        assert (await hour_folder(lake, HOUR)).sizes == {"Voyage_1.json.gz": 3}
        in_hour = [LAYOUT.prefix + odd] if "/13/" in odd else []
        assert lake.store.left_out(LAYOUT.folder(HOUR)) == in_hour
    assert [key for page in pages for key in page.keys] == good
    assert pages[0].etag(0) == "abc"
    named = [entry for entry in logs if entry["event"] == "keys_left_out"]
    assert any(repr(LAYOUT.prefix + odd) in entry["keys"] for entry in named)
    assert len({entry["prefix"] for entry in named}) == len(named)


@pytest.mark.system
async def test_E1_marker_of_a_folder_in_an_hour_is_no_file_of_it() -> None:
    folder = LAYOUT.folder(HOUR)
    files = [folder + name for name in ("Voyage_1.json.gz", "_SUCCESS", "both")]
    markers = [LAYOUT.prefix + "20220302/", folder, folder + "exports/", folder + "both/", folder + "_SUCCESS/"]
    with listing([*files, *markers]) as settings:
        lake = Lake(open_store(settings), LAYOUT)
        found = await hour_folder(lake, HOUR)
        assert found.sizes == {"Voyage_1.json.gz": 3, "_SUCCESS": 0, "both": 3}
        assert (await day_folders(lake, HOUR.day))[HOUR].sizes == found.sizes
        pages = [page async for page in lake.store.pages(LAYOUT.prefix)]
        listed = [file.key for file in await lake.store.files(LAYOUT.prefix)]
    assert sorted(key for page in pages for key in page.keys) == sorted(files) == listed


@pytest.mark.system
@pytest.mark.parametrize(
    "ending",
    [
        "<IsTruncated>true</IsTruncated>",
        "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>",
    ],
    ids=["no token", "the same token"],
)
async def test_a_listing_by_raw_keys_ends_where_the_token_repeats_or_is_missing(ending: str) -> None:
    keys = [LAYOUT.prefix + "20220510/13//stray.json"]
    with listing(keys, ending=ending) as settings, pytest.raises(LakeError, match="continuation token"):
        await open_store(settings).files(LAYOUT.prefix)


async def test_E2_name_that_is_no_text_in_a_folder_is_left_out_and_the_others_are_observed(tmp_path: Path) -> None:
    lake = Lake(open_store(StoreSettings(f"file://{tmp_path}")), LAYOUT)
    for number in range(3):
        for key, data in export(HOUR.shift(number), ("Voyage",)).items():
            await lake.store.put(key, data)
    folder = os.fsencode(tmp_path / LAYOUT.folder(HOUR))
    for name in (b"bad\xff.json", b"two\nlines.json"):
        os.close(os.open(os.path.join(folder, name), os.O_CREAT | os.O_WRONLY))  # noqa: PTH118 - a name that is no text
    before = {file.key: file.etag for file in await lake.store.files(LAYOUT.folder(HOUR.shift(1)))}
    found = await day_folders(lake, HOUR.day)
    assert list(found) == [HOUR, HOUR.shift(1), HOUR.shift(2)]
    assert {file.key: file.etag for file in found[HOUR.shift(1)].files.values()} == before
    await observe(lake, HistoryLocation.within(lake), At(HOUR.shift(3).start), ObserveSettings())
    rows = (await read_history(HistoryLocation.within(lake))).rows(JOBS)
    assert [str(hour) for hour, row in sorted(rows.items()) if row[1] == "1"] == [str(hour) for hour in found]
