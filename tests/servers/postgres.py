"""A real PostgreSQL, Debian's, and a way to it that can be spoiled."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

ENCRYPT = 80877103
"""The code of `SSLRequest`, with which a client begins."""


@contextmanager
def postgresql(folder: Path) -> Iterator[Path]:
    """Run a PostgreSQL in an empty folder; yield the folder of its socket. tools/postgresql installs it."""
    found = shutil.which("initdb") or next(iter(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None)
    assert found is not None, "run tools/postgresql first: it installs the Debian package"
    sockets = Path("/tmp") / f"viplake-{os.getpid()}-{abs(hash(folder)) % 10_000}"
    sockets.mkdir(mode=0o755)
    as_user: list[str] = []
    if os.getuid() == 0:  # it refuses to run as root
        for path in (folder, sockets):
            shutil.chown(path, "nobody")
        for parent in [folder, *folder.parents][:4]:
            parent.chmod(parent.stat().st_mode | 0o011)
        as_user = ["setpriv", "--reuid=nobody", "--clear-groups"]
    tools = Path(found).resolve().parent
    data = folder / "data"
    run = partial(subprocess.run, check=True, capture_output=True, cwd=folder)
    run([*as_user, str(tools / "initdb"), "-D", str(data), "-U", "viplake", "-A", "trust"])
    options = f"-c listen_addresses='' -c fsync=off -c unix_socket_directories={sockets}"
    start = [*as_user, str(tools / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start"]
    run(start)
    try:
        yield sockets
    finally:
        run([*as_user, str(tools / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"])
        shutil.rmtree(sockets)


@contextmanager
def way_to(
    sockets: Path, *, tls: ssl.SSLContext | None, breaks: Literal["", "silent", "hangs up"] = ""
) -> Iterator[int]:
    """A port that leads to that PostgreSQL, with TLS; yield its number.

    Args:
        sockets: the folder of its socket.
        tls: the certificate; None: it speaks no TLS.
        breaks: what becomes of a connection when the server answers the first statement.
    """
    with ExitStack() as held, socket.create_server(("127.0.0.1", 0)) as listening:

        def pump(source: socket.socket, target: socket.socket, spoils: str = "") -> None:
            with suppress(OSError):
                while data := source.recv(65536):
                    if spoils and b"SET" in data:  # the answer to the first statement, `set time zone`
                        if spoils == "hangs up":
                            _end(target)
                        return
                    target.sendall(data)
                _end(target)

        def serve(client: socket.socket) -> None:
            with suppress(OSError):
                first = client.recv(8, socket.MSG_WAITALL)
                if int.from_bytes(first[4:]) == ENCRYPT:
                    client.sendall(b"S" if tls else b"N")
                    client = held.enter_context(tls.wrap_socket(client, server_side=True)) if tls else client
                    first = b""
                server = held.enter_context(socket.socket(socket.AF_UNIX))
                server.connect(str(sockets / ".s.PGSQL.5432"))
                server.sendall(first)
                start(pump, client, server)
                start(pump, server, client, breaks)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    start(serve, held.enter_context(listening.accept()[0]))

        def start(work: Callable[..., None], *arguments: object) -> None:
            thread = threading.Thread(target=work, args=arguments, daemon=True)
            thread.start()
            threads.append(thread)

        threads: list[threading.Thread] = []
        start(accept)
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for thread in threads:  # one that still begins to serve would open sockets that are never closed
                thread.join(30)
            held.close()


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
