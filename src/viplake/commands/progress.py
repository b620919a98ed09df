"""I/O. The progress display of a run at a terminal: what happened, the current phase, and how long it waits.

What the ledger records becomes a line that stays; below it one line lives, with the phase, the files, the bytes and
the rate, or the moment at which it looks again. It listens to the log, to the transfer and to the clock, so that the
run itself knows nothing of it. Only on a terminal, and only with the log format `auto`.
"""

from __future__ import annotations

import sys
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from viplake import log
from viplake.clock import Clock, SystemClock
from viplake.commands.console import printable
from viplake.extract.job import HEARTBEAT
from viplake.redact import redact
from viplake.wording import seconds_words, size_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TextIO

    from viplake.config import Settings
    from viplake.extract.transfer import Progress
    from viplake.model import Hour, Promise

WORDS: Final[Mapping[str, str]] = {
    "deferred": "too early for Veson: waiting until {not_before}",
    "claimed": "claimed: no other viplake process will trigger this Hour",
    "reposting": "the answer to the trigger was lost: triggering once more",
    "triggered": "triggered: Veson's export is {job_guid}",
    "reopened": "reopened for Veson's export {job_guid}",
    "replicated": "replicated: Veson reports Complete",
    "promised": "promised: {files} files, {size}",
    "swept": "removed the partial files of a killed process",
    "times_not_restored": "the files are newer than the delivery: fetching them from Veson again",
    "kept": "kept: {files} files of an earlier attempt, read again and hashed",
    "relisting": "a link has expired: one new list of links for all files",
    "delivered": "delivered: {files} files, {size}, the Receipt is written",
    "observed": "observed: the history has {added} more, and {healed} healed",
    "overdue": "overdue: {detail}",
    "failed": "failed: {detail}",
}
"""Text of ledger events and some others; the fields are those of the event."""

_UNHEARD: Final = frozenset({"working"})
"""Heartbeats, which are for other workers only."""

_MARKS: Final = {
    "failed": ("x", "bold red"),
    "overdue": ("!", "yellow"),
    "deferred": ("!", "yellow"),
    "times_not_restored": ("!", "yellow"),
}
_DOING: Final = {
    "claimed": "triggering",
    "reposting": "triggering",
    "replicated": "getting the manifest",
    "promised": "fetching",
    "kept": "fetching",
    "relisting": "fetching",
    "delivered": "observing what landed",
}

USUAL: Final = "15 to 25 min"
"""Usual duration of an export at Veson, where the lake has no record of one."""

_BAR: Final = 24
_NARROW: Final = 90
"""Columns of a terminal up to which the bar is half as wide, so that the time left is shown."""

_RATE_SECONDS: Final = 5.0
_SHORTEST_WAIT: Final = 0.5
"""Shortest sleep in seconds that is shown."""


def event_words(event: Mapping[str, Any]) -> str | None:
    """Return an event of the log in words, on one line and without secrets; None for one that is not shown."""
    words = WORDS.get(str(event.get("event")))
    if words is None:
        return None
    known = {"detail": event.get("cause"), "job_guid": "unknown", "not_before": "it is allowed", "files": 0}
    known |= {"added": 0, "healed": 0}
    fields = known | {name: value for name, value in event.items() if value is not None}
    return redact(printable(words.format(**fields, size=size_words(int(event.get("bytes") or 0)))))


@dataclass(frozen=True)
class _WatchedClock:
    """A clock that reports every sleep to the display."""

    inner: Clock
    waits: dict[object, datetime]

    def now(self) -> datetime:
        return self.inner.now()

    def monotonic(self) -> float:
        return self.inner.monotonic()

    def from_store(self, stamped: datetime) -> datetime:
        return self.inner.from_store(stamped)

    async def sleep(self, seconds: float) -> None:
        mark = object()
        if seconds >= _SHORTEST_WAIT and seconds != HEARTBEAT:  # a heartbeat is no wait
            self.waits[mark] = self.now() + timedelta(seconds=seconds)
        try:
            await self.inner.sleep(seconds)
        finally:
            self.waits.pop(mark, None)


