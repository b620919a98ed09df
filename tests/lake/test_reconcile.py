"""The verdict over an Hour, against a plain oracle."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given, strategies as st

from viplake.lake.reconcile import judge, to_read_again
from viplake.model import Finding, Hour, Promise, PromisedFile, ProvenFile, Receipt, StoredFile

HOUR = Hour.parse("2022-05-10T13")
NAMES = ("a.json.gz", "b.json.gz", "c.sql", "d.json")


def md5(letter: str) -> str:
    return letter * 32


PROMISE = Promise(tuple(PromisedFile(f"x/{name}", 10 + n) for n, name in enumerate(NAMES)))
PROVEN = tuple(ProvenFile(f.name, f.key, f.size, md5(f.name[0]), f"etag-{f.name}") for f in PROMISE.files)
RECEIPT = Receipt("Prod", "ACME", HOUR, "guid", PROVEN, datetime(2022, 5, 10, 13, 30, tzinfo=UTC))
STORED = {f.name: StoredFile(f"IMOSDL/Hourly/20220510/13/{f.name}", f.size, f"etag-{f.name}") for f in PROMISE.files}

DAMAGE = st.sampled_from(["right", "missing", "short", "other", "again", "unproven"])


@given(st.fixed_dictionaries(dict.fromkeys(NAMES, DAMAGE)), st.booleans(), st.booleans())
def test_a_verdict_is_the_sum_of_its_files(damage: dict[str, str], stray: bool, etags: bool) -> None:
    stored, read = dict(STORED), dict[str, str]()
    for name, what in damage.items():
        if what == "missing":
            del stored[name]
        elif what == "short":
            stored[name] = replace(stored[name], size=3)
        elif what in {"other", "again"}:
            stored[name] = replace(stored[name], etag="new")
    receipt = replace(RECEIPT, files=tuple(f for f in PROVEN if damage[f.name] != "unproven"))
    if stray:
        stored["stray"] = StoredFile("stray", 1)
    for name in to_read_again(stored, receipt, etags_prove=etags):
        read[name] = md5("z") if damage[name] == "other" else md5(name[0])
    verdict = judge(PROMISE, stored, receipt, read)

    kinds = {"missing": "missing_file", "short": "wrong_size", "other": "wrong_checksum", "unproven": "wrong_checksum"}
    expected = {(kinds[what], name) for name, what in damage.items() if what in kinds}
    harm = {(f.kind, f.file) for f in verdict.findings if f.kind != "unexpected_file"}
    assert harm == expected
    assert verdict.complete is ("missing" not in damage.values())
    assert verdict.valid is (not expected)
    assert verdict.proven is (not expected)
    assert any(f.kind == "unexpected_file" for f in verdict.findings) is stray


def test_only_files_with_another_etag_are_read_again() -> None:
    stored = STORED | {
        "a.json.gz": replace(STORED["a.json.gz"], etag="new"),
        "b.json.gz": replace(STORED["b.json.gz"], size=3),  # no need to read: it is wrong already
    }
    del stored["c.sql"]
    assert to_read_again(stored, RECEIPT, etags_prove=True) == ["a.json.gz"]
    assert to_read_again(stored, RECEIPT, etags_prove=False) == ["a.json.gz", "d.json"]
    bare = replace(RECEIPT, files=tuple(replace(file, etag=None) for file in PROVEN))
    without = {name: replace(file, etag=None) for name, file in STORED.items()}
    assert to_read_again(without, bare, etags_prove=True) == list(NAMES), "no mark proves nothing"


def test_without_reading_an_odd_mark_is_a_finding() -> None:
    stored = STORED | {"a.json.gz": replace(STORED["a.json.gz"], etag="new")}
    [finding] = judge(PROMISE, stored, RECEIPT, {}).findings
    assert (finding.kind, finding.file) == ("wrong_checksum", "a.json.gz")


def test_a_verdict_has_expected_and_actual_state_of_each_file() -> None:
    stored = {
        "a.json.gz": replace(STORED["a.json.gz"], size=1234),
        "b.json.gz": replace(STORED["b.json.gz"], etag="new"),
        "d.json": STORED["d.json"],
        "new.json": StoredFile("new.json", 1),
    }
    promise = Promise((*PROMISE.files, PromisedFile("x/e.json", 5_000)))
    receipt = replace(RECEIPT, files=PROVEN[:3])
    told = [(f.kind, f.file, f.detail) for f in judge(promise, stored, receipt, {}).findings]
    assert told == [
        ("missing_file", "c.sql", "promised with 12 bytes"),
        ("missing_file", "e.json", "promised with 5,000 bytes"),
        ("wrong_size", "a.json.gz", "promised 10 bytes, stored 1,234"),
        ("wrong_checksum", "b.json.gz", "proven with ETag etag-b.json.gz, stored has new"),
        ("wrong_checksum", "d.json", "promised, but the Receipt does not prove it"),
        ("unexpected_file", "new.json", "in the folder, but not promised"),
    ]
    [read] = judge(PROMISE, STORED, RECEIPT, {"d.json": md5("z")}).findings
    assert read.detail == f"proven as MD5 {md5('d')}, stored is {md5('z')}"
    assert judge(None, STORED, RECEIPT, {}).findings == (Finding("no_promise"),)
    assert judge(PROMISE, STORED, None, {}).findings == (Finding("no_receipt"),)


def test_our_own_records_are_not_unexpected() -> None:
    own = {name: StoredFile(name, 1) for name in ("_PresignedUrls.json", "_Receipt.json")}
    assert judge(PROMISE, STORED | own, RECEIPT, {}).findings == ()


def test_an_empty_manifest_is_complete_and_proves_nothing() -> None:
    verdict = judge(Promise(()), {}, None, {})
    assert (verdict.complete, verdict.valid, verdict.proven) == (True, None, False)


def test_a_verdict_looks_at_each_file_a_few_times_however_many_there_are() -> None:
    looks = 0

    class Counted(PromisedFile):
        __slots__ = ()

        @property
        def name(self) -> str:
            nonlocal looks
            looks += 1
            return self.key.rpartition("/")[2]

    files = tuple(Counted(f"x/{n}.json.gz", 1) for n in range(1000))
    stored = {f"{n}.json.gz": StoredFile(f"{n}.json.gz", 1, "etag") for n in range(1000)}
    proven = tuple(ProvenFile(name, f"x/{name}", 1, md5("a"), "etag") for name in stored)
    assert judge(Promise(files), stored, replace(RECEIPT, files=proven), {}).proven
    assert looks <= 10 * len(files)
