"""What every test may ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from canary import CANARIES, Canaries
from servers.seaweed import Seaweed, serve

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def canaries() -> Canaries:
    """The secrets of the suite, to be found nowhere afterwards."""
    return CANARIES


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """A real S3 server, one for the whole session; `seaweed.bucket()` gives each test a place of its own."""
    with serve(tmp_path_factory.mktemp("seaweed")) as server:
        yield server
