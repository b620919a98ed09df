"""What others ran into inside files (H16 to H26), and every form in which a table can come."""

from __future__ import annotations

import gzip
import io
import json
import stat
import zipfile
from typing import TYPE_CHECKING, Any, Self

import duckdb
import pytest

from content.tables import table_schema
from content.test_examine import HOUR, looked, table
from query.test_query import QueriedLake
from viplake.content.records import from_bytes, to_bytes
from viplake.errors import SettingsError, ViplakeError
from viplake.judge.rules.content_verdicts import CheckedContent, Odd, nonconforming
from viplake.tables import duck
from viplake.tables.schema import TableSchema, changes, read_schema
from viplake.tables.types import type_of, widened

if TYPE_CHECKING:
    from pathlib import Path

    from viplake.content.profiling import TableContent
    from viplake.query.result import QueryResult


def kinds(found: TableContent) -> list[tuple[str, str | None, int | None]]:
    return [(finding.kind, finding.column or finding.file, finding.count) for finding in found.findings]


def types(result: QueryResult) -> dict[str, str]:
    return {column.name: column.type for column in result.columns}


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


# -- records that are none ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b'[[1,"A"],[2,"B"]]', b"[1, 2]", b'["a"]', b'[{"a": 1}, [2]]', b'{"a": 1}\n7\n'])
async def test_H16_rows_that_are_no_objects_are_a_finding_with_the_file(body: bytes) -> None:
    found = await table({"1.json": b'[{"a": 1}, {"a": 2}]', "2.json": body}, "a int")
    assert (found.rows, found.conformance) == (2, "failed")
    assert [(finding.kind, finding.file) for finding in found.findings] == [("unreadable_file", "T_2.json")]


async def test_H16_a_query_fails_with_the_file_and_answers_without_it_where_it_may() -> None:
    lake = QueriedLake()
    files = {"T_1.json": b'[{"a": 1}, {"a": 2}]', "T_2.json": b'[[1,"A"],[2,"B"]]'}
    await lake.land(HOUR, files, columns={"T": {"a": "int"}})
    with pytest.raises(ViplakeError, match=r"^T_2\.json: it holds an array in place of a record, 2 times") as failed:
        await lake.ask("select count(*) from T")
    assert (failed.value.cause.word, failed.value.exit_code) == ("table_unreadable", 1)
    assert await lake.ask("select count(*) from T", partial=True) == [("2",)]
    assert lake.warnings == ["T_2.json is left out: it holds an array in place of a record, 2 times"]


@pytest.mark.parametrize(
    "body", [b'[{"a":1},null,{"a":2}]', b'{"a":1}\nnull\n{"a":2}\n', gzip.compress(b'null\n{"a":1}\n{"a":2}')]
)
async def test_H24_null_in_place_of_a_record_is_a_finding_and_no_record(body: bytes) -> None:
    found = await table({"0.json": body}, "a int")
    assert (found.rows, found.columns[0].nulls) == (2, 0)
    assert kinds(found) == [("null_record", "T_0.json", 1)]
    lake = QueriedLake()
    await lake.land(HOUR, {"T_0.json": body}, columns={"T": {"a": "int"}})
    assert await lake.ask("select count(*), sum(a) from T") == [("2", "3")]
    assert "null is in place of 1 record" in lake.warnings[0]


async def test_H26_arrays_behind_each_other_are_read() -> None:
    one, other = b'[{"a":1}]', b'[{"a":2},{"a":3}]'
    bodies = {
        "0.json.gz": gzip.compress(one) + gzip.compress(other),
        "1.json": one + other,
        "2.json": one + b"\n[]\n" + other,
    }
    for name, body in bodies.items():
        found = await table({name: body}, "a int")
        assert (found.rows, found.findings) == (3, ()), name
    broken = await table({"0.json": one + other + b"{"}, "a int")
    assert [(finding.kind, finding.byte) for finding in broken.findings] == [("unreadable_file", len(one))]


# -- wide tables ----------------------------------------------------------------------------------------------------


