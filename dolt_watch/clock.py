"""Clocks: the database server's, and a fixed one."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Protocol


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


class ShiftedClock:
    """The database's clock moved by ``offset``; sleeping moves it on without waiting.

    For tests and the soak.
    """

    def __init__(self, offset: timedelta = timedelta()) -> None:
        self.offset = offset

    def now(self, database: datetime) -> datetime:
        return database + self.offset

    def sleep(self, seconds: float) -> None:
        self.offset += timedelta(seconds=seconds)
