"""PURE. The state of a lake as metrics in Prometheus' text format (version 0.0.4).

All are gauges: they are computed from the history at the time of a scrape, so a restart of the server loses nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from viplake.model import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from viplake.history.rows import Datasets
    from viplake.report.quality import QualityState

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

WINDOW: Final = 28 * 24
"""Hours that are counted by outcome."""

_Sample = tuple[dict[str, str], float]


def metrics_text(datasets: Datasets, state: QualityState, environment: str) -> str:
    """Return the metrics of a lake, in a stable order."""
    lines = []
    for name, meaning, samples in _metrics(datasets, state):
        if found := list(samples):
            lines += [f"# HELP viplake_{name} {meaning}", f"# TYPE viplake_{name} gauge"]
            lines += [_line(f"viplake_{name}", {"environment": environment} | labels, value) for labels, value in found]
    return "\n".join([*lines, ""])


def _metrics(datasets: Datasets, state: QualityState) -> Iterator[tuple[str, str, Iterable[_Sample]]]:
    newest = next((row.hour for row in reversed(datasets.jobs) if row.delivered), None)
    if newest is not None:
        age = (state.now - newest.end).total_seconds()
        yield "newest_hour_age_seconds", "Seconds since the end of the newest delivered Hour.", [({}, max(age, 0.0))]
        start = newest.start.timestamp()
        yield "newest_hour_timestamp_seconds", "Start of the newest delivered Hour, in Unix time.", [({}, start)]
    planned = datasets.planned_hours()
    counts = Counter(
        ("planned", "none")
        if row.hour in planned and row.outcome != "delivered"
        else (row.outcome, row.owner or "none")
        for row in datasets.runs[-WINDOW:]
    )
    hours = [({"outcome": outcome, "owner": owner}, float(n)) for (outcome, owner), n in sorted(counts.items())]
    yield "hours", "Hours of the last 28 days, by outcome and owner of its cause.", hours
    yield from _objectives(state)
    opened = Counter(one.severity for one in state.open)
    open_now: list[_Sample] = [({"severity": severity}, float(opened[severity])) for severity in SEVERITIES]
    yield "open_incidents", "Incidents that are open, by severity.", open_now
    run = next((row for row in reversed(datasets.runs) if row.outcome == "delivered"), None)
    phases = {} if run is None else {"init": run.init, "replication": run.replication, "transfer": run.transfer}
    yield (
        "phase_seconds",
        "Seconds of each phase of the newest delivered run.",
        [({"phase": phase}, seconds) for phase, seconds in phases.items() if seconds is not None],
    )
    size = next((row for row in reversed(datasets.sizes) if row.files), None)
    if size is not None:
        yield "newest_export_bytes", "Bytes of the newest export, to a kilobyte.", [({}, size.kilobytes * 1000.0)]
        yield "newest_export_files", "Files of the newest export.", [({}, float(size.files))]


def _objectives(state: QualityState) -> Iterator[tuple[str, str, Iterable[_Sample]]]:
    ratios: list[_Sample] = []
    targets: list[_Sample] = []
    left: list[_Sample] = []
    for one in state.objectives:
        if one.sli is not None:
            labels: dict[str, str] = {"objective": one.objective.name}
            ratios.append((labels, one.sli))
            targets.append((labels, one.objective.target))
            left.append((labels, round(one.left, 4)))
    yield "objective_ratio", "Good Hours / all Hours in the window.", ratios
    yield "objective_target", "Target of the objective.", targets
    yield "error_budget_left_hours", "Hours of the window that may still be bad; negative where it is overspent.", left


def _line(name: str, labels: dict[str, str], value: float) -> str:
    shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{shown}}} {value:.10g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
