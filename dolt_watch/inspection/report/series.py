"""Values over time for the page's charts: thinned, with more points for recent times. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import overload

POINTS = 300
"""Columns into which each stretch of time is thinned; a column keeps its peak and its last
value."""
STRETCHES = (timedelta(hours=1), timedelta(hours=6), timedelta(days=1), timedelta(days=7))
"""Ages at which the points become fewer, so that each range of the page has enough of them."""

Point = tuple[datetime, tuple[int | None, ...]]


@overload
def seconds(moment: datetime) -> int: ...


@overload
def seconds(moment: datetime | None) -> int | None: ...


def seconds(moment: datetime | None) -> int | None:
    """Return the moment as the page's script reads it: whole seconds since 1970."""
    return round(moment.timestamp()) if moment is not None else None


def thin(points: Sequence[Point], until: datetime) -> list[Point]:
    """Return the points, at most about two for each column of each stretch of time.

    Args:
        points: In the order of time; a value lasts until the next point.
        until: The end of the newest stretch.
    """
    kept: list[Point] = []
    edges = [*(until - age for age in STRETCHES), datetime.min.replace(tzinfo=until.tzinfo)]
    newer = until + timedelta(seconds=1)
    for edge in edges:
        part = [point for point in points if edge <= point[0] < newer]
        kept[:0] = _columns(part)
        newer = edge
    late = [point for point in points if point[0] > until + timedelta(seconds=1)]
    return kept + late[-1:]


def _columns(points: Sequence[Point]) -> list[Point]:
    if len(points) <= 2 * POINTS:
        return list(points)
    begin, end = points[0][0], points[-1][0]
    width = max((end - begin) / POINTS, timedelta(microseconds=1))
    columns: dict[int, list[Point]] = {}
    for point in points:
        columns.setdefault(int((point[0] - begin) / width), []).append(point)
    found: list[Point] = []
    for column in columns.values():
        peaks = tuple(
            max((one for one in values if one is not None), default=None)
            for values in zip(*(point[1] for point in column), strict=True)
        )
        found.append((column[0][0], peaks))
        if len(column) > 1:
            found.append(column[-1])
    return found


def merge(*series: Iterable[tuple[datetime, Sequence[int]]]) -> list[Point]:
    """Return points that have the values of all series; None before a series begins.

    Each series is in the order of time and has the same number of values throughout.
    """
    lists = [list(one) for one in series]
    widths = [len(one[0][1]) if one else 1 for one in lists]
    events = sorted(
        ((at, number, values) for number, one in enumerate(lists) for at, values in one),
        key=lambda event: event[0],
    )
    now: list[tuple[int | None, ...]] = [(None,) * width for width in widths]
    found: list[Point] = []
    for at, number, values in events:
        now[number] = tuple(values)
        point = (at, tuple(value for part in now for value in part))
        if found and found[-1][0] == at:
            found[-1] = point
        else:
            found.append(point)
    return found
