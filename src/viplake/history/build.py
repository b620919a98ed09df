"""I/O. The history: every Hour's rows, built once, kept up to date with few requests, healed when Hours come late.

`observe` reads like this: read the stored history; decide which Hours to look at; list them; merge; write one new
version; publish it under the names that people know. Facts replace rows of Hours that the lake has; rows of Hours that
it lacks stay. Merging is a pure function of (stored rows, facts seen), computed again after each lost race, so two
writers lose nothing, and a rebuild and any sequence of increments end in the same bytes. Files that people edit are not
read back: `--import` is the way in.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

import structlog

from viplake.errors import LakeError, SettingsError
from viplake.history.chain import Chain, History, Published, month_of, pack, unpack, whole_file
from viplake.history.datasets import (
    DATASETS,
    JOBS,
    RUNS,
    VOLUMES,
    Frame,
    attribute_missed,
    expected_daily,
    imported_runs,
    parse,
    runs_of,
    take_in,
    upsert,
    worsens,
)
from viplake.history.facts import SchemaFacts
from viplake.history.listing import Listing
from viplake.history.schema_store import SchemaStore
from viplake.history.volumes import Volumes, VolumeSeries
from viplake.lake.records import FORMAT, Count, Part, decode, encode
from viplake.lake.versions import Version
from viplake.model import Hour

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from viplake.clock import Clock
    from viplake.history.datasets import HourDataset, Row
    from viplake.history.facts import HourFacts
    from viplake.lake import Lake
    from viplake.lake.store import Store

log = structlog.get_logger(__name__)

NEWEST: Final = 3
"""Hours that every update looks at: an export takes up to half an hour, a late one up to an hour or two."""

LOOK_BACK: Final = timedelta(hours=48)
"""What the first update of a day looks at again: later ticks try for 6 hours, people repair the day after."""

HOLES: Final = timedelta(days=7)
"""How long an Hour without files is looked at again each day."""

_WIDE: Final = 100
"""From so many Hours on, the days that exist are listed first: absent days then cost nothing."""

_PUBLISH_ATTEMPTS: Final = 3

_SCHEMAS: Final = "schemas.json"
"""Beside the versions: what the newest Hours' schemas say, by ETag, and copies of their manifests and last events, so
that updates and checks need not read them again.

