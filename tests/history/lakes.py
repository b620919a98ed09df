"""Lakes for the tests of observation: objects as a plain dict, put into any store."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from viplake.lake.layout import Layout
from viplake.lake.store import StoreSettings, open_store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from viplake.lake.store import Store
    from viplake.model import Hour

LAYOUT = Layout("IMOSDL/Hourly/")
TABLES = ("Voyage", "Voyage_Itinerary", "Vessel", "Port.Call", "Port")


@dataclass
class At:
    """A clock that shows a given time."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=max(seconds, 0))

    def from_store(self, stamped: datetime) -> datetime:
        return stamped


def at(text: str) -> At:
    """A clock at `2022-05-10T13:45`, UTC."""
    return At(datetime.fromisoformat(text).replace(tzinfo=UTC))


def memory() -> Store:
    """An empty store."""
    return open_store(StoreSettings("memory://"))


def schema(tables: Iterable[str] = TABLES) -> bytes:
    """A `_MasterTableSchema.json`."""
    return json.dumps([{"DataObjectName": table} for table in tables]).encode()


def export(
    hour: Hour,
    tables: Iterable[str] = TABLES,
    *,
    parts: int = 1,
    schema_of: Iterable[str] | None = TABLES,
    size: int = 9,
) -> dict[str, bytes]:
    """The files of an Hour as the old script left them: no Receipt, no ledger."""
    names = [f"{table}_{hour.label}_{part:03d}.json.gz" for table in tables for part in range(parts)]
    files = dict.fromkeys(names, b"x" * size) | {"CreateTables.sql": b"create table;"}
    if schema_of is not None:
        files["_MasterTableSchema.json"] = schema(schema_of)
    files["_PresignedUrls.json"] = json.dumps(
        [
            {"key": f"a/{name}", "presignedDownloadURL": f"https://x/{name}?X-Amz-Signature=c", "size": len(data)}
            for name, data in files.items()
        ]
    ).encode()
    return {LAYOUT.file(hour, name): data for name, data in files.items()}


async def fill(store: Store, objects: Mapping[str, bytes]) -> None:
    """Put the objects, many at once."""
    turn = asyncio.Semaphore(32)

    async def put(key: str, data: bytes) -> None:
        async with turn:
            await store.put(key, data)

    await asyncio.gather(*(put(key, data) for key, data in objects.items()))


async def contents(store: Store, prefix: str) -> dict[str, bytes]:
    """Everything below a prefix."""
    return {file.key: await store.get(file.key) or b"" for file in await store.files(prefix)}
