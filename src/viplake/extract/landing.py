"""I/O. The second half of an Hour: list, promise, transfer, prove.

The order of writes is the guarantee: the Promise before the first file, the Receipt only when a listing of the
folder shows every promised file with the size and the mark that it was stored with. A crash anywhere in between
leaves an Hour without a Receipt. Its next tick keeps the files that have landed and fetches the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal

import structlog

from viplake.errors import DeliveryError, LakeError, VendorError, ViplakeError
from viplake.extract.job import Limits
from viplake.extract.ledger import summary_of
from viplake.extract.outcome import seconds_of
from viplake.extract.transfer import Progress, TransferSettings, land
from viplake.lake import records
from viplake.lake.hours import hour_folder
from viplake.lake.layout import SCHEMA_NAME, check_names, schema_tables
from viplake.lake.proof import check_owner, md5_of_many, read_promise, read_receipt, write_receipt
from viplake.lake.reconcile import judge
from viplake.lake.records import EventKind
from viplake.lake.store import refuse_long_names
from viplake.lake.table_index import TableIndex
from viplake.model import Promise, ProvenFile, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from viplake.clock import Clock
    from viplake.extract.job import ExportJob
    from viplake.extract.ledger import Ledger
    from viplake.lake import Lake
    from viplake.model import Environment, Hour, StoredFile
    from viplake.vendor.port import ListedFile, Vendor

log = structlog.get_logger(__name__)

SETTLE_SECONDS: Final = 60.0
"""How long after `Complete` the vendor's list may still grow: what a working client of this API waited."""

EMPTY_LIST_PATIENCE: Final = timedelta(minutes=10)
"""How long a complete export may list no file before it counts as a failure."""

LOOKS: Final = 3
"""How often what is stored is looked at before it is given up: what differs is sent once more in between."""

ProofInFolder = Literal["proven", "times_lost", "unproven"]
"""Whether a folder proves its Hour without Veson. `times_lost`: every file has its size, but a later time."""

