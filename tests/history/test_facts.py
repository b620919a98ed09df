"""A file belongs to the longest table that its name starts with; an Hour's facts are sums over its files."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from hypothesis import given, strategies as st

from history.oracle import table_of
from viplake.history.facts import Schema, SchemaFacts, hour_facts, promise_facts, run_facts
from viplake.lake.records import EventKind, EventRecord, Worker
from viplake.lake.table_index import TableIndex
from viplake.model import Hour, Promise, PromisedFile

H13 = Hour.parse("2022-05-10T13")
NAMES = st.text(alphabet="AB_.`-^é", max_size=7)
TABLES = st.sets(st.text(alphabet="AB_.é", min_size=1, max_size=4), max_size=9)


WORKER = Worker("h", 1)


def schema(tables: set[str], out_of_scope: frozenset[str] = frozenset()) -> Schema:
    return Schema.of(SchemaFacts("0", tuple(sorted(tables))), out_of_scope)


@given(tables=TABLES, names=st.sets(NAMES, max_size=20), seed=st.integers(0, 9))
def test_both_ways_to_find_a_table_agree_with_the_plain_one(tables: set[str], names: set[str], seed: int) -> None:
    index = TableIndex(tables)
    plain: dict[str, list[str]] = {}
    for name in names:
        found = table_of(name, tables)
        assert index.table_of(name) == found
        if found is not None:
            plain.setdefault(found, []).append(name)
    shuffled = sorted(names)
    random.Random(seed).shuffle(shuffled)
    facts = hour_facts(H13, shuffled, [len(name) for name in shuffled], schema(tables))
    assert [(t.table, t.partitions, t.size) for t in facts.tables] == [
        (table, len(plain[table]), sum(map(len, plain[table]))) for table in sorted(plain)
    ]
    assert facts.unmatched == len(names) - sum(map(len, plain.values()))
    assert facts.missing == tuple(sorted(tables - plain.keys()))


def test_the_records_of_viplake_belong_to_no_table() -> None:
    tables = {"_PresignedUrls", "_Receipt", "_MasterTableSchema", "Voyage"}
    names = ["_PresignedUrls.json", "_Receipt.json", "_MasterTableSchema.json", "Voyage_1", "x.sql"]
    facts = hour_facts(H13, names, [10, 100, 1000, 1, 2], schema(tables))
    assert [table.table for table in facts.tables] == ["Voyage", "_MasterTableSchema"]
    assert (facts.files, facts.size, facts.delivered_size, facts.unmatched) == (4, 1013, 1003, 1)
    assert (facts.has_promise, facts.has_receipt, facts.delivered) == (True, True, True)


def test_an_hour_of_records_alone_is_not_delivered() -> None:
    facts = hour_facts(H13, ["_PresignedUrls.json", "_Receipt.json"], [10, 100], None)
    assert (facts.files, facts.size, facts.delivered, facts.present) == (1, 10, False, True)
    assert (facts.expected, facts.missing, facts.ratio) == (None, None, None)


def test_tables_out_of_scope_are_neither_expected_nor_missing_but_counted() -> None:
    facts = hour_facts(H13, ["A_1", "B_1"], [3, 4], schema({"A", "B", "C", "D"}, frozenset({"B", "C"})))
    assert (facts.expected, facts.missing, facts.ratio) == (("A", "D"), ("D",), 0.5)
    assert [table.table for table in facts.tables] == ["A", "B"]


def test_M6_nothing_expected_has_no_ratio() -> None:
    assert hour_facts(H13, ["_MasterTableSchema.json"], [2], schema(set())).ratio is None


def test_a_promise_is_compared_by_name_and_size_for_each_table() -> None:
    promise = Promise(tuple(PromisedFile(f"out/{name}", 5) for name in ("A_1", "A_2", "B_1", "x.sql")))
    facts = promise_facts(promise, ["A_1", "B_1", "x.sql"], [5, 4, 5], schema({"A", "B"}))
    assert (facts.files, facts.absent, facts.other_size, facts.stored) == (4, ("A_2",), ("B_1",), 2)
    assert facts.completeness == 0.5
    assert [(t.table, t.promised, t.stored) for t in facts.tables] == [("A", 2, 1), ("B", 1, 0)]


def test_a_run_is_read_from_its_last_event() -> None:
    at = datetime(2022, 5, 10, 13, 26, tzinfo=UTC)
    triggered = run_facts(EventRecord(EventKind.TRIGGERED, at, "n", WORKER, job_guid="g"))
    assert triggered.attempts == 1
    for kind in (EventKind.REPLICATED, EventKind.PROMISED, EventKind.WORKING, EventKind.REPOSTING):
        assert run_facts(EventRecord(kind, at, "n", WORKER)).attempts == 1, kind
    too_early = run_facts(EventRecord(EventKind.DEFERRED, at, "n", WORKER, not_before=at))
    unsent = run_facts(EventRecord(EventKind.DEFERRED, at, "n", WORKER, not_before=at, unsent=True))
    no_token = run_facts(EventRecord(EventKind.DEFERRED, at, "n", WORKER, cause="auth_rejected"))
    claimed = run_facts(EventRecord(EventKind.CLAIMED, at, "n", WORKER))
    assert [one.attempts for one in (too_early, unsent, no_token, claimed)] == [1, 0, 0, 0]
    overdue = run_facts(EventRecord(EventKind.OVERDUE, at, "n", WORKER, cause="network"))
    assert (overdue.outcome, overdue.cause) == ("failed", "network")
    newer = run_facts(EventRecord(EventKind.FAILED, at, "n", WORKER, cause="of_a_newer_viplake", posts=2))
    assert (newer.cause, newer.attempts) == ("of_a_newer_viplake", 2)
    open_ = run_facts(EventRecord(EventKind.WORKING, at, "n", WORKER))
    assert (open_.outcome, open_.cause, open_.at) == ("waiting", None, at)
    late = run_facts(EventRecord(EventKind.WORKING, at, "n", WORKER, cause="vendor_timeout", late=True))
    assert (late.outcome, late.cause) == ("failed", "vendor_timeout"), "overdue until a late attempt succeeds"
