"""I/O. Downloads table files to this machine for an engine, and examines each on the way.

DuckDB would fetch objects with an extension that it downloads at run time. Nothing is downloaded at run time here, so
files come through our own store. On the way they are inflated once. That finds the damaged byte, checks the CRC of
gzip members (DuckDB does not), stops bombs, and finds the form of the records. The form is found by the content; the
name decides only where the content leaves it open.
"""

from __future__ import annotations

import asyncio
import codecs
import csv
import io
import re
import stat
import zipfile
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, Final

from viplake.concurrency import map_bounded
from viplake.errors import WITHHELD, LakeError
from viplake.tables.gunzip import BOMB, MAGIC, MOST_UNFOLDED, PIECE, Gunzip, GzipError, exact_byte, too_large
from viplake.tables.json_repair import has_long_number, quote_long_numbers
from viplake.tables.staged import Staged, Unreadable

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Iterator
    from pathlib import Path

    from viplake.tables.staged import Form

FILES_AT_ONCE: Final = 16

MOST_MEMBERS: Final = 10_000
"""Of a zip file."""

_HEAD: Final = 8
"""Bytes that tell a container or a binary form."""
_PLAIN_FLAGS: Final = frozenset({0, 8})
"""Flags of a gzip header that DuckDB understands: none, or a file name (RFC 1952; it refuses the others)."""

_TAIL: Final = 16
"""Bytes of a number of 17 digits that may be in the piece before."""

_SMALL: Final = 64 << 10
_SPACE: Final = b" \t\r\n"
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_PARQUET: Final = b"PAR1"
_NOT_READ: Final = {
    b"Obj\x01": "Avro",
    b"ORC": "ORC",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"7z\xbc\xaf": "7-Zip",
    b"\x04\x22\x4d\x18": "LZ4",
    b"\xff\x06\x00\x00sN": "Snappy",
    b"\xd0\xcf\x11\xe0": "Excel",
    b"Rar!": "RAR",
    b"SQLite": "SQLite",
    b"%PDF": "PDF",
}
"""How files begin that may hold a table, in forms that are not read."""

_DELIMITERS: Final = ",;\t|"
_NULL_RECORD: Final = re.compile(rb"null(?:[ \t\r]*\n|\s*\Z)")
_BLANK_LINES: Final = re.compile(rb"(?:[ \t]*\r?\n)+")


class _NotReadError(Exception):
    """Reading a file cannot continue.

    Args:
        why: one clause.
        byte: of the file.
        empty: there is nothing in it.
    """

    def __init__(self, why: str, byte: int | None = 0, *, empty: bool = False) -> None:
        super().__init__(why)
        self.why, self.byte, self.empty = why, byte, empty


async def stage(
    names: Iterable[str], read: Callable[[str], AsyncIterable[bytes]], folder: Path, *, unfold: bool = True
) -> list[Staged | Unreadable]:
    """Download files to a folder, in the order of their names; each member of a zip file becomes a file.

    Args:
        names: in the hourly folder.
        read: gives a file in chunks.
        folder: an empty one to put them in.
        unfold: store them unfolded, which takes room and is read faster; else what DuckDB can read stays compressed.

    Raises:
        LakeError: as `read`; an archived file is `Unreadable`.
        OSError: the local disk is full.
    """

    async def one(numbered: tuple[int, str]) -> list[Staged | Unreadable]:
        number, name = numbered
        return await _stage(name, read, folder / f"{number:06d}.json", unfold=unfold)

    staged = await map_bounded(one, enumerate(sorted(names)), at_once=FILES_AT_ONCE)
    return [file for files in staged for file in files]


async def _stage(
    name: str, read: Callable[[str], AsyncIterable[bytes]], path: Path, *, unfold: bool
) -> list[Staged | Unreadable]:
    try:
        with path.open("wb") as target:
            intake = _Intake(target, name, unfold=unfold)
            async for chunk in read(name):
                if len(chunk) < _SMALL:  # done before a thread is found
                    intake.take(chunk)
                else:
                    await asyncio.to_thread(intake.take, chunk)
            intake.end()
        if intake.zipped:
            return await asyncio.to_thread(_unzipped, name, path)
        if intake.long_numbers:
            return [await asyncio.to_thread(_finished, intake, path)]
        return [_finished(intake, path)]
    except GzipError as broken:
        path.unlink()  # noqa: ASYNC240 - it waits for nothing
        byte = await exact_byte(read(name)) if broken.vague else broken.byte
        return [Unreadable(name, broken.why, byte)]
    except _NotReadError as error:
        return [Unreadable(name, error.why, error.byte, empty=error.empty)]
    except (FileNotFoundError, LakeError) as error:
        if isinstance(error, FileNotFoundError):
            why = "it vanished while it was read"
        elif error.cause.word in WITHHELD:
            why = f"{WITHHELD[error.cause.word]}: {error.message}"
        else:
            raise
        return [Unreadable(name, why)]


