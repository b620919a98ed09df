"""A query sees the tables that landed and the history, exactly, and nothing else."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from faults import WITHHOLDING, Fault, Flaky, Tripwire, lake_down
from history.lakes import LAYOUT, at, memory
from viplake.commands.query import SHOWN_ROWS, print_answer
from viplake.content.examine import ContentSettings, examine
from viplake.content.records import keep
from viplake.errors import WITHHELD, LakeError, SettingsError, ViplakeError
from viplake.history.build import HistoryLocation, ObserveSettings, Scope, observe
from viplake.history.datasets import PARQUET_DATASETS
from viplake.lake import Lake
from viplake.lake.layout import RECEIPT_NAME, SCHEMA_NAME
from viplake.lake.store import open_store
from viplake.model import Hour
from viplake.query.query import QueryRequest, query
from viplake.query.result import being_written
from viplake.query.views import history

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from servers.seaweed import Seaweed
    from viplake.lake.store import Store
    from viplake.query.result import QueryResult

HOUR = Hour.parse("2022-05-10T13")
VOYAGE = {"VoyageId": "int", "Freight": "decimal(28, 8)", "Open": "bit", "Laycan": "date", "ChangedGMT": "datetime"}
RECORD = {
    "VoyageId": 7,
    "Freight": 1.5,
    "Open": True,
    "Laycan": "2022-05-01",
    "ChangedGMT": "2022-05-10T12:30:00Z",
    "Remark": "rain",
}


def schema(tables: Mapping[str, Mapping[str, str]]) -> bytes:
    """A `_MasterTableSchema.json` that tells columns."""
    entries = [
        {"DataObjectName": table, "Elements": [{"Name": name, "Type": kind} for name, kind in columns.items()]}
        for table, columns in tables.items()
    ]
    return json.dumps(entries).encode()


@dataclass
class QueriedLake:
    """A lake to ask.

    Attributes:
        warnings: what the last query left out.
    """

    store: Store = field(default_factory=memory)
    warnings: list[str] = field(default_factory=list)

    @property
    def lake(self) -> Lake:
        return Lake(self.store, LAYOUT)

    async def land(
        self,
        hour: Hour,
        files: Mapping[str, bytes],
        *,
        columns: Mapping[str, Mapping[str, str]] | None = None,
        proven: bool = True,
    ) -> None:
        put = dict(files)
        if columns is not None:
            put[SCHEMA_NAME] = schema(columns)
        if proven:
            put[RECEIPT_NAME] = b"{}"
        for name, data in put.items():
            await self.store.put(LAYOUT.file(hour, name), data)

    async def ask(self, sql: str, take: Any = None, *, writes: tuple[Path, ...] = (), **asked: Any) -> Any:
        """What `take` makes of the answer; its rows where there is no such thing."""
        self.warnings.clear()
        return await query(
            self.lake,
            HistoryLocation.within(self.lake),
            QueryRequest(sql, **asked),
            take or (lambda answer: list(answer.rows())),
            warn=self.warnings.append,
            writes=writes,
        )


def zipped(*records: Any) -> bytes:
    return gzip.compress(json.dumps(records).encode())


@pytest.fixture
async def lake() -> QueriedLake:
    """One proven Hour with two tables, and one table that the schema does not tell columns of."""
    found = QueriedLake()
    files = {
        "Voyage_0001.json.gz": zipped(RECORD, {"VoyageId": 8}),
        "Voyage_0002.json.gz": zipped({"VoyageId": 9}),
        "Port_0001.json.gz": b'{"PortId": 1}\n{"PortId": 2}\n',
        "Plain_0001.json": b'[{"B": 1.5, "A": "x"}]',
    }
    await found.land(HOUR, files, columns={"Voyage": VOYAGE, "Port": {"PortId": "int"}, "Plain": {}})
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def types(answer: QueryResult) -> dict[str, str]:
    return {column.name: column.type for column in answer.columns}


# -- tables ---------------------------------------------------------------------------------------------------------


async def test_a_table_has_the_types_of_its_schema_and_further_members_as_text(lake: QueriedLake) -> None:
    assert await lake.ask("from Voyage", types) == {
        "VoyageId": "BIGINT",
        "Freight": "DECIMAL(28,8)",
        "Open": "BOOLEAN",
        "Laycan": "DATE",
        "ChangedGMT": "TIMESTAMP",
        "Remark": "VARCHAR",
    }
    rows = await lake.ask("from voyage order by VoyageId")
    assert rows[0] == ("7", "1.50000000", "true", "2022-05-01", "2022-05-10T12:30:00", "rain")
    assert [row[0] for row in rows] == ["7", "8", "9"]
    assert lake.warnings == []


async def test_a_table_without_columns_in_the_schema_is_text_in_the_order_of_its_records(lake: QueriedLake) -> None:
    assert await lake.ask("from Plain", types) == {"B": "VARCHAR", "A": "VARCHAR"}
    assert await lake.ask("from Plain") == [("1.5", "x")]


async def test_rows_stay_in_the_order_of_the_files(lake: QueriedLake) -> None:
    rows = [{"PortId": number} for number in range(30_000)]
    await lake.land(HOUR, {"Port_0001.json.gz": zipped(*rows[:15_000]), "Port_0002.json.gz": zipped(*rows[15_000:])})
    assert [int(row[0]) for row in await lake.ask("from Port")] == list(range(30_000))


@pytest.mark.parametrize(
    ("declared", "value", "shown"),
    [
        ("int", 1.5, None),
        ("int", "12.0", "12"),
        ("bigint", 9007199254740993, "9007199254740993"),
        ("bigint", 2**63, None),
        ("int", "NaN", None),
        ("int", "twelve", None),
        ("decimal", "Infinity", None),
        ("decimal", "NaN", None),
        ("decimal", "-0.25", "-0.2500000000"),
        ("double", "-0.25", "-0.25"),
        ("bit", "maybe", None),
        ("date", "2022-02-30", None),
        ("datetime", "2022-05-10T12:30:00.1234567", "2022-05-10T12:30:00.123456"),
        ("datetimeoffset", "2022-05-10T12:30:00+02:00", "2022-05-10T10:30:00"),
        ("datetime", "soon", None),
        ("nvarchar(10)", {"a": [1]}, '{"a":[1]}'),
        ("hieroglyph", "x", "x"),
    ],
)
async def test_a_value_has_the_declared_type_or_is_null(declared: str, value: Any, shown: str | None) -> None:
    lake = QueriedLake()
    await lake.land(HOUR, {"T_1.json": json.dumps([{"C": value}]).encode()}, columns={"T": {"C": declared}})
    [(found,)] = await lake.ask("from T")
    assert found is None if shown is None else found is not None and found.replace(" ", "") == shown


async def test_only_the_tables_that_a_query_names_are_read(lake: QueriedLake) -> None:
    wire = Tripwire(verbs=("read",))
    lake.store = Flaky(lake.store, wire)
    await lake.ask("with Port as (select 1 as PortId) select * from Port join (from Voyage) on true")
    assert {call.rpartition("/")[2] for call in wire.calls} == {"Voyage_0001.json.gz", "Voyage_0002.json.gz"}
    wire.calls.clear()
    assert ("Port",) in await lake.ask("show tables")
    assert await lake.ask("select column_name, data_type from information_schema.columns where table_name = 'Port'")
    assert wire.calls == []


async def test_the_list_of_tables_has_those_of_the_lake_and_no_internal_ones(lake: QueriedLake) -> None:
    shown = {name for (name,) in await lake.ask("show tables")}
    assert shown == {"Plain", "Port", "Voyage"} | {view.name for view in history()}


async def test_tables_are_found_in_statements_that_need_their_columns(lake: QueriedLake) -> None:
    assert await lake.ask("select count(*) from Voyage a join Voyage b using (VoyageId)") == [("3",)]
    assert await lake.ask("pivot Port on PortId using count(*)") == [("1", "1")]
    assert (await lake.ask("show Port"))[0][:2] == ("PortId", "BIGINT")
    assert (await lake.ask("summarize Port"))[0][:4] == ("PortId", "BIGINT", "1", "2")
    assert "json" in (await lake.ask("explain from Port"))[0][1].casefold()


async def test_a_table_that_was_not_brought_here_never_looks_empty(lake: QueriedLake) -> None:
    hidden = "select count(*) from query('from Vo' || 'yage') v, Port p join Port q using (PortId)"
    with pytest.raises(SettingsError, match="Voyage was not read"):
        await lake.ask(hidden)


# -- which Hours ----------------------------------------------------------------------------------------------------


async def test_the_newest_hour_with_a_receipt_is_queried(lake: QueriedLake) -> None:
    await lake.land(HOUR.shift(-1), {"Voyage_1.json": b'[{"VoyageId": 1}]'})
    await lake.land(HOUR.shift(30), {"Voyage_1.json": b'[{"VoyageId": 99}]'}, proven=False)
    assert await lake.ask("select max(VoyageId) from Voyage") == [("9",)]
    assert await lake.ask("select max(VoyageId) from Voyage", unproven=True) == [("99",)]
    assert await lake.ask("select max(VoyageId) from Voyage", at=HOUR.shift(-1)) == [("1",)]


async def test_an_hour_without_a_receipt_is_refused_with_the_way_out(lake: QueriedLake) -> None:
    later = HOUR.shift(1)
    await lake.land(later, {"Voyage_1.json": b'[{"VoyageId": 99}]'}, proven=False)
    with pytest.raises(SettingsError, match=f"{later} has no Receipt") as refused:
        await lake.ask("from Voyage", at=later)
    assert "--unproven" in refused.value.hint
    assert await lake.ask("select VoyageId from Voyage", at=later, unproven=True) == [("99",)]
    with pytest.raises(SettingsError, match="was not delivered"):
        await lake.ask("from Voyage", at=HOUR.shift(5), unproven=True)


async def test_a_lake_without_a_receipt_is_reported() -> None:
    lake = QueriedLake()
    with pytest.raises(SettingsError, match="no Hour of this lake was delivered"):
        await lake.ask("from Voyage")
    await lake.land(HOUR, {"Voyage_1.json": b'[{"VoyageId": 1}]'}, proven=False)
    with pytest.raises(SettingsError, match="no Hour of this lake has a Receipt") as refused:
        await lake.ask("from Voyage")
    assert "--unproven" in refused.value.hint
    assert ("table_volumes",) in await lake.ask("show tables")
    assert lake.warnings == [f"no Hour of this lake has a Receipt. {refused.value.hint}"]


async def test_since_an_hour_every_snapshot_has_its_hour_and_its_own_schema(lake: QueriedLake) -> None:
    first, last = HOUR.shift(-20), HOUR.shift(12)  # on three days
    old = {"Voyage": {"VoyageId": "nvarchar(20)", "Captain": "nvarchar(20)", "hour": "int"}}
    await lake.land(first, {"Voyage_1.json": b'[{"VoyageId": "V-1", "Captain": "Ahab", "hour": 5}]'}, columns=old)
    await lake.land(last, {"Voyage_1.json": b'[{"VoyageId": 10}]'}, columns={"Voyage": VOYAGE})
    await lake.land(HOUR.shift(1), {"Voyage_1.json": b'[{"VoyageId": 66}]'}, proven=False)
    rows = await lake.ask("select hour, VoyageId, Captain, hour_1, Freight from Voyage order by 1, 2", since=first)
    assert rows == [
        ("2022-05-09T17:00:00", "V-1", "Ahab", "5", None),
        ("2022-05-10T13:00:00", "7", None, None, "1.50000000"),
        ("2022-05-10T13:00:00", "8", None, None, None),
        ("2022-05-10T13:00:00", "9", None, None, None),
        ("2022-05-11T01:00:00", "10", None, None, None),
    ]
    assert lake.warnings == ["1 Hour without a Receipt left out; --unproven includes them"]
    assert (await lake.ask("describe Voyage", since=first))[0][:2] == ("hour", "TIMESTAMP")
    assert await lake.ask("select hour from Voyage", since=first, at=HOUR.shift(-1)) == [("2022-05-09T17:00:00",)]
    with pytest.raises(SettingsError, match="no Hour from"):
        await lake.ask("from Voyage", since=last.shift(1))


# -- what cannot be read --------------------------------------------------------------------------------------------


async def test_unreadable_files_are_named_and_the_rest_is_queried(lake: QueriedLake) -> None:
    damaged = bytearray(zipped(RECORD))
    damaged[20] ^= 0xFF
    files = {
        "Voyage_0003.json.gz": bytes(damaged),
        "Voyage_0004.json": b'[{"VoyageId": 10}, {"VoyageId": oops}]',
        "Voyage_0005.json": b'[{"VoyageId": 11, "VoyageId": 12}]',
        "Voyage_0006.json": b"<html>",
    }
    await lake.land(HOUR, files)
    assert await lake.ask("select VoyageId from Voyage order by 1", partial=True) == [("7",), ("8",), ("9",)]
    told = "\n".join(lake.warnings)
    assert all(name in told for name in files), told
    assert "at byte 32 of its JSON" in told
    assert len(lake.warnings) == len(files)


@pytest.mark.parametrize("fault", WITHHOLDING)
async def test_E15_file_that_the_store_withholds_is_named_and_the_rest_is_queried(
    lake: QueriedLake, fault: Fault
) -> None:
    lake.store = Flaky(lake.store, Tripwire(1, error=fault, verbs={"read"}, about="Voyage_0001", times=None))
    assert await lake.ask("select VoyageId from Voyage", partial=True) == [("9",)]
    [warning] = lake.warnings
    assert f"Voyage_0001.json.gz of 2022-05-10T13 is left out: {WITHHELD[fault().cause.word]}" in warning
    with pytest.raises(ViplakeError, match=re.escape(fault().message)) as caught:
        await lake.ask("select VoyageId from Voyage")
    assert caught.value.cause.word == fault().cause.word  # its owner is who has to act, never the sender of the file
    assert caught.value.cause.owner != "vendor"


@pytest.mark.parametrize("fault", WITHHOLDING)
@pytest.mark.parametrize("dataset", ["historical_table_metrics", "table_volumes"])
async def test_E15_history_file_that_the_store_withholds_is_named_and_the_rest_is_queried(
    lake: QueriedLake, dataset: str, fault: Fault
) -> None:
    await observe(
        lake.lake, HistoryLocation.within(lake.lake), at("2022-05-10T14:45"), ObserveSettings(), scope=Scope()
    )
    lake.store = Flaky(lake.store, Tripwire(1, error=fault, verbs={"get", "read"}, about=dataset, times=None))
    sql = f"select count(*) from {dataset} union all select count(*) from Voyage"
    assert await lake.ask(sql, partial=True) == [("0",), ("3",)]
    [warning] = [warning for warning in lake.warnings if dataset in warning]
    assert f"is left out: {WITHHELD[fault().cause.word]}" in warning
    with pytest.raises(ViplakeError, match=re.escape(fault().message)) as caught:
        await lake.ask(sql)
    assert caught.value.cause.word == fault().cause.word


@pytest.mark.parametrize("fault", WITHHOLDING)
async def test_E15_withheld_schema_is_reported_and_the_columns_are_text(lake: QueriedLake, fault: Fault) -> None:
    lake.store = Flaky(lake.store, Tripwire(1, error=fault, verbs={"get"}, about="_MasterTableSchema", times=None))
    assert await lake.ask("select typeof(VoyageId) from Voyage limit 1") == [("VARCHAR",)]
    [warning] = lake.warnings
    assert "its schema cannot be read, so columns that no other Hour declares are text" in warning


async def test_a_file_that_only_reading_its_values_finds_wrong_is_left_out_too(lake: QueriedLake) -> None:
    await lake.land(HOUR, {"Voyage_0003.json": b'[{"VoyageId": 11, "VoyageId": 12}]'})
    assert await lake.ask("select count(*), max(VoyageId) from Voyage", partial=True) == [("3", "9")]
    assert lake.warnings == ["Voyage_0003.json is left out: a record has the member 'VoyageId' twice, in record 1"]


async def test_a_table_of_which_no_file_can_be_read_is_empty_with_its_columns() -> None:
    lake = QueriedLake()
    await lake.land(HOUR, {"Voyage_1.json": b"<html>", "Bare_1.json": b""}, columns={"Voyage": VOYAGE, "Bare": {}})
    assert await lake.ask("from Voyage", partial=True) == []
    assert list(await lake.ask("from Voyage", types, partial=True)) == list(VOYAGE)
    assert await lake.ask("select count(*) from Bare", partial=True) == [("0",)]
    assert "Bare_1.json of 2022-05-10T13" in lake.warnings[0]


async def test_an_error_of_the_sql_is_not_blamed_on_a_file(lake: QueriedLake) -> None:
    with pytest.raises(SettingsError, match="Conversion Error"):
        await lake.ask("select cast(Remark as integer) from Voyage")
    assert lake.warnings == []


async def test_an_error_of_the_lake_ends_the_query_with_its_cause(lake: QueriedLake) -> None:
    lake.store = Flaky(lake.store, Tripwire(at=2, verbs=("read",), error=lake_down))
    with pytest.raises(LakeError) as failure:
        await lake.ask("from Voyage")
    assert failure.value.cause.word == "dest_unavailable"


# -- names ----------------------------------------------------------------------------------------------------------

HOSTILE = [
    'a"b',
    "it's",
    "=cmd|' /C calc'!A0",
    "<script>",
    "Fahrtgebiet Übersee 海",
    "select",
    "path",
    "hour",
    "c0",
    "",
    "nul\0",
    "line\nend",
    "/a~1b",
    "$.x",
]


@pytest.mark.parametrize("name", HOSTILE)
async def test_A8_any_member_can_be_queried_by_its_name(name: str) -> None:
    lake = QueriedLake()
    await lake.land(HOUR, {"T_1.json": json.dumps([{name: "v", "Other": 1}]).encode()}, columns={"T": {"Other": "int"}})
    label = name.replace("\0", "\N{REPLACEMENT CHARACTER}") or "unnamed"
    asked: tuple[dict[str, Any], ...] = ({}, {"since": HOUR})
    for hours in asked:
        called = "hour_1" if hours and name == "hour" else label
        quoted = called.replace('"', '""')
        assert await lake.ask(f'select "{quoted}", Other from T', **hours) == [("v", "1")]


@pytest.mark.parametrize("name", [name for name in HOSTILE if name and not set(name) & set("\0/\n")])
async def test_A8_any_table_can_be_queried_by_its_name(name: str) -> None:
    lake = QueriedLake()
    await lake.land(HOUR, {f"{name}_1.json": b'[{"A": 1}]'}, columns={name: {"A": "int"}})
    quoted = name.replace('"', '""')
    assert await lake.ask(f'select "A" from "{quoted}"') == [("1",)]
    assert (name,) in await lake.ask("show tables")


async def test_names_that_differ_in_case_alone_are_distinguished() -> None:
    lake = QueriedLake()
    files = {
        "T_1.json": b'[{"voyageId": "x"}, {"VoyageId": 2}]',
        "t_1.json": b'[{"B": 1}]',
        "table_volumes_1.json": b"[{}]",
    }
    await lake.land(HOUR, files, columns={"T": {"VoyageId": "int"}, "t": {}, "table_volumes": {}})
    assert await lake.ask("select VoyageId, voyageId_1 from T") == [(None, "x"), ("2", None)]
    assert {("T",), ("t_1",), ("table_volumes",), ("table_volumes_1",)} <= set(await lake.ask("show tables"))
    assert await lake.ask("from t_1") == [("1",)]


@pytest.mark.parametrize("record", [{"Id": 1, "ID": "x"}, {"": 1, "Id": 1}, {"nul\0": 1, "Id": 1}])
async def test_content_too_looks_at_members_that_no_database_could_call_so(record: dict[str, Any]) -> None:
    lake = QueriedLake()
    await lake.land(HOUR, {"T_1.json": json.dumps([record, {"Id": 2}]).encode()}, columns={"T": {"Id": "int"}})
    [table] = (await examine(lake.lake, HOUR, ContentSettings())).tables
    assert table.rows == 2
    assert [(finding.kind, finding.column) for finding in table.findings] == [
        ("unexpected_column", name) for name in record if name != "Id"
    ]
    await lake.land(HOUR, {"T_2.json": b"[{]"})
    await lake.ask("from T", partial=True)
    assert len(lake.warnings) == 1, "one file is blamed, not the other one for its names"


async def test_exactly_the_nonconforming_values_are_null() -> None:
    values = [
        "1", "1.5", "1e3", " 7 ", "NaN", "-Infinity", "9223372036854775807", "1e19", "x", "", "true", "2022-05-10",
        "2022-02-30", "2022-05-10T25:00:00", "2022-05-10T13:00:00Z", "infinity", "1.7e308", "1e309",
        "-1e19", "0001-01-01", "9999-12-31", "10000-01-01", "0044-03-15 (BC)", "2022-05-10T13:00:00+02:00",
    ]  # fmt: skip
    kinds = {"I": "int", "D": "decimal", "B": "bit", "Day": "date", "Time": "datetime", "T": "text"}
    lake = QueriedLake()
    records = [dict.fromkeys(kinds, value) for value in values]
    await lake.land(HOUR, {"T_1.json": json.dumps(records).encode()}, columns={"T": kinds})
    [table] = (await examine(lake.lake, HOUR, ContentSettings())).tables
    counts = ", ".join(f"count(*) - count({name})" for name in kinds)
    [nulls] = await lake.ask(f"select {counts} from T")
    assert [int(count) for count in nulls] == [column.nonconforming for column in table.columns]


async def test_an_undelivered_table_and_an_unknown_table_have_different_errors() -> None:
    lake = QueriedLake()
    await lake.land(HOUR, {"Voyage_1.json": b"[]"}, columns={"Voyage": VOYAGE, "Port": {}})
    with pytest.raises(SettingsError, match="Port is in the schema, but no file of it was delivered"):
        await lake.ask("from port")
    await lake.land(HOUR.shift(1), {"Port_1.json": b'[{"A": 1}]'}, columns={"Voyage": VOYAGE, "Port": {}})
    assert await lake.ask("select A from Port", since=HOUR) == [("1",)]


async def test_an_unknown_table_gets_a_suggestion(lake: QueriedLake) -> None:
    with pytest.raises(SettingsError, match="no table 'voyages'") as unknown:
        await lake.ask("select * from Voyages")
    assert "Did you mean Voyage?" in unknown.value.hint
    assert "show tables" in unknown.value.hint


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("selec 1", 'syntax error at or near "selec"'),
        ("select 1; select 2", "2 statements"),
        ("", "0 statements"),
        ("select nope from Voyage", "LINE 1: select nope from Voyage"),
        ("select 1) ; drop view (select 2", "syntax error"),
    ],
)
async def test_wrong_sql_gives_the_message_of_duckdb(lake: QueriedLake, sql: str, why: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        await lake.ask(sql)
    assert why in wrong.value.message
    assert wrong.value.exit_code == 2


async def test_comments_and_a_closing_semicolon_are_no_matter(lake: QueriedLake) -> None:
    assert await lake.ask("-- first\nselect 1 /* one */ ; -- last") == [("1",)]


# -- the sandbox ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_text('{outside}')",
        "select * from read_csv('{outside}')",
        "select * from read_json_objects('{outside}')",
        "select * from read_blob('{folder}/*')",
        "select * from '{outside}'",
        "select * from glob('{folder}/*')",
        "select * from query('select * from read_text(''{outside}'')')",
        "with x as (select 1 as a) select * from x join read_text('{outside}') using (a)",
        "pivot (select content from read_text('{outside}')) on content using count(*)",
        "select * from 'http://127.0.0.1:9/x.parquet'",
        "select * from 's3://bucket/x.parquet'",
        "copy (select 1) to '{folder}/written.csv'",
        "copy Voyage to '{folder}/written.parquet'",
        "export database '{folder}/written'",
        "attach '{folder}/written.db'",
        "attach '{folder}/written.db' as x",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "set allowed_directories = ['/']",
        "reset lock_configuration",
        "pragma enable_external_access",
        "create table t as select 1",
        "drop view Voyage",
        "insert into Voyage values (1)",
        "call pragma_version()",
        "checkpoint",
        "prepare p as select 1",
        "create secret s (type s3)",
    ],
)
async def test_a_query_reaches_nothing_outside(lake: QueriedLake, tmp_path: Path, sql: str) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("canary-outside")
    with pytest.raises(SettingsError) as refused:
        await lake.ask(sql.format(outside=outside, folder=tmp_path))
    assert refused.value.exit_code == 2
    assert "canary-outside" not in refused.value.message
    assert names(tmp_path) == ["outside.txt"]


async def test_no_variable_of_the_program_is_a_table(lake: QueriedLake) -> None:
    with pytest.raises(SettingsError):
        await lake.ask("select * from views")


async def test_a_cancelled_query_stops(lake: QueriedLake) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def endless(answer: QueryResult) -> None:
        loop.call_soon_threadsafe(begun.set)
        answer.connection.execute("select count(*) from range(1000000000000000) t(a) where a % 7 = 3").fetchall()

    task = asyncio.create_task(lake.ask("select 1", endless))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# -- the history ----------------------------------------------------------------------------------------------------


async def test_the_history_is_queried_together_with_the_tables(lake: QueriedLake) -> None:
    await observe(
        lake.lake,
        HistoryLocation.within(lake.lake),
        at("2022-05-10T14:45"),
        ObserveSettings(),
        scope=Scope(),
    )
    joined = (
        'select r.hour, r.outcome, r.files, v."table", v.partitions, (select count(*) from Voyage) '
        "from historical_run_metrics r join table_volumes v using (hour) join historical_job_metrics j using (hour) "
        "where v.\"table\" = 'Voyage' and jobDelivered = 1"
    )
    assert await lake.ask(joined) == [("2022-05-10T13:00:00", "delivered", "5", "Voyage", "2", "3")]
    assert await lake.ask("from table_volumes", types) == {
        "hour": "TIMESTAMP",
        "table": "VARCHAR",
        "partitions": "INTEGER",
        "bytes": "BIGINT",
    }
    assert await lake.ask("from historical_table_metrics", types) == {
        "hour": "TIMESTAMP",
        "date": "VARCHAR",
        "tablesDelivered": "BIGINT",
        "tablesExpected": "BIGINT",
        "missingTables": "BIGINT",
        "missingTablesList": "VARCHAR",
        "completenessRatio": "DOUBLE",
    }
    assert lake.warnings == []


@pytest.mark.system
async def test_content_results_are_queried_too_with_their_types(lake: QueriedLake) -> None:
    place = HistoryLocation.within(lake.lake)
    await observe(lake.lake, place, at("2022-05-10T14:45"), ObserveSettings(), scope=Scope())
    told = ContentSettings(record_times=("ChangedGMT",))
    await keep(place, [await examine(lake.lake, HOUR, told)])
    assert await lake.ask(
        'select t.hour, t.rows, t.newest, c."column", c.declared, c.nulls from table_content t '
        'join column_content c using (hour, "table") where "table" = \'Voyage\' and "column" = \'Open\''
    ) == [("2022-05-10T13:00:00", "3", "2022-05-10T12:30:00", "Open", "bit", "2")]
    for name in (dataset.name for dataset in PARQUET_DATASETS):
        described = await lake.ask(
            f"select column_name, data_type from information_schema.columns where table_name = '{name}'"
        )
        found = await lake.ask(f"from {name}", types)
        assert dict(described) == {column: kind.replace("INTEGER", "BIGINT") for column, kind in found.items()}


async def test_the_history_alone_needs_no_hour() -> None:
    lake = QueriedLake()
    edited = b'\xef\xbb\xbfdate;jobDelivered;JobExpected;note\r\n20220510-13;1.0;1;"a; ""b"""\r\nnonsense;;;\r\n'
    await lake.store.put(LAYOUT.observability + "historical_job_metrics.csv", edited)
    assert await lake.ask("from historical_job_metrics") == [("2022-05-10T13:00:00", "20220510-13", "1", "1", 'a; "b"')]
    assert "is no row" in lake.warnings[0]
    await lake.store.put(LAYOUT.observability + "historical_job_size.csv", b"something else\n")
    assert await lake.ask("from historical_job_size", partial=True) == []
    assert "is no historical_job_size.csv" in lake.warnings[0]
    assert await lake.ask("from historical_run_metrics join table_volumes using (hour)") == []
    assert [warning.partition(":")[0] for warning in lake.warnings[1:]] == [
        "there is no historical_run_metrics yet",
        "there is no table_volumes yet",
    ]


