"""I/O. One port over S3, a folder and memory: few verbs, the same promises from each.

What the rest relies on, and what one conformance suite holds all three to: a key shows the whole of an object
or nothing; `put_if_absent` lets exactly one of many writers win; a stream that breaks leaves nothing visible; a
write that returned survives the process (and, in a folder, the machine). Errors come out as `LakeError` with
their cause, never as the library's own.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import random
import re
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, TypeVar, cast
from urllib.parse import unquote, urlsplit

import obstore
import structlog
from obstore.exceptions import AlreadyExistsError, BaseError, InvalidPathError
from obstore.store import LocalStore, MemoryStore, S3Store

from viplake.concurrency import map_bounded
from viplake.errors import DamagedUpload, LakeError, NetworkError, SettingsError
from viplake.lake.refusals import SHORT_NAMES, lake_error, unreached
from viplake.model import StoredFile
from viplake.network.aws import (
    AwsAccess,
    BucketAddress,
    bucket_address,
    bundle,
    checked,
    client,
    credentials,
    trusting_profile,
)
from viplake.network.hosts import refuse_plain_http
from viplake.network.listing import BucketLister, EndlessListingError, ListingError, ListingGuard
from viplake.network.retry import pause
from viplake.network.settings import Network
from viplake.redact import Secret, redact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from viplake.network.listing import RawPage
    from viplake.network.s3 import BucketCopier

    _Library: TypeAlias = S3Store | LocalStore | MemoryStore

T = TypeVar("T")

log = structlog.get_logger(__name__)

_RNG: Final = random.Random()  # noqa: S311 - spreads retries, guards nothing

PART_BYTES: Final = 8 << 20
"""A part of a multipart upload: S3 allows 10,000 parts of 5 MiB to 5 GiB, so files may reach 80 GiB."""

PARTS_AT_ONCE: Final = 2
"""Parts of one stream on their way at the same time: a stream holds (parts + 1) x part in memory."""

LARGEST_RECORD: Final = 64 << 20
"""Records are read whole; a Promise of 100,000 files stays below."""

RETRIES: Final = 5
"""Of a request to S3 that fails for a reason that passes: about 8 s with a server that refuses."""

_READ_CHUNK: Final = 1 << 20
_PAGE: Final = 1000
"""Keys that S3 gives a page (Amazon S3 API Reference, ListObjectsV2)."""

_LOOKS_AT_ONCE: Final = 32

_UNREADABLE: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters, and bytes of a file's name that are no text."""

_PRINTABLE: Final = bytes(range(32, 127))
_EMPTY_OR_DOTS: Final = re.compile(rb"/[/.]")
"""Where a part of a key may be empty, `.` or `..`; names that begin with a dot are found too."""

_MD5: Final = re.compile(r"[0-9a-f]{32}")
_NAMED: Final[set[tuple[str, ...]]] = set()
"""URL and prefix of listings, with their odd keys that are in the log already."""

_GROWING: Final = 3600.0
"""Seconds: a file that another process still writes was written to within them."""

_UNFINISHED: Final = re.compile(r".*#\d+")


@dataclass(frozen=True, slots=True)
class Page:
    """Some objects of a listing as columns, to avoid one Python object a key.

    Attributes:
        keys: below the lake's root, the whole of each.
        sizes: bytes, one a key.
        etag: returns the ETag of the i-th object, without quotes; None where the store has none.
    """

    keys: list[str]
    sizes: list[int]
    etag: Callable[[int], str | None]


ServerCopy = Callable[[str, str, int], Awaitable[str | None]]
"""Copies a key of one lake, of this size, to a key of another, inside S3. A text: S3 refuses it, and why."""

_REFUSALS: Final = frozenset({400, 403, 405, 501})
"""Statuses of S3 after which the object may still be read here and written there."""


