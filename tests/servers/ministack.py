"""I/O. ministack as the rest of AWS in the tests: Secrets Manager, SNS, CloudFormation, and more.

As SeaweedFS, it lives under a shell that ends it as soon as its standard input closes. It keeps everything in memory
and listens on loopback only: its listeners for MQTT and SFTP, which take every interface, are turned off.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config

from canary import CANARIES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_SECONDS: Final = 60
STOP_SECONDS: Final = 10
ATTEMPTS: Final = 3
REGION: Final = "us-east-1"

_UNTIL_INPUT_CLOSES: Final = """
exec 3<&0
"$@" </dev/null 3<&- &
pid=$!
{ cat <&3; kill -KILL "$pid"; } >/dev/null 2>&1 &
wait "$pid"
"""


class MinistackNotStartedError(Exception):
    """The server ended, or did not answer in time; the message holds the end of its log."""


@dataclass(frozen=True)
class Ministack:
    """A running server.

    Attributes:
        endpoint: `http://127.0.0.1:PORT`, of every service.
        log: the file with all that the server said.
    """

    endpoint: str
    log: Path

    def client(self, service: str) -> Any:
        """boto3's client for one of its services."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            aws_access_key_id=CANARIES.aws_access_key_id,
            aws_secret_access_key=CANARIES.aws_secret_access_key,
            region_name=REGION,
            config=Config(proxies={}, retries={"total_max_attempts": 1}),
        )

    def environment(self) -> dict[str, str]:
        """The variables by which a process finds this server as its AWS."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": CANARIES.aws_access_key_id,
            "AWS_SECRET_ACCESS_KEY": CANARIES.aws_secret_access_key,
            "AWS_REGION": REGION,
        }


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Ministack]:
    """Run a server, until the block ends or this process does.

    Raises:
        MinistackNotStartedError: it did not start, three times over.
    """
    for attempt in range(1, ATTEMPTS + 1):
        process, server = _start(folder / str(attempt))
        try:
            try:
                _wait_until_it_answers(process, server)
            except MinistackNotStartedError:
                if attempt == ATTEMPTS:
                    raise
                continue
            yield server
            return
        finally:
            if process.stdin is not None:
                process.stdin.close()
            process.wait(STOP_SECONDS)


def _start(home: Path) -> tuple[subprocess.Popen[bytes], Ministack]:
    home.mkdir(parents=True)
    program = shutil.which("ministack", path=sysconfig.get_path("scripts")) or shutil.which("ministack")
    if program is None:
        raise MinistackNotStartedError("no `ministack` here; it comes with the development lock: make dev")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = home / "ministack.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _UNTIL_INPUT_CLOSES, "sh", program],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=home,
            env={
                "PATH": os.defpath,
                "HOME": str(home),
                "TMPDIR": str(home),
                "STATE_DIR": str(home / "state"),
                "S3_DATA_DIR": str(home / "s3"),
                "BIND_HOST": "127.0.0.1",
                "GATEWAY_PORT": str(port),
                "IOT_MTLS_ENABLED": "0",
                "SFTP_ENABLED": "0",
            },
        )
    return process, Ministack(f"http://127.0.0.1:{port}", log)


def _wait_until_it_answers(process: subprocess.Popen[bytes], server: Ministack) -> None:
    deadline = time.monotonic() + START_SECONDS
    why = "it did not answer in time"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        if process.poll() is not None:
            why = f"it ended with {process.returncode}"
            break
        with contextlib.suppress(OSError, urllib.error.URLError), direct.open(f"{server.endpoint}/_ministack/health"):
            return
        time.sleep(0.1)
    tail = "\n".join(server.log.read_text(errors="replace").splitlines()[-30:])
    raise MinistackNotStartedError(f"ministack: {why}; the end of its log:\n{tail}")
