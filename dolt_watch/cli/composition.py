"""Construct the parts of a command: engine, targets, ledger, loop."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from dolt_watch.checkpoint.poll import Poller
from dolt_watch.checkpoint.state_store import StateStore
from dolt_watch.checkpoint.turns import Turns
from dolt_watch.clock import Clock, DatabaseClock
from dolt_watch.config import Settings, rule_hash, settings_hash, to_canonical_json
from dolt_watch.controller.executor import Executor
from dolt_watch.controller.executors import DryRunExecutor, LiveExecutor, Reading
from dolt_watch.controller.loop import ControlLoop
from dolt_watch.controller.notifications import Notifier, Receiver
from dolt_watch.controller.observer import Observer
from dolt_watch.controller.parts import LoopConfig, LoopParts
from dolt_watch.controller.state_tracker import StateTracker
from dolt_watch.core.decisions.policy import Policy
from dolt_watch.core.model import EMPTY
from dolt_watch.engines import Engine

if TYPE_CHECKING:
    from dolt_watch.controller.state_reader import StateReader
    from dolt_watch.controller.stopping import RunStopper
    from dolt_watch.ledger.writer import LedgerWriter, WriterIdentity
    from dolt_watch.targets.protocol import Target


def identity(settings: Settings) -> WriterIdentity:
    """Return the identity of this process in the entries that it writes."""
    # Late: most ticks write no entry, so they don't import the code that does.
    from dolt_watch.ledger.writer import WriterIdentity

    return WriterIdentity(
        socket.gethostname(),
        settings.actor_dispatch,
        settings.actor_reap,
        settings_hash(settings),
        to_canonical_json(settings),
    )


def ledger(
    engine: Engine, settings: Settings, clock: Clock | None = None, turns: Turns | None = None
) -> LedgerWriter:
    """Return the writer of the ledger. ``turns``: of its worker. None: it has turns of its own."""
    # Late: most ticks write no entry, so they don't import the code that does.
    from dolt_watch.ledger.writer import LedgerWriter

    return LedgerWriter(
        engine, identity(settings), clock or DatabaseClock(), turns or Turns(engine)
    )


def policy(settings: Settings, *, settles: bool = False) -> Policy:
    """Return the policy of the settings.

    Args:
        settings: The settings.
        settles: Whether to ask targets that deduplicate for the outcome of a token. That may
            prevent a later start, so only a live loop asks.
    """
    named = settings.targets.items()
    return Policy(
        settings.rules,
        settings.settle,
        settings_hash=settings_hash(settings),
        job_reporting_targets=frozenset(name for name, target in named if target.reports_jobs),
        deduplicating=frozenset(name for name, target in named if settles and target.deduplicates),
    )


def build(
    engine: Engine,
    settings: Settings,
    targets: Callable[[str], Target],
    clock: Clock,
    *,
    patient: bool = True,
    poller: Poller | None = None,
    worker: Mapping[str, Any] = EMPTY,
    on_progress: Callable[[], None] = lambda: None,
) -> ControlLoop:
    """Return the live loop.

    Args:
        engine: The tracker's database.
        settings: The settings.
        targets: Returns a target by name.
        clock: The clock to decide by.
        patient: Whether to wait for beads to settle, as commands that run once do.
        poller: The poller that already polled, if any.
        worker: Host and command of this process, for the liveness of workers.
        on_progress: Called whenever the loop made progress.
    """
    plans_by = policy(settings, settles=True)._replace(poll=None if patient else settings.poll)
    turns = Turns(engine)
    notifier = None
    if settings.notify.target:
        notifier = Notifier(lambda: cast(Receiver, targets(settings.notify.target)))
    stopping = [rule.target for rule in settings.rules if settings.targets[rule.target].stops_runs]
    stopper = _stopper(engine, targets, stopping) if stopping else None
    executor = LiveExecutor(
        lambda: ledger(engine, settings, clock, turns), settings.rules, targets, notifier, stopper
    )
    return ControlLoop(
        _assemble(
            engine,
            settings,
            plans_by,
            targets,
            executor,
            clock,
            poller=poller,
            patient=patient,
            worker=worker,
            turns=turns,
            on_progress=on_progress,
        )
    )


def _stopper(engine: Engine, targets: Callable[[str], Target], names: Sequence[str]) -> RunStopper:
    # Late: few kinds of target stop runs.
    from dolt_watch.controller.stopping import RunStopper

    return RunStopper(engine, targets, dict.fromkeys(names))


def build_dry_run(
    engine: Engine,
    settings: Settings,
    targets: Callable[[str], Target],
    clock: Clock,
    *,
    poller: Poller | None = None,
) -> ControlLoop:
    """Return a loop that only logs its decisions, and never waits."""
    executor = DryRunExecutor()
    return ControlLoop(
        _assemble(engine, settings, policy(settings), targets, executor, clock, poller=poller)
    )


def build_reader(
    engine: Engine, settings: Settings, targets: Callable[[str], Target], clock: Clock
) -> StateReader:
    """Return the reader of a read-only command, which logs, writes and sends nothing."""
    # Late: a tick has no reader.
    from dolt_watch.controller.state_reader import StateReader

    return StateReader(_assemble(engine, settings, policy(settings), targets, Reading(), clock))


def _assemble(
    engine: Engine,
    settings: Settings,
    policy: Policy,
    targets: Callable[[str], Target],
    executor: Executor,
    clock: Clock,
    *,
    poller: Poller | None = None,
    patient: bool = False,
    worker: Mapping[str, Any] = EMPTY,
    turns: Turns | None = None,
    on_progress: Callable[[], None] = lambda: None,
) -> LoopParts:
    """Return the parts, which share one connection, one poller and one store of the state."""
    poller = poller or Poller(engine)
    store = StateStore(engine, worker, clock)
    tracker = StateTracker(
        engine=engine,
        policy=policy,
        rule_hashes={rule.name: rule_hash(rule) for rule in settings.rules},
        poller=poller,
        executor=executor,
        store=store,
        notified=settings.notify.kinds,
        project_id=settings.project_id,
        on_progress=on_progress,
    )
    config = LoopConfig(
        adopt=settings.adopt,
        wait_for_settle=patient,
        project_id=settings.project_id,
        poll_interval=settings.poll,
    )
    return LoopParts(
        engine=engine,
        policy=policy,
        config=config,
        clock=clock,
        poller=poller,
        store=store,
        tracker=tracker,
        observer=Observer(engine, policy, targets),
        executor=executor,
        turns=turns or Turns(engine),
    )
