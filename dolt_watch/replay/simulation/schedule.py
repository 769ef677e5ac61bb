"""When ticks run: at each multiple of an interval since 1970, as cron runs them.

The interval of a recorded history follows from its decisions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from dolt_watch.core.model import LedgerEntry
from dolt_watch.core.model.recorded_inputs import RecordedInputs

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
TICK = timedelta(microseconds=1)
CRON = timedelta(minutes=2)
"""Interval of the CronJob `dispatch`: assumed if the history doesn't say."""
RUN = timedelta(seconds=2)
"""Default interval of `run`."""
CRON_PERIODS = tuple(timedelta(minutes=minutes) for minutes in (60, 30, 15, 10, 5, 2, 1))
"""Intervals that cron jobs have, longest first."""
SPREAD = 8
"""Ticks of a cron job start within this fraction of its interval: the time that a pod takes."""
FEWEST = 4
"""Ticks that show an interval of 2 minutes; longer ones need as many times more. Of fewer, all may
be near the marks of a longer interval by chance.
"""


class Cadence(NamedTuple):
    """How often the recorded ticks ran."""

    every: timedelta
    source: str
    """'recorded', 'inferred' or 'assumed'."""


def cadence_of(entries: Iterable[LedgerEntry]) -> Cadence:
    """Return the interval of the ticks that made these decisions.

    `run` records its interval. The ticks of cron jobs start shortly after the marks of their
    interval; the ticks of a `run` that did not record it don't.
    """
    polls: Counter[timedelta] = Counter()
    starts: list[datetime] = []
    for entry in entries:
        given = RecordedInputs.decode(entry.detail)
        if given.poll is not None:
            polls[given.poll] += 1
        elif given.now is not None and (not starts or given.now - starts[-1] > CRON / 4):
            starts.append(given.now)
    if polls and polls.total() >= len(starts):
        return Cadence(polls.most_common(1)[0][0], "recorded")
    if len(starts) < FEWEST:
        return Cadence(CRON, "assumed")
    for period in CRON_PERIODS:
        if len(starts) >= FEWEST * (period / CRON) and _on_marks(starts, period):
            return Cadence(period, "inferred")
    return Cadence(RUN, "inferred")


def _on_marks(starts: Sequence[datetime], period: timedelta) -> bool:
    """Return whether all ticks start within a short time after one phase of the period."""
    phases = sorted((start - EPOCH) % period for start in starts)
    around = [*phases[1:], phases[0] + period]
    gap = max(later - earlier for earlier, later in zip(phases, around, strict=True))
    return period - gap <= period / SPREAD


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
