"""Hostile variants of good input: bytes spoiled, spliced and cut, and JSON changed member by member.

Everything is drawn from the `random.Random` that is given, so a seed gives the same bytes again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

LONGEST: Final = 1 << 16
"""Bytes of a variant: what costs more than it should shows at that size already."""

WORDS: Final = r"""
" ' \ , ; : [ ] { } [[ ]] = # ? & %2e%2e %00 ../ //
null true false NaN -Infinity 1e400 -1 0 1.5 1e308 1_0 0x10 +99999999999999 +2359 -0000
\ud800 \u0000 "\udfff" \N{DIGIT_ONE} ['a','b'] '\ud800' 1+1j __import__('os')
0001-01-01T00:00:00+14:00 9999-12-31T23:59:59-14:00 2022-05-10T13:00:00 2022-05-10T13 20220510-13 20220510/13
00010101-00 99991231-23 https://[::1 https://a:b@c https://a:99999/ file:///a%00b ~nobody/x secret:X [profiles.x]
<html> Message JobGuid 7470724f-e195-416b-a2da-94e63e94f341
"""
SIGNS: Final = ("\n", "\r", "\r\n", "\t", "\0", "\x1b[2J", "\x7f", "\x85", "\u2028", "\ufeff", "é", "\u0130", "\u0663")
LONG: Final = ("9" * 400, "9" * 5000, '"' * 9, "[" * 1200, '{"a":' * 1200, "a." * 1200, "-" * 3000, "a-" * 2000)
MOMENTS: Final = ("Tue, 10 May 2022 14:00:00 GMT", "5/10/2022 2:05:09 PM")
BYTES: Final = (b"\xff", b"\xff\xfe", b"\xfe\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\x1f\x8b\x08")
TOKENS: Final = (*(text.encode() for text in (*WORDS.split(), *SIGNS, *LONG, *MOMENTS)), *BYTES)

VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 1.5, 1e308, -0.0, 2**31, 2**63, 2**64, 10**400, -(10**400)),
    *("", " ", "x", "\0", "\n", "\ud800", "é", "\u0663", "1", "-1", "9" * 5000, "a" * 5000, [], {}, [[]], {"": None}),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59Z", "2022-05-10", "9999-12-31T23"),
    *("0001-01-01T00", "2022-05-10T13", ["x"], [None], {"x": 1}, [["a", "b"]], "page", "opened", "delivered", "failed"),
)


def deep(levels: int) -> Any:
    """Lists in lists, so many."""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def variant(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds, spoiled in one to six ways."""
    data = rng.choice(seeds)
    if rng.random() < 0.4:
        data = _json_variant(rng, data)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 6))):
        data = _spoil(rng, data, seeds)
    return data[:LONGEST]


def _spoil(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """The data with a stretch of it changed, doubled, removed or replaced, or cut off there."""
    start = rng.randint(0, len(data))
    end = min(len(data), start + rng.choice((0, 1, 1, 2, 8, 40, 400)))
    stretch = data[start:end]
    match rng.randrange(8):
        case 0:
            stretch = bytes([stretch[0] ^ (1 << rng.randrange(8))]) + stretch[1:] if stretch else b""
        case 1:
            stretch = b""
        case 2:
            stretch *= rng.choice((2, 3, 50))
        case 3:
            stretch = rng.choice(TOKENS)
        case 4:
            stretch += rng.choice(TOKENS)
        case 5:
            end = len(data)
        case 6:
            other = rng.choice(seeds)
            stretch, end = other[rng.randint(0, len(other)) :], len(data)
        case _:
            stretch = rng.randbytes(len(stretch))
    return data[:start] + stretch + data[end:]


def _json_variant(rng: Random, data: bytes) -> bytes:
    """The JSON in the data, after whatever head it has, with one to three of its values changed."""
    head, blank, body = data.rpartition(b"\n\n")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return data
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = _changed(rng, value)
    text = json.dumps(value, ensure_ascii=rng.random() < 0.7)
    return head + blank + text.encode(rng.choice(("utf-8", "utf-8", "utf-8", "utf-16", "utf-8-sig")), "surrogatepass")


def _changed(rng: Random, value: Any) -> Any:
    """The value with one place in it changed, the nearer to the top the likelier."""
    if isinstance(value, dict | list) and value and rng.random() < 0.8:
        place: Any = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        result: Any = value.copy()
        match rng.randrange(6):
            case 0:
                del result[place]
            case 1:
                other = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
                result[place], result[other] = value[other], value[place]
            case _:
                result[place] = _changed(rng, value[place])
        return result
    match rng.randrange(8):
        case 0:
            return deep(rng.choice((3, 60, 300, 900)))
        case 1 if isinstance(value, str):
            place = rng.randint(0, len(value))
            return (
                value[:place] + rng.choice(("\n", "\ud800", "\0", " ", "/", "..", '"', "é", "x" * 300)) + value[place:]
            )
        case 2:
            return [value]
        case 3:
            return {rng.choice(("", "name", "JobGuid", "format")): value}
        case _:
            return rng.choice(VALUES)