async def test_a_damaged_parquet_file_is_named_and_the_others_are_queried(lake: QueriedLake) -> None:
    await observe(
        lake.lake,
        HistoryLocation.within(lake.lake),
        at("2022-05-10T14:45"),
        ObserveSettings(),
        scope=Scope(),
    )
    await lake.store.put(LAYOUT.observability + "table_volumes/2022-04.parquet", b"PAR1 no more")
    assert await lake.ask('select count(distinct "table") from table_volumes', partial=True) == [("3",)]
    assert lake.warnings == ["table_volumes/2022-04.parquet is left out: it cannot be read as Parquet"]


# -- what is written ------------------------------------------------------------------------------------------------

CELLS = r"""
select 1::hugeint as h, 'a,"b"' as q, '' as e, null as n, 1.10::decimal(9, 2) as d, [1, 2] as l, 'nan'::double as f,
    timestamptz '2022-05-10 13:00:00+02' as z, date '2022-05-10' as day, '=1+1' || chr(13) || chr(10) as x, true as yes
"""


async def test_csv_is_exact(lake: QueriedLake) -> None:
    out = io.StringIO(newline="")
    await lake.ask(CELLS, lambda answer: answer.write_csv(out))
    assert out.getvalue() == (
        'h,q,e,n,d,l,f,z,day,x,yes\n1,"a,""b""","",,1.10,"[1,2]",nan,2022-05-10T11:00:00Z,2022-05-10,"=1+1\r\n",true\n'
    )
    assert list(csv.reader(io.StringIO(out.getvalue(), newline="")))[1][1] == 'a,"b"'
    one = io.StringIO(newline="")
    await lake.ask("select null as x union all select ''", lambda answer: answer.write_csv(one))
    assert one.getvalue() == 'x\n""\n""\n', "a row is never an empty line"


