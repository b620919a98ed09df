"""What a person who watches a lake gets, by `viplake check` with a set clock: one part for each defect that was found.

Each test runs the commands as users do, over a lake in a folder, and reads what was printed and what a webhook got.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import math
import random
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from hooks import Quiet, listening, serving
from judge.watch import FIRST, Watch, content_of, facts_of, watching
from viplake.content.records import keep
from viplake.history.build import HistoryLocation
from viplake.judge.detector.anomaly import ADOPTED
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.store import StoreSettings, open_store
from viplake.model import TEST
from viplake.simulator.history import Past, SchemaChange, Spell
from viplake.simulator.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from viplake.model import Hour

pytestmark = pytest.mark.system

WEEK = 168
NAMES = tuple(table.name for table in TABLES)
H = FIRST.shift


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    with watching(tmp_path, monkeypatch) as made:
        yield made


def live(watch: Watch, past: Past, first: int, last: int, *, minutes: Sequence[int] = (50,)) -> None:
    """The Hours as they come, each observed and checked at these minutes; those before `first` are there already."""
    watch.hours(past, *FIRST.to(H(first - 1)))
    watch.check(H(first - 1))
    for number in range(first, last + 1):
        watch.hours(past, H(number))
        for minute in minutes:
            watch.check(H(number), minute=minute)


# -- 1: the loss page is taken back -------------------------------------------------------------------------------


@pytest.mark.long
def test_H1_a_page_of_a_loss_stays_until_exports_have_come_for_six_hours(watch: Watch) -> None:
    past = Past((Spell(H(4), H(32), "failed"),), tables=2)
    live(watch, past, 19, 39, minutes=(20, 50))
    assert watch.kinds == [(kind, "missing_job") for kind in ("opened", "escalated", "escalated", "resolved")]
    opened, soon, lost, over = watch.texts
    assert "Nothing is lost if an export comes by 2022-05-03 03:00 UTC" in opened
    assert opened.endswith("(page, outage:2022-05-02T04)")
    assert "left)" in soon
    assert "are in no delivered Hour: lost" in lost
    assert "Ask Veson for an export of the lost period" in lost
    assert over.startswith("Over, but records were lost: exports come again")
    assert "Ask Veson for an export of the lost period" in over
    assert "exports come again since 2022-05-03 09:00 UTC, 6 Hours in a row; it lasted 29 Hours" in over


@pytest.mark.parametrize(
    ("first", "minute"),
    [*(pytest.param(*one, marks=pytest.mark.long) for one in [(5, 20), (11, 5), (17, 59)]), (23, 0)],
)
def test_H1_a_loss_is_notified_before_it_happens_when_nothing_runs_but_checks(
    watch: Watch, first: int, minute: int
) -> None:
    """From whichever Hour the scheduler is down and at whatever minute checks run; observed or not."""
    watch.hours(Past(tables=2), *FIRST.to(H(first - 1)))
    watch.check(H(first - 1))
    for number in range(first, first + 26):
        watch.check(H(number), minute=minute, observe=first == 5)
    kinds = [kind for kind, _ in watch.kinds]
    assert kinds == ["opened", "escalated", "escalated"]
    soon = next(message for message in watch.got if message["notices"][0]["notice"] == "escalated")
    assert "left)" in soon["text"]
    assert soon["notices"][0]["last_hour"] < str(H(first + 23)), "the last Hour that carries all records"
    assert "resolved" not in kinds


# -- 2, 3, 4, 9: volumes ------------------------------------------------------------------------------------------


def weekly(weeks: int, seed: int, noise: float = 0.03, size: float = 2e6) -> list[int]:
    """Busy days, quiet weekends."""
    chance = random.Random(seed)
    return [
        round(
            size
            * math.exp(0.4 * math.sin(math.tau * (n % 24 - 6) / 24) - 0.6 * (n // 24 % 7 >= 5) + chance.gauss(0, noise))
        )
        for n in range(weeks * WEEK)
    ]


def by_day(values: list[int]) -> list[int]:
    """The sum of the last 24 Hours, as an export with a look-back of one day carries it."""
    return [sum(values[max(n - 23, 0) : n + 1]) for n in range(len(values))]


def by_hour(values: list[int]) -> list[int]:
    return values


def remember(watch: Watch, sizes: dict[str, list[int]]) -> None:
    count = len(next(iter(sizes.values())))
    watch.remember([facts_of(H(n), {name: values[n] for name, values in sizes.items()}) for n in range(count)])


def walk(watch: Watch, first: int, last: int, step: int) -> set[str]:
    """Checks of a past, one every few Hours; the incidents that any of them saw."""
    seen: set[str] = set()
    for number in range(first, last, step):
        seen |= {one["id"] for one in watch.check(H(number), "--at", str(H(number)), observe=False).json["incidents"]}
    return seen


@pytest.mark.parametrize(("form", "factor"), [pytest.param(by_hour, 1.58, marks=pytest.mark.long), (by_day, 0.6)])
def test_2_a_lasting_change_is_one_incident_and_two_notifications_within_five_weeks(
    watch: Watch, form: Callable[[list[int]], list[int]], factor: float
) -> None:
    values, change = weekly(10, 3), 5 * WEEK + 40
    values[change:] = [round(value * factor) for value in values[change:]]
    remember(watch, {"Invoice": form(values)})
    seen = walk(watch, change - 2, change + 110, 12) | walk(watch, change + 120, 10 * WEEK, 47)
    assert len(seen) == 1
    assert [kind for kind, _ in watch.kinds] == ["opened", "resolved"]
    assert f"{'larger' if factor > 1 else 'smaller'} than" in watch.texts[0]
    [over] = [notice for notice in watch.notices if notice["notice"] == "resolved"]
    assert abs(over["hours"] - ADOPTED) <= 6, "half a week"
    later = watch.at(H(10 * WEEK).start, "check", "--json", "--from", str(H(change - 48)), "--at", str(H(change + 50)))
    [one] = later.of("volume_job")
    assert "if it lasts, that is usual from 2022-06-" in one["summary"]


@pytest.mark.parametrize(
    ("where", "factor"),
    [
        (9, 5.0),
        pytest.param(5 * 24 + 3, 0.2, marks=pytest.mark.long),
        pytest.param(2 * 24 + 14, 3.0, marks=pytest.mark.long),
    ],
)
def test_3_a_peak_or_a_dip_at_the_same_hour_of_every_week_is_usual(watch: Watch, where: int, factor: float) -> None:
    values = weekly(6, 4)
    for week in range(6):
        values[week * WEEK + where] = round(values[week * WEEK + where] * factor)
    remember(watch, {"Cargo": values})
    watch.check(H(4 * WEEK), "--at", str(H(4 * WEEK)), observe=False)  # the first weeks are news, and past
    assert walk(watch, 4 * WEEK + 47, 6 * WEEK, 47) == set()
    assert watch.kinds == []


def small_tables(weeks: int) -> list[dict[str, int]]:
    chance = random.Random(8)
    rows = []
    for n in range(weeks * WEEK):
        day, hour = n // 24 % 7, n % 24
        office = day < 5 and 8 <= hour < 18
        rows.append(
            {
                "Few": chance.randrange(7),
                "Office": chance.randrange(20, 60) if office else 0,
                "Weekend": chance.randrange(30, 50) if day >= 5 else chance.randrange(3),
                "Zeros": chance.randrange(1, 40) if chance.random() < 0.1 else 0,
                "Nightly": chance.randrange(900, 1100) if hour == 2 + chance.randrange(3) else 0,
                "Weekly": chance.randrange(9000, 11000) if (day, hour) == (0, 3) else 0,
            }
        )
    return rows


def test_4_small_counts_office_hours_and_batches_raise_no_incident_of_records(watch: Watch) -> None:
    rows = small_tables(7)
    watch.remember([facts_of(H(n), dict.fromkeys(rows[n], 5000)) for n in range(len(rows))], volumes=False)
    watch.examined(rows, 5 * 24)
    seen = walk(watch, 6 * WEEK + 95, 7 * WEEK, 24)
    assert {key for key in seen if key.startswith("volume")} == set(), "six tables for five days"


def test_9_a_quiet_day_of_seven_tables_is_one_incident_and_none_as_a_holiday_of_the_calendar(watch: Watch) -> None:
    day, names = 4 * WEEK + 48, [f"T{number:02d}" for number in range(14)]
    sizes = {name: weekly(5, number, 0.02) for number, name in enumerate(names)}
    for number, name in enumerate(names[:7]):
        for n in range(day + 6 + number % 3, day + 24):
            sizes[name][n] = round(sizes[name][n] * 0.4)
    remember(watch, sizes)
    watch.check(H(day), "--at", str(H(day)), observe=False)
    assert len(walk(watch, day + 7, day + 34, 3)) == 1
    assert [kind for kind, _ in watch.kinds] == ["opened", "resolved"]
    watch.rules(f'[[calendar]]\nkind = "holiday"\nfrom = "{H(day)}"\nto = "{H(day + 23)}"\n')
    [one] = watch.check(H(day + 34), "--at", str(H(day + 34)), observe=False).json["incidents"]
    assert one["state"] == "resolved"


@pytest.mark.long
def test_9_an_outage_of_three_days_and_forty_tables_is_one_incident_and_four_notifications(watch: Watch) -> None:
    past = Past((Spell(H(6), H(77), "failed"),), tables=40, scale=0.02)
    watch.hours(past, *FIRST.to(H(5)))
    watch.check(H(5))
    for number in range(6, 85):
        watch.hours(past, H(number))
        if number < 12 or number % 4 == 0 or number > 80:
            answer = watch.check(H(number), minute=20)
    assert [kind for kind, _ in watch.kinds] == ["opened", "escalated", "escalated", "resolved"]
    assert {notice["id"] for notice in watch.notices} == {"outage:2022-05-02T06"}
    [one] = answer.json["incidents"]
    assert (one["rule"], one["hours"], one["state"]) == ("missing_job", 72, "resolved")
    assert "lookback_gap" in one["rules"], "it is no incident of its own"


# -- 5: what is lost ----------------------------------------------------------------------------------------------


def keep_content(watch: Watch, carried: dict[int, float]) -> None:
    """Content checks that found so many hours of records in each of these Hours."""
    found = [content_of(H(n), {"Voyage": 50, "Vessel": 60}, hours) for n, hours in sorted(carried.items())]
    asyncio.run(keep(HistoryLocation.within(watch.lake), found))


def test_5_a_gap_closed_by_a_short_export_is_reported_as_a_loss(watch: Watch) -> None:
    facts = [facts_of(H(n), {"Voyage": 50_000, "Vessel": 60_000}, delivered=not 40 <= n < 51) for n in range(60)]
    watch.remember(facts)
    keep_content(watch, {n: 2.0 if n == 51 else 24.0 for n in [*range(10, 40), *range(51, 60)]})
    for number in (42, 45, 51, 53):
        answer = watch.check(H(number), "--at", str(H(number)), observe=False)
    [gap] = [gap for gap in answer.json["coverage"] if gap["table"] is None]
    assert gap["lost"] == ["2022-05-03T15:00:00Z", "2022-05-04T01:00:00Z"]
    [text] = [text for text in watch.texts if "(escalated)" in text]
    assert "ecords from about 2022-05-03 15:00 UTC to 2022-05-04 01:00 UTC are in no delivered Hour: lost" in text
    assert "nothing is lost" not in text.casefold()
    assert answer.of("missing_job")[0]["severity"] == "page"


def test_5_exports_that_each_carry_half_an_hour_are_a_loss(watch: Watch) -> None:
    facts = [facts_of(H(n), {"Voyage": 50_000, "Vessel": 60_000}) for n in range(40)]
    watch.remember(facts)
    keep_content(watch, {n: 24.0 if n < 34 else 0.5 for n in range(10, 40)})
    for number in (33, 39):
        answer = watch.check(H(number), "--at", str(H(number)), observe=False)
    [one] = answer.of("lookback_gap")
    assert "carries less than one hour" in one["summary"]
    assert [notice["notice"] for notice in watch.notices if "lookback_gap" in notice["rules"]] == ["opened"]


def test_5_a_planned_hole_longer_than_the_look_back_is_reported_as_a_loss(watch: Watch) -> None:
    watch.rules(f'[[calendar]]\nkind = "diversion"\nfrom = "{H(10)}"\nto = "{H(40)}"\nreason = "a test"\n')
    past = Past((Spell(H(10), H(40), "planned"),), tables=2)
    live(watch, past, 38, 42)
    [one] = watch.check(H(42)).of("lookback_gap")
    assert (one["severity"], one["owner"] != "vendor") == ("ticket", True)
    assert "are in no delivered Hour: lost" in one["summary"]
    assert "planned: diversion" in one["summary"]
    assert watch.kinds[0][0] == "opened"


def test_5_a_table_of_office_hours_shortens_no_look_back(watch: Watch) -> None:
    """At 06:00 its oldest record is of 08:00 the day before, its newest of 17:00: nothing shows that any is missing."""
    facts = [facts_of(H(n), {"Voyage": 50_000}) for n in range(60)]
    watch.remember(facts)
    found = []
    for n in range(10, 60):
        times = [H(n - back).start for back in range(1, 25) if 8 <= H(n - back).start.hour < 18]
        one = content_of(H(n), {"Voyage": 50}, 24)
        table = replace(one.tables[0], oldest=min(times), newest=max(times))
        found.append(replace(one, tables=(table,)))
    asyncio.run(keep(HistoryLocation.within(watch.lake), found))
    for number in (30, 59):
        answer = watch.check(H(number), "--at", str(H(number)), observe=False)
        assert answer.of("lookback_gap") + answer.of("lookback_change") == []
    assert watch.kinds == []


@pytest.mark.parametrize(
    "damage", [*(pytest.param(one, marks=pytest.mark.long) for one in ["cut", "compressed"]), "gone"]
)
def test_H2_an_export_with_an_unreadable_schema_is_judged_by_the_last_one_known(watch: Watch, damage: str) -> None:
    past = Past((Spell(H(8), H(30), "lacking", ("Vessel",)),), tables=8)
    watch.hours(past, *FIRST.to(H(7)))
    watch.check(H(7))
    for number in range(8, 13):
        watch.hours(past, H(number))
        file = watch.folder / "lake" / watch.lake.layout.file(H(number), "_MasterTableSchema.json")
        if damage == "cut":
            file.write_bytes(file.read_bytes()[:60])
        elif damage == "compressed":
            file.write_bytes(gzip.compress(file.read_bytes()))
        else:
            file.unlink()
        answer = watch.check(H(number))
    assert answer.code == 1
    [schema], [table], [changed] = (answer.of(rule) for rule in ("schema_missing", "missing_table", "incomplete_job"))
    assert (schema["hours"], schema["state"], table["tables"], table["hours"]) == (5, "ongoing", ["Vessel"], 5)
    assert f"the last one is that of {H(7)}" in schema["summary"]
    assert (changed["hour"], changed["hours"]) == (str(H(8)), 5), "also of Hours that are not listed again"


# -- 6: retired tables ----------------------------------------------------------------------------------------------


def test_5_a_lake_that_never_delivered_does_not_claim_that_nothing_is_lost(watch: Watch) -> None:
    live(watch, Past((Spell(H(0), H(8), "failed"),), tables=2), 1, 15)
    opened, over = watch.texts
    assert "Whether records are lost is not known." in opened
    assert "Whether records were lost is not known." in over


# -- files that were changed after their delivery -----------------------------------------------------------------


def test_9_a_file_removed_from_the_lake_is_one_incident_of_ours_notified_at_once(watch: Watch) -> None:
    """A later export does not bring the file back, and what is not read again keeps its cause."""
    past = Past(tables=3)
    watch.hours(past, *FIRST.to(H(9)))
    watch.check(H(9))
    folder = watch.folder / "lake" / watch.lake.layout.folder(H(9))
    next(file for file in sorted(folder.iterdir()) if file.name.startswith("Voyage_2022")).unlink()
    for number in range(10, 18):
        watch.hours(past, H(number))
        answer = watch.check(H(number))
    [one] = answer.json["incidents"]
    assert one["rules"] == ["incomplete_job", "missing_table", "missing_partition"]
    assert (one["cause"], one["owner"], one["tables"]) == ("changed_in_lake", "us", ["Voyage"])
    opened, over = watch.texts
    restore = f"viplake verify --from {H(9)} --to {H(9)}."
    assert f"Restore files from the bucket's versions or a backup; this command names them: {restore}" in opened
    assert f"Files that were not restored are still missing. Check: {restore}" in over


@pytest.mark.long
def test_6_a_retired_table_sends_eight_tickets_at_most_in_sixty_days_and_none_while_acknowledged(watch: Watch) -> None:
    days = 62
    watch.remember(
        [
            facts_of(H(n), {"Voyage": 5000, "Vessel": 6000}, missing=["Old"] if n >= 30 else [])
            if n >= 30
            else facts_of(H(n), {"Voyage": 5000, "Vessel": 6000, "Old": 400})
            for n in range(24 * days)
        ],
        volumes=False,
    )
    walk(watch, 28, 40, 2)
    walk(watch, 48, 120, 24)
    walk(watch, 120, 24 * days, 47)
    kinds = [kind for kind, _ in watch.kinds]
    assert kinds[:2] == ["opened", "reminder"]
    assert 3 <= len(kinds) <= 8
    assert {notice["severity"] for notice in watch.notices} == {"ticket"}
    assert {notice["owner"] for notice in watch.notices} == {"vendor"}
    assert "VIPLAKE_OUT_OF_SCOPE" in watch.texts[0]
    last = H(24 * days - 1)
    [one] = watch.check(last, "--at", str(last), observe=False).of("missing_table")
    until = last.shift(24 * 40)
    acknowledged = watch.at(last.end, "ack", one["id"], "--until", str(until), "--note", "ticket 7")
    assert acknowledged.code == 0
    sent = len(watch.notices)
    for later in (20, 39, 41):
        now = last.shift(24 * later).start
        shown = watch.at(now, "check", "--at", str(last))
        assert (f"acknowledged until {until}" in shown.out.replace("\n", " ")) is True
        assert len(watch.notices) - sent == (later == 41)


def empty(watch: Watch, hour: Hour, table: str) -> None:
    """Make the files of a table empty, as if they had come so: manifest and receipt agree."""
    folder = watch.folder / "lake" / watch.lake.layout.folder(hour)
    content = gzip.compress(b"", mtime=0)
    for file in sorted(folder.glob(f"{table}_2*.gz")):
        file.write_bytes(content)
        for name in ("_PresignedUrls.json", "_Receipt.json"):
            record = json.loads((folder / name).read_text(encoding="utf-8"))
            for one in record if isinstance(record, list) else record["files"]:
                if one["key"].endswith(file.name):
                    one["size"] = len(content)
                    one["md5"] = hashlib.md5(content).hexdigest()
            (folder / name).write_text(json.dumps(record), encoding="utf-8")


@pytest.mark.long
def test_6_a_table_that_is_empty_for_weeks_sends_a_ticket_and_a_reminder_every_two_weeks(watch: Watch) -> None:
    past, last = Past(tables=1, scale=0.02), 24 * 17
    watch.hours(past, *FIRST.to(H(8)))
    watch.check(H(8))
    number = 9
    while number < last:
        step = 1 if number < 14 else 31
        for hour in H(number).to(H(number + step - 1)):
            watch.hours(past, hour)
            empty(watch, hour, "Voyage")
        number += step
        answer = watch.check(H(number - 1))
    [one] = answer.json["incidents"]
    assert (one["rule"], one["tables"], one["hour"], one["hours"]) == ("empty_file", ["Voyage"], str(H(9)), number - 9)
    assert [kind for kind, _ in watch.kinds] == ["opened", "reminder", "reminder"]
    assert {notice["severity"] for notice in watch.notices} == {"ticket"}
    assert f"1 file of {H(9)} holds no records (20 bytes in all)" in watch.texts[0]
    assert f"viplake ack empty_file:{H(9)} --until" in watch.texts[1]
    for hour in H(number).to(H(number + 6)):
        watch.hours(past, hour)
        watch.check(hour)
    assert watch.kinds[3:] == [("resolved", "empty_file")]


def test_a_check_of_many_hours_names_the_newest_in_which_it_judged_volumes_of_tables(watch: Watch) -> None:
    names = [f"T{number:03d}" for number in range(320)]
    remember(watch, {name: [5000 + n for n in range(60)] for name in names})
    limit = "a check evaluates tables in its newest 48 Hours; earlier ones: viplake check --at HOUR"
    answer = watch.check(H(59), "--at", str(H(59)), observe=False)
    assert answer.json["no_data"]["volume_table"][limit] == 60 - 48
    earlier = watch.check(H(59), "--from", str(H(2)), "--at", str(H(9)), minute=55, observe=False)
    assert limit not in earlier.json["no_data"]["volume_table"]


# -- 7, 8, 12, 13, 14: what an incident is --------------------------------------------------------------------------


def test_7_another_owner_is_notified_and_the_end_names_both(watch: Watch) -> None:
    past = Past((Spell(H(8), H(12), "failed"), Spell(H(13), H(16), "missed")), tables=2)
    live(watch, past, 8, 22)
    assert [kind for kind, _ in watch.kinds] == ["opened", "changed", "resolved"]
    assert "Responsible since 2022-05-02 13:00 UTC: us. Viplake did not run within the Hour" in watch.texts[1]
    assert "Before: vendor_job_failed (Veson)." in watch.texts[1]
    assert "cause: vendor_job_failed (Veson), missed (us)" in watch.texts[2]


@pytest.mark.long
@pytest.mark.parametrize("period", [2, 3, 5])
def test_8_a_day_of_flapping_is_one_incident_and_two_notifications_at_most(watch: Watch, period: int) -> None:
    past = Past(tuple(Spell(H(n), H(n), "failed") for n in range(8, 32, period)), tables=2)
    live(watch, past, 8, 38)
    assert len(watch.kinds) <= 2
    assert len({one["id"] for one in watch.check(H(38)).of("missing_job")}) == 1


def test_12_a_missing_table_short_of_all_is_like_a_missing_export(watch: Watch) -> None:
    past = Past((Spell(H(8), H(12), "lacking", NAMES[1:25]),), tables=25, scale=0.02)
    live(watch, past, 8, 18)
    assert [kind for kind, _ in watch.kinds] == ["opened", "resolved"]
    assert {(notice["severity"], notice["rule"]) for notice in watch.notices} == {("page", "missing_table")}
    assert "Nothing is lost if an export comes by" in watch.texts[0]
    assert "RETIRED" not in watch.texts[0].upper()


def test_13_a_change_of_the_schema_is_never_resolved_and_names_first_what_was_removed(watch: Watch) -> None:
    known = {**Past().known, "Added": replace(TABLES[0], name="Added")}
    past = Past((), (SchemaChange(H(8), added=("Added",), removed=(NAMES[2],)),), tables=4, known=known)
    live(watch, past, 8, 16)
    assert watch.kinds == [("opened", "schema_change")]
    assert f"; {NAMES[2]}: table removed in {H(8)}." in watch.texts[0]


def test_13_changes_in_two_hours_running_are_two_incidents_each_notified(watch: Watch) -> None:
    known = {**Past().known, "Added": replace(TABLES[0], name="Added")}
    changes = (SchemaChange(H(8), added=("Added",)), SchemaChange(H(9), removed=("Added",)))
    live(watch, Past((), changes, tables=4, known=known), 8, 16)
    assert [notice["id"] for notice in watch.notices] == [f"schema_change:{H(8)}", f"schema_change:{H(9)}"]
    assert ["table added" in watch.texts[0], "table removed" in watch.texts[1]] == [True, True]
    shown = watch.check(H(16), "--from", str(H(7)), minute=55).of("schema_change")
    assert [(one["hours"], one["state"]) for one in shown] == [(1, "resolved")] * 2


def test_13_a_change_of_the_schema_months_ago_is_found_by_the_first_check(watch: Watch) -> None:
    past = Past((), (SchemaChange(H(10), removed=(NAMES[2],)),), tables=3)
    watch.hours(past, *FIRST.to(H(200)))
    answer = watch.check(H(200))
    assert [(one["hour"], one["state"]) for one in answer.of("schema_change")] == [(str(H(10)), "resolved")]
    assert watch.kinds == [], "it is past"


def test_14_a_rule_or_table_that_is_turned_off_closes_its_incident_and_is_reopened_with_it(watch: Watch) -> None:
    past = Past((Spell(H(8), H(40), "lacking", ("Voyage",)),), tables=3)
    live(watch, past, 8, 11)
    watch.rules("[rules.missing_table]\nenabled = false\n")
    watch.hours(past, H(12))
    off = watch.check(H(12))
    assert (off.code, [one["state"] for one in off.of("missing_table")]) == (0, ["resolved"])
    watch.rules()
    watch.hours(past, H(13))
    assert watch.check(H(13)).code == 1
    watch.patch.setenv("VIPLAKE_OUT_OF_SCOPE", "Voyage")
    watch.hours(past, H(14))
    assert watch.check(H(14)).code == 0
    assert [kind for kind, _ in watch.kinds] == ["opened", "resolved", "reopened", "resolved"]
    assert "turned off" in watch.texts[1]
    assert "lost" not in watch.texts[1].casefold(), "nobody knows"
    assert "(open again)" in watch.texts[2]


# -- 10, 11: a long past, and what is not known ---------------------------------------------------------------------


def test_10_the_first_check_reports_what_is_open_and_counts_what_is_over(watch: Watch) -> None:
    spells = [Spell(H(n), H(n), "failed") for n in range(12, 240, 8)]
    past = Past((*spells, Spell(H(250), H(260), "lacking", ("Voyage",)), Spell(H(257), H(260), "failed")), tables=2)
    watch.hours(past, *FIRST.to(H(260)))
    now = H(260).start + timedelta(minutes=50)
    watch.at(now, "observe", "--quiet")
    printed = watch.at(now, "check")
    assert [str(H(n)) in printed.out for n in (12, 20, 28)] == [True, False, False]
    assert f"{len(spells)} past incidents on record: viplake check --from {H(12)}" in printed.out
    [message] = watch.got
    assert [notice["severity"] for notice in message["notices"]] == ["page", "ticket"]
    assert message["text"].splitlines()[-1] == f"{len(spells)} past incidents on record: viplake check --from {H(12)}."
    listed = watch.at(now, "check", "--json", "--from", str(H(12)))
    assert len(listed.json["incidents"]) == len(spells) + 2


@pytest.mark.parametrize("unknown", [(7, 8, 9), (3, 4, 5), (2, 5, 8), (1, 9)])
def test_11_unknown_hours_are_bad_for_delivered_and_no_data_for_on_time(watch: Watch, unknown: tuple[int, ...]) -> None:
    """Hours that another program left out, at the end of the record and within it."""
    known = [H(n) for n in range(10) if n not in unknown]
    watch.hours(Past(tables=2, ledger=False, receipts=False, promises=False), *known)
    watch.check(known[-1])
    now = H(9).end + timedelta(minutes=5)
    objectives = {one["name"]: one for one in watch.at(now, "check", "--json", "--at", str(H(9))).json["objectives"]}
    for name in ("delivered", "complete"):
        assert (objectives[name]["good"], objectives[name]["bad"]) == (len(known), len(unknown))
    assert (objectives["on_time"]["good"], objectives["on_time"]["bad"], objectives["on_time"]["sli"]) == (0, 0, None)
    assert "too early" in watch.at(now, "check", "--at", str(H(9))).out


@pytest.mark.parametrize(("hours", "is_early"), [(99, True), (100, False)])
def test_11_an_objective_is_too_early_below_a_hundred_hours(watch: Watch, hours: int, *, is_early: bool) -> None:
    watch.remember([facts_of(H(n), {"Voyage": 5000}, delivered=n != 7) for n in range(hours)], volumes=False)
    printed = watch.at(H(hours).start, "check", "--at", str(H(hours - 1)))
    assert ("too early" in printed.out) is is_early


# -- 15: channels -------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_15_an_address_that_fails_and_one_that_is_unknown_neither_repeat_to_nor_silence_the_good_one(
    watch: Watch,
) -> None:
    pytest.importorskip("apprise")

    class Broken(Quiet):
        def do_POST(self) -> None:
            self.send_response(500)
            self.end_headers()

    past = Past((Spell(H(6), H(40), "lacking", ("Voyage",)),), tables=2)
    with serving(Broken) as bad, listening() as (good, heard):
        secret = watch.folder / "secret.json"
        urls = {"BAD": bad.replace("http", "json", 1), "GOOD": good.replace("http", "json", 1), "OLD": "nonsense://x-1"}
        secret.write_text(json.dumps({"Veson_client_id": "a", "Veson_client_secret": "b"} | urls), encoding="utf-8")
        watch.patch.setenv("VIPLAKE_SECRETS", f"file:{secret}")
        watch.rules(notify='[notify]\napprise = ["secret:BAD", "secret:GOOD", "secret:OLD"]\n')
        live(watch, past, 6, 14)
        answer = watch.check(H(14), minute=55)
    assert len(heard) == 1
    assert "No file of Voyage" in heard[0]["message"]
    assert answer.code == 1


# -- 16, 17, 18 -----------------------------------------------------------------------------------------------------


def test_16_the_rules_in_the_lake_judge_it_from_every_folder(watch: Watch) -> None:
    past = Past((Spell(H(6), H(20), "lacking", ("Voyage",)),), tables=3)
    watch.hours(past, *FIRST.to(H(9)))
    watch.rules("[rules.missing_table]\nenabled = false\n")
    assert watch.at(H(9).start, "rules", "push").code == 0
    (watch.folder / "elsewhere").mkdir()
    watch.patch.chdir(watch.folder / "elsewhere")
    assert watch.check(H(9)).of("missing_table") == []
    watch.patch.chdir(watch.folder)
    watch.rules("[rules.missing_table]\nhours = 1\n")
    here = watch.at(H(9).start + timedelta(minutes=55), "check", "--json")
    assert here.of("missing_table") == []
    assert "rules" in here.err
    assert "differ" in here.err
    watch.rules("[rules.missing_tables]\n")
    wrong = watch.at(H(9).start, "rules", "push")
    assert (wrong.code, "Did you mean missing_table" in wrong.err) == (2, True)


@pytest.mark.parametrize("command", [("check",), ("observe",), ("report",), ("slo",), ("ack", "outage:2022-05-02T02")])
def test_17_test_and_prod_never_share_a_history_or_incidents(watch: Watch, command: tuple[str, ...]) -> None:
    history = watch.folder / "history"
    watch.patch.setenv("VIPLAKE_HISTORY", f"file://{history}")
    watch.hours(Past((Spell(H(2), H(3), "failed"),), tables=2), *FIRST.to(H(3)))
    assert watch.check(H(3)).code == 1
    before = {path: path.read_bytes() for path in sorted(history.rglob("*")) if path.is_file()}
    (watch.folder / "other").mkdir()
    watch.patch.setenv("VIPLAKE_LAKE", f"file://{watch.folder}/other")
    watch.patch.setenv("VIPLAKE_ENVIRONMENT", "Test")
    refused = watch.at(H(3).start + timedelta(minutes=55), *command)
    assert refused.code == 2
    assert "belongs to Prod" in refused.err
    assert {path: path.read_bytes() for path in sorted(history.rglob("*")) if path.is_file()} == before


def test_17_an_outage_of_prod_is_no_incident_of_test(watch: Watch) -> None:
    """Each environment has its own lake, its own incidents of the same names, and its own name in messages."""
    outage = Past((Spell(H(6), H(9), "failed"),), tables=2)
    live(watch, outage, 6, 9)
    (watch.folder / "test").mkdir()
    layout = Layout.below("DEV/IMOSDL/Hourly")
    watch.lake = Lake(open_store(StoreSettings(f"file://{watch.folder}/test")), layout)
    watch.patch.setenv("VIPLAKE_LAKE", f"file://{watch.folder}/test")
    watch.patch.setenv("VIPLAKE_ENVIRONMENT", "Test")
    watch.hours(Past(tables=2), *FIRST.to(H(9)), environment=TEST)
    assert watch.check(H(9)).json["incidents"] == []
    for number in range(10, 14):
        watch.hours(Past((Spell(H(10), H(13), "lacking", ("Voyage",)),), tables=2), H(number), environment=TEST)
        answer = watch.check(H(number))
    assert [one["id"] for one in answer.json["incidents"]] == [f"missing_table:{H(10)}"]
    assert [message["environment"] for message in watch.got] == ["Prod", "Test"]
    assert [text.partition(":")[0] for text in watch.texts] == ["Prod", "Test"]


def test_18_a_check_of_an_earlier_hour_speaks_of_that_hour(watch: Watch) -> None:
    spells = (Spell(H(10), H(12), "failed"), Spell(H(20), H(22), "failed"), Spell(H(30), H(40), "lacking", ("Voyage",)))
    past = Past(spells, tables=3)
    watch.hours(past, *FIRST.to(H(35)))
    now = watch.check(H(35))
    assert [one["state"] for one in now.json["incidents"]] == ["resolved", "resolved", "opened"]
    sent = len(watch.notices)
    for at, wanted in (
        (12, [("outage:2022-05-02T10", "ongoing", 3)]),
        (19, [("outage:2022-05-02T10", "resolved", 3)]),
        (21, [("outage:2022-05-02T10", "resolved", 3), ("outage:2022-05-02T20", "ongoing", 2)]),
    ):
        answer = watch.check(H(35), "--at", str(H(at)), minute=58, observe=False)
        found = [(one["id"], one["state"], one["hours"]) for one in answer.json["incidents"]]
        assert found == wanted
        assert all(one["last_hour"] <= str(H(at)) for one in answer.json["incidents"])
        assert answer.code == int(any(state == "ongoing" for _, state, _ in wanted))
    [gap] = [gap for gap in answer.json["coverage"] if gap["lasts"]]
    assert gap["summary"] == "it lasts: 21 h left until something is lost"
    assert len(watch.notices) == sent
    again = watch.check(H(35), minute=59, observe=False).json["incidents"]
    assert [(one["id"], one["hours"]) for one in again] == [(one["id"], one["hours"]) for one in now.json["incidents"]]


def test_18_a_replay_of_years_ago_counts_down_from_the_hour_that_it_checks(watch: Watch) -> None:
    past = Past((Spell(H(8), H(14), "failed"),), tables=2)
    watch.hours(past, *FIRST.to(H(20)))
    years_later = H(4 * 365 * 24).start
    watch.at(years_later, "observe", "--quiet", "--to", str(H(20)))
    watch.at(years_later, "check", "--quiet", "--at", str(H(7)))
    for number in range(8, 13):
        watch.at(years_later, "check", "--quiet", "--at", str(H(number)))
    [text] = watch.texts
    assert "Nothing is lost if an export comes by 2022-05-03 07:00 UTC (20 h left)" in text
