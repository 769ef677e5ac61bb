"""A dead man's switch: a URL that is fetched after successful ticks. Its service alerts a person
when the fetches stop.
"""

from __future__ import annotations

import re
import threading
import time
from math import inf

from dolt_watch.errors import SettingsError

EVERY = 30.0
"""Seconds between two pings of a long-lived process."""
TIMEOUT = 5.0
VARIABLE = "DOLT_WATCH_PING_URL"

_URL = r"https?://(?:[^\s/?#@]*@)?(?:\[[0-9a-f:.]+\]|(?:[\w-]{1,63}\.)*[\w-]{1,63}\.?)(?::[0-9]{1,5})?(?:[/?#]\S*)?"


class HeartbeatPing:
    """Fetches the URL in a thread, one request at a time. No tick waits for it or fails by it."""

    def __init__(self, url: str) -> None:
        """Check the URL.

        Raises:
            SettingsError: it is not a URL. A later failure would be silent.
        """
        if not re.fullmatch(_URL, url, re.IGNORECASE) or not url.isprintable():
            # The URL is not shown: it is the password of the monitoring service.
            raise SettingsError(
                f"{VARIABLE} is not an http or https URL.", where=VARIABLE, fix="https://HOST/PATH"
            )
        self.url = url
        self._last = -inf
        """When the last ping began, a value of time.monotonic()."""
        self._thread: threading.Thread | None = None

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._last < EVERY or (self._thread is not None and self._thread.is_alive()):
            return
        self._last = now
        self._thread = threading.Thread(target=self._fetch, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait for the last request, at most the time-out, before a command ends."""
        if self._thread is not None:
            self._thread.join(TIMEOUT)

    def _fetch(self) -> None:
        # Late: httpx is slow to import, and an idle tick sends nothing.
        import httpx

        try:
            # As for targets, a proxy or a certificate of the environment is ignored.
            httpx.get(self.url, timeout=TIMEOUT, follow_redirects=False, trust_env=False)
        except Exception:  # The service alerts if pings are missing.
            return