_MOST_LISTS: Final = 5 + LOOKS


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Settings of the run.

    Attributes:
        environment, company: that the Hours belong to.
        poll_seconds: between two polls.
        replication_timeout: seconds from the trigger to `Complete`.
        transfer_timeout: seconds from `Complete` to the Receipt.
        out_of_scope: tables that the vendor never delivers, by agreement.
        transfer: of the files.
    """

    environment: Environment
    company: str
    poll_seconds: float = 60.0
    replication_timeout: float = 3000.0
    transfer_timeout: float = 1800.0
    out_of_scope: frozenset[str] = frozenset()
    transfer: TransferSettings = field(default_factory=TransferSettings)

    @property
    def limits(self) -> Limits:
        """The deadlines."""
        return Limits(timedelta(seconds=self.replication_timeout), timedelta(seconds=self.transfer_timeout))


@dataclass(frozen=True, slots=True)
class Landing:
    """Lands the files of complete ExportJobs.

    Attributes:
        settings: of the run.
        vendor, ledger, clock: the ports.
        on_progress: called with the progress of an Hour.
    """

    settings: RunSettings
    vendor: Vendor
    ledger: Ledger
    clock: Clock
    on_progress: Callable[[Hour, Progress, Promise], None]

    @property
    def lake(self) -> Lake:
        """Return the lake that the files go to."""
        return self.ledger.lake

    async def land(self, job: ExportJob, *, seconds: float) -> ExportJob:
        """Take the Hour from `Complete` to its Receipt; returns the delivered job.

        Args:
            job: REPLICATED, PROMISED or OVERDUE, ours to work on.
            seconds: how long the transfer may take.

        Raises:
            VendorError: `url_list_empty` and what else is wrong with the list.
            DeliveryError: some files did not land; the others are kept.
            LakeError, NetworkError, CredentialsError: as they say.
        """
        hour, guid = job.hour, _guid(job)
        deadline = self.clock.monotonic() + seconds
        receipt = await read_receipt(self.lake, hour)
        if receipt is None:
            receipt = await self._transfer(job, guid, deadline)
        elif receipt.job_guid != guid:  # what a Receipt proves is never written over
            message = f"the Receipt of {hour} proves export {receipt.job_guid}, so export {guid} cannot land there"
            raise LakeError(message, cause="receipt_conflict")
        return await self._deliver(hour, receipt)

    async def prove_again(self, job: ExportJob) -> ProofInFolder:
        """Write the lost Receipt of a delivered Hour again from the files in its folder, without the vendor.

        The ledger says that all that was promised had landed. What still has the promised size and was not written
        since is that; it is read once more for its MD5, as after a crash.

        Returns:
            Whether the folder proves the Hour. Where it does not, nothing was written.

        Raises:
            LakeError: it cannot be read or written.
        """
        promise = await read_promise(self.lake, job.hour)
        if promise is None:
            return "unproven"
        proven = await self._kept(job, promise)
        if proven.keys() != set(promise.names):
            stored = (await hour_folder(self.lake, job.hour)).sizes
            return "times_lost" if all(stored.get(file.name) == file.size for file in promise.files) else "unproven"
        receipt, wrong = await self._look(job.hour, _guid(job), promise, proven)
        if wrong:
            return "unproven"
        await write_receipt(self.lake, receipt)
        log.info("proven again", hour=str(job.hour), files=len(proven))
        return "proven"

    async def _transfer(self, job: ExportJob, guid: str, deadline: float) -> Receipt:
        hour = job.hour
        listed = await self.vendor.list_files(guid)
        swept = await self.lake.store.sweep(self.lake.layout.folder(hour))
        if swept:
            log.info("swept", hour=str(hour), files=swept)
        promise = await self._promise(job, listed)
        proven = await self._kept(job, promise)
        looks = 0
        for _ in range(_MOST_LISTS):
            proven |= await self._fetch(hour, guid, promise, proven, listed, deadline)
            await self._settle(job, deadline)
            listed = await self.vendor.list_files(guid)
            grown = await self._promise(self.ledger.jobs[hour], listed)
            if grown == promise:
                looks += 1
                receipt, wrong = await self._look(hour, guid, promise, proven)
                if not wrong:
                    await check_owner(
                        self.lake, environment=self.settings.environment.name, company=self.settings.company
                    )
                    return await write_receipt(self.lake, receipt)
                if looks == LOOKS:
                    raise _stored_otherwise(hour, wrong)
                log.warning("stored otherwise", hour=str(hour), files=list(wrong))
                proven = {name: file for name, file in proven.items() if name not in wrong}
            promise = grown
        raise VendorError("the vendor's list keeps growing", cause="list_changed")

    async def _promise(self, job: ExportJob, listed: Sequence[ListedFile]) -> Promise:
        """Store what the vendor promises, before anything of it is fetched.

        The first list of an ExportJob is binding: files may be added to it, none is removed.
        """
        hour = job.hour
        standing = None
        if job.promised_guid == job.job_guid:
            standing = await read_promise(self.lake, hour)
        before = standing.files if standing else ()
        known = {file.key for file in before}
        new = [file.promised() for file in listed if file.key not in known]
        if markers := [file.key for file in new if file.is_marker]:
            log.warning("folder_markers_left_out", hour=str(hour), keys=markers)
        promise = Promise((*before, *(file for file in new if not file.is_marker)))
        if standing != promise:
            check_names(promise.files)
            refuse_long_names(self.lake.url, promise.names)
            await self.lake.store.put(self.lake.layout.promise(hour), records.promise_bytes(promise))
            await self.ledger.append(hour, EventKind.PROMISED, files=len(promise.files), bytes=promise.size)
        return promise

    async def _kept(self, job: ExportJob, promise: Promise) -> dict[str, ProvenFile]:
        """What an earlier attempt at this very ExportJob has landed, by name: read once more to prove it.

        A final key only ever shows a file that arrived whole and was checked in flight, so the right size under the
        same Promise is the same file. Another ExportJob's files are fetched anew: they are older than this Promise.
        """
        if job.promised_guid != job.job_guid:
            return {}
        hour = job.hour
        stored = {
            name: file
            for name, file in (await hour_folder(self.lake, hour)).files.items()
            if self._is_of(job, file) and name not in job.unproven
        }
        there = {f.name: f for f in promise.files if f.name in stored and stored[f.name].size == f.size}
        md5s = await md5_of_many(self.lake, hour, there)
        if there:
            log.info("kept", hour=str(hour), files=len(there))
        return {
            name: ProvenFile(name, file.key, file.size, md5s[name], stored[name].etag)
            for name, file in there.items()
            if md5s[name]
        }

    def _is_of(self, job: ExportJob, file: StoredFile) -> bool:
        """Whether it was written under this job's Promise, and not after its end."""
        if file.modified is None:
            return True
        written = self.clock.from_store(file.modified)
        since, until = job.promised_at or written, job.ended_at or written
        return since <= written <= until

    async def _fetch(
        self,
        hour: Hour,
        guid: str,
        promise: Promise,
        proven: Mapping[str, ProvenFile],
        listed: Sequence[ListedFile],
        deadline: float,
    ) -> dict[str, ProvenFile]:
        """Fetch what is not proven yet."""
        wanted = [file for file in promise.files if file.name not in proven]
        if not wanted:
            return {}
        had = Progress(len(proven), sum(file.size for file in proven.values()))

        async def relist() -> Sequence[ListedFile]:
            log.info("relisting", hour=str(hour), reason="links expired, or a file is not as listed")
            return await self.vendor.list_files(guid)

        def on_progress(progress: Progress) -> None:
            self.on_progress(hour, Progress(had.files + progress.files, had.bytes + progress.bytes), promise)

        landed = await land(
            wanted,
            listed=listed,
            relist=relist,
            vendor=self.vendor,
            store=self.lake.store,
            folder=self.lake.layout.folder(hour),
            clock=self.clock,
            deadline=deadline,
            settings=self.settings.transfer,
            on_progress=on_progress,
        )
        if landed.failed:
            raise _files_missing(landed.failed, of=len(promise.files))
        return {file.name: file for file in landed.proven}

    async def _settle(self, job: ExportJob, deadline: float) -> None:
        """Wait until the vendor's list has had its time to grow; no longer than one poll would wait."""
        if job.replicated_at is None:
            return
        longest = min(SETTLE_SECONDS, self.settings.poll_seconds)
        left = longest - (self.clock.now() - job.replicated_at).total_seconds()
        left = min(left, longest, deadline - self.clock.monotonic())  # the clock may have jumped back
        await self.clock.sleep(max(left, 0.0))

    async def _look(
        self, hour: Hour, guid: str, promise: Promise, proven: Mapping[str, ProvenFile]
    ) -> tuple[Receipt, Mapping[str, str]]:
        """Look at what is stored: the Receipt over it, and what speaks against writing it, by file.

        A file with another ETag than the one it was stored with is read again: a worker that was thought dead may have
        stored the same bytes once more.
        """
        stored = (await hour_folder(self.lake, hour)).files
        marks = {name: stored[name].etag if name in stored else proven[name].etag for name in promise.names}
        odd = [name for name in promise.names if marks[name] != proven[name].etag]
        again = await md5_of_many(self.lake, hour, odd)
        receipt = Receipt(
            environment=self.settings.environment.name,
            company=self.settings.company,
            hour=hour,
            job_guid=guid,
            files=tuple(replace(proven[name], etag=marks[name]) for name in sorted(promise.names)),
            delivered_at=self.ledger.jobs[hour].ended_at or self.clock.now(),
            late=self.ledger.jobs[hour].late,
        )
        findings = judge(promise, stored, receipt, again).findings
        harmful = (finding for finding in findings if finding.kind != "unexpected_file")
        return receipt, {str(finding.file): f"{finding.kind}, {finding.detail}" for finding in harmful}

    async def _deliver(self, hour: Hour, receipt: Receipt) -> ExportJob:
        """The last event, with the figures of the run."""
        job = self.ledger.jobs[hour]
        return await self.ledger.append(
            hour,
            EventKind.DELIVERED,
            files=len(receipt.files),
            bytes=receipt.size,
            missing_tables=await self._missing_tables(receipt),
            seconds=seconds_of(job, self.clock.now()),
            requests=self.vendor.requests_sent,
            **summary_of(job),
        )

    async def _missing_tables(self, receipt: Receipt) -> list[str] | None:
        """Tables that the schema has but of which no file came; None without a schema."""
        names = [file.name for file in receipt.files]
        if SCHEMA_NAME not in names:
            return None
        try:
            schema = await self.lake.store.get(self.lake.layout.file(receipt.hour, SCHEMA_NAME))
        except LakeError as error:  # the Hour is proven; what cannot be counted now must not hold it up
            log.warning("schema_not_read", hour=str(receipt.hour), detail=error.message)
            return None
        tables = None if schema is None else schema_tables(schema)
        if tables is None:
            return None
        return list(TableIndex(tables).missing(names, self.settings.out_of_scope))


def _guid(job: ExportJob) -> str:
    if job.job_guid is None:
        raise ViplakeError(f"{job.hour} is {job.state} without a job GUID")
    return job.job_guid


def _stored_otherwise(hour: Hour, wrong: Mapping[str, str]) -> DeliveryError:
    """The store holds other bytes than it was sent, each time."""
    name, finding = next(iter(wrong.items()))
    return DeliveryError(
        f"what is stored for {hour} is not what was sent: {name} {finding}", cause="integrity", unproven=wrong.keys()
    )


def _files_missing(failed: Mapping[str, ViplakeError], *, of: int) -> DeliveryError:
    """One error for all files that did not land: its cause is the most telling one among them."""
    name, worst = min(failed.items(), key=lambda item: (item[1].transient, item[0]))
    return DeliveryError(
        f"{len(failed)} of {of} files did not land; the gravest is {name}: {worst.message}", cause=worst.cause.word
    )