def _finished(intake: _Intake, path: Path, member: str = "") -> Staged:
    """Return the file that an intake has stored.

    Raises:
        _NotReadError: it holds no records.
    """
    if intake.form is None:
        raise _NotReadError("there is nothing in it", empty=True)
    if intake.kept:
        path = path.rename(f"{path}.gz")
    staged = Staged(intake.name, path, intake.form, intake.size, intake.unfolded, member)
    if intake.form == "csv":
        header, delimiter = _header(path)
        return replace(staged, header=header, delimiter=delimiter, blank=intake.blank)
    if intake.long_numbers:
        return replace(staged, path=quote_long_numbers(path), raw=path)
    return staged


# -- one file -------------------------------------------------------------------------------------------------------


class _Intake:
    """Stores a file chunk by chunk, and examines it.

    Attributes:
        name: of the file; that of a zip file's member where it is one.
        size: bytes that came.
        unfolded: bytes of records in them, without a byte order mark.
        blank: lines ahead of the header of a CSV file, which are not stored.
        kept: it is stored as it came; else unfolded.
        zipped: it is a zip file, stored as it came.
        form: of its records; None while nothing but space has come.
        long_numbers: a number of its JSON has more digits than a double holds.
    """

    def __init__(self, target: BinaryIO, name: str, *, unfold: bool, called: str = "") -> None:
        self.name = name
        self.size = self.unfolded = self.blank = 0
        self.kept = self.zipped = self.long_numbers = False
        self.form: Form | None = None
        self._called = called or name
        self._target = target
        self._unfold = unfold
        self._head: bytes | None = b""
        self._first: bytes | None = b""
        self._tail = b""
        self._gunzip: Gunzip | None = None

    def take(self, chunk: bytes) -> None:
        """Take the next bytes of the file.

        Raises:
            GzipError: they cannot be unfolded.
            _NotReadError: they are in a form that is not read.
        """
        self.size += len(chunk)
        if self._head is not None:
            self._head += chunk
            if len(self._head) < _HEAD:
                return
            chunk = self._begin()
        self._pass(chunk)

    def end(self) -> None:
        """End the file.

        Raises:
            GzipError, _NotReadError: as `take`.
        """
        if self._head is not None:
            self._pass(self._begin())
        if self._gunzip is not None:
            for piece in self._gunzip.end():
                self._add(piece)
        if self._first:
            self._begin_records()
        if self.kept and self._gunzip is not None:
            self._target.truncate(self._gunzip.whole)  # without the zeros that some tools leave behind the last member

    def _begin(self) -> bytes:
        head, self._head = self._head or b"", None
        if head.startswith(MAGIC):
            self._gunzip = Gunzip()
            self.kept = not self._unfold and len(head) > len(MAGIC) and head[len(MAGIC)] in _PLAIN_FLAGS
        self.zipped = head.startswith(_ZIP)
        return head

    def _pass(self, chunk: bytes) -> None:
        if self.zipped or self.kept:
            self._target.write(chunk)
        if self.zipped:
            return
        if self._gunzip is None:
            self._add(chunk)
            return
        for piece in self._gunzip.feed(chunk):
            self._add(piece)

    def _add(self, unfolded: bytes) -> None:
        """Add the next bytes of records."""
        if self._first is None:
            self._write(unfolded)
            return
        self._first += unfolded
        plain = self._first.removeprefix(codecs.BOM_UTF8).lstrip(_SPACE)
        if len(plain) >= _HEAD or len(self._first) > PIECE:
            self._begin_records()

    def _write(self, records: bytes) -> None:
        self.unfolded += len(records)
        if not self.kept:
            self._target.write(records)
        if not self.long_numbers and self.form in {"array", "newline_delimited"}:
            self.long_numbers = has_long_number(records) or has_long_number(self._tail + records[:_TAIL])
            self._tail = (self._tail + records)[-_TAIL:] if len(records) < _TAIL else records[-_TAIL:]

    def _begin_records(self) -> None:
        """Find the form from the first bytes of the records; write them without a byte order mark."""
        first, self._first = self._first or b"", None
        plain = first.removeprefix(codecs.BOM_UTF8)
        start = plain.lstrip(_SPACE)
        if not start:
            if len(first) > PIECE:
                raise _NotReadError("it begins with a million bytes of space")
            return
        self.form = self._form_of(first, start)
        if self.kept and (len(plain) < len(first) or self.form in {"csv", "parquet"}):
            self.kept = False
            self._target.seek(0)
            self._target.truncate()
        if self.form == "csv" and (blank := _BLANK_LINES.match(plain)):  # DuckDB would read the header as a record
            self.blank = blank[0].count(b"\n")
            plain = plain[blank.end() :]
        self._write(plain)

    def _form_of(self, first: bytes, start: bytes) -> Form:
        if start.startswith((b"[", b"{")):
            return "array" if start.startswith(b"[") else "newline_delimited"
        if first.startswith(_PARQUET):
            return "parquet"
        if first.startswith(_ZIP):
            raise _NotReadError("it is a zip file within another file, which is not read")
        if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise _NotReadError("it is UTF-16; only UTF-8 is read")
        form = next((form for magic, form in _NOT_READ.items() if first.startswith(magic)), None)
        if form is not None:
            raise _NotReadError(f"its form is {form}, which is not read")
        if start.startswith(b"<?xml") or self._called.lower().removesuffix(".gz").endswith(".xml"):
            raise _NotReadError("its form is XML, which is not read")
        if start.startswith(b"<"):
            raise _NotReadError("it is a page of HTML or XML, not a table")
        called = self._called.lower().removesuffix(".gz")
        if called.endswith((".json", ".jsonl", ".ndjson")):
            if _NULL_RECORD.match(start):
                return "newline_delimited"
            raise _NotReadError(f"it begins with {start[:1]!r}, which no JSON of records does")
        if b"\0" in first:
            raise _NotReadError(f"its form is not known: it begins with {start[:_HEAD]!r}")
        return "csv"


