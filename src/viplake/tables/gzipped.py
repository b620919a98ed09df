"""PURE. Whether a gzip body is whole, by the CRC32 that each of its members carries (RFC 1952), in flat memory.

It is the second witness of a transfer, where the source gives no MD5: a flipped bit in a compressed file shows as
another CRC32, another length or a broken stream. What it cannot see is the head of a member (a time, a name), bits of
deflate's padding that mean nothing, and anything at all of a body that is not gzip.
"""

from __future__ import annotations

import zlib
from typing import Final

MAGIC: Final = b"\x1f\x8b\x08"
"""How every member begins: two bytes that say gzip, one that says deflate (RFC 1952, section 2.3)."""

_WITH_HEAD: Final = 31
"""zlib's word (wbits) for a gzip member, whose CRC32 and length it then compares itself."""

_OUT_BYTES: Final = 1 << 20
"""What is unpacked, counted and forgotten at a time."""

MOST_RATIO: Final = 200
ALWAYS_BYTES: Final = 64 << 20
"""A body that unpacks to more than 64 MiB and 200 times its size (tables as JSON: 5 to 20) is no longer unpacked: its
proof would cost more than its transfer."""


class GzipMembers:
    """Reads a body as it comes, and says at its end what is wrong with it."""

    def __init__(self) -> None:
        self._flaw: str | None = None
        self._head = b""
        self._member: zlib._Decompress | None = None
        self._whole = 0
        self._given_up = False
        self._packed = 0
        self._unpacked = 0

    @property
    def looks(self) -> bool:
        """Whether more of the body can still tell something: it is gzip, and no flaw is known."""
        return not self._given_up and self._flaw is None

    def update(self, block: bytes) -> None:
        """The next bytes of the body."""
        rest = self._head + block
        self._head = b""
        self._packed += len(block)
        while rest and self.looks:
            rest = self._begin(rest) if self._member is None else self._unpack(self._member, rest)

    def end(self) -> str | None:
        """The body is over: what is wrong with it, for a message; None where nothing is known to be."""
        while self._member is not None and self.looks:
            before = self._unpacked
            self._unpack(self._member, b"")  # what it keeps back when its output is full
            if self._unpacked == before and self._member is not None:
                self._flaw = "its last gzip member is cut off"
        if self.looks and self._head and self._whole:
            self._flaw = "something follows its last gzip member"
        return self._flaw

    def _begin(self, rest: bytes) -> bytes:
        """Where a member begins; or padding, which gzip(1) allows after one; or what is no gzip at all."""
        if self._whole:
            rest = rest.lstrip(b"\0")
        if len(rest) < len(MAGIC) and MAGIC.startswith(rest):
            self._head = rest
            return b""
        if rest.startswith(MAGIC):
            self._member = zlib.decompressobj(_WITH_HEAD)
            return rest
        if self._whole:
            self._flaw = "something follows its last gzip member"
        else:
            self._given_up = True
        return b""

    def _unpack(self, member: zlib._Decompress, rest: bytes) -> bytes:
        try:
            self._unpacked += len(member.decompress(rest, _OUT_BYTES))
        except zlib.error as error:
            self._flaw = f"its gzip is broken ({error})"
            return b""
        if member.eof:
            self._member = None
            self._whole += 1
            return member.unused_data
        self._given_up = self._unpacked > max(ALWAYS_BYTES, MOST_RATIO * self._packed)
        return member.unconsumed_tail
