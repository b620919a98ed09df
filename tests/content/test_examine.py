"""What is found inside an Hour's files equals what a reader of the very same JSON counts by hand."""

from __future__ import annotations

import asyncio
import gzip
import json
import tempfile
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from content.tables import READABLE, ROWS, UNREADABLE, table_schema
from faults import WITHHOLDING, Fault, Flaky, Tripwire
from history.lakes import LAYOUT, fill, memory
from viplake.content.examine import ContentSettings, examine
from viplake.content.profiling import HourContent
from viplake.content.records import from_bytes, to_bytes
from viplake.errors import WITHHELD
from viplake.judge.rules.content_verdicts import CheckedContent, Odd, nonconforming
from viplake.lake import Lake
from viplake.lake.layout import SCHEMA_NAME
from viplake.model import Hour
from viplake.simulator.tables import TABLES, ExportShape, make_export
from viplake.tables import duck

if TYPE_CHECKING:
    from pathlib import Path

    from viplake.content.profiling import TableContent
    from viplake.lake.store import Store

HOUR = Hour.parse("2022-05-10T13")


async def looked(files: dict[str, bytes], schema: bytes | None = None, **told: Any) -> HourContent:
    store = memory()
    named = files if schema is None else files | {SCHEMA_NAME: schema}
    await fill(store, {LAYOUT.file(HOUR, name): data for name, data in named.items()})
    return await examine(Lake(store, LAYOUT), HOUR, ContentSettings(**told))


async def table(files: dict[str, bytes], *columns: str, key: tuple[str, ...] = (), **told: Any) -> TableContent:
    """What is found in files of the table T with these columns in the schema."""
    named = {f"T_{name}": data for name, data in files.items()}
    content = await looked(named, table_schema(*columns, key=key), **told)
    [found] = content.tables
    return found


def lines(*rows: dict[str, Any]) -> dict[str, bytes]:
    return {"0.json": "\n".join(json.dumps(row) for row in rows).encode()}


@pytest.mark.system
async def test_profile_of_a_whole_export_equals_a_count_by_hand() -> None:
    files = make_export(ExportShape(files=90), "onDemandExtract1DayProd", HOUR.start)
    bodies = {file.name: b"".join(file.read()) for file in files}
    by_table: dict[str, list[dict[str, Any]]] = {}
    for file in files:
        if file.table is not None:
            text = gzip.decompress(bodies[file.name])
            rows = json.loads(text) if text[:1] == b"[" else [json.loads(line) for line in text.splitlines()]
            by_table.setdefault(file.table, []).extend(rows)
    content = await looked(bodies)
    assert content.findings == ()
    assert [known.table for known in content.tables] == sorted(by_table)
    kinds = {one.name: dict(one.columns) for one in TABLES}
    for known in content.tables:
        rows = by_table[known.table]
        assert (known.conformance, known.rows) == ("passed", len(rows))
        assert [column.name for column in known.columns] == list(kinds[known.table])
        for column in known.columns:
            values = [row[column.name] for row in rows if row[column.name] is not None]
            assert (column.nulls, column.nonconforming) == (len(rows) - len(values), 0)
            assert column.distinct == pytest.approx(len(set(map(str, values))), rel=0.15, abs=2)
            if values and column.kind in {"integer", "decimal"}:
                assert (float(column.low or "nan"), float(column.high or "nan")) == (min(values), max(values))
            elif values and column.kind in {"text", "timestamp"}:
                assert (column.low, column.high) == (min(values), max(values))
        times = [row["LastUpdateGMT"] for row in rows]
        assert known.newest is not None
        assert known.oldest is not None
        assert f"{known.oldest:%Y-%m-%dT%H:%M:%S} {known.newest:%Y-%m-%dT%H:%M:%S}" == f"{min(times)} {max(times)}"
        assert (known.dated, known.duplicates) == (len(rows), 0)
    assert content.look_back_hours == pytest.approx(24, abs=2.4)


@pytest.mark.parametrize("name", READABLE)
async def test_every_shape_of_json_has_its_records(name: str) -> None:
    data, rows = READABLE[name]
    found = await table({name: data}, "a bigint", "b nvarchar(40)")
    assert found.rows == rows
    assert not [finding for finding in found.findings if finding.kind == "unreadable_file"]


