"""PURE. The figures: datasets in, Plotly figures out. The ten of the original notebook, then five more.

One function a figure, also for notebooks and dashboards; `CHARTS` lists all of them with their tables, for the report.
Most colours are those of Okabe and Ito ("Color Universal Design", 2008). A test simulates colour-blind eyes and
measures that outcomes, states and owners differ; no meaning depends on colour alone. Times are UTC. An Hour or a day
without a row is a gap in a line. The vendor's names are escaped in hover texts and axes, because Plotly reads some HTML
there.
"""

from __future__ import annotations

import html
import itertools
import textwrap
from array import array
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from viplake.report import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import plotly.graph_objects as go

    from viplake.history.rows import Datasets
    from viplake.report.tables import FigureColumn, FigureTable

BLUE: Final = "#0072B2"
SKY: Final = "#56B4E9"
GREEN: Final = "#009E73"
YELLOW: Final = "#F0E442"
ORANGE: Final = "#E69F00"
VERMILLION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"

INK: Final = "#1c2024"
FAINT: Final = "#5b6470"
GRID: Final = "#e3e6ea"
PAPER: Final = "#ffffff"
NOTHING: Final = "#22262b"
FINE: Final = "#cfe6f5"
VIOLET: Final = "#A56EFF"
"""Of IBM's palette. Beside grey and sky blue a colour-blind eye takes the purple of Okabe and Ito for grey."""

MISSED: Final = "rgb(213,94,0)"
"""Vermillion once more, as the fill of a cell: on a dark ground it needs no lighter twin, as a line does."""

BAND: Final = "rgba(128,136,146,0.22)"
"""The ground of what was planned, light or dark."""

PLANNED: Final = "#858e99"
OUTCOME_COLOURS: Final = (FINE, PLANNED, YELLOW, SKY, VIOLET, MISSED)
"""Of `tables.OUTCOMES`, in their order."""

STATE_COLOURS: Final = (FINE, MISSED, NOTHING, PLANNED)
"""Of `tables.TABLE_STATES`, in their order."""

TYPICAL: Final = "rgba(0,158,115,0.16)"
UNDER: Final = "rgba(0,114,178,0.18)"

DARK: Final = {
    BLUE: SKY,
    VERMILLION: "#F0803C",
    INK: "#e8eaed",
    FAINT: "#a8b0ba",
    GRID: "#343a42",
    PAPER: "#15181c",
    NOTHING: "#c9ced6",
    FINE: "#1f4058",
    TYPICAL: "rgba(0,158,115,0.30)",
    UNDER: "rgba(86,180,233,0.22)",
}
"""Each colour of the light theme that has another one on a dark ground."""

TYPICAL_MINUTES: Final = {"init": (0.0, 2.0), "replication": (15.0, 25.0), "transfer": (2.0, 3.0)}
"""Typical duration of each phase in minutes."""

SHORT_STRETCH: Final = 12
"""Hours: what lasts as long is wider than a pixel in a figure of some months."""

MOST_TABLES: Final = 60
"""Rows of the heat map: more are a wall; those most often missing come first."""

MOST_SCHEMAS: Final = 30
"""Rows of the figure of schemas: those that were seen last."""

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure with its table.

    Attributes:
        name: in links and file names.
        title: of the figure; for the ten figures that of the original notebook.
        about: how to read it, one or two sentences.
        draw: makes the figure.
        tabulate: makes the table that it is drawn from.
        row: what a row of the table is, in the plural; empty where it is an Hour or a day.
    """

    name: str
    title: str
    about: str
    draw: Callable[[Datasets], go.Figure]
    tabulate: Callable[[Datasets], FigureTable]
    row: str = ""


# -- volumetry ------------------------------------------------------------------------------------------------


def files_hourly(datasets: Datasets) -> go.Figure:
    """Figure 1, from sizes and jobs: files of each Hour whose job was delivered, our own Receipt not counted."""
    return _lines(datasets, "files-hourly", "files", {"files": BLUE})


def size_hourly(datasets: Datasets) -> go.Figure:
    """Figure 2, from sizes: whole kilobytes (1,000 bytes) in each Hour's folder."""
    return _lines(datasets, "size-hourly", "kilobytes", {"size": BLUE})


