"""How a tick goes on after each step, and what it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from dolt_watch.controller.reap_table import ReapCandidate
from dolt_watch.core.decisions.policy import Plan
from dolt_watch.core.model import EntryKind, HoldReason
from dolt_watch.errors import Conflict


class Next(Enum):
    """How a tick goes on after a step that yields nothing else."""

    PROCEED = "proceed"
    """With the next step of this iteration."""
    AGAIN = "again"
    """With a new poll: this step wrote something, or what it read is out of date."""
    DONE = "done"
    """Nothing is left to do, or the executor writes nothing."""
    LEAVE = "leave"
    """The tick ends here: another writer has to finish first."""


class Wait(NamedTuple):
    """The tick waits, once, and goes on with a new poll."""

    seconds: float


class Conflicted(NamedTuple):
    """Another writer was first: the transaction was rolled back."""

    error: Conflict
    bead: str = ""
    """The bead of the decision; '' if the conflict was about none."""


class Iteration(NamedTuple):
    """What one iteration did."""

    next: Next | Wait | Conflicted
    plan: Plan | None = None
    """None if it ended before planning."""
    kinds: Sequence[EntryKind] = ()
    """Of the ledger entries that it wrote."""
    attempted: str = ""
    """The bead that this tick does not take again."""
    reap_table: Sequence[ReapCandidate] = ()
    target_down: bool = False
    """A target that a bead waits for cannot be reached."""
    halted: bool = False
    """A rule is stopped until a person acts."""
    lag: tuple[int, float] = (0, 0.0)
    """Commits that were not applied yet, and the age of the oldest of them in seconds."""


@dataclass
class TickResult:
    """What a tick did. ``exit_code`` as a CronJob should show it."""

    failed: int = 0
    """Attempts that failed, and 1 for rules that are stopped."""
    rounds: int = 0
    conflicts: int = 0
    down: bool = False
    holds: Mapping[str, HoldReason] = field(default_factory=dict)
    kinds: Counter[EntryKind] = field(default_factory=Counter)
    lag: tuple[int, float] = (0, 0.0)
    """Commits that the first round found unfolded, and the age of the oldest of them in seconds."""
    reap_table: Sequence[ReapCandidate] = ()
    """Where reaping is looked at: every running bead, as the last round saw it."""

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
    def succeeded(self) -> bool:
        """No dispatch failed, none's outcome is unknown, and the target is not down while beads
        wait. Idle, busy and paused are good.
        """
        return not (self.failed or self.unknown or self.down)

    @property
    def exit_code(self) -> int:
        return 0 if self.succeeded else 1

    def add(self, one: Iteration) -> None:
        """Add what an iteration did."""
        self.rounds += 1
        self.conflicts += isinstance(one.next, Conflicted)
        self.down |= one.target_down
        self.failed += one.halted
        if self.rounds == 1:
            self.lag = one.lag
        if one.plan is not None:
            self.holds, self.reap_table = one.plan.holds, one.reap_table
        for kind in one.kinds:
            self.count(kind)

    def count(self, kind: EntryKind) -> None:
        """Count a ledger entry of this kind."""
        self.kinds[kind] += 1
        self.failed += kind in FAILURES


FAILURES = frozenset(
    {
        EntryKind.FAILED,
        EntryKind.QUARANTINED,
        EntryKind.STOPPED,
        EntryKind.RETRY,
        EntryKind.GIVE_UP,
    }
)
"""Entries that say that an attempt came to nothing."""
