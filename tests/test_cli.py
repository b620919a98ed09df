"""The table of commands: it names modules, imports none of them, and says what they say."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from viplake.cli import COMMANDS, load

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
