"""PURE. The bytes of every record of an Hour and of a lake, and the one way in which a record is read.

`strictjson` reads the JSON first: it refuses doubled members, NaN and half characters, which msgspec accepts. Then
msgspec checks the types. Unknown members are ignored, so that an older viplake reads the records of a newer one, as
long as their format is the same.
"""

from __future__ import annotations

import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec

from viplake import strictjson
from viplake.errors import LakeError, SettingsError
from viplake.lake.layout import PROMISE_NAME, RECEIPT_NAME
from viplake.model import (
    FIRST_YEAR,
    LAST_YEAR,
    Hour,
    HourOutcome,
    Promise,
    PromisedFile,
    ProofKind,
    ProvenFile,
    Receipt,
)
from viplake.strictjson import LARGEST_COUNT, count_of

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT: Final = 1
"""Version of the records; a higher one in a lake is refused."""

Count = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_COUNT)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Seconds = Annotated[float, msgspec.Meta(ge=-LARGEST_COUNT, le=LARGEST_COUNT)]

T = TypeVar("T")


# -- reading and writing any record -------------------------------------------------------------------------------


class Part(msgspec.Struct, frozen=True):
    """A record, or a part of one. Its times are UTC, to the millisecond."""

    def __post_init__(self) -> None:
        """Bring the times to UTC; ValueError where one is outside the years of records."""
        for name in self.__struct_fields__:
            if isinstance(moment := getattr(self, name), datetime):
                msgspec.structs.force_setattr(self, name, _in_utc(moment))

    def members(self) -> dict[str, Any]:
        """The members by name."""
        return msgspec.structs.asdict(self)


class _Format(msgspec.Struct, frozen=True):
    format: Count


class _NewerError(Exception):
    """A record of a format that this viplake does not know."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Add the key of a record to errors of reading it.

    Raises:
        LakeError: it cannot be read (`ledger_damaged`), or a newer viplake wrote it (`lake_format`).
    """
    try:
        yield
    except _NewerError as error:
        raise LakeError(f"{what} was written by a newer viplake: {error}", cause="lake_format") from None
    except (ValueError, TypeError, SettingsError, OSError, EOFError, zlib.error) as error:
        raise LakeError(f"{what} cannot be read: {error}", cause="ledger_damaged") from None


def decode(data: bytes, kind: type[T], *, has_format: bool = True, newest: int = FORMAT) -> T:
    """Read a record, within `reading`.

    Args:
        data: its bytes, JSON.
        kind: what it is: a `Part`, or a type that msgspec knows.
        has_format: it says in which format it was written.
        newest: the newest format that this viplake knows.
    """
    value = strictjson.loads(data)
    if has_format and (written := msgspec.convert(value, _Format).format) > newest:
        raise _NewerError(f"it has format {written}, this one knows {newest}")
    return msgspec.convert(value, kind)


def encode(value: Any) -> bytes:
    """The bytes of a record; its times as `utc` writes them."""
    return strictjson.dumps(msgspec.to_builtins(value, builtin_types=(datetime,)), default=utc)


def utc(moment: datetime) -> str:
    """Return a moment as records and JSON have it: ISO 8601, UTC, milliseconds, `Z`."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_utc(text: str) -> datetime:
    """The moment written so, UTC, to the millisecond.

    Raises:
        ValueError: it is no such moment, has no zone, or is outside the years of records.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"no zone: {text!r}")
    return _in_utc(moment)


