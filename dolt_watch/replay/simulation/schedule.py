"""When ticks are: each multiple of a period, on the clock's own marks, as cron has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
TICK = timedelta(microseconds=1)


class TickSchedule:
    """``every``: more than nothing.

    2m is the CronJob '*/2 * * * *'; 2s is `run`, which looks that often.
    """

    def __init__(self, every: timedelta) -> None:
        self.every = every

    def at_or_after(self, moment: datetime) -> datetime:
        """``LAST`` where no tick is that late: a bead may be deferred until the end of the year
        9999.
        """
        try:
            return EPOCH + -((EPOCH - moment) // self.every) * self.every
        except OverflowError:
            return LAST

    def after(self, moment: datetime) -> datetime:
        return self.at_or_after(moment + TICK)
