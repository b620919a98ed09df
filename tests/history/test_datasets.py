"""CSV files as people really have them are read, repaired and kept; the output is always the same."""

from __future__ import annotations

import csv
import io
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from faults import Flaky
from history.lakes import LAYOUT, at, contents, export, fill, memory
from viplake.errors import SettingsError
from viplake.history.build import HistoryLocation, ObserveSettings, Scope, observe, read_history, read_imports
from viplake.history.datasets import (
    DATASETS,
    JOBS,
    RUNS,
    SCHEMAS,
    SIZES,
    TABLES,
    Frame,
    names_json,
    parse,
    render,
    take_in,
)
from viplake.history.facts import HourFacts, SchemaFacts
from viplake.judge.record import records
from viplake.lake import Lake
from viplake.lake.store import LARGEST_RECORD
from viplake.model import Hour

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from viplake.lake.store import Store

H13 = Hour.parse("2022-05-10T13")
SETTINGS = ObserveSettings()


def test_the_columns_are_the_contract() -> None:
    assert [",".join(dataset.columns) for dataset in DATASETS] == [
        "date,jobDelivered,JobExpected",
        "date,tablesDelivered,tablesExpected,missingTables,missingTablesList,completenessRatio",
        "date,size,files",
        "date,outcome,cause,owner,initSeconds,replicationSeconds,transferSeconds,attempts,files,bytes,requests",
        "date,schema,tables",
    ]


def test_the_schema_of_an_hour_is_a_hash_and_a_count_or_no_row() -> None:
    held = SCHEMAS.of(HourFacts(H13, schema=SchemaFacts("a" * 64, ("Vessel", "Voyage"))))
    unreadable = SCHEMAS.of(HourFacts(H13, schema=SchemaFacts("b" * 64, None, "no list")))
    assert (held, unreadable) == (("20220510-13", "a" * 64, "2"), ("20220510-13", "b" * 64, ""))
    assert SCHEMAS.of(HourFacts(H13)) is None
    assert SCHEMAS.of(HourFacts(H13, schema=SchemaFacts(None, None, "it vanished while it was read"))) is None
    parsed = parse(SCHEMAS, f"date,schema,tables\n20220510-13,{'A' * 64},2.0\n20220510-14,{'x' * 64},2\n".encode())
    assert (list(parsed.frame.rows.values()), len(parsed.unreadable)) == ([("20220510-13", "a" * 64, "2")], 1)


def test_M2_bom_crlf_and_other_column_orders_are_read_and_kept() -> None:
    data = "\ufeffnote,files,date,size,ticket\r\nok,12,20220510-13,345,A-1\r\n,3,20220510-12,1.0,\r\n".encode()
    parsed = parse(SIZES, data)
    assert parsed.warnings == ()
    assert render(SIZES, parsed.frame) == (
        b"date,size,files,note,ticket\n20220510-12,1,3,,\n20220510-13,345,12,ok,A-1\n"
    )


def test_M2_duplicate_hours_become_the_fullest_row_with_a_warning() -> None:
    parsed = parse(SIZES, b"date,size,files\n20220510-13,0,0\n20220510-13,345,12\n20220510-13,0,0\n20220510-12,1,1\n")
    assert render(SIZES, parsed.frame) == b"date,size,files\n20220510-12,1,1\n20220510-13,345,12\n"
    assert "2 rows repeat an Hour (20220510-13, 20220510-13)" in parsed.warnings[0]


@pytest.mark.parametrize("torn", ["20220510-14,1", "20220510-1", "20220510-14,", "20220510-14,1,x", '20220510-14,"1,1'])
def test_M3_a_torn_last_line_is_set_aside(torn: str) -> None:
    parsed = parse(JOBS, f"date,jobDelivered,JobExpected\n20220510-13,1,1\n{torn}".encode())
    assert list(parsed.frame.rows) == [H13]
    assert parsed.unreadable == (torn,)
    assert "1 line is no row" in parsed.warnings[0]


