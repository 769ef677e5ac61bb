"""``dolt_watch run``: ticks in one process that survives outages of the database and the targets.

Between polls the process sleeps until the next poll, or until time alone changes a decision (a bead
has settled, a retry is due), whichever comes first. One of several replicas leads, by a lock of the
database server. The lock saves work. Correctness depends on the ledger alone.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import Protocol

from dolt_watch.clock import MonotonicClock
from dolt_watch.controller.loop import ControlLoop
from dolt_watch.controller.tick_result import TickResult
from dolt_watch.core.decisions.policy import BOTH
from dolt_watch.engines import Engine
from dolt_watch.errors import DoltWatchError, Unreachable
from dolt_watch.log_events import LogEvent, event_fields

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 30.0
"""Longest pause in seconds between tries while the database can't be reached: 1, 2, 4 … up to
this.
"""
SHORTEST = 0.7
"""Jitter shortens a pause to at least this fraction, and never lengthens it. The promised latency
counts from the whole pause.
"""


class ServiceObserver(Protocol):
    """Receives the events of the service: metrics, health, heartbeat ping."""

    def heartbeat(self) -> None:
        """Called before each iteration of a tick."""
        ...

    def tick_finished(self, loop: ControlLoop, outcome: TickResult, seconds: float) -> None: ...

    def standing_by(self) -> None: ...

    def failed(self, error: DoltWatchError) -> None: ...


class Service:
    """Runs the service. ``connect`` returns a new engine with each call, ``loop`` the loop on
    it.
    """

    def __init__(
        self,
        connect: Callable[[], Engine],
        loop: Callable[[Engine], ControlLoop],
        watching: ServiceObserver,
        *,
        poll: float = 2.0,
        clock: MonotonicClock | None = None,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self.connect, self.make, self.watching = connect, loop, watching
        self.poll, self.clock, self.before_poll = poll, clock or MonotonicClock(), between
        self.stop = threading.Event()
        """Set to end the service. The decision under way is settled, and no other begins."""
        self._engine: Engine | None = None
        self._loop: ControlLoop | None = None
        self._failures = 0
        self._last_words = ""
        self._leads: bool | None = None
        self._force_full_tick = True
        """The first tick of a loop or of a lead is a full one: nothing may be due, and metrics must
        still report the beads.
        """

    def run(self) -> None:
        """Run until ``stop`` is set."""
        logger.info("watching", extra=event_fields(LogEvent.WATCHING))
        try:
            while not self.stop.is_set():
                self.clock.wait(self.stop, self.step())
        finally:
            self._drop()
        logger.info("stopped", extra=event_fields(LogEvent.STOPPED))

    def step(self) -> float:
        """Run one poll. Returns the seconds until the next."""
        self.before_poll()
        begun = self.clock.monotonic()
        try:
            loop = self._ready()
            if not self._try_lead(loop.engine):
                self.watching.standing_by()
                return self._pause()
            outcome = loop.tick(BOTH, stop=self._ends, thorough=self._force_full_tick)
        except DoltWatchError as error:
            return self._failed(error)
        self._force_full_tick = False
        if self._failures:
            logger.info("the database can be reached again", extra=event_fields(LogEvent.RECOVERED))
            self._failures, self._last_words = 0, ""
        self.watching.tick_finished(loop, outcome, self.clock.monotonic() - begun)
        return self._pause(loop)

    def _ends(self) -> bool:
        """Checked before each iteration."""
        self.watching.heartbeat()
        return self.stop.is_set()

    def _ready(self) -> ControlLoop:
        if self._loop is None:
            self._engine = self.connect()
            self._loop = self.make(self._engine)
        return self._loop

    def _try_lead(self, engine: Engine) -> bool:
        leads = engine.try_acquire_leadership()
        if leads is not self._leads:
            words = "leading" if leads else "standing by: another worker leads"
            logger.info(
                words, extra=event_fields(LogEvent.LEADING if leads else LogEvent.STANDING_BY)
            )
            self._leads, self._force_full_tick = leads, True
        return leads

    def _pause(self, loop: ControlLoop | None = None) -> float:
        pause = self.poll * random.uniform(SHORTEST, 1.0)
        due = loop.seconds_until_due() if loop is not None else None
        return pause if due is None else min(pause, due)

    def _failed(self, error: DoltWatchError) -> float:
        """Log a failure once when it changes, not with each poll.

        An error that isn't an outage is logged with all details.
        """
        self._failures += 1
        words = error.message
        if words != self._last_words:
            logger.error(
                f"error: {error}", extra=event_fields(LogEvent.ERROR, error=type(error).__name__)
            )
            self._last_words = words
        self.watching.failed(error)
        # A fault of this worker alone (settings, a credential) must not keep the lock from a
        # replica that can work.
        leads = self._leads
        self._drop()
        if not isinstance(error, Unreachable):
            # The lock was answered, and its message is logged. The next answer is compared with it.
            self._leads = leads
        return float(min(LONGEST_PAUSE, 2.0 ** min(self._failures - 1, 10))) * random.uniform(
            SHORTEST, 1.0
        )

    def _drop(self) -> None:
        engine, self._engine, self._loop, self._leads, self._force_full_tick = (
            self._engine,
            None,
            None,
            None,
            True,
        )
        if engine is not None:
            engine.close()
