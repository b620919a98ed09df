"""I/O (only redaction of secrets). Maps errors of the store to a cause, an owner, and whether a retry may help.

An error is final unless it is known to be transient: retries of a request that the store never accepts hide the cause
and cost hours. S3's code and message are always quoted, for they name the policy, the header or the key.
"""

from __future__ import annotations

import html
import re
from typing import Final, NamedTuple

from viplake.errors import DamagedUpload, LakeError, NetworkError
from viplake.redact import redact

_BY_CODE: Final = {
    code: cause
    for cause, codes in {
        "dest_missing": "NoSuchBucket",
        "clock": "RequestTimeTooSkewed",
        "dest_auth": (
            "InvalidAccessKeyId SignatureDoesNotMatch ExpiredToken InvalidToken TokenRefreshRequired RequestExpired"
            " ExpiredTokenException InvalidTokenId InvalidSecurity NotSignedUp"
        ),
        "dest_region": "PermanentRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException",
        "dest_denied": "AccessDenied AllAccessDisabled MethodNotAllowed Forbidden AccountProblem",
        "dest_archived": "InvalidObjectState",
        "disk_full": "QuotaExceeded InsufficientStorage XMinioStorageFull XMinioAdminBucketQuotaExceeded",
        "dest_feature": "NotImplemented XNotImplemented UnsupportedOperation",
        "dest_unavailable": (
            "SlowDown ServiceUnavailable InternalError RequestTimeout OperationAborted ConditionalRequestConflict"
            " Throttling ThrottlingException RequestLimitExceeded NoSuchUpload"
            " BadDigest InvalidDigest IncompleteBody XAmzContentSHA256Mismatch XAmzContentChecksumMismatch"
        ),
    }.items()
    for code in codes.split()
}
"""S3's codes (Amazon S3 API Reference, "Error responses"). Those of damaged uploads pass: the same bytes again may."""

_BY_STATUS: Final = {
    401: "dest_auth", 403: "dest_denied", 405: "dest_denied", 407: "proxy_auth", 408: "dest_unavailable",
    507: "disk_full",
}  # fmt: skip
"""Where the code says nothing."""

_FEATURE: Final = re.compile(r"(?i)checksum|crc64|If-None-Match|x-amz-\S+.{0,60}not (?:supported|implemented|allowed)")
"""Words of stores that refuse a request for a header that they do not know, mostly with 400."""

_DAMAGED: Final = re.compile(r"(?:Bad|Invalid)Digest|IncompleteBody|XAmzContent\w+Mismatch")
_ANSWER: Final = re.compile(r"(?s)status code: (?P<status>\d{3})[^:\n]*:? ?(?P<body>.*?)(?:\n\nDebug source|\Z)")

# What the library says where no answer came: the first that is found decides. The first three also hold for folders.
_CHAIN: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), cause, reason)
    for pattern, cause, reason in (
        (r"No space left|Disk quota|os error 28\b|os error 122\b", "disk_full", "no space is left"),
        (r"Too many open files|os error 2[34]\b", "dest_unavailable", "too many files are open"),
        (r"folder is gone", "folder_missing", ""),
        (r"status: 407|Proxy ?Auth", "proxy_auth",
         "the proxy wants other credentials, or a login other than Basic (407)"),
        (r"TunnelUn|tunnel", "proxy", "the proxy does not let us through"),
        (r"certificate|invalid peer|UnknownIssuer|HandshakeFailure", "tls", "its certificate cannot be trusted"),
        (r"redirect without LOCATION", "dest_region", "it answers with a redirect, as for a bucket in another region"),
        (r"credential", "dest_auth", ""),
        (r"dns error|failed to lookup address", "network", "its name cannot be resolved"),
        (r"Connection refused|ConnectionRefused|os error 111\b", "network", "Connection refused"),
        (r"unreachable|os error 10[01]\b|os error 113\b", "network", "it cannot be reached"),
        (r"TimedOut|timed out|timeout", "network", "no answer in time"),
        (r"Connection reset|ConnectionReset|os error 104\b|IncompleteMessage|broken pipe|os error 32\b", "network",
         "it hung up without an answer"),
        (r"error sending request|error decoding response body|HTTP error|hyper", "network", "the connection broke"),
    )
)  # fmt: skip

_NO_LINKS: Final = re.compile(r"(?s)Unable to (?:rename|link).*os error (?:1|13|18|22|31|38|45|95|102|524)\b")
"""EPERM, EACCES, EXDEV, EINVAL, EMLINK, ENOSYS, ENOTSUP and EOPNOTSUPP (of Linux and macOS): what link(2) gives where a
file system has no hard links. The library says "rename". It has written a file in the same folder by then, so that
permissions are not the reason."""

SHORT_NAMES: Final = "The mount takes shorter names only (ecryptfs: 143 bytes): use another file system, or S3."
"""The remedy where a name is too long for a folder lake."""

