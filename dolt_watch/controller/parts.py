"""The parts of a loop, a reader and a reprocess."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from dolt_watch.checkpoint.poll import Poller
from dolt_watch.checkpoint.state_store import StateStore
from dolt_watch.checkpoint.turns import Turns
from dolt_watch.clock import Clock
from dolt_watch.controller.executor import Executor
from dolt_watch.controller.observer import Observer
from dolt_watch.controller.state_tracker import StateTracker
from dolt_watch.core.decisions.policy import Policy
from dolt_watch.core.model import EMPTY
from dolt_watch.engines import Engine


class LoopConfig(NamedTuple):
    """The configuration of a loop."""

    rule_hashes: Mapping[str, str]
    """Rule → the hash of its expressions."""
    adopt: bool = True
    """Commit uncommitted changes of other writers."""
    wait_for_settle: bool = True
    """Wait at most ``settle``, once, if a decision depends on it."""
    project_id: str | None = None
    """The tracker's id. None: any."""
    poll_interval: timedelta = timedelta(seconds=2)
    """Interval of a `run` with these settings. Work may stay due for twice as long."""
    worker: Mapping[str, Any] = EMPTY
    """``host`` and ``by``, the command, saved with the state for liveness checks."""
    notified: frozenset[str] = frozenset()
    """Kinds of decisions that are reported to the notification target."""


class LoopParts(NamedTuple):
    """All parts of a tick over one connection."""

    engine: Engine
    policy: Policy
    config: LoopConfig
    clock: Clock
    poller: Poller
    store: StateStore
    tracker: StateTracker
    observer: Observer
    executor: Executor
    turns: Turns
    """Of this worker, when others on the server compete with it."""