def _in_utc(moment: datetime) -> datetime:
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:  # at the end of time a deadline could not be computed
        raise ValueError(f"not a time in a record: {moment}")
    return moment.astimezone(UTC).replace(microsecond=moment.microsecond // 1000 * 1000)


# -- the Promise --------------------------------------------------------------------------------------------------


class _Promised(Part, frozen=True):
    key: str
    size: int | str
    presignedDownloadURL: str = ""  # noqa: N815 - the vendor's name


def promise_bytes(promise: Promise) -> bytes:
    """The Promise as the vendor's list has it, but for the credentials in its URLs."""
    return encode([{"key": f.key, "presignedDownloadURL": f.location, "size": f.size} for f in promise.files])


def parse_promise(data: bytes) -> Promise:
    """Read a Promise, ours or the old script's. URLs of the old one still have signatures: they are cut off here.

    Raises:
        LakeError: it is not one (`ledger_damaged`).
    """
    with reading(f"a {PROMISE_NAME}"):
        entries = decode(data, list[_Promised], has_format=False)
        files = [PromisedFile(e.key, count_of(e.size), e.presignedDownloadURL.partition("?")[0]) for e in entries]
    return Promise(tuple(file for file in files if not file.is_marker))


# -- the Receipt --------------------------------------------------------------------------------------------------


class _Proven(Part, frozen=True):
    name: str
    key: str
    size: Count
    md5: str | None
    etag: str | None = None


class _Receipt(Part, frozen=True):
    environment: str
    company: str
    hour: str
    job_guid: str
    delivered_at: Moment
    files: tuple[_Proven, ...]
    late: bool = False
    proof: ProofKind = "checksum"

    def __post_init__(self) -> None:
        """Raise if a file lacks a checksum in a Receipt based on checksums, or has one in a Receipt based on sizes."""
        super(_Receipt, self).__post_init__()  # noqa: UP008 - a Struct has no __class__ cell
        if any((file.md5 is None) != (self.proof == "size") for file in self.files):
            raise ValueError(f"its proof is {self.proof}, and its files do not fit")


def receipt_bytes(receipt: Receipt) -> bytes:
    """The Receipt as JSON."""
    return encode(
        {
            "format": FORMAT,
            "environment": receipt.environment,
            "company": receipt.company,
            "hour": str(receipt.hour),
            "job_guid": receipt.job_guid,
            "delivered_at": receipt.delivered_at,
            "late": receipt.late,
            **({"proof": receipt.proof} if receipt.proof == "size" else {}),
            "bytes": receipt.size,
            "files": receipt.files,
        }
    )


def parse_receipt(data: bytes) -> Receipt:
    """Read a Receipt.

    Raises:
        LakeError: it is not one (`ledger_damaged`), or of a newer format (`lake_format`).
    """
    with reading(f"a {RECEIPT_NAME}"):
        record = decode(data, _Receipt)
        files = tuple(ProvenFile(**file.members()) for file in record.files)
        members = record.members() | {"hour": Hour.parse(record.hour), "files": files}
        members.pop("proof")
        return Receipt(**members)


# -- the owner of a lake ------------------------------------------------------------------------------------------


class _Identity(Part, frozen=True):
    environment: str
    company: str


def identity_bytes(environment: str, company: str) -> bytes:
    """`lake.json`: the environment and the company that own the lake."""
    return encode({"format": FORMAT, "environment": environment, "company": company})


def parse_identity(data: bytes) -> tuple[str, str]:
    """The environment and company of a `lake.json`.

    Raises:
        LakeError: it cannot be read (`ledger_damaged`), or is of a newer format (`lake_format`).
    """
    with reading("lake.json"):
        record = decode(data, _Identity)
    return record.environment, record.company


# -- the ledger ---------------------------------------------------------------------------------------------------


class EventKind(StrEnum):
    """The `event` of a record of the ledger."""

    DEFERRED = "deferred"
    CLAIMED = "claimed"
    REPOSTING = "reposting"
    TRIGGERED = "triggered"
    REPLICATED = "replicated"
    PROMISED = "promised"
    WORKING = "working"
    OVERDUE = "overdue"
    DELIVERED = "delivered"
    FAILED = "failed"
    REOPENED = "reopened"


@dataclass(frozen=True, slots=True)
class Worker:
    """The process that wrote an event, exactly enough to find out whether it still runs.

    Attributes:
        host: the machine and its process table.
        pid: the process.
        started: when that process began, in the system's own count, so that a pid used anew is no sign of life.
    """

    host: str
    pid: Count
    started: str = ""


class EventRecord(Part, frozen=True):
    """An event as the ledger stores it; the run and observation read the same record.

    Attributes:
        event, at, nonce, worker: of every event.
        posts, late, claimed_at, triggered_at, replicated_at, seconds: what a last event repeats of the run.
        files, bytes: of a delivery; every `delivered` event has them.
    """

    event: EventKind
    at: Moment
    nonce: str
    worker: Worker
    job_guid: str | msgspec.UnsetType | None = msgspec.UNSET
    cause: str | msgspec.UnsetType | None = msgspec.UNSET
    detail: str | msgspec.UnsetType | None = msgspec.UNSET
    not_before: Moment | None = None
    unsent: bool = False
    unproven: tuple[str, ...] = ()
    files: Count | None = None
    bytes: Count | None = None
    missing_tables: tuple[str, ...] | None = None
    requests: Count | None = None
    seconds: dict[str, Seconds | None] | None = None
    posts: Count | None = None
    late: bool = False
    claimed_at: Moment | None = None
    triggered_at: Moment | None = None
    replicated_at: Moment | None = None

    @property
    def outcome(self) -> HourOutcome:
        """Return the outcome of an Hour that has this as its last event."""
        return outcome_after(self.event, self.cause or None, overdue=self.late)

    def __post_init__(self) -> None:
        """Refuse a delivery without its figures."""
        super(EventRecord, self).__post_init__()  # noqa: UP008 - a Struct has no __class__ cell
        if self.event is EventKind.DELIVERED and (self.files is None or self.bytes is None):
            raise ValueError("a delivery without files or bytes")

    @property
    def data(self) -> dict[str, Any]:
        """The members that not every event has, where it has them; a null of the first three counts: it clears them."""
        common, clears = {"event", "at", "nonce", "worker"}, {"job_guid", "cause", "detail"}
        given = {name: value for name, value in self.members().items() if name not in common}
        return {name: v for name, v in given.items() if v is not msgspec.UNSET and (name in clears or v)}


def outcome_after(last: EventKind, cause: str | None, *, overdue: bool) -> HourOutcome:
    """How an Hour has ended after its last event.

    Args:
        last: what happened last.
        cause: that the run gave last.
        overdue: a deadline has passed; later ticks still try, and until one succeeds the Hour has failed.
    """
    if last is EventKind.DELIVERED:
        return HourOutcome("delivered")
    trying = {EventKind.REPLICATED, EventKind.PROMISED, EventKind.WORKING}
    if last in {EventKind.FAILED, EventKind.OVERDUE} or (overdue and last in trying):
        return HourOutcome.of("failed", cause or "unexpected")
    return HourOutcome("waiting")


def event_bytes(kind: EventKind, at: datetime, nonce: str, worker: Worker, data: dict[str, Any]) -> bytes:
    """An event of the ledger; its further members in the order in which they are given."""
    return encode({"format": FORMAT, "event": kind, "at": at, "nonce": nonce, "worker": worker, **data})


def parse_event(data: bytes, key: str) -> EventRecord:
    """Read an event of the ledger.

    Raises:
        LakeError: it cannot be read (`ledger_damaged`), or is of a newer format (`lake_format`).
    """
    with reading(key):
        return decode(data, EventRecord)
