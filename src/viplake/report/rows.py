"""PURE. The datasets as rows: what every figure and table of the report is made from.

The report needs the meaning of the columns and nothing of how they were gathered, so it has its own small rows:
whoever holds the CSV files, ours or the seed's, can draw from them.
"""

from __future__ import annotations

import ast
import csv
import io
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from viplake.errors import SettingsError
from viplake.model import Hour

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

JOBS_NAME: Final = "historical_job_metrics.csv"
TABLES_NAME: Final = "historical_table_metrics.csv"
SIZES_NAME: Final = "historical_job_size.csv"
RUNS_NAME: Final = "historical_run_metrics.csv"


class _OfHour(Protocol):
    @property
    def hour(self) -> Hour: ...


Row = TypeVar("Row", bound=_OfHour)


@dataclass(frozen=True, slots=True)
class JobRow:
    """One line of `historical_job_metrics.csv`: counts of jobs, 0 or 1."""

    hour: Hour
    delivered: int
    expected: int


@dataclass(frozen=True, slots=True)
class TableRow:
    """One line of `historical_table_metrics.csv`: counts of tables; `ratio` is delivered / expected."""

    hour: Hour
    delivered: int
    expected: int
    missing: int
    missing_tables: tuple[str, ...]
    ratio: float | None


@dataclass(frozen=True, slots=True)
class SizeRow:
    """One line of `historical_job_size.csv`: whole kilobytes and files of the Hour's folder."""

    hour: Hour
    kilobytes: int
    files: int


@dataclass(frozen=True, slots=True)
class RunRow:
    """One line of `historical_run_metrics.csv`: what the Hour's run came to; the phases in seconds."""

    hour: Hour
    outcome: str
    cause: str = ""
    owner: str = ""
    init: float | None = None
    replication: float | None = None
    transfer: float | None = None


@dataclass(frozen=True, slots=True)
class VolumeRow:
    """What one table delivered in an Hour."""

    hour: Hour
    table: str
    partitions: int
    size: int
    """Bytes of all partitions."""


@dataclass(frozen=True, slots=True)
class Datasets:
    """The history, each part in order of time; a part that is not known is empty.

    Attributes:
        jobs, tables, sizes: the three datasets of the seed.
        runs: from the ledgers.
        volumes: one row an Hour and table.
    """

    jobs: tuple[JobRow, ...] = ()
    tables: tuple[TableRow, ...] = ()
    sizes: tuple[SizeRow, ...] = ()
    runs: tuple[RunRow, ...] = ()
    volumes: tuple[VolumeRow, ...] = ()

    @classmethod
    def read(cls, files: Mapping[str, str], volumes: Iterable[VolumeRow] = ()) -> Datasets:
        """The datasets in these files, by their names; files of other names are passed over.

        Raises:
            SettingsError: a file lacks a column, or a line is not what its columns say.
        """
        return cls(
            jobs=_read(files, JOBS_NAME, _job),
            tables=_read(files, TABLES_NAME, _table),
            sizes=_read(files, SIZES_NAME, _size),
            runs=_read(files, RUNS_NAME, _run),
            volumes=tuple(sorted(volumes, key=lambda row: (row.hour, row.table))),
        )

    def hours(self) -> Iterator[Hour]:
        """The Hour of every row, in no order, repeated as often as it is there."""
        for part in (self.jobs, self.tables, self.sizes, self.runs, self.volumes):
            yield from (row.hour for row in part)

    def since(self, first: Hour) -> Datasets:
        """The part from this Hour on."""
        return replace(
            self,
            jobs=tuple(row for row in self.jobs if row.hour >= first),
            tables=tuple(row for row in self.tables if row.hour >= first),
            sizes=tuple(row for row in self.sizes if row.hour >= first),
            runs=tuple(row for row in self.runs if row.hour >= first),
            volumes=tuple(row for row in self.volumes if row.hour >= first),
        )


def parse_names(text: str) -> tuple[str, ...]:
    """The names in a `missingTablesList`: a JSON list as we write it, or a Python list as old files have it.

    Raises:
        ValueError: it is neither, or holds something other than strings.
    """
    if not text.strip():
        return ()
    try:
        found = json.loads(text)
    except ValueError:
        try:
            found = ast.literal_eval(text)
        except (SyntaxError, MemoryError, RecursionError) as error:
            raise ValueError(f"not a list of names: {text[:80]!r}") from error
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"not a list of names: {text[:80]!r}")
    return tuple(found)


def _read(files: Mapping[str, str], name: str, row_of: Callable[[dict[str, str]], Row]) -> tuple[Row, ...]:
    """The file's rows by Hour; the last of several lines of one Hour stands, as it was written last."""
    rows: dict[Hour, Row] = {}
    reader = csv.DictReader(io.StringIO(files.get(name, "").removeprefix("\ufeff"), newline=""))
    for line in reader:
        try:
            row = row_of(line)
        except (KeyError, TypeError, ValueError, SettingsError) as error:
            raise SettingsError(
                f"{name}, line {reader.line_num}, cannot be read: {error}",
                hint="Repair it with `viplake observe`, which keeps what can be kept.",
            ) from error
        rows[row.hour] = row
    return tuple(rows[hour] for hour in sorted(rows))


def _job(line: dict[str, str]) -> JobRow:
    return JobRow(Hour.parse(line["date"]), _count(line["jobDelivered"]), _count(line["JobExpected"]))


def _table(line: dict[str, str]) -> TableRow:
    return TableRow(
        Hour.parse(line["date"]),
        _count(line["tablesDelivered"]),
        _count(line["tablesExpected"]),
        _count(line["missingTables"]),
        parse_names(line["missingTablesList"]),
        _number(line["completenessRatio"]),
    )


def _size(line: dict[str, str]) -> SizeRow:
    return SizeRow(Hour.parse(line["date"]), _count(line["size"]), _count(line["files"]))


def _run(line: dict[str, str]) -> RunRow:
    return RunRow(
        Hour.parse(line["date"]),
        line["outcome"],
        line["cause"],
        line["owner"],
        _number(line["initSeconds"]),
        _number(line["replicationSeconds"]),
        _number(line["transferSeconds"]),
    )


def _number(text: str) -> float | None:
    return float(text) if text.strip() else None


def _count(text: str) -> int:
    """A count; programs that hold counts as floats write 1.0."""
    value = float(text)
    if not value.is_integer():
        raise ValueError(f"not a count: {text!r}")
    return int(value)
