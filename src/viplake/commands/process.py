"""I/O. The process of a command: standard streams, error message and exit code."""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from viplake.errors import QueryError, ViplakeError
from viplake.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Buffer


def end_with(work: Callable[[], int]) -> NoReturn:
    """Run the work and end the process with the exit code that it returns.

    It skips the interpreter's tear-down, because a thread of the store's runtime that still releases a Python object
    can abort the process there (seen: SIGABRT after a listing), and the exit code would be wrong.
    """
    _occupy_closed_streams()
    _keep_stdin_from_children()
    _outlast_readers()
    code = work()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader of the output is gone; the work is done
            stream.flush()
    os._exit(code)


def fail(error: ViplakeError) -> int:
    """Print what failed, its cause and owner, and the next step; return the exit code."""
    owner = f" ({error.owner})" if error.owner else ""
    lines = [f"viplake: {error.message}"]
    if not isinstance(error, QueryError):  # an SQL error explains itself
        lines.append(f"  cause  {error.cause.word}{owner}: {error.cause.meaning}")
    lines.append(f"  next   {error.hint}")
    print_last_words(lines)
    return error.exit_code


def print_last_words(lines: Sequence[str]) -> None:
    """Print on stderr how a command ended; lines are wrapped to the width of a terminal."""
    shown = [redact(line) for line in lines]
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns
        # A mark below SQL stays below it, and a command can be copied from the terminal's own fold alone.
        shown = [line if "\n" in line or line.startswith("  next") else _folded(line, width) for line in shown]
    print("\n".join(shown), file=sys.stderr)  # noqa: T201 - the command's last words


def _folded(line: str, width: int) -> str:
    return textwrap.fill(line, width, subsequent_indent=" " * 9, break_long_words=False, break_on_hyphens=False)


def print_traceback() -> None:
    """Print the traceback of the current exception, without locals and secrets."""
    import traceback  # noqa: PLC0415 - only with --debug

    print(redact(traceback.format_exc()), file=sys.stderr)  # noqa: T201 - requested by --debug


def _occupy_closed_streams() -> None:
    """Open the null device in place of each standard stream that the parent process closed.

    Otherwise the next socket gets its number, and uvloop aborts the process when it closes such a low one.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115 - for as long as we live


def _keep_stdin_from_children() -> None:
    """Give child processes the null device as stdin, unless a person can type there.

    Otherwise a `credential_process` of an AWS profile that reads a code waits for ever at a pipe that stays open.
    """
    if sys.stdin is not sys.__stdin__ or sys.stdin is None or sys.stdin.fileno() != 0 or sys.stdin.isatty():
        return
    encoding, errors = sys.stdin.encoding, sys.stdin.errors
    ours = os.dup(0)  # which no child inherits
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    sys.stdin = os.fdopen(ours, encoding=encoding, errors=errors)


class _Outlasting(io.FileIO):
    """A stream whose reader may end early, as `head` does; further output is dropped."""

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def _outlast_readers() -> None:
    """Keep the command's own exit code when the reader of its output ends early."""
    out = sys.__stdout__
    if out is None or out is not sys.stdout:
        return  # the null device in place of a closed stream: it has no reader
    raw = _Outlasting(out.fileno(), "wb", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=out.encoding, errors=out.errors, line_buffering=out.line_buffering
    )
