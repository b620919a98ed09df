"""I/O. Write the tables of README.md anew from the code that they describe: `make readme`.

What stands between `<!-- NAME -->` and `<!-- end -->` is made here; a test holds the README to it.
"""

from __future__ import annotations

import re
from pathlib import Path

from viplake import errors
from viplake.cli import app
from viplake.config import SETTINGS

README = Path(__file__).parents[1] / "README.md"

ELSEWHERE = {
    "environment": "must be given",
    "lake": "`s3://` + `AWS_bucket` of the secret",
    "company": "must be given to run",
    "prefix": "`IMOSDL/Hourly/` or `DEV/IMOSDL/Hourly/`",
    "history": "`Observability/` beside `Hourly/`",
}
"""Where a setting that has no default of its own comes from."""

CODES = {
    errors.OK: "done: delivered, or all checks passed",
    errors.CHECKS_FAILED: "a check failed, or the delivery is incomplete",
    errors.USAGE: "usage or settings",
    errors.UNAVAILABLE: "the vendor refused or failed, or cannot be reached",
    errors.UNEXPECTED: "unexpected: a defect",
    errors.LAKE_FAILED: "the lake cannot be read or written",
    errors.WAITING: "waiting, or another viplake is at it: run it again later",
    errors.CREDENTIALS: "credentials",
}


def settings() -> str:
    """Every setting: variable, meaning, default."""
    rows = ["| variable | meaning | default |", "|---|---|---|"]
    for setting in SETTINGS:
        default = (
            ELSEWHERE[setting.name] if setting.default is None else f"`{setting.default}`" if setting.default else ""
        )
        rows.append(f"| `{setting.variable}` | {setting.meaning} | {default or 'empty'} |")
    return "\n".join(rows)


def commands() -> str:
    """Every command and what its help says first."""
    rows = ["| command | does |", "|---|---|"]
    found = [name for name in app if not name.startswith("-")]
    for name in sorted(found, key=lambda name: (app[name].group[0].sort_key, app[name].sort_key)):
        does = " ".join(app[name].help.partition("\n\n")[0].split())
        rows.append(f"| `viplake {name}` | {does} |")
    return "\n".join(rows)


def codes() -> str:
    """Every exit code and the causes that end with it."""
    rows = ["| code | meaning | causes |", "|---|---|---|"]
    for code, meaning in CODES.items():
        causes = ", ".join(f"`{cause.word}`" for cause in errors.CAUSES.values() if cause.exit_code == code)
        rows.append(f"| {code} | {meaning} | {causes} |")
    return "\n".join(rows)


def filled(text: str) -> str:
    """The README with its tables as the code has them now."""
    for name, table in (("settings", settings), ("commands", commands), ("codes", codes)):
        block = f"<!-- {name} -->\n\n{table()}\n\n<!-- end -->"
        text, count = re.subn(rf"<!-- {name} -->.*?<!-- end -->", lambda _, block=block: block, text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"README.md has no place for the table of {name}")
    return text


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
