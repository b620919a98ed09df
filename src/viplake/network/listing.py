"""I/O. Listings of a bucket by raw keys: each key as S3 has it, each page to its end, and no page missing.

The library that reads and writes objects cannot do this. It refuses a whole page for one key that it cannot parse, it
shows the marker of a folder as a file, and it takes a page without a continuation token for the last one, although the
store says that more follows. Requests are signed and sent by botocore, over the rules of `Network`.
"""

from __future__ import annotations

import asyncio
import html
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote_plus

from viplake.errors import NetworkError
from viplake.network.aws import bundle, proxies, unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from viplake.network.aws import BucketAddress
    from viplake.network.settings import Network

PAGES_AT_ONCE: Final = 32

EMPTY_PAGES: Final = 1_000
"""Pages in a row without a key after which a listing has no end. Versioned buckets give some (deleted keys)."""

_OPENING: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*\?>\s*)?<ListBucketResult[\s>]")
_KEY: Final = re.compile(rb"<Key>([^<]*)</Key>")
_SIZE: Final = re.compile(rb"<Size>([^<]*)</Size>")
_ETAG: Final = re.compile(rb"<ETag>([^<]*)</ETag>")
_MODIFIED: Final = re.compile(rb"<LastModified>([^<]*)</LastModified>")
_FOLDER: Final = re.compile(rb"<CommonPrefixes>\s*<Prefix>([^<]*)</Prefix>")
_TOKEN: Final = re.compile(rb"<NextContinuationToken>([^<]+)</NextContinuationToken>")
_TRUNCATED: Final = re.compile(rb"(?i)<IsTruncated>\s*true\s*</IsTruncated>")
_CODED: Final = re.compile(rb"(?i)<EncodingType>\s*url\s*</EncodingType>")


class ListingError(Exception):
    """The store gave another answer than a page: its text has the form `status code: 503: <body>`."""


class EndlessListingError(Exception):
    """The pages of a listing do not lead to its end."""


@dataclass(slots=True)
class RawPage:
    """One page of a listing, as columns: a listing of a million keys is no million Python objects.

    Attributes:
        keys: as S3 has them, in the order of the page, below the lake's root.
        sizes: bytes, one a key.
        folders: common prefixes, where a delimiter was given.
        token: of the next page; None: this is the last one.
    """

    keys: list[str]
    sizes: list[int]
    folders: list[str]
    token: str | None
    _body: bytes
    _etags: list[bytes] = field(default_factory=list)
    _modified: list[bytes] = field(default_factory=list)

    def etag(self, index: int) -> str | None:
        """Return the ETag of a key without its quotes; None where the store gives none."""
        self._etags = self._etags or _column(_ETAG, self._body, len(self.keys))
        return _text(self._etags[index]).strip('"') or None

    def modified_at(self, index: int) -> datetime | None:
        """Return when S3 says that an object was written."""
        self._modified = self._modified or _column(_MODIFIED, self._body, len(self.keys))
        try:
            return datetime.fromisoformat(_text(self._modified[index]).strip())
        except ValueError:
            return None


def parse_page(body: bytes, root: str = "", *, folders: bool = True) -> RawPage:
    """Read an answer to ListObjectsV2 (Amazon S3 API Reference), with names below this root.

    Args:
        body: of the answer.
        root: that all names begin with.
        folders: whether it may have some: a delimiter was given.

    Raises:
        ListingError: it is no whole page.
        EndlessListingError: it says that more keys follow, and not where.
    """
    if not _OPENING.match(body) or not body.rstrip().endswith(b"</ListBucketResult>"):
        raise _no_page(body)
    about = body[: body.find(b"<Contents>") + 1] + body[body.rfind(b"</Contents>") + 1 :]  # all of it without objects
    token = _TOKEN.search(about)
    if token is None and _TRUNCATED.search(about):
        raise EndlessListingError("it says that more keys follow, and its continuation token is missing")
    coded, count = _CODED.search(about) is not None, body.count(b"<Contents>")
    try:
        sizes = [int(size or 0) for size in _column(_SIZE, body, count)]
    except ValueError:
        raise _no_page(body) from None
    return RawPage(
        _names(_column(_KEY, body, count), coded, len(root)),
        sizes,
        _names(_FOLDER.findall(body), coded, len(root)) if folders else [],
        _text(token[1]) if token else None,
        body,
    )


def _no_page(body: bytes) -> ListingError:
    return ListingError("status code: 200: " + body[:4000].decode("utf-8", "replace"))


def _column(field_of: re.Pattern[bytes], body: bytes, count: int) -> list[bytes]:
    """Return a field of each of so many objects of a page; empty where the store leaves it out."""
    values: list[bytes] = field_of.findall(body)
    if len(values) == count:
        return values
    blocks = body.split(b"<Contents>")[1:]
    return [found[1] if (found := field_of.search(block)) else b"" for block in blocks]


