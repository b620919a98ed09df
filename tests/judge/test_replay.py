"""What is notified, over a real past and over made-up ones: an hourly check each."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from judge.replay import Replay
from viplake.history.datasets import DATASETS, parse
from viplake.judge.evaluate import CheckSettings
from viplake.judge.record import Record, records
from viplake.model import Hour, stretches

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.system

FIRST = Hour.parse("2022-05-02T00")
PLACES = [folder / "shared" / "history" for folder in Path(__file__).parents[3:6]]


def shared_history() -> Path:
    """The published history of a real lake, if it is beside the project."""
    found = next((place for place in PLACES if place.is_dir()), None)
    if found is None:
        pytest.skip("the real history is not beside the project")
    return found


def replay(known: dict[Hour, Record], first: Hour, last: Hour, *, minute: int = 50) -> Replay:
    made = Replay(known, minute=minute)
    for hour in first.to(last):
        made.check(hour)
    return made


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_seven_weeks_of_a_real_past_send_at_most_25_notifications_and_one_for_each_outage() -> None:
    folder = shared_history()
    frames = {
        dataset.name: parse(dataset, (folder / dataset.file).read_bytes()).frame
        for dataset in DATASETS
        if (folder / dataset.file).is_file()
    }
    known = records(frames)
    first, last = Hour.parse("2022-02-22T08"), Hour.parse("2022-04-15T23")
    made = replay(known, first, last)
    assert len(made.sent) <= 25, [sent[1:3] for sent in made.sent]
    notified = {key for _, _, key, _ in made.sent}
    outages = [
        outage
        for outage in stretches([hour for hour, record in known.items() if hour >= first and not record.delivered])
        if len(outage) >= 3
    ]
    assert len(outages) == 13
    for outage in outages:
        [one] = [
            one
            for one in made.kept.incidents.values()
            if one.group == "outage" and any(begin <= outage[0] and outage[-1] <= end for begin, end in one.spans)
        ]
        assert one.key in notified, one


def lake(hours: int, state: Callable[[int], str], tables: int = 40) -> dict[Hour, Record]:
    """A made-up past: each Hour is `good`, `missed`, or lacks the tables that its word names."""
    found = {}
    for number in range(hours):
        hour, word = FIRST.shift(number), state(number)
        if word == "missed":
            found[hour] = Record(hour, False, "missed", "missed", "us", ledger=number > 0)
        else:
            missing = () if word == "good" else tuple(word.split(","))
            found[hour] = Record(
                hour, True, "delivered", None, None, True, (30, 1200, 120), tables, missing, 1_800_000,
                tables - len(missing),
            )  # fmt: skip
    return found


def kinds(made: Replay) -> list[tuple[int, str]]:
    return [((now - FIRST.start) // timedelta(hours=1), kind) for now, kind, _, _ in made.sent]


@pytest.mark.parametrize("minute", [5, 20, 50, 59])
def test_an_outage_of_three_days_sends_four_notifications_and_the_loss_before_it_happens(minute: int) -> None:
    made = replay(lake(110, lambda n: "missed" if 20 <= n < 92 else "good"), FIRST, FIRST.shift(109), minute=minute)
    sent = kinds(made)
    assert [kind for _, kind in sent] == ["opened", "escalated", "escalated", "resolved"]
    assert 23 <= sent[0][0] <= 24, "the third Hour"
    assert sent[1][0] < 19 + 24, "less than six hours before the loss"
    assert "left)" in made.sent[1][3]
    assert 19 + 24 < sent[2][0] <= 20 + 25
    assert "lost, unless Veson exports them again" in made.sent[2][3]
    assert sent[3][0] >= 97, "six good Hours"
    assert len(made.kept.incidents) == 1


def test_a_day_of_flapping_sends_two_notifications_at_most() -> None:
    for period in (2, 3, 4):
        past = lake(60, lambda n, period=period: "missed" if 10 <= n < 34 and n % period == 0 else "good")  # type: ignore[misc]
        made = replay(past, FIRST, FIRST.shift(59))
        assert len(made.sent) <= 2, kinds(made)
        assert len(made.kept.incidents) == 1


def test_a_retired_table_sends_a_ticket_a_reminder_and_one_every_two_weeks() -> None:
    made = replay(lake(24 * 15, lambda n: "good" if n < 20 else "T7"), FIRST, FIRST.shift(24 * 15 - 1))
    assert [kind for _, kind in kinds(made)] == ["opened", "reminder"]
    assert {one.severity for one in made.kept.incidents.values()} == {"ticket"}
    assert "VIPLAKE_OUT_OF_SCOPE" in made.sent[0][3]


def test_39_of_40_tables_that_are_missing_page_like_a_missing_export() -> None:
    names = ",".join(f"T{number}" for number in range(39))
    made = replay(lake(60, lambda n: names if 20 <= n < 30 else "good"), FIRST, FIRST.shift(59))
    assert [kind for _, kind in kinds(made)] == ["opened", "resolved"]
    [one] = made.kept.incidents.values()
    assert (one.group, one.severity, one.rule, len(one.tables)) == ("outage", "page", "missing_table", 39)


def test_an_hour_that_is_on_its_way_opens_and_ends_nothing() -> None:
    past = lake(40, lambda n: "missed" if 20 <= n < 40 else "good")
    past[FIRST.shift(39)] = Record(FIRST.shift(39), False, "waiting", ledger=True)
    made = replay(past, FIRST, FIRST.shift(39))
    [one] = made.kept.incidents.values()
    assert (one.open, one.ended, one.last) == (True, None, FIRST.shift(38))
    assert not [sent for sent in made.sent if sent[1] == "resolved"]


def test_a_run_that_never_ended_is_an_outage_after_its_last_try() -> None:
    stuck = {FIRST.shift(n): Record(FIRST.shift(n), False, "waiting", ledger=True) for n in range(3, 12)}
    past = lake(12, lambda _: "good") | stuck
    made = replay(past, FIRST, FIRST.shift(11))
    assert [one.cause for one in made.kept.incidents.values()] == ["abandoned"]


def test_the_real_hour_with_one_file_of_281_is_an_incident_and_ends_no_hole() -> None:
    past = lake(40, lambda n: "missed" if 20 <= n < 22 else "good", tables=281)
    hollow = FIRST.shift(22)
    past[hollow] = Record(hollow, True, "delivered", None, None, True, (30, 1200, 120), None, None, 535, 1)
    made = replay(past, FIRST, FIRST.shift(39))
    [one] = made.kept.incidents.values()
    assert (one.group, one.hours) == ("outage", 3)
    assert {"missing_job", "schema_missing", "volume_job"} <= set(one.rules)
    assert CheckSettings().rules.end_after == 6
