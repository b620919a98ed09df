"""PURE. The numbers behind each figure, as a table: datasets in, columns out.

A figure is drawn from its table and from nothing else. So the two cannot disagree, and people who cannot see the
figure read the same numbers. Rows are in order of time; a row exists where the dataset has one, but for the
matrices (an Hour by table), which hold every Hour of their range.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal, TypeVar, overload

from viplake.history.daily import daily_jobs, daily_tables
from viplake.history.schema_changes import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from viplake.history.daily import DailyJobs, DailyTables
    from viplake.history.rows import Datasets, HourRow, JobRow, TableRow
    from viplake.model import Hour

FigureColumnKind = Literal["hour", "day", "number", "text"]

_Day = TypeVar("_Day", "DailyJobs", "DailyTables")

MATRIX_HOURS: Final = 24 * 120
"""The most Hours in a matrix of tables: four months. What is older is in `viplake query`."""

MOST_HOURS: Final = 24 * 366 * 4
"""The most Hours in a series, whatever a stray date in a file says."""

DIGITS: Final = 1000
"""Bytes of a table are rounded to so many steps of its largest Hour: what a figure can show, and no more."""

DELIVERED: Final = "delivered"
TABLES_MISSING: Final = "tables missing"
WAITING: Final = "waiting"
FAILED: Final = "failed"
MISSING: Final = "missing"
PLANNED: Final = "planned"
OUTCOMES: Final = (DELIVERED, PLANNED, TABLES_MISSING, WAITING, FAILED, MISSING)
"""The outcome of an Hour, from good to bad; `missing` is an Hour of which nothing is known but its absence."""

TABLE_STATES: Final = (DELIVERED, MISSING, "no job", PLANNED)
"""The state of a table in an Hour."""

EXPECTED: Final = "expected"
SLA: Final = "SLA"
"""Columns of what was expected, and of the least (of failures: the most) that the agreement allows."""


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
class CodedWords(Sequence[str | None]):
    """Few different words, a byte each: `codes` are places in `words`, -1 is none."""

    codes: array[int]
    words: Sequence[str]

    def __len__(self) -> int:
        """How many."""
        return len(self.codes)

    @overload
    def __getitem__(self, index: int) -> str | None: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str | None]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str | None] | None:
        """The word at a place."""
        if isinstance(index, slice):
            return CodedWords(self.codes[index], self.words)
        code = self.codes[index]
        return None if code < 0 else self.words[code]


@dataclass(frozen=True, slots=True)
class ScaledNumbers(Sequence[int | None]):
    """Whole numbers from 0 on as two bytes each: `steps` times `scale`, -1 is none."""

    steps: array[int]
    scale: int

    @classmethod
    def of(cls, values: Sequence[int]) -> ScaledNumbers:
        """Return the values rounded to `DIGITS` steps of the largest one or finer; -1 is none."""
        scale = 1
        while max(values, default=0) >= 10 * DIGITS * scale:
            scale *= 10
        half = scale // 2
        return cls(array("h", [value if value < 0 else (value + half) // scale for value in values]), scale)

    def __len__(self) -> int:
        """How many."""
        return len(self.steps)

    @overload
    def __getitem__(self, index: int) -> int | None: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int | None]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int | None] | None:
        """The number at a place."""
        if isinstance(index, slice):
            return ScaledNumbers(self.steps[index], self.scale)
        step = self.steps[index]
        return None if step < 0 else step * self.scale


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
    """Return the number of files of each delivered Hour."""
    delivered = {row.hour for row in datasets.jobs if row.delivered}
    rows = [row for row in datasets.sizes if row.hour in delivered]
    return _hourly(rows, files=lambda row: row.files)


def size_hourly(datasets: Datasets) -> FigureTable:
    """Kilobytes of each Hour; none of a planned one."""
    planned = datasets.planned_hours()
    return _hourly(
        [row for row in datasets.sizes if row.files or row.hour not in planned], "kB", size=lambda row: row.kilobytes
    )


def jobs_daily(datasets: Datasets) -> FigureTable:
    """Jobs delivered and expected, summed over each day."""
    least = _least(datasets, "delivered")
    return _daily(
        daily_jobs(_due(datasets)),
        delivered=lambda day: day.delivered,
        expected=lambda day: day.expected,
        SLA=lambda day: least(day.expected),
    )


def job_ratio_daily(datasets: Datasets) -> FigureTable:
    """Jobs delivered / expected of each day."""
    least = _least(datasets, "delivered")
    days = daily_jobs(_due(datasets))
    return _daily(days, successRatio=lambda day: day.success_ratio, expected=lambda _: 1, SLA=lambda _: least(1))


def jobs_hourly(datasets: Datasets) -> FigureTable:
    """1 for each Hour whose job was delivered, else 0."""
    return _hourly(_due(datasets), jobDelivered=lambda row: row.delivered, expected=lambda row: row.expected)


def _due(datasets: Datasets) -> list[JobRow]:
    """Return the jobs without those that the calendar takes out: planned Hours are not expected to be delivered."""
    planned = datasets.planned_hours()
    return [row for row in datasets.jobs if row.delivered or row.hour not in planned]


def tables_daily(datasets: Datasets) -> FigureTable:
    """Tables delivered and expected, the mean over each day's Hours."""
    least = _least(datasets, "complete")
    return _daily(
        daily_tables(datasets.tables),
        delivered=lambda day: day.delivered,
        expected=lambda day: day.expected,
        SLA=lambda day: least(day.expected),
    )