@pytest.mark.system
@pytest.mark.parametrize("threads", [2, 4])
async def test_H17_a_wide_table_is_counted(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: threads)
    names = [f"Column{number}" for number in range(300)]
    rows = [{name: at * place for place, name in enumerate(names)} for at in range(5000)]
    files = {"T_0.json": json.dumps(rows).encode()}
    found = await table({"0.json": files["T_0.json"]}, *(f"{name} int" for name in names))
    assert (found.rows, found.findings, found.unknown) == (5000, (), None)
    assert found.columns[-1].high == str(4999 * 299)
    lake = QueriedLake()
    await lake.land(HOUR, files, columns={"T": dict.fromkeys(names, "int")})
    assert await lake.ask("select count(*), max(Column299) from T") == [("5000", str(4999 * 299))]
    assert lake.warnings == []


@pytest.mark.long
@pytest.mark.parametrize(("width", "height", "form"), [(1000, 2048, "array"), (3000, 512, "lines")])
async def test_H17_findings_on_very_wide_records_are_those_on_narrow_ones(width: int, height: int, form: str) -> None:
    names = [f"Column{number}" for number in range(width)]
    rows: list[Any] = [{name: at * place for place, name in enumerate(names)} for at in range(height)]
    rows[5][names[7]] = {"nested": ["text, } of [", {"Column1": 1}]}
    rows[6]['say "\u00e9"'] = rows[9].pop("Column1")
    rows.insert(3, None)
    texts = [json.dumps(row) for row in rows]
    files = {"T_0.json": ("\n".join(texts) if form == "lines" else f"[{','.join(texts)}]").encode()}
    found = await table({"0.json": files["T_0.json"]}, *(f"{name} int" for name in names[:-1]))
    assert (found.rows, found.unknown) == (height, None)
    assert (found.columns[1].nulls, found.columns[2].high) == (1, str((height - 1) * 2))
    assert kinds(found) == [
        ("null_record", "T_0.json", 1),
        ("wrong_type", "Column7", 1),
        ("unexpected_column", names[-1], height),
        ("unexpected_column", 'say "\u00e9"', 1),
    ]
    lake = QueriedLake()
    await lake.land(HOUR, files, columns={"T": dict.fromkeys(names, "int")})
    assert await lake.ask(f"select count(*), max({names[-1]}) from T") == [
        (str(height), str((height - 1) * (width - 1)))
    ]


@pytest.mark.system
async def test_H17_a_broken_file_of_very_wide_records_is_named_and_the_others_are_counted() -> None:
    names = [f"Column{number}" for number in range(1000)]
    good = json.dumps([{name: at * place for place, name in enumerate(names)} for at in range(2048)]).encode()
    found = await table({"0.json": good, "1.json": good[:-5000]}, *(f"{name} int" for name in names))
    assert (found.rows, kinds(found)) == (2048, [("unreadable_file", "T_1.json", None)])


async def test_H17_too_little_memory_for_all_columns_takes_fewer_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"c{number}" for number in range(40)]
    rows = [{name: f"{name} {at}" for name in names} for at in range(50)]
    alone = await table({"0.json": json.dumps(rows).encode()}, *(f"{name} string" for name in names))
    failed: list[int] = []

    class Narrow:
        """A connection that has not memory enough for more than ten columns."""

        def __init__(self, connection: Any) -> None:
            self._connection = connection

        def execute(self, sql: str) -> Any:
            if (many := sql.count("approx_count_distinct")) > 10:
                failed.append(many)
                raise duckdb.OutOfMemoryException("too much")
            return self._connection.execute(sql)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self._connection.close()

    monkeypatch.setattr(duck, "connect", lambda root, inner=duck.connect: Narrow(inner(root)))
    found = await table({"0.json": json.dumps(rows).encode()}, *(f"{name} string" for name in names))
    assert failed == [40]
    assert found == alone


# -- names ----------------------------------------------------------------------------------------------------------


