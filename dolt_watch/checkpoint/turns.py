"""Turns: workers that compete on one server wait for each other instead of conflicting.

A worker that lost a race, or that finds that another worker decided after it, takes a lock of the
server before it polls. A turn lasts for several decisions. At its end, the worker saves the state,
and the next one reads it, because applying the commits of all others takes longer. The lock only
saves work. The fence and the key (bead_id, version) guarantee exclusion, so a worker that can't get
the lock, or that loses it, continues without it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from dolt_watch.engines import Engine

WAIT_SECONDS = 20.0
"""Longest wait in seconds for a turn, enough for eight workers on a machine that is so busy that a
decision takes a second. After it, a worker decides without a turn until it loses a race again, so a
worker that is stopped in its turn delays each other worker once.
"""

TURN_SECONDS = 1.0
"""Seconds after which a turn ends with the decision that is under way."""

MANY_WRITES = 4
"""Entries of a tick after which a worker has a backlog: two dispatches."""

QUICK_ANSWER_SECONDS = 0.05
"""A target that answered faster is asked within the turn. Others decide while a target is slow."""

QUICK_SECONDS = 0.005
"""A turn that comes faster was waited for by no other worker. About twice the time of the lock."""


class Turns:
    """The turns of one worker. It takes none until another worker is in its way."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.are_taken = False
        """Whether this worker takes turns with others."""
        self._held = self._waited = self._used = False
        self._fence = ""
        """The fence as this worker changed it last in this tick. '' if it didn't."""
        self._writes = 0
        """Number of entries that this worker wrote in this tick."""
        self._begun = 0.0
        """Start of the turn, in seconds of the monotonic clock."""
        self._answer_seconds = QUICK_ANSWER_SECONDS
        """Time that the target took for its last answer."""

    def on_conflict(self) -> None:
        """Note that another worker committed first."""
        self.are_taken = self._waited = True

    def on_write(self, fence: str) -> None:
        """Note the fence that this worker wrote.

        A worker that always wins sees no sign of the others, so one with a backlog takes turns too.
        """
        self._fence = fence
        self._used = self._held
        self._writes += 1
        self.are_taken = self.are_taken or self._writes >= MANY_WRITES

    def on_poll(self, fence: str) -> None:
        """Note the fence that a poll found. Another value shows that another worker decided."""
        if self._fence and fence != self._fence:
            self.on_conflict()

    def begin(self) -> bool:
        """Wait for this worker's turn, if it takes turns. Return whether it has one."""
        if self.are_taken and not self._held:
            begun = time.monotonic()
            self._held = self._engine.take_turn(WAIT_SECONDS)
            self.are_taken, self._used = self._held, False
            self._begun = time.monotonic()
            self._waited = self._waited or self._begun - begun > QUICK_SECONDS
        return self._held

    @property
    def is_over(self) -> bool:
        """Whether this worker has a turn that lasted long enough, and decided in it."""
        return self._held and self._used and time.monotonic() - self._begun >= TURN_SECONDS

    @contextmanager
    def request(self) -> Iterator[None]:
        """Let other workers decide during a request, unless the last was answered at once."""
        if self._answer_seconds >= QUICK_ANSWER_SECONDS:
            self.end()
        begun = time.monotonic()
        try:
            yield
        finally:
            self._answer_seconds = time.monotonic() - begun

    def end(self) -> None:
        """End the turn, so that the next worker may begin."""
        if self._held:
            self._held = False
            self._engine.end_turn()

    def end_tick(self) -> None:
        """End the turn. Take none in the next tick if no other worker was in the way in this."""
        self.are_taken, self._waited = self._waited, False
        self._fence, self._writes = "", 0
        self.end()
