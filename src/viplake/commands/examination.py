"""I/O. The checks of `viplake doctor`: each result with its cause, owner and next step.

It does what a run does, with the same client and store: it requests a token and writes an object. It sends no trigger,
and removes what it wrote. A check that cannot run because an earlier one failed is `skipped`, with the reason;
otherwise it would look like a pass.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import unquote, urlsplit

from yarl import URL

from viplake import config
from viplake.clock import Clock, SystemClock
from viplake.commands.assembly import lake_to_read
from viplake.errors import (
    CAUSES,
    CHECKS_FAILED,
    CREDENTIALS,
    LAKE_FAILED,
    OK,
    UNAVAILABLE,
    UNEXPECTED,
    USAGE,
    WAITING,
    LakeError,
    NetworkError,
    SettingsError,
    VendorError,
    ViplakeError,
)
from viplake.lake import Lake
from viplake.lake.layout import LONGEST_NAME
from viplake.lake.proof import has_delivered, owner_of
from viplake.lake.refusals import SHORT_NAMES
from viplake.lake.store import longest_name, open_store
from viplake.redact import redact
from viplake.vendor.http import Http
from viplake.vendor.wire import is_page
from viplake.wording import count_words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from datetime import datetime

    from viplake.lake.store import Store, StoreSettings
    from viplake.notify.settings import NotifySettings
    from viplake.vendor.wire import HttpAnswer

Status = Literal["ok", "warning", "failed", "skipped"]

SCHEMA_VERSION: Final = 1

SKEW_WARNING: Final = 60.0
"""Seconds of clock skew to warn about: more than the resolution of a Date header and a slow response explain."""

SKEW_FAILURE: Final = 15 * 60.0
"""Seconds from which on S3 refuses a request (Amazon S3 API Reference, "Error responses", RequestTimeTooSkewed)."""

DISK_WARNING: Final = 5_000_000_000
DISK_FAILURE: Final = 200_000_000
"""Free bytes of a folder lake: about five Hours of 1 GB; less than a small Hour."""

_ANSWER_CAP: Final = 64 * 1024
_SECONDS: Final = 20.0
"""Time limit in seconds for one request to the vendor."""

_WORST_FIRST: Final = (UNEXPECTED, USAGE, CREDENTIALS, LAKE_FAILED, UNAVAILABLE, WAITING, CHECKS_FAILED)
"""Exit codes in the order in which problems must be fixed."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Attributes:
        name: stable, for scripts.
        status: `ok`, `warning`, `failed` or `skipped`.
        detail: the finding, or why the check was skipped.
        cause: a word of `errors.CAUSES`, where something is wrong.
        fix: the next step, likewise.
    """

    name: str
    status: Status
    detail: str
    cause: str | None = None
    fix: str | None = None

    @property
    def owner(self) -> str | None:
        """Who has to act."""
        return CAUSES[self.cause].owner if self.cause else None

    def to_json(self) -> dict[str, Any]:
        """As `viplake doctor --json` prints it."""
        return {
            "name": self.name,
            "status": self.status,
            "cause": self.cause,
            "owner": self.owner,
            "detail": redact(self.detail),
            "fix": None if self.fix is None else redact(self.fix),
        }


async def try_channels(settings: config.Settings) -> tuple[Check, ...]:
    """Send a test message to every channel of `[notify]`; one check each."""
    from viplake.notify.sending import send_to_all, trial_message  # noqa: PLC0415 - only asked for

    try:
        checks = config.check_settings(settings)
        listening = await asyncio.to_thread(config.notifiers, settings, checks, config.Secrets.of(settings))
    except ViplakeError as error:
        return (Check("notify", "failed", error.message, error.cause.word, error.hint),)
    if not listening:
        return (Check("notify", "skipped", "viplake.toml names no channel in [notify]"),)
    answers = await send_to_all(listening, trial_message(settings.environment.name), SystemClock())
    return tuple(
        Check(f"notify {name}", "ok", "accepted a test message")
        if why is None
        else Check(f"notify {name}", "failed", why, "config", "Correct [notify] of viplake.toml, or the permissions.")
        for name, why in answers.items()
    )


@dataclass(frozen=True, slots=True)
class Origin:
    """A setting as it is, and where it came from: `flag`, `environment`, a place in `viplake.toml`, or `default`."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class Examination:
    """All results.

    Attributes:
        checks: in the order in which a run needs them.
        settings: all of them; empty where they could not be read.
    """

    checks: tuple[Check, ...]
    settings: tuple[Origin, ...] = ()

    @property
    def exit_code(self) -> int:
        """0, or that of the failed check that must be fixed first."""
        codes = {CAUSES[check.cause].exit_code for check in self.checks if check.status == "failed" and check.cause}
        return next((code for code in _WORST_FIRST if code in codes), OK)

    def to_json(self) -> dict[str, Any]:
        """As `viplake doctor --json` prints it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "checks": [check.to_json() for check in self.checks],
            "settings": [{"name": s.name, "value": redact(s.value), "origin": s.origin} for s in self.settings],
        }


def unreadable(error: SettingsError) -> Examination:
    """Return the result where the settings cannot be read."""
    return Examination((_failed("settings", error), *_skipped(_EVERYTHING, "the settings cannot be read")))


_ROUTES: Final = ("route token", "route export", "route files")
_LAKE: Final = ("lake owner", "lake create", "lake create-only", "lake read", "lake write", "lake list", "lake delete")
_EVERYTHING: Final = ("secret", *_ROUTES, "route downloads", "token", "lake", *_LAKE, "rules", "clock", "disk")


async def examine(
    settings: config.Settings,
    *,
    clock: Clock | None = None,
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> Examination:
    """Check everything that a run with these settings needs.

    Args:
        settings: of the command.
        clock: the clock to compare with others; default: the machine's.
        free_bytes: of the disk under a folder.
    """
    clock = clock or SystemClock()
    secrets = config.Secrets.of(settings)
    skews = _Skews(clock)
    secret = await _secret(secrets, settings)
    checks = [_settings(settings), secret]
    if secret.status == "failed" and not secrets.in_environment:
        checks += _skipped(
            (*_ROUTES, "route downloads", "token", "lake", *_LAKE, "rules"), "needs the secret, which could not be read"
        )
    else:
        checks += await _vendor(settings, secrets, secret, skews)
        checks += _with_rights(settings, secrets, await _lake(settings, secrets, skews))
        checks.append(await _rules(settings))
    checks += [skews.verdict(), _disk(settings, free_bytes)]
    return Examination(tuple(checks), tuple(_origins(settings)))


# -- settings and secret --------------------------------------------------------------------------------------


def _settings(settings: config.Settings) -> Check:
    where = f"{settings.config_file}" if settings.config_file else "no viplake.toml"
    profile = f", profile {settings.profile}" if settings.profile else ""
    try:
        config.check_settings(settings)
        settings.require_company()
    except SettingsError as error:
        return _failed("settings", error)
    return Check("settings", "ok", f"{settings.environment.name} of {settings.company}; {where}{profile}")


def _origins(settings: config.Settings) -> Iterator[Origin]:
    for setting in config.SETTINGS:
        value = settings.layout.prefix if setting.name == "prefix" else getattr(settings, setting.name)
        if setting.name == "environment":
            value = settings.environment.name
        if isinstance(value, frozenset):
            value = ",".join(sorted(value))
        elif isinstance(value, bool):
            value = "true" if value else "false"
        elif isinstance(value, float):
            value = f"{value:g}"
        yield Origin(setting.name, "" if value is None else str(value), settings.origins.get(setting.name, "default"))


async def _rules(settings: config.Settings) -> Check:
    """Check whether the rules of `viplake.toml` equal those that are stored in the lake."""
    from viplake.judge.rulebook import read_rulebook  # noqa: PLC0415 - as judging

    try:
        kept = await read_rulebook(await lake_to_read(settings))
    except ViplakeError as error:
        return Check("rules", "skipped", f"the rules of the lake cannot be read: {error.message}")
    if (warning := kept.warning(settings.sections)) is not None:
        return Check("rules", "warning", warning)
    try:
        found = config.check_settings(settings, kept.tables)
    except SettingsError as error:
        return Check("rules", "skipped", f"they cannot be read: {error.message}")
    where = f"version {kept.version} of the lake" if kept.version else "those of viplake.toml"
    planned = count_words(len(found.calendar.entries), "planned period")
    return Check("rules", "ok", f"{where}, with {planned}; {_channels(found.notify)}")


def _channels(notify: NotifySettings) -> str:
    """Who gets notifications."""
    if not notify.channels:
        return "incidents are recorded, but sent to no channel: see [notify]"
    return f"notifications go to {', '.join(notify.channels)} (viplake doctor --notify tries it)"


async def _secret(secrets: config.Secrets, settings: config.Settings) -> Check:
    try:
        keys = await asyncio.to_thread(secrets.read)
    except ViplakeError as error:
        return _failed("secret", error)
    return Check("secret", "ok", f"{settings.secrets} has {', '.join(sorted(keys))}")


# -- the vendor -----------------------------------------------------------------------------------------------


async def _vendor(settings: config.Settings, secrets: config.Secrets, secret: Check, skews: _Skews) -> list[Check]:
    """Check the routes to the vendor's three hosts, and request a token. `settings` reports a missing company."""
    try:
        settings = replace(settings, company=settings.company or "-")
        wanted = config.vendor_settings(settings, secrets)
        http = Http(wanted.network)
    except ViplakeError as error:
        rest = (*_ROUTES[1:], "route downloads", "token")
        return [_failed("route token", error), *_skipped(rest, "as route token")]
    urls = zip(_ROUTES, (wanted.token_url, f"{wanted.export_url}/CheckJobStatus", wanted.files_url), strict=True)
    async with http:
        checks = list(await asyncio.gather(*(_route(http, name, url, skews) for name, url in urls)))
    hosts = ", ".join(sorted(wanted.download_hosts)) or "Amazon S3"
    reason = f"the host is known only when the vendor lists files; allowed: {hosts}"
    if checks[0].status == "failed":
        token = Check("token", "skipped", "the host could not be reached")
    elif secret.status == "failed":
        token = Check("token", "skipped", "needs the secret, which could not be read")
    else:
        token = await _token(settings, secrets, skews.clock)
    return [*checks, Check("route downloads", "skipped", reason), token]