def _names(raw: list[bytes], coded: bool, cut: int) -> list[str]:
    """Return names without their first `cut` characters; those without an escape, which is most, all at once."""
    joined = b"\n".join(raw)
    escaped = b"&" in joined or (coded and (b"%" in joined or b"+" in joined))
    if escaped or joined.count(b"\n") != len(raw) - 1:
        return [_name(one, coded)[cut:] for one in raw]
    names = joined.decode("utf-8", "surrogateescape").split("\n")
    return [name[cut:] for name in names] if cut else names


def _text(raw: bytes) -> str:
    text = raw.decode("utf-8", "surrogateescape")
    return html.unescape(text) if "&" in text else text


def _name(raw: bytes, coded: bool) -> str:
    text = _text(raw)
    return unquote_plus(text, errors="surrogateescape") if coded and ("%" in text or "+" in text) else text


@dataclass(slots=True)
class ListingGuard:
    """PURE. What the pages of one listing have shown, so that a listing without an end is an error soon."""

    _tokens: set[str] = field(default_factory=set)
    _first_keys: set[str] = field(default_factory=set)
    _empty: int = 0

    def take(self, page: RawPage) -> None:
        """Take the next page.

        Raises:
            EndlessListingError: the token or the first key was there before, or too many pages were empty.
        """
        names = page.keys or page.folders
        if page.token in self._tokens:
            raise EndlessListingError("its continuation token repeats")
        if names and names[0] in self._first_keys:
            raise EndlessListingError("it gives the same keys again")
        self._first_keys.update(names[:1])
        if page.token is None:
            return
        self._tokens.add(page.token)
        self._empty = 0 if names else self._empty + 1
        if self._empty >= EMPTY_PAGES:
            raise EndlessListingError(f"it gives {EMPTY_PAGES:,} pages in a row without a key")


class BucketLister:
    """Asks S3 for pages, each in one request that is not repeated.

    Args:
        bucket: its name.
        root: of the lake: the start of each key, with its closing slash, or empty.
        address: where the bucket is.
        network: how hosts are reached.
        credentials: gives `access_key_id`, `secret_access_key` and `token`, whenever they are needed.
        requester_pays: say that we pay for the requests.
    """

    def __init__(
        self,
        bucket: str,
        root: str,
        address: BucketAddress,
        network: Network,
        credentials: Callable[[], dict[str, Any]],
        *,
        requester_pays: bool = False,
    ) -> None:
        self._url = address.endpoint + ("/" if address.virtual else f"/{quote(bucket, safe='')}")
        self._root = root
        self._region, self._network, self._credentials = address.region, network, credentials
        self._headers = {"x-amz-request-payer": "requester"} if requester_pays else {}
        self._session: Any = None
        self._threads = ThreadPoolExecutor(PAGES_AT_ONCE, thread_name_prefix="viplake-list")

    async def page(self, prefix: str, delimiter: str = "", token: str | None = None) -> RawPage:
        """Return a page of the keys below a prefix of the lake.

        Raises:
            ListingError: S3 refuses, or answers with something else than a page.
            EndlessListingError: as `parse_page`.
            NetworkError: it cannot be reached.
        """
        body = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._get, self._root + prefix, delimiter, token
        )
        return parse_page(body, self._root, folders=bool(delimiter))

    def _get(self, prefix: str, delimiter: str, token: str | None) -> bytes:
        from botocore.auth import S3SigV4Auth  # noqa: PLC0415 - botocore: not for folders
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415 - as above
        from botocore.credentials import ReadOnlyCredentials  # noqa: PLC0415 - as above
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - as above

        query = {"list-type": "2", "encoding-type": "url", "prefix": prefix}
        query |= {"delimiter": delimiter} if delimiter else {}
        query |= {"continuation-token": token} if token else {}
        encoded = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(query.items()))
        request = AWSRequest("GET", f"{self._url}?{encoded}", headers=self._headers)
        given = self._credentials()
        keys = ReadOnlyCredentials(given["access_key_id"], given["secret_access_key"], given["token"])
        S3SigV4Auth(keys, "s3", self._region).add_auth(request)
        try:
            answer = self._opened().send(request.prepare())
            body: bytes = answer.content
        except BotoCoreError as error:
            raise unreachable(error, "S3") or NetworkError("S3: the connection broke") from None
        if answer.status_code != 200:  # noqa: PLR2004 - HTTP
            raise ListingError(f"status code: {answer.status_code}: {body[:4000].decode('utf-8', 'replace')}")
        return body

    def _opened(self) -> Any:
        if self._session is None:
            from botocore.httpsession import URLLib3Session  # noqa: PLC0415 - as in `_get`

            limits = self._network.timeouts
            self._session = URLLib3Session(
                verify=bundle(self._network.ca) or True,
                proxies=proxies(self._network, self._url),
                timeout=(limits.connect, min(limits.stall, limits.read)),
                max_pool_connections=PAGES_AT_ONCE,
            )
        return self._session
