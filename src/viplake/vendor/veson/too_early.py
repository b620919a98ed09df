"""PURE. The next allowed trigger, read from the free text of a "too early" answer.

The vendor's "too early" says in words of its own when the next trigger is allowed. Read too boldly, that date
costs an Hour (we wait for a moment that was never meant) or a ban (we ask too soon); so a reading counts only
where it makes sense at this moment.
"""

from __future__ import annotations

import re
from datetime import MAXYEAR, UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FURTHEST_TRIGGER: Final = timedelta(minutes=65)
"""How far ahead a time without a zone may lie to be read as UTC: the hour of the rule, and 5 minutes of skew."""

_COUNTS_AS_NOW: Final = timedelta(seconds=30)
"""How far back the next allowed trigger may lie and still be meant: clocks differ, answers take their time."""

_CLOCK: Final = (
    r"(?P<h>\d{1,2}):(?P<mi>\d{2})(?::(?P<s>\d{2})(?:[.,]\d+)?)?(?:\s*(?P<half>[AaPp])\.?[Mm]\b\.?)?"
    r"(?:\s*\(?(?P<zone>Z|UTC|GMT|(?:UTC|GMT)?[+-]\d{2}:?\d{2})(?![A-Za-z0-9:]))?"
)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH: Final = r"(?P<mon>(?i:" + "|".join(_MONTHS) + r"))[A-Za-z]*\.?"
_BETWEEN: Final = r"(?:T|,?\s+(?:at\s+)?)"
_DATE_TIMES: Final = tuple(
    re.compile(rf"(?<!\d){date}{_BETWEEN}{_CLOCK}", re.ASCII)
    for date in (
        r"(?P<first>)(?P<y>\d{4})(?P<sep>[-/.])(?P<a>\d{1,2})(?P=sep)(?P<b>\d{1,2})",
        r"(?P<a>\d{1,2})(?P<sep>[-/.])(?P<b>\d{1,2})(?P=sep)(?P<y>\d{4})",
        rf"(?P<d>\d{{1,2}})[ -]{_MONTH}[ -](?P<y>\d{{4}})",
        rf"{_MONTH} (?P<d>\d{{1,2}}),? (?P<y>\d{{4}})",
    )
)


def next_allowed(text: str, now: datetime) -> datetime | None:
    """Return the next allowed time that a free text gives, UTC; None if it gives none, or several.

    Read are ISO 8601 (`T` or blank between), `5/10/2022 2:05:09 PM` (month or day first), and RFC 1123 and other
    spelled months. Without a zone a reading counts only as UTC and only from now to 65 minutes ahead; that also
    settles which of day and month comes first. With a zone, one further ahead is given as it is, if it can mean
    nothing else. Of several (the last trigger, the time of day, the next one) the latest within the 65 minutes is
    meant. A time up to 30 seconds back counts as now.
    """
    readings = [reading for match in _matches(text) for reading in _readings(match)]
    ahead = [(moment, firm) for moment, firm in readings if moment >= now - _COUNTS_AS_NOW]
    near = [moment for moment, _ in ahead if moment <= now + FURTHEST_TRIGGER]
    far = [moment for moment, firm in ahead if firm]
    if near:
        return max(*near, now)
    return min(far, default=None)


def _matches(text: str) -> Iterator[re.Match[str]]:
    for pattern in _DATE_TIMES:
        yield from pattern.finditer(text[:4096])


def _readings(match: re.Match[str]) -> list[tuple[datetime, bool]]:
    """The moments that a date-time can mean, UTC, each with whether it names its zone and can mean no other."""
    parts = match.groupdict()
    zone = _zone(parts["zone"])
    hour = int(parts["h"])
    if parts["half"]:
        hour = hour % 12 + (12 if parts["half"] in "Pp" else 0) if 1 <= hour <= 12 else 24  # noqa: PLR2004 - a clock
    moments = []
    for month, day in _days(parts):
        try:
            moment = datetime(
                int(parts["y"]), month, day, hour, int(parts["mi"]), int(parts["s"] or 0), tzinfo=zone or UTC
            )
            if moment.year < MAXYEAR:  # beyond it there is no time to compare with
                moments.append(moment.astimezone(UTC))
        except (ValueError, OverflowError):
            continue  # no such moment
    return [(moment, zone is not None and len(moments) == 1) for moment in moments]


def _days(parts: Mapping[str, str]) -> set[tuple[int, int]]:
    """The (month, day) pairs that the date can mean: a year in front has the month next, one at the end not always."""
    if "mon" in parts:
        return {(_MONTHS.index(parts["mon"].casefold()) + 1, int(parts["d"]))}
    first, second = int(parts["a"]), int(parts["b"])
    return {(first, second)} if "first" in parts else {(first, second), (second, first)}


def _zone(text: str | None) -> timezone | None:
    if text is None:
        return None
    sign = re.fullmatch(r"(?:UTC|GMT)?([+-])(\d{2}):?(\d{2})", text)
    if not sign:
        return UTC
    offset = timedelta(hours=int(sign[2]), minutes=int(sign[3]))
    return timezone(offset if sign[1] == "+" else -offset) if offset < timedelta(hours=24) else None
