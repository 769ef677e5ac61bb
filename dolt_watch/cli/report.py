"""``dolt_watch report``."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import click

from dolt_watch.cli.composition import build_reader
from dolt_watch.cli.options import bead_option, load_settings, settings_options
from dolt_watch.cli.pages import check_page, write_page
from dolt_watch.cli.times import resolve_time
from dolt_watch.clock import DatabaseClock
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import SettingsError
from dolt_watch.inspection.bead_ids import require_bead
from dolt_watch.inspection.report.collector import ReportCollector, read_conditions
from dolt_watch.inspection.report.html import render
from dolt_watch.inspection.report.place import place_of
from dolt_watch.inspection.why.decision_snapshot import FaultTolerantTargets
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.registry import TargetPool


@click.command()
@settings_options
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    help="File to write. Use - for stdout.",
)
@click.option(
    "--since",
    metavar="TIME",
    default="7d",
    help=(
        "Start of the page: a timestamp (2026-04-18T22:35:46Z), a duration back from now (2h),"
        " 'yesterday', or a commit."
    ),
)
@bead_option("Show only this bead. Repeatable.", multiple=True)
def command(output: str, since: str, bead: tuple[str, ...], **kwargs: Any) -> int:
    """Write an HTML page about recent activity.

    The page contains the figures of `status` and `log`, a timeline of beads, failures, and each
    decision. It is one file that loads nothing from the network. The command writes nothing to the
    database.

    Example: dolt_watch report -o report.html --since 2d
    """
    check_page(output)
    settings = load_settings(kwargs)
    with (
        closing(open_engine(settings.address)) as engine,
        closing(TargetPool(settings.targets)) as targets,
    ):
        # A mistyped ID would give an empty page, which looks like inactivity.
        beads = tuple(dict.fromkeys(require_bead(engine, each, "--bead") for each in bead))
        tolerant = FaultTolerantTargets(targets)
        reader = build_reader(engine, settings, tolerant, DatabaseClock())
        found = ReportCollector(place_of(settings)).report(
            reader,
            lambda now: resolve_time(engine, since, now, "--since"),
            beads,
            tolerant.capacity,
        )
        views = read_conditions(reader, found)
    # Checked this late, because the database's clock decides.
    if found.since >= found.now.now:
        raise SettingsError(
            f"--since must be in the past, but is {since!r}.",
            where="--since",
            fix="Specify an earlier time, for example 2h.",
        )
    write_page(output, render("report", found, views=views))
    # A bead can exist and have no activity in this period.
    known = {*(row.bead for row in found.rows), *(entry.bead for entry in found.entries)}
    for each in beads:
        if each not in known:
            click.echo(sanitize(f"warning: bead {each} had no activity in this period"), err=True)
    click.echo(
        f"wrote {output}: {len(found.rows)} beads, {len(found.entries)} decisions",
        err=output == "-",
    )
    return 0
