"""I/O. The driver of a run: one tick advances every open Hour as far as possible, then claims the current Hour.

`job` decides the next step from the events in the ledger; this module executes it, and records each step before the
next begins. So a tick may crash at any point, and the next one, on any machine, continues from the ledger. `run`
repeats ticks with sleeps in between; `collect` reopens an Hour and then does the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog

from viplake.errors import (
    CAUSES,
    CredentialsError,
    DeliveryError,
    LakeError,
    NetworkError,
    NotYet,
    SettingsError,
    VendorError,
    ViplakeError,
)
from viplake.extract.job import (
    HEARTBEAT,
    LAST_CHANCE,
    RULE,
    TRANSITIONS,
    UNTRIGGERED,
    Claim,
    Close,
    Deferral,
    Done,
    ExportJob,
    GuidAdoption,
    IllegalTransition,
    Land,
    Poll,
    State,
    Step,
    TakeOver,
    Wait,
    after_too_early,
    next_step,
)
from viplake.extract.landing import EMPTY_LIST_PATIENCE, Landing, RunSettings
from viplake.extract.ledger import Ledger, summary_of
from viplake.extract.outcome import Outcome, Word, outcome_of, seconds_of
from viplake.lake.hours import hour_folder
from viplake.lake.proof import own_lake, read_receipt
from viplake.lake.records import EventKind
from viplake.model import Hour
from viplake.network.retry import pause
from viplake.vendor.port import AnswerUnreadable, Doubted, TooEarly, Triggered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from datetime import datetime

    from viplake.clock import Clock
    from viplake.extract.transfer import Progress
    from viplake.lake import Lake
    from viplake.model import Promise
    from viplake.vendor.port import Vendor

log = structlog.get_logger(__name__)

SLEEP_IN_PLACE: Final = 120.0
"""Seconds to the next allowed trigger that a tick waits for, so that a rolling rule does not ratchet forward."""

REPOST_AFTER: Final = 5.0
"""Seconds between a lost answer and the one re-POST, where the vendor did not ask for more."""

LONGEST_REPOST_WAIT: Final = 60.0
RETRY_UNSENT: Final = timedelta(seconds=30)
"""When to try again after a trigger that surely was never sent."""

STOP_GRACE: Final = 20.0
"""Seconds to complete a trigger in flight after a stop signal: Fargate gives 30 before it kills."""

TIMES_LOST: Final = (
    "Every file was in the folder with its size, but newer than the delivery. So viplake fetches the files from Veson"
    " again. If you restore the copy with its times, it needs no Veson: cp -p"
)
"""Note on an Hour that lost its Receipt and was copied without the times of its files, such as with `cp -r`."""

_GUID_ATTEMPTS: Final = 6
_JITTER: Final = 2.0


def _silent(_hour: Hour, _progress: Progress, _promise: Promise) -> None:
    pass


async def _see_through(work: Coroutine[Any, Any, None]) -> None:
    """Do the work. After a stop signal, finish it before stopping: a trigger cut off here would lose its response."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=STOP_GRACE)
        raise
    finally:
        task.cancel()


