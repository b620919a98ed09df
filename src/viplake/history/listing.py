"""I/O. One listing of a range of Hours, reduced to facts day by day: requests for pages of keys, and little else.

A day is one listing; many days are listed side by side, and each is reduced to facts before the next is kept, so
that memory stays flat however long the range is. A few Hours of a day are listed by their own prefixes. A schema
is known by the hash of its content; an equal ETag and size only spare reading it again.
"""

from __future__ import annotations

import asyncio
import hashlib
from array import array
from bisect import bisect_left
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby, islice
from operator import le
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from viplake.errors import WITHHELD, LakeError
from viplake.history.facts import HourFacts, Schema, SchemaFacts, hour_facts, promise_facts, run_facts
from viplake.lake.hours import listed_days, listed_ledger_days
from viplake.lake.layout import PROMISE_NAME, SCHEMA_NAME, schema_tables
from viplake.lake.records import parse_event, parse_promise, promise_bytes
from viplake.model import Hour, Promise
from viplake.tables.schema import LARGEST_SCHEMA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from viplake.history.facts import RunFacts
    from viplake.lake import Lake
    from viplake.lake.store import Page
    from viplake.model import StoredFile

log = structlog.get_logger(__name__)

T = TypeVar("T")

DAYS_AT_ONCE: Final = 24
"""Days listed side by side: 1.08 million keys at 50 ms a page then wait 2.4 s in all, less than their CPU takes."""

DAYS_AT_FIRST: Final = 8
"""Used until the number of keys of a day is known: all keys of a day are in memory until it is reduced."""

LARGE_DAY: Final = 24_000
"""Keys from which a day is large: then its Hours are listed side by side, and few days at once."""

LARGE_DAYS_AT_ONCE: Final = 2

RECORDS_AT_ONCE: Final = 32
"""Small records (ledger events, Promises) read side by side."""

BY_HOUR: Final = 3
"""So many Hours of a day, or fewer, are listed by their own prefixes: at 400 files an Hour a day has ten pages."""

_AFTER_ALL: Final = "\U0010ffff"
_NO_SCHEMA: Final = "it is no JSON list of objects with a DataObjectName"


@dataclass(slots=True)
class _Folder:
    """The files directly in an Hour's folder, collected page by page; a day of them is in memory, so they are packed.

    Attributes:
        packed: their names joined by `/`, a text for each page.
        sizes: bytes of each.
        etags: of the Hour's schema and Promise, where the store gives them.
    """

    packed: list[str] = field(default_factory=list)
    sizes: array[int] = field(default_factory=lambda: array("q"))
    etags: dict[str, str | None] = field(default_factory=dict)

    def add(self, names: list[str], sizes: list[int]) -> None:
        """Add the files of a page, without those in subfolders: they do not belong to the Hour."""
        text = "/".join(names)
        if text.count("/") >= len(names):
            kept = [(name, size) for name, size in zip(names, sizes, strict=True) if "/" not in name]
            text, sizes = "/".join(name for name, _ in kept), [size for _, size in kept]
        if sizes:
            self.packed.append(text)
            self.sizes.extend(sizes)

    def files(self) -> tuple[list[str], list[int]]:
        """Return the names and the sizes of the files."""
        return "/".join(self.packed).split("/") if self.packed else [], self.sizes.tolist()


