"""I/O. Runs commands in turn, A B C A B C ..., and keeps what each took: seconds, CPU seconds, peak memory.

Each command is a process of its own. Its memory is `VmHWM` of that process, read while it lives: `ru_maxrss`, which
the kernel also gives, counts the parent that it was forked from. Before each run a fixed piece of work is timed, so
that a reader can tell a busy machine from a slow program.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.request import Request, urlopen

from bench.page import PROBE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT: Final = Path(__file__).resolve().parents[1]
BIN: Final = Path(sys.executable).parent

_WATCH_SECONDS: Final = 0.02
_PROBE: Final = bytes(PROBE_BYTES)
_ROOMY: Final = 16 << 30
"""Bytes that must be free in memory before the S3 server's data goes there."""


class CommandFailed(Exception):
    """A measured command ended badly; its figures would be worth nothing."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one command.

    Attributes:
        seconds: from start to end of the process.
        inner: seconds of the transfer alone, where the command says them.
        cpu: seconds of CPU, of the process and its threads.
        peak_mb: resident memory at its peak, in 10^6 bytes.
        probe: seconds that the fixed piece of work took right before.
        server: seconds of CPU that the S3 server took meanwhile, where that is known.
    """

    seconds: float
    inner: float | None
    cpu: float
    peak_mb: float
    probe: float
    server: float | None = None


def run(command: Sequence[str], environment: Mapping[str, str], cwd: Path, *, ok: tuple[int, ...] = (0,)) -> Run:
    """Run it to its end.

    Raises:
        CommandFailed: its exit code is none of `ok`.
    """
    probe = _probe()
    begun = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command, env=dict(environment), cwd=cwd, stdout=out, stderr=err)  # noqa: S603 - ours
        watch = _Watch(process.pid)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        peak = watch.stop()
        out.seek(0)
        err.seek(0)
        if process.returncode not in ok:
            tail = err.read().decode(errors="replace")[-2000:]
            raise CommandFailed(f"{command[:4]} ended with {process.returncode}: {tail}")
        lines = out.read().decode(errors="replace").splitlines()
    return Run(seconds, _inner(lines), used.ru_utime + used.ru_stime, peak, probe)


def _inner(lines: list[str]) -> float | None:
    try:
        said = json.loads(lines[-1])
    except (IndexError, ValueError):
        return None
    seconds = said.get("seconds") if isinstance(said, dict) else None
    return seconds if isinstance(seconds, float) else None


class _Watch:
    """Reads the peak memory of a process again and again; it only grows, so the last reading is the peak."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(_WATCH_SECONDS):
            try:
                text = self._status.read_text()
            except OSError:
                return
            self._peak = max(self._peak, *(int(x.split()[1]) for x in text.splitlines() if x.startswith("VmHWM:")), 0)

    def stop(self) -> float:
        self._over.set()
        self._thread.join()
        return self._peak * 1024 / 1e6


def _probe() -> float:
    begun = time.monotonic()
    hashlib.md5(_PROBE, usedforsecurity=False)
    return time.monotonic() - begun


@dataclass(frozen=True, slots=True)
class Contender:
    """Something to measure.

    Attributes:
        name: in the tables.
        once: makes one run, from a clean start to a checked end.
        rounds: in how many rounds it takes part; None: in all.
    """

    name: str
    once: Callable[[], Run]
    rounds: int | None = None


def interleave(contenders: Sequence[Contender], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Run all in turn, so many times over; the runs of each, by name."""
    runs: dict[str, list[dict[str, Any]]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        for contender in contenders:
            if contender.rounds is not None and number >= contender.rounds:
                continue
            one = contender.once()
            runs[contender.name].append(asdict(one))
            say(f"round {number + 1}/{rounds}  {contender.name:44} {one.seconds:7.2f} s  {one.peak_mb:5.0f} MB")
    return runs


def say(line: str) -> None:
    """Print progress."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


# -- the surroundings ---------------------------------------------------------------------------------------


@contextmanager
def stub(kind: str, **told: Any) -> Iterator[str]:
    """One end of a transfer, in a process of its own; its address."""
    command = [sys.executable, "-m", "bench.stub", kind, json.dumps(told)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - ours
    try:
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip()
    finally:
        process.kill()
        process.communicate()


def cpu_of(folder: Path) -> float | None:
    """Seconds of CPU that the process whose command line names a folder has taken so far; None without a /proc."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            if str(folder).encode() not in command or command.startswith(b"/bin/sh"):
                continue
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return None


def fetch(url: str, method: str = "GET") -> bytes:
    """What a stub says."""
    with urlopen(Request(url, method=method)) as answer:  # noqa: S310 - loopback
        body: bytes = answer.read()
    return body


def plain_environment(home: Path) -> dict[str, str]:
    """The variables that every measured process gets; nothing of the caller's leaks in."""
    return {
        "PATH": f"{BIN}{os.pathsep}{os.defpath}",
        "HOME": str(home),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
        "LANG": "C.UTF-8",
    }


@contextmanager
def scratch() -> Iterator[tuple[Path, bool]]:
    """A folder to throw away, in memory where there is room enough; and whether it is."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    roomy = memory.is_dir() and min(shutil.disk_usage(memory).free, _available_memory()) > _ROOMY
    with tempfile.TemporaryDirectory(dir=memory if roomy else None, prefix="viplake-bench-") as folder:
        yield Path(folder), roomy


def _available_memory() -> int:
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return 0
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def machine() -> str:
    """This one, in general terms."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB of memory, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
    return names[0] if names else platform.machine()


def version_of(command: str) -> str:
    """What a peer says of its version, first word that looks like one."""
    told = subprocess.run([BIN / command, "version"], capture_output=True, text=True, check=True)  # noqa: S603 - a peer
    return next((word.lstrip("v") for word in told.stdout.split() if word.lstrip("v")[:1].isdigit()), "unknown")
