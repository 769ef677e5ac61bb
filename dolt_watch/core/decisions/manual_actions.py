"""The decisions for a user's ``retry``, ``release`` or ``stop`` of one bead. Pure.

Each is an entry of the ledger, like any decision. The user's statement is the evidence for a
release or a second attempt, so the entry contains the user's name.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from dolt_watch.core.model import (
    BLOCKED,
    CLOSED,
    IN_FLIGHT,
    MAY_BE_RUNNING,
    OPEN,
    Bead,
    Decision,
    EntryKind,
    LedgerEntry,
    Phase,
    entry_payloads,
)
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.timestamps import iso

RETRIED = frozenset({Phase.QUARANTINED, Phase.HELD, Phase.BACKOFF})
"""Phases in which nothing runs, and the bead waits for a user or for a time."""
BLOCKED_BY_US = frozenset({EntryKind.REAP, EntryKind.GIVE_UP, EntryKind.MANUAL_STOP})


class Refusal(NamedTuple):
    """The action is not possible for this bead now."""

    why: str
    fix: str


class NothingToDo(NamedTuple):
    """The bead is already in the requested state."""

    why: str


class Found(NamedTuple):
    """One bead in history."""

    id: str
    bead: Bead | None
    """Its state. None if it has none."""
    status: str | None
    """The status of its row. None if it has no row."""
    last: LedgerEntry | None
    """The last entry of its stream."""
    head: str
    now: datetime

    @property
    def blocked_by_us(self) -> bool:
        """Return whether dolt_watch blocked the bead, and no writer changed that since."""
        return self.bead is None and self.status == BLOCKED and blocks(self.last)

    @property
    def under_way(self) -> bool:
        """Return whether an attempt of dolt_watch occupies a slot."""
        return self.bead is not None and bool(self.bead.token) and self.bead.phase in IN_FLIGHT

    @property
    def left_with_run(self) -> bool:
        """Return whether the bead left its rule while its last run was not known to have ended."""
        last, bead = self.last, self.bead
        return (
            self.status is not None
            and last is not None
            and last.kind in MAY_BE_RUNNING
            and (bead is None or not bead.token)
        )


def blocks(entry: LedgerEntry | None) -> bool:
    """Return whether the entry blocked its bead.

    A run that is stopped after its bead left the rule leaves the row's status unchanged.
    """
    if entry is None or entry.kind not in BLOCKED_BY_US:
        return False
    return entry.kind is not EntryKind.MANUAL_STOP or "status" in entry.wrote.cells


Answer = Decision | Refusal | NothingToDo


def retry(found: Found, by: str, reason: str, not_running: bool) -> Answer:
    """Return the decision that makes the bead due now.

    ``not_running``: the user confirms that no agent works on the bead.
    """
    bead, name = found.bead, found.id
    if bead is None:
        return _retry_stateless(found, by, reason)
    if bead.phase is Phase.WAITING:
        return NothingToDo(f"{name} is already waiting")
    if bead.phase in RETRIED:
        return _decision(EntryKind.MANUAL_RETRY, found, by, reason)
    if not bead.token:
        return Refusal(
            f"{name} is in progress, but dolt_watch did not dispatch it.",
            f"If no agent works on it, run `bd update {name} --status open`.",
        )
    if sending := _sending(found):
        return sending
    if not not_running:
        what = f"job {bead.job}" if bead.job else "an agent"
        return Refusal(
            f"{name} is {bead.phase.value}: {what} may be working on it, and a retry would start a"
            " second agent.",
            f"When you know that none is, run `dolt_watch retry {name} --not-running`.",
        )
    return _decision(EntryKind.MANUAL_RETRY, found, by, reason, OPEN)


def _retry_stateless(found: Found, by: str, reason: str) -> Answer:
    name = found.id
    if found.blocked_by_us:
        return _decision(EntryKind.MANUAL_RETRY, found, by, reason, OPEN)
    if found.status is None:
        return Refusal(f"{name} was deleted.", f"`dolt_watch why {name}`")
    if found.status == BLOCKED:
        return Refusal(
            f"{name} was not blocked by dolt_watch.", f"`bd update {name} --status open`"
        )
    if found.status == CLOSED:
        return Refusal(f"{name} is closed.", f"`bd reopen {name}`")
    return Refusal(f"{name} matches no rule.", f"`dolt_watch why {name}`")


def release(found: Found, by: str, reason: str) -> Answer:
    """Return the decision that hands the attempt over to the user and frees its slot."""
    bead, name = found.bead, found.id
    if bead is None:
        return NothingToDo(f"{name} is not tracked by dolt_watch")
    if bead.phase is Phase.RUNNING and not bead.token:
        return NothingToDo(f"{name} is already a user's own work")
    if not found.under_way:
        return Refusal(
            f"{name} is {bead.phase.value} and occupies no slot.",
            f"To remove it from its rule, assign it to a user: `bd update {name} --assignee NAME`",
        )
    if sending := _sending(found):
        return sending
    if found.status == OPEN:
        return Refusal(
            f"The row of {name} was set to open while its attempt is under way.",
            f"Run `dolt_watch tick`, then `dolt_watch release {name}`.",
        )
    return _decision(EntryKind.MANUAL_RELEASE, found, by, reason)


def stop(found: Found, by: str, reason: str) -> Answer:
    """Return the decision that ends the run of a bead and blocks the bead.

    If a user took the bead out of its rule, for example closed it, its row stays as it is.
    """
    bead, name = found.bead, found.id
    if found.left_with_run:
        return _decision(EntryKind.MANUAL_STOP, found, by, reason)
    if (
        bead is None
        or not bead.token
        or bead.phase not in (Phase.CLAIMED, Phase.RUNNING, Phase.UNKNOWN)
    ):
        return NothingToDo(f"{name} has no attempt under way")
    if sending := _sending(found):
        return sending
    if found.status == OPEN:
        return Refusal(
            f"The row of {name} was set to open while its attempt is under way.",
            f"Run `dolt_watch tick`, then `dolt_watch stop {name}`.",
        )
    return _decision(EntryKind.MANUAL_STOP, found, by, reason, BLOCKED)


def _sending(found: Found) -> Refusal | None:
    """Return the refusal while the bead's worker may be sending it."""
    bead = found.bead
    if bead is None or bead.phase is not Phase.CLAIMED or bead.deadline is None:
        return None
    if bead.deadline <= found.now:
        return None
    at = iso(bead.deadline)
    why = f"{found.id} is claimed. Its worker may be sending it until {at}."
    return Refusal(why, "Try again after that time.")


