"""I/O. Looks inside the files of many Hours at once, on a Spark that exists: Glue's, EMR's, or one on this machine.

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
from viplake.content.examine import (
    BATCH,
    NOT_TOGETHER,
    TableFiles,
    files_of,
    member_counts,
    of_file,
    together,
    unanswered,
)
from viplake.content.profiling import (
    ContentFinding,
    HourContent,
    Question,
    Seen,
    TableContent,
    answer,
    counts_sql,
    is_wrong,
    profile_of,
    values_sql,
    wrong_values_sql,
)
from viplake.content.spark_sql import in_spark
from viplake.errors import LakeError, SettingsError, ViplakeError
from viplake.lake import Lake
from viplake.lake.store import open_store
from viplake.redact import redact
from viplake.tables import duck
from viplake.tables.staging import Staged, Unreadable, stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

    from duckdb import DuckDBPyConnection
    from pyspark.sql import DataFrame, Row, SparkSession

    from viplake.content.examine import ContentSettings, HourFiles
    from viplake.lake.layout import Layout
    from viplake.lake.store import StoreSettings
    from viplake.model import Hour
    from viplake.tables.types import ValueKind

HOURS_TOGETHER: Final = 168
"""Hours that are asked about in one go at most: a query costs Spark about as much for a week as for an Hour."""

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
_INSTALL: Final = "pip install 'viplake[spark]' pyspark; on Glue and EMR Spark is there."


@dataclass(frozen=True, slots=True)
class Piece:
    """A file, as an executor is told of it.

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
    """Look inside the files of many Hours; gives them in the order asked for.

    Uses the session of this process, else makes one as the platform is configured.

    Raises:
        SettingsError: Spark, sqlglot or Java is not there.
        LakeError: the lake cannot be read, here or by the executors.
        ViplakeError: Spark failed.
    """
    spark = await asyncio.to_thread(session)
    asked = list(hours)
    for start in range(0, len(asked), HOURS_TOGETHER):
        listed = await _listed(lake, layout, asked[start : start + HOURS_TOGETHER])
        for hours_files in together(listed, lambda one: sum(table.size for table in one.tables), BYTES_TOGETHER):
            for content in await asyncio.to_thread(_examined, spark, lake, layout, hours_files, settings):
                yield content


async def _listed(lake: StoreSettings, layout: Layout, hours: Sequence[Hour]) -> list[HourFiles]:
    opened = Lake(open_store(lake), layout)
    return await map_bounded(lambda hour: files_of(opened, hour), hours, at_once=LISTED_AT_ONCE)


def session() -> SparkSession:
    """A session of our own on the Spark of this process, made if there is none; nobody else's settings change.

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
class _Place:
    """A table of an Hour, and what the executors reported of its files.

    Attributes:
        hour: whose.
        known: the table.
        members: records that have each member.
        files: the numbers of those that can be read, each with the columns of its records.
        unfolded, parsed: findings on files that cannot be unfolded; that are no JSON of records.
        unanswered: why nothing can be asked; None where it can.
    """

    hour: Hour
    known: TableFiles
    members: Counter[str] = field(default_factory=Counter)
    files: dict[int, list[str]] = field(default_factory=dict)
    unfolded: list[ContentFinding] = field(default_factory=list)
    parsed: list[ContentFinding] = field(default_factory=list)
    unanswered: str | None = None

    def take(self, file: int, report: Mapping[str, Any]) -> None:
        """What an executor says of a file.

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
            (self.parsed if report["parsed"] else self.unfolded).append(of_file(self.known.table, unread))
        else:
            self.members.update(report["members"])
            self.files[file] = [*(self.known.columns or ()), *report["more"]]

    @property
    def findings(self) -> tuple[ContentFinding, ...]:
        """On its files, in the order in which a single Hour has them."""
        return tuple(
            one for some in (self.unfolded, self.parsed) for one in sorted(some, key=lambda one: one.file or "")
        )

    def question(self, settings: ContentSettings) -> Question:
        """What to ask of it."""
        known = self.known
        return Question.of(
            known.table, known.columns, sorted(self.members), key=known.key, record_times=settings.record_times
        )


def _examined(
    spark: SparkSession,
    lake: StoreSettings,
    layout: Layout,
    listed: Sequence[HourFiles],
    settings: ContentSettings,
) -> list[HourContent]:
    from py4j.protocol import Py4JError  # noqa: PLC0415 - comes with pyspark
    from pyspark.errors import PySparkException  # noqa: PLC0415 - as above

    places = [_Place(one.hour, known) for one in listed for known in one.tables]
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
        found.setdefault(place.hour, []).append(_content(place, answers.get(at)))
    return [HourContent(one.hour, tuple(found.get(one.hour, ())), one.schema_problem) for one in listed]


