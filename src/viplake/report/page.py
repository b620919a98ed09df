"""I/O. The report: one HTML file that opens from a folder, without a network and without a server.

Everything is in the file: the words (Jinja, autoescaped), the styles, plotly.js once, and the numbers (`payload.py`).
plotly.js and the numbers are compressed. Names of the vendor cannot become markup or code: they are in escaped HTML or
in base64, the page's policy (CSP) allows only two scripts by their hashes, and nothing is fetched.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import resources
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from viplake.history.build import read_history, read_volumes
from viplake.history.rows import Datasets
from viplake.history.schema_store import SchemaStore
from viplake.judge.check import preview
from viplake.model import Hour
from viplake.report.evidence import delivered_files
from viplake.report.figures import CHARTS, DARK, INK, Chart, largest_table
from viplake.report.payload import compressed, dumps, figure_json, table_json
from viplake.report.quality import QualityState, quality_state, with_agreement
from viplake.report.quality_figures import charts
from viplake.report.tables import MATRIX_HOURS, CodedWords
from viplake.report.verdict import NO_HISTORY, NOTHING_JUDGED, verdict
from viplake.wording import count_words, size_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from viplake.current.show import Shown
    from viplake.history.build import ObserveSettings
    from viplake.judge.check import CheckTarget
    from viplake.judge.evaluate import CheckSettings
    from viplake.judge.incidents import Incident
    from viplake.report.evidence import DeliveredFiles
    from viplake.report.tables import FigureColumn, FigureTable
    from viplake.report.verdict import Assessment

DAYS: Final = 120
"""Default range of a page in days: four months, at about 3 MB with 45 tables."""

MOST_SUMMARIZED: Final = 4
MOST_INCIDENTS: Final = 200
"""Rows of the table of incidents; figure 16 has all."""

MOST_DETAILED: Final = 48
"""Hours of which the page has the names of the files: each costs three requests and some kilobytes."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_GROUPS: Final = (
    ("Volumetry", CHARTS[0:2]),
    ("Job level completeness", CHARTS[2:5]),
    ("Table level completeness", CHARTS[5:10]),
    ("Tables, phases, outcomes and schemas", CHARTS[10:]),
)
_MARKS: Final = {"well": "✓", "attention": "▲", "trouble": "✕", "unknown": "?"}
_LEVELS: Final = {"well": "Well", "attention": "Attention", "trouble": "Trouble", "unknown": "Not known"}


@dataclass(frozen=True, slots=True)
class Group:
    """Charts under one heading of the page."""

    name: str
    charts: Sequence[Chart]


def render(
    datasets: Datasets,
    *,
    title: str,
    now: datetime,
    assessment: Assessment | None = None,
    state: QualityState | None = None,
    more: Sequence[Group] = (),
    days: int | None = DAYS,
    hourly: str = "",
    files: Mapping[Hour, DeliveredFiles] | None = None,
    merged: Shown | None = None,
) -> str:
    """Return the page, as HTML.

    Args:
        datasets: the history.
        title: its heading, for example the environment and company.
        now: time of the report (aware); lateness is relative to it.
        assessment: the verdict in words; without one the page says that no rule was evaluated.
        state: incidents and the SLA; without one the page has neither.
        more: further charts, in groups of their own after the others.
        days: only the last so many days of the history; None: all of it.
        hourly: where the hourly folders are in the lake.
        files: the job GUID and the files of some Hours.
        merged: the current and history tables; None where the lake has none.
    """
    assessment = assessment or (NOTHING_JUDGED if datasets.jobs else NO_HISTORY)
    datasets, cut = _latest(datasets, days)
    groups = [*(Group(name, charts) for name, charts in _GROUPS), *more]
    numbered = _numbered(groups)
    drawn = {chart.name: _Drawn.of(chart, datasets) for chart in numbered}
    bundle, script = _read("plotly-cartesian.min.js"), _read("page.js")
    guids = {} if state is None else {hour.label: guid for hour, guid in state.guids.items()}
    payload = {
        "charts": [drawn[name].packed for name in drawn],
        "guids": guids | {hour.label: of.job_guid for hour, of in (files or {}).items() if of.job_guid},
        "files": {hour.label: of.names for hour, of in (files or {}).items()},
        "hourly": hourly,
        "dark": DARK,
        "ink": INK,
        "start": (_first(datasets, now).start.replace(hour=0) - _EPOCH) // timedelta(hours=1),
        "end": (_last(datasets, now).end - _EPOCH) // timedelta(hours=1),
    }
    return str(
        _template().render(
            title=title,
            policy=_policy(bundle, script),
            css=_trusted(_read("page.css")),
            bundle=compressed(bundle),
            script=_trusted(script),
            payload=compressed(dumps(payload)),
            range=_range(datasets, cut=cut),
            written=f"{now.astimezone(UTC):%Y-%m-%d %H:%M}",
            newest=str(_last(datasets, now)),
            version=version("viplake"),
            assessment=assessment,
            marks=_MARKS,
            levels=_LEVELS,
            tiles=_tiles(datasets),
            sla=[] if state is None else _sla(state),
            incidents=[] if state is None else _incidents(state, _first(datasets, now)),
            merged=None if merged is None else _merged(merged),
            numbers={chart.name: number for chart, number in numbered.items()},
            groups=[
                {"name": group.name, "charts": [drawn[chart.name].words(numbered[chart]) for chart in group.charts]}
                for group in groups
            ],
        )
    )


