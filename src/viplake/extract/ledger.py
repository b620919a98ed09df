"""I/O. The ledger: an Hour's events, appended one by one, never changed.

Each event is an object of its own, created at the next number with `put_if_absent`, so the process that writes a number
first has it and everybody else re-reads. That one rule is the lock (who claimed), the fence (a worker that slept
finds its number taken) and the recovery (what is there is what happened), alike on S3, in folders and in memory.

`settled.json` is a copy of the last events of the newest final Hours. The listing alone decides which events there are:
the copy of an event counts only while the listing shows the very object that was copied. So an old, damaged or missing
copy costs requests and hides nothing, also beside an older viplake, which does not know it.
"""

from __future__ import annotations

import asyncio
import os
import platform
import uuid
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from viplake.errors import CAUSES, LakeError, NotYet
from viplake.extract.job import Event, ExportJob, IllegalTransition, State, apply, replay
from viplake.lake.records import FORMAT, EventKind, Part, Worker, decode, encode, event_bytes, parse_event, reading, utc

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from viplake.clock import Clock
    from viplake.lake import Lake
    from viplake.model import Hour, StoredFile

log = structlog.get_logger(__name__)

_SUMMARY = ("posts", "late", "claimed_at", "triggered_at", "replicated_at")
_STILL_OVERDUE = frozenset({EventKind.REPLICATED, EventKind.PROMISED, EventKind.WORKING})
"""Events of a late attempt. They repeat why the Hour is overdue, for a reader of the last event alone."""

_ATTEMPTS = 3

_FINAL = frozenset({EventKind.DELIVERED, EventKind.FAILED})


class _Settled(Part, frozen=True):
    """Last events of final Hours, by the object that they were read from (`_object`).

    With a delivery among them it also names the owner of the lake, because from then on that cannot change.
    """

    events: dict[str, str]
    environment: str = ""
    company: str = ""


def this_worker() -> Worker:
    """This process. `host` names the machine's boot and the process table, so that containers differ."""
    boot = _first_line(Path("/proc/sys/kernel/random/boot_id"))
    table = _link(Path("/proc/self/ns/pid"))
    return Worker(
        host="/".join(filter(None, (platform.node(), boot, table))), pid=os.getpid(), started=_started("self")
    )


def is_dead(worker: Worker, me: Worker) -> bool:
    """Return whether this worker has certainly ended: it ran here, and its process no longer exists or is this one.

    A worker of our own process is an earlier tick of ours, which has ended, since one process runs one tick at a time.
    """
    if worker.host != me.host:
        return False
    if worker.pid == me.pid:
        return True
    try:
        os.kill(worker.pid, 0)
    except (ProcessLookupError, OverflowError):  # no system numbers its processes beyond what kill() takes
        return True
    except OSError:
        return False
    return worker.started != _started(str(worker.pid))


def _first_line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _started(pid: str) -> str:
    """Clock ticks from boot to the start of a process: field 22 of /proc/PID/stat (proc(5)); empty elsewhere."""
    _, _, after_name = _first_line(Path(f"/proc/{pid}/stat")).rpartition(")")
    fields = after_name.split()
    return fields[19] if len(fields) > 19 else ""  # noqa: PLR2004 - the 22nd, the name and pid before it cut off


