"""The first words where Hours were judged: what is open, what is lost when, the objectives; never well unseen."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import pytest

from history.lakes import LAYOUT, At, memory
from viplake.history.build import HistoryLocation, ObserveSettings, observe, read_history
from viplake.history.rows import Datasets
from viplake.judge.calendar import Calendar, Planned
from viplake.judge.check import CheckTarget, acknowledge, check, preview
from viplake.judge.evaluate import CheckSettings, Evidence, decide
from viplake.judge.incidents import fold
from viplake.judge.notices import advice, notice_words
from viplake.lake import Lake
from viplake.model import PROD, Hour
from viplake.report import quality_figures, quality_tables
from viplake.report.page import compose
from viplake.report.quality import QualityState, quality_state
from viplake.report.verdict import verdict
from viplake.simulator.history import Past, Spell, generate

if TYPE_CHECKING:
    from viplake.lake.store import Store
    from viplake.report.verdict import Assessment

FIRST = Hour.parse("2022-05-09T00")
OBSERVING = ObserveSettings()
HOLE = Spell(FIRST.shift(5), FIRST.shift(8), "planned")
PLANNED = CheckSettings(calendar=Calendar((Planned("hole", HOLE.first, HOLE.last, "agreed"),)))


async def lake_of(hours: int, *spells: Spell) -> tuple[Store, At, CheckTarget]:
    """So many Hours, observed in the last minutes of the last one."""
    store = memory()
    past = Past((HOLE, *spells), tables=4)
    await generate(Lake(store, LAYOUT), FIRST.to(FIRST.shift(hours - 1)), past, environment=PROD)
    clock = At(FIRST.shift(hours - 1).start + timedelta(minutes=50))
    lake = CheckTarget(Lake(store, LAYOUT, "memory://"), HistoryLocation.within(Lake(store, LAYOUT)), "Prod")
    await observe(Lake(store, LAYOUT), lake.place, clock, OBSERVING)
    return store, clock, lake


async def judged_in(lake: CheckTarget, clock: At) -> tuple[QualityState, Datasets]:
    frames = (await read_history(lake.place)).frames
    seen = await preview(lake, PLANNED, OBSERVING, now=clock.now())
    state = quality_state(seen.records, seen.incidents.values(), seen.checked, PLANNED, now=clock.now())
    return state, Datasets.of(frames)


async def told_in(lake: CheckTarget, clock: At) -> Assessment:
    return verdict(*await judged_in(lake, clock), grace=OBSERVING.grace)


async def test_a_healthy_history_is_reported_as_such_and_a_planned_gap_costs_nothing() -> None:
    _, clock, lake = await lake_of(30)
    await check(lake, clock, PLANNED, OBSERVING)
    told = await told_in(lake, clock)
    assert told.level == "well"
    assert told.headline == "No incident is open; no objective can be judged yet."
    assert told.points[0].what == ("Objective delivered: too early: 26 Hours of the 100 that are needed, 0 bad Hours.")


async def test_without_a_check_the_page_evaluates_the_rules_and_states_that_nothing_was_sent() -> None:
    store, clock, lake = await lake_of(30)
    told = await told_in(lake, clock)
    assert (told.level, told.headline) == ("attention", "No incident is open; no objective can be judged yet.")
    [warning] = [point for point in told.points if point.level == "attention"]
    assert warning.what.startswith("No check has run on this history.")
    before = await store.files("")
    page = await compose(lake, title="Prod", now=clock.now(), settings=PLANNED, observing=OBSERVING)
    assert "No check has run on this history." in page
    assert await store.files("") == before


async def test_hours_since_the_last_check_are_judged_by_the_page() -> None:
    store, clock, lake = await lake_of(30)
    await check(lake, clock, PLANNED, OBSERVING)
    spells = (Spell(FIRST.shift(30), FIRST.shift(32), "failed"),)
    await generate(Lake(store, LAYOUT), FIRST.shift(30).to(FIRST.shift(32)), Past(spells, tables=4), environment=PROD)
    clock.moment += timedelta(hours=3)
    await observe(Lake(store, LAYOUT), lake.place, clock, OBSERVING)
    told = await told_in(lake, clock)
    assert told.level == "trouble"
    assert told.points[0].since == FIRST.shift(30)
    [warning] = [point for point in told.points if point.what.startswith("The last check judged")]
    assert warning.what == (
        "The last check judged Hours up to 2022-05-10T05. This page evaluated the 3 Hours since itself; "
        "no notification was sent."
    )


@pytest.mark.parametrize("kind", ["failed", "lacking"])
async def test_report_without_a_check_agrees_with_the_check(kind: Literal["failed", "lacking"]) -> None:
    tables = () if kind == "failed" else ("Voyage",)
    _, clock, lake = await lake_of(40, Spell(FIRST.shift(30), FIRST.shift(32), kind, tables))
    before, _ = await judged_in(lake, clock)
    checked = await check(lake, clock, PLANNED, OBSERVING)
    after, _ = await judged_in(lake, clock)
    for state in (before, after):
        assert [one.rule for one in state.incidents] == [one.rule for one in checked.incidents]
        assert [one.summary for one in state.incidents] == [one.summary for one in checked.incidents]
        assert state.objectives == checked.objectives


@pytest.mark.parametrize("kind", ["failed", "lacking"])
async def test_page_and_notification_advise_the_same_with_the_commands_ready_to_copy(
    kind: Literal["failed", "lacking"],
) -> None:
    tables = () if kind == "failed" else ("Voyage",)
    _, clock, lake = await lake_of(40, Spell(FIRST.shift(36), FIRST.shift(39), kind, tables))
    state, datasets = await judged_in(lake, clock)
    [one] = state.open
    page = verdict(state, datasets, grace=OBSERVING.grace).points[0].advice
    assert page.replace("`", "") == advice(one, clock.now())
    assert advice(one, clock.now()) in notice_words("Prod", one, "opened", clock.now())
    assert re.findall(r"`(.*?)`", page) == [f"viplake evidence --from {one.hour} --to {one.last}"]


async def test_an_acknowledged_incident_is_shown_as_such_in_words_table_and_figure() -> None:
    _, clock, lake = await lake_of(40, Spell(FIRST.shift(36), FIRST.shift(39), "lacking", ("Voyage",)))
    checked = await check(lake, clock, PLANNED, OBSERVING)
    [one] = checked.open
    await acknowledge(lake.place, one.key, FIRST.shift(60), "ticket 123.")
    words = "acknowledged until 2022-05-11T12: ticket 123."
    state, datasets = await judged_in(lake, clock)
    [point, *_] = verdict(state, datasets, grace=OBSERVING.grace).points
    assert point.what.endswith(f"It is {words}")
    [row] = [row for row in quality_tables.incidents(state).column("acknowledged") if row is not None]
    assert row == words
    [bar] = quality_figures.incidents(quality_tables.incidents(state)).data
    assert f"open, {words}" in bar.customdata[0].replace("<br>", " ")
    page = await compose(lake, title="Prod", now=clock.now(), settings=PLANNED, observing=OBSERVING)
    assert f"<td>open, {words}</td>" in page


async def test_a_replication_of_38_and_a_transfer_of_8_minutes_pass_in_report_and_check_alike() -> None:
    _, clock, lake = await lake_of(30)
    state, datasets = await judged_in(lake, clock)
    known = (await preview(lake, PLANNED, OBSERVING, now=clock.now())).records
    last = max(known)
    slow = {**known, last: replace(known[last], seconds=(60.0, 38 * 60.0, 8 * 60.0))}
    judgement = decide(Evidence(slow, clock.now()), (last,), PLANNED)
    incidents = fold({}, judgement.findings, judgement.hours, clock.now())
    assert incidents == {}
    told = verdict(
        quality_state(slow, incidents.values(), last, PLANNED, now=clock.now()), datasets, grace=OBSERVING.grace
    )
    assert (told.level, told.headline) == ("well", "No incident is open; no objective can be judged yet.")
    assert state.incidents == ()


async def test_the_grace_minutes_of_the_settings_decide_when_the_current_hour_counts() -> None:
    _, clock, lake = await lake_of(30)
    clock.moment += timedelta(minutes=30)  # minute 20 of the next Hour
    state, datasets = await judged_in(lake, clock)
    early, late = (verdict(state, datasets, grace=timedelta(minutes=minutes)) for minutes in (10, 30))
    assert "1 Hour since is not on record" in " ".join(point.what for point in early.points)
    assert "since is not on record" not in " ".join(point.what for point in late.points)


@pytest.mark.parametrize(
    ("hours", "level", "words"), [(3, "trouble", "20 h 10 min left"), (23, "trouble", ". 10 min left")]
)
async def test_an_open_outage_is_first_with_its_countdown(hours: int, level: str, words: str) -> None:
    _, clock, lake = await lake_of(30 + hours, Spell(FIRST.shift(30), FIRST.shift(90), "failed"))
    checked = await check(lake, clock, PLANNED, OBSERVING)
    told = await told_in(lake, clock)
    first = told.points[0]
    assert (told.level, first.level, first.since) == (level, level, FIRST.shift(30))
    assert "Page, " in first.what
    assert "owner: vendor" in first.what
    assert f"{words} until records are lost for good" in first.what
    assert first.advice
    objective = next(point.what for point in told.points if "Objective delivered" in point.what)
    assert f"{hours} bad Hours" in objective
    assert told.headline.startswith("1 incident is open"), "the look-back raises the outage, and is no second incident"
    assert sum(point.figure == "incidents" for point in told.points) == len(checked.open)


async def test_graver_incidents_come_first_and_those_that_ended_do_not_come() -> None:
    tables = ("Voyage",)
    _, clock, lake = await lake_of(
        34,
        Spell(FIRST.shift(12), FIRST.shift(12), "failed"),
        Spell(FIRST.shift(20), FIRST.shift(28), "lacking", tables),
        Spell(FIRST.shift(29), FIRST.shift(90), "failed"),
    )
    checked = await check(lake, clock, PLANNED, OBSERVING)
    told = await told_in(lake, clock)
    shown = [point.since for point in told.points if point.figure == "incidents"]
    assert FIRST.shift(12) not in shown
    assert len(shown) == len(checked.open)
    assert [point.level for point in told.points][: len(shown)] == sorted(
        (point.level for point in told.points[: len(shown)]), key=["trouble", "attention"].index
    )


async def test_it_has_the_numbers_of_the_check_and_writes_nothing() -> None:
    store, clock, lake = await lake_of(40, Spell(FIRST.shift(30), FIRST.shift(32), "failed"))
    checked = await check(lake, clock, PLANNED, OBSERVING)
    before = await store.files(lake.place.versions.removesuffix("history/"))
    judged, _ = await judged_in(lake, clock)
    assert judged.objectives == checked.objectives
    assert [one.to_json(clock.now()) for one in judged.incidents] == checked.to_json()["incidents"]
    assert judged.gaps == checked.gaps
    assert await store.files(lake.place.versions.removesuffix("history/")) == before
    assert [(day.last, day.planned, dict(day.spent)) for day in judged.days] == [
        (FIRST.shift(23), 4, {}),
        (FIRST.shift(39), 0, {"vendor": 3}),
    ]
    assert judged.days[-1].states == checked.objectives


async def test_an_empty_history_is_reported_as_such() -> None:
    _, clock, _ = await lake_of(1)
    nothing = quality_state({}, (), None, CheckSettings(), now=clock.now())
    assert (nothing.objectives, nothing.days, nothing.incidents) == ((), (), ())
    assert verdict(nothing, Datasets(), grace=OBSERVING.grace).headline == "There is no history yet."
