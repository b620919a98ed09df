"""I/O. Copies that S3 makes by itself, which the store's library cannot ask for.

No byte of a copy passes here. Each object costs a HEAD, which gives its ETag, checksum and storage class, and a
CopyObject, which is refused where the object has changed since. Above 5 GiB S3 copies in parts. What arrived is
compared with what was there: by the checksum that both have, else by ETags that are MD5s, else by size.
"""

from __future__ import annotations

import asyncio
import random
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from viplake.network.retry import pause

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

COPIES_AT_ONCE: Final = 32

LARGEST_COPY: Final = 5 << 30
"""Bytes that S3 copies in one request (Amazon S3 API Reference, CopyObject)."""

PART: Final = 1 << 30
"""Of a copy in parts: S3 takes 5 MiB to 5 GiB, and 10,000 of them."""

_ATTEMPTS: Final = 6
_PASSING: Final = frozenset(
    [
        "SlowDown",
        "ServiceUnavailable",
        "InternalError",
        "RequestTimeout",
        "Throttling",
        "RequestLimitExceeded",
        "503",
        "500",
    ]
)
_MD5: Final = re.compile(r"[0-9a-f]{32}")
_CHECKSUMS: Final = ("ChecksumCRC64NVME", "ChecksumSHA256", "ChecksumSHA1", "ChecksumCRC32C", "ChecksumCRC32")
_RNG: Final = random.Random()  # noqa: S311 - spreads retries, guards nothing


class S3RefusalError(Exception):
    """S3 refused a copy, or could not be reached.

    Attributes:
        status: of HTTP; 0 without an answer.
        code: S3's.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class S3MismatchError(Exception):
    """The copy is not what was to be copied."""


def _refusal(error: Any) -> S3RefusalError:
    details = error.response.get("Error", {})
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return S3RefusalError(status, str(details.get("Code", "")), str(details.get("Message", error)))


@dataclass(frozen=True, slots=True)
class BucketEnd:
    """One end of a copy: bucket, and prefix of the keys in it, with its closing slash or empty."""

    bucket: str
    prefix: str


@dataclass(slots=True)
class BucketCopier:
    """Copies objects of one bucket to another, or to another prefix.

    Attributes:
        client: of boto3, with the identity that reads the one end and writes the other.
        source, target: the ends.
        storage_class: of the copies; None: that of each object.
        options: further arguments of each write: encryption, requester pays.
        checksum: computed by S3 where the object has none; None: no checksum.
    """

    client: Any
    source: BucketEnd
    target: BucketEnd
    storage_class: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    checksum: str | None = "CRC64NVME"
    largest: int = LARGEST_COPY
    part: int = PART
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(COPIES_AT_ONCE, thread_name_prefix="viplake-copy")
    )

    async def copy(self, source_key: str, target_key: str, size: int) -> None:
        """Copy an object of this size.

        Raises:
            S3RefusalError: S3 refuses, or cannot be reached; nothing was copied.
            S3MismatchError: the object has another size now, or the copy differs; it is removed again.
        """
        origin, key = self.source.prefix + source_key, self.target.prefix + target_key
        paid = {name: value for name, value in self.options.items() if name == "RequestPayer"}
        head = await self._ask(
            self.client.head_object, Bucket=self.source.bucket, Key=origin, ChecksumMode="ENABLED", **paid
        )
        if head["ContentLength"] != size:
            raise S3MismatchError(f"{origin} has {head['ContentLength']:,} bytes now, and had {size:,}")
        given = {
            "Bucket": self.target.bucket,
            "Key": key,
            "StorageClass": self.storage_class or head.get("StorageClass", "STANDARD"),
            **self.options,
        }
        if (algorithm := _algorithm(head) or self.checksum) is not None:
            given["ChecksumAlgorithm"] = algorithm
        origin_of = {"CopySource": {"Bucket": self.source.bucket, "Key": origin}, "CopySourceIfMatch": head["ETag"]}
        if size <= self.largest:
            answer = await self._ask(self.client.copy_object, **given, **origin_of)
            made = answer["CopyObjectResult"] | {"ServerSideEncryption": answer.get("ServerSideEncryption")}
        else:
            made = await self._in_parts(given, origin_of, size)
        await self._compare(head, made, key, size)

    async def _in_parts(self, given: Mapping[str, Any], origin: Mapping[str, Any], size: int) -> dict[str, Any]:
        whole = {"ChecksumType": "FULL_OBJECT"} if given.get("ChecksumAlgorithm", "").startswith("CRC") else {}
        begun = await self._ask(self.client.create_multipart_upload, **given, **whole)
        upload = {"Bucket": given["Bucket"], "Key": given["Key"], "UploadId": begun["UploadId"]}
        try:
            parts = []
            for number, start in enumerate(range(0, size, self.part), 1):
                end = min(start + self.part, size) - 1
                done = await self._ask(
                    self.client.upload_part_copy,
                    **upload,
                    **origin,
                    PartNumber=number,
                    CopySourceRange=f"bytes={start}-{end}",
                )
                result = done["CopyPartResult"]
                sums = {name: result[name] for name in _CHECKSUMS if name in result}
                parts.append({"PartNumber": number, "ETag": result["ETag"], **sums})
            made = await self._ask(
                self.client.complete_multipart_upload, **upload, MultipartUpload={"Parts": parts}, **whole
            )
        except BaseException:
            await self._ask(self.client.abort_multipart_upload, **upload)
            raise
        return dict(made)

    async def _compare(self, head: Mapping[str, Any], made: Mapping[str, Any], key: str, size: int) -> None:
        """Hold the copy against the object: checksum, else MD5, else size."""
        common = [name for name in _CHECKSUMS if head.get(name) and made.get(name)]
        whole = head.get("ChecksumType", "FULL_OBJECT") == made.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
        etags = [str(one.get("ETag", "")).strip('"') for one in (head, made)]
        encrypted = any(str(one.get("ServerSideEncryption") or "").startswith("aws:kms") for one in (head, made))
        if common and whole:
            equal = all(head[name] == made[name] for name in common)
        elif all(map(_MD5.fullmatch, etags)) and not encrypted:
            equal = etags[0] == etags[1]
        else:
            there = await self._ask(self.client.head_object, Bucket=self.target.bucket, Key=key)
            equal = there["ContentLength"] == size
        if not equal:
            await self._ask(self.client.delete_object, Bucket=self.target.bucket, Key=key)
            raise S3MismatchError(f"the copy of {key} differs from the object")

    async def _ask(self, call: Callable[..., Any], **given: Any) -> Any:
        """Call boto3 in a thread, again while what fails passes."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - only a copy needs it

        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: call(**given))
            except ClientError as error:
                failure = _refusal(error)
                if failure.code not in _PASSING and failure.status < 500:  # noqa: PLR2004 - of HTTP
                    raise failure from None
            except BotoCoreError as error:
                failure = S3RefusalError(0, type(error).__name__, str(error))
            if attempt == _ATTEMPTS:
                raise failure
            await asyncio.sleep(pause(attempt, _RNG, first=0.5, longest=10.0))
        raise AssertionError


def _algorithm(head: Mapping[str, Any]) -> str | None:
    """The checksum over the whole object that it has, as S3 names it."""
    if head.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return None
    return next((name.removeprefix("Checksum") for name in _CHECKSUMS if head.get(name)), None)