def test_M3_a_quote_that_is_never_closed_swallows_no_other_row() -> None:
    rows = '20220510-12,1,2,1,"[""A""],0.5\n20220510-13,2,2,0,[],1.0\n20220510-14,2,2,0,[],1.0\n'
    parsed = parse(TABLES, f"{','.join(TABLES.columns)}\n{rows}".encode())
    assert [hour.label for hour in parsed.frame.rows] == ["20220510-13", "20220510-14"]
    assert len(parsed.unreadable) == 1


def test_M2_lists_of_python_and_of_json_are_read_and_written_as_json() -> None:
    header = ",".join(TABLES.columns)
    rows = [
        "20220510-12,1,3,2,\"['Voyage', 'O\\'Neil']\",0.33333",
        '20220510-13,1,2,1,"[""Voyage""]",0.5',
        "20220510-14,2,2,0,[],1",
    ]
    parsed = parse(TABLES, "\n".join([header, *rows]).encode())
    assert parsed.warnings == ()
    written = list(csv.reader(io.StringIO(render(TABLES, parsed.frame).decode())))
    assert written[1] == ["20220510-12", "1", "3", "2", '["O\'Neil", "Voyage"]', "0.3333"]
    assert written[2][4:] == ['["Voyage"]', "0.5000"]
    assert written[3][4:] == ["[]", "1.0000"]


@pytest.mark.parametrize("cell", ["__import__('os').system('x')", "{'a': 1}", "[1, 2]", "[" * 5000, "'x'"])
def test_a_malformed_list_is_no_row_and_executes_nothing(cell: str) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([TABLES.columns, ["20220510-12", "1", "2", "1", cell, "0.5"]])
    assert parse(TABLES, out.getvalue().encode()).frame.rows == {}


@pytest.mark.parametrize(
    "text",
    [
        ",date,size,files\n0,20220510-13,1842253,281\n",
        "Unnamed: 0,date,size,files\n0,20220510-13,1842253.0,281.0\n",
        "date;size;files;;\r\n20220510-13;1842253;281;;\r\n;;;;\r\n",
        'sep=,\r\ndate,size,files\r\n20220510-13,"1,842,253",281\r\n',
        "date;size;files\r\n20220510-13;1.842.253;281\r\n",
        "date;size;files\r\n20220510-13;1\u00a0842\u00a0253;281\r\n",
        "date\tsize\tfiles\r\n2022-05-10 13:00:00\t1842253\t281\r\n",
        '"date","size","files"\n"2022-05-10T13:00:00+00:00","1842253","281"\n',
    ],
)
def test_M2_what_pandas_and_excel_make_of_a_file_is_read_as_the_same_row(text: str) -> None:
    parsed = parse(SIZES, text.encode())
    assert parsed.warnings == ()
    assert render(SIZES, parsed.frame) == b"date,size,files\n20220510-13,1842253,281\n"


def test_M2_truth_values_of_pandas_are_counts() -> None:
    parsed = parse(JOBS, b"date,jobDelivered,JobExpected\n20220510-13,True,True\n20220510-14,False,True\n")
    assert render(JOBS, parsed.frame) == b"date,jobDelivered,JobExpected\n20220510-13,1,1\n20220510-14,0,1\n"


@pytest.mark.parametrize("cell", ["1.842", "1,842", "12 34", "1,84,253", "10/05/2022", "yes"])
def test_a_count_that_may_mean_two_numbers_is_set_aside(cell: str) -> None:
    parsed = parse(SIZES, f"date;size;files\n20220510-13;{cell};281\n".encode())
    assert (len(parsed.frame.rows), len(parsed.unreadable)) == (0, 1)


