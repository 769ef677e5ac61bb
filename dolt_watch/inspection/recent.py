"""The last day in one line: beads done, success, duration of runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from dolt_watch.engines import Engine
from dolt_watch.inspection.attempts import DONE, FAILURES, Attempt, attempts_of, read_rows
from dolt_watch.ledger.reader import read_entries
from dolt_watch.stats import DurationStats
from dolt_watch.timestamps import format_span

DAY = timedelta(days=1)
LONGEST_RUN = DAY
"""A run that began longer ago than this before the day isn't counted."""


class Recent(NamedTuple):
    """The attempts that ended within the last day, as ``log`` shows them."""

    done: int
    failed: int
    took: DurationStats
    """Time from the claim to the end, of the beads that are done."""

    @property
    def words(self) -> str:
        """Return the figures in one line. '' if nothing ended."""
        ended = self.done + self.failed
        if not ended:
            return ""
        parts = [f"{self.done} done", f"{self.failed} failed", f"{self.done / ended:.1%} success"]
        if self.took.median is not None and self.took.high is not None:
            median, high = format_span(self.took.median), format_span(self.took.high)
            parts.append(f"took {median} (median), {high} (p95)")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form. Durations are in seconds."""
        median, high = self.took.median, self.took.high
        return {
            "done": self.done,
            "failed": self.failed,
            "median_seconds": median.total_seconds() if median is not None else None,
            "p95_seconds": high.total_seconds() if high is not None else None,
        }


def read_recent(engine: Engine, now: datetime, under_way: Collection[str] | None = None) -> Recent:
    """Return the figures of the day before ``now``. ``under_way``: as for ``attempts_of``."""
    entries = read_entries(engine, since=now - DAY - LONGEST_RUN, details=False)
    rows = read_rows(engine, {entry.bead for entry in entries if entry.bead})
    return recent_of(attempts_of(entries, rows, now, under_way), now)


def recent_of(attempts: Iterable[Attempt], now: datetime) -> Recent:
    """Return the figures of the attempts that ended in the day before ``now``."""
    # Without a known end, the claim counts: a user closed the bead without bd.
    ended = [one for one in attempts if one.claimed_at + (one.took or timedelta()) >= now - DAY]
    done = [one for one in ended if one.outcome == DONE]
    return Recent(
        done=len(done),
        failed=sum(one.outcome in FAILURES for one in ended),
        took=DurationStats.of(one.took for one in done if one.took is not None),
    )