def table_ratio_daily(datasets: Datasets) -> FigureTable:
    """Tables delivered / expected of each day: sum / sum, not the mean of the Hours' ratios."""
    least = _least(datasets, "complete")
    days = daily_tables(datasets.tables)
    return _daily(
        days, completenessRatio=lambda day: day.completeness_ratio, expected=lambda _: 1, SLA=lambda _: least(1)
    )


def tables_hourly(datasets: Datasets) -> FigureTable:
    """Tables delivered and expected of each Hour."""
    least = _least(datasets, "complete")
    return _hourly(
        datasets.tables,
        "tables",
        delivered=lambda row: row.delivered,
        expected=lambda row: row.expected,
        SLA=lambda row: least(row.expected),
    )


def missing_daily(datasets: Datasets) -> FigureTable:
    """Tables missing, the mean over each day's Hours; 0 are expected."""
    most = _most(datasets, "complete")
    return _daily(
        daily_tables(datasets.tables),
        missingTables=lambda day: day.missing,
        expected=lambda _: 0,
        SLA=lambda day: most(day.expected),
    )


def _least(datasets: Datasets, indicator: str) -> Callable[[float], float | None]:
    """Return how much of an amount the agreement wants at least; None without an agreement."""
    target = datasets.targets.get(indicator)
    return lambda amount: None if target is None else round(target * amount, 4)


def _most(datasets: Datasets, indicator: str) -> Callable[[float], float | None]:
    """Return how much of an amount the agreement allows to be missing; None without an agreement."""
    target = datasets.targets.get(indicator)
    return lambda amount: None if target is None else round((1 - target) * amount, 4)


def missing_hourly(datasets: Datasets) -> FigureTable:
    """Tables missing in each Hour, with their names."""
    most = _most(datasets, "complete")
    table = _hourly(
        datasets.tables,
        missingTables=lambda row: row.missing,
        expected=lambda _: 0,
        SLA=lambda row: most(row.expected),
    )
    named = {row.hour.label: ", ".join(row.missing_tables) or None for row in datasets.tables}
    names = FigureColumn("missingTablesList", "text", [named.get(label) for label in table.times])
    return FigureTable((*table.columns, names))


# -- six more ----------------------------------------------------------------------------------------------


def table_states(datasets: Datasets) -> FigureTable:
    """The state of each table in each Hour, one column a table, one of `TABLE_STATES` or None.

    A table that an Hour's dataset does not list as missing counts as delivered, unless volumes are known for that
    Hour and hold none of it: then it was not expected, or nothing is known.
    """
    jobs = {row.hour: row.delivered for row in datasets.jobs}
    rows = {row.hour: row for row in datasets.tables}
    hours = _every_hour([*jobs, *rows], MATRIX_HOURS)
    if not hours:
        return FigureTable((_labels(()),))
    sizes = {} if datasets.volumes is None else datasets.volumes.between(hours[0], hours[-1]).sizes
    lacking: dict[str, set[Hour]] = defaultdict(set)
    for row in datasets.tables:
        for name in row.missing_tables:
            lacking[name].add(row.hour)
    delivered, missing, no_job, planned = range(len(TABLE_STATES))
    planned_hours = datasets.planned_hours()
    # Of each Hour: its state whatever the table, and the state of a table that is not listed as missing.
    whole = [None if jobs.get(h) != 0 else planned if h in planned_hours else no_job for h in hours]
    measured = [any(of) for of in zip(*([size >= 0 for size in s] for s in sizes.values()), strict=True)]
    listed = [delivered if hour in rows and not (measured and measured[i]) else -1 for i, hour in enumerate(hours)]

    def codes(name: str) -> array[int]:
        own = sizes.get(name)
        at = {hour for hour in lacking.get(name, ()) if hours[0] <= hour <= hours[-1]}
        found = array(
            "b", listed if own is None else [0 if s >= 0 else known for s, known in zip(own, listed, strict=True)]
        )
        for hour in at:
            found[_distance(hours[0], hour)] = missing
        for place, state in enumerate(whole):
            if state is not None:
                found[place] = state
        return found

    names = sorted({*lacking, *sizes}, key=lambda name: (-len(lacking.get(name, ())), name))
    columns = [FigureColumn(name, "text", CodedWords(codes(name), TABLE_STATES)) for name in names]
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


