"""I/O. A small file that many may update at once, on any store: versions that are created, never changed.

A new version is created under the next number, so of two writers one wins and the other reads again and merges
again: nothing that was acknowledged is lost, and nothing torn is ever read. Measured with obstore on S3, folders
and memory, that holds where a compare-and-swap does not exist (folders have none) and through lost answers.

One listing finds the newest version: the highest number. After a write, one listing proves that the number is new,
and not that of a version that was removed as too old.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from viplake.errors import LakeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from viplake.lake.store import Store

KEPT: Final = 48
"""Versions that stay: two days of hourly updates to look back at."""

_ATTEMPTS: Final = 50
"""Races lost in a row before giving up: eight writers at once needed fewer than twenty."""

_HINTED: Final = 16
"""Every so many versions the object `newest` is renewed. Only a viplake of before 2026-12 reads it: from there it goes
number by number, and it takes no removed number for a free one while fewer than `KEPT` versions follow."""

_LEVEL: Final = 4
"""Of compression: a tenth larger than at 9, in a fifth of the time."""

_NAME: Final = re.compile(r"v(\d{10})\.gz")


@dataclass(frozen=True, slots=True)
class Version:
    """One version; number 0, without content, where there is none yet."""

    number: int
    content: bytes | None


class Versions:
    """The versions of one file.

    Args:
        store: where they lie.
        prefix: of their keys, with its closing slash.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    def key(self, number: int) -> str:
        """Return the key of a version."""
        return f"{self._prefix}v{number:010d}.gz"

    async def newest(self, *, known: Version | None = None) -> Version:
        """Return the newest version; where that is still `known`, it is not read again.

        Raises:
            LakeError: it cannot be read.
        """
        number = max(await self.numbers(), default=0)
        if known is not None and known.number == number:
            return known
        content = await self._get(number)
        if number and content is None:
            raise LakeError(f"{self.key(number)} vanished while it was read")
        return Version(number, content)

    async def update(self, change: Callable[[bytes | None], bytes | None], *, known: Version) -> Version:
        """Create the version that `change` makes of the newest one; returns the newest afterwards.

        Args:
            change: a pure function from the newest content (None: there is none) to the new one; None or an equal
                content: nothing is to be written. It is called again after each lost race.
            known: the newest version as far as the caller knows.

        Raises:
            LakeError: it cannot be read or written.
        """
        newest = known
        for _ in range(_ATTEMPTS):
            content = change(newest.content)
            if content is None or content == newest.content:
                return newest
            created = Version(newest.number + 1, content)
            if await self._create(created) and await self._is_new(created.number):
                await self._after(created)
                return created
            newest = await self.newest(known=newest)
        raise LakeError(f"gave up on {self._prefix}: other processes changed it again and again")

    async def numbers(self) -> list[int]:
        """Return the numbers of all versions that are there, ascending."""
        files = await self._store.files(self._prefix)
        return sorted(int(match[1]) for file in files if (match := _NAME.fullmatch(file.name)))

    async def content(self, number: int) -> bytes | None:
        """Return one version; None if it is not there."""
        return await self._get(number)

    async def mark_published(self, number: int) -> None:
        """Remember that this version was published."""
        await self._store.put(f"{self._prefix}published", str(number).encode())

    async def _create(self, version: Version) -> bool:
        """Whether the stored version is ours. After an error this is unknown, so read it back."""
        packed = gzip.compress(version.content or b"", compresslevel=_LEVEL, mtime=0)
        try:
            if await self._store.put_if_absent(self.key(version.number), packed):
                return True
        except LakeError as error:
            if not error.transient:
                raise
        return await self._get(version.number) == version.content

    async def _is_new(self, number: int) -> bool:
        """False where the number had been used and removed long ago: a writer that slept through many updates.

        A version is removed only once there is one that is `KEPT` numbers higher, and the highest is never removed.
        """
        return max(await self.numbers(), default=number) < number + KEPT

    async def _after(self, version: Version) -> None:
        """Leave the hint, and remove what is too old. Neither matters: a failure of either is ignored."""
        try:
            if version.number == 1 or version.number % _HINTED == 0:
                await self._store.put(f"{self._prefix}newest", str(version.number).encode())
            old = await self._too_old(version)
            await asyncio.gather(*(self._store.delete(self.key(number)) for number in old))
        except LakeError:
            return

    async def _too_old(self, version: Version) -> list[int]:
        """Usually one; now and then all that crashes left."""
        if version.number % KEPT == 0:
            return [number for number in await self.numbers() if number <= version.number - KEPT]
        return [version.number - KEPT] if version.number > KEPT else []

    async def published(self) -> int:
        """The number of the version that was published last, as far as was marked."""
        data = await self._store.get(f"{self._prefix}published", limit=1 << 10)
        text = (data or b"").decode(errors="replace").strip()
        return int(text) if text.isdecimal() and len(text) <= 10 else 0  # noqa: PLR2004 - digits of a version

    async def _get(self, number: int) -> bytes | None:
        data = await self._store.get(self.key(number)) if number else None
        if data is None:
            return None
        try:
            return gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            raise LakeError(f"{self.key(number)} is damaged", cause="ledger_damaged") from None
