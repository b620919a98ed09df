"""What can go wrong with a run, by the ids of the catalogue: G, P, U, R, K, X and C as far as the driver decides.

The vendor's own manners (statuses, bodies, tokens) are the client's tests; the bytes of files are the transfer's.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from fakes import FakeClock, small_files
from faults import Crash, Tripwire, lake_down
from viplake.errors import CAUSES, CredentialsError, NetworkError, SettingsError, VendorError
from viplake.extract.status import status
from viplake.lake import Lake
from viplake.lake.layout import PROMISE_NAME, RECEIPT_NAME
from viplake.lake.proof import verify
from viplake.lake.records import parse_promise, parse_receipt
from viplake.model import TEST, Hour
from viplake.vendor.port import AnswerUnreadable, TooEarly, Triggered
from world import HOUR, World, at

if TYPE_CHECKING:
    from collections.abc import Callable

    from viplake.model import StoredFile


FEW = small_files(6, tables=2)
NEXT = HOUR.shift(1)


def few(start: str = "13:00:05", **vendor: object) -> World:
    return World(FEW, FakeClock(at(start)), vendor)


def breaks(verb: str, error: Callable[[], BaseException], **how: object) -> Tripwire:
    return Tripwire(at=1, verbs=[verb], error=error, **how)  # type: ignore[arg-type] # passed on


class Skewed:
    """The same clock, read on a machine where it is wrong."""

    def __init__(self, clock: FakeClock, skew: timedelta) -> None:
        self._clock, self.skew = clock, skew
        self.monotonic, self.sleep, self.from_store = clock.monotonic, clock.sleep, clock.from_store

    def now(self) -> datetime:
        return self._clock.now() + self.skew


async def guid_of(world: World) -> str:
    [guid] = world.vendor.triggers
    return guid


# -- the trigger --------------------------------------------------------------------------------------------


async def test_G1_the_guid_is_on_record_before_anything_else() -> None:
    world, wire = few(), Tripwire()
    await world.worker(wire).tick()
    verbs = [call.split(" ")[0] for call in wire.calls]
    begin = verbs.index("trigger")
    assert verbs[begin - 2 : begin + 3] == ["authorize", "put_if_absent", "trigger", "put_if_absent", "is_complete"]
    assert world.events()[-1]["job_guid"] == await guid_of(world)


async def test_G2_too_early_waits_for_the_time_that_the_vendor_gives() -> None:
    world = few()
    world.vendor.triggers["theirs"] = at("12:40")
    outcome = await world.worker().run()
    assert outcome.outcome == "delivered"
    ours = [moment for guid, moment in world.vendor.triggers.items() if guid != "theirs"]
    assert len(ours) == 1
    assert at("13:40") <= ours[0] < at("13:40:05")
    assert world.vendor.count("trigger") == 2
    assert world.kinds()[:3] == ["claimed", "deferred", "claimed"]


async def test_G2_a_tick_sleeps_in_place_for_a_trigger_that_is_soon_allowed() -> None:
    world = few()
    world.vendor.triggers["theirs"] = at("12:02")
    outcome = await world.worker().tick()
    assert (outcome.outcome, outcome.job_guid is not None) == ("waiting", True)
    assert world.clock.now() < at("13:02:05")


async def test_G3_a_past_time_is_retried_until_the_vendors_clock_reaches_it() -> None:
    world = few()
    world.vendor.triggers["theirs"] = at("12:02:30")  # by the vendor's clock 12:00:05: it is two minutes behind
    real = world.vendor._trigger

    def behind() -> Triggered | TooEarly:
        answer = real()
        return TooEarly(at("13:00:05")) if isinstance(answer, TooEarly) else answer

    world.vendor._trigger = behind  # type: ignore[method-assign] # the fake's own rule, by another clock
    assert (await world.ticks()).outcome == "delivered"
    assert 2 < world.vendor.count("trigger") <= 6


async def test_G4_without_a_time_six_posts_fill_the_hour_and_no_more_are_sent() -> None:
    world = few(tells_when=False)
    world.vendor.triggers["theirs"] = at("12:59:59")
    outcome = await world.worker().run()
    assert (outcome.outcome, outcome.cause, outcome.exit_code) == ("failed", "trigger_limited", 69)
    assert 2 <= world.vendor.count("trigger") <= 6
    world.check()


async def test_G5_too_soon_with_our_guid_after_a_lost_answer_is_adopted() -> None:
    world = few()
    world.vendor.tells_guid = True
    outcome = await world.worker(breaks("trigger", lambda: NetworkError("reset"), when="after")).run()
    assert outcome.outcome == "delivered"
    assert world.vendor.count("trigger") == 2


async def test_G6_answer_lost_after_trigger() -> None:
    world = few()
    outcome = await world.worker(breaks("trigger", lambda: NetworkError("reset"), when="after")).run()
    assert (outcome.outcome, outcome.cause, outcome.owner) == ("failed", "trigger_ack_lost", "vendor")
    assert world.vendor.count("trigger") == 2
    assert world.kinds() == ["claimed", "reposting", "failed"]
    await world.check_rest()


async def test_G6_a_request_that_was_lost_costs_only_the_re_post() -> None:
    world = few()
    outcome = await world.worker(breaks("trigger", lambda: NetworkError("reset"), when="before")).run()
    assert outcome.outcome == "delivered"
    assert world.kinds()[:3] == ["claimed", "reposting", "triggered"]


async def test_G6_two_lost_answers_are_no_loop() -> None:
    world = few()
    wire = Tripwire(at=1, verbs=["trigger"], error=lambda: NetworkError("reset"), when="before", times=None)
    outcome = await world.worker(wire).run()
    assert (outcome.cause, len(wire.calls)) == ("trigger_ack_lost", 2)


async def test_G6_an_earlier_export_in_the_way_of_the_re_post_is_waited_for() -> None:
    world = few()
    world.vendor.triggers["theirs"] = at("12:30")
    outcome = await world.worker(breaks("trigger", lambda: NetworkError("reset"), when="before")).run()
    assert outcome.outcome == "delivered"
    assert world.vendor.count("trigger") == 2  # the first never reached the vendor
    assert world.kinds()[:4] == ["claimed", "reposting", "deferred", "claimed"]


async def test_G6_collect_with_the_vendor_s_guid_rescues_a_lost_answer() -> None:
    world = few()
    await world.worker(breaks("trigger", lambda: NetworkError("reset"), when="after")).run()
    outcome = await world.worker().collect(HOUR, await guid_of(world))
    assert outcome.outcome == "delivered"
    assert world.vendor.count("trigger") == 2
    await world.check_rest()


async def test_G7_the_lake_fails_while_the_guid_is_saved_and_the_run_keeps_it_in_mind() -> None:
    world = few()
    event = world.layout.event(HOUR, 2)
    wire = Tripwire(at=1, verbs=["put_if_absent"], about=event, error=lake_down, times=40)
    outcome = await world.worker(wire).run()
    assert outcome.outcome == "delivered"
    assert world.vendor.count("trigger") == 1
    await world.check_rest()


async def test_G7_a_tick_that_cannot_save_the_guid_reports_it() -> None:
    world = few()
    event = world.layout.event(HOUR, 2)
    wire = Tripwire(at=1, verbs=["put_if_absent"], about=event, error=lake_down, times=None)
    outcome = await world.worker(wire).tick()
    assert (outcome.outcome, outcome.cause) == ("failed", "dest_unavailable")
    assert outcome.hint is not None
    assert f"collect {HOUR} --job-guid {await guid_of(world)}" in outcome.hint


async def test_G8_refused_credentials_are_reported_and_the_hour_stays_open() -> None:
    world = few()
    refused = breaks("trigger", lambda: CredentialsError("403", cause="auth_forbidden"))
    outcome = await world.worker(refused).run()
    assert (outcome.outcome, outcome.cause, outcome.exit_code) == ("failed", "auth_forbidden", 77)
    assert (await world.ticks()).outcome == "delivered"


async def test_G8_no_token_means_no_claim_and_the_cause_ends_the_hour() -> None:
    world = few()
    world.vendor.rejects_secret = True
    outcome = await world.worker().run()
    assert (outcome.outcome, outcome.cause, outcome.exit_code) == ("failed", "auth_rejected", 77)
    assert world.kinds() == ["deferred"]
    await world.worker().run()
    assert world.kinds() == ["deferred"]  # said once
    world.clock.advance(3600)
    outcome = await world.worker().tick()
    assert [(one.hour, one.cause) for one in outcome.also] == [(HOUR, "auth_rejected")]
    assert world.kinds() == ["deferred", "failed"]


async def test_G9_an_answer_that_breaks_the_contract_ends_the_hour_at_once() -> None:
    world = few()
    outcome = await world.worker(breaks("trigger", lambda: VendorError("405"))).run()
    assert (outcome.outcome, outcome.cause) == ("failed", "vendor_contract")
    assert world.kinds() == ["claimed", "failed"]
    await world.check_rest()


async def test_G10_a_server_error_is_an_answer_lost() -> None:
    world = few()
    down = breaks("trigger", lambda: VendorError("503", cause="vendor_unavailable"))
    assert (await world.worker(down).run()).outcome == "delivered"
    assert world.kinds()[:2] == ["claimed", "reposting"]


async def test_G12_the_guid_of_an_earlier_hour_is_refused() -> None:
    world = few("12:00:05")
    assert (await world.worker().run()).outcome == "delivered"
    world.clock.advance((at("13:00:10") - world.clock.now()).total_seconds())
    [guid] = world.vendor.triggers
    world.vendor._trigger = lambda: Triggered(guid)  # type: ignore[method-assign] # the fake repeats itself
    outcome = await world.worker().run()
    assert (outcome.outcome, outcome.cause) == ("failed", "duplicate_guid")


async def test_G13_a_second_scheduler_finds_the_hour_claimed() -> None:
    world = few()
    first, second = world.worker(host="one"), world.worker(host="two")
    one, two = await asyncio.gather(first.tick(), second.tick())
    assert {one.outcome, two.outcome} == {"waiting"}
    assert {one.exit_code, two.exit_code} == {75}
    assert world.vendor.count("trigger") == 1
    assert world.kinds() == ["claimed", "triggered"]


async def test_G14_a_requested_pause_is_waited_before_the_second_post() -> None:
    world = few()
    busy = breaks("trigger", lambda: VendorError("429", cause="vendor_unavailable", retry_after=37.0))
    assert (await world.worker(busy).run()).outcome == "delivered"
    assert world.clock.slept[0] == 37.0


async def test_G15_a_time_beyond_the_hour_ends_it() -> None:
    world = few()
    world.vendor.triggers["theirs"] = at("13:10")  # a clock far ahead: allowed again at 14:10
    outcome = await world.worker().run()
    assert (outcome.cause, world.vendor.count("trigger")) == ("trigger_limited", 1)


async def test_G_an_unsent_trigger_is_tried_again_for_as_long_as_the_hour_lasts() -> None:
    """Six of them must not use up what the vendor allows: he never got one."""
    world = few()
    wire = Tripwire(at=1, verbs=["trigger"], error=lambda: NetworkError("refused", sent=False), times=12)
    outcome = await world.worker(wire).run()
    assert (outcome.outcome, outcome.cause) == ("failed", "network")
    for _ in range(12):
        await world.clock.sleep(120)
        await world.worker(wire).tick()
    assert (await world.ticks()).outcome == "delivered"
    assert world.vendor.count("trigger") == 1


async def test_G_own_schedule_drift_is_distinguished_from_a_foreign_export() -> None:
    world = few("12:59:50")
    assert (await world.worker().run()).hour == HOUR.shift(-1)
    world.clock.start = at("13:59:30") - timedelta(seconds=world.clock._elapsed)
    world.vendor.triggers = dict.fromkeys(world.vendor.triggers, at("12:59:50"))
    outcome = await world.worker().tick()
    assert outcome.hour == HOUR
    assert world.triggers_in(HOUR) == 1  # slept in place for 13:59:50


# -- replication --------------------------------------------------------------------------------------------


async def test_P2_a_failed_export_ends_the_hour_with_one_cause() -> None:
    world = few()
    await world.worker().tick()
    world.vendor.failed_jobs.add(await guid_of(world))
    outcome = await world.ticks()
    assert (outcome.outcome, outcome.cause, outcome.exit_code) == ("failed", "vendor_job_failed", 69)
    assert world.kinds() == ["claimed", "triggered", "failed"]
    await world.check_rest()


async def test_X7_a_failure_that_could_not_be_recorded_is_handled_by_the_next_tick() -> None:
    world = few()
    await world.worker().tick()
    world.vendor.failed_jobs.add(await guid_of(world))
    wire = Tripwire(at=1, verbs=["put_if_absent"], error=lake_down, times=None)
    outcome = await world.worker(wire).tick()
    assert (outcome.outcome, outcome.exit_code) == ("waiting", 75)
    assert world.kinds() == ["claimed", "triggered"]
    assert (await world.ticks()).cause == "vendor_job_failed"
    await world.check_rest()


async def test_P4_an_export_that_takes_too_long_is_overdue_and_then_late() -> None:
    world = few(replication=2 * 3600)
    outcome = await world.worker().run()
    assert (outcome.outcome, outcome.cause, outcome.late) == ("failed", "vendor_timeout", False)
    assert at("13:50") <= world.clock.now() <= at("13:52")
    outcome = await world.ticks()
    assert (outcome.outcome, outcome.cause, outcome.late) == ("delivered", None, True)
    assert parse_receipt(world.folder()[RECEIPT_NAME]).late
    assert world.triggers_in(HOUR) == 1


async def test_P4_an_export_that_never_ends_fails_six_hours_after_its_claim() -> None:
    world = few(replication=10**9)
    outcome = await world.ticks()
    assert (outcome.outcome, outcome.cause) == ("failed", "vendor_timeout")
    assert at("19:00") <= world.clock.now() <= at("19:10")
    assert world.kinds() == ["claimed", "triggered", "overdue", "failed"]
    for hour in (HOUR.shift(n) for n in range(1, 6)):
        assert world.triggers_in(hour) == 1  # the Hours after it went their own way


async def test_E26_the_vendors_last_word_is_in_the_message_and_the_ledger() -> None:
    world = few(replication=2 * 3600)
    world.vendor.word = '"CompletedWithErrors"'
    outcome = await world.worker().run()
    assert outcome.cause == "vendor_timeout"
    [overdue] = [event for event in world.events() if event["event"] == "overdue"]
    assert "CompletedWithErrors" in overdue["detail"]
    assert "CompletedWithErrors" in (outcome.detail or "")


async def test_E22_no_second_trigger_is_sent_once_a_guid_is_known() -> None:
    guids = ("7470724f-e195-416b-a2da-94e63e94f341", "00000000-e195-416b-a2da-94e63e94f341")
    world = few()
    outcome = await world.worker(breaks("trigger", lambda: AnswerUnreadable("two GUIDs", guids))).run()
    assert (outcome.outcome, outcome.cause) == ("failed", "trigger_ack_lost")
    assert world.kinds() == ["claimed", "failed"]
    assert all(guid in world.events()[-1]["detail"] for guid in guids)
    assert world.triggers_in(HOUR) == 0, "the trigger that broke was the only one"


async def test_P5_errors_of_polls_count_only_against_the_deadline() -> None:
    world = few()
    wire = Tripwire(at=1, verbs=["is_complete"], error=lambda: VendorError("500", cause="vendor_unavailable"), times=15)
    assert (await world.worker(wire).run()).outcome == "delivered"


async def test_P6_the_first_complete_is_final() -> None:
    world = few()
    worker = world.worker(breaks("list_files", lambda: NetworkError("reset")))
    await worker.tick()
    world.clock.advance(20 * 60)
    await worker.tick()
    assert world.kinds()[-1] == "replicated"
    world.vendor.replication += 60  # it says "running" again
    polls = world.vendor.count("is_complete")
    world.clock.advance(120)
    assert (await world.ticks()).outcome == "delivered"
    assert world.vendor.count("is_complete") == polls


async def test_P8_a_guid_that_the_vendor_does_not_know_ends_the_hour() -> None:
    world = few()
    outcome = await world.worker(breaks("is_complete", lambda: VendorError("404", cause="job_gone"))).run()
    assert (outcome.outcome, outcome.cause) == ("failed", "job_gone")


async def test_P12_a_machine_that_slept_for_three_hours_checks_once_before_it_gives_up() -> None:
    world = few()
    await world.worker().tick()
    world.clock.advance(3 * 3600)
    outcome = await world.worker().tick()
    [also] = [one for one in outcome.also if one.hour == HOUR]
    assert also.outcome == "delivered"


# -- list and landing ---------------------------------------------------------------------------------------


async def test_U1_an_empty_list_is_retried_for_ten_minutes_and_is_never_a_success() -> None:
    world = World({}, FakeClock(at("13:00:05")))
    outcome = await world.worker().run()
    assert (outcome.outcome, outcome.cause) == ("failed", "url_list_empty")
    assert at("13:30") <= world.clock.now() <= at("13:32")
    assert world.folder() == {}
    world.vendor.files.update(FEW)
    assert (await world.ticks()).late


async def test_D4_a_file_missing_at_the_source_is_no_late_delivery_until_it_is_one() -> None:
    """A command that ends with a cause has delivered nothing, so there is nothing that could be late."""
    world = few()
    name = min(FEW)
    world.vendor.fault("missing", name, times=None)
    outcome = await world.worker().run()
    assert (outcome.outcome, outcome.cause, outcome.late) == ("failed", "source_missing", False)
    world.vendor.faults.clear()
    outcome = await world.ticks()
    assert (outcome.outcome, outcome.late) == ("delivered", True)


async def test_U12_new_files_join_the_promise_before_the_receipt() -> None:
    late = max(FEW)
    world = few(late_keys=(late,))
    assert (await world.worker().run()).outcome == "delivered"
    assert world.landed() == world.by_name
    assert parse_promise(world.folder()[PROMISE_NAME]).names == set(world.by_name)
    assert world.kinds().count("promised") == 2


async def test_U12_a_file_that_leaves_the_list_stays_promised() -> None:
    world = few()
    gone = max(FEW)
    worker = world.worker(breaks("download", lambda: NetworkError("reset")))
    await worker.tick()
    world.clock.advance(20 * 60)
    stopped = Tripwire(at=1, verbs=["put"], about=gone.rpartition("/")[2], times=None)
    with pytest.raises(Crash):
        await world.worker(stopped).tick()
    data = world.vendor.files.pop(gone)
    world.alive.clear()
    outcome = await world.worker().tick()
    assert (outcome.outcome, outcome.cause) == ("failed", "list_changed")
    assert RECEIPT_NAME not in world.folder()
    world.vendor.files[gone] = data
    assert (await world.ticks()).outcome == "delivered"


async def test_U16_a_table_without_files_is_delivered_and_named() -> None:
    files = {key: data for key, data in FEW.items() if "Table01" not in key}
    world = World(files, FakeClock(at("13:00:05")))
    outcome = await world.worker().run()
    assert (outcome.outcome, outcome.missing_tables) == ("delivered", ("Table01",))
    assert (await world.worker().tick()).missing_tables == ("Table01",)


async def test_M5_an_unreadable_schema_does_not_delay_a_proven_hour() -> None:
    world = few()
    # The schema is read only after the Receipt; the first `get` of it is what would count tables.
    wire = Tripwire(at=1, verbs=["get"], about="_MasterTableSchema", error=lake_down, times=None)
    outcome = await world.worker(wire).run()
    assert (outcome.outcome, outcome.missing_tables) == ("delivered", None)
    assert wire.calls
    await world.check_rest()


async def test_T4_a_run_outlasts_a_blink_before_its_claim() -> None:
    world = few()
    wire = Tripwire(at=1, verbs=["authorize"], error=lambda: NetworkError("refused", sent=False), times=1)
    outcome = await world.worker(wire).run()
    assert outcome.outcome == "delivered"
    assert len(world.vendor.triggers) == 1


async def test_T4_a_run_ends_clearly_when_the_vendor_stays_away() -> None:
    world = few()
    wire = Tripwire(at=1, verbs=["authorize"], error=lambda: NetworkError("refused", sent=False), times=None)
    begun = world.clock.monotonic()
    outcome = await world.worker(wire).run()
    assert (outcome.outcome, outcome.cause, outcome.exit_code) == ("failed", "network", 69)
    assert world.clock.monotonic() - begun < 150
    assert not world.vendor.triggers


# -- receipt and state --------------------------------------------------------------------------------------


async def test_R1_a_receipt_of_the_same_files_is_a_success() -> None:
    world = few()
    wire = Tripwire(at=1, verbs=["put_if_absent"], about="_Receipt", when="after", times=None)
    with pytest.raises(Crash):
        await world.worker(wire).run()
    world.alive.clear()
    assert world.kinds()[-1] == "promised"
    assert (await world.ticks()).outcome == "delivered"
    await world.check_rest()


async def test_R1_a_receipt_of_another_export_is_never_written_over() -> None:
    world = few()
    await world.worker().run()
    before = dict(world.folder())
    key = world.layout.event(HOUR, len(world.events()))
    del world.store.objects[key]  # its last event never came to be
    await world.worker().ledger.read(HOUR)
    world.vendor.triggers["other"] = at("13:30")
    world.vendor.files = {name: data + b"!" for name, data in FEW.items()}
    outcome = await world.worker().collect(HOUR, "other")
    assert (outcome.outcome, outcome.cause, outcome.exit_code) == ("failed", "receipt_conflict", 73)
    assert outcome.hint is not None
    assert "--job-guid 00000000-0000-4000-8000-000000000001" in outcome.hint
    assert world.folder() == before
    assert (await world.worker().collect(HOUR)).outcome == "delivered"


async def test_R4_a_receipt_that_could_not_be_written_is_all_that_the_next_tick_writes() -> None:
    world = few()
    wire = Tripwire(at=1, verbs=["put_if_absent"], about="_Receipt", error=lake_down, times=None)
    await world.worker().tick()
    world.clock.advance(21 * 60)
    outcome = await world.worker(wire).tick()
    assert (outcome.outcome, outcome.cause) == ("waiting", "waiting")
    written, downloads = dict(world.store.written), world.vendor.count("download")
    world.alive.clear()
    assert (await world.worker().tick()).outcome == "delivered"
    fresh = {key for key, times in world.store.written.items() if times != written.get(key, 0)}
    assert world.layout.receipt(HOUR) in fresh
    assert all("/ledger/" in key for key in fresh - {world.layout.receipt(HOUR), world.layout.settled})
    assert world.vendor.count("download") == downloads


async def test_R5_a_damaged_ledger_is_reported_and_nothing_is_sent() -> None:
    world = few()
    await world.worker().tick()
    world.store.objects[world.layout.event(HOUR, 2)] = b'{"format": 1, "event": "trig'
    calls = len(world.vendor.calls)
    outcome = await world.worker().tick()
    assert (outcome.outcome, outcome.cause, outcome.exit_code) == ("failed", "ledger_damaged", 73)
    assert len(world.vendor.calls) == calls
    [shown] = await status(world.worker().ledger, world.environment, world.clock, last=HOUR, hours=1)
    assert (shown.outcome, shown.cause) == ("failed", "ledger_damaged")


async def test_R5_garbage_in_an_older_hour_does_not_stop_the_others() -> None:
    world = few()
    await world.worker().tick()
    world.store.objects[world.layout.event(HOUR, 2)] = b"garbage"
    world.clock.advance(3600)
    outcome = await world.worker().tick()
    assert (outcome.hour, outcome.outcome, outcome.job_guid is not None) == (NEXT, "waiting", True)


async def test_R7_a_tick_that_died_before_it_returned_is_repeated_without_harm() -> None:
    world = few()
    await world.worker().run()
    first = await world.worker().tick()
    assert first.outcome == "delivered"
    await world.check_rest()
    assert (first.files, first.bytes) == (len(FEW), sum(map(len, FEW.values())))


async def test_R8_an_object_deleted_later_is_found_by_verify() -> None:
    world = few()
    await world.worker().run()
    name = min(world.landed())
    await world.store.delete(world.layout.file(HOUR, name))
    verdict = (await verify(Lake(world.store, world.layout, "s3://lake"), HOUR)).verdict
    assert (verdict.complete, verdict.valid) == (False, False)
    assert [(finding.kind, finding.file) for finding in verdict.findings] == [("missing_file", name)]


def spoils_writes(world: World, about: str, *, times: int) -> None:
    """The store keeps other bytes than it was sent, of the same length, and says that all is well."""
    real, left = world.store.put, times

    async def put(key: str, data: bytes) -> StoredFile:
        nonlocal left
        stored = await real(key, data)
        if about in key and left:
            left -= 1
            await real(key, bytes(len(data)))
        return stored

    world.store.put = put  # type: ignore[method-assign] # a store that errs


async def test_W13_a_file_stored_with_other_bytes_is_uploaded_again() -> None:
    world = few()
    spoils_writes(world, "Table00", times=2)
    assert (await world.worker().run()).outcome == "delivered"
    assert world.landed() == world.by_name
    world.check()


async def test_W13_after_two_more_attempts_it_fails_with_integrity_and_is_removed() -> None:
    world = few()
    victims = [name for name in world.by_name if "Table00" in name]
    spoils_writes(world, "Table00", times=3 * len(victims))
    outcome = await world.worker().run()
    assert (outcome.outcome, outcome.cause, outcome.exit_code) == ("failed", "integrity", 1)
    assert RECEIPT_NAME not in world.folder()
    assert world.events()[-1]["unproven"] == sorted(victims)
    before = world.vendor.count("download")
    outcome = await world.ticks()
    assert (outcome.outcome, outcome.late) == ("delivered", True)
    assert world.vendor.count("download") == before + len(victims), "the others are kept"
    assert world.landed() == world.by_name
    world.check()


@pytest.mark.parametrize(("there", "fetched"), [("equal", False), ("other size", True), ("older", True)], ids=str)
async def test_W14_existing_files_are_reused_overwritten_or_left_alone(there: str, fetched: bool) -> None:
    """Without a Receipt: equal is kept, anything else written over. With one, nothing ever is."""
    world = few()
    victim = min(world.by_name)
    key = world.layout.file(HOUR, victim)
    stop = Tripwire(at=1, verbs=["put_if_absent"], about="_Receipt", times=None)
    with pytest.raises(Crash):
        await world.worker(stop).run()
    world.alive.clear()
    match there:
        case "other size":
            await world.store.put(key, b"cut")
        case "older":  # left by somebody before this export was promised
            await world.store.put(key, bytes(len(world.by_name[victim])))
            world.store.stamps[key] = at("13:00")
    before = world.vendor.count("download")
    assert (await world.worker().tick()).outcome == "delivered"
    assert world.vendor.count("download") == before + fetched
    assert world.landed() == world.by_name
    await world.store.put(key, b"somebody changed it")
    changed = dict(world.store.objects)
    assert (await world.worker().tick()).outcome == "delivered"
    assert (await world.worker().collect(HOUR)).outcome == "delivered"
    assert world.store.objects == changed


async def test_R_another_export_s_leftovers_are_not_taken_for_this_one_s() -> None:
    """Same names, same sizes, other content: only the time tells them apart once the new Promise is on record."""
    world = few()
    stop = Tripwire(at=1, verbs=["put_if_absent"], about="_Receipt", times=None)
    with pytest.raises(Crash):
        await world.worker(stop).run()
    world.alive.clear()
    world.vendor.triggers["other"] = at("12:00")
    world.vendor.files = {key: bytes(byte ^ 1 for byte in data) for key, data in FEW.items()}
    world.clock.advance(5)
    again = Tripwire(at=1, verbs=["download"], times=None)  # dies after the other export's Promise
    with pytest.raises(Crash):
        await world.worker(again).collect(HOUR, "other")
    world.alive.clear()
    assert (await world.ticks()).outcome == "delivered"
    assert world.landed() == world.by_name
    world.check()


async def test_R_a_file_stored_again_with_other_marks_is_read_before_it_is_proven() -> None:
    """In a folder the mark changes with each write: a zombie's same bytes are no reason to fail."""
    world = few()
    worker = world.worker()
    real = world.store.put

    async def other_mark(key: str, data: bytes) -> object:
        stored = await real(key, data)
        return type(stored)(key, stored.size, "inode-1")

    world.store.put = other_mark  # type: ignore[method-assign,assignment] # the store's answer, said otherwise
    assert (await worker.run()).outcome == "delivered"
    marks = {file.etag for file in parse_receipt(world.folder()[RECEIPT_NAME]).files}
    assert "inode-1" not in marks


