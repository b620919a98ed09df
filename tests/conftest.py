"""What every test may ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from canary import CANARIES, Canaries
from servers import ministack as ministacks
from servers.seaweed import Seaweed, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

# Examples are counted, not timed: a slow machine is no counterexample.
settings.register_profile("counted", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("counted")

_printed: list[tuple[str, str]] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what each test printed and logged, for the search at the end."""
    for _, text in report.sections:
        _printed.append((report.nodeid, text))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The search for secrets comes last, when everything is written."""
    items.sort(key=lambda item: "test_zz_canaries" in item.nodeid)


@pytest.fixture
def printed() -> list[tuple[str, str]]:
    """What all tests so far printed and logged: (test, text)."""
    return _printed


@pytest.fixture(scope="session")
def canaries() -> Canaries:
    """The secrets of the suite, to be found nowhere afterwards."""
    return CANARIES


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """A real S3 server, one for the whole session; `seaweed.bucket()` gives each test a place of its own."""
    with serve(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ministacks.Ministack]:
    """Secrets Manager, SNS, CloudFormation and more, one server for the whole session."""
    with ministacks.serve(tmp_path_factory.mktemp("ministack")) as server:
        yield server
