"""What the CRC32s of gzip members say of a body: of any members, cut into any blocks."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given, strategies as st

from viplake.tables.gunzip import UNFOLDED_UNSEEN, Gunzip, GzipError, GzipWitness

HEAD_BYTES = 10
"""Of a member without a name: a time, a system, a level; only the first three of them are looked at."""

bodies = st.lists(st.binary(max_size=3_000), min_size=1, max_size=4)
sizes = st.lists(st.integers(1, 700), min_size=1, max_size=20)


def flaw(body: bytes, blocks: list[int] | None = None) -> str | None:
    """What is said of a body that comes in blocks of these sizes, the last one for ever."""
    members, at, number = GzipWitness(), 0, 0
    while at < len(body):
        size = len(body) if blocks is None else blocks[min(number, len(blocks) - 1)]
        members.update(body[at : at + size])
        at, number = at + size, number + 1
    return members.end()


def packed(contents: list[bytes]) -> bytes:
    return b"".join(gzip.compress(content, mtime=0) for content in contents)


@given(bodies, sizes, st.integers(0, 5))
def test_whole_members_have_no_flaw_however_they_come(contents: list[bytes], blocks: list[int], padding: int) -> None:
    assert flaw(packed(contents) + bytes(padding), blocks) is None


@given(bodies, sizes, st.data())
def test_D22_any_flipped_bit_that_changes_the_content_is_seen(
    contents: list[bytes], blocks: list[int], data: st.DataObject
) -> None:
    before, victim = packed(contents[:-1]), packed(contents[-1:])
    at = data.draw(st.integers(HEAD_BYTES, len(victim) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    spoilt = victim[:at] + bytes([victim[at] ^ bit]) + victim[at + 1 :]
    if flaw(before + spoilt, blocks) is None:  # a bit of the padding between two blocks of deflate
        assert gzip.decompress(before + spoilt) == b"".join(contents)


@given(bodies, sizes, st.data())
def test_a_body_that_ends_within_a_member_is_seen(
    contents: list[bytes], blocks: list[int], data: st.DataObject
) -> None:
    before, victim = packed(contents[:-1]), packed(contents[-1:])
    end = data.draw(st.integers(1 if before else 3, len(victim) - 1))
    assert flaw(before + victim[:end], blocks) is not None


@given(bodies, sizes, st.binary(min_size=1, max_size=50).filter(lambda rest: rest.strip(b"\0")))
def test_data_after_the_last_member_is_detected(contents: list[bytes], blocks: list[int], rest: bytes) -> None:
    assert flaw(packed(contents) + rest, blocks) is not None


@given(st.binary(max_size=3_000).filter(lambda body: not body.startswith(b"\x1f\x8b\x08")), sizes)
def test_data_that_is_not_gzip_has_no_verdict(body: bytes, blocks: list[int]) -> None:
    assert flaw(body, blocks) is None


def test_A6_a_bomb_is_left_alone_in_flat_memory() -> None:
    body = gzip.compress(bytes(3 * UNFOLDED_UNSEEN), mtime=0)
    members = GzipWitness()
    tracemalloc.start()
    for at in range(0, len(body), 1 << 16):
        members.update(body[at : at + (1 << 16)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert members.end() is None
    assert not members.looks
    assert peak < 8 << 20
    gunzip = Gunzip()
    with pytest.raises(GzipError, match="200 times"):
        for _ in gunzip.feed(body):
            pass
    assert gunzip.unfolded < 2 * UNFOLDED_UNSEEN


def test_a_member_that_is_no_bomb_is_read_to_its_end_however_large() -> None:
    content = zlib.compress(bytes(1_000), 0) * 100_000
    body = gzip.compress(content, 1, mtime=0)
    assert len(content) > UNFOLDED_UNSEEN
    assert flaw(body, [1 << 16]) is None
    assert flaw(body[:-1] + bytes([body[-1] ^ 1]), [1 << 16]) is not None
