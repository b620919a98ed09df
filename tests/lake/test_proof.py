"""The owner of a lake, and the findings of `verify` for an Hour that was tampered with."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from fakes import DictStore, FakeClock
from faults import WITHHOLDING, Fault, Flaky, Tripwire, archived, lake_down
from viplake.errors import LakeError, SettingsError
from viplake.lake import Lake, records
from viplake.lake.hours import hour_folder
from viplake.lake.layout import PROMISE_NAME, RECEIPT_NAME, Layout
from viplake.lake.proof import (
    LakeOwner,
    check_lake,
    check_owner,
    md5_of,
    own_lake,
    owner_of,
    read_receipt,
    verify,
    write_receipt,
)
from viplake.lake.records import EventKind, Worker, event_bytes, identity_bytes
from viplake.lake.store import LARGEST_RECORD, StoreSettings, open_store
from viplake.model import Hour, Promise, PromisedFile, ProvenFile, Receipt, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from viplake.lake.store import Store
    from viplake.model import StoredFile

HOUR = Hour.parse("2022-05-10T13")
LAYOUT = Layout.below("IMOSDL/Hourly/")
WORKER = Worker("host", 1)
JOBS = f"{LAYOUT.observability}historical_job_metrics.csv"
FILES = {"Voyage_1.json.gz": b"voyages", "Vessel_1.json.gz": b"vessels!", "_MasterTableSchema.json": b"[]"}


@pytest.fixture(params=["etags", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store whose ETags prove content, and a real folder, whose do not."""
    if request.param == "folder":
        return open_store(StoreSettings(f"file://{tmp_path}"))
    return DictStore(FakeClock())


async def promised(store: Store) -> Promise:
    promise = Promise(tuple(PromisedFile(f"export/{name}", len(data)) for name, data in FILES.items()))
    await store.put(LAYOUT.promise(HOUR), records.promise_bytes(promise))
    for name, data in FILES.items():
        await store.put(LAYOUT.file(HOUR, name), data)
    return promise


async def delivered(store: Store) -> Receipt:
    promise = await promised(store)
    stored = (await hour_folder(Lake(store, LAYOUT), HOUR)).files
    proven = []
    for file in promise.files:
        md5 = await md5_of(store, LAYOUT.file(HOUR, file.name))
        assert md5 is not None
        proven.append(ProvenFile(file.name, file.key, file.size, md5[0], stored[file.name].etag))
    receipt = Receipt("Prod", "ACME", HOUR, "guid", tuple(proven), datetime(2022, 5, 10, 13, 30, tzinfo=UTC))
    return await write_receipt(Lake(store, LAYOUT), receipt)


async def verdict(store: Store) -> Verdict:
    return (await verify(Lake(store, LAYOUT, "s3://lake" if isinstance(store, DictStore) else ""), HOUR)).verdict


def found(result: Verdict) -> list[tuple[str, str | None]]:
    return [(finding.kind, finding.file) for finding in result.findings]


# -- verify -------------------------------------------------------------------------------------------------


async def test_a_whole_delivery_is_complete_and_valid(store: Store) -> None:
    await delivered(store)
    result = await verdict(store)
    assert (result.complete, result.valid, result.findings, result.proven) == (True, True, (), True)


async def test_without_a_manifest_completeness_is_unknown(store: Store) -> None:
    result = await verdict(store)
    assert (result.complete, result.valid, found(result)) == (None, None, [("no_promise", None)])


async def test_without_a_receipt_it_may_be_complete_but_not_valid(store: Store) -> None:
    await promised(store)
    result = await verdict(store)
    assert (result.complete, result.valid, found(result)) == (True, None, [("no_receipt", None)])
    await store.delete(LAYOUT.file(HOUR, "Voyage_1.json.gz"))
    result = await verdict(store)
    assert (result.complete, result.valid) == (False, None)
    assert ("missing_file", "Voyage_1.json.gz") in found(result)


async def test_R8_a_missing_file(store: Store) -> None:
    await delivered(store)
    await store.delete(LAYOUT.file(HOUR, "Voyage_1.json.gz"))
    result = await verdict(store)
    assert (result.complete, result.valid) == (False, False)
    assert found(result) == [("missing_file", "Voyage_1.json.gz")]


