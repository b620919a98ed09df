"""I/O. What several commands take: the settings, Hours and ranges of Hours, and the form of the answer."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Group, Parameter

from viplake import config, log
from viplake.model import Hour

if TYPE_CHECKING:
    from viplake.config import Settings

SETTINGS: Final = Group("Settings", sort_key=100, help="Each also as VIPLAKE_... or in viplake.toml.")
OUTPUT: Final = Group("Output", sort_key=101)
FLAG: Final = Parameter(negative=(), show_default=False)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options that every command takes which reads settings."""

    environment: Annotated[str | None, Parameter(group=SETTINGS, help="Prod or Test, exactly.")] = None
    lake: Annotated[str | None, Parameter(group=SETTINGS, help="s3://bucket[/prefix] or file:///folder.")] = None
    company: Annotated[str | None, Parameter(group=SETTINGS, help="Company code in the files call.")] = None
    secrets: Annotated[str | None, Parameter(group=SETTINGS, help="env:, file:/path.json or aws-sm:name.")] = None
    prefix: Annotated[str | None, Parameter(group=SETTINGS, help="Prefix of the hourly folders.")] = None
    config: Annotated[Path | None, Parameter(group=SETTINGS, help="Instead of ./viplake.toml.")] = None
    profile: Annotated[str | None, Parameter(group=SETTINGS, help="Of viplake.toml.")] = None
    log_level: Annotated[str | None, Parameter(group=OUTPUT, help="DEBUG, INFO, WARNING or ERROR.")] = None
    log_format: Annotated[str | None, Parameter(group=OUTPUT, help="auto, json or text.")] = None
    quiet: Annotated[bool, FLAG, Parameter(group=OUTPUT, help="No progress; log only warnings and errors.")] = False
    debug: Annotated[bool, FLAG, Parameter(group=OUTPUT, help="Show tracebacks.")] = False

    def settings(self) -> Settings:
        """Load the settings of this call, and set up logging by them."""
        own = {"config", "profile", "debug", "quiet"}
        flags = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in own}
        if self.quiet and self.log_level is None:
            flags["log_level"] = "WARNING"
        settings = config.load(flags=flags, config_file=self.config, profile=self.profile)
        log.configure(settings.log_level, settings.log_format, tracebacks=self.debug, color=settings.surroundings.color)
        return settings


NO_OPTIONS: Final = Options()

Json = Annotated[bool, FLAG, Parameter(group=OUTPUT, help="Print one JSON object on stdout.")]
OnlyDeliver = Annotated[bool, FLAG, Parameter(help="Leave out the observation that follows a delivery.")]
HourText = Annotated[str, Parameter(help="In UTC, as 2022-05-10T13.")]
From = Annotated[str | None, Parameter(name="--from", help="First Hour, in UTC, as 2022-05-10T13.")]
To = Annotated[str | None, Parameter(help="Last Hour, included.")]


def hour_or_none(text: str | None) -> Hour | None:
    """Parse an Hour that may not be given.

    Raises:
        SettingsError: the text is no Hour.
    """
    return None if text is None else Hour.parse(text)