def job_completeness_daily(datasets: Datasets) -> go.Figure:
    """Figure 3, from jobs: jobs delivered and expected, summed over each day."""
    return _lines(datasets, "job-completeness-daily", "jobs a day", {"delivered": BLUE})


def job_ratio_daily(datasets: Datasets) -> go.Figure:
    """Figure 4, from jobs: jobs delivered / expected of each day, 0 to 1."""
    return _scaled_as_ratio(_lines(datasets, "job-ratio-daily", "delivered / expected", {"successRatio": BLUE}))


def job_completeness_hourly(datasets: Datasets) -> go.Figure:
    """Figure 5, from jobs: 1 for each Hour whose job was delivered, else 0."""
    figure = _lines(datasets, "job-completeness-hourly", "job delivered", {"jobDelivered": BLUE})
    steps = {"line": {"shape": "hv", "width": 1}, "fill": "tozeroy", "fillcolor": UNDER}
    figure.update_traces(selector={"mode": "lines", "name": "jobDelivered"}, **steps)
    return figure.update_yaxes(range=[-0.05, 1.1], tickvals=[0, 1])


# -- table completeness -------------------------------------------------------------------------------------------


def table_completeness_daily(datasets: Datasets) -> go.Figure:
    """Figure 6, from tables: tables delivered and expected, the mean over each day's Hours."""
    return _lines(datasets, "table-completeness-daily", "tables", {"delivered": BLUE})


def table_ratio_daily(datasets: Datasets) -> go.Figure:
    """Figure 7, from tables: tables delivered / expected of each day, sum / sum, 0 to 1."""
    return _scaled_as_ratio(_lines(datasets, "table-ratio-daily", "delivered / expected", {"completenessRatio": BLUE}))


def table_completeness_hourly(datasets: Datasets) -> go.Figure:
    """Figure 8, from tables: tables delivered and expected of each Hour."""
    return _lines(datasets, "table-completeness-hourly", "tables", {"delivered": BLUE})


def table_failure_daily(datasets: Datasets) -> go.Figure:
    """Figure 9, from tables: tables missing, the mean over each day's Hours."""
    return _lines(datasets, "table-failure-daily", "missing tables", {"missingTables": VERMILLION})


def table_failure_hourly(datasets: Datasets) -> go.Figure:
    """Figure 10, from tables: tables missing in each Hour, their names on hovering."""
    missing = {"missingTables": VERMILLION}
    return _lines(datasets, "table-failure-hourly", "missing tables", missing, notes="missingTablesList")


# -- where looking beats reading --------------------------------------------------------------------------------


def table_heat_map(datasets: Datasets) -> go.Figure:
    """Tables by Hours, from tables, jobs and volumes: delivered, missing, or no job at all.

    The tables most often missing come first, `MOST_TABLES` of them at most.
    """
    table = tables.table_states(datasets)
    shown = table.columns[1 : 1 + MOST_TABLES]
    colours = STATE_COLOURS
    heat = dict(
        type="heatmap",
        x=moments_of(table),
        y=[_inert(column.name) for column in shown],
        z=[[None if code < 0 else code for code in coded.codes] for column in shown if (coded := coded_of(column))],
        hovertemplate="%{y}<br>%{x|%Y-%m-%d %H:%M} UTC<extra></extra>",
        **_palette(colours),
    )
    figure = figure_of([heat], _titled("table-heat-map"), height=190 + 15 * max(len(shown), 3))
    _legend(figure, dict(zip(tables.TABLE_STATES, colours, strict=True)))
    # A cell narrower than a pixel may not be painted at all, and it is the lonely Hours that must not be overlooked.
    marks = [(row, at) for row, column in enumerate(shown) for at in _short_stretches(column.values, tables.MISSING)]
    x, y = heat["x"], heat["y"]
    tick = {"symbol": "line-ns", "size": 11, "line": {"color": MISSED, "width": 2}}
    figure.add_trace(
        {
            "type": "scatter",
            "name": "missing",
            "x": [x[at] for _, at in marks],
            "y": [y[row] for row, _ in marks],
            "mode": "markers",
            "marker": tick,
            "hoverinfo": "skip",
            "showlegend": False,
        }
    )
    line = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "line": {"color": NOTHING, "width": 1}}
    lonely = _short_stretches(shown[0].values, "no job") if shown else []
    figure.update_layout(shapes=[line | {"x0": x[at], "x1": x[at]} for at in lonely])  # at once: each costs all before
    down = [len(shown) - 0.5, -0.5]  # the first on top
    figure.update_yaxes(range=down, type="category", dtick=1, showgrid=False, tickfont={"size": 10})
    figure.update_xaxes(showgrid=False)
    if hidden := len(table.columns) - 1 - len(shown):
        _remark(figure, f"{hidden} more tables, none of them missing more often than these, are in the table only")
    return figure


