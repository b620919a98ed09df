"""I/O. The only module that reads configuration files, environment and secrets; other modules get values as arguments.

::

    settings = config.load(flags={"environment": "Prod"})    # checked, each with its origin; no secret read yet
    secrets = config.Secrets.of(settings)                    # read when first needed, once
    store = open_store(config.store_settings(settings, secrets))

Each part declares its own settings; the builders here fill them. Plain dataclasses and tomllib instead of
pydantic-settings: see docs/adr/0002.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from viplake.config.lake_url import WrongLakeError, parsed_lake_url
from viplake.config.secrets import (
    ACCESS_KEY_ID,
    BUCKET,
    CLIENT_ID,
    CLIENT_SECRET,
    PROXY,
    SECRET_ACCESS_KEY,
    Secrets,
    aws_access,
    network_of,
)
from viplake.config.settings import (
    BY_NAME,
    FURTHER_VARIABLES,
    SETTINGS,
    Setting,
    Settings,
    Surroundings,
)
from viplake.config.sources import absolute, environment, gather, load, read_surroundings, set_environment, value_of
from viplake.errors import SettingsError
from viplake.network.hosts import refuse_plain_http

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from viplake.clock import Clock
    from viplake.content.examine import ContentSettings
    from viplake.current.settings import TablesSettings
    from viplake.extract.landing import RunSettings
    from viplake.judge.evaluate import CheckSettings
    from viplake.lake.store import Features, StoreSettings
    from viplake.network.settings import Network
    from viplake.notify.message import Notifier
    from viplake.vendor.veson.client import VendorSettings, VesonVendor
    from viplake.vendor.veson.token import VendorCredentials

__all__ = [
    "FURTHER_VARIABLES",
    "SETTINGS",
    "Secrets",
    "Setting",
    "Settings",
    "Surroundings",
    "WrongLakeError",
    "absolute",
    "check_settings",
    "environment",
    "get_secrets",
    "lake_url",
    "load",
    "notifiers",
    "parsed_lake_url",
    "run_settings",
    "set_environment",
    "store_settings",
    "vendor",
    "vendor_settings",
]


def get_secrets(settings: Settings | None = None) -> dict[str, str]:
    """Return keys and values of the secret in clear text, like `get_secrets` of the original Glue script.

    Args:
        settings: of the command; None: only VIPLAKE_SECRETS is needed, from the environment or `viplake.toml`.

    Raises:
        CredentialsError, SettingsError, NetworkError: as `Secrets.read`.
    """
    if settings is not None:
        secrets = Secrets.of(settings)
    else:
        environ = environment()
        given, _, _, _ = gather({}, None, None, environ, None)
        secrets = Secrets(value_of(BY_NAME["secrets"], given.get("secrets")), read_surroundings(environ))
    return {key: secret.reveal() for key, secret in secrets.read().items()}


def lake_url(settings: Settings, secrets: Secrets) -> str:
    """Return the URL of the lake: the setting, else the bucket in the secret.

    Raises:
        SettingsError: neither says.
        CredentialsError, NetworkError: as `Secrets.read`.
    """
    if settings.lake is not None:
        return settings.lake
    bucket = secrets.optional(BUCKET)
    if bucket is None:
        raise SettingsError(
            f"the lake is not given, and the secret {settings.secrets} has no {BUCKET}",
            hint="Set VIPLAKE_LAKE to s3://bucket[/prefix] or file:///absolute/folder.",
        )
    try:
        name = bucket.reveal()
        return parsed_lake_url(name if ":" in name else f"s3://{name}")
    except WrongLakeError:
        raise SettingsError(
            f"{BUCKET} of the secret {settings.secrets} is not the name of a bucket",
            hint="Correct it, or set VIPLAKE_LAKE.",
        ) from None


def store_settings(
    settings: Settings, secrets: Secrets, *, create: bool = False, url: str | None = None
) -> StoreSettings:
    """Return the store settings of the lake, or of another one.

    AWS credentials: the secret's keys, else those of the environment, else boto3's chain: the fields stay
    empty.

    Args:
        settings: of the command.
        secrets: read for the bucket where no lake is set, and for the keys and proxy of an S3 lake.
        create: make a missing folder.
        url: of another lake; None: as `lake_url`.

    Raises:
        SettingsError: the lake is not given, or its endpoint may not be used.
        CredentialsError, NetworkError: as `Secrets.read`.
    """
    from viplake.lake.store import StoreSettings  # noqa: PLC0415 - obstore is loaded only by who opens a store

    url = lake_url(settings, secrets) if url is None else url
    if urlsplit(url).scheme != "s3":
        return StoreSettings(url=url, create=create)
    around = settings.surroundings
    if around.foreign:
        raise SettingsError(
            f"{around.foreign[0]} is not an AWS variable, but the S3 library would use it",
            hint="Unset it. Encryption and checksums are VIPLAKE_SSE, VIPLAKE_SSE_KMS_KEY and VIPLAKE_CHECKSUM.",
        )
    if around.endpoint_s3 is not None:
        refuse_plain_http(
            around.endpoint_s3, "AWS_ENDPOINT_URL_S3 (or AWS_ENDPOINT_URL)", allowed=settings.allow_insecure_http
        )
    key, access, known = secrets.optional(ACCESS_KEY_ID), secrets.optional(SECRET_ACCESS_KEY), aws_access(around)
    return StoreSettings(
        url=url,
        access_key_id=key.reveal() if key else known.access_key_id,
        secret_access_key=access or known.secret_access_key,
        session_token=None if access else known.session_token,
        region=around.region,
        endpoint=around.endpoint_s3,
        profile=around.profile,
        allow_http=settings.allow_insecure_http,
        network=network(settings, secrets),
        features=_features(settings),
        create=create,
    )


def _features(settings: Settings) -> Features:
    """Return the upload options for S3.

    Raises:
        SettingsError: a KMS key without encryption by KMS.
    """
    from viplake.lake.store import Features  # noqa: PLC0415 - as in store_settings

    if settings.sse_kms_key and not settings.sse.startswith("aws:kms"):
        raise SettingsError("VIPLAKE_SSE_KMS_KEY is given without VIPLAKE_SSE=aws:kms", hint="Set both, or neither.")
    return Features(
        settings.sse or None,
        settings.sse_kms_key or None,
        settings.storage_class or None,
        settings.requester_pays,
        settings.checksum,
    )


def network(settings: Settings, secrets: Secrets) -> Network:
    """Return how hosts are reached, for every leg. The proxy is the one of the secret, else that of HTTPS_PROXY.

    Raises:
        SettingsError: the proxy is no URL.
        CredentialsError, NetworkError: as `Secrets.read`.
    """
    return network_of(settings.surroundings, secrets.optional(PROXY))


def aws_client(settings: Settings, service: str) -> Any:
    """Return a boto3 client of an AWS service other than S3.

    Raises:
        SettingsError: the AWS configuration is wrong.
        CredentialsError, NetworkError: as `Secrets.read`.
    """
    from viplake.network.aws import client  # noqa: PLC0415 - boto3

    return client(service, aws_access(settings.surroundings), network(settings, Secrets.of(settings)))


def vendor_settings(settings: Settings, secrets: Secrets) -> VendorSettings:
    """Return the vendor settings: URLs, company, network.

    Raises:
        SettingsError: the company is not given.
        CredentialsError, NetworkError: as `Secrets.read`.
    """
    from viplake.vendor.veson.client import VendorSettings  # noqa: PLC0415 - aiohttp is loaded only by who asks the vendor

    return VendorSettings(
        environment=settings.environment,
        company=settings.require_company(),
        token_url=settings.token_url,
        export_url=settings.export_url,
        files_url=settings.files_url,
        allow_insecure_http=settings.allow_insecure_http,
        download_hosts=settings.download_hosts,
        network=network(settings, secrets),
    )


def run_settings(settings: Settings) -> RunSettings:
    """Return the settings of a run.

    Raises:
        SettingsError: the company is not given.
    """
    from viplake.extract.landing import RunSettings  # noqa: PLC0415 - as in vendor_settings

    return RunSettings(
        environment=settings.environment,
        company=settings.require_company(),
        poll_seconds=settings.poll_seconds,
        replication_timeout=settings.replication_timeout_seconds,
        transfer_timeout=settings.transfer_timeout_seconds,
        out_of_scope=settings.out_of_scope,
    )


def check_settings(settings: Settings, kept: Mapping[str, Any] | None = None) -> CheckSettings:
    """Return the settings of a check: `[rules]`, `[[calendar]]`, `[objectives]`, `[notify]`; VIPLAKE_SNS_TOPIC wins.

    Args:
        settings: with the tables of `viplake.toml`.
        kept: tables that are stored in the lake; they replace the local ones.

    Raises:
        SettingsError: one of them is wrong; the message names the place in one line.
    """
    from viplake.judge.evaluate import CheckSettings  # noqa: PLC0415 - only judging needs it

    tables, notify = {**settings.sections, **(kept or {})}, settings.sections.get("notify", {})
    if settings.sns_topic and isinstance(notify, dict):
        tables = {**tables, "notify": notify | {"sns_topic": settings.sns_topic}}
    parsed = CheckSettings.parse(tables)
    return replace(parsed, calendar=replace(parsed.calendar, due=settings.environment.due))


def content_settings(settings: Settings) -> ContentSettings:
    """Return the settings of content checks."""
    from viplake.content.examine import ContentSettings  # noqa: PLC0415 - only looking inside needs DuckDB

    return ContentSettings(settings.record_times) if settings.record_times else ContentSettings()


def tables_settings(settings: Settings) -> TablesSettings:
    """Return the settings in `[tables]` of `viplake.toml`.

    Raises:
        SettingsError: it is wrong, in one line that says where.
    """
    from viplake.current.settings import TablesSettings  # noqa: PLC0415 - only tables need it

    return TablesSettings.parse(settings.sections.get("tables"), settings.record_times)


def notifiers(settings: Settings, checks: CheckSettings, secrets: Secrets) -> list[Notifier]:
    """Return the notification channels.

    Raises:
        SettingsError: an address refers to a key that the secret does not have.
        CredentialsError, NetworkError: as `Secrets.read`.
    """
    from viplake.notify.sending import channels  # noqa: PLC0415 - as in check_settings

    known = secrets.read() if checks.notify.needs_secret and not secrets.in_environment else {}
    around = settings.surroundings
    return channels(checks.notify, known, network(settings, secrets), aws_access(around), around.endpoint_sns)


def vendor(settings: Settings, secrets: Secrets, clock: Clock) -> VesonVendor:
    """Return the client of the vendor, not opened yet.

    Raises:
        SettingsError: the company is not given, or a URL, the proxy or the CA bundle is wrong.
        CredentialsError, NetworkError: as `Secrets.read`.
    """
    from viplake.vendor.veson.client import VesonVendor  # noqa: PLC0415 - as in vendor_settings

    return VesonVendor(vendor_settings(settings, secrets), _credentials(secrets), clock=clock)


def _credentials(secrets: Secrets) -> Callable[..., Awaitable[VendorCredentials]]:
    """Return a function that reads the vendor's client id and secret on first use; `fresh=True` reads them again."""

    async def read(*, fresh: bool = False) -> VendorCredentials:
        from viplake.vendor.veson.token import VendorCredentials  # noqa: PLC0415 - as in vendor_settings

        values = await asyncio.to_thread(secrets.read, fresh=fresh)
        return VendorCredentials(values[CLIENT_ID], values[CLIENT_SECRET])

    return read
