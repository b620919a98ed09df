"""The table of commands: it names modules, imports none of them, and says what they say."""

from __future__ import annotations

import ast
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from commands import Commands, environ_for, simulated
from viplake.cli import COMMANDS, app, execute, load
from viplake.commands.console import fitting
from viplake.simulator import ExportShape

pytestmark = pytest.mark.system

NAMES = {name: line for commands in COMMANDS.values() for name, line in commands.items()}


@pytest.mark.parametrize("name", NAMES)
def test_line_in_the_table_is_the_first_sentence_of_the_commands_help(name: str) -> None:
    assert " ".join(load(name).help.partition("\n\n")[0].split()) == NAMES[name]


def test_help_imports_no_command_and_nothing_heavy() -> None:
    code = (
        "import sys; from viplake.cli import execute; execute(['--help']);"
        "print([name for name in sys.modules if name.startswith('viplake.')"
        " or name in {'asyncio', 'aiohttp', 'boto3', 'duckdb', 'obstore', 'structlog'}], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = ["viplake.cli", "viplake.commands", "viplake.commands.process", "viplake.redact", "viplake.errors"]
    assert sorted(ast.literal_eval(done.stderr)) == sorted(ours)


HTTP_CLIENTS = {"aiohttp", "boto3", "httpx", "pyreqwest", "requests", "urllib3"}


def test_commands_that_look_at_a_folder_lake_import_no_http_client(tmp_path: Path) -> None:
    with simulated(export=ExportShape(files=5), replication_seconds=0) as vendor:
        landed = Commands(environ_for(vendor, f"file://{tmp_path / 'lake'}"), tmp_path)
        assert landed.run("run", "--only-deliver").code == 0
    code = (
        "import sys; from viplake.cli import execute; code = execute(sys.argv[1:]);"
        "print([name for name in sys.modules if '.' not in name], file=sys.stderr); sys.exit(code)"
    )
    for line in ("observe", "check", "status", "slo", "report --out report.html"):
        done = landed.run_as(sys.executable, "-c", code, *line.split())
        assert done.code in {0, 1}, done
        loaded = set(ast.literal_eval(done.err.strip().splitlines()[-1]))
        assert loaded & HTTP_CLIENTS == set(), line
        assert line == "observe" or "duckdb" not in loaded, f"{line}: only observe writes Parquet"


@pytest.mark.parametrize("name", NAMES)
def test_help_has_an_example_that_parses_and_names_its_page(name: str) -> None:
    [example] = re.findall(r"Example: viplake (.*)", load(name).help)
    command, _, _ = app.parse_args(shlex.split(example), exit_on_error=False, print_error=False)
    assert command.__module__ == f"viplake.commands.{name}"
    [page] = re.findall(r"See (docs/\w+\.md)\.", load(name).help)
    if (root := Path(__file__).parents[1] / "docs").exists():
        assert (root.parent / page).exists()


def test_wrong_option_points_to_the_help_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["check", "--att", "2022-05-10T13"]) == 2
    assert "next   viplake check --help; for example: viplake check --at" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (("status", "foo"), "unexpected argument: foo"),
        (("status", "--at"), "--at requires an argument."),
        (("status", "--last", "x"), 'Invalid value for --last: "x" is not a whole number.'),
        (("stats",), 'Unknown command "stats". Did you mean "status"?'),
    ],
)
def test_wrong_command_line_is_reported_in_plain_words(
    tokens: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(tokens) == 2
    assert f"viplake: {words}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "before", [["--profile", "x"], ["--profile=x"], ["--quiet", "--profile", "x"], ["--debug", "--profile", "x"]]
)
def test_options_before_the_command_count_as_its_own(before: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert execute([*before, "status", "--environment", "Prod"]) == 2
    assert "was requested (--profile)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--from", "2022-05-10T13", "--to", "2022-05-10T12"], "--to 2022-05-10T12 is before the first Hour"),
        (["--at", "2022-05-10T13", "--to", "2022-05-10T12"], "--at and --to exclude each other"),
        (["--from", "2022-05-10T13", "--since", "2022-05-10T12"], "--from and --since exclude each other"),
        (["--last", "3", "--from", "2022-05-10T13"], "--last and --from exclude each other"),
        (["--last", "0"], "--last must be at least 1"),
        (["--at", "yesterday"], "yesterday"),
    ],
)
@pytest.mark.parametrize("command", ["status", "verify", "observe", "check", "content", "query", "evidence", "slo"])
def test_every_command_that_takes_hours_refuses_the_same_ranges(
    command: str, options: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sql = ["select 1"] if command == "query" else []
    lake = ["--environment", "Prod", "--lake", tmp_path.as_uri()]
    assert execute([command, *sql, *options, *lake]) == 2
    assert message in capsys.readouterr().err


def test_version_names_python_and_the_main_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["--version"]) == 0
    shown = capsys.readouterr().out
    assert re.match(r"\d+\.\d+\.\d+\nPython 3", shown)
    assert "duckdb" in shown


@pytest.mark.parametrize(
    ("widths", "screen", "shown"),
    [
        ([13, 9, 5, 7], 80, {0: 13, 1: 9, 2: 5, 3: 7}),
        ([13, 9, 5, 7], 35, {0: 13, 1: 9, 2: 5}),  # the last one is left out: with it they need 45
        ([13, 40, 40], 60, {0: 13, 1: 19, 2: 20}),  # the wide ones are cut before one is left out
        ([13, 40, 40], 30, {0: 12, 1: 13}),
        ([50], 10, {0: 12}),
    ],
)
def test_narrow_terminal_cuts_wide_columns_before_it_leaves_one_out(
    widths: list[int], screen: int, shown: dict[int, int]
) -> None:
    assert fitting(widths, screen, drop=range(len(widths) - 1, 0, -1)) == shown


def test_simulator_on_a_busy_port_names_another_one(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        assert execute(["simulate", "--port", str(port)]) == 2
    assert f"--port {port + 1}" in capsys.readouterr().err
