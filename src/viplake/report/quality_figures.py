"""PURE. The figures of data quality: timeline of incidents, error budgets, look-back coverage; each from its table.

Each owner has a colour of Okabe and Ito's in all figures, and its name in every hover text. What is in the
calendar is a grey band.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from viplake.judge.rules.catalogue import RULES
from viplake.report import quality_tables
from viplake.report.figures import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    VERMILLION,
    Chart,
    axis_of,
    band,
    figure_of,
    length_of,
    moment_of,
    moments_of,
    wrapped,
    written_as,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import plotly.graph_objects as go

    from viplake.history.rows import Datasets
    from viplake.model import Hour
    from viplake.report.quality import QualityState
    from viplake.report.tables import FigureTable

OWNERS: Final = dict(zip(quality_tables.OWNERS, (ORANGE, GREEN, INK, BLUE, FAINT), strict=True))
"""The colour of each owner."""

_LINES: Final = ((BLUE, "solid"), (GREEN, "dash"), (INK, "dot"))
_MARKS: Final = {
    quality_tables.HEALED: (BLUE, "circle"),
    quality_tables.LASTS: (ORANGE, "diamond"),
    quality_tables.LOST: (VERMILLION, "x"),
}
_HOUR: Final = timedelta(hours=1)
_INCIDENTS: Final = "Incidents"
_BUDGET: Final = "Error Budgets and What Spent Them, Daily"
_COVERAGE: Final = "Look-back Coverage: the Margin of Each Hole"


def charts(judged: QualityState) -> tuple[Chart, ...]:
    """The figures of what was judged, for a group of the page."""

    def planned(datasets: Datasets) -> FigureTable:
        return quality_tables.incidents(judged, _first(datasets))

    def budget(datasets: Datasets) -> FigureTable:
        return quality_tables.error_budget(judged, _first(datasets))

    def covered(datasets: Datasets) -> FigureTable:
        return quality_tables.coverage(judged, _first(datasets))

    return (
        Chart(
            "incidents",
            _INCIDENTS,
            "One bar an episode, from its first Hour in breach to its last, in its owner's colour. Bands were planned.",
            lambda datasets: incidents(planned(datasets)),
            planned,
            row="episodes",
        ),
        Chart(
            "error-budget",
            _BUDGET,
            "Above, the Hours that may still be bad: below zero the objective is missed. While the record is shorter "
            "than the window, the budget grows with it. Below, the bad Hours of each day by owner.",
            lambda datasets: error_budget(budget(datasets), planned(datasets)),
            budget,
            row="days",
        ),
        Chart(
            "coverage",
            _COVERAGE,
            "How many hours before the look-back's end the next delivery came, or is left while a hole lasts: below "
            "zero, records are lost for good. Large marks are holes of the whole export, small ones of a table.",
            lambda datasets: coverage(covered(datasets), planned(datasets)),
            covered,
            row="holes",
        ),
    )


def incidents(table: FigureTable) -> go.Figure:
    """Incidents on a timeline, a row a rule (`quality_tables.incidents`)."""
    column = {
        name: table.column(name) for name in ("rule", "owner", "state", "until", "summary", "cause", "acknowledged")
    }
    shown = [row for row, state in enumerate(column["state"]) if state != quality_tables.PLANNED]
    found = {rule_words(column["rule"][row]) for row in shown}
    order = [rule_words(name) for name in RULES]
    rules = [*(name for name in order if name in found), *sorted(found - set(order))]
    figure = figure_of([], _INCIDENTS, height=170 + 34 * max(len(rules), 3))
    starts = moments_of(table)
    for owner, colour in OWNERS.items():
        rows = [
            row for row in shown if (column["owner"][row] if column["owner"][row] in OWNERS else "unknown") == owner
        ]
        if rows:
            figure.add_trace(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": owner,
                    "base": [starts[row] for row in rows],
                    "x": [length_of(table.times[row], str(column["until"][row])) for row in rows],
                    "y": [rule_words(column["rule"][row]) for row in rows],
                    "customdata": [_hover_text({name: str(of[row]) for name, of in column.items()}) for row in rows],
                    "hovertemplate": "%{base|%Y-%m-%d %H:%M} UTC, %{y}<br>%{customdata}<extra></extra>",
                    # The edge keeps an Hour visible where it is narrower than a pixel.
                    "marker": {"color": colour, "line": {"color": colour, "width": 3}},
                    "width": 0.55,
                }
            )
    for row in shown:
        if column["state"][row] == quality_tables.OPEN:  # before its bar, which ends at the edge
            figure.add_annotation(
                text=quality_tables.OPEN,
                x=starts[row],
                y=rule_words(column["rule"][row]),
                xanchor="right",
                xshift=-4,
                showarrow=False,
                font={"color": INK},
            )
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=rules[::-1], showgrid=True, dtick=1)
    figure.update_layout(barmode="overlay", hovermode="closest", showlegend=True)
    return _with_bands(figure, table)


def rule_words(rule: str | float | None) -> str:
    """Return a rule's name as words: `missing_table` is `Missing table`."""
    return str(rule).replace("_", " ").capitalize()