async def test_H18_a_member_that_differs_in_case_is_the_column_and_is_reported() -> None:
    found = await table({"0.json": b'[{"vesselCode": "A"}, {"vesselCode": "B"}]'}, "VesselCode string")
    [column] = found.columns
    assert (column.name, column.nulls, column.high, column.spelled) == ("VesselCode", 0, "B", "vesselCode")
    assert found.findings == ()
    lake = QueriedLake()
    await lake.land(HOUR, {"T_0.json": b'[{"vesselCode": "A"}]'}, columns={"T": {"VesselCode": "nvarchar(9)"}})
    assert await lake.ask("from T") == [("A",)]
    assert lake.warnings == ["T: column VesselCode is read from the member vesselCode"]


async def test_H18_beside_the_exact_name_it_is_another_member() -> None:
    found = await table({"0.json": b'[{"Id": 1, "ID": "x"}]'}, "Id int")
    assert kinds(found) == [("unexpected_column", "ID", 1)]


async def test_H18_a_query_warns_where_files_spell_one_column_in_two_ways() -> None:
    lake = QueriedLake()
    await lake.land(HOUR, {"T_0.json": b'[{"a": 1}]', "T_1.csv": b"A;b\n2;x\n"}, columns={"T": {"a": "int"}})
    assert await lake.ask('select a, "A_1" from T order by a') == [("1", None), (None, "2")]
    assert lake.warnings == ["T: a is null in records that have only A: see column A_1"]


async def test_H18_a_name_with_sharp_s_is_another_name() -> None:
    found = await table({"0.csv": "Straße;Strasse\nx;y\n".encode()}, "Straße string")
    assert kinds(found) == [("unexpected_column", "Strasse", 1)]
    only = await table({"0.json": b'[{"Strasse": "y"}]'}, "Straße string")
    assert kinds(only) == [("missing_column", "Straße", 1), ("unexpected_column", "Strasse", 1)]


async def test_H18_names_with_sharp_s_and_with_ss_are_two_in_a_query() -> None:
    lake = QueriedLake()
    files = {"Straße_0.json": '[{"Größe": 1, "Groesse": 2, "GRÖSSE": 3}]'.encode(), "Strasse_0.json": b'[{"a": 4}]'}
    await lake.land(HOUR, files, columns={"Straße": {"Größe": "int", "GRÖSSE": "int"}, "Strasse": {"a": "int"}})
    assert await lake.ask('select "Größe", "GRÖSSE" from "Straße"') == [("1", "3")]
    assert await lake.ask('select a from "STRASSE"') == [("4",)]
    assert lake.warnings == []


@pytest.mark.parametrize("name", ["duckdb_tables", "sqlite_master", "pragma_database_list", "duckdb_columns"])
async def test_a_table_named_like_one_of_duckdb_is_the_lake_s(name: str) -> None:
    lake = QueriedLake()
    await lake.land(HOUR, {f"{name}_0.json": b'[{"a": 42}]'}, columns={name: {"a": "int"}, "Other": {}})
    assert await lake.ask(f"select a from {name}") == [("42",)]


# -- types ----------------------------------------------------------------------------------------------------------


async def test_H19_types_of_several_hours_are_widened() -> None:
    lake = QueriedLake()
    await lake.land(HOUR, {"T_0.json": b'[{"X": 10}]'}, columns={"T": {"X": "int"}})
    await lake.land(HOUR.shift(1), {"T_0.json": b'[{"X": 9}]'}, columns={"T": {"X": "decimal(9,2)"}})
    assert await lake.ask("select max(X), typeof(max(X)) from T", since=HOUR) == [("10.00", "DECIMAL(21,2)")]


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("int", "bigint", "bigint"),
        ("decimal(9,2)", "decimal(12,6)", "decimal(13, 6)"),
        ("int", "float", "double"),
        ("decimal(38,0)", "decimal(38,38)", "double"),
        ("date", "datetime", "timestamp"),
        ("int", "nvarchar(5)", "varchar"),
        ("bit", "int", "varchar"),
        ("nvarchar(5)", "nvarchar(9)", "varchar"),
    ],
)
def test_H19_the_wider_of_two_types(one: str, other: str, both: str) -> None:
    first, second = type_of(one), type_of(other)
    assert first is not None
    assert second is not None
    assert widened(first, second).sql == widened(second, first).sql == both