@pytest.mark.parametrize("name", UNREADABLE)
async def test_a_file_that_cannot_be_read_is_a_finding_and_the_others_are_judged(name: str) -> None:
    bad = UNREADABLE[name]
    good = lines(*ROWS[:10])["0.json"]
    found = await table({"0_good.json": good, name: bad.data, "z_good.json": good}, "a int", "b string")
    [finding] = found.findings
    assert (found.rows, found.files, found.conformance) == (20, 3, "failed")
    assert (finding.kind, finding.file, finding.byte) == (bad.kind, f"T_{name}", bad.byte)
    assert bad.words in finding.detail


async def test_many_bad_files_are_all_named() -> None:
    files = {f"{number}_{name}": bad.data for number in range(3) for name, bad in UNREADABLE.items()}
    found = await table({**files, "good.json": lines(*ROWS[:10])["0.json"]}, "a int", "b string")
    assert Counter(finding.file for finding in found.findings) == Counter(f"T_{name}" for name in files)
    assert found.rows == 10


async def test_a_table_with_nothing_that_can_be_read_is_unknown_and_failed() -> None:
    found = await table({"0.json": UNREADABLE["page.json"].data}, "a int")
    assert (found.rows, found.conformance, found.columns) == (None, "failed", ())


async def test_A1_deep_json_ends_no_process() -> None:
    deep = b'[{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]"
    objects = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    found = await table({"0.json": deep, "1.json": objects, "2.json": lines({"a": 1})["0.json"]}, "a int")
    assert found.findings
    assert (found.rows or 0) >= 1


async def test_A1_json_that_takes_more_memory_than_there_is_is_a_finding_on_that_file() -> None:
    deep = b'[{"a": 1, "b": ' + b"[" * 4_000_000 + b"]" * 4_000_000 + b"}]"
    found = await table({"0.json": deep, "1.json": lines({"a": 1})["0.json"]}, "a int")
    [finding] = found.findings
    assert (finding.kind, finding.file, finding.byte) == ("unreadable_file", "T_0.json", None)
    assert "256MB of memory" in finding.detail
    assert found.rows == 1


async def test_values_of_another_type_are_counted_with_three_examples() -> None:
    wrong: list[Any] = ["1.5", "x", "", "9" * 30, "NaN", True, [1], {"n": 1}]
    good: list[Any] = [1, "2", -3, None, 9_000_000_000, "12"]
    found = await table(lines(*({"a": value} for value in wrong + good)), "a Integer")
    [finding] = found.findings
    [column] = found.columns
    assert (finding.kind, finding.column, finding.count) == ("wrong_type", "a", len(wrong))
    assert finding.examples == ("", "1.5", "9" * 30)
    assert (column.nonconforming, column.nulls, column.low, column.high) == (len(wrong), 1, "-3", "9000000000")
    assert "8 of 14 values are not of type Integer" in finding.detail


@pytest.mark.parametrize(
    ("declared", "good", "bad"),
    [
        ("decimal(28, 8)", [1, 1.5, "-2.25", 1e300], ["1,5", "one", "Infinity"]),
        ("bit", [True, False, "true", 0, 1], ["perhaps", 7]),
        ("date", ["2022-05-10", "2022-02-28"], ["2022-02-30", "10.05.2022", "soon"]),
        (
            "datetime2(7)",
            ["2022-05-10T13:00:00", "2022-05-10T13:00:00.1234567", "2022-05-10 13:00", "2022-05-10T13:00:00Z"],
            ["/Date(1652187600000)/", "13:00", "2022-13-01T00:00:00"],
        ),
        ("nvarchar(max)", ["x", "", 1, [1], {"a": 1}], []),
        ("System.Int32", [1], ["x"]),
    ],
)
async def test_each_declared_type_is_tried(declared: str, good: list[Any], bad: list[Any]) -> None:
    rows: list[dict[str, Any]] = [{"a": value} for value in good + bad]
    found = await table(lines(*rows), f"a {declared}")
    [column] = found.columns
    assert (column.declared, column.nonconforming) == (declared, len(bad))
    assert [finding.count for finding in found.findings if finding.kind == "wrong_type"] == ([len(bad)] if bad else [])


