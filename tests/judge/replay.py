"""An hourly replay of a history: a check at minute 50 of each Hour, in memory, with everything but the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from viplake.judge.evaluate import (
    WEEKS_OF_VOLUMES,
    CheckSettings,
    Evidence,
    decide,
    first_of_volumes,
    hours_to_judge,
)
from viplake.judge.incident_records import IncidentStore, pack, unpack
from viplake.judge.incidents import FoldSettings, fold
from viplake.judge.notices import claim, claimed, notice_words, notified, pass_over
from viplake.model import SEVERITIES

if TYPE_CHECKING:
    from array import array
    from collections.abc import Mapping
    from datetime import datetime

    from viplake.judge.record import Record
    from viplake.model import Hour


REACH = 50 * 24
"""Hours of the past that a check reads."""


@dataclass
class Replay:
    """Checks, one an Hour.

    Attributes:
        records: all Hours, ascending; a check sees those up to its own.
        settings: rules and calendar.
        minute: of each Hour, at which its check runs.
        again: Hours that a check judges, the newest ones; but once a day all that `viplake check` judges.
        sizes: bytes by table, one an Hour from the `first` one on; -1 where there is none.
        kept: the incidents.
        sent: kind, identity and text of each notification.
    """

    records: Mapping[Hour, Record]
    settings: CheckSettings = field(default_factory=CheckSettings)
    minute: int = 50
    again: int = REACH
    sizes: Mapping[str, array[int]] = field(default_factory=dict)
    first: Hour | None = None
    kept: IncidentStore = field(default_factory=IncidentStore)
    sent: list[tuple[datetime, str, str, str]] = field(default_factory=list)

    def check(self, hour: Hour, records: Mapping[Hour, Record] | None = None) -> None:
        """One check."""
        now = hour.start + timedelta(minutes=self.minute)
        known = (
            records
            if records is not None
            else {at: one for at, one in self.records.items() if hour.shift(-REACH) < at <= hour}
        )
        hours = hours_to_judge(known, self.kept.judged, hour, None)
        if self.kept.judged is not None and hour.start.hour:
            hours = hours[-self.again :]
        judgement = decide(self._evidence(known, now, hours), hours, self.settings)
        settings = FoldSettings(self.settings.rules.end_after, self.settings.rules.watches)
        folded = fold(self.kept.incidents, judgement.findings, judgement.hours, now, settings)
        if self.kept.judged is None:
            folded = pass_over(folded, "replay", now)
        audible = {key: one for key, one in folded.items() if SEVERITIES.index(one.severity) > 0}
        marked = folded | claim(audible, f"{now}", now)
        mine = claimed(marked, f"{now}")
        self.sent += [(now, mark.kind, one.key, notice_words("Prod", one, mark.kind, now)) for one, mark in mine]
        done = notified(marked, f"{now}", {one.key: ["ear"] for one, _ in mine}, {})
        self.kept = unpack(pack(IncidentStore(done, hour)))

    def _evidence(self, known: Mapping[Hour, Record], now: datetime, hours: tuple[Hour, ...]) -> Evidence:
        if self.first is None:
            return Evidence(known, now)
        base = max(first_of_volumes(known, hours).shift(-WEEKS_OF_VOLUMES * 168), self.first)
        begin, end = ((hour.start - self.first.start) // timedelta(hours=1) for hour in (base, hours[-1].shift(1)))
        return Evidence(known, now, {table: values[begin:end] for table, values in self.sizes.items()}, base)