def phases(datasets: Datasets) -> go.Figure:
    """Minutes of init, replication and transfer of each Hour, from runs, over bands of the typical cycle."""
    table = tables.phases(datasets)
    figure = figure_of([], _titled("phases"), height=560)
    dots = zip(TYPICAL_MINUTES.items(), (PURPLE, BLUE, ORANGE), ("circle", "diamond", "square"), strict=True)
    for number, ((phase, (low, high)), colour, symbol) in enumerate(dots):
        axis = f"y{number + 1}"
        marker = {"color": colour, "size": 4, "symbol": symbol, "opacity": 0.75}
        figure.add_trace(
            {
                "type": "scatter",
                "x": moments_of(table),
                "y": table.column(phase),
                "yaxis": axis,
                "name": phase,
                "mode": "markers",
                "marker": marker,
                "hovertemplate": "%{y:.1f} min",
            }
        )
        top = 1 - number * 0.35
        words = f"{phase}, typical {f'{low:g}-{high:g}' if low else f'< {high:g}'} min"
        figure.update_layout(
            {f"yaxis{number + 1}": axis_of(domain=[top - 0.26, top], anchor="x", title=None, rangemode="tozero")}
        )
        figure.add_shape(
            type="rect",
            xref="paper",
            x0=0,
            x1=1,
            yref=axis,
            y0=low,
            y1=high,
            fillcolor=TYPICAL,
            line={"width": 0},
            layer="below",
        )
        figure.add_annotation(
            text=words,
            xref="paper",
            x=0,
            xanchor="left",
            yref="paper",
            y=top,
            yanchor="bottom",
            showarrow=False,
            font={"color": INK, "size": 12},
        )
    figure.update_layout(showlegend=False, xaxis_anchor=f"y{len(TYPICAL_MINUTES)}")
    return with_bands(figure, datasets)


def table_volume(datasets: Datasets, table: str | None = None) -> go.Figure:
    """Bytes of one table in each Hour, from volumes; without a name, of the one that is largest in all.

    A table that never was delivered gives an empty figure.
    """
    name = table if table is not None else largest_table(datasets)
    found = tables.volumes(datasets, name)
    bytes_of = {column.name: column.values for column in found.columns[1:]}
    times = found.columns[0] if name in bytes_of else tables.FigureColumn("date", "hour", ())
    shown = tables.FigureTable((times, tables.FigureColumn("bytes", "number", bytes_of.get(str(name), ()))))
    unit = f"bytes of {_inert(name)}" if name else "bytes"
    return _lines(datasets, "table-volume", unit, {"bytes": BLUE}, table=shown)


