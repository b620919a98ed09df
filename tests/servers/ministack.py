"""I/O. ministack as the rest of AWS in the tests: Secrets Manager, SNS, CloudFormation, and more.

As SeaweedFS, it lives under a shell that ends it as soon as its standard input closes. It keeps everything in memory
and listens on loopback only: its listeners for MQTT and SFTP, which take every interface, are turned off.

With an authority of ours it is strict: it speaks TLS, verifies signatures, and weighs every request against the
policies of roles and buckets as AWS does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
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

    from servers.sockets import Authority

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
        endpoint: `http://127.0.0.1:PORT`, of every service; https where it is strict.
        log: the file with all that the server said.
        ca_file: what its certificate must be checked with, where it is strict.
    """

    endpoint: str
    log: Path
    ca_file: Path | None = None

    def client(self, service: str) -> Any:
        """boto3's client for one of its services."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            aws_access_key_id=CANARIES.aws_access_key_id,
            aws_secret_access_key=CANARIES.aws_secret_access_key,
            region_name=REGION,
            verify=None if self.ca_file is None else str(self.ca_file),
            config=Config(proxies={}, retries={"total_max_attempts": 1}),
        )

    def environment(self) -> dict[str, str]:
        """The variables by which a process finds this server as its AWS."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": CANARIES.aws_access_key_id,
            "AWS_SECRET_ACCESS_KEY": CANARIES.aws_secret_access_key,
            "AWS_REGION": REGION,
            **({} if self.ca_file is None else {"SSL_CERT_FILE": str(self.ca_file)}),
        }


@contextlib.contextmanager
def serve(folder: Path, strict: Authority | None = None) -> Iterator[Ministack]:
    """Run a server, until the block ends or this process does.

    Args:
        folder: for its files.
        strict: who vouches for it; None: it speaks http and lets everybody do everything.

    Raises:
        MinistackNotStartedError: it did not start, three times over.
    """
    for attempt in range(1, ATTEMPTS + 1):
        process, server = _start(folder / str(attempt), strict)
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


def _start(home: Path, strict: Authority | None) -> tuple[subprocess.Popen[bytes], Ministack]:
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
                **({} if strict is None else _strictness(strict)),
            },
        )
    if strict is not None:
        return process, Ministack(f"https://127.0.0.1:{port}", log, strict.file)
    return process, Ministack(f"http://127.0.0.1:{port}", log)


def _strictness(authority: Authority) -> dict[str, str]:
    pem = str(authority.pem)
    # Whose key the server finds in its own environment is the account's root.
    root = {"AWS_ACCESS_KEY_ID": CANARIES.aws_access_key_id}
    return root | {"AUTH": "true", "USE_SSL": "1", "MINISTACK_SSL_CERT": pem, "MINISTACK_SSL_KEY": pem}


def _wait_until_it_answers(process: subprocess.Popen[bytes], server: Ministack) -> None:
    deadline = time.monotonic() + START_SECONDS
    why = "it did not answer in time"
    trusted = ssl.create_default_context(cafile=server.ca_file)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted))
    while time.monotonic() < deadline:
        if process.poll() is not None:
            why = f"it ended with {process.returncode}"
            break
        with contextlib.suppress(OSError, urllib.error.URLError), direct.open(f"{server.endpoint}/_ministack/health"):
            return
        time.sleep(0.1)
    tail = "\n".join(server.log.read_text(errors="replace").splitlines()[-30:])
    raise MinistackNotStartedError(f"ministack: {why}; the end of its log:\n{tail}")
