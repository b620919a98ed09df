"""I/O. `viplake status`: the outcome of each of the last Hours."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from viplake.clock import SystemClock
from viplake.commands.assembly import history_location, on_lake
from viplake.commands.console import answer, err, table
from viplake.commands.options import NO_OPTIONS, NO_WINDOW, Json, Options, Window
from viplake.extract.ledger import Ledger
from viplake.extract.status import BEFORE_FIRST, status
from viplake.history.build import read_history
from viplake.history.datasets import JOBS
from viplake.model import Hour
from viplake.wording import count_words, seconds_words, size_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viplake.extract.outcome import Outcome
    from viplake.history.datasets import Row
    from viplake.lake import Lake

DEFAULT_HOURS: Final = 24

_STYLES = {"delivered": "green", "failed": "bold red", "waiting": "yellow", "none": "dim"}


def command(*, window: Window = NO_WINDOW, json: Json = False, options: Options = NO_OPTIONS) -> int:
    """Show the outcome of each of the last Hours, and what is open.

    Example: viplake status --last 48

    See docs/operations.md.
    """
    settings = options.settings()
    first, last = window.hours()

    async def read(lake: Lake) -> list[Outcome]:
        clock = SystemClock()
        ledger = Ledger(lake, clock)
        end = last or Hour.of(clock.now())
        hours = DEFAULT_HOURS if first is None else len(list(first.to(end)))
        found = await status(ledger, settings.environment, clock, last=end, hours=hours)
        unknown = [one.hour for one in found if one.detail == BEFORE_FIRST]
        if not unknown:
            return found
        history = await read_history(await history_location(settings, lake), min(unknown))
        rows = history.rows(JOBS)
        return [
            replace(one, detail=_on_record(rows[one.hour])) if one.hour in unknown and one.hour in rows else one
            for one in found
        ]

    outcomes = on_lake(settings, read)
    hours = [{k: v for k, v in o.to_json().items() if k != "schema_version"} for o in outcomes]
    record = {"environment": settings.environment.name, "hours": hours}
    answer(record, lambda: print_status(outcomes, color=settings.surroundings.color), as_json=json)
    return 0


def print_status(outcomes: Sequence[Outcome], *, color: bool = True) -> None:
    """Print one line an Hour, newest last; a narrow terminal hides less important columns."""
    rows = [
        (
            str(one.hour),
            f"[{_STYLES[one.outcome]}]{one.outcome}[/]" + (" late" if one.late else ""),
            _why(one),
            f"{one.files:,}" if one.files else "",
            size_words(one.bytes) if one.bytes else "",
            *(seconds_words(one.seconds.get(phase)) for phase in ("init", "replication", "transfer")),
            "" if not one.missing_tables else str(len(one.missing_tables)),
        )
        for one in reversed(outcomes)
    ]
    headings = ("Hour (UTC)", "outcome", "cause", "files", "size", "init", "replication", "transfer", "missing")
    left_out = table(headings, rows, right=(3, 4, 5, 6, 7, 8), drop=(5, 7, 6, 8, 4, 3), fixed=(0, 1, 2), color=color)
    if left_out:
        err(f"{count_words(left_out, 'column')} left out: the terminal is too narrow. --json has all.")


def _on_record(row: Row) -> str:
    """Return what the history has of an Hour without folder and ledger: imported, or landed and later removed."""
    return f"in the history: {'delivered' if row[1] != '0' else 'not delivered'}"


def _why(outcome: Outcome) -> str:
    """Return cause and owner; empty where there is none."""
    if outcome.cause in {None, "waiting"}:
        return outcome.detail or ""
    return f"{outcome.cause}" + (f" ({outcome.owner})" if outcome.owner else "")
