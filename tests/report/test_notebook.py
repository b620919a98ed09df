"""The notebook runs on a lake from its first cell to its last, and shows every figure."""

from __future__ import annotations

import asyncio
import gzip
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

import viplake
from history.lakes import LAYOUT, TABLES, export, fill
from viplake.lake.store import StoreSettings, open_store
from viplake.model import Hour
from viplake.report.figures import CHARTS

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
PLOTLY = "application/vnd.plotly.v1+json"
NOTEBOOK = ROOT / "notebooks" / "observability.ipynb"


def cells(notebook: Path, kind: str) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The notebook after nbmake ran it as documented: in notebooks/, beside the demo's lake, without variables."""
    folder = tmp_path_factory.mktemp("checkout")
    store = open_store(StoreSettings((folder / "demo-lake").as_uri(), create=True))
    now = Hour.of(datetime.now(UTC))
    objects: dict[str, bytes] = {}
    for back in range(60, 0, -1):
        if back not in {30, 31, 32}:
            objects |= export(now.shift(-back), TABLES[1:] if back == 12 else TABLES, size=9000 + 10 * back)
    newest = {
        key for key in objects if f"/{now.shift(-1).folder}/" in key and "Schema" not in key and "_Pre" not in key
    }
    objects |= dict.fromkeys(newest, gzip.compress(b'[{"id": 1}]'))
    objects |= {LAYOUT.receipt(now.shift(-1)): b"{}"}
    asyncio.run(fill(store, objects))
    viplake.open_lake((folder / "demo-lake").as_uri(), environment="Prod").observe()
    (folder / "notebooks").mkdir()
    copy = folder / "notebooks" / NOTEBOOK.name
    shutil.copy(NOTEBOOK, copy)
    (folder / "notebooks" / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbmake", "--overwrite", str(copy)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VIPLAKE_")}
    places = {
        name: str(folder) for name in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR")
    }
    done = subprocess.run(
        command, cwd=copy.parent, env=kept | places, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return copy


def outputs(notebook: Path) -> list[dict[str, Any]]:
    return [output for cell in cells(notebook, "code") for output in cell["outputs"]]


def test_it_shows_every_figure_in_its_order_and_then_one_of_its_own(executed: Path) -> None:
    drawn = [output["data"] for output in outputs(executed) if PLOTLY in output.get("data", {})]
    assert [data[PLOTLY]["layout"]["title"]["text"] for data in drawn] == [
        *(chart.title for chart in CHARTS),
        "Missing tables, daily mean",
    ]
    assert all("Plotly.newPlot" in "".join(data["text/html"]) for data in drawn), "figures of exported HTML"


def test_it_prints_what_it_found(executed: Path) -> None:
    said = "".join("".join(output["text"]) for output in outputs(executed) if "text" in output)
    assert re.search(r"Prod: 6[01] Hours from", said)  # the current one counts in its second half
    assert "No check has run on this history." in said


def test_it_uses_the_public_api_alone() -> None:
    code = "\n".join("".join(cell["source"]) for cell in cells(NOTEBOOK, "code"))
    imported = re.findall(r"(?m)^(?:from|import) (viplake[\w.]*)", code)
    assert imported == ["viplake"]
    assert "await" not in code


def test_it_is_stored_without_outputs() -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells(NOTEBOOK, "code"))
