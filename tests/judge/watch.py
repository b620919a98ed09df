"""A lake in a folder, a webhook, and `viplake` at set times: the commands as users run them, in this process."""

from __future__ import annotations

import asyncio
import io
import json
import os
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hooks import listening
from viplake import cli
from viplake.clock import SystemClock
from viplake.content.profiling import HourContent, TableContent
from viplake.content.records import keep
from viplake.history.build import HistoryLocation
from viplake.history.datasets import DATASETS, TABLE_CONTENT, Frame, render, upsert
from viplake.history.facts import HourFacts, RunFacts, SchemaFacts
from viplake.history.months import MonthlyRows, Months
from viplake.history.volumes import Volumes
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.store import StoreSettings, open_store
from viplake.lake.table_index import TableFacts
from viplake.model import PROD, Environment, Hour
from viplake.simulator.history import Past, generate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    import pytest

FIRST = Hour.parse("2022-05-02T00")
"""A Monday."""

LAYOUT = Layout.below("IMOSDL/Hourly")
SCHEMA_HASH = "0" * 64


@dataclass
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The object that it printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    def of(self, rule: str) -> list[dict[str, Any]]:
        """The incidents in which a rule is broken."""
        return [one for one in self.json["incidents"] if rule in one["rules"]]


@dataclass
class Watch:
    """A lake that is observed and checked.

    Attributes:
        folder: where the lake, `viplake.toml` and the commands are.
        patch: sets the clock, the environment and the folder.
        got: messages that the webhook got.
    """

    folder: Path
    patch: pytest.MonkeyPatch
    got: list[dict[str, Any]]
    url: str
    lake: Lake = field(init=False)

    def __post_init__(self) -> None:
        """An empty lake, and rules as by default."""
        (self.folder / "lake").mkdir(exist_ok=True)
        # A bundle of certificates is read again by each command, and none of them leaves this machine.
        unwanted = ("SSL_CERT_FILE", "AWS_CA_BUNDLE")
        for name in [name for name in os.environ if name.startswith("VIPLAKE_") or name in unwanted]:
            self.patch.delenv(name)
        self.patch.setenv("VIPLAKE_ENVIRONMENT", "Prod")
        self.patch.setenv("VIPLAKE_LAKE", f"file://{self.folder}/lake")
        self.patch.setenv("COLUMNS", "80")
        self.patch.chdir(self.folder)
        self.rules()
        self.lake = Lake(open_store(StoreSettings(f"file://{self.folder}/lake")), LAYOUT)

    def rules(self, toml: str = "", notify: str | None = None) -> None:
        """Write `viplake.toml`: these tables, and the webhook."""
        channels = f'[notify]\nwebhook = "{self.url}"\n' if notify is None else notify
        (self.folder / "viplake.toml").write_text(f"{channels}{toml}\n", encoding="utf-8")

    # -- the past --------------------------------------------------------------------------------------------

    def hours(self, past: Past, *hours: Hour, environment: Environment = PROD) -> None:
        """Write Hours as the simulator makes them."""
        asyncio.run(generate(self.lake, hours, past, environment=environment))

    def remember(self, facts: Sequence[HourFacts], *, volumes: bool = True) -> None:
        """Make a past: in the datasets alone, without files in the lake."""
        imports = {d.file: render(d, upsert(d, Frame(), {one.hour: one for one in facts})) for d in DATASETS}
        folder = self.folder / "past"
        folder.mkdir(exist_ok=True)
        for name, data in imports.items():
            (folder / name).write_bytes(data)
        done = self.at(facts[-1].hour.shift(1).start, "observe", "--import", str(folder), "--to", str(facts[-1].hour))
        assert done.code == 0, done.err
        if volumes:
            asyncio.run(self._volumes(facts))

    def examined(self, rows: Sequence[Mapping[str, int]], judged: int) -> None:
        """Make content checks of the Hours from FIRST on: the number of records; in full of the last `judged` ones."""
        asyncio.run(self._examined(rows, judged))

    async def _examined(self, rows: Sequence[Mapping[str, int]], judged: int) -> None:
        place = HistoryLocation.within(self.lake)
        months = Months(place.store, place.published, place.versions, MonthlyRows(TABLE_CONTENT))
        for number, of_hour in enumerate(rows[: len(rows) - judged]):
            cells = tuple((name, (1, count, 0, None, None)) for name, count in sorted(of_hour.items()))
            await months.add(FIRST.shift(number), cells)
        await months.flush()
        newest = range(len(rows) - judged, len(rows))
        await keep(place, [content_of(FIRST.shift(number), rows[number]) for number in newest])

    async def _volumes(self, facts: Sequence[HourFacts]) -> None:
        place = HistoryLocation.within(self.lake)
        kept = Volumes(place.store, place.published, place.versions)
        for start in range(0, len(facts), 24):
            await kept.add(facts[start : start + 24])
        await kept.flush()

    # -- the commands ----------------------------------------------------------------------------------------

    def at(self, now: datetime, *arguments: str) -> Answer:
        """Run a command at a time."""
        self.patch.setattr(SystemClock, "now", lambda _: now)
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = cli.execute(arguments)
        return Answer(code, out.getvalue(), err.getvalue())

    def check(self, hour: Hour, *arguments: str, minute: int = 50, observe: bool = True) -> Answer:
        """Observe and check at a minute of an Hour."""
        now = hour.start + timedelta(minutes=minute)
        if observe:
            observed = self.at(now, "observe", "--quiet")
            assert observed.code == 0, observed.err
        return self.at(now, "check", "--json", "--quiet", *arguments)

    # -- what was notified -----------------------------------------------------------------------------------

    @property
    def notices(self) -> list[dict[str, Any]]:
        """All notifications of incidents, oldest first."""
        return [notice for message in self.got if message["kind"] == "incidents" for notice in message["notices"]]

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """Kind and rule of each."""
        return [(notice["notice"], notice["rule"]) for notice in self.notices]

    @property
    def texts(self) -> list[str]:
        """The lines that people read."""
        return [line for message in self.got if message["kind"] == "incidents" for line in message["text"].split("\n")]


def content_of(hour: Hour, rows: Mapping[str, int], carried: float | None = None) -> HourContent:
    """What a content check found: so many records of each table, of so many hours before the Hour."""
    newest = None if carried is None else hour.start
    oldest = None if newest is None or carried is None else newest - timedelta(hours=carried)
    return HourContent(
        hour,
        tuple(
            TableContent(name, 1, count, (), oldest=oldest, newest=newest, dated=count if carried else 0)
            for name, count in sorted(rows.items())
        ),
    )


@contextmanager
def watching(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """A lake to watch, and its webhook."""
    with listening() as (url, got):
        yield Watch(folder, patch, got, url)


def facts_of(
    hour: Hour, sizes: Mapping[str, int], *, missing: Sequence[str] = (), delivered: bool = True, cause: str = "missed"
) -> HourFacts:
    """An Hour of a made-up past: these tables came with these sizes."""
    run = RunFacts(
        "delivered" if delivered else "failed",
        None if delivered else cause,
        hour.end, None, "g", 1, False, 30, 1200, 120, 1, 1,
    )  # fmt: skip
    if not delivered:
        return HourFacts(hour, run=run)
    names = tuple(sorted([*sizes, *missing]))
    tables = tuple(TableFacts(name, 1, size) for name, size in sorted(sizes.items()) if name not in missing)
    total = sum(table.size for table in tables)
    return HourFacts(
        hour, len(tables) + 3, total, total, True, True, SchemaFacts(SCHEMA_HASH, names), names,
        tuple(sorted(missing)), tables, 1, run,
    )  # fmt: skip
