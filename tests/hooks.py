"""Small servers on this machine, among them a webhook that records its messages."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Quiet(BaseHTTPRequestHandler):
    """Answers without a word on the terminal."""

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(handler: type[Quiet]) -> Iterator[str]:
    """The address of a server that answers so, for as long as the block lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def listening() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Its address, and what it got; whatever came whole counts, though the sender died before the answer."""
    got: list[dict[str, Any]] = []

    class Hook(Quiet):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:
                return
            got.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

    with serving(Hook) as url:
        yield url, got