async def test_an_unknown_type_is_not_checked() -> None:
    found = await table(lines({"a": "x"}), "a geography")
    assert (found.columns[0].kind, found.columns[0].nonconforming, found.findings) == (None, None, ())


async def test_columns_that_are_missing_or_not_in_the_schema_are_named() -> None:
    rows: list[dict[str, Any]] = [{"a": 1, "new": "x"}, {"a": 2}, {"a": 3, "c": None}]
    found = await table(lines(*rows), "a int", "b string", "c string")
    told = {(finding.kind, finding.column, finding.count) for finding in found.findings}
    # c is there, if only as a null; b is nowhere.
    assert told == {("missing_column", "b", 3), ("unexpected_column", "new", 1)}
    assert [column.name for column in found.columns] == ["a", "b", "c", "new"]


async def test_duplicate_keys_are_counted_over_all_files() -> None:
    files = {"0.json": lines({"a": 1, "b": 1}, {"a": 1, "b": 2})["0.json"], "1.json": lines({"a": 1, "b": 2})["0.json"]}
    both = await table(files, "a int", "b int", key=("a", "b"))
    one = await table(files, "a int", "b int", key=("a",))
    none = await table(files, "a int", "b int")
    assert [finding.count for finding in both.findings] == [1]
    assert (both.duplicates, one.duplicates, none.duplicates) == (1, 2, None)
    assert one.findings[0].kind == "duplicate_key"


def test_Z1_keys_are_counted_while_the_records_pass_and_none_is_written_out(tmp_path: Path) -> None:
    with duck.connect(tmp_path) as connection:
        asked = "select count(a), max(b), count(distinct a) from (select i % 7 as a, i as b from range(99) t(i))"
        [(_, plan)] = connection.execute(f"explain {asked}").fetchall()
        assert "CTE" not in plan
        assert connection.execute(asked).fetchall() == [(99, 98, 7)]


async def test_without_columns_in_the_schema_conformance_is_unknown_and_never_passed() -> None:
    content = await looked({"T_0.json": lines({"a": 1})["0.json"]}, json.dumps([{"DataObjectName": "T"}]).encode())
    [found] = content.tables
    assert (found.conformance, found.unknown, found.rows) == ("unknown", "the schema has no columns for it", 1)
    [column] = found.columns
    assert (column.name, column.declared, column.low) == ("a", "", "1")


@pytest.mark.parametrize(("schema", "why"), [(None, "it has no schema"), (b"oops", "its schema cannot be read")])
async def test_without_a_schema_table_names_come_from_file_names(schema: bytes | None, why: str) -> None:
    one = lines({"a": 1})["0.json"]
    files = {"Voyage_20220510T13_0000.json": one, "Voyage_20220510T13_0001.json": one, "Port_Call.json.gz": one}
    content = await looked(files, schema)
    assert content.schema_problem == why
    assert [(known.table, known.rows, known.unknown) for known in content.tables] == [
        ("Port_Call", 1, why),
        ("Voyage", 2, why),
    ]


async def test_names_that_mean_something_to_sql_are_only_names() -> None:
    odd = "a\"b'; drop table x; -- ] \u00e9"
    found = await table(lines({odd: 1, "select": "x"}), f"{odd.replace(' ', '_')} int", "select string")
    assert [column.name for column in found.columns][:2] == [odd.replace(" ", "_"), "select"]
    assert (found.columns[1].low, found.rows) == ("x", 1)
    assert {finding.column for finding in found.findings} == {odd, odd.replace(" ", "_")}


async def test_A8_a_formula_or_markup_as_table_name_is_only_a_name() -> None:
    names = ["<script>alert(1)", "=cmd|' -C calc'!A0"]
    schema = json.dumps([{"DataObjectName": name} for name in names]).encode()
    content = await looked({f"{name}_0.json": lines({"a": 1})["0.json"] for name in names}, schema)
    assert sorted(known.table for known in content.tables) == sorted(names)


