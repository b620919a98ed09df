"""PURE. Facts about an Hour: the files in its folder, the tables that they form, the run that delivered them.

Facts carry no judgement: datasets are written from them, and rules and report read them and nothing else. An unknown
fact is None, with its reason where there is one.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from operator import le
from typing import TYPE_CHECKING, Final

from viplake.lake.layout import PROMISE_NAME, RECEIPT_NAME, SCHEMA_NAME
from viplake.lake.records import EventKind
from viplake.lake.table_index import TableFacts, TableIndex
from viplake.model import HourOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from viplake.lake.records import EventRecord
    from viplake.model import Hour, Promise


@dataclass(frozen=True, slots=True)
class SchemaFacts:
    """The content of an Hour's `_MasterTableSchema.json`.

    Attributes:
        sha256: of its bytes, 64 hex digits: that is what makes two schemas the same; None where it was not read.
        tables: every `DataObjectName`, sorted; None where it cannot be read.
        problem: why not; None where it can.
    """

    sha256: str | None
    tables: tuple[str, ...] | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The outcome of the run of an Hour, from the last event of its ledger.

    Attributes:
        outcome: `delivered`, `failed` (an overdue Hour is failed, for now) or `waiting` (still open).
        cause: a word of `errors.CAUSES`; None where nothing is wrong.
        detail: one line more, where the ledger has one.
        at: when the last event was written, UTC.
        job_guid: the vendor's, once known.
        attempts: triggers that were sent.
        late: delivered after it had been overdue.
        init, replication, transfer: seconds of the phases; None where unknown.
        files, size: what was delivered, as the run counted it; None unless delivered.
        requests: that the run made; None where it was not counted.
    """

    outcome: str
    cause: str | None
    at: datetime
    detail: str | None = None
    job_guid: str | None = None
    attempts: int = 0
    late: bool = False
    init: float | None = None
    replication: float | None = None
    transfer: float | None = None
    files: int | None = None
    size: int | None = None
    requests: int | None = None


@dataclass(frozen=True, slots=True)
class PromisedTable:
    """A table of a manifest: its partitions, and which of them are stored with the promised size."""

    table: str
    promised: int
    stored: int


@dataclass(frozen=True, slots=True)
class PromiseFacts:
    """The Hour's manifest compared with the files that are stored now.

    Attributes:
        files, size: promised; `size` in bytes.
        absent: names promised but not stored, sorted.
        other_size: names stored with another size than promised, sorted.
        tables: every table of the schema with a promised partition, by name.
    """

    files: int
    size: int
    absent: tuple[str, ...]
    other_size: tuple[str, ...]
    tables: tuple[PromisedTable, ...] = ()

    @property
    def stored(self) -> int:
        """Files that are stored as promised."""
        return self.files - len(self.absent) - len(self.other_size)

    @property
    def completeness(self) -> float | None:
        """Files stored as listed / files in the manifest; None for an empty manifest."""
        return self.stored / self.files if self.files else None