@dataclass(frozen=True, slots=True)
class Known:
    """A lake's history and the state of its data quality."""

    datasets: Datasets
    state: QualityState

    def state_at(self, now: datetime) -> QualityState:
        """Return the state for a moment shortly after it was computed."""
        return replace(self.state, now=now)


async def known_of(
    target: CheckTarget, settings: CheckSettings, observing: ObserveSettings, *, now: datetime, days: int | None
) -> Known:
    """Read the history, and evaluate Hours that no check has evaluated, in memory; error budgets of so many days.

    Raises:
        LakeError: the lake, the history or the incidents cannot be read.
    """
    history = await read_history(target.place)
    datasets = with_agreement(Datasets.of(history.frames), settings)
    seen = await preview(target, settings, observing, now=now, history=history)
    state = quality_state(seen.records, seen.incidents.values(), seen.checked, settings, now=now, days=days)
    return Known(datasets, state)


async def compose(
    target: CheckTarget,
    *,
    title: str,
    now: datetime,
    settings: CheckSettings,
    observing: ObserveSettings,
    more: Sequence[Group] = (),
    days: int | None = DAYS,
    first: Hour | None = None,
    last: Hour | None = None,
    merged: Shown | None = None,
) -> str:
    """Return the page of a lake's history, as HTML; otherwise as `render`.

    It begins with the findings of `viplake check`; Hours that no check has evaluated are evaluated in memory. Nothing
    is written and no notification is sent.

    Args:
        target: the lake and where its history is.
        title: as `render`.
        now: as `render`.
        settings: rules, calendar and objectives.
        observing: expected tables and the minutes of grace.
        more: as `render`.
        days: as `render`, where no first Hour is given.
        first: the first Hour of the figures; None: as far back as `days` and the history go.
        last: the last one, included; None: the newest.
        merged: as `render`.

    Raises:
        LakeError: the lake, the history or the incidents cannot be read.
    """
    place = target.place
    known = await known_of(target, settings, observing, now=now, days=days)
    schemas = await SchemaStore(place.store, place.published).compared(known.datasets.schemas)
    datasets, state = replace(known.datasets, schemas=schemas), known.state
    assessment = verdict(state, datasets, grace=observing.grace)
    more = (Group("Incidents and objectives", charts(state)), *more)
    hours = list(datasets.hours())
    if hours:
        ends = max(hours) if last is None else last
        begins = first or (min(hours) if days is None else max(min(hours), ends.shift(1 - 24 * days)))
        shown = max(begins, ends.shift(1 - MATRIX_HOURS))
        cut = replace(datasets.between(begins, ends), volumes=await read_volumes(place, shown, ends))
        datasets, days = cut, None if first or last else days
    return render(
        datasets,
        title=title,
        now=now,
        assessment=assessment,
        state=state,
        more=more,
        days=days,
        hourly=target.lake.layout.prefix,
        files=await delivered_files(target.lake, _remarkable(datasets, state)),
        merged=merged,
    )


def _remarkable(datasets: Datasets, state: QualityState) -> list[Hour]:
    """Return the newest Hours that lack something or are in an incident, `MOST_DETAILED` of them, and the newest."""
    planned, runs = datasets.planned_hours(), {row.hour for row in datasets.runs}
    found = {row.hour for row in datasets.tables if row.missing}
    found |= {row.hour for row in datasets.jobs if not row.delivered and row.hour not in planned and row.hour in runs}
    found |= {hour for one in state.incidents for first, last in one.spans for hour in first.to(last)}
    known = {row.hour for row in datasets.jobs}
    newest = [row.hour for row in datasets.jobs if row.delivered][-1:]
    return sorted({*newest, *(found & known)})[-MOST_DETAILED:]


