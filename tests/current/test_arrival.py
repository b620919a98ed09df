"""Shuffled arrival: any Hours, any records, in any order and in any groups, give the rows of the oracle."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from current.lakes import TableLake

pytestmark = [pytest.mark.system, pytest.mark.timeout(1800)]

TIMES = (None, "2022-05-09T10:00:00Z", "2022-05-09T11:00:00Z")
RECORD = st.fixed_dictionaries(
    {
        "Id": st.sampled_from([1, 1, 2, 3, None]),
        "Name": st.sampled_from(["a", "b", "c", None]),
        "Amount": st.sampled_from([None, 1.5, 2.25]),
        "LastUpdateGMT": st.sampled_from(TIMES),
    }
)
HOURS = st.lists(st.none() | st.lists(RECORD, max_size=4), min_size=2, max_size=5)


async def _arrive(
    folder: Path, hours: list[list[Any] | None], order: list[int], updates: list[bool], files_of: int
) -> None:
    lake = TableLake(folder)
    for number, then_update in zip(order, updates, strict=True):
        records = hours[number]
        tables = {"Port": [{"Id": number}]} | ({} if records is None else {"Voyage": records})
        await lake.land(number, tables, files_of=files_of, label="same")
        if then_update:
            await lake.update()
    await lake.update()
    if "Voyage" in lake.landed:
        for kind in ("history", "current"):
            assert lake.digest(kind, "Voyage") == lake.expected(kind, "Voyage"), kind


def _any_hours(data: st.DataObject, hours: list[list[Any] | None]) -> None:
    order = data.draw(st.permutations(range(len(hours))))
    updates = data.draw(st.lists(st.booleans(), min_size=len(hours), max_size=len(hours)))
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(_arrive(Path(name), hours, order, updates, data.draw(st.integers(1, 2))))


@given(data=st.data(), hours=HOURS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_hours_in_any_order_give_the_rows_of_the_oracle(data: st.DataObject, hours: list[list[Any] | None]) -> None:
    _any_hours(data, hours)


@pytest.mark.long
@given(data=st.data(), hours=HOURS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_many_hours_in_many_orders_give_the_rows_of_the_oracle(
    data: st.DataObject, hours: list[list[Any] | None]
) -> None:
    _any_hours(data, hours)
