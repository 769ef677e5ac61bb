"""``/metrics``, ``/healthz``, ``/readyz`` and ``/startupz`` over HTTP, read-only, and the state
that they show.
"""

from __future__ import annotations

import gzip
import io
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from dolt_watch.controller.loop import ControlLoop
from dolt_watch.controller.tick_result import TickResult
from dolt_watch.errors import DatabaseError, DoltWatchError
from dolt_watch.inspection.report.web import Request, Response, Route, plain
from dolt_watch.sanitize import sanitize
from dolt_watch.telemetry.log_output import log_failure
from dolt_watch.telemetry.metrics import Metrics

SLACK = 120.0
"""Seconds between two signs of the loop, plus one request to a target and one pause: the time of
the database.
"""

PATIENCE = 20.0
"""Seconds in which a whole request must arrive."""

COMPRESSED = 1024
"""Bytes from which a response is compressed, if the client accepts gzip."""
KEPT = 4
"""Compressed responses that are kept: several viewers of one page cost one compression."""


def stall_threshold(timeouts: Iterable[timedelta], pause: float) -> float:
    """Return the seconds without a sign of the loop after which it is stuck.

    ``timeouts`` are those of all targets. ``pause`` is the longest one between two polls, in
    seconds.
    """
    return max((each.total_seconds() for each in timeouts), default=0.0) + pause + SLACK


