"""I/O. Runs many coroutines at once, with a limit; the only module that does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

S = TypeVar("S")
T = TypeVar("T")


async def map_bounded(work: Callable[[S], Awaitable[T]], items: Iterable[S], *, at_once: int) -> list[T]:
    """Return the results of the work for each item, in order; at most `at_once` run at the same time.

    When one fails, the others are stopped before its error is raised, so that none outlives the call.
    """
    turn = asyncio.Semaphore(at_once)

    async def one(item: S) -> T:
        async with turn:
            return await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except BaseExceptionGroup as failures:  # callers catch a LakeError, not an exception group
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
