"""The README tells the truth: its tables are those of the code, and every command in it is run."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from canary import CANARIES
from commands import environ_for, simulated
from viplake import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)


def tool(name: str) -> Any:
    """A program of tools/, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["README.md", "docs/content.md", "docs/query.md", "docs/schema.md"])
def test_generated_blocks_of_a_page_are_current(page: str) -> None:
    """Run `make readme` where this fails."""
    readme = tool("readme")
    assert page in readme.PAGES
    text = (ROOT / page).read_text(encoding="utf-8")
    assert readme.filled(page, text) == text


def test_readme_is_short_and_findable() -> None:
    assert len(TEXT.splitlines()) < 200
    for word in (
        *("alert", "anomal", "slo", "sla", "data quality", "checksum", "retr", "backfill", "manifest", "idempotent"),
        *("monitor", "incident", "freshness", "schema drift", "s3", "lambda", "glue", "cost"),
    ):
        assert word in TEXT.lower(), word


def test_the_first_screen_of_the_readme_has_the_words_that_people_search_for() -> None:
    """Up to the first block of commands."""
    first = TEXT.partition("```")[0].lower()
    assert len(first.splitlines()) < 25
    for word in (
        *("alert", "anomal", "slo", "sla", "data quality", "checksum", "retr", "manifest", "idempotent", "monitor"),
        *("incident", "freshness", "schema drift", "s3", "pipeline", "data lake", "veson", "imos", "export"),
    ):
        assert word in first, word


def test_every_page_is_reachable_from_the_index() -> None:
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    known, queue = {"index.md"}, ["index.md"]
    while queue:
        page = ROOT / "docs" / queue.pop()
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            target = (page.parent / link).resolve()
            assert target.exists(), f"{page.name} links to {link}"
            if target.suffix == ".md" and target.is_relative_to(ROOT / "docs"):
                name = target.relative_to(ROOT / "docs").as_posix()
                if name not in known:
                    known.add(name)
                    queue.append(name)
    assert pages == known


def test_every_link_of_the_readme_exists() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", TEXT)
    assert "docs/img/demo.svg" in links
    for link in links:
        assert (ROOT / link).exists(), link
    anchors = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"(?m)^#+ (.*)$", TEXT)}
    assert set(re.findall(r"\]\(#([^)]+)", TEXT)) <= anchors


def test_its_picture_is_one_of_the_demo_and_fetches_nothing() -> None:
    picture = (ROOT / "docs" / "img" / "demo.svg").read_text(encoding="utf-8")
    words = re.sub(r"<[^>]+>", "", picture).replace("&#160;", " ")
    for part in ("viplake demo", "killed with", "vendor_job_failed", "all proven"):
        assert part in words
    assert not re.search(r"url\([\"']?https?:|href=[\"']https?:|@import", picture)


# -- the commands ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader works: a checkout after `make demo`. The blocks build on each other."""
    folder = tmp_path_factory.mktemp("reader")
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text(f'export PATH="{programs}:$PATH"\n')
    (programs / "viplake").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m viplake "$@"\n')
    (programs / "viplake").chmod(0o755)
    (folder / "lake").mkdir()
    return folder


@pytest.fixture(scope="module")
def environ(place: Path) -> Iterator[dict[str, str]]:
    """What a reader has instead of the placeholders: a vendor, who is simulated, and a folder as lake."""
    with simulated() as vendor:
        given = environ_for(vendor, f"file://{place / 'lake'}")
        del given["VIPLAKE_ENVIRONMENT"], given["VIPLAKE_POLL_SECONDS"]
        here = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        yield here | given | {"PATH": path_without_viplake(), "VIPLAKE_POLL_SECONDS": "1"}


def path_without_viplake() -> str:
    """The PATH of a machine on which viplake is not installed."""
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if not (Path(folder) / "viplake").exists())


def run(place: Path, environ: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=place, env=environ, capture_output=True, text=True, timeout=200, check=False)


PLACEHOLDERS = {
    "your-client-id": CANARIES.client_id,
    "your-client-secret": CANARIES.client_secret,
    "viplake simulate ": "viplake simulate --port 0 ",
}


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_command_in_it_works(number: int, place: Path, environ: dict[str, str]) -> None:
    block = BLOCKS[number]
    if block.startswith("make"):
        for line in block.splitlines():  # what they start is run by other tests: the demo, and this very suite
            dry = subprocess.run(
                ["make", "-n", *line.split()[1:]], cwd=ROOT, capture_output=True, text=True, check=True
            )
            assert ("viplake demo" if "demo" in line else "pytest") in dry.stdout
        return
    for placeholder, real in {**PLACEHOLDERS, "s3://your-bucket": environ["VIPLAKE_LAKE"]}.items():
        block = block.replace(placeholder, real)
    environ = {name: value for name, value in environ.items() if f"export {name}" not in block}
    if "demo-lake" in block:  # what `make demo` leaves, in short
        with simulated() as vendor:
            given = environ | environ_for(vendor, f"file://{place}/demo-lake", VIPLAKE_ENVIRONMENT="Test")
            made = run(place, given, sys.executable, "-m", "viplake", "run")
        assert made.returncode == 0, made.stderr
    activated = [one for one in range(number) if ". .venv/bin/activate" in BLOCKS[one]]
    script = f"set -e\n{'. .venv/bin/activate' * bool(activated)}\n{block}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=place, env=environ, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, (done.stdout, done.stderr)


def test_every_command_that_it_names_exists() -> None:
    known = {name for name in cli.app if not name.startswith("-")}
    assert set(re.findall(r"(?m)(?:`|^)viplake ([a-z]+)", TEXT)) == known


def test_the_python_of_the_operations_guide_works(environ: dict[str, str], place: Path) -> None:
    guide = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", guide, flags=re.DOTALL)
    check = f"{code}\nassert (client_id, client_secret) == {(CANARIES.client_id, CANARIES.client_secret)!r}"
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=place, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_records_have_the_members_that_it_lists(environ: dict[str, str], place: Path) -> None:
    """Read from the lake that its commands have just made."""
    table = dict(re.findall(r"(?m)^\| (Promise|Receipt|event|lake) \| (.*) \|$", TEXT))
    told = {name: set(re.findall(r"`(\w+)`", members)) for name, members in table.items()}
    root = place / "lake" / "DEV" / "IMOSDL"
    [receipt] = [json.loads(file.read_text()) for file in root.rglob("_Receipt.json")]
    [promise] = [json.loads(file.read_text()) for file in root.rglob("_PresignedUrls.json")]
    events = [json.loads(file.read_text()) for file in sorted((root / "_viplake" / "ledger").rglob("*.json"))]
    assert told["Receipt"] == {*receipt, *receipt["files"][0]}
    assert told["Promise"] == set(promise[0])
    assert told["event"] == set.intersection(*map(set, events)) | {"job_guid"}
    assert told["lake"] == set(json.loads((root / "_viplake" / "lake.json").read_text()))
    assert [event["event"] for event in events][:2] == ["claimed", "triggered"]
    assert not shutil.which("viplake", path=environ["PATH"]), "the README says where it is"