def _hover_text(row: dict[str, str]) -> str:
    until = written_as(moment_of(row["until"]))
    state = row["state"] if row["acknowledged"] == "None" else f"{row['state']}, {row['acknowledged']}"
    return wrapped(f"{state}, last Hour {until}; cause {row['cause']}, owner {row['owner']}. {row['summary']}")


def error_budget(table: FigureTable, planned: FigureTable) -> go.Figure:
    """Hours left of each error budget, over the bad Hours of each day by owner (`quality_tables.error_budget`)."""
    figure = figure_of([], _BUDGET, height=520)
    names = [column.name for column in table.columns[1:] if column.name.endswith(quality_tables.LEFT)]
    days = [f"{moment[:10]} 12:00" for moment in moments_of(table)]  # bars and steps go from midnight to midnight
    for number, name in enumerate(names):
        colour, dash = _LINES[number % len(_LINES)]
        figure.add_trace(
            {
                "type": "scatter",
                "mode": "lines",
                "x": days,
                "y": table.column(name),
                "name": name.removesuffix(quality_tables.LEFT),
                "line": {"color": colour, "dash": dash, "width": 2, "shape": "hvh"},
                "hovertemplate": "%{y:.1f} Hours left",
            }
        )
    for owner, colour in OWNERS.items():
        if any(table.column(owner)):
            figure.add_trace(
                {
                    "type": "bar",
                    "x": days,
                    "y": table.column(owner),
                    "yaxis": "y2",
                    "width": 24 * 3_600_000,
                    "name": owner,
                    "marker": {"color": colour},
                    "hovertemplate": "%{y} bad Hours",
                }
            )
    figure.update_layout(
        yaxis=axis_of(domain=[0.42, 1], title={"text": "Hours left"}, zeroline=True, zerolinecolor=VERMILLION),
        yaxis2=axis_of(domain=[0, 0.3], anchor="x", title={"text": "bad Hours a day"}, rangemode="tozero"),
        xaxis_anchor="y2",
        xaxis_hoverformat="%Y-%m-%d (UTC)",
        barmode="stack",
        showlegend=True,
    )
    return _with_bands(figure, planned)


def coverage(table: FigureTable, planned: FigureTable) -> go.Figure:
    """A point a hole, x its first Hour, y its margin (`quality_tables.coverage`); in the table also unknown margins."""
    figure = figure_of([], _COVERAGE)
    starts, margins = moments_of(table), table.column("margin")
    states, what, of = table.column("state"), table.column("what"), table.column("table")
    for state, (colour, symbol) in _MARKS.items():
        rows = [row for row, known in enumerate(states) if known == state and margins[row] is not None]
        if rows:
            figure.add_trace(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": state,
                    "x": [starts[row] for row in rows],
                    "y": [margins[row] for row in rows],
                    "customdata": [wrapped(f"{of[row]}: {what[row]}") for row in rows],
                    "hovertemplate": "%{x|%Y-%m-%d %H:%M} UTC<br>%{customdata}<extra></extra>",
                    "marker": {
                        "color": colour,
                        "opacity": 1,
                        "symbol": symbol,
                        "size": [12 if of[row] == quality_tables.EXPORT else 7 for row in rows],
                        "line": {"color": INK, "width": 0.5},
                    },
                }
            )
    figure.update_yaxes(title={"text": "hours of margin"}, zeroline=True, zerolinecolor=VERMILLION, rangemode="tozero")
    figure.update_layout(hovermode="closest", showlegend=True)
    return _with_bands(figure, planned)


def _with_bands(figure: go.Figure, planned: FigureTable) -> go.Figure:
    """The calendar's entries as bands behind, with their names."""
    columns: Sequence[Sequence[Any]] = [planned.column(name) for name in ("state", "until", "rule")]
    for start, state, until, rule in zip(planned.times, *columns, strict=True):
        if state == quality_tables.PLANNED:
            first, last = moment_of(start), moment_of(str(until))
            figure.add_shape(band(first, last + _HOUR, str(rule)))
    return figure


def _first(datasets: Datasets) -> Hour | None:
    """The first Hour that the page shows."""
    return min(datasets.hours(), default=None)
