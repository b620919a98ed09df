"""I/O. The table of commands: name, module and one line of help. Modules are imported when their command runs."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import App, CycloptsError, Group, Parameter, UnusedCliTokensError

from viplake import __version__
from viplake.commands.process import end_with, fail, print_last_words, print_traceback
from viplake.errors import UNEXPECTED, USAGE, NotYet, SettingsError, ViplakeError, describe

if TYPE_CHECKING:
    from collections.abc import Sequence


def versions() -> str:
    """Return the versions of viplake, of Python and of the libraries on which a delivery depends."""
    from importlib import metadata  # noqa: PLC0415 - only --version needs it

    lines = [__version__, f"Python {sys.version.split()[0]}"]
    lines += [f"{name} {metadata.version(name)}" for name in ("aiohttp", "boto3", "duckdb", "obstore")]
    return "\n".join(lines)


app = App(
    name="viplake",
    help="Delivers every hourly export of the Veson IMOS Platform Data Lake into your lake, verified and monitored.",
    help_epilogue="Hours are UTC, as 2022-05-10T13. Start with: viplake demo, then viplake init.",
    version=versions,
    help_format="plaintext",
    result_action="return_value",
)
app["--help"].group = app["--version"].group = Group("About", sort_key=9)

_SET_UP: Final = Group("Set up", sort_key=4)

COMMANDS: Final = {
    Group("Deliver", sort_key=1): {
        "run": "Deliver the current Hour: trigger the export, wait for it, transfer the files, verify them.",
        "tick": "Advance each unfinished Hour of today and yesterday one step, start the current Hour, and exit. For"
        " schedulers.",
        "collect": "Retry a failed or unfinished Hour from its existing export. Sends no trigger.",
    },
    Group("Look", sort_key=2): {
        "status": "Show the outcome of each of the last Hours, and what is open.",
        "verify": "Compare the files in the lake with the manifest and the Receipt again. Default: the newest Hour with"
        " a Receipt.",
        "check": "Evaluate data-quality rules, volume anomalies, coverage and SLOs; update incidents; send"
        " notifications (alerts).",
        "ack": "Acknowledge or mute an incident, with a note. The note is stored in the lake.",
        "slo": "Show by day, week, month and rolling window whether delivery and completeness are in or out of SLA.",
        "rules": "Store [rules], [[calendar]] and [objectives] in the lake, or show the stored ones.",
        "schema": "List schema versions with their date ranges and what changed.",
        "content": "Profile the table files: records, nulls, ranges, and whether they match the schema. For viplake"
        " check.",
        "tables": "Build or update the current and history tables (Delta Lake) from proven Hours, each exactly once.",
        "load": "Load the current tables into PostgreSQL or a DuckDB file: what changed since the last load, in one"
        " transaction.",
        "query": "Run SQL over the current tables, or those of some Hours (default: the newest with a Receipt), and the"
        " datasets.",
    },
    Group("History", sort_key=3): {
        "observe": "Build or update the history: datasets with one row an Hour of what was delivered.",
        "consolidate": "Copy missing Hours (backfill) from another lake into this one; then update the datasets.",
        "adopt": "Write a Receipt for each Hour of another program with files that match its manifest in size.",
        "report": "Write the data-quality report as one HTML file: a verdict, then figures with their tables.",
        "serve": "Serve the report, /healthz and /metrics (Prometheus) over HTTP, on loopback by default.",
        "evidence": "Export SLA evidence for Veson: Hours below the SLA, with job GUIDs, times and API answers, without"
        " secrets.",
        "prune": "Remove old hourly folders from a lake in a local folder. The newest proven Hour of each table stays.",
    },
    _SET_UP: {
        "init": "Write a commented viplake.toml with a Test and a Prod profile; an existing file is left alone.",
        "doctor": "Check what a run needs: settings, secret, proxy, certificates, token, lake, clock. No trigger.",
    },
    Group("Try, without credentials", sort_key=5): {
        "simulate": "Simulate the vendor as an HTTP server, with faults: to try viplake, or to test a pipeline of your"
        " own.",
        "demo": "Try viplake without credentials or network: a simulated vendor delivers several Hours into a folder.",
    },
}
"""Group of the help -> name -> one line of help, in the order of the help.

