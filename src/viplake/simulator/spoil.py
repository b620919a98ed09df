"""PURE. How faults change a response: its JSON, its bytes, the list of files, the text of a refusal."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from email.utils import format_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from viplake.simulator.faults import Fault
    from viplake.simulator.vendor import TooSoon

_BLANKS = 1024 * 1024


@dataclass(slots=True)
class PlannedAnswer:
    """An answer of one of the four calls, before it is sent: `body` is JSON, with `RawJson` in it maybe."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RawJson:
    """Text that goes into JSON as it is, such as 1e400."""

    text: str


def dumps(body: Any) -> str:
    """JSON, with every `RawJson` as it is."""
    raw: list[str] = []

    def mark(value: Any) -> str:
        if not isinstance(value, RawJson):
            raise TypeError(type(value).__name__)
        raw.append(value.text)
        return f"@raw:{len(raw) - 1}@"

    text = json.dumps(body, default=mark)
    for index, replacement in enumerate(raw):
        text = text.replace(f'"@raw:{index}@"', replacement, 1)
    return text


def _first_object(body: Any) -> dict[str, Any] | None:
    found = body[0] if isinstance(body, list) and body else body
    return found if isinstance(found, dict) else None


def change_body(answer: PlannedAnswer, fault: Fault) -> None:
    """Faults that change the JSON value."""
    members = _first_object(answer.body)
    match fault.kind:
        case "json":
            answer.status, answer.body = 200, RawJson(fault.text("[]"))
        case "accepted_status":
            answer.status = int(fault.number(500))
            answer.body = {"Message": "An error has occurred."}
        case "deep_json":
            depth = int(fault.number(100_000))
            answer.body = RawJson("[" * depth + "]" * depth)
        case "big_int" if members is not None:
            members["Total"] = RawJson("9" * int(fault.number(5000)))
        case "nan" if members is not None:
            members["Total"] = RawJson("NaN")
        case "extra_members" if members is not None:
            members["SchemaVersion"] = 7
            members["Links"] = {"self": None, "next": []}


def change_bytes(  # noqa: PLR0911 - one return a kind
    data: bytes, fault: Fault, headers: dict[str, str]
) -> bytes:
    """Faults that change the bytes."""
    match fault.kind:
        case "empty_body":
            return b""
        case "cut_json":
            return data[: fault.offset(len(data))]
        case "duplicate_members":
            name = data.partition(b'"')[2].partition(b'"')[0]
            return data.replace(b"{", b'{"%s": "another", ' % name, 1)
        case "utf16":
            return data.decode().encode("utf-16")
        case "bom":
            return b"\xef\xbb\xbf" + data
        case "gzip_bomb":
            headers["Content-Encoding"] = "gzip"
            return gzip_bomb(int(fault.number(300_000_000)), data)
        case "text_plain":
            headers["Content-Type"] = "text/plain; charset=utf-8"
    return data


@lru_cache(maxsize=4)
def gzip_bomb(blanks: int, data: bytes) -> bytes:
    """At least so many blanks and then `data`, as one gzip member, pressed about 1000:1."""
    # After a full flush a block refers to nothing before it, so one pressed MiB can be repeated.
    block = b" " * _BLANKS
    count = -(-blanks // _BLANKS)
    press = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    pressed = press.compress(block) + press.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(count):
        checksum = zlib.crc32(block, checksum)
    checksum = zlib.crc32(data, checksum)
    end = press.compress(data) + press.flush()
    length = (count * _BLANKS + len(data)) & 0xFFFFFFFF
    head = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    return head + pressed * count + end + checksum.to_bytes(4, "little") + length.to_bytes(4, "little")


def put_raw(body: dict[str, Any], member: str, text: str) -> None:
    """Replace a member by JSON text, or remove it if the text is `absent`."""
    if text == "absent":
        del body[member]
    else:
        body[member] = RawJson(text)


def json_or_text(text: str) -> Any:
    """What a text means as JSON; itself, where it means nothing."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def too_soon(refused: TooSoon, now: datetime, wording: str) -> PlannedAnswer:
    """A refusal of the trigger, in one of the `WORDINGS`."""
    at = refused.next_allowed.astimezone(UTC)
    if wording == "past":
        at = now.replace(microsecond=0) - timedelta(seconds=5)
    elif wording == "far":
        at = now.replace(microsecond=0) + timedelta(hours=3)
    hour = at.hour % 12 or 12
    half = "AM" if at.hour < 12 else "PM"  # noqa: PLR2004 - noon
    text = {
        "iso_offset": (at + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S+02:00"),
        "iso_naive": f"{at:%Y-%m-%d %H:%M:%S}",
        "us": f"{at.month}/{at.day}/{at.year} {hour}:{at:%M:%S} {half}",
        "eu": f"{at:%d/%m/%Y %H:%M:%S}",
        "rfc": format_datetime(at, usegmt=True),
        "none": "a while",
    }.get(wording, f"{at:%Y-%m-%dT%H:%M:%SZ}")
    body = {"Message": f"This configuration may run once per hour. The next run is allowed after {text}."}
    if wording == "guid" and refused.blocked_by:
        body["JobGuid"] = refused.blocked_by
    return PlannedAnswer(400, body)


def _bend_url(url: str, how: str) -> str:
    """Point a URL elsewhere."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    name, _, port = host.partition(":")
    known = {
        "http": f"http://{rest}",
        "https": f"https://{rest}",
        "host": f"{scheme}://files.example.net/{path}",
        "ip": f"{scheme}://10.0.0.1/{path}",
        "port": f"{scheme}://{name}:{int(port or 443) ^ 1}/{path}",
        "userinfo": f"{scheme}://user:word@{rest}",
    }
    return known.get(how, how)


def bend_list(entries: Any, fault: Fault) -> Any:  # noqa: PLR0911 - one return a kind
    """Change the list of call 4 as a fault says."""
    if not isinstance(entries, list):
        return entries
    struck = [entry for entry in entries if fault.matches(str(entry.get("key", "")))]
    match fault.kind:
        case "empty":
            return []
        case "object":
            return {"Message": "No files"}
        case "grow" | "shrink":
            left_out = struck if fault.file else entries[-3:]
            return [entry for entry in entries if entry not in left_out]
        case "duplicate":
            return entries + struck
        case "duplicate_size":
            return entries + [{**entry, "size": entry["size"] + 1} for entry in struck]
        case "collision":
            return entries + [{**entry, "key": f"other/{_name(entry)}"} for entry in struck]
        case "case_twin":
            twins = [entry["key"].removesuffix(_name(entry)) + _name(entry).upper() for entry in struck]
            return entries + [{**entry, "key": twin} for entry, twin in zip(struck, twins, strict=True)]
    for entry in struck:
        _bend_entry(entry, fault)
    return entries


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry.get("key", "")).rpartition("/")[2]


def _bend_entry(entry: dict[str, Any], fault: Fault) -> None:
    match fault.kind:
        case "missing_field":
            entry.pop(fault.text("size"), None)
        case "size":
            entry["size"] = RawJson(fault.text('"12"'))
        case "key":
            entry["key"] = fault.text("../{name}").replace("{name}", _name(entry))
        case "url":
            entry["presignedDownloadURL"] = _bend_url(entry["presignedDownloadURL"], fault.text("host"))
