"""The times of simulated ticks, and the interval between recorded ticks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from dolt_watch.core.model import EntryEffects, EntryKind, LedgerEntry
from dolt_watch.replay.simulation.schedule import LAST, Cadence, TickSchedule, cadence_of
from tests.support.history import clock

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("every", "moment", "expected"),
    [
        ("2m", "10:01:00", "10:02"),
        ("2m", "10:02:00", "10:02"),
        ("2m", "10:02:01", "10:04"),
        ("10m", "10:02:01", "10:10"),
        ("1h", "10:02:01", "11:00"),
        ("2s", "10:02:01", "10:02:02"),
        # An interval that doesn't divide a day counts from the epoch.
        ("7s", "0:00:01", "0:00:02"),
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


def decided(at: datetime, **given: Any) -> LedgerEntry:
    detail = {"given": {"now": at.isoformat(), **given}}
    words = ("c", "o")
    return LedgerEntry(
        "bd-1",
        1,
        EntryKind.CLAIM,
        1,
        "agent",
        "t",
        *words,
        at,
        "",
        "",
        "",
        "",
        "a",
        detail,
        EntryEffects(),
    )


def at(*offsets: float) -> list[LedgerEntry]:
    """Return decisions at these seconds after 10:00."""
    return [decided(clock("10:00") + timedelta(seconds=seconds)) for seconds in offsets]


@pytest.mark.parametrize(
    ("entries", "every", "source"),
    [
        ([], 2 * MINUTE, "assumed"),
        (at(0, 600, 1200), 2 * MINUTE, "assumed"),
        (at(3, 125, 361, 484, 1200), 2 * MINUTE, "inferred"),
        (at(123, 723, 1321, 1925), 2 * MINUTE, "inferred"),
        (at(*(600 * n + n % 7 for n in range(20))), 10 * MINUTE, "inferred"),
        (at(*(60 * n + 1 for n in range(9))), MINUTE, "inferred"),
        (at(3, 50, 171, 260, 388), timedelta(seconds=2), "inferred"),
        (at(0, 0.1, 0.2, 0.3, 120), 2 * MINUTE, "assumed"),
    ],
)
def test_how_often_ticks_ran(entries: list[LedgerEntry], every: timedelta, source: str) -> None:
    assert cadence_of(entries) == Cadence(every, source)


def test_a_run_says_how_often_it_polls() -> None:
    at = [clock("10:00") + timedelta(minutes=2 * n) for n in range(20)]
    recorded = [decided(one, poll=5.0) for one in at[10:]]
    assert cadence_of(recorded) == Cadence(timedelta(seconds=5), "recorded")
    older = [decided(one) for one in at[:10]]
    assert cadence_of([*older, *recorded]).source == "recorded", "the newer half"
    assert cadence_of([*older, *recorded[:3]]).source == "inferred", "most are older"
