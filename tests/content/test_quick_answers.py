"""The ways in which content checks save time find what the thorough ones find, in every file and kind of value."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from content.tables import READABLE, ROWS, UNREADABLE
from content.test_examine import looked, table
from viplake.content import examine
from viplake.content.plain_numbers import is_quick, quick_cells, settled
from viplake.content.profiling import _shown, profile_in_parts, values_sql
from viplake.tables import array_parts, duck
from viplake.tables.types import type_of

if TYPE_CHECKING:
    from pathlib import Path

    from viplake.content.profiling import HourContent, TableContent
    from viplake.tables.staged import Staged

TYPES: Final = (
    "int", "tinyint", "smallint", "bigint", "float", "decimal", "decimal(9,2)", "decimal(28,8)", "decimal(18,0)",
    "decimal(38,14)", "money", "number(10)",
)  # fmt: skip

VALUES: Final = (
    "0", "1", "-1", "5", "1.0", "1.5", "-0", "-0.0", "1e2", "1E-3", "1e-7", "1.5e-300", "1e15", "1e16", "1e22", "1e300",
    "1e999", "-1e999", "255", "256", "32768", "2147483648", "9007199254740991", "9007199254740992", "9007199254740993",
    "9223372036854775807", "9223372036854775808", "18446744073709551616", "0.1", "0.123", "0.12345678", "0.123456789",
    "0.12345678901", "9999999.99", "9999999.999", "10000000", "123456789012.25", "12345678.12345678", "0.123456789012",
    "922337203685477.5", "922337203685477.6", "99999999999999.9", "999999999999999", "1000000000000001", "1.0000001",
    "1.0000000000001", "999999999999999.9", "-99999.99", "NaN", "Infinity", "-Infinity", "true", "false", "null", "{}",
    "[]", "[1]", '{"x": 1}', '""', '"0"', '"1"', '"12"', '" 12 "', '"+12"', '"-12"', '"1_000"', '"0x1f"', '"0b1"',
    '"1.5"', '".5"', '"5."', '"1e3"', '"1d"', '"NaN"', '"inf"', '"-inf"', '"true"', '"TRUE"', '"yes"', '"null"',
    '"1,5"', '"x"', '"\\u0031"', '"2022-05-10"',
)  # fmt: skip
"""As JSON."""


def some_numbers() -> list[str]:
    rng = random.Random(1)
    found = []
    for _ in range(300):
        digits = rng.randrange(1, 17)
        text, at = str(rng.randrange(10**digits)), rng.randrange(digits)
        shape = rng.choice([text, f"{text[:at] or 0}.{text[at:] or 0}", f"{text}e{rng.randrange(-9, 9)}"])
        found.append(rng.choice(["", "-"]) + shape)
        found.append(f"{rng.uniform(-(10**4), 10**4):.{rng.randrange(4)}f}")
    return found


@pytest.mark.parametrize("declared", TYPES)
def test_a_quick_answer_that_settles_a_column_is_the_thorough_one(declared: str, tmp_path: Path) -> None:
    columns = [[*others, value] for others in ([], ["7"], ["7.25", "null"]) for value in (*VALUES, *some_numbers())]
    path = tmp_path / "values.json"
    path.write_text("\n".join(f'{{"g": {at}, "v": {value}}}' for at, some in enumerate(columns) for value in some))
    of = type_of(declared)
    assert of is not None
    assert is_quick(of)
    cells, tried = quick_cells("c0", of)
    with duck.connect(tmp_path) as connection:

        def answers(kind: str, sql: str) -> dict[int, tuple[object, ...]]:
            source = f"read_json('{path}', format = 'newline_delimited', columns = {{g: 'INT', v: '{kind}'}})"
            records = f"with records as (select g, cast(v as varchar) as c0 from {source}) {sql}"
            return {group: tuple(rest) for group, *rest in connection.execute(records).fetchall()}

        steps = ", ".join(f"{sql} as {name}" for name, sql in tried.items())
        quick = answers("JSON", f"select g, {', '.join(cells)} from (select g, c0, {steps} from records) group by g")
        slow = answers("VARCHAR", values_sql(of, "g"))
    both = 0
    for group, some in enumerate(columns):
        found = settled(of, quick[group])
        if found is not None:
            both += 1
            one, other = (
                (present, _shown(of.kind, low), _shown(of.kind, high), good, beyond)
                for present, _, low, high, good, beyond in (found, slow[group])
            )
            assert one == other, some
    assert 30 < both < len(columns)


def comparable(content: HourContent) -> list[TableContent]:
    """The tables, without what both ways estimate by themselves: how many values differ."""
    return [
        replace(found, columns=tuple(replace(column, distinct=0) for column in found.columns))
        for found in content.tables
    ]


def thorough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make content checks read every table by itself, whole, and convert each value as text."""
    monkeypatch.setattr(examine, "quick_columns", lambda _: frozenset())
    monkeypatch.setattr(duck, "members_together", lambda *_: {})
    monkeypatch.setattr(array_parts, "PART", 1 << 60)


