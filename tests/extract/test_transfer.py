"""What lands, what does not, and at what price: the vendor is a fake, the stores are real."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import structlog

from fakes import FakeClock, FakeVendor
from faults import Counting, Crash, Flaky, Tripwire, lake_down
from viplake.errors import CredentialsError, LakeError, NetworkError, VendorError
from viplake.extract.transfer import RETRIES_AT_ONCE, RETRIES_PER_SECOND, Landed, Progress, TransferSettings, land
from viplake.lake.store import StoreSettings, open_store
from viplake.network.settings import Timeouts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from viplake.lake.store import Store
    from viplake.model import StoredFile
    from viplake.vendor.port import ListedFile

FOLDER = "IMOSDL/Hourly/20220510/13/"
SMALL = TransferSettings(whole_below=300_000)
"""So that files of a megabyte go through the stream."""


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@dataclass
class Scene:
    """A vendor with two small files and a large one, a lake in memory, and what a transfer between them came to."""

    files: dict[str, bytes] = field(
        default_factory=lambda: {"e/a.json": noise(900), "e/b(é).gz": noise(70_000, 2), "e/large.gz": noise(900_000, 3)}
    )
    seconds: float = 1800
    settings: TransferSettings = SMALL
    lake: Store = field(default_factory=lambda: open_store(StoreSettings("memory://")))
    reported: list[Progress] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.vendor = FakeVendor(self.clock, self.files)
        self.store: Store = self.lake
        self.on_progress: Callable[[Progress], None] = self.reported.append

    async def land(
        self,
        *,
        relist: Callable[[], Awaitable[Sequence[ListedFile]]] | None = None,
        listed: Sequence[ListedFile] | None = None,
    ) -> Landed:
        listing = self.vendor.listing()
        return await land(
            [file.promised() for file in listing],
            listed=listing if listed is None else listed,
            relist=relist or self.vendor.relist,
            vendor=self.vendor,
            store=self.store,
            folder=FOLDER,
            clock=self.clock,
            deadline=self.clock.monotonic() + self.seconds,
            settings=self.settings,
            rng=random.Random(5),
            on_progress=self.on_progress,
        )

    async def visible(self) -> dict[str, bytes]:
        keys = [file.key for file in await self.lake.files("")]
        return {key: await self.lake.get(key) or b"" for key in keys}

    async def check_all_landed(self, landed: Landed) -> None:
        """Every file is stored byte for byte, and proven."""
        assert landed.failed == {}
        assert await self.visible() == {FOLDER + key.rpartition("/")[2]: data for key, data in self.files.items()}
        proofs = {proof.key: (proof.size, proof.md5) for proof in landed.proven}
        assert proofs == {key: (len(data), hashlib.md5(data).hexdigest()) for key, data in self.files.items()}
        etags = {file.name: file.etag for file in await self.lake.files("")}
        assert {proof.name: proof.etag for proof in landed.proven} == etags

    async def check_only_failed(self, landed: Landed, name: str, cause: str) -> None:
        """One file failed for this cause, is not visible, and cost no other one."""
        assert {file: error.cause.word for file, error in landed.failed.items()} == {name: cause}
        assert {proof.name for proof in landed.proven} | {name} == {key.rpartition("/")[2] for key in self.files}
        assert FOLDER + name not in await self.visible()


@pytest.fixture
def scene() -> Scene:
    return Scene()


BOTH = pytest.mark.parametrize("name", ["b(é).gz", "large.gz"], ids=["whole", "stream"])


# -- when nothing fails -------------------------------------------------------------------------------------


async def test_two_requests_a_file_and_no_more(scene: Scene) -> None:
    store = Counting(scene.lake)
    scene.store = store
    await scene.check_all_landed(await scene.land())
    assert sorted(scene.vendor.requests) == sorted((key, 0) for key in scene.files)
    assert store.verbs == {"put": 2, "put_stream": 1}
    assert scene.vendor.count("relist") == 0
    assert scene.clock.slept == []


async def test_the_proofs_come_in_the_order_in_which_the_files_were_promised(scene: Scene) -> None:
    assert [proof.key for proof in (await scene.land()).proven] == list(scene.files)


async def test_D17_an_empty_file_is_stored() -> None:
    scene = Scene({"e/empty.sql": b"", "e/a": b"1"})
    await scene.check_all_landed(await scene.land())


async def test_nothing_wanted_is_nothing_done(scene: Scene) -> None:
    scene.vendor.files = {}
    assert await scene.land() == Landed((), {})


async def test_progress_grows_up_to_all_files_and_bytes(scene: Scene) -> None:
    scene.vendor.fault("cut", "large", value=500_000)
    scene.vendor.fault("flip", "b(", value=0)
    await scene.land()
    assert scene.reported == sorted(scene.reported, key=lambda progress: (progress.files, progress.bytes))
    assert [p.bytes for p in scene.reported] == sorted(p.bytes for p in scene.reported)
    assert scene.reported[-1] == Progress(3, sum(len(data) for data in scene.files.values()))


async def test_files_side_by_side_stay_below_both_bounds() -> None:
    scene = Scene({f"e/{number}": noise(1_000, number) for number in range(300)})
    scene.settings = TransferSettings(files_at_once=16)
    await scene.check_all_landed(await scene.land())
    assert 8 <= scene.vendor.most_concurrent <= 16
    scene.vendor.most_concurrent = 0
    scene.settings = TransferSettings(files_at_once=16, bytes_in_flight=5_000)
    await scene.check_all_landed(await scene.land())
    assert 2 <= scene.vendor.most_concurrent <= 5


async def test_D23_a_file_larger_than_the_budget_lands_alone() -> None:
    scene = Scene({f"e/{number}": noise(400_000, number) for number in range(5)})
    scene.settings = TransferSettings(bytes_in_flight=100_000, whole_below=200_000)
    await scene.check_all_landed(await scene.land())
    assert scene.vendor.most_concurrent == 1


async def test_large_files_start_at_once_and_small_ones_go_on_beside_them() -> None:
    sizes = {f"e/small{number:03d}": 2_000 for number in range(100)} | {"e/large2": 800_000, "e/large1": 900_000}
    scene = Scene({key: noise(size) for key, size in sizes.items()})
    scene.settings = TransferSettings(files_at_once=4, bytes_in_flight=2_000_000, whole_below=300_000)
    await scene.check_all_landed(await scene.land())
    order = [key for key, _ in scene.vendor.requests]
    assert order[0] == "e/large1"
    assert all(key.startswith("e/small") for key in order[1:4])


@pytest.mark.system
async def test_Z4_many_small_files_pass_without_a_task_each() -> None:
    scene = Scene({f"e/{number}": b"%d" % number for number in range(3_000)})
    tasks = 0

    def watch(_progress: Progress) -> None:
        nonlocal tasks
        tasks = max(tasks, len(asyncio.all_tasks()))

    scene.on_progress = watch
    assert len((await scene.land()).proven) == 3_000
    assert tasks < 3 * scene.settings.files_at_once + 10


# -- the vendor's storage fails -----------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("where", ["none", "first", "middle", "all but one", "all"])
async def test_D6_a_cut_is_resumed_where_it_was(scene: Scene, name: str, where: str) -> None:
    size = len(scene.files[f"e/{name}"])
    byte = {"none": 0, "first": 1, "middle": size // 2, "all but one": size - 1, "all": size}[where]
    scene.vendor.fault("cut", name, value=byte)
    await scene.check_all_landed(await scene.land())
    starts = [start for key, start in scene.vendor.requests if key.endswith(name)]
    assert starts == ([0] if where == "all" else [0, byte])
    # The rest is asked for only as the rest of the same content.
    md5 = hashlib.md5(scene.files[f"e/{name}"]).hexdigest()
    marks = [mark for (key, _), mark in zip(scene.vendor.requests, scene.vendor.marks, strict=True) if name in key]
    assert marks == ([None] if where == "all" else [None, f'"{md5}"'])


async def test_D6_a_stream_with_many_cuts_is_one_upload(scene: Scene) -> None:
    store = Counting(scene.lake)
    scene.store = store
    for byte in (100_000, 250_000, 600_001, 899_999):
        scene.vendor.fault("cut", "large", value=byte)
    await scene.check_all_landed(await scene.land())
    assert store.verbs["put_stream"] == 1


@BOTH
async def test_D7_a_source_that_ignores_range_is_begun_anew(scene: Scene, name: str) -> None:
    scene.vendor.fault("cut", name, value=60_000)
    scene.vendor.fault("no_range", name, after=0)
    await scene.check_all_landed(await scene.land())
    assert [start for key, start in scene.vendor.requests if key.endswith(name)] == [0, 60_000, 0]


@BOTH
async def test_a_source_without_etag_is_begun_anew_after_a_cut(scene: Scene, name: str) -> None:
    scene.vendor.fault("cut", name, value=60_000, after=0)
    scene.vendor.fault("no_etag", name, times=None)
    landed = await scene.land()
    await scene.check_all_landed(landed)


@BOTH
async def test_D9_a_file_that_changes_under_way_is_begun_anew(scene: Scene, name: str) -> None:
    scene.vendor.fault("cut", name, value=50_000)
    scene.vendor.fault("replaced", name)
    landed = await scene.land()
    scene.files = scene.vendor.files
    await scene.check_all_landed(landed)
    assert [start for key, start in scene.vendor.requests if key.endswith(name)] == [0, 50_000, 0]


@BOTH
async def test_D10_a_stall_is_dropped_and_resumed(scene: Scene, name: str) -> None:
    scene.vendor.fault("stall", name, value=10)
    await scene.check_all_landed(await scene.land())
    assert [start for key, start in scene.vendor.requests if key.endswith(name)] == [0, 10]


async def test_D11_a_drip_is_dropped_within_two_minutes_and_resumed(scene: Scene) -> None:
    begun = scene.clock.monotonic()
    scene.vendor.fault("drip", "large", value=100_000)
    await scene.check_all_landed(await scene.land())
    # The first minute holds the 100,000 bytes that came at once: only the second is a drip.
    assert [start for key, start in scene.vendor.requests if "large" in key] == [0, 100_120]
    assert 120 <= scene.clock.monotonic() - begun < 130


@BOTH
async def test_D12_a_clean_short_body_gets_two_retries(scene: Scene, name: str) -> None:
    scene.vendor.fault("short", name, value=20_000, times=2)
    await scene.check_all_landed(await scene.land())


@BOTH
async def test_D12_a_body_that_is_always_short_fails_alone(scene: Scene, name: str) -> None:
    scene.vendor.fault("short", name, value=20_000, times=None)
    await scene.check_only_failed(await scene.land(), name, "integrity")
    assert [start for key, start in scene.vendor.requests if key.endswith(name)] == [0, 0, 0]


@BOTH
async def test_D13_an_endless_body_is_stopped_after_its_size(scene: Scene, name: str) -> None:
    scene.vendor.fault("longer", name, times=None)
    await scene.check_only_failed(await scene.land(), name, "integrity")


@BOTH
async def test_D14_another_size_costs_one_new_list(scene: Scene, name: str) -> None:
    scene.vendor.fault("other_size", name, value=5)
    await scene.check_all_landed(await scene.land())
    assert scene.vendor.count("relist") == 1


@BOTH
async def test_D14_a_size_that_stays_another_fails_alone(scene: Scene, name: str) -> None:
    scene.vendor.fault("other_size", name, value=5, times=None)
    await scene.check_only_failed(await scene.land(), name, "integrity")


@BOTH
async def test_D22_a_flipped_bit_is_caught_and_fetched_again(scene: Scene, name: str) -> None:
    scene.vendor.fault("flip", name)
    await scene.check_all_landed(await scene.land())
    assert [start for key, start in scene.vendor.requests if key.endswith(name)] == [0, 0]


@BOTH
async def test_two_downloads_that_agree_outvote_an_etag(scene: Scene, name: str) -> None:
    scene.vendor.fault("wrong_md5", name, times=None)
    await scene.check_all_landed(await scene.land())
    assert [start for key, start in scene.vendor.requests if key.endswith(name)] == [0, 0]


def packed(size: int, seed: int = 1, members: int = 3) -> bytes:
    """Gzip of several members, about so many bytes."""
    return b"".join(gzip.compress(noise(size // members, seed + number), mtime=0) for number in range(members))


@pytest.fixture
def encrypted() -> Scene:
    """A source that gives no MD5, and files of which two are gzip."""
    scene = Scene({"e/a.json": noise(900), "e/b(é).gz": packed(70_000, 2), "e/large.gz": packed(900_000, 3)})
    scene.vendor.encrypts = True
    return scene


@BOTH
async def test_D22_without_an_md5_of_the_source_a_flipped_bit_shows_in_the_crc_of_gzip(
    encrypted: Scene, name: str
) -> None:
    encrypted.vendor.fault("flip", name)
    await encrypted.check_all_landed(await encrypted.land())
    assert [start for key, start in encrypted.vendor.requests if key.endswith(name)] == [0, 0]


@BOTH
async def test_D22_a_bit_that_flips_before_a_cut_shows_after_it(encrypted: Scene, name: str) -> None:
    half = len(encrypted.files[f"e/{name}"]) // 2
    encrypted.vendor.fault("flip_cut", name, value=half)
    await encrypted.check_all_landed(await encrypted.land())
    assert [start for key, start in encrypted.vendor.requests if key.endswith(name)] == [0, half, 0]


@BOTH
async def test_D22_gzip_that_the_source_itself_holds_broken_is_stored_as_it_is_sent(
    encrypted: Scene, name: str
) -> None:
    key = f"e/{name}"
    encrypted.files[key] = encrypted.vendor.files[key] = encrypted.files[key][:-1] + b"!"
    with structlog.testing.capture_logs() as logs:
        await encrypted.check_all_landed(await encrypted.land())
    assert [start for asked, start in encrypted.vendor.requests if asked == key] == [0, 0]
    told = [line for line in logs if line["log_level"] != "debug"]  # which is captured where nothing was configured yet
    assert [(line["log_level"], line["file"]) for line in told] == [("warning", name)]


async def test_D22_bits_that_flip_elsewhere_each_time_fail_the_file(encrypted: Scene) -> None:
    for at in (100, 20_000, 50_000):
        encrypted.vendor.fault("flip", "b(", value=at)
    await encrypted.check_only_failed(await encrypted.land(), "b(é).gz", "integrity")


async def test_a_plain_file_without_md5_costs_one_request(encrypted: Scene) -> None:
    encrypted.files |= {"e/plain.gz": b"no gzip at all", "e/tiny.gz": b"\x1f"}
    encrypted.vendor.files = encrypted.files
    await encrypted.check_all_landed(await encrypted.land())
    assert len(encrypted.vendor.requests) == len(encrypted.files)


async def test_D1_forty_files_that_find_their_links_expired_ask_for_one_list() -> None:
    scene = Scene({f"e/{number}": noise(1_000, number) for number in range(40)})
    listing = scene.vendor.listing()
    scene.vendor.expire_links()
    await scene.check_all_landed(await scene.land(listed=listing))
    assert scene.vendor.count("relist") == 1
    assert len(scene.vendor.requests) == 80


async def test_D1_a_link_that_expires_while_a_file_is_resumed_goes_on_at_its_byte(scene: Scene) -> None:
    scene.vendor.fault("cut", "large", value=123_456)
    scene.vendor.fault("expired", "large")
    await scene.check_all_landed(await scene.land())
    assert [start for key, start in scene.vendor.requests if "large" in key] == [0, 123_456, 123_456]


async def test_a_failed_list_request_is_shared_by_all_files_and_repeated_later() -> None:
    scene = Scene({f"e/{number}": noise(1_000, number) for number in range(40)})
    listing = scene.vendor.listing()
    scene.vendor.expire_links()
    scene.vendor.wires = (Tripwire(at=1, verbs=["relist"], error=lambda: NetworkError("no route")),)
    await scene.check_all_landed(await scene.land(listed=listing))
    assert scene.vendor.count("relist") == 2


@BOTH
@pytest.mark.parametrize(("kind", "cause"), [("denied", "source_denied"), ("missing", "source_missing")])
async def test_D3_D4_refused_and_missing_files_cost_one_list_and_fail_alone(
    scene: Scene, name: str, kind: str, cause: str
) -> None:
    scene.vendor.fault(kind, name, times=None)  # type: ignore[arg-type] # one of its words
    await scene.check_only_failed(await scene.land(), name, cause)
    assert scene.vendor.count("relist") == 1


@BOTH
async def test_D4_a_file_that_is_there_after_a_new_list_lands(scene: Scene, name: str) -> None:
    scene.vendor.fault("missing", name)
    await scene.check_all_landed(await scene.land())


async def test_D4_files_that_are_missing_one_after_the_other_share_a_young_list() -> None:
    scene = Scene({f"e/{number}": noise(1_000, number) for number in range(6)})
    scene.settings = TransferSettings(files_at_once=1)
    scene.vendor.fault("missing", times=None)
    landed = await scene.land()
    assert {error.cause.word for error in landed.failed.values()} == {"source_missing"}
    assert scene.vendor.count("relist") == 1


async def test_U12_a_file_gone_from_the_new_list_is_list_changed(scene: Scene) -> None:
    async def relist() -> Sequence[ListedFile]:
        return scene.vendor.listing(["e/b(é).gz", "e/large.gz"])

    listing = scene.vendor.listing()
    scene.vendor.expire_links()
    await scene.check_only_failed(await scene.land(relist=relist, listed=listing), "a.json", "list_changed")


async def test_without_links_the_list_is_requested(scene: Scene) -> None:
    await scene.check_all_landed(await scene.land(listed=()))
    assert scene.vendor.count("relist") == 1


@BOTH
async def test_D5_a_busy_source_is_waited_for(scene: Scene, name: str) -> None:
    scene.vendor.fault("busy", name, times=5)
    await scene.check_all_landed(await scene.land())


async def test_P10_retry_after_is_honoured(scene: Scene) -> None:
    scene.vendor.fault("busy", "a.json", value=77)
    await scene.check_all_landed(await scene.land())
    assert scene.clock.slept == [77]


async def test_D19_an_outage_is_no_storm() -> None:
    scene = Scene({f"e/{number}": noise(100, number) for number in range(600)}, seconds=600)
    scene.vendor.fault("refused", times=None)
    landed = await scene.land()
    assert {error.cause.word for error in landed.failed.values()} <= {"network", "transfer_timeout"}
    assert len(landed.failed) == 600
    assert await scene.visible() == {}
    # Files that begin, retries that may come at once, and those of ten minutes.
    assert 300 < len(scene.vendor.requests) <= 48 + RETRIES_AT_ONCE + 600 * RETRIES_PER_SECOND
    assert len(scene.vendor.calls) == len(scene.vendor.requests)


async def test_D5_concurrency_falls_while_the_source_is_busy() -> None:
    scene = Scene({f"e/{number}": noise(30, number) for number in range(40)})
    scene.settings = TransferSettings(files_at_once=40)
    scene.vendor.fault("busy")
    scene.vendor.fault("drip", times=None)  # each takes 30 s, so that all 40 would be open at once
    await scene.check_all_landed(await scene.land())
    assert scene.vendor.most_concurrent == 20


async def test_an_unexpected_error_fails_only_its_file(scene: Scene) -> None:
    scene.vendor.fault("crash", "large", times=None)
    landed = await scene.land()
    await scene.check_only_failed(landed, "large.gz", "unexpected")
    assert "RuntimeError" in landed.failed["large.gz"].message


async def test_credentials_that_are_refused_when_asking_for_links_end_all(scene: Scene) -> None:
    async def relist() -> Sequence[ListedFile]:
        raise CredentialsError("refused", cause="auth_rejected")

    scene.vendor.fault("expired", "a.json")
    with pytest.raises(CredentialsError):
        await scene.land(relist=relist)


async def test_a_job_that_is_gone_when_asking_for_links_fails_the_file(scene: Scene) -> None:
    async def relist() -> Sequence[ListedFile]:
        raise VendorError("unknown job", cause="job_gone")

    scene.vendor.fault("expired", "a.json")
    await scene.check_only_failed(await scene.land(relist=relist), "a.json", "job_gone")


# -- the deadline -------------------------------------------------------------------------------------------


async def test_at_the_deadline_unfinished_files_fail_with_their_last_error() -> None:
    scene = Scene({f"e/{number}": noise(100, number) for number in range(5)}, seconds=300)
    scene.settings = TransferSettings(files_at_once=2)
    scene.vendor.fault("busy", "e/3", times=None)
    landed = await scene.land()
    await scene.check_only_failed(landed, "3", "vendor_unavailable")


async def test_a_deadline_that_has_passed_lands_nothing(scene: Scene) -> None:
    scene.seconds = 0
    landed = await scene.land()
    assert {error.cause.word for error in landed.failed.values()} == {"transfer_timeout"}
    assert len(landed.failed) == 3
    assert await scene.visible() == {}


async def test_a_store_that_hangs_does_not_outlast_the_deadline(scene: Scene) -> None:
    class Hanging(Counting):
        async def put(self, key: str, data: bytes) -> StoredFile:
            if "a.json" in key:
                scene.clock.advance(5_000)
                await asyncio.Event().wait()
            return await super().put(key, data)

    scene.store = Hanging(scene.lake)
    landed = await scene.land()
    assert landed.failed["a.json"].cause.word == "transfer_timeout"


async def test_D11_a_drip_for_ever_ends_at_the_deadline(scene: Scene) -> None:
    scene.seconds = 400
    scene.vendor.fault("drip", "large", value=100, times=None)
    landed = await scene.land()
    assert set(landed.failed) == {"large.gz"}
    assert FOLDER + "large.gz" not in await scene.visible()


# -- the lake fails -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
async def test_W1_W8_a_lake_that_is_out_for_a_moment_gets_the_same_bytes_again(scene: Scene, when: str) -> None:
    scene.store = Flaky(
        scene.lake,
        Tripwire(at=1, verbs=["put"], when=when, error=lake_down, times=4),  # type: ignore[arg-type] # one of its words
        Tripwire(at=1, verbs=["put_stream"], when=when, error=lake_down, times=3),  # type: ignore[arg-type] # as above
    )
    await scene.check_all_landed(await scene.land())
    assert sum(key != "e/large.gz" for key, _ in scene.vendor.requests) == 2, "bytes at hand are not fetched again"


async def test_W18_concurrency_falls_while_the_lake_is_throttled() -> None:
    """The first 40 writes are refused once; then half as many are under way, and one more after each full round."""
    scene = Scene({f"e/{number}": noise(30, number) for number in range(120)})
    scene.settings = TransferSettings(files_at_once=40)
    busy = most = 0
    refused: set[str] = set()

    class Throttled(Counting):
        async def put(self, key: str, data: bytes) -> StoredFile:
            nonlocal busy, most
            if len(refused) < 40 and key not in refused:
                refused.add(key)
                raise lake_down()
            busy += 1
            most = max(most, busy)
            await scene.clock.sleep(1)
            try:
                return await super().put(key, data)
            finally:
                busy -= 1

    scene.store = Throttled(scene.lake)
    await scene.check_all_landed(await scene.land())
    assert len(refused) == 40
    assert 10 < most <= 20 + 120 // 20


async def test_W11_a_stream_that_breaks_in_the_store_is_sent_anew(scene: Scene) -> None:
    scene.settings = TransferSettings(whole_below=100_000)
    scene.files["e/large.gz"] = scene.vendor.files["e/large.gz"] = noise(20 << 20)
    scene.store = Flaky(scene.lake, Tripwire(at=1, verbs=["put_stream"], when="during", error=lake_down))
    await scene.check_all_landed(await scene.land())


@pytest.mark.parametrize("cause", ["dest_denied", "dest_auth", "dest_kms", "dest_missing", "disk_full", "dest_io"])
@pytest.mark.parametrize("verb", ["put", "put_stream"])
async def test_W3_W4_W5_W16_W17_a_lake_that_refuses_ends_all_at_once(scene: Scene, cause: str, verb: str) -> None:
    scene.store = Flaky(scene.lake, Tripwire(at=1, verbs=[verb], error=lambda: LakeError("no", cause=cause)))
    scene.vendor.fault("stall", "a.json" if verb == "put_stream" else "large", value=100)
    with pytest.raises(LakeError) as caught:
        await scene.land()
    assert caught.value.cause.word == cause
    for key, data in (await scene.visible()).items():
        assert data == scene.files[key.replace(FOLDER, "e/")]
    assert scene.vendor.concurrent == 0


async def test_a_lake_that_stays_out_fails_the_files_at_the_deadline(scene: Scene) -> None:
    scene.seconds = 120
    scene.store = Flaky(scene.lake, Tripwire(at=1, error=lake_down, times=None))
    landed = await scene.land()
    assert {error.cause.word for error in landed.failed.values()} == {"dest_unavailable"}


# -- the end of the process ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "folder"])
async def test_X2_a_cancelled_transfer_leaves_nothing_half_visible(kind: str, tmp_path: Path) -> None:
    url = "memory://" if kind == "memory" else f"file://{tmp_path}"
    scene = Scene({f"e/{number}": noise(1_500_000, number) for number in range(8)}, lake=open_store(StoreSettings(url)))
    scene.settings = TransferSettings(whole_below=400_000, bytes_in_flight=100 << 20)
    scene.vendor.chunk = 2_000  # 750 of them a file, at most one a turn: no file is whole before it is cancelled
    for turns in (1, 5, 60, 200, 500):
        task = asyncio.create_task(scene.land())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for key, data in (await scene.visible()).items():
            assert data == scene.files[key.replace(FOLDER, "e/")]
        assert scene.vendor.concurrent == 0
        assert await scene.lake.sweep("") == []
    await scene.check_all_landed(await scene.land())


@pytest.mark.parametrize("verb", ["put", "put_stream", "download"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_X1_a_crash_is_raised_unchanged(scene: Scene, verb: str, when: str) -> None:
    wire = Tripwire(at=1, verbs=[verb], when=when, times=None)  # type: ignore[arg-type] # one of its words
    scene.store, scene.vendor.wires = Flaky(scene.lake, wire), (wire,)
    with pytest.raises(Crash):
        await scene.land()
    for key, data in (await scene.visible()).items():
        assert data == scene.files[key.replace(FOLDER, "e/")]


def test_a_slow_uplink_has_the_time_for_all_that_is_in_flight() -> None:
    slow = 150_000  # bytes a second
    assert TransferSettings().bytes_in_flight / slow * 1.2 < Timeouts().upload
