"""I/O. Content checks of many Hours at once on an existing Spark: Glue's, EMR's, or one on this machine.

::

    pieces = the files of some Hours        # listed here
    records = read on the executors         # staged and read as text by the code that a single Hour uses
    members, findings = ...                 # what each file has, and whether it can be read: the same pass
    for kind in number, time, text, ...:    # one query for all columns of that kind, of all tables and Hours
        spark.sql(values_sql(kind))         # DuckDB's SQL, turned by sqlglot

The executors read with DuckDB too, because Spark's own reader holds a root array in memory whole, and sees other
records in damaged files. They reach the lake with credentials of their own: secrets do not travel.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from viplake.concurrency import map_bounded
from viplake.content.examine import BATCH, NOT_TOGETHER, of_file, of_nulls, question_of, unanswered
from viplake.content.profiling import (
    ContentFinding,
    HourContent,
    TableContent,
    TableMembers,
    TableQuestion,
    answer,
    counts_sql,
    odd_kinds,
    profile_of,
    values_sql,
    without_future,
    wrong_values_sql,
)
from viplake.content.spark_sql import in_spark
from viplake.errors import LakeError, SettingsError, ViplakeError
from viplake.lake import Lake
from viplake.lake.store import open_store
from viplake.redact import redact
from viplake.tables import duck
from viplake.tables.files import TableFiles, files_of, together
from viplake.tables.staged import Staged, Unreadable
from viplake.tables.staging import stage
from viplake.tables.types import TEXT, ColumnType
from viplake.wording import install_hint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

    from duckdb import DuckDBPyConnection
    from pyspark.sql import DataFrame, Row, SparkSession

    from viplake.content.examine import ContentSettings
    from viplake.content.profiling import ContentFindingKind, Examples
    from viplake.lake.layout import Layout
    from viplake.lake.store import StoreSettings
    from viplake.model import Hour
    from viplake.tables.files import HourFiles

HOURS_TOGETHER: Final = 168
"""Most Hours in one query: it costs Spark about as much for a week as for an Hour."""

BYTES_TOGETHER: Final = 8 << 30
"""Bytes, as stored, of these Hours: their records lie unfolded on the executors' disks meanwhile."""

LISTED_AT_ONCE: Final = 16

SLICE: Final = 32 << 20
"""Bytes, as stored, that one task reads, unless the cluster has room for more tasks."""

READ_WHOLE: Final = 8 << 20
"""Bytes of JSON up to which the records of a file are held in memory at once."""

_ROWS: Final = 2000
DATED: Final = -1
"""The number, beside those of columns, of the record time tried as a time, whatever type it is declared to have."""

BY: Final = "place, number"

_SPELLINGS: Final = 3
"""Of one column in the records of one file that are looked for."""
_INSTALL: Final = f"{install_hint('spark', 'pyspark')}; on Glue and EMR Spark is there."


@dataclass(frozen=True, slots=True)
class Piece:
    """A file, as an executor gets it.

    Attributes:
        number: of the file.
        place: of its Hour and table.
        name: in the hourly folder.
        key: in the lake.
        size: bytes, as stored.
        columns: that the schema declares.
    """

    number: int
    place: int
    name: str
    key: str
    size: int
    columns: tuple[str, ...]


Passed = tuple[int, str | None, list[str | None] | None]
"""The number of a file; then what is to say of it, as JSON, or a record: its declared columns in order, and its others
by name."""


async def examine_many(
    lake: StoreSettings,
    layout: Layout,
    hours: Iterable[Hour],
    settings: ContentSettings,
) -> AsyncIterator[HourContent]:
    """Run content checks on many Hours; yield the results in the order of the Hours.

    Uses the session of this process, else makes one as the platform is configured.

    Raises:
        SettingsError: Spark, sqlglot or Java is not there.
        LakeError: the lake cannot be read, here or by the executors.
        ViplakeError: Spark failed.
    """
    spark = await asyncio.to_thread(session)
    wanted = list(hours)
    for start in range(0, len(wanted), HOURS_TOGETHER):
        listed = await _listed(lake, layout, wanted[start : start + HOURS_TOGETHER])
        for hours_files in together(listed, lambda one: sum(table.size for table in one.tables), BYTES_TOGETHER):
            for content in await asyncio.to_thread(_examined, spark, lake, layout, hours_files, settings):
                yield content


