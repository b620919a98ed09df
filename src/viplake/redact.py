"""I/O (it remembers values, in this process only). Removes secrets from everything that is written.

Two methods, because neither finds everything. By value: the code that creates a `Secret` registers it here, and
`redact` removes it
from any text that contains it raw, URL-encoded, escaped as in JSON, Python or HTML (character by character, so in
any mixture of these), or within base64. By pattern: signatures, tokens and presigned queries that were never
registered (they come in answers) are cut by how they look. The log formatter, the error printer and the ledger all
pass through `redact`; a `Secret` shows its value only through `reveal`.

Every log line passes here, so a value costs one substring search until a line holds its longest plain part.
"""

from __future__ import annotations

import base64
import html
import re
from typing import Final

MASK: Final = "[redacted]"

# Shorter values would blank out innocent words; a real client secret, key or token is longer.
_SHORTEST: Final = 6

_registered: dict[str, tuple[_Form, ...]] = {}
"""Value -> the forms in which it travels."""

_order: list[str] = []
"""The values, longest first: one that holds another goes whole."""

_passing: dict[str, None] = {}
"""Those of them that soon are worth nothing, oldest first."""

_MOST_PASSING: Final = 16
"""Tokens live for an hour: of a process that stays warm for days, the newest are enough, and all would fill it (a token
of 900 characters takes up to 110 KB with its patterns)."""

# Credentials in a query or a form (AWS SigV4 and SigV2 query authentication, call 4's apiToken, OAuth 2.0), also
# where the query is encoded within another URL; then the same as members of JSON or of a dict.
_NAMES: Final = (
    r"X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|Signature|apiToken|client_secret"
    r"|client_assertion|access_token|refresh_token|id_token|SecretAccessKey|SessionToken|password"
)
_PATTERNS: Final = (
    re.compile(rf"(?i)((?:{_NAMES}|\b(?:sig|token))(?:=|%(?:25)*3D))[^&\s\"'<>\\,;)}}\]]+"),
    re.compile(rf"(?i)(\\{{0,8}}[\"'](?:{_NAMES})\\{{0,8}}[\"']\s*:\s*\\{{0,8}}[\"'])[^\"'\\]+"),
    # A word after "bearer" or "basic" is a credential where it holds a digit or a sign, or is long.
    re.compile(
        r"(?i)(\b(?:Bearer|Basic)(?: +|%20|\+))(?=[a-z]*[0-9._~+/=-]+[a-z0-9]|[a-z]{24})[A-Za-z0-9._~+/=%-]{6,}"
    ),
)
_USERINFO: Final = re.compile(r"(?i)(?<![a-z])((?:https?|s3|socks[45]h?)://)(?!user:password@host:port)[^/\s\"'<>?#]+@")
_QUERY: Final = re.compile(r"(?i)(https?://[^\s\"'<>?]{1,2048})\?([^\s\"'<>]+)")
_SIGNED: Final = re.compile(r"(?i)X-Amz-|X-Goog-|Signature=|\bsig=|apiToken=")

# Escaping doubles backslashes; more than three layers do not occur. The bound keeps hostile text cheap.
_SLASHES: Final = r"\\{1,8}"


