"""``/metrics``, ``/healthz``, ``/readyz`` over HTTP, read-only; and what the service tells of itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from dolt_watch.errors import DoltWatchError
from dolt_watch.round import Outcome
from dolt_watch.telemetry.metrics import Metrics
from dolt_watch.tick import Loop

STUCK = 120.0
"""Seconds without a finished poll after which the process is called unhealthy: longer than any request that a target is given."""

Page = Callable[[], tuple[int, str, bytes]]


class Health:
    """Told by the service after each poll. ``ping``: called after each good tick."""

    def __init__(self, metrics: Metrics, ping: Callable[[], None] | None = None) -> None:
        self.metrics, self.ping = metrics, ping
        self.ready = False
        self.words = "starting"
        self._alive = time.monotonic()

    def polled(self, loop: Loop, outcome: Outcome, seconds: float) -> None:
        self._alive, self.ready, self.words = time.monotonic(), True, "leading"
        self.metrics.ticked(outcome, loop.state, loop.now, seconds)
        if self.ping is not None:
            self.ping()

    def standing_by(self) -> None:
        self._alive, self.ready, self.words = time.monotonic(), True, "standing by"
        self.metrics.leads.set(0)

    def failed(self, error: DoltWatchError) -> None:
        self._alive, self.ready, self.words = time.monotonic(), False, error.message
        self.metrics.failed()

    def pages(self) -> Mapping[str, Page]:
        def plain(good: bool, words: str) -> tuple[int, str, bytes]:
            return 200 if good else 503, "text/plain; charset=utf-8", f"{words}\n".encode()

        def healthz() -> tuple[int, str, bytes]:
            silent = time.monotonic() - self._alive
            return plain(silent < STUCK, "ok" if silent < STUCK else f"no poll ended for {silent:.0f} s")

        return {
            "/metrics": lambda: (200, "text/plain; version=0.0.4; charset=utf-8", self.metrics.text()),
            "/healthz": healthz,
            "/readyz": lambda: plain(self.ready, self.words),
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
