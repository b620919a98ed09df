"""I/O. DuckDB computes which rows of a table change: from the rows of some Hours, the current table and the history.

::

    merge = Merge(connection, shape, folder, rows, late=...)
    if merge.newer(files of the current table):        # all that changes is newer: most Hours end here
        merge.write("history", ...), merge.write("current", ...)
    if merge.against(files of the current table):      # else nothing can change
        merge.compare(files of the history)            # which versions are new, which tie
        merge.carried(rows of a later Hour)            # only of late Hours, as long as `undecided`
        merge.decide()
        merge.write("history", ...), merge.write("current", ...)

Relations hold a key, a record time, the hash of the content and an Hour: no text, so that they stay small. The content
is read again for the rows that are written. A table without a key has the hash in place of one.
"""

# ruff: noqa: S608 - names and texts in SQL are quoted, paths are our own

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from viplake.current.delta import stats_text
from viplake.current.shape import CHANGED, HOUR, PROBLEMS
from viplake.current.source import LAST
from viplake.tables.duck import named, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from duckdb import DuckDBPyConnection

    from viplake.current.delta import TableKind
    from viplake.current.shape import Shape

TARGET_BYTES: Final = 64 << 20
"""Of a Parquet file: large enough for readers, small enough to be written again for a few rows."""

ROWS_OF_TABLE: Final = 2
"""Bytes of rows on this machine, which Snappy compresses, for each byte of a table, roughly."""

_LEVEL: Final = 3
"""Of Zstandard."""

_ROW_GROUP: Final = 50_000
"""Rows: what a writer holds in memory."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a merge found.

    Attributes:
        aside: records with a null in the key.
        fresh: versions that the history does not have.
        earlier: versions of the history that an earlier Hour carried.
        changed: rows of the current table that are new or other ones.
        rows: of the Hours.
    """

    aside: int
    fresh: int
    earlier: int
    changed: int
    rows: int


@dataclass(frozen=True, slots=True)
class Written:
    """A Parquet file that is written, and its statistics for the log."""

    path: Path
    stats: str


@dataclass(frozen=True, slots=True)
class ValueSpan:
    """The values of a column in some rows: the least, the greatest, and whether some are null."""

    low: Any
    high: Any
    nulls: bool


# Names of our own in relations that hold columns of the table: these have no blank in their names.
_X: Final = '" content"'
_N: Final = '" number"'
_F: Final = '" file"'
_FIRST: Final = '" first"'
_TEXT: Final = '" text"'
_LATER: Final = f"coalesce({CHANGED}, '-infinity'::timestamptz)"
_OWN_TYPES: Final = {HOUR: "timestamptz", CHANGED: "timestamptz", PROBLEMS: "varchar"}


