"""PURE. What an update does: which Hours go together, which files a merge reads, and which it writes again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from viplake.current.shape import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from viplake.current.delta import DataFile
    from viplake.current.merge import ValueSpan
    from viplake.current.settings import TablesSettings
    from viplake.current.source import HourSource
    from viplake.model import Hour

BATCH_HOURS: Final = 24
BATCH_BYTES: Final = 512 << 20
"""As stored: Hours that are merged in one go."""


def batches(sources: Iterable[HourSource], late: Iterable[object]) -> list[list[HourSource]]:
    """Group Hours, ascending, that are merged in one go; late ones are never with others."""
    later = set(late)

    def joins(group: Sequence[HourSource], source: HourSource) -> bool:
        return len(group) < BATCH_HOURS and (group[-1].hour in later) == (source.hour in later)

    return _grouped(sources, lambda source: sum(table.size for table in source.tables.values()), BATCH_BYTES, joins)


TOGETHER_BYTES: Final = 16 << 20
"""As stored: files of a table that are read in one go, their records compared as text before they are parsed."""


def alike(table: str, sources: Iterable[HourSource], settings: TablesSettings) -> list[list[HourSource]]:
    """Group Hours, in their order, that are read in one go for a table: read alike, and small together."""

    def joins(group: Sequence[HourSource], source: HourSource) -> bool:
        return source.read_like(group[0], table, settings)

    return _grouped(sources, lambda source: source.tables[table].size, TOGETHER_BYTES, joins)


def _grouped(
    sources: Iterable[HourSource],
    size_of: Callable[[HourSource], int],
    most: int,
    joins: Callable[[Sequence[HourSource], HourSource], bool],
) -> list[list[HourSource]]:
    """Group Hours, in their order, up to a size; one that does not join the last group begins the next."""
    found: list[list[HourSource]] = []
    size = 0
    for source in sources:
        own = size_of(source)
        if found and size + own <= most and joins(found[-1], source):
            found[-1].append(source)
            size += own
        else:
            found.append([source])
            size = own
    return found


def overlaps(file: DataFile, spans: Mapping[str, ValueSpan]) -> bool:
    """Whether a file may have rows with these values in all of these columns."""
    for name, span in spans.items():
        if span.nulls and name not in file.whole:
            continue
        low, high = file.low.get(name), file.high.get(name)
        if low is None or high is None or span.low is None:
            if span.low is None and not span.nulls:
                return False
            continue
        if _later(low, span.high) or _later(span.low, high):
            return False
    return True


def _later(one: Any, other: Any) -> bool:
    one, other = (v.replace(tzinfo=UTC) if isinstance(v, datetime) and v.tzinfo is None else v for v in (one, other))
    try:
        return bool(one > other)
    except TypeError:  # the log has it in another form: nothing is known
        return False


@dataclass(frozen=True, slots=True)
class Rewriting:
    """Which live files are written again, and how.

    Attributes:
        paths: of the files.
        size: bytes of the result, roughly.
        apart: rows with a key of these Hours go to a file of their own.
    """

    paths: tuple[str, ...]
    size: int
    apart: bool = False


_APART_BYTES: Final = 8 << 20
"""Of a result from which on active rows go to a file of their own: what is smaller is soon written again."""

_APART_SHARE: Final = 4
_GROWTH: Final = 8
"""How many times the new bytes a file must have at least to be left as it is: bounds how often a row is rewritten."""


def rewriting(
    files: Mapping[str, DataFile], touched: Iterable[str], new: int, target: int, active: int | None = None
) -> Rewriting:
    """Return the files to write again: those that are touched, and the smallest others until there are few enough.

    Few enough is twice the least that a table of this size needs.

    Args:
        files: that are live.
        touched: paths of those with rows that change.
        new: bytes of rows that are added, roughly.
        target: bytes of a file.
        active: bytes of all rows with a key of these Hours, roughly; None: keys do not matter.
    """
    chosen = [files[path] for path in sorted(set(touched))]
    others = sorted((f for f in files.values() if f not in chosen), key=lambda f: (f.size, f.path), reverse=True)
    most = 2 * -(-(sum(file.size for file in files.values()) + new) // target) or 2
    while True:
        size = sum(file.size for file in chosen) + new
        apart = active is not None and size > _APART_BYTES and size > _APART_SHARE * active
        many = len(others) + max(1, -(-size // target)) + apart > most
        grown = active is None and others and others[-1].size + size <= target and others[-1].size <= _GROWTH * size
        if not others or not (many or grown):
            return Rewriting(tuple(file.path for file in chosen), size, apart)
        chosen.append(others.pop())


def work_of(
    sources: Sequence[HourSource], fingerprints: Sequence[str], before: str | None, unread: Collection[Hour] = ()
) -> tuple[list[HourSource], list[HourSource]]:
    """The Hours with files of a table that have to be opened, and those that equal the Hour before them.

    Args:
        sources: ascending.
        fingerprints: of the table in each; empty: not known.
        before: that of the newest earlier Hour that is in the table; None: not known.
        unread: Hours with damaged files: an Hour with the same files is read itself.
    """
    opened: list[HourSource] = []
    skipped: list[HourSource] = []
    for source, fingerprint in zip(sources, fingerprints, strict=True):
        (skipped if fingerprint and fingerprint == before else opened).append(source)
        before = None if source.hour in unread else fingerprint
    return opened, skipped


def accepted(
    now: Snapshot | None, counts: Mapping[Hour, int], table: str, *, fewer: bool
) -> tuple[Hour | None, dict[Hour, str]]:
    """The Hour whose records replace the snapshot in a current table, and why later ones were refused.

    Args:
        now: in the table; None: there is none.
        counts: records by Hour. Hours before the snapshot replace nothing.
        table: its name.
        fewer: an Hour may have under half the rows.
    """
    found: Hour | None = None
    refused = {}
    for hour in sorted(counts):
        if now is not None and hour < now.hour:
            continue
        if now is not None and hour > now.hour and 2 * counts[hour] < now.rows and not fewer:
            refused[hour] = (
                f"it has {counts[hour]:,} rows, under half of the {now.rows:,} of {now.hour}. If that is right, set "
                f"fewer_rows = true in [tables.{table}] of viplake.toml"
            )
            continue
        found, now = hour, Snapshot(hour, counts[hour])
    return found, refused


def parts_of(
    table: str,
    having: Sequence[HourSource],
    opened: Sequence[HourSource],
    before: HourSource | None,
    unread: Collection[Hour],
    settings: TablesSettings,
) -> list[HourSource]:
    """The Hours that have to be opened, without the files that the Hour before each has too.

    Args:
        table: its name.
        having: Hours with files of the table, ascending.
        opened: those of them with another set of files than the Hour before.
        before: the newest earlier Hour that is in the table; None: its files are not known.
        unread: Hours with damaged files.
        settings: of the tables.
    """
    found = []
    wanted = {source.hour for source in opened}
    for source, earlier in zip(having, [before, *having], strict=False):
        if source.hour in wanted:
            known = earlier is not None and earlier.hour not in unread
            found.append(source.without(earlier, table, settings) if earlier and known else source)
    return found
