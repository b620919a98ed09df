"""The HTTP client against the simulated vendor, both in this process, with a clock that moves by itself."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from canary import CANARIES
from fakes import FakeClock
from viplake.errors import ViplakeError
from viplake.model import PROD
from viplake.network.settings import Network, Timeouts
from viplake.redact import Secret
from viplake.simulator import ExportShape, Simulator, SimulatorSettings
from viplake.vendor.port import Triggered
from viplake.vendor.veson.client import VendorSettings, VesonVendor
from viplake.vendor.veson.token import VendorCredentials

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable

    from viplake.vendor.port import ListedFile

HASTY = Network(timeouts=Timeouts(connect=5, stall=0.5, queue=5, token=1.5, call=1.5, listing=1.5))
"""For tests in which a server falls silent."""

GUID = "7470724f-e195-416b-a2da-94e63e94f341"


@dataclass
class Keys:
    """Where the client reads its credentials.

    Attributes:
        secret: what a reading gives.
        rotated: what a fresh reading finds.
        reads: whether each reading was a fresh one.
    """

    secret: str = CANARIES.client_secret
    rotated: str | None = None
    reads: list[bool] = field(default_factory=list)

    async def __call__(self, *, fresh: bool = False) -> VendorCredentials:
        self.reads.append(fresh)
        if fresh and self.rotated:
            self.secret = self.rotated
        return VendorCredentials(Secret(CANARIES.client_id), Secret(self.secret))


@dataclass
class Rig:
    """A simulated vendor, a client of it, and what it lives on."""

    sim: Simulator
    vendor: VesonVendor
    clock: FakeClock
    keys: Keys

    async def complete(self) -> str:
        """The GUID of an export that is complete."""
        triggered = await self.vendor.trigger()
        assert isinstance(triggered, Triggered)
        self.clock.advance(1300)
        return triggered.job_guid

    async def a_file(self) -> ListedFile:
        """A file of a complete export, of more than a few bytes."""
        files = await self.vendor.list_files(await self.complete())
        return max(files, key=lambda file: file.size)

    async def fetch(self, file: ListedFile, *, start: int = 0, etag: str | None = None) -> bytes:
        async with self.vendor.download(file.url, start=start, etag=etag) as download:
            return b"".join([chunk async for chunk in download.chunks()])


def client(
    base: str | Simulator, clock: FakeClock, keys: Keys, network: Network | None = None, **settings: Any
) -> VesonVendor:
    """A client of the simulator, or of another server at this URL."""
    if isinstance(base, Simulator):
        urls = {"token_url": base.token_url, "export_url": base.export_url, "files_url": base.files_url}
        company = base.settings.company
    else:
        urls = {"token_url": f"{base}/token", "export_url": f"{base}/api", "files_url": f"{base}/files"}
        company = "DEMO"
    given: dict[str, Any] = {"allow_insecure_http": True, "network": network or Network(), **urls, **settings}
    chosen = VendorSettings(PROD, given.pop("company", company), **given)
    return VesonVendor(chosen, keys, clock=clock, rng=random.Random(7))


@asynccontextmanager
async def rig(
    *faults: str,
    keys: Keys | None = None,
    network: Network | None = None,
    tls: ssl.SSLContext | None = None,
    **settings: Any,
) -> AsyncIterator[Rig]:
    """A running simulator with these faults, and an open client of it with these settings."""
    clock, keys = FakeClock(), keys or Keys()
    shape = SimulatorSettings(
        client_id=CANARIES.client_id,
        client_secret=CANARIES.client_secret,
        export=ExportShape(sizes=(200_000, 5_000, 300)),
    )
    async with Simulator(shape, clock=clock, tls=tls) as sim, client(sim, clock, keys, network, **settings) as vendor:
        sim.faults.add(*faults)
        yield Rig(sim, vendor, clock, keys)


async def failure(awaitable: Awaitable[object]) -> ViplakeError:
    """How it failed; a success fails the test."""
    try:
        got = await awaitable
    except ViplakeError as error:
        return error
    raise AssertionError(f"it should have failed, and gave {got!r}")