# -- two at once --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hosts", [("host", "host"), ("one", "two")], ids=["K1 one host", "K2 two hosts"])
async def test_K1_K2_two_runs_at_once_land_an_hour_once(hosts: tuple[str, str]) -> None:
    world = World()
    one, two = await asyncio.gather(*(world.worker(host=host).run() for host in hosts))
    assert {one.outcome, two.outcome} == {"delivered"}
    assert world.vendor.count("trigger") == 1
    assert world.vendor.count("download") == 60
    world.check()


async def test_K3_a_holder_that_dies_elsewhere_is_replaced_after_its_time() -> None:
    world = few()
    await world.worker(host="one").tick()
    world.clock.advance(20 * 60)
    with pytest.raises(Crash):
        await world.worker(Tripwire(at=1, verbs=["put"], about="Table", times=None), host="one").tick()
    died = world.clock.now()
    outcome = await world.worker(host="two").tick()
    assert (outcome.outcome, outcome.until) == ("waiting", died + timedelta(seconds=180))
    assert (await world.worker(host="two").run()).outcome == "delivered"


async def test_K3_a_holder_that_died_on_this_host_is_replaced_at_once() -> None:
    world = few()
    await world.worker().tick()
    world.clock.advance(20 * 60)
    dying = world.worker(Tripwire(at=1, verbs=["put"], about="Table", times=None))
    with pytest.raises(Crash):
        await dying.tick()
    world.kill(dying)
    assert (await world.worker().tick()).outcome == "delivered"


