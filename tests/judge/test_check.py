"""The whole check over lakes: each failure is one incident, notified once, however many checks run."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from faults import Flaky, Tripwire, lake_down
from history.lakes import LAYOUT, TABLES, At, at, export, fill, memory
from viplake.errors import LakeError, SettingsError
from viplake.history.build import HistoryLocation, ObserveSettings, observe
from viplake.judge.check import (
    Checked,
    CheckTarget,
    acknowledge,
    after_delivery,
    check,
    incidents_prefix,
    notify_delivered,
    read_incidents,
)
from viplake.judge.evaluate import CheckSettings
from viplake.lake import Lake
from viplake.model import PROD, Hour
from viplake.notify.message import NotSent
from viplake.simulator.history import Past, SchemaChange, Spell, generate
from viplake.simulator.tables import TABLES as SIMULATED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from viplake.lake.store import Store
    from viplake.notify.message import Audience, Message

FIRST = Hour.parse("2022-05-09T00")
OBSERVING = ObserveSettings()


@dataclass
class Ear:
    """A channel that records messages, or refuses them."""

    name: str = "ear"
    deaf: bool = False
    heard: list[Message] = field(default_factory=list)
    audience: Audience = "programs"

    async def send(self, message: Message) -> None:
        if self.deaf:
            raise NotSent("deaf")
        self.heard.append(message)

    @property
    def notices(self) -> list[tuple[str, str]]:
        return [(notice["notice"], notice["id"]) for message in self.heard for notice in message.body["notices"]]


def lake_of(store: Store) -> CheckTarget:
    return CheckTarget(Lake(store, LAYOUT, "memory://"), HistoryLocation.within(Lake(store, LAYOUT)), "Prod")


async def old_lake(hours: Iterable[Hour], **of: Any) -> Store:
    """A lake as the old script left it."""
    store = memory()
    for hour in hours:
        await fill(store, export(hour, size=99, **of))
    return store


async def observed(store: Store, clock: At) -> CheckTarget:
    lake = lake_of(store)
    await observe(Lake(store, LAYOUT), lake.place, clock, OBSERVING)
    return lake


def told(checked: Checked) -> list[tuple[str, str, str, str, str, str]]:
    return [
        (one.rule, str(one.hour), str(one.last), one.cause, one.owner, one.state(checked.now))
        for one in checked.incidents
    ]


SPELLS = (
    Spell(FIRST.shift(20), FIRST.shift(22), "failed"),
    Spell(FIRST.shift(30), FIRST.shift(31), "missed"),
    Spell(FIRST.shift(40), FIRST.shift(40), "failed", cause="trigger_ack_lost"),
    Spell(FIRST.shift(50), FIRST.shift(50), "late"),
    Spell(FIRST.shift(60), FIRST.shift(62), "lacking", ("Voyage", "Vessel")),
)
PAST = Past(SPELLS, (SchemaChange(FIRST.shift(70), removed=(SIMULATED[9].name,)),), tables=10)


@pytest.fixture(scope="module")
def troubled() -> tuple[Store, At]:
    store = memory()
    asyncio.run(generate(Lake(store, LAYOUT), FIRST.to(FIRST.shift(75)), PAST, environment=PROD))
    return store, At(FIRST.shift(75).start + timedelta(minutes=50))


async def test_each_planted_fault_is_one_incident_with_its_cause_owner_start_and_end(
    troubled: tuple[Store, At],
) -> None:
    store, clock = troubled
    lake = await observed(store, clock)
    ear = Ear()
    checked = await check(lake, clock, CheckSettings(), OBSERVING, notifiers=[ear])
    assert told(checked) == [
        ("missing_job", "2022-05-09T20", "2022-05-09T22", "vendor_job_failed", "vendor", "resolved"),
        ("missing_job", "2022-05-10T06", "2022-05-10T07", "missed", "us", "resolved"),
        ("missing_job", "2022-05-10T16", "2022-05-10T16", "trigger_ack_lost", "vendor", "resolved"),
        ("late_job", "2022-05-11T02", "2022-05-11T02", "slow_phase", "vendor", "resolved"),
        ("slow_phase", "2022-05-11T02", "2022-05-11T02", "slow_replication", "vendor", "resolved"),
        ("missing_table", "2022-05-11T12", "2022-05-11T14", "not_promised", "vendor", "resolved"),
        ("schema_change", "2022-05-11T22", "2022-05-11T22", "as_sent", "vendor", "resolved"),
    ]
    assert checked.well
    assert ear.heard == [], "what is over at the first check is on record, and not notified"
    assert checked.past == 7

    again = await check(lake, clock, CheckSettings(), OBSERVING, notifiers=[ear])
    assert told(again) == [one for one in told(checked) if one[2] >= "2022-05-10T04"]
    assert ear.heard == []
    wanted = {"rule", "hour", "table", "severity", "state", "cause", "owner", "summary"}
    assert all(wanted <= set(one) for one in checked.to_json()["incidents"])
    assert [state["name"] for state in checked.to_json()["objectives"]] == ["delivered", "complete", "on_time"]
    [delivered, *_] = checked.objectives
    assert (delivered.bad, dict(delivered.spent)) == (6, {"vendor": 4, "us": 2})


async def test_a_young_lake_without_history_has_no_missed_hours_before_its_first() -> None:
    store = memory()
    await generate(
        Lake(store, LAYOUT),
        FIRST.to(FIRST.shift(8)),
        Past((Spell(FIRST.shift(2), FIRST.shift(2), "failed"),)),
        environment=PROD,
    )
    clock = At(FIRST.shift(8).start + timedelta(minutes=50))
    checked = await check(lake_of(store), clock, CheckSettings(), OBSERVING)
    assert told(checked) == [
        ("missing_job", str(FIRST.shift(2)), str(FIRST.shift(2)), "vendor_job_failed", "vendor", "resolved")
    ]
    assert checked.hours == 9
    assert {state.good + state.bad for state in checked.objectives} == {9}


HOLE = [Hour.parse("2022-05-10T13").shift(n) for n in range(22)]


async def test_the_diverted_hole_is_unknown_lost_nothing_and_as_a_calendar_entry_raises_nothing() -> None:
    hours = [FIRST.shift(n) for n in range(72)]
    store = await old_lake(hour for hour in hours if hour not in HOLE)
    clock = At(hours[-1].start + timedelta(minutes=50))
    lake = await observed(store, clock)
    checked = await check(lake, clock, CheckSettings(), OBSERVING, notifiers=None)
    assert told(checked) == [("missing_job", "2022-05-10T13", "2022-05-11T10", "unknown", "unknown", "resolved")]
    [gap] = checked.to_json()["coverage"]
    assert (gap["lost"], gap["margin_hours"], gap["summary"]) == (None, 1.0, "nothing lost, margin about 1 h")
    assert "margin of about 1 h" in checked.incidents[0].summary

    planned = CheckSettings.parse({"calendar": [{"kind": "diversion", "from": str(HOLE[0]), "to": str(HOLE[-1])}]})
    ear = Ear()
    excused = await check(lake, clock, planned, OBSERVING, notifiers=[ear], first=FIRST)
    assert [one for one in excused.incidents if not one.healed] == []
    assert excused.objectives[0].planned == 22
    assert excused.objectives[0].sli == 1.0
    assert excused.to_json()["coverage"][0]["planned"] is True
    fresh = await check(
        await observed(await old_lake(h for h in hours if h not in HOLE), clock), clock, planned, OBSERVING
    )
    assert fresh.incidents == ()


@pytest.mark.system
async def test_O2_O3_O8_an_outage_is_opened_escalated_reminded_and_resolved_each_once() -> None:
    store = memory()
    past = Past((Spell(FIRST.shift(3), FIRST.shift(40), "failed"),), tables=4)
    await generate(Lake(store, LAYOUT), FIRST.to(FIRST.shift(2)), past, environment=PROD)
    ear, lake = Ear(), lake_of(store)
    kinds: list[tuple[int, str]] = []
    for n in range(3, 47):
        hour = FIRST.shift(n)
        await generate(Lake(store, LAYOUT), [hour], past, environment=PROD)
        clock = At(hour.start + timedelta(minutes=50))
        await observe(Lake(store, LAYOUT), lake.place, clock, OBSERVING)
        before = len(ear.notices)
        checked = await check(lake, clock, CheckSettings(), OBSERVING, notifiers=[ear])
        kinds += [(n, f"{kind} {key.partition(':')[0]}") for kind, key in ear.notices[before:]]
        assert checked.well == (n == 46), "an outage is over after six good Hours"
    assert kinds == [
        (5, "opened outage"),  # the third Hour
        (20, "escalated outage"),  # less than 6 h until something is lost
        (26, "escalated outage"),  # now it is
        (46, "resolved outage"),
    ]


NOW = CheckSettings.parse({"rules": {"missing_job": {"hours": 1}, "end_after": 1}})
"""Each missed Hour is notified at once, and over with the first good one."""


async def test_two_checks_at_once_send_each_notification_once() -> None:
    clock = At(FIRST.shift(2).start + timedelta(minutes=5))
    lake = await observed(await old_lake([FIRST]), clock)
    ears = [Ear(f"ear{n}") for n in range(6)]
    await asyncio.gather(*(check(lake, clock, NOW, OBSERVING, notifiers=[ear]) for ear in ears))
    assert [notice for ear in ears for notice in ear.notices] == [("opened", "outage:2022-05-09T01")]


async def test_the_first_check_reports_what_is_open_and_counts_what_is_over() -> None:
    clock = At(FIRST.shift(6).start + timedelta(minutes=5))
    ear = Ear()
    lake = await observed(await old_lake([FIRST, FIRST.shift(2), FIRST.shift(3)]), clock)
    checked = await check(lake, clock, NOW, OBSERVING, notifiers=[ear])
    assert ear.notices == [("opened", "outage:2022-05-09T04")]
    assert ear.heard[0].text.endswith("1 past incident on record: viplake check --from 2022-05-09T01.")
    assert checked.past == 1


async def test_O1_a_later_check_retries_a_failed_channel_and_no_other() -> None:
    store = await old_lake([FIRST])
    clock = At(FIRST.shift(2).start + timedelta(minutes=5))
    lake = await observed(store, clock)
    good, bad = Ear("good"), Ear("bad", deaf=True)
    checked = await check(lake, clock, NOW, OBSERVING, notifiers=[good, bad])
    assert checked.sent == {"good": None, "bad": "deaf (3 tries)"}
    bad.deaf = False
    clock.moment += timedelta(minutes=11)
    await check(lake, clock, NOW, OBSERVING, notifiers=[good, bad])
    assert good.notices == bad.notices == [("opened", "outage:2022-05-09T01")]


async def test_an_incident_is_acknowledged_in_the_lake_and_an_unknown_one_is_refused_by_name() -> None:
    clock = At(FIRST.shift(2).start + timedelta(minutes=5))
    lake = await observed(await old_lake([FIRST]), clock)
    await check(lake, clock, NOW, OBSERVING, notifiers=[])
    with pytest.raises(SettingsError) as refused:
        await acknowledge(lake.place, "outage:2022-05-09T02", FIRST.shift(30), "")
    assert "outage:2022-05-09T01" in str(refused.value.hint)
    one = await acknowledge(lake.place, "outage:2022-05-09T01", FIRST.shift(30), "known")
    again = await check(lake, clock, NOW, OBSERVING, notifiers=[])
    [found] = again.to_json()["incidents"]
    assert (found["acknowledged_until"], found["note"]) == (str(FIRST.shift(30)), "known")
    assert one.acknowledged == again.incidents[0].acknowledged


@pytest.mark.parametrize(("after", "changed"), [("INT", False), (None, False), ("bigint", True)])
async def test_a_type_in_other_letters_or_no_type_opens_no_schema_change(after: str | None, *, changed: bool) -> None:
    store = memory()
    for hour, kind in ((FIRST, "int"), (FIRST.shift(1), after)):
        columns = [{"DataObjectName": table, "Columns": [{"Name": "A", "Type": kind}]} for table in TABLES]
        files = export(hour, size=99)
        files[LAYOUT.file(hour, "_MasterTableSchema.json")] = json.dumps(columns).encode()
        await fill(store, files)
    clock = At(FIRST.shift(1).start + timedelta(minutes=50))
    checked = await check(await observed(store, clock), clock, CheckSettings(), OBSERVING)
    assert ("schema_change" in {one.rule for one in checked.incidents}) is changed


async def test_O8_an_hour_that_arrives_late_takes_its_incident_back_with_one_word() -> None:
    store = await old_lake([FIRST, FIRST.shift(1)])
    ear = Ear()
    clock = At(FIRST.shift(3).start + timedelta(minutes=5))
    lake = await observed(store, clock)
    checked = await check(lake, clock, NOW, OBSERVING, notifiers=[ear])
    assert [one.open for one in checked.incidents] == [True]
    await fill(store, export(FIRST.shift(2), size=99))
    clock.moment += timedelta(minutes=10)
    for _ in range(2):
        checked = await check(lake, clock, NOW, OBSERVING, notifiers=[ear])
    assert [(one.healed, one.open) for one in checked.incidents] == [(True, False)]
    assert [kind for kind, _ in ear.notices] == ["opened", "resolved"]


async def test_an_empty_lake_is_no_data_and_not_well() -> None:
    checked = await check(lake_of(memory()), at("2022-05-10T13:50"), CheckSettings(), OBSERVING)
    assert checked.incidents == ()
    assert not checked.well
    assert "viplake observe" in checked.reason


async def test_a_lake_of_one_hour_has_its_breaches_and_no_data_for_volumes() -> None:
    store = await old_lake([FIRST], tables=TABLES[1:])
    clock = At(FIRST.start + timedelta(minutes=50))
    checked = await check(await observed(store, clock), clock, CheckSettings(), OBSERVING)
    assert told(checked) == [("missing_table", "2022-05-09T00", "2022-05-09T00", "unknown", "unknown", "opened")]
    assert any("0 days" in why for why in checked.no_data["volume_job"])


async def test_a_clock_that_jumped_ahead_makes_no_outage_of_unlisted_hours() -> None:
    store = await old_lake(FIRST.shift(n) for n in range(5))
    lake = await observed(store, At(FIRST.shift(4).start + timedelta(minutes=50)))
    far = At(FIRST.shift(24 * 365).start)
    checked = await check(lake, far, CheckSettings(), OBSERVING)
    assert checked.no_data["missing_job"]["the Hour is not on record: run viplake observe"] > 8000
    assert not checked.well, "the last days were looked at, and have nothing"
    back = await check(lake, At(FIRST.shift(3).start), CheckSettings(), OBSERVING)
    assert {one.key for one in checked.incidents} <= set(await read_incidents(lake.place))
    assert back.at == FIRST.shift(3)


async def test_a_check_of_an_earlier_hour_speaks_of_that_hour_and_leaves_later_ones_alone(
    troubled: tuple[Store, At],
) -> None:
    store, clock = troubled
    lake = CheckTarget(Lake(store, LAYOUT), HistoryLocation.elsewhere(store, "at"), "Prod")
    await observe(Lake(store, LAYOUT), lake.place, clock, OBSERVING)
    everything = await check(lake, clock, CheckSettings(), OBSERVING)
    earlier = await check(lake, clock, CheckSettings(), OBSERVING, at=FIRST.shift(25))
    [(*first, _), *_] = told(everything)
    assert told(earlier) == [(*first, "opened")], "after three good Hours it was not over"
    assert set(await read_incidents(lake.place)) == {one.key for one in everything.incidents}


async def test_a_delivered_hour_is_sent_with_its_folder_to_programs_only() -> None:
    store = memory()
    await generate(Lake(store, LAYOUT), [FIRST], Past(tables=3), environment=PROD)
    await fill(store, export(FIRST.shift(1)))
    ear, people = Ear(), Ear("apprise", audience="people")
    clock = at("2022-05-09T01:50")
    await notify_delivered(lake_of(store), clock, OBSERVING, [ear, people], [FIRST, FIRST.shift(1)])
    [message] = ear.heard
    assert message.kind == "delivered"
    assert message.key == "delivered-Prod-20220509-00"
    assert message.body["folder"] == "IMOSDL/Hourly/20220509/00/"
    assert message.body["receipt"] == "IMOSDL/Hourly/20220509/00/_Receipt.json"
    assert message.body["missing_tables"] == []
    assert message.body["files"] > 3
    assert people.heard == [], "only an Hour with a Receipt is told, and people want no message an hour"


async def test_an_error_after_a_delivery_does_not_change_its_outcome() -> None:
    clock = at("2022-05-09T01:50")
    broken = lake_of(Flaky(memory(), Tripwire(at=1, error=lake_down, times=None)))
    assert await after_delivery(broken, clock, CheckSettings(), OBSERVING, notifiers=[Ear()], hours=[FIRST]) is None
    with pytest.raises(LakeError):
        await check(broken, clock, CheckSettings(), OBSERVING)
    store = await old_lake([FIRST])
    lake = lake_of(store)
    await store.put(f"{incidents_prefix(lake.place)}v0000000001.gz", b"torn")
    assert await after_delivery(lake, clock, CheckSettings(), OBSERVING, notifiers=[], hours=[FIRST]) is None
