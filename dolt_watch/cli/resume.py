"""``dolt_watch resume``."""

from __future__ import annotations

from typing import Any

import click

from dolt_watch.cli.common import person, settings_options
from dolt_watch.cli.pause import write


@click.command()
@settings_options
@click.option("--rule", default="", metavar="NAME", help="Only this rule; default: all.")
@click.option("--reason", default="", help="Why: it stands in history.")
def command(rule: str, reason: str, **kwargs: Any) -> int:
    """Hand out beads again: ends a pause, and a rule's stop after its target refused it; lets go of beads that are held because the ledger came from elsewhere.

    Example: dolt_watch resume
    """
    write("resume", rule, reason or "resumed", {"by": person()}, kwargs)
    click.echo(f"resumed {rule or 'all rules'}")
    return 0
