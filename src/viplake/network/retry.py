"""PURE. How long to wait before a request is repeated. What is final (`ViplakeError.transient`) is never repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


def pause(
    attempt: int, rng: random.Random, wished: float | None = None, *, first: float = 1.0, longest: float = 30.0
) -> float:
    """Return the seconds before try number `attempt` + 1, never fewer than the other end wished for.

    Full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015) over `first`, twice that, ... `longest`.
    """
    return max(rng.uniform(0.0, min(first * 2.0 ** min(attempt - 1, 32), longest)), wished or 0.0)
