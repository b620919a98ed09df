"""I/O. How commands print lines, tables and JSON. Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from viplake.clock import SystemClock
from viplake.model import Hour
from viplake.redact import redact
from viplake.wording import seconds_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

SHOWN_FINDINGS: Final = 20
"""Findings that are printed one by one; `--json` has all."""


def answer(record: Mapping[str, Any], show: Callable[[], None], *, as_json: bool) -> None:
    """Print the record as one JSON object, or call `show` to print it for people."""
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
    """Return the text without control characters."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


_UNFOLDED: Final = 100_000
"""Width of a table that is written to a pipe or a file, where no terminal wraps it."""

_NARROWEST: Final = 12
"""Width to which cells are cut before a column of the table is left out."""

_GAP: Final = 3
"""Blanks between two columns of a table."""

_CODES: Final = {"bad": "1;31", "good": "32", "waiting": "33", "dim": "2"}


_colored = False
"""Whether `out` may colour: `use_color` says so."""


def use_color(*, wanted: bool) -> None:
    """Let `out` colour what it prints at a terminal, if `wanted`: NO_COLOR is a setting."""
    global _colored  # noqa: PLW0603 - as the log's configuration, one for the process
    _colored = wanted


_BAR: Final = 20
"""Width of a progress bar in characters."""


@contextmanager
def live_line() -> Iterator[Callable[[str, float], None] | None]:
    """Show one line of progress on stderr at a terminal. Gives None elsewhere.

    What it gives takes the words and the share of the work that is done, 0 to 1; a bar and the remaining time follow.
    """
    if not sys.stderr.isatty():
        yield None
        return
    clock = SystemClock()
    begun = clock.monotonic()
    done_sign, open_sign = "█░" if (sys.stderr.encoding or "").lower().startswith("utf") else "#-"

    def show(words: str, share: float) -> None:
        whole = round(_BAR * share)
        bar = done_sign * whole + open_sign * (_BAR - whole)
        left = f"  {seconds_words((clock.monotonic() - begun) * (1 - share) / share)} left" if 0 < share < 1 else ""
        line = redact(printable(f"{bar} {share:4.0%}  {words}{left}"))[: shutil.get_terminal_size().columns - 1]
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)  # noqa: T201 - progress

    try:
        yield show
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)  # noqa: T201 - as above


@contextmanager
def hour_progress(last: Hour | None = None) -> Iterator[Callable[[Hour], None] | None]:
    """Show progress by Hours on stderr at a terminal. Gives None elsewhere.

    Args:
        last: of the Hours, which come in order; None: the current one.
    """
    with live_line() as line:
        if line is None:
            yield None
            return
        end = last or Hour.of(SystemClock().now())
        first: list[Hour] = []

        def show(hour: Hour) -> None:
            if not first:
                first.append(hour)
            done, whole = (hour.start - first[0].start).total_seconds(), (end.start - first[0].start).total_seconds()
            line(f"{hour} of {end}", done / whole if whole > 0 else 1.0)

        yield show


def screen_width() -> int:
    """Return the width of the terminal that shows stdout; a very large one for a pipe or a file."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _UNFOLDED


def fitting(widths: Sequence[int], screen: int, drop: Iterable[int], fixed: Sequence[int] = ()) -> dict[int, int]:
    """Return the columns that are shown, with their widths.

    Columns of `drop` are left out one by one until the rest fits with `_NARROWEST` each, or its own width where that is
    smaller or the column is `fixed`. Then the widest are cut.
    """
    least = [width if place in fixed else min(width, _NARROWEST) for place, width in enumerate(widths)]
    shown = list(range(len(widths)))

    def room() -> int:
        return screen - _GAP * (len(shown) - 1) - 2

    for place in drop:
        if sum(least[kept] for kept in shown) <= room() or len(shown) == 1:
            break
        shown.remove(place)
    found = {place: widths[place] for place in shown}
    while sum(found.values()) > room() and (wider := [place for place in shown if found[place] > least[place]]):
        found[max(wider, key=found.__getitem__)] -= 1
    return found


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[int] = (),
    drop: Iterable[int] = (),
    fixed: Sequence[int] = (),
    color: bool = True,
) -> int:
    """Print a table, one line a row; cells may carry Rich's markup. Return how many columns found no room.

    Args:
        headings: of the columns.
        rows: the cells.
        right: columns aligned to the right.
        drop: columns that may be left out on a narrow terminal, the least important one first.
        fixed: columns that are never elided.
        color: whether the markup may colour.
    """
    from rich import box  # noqa: PLC0415 - only tables need it
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    cells = [[redact(cell) for cell in row] for row in rows]
    screen = screen_width()
    columns = [[heading, *(row[number] for row in cells)] for number, heading in enumerate(headings)]
    widths = [max(Text.from_markup(cell).cell_len for cell in column) for column in columns]
    shown = fitting(widths, screen, drop, fixed)
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number in shown:
        made.add_column(
            headings[number],
            justify="right" if number in right else "left",
            overflow="ellipsis",
            no_wrap=True,
            width=shown[number],
        )
    for row in cells:
        made.add_row(*(row[number] for number in shown))
    Console(no_color=not color or None, highlight=False, width=screen).print(made)
    return len(headings) - len(shown)


def out(line: str, style: str = "", *, indent: str = "", cut: bool = False) -> None:
    """Print a line of data on stdout, without secrets and control characters.

    Args:
        line: what to print.
        style: a word of `_CODES`, for terminals.
        indent: begins the further lines where a terminal is too narrow for one; without it the terminal folds.
        cut: elide what a terminal has no room for, in place of folding.
    """
    text = redact(printable(line))
    if sys.stdout.isatty():
        if cut and len(text) > screen_width():
            text = text[: screen_width() - 1] + "…"
        text = folded(text, indent, screen_width()) if indent else text
        if style and _colored:
            text = f"\x1b[{_CODES[style]}m{text}\x1b[0m"
    print(text)  # noqa: T201 - stdout carries the data


def folded(text: str, indent: str, width: int) -> str:
    """Return the text in lines that fit; paths and names stay whole, so that they can be copied."""
    return textwrap.fill(
        text,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def err(line: str) -> None:
    """Print a line on stderr, as `out` does on stdout."""
    print(redact(printable(line)), file=sys.stderr)  # noqa: T201 - what to do about it