def _header(path: Path) -> tuple[tuple[str, ...], str]:
    """Return the columns of a CSV file, and its delimiter.

    Raises:
        _NotReadError: its first line is no header.
    """
    with path.open("rb") as file:
        first = file.read(PIECE)
    text = first.decode(errors="replace")
    line = text.split("\n", 1)[0]
    if "\N{REPLACEMENT CHARACTER}" in line or any(ord(letter) < ord(" ") and letter not in "\t\r" for letter in line):
        raise _NotReadError("its form is not known: its first line is no text")
    headers = {delimiter: cells for delimiter in _DELIMITERS if (cells := _cells(text, delimiter))}
    if not headers:
        raise _NotReadError("its first line is no header of a CSV file")
    delimiter = max(headers, key=lambda each: (not any('"' in cell for cell in headers[each]), len(headers[each])))
    header = headers[delimiter]
    if not all(header) or len({name.lower() for name in header}) < len(header):
        raise _NotReadError("the header of the CSV file has a column without a name, or one name twice")
    return header, delimiter


def _cells(text: str, delimiter: str) -> tuple[str, ...]:
    """Return the cells of the first line of a text; none where its quotes do not fit this delimiter.

    DuckDB does not report such quotes in a header: it returns no records at all.
    """
    lines = io.StringIO(text, newline="")
    try:
        cells = next(csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True))
    except (csv.Error, StopIteration):
        return ()
    return tuple(name.strip() for name in cells)


# -- zip files ------------------------------------------------------------------------------------------------------


def _unzipped(name: str, path: Path) -> list[Staged | Unreadable]:
    """Extract the members of a zip file. Their names are only displayed: no path in them is ever used here."""
    found: list[Staged | Unreadable] = []
    unfolded = 0
    try:
        with zipfile.ZipFile(path) as archive:
            if "xl/workbook.xml" in archive.namelist():
                return [Unreadable(name, "its form is Excel, which is not read")]
            members = [info for info in archive.infolist() if _is_table(info)]
            if len(members) > MOST_MEMBERS:
                return [Unreadable(name, f"the zip file has {len(members):,} members, more than {MOST_MEMBERS:,}")]
            for number, info in enumerate(members):
                target = path.with_name(f"{path.stem}-{number:05d}.json")
                member = _shown(info.filename)
                try:
                    one = _member(archive, info, name, target, unfolded)
                except (_NotReadError, GzipError) as error:
                    empty = isinstance(error, _NotReadError) and error.empty
                    found.append(Unreadable(name, f"its member {member}: {error.why}", empty=empty))
                else:
                    found.append(replace(one, size=info.compress_size, member=member))
                    unfolded += one.unfolded
                if too_large(unfolded, path.stat().st_size):
                    return [Unreadable(name, BOMB)]
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return [Unreadable(name, "the zip file is damaged")]
    finally:
        path.unlink(missing_ok=True)
    return found or [Unreadable(name, "there is nothing in it", 0, empty=True)]


def _is_table(info: zipfile.ZipInfo) -> bool:
    """Return whether a member may hold records: it is not a folder, a link, or a file of a desktop or database."""
    base = info.filename.replace("\\", "/").rpartition("/")[2]
    hidden = info.filename.startswith("__MACOSX/") or base.startswith(".") or not base
    return not (info.is_dir() or hidden or base.lower().endswith(".sql") or stat.S_ISLNK(info.external_attr >> 16))


def _shown(member: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in member)[:120]


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, target: Path, before: int) -> Staged:
    """Extract a member; `before` is the number of bytes that earlier members of this file became.

    Raises:
        GzipError, _NotReadError: it cannot be read.
    """
    if info.flag_bits & 1:
        raise _NotReadError("it is encrypted")
    try:
        with target.open("wb") as out:
            intake = _Intake(out, name, unfold=True, called=info.filename)
            for chunk in _chunks(archive, info):
                intake.take(chunk)
                if too_large(before + intake.size, info.compress_size + before // MOST_UNFOLDED):
                    raise _NotReadError(BOMB)
            intake.end()
        if intake.zipped:
            raise _NotReadError("it is a zip file within another file, which is not read")
        return _finished(intake, target)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
        raise _NotReadError(f"it cannot be decompressed ({str(error)[:80]})", None) from None


def _chunks(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(info) as member:
        while chunk := member.read(PIECE):
            yield chunk
