"""Attempts of beads, read from their lanes: claimed, sent, ended. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from dolt_watch.core.model import EMPTY, LedgerEntry, Phase
from dolt_watch.inspection.attempts import ENDED, OUTCOMES
from dolt_watch.inspection.report.lanes import DONE, LEFT, REAPED, SILENT, STOPPED, PhaseInterval

ACTIVE = frozenset({Phase.CLAIMED, Phase.UNKNOWN, Phase.RUNNING, SILENT})
"""Phases in which an agent may be working on the bead."""
ENDINGS = {
    DONE: DONE,
    LEFT: ENDED,
    REAPED: REAPED,
    STOPPED: ENDED,
    Phase.BACKOFF: "failed",
    Phase.QUARANTINED: "quarantined",
    Phase.HELD: "held",
    Phase.WAITING: "returned",
}
"""Phase after the attempt → its outcome, if no entry of the ledger made the phase."""


class Attempt(NamedTuple):
    """One attempt of a bead."""

    bead: str
    number: int
    begin: datetime
    end: datetime | None
    """None while an agent may be working."""
    outcome: str
    """A word of ``OUTCOMES`` or ``ENDINGS``, or the phase if the attempt has not ended."""
    last: int
    """Index of the interval that names the outcome."""
    ran: datetime | None
    """When the run began; None if no target accepted it."""
    job: str


def attempts_of(
    bead: str, intervals: Sequence[PhaseInterval], entries: Mapping[str, LedgerEntry] = EMPTY
) -> Iterator[Attempt]:
    """Yield the bead's attempts, oldest first.

    Args:
        bead: ID of the bead.
        intervals: Its lane.
        entries: Commit → the bead's entry in it: outcomes have the words of ``log``.
    """
    open_: Attempt | None = None
    for index, one in enumerate(intervals):
        active = one.phase in ACTIVE and one.attempt > 0  # A user's own work is no attempt.
        if open_ is not None and not active:
            entry = entries.get(one.commit)
            word = OUTCOMES.get(entry.kind) if entry is not None else None
            outcome = word or ENDINGS.get(one.phase, ENDED)
            yield open_._replace(end=one.begin, outcome=outcome, last=index)
            open_ = None
        elif open_ is not None and one.attempt != open_.number:
            # Another attempt follows at once: the outcome of this one stayed unknown.
            yield open_._replace(end=one.begin)
            open_ = None
        if active:
            ran = one.begin if one.phase in (Phase.RUNNING, SILENT) else None
            open_ = Attempt(
                bead=bead,
                number=one.attempt,
                begin=open_.begin if open_ is not None else one.begin,
                end=None,
                outcome=one.phase,
                last=index,
                ran=(open_ and open_.ran) or ran,
                job=one.job or (open_.job if open_ is not None else ""),
            )
    if open_ is not None:
        yield open_
