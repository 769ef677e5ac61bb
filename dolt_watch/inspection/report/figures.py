"""Figures of one range of time: what ended, how well, how fast, and how long it took. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from dolt_watch.controller.tick_result import Iteration, Next, TickResult
from dolt_watch.core.model import EMPTY, LedgerEntry, Phase
from dolt_watch.inspection.attempts import FAILURES
from dolt_watch.inspection.report.attempts import Attempt
from dolt_watch.inspection.report.lanes import DONE, SILENT, PhaseInterval
from dolt_watch.stats import DurationStats, QueueDepth

RANGES = (
    ("1h", timedelta(hours=1)),
    ("6h", timedelta(hours=6)),
    ("24h", timedelta(hours=24)),
    ("7d", timedelta(days=7)),
    ("all", timedelta.max),
)
"""Ranges that the page offers: name, and the longest time that the range covers."""
POINTS = 28
"""Points of the small curve next to a figure."""
SHORTEST = timedelta(minutes=1)
"""Throughput isn't computed over less: two beads in ten seconds are no rate of 720 an hour."""


class Timed(NamedTuple):
    """A duration, and when it ended."""

    at: datetime
    span: timedelta


class Figures(NamedTuple):
    """The figures of one range."""

    name: str
    begin: datetime
    """Where the range begins: never before the first event."""
    outcomes: Mapping[str, int]
    """Outcome → attempts that ended in the range."""
    success: float | None
    """Share of attempts that ended well, 0 to 1. None if no attempt ended."""
    per_hour: float
    """Beads done per hour."""
    dispatched: int
    """These four are counted in the ledger, as `dolt_watch log` and the exit code count them."""
    failed: int
    unknown: int
    reaped: int
    waiting: DurationStats
    running: DurationStats
    curves: Mapping[str, tuple[float | None, ...]] = EMPTY
    """Name of a figure → ``POINTS`` values over the range; None for a part without a value."""

    @property
    def done(self) -> int:
        return self.outcomes.get(DONE, 0)


class Measured(NamedTuple):
    """The input of all figures, each in the order of time."""

    attempts: Sequence[Attempt]
    """Those that ended."""
    waits: Sequence[Timed]
    runs: Sequence[Timed]
    depths: Sequence[QueueDepth]
    entries: Sequence[LedgerEntry]
    """Newest first."""


def waits_of(intervals: Sequence[PhaseInterval]) -> Iterable[Timed]:
    """Yield the times from matching a rule to being claimed."""
    for here, after in pairwise(intervals):
        if here.phase == Phase.WAITING and after.phase == Phase.CLAIMED:
            yield Timed(after.begin, (here.end or here.begin) - here.begin)


def runs_of(intervals: Sequence[PhaseInterval]) -> Iterable[Timed]:
    """Yield the times from the target's answer to the end, silence included."""
    begun: datetime | None = None
    for here in intervals:
        if here.phase in (Phase.RUNNING, SILENT) and here.attempt > 0:
            begun = begun or here.begin
        elif begun is not None:
            yield Timed(here.begin, here.begin - begun)
            begun = None


def all_ranges(measured: Measured, first: datetime, now: datetime) -> tuple[Figures, ...]:
    """Return the figures of each range. ``first``: the time of the first event."""
    return tuple(
        _figures(name, max(first, now - span) if span < timedelta.max else first, measured, now)
        for name, span in RANGES
    )


def _figures(name: str, begin: datetime, measured: Measured, now: datetime) -> Figures:
    # An attempt counts in the range in which it ended.
    ended = [one for one in measured.attempts if one.end is not None and one.end >= begin]
    outcomes = Counter(one.outcome for one in ended)
    done, failed = outcomes[DONE], sum(outcomes[one] for one in FAILURES)
    waits = [one for one in measured.waits if one.at >= begin]
    runs = [one for one in measured.runs if one.at >= begin]
    # Counted as a tick counts, so that the page and the metrics agree.
    counted = TickResult()
    kinds = [entry.kind for entry in measured.entries if entry.at >= begin]
    counted.add(Iteration(Next.DONE, kinds=kinds))
    hours = max(now - begin, SHORTEST) / timedelta(hours=1)
    return Figures(
        name=name,
        begin=begin,
        outcomes=outcomes,
        success=done / (done + failed) if done + failed else None,
        per_hour=done / hours,
        dispatched=counted.dispatched,
        failed=counted.failed,
        unknown=counted.unknown,
        reaped=counted.reaped,
        waiting=DurationStats.of(one.span for one in waits),
        running=DurationStats.of(one.span for one in runs),
        curves=_curves(_Buckets(begin, now), measured.depths, ended, waits, runs),
    )


class _Buckets:
    """Equal parts of a range."""

    def __init__(self, begin: datetime, now: datetime) -> None:
        self.begin, self.now = begin, now
        self.width = max((now - begin) / POINTS, timedelta(microseconds=1))

    def index(self, at: datetime) -> int:
        return min(POINTS - 1, max(0, int((at - self.begin) / self.width)))

    def split(self, values: Iterable[tuple[datetime, float]]) -> list[list[float]]:
        parts: list[list[float]] = [[] for _ in range(POINTS)]
        for at, value in values:
            parts[self.index(at)].append(value)
        return parts

    def ends(self) -> list[datetime]:
        return [self.begin + self.width * (part + 1) for part in range(POINTS)]


def _curves(
    parts: _Buckets,
    depths: Sequence[QueueDepth],
    ended: Sequence[Attempt],
    waits: Sequence[Timed],
    runs: Sequence[Timed],
) -> dict[str, tuple[float | None, ...]]:
    at = [one.at for one in depths]
    last = [bisect_right(at, end) - 1 for end in parts.ends()]
    attempts = [(one.end or one.begin, one.outcome) for one in ended]
    good = parts.split((when, 1.0) for when, outcome in attempts if outcome == DONE)
    bad = parts.split((when, 1.0) for when, outcome in attempts if outcome in FAILURES)
    return {
        "waiting": tuple(depths[one].waiting if one >= 0 else 0 for one in last),
        "running": tuple(depths[one].under_way if one >= 0 else 0 for one in last),
        "done": tuple(len(part) for part in good),
        "success": tuple(
            len(well) / (len(well) + len(ill)) if well or ill else None
            for well, ill in zip(good, bad, strict=True)
        ),
        "wait": _medians(parts, waits),
        "run": _medians(parts, runs),
    }


def _medians(parts: _Buckets, times: Iterable[Timed]) -> tuple[float | None, ...]:
    split = parts.split((one.at, one.span.total_seconds()) for one in times)
    return tuple(sorted(part)[len(part) // 2] if part else None for part in split)
