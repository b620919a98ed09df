"""PURE. The SQL queries that profile the files of a table, and what their results mean.

Files are read as text and each value is converted to the type that the schema declares. Typed reading would stop at
the first bad value, or turn all bad values into nulls. The SQL is DuckDB's; `sqlglot` translates it for
Spark. An engine provides a relation `records` with the columns `c0`, `c1`, ...: all text, null where a record has no
such member or a null.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

from viplake.content.plain_numbers import is_quick, quick_cells, settled
from viplake.lake.records import parse_utc
from viplake.tables.types import TEXT, ColumnType, checks, trial, type_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
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

FUTURE: Final = timedelta(days=1)
"""After the end of its Hour: a later record time is wrong. Clocks differ, and some columns have local time."""

ContentFindingKind = Literal[
    "unreadable_file",
    "empty_file",
    "missing_column",
    "unexpected_column",
    "wrong_type",
    "out_of_range",
    "too_long",
    "duplicate_key",
    "null_record",
    "future_time",
]


@dataclass(frozen=True, slots=True)
class ContentFinding:
    """One way in which a table's files do not agree with the schema.

    Attributes:
        kind: what.
        table: where.
        detail: one clause with its numbers.
        file: whose name, where it is about one file.
        byte: of that file, from 0 on: where reading failed; None if unknown.
        column: which, where it is about one.
        count: records, where they were counted.
        examples: up to three values, cut to 80 characters.
    """

    kind: ContentFindingKind
    table: str
    detail: str
    file: str | None = None
    byte: int | None = None
    column: str | None = None
    count: int | None = None
    examples: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the object of records and of `viplake content --json`."""
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
        declared: its type in the schema; empty if the schema has no type for it, or lacks the column.
        kind: what values are tried as; None where the declared type is not known: then none is tried.
        rows: of the table.
        nulls: records without a value.
        distinct: about so many different values.
        low, high: the least and the greatest value: of numbers and times among those that are some; 80 characters
            at most. None where there is none.
        nonconforming: values that cannot be read as the declared type; None where none was tried.
        beyond: values that can, and are beyond the declared length, range or precision.
        spelled: how records spell the column where they do not as the schema does; empty where they do.
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
    beyond: int = 0
    spelled: str = ""

    @property
    def null_ratio(self) -> float | None:
        """Records without a value / records; None where there are no records."""
        return self.nulls / self.rows if self.rows else None