async def _listed(lake: StoreSettings, layout: Layout, hours: Sequence[Hour]) -> list[HourFiles]:
    opened = Lake(open_store(lake), layout)
    return await map_bounded(lambda hour: files_of(opened, hour), hours, at_once=LISTED_AT_ONCE)


def session() -> SparkSession:
    """Return a session of our own on the Spark of this process, started if there is none; settings of others stay.

    Raises:
        SettingsError: Spark, sqlglot or Java is not there.
    """
    try:
        import sqlglot  # noqa: F401, PLC0415 - the extra `spark`
        from pyspark.errors import PySparkException  # noqa: PLC0415 - Spark's own, 400 MB
        from pyspark.sql import SparkSession  # noqa: PLC0415 - as above
    except ImportError as error:
        raise SettingsError(f"--engine spark needs {error.name or 'pyspark'}", hint=_INSTALL) from None
    running = SparkSession.getActiveSession()
    if running is None:
        try:
            running = SparkSession.builder.appName("viplake content").getOrCreate()
        except PySparkException as error:
            raise SettingsError(
                f"Spark does not start: {redact(str(error).partition(chr(10))[0])[:200]}",
                hint="Spark 3.5 needs Java 17 (or 8, 11): `java -version`, JAVA_HOME.",
            ) from None
        if str(running.sparkContext.master).startswith("local"):
            running.sparkContext.pythonExec = sys.executable  # the default is whatever `python3` is
    own = running.newSession()
    # As DuckDB: an overflow or a wrong index is an error, never a silent null; times are UTC.
    own.conf.set("spark.sql.ansi.enabled", "true")
    own.conf.set("spark.sql.session.timeZone", "UTC")
    own.conf.set("spark.sql.shuffle.partitions", str(own.sparkContext.defaultParallelism))  # answers are few
    return own


# -- on the driver --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _TableOfHour:
    """A table of an Hour, and the reports of the executors on its files.

    Attributes:
        hour: of the table.
        known: the table.
        members: records that have each member.
        files: the numbers of those that can be read, each with the columns of its records.
        unfolded, parsed: findings on files that cannot be unfolded; that hold no records.
        nulls: null entries by file.
        unanswered: why its values cannot be counted; None where they can.
    """

    hour: Hour
    known: TableFiles
    members: Counter[str] = field(default_factory=Counter)
    files: dict[int, list[str]] = field(default_factory=dict)
    unfolded: list[ContentFinding] = field(default_factory=list)
    parsed: list[ContentFinding] = field(default_factory=list)
    nulls: dict[str, int] = field(default_factory=dict)
    unanswered: str | None = None

    def take(self, file: int, report: Mapping[str, Any]) -> None:
        """Take an executor's report on a file.

        Raises:
            LakeError: it could not read the lake.
        """
        if "lake" in report:
            own = "Executors use credentials of their own (their role, AWS_*), never those of the secret."
            hint = own if report["lake"] in {"dest_auth", "dest_denied"} else None
            raise LakeError(f"an executor of Spark: {report['message']}", cause=report["lake"], hint=hint)
        if "unanswered" in report:
            self.unanswered = str(report["unanswered"])
        elif "why" in report:
            unread = Unreadable(report["file"], report["why"], report["byte"], empty=report["empty"])
            finding = of_file(self.known.table, unread, report["label"])
            (self.parsed if report["parsed"] else self.unfolded).append(finding)
        else:
            self.nulls |= report["nulls"]
            self.members.update(report["members"])
            self.files[file] = [*(self.known.columns or ()), *report["more"]]

    @property
    def findings(self) -> tuple[ContentFinding, ...]:
        """The findings on its files, in the order of a single Hour's."""
        table = self.known.table
        files = [one for some in (self.unfolded, self.parsed) for one in sorted(some, key=lambda one: one.file or "")]
        return (*files, *(of_nulls(table, label, count) for label, count in sorted(self.nulls.items())))

    def question(self, settings: ContentSettings) -> TableQuestion:
        """Return the questions on it."""
        return question_of(self.known, self.members, settings)


