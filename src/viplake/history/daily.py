"""PURE. The daily views of the hourly datasets: sums of jobs, means of tables, ratios as sum over sum."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from viplake.history.rows import Datasets, HourRow, JobRow, SizeRow, TableRow


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
        """Return the object that `viplake observe --daily --json` prints; ratios with 4 decimals, means with 2."""
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


def daily_views(datasets: Datasets) -> Daily:
    """Return the daily views of a history."""
    return Daily(
        tuple(daily_jobs(datasets.jobs)), tuple(daily_tables(datasets.tables)), tuple(daily_sizes(datasets.sizes))
    )


def daily_jobs(rows: Sequence[JobRow]) -> list[DailyJobs]:
    """Return the jobs of each day, from rows in order of time."""
    return [
        DailyJobs(day, sum(row.delivered for row in of_day), sum(row.expected for row in of_day))
        for day, of_day in _days(rows)
    ]


def daily_tables(rows: Sequence[TableRow]) -> list[DailyTables]:
    """Return the tables of each day, from rows in order of time."""
    found = []
    for day, of_day in _days(rows):
        delivered, expected = sum(row.delivered for row in of_day), sum(row.expected for row in of_day)
        missing, count = sum(row.missing for row in of_day), len(of_day)
        ratio = delivered / expected if expected else None
        found.append(DailyTables(day, delivered / count, expected / count, missing / count, ratio))
    return found


def daily_sizes(rows: Sequence[SizeRow]) -> list[DailySize]:
    """Return the volumes of each day, from rows in order of time."""
    return [
        DailySize(day, sum(row.kilobytes for row in of_day), sum(row.files for row in of_day))
        for day, of_day in _days(rows)
    ]


def _days(rows: Sequence[HourRow]) -> Iterator[tuple[str, Sequence[HourRow]]]:
    for day, of_day in groupby(rows, key=lambda row: row.hour.day):
        yield day, list(of_day)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