@dataclass(slots=True)
class Ledger:
    """The ledger of one environment, with what it has read.

    Attributes:
        lake: that holds the ledger.
        clock: for the time of new events.
        me: who writes them.
        dead: returns whether a worker certainly no longer runs.
        jobs: what was read or written last, by Hour.
        damaged: Hours with records that could not be read, and the reason.
        owner: environment and company of the lake, where the copy of settled Hours has them.
    """

    lake: Lake
    clock: Clock
    me: Worker = field(default_factory=this_worker)
    dead: Callable[[Worker, Worker], bool] = is_dead
    nonce: Callable[[], str] = lambda: uuid.uuid4().hex
    jobs: dict[Hour, ExportJob] = field(default_factory=dict)
    damaged: dict[Hour, str] = field(default_factory=dict)
    owner: tuple[str, str] | None = None
    _copied: dict[str, str] = field(default_factory=dict)
    _settled: dict[str, str] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _mine: set[str] = field(default_factory=set)

    async def read_days(self, days: Iterable[str]) -> dict[Hour, ExportJob]:
        """All jobs with an event on these days (`20220510`), by Hour: one listing a day, and the copy of settled Hours.

        Of a final Hour only the last event is read, where the copy does not have it: it has all that is needed. An Hour
        with records that cannot be read is left out, with a warning: it must not stop the others.
        """
        prefixes = [self.lake.layout.ledger_day(day) for day in days]
        _, listings = await asyncio.gather(
            self._read_settled(), asyncio.gather(*(self.lake.store.files(prefix) for prefix in prefixes))
        )
        self._settled = {}
        by_hour: dict[Hour, dict[int, StoredFile]] = {}
        for file in (file for listing in listings for file in listing):
            if parsed := self.lake.layout.parse_event(file.key):
                by_hour.setdefault(parsed[0], {})[parsed[1]] = file
        self.damaged.clear()
        jobs = await asyncio.gather(*(self._read_or_skip(hour, files) for hour, files in sorted(by_hour.items())))
        found = {job.hour: job for job in jobs if job is not None}
        self.jobs.update(found)
        return found

    async def remember_settled(self, ended: Collection[Hour], environment: str, company: str) -> None:
        """Renew the copy with the last events of Hours that ended since `read_days`. A failure changes nothing.

        Args:
            ended: which; none: the copy stays as it is.
            environment: that owns the lake.
            company: likewise.
        """
        with suppress(LakeError):
            for hour in ended:
                files = await self._files(hour)
                await self._load_one(files[max(files)])
            delivers = any(job.state is State.DELIVERED for job in self.jobs.values())
            owner = {"environment": environment, "company": company} if delivers else {}
            record = {"format": FORMAT, **owner, "events": dict(sorted(self._settled.items()))}
            if ended:
                await self.lake.store.put(self.lake.layout.settled, encode(record))

    async def _read_settled(self) -> None:
        record = _Settled({})
        key = self.lake.layout.settled
        with suppress(LakeError), reading(key):
            record = decode(await self.lake.store.get(key) or b"", _Settled)
        self._copied = record.events
        self.owner = (record.environment, record.company) if record.company else None

    async def read(self, hour: Hour) -> ExportJob:
        """The job of one Hour, IDLE where it has no event.

        Raises:
            LakeError: a record is damaged.
        """
        events = await self.events(hour)
        self.jobs[hour] = self._replay(hour, events)
        return self.jobs[hour]

    async def first_hour(self) -> Hour | None:
        """The oldest Hour with an event, None where there is none: two listings."""
        for day in await self.lake.store.folders(self.lake.layout.ledgers):
            events = [
                self.lake.layout.parse_event(file.key)
                for file in await self.lake.store.files(self.lake.layout.ledger_day(day))
            ]
            if hours := [event[0] for event in events if event is not None]:
                return min(hours)
        return None

    async def events(self, hour: Hour) -> list[Event]:
        """All events of one Hour, oldest first."""
        return await self._load(await self._files(hour))

    async def append(self, hour: Hour, kind: EventKind, **data: Any) -> ExportJob:
        """Append the next event of an Hour; return the job after it.

        Raises:
            NotYet: another worker wrote that number first, or has written what makes this event impossible
                (`claim_lost`); what it wrote has been read.
            LakeError: the event is certainly not stored.
            IllegalTransition: the state does not allow this event; nothing was written.
        """
        async with self._turn:
            job = self.jobs.get(hour) or ExportJob(hour)
            if job.state is State.OVERDUE and kind in _STILL_OVERDUE:
                data = {"late": True, "cause": job.cause, "detail": job.detail} | data
            event = Event(kind, self.clock.now(), self.me, self.nonce(), data)
            overtaken = NotYet(f"another viplake has gone on with {hour}", cause="claim_lost")
            try:
                after = apply(job, event)
            except IllegalTransition:
                if job.last is None or self.is_mine(job):
                    raise
                raise overtaken from None  # a heartbeat of ours has read what another wrote meanwhile
            if not await self._create(self.lake.layout.event(hour, after.number), event):
                await self.read(hour)
                raise overtaken
            self._mine.add(event.nonce)
            self.jobs[hour] = after
            fields = {name: utc(value) if isinstance(value, datetime) else value for name, value in data.items()}
            log.info(str(kind), hour=str(hour), **fields)
            return after

    def is_mine(self, job: ExportJob) -> bool:
        """Whether this very ledger wrote the job's last event."""
        return job.last is not None and job.last.nonce in self._mine

    def holder_is_dead(self, job: ExportJob) -> bool:
        """Whether the writer of the job's last event certainly no longer lives."""
        return job.last is not None and not self.is_mine(job) and self.dead(job.last.worker, self.me)

    async def _create(self, key: str, event: Event) -> bool:
        """Create the object. After a lost response, read it back: ours, another writer's, or absent (then retry)."""
        data = _event_bytes(event)
        failure: LakeError | None = None
        for _ in range(_ATTEMPTS):
            try:
                if await self.lake.store.put_if_absent(key, data):
                    return True
            except LakeError as error:
                if not error.transient:
                    raise
                failure = error
            there = await self.lake.store.get(key)
            if there is not None:
                return _nonce_of(there) == event.nonce
        raise failure or LakeError(f"{key} is refused as existing, but is not there")

    async def _files(self, hour: Hour) -> dict[int, StoredFile]:
        listing = await self.lake.store.files(self.lake.layout.ledger(hour))
        return {parsed[1]: file for file in listing if (parsed := self.lake.layout.parse_event(file.key))}

    async def _read_or_skip(self, hour: Hour, files: Mapping[int, StoredFile]) -> ExportJob | None:
        try:
            last = max(files)
            event = await self._load_one(files[last])
            if event.kind in _FINAL:
                return _from_last(hour, last, event)
            return self._replay(hour, await self._load(files))
        except LakeError as error:
            if error.cause.word != "ledger_damaged":
                raise
            log.warning("ledger_damaged", hour=str(hour), detail=error.message)
            self.damaged[hour] = error.message
            return None

    async def _load(self, files: Mapping[int, StoredFile]) -> list[Event]:
        """The events of these numbers, which are all from the first on."""
        if files and len(files) != max(files):
            missing = min(set(range(1, max(files))) - set(files))
            raise LakeError(f"event {missing} before {files[max(files)].key} is gone", cause="ledger_damaged")
        return list(await asyncio.gather(*(self._load_one(files[number]) for number in sorted(files))))

    async def _load_one(self, file: StoredFile) -> Event:
        name = _object(file)
        copied = self._copied.get(name)
        data = await self.lake.store.get(file.key) if copied is None else copied.encode()
        if data is None:
            raise LakeError(f"{file.key} vanished while it was read", cause="ledger_damaged")
        at = None if file.modified is None else self.clock.from_store(file.modified)
        event = _parse_event(data, file.key, at)
        if event.kind in _FINAL and file.modified is not None:
            self._settled[name] = data.decode()
        return event

    def _replay(self, hour: Hour, events: Iterable[Event]) -> ExportJob:
        try:
            return replay(hour, events)
        except IllegalTransition as error:
            raise LakeError(f"the ledger of {hour} is inconsistent: {error}", cause="ledger_damaged") from None


