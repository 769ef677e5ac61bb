"""One tick, for the commands ``dispatch``, ``reap`` and ``tick``.

If the first poll finds nothing to do, the loop isn't even imported: an idle tick must be cheap.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import closing
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
    """Return the command that runs one tick.

    Args:
        kinds: Kinds of decisions that the tick may make: 'dispatch', 'reap' or both.
        summary: First line of the help.
    """
    name = "tick" if len(kinds) > 1 else kinds[0]
    exits = "Exit 1 if a dispatch failed, its outcome is unknown, or the target is down while beads"
    exits = f"{exits} wait." if "dispatch" in kinds else ""

    @click.command(
        help=f"{summary}\n\nContinues until nothing is left to do. {exits}".rstrip() + "\n\n"
        f"Example: dolt_watch {name} --dry-run"
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
    """Run one tick, and return the exit code.

    After a successful tick that isn't a dry run, DOLT_WATCH_PING_URL is fetched.

    Args:
        settings: The settings.
        kinds: Kinds of decisions that the tick may make: 'dispatch', 'reap' or both.
        dry_run: Whether to print decisions instead of making them.
        now: The moment to decide by, or None for the database's clock.
        metrics_file: Name of a file for the metrics of the tick, or None.
    """
    begun = time.monotonic()
    clock: Clock = FixedClock(now) if now is not None else DatabaseClock()
    # The prerequisites of a ping and of metrics are checked before anything is done.
    url = "" if dry_run else os.environ.get("DOLT_WATCH_PING_URL", "").strip()
    ping = _ping(url) if url else lambda: None
    write = _metrics(metrics_file) if metrics_file and not dry_run else None
    with console() as out, closing(open_engine(settings.address)) as engine:
        # An idle tick is this one query, and imports nothing of the loop. The reap table and the
        # metrics list beads for which nothing is due yet.
        poller = Poller(engine)
        first = poller.poll()
        thorough = write is not None or (dry_run and "reap" in kinds)
        if not thorough and is_idle(
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

        # Late: an idle tick ends above, and imports nothing of the loop.
        from dolt_watch.cli.composition import build, build_dry_run
        from dolt_watch.cli.shutdown import Shutdown
        from dolt_watch.controller.executors import under_way
        from dolt_watch.core.decisions.policy import Scope
        from dolt_watch.targets.registry import TargetPool

        # The loop continues from this poll. A signal ends it when the current decision is
        # recorded.
        with closing(TargetPool(settings.targets)) as targets:
            if dry_run:
                loop = build_dry_run(engine, settings, targets, clock, poller=poller)
            else:
                by = "tick" if len(kinds) > 1 else kinds[0]
                worker = {"host": socket.gethostname(), "by": by}
                loop = build(engine, settings, targets, clock, poller=poller, worker=worker)
            with Shutdown(lambda: under_way(loop.executor), complain) as shutdown:
                scope = Scope(dispatch="dispatch" in kinds, reap="reap" in kinds)
                outcome = loop.tick(scope, first, stop=shutdown.stop.is_set, thorough=True)
        # A dry run prints its findings and succeeds. A tick's result is its exit code.
        if dry_run:
            _print_reap_table(out, outcome)
            out.check()
            return 0
        if write is not None:
            write(loop, outcome, time.monotonic() - begun)
        code = shutdown.code or outcome.exit_code
        if not code:
            ping()
        out.check()
        return code


def _print_reap_table(out: Console, outcome: TickResult) -> None:
    if not outcome.reap_table:
        return
    # Late: only a dry run prints a table.
    from dolt_watch.text_table import format_table
    from dolt_watch.timestamps import format_span

    rows = [
        (row.bead, row.sign, format_span(row.idle), row.verdict, row.then)
        for row in outcome.reap_table
    ]
    for line in format_table(("BEAD", "LAST SIGN", "IDLE", "VERDICT", "THEN"), rows):
        out.print(line)


def _ping(url: str) -> Callable[[], None]:
    """Return the function that reports a successful tick.

    Raises:
        SettingsError: The value is not a URL. Raised before the tick begins.
    """
    # Late: few ticks send a ping.
    from dolt_watch.telemetry.heartbeat_ping import HeartbeatPing

    ping = HeartbeatPing(url)

    def send() -> None:
        ping()
        ping.wait()

    return send


def _metrics(path: str) -> Callable[[ControlLoop, TickResult, float], None]:
    """Return the function that writes the metrics of a tick.

    Raises:
        SettingsError: The file can't be written. Raised before the tick begins, and by the
            function.
    """
    # Late: an idle tick without --metrics-file needs none of these.
    from pathlib import Path

    from dolt_watch.errors import SettingsError
    from dolt_watch.telemetry.metrics import Metrics, is_replaced

    def cannot(why: str | None) -> SettingsError:
        return SettingsError(
            f"Can't write the metrics: {why}.",
            where=path,
            fix="Specify a file in a folder that you can write to.",
        )

    file = Path(path)
    try:
        if file.is_dir() or not file.parent.is_dir():
            raise cannot("the path is a folder" if file.is_dir() else "the folder doesn't exist")
        replaced = is_replaced(file)
    except OSError as error:  # For example a name that is too long.
        raise cannot(error.strerror) from None
    if replaced and not os.access(file.parent, os.W_OK | os.X_OK):
        raise cannot("the folder is not writable")
    metrics = Metrics()

    def write(loop: ControlLoop, outcome: TickResult, seconds: float) -> None:
        metrics.record_tick(outcome, loop.state, loop.now, seconds)
        try:
            metrics.write(path)
        except OSError as error:
            raise cannot(error.strerror) from None

    return write
