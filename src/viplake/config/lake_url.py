"""PURE. Reads where a lake is, as people write it, and says the right spelling where it cannot know."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_ARN: Final = re.compile(r"(?:s3://)?arn:aws[a-z-]*:s3:::")
_WEB: Final = re.compile(
    r"https?://(?:(?P<bucket>[^/]+)\.)?s3[.-](?:[a-z0-9.-]+\.)?amazonaws\.com(?:\.cn)?(?P<path>/[^?#]*|$)"
)
_CONSOLE: Final = re.compile(r"https?://[a-z0-9.-]*console\.(?:aws\.amazon\.com|amazonaws\.cn)/s3/buckets/([^/?#]+)")

_AS_IT_IS: Final = "/%!$&'()*+,;=:@~"
"""What needs no escape in the path of a URL (RFC 3986), and escapes that are there already."""


class WrongLakeError(ValueError):
    """A text that is not the URL of a lake; `hint` has the right spelling if it can be guessed, else ""."""

    def __init__(self, wrong: str, hint: str = "") -> None:
        super().__init__(wrong)
        self.hint = hint


def split_url(text: str) -> SplitResult:
    """Return the parts of a URL that has only scheme, host, port and path."""
    if odd := re.search(r"[^\x21-\x7e]|\\", text):
        # People copy folder names as they see them: "My Lake", "josé".
        sign = odd[0]
        seen = sign != "\\" and sign.isprintable()
        raise ValueError(f"not a URL: {sign!r} is written as {quote(sign)} there" if seen else "not a URL")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError("not a URL") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL with a user or password in it: these belong into the secret")
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        raise ValueError("a URL with a query or a fragment, which it may not have")
    return parts


def parsed_lake_url(text: str) -> str:
    """Return a lake's URL, checked, without a closing slash; an absolute path or an S3 ARN becomes one.

    Raises:
        WrongLakeError: what is wrong, and the right spelling.
    """
    url = _as_url(text)
    try:
        parts = split_url(url)
    except ValueError as error:
        raise WrongLakeError(str(error), _suggestion(text)) from None
    segments = unquote(parts.path).strip("/").split("/")
    climbs = any(segment in {".", ".."} for segment in segments) or "//" in parts.path
    control = re.search(r"[\x00-\x1f\x7f]", unquote(parts.path)) is not None
    in_bucket = parts.scheme == "s3" and _BUCKET.fullmatch(parts.netloc)
    in_folder = parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path.startswith("/")
    if climbs or control or not (in_bucket or in_folder):
        raise WrongLakeError("neither s3://bucket[/prefix] nor file:///absolute/folder", _suggestion(text))
    return url.rstrip("/") if segments != [""] or in_bucket else url


def _as_url(text: str) -> str:
    """Return the URL for a path, an ARN, or the scheme of Hadoop's clients (`s3a`, `s3n`)."""
    if text.startswith("/"):
        return f"file://{quote(text)}"
    if arn := _ARN.match(text):
        return f"s3://{text[arn.end() :].removesuffix('*')}"
    return re.sub(r"\As3[an]?://", "s3://", text, flags=re.IGNORECASE)


def _suggestion(text: str) -> str:
    """Return which spelling was probably meant, or ""."""
    bare, place = text.strip("\"' "), ""
    if "@" in text:  # a password may be before it
        return ""
    if bare != text:
        return f"Write it without the quotes: {bare}"
    if console := _CONSOLE.match(text):
        place = console[1]
    elif web := _WEB.match(text):
        place = f"{web['bucket'] or ''}{web['path']}".strip("/")
    elif slashes := re.fullmatch(r"s3:/*([^/].*)", text, re.IGNORECASE):
        place = re.sub("/+", "/", slashes[1]).rstrip("/")
    elif re.fullmatch(r"[A-Za-z0-9._/-]+", text):
        return f"Write it as s3://{text} if it is a bucket, ./{text} if it is a folder."
    bucket = place.partition("/")[0]
    if bucket and not _BUCKET.fullmatch(bucket):
        return f"The name of a bucket has 3 to 63 characters of a-z, 0-9, . and -. {bucket!r} is none."
    right = f"s3://{quote(place, safe=_AS_IT_IS)}" if place and place.isprintable() else text
    return f"Write it as {right}" if right != text and _is_lake_url(right) else ""


def _is_lake_url(text: str) -> bool:
    try:
        parsed_lake_url(text)
    except WrongLakeError:
        return False
    return True
