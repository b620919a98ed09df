"""The rules that judge a lake are kept in it: one version a push, the highest holds."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from history.lakes import LAYOUT, memory
from viplake.errors import LakeError, SettingsError
from viplake.judge.rulebook import Rulebook, push_rulebook, read_rulebook
from viplake.lake import Lake

LOCAL = {"rules": {"late_job": {"minutes": 40}}, "notify": {"severity": "page"}}
KEPT = {"rules": {"late_job": {"minutes": 40}}, "calendar": [], "objectives": {}}
FIRST = "IMOSDL/_viplake/rules/v0000000001.json"


async def test_lake_without_rules_leaves_the_local_tables_as_they_are() -> None:
    book = await read_rulebook(Lake(memory(), LAYOUT))
    assert book == Rulebook()
    assert book.over(LOCAL) == LOCAL
    assert book.warning(LOCAL) is None


async def test_first_push_is_version_one_and_has_a_readable_copy() -> None:
    lake = Lake(memory(), LAYOUT)
    assert await push_rulebook(lake, LOCAL) == (Rulebook(1, KEPT), True)
    assert json.loads(await lake.store.get(FIRST) or b"") == {"format": 1, "version": 1, **KEPT}
    assert await lake.store.get("IMOSDL/_viplake/rules.json") == await lake.store.get(FIRST)
    assert await read_rulebook(lake) == Rulebook(1, KEPT)


async def test_same_rules_again_are_no_new_version_and_other_ones_are() -> None:
    lake = Lake(memory(), LAYOUT)
    await push_rulebook(lake, LOCAL)
    first = await lake.store.get(FIRST)
    assert (await push_rulebook(lake, LOCAL))[1] is False
    book, is_new = await push_rulebook(lake, {"objectives": {"delivered": {"target": 0.99}}})
    assert (book.version, is_new, await lake.store.get(FIRST)) == (2, True, first)
    assert (await read_rulebook(lake)).tables["rules"] == {}


async def test_rules_that_cannot_be_are_refused_before_anything_is_written() -> None:
    lake = Lake(memory(), LAYOUT)
    with pytest.raises(SettingsError, match="unknown key 'late_jbo'"):
        await push_rulebook(lake, {"rules": {"late_jbo": {}}})
    assert await lake.store.files("IMOSDL/") == []


async def test_two_pushes_at_once_are_two_versions() -> None:
    lake = Lake(memory(), LAYOUT)
    both = await asyncio.gather(
        *(push_rulebook(lake, {"rules": {"late_job": {"minutes": minutes}}}) for minutes in (40, 50))
    )
    assert sorted(book.version for book, _ in both) == [1, 2]


async def test_local_tables_that_differ_are_named_and_those_of_the_lake_hold() -> None:
    lake = Lake(memory(), LAYOUT)
    book, _ = await push_rulebook(lake, LOCAL)
    other: dict[str, Any] = {"rules": {}, "calendar": [], "notify": {}}
    assert book.warning(other) == (
        "[rules] of viplake.toml differ from version 1 in the lake, which applies. "
        "To change the rules of the lake: viplake rules push."
    )
    assert book.over(other) == {**KEPT, "notify": {}}
    assert book.warning({}) is None


async def test_rules_of_a_newer_viplake_are_refused() -> None:
    lake = Lake(memory(), LAYOUT)
    await lake.store.put(FIRST, b'{"format": 2}')
    with pytest.raises(LakeError) as failure:
        await read_rulebook(lake)
    assert failure.value.cause.word == "lake_format"