@dataclass(frozen=True, slots=True)
class HourFacts:
    """Everything that is known of an Hour in the lake.

    Attributes:
        hour: which.
        files: right in its folder, but for our own Receipt: partitions, schema, scripts and the Promise.
        size: bytes of them.
        has_promise, has_receipt: whether the records are there.
        schema: what its schema says; None where it has none.
        expected: tables of the schema less those out of scope, sorted; None where that is unknown.
        missing: expected tables without any file, sorted; None where `expected` is.
        delivered_size: bytes without the Promise.
        tables: the tables that have files, by name: those out of scope too.
        unmatched: delivered files that belong to no table, the schema itself not counted (scripts, unknown tables).
        run: what its ledger ends with; None where it has none.
        promise: manifest compared with stored files; None without a manifest, or where it was not requested.
        unplaced: names of its delivered files where no schema says to which table they belong; else empty.
    """

    hour: Hour
    files: int = 0
    size: int = 0
    delivered_size: int = 0
    has_promise: bool = False
    has_receipt: bool = False
    schema: SchemaFacts | None = None
    expected: tuple[str, ...] | None = None
    missing: tuple[str, ...] | None = None
    tables: tuple[TableFacts, ...] = ()
    unmatched: int = 0
    run: RunFacts | None = None
    promise: PromiseFacts | None = None
    unplaced: tuple[str, ...] = ()

    @property
    def delivered(self) -> bool:
        """Whether the folder holds at least one file that is no record of ours (VENDOR's `jobDelivered`)."""
        return self.files > self.has_promise

    @property
    def present(self) -> bool:
        """Whether the lake has a folder for the Hour, even without an export."""
        return self.files > 0 or self.has_receipt

    def outcome(self, *, ours: bool) -> HourOutcome:
        """How the Hour ended.

        Args:
            ours: it is after the first Hour with a ledger, so viplake should have run.
        """
        if self.run is not None:
            return HourOutcome.of(self.run.outcome, self.run.cause)
        return HourOutcome.without_run(delivered=self.delivered, ours=ours)

    @property
    def ratio(self) -> float | None:
        """Delivered / expected tables; None where unknown, or where no table is expected."""
        if not self.expected or self.missing is None:
            return None
        return (len(self.expected) - len(self.missing)) / len(self.expected)


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema, ready to match files.

    Attributes:
        facts: what it says.
        expected: its tables less those out of scope, sorted; None where it cannot be read.
        index: finds the table of a file.
    """

    facts: SchemaFacts
    expected: tuple[str, ...] | None
    index: TableIndex

    @classmethod
    def of(cls, facts: SchemaFacts, out_of_scope: frozenset[str]) -> Schema:
        """Build the schema with the tables that are expected."""
        tables = facts.tables
        expected = None if tables is None else tuple(table for table in tables if table not in out_of_scope)
        return cls(facts, expected, TableIndex(tables or ()))


def hour_facts(hour: Hour, names: list[str], sizes: list[int], schema: Schema | None) -> HourFacts:
    """Reduce the files right in an Hour's folder, in any order, to facts.

    Args:
        hour: whose folder it is.
        names: of the files, each once.
        sizes: bytes of each.
        schema: the Hour's own; None where it has none.
    """
    names, sizes = _ascending(names, sizes)
    size = sum(sizes)
    names, sizes, receipt = _without(RECEIPT_NAME, names, sizes)
    names, sizes, promise = _without(PROMISE_NAME, names, sizes)
    tables = schema.index.tables_of(names, sizes) if schema else ()
    matched = sum(table.partitions for table in tables)
    apart = schema is not None and SCHEMA_NAME in names and schema.index.table_of(SCHEMA_NAME) is None
    expected = schema.expected if schema else None
    found = {table.table for table in tables}
    return HourFacts(
        hour=hour,
        files=len(names) + (promise is not None),
        size=size - (receipt or 0),
        delivered_size=size - (receipt or 0) - (promise or 0),
        has_promise=promise is not None,
        has_receipt=receipt is not None,
        schema=schema.facts if schema else None,
        expected=expected,
        missing=None if expected is None else tuple(table for table in expected if table not in found),
        tables=tables,
        unmatched=len(names) - matched - apart,
        unplaced=tuple(names) if expected is None else (),
    )


def _ascending(names: list[str], sizes: list[int]) -> tuple[list[str], list[int]]:
    """Return the files sorted by name; S3 lists them so already, other stores may not."""
    if all(map(le, names, names[1:])):
        return names, sizes
    order = sorted(zip(names, sizes, strict=True))
    return [name for name, _ in order], [size for _, size in order]


def _without(name: str, names: list[str], sizes: list[int]) -> tuple[list[str], list[int], int | None]:
    """Return the files without the one of this name, and its size (None: it is not there)."""
    place = bisect_left(names, name)
    if place == len(names) or names[place] != name:
        return names, sizes, None
    return names[:place] + names[place + 1 :], sizes[:place] + sizes[place + 1 :], sizes[place]


def promise_facts(promise: Promise, names: Sequence[str], sizes: Sequence[int], schema: Schema | None) -> PromiseFacts:
    """Compare a manifest with the files in the Hour's folder (partition completeness)."""
    stored = dict(zip(names, sizes, strict=True))
    index = schema.index if schema else TableIndex(())
    absent, other_size = [], []
    promised: dict[str, int] = {}
    kept: dict[str, int] = {}
    for file in promise.files:
        there = stored.get(file.name)
        if there is None:
            absent.append(file.name)
        elif there != file.size:
            other_size.append(file.name)
        if (table := index.table_of(file.name)) is not None:
            promised[table] = promised.get(table, 0) + 1
            kept[table] = kept.get(table, 0) + (there == file.size)
    return PromiseFacts(
        files=len(promise.files),
        size=promise.size,
        absent=tuple(sorted(absent)),
        other_size=tuple(sorted(other_size)),
        tables=tuple(PromisedTable(table, promised[table], kept[table]) for table in sorted(promised)),
    )


_AFTER_A_TRIGGER: Final = frozenset(
    {
        EventKind.REPOSTING,
        EventKind.TRIGGERED,
        EventKind.REPLICATED,
        EventKind.PROMISED,
        EventKind.WORKING,
        EventKind.REOPENED,
    }
)


def _is_triggered(record: EventRecord) -> bool:
    """Return whether a trigger was sent before this event; a deferral with a time comes after one."""
    deferred = record.event is EventKind.DEFERRED and record.not_before is not None and not record.unsent
    return deferred or record.event in _AFTER_A_TRIGGER


def run_facts(record: EventRecord) -> RunFacts:
    """Return the facts in a ledger's last event, its summary included."""
    seconds = record.seconds or {}
    delivered = record.event is EventKind.DELIVERED
    ended = record.outcome
    return RunFacts(
        outcome=ended.word,
        cause=ended.cause,
        at=record.at,
        detail=record.detail or None,
        job_guid=record.job_guid or None,
        attempts=int(bool(record.job_guid) or _is_triggered(record)) if record.posts is None else record.posts,
        late=record.late,
        init=seconds.get("init"),
        replication=seconds.get("replication"),
        transfer=seconds.get("transfer"),
        files=record.files if delivered else None,
        size=record.bytes if delivered else None,
        requests=record.requests,
    )
