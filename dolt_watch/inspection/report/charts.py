"""Geometry of the chart: points in time become the text of SVG paths. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

WIDTH, HEIGHT = 1000, 160
"""The chart's own units; the page stretches it, lines keep their width."""
POINTS = 400
"""A line is drawn with at most so many steps: the highest value of each is kept."""

EDGES = (2, 96)
"""Per cent of the width between which a label stays on the page."""

_STEPS = [
    timedelta(seconds=seconds)
    for seconds in (
        1,
        5,
        15,
        60,
        300,
        900,
        1800,
        3600,
        10800,
        21600,
        43200,
        86400,
        172800,
        604800,
        2592000,
    )
]


class Tick(NamedTuple):
    """A mark on the axis of time. ``left``: per cent of the width."""

    left: float
    label: str


class Scale(NamedTuple):
    since: datetime
    until: datetime
    top: int

    def x(self, at: datetime) -> float:
        whole = (self.until - self.since) / timedelta(seconds=1) or 1.0
        return round(
            WIDTH * min(1.0, max(0.0, (at - self.since) / timedelta(seconds=1) / whole)), 1
        )

    def y(self, value: int) -> float:
        return round(HEIGHT - (HEIGHT - 4) * min(value, self.top) / self.top, 1)


def seconds(moment: datetime) -> float:
    """As the page's script has times."""
    return round(moment.timestamp(), 1)


def scale(since: datetime, until: datetime, values: Iterable[int]) -> Scale:
    """The axis ends at a round number that nothing exceeds."""
    highest = max(values, default=0)
    top = next(
        base * 10**power
        for power in range(12)
        for base in (1, 2, 4, 5, 8, 10)
        if base * 10**power >= max(2, highest)
    )
    return Scale(since, until, top)


def line(points: Sequence[tuple[datetime, int]], to: Scale) -> str:
    """Steps: a value holds until the next. '' where there are no points."""
    drawn = _thinned(points, to)
    if not drawn:
        return ""
    path = f"M{drawn[0][0]},{to.y(drawn[0][1])}"
    for x, value in drawn[1:]:
        path += f"H{x}V{to.y(value)}"
    return f"{path}H{WIDTH}"


def area(points: Sequence[tuple[datetime, int]], to: Scale) -> str:
    """The same, closed down to zero."""
    drawn = _thinned(points, to)
    return f"{line(points, to)}V{HEIGHT}H{drawn[0][0]}Z" if drawn else ""


def _thinned(points: Sequence[tuple[datetime, int]], to: Scale) -> list[tuple[float, int]]:
    """Of the points in one column the last value holds on, and the highest is not lost."""
    if len(points) <= POINTS:
        return [(to.x(at), value) for at, value in points]
    columns: dict[int, list[int]] = {}
    for at, value in points:
        columns.setdefault(int(to.x(at) * POINTS / WIDTH / 2), []).append(value)
    return [
        (round(column * 2 * WIDTH / POINTS + shift, 1), value)
        for column, values in columns.items()
        for shift, value in ((0.0, max(values)), (WIDTH / POINTS, values[-1]))
    ]


def ticks(since: datetime, until: datetime) -> list[Tick]:
    """Four to eight round moments."""
    span = until - since
    step = next((step for step in _STEPS if span / step <= 8), _STEPS[-1])
    seconds = int(step.total_seconds())
    first = datetime.fromtimestamp(-(-int(since.timestamp()) // seconds) * seconds, since.tzinfo)
    found: list[Tick] = []
    at = first
    while at <= until and len(found) < 60:
        form = (
            "%b %-d"
            if step >= timedelta(days=1)
            else "%H:%M:%S"
            if step < timedelta(minutes=1)
            else "%H:%M"
        )
        if form == "%H:%M" and (at.hour, at.minute) == (0, 0):
            form = "%b %-d"
        left = round(100 * ((at - since) / span if span else 0.0), 2)
        if EDGES[0] <= left <= EDGES[1]:
            found.append(Tick(left, at.strftime(form)))
        at += step
    return found
