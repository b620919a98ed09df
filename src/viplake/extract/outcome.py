"""PURE. The outcome of an Hour, as commands print it and exit with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from viplake.errors import CAUSES, OK, WAITING
from viplake.extract.job import State
from viplake.lake.records import outcome_after
from viplake.model import MISSED

if TYPE_CHECKING:
    from datetime import datetime

    from viplake.extract.job import ExportJob
    from viplake.lake.layout import Layout
    from viplake.model import Environment, Hour

SCHEMA_VERSION: Final = 1
"""Of the JSON that the commands print."""

Word = Literal["delivered", "failed", "waiting", "none"]
"""`none`: the Hour is before the first run in this lake, so viplake was not expected to deliver it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The current outcome of an Hour.

    Attributes:
        environment: `Prod` or `Test`.
        hour: which.
        outcome: `delivered`, `failed` or `waiting`; of an Hour before the first run in this lake `none`.
        cause: a word of `errors.CAUSES`; None when delivered.
        detail: one line more, where there is one.
        hint: the next step, where it is more exact than the cause's.
        note: what else a person should know; None in most cases.
        job_guid: the vendor's, once known.
        folder: the Hour's, below the lake's URL.
        files, bytes: what was delivered.
        missing_tables: expected, but without a file; None where unknown.
        late: delivered after it had been overdue.
        seconds: of init, replication and transfer; None where unknown.
        until: when it is worth asking again, UTC.
        also: the other Hours that were open.
    """

    environment: str
    hour: Hour
    outcome: Word
    cause: str | None
    detail: str | None = None
    hint: str | None = None
    note: str | None = None
    job_guid: str | None = None
    folder: str = ""
    files: int = 0
    bytes: int = 0
    missing_tables: tuple[str, ...] | None = None
    late: bool = False
    seconds: dict[str, float | None] = field(default_factory=dict)
    until: datetime | None = None
    also: tuple[Outcome, ...] = ()

    @property
    def exit_code(self) -> int:
        """Return the exit code of the process."""
        if self.outcome == "failed" and self.cause is not None:
            return CAUSES[self.cause].exit_code
        return OK if self.outcome == "delivered" else WAITING

    @property
    def owner(self) -> str | None:
        """Who has to act."""
        return CAUSES[self.cause].owner if self.cause else None

    def to_json(self) -> dict[str, Any]:
        """As `run`, `tick` and `collect` print it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "environment": self.environment,
            "hour": str(self.hour),
            "outcome": self.outcome,
            "cause": self.cause,
            "owner": self.owner,
            "detail": self.detail,
            "note": self.note,
            "job_guid": self.job_guid,
            "folder": self.folder,
            "files": self.files,
            "bytes": self.bytes,
            "missing_tables": None if self.missing_tables is None else list(self.missing_tables),
            "late": self.late,
            "seconds": self.seconds,
            "also": [other.to_json() for other in self.also],
        }


def verdict_on(job: ExportJob) -> tuple[Word, str | None]:
    """The outcome and cause of an Hour as commands print them; one that was never begun has failed."""
    if job.last is None or job.state is State.IDLE:
        return "failed", MISSED
    ended = outcome_after(job.last.kind, job.cause, overdue=job.state is State.OVERDUE)
    match ended.word:
        case "delivered" | "failed":
            return ended.word, ended.cause
        case _:
            return "waiting", "waiting"


def outcome_of(
    job: ExportJob,
    environment: Environment,
    layout: Layout,
    now: datetime,
    verdict: tuple[Word, str | None] | None = None,
    *,
    detail: str | None = None,
    hint: str | None = None,
    note: str | None = None,
    until: datetime | None = None,
) -> Outcome:
    """Return the outcome of a job; `verdict` (outcome and cause) replaces the one of its state.

    Seconds of a phase that still goes on count up to `now`.
    """
    word, cause = verdict or verdict_on(job)
    end = job.last.data if job.last is not None and job.is_final else {}
    missing = end.get("missing_tables")
    return Outcome(
        environment=environment.name,
        hour=job.hour,
        outcome=word,
        cause=cause,
        detail=detail or job.detail,
        hint=hint,
        note=note,
        job_guid=job.job_guid,
        folder=layout.folder(job.hour),
        files=int(end.get("files", 0)),
        bytes=int(end.get("bytes", 0)),
        missing_tables=None if missing is None else tuple(missing),
        late=job.late and word == "delivered",
        seconds=end.get("seconds") or seconds_of(job, job.ended_at or now),
        until=until,
    )


def seconds_of(job: ExportJob, now: datetime) -> dict[str, float | None]:
    """Seconds of init (claim to GUID), replication (to `Complete`) and transfer (to `now`); None where unknown."""
    moments = (job.claimed_at, job.triggered_at, job.replicated_at, now)
    spans = zip(("init", "replication", "transfer"), moments, moments[1:], strict=False)
    return {
        phase: None if begin is None or end is None else round(max((end - begin).total_seconds(), 0.0), 3)
        for phase, begin, end in spans
    }
