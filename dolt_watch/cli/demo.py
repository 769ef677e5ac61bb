"""``dolt_watch demo``."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dolt_watch.cli.composition import build, build_reader
from dolt_watch.cli.pages import check_page, write_page
from dolt_watch.clock import DatabaseClock
from dolt_watch.config import load
from dolt_watch.demo.scenario import AGENT, PROGRAM, USER, flags_for, run_scenario
from dolt_watch.engines.connect import open_engine
from dolt_watch.inspection.report.collector import ReportCollector
from dolt_watch.inspection.report.html import render
from dolt_watch.targets.registry import TargetPool

if TYPE_CHECKING:
    from dolt_watch.config import Settings
    from dolt_watch.controller.loop import ControlLoop
    from dolt_watch.engines import Engine
    from dolt_watch.engines.address import FileAddress

COLORS = {USER: "cyan", AGENT: "magenta", PROGRAM: "yellow", "ok": "green", "error": "red"}
"""Actor of a line → its color."""
PAGE = "report.html"
"""Name of the report page in the folder that --keep leaves."""


@click.command()
@click.option("--keep", is_flag=True, help="Keep the folder, with a report page in it.")
@click.option(
    "--report", metavar="FILE", type=click.Path(), help="Write a report page of the demo to FILE."
)
def command(keep: bool, report: str | None) -> int:
    """See dolt_watch at work, in about ten seconds.

    An agent works on three beads. One bead is refused at first and tried again, one is done, and
    one is blocked after its agent crashed. The demo uses a DoltLite file in a temporary folder, and
    changes nothing else.

    Exit 1 if the demo did not end as expected, 3 if DoltLite can't be loaded.

    Example: dolt_watch demo --report demo.html
    """
    if report is not None:
        check_page(report)
    # The folder is removed even if a signal ends the demo.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="dolt_watch_demo_"))
    complete = False
    try:
        expected, address = run_scenario(folder, _loop, _echo)
        pages = [str(folder / PAGE)] if keep else []
        if report is not None:
            pages.append(str(Path(report).absolute()) if report != "-" else report)
        for file in pages:
            write_page(file, _page(address))
        complete = True
    finally:
        if not (keep and complete):
            shutil.rmtree(folder, ignore_errors=True)
    _print_next(folder if keep else None, address, pages)
    return 0 if expected else 1


@contextmanager
def _loop(engine: Engine, settings: Settings) -> Iterator[ControlLoop]:
    """Return the same live loop as all commands."""
    with closing(TargetPool(settings.targets)) as targets:
        yield build(engine, settings, targets, DatabaseClock())


def _echo(line: str, actor: str) -> None:
    color = False if os.environ.get("NO_COLOR") else None
    click.echo(click.style(line, fg=COLORS.get(actor)), color=color)


def _page(address: FileAddress) -> str:
    """Return the report page of the last hour. The agent has ended, so no target is asked."""
    settings = load(flags_for(address), {}, Path(address.path).parent)
    with closing(open_engine(address)) as engine:
        loop = build_reader(engine, settings, TargetPool(settings.targets), DatabaseClock())
        hour = timedelta(hours=1)
        return render("report", ReportCollector().report(loop, lambda now: now - hour))


def _print_next(folder: Path | None, address: FileAddress, pages: list[str]) -> None:
    """Print where the page and the folder are, and the next steps."""
    for file in pages:
        click.echo(f"Report page: {file}", err=file == "-")
    if folder is None:
        click.echo("\nNext:")
        if not pages:
            click.echo("  See the report page:  dolt_watch demo --report demo.html")
        click.echo("  Look around yourself: dolt_watch demo --keep")
        click.echo("  Watch your tracker:   dolt_watch init, in a folder with .beads/")
        return
    click.echo(f"\nThe tracker is in {folder}. Look around:")
    for words in ("status", "log", "why demo-3"):
        click.echo(f"  dolt_watch {words} --database {address.url}")
    click.echo(f"  rm -r {folder}")
    click.echo("\nNext:\n  Watch your tracker:   dolt_watch init, in a folder with .beads/")