class Store(Protocol):
    """The storage of a lake. Keys are below the lake's URL, with `/` between their parts."""

    async def get(self, key: str, *, limit: int = LARGEST_RECORD) -> bytes | None:
        """The whole object, None where there is none; `LakeError` where it is larger than `limit` bytes."""
        ...

    def read(self, key: str) -> AsyncIterator[bytes]:
        """The object in chunks of about 1 MiB; `FileNotFoundError` where there is none."""
        ...

    async def put(self, key: str, data: bytes) -> StoredFile:
        """Store the object, over an older one."""
        ...

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Store the object unless there is one: True for the one writer who did, False for all others.

        After an *error* (a lost answer) the outcome is unknown: read back and compare.
        """
        ...

    async def put_stream(self, key: str, chunks: AsyncIterator[bytes]) -> StoredFile:
        """Store what the iterator gives, over an older object, in flat memory.

        What the iterator raises comes out as it is, and nothing of the stream is visible.
        """
        ...

    async def files(self, prefix: str) -> list[StoredFile]:
        """All objects below a prefix that ends in `/`, by key."""
        ...

    def left_out(self, prefix: str) -> list[str]:
        """Keys that the last call of `files` with this prefix left out, because no file of a lake can have them."""
        ...

    def pages(self, prefix: str) -> AsyncIterator[Page]:
        """The same objects page by page as they come, in any order, for prefixes with very many."""
        ...

    async def folders(self, prefix: str) -> list[str]:
        """The names of the folders right below a prefix that ends in `/`, sorted."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object, if it is there."""
        ...

    async def sweep(self, prefix: str) -> list[str]:
        """Remove what killed writers left below the prefix, invisible to `files`; the names removed."""
        ...


Checksum = Literal["crc64nvme", "sha256", "md5", "none"]


@dataclass(frozen=True, slots=True)
class Features:
    """Features of requests to S3 that other stores do not have.

    Attributes:
        sse: `AES256`, `aws:kms` or `aws:kms:dsse`; None: the bucket's default.
        kms_key: for `aws:kms`; None: the account's own.
        storage_class: as S3 names it; None: the store's default.
        requester_pays: say that we pay for the requests.
        checksum: that travels with each upload. With `md5`, the ETag of the answer is compared with the MD5 of what
            was sent; with `none` the signature alone covers the bytes.
        content_type, cache_control: that the store answers with; empty: its default.
    """

    sse: str | None = None
    kms_key: str | None = None
    storage_class: str | None = None
    requester_pays: bool = False
    checksum: Checksum = "crc64nvme"
    content_type: str = ""
    cache_control: str = ""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where the lake is and how to reach it.

    Attributes:
        url: `s3://bucket[/prefix]`, `file:///folder` or `memory://`.
        access_key_id, secret_access_key, session_token: static AWS credentials; None: boto3's chain.
        region, endpoint, profile: as AWS means them; None: what boto3 finds.
        allow_http: http to a loopback endpoint is allowed.
        network: how the store is reached.
        features: what each request asks of the store.
        create: make a missing folder (never a bucket).
        durable: in a folder, a write that returned survives a power cut; False only for what can be made again.
    """

    url: str
    access_key_id: str | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    region: str | None = None
    endpoint: str | None = None
    profile: str | None = None
    allow_http: bool = False
    network: Network = field(default_factory=Network)
    features: Features = field(default_factory=Features)
    create: bool = field(default=False, compare=False)
    durable: bool = field(default=True, compare=False)


def open_store(settings: StoreSettings) -> Store:
    """The store behind a lake's URL. Nothing is sent yet.

    Raises:
        SettingsError: the URL is none that we know.
        LakeError: a folder does not exist (`folder_missing`) or cannot be used (`dest_io`).
    """
    parts = urlsplit(settings.url)
    if parts.query or parts.fragment or parts.username or parts.password:
        raise SettingsError("VIPLAKE_LAKE has a user, a query (?) or a fragment (#); a lake's URL has none")
    if parts.scheme == "s3" and parts.netloc:
        bucket, prefix = parts.netloc, unquote(parts.path).strip("/")
        access = _access(settings)
        settings = replace(settings, network=trusting_profile(settings.network, access))
        where = bucket_address(bucket, access, endpoint=settings.endpoint)
        opened = partial(_opened, settings, bucket, prefix, access, where)
        return ObjectStore(
            opened(),
            settings.url,
            renew=None if settings.access_key_id and settings.secret_access_key else opened,
            features=settings.features,
            region="" if settings.endpoint else where.region,
            seconds=settings.network.timeouts.read,
            proxied=settings.network.proxy_for(where.endpoint) is not None,
        )
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path.startswith("/"):
        return _open_folder(Path(unquote(parts.path)), settings)
    if settings.url == "memory://":
        return ObjectStore(_Line(MemoryStore()), settings.url)
    raise SettingsError(
        f"not a lake: {settings.url!r}",
        hint="VIPLAKE_LAKE is s3://bucket[/prefix] or file:///absolute/folder.",
    )


def server_copy(source: StoreSettings, target: StoreSettings) -> ServerCopy | str:
    """Return what S3 needs to copy between two lakes by itself, or why the files must come through this machine.

    Raises:
        SettingsError, LakeError: as `open_store`.
    """
    from viplake.network.s3 import COPIES_AT_ONCE, BucketCopier, BucketEnd  # noqa: PLC0415 - only a copy needs it

    ends = [urlsplit(settings.url) for settings in (source, target)]
    if {end.scheme for end in ends} != {"s3"}:
        return "one of the two lakes is not on S3"
    if source.endpoint != target.endpoint:
        return "the two lakes have different S3 endpoints"
    features = target.features
    options = {
        "ServerSideEncryption": features.sse,
        "SSEKMSKeyId": features.kms_key,
        "RequestPayer": "requester" if features.requester_pays else None,
    }
    origin, destination = (BucketEnd(end.netloc, _below(end.path)) for end in ends)
    connected = _boto3_client(target, COPIES_AT_ONCE)
    copier = BucketCopier(
        connected,
        origin,
        destination,
        storage_class=features.storage_class,
        options={name: value for name, value in options.items() if value},
        checksum=None if features.checksum in {"none", "md5"} else features.checksum.upper(),
    )
    return partial(_copied, copier)


async def _copied(copier: BucketCopier, source_key: str, target_key: str, size: int) -> str | None:
    from viplake.network.s3 import S3MismatchError, S3RefusalError  # noqa: PLC0415 - as in `server_copy`

    try:
        await copier.copy(source_key, target_key, size)
    except S3MismatchError as error:
        raise DamagedUpload(f"cannot copy {source_key}: {error}") from None
    except S3RefusalError as error:
        text = f"status code: {error.status}: <Code>{error.code}</Code><Message>{error}</Message>"
        failure = lake_error(text if error.status else f"{error.code}: {error}", f"copy {source_key}")
        if error.status in _REFUSALS and failure.cause.word != "dest_archived":
            return failure.message
        raise failure from None
    return None


def _boto3_client(settings: StoreSettings, connections: int) -> Any:
    access = _access(settings)
    where = bucket_address(urlsplit(settings.url).netloc, access, endpoint=settings.endpoint)
    return client(
        "s3",
        access,
        settings.network,
        endpoint=settings.endpoint,
        region=where.region,
        allow_http=settings.allow_http,
        connections=connections,
    )


def _may_be_odd(keys: list[str]) -> bool:
    """Whether `_is_odd` may hold for one of the keys: one look at a page costs less than a thousand."""
    text = ("/" + "/\n/".join(keys) + "/").encode("utf-8", "surrogatepass")
    plain = text.translate(None, _PRINTABLE) == b"\n" * (len(keys) - 1)
    return _EMPTY_OR_DOTS.search(text) is not None or not (plain or "".join(keys).isprintable())


def _below(path: str) -> str:
    """Return the prefix of keys for the path of a lake's URL."""
    return f"{plain}/" if (plain := unquote(path).strip("/")) else ""


