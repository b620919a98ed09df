"""PURE. Formats sizes, counts, durations and lists of names for people; the only module that does."""

from __future__ import annotations

import shlex
import sys
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

MOST_NAMED: Final = 5
"""Number of names that a sentence lists."""

_BELOW_A_THOUSAND: Final = 999.5
"""From here on, three digits would round up to 1000 of the unit."""


def size_words(count: float) -> str:
    """Return bytes with three digits in SI units: `312 B`, `15.3 kB`, `1 MB`."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < _BELOW_A_THOUSAND:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} PB"


def install_hint(extra: str, *further: str) -> str:
    """Return the command that installs an extra, and further packages, beside this very viplake.

    A bare `pip` may be that of another environment.
    """
    python = shlex.quote(sys.executable or "python3")
    return " ".join([f"{python} -m pip install 'viplake[{extra}]'", *further])


def count_words(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun: `1 Hour`, `2,689 Hours`; `many` is the plural where it does not end in s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def span_words(time: timedelta) -> str:
    """Return a time in hours and minutes, without its sign: `1 h`, `5 h 10 min`."""
    hours, minutes = divmod(round(abs(time) / timedelta(minutes=1)), 60)
    return " ".join([f"{hours} h"] * (hours > 0) + [f"{minutes} min"] * (minutes > 0 or hours == 0))


@lru_cache(maxsize=1024)  # each Hour of a long outage names the same times
def time_words(moment: datetime) -> str:
    """Return a time of UTC: `2022-05-10 13:00 UTC`."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def seconds_words(seconds: float | None) -> str:
    """Return how long something took: `4.2 s`, `90 s`, `20 min`; empty where it is not known."""
    if seconds is None:
        return ""
    if seconds < 120:  # noqa: PLR2004 - two minutes read better as seconds
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 - so do tenths below ten
    return f"{seconds / 60:.0f} min"


def name_words(names: Sequence[str], most: int = MOST_NAMED) -> str:
    """Return the names, the first ones where they are many: `A, B, C, D, E and 3 more`."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