class Listing:
    """Reads facts from a lake. Use one for each pass: it remembers the schemas that it has read.

    Args:
        lake: which.
        out_of_scope: tables that are never delivered: not expected.
        copies: small records that need not be read again, by key and ETag (`records` of an earlier pass).
        keep: given the hash and the bytes of each readable schema that is met for the first time, before its facts.

    Attributes:
        known: schemas by ETag and size, those that were given and those that were read: they are not read again.
        marks: the ETag and size of each Hour's schema.
        promises: also compare each Hour's Promise with what is stored, at a request for each Hour without a copy.
        records: with `promises`, the small records of each Hour, by key and ETag.
        large_day: see `LARGE_DAY`.
        requests: how many were made: pages of `listings`, `schemas`, and other `records`.
    """

    def __init__(
        self,
        lake: Lake,
        *,
        out_of_scope: Iterable[str] = (),
        promises: bool = False,
        known: Mapping[tuple[str, int], SchemaFacts] | None = None,
        copies: Mapping[str, str] | None = None,
        keep: Callable[[str, bytes], Awaitable[None]] | None = None,
    ) -> None:
        self._lake = lake
        self._out_of_scope = frozenset(out_of_scope)
        self._keep = keep
        self.promises = promises
        self._reading: dict[tuple[str, int], asyncio.Task[Schema]] = {}
        self._by_hash: dict[str, Schema] = {}
        self._copies = copies or {}
        self.records: dict[Hour, dict[str, str]] = {}
        self.marks: dict[Hour, tuple[str, int]] = {}
        self.known = {mark: self._schema_of(facts) for mark, facts in (known or {}).items()}
        self.large_day = LARGE_DAY
        self._largest_day = 0
        self._turn = asyncio.Semaphore(RECORDS_AT_ONCE)
        self.requests: Counter[str] = Counter(listings=0, schemas=0, records=0)

    async def days(self) -> list[str]:
        """Return the days that have a folder (`20220510`), oldest first."""
        self.requests["listings"] += 1
        return await listed_days(self._lake)

    async def ledger_days(self) -> frozenset[str]:
        """Return the days that have a ledger."""
        self.requests["listings"] += 1
        return frozenset(await listed_ledger_days(self._lake))

    async def facts(
        self, hours: Iterable[Hour], *, days: Iterable[str] | None = None, ledger_days: Iterable[str] | None = None
    ) -> AsyncIterator[list[HourFacts]]:
        """Yield the facts of these Hours, day by day, oldest first; also of Hours that the lake lacks.

        Args:
            hours: ascending.
            days: the only days that have a folder, where that is known: others need no request.
            ledger_days: the only days that have a ledger, likewise.

        Raises:
            LakeError: the lake cannot be read.
        """
        listed = None if days is None else frozenset(days)
        ledgers = None if ledger_days is None else frozenset(ledger_days)
        jobs = (
            partial(
                self._day,
                tuple(of_day),
                listed=listed is None or day in listed,
                ledger=ledgers is None or day in ledgers,
            )
            for day, of_day in groupby(hours, key=lambda hour: hour.day)
        )
        async for found in _side_by_side(jobs, self._days_at_once):
            yield found

    def _days_at_once(self) -> int:
        if not self._largest_day:
            return DAYS_AT_FIRST
        return DAYS_AT_ONCE if self._largest_day < self.large_day else LARGE_DAYS_AT_ONCE

    async def _day(self, hours: Sequence[Hour], *, listed: bool, ledger: bool) -> list[HourFacts]:
        folders, runs = await asyncio.gather(
            self._folders(hours) if listed else _nothing(), self._runs(hours) if ledger else _nothing()
        )
        return [await self._hour(hour, folders.get(hour), runs.get(hour)) for hour in hours]

    async def _folders(self, hours: Sequence[Hour]) -> dict[Hour, _Folder]:
        """Return the folders of the Hours of a day that have files."""
        if len(hours) > BY_HOUR and self._largest_day < self.large_day:
            prefixes = [self._lake.layout.day(hours[0].day)]
        else:
            prefixes = [self._lake.layout.folder(hour) for hour in hours]
        found: dict[str, _Folder] = {}
        cut = len(self._lake.layout.folder(hours[0]))
        await asyncio.gather(*(self._collect(prefix, cut, found) for prefix in prefixes))
        self._largest_day = max(self._largest_day, sum(len(folder.sizes) for folder in found.values()))
        by_folder = {self._lake.layout.folder(hour): hour for hour in hours}
        return {hour: kept for name, hour in by_folder.items() if (kept := found.get(name)) and kept.packed}

    async def _collect(self, prefix: str, cut: int, found: dict[str, _Folder]) -> None:
        """List a prefix into `found`, by the first `cut` characters of each key (the Hour's folder)."""
        pages = 0
        async for page in self._lake.store.pages(prefix):
            pages += 1
            _add(page, cut, found)
            del page  # before the next one comes: see `_bucket_pages`
        self.requests["listings"] += max(pages, 1)

    async def _hour(self, hour: Hour, folder: _Folder | None, run: RunFacts | None) -> HourFacts:
        if folder is None:
            return HourFacts(hour, run=run)
        names, sizes = folder.files()
        schema_size = sizes[names.index(SCHEMA_NAME)] if SCHEMA_NAME in names else None
        schema = await self._schema(hour, schema_size, folder.etags.get(SCHEMA_NAME))
        facts = hour_facts(hour, names, sizes, schema)
        if self.promises and facts.has_promise and (promise := await self._promise(hour, folder)):
            facts = replace(facts, promise=promise_facts(promise, names, sizes, schema))
        return facts if run is None else replace(facts, run=run)

    async def _promise(self, hour: Hour, folder: _Folder) -> Promise | None:
        key, etag = self._lake.layout.promise(hour), folder.etags.get(PROMISE_NAME)
        try:
            data = await self._record(key, etag)
            promise = None if data is None else parse_promise(data)
        except LakeError as error:
            if error.cause.word != "ledger_damaged":
                raise
            log.warning("promise_unreadable", hour=str(hour), detail=error.message)
            return None
        if promise is not None and etag is not None:
            named = Promise(tuple(replace(file, location="") for file in promise.files))
            self._remember(hour, key, etag, promise_bytes(named))
        return promise

    # -- schemas ---------------------------------------------------------------------------------------------

    async def _schema(self, hour: Hour, size: int | None, etag: str | None) -> Schema | None:
        if size is None:
            return None
        if etag is None:
            return await self._read_schema(hour, size)
        mark = self.marks[hour] = (etag, size)
        if mark not in self.known:
            if mark not in self._reading:
                self._reading[mark] = asyncio.create_task(self._read_schema(hour, size))
            self.known[mark] = await self._reading[mark]
        return self.known[mark]

    async def _read_schema(self, hour: Hour, size: int) -> Schema:
        if size > LARGEST_SCHEMA:
            problem = f"it has {size:,} bytes, more than the {LARGEST_SCHEMA:,} that are read"
            return self._schema_of(SchemaFacts(None, None, problem))
        self.requests["schemas"] += 1
        try:
            data = await self._lake.store.get(self._lake.layout.file(hour, SCHEMA_NAME), limit=LARGEST_SCHEMA)
        except LakeError as error:
            if error.cause.word not in WITHHELD:
                raise
            log.warning("schema_withheld", hour=str(hour), cause=error.cause.word, detail=error.message)
            return self._schema_of(SchemaFacts(None, None, WITHHELD[error.cause.word]))
        if data is None:
            return self._schema_of(SchemaFacts(None, None, "it vanished while it was read"))
        digest = hashlib.sha256(data).hexdigest()
        if digest in self._by_hash:
            return self._by_hash[digest]
        tables = await asyncio.to_thread(schema_tables, data)
        if tables is not None and self._keep is not None:
            await self._keep(digest, data)
        return self._schema_of(SchemaFacts(digest, tables, None if tables is not None else _NO_SCHEMA))

    def _schema_of(self, facts: SchemaFacts) -> Schema:
        """Return the schema with its index, built once for each content."""
        if facts.sha256 is None:
            return Schema.of(facts, self._out_of_scope)
        if facts.sha256 not in self._by_hash:
            self._by_hash[facts.sha256] = Schema.of(facts, self._out_of_scope)
        return self._by_hash[facts.sha256]

    # -- the ledger ------------------------------------------------------------------------------------------

    async def _runs(self, hours: Sequence[Hour]) -> dict[Hour, RunFacts]:
        """Return the last event of each ledger of a day: one listing, and one GET an Hour."""
        wanted = frozenset(hours)
        last: dict[Hour, tuple[int, StoredFile]] = {}
        self.requests["listings"] += 1
        for file in await self._lake.store.files(self._lake.layout.ledger_day(hours[0].day)):
            parsed = self._lake.layout.parse_event(file.key)
            if parsed and parsed[0] in wanted and (parsed[0] not in last or parsed[1] > last[parsed[0]][0]):
                last[parsed[0]] = parsed[1], file
        read = await asyncio.gather(*(self._run(hour, file) for hour, (_, file) in sorted(last.items())))
        return {hour: run for hour, run in zip(sorted(last), read, strict=True) if run is not None}

    async def _run(self, hour: Hour, file: StoredFile) -> RunFacts | None:
        try:
            data = await self._record(file.key, file.etag) or b""
            found = run_facts(parse_event(data, file.key))
        except LakeError as error:
            if error.cause.word != "ledger_damaged":
                raise
            log.warning("ledger_damaged", hour=str(hour), detail=error.message)
            return None
        if self.promises and file.etag is not None:
            self._remember(hour, file.key, file.etag, data)
        return found

    async def _record(self, key: str, etag: str | None) -> bytes | None:
        """Return a small record, or its copy where the listing shows the object that was copied."""
        if etag is not None and (copy := self._copies.get(f"{key} {etag}")) is not None:
            return copy.encode()
        async with self._turn:
            self.requests["records"] += 1
            return await self._lake.store.get(key)

    def _remember(self, hour: Hour, key: str, etag: str, data: bytes) -> None:
        self.records.setdefault(hour, {})[f"{key} {etag}"] = data.decode()


