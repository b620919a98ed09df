r"""PURE. The datasets: their columns, their rows from facts, and the bytes of their CSV files.

Names, order and meaning of the columns are a contract: people hold files of them. Reading is lenient with what
such files have been through (Excel, pandas, an editor, a cut line); writing is strict: sorted by Hour, contract
columns first, then whatever other columns the file had, UTF-8 without BOM, `\n`, the same bytes for the same rows.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from viplake.errors import SettingsError
from viplake.model import FIRST_YEAR, LAST_YEAR, MISSED, UNKNOWN, Hour, HourOutcome
from viplake.strictjson import LARGEST_COUNT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from viplake.history.facts import HourFacts
    from viplake.tables.types import ValueKind

Row = tuple[str, ...]
"""The cells of a row: those of the contract, then those of the frame's extra columns."""

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_DATE_ALONE: Final = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}")
_INDEX: Final = re.compile(r"(?:Unnamed: \d+)?")
"""The name of a column that is none: the index of pandas, or a trailing delimiter of Excel."""

_TRUTHS: Final = {"true": "1", "false": "0"}
"""As pandas writes a column that a comparison made, such as `delivered == 1`."""

_GROUPS: Final = re.compile(r"\d{1,3}(?:[ \u00a0\u202f'\u2019]\d{3})+|\d{1,3}(?:,\d{3}){2,}|\d{1,3}(?:\.\d{3}){2,}")
"""A whole number in groups of thousands. One comma or point alone may also begin a fraction: that is refused."""

_THOUSANDS: Final = re.compile(r"[0-9]{1,3}[.,][0-9]{3}")
_DELIMITER_HINT: Final = re.compile(r"sep=([,;|\t])\s*")
_DAY_FIRST: Final = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4}) (\d{1,2}:\d{2}(?::\d{2})?)")
"""Excel in Germany and its neighbors. With slashes the order of day and month is unknown."""

_NUMPY_TEXT: Final = re.compile(r"""\bnp\.str_\(('[^']*'|"[^"]*")\)""")
_BETWEEN_TEXTS: Final = re.compile(r"""(?<=[\w)])(['"])\s+(['"])(?=\w)""")

csv.field_size_limit(1 << 24)  # the list of a thousand missing tables is longer than the default 128 KiB


Grain = Literal["Hour", "Hour and table", "Hour, table and column"]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset of the history: what one row is, and its columns.

    Attributes:
        name: of its file without `.csv`, or of its folder of Parquet files.
        grain: of what there is one row.
        kinds: its columns in order, and what their values are; empty ones are unknown.
    """

    name: str
    grain: Grain
    kinds: Mapping[str, ValueKind] = field(hash=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns, in order."""
        return tuple(self.kinds)

    @property
    def folder(self) -> str:
        """The folder of its Parquet files, below the published files, with its closing slash."""
        return f"{self.name}/"


@dataclass(frozen=True, slots=True)
class HourDataset(Dataset):
    """A dataset with one row an Hour, in one CSV file.

    Attributes:
        cells: how to read each column of the contract, in order; each raises ValueError for what it cannot be.
        of: the row of an Hour, None where it has none.
        weight: how much a row says: one that says more is never replaced by one that says less, unless the lake
            has the Hour.
        odd: in which way a row contradicts itself; None where it does not.
    """

    cells: Mapping[str, Callable[[str], str]] = field(hash=False)
    of: Callable[[HourFacts], Row | None]
    weight: Callable[[Row], float]
    odd: Callable[[Row], str | None] = lambda _: None

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name}.csv"


@dataclass(frozen=True, slots=True)
class Frame:
    """The rows of a dataset.

    Attributes:
        rows: by Hour, in any order.
        extra: columns that are not of the contract, in the order in which they were met.
    """

    rows: dict[Hour, Row] = field(default_factory=dict)
    extra: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parsed:
    """The content of a CSV file.

    Attributes:
        frame: its rows, cells in their plain form.
        unreadable: raw lines that are no rows: a torn last line, or worse.
        warnings: repairs, one sentence each.
        why: the first of the unreadable lines, and the reason.
    """

    frame: Frame
    unreadable: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    why: str = ""