def test_a_file_of_something_else_is_refused_with_its_missing_columns() -> None:
    with pytest.raises(SettingsError, match=r"this is no historical_job_size\.csv: it has no column size, files"):
        parse(SIZES, b"date,jobDelivered,JobExpected\n20220510-13,1,1\n")
    with pytest.raises(SettingsError, match="no column date"):
        parse(SIZES, b"")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_other_encodings_and_semicolons_are_read(encoding: str) -> None:
    parsed = parse(SIZES, "date;size;files;wer\n20220510-13;345;12;Müller\n".encode(encoding))
    assert render(SIZES, parsed.frame) == "date,size,files,wer\n20220510-13,345,12,Müller\n".encode()


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=8)


@given(
    rows=st.dictionaries(
        st.integers(0, 200), st.tuples(st.lists(CELLS, max_size=3), st.integers(0, 9), CELLS, CELLS), max_size=8
    )
)
def test_written_rows_are_read_back_and_written_alike(
    rows: dict[int, tuple[list[str], int, str, str]],
) -> None:
    frame = Frame(
        {
            H13.shift(number): (H13.shift(number).label, str(n), "3", "1", names_json(names), "0.5000", a, b)
            for number, (names, n, a, b) in rows.items()
        },
        ("Ä b", "c,d"),
    )
    written = render(TABLES, frame)
    assert render(TABLES, parse(TABLES, written).frame) == written


def test_of_two_rows_for_an_hour_the_preferred_wins_unless_it_is_empty() -> None:
    mine = Frame({H13: (H13.label, "10", "5"), H13.shift(1): (H13.shift(1).label, "0", "0")})
    theirs = Frame({H13: (H13.label, "0", "0", "n"), H13.shift(1): (H13.shift(1).label, "7", "7", "m")}, ("note",))
    for preferred in (True, False):
        merged = take_in(SIZES, mine, theirs, preferred=preferred)
        assert merged.rows[H13] == (H13.label, "10", "5", "n")
        assert merged.rows[H13.shift(1)] == (H13.shift(1).label, "7", "7", "m")
    other = Frame({H13: (H13.label, "9", "4")})
    assert take_in(SIZES, mine, other, preferred=True).rows[H13][1] == "9"
    assert take_in(SIZES, mine, other, preferred=False).rows[H13][1] == "10"


# -- in the history -------------------------------------------------------------------------------------------

OLD = (
    "\ufeffdate,jobDelivered,JobExpected,who\r\n"
    "20220510-09,1,1,anna\r\n20220510-11,1,1,\r\n20220510-10,1,1,\r\n20220510-10,0,1,\r\n20220510-12,1"
).encode()


async def test_an_imported_row_counts_while_the_lake_lacks_the_hour() -> None:
    store = memory()
    place = HistoryLocation.within(Lake(store, LAYOUT))
    await fill(store, export(Hour.parse("2022-05-10T11")) | export(H13))
    clock = at("2022-05-10T13:45")
    imports = {"historical_job_metrics.csv": OLD, "historical_job_size.csv": b"date,size,files\n20220510-09,77,5\n"}
    result = await observe(Lake(store, LAYOUT), place, clock, SETTINGS, imports=imports)
    expected = (
        b"date,jobDelivered,JobExpected,who\n20220510-09,1,1,anna\n20220510-10,1,1,\n20220510-11,1,1,\n"
        b"20220510-12,0,1,\n20220510-13,1,1,\n"
    )
    key = f"{LAYOUT.observability}historical_job_metrics.csv"
    assert await store.get(key) == expected
    assert result.imported == {"historical_job_metrics": 3, "historical_job_size": 1}
    assert len(result.warnings) == 2
    aside = await contents(store, f"{LAYOUT.observability}quarantine/")
    assert list(aside.values()) == [b"20220510-12,1"]
    await observe(Lake(store, LAYOUT), place, clock, SETTINGS, scope=Scope(rebuild=True))
    assert await store.get(key) == expected
    await fill(store, export(Hour.parse("2022-05-10T09")))
    await observe(Lake(store, LAYOUT), place, clock, SETTINGS, scope=Scope(rebuild=True))
    size = (await read_history(place)).rows(SIZES)[Hour.parse("2022-05-10T09")]
    assert size[1:] != ("77", "5")
    assert b"20220510-09,1,1,anna\n" in (await store.get(key) or b"")


