"""I/O. Puts the parts together from the settings: what the command, the cloud's entry points and the demo share."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from viplake import config
from viplake.clock import Clock, SystemClock
from viplake.extract.extraction import Extraction
from viplake.extract.ledger import Ledger
from viplake.extract.vendor import HttpVendor
from viplake.lake.proof import check_lake
from viplake.lake.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from viplake.extract.transfer import Progress
    from viplake.model import Hour, Promise


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
    wanted = config.vendor_settings(settings, secrets)
    store = open_store(config.store_settings(settings, secrets, create=True))
    async with HttpVendor(wanted, config.credentials(secrets), clock=clock) as vendor:
        ledger = Ledger(store, settings.layout, clock)
        ready = Extraction(config.run_settings(settings), vendor, store, clock, ledger)
        if tell is not None:
            ready.tell = tell
        yield ready


async def lake_to_read(settings: config.Settings) -> Store:
    """The lake, opened for reading, if it is this environment's.

    Raises:
        SettingsError: it is another's.
        LakeError: it cannot be read.
    """
    store = open_store(config.store_settings(settings, config.Secrets.of(settings)))
    await check_lake(store, settings.layout, environment=settings.environment.name)
    return store


def lake_is_s3(settings: config.Settings) -> bool:
    """Whether the lake lies on S3, where an equal ETag proves equal content."""
    return config.lake_url(settings, config.Secrets.of(settings)).startswith("s3://")