@dataclass(frozen=True, slots=True)
class TableContent:
    """The profile of a table in an Hour.

    Attributes:
        table: its name.
        files: how many there are.
        rows: records in those that can be read; None where none can.
        columns: in the order of the schema; of the records where it has none.
        findings: what speaks against it.
        unknown: why conformance of columns cannot be judged; None where it can.
        oldest, newest: record times, UTC; None where no column tells them.
        dated: records that have one.
        duplicates: records whose key another one has too; None where the schema names no key.
        examined: the Hour in which its files were opened; None: this one. They are the same, by their MD5.
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
    examined: Hour | None = None

    @property
    def conformance(self) -> Literal["passed", "failed", "unknown"]:
        """Whether the table agrees with the schema. It is never `passed` where the schema has no columns for it."""
        if self.findings:
            return "failed"
        return "passed" if self.unknown is None else "unknown"

    @property
    def span_hours(self) -> float | None:
        """Hours from the oldest to the newest record time; None with fewer than `FEWEST_DATED` of them."""
        if self.oldest is None or self.newest is None or self.dated < FEWEST_DATED:
            return None
        return (self.newest - self.oldest).total_seconds() / 3600


@dataclass(frozen=True, slots=True)
class HourContent:
    """The profiles of all tables of an Hour.

    Attributes:
        hour: which.
        tables: those that have files, by name.
        schema_problem: why its schema tells nothing; None where it does.
        method: how it was examined; another method may find something else in the same files.
    """

    hour: Hour
    tables: tuple[TableContent, ...] = field(default=())
    schema_problem: str | None = None
    method: str = ""

    @property
    def findings(self) -> tuple[ContentFinding, ...]:
        """The findings on all tables."""
        return tuple(finding for table in self.tables for finding in table.findings)

    @property
    def look_back_hours(self) -> float | None:
        """The measured look-back: the median of the tables' spans; None where no table has enough record times.

        The median, because one record with a stray time must not stand for the export.
        """
        spans = sorted(span for table in self.tables if (span := table.span_hours) is not None)
        return round(spans[len(spans) // 2], 3) if spans else None


def without_future(hour: Hour, table: TableContent) -> TableContent:
    """Return the table without a newest record time that is in the future; that time becomes a finding.

    One such record would make the table stale for years, and its span longer than any export's.
    """
    if table.newest is None or table.newest <= hour.end + FUTURE:
        return table
    what = f"the newest record time is {table.newest:%Y-%m-%d %H:%M} UTC, after the export of {hour}"
    return replace(table, newest=None, findings=(*table.findings, ContentFinding("future_time", table.table, what)))


# -- asking -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TableQuestion:
    """The questions on a table.

    Attributes:
        table: its name.
        columns: to read, in order: those of the schema, and others that the files have.
        declared: types by column, those of the schema alone; None where it has no columns.
        key: columns of its key; empty where the schema names none.
        record_time: the column with the time at which a record changed; None where there is none.
        spelled: the members that a column is read from, where they are not just its name.
    """

    table: str
    columns: tuple[str, ...]
    declared: Mapping[str, str] | None
    key: tuple[str, ...] = ()
    record_time: str | None = None
    spelled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        table: str,
        declared: Mapping[str, str] | None,
        found: Sequence[str],
        *,
        key: tuple[str, ...] = (),
        record_times: Sequence[str] = RECORD_TIMES,
    ) -> TableQuestion:
        """Return the questions on a table with these members."""
        spelled = spellings(declared or {}, found)
        taken = {*(declared or ()), *(member for members in spelled.values() for member in members)}
        columns = (*(declared or ()), *(name for name in found if name not in taken))
        wanted = [name.lower() for name in record_times]
        times = sorted((name for name in columns if name.lower() in wanted), key=lambda n: wanted.index(n.lower()))
        usable = key if set(key) <= set(columns) else ()
        return cls(table, columns, declared, usable, times[0] if times else None, spelled)

    @property
    def members(self) -> list[tuple[str, ...]]:
        """Return the members from which each column is read."""
        return [self.spelled.get(name, (name,)) for name in self.columns]

    def type(self, column: str) -> ColumnType | None:
        """Return the type of a column; None where its values are not checked."""
        declared = (self.declared or {}).get(column, "")
        if column == self.record_time and not declared:
            return ColumnType("timestamp")
        return type_of(declared)


def spellings(declared: Collection[str], found: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the members of records that match a column of the schema except for case, by column.

    Where records have the column as the schema spells it, such a member is another one. Straße and Strasse are
    two names.
    """
    there = set(found)
    by_letters: dict[str, list[str]] = {}
    for member in sorted(there - set(declared)):
        by_letters.setdefault(member.lower(), []).append(member)
    columns = Counter(column.lower() for column in declared)
    return {
        column: tuple(by_letters[column.lower()])
        for column in declared
        if column not in there and columns[column.lower()] == 1 and column.lower() in by_letters
    }


PER_COLUMN: Final = 6

KEY_WORK: Final = 6
"""Columns that cost as much to profile as finding keys that stand twice (measured, 2.7 million records)."""


def profile_sql(question: TableQuestion) -> str:
    """Return SQL for one row: records, duplicate keys, dated records; then `PER_COLUMN` cells for each column."""
    [whole] = profile_in_parts(question, 1)
    return whole


def profile_in_parts(question: TableQuestion, parts: int, quick: Collection[str] = ()) -> list[str]:
    """Return the same in several queries of about equal work; their rows, joined, are that row.

    The columns of `quick` come as JSON, and their cells are those of `plain_numbers`.
    """
    place = {column: f"c{index}" for index, column in enumerate(question.columns)}
    key = [place[column] for column in question.key]
    head = _Selection(("count(*)", _duplicates(key), "0"), tuple(key))
    if question.record_time is not None:
        cell = place[question.record_time]
        dated = trial(cell, ColumnType("timestamp"))
        counted = f"count({cell}_time)"
        head = _Selection((*head.cells[:2], counted), head.texts, dated.tried, {f"{cell}_time": dated.value})
    works = [(KEY_WORK if question.key else 0, head)]
    for column in question.columns:
        cell, of = place[column], question.type(column)
        if of is not None and column in quick:
            cells, tried = quick_cells(cell, of)
            works.append((1, _Selection(cells, (cell,), tried, {name: name for name in tried})))
        else:
            works.append((1, _column(cell, of)))
    share = sum(work for work, _ in works) / parts
    queries: list[list[_Selection]] = [[] for _ in range(parts)]
    done = 0.0
    for work, selection in works:
        queries[min(int(done / share), parts - 1) if share else 0].append(selection)
        done += work
    return [_select(selections) for selections in queries if selections]


