"""Figures of durations, and the depth of the queue over time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dolt_watch.stats import DurationStats, QueueDepth, QueueDepthSeries

NOON = datetime(2026, 4, 18, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def spans(*minutes: float) -> list[timedelta]:
    return [timedelta(minutes=each) for each in minutes]


@pytest.mark.parametrize(
    ("minutes", "median", "high", "longest"),
    [
        ([7], 7, 7, 7),
        ([3, 1], 2, 3, 3),
        ([9, 1, 2], 2, 9, 9),
        (range(1, 21), 10.5, 19, 20),
        (range(1, 101), 50.5, 95, 100),
    ],
)
def test_durations(minutes: list[float], median: float, high: float, longest: float) -> None:
    found = DurationStats.of(spans(*minutes))
    assert found == DurationStats(len(minutes), *spans(median, high, longest))


def test_no_durations() -> None:
    assert DurationStats.of([]) == DurationStats(0, None, None, None)


def test_only_changes_of_the_depth_are_kept() -> None:
    series = QueueDepthSeries()
    for minute, counts in enumerate([(0, 0, 0), (0, 0, 0), (1, 0, 0), (1, 0, 0), (1, 0, 2)]):
        series.add(NOON + minute * MINUTE, *counts)
    assert list(series) == [
        QueueDepth(NOON, 0, 0, 0),
        QueueDepth(NOON + 2 * MINUTE, 1, 0, 0),
        QueueDepth(NOON + 4 * MINUTE, 1, 0, 2),
    ]


def test_a_series_begins_with_the_depth_before_its_first_change() -> None:
    """A change that a wrong clock dates before the beginning counts from the beginning."""
    series = QueueDepthSeries(2, 1)
    series.add(NOON, 2, 1)
    series.add(NOON + 2 * MINUTE, 1, 1)
    series.add(NOON - MINUTE, 0, 1)
    begins = NOON - timedelta(seconds=1)
    assert series.since(begins) == (
        QueueDepth(begins, 2, 1),
        QueueDepth(begins, 0, 1),
        QueueDepth(NOON + 2 * MINUTE, 1, 1),
    )


@pytest.mark.parametrize(("before", "left"), [(0, 3), (1, 3), (2, 2), (3, 1), (9, 1)])
def test_what_is_older_is_dropped_but_for_the_last_of_it(before: int, left: int) -> None:
    series = QueueDepthSeries()
    for minute in range(3):
        series.add(NOON + minute * MINUTE, minute, 0)
    kept = list(series)[-left:]
    series.forget(NOON + before * MINUTE)
    assert list(series) == kept
    series.add(NOON + 10 * MINUTE, 2, 0)
    assert list(series) == kept, "the depth has not changed"
