"""I/O. The history as it is stored: months that are closed and never parsed again, and the open end.

::

    <versions>datasets/v0000000042.gz      the open end as CSV, and which months are closed
    <versions>closed/2022-05-<hash>.gz     the rows of a closed month: created once, never changed

An update parses and writes the open end alone, however long the history is. A published CSV is its header, the rows of
the closed months and those of the open end, joined as bytes. The bytes of closed months come from the published file
itself, where their hash is right, so that no hourly update reads a closed month.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from viplake.errors import LakeError
from viplake.history.datasets import DATASETS, Frame, own_frame, render
from viplake.lake.records import FORMAT, Count, Part, decode, encode, reading
from viplake.lake.versions import Versions
from viplake.model import Hour

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from viplake.history.datasets import HourDataset, Row
    from viplake.lake.store import Store

OPEN_FOR: Final = timedelta(days=8)
"""How long a month stays open after its end: updates look for holes of the last 7 days."""

CLOSED_FORMAT: Final = 2
"""Format of a version with closed months: an older viplake would take its open end for all there is."""

_AT_ONCE: Final = 16


class ClosedRows(Part, frozen=True):
    """The rows of a dataset in a closed month: the hash and size of their bytes, and how many there are."""

    sha256: str
    size: Count
    rows: Count


class ClosedMonth(Part, frozen=True):
    """A closed month.

    Attributes:
        month: `2022-05`.
        name: of its object.
        datasets: what it holds, by dataset.
    """

    month: str
    name: str
    datasets: dict[str, ClosedRows]

    def known(self, dataset: HourDataset) -> ClosedRows:
        """Return the rows of a dataset in the month; none of a dataset that is newer than the month's object."""
        return self.datasets.get(dataset.name) or ClosedRows(_digest(b""), 0, 0)


class _Version(Part, frozen=True):
    built: bool
    datasets: dict[str, str]
    closed: tuple[ClosedMonth, ...] = ()
    first_run: str | None = None


class _Rows(Part, frozen=True):
    datasets: dict[str, str]


@dataclass(frozen=True, slots=True)
class History:
    """All datasets with one row an Hour.

    Attributes:
        frames: by the dataset's name; without the rows of closed months.
        built: everything from the first hourly folder on was looked at, once.
        closed: months of which the rows are not here, ascending.
        first_run: the first Hour with a ledger, in closed months too; None where there is none.
    """

    frames: Mapping[str, Frame] = field(default_factory=lambda: {dataset.name: Frame() for dataset in DATASETS})
    built: bool = False
    closed: tuple[ClosedMonth, ...] = ()
    first_run: Hour | None = None

    def rows(self, dataset: HourDataset) -> dict[Hour, Row]:
        """The rows of a dataset, by Hour; the cells of the contract come first."""
        return self.frames[dataset.name].rows

    def count(self, dataset: HourDataset) -> int:
        """Rows of a dataset, those of closed months too."""
        return len(self.rows(dataset)) + sum(month.known(dataset).rows for month in self.closed)


def month_of(hour: Hour) -> str:
    """`2022-05`."""
    return f"{hour.start:%Y-%m}"


def pack(history: History) -> bytes:
    """The content of a version."""
    texts = {dataset.name: render(dataset, history.frames[dataset.name]).decode() for dataset in DATASETS}
    record: dict[str, Any] = {
        "format": CLOSED_FORMAT if history.closed else FORMAT,
        "built": history.built,
        "datasets": texts,
    }
    if history.closed:
        record["closed"] = history.closed
        record["first_run"] = None if history.first_run is None else str(history.first_run)
    return encode(record)


def unpack(content: bytes | None) -> History:
    """The history of a version, its closed months unread.

    Raises:
        LakeError: it cannot be read (`ledger_damaged`), or is of a newer format (`lake_format`).
    """
    if content is None:
        return History()
    with reading("the history"):
        record = decode(content, _Version, newest=CLOSED_FORMAT)
        texts = record.datasets
        frames = {d.name: own_frame(d, texts[d.name]) if d.name in texts else Frame() for d in DATASETS}
        first = None if record.first_run is None else Hour.parse(record.first_run)
        return History(frames, record.built, record.closed, first)