async def _route(http: Http, name: str, url: str, skews: _Skews) -> Check:
    """Send a GET without a credential: any response of the vendor shows that the route works."""
    target = URL(url, encoded=True)
    way = http.network.way_to(url)
    try:
        answer = await http.call(name, "GET", url, seconds=_SECONDS, cap=_ANSWER_CAP)
        _refuse_pages(answer, target)
    except ViplakeError as error:
        return _failed(name, error, f" ({way})")
    skews.note(target.host or "", answer.headers.get("date"))
    return Check(name, "ok", f"{target.host} {way}, answers {answer.status}{_meaning(answer.status)}")


def _meaning(status: int) -> str:
    """Return the meaning of a response to a request without a credential."""
    if status in {401, 403, 404, 405}:
        return ": expected, because this check sends a GET without a credential"
    return ""


def _refuse_pages(answer: HttpAnswer, target: URL) -> None:
    """Raise for a web page where an API should be: a proxy or firewall responded instead of the vendor."""
    hint = "Ask the owner of the proxy to allow the host, and check the VIPLAKE_*_URL settings."
    if is_page(answer) and answer.status == 403:  # noqa: PLR2004 - HTTP: forbidden
        raise NetworkError(
            f"{target.host} was answered by a proxy: 403 with a web page", cause="intercepted", hint=hint
        )
    if answer.flaw or (is_page(answer) and answer.accepted):
        what = answer.flaw or f"is {answer.status} with a web page"
        raise VendorError(f"the response of {target.host} {what}: a block page of a proxy, or another host", hint=hint)