def _object(file: StoredFile) -> str:
    """Name an object as it is now: written again, it has another time or ETag."""
    return f"{file.key} {file.size} {file.modified and file.modified.isoformat()} {file.etag}"


def _from_last(hour: Hour, number: int, event: Event) -> ExportJob:
    """A final job from its last event alone, which carries a summary for this."""
    summary = {name: event.data[name] for name in _SUMMARY if name in event.data}
    # What it was before is not known any more; any state from which the table knows this event will do.
    return apply(replace(ExportJob(hour, number=number - 1), state=State.OVERDUE, **summary), event)


def summary_of(job: ExportJob) -> dict[str, Any]:
    """Return the figures of the run that a final event repeats, so that readers need no other event."""
    return {"job_guid": job.job_guid} | {name: getattr(job, name) for name in _SUMMARY}


def _event_bytes(event: Event) -> bytes:
    return event_bytes(event.kind, event.at, event.nonce, event.worker, dict(event.data))


def _nonce_of(data: bytes) -> str | None:
    try:
        return parse_event(data, "an event").nonce
    except LakeError:
        return None


def _parse_event(data: bytes, key: str, stored_at: datetime | None) -> Event:
    record = parse_event(data, key)
    members = record.data
    if record.cause and record.cause not in CAUSES:
        members["cause"] = "unexpected"  # a word of a later viplake: still a failure, and still a record
    return Event(record.event, stored_at or record.at, record.worker, record.nonce, members)
