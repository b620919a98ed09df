"""I/O. The rule configuration that is stored in the lake, so that checks from every machine use the same rules.

::

    _viplake/rules/v0000000001.json    created once, never changed; the highest number holds
    _viplake/rules.json                a readable copy of it

The tables of `viplake.toml` count until the first push. From then on a difference is a warning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from viplake.errors import LakeError, SettingsError
from viplake.judge.evaluate import CheckSettings
from viplake.lake.records import FORMAT, Count, Part, decode, encode, reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viplake.lake import Lake

STORED_TABLES: Final = ("rules", "calendar", "objectives")
"""Tables that are stored in the lake. `[notify]` is not: the channels depend on where a check runs."""

_NAME: Final = re.compile(r"v(\d{10})\.json")
_ATTEMPTS: Final = 5


class _Stored(Part, frozen=True):
    version: Count
    rules: dict[str, Any]
    calendar: list[Any]
    objectives: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rulebook:
    """The rule configuration that is stored in a lake.

    Attributes:
        version: the number of the push; 0 before the first.
        tables: as `viplake.toml` would have them.
    """

    version: int = 0
    tables: Mapping[str, Any] = field(default_factory=dict)

    def over(self, local: Mapping[str, Any]) -> dict[str, Any]:
        """Return the tables that apply: the stored ones, and the local ones where none is stored."""
        return {**local, **self.tables}

    def differing(self, local: Mapping[str, Any]) -> list[str]:
        """Return the names of local tables that differ from the stored ones."""
        return [name for name in STORED_TABLES if self.version and name in local and local[name] != self.tables[name]]

    def warning(self, local: Mapping[str, Any]) -> str | None:
        """One sentence where local tables differ; None where they do not."""
        names = [f"[{name}]" for name in self.differing(local)]
        if not names:
            return None
        return (
            f"{', '.join(names)} of viplake.toml differ from version {self.version} in the lake, which applies. "
            "To change the rules of the lake: viplake rules push."
        )


async def read_rulebook(lake: Lake) -> Rulebook:
    """Read the rule configuration of a lake.

    Raises:
        LakeError: they cannot be read.
    """
    numbers = [
        int(match[1]) for file in await lake.store.files(lake.layout.rules) if (match := _NAME.fullmatch(file.name))
    ]
    if not numbers:
        return Rulebook()
    key = _key(lake, max(numbers))
    data = await lake.store.get(key)
    if data is None:
        raise LakeError(f"{key} vanished while it was read", cause="ledger_damaged")
    with reading(key):
        stored = decode(data, _Stored)
    return Rulebook(max(numbers), {name: getattr(stored, name) for name in STORED_TABLES})


async def push_rulebook(lake: Lake, local: Mapping[str, Any]) -> tuple[Rulebook, bool]:
    """Store these tables in the lake; return the configuration that now applies, and whether it is a new version.

    Raises:
        SettingsError: one of the tables is wrong; nothing is written.
        LakeError: the lake cannot be read or written.
    """
    CheckSettings.parse({name: local[name] for name in STORED_TABLES if name in local})
    tables = {name: local.get(name, [] if name == "calendar" else {}) for name in STORED_TABLES}
    for _ in range(_ATTEMPTS):
        known = await read_rulebook(lake)
        number = known.version + (known.tables != tables)
        data = encode({"format": FORMAT, "version": number, **tables})
        if number == known.version or await lake.store.put_if_absent(_key(lake, number), data):
            await lake.store.put(f"{lake.layout.rules.removesuffix('/')}.json", data)
            return Rulebook(number, tables), number != known.version
    raise SettingsError(
        "another process is pushing rules to this lake", cause="claim_lost", hint="Run viplake rules push again."
    )


def _key(lake: Lake, number: int) -> str:
    return f"{lake.layout.rules}v{number:010d}.json"
