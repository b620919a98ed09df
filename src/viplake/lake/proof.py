"""I/O. The proof in the lake: its owner (environment and company), the manifest, the stored files, and the Receipt."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import structlog

from viplake.concurrency import map_bounded
from viplake.errors import WITHHELD, LakeError, SettingsError
from viplake.lake import records
from viplake.lake.hours import hour_folder, listed_ledger_days, newest_proven
from viplake.lake.layout import PROMISE_NAME, RECEIPT_NAME
from viplake.lake.reconcile import judge, to_read_again
from viplake.model import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from viplake.lake import Lake
    from viplake.lake.store import Store
    from viplake.model import Hour, Promise, Receipt, StoredFile

log = structlog.get_logger(__name__)

_READ_AT_ONCE: Final = 4
"""Stored files hashed side by side: enough to hide latency, little enough to stay flat in memory."""


_EVENTS_AT_ONCE: Final = 16

_LOOKS: Final = 3
"""Times that an Hour with findings is looked at, as long as it changes meanwhile."""

_JOB_METRICS: Final = "historical_job_metrics.csv"
"""The dataset that says which Hours were delivered, as it is published."""

_HASHED_HERE: Final = 256 << 10
"""Smaller chunks are hashed on the event loop: 0.4 ms at 600 MB/s of MD5, no more than the hop to a thread."""


@dataclass(frozen=True, slots=True)
class LakeOwner:
    """The owner of a lake.

    Attributes:
        environment: `Prod` or `Test`.
        company: its code.
        number: of its record: `lake.json` is 1, `lake.2.json` is 2.
    """

    environment: str
    company: str
    number: int = 1


async def owner_of(lake: Lake) -> LakeOwner | None:
    """The lake's owner by the record with the highest number; None where the lake is unclaimed.

    Raises:
        LakeError: a record cannot be read.
    """
    owner = None
    for number in count(1):
        data = await lake.store.get(lake.layout.identity(number))
        if data is None:
            return owner
        owner = LakeOwner(*records.parse_identity(data), number)
    return None


async def own_lake(lake: Lake, *, environment: str, company: str) -> None:
    """Claim the lake for this environment and company, or make sure that it belongs to them.

    A wrong company can be corrected as long as nothing was delivered under it: with a record of the next number, which
    is only created. Of two companies that correct at once, one is refused.

    Raises:
        SettingsError: it belongs to others (`lake_mismatch`).
        LakeError: it cannot be read or written.
    """
    owner = await owner_of(lake)
    if owner is None:
        owner = await claim(lake, LakeOwner(environment, company))
    elif owner.environment == environment and owner.company != company and not await has_delivered(lake):
        log.warning("company_corrected", before=owner.company, now=company)
        before, owner = owner, await claim(lake, LakeOwner(environment, company, owner.number + 1))
        if owner.company == company and await has_delivered(lake):  # meanwhile, under the company before
            owner = await claim(lake, replace(before, number=owner.number + 1))
    _refuse_others(lake, owner, environment, company)


async def check_owner(lake: Lake, *, environment: str, company: str) -> None:
    """Make sure, reading only, that the lake still belongs to this environment and company.

    Raises:
        SettingsError: it belongs to others (`lake_mismatch`).
    """
    if (owner := await owner_of(lake)) is not None:
        _refuse_others(lake, owner, environment, company)


async def check_lake(lake: Lake, *, environment: str) -> None:
    """Make sure, reading only, that a lake that has an owner belongs to this environment.

    Raises:
        SettingsError: it belongs to another (`lake_mismatch`).
    """
    owner = await owner_of(lake)
    if owner is not None and owner.environment != environment:
        message = f"the lake at {lake.layout.root or '/'} belongs to {owner.environment}"
        raise SettingsError(message, cause="lake_mismatch")


def _refuse_others(lake: Lake, owner: LakeOwner, environment: str, company: str) -> None:
    if (owner.environment, owner.company) != (environment, company):
        raise SettingsError(
            f"the lake at {lake.layout.root or '/'} belongs to {owner.environment} of company {owner.company},"
            f" not to {environment} of {company}",
            cause="lake_mismatch",
        )


async def claim(lake: Lake, wanted: LakeOwner) -> LakeOwner:
    """Create the record of an owner; returns the owner that the lake has then, this one or another.

    Raises:
        LakeError: it cannot be written, or a record cannot be read.
    """
    key = lake.layout.identity(wanted.number)
    try:
        await lake.store.put_if_absent(key, records.identity_bytes(wanted.environment, wanted.company))
    except LakeError as error:
        if not error.transient:
            raise
    owner = await owner_of(lake)
    if owner is None or owner.number < wanted.number:
        raise LakeError(f"{key} could not be written")
    return owner


async def has_delivered(lake: Lake) -> bool:
    """Whether a Receipt, a `delivered` event or a delivered row of the datasets exists."""
    if await newest_proven(lake) is not None:
        return True
    rows = await lake.store.get(f"{lake.layout.observability}{_JOB_METRICS}")
    table = csv.DictReader(io.StringIO((rows or b"").decode(errors="replace")))
    if any((row.get("jobDelivered") or "").strip() == "1" for row in table):
        return True
    for day in await listed_ledger_days(lake):
        listed = await lake.store.files(lake.layout.ledger_day(day))
        keys = [file.key for file in listed if lake.layout.parse_event(file.key)]
        if any(await map_bounded(partial(_is_delivery, lake), keys, at_once=_EVENTS_AT_ONCE)):
            return True
    return False


async def _is_delivery(lake: Lake, key: str) -> bool:
    """Whether an event is of a delivery; one that cannot be read may be."""
    data = await lake.store.get(key)
    try:
        return data is not None and records.parse_event(data, key).event is records.EventKind.DELIVERED
    except LakeError:
        return True


async def read_promise(lake: Lake, hour: Hour) -> Promise | None:
    """The Hour's Promise, None where there is none.

    Raises:
        LakeError: it cannot be read.
    """
    data = await lake.store.get(lake.layout.promise(hour))
    return None if data is None else records.parse_promise(data)


async def read_receipt(lake: Lake, hour: Hour) -> Receipt | None:
    """The Hour's Receipt, None where there is none.

    Raises:
        LakeError: it cannot be read.
    """
    data = await lake.store.get(lake.layout.receipt(hour))
    return None if data is None else records.parse_receipt(data)


async def write_receipt(lake: Lake, receipt: Receipt) -> Receipt:
    """Write the Receipt unless there is one that proves the same files; return the one in the lake.

    Raises:
        LakeError: there is one that proves other content (`receipt_conflict`), or it cannot be written.
    """
    key = lake.layout.receipt(receipt.hour)
    try:
        if await lake.store.put_if_absent(key, records.receipt_bytes(receipt)):
            return receipt
    except LakeError as error:
        if not error.transient:
            raise
    standing = await read_receipt(lake, receipt.hour)
    if standing is None:
        raise LakeError(f"{key} could not be written")
    if _content(standing) != _content(receipt):
        raise LakeError(f"{key} proves other files than the ones that landed now", cause="receipt_conflict")
    return standing


def _content(receipt: Receipt) -> frozenset[tuple[str, int, str | None]]:
    return frozenset((file.name, file.size, file.md5) for file in receipt.files)


async def md5_of(store: Store, key: str) -> tuple[str, int] | None:
    """MD5 (32 hex digits) and bytes of a stored object, read once; None where it is gone."""
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    try:
        async for chunk in store.read(key):
            if len(chunk) < _HASHED_HERE:
                digest.update(chunk)
            else:
                await asyncio.to_thread(digest.update, chunk)
            size += len(chunk)
    except FileNotFoundError:
        return None
    return digest.hexdigest(), size


async def md5_of_many(lake: Lake, hour: Hour, names: Iterable[str]) -> dict[str, str]:
    """MD5s of files of an Hour, by name; empty for a file that is gone."""

    async def one(name: str) -> tuple[str, str]:
        found = await md5_of(lake.store, lake.layout.file(hour, name))
        return name, found[0] if found else ""

    return dict(await map_bounded(one, names, at_once=_READ_AT_ONCE))


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of `verify` for an Hour."""

    hour: Hour
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """As `viplake verify --json` prints it."""
        return {
            "hour": str(self.hour),
            "complete": self.verdict.complete,
            "valid": self.verdict.valid,
            "proof": self.verdict.proof,
            "findings": [
                {"kind": finding.kind, "file": finding.file, "detail": finding.detail}
                for finding in self.verdict.findings
            ],
        }


