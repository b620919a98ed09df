"""`viplake` in a process of its own, as users run it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from canary import CANARIES
from viplake.simulator import SimulatorSettings, running

if TYPE_CHECKING:
    from pathlib import Path

    from viplake.simulator import Simulator

SECONDS = 240
ENOUGH_SECONDS = 60


@dataclass(frozen=True)
class Finished:
    """What a command came to."""

    code: int
    out: str
    err: str


@dataclass
class Commands:
    """The command, with an environment that holds nothing but what is given.

    Attributes:
        environ: the variables.
        cwd: where it runs.
    """

    environ: dict[str, str]
    cwd: Path

    def around(self, more: dict[str, str]) -> dict[str, str]:
        here = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        return here | self.environ | more

    def run(self, *arguments: str, **more: str) -> Finished:
        """Run it to its end; with these variables besides."""
        return self.run_as(sys.executable, "-m", "viplake", *arguments, **more)

    def run_as(self, *command: str, **more: str) -> Finished:
        """Run another command in the same way."""
        process = subprocess.run(
            command,
            env=self.around(more),
            cwd=self.cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
        )
        return Finished(process.returncode, process.stdout, process.stderr)

    def at_a_terminal(self, *arguments: str, **more: str) -> tuple[int, str]:
        """Run it at a terminal of 110 columns; its exit code, and all that the terminal was sent."""
        ours, theirs = pty.openpty()
        environ = self.around({"TERM": "xterm-256color", "COLUMNS": "110", "LINES": "40", **more})
        process = subprocess.Popen(
            [sys.executable, "-m", "viplake", *arguments],
            env=environ,
            cwd=self.cwd,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        sent = b""
        try:
            while chunk := _read(ours):
                sent += chunk
            return process.wait(SECONDS), sent.decode()
        finally:
            os.close(ours)
            process.kill()
            process.wait()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # on Linux, the end of a terminal is an error
        return b""


def stay_within_the_hour(seconds: float) -> None:
    """Near the end of an Hour wait for the next one: what takes so long is about one Hour."""
    left = 3600 - time.time() % 3600
    if left < seconds:
        time.sleep(left + 1)


def simulated(**settings: Any) -> Any:
    """A simulated vendor whose secrets are the canaries, and whose export takes a second.

    What runs against it is about one Hour: near its end, this waits for the next one.
    """
    stay_within_the_hour(ENOUGH_SECONDS)
    given = {"company": "ACME", "client_id": CANARIES.client_id, "client_secret": CANARIES.client_secret}
    return running(SimulatorSettings(**{**given, "replication_seconds": 1, "port": 0, **settings}))


def environ_for(vendor: Simulator, lake: str, **more: str) -> dict[str, str]:
    """What a run against that vendor needs."""
    return {
        "VIPLAKE_ENVIRONMENT": "Prod",
        "VIPLAKE_LAKE": lake,
        "VIPLAKE_COMPANY": "ACME",
        "VIPLAKE_CLIENT_ID": CANARIES.client_id,
        "VIPLAKE_CLIENT_SECRET": CANARIES.client_secret,
        "VIPLAKE_TOKEN_URL": vendor.token_url,
        "VIPLAKE_EXPORT_URL": vendor.export_url,
        "VIPLAKE_FILES_URL": vendor.files_url,
        "VIPLAKE_ALLOW_INSECURE_HTTP": "true",
        "VIPLAKE_POLL_SECONDS": "1",
        **more,
    }
