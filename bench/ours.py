"""I/O. viplake's own transfer in a process of its own: `land` between the vendor's client and the store, no more.

python -m bench.ours '{"vendor": "http://127.0.0.1:1", "lake": {"url": "s3://b", ...}, "client": "aiohttp"}'
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import uvloop

from viplake.clock import Clock, SystemClock
from viplake.extract.transfer import TransferSettings, land
from viplake.lake.store import StoreSettings, open_store
from viplake.model import PROD
from viplake.network.settings import Timeouts
from viplake.redact import Secret
from viplake.vendor.http import Body
from viplake.vendor.links import read_opening, read_refusal, seconds_early
from viplake.vendor.port import Download, Triggered
from viplake.vendor.veson.client import VendorSettings, VesonVendor, _Arriving
from viplake.vendor.veson.token import VendorCredentials
from viplake.vendor.wire import HttpAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

FOLDER = "IMOSDL/Hourly/20220510/13/"


class _Chunks(Body):
    """A body as pyreqwest reads it, in the shape that the transfer takes."""

    def __init__(self, response: Any) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = dict(response.headers.items())
        self._reader = response.body_reader

    async def chunks(self) -> AsyncIterator[bytes]:
        while (chunk := await self._reader.read_chunk()) is not None:
            yield bytes(chunk)


class PyreqwestVendor(VesonVendor):
    """The vendor, whose files come through pyreqwest; the four calls through aiohttp as ever.

    It checks what the other checks (the link, the status, the head), but translates no error: measured here are
    transfers in which nothing goes wrong.
    """

    async def __aenter__(self) -> Self:
        from pyreqwest.client import ClientBuilder  # noqa: PLC0415 - not in the process that measures aiohttp

        deadlines = Timeouts()
        self._client = (
            ClientBuilder()
            .connect_timeout(_seconds(deadlines.connect))
            .read_timeout(_seconds(deadlines.stall))
            .follow_redirects(enable=False)
            .gzip(enable=False)
            .brotli(enable=False)
            .zstd(enable=False)
            .deflate(enable=False)
            .http1_only()
            .build()
        )
        return await super().__aenter__()

    @asynccontextmanager
    async def download(self, url: Secret, *, start: int = 0, etag: str | None = None) -> AsyncIterator[Download]:
        host = self._check_link(url.reveal())
        assert not seconds_early(url.reveal(), self._clock.now())
        headers = {"Range": f"bytes={start}-"} if start else {}
        if etag:
            headers["If-Match"] = etag
        async with self._client.get(url.reveal()).headers(headers).build_streamed() as response:
            body = _Chunks(response)
            if body.status != 200:
                raise read_refusal(HttpAnswer(body.status, body.headers, b""), host, self._clock.now())
            yield _Arriving(read_opening(body.status, body.headers, start=start, etag=etag), body, host)


def _seconds(number: float) -> Any:
    from datetime import timedelta  # noqa: PLC0415 - as above

    return timedelta(seconds=number)


async def transfer(told: dict[str, Any]) -> dict[str, Any]:
    """Land all files that the vendor lists; what it took."""

    async def credentials(*, fresh: bool = False) -> VendorCredentials:  # noqa: ARG001 - the port's shape
        return VendorCredentials(Secret("bench"), Secret("bench-secret"))

    lake = dict(told["lake"])
    if "secret_access_key" in lake:
        lake["secret_access_key"] = Secret(lake["secret_access_key"])
    store = open_store(StoreSettings(**lake))
    clock: Clock = SystemClock()
    at = told["vendor"]
    settings = VendorSettings(PROD, "BENCH", f"{at}/token", at, at, allow_insecure_http=True)
    kind = PyreqwestVendor if told.get("client") == "pyreqwest" else VesonVendor
    async with kind(settings, credentials, clock=clock) as vendor:
        triggered = await vendor.trigger()
        assert isinstance(triggered, Triggered)
        listed = await vendor.list_files(triggered.job_guid)
        begun = clock.monotonic()
        landed = await land(
            [file.promised() for file in listed],
            listed=listed,
            relist=lambda: vendor.list_files(triggered.job_guid),
            vendor=vendor,
            store=store,
            folder=FOLDER,
            clock=clock,
            deadline=begun + 1800,
            settings=TransferSettings(**told.get("settings", {})),
        )
        seconds = clock.monotonic() - begun
    failed = {name: str(error) for name, error in landed.failed.items()}
    if failed:
        raise SystemExit(f"{len(failed)} files failed, among them {next(iter(failed.items()))}")
    return {"seconds": seconds, "files": len(landed.proven), "bytes": sum(file.size for file in landed.proven)}


def main() -> None:
    """Land, and say how long it took."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        said = runner.run(transfer(json.loads(sys.argv[1])))
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
