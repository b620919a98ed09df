"""I/O. `viplake init`: a first viplake.toml."""

from __future__ import annotations

from pathlib import Path

from viplake.commands.console import out
from viplake.config.template import template
from viplake.errors import SettingsError


def command(*, file: Path = Path("viplake.toml")) -> int:
    """Write a commented viplake.toml with a Test and a Prod profile; an existing file is left alone.

    Example: viplake init

    See docs/operations.md.

    Parameters
    ----------
    file
        What to write.
    """
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(template())
    except FileExistsError:
        hint = "Edit that one, or write another with --file."
        raise SettingsError(f"there is already a {file}; it is left as it is", hint=hint) from None
    except OSError as error:
        raise SettingsError(
            f"cannot write {file}: {error.strerror}", hint="Choose another place with --file."
        ) from None
    print_next_steps(file)
    return 0


def print_next_steps(file: Path) -> None:
    """What to do after `viplake init`."""
    named = "" if file == Path("viplake.toml") else f" --config {file}"
    out(f"Wrote {file}: a Test and a Prod profile, every setting with its meaning; Test is the default.")
    out("")
    out("Next:")
    for number, step in enumerate(
        (
            f"Set company and lake in {file}.",
            "Say where the secret is: export VIPLAKE_CLIENT_ID and VIPLAKE_CLIENT_SECRET, or set `secrets` there.",
            f"viplake doctor{named}      checks every leg and gives a fix for each problem; it triggers nothing",
            f"viplake run{named}         this Hour, from trigger to proof",
        ),
        start=1,
    ):
        out(f"  {number}. {step}")
