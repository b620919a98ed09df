"""A little fuzzing in every run of the tests, always the same inputs; `make fuzz` goes on for as long as requested."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from fuzzing.mutations import LONGEST, variant
from fuzzing.targets import TARGETS, Refused

pytestmark = pytest.mark.system


@pytest.mark.parametrize("name", TARGETS)
@settings(derandomize=True, database=None, max_examples=120)
@given(seeds=st.lists(st.integers(0, 2**32), min_size=4, max_size=4))
def test_a_parser_returns_its_declared_type_or_raises_a_documented_error(name: str, seeds: list[int]) -> None:
    target = TARGETS[name]
    for seed in seeds:
        with suppress(Refused):
            target.run(variant(Random(seed), target.seeds))


@pytest.mark.parametrize("name", TARGETS)
@settings(derandomize=True, database=None, max_examples=60)
@given(data=st.binary(max_size=64))
def test_bytes_of_any_kind_are_no_surprise(name: str, data: bytes) -> None:
    with suppress(Refused):
        TARGETS[name].run(data)


def test_a_seed_gives_the_same_input_again_and_another_seed_another() -> None:
    seeds = TARGETS["incident_records.unpack"].seeds
    inputs = [variant(Random(seed), seeds) for seed in range(200)]
    assert inputs == [variant(Random(seed), seeds) for seed in range(200)]
    assert len(set(inputs)) > 150
    assert max(map(len, inputs)) <= LONGEST
