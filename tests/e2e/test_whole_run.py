"""The command itself, as users run it: `viplake run` against the simulator over sockets, into S3 and a folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

import commands
from canary import CANARIES
from e2e.command import Command
from e2e.lakes import Bucket, Folder
from viplake.simulator import ExportShape, Simulator

if TYPE_CHECKING:
    from pathlib import Path


RSS_LIMIT_KB = 150 * 1024
WHOLE, BOUNDED = 6_000_000_000, 2_200_000_000
"""Bytes of a large file; by default fewer, but more than 31 bits."""

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("enough_of_the_hour")]


@pytest.fixture
def enough_of_the_hour() -> None:
    """These runs are about one Hour: near its end, wait for the next one."""
    now = datetime.now(UTC)
    left = (now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1) - now).total_seconds()
    if left < 150:
        time.sleep(left + 1)


def environ_for(vendor: Simulator, lake: str, **more: str) -> dict[str, str]:
    return commands.environ_for(vendor, lake, VIPLAKE_LOG_LEVEL="DEBUG", **more)


def simulated(**settings: Any) -> Any:
    return commands.simulated(replication_seconds=2, **settings)


@pytest.fixture(params=["s3", pytest.param("folder", marks=pytest.mark.long)])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Bucket | Folder:
    if request.param == "s3":
        return Bucket(request.getfixturevalue("seaweed"))
    return Folder(tmp_path / "lake")


@pytest.fixture
def aws(request: pytest.FixtureRequest, lake: Bucket | Folder) -> dict[str, str]:
    return request.getfixturevalue("seaweed").environment() if isinstance(lake, Bucket) else {}


def check_lake(lake: Bucket | Folder, vendor: Simulator, outcome: dict[str, Any]) -> None:
    """Every promised file is there, byte for byte; the Receipt is last; no signature anywhere."""
    folder = outcome["folder"]
    objects = {key: meta for key, meta in lake.objects().items() if key.startswith(folder)}
    [(guid, job)] = [(guid, job) for guid, job in vendor.jobs.items() if guid == outcome["job_guid"]]
    names = {job.key(file).rpartition("/")[2]: job.key(file) for file in job.files}
    assert {key.removeprefix(folder) for key in objects} == {*names, "_PresignedUrls.json", "_Receipt.json"}
    for name, key in names.items():
        source = hashlib.md5()
        for chunk in vendor.source(guid, key):
            source.update(chunk)
        assert lake.md5(folder + name) == source.hexdigest(), name
    newest = max(objects, key=lambda key: (objects[key]["last_modified"], key == folder + "_Receipt.json"))
    assert newest == folder + "_Receipt.json"
    promise = lake.read(folder + "_PresignedUrls.json")
    assert b"X-Amz" not in promise
    assert {entry["key"]: entry["size"] for entry in json.loads(promise)} == {
        job.key(file): file.size for file in job.files
    }


def check_no_canary(lake: Bucket | Folder, command: Command) -> None:
    """No secret in anything that was written: outputs and records."""
    records = [
        key for key in lake.objects() if "_viplake/" in key or key.endswith(("_PresignedUrls.json", "_Receipt.json"))
    ]
    written = "\n".join([*command.outputs, *(lake.read(key).decode(errors="replace") for key in records)])
    for secret in CANARIES.secret_values():
        assert secret not in written
    assert "X-Amz-Signature" not in written
    assert "apiToken=" not in written.replace("apiToken=[redacted]", "")


def test_an_hour_of_600_files_and_1_gb_lands_whole_in_flat_memory(
    lake: Bucket | Folder, aws: dict[str, str], tmp_path: Path
) -> None:
    with simulated(export=ExportShape(files=600, total_bytes=1_000_000_000)) as vendor:
        command = Command(environ_for(vendor, lake.url, **aws), tmp_path)
        finished = command.run("run", "--json")
        assert finished.code == 0, finished
        outcome = json.loads(finished.out)
        assert (outcome["outcome"], outcome["cause"], outcome["files"]) == ("delivered", None, 600)
        assert finished.rss_kb <= RSS_LIMIT_KB
        check_lake(lake, vendor, outcome)
        assert vendor.requests.count("download") == 600
        verified = command.json("verify")
        assert [(h["complete"], h["valid"], h["findings"]) for h in verified["hours"]] == [(True, True, [])]
        again = command.json("tick")
        assert (again["outcome"], again["job_guid"]) == ("delivered", outcome["job_guid"])
        assert vendor.requests.count("trigger") == 1
        check_no_canary(lake, command)


@pytest.mark.timeout(1200)  # as for all, so long that only what hangs meets it, on a machine with other work, too
@pytest.mark.long
def test_D23_a_file_of_gigabytes_passes_in_flat_memory(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Into a folder: SeaweedFS would only add minutes; `make bench` has it."""
    size = WHOLE if request.config.getoption("--whole") else BOUNDED
    lake = Folder(tmp_path / "lake")
    try:
        with simulated(export=ExportShape(sizes=(size,), schema=False, scripts=False)) as vendor:
            command = Command(environ_for(vendor, lake.url), tmp_path)
            finished = command.run("run", "--json")
            assert finished.code == 0, finished
            assert json.loads(finished.out)["bytes"] == size
            assert finished.rss_kb <= RSS_LIMIT_KB
    finally:
        shutil.rmtree(lake.path)


def test_D24_links_that_live_shorter_than_a_download_land_it_with_new_ones(tmp_path: Path) -> None:
    lake = Folder(tmp_path / "lake")
    shape = ExportShape(sizes=(200_000,) * 3, schema=False, scripts=False)
    with simulated(export=shape, url_lifetime_seconds=1) as vendor:
        vendor.faults.add("download:slow:value=60000")
        vendor.faults.add("download:cut:each=true,times=1")
        finished = Command(environ_for(vendor, lake.url), tmp_path).run("run", "--only-deliver", "--json")
        assert finished.code == 0, finished
        check_lake(lake, vendor, json.loads(finished.out))
        assert 2 <= vendor.requests.count("files") <= 12


def test_D24_links_that_are_never_good_end_at_the_deadline_and_are_named(tmp_path: Path) -> None:
    lake = Folder(tmp_path / "lake")
    with simulated(export=ExportShape(files=6), url_lifetime_seconds=1, latency_ms=1200) as vendor:
        environ = environ_for(vendor, lake.url, VIPLAKE_TRANSFER_TIMEOUT_SECONDS="15")
        finished = Command(environ, tmp_path).run("run", "--only-deliver", "--json")
        outcome = json.loads(finished.out)
        assert (finished.code, outcome["cause"], outcome["owner"]) == (69, "source_denied", "vendor")
        assert "has expired (it was good for 1 s)" in outcome["detail"]
        assert vendor.requests.count("files") < 10
