"""The tables on a real S3 server: the same rows, the same crash points, and one winner of each commit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from current.lakes import TableLake
from viplake.current.delta import storage_options
from viplake.lake.store import StoreSettings
from viplake.network.settings import Network, Proxy
from viplake.redact import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from servers.seaweed import Seaweed

pytestmark = pytest.mark.system


def reached(seaweed: Seaweed) -> StoreSettings:
    return seaweed.settings(f"{seaweed.bucket()}/some/where")


def row(key: int, name: str, when: str | None = None) -> dict[str, Any]:
    return {"Id": key, "Name": name, "Amount": 1.5, "LastUpdateGMT": when}


async def test_late_hours_on_s3_give_the_rows_of_the_oracle(tmp_path: Path, seaweed: Seaweed) -> None:
    lake = TableLake(tmp_path, reached(seaweed))
    for number in (0, 2, 1):
        await lake.land(number, {"Voyage": [row(1, "ab"[number % 2]), row(number + 5, "x")]})
        await lake.update()
    await lake.mirror()
    for kind in ("history", "current"):
        assert lake.digest(kind, "Voyage") == lake.expected(kind, "Voyage")


async def test_three_writers_on_s3_lose_nothing(tmp_path: Path, seaweed: Seaweed) -> None:
    lake = TableLake(tmp_path, reached(seaweed))
    for number in range(4):
        await lake.land(number, {"Voyage": [row(1, "ab"[number % 2]), row(number + 5, "x")]})
    await asyncio.gather(*(lake.update() for _ in range(3)))
    await lake.mirror()
    for kind in ("history", "current"):
        assert lake.digest(kind, "Voyage") == lake.expected(kind, "Voyage")


def test_deltalake_is_given_the_network_of_the_settings_and_nothing_else() -> None:
    proxy = Proxy("http://proxy.example:3128", Secret("user:word", remember=False))
    settings = StoreSettings(
        "s3://bucket/lake",
        access_key_id="A",
        secret_access_key=Secret("B", remember=False),
        region="eu-west-1",
        network=Network(proxy=proxy),
    )
    options = storage_options(settings)
    assert options["proxy_url"] == "http://user:word@proxy.example:3128"
    assert options["conditional_put"] == "etag"
    assert options["aws_endpoint"] == "https://bucket.s3.eu-west-1.amazonaws.com"
    assert (options["aws_virtual_hosted_style_request"], options["allow_http"]) == ("true", "false")
    assert storage_options(StoreSettings("file:///lake")) == {}
