"""PURE. Inflates a gzip body as it comes and finds where it breaks, in flat memory (RFC 1952).

Each member of a gzip body carries the CRC32 and the length of its content. They are the second witness of a transfer,
where the source gives no MD5, and the only witness when a table file is read. They do not cover the head of a
member (time, name), the padding of deflate, or anything that is not gzip.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

from isal import isal_zlib

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterator

MAGIC: Final = b"\x1f\x8b\x08"
"""How every member begins: two bytes that say gzip, one that says deflate (RFC 1952, section 2.3)."""

_WITH_HEAD: Final = 31
"""zlib's word (wbits) for a gzip member; its CRC32 and length are then compared."""

PIECE: Final = 1 << 20
"""Bytes that are unfolded at a time."""

MOST_UNFOLDED: Final = 200
"""Bytes that one compressed byte may become (the threat model's bound; deflate itself ends at 1,032). JSON of real
tables is at 5 to 40."""

UNFOLDED_UNSEEN: Final = 64 << 20
"""Bytes up to which that bound is not applied: a short file of equal records compresses very well."""

BOMB: Final = f"it unfolds to more than {MOST_UNFOLDED} times its size; the rest was not read"

_STEP: Final = 16 << 10


def too_large(unfolded: int, packed: int) -> bool:
    """Return whether a body inflates to more bytes than a table can have."""
    return unfolded > max(UNFOLDED_UNSEEN, MOST_UNFOLDED * packed)


class GzipError(Exception):
    """A gzip body cannot be inflated further.

    Args:
        why: one clause.
        byte: of the body; near which, where it is `vague`.
        vague: `exact_byte` can find the very byte.
        bomb: nothing is broken, but it unfolds to too much.
    """

    def __init__(self, why: str, byte: int, *, vague: bool = False, bomb: bool = False) -> None:
        super().__init__(why)
        self.why, self.byte, self.vague, self.bomb = why, byte, vague, bomb


class Gunzip:
    """Inflates a gzip body that comes in chunks.

    Attributes:
        packed: bytes that came.
        unfolded: bytes that they became.
        whole: bytes up to the end of the last whole member.
    """

    def __init__(self) -> None:
        self.packed = self.unfolded = self.whole = 0
        self._held = b""
        self._member: Any = None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Inflate the next bytes of the body.

        Raises:
            GzipError: they cannot be.
        """
        data = self._held + chunk
        at = self.packed - len(self._held)
        self.packed += len(chunk)
        self._held = b""
        while data:
            if self._member is None:
                at, data = self._begin(at, data)
                continue
            try:
                unfolded = self._member.decompress(data, PIECE)
            except isal_zlib.error as error:  # type: ignore[misc] # its stub does not say that it is an exception
                raise GzipError(_words(error), at, vague=True) from None
            rest = self._member.unused_data or self._member.unconsumed_tail
            at, data = at + len(data) - len(rest), rest
            self._count(unfolded, at)
            yield unfolded

    def end(self) -> Iterator[bytes]:
        """Inflate the rest; the body has ended.

        Raises:
            GzipError: it is cut off.
        """
        while self._member is not None and (unfolded := self._member.decompress(b"", PIECE)):
            self._count(unfolded, self.packed)
            yield unfolded
        if self._member is not None or self._held:
            raise GzipError(f"the gzip data end too early, after {self.packed:,} bytes", self.packed)

    def _begin(self, at: int, data: bytes) -> tuple[int, bytes]:
        """Begin a member; after the first one, zeros may precede it, which gzip(1) allows."""
        rest = data.lstrip(b"\0") if self.whole else data
        at += len(data) - len(rest)
        if rest.startswith(MAGIC):
            self._member = isal_zlib.decompressobj(wbits=_WITH_HEAD)
        elif MAGIC.startswith(rest):
            self._held, rest = rest, b""
        else:
            raise GzipError("something that is no gzip follows the gzip data", at)
        return at, rest

    def _count(self, unfolded: bytes, at: int) -> None:
        self.unfolded += len(unfolded)
        if too_large(self.unfolded, at):
            raise GzipError(BOMB, at, bomb=True)
        if self._member.eof:
            self._member, self.whole = None, at


class GzipWitness:
    """Reads a body in chunks, and reports at its end what is wrong with it as gzip."""

    def __init__(self) -> None:
        self._gunzip: Gunzip | None = Gunzip()
        self._head = b""
        self._flaw: str | None = None

    @property
    def looks(self) -> bool:
        """Whether the rest of the body can still show a flaw: it is gzip, not too large, and no flaw is known."""
        return self._gunzip is not None

    def update(self, block: bytes) -> None:
        """Take the next bytes of the body."""
        if self._gunzip is not None and not self._gunzip.packed:
            self._head += block
            if not self._head.startswith(MAGIC):
                if not MAGIC.startswith(self._head):
                    self._gunzip = None
                return
            block = self._head
        if self._gunzip is not None:
            self._take(self._gunzip.feed(block))

    def end(self) -> str | None:
        """End the body; return what is wrong with it, for a message; None where no flaw is known."""
        if self._gunzip is not None and self._gunzip.packed:
            self._take(self._gunzip.end())
        return self._flaw

    def _take(self, pieces: Iterator[bytes]) -> None:
        try:
            for _ in pieces:
                pass
        except GzipError as error:
            self._gunzip = None
            self._flaw = None if error.bomb else error.why


async def exact_byte(chunks: AsyncIterable[bytes]) -> int | None:
    """Return the byte at which a gzip body breaks: it is read again in pieces, at the end byte by byte."""
    at, member = 0, zlib.decompressobj(_WITH_HEAD)
    async for chunk in chunks:
        for start in range(0, len(chunk), _STEP):
            piece = chunk[start : start + _STEP]
            while piece:
                before = member.copy()
                try:
                    member.decompress(piece)
                except zlib.error:
                    return at + _first_bad(before, piece)
                at += len(piece) - len(member.unused_data)
                piece = member.unused_data
                if member.eof:
                    member = zlib.decompressobj(_WITH_HEAD)
                    at, piece = at + len(piece) - len(piece.lstrip(b"\0")), piece.lstrip(b"\0")
    return None


def _first_bad(member: Any, piece: bytes) -> int:
    for index in range(len(piece)):
        try:
            member.decompress(piece[index : index + 1])
        except zlib.error:
            return index
    return 0


def _words(error: Exception) -> str:
    return "the checksum of the gzip data is wrong" if "checksum" in str(error) else "the gzip data are damaged"
