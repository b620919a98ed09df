"""`viplake rules`, and the commands that use the rules of the lake."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from commands import Commands

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.system


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    (tmp_path / "lake" / "IMOSDL" / "Hourly").mkdir(parents=True)
    lake = f"file://{tmp_path}/lake"
    return Commands({"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": lake, "VIPLAKE_COMPANY": "ACME"}, tmp_path)


def test_pushed_rules_hold_and_a_local_difference_is_a_warning_in_check_and_doctor(
    commands: Commands, tmp_path: Path
) -> None:
    toml = tmp_path / "viplake.toml"
    toml.write_text("[rules.late_job]\nminutes = 40\n")
    pushed = commands.run("rules", "push", "--json")
    assert (pushed.code, json.loads(pushed.out)["version"], json.loads(pushed.out)["pushed"]) == (0, 1, True), pushed
    toml.write_text("[rules.late_job]\nminutes = 50\n")
    printed = commands.run("rules", "show").out.splitlines()
    assert (printed[0], json.loads("\n".join(printed[1:]))["rules"]) == ("version 1", {"late_job": {"minutes": 40}})
    shown = commands.run("rules", "show", "--json")
    assert json.loads(shown.out)["rules"] == {"late_job": {"minutes": 40}}
    assert "[rules] of viplake.toml differ from version 1" in shown.err
    assert "[rules] of viplake.toml differ from version 1" in commands.run("check").err
    checks = {one["name"]: one for one in json.loads(commands.run("doctor", "--json").out)["checks"]}
    assert checks["rules"]["status"] == "warning"


@pytest.mark.parametrize("command", ["run", "tick"])
def test_misspelt_rule_is_refused_before_anything_is_sent(commands: Commands, tmp_path: Path, command: str) -> None:
    (tmp_path / "viplake.toml").write_text("[rules.late_jbo]\nminutes = 40\n")
    done = commands.run(command)
    assert (done.code, "unknown key 'late_jbo'" in done.err, "Did you mean late_job?" in done.err) == (2, True, True)
    doctor = commands.run("doctor", "--json")
    assert doctor.code == 2
    assert json.loads(doctor.out)["checks"][0]["status"] == "failed"
