"""The memory of a transfer stays flat, whatever the sizes. The figures of the full sizes: see measure_transfer.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from extract.measure_transfer import measure

if TYPE_CHECKING:
    from pathlib import Path

    from servers.seaweed import Seaweed

pytestmark = pytest.mark.system

PEAK_MB = 130.0
"""Of 150 for the whole process: the command line, its settings and boto3 come to it (20 MB)."""

MANY = {"files": 600, "total_bytes": 300_000_000}
LARGE = {"sizes": [700_000_000]}


def test_Z1_D23_one_large_file_into_a_folder(tmp_path: Path) -> None:
    check(LARGE, {"url": f"file://{tmp_path}"})


@pytest.mark.long
def test_many_files_into_a_folder(tmp_path: Path) -> None:
    check(MANY, {"url": f"file://{tmp_path}"})


@pytest.mark.parametrize("export", [MANY, LARGE], ids=["many", "large"])
@pytest.mark.long
def test_Z1_both_into_s3(export: dict[str, Any], seaweed: Seaweed) -> None:
    lake = {
        "url": f"s3://{seaweed.bucket()}",
        "access_key_id": seaweed.access_key,
        "secret_access_key": seaweed.secret_key,
        "region": seaweed.region,
        "endpoint": seaweed.endpoint,
        "allow_http": True,
    }
    check(export, lake)


def check(export: dict[str, Any], lake: dict[str, Any]) -> None:
    measured = measure(export, lake)
    assert measured.failed == {}
    assert measured.bytes >= export.get("total_bytes", 0) + sum(export.get("sizes", ()))
    assert 30 < measured.idle_mb < measured.peak_mb < PEAK_MB
