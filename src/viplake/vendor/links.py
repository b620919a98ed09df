"""PURE. Which download links are allowed, how long they are valid, and what the file storage's answers mean.

The list comes from outside, so its URLs may point anywhere, and with them our requests and what we store:
only https to known hosts passes. The form is held so tight that no two parsers can read another host from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from viplake.errors import SettingsError, VendorError, ViplakeError
from viplake.network.hosts import is_loopback, refuse_plain_http
from viplake.vendor.port import LinkExpired, SourceChanged
from viplake.vendor.wire import HttpAnswer, retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

_S3_HOST: Final = re.compile(r"(?:[a-z0-9][a-z0-9.-]*\.)?s3(?:[.-][a-z0-9]+)*\.amazonaws\.com(?:\.cn)?")
"""There is one way only to read a host as this: where a `-` may be of the one part or of the next, `s3.a-a-a-...` takes
the matcher for ever."""
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?"
    r"(?P<rest>[/?][^\s\\#<>\"\x00-\x20\x7f\ud800-\udfff]*)?"
)
_LONGEST_URL: Final = 16_384
_LONGEST_HOST: Final = 253
"""Characters (RFC 1035, 2.3.4, in its text form)."""
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}

_SKEW: Final = timedelta(minutes=15)
"""How far a signature's date may lie ahead of S3's clock (its RequestTimeTooSkewed limit): further is surely bad."""

LONGEST_WAIT: Final = 60.0
"""Seconds to wait for a signature that is dated ahead; then the storage itself may judge."""

_MD5_ETAG: Final = re.compile(r'"([0-9a-fA-F]{32})"')
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Origins:
    """The hosts that files may come from.

    Attributes:
        hosts: besides Amazon S3.
        loopback: also this machine, by http or https, on any port.
    """

    hosts: frozenset[str] = frozenset()
    loopback: bool = False


def host_of(url: str) -> str:
    """The host of a URL, for messages: nothing else of it may be shown."""
    match = _URL.fullmatch(url)
    return match["host"].casefold() if match else "an unreadable host"


def check_endpoint(setting: str, url: str, *, allow_insecure_http: bool) -> str:
    """The vendor's URL from a setting, without a slash at its end.

    Raises:
        SettingsError: it is no https URL (http only to loopback, and only when that is allowed).
    """
    match = _URL.fullmatch(url)
    if not match or "?" in url:
        raise SettingsError(f"{setting} is no URL", hint="Write it as https://host/path, without user or query.")
    refuse_plain_http(url, setting, allowed=allow_insecure_http)
    return url.rstrip("/")


def check_link(url: str, origins: Origins) -> str:
    """Return the host of a URL that files may come from; refuse any other URL. The error names only its host.

    Raises:
        VendorError: `url_rejected`.
    """
    match = _URL.fullmatch(url) if len(url) <= _LONGEST_URL else None
    if not match:
        raise VendorError("the vendor lists a link that is no plain https URL", cause="url_rejected")
    host = match["host"].casefold()
    local = origins.loopback and is_loopback(host)
    if reason := None if local else _objection(match["scheme"], host, match["port"], origins):
        raise VendorError(f"the vendor lists a link to {host[:_LONGEST_HOST]}: {reason}", cause="url_rejected")
    return host


def _objection(scheme: str, host: str, port: str | None, origins: Origins) -> str | None:
    if len(host) > _LONGEST_HOST:
        return "it is too long for a name"
    if scheme != "https":
        return "it is not https"
    if port is not None and int(port) != _DEFAULT_PORTS["https"]:
        return "it names a port"
    if _is_address(host):
        return "it is an address, not a name"
    if not _S3_HOST.fullmatch(host) and host not in {known.casefold() for known in origins.hosts}:
        return "files may not come from there"
    return None


def _is_address(host: str) -> bool:
    """Whether resolvers may read the host as an address: IPv6, or a last label that is a number (WHATWG URL)."""
    return host.startswith("[") or re.fullmatch(r"\d+|0x[0-9a-f]*", host.rstrip(".").rpartition(".")[2]) is not None


def seconds_early(url: str, now: datetime) -> float:
    """Return the seconds until a link becomes valid by the date of its signature; 0 if it is valid or has no date.

    Raises:
        LinkExpired: it no longer is, or it is dated more than 15 minutes ahead.
    """
    signed = _signed(url)
    if signed is None:
        return 0.0
    start, end = signed
    if now >= end:
        life = (end - start).total_seconds()
        raise LinkExpired(f"the download link to {host_of(url)} has expired (it was good for {life:,.0f} s)")
    if start - now > _SKEW:
        raise LinkExpired(f"the download link to {host_of(url)} is not good yet: check this machine's clock")
    return max((start - now).total_seconds(), 0.0)


def _signed(url: str) -> tuple[datetime, datetime] | None:
    """From when to when a SigV4 link is good; None for other links."""
    query: dict[str, str] = {}
    for pair in url.partition("?")[2].split("&"):
        name, _, value = pair.partition("=")
        query.setdefault(unquote(name).casefold(), value)
    return _life(unquote(query.get("x-amz-date", "")), unquote(query.get("x-amz-expires", "")))


@lru_cache(maxsize=64)  # the links of a list are signed within a second or two
def _life(date: str, expires: str) -> tuple[datetime, datetime] | None:
    try:
        start = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return start, start + timedelta(seconds=int(expires))
    except (ValueError, OverflowError):
        return None


# -- answers of the file storage --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opening:
    """Size and range of the body that follows, by the head of the response.

    Attributes:
        start: the offset of the first byte that comes.
        size: bytes of the whole file; None where it is not declared.
        etag: as sent.
        md5: of the content, 32 hex digits, where the ETag is one.
    """

    start: int
    size: int | None
    etag: str | None
    md5: str | None


def read_opening(status: int, headers: Mapping[str, str], *, start: int, etag: str | None) -> Opening:
    """Return what the response to a request from byte `start` on contains, for the file with this ETag.

    Raises:
        SourceChanged: not that part, or not of that file.
        VendorError: `integrity`: an error page in place of a file.
    """
    sent, length = headers.get("etag"), headers.get("content-length", "")
    size = int(length) if re.fullmatch(r"[0-9]{1,19}", length) else None
    if status == 206:  # noqa: PLR2004 - HTTP: partial content
        begins, size = _part(headers.get("content-range", ""))
        if begins != start or (etag and sent and sent != etag):
            raise SourceChanged("the source sent another part of the file than was requested")
        return Opening(start, size, sent, md5_of(headers))
    page = headers.get("content-type", "").partition(";")[0].strip().casefold()
    if sent is None and page in {"text/html", "application/xhtml+xml", "application/xml", "text/xml"}:
        raise VendorError("an error page came in place of a file", cause="integrity")
    return Opening(0, size, sent, md5_of(headers))


def _part(content_range: str) -> tuple[int, int | None]:
    """First byte and whole size of a Content-Range that runs to the end; (-1, None) for any other."""
    match = _CONTENT_RANGE.fullmatch(content_range.strip())
    if not match or int(match[2]) != int(match[3]) - 1:
        return -1, None
    return int(match[1]), int(match[3])


def md5_of(headers: Mapping[str, str]) -> str | None:
    """The MD5 of the content, where S3 says it in the ETag: a single part, not encrypted with a KMS or own key."""
    match = _MD5_ETAG.fullmatch(headers.get("etag", ""))
    encryption = headers.get("x-amz-server-side-encryption", "AES256")
    own_key = "x-amz-server-side-encryption-customer-algorithm" in headers
    return match[1].casefold() if match and encryption == "AES256" and not own_key else None


_SERVER_TIME: Final = re.compile(rb"<ServerTime>\s*([0-9TZ:.+-]{10,40})\s*</ServerTime>")
"""The storage's own clock, which S3 puts into a refusal for the time; `Date` may be missing, or a proxy's."""

_EXPIRED_WORDS: Final = re.compile(
    rb"(?i)Request has expired|ExpiredToken|token (?:provided )?has expired|not yet valid"
)


def read_refusal(answer: HttpAnswer, host: str, now: datetime) -> ViplakeError:
    """Return the error for a status other than 200 and 206; of the body, only the storage's error code is quoted.

    Returns:
        `LinkExpired`, `SourceChanged`, or a `VendorError` of `source_missing`, `source_denied`,
        `vendor_unavailable` or `vendor_contract`.
    """
    found = re.search(rb"<Code>([A-Za-z0-9]{1,64})</Code>", answer.body)
    code = found[1].decode() if found else ""
    said = f"the file storage {host} answered {answer.status} {code}".rstrip()
    if answer.status == 0:
        said = f"what the file storage {host} answered {answer.flaw}"
    if (skew := _skew(answer, now)) and answer.status in {400, 401, 403}:
        side = "ahead of" if skew > timedelta(0) else "behind"
        minutes = abs(skew) // timedelta(minutes=1)
        return VendorError(f"{said}: this machine's clock is {minutes} min {side} its clock", cause="clock")
    if answer.status in {400, 403} and _EXPIRED_WORDS.search(answer.body):
        return LinkExpired(said)
    if answer.status in {412, 416}:
        return SourceChanged(said)
    if answer.busy or code in {"SlowDown", "RequestTimeout", "InternalError"}:
        return VendorError(said, cause="vendor_unavailable", retry_after=retry_after(answer, now))
    if answer.status in {404, 410}:
        return VendorError(said, cause="source_missing")
    return VendorError(said, cause="source_denied" if answer.status in {400, 401, 403} else "vendor_contract")


def _skew(answer: HttpAnswer, now: datetime) -> timedelta | None:
    """How far our clock is ahead of the storage's, where signatures do not allow it; None: less far, or unknown."""
    stated = _SERVER_TIME.search(answer.body)
    try:
        if stated:
            theirs = datetime.fromisoformat(stated[1].decode())
        else:
            theirs = parsedate_to_datetime(answer.headers.get("date", ""))
    except (ValueError, OverflowError):
        return None
    skew = now - (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))
    return skew if abs(skew) > _SKEW else None