async def test_a_file_of_another_size(store: Store) -> None:
    await delivered(store)
    await store.put(LAYOUT.file(HOUR, "Voyage_1.json.gz"), b"voyag")
    result = await verdict(store)
    assert (result.complete, result.valid) == (True, False)
    assert found(result) == [("wrong_size", "Voyage_1.json.gz")]
    assert "promised 7 bytes, stored 5" in result.findings[0].detail


async def test_a_flipped_bit(store: Store) -> None:
    await delivered(store)
    await store.put(LAYOUT.file(HOUR, "Voyage_1.json.gz"), b"voyagez")
    result = await verdict(store)
    assert (result.complete, result.valid) == (True, False)
    assert found(result) == [("wrong_checksum", "Voyage_1.json.gz")]


async def test_the_same_bytes_stored_again_are_right(store: Store) -> None:
    await delivered(store)
    await store.put(LAYOUT.file(HOUR, "Voyage_1.json.gz"), b"voyages")
    assert (await verdict(store)).proven


async def test_an_unlisted_file_is_reported_and_harmless(store: Store) -> None:
    await delivered(store)
    await store.put(LAYOUT.file(HOUR, "stray.txt"), b"x")
    result = await verdict(store)
    assert (result.complete, result.valid) == (True, True)
    assert found(result) == [("unexpected_file", "stray.txt")]


class Beside(DictStore):
    """Another process acts before the n-th reading request."""

    def __init__(self, at: int, act: Callable[[DictStore], None]) -> None:
        super().__init__(FakeClock())
        self.at, self.act = at, act

    def _count(self) -> None:
        self.at -= 1
        if self.at == -1:
            self.act(self)

    async def get(self, key: str, *, limit: int = LARGEST_RECORD) -> bytes | None:
        self._count()
        return await super().get(key, limit=limit)

    async def read(self, key: str) -> AsyncIterator[bytes]:
        self._count()
        async for chunk in super().read(key):
            yield chunk

    async def files(self, prefix: str) -> list[StoredFile]:
        self._count()
        return await super().files(prefix)


def _remove_file(store: DictStore) -> None:
    del store.objects[LAYOUT.file(HOUR, "Voyage_1.json.gz")]


def _remove_hour(store: DictStore) -> None:
    for key in [key for key in store.objects if key.startswith(LAYOUT.folder(HOUR))]:
        del store.objects[key]


@pytest.mark.parametrize("act", [_remove_file, _remove_hour])
async def test_what_is_removed_meanwhile_is_missing_and_never_wrong(act: Callable[[DictStore], None]) -> None:
    whole = DictStore(FakeClock())
    await delivered(whole)
    begun, removed = dict(whole.objects), DictStore(FakeClock())
    removed.objects, removed.stamps = dict(begun), dict(whole.stamps)
    act(removed)
    ends = [(await verify(Lake(store, LAYOUT), HOUR)).verdict for store in (whole, removed)]
    for at in range(100):
        store = Beside(at, act)
        store.objects, store.stamps = dict(begun), dict(whole.stamps)
        assert (await verify(Lake(store, LAYOUT), HOUR)).verdict in ends, at
        if store.at >= 0:
            break  # it ended before the n-th request
    assert 5 < at < 100


async def test_a_delivery_that_ends_meanwhile_is_whole_or_not_yet_there() -> None:
    whole = DictStore(FakeClock())
    await delivered(whole)

    def deliver(store: DictStore) -> None:
        store.objects, store.stamps = dict(whole.objects), dict(whole.stamps)

    ends = [(await verify(Lake(store, LAYOUT), HOUR)).verdict for store in (whole, DictStore(FakeClock()))]
    for at in range(100):
        store = Beside(at, deliver)
        assert (await verify(Lake(store, LAYOUT), HOUR)).verdict in ends, at
        if store.at >= 0:
            break
    assert 3 < at < 100