@pytest.mark.parametrize(
    ("declared", "sql"),
    [
        ("DECIMAL (18 , 2)", "decimal(18, 2)"),
        ("dec(9,3)", "decimal(9, 3)"),
        ("NUMBER(10,2)", "decimal(10, 2)"),
        ("number(10)", "decimal(10, 0)"),
        ("number", "double"),
        ("[numeric](19,4)", "decimal(19, 4)"),
        ("decimal(38,38)", "decimal(38, 38)"),
        ("decimal(39,2)", "decimal(38, 2)"),
        ("smallmoney", "decimal(10, 4)"),
        ("decimal(2,5)", "decimal(38, 10)"),
        ("float(53)", "double"),
    ],
)
def test_H20_each_spelling_of_a_decimal_keeps_its_scale(declared: str, sql: str) -> None:
    found = type_of(declared)
    assert found is not None
    assert found.sql == sql


@pytest.mark.parametrize("form", ["json", "csv", "lines"])
async def test_H20_decimals_are_exact(form: str) -> None:
    values = ["0.10", "0.20", "12345678901234567.89"]
    bodies = {
        "json": "[" + ",".join(f'{{"D": {value}}}' for value in values) + "]",
        "lines": "\n".join(f'{{"D": {value}}}' for value in values),
        "csv": "D\n" + "\n".join(values) + "\n",
    }
    name = "T_0.csv" if form == "csv" else "T_0.json"
    lake = QueriedLake()
    await lake.land(HOUR, {name: bodies[form].encode()}, columns={"T": {"D": "decimal(28,8)"}})
    assert await lake.ask("select sum(D) from T where D < 1") == [("0.30000000",)]
    assert await lake.ask("select max(D) from T") == [("12345678901234567.89000000",)]
    assert await lake.ask("from T", types) == {"D": "DECIMAL(28,8)"}
    found = await table({name[2:]: bodies[form].encode()}, "D decimal(28,8)")
    assert (found.columns[0].high, found.findings) == ("12345678901234567.89", ())


@pytest.mark.parametrize("value", ["9007199254740993.5", '"9007199254740993.5"', "9223372036854775807.5"])
async def test_H21_a_large_number_that_is_not_whole_is_no_bigint(value: str) -> None:
    body = f'[{{"a": 9007199254740993}}, {{"a": 9223372036854775807}}, {{"a": {value}}}]'.encode()
    found = await table({"0.json": body}, "a bigint")
    assert kinds(found) == [("wrong_type", "a", 1)]
    assert (found.columns[0].low, found.columns[0].high) == ("9007199254740993", "9223372036854775807")


@pytest.mark.parametrize(
    ("declared", "good", "wrong", "beyond"),
    [
        ("smallint", ["32767", "-32768", "7.0"], ["1_000", "x"], ["70000", "-32769"]),
        ("tinyint", ["0", "255"], [], ["-1", "256"]),
        ("int", ["2147483647"], [], ["2147483648"]),
        ("Integer", ["9000000000"], ["9" * 30], []),
        ("nvarchar(12)", ["x" * 12, ""], [], ["x" * 13, "é" * 50]),
        ("nvarchar(max)", ["x" * 5000], [], []),
        ("decimal(5,2)", ["123.45", "999.99", "1e2"], ["1_0"], ["123456.789", "1000", "1.239", "1e300"]),
        ("money", ["922337203685477.5807"], [], ["1.23456"]),
        ("decimal", ["123456.789"], [], []),
    ],
)
async def test_H25_values_beyond_their_declared_size_are_counted_by_themselves(
    declared: str, good: list[str], wrong: list[str], beyond: list[str]
) -> None:
    body = json.dumps([{"a": value} for value in [*good, *wrong, *beyond]]).encode()
    found = await table({"0.json": body}, f"a {declared}")
    [column] = found.columns
    assert (column.nonconforming, column.beyond) == (len(wrong), len(beyond))
    kind = "too_long" if "char" in declared else "out_of_range"
    expected = [("wrong_type", "a", len(wrong))] * bool(wrong) + [(kind, "a", len(beyond))] * bool(beyond)
    assert kinds(found) == expected
    content = await looked({"T_0.json": body}, json.dumps([{"DataObjectName": "T"}]).encode())
    assert from_bytes(to_bytes(content)) == content


