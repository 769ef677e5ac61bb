"""Records that describe one bead: its phase, its match, and its last sign of life.

All records of this package are ``NamedTuple``: creating such a class takes a sixth of the time of a
frozen dataclass, and every tick imports them. Modules of records omit ``from __future__ import
annotations``, because ``NamedTuple`` compiles each annotation that is text, which doubles the time.

Reading order: ``RowChange`` (change feed) → ``Event`` (derive) → ``Bead`` (apply) → ``Decision``
(plan) → ``LedgerEntry`` (ledger).
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from dolt_watch.core.model.reason_codes import ReasonCode

EMPTY: Mapping[str, Any] = MappingProxyType({})

OPEN, IN_PROGRESS, BLOCKED, CLOSED = "open", "in_progress", "blocked", "closed"
"""The values of bd's column ``status``."""


class Phase(StrEnum):
    """The phase of a bead (docs/concepts.md). A bead without a phase has no record in the state."""

    WAITING = "waiting"
    """Matches its rule. Ends with a claim, or when the bead no longer matches."""
    CLAIMED = "claimed"
    """The claim is in history. No answer of the target is recorded yet."""
    UNKNOWN = "unknown"
    """A request may have reached the target. No answer says whether an agent runs."""
    RUNNING = "running"
    """Dispatched by dolt_watch, or in progress by a user's own dispatch."""
    BACKOFF = "backoff"
    """The attempt failed. The bead may be tried again at a recorded time."""
    QUARANTINED = "quarantined"
    """Failed too often, or refused permanently. A user's edit makes it due again."""
    HELD = "held"
    """Matches, but the outcome of an earlier attempt is lost with its history. A user must resume
    it.
    """


IN_FLIGHT = frozenset({Phase.CLAIMED, Phase.UNKNOWN, Phase.RUNNING})
"""Phases that occupy a slot of ``max_in_flight``, if the attempt has a token."""


UNKNOWN_WRITER = "an unknown writer"
"""``ActivitySignal.who`` of a change whose writer history doesn't name."""


class ActivitySignal(NamedTuple):
    """A sign of life: when, what ('comment', 'notes', 'status' …), by whom, in which commit."""

    at: datetime
    """The commit's date, by the server's clock. Decisions use the same clock."""
    what: str
    who: str
    commit: str
    off: int = 0
    """Seconds from the commit's date to the row's own time. Not 0 if the row was uncommitted for a
    while, or if a clock is wrong.
    """


class RuleMatch(NamedTuple):
    """The rules that a bead's row matches and runs under after a commit. '' and () mean none."""

    matches: str = ""
    running: tuple[str, ...] = ()
    """All rules under which the row is in progress, in the order of the settings. An attempt
    continues while its rule is one of them.
    """
    rank: tuple[Any, ...] = ()

    @property
    def runs(self) -> str:
        """Return the rule that watches a bead in progress without an attempt of another rule."""
        return self.running[0] if self.running else ""


# -- the projection --------------------


class Bead(NamedTuple):
    """The state of one bead that waits, runs or is held: all that a decision needs to know about
    it.
    """

    id: str
    phase: Phase
    rule: str
    since: datetime
    """Start of the phase."""
    cause: str
    """The commit that started the phase."""
    matches: bool = False
    """Whether the rule's ``when`` is true for the row in history."""
    runs: bool = False
    """Whether the row in history is in progress under the rule."""
    rank: tuple[Any, ...] = ()
    matched_at: datetime | None = None
    """Date of the commit since which the bead matches, unchanged. ``settle`` counts from it."""
    version: int = 0
    """The last applied version of the bead's stream."""
    attempt: int = 0
    """Number of attempts since the bead matched, or since a user's edit."""
    token: str = ""
    job: str = ""
    sent_at: datetime | None = None
    """When the current attempt was claimed, or when a user started it."""
    deadline: datetime | None = None
    retry_at: datetime | None = None
    reason: str = ""
    sign: ActivitySignal | None = None
    lost_note: str = ""
    """Notes of dolt_watch that another writer overwrote and that are not appended again yet, one a
    line.
    """
    outage: str = ""
    """Phase UNKNOWN: the target that could not be reached when the bead was sent. '' if the outcome
    is unknown for another reason.
    """
    was: str = ""
    """The id under which the attempts of a renamed bead began.

    ``version`` is 0 until an entry in the new id's stream records the rename.
    """
    unclear: str = ""
    """A ``ReasonCode``: why the attempt is held after its request is answered. The row was freed,
    and history doesn't show that a user freed it.
    """
    unwritten: str = ""
    """The status that an outcome entry could not set, because bd's migration was not committed.
    'note' if only the note is missing, '' for none.
    """
    reason_code: ReasonCode | None = None
    """The code of ``reason``, if an entry set the reason."""
    reverted: bool = False
    """The row returned to its values before the claim while the attempt is under way, because bd
    imported an old row. The attempt is written again.
    """