Of each schema a copy is kept; a file that does not say so was left by a viplake that kept none.
"""

_COPIED: Final = 4
"""Hours of which the records are copied: a check reads the newest three and compares them with the one before."""


@dataclass(frozen=True, slots=True)
class ObserveSettings:
    """Settings of an observation.

    Attributes:
        out_of_scope: tables of the schema that are never delivered: not expected.
        grace: how far into an Hour it counts although nothing is proven of it yet.
        due: the hour of the day in which a daily export is expected; None: one is expected in every Hour.
    """

    out_of_scope: frozenset[str] = frozenset()
    grace: timedelta = timedelta(minutes=30)
    due: int | None = None


@dataclass(frozen=True, slots=True)
class HistoryLocation:
    """The places of the history: versions, published files, quarantine.

    Attributes:
        store: the lake's, or another.
        published: prefix of the files that people read, with its closing slash.
        versions: prefix of the versions that they are made from, with its closing slash.
    """

    store: Store
    published: str
    versions: str

    @classmethod
    def within(cls, lake: Lake) -> HistoryLocation:
        """The usual place: `Observability/` in the lake."""
        return cls(lake.store, lake.layout.observability, f"{lake.layout.root}_viplake/history/")

    @classmethod
    def elsewhere(cls, store: Store, prefix: str = "") -> HistoryLocation:
        """Another store, or another prefix."""
        inside = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        return cls(store, inside, f"{inside}_viplake/history/")


@dataclass(frozen=True, slots=True)
class Scope:
    """Which Hours to look at. Nothing given: all of them the first time, then what an update needs.

    Attributes:
        first, last: a range, both included; `last` alone begins at the first hourly folder, `first` alone ends with
            the last countable Hour.
        hours: just these, besides what an update looks at anyway.
        rebuild: everything from the first hourly folder on.
        drop: remove the rows of the range instead, for good.
    """

    first: Hour | None = None
    last: Hour | None = None
    hours: tuple[Hour, ...] = ()
    rebuild: bool = False
    drop: bool = False


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """A row that changed: late, repaired and copied-in Hours, and Hours that lost files."""

    hour: Hour
    dataset: str
    old: dict[str, str]
    new: dict[str, str]


@dataclass(frozen=True, slots=True)
class Observed:
    """The result of one observation.

    Attributes:
        first, last: the Hours looked at, from and to; None where there were none.
        added: Hours that had no row before.
        healed: rows that changed, but those that report less now.
        worsened: rows that report less now: files are gone.
        unchanged: Hours looked at whose rows all stayed as they were.
        imported: rows that were taken in from files of users, by dataset.
        dropped: rows that were removed, by dataset; with nothing removed, only of a pass that was to drop rows.
        rows: that each dataset has now.
        requests: made to the lake, by kind.
        version: of the history now.
        warnings: repairs and omissions, one sentence each.
        facts: of the newest Hours, where the pass was an update.
    """

    first: Hour | None
    last: Hour | None
    added: tuple[Hour, ...] = ()
    healed: tuple[ChangedRow, ...] = ()
    worsened: tuple[ChangedRow, ...] = ()
    unchanged: int = 0
    imported: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    version: int = 0
    warnings: tuple[str, ...] = ()
    facts: tuple[HourFacts, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As `viplake observe --json` prints it."""
        return {
            "schema_version": 1,
            "from": None if self.first is None else str(self.first),
            "to": None if self.last is None else str(self.last),
            "added": [str(hour) for hour in self.added],
            "healed": [_change_json(row) for row in self.healed],
            "worsened": [_change_json(row) for row in self.worsened],
            "unchanged": self.unchanged,
            "imported": self.imported,
            "dropped": self.dropped,
            "rows": self.rows,
            "requests": self.requests,
            "version": self.version,
            "warnings": list(self.warnings),
            "partitions": [
                {
                    "hour": str(facts.hour),
                    "promised": facts.promise.files,
                    "stored": facts.promise.stored,
                    "completeness": facts.promise.completeness,
                }
                for facts in self.facts
                if facts.promise is not None
            ],
        }


async def observe(
    lake: Lake,
    place: HistoryLocation,
    clock: Clock,
    settings: ObserveSettings,
    *,
    scope: Scope = Scope(),
    imports: Mapping[str, bytes] | None = None,
    progress: Callable[[Hour], None] | None = None,
) -> Observed:
    """Bring the history up to date, or build it.

    Args:
        lake: which.
        place: where the history lives.
        clock: tells which Hour is the current one.
        settings: what is expected.
        scope: which Hours.
        imports: CSV files that users hold, by file name, to take in; everything is then looked at.
        progress: called with the last Hour of each finished day.

    Raises:
        LakeError: the lake or the history cannot be read or written; the history is as it was. If only a published
            CSV cannot be written, the new version is stored, and the next update publishes it.
        SettingsError: a range that ends before it begins, or an import that is no file of ours; rows to drop that the
            lake would give again.
    """
    pass_ = _Pass(lake, place, clock.now(), settings)
    await pass_.read_history(imports or {})
    hours = await pass_.plan(replace(scope, rebuild=True) if imports else scope)
    await (pass_.drop_volumes() if scope.drop else pass_.look(hours, progress))
    result = await pass_.write()
    await pass_.publish(clock)
    with suppress(LakeError):
        await pass_.remember_schemas()
    return result


async def read_history(place: HistoryLocation, since: Hour | None = None) -> History:
    """The history from an Hour on, at least; all of it by default. Without rows where there is none.

    Raises:
        LakeError: it cannot be read.
    """
    return await _chain(place).read(since)


async def read_volumes(place: HistoryLocation, first: Hour, last: Hour) -> VolumeSeries:
    """Return the bytes of each table in these Hours, both included.

    Raises:
        LakeError: they cannot be read.
    """
    return VolumeSeries(first, await Volumes(place.store, place.published, place.versions).series(first, last))


