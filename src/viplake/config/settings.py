"""PURE. The table of all settings: names, meanings, defaults and allowed values.

`SETTINGS` is the only list: reading, checking and docs/settings.md use it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from viplake.config.lake_url import parsed_lake_url, split_url
from viplake.errors import SettingsError
from viplake.lake.layout import Layout
from viplake.model import Environment
from viplake.notify.settings import is_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from viplake.lake.store import Checksum
    from viplake.redact import Secret


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: in flags and in `viplake.toml`.
        parse: text -> value; raises `ValueError` with what is wrong, to follow "is".
        default: as text; None where there is none.
        meaning: one line.
    """

    name: str
    parse: Callable[[str], Any]
    default: str | None
    meaning: str

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return f"VIPLAKE_{self.name.upper()}"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Standard environment variables, which other tools read as well.

    Attributes:
        client_id, client_secret: VIPLAKE_CLIENT_ID and VIPLAKE_CLIENT_SECRET, for `env:`.
        endpoint_s3: AWS_ENDPOINT_URL_S3, else AWS_ENDPOINT_URL.
        endpoint_secrets: AWS_ENDPOINT_URL_SECRETS_MANAGER, else AWS_ENDPOINT_URL.
        endpoint_sns: AWS_ENDPOINT_URL_SNS, else AWS_ENDPOINT_URL.
        region: AWS_REGION, else AWS_DEFAULT_REGION.
        profile: AWS_PROFILE.
        access_key_id, secret_access_key, session_token: the static credentials AWS_*.
        proxy, no_proxy: HTTPS_PROXY and NO_PROXY, in capitals or small.
        ca: the certificates of SSL_CERT_FILE and AWS_CA_BUNDLE, PEM.
        ca_file: their path.
        foreign: variables that are not AWS's, but that the S3 library would read and that nothing overrides.
        color: False where NO_COLOR is set (no-color.org: to anything but nothing).
    """

    client_id: Secret | None = None
    client_secret: Secret | None = None
    endpoint_s3: str | None = None
    endpoint_secrets: str | None = None
    endpoint_sns: str | None = None
    region: str | None = None
    profile: str | None = None
    access_key_id: str | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    proxy: Secret | None = None
    no_proxy: str = ""
    ca: str = ""
    ca_file: Path | None = None
    foreign: tuple[str, ...] = ()
    color: bool = True


@dataclass(frozen=True)
class Settings:
    """All settings of a command, checked; no secret has been read yet.

    Attributes:
        environment: `Prod` or `Test`.
        lake: URL; None: `s3://` + `AWS_bucket` of the secret.
        company: the code in the files call; only what talks to the vendor needs it.
        secrets: where the secret is.
        token_url, export_url, files_url: of the vendor's calls; the bases without a closing slash.
        layout: the keys below the lake's URL.
        poll_seconds, replication_timeout_seconds, transfer_timeout_seconds: seconds, more than zero.
        history: URL of the datasets; None: `layout.observability` in the lake.
        out_of_scope: tables that are never delivered.
        grace_minutes: minutes into an Hour from which on it counts, 0 to 59.
        content_checks: run content checks after each delivery.
        tables: bring the current and the history tables up to date after each delivery.
        record_times: columns that tell when a record changed, the best first; empty: the usual names.
        sns_topic: ARN of the topic for notifications; empty: the one of `[notify]`.
        report, report_every: where the report is written, and after which deliveries.
        allow_insecure_http: http to loopback is allowed.
        download_hosts: from which files may come besides S3, lower case.
        sse, sse_kms_key, storage_class: options of uploads to S3; empty: the bucket's default.
        requester_pays: send "requester pays" with requests to S3.
        checksum: that travels with each upload to S3.
        log_level, log_format: as their names; `auto`, `json` or `text`.
        origins: setting -> where its value came from.
        surroundings: standard environment variables.
        config_file: the `viplake.toml` that was read.
        profile: the one picked in it.
        sections: tables of `viplake.toml` that other parts read (`TABLES`), as written; the profile's go first.
    """

    environment: Environment
    lake: str | None
    company: str | None
    secrets: str
    token_url: str
    export_url: str
    files_url: str
    layout: Layout
    poll_seconds: float
    replication_timeout_seconds: float
    transfer_timeout_seconds: float
    history: str | None
    out_of_scope: frozenset[str]
    grace_minutes: int
    content_checks: bool
    tables: bool
    record_times: tuple[str, ...]
    sns_topic: str
    report: str
    report_every: str
    allow_insecure_http: bool
    download_hosts: frozenset[str]
    sse: str
    sse_kms_key: str
    storage_class: str
    requester_pays: bool
    checksum: Checksum
    log_level: str
    log_format: str
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)
    surroundings: Surroundings = field(default_factory=Surroundings, compare=False)
    config_file: Path | None = None
    profile: str | None = None
    sections: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def require_company(self) -> str:
        """The company code.

        Raises:
            SettingsError: it is not given.
        """
        if self.company is None:
            raise SettingsError(
                "the company is not given",
                hint="Set VIPLAKE_COMPANY to the company code that Veson gave you (it is part of the files call).",
            )
        return self.company


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"not one of {', '.join(words)}")
        return text

    return parse


def _checksum(text: str) -> str:
    if text.lower() in {"crc32", "crc32c", "sha1"}:
        raise ValueError("a checksum that uploads cannot carry (the S3 library knows crc64nvme and sha256)")
    return _one_of("crc64nvme", "sha256", "md5", "none")(text)


def _seconds(text: str) -> float:
    value = float(text) if re.fullmatch(r"[0-9.eE+-]+", text) else math.nan
    if not (math.isfinite(value) and 0 < value <= 86_400):  # noqa: PLR2004 - a day: no deadline of an Hour is longer
        raise ValueError("not a number of seconds above 0 and up to 86400")
    return value


def _minutes(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", text) or int(text) > 59:  # noqa: PLR2004 - an Hour has no minute 60
        raise ValueError("not a whole number of minutes from 0 to 59")
    return int(text)


def _flag(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError("neither true nor false")
    return text == "true"


def _names(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def _columns(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _topic(text: str) -> str:
    if text and not is_topic(text):
        raise ValueError("not the ARN of an SNS topic")
    return text


STORAGE_CLASSES: Final = (
    *("STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "REDUCED_REDUNDANCY"),
    "EXPRESS_ONEZONE",
)
"""Classes that are read at once (Amazon S3 User Guide, "Storage classes"): viplake reads what it has written."""


def _kms_key(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z0-9:/_-]{1,2048}", text):
        raise ValueError("not the id, ARN or alias of a KMS key")
    return text


_HOST: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*"
)


def _hosts(text: str) -> frozenset[str]:
    hosts = frozenset(name.lower() for name in _names(text))
    for host in sorted(hosts):
        if not _HOST.fullmatch(host):
            raise ValueError(f"not a list of plain host names (without scheme, port and path): {host[:80]!r}")
    return hosts


def _company(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise ValueError("not a company code (1 to 64 letters, digits, _ or -)")
    return text


def _secret_place(text: str) -> str:
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in {"env", "file", "aws-sm"} or (scheme == "env") != (rest == ""):
        raise ValueError("none of env:, file:/path.json, aws-sm:name")
    return text


def _web(text: str) -> str:
    parts = split_url(text)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ValueError("not a https:// URL")
    return text


def _web_base(text: str) -> str:
    return _web(text).rstrip("/")


SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("environment", Environment.named, None, "`Prod`, `Test`, or a NAME of `[environments.NAME]`, exactly"),
    Setting(
        "lake",
        parsed_lake_url,
        None,
        "`s3://bucket[/prefix]` or `file:///folder`; default: AWS_bucket of the secret",
    ),
    Setting("company", _company, None, "company code in the files call"),
    Setting("secrets", _secret_place, "env:", "where the secret is: `env:`, `file:/path.json`, `aws-sm:name`"),
    Setting("token_url", _web, "https://auth.veslink.com/connect/token", "URL of the token call"),
    Setting(
        "export_url", _web_base, "https://emea.veslink.com/api/datalake/v1", "base of `/export` and `/CheckJobStatus`"
    ),
    Setting("files_url", _web_base, "https://api.veslink.com/v1/datalake", "base of `/presignedUrls/{company}`"),
    Setting("prefix", Layout.below, None, "prefix of the hourly folders; else that of the environment"),
    Setting("poll_seconds", _seconds, "60", "seconds between two polls"),
    Setting("replication_timeout_seconds", _seconds, "3000", "deadline of the export at the vendor"),
    Setting("transfer_timeout_seconds", _seconds, "1800", "deadline of the transfer into the lake"),
    Setting(
        "history",
        parsed_lake_url,
        None,
        "where the datasets are, as a URL of a lake; default: `Observability/` in the lake",
    ),
    Setting("out_of_scope", _names, "", "tables never delivered, comma separated"),
    Setting("grace_minutes", _minutes, "30", "minutes to wait before the current Hour is expected, 0 to 59"),
    Setting(
        "content_checks",
        _flag,
        "false",
        "`true`: run content checks after each delivery, with up to 400 MB of memory",
    ),
    Setting(
        "tables",
        _flag,
        "false",
        "`true`: bring the current and history tables up to date after each delivery; needs `viplake[tables]`",
    ),
    Setting(
        "record_times",
        _columns,
        "",
        "columns with the time of a record's last change, the best first, comma separated; empty: the usual names",
    ),
    Setting(
        "sns_topic",
        _topic,
        "",
        "ARN of an SNS topic for incident notifications; overrides `sns_topic` in `[notify]`",
    ),
    Setting(
        "report",
        str,
        "",
        "where the report is written after a delivery: a file, or `s3://bucket/key.html`; notifications link to it",
    ),
    Setting(
        "report_every",
        _one_of("delivery", "day"),
        "day",
        "after each `delivery`, or after the first of a `day`",
    ),
    Setting("allow_insecure_http", _flag, "false", "`true`: http to loopback is allowed"),
    Setting("download_hosts", _hosts, "", "further hosts that files may be downloaded from, comma separated"),
    Setting(
        "sse",
        _one_of("", "AES256", "aws:kms", "aws:kms:dsse"),
        "",
        "encryption of uploads to S3: `AES256`, `aws:kms` or `aws:kms:dsse`; empty: the bucket's default",
    ),
    Setting("sse_kms_key", _kms_key, "", "KMS key for `aws:kms`: its id, ARN or alias; empty: the account's own"),
    Setting(
        "storage_class",
        _one_of("", *STORAGE_CLASSES),
        "",
        "storage class of uploads that can be read at once (`STANDARD_IA`, ...); empty: the store's default",
    ),
    Setting("requester_pays", _flag, "false", "`true`: your account pays for requests to the bucket (requester pays)"),
    Setting(
        "checksum",
        _checksum,
        "crc64nvme",
        "checksum of uploads to S3: `crc64nvme` or `sha256`; for other stores `md5` (compares the ETag) or `none`",
    ),
    Setting(
        "log_level", _one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"), "INFO", "lowest level that is logged"
    ),
    Setting("log_format", _one_of("auto", "json", "text"), "auto", "`auto`: text on a terminal, JSON lines elsewhere"),
)
"""Every setting, in the order in which the documents list them."""

FURTHER_VARIABLES: Final = frozenset(
    {"VIPLAKE_CLIENT_ID", "VIPLAKE_CLIENT_SECRET", "VIPLAKE_CONFIG", "VIPLAKE_PROFILE"}
)
"""Variables of viplake that are not settings, so they are not allowed in `viplake.toml`."""

TABLES: Final = frozenset({"environments", "rules", "calendar", "objectives", "notify", "tables"})
"""Tables of `viplake.toml` that other parts read."""

BY_NAME: Final = {setting.name: setting for setting in SETTINGS}
LOOKS_SECRET: Final = re.compile(r"(?i)secret(?!s$)|passw|passphrase|token$|access_key|private_key|client_id|api_?key")
