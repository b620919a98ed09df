"""I/O. The public Python API: open a lake, read its Hours, tables and datasets, query it, draw its figures.

    import viplake

    lake = viplake.open_lake("s3://your-bucket", environment="Prod")
    lake.hours()[-1].missing_tables             # of the newest Hour on record
    lake.dataset("historical_job_metrics")      # a pandas DataFrame
    lake.newest().table("Voyage")               # likewise, the records of one table
    lake.query("select VesselCode, count(*) from Voyage group by all")
    lake.figure(3).show()

Every call is synchronous and also works in a notebook, where an event loop runs already. Nothing here writes to the
lake, except `DataLake.observe`. Errors are those of `viplake.errors`: each has a cause, an owner and a hint.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from viplake import config
from viplake.clock import SystemClock
from viplake.commands import assembly
from viplake.config import get_secrets
from viplake.errors import SettingsError
from viplake.lake.hours import hour_folder, newest_proven
from viplake.model import Hour, HourOutcome
from viplake.wording import install_hint

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
    from pathlib import Path

    import arro3.core
    import pandas as pd
    import plotly.graph_objects as go

    from viplake.history.rows import Datasets
    from viplake.lake import Lake
    from viplake.query.result import QueryResult

T = TypeVar("T")

__all__ = ["DataLake", "LakeHour", "get_secrets", "open_lake", "time_series"]


def open_lake(
    lake: str | None = None,
    *,
    environment: str | None = None,
    profile: str | None = None,
    config_file: Path | None = None,
    **settings: str,
) -> DataLake:
    """Open a lake for reading.

    Args:
        lake: `s3://bucket[/prefix]` or `file:///folder`; default: the setting `VIPLAKE_LAKE`.
        environment: `Prod`, `Test` or one that the settings declare; default: the setting `VIPLAKE_ENVIRONMENT`.
        profile: a profile of `viplake.toml`.
        config_file: another file than `./viplake.toml`.
        settings: other settings by name, such as `prefix="IMOS/Hourly/"`; they win over file and environment.

    Raises:
        SettingsError: a setting is wrong, or the lake belongs to another environment.
        CredentialsError, LakeError: the lake cannot be reached or read.
    """
    flags: dict[str, str | None] = {"lake": lake, "environment": environment, **settings}
    loaded = config.load(flags=flags, config_file=config_file, profile=profile)
    return DataLake(loaded, _wait(assembly.lake_to_read(loaded)))


@dataclass(frozen=True)
class LakeHour:
    """One Hour of a lake.

    Attributes:
        lake: the lake that it belongs to.
        hour: as text, `2022-05-10T13`, UTC.
        outcome: `delivered`, `failed`, `missed` or `waiting`; None where the history does not have the Hour.
        cause, owner: why it was not delivered, and who has to act; empty where it was.
        files, size: in its folder, all files and their bytes (in whole kilobytes).
        missing_tables: expected tables without a file; None where that is not known.
    """

    lake: DataLake
    hour: str
    outcome: str | None = None
    cause: str = ""
    owner: str = ""
    files: int | None = None
    size: int | None = None
    missing_tables: tuple[str, ...] | None = None

    def list_files(self) -> dict[str, int]:
        """Return the size in bytes of every delivered file, by name; empty where there is none.

        Raises:
            LakeError: the lake cannot be read.
        """
        return _wait(hour_folder(self.lake.stored, Hour.parse(self.hour))).delivered

    def read(self, name: str) -> bytes:
        """Return the bytes of one file, as stored.

        Raises:
            SettingsError: the Hour has no file of this name.
            LakeError: the lake cannot be read.
        """
        found = _wait(self.lake.stored.store.get(self.lake.stored.layout.file(Hour.parse(self.hour), name)))
        if found is None:
            raise SettingsError(f"{self.hour} has no file {name!r}", hint="LakeHour.list_files() returns the names.")
        return found

    def tables(self) -> tuple[str, ...]:
        """Return the names of the tables that were delivered, sorted.

        Raises:
            LakeError: the lake cannot be read.
        """
        from viplake.tables.files import files_of  # noqa: PLC0415 - only this needs it

        return tuple(sorted(table.table for table in _wait(files_of(self.lake.stored, Hour.parse(self.hour))).tables))

    def table(self, name: str, *, unproven: bool = False) -> pd.DataFrame:
        """Return the records of one table as a pandas DataFrame.

        Args:
            name: the table, such as `Voyage`.
            unproven: also read an Hour that has no Receipt and may be incomplete.

        Raises:
            SettingsError: there is no such table, the Hour has no Receipt, or pandas is not installed.
            LakeError: the lake cannot be read.
        """
        return self.lake.query(f"from {_quoted(name)}", at=self.hour, unproven=unproven)

    def table_arrow(self, name: str, *, unproven: bool = False) -> arro3.core.Table:
        """Return the records of one table as an Arrow table, decimals exact. Otherwise as `table`."""
        return self.lake.query_arrow(f"from {_quoted(name)}", at=self.hour, unproven=unproven)


class DataLake:
    """A lake that is open for reading; `open_lake` returns one.

    Attributes:
        environment: `Prod`, `Test` or a declared one.
        url: of the lake.
        warnings: what the last query left out and why; empty where it left nothing out.
    """

    def __init__(self, settings: config.Settings, stored: Lake) -> None:
        self._settings = settings
        self.stored = stored
        self.environment = settings.environment.name
        self.url = stored.url
        self.warnings: list[str] = []

    # -- Hours and tables

    def hours(self, first: str | None = None, last: str | None = None) -> list[LakeHour]:
        """Return the Hours on record in the history, ascending.

        Args:
            first: the first Hour; default: the first on record.
            last: the last Hour, included; default: the last on record.

        Raises:
            SettingsError: not an Hour.
            LakeError: the history cannot be read.
        """
        runs = {row.hour: row for row in self.rows.runs}
        sizes = {row.hour: row for row in self.rows.sizes}
        tables = {row.hour: row for row in self.rows.tables}
        since, until = _hour(first), _hour(last)
        found = []
        for job in self.rows.jobs:
            if (since is not None and job.hour < since) or (until is not None and job.hour > until):
                continue
            run, size, table = runs.get(job.hour), sizes.get(job.hour), tables.get(job.hour)
            found.append(
                LakeHour(
                    self,
                    str(job.hour),
                    run.outcome if run else HourOutcome.without_run(delivered=bool(job.delivered), ours=False).word,
                    run.cause if run else "",
                    run.owner if run else "",
                    size.files if size else None,
                    size.kilobytes * 1000 if size else None,
                    table.missing_tables if table else None,
                )
            )
        return found

    def hour(self, hour: str) -> LakeHour:
        """Return one Hour, also one of which the history has nothing.

        Raises:
            SettingsError: the text is no Hour, such as `2022-05-10T13`.
        """
        label = str(Hour.parse(hour))
        return next((one for one in self.hours(label, label)), LakeHour(self, label))

    def newest(self) -> LakeHour:
        """Return the newest Hour with a Receipt.

        Raises:
            SettingsError: there is none.
            LakeError: the lake cannot be read.
        """
        found = _wait(newest_proven(self.stored))
        if found is None:
            raise SettingsError("no Hour of this lake has a Receipt", hint="viplake status lists what was delivered.")
        return self.hour(str(found))

    # -- datasets and SQL

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of all datasets."""
        from viplake.query.views import history  # noqa: PLC0415 - only queries need it

        return tuple(view.name for view in history())

    def dataset(self, name: str) -> pd.DataFrame:
        """Return a dataset as a pandas DataFrame, in order of time; the column `hour` is a timestamp, UTC.

        Raises:
            SettingsError: there is no such dataset, or pandas is not installed.
            LakeError: the history cannot be read.
        """
        return self.query(self._dataset_sql(name))

    def dataset_arrow(self, name: str) -> arro3.core.Table:
        """Return a dataset as an Arrow table. Otherwise as `dataset`."""
        return self.query_arrow(self._dataset_sql(name))

    def _dataset_sql(self, name: str) -> str:
        if name not in self.datasets:
            raise SettingsError(f"there is no dataset {name!r}", hint=f"Datasets: {', '.join(self.datasets)}.")
        return f"from {_quoted(name)} order by hour"

    def query(
        self,
        sql: str,
        *,
        at: str | None = None,
        since: str | None = None,
        unproven: bool = False,
        partial: bool = False,
    ) -> pd.DataFrame:
        """Return the result of a query as a pandas DataFrame; decimals become floats (`query_arrow` keeps them exact).

        Args:
            sql: one statement that reads, in DuckDB's SQL. Tables are those of the newest Hour with a Receipt.
            at: the Hour to read tables from.
            since: read tables from all Hours from this one on, up to `at`; each row has its `hour`.
            unproven: also read Hours without a Receipt.
            partial: leave out files that cannot be read, with a warning, instead of raising.

        Raises:
            SettingsError: the SQL is wrong, there is no Hour to read, or pandas is not installed.
            ViplakeError: a file of a table cannot be read (`table_unreadable`).
            LakeError: the lake cannot be read.
        """
        try:
            import pandas as pd  # noqa: F401, PLC0415 - an extra
        except ImportError:
            raise SettingsError("pandas is not installed", hint=install_hint("pandas")) from None
        return self._query(
            sql, lambda answer: answer.relation().df(), at=at, since=since, unproven=unproven, partial=partial
        )

    def query_arrow(
        self,
        sql: str,
        *,
        at: str | None = None,
        since: str | None = None,
        unproven: bool = False,
        partial: bool = False,
    ) -> arro3.core.Table:
        """Return the result of a query as an Arrow table. Otherwise as `query`."""
        from arro3.core import Table  # noqa: PLC0415 - only this needs it

        def take(answer: QueryResult) -> Table:
            return Table.from_arrow(answer.relation())

        return self._query(sql, take, at=at, since=since, unproven=unproven, partial=partial)

    def _query(
        self,
        sql: str,
        take: Callable[[QueryResult], T],
        *,
        at: str | None,
        since: str | None,
        unproven: bool,
        partial: bool = False,
    ) -> T:
        from viplake.query.query import QueryRequest, query  # noqa: PLC0415 - DuckDB, which other calls do without

        request = QueryRequest(sql, _hour(at), _hour(since), unproven=unproven, partial=partial)
        self.warnings = []
        place = _wait(assembly.history_location(self._settings, self.stored))
        delta = _wait(assembly.tables_to_query(self._settings, self.stored, self.warnings.append))
        return _wait(query(self.stored, place, request, take, warn=self.warnings.append, delta=delta))

    # -- schema and figures

    def schema(self, at: str | None = None) -> dict[str, dict[str, str]]:
        """Return the columns of every table of a schema: `{"Voyage": {"VoyageNo": "int", ...}, ...}`.

        Args:
            at: the schema of this Hour; default: the newest.

        Raises:
            SettingsError: no schema is on record for it.
            LakeError: the history cannot be read.
        """
        from viplake.history.schema_store import SchemaStore  # noqa: PLC0415 - only this needs it

        versions = self.rows.schemas
        if not versions:
            raise SettingsError("no schema is on record", hint="viplake observe reads them.")
        place = _wait(assembly.history_location(self._settings, self.stored))
        hour = versions[-1].last if at is None else Hour.parse(at)
        held = _wait(SchemaStore(place.store, place.published).held(versions, hour))
        if isinstance(held.tables, str):
            raise SettingsError(f"the schema of {hour} is not known: {held.tables}")
        return {table: dict(known.columns or {}) for table, known in held.tables.items()}

    @cached_property
    def rows(self) -> Datasets:
        """The history as typed rows, read once; `refresh` reads it again.

        Raises:
            LakeError: the history cannot be read.
        """
        return _wait(self._read_rows())

    async def _read_rows(self) -> Datasets:
        from viplake.history.build import read_history, read_volumes  # noqa: PLC0415 - only the history needs them
        from viplake.history.rows import Datasets  # noqa: PLC0415 - as above
        from viplake.history.schema_store import SchemaStore  # noqa: PLC0415 - as above
        from viplake.report.quality import with_agreement  # noqa: PLC0415 - as above

        place = await assembly.history_location(self._settings, self.stored)
        history = await read_history(place)
        known = Datasets.of(history.frames)
        if known.jobs:
            volumes = await read_volumes(place, known.jobs[0].hour, known.jobs[-1].hour)
            known = replace(known, volumes=volumes)
        known = with_agreement(known, await assembly.check_settings(self._settings, self.stored))
        return replace(known, schemas=await SchemaStore(place.store, place.published).compared(known.schemas))

    def refresh(self) -> None:
        """Read the history again at the next call."""
        self.__dict__.pop("rows", None)

    def observe(self, first: str | None = None, last: str | None = None) -> dict[str, Any]:
        """Update the history, as `viplake observe` does. This writes to the lake.

        Args:
            first: observe only from this Hour on; default: what is new, late or missing.
            last: up to this Hour, included.

        Returns:
            What `viplake observe --json` prints.

        Raises:
            SettingsError, LakeError: as `viplake observe`; the history is then as it was.
        """
        from viplake.history.build import Scope  # noqa: PLC0415 - only this needs it

        done = _wait(assembly.observe(self._settings, self.stored, Scope(_hour(first), _hour(last))))
        self.refresh()
        return done.to_json()

    def verdict(self) -> list[str]:
        """Return what the report says first: the headline, then one sentence for each problem with its advice.

        Raises:
            LakeError: the lake cannot be read.
        """
        from viplake.judge.check import preview  # noqa: PLC0415 - only this needs it
        from viplake.report.quality import quality_state  # noqa: PLC0415 - as above
        from viplake.report.verdict import verdict  # noqa: PLC0415 - as above

        now, checks = SystemClock().now(), _wait(assembly.check_settings(self._settings, self.stored))
        observing = assembly.observing(self._settings)
        target = _wait(assembly.check_target(self._settings, self.stored))
        seen = _wait(preview(target, checks, observing, now=now))
        state = quality_state(seen.records, seen.incidents.values(), seen.checked, checks, now=now)
        found = verdict(state, self.rows, grace=observing.grace)
        return [found.headline, *(f"{point.what} {point.advice}".strip() for point in found.points)]

    @property
    def figure_titles(self) -> tuple[str, ...]:
        """The titles of all figures; the first is figure 1."""
        from viplake.report.figures import CHARTS  # noqa: PLC0415 - only figures need it

        return tuple(chart.title for chart in CHARTS)

    def figure(self, number: int, *, first: str | None = None) -> go.Figure:
        """Return a Plotly figure by its number; 1 to 10 are those of the original notebook.

        Args:
            number: from 1 on; `figure_titles` lists them.
            first: draw from this Hour on; default: from the first on record.

        Raises:
            SettingsError: there is no such figure, or Plotly is not installed.
            LakeError: the history cannot be read.
        """
        from viplake.report.figures import CHARTS  # noqa: PLC0415 - only figures need it

        if not 1 <= number <= len(CHARTS):
            raise SettingsError(f"there is no figure {number}", hint=f"Figures are 1 to {len(CHARTS)}.")
        _need_plotly()
        since = _hour(first)
        rows, now = self.rows, Hour.of(SystemClock().now())
        rows = rows if since is None else rows.between(since, max(rows.hours(), default=now))
        return CHARTS[number - 1].draw(rows)

    def figures(self, *, first: str | None = None) -> list[go.Figure]:
        """Return all figures, in order, with the same arguments as `figure`."""
        return [self.figure(number, first=first) for number in range(1, len(self.figure_titles) + 1)]


