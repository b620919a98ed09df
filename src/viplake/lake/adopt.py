"""I/O. Receipts for Hours that another program landed, where its manifest and the listing of the folder agree.

::

    for each Hour with files, without a Receipt:
        differences between manifest and listing -> listed, and nothing is written
        none                                     -> a Receipt over the sizes, create-only

The expected checksums are unknown, so these Receipts prove sizes only, and say so (`proof: size`). An
Hour with a ledger is one of viplake's own runs: `viplake collect` ends it, adoption leaves it alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from viplake.concurrency import map_bounded
from viplake.errors import LakeError, SettingsError, VendorError
from viplake.lake.hours import day_folders, listed_days, listed_ledger_days
from viplake.lake.layout import PROMISE_NAME, RECEIPT_NAME, check_names
from viplake.lake.proof import owner_of, read_promise, read_receipt, write_receipt
from viplake.lake.reconcile import judge
from viplake.model import Finding, ProvenFile, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from viplake.lake import Lake
    from viplake.lake.hours import HourFolder
    from viplake.model import Hour, Promise

_HOURS_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class AdoptedHour:
    """An Hour that got a Receipt, or would get one: its files and bytes."""

    hour: Hour
    files: int
    size: int


@dataclass(slots=True)
class Adoption:
    """The result of an adoption.

    Attributes:
        environment: of the lake.
        dry_run: nothing was written.
        adopted: ascending.
        present: Hours of the range that had a Receipt already.
        differences: what speaks against a Receipt, by Hour, ascending.
    """

    environment: str
    dry_run: bool = False
    adopted: list[AdoptedHour] = field(default_factory=list)
    present: int = 0
    differences: dict[Hour, tuple[Finding, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As `viplake adopt --json` prints it."""
        return {
            "schema_version": 1,
            "environment": self.environment,
            "dry_run": self.dry_run,
            "adopted": [
                {"hour": str(one.hour), "files": one.files, "bytes": one.size, "proof": "size"} for one in self.adopted
            ],
            "present": self.present,
            "differences": [
                {"hour": str(hour), "findings": [{"kind": f.kind, "file": f.file, "detail": f.detail} for f in found]}
                for hour, found in self.differences.items()
            ],
        }


async def adopt(
    lake: Lake,
    *,
    environment: str,
    company: str,
    first: Hour | None,
    last: Hour,
    now: datetime,
    dry_run: bool = False,
    progress: Callable[[AdoptedHour], None] | None = None,
) -> Adoption:
    """Write the Receipts of the Hours that another program landed whole.

    Args:
        lake: which.
        environment: of the lake.
        company: for the Receipts, where `lake.json` names none.
        first: of the range; None: the first Hour of the lake.
        last: of the range, included.
        now: the Hour that it is in may still grow, and is refused.
        dry_run: only compare.
        progress: given each Hour as it is done.

    Raises:
        SettingsError: the range is empty, or ends with the current Hour or later.
        LakeError: the lake cannot be read or written; what was adopted stays, and the next call goes on.
    """
    if last.end > now:
        raise SettingsError(
            f"{last} is not over: its files may still be coming", hint="End with an earlier Hour: --to HOUR."
        )
    if first is not None and last < first:
        raise SettingsError(f"--to {last} is before --from {first}")
    if (owner := await owner_of(lake)) is not None:
        company = owner.company
    done = Adoption(environment, dry_run)
    ledgers = frozenset(await listed_ledger_days(lake))
    for day in await listed_days(lake):
        if day > last.day or (first is not None and day < first.day):
            continue
        folders = [
            folder
            for hour, folder in (await day_folders(lake, day)).items()
            if folder.files and (first is None or first <= hour) and hour <= last
        ]
        own = await _with_ledger(lake, day) if day in ledgers else frozenset()
        compare = partial(_compare, lake, own=own, environment=environment)
        compared = await map_bounded(compare, folders, at_once=_HOURS_AT_ONCE)
        for folder, (promise, findings) in zip(folders, compared, strict=True):
            if findings:
                done.differences[folder.hour] = findings
            elif promise is None:
                done.present += 1
            else:
                if not dry_run:
                    await write_receipt(lake, _receipt(folder, promise, environment, company, now))
                done.adopted.append(AdoptedHour(folder.hour, len(promise.files), promise.size))
                if progress is not None:
                    progress(done.adopted[-1])
    return done


async def _with_ledger(lake: Lake, day: str) -> frozenset[Hour]:
    events = [lake.layout.parse_event(file.key) for file in await lake.store.files(lake.layout.ledger_day(day))]
    return frozenset(event[0] for event in events if event is not None)


async def _compare(
    lake: Lake, folder: HourFolder, own: frozenset[Hour], environment: str
) -> tuple[Promise | None, tuple[Finding, ...]]:
    """Return an Hour's manifest and the differences that prevent a Receipt; neither if it has a Receipt already."""
    if folder.proven:
        return None, await _damage(lake, folder.hour)
    if folder.hour in own:
        return None, (Finding("own_run", None, f"viplake ran this Hour itself: viplake collect {folder.hour}"),)
    promise = await _manifest(lake, folder.hour, environment)
    if isinstance(promise, Finding):
        return None, (promise,)
    verdict = judge(promise, folder.files, None, {})
    return promise, tuple(one for one in verdict.findings if one.kind not in {"no_receipt", "unexpected_file"})


async def _damage(lake: Lake, hour: Hour) -> tuple[Finding, ...]:
    """What is wrong with a Receipt that is there: it may be half written, and it is never written over."""
    try:
        await read_receipt(lake, hour)
    except LakeError as error:
        if error.cause.word != "ledger_damaged":
            raise
        return (Finding("unreadable_record", RECEIPT_NAME, error.message),)
    return ()


async def _manifest(lake: Lake, hour: Hour, environment: str) -> Promise | Finding:
    try:
        promise = await read_promise(lake, hour)
        check_names(promise.files if promise is not None else ())
    except (LakeError, VendorError) as error:
        if isinstance(error, LakeError) and error.cause.word != "ledger_damaged":
            raise
        return Finding("unreadable_record", PROMISE_NAME, error.message)
    if promise is None or not promise.files:
        return Finding("no_promise", None, f"no {PROMISE_NAME} lists any file")
    if promise.environment not in {None, environment}:
        return Finding("other_environment", PROMISE_NAME, f"it is of {promise.environment}")
    return promise


def _receipt(folder: HourFolder, promise: Promise, environment: str, company: str, now: datetime) -> Receipt:
    files = [folder.files[file.name] for file in promise.files]
    written = [file.modified for file in files if file.modified is not None]
    return Receipt(
        environment=environment,
        company=company,
        hour=folder.hour,
        job_guid="",
        files=tuple(
            ProvenFile(file.name, file.key, file.size, None, there.etag)
            for file, there in zip(promise.files, files, strict=True)
        ),
        delivered_at=max(written, default=now),
    )
