"""``dolt_watch log``."""

from __future__ import annotations

from typing import Any

import click
import orjson

from dolt_watch.cli.options import bead_option, load_settings, say, settings_options
from dolt_watch.cli.times import resolve_time
from dolt_watch.engines.clock import server_time
from dolt_watch.engines.connect import open_engine
from dolt_watch.inspection.bead_ids import require_bead
from dolt_watch.ledger.reader import entry_to_dict, read_entries
from dolt_watch.ledger.schema import check_project
from dolt_watch.text_table import format_table
from dolt_watch.timestamps import iso


@click.command()
@settings_options
@bead_option("List only decisions about this bead.")
@click.option(
    "--since",
    metavar="TIME",
    help=(
        "List only decisions since TIME: a timestamp (2026-04-18T22:35:46Z), a duration back from"
        " now (2h), 'yesterday', or a commit."
    ),
)
@click.option(
    "--limit", metavar="N", type=click.IntRange(min=1), help="List only the N newest decisions."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    help="Form of the output.",
)
def command(
    bead: str | None, since: str | None, limit: int | None, form: str, **kwargs: Any
) -> int:
    """List the decisions, newest first.

    Example: dolt_watch log --since 2h
    """
    settings = load_settings(kwargs)
    engine = open_engine(settings.address)
    try:
        check_project(engine, settings.project_id)
        now = server_time(engine)
        found = read_entries(
            engine,
            bead=require_bead(engine, bead, "--bead") if bead is not None else None,
            since=resolve_time(engine, since, now, "--since") if since is not None else None,
            limit=limit,
        )
    finally:
        engine.close()
    if form == "json":
        click.echo(
            orjson.dumps(
                {"schema": 1, "entries": [entry_to_dict(entry) for entry in found]}
            ).decode()
        )
        return 0
    if not found:
        click.echo("no decisions yet" if bead is None and since is None else "no such decisions")
        return 0
    rows = [
        (
            iso(e.at),
            e.bead or "-",
            str(e.version),
            e.kind.value,
            str(e.attempt or "-"),
            " ".join(p for p in (e.job and f"job {e.job}", e.reason) if p) or "-",
        )
        for e in found
    ]
    for line in format_table(("TIME", "BEAD", "VERSION", "DECISION", "ATTEMPT", "WHAT"), rows):
        say(line)
    return 0