async def test_K4_a_zombie_that_wakes_finds_its_number_taken() -> None:
    world = few()
    zombie = world.worker(host="one")
    await zombie.tick()
    world.clock.advance(20 * 60)
    assert (await world.worker(host="two").run()).outcome == "delivered"
    before = dict(world.store.objects)
    outcome = await zombie._attempt(HOUR)  # with what it knew before it slept
    assert (outcome.outcome, outcome.cause, outcome.exit_code) == ("waiting", "claim_lost", 75)
    assert world.store.objects == before


async def test_K5_K6_a_retry_while_the_first_still_runs_waits_for_it() -> None:
    world = few()
    first = asyncio.ensure_future(world.worker(host="one").run())
    await world.clock.sleep(21 * 60)
    outcome = await world.worker(host="two").run()
    assert outcome.outcome == "delivered"
    assert (await first).outcome == "delivered"
    assert world.vendor.count("trigger") == 1


async def test_K7_test_and_prod_never_share_a_root() -> None:
    world = few()
    await world.worker().tick()
    other = World(FEW, world.clock, environment=TEST)
    other.layout = world.layout
    other.settings = type(world.settings)(TEST, "ACME")
    before = dict(world.store.objects)
    with pytest.raises(SettingsError, match="belongs to Prod") as caught:
        await other.worker(store=world.store).tick()
    assert (caught.value.cause.word, caught.value.exit_code) == ("lake_mismatch", 2)
    assert world.store.objects == before
    assert other.vendor.calls == []


