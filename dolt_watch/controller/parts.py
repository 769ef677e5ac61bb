"""The parts that a loop, a reader and a reprocess are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from dolt_watch.checkpoint.poll import Poller, PollResult, TableState
from dolt_watch.checkpoint.state_store import StateStore
from dolt_watch.clock import Clock
from dolt_watch.controller.executor import Executor
from dolt_watch.controller.observer import Observer
from dolt_watch.controller.state_tracker import StateTracker
from dolt_watch.core.decisions.policy import Policy
from dolt_watch.core.model import EMPTY
from dolt_watch.engines import Engine

if TYPE_CHECKING:
    from dolt_watch.targets.protocol import Target


class LoopConfig(NamedTuple):
    """How a loop runs."""

    adopt: bool = True
    """Commit what others left uncommitted."""
    wait_for_settle: bool = True
    """Wait at most ``settle``, once, if a decision depends on it."""
    project_id: str | None = None
    """The tracker's id; None: any."""
    poll_interval: timedelta = timedelta(seconds=2)
    """Of a `run` on these settings. Work may stay due for twice that long."""
    worker: Mapping[str, Any] = EMPTY
    """``host`` and ``by``, the command, saved with the state for liveness checks."""
    notified: frozenset[str] = frozenset()
    """Kinds of decisions that are reported to the notification target."""


@dataclass(frozen=True)
class LoopParts:
    """Everything over one connection that takes part in a tick."""

    engine: Engine
    policy: Policy
    config: LoopConfig
    clock: Clock
    poller: Poller
    store: StateStore
    tracker: StateTracker
    observer: Observer
    executor: Executor

    @classmethod
    def assemble(
        cls,
        engine: Engine,
        policy: Policy,
        rule_hashes: Mapping[str, str],
        targets: Callable[[str], Target],
        executor: Executor,
        clock: Clock,
        config: LoopConfig,
        *,
        poller: Poller | None = None,
        on_progress: Callable[[], None] = lambda: None,
    ) -> LoopParts:
        """Build the parts.

        Args:
            engine: The connection to the database.
            policy: The rules and thresholds that are decided by.
            rule_hashes: Rule to the hash of its expressions.
            targets: Opens a target by its name.
            executor: Carries the decisions out.
            clock: The time that is decided by.
            config: How the loop runs.
            poller: Reads the poll query; None: a new one.
            on_progress: Called for each commit that is applied.
        """
        # All parts share one connection, one poller and one store of the state.
        poller = poller or Poller(engine)
        store = StateStore(engine, config.worker, clock)
        tracker = StateTracker(
            engine,
            policy,
            rule_hashes,
            poller,
            executor,
            store,
            notified=config.notified,
            on_progress=on_progress,
        )
        observer = Observer(engine, policy, targets)
        return cls(engine, policy, config, clock, poller, store, tracker, observer, executor)

    def save(
        self,
        poll: PollResult,
        now: datetime,
        tables: Mapping[str, TableState],
        due: Mapping[str, datetime | None],
    ) -> None:
        """Save cursor and state. ``due``: 'dispatch' and 'reap' → the next moment that makes a
        difference. Raises Conflict.
        """
        rules, cache = self.tracker.rules(poll, now), self.tracker.cache(poll)
        self.executor.save(self.store, poll, tables, due, rules, cache)
