"""A row is a function of an Hour's facts, an upsert never loses what says more, and each cell is read or refused."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from viplake.errors import SettingsError
from viplake.history.datasets import (
    JOBS,
    RUNS,
    SCHEMAS,
    SIZES,
    TABLES,
    Frame,
    HourDataset,
    Parsed,
    attribute_missed,
    names_json,
    own_frame,
    parse,
    render,
    runs_of,
    take_in,
    upsert,
    worsens,
)
from viplake.history.facts import HourFacts, RunFacts, SchemaFacts
from viplake.model import Hour

if TYPE_CHECKING:
    from viplake.history.datasets import Row

H13 = Hour.parse("2022-05-10T13")
LABEL = "20220510-13"
FACTS = HourFacts(
    H13, files=4, size=12_999, delivered_size=12_499, has_promise=True, expected=("A", "B", "C"), missing=("C",)
)
RUN = RunFacts(
    "failed", "integrity", H13.end, attempts=2, init=1.25, replication=900.0, transfer=30.1239, files=3, size=99
)


# -- rows from facts ------------------------------------------------------------------------------------------


def attributed(frame: Frame) -> Frame:
    return attribute_missed(frame, min(runs_of(frame), default=None))


def test_a_row_of_each_dataset_matches_the_facts() -> None:
    assert JOBS.of(FACTS) == (LABEL, "1", "1")
    assert TABLES.of(FACTS) == (LABEL, "2", "3", "1", '["C"]', "0.6667")
    assert SIZES.of(FACTS) == (LABEL, "12", "4")
    assert SIZES.of(replace(FACTS, size=13_000)) == (LABEL, "13", "4")
    assert JOBS.of(HourFacts(H13)) == (LABEL, "0", "1")
    assert JOBS.of(HourFacts(H13, files=1, has_promise=True)) == (LABEL, "0", "1")


def test_M5_without_a_readable_schema_there_is_no_row_of_tables() -> None:
    assert TABLES.of(replace(FACTS, expected=None)) is None
    assert TABLES.of(replace(FACTS, missing=None)) is None


def test_M6_where_no_table_is_expected_there_is_no_ratio() -> None:
    assert TABLES.of(replace(FACTS, expected=(), missing=())) == (LABEL, "0", "0", "0", "[]", "")


@pytest.mark.parametrize(
    ("facts", "row"),
    [
        (replace(FACTS, run=RUN), "failed,integrity,vendor,1.25,900,30.124,2,3,99,"),
        (replace(FACTS, run=replace(RUN, files=7, requests=17)), "failed,integrity,vendor,1.25,900,30.124,2,7,99,17"),
        (replace(FACTS, run=replace(RUN, files=None, size=None)), "failed,integrity,vendor,1.25,900,30.124,2,3,12499,"),
        (replace(FACTS, run=RunFacts("delivered", None, H13.end)), "delivered,,,,,,0,3,12499,"),
        (replace(FACTS, run=replace(RUN, cause=" a\rb")), "failed,a\nb,,1.25,900,30.124,2,3,99,"),
        (FACTS, "delivered,,,,,,,3,12499,"),
        (replace(FACTS, has_promise=False), "delivered,,,,,,,4,12499,"),
        (HourFacts(H13), "missed,unknown,,,,,,0,0,"),
    ],
)
def test_a_row_of_the_runs_goes_by_the_ledger_and_else_by_the_folder(facts: HourFacts, row: str) -> None:
    assert RUNS.of(facts) == (LABEL, *row.split(","))


def test_a_row_of_the_schemas_names_it_where_it_was_read() -> None:
    assert SCHEMAS.of(replace(FACTS, schema=SchemaFacts("ab", ("A", "B")))) == (LABEL, "ab", "2")
    assert SCHEMAS.of(replace(FACTS, schema=SchemaFacts("ab", None))) == (LABEL, "ab", "")
    assert SCHEMAS.of(replace(FACTS, schema=SchemaFacts(None, None))) is None
    assert SCHEMAS.of(FACTS) is None


# -- whose a missed Hour is --------------------------------------------------------------------------------------


def _run(hour: Hour, outcome: str, attempts: str = "") -> Row:
    return (hour.label, outcome, "?", "?", "1", "2", "3", attempts, "4", "5", "6", "note")


def test_missed_hours_are_ours_from_the_first_ledger_on_and_without_owner_before() -> None:
    rows = {
        H13.shift(n): _run(H13.shift(n), outcome, attempts)
        for n, (outcome, attempts) in enumerate(
            [("missed", ""), ("delivered", ""), ("failed", "1"), ("missed", ""), ("waiting", "1"), ("missed", "")]
        )
    }
    told = attributed(Frame(rows, ("note",)))
    assert told.extra == ("note",)
    assert [(row[1], row[2], row[3]) for row in told.rows.values()] == [
        ("missed", "unknown", ""),
        ("delivered", "?", "?"),
        ("failed", "?", "?"),
        ("missed", "missed", "us"),
        ("waiting", "?", "?"),
        ("missed", "missed", "us"),
    ]
    assert all(row[0] == hour.label and row[4:] == rows[hour][4:] for hour, row in told.rows.items())


def test_without_a_ledger_missed_hours_have_no_owner() -> None:
    told = attributed(Frame({H13: _run(H13, "missed")}))
    assert told.rows[H13][1:4] == ("missed", "unknown", "")
    itself = attributed(Frame({H13: _run(H13, "missed", "1")}))
    assert itself.rows[H13][1:4] == ("missed", "unknown", ""), "the first ledger is no Hour after itself"


# -- upsert -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "old", "facts", "wins"),
    [
        (JOBS, "1,1", HourFacts(H13), False),
        (JOBS, "0,1", FACTS, True),
        (JOBS, "0,9", HourFacts(H13), True),
        (SIZES, "345,12", HourFacts(H13), False),
        (SIZES, "345,12", FACTS, True),
        (SIZES, "0,0", HourFacts(H13), True),
        (TABLES, '3,3,0,"[]",1', replace(FACTS, files=0), False),
        (TABLES, '3,3,0,"[]",1', FACTS, True),
        (TABLES, "", replace(FACTS, expected=None), False),
        (RUNS, "failed,x,us,,,,2,,,", FACTS, False),
        (RUNS, "failed,x,us,,,,2,,,", replace(FACTS, run=RUN), True),
        (RUNS, "delivered,,,,,,,,,", HourFacts(H13), False),
        (RUNS, "delivered,,,,,,,,,", FACTS, True),
        (RUNS, "missed,unknown,,,,,,,,", HourFacts(H13), True),
        (RUNS, "missed,unknown,,,,,,,,", FACTS, True),
    ],
)
def test_new_rows_replace_old_ones_and_missing_rows_remove_none(
    dataset: HourDataset, old: str, facts: HourFacts, wins: bool
) -> None:
    stands = (LABEL, *re.sub(r'"', "", old).split(","), "ticket 7")
    frame = Frame({H13: stands, H13.shift(1): ("other",)}, ("note",))
    after = upsert(dataset, frame, {H13: facts})
    new = dataset.of(facts)
    assert after.rows[H13] == ((*new, "ticket 7") if wins and new else stands)
    assert after.rows[H13.shift(1)] == ("other",)
    assert after.extra == ("note",)
    assert frame.rows[H13] == stands, "the frame that was given is as it was"


def test_an_hour_that_is_new_has_its_extra_cells_blank_and_one_without_a_row_stops_no_other() -> None:
    after = upsert(TABLES, Frame({}, ("a", "b")), {H13: replace(FACTS, expected=None), H13.shift(1): FACTS})
    assert after.rows == {H13.shift(1): (LABEL, "2", "3", "1", '["C"]', "0.6667", "", "")}


def test_an_import_keeps_all_columns_and_all_filled_cells() -> None:
    mine = Frame({H13: (LABEL, "10", "5", "m", "x"), H13.shift(1): ("20220510-14", "1", "1", "m", "x")}, ("a", "b"))
    theirs = Frame({H13: (LABEL, "11", "6", "", "n"), H13.shift(2): ("20220510-15", "2", "2", "t", "n")}, ("a", "c"))
    merged = take_in(SIZES, mine, theirs, preferred=True)
    assert merged.extra == ("a", "b", "c")
    assert merged.rows == {
        H13: (LABEL, "11", "6", "m", "x", "n"),
        H13.shift(1): ("20220510-14", "1", "1", "m", "x", ""),
        H13.shift(2): ("20220510-15", "2", "2", "t", "", "n"),
    }
    stands = take_in(SIZES, mine, theirs, preferred=False)
    assert stands.rows[H13] == (LABEL, "10", "5", "m", "x", "n")


def test_of_two_rows_the_one_with_data_wins() -> None:
    something, nothing = Frame({H13: (LABEL, "10", "5")}), Frame({H13: (LABEL, "9", "0")})
    for preferred in (True, False):
        assert take_in(SIZES, nothing, something, preferred=preferred).rows == something.rows
        assert take_in(SIZES, something, nothing, preferred=preferred).rows == something.rows
    neither = take_in(SIZES, nothing, Frame({H13: (LABEL, "8", "0")}), preferred=True)
    assert neither.rows == nothing.rows, "where neither says anything, what stands stays"
    mine, theirs = (Frame({H13: (LABEL, letter * 64, "")}) for letter in "ab")
    assert take_in(SCHEMAS, mine, theirs, preferred=True).rows == theirs.rows, "any schema says something"


# -- cells ------------------------------------------------------------------------------------------------------


def cell(dataset: HourDataset, column: str, text: str) -> str | None:
    """What becomes of a cell; None: its row is set aside."""
    good = {
        "date": LABEL, "missingTablesList": "[]", "completenessRatio": "1", "schema": "0a" * 32, "outcome": "delivered"
    }  # fmt: skip
    quoted = [f'"{text if name == column else good.get(name, "1")}"' for name in dataset.columns]
    rows = parse(dataset, f"{','.join(dataset.columns)}\n{','.join(quoted)}\n".encode()).frame.rows
    return next(iter(rows.values()))[dataset.columns.index(column)] if rows else None


@pytest.mark.parametrize(
    ("dataset", "column", "text", "read"),
    [
        (JOBS, "date", " 2022-05-10T13 ", LABEL),
        (JOBS, "date", "yesterday", None),
        (SIZES, "files", "12", "12"),
        (SIZES, "files", " 007 ", "7"),
        (SIZES, "files", "1.0", "1"),
        (SIZES, "files", "1e3", "1000"),
        (SIZES, "files", "0", "0"),
        (SIZES, "files", "9007199254740993", "9007199254740993"),
        (SIZES, "files", "9223372036854775807", "9223372036854775807"),
        (SIZES, "files", "1e19", None),
        (SIZES, "files", "-1", None),
        (SIZES, "files", "1.5", None),
        (SIZES, "files", "inf", None),
        (SIZES, "files", "nan", None),
        (SIZES, "files", "", None),
        (RUNS, "attempts", "", ""),
        (RUNS, "attempts", "NaN", ""),
        (RUNS, "attempts", "None", ""),
        (RUNS, "attempts", "null", ""),
        (RUNS, "attempts", "2.0", "2"),
        (RUNS, "attempts", "x", None),
        (RUNS, "initSeconds", "", ""),
        (RUNS, "initSeconds", "nan", ""),
        (RUNS, "initSeconds", "100", "100"),
        (RUNS, "initSeconds", "0.5", "0.5"),
        (RUNS, "initSeconds", "1.23456", "1.235"),
        (RUNS, "initSeconds", "1e999", None),
        (RUNS, "initSeconds", "x", None),
        (RUNS, "outcome", " delivered ", "delivered"),
        (RUNS, "cause", "", ""),
        (RUNS, "cause", "a\r\nb\rc\nd", "a\nb\nc\nd"),
        (TABLES, "completenessRatio", "nan", ""),
        (TABLES, "completenessRatio", "0.33333", "0.3333"),
        (TABLES, "completenessRatio", "-inf", None),
        (TABLES, "completenessRatio", "x", None),
        (TABLES, "missingTablesList", "", "[]"),
        (TABLES, "missingTablesList", "nan", "[]"),
        (TABLES, "missingTablesList", '[""B"", ""A""]', '["A", "B"]'),
        (TABLES, "missingTablesList", "['B', 'É']", '["B", "É"]'),
        (TABLES, "missingTablesList", "('B', 'A')", '["A", "B"]'),
        (TABLES, "missingTablesList", "{'B'}", '["B"]'),
        (TABLES, "missingTablesList", "set()", "[]"),
        (TABLES, "missingTablesList", "{'B': 1}", None),
        (TABLES, "missingTablesList", "['B', 1]", None),
        (TABLES, "missingTablesList", "'B'", None),
        (TABLES, "missingTablesList", "B", None),
        (SCHEMAS, "schema", "AB" * 32, "ab" * 32),
        (SCHEMAS, "schema", "ab" * 31, None),
        (SCHEMAS, "tables", "", ""),
    ],
)
def test_a_cell_is_read_in_its_plain_form_or_its_row_is_set_aside(
    dataset: HourDataset, column: str, text: str, read: str | None
) -> None:
    assert cell(dataset, column, text) == read


NUMBERS = [
    (JOBS, "jobDelivered JobExpected", None),
    (TABLES, "tablesDelivered tablesExpected missingTables", None),
    (TABLES, "completenessRatio", ""),
    (SIZES, "size files", None),
    (RUNS, "initSeconds replicationSeconds transferSeconds attempts files bytes requests", ""),
    (SCHEMAS, "tables", ""),
]


@pytest.mark.parametrize(
    ("dataset", "column", "gap"),
    [(dataset, column, gap) for dataset, columns, gap in NUMBERS for column in columns.split()],
)
def test_a_number_column_rejects_text_and_accepts_a_gap_only_where_allowed(
    dataset: HourDataset, column: str, gap: str | None
) -> None:
    assert cell(dataset, column, "1.0") in {"1", "1.0000"}
    assert cell(dataset, column, "x") is None
    assert cell(dataset, column, "nan") == gap


WIDTH = "another number of cells than the header, or a quote that is never closed"
H27_ROWS = {
    "semicolons and decimal commas": b"date;size;files\r\n20220510-13;345,0;12\r\n",
    "tabs in UTF-16": "date\tsize\tfiles\r\n20220510-13\t345\t12\r\n".encode("utf-16"),
    "bars": b"date|size|files\n20220510-13|345|12\n",
    "a header typed by hand": b"Date, SIZE ,Files\n20220510-13,345,12\n",
    "a line that names the delimiter": b"sep=;\r\ndate;size;files\r\n20220510-13;345;12\r\n",
}


@pytest.mark.parametrize("data", H27_ROWS.values(), ids=H27_ROWS)
def test_H27_csv_of_excel_in_another_country_is_read(data: bytes) -> None:
    parsed = parse(SIZES, data)
    assert {hour: row[:3] for hour, row in parsed.frame.rows.items()} == {H13: (LABEL, "345", "12")}
    assert parsed.unreadable == parsed.warnings == ()


@pytest.mark.parametrize(("text", "count"), [("True", "1"), ("FALSE", "0"), ("1.0", "1"), ("1,234,567", "1234567")])
def test_H27_count_as_pandas_writes_it_is_read(text: str, count: str) -> None:
    assert cell(JOBS, "jobDelivered", text) == count


def test_H27_ratio_with_decimal_comma_is_read() -> None:
    data = f'{";".join(TABLES.columns)}\n20220510-13;22;23;1;["Vessel"];0,9565\n'.encode()
    assert parse(TABLES, data).frame.rows == {H13: (LABEL, "22", "23", "1", '["Vessel"]', "0.9565")}


@pytest.mark.parametrize("text", ["1.000", "12,345", "1,234,56"])
def test_H27_count_that_may_be_thousands_is_set_aside(text: str) -> None:
    assert cell(SIZES, "files", text) is None


@pytest.mark.parametrize(
    "text", ["2022-05-10 13:00:00", "2022-05-10T13:00:00Z", "2022-05-10 13:00:00+00:00", "2022-05-10 15:00:00+02:00",
             "10.05.2022 13:00", "10.5.2022 13:00:00"],
)  # fmt: skip
def test_H28_date_as_pandas_and_excel_write_it_is_read(text: str) -> None:
    assert cell(JOBS, "date", text) == LABEL


@pytest.mark.parametrize(
    "text",
    ["2022-05-10 13:30:00", "2022-05-10", "0001-01-01 00:00:00", "10/05/2022 13:00", "32.05.2022 13:00", "10.05.2022"],
)
def test_H28_date_that_is_no_hour_is_set_aside(text: str) -> None:
    assert cell(JOBS, "date", text) is None


def table_row(names: str, missing: int) -> Parsed:
    quoted = names.replace('"', '""')
    return parse(TABLES, f'{",".join(TABLES.columns)}\n20220510-13,1,3,{missing},"{quoted}",0.33\n'.encode())


@pytest.mark.parametrize(
    "names", ["['Vessel' 'Port']", "['Vessel'\n 'Port']", "['Vessel', 'Port']", "[np.str_('Vessel'), np.str_('Port')]"]
)
def test_H29_numpy_array_as_text_gives_every_table(names: str) -> None:
    [row] = table_row(names, 2).frame.rows.values()
    assert row[4] == '["Port", "Vessel"]'


@pytest.mark.parametrize("names", ['["VesselPort"]', "['VesselPort']"])
def test_H29_list_that_disagrees_with_its_count_is_read_with_a_warning(names: str) -> None:
    parsed = table_row(names, 2)
    assert [row[4] for row in parsed.frame.rows.values()] == ['["VesselPort"]']
    assert parsed.warnings == ("20220510-13: missingTables is 2, and missingTablesList names 1",)


def test_names_are_a_json_list_in_order_and_to_the_letter() -> None:
    assert names_json({"Voyage", "É", 'a"b'}) == '["Voyage", "a\\"b", "É"]'


# -- files --------------------------------------------------------------------------------------------------------


def test_additional_columns_keep_name_and_position() -> None:
    parsed = parse(SIZES, b" note ,size,date,files,,size\n a ,1,20220510-13,2,b,9\n")
    assert parsed.frame.extra == ("note",), "a column without a name is the index of pandas, or none"
    assert parsed.frame.rows == {H13: (LABEL, "1", "2", " a ")}
    assert parsed.unreadable == parsed.warnings == ()


def test_blank_rows_are_nothing_and_others_of_the_wrong_width_are_set_aside_as_they_were() -> None:
    data = b"date,size,files\n\n,,\n20220510-13,1,2\n20220510-14,1\n20220510-15,1,2,3\nx,1,2\n\n"
    parsed = parse(SIZES, data)
    assert list(parsed.frame.rows) == [H13]
    assert parsed.unreadable == ("20220510-14,1\n", "20220510-15,1,2,3\n", "x,1,2\n")
    assert parsed.warnings == (f"3 lines are no rows and were set aside; the first: '20220510-14,1' ({WIDTH})",)


def test_a_line_that_is_no_row_is_shown_by_its_beginning() -> None:
    parsed = parse(SIZES, b"date,size,files\n" + b"y" * 200)
    assert parsed.warnings == (f"1 line is no row and was set aside; the first: '{'y' * 80}' ({WIDTH})",)


def test_a_cell_may_go_over_lines_and_a_quote_that_is_never_closed_costs_its_line_alone() -> None:
    data = b'date,size,files,note\n20220510-13,1,2,"a\nb"\n20220510-14,1,2,"c\n20220510-15,1,2,d\n20220510-16,1,2,e'
    parsed = parse(SIZES, data)
    assert [(hour.label, row[-1]) for hour, row in parsed.frame.rows.items()] == [
        (LABEL, "a\nb"),
        ("20220510-15", "d"),
        ("20220510-16", "e"),
    ]
    assert parsed.unreadable == ('20220510-14,1,2,"c\n',)


def test_a_quote_that_the_next_line_closes_costs_its_line_alone_too_each_time() -> None:
    torn = '20220510-14,1,2,"c\n'
    data = f'date,size,files,note\n{torn}20220510-15,"1",2,d\n{torn}20220510-16,"1",2,e\n'
    parsed = parse(SIZES, data.encode())
    assert [(hour.label, row[-1]) for hour, row in parsed.frame.rows.items()] == [
        ("20220510-15", "d"),
        ("20220510-16", "e"),
    ]
    assert parsed.unreadable == (torn, torn)


def test_a_quote_that_is_left_open_in_the_header_takes_no_row_into_it() -> None:
    parsed = parse(SIZES, b'date,size,files,"note\n20220510-13,1,2,x\n')
    assert parsed.frame == Frame({H13: (LABEL, "1", "2", "x")}, ("note",))


def test_a_record_that_is_no_row_is_set_aside_with_all_its_lines_as_they_were() -> None:
    parsed = parse(SIZES, b'date,size,files,note\r\nx,1,2,"a\r\nb"\r\n20220510-13,1,2,c\r\n')
    assert parsed.unreadable == ('x,1,2,"a\r\nb"\r\n',)
    assert parsed.frame.rows == {H13: (LABEL, "1", "2", "c")}


def test_lines_may_end_as_on_an_old_mac() -> None:
    assert parse(SIZES, b"date,size,files\r20220510-13,1,2\r").frame == Frame({H13: (LABEL, "1", "2")}, ())


@pytest.mark.parametrize("header", ["date,size,files", "date,size,files\n", "date;size;files\n"])
def test_a_header_alone_is_a_file_without_rows(header: str) -> None:
    assert parse(SIZES, header.encode()) == Parsed(Frame({}, ()))


def test_of_repeated_hours_the_last_fullest_row_wins_and_three_are_named() -> None:
    hours = [H13.shift(n).label for n in range(4)]
    first = [f"{label},5,5" for label in hours]
    again = [f"{label},6,{5 if n else 4}" for n, label in enumerate(hours)]
    parsed = parse(SIZES, "\n".join(["date,size,files", *first, *again]).encode())
    assert [row[1:] for row in parsed.frame.rows.values()] == [("5", "5"), *[("6", "5")] * 3]
    assert parsed.warnings == (
        "4 rows repeat an Hour (20220510-13, 20220510-14, 20220510-15, ...): the one that says most is kept",
    )
    three = parse(SIZES, "\n".join(["date,size,files", *first[:3], *again[:3]]).encode())
    assert three.warnings == (
        "3 rows repeat an Hour (20220510-13, 20220510-14, 20220510-15): the one that says most is kept",
    )


def test_a_run_with_a_ledger_outweighs_a_delivery_and_that_a_missed_hour() -> None:
    rows = ["delivered,,,,,,,,,", "failed,x,us,,,,1,,,", "delivered,,,,,,,,,", "missed,unknown,,,,,,,,"]
    data = "\n".join([",".join(RUNS.columns), *[f"{LABEL},{row}" for row in rows]]).encode()
    assert parse(RUNS, data).frame.rows[H13][1] == "failed"
    data = "\n".join([",".join(RUNS.columns), *[f"{LABEL},{row}" for row in (rows[3], rows[0], rows[3])]]).encode()
    assert parse(RUNS, data).frame.rows[H13][1] == "delivered"


@pytest.mark.parametrize(
    ("data", "note", "warnings"),
    [
        ("date,size,files,é\n20220510-13,1,2,ü\n".encode(), "ü", ()),
        ("\ufeffdate,size,files,é\n20220510-13,1,2,ü\n".encode(), "ü", ()),
        ("date,size,files,é\n20220510-13,1,2,ü\n".encode("utf-16-le"), None, ()),
        (b"\xff\xfe" + "date,size,files,é\n20220510-13,1,2,ü\n".encode("utf-16-le"), "ü", ()),
        (b"\xfe\xff" + "date,size,files,é\n20220510-13,1,2,ü\n".encode("utf-16-be"), "ü", ()),
        ("date,size,files,é\n20220510-13,1,2,ü\n".encode("cp1252"), "ü", ("it is not UTF-8: read as Windows-1252",)),
        (b"date,size,files,\xe9\n20220510-13,1,2,\x81\n", "\ufffd", ("it is not UTF-8: read as Windows-1252",)),
        ("date;size;files;a,b\n20220510-13;1;2;ü\n".encode(), None, ()),
        (b"date;size;files;a\n20220510-13;1;2;x,y\n", "x,y", ()),
        ("date,size,files,a;b\n20220510-13,1,2,ü\n".encode(), "ü", ()),
    ],
)
def test_a_file_is_read_in_the_encoding_and_with_the_separator_that_it_has(
    data: bytes, note: str | None, warnings: tuple[str, ...]
) -> None:
    if note is None:
        with pytest.raises(SettingsError):
            parse(SIZES, data)
    else:
        parsed = parse(SIZES, data)
        assert parsed.frame.rows == {H13: (LABEL, "1", "2", note)}
        assert parsed.warnings == warnings


def test_a_foreign_file_is_refused_with_the_missing_columns() -> None:
    with pytest.raises(SettingsError, match="it has no column date, size, files"):
        parse(SIZES, b"")
    with pytest.raises(SettingsError) as caught:
        parse(SIZES, b"size,x\n1,2\n")
    assert caught.value.message == "this is no historical_job_size.csv: it has no column date, files"
    assert caught.value.hint == "Its columns are date,size,files; further ones are kept."


def test_a_file_is_sorted_by_hour_and_read_back_unchanged() -> None:
    frame = Frame({H13.shift(1): ("20220510-14", "1", "2", 'a,"b'), H13: (LABEL, "3", "4", "é\r\nf")}, ("n;m",))
    written = render(SIZES, frame)
    assert written == 'date,size,files,n;m\n20220510-13,3,4,"é\r\nf"\n20220510-14,1,2,"a,""b"\n'.encode()
    assert own_frame(SIZES, written.decode()) == frame
    assert own_frame(SIZES, "") == Frame({}, ())
    for torn, said in ((f"{LABEL},1", "a row of another width"), ("x,1,2", "not an Hour")):
        with pytest.raises(ValueError, match=said):
            own_frame(SIZES, f"date,size,files\n{torn}\n")


# -- what got worse -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "old", "new", "worse"),
    [
        (JOBS, ("1", "1"), ("0", "1"), True),
        (JOBS, ("0", "1"), ("1", "1"), False),
        (TABLES, ("5", "5", "0", "[]", "1"), ("5", "6", "1", '["X"]', "0.8333"), True),
        (TABLES, ("5", "6", "1", '["X"]', "0.8333"), ("6", "6", "0", "[]", "1"), False),
        (SIZES, ("9", "4"), ("8", "3"), True),
        (SIZES, ("9", "4"), ("8", "4"), False),
        (RUNS, _run(H13, "delivered")[1:], _run(H13, "failed")[1:], True),
        (RUNS, _run(H13, "waiting")[1:], _run(H13, "missed")[1:], True),
        (RUNS, _run(H13, "failed")[1:], _run(H13, "delivered")[1:], False),
        (RUNS, _run(H13, "delivered", "1")[1:], _run(H13, "delivered", "2")[1:], False),
    ],
)
def test_a_row_worsens_where_it_reports_less_than_before(
    dataset: HourDataset, old: Row, new: Row, *, worse: bool
) -> None:
    assert worsens(dataset, (H13.label, *old), (H13.label, *new)) is worse