EDITED = b"date;jobDelivered;JobExpected;note\r\n20220510-12;0;1;checked\r\n20220101-00;1;1;old\r\n"


async def test_M2_files_from_before_the_first_pass_are_imported_and_repaired() -> None:
    store = memory()
    await fill(store, export(Hour.parse("2022-05-10T12")))
    key = f"{LAYOUT.observability}historical_job_metrics.csv"
    await store.put(key, EDITED)
    await observe(Lake(store, LAYOUT), HistoryLocation.within(Lake(store, LAYOUT)), at("2022-05-10T12:45"), SETTINGS)
    assert await store.get(key) == (
        b"date,jobDelivered,JobExpected,note\n20220101-00,1,1,old\n20220510-12,1,1,checked\n"
    )


async def test_a_file_of_before_the_first_pass_that_is_garbage_is_set_aside_and_written_anew() -> None:
    store = memory()
    await fill(store, export(H13))
    key = f"{LAYOUT.observability}historical_job_size.csv"
    await store.put(key, b"\x00\x01garbage")
    result = await observe(
        Lake(store, LAYOUT), HistoryLocation.within(Lake(store, LAYOUT)), at("2022-05-10T13:45"), SETTINGS
    )
    assert "set aside" in result.warnings[0]
    assert (await store.get(key) or b"").startswith(b"date,size,files\n20220510-13,")


@pytest.mark.parametrize("edited", [EDITED, b"\x00\x01garbage"])
async def test_a_published_file_that_was_edited_is_set_aside_and_written_anew_with_one_warning(edited: bytes) -> None:
    store = memory()
    place = HistoryLocation.within(Lake(store, LAYOUT))
    await fill(store, export(H13))
    clock = at("2022-05-10T13:45")
    await observe(Lake(store, LAYOUT), place, clock, SETTINGS)
    key = f"{LAYOUT.observability}historical_job_metrics.csv"
    good = await store.get(key)
    await store.put(key, edited)
    result = await observe(Lake(store, LAYOUT), place, clock, SETTINGS)
    assert await store.get(key) == good
    [warning] = result.warnings
    assert "was edited: it is set aside and written anew. To add rows, run viplake observe --import." in warning
    assert list((await contents(store, f"{LAYOUT.observability}quarantine/")).values()) == [edited]
    assert (await observe(Lake(store, LAYOUT), place, clock, SETTINGS)).warnings == ()


async def test_M4_a_deleted_published_file_is_restored() -> None:
    store = memory()
    place = HistoryLocation.within(Lake(store, LAYOUT))
    await fill(store, export(H13))
    clock = at("2022-05-10T13:45")
    await observe(Lake(store, LAYOUT), place, clock, SETTINGS)
    before = await contents(store, LAYOUT.observability)
    await store.delete(f"{LAYOUT.observability}{RUNS.file}")
    await observe(Lake(store, LAYOUT), place, clock, SETTINGS)
    assert await contents(store, LAYOUT.observability) == before


async def test_H30_import_of_which_no_row_can_be_read_fails_with_its_first_line() -> None:
    store = memory()
    await fill(store, export(H13))
    with pytest.raises(SettingsError, match=r"job_size\.csv can be read: the first line is 'x,1,2'") as failure:
        await observe(
            Lake(store, LAYOUT), HistoryLocation.within(Lake(store, LAYOUT)), at("2022-05-10T13:45"), SETTINGS,
            imports={"historical_job_size.csv": b"date,size,files\nx,1,2\ny,1,2\n"},
        )  # fmt: skip
    assert (failure.value.exit_code, failure.value.cause.word) == (1, "import_unreadable")