async def test_a_promised_file_that_the_receipt_lacks_is_not_proven(store: Store) -> None:
    receipt = await delivered(store)
    short = replace(receipt, files=receipt.files[1:])
    await store.put(LAYOUT.receipt(HOUR), records.receipt_bytes(short))
    result = await verdict(store)
    assert (result.complete, result.valid) == (True, False)
    assert found(result) == [("wrong_checksum", "Voyage_1.json.gz")]


async def test_E2_key_that_no_file_can_have_is_named_and_harms_nothing() -> None:
    store = DictStore(FakeClock())
    await delivered(store)
    folder = LAYOUT.folder(HOUR)
    store.odd = [f"{folder}/stray.json", f"{folder}bad\udcff.json", f"{LAYOUT.folder(HOUR.shift(1))}/other.json"]
    result = await verdict(store)
    assert (result.complete, result.valid) == (True, True)
    assert found(result) == [("odd_key", "/stray.json"), ("odd_key", "bad\\udcff.json")]


@pytest.mark.parametrize("fault", WITHHOLDING)
@pytest.mark.parametrize(("other", "valid"), [(b"vessels!", None), (b"vessels?", False)], ids=["right", "wrong"])
async def test_E15_file_that_the_store_withholds_is_a_finding_and_the_others_are_read(
    other: bytes, valid: bool | None, fault: Fault
) -> None:
    store = DictStore(FakeClock())
    receipt = await delivered(store)
    await store.put(LAYOUT.file(HOUR, "Vessel_1.json.gz"), other)
    unlike = replace(receipt, files=tuple(replace(file, etag="copied-in-parts-2") for file in receipt.files))
    await store.put(LAYOUT.receipt(HOUR), records.receipt_bytes(unlike))
    broken = Flaky(store, Tripwire(1, error=fault, verbs={"read"}, about="Voyage", times=None))
    result = (await verify(Lake(broken, LAYOUT, "s3://lake"), HOUR)).verdict
    assert (result.complete, result.valid) == (True, valid)
    wrong = [] if valid is None else [("wrong_checksum", "Vessel_1.json.gz")]
    assert found(result) == [*wrong, ("unreadable_file", "Voyage_1.json.gz")]
    assert fault().message in result.findings[-1].detail


@pytest.mark.parametrize("name", [PROMISE_NAME, RECEIPT_NAME])
async def test_E15_archived_record_is_a_finding(name: str) -> None:
    store = DictStore(FakeClock())
    await delivered(store)
    broken = Flaky(store, Tripwire(1, error=archived, verbs={"get"}, about=name, times=None))
    assert found(await verdict(broken)) == [("unreadable_record", name)]


