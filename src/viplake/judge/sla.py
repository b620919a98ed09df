"""I/O. In or out of SLA by day, week, month and window: read from the history, and kept in `historical_sla.csv`.

Each check writes the periods that its Hours touch. Rows of earlier periods stay as they are, with the target that held
then, so a check never reads more than the month that it judges. The file is derived: it can be deleted.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final, get_args

from viplake.errors import SettingsError
from viplake.history.build import read_history
from viplake.judge.evaluate import graded, settled
from viplake.judge.objectives import AGREED, PeriodKind, SlaPeriod, period_start, sla_periods
from viplake.judge.record import fulfilled, records
from viplake.model import Hour

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from viplake.history.build import HistoryLocation
    from viplake.judge.evaluate import CheckSettings

FILE: Final = "historical_sla.csv"
COLUMNS: Final = ("period", "from", "to", "indicator", "target", "good", "expected", "ratio", "inSla")


async def read_sla(
    place: HistoryLocation,
    settings: CheckSettings,
    *,
    now: datetime,
    first: Hour | None = None,
    last: Hour | None = None,
) -> list[SlaPeriod]:
    """Return the periods that overlap a range of Hours; by default the newest settled Hour and the window before it.

    Raises:
        LakeError: the history cannot be read.
    """
    counted = settled(
        fulfilled(records((await read_history(place)).frames), settings.calendar.due), last or Hour.of(now), now
    )
    if not counted:
        return []
    newest = max(counted)
    begin = newest.shift(1 - 28 * 24) if first is None else first
    grades = {name: graded(counted, name, settings) for name in AGREED}
    return sla_periods(settings.objectives.objectives, grades, begin, newest)


async def publish_sla(place: HistoryLocation, periods: Iterable[SlaPeriod]) -> None:
    """Write the periods into `historical_sla.csv`: each replaces its own row, a window also those of earlier windows.

    Raises:
        LakeError: the file cannot be read or written.
    """
    key = f"{place.published}{FILE}"
    known = await place.store.get(key)
    data = merged(known, periods)
    if data != known:
        await place.store.put(key, data)


def merged(known: bytes | None, periods: Iterable[SlaPeriod]) -> bytes:
    """Return the file with these periods in place of their earlier rows; of windows only the newest is kept."""
    rows = {}
    for row in csv.reader(io.StringIO((known or b"").decode("utf-8", "replace"), newline="")):
        if (key := _key(row)) is not None and key[0] != "window":
            rows[key] = row
    for one in periods:
        row = _row(one)
        if (key := _key(row)) is not None:
            rows[key] = row
    kinds = get_args(PeriodKind)
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(row for _, row in sorted(rows.items(), key=lambda item: (kinds.index(item[0][0]), item[0][1:])))
    return out.getvalue().encode()


def _row(one: SlaPeriod) -> list[str]:
    ratio, met = one.tally.ratio, one.met
    return [
        one.kind,
        one.first.label,
        one.last.label,
        one.objective.name,
        f"{one.objective.target:g}",
        str(one.tally.good),
        str(one.tally.expected),
        "" if ratio is None else f"{round(ratio, 4):g}",
        "" if met is None else str(int(met)),
    ]


def _key(row: list[str]) -> tuple[PeriodKind, str, str] | None:
    """Return what a row is the only one of: kind, start and indicator; None for the header and damaged rows."""
    [kind] = [kind for kind in get_args(PeriodKind) if row and kind == row[0]] or [None]
    if kind is None or len(row) != len(COLUMNS):
        return None
    try:
        first = Hour.parse(row[1])
    except SettingsError:
        return None
    return kind, "" if kind == "window" else period_start(kind, first).label, row[3]