def quick_columns(question: TableQuestion) -> frozenset[str]:
    """Return the columns that may be settled by the quick answer. A key is compared as it is written: 1 is not 1.0."""
    others = {*question.key, question.record_time}
    return frozenset(name for name in question.columns if name not in others and is_quick(question.type(name)))


def settle(
    question: TableQuestion, row: Sequence[Any], quick: Collection[str]
) -> tuple[dict[str, Sequence[Any]], TableQuestion | None]:
    """Return the cells of each column that an answer settles, and the question on the others; None: there are none."""
    found: dict[str, Sequence[Any]] = {}
    for name, cells in zip(question.columns, cells_of(row), strict=True):
        of = question.type(name)
        right = settled(of, cells) if of is not None and name in quick else cells
        if right is not None:
            found[name] = right
    rest = tuple(name for name in question.columns if name not in found)
    return found, replace(question, columns=rest, key=(), record_time=None) if rest else None


def examples_sql(question: TableQuestion, column: str, kind: ContentFindingKind) -> str:
    """Return SQL for the first few distinct values of a column that a finding of this kind is about, in order."""
    cell = f"c{question.columns.index(column)}"
    wrong = _wrong(cell, question.type(column) or TEXT, kind)
    return f"select substr({cell}, 1, {SHOWN}) {wrong} group by 1 order by 1 limit {EXAMPLES}"


# The same for many tables and Hours in one query, where a query costs more than its records: `records` then holds
# values one below the other, and columns that say whose they are.


def counts_sql(width: int, by: str) -> str:
    """Return SQL for one row a group of records: the group, records, duplicate keys (of the first columns)."""
    counted = f"count(*), {_duplicates([f'c{index}' for index in range(width)])}"
    return f"select {by}, {counted} from records group by {by}"  # noqa: S608 - our own names


def values_sql(of: ColumnType | None, by: str) -> str:
    """Return SQL for one row a group of values `c0`: the group, and the `PER_COLUMN` cells for that type.

    The length of texts is that of the column `most` where the type has one: a query for each length costs too much.
    """
    length = "most" if of is not None and of.length is not None else None
    return f"{_select([_Selection((by,), (by, *filter(None, [length]))), _column('c0', of, length)])} group by {by}"


def wrong_values_sql(of: ColumnType, kind: ContentFindingKind, by: str) -> str:
    """Return SQL for each group of values `c0`: the group, and the first few values that a finding is about."""
    shown = f"substr(c0, 1, {SHOWN})"
    ranked = f"row_number() over (partition by {by} order by {shown}) as in_order"
    first = f"select {by}, {shown} as shown, {ranked} {_wrong('c0', of, kind, 'most')} group by {by}, {shown}"
    return f"select {by}, shown from ({first}) where in_order <= {EXAMPLES} order by {by}, shown"  # noqa: S608 - our own names


def answer(rows: int, duplicates: int, dated: int, columns: Iterable[Sequence[Any] | None]) -> tuple[Any, ...]:
    """Return the row of `profile_sql` from single answers; None for a column without values."""
    return (rows, duplicates, dated, *(cell for found in columns for cell in found or (0, 0, None, None, 0, 0)))


def _wrong(cell: str, of: ColumnType, kind: ContentFindingKind, length: str | None = None) -> str:
    fits, beyond = checks(cell, of, length if of.length is not None else None)
    bad = f"not {fits}" if kind == "wrong_type" else f"{fits} and {beyond}"
    return f"from records where {cell} is not null and {bad}"


@dataclass(frozen=True, slots=True)
class _Selection:
    """A part of a query.

    Attributes:
        cells: what is selected.
        texts: columns of `records` that these need.
        tried: expressions over these, by name.
        made: expressions over those, by the names that cells use.
    """

    cells: tuple[str, ...]
    texts: tuple[str, ...]
    tried: Mapping[str, str] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)


