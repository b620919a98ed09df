"""I/O. One port over S3, a folder and memory: few verbs, the same promises from each.

What the rest relies on, and what one conformance suite holds all three to: a key shows the whole of an object
or nothing; `put_if_absent` lets exactly one of many writers win; a stream that breaks leaves nothing visible; a
write that returned survives the process (and, in a folder, the machine). Errors come out as `LakeError` with
their cause, never as the library's own.
"""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, MemoryStore, S3Store

from viplake.errors import DamagedUpload, LakeError, SettingsError
from viplake.model import StoredFile
from viplake.redact import Secret, redact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

PART_BYTES: Final = 8 << 20
"""A part of a multipart upload: S3 allows 10,000 parts of 5 MiB to 5 GiB, so files may reach 80 GiB."""

PARTS_AT_ONCE: Final = 2
"""Parts of one stream on their way at the same time: a stream holds (parts + 1) x part in memory."""

LARGEST_RECORD: Final = 64 << 20
"""Records are read whole; a Promise of 100,000 files stays below."""

_READ_CHUNK: Final = 1 << 20
_PAGE: Final = 1000
"""Keys that S3 gives a page (Amazon S3 API Reference, ListObjectsV2)."""

_UNFINISHED: Final = re.compile(r".*#\d+")


@dataclass(frozen=True, slots=True)
class Page:
    """Some objects of a listing, as columns: a listing of a million keys is no million Python objects.

    Attributes:
        keys: below the lake's root, the whole of each.
        sizes: bytes, one a key.
        etag: the store's own mark of the content of the i-th, without quotes; None where the store has none.
    """

    keys: list[str]
    sizes: list[int]
    etag: Callable[[int], str | None]


class Store(Protocol):
    """Where a lake lies. Keys are below the lake's URL, with `/` between their parts."""

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

        After any *error* (a lost answer) nobody knows: read back and compare.
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


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where the lake lies and how to reach it.

    Attributes:
        url: `s3://bucket[/prefix]`, `file:///folder` or `memory://`.
        access_key_id, secret_access_key, session_token: static AWS credentials; None: boto3's chain.
        region, endpoint, profile: as AWS means them.
        allow_http: http to a loopback endpoint is allowed.
        proxy, no_proxy: for S3; None: the environment decides.
        ca_file: PEM bundle, trusted besides the system's.
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
    proxy: Secret | None = None
    no_proxy: str | None = None
    ca_file: Path | None = None
    create: bool = field(default=False, compare=False)
    durable: bool = field(default=True, compare=False)


def open_store(settings: StoreSettings) -> Store:
    """The store behind a lake's URL. Nothing is sent yet.

    Raises:
        SettingsError: the URL is none that we know.
        LakeError: a folder does not exist (`dest_missing`) or cannot be used (`dest_io`).
    """
    parts = urlsplit(settings.url)
    if parts.query or parts.fragment or parts.username or parts.password:
        raise SettingsError("VIPLAKE_LAKE has parts that a lake's URL does not have")
    if parts.scheme == "s3" and parts.netloc:
        bucket, prefix = parts.netloc, parts.path.strip("/")
        static = settings.access_key_id and settings.secret_access_key
        renew = None if static else partial(_s3, settings, bucket, prefix)
        return ObjectStore(_s3(settings, bucket, prefix), settings.url, renew=renew)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path.startswith("/"):
        return _open_folder(Path(unquote(parts.path)), settings)
    if settings.url == "memory://":
        return ObjectStore(MemoryStore(), settings.url)
    raise SettingsError(
        f"not a lake: {settings.url!r}",
        hint="VIPLAKE_LAKE is s3://bucket[/prefix] or file:///absolute/folder.",
    )


def copy_within(source: StoreSettings, target: StoreSettings) -> Callable[[str, str], Awaitable[bool]] | None:
    """What copies from a key of one lake to a key of another where both lie in one bucket; None where they do not.

    The bytes do not pass here. It answers False where the store refuses; nothing was copied then. Between buckets
    S3 could copy too, but obstore cannot ask it to: there, and between endpoints, files are streamed.
    """
    ends = [urlsplit(settings.url) for settings in (source, target)]
    if {end.scheme for end in ends} != {"s3"} or ends[0].netloc != ends[1].netloc or source.endpoint != target.endpoint:
        return None
    bucket = _s3(target, ends[1].netloc, "")
    below = [f"{end.path.strip('/')}/" if end.path.strip("/") else "" for end in ends]

    async def copy(source_key: str, target_key: str) -> bool:
        try:
            await obstore.copy_async(bucket, below[0] + source_key, below[1] + target_key)
        except (BaseError, OSError):
            return False
        return True

    return copy