# -- cells --------------------------------------------------------------------------------------------------


def _hour(text: str) -> str:
    """The label of an Hour; pandas and Excel write a date with a time of day, in UTC where it names no zone."""
    try:
        return Hour.parse(text).label
    except SettingsError:
        pass
    if day_first := _DAY_FIRST.fullmatch(text):
        day, month, year, time = day_first.groups()
        text = f"{year}-{month:0>2}-{day:0>2} {time:0>5}"
    moment = datetime.fromisoformat(text)
    moment = moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if _DATE_ALONE.fullmatch(text) or not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(text)
    return Hour(moment).label  # a ValueError within an Hour


def _count(text: str) -> str:
    text = _TRUTHS.get(text.lower(), text)
    if _GROUPS.fullmatch(text):  # Excel, where somebody has formatted the column
        text = "".join(filter(str.isdecimal, text))
    number = _number(text)  # pandas writes integers beside a gap as 1.0
    if number != int(number) or _THOUSANDS.fullmatch(text):  # 1.000 may be one, or a thousand
        raise ValueError(text)
    count = int(text) if text.isdecimal() else int(number)
    if not 0 <= count <= LARGEST_COUNT:
        raise ValueError(text)
    return str(count)


def _count_or_none(text: str) -> str:
    return "" if _is_gap(text) else _count(text)


def _ratio(text: str) -> str:
    return "" if _is_gap(text) else f"{_number(text):.4f}"


def _seconds(text: str) -> str:
    return "" if _is_gap(text) else f"{_number(text):.3f}".rstrip("0").rstrip(".")


def _number(text: str) -> float:
    """A number; with a decimal comma too, as Excel writes it in many countries."""
    number = float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _names(text: str) -> str:
    """A list of strings, as JSON; old files hold the `repr` of a Python list."""
    if _is_gap(text):
        return "[]"
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        try:
            # numpy writes no commas, and Python would join its texts to one.
            names = ast.literal_eval(_BETWEEN_TEXTS.sub(r"\1, \2", _NUMPY_TEXT.sub(r"\1", text)))
        except (SyntaxError, TypeError, MemoryError, RecursionError):
            raise ValueError(text) from None
    if not isinstance(names, list | tuple | set) or not all(isinstance(name, str) for name in names):
        raise ValueError(text)
    written = names_json(names)
    written.encode()  # half a character in an escape is a UnicodeEncodeError, which is a ValueError
    return written


