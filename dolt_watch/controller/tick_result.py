"""The continuation of a tick after each step, and its result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from dolt_watch.core.model import EntryKind, HoldReason
from dolt_watch.errors import Conflict

if TYPE_CHECKING:
    from dolt_watch.controller.reap_table import ReapCandidate
    from dolt_watch.core.decisions.policy import Plan


class Next(Enum):
    """The continuation of a tick after a step without another result."""

    PROCEED = "proceed"
    """Continue with the next step of this iteration."""
    AGAIN = "again"
    """Continue with a new poll: this step wrote an entry, or its input is out of date."""
    DONE = "done"
    """No decision is left, or the executor writes nothing."""
    LEAVE = "leave"
    """End the tick, because another writer must finish first."""


class Wait(NamedTuple):
    """The tick waits, once, and continues with a new poll."""

    seconds: float


class Conflicted(NamedTuple):
    """Another writer was first, and the transaction was rolled back."""

    error: Conflict
    bead: str = ""
    """The bead of the decision. '' if the conflict was about no bead."""


class Iteration(NamedTuple):
    """The result of one iteration."""

    next: Next | Wait | Conflicted
    plan: Plan | None = None
    """None if the iteration ended before planning."""
    kinds: Sequence[EntryKind] = ()
    """Kinds of the ledger entries that it wrote."""
    attempted: str = ""
    """The bead that this tick doesn't attempt again."""
    reap_table: Sequence[ReapCandidate] = ()
    target_down: bool = False
    """A target that a bead waits for can't be reached."""
    halted: bool = False
    """A rule is stopped until a user acts."""
    lag: tuple[int, float] = (0, 0.0)
    """Commits that were not applied yet, and the age of the oldest of them in seconds."""


@dataclass
class TickResult:
    """The result of a tick, with the ``exit_code`` for a CronJob."""

    failed: int = 0
    """Failed attempts, and 1 for stopped rules."""
    rounds: int = 0
    conflicts: int = 0
    down: bool = False
    holds: Mapping[str, HoldReason] = field(default_factory=dict)
    kinds: Counter[EntryKind] = field(default_factory=Counter)
    lag: tuple[int, float] = (0, 0.0)
    """Commits that the first iteration applied, and the age of the oldest of them in seconds."""
    reap_table: Sequence[ReapCandidate] = ()
    """If reaping is in scope: every running bead after the last iteration."""

    @property
    def dispatched(self) -> int:
        return self.kinds[EntryKind.DISPATCHED]

    @property
    def reaped(self) -> int:
        return self.kinds[EntryKind.REAP] + self.kinds[EntryKind.REQUEUE]

    @property
    def unknown(self) -> int:
        return self.kinds[EntryKind.UNKNOWN] + self.kinds[EntryKind.OVERDUE]

    @property
    def exit_code(self) -> int:
        """Return 0 if no dispatch failed, no outcome is unknown, and no target of waiting beads is
        down, else 1.

        Idle, busy and paused ticks succeed.
        """
        unknown = self.kinds.keys() & UNKNOWN_OUTCOMES
        return int(bool(self.failed or unknown or self.down))

    def add(self, one: Iteration) -> None:
        """Add the result of an iteration."""
        self.rounds += 1
        self.conflicts += isinstance(one.next, Conflicted)
        self.down |= one.target_down
        self.failed += one.halted
        if self.rounds == 1:
            self.lag = one.lag
        if one.plan is not None:
            self.holds, self.reap_table = one.plan.holds, one.reap_table
        self.kinds.update(one.kinds)
        self.failed += sum(kind in FAILURES for kind in one.kinds)


UNKNOWN_OUTCOMES = frozenset({EntryKind.UNKNOWN, EntryKind.OVERDUE})
"""Kinds of entries about attempts of unknown outcome."""

FAILURES = frozenset(
    {
        EntryKind.FAILED,
        EntryKind.QUARANTINED,
        EntryKind.STOPPED,
        EntryKind.RETRY,
        EntryKind.GIVE_UP,
    }
)
"""Kinds of entries about failed attempts."""