def outcomes_calendar(datasets: Datasets) -> go.Figure:
    """Return the outcome of every Hour, a column a day and a row an hour of the day, from jobs, tables and runs."""
    table = tables.outcomes(datasets)
    letters = {
        tables.TABLES_MISSING: "t",
        tables.WAITING: "w",
        tables.FAILED: "F",
        tables.MISSING: "M",
        tables.PLANNED: "p",
    }
    codes = {outcome: code for code, outcome in enumerate(tables.OUTCOMES)}
    at: dict[tuple[int, str], int] = {(int(label[9:]), label[:8]): row for row, label in enumerate(table.times)}
    days = _every_day([label[:8] for label in table.times])
    cells = [[at.get((hour, day)) for day in days] for hour in range(24)]

    def of(name: str, row: int | None) -> str:
        return "" if row is None else str(table.column(name)[row] or "")

    def hover(row: int | None) -> str:
        parts = [of(name, row) for name in ("outcome", "cause", "owner", "missingTablesList")]
        return "<br>".join(wrapped(part) for part in parts if part)

    heat = dict(
        type="heatmap",
        x=[_date(day) for day in days],
        y=[f"{hour:02d}:00" for hour in range(24)],
        z=[[codes.get(of("outcome", row)) for row in line] for line in cells],
        text=[[letters.get(of("outcome", row), "") for row in line] for line in cells],
        customdata=[[hover(row) for row in line] for line in cells],
        texttemplate="%{text}",
        textfont={"color": "#000000"},
        xgap=1,
        ygap=1,
        hovertemplate="%{x|%Y-%m-%d} %{y} UTC<br>%{customdata}<extra></extra>",
        **_palette(OUTCOME_COLOURS),
    )
    figure = figure_of([heat], _titled("outcomes-calendar"), height=580)
    legend = dict(zip(tables.OUTCOMES, OUTCOME_COLOURS, strict=True))
    _legend(
        figure,
        {f"{outcome} ({letters[outcome]})" if outcome in letters else outcome: c for outcome, c in legend.items()},
    )
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False, dtick=3)
    return figure.update_xaxes(showgrid=False)


def schema_versions(datasets: Datasets) -> go.Figure:
    """Figure 15: the schema versions over time, from schemas: a row a schema, the newest on top."""
    table = tables.schema_versions(datasets)
    column = {name: table.column(name) for name in ("schema", "tables", "until", "what changed", "hash")}
    names = list(dict.fromkeys(str(name) for name in reversed(column["schema"])))[:MOST_SCHEMAS]
    figure = figure_of([], _titled("schema-versions"), height=170 + 34 * max(len(names), 3))
    for what, colour, readable in (("can be read", BLUE, True), ("cannot be read", VERMILLION, False)):
        rows = [
            row
            for row, count in enumerate(column["tables"])
            if (count is not None) is readable and column["schema"][row] in names
        ]
        if rows:
            figure.add_trace(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": what,
                    "base": [written_as(moment_of(table.times[row])) for row in rows],
                    "x": [length_of(table.times[row], str(column["until"][row])) for row in rows],
                    "y": [column["schema"][row] for row in rows],
                    "customdata": [_version_words({name: of[row] for name, of in column.items()}) for row in rows],
                    "hovertemplate": "%{base|%Y-%m-%d %H:%M} UTC, %{y}<br>%{customdata}<extra></extra>",
                    # The edge parts a schema from the same one that comes back after an Hour of another.
                    "marker": {"color": colour, "line": {"color": PAPER, "width": 1}},
                    "width": 0.55,
                }
            )
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=names[::-1], showgrid=True, dtick=1)
    if len(set(column["schema"])) > len(names):
        _remark(figure, f"The {len(names)} schemas that came last; the table below has all.")
    figure.update_layout(barmode="overlay", hovermode="closest", showlegend=len(figure.data) > 1)
    return with_bands(figure, datasets)


def _version_words(row: dict[str, str | float | None]) -> str:
    count = "" if row["tables"] is None else f", {row['tables']:,} tables"
    words = f"until {written_as(moment_of(str(row['until'])))}{count}, hash {row['hash']}. {row['what changed']}"
    return wrapped(words)


# -- all of them ------------------------------------------------------------------------------------------------


