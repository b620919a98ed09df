"""The least client of the four calls, written apart from the product's: the simulator's counterpart."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from viplake.simulator import Simulator, SimulatorSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

PROD = "onDemandExtract1DayProd"
TEST = "onDemandExtract1DayTest"
START = datetime(2022, 5, 10, 13, 2, 11, tzinfo=UTC)
SECRET = "canary-client-secret"


class SetClock:
    """A clock that shows a given time."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.forward(seconds)

    def from_store(self, stamped: datetime) -> datetime:
        return stamped

    def forward(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Got:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """A vendor, its clock, and someone who calls it."""

    vendor: Simulator
    clock: SetClock
    http: aiohttp.ClientSession
    token: str = ""

    async def send(self, method: str, url: str, **options: Any) -> Got:
        async with self.http.request(method, URL(url, encoded=True), allow_redirects=False, **options) as response:
            return Got(response.status, response.headers, await response.read())

    async def log_in(self, **changes: str) -> Got:
        form = {"grant_type": "client_credentials", "scope": "datalake", "client_id": "demo-client"}
        got = await self.send("POST", self.vendor.token_url, data={**form, "client_secret": SECRET, **changes})
        if got.status == 200:
            with suppress(ValueError):
                self.token = got.json().get("access_token", "")
        return got

    async def trigger(self, config_name: str = PROD) -> Got:
        return await self.post("export", {"configName": config_name})

    async def status(self, guid: str) -> Got:
        return await self.post("CheckJobStatus", {"jobGuid": guid})

    async def post(self, name: str, body: Any) -> Got:
        headers = {"Authorization": f"Bearer {self.token}"}
        return await self.send("POST", f"{self.vendor.export_url}/{name}", json=body, headers=headers)

    async def files(self, guid: str, company: str = "DEMO", **changes: str) -> Got:
        query = {"apiToken": SECRET, "environmentType": "Prod", "jobGuid": guid, "fileFilter": "*"}
        query |= {"hideMetaData": "False", "expirationInMinutes": "60", **changes}
        text = "&".join(f"{name}={value}" for name, value in query.items())
        return await self.send("GET", f"{self.vendor.files_url}/presignedUrls/{company}?{text}")

    async def complete(self, config_name: str = PROD) -> str:
        """Log in, trigger, let the time pass: the GUID of a complete export."""
        await self.log_in()
        guid: str = (await self.trigger(config_name)).json()["JobGuid"]
        self.clock.forward(1200)
        return guid

    async def listing(self) -> list[dict[str, Any]]:
        """The list of a complete export."""
        found: list[dict[str, Any]] = (await self.files(await self.complete())).json()
        return found

    async def get(self, entry: Mapping[str, Any], **headers: str) -> Got:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.send("GET", entry["presignedDownloadURL"], headers=named)


@asynccontextmanager
async def vendor(*faults: str, **settings: Any) -> AsyncIterator[Client]:
    """A running simulator with these faults and settings, and a client that knows it."""
    clock = SetClock()
    simulator = Simulator(SimulatorSettings(client_secret=SECRET, **settings), clock=clock)
    simulator.faults.add(*faults)
    session = aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=20))
    async with simulator, session:
        yield Client(simulator, clock, session)
