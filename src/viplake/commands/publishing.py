"""I/O. The report: made from the settings, and written to a file or to S3."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import structlog

from viplake import config
from viplake.commands.assembly import check_settings, check_target, observing, tables_to_query
from viplake.errors import LakeError, SettingsError
from viplake.lake.proof import owner_of, read_receipt
from viplake.lake.store import open_store
from viplake.wording import install_hint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viplake.clock import Clock
    from viplake.current.show import Shown
    from viplake.lake import Lake
    from viplake.model import Hour

log = structlog.get_logger(__name__)


async def make_report(
    settings: config.Settings, lake: Lake, clock: Clock, *, first: Hour | None = None, last: Hour | None = None
) -> str:
    """Return the report as HTML.

    Raises:
        SettingsError: the extra `report` is not installed.
        SettingsError, CredentialsError, LakeError: as `check_target`.
    """
    try:
        from viplake.report.page import compose  # noqa: PLC0415 - needs the extra `report`

        return await compose(
            await check_target(settings, lake),
            title=await title_of(settings, lake),
            now=clock.now(),
            settings=await check_settings(settings, lake),
            observing=observing(settings),
            first=first,
            last=last,
            merged=await _merged(settings, lake),
        )
    except ImportError as error:
        raise SettingsError(
            f"the report needs a package that is not installed: {error.name}", hint=install_hint("report")
        ) from None


async def _merged(settings: config.Settings, lake: Lake) -> Shown | None:
    """The current and history tables; None where there are none, or they cannot be read: the report does without."""
    try:
        delta = await tables_to_query(settings, lake, lambda why: log.warning("tables_left_out", detail=why))
        if delta is None:
            return None
        from viplake.current.show import show  # noqa: PLC0415 - deltalake: only where there are tables

        return await show(lake, delta)
    except LakeError as error:
        log.warning("tables_left_out", cause=error.cause.word, detail=error.message)
        return None


async def title_of(settings: config.Settings, lake: Lake) -> str:
    """Return the title of a report: environment, and the company of the settings or of the lake.

    Raises:
        LakeError: the lake cannot be read.
    """
    owner = None if settings.company else await owner_of(lake)
    company = settings.company or ("" if owner is None else owner.company)
    return " ".join(part for part in ("VIP Data Lake,", settings.environment.name, company) if part)


async def publish(settings: config.Settings, page: str, out: str) -> str:
    """Write the page to a file or to `s3://bucket/key.html`; return where it is.

    Raises:
        SettingsError: the file cannot be written, or the URL has no key.
        CredentialsError, LakeError: S3 refuses it.
    """
    parts = urlsplit(out)
    if parts.scheme == "s3":
        folder, _, name = out.rpartition("/")
        if not name or not parts.path.strip("/"):
            raise SettingsError(f"not the URL of a file: {out!r}", hint="Give one such as s3://bucket/report.html.")
        reached = config.store_settings(settings, config.Secrets.of(settings), url=folder)
        # A browser shows the page, never a cached one.
        features = replace(reached.features, content_type="text/html; charset=utf-8", cache_control="no-store")
        store = open_store(replace(reached, features=features))
        await store.put(name, page.encode())
        return out
    return await asyncio.to_thread(_write, Path(unquote(parts.path) if parts.scheme == "file" else out), page)


def _write(path: Path, page: str) -> str:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror}", hint="Choose another file with --out.") from None
    return str(path.absolute())


async def is_due(settings: config.Settings, lake: Lake, hours: Sequence[Hour]) -> bool:
    """Return whether the settings want a report after these Hours."""
    if not settings.report:
        return False
    if settings.report_every == "delivery":
        return True
    [first, *_] = sorted(hours)
    return not any([await read_receipt(lake, first.shift(-back)) for back in range(1, first.start.hour + 1)])
