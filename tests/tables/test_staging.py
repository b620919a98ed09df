"""Files of the lake become files that an engine can read, or a reason why not, with the byte."""

from __future__ import annotations

import asyncio
import gzip
import io
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from content.tables import ARRAY, LINES, READABLE, UNREADABLE
from viplake.errors import LakeError
from viplake.tables.gunzip import MOST_UNFOLDED, UNFOLDED_UNSEEN
from viplake.tables.json_repair import has_long_number
from viplake.tables.staged import Staged, Unreadable
from viplake.tables.staging import _Intake, stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def staged(files: dict[str, bytes], folder: Path, *, chunk: int = 1 << 20) -> list[Staged | Unreadable]:
    async def read(name: str) -> AsyncIterator[bytes]:
        data = files[name]
        for at in range(0, len(data), chunk):
            yield data[at : at + chunk]

    return await stage(files, read, folder)


def text(file: Staged) -> bytes:
    path = file.raw or file.path
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


@pytest.mark.parametrize("chunk", [1, 7, 4096, 1 << 20])
@pytest.mark.parametrize("name", READABLE)
async def test_a_readable_file_becomes_json_without_its_wrapping(name: str, chunk: int, tmp_path: Path) -> None:
    data = READABLE[name][0]
    if chunk < 7 and len(data) > 100_000:
        chunk = 7
    [file] = await staged({name: data}, tmp_path, chunk=chunk)
    assert isinstance(file, Staged), file
    plain = data if data[:2] != b"\x1f\x8b" else gzip.decompress(data.rstrip(b"\0") + b"\0" * 8)
    assert text(file) == plain.removeprefix(b"\xef\xbb\xbf")
    assert (file.name, file.size, file.unfolded) == (name, len(data), len(text(file)))
    assert file.form == ("array" if plain.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[" else "newline_delimited")


@pytest.mark.parametrize("chunk", [7, 1 << 20])
async def test_an_unreadable_file_has_a_reason_and_a_byte_position(chunk: int, tmp_path: Path) -> None:
    wrapped = {name: bad for name, bad in UNREADABLE.items() if name.endswith(".gz") or not bad.data.strip()}
    found = await staged({name: bad.data for name, bad in wrapped.items()}, tmp_path, chunk=chunk)
    for file in found:
        assert isinstance(file, Unreadable), file
        bad = wrapped[file.name]
        assert bad.words in file.why
        assert (file.byte, file.empty) == (bad.byte, bad.kind == "empty_file"), file


@settings(max_examples=60)
@given(
    cuts=st.lists(st.integers(1, len(READABLE["members.json.gz"][0]) - 1), max_size=6),
    data=st.sampled_from([READABLE["members.json.gz"][0], READABLE["commented.json.gz"][0], ARRAY[:5000], LINES]),
)
async def test_where_a_file_is_cut_on_its_way_changes_nothing(
    cuts: list[int], data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def read(_: str) -> AsyncIterator[bytes]:
        places = [0, *sorted(cut for cut in set(cuts) if cut < len(data)), len(data)]
        for begin, end in pairwise(places):
            yield data[begin:end]

    [file] = await stage(["x.json"], read, tmp_path_factory.mktemp("cut"))
    [whole] = await staged({"x.json": data}, tmp_path_factory.mktemp("whole"))
    assert isinstance(file, Staged)
    assert isinstance(whole, Staged)
    assert (text(file), file.form, file.unfolded) == (text(whole), whole.form, whole.unfolded)


@pytest.mark.system
async def test_A6_a_gzip_bomb_is_left_at_its_cap(tmp_path: Path) -> None:
    bomb = gzip.compress(b"[" + bytes(200 << 20).replace(b"\0", b" ") + b"]", mtime=0)
    assert len(bomb) < (200 << 20) // MOST_UNFOLDED
    [file] = await staged({"bomb.json.gz": bomb}, tmp_path, chunk=64 << 10)
    assert isinstance(file, Unreadable)
    assert "more than 200 times" in file.why
    assert not any(tmp_path.glob("*"))  # noqa: ASYNC240 - a test may wait for its disk


@pytest.mark.system
async def test_a_file_that_compresses_as_real_ones_do_is_no_bomb(tmp_path: Path) -> None:
    lines = b"".join(b'{"PortName": "Rotterdam", "Status": "Scheduled", "Number": %d}\n' % n for n in range(1_200_000))
    data = gzip.compress(lines, compresslevel=6, mtime=0)
    assert len(lines) > UNFOLDED_UNSEEN
    assert len(lines) > 10 * len(data)
    [file] = await staged({"large.json.gz": data}, tmp_path)
    assert isinstance(file, Staged)


async def test_a_deleted_file_is_reported_and_a_failing_lake_is_an_error(tmp_path: Path) -> None:
    async def gone(_: str) -> AsyncIterator[bytes]:
        yield b"["
        raise FileNotFoundError

    async def down(_: str) -> AsyncIterator[bytes]:
        await asyncio.sleep(0)
        raise LakeError("it does not answer")
        yield b""

    (tmp_path / "gone").mkdir()
    [file] = await stage(["x.json"], gone, tmp_path / "gone")
    assert isinstance(file, Unreadable)
    assert "vanished" in file.why
    (tmp_path / "down").mkdir()
    with pytest.raises(LakeError, match="does not answer"):
        await stage(["x.json", "y.json"], down, tmp_path / "down")


@given(
    before=st.binary(max_size=40),
    digits=st.from_regex(r"[0-9][0-9.]{16,30}", fullmatch=True),
    cut=st.integers(1, 90),
)
def test_H20_a_long_number_is_seen_wherever_pieces_are_cut(before: bytes, digits: str, cut: int) -> None:
    data = b"[{" + before + b"," + digits.encode() + b"}]"
    assert has_long_number(data)
    target = io.BytesIO()
    intake = _Intake(target, "x.json", unfold=True)
    for at in range(0, len(data), cut):
        intake.take(data[at : at + cut])
    intake.end()
    assert intake.long_numbers
