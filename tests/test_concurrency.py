"""The bounded gather: order, bound, and what a failure leaves behind."""

from __future__ import annotations

import asyncio

import pytest

from viplake.concurrency import map_bounded
from viplake.errors import LakeError


async def test_results_come_in_order_and_no_more_than_the_bound_run_at_once() -> None:
    running = most = 0

    async def work(item: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(7 - item % 7):
            await asyncio.sleep(0)
        running -= 1
        return item * item

    assert await map_bounded(work, range(40), at_once=5) == [item * item for item in range(40)]
    assert (most, running) == (5, 0)
    assert await map_bounded(work, [], at_once=1) == []


async def test_a_failure_stops_the_others_before_it_is_raised_as_itself() -> None:
    begun: set[int] = set()
    ended: set[int] = set()

    async def work(item: int) -> None:
        begun.add(item)
        try:
            await asyncio.sleep(0 if item == 3 else 3600)
        finally:
            ended.add(item)
        raise LakeError(f"{item} cannot be read")

    with pytest.raises(LakeError, match="3 cannot be read"):
        await map_bounded(work, range(10), at_once=4)
    assert ended == begun
    assert 9 not in begun
