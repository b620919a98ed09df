"""PURE. What rules say of the content of an Hour, beside that of the Hours before it.

An Hour's own findings need nothing else. Whether a share of nulls, a newest record time or the look-back is odd shows
only against the Hours before, of which a few are enough; whether a number of records is, against weeks of them.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, Final

from viplake.judge.detector.anomaly import ADOPTED, VolumeVerdict
from viplake.judge.detector.usual import DAY, WEEK
from viplake.wording import count_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from viplake.content.profiling import HourContent, TableContent
    from viplake.judge.detector.anomaly import InsufficientHistory
    from viplake.model import Hour

BEFORE: Final = 24
"""Hours before that an Hour's content is compared with."""

FEWEST_BEFORE: Final = 3
"""Of them that there must be: a median of two is no middle."""

A_PAST: Final = DAY
"""Hours with content checks before a table stands still, of which one may be a night."""

CLEARLY_LESS: Final = 0.85
"""Of the told look-back; a table of 20 records is on average at 0.9 of its window."""

FEWEST_ROWS: Final = 20
"""Records from which on a share says something."""

NO_PAST: Final = "no table has a record time, and a past to compare it with"
NOT_LOOKED: Final = "no content check has run on its files: run viplake content"


@dataclass(frozen=True, slots=True)
class Odd:
    """Something about a table, or about the whole export, in one sentence."""

    table: str | None
    summary: str


ContentVerdict = list[Odd] | str
"""What is odd; nothing: all is well; text: why it cannot be judged."""


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
        """The largest median of the same day one and two weeks before; 0 where nothing is known of them."""
        hours, ratios = self.shares.get((table, column), ([], []))
        found = 0.0
        for weeks in (1, 2):
            first = hour.shift(-weeks * WEEK - hour.start.hour)
            known = ratios[bisect_left(hours, first) : bisect_left(hours, first.shift(DAY))]
            found = max(found, median(known) if known else 0.0)
        return found