class Merge:
    """One table and some Hours.

    Args:
        connection: that sees `folder`.
        shape: of the table, with these Hours.
        folder: for a small file of its own.
        rows: files with the rows of the Hours; each Hour is in one of them.
        late: later Hours may be in the tables.
    """

    def __init__(
        self, connection: DuckDBPyConnection, shape: Shape, folder: Path, rows: Sequence[Path], *, late: bool
    ) -> None:
        self._connection, self._shape, self._rows, self._late = connection, shape, rows, late
        key = [named(name) for name in shape.key]
        self._key = key or [_X]
        self._by, self._on = ", ".join(self._key), ", ".join([*key, _X])
        self._blank = folder / "blank.parquet"
        types = [*((named(c.name), c.sql) for c in shape.columns), *_OWN_TYPES.items(), (LAST, "timestamptz")]
        cells = ", ".join(f"cast(null as {sql}) as {name}" for name, sql in types)
        self._run(f"copy (select {cells} where false) to {quoted(str(self._blank))} (format parquet)")
        whole = " and ".join(f"{key} is not null" for key in self._key)
        self._make("r", f"select {self._on}, {CHANGED}, {HOUR}, {LAST}, {_N} from {self._from(rows)} where {whole}")
        self._many = self._count("r")
        every = ", ".join(quoted(str(path)) for path in rows)
        self._aside = self._count(f"read_parquet([{every}])") - self._many if rows else 0
        self._straight = self._known = False
        self._whole: dict[TableKind, bool] = {"history": False, "current": False}

    def _run(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()

    def _make(self, name: str, sql: str) -> None:
        self._run(f"create or replace temp table {name} as {sql}")

    def _count(self, sql: str) -> int:
        return int(self._run(f"select count(*) from {sql}")[0][0])

    def _from(self, paths: Iterable[Path], joined: str = "") -> str:
        """The rows of some Parquet files, with the columns of the table, the hash of the content and their place.

        Args:
            paths: of the files.
            joined: SQL of a join that drops some of the rows, called `a`, before their content is read.
        """
        files = ", ".join(quoted(str(path)) for path in (self._blank, *paths))
        cells = [f"cast({named(c.name)} as {c.sql}) as {named(c.name)}" for c in self._shape.columns]
        own = [f"cast({name} as {sql}) as {name}" for name, sql in _OWN_TYPES.items()]
        own.append(LAST)
        columns = ", ".join([*cells, *own, f"filename as {_F}", f"file_row_number as {_N}"])
        content = ", ".join([*(named(name) for name in self._shape.names), PROBLEMS])
        read = f"read_parquet([{files}], union_by_name = true, filename = true, file_row_number = true)"
        first, then = (joined, "") if self._shape.key else ("", joined)  # without a key the content is compared
        hashed = f"select *, hash({content}) as {_X} from (from (select {columns} from {read}) a {first})"
        return f"(from ({hashed}) a {then})"

    def spans(self, relation: Literal["r", "v"]) -> dict[str, ValueSpan]:
        """Which values the key and the record time have, in the rows (`r`) or in the versions that matter (`v`)."""
        names = [*self._shape.key, CHANGED]
        cells = ", ".join(f"min({self._plain(n)}), max({self._plain(n)}), count(*) > count({named(n)})" for n in names)
        [found] = self._run(f"select {cells} from {relation}")
        return {name: ValueSpan(*found[3 * number : 3 * number + 3]) for number, name in enumerate(names)}

    def _plain(self, name: str) -> str:
        """A column as Python can have it: times without a zone, in UTC."""
        known = {column.name: column.type.kind for column in self._shape.columns}
        timed = name in {HOUR, CHANGED} or known[name] == "timestamp"
        return f"cast({named(name)} as timestamp)" if timed else named(name)

    # -- versions ---------------------------------------------------------------------------------------------------

    def _take(self, current: Sequence[Path]) -> None:
        """Read the current rows of the keys, once."""
        if not self._known:
            rows = self._from(current, f"semi join r using ({self._by})")
            self._make("w", f"select {self._on}, {CHANGED}, {HOUR}, {_F} from {rows}")
        self._known = True

    def newer(self, current: Sequence[Path]) -> Counts | None:
        """Find what changes, where all of it has later record times than the current rows; None: not all has.

        Then no version is in the history, and none ties: this is so for most Hours. It holds only where the history
        has no versions that the current table does not know of, and no later Hour may be in the tables.

        Args:
            current: files of the current table that may have a key of the rows.
        """
        self._take(current)
        self._make(
            "v",
            f"select {self._on}, {CHANGED}, min({HOUR}) as {_FIRST}, min_by({_N}, {HOUR}) as {_N} "
            f"from r anti join w using ({self._on}) group by all",
        )
        best = ", ".join(f"max_by({name}, {CHANGED}) as {name}" for name in (_X, _FIRST, _N))
        each = (
            f"select {self._by}, {best}, count(*) as many, count({CHANGED}) as timed, min({CHANGED}) as least "
            f"from v group by {self._by}"
        )
        self._make(
            "changed", f"select c.*, w.{_F}, w.{CHANGED} as before from ({each}) c left join w using ({self._by})"
        )
        later = "bool_and(timed = many and (before is null or least > before))"
        sql = f"select count(*), coalesce(sum(many), 0), coalesce(max(many), 1), coalesce({later}, true) from changed"
        [(changed, fresh, most, straight)] = self._run(sql)
        twice = f"(select 1 from v group by {self._by}, {CHANGED} having count(*) > 1 limit 1)"
        if not straight or (most > 1 and self._count(twice)):
            return None
        self._straight = True
        alone = not self._aside  # each row is a version, or a key, of its own: none is looked up again
        self._whole = {"history": alone and fresh == self._many, "current": alone and changed == self._many}
        return Counts(self._aside, int(fresh), 0, int(changed), self._many)

    def against(self, current: Sequence[Path]) -> bool:
        """Find the keys that matter; whether there are any.

        These are the keys of rows that the current table does not have; of late Hours, all keys.

        Args:
            current: files of the current table that may have a key of the rows.
        """
        self._take(current)
        new = "" if self._late else f" anti join w using ({self._on})"
        self._make("k", f"select distinct {self._by} from r{new}")
        self._make(
            "v",
            f"select {self._on}, {CHANGED}, min({HOUR}) as {_FIRST}, max({LAST}) as {LAST}, "
            f"min_by({_N}, {HOUR}) as {_N} from r semi join k using ({self._by}) group by all",
        )
        return self._count("v") > 0

    def compare(self, history: Sequence[Path]) -> None:
        """Compare the versions with the history; `history` are its files that may have one of them."""
        self._history = history
        same = " and ".join(f"v.{key} = a.{key}" for key in self._key)
        versions = (
            f"semi join (select distinct {self._by}, {CHANGED} from v) v "
            f"on {same} and v.{CHANGED} is not distinct from a.{CHANGED}"
        )
        self._make(
            "o",
            f"select {self._on}, {CHANGED}, {HOUR}, {_F} from {self._from(history, versions)}",
        )
        self._make("fresh", f"select {self._on}, {_FIRST}, {_N} from v anti join o using ({self._on})")
        self._make(
            "earlier", f"select {self._on}, v.{_FIRST} from v join o using ({self._on}) where v.{_FIRST} < o.{HOUR}"
        )
        every = (
            f"select {self._on}, {CHANGED}, {_FIRST}, {LAST} from v union all "
            f"select {self._on}, {CHANGED}, {HOUR}, null from o"
        )
        self._make(
            "t",
            f"select {self._on}, {CHANGED}, min({_FIRST}) as {_FIRST}, max({LAST}) as {LAST} from ({every}) "
            f"group by {self._on}, {CHANGED} qualify rank() over (partition by {self._by} order by {_LATER} desc) = 1",
        )
        # A current row with a later record time stays what it is.
        top = f"select {self._by}, any_value({_LATER}) as top from t group by all"
        later = f"select {self._by}, {_LATER} as own from w join ({top}) using ({self._by}) where own > top"
        self._make("t", f"select * from t anti join ({later}) using ({self._by})")
        several = f"select {self._by} from t group by all having count(*) > 1"
        self._make("tied", f"select {self._on}, {LAST} from t semi join ({several}) using ({self._by})")

    def repeats(self) -> bool:
        """Whether a key has two versions of one record time in these Hours."""
        each = f"select 1 from r group by {self._by}, {CHANGED} having min({_X}) <> max({_X}) limit 1"
        return self._count(f"({each})") > 0

    def ties(self) -> bool:
        """Whether a key has versions that tie."""
        return self._count("tied") > 0

    def undecided(self, hour: str) -> bool:
        """Whether a key has versions that tie, none of which is known to be in this Hour (as SQL) or a later one."""
        decided = f"select {self._by} from tied where {LAST} >= {hour}"
        return self._count(f"(select {self._by} from tied) anti join ({decided}) using ({self._by})") > 0

    def carried(self, rows: Path) -> None:
        """Take in which of the versions that tie another Hour carried."""
        seen = f"select {self._on}, {HOUR} from {self._from([rows])} semi join tied using ({self._on})"
        self._make("tied", f"select {self._on}, max({LAST}) as {LAST} from (from tied union all ({seen})) group by all")

    def decide(self) -> Counts:
        """Find the winner of each key, and what changes."""
        close = f"select {self._by}, {LAST} from tied group by all having count(*) > 1 and {LAST} is not null"
        self._make("close", f"select {self._on} from tied semi join ({close}) using ({self._by}, {LAST})")
        texts = " union all ".join(
            f"select {self._on}, {self._text} as {_TEXT} from {self._from(paths)} semi join close using ({self._on})"
            for paths in (self._rows, self._history)
        )
        self._make("spelled", f"select {self._on}, any_value({_TEXT}) as {_TEXT} from ({texts}) group by all")
        self._make(
            "won",
            f"select {self._on}, t.{_FIRST} from t "
            f"left join tied using ({self._on}) left join spelled using ({self._on}) "
            f"qualify row_number() over (partition by {self._by} order by coalesce(tied.{LAST}, t.{LAST}) desc "
            f"nulls last, {_TEXT} desc nulls last) = 1",
        )
        same = " and ".join(f"w.{key} = won.{key}" for key in self._key)
        self._make(
            "changed",
            f"select won.*, w.{_F} from won left join w on {same} "
            f"where w.{_X} is distinct from won.{_X} or w.{HOUR} is distinct from won.{_FIRST}",
        )
        changed = self._count("changed") if self._shape.key else 0
        return Counts(self._aside, self._count("fresh"), self._count("earlier"), changed, self._many)

    @property
    def aside(self) -> int:
        """Records with a null in the key."""
        return self._aside

    @property
    def _text(self) -> str:
        """The content as text: `name=value`, a line each, by name; nulls are left out."""
        names = sorted([*self._shape.names, PROBLEMS])
        parts = ", ".join(f"{quoted(f'{name}=')} || cast({named(name)} as varchar)" for name in names)
        return f"concat_ws(chr(10), {parts})"

    # -- writing ----------------------------------------------------------------------------------------------------

    def touched(self, kind: TableKind) -> set[str]:
        """Local paths of the files of a table with rows that change."""
        if kind == "history" and self._straight:
            return set()
        sql = {
            "history": f"select distinct {_F} from o semi join earlier using ({self._on})",
            "current": f"select distinct {_F} from changed where {_F} is not null",
        }[kind]
        return {path for (path,) in self._run(sql)}

    def write(
        self, kind: TableKind, rewritten: Sequence[Path], target: Path, size: int, *, apart: bool = False
    ) -> list[Written]:
        """Write the rows that are new, and all rows of files that are rewritten.

        Args:
            kind: of table.
            rewritten: files.
            target: a folder that does not exist.
            size: of the result, in bytes, roughly.
            apart: rows with a key of these Hours go to a file of their own, since the next Hours change these again.
        """
        if kind == "history":
            return self._copied(self._history_rows(rewritten), kind, target, size)
        listed = self._listed("a", f"a.{HOUR}")
        kept = f"select {listed} from {self._from(rewritten)} a anti join changed using ({self._by})"
        if not apart:
            return self._copied(f"{kept} union all {self._current_rows()}", kind, target, size)
        again = f"{kept} semi join r using ({self._by}) union all {self._current_rows()}"
        rest = f"{kept} anti join r using ({self._by})"
        return [*self._copied(again, kind, target / "again", 0), *self._copied(rest, kind, target / "rest", size)]

    def write_snapshot(self, rows: Path, target: Path, size: int) -> list[Written]:
        """Write the records of an Hour, which are among the rows, each with the first Hour that carried it.

        Args:
            rows: of the Hour.
            target: as `write`.
            size: likewise.
        """
        sql = f"select {self._listed('a', f't.{_FIRST}')} from {self._from([rows])} a join t using ({_X})"
        return self._copied(sql, "current", target, size)

    def same_rows(self, some: Sequence[Path], others: Sequence[Path]) -> bool:
        """Whether some files of the current table have the rows of others."""
        one, two = (f"select {self._listed('a', f'a.{HOUR}')} from {self._from(files)} a" for files in (some, others))
        [[differ]] = self._run(f"select exists (({one} except all {two}) union all ({two} except all {one}))")
        return not differ

    def copy(self, kind: TableKind, files: Sequence[Path], target: Path, size: int) -> list[Written]:
        """Write the rows of some files, with the columns of the table; arguments as `write`."""
        return self._copied(f"select {self._listed('a', f'a.{HOUR}')} from {self._from(files)} a", kind, target, size)

    def _copied(self, rows: str, kind: TableKind, target: Path, size: int) -> list[Written]:
        target.mkdir(parents=True)
        form = (
            f"format parquet, compression zstd, compression_level {_LEVEL}, row_group_size {_ROW_GROUP}, return_stats"
        )
        place = target / "0.parquet"
        if size > TARGET_BYTES:  # sorted, so that a merge needs few of the files; one file needs no sort
            place, form = target, f"{form}, file_size_bytes {TARGET_BYTES}, overwrite_or_ignore true"
            order = f"{CHANGED}, {HOUR}" if kind == "history" else ", ".join(map(named, self._shape.key)) or CHANGED
            rows = f"{rows} order by {order}"
        found = self._run(f"copy ({rows}) to {quoted(str(place))} ({form})")
        return [self._described(Path(path), int(count), columns) for path, count, _, _, columns, *_ in found if count]

    def _described(self, path: Path, rows: int, found: Mapping[str, Mapping[str, str]]) -> Written:
        """A file with the statistics that DuckDB gives of it."""
        known = {column.name: column.type.kind for column in self._shape.columns} | {HOUR: "timestamp"}
        columns = {}
        for name in (*self._shape.key, CHANGED, HOUR):
            one = found.get(named(name), {})
            nulls = int(one.get("null_count", 0))
            kind = known.get(name, "timestamp")
            exact = one.get("min_is_exact") == one.get("max_is_exact") == "true"
            low, high = (_value(kind, one[end]) if exact and end in one else None for end in ("min", "max"))
            columns[name] = (low, high, nulls)
        return Written(path, stats_text(rows, columns))

    def differing(self, some: Sequence[Path], others: Sequence[Path]) -> int:
        """How many rows are in one of two sets of files alone."""
        one, other = (f"(select {self._listed('a', f'a.{HOUR}')} from {self._from(p)} a)" for p in (some, others))
        return sum(self._count(f"({a} except all {b})") for a, b in ((one, other), (other, one)))

    def _listed(self, relation: str, hour: str) -> str:
        """The columns of a written row."""
        columns = [f"{relation}.{named(name)}" for name in (*self._shape.names, CHANGED, PROBLEMS)]
        return ", ".join([*columns, f"{hour} as {HOUR}"])

    def _history_rows(self, rewritten: Sequence[Path]) -> str:
        plain = self._listed("a", f"a.{HOUR}")
        fresh = "v" if self._straight else "fresh"
        new = f"select {plain} from {self._from(self._rows)} a" + (
            ""
            if self._whole["history"]
            else f" semi join {fresh} on a.{_N} = {fresh}.{_N} and a.{HOUR} = {fresh}.{_FIRST}"
        )
        old = f"select {plain} from {self._from(rewritten)} a"
        if not self._straight:
            hour = self._listed("a", f"least(a.{HOUR}, earlier.{_FIRST})")
            old = f"select {hour} from {self._from(rewritten)} a left join earlier using ({self._on})"
        return f"{old} union all {new}" if rewritten else new

    def _current_rows(self) -> str:
        """The rows that are new. The content of a winner is in the rows of the Hours, else in the history."""
        if self._whole["current"]:
            return f"select {self._listed('a', f'a.{HOUR}')} from {self._from(self._rows)} a"
        place = f"select *, {_FIRST} as seen from changed"
        if not self._straight:
            place = f"select changed.{_FIRST}, v.{_N}, v.{_FIRST} as seen from changed join v using ({self._on})"
        new = (
            f"select {self._listed('a', f'c.{_FIRST}')} from {self._from(self._rows)} a "
            f"join ({place}) c on a.{_N} = c.{_N} and a.{HOUR} = c.seen"
        )
        if self._straight:
            return new
        back = (
            f"select {self._listed('a', f'changed.{_FIRST}')} from {self._from(self._history)} a "
            f"join changed using ({self._on}) anti join v using ({self._on})"
        )
        return f"{new} union all {back}"


def _value(kind: str, text: str) -> Any:
    """A value of the statistics of a Parquet file."""
    if kind == "timestamp":
        return datetime.fromisoformat(text).replace(tzinfo=None)
    if kind == "date":
        return date.fromisoformat(text)
    return {"integer": int, "text": str}.get(kind, lambda _: None)(text)