async def test_E25_placeholder_of_a_folder_in_the_list_is_left_out_and_the_hour_lands() -> None:
    world = few()
    world.vendor.files["CARG/exports/"] = b""
    outcome = await world.ticks()
    assert (outcome.outcome, outcome.files) == ("delivered", len(FEW))
    assert (await verify(Lake(world.store, world.layout), HOUR)).verdict.proven


async def test_K8_a_run_by_hand_during_a_tick_waits() -> None:
    world = few()
    slow = Tripwire(at=1, verbs=["trigger"], when="before", error=Crash, times=None)
    with pytest.raises(Crash):
        await world.worker(slow, host="one").tick()
    outcome = await world.worker(host="two").tick()
    assert (outcome.outcome, outcome.exit_code) == ("waiting", 75)
    assert world.vendor.count("trigger") == 1 - 1
    assert (await world.worker(host="two").run()).outcome == "delivered"


async def test_the_hour_of_another_program_is_not_claimed() -> None:
    world = few()
    world.store._write(world.layout.file(HOUR, "theirs.json.gz"), b"x")
    outcome = await world.worker().run()
    assert (outcome.outcome, outcome.cause, outcome.exit_code) == ("waiting", "hour_taken", 75)
    assert world.events() == []
    assert world.vendor.calls == []
    [shown] = await status(world.worker().ledger, world.environment, world.clock, last=HOUR, hours=1)
    assert shown.cause == "hour_taken"