VERBS = {
    EntryKind.MANUAL_RETRY: "retried",
    EntryKind.MANUAL_RELEASE: "released",
    EntryKind.MANUAL_STOP: "stopped",
}


def _decision(kind: EntryKind, found: Found, by: str, reason: str, status: str = "") -> Decision:
    bead, last = found.bead, found.last
    was = bead.phase.value if bead is not None else str(found.status)
    token, job, cause = "", "", found.head
    if kind is EntryKind.MANUAL_STOP and found.left_with_run:
        assert last is not None
        attempt, rule, token, job = last.attempt, last.rule, last.token, last.job
    elif bead is not None:
        attempt, rule, token, job, cause = (
            bead.attempt,
            bead.rule,
            bead.token,
            bead.job,
            bead.cause,
        )
    else:
        assert last is not None  # dolt_watch blocked the bead, so its stream has a last entry.
        attempt, rule = last.attempt, last.rule
    return Decision(
        kind=kind,
        bead=found.id,
        rule=rule,
        attempt=attempt,
        cause=cause,
        token=token,
        job=job,
        reason=reason,
        reason_code=ReasonCode.REQUESTED,
        note=f"dispatch {VERBS[kind]} by {by}: {reason}",
        status=status,
        detail=entry_payloads.ByHand(by, was, found.status).encode(),
    )
