"""I/O. Generates a lake with weeks of history, with realistic failures in it.

The demo, the report and the tests want more than an Hour that has just landed. Everything is a function of the plan
and the Hour, so that two generators write the same bytes; partitions are true `.json.gz` files, small, and their
sizes follow the day, the week, the plan, and a little chance. With a ledger, Promises and Receipts it looks as if
viplake had run all along; without them, as the old script left it.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

from viplake import strictjson
from viplake.concurrency import map_bounded
from viplake.lake import records
from viplake.lake.layout import SCHEMA_NAME
from viplake.lake.table_index import TableIndex
from viplake.model import Hour, Promise, PromisedFile, ProvenFile, Receipt
from viplake.simulator import tables
from viplake.simulator.rows import ROWS_A_MEMBER, TEMPLATE, hour_rows, member, moved, partition, spoiled
from viplake.simulator.tables import TABLES, Dice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from viplake.lake import Lake
    from viplake.lake.layout import Layout
    from viplake.model import Environment
    from viplake.simulator.rows import ContentFault
    from viplake.simulator.tables import SimulatedTable

ROWS_A_PARTITION: Final = 150
"""A table of more rows comes in more files."""

INSIDE: Final = 36
"""Newest Hours of the showcase, in which content checks find something."""

SMALL: Final = (
    "AddressBookExpense",
    "AddressBookAgentPort",
    "AddressBookCompany",
    "ActDepartment",
    "AddressBookRemark",
    "AddressBookUserDefinedFields",
)
"""Tables of the showcase that go missing: those that did in a real lake."""

_MEMBERS: Final = 6
_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True)
class Spell:
    """Something that lasts from one Hour to another, both included.

    Attributes:
        first, last: from when to when.
        kind: `failed` (the vendor's export, with `cause`), `missed` (no process ran), `planned` (an agreed hole,
            such as the diverted flow), `late` (delivered past its deadline), `lacking` (`tables` are absent),
            `volume` (`tables` are `factor` times as large), `content` (`fault` is in the records of `tables`).
        tables: which; empty: all of them.
        factor: of their rows.
        cause: a word of `errors.CAUSES`.
        fault: the kind of wrong content.
    """

    first: Hour
    last: Hour
    kind: Literal["failed", "missed", "planned", "late", "lacking", "volume", "content"]
    tables: tuple[str, ...] = ()
    factor: float = 1.0
    cause: str = "vendor_job_failed"
    fault: ContentFault = "wrong_type"

    def __contains__(self, hour: Hour) -> bool:
        """Whether the Hour is within it."""
        return self.first <= hour <= self.last


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """From this Hour on the schema has other tables."""

    since: Hour
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Past:
    """What happened.

    Attributes:
        spells: what went wrong, and when.
        changes: of the schema.
        tables: how many tables there are, of those of `known`.
        scale: multiplies all rows; at 1 an Hour has about 600 KB.
        inside: from this Hour on the records are made anew for each Hour, and bear looking into; before, a few are
            repeated to the wished-for size, which is fast, with keys that repeat. None: no Hour is made anew.
        steady: volumes vary by a percent or two from Hour to Hour, in place of a swell over day and week; records
            before `inside` have the same values each Hour, but keys and times of their own.
        ledger, receipts, promises: the records that viplake, or the old script, kept.
        seed: another seed, other chance.
    """

    spells: tuple[Spell, ...] = ()
    changes: tuple[SchemaChange, ...] = ()
    tables: int = len(TABLES)
    scale: float = 0.1
    inside: Hour | None = None
    steady: bool = False
    ledger: bool = True
    receipts: bool = True
    promises: bool = True
    seed: int = 1
    known: Mapping[str, SimulatedTable] = field(default_factory=lambda: {table.name: table for table in TABLES})

    def spell(self, hour: Hour, *kinds: str) -> Spell | None:
        """The first spell of these kinds that holds the Hour."""
        return next((spell for spell in self.spells if spell.kind in kinds and hour in spell), None)

    def schema(self, hour: Hour) -> tuple[str, ...]:
        """The tables of the Hour's schema."""
        names = list(self.known)[: self.tables]
        for change in self.changes:
            if hour >= change.since:
                names = [name for name in names if name not in change.removed] + list(change.added)
        return tuple(names)


