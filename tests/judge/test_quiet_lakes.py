"""What is notified of a lake in which nothing is wrong: every notification is a false one."""

from __future__ import annotations

import math
import random
from array import array
from datetime import timedelta
from typing import Any

import pytest

from judge.replay import Replay
from viplake.judge.evaluate import CheckSettings
from viplake.judge.record import Record
from viplake.judge.rules.rule import Breach
from viplake.model import Hour

FIRST = Hour.parse("2022-02-07T00")
"""A Monday."""

WEEK = 168
PAST = 9
"""Weeks before the first check."""


WATCHED = [("volume_job", None), *(("volume_table", f"Table_{number:03d}") for number in range(16))]
"""Rules and tables."""


def volumes(number: int, hours: int) -> array[int]:
    """The bytes of a table, Hour after Hour, of one of the kinds that a lake has.

    Most exports carry the last day, so their volumes are sums of 24 hours. Others have records of their own hour alone,
    come in batches, are all but empty, or never change.
    """
    chance = random.Random(number)
    kind = ("day", "day", "day", "hour", "batch", "few", "rare", "still")[number % 8]
    size = math.exp(chance.uniform(math.log(3e3), math.log(2e7)))
    noise, weekend = chance.choice((0.02, 0.05, 0.1, 0.2)), chance.uniform(0, 1.5)
    growth = chance.uniform(0, 0.002) / 24
    at = chance.randrange(24)
    made: list[int] = []
    for n in range(hours + 24):
        day, hour = n // 24, n % 24
        swing = 0.4 * math.sin(math.tau * (hour - 6) / 24) - (weekend if day % 7 >= 5 else 0) + growth * n
        value = size * math.exp(swing + chance.gauss(0, noise))
        if kind == "batch":
            value = value if hour == (at + chance.randrange(2)) % 24 else 20.0
        elif kind == "few":
            value = 20.0 + 90 * chance.randrange(7)
        elif kind == "rare":
            value = value / 50 if chance.random() < 0.1 else 20.0
        elif kind == "still":
            value = 2048.0
        made.append(round(value))
    if kind == "day":
        return array("q", [sum(made[n + 1 : n + 25]) for n in range(hours)])
    return array("q", made[24:])


def quiet_lake(tables: int, hours: int) -> tuple[dict[Hour, Record], dict[str, array[int]]]:
    """A past in which single Hours and single tables lack, as they do in life, and nothing lasts."""
    chance = random.Random(tables)
    sizes = {f"Table_{number:03d}": volumes(number, hours) for number in range(tables)}
    names, known = [*sizes], {}
    for n in range(hours):
        hour = FIRST.shift(n)
        if chance.random() < 0.004:
            known[hour] = Record(hour, False, "failed", "vendor_job_failed", "vendor", ledger=True)
            for values in sizes.values():
                values[n] = -1
            continue
        missing = (chance.choice(names),) if chance.random() < 0.03 else ()
        for name in missing:
            sizes[name][n] = -1
        kilobytes = sum(values[n] for values in sizes.values() if values[n] > 0) // 1000
        known[hour] = Record(
            hour, True, "delivered", None, None, True, (30, 1200, 120), tables, missing, kilobytes, tables + 3
        )
    return known, sizes


def notified(tables: int, weeks: int, *, step: int) -> list[tuple[str, str]]:
    hours = (PAST + weeks) * WEEK
    known, sizes = quiet_lake(tables, hours)
    made = Replay(known, sizes=sizes, first=FIRST, again=6)
    for n in range(PAST * WEEK, hours, step):
        made.check(FIRST.shift(n))
    begins = FIRST.shift(PAST * WEEK).start + timedelta(days=1)
    return [(kind, text) for now, kind, _, text in made.sent if now > begins]


@pytest.mark.system
def test_a_week_of_a_quiet_lake_sends_one_false_notification_at_most() -> None:
    sent = notified(24, 1, step=23)
    assert len(sent) <= 1, sent


@pytest.mark.system
def test_holidays_of_the_calendar_are_no_part_of_what_is_usual_for_a_table() -> None:
    """After four quiet days of a week the level is that of the other three."""
    begins, days = PAST * WEEK + 24, 4
    ends = begins + days * 24
    known, sizes = quiet_lake(12, ends + 3 * 24)
    for number in range(0, 12, 4):
        values = sizes[f"Table_{number:03d}"]
        for n in range(begins, ends + 24):  # exports carry the last day
            values[n] = round(values[n] * (0.3 if n < ends else 0.6))
    day = {"kind": "holiday", "from": f"{FIRST.shift(begins)}", "to": f"{FIRST.shift(ends - 1)}"}
    last = FIRST.shift(ends + 3 * 24 - 1)
    found = []
    for calendar in ([], [day]):
        made = Replay(known, CheckSettings.parse({"calendar": calendar}), sizes=sizes, first=FIRST)
        hours = tuple(FIRST.shift(ends + 24).to(last))
        verdicts = made.judged(last, hours)
        found.append({one.table for one in verdicts if isinstance(one, Breach) and one.rule == "volume_table"})
    assert found[0] >= {"Table_000", "Table_008"}
    assert found[1] == set()


