"""I/O. Writes the pages of docs/ that are made: causes, settings, commands, faults; and what was proven.

python tools/docs.py            writes the pages
python tools/docs.py --check    says whether they are current
"""

from __future__ import annotations

import ast
import io
import json
import re
import sys
import tomllib
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from viplake import errors
from viplake.cli import app, load
from viplake.config import SETTINGS
from viplake.errors import CAUSES

DOCS: Final = Path(__file__).parents[1] / "docs"
TESTS: Final = Path(__file__).parents[1] / "tests"
FAULT: Final = re.compile(r"[A-Z]\d+")
PROOF: Final = DOCS / "dev" / "proof"
WIDTH: Final = 100
MADE: Final = "This page is made from the code by `tools/docs.py`.\n"

MEANINGS: Final = {
    errors.OK: "done: delivered, or all checks passed",
    errors.CHECKS_FAILED: "a check failed, or the delivery is incomplete",
    errors.USAGE: "usage or settings; nothing was sent or written",
    errors.UNAVAILABLE: "the vendor refused or failed, or it cannot be reached",
    errors.UNEXPECTED: "unexpected: a defect",
    errors.LAKE_FAILED: "the lake cannot be read or written",
    errors.WAITING: "waiting, not due, or another viplake is at it: run it again later",
    errors.CREDENTIALS: "credentials",
}
"""Exit code -> what it says. `causes_page` fails where a cause ends with another."""

OWNERS: Final = {
    "vendor": "open a ticket at Veson",
    "aws": "the owner of the AWS account",
    "network": "the owner of the network, the proxy and the firewall",
    "us": "the operator of viplake",
    None: "no one has to act",
}


def causes_page() -> str:
    """Every cause: what it means and what to do."""
    lines = ["# Causes: what each means, and what to do\n", MADE]
    lines.append(
        "Every failure ends with exactly one cause, in the command's last words, in its JSON (`cause`, `owner`), in the"
        " ledger and in `historical_run_metrics.csv`. *Transient* ones pass by themselves; viplake tries again.\n"
    )
    lines += ["| exit code | meaning | causes |", "|---|---|---|"]
    for code, meaning in MEANINGS.items():
        words = ", ".join(f"[`{word}`](#{word})" for word, cause in CAUSES.items() if cause.exit_code == code)
        lines.append(f"| {code} | {meaning} | {words or 'none'} |")
    for owner, who in OWNERS.items():
        lines.append(f"\n## {f'Owner: {owner}' if owner else 'No owner'}\n\nWho acts: {who}.")
        for word, cause in CAUSES.items():
            if cause.owner == owner:
                code = f"Exit code {cause.exit_code}: {MEANINGS[cause.exit_code]}."
                transient = " Transient." if cause.transient else ""
                lines.append(f"\n### {word}\n\n{cause.meaning}{transient} {code}\n\nNext: {_code(cause.remedy)}")
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """Every setting."""
    lines = ["# Settings\n", MADE]
    lines.append(
        "The first that is given counts: flag, environment variable, profile in `viplake.toml`, top level of"
        " `viplake.toml`, default. An unknown name is an error with a suggestion. In a Glue job each setting is a job"
        " parameter: `--viplake-` and the name with dashes.\n"
    )
    lines += ["| environment | `viplake.toml` | default | meaning |", "|---|---|---|---|"]
    for setting in SETTINGS:
        default = "none" if setting.default is None else f"`{setting.default}`" if setting.default else "empty"
        lines.append(f"| `{setting.variable}` | `{setting.name}` | {default} | {setting.meaning} |")
    lines.append(
        "\nBesides: `VIPLAKE_CLIENT_ID` and `VIPLAKE_CLIENT_SECRET` (the secret, where `VIPLAKE_SECRETS` is `env:`),"
        " `VIPLAKE_CONFIG` (another file than `./viplake.toml`) and `VIPLAKE_PROFILE`. Standard names stay standard:"
        " `AWS_*`, `HTTPS_PROXY`, `NO_PROXY`, `SSL_CERT_FILE`, `SSL_CERT_DIR`, `NO_COLOR`."
    )
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """Every command's help."""
    lines = ["# Commands\n", MADE, _help([])]
    lines += [f"\n## viplake {name}\n\n{_help([name])}" for name in commands()]
    return "\n".join(lines) + "\n"


PROVEN: Final = {
    "faults": "Faults: each one of the catalogue has a test",
    "crashes": "Crashes: the process dies at every call that it makes",
    "kills": "Kills: real processes, SIGKILL at random moments",
    "together": "Together: real processes at one lake, two runs in every order",
    "states": "States: run, observation, check, people and faults in any order",
    "fuzz": "Fuzzing: whatever comes from outside",
    "mutants": "Mutation: would the tests notice?",
    "soak": "Soak: a thousand Hours in a row",
}
"""File in docs/dev/proof -> heading, in the order of the page."""


