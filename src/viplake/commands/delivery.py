"""I/O. Shared by `run`, `tick` and `collect`: the run with its progress, its outcome and its exit code."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from viplake import config
from viplake.clock import Clock, SystemClock
from viplake.commands.console import err, out, print_json
from viplake.commands.event_loop import finish
from viplake.commands.follow_up import after_settling, warn_of_a_full_disk
from viplake.errors import CAUSES, NotYet, ViplakeError
from viplake.extract.extraction import Extraction
from viplake.extract.ledger import Ledger
from viplake.extract.outcome import Outcome, seconds_of
from viplake.lake import Lake
from viplake.lake.proof import owner_of
from viplake.lake.store import open_store
from viplake.model import Hour
from viplake.redact import redact
from viplake.wording import count_words, name_words, seconds_words, size_words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from viplake.commands.options import Options
    from viplake.commands.progress import Display
    from viplake.config import Settings
    from viplake.extract.transfer import Progress
    from viplake.model import Promise


_ENOUGH: Final = 3
"""Number of exports whose median gives the usual duration."""


@asynccontextmanager
async def extraction(
    settings: config.Settings,
    *,
    clock: Clock | None = None,
    on_progress: Callable[[Hour, Progress, Promise], None] | None = None,
) -> AsyncIterator[Extraction]:
    """Open everything that a run needs.

    Raises:
        SettingsError, CredentialsError, LakeError: something is missing or wrong; nothing was sent to the vendor.
    """
    clock = clock or SystemClock()
    secrets = config.Secrets.of(settings)
    reached = config.store_settings(settings, secrets, create=True)
    lake = Lake(open_store(reached), settings.layout, reached.url)
    if settings.company is None and (owner := await owner_of(lake)) is not None:
        settings = replace(settings, company=owner.company)  # the owner record of the lake has the company
    wanted = config.vendor(settings, secrets, clock)
    async with wanted as vendor:
        ledger = Ledger(lake, clock)
        ready = Extraction(config.run_settings(settings), vendor, clock, ledger)
        if on_progress is not None:
            ready.on_progress = on_progress
        yield ready


def deliver(
    options: Options,
    work: Callable[[Extraction], Awaitable[Outcome]],
    *,
    json: bool,
    only_deliver: bool = False,
    hour: Hour | None = None,
) -> int:
    """Run the work on an open extraction, print the outcome, and return its exit code."""
    settings = None
    try:
        settings = options.settings()
        config.check_settings(settings)  # a typo in a rule must not wait for the check after a delivery
        with _shown(settings, options) as display:
            outcome, settled = finish(_live(settings, work, only_deliver=only_deliver, display=display))
    except Exception as error:
        if json:  # a program that reads stdout always gets one object
            print_json(_unbegun(error, settings, hour))
        raise
    with suppress(BrokenPipeError):  # the exit code is that of the delivery, even if nothing reads the output
        if json:
            print_json(outcome.to_json())
        print_outcome(outcome, data=not json, settled=settled)
    return outcome.exit_code


async def _live(
    settings: Settings,
    work: Callable[[Extraction], Awaitable[Outcome]],
    *,
    only_deliver: bool,
    display: Display | None,
) -> tuple[Outcome, tuple[Hour, ...]]:
    watched = (display.clock, display.on_progress) if display else (None, None)
    async with extraction(settings, clock=watched[0], on_progress=watched[1]) as ready:
        if display:
            display.usual = lambda: _usual(ready)
        outcome = await work(ready)
        if not only_deliver:
            await after_settling(settings, ready)
        warn_of_a_full_disk(settings, outcome)
        return outcome, ready.settled()


def _usual(ready: Extraction) -> str:
    """Return the usual duration of an export at Veson: the median of the Hours that the run has read."""
    from viplake.commands.progress import USUAL  # noqa: PLC0415 - as below

    now = ready.clock.now()
    found = [seconds_of(job, now)["replication"] for job in ready.ledger.jobs.values() if job.replicated_at is not None]
    known = [seconds for seconds in found if seconds is not None]
    return seconds_words(median(known)) if len(known) >= _ENOUGH else USUAL


@contextmanager
def _shown(settings: Settings, options: Options) -> Iterator[Display | None]:
    """Show the run's progress at a terminal."""
    if options.quiet or not sys.stderr.isatty():
        yield None
        return
    from viplake.commands import progress  # noqa: PLC0415 - Rich, for terminals only

    with progress.shown(settings, quiet=options.quiet, debug=options.debug) as display:
        yield display


def _unbegun(error: Exception, settings: Settings | None, hour: Hour | None) -> dict[str, Any]:
    """Return the outcome of an Hour that could not be started, with the error as its cause."""
    failure = error if isinstance(error, ViplakeError) else ViplakeError(type(error).__name__)
    hour = hour or Hour.of(SystemClock().now())
    outcome = Outcome(
        environment=settings.environment.name if settings else "",
        hour=hour,
        outcome="waiting" if isinstance(failure, NotYet) else "failed",
        cause=failure.cause.word,
        detail=redact(failure.message),
        folder=settings.layout.folder(hour) if settings else "",
        seconds=dict.fromkeys(("init", "replication", "transfer")),
    )
    return outcome.to_json() | ({} if settings else {"environment": None, "folder": None})


def print_outcome(outcome: Outcome, *, data: bool, settled: tuple[Hour, ...]) -> None:
    """Print the outcome of a run on stdout; the next step after a failure and any note on stderr."""
    one_screen = sys.stdout.isatty() and sys.stderr.isatty()
    if data:
        for one in (*outcome.also, outcome):
            if not (one_screen and one.outcome == "failed"):  # the lines below include it
                out(summary(one, before=one.outcome == "delivered" and one.hour not in settled))
    for one in (*outcome.also, outcome):
        if one.outcome == "failed" and one.cause is not None:
            cause = CAUSES[one.cause]
            err(f"viplake: {one.hour} failed: {one.detail or cause.meaning}")
            err(f"  cause  {cause.word} ({cause.owner or 'no one'}): {cause.meaning}")
            err(f"  next   {(one.hint or cause.remedy).replace('HOUR', str(one.hour))}")
        if one.note is not None:
            err(f"{'  note  ' if one.outcome == 'failed' else f'viplake: {one.hour}:'} {one.note}")


def summary(outcome: Outcome, *, before: bool = False) -> str:
    """Return one line about an Hour; `before`: it was delivered before this process began."""
    parts = [f"{outcome.hour}  {'already ' * before}{outcome.outcome}"]
    if outcome.outcome == "delivered":
        parts.append(
            ", ".join([count_words(outcome.files, "file"), size_words(outcome.bytes)] + ["late"] * outcome.late)
        )
        spans = [
            f"{phase} {seconds_words(seconds)}" for phase, seconds in outcome.seconds.items() if seconds is not None
        ]
        parts.append(", ".join(spans))
        parts.append(outcome.folder)
    elif outcome.cause not in {None, "waiting"}:
        parts.append(f"{outcome.cause}" + (f" ({outcome.owner})" if outcome.owner else ""))
    if outcome.outcome == "waiting" and outcome.job_guid:
        parts.append(f"for the vendor's export {outcome.job_guid}")
    elif outcome.outcome == "waiting" and outcome.until:
        parts.append(f"until {outcome.until:%H:%M:%S} UTC")
    if outcome.missing_tables:
        parts.append(
            f"without {count_words(len(outcome.missing_tables), 'table')}: {name_words(outcome.missing_tables)}"
        )
    return "  ".join(parts)