def _open_folder(folder: Path, settings: StoreSettings) -> Store:
    try:
        if settings.create:
            folder.mkdir(parents=True, exist_ok=True)
        if not folder.is_dir():
            raise LakeError(f"the lake's folder does not exist: {folder}", cause="dest_missing")
        return ObjectStore(LocalStore(folder), settings.url, folder=folder, durable=settings.durable)
    except (OSError, BaseError) as error:
        raise _lake_error(error, f"open the folder {folder}", local=True) from None


def _s3(settings: StoreSettings, bucket: str, prefix: str) -> S3Store:
    client: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=5),  # an address that swallows packets must not hold an Hour (D20)
        # It counts from the first byte sent, not from the last (measured): two parts of 8 MiB need 140 kB/s.
        "read_timeout": timedelta(seconds=120),
        "timeout": timedelta(minutes=10),
        "allow_http": settings.allow_http,
    }
    if settings.proxy is not None:
        client["proxy_url"] = settings.proxy.reveal()
        client["proxy_excludes"] = settings.no_proxy or ""
    if settings.ca_file is not None:
        client["root_certificate"] = settings.ca_file.read_bytes()
    config: dict[str, Any] = {
        # A checksum of its own travels with each part, so the body need not be hashed a second time to sign it. This
        # one covers the whole of an object that comes in parts, and costs a gigabyte half a second of CPU less than
        # SHA-256 (measured; far more where the processor has no instructions for that).
        "unsigned_payload": True,
        "checksum_algorithm": "CRC64NVME",
        "virtual_hosted_style_request": settings.endpoint is None,
    }
    if settings.endpoint:
        config["endpoint"] = settings.endpoint
    if settings.access_key_id and settings.secret_access_key:
        config["access_key_id"] = settings.access_key_id
        config["secret_access_key"] = settings.secret_access_key.reveal()
        if settings.session_token:
            config["session_token"] = settings.session_token.reveal()
    else:
        config["credential_provider"] = _boto3_credentials(settings)
    if settings.region:
        config["region"] = settings.region
    return S3Store(
        bucket,
        prefix=prefix or None,
        client_options=client,  # type: ignore[arg-type] # a TypedDict, made step by step
        # About 8 s of patience with a server that refuses, 40 s with an address that swallows packets.
        retry_config={
            "max_retries": 5,
            "retry_timeout": timedelta(seconds=120),
            "backoff": {"init_backoff": timedelta(seconds=0.25), "max_backoff": timedelta(seconds=10), "base": 2},
        },
        **config,
    )


def _boto3_credentials(settings: StoreSettings) -> Any:
    """Credentials as every AWS tool finds them: profile, SSO, role, container, instance."""
    import boto3  # noqa: PLC0415 - 35 MB and 0.2 s that static credentials do without
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - as above
    from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415 - as above

    try:
        session = boto3.Session(profile_name=settings.profile, region_name=settings.region)
        return Boto3CredentialProvider(session, ttl=timedelta(minutes=5))
    except (BotoCoreError, ValueError) as error:
        raise LakeError(f"no AWS credentials: {redact(str(error))}", cause="dest_auth") from None


@dataclass(slots=True)
class _Line:
    """One of obstore's stores, with the credentials that it was opened with.

    Attributes:
        store: to speak to.
        worked: it has been heard with them.
    """

    store: S3Store | LocalStore | MemoryStore
    worked: bool = False


