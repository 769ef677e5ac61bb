"""One tick of a command. Where the first look leaves nothing to do, the loop is not even imported: finding nothing must cost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dolt_watch.cli.common import say
from dolt_watch.engines.address import open_engine
from dolt_watch.look import Looker, idle, nothing
from dolt_watch.settings import Settings, settings_hash
from dolt_watch.times import Clock, DatabaseClock, FixedClock


def tick(settings: Settings, kinds: Sequence[str], *, dry_run: bool, now: datetime | None) -> int:
    """``kinds``: 'dispatch', 'reap'. The exit code."""
    clock: Clock = FixedClock(now) if now is not None else DatabaseClock()
    engine = open_engine(settings.address)
    try:
        look = Looker(engine).look()
        asked = dry_run and "reap" in kinds  # for its table: who is watched, though nothing is due
        if not asked and idle(
            look, clock.now(look.now), settings_hash(settings), kinds, settings.settle, settings.adopt
        ):
            say(nothing(look, kinds))
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
        return 0 if dry_run else outcome.exit_code
    finally:
        engine.close()
