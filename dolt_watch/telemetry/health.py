"""``/metrics``, ``/healthz``, ``/readyz``, ``/startupz`` over HTTP, read-only; and what the
service tells of itself.
"""

from __future__ import annotations

import io
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dolt_watch.controller.loop import ControlLoop
from dolt_watch.controller.tick_result import TickResult
from dolt_watch.errors import DatabaseError, DoltWatchError
from dolt_watch.sanitize import sanitize
from dolt_watch.telemetry.log_output import log_failure
from dolt_watch.telemetry.metrics import Metrics

SLACK = 120.0
"""Seconds for all that lies between two signs of the loop besides one request to a target and
one pause: the database's answers.
"""

PATIENCE = 20.0
"""Seconds for a whole request to arrive."""

Page = Callable[[], tuple[int, str, bytes]]


def stall_threshold(timeouts: Iterable[timedelta], pause: float) -> float:
    """Seconds without a sign of the loop after which it is stuck.

    ``timeouts``: of all targets; ``pause``: the longest between two polls, in seconds.
    """
    return max((each.total_seconds() for each in timeouts), default=0.0) + pause + SLACK


class Health:
    """Told by the service as it goes on.

    ``ping``: called after each good tick; ``stuck``: ``stall_threshold``, in seconds.
    """

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
        """A first poll ends well or not: from then on silence means that it is stuck.

        Before, it may fold a long history.
        """
        self.status_text = "starting"
        self._alive = self.clock()

    def heartbeat(self) -> None:
        """The loop goes on: a round, a commit that is folded, a question to a target.

        A tick of many may last for an hour.
        """
        self._alive = self.clock()

    def tick_finished(self, loop: ControlLoop, outcome: TickResult, seconds: float) -> None:
        self._ended(True, "leading")
        self.metrics.record_tick(outcome, loop.state, loop.now, seconds)
        if self.ping is not None and outcome.succeeded:
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

    def pages(self) -> Mapping[str, Page]:
        def plain(good: bool, words: str) -> tuple[int, str, bytes]:
            return 200 if good else 503, "text/plain; charset=utf-8", f"{words}\n".encode()

        def healthz() -> tuple[int, str, bytes]:
            silent = self.clock() - self._alive
            return plain(
                silent < self.stall_after,
                "ok" if silent < self.stall_after else f"no sign of the loop for {silent:.0f} s",
            )

        return {
            "/metrics": lambda: (
                200,
                "text/plain; version=0.0.4; charset=utf-8",
                self.metrics.text(),
            ),
            "/healthz": healthz,
            "/readyz": lambda: plain(self.ready, self.status_text),
            "/startupz": lambda: plain(self.started, self.status_text),
        }


class Server:
    """Serves pages from a thread of its own. Port 0: any free one; ``port`` says which.

    Nothing that a client does writes to stderr or keeps a thread for longer than ``PATIENCE``.
    A page that fails is logged in one line.
    """

    def __init__(
        self, host: str, port: int, pages: Mapping[str, Page], patience: float = PATIENCE
    ) -> None:
        """Raises OSError where the port is taken."""

        class Handler(BaseHTTPRequestHandler):
            server_version, sys_version = "dolt_watch", ""
            timeout = min(10.0, patience)

            def setup(self) -> None:
                super().setup()
                self.rfile.close()
                self.rfile = io.BufferedReader(
                    _Patient(self.connection, time.monotonic() + patience)
                )

            def do_GET(self) -> None:
                status, kind, body = self._page()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.send_header("X-Content-Type-Options", "nosniff")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def _page(self) -> tuple[int, str, bytes]:
                page = pages.get(self.path.partition("?")[0])
                if page is None:
                    return 404, "text/plain; charset=utf-8", b"not found\n"
                try:
                    return page()
                except Exception as error:
                    path = sanitize(self.path.partition("?")[0], 100)
                    log_failure(f"error: the page {path} failed", type(error), error)
                    return 500, "text/plain; charset=utf-8", b"internal error\n"

            def log_message(self, format: str, *args: object) -> None:
                return

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that hangs up is no error.

                The base class prints a traceback to stderr.
                """
                error = sys.exc_info()[1]
                if error is not None and not isinstance(error, OSError):
                    log_failure("error: a request failed", type(error), error)

        self._server = Quiet((host, port), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.2,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


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