def showcase(last: Hour, *, days: int = 21, tables: int = 24) -> tuple[Hour, Past]:
    """The first Hour and the past of a lake of some weeks in which everything happens that observation looks for.

    It has the shape of a real one in small: tables with CamelCase names, six small ones that go missing now and then,
    volumes that are constant to a percent or two, with steps. From old to new: a step down, an agreed hole of 22 hours,
    an outage of the vendor, a night without a run, a lost answer, two late Hours, tables that stay away, volumes too
    small and too large, another schema; and, to this very Hour, a table that is missing. In the newest Hours, inside
    the files: each of `rows.CONTENT_FAULTS`.
    """

    def ago(hours: int) -> Hour:
        return last.shift(-hours)

    known = _shaped(tables)
    names = list(known)[: tables - len(SMALL)]

    def inside(fault: ContentFault, first: int, last: int, *places: int) -> Spell:
        found = tuple(names[place % len(names)] for place in places)
        return Spell(ago(first), ago(last), "content", found, fault=fault)

    spells = (
        Spell(ago(days * 24 - 1), ago(days * 24 - 70), "volume", (), 1.36),
        Spell(ago(days * 24 - 80), ago(days * 24 - 101), "planned"),
        Spell(ago(days * 24 - 170), ago(days * 24 - 174), "failed"),
        Spell(ago(320), ago(320), "lacking", SMALL[:1]),
        Spell(ago(250), ago(244), "missed"),
        Spell(ago(215), ago(214), "lacking", (SMALL[2], SMALL[4])),
        Spell(ago(200), ago(200), "failed", cause="trigger_ack_lost"),
        Spell(ago(150), ago(149), "late"),
        Spell(ago(130), ago(123), "lacking", SMALL[:2]),
        Spell(ago(100), ago(100), "failed", cause="vendor_timeout"),
        Spell(ago(77), ago(72), "volume", (names[1],), 0.05),
        Spell(ago(40), ago(38), "volume", (names[2],), 2.0),
        Spell(ago(30), ago(29), "volume", (), 0.25),
        Spell(ago(2), ago(0), "lacking", (SMALL[3],)),
        inside("wrong_type", 19, 18, 8),
        inside("dropped_column", 16, 16, 10),
        inside("new_column", 15, 15, 11),
        inside("duplicate_key", 14, 14, 12),
        inside("truncated", 13, 13, 5),
        inside("empty_column", 12, 12, 3),
        inside("short_look_back", 7, 5),
        inside("stale", 11, 3, 1),
    )
    change = SchemaChange(ago(60), added=("CarbonIntensity",), removed=(names[-1],))
    first = ago(days * 24 - 1)
    known |= {"CarbonIntensity": replace(known[names[0]], name="CarbonIntensity")}
    return first, Past(spells, (change,), tables=tables, scale=0.2, inside=ago(INSIDE), steady=True, known=known)


def _shaped(count: int) -> dict[str, SimulatedTable]:
    """So many tables, named as in real exports, `SMALL` last; their texts are never empty by chance."""
    large = [
        replace(
            table,
            name="".join(part[:1].upper() + part[1:] for part in table.name.split("_")),
            columns=tuple((name, "activity" if kind == "text" else kind) for name, kind in table.columns),
        )
        for table in TABLES[: count - len(SMALL)]
    ]
    columns = (("EntryId", "id"), ("Name", "company"), ("Country", "country"), ("LastUpdateGMT", "changed"))
    small = [replace(TABLES[0], name=name, rows=12, columns=columns) for name in SMALL]
    return {table.name: table for table in (*large, *small)}


async def generate(
    lake: Lake,
    hours: Iterable[Hour],
    past: Past,
    *,
    environment: Environment,
    company: str = "DEMO",
    progress: Callable[[Hour], None] | None = None,
) -> int:
    """Write the Hours of a past into a lake, an Hour at a time; the number of objects.

    The lake then has an owner record, unless it is to look as if viplake never ran.

    Raises:
        LakeError: it cannot be written.
    """
    written = 0
    if past.ledger or past.receipts:
        await lake.store.put_if_absent(lake.layout.identity_key, records.identity_bytes(environment.name, company))
    for hour in hours:
        objects = hour_objects(lake.layout, hour, past, environment=environment, company=company)
        await map_bounded(lambda each: lake.store.put(*each), objects.items(), at_once=_AT_ONCE)
        written += len(objects)
        if progress is not None:
            progress(hour)
    return written


