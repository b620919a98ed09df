"""`[environments.NAME]`: further configurations at the vendor, hourly or daily, each with a lake of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from history.lakes import LAYOUT, at, export, fill, memory
from viplake import config
from viplake.config.environments import declared_environments
from viplake.errors import SettingsError
from viplake.history.build import HistoryLocation, ObserveSettings, observe, read_history
from viplake.history.datasets import JOBS, RUNS
from viplake.judge.check import CheckTarget, check
from viplake.judge.evaluate import CheckSettings
from viplake.lake import Lake
from viplake.model import PROD, Environment, Hour

if TYPE_CHECKING:
    from pathlib import Path

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
