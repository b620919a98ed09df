"""I/O. The evidence pack for the vendor's support: one HTML file and one CSV with every Hour below the agreement.

It holds what Veson can answer for: job GUIDs, times, tables that were not delivered, and what its interface answered,
word by word from the ledger. Hours with an unknown cause are marked as such. Hours that AWS, the network or we own are
only counted: they are no evidence. Everything passes through `redact`, and no answer becomes markup or a formula.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from viplake.concurrency import map_bounded
from viplake.errors import LakeError
from viplake.history.build import look_at, read_history
from viplake.judge.record import fulfilled, records
from viplake.lake.records import EventKind, parse_event
from viplake.model import UNKNOWN
from viplake.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from viplake.history.build import HistoryLocation, ObserveSettings
    from viplake.judge.evaluate import CheckSettings
    from viplake.judge.record import Record
    from viplake.lake import Lake
    from viplake.lake.records import EventRecord
    from viplake.model import Hour

_AT_ONCE: Final = 16

_TIMES: Final = (
    ("claimed", "claimed_at"), ("triggered", "triggered_at"), ("replicated", "replicated_at"), ("ended", "at"),
)  # fmt: skip
"""Names of the times in the pack, and the member of the last event that holds each."""

COLUMNS: Final = (
    "hour", "finding", "cause", "owner", "job_guid", "claimed", "triggered", "replicated", "ended", "minutes",
    "missing_tables", "missing_files", "answers",
)  # fmt: skip
"""Columns of the CSV file; times are UTC, lists are separated by `; `."""


@dataclass(frozen=True, slots=True)
class LedgerAnswer:
    """One event of the ledger: time, kind, and its text."""

    at: datetime
    event: str
    words: str


@dataclass(frozen=True, slots=True)
class DeliveredFiles:
    """The content of an Hour's folder.

    Attributes:
        job_guid: of Veson's export; empty where the ledger has none.
        names: of the files, sorted.
    """

    job_guid: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exhibit:
    """An Hour below the agreement.

    Attributes:
        hour: which.
        findings: what is below it, one clause each.
        cause, owner: as on record; `unknown` where no record has one.
        job_guid: the vendor's; empty where none was given.
        times: the moments on record, by name: `claimed`, `triggered`, `replicated`, `ended`.
        minutes: from claim to proof; None where unknown.
        missing_tables, missing_files: expected or promised, and not delivered.
        answers: the ledger of the Hour, oldest first.
    """

    hour: Hour
    findings: tuple[str, ...]
    cause: str
    owner: str
    job_guid: str = ""
    times: dict[str, datetime] | None = None
    minutes: float | None = None
    missing_tables: tuple[str, ...] = ()
    missing_files: tuple[str, ...] = ()
    answers: tuple[LedgerAnswer, ...] = ()


@dataclass(frozen=True, slots=True)
class Pack:
    """The content of an evidence pack.

    Attributes:
        environment, company: of the lake; `company` may be empty.
        first, last: Hours, both included.
        written: when.
        on_record: Hours of the range with a record; with daily exports, those in which one was due.
        exhibits: the Hours below the agreement, ascending.
        ours: Hours below it that are no evidence, by owner.
        planned: Hours of the range that are in the calendar.
    """

    environment: str
    company: str
    first: Hour
    last: Hour
    written: datetime
    on_record: int
    exhibits: tuple[Exhibit, ...]
    ours: tuple[tuple[str, int], ...] = ()
    planned: int = 0


async def gather(
    lake: Lake,
    place: HistoryLocation,
    settings: CheckSettings,
    observing: ObserveSettings,
    *,
    first: Hour,
    last: Hour,
    now: datetime,
    environment: str,
    company: str = "",
) -> Pack:
    """Return the Hours of a range that are below the agreement, with their evidence.

    Raises:
        LakeError: the lake or its history cannot be read.
    """
    calendar = settings.calendar
    known = fulfilled(records((await read_history(place)).frames), calendar.due)
    inside = {hour: record for hour, record in known.items() if first <= hour <= last and calendar.is_due(hour)}
    planned = {hour for hour in inside if calendar.at(hour) is not None}
    limit = settings.objectives.on_time.total_seconds()
    below = {h: found for h, record in inside.items() if h not in planned and (found := _findings(record, limit))}
    evidence = {hour: found for hour, found in below.items() if _owner(inside[hour]) in {"vendor", UNKNOWN}}
    left_out: dict[str, int] = {}
    for hour in below.keys() - evidence.keys():
        left_out[_owner(inside[hour])] = left_out.get(_owner(inside[hour]), 0) + 1
    looked = {facts.hour: facts for facts in await look_at(lake, evidence, observing)}

    async def exhibit(hour: Hour) -> Exhibit:
        return await _exhibit(lake, inside[hour], evidence[hour], looked[hour].promise)

    exhibits = await map_bounded(exhibit, evidence, at_once=_AT_ONCE)
    return Pack(
        environment,
        company,
        first,
        last,
        now,
        len(inside),
        tuple(exhibits),
        tuple(sorted(left_out.items())),
        len(planned),
    )


def _owner(record: Record) -> str:
    """Return the owner: what a complete run delivered is as the vendor sent it."""
    if record.cause is not None:
        return record.owner or UNKNOWN
    return "vendor" if record.ledger else UNKNOWN


def _findings(record: Record, limit: float) -> tuple[str, ...]:
    """Return the deviations from the agreement; empty without any."""
    if record.outcome == "waiting":
        return ()
    if not record.delivered:
        return ("no export was delivered",)
    found = []
    if record.outcome == "failed":
        found.append("the export was not delivered completely")
    if record.missing:
        found.append(f"{len(record.missing)} of {record.expected} tables are missing")
    if record.took is not None and record.took > limit:
        found.append(f"it took {record.took / 60:.0f} minutes; {limit / 60:.0f} are agreed")
    return tuple(found)


async def _exhibit(lake: Lake, record: Record, found: tuple[str, ...], promise: Any) -> Exhibit:
    events = await _ledger(lake, record.hour)
    guid = next((event.job_guid for event in reversed(events) if event.job_guid), "")
    last = events[-1:]
    times = {name: moment for event in last for name, member in _TIMES if (moment := getattr(event, member))}
    return Exhibit(
        record.hour,
        found,
        record.cause or ("as_sent" if record.ledger else UNKNOWN),
        _owner(record),
        redact(guid),
        times,
        None if record.took is None else record.took / 60,
        record.missing or (),
        () if promise is None else (*promise.absent, *promise.other_size),
        tuple(_answers(events)),
    )


async def _ledger(lake: Lake, hour: Hour, *, newest: int = 0) -> list[EventRecord]:
    """The Hour's events, or its `newest` ones, oldest first; what cannot be read is left out."""
    keys = sorted(
        file.key for file in await lake.store.files(lake.layout.ledger(hour)) if lake.layout.parse_event(file.key)
    )[-newest:]
    events = []
    for key in keys:
        data = await lake.store.get(key)
        with suppress(LakeError):
            events.append(parse_event(data or b"", key))
    return events