class ObjectStore:
    """`Store` over obstore.

    Args:
        store: one of obstore's stores.
        url: the lake's URL, for messages.
        folder: where a folder lake lies on disk; None for others.
        durable: see `StoreSettings`.
        renew: opens the store with credentials that are read anew; None where there are no others.
    """

    def __init__(
        self,
        store: S3Store | LocalStore | MemoryStore,
        url: str,
        *,
        folder: Path | None = None,
        durable: bool = True,
        renew: Callable[[], S3Store] | None = None,
    ) -> None:
        self._line = _Line(store)
        self._url = url
        self._folder = folder
        self._durable = durable
        self._renew = renew
        self._settled: set[Path] = set()

    def __repr__(self) -> str:
        """Its URL."""
        return f"<{type(self).__name__} {self._url}>"

    async def get(self, key: str, *, limit: int = LARGEST_RECORD) -> bytes | None:
        """See `Store`."""
        try:
            with self._speaking(f"read {key}", FileNotFoundError) as store:
                result = await obstore.get_async(store, key)
                if result.meta["size"] > limit:
                    raise LakeError(
                        f"{key} is larger than the {limit:,} bytes that it may have", cause="ledger_damaged"
                    )
                return bytes(await result.bytes_async())
        except FileNotFoundError as error:
            self._refuse_missing_bucket(error, key)
            return None

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """See `Store`."""
        try:
            with self._speaking(f"read {key}", FileNotFoundError) as store:
                result = await obstore.get_async(store, key)
                async for chunk in result.stream(min_chunk_size=_READ_CHUNK):
                    yield bytes(chunk)
        except FileNotFoundError as error:
            self._refuse_missing_bucket(error, key)
            raise

    async def put(self, key: str, data: bytes) -> StoredFile:
        """See `Store`."""
        with self._speaking(f"write {key}") as store:
            result = await obstore.put_async(store, key, data, use_multipart=False)
            await self._settle(key)
        return StoredFile(key, len(data), _plain(result["e_tag"]))

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """See `Store`."""
        try:
            with self._speaking(f"create {key}", AlreadyExistsError) as store:
                await obstore.put_async(store, key, data, mode="create")
                await self._settle(key)
        except AlreadyExistsError:
            return False
        return True

    async def put_stream(self, key: str, chunks: AsyncIterator[bytes]) -> StoredFile:
        """See `Store`."""
        counted = _Counted(chunks)
        try:
            with self._speaking(f"write {key}") as store:
                result = await obstore.put_async(
                    store, key, counted, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE
                )
                await self._settle(key)
        except LakeError:
            if counted.failure is not None:
                raise counted.failure from None
            raise
        return StoredFile(key, counted.size, _plain(result["e_tag"]))

    async def files(self, prefix: str) -> list[StoredFile]:
        """See `Store`."""
        try:
            with self._speaking(f"list {prefix}", FileNotFoundError) as store:
                pages = [page async for page in obstore.list(store, prefix)]
        except FileNotFoundError as error:
            self._refuse_missing_bucket(error, prefix)
            return []
        found = [
            StoredFile(meta["path"], meta["size"], _plain(meta["e_tag"]), meta["last_modified"])
            for page in pages
            for meta in page
        ]
        return sorted(found, key=lambda file: file.key)

    async def pages(self, prefix: str) -> AsyncIterator[Page]:
        """See `Store`."""
        try:
            with self._speaking(f"list {prefix}", FileNotFoundError) as store:
                async for batch in obstore.list(store, prefix, chunk_size=_PAGE, return_arrow=True):
                    etags = batch["e_tag"]
                    yield Page(
                        list(batch["path"].to_pylist()),  # which its stub calls an array where NumPy is installed
                        list(batch["size"].to_pylist()),
                        lambda index, etags=etags: _plain(etags[index].as_py()),  # type: ignore[misc]
                    )
        except FileNotFoundError as error:
            self._refuse_missing_bucket(error, prefix)

    async def folders(self, prefix: str) -> list[str]:
        """See `Store`."""
        try:
            with self._speaking(f"list {prefix}", FileNotFoundError) as store:
                result = await obstore.list_with_delimiter_async(store, prefix)
        except FileNotFoundError as error:
            self._refuse_missing_bucket(error, prefix)
            return []
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in result["common_prefixes"])

    async def delete(self, key: str) -> None:
        """See `Store`."""
        try:
            with self._speaking(f"delete {key}", FileNotFoundError) as store:
                await obstore.delete_async(store, key)
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
        if self._folder is not None and self._durable:
            path = self._folder / key
            await asyncio.to_thread(_sync_to_disk, [path, path.parent])
            if path.parent not in self._settled:  # a new folder is a name in its parent, and so on upwards
                await asyncio.to_thread(_sync_to_disk, _between(path.parent, self._folder))
                self._settled.add(path.parent)

    @contextmanager
    def _speaking(self, what: str, *answers: type[Exception]) -> Iterator[S3Store | LocalStore | MemoryStore]:
        """The store to speak to. Its errors come out as `LakeError`, but for those that are `answers`."""
        self._refuse_missing_folder()
        line = self._line
        try:
            yield line.store
        except answers:
            line.worked = True
            raise
        except (BaseError, OSError) as error:
            raise self._error(error, what, line) from None
        line.worked = True

    def _error(self, error: Exception, what: str, line: _Line) -> LakeError:
        failure = _lake_error(error, f"{what} in {self._url}", local=self._folder is not None)
        if self._renew is None or not _EXPIRED.search(str(error)):
            return failure
        # Those who spoke with the old credentials at the same moment find them renewed. Ones that never worked are
        # not renewed: what gave them has no better ones.
        if line is self._line:
            if not line.worked:
                return failure
            self._line = _Line(self._renew())
        return LakeError(failure.message, hint=failure.hint)

    def _refuse_missing_folder(self) -> None:
        """A folder that went away (an unmounted disk) must not be made again in the place where it was."""
        if self._folder is not None and not self._folder.is_dir():
            raise LakeError(f"the lake's folder is gone: {self._folder}", cause="dest_missing")

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

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            raise
        except BaseException as error:
            self.failure = error
            raise
        self.size += len(chunk)
        return chunk