@pytest.mark.system
def test_volumes_of_a_day_judged_in_one_go_are_abnormal_where_checks_of_each_hour_find_them() -> None:
    first = PAST * WEEK + 2 * 24
    known, sizes = quiet_lake(16, first + 24)
    for table, (begin, end, factor) in {
        "Table_000": (9, 15, 0.5),
        "Table_009": (11, 20, 1.6),
        "Table_003": (3, 6, 9),
    }.items():
        for n in range(first + begin, first + end):
            sizes[table][n] = round(sizes[table][n] * factor)
    at_once, each = (Replay(known, sizes=sizes, first=FIRST, again=6) for _ in range(2))
    found: set[tuple[Hour, str | None]] = set()
    for n in range(first, first + 24):
        hour = FIRST.shift(n)
        hours = tuple(hour.shift(-5).to(hour))
        verdicts = each.judged(hour, hours)
        breaches = {(one.hour, one.table) for one in verdicts if isinstance(one, Breach) and one.rule == "volume_table"}
        of_day = {
            (one.hour, one.table) for one in at_once.of_day(hour) if isinstance(one, Breach) and one.hour in hours
        }
        assert breaches == of_day
        found |= breaches
    assert {table for _, table in found} >= {"Table_000", "Table_009"}


@pytest.mark.system
def test_each_check_comes_to_the_same_verdict_on_an_hour() -> None:
    """From Saturday to Tuesday, with changes that begin, last and end meanwhile; the first check has less of a past."""
    begins = (PAST + 2) * WEEK - 3 * 24
    known, sizes = quiet_lake(16, begins + 6 * 24)
    changes = {"Table_000": (40, 130, 0.5), "Table_001": (-60, 60, 1.4), "Table_003": (66, 71, 2.5)}
    for table, (begin, end, factor) in changes.items():
        for n in range(begins + begin, begins + end):
            sizes[table][n] = round(sizes[table][n] * factor)
    lake, found = Replay(known, sizes=sizes, first=FIRST), dict[tuple[str, Hour, str | None], set[str]]()
    asked = range(begins + 24, begins + 6 * 24, 5)
    for n in asked:
        hour = FIRST.shift(n)
        verdicts = lake.judged(hour, tuple(hour.shift(-47).to(hour)))
        odd = {(one.rule, one.hour, one.table): one.summary for one in verdicts if isinstance(one, Breach)}
        tables = [(rule, at, table) for at in hour.shift(-47).to(hour) for rule, table in WATCHED]
        for one in tables:
            found.setdefault(one, set()).add(odd.get(one, ""))
    differing = {one: verdicts for one, verdicts in found.items() if len(verdicts) > 1}
    assert not differing
    assert len({table for (_, _, table), verdicts in found.items() if verdicts != {""}}) >= 3


@pytest.mark.system
@pytest.mark.parametrize(
    ("factor", "lasts", "settings", "notified_after"),
    [
        (0.72, 2, {}, None),
        (0.72, 5, {}, 3),
        (0.72, 5, {"volume_table": {"hours": 1}}, 1),
        (0.4, 1, {}, 1),
        (2.5, 1, {}, 1),
    ],
)
def test_table_that_is_less_than_twice_off_is_notified_from_its_third_hour_on(
    factor: float, lasts: int, settings: dict[str, Any], notified_after: int | None
) -> None:
    begins = PAST * WEEK + 30
    known, sizes = quiet_lake(12, begins + lasts + 9)
    for n in range(begins, begins + lasts):
        sizes["Table_000"][n] = round(sizes["Table_000"][n] * factor)
    made = Replay(known, CheckSettings.parse({"rules": settings}), sizes=sizes, first=FIRST, again=6)
    for n in range(begins - 1, begins + lasts + 9):
        made.check(FIRST.shift(n))
        [*found] = [
            one for one in made.kept.incidents.values() if (one.group, one.tables) == ("volume", ("Table_000",))
        ]
        assert bool(found) == (n >= begins), "the incident is there from its first Hour on"
    sent = [(now, kind) for now, kind, key, _ in made.sent if key == found[0].key]
    if notified_after is None:
        assert sent == []
        return
    opened = FIRST.shift(begins + notified_after - 1).start + timedelta(minutes=50)
    assert [kind for _, kind in sent] == ["opened", "resolved"]
    assert sent[0][0] == opened


@pytest.mark.long
@pytest.mark.timeout(5400)
def test_four_weeks_of_247_quiet_tables_send_four_false_notifications_at_most() -> None:
    sent = notified(247, 4, step=1)
    assert len(sent) <= 4, sent