async def test_an_hour_that_was_never_begun_is_no_concern_of_later_ticks_of_the_same_process() -> None:
    """Lambda keeps a process for many ticks, and the process keeps what it has read."""
    world = few()
    world.store._write(world.layout.file(HOUR, "theirs.json.gz"), b"x")
    worker = world.worker()
    assert (await worker.tick()).cause == "hour_taken"
    world.clock.advance(2 * 3600)
    outcome = await worker.tick()
    assert (outcome.outcome, outcome.also) == ("waiting", ())
    assert world.events(HOUR) == []


async def test_X3_a_second_stop_signal_ends_at_once_and_the_run_can_be_resumed() -> None:
    world = few()
    asked, answer = asyncio.Event(), asyncio.Event()
    worker = world.worker()
    real = worker.vendor.trigger

    async def slow() -> Triggered | TooEarly:
        asked.set()
        await answer.wait()
        return await real()

    worker.vendor.trigger = slow  # type: ignore[method-assign] # an answer that takes its time
    run = asyncio.ensure_future(worker.run())
    await asked.wait()
    for _ in range(2):
        run.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
    assert run.cancelled()
    world.kill(worker)
    assert world.kinds() == ["claimed"]
    assert (await world.ticks()).outcome == "delivered"


# -- the clock ----------------------------------------------------------------------------------------------


