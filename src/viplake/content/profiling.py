"""PURE. What is asked of a table's files, in SQL that every engine runs alike, and what the answer means.

The files are read as text and each value is tried against the type that the schema declares: reading them as typed
columns stops at the first bad value, or turns all bad ones into nulls. The SQL is DuckDB's; `sqlglot` turns it into
Spark's. An engine gives a relation `records` with the columns `c0`, `c1`, ...: all text, null where a record has no
such member or a null.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from viplake.lake.records import parse_utc
from viplake.tables.types import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from viplake.model import Hour
    from viplake.tables.types import ValueKind

RECORD_TIMES: Final = (
    "LastUpdateGMT",
    "LastUpdatedGMT",
    "LastUpdateDateGMT",
    "LastModifiedGMT",
    "LastUpdate",
    "LastUpdated",
    "LastModified",
    "LastModifiedDate",
    "ModifiedOn",
    "UpdatedAt",
)
"""Columns that tell when a record changed, the best first: which one the vendor uses is not documented."""

EXAMPLES: Final = 3
SHOWN: Final = 80
"""Characters of a value that are kept to show it."""

FEWEST_DATED: Final = 20
"""Records that a table needs for its span to say something of the look-back: of so many spread over a window, the
oldest and the newest are on average less than a tenth of it away from its ends."""

FindingKind = Literal[
    "unreadable_file",
    "empty_file",
    "missing_column",
    "unexpected_column",
    "wrong_type",
    "duplicate_key",
]
FINDINGS: Final[tuple[FindingKind, ...]] = get_args(FindingKind)


@dataclass(frozen=True, slots=True)
class ContentFinding:
    """One thing in a table's files that does not agree with the schema.

    Attributes:
        kind: what.
        table: where.
        detail: one clause with its numbers.
        file: whose name, where it is about one file.
        byte: of that file, from 0 on: where reading it went wrong; None where nobody knows.
        column: which, where it is about one.
        count: records, where they were counted.
        examples: up to three values, cut to 80 characters.
    """

    kind: FindingKind
    table: str
    detail: str
    file: str | None = None
    byte: int | None = None
    column: str | None = None
    count: int | None = None
    examples: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As records and `viplake content --json` have it."""
        return {
            "kind": self.kind,
            "table": self.table,
            "file": self.file,
            "byte": self.byte,
            "column": self.column,
            "count": self.count,
            "examples": list(self.examples),
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """A column of a table in an Hour.

    Attributes:
        name: its own.
        declared: its type in the schema; empty where it is not told, or the column is not in the schema.
        kind: what values are tried as; None where the declared type is not known: then none is tried.
        rows: of the table.
        nulls: records without a value.
        distinct: about so many different values.
        low, high: the least and the greatest value: of numbers and times among those that are some; 80 characters
            at most. None where there is none.
        nonconforming: values that cannot be read as the declared type; None where none was tried.
    """

    name: str
    declared: str
    kind: ValueKind | None
    rows: int
    nulls: int
    distinct: int
    low: str | None
    high: str | None
    nonconforming: int | None = None

    @property
    def null_ratio(self) -> float | None:
        """Records without a value / records; None where there are no records."""
        return self.nulls / self.rows if self.rows else None


@dataclass(frozen=True, slots=True)
class TableContent:
    """What a table's files of an Hour hold.

    Attributes:
        table: its name.
        files: how many there are.
        rows: records in those that can be read; None where none can.
        columns: in the order of the schema; as they come where it tells none.
        findings: what speaks against it.
        unknown: why conformance of columns cannot be judged; None where it can.
        oldest, newest: record times, UTC; None where no column tells them.
        dated: records that have one.
        duplicates: records whose key another one has too; None where the schema names no key.
    """

    table: str
    files: int
    rows: int | None
    columns: tuple[ColumnProfile, ...] = ()
    findings: tuple[ContentFinding, ...] = ()
    unknown: str | None = None
    oldest: datetime | None = None
    newest: datetime | None = None
    dated: int = 0
    duplicates: int | None = None

    @property
    def conformance(self) -> Literal["passed", "failed", "unknown"]:
        """Whether it agrees with the schema. Never passed where the schema does not tell the columns."""
        if self.findings:
            return "failed"
        return "passed" if self.unknown is None else "unknown"

    @property
    def span_hours(self) -> float | None:
        """From the oldest to the newest record time; None with fewer than `FEWEST_DATED` of them."""
        if self.oldest is None or self.newest is None or self.dated < FEWEST_DATED:
            return None
        return (self.newest - self.oldest).total_seconds() / 3600


@dataclass(frozen=True, slots=True)
class HourContent:
    """What an Hour's files hold.

    Attributes:
        hour: which.
        tables: those that have files, by name.
        schema_problem: why its schema tells nothing; None where it does.
    """

    hour: Hour
    tables: tuple[TableContent, ...] = field(default=())
    schema_problem: str | None = None

    @property
    def findings(self) -> tuple[ContentFinding, ...]:
        """Of all tables."""
        return tuple(finding for table in self.tables for finding in table.findings)

    @property
    def look_back_hours(self) -> float | None:
        """The measured look-back: the median of the tables' spans; None where no table has enough record times.

        The median, because one record with a stray time must not stand for the export.
        """
        spans = sorted(span for table in self.tables if (span := table.span_hours) is not None)
        return round(spans[len(spans) // 2], 3) if spans else None


# -- asking -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of one table.

    Attributes:
        table: its name.
        columns: to read, in order: those of the schema, and others that the files have.
        declared: types by column, those of the schema alone; None where it tells no columns.
        key: columns of its key; empty where the schema names none.
        record_time: the column that tells when a record changed; None where there is none.
    """

    table: str
    columns: tuple[str, ...]
    declared: Mapping[str, str] | None
    key: tuple[str, ...] = ()
    record_time: str | None = None

    @classmethod
    def of(
        cls,
        table: str,
        declared: Mapping[str, str] | None,
        found: Sequence[str],
        *,
        key: tuple[str, ...] = (),
        record_times: Sequence[str] = RECORD_TIMES,
    ) -> Question:
        """What to ask of a table whose files have these members."""
        columns = (*(declared or ()), *(name for name in found if name not in (declared or ())))
        wanted = [name.casefold() for name in record_times]
        times = sorted(
            (name for name in columns if name.casefold() in wanted), key=lambda n: wanted.index(n.casefold())
        )
        usable = key if set(key) <= set(columns) else ()
        return cls(table, columns, declared, usable, times[0] if times else None)

    def kind(self, column: str) -> ValueKind | None:
        """What a column's values are tried as; None: nothing."""
        if column == self.record_time and not (self.declared or {}).get(column):
            return "timestamp"
        return kind_of((self.declared or {}).get(column, ""))


_TRIED: Final[Mapping[ValueKind, str]] = {
    "integer": "try_cast({c} as double)",
    "decimal": "try_cast({c} as double)",
    "boolean": "try_cast({c} as boolean)",
    "date": "try_cast({c} as date)",
    "timestamp": "try_cast({c} as timestamp)",
    "text": "{c}",
}
# Casting 1.5 to an integer rounds it instead of failing; what does not fit into 64 bits is no integer either; and a
# cast takes `NaN`, `Infinity` and the year 200000, which no column could hold.
_FITS: Final[Mapping[ValueKind, str]] = {
    "integer": "({x} = floor({x}) and {x} between -9.223372036854775808e18 and 9.223372036854775808e18)",
    "decimal": "{x} between -1.7e308 and 1.7e308",
    "date": "{x} between date '0001-01-01' and date '9999-12-31'",
    "timestamp": "{x} between timestamp '0001-01-01 00:00:00' and timestamp '9999-12-31 23:59:59.999999'",
}
_PER_COLUMN: Final = 5

KEY_WORK: Final = 6
"""Columns that cost as much to profile as finding keys that stand twice (measured, 2.7 million records)."""


def profile_sql(question: Question) -> str:
    """One row: records, duplicate keys, dated records; then for each column `_PER_COLUMN` cells (see `profile_of`)."""
    [whole] = profile_in_parts(question, 1)
    return whole


def profile_in_parts(question: Question, parts: int) -> list[str]:
    """The same in so many queries of about the same work: their rows, one after the other, are that row."""
    place = {column: f"c{index}" for index, column in enumerate(question.columns)}
    key = [place[column] for column in question.key]
    head = _Asked(("count(*)", _duplicates(key), "0"), tuple(key))
    if question.record_time is not None:
        tried: tuple[str, ValueKind] = (place[question.record_time], "timestamp")
        head = _Asked((*head.cells[:2], f"count({_value(*tried)})"), head.texts, (tried,))
    works = [(KEY_WORK if question.key else 0, head)]
    works += [(1, _column(place[column], question.kind(column))) for column in question.columns]
    share = sum(work for work, _ in works) / parts
    queries: list[list[_Asked]] = [[] for _ in range(parts)]
    done = 0.0
    for work, asked in works:
        queries[min(int(done / share), parts - 1) if share else 0].append(asked)
        done += work
    return [_select(asked) for asked in queries if asked]


def examples_sql(question: Question, column: str) -> str:
    """The first few different values of a column that cannot be read as its declared type, in their order."""
    cell, kind = f"c{question.columns.index(column)}", question.kind(column)
    return f"select substr({cell}, 1, {SHOWN}) {_wrong(cell, kind)} group by 1 order by 1 limit {EXAMPLES}"


# The same, asked of many tables and Hours in one go, where a query costs more than its records: `records` then holds
# values one below the other, and columns that say whose they are.


def counts_sql(width: int, by: str) -> str:
    """A row for each group of records: it, records, duplicate keys, which are made of the first columns."""
    counted = f"count(*), {_duplicates([f'c{index}' for index in range(width)])}"
    return f"select {by}, {counted} from records group by {by}"  # noqa: S608 - our own names


def values_sql(kind: ValueKind | None, by: str) -> str:
    """A row for each group of values `c0`: it, and the `_PER_COLUMN` cells of a column of that kind."""
    return f"{_select([_Asked((by,), (by,)), _column('c0', kind)])} group by {by}"


def wrong_values_sql(kind: ValueKind | None, by: str) -> str:
    """For each group of values `c0`: it, and one of the first few that cannot be read as that kind."""
    shown = f"substr(c0, 1, {SHOWN})"
    ranked = f"row_number() over (partition by {by} order by {shown}) as in_order"
    first = f"select {by}, {shown} as shown, {ranked} {_wrong('c0', kind)} group by {by}, {shown}"
    return f"select {by}, shown from ({first}) where in_order <= {EXAMPLES} order by {by}, shown"  # noqa: S608 - our own names


def answer(rows: int, duplicates: int, dated: int, columns: Iterable[Sequence[Any] | None]) -> tuple[Any, ...]:
    """The row of `profile_sql`, of answers that came one by one; None for a column without any value."""
    return (rows, duplicates, dated, *(cell for found in columns for cell in found or (0, 0, None, None, 0)))


def _wrong(cell: str, kind: ValueKind | None) -> str:
    return f"from records where {cell} is not null and not {conforms(cell, kind)}"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A part of a query.

    Attributes:
        cells: what is selected.
        texts: columns of `records` that these need.
        tried: of which columns they need the values, and of what kind.
    """

    cells: tuple[str, ...]
    texts: tuple[str, ...]
    tried: tuple[tuple[str, ValueKind], ...] = ()


def _select(asked: Sequence[_Asked]) -> str:
    """A query over `records` that tries each value once, whatever is asked of it.

    In two steps: an engine tries a value again for each aggregate that has it in a filter or in a branch.
    """
    texts = list(dict.fromkeys(text for one in asked for text in one.texts))
    tried = list(dict.fromkeys(one for some in asked for one in some.tried))
    first = [*texts, *(f"{_TRIED[kind].format(c=cell)} as tried_{_value(cell, kind)}" for cell, kind in tried)]
    then = [
        *texts,
        *(f"{_fitting(f'tried_{_value(cell, kind)}', kind)} as {_value(cell, kind)}" for cell, kind in tried),
    ]
    cells = ", ".join(cell for one in asked for cell in one.cells)
    if not tried:
        return f"select {cells} from records"  # noqa: S608 - our own names, here and below
    return f"select {cells} from (select {', '.join(then)} from (select {', '.join(first)} from records))"  # noqa: S608


def _value(cell: str, kind: ValueKind) -> str:
    """What the value of a column is called, as that kind."""
    return f"{cell}_{kind}"


def _fitting(tried: str, kind: ValueKind) -> str:
    """What was tried; null where no column of the kind could hold it."""
    return f"case when {_FITS[kind].format(x=tried)} then {tried} end" if kind in _FITS else tried


def _column(cell: str, kind: ValueKind | None) -> _Asked:
    """The `_PER_COLUMN` cells of a column: values, about how many different ones, least, greatest, those that fit."""
    if kind is None or kind == "text":
        ends = [f"substr({end}({cell}), 1, {SHOWN})" for end in ("min", "max")]  # the ends' beginnings are those of all
        return _Asked((f"count({cell})", f"approx_count_distinct({cell})", *ends, f"count({cell})"), (cell,))
    value = _value(cell, kind)
    ends = [f"min({value})", f"max({value})"]
    if kind not in {"integer", "decimal"}:  # which come as numbers: each engine writes large ones as it likes
        ends = [f"cast({end} as varchar)" for end in ends]
    cells = (f"count({cell})", f"approx_count_distinct({cell})", *ends, f"count({value})")
    return _Asked(cells, (cell,), ((cell, kind),))


def conforms(cell: str, kind: ValueKind | None) -> str:
    """Whether a value, as text, can be read as that kind: true or false, false where there is none."""
    kind = kind or "text"
    tried = _TRIED[kind].format(c=cell)
    return f"coalesce({_FITS[kind].format(x=tried) if kind in _FITS else f'{tried} is not null'}, false)"


def _duplicates(cells: Sequence[str]) -> str:
    """Records whose key was there before; 0 where there is no key."""
    if not cells:
        return "0"
    if len(cells) == 1:
        return f"count({cells[0]}) - count(distinct {cells[0]})"
    whole = " and ".join(f"{cell} is not null" for cell in cells)
    joined = " || chr(31) || ".join(cells)  # the unit separator, which no key holds; null where any of them is
    return f"count(*) filter (where {whole}) - count(distinct {joined})"


# -- reading the answer -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """What the files of a table have, besides their values.

    Attributes:
        files: how many there are.
        members: records that have each member, as they come.
        looked: how many records were looked at for that; None: all.
        findings: about files: unreadable and empty ones.
    """

    files: int
    members: Mapping[str, int]
    looked: int | None = None
    findings: tuple[ContentFinding, ...] = ()


def profile_of(
    question: Question, row: Sequence[Any], seen: Seen, examples: Mapping[str, Sequence[str]], unknown: str | None
) -> TableContent:
    """What the answer to `profile_sql` means.

    Args:
        question: what was asked.
        row: the answer.
        seen: what the files have.
        examples: answers to `examples_sql`, by column.
        unknown: why the schema tells no columns; None where it does.
    """
    rows, duplicates, dated = int(row[0]), int(row[1]), int(row[2])
    columns, findings = [], list(seen.findings)
    for index, name in enumerate(question.columns):
        at = 3 + _PER_COLUMN * index
        present, distinct, low, high, good = row[at : at + _PER_COLUMN]
        kind = question.kind(name)
        declared = (question.declared or {}).get(name, "")
        wrong = None if kind is None or not declared else int(present) - int(good)
        column = ColumnProfile(
            name, declared, kind, rows, rows - int(present), min(int(distinct), int(present)), _shown(kind, low),
            _shown(kind, high), wrong,
        )  # fmt: skip
        columns.append(column)
        findings += _of_column(question, column, seen, tuple(examples.get(name, ())))
    if question.key and duplicates:
        key = ", ".join(question.key)
        what = f"{duplicates:,} of {rows:,} records have a key ({key}) that another record has too"
        findings.append(ContentFinding("duplicate_key", question.table, what, column=key, count=duplicates))
    times = columns[question.columns.index(question.record_time)] if question.record_time is not None else None
    return TableContent(
        question.table,
        seen.files,
        rows,
        tuple(columns),
        tuple(findings),
        unknown,
        _moment(times.low) if times else None,
        _moment(times.high) if times else None,
        dated,
        duplicates if question.key else None,
    )


def wrong_columns(question: Question, row: Sequence[Any]) -> list[str]:
    """The columns of which examples are worth asking for."""
    return [
        name
        for index, name in enumerate(question.columns)
        if is_wrong(question, name, row[3 + _PER_COLUMN * index : 3 + _PER_COLUMN * (index + 1)])
    ]


def is_wrong(question: Question, column: str, cells: Sequence[Any]) -> bool:
    """Whether a column holds values that cannot be read as its declared type; `cells` are its answer."""
    declared = (question.declared or {}).get(column)
    return question.kind(column) is not None and bool(declared) and int(cells[0]) > int(cells[-1])


def _of_column(
    question: Question, column: ColumnProfile, seen: Seen, examples: tuple[str, ...]
) -> list[ContentFinding]:
    declared, table, name = question.declared, question.table, column.name
    if declared is None or not column.rows:
        return []
    if name not in declared:
        count = seen.members.get(name, 0)
        among = f"the first {seen.looked:,} records" if seen.looked is not None else f"{column.rows:,} records"
        what = f"{name} is in {count:,} of {among}, and not in the schema"
        return [ContentFinding("unexpected_column", table, what, column=name, count=count)]
    if name not in seen.members and column.nulls == column.rows:
        what = f"{name} is in the schema, and in none of {column.rows:,} records"
        return [ContentFinding("missing_column", table, what, column=name, count=column.rows)]
    if column.nonconforming:
        some = ", ".join(repr(example) for example in examples)
        what = f"{name}: {column.nonconforming:,} of {column.rows:,} values are no {column.declared}: {some}"
        return [ContentFinding("wrong_type", table, what, column=name, count=column.nonconforming, examples=examples)]
    return []


def _shown(kind: ValueKind | None, value: Any) -> str | None:
    """A least or greatest value as it is kept: a whole number without its `.0`, a time as ISO 8601."""
    if value is None:
        return None
    if kind == "decimal" and value == 0:
        return "0.0"  # which of 0 and -0 is the least, engines do not agree on
    if kind == "integer" and math.isfinite(value) and value == int(value):
        return str(int(value))
    return str(value).replace(" ", "T", 1) if kind == "timestamp" else str(value)


def _moment(text: str | None) -> datetime | None:
    """A record time, which is UTC unless it says otherwise, to the millisecond; None where it is no time of a record.

    Systems write the first day of the calendar, or its last, where they mean none: such a table has no span.
    """
    try:
        return None if text is None else parse_utc(f"{text}Z")
    except ValueError:
        return None
