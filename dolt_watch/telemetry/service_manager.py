"""The notification protocol of systemd, sd_notify(3): ready, alive, stopping.

Under another service manager, no variable names a socket, and nothing is sent.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, MutableMapping
from typing import Self

SOCKET, WATCHDOG_TIME, WATCHDOG_PROCESS = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


class ServiceManager:
    """Reports the service's state to systemd.

    A thread answers the watchdog as long as the loop is alive, twice in its time. It is as
    patient as /healthz, because a request to a target may take longer than the watchdog's time.
    """

    def __init__(self, env: MutableMapping[str, str], is_alive: Callable[[], bool]) -> None:
        """Read systemd's variables and remove them, because agents must not inherit them.

        Args:
            env: the environment of this process.
            is_alive: whether the loop shows signs of life.
        """
        address = env.pop(SOCKET, "")
        time, process = env.pop(WATCHDOG_TIME, ""), env.pop(WATCHDOG_PROCESS, "")
        # "@" begins a name without a file.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        mine = process in ("", str(os.getpid()))
        self.interval = int(time) / 2_000_000 if time.isdecimal() and mine else 0.0
        """Seconds between two answers to the watchdog; 0 without a watchdog."""
        self._is_alive = is_alive
        self._ended = threading.Event()
        self._reported = ""

    def __enter__(self) -> Self:
        if self._address and self.interval:
            threading.Thread(target=self._answer_watchdog, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._send("STOPPING=1")

    def polled(self, status: str) -> None:
        """Report a poll that has ended: the first one makes the service ready."""
        if status != self._reported:
            self._reported = status
            # A line is an assignment, so the status must be one line.
            self._send(f"READY=1\nSTATUS={' '.join(status.split())}")

    def answer_watchdog(self) -> None:
        """Answer once, if the loop is alive."""
        if self._is_alive():
            self._send("WATCHDOG=1")

    def _answer_watchdog(self) -> None:
        while not self._ended.wait(self.interval):
            self.answer_watchdog()

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto(text.encode(), self._address)
        except OSError:
            return  # The service works without its manager.