def hour_objects(
    layout: Layout, hour: Hour, past: Past, *, environment: Environment, company: str = "DEMO"
) -> dict[str, bytes]:
    """All objects of an Hour, by key; none where nothing was left of it."""
    if past.spell(hour, "missed", "planned"):
        return {}
    dice = Dice(past.seed, environment.name, hour)
    failed = past.spell(hour, "failed")
    times = _Times.of(hour, dice, late=past.spell(hour, "late") is not None)
    guid = _guid(past.seed, environment.name, hour)
    files = {} if failed else export(hour, past, dice)
    objects = {layout.file(hour, name): data for name, data in files.items()}
    promise = Promise(tuple(PromisedFile(f"out/{name}", len(data)) for name, data in files.items()))
    if past.promises and not failed:
        objects[layout.promise(hour)] = records.promise_bytes(promise)
    if past.receipts and not failed:
        proven = tuple(
            ProvenFile(name, f"out/{name}", len(data), hashlib.md5(data, usedforsecurity=False).hexdigest(), None)
            for name, data in files.items()
        )
        receipt = Receipt(environment.name, company, hour, guid, proven, times.ended, times.late)
        objects[layout.receipt(hour)] = records.receipt_bytes(receipt)
    if past.ledger:
        missing = TableIndex(past.schema(hour)).missing(files)
        events = _events(times, guid, failed.cause if failed else None, files, missing)
        for number, event in enumerate(events, 1):
            objects[layout.event(hour, number)] = strictjson.dumps(event)
    return objects