ODD: Final = {
    "nulls.json": b'[{"a":1},null,{"a":2}]',
    "arrays.json": b'[{"a":1}][{"a":2},{"a":3}]',
    "spelled.json": b'[{"A":1},{"A":true}]',
    "both.json": b'[{"a":1,"A":2}]',
    "truth.json": b'[{"a":5,"b":1},{"a":true,"b":2}]',
    "texts.json": b'[{"a":"5"},{"a":" 7"},{"a":"1_000"},{"a":""}]',
    "other.csv": b"a,b\n1,x\ntrue,y\n",
}


@pytest.mark.system
@pytest.mark.parametrize("together", ["readable", "all"])
async def test_every_file_of_the_tests_has_the_same_findings(together: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = {name: data for name, (data, _) in READABLE.items()} | ODD
    if together == "all":  # a file that is no JSON spoils the one query over the members of all
        bodies |= {name: bad.data for name, bad in UNREADABLE.items()}
    files = {f"T{number:03}_{name}": data for number, (name, data) in enumerate(bodies.items())}
    columns = [{"Name": "a", "Type": "int"}, {"Name": "b", "Type": "decimal(9,2)"}, {"Name": "c", "Type": "float"}]
    schema = json.dumps([{"DataObjectName": name[:4], "Columns": columns} for name in files]).encode()
    monkeypatch.setattr(array_parts, "PART", 1000)
    quick = await looked(files, schema)
    thorough(monkeypatch)
    slow = await looked(files, schema)
    assert comparable(quick) == comparable(slow)
    assert {table.table for table in quick.tables if table.findings} >= {
        name[:4] for name in files if name[5:] in UNREADABLE
    }


async def test_true_among_numbers_is_no_number() -> None:
    found = await table({"0.json": ODD["truth.json"]}, "a int", "b int")
    [finding] = found.findings
    assert (finding.kind, finding.column, finding.examples) == ("wrong_type", "a", ("true",))


@pytest.mark.parametrize("value", ["3.5216795956288e18", "-35216795956288e5", '"1.2e18"'])
async def test_an_exponent_beyond_the_declared_digits_is_out_of_range(value: str) -> None:
    found = await table({"0.json": f'[{{"a": 1}}, {{"a": {value}}}]'.encode()}, "a decimal(18,0)")
    assert [(finding.kind, finding.count) for finding in found.findings] == [("out_of_range", 1)]


async def test_plain_numbers_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def queries(*given: object) -> list[str]:
        asked.extend(found := profile_in_parts(*given))  # type: ignore[arg-type]
        return found

    monkeypatch.setattr(examine, "profile_in_parts", queries)
    rows = [{"a": 1, "b": 2.5, "c": 1e3, "d": None}, {"a": -4, "b": 0, "c": 0.1, "d": None}]
    files = {"0.json": json.dumps(rows).encode()}
    found = await table(files, "a int", "b decimal(9,2)", "c float", "d int")
    ends = [(column.low, column.high) for column in found.columns]
    assert ends == [("-4", "1"), ("0.0", "2.5"), ("0.1", "1000.0"), (None, None)]
    assert len(asked) == 1
    assert "decimal" not in asked[0]


@pytest.mark.parametrize("key", [(), ("a",)])
async def test_a_large_array_is_read_in_parts(key: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"a": number % 97, "b": "x" if number % 7 else 2.5, "c": f"2022-05-1{number % 9}"} for number in range(900)]
    files = {"0.json": json.dumps(rows).encode(), "1.json": json.dumps(rows[:9]).encode()}
    columns = ("a int", "b decimal", "c date", "gone string")
    alone = await table(files, *columns, key=key)
    monkeypatch.setattr(array_parts, "PART", 1000)
    monkeypatch.setattr(array_parts, "_BLOCK", 300)
    made: list[int] = []
    cut = array_parts.parts

    def parts(file: Staged) -> list[Staged]:
        found = cut(file)
        made.append(len(found))
        return found

    monkeypatch.setattr(array_parts, "parts", parts)
    assert await table(files, *columns, key=key) == alone
    assert min(made) == 1
    assert max(made) > 10
    bad = await table({**files, "2.json": b'[{"a": 1]'}, *columns, key=key)
    assert [finding.file for finding in bad.findings if finding.kind == "unreadable_file"] == ["T_2.json"]
    assert bad.rows == alone.rows


@pytest.mark.parametrize(
    "odd",
    [
        {"a": [{"a": 1}, {"a": 2}, {"a": 3}]},
        {"a": 1, "t": '}, {"a": 2}, {"a": 3'},
        {"a": {"a": [{"a": 1}, {"a": 2}]}, "t": "]}]"},
    ],
)
async def test_a_cut_within_a_record_leaves_the_records_as_they_are(
    odd: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"0.json": json.dumps([odd] * 300).encode(), "1.json.gz": gzip.compress(json.dumps(ROWS).encode())}
    alone = await table(files, "a string", "t string")
    monkeypatch.setattr(array_parts, "PART", 500)
    monkeypatch.setattr(array_parts, "_BLOCK", 100)
    assert await table(files, "a string", "t string") == alone
    assert (alone.rows, alone.unknown) == (3300, None)
