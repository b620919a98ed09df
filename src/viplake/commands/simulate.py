"""I/O. `viplake simulate`: the vendor as an HTTP server."""

from __future__ import annotations

import errno
from typing import Annotated, Literal

from viplake.clock import ScaledClock, SystemClock
from viplake.commands.event_loop import finish
from viplake.commands.options import FLAG
from viplake.errors import NotYet, SettingsError
from viplake.simulator import faults
from viplake.simulator.server import Simulator, serve
from viplake.simulator.tables import ExportShape
from viplake.simulator.vendor import SimulatorSettings


def command(
    *,
    host: str = "127.0.0.1",
    port: int = 8444,
    company: str = "DEMO",
    client_id: str = "demo-client",
    client_secret: str = "demo-secret",  # noqa: S107 - the simulator's own, no secret
    replication_seconds: float = 60,
    rule: Literal["rolling", "calendar"] = "rolling",
    speed: float = 1,
    files: int | None = None,
    total_bytes: int | None = None,
    latency_ms: float = 0,
    list_grows_seconds: float = 0,
    fault: tuple[str, ...] = (),
    list_faults: Annotated[bool, FLAG] = False,
) -> int:
    """Simulate the vendor as an HTTP server, with faults: to try viplake, or to test a pipeline of your own.

    Example: viplake simulate --replication-seconds 3

    See docs/deploy.md.

    Parameters
    ----------
    host
        Where to listen.
    port
        Where to listen; 0: any free port.
    company
        Company code in the files call.
    client_id
        Client id that clients must send.
    client_secret
        Client secret that clients must send; also the apiToken of the files call.
    replication_seconds
        Seconds from a trigger to Complete, by the vendor's clock.
    rule
        "Once an hour": a rolling 60 minutes, or the calendar hour.
    speed
        Factor by which the vendor's clock runs faster than real time.
    files
        Files in an export; default: about 60.
    total_bytes
        Bytes of an export; default: about 2 MB.
    latency_ms
        Milliseconds before each response.
    list_grows_seconds
        Seconds after Complete at which the last files join the list.
    fault
        CALL:KIND[:option=value,...], once or more often; see --list-faults.
    list_faults
        Print all faults and exit.
    """
    if list_faults:
        print(faults.describe())  # noqa: T201 - the data
        return 0
    settings = SimulatorSettings(
        company=company,
        client_id=client_id,
        client_secret=client_secret,
        host=host,
        port=port,
        replication_seconds=replication_seconds,
        rule=rule,
        list_grows_seconds=list_grows_seconds,
        latency_ms=latency_ms,
        export=ExportShape(files=files, total_bytes=total_bytes),
    )
    clock = SystemClock() if speed == 1 else ScaledClock(SystemClock().now(), speed)
    try:
        switched = [faults.parse(text) for text in fault]
    except ValueError as error:
        raise SettingsError(str(error), hint="See viplake simulate --list-faults.") from None
    try:
        finish(serve(settings, switched, announce=print_simulator, clock=clock))
    except NotYet:
        pass  # it runs until a signal stops it
    except OSError as error:
        busy = error.errno == errno.EADDRINUSE
        hint = f"Another program listens there. Choose a port: --port {port + 1}, or --port 0 for any free one."
        raise SettingsError(
            f"cannot listen on {host}:{port}: {error.strerror}", hint=hint if busy else "Correct --host and --port."
        ) from None
    return 0


def print_simulator(simulator: Simulator) -> None:
    """Print the environment variables that point to the simulator; its secrets are not real."""
    settings = simulator.settings
    for name, value in (
        ("VIPLAKE_TOKEN_URL", simulator.token_url),
        ("VIPLAKE_EXPORT_URL", simulator.export_url),
        ("VIPLAKE_FILES_URL", simulator.files_url),
        ("VIPLAKE_COMPANY", settings.company),
        ("VIPLAKE_CLIENT_ID", settings.client_id),
        ("VIPLAKE_CLIENT_SECRET", settings.client_secret),
        ("VIPLAKE_ALLOW_INSECURE_HTTP", "true"),
    ):
        print(f"export {name}={value}")  # noqa: T201 - the data; these are the simulator's own
    print(f"# the simulated vendor listens at {simulator.base_url}; Ctrl-C ends it", flush=True)  # noqa: T201
