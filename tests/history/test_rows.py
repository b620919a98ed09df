"""The datasets are read as users hold them."""

from __future__ import annotations

import pytest

from viplake.errors import SettingsError
from viplake.history.rows import Datasets, JobRow, RunRow, SizeRow, TableRow
from viplake.history.schema_changes import SchemaVersion
from viplake.model import Hour

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
SCHEMAS = f"date,schema,tables\n20220510-13,{'a' * 64},4\n20220510-14,{'a' * 64},4\n20220510-15,{'b' * 64},\n"
AT = Hour.parse("2022-05-10T13")


def test_all_files_become_rows_in_order_of_time() -> None:
    found = Datasets.read(
        {
            "historical_job_metrics.csv": JOBS.encode(),
            "historical_table_metrics.csv": TABLES.encode(),
            "historical_job_size.csv": SIZES.encode(),
            "historical_run_metrics.csv": RUNS.encode(),
            "historical_schema_versions.csv": SCHEMAS.encode(),
        }
    )
    assert found.jobs == (JobRow(AT, 0, 1), JobRow(AT.shift(1), 1, 1))
    assert found.tables[0] == TableRow(AT, 2, 4, 2, ("Port", "Voyage"), 0.5)
    assert found.tables[1].missing_tables == ("Port", "Voyage")
    assert found.tables[2].ratio is None
    assert found.sizes == (SizeRow(AT, 12345, 400),)
    assert found.runs == (RunRow(AT, "failed", "vendor_timeout", "vendor", 61.5, 3000.0, None),)
    assert found.schemas == (
        SchemaVersion("a" * 64, AT, AT.shift(1), 2, 4),
        SchemaVersion("b" * 64, AT.shift(2), AT.shift(2), 1, None),
    )
    later = found.between(AT.shift(1), AT.shift(9))
    assert later == Datasets(jobs=found.jobs[1:], tables=found.tables[1:], schemas=found.schemas)
    assert later.between(AT.shift(2), AT.shift(9)).schemas == found.schemas[1:]


def test_a_byte_order_mark_crlf_and_further_columns_are_no_harm() -> None:
    text = "\ufeff" + JOBS.replace("JobExpected", "JobExpected,note").replace(",1\n", ",1,x\n").replace("\n", "\r\n")
    assert Datasets.read({"historical_job_metrics.csv": text.encode()}).jobs[1] == JobRow(AT.shift(1), 1, 1)


def test_of_two_lines_of_one_hour_the_fuller_one_wins() -> None:
    text = JOBS + "20220510-13,1.0,1\n"
    assert Datasets.read({"historical_job_metrics.csv": text.encode()}).jobs[0] == JobRow(AT, 1, 1)


def test_lines_that_are_no_rows_are_left_out() -> None:
    text = JOBS + "20220510-25,1,1\n20220510-15,x,1\n2022"
    assert len(Datasets.read({"historical_job_metrics.csv": text.encode()}).jobs) == 2


def test_a_file_of_another_kind_is_refused() -> None:
    with pytest.raises(SettingsError, match="historical_job_metrics"):
        Datasets.read({"historical_job_metrics.csv": SIZES.encode()})


def test_a_file_of_another_name_is_passed_over() -> None:
    assert Datasets.read({"notes.csv": b"a,b\n"}) == Datasets()