def _examined(
    spark: SparkSession,
    lake: StoreSettings,
    layout: Layout,
    listed: Sequence[HourFiles],
    settings: ContentSettings,
) -> list[HourContent]:
    from py4j.protocol import Py4JError  # noqa: PLC0415 - comes with pyspark
    from pyspark.errors import PySparkException  # noqa: PLC0415 - as above

    places = [_TableOfHour(one.hour, known) for one in listed for known in one.tables]
    pieces = [
        Piece(
            number, at, name, layout.file(place.hour, name), place.known.files[name], tuple(place.known.columns or ())
        )
        for number, (at, place, name) in enumerate(
            (at, place, name) for at, place in enumerate(places) for name in sorted(place.known.files)
        )
    ]
    try:
        looked = _records(spark, lake, pieces)
        looked.persist()
        try:
            for row in looked.where("report is not null").select("file", "report").collect():
                places[pieces[row["file"]].place].take(row["file"], json.loads(row["report"]))
            answers = _answered(spark, looked, places, settings)
        finally:
            looked.unpersist()
    except (Py4JError, PySparkException) as error:
        raise ViplakeError(f"Spark failed: {redact(str(error).strip().partition(chr(10))[0])[:300]}") from error
    found: dict[Hour, list[TableContent]] = {}
    for at, place in enumerate(places):
        found.setdefault(place.hour, []).append(without_future(place.hour, _content(place, answers.get(at))))
    return [
        HourContent(one.hour, tuple(found.get(one.hour, ())), one.schema_problem, settings.method) for one in listed
    ]


def _content(place: _TableOfHour, answered: _Answered | None) -> TableContent:
    known, findings = place.known, place.findings
    if answered is None:
        return unanswered(known, findings, place.unanswered or known.unknown)
    question, row, examples = answered
    return profile_of(
        question, row, TableMembers(len(known.files), place.members, None, findings), examples, known.unknown
    )


def _records(spark: SparkSession, lake: StoreSettings, pieces: Sequence[Piece]) -> DataFrame:
    """Return what the executors read: reports and records."""
    slices = _slices(pieces, spark.sparkContext.defaultParallelism)
    reach = for_executors(lake)
    rows = spark.sparkContext.parallelize(slices, max(len(slices), 1)).flatMap(lambda some: read(reach, some))
    return spark.createDataFrame(rows, "file int, report string, cells array<string>", verifySchema=False)


def for_executors(lake: StoreSettings) -> StoreSettings:
    """Return store settings without secrets, because Spark stores what it sends in clear text."""
    network = lake.network.without_secrets()
    return replace(lake, access_key_id=None, secret_access_key=None, session_token=None, network=network, create=False)


