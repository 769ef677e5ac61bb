"""``dolt_watch report``."""

from __future__ import annotations

from typing import Any

import click

from dolt_watch.cli.composition import TargetPool, build_reader
from dolt_watch.cli.options import load_settings, parse_moment, settings_options
from dolt_watch.cli.pages import write_page
from dolt_watch.clock import DatabaseClock
from dolt_watch.engines.connect import open_engine
from dolt_watch.inspection.report.collector import ReportCollector, read_conditions
from dolt_watch.inspection.report.html import render
from dolt_watch.inspection.report.place import place_of
from dolt_watch.inspection.why.decision_snapshot import FaultTolerantTargets
from dolt_watch.sanitize import sanitize


@click.command()
@settings_options
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    help="Where the page goes; - is standard output.",
)
@click.option(
    "--since",
    metavar="TIME",
    default="7d",
    show_default=True,
    help="A time, or a span back from now (2h).",
)
@click.option("--bead", "beads", metavar="ID", multiple=True, help="Only this bead. Repeatable.")
def command(output: str, since: str, beads: tuple[str, ...], **kwargs: Any) -> int:
    """One page of what happened, to open in a browser: the numbers of `status` and `log`, a
    timeline of beads, failures, every decision.

    The file holds everything and fetches nothing. The database is only read.

    Example: dolt_watch report -o report.html --since 2d
    """

    if not output:
        raise click.BadParameter("'' is no name of a file", param_hint="--output")
    settings = load_settings(kwargs)
    engine, targets = open_engine(settings.address), TargetPool(settings)
    try:
        asked = FaultTolerantTargets(targets)
        reader = build_reader(engine, settings, asked, DatabaseClock())
        found = ReportCollector(place_of(settings)).report(
            reader, engine, lambda now: parse_moment(since, now), beads, asked.capacity
        )
        views = read_conditions(reader, engine, found)
    finally:
        targets.close()
        engine.close()
    if found.since >= found.now.now:
        raise click.BadParameter(f"{since!r} is not before now", param_hint="--since")
    write_page(output, render("report", found, views=views))
    known = {*(row.bead for row in found.rows), *(entry.bead for entry in found.entries)}
    for bead in dict.fromkeys(beads):
        if bead not in known:
            click.echo(
                sanitize(f"warning: nothing was heard of bead {bead} in this span"), err=True
            )
    click.echo(
        f"wrote {output}: {len(found.rows)} beads, {len(found.entries)} decisions",
        err=output == "-",
    )
    return 0
