"""`[environments.NAME]`: further configurations at the vendor, hourly or daily, each with a lake of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from history.lakes import LAYOUT, TABLES, at, export, fill, memory
from viplake import config
from viplake.config.environments import declared_environments
from viplake.errors import SettingsError
from viplake.extract.ledger import Ledger
from viplake.extract.status import status
from viplake.history.build import HistoryLocation, ObserveSettings, observe, read_history
from viplake.history.datasets import JOBS, RUNS
from viplake.judge.check import CheckTarget, check
from viplake.judge.evaluate import CheckSettings
from viplake.judge.notices import notice_words
from viplake.judge.objectives import Graded, Grades, Objective, standing
from viplake.lake import Lake
from viplake.model import PROD, Environment, Hour
from viplake.report.evidence import gather

if TYPE_CHECKING:
    from pathlib import Path

    from viplake.judge.check import Checked

OLD = {"config_name": "trial", "prefix": "POC/Hourly/", "refresh": "daily", "due": 6}


def test_declared_environment_has_its_own_name_prefix_and_due_hour(tmp_path: Path) -> None:
    (tmp_path / "viplake.toml").write_text(
        '[environments.Trial]\nconfig_name = "trial"\nprefix = "POC/Hourly"\nrefresh = "daily"\ndue = 6\n'
    )
    settings = config.load(environ={"VIPLAKE_ENVIRONMENT": "Trial"}, cwd=tmp_path)
    assert settings.environment == Environment("Trial", "trial", "POC/Hourly/", "Prod", 6)
    assert (settings.layout.prefix, settings.environment.vendor_type) == ("POC/Hourly/", "Prod")
    assert config.check_settings(settings).calendar.due == 6
    assert config.load(environ={"VIPLAKE_ENVIRONMENT": "Prod"}, cwd=tmp_path).environment is PROD
    with pytest.raises(SettingsError, match="unknown environment 'trial'") as failure:
        config.load(environ={"VIPLAKE_ENVIRONMENT": "trial"}, cwd=tmp_path)
    assert "Did you mean 'Trial'?" in failure.value.hint


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"PROD": OLD}, "cannot have this name"),
        ({"a b": OLD}, "cannot have this name"),
        ({"Trial": OLD | {"prefix": "IMOSDL/Other"}}, "shares name or root with Prod"),
        ({"A": OLD, "B": OLD | {"prefix": "POC/Other"}}, "shares name or root with A"),
        ({"A": OLD, "a": OLD | {"prefix": "POC2/Hourly"}}, "shares name or root with A"),
        ({"Trial": OLD | {"refesh": "daily"}}, "has the unknown key 'refesh'"),
        ({"Trial": {"prefix": "POC/Hourly"}}, "has no config_name"),
        ({"Trial": OLD | {"due": 24}}, "due of [environments.Trial] in viplake.toml is 24"),
        ({"Trial": OLD | {"refresh": "weekly"}}, "refresh of [environments.Trial] in viplake.toml is 'weekly'"),
        ({"Trial": 3}, "is not a table"),
        ([], "is not made of tables"),
    ],
)
def test_environment_that_cannot_be_is_refused(tables: Any, message: str) -> None:
    with pytest.raises(SettingsError) as failure:
        declared_environments(tables)
    assert message in failure.value.message


def test_hourly_environment_has_no_due_hour() -> None:
    [one] = declared_environments({"Trial": OLD | {"refresh": "hourly"}})
    assert one.due is None


async def test_daily_export_is_expected_in_its_due_hour_alone_and_a_late_one_fulfils_it() -> None:
    first = Hour.parse("2022-05-09T06")
    store = memory()
    await fill(store, export(first))
    await fill(store, export(first.shift(24 + 3)))  # three hours late, before the next due Hour
    lake, observing = Lake(store, LAYOUT), ObserveSettings(due=6)
    place = HistoryLocation.within(lake)
    clock = at("2022-05-10T12:45")
    await observe(lake, place, clock, observing)
    history = await read_history(place)
    expected = {str(hour): row[2] for hour, row in history.rows(JOBS).items()}
    assert [hour for hour, count in expected.items() if count == "1"] == ["2022-05-09T06", "2022-05-10T06"]
    assert len(expected) == 31
    assert history.rows(RUNS)[first.shift(5)][1:4] == ("missed", "", "")
    plain = CheckSettings()
    daily = replace(plain, calendar=replace(plain.calendar, due=6))
    checked = await check(CheckTarget(lake, place, "Trial"), clock, daily, observing)
    assert [one for one in checked.incidents if one.rule in {"missing_job", "never_started"}] == []
    [delivered] = [one for one in checked.objectives if one.objective.name == "delivered"]
    assert (delivered.good, delivered.bad) == (2, 0)


# -- what is said of a daily export -----------------------------------------------------------------------------

DUE = Hour.parse("2022-05-01T06")
DAILY = ObserveSettings(due=6)


async def daily_lake(
    *days: int, late: int | None = None, short: int | None = None
) -> tuple[CheckTarget, CheckSettings]:
    """A lake with the exports of these days: one of them five hours late, one without a table."""
    lake = Lake(memory(), LAYOUT)
    for day in days:
        hour = DUE.shift(24 * day + (5 if day == late else 0))
        await fill(lake.store, export(hour, TABLES[1:] if day == short else TABLES, size=900))
    plain = CheckSettings()
    target = CheckTarget(lake, HistoryLocation.within(lake), "Trial")
    return target, replace(plain, calendar=replace(plain.calendar, due=6))


async def checked_at(target: CheckTarget, settings: CheckSettings, moment: str) -> Checked:
    await observe(target.lake, target.place, at(moment), DAILY)
    return await check(target, at(moment), settings, DAILY)


@pytest.mark.parametrize("moment", ["2022-05-05T23:50", "2022-05-06T01:50", "2022-05-06T05:50"])
async def test_the_night_before_a_daily_export_is_due_raises_nothing(moment: str) -> None:
    target, settings = await daily_lake(0, 1, 2, 3, 4, late=3)
    assert (await checked_at(target, settings, moment)).incidents == ()


async def test_an_outage_of_a_daily_export_is_counted_in_days_and_ends_with_the_next_export() -> None:
    target, settings = await daily_lake(*range(10), 12)
    first = await checked_at(target, settings, "2022-05-11T07:50")
    [one] = first.open
    assert (one.hour, one.severity, one.summary) == (DUE.shift(240), "ticket", "2022-05-11T06 delivered no export")
    assert (await checked_at(target, settings, "2022-05-12T03:50")).open[0].severity == "page"
    later = await checked_at(target, settings, "2022-05-12T07:50")
    [one] = later.open
    assert one.summary == "no export since 2022-05-11 06:00 UTC (2 days)"
    assert one.hours == 2
    words = notice_words("Trial", one, "reminder", at("2022-05-12T07:50").now())
    assert "Records from about 2022-05-10 06:00 UTC" in words
    assert "Hours" not in words
    over = await checked_at(target, settings, "2022-05-13T07:50")
    [one] = over.incidents
    assert not one.open
    assert one.summary == "no export from 2022-05-11 06:00 UTC to 2022-05-13 06:00 UTC (2 days)"
    words = notice_words("Trial", one, "resolved", at("2022-05-13T07:50").now())
    assert "it lasted 2 days" in words
    assert "Records from about 2022-05-10 06:00 UTC to 2022-05-12 06:00 UTC are in no delivered Hour" in words


async def test_a_table_that_a_daily_export_lacks_is_counted_in_days() -> None:
    target, settings = await daily_lake(*range(12), short=10)
    await checked_at(target, settings, "2022-05-10T07:50")
    [one] = (await checked_at(target, settings, "2022-05-11T07:50")).open
    assert (one.tables, one.spans) == ((TABLES[0],), ((DUE.shift(240), DUE.shift(240)),))
    [one] = (await checked_at(target, settings, "2022-05-12T07:50")).incidents
    assert not one.open


async def test_evidence_and_status_of_a_daily_lake_name_only_hours_in_which_an_export_was_due() -> None:
    target, settings = await daily_lake(0, 1, 2, 4, late=2)
    clock = at("2022-05-05T08:50")
    await checked_at(target, settings, "2022-05-05T08:50")
    last = Hour.of(clock.now())
    pack = await gather(
        target.lake, target.place, settings, DAILY, first=DUE, last=last, now=clock.now(), environment="Trial"
    )
    assert [one.hour for one in pack.exhibits] == [DUE.shift(72)]
    assert (pack.on_record, pack.planned) == (5, 0)
    [trial] = declared_environments({"Trial": OLD})
    shown = await status(Ledger(target.lake, clock), trial, clock, last=last, hours=4)
    assert [(one.hour.start.hour, one.detail) for one in shown] == [
        (8, "no export is due"),
        (7, "no export is due"),
        (6, "landed by another program"),
        (5, "no export is due"),
    ]


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ((), "in SLA: 100.00% of 99.40%; 0 bad days where 0 are allowed"),
        ((3,), "out of SLA: 90.00% of 99.40%; 1 bad day where 0 are allowed (unknown 1)"),
    ],
)
async def test_objective_of_a_daily_lake_has_a_verdict_in_days_from_the_first_week_on(
    lacking: tuple[int, ...], words: str
) -> None:
    target, settings = await daily_lake(*(day for day in range(10) if day not in lacking))
    early = await checked_at(target, settings, "2022-05-06T08:50")
    [delivered] = [one for one in early.objectives if one.objective.name == "delivered"]
    bad = "1 bad day" if lacking else "0 bad days"
    assert (delivered.met, delivered.words) == (None, f"too early: 6 days of the 7 that are needed, {bad}")
    assert delivered.reason == "too early: fewer than 7 days count"
    checked = await checked_at(target, settings, "2022-05-10T08:50")
    [delivered] = [one for one in checked.objectives if one.objective.name == "delivered"]
    assert (delivered.met, delivered.words) == (not lacking, words)


def test_budget_of_a_daily_lake_is_spent_in_days() -> None:
    hours = {DUE.shift(24 * n): Graded(DUE.shift(24 * n), n != 27) for n in range(28)}
    month = Objective("delivered", 0.9, 28 * 24)
    last = DUE.shift(24 * 27)
    state = standing(
        month, Grades("delivered", hours, lambda hour: hour not in hours), last=last, now=last.end, every=24
    )
    assert (state.good, state.bad, round(state.left, 6)) == (27, 1, 1.8)
    assert state.exhausted == last.end + timedelta(days=1.8 * 7)  # one bad day in the last seven
