"""I/O. How responses are sent: correct, late, spoiled, or not at all.

The faults that any call can have are played here, on the connection itself where HTTP would not let them
through; faults of one call alone are beside that call.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiohttp import web

from viplake.simulator import spoil

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from viplake.simulator.faults import Fault

PAGE = "<!DOCTYPE html><html><head><title>Please wait</title></head><body>Service page</body></html>"
# Where redirects lead when nothing else is said: the simulator counts who follows.
FOLLOWED = "/_simulator/followed"
# A refusal whose text tries to write on the reader's terminal and log.
CONTROL = "broken\r\nINFO all is well\x1b[2J\x1b[31m"
# Seconds of silence: longer than anyone's patience.
_FOR_EVER = 3600
# Entries of an enormous list that are sent at once.
_AT_ONCE = 1000
PAGE = "<!DOCTYPE html><html><head><title>Wait</title></head><body><h1>Service page</h1></body></html>"
_LOOK = 0.02


def gone(request: web.Request) -> bool:
    """Whether the client has left."""
    return request.transport is None or request.transport.is_closing()


def drop(request: web.Request) -> web.Response:
    """Break the connection; what is returned is never sent."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def silence(request: web.Request, seconds: float, stopping: asyncio.Event) -> web.Response:
    """Stay silent for so many seconds of real time, or until client or server ends; then drop the connection."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until and not gone(request) and not stopping.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), _LOOK)
    return drop(request)


async def _write_raw(request: web.Request, data: bytes) -> None:
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError
    transport.write(data)
    await asyncio.sleep(0)


async def _slow_headers(request: web.Request, pause: float, stopping: asyncio.Event) -> web.Response:
    await _write_raw(request, b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not gone(request) and not stopping.is_set():
        await _write_raw(request, b"x")
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), pause)
    return drop(request)


def _plain(fault: Fault) -> web.Response | None:  # noqa: PLR0911 - one return a kind
    """The faults that are one small answer."""
    match fault.kind:
        case "status":
            return web.json_response({"Message": "An error has occurred."}, status=int(fault.number(503)))
        case "retry_after":
            return web.Response(status=429, headers={"Retry-After": fault.text("7")})
        case "unauthorized":
            return web.Response(status=401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        case "forbidden" | "not_found" as word:
            return web.json_response({"Message": word}, status=403 if word == "forbidden" else 404)
        case "control_characters":
            return web.json_response({"Message": CONTROL}, status=400)
        case "redirect":
            return web.Response(status=302, headers={"Location": fault.text(FOLLOWED)})
        case "html":
            return web.Response(text=PAGE, content_type="text/html")
    return None


async def instead(request: web.Request, fault: Fault, stopping: asyncio.Event) -> web.StreamResponse | None:
    """Play a fault that any call can have, instead of doing anything; None where it is none of these."""
    match fault.kind:
        case "reset":
            return drop(request)
        case "hang":
            return await silence(request, fault.number(_FOR_EVER), stopping)
        case "slow_headers":
            return await _slow_headers(request, fault.number(1), stopping)
        case "huge_header":
            return await _huge_header(request, int(fault.number(1_000_000)), stopping)
    return _plain(fault)


async def _huge_header(request: web.Request, size: int, stopping: asyncio.Event) -> web.Response:
    await _write_raw(request, b"HTTP/1.1 200 OK\r\nX-Huge: " + b"x" * size + b"\r\n")
    await _write_raw(request, b"Content-Length: 2\r\nContent-Type: application/json\r\n\r\n[]")
    return await silence(request, _FOR_EVER, stopping)


async def send(
    request: web.Request,
    answer: spoil.PlannedAnswer,
    faults: Sequence[Fault],
    stopping: asyncio.Event,
    headers: Mapping[str, str],
) -> web.StreamResponse:
    """Send an answer of one of the four calls, spoiled as the faults say."""
    kinds = {fault.kind: fault for fault in faults}
    if "answer_lost" in kinds:
        return drop(request)
    if "answer_late" in kinds:
        return await silence(request, kinds["answer_late"].number(_FOR_EVER), stopping)
    for fault in faults:
        spoil.change_body(answer, fault)
    data = spoil.dumps(answer.body).encode()
    sent = {**headers, "Content-Type": "application/json; charset=utf-8", **answer.headers}
    for fault in faults:
        data = spoil.change_bytes(data, fault, sent)
    if "many" in kinds and answer.body:
        return await _many(request, sent, answer.body, int(kinds["many"].number(1_000_000)))
    if "endless" in kinds:
        return await _endless(request, answer.status, sent)
    if "cut_body" in kinds:
        return await _cut(request, answer.status, sent, data, kinds["cut_body"].offset(len(data)))
    return web.Response(status=answer.status, body=data, headers=sent)


async def _endless(request: web.Request, status: int, headers: Mapping[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers=headers)
    await response.prepare(request)
    await response.write(b'[{"key": "a"}')
    entries = b', {"key": "a/b/Name.json.gz", "size": 1}' * 1000
    while True:  # ends with the ConnectionError of a client that has had enough
        await response.write(entries)


async def _many(
    request: web.Request, headers: Mapping[str, str], entries: list[dict[str, Any]], count: int
) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    await response.write(spoil.dumps(entries)[:-1].encode())
    for first in range(0, count, _AT_ONCE):
        keys = (f"many/Voyage_{number}.json.gz" for number in range(first, min(first + _AT_ONCE, count)))
        await response.write("".join(f", {spoil.dumps({**entries[0], 'key': key})}" for key in keys).encode())
    await response.write(b"]")
    return response


async def _cut(
    request: web.Request, status: int, headers: Mapping[str, str], data: bytes, stop: int
) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = len(data)
    await response.prepare(request)
    await send_whole(request, response, data[:stop])
    return hang_up(request, response)


async def send_whole(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    """Write bytes and wait until they have left, so that the break behind them does not swallow them."""
    await response.write(data)
    transport = request.transport
    while transport and not transport.is_closing() and transport.get_write_buffer_size():  # noqa: ASYNC110 - it has no event
        await asyncio.sleep(_LOOK / 10)


def hang_up(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Close the connection in the midst of a body."""
    if request.transport is not None:
        request.transport.close()
    return response