async def test_C1_a_job_that_ends_in_the_next_hour_lands_in_its_own_hour() -> None:
    world = few("13:58:00")
    outcome = await world.worker().run()
    assert (outcome.hour, outcome.outcome, outcome.folder) == (HOUR, "delivered", "IMOSDL/Hourly/20220510/13/")
    assert world.clock.now() > NEXT.start
    assert world.landed(HOUR) == world.by_name
    assert world.folder(NEXT) == {}


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1), timedelta(hours=7)], ids=str)
async def test_C3_a_clock_that_jumps_while_the_run_polls_moves_no_deadline(jump: timedelta) -> None:
    world = few()
    worker, machine = world.worker(), Skewed(world.clock, timedelta(0))
    worker.clock = worker.ledger.clock = machine
    run = asyncio.ensure_future(worker.run())
    await world.clock.sleep(5 * 60)
    machine.skew = jump
    outcome = await run
    assert (outcome.hour, outcome.outcome, outcome.late) == (HOUR, "delivered", False)
    assert max(world.clock.slept) <= 300


async def test_C5_firing_twice_or_late_is_the_same_hour_once() -> None:
    world = few("13:00:01")
    await world.worker().tick()
    for minutes in (0, 10, 20, 25, 30):
        world.clock.advance(minutes * 30)
        await world.worker().tick()
    assert world.triggers_in(HOUR) == 1
    await world.check_rest()


