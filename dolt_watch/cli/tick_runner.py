"""One tick: what the commands ``dispatch``, ``reap`` and ``tick`` run.

Where the first poll leaves nothing to do, the loop is not even imported: finding nothing must
cost nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from dolt_watch.checkpoint.poll import Poller, is_idle, log_idle
from dolt_watch.cli.options import complain, load_settings, settings_options, tick_options
from dolt_watch.cli.output import Console, console
from dolt_watch.clock import Clock, DatabaseClock, FixedClock
from dolt_watch.config import Settings, settings_hash
from dolt_watch.engines.connect import open_engine

if TYPE_CHECKING:
    from dolt_watch.controller.loop import ControlLoop
    from dolt_watch.controller.tick_result import TickResult


def tick_command(*kinds: str, summary: str) -> click.Command:
    """Return the command that runs one tick of these kinds: 'dispatch', 'reap' or both."""
    name = "tick" if len(kinds) > 1 else kinds[0]

    @click.command(
        help=f"{summary}\n\nExit 1 when a dispatch failed, is unknown, or the target is down while"
        f" beads wait.\n\nExample: dolt_watch {name} --dry-run"
    )
    @settings_options
    @tick_options
    def command(
        dry_run: bool, now: datetime | None, metrics_file: str | None, **kwargs: Any
    ) -> int:
        settings = load_settings(kwargs)
        return run_tick(settings, kinds, dry_run=dry_run, now=now, metrics_file=metrics_file)

    return command


def run_tick(
    settings: Settings,
    kinds: Sequence[str],
    *,
    dry_run: bool,
    now: datetime | None,
    metrics_file: str | None = None,
) -> int:
    """``kinds``:

    'dispatch', 'reap'. The exit code. DOLT_WATCH_PING_URL is fetched after a good tick
    (``TickResult.good``), not after a dry run.
    """
    with console() as out:
        return _tick(settings, kinds, out, dry_run=dry_run, now=now, metrics_file=metrics_file)


def _tick(
    settings: Settings,
    kinds: Sequence[str],
    out: Console,
    *,
    dry_run: bool,
    now: datetime | None,
    metrics_file: str | None,
) -> int:
    begun = time.monotonic()
    clock: Clock = FixedClock(now) if now is not None else DatabaseClock()
    # What a ping and metrics need is checked before anything is done.
    ping = _ping(dry_run)
    write = _metrics(metrics_file) if metrics_file and not dry_run else None
    engine = open_engine(settings.address)
    try:
        # An idle tick is this one query, and imports nothing of the loop.
        poller = Poller(engine)
        first = poller.poll()
        # for the table of who is watched, and for metrics of who waits, though nothing is due
        asked = write is not None or (dry_run and "reap" in kinds)
        if not asked and is_idle(
            first,
            clock.now(first.now),
            settings_hash(settings),
            kinds,
            settings.settle,
            settings.adopt,
        ):
            down = log_idle(first, kinds)
            if not down:
                ping()
            out.check()
            return int(down and not dry_run)

        from dolt_watch.cli.composition import TargetPool, build, build_dry_run
        from dolt_watch.cli.shutdown import Shutdown
        from dolt_watch.controller.executors import under_way
        from dolt_watch.core.decisions.policy import Scope

        # The loop, which goes on from this poll; a signal ends it when the decision under way is
        # recorded.
        targets = TargetPool(settings)
        try:
            if dry_run:
                loop = build_dry_run(engine, settings, targets, clock, poller=poller)
            else:
                by = "tick" if len(kinds) > 1 else kinds[0]
                worker = {"host": socket.gethostname(), "by": by}
                loop = build(engine, settings, targets, clock, poller=poller, worker=worker)
            with Shutdown(lambda: under_way(loop.executor), complain) as shutdown:
                scope = Scope(dispatch="dispatch" in kinds, reap="reap" in kinds)
                outcome = loop.tick(scope, first, stop=shutdown.stop.is_set, thorough=asked)
        finally:
            targets.close()
        # A dry run says what it found and is good; a tick's result is its exit code.
        if dry_run:
            _print_reap_table(out, outcome)
            out.check()
            return 0
        if write is not None:
            write(loop, outcome, time.monotonic() - begun)
        if outcome.succeeded and not shutdown.code:
            ping()
        out.check()
        return shutdown.code or outcome.exit_code
    finally:
        engine.close()


def _print_reap_table(out: Console, outcome: TickResult) -> None:
    if not outcome.reap_table:
        return
    from dolt_watch.text_table import format_table
    from dolt_watch.timestamps import format_span

    rows = [
        (row.bead, row.sign, format_span(row.idle), row.verdict, row.then)
        for row in outcome.reap_table
    ]
    for line in format_table(("BEAD", "LAST SIGN", "IDLE", "VERDICT", "THEN"), rows):
        out.print(line)


def _ping(dry_run: bool) -> Callable[[], None]:
    """Who is to be told of a good tick.

    Raises SettingsError where that is no URL, before anything is done.
    """
    url = "" if dry_run else os.environ.get("DOLT_WATCH_PING_URL", "").strip()
    if not url:
        return lambda: None
    from dolt_watch.telemetry.heartbeat_ping import HeartbeatPing

    ping = HeartbeatPing(url)

    def tell() -> None:
        ping()
        ping.wait()

    return tell


def _metrics(path: str) -> Callable[[ControlLoop, TickResult, float], None]:
    """Who writes them, and that it can, is asked before anything is done. Raises SettingsError."""
    from pathlib import Path

    from dolt_watch.errors import SettingsError

    def cannot(why: str | None) -> SettingsError:
        fix = "name a file in a folder that can be written"
        return SettingsError(f"metrics cannot be written: {why}", where=path, fix=fix)

    file = Path(path)
    if file.is_dir() or not file.parent.is_dir():
        raise cannot("it is a folder" if file.is_dir() else "there is no such folder")
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise cannot("its folder cannot be written")
    try:
        from dolt_watch.telemetry.metrics import Metrics
    except ImportError as error:
        raise SettingsError(
            f"metrics need more than is installed: {error}",
            where="--metrics-file",
            fix="pip install 'dolt-watch[service]'",
        ) from error
    metrics = Metrics()

    def write(loop: ControlLoop, outcome: TickResult, seconds: float) -> None:
        metrics.record_tick(outcome, loop.state, loop.now, seconds)
        try:
            metrics.write(path)
        except OSError as error:
            raise cannot(error.strerror) from None

    return write
