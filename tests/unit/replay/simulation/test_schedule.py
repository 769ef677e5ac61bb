"""When simulated ticks are: on the clock's own marks, as cron's."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dolt_watch.replay.simulation.schedule import LAST, TickSchedule
from tests.support.history import clock


@pytest.mark.parametrize(
    ("every", "moment", "expected"),
    [
        ("2m", "10:01:00", "10:02"),
        ("2m", "10:02:00", "10:02"),
        ("2m", "10:02:01", "10:04"),
        ("10m", "10:02:01", "10:10"),
        ("1h", "10:02:01", "11:00"),
        ("2s", "10:02:01", "10:02:02"),
        ("7s", "0:00:01", "0:00:02"),  # counted from the epoch where it divides no day
    ],
)
def test_at_or_after(every: str, moment: str, expected: str) -> None:
    unit = {"s": "seconds", "m": "minutes", "h": "hours"}[every[-1]]
    schedule = TickSchedule(timedelta(**{unit: int(every[:-1])}))
    assert schedule.at_or_after(clock(moment)) == clock(expected)


def test_no_tick_is_after_the_last_time_there_is() -> None:
    assert TickSchedule(timedelta(minutes=7)).at_or_after(LAST) == LAST


def test_after_is_never_the_same() -> None:
    schedule = TickSchedule(timedelta(minutes=2))
    assert schedule.after(clock("10:02")) == clock("10:04")
    assert schedule.after(clock("10:01:59")) == clock("10:02")
