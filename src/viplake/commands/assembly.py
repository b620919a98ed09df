"""I/O. Builds the parts from the settings, for the commands, the cloud entry points and the demo."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar
from urllib.parse import unquote, urlsplit

import structlog

from viplake import config
from viplake.clock import Clock, SystemClock
from viplake.commands.event_loop import finish
from viplake.errors import SettingsError
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.proof import LakeOwner, check_lake, claim, owner_of
from viplake.lake.store import open_store
from viplake.model import Hour

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from viplake.content.profiling import HourContent
    from viplake.current.delta import DeltaTables
    from viplake.history.build import HistoryLocation, Observed, ObserveSettings, Scope
    from viplake.judge.check import Checked, CheckTarget
    from viplake.judge.evaluate import CheckSettings

T = TypeVar("T")
log = structlog.get_logger(__name__)

Engine = Literal["duckdb", "spark"]
"""The engine of content checks: DuckDB in this process, or the Spark session that viplake runs on."""


async def lake_to_read(settings: config.Settings) -> Lake:
    """Open the lake for reading, if it belongs to this environment.

    Raises:
        SettingsError: it belongs to another environment.
        LakeError: it cannot be read.
    """
    reached = config.store_settings(settings, config.Secrets.of(settings))
    lake = Lake(open_store(reached), settings.layout, reached.url)
    await check_lake(lake, environment=settings.environment.name)
    return lake


def on_lake(settings: config.Settings, work: Callable[[Lake], Awaitable[T]]) -> T:
    """Open the lake for reading and run the work on it in an event loop.

    Raises:
        SettingsError, CredentialsError, LakeError: as `lake_to_read`, and what the work raises.
    """

    async def opened() -> T:
        return await work(await lake_to_read(settings))

    return finish(opened())


def url_of(settings: config.Settings) -> str:
    """The lake's URL. On S3 (`s3://`) an equal ETag proves equal content, in a folder it does not.

    Raises:
        SettingsError, CredentialsError: as `config.lake_url`.
    """
    return config.lake_url(settings, config.Secrets.of(settings))


def folder_of(settings: config.Settings) -> Path | None:
    """Return the path of a folder lake; None for other lakes."""
    parts = urlsplit(url_of(settings))
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


# -- observation --------------------------------------------------------------------------------------------


async def history_location(settings: config.Settings, lake: Lake, *, writes: bool = False) -> HistoryLocation:
    """Open the location of the history: `Observability/` in the lake, or VIPLAKE_HISTORY.

    A location outside of the lake has an owner, like a lake: the first environment that writes there.

    Raises:
        SettingsError: it belongs to another environment (`lake_mismatch`), or cannot be opened.
        CredentialsError, LakeError: it cannot be opened or read.
    """
    from viplake.history.build import HistoryLocation  # noqa: PLC0415 - only observation needs it

    if settings.history is None:
        return HistoryLocation.within(lake)
    reached = config.store_settings(settings, config.Secrets.of(settings), create=True, url=settings.history)
    place = HistoryLocation.elsewhere(open_store(reached))
    held = Lake(place.store, Layout.below("Hourly"), reached.url)
    wanted = LakeOwner(settings.environment.name, settings.company or "")
    owner = await claim(held, wanted) if writes else await owner_of(held)
    if owner is not None and owner.environment != wanted.environment:
        raise SettingsError(
            f"the history at {reached.url} belongs to {owner.environment}, not to {wanted.environment}",
            cause="lake_mismatch",
            hint="Give each environment a VIPLAKE_HISTORY of its own.",
        )
    return place


async def observe(
    settings: config.Settings,
    lake: Lake,
    scope: Scope,
    *,
    clock: Clock | None = None,
    imports: dict[str, bytes] | None = None,
    progress: Callable[[Hour], None] | None = None,
) -> Observed:
    """Update the history.

    Raises:
        LakeError, SettingsError: as `history.build.observe`; the history is as it was.
    """
    from viplake.history import build  # noqa: PLC0415 - as above

    place, wanted = await history_location(settings, lake, writes=True), observing(settings)
    return await build.observe(
        lake, place, clock or SystemClock(), wanted, scope=scope, imports=imports, progress=progress
    )


async def check_settings(settings: config.Settings, lake: Lake) -> CheckSettings:
    """Return the rules, calendar and objectives that apply to the lake, and the channels; warn if local ones differ.

    Raises:
        SettingsError, LakeError: as `config.check_settings` and `read_rulebook`.
    """
    from viplake.judge.rulebook import read_rulebook  # noqa: PLC0415 - as above

    kept = await read_rulebook(lake)
    if (warning := kept.warning(settings.sections)) is not None:
        log.warning("rules_differ", detail=warning)
    return config.check_settings(settings, kept.tables)


async def check(
    settings: config.Settings,
    lake: Lake,
    *,
    clock: Clock | None = None,
    at: Hour | None = None,
    first: Hour | None = None,
    notify: bool = True,
) -> Checked:
    """Evaluate the rules, update the incidents, and send notifications.

    Raises:
        SettingsError, CredentialsError, LakeError: as `check_settings`, `config.notifiers`, `check.check`.
    """
    import viplake.judge.check  # noqa: PLC0415 - as above

    judged_by = await check_settings(settings, lake)
    listening = config.notifiers(settings, judged_by, config.Secrets.of(settings)) if notify else None
    return await viplake.judge.check.check(
        await check_target(settings, lake, writes=True),
        clock or SystemClock(),
        judged_by,
        observing(settings),
        notifiers=listening,
        at=at,
        first=first,
    )


CARRIED_FROM: Final = 24
"""How many Hours back to look for an examined Hour whose files can be compared."""

KEPT_TOGETHER: Final = 24
"""Number of Hours whose results are stored together, so that a month's file is not rewritten for each Hour."""


