"""After each test of the tables, a second implementation of the Delta protocol reads what the log's JSON says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from current.lakes import TableLake
from current.second_reader import second_reader

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def _reader_ends() -> Iterator[None]:
    yield
    if second_reader.cache_info().currsize:
        second_reader().close()


@pytest.fixture(autouse=True)
def _second_reader_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tables of every lake that a test made have the same rows for the second reader."""
    lakes: list[TableLake] = []
    made = TableLake.__post_init__

    def noted(lake: TableLake) -> None:
        made(lake)
        lakes.append(lake)

    monkeypatch.setattr(TableLake, "__post_init__", noted)
    yield
    for lake in lakes:
        for kind in ("history", "current"):
            for table in lake.complete(kind):
                assert second_reader().digest(lake.table(kind, table)) == lake.digest(kind, table), (kind, table)