def _select(selections: Sequence[_Selection]) -> str:
    """Return a query over `records` that converts each value once, however often it is used.

    In two steps: an engine tries a value again for each aggregate that has it in a filter or in a branch.
    """
    texts = list(dict.fromkeys(text for one in selections for text in one.texts))
    tried = {name: sql for one in selections for name, sql in one.tried.items()}
    made = {name: sql for one in selections for name, sql in one.made.items()}
    cells = ", ".join(cell for one in selections for cell in one.cells)
    if not tried:
        return f"select {cells} from records"  # noqa: S608 - our own names, here and below
    first, then = (", ".join([*texts, *(f"{sql} as {name}" for name, sql in some.items())]) for some in (tried, made))
    return f"select {cells} from (select {then} from (select {first} from records))"  # noqa: S608


def _column(cell: str, of: ColumnType | None, length: str | None = None) -> _Selection:
    """The `PER_COLUMN` cells of a column: values, about how many different ones, least, greatest, those that fit,
    those beyond the declared size.
    """
    found = trial(cell, of or TEXT, length)
    common = (f"count({cell})", f"approx_count_distinct({cell})")
    if of is None or of.kind == "text":
        ends = [f"substr({end}({cell}), 1, {SHOWN})" for end in ("min", "max")]  # the ends' beginnings are those of all
        beyond = "0" if found.beyond is None else f"count(case when {found.beyond} then 1 end)"
        return _Selection((*common, *ends, f"count({cell})", beyond), (cell,))
    value, fits, beyond = (f"{cell}_{of.kind}_{name}" for name in ("value", "fits", "beyond"))
    made = {value: found.value, fits: found.fits} if of.kind == "decimal" else {value: found.value}
    good = f"count(case when {fits} then 1 end)" if of.kind == "decimal" else f"count({value})"
    if found.beyond is not None:
        made[beyond] = f"{found.fits} and {found.beyond}"
    ends = [f"min({value})", f"max({value})"]
    if of.kind in {"boolean", "date", "timestamp"}:  # numbers come as such: each engine writes large ones as it likes
        ends = [f"cast({end} as varchar)" for end in ends]
    larger = "0" if found.beyond is None else f"count(case when {beyond} then 1 end)"
    return _Selection((*common, *ends, good, larger), (cell,), found.tried, made)


def _duplicates(cells: Sequence[str]) -> str:
    """Return the number of records with the key of an earlier one; 0 without a key."""
    if not cells:
        return "0"
    if len(cells) == 1:
        return f"count({cells[0]}) - count(distinct {cells[0]})"
    whole = " and ".join(f"{cell} is not null" for cell in cells)
    joined = " || chr(31) || ".join(cells)  # the unit separator, which no key holds; null where any of them is
    return f"count(*) filter (where {whole}) - count(distinct {joined})"


# -- reading the answer -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TableMembers:
    """The members of a table's files, and how many records have each.

    Attributes:
        files: how many there are.
        counts: records that have each member, as they come.
        looked: how many records were looked at for that; None: all.
        findings: about files: unreadable and empty ones, and those with nulls in place of records.
    """

    files: int
    counts: Mapping[str, int]
    looked: int | None = None
    findings: tuple[ContentFinding, ...] = ()


Examples = dict[tuple[str, "ContentFindingKind"], list[str]]
"""Values that a finding is about, by column and kind."""


def profile_of(
    question: TableQuestion,
    row: Sequence[Any],
    members: TableMembers,
    examples: Mapping[tuple[str, ContentFindingKind], Sequence[str]],
    unknown: str | None,
) -> TableContent:
    """Return the profile for an answer to `profile_sql`.

    Args:
        question: which table, with its columns and keys.
        row: the answer.
        members: what the files have.
        examples: answers to `examples_sql`.
        unknown: why the columns are unknown; None where they are known.
    """
    rows, duplicates, dated = int(row[0]), int(row[1]), int(row[2])
    columns, findings = [], list(members.findings)
    for name, cells in zip(question.columns, cells_of(row), strict=True):
        present, distinct, low, high, good, beyond = cells
        of = question.type(name)
        kind = None if of is None else of.kind
        declared = (question.declared or {}).get(name, "")
        wrong = None if kind is None or not declared else int(present) - int(good)
        spelled = ", ".join(question.spelled.get(name, ()))
        column = ColumnProfile(
            name, declared, kind, rows, rows - int(present), min(int(distinct), int(present)), _shown(kind, low),
            _shown(kind, high), wrong, int(beyond) if declared else 0, spelled,
        )  # fmt: skip
        columns.append(column)
        findings += _of_column(question, column, members, examples)
    if question.key and duplicates:
        key = ", ".join(question.key)
        what = f"{duplicates:,} of {rows:,} records have a key ({key}) that another record has too"
        findings.append(ContentFinding("duplicate_key", question.table, what, column=key, count=duplicates))
    times = columns[question.columns.index(question.record_time)] if question.record_time is not None else None
    return TableContent(
        question.table,
        members.files,
        rows,
        tuple(columns),
        tuple(findings),
        unknown,
        _moment(times.low) if times else None,
        _moment(times.high) if times else None,
        dated,
        duplicates if question.key else None,
    )


