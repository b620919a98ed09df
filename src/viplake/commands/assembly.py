"""I/O. Puts the parts together from the settings: what the command, the cloud's entry points and the demo share."""

from __future__ import annotations

import asyncio
import ctypes
import shutil
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar
from urllib.parse import unquote, urlsplit

import structlog

from viplake import config
from viplake.clock import Clock, SystemClock
from viplake.errors import SettingsError, ViplakeError
from viplake.extract.extraction import Extraction
from viplake.extract.ledger import Ledger
from viplake.lake import Lake
from viplake.lake.proof import check_lake, read_receipt
from viplake.lake.store import StoreSettings, open_store
from viplake.model import Hour

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from datetime import datetime

    from viplake.content.profiling import HourContent
    from viplake.extract.outcome import Outcome
    from viplake.extract.transfer import Progress
    from viplake.history.build import Observed, ObserveSettings, Place, Scope
    from viplake.history.schema_changes import Differing, Held, Listed
    from viplake.judge.check import Checked, CheckTarget
    from viplake.lake.prune import Pruned
    from viplake.model import Promise
    from viplake.query.answer import Answer
    from viplake.query.query import Asked
    from viplake.report.evidence import Pack

T = TypeVar("T")

log = structlog.get_logger(__name__)

Engine = Literal["duckdb", "spark"]
"""What reads the files that `content` looks into: DuckDB in this process, or the Spark that it runs on."""


@asynccontextmanager
async def extraction(
    settings: config.Settings,
    *,
    clock: Clock | None = None,
    tell: Callable[[Hour, Progress, Promise], None] | None = None,
) -> AsyncIterator[Extraction]:
    """Everything that a run needs, open.

    Raises:
        SettingsError, CredentialsError, LakeError: what is missing, before anything is sent to the vendor.
    """
    clock = clock or SystemClock()
    secrets = config.Secrets.of(settings)
    wanted = config.vendor(settings, secrets, clock)
    reached = config.store_settings(settings, secrets, create=True)
    lake = Lake(open_store(reached), settings.layout, reached.url)
    async with wanted as vendor:
        ledger = Ledger(lake, clock)
        ready = Extraction(config.run_settings(settings), vendor, clock, ledger)
        if tell is not None:
            ready.tell = tell
        yield ready


async def lake_to_read(settings: config.Settings) -> Lake:
    """The lake, opened for reading, if it is this environment's.

    Raises:
        SettingsError: it is another's.
        LakeError: it cannot be read.
    """
    reached = config.store_settings(settings, config.Secrets.of(settings))
    lake = Lake(open_store(reached), settings.layout, reached.url)
    await check_lake(lake, environment=settings.environment.name)
    return lake


def url_of(settings: config.Settings) -> str:
    """The lake's URL. On S3 (`s3://`) an equal ETag proves equal content, in a folder it does not.

    Raises:
        SettingsError, CredentialsError: as `config.lake_url`.
    """
    return config.lake_url(settings, config.Secrets.of(settings))


# -- observation --------------------------------------------------------------------------------------------


def place_of(settings: config.Settings, lake: Lake) -> Place:
    """Where the history lives: `Observability/` in the lake, or where VIPLAKE_HISTORY says.

    Raises:
        SettingsError, CredentialsError, LakeError: that place cannot be opened.
    """
    from viplake.history.build import Place  # noqa: PLC0415 - only observation needs it

    if settings.history is None:
        return Place.within(lake)
    secrets = config.Secrets.of(settings)
    return Place.elsewhere(open_store(config.store_settings(settings, secrets, create=True, url=settings.history)))


async def observe(
    settings: config.Settings,
    lake: Lake,
    scope: Scope,
    *,
    clock: Clock | None = None,
    imports: dict[str, bytes] | None = None,
    progress: Callable[[Hour], None] | None = None,
) -> Observed:
    """Bring the history up to date.

    Raises:
        LakeError, SettingsError: as `observe.history.observe`; the history is as it was.
    """
    from viplake.history.build import observe as bring_up_to_date  # noqa: PLC0415 - as above

    place, wanted = place_of(settings, lake), observing(settings)
    return await bring_up_to_date(
        lake, place, clock or SystemClock(), wanted, scope=scope, imports=imports, progress=progress
    )


async def check(
    settings: config.Settings,
    lake: Lake,
    *,
    clock: Clock | None = None,
    at: Hour | None = None,
    first: Hour | None = None,
    tells: bool = True,
) -> Checked:
    """Judge, bring the incidents up to date, and tell.

    Raises:
        SettingsError, CredentialsError, LakeError: as `config.check_settings`, `config.notifiers`, `check.check`.
    """
    from viplake.judge import check as checking  # noqa: PLC0415 - as above

    told = config.check_settings(settings)
    listening = config.notifiers(settings, told, config.Secrets.of(settings)) if tells else None
    return await checking.check(
        check_target(settings, lake),
        clock or SystemClock(),
        told,
        observing(settings),
        notifiers=listening,
        at=at,
        first=first,
    )


