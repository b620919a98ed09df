"""The datasets are read as users hold them."""

from __future__ import annotations

import pytest

from viplake.errors import SettingsError
from viplake.model import Hour
from viplake.report.rows import Datasets, JobRow, RunRow, SizeRow, TableRow, parse_names

JOBS = "date,jobDelivered,JobExpected\n20220510-14,1,1\n20220510-13,0,1\n"
TABLES = (
    "date,tablesDelivered,tablesExpected,missingTables,missingTablesList,completenessRatio\n"
    '20220510-13,2,4,2,"[""Voyage"", ""Port""]",0.5\n'
    "20220510-14,2,4,2,\"['Voyage', 'Port']\",0.5\n"
    "20220510-15,0,0,0,[],\n"
)
SIZES = "date,size,files\n20220510-13,12345,400\n"
RUNS = (
    "date,outcome,cause,owner,initSeconds,replicationSeconds,transferSeconds,attempts,files,bytes,requests\n"
    "20220510-13,failed,vendor_timeout,vendor,61.5,3000,,1,0,0,55\n"
)
AT = Hour.parse("2022-05-10T13")


def test_all_four_files_become_rows_in_order_of_time() -> None:
    found = Datasets.read(
        {
            "historical_job_metrics.csv": JOBS,
            "historical_table_metrics.csv": TABLES,
            "historical_job_size.csv": SIZES,
            "historical_run_metrics.csv": RUNS,
        }
    )
    assert found.jobs == (JobRow(AT, 0, 1), JobRow(AT.shift(1), 1, 1))
    assert found.tables[0] == TableRow(AT, 2, 4, 2, ("Voyage", "Port"), 0.5)
    assert found.tables[1].missing_tables == ("Voyage", "Port")
    assert found.tables[2].ratio is None
    assert found.sizes == (SizeRow(AT, 12345, 400),)
    assert found.runs == (RunRow(AT, "failed", "vendor_timeout", "vendor", 61.5, 3000.0, None),)
    assert found.since(AT.shift(1)) == Datasets(jobs=found.jobs[1:], tables=found.tables[1:])


def test_a_byte_order_mark_crlf_and_further_columns_are_no_harm() -> None:
    text = "\ufeff" + JOBS.replace("JobExpected", "JobExpected,note").replace(",1\n", ",1,x\n").replace("\n", "\r\n")
    assert Datasets.read({"historical_job_metrics.csv": text}).jobs[1] == JobRow(AT.shift(1), 1, 1)


def test_of_two_lines_of_one_hour_the_last_stands() -> None:
    text = JOBS + "20220510-13,1.0,1\n"
    assert Datasets.read({"historical_job_metrics.csv": text}).jobs[0] == JobRow(AT, 1, 1)


@pytest.mark.parametrize(
    "line", ["20220510-1", "20220510-25,1,1", "20220510-13,x,1", "20220510-13,0.5,1", "20220510-13"]
)
def test_a_line_that_cannot_be_read_is_named(line: str) -> None:
    with pytest.raises(SettingsError, match=r"historical_job_metrics\.csv, line 4"):
        Datasets.read({"historical_job_metrics.csv": JOBS + line + "\n"})


@pytest.mark.parametrize("text", ["{", "Voyage", "[1]", '"x"', "[" * 5000, "__import__('os')"])
def test_what_is_no_list_of_names_is_refused(text: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        parse_names(text)
