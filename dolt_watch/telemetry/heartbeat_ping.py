"""A dead man's switch: a URL that is fetched after good ticks, so that somebody hears when they
stop.
"""

from __future__ import annotations

import re
import threading
import time

from dolt_watch.errors import SettingsError

EVERY = 30.0
"""Seconds between two pings of a long-lived process."""
TIMEOUT = 5.0
VARIABLE = "DOLT_WATCH_PING_URL"

_URL = r"https?://(?:[^\s/?#@]*@)?(?:\[[0-9a-f:.]+\]|(?:[\w-]{1,63}\.)*[\w-]{1,63}\.?)(?::[0-9]{1,5})?(?:[/?#]\S*)?"


class HeartbeatPing:
    """Never keeps a tick waiting: the request is made by a thread, one at a time, and what
    becomes of it is nobody's concern here.
    """

    def __init__(self, url: str) -> None:
        """Raises SettingsError: no URL. It is asked once, since later nobody would hear of it."""
        if not re.fullmatch(_URL, url, re.IGNORECASE) or not url.isprintable():
            # Not shown: for whoever watches us, the URL is the password.
            raise SettingsError(
                f"{VARIABLE} is no URL of http or https", where=VARIABLE, fix="https://HOST/PATH"
            )
        self.url = url
        self._last: float | None = None
        self._thread: threading.Thread | None = None

    def __call__(self) -> None:
        now = time.monotonic()
        if (self._last is not None and now - self._last < EVERY) or (
            self._thread and self._thread.is_alive()
        ):
            return
        self._last = now
        self._thread = threading.Thread(target=self._fetch, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """For a command that is about to end: at most the time-out."""
        if self._thread is not None:
            self._thread.join(TIMEOUT)

    def _fetch(self) -> None:
        # Late: httpx is slow to import, and an idle tick sends nothing.
        import httpx

        try:
            # As the targets': a proxy or a certificate that the environment names is not ours.
            httpx.get(self.url, timeout=TIMEOUT, follow_redirects=False, trust_env=False)
        except (
            Exception
        ):  # whoever misses us hears of it; a traceback of this thread would help nobody
            return
