"""I: what holds after any fault. Each troubled run is played once, and looked at from all sides."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

import pytest

from fakes import FakeClock, small_files
from faults import Crash, Tripwire, lake_down
from viplake.errors import CAUSES, CredentialsError, NetworkError, VendorError
from viplake.extract.job import LAST_CHANCE, MAX_POSTS
from viplake.lake import Lake
from viplake.lake.layout import RECEIPT_NAME, is_delivered_file
from viplake.lake.proof import verify
from viplake.lake.records import EventKind, parse_receipt, parse_utc
from viplake.model import Hour
from viplake.vendor.port import Doubted
from world import HOUR, TICK, World, at

if TYPE_CHECKING:
    from collections.abc import Callable

    from viplake.extract.outcome import Outcome
    from viplake.model import StoredFile
    from viplake.vendor.port import TooEarly, Triggered

FILES = small_files(8, tables=3)


@dataclass
class Trouble:
    """What goes wrong with a run.

    Attributes:
        wires: that the first worker's calls run into; it dies at a `Crash`.
        prepare: changes the world before.
    """

    wires: tuple[Callable[[], Tripwire], ...] = ()
    prepare: Callable[[World], object] = lambda _: None
    vendor: dict[str, object] = field(default_factory=dict)


def wire(verb: str, error: Callable[[], BaseException], **how: object) -> Callable[[], Tripwire]:
    return lambda: Tripwire(at=1, verbs=[verb], error=error, **how)  # type: ignore[arg-type] # passed on


TROUBLES = {
    "none": Trouble(),
    "the answer to the trigger is lost": Trouble((wire("trigger", lambda: NetworkError("reset"), when="after"),)),
    "a crash after the trigger": Trouble((wire("trigger", Crash, when="after", times=None),)),
    "no token": Trouble((wire("authorize", lambda: CredentialsError("no", cause="auth_rejected"), times=3),)),
    "too early": Trouble(prepare=lambda world: world.vendor.triggers.update(theirs=at("12:40"))),
    "too early for all of the Hour": Trouble(prepare=lambda world: world.vendor.triggers.update(theirs=at("13:10"))),
    "polls that fail": Trouble(
        (wire("is_complete", lambda: VendorError("500", cause="vendor_unavailable"), times=20),)
    ),
    "answers that are none": Trouble((wire("is_complete", lambda: Doubted(VendorError("html")), times=20),)),
    "an export that never ends": Trouble(vendor={"replication": 10**9}),
    "a file that is missing": Trouble(prepare=lambda world: world.vendor.fault("missing", "Table00", times=4)),
    "a flipped bit": Trouble(prepare=lambda world: world.vendor.fault("flip", "Table01")),
    "connections that break": Trouble(prepare=lambda world: world.vendor.fault("cut", value=40, times=3)),
    "a crash within the transfer": Trouble((wire("put", Crash, about="Table02", times=None),)),
    "a lake that is out": Trouble((wire("put", lake_down, times=30),)),
    "a crash before the Receipt": Trouble((wire("put_if_absent", Crash, about=RECEIPT_NAME, times=None),)),
    "an answer lost to the Receipt": Trouble((wire("put_if_absent", lake_down, about=RECEIPT_NAME, when="after"),)),
}


@dataclass
class Played:
    """A run that met its trouble and then had a schedule until its Hour was final.

    Attributes:
        world: afterwards.
        outcome: of the Hour.
        triggers_at_once: at most.
        shown: what was ever stored under a name of the vendor's: name and bytes.
    """

    world: World
    outcome: Outcome
    triggers_at_once: int
    shown: list[tuple[str, bytes]]


async def play(trouble: Trouble) -> Played:
    world = World(FILES, FakeClock(at("13:00:05")), trouble.vendor)
    trouble.prepare(world)
    shown, under_way = watch_store(world), watch_triggers(world)
    first = world.worker(*(make() for make in trouble.wires))
    try:
        outcome = await first.run()
        ended = first.ledger.jobs[HOUR].is_final
    except Crash:
        world.kill(first)
        ended = False
    if not ended:
        outcome = await world.ticks()
    return Played(world, outcome, max(under_way, default=0), shown)


def watch_triggers(world: World) -> list[int]:
    """How many were under way whenever one was sent."""
    counts: list[int] = []
    now = 0
    real = world.vendor.trigger

    async def trigger() -> Triggered | TooEarly:
        nonlocal now
        now += 1
        counts.append(now)
        try:
            return await real()
        finally:
            now -= 1

    world.vendor.trigger = trigger  # type: ignore[method-assign] # counted, then the same
    return counts


def watch_store(world: World) -> list[tuple[str, bytes]]:
    shown: list[tuple[str, bytes]] = []
    real = world.store._write

    def write(key: str, data: bytes) -> StoredFile:
        parsed = world.layout.parse_file(key)
        if parsed is not None and is_delivered_file(parsed[1]):
            shown.append((parsed[1], bytes(data)))
        return real(key, data)

    world.store._write = write  # type: ignore[method-assign] # looked at, then the same
    return shown


@cache
def played(name: str) -> Played:
    """Each trouble is played once, and looked at ten times."""
    return asyncio.run(play(TROUBLES[name]))


EACH = pytest.mark.parametrize("name", TROUBLES)


@EACH
def test_I1_one_trigger_at_a_time_and_one_accepted_an_hour(name: str) -> None:
    world = played(name).world
    assert played(name).triggers_at_once <= 1
    ours = [moment for guid, moment in world.vendor.triggers.items() if guid != "theirs"]
    assert len({Hour.of(moment) for moment in ours}) == len(ours)


@EACH
def test_I2_a_receipt_means_that_every_file_is_stored_as_recorded(name: str) -> None:
    world, outcome = played(name).world, played(name).outcome
    assert (RECEIPT_NAME in world.folder()) == (outcome.outcome == "delivered")
    if outcome.outcome == "delivered":
        assert asyncio.run(verify(Lake(world.store, world.layout), HOUR)).verdict.proven
        receipt = parse_receipt(world.folder()[RECEIPT_NAME])
        assert {file.name: file.size for file in receipt.files} == {n: len(d) for n, d in world.by_name.items()}


@EACH
def test_I3_nothing_partial_or_wrong_is_ever_under_a_final_key(name: str) -> None:
    truth = played(name).world.by_name
    assert [file for file, data in played(name).shown if data != truth[file]] == []


@EACH
def test_I4_a_receipt_is_written_once(name: str) -> None:
    written = played(name).world.store.written
    assert all(times == 1 for key, times in written.items() if key.endswith(RECEIPT_NAME))


@EACH
def test_I6_every_hour_ends_in_time_with_one_cause_or_none(name: str) -> None:
    world, outcome = played(name).world, played(name).outcome
    ended = [event for event in world.events() if event["event"] in {EventKind.DELIVERED, EventKind.FAILED}]
    assert len(ended) == 1
    assert parse_utc(ended[0]["at"]) <= world.clock.start + LAST_CHANCE + timedelta(seconds=2 * TICK)
    assert (outcome.cause is None) == (outcome.outcome == "delivered")
    assert outcome.cause is None or outcome.cause in CAUSES


@EACH
def test_I7_no_secret_is_in_anything_that_a_troubled_run_stores(name: str) -> None:
    """Links are credentials: the fake's carry a signature."""
    for key, data in played(name).world.store.objects.items():
        assert b"X-Amz-Signature" not in data, key
        assert b"c0ffee" not in data, key