def cells_of(row: Sequence[Any]) -> list[Sequence[Any]]:
    """Return the counts and limits of each column of the table, from the one result row of `profile_sql`."""
    return [row[at : at + PER_COLUMN] for at in range(3, len(row), PER_COLUMN)]


def odd_columns(question: TableQuestion, row: Sequence[Any]) -> list[tuple[str, ContentFindingKind]]:
    """Return the columns that need examples, each with the kind of finding."""
    columns = zip(question.columns, cells_of(row), strict=True)
    return [(name, kind) for name, cells in columns for kind in odd_kinds(question, name, cells)]


def odd_kinds(question: TableQuestion, column: str, cells: Sequence[Any]) -> list[ContentFindingKind]:
    """Return the kinds of findings on the values of a column; `cells` are its answer."""
    of = question.type(column)
    if of is None or not (question.declared or {}).get(column):
        return []
    found: list[ContentFindingKind] = ["wrong_type"] if int(cells[0]) > int(cells[4]) else []
    return [*found, _beyond(of)] if int(cells[5]) else found


def _beyond(of: ColumnType | None) -> ContentFindingKind:
    return "too_long" if of is not None and of.kind == "text" else "out_of_range"


def _of_column(
    question: TableQuestion,
    column: ColumnProfile,
    members: TableMembers,
    examples: Mapping[tuple[str, ContentFindingKind], Sequence[str]],
) -> list[ContentFinding]:
    declared, table, name = question.declared, question.table, column.name
    if declared is None or not column.rows:
        return []
    if name not in declared:
        count = members.counts.get(name, 0)
        among = f"the first {members.looked:,} records" if members.looked is not None else f"{column.rows:,} records"
        what = f"{name} is in {count:,} of {among}, and not in the schema"
        return [ContentFinding("unexpected_column", table, what, column=name, count=count)]
    if (
        not any(member in members.counts for member in question.spelled.get(name, (name,)))
        and column.nulls == column.rows
    ):
        what = f"{name} is in the schema, and in none of {column.rows:,} records"
        return [ContentFinding("missing_column", table, what, column=name, count=column.rows)]
    beyond = _beyond(question.type(name))
    how = "longer" if beyond == "too_long" else "larger or finer"
    texts: list[tuple[ContentFindingKind, int, str]] = [
        ("wrong_type", column.nonconforming or 0, f"are not of type {column.declared}"),
        (beyond, column.beyond, f"are {how} than {column.declared} holds"),
    ]
    found = []
    for kind, count, what in texts:
        if count:
            some = tuple(examples.get((name, kind), ()))
            shown = ", ".join(repr(example) for example in some)
            detail = f"{name}: {count:,} of {column.rows:,} values {what}: {shown}"
            found.append(ContentFinding(kind, table, detail, column=name, count=count, examples=some))
    return found


def _shown(kind: ValueKind | None, value: Any) -> str | None:
    """Return a least or greatest value as it is stored: whole numbers without `.0`, times as ISO 8601."""
    if value is None:
        return None
    if kind in {"decimal", "double"} and value == 0:
        return "0.0"  # which of 0 and -0 is the least, engines do not agree on
    if kind == "decimal":
        text = f"{Decimal(value):f}".rstrip("0")
        return f"{text}0" if text.endswith(".") else text if "." in text else f"{Decimal(value):f}.0"
    return str(value).replace(" ", "T", 1) if kind == "timestamp" else str(value)


def _moment(text: str | None) -> datetime | None:
    """Return a record time to the millisecond, UTC unless it has a zone; None where it is no time of a record.

    Systems write the first day of the calendar, or its last, where they mean none: such a table has no span.
    """
    try:
        return None if text is None else parse_utc(f"{text}Z")
    except ValueError:
        return None
