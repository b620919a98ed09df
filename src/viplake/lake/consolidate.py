"""I/O. Copies the Hours that a lake lacks from other lakes: other buckets, other prefixes, never another environment.

It compares by name and size, Hour by Hour, and so goes on where it stopped: an Hour's files come first, its
Promise (without the signatures in its URLs) after them, its Receipt last. What the lake already has stays as it is:
an Hour that differs is reported, not touched. If it is unknown whether both ends belong to one environment, nothing
is copied.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import structlog

from viplake.concurrency import map_bounded
from viplake.errors import WITHHELD, LakeError, SettingsError
from viplake.lake import records
from viplake.lake.hours import day_folders, listed_days, listed_ledger_days, named_hours
from viplake.lake.layout import PROMISE_NAME, RECEIPT_NAME
from viplake.lake.proof import check_lake, md5_of_many, owner_of
from viplake.lake.store import refuse_long_names
from viplake.model import PROD, TEST, Hour
from viplake.network.s3 import COPIES_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Callable,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
        Set as AbstractSet,
    )

    from viplake.lake import Lake
    from viplake.lake.store import ServerCopy
    from viplake.model import Promise, Receipt

T = TypeVar("T")

log = structlog.get_logger(__name__)

SMALL: Final = 8 << 20
"""Bytes up to which a file is copied in one piece; larger ones are streamed."""

SMALL_AT_ONCE: Final = 24
LARGE_AT_ONCE: Final = 2
"""Together at most 24 x 8 MiB and two streams in flight: flat memory, whatever the sizes."""

HOURS_AT_ONCE: Final = 8

FILES_AT_ONCE: Final = 64
"""Files of an Hour that wait for their turn or are copied."""

_DAYS_AT_ONCE: Final = 8

_HOURS_TOGETHER: Final = 192
"""Hours whose records are read before the first of them is copied."""


@dataclass(frozen=True, slots=True)
class Span:
    """A range of Hours, both ends included."""

    first: Hour
    last: Hour

    def __contains__(self, hour: Hour) -> bool:
        """Return whether it contains the Hour."""
        return self.first <= hour <= self.last

    def __str__(self) -> str:
        """As a summary shows it."""
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


@dataclass(frozen=True, slots=True)
class Source:
    """A lake to copy from.

    Attributes:
        lake: which; the usual paths and prefixes show its environment.
        environment: as the user states it, `Prod` or `Test`; None: it must follow from the lake.
        only: take just these Hours from it, and from no source without such a list; empty: all that it has.
        server_copy: lets S3 copy by itself, or the reason why the files must pass here (`store.server_copy`).
    """

    lake: Lake
    environment: str | None = None
    only: tuple[Span, ...] = ()
    server_copy: ServerCopy | str = "one of the two lakes is not on S3"


@dataclass(frozen=True, slots=True)
class CopiedHour:
    """An Hour that was copied, or (dry run) would be.

    Attributes:
        hour: which.
        source: URL of the lake that it came from.
        files, size: that the lake lacked of it; bytes.
        streamed: bytes of it that pass this machine; S3 copies the others by itself.
    """

    hour: Hour
    source: str
    files: int
    size: int
    streamed: int = 0


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is still to be copied: Hours, and bytes."""

    hours: int
    size: int


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to know about an Hour: why it was left alone, or what it lacks."""

    hour: Hour
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class Consolidated:
    """What a consolidation did, or would do.

    Attributes:
        environment: of both ends.
        dry_run: nothing was written.
        copied: the Hours, ascending.
        present: Hours that the lake had already, the same.
        first: the earliest Hour of them and of those that were copied: from there on it is to be observed, because
            an earlier call may have died after it copied them; None where the sources gave none.
        remarks: `differs`, `open`, `incomplete_source`, `unreadable_promise`, `wrong_checksum`, `archived`,
            `unreadable_source`.
        holes: what the lake still lacks between its first and its last Hour.
        streaming: why files pass this machine, by the URL of their source.
    """

    environment: str
    dry_run: bool
    copied: tuple[CopiedHour, ...] = ()
    present: int = 0
    first: Hour | None = None
    remarks: tuple[Remark, ...] = ()
    holes: tuple[Span, ...] = ()
    streaming: Mapping[str, str] = field(default_factory=dict)

    @property
    def streamed(self) -> int:
        """Bytes that pass this machine."""
        return sum(hour.streamed for hour in self.copied)

    @property
    def files(self) -> int:
        """Number of files that this pass copied."""
        return sum(hour.files for hour in self.copied)

    @property
    def size(self) -> int:
        """Bytes of the files that this pass copied."""
        return sum(hour.size for hour in self.copied)

    def to_json(self) -> dict[str, Any]:
        """As `viplake consolidate --json` prints it."""
        return {
            "schema_version": 1,
            "environment": self.environment,
            "dry_run": self.dry_run,
            "files": self.files,
            "bytes": self.size,
            "streamed_bytes": self.streamed,
            "streaming": [{"source": source, "reason": reason} for source, reason in self.streaming.items()],
            "present": self.present,
            "copied": [
                {"hour": str(c.hour), "source": c.source, "files": c.files, "bytes": c.size} for c in self.copied
            ],
            "remarks": [{"hour": str(r.hour), "kind": r.kind, "detail": r.detail} for r in self.remarks],
            "holes": [
                {"from": str(span.first), "to": str(span.last), "hours": len(list(span.first.to(span.last)))}
                for span in self.holes
            ],
        }


async def consolidate(
    sources: Sequence[Source],
    target: Lake,
    *,
    environment: str,
    excluded: Iterable[Span] = (),
    last: Hour | None = None,
    dry_run: bool = False,
    progress: Callable[[CopiedHour, Remaining], None] | None = None,
) -> Consolidated:
    """Copy the Hours that the target lacks.

    Args:
        sources: where to copy from; an Hour comes from the first that has it and may give it.
        target: the lake.
        environment: of the lake, `Prod` or `Test`.
        excluded: Hours that are not copied from anywhere.
        last: the last Hour to copy; the current one may still be growing at the source.
        dry_run: report only, write nothing.
        progress: given each Hour as it is done, and what remains; both lakes are then listed once more before.

    Raises:
        SettingsError: a source belongs to another environment or company (`lake_mismatch`), nothing shows which
            it belongs to, or it is the target itself. Hours that were copied before it was found stay.
        LakeError: an end cannot be read or written; what was copied stays, and the next call goes on.
    """
    await check_lake(target, environment=environment)
    for source in sources:
        ends = [(end.url.rstrip("/"), end.layout) for end in (source.lake, target)]
        if ends[0] == ends[1]:
            raise SettingsError("the source is the lake itself", hint="Name the lake or prefix to copy from.")
        await check_environment(source, target, environment)
    reserved = tuple(span for source in sources for span in source.only)
    work = _Work(target, environment, dry_run=dry_run, progress=progress)
    barred = [(*excluded, *(() if source.only else reserved)) for source in sources]
    if progress is not None:
        await work.plan(zip(sources, barred, strict=True), last)
    for source, spans in zip(sources, barred, strict=True):
        await work.take_from(source, spans, last)
    return await work.summary()


# -- the environment ----------------------------------------------------------------------------------------


async def check_environment(source: Source, target: Lake, environment: str) -> None:
    """Make sure that the source belongs to this environment, and to the company of the lake.

    Raises:
        SettingsError: it does not, or nothing shows it (see `consolidate`).
    """
    shown = dict(_shown_by_place(source))
    if source.environment is not None:
        shown["what was stated"] = source.environment
    owner = await owner_of(source.lake)
    if owner is not None:
        shown["its lake.json"] = owner.environment
        mine = await owner_of(target)
        if mine is not None and mine.company != owner.company:
            message = f"the source belongs to company {owner.company}, the lake to {mine.company}"
            raise SettingsError(message, cause="lake_mismatch")
    shown.update(await _shown_by_records(source))
    wrong = [f"{by} says {name}" for by, name in shown.items() if name != environment]
    if wrong:
        raise SettingsError(
            f"{source.lake.url} does not belong to {environment}: {'; '.join(wrong)}",
            cause="lake_mismatch",
            hint="Prod and Test are never mixed. Check the source, its prefix, and VIPLAKE_ENVIRONMENT.",
        )
    if not shown:
        prefix = source.lake.layout.prefix
        where = f"{source.lake.url} with the prefix {prefix}" if prefix else source.lake.url
        raise SettingsError(
            f"nothing shows whether {where} belongs to Prod or Test",
            hint=f"If you know that it is {environment}, state it: --source-environment {environment}",
        )


def _shown_by_place(source: Source) -> Iterable[tuple[str, str]]:
    """Return the environment that the usual prefixes show; the path of the URL may hold the `DEV/`."""
    full = f"/{urlsplit(source.lake.url).path.strip('/')}/{source.lake.layout.prefix}".replace("//", "/")
    for environment in (TEST, PROD):  # Test's prefix ends like Prod's
        if full.endswith(f"/{environment.prefix}"):
            return [("its prefix", environment.name)]
    return []


async def _shown_by_records(source: Source) -> dict[str, str]:
    """What the records of the newest Hour say that has any: each Hour's own are looked at again when it is copied."""
    days = await listed_days(source.lake)
    for day in reversed(days[-2:]):
        for hour in reversed(await named_hours(source.lake, day)):
            shown = _shown(await _receipt(source, hour), await _promise(source, hour))
            if shown:
                return shown
    return {}