def proof_page(folder: Path = PROOF) -> str:
    """Every count of docs/dev/proof, with the command that gives it again."""
    lines = ["# Proof: what was tried, and how often\n"]
    lines.append(
        "Each figure was counted by the command above its table, which counts it again and writes"
        " `docs/dev/proof/*.json`; `tools/docs.py` makes this page of them. A count of a session of tests"
        " is written only where every one of them passed.\n"
    )
    records = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    for name in sorted(records, key=lambda name: ([*PROVEN, name].index(name), name)):
        lines += _proven(PROVEN.get(name, name), records[name])
    return "\n".join(lines) + "\n"


def _proven(title: str, record: dict[str, Any]) -> list[str]:
    rows = [f"| {one['what']} | {one['figure']:,} | {_aim(one)} |" for one in record["figures"]]
    when = f"`{record['command']}`, {record['measured']}; {record['machine']}."
    return [f"## {title}\n", f"{when}\n", "| counted | figure | aim |", "|---|---|---|", *rows, ""]


def _aim(one: dict[str, Any]) -> str:
    least, most = one.get("least"), one.get("most")
    if least is not None and least == most:
        return f"{least:,}"
    words = [f"at {side} {limit:,}" for side, limit in (("least", least), ("most", most)) if limit is not None]
    return ", ".join(words)


def catalogue() -> dict[str, dict[str, list[str]]]:
    """Every fault by its id, below the title of its part: what happens, what viplake does, why it does not apply."""
    parts = tomllib.loads((TESTS / "catalogue.toml").read_text(encoding="utf-8"))
    return {str(part.pop("title")): part for part in parts.values()}


def held_by(folder: Path = TESTS) -> dict[str, list[str]]:
    """The tests that carry each id: in their name, or at the head of the name of one of their cases."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                test = f"{path.relative_to(folder)}::{node.name}"
                for fault in dict.fromkeys(_ids_of(node)):
                    found.setdefault(fault, []).append(test)
    return found


def _ids_of(test: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    found = [word for word in test.name.split("_") if FAULT.fullmatch(word)]
    for decorator in test.decorator_list:
        for node in ast.walk(decorator):
            if isinstance(node, ast.keyword) and node.arg in {"id", "ids"}:
                labels = [one.value for one in ast.walk(node.value) if isinstance(one, ast.Constant)]
                for label in labels:
                    found += takewhile(FAULT.fullmatch, str(label).split())
    return found


def faults_page() -> str:
    """Every fault, what viplake does, and the tests that hold it to that."""
    parts, tests = catalogue(), held_by()
    reasons = {fault: entry[2] for part in parts.values() for fault, entry in part.items() if entry[2:]}
    lines = ["# Faults: what can go wrong, and what viplake does\n", MADE]
    lines.append(
        "Each fault and invariant has tests that carry its id, or a reason why it does not apply. The words are in"
        " `tests/catalogue.toml`; a test fails for an id with neither. Paths are below `tests/`;"
        " `make test ARGS='-k D22'` runs the tests of an id. After all tests, `test_zz_canaries.py` searches for the"
        " suite's secrets in everything that was written. How many there are, and how often each was tried:"
        " [proof.md](proof.md).\n"
    )
    for title, part in parts.items():
        lines += [f"\n## {title}\n", "| id | what happens | what viplake does | tests |", "|---|---|---|---|"]
        for fault, entry in part.items():
            held = "<br>".join(f"`{test}`" for test in tests.get(fault, []))
            does = re.sub(r"\[(\w+)\]", r"[`\1`](../causes.md#\1)", entry[1])
            lines.append(f"| {fault} | {entry[0]} | {does} | {held or f'does not apply: {reasons.get(fault)}'} |")
    return "\n".join(lines) + "\n"


def commands() -> list[str]:
    """The names of all commands, in alphabetical order."""
    return sorted(name for name in app if not name.startswith("-"))


def _help(tokens: list[str]) -> str:
    out = io.StringIO()
    for name in tokens:
        load(name)
    app.help_print(tokens, console=Console(file=out, width=WIDTH, force_terminal=False, color_system=None))
    text = "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())
    return f"```\n{text}\n```"


def _code(remedy: str) -> str:
    """The remedy; a command after "Then:" as code."""
    before, then, command = remedy.partition("viplake collect")
    return f"{before}`{then}{command.rstrip('.')}`." if then and "`" not in remedy else remedy


PAGES: Final = {
    "causes.md": causes_page,
    "settings.md": settings_page,
    "cli.md": cli_page,
    "dev/faults.md": faults_page,
    "dev/proof.md": proof_page,
}


def main(arguments: list[str], folder: Path = DOCS) -> int:
    """Write the pages, or check them."""
    stale = [name for name, page in PAGES.items() if _read(folder / name) != page()]
    if arguments == ["--check"]:
        if stale:
            print(f"not current: {', '.join(stale)}; run python tools/docs.py", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(PAGES[name](), encoding="utf-8")
    return 0


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
