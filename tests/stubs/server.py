"""Shared parts of the stubs: a server on a free loopback port, a record of its requests, and
scripted answers.
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
"""Seconds between two bytes of a dripping answer."""


def dead_port() -> int:
    """A loopback port without a listener."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def dead_url() -> str:
    return f"http://{HOST}:{dead_port()}"


@dataclass(frozen=True)
class Recorded:
    """One request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    at: float
    """time.monotonic()"""
    port: int = 0
    """The client's: tells one connection from another."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """One answer. ``body``: bytes as they are, text, or anything that is JSON."""

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
    """Script the next request: ``what`` is a status, or a word of ``WORDS``."""

    what: int | str
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)


WORDS = frozenset(
    {
        "hang",  # say nothing until released, then close: nothing was done
        "freeze",  # say nothing until released, then do as usual, also for a client that has left
        "hang-after-accept",  # do as usual, but say nothing until released
        "break",  # close after reading the request: nothing was done
        "break-after-accept",  # do as usual, then close without an answer
        "reset",  # as 'break', with a TCP reset
        "cut",  # half of an announced body, then close
        "drip",  # a body that comes byte by byte and never ends
        "drip-headers",  # the same, in the header
        "garbage",  # bytes that are not HTTP
        "oversized",  # a body of a megabyte
        "retry-after",  # 503 with Retry-After, body = the value
    }
)


class StubServer:
    """Base of the stubs:

    ``answer(request)`` is the usual behaviour. ``tls``: a file with key and certificate, to
    serve https. ``port`` 0: a free one.
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
        # shutdown() waits for the next poll: half a second by default, at each test.
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
        """Nothing listens any more."""
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # -- script --------------------

    def script(
        self, path: str, what: int | str, body: Any = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """The next request to ``path`` that has no script yet is answered so. Scripts queue up."""
        assert isinstance(what, int) or what in WORDS, what
        with self._lock:
            self._script.setdefault(path, deque()).append(Scripted(what, body, headers or {}))

    def always(self, what: str) -> None:
        """From now on every request that has no script is answered so."""
        assert what in WORDS, what
        self._always = Scripted(what)

    def release(self) -> None:
        """Let everything that hangs or drips end."""
        self._released.set()

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