async def test_C6_hours_of_an_outage_are_missed_and_nothing_is_triggered_for_them() -> None:
    world = few()
    assert (await world.worker().run()).outcome == "delivered"
    world.clock.advance(6 * 3600)
    await world.worker().tick()
    now = Hour.of(world.clock.now())
    assert [world.triggers_in(hour) for hour in HOUR.to(now)] == [1, 0, 0, 0, 0, 0, 1]
    shown = await status(world.worker().ledger, world.environment, world.clock, last=now, hours=7)
    assert [one.cause for one in shown] == ["waiting", *["missed"] * 5, None]
    assert [one.exit_code for one in shown] == [75, *[1] * 5, 0]


async def test_C6_hours_before_the_lakes_first_record_are_nobodys_miss() -> None:
    world = few()
    now = Hour.of(world.clock.now())

    async def words() -> list[tuple[str, str | None]]:
        shown = await status(world.worker().ledger, world.environment, world.clock, last=now, hours=4)
        return [(one.outcome, one.owner or one.detail) for one in shown]

    before = ("none", "before viplake's first run")
    await world.store.put(world.layout.file(now.shift(-2), "Voyage_1.json.gz"), b"of another program")
    foreign = ("none", "landed by another program")
    assert await words() == [("waiting", "not started yet"), before, foreign, before]
    await world.worker().tick()
    world.clock.advance(2 * 3600)
    now = now.shift(2)
    assert await words() == [("waiting", "not started yet"), ("failed", "us"), ("waiting", None), before]


@pytest.mark.parametrize("start", ["2021-12-31T23:50:00+00:00", "2024-02-28T23:50:00+00:00"])
async def test_C7_year_s_end_and_leap_days(start: str) -> None:
    clock = FakeClock(at("13:00").fromisoformat(start))
    hour = Hour.of(clock.now())
    world = World(FEW, clock)
    assert (await world.worker().run()).outcome == "delivered"
    assert world.landed(hour) == world.by_name
    assert Hour.of(clock.now()).day != hour.day
    later = await world.ticks(hour=Hour.of(clock.now()))
    assert later.outcome == "delivered"


@pytest.mark.parametrize("skew", [timedelta(minutes=20), timedelta(minutes=-20)], ids=["ahead", "behind"])
async def test_C8_with_skewed_clocks_the_numbers_decide_and_not_the_time(skew: timedelta) -> None:
    """A worker whose clock is wrong may take over too soon, but never lands a second Hour beside the first."""
    world = World()
    odd = world.worker(host="two")
    first = asyncio.ensure_future(world.worker(host="one").run())
    await world.clock.sleep(60)
    odd.clock = odd.ledger.clock = Skewed(world.clock, skew)
    for _ in range(30):
        await odd._tick(HOUR)
        await world.clock.sleep(60)
    assert (await first).outcome in {"delivered", "waiting"}
    assert (await world.ticks()).outcome == "delivered"
    world.check()
    assert world.vendor.count("trigger") <= 2


# -- many Hours at once -------------------------------------------------------------------------------------


async def test_a_trigger_does_not_wait_for_an_older_hour_s_files() -> None:
    world, wire = few("13:58:00"), Tripwire()
    await world.worker().tick()
    world.clock.advance(20 * 60)
    world.vendor.rule = "calendar"
    outcome = await world.worker(wire).tick()
    assert outcome.hour == NEXT
    verbs = [call.split(" ")[0] for call in wire.calls]
    assert verbs.index("trigger") < verbs.index("download")
    assert [(one.hour, one.outcome) for one in outcome.also] == [(HOUR, "delivered")]


async def test_an_older_hour_that_something_passing_hinders_keeps_its_last_chances() -> None:
    world = few()
    await world.worker().tick()
    world.clock.advance(2.5 * 3600)
    outcome = await world.worker(breaks("list_files", lambda: NetworkError("reset"))).tick()
    assert [(one.hour, one.outcome, one.cause) for one in outcome.also] == [(HOUR, "failed", "abandoned")]
    assert world.kinds()[-1] == "overdue"
    outcome = await world.ticks()
    assert (outcome.outcome, outcome.late) == ("delivered", True)


