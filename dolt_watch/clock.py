"""Clocks: the clock of the database server, a fixed clock, and the clock of the process."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading


class Clock(Protocol):
    """The clock of the loop."""

    def now(self, database: datetime) -> datetime:
        """Return the moment to decide by, given the database server's time."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class DatabaseClock:
    """The clock of the database server, which all live commands use."""

    def now(self, database: datetime) -> datetime:
        return database

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class FixedClock:
    """A clock that only ``sleep`` moves, for ``--now`` and for dry runs."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self, database: datetime) -> datetime:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


class MonotonicClock:
    """The clock of the process, for pauses only. Decisions use the database server's time."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment."""
        return time.monotonic()

    def wait(self, stop: threading.Event, seconds: float) -> None:
        """Return after ``seconds``, or as soon as ``stop`` is set."""
        stop.wait(seconds)
