"""Consolidation: what the lake lacks is copied, once, of the right environment, and nothing that it has is touched."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from fakes import DictStore, FakeClock
from faults import WITHHOLDING, Counting, Crash, Fault, Flaky, Tripwire, archived, denied
from viplake.errors import LakeError, SettingsError
from viplake.lake import Lake, records
from viplake.lake.consolidate import SMALL, Consolidated, Source, Span, consolidate
from viplake.lake.layout import PROMISE_NAME, Layout
from viplake.lake.store import StoreSettings, open_store, server_copy
from viplake.model import PROD, TEST, Hour, ProvenFile, Receipt, StoredFile
from viplake.redact import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from servers.seaweed import Seaweed
    from viplake.lake.store import Store

H13 = Hour.parse("2022-05-10T13")
OLD = Layout.below("IMOS/Hourly/")
MINE = Layout(PROD.prefix)
SIGNATURE = "https://bucket.s3.amazonaws.com/x?X-Amz-Signature=canary-signature-0123456789"


def store() -> DictStore:
    return DictStore(FakeClock())


async def put_hour(
    lake: Store, layout: Layout, hour: Hour, *, files: int = 3, promise: bool = True, lose: int = 0, text: str = ""
) -> dict[str, bytes]:
    """An Hour as the old script left it: with signatures in its Promise."""
    data = {f"Voyage_{hour.label}_{n}.json.gz": f"{hour}{n}{text}".encode() for n in range(files)}
    for name, content in list(data.items())[lose:]:
        await lake.put(layout.file(hour, name), content)
    if promise:
        entries = [
            {"key": f"out/{name}", "presignedDownloadURL": SIGNATURE, "size": len(content)}
            for name, content in data.items()
        ]
        await lake.put(layout.promise(hour), json.dumps(entries).encode())
    return data


def old(lake: Store, *, environment: str | None = "Prod", only: tuple[Span, ...] = ()) -> Source:
    return Source(Lake(lake, OLD, "s3://old"), environment, only)


async def copy(
    *sources: Source, into: Store, environment: str = "Prod", dry_run: bool = False, excluded: tuple[Span, ...] = ()
) -> Consolidated:
    layout = Layout(PROD.prefix if environment == "Prod" else TEST.prefix)
    return await consolidate(
        sources, Lake(into, layout, "s3://mine"), environment=environment, dry_run=dry_run, excluded=excluded
    )


def s3_settings(seaweed: Seaweed, bucket: str, path: str, *, secret: str | None = None) -> StoreSettings:
    return StoreSettings(
        f"s3://{bucket}{path}",
        access_key_id=seaweed.access_key,
        secret_access_key=Secret(secret or seaweed.secret_key),
        region="us-east-1",
        endpoint=seaweed.endpoint,
        allow_http=True,
    )


async def test_hours_that_the_lake_lacks_are_copied_promise_last_and_without_signatures() -> None:
    source, mine = store(), store()
    for number in (0, 1, 4):
        await put_hour(source, OLD, H13.shift(number))
    await put_hour(mine, MINE, H13.shift(1))
    before = dict(mine.objects)
    counting = Counting(mine)
    result = await copy(old(source), into=counting)
    assert [str(done.hour) for done in result.copied] == ["2022-05-10T13", "2022-05-10T17"]
    assert (result.files, result.present) == (6, 1)
    assert [str(span) for span in result.holes] == ["2022-05-10T15 to 2022-05-10T16"]
    writes = [call for call in counting.calls if call.startswith("put") and "/13/" in call]
    assert writes[-1].endswith("_PresignedUrls.json")
    assert {key: mine.objects[key] for key in before} == before
    promise = mine.objects[MINE.promise(H13)]
    assert b"Signature" not in promise
    assert len(records.parse_promise(promise).files) == 3
    assert result.first == H13


async def test_a_second_time_nothing_is_read_or_written() -> None:
    source, mine = store(), store()
    await put_hour(source, OLD, H13)
    await copy(old(source), into=mine)
    written = dict(mine.written)
    counting = Counting(source)
    result = await copy(old(counting), into=mine)
    assert (result.copied, result.present) == ((), 1)
    assert dict(mine.written) == written
    assert not [call for call in counting.calls if ".json.gz" in call]


async def test_F6_a_dry_run_writes_nothing_and_reports_the_same() -> None:
    source, mine = store(), store()
    for number in range(3):
        await put_hour(source, OLD, H13.shift(number))
    told = await copy(old(source), into=mine, dry_run=True)
    assert mine.objects == {}
    done = await copy(old(source), into=mine)
    assert dataclasses.replace(told, dry_run=False) == done


async def test_after_a_crash_at_any_write_the_next_call_ends_the_same() -> None:
    source, whole = store(), store()
    for number in range(2):
        await put_hour(source, OLD, H13.shift(number))
    counting = Counting(whole)
    await copy(old(source), into=counting)
    writes = sum(call.startswith("put") for call in counting.calls)
    assert writes == 8
    for number in range(1, writes + 1):
        for when in ("before", "after"):
            mine = store()
            wire = Tripwire(at=number, when=when, verbs=("put", "put_if_absent"), times=None)
            with pytest.raises(Crash):
                await copy(old(source), into=Flaky(mine, wire))
            result = await copy(old(source), into=mine)
            assert mine.objects == whole.objects
            assert all(count == 1 for key, count in mine.written.items()), "nothing is copied twice"
            assert result.remarks == ()


async def test_an_hour_with_another_export_is_reported_and_not_changed() -> None:
    source, mine = store(), store()
    await put_hour(source, OLD, H13)
    await put_hour(mine, MINE, H13, text="other size")
    await put_hour(source, OLD, H13.shift(1))
    await mine.put(MINE.file(H13.shift(1), "Vessel_1.json.gz"), b"another name")
    before = dict(mine.objects)
    result = await copy(old(source), into=mine)
    assert mine.objects == before
    assert [(str(r.hour), r.kind) for r in result.remarks] == [("2022-05-10T14", "differs")]
    assert result.present == 1
    await put_hour(source, OLD, H13, files=4)
    result = await copy(old(source), into=mine)
    assert [r.kind for r in result.remarks] == ["differs", "differs"]


async def test_an_hour_that_viplake_works_on_is_left_alone() -> None:
    source, mine = store(), store()
    await put_hour(source, OLD, H13)
    me = records.Worker("h", 1)
    await mine.put(MINE.event(H13, 1), records.event_bytes(records.EventKind.CLAIMED, H13.start, "a", me, {}))
    result = await copy(old(source), into=mine)
    assert [r.kind for r in result.remarks] == ["open"]
    await mine.put(MINE.event(H13, 2), records.event_bytes(records.EventKind.FAILED, H13.end, "b", me, {}))
    assert len((await copy(old(source), into=mine)).copied) == 1


async def test_ranges_are_left_out_or_taken_from_a_second_source() -> None:
    source, second, mine = store(), store(), store()
    for number in range(6):
        await put_hour(source, OLD, H13.shift(number))
        await put_hour(second, OLD, H13.shift(number), text="second")
    diverted = Span(H13.shift(2), H13.shift(3))
    other = Source(Lake(second, OLD, "s3://second"), "Prod", (diverted,))
    result = await copy(old(source), other, into=mine, excluded=(Span(H13.shift(5), H13.shift(9)),))
    assert [(str(c.hour)[-2:], c.source) for c in result.copied] == [
        ("13", "s3://old"),
        ("14", "s3://old"),
        ("15", "s3://second"),
        ("16", "s3://second"),
        ("17", "s3://old"),
    ]
    assert mine.objects[MINE.file(H13.shift(2), "Voyage_20220510-15_0.json.gz")].endswith(b"second")


async def test_the_hours_after_the_last_one_wanted_are_not_copied() -> None:
    source, mine = store(), store()
    for number in range(3):
        await put_hour(source, OLD, H13.shift(number))
    result = await consolidate([old(source)], Lake(mine, MINE), environment="Prod", last=H13.shift(1))
    assert len(result.copied) == 2


async def test_hours_that_the_source_lacks_are_reported() -> None:
    source, mine = store(), store()
    await put_hour(source, OLD, H13, lose=2)
    await put_hour(source, OLD, H13.shift(1), promise=False)
    await source.put(OLD.promise(H13.shift(1)), b'[{"key": 1, "presignedDownloadURL": "' + SIGNATURE.encode())
    result = await copy(old(source), into=mine)
    assert [(r.kind, r.detail) for r in result.remarks] == [
        ("incomplete_source", "promised, but not there: Voyage_20220510-13_0.json.gz and 1 more"),
        ("unreadable_promise", "it is not copied, because it may hold signatures"),
    ]
    assert MINE.promise(H13.shift(1)) not in mine.objects
    assert (await copy(old(source), into=mine)).copied == ()


# -- environments ---------------------------------------------------------------------------------------------


def receipt(environment: str, data: dict[str, bytes], hour: Hour = H13) -> bytes:
    files = tuple(
        ProvenFile(name, f"out/{name}", len(content), hashlib.md5(content).hexdigest(), "etag")
        for name, content in data.items()
    )
    when = datetime(2022, 5, 10, 13, 30, tzinfo=UTC)
    return records.receipt_bytes(Receipt(environment, "ACME", hour, "guid", files, when))


async def test_without_evidence_of_the_environment_it_stops_and_names_the_option() -> None:
    source, mine = store(), store()
    await put_hour(source, OLD, H13)
    with pytest.raises(SettingsError, match="nothing shows whether s3://old with the prefix IMOS/Hourly/") as caught:
        await copy(old(source, environment=None), into=mine)
    assert "--source-environment Prod" in caught.value.hint
    assert mine.objects == {}


@pytest.mark.parametrize("where", ["stated", "lake.json", "prefix", "url", "receipt", "promise"])
async def test_K7_environments_are_never_mixed_for_any_evidence(where: str) -> None:
    source, mine = store(), store()
    layout, url, stated = OLD, "s3://old", None
    if where == "stated":
        stated = "Test"
    elif where == "prefix":
        layout = Layout(TEST.prefix)
    elif where == "url":
        layout, url = Layout(PROD.prefix), "s3://old/DEV"
    data = await put_hour(source, layout, H13)
    if where == "lake.json":
        await source.put(layout.identity_key, records.identity_bytes("Test", "ACME"))
    elif where == "receipt":
        await source.put(layout.receipt(H13), receipt("Test", data))
    elif where == "promise":
        entries = [{"key": f"{TEST.config_name}/x.gz", "presignedDownloadURL": "https://h/x", "size": 1}]
        await source.put(layout.promise(H13), json.dumps(entries).encode())
    with pytest.raises(SettingsError) as caught:
        await copy(Source(Lake(source, layout, url), stated), into=mine, environment="Prod")
    assert (caught.value.cause.word, caught.value.exit_code) == ("lake_mismatch", 2)
    assert mine.objects == {}
    agreed = await copy(Source(Lake(source, layout, url), stated), into=mine, environment="Test")
    assert len(agreed.copied) == 1


async def test_K7_an_option_does_not_overrule_the_record_of_the_source() -> None:
    source, mine = store(), store()
    await put_hour(source, Layout(TEST.prefix), H13)
    with pytest.raises(SettingsError, match="its prefix says Test"):
        await copy(Source(Lake(source, Layout(TEST.prefix), "s3://old"), "Prod"), into=mine)


async def test_K7_a_single_hour_of_another_environment_stops_it() -> None:
    source, mine = store(), store()
    data = await put_hour(source, OLD, H13)
    await source.put(OLD.receipt(H13), receipt("Test", data))
    for number in range(24, 24 * 4, 24):
        await put_hour(source, OLD, H13.shift(number))
    with pytest.raises(SettingsError, match="2022-05-10T13 of s3://old: the Receipt of 2022-05-10T13 says Test"):
        await copy(old(source), into=mine)
    assert mine.objects == {}


async def test_another_company_is_refused() -> None:
    source, mine = store(), store()
    await put_hour(source, OLD, H13)
    await source.put(OLD.identity_key, records.identity_bytes("Prod", "ACME"))
    await mine.put(MINE.identity_key, records.identity_bytes("Prod", "OTHER"))
    with pytest.raises(SettingsError, match="company ACME"):
        await copy(old(source), into=mine)


async def test_the_lake_itself_is_no_source() -> None:
    mine = store()
    with pytest.raises(SettingsError, match="the lake itself"):
        await copy(Source(Lake(mine, MINE, "s3://mine/"), "Prod"), into=mine)


async def test_a_source_without_the_prefix_is_reported_in_one_line() -> None:
    with pytest.raises(LakeError, match="no hourly folder below IMOS/Hourly/") as caught:
        await copy(old(store()), into=store())
    assert (caught.value.cause.word, caught.value.owner, caught.value.exit_code) == ("folder_missing", "us", 73)


# -- bytes ----------------------------------------------------------------------------------------------------


async def test_a_receipt_is_copied_if_the_bytes_match_it() -> None:
    source, mine = store(), store()
    data = await put_hour(source, OLD, H13)
    await source.put(OLD.receipt(H13), receipt("Prod", data))
    bad = await put_hour(source, OLD, H13.shift(1))
    await source.put(OLD.receipt(H13.shift(1)), receipt("Prod", bad, H13.shift(1)))
    await source.put(OLD.file(H13.shift(1), next(iter(bad))), b"2022-05-10T14X")
    counting = Counting(mine)
    result = await copy(old(source), into=counting)
    assert [call for call in counting.calls if "/13/" in call][-1].endswith("_Receipt.json")
    assert MINE.receipt(H13) in mine.objects
    assert MINE.receipt(H13.shift(1)) not in mine.objects
    assert [r.kind for r in result.remarks] == ["wrong_checksum"]
    again = await copy(old(source), into=mine)
    assert [r.kind for r in again.remarks] == ["wrong_checksum"]
    assert MINE.receipt(H13.shift(1)) not in mine.objects, "nor the second time"


async def test_a_receipt_does_not_come_along_without_a_file_that_it_proves() -> None:
    source, mine = store(), store()
    data = await put_hour(source, OLD, H13, lose=1)
    await source.put(OLD.receipt(H13), receipt("Prod", data))
    result = await copy(old(source), into=mine)
    assert [r.kind for r in result.remarks] == ["incomplete_source", "wrong_checksum"]
    assert MINE.receipt(H13) not in mine.objects


async def test_large_files_are_streamed_and_a_change_under_way_leaves_nothing(tmp_path: Path) -> None:
    source, mine = store(), open_store(StoreSettings(tmp_path.as_uri()))
    big = b"b" * (SMALL + 1)
    await source.put(OLD.file(H13, "Voyage_1.json.gz"), big)
    assert (await copy(old(source), into=mine)).size == len(big)
    got = (tmp_path / MINE.file(H13, "Voyage_1.json.gz")).read_bytes()
    assert got == big

    class Shrinking(DictStore):
        async def files(self, prefix: str) -> list[StoredFile]:
            return [dataclasses.replace(file, size=file.size + 1) for file in await super().files(prefix)]

    changing = Shrinking(FakeClock())
    await changing.put(OLD.file(H13.shift(1), "Voyage_1.json.gz"), big)
    with pytest.raises(LakeError, match="changed while it was copied"):
        await copy(old(changing), into=mine)
    assert not (tmp_path / MINE.file(H13.shift(1), "Voyage_1.json.gz")).exists()


@pytest.mark.system
@pytest.mark.parametrize("other", [False, True], ids=["one bucket", "two buckets"])
async def test_s3_copies_server_side_within_a_bucket_and_between_buckets(seaweed: Seaweed, *, other: bool) -> None:
    bucket = seaweed.bucket()
    ends = (
        s3_settings(seaweed, bucket, "/archive"),
        s3_settings(seaweed, seaweed.bucket() if other else bucket, "/lake"),
    )
    there, here = map(open_store, ends)
    data = await put_hour(there, OLD, H13)
    server = server_copy(*ends)
    assert not isinstance(server, str)
    counting = Counting(there)
    source = Source(Lake(counting, OLD, ends[0].url), "Prod", server_copy=server)
    result = await consolidate([source], Lake(here, MINE, ends[1].url), environment="Prod")
    assert (result.files, result.streamed, result.streaming) == (3, 0, {})
    for name, content in data.items():
        assert await here.get(MINE.file(H13, name)) == content
    assert not [call for call in counting.calls if ".json.gz" in call], "no byte of a file passes here"


@pytest.mark.system
async def test_a_source_that_refuses_the_copy_is_streamed_and_the_reason_is_given(seaweed: Seaweed) -> None:
    bucket = seaweed.bucket()
    ends = s3_settings(seaweed, bucket, "/archive"), s3_settings(seaweed, bucket, "/lake")
    there, here = map(open_store, ends)
    data = await put_hour(there, OLD, H13)
    server = server_copy(ends[0], s3_settings(seaweed, bucket, "/lake", secret="canary-wrong-secret"))
    assert not isinstance(server, str)
    source = Source(Lake(there, OLD, ends[0].url), "Prod", server_copy=server)
    result = await consolidate([source], Lake(here, MINE, ends[1].url), environment="Prod")
    assert result.streamed == result.size > 0
    assert list(result.streaming) == [ends[0].url]
    assert "403" in result.streaming[ends[0].url]
    for name, content in data.items():
        assert await here.get(MINE.file(H13, name)) == content


def test_the_reason_for_a_copy_through_this_machine_is_printed(tmp_path: Path) -> None:
    s3 = StoreSettings("s3://one", access_key_id="a", secret_access_key=Secret("b"), region="us-east-1")
    assert server_copy(s3, StoreSettings(f"file://{tmp_path}")) == "one of the two lakes is not on S3"
    assert "endpoints" in str(server_copy(s3, StoreSettings("s3://two", endpoint="https://minio.example")))


async def test_E15_archived_hour_is_named_and_the_others_are_copied() -> None:
    source, mine = store(), store()
    for number in range(8):
        await put_hour(source, OLD, H13.shift(number))

    async def archived(key: str, _to: str, size: int) -> str | None:
        if f"/{H13.shift(3).folder}/" in key:
            raise LakeError(f"cannot copy {key}: 403 InvalidObjectState", cause="dest_archived")
        await mine.put(MINE.prefix + key.removeprefix(OLD.prefix), bytes(size))
        return None

    given = Source(Lake(source, OLD, "s3://old"), "Prod", server_copy=archived)
    result = await consolidate([given], Lake(mine, MINE, "s3://mine"), environment="Prod")
    assert len(result.copied) == 7
    assert [(remark.hour, remark.kind) for remark in result.remarks] == [(H13.shift(3), "archived")]
    assert await mine.get(MINE.promise(H13.shift(3))) is None


@pytest.mark.parametrize("size", [3, SMALL + 1], ids=["small", "large"])
@pytest.mark.parametrize("fault", WITHHOLDING)
async def test_E15_hour_with_a_file_that_the_source_withholds_is_named_and_the_others_are_copied(
    fault: Fault, size: int
) -> None:
    kind = "archived" if fault is archived else "unreadable_source"
    source, mine = store(), store()
    for number in range(3):
        await put_hour(source, OLD, H13.shift(number))
    await source.put(OLD.file(H13.shift(1), "Odd_1.json"), bytes(size))
    broken = Flaky(source, Tripwire(1, error=fault, verbs={"get", "read"}, about="Odd_1", times=None))
    result = await consolidate([Source(Lake(broken, OLD, "s3://old"), "Prod")], Lake(mine, MINE, "s3://mine"),
                               environment="Prod")  # fmt: skip
    assert [one.hour for one in result.copied] == [H13, H13.shift(2)]
    assert [(remark.hour, remark.kind) for remark in result.remarks] == [(H13.shift(1), kind)]
    assert fault().message in result.remarks[0].detail


async def test_E15_target_that_may_not_be_written_ends_all() -> None:
    source, mine = store(), store()
    await put_hour(source, OLD, H13)
    broken = Flaky(mine, Tripwire(1, error=denied, verbs={"put", "put_stream"}, times=None))
    with pytest.raises(LakeError) as caught:
        await consolidate([Source(Lake(source, OLD, "s3://old"), "Prod")], Lake(broken, MINE, "s3://mine"),
                          environment="Prod")  # fmt: skip
    assert caught.value.cause.word == "dest_denied"


async def test_a_dry_run_reports_the_bytes_through_this_machine() -> None:
    source, mine = store(), store()
    await put_hour(source, OLD, H13)

    async def never(_key: str, _to: str, _size: int) -> str | None:
        raise AssertionError

    reason = "the two lakes have different S3 endpoints"
    inside = await copy(Source(Lake(source, OLD, "s3://old"), "Prod", server_copy=never), into=mine, dry_run=True)
    assert (inside.size > 0, inside.streamed, inside.streaming) == (True, 0, {})
    through = await copy(Source(Lake(source, OLD, "s3://old"), "Prod", server_copy=reason), into=mine, dry_run=True)
    assert through.to_json()["streamed_bytes"] == through.size
    assert through.to_json()["streaming"] == [{"source": "s3://old", "reason": reason}]


async def test_progress_counts_down_to_nothing_left() -> None:
    source, mine = store(), store()
    for number in range(4):
        await put_hour(source, OLD, H13.shift(number))
    left: list[tuple[int, int]] = []
    await consolidate(
        [old(source)],
        Lake(mine, MINE, "s3://mine"),
        environment="Prod",
        progress=lambda _done, remaining: left.append((remaining.hours, remaining.size)),
    )
    assert [hours for hours, _ in left] == [3, 2, 1, 0]
    assert left[-1] == (0, 0)


class Shelf:
    """A store of very many objects without their bytes; it counts requests. Its days are indexed."""

    def __init__(self) -> None:
        self.by_day: dict[str, dict[str, int]] = {}
        self.requests = dict.fromkeys(("list", "get", "put", "copy"), 0)
        self.copied = 0

    @staticmethod
    def day(key: str) -> str:
        return key.rpartition("/")[0].rpartition("/")[0] + "/"

    def add(self, key: str, size: int) -> None:
        self.by_day.setdefault(self.day(key), {})[key] = size

    async def files(self, prefix: str) -> list[StoredFile]:
        self.requests["list"] += 1
        return [StoredFile(key, size) for key, size in sorted(self.by_day.get(prefix, {}).items())]

    async def folders(self, prefix: str) -> list[str]:
        self.requests["list"] += 1
        if prefix in self.by_day:
            return sorted({key.removeprefix(prefix).partition("/")[0] for key in self.by_day[prefix]})
        return sorted(day.removeprefix(prefix)[:-1] for day in self.by_day if day.startswith(prefix))

    async def get(self, key: str, **_: int) -> bytes | None:
        self.requests["get"] += 1
        if not key.endswith(PROMISE_NAME) or key not in self.by_day.get(self.day(key), {}):
            return None
        return b'[{"key": "onDemandExtract1DayProd/T_000.json.gz", "size": 6400000}]'

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        self.requests["put"] += 1
        self.add(key, len(data))
        return True


@pytest.mark.long
async def test_553_000_objects_in_one_go_are_copied_by_s3_and_no_byte_passes_here() -> None:
    """The user's archive: 1,975 Hours of 280 files. Listings are by day, records by Hour, and a copy an object."""
    there, here = Shelf(), Shelf()
    hours = list(H13.to(H13.shift(1974)))
    for hour in hours:
        for number in range(280):
            there.add(OLD.file(hour, f"T_{number:03d}.json.gz"), 6_400_000)
        there.add(OLD.promise(hour), 70)

    async def server(_key: str, to: str, size: int) -> str | None:
        here.requests["copy"] += 1
        here.copied += size
        here.add(to, size)
        return None

    lakes = cast("Any", Lake(cast("Any", there), OLD, "s3://old")), Lake(cast("Any", here), MINE, "s3://mine")
    left: list[int] = []
    done = await consolidate(
        [Source(lakes[0], "Prod", server_copy=server)],
        lakes[1],
        environment="Prod",
        progress=lambda _done, remaining: left.append(remaining.size),
    )
    assert (len(done.copied), done.files, done.streamed, done.holes) == (1975, 553_000, 0, ())
    assert (here.requests["copy"], here.copied) == (553_000, 553_000 * 6_400_000)
    days = len({hour.day for hour in hours})
    assert there.requests["list"] <= 2 * (days + 1) + 4, "once to plan, once to copy"
    assert there.requests["get"] <= 2 * 1975 + 4 * 48, "a Receipt and a manifest an Hour"
    assert here.requests["put"] == 1975
    assert left[-1] == 0
    again = await consolidate([Source(lakes[0], "Prod", server_copy=server)], lakes[1], environment="Prod")
    assert (len(again.copied), again.present, here.requests["copy"]) == (0, 1975, 553_000)