@dataclass(frozen=True, slots=True)
class Inside:
    """The content of an Hour, and what it is judged on.

    Attributes:
        hour: which.
        content: of it; None where nobody looked.
        before: of the Hours before, ascending, at most `BEFORE`.
        counts: verdicts on the numbers of records, by table.
        stuck: for how many Hours the newest record time has stood still, by table, and the longest that it ever did
            before; without tables whose past is too short.
        nulls: of this Hour and those before.
        told: what an export is told to carry.
    """

    hour: Hour
    content: HourContent | None
    before: Sequence[HourContent] = ()
    counts: Mapping[str, VolumeVerdict | InsufficientHistory] | None = None
    stuck: Mapping[str, tuple[int, int]] | None = None
    nulls: Nulls = field(default_factory=Nulls)
    told: timedelta = timedelta(hours=24)

    @property
    def carried(self) -> timedelta | None:
        """What the export carries, as far as records prove; None where no table has enough record times.

        Activity is not coverage: a table that nobody changed at night has no old records and yet lacks none. An export
        carries less than it should where earlier exports have records of its window that it does not have.
        """
        if self.content is None:
            return None
        begins = self.hour.start - self.told
        known: dict[str, list[datetime]] = {}
        for content in self.before:
            for table in content.tables:
                known.setdefault(table.table, []).extend(time for time in (table.oldest, table.newest) if time)
        spans = []
        for table in self.content.tables:
            if table.oldest is not None and table.span_hours is not None:
                oldest = table.oldest
                lacks = any(begins <= time < oldest for time in known.get(table.table, ()))
                spans.append(max(self.hour.start - oldest, timedelta(0)) if lacks else self.told)
        return sorted(spans)[len(spans) // 2] if spans else None

    @property
    def look_back(self) -> timedelta:
        """What the export carries, for coverage: as measured where that is clearly less than is configured."""
        carried = self.carried
        return carried if carried is not None and carried < CLEARLY_LESS * self.told else self.told


def nonconforming(inside: Inside) -> ContentVerdict:
    """Tables whose files do not agree with the schema, or cannot be read."""
    if inside.content is None:
        return NOT_LOOKED
    odd = [Odd(table.table, _findings(table)) for table in inside.content.tables if table.findings]
    unknown = [table.unknown for table in inside.content.tables if table.unknown is not None]
    if not odd and unknown and len(unknown) == len(inside.content.tables):
        return str(unknown[0])
    return odd


def _findings(table: TableContent) -> str:
    first, more = table.findings[0], len(table.findings) - 1
    place = f" (byte {first.byte:,})" if first.byte is not None else ""
    return f"{table.table}: {first.detail}{place}" + (f"; and {more} more findings" if more else "")


def row_counts(inside: Inside) -> ContentVerdict:
    """Tables with far too few or too many records."""
    if inside.content is None or inside.counts is None:
        return NOT_LOOKED
    known = {table: verdict for table, verdict in inside.counts.items() if isinstance(verdict, VolumeVerdict)}
    if not known:
        reasons = [verdict.reason for verdict in inside.counts.values() if not isinstance(verdict, VolumeVerdict)]
        return reasons[0] if reasons else "no number of records is on record"
    return [
        Odd(
            table,
            f"{table} has {verdict.value:,} records in {inside.hour}, too {verdict.kind}: expected are about "
            f"{verdict.usual:,}, from {verdict.least:,} to {verdict.most:,}{lasting_words(inside.hour, verdict)}",
        )
        for table, verdict in known.items()
        if verdict.kind in {"low", "high"}
    ]


def lasting_words(hour: Hour, verdict: VolumeVerdict) -> str:
    """Since when a volume is off, by how much, and from when on that will be the new usual; empty for a first Hour."""
    if verdict.hours < 2 or not verdict.usual:  # noqa: PLR2004 - two Hours running
        return ""
    since = hour.shift(1 - verdict.hours)
    share = verdict.value / verdict.usual - 1
    return f"; off since {since}, now {share:+.0%}; if it lasts, that is usual from {since.shift(ADOPTED)} on"


def null_ratios(inside: Inside, points: float) -> ContentVerdict:
    """Columns with so many percentage points more nulls than is usual."""
    if inside.content is None:
        return NOT_LOOKED
    if len(inside.before) < FEWEST_BEFORE:
        many = count_words(len(inside.before), "Hour")
        return f"{FEWEST_BEFORE} Hours with content checks are needed before this one; there are only {many}"
    odd = []
    for table in inside.content.tables:
        absent = {finding.column for finding in table.findings if finding.kind == "missing_column"}
        for column in table.columns if (table.rows or 0) >= FEWEST_ROWS else ():
            ratio = column.null_ratio or 0
            if ratio <= points / 100 or column.name in absent:  # so small a share is not so much above any other
                continue
            usual = inside.nulls.before(inside.hour, table.table, column.name)
            if usual is not None:
                usual = max(usual, inside.nulls.weeks_before(inside.hour, table.table, column.name))
            if usual is not None and ratio - usual > points / 100:
                share = f"{ratio:.0%} of its {table.rows:,} records; {usual:.0%} are usual"
                odd.append(Odd(table.table, f"{table.table}: {column.name} is empty in {share}"))
    return odd


def stale(inside: Inside, hours: float) -> ContentVerdict:
    """Tables whose newest record time has stood still for so many Hours, and never did for as long before.

    None where half of the tables stand still: no records are written at night.
    """
    if inside.content is None or inside.stuck is None:
        return NOT_LOOKED
    if not inside.stuck:
        return NO_PAST
    newest = {table.table: table.newest for table in inside.content.tables}
    still = sum(now >= hours for now, _ in inside.stuck.values())
    if 2 < len(inside.stuck) <= 2 * still:  # noqa: PLR2004 - a night or a holiday, not a table
        return []
    return [
        Odd(
            table,
            f"{table}: the newest record has been of {newest[table]:%Y-%m-%d %H:%M} for {now} Hours; it "
            + (
                f"stood still for at most {count_words(longest, 'Hour')} before"
                if longest
                else "moved each Hour before"
            ),
        )
        for table, (now, longest) in sorted(inside.stuck.items())
        if now >= hours and now > 2 * longest and newest.get(table) is not None
    ]


def look_back_changes(inside: Inside, percent: float) -> ContentVerdict:
    """The export carries less record time than is configured, or far more than the exports before."""
    carried = inside.carried
    if inside.content is None or carried is None:
        return NOT_LOOKED if inside.content is None else "no table has enough records with a time"
    hours, wanted = (time / timedelta(hours=1) for time in (carried, inside.told))
    if carried < (1 - percent / 100) * inside.told:
        what = f"the export of {inside.hour} carries {hours:.1f} h of records; {wanted:g} h are configured"
        return [Odd(None, what)]
    reach, before = _reach(inside.content), [far for content in inside.before if (far := _reach(content)) is not None]
    usual = max(wanted, median(before)) if len(before) >= FEWEST_BEFORE else None
    if reach is not None and usual is not None and reach > (1 + percent / 100) * usual:
        return [Odd(None, f"the export of {inside.hour} reaches back {reach:.1f} h; before it were {usual:.1f} h")]
    return []


def _reach(content: HourContent) -> float | None:
    """Hours from the oldest record time to the Hour: the median of the tables with enough of them."""
    known = [table.oldest for table in content.tables if table.oldest and table.span_hours is not None]
    return median((content.hour.start - oldest) / timedelta(hours=1) for oldest in known) if known else None


def standing_still(newest: Sequence[int], place: int) -> tuple[int, int] | None:
    """For how many values up to a place, in a row, nothing moved; and the longest such stretch before that.

    Args:
        newest: a value an Hour; below zero where nobody looked: such Hours say nothing.
        place: the last one that counts.

    Returns:
        None where there are fewer than `A_PAST` values before the stretch: a first night is like no other yet.
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