def _plain(etag: str | None) -> str | None:
    """An ETag without its quotes."""
    return etag.strip('"') if etag else None


def _between(folder: Path, root: Path) -> list[Path]:
    return [parent for parent in folder.parents if parent == root or root in parent.parents]


def _sync_to_disk(targets: list[Path]) -> None:
    for target in targets:
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sweep_folder(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    leftovers = [path for path in folder.rglob("*#*") if _UNFINISHED.fullmatch(path.name) and path.is_file()]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return sorted(path.name for path in leftovers)


# What S3 and file systems say, in the order in which to look for it: the first word that stands in the
# error's text decides. S3's codes: Amazon S3 API Reference, "Error responses".
_SIGNS: Final[tuple[tuple[Callable[[str], bool], str], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE).search, cause)  # type: ignore[misc] # a match is as good as a bool
    for pattern, cause in (
        (r"No space left|Disk quota|os error 28\b|os error 122\b", "disk_full"),
        (r"Too many open files|os error 2[34]\b|Throttl|SlowDown|KMS\.?Internal", "dest_unavailable"),
        (r"NoSuchBucket", "dest_missing"),
        (r"RequestTimeTooSkewed", "clock"),
        (r"kms", "dest_kms"),
        (
            r"InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|TokenRefreshRequired",
            "dest_auth",
        ),
        (r"credential", "dest_auth"),
        (
            r"PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint|redirect without LOCATION",
            "dest_region",
        ),
        (r"AccessDenied|AllAccessDisabled|Forbidden|status: 403|MethodNotAllowed", "dest_denied"),
        (r"certificate|invalid peer|UnknownIssuer", "tls"),
        (r"status: 407|Proxy Authentication|ProxyAuthRequired", "proxy_auth"),
        (r"TunnelUnsuccessful|TunnelUnexpectedEof", "proxy"),
    )
)


_EXPIRED: Final = re.compile(r"ExpiredToken|TokenRefreshRequired|RequestExpired")
"""S3's codes for credentials that were good once (as above)."""

_DAMAGED: Final = re.compile(r"<Code>(?:BadDigest|InvalidDigest|IncompleteBody|XAmzContent\w+Mismatch)</Code>")
"""S3 got other bytes than were sent (as above)."""


def _lake_error(error: Exception, what: str, *, local: bool) -> LakeError:
    text = re.sub(r"https?://\S+", "", str(error))  # a file's name is no sign
    cause = next((cause for sign, cause in _SIGNS if sign(text)), None)
    if cause is None and isinstance(error, UnauthenticatedError):
        cause = "dest_auth"
    if cause is None and isinstance(error, PermissionDeniedError | PermissionError):
        cause = "dest_denied"
    if local and cause not in {"disk_full", "dest_unavailable"}:
        cause = "dest_io"
    first_line = redact(str(error).partition("\n")[0])[:300]
    kind = DamagedUpload if _DAMAGED.search(text) else LakeError
    return kind(f"cannot {what}: {first_line}", cause=cause or "dest_unavailable")
