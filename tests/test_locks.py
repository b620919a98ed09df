"""The lock files say the same as pyproject.toml, as far as that can be known without a network."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
UNLOCKED = {"pandas", "postgres"}
"""Extras that the run lock lacks: the image and servers do not hold them."""
LOCKS = {"requirements.lock": "build", "requirements-dev.lock": "dev", "requirements-bench.lock": "bench"}
PIN = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>[^ ]+)(?: ; (?P<marker>[^\\]+))? \\$", re.MULTILINE)
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")


def _pins(text: str) -> dict[str, Version]:
    return {match["name"]: Version(match["version"]) for match in PIN.finditer(text)}


def _group(groups: dict[str, list[Any]], name: str) -> list[str]:
    found: list[str] = []
    for entry in groups[name]:
        found += [entry] if isinstance(entry, str) else _group(groups, entry["include-group"])
    return found


def _asked_for(pyproject: dict[str, Any], group: str) -> list[Requirement]:
    extras = pyproject["project"].get("optional-dependencies", {})
    lines = [
        *pyproject["project"]["dependencies"],
        *(line for extra in extras if group != "build" or extra not in UNLOCKED for line in extras[extra]),
        *_group(pyproject["dependency-groups"], group),
    ]
    return [Requirement(line) for line in lines]


def _not_locked(asked: list[Requirement], pins: dict[str, Version]) -> list[str]:
    return [
        str(requirement)
        for requirement in asked
        if (pinned := pins.get(canonicalize_name(requirement.name))) is None
        or not requirement.specifier.contains(pinned, prereleases=True)
    ]


@pytest.mark.parametrize(("lock", "group"), LOCKS.items())
def test_every_requirement_is_pinned_within_its_bounds(lock: str, group: str) -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    stale = _not_locked(_asked_for(pyproject, group), _pins((ROOT / lock).read_text()))
    assert not stale, f"run `make lock`: {lock} lacks {stale}"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_is_a_pin_or_its_hash_and_names_no_place(lock: str) -> None:
    lines = (ROOT / lock).read_text().splitlines()
    assert [line for line in lines if not PIN.match(line) and not HASH.fullmatch(line)] == []


def test_the_development_lock_holds_every_version_of_the_runtime_lock() -> None:
    runtime, dev, _ = (_pins((ROOT / lock).read_text()) for lock in LOCKS)
    assert runtime.items() <= dev.items()


def test_the_measured_packages_are_the_locked_ones() -> None:
    runtime, _, bench = (_pins((ROOT / lock).read_text()) for lock in LOCKS)
    assert runtime.items() <= bench.items()


def test_a_requirement_that_is_missing_or_out_of_bounds_is_found() -> None:
    asked = [Requirement("Aio_Http>=3.12"), Requirement("rich>=14"), Requirement("duckdb")]
    assert _not_locked(asked, {"aio-http": Version("3.14"), "rich": Version("13")}) == ["rich>=14", "duckdb"]
