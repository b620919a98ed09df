"""The daily views: sums, means, and ratios that weigh each Hour by what it expected."""

from __future__ import annotations

import pytest

from viplake.history.daily import Daily, daily_views
from viplake.history.datasets import JOBS, RUNS, SIZES, TABLES
from viplake.history.rows import Datasets
from viplake.model import Hour

JOB_ROWS = "20220510-22,1,1\n20220510-23,0,1\n20220511-00,1,1\n"
TABLE_ROWS = "20220510-22,1,2,1,[],0.5\n20220510-23,8,8,0,[],1\n20220511-00,0,0,0,[],\n"
SIZE_ROWS = "20220510-22,10,3\n20220510-23,0,0\n20220511-00,7,2\n"


def views() -> Daily:
    texts = {JOBS: JOB_ROWS, TABLES: TABLE_ROWS, SIZES: SIZE_ROWS, RUNS: ""}
    files = {d.file: f"{','.join(d.columns)}\n{text}".encode() for d, text in texts.items()}
    return daily_views(Datasets.read(files))


def test_jobs_are_summed_and_the_ratio_is_delivered_over_expected() -> None:
    first, second = views().jobs
    assert (first.day, first.delivered, first.expected, first.success_ratio) == ("20220510", 1, 2, 0.5)
    assert (second.day, second.success_ratio) == ("20220511", 1.0)


def test_tables_are_means_and_the_ratio_is_sum_over_sum() -> None:
    first, second = views().tables
    assert (first.delivered, first.expected, first.missing) == (4.5, 5.0, 0.5)
    assert first.completeness_ratio == pytest.approx(9 / 10), "not the mean of 0.5 and 1"
    assert second.completeness_ratio is None


def test_the_views_are_plain_json() -> None:
    shown = views().to_json()
    assert shown["jobs"][0] == {"date": "20220510", "jobDelivered": 1, "JobExpected": 2, "successRatio": 0.5}
    assert shown["tables"][0]["completenessRatio"] == 0.9
    assert shown["sizes"] == [{"date": "20220510", "size": 10, "files": 3}, {"date": "20220511", "size": 7, "files": 2}]


def test_a_day_is_one_of_utc() -> None:
    assert Hour.parse("2022-05-10T23").day == views().jobs[0].day