def _numbered(groups: Sequence[Group]) -> dict[Chart, int]:
    """Each chart's number in the page: the seed's are 1 to 10 wherever others stand."""
    known = [chart for _, charts in _GROUPS for chart in charts]
    others = [chart for group in groups for chart in group.charts if chart not in known]
    place = {chart: number for number, chart in enumerate([*known, *others], start=1)}
    return {chart: place[chart] for group in groups for chart in group.charts}


# -- one chart ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A chart with its figure and its table made."""

    chart: Chart
    figure: dict[str, Any]
    table: FigureTable
    chosen: str | None

    @classmethod
    def of(cls, chart: Chart, datasets: Datasets) -> _Drawn:
        figure = chart.draw(datasets).to_plotly_json()
        # The heading is HTML, which wraps and can be linked to; the template is empty anyway.
        for needless in ("title", "template"):
            figure["layout"].pop(needless, None)
        chosen = largest_table(datasets) if chart.name == "table-volume" else None
        return cls(chart, figure, chart.tabulate(datasets), chosen)

    @property
    def packed(self) -> dict[str, Any]:
        """Return the data for the page's script."""
        return {"name": self.chart.name, "figure": figure_json(self.figure), "columns": table_json(self.table)}

    def words(self, number: int) -> dict[str, Any]:
        """For the page's words."""
        return {
            "number": number,
            "name": self.chart.name,
            "title": self.chart.title,
            "about": self.chart.about,
            "summary": _summary(self.table, self.chart.row),
            "height": self.figure["layout"]["height"],
            "choices": [column.name for column in self.table.columns[1:]] if self.chosen is not None else [],
            "chosen": self.chosen,
        }


def _summary(table: FigureTable, row: str = "") -> str:
    """What the figure shows, for those who cannot see it: newest, lowest and highest, or how often each word."""
    values = table.columns[1:]
    rows = _filled(table)
    if not rows:
        return "No data."
    unit = "Hours" if table.columns[0].kind == "hour" else "days"
    lead = f"{rows:,} {unit}"
    if row:
        extents = [_extent(column) for column in values[:3] if column.kind == "number"]
        counts = Counter() if extents else _counts(values[:1])
        often = ", ".join(f"{word.replace('_', ' ')}: {count:,}" for word, count in counts.most_common())
        return f"{rows:,} {row}; {'; '.join(extents) or often}."
    if len(values) > MOST_SUMMARIZED:
        lead += f", {len(values)} tables"
    if all(column.kind == "number" for column in values[:1]):
        extents = [_extent(column) for column in values[:MOST_SUMMARIZED] if column.kind == "number"]
        return f"{lead}." if len(values) > MOST_SUMMARIZED else f"{lead}; {'; '.join(extents)}."
    states = values[:1] if any(column.name == "outcome" for column in values) else values
    counts = _counts(states)
    return f"{lead}; {', '.join(f'{word}: {count:,}' for word, count in counts.most_common())}."


def _filled(table: FigureTable) -> int:
    """How many rows have any value."""
    empty: Sequence[int] = range(len(table))
    for column in table.columns[1:]:
        empty = [row for row in empty if column.values[row] is None]
    return len(table) - len(empty)


def _counts(columns: Sequence[FigureColumn]) -> Counter[str]:
    """How often the columns have each word."""
    counts: Counter[str] = Counter()
    for column in columns:
        if isinstance(column.values, CodedWords):
            codes = column.values.codes.tobytes()
            counts.update({word: codes.count(code) for code, word in enumerate(column.values.words)})
        else:
            counts.update(str(value) for value in column.values if value is not None)
    return +counts


def _extent(column: FigureColumn) -> str:
    present = [float(value) for value in column.values if value is not None]
    if not present:
        return f"{column.name}: no data"
    low, high, newest = (f"{value:,.10g}" for value in (min(present), max(present), present[-1]))
    return (
        f"{column.name}: newest {newest}, always the same"
        if low == high
        else (f"{column.name}: newest {newest}, between {low} and {high}")
    )


# -- the whole ------------------------------------------------------------------------------------------------


def _latest(datasets: Datasets, days: int | None) -> tuple[Datasets, bool]:
    """The last days of the history, and whether there are more."""
    hours = list(datasets.hours())
    if days is None or not hours:
        return datasets, False
    first = max(hours).shift(1 - 24 * days)
    return datasets.between(max(first, min(hours)), max(hours)), min(hours) < first


def _first(datasets: Datasets, now: datetime) -> Hour:
    return min(datasets.hours(), default=Hour.of(now))


def _last(datasets: Datasets, now: datetime) -> Hour:
    return max(datasets.hours(), default=Hour.of(now))