class Display:
    """The display of a run. It is also the log's stream, so that their lines do not mix.

    Args:
        settings: with the deadlines.
        clock: of the run.
        console: to print to.
    """

    def __init__(self, settings: Settings, clock: Clock, console: Console) -> None:
        self.console = console
        self._waits: dict[object, datetime] = {}
        self.clock: Clock = _WatchedClock(clock, self._waits)
        self._settings = settings
        self._spinner = Spinner("dots" if console.encoding.startswith("utf") else "line", style="cyan")
        self._doing = "reading the lake"
        self.usual: Callable[[], str] = lambda: USUAL
        self._since: datetime | None = None
        self._shown_hour = ""
        self._files: tuple[Progress, Promise] | None = None
        self._samples: deque[tuple[float, int]] = deque()

    # -- input -----------------------------------------------------------------------------------------------

    def hear(self, event: Mapping[str, Any]) -> bool:
        """Show a log event; return False for one that the log prints itself."""
        name = str(event.get("event"))
        if name in _UNHEARD:
            return True
        words = event_words(event)
        if words is None:
            return False
        if "hour" in event and event["hour"] != self._shown_hour:
            self._shown_hour = str(event["hour"])
            self.console.print(Text(f"{self._shown_hour}  {self._settings.environment.name}", style="bold"))
        mark, style = _MARKS.get(name, ("-", "green"))
        self.console.print(Text.assemble("  ", (mark, style), f" {self.clock.now():%H:%M:%S}  ", words))
        self._begin(name)
        return True

    def on_progress(self, _hour: Hour, progress: Progress, promise: Promise) -> None:
        """Update the number of files and bytes."""
        self._files = (progress, promise)
        now = self.clock.monotonic()
        self._samples.append((now, progress.bytes))
        while self._samples[0][0] < now - _RATE_SECONDS and len(self._samples) > 2:  # noqa: PLR2004 - a span has two ends
            self._samples.popleft()

    def _begin(self, name: str) -> None:
        if name in {"triggered", "reopened"}:
            self._doing, self._since = "Veson", self.clock.now()
        elif name in _DOING:
            self._doing, self._since = _DOING[name], None
        else:
            self._doing, self._since = "waiting", None
        if self._doing != "fetching":
            self._files = None
            self._samples.clear()

    # -- output ----------------------------------------------------------------------------------------------

    def now(self) -> Table:
        """Return the live line."""
        line = Table.grid(padding=(0, 1))
        if self._files is not None:
            return self._transfer(line, *self._files)
        words = self._doing
        if self._since is not None:
            elapsed = timedelta(seconds=int((self.clock.now() - self._since).total_seconds()))
            words += f" {elapsed}, usually {self.usual()}"
        line.add_row("", self._spinner, Text(words + self._until(), no_wrap=True, overflow="ellipsis"))
        return line

    def _until(self) -> str:
        """Return what the run waits for, and until when."""
        waits = list(self._waits.values())
        parts = [f"next poll {min(waits):%H:%M:%S}"] if waits else []
        if self._since is not None:
            deadline = self._since + timedelta(seconds=self._settings.replication_timeout_seconds)
            parts.append(f"deadline {deadline:%H:%M} UTC")
        return "; " + ", ".join(parts) if parts else ""

    def _transfer(self, line: Table, progress: Progress, promise: Promise) -> Table:
        if progress.files >= len(promise.files):
            words = f"all {progress.files} files landed; comparing them with a new manifest"
            line.add_row("", self._spinner, Text(words + self._until(), no_wrap=True, overflow="ellipsis"))
            return line
        (begun, before), (ended, after) = self._samples[0], self._samples[-1]
        rate = f"{size_words(int((after - before) / (ended - begun)))}/s" if ended > begun else ""
        landed = f"{size_words(progress.bytes)} of {size_words(promise.size)}"
        left = (promise.size - progress.bytes) * (ended - begun) / (after - before) if after > before else None
        words = f"{progress.files}/{len(promise.files)} files  {landed}  {rate}"
        words += "" if left is None else f"  {seconds_words(left)} left"
        bar = ProgressBar(
            total=max(promise.size, 1),
            completed=progress.bytes,
            width=_BAR if self.console.width > _NARROW else _BAR // 2,
        )
        line.add_row("", self._spinner, bar, Text(words, no_wrap=True, overflow="ellipsis"))
        return line

    # -- the log's stream --------------------------------------------------------------------------------------

    def write(self, text: str) -> int:
        """Print a log line above the live line."""
        if text.strip():
            self.console.print(Text.from_ansi(text.rstrip("\n")), soft_wrap=True)
        return len(text)

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""

    def isatty(self) -> bool:
        """True: it is shown on a terminal."""
        return True


@contextmanager
def shown(settings: Settings, *, quiet: bool, debug: bool, stream: TextIO | None = None) -> Iterator[Display | None]:
    """Show a run while the block lasts; gives None where there is no terminal."""
    stream = stream or sys.stderr
    color = settings.surroundings.color
    console = Console(file=stream, no_color=not color or None, highlight=False, soft_wrap=False)
    if quiet or settings.log_format != "auto" or not console.is_terminal or console.is_dumb_terminal:
        yield None
        return
    display = Display(settings, SystemClock(), console)

    def configure(to: Any, hear: Any) -> None:
        log.configure(settings.log_level, settings.log_format, tracebacks=debug, color=color, stream=to, hear=hear)

    with Live(console=console, get_renderable=display.now, refresh_per_second=8, transient=True, redirect_stderr=False):
        configure(display, display.hear)
        try:
            yield display
        finally:
            configure(stream, None)