def export(hour: Hour, past: Past, dice: Dice) -> dict[str, bytes]:
    """The files of the Hour's export, by name: partitions, the schema, a script."""
    names = past.schema(hour)
    lacking = past.spell(hour, "lacking")
    absent = set(lacking.tables or names) if lacking else set()
    files: dict[str, bytes] = {}
    for name in names:
        if name in absent:
            continue
        rows = past.known[name].rows * (
            0.99 + 0.02 * dice.random() if past.steady else busy(hour.start) * (0.95 + 0.1 * dice.random())
        )
        volume = past.spell(hour, "volume")
        if volume and (not volume.tables or name in volume.tables):
            rows *= volume.factor
        parts = 1 + int(rows // ROWS_A_PARTITION)
        if past.steady or (past.inside is not None and hour >= past.inside):
            made = _made_anew(hour, past, past.known[name], _members(rows * past.scale / parts) * ROWS_A_MEMBER, parts)
        else:
            made = [_partition(past.known[name], rows * past.scale / parts, part) for part in range(parts)]
        for part, data in enumerate(made):
            files[f"{name}_{hour.start:%Y%m%dT%H}_{part:04d}.json.gz"] = data
    files[SCHEMA_NAME] = _schema(tuple(replace(past.known[name], name=name) for name in names))
    files["CreateTables.sql"] = "".join(f"create table [{name}] (id bigint);\n" for name in names).encode()
    return files


def _made_anew(hour: Hour, past: Past, table: SimulatedTable, count: int, parts: int) -> list[bytes]:
    """The partitions of a table, of so many records of this Hour each, and what is wrong inside them."""
    if past.inside is not None and hour < past.inside:
        first = Dice("keys", past.seed, table.name, hour).randrange(1_000, 9_000_000)
        rows = moved(_template(table)[: count * parts], table, first, hour.start)
    else:
        rows = hour_rows(table, count * parts, hour.start, past.seed)
    faults = [
        spell
        for spell in past.spells
        if spell.kind == "content" and hour in spell and (not spell.tables or table.name in spell.tables)
    ]
    for spell in faults:
        rows = spoiled(table, rows, spell.fault, hour.start, spell.first.start)
    truncated = any(spell.fault == "truncated" for spell in faults)
    return [partition(rows[part::parts], truncated=truncated and part == 0) for part in range(parts)]


def busy(moment: datetime) -> float:
    """How much is going on: a swell over the working day, and quiet weekends; 1 is a busy weekday's middle."""
    swell = 0.75 + 0.35 * math.sin((moment.hour - 8) / 24 * 2 * math.pi)
    return swell * (0.45 if moment.weekday() >= 5 else 1.0)  # noqa: PLR2004 - Saturday and Sunday


def _partition(table: SimulatedTable, rows: float, part: int) -> bytes:
    """A partition of about so many rows: gzip members that are made once a table and repeated."""
    return b"".join(_member(table, (part + number) % _MEMBERS) for number in range(_members(rows)))


def _members(rows: float) -> int:
    return max(1, round(rows / ROWS_A_MEMBER))


@lru_cache(maxsize=256)
def _template(table: SimulatedTable) -> tuple[dict[str, Any], ...]:
    return tuple(hour_rows(table, 2 * table.rows, TEMPLATE))


@lru_cache(maxsize=1024)
def _member(table: SimulatedTable, variant: int) -> bytes:
    hour = Hour.parse("2022-05-10T13").start
    return member(tables.records(table, ROWS_A_MEMBER, Dice("history", table.name, variant), hour))


@lru_cache(maxsize=16)
def _schema(chosen: tuple[SimulatedTable, ...]) -> bytes:
    return tables.schema(chosen)


# -- the run that brought it ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Times:
    """When the Hour's run did what."""

    claimed: datetime
    triggered: datetime
    replicated: datetime
    ended: datetime
    late: bool

    @classmethod
    def of(cls, hour: Hour, dice: Dice, *, late: bool) -> _Times:
        """The typical cycle: init under 2 minutes, replication 15 to 25, transfer 2 to 3."""
        claimed = hour.start + timedelta(seconds=5 + 40 * dice.random())
        triggered = claimed + timedelta(seconds=20 + 80 * dice.random())
        replicated = triggered + timedelta(minutes=15 + 10 * dice.random() + (45 if late else 0))
        return cls(claimed, triggered, replicated, replicated + timedelta(seconds=120 + 60 * dice.random()), late)


def _events(
    times: _Times, guid: str, cause: str | None, files: Mapping[str, bytes], missing: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The Hour's ledger, from the claim to its end."""
    unanswered = cause == "trigger_ack_lost"
    steps: list[tuple[str, datetime, dict[str, Any]]] = [("claimed", times.claimed, {})]
    if not unanswered:
        steps.append(("triggered", times.triggered, {"job_guid": guid}))
    if times.late or cause == "vendor_timeout":
        steps.append(("overdue", times.triggered + timedelta(minutes=50), {"cause": "vendor_timeout"}))
    summary: dict[str, Any] = {
        "job_guid": None if unanswered else guid,
        "posts": 2 if unanswered else 1,
        "late": times.late,
        "claimed_at": records.utc(times.claimed),
        "triggered_at": None if unanswered else records.utc(times.triggered),
        "replicated_at": None if cause else records.utc(times.replicated),
    }
    seconds = {
        "init": None if unanswered else _between(times.claimed, times.triggered),
        "replication": None if cause else _between(times.triggered, times.replicated),
        "transfer": None if cause else _between(times.replicated, times.ended),
    }
    if cause:
        ended = times.claimed + timedelta(hours=6) if cause == "vendor_timeout" else times.replicated
        if unanswered:
            steps.append(("reposting", times.claimed + timedelta(minutes=3), {}))
        steps.append(("failed", ended, summary | {"cause": cause, "detail": None, "seconds": seconds}))
    else:
        figures = {
            "files": len(files),
            "bytes": sum(map(len, files.values())),
            "missing_tables": list(missing),
            "requests": len(files) + 30,
            "seconds": seconds,
        }
        steps += [
            ("replicated", times.replicated, {}),
            ("promised", times.replicated + timedelta(seconds=3), {}),
            ("delivered", times.ended, summary | figures),
        ]
    return [
        {
            "format": records.FORMAT,
            "event": kind,
            "at": records.utc(at),
            "nonce": hashlib.sha256(f"{guid}/{number}".encode()).hexdigest()[:32],
            "worker": {"host": "simulated", "pid": 1, "started": ""},
            **data,
        }
        for number, (kind, at, data) in enumerate(steps, 1)
    ]


def _between(begin: datetime, end: datetime) -> float:
    return round((end - begin).total_seconds(), 3)


def _guid(*parts: object) -> str:
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
