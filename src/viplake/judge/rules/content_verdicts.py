"""PURE. Evaluates the content of an Hour, compared with the Hours before it.

An Hour's own findings need no comparison. A share of nulls, a newest record time or the look-back is compared with a
few Hours before; a number of records is compared with weeks.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, Final

from viplake.errors import CAUSES, WITHHELD
from viplake.judge.detector.anomaly import ADOPTED, VolumeVerdict
from viplake.judge.detector.usual import DAY, WEEK
from viplake.model import UNKNOWN
from viplake.wording import count_words, time_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from viplake.content.profiling import HourContent, TableContent
    from viplake.judge.detector.anomaly import InsufficientHistory
    from viplake.model import Hour

BEFORE: Final = 24
"""Hours before that an Hour's content is compared with."""

FEWEST_BEFORE: Final = 3
"""Fewest of them that are needed for a median."""

A_PAST: Final = DAY
"""Hours with content checks that are needed before a table counts as stale; they include a night."""

CLEARLY_LESS: Final = 0.85
"""Share of the configured look-back; a table of 20 records reaches 0.9 of its window on average."""

FEWEST_ROWS: Final = 20
"""Fewest records for which a share of nulls is evaluated."""

MANY_TIMES: Final = 10
"""Times the usual from which on a percentage says nothing to a reader."""

LASTING: Final = "; if it lasts, that is usual from "
"""Begins the clause that holds only as long as a change of a volume lasts."""

NO_PAST: Final = "no table has a record time, and a past to compare it with"
NOT_LOOKED: Final = "no content check has run on its files: run viplake content"


@dataclass(frozen=True, slots=True)
class Odd:
    """An abnormal finding about a table or the whole export, in one sentence; cause and owner if not the sender's.

    `urgent`: it is notified at once.
    """

    table: str | None
    summary: str
    attribution: tuple[str, str] | None = None
    urgent: bool = False


ContentVerdict = list[Odd] | str
"""The abnormal findings; empty: none; text: why it cannot be evaluated."""


@dataclass(frozen=True, slots=True)
class Nulls:
    """The shares of nulls of all columns, Hour after Hour.

    Attributes:
        shares: by table and column: Hours, ascending, and the share in each; only of tables with enough records.
    """

    shares: Mapping[tuple[str, str], tuple[list[Hour], list[float]]] = field(default_factory=dict)

    @classmethod
    def of(cls, contents: Iterable[HourContent]) -> Nulls:
        """Those of some Hours, ascending."""
        found: dict[tuple[str, str], tuple[list[Hour], list[float]]] = {}
        for content in contents:
            for table in content.tables:
                for column in table.columns if (table.rows or 0) >= FEWEST_ROWS else ():
                    hours, ratios = found.setdefault((table.table, column.name), ([], []))
                    hours.append(content.hour)
                    ratios.append(column.null_ratio or 0)
        return cls(found)

    def before(self, hour: Hour, table: str, column: str) -> float | None:
        """The median of the last `BEFORE` Hours before this one; None with fewer than `FEWEST_BEFORE`."""
        hours, ratios = self.shares.get((table, column), ([], []))
        end = bisect_left(hours, hour)
        known = ratios[max(end - BEFORE, 0) : end]
        return median(known) if len(known) >= FEWEST_BEFORE else None

    def weeks_before(self, hour: Hour, table: str, column: str) -> float:
        """Return the largest median of the same day one and two weeks before; 0 without data."""
        hours, ratios = self.shares.get((table, column), ([], []))
        found = 0.0
        for weeks in (1, 2):
            first = hour.shift(-weeks * WEEK - hour.start.hour)
            known = ratios[bisect_left(hours, first) : bisect_left(hours, first.shift(DAY))]
            found = max(found, median(known) if known else 0.0)
        return found


