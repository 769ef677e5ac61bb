"""``dolt_watch run``: the same tick, over and over, in one process that outlives what it talks to.

A poll is one look. Between polls it sleeps until the next one, or until the moment at which time
alone matters (a bead has settled, a retry is due), whichever comes first. Of several replicas
one leads, by a lock of the database's server; that saves work, the ledger keeps them apart
without it.
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
from dolt_watch.errors import DatabaseError, DoltWatchError
from dolt_watch.log_events import LogEvent, event_fields

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 30.0
"""Seconds between tries while the database is away: 1, 2, 4 … up to this."""
SHORTEST = 0.7
"""Jitter shortens a pause to as little as this part of it, never lengthens it: the promise on
latency is reckoned from the whole.
"""


class ServiceObserver(Protocol):
    """Who is told how the service fares: metrics, health, a dead man's switch."""

    def heartbeat(self) -> None:
        """It goes on: called before each round of a tick."""
        ...

    def tick_finished(self, loop: ControlLoop, outcome: TickResult, seconds: float) -> None: ...

    def standing_by(self) -> None: ...

    def failed(self, error: DoltWatchError) -> None: ...


class Service:
    """``connect``: a new engine, each time it is called; ``loop``: the loop over it."""

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
        """Set by whoever wants it to end: the decision under way is settled, no other begins."""
        self._engine: Engine | None = None
        self._loop: ControlLoop | None = None
        self._failures = 0
        self._last_words = ""
        self._leads: bool | None = None
        self._force_full_tick = True
        """The first tick of a loop, or of a lead: nothing may be due, and metrics must still say
        who waits and runs.
        """

    def run(self) -> None:
        """Until ``stop`` is set."""
        logger.info("watching", extra=event_fields(LogEvent.WATCHING))
        try:
            while not self.stop.is_set():
                self.clock.wait(self.stop, self.step())
        finally:
            self._drop()
        logger.info("stopped", extra=event_fields(LogEvent.STOPPED))

    def step(self) -> float:
        """One poll; seconds until the next."""
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
            logger.info("the database answers again", extra=event_fields(LogEvent.RECOVERED))
            self._failures, self._last_words = 0, ""
        self.watching.tick_finished(loop, outcome, self.clock.monotonic() - begun)
        return self._pause(loop)

    def _ends(self) -> bool:
        """Asked before each round."""
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
            words = "leading" if leads else "standing by: another one leads"
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
        """One line when it changes, not one a poll.

        What is no outage is told with all its words.
        """
        self._failures += 1
        words = error.message
        if words != self._last_words:
            logger.error(
                f"error: {error}", extra=event_fields(LogEvent.ERROR, error=type(error).__name__)
            )
            self._last_words = words
        self.watching.failed(error)
        # What is wrong here alone (settings, a credential) must not keep the lock from a replica
        # that could work.
        leads = self._leads
        self._drop()
        if not isinstance(error, DatabaseError):
            self._leads = (
                leads  # its words were said; the next lock that is won or lost is compared with it
            )
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
