"""A slow uplink: no byte is sent twice only because it takes long.

All is scaled by forty: 150 kB/s and the 600 s that a request may take are 6 MB/s and 15 s here. A proxy in front of a
real S3 passes that many bytes a second, over all connections together, and counts what it was sent.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from fakes import FakeClock, FakeVendor
from viplake.extract.transfer import TransferSettings, land
from viplake.lake.store import StoreSettings, open_store
from viplake.network.settings import Network, Timeouts
from viplake.redact import Secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from servers.seaweed import Seaweed

SCALE = 40
RATE = 150_000 * SCALE
REAL = Timeouts()
FILES = {
    **{f"e/small_{number}.gz": random.Random(number).randbytes(700_000) for number in range(24)},
    **{f"e/large_{number}.gz": random.Random(number).randbytes(20 << 20) for number in range(2)},
}
PAYLOAD = sum(map(len, FILES.values()))


@dataclass
class Uplink:
    """A proxy that passes `RATE` bytes a second towards the server.

    Attributes:
        url: where it is.
        sent: bytes towards the server so far.
    """

    url: str = ""
    sent: int = 0
    free_at: float = 0.0

    async def up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while chunk := await reader.read(32 << 10):
            self.sent += len(chunk)
            self.free_at = max(self.free_at, loop.time()) + len(chunk) / RATE
            await asyncio.sleep(self.free_at - loop.time())
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()


@asynccontextmanager
async def slow(server: str) -> AsyncIterator[Uplink]:
    uplink, target = Uplink(), urlsplit(server)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(target.hostname, target.port)
        sending = asyncio.create_task(uplink.up(reader, back))
        try:
            while chunk := await there.read(64 << 10):
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            sending.cancel()
            back.close()
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        uplink.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield uplink


@pytest.mark.system
@pytest.mark.long
async def test_a_slow_uplink_sends_at_most_a_fifth_more_than_the_bytes(seaweed: Seaweed) -> None:
    timeouts = Timeouts(read=REAL.read / SCALE * 4, upload=REAL.upload / SCALE)
    async with slow(seaweed.endpoint) as uplink:
        store = open_store(
            StoreSettings(
                f"s3://{seaweed.bucket()}",
                seaweed.access_key,
                Secret(seaweed.secret_key),
                region=seaweed.region,
                endpoint=uplink.url,
                allow_http=True,
                network=Network(timeouts=timeouts),
            )
        )
        vendor = FakeVendor(FakeClock(), FILES)
        listed = vendor.listing()
        landed = await land(
            [file.promised() for file in listed],
            listed=listed,
            relist=vendor.relist,
            vendor=vendor,
            store=store,
            folder="IMOSDL/Hourly/20220510/13/",
            clock=vendor.clock,
            deadline=vendor.clock.monotonic() + 1800,
            settings=TransferSettings(),
            rng=random.Random(3),
        )
        sent = uplink.sent
    assert {name: str(error) for name, error in landed.failed.items()} == {}
    assert len(landed.proven) == len(FILES)
    assert PAYLOAD <= sent <= 1.2 * PAYLOAD
    assert len(vendor.requests) == len(FILES), "a slow uplink costs no second download either"
