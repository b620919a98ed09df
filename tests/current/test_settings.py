"""`[tables]` of viplake.toml: known keys only, each of its kind."""

from __future__ import annotations

from typing import Any

import pytest

from viplake.current.settings import TableSettings, TablesSettings
from viplake.errors import SettingsError


def test_nothing_given_means_adopted_hours_and_keys_of_the_schema() -> None:
    found = TablesSettings.parse(None)
    assert found == TablesSettings()
    assert found.of("Voyage") == TableSettings()


def test_settings_of_one_table_are_read() -> None:
    found = TablesSettings.parse({"adopted": False, "Invoice": {"key": ["A", "B"], "mode": "history"}}, ("When",))
    assert (found.adopted, found.record_times) == (False, ("When",))
    assert found.of("Invoice") == TableSettings(("A", "B"), "history")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"adoptd": True}, "adoptd"),
        ({"adopted": "yes"}, "adopted of [tables]"),
        ({"Invoice": {"keys": ["A"]}}, "[tables.Invoice] in viplake.toml has the unknown key 'keys'"),
        ({"Invoice": {"mode": "upsert"}}, "mode of [tables.Invoice]"),
    ],
)
def test_wrong_settings_are_named(value: Any, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        TablesSettings.parse(value)
    assert said in caught.value.message