async def _token(settings: config.Settings, secrets: config.Secrets, clock: Clock) -> Check:
    try:
        async with config.vendor(settings, secrets, clock) as vendor:
            await vendor.authorize()
    except ViplakeError as error:
        return _failed("token", error)
    return Check("token", "ok", "the vendor accepts the client id and secret")


# -- the lake -------------------------------------------------------------------------------------------------


async def _lake(settings: config.Settings, secrets: config.Secrets, skews: _Skews) -> list[Check]:
    way = ""
    place: StoreSettings | None = None
    try:
        place = config.store_settings(settings, secrets)
        way = f" ({_way(place)})"
        _refuse_unmakeable(place)
        if (folder := _folder_of(place.url)) and not folder.exists():
            warning = Check("lake", "warning", f"{folder} does not exist yet; the first run makes it", "folder_missing")
            fix = "Nothing to do, unless a disk should be mounted there."
            return [replace(warning, fix=fix), _unclaimed(settings), *_skipped(_LAKE[1:], "there is no folder yet")]
        store = open_store(place)
        owner = await _owner(Lake(store, settings.layout), settings)
    except ViplakeError as error:
        refused = _with_next_step(_failed("lake", error, way), place)
        if error.cause.word != "dest_denied":
            return [refused, *_skipped(_LAKE, "the lake cannot be reached")]
        return [refused, *_skipped(_LAKE[:-2], "nothing can be read"), *await probe_list(store, settings.layout.root)]
    reached = Check("lake", "ok", place.url + way)
    most = longest_name(place.url)
    if most is not None and most < LONGEST_NAME:
        detail = f"{place.url}: the mount takes names of {most} bytes, and an Hour may have names of {LONGEST_NAME}"
        reached = Check("lake", "warning", detail, "dest_io", SHORT_NAMES)
    if owner.status == "failed":
        return [reached, owner, *_skipped(_LAKE[1:], "the lake belongs to another environment or company")]
    return [reached, owner, *await probe(store, settings.layout.root, skews if place.url.startswith("s3:") else None)]