def _range(datasets: Datasets, *, cut: bool) -> str:
    hours = list(datasets.hours())
    if not hours:
        return "No Hour is on record"
    words = f"{min(hours)} to {max(hours)}"
    return f"{words}, the last part of a longer history" if cut else words


def _tiles(datasets: Datasets) -> list[dict[str, str]]:
    """A few numbers beside the verdict."""
    tiles = []
    planned = datasets.planned_hours()
    delivered = [row.hour for row in datasets.jobs if row.delivered]
    if delivered:
        tiles.append({"name": "Newest delivered Hour", "value": str(delivered[-1])})
    for days in (7, 30) if datasets.jobs else ():
        recent = datasets.jobs[-24 * days :]
        share = f"{sum(row.delivered for row in recent):,} of {sum(row.expected for row in recent):,}"
        if out := sum(row.hour in planned and row.expected > row.delivered for row in recent):
            share += f", {out} planned"
        tiles.append({"name": f"Hours delivered in {days} days", "value": share})
    if datasets.tables:
        last = datasets.tables[-1]
        tiles.append({"name": "Tables in the newest Hour", "value": f"{last.delivered:,} of {last.expected:,}"})
    sizes = [row for row in datasets.sizes if row.files]
    if sizes:
        value = f"{count_words(sizes[-1].files, 'file')}, {size_words(1000 * sizes[-1].kilobytes)}"
        tiles.append({"name": "Newest volume", "value": value})
    if datasets.schemas:
        tiles.append({"name": "The same schema since", "value": str(datasets.schemas[-1].first)})
    return tiles


def _sla(state: QualityState) -> list[dict[str, Any]]:
    """The newest day, week and month and the window, with a cell an indicator."""
    indicators = list(dict.fromkeys(one.objective.name for one in state.sla))
    rows: dict[str, dict[str, dict[str, str]]] = {}
    for one in state.sla:
        level = "unknown" if one.met is None else "well" if one.met else "trouble"
        share = "" if one.tally.ratio is None else f" ({one.tally.ratio:.2%})"
        words = f"{one.tally.good:,} of {one.tally.expected:,} Hours{share}"
        name = (
            f"window of {one.objective.window // 24} days" if one.kind == "window" else f"{one.kind} from {one.first}"
        )
        rows.setdefault(name, {})[one.objective.name] = {"level": level, "verdict": one.verdict, "words": words}
    nothing = {"level": "unknown", "verdict": "no data", "words": ""}
    return [
        {"period": name, "indicators": indicators, "cells": [cells.get(of, nothing) for of in indicators]}
        for name, cells in rows.items()
    ]


def _incidents(state: QualityState, first: Hour) -> list[Incident]:
    """The incidents of the page's range, the newest first."""
    return [one for one in reversed(state.incidents) if one.open or one.last >= first][:MOST_INCIDENTS]


def _merged(found: Shown) -> dict[str, Any]:
    """The current and history tables: one line over all, and a row a table."""
    why = {table: f"{hour}: {reason}" for hour, table, reason in found.held}  # ascending: the newest Hour stays
    rows = []
    for one in found.tables:
        sizes = [one.sizes.get("current"), one.sizes.get("history")]
        counted = ["" if size is None or size.rows is None else f"{size.rows:,}" for size in sizes]
        size = size_words(sum(size.size for size in sizes if size is not None))
        lag = found.lag_of(one)
        when = ["", ""] if one.newest is None else [str(one.newest), "" if lag is None else f"{lag:,}"]
        rows.append([one.name, *counted, size, *when, why.pop(one.name, "")])
    rows += [[name, "", "", "", "", "", reason] for name, reason in sorted(why.items())]  # never merged yet
    words = f"{count_words(len(found.tables), 'table')}, newest Hour {found.newest or 'none'}"
    if found.lag:
        words += f", {count_words(found.lag, 'Hour')} behind the newest proven Hour"
    held = len({table for _, table, _ in found.held})
    return {"words": words + (f"; {count_words(held, 'table')} held back" if held else ""), "rows": rows}


def _policy(*scripts: str) -> str:
    """The page may run these scripts and its own styles, and fetch nothing (Content Security Policy Level 3)."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii") for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _read(name: str) -> str:
    return resources.files("viplake.report").joinpath("templates", name).read_text(encoding="utf-8")


def _trusted(text: str) -> Any:
    """Return a text of our own as markup."""
    from markupsafe import Markup  # noqa: PLC0415 - of the extra `report`

    return Markup(text)  # noqa: S704 - never called with a vendor's text


def _template() -> Any:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - of the extra `report`

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_read("page.html"))
