"""Receipts for Hours that another program landed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from fakes import DictStore, FakeClock
from faults import Crash, Flaky, Tripwire
from viplake.errors import LakeError, SettingsError
from viplake.lake import Lake
from viplake.lake.adopt import adopt
from viplake.lake.consolidate import Source, consolidate
from viplake.lake.layout import Layout
from viplake.lake.proof import own_lake, read_receipt, verify
from viplake.lake.records import parse_receipt, receipt_bytes
from viplake.model import Hour, ProvenFile, Receipt

if TYPE_CHECKING:
    from viplake.lake.adopt import Adoption

LAYOUT = Layout.below("IMOSDL/Hourly/")
HOUR = Hour.parse("2022-05-10T13")
FILES = {"Voyage_1.json.gz": b"one", "Port_1.json.gz": b"fifteen", "_MasterTableSchema.json": b"[]"}


@pytest.fixture
def lake() -> Lake:
    return Lake(DictStore(FakeClock()), LAYOUT, "s3://lake")


async def landed(lake: Lake, hour: Hour, **sizes: int) -> None:
    """An Hour as the old script left it; `sizes` are other ones in its manifest, by table."""
    for name, data in FILES.items():
        await lake.store.put(LAYOUT.file(hour, name), data)
    entries = [
        {
            "key": f"onDemandExtract1DayProd/{name}",
            "presignedDownloadURL": f"https://s3.example/{name}?X-Amz-Signature=secret",
            "size": sizes.get(name.partition("_")[0], len(data)),
        }
        for name, data in FILES.items()
    ]
    await lake.store.put(LAYOUT.promise(hour), json.dumps(entries).encode())


async def adopted(lake: Lake, **given: object) -> Adoption:
    wanted: dict[str, object] = {
        "environment": "Prod",
        "company": "ACME",
        "first": None,
        "last": HOUR.shift(5),
        "now": HOUR.shift(30).start,
    }
    return await adopt(lake, **wanted | given)  # type: ignore[arg-type]


def kinds(done: Adoption) -> dict[str, list[str]]:
    return {str(hour): [one.kind for one in findings] for hour, findings in done.differences.items()}


async def test_an_hour_with_equal_manifest_and_listing_gets_a_receipt_for_sizes(lake: Lake) -> None:
    await landed(lake, HOUR)
    done = await adopted(lake)
    assert [(one.hour, one.files, one.size) for one in done.adopted] == [(HOUR, 3, 12)]
    receipt = await read_receipt(lake, HOUR)
    assert receipt is not None
    assert (receipt.proof, receipt.job_guid, receipt.company, receipt.environment) == ("size", "", "ACME", "Prod")
    assert {(file.name, file.size, file.md5) for file in receipt.files} == {(n, len(d), None) for n, d in FILES.items()}
    data = await lake.store.get(LAYOUT.receipt(HOUR))
    assert data is not None
    assert json.loads(data)["proof"] == "size"
    found = (await verify(lake, HOUR)).to_json()
    assert (found["complete"], found["valid"], found["proof"], found["findings"]) == (True, True, "size", [])


async def test_verify_of_a_size_receipt_reads_no_file_and_still_finds_another_size(lake: Lake) -> None:
    await landed(lake, HOUR)
    await adopted(lake)
    wire = Tripwire(verbs=["read"])
    seen = Lake(Flaky(lake.store, wire), LAYOUT)
    assert (await verify(seen, HOUR)).verdict.proven
    assert wire.calls == []
    await lake.store.put(LAYOUT.file(HOUR, "Port_1.json.gz"), b"another size")
    assert not (await verify(seen, HOUR)).verdict.proven


async def test_a_second_adoption_writes_nothing_and_a_receipt_never_changes(lake: Lake) -> None:
    await landed(lake, HOUR)
    await adopted(lake)
    before = await lake.store.get(LAYOUT.receipt(HOUR))
    again = await adopted(lake, company="OTHER", now=HOUR.shift(99).start)
    assert (again.adopted, again.present, again.differences) == ([], 1, {})
    assert await lake.store.get(LAYOUT.receipt(HOUR)) == before


async def test_an_adoption_that_died_goes_on(lake: Lake) -> None:
    for number in range(3):
        await landed(lake, HOUR.shift(number))
    dying = Lake(Flaky(lake.store, Tripwire(at=2, verbs=["put_if_absent"])), LAYOUT)
    with pytest.raises(Crash):
        await adopted(dying)
    again = await adopted(lake)
    assert (len(again.adopted), again.present) == (2, 1)


async def test_differences_are_listed_and_nothing_is_written_for_their_hours(lake: Lake) -> None:
    await landed(lake, HOUR, Port=99)
    await landed(lake, HOUR.shift(1))
    await lake.store.delete(LAYOUT.file(HOUR.shift(1), "Voyage_1.json.gz"))
    await landed(lake, HOUR.shift(2))
    await lake.store.put(LAYOUT.promise(HOUR.shift(2)), b'[{"key": "Voyage_1.json.gz"}]')  # without a size
    await lake.store.put(LAYOUT.file(HOUR.shift(3), "Voyage_1.json.gz"), b"one")
    await landed(lake, HOUR.shift(4))
    await lake.store.put(LAYOUT.file(HOUR.shift(4), "not-in-the-manifest.txt"), b"x")
    done = await adopted(lake)
    assert kinds(done) == {
        "2022-05-10T13": ["wrong_size"],
        "2022-05-10T14": ["missing_file"],
        "2022-05-10T15": ["unreadable_record"],
        "2022-05-10T16": ["no_promise"],
    }
    assert [one.hour for one in done.adopted] == [HOUR.shift(4)]
    for number in range(4):
        assert await lake.store.get(LAYOUT.receipt(HOUR.shift(number))) is None


async def test_a_half_written_receipt_is_a_difference_and_is_not_written_over(lake: Lake) -> None:
    await landed(lake, HOUR)
    await adopted(lake)
    whole = await lake.store.get(LAYOUT.receipt(HOUR))
    assert whole is not None
    await lake.store.put(LAYOUT.receipt(HOUR), whole[:100])
    done = await adopted(lake)
    assert kinds(done) == {"2022-05-10T13": ["unreadable_record"]}
    assert await lake.store.get(LAYOUT.receipt(HOUR)) == whole[:100]


async def test_hours_that_viplake_ran_and_those_of_the_other_environment_are_left_alone(lake: Lake) -> None:
    await landed(lake, HOUR)
    await lake.store.put(LAYOUT.event(HOUR, 1), b"{}")
    await landed(lake, HOUR.shift(1))
    promise = await lake.store.get(LAYOUT.promise(HOUR.shift(1)))
    assert promise is not None
    await lake.store.put(LAYOUT.promise(HOUR.shift(1)), promise.replace(b"1DayProd", b"1DayTest"))
    assert kinds(await adopted(lake)) == {"2022-05-10T13": ["own_run"], "2022-05-10T14": ["other_environment"]}


async def test_the_current_hour_is_refused_and_the_range_is_kept(lake: Lake) -> None:
    for number in range(4):
        await landed(lake, HOUR.shift(number))
    with pytest.raises(SettingsError, match="is not over"):
        await adopted(lake, now=HOUR.shift(5).start)
    done = await adopted(lake, first=HOUR.shift(1), last=HOUR.shift(2))
    assert [one.hour for one in done.adopted] == [HOUR.shift(1), HOUR.shift(2)]


async def test_a_dry_run_compares_and_writes_nothing(lake: Lake) -> None:
    await landed(lake, HOUR)
    done = await adopted(lake, dry_run=True)
    assert len(done.adopted) == 1
    assert await lake.store.get(LAYOUT.receipt(HOUR)) is None


async def test_the_receipt_has_the_company_of_the_lake(lake: Lake) -> None:
    await own_lake(lake, environment="Prod", company="OWNER")
    await landed(lake, HOUR)
    await adopted(lake, company="")
    receipt = await read_receipt(lake, HOUR)
    assert receipt is not None
    assert receipt.company == "OWNER"


async def test_an_adopted_hour_is_consolidated_with_its_receipt(lake: Lake) -> None:
    await landed(lake, HOUR)
    await adopted(lake)
    target = Lake(DictStore(FakeClock()), LAYOUT, "s3://mine")
    done = await consolidate([Source(lake)], target, environment="Prod")
    assert (len(done.copied), done.remarks) == (1, ())
    assert await target.store.get(LAYOUT.receipt(HOUR)) == await lake.store.get(LAYOUT.receipt(HOUR))


def test_a_receipt_with_files_that_contradict_its_proof_is_damaged() -> None:
    receipt = Receipt("Prod", "ACME", HOUR, "", (ProvenFile("a", "a", 1, None, None),), HOUR.start)
    data = receipt_bytes(receipt)
    assert parse_receipt(data) == receipt
    with_checksum = data.replace(b'"md5": null', b'"md5": "d41d8cd98f00b204e9800998ecf8427e"')
    for other in (data.replace(b'"size",', b'"checksum",'), data.replace(b'"size",', b'"luck",'), with_checksum):
        with pytest.raises(LakeError):
            parse_receipt(other)