async def look_at(
    lake: Lake,
    hours: Iterable[Hour],
    settings: ObserveSettings,
    *,
    promises: bool = True,
    place: HistoryLocation | None = None,
) -> list[HourFacts]:
    """The facts of some Hours right now, without touching the history; ascending.

    Args:
        lake: which.
        hours: which.
        settings: what is expected.
        promises: also compare each manifest with what is stored.
        place: of a history: records that it has a copy of are not read again.

    Raises:
        LakeError: the lake cannot be read.
    """
    data = None if place is None else await place.store.get(place.versions + _SCHEMAS)
    copies = {name: text for copy in _parse_hours(data).values() for name, text in copy.records.items()}
    known = _parse_schemas(data)
    listing = Listing(lake, out_of_scope=settings.out_of_scope, promises=promises, known=known, copies=copies)
    return [facts async for day in listing.facts(sorted(set(hours))) for facts in day]


def read_imports(folder: Path) -> dict[str, bytes]:
    """The CSV files of datasets in a folder, by file name.

    Raises:
        SettingsError: there is none, or one cannot be read.
    """
    try:
        found = {dataset.file: path.read_bytes() for dataset in DATASETS if (path := folder / dataset.file).is_file()}
    except OSError as error:
        raise SettingsError(f"cannot read the files to import: {error}") from None
    if not found:
        names = ", ".join(dataset.file for dataset in DATASETS)
        raise SettingsError(f"nothing to import in {folder}", hint=f"Files to import are named {names}.")
    return found


