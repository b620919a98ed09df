"""An hourly replay of a history: a check at minute 50 of each Hour, in memory, with everything but the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from viplake.judge.evaluate import (
    CheckSettings,
    Evidence,
    compared_from,
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
    from viplake.judge.rules.rule import RuleResult
    from viplake.model import Hour


REACH = 50 * 24
"""Hours that a check judges again here."""

PAST = 80 * 24
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

    The volumes of tables are by far the most work. A check at midnight judges them as `viplake check` does; those of
    the other Hours of a day are judged in one go, because a volume is compared with earlier ones only.
    """

    records: Mapping[Hour, Record]
    settings: CheckSettings = field(default_factory=CheckSettings)
    minute: int = 50
    again: int = REACH
    sizes: Mapping[str, array[int]] = field(default_factory=dict)
    first: Hour | None = None
    kept: IncidentStore = field(default_factory=IncidentStore)
    sent: list[tuple[datetime, str, str, str]] = field(default_factory=list)
    _day: tuple[Hour, list[RuleResult]] | None = field(init=False, default=None)

    def check(self, hour: Hour, records: Mapping[Hour, Record] | None = None) -> None:
        """One check."""
        now = hour.start + timedelta(minutes=self.minute)
        known = self._known(hour) if records is None else records
        hours = hours_to_judge(known, self.kept.judged, hour, None)
        if self.kept.judged is None or not hour.start.hour:
            findings = self.judged(hour, hours, known)
        else:
            hours = hours[-self.again :]
            findings = decide(Evidence(known, now), hours, self.settings).findings
            if self.sizes:
                of_tables = [one for one in self.of_day(hour) if hours[0] <= one.hour <= hour]
                findings = (*(one for one in findings if one.rule != "volume_table"), *of_tables)
        settings = FoldSettings(self.settings.rules.end_after, self.settings.rules.watches)
        folded = fold(self.kept.incidents, findings, hours, now, settings)
        if self.kept.judged is None:
            folded = pass_over(folded, "replay", now)
        audible = {key: one for key, one in folded.items() if SEVERITIES.index(one.severity) > 0}
        marked = folded | claim(audible, f"{now}", now)
        mine = claimed(marked, f"{now}")
        self.sent += [(now, mark.kind, one.key, notice_words("Prod", one, mark.kind, now)) for one, mark in mine]
        done = notified(marked, f"{now}", {one.key: ["ear"] for one, _ in mine}, {})
        self.kept = unpack(pack(IncidentStore(done, hour)))

    def judged(
        self, hour: Hour, hours: tuple[Hour, ...], records: Mapping[Hour, Record] | None = None
    ) -> tuple[RuleResult, ...]:
        """The results of a check in an Hour, for these Hours."""
        now = hour.start + timedelta(minutes=self.minute)
        known = self._known(hour) if records is None else records
        return decide(self._evidence(known, now, hours), hours, self.settings).findings

    def _known(self, last: Hour) -> dict[Hour, Record]:
        return {at: one for at, one in self.records.items() if last.shift(-PAST) < at <= last}

    def of_day(self, hour: Hour) -> list[RuleResult]:
        """The verdicts on the volumes of tables in a day, and in the Hours before it that its checks judge again."""
        day = hour.shift(-hour.start.hour)
        if self._day is None or self._day[0] != day:
            hours = tuple(hour for hour in day.shift(-self.again).to(day.shift(23)) if hour in self.records)
            self._day = day, [one for one in self.judged(hours[-1], hours) if one.rule == "volume_table"]
        return self._day[1]

    def _evidence(self, known: Mapping[Hour, Record], now: datetime, hours: tuple[Hour, ...]) -> Evidence:
        if self.first is None:
            return Evidence(known, now)
        base = max(compared_from(first_of_volumes(known, hours), self.settings), self.first)
        begin, end = ((hour.start - self.first.start) // timedelta(hours=1) for hour in (base, hours[-1].shift(1)))
        return Evidence(known, now, {table: values[begin:end] for table, values in self.sizes.items()}, base)