def _with_next_step(check: Check, place: StoreSettings | None) -> Check:
    """Replace the fix by the command or the variable that it needs, where the store is S3."""
    if place is None or not place.url.startswith("s3:"):
        return check
    bucket = urlsplit(place.url).netloc
    if check.cause == "dest_missing":
        region = f" --region {place.region}" if place.region else ""
        return replace(check, fix=f"Create the bucket: aws s3 mb s3://{bucket}{region}. Or correct VIPLAKE_LAKE.")
    if place.endpoint and check.cause in {"dest_unavailable", "network"}:
        return replace(check, fix=f"AWS_ENDPOINT_URL_S3 is {place.endpoint}: check that it runs, or unset it.")
    return check


def _with_rights(settings: config.Settings, secrets: config.Secrets, checks: list[Check]) -> list[Check]:
    """If S3 denies something, the fix lists all rights of a run, so that they can be granted at once."""
    if all(check.cause != "dest_denied" for check in checks):
        return checks
    url = urlsplit(config.lake_url(settings, secrets))
    below = "/".join(part for part in (url.netloc, url.path.strip("/"), settings.layout.root.strip("/")) if part)
    fix = (
        f"Grant s3:PutObject, s3:GetObject and s3:AbortMultipartUpload on arn:aws:s3:::{below}/*,"
        f" s3:ListBucket on arn:aws:s3:::{url.netloc}, and s3:DeleteObject on arn:aws:s3:::{below}/_viplake/history/*,"
        f" .../_viplake/incidents/* and .../_viplake/doctor/*."
    )
    return [replace(check, fix=fix) if check.cause == "dest_denied" else check for check in checks]


def _way(place: StoreSettings) -> str:
    """Return how the store is reached: host, proxy, certificates and region."""
    if not place.url.startswith("s3:"):
        return "a folder"
    from viplake.network.aws import AwsAccess, bucket_address  # noqa: PLC0415 - botocore: not for folders

    access = AwsAccess(region=place.region, profile=place.profile)
    where = bucket_address(urlsplit(place.url).netloc, access, endpoint=place.endpoint)
    return f"{urlsplit(where.endpoint).hostname} {place.network.way_to(where.endpoint)}, region {where.region}"


def _folder_of(url: str) -> Path | None:
    return Path(unquote(urlsplit(url).path)) if urlsplit(url).scheme == "file" else None


