"""What may be removed from a lake to make room, and what never."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st
from structlog.testing import capture_logs

from fakes import FakeClock
from viplake import config
from viplake.cli import execute
from viplake.commands.follow_up import warn_of_a_full_disk
from viplake.commands.prune import prune
from viplake.errors import LakeError, SettingsError
from viplake.extract.outcome import Outcome
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.prune import HeldHour, expendable, held_hours, parse_age, remove
from viplake.lake.store import StoreSettings, open_store
from viplake.model import PROD, Hour

if TYPE_CHECKING:
    from pathlib import Path

    from viplake.lake.store import Store

LAYOUT = Layout(PROD.prefix)
FIRST = Hour.parse("2022-02-08T08")
SCHEMA = json.dumps([{"DataObjectName": name} for name in ("Voyage", "Voyage_Leg", "Cargo")]).encode()


def held(number: int, *tables: str, proven: bool = True) -> HeldHour:
    return HeldHour(FIRST.shift(number), 100, 2, proven, frozenset(tables))


def names(found: tuple[HeldHour, ...]) -> list[int]:
    return [int((one.hour.start - FIRST.start).total_seconds() // 3600) for one in found]


def test_old_hours_go_and_the_newest_stay() -> None:
    hours = [held(n, "Voyage") for n in range(10)]
    assert names(expendable(hours, before=FIRST.shift(6), keep=0).removed) == [0, 1, 2, 3, 4, 5]
    assert names(expendable(hours, before=FIRST.shift(6), keep=7).removed) == [0, 1, 2]
    assert names(expendable(hours, before=FIRST.shift(100), keep=0).removed) == list(range(9))


def test_the_newest_proof_of_a_table_stays_however_old() -> None:
    hours = [held(0, "Cargo"), held(1, "Cargo", "Voyage"), held(2, "Voyage"), held(3, "Voyage")]
    pruned = expendable(hours, before=FIRST.shift(100), keep=0)
    assert names(pruned.removed) == [0, 2]
    assert [(names((one,))[0], sorted(tables)) for one, tables in pruned.kept] == [(1, ["Cargo"]), (3, ["Voyage"])]


def test_an_hour_without_a_receipt_proves_a_table_only_where_no_other_does() -> None:
    hours = [held(0, "Cargo"), held(1, "Cargo", "Port", proven=False), held(2, "Port", proven=False)]
    assert names(expendable(hours, before=FIRST.shift(100), keep=0).removed) == [1]


@given(
    st.lists(st.tuples(st.booleans(), st.frozensets(st.sampled_from("ABCD"))), max_size=12),
    st.integers(0, 14),
    st.integers(0, 5),
)
def test_the_remaining_hours_prove_every_table(plan: list[tuple[bool, frozenset[str]]], before: int, keep: int) -> None:
    hours = [held(n, *tables, proven=proven) for n, (proven, tables) in enumerate(plan)]
    pruned = expendable(hours, before=FIRST.shift(before), keep=keep)
    left = [one for one in hours if one not in pruned.removed]
    for wanted in ("ABCD", {t for one in hours if one.proven for t in one.tables}):
        for table in wanted:
            newest = [one for one in hours if table in one.tables and (wanted == "ABCD" or one.proven)]
            proven = [one for one in newest if one.proven] or newest
            assert not proven or proven[-1] in left
    assert hours[len(hours) - keep :] == left[len(left) - keep :] if keep else True
    assert all(one.hour < FIRST.shift(before) for one in pruned.removed)


@pytest.mark.parametrize(("text", "age"), [("90d", timedelta(days=90)), ("12w", timedelta(weeks=12))])
def test_an_age_is_days_or_weeks(text: str, age: timedelta) -> None:
    assert parse_age(text) == age


@pytest.mark.parametrize("text", ["", "90", "7d", "1w", "0d", "-9d", "9h", "1e3d", "90 days"])
def test_an_invalid_or_too_short_age_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        parse_age(text)


# -- a folder -----------------------------------------------------------------------------------------------------


async def land(store: Store, hour: Hour, *files: str) -> None:
    for name in (*files, "_MasterTableSchema.json", "_PresignedUrls.json", "_Receipt.json"):
        await store.put(LAYOUT.file(hour, name), SCHEMA if name.startswith("_Master") else b"[]")


@pytest.fixture
async def lake(tmp_path: Path) -> Path:
    folder = tmp_path / "lake"
    store = open_store(StoreSettings(f"file://{folder}", create=True))
    await land(store, FIRST, "Voyage_1.json.gz")
    await land(store, FIRST.shift(1), "Voyage_1.json.gz", "Voyage_Leg_1.json.gz")
    await land(store, FIRST.shift(24), "Voyage_1.json.gz")
    await store.put(LAYOUT.event(FIRST, 1), b"{}")
    await store.put(f"{LAYOUT.observability}historical_job_metrics.csv", b"date\n")
    return folder


async def test_the_facts_come_from_the_folders_and_their_schemas(lake: Path) -> None:
    found = await held_hours(Lake(open_store(StoreSettings(f"file://{lake}")), LAYOUT))
    assert [sorted(one.tables) for one in found] == [["Voyage"], ["Voyage", "Voyage_Leg"], ["Voyage"]]
    assert {(one.files, one.proven) for one in found} == {(4, True), (5, True)}


def settings_for(lake: str) -> config.Settings:
    return config.load(environ={"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": lake})


@pytest.mark.parametrize("dry_run", [True, False])
async def test_prune_removes_whole_hours_and_leaves_ledger_and_datasets(lake: Path, *, dry_run: bool) -> None:
    clock = FakeClock(FIRST.start + timedelta(days=100))
    pruned = await prune(settings_for(f"file://{lake}"), "90d", keep=0, dry_run=dry_run, clock=clock)
    assert names(pruned.removed) == [0]
    assert [(names((one,))[0], sorted(tables)) for one, tables in pruned.kept] == [
        (1, ["Voyage_Leg"]),
        (24, ["Voyage"]),
    ]
    assert (lake / LAYOUT.folder(FIRST)).exists() is dry_run
    assert (lake / LAYOUT.receipt(FIRST.shift(1))).exists()
    assert (lake / LAYOUT.event(FIRST, 1)).exists()
    assert (lake / f"{LAYOUT.observability}historical_job_metrics.csv").exists()


async def test_the_receipt_goes_first(lake: Path) -> None:
    """A crash in the middle leaves an Hour without a Receipt, never a Receipt without its files."""

    class Dying:
        def __init__(self, store: Store) -> None:
            self.store = store
            self.deleted: list[str] = []

        def __getattr__(self, name: str) -> Any:
            return getattr(self.store, name)

        async def delete(self, key: str) -> None:
            if len(self.deleted) == 2:
                raise LakeError("the disk is gone", cause="dest_io")
            self.deleted.append(key)
            await self.store.delete(key)

    store = open_store(StoreSettings(f"file://{lake}"))
    dying: Any = Dying(store)
    hours = (await held_hours(Lake(store, LAYOUT)))[:1]
    with pytest.raises(LakeError):
        await remove(Lake(dying, LAYOUT), hours, lake)
    assert dying.deleted[0] == LAYOUT.receipt(FIRST)
    await remove(Lake(store, LAYOUT), hours, lake)
    assert not (lake / LAYOUT.folder(FIRST)).exists()


async def test_a_bucket_is_left_to_its_lifecycle_rule() -> None:
    with pytest.raises(SettingsError) as caught:
        await prune(settings_for("s3://bucket"), "90d", keep=0, dry_run=True)
    assert "RetentionDays" in caught.value.hint


def test_F6_a_dry_run_lists_the_hours_to_remove(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--older-than", "90d", "--keep", "0", "--dry-run", "--environment", "Prod", "--lake", f"file://{lake}"]
    assert execute(["prune", *arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["hour"] for one in told["removed"]] == ["2022-02-08T08"]
    assert told["dry_run"] is True
    assert execute(["prune", *arguments]) == 0
    assert "1 Hour would be removed" in capsys.readouterr().out
    assert (lake / LAYOUT.folder(FIRST)).exists()


# -- a disk that fills up -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "outcome", "warned"), [(299, "delivered", True), (300, "delivered", False), (0, "waiting", False)]
)
def test_W16_a_disk_with_room_for_fewer_than_three_hours_is_reported(
    lake: Path, free: int, outcome: Any, *, warned: bool
) -> None:
    done = Outcome("Prod", FIRST, outcome, None, bytes=100)
    with capture_logs() as said:
        warn_of_a_full_disk(settings_for(f"file://{lake}"), done, free_bytes=lambda _folder: free)
    assert [one["event"] for one in said] == (["disk_nearly_full"] if warned else [])
