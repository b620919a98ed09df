"""A short soak: every Hour comes to its end, and nothing piles up. `make soak` is the long one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from soak import soaking

if TYPE_CHECKING:
    from pathlib import Path

HOURS = 24


def test_I6_a_day_of_random_faults_ends_hour_by_hour_and_leaves_nothing(tmp_path: Path) -> None:
    with soaking(tmp_path, HOURS, seed=8) as soak:
        asyncio.run(soak.run(every=4))
    assert soak.outcomes.total() == HOURS
    assert soak.outcomes["delivered"] > HOURS // 2
    assert soak.met["process died"] > 0
    assert sum(soak.ear.told.values()) > 0
    assert soak.left_over == 0
    assert soak.held[-1].files <= soak.held[1].files
