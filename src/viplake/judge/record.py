"""PURE. One Hour as the rules see it: its row of the history, with facts of the lake where it was just listed.

Rules use this one record for an Hour of this morning and for one of four months ago. Facts that the history does not
have are None, and a rule that needs them returns "no data" with that reason.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, replace
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, Final

from viplake.errors import CAUSES
from viplake.history.datasets import JOBS, RUNS, SIZES, TABLES, outcome_of_cells
from viplake.lake.table_index import TableIndex
from viplake.model import UNKNOWN, HourOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from viplake.history.datasets import Frame, Row
    from viplake.history.facts import HourFacts
    from viplake.model import Hour

PHASES: Final = ("init", "replication", "transfer")


_ATTEMPTS: Final = RUNS.columns.index("attempts")
_SECONDS: Final = tuple(RUNS.columns.index(f"{phase}Seconds") for phase in PHASES)


@dataclass(frozen=True, slots=True)
class Record:
    """The facts about one Hour.

    Attributes:
        hour: the Hour.
        delivered: its folder has files of an export.
        outcome: `delivered`, `failed`, `waiting`, or `missed` (neither files nor a run).
        cause: why it failed; None where nothing failed, `unknown` where no record says.
        owner: who has to act; None without a cause.
        ledger: viplake ran it and recorded its events.
        seconds: of init, replication and transfer; None each where unknown.
        expected: number of expected tables; None without a readable schema.
        missing: expected tables without any file, sorted; None where `expected` is.
        kilobytes: of its folder; None where not on record.
        files: in its folder; None where not on record.
        facts: what the lake shows now; None where it was not listed.
    """

    hour: Hour
    delivered: bool
    outcome: str
    cause: str | None = None
    owner: str | None = None
    ledger: bool = False
    seconds: tuple[float | None, float | None, float | None] = (None, None, None)
    expected: int | None = None
    missing: tuple[str, ...] | None = None
    kilobytes: int | None = None
    files: int | None = None
    facts: HourFacts | None = None

    @property
    def took(self) -> float | None:
        """Seconds from claim to proof; None where a phase is unknown."""
        known = [seconds for seconds in self.seconds if seconds is not None]
        return sum(known) if len(known) == len(PHASES) else None

    @property
    def whole(self) -> bool:
        """Whether it is delivered, settled and, as far as known, complete: a baseline for other Hours."""
        return self.delivered and self.outcome not in {"waiting", "failed"} and not self.missing


def records(frames: Mapping[str, Frame]) -> dict[Hour, Record]:
    """Return the Hours of a history, ascending; `frames` are those of its datasets (`history.chain.History`)."""
    jobs, tables, sizes, runs = (frames[d.name].rows if d.name in frames else {} for d in (JOBS, TABLES, SIZES, RUNS))
    return {
        hour: _of_rows(hour, jobs[hour], tables.get(hour), sizes.get(hour), runs.get(hour)) for hour in sorted(jobs)
    }


def updated(
    standing: Mapping[Hour, Record], looked: Iterable[HourFacts], first_run: Hour | None = None
) -> dict[Hour, Record]:
    """Return the records of the history and of the Hours that were just listed, by Hour, ascending.

    Args:
        standing: the records of the history.
        looked: facts of listed Hours; they replace those of the history.
        first_run: the first Hour with a ledger, where that is before these records.
    """
    found = dict(standing)
    facts = sorted(looked, key=lambda known: known.hour)
    ledgers = [hour for hour, record in found.items() if record.ledger]
    ledgers += [known.hour for known in facts if known.run is not None]
    first = min(ledgers if first_run is None else [*ledgers, first_run], default=None)
    for known in facts:
        held = found.get(known.hour)
        if held is None or known.present or known.run is not None or not held.delivered:
            found[known.hour] = _of_facts(known, ours=first is not None and known.hour > first)
    return dict(sorted(found.items()))


def fulfilled(known: Mapping[Hour, Record], due: int | None) -> dict[Hour, Record]:
    """Return the records; a daily export that arrived before the next due Hour counts for the due one."""
    found = dict(known)
    for hour, record in known.items() if due is not None else ():
        if hour.start.hour != due or record.delivered:
            continue
        later = (known.get(hour.shift(shift)) for shift in range(1, 24))
        if (export := next((one for one in later if one is not None and one.delivered), None)) is not None:
            found[hour] = replace(export, hour=hour, facts=None)
    return found


def _of_rows(hour: Hour, job: Row, table: Row | None, size: Row | None, run: Row | None) -> Record:
    delivered = job[1] != "0"
    ledger = False
    seconds: list[float | None] = [None, None, None]
    if run is not None:
        ledger = bool(run[_ATTEMPTS])
        seconds = [float(run[cell]) if run[cell] else None for cell in _SECONDS]
    outcome = outcome_of_cells(job, run)
    if not outcome.cause and not delivered and outcome.word != "waiting":
        outcome = HourOutcome(outcome.word, UNKNOWN)
    return Record(
        hour,
        delivered,
        outcome.word,
        outcome.cause,
        (outcome.owner or UNKNOWN) if outcome.cause else None,
        ledger,
        (seconds[0], seconds[1], seconds[2]),
        None if table is None else int(table[2]),
        None if table is None else tuple(json.loads(table[4])),
        None if size is None else int(size[1]),
        None if size is None else int(size[2]),
    )


def _of_facts(facts: HourFacts, *, ours: bool) -> Record:
    run = facts.run
    outcome = facts.outcome(ours=ours)
    return Record(
        facts.hour,
        facts.delivered,
        outcome.word,
        outcome.cause,
        (outcome.owner or UNKNOWN) if outcome.cause else None,
        run is not None,
        (None, None, None) if run is None else (run.init, run.replication, run.transfer),
        None if facts.expected is None else len(facts.expected),
        facts.missing,
        facts.size // 1000,
        facts.files,
        facts,
    )


# -- how whole an export is -----------------------------------------------------------------------------------

FLOOR: Final = 1 / 3
"""Share of the usual files or bytes below which an export counts as almost empty."""

RECENT: Final = 24
"""Number of earlier delivered Hours that give the usual size before there are statistics."""

ABANDONED: Final = timedelta(hours=7)
"""Time after an Hour's start at which an unended run has failed; ticks retry until 6 hours after the claim."""


