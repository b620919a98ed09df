"""Copies that S3 makes by itself, against a client that keeps buckets and counts requests and bytes."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError

from viplake.network.s3 import BucketCopier, BucketEnd, S3MismatchError, S3RefusalError


def _refusal(status: int, code: str) -> ClientError:
    told = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(told, "CopyObject")


class Buckets:
    """The calls of boto3 that a copy makes, over objects in memory.

    Attributes:
        objects: bytes and properties, by bucket and key.
        requests: by kind.
        failures: raised by the next calls.
        spoil: what a copy makes of the bytes.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], tuple[bytes, dict[str, Any]]] = {}
        self.requests: Counter[str] = Counter()
        self.failures: list[ClientError] = []
        self.spoil = False
        self.parts: dict[int, bytes] = {}
        self.given: dict[str, Any] = {}

    def put(self, key: str, data: bytes, **more: Any) -> None:
        etag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
        self.objects["old", key] = data, {"ETag": etag, "ContentLength": len(data)} | more

    def _count(self, name: str) -> None:
        self.requests[name] += 1
        if self.failures:
            raise self.failures.pop(0)

    def head_object(self, *, Bucket: str, Key: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's names
        self._count("head")
        if (Bucket, Key) not in self.objects:
            raise _refusal(404, "404")
        return self.objects[Bucket, Key][1]

    def copy_object(self, **given: Any) -> dict[str, Any]:
        self._count("copy")
        data, properties = self._origin(given)
        return {"CopyObjectResult": self._store(given, data, properties)}

    def _origin(self, given: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
        data, properties = self.objects[given["CopySource"]["Bucket"], given["CopySource"]["Key"]]
        assert given["CopySourceIfMatch"] == properties["ETag"]
        return data, properties

    def _store(self, given: dict[str, Any], data: bytes, properties: dict[str, Any]) -> dict[str, Any]:
        data = data[::-1] if self.spoil else data
        made = {"ETag": f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"', "ContentLength": len(data)}
        if "ChecksumCRC64NVME" in properties:
            made["ChecksumCRC64NVME"] = "other" if self.spoil else properties["ChecksumCRC64NVME"]
        self.given = given
        self.objects[given["Bucket"], given["Key"]] = data, made | {"StorageClass": given.get("StorageClass")}
        return made

    def create_multipart_upload(self, **given: Any) -> dict[str, Any]:
        self._count("create")
        self.parts, self.given = {}, given
        return {"UploadId": "1"}

    def upload_part_copy(self, **given: Any) -> dict[str, Any]:
        self._count("part")
        data, _ = self._origin(given)
        start, _, end = given["CopySourceRange"].removeprefix("bytes=").partition("-")
        self.parts[given["PartNumber"]] = data[int(start) : int(end) + 1]
        return {"CopyPartResult": {"ETag": '"part"'}}

    def complete_multipart_upload(self, **given: Any) -> dict[str, Any]:
        self._count("complete")
        numbers = [part["PartNumber"] for part in given["MultipartUpload"]["Parts"]]
        made = self._store(self.given, b"".join(self.parts[number] for number in numbers), {})
        return made | {"ETag": '"joined-3"'}

    def abort_multipart_upload(self, **_: Any) -> None:
        self._count("abort")

    def delete_object(self, *, Bucket: str, Key: str) -> None:  # noqa: N803 - boto3's names
        self._count("delete")
        del self.objects[Bucket, Key]


@pytest.fixture
def buckets() -> Buckets:
    return Buckets()


def copier(buckets: Buckets, **more: Any) -> BucketCopier:
    return BucketCopier(buckets, BucketEnd("old", "archive/"), BucketEnd("new", ""), **more)


async def test_a_copy_costs_two_requests_and_keeps_the_storage_class(buckets: Buckets) -> None:
    buckets.put("archive/a", b"bytes", StorageClass="STANDARD_IA", ChecksumCRC64NVME="sum")
    await copier(buckets).copy("a", "b", 5)
    assert buckets.objects["new", "b"][0] == b"bytes"
    assert buckets.objects["new", "b"][1]["StorageClass"] == "STANDARD_IA"
    assert buckets.given["ChecksumAlgorithm"] == "CRC64NVME"
    assert buckets.requests == {"head": 1, "copy": 1}


async def test_a_storage_class_that_is_set_holds(buckets: Buckets) -> None:
    buckets.put("archive/a", b"bytes", StorageClass="STANDARD_IA")
    await copier(buckets, storage_class="GLACIER_IR", options={"ServerSideEncryption": "aws:kms"}).copy("a", "b", 5)
    assert buckets.objects["new", "b"][1]["StorageClass"] == "GLACIER_IR"
    assert buckets.given["ServerSideEncryption"] == "aws:kms"


async def test_a_large_object_is_copied_in_parts(buckets: Buckets) -> None:
    buckets.put("archive/a", b"0123456789")
    await copier(buckets, largest=5, part=4).copy("a", "b", 10)
    assert buckets.objects["new", "b"][0] == b"0123456789"
    assert (buckets.requests["create"], buckets.requests["part"], buckets.requests["complete"]) == (1, 3, 1)
    assert buckets.requests["abort"] == 0


async def test_a_large_copy_that_fails_leaves_no_upload(buckets: Buckets) -> None:
    buckets.put("archive/a", b"0123456789")
    slow = copier(buckets, largest=5, part=4)
    complete, buckets.complete_multipart_upload = buckets.complete_multipart_upload, _forbidden  # type: ignore[method-assign]
    with pytest.raises(S3RefusalError):
        await slow.copy("a", "b", 10)
    assert (buckets.requests["abort"], complete.__name__) == (1, "complete_multipart_upload")


def _forbidden(**_: Any) -> dict[str, Any]:
    raise _refusal(403, "AccessDenied")


@pytest.mark.parametrize("more", [{}, {"ChecksumCRC64NVME": "sum"}], ids=["by ETag", "by checksum"])
async def test_a_copy_that_differs_is_removed(buckets: Buckets, more: dict[str, str]) -> None:
    buckets.put("archive/a", b"bytes", **more)
    buckets.spoil = True
    with pytest.raises(S3MismatchError, match="differs"):
        await copier(buckets).copy("a", "b", 5)
    assert ("new", "b") not in buckets.objects


async def test_an_object_of_another_size_is_not_copied(buckets: Buckets) -> None:
    buckets.put("archive/a", b"bytes")
    with pytest.raises(S3MismatchError, match="5 bytes now, and had 6"):
        await copier(buckets).copy("a", "b", 6)
    assert buckets.requests == {"head": 1}


async def test_a_busy_store_is_retried_and_a_refusal_is_final(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viplake.network.s3.pause", lambda *_, **__: 0.0)
    buckets.put("archive/a", b"bytes")
    buckets.failures = [_refusal(503, "SlowDown"), _refusal(500, "InternalError")]
    await copier(buckets).copy("a", "b", 5)
    assert buckets.requests == {"head": 3, "copy": 1}
    buckets.failures = [_refusal(403, "AccessDenied")]
    with pytest.raises(S3RefusalError) as caught:
        await copier(buckets).copy("a", "b", 5)
    assert (caught.value.status, caught.value.code) == (403, "AccessDenied")