async def test_H14_a_record_of_the_future_is_a_finding_and_the_other_tables_are_judged() -> None:
    times = [f"2022-05-{day:02}T12:00:00" for day in (9, 10)] * 12
    body = [{"LastUpdateGMT": time} for time in times]
    files = {"T_0.json": [*body, {"LastUpdateGMT": "2032-05-10T12:00:00"}], "U_0.json": body}
    content = await looked({name: json.dumps(rows).encode() for name, rows in files.items()})
    odd, usual = content.tables
    assert [(finding.kind, finding.detail) for finding in odd.findings] == [
        ("future_time", f"the newest record time is 2032-05-10 12:00 UTC, after the export of {HOUR}")
    ]
    assert (odd.newest, odd.span_hours, odd.rows) == (None, None, 25)
    assert (usual.findings, usual.span_hours, content.look_back_hours) == ((), 24, 24)
    assert from_bytes(to_bytes(content)) == content
    summary = f"T in {HOUR}: {odd.findings[0].detail}"
    assert nonconforming(CheckedContent(HOUR, content)) == [Odd("T", summary)]
    near = await looked({"T_0.json": json.dumps([{"LastUpdateGMT": "2022-05-11T10:00:00"}]).encode()})
    assert near.findings == (), "a time without a zone may be a local one"


# -- the schema -----------------------------------------------------------------------------------------------------


def one_table(*columns: dict[str, Any], **more: Any) -> dict[str, TableSchema]:
    found = read_schema(json.dumps([{"DataObjectName": "T", "Columns": list(columns), **more}]).encode())
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"MaxLength": 12}, {"MaxLength": 50}, "column A changed from nvarchar(12) to nvarchar(50)"),
        ({"MaxLength": 12}, {"MaxLength": -1}, "column A changed from nvarchar(12) to nvarchar(max)"),
        (
            {"Type": "decimal", "Precision": 28, "Scale": 2},
            {"Type": "decimal", "Precision": 28, "Scale": 4},
            "column A changed from decimal(28,2) to decimal(28,4)",
        ),
        ({"IsNullable": True}, {"IsNullable": False}, "column A changed from nvarchar to nvarchar not null"),
        ({"IsKey": False}, {"IsKey": True}, "key changed from none to (A)"),
    ],
)
def test_H22_sizes_nullability_and_keys_are_changes(before: Any, after: Any, words: str) -> None:
    old, new = (one_table({"Name": "A", "Type": "nvarchar"} | one) for one in (before, after))
    assert [change.what for change in changes(old, new)] == [words]
    assert changes(old, old) == []


@pytest.mark.parametrize("after", ["INT", "Int", None, ""])
def test_a_type_in_other_letters_or_no_type_is_no_change(after: str | None) -> None:
    old, new = one_table({"Name": "A", "Type": "int"}), one_table({"Name": "A", "Type": after})
    assert changes(old, new) == changes(new, old) == []


def test_H22_removed_columns_are_a_change_and_an_empty_list_is_not() -> None:
    full, empty = one_table({"Name": "A", "Type": "int"}), one_table()
    assert [change.what for change in changes(full, empty)] == ["its 1 columns are no longer in the schema"]
    assert changes(empty, full) == changes(empty, empty) == []


