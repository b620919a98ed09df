"""The simulated vendor keeps the contract of the four calls and of the files."""

from __future__ import annotations

import gzip
import hashlib
import json

from simulator.client import vendor


async def test_the_four_calls_end_with_true_bytes() -> None:
    async with vendor() as client:
        login = await client.log_in()
        assert login.json()["expires_in"] == 3600
        guid = (await client.trigger()).json()["JobGuid"]
        assert (await client.status(guid)).json()["JobStatus"] == "Running"
        assert (await client.files(guid)).json() == []
        client.clock.forward(1200)
        assert (await client.status(guid)).json()["JobStatus"] == "Complete"
        entries = (await client.files(guid)).json()
        assert len({entry["key"] for entry in entries}) == len(entries) > 50
        for entry in entries:
            got = await client.get(entry)
            assert got.status == 200
            assert len(got.body) == entry["size"]
            assert got.body == b"".join(client.vendor.source(guid, entry["key"]))
            assert got.headers["ETag"] == f'"{hashlib.md5(got.body).hexdigest()}"'
            if entry["key"].endswith(".json.gz"):
                text = gzip.decompress(got.body).decode()
                rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
                assert all(isinstance(row, dict) for row in rows)
