"""PURE. The numbers behind each figure, as a table: datasets in, columns out.

A figure is drawn from its table and from nothing else, so the two cannot disagree, and whoever cannot see the
figure reads the same numbers. Rows are in order of time; a row exists where the dataset has one, but for the
matrices (an Hour by table), which hold every Hour of their range.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from viplake.history.schema_changes import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from viplake.model import Hour
    from viplake.report.rows import Datasets, Row, TableRow

ColumnKind = Literal["hour", "day", "number", "text"]

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
class Column:
    """One column of a table.

    Attributes:
        name: its heading.
        kind: `hour` (an Hour's label, `20220510-13`), `day` (`20220510`), `number` or `text`.
        values: from the first row to the last; None where there is none.
        unit: of numbers, where the name does not say it.
    """

    name: str
    kind: ColumnKind
    values: Sequence[str | float | None]
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of equal length; the first one is the time."""

    columns: tuple[Column, ...]

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


def files_hourly(datasets: Datasets) -> Table:
    """Files of each Hour whose job was delivered."""
    delivered = {row.hour for row in datasets.jobs if row.delivered}
    rows = [row for row in datasets.sizes if row.hour in delivered]
    return _hourly(rows, files=lambda row: row.files)


def size_hourly(datasets: Datasets) -> Table:
    """Kilobytes of each Hour."""
    return _hourly(datasets.sizes, "kB", size=lambda row: row.kilobytes)


def jobs_daily(datasets: Datasets) -> Table:
    """Jobs delivered and expected, summed over each day."""
    return _daily(
        datasets.jobs,
        delivered=lambda rows: sum(row.delivered for row in rows),
        expected=lambda rows: sum(row.expected for row in rows),
    )


def job_ratio_daily(datasets: Datasets) -> Table:
    """Jobs delivered / expected of each day."""
    return _daily(
        datasets.jobs,
        successRatio=lambda rows: _ratio(sum(row.delivered for row in rows), sum(row.expected for row in rows)),
    )


def jobs_hourly(datasets: Datasets) -> Table:
    """1 for each Hour whose job was delivered, else 0."""
    return _hourly(datasets.jobs, jobDelivered=lambda row: row.delivered)


def tables_daily(datasets: Datasets) -> Table:
    """Tables delivered and expected, the mean over each day's Hours."""
    return _daily(
        datasets.tables,
        delivered=lambda rows: _mean(row.delivered for row in rows),
        expected=lambda rows: _mean(row.expected for row in rows),
    )


def table_ratio_daily(datasets: Datasets) -> Table:
    """Tables delivered / expected of each day: sum / sum, not the mean of the Hours' ratios."""
    return _daily(
        datasets.tables,
        completenessRatio=lambda rows: _ratio(sum(row.delivered for row in rows), sum(row.expected for row in rows)),
    )


def tables_hourly(datasets: Datasets) -> Table:
    """Tables delivered and expected of each Hour."""
    return _hourly(datasets.tables, "tables", delivered=lambda row: row.delivered, expected=lambda row: row.expected)


def missing_daily(datasets: Datasets) -> Table:
    """Tables missing, the mean over each day's Hours."""
    return _daily(datasets.tables, missingTables=lambda rows: _mean(row.missing for row in rows))


def missing_hourly(datasets: Datasets) -> Table:
    """Tables missing in each Hour, with their names."""
    table = _hourly(datasets.tables, missingTables=lambda row: row.missing)
    names = Column("missingTablesList", "text", [", ".join(row.missing_tables) or None for row in datasets.tables])
    return Table((*table.columns, names))


# -- four more ----------------------------------------------------------------------------------------------


def table_states(datasets: Datasets) -> Table:
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

    columns = [Column(name, "text", [state(hour, name) for hour in hours]) for name in names]
    return Table((_labels(hours), *columns))


def phases(datasets: Datasets) -> Table:
    """Minutes that each Hour's run spent in its three phases."""
    return _hourly(
        datasets.runs,
        "minutes",
        init=lambda row: _minutes(row.init),
        replication=lambda row: _minutes(row.replication),
        transfer=lambda row: _minutes(row.transfer),
    )


def volumes(datasets: Datasets) -> Table:
    """Bytes of each table in each Hour, one column a table, by name."""
    hours = _every_hour([row.hour for row in datasets.volumes])
    found: dict[str, dict[Hour, int]] = defaultdict(dict)
    for row in datasets.volumes:
        found[row.table][row.hour] = row.size
    columns = [Column(name, "number", [found[name].get(hour) for hour in hours], "bytes") for name in sorted(found)]
    return Table((_labels(hours), *columns))


def outcomes(datasets: Datasets) -> Table:
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

    return Table(
        (
            _labels(hours),
            Column("outcome", "text", [outcome(hour) for hour in hours]),
            Column("cause", "text", [(runs[hour].cause or None) if hour in runs else None for hour in hours]),
            Column("owner", "text", [(runs[hour].owner or None) if hour in runs else None for hour in hours]),
            Column("missingTablesList", "text", [_names(short.get(hour)) for hour in hours]),
        )
    )


def schema_versions(datasets: Datasets) -> Table:
    """One row a version of the schema, at the Hour in which it was seen first: how long it held, and what changed."""
    found = datasets.schemas
    return Table(
        (
            Column("date", "hour", [version.first.label for version in found]),
            Column("tables", "number", [version.tables for version in found]),
            Column("Hours", "number", [version.hours for version in found]),
            Column("until", "text", [version.last.label for version in found]),
            Column("schema", "text", [version.name for version in found]),
            Column("what changed", "text", [". ".join(words(version.changes)) for version in found]),
        )
    )


# -- how rows become columns ----------------------------------------------------------------------------------


def _hourly(rows: Sequence[Row], unit: str = "", **values: Callable[[Row], float | None]) -> Table:
    columns = [Column(name, "number", [value(row) for row in rows], unit) for name, value in values.items()]
    return Table((_labels([row.hour for row in rows]), *columns))


def _daily(rows: Sequence[Row], **values: Callable[[Sequence[Row]], float | None]) -> Table:
    days: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        days[row.hour.day].append(row)
    columns = [Column(name, "number", [value(day) for day in days.values()]) for name, value in values.items()]
    return Table((Column("day", "day", list(days)), *columns))


def _labels(hours: Iterable[Hour]) -> Column:
    return Column("date", "hour", [hour.label for hour in hours])


def _every_hour(hours: Sequence[Hour]) -> list[Hour]:
    if not hours:
        return []
    last = max(hours)
    return list(max(min(hours), last.shift(1 - MATRIX_HOURS)).to(last))


def _names(row: TableRow | None) -> str | None:
    return None if row is None else ", ".join(row.missing_tables) or None


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 60, 2)


def _ratio(part: float, whole: float) -> float | None:
    """Four decimals, as in the datasets; None of nothing."""
    return round(part / whole, 4) if whole else None


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return round(sum(found) / len(found), 4) if found else None
