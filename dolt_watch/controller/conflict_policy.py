"""The reaction of a tick to conflicts with other writers."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from enum import Enum

from dolt_watch.checkpoint.poll import Poller, PollResult
from dolt_watch.controller.tick_result import Conflicted
from dolt_watch.errors import Conflict
from dolt_watch.log_events import LogEvent, log_condition

logger = logging.getLogger(__name__)

MAX_CONFLICTS = 40
"""Number of consecutive lost races after which a tick leaves the rest to the other workers."""

CONFLICTS_BEFORE_CHECK = 5
"""Number of consecutive conflicts after which a tick checks whether another worker committed.

If none did, the bead is skipped and the tick ends with an error.
"""

MAX_BACKOFF_SECONDS = 0.5
"""Longest wait in seconds of a worker that lost a race. Its iteration may have been long because a
target answered slowly.
"""


class Reaction(Enum):
    """The next step of a tick after a conflict."""

    RETRY = "retry"
    SKIP_BEAD = "skip bead"
    GIVE_UP = "give up"


@dataclass(eq=False, repr=False)
class ConflictPolicy:
    """Counts the conflicts of one tick, and keeps the beads about which nothing can be written."""

    _poller: Poller
    _in_a_row: int = 0
    _last: int = 0
    """Number of the last iteration that had a conflict."""
    stuck: dict[str, Conflict] = field(default_factory=dict)
    """Bead → the last conflict about it during which no other writer committed."""

    def on_conflict(self, conflicted: Conflicted, poll: PollResult, iteration: int) -> Reaction:
        """Return the reaction to a conflict.

        Args:
            conflicted: The conflict.
            poll: The poll of the iteration.
            iteration: The number of the iteration, from 1.

        Raises:
            Conflict: The conflict is about no bead, and no other writer committed.
        """
        self._in_a_row = self._in_a_row + 1 if iteration == self._last + 1 else 1
        self._last = iteration
        error, bead = conflicted
        if self._in_a_row % CONFLICTS_BEFORE_CHECK == 0 and not self._others_wrote(poll):
            if not bead:
                raise _no_way(error) from error
            self.stuck[bead], self._in_a_row = error, 0
            return Reaction.SKIP_BEAD
        if self._in_a_row <= MAX_CONFLICTS:
            return Reaction.RETRY
        words = (
            f"other workers committed first {MAX_CONFLICTS} times in a row; they"
            " continue with the remaining beads"
        )
        log_condition(logger, logging.INFO, words, LogEvent.OVERTAKEN)
        return Reaction.GIVE_UP

    def backoff(self, seconds: float) -> float:
        """Return the wait in seconds before the next try. ``seconds`` is the duration of this try.

        The wait is random, because workers that lost the same race and retried at the same time
        would conflict again.
        """
        # The import takes 1 ms, which a tick without conflicts must not spend.
        from random import uniform

        return uniform(0, min(seconds * 2 ** min(self._in_a_row, 3), MAX_BACKOFF_SECONDS))

    def raise_stuck(self) -> None:
        """Raise Conflict for the first bead about which nothing could be written."""
        for bead, error in self.stuck.items():
            raise _no_way(error, bead) from error

    def _others_wrote(self, poll: PollResult) -> bool:
        now = self._poller.poll()
        return (now.head, now.fence) != (poll.head, poll.fence)


def _no_way(error: Conflict, bead: str = "") -> Conflict:
    where = f" to {bead}" if bead else ""
    return Conflict(
        f"Could not write{where} in {CONFLICTS_BEFORE_CHECK} tries, and no other worker committed:"
        f" {error.message}",
        fix="Run the command again.",
    )
