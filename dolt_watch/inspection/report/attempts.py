"""Attempts of beads, read from their lanes: claimed, sent, ended. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from dolt_watch.core.model import Phase
from dolt_watch.inspection.report.lanes import (
    DONE,
    LEFT,
    REAPED,
    SILENT,
    STOPPED,
    PhaseInterval,
)

ACTIVE = frozenset({Phase.CLAIMED, Phase.UNKNOWN, Phase.RUNNING, SILENT})
"""Phases in which an agent may be working on the bead."""
RETURNED = "returned"
"""The bead waits again, and the attempt doesn't count: its target was busy, or the claim was
taken back."""
OUTCOMES = {
    DONE: DONE,
    LEFT: LEFT,
    REAPED: REAPED,
    STOPPED: STOPPED,
    Phase.BACKOFF: "failed",
    Phase.QUARANTINED: "quarantined",
    Phase.HELD: "held",
    Phase.WAITING: RETURNED,
}
"""Phase after the attempt → outcome of the attempt."""
FAILURES = ("failed", "quarantined", REAPED, STOPPED)
"""Outcomes that count against the success rate."""


class Attempt(NamedTuple):
    """One attempt of a bead."""

    bead: str
    number: int
    rule: str
    begin: datetime
    end: datetime | None
    """None while an agent may be working."""
    outcome: str
    """A value of ``OUTCOMES``, or the phase if the attempt has not ended."""
    first: int
    """Index of its first interval in the lane."""
    last: int
    """Index of the interval that names the outcome."""
    ran: datetime | None
    """When the run began; None if no target accepted it."""
    job: str


def attempts_of(bead: str, intervals: Sequence[PhaseInterval]) -> Iterator[Attempt]:
    """Yield the bead's attempts, oldest first."""
    open_: Attempt | None = None
    for index, one in enumerate(intervals):
        if one.phase not in ACTIVE:
            if open_ is not None:
                outcome = OUTCOMES[one.phase]
                yield open_._replace(end=one.begin, outcome=outcome, last=index)
            open_ = None
            continue
        if open_ is not None and one.attempt != open_.number:
            # Another attempt follows at once: the outcome of this one stayed unknown.
            yield open_._replace(end=one.begin, last=index - 1)
            open_ = None
        if open_ is None:
            open_ = Attempt(
                bead=bead,
                number=one.attempt,
                rule=one.rule,
                begin=one.begin,
                end=None,
                outcome=one.phase,
                first=index,
                last=index,
                ran=None,
                job="",
            )
        runs = one.phase in (Phase.RUNNING, SILENT)
        open_ = open_._replace(
            outcome=one.phase,
            last=index,
            ran=(open_.ran or one.begin) if runs else open_.ran,
            job=one.job or open_.job,
        )
    if open_ is not None:
        yield open_
