"""An HTTPS proxy in front of a real API server. It loses, delays and corrupts answers on demand."""

from __future__ import annotations

import contextlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import httpx

from tests.support.kubernetes import ControlPlane, wait_for


class Fault(StrEnum):
    LOSE = "lose"
    """The request is executed, and the connection is closed without an answer."""
    HANG = "hang"
    """The request is executed, and no answer is sent."""
    HOLD = "hold"
    """The request waits for ``release`` and is executed then. No answer is sent."""
    DROP = "drop"
    """The request isn't executed, and the connection is closed without an answer."""
    GARBAGE = "garbage"
    """The request is executed, and the answer is one that no API server sends."""
    UNAVAILABLE = "unavailable"
    """The request is executed, and the answer is the 503 of a proxy."""


@dataclass
class FaultProxy:
    """A proxy with scripted faults.

    ``faults`` maps a method to the faults of its next requests, ``always`` to the fault of every
    request. A GET of all Jobs counts as LIST.
    """

    plane: ControlPlane
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    always: Fault | None = None
    requests: list[tuple[str, str]] = field(default_factory=list)
    forwarded: int = 0
    """Number of requests that the API server has answered."""

    def __post_init__(self) -> None:
        self.released = threading.Event()
        self._client = self.plane.anonymous()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_one(self) -> None:
                proxy.handle(self)

            do_GET = do_POST = do_DELETE = handle_one

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pki = self.plane.folder / "pki"
        context.load_cert_chain(pki / "api.crt", pki / "api.key")
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def fail(self, method: str, *faults: Fault) -> None:
        """Set faults for the next requests with this method, one after another."""
        self.faults.setdefault(method, []).extend(faults)

    def release(self) -> None:
        """Forward the waiting requests, and wait until the API server has answered them."""
        before = self.forwarded
        self.released.set()
        wait_for(lambda: self.forwarded > before)

    def stop(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

    def handle(self, handler: Any) -> None:
        method, path = handler.command, handler.path
        self.requests.append((method, path))
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        is_list = method == "GET" and path.partition("?")[0].endswith("/jobs")
        waiting = self.faults.get("LIST" if is_list else method)
        fault = waiting.pop(0) if waiting else self.always
        if fault is Fault.DROP:
            handler.close_connection = True
            return
        if fault is Fault.HOLD:
            self.released.wait(60)
        kept = {
            name: value
            for name, value in handler.headers.items()
            if name.lower() in ("authorization", "content-type", "accept")
        }
        answer = self._client.request(method, path, headers=kept, content=body)
        self.forwarded += 1
        if fault is Fault.HANG:
            self.released.wait(60)
        if fault in (Fault.LOSE, Fault.HANG, Fault.HOLD):
            handler.close_connection = True
            return
        content, status = answer.content, answer.status_code
        if fault is Fault.GARBAGE:
            status, content = 200, b"<html>what?</html>"
        if fault is Fault.UNAVAILABLE:
            status, content = 503, b"no upstream"
        with contextlib.suppress(OSError):
            handler.send_response(status)
            handler.send_header("Content-Type", answer.headers.get("content-type", "text/plain"))
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)


@contextlib.contextmanager
def fault_proxy(plane: ControlPlane) -> Iterator[FaultProxy]:
    proxy = FaultProxy(plane)
    try:
        yield proxy
    finally:
        with contextlib.suppress(httpx.HTTPError):
            proxy.stop()