def _text(text: str) -> str:
    """With the line breaks that the writer quotes: a lone carriage return it would write bare, and tear the row."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _digest(text: str) -> str:
    if not _SHA256.fullmatch(text.lower()):
        raise ValueError(text)
    return text.lower()


def _is_gap(text: str) -> bool:
    return text.strip().lower() in {"", "nan", "none", "null"}


_KINDS: Final[Mapping[Callable[[str], str], ValueKind]] = {
    _count: "integer",
    _count_or_none: "integer",
    _ratio: "decimal",
    _seconds: "decimal",
}


def _hourly(
    name: str,
    cells: Mapping[str, Callable[[str], str]],
    of: Callable[[HourFacts], Row | None],
    weight: Callable[[Row], float],
    odd: Callable[[Row], str | None] = lambda _: None,
) -> HourDataset:
    kinds = {column: _KINDS.get(cell, "text") for column, cell in cells.items()}
    return HourDataset(name, "Hour", kinds, cells, of, weight, odd)


def names_json(names: Any) -> str:
    """Names as `missingTablesList` holds them: a JSON list, sorted."""
    return json.dumps(sorted(names), ensure_ascii=False)


# -- rows from facts ----------------------------------------------------------------------------------------


def _job_row(facts: HourFacts) -> Row:
    return facts.hour.label, str(int(facts.delivered)), "1"


def _table_row(facts: HourFacts) -> Row | None:
    if facts.expected is None or facts.missing is None:
        return None
    expected, missing = len(facts.expected), len(facts.missing)
    ratio = "" if facts.ratio is None else f"{facts.ratio:.4f}"
    return facts.hour.label, str(expected - missing), str(expected), str(missing), names_json(facts.missing), ratio


def _unlike_count(row: Row) -> str | None:
    named = len(json.loads(row[4]))
    return None if named == int(row[3]) else f"missingTables is {row[3]}, and missingTablesList names {named}"


def _size_row(facts: HourFacts) -> Row:
    return facts.hour.label, str(facts.size // 1000), str(facts.files)


def _run_row(facts: HourFacts) -> Row:
    run = facts.run
    outcome = outcome_cells(facts.outcome(ours=False))  # `attribute_missed` names the owner of a missed Hour
    files = facts.files - facts.has_promise if run is None or run.files is None else run.files
    size = facts.delivered_size if run is None or run.size is None else run.size
    if run is None:
        return facts.hour.label, *outcome, "", "", "", "", str(files), str(size), ""
    phases = ("" if value is None else _seconds(str(value)) for value in (run.init, run.replication, run.transfer))
    requests = "" if run.requests is None else str(run.requests)
    return facts.hour.label, *outcome, *phases, str(run.attempts), str(files), str(size), requests


def outcome_cells(outcome: HourOutcome) -> tuple[str, str, str]:
    """Return the cells `outcome`, `cause` and `owner` of the run metrics."""
    return outcome.word, _text((outcome.cause or "").strip()), outcome.owner or ""


def outcome_of_cells(job: Row, run: Row | None) -> HourOutcome:
    """Return the outcome that the rows of an Hour say.

    Args:
        job: of the job metrics.
        run: of the run metrics; None where the Hour has none.
    """
    if run is None:
        return HourOutcome.without_run(delivered=job[1] != "0", ours=False)
    word, cause, owner = run[_OUTCOME : _OUTCOME + 3]
    return HourOutcome(word, cause or None, owner or None)


def _schema_row(facts: HourFacts) -> Row | None:
    schema = facts.schema
    if schema is None or schema.sha256 is None:
        return None
    return facts.hour.label, schema.sha256, "" if schema.tables is None else str(len(schema.tables))


def runs_of(frame: Frame) -> list[Hour]:
    """The Hours of the run metrics that have a ledger."""
    return [hour for hour, row in frame.rows.items() if row[_ATTEMPTS]]


def attribute_missed(frame: Frame, first: Hour | None, due: int | None = None) -> Frame:
    """Attribute every missed Hour to an owner.

    From the first Hour with a ledger on, viplake should have run: the cause is `missed`, ours. Before it, another
    program should have: `unknown`, and no guess at the owner.
    """
    rows = dict(frame.rows)
    for hour, row in frame.rows.items():
        if row[_OUTCOME] == MISSED and row[_OWNER] != UNKNOWN:
            ours = first is not None and hour > first
            missed = HourOutcome.without_run(delivered=False, ours=ours)
            if due is not None and hour.start.hour != due:
                missed = HourOutcome(MISSED)
            rows[hour] = (*row[:_OUTCOME], *outcome_cells(missed), *row[_OUTCOME + 3 :])
    return Frame(rows, frame.extra)


def _run_weight(row: Row) -> float:
    if row[_OUTCOME] == MISSED and not row[_ATTEMPTS]:
        return 0.5 if row[_OWNER] == UNKNOWN else 0.0  # an imported row stays
    return 2.0 if row[_ATTEMPTS] else 1.0


JOBS: Final = _hourly(
    "historical_job_metrics",
    {"date": _hour, "jobDelivered": _count, "JobExpected": _count},
    _job_row,
    lambda row: float(row[1]),
)
TABLES: Final = _hourly(
    "historical_table_metrics",
    {
        "date": _hour,
        "tablesDelivered": _count,
        "tablesExpected": _count,
        "missingTables": _count,
        "missingTablesList": _names,
        "completenessRatio": _ratio,
    },
    _table_row,
    lambda row: float(row[1]),
    _unlike_count,
)
SIZES: Final = _hourly(
    "historical_job_size",
    {"date": _hour, "size": _count, "files": _count},
    _size_row,
    lambda row: float(row[2]),
)
RUNS: Final = _hourly(
    "historical_run_metrics",
    {
        "date": _hour,
        "outcome": _text,
        "cause": _text,
        "owner": _text,
        "initSeconds": _seconds,
        "replicationSeconds": _seconds,
        "transferSeconds": _seconds,
        "attempts": _count_or_none,
        "files": _count_or_none,
        "bytes": _count_or_none,
        "requests": _count_or_none,
    },
    _run_row,
    _run_weight,
)
SCHEMAS: Final = _hourly(
    "historical_schema_versions",
    {"date": _hour, "schema": _digest, "tables": _count_or_none},
    _schema_row,
    lambda _: 1.0,
)
_OUTCOME: Final = RUNS.columns.index("outcome")
_OWNER: Final = RUNS.columns.index("owner")
_ATTEMPTS: Final = RUNS.columns.index("attempts")
_FILES: Final = RUNS.columns.index("files")

DATASETS: Final = (JOBS, TABLES, SIZES, RUNS, SCHEMAS)
"""All datasets with one row an Hour; the first three are the original scripts'."""

