"""``/metrics``, ``/healthz``, ``/readyz``, ``/startupz`` over HTTP, read-only; and what the service tells of itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from dolt_watch.errors import DatabaseError, DoltWatchError
from dolt_watch.round import Outcome
from dolt_watch.telemetry.metrics import Metrics
from dolt_watch.tick import Loop

SLACK = 120.0
"""Seconds for all that lies between two signs of the loop besides one request to a target and one pause: the database's answers."""

Page = Callable[[], tuple[int, str, bytes]]


def longest_silence(timeouts: Iterable[timedelta], pause: float) -> float:
    """Seconds without a sign of the loop after which it is stuck. ``timeouts``: of all targets; ``pause``: the longest between two polls, in seconds."""
    return max((each.total_seconds() for each in timeouts), default=0.0) + pause + SLACK


class Health:
    """Told by the service as it goes on. ``ping``: called after each good tick; ``stuck``: ``longest_silence``, in seconds."""

    def __init__(
        self, metrics: Metrics, ping: Callable[[], None] | None = None, *, stuck: float = SLACK, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.metrics, self.ping, self.stuck, self.clock = metrics, ping, stuck, clock
        self.ready = self.started = False
        """A first poll ends well or not: from then on silence means that it is stuck. Before, it may fold a long history."""
        self.words = "starting"
        self._alive = self.clock()

    def turning(self) -> None:
        """The loop goes on: a round, a commit that is folded, a question to a target. A tick of many may last for an hour."""
        self._alive = self.clock()

    def polled(self, loop: Loop, outcome: Outcome, seconds: float) -> None:
        self._ended(True, "leading")
        self.metrics.ticked(outcome, loop.state, loop.now, seconds)
        if self.ping is not None and outcome.good:
            self.ping()

    def standing_by(self) -> None:
        self._ended(True, "standing by")
        self.metrics.stood_down()

    def failed(self, error: DoltWatchError) -> None:
        self._ended(False, error.message)
        self.metrics.failed()
        if isinstance(error, DatabaseError):  # the lock went with the connection
            self.metrics.stood_down()

    def _ended(self, ready: bool, words: str) -> None:
        self.turning()
        self.ready, self.started, self.words = ready, True, words

    def pages(self) -> Mapping[str, Page]:
        def plain(good: bool, words: str) -> tuple[int, str, bytes]:
            return 200 if good else 503, "text/plain; charset=utf-8", f"{words}\n".encode()

        def healthz() -> tuple[int, str, bytes]:
            silent = self.clock() - self._alive
            return plain(
                silent < self.stuck, "ok" if silent < self.stuck else f"no sign of the loop for {silent:.0f} s"
            )

        return {
            "/metrics": lambda: (200, "text/plain; version=0.0.4; charset=utf-8", self.metrics.text()),
            "/healthz": healthz,
            "/readyz": lambda: plain(self.ready, self.words),
            "/startupz": lambda: plain(self.started, self.words),
        }


class Server:
    """Serves pages from a thread of its own. Port 0: any free one; ``port`` says which."""

    def __init__(self, host: str, port: int, pages: Mapping[str, Page]) -> None:
        """Raises OSError where the port is taken."""

        class Handler(BaseHTTPRequestHandler):
            server_version, sys_version = "dolt_watch", ""
            timeout = 10

            def do_GET(self) -> None:
                page = pages.get(self.path.partition("?")[0])
                status, kind, body = page() if page else (404, "text/plain; charset=utf-8", b"not found\n")
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.send_header("X-Content-Type-Options", "nosniff")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.2,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
