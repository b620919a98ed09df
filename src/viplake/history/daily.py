"""PURE. The daily views of the hourly datasets: sums of jobs, means of tables, ratios as sum over sum."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from viplake.history.datasets import JOBS, SIZES, TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from viplake.history.build import History
    from viplake.history.datasets import Row
    from viplake.model import Hour


@dataclass(frozen=True, slots=True)
class DailyJobs:
    """Job delivery of a UTC day.

    Attributes:
        day: `20220510`.
        delivered, expected: sums over the day's rows.
    """

    day: str
    delivered: int
    expected: int

    @property
    def success_ratio(self) -> float | None:
        """Delivered / expected; None where nothing was expected."""
        return self.delivered / self.expected if self.expected else None


@dataclass(frozen=True, slots=True)
class DailyTables:
    """Table delivery of a UTC day.

    Attributes:
        day: `20220510`.
        delivered, expected, missing: means over the day's rows (Hours without a schema have none).
        completeness_ratio: sum of delivered / sum of expected, not the mean of ratios; None where none was expected.
    """

    day: str
    delivered: float
    expected: float
    missing: float
    completeness_ratio: float | None


@dataclass(frozen=True, slots=True)
class DailySize:
    """Volume of a UTC day: sums over the day's rows; `size` in kilobytes."""

    day: str
    size: int
    files: int


@dataclass(frozen=True, slots=True)
class Daily:
    """All daily views, days ascending."""

    jobs: tuple[DailyJobs, ...]
    tables: tuple[DailyTables, ...]
    sizes: tuple[DailySize, ...]

    def to_json(self) -> dict[str, Any]:
        """As `viplake observe --daily --json` prints it; ratios with 4 decimals, means with 2."""
        return {
            "schema_version": 1,
            "jobs": [
                {
                    "date": row.day,
                    "jobDelivered": row.delivered,
                    "JobExpected": row.expected,
                    "successRatio": _rounded(row.success_ratio, 4),
                }
                for row in self.jobs
            ],
            "tables": [
                {
                    "date": row.day,
                    "tablesDelivered": round(row.delivered, 2),
                    "tablesExpected": round(row.expected, 2),
                    "missingTables": round(row.missing, 2),
                    "completenessRatio": _rounded(row.completeness_ratio, 4),
                }
                for row in self.tables
            ],
            "sizes": [{"date": row.day, "size": row.size, "files": row.files} for row in self.sizes],
        }


def daily(history: History) -> Daily:
    """The daily views of a history."""
    return Daily(
        tuple(daily_jobs(history.rows(JOBS))),
        tuple(daily_tables(history.rows(TABLES))),
        tuple(daily_sizes(history.rows(SIZES))),
    )


def daily_jobs(rows: Mapping[Hour, Row]) -> list[DailyJobs]:
    """From the rows of `historical_job_metrics.csv`."""
    return [
        DailyJobs(day, sum(int(row[1]) for row in of_day), sum(int(row[2]) for row in of_day))
        for day, of_day in _days(rows)
    ]


def daily_tables(rows: Mapping[Hour, Row]) -> list[DailyTables]:
    """From the rows of `historical_table_metrics.csv`."""
    found = []
    for day, of_day in _days(rows):
        delivered, expected, missing = (sum(int(row[column]) for row in of_day) for column in (1, 2, 3))
        count = len(of_day)
        ratio = delivered / expected if expected else None
        found.append(DailyTables(day, delivered / count, expected / count, missing / count, ratio))
    return found


def daily_sizes(rows: Mapping[Hour, Row]) -> list[DailySize]:
    """From the rows of `historical_job_size.csv`."""
    return [
        DailySize(day, sum(int(row[1]) for row in of_day), sum(int(row[2]) for row in of_day))
        for day, of_day in _days(rows)
    ]


def _days(rows: Mapping[Hour, Row]) -> Iterator[tuple[str, Sequence[Row]]]:
    for day, hours in groupby(sorted(rows), key=lambda hour: hour.day):
        yield day, [rows[hour] for hour in hours]


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
