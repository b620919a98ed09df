"""I/O. Options that several commands share: settings, Hours, ranges of Hours, and the output format."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Group, Parameter, Token

from viplake import config, log
from viplake.clock import SystemClock
from viplake.commands.console import use_color
from viplake.errors import SettingsError
from viplake.model import Hour

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viplake.config import Settings

SETTINGS: Final = Group("Settings", sort_key=100, help="Each also as VIPLAKE_... or in viplake.toml.")
OUTPUT: Final = Group("Output", sort_key=101)
HOURS: Final = Group("Hours", sort_key=50, help="In UTC, as 2022-05-10T13.")
FLAG: Final = Parameter(negative=(), show_default=False)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of every command that reads settings."""

    environment: Annotated[str | None, Parameter(group=SETTINGS, help="Prod or Test, exactly.")] = None
    lake: Annotated[str | None, Parameter(group=SETTINGS, help="s3://bucket[/prefix] or file:///folder.")] = None
    company: Annotated[str | None, Parameter(group=SETTINGS, help="Company code in the files call.")] = None
    secrets: Annotated[str | None, Parameter(group=SETTINGS, help="env:, file:/path.json or aws-sm:name.")] = None
    prefix: Annotated[str | None, Parameter(group=SETTINGS, help="Prefix of the hourly folders.")] = None
    config: Annotated[Path | None, Parameter(group=SETTINGS, help="Settings file, instead of ./viplake.toml.")] = None
    profile: Annotated[str | None, Parameter(group=SETTINGS, help="Name of a profile in viplake.toml.")] = None
    log_level: Annotated[str | None, Parameter(group=OUTPUT, help="DEBUG, INFO, WARNING or ERROR.")] = None
    log_format: Annotated[str | None, Parameter(group=OUTPUT, help="auto, json or text.")] = None
    quiet: Annotated[bool, FLAG, Parameter(group=OUTPUT, help="No progress; log only warnings and errors.")] = False
    debug: Annotated[bool, FLAG, Parameter(group=OUTPUT, help="Show tracebacks.")] = False

    def settings(self) -> Settings:
        """Load the settings of this call, and set up logging."""
        own = {"config", "profile", "debug", "quiet"}
        flags = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in own}
        if self.quiet and self.log_level is None:
            flags["log_level"] = "WARNING"
        settings = config.load(flags=flags, config_file=self.config, profile=self.profile)
        log.configure(settings.log_level, settings.log_format, tracebacks=self.debug, color=settings.surroundings.color)
        use_color(wanted=settings.surroundings.color)
        return settings


NO_OPTIONS: Final = Options()

Json = Annotated[bool, FLAG, Parameter(group=OUTPUT, help="Print one JSON object on stdout.")]
OnlyDeliver = Annotated[
    bool, FLAG, Parameter(help="Skip the history update, check and notifications after a delivery.")
]


def _hour(_type: object, tokens: Sequence[Token]) -> Hour:
    return Hour.parse(tokens[0].value)


_AS_HOUR: Final = Parameter(converter=_hour, n_tokens=1, accepts_keys=False)
AnHour = Annotated[Hour, _AS_HOUR]
HourOrNone = Annotated[Hour | None, _AS_HOUR]
"""Read an Hour of the command line: 2022-05-10T13, 20220510-13 or 2022-05-10 13:00."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The options of every command that works on a range of Hours."""

    at: Annotated[HourOrNone, Parameter(group=HOURS, help="One Hour.")] = None
    from_: Annotated[HourOrNone, Parameter(name="--from", group=HOURS, help="First Hour.")] = None
    to: Annotated[HourOrNone, Parameter(group=HOURS, help="Last Hour, included.")] = None
    since: Annotated[HourOrNone, Parameter(group=HOURS, help="First Hour, up to the newest.")] = None
    last: Annotated[int | None, Parameter(group=HOURS, help="Number of Hours, up to --to or the newest.")] = None

    def hours(self) -> tuple[Hour | None, Hour | None]:
        """Return the first and the last Hour; None where none is given. `--at` alone is one Hour.

        Raises:
            SettingsError: options exclude each other, or the range is empty.
        """
        first, last = self.until()
        return (self.at if self.at is not None and first is None else first), last

    def until(self) -> tuple[Hour | None, Hour | None]:
        """Return the first and the last Hour as `hours` does, but with `--at` alone there is no first one."""
        for one, other in (("at", "to"), ("from_", "since"), ("last", "from_"), ("last", "since")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise SettingsError(f"--{one.strip('_')} and --{other.strip('_')} exclude each other")
        if self.last is not None and self.last < 1:
            raise SettingsError("--last must be at least 1")
        first, last = self.from_ or self.since, self.to or self.at
        if self.last is not None:
            last = last or Hour.of(SystemClock().now())
            first = last.shift(1 - self.last)
        if first is not None and last is not None and last < first:
            end = "--at" if self.at is not None else "--to"
            raise SettingsError(f"{end} {last} is before the first Hour, {first}")
        return first, last


NO_WINDOW: Final = Window()
