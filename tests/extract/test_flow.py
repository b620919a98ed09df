from __future__ import annotations

import asyncio

import pytest

from viplake.extract.flow import ByteBudget, Lanes, Pipe, ReaderGone, RetryTokens


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def _use(budget: ByteBudget, amount: int, name: str, log: list[str], go: asyncio.Event) -> None:
    async with budget.hold(amount):
        log.append(name)
        await go.wait()


async def test_the_budget_is_fair_a_small_file_does_not_pass_a_large_one() -> None:
    budget, log, first, rest = ByteBudget(10), list[str](), asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_use(budget, 6, "six", log, first))
        await _turns()
        group.create_task(_use(budget, 8, "eight", log, rest))
        await _turns()
        group.create_task(_use(budget, 1, "one", log, rest))
        await _turns()
        assert log == ["six"]
        first.set()
        await _turns()
        assert log == ["six", "eight", "one"]
        rest.set()


async def test_more_than_the_budget_gets_all_of_it_and_does_not_hang() -> None:
    budget = ByteBudget(10)
    for _ in range(2):
        async with asyncio.timeout(5), budget.hold(1_000):
            pass


async def test_a_cancelled_waiter_gives_its_turn_away() -> None:
    budget, log, go = ByteBudget(10), list[str](), asyncio.Event()
    holder = asyncio.create_task(_use(budget, 6, "holder", log, go))
    await _turns()
    waiter = asyncio.create_task(_use(budget, 10, "waiter", log, go))
    await _turns()
    behind = asyncio.create_task(_use(budget, 4, "behind", log, go))
    await _turns()
    waiter.cancel()
    await _turns()
    assert log == ["holder", "behind"]
    go.set()
    await asyncio.gather(holder, behind)
    async with asyncio.timeout(5), budget.hold(10):
        pass


async def test_a_grant_that_meets_a_cancellation_is_not_lost() -> None:
    budget, log, go = ByteBudget(10), list[str](), asyncio.Event()
    holder = asyncio.create_task(_use(budget, 10, "holder", log, go))
    await _turns()
    waiter = asyncio.create_task(_use(budget, 10, "waiter", log, go))
    await _turns()
    go.set()
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(holder, waiter, return_exceptions=True)
    async with asyncio.timeout(5), budget.hold(10):
        pass


async def test_lanes_halve_once_for_errors_of_one_moment_and_recover_slowly() -> None:
    lanes = Lanes(48)

    async def busy(go: asyncio.Event) -> None:
        async with lanes.one():
            await go.wait()

    go = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(60):
            group.create_task(busy(go))
        await _turns()
        for _ in range(40):
            lanes.narrow(100.0)
        assert lanes.limit == 24
        lanes.narrow(101.5)
        assert lanes.limit == 12
        for _ in range(12):
            lanes.widen()
        assert 12 <= lanes.limit <= 13
        go.set()
    for second in range(200, 220):
        lanes.narrow(float(second))
    assert lanes.limit == 1
    for _ in range(5_000):
        lanes.widen()
    assert lanes.limit == 48


async def test_a_cancelled_lane_is_free_again() -> None:
    lanes, go = Lanes(1), asyncio.Event()

    async def busy() -> None:
        async with lanes.one():
            await go.wait()

    first = asyncio.create_task(busy())
    await _turns()
    second = asyncio.create_task(busy())
    await _turns()
    second.cancel()
    await _turns()
    go.set()
    await first
    async with asyncio.timeout(5), lanes.one():
        pass


def test_tokens_let_a_burst_pass_and_then_only_their_rate() -> None:
    tokens = RetryTokens(10, 2.0, 0.0)
    assert [tokens.take(0.0) for _ in range(10)] == [0.0] * 10
    assert [tokens.take(0.0) for _ in range(3)] == [0.5, 1.0, 1.5]
    tokens.earn()
    assert tokens.take(0.0) == 1.5
    assert tokens.take(100.0) == 0.0


async def test_a_pipe_gives_all_blocks_in_order_and_one_at_a_time() -> None:
    pipe, sent = Pipe(), list[int]()

    async def send() -> None:
        for number in range(5):
            await pipe.send(bytes([number]))
            sent.append(number)
        await pipe.end()

    sender = asyncio.create_task(send())
    await _turns()
    assert sent == [0]
    assert [block async for block in pipe] == [bytes([number]) for number in range(5)]
    await sender


async def test_a_pipe_releases_its_sender_when_the_reader_ends() -> None:
    pipe = Pipe()
    await pipe.send(b"1")
    sender = asyncio.create_task(pipe.send(b"2"))
    await _turns()
    pipe.leave()
    with pytest.raises(ReaderGone):
        await sender
    with pytest.raises(ReaderGone):
        await pipe.send(b"3")


async def test_an_aborted_pipe_raises_in_its_reader_even_with_a_block_in_it() -> None:
    pipe = Pipe()
    await pipe.send(b"1")
    pipe.abort(ReaderGone("no more"))
    with pytest.raises(ReaderGone):
        await anext(pipe)
