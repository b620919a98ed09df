"""W: what goes wrong between viplake and S3, by a proxy in front of a real server: the bytes arrive, or the cause is.

The transfer is the real one, its vendor a fake; each test looks at what SeaweedFS holds afterwards.
"""

from __future__ import annotations

import hashlib
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from fakes import FakeClock, FakeVendor
from servers.faulty import Faulty, Spoil, faulty, s3_error
from viplake.errors import LakeError
from viplake.extract.transfer import Landed, TransferSettings, land
from viplake.lake.store import PART_BYTES, Store, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from servers.seaweed import Seaweed

pytestmark = pytest.mark.system

FOLDER = "IMOSDL/Hourly/20220510/13/"
WHOLE, STREAM = r"^PUT .*/a\.gz ", r"^PUT .*/b\.gz.*partNumber=2"
FILES = {"e/a.gz": random.Random(1).randbytes(70_000), "e/b.gz": random.Random(2).randbytes(20 << 20)}


@dataclass
class Scene:
    """A vendor with a small file and a large one, SeaweedFS, and the proxy in between."""

    proxy: Faulty
    store: Store
    clean: Store
    vendor: FakeVendor

    async def land(self, *, seconds: float = 1800) -> Landed:
        listed = self.vendor.listing()
        clock = self.vendor.clock
        return await land(
            [file.promised() for file in listed],
            listed=listed,
            relist=self.vendor.relist,
            vendor=self.vendor,
            store=self.store,
            folder=FOLDER,
            clock=clock,
            deadline=clock.monotonic() + seconds,
            settings=TransferSettings(whole_below=1 << 20),
            rng=random.Random(3),
        )

    async def check_all_landed(self) -> None:
        landed = await self.land()
        assert {name: str(error) for name, error in landed.failed.items()} == {}
        stored = {file.key: file for file in await self.clean.files("")}
        assert set(stored) == {FOLDER + key.rpartition("/")[2] for key in FILES}
        for proof in landed.proven:
            assert await self.clean.get(FOLDER + proof.name) == FILES[proof.key]
            assert proof.etag == stored[FOLDER + proof.name].etag
            assert proof.md5 == hashlib.md5(FILES[proof.key]).hexdigest()

    def downloads(self, name: str) -> int:
        return sum(key.endswith(name) for key, _ in self.vendor.requests)


@asynccontextmanager
async def scene(seaweed: Seaweed, *spoils: Spoil, profile: str | None = None) -> AsyncIterator[Scene]:
    """With a profile, its credentials are asked for; else the server's are given."""
    settings = seaweed.settings(seaweed.bucket())
    async with faulty(seaweed.endpoint, *spoils) as proxy:
        through = replace(settings, endpoint=proxy.url)
        if profile is not None:
            through = replace(through, access_key_id=None, secret_access_key=None, profile=profile)
        yield Scene(proxy, open_store(through), open_store(settings), FakeVendor(FakeClock(), FILES))


SLOW_DOWN = s3_error("SlowDown", "Please reduce your request rate.", "503 Slow Down")
INTERNAL = s3_error("InternalError", "We encountered an internal error.", "500 Internal Server Error")


@pytest.mark.parametrize(
    "spoils",
    [
        pytest.param([Spoil("answer", WHOLE, SLOW_DOWN, times=2)], id="W1 503"),
        pytest.param([Spoil("answer", STREAM, INTERNAL, times=2)], id="W1 500 of a part"),
        pytest.param([Spoil("answer", WHOLE, s3_error("RequestTimeout"))], id="W2 RequestTimeout"),
        pytest.param([Spoil("answer", STREAM, s3_error("RequestTimeout"))], id="W2 RequestTimeout of a part"),
        pytest.param(
            [Spoil("answer", WHOLE, s3_error("KMS.ThrottlingException", "rate at which you may call KMS"))],
            id="W4 KMS throttles",
        ),
        pytest.param([Spoil("answer", WHOLE, s3_error("BadDigest"), times=2)], id="W7 BadDigest"),
        pytest.param(
            [Spoil("answer", STREAM, s3_error("XAmzContentSHA256Mismatch"), times=2)], id="W7 SHA256 of a part"
        ),
        pytest.param([Spoil("answer_after", WHOLE, INTERNAL)], id="W8 500 after it was stored"),
        pytest.param([Spoil("lost", WHOLE)], id="W8 reset after it was stored"),
        pytest.param([Spoil("lost", STREAM)], id="W8 reset after a part was stored"),
        pytest.param([Spoil("answer", r"^POST .*uploadId=", s3_error("InternalError", status="200 OK"))], id="W9"),
        pytest.param([Spoil("lost", r"^POST .*uploadId=", times=1)], id="W10 reset after the upload was completed"),
        pytest.param(
            [Spoil("answer_after", r"^POST .*uploadId=", s3_error("NoSuchUpload", status="404 Not Found"))],
            id="W10 NoSuchUpload",
        ),
        pytest.param([Spoil("reset", WHOLE)], id="W1 reset"),
        pytest.param([Spoil("cut", WHOLE, byte=30_000)], id="W1 reset within the body"),
        pytest.param([Spoil("cut", STREAM, byte=30_000)], id="W1 reset within a part"),
        pytest.param([Spoil("slow", r"^(PUT|POST)", byte=20, times=None)], id="W1 slow answers"),
    ],
)
async def test_a_transient_fault_ends_in_the_same_bytes(spoils: list[Spoil], seaweed: Seaweed) -> None:
    async with scene(seaweed, *spoils) as given:
        await given.check_all_landed()
        assert all(spoil._seen > 0 for spoil in spoils), "the fault has struck"
        assert given.downloads("a.gz") == 1, "bytes at hand are not fetched again"


