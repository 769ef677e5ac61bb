"""Runs that fail within seconds of their start: the agent may not work at all. Pure.

One such run may be its bead's fault. If the last ones failed like that, on different beads, the
agent is at fault.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from dolt_watch.core.model import Capacity
from dolt_watch.sanitize import sanitize

QUICK = timedelta(seconds=10)
"""A failure within this time may be caused by the agent's installation and not by its bead."""
QUICK_FAILURES = 3
"""Number of failures within seconds, on different beads, for which the agent is at fault and not
the beads.
"""
LOOK_BACK = 12
"""Number of last runs that are read."""
FIRST_PAUSE, LAST_PAUSE = 60.0, 1800.0
"""Seconds until the agent is tried again. Doubled with each further quick failure."""


class EndedRun(NamedTuple):
    """The end of a run. ``ended_at``: seconds since the epoch."""

    bead: str
    failed_at_start: bool
    ended_at: float
    error: str
    at_fault: bool = False
    """The target itself is at fault, whatever the bead: the program could not be started."""


@dataclass(frozen=True, slots=True)
class Failing:
    """The last runs failed within seconds. ``retry_at``: seconds since the epoch."""

    why: str
    retry_at: float


def find_failing(latest: Iterable[EndedRun]) -> Failing | None:
    """Return whether the last runs of a target all failed within seconds, on different beads.

    One run is enough if its program could not be started.

    ``latest``: the ended runs, the latest first. They are read until one that did not fail so.
    """
    failed: list[EndedRun] = []
    for run in latest:
        if not run.failed_at_start:
            break
        failed.append(run)
    beads = {run.bead for run in failed}
    if failed and failed[0].at_fault:
        tries, why = 1, "the last run could not be started"
    elif len(beads) >= QUICK_FAILURES:
        tries = QUICK_FAILURES
        why = f"the last {len(failed)} runs, on {len(beads)} beads, failed within seconds"
    else:
        return None
    pause = min(FIRST_PAUSE * 2 ** (len(failed) - tries), LAST_PAUSE)
    return Failing(f"{why}: {failed[0].error}", failed[0].ended_at + pause)


def with_failures(capacity: Capacity, live: int, failing: Failing | None, now: float) -> Capacity:
    """Return the capacity of a target whose agent may not work.

    While an agent fails, nothing is sent until ``retry_at``. Then one run at a time shows if it
    works again. ``live``: number of live runs. ``now``: seconds since the epoch.
    """
    if failing is None or capacity.slots is None:
        return capacity
    if failing.retry_at > now:
        return Capacity(0, sanitize(failing.why), down=True)
    return capacity._replace(slots=min(capacity.slots, 1 if live == 0 else 0))