def _shown(receipt: Receipt | None, promise: Promise | None) -> dict[str, str]:
    shown = {}
    if receipt is not None:
        shown[f"the Receipt of {receipt.hour}"] = receipt.environment
    if promise is not None and promise.environment is not None:
        shown["a Promise"] = promise.environment
    return shown


async def _receipt(source: Source, hour: Hour) -> Receipt | None:
    """The Hour's Receipt; None where there is none, or none that can be read."""
    data = await source.lake.store.get(source.lake.layout.receipt(hour))
    try:
        return None if data is None else records.parse_receipt(data)
    except LakeError:
        return None


async def _promise(source: Source, hour: Hour) -> Promise | None:
    """The Hour's Promise without signatures; None where there is none, or none that can be read."""
    data = await source.lake.store.get(source.lake.layout.promise(hour))
    try:
        return None if data is None else records.parse_promise(data)
    except LakeError:
        return None


# -- the work -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Lacking:
    """An Hour of which the lake lacks something: sizes by name, at the source and in the lake."""

    source: Source
    hour: Hour
    there: Mapping[str, int]
    here: Mapping[str, int]

    @property
    def names(self) -> AbstractSet[str]:
        """Return the names of what is missing, records included."""
        return self.there.keys() - self.here.keys()

    @property
    def files(self) -> dict[str, int]:
        """The delivered files that the lake lacks."""
        return {name: self.there[name] for name in self.names - _RECORDS}