CHARTS: Final = (
    Chart(
        "files-hourly",
        "Files Delivered (partitions, schema, scripts included) in Successful Jobs, Hourly",
        "A level line is a healthy one. A step means partitions or tables that came or went; a gap, no job.",
        files_hourly,
        tables.files_hourly,
    ),
    Chart(
        "size-hourly",
        "Size of Files Delivered (partitions, schema, scripts included), Hourly",
        "Kilobytes of each Hour. Working days are larger than weekends; zero is an Hour without a job.",
        size_hourly,
        tables.size_hourly,
    ),
    Chart(
        "job-completeness-daily",
        "Job Delivery Completeness, Averaged Daily",
        "Jobs delivered of those expected, one an hour. Where the lines part, Hours are missing.",
        job_completeness_daily,
        tables.jobs_daily,
    ),
    Chart(
        "job-ratio-daily",
        "Job Delivery Completeness Ratio, Averaged Daily",
        "Delivered / expected: 1 is a day with every job.",
        job_ratio_daily,
        tables.job_ratio_daily,
    ),
    Chart(
        "job-completeness-hourly",
        "Job Delivery Completeness (out of 1, hourly)",
        "1 where the job of the Hour was delivered, 0 where it was not.",
        job_completeness_hourly,
        tables.jobs_hourly,
    ),
    Chart(
        "table-completeness-daily",
        "Table Delivery Completeness, Averaged Daily",
        "Tables delivered of those that the Hour's own schema promises, the mean of the day.",
        table_completeness_daily,
        tables.tables_daily,
    ),
    Chart(
        "table-ratio-daily",
        "Table Delivery Completeness Ratio, Averaged Daily",
        "Tables delivered / expected, summed over the day: 1 is a day without a missing table.",
        table_ratio_daily,
        tables.table_ratio_daily,
    ),
    Chart(
        "table-completeness-hourly",
        "Table Delivery Completeness, Hourly",
        "A step in the expected line is a change of the schema.",
        table_completeness_hourly,
        tables.tables_hourly,
    ),
    Chart(
        "table-failure-daily",
        "Table Delivery Failure, Averaged Daily",
        "Missing tables an Hour, the mean of the day.",
        table_failure_daily,
        tables.missing_daily,
    ),
    Chart(
        "table-failure-hourly",
        "Table Delivery Failure, Hourly",
        "Missing tables of each Hour; the names are in the table below.",
        table_failure_hourly,
        tables.missing_hourly,
    ),
    Chart(
        "table-heat-map",
        "Tables by Hours",
        "One row a table, one column an Hour; the tables most often missing are on top. The last 120 days.",
        table_heat_map,
        tables.table_states,
    ),
    Chart(
        "phases",
        "Phases of Each Run Against the Typical Cycle",
        "Minutes spent waiting for the start, in the vendor's replication and in our transfer; the band is the usual.",
        phases,
        tables.phases,
    ),
    Chart(
        "table-volume",
        "Volume of One Table Over Time",
        "Bytes of the table in each Hour, rounded; an Hour without the table is a gap. The last 120 days.",
        table_volume,
        tables.volumes,
    ),
    Chart(
        "outcomes-calendar",
        "Calendar of Outcomes",
        "The outcome of every Hour. Click a cell to open its Hour.",
        outcomes_calendar,
        tables.outcomes,
    ),
    Chart(
        "schema-versions",
        "Schema Versions Over Time",
        "One row a schema, the newest on top, numbered as they came. The hover text says what changed.",
        schema_versions,
        tables.schema_versions,
        row="versions",
    ),
)
"""All figures in their order: the seed's ten, then ours."""


def ten(datasets: Datasets) -> list[go.Figure]:
    """The seed's ten figures, in its order."""
    return [chart.draw(datasets) for chart in CHARTS[:10]]


def largest_table(datasets: Datasets) -> str | None:
    """The table with the most bytes in all (the first by name of several); None without volumes."""
    series = {} if datasets.volumes is None else datasets.volumes.sizes
    sums = {name: sum(size for size in sizes if size > 0) for name, sizes in series.items()}
    return min(sums, key=lambda name: (-sums[name], name), default=None)