async def test_an_hour_that_is_found_after_its_last_chance_is_tried_once_and_then_abandoned() -> None:
    world = few()
    await world.worker().tick()
    world.clock.advance(8 * 3600)
    await world.worker(breaks("list_files", lambda: NetworkError("reset"))).tick()
    assert (world.kinds()[-1], world.events()[-1]["cause"]) == ("failed", "abandoned")
    assert (await world.worker().collect(HOUR)).outcome == "delivered"


async def test_an_hour_from_before_yesterday_is_shown_as_abandoned() -> None:
    world = few()
    await world.worker().tick()
    world.clock.advance(3 * 86_400)
    await world.worker().tick()
    shown = await status(world.worker().ledger, world.environment, world.clock, last=HOUR, hours=1)
    assert [(one.outcome, one.cause, one.job_guid is not None) for one in shown] == [("failed", "abandoned", True)]


async def test_status_asks_nothing_of_the_vendor_and_writes_nothing() -> None:
    world = few()
    await world.worker().run()
    calls, objects = len(world.vendor.calls), dict(world.store.objects)
    shown = await status(world.worker().ledger, world.environment, world.clock, last=HOUR, hours=48)
    assert len(shown) == 48
    assert [one.outcome for one in shown] == ["delivered", *["none"] * 47]
    assert (len(world.vendor.calls), world.store.objects) == (calls, objects)


# -- collect ------------------------------------------------------------------------------------------------


async def test_collect_without_a_guid_gives_the_next_step() -> None:
    world = few()
    with pytest.raises(SettingsError, match="no job GUID is known") as caught:
        await world.worker().collect(HOUR.shift(-5))
    assert "--job-guid" in caught.value.hint


async def test_collect_of_a_delivered_hour_changes_nothing() -> None:
    world = few()
    await world.worker().run()
    before = dict(world.store.objects)
    assert (await world.worker().collect(HOUR)).outcome == "delivered"
    assert world.store.objects == before


async def lost_receipt() -> World:
    """A delivered Hour whose Receipt somebody deleted two hours later."""
    world = few()
    await world.worker().run()
    world.clock.advance(2 * 3600)
    await world.store.delete(world.layout.receipt(HOUR))
    return world


async def test_R8_a_lost_receipt_is_written_again_from_the_files_in_the_folder() -> None:
    world = few()
    await world.worker().run()
    before, asked = dict(world.store.objects), len(world.vendor.calls)
    await world.store.delete(world.layout.receipt(HOUR))
    world.clock.advance(30 * 86400)
    assert (await world.worker().collect(HOUR)).outcome == "delivered"
    receipts = [parse_receipt(objects[world.layout.receipt(HOUR)]) for objects in (before, world.store.objects)]
    assert receipts[0].files == receipts[1].files
    assert receipts[0].job_guid == receipts[1].job_guid
    last = datetime.fromisoformat(world.events()[-1]["at"])
    assert receipts[1].delivered_at == last, "it was delivered then, not now"
    rest = [{k: v for k, v in one.items() if not k.endswith(RECEIPT_NAME)} for one in (before, world.store.objects)]
    assert rest[0] == rest[1]
    assert len(world.vendor.calls) == asked
    assert (await verify(Lake(world.store, world.layout), HOUR)).verdict.proven


@pytest.mark.parametrize("harm", ["deleted", "shortened", "replaced", "no promise"])
async def test_R8_a_folder_that_proves_nothing_any_more_is_fetched_again(harm: str) -> None:
    world = await lost_receipt()
    name = next(iter(world.by_name))
    key = world.layout.file(HOUR, name)
    match harm:
        case "deleted":
            await world.store.delete(key)
        case "shortened":
            await world.store.put(key, world.by_name[name][:-1])
        case "replaced":  # by other bytes of the same length
            await world.store.put(key, bytes(len(world.by_name[name])))
        case _:
            await world.store.delete(world.layout.promise(HOUR))
    assert (await world.worker().collect(HOUR)).outcome == "delivered"
    assert world.landed() == world.by_name
    assert world.kinds()[-5:] == ["delivered", "reopened", "replicated", "promised", "delivered"]
    assert world.triggers_in(HOUR) == 1
    assert (await verify(Lake(world.store, world.layout), HOUR)).verdict.proven


async def test_R8_where_neither_folder_nor_vendor_prove_it_an_hour_is_delivered_no_more() -> None:
    world = await lost_receipt()
    await world.store.delete(world.layout.file(HOUR, next(iter(world.by_name))))
    outcome = await world.worker(breaks("is_complete", lambda: VendorError("404", cause="job_gone"))).collect(HOUR)
    assert (outcome.outcome, outcome.cause) == ("failed", "job_gone")
    assert RECEIPT_NAME not in world.folder()


async def test_R8_a_receipt_that_cannot_be_read_is_not_written_over() -> None:
    world = few()
    await world.worker().run()
    await world.store.put(world.layout.receipt(HOUR), b"{")
    before = dict(world.store.objects)
    outcome = await world.worker().collect(HOUR)
    assert (outcome.outcome, outcome.cause) == ("failed", "ledger_damaged")
    assert world.store.objects == before


async def test_collect_lands_an_export_that_viplake_never_triggered() -> None:
    world = few()
    world.vendor.triggers["theirs"] = at("10:00")
    hour = HOUR.shift(-3)
    outcome = await world.worker().collect(hour, "theirs")
    assert (outcome.outcome, outcome.hour, outcome.job_guid) == ("delivered", hour, "theirs")
    assert world.landed(hour) == world.by_name
    assert world.vendor.count("trigger") == 0


async def test_every_cause_that_a_run_can_end_with_has_an_owner_and_a_code() -> None:
    for word in ("trigger_ack_lost", "trigger_drift", "trigger_limited", "vendor_timeout", "abandoned", "missed"):
        assert CAUSES[word].owner
        assert CAUSES[word].exit_code
