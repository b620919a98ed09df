"""I/O. `viplake init`: a first viplake.toml."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from viplake.commands.console import out
from viplake.config.settings import BY_NAME
from viplake.config.sources import Given, value_of
from viplake.config.template import template
from viplake.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping


_QUESTIONS: Final = {
    "environment": "Environment, Prod or Test [Test]",
    "company": "Company code that Veson gave you",
    "lake": "Lake, s3://bucket[/prefix] or a folder",
    "secrets": "Where the secret is, env:, file:/path.json or aws-sm:name [env:]",
}


def command(
    *,
    file: Path = Path("viplake.toml"),
    environment: Literal["Prod", "Test"] | None = None,
    company: str | None = None,
    lake: str | None = None,
    secrets: str | None = None,
) -> int:
    """Write a commented viplake.toml with a Test and a Prod profile; an existing file is left alone.

    At a terminal it asks for environment, company, lake and secret, unless an option gives one of them. An empty answer
    leaves a setting commented out.

    Example: viplake init --company ACME --lake s3://your-bucket

    See docs/operations.md.

    Parameters
    ----------
    file
        Path of the new file.
    environment
        The default profile.
    company
        Company code in the files call.
    lake
        s3://bucket[/prefix], file:///folder or a folder.
    secrets
        env:, file:/path.json or aws-sm:name.
    """
    given = {"environment": environment, "company": company, "lake": lake, "secrets": secrets}
    answers = {name: _checked(name, text) for name, text in given.items() if text is not None}
    if not answers and not file.exists() and sys.stdin.isatty() and sys.stdout.isatty():
        answers = _ask()
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(template(answers))
    except FileExistsError:
        hint = "Edit that one, or write another with --file."
        raise SettingsError(f"{file} exists already; it was not changed", hint=hint) from None
    except OSError as error:
        raise SettingsError(
            f"cannot write {file}: {error.strerror}", hint="Choose another place with --file."
        ) from None
    print_next_steps(file, answers)
    return 0


def _ask() -> dict[str, str]:
    """Prompt for each setting; repeat after a wrong answer."""
    answers: dict[str, str] = {}
    for name, question in _QUESTIONS.items():
        while name not in answers:
            print(f"{question}: ", end="", flush=True)  # noqa: T201 - a question at a terminal
            text = sys.stdin.readline().strip()
            if not text:
                break
            try:
                answers[name] = _checked(name, text)
            except SettingsError as error:
                out(f"  {error.message}. {error.hint}")
    return answers


def _checked(name: str, text: str) -> str:
    """Return the value of a setting as it is written into the file.

    Raises:
        SettingsError: it is wrong.
    """
    value = value_of(BY_NAME[name], Given(text, "init", name))
    return str(value) if name == "lake" else text


def print_next_steps(file: Path, answers: Mapping[str, str]) -> None:
    """Print what to do after `viplake init`: the settings still to fill in, then the next command."""
    named = "" if file == Path("viplake.toml") else f" --config {file}"
    default = answers.get("environment", "Test")
    out(f"Wrote {file}: a Test and a Prod profile, every setting with its meaning; {default} is the default.")
    out("")
    out("Next:")
    steps = []
    if missing := [name for name in ("company", "lake") if name not in answers]:
        steps.append(f"Set {' and '.join(missing)} in {file}.")
    if answers.get("secrets", "env:") == "env:":
        steps.append("Export VIPLAKE_CLIENT_ID and VIPLAKE_CLIENT_SECRET, or set `secrets` in the file.")
    steps.append(f"viplake doctor{named}      checks every leg and gives a fix for each problem; it triggers nothing")
    steps.append(f"viplake run{named}         this Hour, from trigger to proof")
    for number, step in enumerate(steps, start=1):
        out(f"  {number}. {step}")
