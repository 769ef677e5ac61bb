"""What a round hands on: what it stands on, who acts on its plan, what came of it, and how
people are told.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from dolt_watch.controller.reap_table import ReapCandidate
from dolt_watch.core.model import (
    EntryKind,
    HoldReason,
)

logger = logging.getLogger(__name__)


REAPS = frozenset({EntryKind.REAP, EntryKind.REQUEUE})
FAILURES = frozenset(
    {
        EntryKind.FAILED,
        EntryKind.QUARANTINED,
        EntryKind.STOPPED,
        EntryKind.RETRY,
        EntryKind.GIVE_UP,
    }
)
UNKNOWNS = frozenset({EntryKind.UNKNOWN, EntryKind.OVERDUE})


@dataclass
class TickResult:
    """What a tick did. ``exit_code`` as a CronJob should show it."""

    rounds: int = 0
    conflicts: int = 0
    down: bool = False
    holds: Mapping[str, HoldReason] = field(default_factory=dict)
    kinds: Counter[EntryKind] = field(default_factory=Counter)
    """The entries that the tick recorded, by their kind."""
    stopped_rules: int = 0
    """Rules with waiting beads whose target refused its credential: nothing is claimed for them."""
    lag: tuple[int, float] = (0, 0.0)
    """Commits that the first round found unfolded, and the age of the oldest of them in seconds."""
    reap_table: list[ReapCandidate] = field(default_factory=list)
    """Where reaping is looked at: every running bead, as the last round saw it."""

    @property
    def dispatched(self) -> int:
        return self.kinds[EntryKind.DISPATCHED]

    @property
    def reaped(self) -> int:
        return self._total(REAPS)

    @property
    def failed(self) -> int:
        """Attempts that failed for certain, and stopped rules."""
        return self._total(FAILURES) + self.stopped_rules

    @property
    def unknown(self) -> int:
        return self._total(UNKNOWNS)

    @property
    def succeeded(self) -> bool:
        """No dispatch failed, none's outcome is unknown, and the target is not down while beads
        wait. Idle, busy and paused are good.
        """
        return not (self.failed or self.unknown or self.down)

    @property
    def exit_code(self) -> int:
        return 0 if self.succeeded else 1

    def add_conflict(self) -> None:
        self.conflicts += 1

    def count(self, kind: EntryKind) -> None:
        self.kinds[kind] += 1

    def _total(self, kinds: frozenset[EntryKind]) -> int:
        return sum(self.kinds[kind] for kind in kinds)