KEPT_TOGETHER: Final = 24
"""Hours whose content is kept at once: a month's file is not rewritten for each of many."""

CONTENT_DEADLINE: Final = 300.0
"""Seconds that looking inside may take after a delivery: ten times what an export of a gigabyte needs."""


async def content(
    settings: config.Settings,
    lake: Lake,
    hours: Sequence[Hour],
    *,
    engine: Engine = "duckdb",
    keeps: bool = True,
    progress: Callable[[Hour], None] | None = None,
) -> list[HourContent]:
    """Look inside the files of some Hours, ascending, and keep what is found.

    Raises:
        SettingsError, CredentialsError, LakeError: as `place_of`; or the lake cannot be read or written.
        SettingsError, ViplakeError: Spark is not there, or fails.
    """
    from viplake.content import records as contents  # noqa: PLC0415 - as above

    place = place_of(settings, lake)
    found: list[HourContent] = []
    kept = 0
    async for one in _examined(settings, lake, hours, engine):
        found.append(one)
        if progress is not None:
            progress(one.hour)
        if keeps and (len(found) - kept >= KEPT_TOGETHER or one.hour == hours[-1]):
            await contents.keep(place, found[kept:])
            kept = len(found)
    return found


async def _examined(
    settings: config.Settings, lake: Lake, hours: Sequence[Hour], engine: Engine
) -> AsyncIterator[HourContent]:
    told = config.content_settings(settings)
    if engine == "spark":
        from viplake.content.spark import examine_many  # noqa: PLC0415 - as above

        reached = config.store_settings(settings, config.Secrets.of(settings))
        async for content in examine_many(reached, settings.layout, hours, told):
            yield content
        return
    from viplake.content.examine import examine  # noqa: PLC0415 - as above

    for hour in hours:
        yield await examine(lake, hour, told)


def check_target(settings: config.Settings, lake: Lake) -> CheckTarget:
    """Return the lake with its history, for judgement.

    Raises:
        SettingsError, CredentialsError, LakeError: as `place_of`.
    """
    from viplake.judge.check import CheckTarget  # noqa: PLC0415 - as above

    return CheckTarget(lake, place_of(settings, lake), settings.environment.name)


def observing(settings: config.Settings) -> ObserveSettings:
    """Return which tables are expected and when an Hour counts."""
    from viplake.history.build import ObserveSettings  # noqa: PLC0415 - as above

    return ObserveSettings(settings.out_of_scope, timedelta(minutes=settings.grace_minutes))


async def schema(
    settings: config.Settings, lake: Lake, *, at: Hour | None = None, since: Hour | None = None
) -> Listed | Held | Differing:
    """The versions of the schema; the one that held `at` an Hour; or what differs there, or now, `since` another.

    Raises:
        SettingsError, CredentialsError, LakeError: as `place_of`, and where the history cannot be read.
    """
    from viplake.history.build import read_history  # noqa: PLC0415 - as above
    from viplake.history.datasets import SCHEMAS, TABLES  # noqa: PLC0415 - as above
    from viplake.history.schema_changes import Listed, versions  # noqa: PLC0415 - as above
    from viplake.history.schema_store import Copies  # noqa: PLC0415 - as above

    place = place_of(settings, lake)
    history = await read_history(place)
    found = versions(history.rows(SCHEMAS))
    copies = Copies(place.store, place.published)
    if since is not None:
        return await copies.differing(found, since, at)
    if at is not None:
        return await copies.held(found, at)
    unknown = history.rows(TABLES).keys() - history.rows(SCHEMAS).keys()
    return Listed(await copies.compared(found), len(unknown))


async def query(
    settings: config.Settings,
    lake: Lake,
    asked: Asked,
    take: Callable[[Answer], T],
    *,
    warn: Callable[[str], None],
    writes: Iterable[Path] = (),
) -> T:
    """Answer a query over the lake's tables and the history, and give the answer to `take`.

    Raises:
        SettingsError, LakeError: as `observe.query.query`.
    """
    from viplake.query.query import query as answer  # noqa: PLC0415 - only this needs it, and DuckDB

    place = place_of(settings, lake)
    return await answer(lake, place, asked, take, warn=warn, writes=writes)