def time_series(
    times: Iterable[Any],
    lines: Mapping[str, Sequence[float | None]],
    title: str,
    *,
    target: float | None = None,
) -> go.Figure:
    """Return a figure with one, two or three lines over time, in the style of the others.

    Args:
        times: of the points, ascending.
        lines: one to three series by name, each as long as `times`; None is a gap.
        title: of the figure.
        target: also draw a dashed line at this value, such as an SLA.

    Raises:
        SettingsError: there are no lines or more than three, a series has another length, or Plotly is not installed.
    """
    from viplake.report.figures import BLUE, GREEN, ORANGE, figure_of  # noqa: PLC0415 - only figures need it

    points = list(times)
    if not 1 <= len(lines) <= _MOST_LINES:
        raise SettingsError(f"a time series has 1 to {_MOST_LINES} lines, not {len(lines)}")
    for name, values in lines.items():
        if len(values) != len(points):
            raise SettingsError(f"the line {name!r} has {len(values)} values for {len(points)} times")
    _need_plotly()
    traces = [
        {"type": "scatter", "mode": "lines", "name": name, "x": points, "y": list(values), "line": {"color": color}}
        for (name, values), color in zip(lines.items(), (BLUE, ORANGE, GREEN), strict=False)
    ]
    figure = figure_of(traces, title)
    if target is not None:
        figure.add_hline(y=target, line_dash="dash", annotation_text=f"target {target:g}")
    return figure


_MOST_LINES: Final = 3


def _need_plotly() -> None:
    try:
        import plotly  # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise SettingsError("Plotly is not installed", hint=install_hint("report")) from None


def _hour(text: str | None) -> Hour | None:
    return None if text is None else Hour.parse(text)


def _quoted(name: str) -> str:
    """Return the name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


# -- the event loop -----------------------------------------------------------------------------------------------


class _Loop:
    """An event loop in its own thread, because a notebook's loop is already running and cannot be re-entered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the work until it ends; a KeyboardInterrupt cancels it."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="viplake", daemon=True).start()
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result()
        except KeyboardInterrupt:
            running.cancel()
            raise


_wait: Final = _Loop().wait
