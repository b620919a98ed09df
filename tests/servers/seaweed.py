"""I/O. SeaweedFS as the S3 of the tests: it verifies signatures, checksums and conditions as AWS does.

One process runs master, volume server, filer and S3 gateway on ports that were free a moment ago. It lives
under a shell that ends it as soon as its standard input closes, so that it never outlives the test run,
however that one ends.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sysconfig
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import boto3
import obstore
from botocore.config import Config
from obstore.store import S3Store

from canary import CANARIES
from viplake.lake.store import StoreSettings
from viplake.redact import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

# It answers after about 6 s: the volume server asks the master anew every 5 s. A loaded machine may need far longer.
START_SECONDS: Final = 60
STOP_SECONDS: Final = 10
# Someone else may take a port between our look at it and the server's bind.
ATTEMPTS: Final = 3
REGION: Final = "us-east-1"

# `cat` gets the input by number, because a shell gives a job in the background an empty one. KILL, because the
# server takes more than 10 s to end by itself, and its data is worth nothing.
_UNTIL_INPUT_CLOSES: Final = """
exec 3<&0
"$@" </dev/null 3<&- &
pid=$!
{ cat <&3; kill -KILL "$pid"; } >/dev/null 2>&1 &
wait "$pid"
"""

# As the server's options name them. Each listens on two ports, one of them for gRPC.
_SERVICES: Final = ("master", "volume", "filer", "s3")


class SeaweedNotStartedError(Exception):
    """The server ended, or did not answer in time; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One user of the server, and what it may do."""

    name: str
    access_key: str
    secret_key: str = field(repr=False)
    actions: tuple[str, ...]


ADMIN: Final = Identity(
    "admin",
    CANARIES.aws_access_key_id,
    CANARIES.aws_secret_access_key,
    ("Admin", "Read", "List", "Tagging", "Write"),
)
ROTATED: Final = Identity(
    "rotated", CANARIES.rotated_access_key_id, CANARIES.rotated_secret_access_key, ("Read", "List", "Write")
)
READER: Final = Identity("reader", CANARIES.reader_access_key_id, CANARIES.reader_secret_access_key, ("Read", "List"))


@dataclass(frozen=True)
class Seaweed:
    """A running server.

    Attributes:
        endpoint: `http://127.0.0.1:PORT`.
        log: the file with all that the server said.
        access_key: of the identity that may do everything.
        secret_key: of the same.
        region: any will do for the server, but requests are signed for one.
        reader: an identity that may list and read, but not write.
        rotated: another that may write, for a run whose credentials change.
    """

    endpoint: str
    log: Path
    access_key: str = ADMIN.access_key
    secret_key: str = field(default=ADMIN.secret_key, repr=False)
    region: str = REGION
    reader: Identity = READER
    rotated: Identity = ROTATED
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    def bucket(self) -> str:
        """Create an empty bucket and return its name."""
        name = f"bucket-{next(self._numbers)}"
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(proxies={}, retries={"total_max_attempts": 1}),
        )
        with contextlib.closing(client):
            client.create_bucket(Bucket=name)
        return name

    def store(self, bucket: str, identity: Identity = ADMIN) -> S3Store:
        """The bucket as obstore sees it, with nothing of ours in between."""
        return S3Store(
            bucket,
            endpoint=self.endpoint,
            access_key_id=identity.access_key,
            secret_access_key=identity.secret_key,
            region=self.region,
            client_options={"allow_http": True},
        )

    def settings(self, bucket: str, identity: Identity = ADMIN) -> StoreSettings:
        """How our own store reaches the bucket, or a prefix in it."""
        return StoreSettings(
            f"s3://{bucket}",
            access_key_id=identity.access_key,
            secret_access_key=Secret(identity.secret_key),
            region=self.region,
            endpoint=self.endpoint,
            allow_http=True,
        )

    def environment(self, identity: Identity = ADMIN) -> dict[str, str]:
        """The variables by which a process finds this server as its S3."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": identity.access_key,
            "AWS_SECRET_ACCESS_KEY": identity.secret_key,
            "AWS_REGION": self.region,
        }


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Seaweed]:
    """Run a server with its data in `folder`, until the block ends or this process does.

    Raises:
        SeaweedNotStartedError: it did not start, three times over.
    """
    for attempt in range(1, ATTEMPTS + 1):
        home = folder / str(attempt)
        ports = _free_ports(2 * len(_SERVICES))
        process, server = _start(home, ports)
        try:
            try:
                _wait_until_it_answers(process, server)
            except SeaweedNotStartedError:
                if attempt == ATTEMPTS:
                    raise
                continue
            yield server
            return
        finally:
            _stop(process)
            _sweep(ports)
            shutil.rmtree(home / "data", ignore_errors=True)


