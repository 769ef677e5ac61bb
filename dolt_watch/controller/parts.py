"""The parts of a loop, a reader and a reprocess."""

from datetime import timedelta
from typing import NamedTuple

from dolt_watch.checkpoint.poll import Poller
from dolt_watch.checkpoint.state_store import StateStore
from dolt_watch.checkpoint.turns import Turns
from dolt_watch.clock import Clock
from dolt_watch.controller.executor import Executor
from dolt_watch.controller.observer import Observer
from dolt_watch.controller.state_tracker import StateTracker
from dolt_watch.core.decisions.policy import Policy
from dolt_watch.engines import Engine


class LoopConfig(NamedTuple):
    """The configuration of a loop."""

    adopt: bool = True
    """Commit uncommitted changes of other writers."""
    wait_for_settle: bool = True
    """Wait at most ``settle``, once, if a decision depends on it."""
    project_id: str | None = None
    """The tracker's id. None: any."""
    poll_interval: timedelta = timedelta(seconds=2)
    """Interval of a `run` with these settings. Work may stay due for twice as long."""


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
