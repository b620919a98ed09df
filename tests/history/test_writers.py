"""Real processes that write the history of a folder lake: no row is lost or torn, whichever process dies."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from history.lakes import LAYOUT, at, export, fill
from viplake.errors import LakeError
from viplake.history.build import HistoryLocation, ObserveSettings, observe, read_history
from viplake.history.datasets import JOBS, SIZES, parse
from viplake.lake import Lake
from viplake.lake.store import StoreSettings, open_store
from viplake.model import Hour

if TYPE_CHECKING:
    from pathlib import Path

    from servers.seaweed import Identity, Seaweed
    from viplake.lake.store import Store

pytestmark = pytest.mark.system

FIRST = Hour.parse("2022-05-08T00")
SETTINGS = ObserveSettings()

WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from viplake.clock import SystemClock
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.store import StoreSettings, open_store
from viplake.model import Hour
from viplake.history.build import ObserveSettings, HistoryLocation, Scope, observe

class Later(SystemClock):
    def now(self):
        return datetime(2022, 5, 12, tzinfo=UTC)

async def main(url, first, count):
    lake = Lake(open_store(StoreSettings(url)), Layout("IMOSDL/Hourly/"))
    place = HistoryLocation.within(lake)
    for number in range(count):
        hour = Hour.parse(first).shift(number)
        await observe(lake, place, Later(), ObserveSettings(), scope=Scope(first=hour, last=hour))
        print(hour.label, flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def start(url: str, first: Hour, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, url, str(first), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kills", [0, 2])
async def test_M1_processes_that_write_at_once_lose_no_acknowledged_row(tmp_path: Path, kills: int) -> None:
    url = tmp_path.as_uri()
    store = open_store(StoreSettings(url))
    for number in range(36):
        await fill(store, export(FIRST.shift(number), ("Voyage",)))
    writers = [start(url, FIRST.shift(12 * number), 12) for number in range(3)]
    acknowledged: set[str] = set()
    for writer in writers[:kills]:
        assert writer.stdout is not None
        acknowledged.add(writer.stdout.readline().strip())
        await asyncio.sleep(0.2)
        writer.send_signal(signal.SIGKILL)
    acknowledged |= {line.strip() for writer in writers for line in writer.communicate()[0].splitlines()}
    assert len(acknowledged) >= 36 - 12 * kills + kills
    rows = (await read_history(HistoryLocation.within(Lake(store, LAYOUT)))).rows(JOBS)
    assert acknowledged <= {hour.label for hour in rows}
    await observe(Lake(store, LAYOUT), HistoryLocation.within(Lake(store, LAYOUT)), at("2022-05-09T11:45"), SETTINGS)
    published = parse(SIZES, await store.get(f"{LAYOUT.observability}{SIZES.file}") or b"")
    assert (published.warnings, len(published.frame.rows)) == ((), 36)


# -- rights -----------------------------------------------------------------------------------------------------


def opened(seaweed: Seaweed, bucket: str, identity: Identity | None = None) -> Store:
    return open_store(seaweed.settings(bucket) if identity is None else seaweed.settings(bucket, identity))


async def test_without_the_right_to_write_the_history_stays_as_it_was(seaweed: Seaweed) -> None:
    bucket = seaweed.bucket()
    store, reader = opened(seaweed, bucket), opened(seaweed, bucket, seaweed.reader)
    await fill(store, export(FIRST))
    await observe(Lake(store, LAYOUT), HistoryLocation.within(Lake(store, LAYOUT)), at("2022-05-08T00:45"), SETTINGS)
    before = {file.key: file.etag for file in await store.files("IMOSDL/")}
    await fill(store, export(FIRST.shift(1)))
    with pytest.raises(LakeError) as caught:
        await observe(
            Lake(reader, LAYOUT), HistoryLocation.within(Lake(reader, LAYOUT)), at("2022-05-08T01:45"), SETTINGS
        )
    assert (caught.value.cause.word, caught.value.exit_code) == ("dest_denied", 73)
    assert "\n" not in caught.value.message
    after = {file.key: file.etag for file in await store.files("IMOSDL/")}
    assert {key: after[key] for key in before} == before


async def test_a_missing_bucket_is_reported_in_one_line(seaweed: Seaweed) -> None:
    store = opened(seaweed, "nobody-made-this")
    with pytest.raises(LakeError) as caught:
        await observe(
            Lake(store, LAYOUT), HistoryLocation.within(Lake(store, LAYOUT)), at("2022-05-08T01:45"), SETTINGS
        )
    assert (caught.value.cause.word, caught.value.exit_code) == ("dest_missing", 73)