def dark(figure: go.Figure) -> go.Figure:
    """The same figure for a dark ground."""
    return type(figure)(_recoloured(figure.to_plotly_json(), DARK))


# -- how they are drawn, for the figures of judgement too -------------------------------------------------------


def _titled(name: str) -> str:
    return _chart(name).title


def _chart(name: str) -> Chart:
    return next(chart for chart in CHARTS if chart.name == name)


def figure_of(traces: Sequence[dict[str, Any]], title: str, *, height: int = 380) -> go.Figure:
    """A figure of these traces over time; `height` in pixels."""
    import plotly.graph_objects as go  # noqa: PLC0415 - heavy, and an extra: only for those who draw

    return go.Figure(
        data=list(traces),
        layout={
            "template": "none",
            "title": {"text": title, "x": 0, "xref": "paper", "xanchor": "left", "font": {"size": 15}},
            "font": {"family": "system-ui, sans-serif", "color": INK, "size": 12},
            "paper_bgcolor": PAPER,
            "plot_bgcolor": PAPER,
            "margin": {"l": 64, "r": 16, "t": 64, "b": 48},
            "height": height,
            "hovermode": "x unified",
            "hoverlabel": {"bgcolor": PAPER, "font": {"color": INK}},
            "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
            "xaxis": axis_of(type="date", title={"text": "UTC", "standoff": 4}, hoverformat="%Y-%m-%d %H:%M UTC"),
            "yaxis": axis_of(rangemode="tozero"),
        },
    )


def axis_of(**more: Any) -> dict[str, Any]:
    """An axis in the report's colours."""
    return {"gridcolor": GRID, "linecolor": FAINT, "zeroline": False, "automargin": True, **more}


def _lines(
    datasets: Datasets,
    name: str,
    unit: str,
    colours: Mapping[str, str],
    *,
    table: FigureTable | None = None,
    notes: str | None = None,
) -> go.Figure:
    """A figure of lines, one a column of `colours`; then what was expected, and the SLA.

    Days are steps from midnight to midnight. Points without neighbours, which no line shows, are dots.
    """
    chart = _chart(name)
    table = chart.tabulate(datasets) if table is None else table
    daily = table.columns[0].kind == "day"
    figure = figure_of([], chart.title)
    known = {column.name for column in table.columns}
    styles = {column: (colour, "solid", 1.5) for column, colour in colours.items()}
    styles |= {tables.EXPECTED: (FAINT, "dash", 1.5), tables.SLA: (PURPLE, "dot", 2.0)}
    for column, (colour, dash, width) in styles.items() if len(table) else ():
        if column in known:
            texts = None
            if notes and column in colours:
                texts = [f"<br>{wrapped(str(note))}" if note else "" for note in table.column(notes)]
            points = _broken(table.times, table.column(column), texts, _DAY if daily else _HOUR)
            so_far = _without_unfinished(points, datasets) if daily else None
            line = {"color": colour, "width": width, "dash": dash, "shape": "hvh" if daily else "linear"}
            label = _sla_words(datasets, name) if column == tables.SLA else column
            _add_line(figure, label, points, line)
            if so_far is not None and column in colours:
                figure.add_trace(_so_far(column, *so_far, colour))
    figure.update_yaxes(title={"text": unit, "standoff": 8}, tickformat="~s" if "bytes" in colours else ",~r")
    if daily:
        figure.update_xaxes(hoverformat="%Y-%m-%d (UTC)")
    many = len({trace.name for trace in figure.data}) > 1
    return with_bands(figure.update_layout(showlegend=many, margin_t=64 if many else 44), datasets)


