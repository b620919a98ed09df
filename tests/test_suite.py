"""The suite itself: what one worker leaks is found at the end, whichever worker it was."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.system

HERE: Final = Path(__file__).parent

# Three files for two workers: so neither has all of them.
SUITE: Final = {
    "test_nothing.py": "def test_nothing(): pass",
    "test_print.py": "from canary import CANARIES\ndef test_prints(): print(CANARIES.client_secret)",
    "test_write.py": "from canary import CANARIES\ndef test_writes(tmp_path):"
    " (tmp_path / 'report.html').write_text(CANARIES.proxy_password)",
}


def test_the_canary_search_sees_output_and_files_of_every_worker(tmp_path: Path) -> None:
    suite = tmp_path / "suite"
    suite.mkdir()
    for name in ("conftest.py", "test_zz_canaries.py"):
        shutil.copyfile(HERE / name, suite / name)
    for name, text in SUITE.items():
        (suite / name).write_text(text)
    (suite / "pytest.ini").write_text(f"[pytest]\naddopts = --import-mode=importlib\npythonpath = {HERE}\n")
    # A worker's own variables would make this session believe that it is one.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    written = ["--basetemp", str(tmp_path / "written")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-vv", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider", *written],
        cwd=suite,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    shutil.rmtree(tmp_path / "written")  # what leaked there on purpose
    assert (done.returncode, "= 1 failed, 4 passed" in done.stdout.splitlines()[-1]) == (1, True), done.stdout
    [found] = [line for line in done.stdout.splitlines() if line.startswith("E       AssertionError")]
    assert "report.html" in found
    assert "test_print.py::test_prints" in found
    assert "test_nothing" not in found


def test_the_clock_is_in_no_name_of_a_test(request: pytest.FixtureRequest) -> None:
    """Workers that collect one file in two different seconds collect the same names, though gzip writes the time."""
    config = request.config
    names = {
        config.hook.pytest_make_parametrize_id(config=config, val=gzip.compress(b"", mtime=second), argname="body")
        for second in (1, 2)
    }
    assert names == {"body"}
