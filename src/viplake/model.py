"""PURE. The types that every part shares: Hours, environments, manifests, stored files, Receipts.

They have only arithmetic and checks of their own, so that each part can be read without the others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, Self, get_args

from viplake.errors import CAUSES, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 9998
"""Allowed years of Hours and times. An earlier year is a typing error (`0222` for `2022`) that would create a history
of millions of Hours. Later years cannot be represented."""

Severity = Literal["info", "ticket", "page"]
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
"""Severities of a breach or an incident, the lowest first."""

_ONE_HOUR: Final = timedelta(hours=1)
_HOUR_FORMS: Final = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})[T /-]?(\d{2})(?::?00)?Z?")


@dataclass(frozen=True, slots=True, eq=False)
class Hour:
    """One hour of UTC, the unit of everything; ordered, hashable.

    Attributes:
        start: its first moment, UTC, minutes and below zero.
    """

    start: datetime

    def __post_init__(self) -> None:
        """Raise unless it is the start of a UTC hour."""
        start = self.start
        if start.utcoffset() != timedelta(0) or start.minute or start.second or start.microsecond:
            raise ValueError(f"not the start of a UTC hour: {start.isoformat()}")

    @classmethod
    def of(cls, moment: datetime) -> Self:
        """Return the Hour that contains this moment (aware, any zone)."""
        return cls(moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0))

    @staticmethod
    def parse(text: str) -> Hour:
        """Read `2022-05-10T13` (also the folder `20220510/13` and the label `20220510-13`), UTC.

        Raises:
            SettingsError: it has another form, or no such hour exists.
        """
        if (hour := _parsed(text)) is not None:
            return hour
        raise SettingsError(f"not an Hour: {text!r}", hint="Write it as 2022-05-10T13, in UTC.")

    @property
    def end(self) -> datetime:
        """The end of the Hour (exclusive), UTC."""
        return self.start + _ONE_HOUR

    @property
    def day(self) -> str:
        """The name of its day's folder: `20220510`."""
        return self.label[:8]

    @property
    def folder(self) -> str:
        """Its folder below the prefix: `20220510/13`."""
        return self.label.replace("-", "/")

    @property
    def label(self) -> str:
        """Its `date` in the datasets: `20220510-13`."""
        return f"{self}".replace("-", "").replace("T", "-")

    def __str__(self) -> str:
        """As written on the command line: `2022-05-10T13`."""
        start = self.start  # a check of years writes each Hour: a format of a time takes five times as long
        return "%d-%02d-%02dT%02d" % (start.year, start.month, start.day, start.hour)  # noqa: UP031 - so does an f-string, twice

    def __contains__(self, moment: datetime) -> bool:
        """Return whether the moment is within the Hour."""
        return self.start <= moment < self.end

    # Written out, because a check of years hashes and compares millions of Hours: dataclass would build tuples.
    def __hash__(self) -> int:
        """Hash the moment itself."""
        return hash(self.start)

    def __eq__(self, other: object) -> bool:
        """Return whether it is the same Hour."""
        return self.start == other.start if isinstance(other, Hour) else NotImplemented

    def __lt__(self, other: Hour) -> bool:
        """Return whether it is before another Hour."""
        return self.start < other.start

    def __le__(self, other: Hour) -> bool:
        """Return whether it is before another Hour, or the same."""
        return self.start <= other.start

    def __gt__(self, other: Hour) -> bool:
        """Return whether it is after another Hour."""
        return self.start > other.start

    def __ge__(self, other: Hour) -> bool:
        """Return whether it is after another Hour, or the same."""
        return self.start >= other.start

    def shift(self, hours: int) -> Hour:
        """Return the Hour so many hours later; earlier if negative."""
        return _at(self.start + hours * _ONE_HOUR)

    def hours_since(self, earlier: Hour) -> int:
        """Return how many hours after another Hour it is; negative if it is before."""
        return (self.start - earlier.start) // _ONE_HOUR

    def to(self, last: Hour, every: int = 1) -> Iterator[Hour]:
        """Yield the Hours from this one to `last`, both included, `every` hours apart."""
        hour = self
        while hour <= last:
            yield hour
            hour = hour.shift(every)


