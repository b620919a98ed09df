"""PURE. Download URLs as S3 signs them: Signature Version 4 in the query, with a key, a start and an end.

A real signature, so that a URL which a client re-writes on its way, or keeps for too long, fails here as it
fails at the vendor. The tests sign with boto3 and let this check, so that it cannot drift from the original:
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import parse_qsl, quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"
_STAMP = "%Y%m%dT%H%M%SZ"
_NEEDED = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-Signature")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the storage refuses: an HTTP status, and S3's own code and message."""

    status: int
    code: str
    message: str


@lru_cache(maxsize=64)
def _key(secret: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


@dataclass(frozen=True, slots=True)
class Signer:
    """Makes and checks presigned URLs.

    Attributes:
        access_key: the key id in X-Amz-Credential.
        secret_key: the key that signs; never sent.
        session_token: what a role's session adds (X-Amz-Security-Token).
        region: of the storage.
    """

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(repr=False)
    region: str = "eu-west-1"

    def _signature(self, host: str, path: str, pairs: list[tuple[str, str]], stamp: str) -> str:
        query = "&".join(sorted(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs))
        canonical = f"GET\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
        scope = f"{stamp[:8]}/{self.region}/s3/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"{_ALGORITHM}\n{stamp}\n{scope}\n{digest}"
        return hmac.digest(_key(self.secret_key, stamp[:8], self.region), to_sign.encode(), "sha256").hex()

    def sign(self, url: str, now: datetime, lifetime: float) -> str:
        """The URL with its signature, valid from `now` for so many seconds (at least 1, whole)."""
        stamp = now.strftime(_STAMP)
        pairs = [
            ("X-Amz-Algorithm", _ALGORITHM),
            ("X-Amz-Credential", f"{self.access_key}/{stamp[:8]}/{self.region}/s3/aws4_request"),
            ("X-Amz-Date", stamp),
            ("X-Amz-Expires", str(max(1, int(lifetime)))),
            ("X-Amz-Security-Token", self.session_token),
            ("X-Amz-SignedHeaders", "host"),
        ]
        parts = urlsplit(url)
        pairs.append(("X-Amz-Signature", self._signature(parts.netloc, parts.path, pairs, stamp)))
        return url + "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)

    def refusal(  # noqa: PLR0911 - one return a reason, in the order in which S3 looks
        self, host: str, target: str, now: datetime
    ) -> Refusal | None:
        """Why a GET of this path and query, byte for byte as received, is refused; None where it is not."""
        path, _, query = target.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        given = dict(pairs)
        if any(not given.get(name) for name in _NEEDED):
            return Refusal(403, "AccessDenied", "Access Denied")
        stamp = given["X-Amz-Date"]
        scope = f"{stamp[:8]}/{self.region}/s3/aws4_request"
        try:
            start = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
            lifetime = timedelta(seconds=int(given["X-Amz-Expires"]))
        except ValueError:
            return Refusal(400, "AuthorizationQueryParametersError", "X-Amz-Date or X-Amz-Expires is malformed")
        if given["X-Amz-Credential"] != f"{self.access_key}/{scope}":
            return Refusal(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist.")
        if now > start + lifetime:
            return Refusal(403, "AccessDenied", "Request has expired")
        if now < start - timedelta(seconds=1):  # what the stamp cut off
            return Refusal(403, "AccessDenied", "Request is not valid yet")
        rest = [pair for pair in pairs if pair[0] != "X-Amz-Signature"]
        if not hmac.compare_digest(self._signature(host, path, rest, stamp), given["X-Amz-Signature"]):
            return Refusal(403, "SignatureDoesNotMatch", "The request signature we calculated does not match.")
        return None
