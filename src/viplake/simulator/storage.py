"""I/O. The vendor's file storage: signed downloads as S3 serves them, and what can go wrong with them.

Range, If-Match, ETag, sizes and XML errors are those of S3's GetObject. A body is never held: pieces of about
1 MiB are made, sent and forgotten.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from aiohttp import web

from viplake.simulator import answers
from viplake.simulator.signing import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from viplake.simulator.faults import Fault
    from viplake.simulator.tables import SimulatedFile

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_REFUSALS: Mapping[str, Refusal] = {
    "expired": Refusal(403, "AccessDenied", "Request has expired"),
    "expired_token": Refusal(400, "ExpiredToken", "The provided token has expired."),
    "signature": Refusal(403, "SignatureDoesNotMatch", "The request signature we calculated does not match."),
    "denied": Refusal(403, "AccessDenied", "Access Denied"),
    "forbidden": Refusal(403, "AccessDenied", "Access Denied"),
    "missing": Refusal(404, "NoSuchKey", "The specified key does not exist."),
    "not_found": Refusal(404, "NoSuchKey", "The specified key does not exist."),
    "slow_down": Refusal(503, "SlowDown", "Please reduce your request rate."),
    "xml": Refusal(200, "InternalError", "We encountered an internal error. Please try again."),
}
MISSING = _REFUSALS["missing"]
_WHOLE_AT_ONCE = 1024 * 1024
_PIECE = 64 * 1024
_TENTH = 0.1


def refuse(refusal: Refusal, headers: Mapping[str, str]) -> web.Response:
    """S3's XML error."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message>"
        "<RequestId>SIMULATED</RequestId></Error>"
    )
    return web.Response(status=refusal.status, text=text, content_type="application/xml", headers=headers)


@dataclass(slots=True)
class _Plan:
    """What is sent of a file: the bytes [start, stop), and how."""

    file: SimulatedFile
    start: int
    stop: int
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    announced: int | None = 0  # Content-Length; None for a chunked body
    extra: int = 0  # bytes behind the file's own
    limit: int | None = None  # so many bytes of the body, then `end`
    end: str = ""
    rate: float = 0  # bytes a second
    flip: int | None = None  # offset within the file
    fixed: str = ""  # another ETag

    @property
    def length(self) -> int:
        return self.stop - self.start

    def pieces(self) -> Iterator[bytes]:
        """The body, as far as it goes."""
        left = self.length if self.limit is None else min(self.limit, self.length)
        at = self.start
        for piece in self.file.read(self.start, self.start + left):
            yield _flipped(piece, None if self.flip is None else self.flip - at)
            at += len(piece)
        while self.extra > 0 and self.limit is None:
            yield b"\0" * min(self.extra, _PIECE)
            self.extra -= _PIECE