class Health:
    """The state of the service, which the loop reports.

    ``ping`` is called after each successful tick. ``stuck``: ``stall_threshold``, in seconds.
    ``on_poll`` is called with the status after each poll.
    """

    on_poll: Callable[[str], None] = staticmethod(lambda status: None)

    def __init__(
        self,
        metrics: Metrics,
        ping: Callable[[], None] | None = None,
        *,
        stuck: float = SLACK,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.metrics, self.ping, self.stall_after, self.clock = metrics, ping, stuck, clock
        self.ready = self.started = False
        """``started``: the first poll has ended, which may apply a long history. From then on,
        silence means that the loop is stuck.
        """
        self.status_text = "starting"
        self._alive = self.clock()

    def heartbeat(self) -> None:
        """Record a sign of the loop: an iteration, an applied commit, a request to a target.

        A tick with many beads can last an hour.
        """
        self._alive = self.clock()

    def tick_finished(self, loop: ControlLoop, outcome: TickResult, seconds: float) -> None:
        self._ended(True, "leading")
        self.metrics.record_tick(outcome, loop.state, loop.now, seconds)
        if self.ping is not None and outcome.exit_code == 0:
            self.ping()

    def standing_by(self) -> None:
        self._ended(True, "standing by")
        self.metrics.clear_leader_gauges()

    def failed(self, error: DoltWatchError) -> None:
        self._ended(False, error.message)
        self.metrics.record_error()
        if isinstance(error, DatabaseError):  # the lock went with the connection
            self.metrics.clear_leader_gauges()

    def _ended(self, ready: bool, words: str) -> None:
        self.heartbeat()
        self.ready, self.started, self.status_text = ready, True, words
        self.on_poll(words)

    @property
    def silence(self) -> float:
        """Seconds since the last sign of the loop."""
        return self.clock() - self._alive

    def is_alive(self) -> bool:
        return self.silence < self.stall_after

    def routes(self) -> Mapping[str, Route]:
        def answer(good: bool, words: str) -> Response:
            return plain(200 if good else 503, words)

        def healthz(request: Request) -> Response:
            alive, words = self.is_alive(), f"no sign of the loop for {self.silence:.0f} s"
            return answer(alive, "ok" if alive else words)

        prometheus = "text/plain; version=0.0.4; charset=utf-8"
        return {
            "/metrics": lambda request: Response(200, prometheus, self.metrics.text()),
            "/healthz": healthz,
            "/readyz": lambda request: answer(self.ready, self.status_text),
            "/startupz": lambda request: answer(self.started, self.status_text),
        }


class Server:
    """Serves pages from its own thread. Port 0 takes any free port; ``port`` is the port in use.

    No client makes the server write to stderr, or keeps a thread for longer than ``PATIENCE``.
    A page that fails is logged in one line. An answer with a tag is not sent again to a client
    that has it (304).
    """

    def __init__(
        self, host: str, port: int, routes: Mapping[str, Route], patience: float = PATIENCE
    ) -> None:
        """Start the server.

        Args:
            host: Address to listen on.
            port: Port to listen on.
            routes: Path, or beginning of a path that ends with '/', → page that is given the
                request.
            patience: Seconds for a whole request to arrive.

        Raises:
            OSError: The port is taken.
        """
        answers = _Answers(routes)

        class Handler(BaseHTTPRequestHandler):
            server_version, sys_version = "dolt_watch", ""
            timeout = min(10.0, patience)

            def setup(self) -> None:
                super().setup()
                self.rfile.close()
                reader = _Patient(self.connection, time.monotonic() + patience)
                self.rfile = io.BufferedReader(reader)

            def do_GET(self) -> None:
                answer = answers.to(self.path)
                tag = f'"{answer.tag}"' if answer.tag else ""
                if tag and tag in self.headers.get("If-None-Match", ""):
                    self._head(304, tag)
                    self.end_headers()
                    return
                accepts = self.headers.get("Accept-Encoding", "")
                packed = answers.packed(answer) if "gzip" in accepts else None
                body = answer.body if packed is None else packed
                self._head(answer.status, tag)
                self.send_header("Content-Type", answer.kind)
                if packed is not None:
                    self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("X-Content-Type-Options", "nosniff")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def _head(self, status: int, tag: str) -> None:
                self.send_response(status)
                self.send_header("Vary", "Accept-Encoding")
                self.send_header("Cache-Control", "no-cache" if tag else "no-store")
                if tag:
                    self.send_header("ETag", tag)

            def log_message(self, format: str, *args: object) -> None:
                return

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            # "::" is every address of both families.
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

            def server_bind(self) -> None:
                if self.address_family == socket.AF_INET6:
                    self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                super().server_bind()

            def handle_error(self, request: object, client_address: object) -> None:
                """Ignore a client that hangs up. The base class prints a traceback to stderr."""
                error = sys.exc_info()[1]
                if error is not None and not isinstance(error, OSError):
                    log_failure("error: a request failed", type(error), error)

        self._server = Quiet((host, port), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.2,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Answers:
    """Pages by path, and the compressed form of the last responses."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._routes = routes
        self._packed: dict[bytes, bytes] = {}
        self._lock = threading.Lock()

    def to(self, address: str) -> Response:
        try:
            parts = urlsplit(address)
        except ValueError:  # For example "http://[".
            return plain(400, "bad request")
        try:
            # '/' itself has no paths below it.
            below = (
                route
                for start, route in self._routes.items()
                if start.endswith("/") and len(start) > 1 and parts.path.startswith(start)
            )
            route = self._routes.get(parts.path) or next(below, None)
            if route is None:
                return plain(404, "not found")
            return route(Request(unquote(parts.path), dict(parse_qsl(parts.query))))
        except Exception as error:
            path = sanitize(parts.path, 100)
            log_failure(f"error: the page {path} failed", type(error), error)
            return plain(500, "internal error")

    def packed(self, answer: Response) -> bytes | None:
        """Return the body as gzip; None if compression saves too little."""
        if len(answer.body) < COMPRESSED:
            return None
        if not answer.tag:
            return gzip.compress(answer.body, 5, mtime=0)
        with self._lock:
            found = self._packed.pop(answer.body, None) or gzip.compress(answer.body, 5, mtime=0)
            self._packed[answer.body] = found
            while len(self._packed) > KEPT:
                del self._packed[next(iter(self._packed))]
            return found


class _Patient(io.RawIOBase):
    """Reads a request until its deadline: a client that sends a byte now and then must not hold
    a thread.
    """

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection, self._deadline = connection, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)
