"""PURE. The rules of volumes: whether an export or a table is far too small or too large."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from viplake.judge.detector.anomaly import InsufficientHistory, VolumeVerdict
from viplake.judge.record import FLOOR
from viplake.judge.rules.content_verdicts import amount_words
from viplake.wording import count_words, size_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from viplake.judge.rules.rule import Case, Results, RuleConfig, RuleResult


def volume_job(case: Case, config: RuleConfig, results: Results) -> Iterator[RuleResult]:
    """Evaluate `volume_job`: the export's size is within its limits, and usual."""
    size = (case.known.kilobytes or 0) * 1000
    least, most = (config.limits[key] * 1_000_000 for key in ("min_mb", "max_mb"))
    if size < least or (most and size > most):
        ends = f"at least {size_words(round(least))}" + (f" and at most {size_words(round(most))}" if most else "")
        yield results.breach(f"{case.hour} has {size_words(size)}; configured are {ends}", case.sender)
    elif (below := _floor(case, size)) is not None:
        yield results.breach(below, case.sender, **_explained(case, results))
    else:
        yield from _volumes(case, results, [None])


def _explained(case: Case, results: Results) -> dict[str, Any]:
    """Return the group: an export that is small because tables are missing joins their incident."""
    return {"group": "missing_table"} if case.whole.missing and results.group != "outage" else {}


def _floor(case: Case, size: int) -> str | None:
    """Return what is below a third of the usual; None if nothing is. Bytes count only before there are statistics."""
    record, whole = case.known, case.whole
    if record.files is not None and whole.files is not None and record.files < FLOOR * whole.files:
        return f"{case.hour} has {count_words(record.files, 'file')}; usual are {whole.files:,.0f}"
    verdict = None if isinstance(case.volumes, str) else case.volumes.get(None)
    young = isinstance(verdict, InsufficientHistory)
    if young and whole.kilobytes is not None and size < FLOOR * whole.kilobytes * 1000:
        return f"{case.hour} has {size_words(size)}; usual are {size_words(whole.kilobytes * 1000)}"
    return None


def volume_table(case: Case, _: RuleConfig, results: Results) -> Iterator[RuleResult]:
    """Evaluate `volume_table`: each table's size is usual."""
    tables = case.volumes if not isinstance(case.volumes, str) else {}
    yield from _volumes(case, results, [table for table in tables if table is not None])


def volume_drift(case: Case, config: RuleConfig, results: Results) -> Iterator[RuleResult]:
    """Evaluate `volume_drift`: no table has grown or shrunk slowly. Judged once a week, in its first export."""
    if case.drifts is None:
        yield results.passed()
        return
    known = {table: one for table, one in case.drifts.items() if not isinstance(one, InsufficientHistory)}
    if not known:
        reasons = [one.reason for one in case.drifts.values() if isinstance(one, InsufficientHistory)]
        yield results.no_data(reasons[0] if reasons else "no volume is on record")
        return
    least = math.log1p(config.limits["percent"] / 100)
    odd = {table: one for table, one in known.items() if one.clear and abs(one.moved) >= least}
    for table, one in odd.items():
        verb, percent = ("grown", math.expm1(one.moved)) if one.moved > 0 else ("shrunk", -math.expm1(one.moved))
        summary = (
            f"{table} has {verb} by {100 * percent:.0f} % in the week before {case.hour}: "
            f"from {size_words(one.before)} to {size_words(one.now)} in a typical Hour"
        )
        yield results.breach(summary, case.sender, table=table)
    if not odd:
        yield results.passed()


def _volumes(case: Case, results: Results, tables: Sequence[str | None]) -> Iterator[RuleResult]:
    if isinstance(case.volumes, str):
        yield results.no_data(case.volumes)
        return
    judged = {table: case.volumes[table] for table in tables if table in case.volumes}
    known = {table: verdict for table, verdict in judged.items() if isinstance(verdict, VolumeVerdict)}
    odd = {table: verdict for table, verdict in known.items() if verdict.kind != "usual"}
    for table, verdict in odd.items():
        more: dict[str, Any] = {}
        if table is not None and verdict.is_clear:
            more = {"urgent": True}
        elif table is None and verdict.kind == "low":
            more = _explained(case, results)
        yield results.breach(_words(case, table, verdict), case.sender, table=table, **more)
    if known and not odd:
        yield results.passed()
    elif not known:
        reasons = [verdict.reason for verdict in judged.values() if not isinstance(verdict, VolumeVerdict)]
        yield results.no_data(reasons[0] if reasons else "no volume is on record")


def _words(case: Case, table: str | None, verdict: VolumeVerdict) -> str:
    name = table or "the export"
    if verdict.kind == "stuck":
        return f"{name} has {size_words(verdict.value)} in {case.hour}, to the byte what it had in the Hours before"
    return amount_words(name, case.hour, verdict, size_words, lambda count: f"{count:,} B")
