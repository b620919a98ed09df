"""I/O. What several commands print with: lines, tables, JSON. Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from viplake.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

SHOWN_FINDINGS: Final = 20
"""Findings that are printed one by one; `--json` has all."""


def answer(record: Mapping[str, Any], show: Callable[[], None], *, as_json: bool) -> None:
    """Print the record as one JSON object, or what `show` prints for a person."""
    if as_json:
        print_json(record)
    else:
        show()


def print_json(record: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout, with its `schema_version`."""
    print(json.dumps({"schema_version": 1} | dict(record), indent=2, ensure_ascii=False))  # noqa: T201 - the data


def warn(text: str) -> None:
    """Print a warning on stderr."""
    err(f"viplake: {text}")


def printable(text: str) -> str:
    """The text without anything that moves a terminal's cursor."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


ON_A_PIPE: Final = 100_000
"""Columns of a table that is written to a pipe or a file: no terminal folds it."""


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[int] = (),
    color: bool = True,
    width: int | None = None,
) -> None:
    """Print a table; cells may carry Rich's markup."""
    from rich import box  # noqa: PLC0415 - only tables need it
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        shown.add_column(heading, justify="right" if number in right else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(redact(cell) for cell in row))
    console = Console(
        no_color=not color or None, highlight=False, width=width or (None if sys.stdout.isatty() else 160)
    )
    console.print(shown)


def out(line: str) -> None:
    """Print a line of data on stdout, without secrets and control characters."""
    print(redact(printable(line)))  # noqa: T201 - stdout carries the data


def err(line: str) -> None:
    """Print a line on stderr, likewise."""
    print(redact(printable(line)), file=sys.stderr)  # noqa: T201 - what to do about it