The command NAME is the function `command` of the module `viplake.commands.NAME`, which parses, calls and prints. Its
docstring begins with the same line.
"""

for _group, _commands in COMMANDS.items():
    for _number, (_name, _help) in enumerate(_commands.items()):
        app.command(f"viplake.commands.{_name}:command", name=_name, help=_help, group=_group, sort_key=_number)


@app.command(group=_SET_UP, sort_key=99)
def completion(
    shell: Literal["bash", "zsh", "fish"],
    *,
    values: Annotated[
        Literal["profile", "hour", "table"] | None, Parameter(help="For the script: print these values.")
    ] = None,
) -> int:
    """Print the shell completion script: commands, options, profiles, Hours and tables.

    bash: put  source <(viplake completion bash)  into ~/.bashrc
    zsh:  put  source <(viplake completion zsh)  into ~/.zshrc, after compinit
    fish: write it to ~/.config/fish/completions/viplake.fish

    Example: viplake completion bash

    See docs/operations.md.

    Parameters
    ----------
    shell
        Which one.
    """
    from viplake.commands.completion import values_of, with_values  # noqa: PLC0415 - as every command

    if values is None:
        print(with_values(app.generate_completion(shell=shell), shell))  # noqa: T201 - the data
    else:
        print("\n".join(values_of(values)))  # noqa: T201 - the data
    return 0


class UsageError(SettingsError):
    """The command line is wrong."""


def load(name: str) -> App:
    """Import a command; its help is then the whole docstring, not the table's line alone."""
    found = app[name]
    found.help = None
    return found


def main(tokens: Sequence[str] | None = None) -> None:
    """Run the console script."""
    end_with(lambda: execute(sys.argv[1:] if tokens is None else tokens))


def dispatch(tokens: Sequence[str]) -> int:
    """Run a command line; return its exit code.

    Raises:
        SettingsError: the command line is wrong.
        ViplakeError: the command failed.
    """
    tokens = _command_first(tokens)
    named = tokens[0] if tokens and any(tokens[0] in commands for commands in COMMANDS.values()) else None
    loaded = None if named is None else load(named)
    try:
        return app(tokens, exit_on_error=False, print_error=False) or 0
    except CycloptsError as error:
        example = re.search(r"Example: (.*)", loaded.help) if loaded else None
        hint = f"viplake {named} --help; for example: {example[1]}" if example else "viplake --help"
        raise UsageError(_usage_words(error), hint=hint) from None


def _usage_words(error: CycloptsError) -> str:
    """Return what is wrong with a command line, in one line."""
    if isinstance(error, UnusedCliTokensError):
        return f"unexpected argument: {' '.join(error.unused_tokens or ())}"
    words = re.sub(r'^Command "[\w-]+" parameter ', "", str(error).strip().partition("\n")[0])
    return re.sub(r'unable to convert ("[^"]*") into int', r"\1 is not a whole number", words)


def _command_first(tokens: Sequence[str]) -> list[str]:
    """Move options before the command behind it, as in `viplake --profile test status`."""
    given = list(tokens)
    for place, token in enumerate(given):
        if any(token in commands for commands in COMMANDS.values()):
            return [token, *given[:place], *given[place + 1 :]]
        if not token.startswith("-") and not (place and given[place - 1].startswith("--")):
            break
    return given


def execute(tokens: Sequence[str]) -> int:
    """Run a command line and print its error; return the exit code."""
    try:
        return dispatch(tokens)
    except UsageError as error:
        print_last_words([f"viplake: {error.message}", f"  next   {error.hint}"])
        return USAGE
    except ViplakeError as error:
        if "--debug" in tokens:
            print_traceback()
        return fail(error)
    except KeyboardInterrupt:
        return fail(NotYet("stopped by a signal", cause="interrupted"))
    except BrokenPipeError:
        sys.stderr.close()  # the reader of the output is gone
        return UNEXPECTED
    except Exception as error:  # noqa: BLE001 - the process's boundary: no traceback, which could hold a secret
        if "--debug" in tokens:
            print_traceback()
        return fail(ViplakeError(describe(error)))