def test_H22_entries_may_be_nested() -> None:
    data = [
        {"DataObjectName": "T", "Definition": {"Columns": [{"Name": "A", "Type": {"DataType": "decimal", "Scale": 2}}]}}
    ]
    found = read_schema(json.dumps(data).encode())
    assert found == {"T": TableSchema({"A": "decimal(38,2)"})}


@pytest.mark.parametrize(
    ("marks", "key"),
    [
        ([1, 2, 0], ("A", "B")),
        ([2, 1, None], ("B", "A")),
        (["2", "1", ""], ("B", "A")),
        ([1, 1, 0], ("A", "B")),
        ([1, 0, 0], ("A",)),
        ([2, 2, 1], ()),
        ([True, True, False], ("A", "B")),
    ],
)
def test_H23_ordinals_give_the_columns_and_the_order_of_a_key(marks: list[Any], key: tuple[str, ...]) -> None:
    columns = [{"Name": name, "Type": "int", "PrimaryKey": mark} for name, mark in zip("ABC", marks, strict=True)]
    assert one_table(*columns)["T"].key == key


def test_H23_a_key_may_be_listed_by_the_table() -> None:
    columns = [{"Name": name, "Type": "int"} for name in "ABC"]
    assert one_table(*columns, PrimaryKey=["B", "A"])["T"].key == ("B", "A")
    assert one_table(*columns, PrimaryKey="C")["T"].key == ("C",)
    assert one_table(*columns, PrimaryKey=["Z"])["T"].key == ()


async def test_H23_records_that_differ_in_one_column_of_the_key_are_no_duplicates() -> None:
    columns = [{"Name": "A", "Type": "int", "PrimaryKey": 1}, {"Name": "B", "Type": "int", "PrimaryKey": 2}]
    schema = json.dumps([{"DataObjectName": "T", "Columns": columns}]).encode()
    content = await looked({"T_0.json": b'[{"A":1,"B":1},{"A":1,"B":2}]'}, schema)
    assert (content.tables[0].duplicates, content.findings) == (0, ())


# -- forms ----------------------------------------------------------------------------------------------------------

JSON = b'[{"a": 1, "b": "x"}, {"a": 2, "b": null}]'
CSV = b"a,b\n1,x\n2,\n"


def parquet(folder: Path) -> bytes:
    path = folder / "made.parquet"
    with duckdb.connect() as connection:
        rows = "select * from (values (1::int, 'x'), (2, null)) t(a, b)"
        connection.execute(f"copy ({rows}) to '{path}' (format parquet)")
    return path.read_bytes()


FORMS: dict[str, bytes] = {
    "0.json": JSON,
    "0.json.gz": gzip.compress(JSON),
    "0.gz": gzip.compress(JSON),
    "1.gz": gzip.compress(CSV),
    "0.zip": zipped({"deep/er/one.json": JSON}),
    "1.zip": zipped({"one.json": JSON[:19] + b"]", "two.csv": b"b;a\n;2\n", "__MACOSX/._x": b"\0", "load.sql": b"x"}),
    "2.zip": zipped({"T.json.gz": gzip.compress(JSON)}, zipfile.ZIP_STORED),
    "0.csv": CSV,
    "1.csv": b"\xef\xbb\xbf" + CSV.replace(b",", b";").replace(b"\n", b"\r\n"),
    "2.csv": CSV.replace(b",", b"\t"),
    "3.csv": b"\r\n \r\n" + CSV,
    "4.csv": b'"a"; "b"\n1;x\n2;\n',
    "0.csv.gz": gzip.compress(CSV),
    "0.txt": CSV.replace(b",", b"|"),
}