def volumes(datasets: Datasets, only: str | None = None) -> FigureTable:
    """Bytes of each table (or of one) in each Hour, a column a table, rounded to a thousandth of its largest Hour."""
    if datasets.volumes is None:
        return FigureTable((_labels(()),))
    last = datasets.volumes.last
    first = max(datasets.volumes.first, last.shift(1 - MATRIX_HOURS))
    sizes = datasets.volumes.between(first, last).sizes
    sizes = sizes if only is None else {name: of for name, of in sizes.items() if name == only}
    columns = [FigureColumn(name, "number", ScaledNumbers.of(sizes[name]), "bytes") for name in sorted(sizes)]
    return FigureTable((_labels(first.to(last)), *columns))


def outcomes(datasets: Datasets) -> FigureTable:
    """Return the outcome of each Hour (one of `OUTCOMES`), with cause and owner where a run recorded them."""
    jobs = {row.hour: row.delivered for row in datasets.jobs}
    short = {row.hour: row for row in datasets.tables if row.missing}
    runs = {row.hour: row for row in datasets.runs}
    hours, planned = _every_hour([*jobs, *runs]), datasets.planned_hours()

    def outcome(hour: Hour) -> str | None:
        if hour in runs and runs[hour].outcome in {FAILED, WAITING}:
            return runs[hour].outcome
        if jobs.get(hour) or (hour in runs and runs[hour].outcome == DELIVERED):
            return TABLES_MISSING if hour in short else DELIVERED
        return (PLANNED if hour in planned else MISSING) if hour in jobs else None

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
    """One row a version of the schema, at the Hour in which it was seen first: how long it held, and what changed.

    Schemas are numbered in the order in which they were first seen.
    """
    found = datasets.schemas
    numbers: dict[str, str] = {}
    for version in found:
        numbers.setdefault(version.name, f"Schema {len(numbers) + 1}")
    return FigureTable(
        (
            FigureColumn("date", "hour", [version.first.label for version in found]),
            FigureColumn("tables", "number", [version.tables for version in found]),
            FigureColumn("Hours", "number", [version.hours for version in found]),
            FigureColumn("until", "text", [version.last.label for version in found]),
            FigureColumn("schema", "text", [numbers[version.name] for version in found]),
            FigureColumn("what changed", "text", [". ".join(words(version.changes)) for version in found]),
            FigureColumn("hash", "text", [version.name for version in found]),
        )
    )


# -- how rows become columns ----------------------------------------------------------------------------------


def _hourly(rows: Sequence[HourRow], unit: str = "", **values: Callable[[HourRow], float | None]) -> FigureTable:
    """Every Hour from the first row to the last; an Hour without a row has None."""
    hours = _every_hour([row.hour for row in rows])
    by_hour = {row.hour: row for row in rows}
    known = [by_hour.get(hour) for hour in hours]
    columns = [
        FigureColumn(name, "number", [None if row is None else value(row) for row in known], unit)
        for name, value in values.items()
    ]
    return FigureTable((_labels(hours), *_useful(columns)))


def _useful(columns: Iterable[FigureColumn]) -> list[FigureColumn]:
    """The columns without those of an agreement that there is not."""
    return [one for one in columns if one.name != SLA or any(value is not None for value in one.values)]


def _daily(days: Sequence[_Day], **values: Callable[[_Day], float | None]) -> FigureTable:
    """One row a day, with four decimals as in the datasets."""
    return FigureTable(
        (
            FigureColumn("day", "day", [day.day for day in days]),
            *_useful(
                FigureColumn(name, "number", [_rounded(value(day)) for day in days]) for name, value in values.items()
            ),
        )
    )


def _labels(hours: Iterable[Hour]) -> FigureColumn:
    return FigureColumn("date", "hour", [hour.label for hour in hours])


def _every_hour(hours: Sequence[Hour], most: int = MOST_HOURS) -> list[Hour]:
    if not hours:
        return []
    last = max(hours)
    return list(max(min(hours), last.shift(1 - most)).to(last))


def _distance(first: Hour, hour: Hour) -> int:
    return (hour.start - first.start) // timedelta(hours=1)


def _names(row: TableRow | None) -> str | None:
    return None if row is None else ", ".join(row.missing_tables) or None


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 60, 2)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