def _slices(pieces: Sequence[Piece], workers: int) -> list[list[Piece]]:
    """Split the pieces, in order, into slices of about equal bytes, at least three for each worker."""
    most = min(SLICE, max(sum(piece.size for piece in pieces) // (3 * workers), 1))
    slices: list[list[Piece]] = []
    size = most
    for piece in pieces:
        if size >= most:
            slices.append([])
            size = 0
        slices[-1].append(piece)
        size += piece.size
    return slices


_Answered = tuple[TableQuestion, tuple[Any, ...], "Examples"]
"""A question, its answer, and examples for findings."""


def _answered(
    spark: SparkSession, looked: DataFrame, places: Sequence[_TableOfHour], settings: ContentSettings
) -> dict[int, _Answered]:
    """Return the answers for each table that has records: one query for each kind of column."""
    questions = {
        at: place.question(settings) for at, place in enumerate(places) if place.files and place.unanswered is None
    }
    records = looked.where("report is null")
    counts: dict[int, tuple[int, int]] = {}
    for width in sorted({len(question.key) for question in questions.values()}):
        keyed = [
            (file, at, [next(iter(_cells(questions[at], columns, name)), None) for name in questions[at].key])
            for at in questions
            if len(questions[at].key) == width
            for file, columns in places[at].files.items()
        ]
        joined = records.join(_small(spark, keyed, "file int, place int, key array<int>"), "file")
        cells = [f"cells[key[{index}]] as c{index}" for index in range(width)]
        for at, rows, duplicates in _rows(spark, joined.selectExpr("place", *cells), counts_sql(width, "place")):
            counts[at] = rows, duplicates
    values, examples = _values(spark, records, places, questions)
    found = {}
    for at, question in questions.items():
        rows, duplicates = counts.get(at, (0, 0))
        columns = [values.get((at, index)) for index in range(len(question.columns))]
        dated = values.get((at, DATED))
        row = answer(rows, duplicates, dated[4] if dated else 0, columns)
        found[at] = question, row, examples.get(at, {})
    return found


def _cells(question: TableQuestion, columns: Sequence[str], name: str) -> list[int]:
    """Return the cells in which a file's records have a column; the first cell with a value counts."""
    return [columns.index(member) for member in question.spelled.get(name, (name,)) if member in columns]


@dataclass(frozen=True, slots=True)
class _Picks:
    """The columns of one type, of all tables and Hours: the cells of each, by file.

    Attributes:
        files: number of the file, of its place, and the picked columns: number, cells, greatest length.
    """

    files: list[tuple[int, int, list[tuple[int, list[int], int | None]]]] = field(default_factory=list)


def _picked(places: Sequence[_TableOfHour], questions: Mapping[int, TableQuestion]) -> dict[ColumnType | None, _Picks]:
    found: dict[ColumnType | None, _Picks] = {}
    for at, question in questions.items():
        wanted: dict[ColumnType | None, list[tuple[int, str, int | None]]] = {}
        for number, name in enumerate(question.columns):
            of = question.type(name)
            length = None if of is None else of.length
            alike = of if of is None or length is None else replace(TEXT, length=1)  # one query for all lengths
            wanted.setdefault(alike, []).append((number, name, length))
        if question.record_time is not None:
            wanted.setdefault(ColumnType("timestamp"), []).append((DATED, question.record_time, None))
        for file, columns in places[at].files.items():
            for of, names in wanted.items():
                picks = [(n, cells, most) for n, name, most in names if (cells := _cells(question, columns, name))]
                if picks:
                    found.setdefault(of, _Picks()).files.append((file, at, picks))
    return found


def _values(
    spark: SparkSession, records: DataFrame, places: Sequence[_TableOfHour], questions: Mapping[int, TableQuestion]
) -> tuple[dict[tuple[int, int], tuple[Any, ...]], dict[int, Examples]]:
    """Return the cells of each column by table and number, and examples for findings by table."""
    values: dict[tuple[int, int], tuple[Any, ...]] = {}
    examples: dict[int, Examples] = {}
    for of, picks in sorted(_picked(places, questions).items(), key=lambda pair: repr(pair[0])):
        small = _small(
            spark, picks.files, "file int, place int, picks array<struct<number: int, cells: array<int>, most: int>>"
        )
        column = _column_values(records, small)
        answers = {(row[0], row[1]): tuple(row[2:]) for row in _rows(spark, column, values_sql(of, BY))}
        values |= answers
        odd: dict[ContentFindingKind, list[tuple[int, int]]] = {}
        for (at, number), cells in answers.items():
            for kind in odd_kinds(questions[at], questions[at].columns[number], cells) if number != DATED else ():
                odd.setdefault(kind, []).append((at, number))
        for kind, wrong in odd.items():
            some = column.join(_small(spark, wrong, "place int, number int"), ["place", "number"])
            for at, number, shown in _rows(spark, some, wrong_values_sql(of or TEXT, kind, BY)):
                examples.setdefault(at, {}).setdefault((questions[at].columns[number], kind), []).append(shown)
    return values, examples


def _column_values(records: DataFrame, picks: DataFrame) -> DataFrame:
    """Return the picked cells of records, one below the other: table, number of the column, greatest length, value."""
    cell = ", ".join(f"cells[get(pick.cells, {index})]" for index in range(_SPELLINGS))
    one = f"transform(picks, pick -> struct(pick.number, pick.most, coalesce({cell}) as c0))"
    return records.join(picks, "file").selectExpr("place", f"inline({one}) as (number, most, c0)")


def _small(spark: SparkSession, rows: Sequence[Any], schema: str) -> DataFrame:
    """Return a table that every executor holds whole."""
    from pyspark.sql.functions import broadcast  # noqa: PLC0415 - comes with Spark

    return broadcast(spark.createDataFrame(rows, schema, verifySchema=False))


def _rows(spark: SparkSession, records: DataFrame, sql: str) -> list[Row]:
    translated = in_spark(sql, "viplake_records")
    tried = [f"{expression} as {name}" for name, expression in translated.needs.items()]
    records.selectExpr("*", *tried).createOrReplaceTempView("viplake_records")
    return spark.sql(translated.sql).collect()


# -- on the executors -----------------------------------------------------------------------------------------------


def read(lake: StoreSettings, pieces: Sequence[Piece]) -> Iterator[Passed]:
    """Yield a report on each file, and the records of readable files: all records of a file, or none."""
    by_key = {piece.key: piece for piece in pieces}
    with tempfile.TemporaryDirectory(prefix="viplake-") as name:
        root = Path(name)
        with duck.connect(root) as connection:
            for number, batch in enumerate(together(pieces, lambda piece: piece.size, BATCH)):
                folder = root / str(number)
                folder.mkdir()
                try:
                    store = open_store(lake)
                    staged = asyncio.run(stage((piece.key for piece in batch), store.read, folder))
                except LakeError as error:
                    yield _report(batch[0], lake=error.cause.word, message=redact(error.message))
                    return
                by_name: dict[str, list[Staged | Unreadable]] = {}
                for file in staged:
                    by_name.setdefault(file.name, []).append(file)
                for key, files in by_name.items():
                    yield from _read_one(connection, by_key[key], files)
                shutil.rmtree(folder)


def _read_one(connection: DuckDBPyConnection, piece: Piece, files: Sequence[Staged | Unreadable]) -> Iterator[Passed]:
    """Yield a report on a file, or on each member of a zip file, and the records of those that can be read.

    No record of a file may pass when a later one turns out to be none: a short file is read whole before any does, a
    long one is tried first.
    """
    for file in files:
        if isinstance(file, Unreadable):
            yield _unread(piece, piece.name, file.why, file.byte, empty=file.empty, parsed=False)
    staged = [replace(file, name=piece.name) for file in files if isinstance(file, Staged)]
    try:
        found = duck.members(connection, staged)
        blames = list(found.bad)
        columns = [*piece.columns, *_more(piece, found.counts)]
        short = sum(file.unfolded for file in found.files) <= READ_WHOLE
        good = found.files
        try:
            rows: Iterable[list[str | None]] = list(_queried(connection, good, columns)) if short else ()
        except duck.faults():
            short = False
        if not short:
            good, bad = duck.readable(connection, good)
            blames += bad
            found = duck.members(connection, good)
            columns = [*piece.columns, *_more(piece, found.counts)]
            rows = _queried(connection, good, columns)
    except duck.faults() as error:
        yield _report(piece, unanswered=duck.TOO_MUCH if duck.of_memory(error) else NOT_TOGETHER)
        return
    for fault in blames:
        yield _unread(piece, fault.file.label, fault.why, fault.byte, empty=False, parsed=True)
    if good:
        yield _report(piece, members=found.counts, more=columns[len(piece.columns) :], nulls=found.nulls)
        for row in rows:
            yield piece.number, None, row


def _more(piece: Piece, members: Mapping[str, int]) -> list[str]:
    """Return the members that the schema does not declare, sorted."""
    return sorted(members.keys() - set(piece.columns))


def _queried(
    connection: DuckDBPyConnection, files: Sequence[Staged], columns: Sequence[str]
) -> Iterator[list[str | None]]:
    if not files:
        return
    cells = [f"c{index}" for index in range(len(columns))]
    cursor = connection.execute(duck.texts(files, [(name,) for name in columns], cells))
    while batch := cursor.fetchmany(_ROWS):
        yield from (list(row[: len(columns)]) for row in batch)


def _unread(piece: Piece, label: str, why: str, byte: int | None, *, empty: bool, parsed: bool) -> Passed:
    return _report(piece, file=piece.name, label=label, why=why, byte=byte, empty=empty, parsed=parsed)


def _report(piece: Piece, **what: Any) -> Passed:
    return piece.number, json.dumps(what), None
