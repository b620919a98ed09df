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
IMAGE = ("holidays", "notify", "report", "spark", "tables")
EXTRAS = (*IMAGE, "pandas", "postgres")
RUN = {
    "requirements.lock": (),
    "locks/image.lock": IMAGE,
    **{f"locks/{extra}.lock": (extra,) for extra in EXTRAS},
}
"""Lock of what viplake needs to run -> its extras."""

GROUPS = {"requirements-dev.lock": "dev", "requirements-bench.lock": "bench"}
LOCKS = (*RUN, *GROUPS, "locks/build.lock")
PIN = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>[^ ]+)(?: ; (?P<marker>[^\\]+))? \\$", re.MULTILINE)
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")


def _pins(text: str) -> dict[str, Version]:
    return {match["name"]: Version(match["version"]) for match in PIN.finditer(text)}


def _group(groups: dict[str, list[Any]], name: str) -> list[str]:
    found: list[str] = []
    for entry in groups[name]:
        found += [entry] if isinstance(entry, str) else _group(groups, entry["include-group"])
    return found


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _asked_for(lock: str) -> list[Requirement]:
    pyproject = _project()
    extras: dict[str, list[str]] = pyproject["project"]["optional-dependencies"]
    if lock == "locks/build.lock":
        lines = _group(pyproject["dependency-groups"], "build")
    else:
        lines = [
            *pyproject["project"]["dependencies"],
            *(line for extra in RUN.get(lock, extras) for line in extras[extra]),
            *(_group(pyproject["dependency-groups"], GROUPS[lock]) if lock in GROUPS else ()),
        ]
    return [Requirement(line) for line in lines]


def _not_locked(asked: list[Requirement], pins: dict[str, Version]) -> list[str]:
    return [
        str(requirement)
        for requirement in asked
        if (pinned := pins.get(canonicalize_name(requirement.name))) is None
        or not requirement.specifier.contains(pinned, prereleases=True)
    ]


def _pinned(lock: str) -> dict[str, Version]:
    return _pins((ROOT / lock).read_text())


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_within_its_bounds(lock: str) -> None:
    stale = _not_locked(_asked_for(lock), _pinned(lock))
    assert not stale, f"run `make lock`: {lock} lacks {stale}"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_is_a_pin_or_its_hash_and_names_no_place(lock: str) -> None:
    lines = (ROOT / lock).read_text().splitlines()
    assert [line for line in lines if not PIN.match(line) and not HASH.fullmatch(line)] == []


def test_every_extra_has_a_lock() -> None:
    assert set(EXTRAS) == set(_project()["project"]["optional-dependencies"])
    assert {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("locks/*.lock")} <= set(LOCKS)


@pytest.mark.parametrize("lock", LOCKS)
def test_what_is_tested_and_measured_is_what_users_get(lock: str) -> None:
    dev, bench = map(_pinned, GROUPS)
    if lock not in GROUPS:
        assert _pinned(lock).items() <= dev.items()
    if lock in RUN:
        assert _pinned(lock).items() <= bench.items()


def test_who_only_delivers_installs_neither_build_tools_nor_what_extras_need() -> None:
    assert {"hatchling", "apprise", "plotly", "sqlglot", "deltalake"}.isdisjoint(_pinned("requirements.lock"))


def test_a_requirement_that_is_missing_or_out_of_bounds_is_found() -> None:
    asked = [Requirement("Aio_Http>=3.12"), Requirement("rich>=14"), Requirement("duckdb")]
    assert _not_locked(asked, {"aio-http": Version("3.14"), "rich": Version("13")}) == ["rich>=14", "duckdb"]
