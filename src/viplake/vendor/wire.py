"""PURE. An HTTP answer as plain data, and the wait that it asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVER_ERROR: Final = 500
"""The first HTTP status that is the server's own fault."""

LONGEST_RETRY_AFTER: Final = 3600.0
"""Seconds; a vendor that asks for more than an hour has missed the Hour anyway."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The response to one request.

    Attributes:
        status: of HTTP; 0 where what came back was no HTTP.
        headers: names in lower case.
        body: decoded, and within the call's cap.
        flaw: why `body` is not the whole answer ("is longer than ..."); None where it is.
        excessive: it was cut off for being too long, so that asking again is no use.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    flaw: str | None = None
    excessive: bool = False

    @property
    def accepted(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004 - the class of HTTP status codes

    @property
    def busy(self) -> bool:
        """The other end could not, at this moment: 408, 425, 429 or 5xx."""
        return self.status in {408, 425, 429} or self.status >= SERVER_ERROR


def is_page(answer: HttpAnswer) -> bool:
    """Return whether an answer is a page for people where an interface should be: something in between made it."""
    return "html" in answer.headers.get("content-type", "").lower() or answer.body.lstrip()[:1] == b"<"


def retry_after(answer: HttpAnswer, now: datetime) -> float | None:
    """Seconds to wait as `Retry-After` (a number, or a date of RFC 9110) has it, at most an hour; None without it."""
    text = answer.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}", text, re.ASCII):
        return min(float(text), LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # a year or a zone of many digits
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max((aware - now).total_seconds(), 0.0), LONGEST_RETRY_AFTER)
