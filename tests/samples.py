"""An enumeration that takes long, in two parts: a sample for `make test`, the rest for `make test-long`.

    @shared(every=8)
    def test_death_at_every_call(share: Share) -> None:
        for number in share(range(1, 585)): ...

A session of both, such as `make crashes`, has every point once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Share:
    """The first of so many points and every so many after it; or the rest: all others."""

    every: int
    rest: bool = False

    def __call__(self, points: Iterable[T]) -> Iterator[T]:
        """Those of the points that are in this share."""
        return (point for number, point in enumerate(points) if (number % self.every != 0) == self.rest)


def shared(every: int) -> pytest.MarkDecorator:
    """Run a test twice: with `share` as the sample, and as the rest in the long suite."""
    parts = [
        pytest.param(Share(every), id="sample"),
        pytest.param(Share(every, rest=True), id="rest", marks=pytest.mark.long),
    ]
    return pytest.mark.parametrize("share", parts)


def sampled(values: Iterable[Any], every: int) -> list[Any]:
    """Give values of a parameter: the first and every so many after it for `make test`, the others as `long`."""
    return [
        value if number % every == 0 else pytest.param(value, marks=pytest.mark.long)
        for number, value in enumerate(values)
    ]
