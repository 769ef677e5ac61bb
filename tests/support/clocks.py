"""A clock that tests and the soak advance."""

from __future__ import annotations

from datetime import datetime, timedelta


class ShiftedClock:
    """The database's clock plus ``offset``. A sleep advances it without waiting."""

    def __init__(self, offset: timedelta = timedelta()) -> None:
        self.offset = offset

    def now(self, database: datetime) -> datetime:
        return database + self.offset

    def sleep(self, seconds: float) -> None:
        self.offset += timedelta(seconds=seconds)
