"""The tables hold what the oracle says, whatever the order in which Hours arrive."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from current.lakes import TableLake

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.system


def row(key: int | None, name: str, when: str | None = "2022-05-09T10:00:00Z", amount: float | None = 1.5) -> Any:
    return {"Id": key, "Name": name, "Amount": amount, "LastUpdateGMT": when}


def check(lake: TableLake, table: str = "Voyage") -> None:
    for kind in ("history", "current"):
        assert lake.digest(kind, table) == lake.expected(kind, table), kind


async def test_hours_in_order_give_the_rows_of_the_oracle(tmp_path: Path) -> None:
    lake = TableLake(tmp_path)
    await lake.land(0, {"Voyage": [row(1, "a"), row(2, "b", None), row(3, "c")]})
    await lake.update()
    check(lake)
    await lake.land(1, {"Voyage": [row(1, "a2", "2022-05-09T11:00:00Z"), row(2, "b2", None), row(4, "d")]})
    await lake.update()
    check(lake)
    assert len(lake.rows("current", "Voyage")) == 4


A, B = row(1, "a"), row(1, "b")


@pytest.mark.parametrize("when", ["2022-05-09T10:00:00Z", None])
@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_versions_a_b_a_in_every_order_of_arrival(
    tmp_path: Path, order: tuple[int, ...], when: str | None
) -> None:
    lake = TableLake(tmp_path)
    hours = [row(1, "a", when), row(1, "b", when), row(1, "a", when)]
    for number in order:
        await lake.land(number, {"Voyage": [hours[number], row(9, "x")]})
        await lake.update()
    check(lake)
    [won] = [one for one in lake.rows("current", "Voyage") if one["Id"] == "1"]
    assert (won["Name"], won["_hour"]) == ("a", "2022-05-10 00:00:00+00")