VOLUMES: Final = Dataset(
    "table_volumes",
    "Hour and table",
    {"hour": "timestamp", "table": "text", "partitions": "integer", "bytes": "integer"},
)
TABLE_CONTENT: Final = Dataset(
    "table_content",
    "Hour and table",
    {
        "hour": "timestamp",
        "table": "text",
        "files": "integer",
        "rows": "integer",
        "findings": "integer",
        "oldest": "timestamp",
        "newest": "timestamp",
    },
)
COLUMN_CONTENT: Final = Dataset(
    "column_content",
    "Hour, table and column",
    {
        "hour": "timestamp",
        "table": "text",
        "column": "text",
        "declared": "text",
        "rows": "integer",
        "nulls": "integer",
        "distinct": "integer",
        "low": "text",
        "high": "text",
        "nonconforming": "integer",
    },
)
PARQUET_DATASETS: Final = (VOLUMES, TABLE_CONTENT, COLUMN_CONTENT)
"""The datasets in folders of Parquet files."""


# -- upsert -------------------------------------------------------------------------------------------------


def upsert(dataset: HourDataset, frame: Frame, facts: Mapping[Hour, HourFacts]) -> Frame:
    """Return the frame with these rows: those of Hours in the lake replace stored rows; other rows never do.

    A stored row stays where the lake lacks its Hour and the row says more: it was imported, or observed before the
    folder was removed. Extra cells of a row stay.
    """
    rows = dict(frame.rows)
    width = len(dataset.columns)
    blank = ("",) * len(frame.extra)
    for hour, known in facts.items():
        new, old = dataset.of(known), rows.get(hour)
        if new is None or (old is not None and not _replaces(dataset, known, new, old[:width])):
            continue
        rows[hour] = new + (blank if old is None else old[width:])
    return Frame(rows, frame.extra)


def _replaces(dataset: HourDataset, known: HourFacts, new: Row, old: Row) -> bool:
    if known.delivered and dataset is not RUNS:
        return True
    return dataset.weight(new) >= dataset.weight(old)


_STANDING: Final = {"delivered": 2, "waiting": 1}


def worsens(dataset: HourDataset, old: Row, new: Row) -> bool:
    """Whether a row reports less than the one that it replaces: less is delivered, or the outcome is worse."""
    if dataset is RUNS:
        before, after = ((_STANDING.get(row[_OUTCOME], 0), int(row[_FILES] or 0)) for row in (old, new))
        return after < before
    lost_tables = dataset is TABLES and int(new[3]) > int(old[3])
    return lost_tables or dataset.weight(new) < dataset.weight(old)


def expected_daily(jobs: Frame, hours: Iterable[Hour], due: int) -> Frame:
    """The job metrics where one export a day is expected: `JobExpected` is 1 in the due Hours, else 0."""
    rows = dict(jobs.rows)
    for hour in hours:
        if (row := rows.get(hour)) is not None:
            rows[hour] = (*row[:2], str(int(hour.start.hour == due)), *row[3:])
    return Frame(rows, jobs.extra)


