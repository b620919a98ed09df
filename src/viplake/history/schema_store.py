"""I/O. Stores each schema once, under the hash of its bytes, so that differences outlive hourly folders.

The hash makes a copy prove itself. Writing one again only repairs it, and two writers cannot disagree.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from viplake.concurrency import map_bounded
from viplake.history.schema_changes import (
    Differing,
    Held,
    compared,
    difference,
    holding,
    lost,
    none_at,
    to_compare,
    unreadable,
)
from viplake.tables.schema import LARGEST_SCHEMA, read_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from viplake.history.schema_changes import SchemaVersion, Tables
    from viplake.lake.store import Store
    from viplake.model import Hour

FOLDER: Final = "schemas/"
"""Below the published files: `schemas/SHA256.json`."""

_AT_ONCE: Final = 8
"""Copies read side by side: a large one and what it says are in memory meanwhile."""


@dataclass(frozen=True, slots=True)
class SchemaStore:
    """The stored schemas of a history.

    Args:
        store: where the history lives.
        published: prefix of the files that people read.
    """

    store: Store
    published: str

    def key(self, sha256: str) -> str:
        """Return the key of the schema with this hash."""
        return f"{self.published}{FOLDER}{sha256}.json"

    async def keep(self, sha256: str, data: bytes) -> None:
        """Store a schema; a damaged copy is replaced.

        Raises:
            LakeError: it cannot be written.
        """
        await self.store.put(self.key(sha256), data)

    async def read(self, sha256: str) -> bytes | None:
        """Return the schema with this hash; None where none is stored, or where its bytes have changed.

        Raises:
            LakeError: it cannot be read.
        """
        data = await self.store.get(self.key(sha256), limit=LARGEST_SCHEMA)
        return data if data is not None and hashlib.sha256(data).hexdigest() == sha256 else None

    async def tables(self, wanted: Iterable[str]) -> dict[str, Tables | str]:
        """Return the tables and columns of the schemas with these hashes, or why they are unknown.

        Raises:
            LakeError: one cannot be read.
        """

        async def tables_of(sha256: str) -> Tables | str:
            data = await self.read(sha256)
            if data is None:
                return lost(sha256)
            found = await asyncio.to_thread(read_schema, data)
            return unreadable(sha256) if found is None else found

        hashes = sorted(set(wanted))
        return dict(zip(hashes, await map_bounded(tables_of, hashes, at_once=_AT_ONCE), strict=True))

    async def compared(self, found: Sequence[SchemaVersion]) -> tuple[SchemaVersion, ...]:
        """Return the versions, each with its changes against the version before.

        Raises:
            LakeError: a copy cannot be read.
        """
        return compared(found, await self.tables(to_compare(found)))

    async def held(self, found: Sequence[SchemaVersion], at: Hour) -> Held:
        """Return the schema that was valid at an Hour.

        Raises:
            LakeError: its copy cannot be read.
        """
        version = holding(found, at)
        if version is None:
            return Held(at, None, none_at(found, at))
        return Held(at, version, (await self._of(version))[version.sha256])

    async def differing(self, found: Sequence[SchemaVersion], first: Hour, at: Hour | None) -> Differing:
        """Return the changes from the schema of the `first` Hour to that of the Hour `at` (None: the newest).

        Raises:
            LakeError: a copy cannot be read.
        """
        at = at or max((version.last for version in found), default=None)
        before, after = holding(found, first), None if at is None else holding(found, at)
        if before is None or after is None:
            return Differing((first, at), (before, after), none_at(found, first if before is None else at))
        known = await self._of(before, after)
        return Differing((first, at), (before, after), difference(before.sha256, after.sha256, known))

    async def _of(self, *wanted: SchemaVersion) -> dict[str, Tables | str]:
        """Return the tables and columns of a schema, or why it cannot be read."""
        known = await self.tables(version.sha256 for version in wanted if version.tables is not None)
        return known | {version.sha256: unreadable(version.sha256) for version in wanted if version.tables is None}