@EACH
def test_I8_requests_are_bounded(name: str) -> None:
    world = played(name).world
    posts = sum(event["event"] in {EventKind.CLAIMED, EventKind.REPOSTING} for event in world.events())
    assert posts <= MAX_POSTS
    hours = (world.clock.now() - world.clock.start).total_seconds() / 3600 + 1
    assert world.vendor.count("trigger") <= MAX_POSTS * hours
    assert world.vendor.count("is_complete") <= 2 * 60 * hours, "two Hours may be open, each is asked once a minute"
    assert world.vendor.count("download") <= 2 * 30 * 3 * len(FILES) * hours, "three attempts a file and tick"


@EACH
def test_I9_no_sleep_is_negative_or_longer_than_an_hour(name: str) -> None:
    slept = played(name).world.clock.slept
    assert all(0 <= seconds <= 3600 for seconds in slept)


@EACH
def test_I10_a_tick_on_a_final_hour_triggers_and_writes_nothing(name: str) -> None:
    world, outcome = played(name).world, played(name).outcome
    begin = world.clock.start
    world.clock.start -= world.clock.now() - at("13:59")  # within the Hour, where a tick is about it
    try:
        written, triggers = world.store.written.total(), world.vendor.count("trigger")
        again = asyncio.run(world.worker().tick())
        assert (again.hour, again.outcome, again.cause) == (HOUR, outcome.outcome, outcome.cause)
        assert again.exit_code == outcome.exit_code
        assert (world.store.written.total(), world.vendor.count("trigger")) == (written, triggers)
    finally:
        world.clock.start = begin
