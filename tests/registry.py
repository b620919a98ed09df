"""What `redact` remembers, in the process of the tests: as it was, once a block has ended."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from viplake import redact

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def restored() -> Iterator[None]:
    """Forget the secrets that are met within, and know again those that were forgotten within."""
    known, order, passing = dict(redact._registered), list(redact._order), dict(redact._passing)
    try:
        yield
    finally:
        redact._registered.clear()
        redact._registered.update(known)
        redact._passing.clear()
        redact._passing.update(passing)
        redact._order[:] = order


@contextmanager
def registry(*secrets: str) -> Iterator[None]:
    """Have these values registered and no others, and afterwards again those that were."""
    with restored():
        redact._registered.clear()
        redact._passing.clear()
        redact._order.clear()
        for secret in secrets:
            redact.register(secret)
        yield