async def test_H30_one_odd_row_of_an_import_is_set_aside_and_the_others_are_taken() -> None:
    store = memory()
    await fill(store, export(H13))
    observed = await observe(
        Lake(store, LAYOUT), HistoryLocation.within(Lake(store, LAYOUT)), at("2022-05-10T13:45"), SETTINGS,
        imports={"historical_job_size.csv": b"date,size,files\nx,1,2\n20220510-12,1,2\n"},
    )  # fmt: skip
    assert observed.imported == {SIZES.name: 1}
    assert any("date cannot be 'x'" in warning for warning in observed.warnings)


async def test_import_into_an_empty_lake_takes_its_range_and_its_runs_from_the_files() -> None:
    store = memory()
    place = HistoryLocation.within(Lake(store, LAYOUT))
    imports = {JOBS.file: b"date,jobDelivered,JobExpected\n20220208-08,0,1\n20220208-09,1,1\n"}
    for files in (imports, None):  # the second pass has nothing to look at
        await observe(Lake(store, LAYOUT), place, at("2022-05-10T13:45"), SETTINGS, imports=files)
        rows = (await read_history(place)).rows(RUNS)
        assert list(rows.values()) == [
            ("20220208-08", "missed", "", "unknown", "", "", "", "", "", "", ""),
            ("20220208-09", "delivered", "", "", "", "", "", "", "", "", ""),
        ]
    known = records((await read_history(place)).frames)
    assert [(one.delivered, one.owner, one.ledger) for one in known.values()] == [
        (False, "unknown", False), (True, None, False),
    ]  # fmt: skip


async def test_an_import_of_the_wrong_file_changes_nothing() -> None:
    store = memory()
    await fill(store, export(H13))
    with pytest.raises(SettingsError, match=r"historical_job_size\.csv: this is no"):
        await observe(
            Lake(store, LAYOUT), HistoryLocation.within(Lake(store, LAYOUT)), at("2022-05-10T13:45"), SETTINGS,
            imports={"historical_job_size.csv": b"a,b\n1,2\n"},
        )  # fmt: skip
    assert await contents(store, LAYOUT.observability) == {}


def test_a_folder_without_a_dataset_is_nothing_to_import(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nothing to import"):
        read_imports(tmp_path)
    (tmp_path / "historical_job_size.csv").write_bytes(b"date,size,files\n")
    assert list(read_imports(tmp_path)) == ["historical_job_size.csv"]


class Interrupted(Flaky):
    """A store in which others do something before one of its reads."""

    def __init__(self, store: Store, number: int, others: Callable[[], Awaitable[object]]) -> None:
        super().__init__(store)
        self.left = number
        self.others = others

    async def get(self, key: str, *, limit: int = LARGEST_RECORD) -> bytes | None:
        self.left -= 1
        if self.left == 0:
            await self.others()
        return await super().get(key, limit=limit)


async def test_what_another_writer_publishes_meanwhile_is_not_taken_for_an_edit() -> None:
    reads = 0
    for number in range(1, 1000):
        store = memory()
        lake = Lake(store, LAYOUT)
        place = HistoryLocation.within(lake)
        await fill(store, export(H13))
        await observe(lake, place, at("2022-05-10T13:45"), SETTINGS)
        await fill(store, export(H13.shift(1)))
        others = partial(observe, lake, place, at("2022-05-10T14:45"), SETTINGS)
        interrupted = Interrupted(store, number, others)
        mine = Lake(interrupted, LAYOUT)
        result = await observe(mine, HistoryLocation.within(mine), at("2022-05-10T14:46"), SETTINGS)
        assert (result.warnings, await contents(store, f"{LAYOUT.observability}quarantine/")) == ((), {})
        if interrupted.left > 0:
            break
        reads += 1
    assert reads > 5
