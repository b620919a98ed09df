"""The keys of everything, the allowed names, and that every record reads back unchanged."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from viplake.errors import LakeError, SettingsError, VendorError
from viplake.lake.layout import LONGEST_NAME, PROMISE_NAME, Layout, check_names, is_delivered_file, schema_tables
from viplake.lake.records import (
    identity_bytes,
    parse_identity,
    parse_promise,
    parse_receipt,
    parse_utc,
    promise_bytes,
    receipt_bytes,
    utc,
)
from viplake.lake.store import StoreSettings, longest_name, open_store, refuse_long_names
from viplake.lake.table_index import TableIndex
from viplake.model import PROD, TEST, Hour, Promise, PromisedFile, ProvenFile, Receipt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOUR = Hour.parse("2022-05-10T13")
LAYOUT = Layout.below(PROD.prefix)
hours = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2099, 1, 1)).map(  # noqa: DTZ001 - made UTC next
    lambda moment: Hour.of(moment.replace(tzinfo=UTC))
)


def test_the_layout_that_the_seed_s_script_left_behind() -> None:
    assert LAYOUT.folder(HOUR) == "IMOSDL/Hourly/20220510/13/"
    assert LAYOUT.promise(HOUR) == "IMOSDL/Hourly/20220510/13/_PresignedUrls.json"
    assert LAYOUT.event(HOUR, 7) == "IMOSDL/_viplake/ledger/20220510/13/0007.json"
    assert LAYOUT.identity_key == "IMOSDL/_viplake/lake.json"
    assert LAYOUT.observability == "IMOSDL/Observability/"
    assert Layout.below(TEST.prefix).identity_key == "DEV/IMOSDL/_viplake/lake.json"
    assert Layout.below("Hourly").identity_key == "_viplake/lake.json"


def test_K7_the_two_environments_share_nothing() -> None:
    prod, test = LAYOUT, Layout.below(TEST.prefix)
    assert not test.root.startswith(prod.root)
    assert not prod.root.startswith(test.root)


@pytest.mark.parametrize("prefix", ["", "/", "/a", "a//b", "../a", "a/../b", "a/./b", "a\\b", "a\nb"], ids=repr)
def test_F2_invalid_prefixes_are_refused(prefix: str) -> None:
    with pytest.raises(SettingsError):
        Layout.below(prefix)


@given(hours, st.integers(1, 12_345))
def test_keys_lead_back_to_their_hour(hour: Hour, number: int) -> None:
    assert LAYOUT.parse_event(LAYOUT.event(hour, number)) == (hour, number)
    assert LAYOUT.parse_file(LAYOUT.file(hour, "a b(é).json.gz")) == (hour, "a b(é).json.gz")


@pytest.mark.parametrize(
    "key",
    [
        "IMOSDL/Hourly/20220510/24/x",
        "IMOSDL/Hourly/20220231/01/x",
        "IMOSDL/Hourly/20220510/13/sub/x",
        "IMOSDL/Hourly/20220510/x",
        "IMOSDL/Hourly/readme.md",
        "20220510/13/x",
        "OTHER/Hourly/20220510/13/x",
    ],
)
def test_other_objects_belong_to_no_hour(key: str) -> None:
    assert LAYOUT.parse_file(key) is None


# -- names --------------------------------------------------------------------------------------------------


def refused(*keys: str) -> str | None:
    try:
        check_names(PromisedFile(key, 1) for key in keys)
    except VendorError as error:
        return error.cause.word
    return None


@pytest.mark.parametrize(
    "key",
    [
        "a/../b.json",
        "../b.json",
        "a/..",
        "..\\b.json",
        "a\\b.json",
        "a/%2e%2e/b.json",
        "%2E%2e%2Fb.json",
        "/etc/passwd",
        "C:/b.json",
        "a/b\x00.json",
        "a/b\n.json",
        "a/b\u2028.json",
        "a/\x9b.json",
        "x" * 1_025,
        "x" * 256,
        "é" * 128,
        "a/CON",
        "a/con.json",
        "a/lpt1.txt",
        "a/b.",
        "a/b ",
        "a/",
        "",
        "a/\ud800.json",
        "a/file#1",
    ],
    ids=lambda key: ascii(key)[:30],
)
def test_U9_names_that_cannot_be_stored_safely(key: str) -> None:
    assert refused(key) == "key_rejected"


@pytest.mark.parametrize("name", ["_Receipt.json", "_receipt.json", "_PRESIGNEDURLS.JSON", PROMISE_NAME])
def test_U10_names_of_our_own(name: str) -> None:
    assert refused(f"export/{name}") == "key_rejected"
    assert not is_delivered_file(name)


@pytest.mark.parametrize(
    "key",
    ["a/b (1).json.gz", "a/Fracht_é.json", "a/b+c=d@e.json", "a/100%.json", "a/_state.json", "a/.hidden", "a/#1x"],
)
def test_odd_names_do_not_cost_an_hour(key: str) -> None:
    assert refused(key) is None


def test_U8_two_keys_of_one_name_collide() -> None:
    assert refused("a/x.json", "b/x.json") == "name_collision"
    assert refused("a/x.json", "b/X.json") == "key_rejected"
    assert refused("a/x.json", "a/y.json") is None


# -- records ------------------------------------------------------------------------------------------------

files = st.lists(
    st.builds(PromisedFile, st.text(min_size=1), st.integers(0, 2**63 - 1), st.just("https://h.example/x")), max_size=5
)


@given(files)
def test_a_promise_reads_back_as_it_was(promised: list[PromisedFile]) -> None:
    promise = Promise(tuple(promised))
    try:
        data = promise_bytes(promise)
    except UnicodeEncodeError:
        return  # half a character: `check_names` has refused it before
    assert parse_promise(data) == Promise(tuple(file for file in promised if not file.is_marker))


def test_a_promise_of_the_seed_s_script_loses_its_signatures() -> None:
    old = [{"key": "a/x.json", "presignedDownloadURL": "https://h/x?X-Amz-Signature=c0ffee", "size": 3, "more": 1}]
    promise = parse_promise(json.dumps(old).encode())
    assert promise.files == (PromisedFile("a/x.json", 3, "https://h/x"),)
    assert b"Signature" not in promise_bytes(promise)


@given(
    hours,
    st.booleans(),
    st.lists(
        st.builds(
            ProvenFile,
            st.text("ab.", min_size=1),
            st.text("a/"),
            st.integers(0, 2**63 - 1),
            st.just("0" * 32),
            st.none(),
        )
    ),
)
def test_a_receipt_reads_back_as_it_was(hour: Hour, late: bool, proven: list[ProvenFile]) -> None:
    moment = hour.start + timedelta(minutes=20, milliseconds=5)
    receipt = Receipt("Prod", "ACME", hour, "guid", tuple(proven), moment, late)
    assert parse_receipt(receipt_bytes(receipt)) == receipt


def test_identities() -> None:
    assert parse_identity(identity_bytes("Prod", "ACME")) == ("Prod", "ACME")
    with pytest.raises(LakeError) as caught:
        parse_identity(b'{"format": 2, "environment": "Prod", "company": "ACME"}')
    assert caught.value.cause.word == "lake_format"


def test_moments_have_a_zone() -> None:
    assert utc(HOUR.start) == "2022-05-10T13:00:00.000Z"
    assert parse_utc("2022-05-10T15:00:00+02:00") == HOUR.start
    with pytest.raises(ValueError, match="no zone"):
        parse_utc("2022-05-10T13:00:00")


# -- tables -------------------------------------------------------------------------------------------------


def test_a_file_belongs_to_the_longest_table_that_it_begins_with() -> None:
    table_of = TableIndex(("Voyage", "Voyage_Leg", "Vessel")).table_of
    assert table_of("Voyage_Leg_001.json.gz") == "Voyage_Leg"
    assert table_of("Voyage_001.json.gz") == "Voyage"
    assert table_of("Voyage_Legacy.json") == "Voyage"
    assert table_of("Vessel.json") == "Vessel"
    assert table_of("Vessels_1.json") is None
    assert table_of("Voyage") is None


def test_missing_tables_are_those_of_the_schema_less_those_out_of_scope() -> None:
    tables = schema_tables(b'[{"DataObjectName": "B"}, {"DataObjectName": "A"}, {"DataObjectName": "C"}]')
    assert tables == ("A", "B", "C")
    assert TableIndex(tables).missing(["A_1.json"], ["C", "Z"]) == ("B",)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[1]", b'[{"DataObjectName": 1}]', b'[{"x": "A"}]', b'[{"DataObjectName": ""}]']
)
def test_an_invalid_schema_is_refused(data: bytes) -> None:
    assert schema_tables(data) in {None, ()}


async def test_E18_longest_name_that_is_accepted_fits_a_folder_lake(tmp_path: Path) -> None:
    store = open_store(StoreSettings(f"file://{tmp_path}"))
    longest = "a" * LONGEST_NAME
    check_names([PromisedFile(longest, 1)])
    await store.put(f"put/{longest}", b"1")
    assert await store.put_if_absent(f"create/{longest}", b"1")

    async def chunks() -> AsyncIterator[bytes]:
        yield b"1"

    await store.put_stream(f"stream/{longest}", chunks())
    for name in ("a" * 254, "\u00e9" * 127, "a" * 255):
        with pytest.raises(VendorError, match="is too long") as caught:
            check_names([PromisedFile(name, 1)])
        assert caught.value.cause.word == "key_rejected"


async def test_E18_a_mount_with_shorter_names_is_refused_before_anything_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"file://{tmp_path}/lake"
    assert longest_name(url) == LONGEST_NAME
    assert longest_name("s3://lake") is None
    monkeypatch.setattr("os.pathconf", lambda path, name: {(tmp_path, "PC_NAME_MAX"): 143}[path, name])
    refuse_long_names(url, ["a" * 141, "\u00e9" * 70])
    refuse_long_names("s3://lake", ["a" * 200])
    with pytest.raises(LakeError, match=r"names of 141 bytes: 'a{142}' has 142, and 1 more") as caught:
        refuse_long_names(url, ["a" * 142, "ok", "\u00e9" * 71])
    assert (caught.value.cause.word, caught.value.cause.owner) == ("dest_io", "us")
    assert "another file system" in caught.value.hint


def test_U9_twins_are_names_that_are_equal_in_lower_case() -> None:
    check_names([PromisedFile("a/Straße.gz", 1, "https://x"), PromisedFile("a/Strasse.gz", 1, "https://x")])
    with pytest.raises(VendorError):
        check_names([PromisedFile("a/STRASSE.gz", 1, "https://x"), PromisedFile("a/strasse.gz", 1, "https://x")])
