"""Clocks: the database server's, a fixed one, and the process's own."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading


class Clock(Protocol):
    """What the loop knows of time."""

    def now(self, database: datetime) -> datetime:
        """The moment to decide by, given the database's clock."""
        ...

    def sleep(self, seconds: float) -> None: ...


class DatabaseClock:
    """The database's own clock: what every real run uses."""

    def now(self, database: datetime) -> datetime:
        return database

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class FixedClock:
    """``--now``: stands still; only for runs that write nothing."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self, database: datetime) -> datetime:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


class MonotonicClock:
    """The process's own time, for pauses only: decisions go by the database's clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, stop: threading.Event, seconds: float) -> None:
        """Return after ``seconds``, or as soon as ``stop`` is set."""
        stop.wait(seconds)