@dataclass(slots=True)
class _Work:
    """A consolidation under way."""

    target: Lake
    environment: str
    dry_run: bool
    progress: Callable[[CopiedHour, Remaining], None] | None
    copied: dict[Hour, CopiedHour] = field(default_factory=dict)
    present: set[Hour] = field(default_factory=set)
    remarks: list[Remark] = field(default_factory=list)
    small: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SMALL_AT_ONCE))
    large: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LARGE_AT_ONCE))
    inside: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(COPIES_AT_ONCE))
    ledgers: frozenset[str] | None = None
    remaining: Remaining = Remaining(0, 0)
    streaming: dict[str, str] = field(default_factory=dict)

    async def plan(self, work: Iterable[tuple[Source, Sequence[Span]]], last: Hour | None) -> None:
        """Count what is to be copied: listings, and nothing else."""
        planned: dict[Hour, int] = {}
        for source, barred in work:
            async for each in self._lacking(source, barred, last):
                if each.names and _other_export(each.there, each.here) is None:
                    planned.setdefault(each.hour, sum(each.files.values()))
        self.remaining = Remaining(len(planned), sum(planned.values()))

    async def take_from(self, source: Source, barred: Sequence[Span], last: Hour | None) -> None:
        """Copy what this source may give, oldest first."""
        if self.ledgers is None:
            self.ledgers = frozenset(await listed_ledger_days(self.target))
        together: list[_Lacking] = []
        async for each in self._lacking(source, barred, last):
            if self._is_lacking(each):
                together.append(each)
            if len(together) == _HOURS_TOGETHER:
                await self._copy_all(together)
                together = []
        await self._copy_all(together)

    async def _lacking(self, source: Source, barred: Sequence[Span], last: Hour | None) -> AsyncIterator[_Lacking]:
        """Each Hour that this source may give, oldest first, with what the lake has of it."""
        days = await listed_days(source.lake)
        if not days:
            raise LakeError(
                f"{source.lake.url} has no hourly folder below {source.lake.layout.prefix or 'its top'}",
                cause="folder_missing",
                hint="Check the URL and --source-prefix (early lakes are below IMOS/Hourly/).",
            )

        def wanted(hour: Hour) -> bool:
            given = not source.only or any(hour in span for span in source.only)
            late = last is not None and hour > last
            return given and not late and not any(hour in span for span in barred) and hour not in self.copied

        for start in range(0, len(days), _DAYS_AT_ONCE):
            some = days[start : start + _DAYS_AT_ONCE]
            theirs = await asyncio.gather(*(day_folders(source.lake, day) for day in some))
            mine = await asyncio.gather(*(day_folders(self.target, day) for day in some))
            for there, here in zip(theirs, mine, strict=True):
                for hour in sorted(filter(wanted, there)):
                    yield _Lacking(source, hour, there[hour].sizes, here[hour].sizes if hour in here else {})

    def _is_lacking(self, each: _Lacking) -> bool:
        if not each.names:
            self.present.add(each.hour)
        elif other := _other_export(each.there, each.here):
            self._remark(each.hour, "differs", f"the lake has another export of this Hour: {other}")
        else:
            return True
        return False

    async def _copy_all(self, lacking: Sequence[_Lacking]) -> None:
        """Copy these Hours, after their own records were checked for the environment."""

        async def read(each: _Lacking) -> tuple[Receipt | None, Promise | None, bool]:
            receipt = await _receipt(each.source, each.hour)
            return receipt, await _promise(each.source, each.hour), await self._is_open(each.hour)

        found = await map_bounded(read, lacking, at_once=HOURS_AT_ONCE)
        for each, (receipt, promise, _) in zip(lacking, found, strict=True):
            for by, name in _shown(receipt, promise).items():
                if name != self.environment:
                    text = f"{each.hour} of {each.source.lake.url}: {by} says {name}"
                    raise SettingsError(text, cause="lake_mismatch")
        wanted = []
        for each, (receipt, promise, is_open) in zip(lacking, found, strict=True):
            if is_open:
                self._remark(each.hour, "open", "viplake is at work on this Hour; copy it later if it fails")
            else:
                wanted.append((each, receipt, promise))
        await map_bounded(lambda one: self._copy(*one), wanted, at_once=HOURS_AT_ONCE)

    async def _is_open(self, hour: Hour) -> bool:
        """Whether the lake's own run of this Hour may still land something."""
        if hour.day not in (self.ledgers or ()):
            return False
        files = await self.target.store.files(self.target.layout.ledger(hour))
        events = [parsed[1] for file in files if (parsed := self.target.layout.parse_event(file.key))]
        data = await self.target.store.get(self.target.layout.event(hour, max(events))) if events else None
        try:
            return data is not None and records.parse_event(data, "an event").event is not records.EventKind.FAILED
        except LakeError:
            return True

    async def _copy(self, each: _Lacking, receipt: Receipt | None, promise: Promise | None) -> None:
        """Copy what is lacking of an Hour: files, then the Promise, then the Receipt."""
        hour, files = each.hour, each.files
        self._look_at_promise(hour, promise, each.there)
        writes_promise = promise is not None and PROMISE_NAME in each.names
        writes_receipt = receipt is not None and RECEIPT_NAME in each.names
        if not (files or writes_promise or writes_receipt):
            self.present.add(hour)
            return
        if not self.dry_run:
            refuse_long_names(self.target.url, files)
            try:
                hashed = dict(
                    await map_bounded(lambda name: self._copy_file(each, name), sorted(files), at_once=FILES_AT_ONCE)
                )
            except LakeError as error:
                if error.cause.word == "dest_archived":
                    self._remark(hour, "archived", f"restore it, then consolidate again: {error.message}")
                elif isinstance(error, _SourceWithheldError):
                    self._remark(hour, "unreadable_source", error.message)
                else:
                    raise
                return
            if promise is not None and writes_promise:
                await self.target.store.put_if_absent(self.target.layout.promise(hour), records.promise_bytes(promise))
            if receipt is not None and writes_receipt and await self._proves(each, receipt, hashed):
                await self.target.store.put_if_absent(self.target.layout.receipt(hour), records.receipt_bytes(receipt))
        else:
            hashed = dict.fromkeys(files, None if callable(each.source.server_copy) else "")
        streamed = sum(size for name, size in files.items() if hashed[name] is not None)
        if streamed and isinstance(each.source.server_copy, str):
            self.streaming[each.source.lake.url] = each.source.server_copy
        size = sum(files.values())
        done = self.copied[hour] = CopiedHour(hour, each.source.lake.url, len(files), size, streamed)
        self.remaining = Remaining(max(self.remaining.hours - 1, 0), max(self.remaining.size - size, 0))
        if self.progress is not None:
            self.progress(done, self.remaining)

    async def _proves(self, each: _Lacking, receipt: Receipt, hashed: Mapping[str, str | None]) -> bool:
        """Return whether the Receipt agrees with the lake's files now; a wrong one is reported, and not copied."""
        unread = [
            file.name
            for file in receipt.files
            if file.md5 is not None and file.name in each.there and file.name not in hashed
        ]
        md5 = dict(hashed) | await md5_of_many(self.target, each.hour, unread)
        wrong = sorted(
            file.name
            for file in receipt.files
            if each.there.get(file.name) != file.size
            or (file.md5 is not None and md5.get(file.name) not in {file.md5, None})
        )
        if wrong:
            self._remark(each.hour, "wrong_checksum", f"not as its Receipt proves: {_some(wrong)}")
        return not wrong

    def _look_at_promise(self, hour: Hour, promise: Promise | None, there: Mapping[str, int]) -> None:
        if promise is None:
            if PROMISE_NAME in there:
                self._remark(hour, "unreadable_promise", "it is not copied, because it may hold signatures")
            return
        absent = sorted(promise.names - there.keys())
        if absent:
            self._remark(hour, "incomplete_source", f"promised, but not there: {_some(absent)}")

    async def _copy_file(self, each: _Lacking, name: str) -> tuple[str, str | None]:
        """Copy a file; its name and MD5, None where the store copied it by itself."""
        source, size = each.source, each.there[name]
        origin, key = source.lake.layout.file(each.hour, name), self.target.layout.file(each.hour, name)
        if callable(source.server_copy) and source.lake.url not in self.streaming:
            async with self.inside:
                refused = await source.server_copy(origin, key, size)
            if refused is None:
                return name, None
            self.streaming[source.lake.url] = refused
            log.warning("copied_through_here", source=source.lake.url, reason=refused)
        async with self.small if size <= SMALL else self.large:
            digest = hashlib.md5(usedforsecurity=False)
            if size <= SMALL:
                with _reading():
                    data = await source.lake.store.get(origin)
                if data is None or len(data) != size:
                    raise LakeError(f"{origin} of {source.lake.url} changed while it was copied")
                digest.update(data)
                await self.target.store.put(key, data)
            else:
                await self.target.store.put_stream(key, _checked(source, origin, size, digest.update))
        return name, digest.hexdigest()

    def _remark(self, hour: Hour, kind: str, detail: str) -> None:
        self.remarks.append(Remark(hour, kind, detail))

    async def summary(self) -> Consolidated:
        """Return the result in one line."""
        days = await listed_days(self.target)
        there = {
            hour for some in await asyncio.gather(*(named_hours(self.target, day) for day in days)) for hour in some
        }
        return Consolidated(
            environment=self.environment,
            dry_run=self.dry_run,
            copied=tuple(self.copied[hour] for hour in sorted(self.copied)),
            present=len(self.present),
            first=min(self.present | self.copied.keys(), default=None),
            remarks=tuple(sorted(self.remarks, key=lambda remark: remark.hour)),
            holes=_holes(there | self.copied.keys()),
            streaming=dict(self.streaming),
        )