async def evidence(settings: config.Settings, lake: Lake, *, first: Hour, last: Hour, now: datetime) -> Pack:
    """Collect the evidence pack of a range of Hours, both included.

    Raises:
        SettingsError, CredentialsError, LakeError: as `config.check_settings` and `report.evidence.gather`.
    """
    from viplake.report.evidence import gather  # noqa: PLC0415 - only this needs it

    return await gather(
        lake,
        place_of(settings, lake),
        config.check_settings(settings),
        observing(settings),
        first=first,
        last=last,
        now=now,
        environment=settings.environment.name,
        company=settings.company or "",
    )


async def _judge_settled(settings: config.Settings, ready: Extraction, hours: tuple[Hour, ...]) -> None:
    """Tell of what was delivered, and check. `after_settling` takes care of what goes wrong."""
    from viplake.judge.check import after_delivery  # noqa: PLC0415 - as above

    told = config.check_settings(settings)
    listening = config.notifiers(settings, told, config.Secrets.of(settings))
    target = check_target(settings, ready.lake)
    await after_delivery(target, ready.clock, told, observing(settings), notifiers=listening, hours=hours)


async def after_settling(settings: config.Settings, ready: Extraction) -> None:
    """Observe, judge and tell what this process has just brought to an end. Nothing here changes an outcome."""
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
            await _look_inside(settings, ready, hours)
    async with _harmless("not_checked"):
        await _judge_settled(settings, ready, hours)


async def _look_inside(settings: config.Settings, ready: Extraction, hours: Sequence[Hour]) -> None:
    """Look inside what was delivered."""
    proven = [hour for hour in hours if await read_receipt(ready.lake, hour) is not None]
    async with asyncio.timeout(CONTENT_DEADLINE):
        found = await content(settings, ready.lake, proven)
    for one in found:
        log.info("looked_inside", hour=str(one.hour), tables=len(one.tables), findings=len(one.findings))


def _give_memory_back() -> None:
    """What the transfer has freed, the C library keeps for itself; but now DuckDB is loaded, 35 MB, beside it."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


@asynccontextmanager
async def _harmless(event: str) -> AsyncIterator[None]:
    """What goes wrong inside is logged, and nothing else: a delivery stands whatever follows it."""
    try:
        yield
    except ViplakeError as error:
        log.warning(event, cause=error.cause.word, detail=error.message, hint=error.hint)
    except asyncio.CancelledError:
        log.warning(event, cause="interrupted")
    except Exception as error:  # noqa: BLE001 - a defect in observation must not hide a delivery
        log.warning(event, cause="unexpected", detail=f"{type(error).__name__}: {error}")


# -- room -----------------------------------------------------------------------------------------------------

ROOM_FOR_HOURS: Final = 3
"""A folder lake whose disk has room for fewer Hours like the last one is said to be nearly full."""


def folder_of(settings: config.Settings) -> Path | None:
    """Where a folder lake lies on disk; None for another lake."""
    parts = urlsplit(url_of(settings))
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def warn_of_a_full_disk(
    settings: config.Settings,
    outcome: Outcome,
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> None:
    """Say in the log that a folder lake will soon be full, while there is still time to make room."""
    folder = folder_of(settings)
    if folder is None or outcome.outcome != "delivered":
        return
    try:
        free = free_bytes(folder)
    except OSError:
        return
    if free < ROOM_FOR_HOURS * outcome.bytes:
        log.warning("disk_nearly_full", folder=str(folder), free_bytes=free, last_hour_bytes=outcome.bytes)


async def prune(
    settings: config.Settings, older_than: str, *, keep: int, dry_run: bool, clock: Clock | None = None
) -> Pruned:
    """Remove the old Hours of a folder lake that nothing needs any more.

    Raises:
        SettingsError: the lake is no folder, or another environment's; or the age is too short.
        LakeError: it cannot be read or written.
    """
    from viplake.lake.prune import expendable, held_hours, parse_age, remove  # noqa: PLC0415 - only `prune` needs it

    before = Hour.of((clock or SystemClock()).now() - parse_age(older_than))
    folder = folder_of(settings)
    if folder is None:
        raise SettingsError(
            "only folder lakes are pruned",
            hint="On S3 a lifecycle rule does it: the parameter RetentionDays of deploy/viplake.yaml.",
        )
    lake = await lake_to_read(settings)
    pruned = expendable(await held_hours(lake), before=before, keep=keep)
    if not dry_run:
        await remove(lake, pruned.removed, folder)
    return pruned


def other_lake(settings: config.Settings, url: str, *, profile: str | None = None) -> StoreSettings:
    """How to reach another lake: with its own AWS profile, or with our credentials.

    Raises:
        SettingsError, CredentialsError: as `config.store_settings`.
    """
    found = config.store_settings(settings, config.Secrets.of(settings), url=url)
    if profile is None:
        return found
    return replace(found, profile=profile, access_key_id=None, secret_access_key=None, session_token=None)
