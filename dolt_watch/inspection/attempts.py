"""The ledger as attempts: a claim, what came of it, and how long it took. Pure but for one read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from dolt_watch.core.model import CLOSED, IN_PROGRESS, EntryKind, LedgerEntry
from dolt_watch.engines import Engine
from dolt_watch.engines.sql_text import chunks
from dolt_watch.timestamps import to_utc

OUTCOMES = {
    EntryKind.CLAIM: "claimed",
    EntryKind.DISPATCHED: "running",
    EntryKind.FAILED: "failed",
    EntryKind.RETRY: "failed",
    EntryKind.QUARANTINED: "quarantined",
    EntryKind.BUSY: "busy",
    EntryKind.UNKNOWN: "unknown",
    EntryKind.OVERDUE: "unknown",
    EntryKind.RELEASE: "released",
    EntryKind.GIVE_UP: "blocked",
    EntryKind.REAP: "reaped",
    EntryKind.REQUEUE: "requeued",
    EntryKind.STOPPED: "refused",
    EntryKind.MANUAL_RETRY: "retried",
    EntryKind.MANUAL_STOP: "stopped",
    EntryKind.MANUAL_RELEASE: "taken over",
}
"""The outcome of an attempt, by the last entry that says one."""
FAILURES = ("failed", "quarantined", "requeued", "reaped", "blocked")
"""Outcomes that count against the success rate. A busy target or a claim that was taken back does
not."""
DONE = "done"
"""The outcome of a job whose bead is closed."""
ENDED = "ended"
"""A job whose bead left its rule without being closed: a user or its agent changed the row."""


class BeadRow(NamedTuple):
    """The row of a bead, as it is now. A deleted bead has the defaults."""

    title: str = ""
    """Written by users: sanitize it before you print it."""
    priority: int | None = None
    status: str = ""
    closed_at: datetime | None = None


class Attempt(NamedTuple):
    """One attempt, or one decision that belongs to no attempt."""

    bead: str
    """'' for a decision about no bead, such as a pause."""
    attempt: int
    rule: str
    claimed_at: datetime
    """When it was claimed, or when the decision was made."""
    outcome: str
    """A word of OUTCOMES, 'done', 'ended', or the kind of a decision that belongs to no attempt."""
    took: timedelta | None
    """From the claim to its end, or until now. None if the end isn't known."""
    job: str
    reason: str
    title: str
    entries: tuple[LedgerEntry, ...]
    """Oldest first."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON of ``log --format json``."""
        return {
            "bead": self.bead,
            "title": self.title,
            "rule": self.rule,
            "attempt": self.attempt,
            "claimed_at": self.claimed_at,
            "outcome": self.outcome,
            "took_seconds": self.took.total_seconds() if self.took is not None else None,
            "job": self.job,
            "reason": self.reason,
            "versions": [entry.version for entry in self.entries],
        }


def attempts_of(
    entries: Iterable[LedgerEntry], rows: Mapping[str, BeadRow], now: datetime
) -> list[Attempt]:
    """Return the attempts, the newest first.

    Args:
        entries: of the ledger, in any order.
        rows: bead → its row now.
        now: the database's clock.
    """
    groups: dict[tuple[str, str, int], list[LedgerEntry]] = {}
    for entry in sorted(entries, key=lambda entry: (entry.at, entry.version)):
        # An entry without a token belongs to no attempt.
        key = (entry.bead, entry.token, 0 if entry.token else entry.version)
        groups.setdefault(key, []).append(entry)
    last = {bead: token for bead, token, _ in groups if token}  # groups begin in time order
    found = [
        _attempt(group, rows.get(bead, BeadRow()), now, last.get(bead) == token)
        for (bead, token, _), group in groups.items()
    ]
    return sorted(found, key=lambda one: (one.claimed_at, one.bead, one.attempt), reverse=True)


def _attempt(group: Sequence[LedgerEntry], row: BeadRow, now: datetime, latest: bool) -> Attempt:
    """``latest``: the bead has no later attempt, so its row tells how this one ended."""
    first = group[0]
    outcomes = [entry for entry in group if entry.kind in OUTCOMES] if first.token else []
    last = outcomes[-1] if outcomes else group[-1]
    outcome = OUTCOMES[last.kind] if outcomes else last.kind.value
    end: datetime | None = last.at if outcomes else None
    status = row.status if latest else ""
    if outcome == "running" and status != IN_PROGRESS:
        outcome, end = (DONE, row.closed_at) if status == CLOSED else (ENDED, None)
    elif outcome in ("running", "claimed", "unknown"):
        end = now
    job = next((entry.job for entry in reversed(group) if entry.job), "")
    return Attempt(
        bead=first.bead,
        attempt=first.attempt,
        rule=first.rule,
        claimed_at=first.at,
        outcome=outcome,
        took=max(timedelta(), end - first.at) if end is not None else None,
        job=job,
        reason=last.reason,
        title=row.title,
        entries=tuple(group),
    )


def read_rows(engine: Engine, beads: Iterable[str], commit: str = "") -> dict[str, BeadRow]:
    """Return bead → its row in the tracker. A deleted bead has none.

    Args:
        commit: the commit whose rows are read; '' for the working set.
    """
    columns = engine.columns("issues", commit) if commit else engine.columns("issues")
    closed = "closed_at" if "closed_at" in columns else "NULL"
    at_commit = f"AS OF '{commit}' " if commit else ""
    found: dict[str, BeadRow] = {}
    for part in chunks(sorted(beads), 500):
        marks = ", ".join("?" * len(part))
        cells = f"id, title, priority, status, {closed}"
        sql = f"SELECT {cells} FROM issues {at_commit}WHERE id IN ({marks})"
        for bead, title, priority, status, at in engine.query(sql, part):
            found[bead] = BeadRow(title or "", priority, status or "", to_utc(at))
    return found
