"""How much memory and time a transfer takes: simulator, store and transfer, each in a process of its own.

python tests/extract/measure_transfer.py --sizes 6000000000 --lake folder
python tests/extract/measure_transfer.py --files 600 --total 1000000000 --lake s3
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Measured:
    """What a transfer took.

    Attributes:
        files: that landed.
        bytes: of them.
        seconds: of the transfer alone.
        peak_mb: resident memory of the transferring process at its peak, interpreter and libraries included.
        idle_mb: the same before the first file.
        failed: reasons, by name.
    """

    files: int
    bytes: int
    seconds: float
    peak_mb: float
    idle_mb: float
    failed: dict[str, str]


def measure(export: dict[str, Any], lake: dict[str, Any], settings: dict[str, int] | None = None) -> Measured:
    """Land one export of this shape in this lake, in a fresh process, with these settings of the transfer."""
    with _simulator(export) as urls:
        child = subprocess.run(
            [sys.executable, __file__, "--child", json.dumps({"urls": urls, "lake": lake, "settings": settings or {}})],
            env=_environment(),
            stdout=subprocess.PIPE,
            check=True,
        )
    return Measured(**json.loads(child.stdout.splitlines()[-1]))  # the lines before are its log


def _environment() -> dict[str, str]:
    return {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join([*sys.path, str(TESTS)])}


@contextmanager
def _simulator(export: dict[str, Any]) -> Iterator[dict[str, str]]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--simulator", json.dumps(export)],
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def _simulate(export: dict[str, Any]) -> None:
    from viplake.simulator import ExportShape, SimulatorSettings, running  # noqa: PLC0415 - not in the measured process

    shape = ExportShape(
        files=export.get("files"), total_bytes=export.get("total_bytes"), sizes=tuple(export.get("sizes", ())) or None
    )
    with running(SimulatorSettings(replication_seconds=0, export=shape)) as simulator:
        urls = {name: getattr(simulator, name) for name in ("token_url", "export_url", "files_url")}
        sys.stdout.write(json.dumps(urls) + "\n")
        sys.stdout.flush()
        sys.stdin.read()  # until the parent process has ended


async def _transfer(urls: dict[str, str], lake: dict[str, Any], at_once: dict[str, int]) -> Measured:
    from viplake.clock import SystemClock  # noqa: PLC0415 - loaded here, so that the simulator's process differs
    from viplake.extract.transfer import TransferSettings, land  # noqa: PLC0415 - as above
    from viplake.lake.store import StoreSettings, open_store  # noqa: PLC0415 - as above
    from viplake.model import PROD  # noqa: PLC0415 - as above
    from viplake.redact import Secret  # noqa: PLC0415 - as above
    from viplake.vendor.port import Triggered  # noqa: PLC0415 - as above
    from viplake.vendor.veson.client import VendorSettings, VesonVendor  # noqa: PLC0415 - as above
    from viplake.vendor.veson.token import VendorCredentials  # noqa: PLC0415 - as above

    async def credentials(*, fresh: bool = False) -> VendorCredentials:  # noqa: ARG001 - the port's shape
        return VendorCredentials(Secret("demo-client"), Secret("demo-secret"))

    if "secret_access_key" in lake:
        lake["secret_access_key"] = Secret(lake["secret_access_key"])
    store = open_store(StoreSettings(**lake))
    clock = SystemClock()
    settings = VendorSettings(
        PROD, "DEMO", urls["token_url"], urls["export_url"], urls["files_url"], allow_insecure_http=True
    )
    async with VesonVendor(settings, credentials, clock=clock) as vendor:
        triggered = await vendor.trigger()
        assert isinstance(triggered, Triggered)
        assert await vendor.is_complete(triggered.job_guid)
        listed = await vendor.list_files(triggered.job_guid)
        idle, begun = _peak_mb(), clock.monotonic()
        landed = await land(
            [file.promised() for file in listed],
            listed=listed,
            relist=lambda: vendor.list_files(triggered.job_guid),
            vendor=vendor,
            store=store,
            folder="IMOSDL/Hourly/20220510/13/",
            clock=clock,
            deadline=begun + 1800,
            settings=TransferSettings(**at_once),
            rng=random.Random(1),
        )
        seconds = clock.monotonic() - begun
    return Measured(
        files=len(landed.proven),
        bytes=sum(file.size for file in landed.proven),
        seconds=round(seconds, 2),
        peak_mb=_peak_mb(),
        idle_mb=idle,
        failed={name: str(error) for name, error in landed.failed.items()},
    )


def _peak_mb() -> float:
    """Of this process alone: `ru_maxrss` also counts the parent that it was forked from, on Linux."""
    status = Path("/proc/self/status")
    if status.exists():
        kilobytes = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return round(int(kilobytes) * 1024 / 1e6, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 1)  # macOS counts bytes


def _child(work: dict[str, Any]) -> None:
    import uvloop  # noqa: PLC0415 - as the command line does it

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        measured = runner.run(_transfer(work["urls"], work["lake"], work["settings"]))
    sys.stdout.write("\n" + json.dumps(measured.__dict__) + "\n")


def _by_hand(options: argparse.Namespace) -> None:
    wishes = {"sizes": options.sizes, "files": options.files, "total_bytes": options.total}
    settings = {"bytes_in_flight": options.budget} if options.budget else {}
    export = {name: value for name, value in wishes.items() if value}
    with tempfile.TemporaryDirectory() as folder:
        if options.lake == "folder":
            sys.stdout.write(f"{measure(export, {'url': f'file://{folder}'}, settings)}\n")
            return
        from servers.seaweed import serve  # noqa: PLC0415 - only where it is asked for

        with serve(Path(folder)) as server:
            lake = {
                "url": f"s3://{server.bucket()}",
                "access_key_id": server.access_key,
                "secret_access_key": server.secret_key,
                "region": server.region,
                "endpoint": server.endpoint,
                "allow_http": True,
            }
            sys.stdout.write(f"{measure(export, lake, settings)}\n")


def main() -> None:
    """Be the process that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", help="bytes of each partition")
    parser.add_argument("--files", type=int, help="so many files in all")
    parser.add_argument("--total", type=int, help="so many bytes in all")
    parser.add_argument("--budget", type=int, help="bytes in memory at the same time")
    parser.add_argument("--lake", choices=["folder", "s3"], default="folder")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--simulator", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.simulator:
        _simulate(json.loads(options.simulator))
    elif options.child:
        _child(json.loads(options.child))
    else:
        _by_hand(options)


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    main()
