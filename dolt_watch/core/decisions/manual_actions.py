"""What a person's ``retry`` or ``release`` of one bead comes to. Pure.

Either is an entry of the ledger like any decision. The person's word is the evidence that a
release or a second attempt rests on, so the entry carries their name.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from dolt_watch.core.model import (
    BLOCKED,
    CLOSED,
    IN_FLIGHT,
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
"""Nothing runs, and the bead waits for a person or for time."""
BLOCKED_BY_US = frozenset({EntryKind.REAP, EntryKind.GIVE_UP, EntryKind.MANUAL_STOP})


class Refusal(NamedTuple):
    """It cannot be done to this bead now."""

    why: str
    fix: str


class NothingToDo(NamedTuple):
    """There is nothing to do."""

    why: str


class Found(NamedTuple):
    """One bead, as history has it."""

    id: str
    bead: Bead | None
    """Its state; None where it has none."""
    status: str | None
    """Of its row; None where it has none."""
    last: LedgerEntry | None
    """The last entry of its stream."""
    head: str
    now: datetime

    @property
    def blocked_by_us(self) -> bool:
        """The reaper or an outcome that stayed unknown blocked it, and nobody changed that."""
        last = self.last.kind if self.last is not None else None
        return self.bead is None and self.status == BLOCKED and last in BLOCKED_BY_US

    @property
    def under_way(self) -> bool:
        """An attempt of ours holds a slot."""
        return self.bead is not None and bool(self.bead.token) and self.bead.phase in IN_FLIGHT


Answer = Decision | Refusal | NothingToDo


def retry(found: Found, by: str, reason: str, not_running: bool) -> Answer:
    """Due again now. ``not_running``: the person says that no agent has it."""
    bead, name = found.bead, found.id
    if bead is None:
        return _retry_stateless(found, by, reason)
    if bead.phase is Phase.WAITING:
        return NothingToDo(f"{name} waits already")
    if bead.phase in RETRIED:
        return _decision(EntryKind.MANUAL_RETRY, found, by, reason)
    if not bead.token:
        return Refusal(
            f"{name} is in progress, and not by a dispatch of dolt_watch",
            f"once nobody works on it: bd update {name} --status open",
        )
    if sending := _sending(found):
        return sending
    if not not_running:
        what = f"job {bead.job}" if bead.job else "an agent"
        return Refusal(
            f"{name} is {bead.phase.value}: {what} may be at work on it, and a retry starts a"
            " second one",
            f"once you know that none is: dolt_watch retry {name} --not-running",
        )
    return _decision(EntryKind.MANUAL_RETRY, found, by, reason, OPEN)


def _retry_stateless(found: Found, by: str, reason: str) -> Answer:
    name = found.id
    if found.blocked_by_us:
        return _decision(EntryKind.MANUAL_RETRY, found, by, reason, OPEN)
    if found.status is None:
        return Refusal(f"{name} was deleted", f"dolt_watch why {name}")
    if found.status == BLOCKED:
        return Refusal(f"{name} was blocked by somebody else", f"bd update {name} --status open")
    if found.status == CLOSED:
        return Refusal(f"{name} is closed", f"bd reopen {name}")
    return Refusal(f"{name} matches no rule", f"dolt_watch why {name}")


def release(found: Found, by: str, reason: str) -> Answer:
    """The attempt is a person's from here on, and its slot is free."""
    bead, name = found.bead, found.id
    if bead is None:
        return NothingToDo(f"{name} is not with dolt_watch")
    if bead.phase is Phase.RUNNING and not bead.token:
        return NothingToDo(f"{name} is a person's own already")
    if not found.under_way:
        return Refusal(
            f"{name} is {bead.phase.value}: it holds no slot",
            f"to take it out of its rule, give it to somebody: bd update {name} --assignee NAME",
        )
    if sending := _sending(found):
        return sending
    if found.status == OPEN:
        return Refusal(
            f"the row of {name} went back to open while its attempt is under way",
            "dolt_watch tick   (writes it again), then release it",
        )
    return _decision(EntryKind.MANUAL_RELEASE, found, by, reason)


def stop(found: Found, by: str, reason: str) -> Answer:
    """Return what ending the run of a bead comes to: the bead is blocked."""
    bead, name = found.bead, found.id
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
    """Its worker may be sending it right now."""
    bead = found.bead
    if bead is None or bead.phase is not Phase.CLAIMED or bead.deadline is None:
        return None
    if bead.deadline <= found.now:
        return None
    at = iso(bead.deadline)
    why = f"{found.id} is claimed: until {at} its worker may be sending it"
    return Refusal(why, "try again after that")


VERBS = {
    EntryKind.MANUAL_RETRY: "retried",
    EntryKind.MANUAL_RELEASE: "released",
    EntryKind.MANUAL_STOP: "stopped",
}


def _decision(kind: EntryKind, found: Found, by: str, reason: str, status: str = "") -> Decision:
    bead, last = found.bead, found.last
    was = bead.phase.value if bead is not None else BLOCKED
    attempt, rule, token, job, cause = 0, "", "", "", found.head
    if bead is not None:
        attempt, rule, token, job, cause = (
            bead.attempt,
            bead.rule,
            bead.token,
            bead.job,
            bead.cause,
        )
    else:
        assert last is not None  # we blocked it, and its last entry says so
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
