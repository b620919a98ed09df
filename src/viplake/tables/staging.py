"""I/O. Table files of the lake as files on this machine that an engine can read, each looked at on the way.

DuckDB would fetch objects itself with an extension that it downloads at run time; nothing is downloaded here at run
time, so the files come through our own store. While they pass they are inflated once to see that they can be: which
byte is wrong, that the checksum of the gzip members is right (DuckDB does not look at it), that no small file unfolds
into a disk full, whether an array or lines are inside. What DuckDB reads as it is stays as it is; only what it would
misread (a byte order mark, a `.gz` that is not compressed, gzip headers with extra fields) is stored unfolded.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal

from isal import isal_zlib

from viplake.concurrency import map_bounded

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable
    from pathlib import Path

Form = Literal["array", "newline_delimited", "unstructured"]
"""How DuckDB calls them: a JSON array; an object a line; objects one after the other, wherever lines end."""

MOST_UNFOLDED: Final = 200
"""Bytes that one compressed byte may become (the threat model's bound; deflate itself ends at 1,032). JSON of real
tables is at 5 to 40."""

UNFOLDED_UNSEEN: Final = 64 << 20
"""Bytes up to which nobody asks: a short file of equal records compresses very well."""

FILES_AT_ONCE: Final = 16

LOCATED_UP_TO: Final = 64 << 20
"""Bytes of a file, unfolded, that are read again to find the very byte that is no JSON."""

_GZIP: Final = b"\x1f\x8b"
_HEADER: Final = 4
"""Bytes of a gzip file up to its flags."""
_PLAIN_FLAGS: Final = frozenset({0, 8})
"""Flags of a gzip header that DuckDB understands: none, or a file name (RFC 1952; it refuses the others)."""

_PIECE: Final = 1 << 20
_SMALL: Final = 64 << 10
_STEP: Final = 16 << 10
_SPACE: Final = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that can be read.

    Attributes:
        name: in the hourly folder.
        path: where it lies here.
        form: of its JSON.
        size: bytes as stored in the lake.
        unfolded: bytes of JSON.
    """

    name: str
    path: Path
    form: Form
    size: int
    unfolded: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that cannot, or only in part.

    Attributes:
        name: in the hourly folder.
        why: one clause.
        byte: of the file as stored, from 0 on; None where nobody knows.
        empty: there is nothing in it.
    """

    name: str
    why: str
    byte: int | None = None
    empty: bool = False


class _Broken(Exception):
    """Reading a file ends here.

    Args:
        why: one clause.
        byte: of the file, near which; exact unless `vague`.
        vague: a second look can find the very byte.
    """

    def __init__(self, why: str, byte: int, *, vague: bool = False) -> None:
        super().__init__(why)
        self.why, self.byte, self.vague = why, byte, vague


async def stage(
    names: Iterable[str], read: Callable[[str], AsyncIterable[bytes]], folder: Path
) -> list[Staged | Unreadable]:
    """Bring files here, in the order of their names.

    Args:
        names: in the hourly folder.
        read: gives a file in chunks.
        folder: an empty one to put them in.

    Raises:
        LakeError: as `read`.
    """

    async def one(numbered: tuple[int, str]) -> Staged | Unreadable:
        number, name = numbered
        return await _stage(name, read, folder / f"{number:06d}.json")

    return await map_bounded(one, enumerate(sorted(names)), at_once=FILES_AT_ONCE)


async def _stage(name: str, read: Callable[[str], AsyncIterable[bytes]], path: Path) -> Staged | Unreadable:
    try:
        with path.open("wb") as target:
            intake = _Intake(target)
            async for chunk in read(name):
                if len(chunk) < _SMALL:  # done before a thread is found
                    intake.take(chunk)
                else:
                    await asyncio.to_thread(intake.take, chunk)
            intake.end()
    except _Broken as broken:
        return Unreadable(name, broken.why, await _exactly(read(name)) if broken.vague else broken.byte)
    except FileNotFoundError:
        return Unreadable(name, "it vanished while it was read")
    if intake.unfolded == 0:
        return Unreadable(name, "there is nothing in it", 0, empty=True)
    if intake.form is None:
        return Unreadable(name, intake.problem, 0)
    if intake.kept:
        path = path.rename(f"{path}.gz")  # noqa: ASYNC240 - a rename waits for nothing
    return Staged(name, path, intake.form, intake.size, intake.unfolded)


@dataclass(slots=True)
class _Intake:
    """Takes a file in, chunk by chunk.

    Attributes:
        target: where it is stored.
        size: bytes that came.
        unfolded: bytes of JSON in them, without a byte order mark.
        kept: it is stored as it came; else unfolded.
        form: of the JSON; None where it is none.
        problem: why not.
    """

    target: BinaryIO
    size: int = 0
    unfolded: int = 0
    kept: bool = False
    form: Form | None = "newline_delimited"
    problem: str = ""
    _gzip: bool | None = None
    _held: bytes = b""
    _json: bytes | None = b""
    _inflater: Any = None
    _whole: int = 0

    def take(self, chunk: bytes) -> None:
        """The next bytes of the file.

        Raises:
            _Broken: they cannot be unfolded.
        """
        if self._gzip is None:
            self._held += chunk
            if len(self._held) < _HEADER and _GZIP.startswith(self._held[:2]):
                return  # too short to tell
            chunk, self._held = self._held, b""
            self._begin(chunk)
        at, self.size = self.size, self.size + len(chunk)
        if self.kept:
            self.target.write(chunk)
        if self._gzip:
            self._inflate(chunk, at)
        else:
            self._add(chunk)

    def end(self) -> None:
        """There is no more.

        Raises:
            _Broken: it ends too early.
        """
        if self._gzip is None:
            self._gzip, self.size = False, len(self._held)
            self._add(self._held)
        while self._inflater is not None and (unfolded := self._inflater.decompress(b"", _PIECE)):
            self._add(unfolded)
            self._end_of_member(self.size)
        if self._inflater is not None:
            raise _Broken(f"the gzip data end too early, after {self.size:,} bytes", self.size)
        if self._json:
            self._begin_json()
        if self.kept:
            self.target.truncate(self._whole)  # without the zeros that some tools leave behind the last member

    def _begin(self, first: bytes) -> None:
        self._gzip = first.startswith(_GZIP)
        self.kept = self._gzip and first[3] in _PLAIN_FLAGS
        self._inflater = isal_zlib.decompressobj(wbits=31) if self._gzip else None

    def _inflate(self, data: bytes, at: int) -> None:
        """Unfold it; `at` is where it lies in the file."""
        while data:
            if self._inflater is None:
                rest = data.lstrip(b"\0")
                at, data = at + len(data) - len(rest), rest
                if not data:
                    return
                if not _GZIP.startswith(data[:2]) and not data.startswith(_GZIP):
                    raise _Broken("something that is no gzip follows the gzip data", at)
                self._inflater = isal_zlib.decompressobj(wbits=31)
            try:
                unfolded = self._inflater.decompress(data, _PIECE)
            except isal_zlib.error as error:  # type: ignore[misc] # its stub does not say that it is an exception
                raise _Broken(_words(error), at, vague=True) from None
            rest = self._inflater.unused_data or self._inflater.unconsumed_tail
            at, data = at + len(data) - len(rest), rest
            self._add(unfolded)
            if self.unfolded > max(UNFOLDED_UNSEEN, MOST_UNFOLDED * at):
                raise _Broken(f"it unfolds to more than {MOST_UNFOLDED} times its size; nobody read on", at)
            self._end_of_member(at)

    def _end_of_member(self, at: int) -> None:
        if self._inflater.eof:
            self._inflater, self._whole = None, at

    def _add(self, unfolded: bytes) -> None:
        """The next bytes of JSON."""
        if self._json is None:
            self._write(unfolded)
            return
        self._json += unfolded
        started = len(self._json) >= len(codecs.BOM_UTF8) and self._json.removeprefix(codecs.BOM_UTF8).lstrip(_SPACE)
        if started or len(self._json) > _PIECE:
            self._begin_json()

    def _write(self, unfolded: bytes) -> None:
        self.unfolded += len(unfolded)
        if not self.kept:
            self.target.write(unfolded)

    def _begin_json(self) -> None:
        """Look at the first bytes of JSON, and write them, without a byte order mark."""
        first, self._json = self._json or b"", None
        plain = first.removeprefix(codecs.BOM_UTF8)
        if len(plain) < len(first) and self.kept:
            self.kept = False
            self.target.seek(0)
            self.target.truncate()
        start = plain.lstrip(_SPACE)[:1]
        if start:
            self._write(plain)
        if start == b"[":
            self.form = "array"
        elif start == b"<":
            self.form, self.problem = None, "it is a page of HTML or XML, no JSON"
        elif first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            self.form, self.problem = None, "it is UTF-16; JSON is UTF-8 (RFC 8259)"
        elif start not in {b"{", b""}:
            self.form, self.problem = None, f"it begins with {start!r}, which no JSON of records does"


def _words(error: Exception) -> str:
    return "the checksum of the gzip data is wrong" if "checksum" in str(error) else "the gzip data are damaged"


async def _exactly(chunks: AsyncIterable[bytes]) -> int | None:
    """The byte at which a gzip file breaks, by reading it once more, piece by piece and at the end byte by byte."""
    at, member = 0, zlib.decompressobj(31)
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
                    member = zlib.decompressobj(31)
                    at, piece = at + len(piece) - len(piece.lstrip(b"\0")), piece.lstrip(b"\0")
    return None


def _first_bad(member: Any, piece: bytes) -> int:
    for index in range(len(piece)):
        try:
            member.decompress(piece[index : index + 1])
        except zlib.error:
            return index
    return 0


def bad_byte(staged: Staged) -> int | None:
    """The byte of its JSON at which a file is none, from 0 on; None where it is too long to look, or looks well.

    An engine tells a place within a record; a person wants a place in the file.
    """
    if staged.unfolded > LOCATED_UP_TO:
        return None
    data = staged.path.read_bytes()
    if staged.path.suffix == ".gz":
        data = isal_zlib.decompress(data, wbits=31)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return error.start
    try:
        if staged.form == "array":
            json.loads(text, object_pairs_hook=_nothing)
            return None
        return _bad_line(text)
    except json.JSONDecodeError as error:
        return len(text[: error.pos].encode())
    except (RecursionError, ValueError):
        return None


def _bad_line(text: str) -> int | None:
    at = 0
    for line in text.split("\n"):
        try:
            if line.strip():
                json.loads(line, object_pairs_hook=_nothing)
        except json.JSONDecodeError as error:
            return len(text[: at + error.pos].encode())
        at += len(line) + 1
    return None


def _nothing(_: list[tuple[str, Any]]) -> None:
    """Records are looked through, not kept."""
