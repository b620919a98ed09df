"""Faults: how they are written, when they strike, and that all of them are documented and played by a test."""

from __future__ import annotations

import pytest

from simulator.test_download_faults import CASES as DOWNLOADS
from simulator.test_json_faults import CASES as ANSWERS
from viplake.errors import SettingsError
from viplake.simulator import Fault, describe, parse
from viplake.simulator.faults import CALLS, JSON_CALLS, KINDS, WORDINGS, Faults, from_json


def test_a_fault_is_written_in_one_line() -> None:
    assert parse("download:cut:file=Voyage*,times=2,value=1000") == Fault(
        "download", "cut", file="Voyage*", times=2, value="1000"
    )
    assert parse("token:html") == Fault("token", "html")
    assert parse('files:json:after=1,value={"a": [1, 2]}').value == '{"a": [1, 2]}'
    assert parse("trigger:too_soon:value=us:300") == Fault("trigger", "too_soon", value="us:300")
    assert parse("download:cut:each=true,times=1") == Fault("download", "cut", times=1, each=True)


@pytest.mark.parametrize(
    "text",
    ["token:html", "download:cut:file=Voyage*,times=2,after=1,each=true,value=-1", "files:key:value=a,b=c"],
)
def test_a_fault_is_shown_as_it_is_written(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no call ''"),
        ("uploads:cut", "no call 'uploads'"),
        ("download:cutt", "did you mean cut"),
        ("token:cut", "The call token has no fault 'cut'"),
        ("download:cut:times=0", "at least 1"),
        ("download:cut:times=two", "not how a fault is written"),
        ("download:cut:each=perhaps", "not how a fault is written"),
        ("download:cut:often=2", "no 'often'"),
        ("download:cut:value=here", "cannot take 'here'"),
        ("download:slow:value=fast", "cannot take 'fast'"),
        ("trigger:wording:value=klingon", "cannot take 'klingon'"),
        ("token:html:value=1", "takes no value"),
        ("token:html:often", "no 'often'"),
    ],
)
def test_an_unknown_fault_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        parse(text)


def test_faults_come_as_json_too() -> None:
    fault = {"call": "download", "kind": "cut", "file": "V*", "value": 7}
    assert from_json([fault, "token:html"]) == [Fault("download", "cut", file="V*", value=7), Fault("token", "html")]


@pytest.mark.parametrize(
    "data",
    [7, {}, {"call": "token"}, {"call": "token", "kind": "html", "x": 1}, {"call": "token", "kind": "html", "file": 7},
     {"call": "token", "kind": ["html"]}, {"call": "token", "kind": "html", "times": "2"}],
)  # fmt: skip
def test_json_that_is_no_fault_is_refused(data: object) -> None:
    with pytest.raises(SettingsError):
        from_json(data)


def _strikes(faults: Faults, *keys: str | None) -> list[bool]:
    return [bool(faults.strike("download", key)) for key in keys]


def test_after_and_times_make_a_window() -> None:
    assert _strikes(Faults([parse("download:cut:after=1,times=2")]), *["a"] * 5) == [False, True, True, False, False]


def test_each_file_can_have_a_window_of_its_own() -> None:
    faults = Faults([parse("download:cut:times=1,each=true")])
    assert _strikes(faults, "a", "b", "a", "b") == [True, True, False, False]


def test_a_glob_matches_the_key_or_the_name() -> None:
    faults = Faults([parse("download:cut:file=Voy*")])
    assert _strikes(faults, "DEMO/x/Voyage_1.gz", "DEMO/x/Port_1.gz", "Voy/x") == [True, False, True]


def test_every_fault_counts_the_requests_that_it_could_befall() -> None:
    faults = Faults([parse("download:missing:times=1"), parse("download:cut:after=1,times=1")])
    struck = [[fault.kind for fault in faults.strike("download", "a")] for _ in range(3)]
    assert struck == [["missing"], ["cut"], []]


def test_faults_can_be_added_and_cleared() -> None:
    faults = Faults()
    assert not faults.strike("token")
    faults.add("token:html", Fault("token", "reset"))
    assert [fault.kind for fault in faults.strike("token")] == ["html", "reset"]
    assert not faults.strike("trigger")
    faults.clear()
    assert not faults.strike("token")


def test_the_table_of_kinds_lists_each_kind_with_its_faults() -> None:
    lines = describe().splitlines()
    assert {word for word in WORDINGS if f"| `{word}` | {WORDINGS[word]} |" in lines} == set(WORDINGS)
    for kind in set(KINDS.values()):
        (line,) = [line for line in lines if f"| `{kind.word}` | {kind.does} |" in line]
        calls = {"any": CALLS, "the four": JSON_CALLS}
        first = line.split("|")[1].strip()
        assert calls.get(first, tuple(first.split(", "))) == kind.calls
        assert line.endswith(f"| {kind.value} | {kind.ids} |")


def test_every_id_of_the_catalogue_that_a_vendor_can_play_is_played() -> None:
    played = {word for kind in KINDS.values() for word in kind.ids.split()}
    # Not a fault that a vendor plays alone: our own crash, store, schedule, suspended machine or network (G1 is
    # health itself; G7, G13 are ours; P12 a suspended host; D20 a route; D21 and D23 need no switch: see storage).
    ours = {"G1", "G7", "G13", "P12", "D17", "D20", "D21", "D23"}
    groups = {"T": 11, "G": 15, "P": 12, "U": 17, "D": 23}
    wanted = {f"{letter}{number}" for letter, last in groups.items() for number in range(1, last + 1)}
    assert wanted - played - ours == set()


def test_every_kind_is_played_by_a_test() -> None:
    faults = [parse(case.fault) for case in (*ANSWERS, *DOWNLOADS)]
    played = {(fault.call, fault.kind) for fault in faults}
    # What the four calls have in common is played by the same lines for each: one of them is enough.
    common = {kind.word for kind in KINDS.values() if len(kind.calls) > 1}
    once = {fault.kind for fault in faults if fault.call in JSON_CALLS and fault.kind in common}
    missing = set(KINDS) - played
    assert {(call, word) for call, word in missing if not (call in JSON_CALLS and word in once)} == set()