@dataclass(frozen=True, slots=True)
class Wholeness:
    """An Hour's export beside those before it.

    Attributes:
        files, kilobytes: medians of the last delivered Hours before; None where there are none.
        hollow: almost all files or tables are missing; it counts as a missing export.
        schema_from: the last Hour before with a schema that can be read; None where there is none.
        schema_lost: it has no schema that can be read, and exports before had one.
        missing: expected tables without a file, by its own schema or else by the last one known; None where unknown.
    """

    files: float | None = None
    kilobytes: float | None = None
    hollow: bool = False
    schema_from: Hour | None = None
    schema_lost: bool = False
    missing: tuple[str, ...] | None = None


def wholeness(records: Mapping[Hour, Record], share: float) -> dict[Hour, Wholeness]:
    """Return how complete the export of each delivered Hour is.

    Args:
        records: by Hour, ascending.
        share: an export that lacks more than this share of the expected tables counts as missing.
    """
    recent: deque[tuple[int, int]] = deque(maxlen=RECENT)
    tables: tuple[TableIndex, frozenset[str]] | None = None
    expected, schema_from = 0, None
    found: dict[Hour, Wholeness] = {}
    for hour, record in records.items():
        if not record.delivered or record.outcome == "waiting":
            continue
        missing = record.missing
        facts = record.facts
        if record.expected is None and tables is not None and facts is not None:
            missing = tables[0].missing(facts.unplaced, tables[1])
        files, kilobytes = (median(column) for column in zip(*recent, strict=True)) if recent else (None, None)
        few = files is not None and record.files is not None and record.files < FLOOR * files
        count = record.expected or expected
        hollow = few or (bool(missing) and len(missing or ()) > share * count)
        lost = record.expected is None and schema_from is not None
        found[hour] = Wholeness(files, kilobytes, hollow, schema_from, lost, missing)
        if not hollow and record.files is not None and record.kilobytes is not None:
            recent.append((record.files, record.kilobytes))
        if record.expected is not None:
            expected, schema_from = record.expected, hour
            if facts is not None and facts.expected is not None and facts.schema is not None:
                names = facts.schema.tables or ()
                tables = TableIndex(names), frozenset(names) - set(facts.expected)
    return found


def settle(records: Mapping[Hour, Record], now: datetime) -> dict[Hour, Record]:
    """Return the records; a run that did not end in time has failed."""
    return {
        hour: replace(record, outcome="failed", cause="abandoned", owner=CAUSES["abandoned"].owner)
        if record.outcome == "waiting" and now - hour.start > ABANDONED
        else record
        for hour, record in records.items()
    }
