"""Decisions as attempts and ends, of the recorded history or of a simulation. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from dolt_watch.core.model import IN_FLIGHT, IN_PROGRESS, Bead, EntryKind, Event, LedgerEntry, Phase

TAKEN = frozenset({EntryKind.REAP, EntryKind.REQUEUE})
AWAY, DELETED = "taken away", "deleted"
"""How a bead left: in progress (for example unassigned), or deleted."""


@dataclass(slots=True)
class Attempt:
    """One claim, and its outcome."""

    bead: str
    rule: str
    number: int
    token: str
    claimed: datetime
    matched: datetime | None
    """Since when the bead matched its rule."""
    cause: str = ""
    assumed: bool = False
    """Whether its run is not a recorded one."""
    earlier: bool = False
    """Whether it was claimed before the history begins."""
    sent: datetime | None = None
    """Since when the run is known."""
    ended: datetime | None = None
    outcome: str = ""
    """The status that the bead has at the end ('closed', 'blocked'), or the decision that ended the
    attempt ('reap', 'failed'). '' while it runs.
    """


class EntryRecord(NamedTuple):
    """A decision or report of the ledger, recorded or simulated."""

    bead: str
    kind: EntryKind
    at: datetime
    attempt: int
    rule: str
    reason: str = ""
    assumed: bool = False


class AttemptLog:
    """The attempts of one history. ``running``: attempts that run when it begins."""

    def __init__(self, running: Iterable[Bead] = ()) -> None:
        self.attempts: list[Attempt] = []
        self.records: list[EntryRecord] = []
        self._by_token: dict[str, Attempt] = {}
        self._open: dict[str, Attempt] = {}
        for bead in running:
            begun = bead.sent_at or bead.since
            sent = bead.since if bead.phase is Phase.RUNNING else None
            self._add(
                Attempt(
                    bead=bead.id,
                    rule=bead.rule,
                    number=bead.attempt,
                    token=bead.token,
                    claimed=begun,
                    matched=None,
                    earlier=True,
                    sent=sent,
                )
            )

    @property
    def taken(self) -> list[EntryRecord]:
        """The reaps and requeues."""
        return [one for one in self.records if one.kind in TAKEN]

    def of_rule(self, rule: str) -> AttemptLog:
        """Return the log of one rule's beads; of all beads if ``rule`` is ''."""
        if not rule:
            return self
        chosen = AttemptLog()
        chosen.attempts.extend(one for one in self.attempts if one.rule == rule)
        chosen.records.extend(one for one in self.records if one.rule == rule)
        return chosen

    def apply(
        self,
        event: Event,
        before: Bead | None,
        after: Bead | None,
        status: str = "",
        assumed: bool = False,
    ) -> None:
        """Apply an event, with the bead's state before and after it.

        ``status``: the status of the row after a change by others.
        """
        if event.entry is not None:
            self._entry(event.entry, before, assumed)
        attempt = self._open.get(event.bead)
        if attempt is None:
            return
        if after is not None and after.token == attempt.token and after.phase in IN_FLIGHT:
            if after.phase is Phase.RUNNING and attempt.sent is None:
                attempt.sent = event.entry.at if event.entry is not None else event.at
        elif event.entry is None:
            self._end(attempt, event.at, AWAY if status == IN_PROGRESS else status or DELETED)

    def renamed(self, was: str, bead: str) -> None:
        """Continue a running attempt under another ID."""
        attempt = self._open.pop(was, None)
        if attempt is not None:
            self._open[bead] = attempt

    def _entry(self, entry: LedgerEntry, before: Bead | None, assumed: bool) -> None:
        self.records.append(
            EntryRecord(
                bead=entry.bead,
                kind=entry.kind,
                at=entry.at,
                attempt=entry.attempt,
                rule=entry.rule,
                reason=entry.reason,
                assumed=assumed,
            )
        )
        if entry.kind is EntryKind.CLAIM:
            earlier = self._open.get(entry.bead)
            if earlier is not None:  # sent again: nothing came of the one before
                self._end(earlier, entry.at, EntryKind.RETRY.value)
            matched = (before.matched_at or before.since) if before is not None else entry.at
            cause = before.cause if before is not None else entry.cause
            self._add(
                Attempt(
                    bead=entry.bead,
                    rule=entry.rule,
                    number=entry.attempt,
                    token=entry.token,
                    claimed=entry.at,
                    matched=matched,
                    cause=cause,
                    assumed=assumed,
                )
            )
            return
        attempt = self._by_token.get(entry.token) if entry.token else None
        if attempt is None:
            return
        if entry.kind is EntryKind.DISPATCHED:
            attempt.sent = attempt.sent or entry.at
        elif entry.kind not in (EntryKind.UNKNOWN, EntryKind.OVERDUE, EntryKind.NOTE):
            self._end(attempt, entry.at, entry.kind.value)

    def _add(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        self._by_token[attempt.token] = self._open[attempt.bead] = attempt

    def _end(self, attempt: Attempt, at: datetime, how: str) -> None:
        if attempt.ended is None:
            attempt.ended, attempt.outcome = at, how
        if self._open.get(attempt.bead) is attempt:
            del self._open[attempt.bead]
