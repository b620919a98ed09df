"""`viplake init` and `viplake completion`: what they write is true, and nothing of the user's is overwritten."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from viplake import cli, config
from viplake.config.template import template
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.store import StoreSettings, open_store
from viplake.model import PROD, Hour
from viplake.simulator.history import Past, generate

if TYPE_CHECKING:
    from pathlib import Path


def test_the_file_of_init_loads_and_decides_nothing_but_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "viplake.toml"
    assert cli.execute(["init", "--file", str(file)]) == 0
    for profile, environment in ((None, "Test"), ("test", "Test"), ("prod", "Prod")):
        loaded = config.load(environ={}, config_file=file, profile=profile)
        by_hand = config.load(environ={"VIPLAKE_ENVIRONMENT": environment}, cwd=tmp_path / "nowhere")
        for name in (s.name for s in config.SETTINGS if s.name != "prefix"):
            assert getattr(loaded, name) == getattr(by_hand, name), name
        assert loaded.layout == by_hand.layout


def test_every_setting_is_in_it_and_loads_when_uncommented(tmp_path: Path) -> None:
    file = tmp_path / "viplake.toml"
    file.write_text(re.sub(r"(?m)^# (?=[a-z_]+ = )", "", template()))
    document = tomllib.loads(file.read_text())
    profiles = document.pop("profiles")
    assert document.pop("default_profile") == "test"
    for name, environment in (("test", "Test"), ("prod", "Prod")):
        assert {*document, *profiles[name]} == {setting.name for setting in config.SETTINGS}
        loaded = config.load(environ={}, config_file=file, profile=name)
        assert loaded.environment.name == environment
        assert loaded.layout == config.load(environ={"VIPLAKE_ENVIRONMENT": environment}, cwd=tmp_path / "x").layout
        for setting in config.SETTINGS:
            if setting.default is not None:
                assert getattr(loaded, setting.name) == setting.parse(setting.default), setting.name


def test_every_setting_is_explained_in_it() -> None:
    flat = re.sub(r"\n# ", " ", template())
    for setting in config.SETTINGS:
        assert f"{setting.variable}: {setting.meaning}" in flat


def test_init_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "viplake.toml"
    file.write_text("# mine\n")
    assert cli.execute(["init", "--file", str(file)]) == 2
    assert file.read_text() == "# mine\n"
    assert "it was not changed" in capsys.readouterr().err


def test_init_prints_the_next_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["init", "--file", str(tmp_path / "other.toml")]) == 0
    out = capsys.readouterr().out
    assert f"viplake doctor --config {tmp_path / 'other.toml'}" in out
    assert "VIPLAKE_CLIENT_SECRET" in out


def test_init_where_nothing_can_be_written_is_a_clear_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["init", "--file", "/nonexistent/viplake.toml"]) == 2
    assert "No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.system
def test_completion_is_a_script_that_its_shell_reads(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["completion", shell]) == 0
    script = capsys.readouterr().out
    for command in ("run", "tick", "verify", "init"):
        assert command in script
    if (found := shutil.which(shell)) is not None:
        subprocess.run([found, "-n"], input=script, text=True, check=True, timeout=20)


@pytest.fixture
def completing(tmp_path: Path) -> dict[str, str]:
    """A folder with a lake of two Hours, two profiles and a program `viplake`; the environment of shells there."""
    hours = Hour.parse("2022-05-10T12").to(Hour.parse("2022-05-10T13"))
    lake = Lake(open_store(StoreSettings(f"file://{tmp_path}/lake", create=True)), Layout(PROD.prefix))
    asyncio.run(generate(lake, hours, Past(tables=2), environment=PROD))
    (tmp_path / "viplake.toml").write_text('[profiles.staging]\n[profiles.prod]\nenvironment = "Prod"\n')
    program = tmp_path / "bin" / "viplake"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m viplake "$@"\n')
    program.chmod(0o755)
    lake_of = {"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": f"file://{tmp_path}/lake"}
    return {**os.environ, **lake_of, "PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}


def completion_script(shell: str) -> str:
    command = [sys.executable, "-m", "viplake", "completion", shell]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


@pytest.mark.system
def test_bash_completes_profiles_and_the_hours_and_tables_of_the_lake(
    tmp_path: Path, completing: dict[str, str]
) -> None:
    (tmp_path / "complete").write_text(completion_script("bash"))

    def completed(*words: str) -> list[str]:
        quoted = " ".join(map(shlex.quote, words))
        code = (
            "source ./complete;"
            f" COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _viplake_values; echo ${{COMPREPLY[@]}}"
        )
        bash = ["bash", "-c", code]
        done = subprocess.run(bash, env=completing, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert completed("viplake", "status", "--profile", "") == ["prod", "staging"]
    assert completed("viplake", "status", "--at", "2022") == ["2022-05-10T13", "2022-05-10T12"]
    assert completed("viplake", "tables", "--table", "Voyage_") == ["Voyage_Itinerary"]
    assert "status" in completed("viplake", "sta")


@pytest.mark.system
@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_commands_profiles_hours_and_tables(tmp_path: Path, completing: dict[str, str]) -> None:
    folder = tmp_path / ".config" / "fish" / "completions"
    folder.mkdir(parents=True)
    (folder / "viplake.fish").write_text(completion_script("fish"))

    def completed(line: str) -> list[str]:
        fish = ["fish", "-c", f"complete -C {shlex.quote(line)}"]
        done = subprocess.run(fish, env=completing, cwd=tmp_path, capture_output=True, text=True, check=True)
        return [found.partition("\t")[0] for found in done.stdout.splitlines()]

    assert completed("viplake status --profile ") == ["prod", "staging"]
    assert completed("viplake status --at 2022") == ["2022-05-10T12", "2022-05-10T13"]
    assert completed("viplake load --table Voyage_") == ["Voyage_Itinerary"]
    assert completed("viplake sta") == ["status"]


@pytest.mark.system
@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
@pytest.mark.parametrize("sourced", [False, True], ids=["fpath", "source"])
def test_zsh_completes_commands_profiles_hours_and_tables(
    tmp_path: Path, completing: dict[str, str], *, sourced: bool
) -> None:
    folder = tmp_path / "functions"
    folder.mkdir()
    (folder / ("script" if sourced else "_viplake")).write_text(completion_script("zsh"))
    load = "source functions/script" if sourced else ":"
    (tmp_path / ".zshrc").write_text(
        f"PS1='% '; fpath=($PWD/functions $fpath); autoload -Uz compinit; compinit -u -D; {load}\n"
        "bindkey '^I' complete-word; zmodload zsh/complist; zstyle ':completion:*' menu no\n"
        "show() { print -r -- \"=$BUFFER=\" }; zle -N show; bindkey '^X' show\n"
    )

    def completed(line: str) -> str:
        """Type a line and Tab at a terminal; return the line that zsh then has."""
        terminal, theirs = pty.openpty()
        environ = {**completing, "ZDOTDIR": str(tmp_path), "TERM": "xterm"}
        zsh = subprocess.Popen(
            ["zsh", "-i"], env=environ, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        os.write(terminal, f"{line}\t\x18".encode())  # typed ahead: zsh reads it once it is ready
        sent = b""
        try:
            while not (found := re.search(rb"=(viplake [^=]*)=", sent)):
                assert select.select([terminal], [], [], 60)[0], sent
                sent += os.read(terminal, 65536)
        finally:
            zsh.kill()
            zsh.wait()
            os.close(terminal)
        return found[1].decode()

    assert completed("viplake stat") == "viplake status "
    assert completed("viplake status --profile st") == "viplake status --profile staging "
    assert completed("viplake status --at 2022") == "viplake status --at 2022-05-10T1"
    assert completed("viplake load --table Voyage_") == "viplake load --table Voyage_Itinerary "


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_asks_for_the_values_of_an_option(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["completion", shell]) == 0
    script = capsys.readouterr().out
    for option, kind in (("profile", "profile"), ("since", "hour")):
        [*lines] = (line for line in script.splitlines() if re.search(rf"--{option}\[|-l {option} -r", line))
        assert lines
        wanted = f":_viplake_{kind}'" if shell == "zsh" else f"-a '(viplake completion fish --values {kind} "
        assert all(wanted in line for line in lines)


def test_completion_of_values_is_empty_where_there_is_no_lake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIPLAKE_LAKE", raising=False)
    for kind in ("profile", "hour", "table"):
        assert cli.execute(["completion", "bash", "--values", kind]) == 0
    assert capsys.readouterr().out.strip() == ""


def test_init_writes_the_values_of_its_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "viplake.toml"
    options = [
        "--company",
        "ACME",
        "--lake",
        str(tmp_path / "lake"),
        "--environment",
        "Prod",
        "--secrets",
        "aws-sm:vip",
    ]
    assert cli.execute(["init", "--file", str(file), *options]) == 0
    loaded = config.load(environ={}, config_file=file)
    assert (loaded.environment.name, loaded.company, loaded.secrets) == ("Prod", "ACME", "aws-sm:vip")
    assert loaded.lake == (tmp_path / "lake").as_uri()
    shown = capsys.readouterr().out
    assert "1. viplake doctor" in shown  # nothing else is open
    assert config.load(environ={}, config_file=file, profile="test").lake is None


def test_init_refuses_a_value_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["init", "--file", str(tmp_path / "x.toml"), "--lake", "ftp://host"]) == 2
    assert "lake is neither s3://" in capsys.readouterr().err
    assert not (tmp_path / "x.toml").exists()


def test_tables_that_init_comments_out_are_accepted_when_they_are_commented_in(tmp_path: Path) -> None:
    file = tmp_path / "viplake.toml"
    head, rest = template().split("# -- data-quality rules", 1)
    file.write_text(head + "# " + re.sub(r"(?m)^# ( +[a-z]|\[)", r"\1", rest))
    loaded = config.load(environ={}, config_file=file)
    checked = config.check_settings(loaded)
    assert {"rules", "calendar", "objectives", "notify"} <= tomllib.loads(file.read_text()).keys()
    assert checked.notify.sns_topic is not None


@pytest.mark.system
def test_init_asks_at_a_terminal_and_asks_again_where_an_answer_is_wrong(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "viplake", "init"]
    process = subprocess.Popen(command, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, b"prod\nProd\nACME\n./lake\n\n")
    sent = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(ours, 1 << 16):
            sent += chunk
    assert process.wait(60) == 0, sent.decode()
    os.close(ours)
    loaded = config.load(environ={}, cwd=tmp_path)
    assert (loaded.environment.name, loaded.company, loaded.lake) == ("Prod", "ACME", (tmp_path / "lake").as_uri())
