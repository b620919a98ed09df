"""PURE. An Hour as judgement sees it: a row of the history, with the facts of the lake where somebody just looked.

Rules ask this one shape, whether an Hour is of this morning or of four months ago; what the history does not keep
is None here, and a rule that needs it says "no data", with that reason.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from viplake.errors import CAUSES
from viplake.history.datasets import JOBS, MISSED, RUNS, SIZES, TABLES, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from viplake.history.datasets import Frame, Row
    from viplake.history.facts import HourFacts
    from viplake.model import Hour

PHASES: Final = ("init", "replication", "transfer")

NOBODY: Final = "unknown"
"""Owner where nobody knows whose turn it is: never a guess."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of an Hour.

    Attributes:
        hour: which.
        delivered: its folder holds files of an export.
        outcome: `delivered`, `failed`, `waiting`, or `missed` (neither files nor a run).
        cause: why it is not well; None where nothing is wrong, `unknown` where nobody left word.
        owner: whose turn it is; None with no cause.
        ledger: viplake itself ran it, and wrote down what happened.
        seconds: of init, replication and transfer; None each where unknown.
        expected: how many tables were; None without a schema that can be read.
        missing: expected tables without any file, sorted; None where `expected` is.
        kilobytes: of its folder; None where not on record.
        facts: what the lake shows right now; None where nobody looked.
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
    facts: HourFacts | None = None

    @property
    def took(self) -> float | None:
        """Seconds from claim to proof; None where a phase is unknown."""
        known = [seconds for seconds in self.seconds if seconds is not None]
        return sum(known) if len(known) == len(PHASES) else None

    @property
    def whole(self) -> bool:
        """Delivered, settled, and as far as is known with every table: fit to say what is usual."""
        return self.delivered and self.outcome not in {"waiting", "failed"} and not self.missing


def records(
    frames: Mapping[str, Frame], looked: Iterable[HourFacts] = (), first_run: Hour | None = None
) -> dict[Hour, Record]:
    """The Hours of a history and those that were just looked at, by Hour, ascending.

    Args:
        frames: of the datasets (`observe.history.History.frames`).
        looked: facts; they go before what the history says.
        first_run: the first Hour with a ledger, where that is before these frames.
    """
    jobs, tables, sizes, runs = (frames[d.name].rows if d.name in frames else {} for d in (JOBS, TABLES, SIZES, RUNS))
    found = {hour: _of_rows(hour, row, tables.get(hour), sizes.get(hour), runs.get(hour)) for hour, row in jobs.items()}
    facts = sorted(looked, key=lambda known: known.hour)
    ledgers = [hour for hour, record in found.items() if record.ledger]
    ledgers += [known.hour for known in facts if known.run is not None]
    first = min(ledgers if first_run is None else [*ledgers, first_run], default=None)
    for known in facts:
        standing = found.get(known.hour)
        if standing is None or known.present or known.run is not None or not standing.delivered:
            found[known.hour] = _of_facts(known, ours=first is not None and known.hour > first)
    return dict(sorted(found.items()))


def _of_rows(hour: Hour, job: Row, table: Row | None, size: Row | None, run: Row | None) -> Record:
    delivered = job[1] != "0"
    outcome, cause, owner, ledger = "delivered" if delivered else MISSED, "", "", False
    seconds: list[float | None] = [None, None, None]
    if run is not None:
        cells = dict(zip(RUNS.columns, run, strict=False))
        outcome, cause, owner, ledger = cells["outcome"], cells["cause"], cells["owner"], bool(cells["attempts"])
        seconds = [float(cell) if (cell := cells[f"{phase}Seconds"]) else None for phase in PHASES]
    if not cause and not delivered and outcome != "waiting":
        cause = UNKNOWN
    return Record(
        hour,
        delivered,
        outcome,
        cause or None,
        (owner or NOBODY) if cause else None,
        ledger,
        (seconds[0], seconds[1], seconds[2]),
        None if table is None else int(table[2]),
        None if table is None else tuple(json.loads(table[4])),
        None if size is None else int(size[1]),
    )


def _of_facts(facts: HourFacts, *, ours: bool) -> Record:
    run = facts.run
    outcome = run.outcome if run is not None else "delivered" if facts.delivered else MISSED
    cause, owner = (run.cause, run.owner) if run is not None else (None, None)
    if run is None and not facts.delivered:
        cause, owner = (MISSED, CAUSES[MISSED].owner) if ours else (UNKNOWN, None)
    return Record(
        facts.hour,
        facts.delivered,
        outcome,
        cause,
        (owner or NOBODY) if cause else None,
        run is not None,
        (None, None, None) if run is None else (run.init, run.replication, run.transfer),
        None if facts.expected is None else len(facts.expected),
        facts.missing,
        facts.size // 1000,
        facts,
    )