def _start(home: Path, ports: list[int]) -> tuple[subprocess.Popen[bytes], Seaweed]:
    data = home / "data"
    data.mkdir(parents=True)
    config = data / "s3.json"
    config.write_text(json.dumps({"identities": [_as_config(identity) for identity in (ADMIN, READER, ROTATED)]}))
    log = home / "seaweed.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _UNTIL_INPUT_CLOSES, "sh", *_command(data, config, ports)],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=home,
            # One new volume a bucket instead of seven: the tests make many buckets and little data.
            env={"PATH": os.defpath, "HOME": str(home), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
        )
    s3_port = ports[_SERVICES.index("s3")]
    return process, Seaweed(f"http://127.0.0.1:{s3_port}", log)


def _as_config(identity: Identity) -> dict[str, object]:
    return {
        "name": identity.name,
        "credentials": [{"accessKey": identity.access_key, "secretKey": identity.secret_key}],
        "actions": identity.actions,
    }


def _command(data: Path, config: Path, ports: list[int]) -> list[str]:
    half = len(_SERVICES)
    return [
        _weed(),
        "server",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-dir={data}",
        *(f"-{service}.port={port}" for service, port in zip(_SERVICES, ports[:half], strict=True)),
        *(f"-{service}.port.grpc={port}" for service, port in zip(_SERVICES, ports[half:], strict=True)),
        "-s3",
        f"-s3.config={config}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        # As AWS: a missing bucket is an error.
        "-s3.autoCreateBucket=false",
        "-master.telemetry=false",
        # Each bucket takes volumes of its own, files that grow as needed: the default of 8 is soon used up, and
        # "as many as the disk holds" counts each at its full size.
        "-volume.max=2000",
        "-master.volumeSizeLimitMB=1024",
        "-master.volumePreallocate=false",
        "-volume.preStopSeconds=0",
    ]


def _weed() -> str:
    """The server's binary, where its package put it: beside this Python's other scripts."""
    found = shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")
    if found is None:
        raise SeaweedNotStartedError("no `weed` here; it comes with the development lock: make dev")
    return found


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_until_it_answers(process: subprocess.Popen[bytes], server: Seaweed) -> None:
    deadline = time.monotonic() + START_SECONDS
    why = "it did not answer in time"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            why = f"it ended with {process.returncode}"
            break
        if _answers(server):
            return
        time.sleep(0.1)
    tail = "\n".join(server.log.read_text(errors="replace").splitlines()[-30:])
    raise SeaweedNotStartedError(f"SeaweedFS: {why}; the end of its log:\n{tail}")


def _answers(server: Seaweed) -> bool:
    """Whether a signed PUT goes through: the gateway listens before the volumes behind it are ready."""
    address = server.endpoint.removeprefix("http://").split(":")
    with contextlib.suppress(OSError), socket.create_connection((address[0], int(address[1])), timeout=1):
        try:
            obstore.put(server.store(server.bucket()), "ready", b"?")
        except Exception:  # noqa: BLE001 - every way of not being ready is the same
            return False
        return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Close the input of the server's shell, which then ends the server, and wait for it."""
    if process.stdin is not None:
        process.stdin.close()
    process.wait(STOP_SECONDS)


def _sweep(ports: list[int]) -> None:
    """Remove the sockets that the server makes in /tmp, whatever TMPDIR says."""
    for port in ports:
        for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
            left.unlink(missing_ok=True)