def _add_line(
    figure: go.Figure,
    name: str,
    points: tuple[list[str], list[Any], list[str] | None, list[int]],
    line: Mapping[str, Any],
) -> None:
    x, y, text, lonely = points
    trace = {"type": "scatter", "x": x, "y": y, "name": name, "connectgaps": False, "mode": "lines", "line": line}
    trace["hovertemplate"] = "%{y:,.10~g}" + ("%{text}" if text else "")
    figure.add_trace(trace | ({"text": text} if text else {}))
    if lonely:
        figure.add_trace(
            {
                "type": "scatter",
                "x": [x[i] for i in lonely],
                "y": [y[i] for i in lonely],
                "name": name,
                "mode": "markers",
                "marker": {"color": line["color"], "size": 4},
                "showlegend": False,
                "hoverinfo": "skip",
            }
        )


def _sla_words(datasets: Datasets, name: str) -> str:
    return f"SLA {datasets.targets['delivered' if name.startswith('job') else 'complete']:g}"


def _without_unfinished(
    points: tuple[list[str], list[Any], list[str] | None, list[int]], datasets: Datasets
) -> tuple[str, Any] | None:
    """Take the last day out of a line while Hours of it are still to come; return its point so far."""
    x, y, _, lonely = points
    rows = datasets.jobs or datasets.tables
    if not rows or rows[-1].hour.start.hour == 23 or x[-1][:10] != f"{rows[-1].hour.start:%Y-%m-%d}":  # noqa: PLR2004
        return None
    if lonely and lonely[-1] == len(y) - 1:
        lonely.pop()
    so_far, y[-1] = y[-1], None
    return x[-1], so_far


def _so_far(name: str, x: str, y: Any, colour: str) -> dict[str, Any]:
    """The mark of a day that is not over."""
    marker = {"color": colour, "size": 9, "symbol": "circle-open", "line": {"width": 2}}
    hover = "%{y:,.10~g} (the day is not over)"
    trace = {"type": "scatter", "x": [x], "y": [y], "name": f"{name} so far", "mode": "markers", "marker": marker}
    return trace | {"hovertemplate": hover}


def with_bands(figure: go.Figure, datasets: Datasets) -> go.Figure:
    """Return the figure with what was planned as bands behind it."""
    spans = [(moment_of(span.first.label), moment_of(span.last.label), span.words) for span in datasets.planned]
    bands = [band(first, last + _HOUR, words) for first, last, words in spans]
    return figure.update_layout(shapes=[*figure.layout.shapes, *bands]) if bands else figure


def band(first: datetime, end: datetime, words: str) -> dict[str, Any]:
    """A band behind a figure, with its words."""
    label = {"text": words, "textposition": "top left", "textangle": 0, "font": {"size": 10, "color": FAINT}}
    place = {"x0": written_as(first), "x1": written_as(end), "yref": "paper", "y0": 0, "y1": 1}
    return {"type": "rect", "fillcolor": BAND, "line": {"width": 0}, "layer": "below", "label": label, **place}


def _broken(
    labels: Sequence[str], values: Sequence[Any], texts: Sequence[str] | None, step: timedelta
) -> tuple[list[str], list[Any], list[str] | None, list[int]]:
    """The points with an empty one in every hole, and the places of those without a neighbour; days at noon."""
    x: list[str] = []
    y: list[Any] = []
    text: list[str] = []
    before: datetime | None = None
    middle = step / 2 if step == _DAY else timedelta(0)
    for number, (label, value) in enumerate(zip(labels, values, strict=True)):
        moment = moment_of(label)
        if before is not None and moment > before + step:
            x.append(written_as(before + step + middle))
            y.append(None)
            text.append("")
        x.append(written_as(moment + middle))
        y.append(value)
        text.append(texts[number] if texts else "")
        before = moment
    around = [None, *y, None]
    lonely = [i for i, value in enumerate(y) if value is not None and around[i] is None and around[i + 2] is None]
    return x, y, text if texts else None, lonely


