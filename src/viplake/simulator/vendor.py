"""PURE. The state and the decisions of the simulated vendor: tokens, the once-an-hour rule, exports, files.

`now` is always an argument; the server around it asks the clock and speaks HTTP.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from viplake.simulator.tables import ExportShape, SimulatedFile, files_by_name, make_export

if TYPE_CHECKING:
    from collections.abc import Mapping

TriggerRule = Literal["rolling", "calendar"]

# configName -> environmentType: the two "threads" that are never mixed.
CONFIGURATIONS: Mapping[str, str] = MappingProxyType(
    {"onDemandExtract1DayProd": "Prod", "onDemandExtract1DayTest": "Test"}
)
# How many files join the list late, where they do.
LATE_FILES = 3


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """What the simulated vendor is like. All seconds are the vendor clock's.

    Attributes:
        company: the company code in call 4.
        client_id: who may come in.
        client_secret: with what; also the apiToken of call 4.
        host: where to listen.
        port: where to listen; 0 for any free port.
        replication_seconds: from a trigger to `Complete`.
        rule: how "once an hour" is read: a rolling 60 minutes, or once in each calendar hour.
        url_lifetime_seconds: how long a download URL lives at most; call 4's expirationInMinutes may be less.
        token_lifetime_seconds: how long a token lives.
        list_grows_seconds: the last 3 files join the list so long after `Complete`.
        latency_ms: milliseconds of the wall, not of the vendor clock, before each answer.
        export: what an export holds.
    """

    company: str = "DEMO"
    client_id: str = "demo-client"
    client_secret: str = field(default="demo-secret", repr=False)
    host: str = "127.0.0.1"
    port: int = 0
    replication_seconds: float = 1200
    rule: TriggerRule = "rolling"
    url_lifetime_seconds: float = 3600
    token_lifetime_seconds: int = 3600
    list_grows_seconds: float = 0
    latency_ms: float = 0
    export: ExportShape = field(default_factory=ExportShape)


@dataclass(frozen=True, slots=True)
class SimulatedJob:
    """One export at the simulated vendor.

    Attributes:
        guid: its JobGuid.
        config_name: the configuration that was triggered.
        triggered_at: when, UTC, whole seconds.
        folder: the part before a file's name in its key, with the slash.
        shape: what it holds.
    """

    guid: str
    config_name: str
    triggered_at: datetime
    folder: str
    shape: ExportShape = field(repr=False)

    @property
    def files(self) -> tuple[SimulatedFile, ...]:
        """All its files, those that join the list late among them."""
        # Made again on request, and not kept here: a simulator may run for weeks.
        return make_export(self.shape, self.config_name, self.triggered_at.replace(minute=0, second=0))

    def file(self, key: str) -> SimulatedFile | None:
        """The file with this key or name; None where there is none."""
        hour = self.triggered_at.replace(minute=0, second=0)
        return files_by_name(self.shape, self.config_name, hour).get(key.removeprefix(self.folder))

    def key(self, file: SimulatedFile) -> str:
        """The key of a file, as call 4 lists it."""
        return self.folder + file.name


@dataclass(frozen=True, slots=True)
class TooSoon:
    """A refused trigger: when the next one is allowed, and which earlier export prevents it."""

    next_allowed: datetime
    blocked_by: str


def _guid(seed: str) -> str:
    """A GUID of the usual shape (RFC 9562, version 8: made in a way of one's own)."""
    found = hashlib.sha256(seed.encode()).hexdigest()
    return f"{found[:8]}-{found[8:12]}-8{found[13:16]}-a{found[17:20]}-{found[20:32]}"


class VendorState:
    """The vendor's memory."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.jobs: dict[str, SimulatedJob] = {}
        self._tokens: dict[str, datetime] = {}
        self._issued = 0
        self._last: dict[str, SimulatedJob] = {}

    def issue_token(self, now: datetime) -> str:
        """A new token, valid for `token_lifetime_seconds`; those that are over are forgotten."""
        while self._tokens and next(iter(self._tokens.values())) <= now:  # oldest first: all live equally long
            del self._tokens[next(iter(self._tokens))]
        self._issued += 1
        seed = f"{self._issued}/{now.isoformat()}".encode()
        token = "sim." + hmac.digest(self.settings.client_secret.encode(), seed, "sha512").hex()
        self._tokens[token] = now + timedelta(seconds=self.settings.token_lifetime_seconds)
        return token

    def revoke_tokens(self) -> None:
        """Void every token given so far."""
        self._tokens.clear()

    def knows_token(self, token: str, now: datetime) -> bool:
        """Whether the token was given here and is not over."""
        until = self._tokens.get(token)
        return until is not None and now < until

    def refusal(self, config_name: str, now: datetime) -> TooSoon | None:
        """Return the refusal of a trigger by the once-an-hour rule; None if it is allowed."""
        last = self._last.get(config_name)
        if last is None:
            return None
        start = last.triggered_at
        if self.settings.rule == "calendar":
            start = start.replace(minute=0, second=0)
        until = start + timedelta(hours=1)
        return TooSoon(until, last.guid) if now < until else None

    def trigger(self, config_name: str, now: datetime) -> SimulatedJob:
        """Start an export; the caller has checked `refusal`."""
        at = now.replace(microsecond=0)  # so that a refusal can name the exact second
        settings = self.settings
        seed = f"{settings.company}/{config_name}/{at.isoformat()}/{len(self.jobs)}/{settings.export.seed}"
        guid = _guid(seed)
        folder = f"{settings.company}/{config_name}/{guid}/"
        job = SimulatedJob(guid, config_name, at, folder, settings.export)
        self.jobs[guid] = self._last[config_name] = job
        return job

    def stored(self, key: str) -> tuple[SimulatedJob, SimulatedFile] | None:
        """The file with this key in the storage, and its export."""
        folder, _, _ = key.rpartition("/")
        job = self.jobs.get(folder.rpartition("/")[2])
        file = job.file(key) if job is not None and key.startswith(job.folder) else None
        return None if job is None or file is None else (job, file)

    def last(self, config_name: str) -> SimulatedJob | None:
        """The newest export of a configuration."""
        return self._last.get(config_name)

    def previous(self, job: SimulatedJob) -> SimulatedJob:
        """The export of the same configuration before this one; this one, where there is none."""
        same = [other for other in self.jobs.values() if other.config_name == job.config_name]
        return same[max(same.index(job) - 1, 0)]

    def completes_at(self, job: SimulatedJob) -> datetime:
        """When the export is complete."""
        return job.triggered_at + timedelta(seconds=self.settings.replication_seconds)

    def listed(self, job: SimulatedJob, now: datetime) -> tuple[SimulatedFile, ...]:
        """The files that the list shows by now: none before the export is complete."""
        complete = self.completes_at(job)
        if now < complete:
            return ()
        grown = now >= complete + timedelta(seconds=self.settings.list_grows_seconds)
        return job.files if grown else job.files[:-LATE_FILES]