def imported_runs(runs: Frame, jobs: Mapping[Hour, Row]) -> Frame:
    """The run metrics with a row for every imported Hour of which no run is on record.

    The program that ran it recorded no times: it is `delivered`, or `missed` by an unknown owner.
    """
    rows = dict(runs.rows)
    for hour, job in jobs.items():
        old = rows.get(hour)
        if old is None or (old[_OUTCOME] == MISSED and not old[_ATTEMPTS]):
            core = outcome_cells(HourOutcome("delivered") if job[1] != "0" else HourOutcome(MISSED, owner=UNKNOWN))
            empty = ("",) * (len(RUNS.columns) - len(core) - 1)
            extra = ("",) * len(runs.extra) if old is None else old[len(RUNS.columns) :]
            rows[hour] = (hour.label, *core, *empty, *extra)
    return Frame(rows, runs.extra)


def take_in(dataset: HourDataset, frame: Frame, other: Frame, *, preferred: bool) -> Frame:
    """The frame with the rows and columns of another that somebody holds.

    Where both have an Hour, one says nothing (not delivered) and gives way; else the `preferred` other wins, or what
    stands. Cells of extra columns come from the other where it has them.
    """
    extra = frame.extra + tuple(name for name in other.extra if name not in frame.extra)
    width = len(dataset.columns)
    mine, theirs = _by_name(dataset, frame), _by_name(dataset, other)
    rows: dict[Hour, Row] = {}
    for hour in mine.keys() | theirs.keys():
        a, b = frame.rows.get(hour), other.rows.get(hour)
        takes = a is None or (b is not None and _outweighs(dataset, b[:width], a[:width], preferred=preferred))
        core = b if takes else a
        known = {**mine.get(hour, {}), **{name: cell for name, cell in theirs.get(hour, {}).items() if cell}}
        rows[hour] = (core or ())[:width] + tuple(known.get(name, "") for name in extra)
    return Frame(rows, extra)


def _outweighs(dataset: HourDataset, new: Row, old: Row, *, preferred: bool) -> bool:
    weights = dataset.weight(new), dataset.weight(old)
    if 0 in weights:
        return weights[0] > weights[1]
    return preferred


def _by_name(dataset: HourDataset, frame: Frame) -> dict[Hour, dict[str, str]]:
    width = len(dataset.columns)
    return {hour: dict(zip(frame.extra, row[width:], strict=True)) for hour, row in frame.rows.items()}


# -- files --------------------------------------------------------------------------------------------------


