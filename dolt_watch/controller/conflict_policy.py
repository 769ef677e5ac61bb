"""What a tick does about conflicts with other writers."""

from __future__ import annotations

import logging
from enum import Enum

from dolt_watch.checkpoint.poll import Poller, PollResult
from dolt_watch.controller.tick_result import Conflicted
from dolt_watch.errors import Conflict
from dolt_watch.log_events import LogEvent, log_condition

logger = logging.getLogger(__name__)

MAX_CONFLICTS = 40
"""Conflicts in a row, each since somebody else got ahead, before a tick leaves the rest to them."""

CONFLICTS_BEFORE_CHECK = 5
"""Conflicts in a row before a tick asks whether anything moved.

Where nothing did, it is this bead: the others go on, and the tick fails.
"""

MAX_BACKOFF_SECONDS = 0.5
"""Seconds that a worker which lost a race waits at most: a round may have been long because a
target was slow to answer.
"""


class Reaction(Enum):
    """How a tick goes on after a conflict."""

    RETRY = "retry"
    SKIP_BEAD = "skip bead"
    GIVE_UP = "give up"


class ConflictPolicy:
    """Counts the conflicts of one tick, and keeps the beads about which nothing can be written."""

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._in_a_row = 0
        self.stuck: dict[str, Conflict] = {}
        """Bead → the last conflict about it, while no other writer did anything."""

    def on_success(self) -> None:
        """An iteration ended without a conflict."""
        self._in_a_row = 0

    def on_conflict(self, conflicted: Conflicted, poll: PollResult) -> Reaction:
        """``poll``: what the iteration was based on. Raises Conflict: it is about no bead, and no
        other writer did anything.
        """
        self._in_a_row += 1
        error, bead = conflicted
        if self._in_a_row % CONFLICTS_BEFORE_CHECK == 0 and not self._others_wrote(poll):
            if not bead:
                raise _no_way(error) from error
            self.stuck[bead], self._in_a_row = error, 0
            return Reaction.SKIP_BEAD
        if self._in_a_row <= MAX_CONFLICTS:
            return Reaction.RETRY
        words = f"others got ahead {MAX_CONFLICTS} times in a row — leaving the rest to them"
        log_condition(logger, logging.INFO, words, LogEvent.OVERTAKEN)
        return Reaction.GIVE_UP

    def backoff(self, seconds: float) -> float:
        """Return how long to wait before the next try. ``seconds``: what this one took.

        The other worker's round takes about as long as this one did: several workers that try
        again at once would only lose to one another.
        """
        from random import uniform  # 1 ms of every tick that meets nobody

        return uniform(0, min(seconds * 2 ** min(self._in_a_row, 3), MAX_BACKOFF_SECONDS))

    def raise_if_stuck(self) -> None:
        """Raises Conflict for the first bead about which nothing could be written."""
        for bead, error in self.stuck.items():
            raise _no_way(error, bead) from error

    def _others_wrote(self, poll: PollResult) -> bool:
        now = self._poller.poll()
        return (now.head, now.fence) != (poll.head, poll.fence)


def _no_way(error: Conflict, bead: str = "") -> Conflict:
    where = f" to {bead}" if bead else ""
    return Conflict(
        f"no way through{where} in {CONFLICTS_BEFORE_CHECK} tries, though nobody got ahead:"
        f" {error.message}",
        fix="run it again",
    )