async def test_W15_a_large_file_is_sent_in_parts_and_never_as_one_request(seaweed: Seaweed) -> None:
    async with scene(seaweed) as given:
        await given.check_all_landed()
        sizes = [size for line, size in given.proxy.requests if "/b.gz" in line and line.startswith("PUT")]
        assert len(sizes) == 3
        assert max(sizes) <= PART_BYTES
        assert PART_BYTES * 10_000 > 5 << 30, "S3 takes 10,000 parts: far more than one request may carry"


async def test_W7_bytes_that_arrive_damaged_each_time_fail_alone(seaweed: Seaweed) -> None:
    async with scene(seaweed, Spoil("answer", WHOLE, s3_error("BadDigest"), times=None)) as given:
        landed = await given.land()
        assert {name: error.cause.word for name, error in landed.failed.items()} == {"a.gz": "integrity"}
        assert given.proxy.count(WHOLE) == 3
        assert [file.name for file in await given.clean.files(FOLDER)] == ["b.gz"]


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        pytest.param(s3_error("AccessDenied", status="403 Forbidden"), "dest_denied", id="W3"),
        pytest.param(
            s3_error("AccessDenied", "not authorized to perform: kms:GenerateDataKey", "403 Forbidden"),
            "dest_kms",
            id="W4 denied",
        ),
        pytest.param(s3_error("KMS.DisabledException", "arn:aws:kms:x is disabled."), "dest_kms", id="W4 disabled"),
        pytest.param(s3_error("NoSuchBucket", status="404 Not Found"), "dest_missing", id="W5 no bucket"),
        pytest.param(
            s3_error("PermanentRedirect", status="301 Moved Permanently"), "dest_region", id="W5 F4 another region"
        ),
        pytest.param(
            s3_error("AccessDenied", "Access Denied because object protected by object lock.", "403 Forbidden"),
            "dest_denied",
            id="W19",
        ),
        pytest.param(s3_error("RequestTimeTooSkewed", status="403 Forbidden"), "clock", id="C4"),
    ],
)
async def test_a_permanent_fault_ends_everything_with_its_cause(answer: bytes, cause: str, seaweed: Seaweed) -> None:
    async with scene(seaweed, Spoil("answer", r"^PUT", answer, times=None)) as given:
        with pytest.raises(LakeError) as caught:
            await given.land()
        assert caught.value.cause.word == cause
        assert await given.clean.files("") == []
        assert given.proxy.count(WHOLE) <= 1, "it is not tried again"


def write_profile(file: Path, access_key: str, secret_key: str) -> None:
    file.write_text(f"[w6]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n")


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seaweed: Seaweed) -> Path:
    """A file of AWS credentials with the profile `w6`, the only place where boto3 looks."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    write_profile(file, seaweed.access_key, seaweed.secret_key)
    return file


async def test_W6_expired_credentials_are_renewed_and_the_file_resumes(seaweed: Seaweed, credentials: Path) -> None:
    """The first part is stored with the old ones; from the second on they have expired."""
    expired = Spoil(
        "answer", r"^(PUT|POST|GET)", s3_error("ExpiredToken"), times=None, after=4, head=seaweed.access_key
    )
    async with scene(seaweed, expired, profile="w6") as given:
        await given.store.put("lake.json", b"{}")
        write_profile(credentials, seaweed.rotated.access_key, seaweed.rotated.secret_key)
        await given.store.delete("lake.json")
        await given.check_all_landed()
        assert expired._seen > expired.after, "they had expired"


@pytest.mark.usefixtures("credentials")
async def test_W6_credentials_that_never_were_good_are_not_renewed_for_ever(seaweed: Seaweed) -> None:
    expired = Spoil("answer", "", s3_error("ExpiredToken"), times=None)
    async with scene(seaweed, expired, profile="w6") as given:
        with pytest.raises(LakeError) as caught:
            await given.land()
        assert caught.value.cause.word == "dest_auth"


@pytest.mark.usefixtures("credentials")
async def test_W6_credentials_that_expire_and_come_back_expired_end_with_their_cause(seaweed: Seaweed) -> None:
    expired = Spoil("answer", "^PUT", s3_error("ExpiredToken"), times=None, after=1)
    async with scene(seaweed, expired, profile="w6") as given:
        await given.store.put("lake.json", b"{}")
        with pytest.raises(LakeError) as caught:
            await given.land()
        assert caught.value.cause.word == "dest_auth"
        assert [file.key for file in await given.clean.files("")] == ["lake.json"]
