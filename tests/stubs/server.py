"""Shared parts of the stubs: a server on a free loopback port with scripted answers.

The server records its requests.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HOST = "127.0.0.1"
DRIP = 0.02
"""Seconds between two bytes of a slow answer."""


def dead_port() -> int:
    """Return a loopback port without a listener."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def dead_url() -> str:
    return f"http://{HOST}:{dead_port()}"


@dataclass(frozen=True)
class Recorded:
    """A received request."""

    method: str
    path: str
    headers: Mapping[str, str]
    """The names are in lower case."""
    body: bytes
    at: float
    """Result of time.monotonic() on arrival."""
    port: int = 0
    """Port of the client. Distinguishes connections."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """An answer. ``body`` is bytes, text, or a value to encode as JSON."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Scripted:
    """The script of one answer. ``what`` is a status or a word of ``WORDS``."""

    what: int | str
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)


WORDS = frozenset(
    {
        "hang",  # wait until released, then close without an effect
        "freeze",  # wait until released, then answer normally, even if the client is gone
        "hang-after-accept",  # process normally, wait until released, then close without an answer
        "break",  # read the request, then close without an effect
        "break-after-accept",  # process normally, then close without an answer
        "reset",  # as 'break', with a TCP reset
        "cut",  # send half of the announced body, then close
        "drip",  # send an endless body, byte by byte
        "drip-headers",  # send an endless header, byte by byte
        "garbage",  # send bytes that are not HTTP
        "oversized",  # send a body of one megabyte
        "retry-after",  # send 503 with the scripted body as Retry-After
    }
)

ENDLESS = frozenset({"hang", "freeze", "hang-after-accept", "drip", "drip-headers"})
"""The words whose answer ends only with the stub."""


class StubServer:
    """Base class of the stubs.

    Subclasses implement ``answer(request)``.

    Args:
        tls: File with key and certificate. Serves https.
        port: Port to listen on. 0 selects a free port.
    """

    def __init__(self, tls: Path | None = None, port: int = 0) -> None:
        self.requests: list[Recorded] = []
        self.errors: list[BaseException] = []
        self._script: dict[str, deque[Scripted]] = {}
        self._always: Scripted | None = None
        self._released = threading.Event()
        self._lock = threading.RLock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with suppress(ConnectionError):
                    super().handle_one_request()

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return lambda: stub._handle(self)
                raise AttributeError(name)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, request: Any, client_address: Any) -> None:
                import sys

                error = sys.exc_info()[1]
                if error is not None and not isinstance(error, OSError):
                    stub.errors.append(error)

        self._server = Server((HOST, port), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://{HOST}:{self.port}"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        # shutdown() waits for the next poll. The default would cost half a second per test.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        assert not self.errors, self.errors

    def stop(self) -> None:
        """Stop the server and close its socket."""
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # -- script --------------------

    def script(
        self, path: str, what: int | str, body: Any = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """Script the next request to ``path`` that has no script yet. Scripts form a queue."""
        assert isinstance(what, int) or what in WORDS, what
        with self._lock:
            self._script.setdefault(path, deque()).append(Scripted(what, body, headers or {}))

    def always(self, what: str) -> None:
        """Script all requests that have no other script."""
        assert what in WORDS, what
        self._always = Scripted(what)

    def release(self) -> None:
        """End all hanging and slow answers."""
        self._released.set()

    def received(self) -> list[Recorded]:
        """Return the requests, at least one.

        A client that gives up can be done before a busy machine has read what it sent.
        """
        deadline = time.monotonic() + 20
        while not self.requests and time.monotonic() < deadline:
            time.sleep(0.005)
        return list(self.requests)

    def asked(self, method: str, path: str) -> list[Recorded]:
        return [
            request
            for request in list(self.requests)
            if (request.method, request.path) == (method, path)
        ]

    # -- serve --------------------

    def answer(self, request: Recorded) -> Reply:
        raise NotImplementedError

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        request = Recorded(
            handler.command,
            handler.path,
            headers,
            body,
            time.monotonic(),
            handler.client_address[1],
        )
        with self._lock:
            self.requests.append(request)
            queue = self._script.get(request.path)
            scripted = queue.popleft() if queue else self._always
        if scripted is None:
            self._send(handler, self.answer(request))
        elif isinstance(scripted.what, int):
            self._send(handler, Reply(scripted.what, scripted.body, scripted.headers))
        else:
            self._misbehave(handler, request, scripted)

    def _misbehave(
        self, handler: BaseHTTPRequestHandler, request: Recorded, scripted: Scripted
    ) -> None:
        what = str(scripted.what)
        handler.close_connection = True
        if what.endswith("-after-accept"):
            self.answer(request)
        if what.startswith("hang") or what == "freeze":
            self._released.wait()
        if what == "freeze":
            self._send(handler, self.answer(request))
        elif what == "oversized":
            self._send(
                handler, Reply(200, b'{"job_id":"0123456789ab","more":"' + b"a" * 2**20 + b'"}')
            )
        elif what == "retry-after":
            self._send(
                handler, Reply(503, "busy", {"Retry-After": str(scripted.body), **scripted.headers})
            )
        elif what == "garbage":
            self._raw(handler, b"\x00\xff this is not HTTP \r\n\r\n")
        elif what == "cut":
            self._raw(handler, b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"job_id":')
        elif what.startswith("drip"):
            self._drip(
                handler,
                b"HTTP/1.1 200 OK\r\n" + (b"x-drip: " if what == "drip-headers" else b"\r\n{"),
            )
        elif what == "reset":
            handler.connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            handler.connection.close()
            return
        with suppress(OSError):
            handler.connection.shutdown(socket.SHUT_RDWR)

    def _drip(self, handler: BaseHTTPRequestHandler, start: bytes) -> None:
        self._raw(handler, start)
        with suppress(OSError):
            while not self._released.wait(DRIP):
                handler.connection.sendall(b" ")

    def _raw(self, handler: BaseHTTPRequestHandler, data: bytes) -> None:
        with suppress(OSError):
            handler.connection.sendall(data)

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        data = reply.bytes
        with suppress(OSError):
            handler.send_response(reply.status)
            for name, value in reply.headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)
