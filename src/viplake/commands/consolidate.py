"""I/O. `viplake consolidate`: Hours from another lake into this one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from viplake import config
from viplake.clock import SystemClock
from viplake.commands.assembly import observe, url_of
from viplake.commands.console import SHOWN_FINDINGS, answer, err, live_line, out, printable
from viplake.commands.event_loop import finish
from viplake.commands.options import FLAG, NO_OPTIONS, Json, Options
from viplake.errors import LakeError, SettingsError
from viplake.history.build import Scope
from viplake.lake import Lake
from viplake.lake.consolidate import Consolidated, Source, Span, consolidate
from viplake.lake.layout import Layout
from viplake.lake.store import open_store, server_copy
from viplake.model import Hour
from viplake.wording import count_words, seconds_words, size_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from viplake.lake.consolidate import CopiedHour, Remaining
    from viplake.lake.store import StoreSettings


def command(
    source_url: str,
    *,
    source_prefix: str | None = None,
    source_profile: str | None = None,
    source_environment: Literal["Prod", "Test"] | None = None,
    exclude: tuple[str, ...] = (),
    second_source: str | None = None,
    second_prefix: str | None = None,
    second_range: tuple[str, ...] = (),
    dry_run: Annotated[bool, FLAG] = False,
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """Copy missing Hours (backfill) from another lake into this one; then update the datasets.

    Example: viplake consolidate s3://old-bucket --dry-run

    See docs/history.md.

    Parameters
    ----------
    source_url
        s3://bucket[/prefix] or file:///folder.
    source_prefix
        Of the hourly folders there, such as IMOS/Hourly/, or / for the top of the bucket; default: as here.
    source_profile
        AWS profile with credentials for the source; default: as here.
    source_environment
        Environment of the source, where nothing in the source says so.
    exclude
        Hours to leave out: FROM/TO, both included; once or more often.
    second_source
        Where to take the Hours of --second-range from.
    second_prefix
        Of the hourly folders there; default: as here.
    second_range
        FROM/TO, both included; once or more often.
    dry_run
        Only print what would be copied.
    """
    settings = options.settings()
    if bool(second_source) != bool(second_range):
        raise SettingsError("--second-source and --second-range belong together")
    target = _other_lake(settings, url_of(settings))

    def source(url: str, prefix: str | None, only: tuple[Span, ...] = ()) -> Source:
        place = _other_lake(settings, url, profile=source_profile)
        try:
            store = open_store(place)
        except LakeError as error:
            hint = f"Check the URL of the source: {url}" if error.cause.word == "folder_missing" else error.hint
            raise LakeError(error.message, cause=error.cause.word, hint=hint) from None
        return Source(
            Lake(store, settings.layout if prefix is None else Layout.of_source(prefix), url),
            environment=source_environment,
            only=only,
            server_copy=server_copy(place, target),
        )

    clock = SystemClock()
    begun = clock.monotonic()
    passed = 0

    def progress(line: Callable[[str, float], None] | None, copied: CopiedHour, remaining: Remaining) -> None:
        nonlocal passed
        passed += copied.size
        if line is not None:
            words = f"{copied.hour}; left: {count_words(remaining.hours, 'Hour')}, {size_words(remaining.size)};"
            line(words, passed / max(passed + remaining.size, 1))
        else:
            print_copied(copied, remaining, None if dry_run else (clock.monotonic() - begun) / max(passed, 1))

    async def work() -> Consolidated:
        sources = [source(source_url, source_prefix)]
        if second_source is not None:
            sources.append(source(second_source, second_prefix, tuple(_span(text) for text in second_range)))
        lake = Lake(open_store(replace(target, create=not dry_run)), settings.layout, target.url)
        with live_line() as line:
            done = await consolidate(
                sources,
                lake,
                environment=settings.environment.name,
                excluded=[_span(text) for text in exclude],
                last=Hour.of(clock.now()).shift(-1),
                dry_run=dry_run,
                progress=None if json and line is None else partial(progress, line),
            )
        if done.first is not None and not dry_run:
            await observe(settings, lake, Scope(first=done.first))
        return done

    done = finish(work())
    answer(done.to_json(), lambda: print_consolidated(done), as_json=json)
    return 0


def _span(text: str) -> Span:
    """A range of Hours: FROM/TO, both included."""
    first, slash, last = text.partition("/")
    if not slash:
        raise SettingsError(f"not a range of Hours: {text!r}", hint="Write it as 2022-05-10T13/2022-05-11T10.")
    return Span(Hour.parse(first), Hour.parse(last))


def _other_lake(settings: config.Settings, url: str, *, profile: str | None = None) -> StoreSettings:
    """Return the store settings of another lake: with its own AWS profile, or with the credentials of this one.

    Raises:
        SettingsError, CredentialsError: as `config.store_settings`.
    """
    try:
        url = config.parsed_lake_url(config.absolute(url))
    except config.WrongLakeError as error:
        hint = error.hint or "Write it as s3://bucket[/prefix] or file:///folder."
        raise SettingsError(f"{url!r} is {error}", hint=hint) from None
    found = config.store_settings(settings, config.Secrets.of(settings), url=url)
    if profile is None:
        return found
    return replace(found, profile=profile, access_key_id=None, secret_access_key=None, session_token=None)


def print_copied(copied: CopiedHour, remaining: Remaining, seconds_a_byte: float | None) -> None:
    """Print a copied Hour and the remaining work on stderr; the remaining time only where the pace is known."""
    left = ""
    if remaining.hours:
        left = f"; left: {count_words(remaining.hours, 'Hour')}, {size_words(remaining.size)}"
        if seconds_a_byte is not None:
            left += f", about {seconds_words(remaining.size * seconds_a_byte)}"
    err(f"{copied.hour}  {count_words(copied.files, 'file')}, {size_words(copied.size)} from {copied.source}{left}")


def print_consolidated(done: Consolidated) -> None:
    """Print what a consolidation copied, what it skipped, and which Hours the lake still lacks."""
    verb = "would be copied" if done.dry_run else "copied"
    hours, files = count_words(len(done.copied), "Hour"), count_words(done.files, "file")
    out(f"{hours} {verb} ({files}, {size_words(done.size)}), {done.present} were there already")
    if not done.copied and not done.present:
        out("  the source has no Hour before the current one, which is left out because it may still grow")
    if done.copied:
        inside = done.size - done.streamed
        out(f"  {size_words(inside)} copied by S3 itself, {size_words(done.streamed)} through this machine")
    for source, reason in done.streaming.items():
        out(f"  {printable(source)} is copied through this machine: {printable(reason)}")
    for remark in done.remarks[:SHOWN_FINDINGS]:
        out(f"  {remark.hour}  {remark.kind}: {remark.detail}")
    for hole in done.holes:
        out(f"  still missing: {hole} ({count_words(len(list(hole.first.to(hole.last))), 'Hour')})")
