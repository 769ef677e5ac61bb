"""``dolt_watch demo``."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dolt_watch.cli.composition import TargetPool, build
from dolt_watch.clock import DatabaseClock
from dolt_watch.demo.scenario import run_scenario

if TYPE_CHECKING:
    from dolt_watch.config import Settings
    from dolt_watch.controller.loop import ControlLoop
    from dolt_watch.engines import Engine
    from dolt_watch.engines.address import FileAddress


@click.command()
@click.option("--keep", is_flag=True, help="Leave the folder, and say how to look around in it.")
def command(keep: bool) -> int:
    """See it work, in a temporary folder, in ten seconds.

    Beads are assigned, dispatched, and done; one agent dies and is reaped; one bead is refused
    and comes back. Touches nothing of yours: the tracker is a DoltLite file of its own.

    Exit 1 when the story did not end as it should, 3 when DoltLite cannot be loaded.

    Example: dolt_watch demo --keep
    """

    # Ended from outside, it still takes its folder away.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="dolt_watch_demo_"))
    told = False
    try:
        as_it_should, where = run_scenario(folder, _loop, click.echo)
        told = True
    finally:
        if not (keep and told):
            shutil.rmtree(folder, ignore_errors=True)
    if keep:
        _look_around(folder, where)
    return 0 if as_it_should else 1


@contextmanager
def _loop(engine: Engine, settings: Settings) -> Iterator[ControlLoop]:
    """The same loop as every command's."""

    targets = TargetPool(settings)
    try:
        yield build(engine, settings, targets, DatabaseClock())
    finally:
        targets.close()


def _look_around(folder: Path, where: FileAddress) -> None:
    click.echo(f"\nThe folder is left: {folder}. Look around:\n")
    for words in ("log", "log --bead demo-1 --format json", "status"):
        verb, *more = words.split()
        click.echo("  " + " ".join(["dolt_watch", verb, "--database", where.url, *more]))
    click.echo(f"  rm -r {folder}")
