"""``dolt_watch doctor``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import orjson

from dolt_watch.cli.composition import TargetPool, build_reader, policy
from dolt_watch.cli.options import load_settings, settings_options
from dolt_watch.clock import DatabaseClock
from dolt_watch.config import rule_hash
from dolt_watch.core.decisions.policy import BOTH
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import DoltWatchError
from dolt_watch.inspection.doctor.context import DoctorContext
from dolt_watch.inspection.doctor.findings import failed, ok
from dolt_watch.inspection.doctor.run import run_all
from dolt_watch.inspection.doctor.workload_checks import target

if TYPE_CHECKING:
    from dolt_watch.config import Settings
    from dolt_watch.inspection.doctor.findings import Finding


_COLOURS = {"ok": "green", "warning": "yellow", "failure": "red"}


@click.command()
@settings_options
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def command(form: str, **kwargs: Any) -> int:
    """Is everything as it must be? Each line ok, warning or failure, with what mends it.

    Asks the database, the target and this machine's clock; writes and sends nothing. Exit 1 on a
    failure, 2 and 3 as every command.

    Example: dolt_watch doctor --format json
    """
    found: list[Finding] = []
    for finding in _findings(kwargs):
        found.append(finding)
        if form == "text":
            _print(finding)
    code = max(finding.exit_code for finding in found)
    if form == "json":
        checks = [
            {
                "check": each.check,
                "level": each.level.value,
                "says": each.says,
                "fix": each.fix or None,
            }
            for each in found
        ]
        click.echo(orjson.dumps({"schema": 1, "exit_code": code, "checks": checks}).decode())
    return code


def _findings(kwargs: dict[str, Any]) -> Iterator[Finding]:

    try:
        settings = load_settings(kwargs)
    except DoltWatchError as error:
        yield failed("settings", error)
        return
    rules = ", ".join(rule.name for rule in settings.rules)
    yield ok("settings", f"can be read; rules: {rules}")
    targets = TargetPool(settings)
    try:
        yield from target(settings, targets)
        yield from _of_database(settings, targets)
    finally:
        targets.close()


def _of_database(settings: Settings, targets: Callable[[str], Any]) -> Iterator[Finding]:

    try:
        engine = open_engine(settings.address)
    except DoltWatchError as error:
        yield failed("connection", error)
        return
    try:
        reader = build_reader(engine, settings, targets, DatabaseClock())
        hashes = {rule.name: rule_hash(rule) for rule in settings.rules}
        yield from run_all(
            DoctorContext(
                settings,
                engine,
                policy(settings),
                hashes,
                lambda: reader.survey(BOTH),
                _machine,
                lambda name: targets(name).capacity(),
            )
        )
    finally:
        engine.close()


def _machine() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


def _print(finding: Finding) -> None:
    """One line, and what mends it on the next. click leaves colours out where nobody sees them."""
    level = click.style(finding.level.value.ljust(8), fg=_COLOURS[finding.level.value])
    color = False if os.environ.get("NO_COLOR") else None
    click.echo(f"{level} {finding.check.ljust(12)} {finding.says}", color=color)
    if finding.fix:
        click.echo(f"{'':21} fix: {finding.fix}", color=color)