@pytest.mark.parametrize("name", [*FORMS, "0.parquet", "0.parquet.gz"])
async def test_every_form_of_a_table_gives_its_records(name: str, tmp_path: Path) -> None:
    body = FORMS.get(name) or parquet(tmp_path)
    if name == "0.parquet.gz":
        body = gzip.compress(body)
    found = await table({name: body}, "a int", "b nvarchar(5)")
    assert (found.rows, found.conformance, found.files) == (2, "passed", 1)
    assert [(one.low, one.high, one.nulls) for one in found.columns] == [("1", "2", 0), ("x", "x", 1)]
    lake = QueriedLake()
    await lake.land(HOUR, {f"T_{name}": body}, columns={"T": {"a": "int", "b": "nvarchar(5)"}})
    assert await lake.ask("select a, b from T order by a") == [("1", "x"), ("2", None)]
    assert await lake.ask("select hour, a from T order by a", since=HOUR) == [
        (f"{HOUR.start:%Y-%m-%dT%H:%M:%S}", "1"),
        (f"{HOUR.start:%Y-%m-%dT%H:%M:%S}", "2"),
    ]
    assert lake.warnings == []


async def test_a_delimiter_within_a_quoted_name_of_the_header_loses_no_record() -> None:
    found = await table({"0.csv": b'"a";"b";"c,d,e,f"\n1;x;1\n2;y;2\n'}, "a int", "b string", "c,d,e,f int")
    assert (found.rows, found.findings) == (2, ())


async def test_forms_of_one_table_are_read_together_and_without_a_schema_too(tmp_path: Path) -> None:
    files = {f"T_{name}": body for name, body in FORMS.items()} | {"T_0.parquet": parquet(tmp_path)}
    [found] = (await looked(files)).tables
    assert (found.table, found.rows, found.findings) == ("T", 2 * len(files), ())
    assert [(column.name, column.nulls) for column in found.columns] == [("a", 0), ("b", len(files))]


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("0.avro", b"Obj\x01\x04\x14avro.codec", "its form is Avro, which is not read"),
        ("0.json.zst", b"\x28\xb5\x2f\xfd\x04\x00aaaaaa", "its form is Zstandard, which is not read"),
        ("0.orc", b"ORC\x08\x03\x10\x00\x00", "its form is ORC, which is not read"),
        ("0.bz2", b"BZh91AY&SY", "its form is bzip2, which is not read"),
        ("0.xml", b"<?xml version='1.0'?><rows/>", "its form is XML, which is not read"),
        ("1.xml.gz", gzip.compress(b"<rows><row a='1'/></rows>"), "its form is XML, which is not read"),
        (
            "0.xlsx",
            zipped({"xl/workbook.xml": b"<?xml version='1.0'?><workbook/>"}),
            "its form is Excel, which is not read",
        ),
        ("0.html", b"<html><table/></html>", "it is a page of HTML"),
        ("0.pdf", b"%PDF-1.7\n1 0 obj\n", "its form is PDF, which is not read"),
        ("0.log", b"\0\1\2", "its form is not known"),
        ("0.dat", bytes(range(200)), "its form is not known"),
        ("0.csv", b"a,a\n1,2\n", "one name twice"),
        ("1.csv", b"a,b\n1,2\n1,2,3\n", "it cannot be read as CSV with its 2 columns"),
        ("2.csv", b"\n\na,b\n1,2\n1,2,3\n", "it cannot be read as CSV with its 2 columns, in line 5"),
        ("3.csv", b'"a"x,"b"\n1,2\n', "its first line is no header of a CSV file"),
        ("4.csv", b'"a,b\n1,2\n', "its first line is no header of a CSV file"),
        ("0.parquet", b"PAR1 and no more", "it cannot be read as Parquet"),
        ("0.zip", zipped({"a.json": JSON})[:-30], "the zip file is damaged"),
        ("1.zip", zipped({"in.zip": zipped({"a.json": JSON})}), "a zip file within another file, which is not read"),
        ("2.zip", zipped({}), "there is nothing in it"),
        ("3.zip", zipped({"a.json": b"<html>"}), "its member a.json: it is a page of HTML"),
    ],
)
async def test_a_form_that_is_not_read_is_named_and_the_table_counts_as_delivered(
    name: str, body: bytes, words: str
) -> None:
    found = await table({"9.json": JSON, name: body}, "a int", "b string")
    [finding] = found.findings
    assert (found.rows, found.files, finding.file) == (2, 2, f"T_{name}")
    assert words in finding.detail
    lake = QueriedLake()
    await lake.land(HOUR, {f"T_{name}": body}, columns={"T": {"a": "int"}})
    with pytest.raises(ViplakeError, match=f"T_{name}") as failed:
        await lake.ask("from T")
    assert failed.value.cause.word == "table_unreadable"


