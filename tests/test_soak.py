"""A short soak: every Hour comes to its end, and nothing piles up. `make soak` is the long one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from soak import SETTLED, Held, growth, soaking

if TYPE_CHECKING:
    from pathlib import Path

HOURS = 24


@pytest.mark.system
def test_I6_a_day_of_random_faults_ends_hour_by_hour_and_leaves_nothing(tmp_path: Path) -> None:
    with soaking(tmp_path, HOURS, seed=8) as soak:
        asyncio.run(soak.run(every=4))
    assert soak.outcomes.total() == HOURS
    assert soak.outcomes["delivered"] > HOURS // 2
    assert soak.met["process died"] > 0
    assert sum(soak.ear.told.values()) > 0
    assert soak.left_over == 0
    assert soak.held[-1].files <= soak.held[1].files


def _readings(*, leak: float, wavering: float = 0) -> list[Held]:
    """Every 100 Hours of a thousand: caches fill up to Hour 130, then only the leak is left, in MB an Hour."""
    hours = [1, *range(100, 1001, 100)]
    waves = [wavering * (-1) ** number / 2 for number in range(len(hours))]
    filled = [110 + min(hour, 130) * 0.2 for hour in hours]
    return [
        Held(hour, base + hour * leak + wave, files=21, threads=8, tasks=1, held_mb=base + hour * leak)
        for hour, base, wave in zip(hours, filled, waves, strict=True)
    ]


@pytest.mark.parametrize(("leak", "reached"), [(0.0, True), (0.005, True), (0.02, False), (0.1, False)])
def test_a_leak_of_a_fiftieth_of_a_megabyte_an_hour_shows(leak: float, reached: bool) -> None:
    for wavering in (-2, 0, 2):
        for figure in growth(_readings(leak=leak, wavering=wavering)):
            assert figure.reached is reached
            assert figure.what.endswith("from 500 Hours to 1000")


def test_a_soak_too_short_to_settle_reports_growth_without_a_bound() -> None:
    short = [one for one in _readings(leak=0.1) if one.hour < 2 * SETTLED]
    assert all(figure.most is None and figure.figure > 0 for figure in growth(short))
    assert [figure.figure for figure in growth(short[:1])] == [0, 0]
