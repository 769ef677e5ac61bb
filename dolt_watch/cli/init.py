"""``dolt_watch init``."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import click
import orjson

from dolt_watch.cli.composition import build_dry_run, identity
from dolt_watch.cli.options import load_settings, settings_options
from dolt_watch.cli.output import console
from dolt_watch.clock import DatabaseClock
from dolt_watch.config import Settings
from dolt_watch.config.template import settings_as_toml
from dolt_watch.config.toml_file import FILE
from dolt_watch.controller.state_reader import StateReader
from dolt_watch.core.decisions.policy import stale_at
from dolt_watch.core.model import Phase
from dolt_watch.engines import Engine
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import SettingsError
from dolt_watch.ledger.privileges import grant_statements
from dolt_watch.ledger.schema import check_database, is_up_to_date, local_sql, migrate, migrations
from dolt_watch.targets.registry import TargetPool

UP_TO_DATE = "migrated: already up to date"
NEXT = """
Next:
  Check the setup:           dolt_watch doctor
  Assign a bead to an agent: bd create "Say hello" --acceptance "hello.txt exists" --assignee agent
  Preview the decisions:     dolt_watch tick --dry-run
  Start dispatching:         dolt_watch run   (or `dolt_watch tick` every two minutes from cron)"""


@click.command()
@settings_options
@click.option(
    "--write-config",
    is_flag=True,
    help=(
        f"Write {FILE}, with each setting and its explanation. An existing file is never"
        " overwritten."
    ),
)
@click.option(
    "--if-needed",
    is_flag=True,
    help="Do nothing if the tables are up to date: for the start of each pod.",
)
@click.option("--print-sql", is_flag=True, help="Print the SQL of `init`, and execute nothing.")
@click.option(
    "--print-grants",
    metavar="USER",
    help="Print the GRANT statements that USER ('name' or 'name@host') needs at least.",
)
def command(
    write_config: bool, if_needed: bool, print_sql: bool, print_grants: str | None, **kwargs: Any
) -> int:
    """Create dolt_watch's tables in a beads database.

    You can run `init` again at any time. Each migration is one Dolt commit. Only `init` needs a
    user who may create tables. All other commands run with the privileges that --print-grants
    shows.

    Example: dolt_watch init --write-config
    """
    options = {
        "--print-sql": print_sql,
        "--print-grants": print_grants is not None,
        "--write-config": write_config,
        "--if-needed": if_needed,
    }
    first, *others = [name for name, given in options.items() if given] or [""]
    if others and first.startswith("--print"):
        raise click.UsageError(f"{first} only prints. Omit {' and '.join(others)}.")
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
    file = _new_file() if write_config else None
    _init(settings, if_needed)
    if file is not None:
        _write(file, settings)
        click.echo(f"wrote {file}")
    if not if_needed:
        click.echo(NEXT)
    return 0


def _init(settings: Settings, if_needed: bool) -> None:
    """Create or migrate the tables, and print what the first tick would do."""
    with closing(open_engine(settings.address)) as engine:
        if if_needed and is_up_to_date(engine, settings.project_id):
            click.echo(UP_TO_DATE)
            return
        done = [migration.name for migration in migrate(engine, identity(settings).author)]
        check_database(engine, settings.project_id)
        _adopt_rules(engine)
        with console() as out:
            loop = build_dry_run(engine, settings, TargetPool(settings.targets), DatabaseClock())
            state, now = StateReader(loop.parts).current_state()
        out.check()
    rules = {rule.name: rule for rule in settings.rules}
    beads = [bead for bead in state.beads.values() if bead.rule in rules]
    waiting = sum(bead.phase is Phase.WAITING for bead in state.beads.values())
    running = [bead for bead in beads if bead.phase is Phase.RUNNING]
    stale = sum(stale_at(bead, rules[bead.rule]) <= now for bead in running)
    click.echo(f"migrated: {', '.join(done)}" if done else UP_TO_DATE)
    click.echo(f"waiting to be dispatched: {waiting}   (dolt_watch dispatch --dry-run shows them)")
    click.echo(f"silent, to be reaped:     {stale}   (dolt_watch reap --dry-run shows them)")
    if settings.adopt:
        click.echo(
            "Uncommitted changes in beads tables are committed automatically after they are"
            " unchanged for `settle`."
        )


def _adopt_rules(engine: Engine) -> None:
    """Make the rules of this process the current ones: forget those that other processes ran."""
    with engine.transaction() as tx:
        rules = tx.query("SELECT rules FROM watch_cursor WHERE id = 1")[0][0]
        if rules and orjson.loads(rules).get("was"):
            kept = {**orjson.loads(rules), "was": []}
            tx.execute(
                "UPDATE watch_cursor SET rules = ? WHERE id = 1", (orjson.dumps(kept).decode(),)
            )
            tx.commit()


def _new_file() -> Path:
    """Return the path of the new settings file: next to ``.beads/``, or in this folder.

    Raises:
        SettingsError: There is a file already, or it can't be written.
    """
    here = Path.cwd()
    folder = next((up for up in (here, *here.parents) if (up / ".beads").is_dir()), here)
    file = folder / FILE
    if file.exists() or file.is_symlink():
        raise SettingsError(
            f"{file} exists, and is never overwritten.",
            where="--write-config",
            fix="Run `dolt_watch config --format toml` to print the settings instead.",
        )
    return file


def _write(file: Path, settings: Settings) -> None:
    text = settings_as_toml(settings)
    try:
        with file.open("x", encoding="utf-8") as new:
            try:
                new.write(text)
                new.flush()
            except OSError:  # A part of the settings must not count as all of them.
                file.unlink()
                raise
    except OSError as error:
        raise SettingsError(
            f"Can't write {file}: {error.strerror}.",
            where="--write-config",
            fix=f"Run `dolt_watch config --format toml > {FILE}` in a folder that you can write"
            " to.",
        ) from None