async def verify(lake: Lake, hour: Hour) -> Verified:
    """Compare landed with promised again, now.

    On S3 an equal ETag proves equal content; in folders everything is hashed again. A delivery or a removal that goes
    on meanwhile is no finding: where there are findings, all is read again until nothing has changed meanwhile.

    Raises:
        LakeError: the lake cannot be read. A record that cannot be read is a finding, and so is a file that the store
            does not give (`WITHHELD`).
    """
    seen = await _look(lake, hour)
    for _ in range(_LOOKS):
        verdict = await _judged(lake, hour, seen)
        if not verdict.findings or (now := await _look(lake, hour)) == seen:
            break
        seen = now
    return Verified(hour, verdict)


@dataclass(frozen=True, slots=True)
class _Seen:
    """The records of an Hour, the problems in reading them, and its stored files."""

    promise: Promise | None
    receipt: Receipt | None
    unreadable: tuple[Finding, ...]
    stored: Mapping[str, StoredFile]


async def _look(lake: Lake, hour: Hour) -> _Seen:
    promise, receipt, unreadable = await _records(lake, hour)
    return _Seen(promise, receipt, unreadable, {} if unreadable else (await hour_folder(lake, hour)).files)


async def _judged(lake: Lake, hour: Hour, seen: _Seen) -> Verdict:
    if seen.unreadable:
        return Verdict(complete=None, valid=None, findings=seen.unreadable)
    receipt = seen.receipt
    names = [] if receipt is None else to_read_again(seen.stored, receipt, etags_prove=lake.etags_prove)
    withheld: dict[str, str] = {}

    async def read(name: str) -> dict[str, str]:
        try:
            return await md5_of_many(lake, hour, [name])
        except LakeError as error:
            if error.cause.word not in WITHHELD:
                raise
            withheld[name] = error.message
            return {}

    again = {name: md5 for one in await map_bounded(read, names, at_once=_READ_AT_ONCE) for name, md5 in one.items()}
    verdict = judge(seen.promise, seen.stored, receipt, again, withheld)
    folder = lake.layout.folder(hour)
    why = "left out: no file of an Hour can have this key"
    odd = [Finding("odd_key", _text(key.removeprefix(folder)), why) for key in lake.store.left_out(folder)]
    return replace(verdict, findings=(*verdict.findings, *odd))


def _text(name: str) -> str:
    """A name that can be printed: bytes that are no text come as their codes."""
    return name.encode(errors="backslashreplace").decode()


async def _records(lake: Lake, hour: Hour) -> tuple[Promise | None, Receipt | None, tuple[Finding, ...]]:
    promise, receipt, findings = None, None, []
    try:
        promise = await read_promise(lake, hour)
    except LakeError as error:
        findings.append(_unreadable(error, PROMISE_NAME))
    try:
        receipt = await read_receipt(lake, hour)
    except LakeError as error:
        findings.append(_unreadable(error, RECEIPT_NAME))
    return promise, receipt, tuple(findings)


def _unreadable(error: LakeError, name: str) -> Finding:
    if error.cause.word not in {"ledger_damaged", "dest_archived"}:
        raise error
    return Finding("unreadable_record", name, error.message)