def _short_stretches(values: Sequence[Any], state: str) -> list[int]:
    """The middle of every stretch of the state that is shorter than `SHORT_STRETCH`."""
    middles = []
    start = 0
    for value, group in itertools.groupby(values):
        length = len(list(group))
        if value == state and length < SHORT_STRETCH:
            middles.append(start + length // 2)
        start += length
    return middles


def _palette(colours: Sequence[str]) -> dict[str, Any]:
    """A heat map's settings for codes 0, 1, ... that have these colours."""
    share = 1 / len(colours)
    scale = [[edge, colour] for i, colour in enumerate(colours) for edge in (i * share, (i + 1) * share)]
    return {"zmin": -0.5, "zmax": len(colours) - 0.5, "colorscale": scale, "showscale": False, "hoverongaps": False}


def _legend(figure: go.Figure, states: Mapping[str, str]) -> None:
    """Add a legend of a heat map's colours; unlike a colour bar it wraps on a phone."""
    for state, colour in states.items():
        marker = {"symbol": "square", "size": 11, "color": colour, "line": {"color": FAINT, "width": 1}}
        figure.add_trace(
            {"type": "scatter", "x": [None], "y": [None], "mode": "markers", "name": state, "marker": marker}
        )
    figure.update_layout(showlegend=True, legend_itemclick=False, legend_itemdoubleclick=False)


def coded_of(column: FigureColumn) -> tables.CodedWords:
    """The codes of a column of states."""
    return column.values if isinstance(column.values, tables.CodedWords) else tables.CodedWords(array("b"), ())


def _scaled_as_ratio(figure: go.Figure) -> go.Figure:
    """From a round tenth below the lowest value to a little over 1: that small losses can be seen."""
    values = [value for trace in figure.data for value in trace.y if value is not None]
    low = min(max(0.0, int(min(values, default=0.9) * 10 - 0.5) / 10), 0.9)
    if low:
        _remark(figure, f"The scale begins at {low:g}, not at 0.", yshift=12)
    return figure.update_yaxes(range=[low, 1.02], tickformat=".3~f", rangemode="normal")


def _remark(figure: go.Figure, words: str, *, yshift: int = -44) -> None:
    figure.add_annotation(
        text=words,
        xref="paper",
        yref="paper",
        x=0,
        y=0,
        yshift=yshift,
        xanchor="left",
        showarrow=False,
        font={"color": FAINT},
    )


def _recoloured(value: Any, colours: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return colours.get(value, value)
    if isinstance(value, dict):
        return {key: _recoloured(inner, colours) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_recoloured(inner, colours) for inner in value]
    return value


def _inert(name: str) -> str:
    """The name as Plotly shows it to the letter: its texts may hold a few HTML tags and entities."""
    return html.escape(name, quote=False)


def wrapped(words: str) -> str:
    """The words in lines that fit a hover box, cut where they are many: the table has them all."""
    lines = textwrap.wrap(words, 60, max_lines=8, placeholder=" ...")
    return "<br>".join(_inert(line) for line in lines)


@cache
def moment_of(label: str) -> datetime:
    """The start of an Hour or a day, by its label; naive, UTC."""
    return datetime.strptime(label, "%Y%m%d-%H" if "-" in label else "%Y%m%d")  # noqa: DTZ007 - all are UTC, unsaid


def written_as(moment: datetime) -> str:
    """A moment as Plotly reads it."""
    return f"{moment:%Y-%m-%d %H:%M}"


def length_of(first: str, last: str) -> int:
    """Milliseconds from the start of the first Hour to the end of the last: a bar's length on an axis of time."""
    return (moment_of(last) - moment_of(first) + _HOUR) // timedelta(milliseconds=1)


def _date(day: str) -> str:
    return f"{day[:4]}-{day[4:6]}-{day[6:]}"


def moments_of(table: FigureTable) -> list[str]:
    """The times of a table's rows as Plotly reads them."""
    return [written_as(moment_of(label)) for label in table.times]


def _every_day(days: Sequence[str]) -> list[str]:
    """Every day from the first to the last, `tables.MATRIX_HOURS` of them at most."""
    if not days:
        return []
    last = moment_of(max(days))
    first = max(moment_of(min(days)), last - timedelta(hours=tables.MATRIX_HOURS))
    return [f"{first + number * _DAY:%Y%m%d}" for number in range((last - first).days + 1)]
