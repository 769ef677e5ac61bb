"""One tick of a command. Where the first look leaves nothing to do, the loop is not even imported: finding nothing must cost nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from dolt_watch.cli.common import Saying
from dolt_watch.engines.address import open_engine
from dolt_watch.look import Looker, idle, nothing
from dolt_watch.settings import Settings, settings_hash
from dolt_watch.times import Clock, DatabaseClock, FixedClock

if TYPE_CHECKING:
    from dolt_watch.round import Outcome
    from dolt_watch.tick import Loop


def tick(
    settings: Settings, kinds: Sequence[str], *, dry_run: bool, now: datetime | None, metrics_file: str | None = None
) -> int:
    """``kinds``: 'dispatch', 'reap'. The exit code. DOLT_WATCH_PING_URL is fetched after a good tick."""
    begun = time.monotonic()
    clock: Clock = FixedClock(now) if now is not None else DatabaseClock()
    engine, say = open_engine(settings.address), Saying()
    try:
        look = Looker(engine).look()
        # for the table of who is watched, and for metrics of who waits, though nothing is due
        asked = bool(metrics_file) or (dry_run and "reap" in kinds)
        if not asked and idle(
            look, clock.now(look.now), settings_hash(settings), kinds, settings.settle, settings.adopt
        ):
            say(nothing(look, kinds))
            if not dry_run:
                _ping()
            say.check()
            return 0

        from dolt_watch.cli.wiring import Targets, build
        from dolt_watch.core.policy import Scope

        targets = Targets(settings)
        try:
            loop = build(engine, settings, targets, clock, say, dry=dry_run)
            outcome = loop.tick(Scope(dispatch="dispatch" in kinds, reap="reap" in kinds), look, thorough=asked)
        finally:
            targets.close()
        if dry_run and outcome.watched:
            from dolt_watch.journal import table
            from dolt_watch.times import ago

            rows = [(row.bead, row.sign, ago(row.idle), row.verdict, row.then) for row in outcome.watched]
            for line in table(("BEAD", "LAST SIGN", "IDLE", "VERDICT", "THEN"), rows):
                say(line)
        if dry_run:
            say.check()
            return 0
        if metrics_file:
            _write(metrics_file, loop, outcome, time.monotonic() - begun)
        if outcome.exit_code == 0:
            _ping()
        say.check()
        return outcome.exit_code
    finally:
        engine.close()


def _ping() -> None:
    url = os.environ.get("DOLT_WATCH_PING_URL")
    if url:
        from dolt_watch.telemetry.ping import Ping

        ping = Ping(url)
        ping()
        ping.wait()


def _write(path: str, loop: Loop, outcome: Outcome, seconds: float) -> None:
    from dolt_watch.errors import SettingsError

    try:
        from dolt_watch.telemetry.metrics import Metrics
    except ImportError as error:
        raise SettingsError(
            f"metrics need more than is installed: {error}",
            where="--metrics-file",
            fix="pip install 'dolt-watch[service]'",
        ) from error
    metrics = Metrics()
    metrics.ticked(outcome, loop.state, loop.now, seconds)
    try:
        metrics.write(path)
    except OSError as error:
        raise SettingsError(
            f"metrics cannot be written: {error.strerror}",
            where=path,
            fix="name a file in a folder that can be written",
        ) from None
