"""The words of dolt_watch, as types. Nothing here does I/O; everything else speaks in these.

Records are ``NamedTuple``: a class of them costs a sixth of a frozen dataclass to make, and a
tick makes them all anew. And no postponed annotations here: NamedTuple would compile each of
them again.

Reading order of one bead: ``RowChange`` (feed) → ``Event`` (derive) → ``Bead`` (fold) →
``Decision`` (decide) → ``Entry`` (ledger).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from dolt_watch.core.model.reason_codes import ReasonCode

EMPTY: Mapping[str, Any] = MappingProxyType({})

OPEN, IN_PROGRESS, BLOCKED, CLOSED = "open", "in_progress", "blocked", "closed"
"""beads' own status words."""


class Phase(StrEnum):
    """Where a bead stands with us. A bead in no phase has no state."""

    WAITING = "waiting"
    """Matches its rule; leaves by a claim, or when it stops matching."""
    CLAIMED = "claimed"
    """Our claim is in history; nothing is known to be sent."""
    UNKNOWN = "unknown"
    """Something may have been sent; nobody knows whether it runs."""
    RUNNING = "running"
    """Dispatched by us, or in progress by a person's own dispatch."""
    BACKOFF = "backoff"
    """Failed; may be tried again at a time."""
    QUARANTINED = "quarantined"
    """Failed too often, or refused for good; a person's edit re-arms it."""
    HELD = "held"
    """Matches, but what became of earlier attempts was lost with its history: a person must
    resume it.
    """


IN_FLIGHT = frozenset({Phase.CLAIMED, Phase.UNKNOWN, Phase.RUNNING})
"""Phases that hold a slot of ``max_in_flight``, where the attempt is ours (has a token)."""


class ActivitySignal(NamedTuple):
    """A sign of life: when, what ('comment', 'notes', 'status' …), by whom, in which commit."""

    at: datetime
    """When history got it: the commit's date, by the server's clock, which is also the one that
    is decided by.
    """
    what: str
    who: str
    commit: str
    off: int = 0
    """Seconds by which the row's own time differs from that: it may have lain uncommitted, or a
    clock is wrong.
    """


class RuleMatch(NamedTuple):
    """How the bead's row stands after the commit: under which rule it matches and runs ('' for
    none).
    """

    matches: str = ""
    running: tuple[str, ...] = ()
    """All rules that it is in progress under, in the file's order: an attempt goes on for as
    long as its own is among them.
    """
    rank: tuple[Any, ...] = ()

    @property
    def runs(self) -> str:
        """The rule that watches it, where it is no attempt of another."""
        return self.running[0] if self.running else ""


# -- the projection --------------------


class Bead(NamedTuple):
    """The state of one bead that waits, runs, or is held: all that deciding needs to know of it."""

    id: str
    phase: Phase
    rule: str
    since: datetime
    """When the phase began."""
    cause: str
    """The commit that made it so."""
    matches: bool = False
    """Does the rule's ``when`` hold for the row as history has it?"""
    runs: bool = False
    """Is it in progress under the rule, as history has it?"""
    rank: tuple[Any, ...] = ()
    matched_at: datetime | None = None
    """Date of the commit since which it matches, unchanged: ``settle`` is reckoned from it."""
    version: int = 0
    """The last version of its stream that was folded."""
    attempt: int = 0
    """Attempts since it matched, or was re-armed."""
    token: str = ""
    job: str = ""
    sent_at: datetime | None = None
    """When its current attempt was claimed, or a person started it."""
    deadline: datetime | None = None
    retry_at: datetime | None = None
    reason: str = ""
    sign: ActivitySignal | None = None
    lost_note: str = ""
    """Notes of ours, a line each, that somebody overwrote and that were not yet appended again."""
    outage: str = ""
    """UNKNOWN: the target that could not be reached when it was sent; '' where that is not why."""
    was: str = ""
    """The id under which its attempts began, where it was renamed since.

    ``version`` is 0 until the new id's stream says so.
    """
    unclear: str = ""
    """A ``ReasonCode``: why the attempt is held once its request is answered: its row was freed,
    and history does not say that somebody meant it.
    """
    unwritten: str = ""
    """Status that a report could not set, because bd's migration was not committed; 'note' where
    only its note is missing; '' for none.
    """
    reason_code: ReasonCode | None = None
    """The code of ``reason``, if an entry gave that."""
    reverted: bool = False
    """Its row went back to what it was before our claim, while the attempt is under way: bd
    imports old rows. It is written again.
    """
