"""PURE. The numbers behind each figure, as a table: datasets in, columns out.

A figure is drawn from its table and from nothing else, so the two cannot disagree, and whoever cannot see the
figure reads the same numbers. Rows are in order of time; a row exists where the dataset has one, but for the
matrices (an Hour by table), which hold every Hour of their range.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from viplake.history.daily import daily_jobs, daily_tables
from viplake.history.schema_changes import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from viplake.history.daily import DailyJobs, DailyTables
    from viplake.history.rows import Datasets, HourRow, TableRow
    from viplake.model import Hour

FigureColumnKind = Literal["hour", "day", "number", "text"]

_Day = TypeVar("_Day", "DailyJobs", "DailyTables")

MATRIX_HOURS: Final = 24 * 400
"""The most Hours in a matrix: a year and what lies around it, whatever a stray date in a file says."""

DELIVERED: Final = "delivered"
TABLES_MISSING: Final = "tables missing"
WAITING: Final = "waiting"
FAILED: Final = "failed"
MISSING: Final = "missing"
OUTCOMES: Final = (DELIVERED, TABLES_MISSING, WAITING, FAILED, MISSING)
"""What an Hour came to, from good to bad; `missing` is an Hour of which nothing is known but its absence."""

TABLE_STATES: Final = ("delivered", "missing", "no job")
"""What became of a table in an Hour."""


@dataclass(frozen=True, slots=True)
class FigureColumn:
    """One column of a table.

    Attributes:
        name: its heading.
        kind: `hour` (an Hour's label, `20220510-13`), `day` (`20220510`), `number` or `text`.
        values: from the first row to the last; None where there is none.
        unit: of numbers, where the name does not say it.
    """

    name: str
    kind: FigureColumnKind
    values: Sequence[str | float | None]
    unit: str = ""


@dataclass(frozen=True, slots=True)
class FigureTable:
    """Columns of equal length; the first one is the time."""

    columns: tuple[FigureColumn, ...]

    @property
    def times(self) -> Sequence[str]:
        """The labels of the first column."""
        return [str(value) for value in self.columns[0].values]

    def column(self, name: str) -> Sequence[str | float | None]:
        """The values of the column of this name.

        Raises:
            KeyError: there is none.
        """
        for column in self.columns[1:]:
            if column.name == name:
                return column.values
        raise KeyError(name)

    def __len__(self) -> int:
        """How many rows."""
        return len(self.columns[0].values)


# -- the ten ------------------------------------------------------------------------------------------------


def files_hourly(datasets: Datasets) -> FigureTable:
    """Files of each Hour whose job was delivered."""
    delivered = {row.hour for row in datasets.jobs if row.delivered}
    rows = [row for row in datasets.sizes if row.hour in delivered]
    return _hourly(rows, files=lambda row: row.files)


def size_hourly(datasets: Datasets) -> FigureTable:
    """Kilobytes of each Hour."""
    return _hourly(datasets.sizes, "kB", size=lambda row: row.kilobytes)


def jobs_daily(datasets: Datasets) -> FigureTable:
    """Jobs delivered and expected, summed over each day."""
    return _daily(daily_jobs(datasets.jobs), delivered=lambda day: day.delivered, expected=lambda day: day.expected)


def job_ratio_daily(datasets: Datasets) -> FigureTable:
    """Jobs delivered / expected of each day."""
    return _daily(daily_jobs(datasets.jobs), successRatio=lambda day: day.success_ratio)


def jobs_hourly(datasets: Datasets) -> FigureTable:
    """1 for each Hour whose job was delivered, else 0."""
    return _hourly(datasets.jobs, jobDelivered=lambda row: row.delivered)


def tables_daily(datasets: Datasets) -> FigureTable:
    """Tables delivered and expected, the mean over each day's Hours."""
    return _daily(daily_tables(datasets.tables), delivered=lambda day: day.delivered, expected=lambda day: day.expected)


def table_ratio_daily(datasets: Datasets) -> FigureTable:
    """Tables delivered / expected of each day: sum / sum, not the mean of the Hours' ratios."""
    return _daily(daily_tables(datasets.tables), completenessRatio=lambda day: day.completeness_ratio)


def tables_hourly(datasets: Datasets) -> FigureTable:
    """Tables delivered and expected of each Hour."""
    return _hourly(datasets.tables, "tables", delivered=lambda row: row.delivered, expected=lambda row: row.expected)


def missing_daily(datasets: Datasets) -> FigureTable:
    """Tables missing, the mean over each day's Hours."""
    return _daily(daily_tables(datasets.tables), missingTables=lambda day: day.missing)


def missing_hourly(datasets: Datasets) -> FigureTable:
    """Tables missing in each Hour, with their names."""
    table = _hourly(datasets.tables, missingTables=lambda row: row.missing)
    names = FigureColumn(
        "missingTablesList", "text", [", ".join(row.missing_tables) or None for row in datasets.tables]
    )
    return FigureTable((*table.columns, names))


# -- four more ----------------------------------------------------------------------------------------------


def table_states(datasets: Datasets) -> FigureTable:
    """What became of each table in each Hour, one column a table, one of `TABLE_STATES` or None.

    A table that an Hour's dataset does not list as missing counts as delivered, unless volumes are known for that
    Hour and hold none of it: then it was not expected, or nothing is known.
    """
    jobs = {row.hour: row.delivered for row in datasets.jobs}
    rows = {row.hour: row for row in datasets.tables}
    seen: dict[Hour, set[str]] = defaultdict(set)
    for volume in datasets.volumes:
        if volume.partitions:
            seen[volume.hour].add(volume.table)
    missing = Counter(name for row in datasets.tables for name in row.missing_tables)
    hours = _every_hour([*jobs, *rows, *seen])
    names = sorted(set(missing).union(*seen.values()), key=lambda name: (-missing[name], name))

    def state(hour: Hour, name: str) -> str | None:
        if jobs.get(hour) == 0:
            return "no job"
        if hour in rows and name in rows[hour].missing_tables:
            return "missing"
        delivered = name in seen[hour] if hour in seen else hour in rows
        return "delivered" if delivered else None

    columns = [FigureColumn(name, "text", [state(hour, name) for hour in hours]) for name in names]
    return FigureTable((_labels(hours), *columns))


def phases(datasets: Datasets) -> FigureTable:
    """Minutes that each Hour's run spent in its three phases."""
    return _hourly(
        datasets.runs,
        "minutes",
        init=lambda row: _minutes(row.init),
        replication=lambda row: _minutes(row.replication),
        transfer=lambda row: _minutes(row.transfer),
    )


def volumes(datasets: Datasets) -> FigureTable:
    """Bytes of each table in each Hour, one column a table, by name."""
    hours = _every_hour([row.hour for row in datasets.volumes])
    found: dict[str, dict[Hour, int]] = defaultdict(dict)
    for row in datasets.volumes:
        found[row.table][row.hour] = row.size
    columns = [
        FigureColumn(name, "number", [found[name].get(hour) for hour in hours], "bytes") for name in sorted(found)
    ]
    return FigureTable((_labels(hours), *columns))


def outcomes(datasets: Datasets) -> FigureTable:
    """What each Hour came to (one of `OUTCOMES`), with cause and owner where a run recorded them."""
    jobs = {row.hour: row.delivered for row in datasets.jobs}
    short = {row.hour: row for row in datasets.tables if row.missing}
    runs = {row.hour: row for row in datasets.runs}
    hours = sorted({*jobs, *runs})

    def outcome(hour: Hour) -> str | None:
        if hour in runs and runs[hour].outcome in {FAILED, WAITING}:
            return runs[hour].outcome
        if jobs.get(hour) or (hour in runs and runs[hour].outcome == DELIVERED):
            return TABLES_MISSING if hour in short else DELIVERED
        return MISSING if hour in jobs else None

    return FigureTable(
        (
            _labels(hours),
            FigureColumn("outcome", "text", [outcome(hour) for hour in hours]),
            FigureColumn("cause", "text", [(runs[hour].cause or None) if hour in runs else None for hour in hours]),
            FigureColumn("owner", "text", [(runs[hour].owner or None) if hour in runs else None for hour in hours]),
            FigureColumn("missingTablesList", "text", [_names(short.get(hour)) for hour in hours]),
        )
    )


def schema_versions(datasets: Datasets) -> FigureTable:
    """One row a version of the schema, at the Hour in which it was seen first: how long it held, and what changed."""
    found = datasets.schemas
    return FigureTable(
        (
            FigureColumn("date", "hour", [version.first.label for version in found]),
            FigureColumn("tables", "number", [version.tables for version in found]),
            FigureColumn("Hours", "number", [version.hours for version in found]),
            FigureColumn("until", "text", [version.last.label for version in found]),
            FigureColumn("schema", "text", [version.name for version in found]),
            FigureColumn("what changed", "text", [". ".join(words(version.changes)) for version in found]),
        )
    )


# -- how rows become columns ----------------------------------------------------------------------------------


def _hourly(rows: Sequence[HourRow], unit: str = "", **values: Callable[[HourRow], float | None]) -> FigureTable:
    columns = [FigureColumn(name, "number", [value(row) for row in rows], unit) for name, value in values.items()]
    return FigureTable((_labels([row.hour for row in rows]), *columns))


def _daily(days: Sequence[_Day], **values: Callable[[_Day], float | None]) -> FigureTable:
    """One row a day, with four decimals as in the datasets."""
    return FigureTable(
        (
            FigureColumn("day", "day", [day.day for day in days]),
            *(FigureColumn(name, "number", [_rounded(value(day)) for day in days]) for name, value in values.items()),
        )
    )


def _labels(hours: Iterable[Hour]) -> FigureColumn:
    return FigureColumn("date", "hour", [hour.label for hour in hours])


def _every_hour(hours: Sequence[Hour]) -> list[Hour]:
    if not hours:
        return []
    last = max(hours)
    return list(max(min(hours), last.shift(1 - MATRIX_HOURS)).to(last))


def _names(row: TableRow | None) -> str | None:
    return None if row is None else ", ".join(row.missing_tables) or None


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 60, 2)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
