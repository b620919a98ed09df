"""I/O. `viplake serve`: the report, `/healthz` and `/metrics` over HTTP. Read-only, without any credential in it."""

from __future__ import annotations

import json as jsonlib
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from viplake import config
from viplake.clock import SystemClock
from viplake.commands.assembly import check_settings, check_target, observing, on_lake
from viplake.commands.options import NO_OPTIONS, Options
from viplake.commands.publishing import title_of
from viplake.errors import LakeError, NotYet, SettingsError
from viplake.network.hosts import is_loopback
from viplake.wording import install_hint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from viplake.lake import Lake
    from viplake.report.status import StatusPage

PORT: Final = 8137

HEADERS: Final = {
    "Server": "viplake",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def command(
    *,
    host: Annotated[str, Parameter(help="Address to listen at; the default is reachable from this machine only.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, Parameter(help="Port; 0: any free one.")] = PORT,
    textfile: Annotated[
        Path | None, Parameter(help="Write the metrics into this file once and exit, for node_exporter.")
    ] = None,
    options: Options = NO_OPTIONS,
) -> int:
    """Serve the report, /healthz and /metrics (Prometheus) over HTTP, on loopback by default.

    The report is rendered again when the history has a new version. The server only reads, and shows no credential.

    Example: viplake serve --port 8137

    See docs/operations.md.
    """
    settings = options.settings()
    if not 0 <= port < 2**16:
        raise SettingsError(f"--port {port} is no port", hint="Give one from 0 to 65535.")

    async def work(lake: Lake) -> None:
        page = await _page(settings, lake)
        if textfile is not None:
            _replace(textfile, await page.metrics())
            return
        await _serve(application(page, loopback=is_loopback(host)), host, port)

    with suppress(NotYet):  # it runs until a signal stops it
        on_lake(settings, work)
    return 0


async def _page(settings: config.Settings, lake: Lake) -> StatusPage:
    try:
        import jinja2  # noqa: F401, PLC0415 - of the extra `report`: found missing now, not at the first request
        import plotly  # noqa: F401, PLC0415 - as above

        from viplake.report.status import StatusPage  # noqa: PLC0415 - as above
    except ImportError as error:
        raise SettingsError(
            f"the report needs a package that is not installed: {error.name}", hint=install_hint("report")
        ) from None
    target = await check_target(settings, lake)
    return StatusPage(
        target,
        await title_of(settings, lake),
        SystemClock(),
        lambda: check_settings(settings, lake),
        observing(settings),
    )


def application(page: StatusPage, *, loopback: bool) -> web.Application:
    """Return the server's routes.

    Args:
        page: the report and metrics to serve.
        loopback: the server listens on loopback. Then it answers only requests for loopback host names, so that another
            site's page cannot read it through its own name (DNS rebinding).
    """
    from aiohttp import web  # noqa: PLC0415 - heavy, and only a server needs it

    @web.middleware
    async def guarded(request: web.Request, handler: Callable[[web.Request], Awaitable[Any]]) -> Any:
        name = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdigit() else request.host
        if loopback and not is_loopback(name.strip("[]")):
            raise web.HTTPMisdirectedRequest(text="this server answers on loopback only\n", headers=HEADERS)
        try:
            response = await handler(request)
        except LakeError as error:
            body = jsonlib.dumps({"status": "unavailable", "cause": error.cause.word})
            return web.Response(status=503, text=body, content_type="application/json", headers=HEADERS)
        response.headers.update(HEADERS)
        return response

    async def report(_: web.Request) -> web.Response:
        return web.Response(text=await page.report(), content_type="text/html", charset="utf-8")

    async def metrics(_: web.Request) -> web.Response:
        from viplake.report.metrics import CONTENT_TYPE  # noqa: PLC0415 - as `_page`

        return web.Response(body=(await page.metrics()).encode(), headers={"Content-Type": CONTENT_TYPE})

    async def healthz(_: web.Request) -> web.Response:
        history, incidents, hour = await page.mark()
        return web.json_response({"status": "ok", "history": history, "incidents": incidents, "hour": str(hour)})

    served = web.Application(middlewares=[guarded])
    served.router.add_get("/", report)
    served.router.add_get("/metrics", metrics)
    served.router.add_get("/healthz", healthz)
    return served


async def _serve(served: web.Application, host: str, port: int) -> None:
    """Serve until a signal stops the process."""
    import asyncio  # noqa: PLC0415 - as aiohttp

    from aiohttp import web  # noqa: PLC0415 - as above

    runner = web.AppRunner(served, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        where = runner.addresses[0]
        print(f"http://{where[0]}:{where[1]}/", flush=True)  # noqa: T201 - the data
        await asyncio.Event().wait()
    except OSError as error:
        raise SettingsError(f"cannot listen at {host}:{port}: {error.strerror}", hint="Give another --port.") from None
    finally:
        await runner.cleanup()


def _replace(path: Path, text: str) -> None:
    """Write the file in one step, so that no scrape sees half of it."""
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, suffix=".tmp", delete=False) as file:
            file.write(text)
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror}", hint="Give another file.") from None