def _add(page: Page, cut: int, found: dict[str, _Folder]) -> None:
    """Sort the keys of a page into folders, by their first `cut` characters.

    All keys of a lake go through here. In an ordered page those of a folder are one stretch, found by a search; in
    any other each key is a stretch of its own.
    """
    keys = page.keys
    ordered = all(map(le, keys, keys[1:]))
    start = 0
    while start < len(keys):
        folder = keys[start][:cut]
        if len(keys[start]) <= cut or not folder.endswith("/"):  # a marker of a folder, or an object beside the Hours
            start += 1
            continue
        end = max(bisect_left(keys, folder + _AFTER_ALL, start) if ordered else 0, start + 1)
        kept = found.setdefault(folder, _Folder())
        names = [key[cut:] for key in keys[start:end]]
        for name in (SCHEMA_NAME, PROMISE_NAME):
            if name in names:
                kept.etags[name] = page.etag(start + names.index(name))
        kept.add(names, page.sizes[start:end])
        start = end


async def _nothing() -> dict[Hour, T]:
    return {}


async def _side_by_side(jobs: Iterable[Callable[[], Awaitable[T]]], at_once: Callable[[], int]) -> AsyncIterator[T]:
    """Yield the results of jobs in their order; `at_once` says how many run at the same time.

    The next one starts as soon as any is done, so that a slow one holds up nothing but the order; what is done and
    waits for its turn is small, and there are never more of those than work at once.
    """
    waiting = iter(jobs)
    begun: deque[asyncio.Future[T]] = deque()

    def start(_done: object = None) -> None:
        limit = at_once()
        working = sum(not job.done() for job in begun)
        for job in islice(waiting, max(min(limit - working, 2 * limit - len(begun)), 0)):
            begun.append(asyncio.ensure_future(job()))
            begun[-1].add_done_callback(start)

    try:
        start()
        while begun:
            found = await begun[0]
            begun.popleft()
            start()
            yield found
    finally:
        waiting = iter(())
        for left in begun:
            left.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
