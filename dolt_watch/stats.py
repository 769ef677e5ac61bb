"""Statistics of durations, and the depth of the queue over time."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import NamedTuple


class DurationStats(NamedTuple):
    """Statistics of durations. The figures are None if there are no durations."""

    number: int
    median: timedelta | None = None
    high: timedelta | None = None
    """The 95th percentile, by nearest rank."""
    longest: timedelta | None = None

    @classmethod
    def of(cls, durations: Iterable[timedelta]) -> DurationStats:
        """Return the statistics of durations."""
        ordered = sorted(durations)
        if not ordered:
            return cls(0)
        low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
        nearest = ordered[ceil(0.95 * len(ordered)) - 1]
        return cls(len(ordered), (low + high) / 2, nearest, ordered[-1])


class QueueDepth(NamedTuple):
    """Number of beads in each state after a change."""

    at: datetime
    waiting: int
    under_way: int
    """Claimed, unknown or running."""
    held: int = 0
    """In backoff, quarantined or held."""


class QueueDepthSeries:
    """A series of depths, in the order in which they were added. Repeats are skipped."""

    def __init__(self, waiting: int | None = None, under_way: int = 0, held: int = 0) -> None:
        """Begin with a depth, or without one, in which case the first added depth is kept."""
        self._first = None if waiting is None else (waiting, under_way, held)
        self._last = self._first
        # Packed arrays: 32 bytes for each change. A long history has many changes.
        self._at, self._counts = array("d"), array("L")

    def add(self, at: datetime, waiting: int, under_way: int, held: int = 0) -> None:
        """Append a depth, unless it equals the last one."""
        counts = (waiting, under_way, held)
        if counts != self._last:
            self._at.append(at.timestamp())
            self._counts.extend(counts)
            self._last = counts

    def __iter__(self) -> Iterator[QueueDepth]:
        for number, at in enumerate(self._at):
            yield QueueDepth(
                datetime.fromtimestamp(at, UTC), *self._counts[3 * number : 3 * number + 3]
            )

    def since(self, begins: datetime) -> tuple[QueueDepth, ...]:
        """Return the initial depth, dated ``begins``, and all changes in the order of time.

        Clocks differ between machines: an earlier change is dated ``begins``.
        """
        first = () if self._first is None else (QueueDepth(begins, *self._first),)
        changes = (one._replace(at=max(begins, one.at)) for one in self)
        return (*first, *sorted(changes, key=lambda one: one.at))

    def forget(self, before: datetime) -> None:
        """Remove the depths before a moment, except for the last of them."""
        old = max(0, sum(at < before.timestamp() for at in self._at) - 1)
        del self._at[:old]
        del self._counts[: 3 * old]
