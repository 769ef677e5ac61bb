"""``dolt_watch doctor``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import orjson

from dolt_watch.cli.composition import build_reader
from dolt_watch.cli.options import format_option, load_settings, settings_options
from dolt_watch.cli.output import show
from dolt_watch.clock import DatabaseClock
from dolt_watch.core.decisions.policy import BOTH
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import DoltWatchError
from dolt_watch.inspection.doctor.context import DoctorContext
from dolt_watch.inspection.doctor.findings import failed, named, ok
from dolt_watch.inspection.doctor.run import run_all
from dolt_watch.inspection.doctor.view import finding_lines
from dolt_watch.inspection.doctor.workload_checks import target
from dolt_watch.inspection.screen import Screen
from dolt_watch.targets.registry import TargetPool

if TYPE_CHECKING:
    from dolt_watch.inspection.doctor.findings import Finding


@click.command()
@settings_options
@click.option("--quiet", is_flag=True, help="Print problems only.")
@format_option
def command(quiet: bool, form: str, **kwargs: Any) -> int:
    """Check the setup and suggest fixes: problems first, then the checks that passed.

    Asks the database, the targets and this machine's clock. Writes and sends nothing. Exit 1 on a
    failure; 2 and 3 as in every command.

    Example: dolt_watch doctor --quiet
    """
    if quiet and form == "json":
        raise click.UsageError("JSON contains all checks: omit --quiet.")
    found = list(_findings(kwargs))
    code = max(finding.exit_code for finding in found)
    if form == "text":
        screen = Screen.of_stdout().at(_machine())
        show(screen, finding_lines(found, screen, quiet=quiet))
    if form == "json":
        checks = [
            {"check": one.check, "level": one.level, "says": one.says, "fix": one.fix or None}
            for one in found
        ]
        click.echo(orjson.dumps({"schema": 1, "exit_code": code, "checks": checks}).decode())
    return code


def _findings(kwargs: dict[str, Any]) -> Iterator[Finding]:
    try:
        settings = load_settings(kwargs)
    except DoltWatchError as error:
        yield failed(error)._replace(check="settings")
        return
    rules = ", ".join(rule.name for rule in settings.rules)
    yield ok(f"readable; rules: {rules}")._replace(check="settings")
    with closing(TargetPool(settings.targets)) as targets:
        yield from named("target", target(settings, targets))
        try:
            engine = open_engine(settings.address)
        except DoltWatchError as error:
            yield failed(error)._replace(check="connection")
            return
        with closing(engine):
            reader = build_reader(engine, settings, targets, DatabaseClock())
            yield from run_all(
                DoctorContext(
                    settings=settings,
                    engine=engine,
                    policy=reader.policy,
                    rule_hashes=reader.parts.tracker.rule_hashes,
                    read_survey=lambda: reader.survey(BOTH),
                    machine=_machine,
                    capacity=lambda name: targets(name).capacity(),
                )
            )


def _machine() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)