def _is_odd(key: str) -> bool:
    """Whether the library refuses a key, or it is the marker of a folder: no file of a lake is called so."""
    return any(part in {"", ".", ".."} or _UNREADABLE.search(part) for part in key.split("/"))


def _open_folder(folder: Path, settings: StoreSettings) -> Store:
    try:
        if settings.create:
            folder.mkdir(parents=True, exist_ok=True)
        if not folder.is_dir():
            what = "is no folder" if folder.exists() else "does not exist"
            raise LakeError(f"the folder {what}: {folder}", cause="folder_missing")
        return ObjectStore(_Line(LocalStore(folder)), settings.url, folder=folder, durable=settings.durable)
    except (OSError, BaseError) as error:
        raise lake_error(str(error), f"open the folder {folder}", local=True) from None


def longest_name(url: str) -> int | None:
    """Return how many bytes the name of a file in a folder lake may have; None: its mount does not limit it."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        return None
    folder = Path(unquote(parts.path))
    while not folder.exists():
        folder = folder.parent
    try:
        return os.pathconf(folder, "PC_NAME_MAX") - len("#1")  # the library adds it to a file on its way
    except (OSError, ValueError):
        return None


def refuse_long_names(url: str, names: Iterable[str]) -> None:
    """Refuse files that the mount of a folder lake cannot store under their names, before the first one is read.

    Raises:
        LakeError: `dest_io`, naming the first of them.
    """
    most = longest_name(url)
    long = [name for name in names if most is not None and len(name.encode()) > most]
    if long:
        raise LakeError(
            f"the mount of the lake takes names of {most} bytes: {min(long)!r} has {len(min(long).encode())}"
            + (f", and {len(long) - 1:,} more are too long" if len(long) > 1 else ""),
            cause="dest_io",
            hint=SHORT_NAMES,
        )


def _access(settings: StoreSettings) -> AwsAccess:
    key, secret = settings.access_key_id, settings.secret_access_key
    return AwsAccess(key, secret, settings.session_token, settings.region, settings.profile)


def _opened(settings: StoreSettings, bucket: str, prefix: str, access: AwsAccess, where: BucketAddress) -> _Line:
    """Return what sends each request once, what opens the store for uploads in parts, and what lists.

    Raises:
        SettingsError, LakeError: as `_s3`.
    """
    give = _credentials(access, settings.network)
    one = partial(_s3, settings, bucket, prefix, where, give)
    root = f"{prefix}/" if prefix else ""
    lister = BucketLister(bucket, root, where, settings.network, give, requester_pays=settings.features.requester_pays)
    return _Line(one(), partial(one, retries=RETRIES), lister)


def _s3(
    settings: StoreSettings,
    bucket: str,
    prefix: str,
    where: BucketAddress,
    give: Callable[[], Any],
    *,
    retries: int = 0,
) -> S3Store:
    """Return the library's store. Everything that it could read from the environment is given.

    Raises:
        SettingsError: the AWS configuration, the endpoint or the certificates cannot be used.
        LakeError: there are no credentials (`dest_auth`).
    """
    refuse_plain_http(where.endpoint, "the S3 endpoint", allowed=settings.allow_http)
    network, limits, features = settings.network, settings.network.timeouts, settings.features
    proxy = network.proxy_for(where.endpoint)
    client: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=limits.connect),  # an address that swallows packets (D20)
        # They count from the first byte sent, not from the last (measured): a slow uplink needs the time of its bytes.
        "read_timeout": timedelta(seconds=limits.upload),
        "timeout": timedelta(seconds=limits.upload),
        "allow_http": settings.allow_http,
        "allow_invalid_certificates": False,
        # Without a proxy of ours the library would take one from the environment: this one excepts every host.
        "proxy_url": proxy.url if proxy else "http://127.0.0.1:9",
        "proxy_excludes": "" if proxy else "*,0.0.0.0/0,::/0",
    }
    if network.ca:
        # Where SSL_CERT_FILE or SSL_CERT_DIR is set, the library trusts these alone. Other legs trust the system's too.
        client["root_certificate"] = Path(bundle(network.ca) or "").read_bytes()
    config: dict[str, Any] = {
        "aws_endpoint_url_s3": where.endpoint,
        "virtual_hosted_style_request": where.virtual,
        "region": where.region,
        "credential_provider": give,
        "skip_signature": False,
        "s3_express": False,
        "conditional_put": "etag",
        "copy_if_not_exists": "multipart",
        "disable_tagging": True,
        "disable_bulk_delete": True,
        "request_payer": features.requester_pays,
        "sse_bucket_key_enabled": False,
        # A checksum of its own travels with each part, so the body need not be hashed a second time to sign it. This
        # one covers the whole of an object that comes in parts, and costs a gigabyte half a second of CPU less than
        # SHA-256 (measured; far more where the processor has no instructions for that).
        "unsigned_payload": features.checksum in {"crc64nvme", "sha256"},
    }
    if features.checksum in {"crc64nvme", "sha256"}:
        config["checksum_algorithm"] = features.checksum.upper()
    if features.sse:
        config["server_side_encryption"] = features.sse
        if features.kms_key:
            config["sse_kms_key_id"] = features.kms_key
    try:
        return S3Store(
            bucket,
            prefix=prefix or None,
            client_options=client,  # type: ignore[arg-type] # a TypedDict, made step by step
            retry_config={
                "max_retries": retries,
                "retry_timeout": timedelta(seconds=120),
                "backoff": {"init_backoff": timedelta(seconds=0.25), "max_backoff": timedelta(seconds=10), "base": 2},
            },
            **config,
        )
    except (BaseError, ValueError) as error:
        text = redact(str(error).partition("\n")[0])[:300]
        raise SettingsError(f"the S3 library cannot use these settings: {text}") from None


def _credentials(access: AwsAccess, network: Network) -> Callable[[], Any]:
    """Return what the library asks for credentials, every five minutes: keys, profile, SSO, role, container, instance.

    Raises:
        LakeError: there are none, or they cannot travel in a header (`dest_auth`).
    """
    if access.access_key_id and access.secret_access_key:
        token = access.session_token.reveal() if access.session_token else None
        static = checked(access.access_key_id, access.secret_access_key.reveal(), token)
        return lambda: static | {"expires_at": None}
    give = credentials(access, network)
    return lambda: give() | {"expires_at": datetime.now(UTC) + timedelta(minutes=5)}  # noqa: TID251 - the library's own clock


@dataclass(slots=True)
class _Line:
    """One of obstore's stores, with the credentials that it was opened with.

    Attributes:
        store: reads and writes objects.
        open_stream: opens, with the same credentials, what repeats the requests of an upload in parts; None: not S3.
        lister: lists the bucket; None: not S3.
        stream: what `open_stream` opened.
        worked: it has been heard with them.
    """

    store: _Library
    open_stream: Callable[[], _Library] | None = None
    lister: BucketLister | None = None
    stream: _Library | None = None
    worked: bool = False


class ObjectStore:
    """`Store` over obstore.

    Args:
        line: what it speaks through.
        url: the lake's URL, for messages.
        folder: of a folder lake on disk; None for others.
        durable: see `StoreSettings`.
        renew: opens the line with credentials that are read again; None where there are no others.
        features: what uploads ask of S3.
        region: that the host of S3 was made from, where one was.
        seconds: that an answer may take; None: any time.
        proxied: requests go through a proxy.
    """

    def __init__(
        self,
        line: _Line,
        url: str,
        *,
        folder: Path | None = None,
        durable: bool = True,
        renew: Callable[[], _Line] | None = None,
        features: Features | None = None,
        region: str = "",
        seconds: float | None = None,
        proxied: bool = False,
    ) -> None:
        self._line = line
        self._url = url
        self._features, self._region, self._seconds, self._proxied = features, region, seconds, proxied
        self._retries = 0 if line.lister is None else RETRIES
        self._folder = folder
        self._durable = durable
        self._renew = renew
        self._settled: set[Path] = set()
        self._left_out: dict[str, list[str]] = {}

    def __repr__(self) -> str:
        """Its URL."""
        return f"<{type(self).__name__} {self._url}>"

    async def get(self, key: str, *, limit: int = LARGEST_RECORD) -> bytes | None:
        """See `Store`."""

        async def read(store: _Library) -> bytes:
            result = await obstore.get_async(store, key)
            if result.meta["size"] > limit:
                raise LakeError(f"{key} is larger than the {limit:,} bytes that it may have", cause="ledger_damaged")
            return bytes(await result.bytes_async())

        try:
            return await self._ask(f"read {key}", read, FileNotFoundError, seconds=self._seconds)
        except FileNotFoundError as error:
            self._refuse_missing_bucket(error, key)
            return None

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """See `Store`."""

        async def begin(store: _Library) -> AsyncIterator[Any]:
            return aiter((await obstore.get_async(store, key)).stream(min_chunk_size=_READ_CHUNK))

        async def more(_store: _Library) -> bytes | None:
            chunk = await anext(chunks, None)
            return None if chunk is None else bytes(chunk)

        try:
            chunks = await self._ask(f"read {key}", begin, FileNotFoundError, seconds=self._seconds)
            while (chunk := await self._once(f"read {key}", more, seconds=self._seconds)) is not None:
                yield chunk
        except FileNotFoundError as error:
            self._refuse_missing_bucket(error, key)
            raise

    async def put(self, key: str, data: bytes) -> StoredFile:
        """See `Store`."""

        async def write(store: _Library) -> str | None:
            result = await obstore.put_async(store, key, data, use_multipart=False, attributes=self._attributes())
            await self._settle(key)
            return self._compared(key, result["e_tag"], data)

        return StoredFile(key, len(data), await self._ask(f"write {key}", write))

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """See `Store`."""

        async def create(store: _Library) -> None:
            await obstore.put_async(store, key, data, mode="create")
            await self._settle(key)

        try:
            await self._ask(f"create {key}", create, AlreadyExistsError)
        except AlreadyExistsError:
            return False
        return True

    async def put_stream(self, key: str, chunks: AsyncIterator[bytes]) -> StoredFile:
        """See `Store`."""
        counted = _Counted(chunks)

        async def write(_store: _Library) -> str | None:
            result = await obstore.put_async(
                self._streaming(),
                key,
                counted,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
                attributes=self._attributes(),
            )
            await self._settle(key)
            return _plain(result["e_tag"])

        try:
            etag = await self._once(f"write {key}", write)
        except LakeError:
            if counted.failure is not None:
                raise counted.failure from None
            raise
        return StoredFile(key, counted.size, etag)

    def _streaming(self) -> _Library:
        """The store for uploads in parts; it has connections and certificates of its own, which cost memory."""
        line = self._line
        if line.stream is None:
            line.stream = line.store if line.open_stream is None else line.open_stream()
        return line.stream

    def _attributes(self) -> dict[str, str] | None:
        if self._features is None:
            return None
        found = {
            "Storage-Class": self._features.storage_class,
            "Content-Type": self._features.content_type,
            "Cache-Control": self._features.cache_control,
        }
        return {name: value for name, value in found.items() if value} or None

    def _compared(self, key: str, etag: str | None, data: bytes) -> str | None:
        """The ETag; compared with the MD5 of what was sent where that is the checksum and KMS does not change it."""
        plain, features = _plain(etag), self._features
        compares = (
            features is not None and features.checksum == "md5" and not (features.sse or "").startswith("aws:kms")
        )
        if compares and _MD5.fullmatch(plain or "") and plain != hashlib.md5(data, usedforsecurity=False).hexdigest():
            raise DamagedUpload(f"{key} arrived with other bytes than were sent: its MD5 is {plain}")
        return plain

    async def files(self, prefix: str) -> list[StoredFile]:
        """See `Store`."""
        if self._line.lister is None:
            return await self._files_of_folder(prefix)
        found: list[StoredFile] = []
        async for page, objects in self._bucket_pages(prefix):
            found += (StoredFile(page.keys[at], page.sizes[at], page.etag(at), page.modified_at(at)) for at in objects)
        return sorted(found, key=lambda file: file.key)

    async def _files_of_folder(self, prefix: str) -> list[StoredFile]:
        async def listed(store: _Library) -> list[StoredFile]:
            found = await obstore.list(store, prefix).collect_async()
            return [StoredFile(one["path"], one["size"], _plain(one["e_tag"]), one["last_modified"]) for one in found]

        try:
            found = await self._ask(f"list {prefix}", listed, FileNotFoundError, InvalidPathError)
        except FileNotFoundError:
            found = []
        except InvalidPathError:
            keys, _ = await self._walked(prefix)
            found = await map_bounded(self._look, keys, at_once=_LOOKS_AT_ONCE)
        else:
            self._left_out.pop(prefix, None)
        return sorted(found, key=lambda file: file.key)

    def left_out(self, prefix: str) -> list[str]:
        """See `Store`."""
        return self._left_out.get(prefix, [])

    async def pages(self, prefix: str) -> AsyncIterator[Page]:
        """See `Store`."""
        if self._line.lister is None:
            files = await self._files_of_folder(prefix)
            for start in range(0, len(files), _PAGE):
                some = files[start : start + _PAGE]
                yield Page([f.key for f in some], [f.size for f in some], lambda index, some=some: some[index].etag)  # type: ignore[misc]
            return
        async for page, objects in self._bucket_pages(prefix):
            whole = len(objects) == len(page.keys)
            yield Page(
                page.keys if whole else [page.keys[at] for at in objects],
                page.sizes if whole else [page.sizes[at] for at in objects],
                lambda index, page=page, objects=objects: page.etag(objects[index]),  # type: ignore[misc]
            )
            del page, objects

    async def _bucket_pages(self, prefix: str, delimiter: str = "") -> AsyncIterator[tuple[RawPage, Sequence[int]]]:
        """The pages of a listing of S3, each with the places of the keys that a file of a lake can have."""
        guard, token = ListingGuard(), None
        self._left_out.pop(prefix, None)

        async def next_page(_store: _Library) -> RawPage:
            lister = cast("BucketLister", self._line.lister)  # which changes with new credentials
            page = await lister.page(prefix, delimiter, token)
            guard.take(page)
            return page

        while True:
            page = await self._ask(f"list {prefix}", next_page, seconds=self._seconds)
            objects: Sequence[int] = range(len(page.keys))
            if _may_be_odd(page.keys):
                objects = [at for at, key in enumerate(page.keys) if not _is_odd(key)]
                odd = [
                    k for k, size in zip(page.keys, page.sizes, strict=True) if _is_odd(k) and (size or k[-1:] != "/")
                ]
                self._leave_out(prefix, odd)
            token = page.token
            yield page, objects
            del page, objects  # not in memory while the next one is on its way: a page has 0.4 MB
            if token is None:
                return

    async def folders(self, prefix: str) -> list[str]:
        """See `Store`."""

        async def listed(store: _Library) -> list[str]:
            return [str(path) for path in (await obstore.list_with_delimiter_async(store, prefix))["common_prefixes"]]

        try:
            if self._line.lister is not None:
                names = [name async for page, _ in self._bucket_pages(prefix, "/") for name in page.folders]
            else:
                names = await self._ask(f"list {prefix}", listed, FileNotFoundError, InvalidPathError)
        except FileNotFoundError:
            return []
        except InvalidPathError:
            _, names = await self._walked(prefix)
        plain = (name.removesuffix("/") for name in names)
        return sorted(name.rpartition("/")[2] for name in plain if not _is_odd(name))

    async def _walked(self, prefix: str) -> tuple[list[str], list[str]]:
        """The keys and folders below a prefix of a folder in which the library refuses a name."""
        if self._folder is None:
            raise LakeError(f"cannot list {prefix} in {self._url}: a key cannot be read", cause="dest_io")
        keys, folders, odd = await asyncio.to_thread(_walk, self._folder, prefix)
        self._left_out.pop(prefix, None)
        self._leave_out(prefix, odd)
        return keys, folders

    def _leave_out(self, prefix: str, odd: list[str]) -> None:
        """Remember the keys that a listing leaves out; they are in the log once a process."""
        if not odd:
            return
        self._left_out[prefix] = self._left_out.get(prefix, []) + odd
        named = (self._url, prefix, *map(repr, odd[:5]))
        if named not in _NAMED:
            _NAMED.add(named)
            log.warning("keys_left_out", prefix=prefix, keys=list(named[2:]), count=len(odd))

    async def _look(self, key: str) -> StoredFile:
        meta = await obstore.head_async(self._line.store, key)
        return StoredFile(key, meta["size"], _plain(meta["e_tag"]), meta["last_modified"])

    async def delete(self, key: str) -> None:
        """See `Store`."""

        async def remove(store: _Library) -> None:
            await obstore.delete_async(store, key)

        try:
            await self._ask(f"delete {key}", remove, FileNotFoundError, seconds=self._seconds)
        except FileNotFoundError as error:
            self._refuse_missing_bucket(error, key)

    async def sweep(self, prefix: str) -> list[str]:
        """See `Store`. Only a folder has such leftovers: `name#1`, which obstore writes before it renames.

        S3 keeps unfinished multipart uploads where no listing shows them; a lifecycle rule removes them.
        """
        if self._folder is None:
            return []
        return await asyncio.to_thread(_sweep_folder, self._folder / prefix)

    async def _settle(self, key: str) -> None:
        """In a folder, force the file and its name to the disk: a power cut must not undo a proof."""
        if self._folder is None:
            return
        path = self._folder / key
        await asyncio.to_thread(_remove_leftovers, path)
        if self._durable:
            await asyncio.to_thread(_sync_to_disk, [path, path.parent])
            if path.parent not in self._settled:  # a new folder is a name in its parent, and so on upwards
                await asyncio.to_thread(_sync_to_disk, _between(path.parent, self._folder))
                self._settled.add(path.parent)

    async def _ask(
        self,
        what: str,
        send: Callable[[_Library], Awaitable[T]],
        *answers: type[Exception],
        seconds: float | None = None,
    ) -> T:
        """The answer to a request, repeated while it fails for a reason that passes; see `_once`."""
        for attempt in range(1, self._retries + 1):
            try:
                return await self._once(what, send, *answers, seconds=seconds)
            except LakeError as error:
                if not error.transient or isinstance(error, DamagedUpload):
                    raise
                log.debug("repeated", what=what, cause=error.cause.word, detail=error.message)
            await asyncio.sleep(pause(attempt, _RNG, first=0.5, longest=10.0))
        return await self._once(what, send, *answers, seconds=seconds)

    async def _once(
        self,
        what: str,
        send: Callable[[_Library], Awaitable[T]],
        *answers: type[Exception],
        seconds: float | None = None,
    ) -> T:
        """The answer to one request. Errors come out as `LakeError`, but for those that are `answers`."""
        self._refuse_missing_folder()
        line = self._line
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                answer = await send(line.store)
        except answers:
            line.worked = True
            raise
        except (
            BaseError,
            OSError,
            ListingError,
            EndlessListingError,
            NetworkError,
        ) as error:  # asyncio's TimeoutError is an OSError
            raise self._error(error, what, line) from None
        line.worked = True
        return answer

    def _error(self, error: Exception, what: str, line: _Line) -> LakeError:
        if isinstance(error, NetworkError):
            return unreached(error, f"{what} in {self._url}", region=self._region)
        if isinstance(error, EndlessListingError):
            return LakeError(f"cannot {what} in {self._url}: the listing has no end: {error}", cause="dest_refused")
        text = str(error) if str(error) or not isinstance(error, TimeoutError) else "TimedOut"
        failure = lake_error(
            text,
            f"{what} in {self._url}",
            local=self._folder is not None,
            region=self._region,
            proxied=self._proxied,
        )
        if self._renew is None or not _EXPIRED.search(text):
            return failure
        # Those who spoke with the old credentials at the same moment find them renewed. Ones that never worked are
        # not renewed: what gave them has no better ones.
        if line is self._line:
            if not line.worked:
                return failure
            self._line = self._renew()
        return LakeError(failure.message, hint=failure.hint)

    def _refuse_missing_folder(self) -> None:
        """A folder that went away (an unmounted disk) must not be made again in the place where it was."""
        if self._folder is not None and not self._folder.is_dir():
            raise LakeError(f"the lake's folder is gone: {self._folder}", cause="folder_missing")

    def _refuse_missing_bucket(self, error: Exception, what: str) -> None:
        if "NoSuchBucket" in str(error):
            raise LakeError(f"cannot reach {what}: {self._url} does not exist", cause="dest_missing") from None


class _Counted:
    """Passes chunks on, counting; remembers what broke them, because a store may wrap it."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.size = 0
        self.failure: BaseException | None = None

    def __aiter__(self) -> _Counted:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        return _Begun(self._next)

    async def _next(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            raise
        except BaseException as error:
            self.failure = error
            raise
        self.size += len(chunk)
        return chunk


class _Begun:
    """Begins a coroutine only when it is awaited.

    A cancelled upload may drop the chunk that it asked for, and Python warns of a coroutine that was never awaited.
    """

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, bytes]]) -> None:
        self._begin = begin

    def __await__(self) -> Generator[Any, Any, bytes]:
        return self._begin().__await__()


