"""``dolt_watch init``."""

from __future__ import annotations

from typing import Any

import click
import orjson

from dolt_watch.cli.composition import TargetPool, build_dry_run, identity
from dolt_watch.cli.options import load_settings, settings_options
from dolt_watch.cli.output import console
from dolt_watch.clock import DatabaseClock
from dolt_watch.config import Settings
from dolt_watch.controller.state_reader import StateReader
from dolt_watch.core.decisions.reap_policy import stale_at
from dolt_watch.core.model import Phase
from dolt_watch.engines.connect import open_engine
from dolt_watch.ledger.privileges import grant_statements
from dolt_watch.ledger.schema import check_database, local_sql, migrate, migrations


@click.command()
@settings_options
@click.option("--print-sql", is_flag=True, help="Print the SQL that would be run, and do nothing.")
@click.option(
    "--print-grants",
    metavar="USER",
    help="Print the least privileges that USER ('name' or 'name@host') needs.",
)
def command(print_sql: bool, print_grants: str | None, **kwargs: Any) -> int:
    """Make the tables of dolt_watch in a beads database.

    Idempotent; each migration is one Dolt commit.

    Needs a user who may create tables; everything else runs with the privileges that
    --print-grants shows.

    Example: dolt_watch init --print-sql
    """

    if print_sql:
        for migration in migrations():
            click.echo(
                f"-- migration {migration.version:04} {migration.name}: one Dolt"
                f" commit\n{migration.sql}"
            )
        click.echo(f"-- local tables, never committed\n{local_sql()}")
        return 0
    settings = load_settings(kwargs)
    if print_grants is not None:
        for line in grant_statements(getattr(settings.address, "database", "beads"), print_grants):
            click.echo(line)
        return 0
    return _init(settings)


def _init(settings: Settings) -> int:

    engine = open_engine(settings.address)
    try:
        done = [migration.name for migration in migrate(engine, identity(settings).author)]
        check_database(engine, settings.project_id)
        _take_over(engine)
        with console() as out:
            loop = build_dry_run(engine, settings, TargetPool(settings), DatabaseClock())
            state, now = StateReader(loop.parts).current_state()
        out.check()
    finally:
        engine.close()
    rules = {rule.name: rule for rule in settings.rules}
    waiting = sum(1 for bead in state.beads.values() if bead.phase is Phase.WAITING)
    running = [
        bead for bead in state.beads.values() if bead.phase is Phase.RUNNING and bead.rule in rules
    ]
    stale = sum(1 for bead in running if stale_at(bead, rules[bead.rule]) <= now)
    click.echo(f"migrated: {', '.join(done)}" if done else "migrated: already up to date")
    click.echo(f"waiting to be dispatched: {waiting}   (dolt_watch dispatch --dry-run shows them)")
    click.echo(f"silent, to be reaped:     {stale}   (dolt_watch reap --dry-run shows them)")
    if settings.adopt:
        click.echo(
            "uncommitted rows in beads' tables will be adopted: committed once they stood still for"
            " `settle`"
        )
    return 0


def _take_over(engine: Any) -> None:
    """Whoever runs init says which rules count: forget those that others ran."""

    with engine.transaction() as tx:
        rules = tx.query("SELECT rules FROM watch_cursor WHERE id = 1")[0][0]
        if rules and orjson.loads(rules).get("was"):
            kept = {**orjson.loads(rules), "was": []}
            tx.execute(
                "UPDATE watch_cursor SET rules = ? WHERE id = 1", (orjson.dumps(kept).decode(),)
            )
            tx.commit()
