"""I/O. How it was done before: threads, each of which GETs a file with requests and uploads it with boto3.

As a careful person would write it: one session a thread, one client for all, bodies streamed. Nothing is hashed
or compared, and nothing resumes.

    python -m bench.old_way '{"files_url": "...", "endpoint": "...", "bucket": "b", "folder": "f/", "threads": 3}'
"""

from __future__ import annotations

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import requests
from botocore.config import Config


def move(told: dict[str, Any]) -> None:
    """All files that the vendor lists."""
    client = boto3.client(
        "s3",
        endpoint_url=told["endpoint"],
        aws_access_key_id=told["access_key_id"],
        aws_secret_access_key=told["secret_access_key"],
        region_name=told["region"],
        config=Config(max_pool_connections=64, s3={"addressing_style": "path"}),
    )
    own = threading.local()

    def one(file: dict[str, Any]) -> None:
        if not hasattr(own, "session"):
            own.session = requests.Session()
        with own.session.get(file["presignedDownloadURL"], stream=True, timeout=60) as answer:
            answer.raise_for_status()
            name = file["key"].rpartition("/")[2]
            client.upload_fileobj(answer.raw, told["bucket"], told["folder"] + name)

    files = requests.get(told["files_url"], timeout=60).json()
    with ThreadPoolExecutor(told["threads"]) as pool:
        for _ in pool.map(one, files):
            pass


if __name__ == "__main__":
    begun = time.monotonic()
    move(json.loads(sys.argv[1]))
    sys.stdout.write(json.dumps({"seconds": time.monotonic() - begun}) + "\n")