def _plain(etag: str | None) -> str | None:
    """An ETag without its quotes."""
    return etag.strip('"') if etag else None


def _between(folder: Path, root: Path) -> list[Path]:
    return [parent for parent in folder.parents if parent == root or root in parent.parents]


def _remove_leftovers(path: Path) -> None:
    """Remove the halves of this file that killed writers left, `name#1`, `name#2`, unless one may still be growing."""
    for number in itertools.count(1):
        half = path.with_name(f"{path.name}#{number}")
        try:
            if half.stat().st_mtime < path.stat().st_mtime - _GROWING:
                half.unlink(missing_ok=True)
        except FileNotFoundError:
            return


def _sync_to_disk(targets: list[Path]) -> None:
    for target in targets:
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _walk(root: Path, prefix: str) -> tuple[list[str], list[str], list[str]]:
    """Keys below a prefix of a folder lake, the folders right below it, and the keys that are odd."""
    keys: list[str] = []
    odd: list[str] = []
    for path, _, names in os.walk(root / prefix):
        for name in names:
            key = (Path(path) / name).relative_to(root).as_posix()
            readable = not _is_odd(key)
            if readable and not _UNFINISHED.fullmatch(name):
                keys.append(key)
            elif not readable:
                odd.append(key)
    folders = [entry.name for entry in os.scandir(root / prefix) if entry.is_dir()]
    return sorted(keys), [name for name in folders if not _is_odd(name)], sorted(odd)


def _sweep_folder(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    leftovers = [path for path in folder.rglob("*#*") if _UNFINISHED.fullmatch(path.name) and path.is_file()]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return sorted(path.name for path in leftovers)


_EXPIRED: Final = re.compile(r"ExpiredToken|TokenRefreshRequired|RequestExpired")
"""S3's codes for credentials that were good once (Amazon S3 API Reference, "Error responses")."""