@lru_cache(maxsize=1 << 17)  # a check of years reads the same labels in every dataset and incident
def _parsed(text: str) -> Hour | None:
    match = _HOUR_FORMS.fullmatch(text.strip())
    if match is None or not FIRST_YEAR <= int(match[1]) <= LAST_YEAR:
        return None
    try:
        year, month, day, hour = map(int, match.groups())
        return _at(datetime(year, month, day, hour, tzinfo=UTC))
    except ValueError:
        return None


def _at(start: datetime) -> Hour:
    """Return the Hour of a time that is surely the start of one: without the check, which a check of years feels."""
    hour = object.__new__(Hour)
    object.__setattr__(hour, "start", start)
    return hour


def stretches(hours: Iterable[Hour], every: int = 1) -> Iterator[list[Hour]]:
    """Group ascending Hours into lists of adjacent ones: each `every` hours after the one before."""
    stretch: list[Hour] = []
    for hour in hours:
        if stretch and hour != stretch[-1].shift(every):
            yield stretch
            stretch = []
        stretch.append(hour)
    if stretch:
        yield stretch


MISSED: Final = "missed"
"""Outcome of an Hour of which the lake shows neither a file nor a run; also its cause where viplake should have run."""

UNKNOWN: Final = "unknown"
"""Cause of an Hour that another program should have delivered, and its owner: neither is on record, and none is
guessed."""


@dataclass(frozen=True, slots=True)
class HourOutcome:
    """How an Hour ended, or that it has not. Commands, datasets, rules and reports render this value.

    Attributes:
        word: `delivered`, `failed` (an overdue Hour has failed, for now), `waiting` (its run has not ended), or
            `missed` (neither a file nor a run); of a history that was imported, what it says.
        cause: a word of `errors.CAUSES`, or `UNKNOWN`; None where nothing is wrong.
        owner: who has to act; None without a cause, or where this viplake does not know it.
    """

    word: str
    cause: str | None = None
    owner: str | None = None

    @classmethod
    def of(cls, word: str, cause: str | None = None) -> Self:
        """The outcome with the owner of its cause."""
        return cls(word, cause, CAUSES[cause].owner if cause is not None and cause in CAUSES else None)

    @classmethod
    def without_run(cls, *, delivered: bool, ours: bool) -> Self:
        """The outcome of an Hour without a ledger.

        Args:
            delivered: its folder holds files of an export, which another program put there.
            ours: it is after the first Hour with a ledger, so viplake should have run.
        """
        return cls("delivered") if delivered else cls.of(MISSED, MISSED if ours else UNKNOWN)


@dataclass(frozen=True, slots=True)
class Environment:
    """An export configuration at the vendor with its own lake; environments are never mixed.

    Attributes:
        name: `Prod`, `Test`, or one that the settings declare.
        config_name: configuration name in the trigger.
        prefix: of the hourly folders in a lake, with its closing slash.
        type: the `environmentType` of the files call; empty: its name.
        due: hour of the day (UTC) in which a daily export is expected; None: one is expected every Hour.
    """

    name: str
    config_name: str
    prefix: str
    type: str = ""
    due: int | None = None

    @property
    def vendor_type(self) -> str:
        """The `environmentType` of the files call."""
        return self.type or self.name

    @classmethod
    def named(cls, name: str, declared: Iterable[Environment] = ()) -> Environment:
        """Return the environment of exactly this name, built in or declared.

        Raises:
            SettingsError: there is no such environment.
        """
        known = (PROD, TEST, *declared)
        for environment in known:
            if environment.name == name:
                return environment
        meant = next((e.name for e in known if e.name.lower() == name.lower()), None)
        names = " or ".join(e.name for e in known)
        raise SettingsError(
            f"unknown environment {name!r}",
            hint=f"Did you mean {meant!r}? It is written exactly so." if meant else f"It is {names}, exactly.",
        )