async def delivered_files(lake: Lake, hours: Iterable[Hour]) -> dict[Hour, DeliveredFiles]:
    """Return the job GUID and the names of the files of each Hour, in three requests an Hour.

    Raises:
        LakeError: the lake cannot be read.
    """

    async def one(hour: Hour) -> tuple[Hour, DeliveredFiles]:
        files = await lake.store.files(lake.layout.folder(hour))
        guids = [event.job_guid or "" for event in await _ledger(lake, hour, newest=1)]
        return hour, DeliveredFiles(redact("".join(guids)), tuple(sorted(file.name for file in files)))

    return dict(await map_bounded(one, hours, at_once=_AT_ONCE))


def _answers(events: Iterable[EventRecord]) -> Iterable[LedgerAnswer]:
    """Return the events in words; heartbeats are left out."""
    for event in events:
        if event.event is not EventKind.WORKING:
            yield LedgerAnswer(
                event.at, event.event, redact(": ".join(text for text in (event.cause, event.detail) if text))
            )


# -- the two files --------------------------------------------------------------------------------------------


def to_csv(pack: Pack) -> str:
    """Return the CSV: one row an Hour; no cell is a formula for a spreadsheet."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in pack.exhibits:
        writer.writerow([_harmless(cell) for cell in _cells(one)])
    return out.getvalue()


def _cells(one: Exhibit) -> Sequence[str]:
    times = one.times or {}
    return (
        str(one.hour),
        "; ".join(one.findings),
        one.cause,
        one.owner,
        one.job_guid,
        *(_time(times.get(name)) for name in ("claimed", "triggered", "replicated", "ended")),
        "" if one.minutes is None else f"{one.minutes:.1f}",
        "; ".join(one.missing_tables),
        "; ".join(one.missing_files),
        "; ".join(f"{_time(answer.at)} {answer.event} {answer.words}".strip() for answer in one.answers),
    )


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def _harmless(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula (OWASP, "CSV Injection")."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def summary(pack: Pack) -> list[tuple[str, int]]:
    """Return how many Hours have each kind of finding, the most frequent first."""
    counts = Counter(_kind(finding) for one in pack.exhibits for finding in one.findings)
    return counts.most_common()


def _kind(finding: str) -> str:
    """A finding without its numbers."""
    if finding.startswith("it took"):
        return "it took longer than agreed"
    return "tables are missing" if finding.endswith("are missing") else finding


def _once(one: Exhibit) -> dict[str, datetime]:
    """The moments that the ledger's own list of the Hour does not have."""
    listed = {answer.at for answer in one.answers}
    return {name: moment for name, moment in (one.times or {}).items() if moment not in listed}


def to_html(pack: Pack) -> str:
    """Return the page: it opens from a folder, fetches nothing and runs nothing."""
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - of the extra `report`

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["time"] = _time
    page = resources.files("viplake.report").joinpath("templates", "evidence.html").read_text(encoding="utf-8")
    rows = [(one, _once(one)) for one in pack.exhibits]
    return environment.from_string(page).render(pack=pack, rows=rows, summary=summary(pack))
