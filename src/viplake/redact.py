"""I/O (it remembers, in this process only). Keeps secrets out of everything that is written.

Two nets, because each has holes. By value: whoever creates a `Secret` registers it here, and `redact` removes
it from any text: raw, URL-encoded and base64. By pattern: signatures, tokens and presigned queries that were
never registered (they come in answers) are cut by how they look. The log formatter, the error printer and
the ledger all pass through `redact`; a `Secret` shows itself only to who calls `reveal`.
"""

from __future__ import annotations

import base64
import re
from typing import Final
from urllib.parse import quote, quote_plus

MASK: Final = "[redacted]"

# Shorter values would blank out innocent words; a real client secret, key or token is longer.
_SHORTEST: Final = 6

_registered: set[str] = set()

_PATTERNS: Final = (
    # Any query parameter that carries a credential (AWS SigV4 and SigV2 query authentication, call 4's apiToken).
    re.compile(
        r"(?i)(\b(?:X-Amz-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|Signature|apiToken|client_secret"
        r"|access_token|sig|token)(?:=|%3D))[^&\s\"'<>\\,;)}\]]+"
    ),
    re.compile(r"(?i)(\"(?:access_token|client_secret|apiToken|SecretAccessKey|SessionToken)\"\s*:\s*\")[^\"]*"),
    re.compile(r"(?i)(\b(?:Bearer|Basic) +)[A-Za-z0-9._~+/=-]{6,}"),
)
_USERINFO: Final = re.compile(r"(?i)\b(https?://)[^/\s:@]+:[^/\s@]*@")
_PRESIGNED: Final = re.compile(r"(?i)(https?://[^\s\"'<>?]+)\?[^\s\"'<>]*X-Amz-[^\s\"'<>]*")


class Secret:
    """A value that masks itself: in `str`, `repr`, format, logs and tracebacks.

    Args:
        value: what to keep; it is registered for `redact`.
        remember: False for the links of a list, which come by the hundred every Hour: `redact` knows them by
            their form, and a registry of them would only grow.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str, *, remember: bool = True) -> None:
        self._value = value
        if remember:
            register(value)

    def reveal(self) -> str:
        """The value itself: only for the call that sends it."""
        return self._value

    def __repr__(self) -> str:
        """The mask."""
        return MASK

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        """Equal when the values are."""
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        """The hash of the value."""
        return hash(self._value)

    def __reduce__(self) -> str:
        """Refuse to be pickled: a pickle would hold the value."""
        raise TypeError("a Secret is not pickled")


def register(value: str) -> None:
    """Have `redact` remove this value from now on, in the ways in which it travels."""
    if len(value) < _SHORTEST:
        return
    raw = value.encode()
    forms = {
        value,
        quote(value, safe=""),
        quote_plus(value),
        base64.b64encode(raw).decode(),
        repr(value)[1:-1],
    }
    _registered.update(forms)


def redact(text: str) -> str:
    """The text without any registered value, presigned query, token, signature or password in a URL."""
    for value in sorted(_registered, key=len, reverse=True):
        if value in text:
            text = text.replace(value, MASK)
    text = _PRESIGNED.sub(r"\1?" + MASK, text)
    for pattern in _PATTERNS:
        text = pattern.sub(r"\1" + MASK, text)
    return _USERINFO.sub(r"\1" + MASK + "@", text)
