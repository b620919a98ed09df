"""The machine itself runs short: of open files, of temporary space, of a package, of power."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from commands import Commands, environ_for, simulated
from servers.sockets import http, playing
from viplake.lake.store import StoreSettings, open_store
from viplake.simulator import ExportShape

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.system

WITHOUT_OPEN_FILES = """
import asyncio, resource, sys
from viplake.errors import ViplakeError
from viplake.network.settings import Network
from viplake.vendor.http import Http
from viplake.lake.store import StoreSettings, open_store

async def main():
    store = open_store(StoreSettings(sys.argv[1]))
    async def small():
        yield b"1"
    async with Http(Network()) as http:
        calls = {
            "put": lambda: store.put("Hourly/a", b"1"),
            "put_if_absent": lambda: store.put_if_absent("Hourly/b", b"1"),
            "put_stream": lambda: store.put_stream("Hourly/c", small()),
            "call": lambda: http.call("token", "GET", sys.argv[2], seconds=5, cap=1000),
        }
        await store.put("Hourly/before", b"1")
        held = []
        try:
            while True:
                held.append(open("/dev/null"))
        except OSError:
            pass
        for name, call in calls.items():
            try:
                await call()
            except ViplakeError as error:
                print(name, error.cause.word, error.transient)
        held.clear()
        for call in calls.values():
            await call()
    print([file.name for file in await store.files("Hourly/")])

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
asyncio.run(main())
"""


async def test_Z2_open_files_that_run_out_are_no_fault_of_lake_or_vendor_and_pass(tmp_path: Path) -> None:
    """What follows a passing error, fewer lanes and another attempt, is what W18 and D5 look at."""
    async with playing(http(b"{}")) as wire:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "ignore", "-c", WITHOUT_OPEN_FILES, f"file://{tmp_path}", wire.url),
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await child.communicate()
    assert child.returncode == 0, err.decode()
    assert [line for line in out.decode().splitlines() if "[debug" not in line] == [
        "put dest_unavailable True",
        "put_if_absent dest_unavailable True",
        "put_stream dest_unavailable True",
        "call network True",
        "['a', 'b', 'before', 'c']",
    ]


IN_A_FULL_TMPDIR = """
mount -t tmpfs -o size=64k none "$1" || exit 99
head -c 100000 /dev/zero >"$1/full" 2>/dev/null
TMPDIR="$1" exec "$2" -m viplake run --json
"""


def test_Z3_a_temporary_directory_that_is_full_is_not_missed(tmp_path: Path) -> None:
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("this machine lets nobody mount a disk of his own")
    (tmp_path / "tmp").mkdir()
    with simulated(export=ExportShape(sizes=(9_000_000, 10_000)), replication_seconds=0) as vendor:
        command = Commands(environ_for(vendor, f"file://{tmp_path / 'lake'}"), tmp_path)
        finished = command.run_as(
            "unshare", "-rm", "sh", "-c", IN_A_FULL_TMPDIR, "sh", str(tmp_path / "tmp"), sys.executable
        )
    assert finished.code == 0, finished
    assert json.loads(finished.out)["outcome"] == "delivered"


def test_M7_metrics_that_cannot_be_written_fail_no_delivery(tmp_path: Path) -> None:
    root = tmp_path / "lake" / "IMOSDL"
    root.mkdir(parents=True)
    (root / "Observability").write_text("a file where the folder of the datasets should be")
    with simulated(export=ExportShape(files=5), replication_seconds=0) as vendor:
        finished = Commands(environ_for(vendor, f"file://{tmp_path / 'lake'}"), tmp_path).run("run", "--json")
    assert finished.code == 0, finished
    assert json.loads(finished.out)["outcome"] == "delivered"
    assert "Observability" in finished.err, "it is said all the same"


@pytest.mark.parametrize("streams", [">&-", "<&- >&- 2>&-"])
def test_Z5_standard_streams_that_are_closed_end_nothing(streams: str, tmp_path: Path) -> None:
    with simulated(export=ExportShape(files=5), replication_seconds=0) as vendor:
        command = Commands(environ_for(vendor, f"file://{tmp_path / 'lake'}"), tmp_path)
        finished = command.run_as("sh", "-c", f'exec "$0" -m viplake run --json {streams}', sys.executable)
    assert finished.code == 0, finished
    assert len(list((tmp_path / "lake").rglob("_Receipt.json"))) == 1


def test_Z5_a_reader_that_leaves_ends_nothing(tmp_path: Path) -> None:
    with simulated(export=ExportShape(files=5), replication_seconds=0) as vendor:
        command = Commands(environ_for(vendor, f"file://{tmp_path / 'lake'}"), tmp_path)
        line = '( "$0" -m viplake run --json; echo $? >code ) | true'
        finished = command.run_as("sh", "-c", line, sys.executable)
    assert (tmp_path / "code").read_text().strip() == "0", finished
    assert len(list((tmp_path / "lake").rglob("_Receipt.json"))) == 1


@pytest.mark.parametrize(
    ("asked", "code"), [("status --last 500", 0), ("verify --from 2022-05-01T00 --to 2022-05-20T00 --json", 1)]
)
def test_Z5_a_command_ends_with_its_own_exit_code_whether_or_not_it_is_read(
    asked: str, code: int, tmp_path: Path
) -> None:
    (tmp_path / "lake").mkdir()
    environ = {"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": f"file://{tmp_path / 'lake'}"}
    reader, writer = os.pipe()
    os.close(reader)  # gone before the first word
    command = [sys.executable, "-m", "viplake", *asked.split()]
    around = Commands(environ, tmp_path).around({})
    finished = subprocess.run(command, env=around, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert finished.returncode == code, finished
    assert finished.stderr == b""


def test_C2_a_host_with_another_time_zone_lands_in_the_hour_of_utc(tmp_path: Path) -> None:
    with simulated(export=ExportShape(files=5), replication_seconds=0) as vendor:
        now = datetime.now(UTC)
        finished = Commands(environ_for(vendor, f"file://{tmp_path / 'lake'}"), tmp_path).run(
            "run", "--json", TZ="Asia/Kathmandu"
        )
    assert finished.code == 0, finished
    outcome = json.loads(finished.out)
    assert outcome["hour"] == f"{now:%Y-%m-%dT%H}"
    assert outcome["folder"] == f"IMOSDL/Hourly/{now:%Y%m%d/%H}/"


WITHOUT = """
import sys
sys.modules[sys.argv.pop(1)] = None  # as if it were not installed
from viplake.cli import main
main()
"""


@pytest.mark.parametrize("package", ["plotly", "jinja2"])
@pytest.mark.parametrize("name", ["report", "serve"])
def test_F5_a_missing_extra_is_named_with_how_to_install_it(package: str, name: str, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    command = Commands({"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": f"file://{lake}"}, tmp_path)
    finished = command.run_as(sys.executable, "-c", WITHOUT, package, name)
    assert finished.code == 2, finished
    assert package in finished.err
    assert "pip install 'viplake[report]'" in finished.err
    assert "Traceback" not in finished.err


@pytest.mark.parametrize("verb", ["put", "put_if_absent", "put_stream"])
async def test_X5_a_file_and_its_name_are_on_disk_before_they_count(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut can undo what was never forced: the bytes, or the name that a rename gave them."""
    forced: list[Path] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        forced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    async def block() -> AsyncIterator[bytes]:
        yield bytes(1 << 20)

    monkeypatch.setattr(os, "fsync", fsync)
    store = open_store(StoreSettings(f"file://{tmp_path}"))
    key = "Hourly/20220510/13/a"
    if verb == "put":
        await store.put(key, b"1")
    elif verb == "put_if_absent":
        await store.put_if_absent(key, b"1")
    else:
        await store.put_stream(key, block())
    file = tmp_path / "Hourly" / "20220510" / "13" / "a"
    assert forced[:2] == [file, file.parent]
    assert set(forced[2:]) == {file.parents[1], file.parents[2], tmp_path}, "new folders are names too"