@pytest.mark.parametrize("name", [PROMISE_NAME, RECEIPT_NAME])
@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[{", b'{"a": 1}', b"null", b"[1]"], ids=repr)
async def test_R5_a_record_that_cannot_be_read_is_a_finding(store: Store, name: str, data: bytes) -> None:
    await delivered(store)
    await store.put(LAYOUT.file(HOUR, name), data)
    result = await verdict(store)
    assert (result.complete, result.valid) == (None, None)
    assert found(result) == [("unreadable_record", name)]


async def test_R5_a_receipt_of_a_newer_viplake_is_refused(store: Store) -> None:
    receipt = await delivered(store)
    newer = records.receipt_bytes(receipt).replace(b'"format": 1', b'"format": 2')
    await store.put(LAYOUT.receipt(HOUR), newer)
    with pytest.raises(LakeError) as caught:
        await verdict(store)
    assert caught.value.cause.word == "lake_format"


async def test_equal_etags_spare_the_reading_and_folders_are_always_read() -> None:
    store, wire = DictStore(FakeClock()), Tripwire(verbs=["read"])
    await delivered(store)
    seen = Flaky(store, wire)
    assert (await verify(Lake(seen, LAYOUT, "s3://lake"), HOUR)).verdict.proven
    assert wire.calls == []
    assert (await verify(Lake(seen, LAYOUT), HOUR)).verdict.proven
    assert len(wire.calls) == len(FILES)


async def test_an_etag_of_another_form_is_no_proof_against_a_file() -> None:
    """A bucket copied to another place has other ETags: then the bytes decide."""
    store = DictStore(FakeClock())
    receipt = await delivered(store)
    other = replace(receipt, files=tuple(replace(file, etag="abc-2") for file in receipt.files))
    await store.put(LAYOUT.receipt(HOUR), records.receipt_bytes(other))
    assert (await verify(Lake(store, LAYOUT, "s3://lake"), HOUR)).verdict.proven


async def test_R1_the_receipt_of_another_that_proves_the_same_is_a_success(store: Store) -> None:
    receipt = await delivered(store)
    late = replace(receipt, late=True)
    assert await write_receipt(Lake(store, LAYOUT), late) == receipt
    assert await read_receipt(Lake(store, LAYOUT), HOUR) == receipt


async def test_R1_a_receipt_with_other_content_stays(store: Store) -> None:
    receipt = await delivered(store)
    other = replace(receipt, files=tuple(replace(file, md5="0" * 32) for file in receipt.files))
    with pytest.raises(LakeError) as caught:
        await write_receipt(Lake(store, LAYOUT), other)
    assert caught.value.cause.word == "receipt_conflict"
    assert await read_receipt(Lake(store, LAYOUT), HOUR) == receipt


@pytest.mark.parametrize("when", ["before", "after"])
async def test_R3_the_answer_to_the_receipt_is_lost(when: str) -> None:
    store = DictStore(FakeClock())
    receipt = await delivered(store)
    del store.objects[LAYOUT.receipt(HOUR)]
    wire = Tripwire(at=1, when=when, verbs=["put_if_absent"], error=lake_down)  # type: ignore[arg-type] # a When
    if when == "after":
        assert await write_receipt(Lake(Flaky(store, wire), LAYOUT), receipt) == receipt
    else:
        with pytest.raises(LakeError):
            await write_receipt(Lake(Flaky(store, wire), LAYOUT), receipt)
        assert await read_receipt(Lake(store, LAYOUT), HOUR) is None


# -- owner of the lake ---------------------------------------------------------------------------------------


async def test_K7_a_lake_belongs_to_one_environment_and_company(store: Store) -> None:
    await own_lake(Lake(store, LAYOUT), environment="Prod", company="ACME")
    await own_lake(Lake(store, LAYOUT), environment="Prod", company="ACME")
    await store.put(LAYOUT.receipt(HOUR), b"{}")
    for environment, company in (("Test", "ACME"), ("Prod", "OTHER")):
        with pytest.raises(SettingsError, match="belongs to Prod of company ACME") as caught:
            await own_lake(Lake(store, LAYOUT), environment=environment, company=company)
        assert caught.value.cause.word == "lake_mismatch"


async def test_K7_two_creators_at_once_leave_one_owner(store: Store) -> None:
    results = await asyncio.gather(
        *(own_lake(Lake(store, LAYOUT), environment=name, company="ACME") for name in ("Prod", "Test")),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, SettingsError)]
    assert len(refused) == 1
    assert results.count(None) == 1


async def test_a_wrong_company_is_corrected_while_nothing_was_delivered(store: Store) -> None:
    lake = Lake(store, LAYOUT)
    await own_lake(lake, environment="Prod", company="ACEM")
    await store.put(LAYOUT.event(HOUR, 1), event_bytes(EventKind.FAILED, HOUR.start, "n", WORKER, {}))
    await store.put(JOBS, b"date,jobDelivered,JobExpected\n20220510-13,0,1\n")
    await own_lake(lake, environment="Prod", company="ACME")
    await own_lake(lake, environment="Prod", company="ACME")
    assert await owner_of(lake) == LakeOwner("Prod", "ACME", 2)
    assert await store.get("IMOSDL/_viplake/lake.2.json") == identity_bytes("Prod", "ACME")
    assert await store.get("IMOSDL/_viplake/lake.json") == identity_bytes("Prod", "ACEM")
    with pytest.raises(SettingsError, match="belongs to Prod of company ACME"):
        await check_owner(lake, environment="Prod", company="ACEM")


@pytest.mark.parametrize("what", ["receipt", "event", "damaged event", "row"])
async def test_the_company_of_a_lake_with_a_delivery_is_not_corrected(store: Store, what: str) -> None:
    lake = Lake(store, LAYOUT)
    await own_lake(lake, environment="Prod", company="ACME")
    delivered = event_bytes(EventKind.DELIVERED, HOUR.start, "n", WORKER, {"files": 1, "bytes": 1})
    key, data = {
        "receipt": (LAYOUT.receipt(HOUR), b"{}"),
        "event": (LAYOUT.event(HOUR, 3), delivered),
        "damaged event": (LAYOUT.event(HOUR, 3), delivered[:30]),
        "row": (JOBS, b"date,jobDelivered,JobExpected\n20220510-13,1,1\n"),
    }[what]
    await store.put(key, data)
    with pytest.raises(SettingsError, match="belongs to Prod of company ACME, not to Prod of OTHER"):
        await own_lake(lake, environment="Prod", company="OTHER")
    assert await store.get("IMOSDL/_viplake/lake.2.json") is None


async def test_the_environment_of_a_lake_is_never_corrected(store: Store) -> None:
    await own_lake(Lake(store, LAYOUT), environment="Prod", company="ACME")
    with pytest.raises(SettingsError, match="belongs to Prod"):
        await own_lake(Lake(store, LAYOUT), environment="Test", company="ACME")


async def test_of_companies_that_correct_at_once_one_owns_the_lake(store: Store) -> None:
    lake = Lake(store, LAYOUT)
    await own_lake(lake, environment="Prod", company="TYPO")
    companies = [f"ACME{number}" for number in range(8)]
    results = await asyncio.gather(
        *(own_lake(lake, environment="Prod", company=company) for company in companies), return_exceptions=True
    )
    owner = await owner_of(lake)
    assert owner is not None
    assert owner.number == 2
    assert [company for company, result in zip(companies, results, strict=True) if result is None] == [owner.company]
    assert sum(isinstance(result, SettingsError) for result in results) == 7


async def test_a_delivery_during_the_correction_gives_the_lake_back() -> None:
    store = DictStore(FakeClock())
    await own_lake(Lake(store, LAYOUT), environment="Prod", company="ACME")

    class Delivering(DictStore):
        async def put_if_absent(self, key: str, data: bytes) -> bool:
            store._write(LAYOUT.receipt(HOUR), b"{}")
            return await store.put_if_absent(key, data)

    delivering = Delivering(FakeClock())
    delivering.objects, delivering.stamps = store.objects, store.stamps
    with pytest.raises(SettingsError, match="belongs to Prod of company ACME"):
        await own_lake(Lake(delivering, LAYOUT), environment="Prod", company="OTHER")
    assert await owner_of(Lake(store, LAYOUT)) == LakeOwner("Prod", "ACME", 3)


async def test_reading_commands_refuse_a_foreign_lake_and_claim_none(store: Store) -> None:
    await check_lake(Lake(store, LAYOUT), environment="Test")
    assert await store.files("") == []
    await own_lake(Lake(store, LAYOUT), environment="Prod", company="ACME")
    with pytest.raises(SettingsError):
        await check_lake(Lake(store, LAYOUT), environment="Test")


async def test_the_answer_to_the_creation_is_lost() -> None:
    store = DictStore(FakeClock())
    wire = Tripwire(at=1, when="after", verbs=["put_if_absent"], error=lake_down)
    await own_lake(Lake(Flaky(store, wire), LAYOUT), environment="Prod", company="ACME")
    broken = Tripwire(at=1, verbs=["put_if_absent"], error=lake_down)
    with pytest.raises(LakeError):
        await own_lake(Lake(Flaky(DictStore(FakeClock()), broken), LAYOUT), environment="Prod", company="ACME")


@pytest.mark.parametrize("data", [b"", b"{}", b'{"format": "x"}', b"[]"], ids=repr)
async def test_R5_a_damaged_owner_record_is_reported_and_not_replaced(store: Store, data: bytes) -> None:
    await store.put(LAYOUT.identity_key, data)
    with pytest.raises(LakeError) as caught:
        await own_lake(Lake(store, LAYOUT), environment="Prod", company="ACME")
    assert caught.value.cause.word == "ledger_damaged"
    assert await store.get(LAYOUT.identity_key) == data