def render(dataset: HourDataset, frame: Frame) -> bytes:
    """The CSV file of a frame."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(dataset.columns + frame.extra)
    writer.writerows(frame.rows[hour] for hour in sorted(frame.rows))
    return out.getvalue().encode()


def own_frame(dataset: HourDataset, text: str) -> Frame:
    """Read back what `render` wrote: nothing needs repair, so no cell is checked again.

    Raises:
        ValueError: `render` did not write it.
    """
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        extra = tuple(next(reader, dataset.columns)[len(dataset.columns) :])
        rows = {Hour.parse(row[0]): tuple(row) for row in reader if row}
    except (csv.Error, SettingsError) as error:
        raise ValueError(f"{dataset.file}: {error}") from None
    width = len(dataset.columns) + len(extra)
    if any(len(row) != width for row in rows.values()):
        raise ValueError(f"{dataset.file}: a row of another width")
    return Frame(rows, extra)


def parse(dataset: HourDataset, data: bytes) -> Parsed:
    """Read a CSV file of the dataset, repairing what can be repaired.

    Raises:
        SettingsError: it lacks a column of the contract, so it is no file of this dataset.
    """
    text, warnings = _decode(data)
    lines = list(io.StringIO(text, newline=""))
    if lines and (hint := _DELIMITER_HINT.fullmatch(lines[0])):  # Excel's own first line
        lines, delimiters = lines[1:], hint[1]
    else:
        delimiters = "," if not lines or "," in lines[0] else ";\t|"
    spelled = {name.lower(): name for name in dataset.columns}
    headers = {
        each: [spelled.get(name.strip().lower(), name.strip()) for name in _header(lines, each)] for each in delimiters
    }
    delimiter = next((each for each, names in headers.items() if {*dataset.columns} <= {*names}), delimiters[0])
    header = headers[delimiter]
    _check_header(dataset, header)
    places = [header.index(name) for name in dataset.columns]
    others = [place for place, name in enumerate(header) if name not in dataset.columns and not _INDEX.fullmatch(name)]
    frame = Frame({}, tuple(header[place] for place in others))
    unreadable: list[str] = []
    repeated: list[str] = []
    why = ""
    for cells, raw in _records(lines[1:], delimiter, len(header)):
        try:
            row = _row(dataset, cells, places, others, warnings)
        except ValueError as error:
            unreadable.append(raw)
            why = why or f"{raw.strip()[:80]!r} ({error})"
            continue
        hour = Hour.parse(row[0])
        old = frame.rows.get(hour)
        if old is not None:
            repeated.append(hour.label)
        if old is None or dataset.weight(row) >= dataset.weight(old):
            frame.rows[hour] = row
    if repeated:
        warnings.append(f"{len(repeated)} rows repeat an Hour ({_some(repeated)}): the one that says most is kept")
    if count := len(unreadable):
        what = "1 line is no row and was" if count == 1 else f"{count} lines are no rows and were"
        warnings.append(f"{what} set aside; the first: {why}")
    return Parsed(frame, tuple(unreadable), tuple(warnings), why)


def _decode(data: bytes) -> tuple[str, list[str]]:
    encoding = "utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    try:
        return data.decode(encoding), []
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace"), ["it is not UTF-8: read as Windows-1252"]


def _header(lines: list[str], delimiter: str) -> list[str]:
    try:
        return next(csv.reader(lines[:1], delimiter=delimiter), [])
    except csv.Error:
        return []


def _check_header(dataset: HourDataset, header: list[str]) -> None:
    lacking = [name for name in dataset.columns if name not in header]
    if lacking:
        raise SettingsError(
            f"this is no {dataset.file}: it has no column {', '.join(lacking)}",
            hint=f"Its columns are {','.join(dataset.columns)}; further ones are kept.",
        )


def _records(lines: list[str], delimiter: str, width: int) -> list[tuple[list[str] | None, str]]:
    """The records with their raw text; None for the cells of what is none.

    A quote that is never closed would swallow all lines after it: such a line is set aside alone. It shows by the
    width of what comes, or at the end of the file, where the quote is still open.
    """
    found: list[tuple[list[str] | None, str]] = []
    at = 0
    while at < len(lines):
        # Not a slice: a file of a million such lines would be copied a million times.
        reader = csv.reader(map(lines.__getitem__, range(at, len(lines))), delimiter=delimiter)
        read = 0
        try:
            for cells in reader:
                if cells and len(cells) != width and reader.line_num > read + 1:
                    break
                if at + reader.line_num == len(lines) and _is_open(lines[at + read :], delimiter):
                    break
                raw = "".join(lines[at + read : at + reader.line_num])
                read = reader.line_num
                if cells and any(cells):
                    found.append((cells if len(cells) == width else None, raw))
            else:
                return found
        except csv.Error:  # a cell without an end
            pass
        found.append((None, lines[at + read]))
        at += read + 1
    return found


def _is_open(record: list[str], delimiter: str) -> bool:
    """Whether the lines of a record end within a quote: then one more line would belong to it."""
    return len(list(csv.reader([*record, "x"], delimiter=delimiter))) == 1


def _row(
    dataset: HourDataset, cells: list[str] | None, places: list[int], others: list[int], warnings: list[str]
) -> Row:
    """The row of a record; ValueError with the reason where it is none."""
    if cells is None:
        raise ValueError("another number of cells than the header, or a quote that is never closed")
    core = []
    for (column, read), place in zip(dataset.cells.items(), places, strict=True):
        try:
            core.append(read(cells[place].strip()))
        except (ValueError, OverflowError):
            raise ValueError(f"{column} cannot be {cells[place].strip()[:40]!r}") from None
    if (odd := dataset.odd(tuple(core))) is not None:
        warnings.append(f"{core[0]}: {odd}")
    return tuple(core) + tuple(_text(cells[place]) for place in others)


def _some(labels: list[str]) -> str:
    return ", ".join(labels[:3]) + (", ..." if len(labels) > 3 else "")  # noqa: PLR2004 - enough to find them