def _flipped(piece: bytes, at: int | None) -> bytes:
    if at is None or not 0 <= at < len(piece):
        return piece
    return piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes [start, stop) that a Range asks for; None for all, (size, size) where it cannot be had."""
    found = _RANGE.fullmatch(header or "")
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        return max(size - int(last), 0), size
    start, stop = int(first), min(int(last) + 1 if last else size, size)
    if last and int(last) < int(first):
        return None
    return (start, stop) if start < size else (size, size)


def _bend(plan: _Plan, fault: Fault) -> None:
    """Change what is sent as a fault says."""
    match fault.kind:
        case "cut" | "stall" as end:
            plan.limit, plan.end = fault.offset(plan.length), end
        case "short":
            plan.limit = plan.announced = fault.offset(plan.length, -1)
        case "long":
            plan.extra = int(fault.number(1))
            plan.announced = plan.length + plan.extra
        case "endless":
            plan.extra, plan.announced = 1 << 62, None
        case "chunked":
            plan.announced = None
        case "content_length":
            plan.announced, plan.end = plan.length + int(fault.number(1)), "cut"
        case "slow":
            plan.rate = fault.number(1)
        case "gzip_encoding":
            plan.headers["Content-Encoding"] = "gzip"
        case "kms":
            plan.headers["x-amz-server-side-encryption"] = "aws:kms"
        case "bit_flip":
            plan.flip = fault.offset(plan.file.size)
        case "bad_range" if plan.status == 206:  # noqa: PLR2004
            plan.headers["Content-Range"] = f"bytes {plan.start + 1}-{plan.stop}/{plan.file.size}"


def _plan(request: web.Request, file: SimulatedFile, faults: Sequence[Fault]) -> _Plan | Refusal:
    """What a healthy storage sends, bent by the faults."""
    kinds = {fault.kind: fault for fault in faults}
    etag = kinds["etag_change"].text("0" * 32) if "etag_change" in kinds else file.etag
    if "kms" in kinds:
        etag = etag[::-1]  # 32 hex digits all the same
    wanted = request.headers.get("If-Match")
    if wanted not in {None, "*", f'"{etag}"', etag}:
        return Refusal(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
    part = None if "ignore_range" in kinds else _range(request.headers.get("Range"), file.size)
    if part is not None and ("range_error" in kinds or part[0] == file.size):
        return Refusal(416, "InvalidRange", "The requested range is not satisfiable")
    plan = _Plan(file, *(part or (0, file.size)))
    plan.headers = {"ETag": f'"{etag}"'}
    if part is not None:
        plan.status = 206
        plan.headers["Content-Range"] = f"bytes {plan.start}-{plan.stop - 1}/{file.size}"
    plan.announced = plan.length
    for fault in faults:
        _bend(plan, fault)
    return plan


async def download(
    request: web.Request,
    file: SimulatedFile,
    *,
    modified: datetime,
    faults: Sequence[Fault],
    stopping: asyncio.Event,
    headers: Mapping[str, str],
) -> tuple[web.StreamResponse, int]:
    """Serve a file: the response, and how many bytes of its body were sent."""
    for fault in faults:
        if fault.kind in _REFUSALS:
            return refuse(_REFUSALS[fault.kind], headers), 0
        if (played := await answers.instead(request, fault, stopping)) is not None:
            return played, 0
    plan = _plan(request, file, faults)
    if isinstance(plan, Refusal):
        extra = {"Content-Range": f"bytes */{file.size}"} if plan.status == 416 else {}  # noqa: PLR2004
        return refuse(plan, {**headers, **extra}), 0
    sent = {
        **headers,
        "Content-Type": "binary/octet-stream",
        "Accept-Ranges": "bytes",
        "Last-Modified": format_datetime(modified, usegmt=True),
        "x-amz-server-side-encryption": "AES256",
        **plan.headers,
    }
    if not faults and plan.length <= _WHOLE_AT_ONCE:
        body = b"".join(plan.pieces())
        return web.Response(status=plan.status, body=body, headers=sent), len(body)
    return await _stream(request, plan, sent, stopping)


async def _stream(
    request: web.Request, plan: _Plan, headers: Mapping[str, str], stopping: asyncio.Event
) -> tuple[web.StreamResponse, int]:
    response = web.StreamResponse(status=plan.status, headers=headers)
    if plan.announced is not None:
        response.content_length = plan.announced
    count = 0
    await response.prepare(request)
    with suppress(ConnectionError):  # the client left: so be it
        for piece in plan.pieces():
            await (_drip(response, piece, plan.rate, stopping) if plan.rate else response.write(piece))
            count += len(piece)
        if plan.end:
            await answers.send_whole(request, response, b"")
        if plan.end == "stall":
            await answers.silence(request, 3600, stopping)
        elif plan.end == "cut" or stopping.is_set():
            answers.hang_up(request, response)
    return response, count


async def _drip(response: web.StreamResponse, piece: bytes, rate: float, stopping: asyncio.Event) -> None:
    """Send at so many bytes a second of the wall, a tenth of a second's worth at a time."""
    step = max(1, int(rate * _TENTH))
    for at in range(0, len(piece), step):
        part = piece[at : at + step]
        await response.write(part)
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), len(part) / rate)
        if stopping.is_set():
            return