@dataclass(slots=True)
class Extraction:
    """Brings Hours from the vendor to the lake.

    Attributes:
        settings: of the run.
        vendor, clock: the ports.
        ledger: the Hours' events, and the lake.
        rng: for jitter.
        on_progress: called with the progress of the files of an Hour.
    """

    settings: RunSettings
    vendor: Vendor
    clock: Clock
    ledger: Ledger
    rng: random.Random = field(default_factory=random.Random)
    on_progress: Callable[[Hour, Progress, Promise], None] = _silent
    _owned: bool = False
    _begun: tuple[datetime, float] | None = None
    _unsaved: dict[Hour, str] = field(default_factory=dict)
    _hints: dict[Hour, str] = field(default_factory=dict)
    _notes: dict[Hour, str] = field(default_factory=dict)

    @property
    def lake(self) -> Lake:
        """Return the lake that Hours are delivered to."""
        return self.ledger.lake

    # -- the three ways in ---------------------------------------------------------------------------------

    async def tick(self) -> Outcome:
        """Take every open Hour of today and yesterday one step on, oldest first, then claim the current one.

        Raises:
            SettingsError: the lake is another environment's. Every other failure is an outcome.
        """
        return await self._tick(self._begin())

    async def run(self) -> Outcome:
        """Tick and sleep until the Hour that is current now is delivered, failed or overdue.

        Raises:
            SettingsError: as `tick`.
        """
        hour = self._begin()
        return await self._until_final(lambda: self._tick(hour))

    async def collect(self, hour: Hour, job_guid: str | None = None) -> Outcome:
        """Reopen an Hour and bring it to its end, from a GUID of the vendor where ours was lost.

        A delivered Hour stays as it is, unless its Receipt is gone: then it is proven again.

        Raises:
            SettingsError: the lake is another environment's, or no GUID is known.
        """
        self._begin()
        try:
            await self._own_lake()
            await self._reopen(hour, job_guid)
        except ViplakeError as error:
            if isinstance(error, SettingsError):
                raise
            return self._hindrance(hour, error)
        return await self._until_final(lambda: self._attempt_anew(hour))

    async def _until_final(self, once: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Again and again with sleeps, until the Hour is final or overdue; in any case not for ever."""
        settings = self.settings
        patience = RULE.total_seconds() + settings.replication_timeout + settings.transfer_timeout
        give_up = self.clock.monotonic() + patience
        while True:
            outcome = await once()
            if not self._goes_on(outcome) or self.clock.monotonic() > give_up:
                return outcome
            await self._pause(outcome)

    def _goes_on(self, outcome: Outcome) -> bool:
        """Whether waiting helps, where what hinders us passes: as long as a trigger may be under way.

        Before that, one more try a poll later outlasts a blink; a host that stays away ends the run soon and clearly.
        """
        if outcome.outcome == "waiting":
            return outcome.cause != "hour_taken"
        if outcome.cause is None or not CAUSES[outcome.cause].transient:
            return False
        state = self._job(outcome.hour).state
        blink = self._begun is not None and self.clock.monotonic() - self._begun[1] < self.settings.poll_seconds
        return state in {State.CLAIMED, State.UNCERTAIN} or (state in {State.IDLE, State.DEFERRED} and blink)

    def _begin(self) -> Hour:
        """The Hour that is current as we begin; from here on time is measured, not read."""
        self._begun = self.clock.now(), self.clock.monotonic()
        return Hour.of(self._begun[0])

    def _steady_now(self) -> datetime:
        """The time by a clock that does not jump while we run: for deadlines."""
        if self._begun is None:
            return self.clock.now()
        now, monotonic = self._begun
        return now + timedelta(seconds=self.clock.monotonic() - monotonic)

    def settled(self) -> tuple[Hour, ...]:
        """The Hours that this very process brought to an end (or past their deadline), oldest first."""
        ends = {State.DELIVERED, State.FAILED, State.OVERDUE}
        return tuple(h for h, job in sorted(self.ledger.jobs.items()) if job.state in ends and self.ledger.is_mine(job))

    # -- a tick --------------------------------------------------------------------------------------------

    async def _tick(self, hour: Hour) -> Outcome:
        try:
            yesterday = hour.shift(-24)
            await self.ledger.read_days(sorted({yesterday.day, hour.day}))
            before = {h for h, job in self.ledger.jobs.items() if job.is_final}
            if not self._is_idle(hour):
                await self._own_lake()
            if hour not in self.ledger.jobs:
                await self.ledger.read(hour)  # a damaged record of this Hour is an error, not skipped
            # A trigger cannot wait while older Hours transfer: its Hour may be over by then.
            is_due = isinstance(self._next(self._job(hour)), Claim | TakeOver)
            first = await self._attempt(hour) if is_due else None
            open_jobs = {h: job for h, job in self.ledger.jobs.items() if job.number and not job.is_final}
            others = sorted(h for h in open_jobs if h < hour)
            tried = [await self._attempt(other) for other in others]
            given_up = await self._abandon(hour, others)
            also = [self._come_to(one.hour) if one.hour in given_up else one for one in tried]
        except SettingsError:
            raise
        except ViplakeError as error:
            return self._hindrance(hour, error)
        outcome = first or await self._attempt(hour)
        ended = {h for h, job in self.ledger.jobs.items() if job.is_final} - before
        await self.ledger.remember_settled(ended, self.settings.environment.name, self.settings.company)
        return replace(outcome, also=tuple(also))

    def _job(self, hour: Hour) -> ExportJob:
        return self.ledger.jobs.get(hour) or ExportJob(hour)

    def _is_idle(self, hour: Hour) -> bool:
        """Whether nothing is to do in a lake that is ours for good: then its owner need not be read."""
        ours = self.ledger.owner == (self.settings.environment.name, self.settings.company)
        return ours and self._job(hour).is_final and all(job.is_final for job in self.ledger.jobs.values())

    async def _own_lake(self) -> None:
        if not self._owned:
            settings = self.settings
            await own_lake(self.lake, environment=settings.environment.name, company=settings.company)
            self._owned = True

    async def _abandon(self, hour: Hour, others: list[Hour]) -> set[Hour]:
        """Two Hours may be open at once; an older one has had its try just now, and has its last chances from here."""
        given_up = set()
        for other in others:
            job = self.ledger.jobs[other]
            held = job.last is not None and not self.ledger.is_mine(job) and isinstance(self._next(job), Wait)
            if other >= hour.shift(-1) or job.is_final or job.state is State.OVERDUE or held:
                continue
            chance = job.opened_at is not None and self._steady_now() < job.opened_at + LAST_CHANCE
            kind = EventKind.OVERDUE if chance and (job.state, EventKind.OVERDUE) in TRANSITIONS else EventKind.FAILED
            with contextlib.suppress(NotYet):  # another has gone on with it: then it is not abandoned
                await self._append(other, kind, cause="abandoned")
                given_up.add(other)
        return given_up

    async def _attempt(self, hour: Hour) -> Outcome:
        """Take one Hour as far as it can go now. Every failure but a wrong setting is an outcome."""
        try:
            if job_guid := self._unsaved.get(hour):
                await self._triggered(hour, job_guid)
            until = await self._advance(hour)
        except SettingsError:
            raise
        except ViplakeError as error:
            return self._hindrance(hour, error)
        return self._come_to(hour, until=until)

    async def _attempt_anew(self, hour: Hour) -> Outcome:
        """`_attempt` from what the lake says now."""
        try:
            await self.ledger.read(hour)
        except ViplakeError as error:
            return self._hindrance(hour, error)
        return await self._attempt(hour)

    async def _advance(self, hour: Hour) -> datetime | None:
        """Step after step, until the Hour is final or must wait; returns until when, where that is known."""
        while True:
            job = self._job(hour)
            match self._next(job):
                case Done():
                    return None
                case Close(cause):
                    await self._append(hour, EventKind.FAILED, cause=cause, detail=job.detail)
                case Wait(until, held):
                    if held or not await self._sleep_in_place(job, until):
                        return until
                case Claim():
                    await self._claim(job)
                case TakeOver():
                    await self._post_again(hour, "the process that claimed it is gone")
                case Poll(last):
                    if not await self._poll(job, last=last):
                        return None
                case Land(last):
                    if not await self._land(job, last=last):
                        return None

    def _next(self, job: ExportJob) -> Step:
        return next_step(
            job,
            self.clock.now() if job.state in UNTRIGGERED else self._steady_now(),
            self.settings.limits,
            holder_is_dead=self.ledger.holder_is_dead(job),
            is_mine=self.ledger.is_mine(job),
        )

    async def _sleep_in_place(self, job: ExportJob, until: datetime | None) -> bool:
        """Wait here for a trigger that is soon allowed; False where it is not soon."""
        if until is None or job.state is not State.DEFERRED:
            return False
        left = (until - self.clock.now()).total_seconds()
        if left > SLEEP_IN_PLACE:
            return False
        await self.clock.sleep(left + self.rng.uniform(0, _JITTER))
        await self.ledger.read(job.hour)
        return True

    # -- the trigger ---------------------------------------------------------------------------------------

    async def _claim(self, job: ExportJob) -> None:
        """Token, claim, POST: in this order, so that a claim is followed by its trigger at once."""
        hour = job.hour
        if job.posts == 0:
            await self._refuse_taken_folder(hour)
        try:
            await self.vendor.authorize()
        except (CredentialsError, VendorError, NetworkError) as error:
            if job.cause != error.cause.word:
                await self._append(hour, EventKind.DEFERRED, cause=error.cause.word, detail=error.message)
            raise
        await self._append(hour, EventKind.CLAIMED)
        await self._post(hour)

    async def _refuse_taken_folder(self, hour: Hour) -> None:
        if (await hour_folder(self.lake, hour)).files:
            folder = self.lake.layout.folder(hour)
            raise NotYet(f"{folder} holds files that viplake did not put there", cause="hour_taken")

    async def _post(self, hour: Hour) -> None:
        """Send the trigger that was just claimed, and record the result."""
        if self.clock.now() not in hour:
            cause = "trigger_ack_lost" if self.ledger.jobs[hour].reposted else "trigger_drift"
            await self._append(hour, EventKind.FAILED, cause=cause, detail="the Hour was over before the trigger")
            return
        try:
            await _see_through(self._ask_for_export(hour))
        except (NetworkError, CredentialsError) as error:
            unsent = isinstance(error, NetworkError) and not error.sent
            if isinstance(error, NetworkError) and not unsent:
                await self._lost(hour, error)
                return
            again = self.clock.now() + RETRY_UNSENT
            why = {"cause": error.cause.word, "detail": error.message}
            await self._append(hour, EventKind.DEFERRED, not_before=again, unsent=unsent, **why)
            raise
        except VendorError as error:
            if isinstance(error, AnswerUnreadable) or error.cause.word == "vendor_unavailable":
                await self._lost(hour, error)
            else:
                await self._append(hour, EventKind.FAILED, cause=error.cause.word, detail=error.message)

    async def _ask_for_export(self, hour: Hour) -> None:
        match answer := await self.vendor.trigger():
            case Triggered(job_guid):
                await self._triggered(hour, job_guid)
            case TooEarly():
                await self._too_early(hour, answer)

    async def _lost(self, hour: Hour, error: ViplakeError) -> None:
        """The response is lost, and it is unknown whether the trigger was accepted. Send it once more, once."""
        known = isinstance(error, AnswerUnreadable) and error.guids
        if known or self.ledger.jobs[hour].reposted:  # with a GUID the export exists: a second trigger may not be sent
            await self._append(hour, EventKind.FAILED, cause="trigger_ack_lost", detail=error.message)
            return
        wished = error.retry_after if isinstance(error, VendorError) else None
        await self.clock.sleep(min(wished or REPOST_AFTER, LONGEST_REPOST_WAIT))
        await self._post_again(hour, error.message)

    async def _post_again(self, hour: Hour, why: str) -> None:
        if self.clock.now() not in hour:
            await self._append(hour, EventKind.FAILED, cause="trigger_ack_lost", detail=why)
            return
        await self.vendor.authorize()
        await self._append(hour, EventKind.REPOSTING, detail=why)
        await self._post(hour)

    async def _too_early(self, hour: Hour, answer: TooEarly) -> None:
        triggers = [job.triggered_at for h, job in self.ledger.jobs.items() if h < hour and job.triggered_at]
        verdict = after_too_early(
            self.ledger.jobs[hour],
            answer.not_before,
            answer.job_guid,
            now=self.clock.now(),
            previous_trigger=max(triggers, default=None),
        )
        match verdict:
            case GuidAdoption(job_guid):
                await self._triggered(hour, job_guid)
            case Deferral(not_before, cause):
                await self._append(hour, EventKind.DEFERRED, cause=cause, not_before=not_before)
            case Close(cause):
                await self._append(hour, EventKind.FAILED, cause=cause)

    async def _triggered(self, hour: Hour, job_guid: str) -> None:
        """Keep the GUID, whatever it takes: without it a whole export is lost."""
        twin = next((h for h, job in self.ledger.jobs.items() if h != hour and job.job_guid == job_guid), None)
        if twin is not None:
            await self._append(
                hour, EventKind.FAILED, cause="duplicate_guid", detail=f"{job_guid} is the GUID of {twin}"
            )
            return
        self._unsaved[hour] = job_guid
        for attempt in range(_GUID_ATTEMPTS):
            job = self.ledger.jobs[hour]
            given_up = job.state is State.FAILED and job.job_guid is None
            kind = EventKind.REOPENED if given_up else EventKind.TRIGGERED
            if (job.state, kind) not in TRANSITIONS:
                break  # another took the Hour over while we waited for the answer, and got a GUID of its own
            try:
                await self.ledger.append(hour, kind, job_guid=job_guid)
            except NotYet:
                continue
            except LakeError as error:
                log.warning("job_guid_not_stored", hour=str(hour), job_guid=job_guid, detail=error.message)
                if attempt == _GUID_ATTEMPTS - 1:
                    hint = f"Repair the lake, then: viplake collect {hour} --job-guid {job_guid}"
                    raise LakeError(error.message, cause=error.cause.word, hint=hint) from None
                await self.clock.sleep(pause(attempt + 1, self.rng, first=2.0))
            else:
                break
        else:
            return  # others were faster each time; the next attempt tries again
        del self._unsaved[hour]

    # -- replication and landing ---------------------------------------------------------------------------

    async def _poll(self, job: ExportJob, *, last: bool) -> bool:
        """Ask whether the export is complete; True where the Hour can go on."""
        if job.job_guid is None:
            raise ViplakeError(f"{job.hour} is {job.state} without a job GUID")
        try:
            complete = await self.vendor.is_complete(job.job_guid)
        except (VendorError, NetworkError, CredentialsError) as error:
            if error.cause.word in {"vendor_job_failed", "job_gone"}:
                await self._append(job.hour, EventKind.FAILED, cause=error.cause.word, detail=error.message)
                return True
            # At the deadline an odd answer is believed; overdue, not failed: it may still turn out to be a passing one.
            await self._hindered(job, error.said if last and isinstance(error, Doubted) else error, last=last)
            return False
        if complete:
            await self._append(job.hour, EventKind.REPLICATED)
        elif last:
            word = self.vendor.last_word(job.job_guid)
            said = f"; the vendor's last word is {word}" if word else ""
            await self._overdue(job, "vendor_timeout", f"the export was not complete at the deadline{said}")
        return complete

    async def _land(self, job: ExportJob, *, last: bool) -> bool:
        """List, transfer and prove, under a lease that others respect while we live."""
        hour = job.hour
        if not self.ledger.is_mine(job) or job.state is State.OVERDUE:
            job = await self._append(hour, EventKind.WORKING)
        spent = 0.0 if last or job.replicated_at is None else (self._steady_now() - job.replicated_at).total_seconds()
        seconds = max(self.settings.transfer_timeout - max(spent, 0.0), 0.0) or self.settings.transfer_timeout
        try:
            await self._while_alive(hour, self._landing().land(job, seconds=seconds))
        except NotYet:
            raise
        except ViplakeError as error:
            await self._hindered(self.ledger.jobs[hour], error, last=last)
            return False
        return True

    async def _while_alive(self, hour: Hour, work: Awaitable[ExportJob]) -> None:
        """Do the work and show signs of life meanwhile; stop it when another has taken the Hour over."""
        working, beating = asyncio.ensure_future(work), asyncio.ensure_future(self._heartbeat(hour))
        try:
            await asyncio.wait((working, beating), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await beating  # it only ends before the work when the Hour is no longer ours
            await working
        finally:
            for task in (working, beating):
                task.cancel()
            await asyncio.gather(working, beating, return_exceptions=True)

    async def _heartbeat(self, hour: Hour) -> None:
        while not self.ledger.jobs[hour].is_final:
            await self.clock.sleep(HEARTBEAT)
            try:
                # Shielded: an event that is half written when the work ends would make the next one lose its number.
                await asyncio.shield(self.ledger.append(hour, EventKind.WORKING))
            except IllegalTransition:
                return  # delivered while we slept
            except LakeError as error:
                log.warning("heartbeat_not_stored", hour=str(hour), detail=error.message)

    async def _hindered(self, job: ExportJob, error: ViplakeError, *, last: bool) -> None:
        """Wait out what may pass; write down what will not, or what the deadline no longer allows."""
        hour = job.hour
        since = None if job.replicated_at is None else self._steady_now() - job.replicated_at
        empty = error.cause.word == "url_list_empty" and since is not None and since < EMPTY_LIST_PATIENCE
        if (error.transient or empty) and not last and job.state is not State.OVERDUE:
            log.warning("hindered", hour=str(hour), cause=error.cause.word, detail=error.message)
            return
        unproven = error.unproven if isinstance(error, DeliveryError) else frozenset()
        self._hints[hour] = error.hint
        await self._overdue(job, error.cause.word, error.message, unproven)

    async def _overdue(self, job: ExportJob, cause: str, detail: str, unproven: frozenset[str] = frozenset()) -> None:
        is_news = job.state is not State.OVERDUE or job.cause != cause or not unproven <= job.unproven
        if is_news and (job.state, EventKind.OVERDUE) in TRANSITIONS:  # else another has ended it meanwhile
            more = {"unproven": sorted(unproven)} if unproven else {}
            await self._append(job.hour, EventKind.OVERDUE, cause=cause, detail=detail, **more)

    # -- collect -------------------------------------------------------------------------------------------

    async def _reopen(self, hour: Hour, job_guid: str | None) -> None:
        job = await self.ledger.read(hour)
        guid = job_guid or job.job_guid
        receipt = await read_receipt(self.lake, hour)
        if job.state is State.DELIVERED and (receipt is not None or await self._prove_again(job, job_guid)):
            return
        if guid is None:
            raise SettingsError(
                f"no job GUID is known for {hour}",
                hint=f"Ask Veson for it, then: viplake collect {hour} --job-guid GUID",
            )
        if hour > Hour.of(self.clock.now()):
            raise SettingsError(f"{hour} is in the future")
        if job.number == 0:
            await self._refuse_taken_folder(hour)
        if receipt is not None and receipt.job_guid != guid:
            raise LakeError(
                f"the Receipt of {hour} proves export {receipt.job_guid}, so export {guid} cannot land there",
                cause="receipt_conflict",
                hint=f"The Hour is delivered. To record that: viplake collect {hour} --job-guid {receipt.job_guid}",
            )
        await self.vendor.authorize()  # an Hour is not reopened without a secret that Veson accepts
        await self._append(hour, EventKind.REOPENED, job_guid=guid)

    async def _prove_again(self, job: ExportJob, job_guid: str | None) -> bool:
        if job_guid not in {None, job.job_guid}:
            return False
        proof = await self._landing().prove_again(job)
        if proof == "times_lost":
            log.warning("times_not_restored", hour=str(job.hour))
            self._notes[job.hour] = TIMES_LOST
        return proof == "proven"

    def _landing(self) -> Landing:
        return Landing(self.settings, self.vendor, self.ledger, self.clock, self.on_progress)

    # -- outcomes -------------------------------------------------------------------------------------------

    async def _append(self, hour: Hour, kind: EventKind, **data: Any) -> ExportJob:
        if kind in {EventKind.FAILED, EventKind.OVERDUE}:
            job = self._job(hour)
            data = summary_of(job) | {"seconds": seconds_of(job, self.clock.now())} | data
        return await self.ledger.append(hour, kind, **data)

    async def _pause(self, outcome: Outcome) -> None:
        """Sleep until the next poll, or until something is due."""
        poll = self.settings.poll_seconds
        left = poll if outcome.until is None else (outcome.until - self.clock.now()).total_seconds()
        await self.clock.sleep(min(max(left, 0.0), poll) + self.rng.uniform(0, min(_JITTER, poll / 10)))

    def _hindrance(self, hour: Hour, error: ViplakeError) -> Outcome:
        """Return the outcome after a failure that no event records; a running export survives a short outage of the
        store.
        """
        state = self._job(hour).state
        passes = error.transient and state in {State.TRIGGERED, State.REPLICATED, State.PROMISED}
        word: Word = "waiting" if passes or isinstance(error, NotYet) else "failed"
        if word == "failed":
            log.warning("hindered", hour=str(hour), cause=error.cause.word, detail=error.message)
        return self._come_to(hour, (word, error.cause.word), detail=error.message, hint=error.hint)

    def _come_to(self, hour: Hour, verdict: tuple[Word, str | None] | None = None, **more: Any) -> Outcome:
        job = self._job(hour)
        if job.state is State.OVERDUE:
            more.setdefault("hint", self._hints.get(hour))
        more.setdefault("note", self._notes.get(hour))
        return outcome_of(job, self.settings.environment, self.lake.layout, self.clock.now(), verdict, **more)
