"""``dolt_watch dispatch``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from dolt_watch.cli.options import load_settings, settings_options, tick_options
from dolt_watch.cli.tick_runner import run_tick


@click.command()
@settings_options
@tick_options
def command(dry_run: bool, now: datetime | None, metrics_file: str | None, **kwargs: Any) -> int:
    """Hand waiting beads to their target.

    Exit 1 when a dispatch failed, is unknown, or the target is down while beads wait.

    Example: dolt_watch dispatch --dry-run
    """
    return run_tick(
        load_settings(kwargs), ("dispatch",), dry_run=dry_run, now=now, metrics_file=metrics_file
    )