_RECORDS: Final = frozenset({PROMISE_NAME, RECEIPT_NAME})


def _other_export(there: Mapping[str, int], here: Mapping[str, int]) -> str | None:
    """What shows that the lake holds another export of the Hour, not a part of this one; None where nothing does.

    What a copy that was interrupted left is a part: the same names, the same sizes, and no Receipt yet.
    """
    mine = here.keys() - _RECORDS
    different = sorted(name for name in mine if there.get(name) != here[name])
    if different:
        return _some(different)
    if RECEIPT_NAME in here and (more := sorted(there.keys() - here.keys() - _RECORDS)):
        return f"it has a Receipt without {_some(more)}"
    return None


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


class _SourceWithheldError(LakeError):
    """The source does not give one object: that concerns its Hour, and no other."""


@contextmanager
def _reading() -> Iterator[None]:
    """Distinguish what the source does not give from what the target refuses."""
    try:
        yield
    except LakeError as error:
        if error.cause.word not in WITHHELD:
            raise
        raise _SourceWithheldError(error.message, cause=error.cause.word) from None


async def _checked(source: Source, key: str, size: int, update: Callable[[bytes], None]) -> AsyncIterator[bytes]:
    """The object's chunks, hashed; ends in an error unless it has just as many bytes as were listed."""
    read = 0
    with _reading():
        async for chunk in source.lake.store.read(key):
            read += len(chunk)
            await asyncio.to_thread(update, chunk)
            yield chunk
    if read != size:
        raise LakeError(f"{key} of {source.lake.url} changed while it was copied")


def _holes(there: set[Hour]) -> tuple[Span, ...]:
    """Stretches without an Hour, between the first and the last that are there."""
    if not there:
        return ()
    lacking = [hour for hour in min(there).to(max(there)) if hour not in there]
    runs = groupby(enumerate(lacking), key=lambda item: item[1].shift(-item[0]))
    spans = [[hour for _, hour in run] for _, run in runs]
    return tuple(Span(run[0], run[-1]) for run in spans)