PROD: Final = Environment("Prod", "onDemandExtract1DayProd", "IMOSDL/Hourly/")
TEST: Final = Environment("Test", "onDemandExtract1DayTest", "DEV/IMOSDL/Hourly/")


@dataclass(frozen=True, slots=True)
class PromisedFile:
    """One file of an ExportJob, as the vendor listed it.

    Attributes:
        key: the vendor's key, as it came.
        size: bytes.
        location: its URL without the query: no credential in it.
    """

    key: str
    size: int
    location: str = ""

    @property
    def name(self) -> str:
        """Its name in the hourly folder: the last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def is_marker(self) -> bool:
        """Whether it is the empty object that some tools create for a folder, which is not a file."""
        return self.key.endswith("/") and self.size == 0


@dataclass(frozen=True, slots=True)
class Promise:
    """The vendor's list of files for an ExportJob, in the vendor's order.

    Attributes:
        files: all of them, names distinct.
    """

    files: tuple[PromisedFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def names(self) -> frozenset[str]:
        """The names of all files."""
        return frozenset(file.name for file in self.files)

    @property
    def environment(self) -> str | None:
        """The environment that its keys or URLs name; None if they name none."""
        texts = [f"{file.key} {file.location}" for file in self.files]
        named = [one.name for one in (PROD, TEST) if any(one.config_name in text for text in texts)]
        return named[-1] if named else None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An object of the lake, as a listing or an upload returns it.

    Attributes:
        key: below the lake's root, the whole of it.
        size: bytes.
        etag: the store's ETag of the content, without quotes; None where the store has none.
        modified: time of the write by the store's clock, UTC; None right after an upload.
    """

    key: str
    size: int
    etag: str | None = None
    modified: datetime | None = None

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class ProvenFile:
    """One line of a Receipt.

    Attributes:
        name: in the hourly folder.
        key: at the vendor.
        size: bytes.
        md5: of the stored bytes, 32 hex digits; None where only the size was compared.
        etag: of the stored object; on S3 an equal ETag proves the file without reading it.
    """

    name: str
    key: str
    size: int
    md5: str | None
    etag: str | None


ProofKind = Literal["checksum", "size"]
"""What a Receipt is based on: checksums of the stored bytes, or sizes alone."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The commit marker of an Hour: every file of the manifest is stored.

    Attributes:
        environment: `Prod` or `Test`.
        company: the code in the files call.
        hour: of the folder.
        job_guid: of the ExportJob.
        files: every promised file, by name.
        delivered_at: when it was written, UTC.
        late: whether the Hour had missed its deadline.
    """

    environment: str
    company: str
    hour: Hour
    job_guid: str
    files: tuple[ProvenFile, ...]
    delivered_at: datetime
    late: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def proof(self) -> ProofKind:
        """`size` if a file has no checksum: another program delivered the Hour, and `viplake adopt` compared sizes."""
        return "size" if any(file.md5 is None for file in self.files) else "checksum"


FindingKind = Literal[
    "no_promise",
    "no_receipt",
    "missing_file",
    "wrong_size",
    "wrong_checksum",
    "unexpected_file",
    "odd_key",
    "unreadable_file",
    "unreadable_record",
    "own_run",
    "other_environment",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of a verification.

    Attributes:
        kind: of the finding; only `unexpected_file` and `odd_key` are harmless.
        file: its name; None if the finding is about the Hour.
        detail: the expected and the actual state.
    """

    kind: FindingKind
    file: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The stored files compared with the manifest, in the terms of BagIt (RFC 8493).

    Attributes:
        complete: every file of the manifest is present; None without a manifest.
        valid: sizes and checksums are right too; None without a Receipt.
        findings: mismatches, and harmless remarks.
        proof: what the Receipt is based on; None without one.
    """

    complete: bool | None
    valid: bool | None
    findings: tuple[Finding, ...] = ()
    proof: ProofKind | None = None

    @property
    def proven(self) -> bool:
        """Complete and valid."""
        return self.complete is True and self.valid is True