# -- the pass -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Pass:
    """One pass: what it has read so far."""

    lake: Lake
    place: HistoryLocation
    now: datetime
    settings: ObserveSettings
    facts: dict[Hour, HourFacts] = field(default_factory=dict)
    fresh: list[HourFacts] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    held: dict[str, Frame] = field(default_factory=dict)
    imports: dict[str, Frame] = field(default_factory=dict)
    published: dict[str, bytes] = field(default_factory=dict)
    read_at: int = 0
    same: set[str] = field(default_factory=set)
    pieces: dict[str, bytes | memoryview] = field(default_factory=dict)
    months: frozenset[str] = frozenset()
    newest: Version = field(default_factory=lambda: Version(0, None))
    stands: History = field(default_factory=History)
    merged: History = field(default_factory=History)
    result: History = field(default_factory=History)
    days: list[str] | None = None
    ledger_days: frozenset[str] | None = None
    dropping: tuple[Hour, Hour] | None = None
    dropped: dict[str, int] = field(default_factory=dict)
    trim: bool = False
    completes: bool = False
    schemas: bytes | None = None
    copies: dict[Hour, HourRecords] = field(default_factory=dict)
    listing: Listing = field(init=False)
    chain: Chain = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is read yet."""
        self.chain = _chain(self.place)

    @property
    def current(self) -> Hour:
        """The Hour that it is now."""
        return Hour.of(self.now)

    # -- reading -------------------------------------------------------------------------------------------

    async def read_history(self, imports: Mapping[str, bytes]) -> None:
        """Read the stored history, the edited published files, and the files to import."""
        for name, data in sorted(imports.items()):
            [dataset] = [dataset for dataset in DATASETS if dataset.file == name]
            self.imports[dataset.name] = frame = await self._parse(dataset, data, name)
            if not frame.rows and (why := parse(dataset, data).why):
                raise SettingsError(
                    f"nothing of {name} can be read: the first line is {why}", cause="import_unreadable"
                )
        # Published files first: another writer may publish at any time, and a file that is newer than the version
        # that it is compared with would look as if somebody had edited it.
        found = await asyncio.gather(*(self.place.store.get(self.place.published + one.file) for one in DATASETS))
        self.newest = await self.chain.versions.newest()
        self.read_at, self.stands = self.newest.number, unpack(self.newest.content)
        self.schemas = await self.place.store.get(self.place.versions + _SCHEMAS)
        self.copies = _parse_hours(self.schemas)
        for dataset, there in zip(DATASETS, found, strict=True):
            if there is None:
                continue
            self.published[dataset.name] = there
            await (self._compare_published if self.newest.number else self._take_over)(dataset, there)

    async def _take_over(self, dataset: HourDataset, data: bytes) -> None:
        """Take in a published file of a history without versions; what is beyond reading is set aside."""
        name = self.place.published + dataset.file
        try:
            self.held[dataset.name] = await self._parse(dataset, data, name)
        except SettingsError as error:
            await self._set_aside(dataset, data)
            self.warnings.append(f"{error.message}; it is set aside and written anew")

    async def _compare_published(self, dataset: HourDataset, data: bytes) -> None:
        """Find out whether a published file is ours; one that people edited is set aside and written anew."""
        known = Published.of(self.stands, dataset, data)
        self.pieces |= known.pieces
        if known.same:
            self.same.add(dataset.name)
        if known.same or await self._was_ours(dataset, data):
            return
        await self._set_aside(dataset, data)
        self.warnings.append(
            f"{self.place.published}{dataset.file} was edited: it is set aside and written anew. "
            "To add rows, run viplake observe --import."
        )

    async def _was_ours(self, dataset: HourDataset, data: bytes) -> bool:
        """Whether a published file is an older version: a writer died before it published the newest."""
        for number in range(self.newest.number - 1, 0, -1):
            content = await self.chain.versions.content(number)
            if content is None:
                return False
            if Published.of(unpack(content), dataset, data).same:
                return True
        return False

    async def _parse(self, dataset: HourDataset, data: bytes, name: str) -> Frame:
        try:
            parsed = parse(dataset, data)
        except SettingsError as error:
            raise SettingsError(f"{name}: {error.message}", hint=error.hint) from None
        if parsed.unreadable:
            await self._set_aside(dataset, "".join(parsed.unreadable).encode())
        self.warnings += [f"{name}: {warning}" for warning in parsed.warnings]
        return parsed.frame

    async def _set_aside(self, dataset: HourDataset, data: bytes) -> None:
        """Keep what cannot be read where somebody can look at it."""
        digest = hashlib.sha256(data).hexdigest()[:12]
        await self.place.store.put_if_absent(f"{self.place.published}quarantine/{dataset.name}-{digest}.csv", data)

    # -- which Hours -----------------------------------------------------------------------------------------

    async def plan(self, scope: Scope) -> list[Hour]:
        """The Hours to look at, ascending."""
        self.listing = Listing(
            self.lake,
            out_of_scope=self.settings.out_of_scope,
            known={} if scope.rebuild else _parse_schemas(self.schemas),
            copies={} if scope.rebuild else {k: v for one in self.copies.values() for k, v in one.records.items()},
            keep=SchemaStore(self.place.store, self.place.published).keep,
        )
        if scope.drop and scope.first is not None and scope.last is not None:
            await self._refuse_to_drop(scope.first, scope.last)
            self.dropping = scope.first, scope.last
            known = self.stands.closed
            self.months = frozenset(m.month for m in known if month_of(scope.first) <= m.month <= month_of(scope.last))
            return []
        history = self._merged_history(self.stands)
        if scope.first is None and scope.last is None and history.built and not scope.rebuild:
            hours = self._update(history.rows(JOBS), scope.hours)
        else:
            hours = await self._range(scope)
        self.months = frozenset(map(month_of, hours))
        if len(hours) > _WIDE:
            self.days = self.days or await self.listing.days()
            self.ledger_days = await self.listing.ledger_days()
        elif history.built:
            self.listing.promises = True
        return hours

    async def _range(self, scope: Scope) -> list[Hour]:
        last = min(scope.last or self.current, self.current)
        first = scope.first
        if first is None:
            self.days = await self.listing.days()
            known = self.imports or self.stands.count(JOBS)
            if not self.days and (scope.hours or known):  # its first Hour has failed, or all of it was imported
                return sorted(hour for hour in scope.hours if hour <= self.current)
            days = self.days or sorted(await self.listing.ledger_days())
            if not days:
                raise LakeError(
                    f"there is no hourly folder below {self.lake.layout.prefix}",
                    cause="folder_missing",
                    hint="Check VIPLAKE_LAKE, VIPLAKE_ENVIRONMENT and VIPLAKE_PREFIX. In a new lake: viplake run.",
                )
            first = Hour.parse(f"{days[0]}/00")
            self.trim = True
            self.completes = last == self.current
        if first > last:
            raise SettingsError(f"no Hour from {first} on counts yet; the newest that counts is {last}")
        if scope.first is not None and not await self._overlaps(first, last):
            raise SettingsError(
                f"nothing is known of any Hour from {first} to {last}: no folder, no ledger, no row of a dataset",
                hint="Give a range that overlaps the lake's Hours.",
            )
        return sorted({*first.to(last), *(hour for hour in scope.hours if hour <= self.current)})

    async def _overlaps(self, first: Hour, last: Hour) -> bool:
        """Whether the lake or the history knows a day of the range: else each of its Hours would be missed for good."""
        known = {hour.day for hour in self._merged_history(self.stands).rows(JOBS) if first <= hour <= last}
        known |= {*await self.listing.days(), *await self.listing.ledger_days()}
        return any(first.day <= day <= last.day for day in known)

    async def _refuse_to_drop(self, first: Hour, last: Hour) -> None:
        """Refuse Hours from the lake's first record on: their rows are made from the lake, so they would come back."""
        for day in sorted({*await self.listing.days(), *await self.listing.ledger_days()}):
            if day > last.day:
                return
            hours = Hour.parse(f"{day}/00").to(Hour.parse(f"{day}/23"))
            facts = [one async for found in self.listing.facts(hours) for one in _from_first_record(found)]
            if facts and facts[0].hour > last:
                return
            if facts:
                record = facts[0].hour
                before = f"viplake observe --drop --from {first} --to {record.shift(-1)} drops those before it. "
                raise SettingsError(
                    f"the lake has records from {record} on: rows from there on are made from the lake, so that"
                    " viplake observe --rebuild would write them again",
                    hint=f"{before if first < record else ''}For planned outages there is [[calendar]], docs/rules.md.",
                )

    def _update(self, rows: Mapping[Hour, Row], wanted: Iterable[Hour]) -> list[Hour]:
        """Return the Hours to read: the newest, those since the last row, and once a day those that may have
        changed.
        """
        newest = max((hour for hour in rows if hour <= self.current), default=self.current)
        hours = {self.current.shift(-back) for back in range(NEWEST)}
        if newest.day != self.current.day:
            recent = Hour.of(self.now - LOOK_BACK)
            hours |= set(recent.to(self.current))
            oldest = Hour.of(self.now - HOLES)
            hours |= {hour for hour, row in rows.items() if oldest <= hour < recent and row[1] == "0"}
        known = {hour for hour in hours if hour in rows or hour > newest}
        return sorted(known | set(newest.shift(1).to(self.current)) | {h for h in wanted if h <= self.current})

    # -- the lake ----------------------------------------------------------------------------------------------

    async def look(self, hours: list[Hour], progress: Callable[[Hour], None] | None) -> None:
        """List the Hours, day by day, and keep of each what its rows need."""
        volumes = Volumes(self.place.store, self.place.published, self.place.versions)
        async for day in self.listing.facts(hours, days=self.days, ledger_days=self.ledger_days):
            counting = [facts for facts in day if self._counts(facts)]
            if self.trim:
                counting = _from_first_record(counting)
                self.trim = not counting
            await volumes.add(counting)
            self.fresh = [*self.fresh, *counting][-NEWEST:]
            self.facts.update((facts.hour, replace(facts, tables=(), promise=None, unplaced=())) for facts in counting)
            if progress is not None:
                progress(day[-1].hour)
        await volumes.flush()
        self.warnings += [
            f"the schema of {hour} cannot be read, so it has no row of tables: {facts.schema.problem}"
            for hour, facts in sorted(self.facts.items())
            if facts.schema is not None and facts.schema.problem is not None
        ]

    async def drop_volumes(self) -> None:
        """Remove the rows of the range from the table volumes; those of the datasets go with the new version."""
        if self.dropping is not None:
            volumes = Volumes(self.place.store, self.place.published, self.place.versions)
            self.dropped = {VOLUMES.name: await volumes.drop(*self.dropping)}

    def _without_dropped(self, history: History) -> History:
        """The history without the rows that are to go."""
        if self.dropping is None:
            return history
        first, last = self.dropping
        frames = {}
        for name, frame in history.frames.items():
            left = {hour: row for hour, row in frame.rows.items() if not first <= hour <= last}
            self.dropped[name] = len(frame.rows) - len(left)
            frames[name] = Frame(left, frame.extra)
        return replace(history, frames=frames)

    async def remember_schemas(self) -> None:
        """Spare the next pass what this one read, where it changed anything."""
        looked = self.listing
        fresh = {
            facts.hour: HourRecords(looked.marks.get(facts.hour), looked.records.get(facts.hour, {}))
            for facts in self.fresh
            if facts.hour in looked.marks or facts.hour in looked.records
        }
        hours = dict(sorted((self.copies | fresh).items())[-_COPIED:])
        marks = {copy.schema for copy in hours.values() if copy.schema is not None}
        data = _schemas_bytes({mark: looked.known[mark].facts for mark in marks if mark in looked.known}, hours)
        if fresh and data != self.schemas and self.newest.number > self.read_at:
            await self.place.store.put(self.place.versions + _SCHEMAS, data)

    def _counts(self, facts: HourFacts) -> bool:
        return facts.hour < self.current or self.now >= facts.hour.start + self.settings.grace or facts.has_receipt

    # -- writing -----------------------------------------------------------------------------------------------

    def _merged_history(self, history: History) -> History:
        """What stands, with what people gave us."""
        frames = dict(history.frames)
        for given, preferred in ((self.held, False), (self.imports, True)):
            for dataset in DATASETS:
                if (frame := given.get(dataset.name)) is not None:
                    frames[dataset.name] = take_in(dataset, frames[dataset.name], frame, preferred=preferred)
            if (jobs := given.get(JOBS.name)) is not None:
                frames[RUNS.name] = imported_runs(frames[RUNS.name], jobs.rows)
        return replace(history, frames=frames)

    async def _merge(self, stands: History) -> History:
        """The history after this pass, its past months closed; before it what stood, with the months that change."""
        every = [one.month for one in stands.closed]
        self.stands = await self.chain.opened(stands, every if self.imports else self.months)
        history = self._without_dropped(self._merged_history(self.stands))
        frames = {d.name: upsert(d, history.frames[d.name], self.facts) for d in DATASETS}
        if (due := self.settings.due) is not None:
            frames[JOBS.name] = expected_daily(frames[JOBS.name], self.facts, due)
        known = [history.first_run] if history.first_run is not None else []
        first = min([*known, *runs_of(frames[RUNS.name])], default=None)
        reaches_back = history.closed and first is not None and month_of(first) <= history.closed[-1].month
        if first != history.first_run and reaches_back:  # missed Hours of closed months are ours from now on
            self.months |= frozenset(every)
            return await self._merge(stands)
        frames[RUNS.name] = attribute_missed(frames[RUNS.name], first, self.settings.due)
        built = history.built or self.completes
        self.merged = replace(history, frames=frames, built=built, first_run=first)
        result, pieces = await self.chain.closed(self.merged)
        self.pieces |= pieces
        return result

    async def write(self) -> Observed:
        """Write the new version, unless nothing changed; what another wrote meanwhile is merged again."""
        while True:
            base = self.newest
            self.result = await self._merge(unpack(base.content))
            content = pack(self.result)
            self.newest = await self.chain.versions.update(
                lambda found, base=base, content=content: content if found == base.content else found,  # type: ignore[misc]
                known=base,
            )
            if self.newest.content == content or self.newest.number == base.number:
                break
        result = self._compare(self.stands, self.merged)
        for event, rows in (("healed", result.healed), ("worsened", result.worsened)):
            for row in rows:
                log.info(event, **_change_json(row))
        if any(result.dropped.values()):
            log.info("dropped", **result.dropped)
        for warning in result.warnings:
            log.warning("observe", detail=warning)
        return result

    def _compare(self, old: History, new: History) -> Observed:
        added = tuple(hour for hour in sorted(self.facts) if hour not in old.rows(JOBS))
        changed = [
            (worsens(dataset, was, now), ChangedRow(hour, dataset.name, _cells(dataset, was), _cells(dataset, now)))
            for dataset in DATASETS
            for hour in sorted(self.facts)
            if (was := old.rows(dataset).get(hour)) is not None
            and (now := new.rows(dataset)[hour])[: len(dataset.columns)] != was[: len(dataset.columns)]
        ]
        hours = sorted(self.facts)
        return Observed(
            first=hours[0] if hours else None,
            last=hours[-1] if hours else None,
            added=added,
            healed=tuple(row for is_worse, row in changed if not is_worse),
            worsened=tuple(row for is_worse, row in changed if is_worse),
            unchanged=len(set(hours) - set(added) - {row.hour for _, row in changed}),
            imported={name: len(frame.rows) for name, frame in sorted(self.imports.items())},
            dropped=self.dropped,
            rows={dataset.name: new.count(dataset) for dataset in DATASETS},
            requests=dict(self.listing.requests),
            version=self.newest.number,
            warnings=tuple(self.warnings),
            facts=tuple(self.fresh),
        )

    async def publish(self, clock: Clock) -> None:
        """Put copies under the names that people know; if another wrote a newer version meanwhile, that one."""
        while True:
            history = unpack(self.newest.content)
            for dataset in DATASETS:
                if self.newest.number == self.read_at and dataset.name in self.same:
                    continue
                data = await whole_file(self.chain, history, dataset, self.pieces)
                if data != self.published.get(dataset.name):
                    await self._put(self.place.published + dataset.file, data, clock)
                    self.published[dataset.name] = data
            newest = await self.chain.versions.newest(known=self.newest)
            if newest.number == self.newest.number:
                return
            self.newest = newest

    async def _put(self, key: str, data: bytes, clock: Clock) -> None:
        """Write a published file. Where it is held open or locked, leave its new content beside it and say so."""
        for attempt in range(_PUBLISH_ATTEMPTS):
            try:
                await self.place.store.put(key, data)
            except LakeError as error:
                failure = error
                await clock.sleep(attempt)
            else:
                return
        beside = f"{key}.new"
        try:
            await self.place.store.put(beside, data)
        except LakeError:
            raise failure from None
        raise LakeError(
            f"{failure.message}; its new content is in {beside}",
            cause=failure.cause.word,
            hint="Close the file wherever it is open, or make it writable; the next update writes it.",
        )