def _content(place: _Place, answered: _Answered | None) -> TableContent:
    known, findings = place.known, place.findings
    if answered is None:
        return unanswered(known, findings, place.unanswered or known.unknown)
    question, row, examples = answered
    return profile_of(question, row, Seen(len(known.files), place.members, None, findings), examples, known.unknown)


def _records(spark: SparkSession, lake: StoreSettings, pieces: Sequence[Piece]) -> DataFrame:
    """What the executors read: reports and records."""
    slices = _slices(pieces, spark.sparkContext.defaultParallelism)
    reach = for_executors(lake)
    rows = spark.sparkContext.parallelize(slices, max(len(slices), 1)).flatMap(lambda some: read(reach, some))
    return spark.createDataFrame(rows, "file int, report string, cells array<string>", verifySchema=False)


def for_executors(lake: StoreSettings) -> StoreSettings:
    """How executors reach the lake: without any secret, which Spark would keep in clear while it travels."""
    network = lake.network.without_secrets()
    return replace(lake, access_key_id=None, secret_access_key=None, session_token=None, network=network, create=False)


def _slices(pieces: Sequence[Piece], workers: int) -> list[list[Piece]]:
    """The pieces, in their order, in slices of about equal bytes, three for each worker or more."""
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


_Answered = tuple[Question, tuple[Any, ...], dict[str, list[str]]]
"""A question, its answer, and examples of wrong values by column."""


def _answered(
    spark: SparkSession, looked: DataFrame, places: Sequence[_Place], settings: ContentSettings
) -> dict[int, _Answered]:
    """The answers for each place that has some: a query a kind of column, whatever tables and Hours there are."""
    asked = {
        at: place.question(settings) for at, place in enumerate(places) if place.files and place.unanswered is None
    }
    records = looked.where("report is null")
    counts: dict[int, tuple[int, int]] = {}
    for width in sorted({len(question.key) for question in asked.values()}):
        keyed = [
            (file, at, [columns.index(name) if name in columns else None for name in asked[at].key])
            for at in asked
            if len(asked[at].key) == width
            for file, columns in places[at].files.items()
        ]
        joined = records.join(_small(spark, keyed, "file int, place int, key array<int>"), "file")
        cells = [f"cells[key[{index}]] as c{index}" for index in range(width)]
        for at, rows, duplicates in _rows(spark, joined.selectExpr("place", *cells), counts_sql(width, "place")):
            counts[at] = rows, duplicates
    values, examples = _values(spark, records, places, asked)
    found = {}
    for at, question in asked.items():
        rows, duplicates = counts.get(at, (0, 0))
        columns = [values.get((at, index)) for index in range(len(question.columns))]
        dated = values.get((at, DATED))
        row = answer(rows, duplicates, dated[-1] if dated else 0, columns)
        wrong = {
            question.columns[index]: shown
            for index in range(len(question.columns))
            if (shown := examples.get((at, index)))
        }
        found[at] = question, row, wrong
    return found


def _values(
    spark: SparkSession, records: DataFrame, places: Sequence[_Place], asked: Mapping[int, Question]
) -> tuple[dict[tuple[int, int], tuple[Any, ...]], dict[tuple[int, int], list[str]]]:
    """The cells of each column by place and number, and examples where values cannot be read as what is declared."""
    by_kind: dict[ValueKind | None, list[tuple[int, int, list[tuple[int, int]]]]] = {}
    for at, question in asked.items():
        wanted: dict[ValueKind | None, list[tuple[int, str]]] = {}
        for number, name in enumerate(question.columns):
            wanted.setdefault(question.kind(name), []).append((number, name))
        if question.record_time is not None:
            wanted.setdefault("timestamp", []).append((DATED, question.record_time))
        for file, columns in places[at].files.items():
            where = {name: index for index, name in enumerate(columns)}
            for kind, names in wanted.items():
                picked = [(number, where[name]) for number, name in names if name in where]
                if picked:
                    by_kind.setdefault(kind, []).append((file, at, picked))
    values: dict[tuple[int, int], tuple[Any, ...]] = {}
    examples: dict[tuple[int, int], list[str]] = {}
    for kind, files in sorted(by_kind.items(), key=lambda pair: pair[0] or ""):
        picks = _small(spark, files, "file int, place int, picks array<struct<number: int, cell: int>>")
        column = _column_values(records, picks)
        answers = {(row[0], row[1]): tuple(row[2:]) for row in _rows(spark, column, values_sql(kind, BY))}
        values |= answers
        wrong = [
            (at, number)
            for (at, number), cells in answers.items()
            if number != DATED and is_wrong(asked[at], asked[at].columns[number], cells)
        ]
        if wrong:
            column = column.join(_small(spark, wrong, "place int, number int"), ["place", "number"])
            for at, number, shown in _rows(spark, column, wrong_values_sql(kind, BY)):
                examples.setdefault((at, number), []).append(shown)
    return values, examples


