"""I/O. The outcome of each of the last Hours, read from the lake alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from viplake.extract.job import ExportJob
from viplake.extract.outcome import Outcome, outcome_of, verdict_on
from viplake.lake.hours import day_folders
from viplake.model import Hour

if TYPE_CHECKING:
    from viplake.clock import Clock
    from viplake.extract.ledger import Ledger
    from viplake.extract.outcome import Word
    from viplake.lake import Lake
    from viplake.model import Environment

BEFORE_FIRST: Final = "before viplake's first run"
FOREIGN: Final = "landed by another program"
"""Of an Hour that is older than the oldest in the ledger: without files, and with files."""

NOT_STARTED: Final = "not started yet"
"""Of the current Hour, as long as it is not claimed."""

NOT_DUE: Final = "no export is due"
"""Of an Hour without files in which an environment with a daily export expects none."""


async def status(ledger: Ledger, environment: Environment, clock: Clock, *, last: Hour, hours: int) -> list[Outcome]:
    """The last `hours` Hours up to `last`, newest first. The vendor gets no request.

    An Hour without a claim is `missed` once it is over, or `hour_taken` if its folder has files:
    another program put them there. Before viplake's first run, and where the daily export is not due, it is neither:
    no delivery was expected.
    One that was begun before yesterday and never ended is `abandoned`: no tick looks that far back.

    Raises:
        LakeError: the lake cannot be read.
    """
    first = last.shift(1 - hours)
    jobs = await ledger.read_days(sorted({hour.day for hour in first.to(last)}))
    unclaimed = {hour for hour in first.to(last) if hour not in jobs and hour not in ledger.damaged}
    yesterday = Hour.of(clock.now()).shift(-24).day
    taken = await _with_files(ledger.lake, unclaimed)
    begun = await ledger.first_hour() if unclaimed else first
    found = []
    for hour in first.to(last):
        job = jobs.get(hour) or ExportJob(hour)
        verdict: tuple[Word, str | None] = verdict_on(job)
        detail = ledger.damaged.get(hour)
        if hour in ledger.damaged:
            verdict = ("failed", "ledger_damaged")
        elif hour in unclaimed - taken and environment.due not in {None, hour.start.hour}:
            verdict, detail = ("none", None), NOT_DUE
        elif hour in unclaimed and clock.now() >= hour.end and (begun is None or hour < begun):
            verdict, detail = ("none", None), FOREIGN if hour in taken else BEFORE_FIRST
        elif hour in taken:
            verdict = ("waiting", "hour_taken")
        elif hour in unclaimed and clock.now() >= hour.end:
            verdict = ("failed", "missed")
        elif hour in unclaimed:
            verdict, detail = ("waiting", "waiting"), NOT_STARTED
        elif verdict[0] == "waiting" and hour.day < yesterday:
            verdict = ("failed", "abandoned")
        found.append(outcome_of(job, environment, ledger.lake.layout, clock.now(), verdict, detail=detail))
    return found[::-1]


async def _with_files(lake: Lake, hours: set[Hour]) -> set[Hour]:
    folders = [await day_folders(lake, day) for day in sorted({hour.day for hour in hours})]
    return {hour for found in folders for hour, folder in found.items() if hour in hours and folder.delivered}