@dataclass(frozen=True, slots=True)
class CheckedContent:
    """The content of an Hour, and the data to compare it with.

    Attributes:
        hour: the Hour.
        content: of the Hour; None without a content check.
        before: of the Hours before, ascending, at most `BEFORE`.
        counts: verdicts on the numbers of records, by table.
        stuck: by table, the Hours since the newest record time last moved, and the longest such stretch before; without
            tables that have too little history.
        nulls: of this Hour and those before.
        configured: the period that an export should carry.
    """

    hour: Hour
    content: HourContent | None
    before: Sequence[HourContent] = ()
    counts: Mapping[str, VolumeVerdict | InsufficientHistory] | None = None
    stuck: Mapping[str, tuple[int, int]] | None = None
    nulls: Nulls = field(default_factory=Nulls)
    configured: timedelta = timedelta(hours=24)

    @property
    def carried(self) -> timedelta | None:
        """The period that the export provably carries; None where no table has enough record times.

        A quiet table is not a gap: without changes at night it has no old records, and none are missing. An export
        carries too little where earlier exports have records of its period that it lacks.
        """
        if self.content is None:
            return None
        begins = self.hour.start - self.configured
        known: dict[str, list[datetime]] = {}
        for content in self.before:
            for table in content.tables:
                known.setdefault(table.table, []).extend(time for time in (table.oldest, table.newest) if time)
        spans = []
        for table in self.content.tables:
            if table.oldest is not None and table.span_hours is not None:
                oldest = table.oldest
                lacks = any(begins <= time < oldest for time in known.get(table.table, ()))
                spans.append(max(self.hour.start - oldest, timedelta(0)) if lacks else self.configured)
        return sorted(spans)[len(spans) // 2] if spans else None

    @property
    def look_back(self) -> timedelta:
        """The period that coverage uses: the measured one where it is clearly less than configured."""
        carried = self.carried
        return carried if carried is not None and carried < CLEARLY_LESS * self.configured else self.configured


def nonconforming(checked: CheckedContent) -> ContentVerdict:
    """Tables whose files do not agree with the schema, or cannot be read."""
    if checked.content is None:
        return NOT_LOOKED
    odd = [
        Odd(table.table, _findings(checked.hour, table), _withheld(table))
        for table in checked.content.tables
        if table.findings
    ]
    unknown = [table.unknown for table in checked.content.tables if table.unknown is not None]
    if not odd and unknown and len(unknown) == len(checked.content.tables):
        return str(unknown[0])
    return odd


def _withheld(table: TableContent) -> tuple[str, str] | None:
    """Return cause and owner where the store does not give a file: that is not the sender's fault."""
    text = table.findings[0].detail
    cause = next((cause for cause, words in WITHHELD.items() if f": {words}: " in text), None)
    return None if cause is None else (cause, CAUSES[cause].owner or UNKNOWN)


def _findings(hour: Hour, table: TableContent) -> str:
    first, more = table.findings[0], len(table.findings) - 1
    place = f" (byte {first.byte:,})" if first.byte is not None else ""
    others = f"; and {count_words(more, 'more finding')}" if more else ""
    return f"{table.table} in {hour}: {first.detail}{place}{others}"


def row_counts(checked: CheckedContent) -> ContentVerdict:
    """Tables with far too few or too many records."""
    if checked.content is None or checked.counts is None:
        return NOT_LOOKED
    known = {table: verdict for table, verdict in checked.counts.items() if isinstance(verdict, VolumeVerdict)}
    if not known:
        reasons = [verdict.reason for verdict in checked.counts.values() if not isinstance(verdict, VolumeVerdict)]
        return reasons[0] if reasons else "no number of records is on record"
    return [
        Odd(
            table,
            amount_words(table, checked.hour, verdict, _record_words, _record_words, _FEWER),
            urgent=verdict.is_clear,
        )
        for table, verdict in known.items()
        if verdict.kind in {"low", "high"}
    ]


def _record_words(count: int) -> str:
    return count_words(count, "record")


_SMALLER: Final = ("is", "smaller", "larger")
_FEWER: Final = ("has", "fewer records", "more records")
"""How a size and a number of records are compared: verb, below, above."""


def amount_words(
    name: str,
    hour: Hour,
    verdict: VolumeVerdict,
    words: Callable[[int], str],
    exact: Callable[[int], str],
    compared: tuple[str, str, str] = _SMALLER,
) -> str:
    """Return how far a volume is from the usual, and from its second Hour on when a lasting change becomes usual.

    Args:
        name: of the table, or `the export`.
        hour: the Hour.
        verdict: its numbers.
        words: writes a number, rounded.
        exact: writes it in full; used where rounding makes the value equal to the end of its range.
        compared: the verb, and the words for below and above the usual.
    """
    nearest = verdict.least if verdict.kind == "low" else verdict.most
    if words(verdict.value) == words(nearest):
        words = exact
    oldest = hour.shift(-WEEK * max(verdict.weeks, default=0))
    if verdict.view == "jump":
        basis, ends = "expected after the last good Hour", "expected"
    else:
        basis = f"usual{f' for {hour.start:%A}s' if verdict.weeks else ''} at {hour.start:%H}:00 UTC"
        ends = "usually"
    ends = f"{ends} {words(verdict.least).removesuffix(' records')} to {words(verdict.most)}"
    if verdict.weeks and verdict.view != "jump":
        ends += f", in {count_words(len(verdict.weeks), 'week')} since {oldest.start:%Y-%m-%d}"
    what = f"{name} {_ratio_words(verdict, compared)} than {basis} ({words(verdict.value)} in {hour}; {ends})"
    if verdict.hours < 2:  # noqa: PLR2004 - two Hours running
        return what
    return f"{what}{LASTING}{hour.shift(1 - verdict.hours + ADOPTED)} on"


def _ratio_words(verdict: VolumeVerdict, compared: tuple[str, str, str]) -> str:
    verb, below, above = compared
    if not verdict.usual or verdict.value > MANY_TIMES * verdict.usual:
        return f"{verb} far {above}" if verdict.value > verdict.usual else f"{verb} {below}"
    share = verdict.value / verdict.usual - 1
    return f"{verb} {abs(share):.0%} {above if share > 0 else below}".replace("%", " %")


def null_ratios(checked: CheckedContent, points: float) -> ContentVerdict:
    """Columns with so many percentage points more nulls than is usual."""
    if checked.content is None:
        return NOT_LOOKED
    if len(checked.before) < FEWEST_BEFORE:
        many = count_words(len(checked.before), "Hour")
        return f"{FEWEST_BEFORE} Hours with content checks are needed before this one; there are only {many}"
    odd = []
    for table in checked.content.tables:
        absent = {finding.column for finding in table.findings if finding.kind == "missing_column"}
        for column in table.columns if (table.rows or 0) >= FEWEST_ROWS else ():
            ratio = column.null_ratio or 0
            if ratio <= points / 100 or column.name in absent:  # too small to exceed another
                continue
            usual = checked.nulls.before(checked.hour, table.table, column.name)
            if usual is not None:
                usual = max(usual, checked.nulls.weeks_before(checked.hour, table.table, column.name))
            if usual is not None and ratio - usual > points / 100:
                share = f"{ratio:.0%} of its {table.rows:,} records of {checked.hour}; {usual:.0%} are usual"
                odd.append(Odd(table.table, f"{table.table}: {column.name} is empty in {share}".replace("%", " %")))
    return odd


def stale(checked: CheckedContent, hours: float) -> ContentVerdict:
    """Return tables whose newest record time has not moved for so many Hours, longer than ever before.

    No table where half of them do not move: at night no records are written.
    """
    if checked.content is None or checked.stuck is None:
        return NOT_LOOKED
    if not checked.stuck:
        return NO_PAST
    newest = {table.table: table.newest for table in checked.content.tables}
    still = sum(now >= hours for now, _ in checked.stuck.values())
    if 2 < len(checked.stuck) <= 2 * still:  # noqa: PLR2004 - a night or a holiday, not a table
        return []
    return [
        Odd(
            table,
            f"{table} has had no record newer than {time_words(newest[table])} for {now} Hours; before that, "
            + (
                f"new records came after {count_words(longest + 1, 'Hour')} at most"
                if longest
                else "they came each Hour"
            ),
        )
        for table, (now, longest) in sorted(checked.stuck.items())
        if now >= hours and now > 2 * longest and newest.get(table) is not None
    ]


def look_back_changes(checked: CheckedContent, percent: float) -> ContentVerdict:
    """The export carries less record time than is configured, or far more than the exports before."""
    carried = checked.carried
    if checked.content is None or carried is None:
        return NOT_LOOKED if checked.content is None else "no table has enough records with a time"
    hours, wanted = (time / timedelta(hours=1) for time in (carried, checked.configured))
    if carried < (1 - percent / 100) * checked.configured:
        what = f"the export of {checked.hour} carries {hours:.1f} h of records; {wanted:g} h are configured"
        return [Odd(None, what)]
    reach, before = _reach(checked.content), [far for content in checked.before if (far := _reach(content)) is not None]
    usual = max(wanted, median(before)) if len(before) >= FEWEST_BEFORE else None
    if reach is not None and usual is not None and reach > (1 + percent / 100) * usual:
        return [Odd(None, f"the export of {checked.hour} reaches back {reach:.1f} h; before it were {usual:.1f} h")]
    return []


def _reach(content: HourContent) -> float | None:
    """Hours from the oldest record time to the Hour: the median of the tables with enough of them."""
    known = [table.oldest for table in content.tables if table.oldest and table.span_hours is not None]
    return median((content.hour.start - oldest) / timedelta(hours=1) for oldest in known) if known else None


def standing_still(newest: Sequence[int], place: int) -> tuple[int, int] | None:
    """Return for how many values in a row up to an index the time did not move, and the longest such stretch before.

    Args:
        newest: a value an Hour; below zero without a content check: such Hours are skipped.
        place: the last one that counts.

    Returns:
        None with fewer than `A_PAST` values before the stretch, because a first night has nothing to compare with.
    """
    known = [value for value in newest[: place + 1] if value >= 0]
    if not known or newest[place] < 0:
        return None
    runs: list[int] = []
    for index, value in enumerate(known):
        if index and value == known[index - 1]:
            runs[-1] += 1
        else:
            runs.append(0)
    now = runs.pop()
    return (now, max(runs, default=0)) if len(known) - now - 1 >= A_PAST else None
