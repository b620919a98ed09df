"""I/O. After a delivery: update the history, check the data, send notifications, warn of a full disk."""

from __future__ import annotations

import asyncio
import ctypes
import shutil
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import structlog

from viplake import config
from viplake.commands.assembly import check_settings, check_target, content, delta_tables, folder_of, observe, observing
from viplake.commands.publishing import is_due, make_report, publish
from viplake.errors import ViplakeError
from viplake.lake.proof import read_receipt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from viplake.extract.extraction import Extraction
    from viplake.extract.outcome import Outcome
    from viplake.model import Hour

log = structlog.get_logger(__name__)

CONTENT_DEADLINE: Final = 300.0
"""Time limit in seconds for content checks after a delivery: ten times the need of an export of 1 GB."""

TABLES_BACK: Final = 7 * 24
"""Hours back in which a delivery looks for Hours that the tables do not have; `viplake tables` looks at all."""

TABLES_DEADLINE: Final = 900.0
"""Seconds that the tables may take after a delivery; the next update goes on where this one stopped."""

ROOM_FOR_HOURS: Final = 3
"""A folder lake with room for fewer Hours like the last one is reported as nearly full."""


async def _judge_settled(settings: config.Settings, ready: Extraction, hours: tuple[Hour, ...]) -> None:
    """Notify of the delivered Hours, and run a check. `after_settling` handles errors."""
    from viplake.judge.check import after_delivery  # noqa: PLC0415 - as above

    judged_by = await check_settings(settings, ready.lake)
    listening = config.notifiers(settings, judged_by, config.Secrets.of(settings))
    target = await check_target(settings, ready.lake, writes=True)
    await after_delivery(target, ready.clock, judged_by, observing(settings), notifiers=listening, hours=hours)


async def after_settling(settings: config.Settings, ready: Extraction) -> None:
    """Update history, incidents and notifications for the Hours that this process ended. It changes no outcome."""
    from viplake.history.build import Scope  # noqa: PLC0415 - as above

    hours = ready.settled()
    if not hours:
        return
    _give_memory_back()
    async with _harmless("not_observed"):
        observed = await observe(settings, ready.lake, Scope(hours=hours), clock=ready.clock)
        log.info("observed", added=len(observed.added), healed=len(observed.healed), requests=observed.requests)
    if settings.content_checks:
        async with _harmless("not_looked_into"):
            await _check_content(settings, ready, hours)
    if settings.tables:
        async with _harmless("tables_not_updated"):
            await _update_tables(settings, ready, hours)
    async with _harmless("not_checked"):
        await _judge_settled(settings, ready, hours)
    async with _harmless("not_reported"):
        if await is_due(settings, ready.lake, hours):
            page = await make_report(settings, ready.lake, ready.clock)
            log.info("reported", to=await publish(settings, page, settings.report))


async def _check_content(settings: config.Settings, ready: Extraction, hours: Sequence[Hour]) -> None:
    """Run content checks on the delivered Hours."""
    proven = [hour for hour in hours if await read_receipt(ready.lake, hour) is not None]
    async with asyncio.timeout(CONTENT_DEADLINE):
        found = await content(settings, ready.lake, proven)
    for one in found:
        log.info("looked_inside", hour=str(one.hour), tables=len(one.tables), findings=len(one.findings))


async def _update_tables(settings: config.Settings, ready: Extraction, hours: Sequence[Hour]) -> None:
    """Bring the current and history tables up to date with the Hours of the last days."""
    from viplake.current.update import update  # noqa: PLC0415 - DuckDB and deltalake

    delta = delta_tables(settings, ready.lake, ready.clock)
    first = min(hours).shift(-TABLES_BACK)
    async with asyncio.timeout(TABLES_DEADLINE):
        found = await update(ready.lake, delta, config.tables_settings(settings), first=first)
    log.info("tables_updated", hours=len(found.hours), tables=len(found.tables), held=len(found.held))


def _give_memory_back() -> None:
    """Return memory that the transfer freed to the system, before DuckDB needs 35 MB."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


@asynccontextmanager
async def _harmless(event: str) -> AsyncIterator[None]:
    """Log errors of the block and continue: they never change a delivery."""
    try:
        yield
    except ViplakeError as error:
        log.warning(event, cause=error.cause.word, detail=error.message, hint=error.hint)
    except asyncio.CancelledError:
        log.warning(event, cause="interrupted")
    except Exception as error:  # noqa: BLE001 - a defect in observation must not hide a delivery
        log.warning(event, cause="unexpected", detail=f"{type(error).__name__}: {error}")


def warn_of_a_full_disk(
    settings: config.Settings,
    outcome: Outcome,
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> None:
    """Log a warning when a folder lake is nearly full."""
    folder = folder_of(settings)
    if folder is None or outcome.outcome != "delivered":
        return
    try:
        free = free_bytes(folder)
    except OSError:
        return
    if free < ROOM_FOR_HOURS * outcome.bytes:
        log.warning("disk_nearly_full", folder=str(folder), free_bytes=free, last_hour_bytes=outcome.bytes)
