"""The notebook runs on a lake from its first cell to its last, and shows every figure."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from history.lakes import TABLES, export, fill
from viplake.lake.store import StoreSettings, open_store
from viplake.model import Hour
from viplake.report.figures import CHARTS

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "observability.ipynb"


def cells(notebook: Path, kind: str) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The notebook after nbmake ran it on a lake of the last days, with a hole and a missing table."""
    folder = tmp_path_factory.mktemp("notebook")
    store = open_store(StoreSettings((folder / "lake").as_uri(), create=True))
    now = Hour.of(datetime.now(UTC))
    objects: dict[str, bytes] = {}
    for back in range(60, 0, -1):
        if back not in {30, 31, 32}:
            objects |= export(now.shift(-back), TABLES[1:] if back == 12 else TABLES, size=9000 + 10 * back)
    asyncio.run(fill(store, objects))
    copy = folder / NOTEBOOK.name
    shutil.copy(NOTEBOOK, copy)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbmake", "--overwrite", str(copy)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VIPLAKE_")}
    places = {
        name: str(folder) for name in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR")
    }
    settings = {"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": (folder / "lake").as_uri()}
    done = subprocess.run(
        command, cwd=folder, env=kept | places | settings, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return copy


def test_it_shows_every_figure_in_its_order(executed: Path) -> None:
    shown = [
        output["data"]["application/vnd.plotly.v1+json"]["layout"]["title"]["text"]
        for cell in cells(executed, "code")
        for output in cell["outputs"]
        if "application/vnd.plotly.v1+json" in output.get("data", {})
    ]
    assert shown == [chart.title for chart in CHARTS]


def test_it_says_what_it_found(executed: Path) -> None:
    said = "".join(
        "".join(output["text"]) for cell in cells(executed, "code") for output in cell["outputs"] if "text" in output
    )
    assert re.search(r"6[01] Hours added", said)  # the current one counts in its second half
    assert "No check has run on this history." in said


def test_it_is_kept_without_outputs() -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells(NOTEBOOK, "code"))