async def content(
    settings: config.Settings,
    lake: Lake,
    hours: Sequence[Hour],
    *,
    engine: Engine = "duckdb",
    keeps: bool = True,
    reopen: bool = False,
    progress: Callable[[Hour], None] | None = None,
) -> list[HourContent]:
    """Run content checks on the files of some Hours, ascending, and store the results.

    Files that equal those of the Hour before are opened again only with `reopen`, and on Spark.

    Raises:
        SettingsError, CredentialsError, LakeError: as `history_location`; or the lake cannot be read or written.
        SettingsError, ViplakeError: Spark is not there, or fails.
    """
    from viplake.content import records  # noqa: PLC0415 - as above

    place = await history_location(settings, lake, writes=keeps)
    found: list[HourContent] = []
    kept = 0
    earlier = None
    if engine == "duckdb" and not reopen:
        before = await records.read(place, [hours[0].shift(-back) for back in range(1, CARRIED_FROM + 1)])
        earlier = before[max(before)] if before else None
    async for one in _examined(settings, lake, hours, engine, earlier, reopen=reopen):
        found.append(one)
        if progress is not None:
            progress(one.hour)
        if keeps and (len(found) - kept >= KEPT_TOGETHER or one.hour == hours[-1]):
            await records.keep(place, found[kept:])
            kept = len(found)
    return found


async def _examined(
    settings: config.Settings,
    lake: Lake,
    hours: Sequence[Hour],
    engine: Engine,
    earlier: HourContent | None,
    *,
    reopen: bool,
) -> AsyncIterator[HourContent]:
    wanted = config.content_settings(settings)
    if engine == "spark":
        from viplake.content.spark import examine_many  # noqa: PLC0415 - as above

        reached = config.store_settings(settings, config.Secrets.of(settings))
        async for content in examine_many(reached, settings.layout, hours, wanted):
            yield content
        return
    from viplake.content.examine import examine  # noqa: PLC0415 - as above

    for hour in hours:
        found = await examine(lake, hour, wanted, earlier=earlier)
        earlier = None if reopen else found
        yield found


def delta_tables(settings: config.Settings, lake: Lake, clock: Clock) -> DeltaTables:
    """Return the current and history tables of the lake.

    Raises:
        SettingsError, CredentialsError, LakeError: as `DeltaTables` and `storage_options`.
    """
    from viplake.current.delta import DeltaTables, storage_options  # noqa: PLC0415 - as above

    reached = config.store_settings(settings, config.Secrets.of(settings))
    return DeltaTables(lake, storage_options(reached), clock)


async def tables_to_query(settings: config.Settings, lake: Lake, warn: Callable[[str], None]) -> DeltaTables | None:
    """Return the current and history tables of the lake, where there are any and they can be read.

    Raises:
        SettingsError, CredentialsError, LakeError: as `delta_tables`.
    """
    if not lake.url or not await lake.store.folders(lake.layout.tables):
        return None
    try:
        return delta_tables(settings, lake, SystemClock())
    except SettingsError as error:
        warn(f"queries do not see the current tables: {error.message}. {error.hint}")
        return None


async def check_target(settings: config.Settings, lake: Lake, *, writes: bool = False) -> CheckTarget:
    """Return the lake with its history, for a check.

    Raises:
        SettingsError, CredentialsError, LakeError: as `history_location`.
    """
    from viplake.judge.check import CheckTarget  # noqa: PLC0415 - as above

    place = await history_location(settings, lake, writes=writes)
    return CheckTarget(lake, place, settings.environment.name, settings.report)


def observing(settings: config.Settings) -> ObserveSettings:
    """Return which tables are expected and when an Hour counts."""
    from viplake.history.build import ObserveSettings  # noqa: PLC0415 - as above

    grace = timedelta(minutes=settings.grace_minutes)
    return ObserveSettings(settings.out_of_scope, grace, settings.environment.due)