def _column_values(records: DataFrame, picks: DataFrame) -> DataFrame:
    """The picked cells of records, one below the other: place, number of the column, value."""
    one = "transform(picks, pick -> struct(pick.number, cells[pick.cell] as c0))"
    return records.join(picks, "file").selectExpr("place", f"inline({one}) as (number, c0)")


def _small(spark: SparkSession, rows: Sequence[Any], schema: str) -> DataFrame:
    """A table that every executor holds whole."""
    from pyspark.sql.functions import broadcast  # noqa: PLC0415 - comes with Spark

    return broadcast(spark.createDataFrame(rows, schema, verifySchema=False))


def _rows(spark: SparkSession, records: DataFrame, sql: str) -> list[Row]:
    asked = in_spark(sql, "viplake_records")
    tried = [f"{expression} as {name}" for name, expression in asked.needs.items()]
    records.selectExpr("*", *tried).createOrReplaceTempView("viplake_records")
    return spark.sql(asked.sql).collect()


# -- on the executors -----------------------------------------------------------------------------------------------


def read(lake: StoreSettings, pieces: Sequence[Piece]) -> Iterator[Passed]:
    """A report on each file, and the records of those that can be read: whole files or nothing of them."""
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
                for file in staged:
                    yield from _read_one(connection, by_key[file.name], file)
                shutil.rmtree(folder)


def _read_one(connection: DuckDBPyConnection, piece: Piece, file: Staged | Unreadable) -> Iterator[Passed]:
    import duckdb  # noqa: PLC0415 - 35 MB and 0.1 s that other commands do without

    if isinstance(file, Unreadable):
        yield _report(piece, file=piece.name, why=file.why, byte=file.byte, empty=file.empty, parsed=False)
        return
    try:
        members, rows = _looked_into(connection, piece, file)
    except duckdb.OutOfMemoryException:
        yield _report(piece, file=piece.name, why=duck.TOO_MUCH, byte=None, empty=False, parsed=True)
    except (duckdb.Error, UnicodeDecodeError):
        yield _report(piece, unanswered=NOT_TOGETHER)
    except _NoRecordsError as error:
        yield _report(piece, file=piece.name, why=error.blame.why, byte=error.blame.byte, empty=False, parsed=True)
    else:
        yield _report(piece, members=members, more=_more(piece, members))
        for row in rows:
            yield piece.number, None, row


def _more(piece: Piece, members: Mapping[str, int]) -> list[str]:
    """Members that the schema does not declare, in the order in which records have them."""
    return sorted(members.keys() - set(piece.columns))


class _NoRecordsError(Exception):
    """A file holds something else than JSON of records."""

    def __init__(self, blame: duck.Blame) -> None:
        super().__init__(blame.why)
        self.blame = blame


def _looked_into(
    connection: DuckDBPyConnection, piece: Piece, file: Staged
) -> tuple[dict[str, int], Iterable[list[str | None]]]:
    """How many records have each member; and the records: declared members in order, then the others by name.

    No record of a file may pass when a later one turns out to be none: a short file is read whole before any does, a
    long one is tried first.
    """
    import duckdb  # noqa: PLC0415 - as above

    if file.unfolded > READ_WHOLE:
        return _queried(connection, piece, _readable(connection, file))
    try:
        members, rows = _queried(connection, piece, file)
        return members, list(rows)
    except duckdb.OutOfMemoryException:
        raise
    except (duckdb.Error, UnicodeDecodeError):  # a message may quote bytes that are no text
        members, rows = _queried(connection, piece, _readable(connection, file))
        return members, list(rows)


def _readable(connection: DuckDBPyConnection, file: Staged) -> Staged:
    good, bad = duck.readable(connection, [file])
    if bad:
        raise _NoRecordsError(bad[0])
    return good[0]


def _queried(
    connection: DuckDBPyConnection, piece: Piece, file: Staged
) -> tuple[dict[str, int], Iterator[list[str | None]]]:
    members = member_counts(connection, [file], None)
    columns = [*piece.columns, *_more(piece, members)]
    cells = [f"c{index}" for index in range(len(columns))]
    sql = duck.texts([file], columns, cells) if columns else f"select json from ({duck.objects([file])})"  # noqa: S608 - quoted
    cursor = connection.execute(sql)

    def rows() -> Iterator[list[str | None]]:
        while batch := cursor.fetchmany(_ROWS):
            yield from (list(row[: len(columns)]) for row in batch)

    return members, rows()


def _report(piece: Piece, **what: Any) -> Passed:
    return piece.number, json.dumps(what), None