def _from_first_record(day: list[HourFacts]) -> list[HourFacts]:
    """Return the day from its first Hour on that has a folder or a ledger."""
    first = next((place for place, facts in enumerate(day) if facts.present or facts.run is not None), len(day))
    return day[first:]


def _change_json(row: ChangedRow) -> dict[str, Any]:
    return {"hour": str(row.hour), "dataset": row.dataset, "old": row.old, "new": row.new}


def _cells(dataset: HourDataset, row: Row) -> dict[str, str]:
    return dict(zip(dataset.columns, row, strict=False))


class HourRecords(Part, frozen=True):
    """Copies of an Hour's records: ETag and size of its schema; manifest and last event, by key and ETag."""

    schema: tuple[str, Count] | None
    records: dict[str, str]


class _KeptSchemas(Part, frozen=True):
    kept: Literal[True]
    tables: dict[str, tuple[str, ...]]
    seen: tuple[tuple[str, Count, str], ...]
    hours: dict[str, HourRecords] = {}  # noqa: RUF012 - msgspec copies it


def _schemas_bytes(schemas: Mapping[tuple[str, int], SchemaFacts], hours: Mapping[Hour, HourRecords] = {}) -> bytes:
    readable = {mark: facts for mark, facts in schemas.items() if facts.tables is not None}
    tables = {facts.sha256: facts.tables for facts in readable.values()}
    seen = sorted((etag, size, facts.sha256) for (etag, size), facts in readable.items())
    copies = {"hours": {str(hour): copy for hour, copy in hours.items()}} if hours else {}
    return encode({"format": FORMAT, "kept": True, "tables": dict(sorted(tables.items())), "seen": seen, **copies})


def _parse_schemas(data: bytes | None) -> dict[tuple[str, int], SchemaFacts]:
    """Read them; what cannot be read is read from the lake again."""
    try:
        record = decode(data or b"", _KeptSchemas, has_format=False)
        facts = {digest: SchemaFacts(digest, tables) for digest, tables in record.tables.items()}
        return {(etag, size): facts[digest] for etag, size, digest in record.seen}
    except (ValueError, TypeError, KeyError):
        return {}


def _parse_hours(data: bytes | None) -> dict[Hour, HourRecords]:
    """Read the copies beside the schemas, likewise."""
    try:
        record = decode(data or b"", _KeptSchemas, has_format=False)
        return {Hour.parse(hour): copy for hour, copy in record.hours.items()}
    except (ValueError, TypeError, SettingsError):
        return {}


def _chain(place: HistoryLocation) -> Chain:
    return Chain(place.store, place.versions)