async def test_a_table_that_comes_as_xml_alone_is_unreadable_and_a_script_is_no_file_of_it() -> None:
    files = {"T.xml": b"<?xml version='1.0'?><rows/>", "T.sql": b"create table T (a int)"}
    for schema in (table_schema("a int"), None):
        [found] = (await looked(files, schema)).tables
        assert [(one.kind, one.file) for one in found.findings] == [("unreadable_file", "T.xml")]
        assert (found.table, found.files) == ("T", 1)


@pytest.mark.system
async def test_A6_a_zip_bomb_is_left_at_its_cap() -> None:
    body = zipped({"a.json": b"[" + b" " * (200 << 20) + b"]"})
    found = await table({"0.zip": body}, "a int")
    assert "more than 200 times its size" in found.findings[0].detail
    many = zipped({f"{number}.json": b"[" + b" " * (9 << 20) + b"]" for number in range(9)})
    assert "more than 200 times its size" in (await table({"0.zip": many}, "a int")).findings[0].detail


@pytest.mark.parametrize(
    "path", ["../../../out.json", "/tmp/out.json", "C:\\out.json", "a/../../out.json", "\x1b[2J.json"]
)
async def test_U8_a_path_in_a_zip_file_is_only_a_name(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "in"))
    (tmp_path / "in").mkdir()
    before = set(tmp_path.parent.rglob("*.json"))
    found = await table({"0.zip": zipped({path: JSON, "bad.json": b"{"})}, "a int", "b string")
    assert found.rows == 2
    assert all(finding.detail.isprintable() for finding in found.findings)
    assert set(tmp_path.parent.rglob("*.json")) == before


async def test_U8_links_and_locked_members_of_a_zip_file_are_not_followed() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        link = zipfile.ZipInfo("link.json")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("a.json", JSON)
    found = await table({"0.zip": target.getvalue()}, "a int", "b string")
    assert (found.rows, found.findings) == (2, ())
    locked = bytearray(zipped({"a.json": JSON}, zipfile.ZIP_STORED))
    for at in (6, locked.rindex(b"PK\x01\x02") + 8):
        locked[at] |= 1
    refused = await table({"0.zip": bytes(locked)}, "a int")
    assert "it is encrypted" in refused.findings[0].detail


# -- errors of a query ----------------------------------------------------------------------------------------------


async def test_a_slip_in_sql_is_shown_in_lines_with_the_mark_below_the_place() -> None:
    lake = QueriedLake()
    await lake.land(HOUR, {"T_0.json": JSON}, columns={"T": {"a": "int"}})
    for sql in ("select nope from T", "select a,\n nope from T", "selec a from T"):
        with pytest.raises(SettingsError) as slip:
            await lake.ask(sql)
        *_, line, mark = slip.value.message.split("\n")
        word = "selec" if sql.startswith("selec ") else "nope"
        place = mark.index("^")
        assert line.startswith(f"LINE {sql[: sql.index(word)].count(chr(10)) + 1}:")
        assert line[place:].startswith(word)


async def test_a_table_that_this_hour_lacks_names_the_newest_hour_that_has_it() -> None:
    lake = QueriedLake()
    columns = {"T": {"a": "int"}, "Gone": {"a": "int"}}
    await lake.land(HOUR, {"T_0.json": JSON, "Gone_0.json": JSON}, columns=columns)
    for later in range(1, 4):
        await lake.land(HOUR.shift(later), {"T_0.json": JSON}, columns=columns)
    with pytest.raises(SettingsError, match=f"the newest Hour that has it is {HOUR}") as lacking:
        await lake.ask("from gone")
    assert f"--at {HOUR}" in lacking.value.hint
