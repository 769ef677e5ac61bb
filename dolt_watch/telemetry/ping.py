"""A dead man's switch: a URL that is fetched after good ticks, so that somebody hears when they stop."""

from __future__ import annotations

import threading
import time

EVERY = 30.0
"""Seconds between two pings of a long-lived process."""
TIMEOUT = 5.0


class Ping:
    """Never keeps a tick waiting: the request is made by a thread, one at a time, and what becomes of it is nobody's concern here."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._last: float | None = None
        self._thread: threading.Thread | None = None

    def __call__(self) -> None:
        now = time.monotonic()
        if (self._last is not None and now - self._last < EVERY) or (self._thread and self._thread.is_alive()):
            return
        self._last = now
        self._thread = threading.Thread(target=self._fetch, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """For a command that is about to end: at most the time-out."""
        if self._thread is not None:
            self._thread.join(TIMEOUT)

    def _fetch(self) -> None:
        import httpx

        try:
            httpx.get(self.url, timeout=TIMEOUT, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL):
            return
