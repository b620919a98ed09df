"""A count that does not depend on the machine: bytes that a check holds at its peak for each table."""

from __future__ import annotations

import tracemalloc
from array import array
from datetime import timedelta

import pytest

from viplake.history.facts import HourFacts, RunFacts
from viplake.judge.evaluate import AGAIN, CheckSettings, Evidence, decide
from viplake.judge.record import updated
from viplake.lake.table_index import TableFacts
from viplake.model import Hour

LAST = Hour.parse("2022-05-31T08")
HOURS = tuple(LAST.shift(-60 * 24).to(LAST))

MOST_A_TABLE = 300_000
"""Bytes: 241,000 where tables are judged one after the other, 474,000 where all of them are in memory at once."""


def peak(tables: int) -> int:
    """Bytes that Python had allocated at the peak of an hourly check of so many tables."""
    run = RunFacts("delivered", None, LAST.end, None, "g", 1, False, 30, 1200, 120, 1, 1)
    names = [f"T{number:02d}" for number in range(tables)]
    sizes = {
        name: array("q", (40_000 + 7_919 * (at + len(name)) % 1_009 for at in range(len(HOURS)))) for name in names
    }
    facts = [
        HourFacts(hour, 9, 9, 9, True, True, tables=tuple(TableFacts(name, 1, 9) for name in names), run=run)
        for hour in HOURS
    ]
    evidence = Evidence(updated({}, facts), LAST.start + timedelta(minutes=50), sizes, HOURS[0])
    tracemalloc.start()
    try:
        found = decide(evidence, HOURS[-AGAIN:], CheckSettings())
        assert {finding.rule for finding in found.findings} >= {"volume_job", "volume_table"}
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.system
def test_each_further_table_costs_a_check_little_memory() -> None:
    assert (peak(24) - peak(12)) / 12 < MOST_A_TABLE
