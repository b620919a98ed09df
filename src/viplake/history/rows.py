"""PURE. The datasets as typed rows, for daily views, figures and tables.

They come from the stored history or from CSV files that users hold; both are read by the same rules.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from viplake.history.datasets import DATASETS, JOBS, RUNS, SCHEMAS, SIZES, TABLES, Frame, HourDataset, parse
from viplake.history.schema_changes import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from viplake.history.schema_changes import SchemaVersion
    from viplake.history.volumes import VolumeSeries
    from viplake.model import Hour


class _OfHour(Protocol):
    @property
    def hour(self) -> Hour: ...


HourRow = TypeVar("HourRow", bound=_OfHour)
"""A row of one Hour."""


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
    """One line of `historical_run_metrics.csv`: outcome and phases (seconds) of the run of an Hour."""

    hour: Hour
    outcome: str
    cause: str = ""
    owner: str = ""
    init: float | None = None
    replication: float | None = None
    transfer: float | None = None


@dataclass(frozen=True, slots=True)
class PlannedSpan:
    """A range of Hours in the calendar, both ends included, with its reason."""

    first: Hour
    last: Hour
    words: str


@dataclass(frozen=True, slots=True)
class Datasets:
    """The history; each part is in order of time, and empty where it is unknown.

    Attributes:
        jobs, tables, sizes: the three datasets of the original scripts.
        runs: from the ledgers.
        volumes: the bytes of each table by Hour; None where they are not known.
        schemas: the versions of the schema; their changes are known after `SchemaStore.compared`.
        targets: the agreed share of good Hours, by indicator (`delivered`, `complete`): a line in the figures.
        planned: what the calendar has: a band in the figures.
    """

    jobs: tuple[JobRow, ...] = ()
    tables: tuple[TableRow, ...] = ()
    sizes: tuple[SizeRow, ...] = ()
    runs: tuple[RunRow, ...] = ()
    volumes: VolumeSeries | None = None
    schemas: tuple[SchemaVersion, ...] = ()
    targets: Mapping[str, float] = field(default_factory=dict)
    planned: tuple[PlannedSpan, ...] = ()

    @classmethod
    def of(cls, frames: Mapping[str, Frame], volumes: VolumeSeries | None = None) -> Datasets:
        """Build it from the frames of a history (`history.chain.History.frames`)."""
        return cls(
            jobs=_rows(frames, JOBS, _job),
            tables=_rows(frames, TABLES, _table),
            sizes=_rows(frames, SIZES, _size),
            runs=_rows(frames, RUNS, _run),
            volumes=volumes,
            schemas=versions(frames.get(SCHEMAS.name, _NO_ROWS).rows),
        )

    @classmethod
    def read(cls, files: Mapping[str, bytes], volumes: VolumeSeries | None = None) -> Datasets:
        """Build it from CSV files, by file name; other files are ignored.

        Raises:
            SettingsError: a file lacks a column of its dataset.
        """
        frames = {
            dataset.name: parse(dataset, files[dataset.file]).frame for dataset in DATASETS if dataset.file in files
        }
        return cls.of(frames, volumes)

    def hours(self) -> Iterator[Hour]:
        """The Hours of all rows, unsorted and repeated; of volumes the first and the last Hour."""
        for part in (self.jobs, self.tables, self.sizes, self.runs):
            yield from (row.hour for row in part)
        if self.volumes is not None:
            yield from (self.volumes.first, self.volumes.last)

    def planned_hours(self) -> frozenset[Hour]:
        """Return the Hours in which no export was expected: those of the calendar, and those between daily exports."""
        if not self.jobs:
            return frozenset()
        first, last = self.jobs[0].hour, self.jobs[-1].hour
        found = {h for span in self.planned for h in max(span.first, first).to(min(span.last, last))}
        return frozenset(found.union(row.hour for row in self.jobs if not row.expected))

    def between(self, first: Hour, last: Hour) -> Datasets:
        """Return the part between two Hours, both included; the schema version that was valid then stays complete."""
        return replace(
            self,
            jobs=tuple(row for row in self.jobs if first <= row.hour <= last),
            tables=tuple(row for row in self.tables if first <= row.hour <= last),
            sizes=tuple(row for row in self.sizes if first <= row.hour <= last),
            runs=tuple(row for row in self.runs if first <= row.hour <= last),
            volumes=None if self.volumes is None else self.volumes.between(first, last),
            schemas=tuple(version for version in self.schemas if version.first <= last and version.last >= first),
            planned=tuple(span for span in self.planned if span.first <= last and span.last >= first),
        )


_NO_ROWS: Final = Frame()


def _rows(
    frames: Mapping[str, Frame], dataset: HourDataset, row_of: Callable[[Hour, dict[str, str]], HourRow]
) -> tuple[HourRow, ...]:
    rows = frames.get(dataset.name, _NO_ROWS).rows
    return tuple(row_of(hour, dict(zip(dataset.columns, rows[hour], strict=False))) for hour in sorted(rows))


def _job(hour: Hour, cells: dict[str, str]) -> JobRow:
    return JobRow(hour, int(cells["jobDelivered"]), int(cells["JobExpected"]))


def _table(hour: Hour, cells: dict[str, str]) -> TableRow:
    return TableRow(
        hour,
        int(cells["tablesDelivered"]),
        int(cells["tablesExpected"]),
        int(cells["missingTables"]),
        tuple(json.loads(cells["missingTablesList"])),
        _number(cells["completenessRatio"]),
    )


def _size(hour: Hour, cells: dict[str, str]) -> SizeRow:
    return SizeRow(hour, int(cells["size"]), int(cells["files"]))


def _run(hour: Hour, cells: dict[str, str]) -> RunRow:
    phases = (_number(cells[f"{phase}Seconds"]) for phase in ("init", "replication", "transfer"))
    return RunRow(hour, cells["outcome"], cells["cause"], cells["owner"], *phases)


def _number(cell: str) -> float | None:
    return float(cell) if cell else None
