"""`make audit` asks about every locked package, and fails where an advisory is known. The advisories are made up."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hooks import Quiet, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[1]
LOCKS = [ROOT / "requirements.lock", *ROOT.glob("locks/*.lock")]


@contextmanager
def advisories(**known: str) -> Iterator[tuple[str, list[str]]]:
    """A database of advisories as OSV's (id by package); its address, and the packages that it was asked about."""
    asked: list[str] = []

    class Database(Quiet):
        def do_POST(self) -> None:
            package = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]
            asked.append(package["name"])
            body = json.dumps({"vulns": [self.of(package)]} if package["name"] in known else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @staticmethod
        def of(package: dict[str, str]) -> dict[str, Any]:
            everything = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}
            affected = [{"package": package, "ranges": [everything]}]
            words = {"summary": "made up", "details": "made up", "modified": "2026-01-01T00:00:00Z"}
            return {"id": known[package["name"]], "aliases": [], "affected": affected, **words}

    with serving(Database) as url:
        yield f"{url}v1/query", asked


def audit(url: str) -> subprocess.CompletedProcess[str]:
    recipe = subprocess.run(["make", "-n", "audit"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    [line] = [line for line in recipe.splitlines() if "/pip-audit " in line]
    command = [str(Path(sys.executable).parent / "pip-audit"), *line.split()[1:], "-s", "osv", "--osv-url", url]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_every_locked_package_is_audited() -> None:
    lines = [line for lock in LOCKS if lock.name != "build.lock" for line in lock.read_text().splitlines()]
    everywhere = {found[1] for line in lines if (found := re.fullmatch(r"([a-z0-9-]+)==\S+ \\", line))}
    with advisories() as (url, asked):
        done = audit(url)
    assert (done.returncode, "No known vulnerabilities found" in done.stderr) == (0, True)
    assert len(everywhere) > 30
    assert everywhere <= set(asked)


def test_a_known_vulnerability_fails_and_is_named() -> None:
    with advisories(aiohttp="TEST-2026-1") as (url, _):
        done = audit(url)
    assert done.returncode == 1
    assert re.search(r"aiohttp +\S+ +TEST-2026-1", done.stdout)
