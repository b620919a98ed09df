"""An update of the tables dies at every call of the store and at every commit; the next one ends in the same rows."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from current.lakes import TableLake
from faults import Crash, Flaky, Tripwire
from samples import Share, shared
from viplake.clock import SystemClock
from viplake.current.delta import DeltaTables
from viplake.current.settings import TableSettings, TablesSettings
from viplake.current.update import update
from viplake.errors import LakeError
from viplake.lake import Lake
from viplake.lake.refusals import lake_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from faults import When

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


KEYS = {"Voyage": ("Id",), "Port": ("Id",)}


class FlakyTables(DeltaTables):
    """Delta tables that die before or after a commit, where the tripwire says."""

    def __init__(self, lake: Lake, wire: Tripwire) -> None:
        super().__init__(lake, {}, SystemClock())
        self._wire = wire

    async def commit(self, kind: Any, folder: str, *args: Any, **options: Any) -> int:
        check = self._wire.enter("commit", f"{kind}/{folder}")
        check("before")
        version = await super().commit(kind, folder, *args, **options)
        check("after")
        return version


@dataclass
class Wired:
    """An update of a lake with a tripwire in its store and its commits."""

    lake: TableLake
    wire: Tripwire

    async def update(self) -> None:
        flaky = Lake(Flaky(self.lake.store, self.wire), self.lake.lake.layout, self.lake.lake.url)
        await update(flaky, FlakyTables(flaky, self.wire), self.lake.settings)


def row(key: int, name: str, when: str | None) -> dict[str, Any]:
    return {"Id": key, "Name": name, "Amount": 1.5, "LastUpdateGMT": when}


async def made(folder: Path) -> TableLake:
    """A lake with two Hours in its tables; then a late one, with ties, between them and one after them.

    Of the table Rate a snapshot is wanted: the late Hour has a record earlier, the last one replaces all.
    """
    lake = TableLake(folder, settings=TablesSettings(tables={"Rate": TableSettings(mode="snapshot")}))
    tied = "2022-05-09T10:00:00Z"
    await lake.land(
        0,
        {"Voyage": [row(1, "a", None), row(2, "x", tied)], "Port": [row(7, "p", tied)], "Rate": [row(1, "r", None)]},
        keys=KEYS,
    )
    await lake.land(
        2,
        {"Voyage": [row(1, "c", None), row(2, "x", tied)], "Port": [row(7, "p", tied)], "Rate": [row(2, "r", None)]},
        keys=KEYS,
    )
    await lake.update()
    await lake.land(
        1,
        {"Voyage": [row(1, "b", None), row(2, "y", tied)], "Port": [row(8, "q", tied)], "Rate": [row(2, "r", None)]},
        keys=KEYS,
    )
    await lake.land(
        3,
        {"Voyage": [row(3, "d", None), row(2, "y", tied)], "Port": [row(7, "p2", None)], "Rate": [row(3, "r", None)]},
        keys=KEYS,
    )
    return lake


def check(lake: TableLake) -> None:
    for table in ("Voyage", "Port", "Rate"):
        for kind in ("history", "current"):
            assert lake.digest(kind, table) == lake.expected(kind, table), (kind, table)


def marks(lake: TableLake) -> list[str]:
    folder = lake.folder / "IMOSDL" / "_viplake" / "tables"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))


WRITES = ("put", "put_if_absent", "put_stream", "commit")


async def after_each_death(folder: Path, verbs: tuple[str, ...], when: When, share: Share) -> AsyncIterator[TableLake]:
    """Give a lake after a death at the first call, the second, and so on, until an update makes fewer calls.

    They cannot be counted before: which files are rewritten depends on their random names.
    """
    wire = Tripwire(verbs=verbs)
    template = await made(folder / "template")
    await Wired(template.copied(folder / "counted"), wire).update()
    assert {call.partition(" ")[0] for call in wire.calls} >= {*verbs} - {"put"}
    for number in share(itertools.count(1)):
        lake = template.copied(folder / str(number))
        try:
            await Wired(lake, Tripwire(at=number, when=when, verbs=verbs, times=None)).update()
        except Crash:
            yield lake
        else:
            assert number > 0.9 * len(wire.calls)
            return


@pytest.mark.parametrize("when", ["after", "before"])
@shared(every=8)
async def test_death_at_every_write_and_commit_loses_and_doubles_nothing(
    tmp_path: Path, when: When, share: Share
) -> None:
    async for lake in after_each_death(tmp_path, WRITES, when, share):
        await lake.update()
        check(lake)
        assert marks(lake) == [f"20220510/{number:02d}.json" for number in range(4)]


async def test_death_while_a_parquet_file_is_written_leaves_nothing_in_the_table(tmp_path: Path) -> None:
    lake = await made(tmp_path)
    with pytest.raises(Crash):
        await Wired(lake, Tripwire(at=1, when="during", verbs=["put_stream"], times=None)).update()
    await lake.update()
    check(lake)


@shared(every=16)
async def test_death_at_every_read_loses_and_doubles_nothing(tmp_path: Path, share: Share) -> None:
    async for lake in after_each_death(tmp_path, ("get", "read", "files", "folders"), "before", share):
        await lake.update()
        check(lake)


async def test_lost_answer_to_each_commit_is_found_by_the_next_update(tmp_path: Path) -> None:
    template = await made(tmp_path / "template")
    for number in range(1, 5):
        lake = template.copied(tmp_path / str(number))
        lost = Tripwire(at=number, when="after", verbs=["commit"], error=lambda: lake_error("timed out", "commit"))
        with pytest.raises(LakeError):
            await Wired(lake, lost).update()
        await lake.update()
        check(lake)


async def test_a_store_that_is_out_for_a_moment_fails_the_update_and_the_next_one_goes_on(tmp_path: Path) -> None:
    lake = await made(tmp_path)
    full = Tripwire(
        at=2, verbs=["put_stream"], error=lambda: lake_error("No space left on device", "write", local=True)
    )
    with pytest.raises(LakeError):
        await Wired(lake, full).update()
    await lake.update()
    check(lake)