async def test_the_record_time_is_found_by_its_usual_names_or_by_the_configured_one() -> None:
    rows = [{"When": f"2022-05-10T{hour:02}:00:00", "lastupdate": "2022-05-09T01:00:00"} for hour in range(24)]
    usual = await table(lines(*rows), "When datetime", "lastupdate datetime")
    told = await table(lines(*rows), "When datetime", "lastupdate datetime", record_times=("when",))
    assert usual.newest == datetime(2022, 5, 9, 1, tzinfo=UTC)
    assert (told.oldest, told.newest) == (datetime(2022, 5, 10, tzinfo=UTC), datetime(2022, 5, 10, 23, tzinfo=UTC))
    assert (told.span_hours, usual.span_hours, told.dated) == (23, 0, 24)


async def test_few_records_give_no_look_back() -> None:
    rows = [{"LastUpdate": f"2022-05-10T{hour:02}:00:00"} for hour in range(19)]
    assert (await table(lines(*rows), "LastUpdate datetime")).span_hours is None


@pytest.mark.parametrize("none", ["0001-01-01T00:00:00", "9999-12-31T23:59:59", "0022-05-10T12:00:00"])
async def test_a_placeholder_time_gives_no_span_and_a_readable_record(none: str) -> None:
    rows = [{"LastUpdate": f"2022-05-10T{hour:02}:00:00.123456"} for hour in range(24)]
    found = await table(lines(*rows, {"LastUpdate": none}), "LastUpdate datetime")
    assert found.span_hours is None
    assert found.dated == 25
    content = HourContent(Hour.parse("2022-05-10T13"), (found,))
    assert from_bytes(to_bytes(content)) == content


async def test_an_hour_without_files_has_no_tables() -> None:
    assert (await looked({})).tables == ()


async def test_a_large_table_is_profiled_whole_and_its_members_by_its_first_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(duck, "ALL_MEMBERS_UP_TO", 1000)
    monkeypatch.setattr(duck, "FIRST_RECORDS", 50)
    rows = [{"a": number, "new": 1} for number in range(200)]
    found = await table(lines(*rows), "a int")
    [finding] = found.findings
    assert (found.rows, finding.kind) == (200, "unexpected_column")
    assert "50 of the first 50 records" in finding.detail


async def test_cancelling_ends_the_query_and_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store: Store = memory()
    large = b"[" + b",".join(b'{"a": %d}' % n for n in range(300_000)) + b"]"
    await fill(store, {LAYOUT.file(HOUR, f"T_{n}.json"): large for n in range(4)})
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    task = asyncio.create_task(examine(Lake(store, LAYOUT), HOUR, ContentSettings()))
    await asyncio.sleep(0.15)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not any(tmp_path.glob("*"))  # noqa: ASYNC240 - a test may wait for its disk


@pytest.mark.parametrize("fault", WITHHOLDING)
async def test_E15_file_that_the_store_withholds_is_a_finding_and_the_others_are_looked_into(fault: Fault) -> None:
    store = memory()
    await fill(store, {LAYOUT.file(HOUR, name): b'{"A": 1}' for name in ("T_1.json", "U_1.json")})
    broken = Flaky(store, Tripwire(1, error=fault, verbs={"read"}, about="T_1", times=None))
    content = await examine(Lake(broken, LAYOUT), HOUR, ContentSettings())
    assert {known.table: known.rows for known in content.tables} == {"T": None, "U": 1}
    [finding] = content.tables[0].findings
    cause, owner = fault().cause.word, fault().cause.owner
    assert f"{WITHHELD[cause]}: {fault().message}" in finding.detail
    breaches = nonconforming(CheckedContent(HOUR, content))
    assert breaches == [Odd("T", f"T in {HOUR}: {finding.detail}", (cause, str(owner)))], "not the fault of the sender"


@pytest.mark.parametrize("fault", WITHHOLDING)
async def test_E15_schema_that_the_store_withholds_leaves_the_tables_readable(fault: Fault) -> None:
    store = memory()
    files = {"T_1.json": b'{"A": 1}', SCHEMA_NAME: b"[]"}
    await fill(store, {LAYOUT.file(HOUR, name): data for name, data in files.items()})
    broken = Flaky(store, Tripwire(1, error=fault, verbs={"get"}, about=SCHEMA_NAME, times=None))
    content = await examine(Lake(broken, LAYOUT), HOUR, ContentSettings())
    assert content.schema_problem == "its schema cannot be read"
    assert [known.rows for known in content.tables] == [1]