_LONG_NAME: Final = re.compile(r"os error (?:36|63)\b")
"""ENAMETOOLONG, of Linux and macOS."""

_LONGEST_QUOTE: Final = 300


class S3Answer(NamedTuple):
    """What S3 answered: status 0 where it did not."""

    status: int
    code: str
    message: str
    page: bool


def answer_in(text: str) -> S3Answer:
    """Return the answer that an error of the library quotes."""
    found = _ANSWER.search(text)
    body = found["body"] if found else text.partition("\n\nDebug source")[0]
    code = re.search(r"<Code>\s*([A-Za-z0-9.]{1,64})\s*</Code>|\(code: ([A-Za-z0-9.]{1,64})\)", body)
    message = re.search(r"(?s)<Message>(.{1,4000}?)</Message>", body)
    page = bool(re.match(r"\s*<(?!\?xml|Error)", body)) and not code
    words = " ".join(html.unescape(message[1]).split()) if message else ""
    return S3Answer(int(found["status"]) if found else 0, (code[1] or code[2]) if code else "", words, page)


def cause_of(answer: S3Answer) -> str:
    """Return the cause of an answer that is no success."""
    if answer.page and answer.status in {200, 401, 403}:
        return "intercepted"
    if "kms" in f"{answer.code} {answer.message}".casefold():
        passes = re.search(r"(?i)throttl|internal|unavailable|SlowDown", answer.code) is not None
        return "dest_unavailable" if passes else "dest_kms"
    if answer.code in _BY_CODE:
        return _BY_CODE[answer.code]
    if answer.status == 501 or (answer.status == 400 and _FEATURE.search(answer.message)):  # noqa: PLR2004 - HTTP
        return "dest_feature"
    if answer.status in {425, 429} or re.search("(?i)throttl", answer.code):
        return "dest_unavailable"
    by_class = {3: "dest_region", 5: "dest_unavailable"}
    return _BY_STATUS.get(answer.status) or by_class.get(answer.status // 100, "dest_refused")


def lake_error(text: str, what: str, *, local: bool = False, region: str = "", proxied: bool = False) -> LakeError:
    """Return the error for what the store's library said.

    Args:
        text: its error, with its chain of reasons.
        what: that was tried, to follow "cannot".
        local: of a folder.
        region: that the host of S3 was made from, where one was.
        proxied: requests go through a proxy, so that a refused connection is one to the proxy.
    """
    answer = answer_in(text)
    if answer.status or answer.code:
        quote = " ".join(part for part in (str(answer.status or ""), answer.code) if part)
        quote += f": {answer.message}" if answer.message else ""
        said = "something between here and the store answers with a web page" if answer.page else f"S3 answered {quote}"
        kind, cause, hint = DamagedUpload if _DAMAGED.fullmatch(answer.code) else LakeError, cause_of(answer), None
        if cause == "dest_feature" and what.startswith("create "):
            hint = "The store lacks conditional writes (If-None-Match) or the checksum: `viplake doctor` says which."
        return kind(f"cannot {what}: {redact(said)}", cause=cause, hint=hint)
    plain = re.sub(r"https?://\S+", "", text)  # a file's name is no sign
    first_line = redact(text.partition("\n")[0])
    if len(first_line) > _LONGEST_QUOTE:  # the reason is at the end, behind a path of any length
        first_line = f"{first_line[: _LONGEST_QUOTE // 2]}...{first_line[-_LONGEST_QUOTE // 2 :]}"
    if local:
        found = next(((cause, "") for sign, cause, _ in _CHAIN[:3] if sign.search(plain)), ("dest_io", ""))
        hint = None
        if what.startswith("create ") and _NO_LINKS.search(plain):
            hint = "This mount has no hard links, which exclusive writes need: use another file system, or S3."
        if _LONG_NAME.search(plain):
            hint = SHORT_NAMES
        return LakeError(f"cannot {what}: {first_line}", cause=found[0], hint=hint)
    for sign, cause, reason in _CHAIN:
        if sign.search(plain):
            hint = None
            if proxied and cause == "network" and "kind: Connect" in text:
                return LakeError(f"cannot {what}: the proxy cannot be reached ({reason})", cause="proxy")
            if cause == "network":
                hint = _about_region(reason, region)
            return LakeError(f"cannot {what}: {reason or first_line}", cause=cause, hint=hint)
    return LakeError(f"cannot {what}: {first_line}", cause="dest_unavailable")


def unreached(error: NetworkError, what: str, *, region: str = "") -> LakeError:
    """Return the error of the store for a request that got no answer; arguments as of `lake_error`."""
    reason = error.message.partition(": ")[2]
    return LakeError(f"cannot {what}: {reason}", cause=error.cause.word, hint=_about_region(reason, region))


def _about_region(reason: str, region: str) -> str | None:
    if not region or "resolved" not in reason:
        return None
    return f"Check the region ({region}, from AWS_REGION or the AWS profile) and name resolution."