def _refuse_unmakeable(place: StoreSettings) -> None:
    """Raise if the folder is missing and cannot be created."""
    folder = _folder_of(place.url)
    if folder is None or folder.exists():
        return
    there = next(parent for parent in folder.parents if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise LakeError(f"{folder} does not exist, and cannot be made in {there}", cause="dest_io")


def _unclaimed(settings: config.Settings) -> Check:
    root = settings.layout.root or "the lake's top"
    message = f"{root} is unclaimed; the first run will assign it to {_mine(settings)}; {_unproven(settings)}"
    return Check("lake owner", "ok", message)


def _mine(settings: config.Settings) -> str:
    return f"{settings.environment.name} of {settings.company or 'a company that is not given'}"


def _unproven(settings: config.Settings) -> str:
    company = "this company" if settings.company is None else f"the company {settings.company!r}"
    return f"no Hour was delivered yet, so it is not proven that Veson knows {company}"


async def _owner(lake: Lake, settings: config.Settings) -> Check:
    """Check the owner of the lake, and whether the company is proven; Veson checks it only when it lists files.

    Raises:
        LakeError: the lake cannot be read.
    """
    mine, unproven = _mine(settings), _unproven(settings)
    root = settings.layout.root or "the lake's top"
    try:
        owner = await owner_of(lake)
    except LakeError as error:
        if error.cause.word not in {"ledger_damaged", "lake_format"}:
            raise
        return _failed("lake owner", error)
    if owner is None:
        return _unclaimed(settings)
    its = f"{owner.environment} of {owner.company}"
    if owner.environment == settings.environment.name:
        delivered = await has_delivered(lake)
        if settings.company in {None, owner.company}:
            return Check("lake owner", "ok", f"{root} belongs to {its}{'' if delivered else f'; {unproven}'}")
        if not delivered:
            message = f"{root} belongs to {its}; the next run will correct it to {mine}; {unproven}"
            return Check("lake owner", "ok", message)
    return _failed("lake owner", SettingsError(f"{root} belongs to {its}, not to {mine}", cause="lake_mismatch"))


async def probe(store: Store, root: str, skews: _Skews | None = None) -> list[Check]:
    """Create, create again, read, overwrite, list and remove one object, as a run does with its records.

    Args:
        store: of the lake.
        root: below the lake's URL, with its closing slash; the object is in `_viplake/doctor/` there.
        skews: collects the store's timestamp; None where the store has no clock of its own.
    """
    folder = f"{root}_viplake/doctor/"
    key = f"{folder}{uuid.uuid4().hex}"
    created = await _try("lake create", lambda: _create(store, key))
    if created.status == "failed":
        return [created, *_skipped(_LAKE[2:5], "nothing could be created"), *await probe_list(store, root)]
    checks = [
        created,
        await _try("lake create-only", lambda: _create_again(store, key)),
        await _try("lake read", lambda: _read(store, key)),
        await _try("lake write", lambda: _write(store, key)),
        await _try("lake list", lambda: _list(store, folder, key, skews)),
    ]
    return [*checks, await _try("lake delete", lambda: _delete(store, key))]


async def probe_list(store: Store, root: str) -> list[Check]:
    """Check listing alone, which may be allowed where writing is not."""
    listed = await _try("lake list", lambda: _list(store, f"{root}_viplake/doctor/", None, None))
    return [listed, Check("lake delete", "skipped", "there is nothing to delete")]


async def _create(store: Store, key: str) -> str:
    try:
        made = await store.put_if_absent(key, b"viplake doctor")
    except LakeError as error:
        if error.cause.word != "dest_feature":
            raise
        missing = await _missing_feature(store, key)
        raise LakeError(
            f"the store lacks {missing}: {error.message}", cause="dest_feature", hint=error.cause.remedy
        ) from None
    if not made:
        raise LakeError(
            f"the store reports that the new random key {key} already exists: its conditional write is broken",
            cause="dest_unavailable",
        )
    return f"{key} was created"


async def _missing_feature(store: Store, key: str) -> str:
    """Return which feature a store lacks that refused to create an object: checksum or conditional write."""
    try:
        await store.put(key, b"viplake doctor")
    except LakeError as error:
        return "the checksum of uploads (VIPLAKE_CHECKSUM)" if error.cause.word == "dest_feature" else "a feature"
    await store.delete(key)
    return "conditional writes (If-None-Match on PUT), which keep two schedulers apart"


async def _create_again(store: Store, key: str) -> str:
    if await store.put_if_absent(key, b"a second writer"):
        raise SettingsError(
            "the store accepted a second create of the same object: two schedulers would both trigger",
            hint="Use a store that honours If-None-Match: * on PUT, as Amazon S3 does.",
        )
    return "a second writer of the same object is refused"


async def _read(store: Store, key: str) -> str:
    if await store.get(key) != b"viplake doctor":
        raise LakeError(f"{key} was read back with other content than was written", cause="dest_unavailable")
    return "what was written is read back"


async def _write(store: Store, key: str) -> str:
    await store.put(key, b"viplake doctor, again")
    return "an object may be written over, as a file of an Hour without a Receipt may"


async def _list(store: Store, folder: str, key: str | None, skews: _Skews | None) -> str:
    found = {file.key: file for file in await store.files(folder)}
    if key is None:
        return "the lake may be listed"
    if key not in found:
        raise LakeError(f"{key} was written, but the listing lacks it", cause="dest_unavailable")
    if skews is not None and (modified := found[key].modified) is not None:
        skews.add("the store", modified)
    return "the listing shows it"


async def _delete(store: Store, key: str) -> str:
    try:
        await store.delete(key)
    except LakeError as error:
        if error.cause.word != "dest_denied":
            raise
        return f"deleting is not allowed: a run does not need it, but old versions of the datasets pile up; {key} stays"
    return "the object is removed again"


# -- clock and disk -------------------------------------------------------------------------------------------


class _Skews:
    """Clock skews of other hosts, compared with this machine."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._found: list[tuple[float, str]] = []

    def note(self, host: str, date: str | None) -> None:
        """Add the time of a Date header, if there is one."""
        try:
            self.add(host, parsedate_to_datetime(date or ""))
        except ValueError:
            return

    def add(self, host: str, shown: datetime) -> None:
        """Add the current time of another clock."""
        if shown.tzinfo is not None:
            self._found.append(((self.clock.now() - shown).total_seconds(), host))

    def verdict(self) -> Check:
        """Return the result for the largest skew."""
        if not self._found:
            return Check("clock", "skipped", "no server sent its time")
        skew, host = max(self._found, key=lambda found: abs(found[0]))
        words = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} {host}"
        if abs(skew) < SKEW_WARNING:
            return Check("clock", "ok", f"within {max(abs(skew), 1):.0f} s of {host}")
        status: Status = "failed" if abs(skew) >= SKEW_FAILURE else "warning"
        return Check("clock", status, f"this machine's clock is {words}", "clock", CAUSES["clock"].remedy)


def _disk(settings: config.Settings, free_bytes: Callable[[Path], int]) -> Check:
    folder = _folder_of(settings.lake or "")
    if folder is None:
        return Check("disk", "skipped", "applies to folder lakes only")
    there = next(place for place in (folder, *folder.parents) if place.is_dir())
    try:
        free = free_bytes(there)
    except OSError as error:
        return _failed("disk", LakeError(f"cannot read the free space at {there}: {error.strerror}", cause="dest_io"))
    words = f"{free / 1e9:.1f} GB free at {there}"
    if free >= DISK_WARNING:
        return Check("disk", "ok", words)
    status: Status = "failed" if free < DISK_FAILURE else "warning"
    return Check("disk", status, words, "disk_full", CAUSES["disk_full"].remedy)


# -- checks as values -----------------------------------------------------------------------------------------


async def _try(name: str, work: Callable[[], Awaitable[str]]) -> Check:
    try:
        return Check(name, "ok", await work())
    except ViplakeError as error:
        return _failed(name, error)


def _failed(name: str, error: ViplakeError, more: str = "") -> Check:
    return Check(name, "failed", error.message + more, error.cause.word, error.hint)


def _skipped(names: tuple[str, ...], reason: str) -> list[Check]:
    return [Check(name, "skipped", reason) for name in names]