class Secret:
    """A value that masks itself: in `str`, `repr`, format, logs and tracebacks.

    Args:
        value: what to keep; it is registered for `redact`.
        remember: False for the links of a list, which come by the hundred every Hour: `redact` knows them by
            their form, and a registry of them would only grow. False also for what messages may tell in part,
            once its secret part is registered (a proxy's URL), or must tell (a bucket's name).
        passing: True for what is soon worth nothing (a token): only the newest of these are remembered.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str, *, remember: bool = True, passing: bool = False) -> None:
        self._value = value
        if remember:
            register(value, passing=passing)

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

    def __deepcopy__(self, memo: object) -> Secret:
        """Itself: it never changes (`dataclasses.asdict` copies)."""
        return self

    def __reduce__(self) -> str:
        """Refuse to be pickled: a pickle would hold the value."""
        raise TypeError("a Secret is not pickled")


def register(value: str, *, passing: bool = False) -> None:
    """Have `redact` remove this value from now on, in the ways in which it travels.

    Values of fewer than six characters are not remembered: they would blank out innocent words. Of passing ones the
    newest are.
    """
    if len(value) < _SHORTEST:
        return
    if not passing:
        _passing.pop(value, None)
    elif value not in _registered or value in _passing:
        _passing.pop(value, None)
        _passing[value] = None
    if value not in _registered:
        forms = (value, *_within_base64(value.encode(errors="surrogatepass")))
        _registered[value] = tuple(map(_Form, forms))
    while len(_passing) > _MOST_PASSING:
        oldest = next(iter(_passing))
        del _passing[oldest]
        _registered.pop(oldest, None)
    _order[:] = sorted(_registered, key=len, reverse=True)


def redact(text: str) -> str:
    """The text without any registered value, presigned query, token, signature or password in a URL."""
    for value in tuple(_order):
        for form in _registered.get(value, ()):  # another thread may have let it go
            text = form.cut_from(text)
    text = _QUERY.sub(_cut_query, text)
    for pattern in _PATTERNS:
        text = pattern.sub(r"\1" + MASK, text)
    return _USERINFO.sub(r"\1" + MASK + "@", text)


def _cut_query(match: re.Match[str]) -> str:
    """The URL without its query, where that carries a credential."""
    return f"{match[1]}?{MASK}" if _SIGNED.search(match[2]) else match[0]


class _Form:
    """A form in which a value travels; its pattern is made for the first text that may hold it: few ever do."""

    __slots__ = ("_part", "_pattern", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        self._part = _plain_part(value)
        self._pattern: re.Pattern[str] | None = None

    def cut_from(self, text: str) -> str:
        """The text without it."""
        if self._part not in text:
            return text
        if self._pattern is None:
            self._pattern = re.compile("".join(_ways(self._value)))
        return self._pattern.sub(MASK, text)


def _plain_part(value: str) -> str:
    """The longest part that looks the same in every encoding; may be empty."""
    parts: list[str] = re.findall(r"[A-Za-z0-9._~-]*", value)
    return max(parts, key=len)


def _ways(value: str) -> list[str]:
    """For each character (and each run of backslashes) a pattern of the ways in which it may be written."""
    return [_way(run) for run in re.findall(r"\\+|[^\\]", value)]


def _way(run: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9._~-]", run):
        return re.escape(run)
    if run[0] == "\\":
        return rf"(?:\\{{{len(run)},{8 * len(run)}}}|(?i:(?:%(?:25)*5C){{{len(run)}}}))"
    raw = run.encode(errors="surrogatepass")
    units = run.encode("utf-16-be", errors="surrogatepass")
    escapes = {
        "".join(f"%(?:25)*{byte:02x}" for byte in raw),
        "".join(f"{_SLASHES}u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)),
        f"{_SLASHES}U{ord(run):08x}",
        "".join(f"{_SLASHES}x{byte:02x}" for byte in raw),
        f"{_SLASHES}x{ord(run):02x}",
        f"&#0*{ord(run)};",
        f"&#x0*{ord(run):x};",
        re.escape(html.escape(run)),
    }
    named = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}.get(run)
    exact = [rf"\\{{0,8}}{re.escape(run)}", *([r"\+"] if run == " " else []), *([_SLASHES + named] if named else [])]
    return f"(?:(?i:{'|'.join(sorted(escapes, key=len, reverse=True))})|{'|'.join(exact)})"


def _within_base64(raw: bytes) -> list[str]:
    """What of the value shows in the base64 of any longer text: one form for each of three alignments, two alphabets.

    The first and last characters also depend on their neighbours, and are left out.
    """
    forms: list[str] = []
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw).decode()
        inside = encoded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        forms += [inside, inside.translate({43: 45, 47: 95})]
    return list(dict.fromkeys(forms))