async def test_json_is_one_object_with_columns_and_rows(lake: QueriedLake) -> None:
    out = io.StringIO()
    await lake.ask(CELLS, lambda answer: answer.write_json(out, {"schema_version": 1, "environment": "Prod"}))
    told = json.loads(out.getvalue())
    assert (told["schema_version"], told["environment"], told["hours"]) == (1, "Prod", ["2022-05-10T13"])
    assert told["columns"][0] == {"name": "h", "type": "HUGEINT"}
    assert told["rows"] == [
        {
            "h": 1,
            "q": 'a,"b"',
            "e": "",
            "n": None,
            "d": "1.10",
            "z": "2022-05-10T11:00:00Z",
            "l": [1, 2],
            "f": None,
            "day": "2022-05-10",
            "x": "=1+1\r\n",
            "yes": True,
        }
    ]
    none = io.StringIO()
    await lake.ask("select 1 as a, 2 as a where false", lambda answer: answer.write_json(none, {}))
    assert json.loads(none.getvalue())["rows"] == []
    assert [column["name"] for column in json.loads(none.getvalue())["columns"]] == ["a", "a_1"]


async def test_parquet_keeps_types_and_is_whole_or_not_there(lake: QueriedLake, tmp_path: Path) -> None:
    file = tmp_path / "it's.parquet"
    writes = (being_written(file),)
    file.write_bytes(b"older")
    with pytest.raises(SettingsError, match="cannot write"):
        await lake.ask("from Voyage", lambda answer: answer.write_parquet(file))  # it was not allowed
    assert file.read_bytes() == b"older"
    await lake.ask(
        "select *, sum(VoyageId) over () as total from Voyage order by 1 desc",
        lambda answer: answer.write_parquet(file),
        writes=writes,
    )
    assert names(tmp_path) == [file.name]
    with duckdb.connect() as connection:
        read = connection.read_parquet(str(file))
        assert dict(zip(read.columns, map(str, read.types), strict=True)) == {
            "VoyageId": "BIGINT",
            "Freight": "DECIMAL(28,8)",
            "Open": "BOOLEAN",
            "Laycan": "DATE",
            "ChangedGMT": "TIMESTAMP",
            "Remark": "VARCHAR",
            "total": "DECIMAL(38,0)",
        }
        assert [row[0] for row in read.fetchall()] == [9, 8, 7]