@dataclass(slots=True)
class Chain:
    """The stored history.

    Attributes:
        store: where it is.
        prefix: of the versions, with its closing slash.
        parsed: rows of closed months that were parsed.
    """

    store: Store
    prefix: str
    parsed: int = 0

    @property
    def versions(self) -> Versions:
        """Return the versions of the open end."""
        return Versions(self.store, f"{self.prefix}datasets/")

    async def read(self, since: Hour | None = None) -> History:
        """The history from an Hour on, at least; all of it by default.

        Raises:
            LakeError: it cannot be read.
        """
        history = unpack((await self.versions.newest()).content)
        wanted = [one.month for one in history.closed if since is None or one.month >= month_of(since)]
        return await self.opened(history, wanted)

    async def opened(self, history: History, months: Collection[str]) -> History:
        """The history with the rows of these closed months.

        Raises:
            LakeError: one cannot be read.
        """
        wanted = [one for one in history.closed if one.month in months]
        if not wanted:
            return history
        turn = asyncio.Semaphore(_AT_ONCE)

        async def one(month: ClosedMonth) -> dict[str, bytes]:
            async with turn:
                return await self.rows(month)

        frames = dict(history.frames)
        found = await asyncio.gather(*(one(month) for month in wanted))
        for dataset in DATASETS:
            frame = frames[dataset.name]
            head = render(dataset, Frame({}, frame.extra))
            with reading("a closed month of the history"):
                old = own_frame(dataset, b"".join([head, *(texts.get(dataset.name, b"") for texts in found)]).decode())
            self.parsed += len(old.rows)
            frames[dataset.name] = Frame(old.rows | frame.rows, frame.extra)
        return replace(history, frames=frames, closed=tuple(one for one in history.closed if one not in wanted))

    async def rows(self, month: ClosedMonth) -> dict[str, bytes]:
        """The CSV rows of a closed month, by dataset.

        Raises:
            LakeError: they cannot be read, or are not those that were written.
        """
        key = f"{self.prefix}closed/{month.name}.gz"
        data = await self.store.get(key)
        if data is None:
            raise LakeError(f"{key} is gone", cause="ledger_damaged")
        with reading(key):
            texts = {name: text.encode() for name, text in decode(gzip.decompress(data), _Rows).datasets.items()}
            if any(_digest(texts.get(name, b"")) != known.sha256 for name, known in month.datasets.items()):
                raise ValueError("a checksum mismatch")
            return texts

    async def closed(self, history: History) -> tuple[History, dict[str, bytes]]:
        """The history with every month closed that no update looks at; also the rows that were closed, by hash.

        Raises:
            LakeError: a month cannot be written.
        """
        newest = max((hour for frame in history.frames.values() for hour in frame.rows), default=None)
        if newest is None:
            return history, {}
        open_from = month_of(Hour.of(newest.start - OPEN_FOR))
        texts: dict[str, dict[str, bytes]] = {}
        counts: dict[tuple[str, str], int] = {}
        frames = {}
        for dataset in DATASETS:
            frame = history.frames[dataset.name]
            by_month: dict[str, dict[Hour, Row]] = {}
            for hour, row in frame.rows.items():
                by_month.setdefault(month_of(hour), {})[hour] = row
            frames[dataset.name] = Frame({}, frame.extra)
            head = len(render(dataset, frames[dataset.name]))
            for month, rows in by_month.items():
                if month >= open_from:
                    frames[dataset.name].rows.update(rows)
                else:
                    texts.setdefault(month, {})[dataset.name] = render(dataset, Frame(rows, frame.extra))[head:]
                    counts[month, dataset.name] = len(rows)
        done = [await self._close(month, texts[month], counts) for month in sorted(texts)]
        every = tuple(sorted((*history.closed, *done), key=lambda one: one.month))
        pieces = {_digest(data): data for of_month in texts.values() for data in of_month.values()}
        return replace(history, frames=frames, closed=every), pieces

    async def _close(self, month: str, texts: dict[str, bytes], counts: Mapping[tuple[str, str], int]) -> ClosedMonth:
        every = {dataset.name: texts.get(dataset.name, b"") for dataset in DATASETS}
        content = encode({"format": FORMAT, "datasets": {name: data.decode() for name, data in every.items()}})
        name = f"{month}-{_digest(content)[:16]}"
        await self.store.put(f"{self.prefix}closed/{name}.gz", gzip.compress(content, compresslevel=4, mtime=0))
        known = {
            dataset: ClosedRows(_digest(data), len(data), counts.get((month, dataset), 0))
            for dataset, data in every.items()
        }
        return ClosedMonth(month, name, known)


@dataclass(slots=True)
class Published:
    """A published CSV, compared with a version of the history.

    Attributes:
        pieces: the rows of closed months that it holds, by hash.
        same: it is this version's.
    """

    pieces: dict[str, memoryview]
    same: bool

    @classmethod
    def of(cls, history: History, dataset: HourDataset, data: bytes) -> Published:
        """Compare it: nothing is parsed."""
        frame = history.frames[dataset.name]
        head = render(dataset, Frame({}, frame.extra))
        view, at = memoryview(data), len(head)
        pieces, same = {}, data.startswith(head)
        for month in history.closed:
            known = month.known(dataset)
            piece = view[at : at + known.size]
            at += known.size
            if hashlib.sha256(piece).hexdigest() == known.sha256:
                pieces[known.sha256] = piece
            else:
                same = False
        return cls(pieces, same and view[at:] == render(dataset, frame)[len(head) :])


async def whole_file(
    chain: Chain, history: History, dataset: HourDataset, pieces: Mapping[str, bytes | memoryview]
) -> bytes:
    """The CSV of a dataset: header, closed months, open end.

    Args:
        chain: for closed months that are not among the pieces.
        history: as it was unpacked.
        dataset: which.
        pieces: rows of closed months, by hash.

    Raises:
        LakeError: a closed month cannot be read.
    """
    frame = history.frames[dataset.name]
    head = render(dataset, Frame({}, frame.extra))
    parts: list[bytes | memoryview] = [head]
    for month in history.closed:
        known = month.known(dataset)
        piece = pieces.get(known.sha256)
        parts.append((await chain.rows(month)).get(dataset.name, b"") if piece is None else piece)
    parts.append(render(dataset, frame)[len(head) :])
    return b"".join(parts)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
