"""The ledger as attempts: a claim, what came of it, and how long it took. Pure but for one read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from dolt_watch.core.model import (
    CLOSED,
    IN_FLIGHT,
    IN_PROGRESS,
    EntryKind,
    LedgerEntry,
    State,
    entry_payloads,
)
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
CONTINUED = frozenset({EntryKind.RESTORE, EntryKind.RENAMED})
"""Entries that continue an attempt, with its phase at that time."""
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
            "versions": [entry.version for entry in self.entries if entry.bead == self.bead],
        }


def attempts_of(
    entries: Iterable[LedgerEntry],
    rows: Mapping[str, BeadRow],
    now: datetime,
    under_way: Collection[str] | None = None,
) -> list[Attempt]:
    """Return the attempts, the newest first.

    Args:
        entries: of the ledger, in any order.
        rows: bead → its row now.
        now: the database's clock.
        under_way: the tokens of the state (``tokens_of``), read after the entries. None: not known.
    """
    groups: dict[tuple[str, int, str], list[LedgerEntry]] = {}
    for entry in sorted(entries, key=lambda entry: (entry.at, entry.version)):
        # An entry without a token belongs to no attempt. A renamed bead keeps its token.
        key = (entry.token, 0, "") if entry.token else ("", entry.version, entry.bead)
        groups.setdefault(key, []).append(entry)
    named = [(_bead_of(group), group) for group in groups.values()]
    last = {bead: group[0].token for bead, group in named if group[0].token}  # in time order
    found = []
    for bead, group in named:
        token = group[0].token
        latest = last.get(bead) == token
        over = latest and under_way is not None and token not in under_way
        found.append(_attempt(bead, group, rows.get(bead, BeadRow()), now, latest, over))
    return sorted(found, key=lambda one: (one.claimed_at, one.bead, one.attempt), reverse=True)


def tokens_of(state: State) -> frozenset[str]:
    """Return the tokens of the attempts under which an agent may be working."""
    return frozenset(bead.token for bead in state.beads.values() if bead.token)


def _bead_of(group: Sequence[LedgerEntry]) -> str:
    """Return the ID that the bead of an attempt has now."""
    renamed = (entry.bead for entry in reversed(group) if entry.kind is EntryKind.RENAMED)
    return next(renamed, group[0].bead)


def _outcome(entry: LedgerEntry) -> str:
    """Return the outcome of an attempt after an entry; '' if the entry says none."""
    if entry.kind not in CONTINUED:
        return OUTCOMES.get(entry.kind, "")
    phase = entry_payloads.Attempt.decode(entry.detail).phase
    if not phase:  # The detail was not read.
        return "running" if entry.job else "unknown"
    return phase if phase in IN_FLIGHT else ""


def _attempt(
    bead: str,
    group: Sequence[LedgerEntry],
    row: BeadRow,
    now: datetime,
    latest: bool,
    over: bool,
) -> Attempt:
    """Return an attempt.

    Args:
        latest: The bead has no later attempt, so its row tells how this one ended.
        over: The state shows that the attempt has ended.
    """
    first = group[0]
    outcomes = [entry for entry in group if _outcome(entry)] if first.token else []
    last = outcomes[-1] if outcomes else group[-1]
    outcome = _outcome(last) if outcomes else last.kind.value
    claimed_at, end = first.at, last.at if outcomes else None
    if outcomes and first.kind in CONTINUED:  # History lost the claim, or has it under another ID.
        claimed_at = entry_payloads.Attempt.decode(first.detail).sent_at or first.at
    status = row.status if latest else ""
    # A run whose answer was lost ends like any other. A deleted bead may still be worked on.
    if (
        (outcome in IN_FLIGHT and over)
        or (outcome == "running" and status != IN_PROGRESS)
        or (outcome == "unknown" and status not in ("", IN_PROGRESS))
    ):
        outcome, end = (DONE, row.closed_at) if status == CLOSED else (ENDED, None)
    elif outcome in IN_FLIGHT:
        end = now if latest else None
    job = next((entry.job for entry in reversed(group) if entry.job), "")
    return Attempt(
        bead=bead,
        attempt=first.attempt,
        rule=first.rule,
        claimed_at=claimed_at,
        outcome=outcome,
        took=max(timedelta(), end - claimed_at) if end is not None else None,
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