async def test_a_person_is_shown_the_first_rows_and_how_many_there_are(
    lake: QueriedLake, capsys: pytest.CaptureFixture[str]
) -> None:
    await lake.ask("select range as n, '[red]x\x1b[31m' as \"=c\x07\" from range(1234)", print_answer)
    shown = capsys.readouterr()
    assert "[red]x\\x1b[31m" in shown.out, "no markup, and nothing that moves a cursor"
    assert "=c\\x07" in shown.out
    assert shown.out.count("[red]") == SHOWN_ROWS
    assert shown.err == "1,234 rows of 2022-05-10T13; 1,194 more: --csv gives all\n"


# -- S3 -------------------------------------------------------------------------------------------------------------


@pytest.mark.system
async def test_a_lake_on_s3_is_queried_through_the_store(seaweed: Seaweed) -> None:
    settings = seaweed.settings(f"{seaweed.bucket()}/some/where")
    lake = QueriedLake(open_store(settings))
    await lake.land(HOUR, {"Voyage_1.json.gz": zipped(RECORD)}, columns={"Voyage": VOYAGE})
    await lake.land(HOUR.shift(1), {"Voyage_1.json.gz": zipped(RECORD, RECORD)}, columns={"Voyage": VOYAGE})
    assert await lake.ask("select hour, count(*) from Voyage group by hour order by hour", since=HOUR) == [
        ("2022-05-10T13:00:00", "1"),
        ("2022-05-10T14:00:00", "2"),
    ]
