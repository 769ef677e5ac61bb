"""A progress bar on a terminal, for commands that read history."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import click

SHOWN_AFTER = 1.0
"""Seconds before the bar appears: quick commands show none."""


@contextmanager
def progress(begins: datetime, ends: datetime) -> Iterator[Callable[[datetime], None]]:
    """Show a progress bar by the dates of the commits that are read, if stderr is a terminal.

    Args:
        begins: Date of the first commit.
        ends: Date of the last commit.

    Yields:
        A callback that takes the date of the commit just read.
    """
    whole = max(1, int((ends - begins).total_seconds()))
    if not sys.stderr.isatty():
        yield lambda at: None
        return
    started = time.monotonic()
    bar = click.progressbar(length=whole, label="reading history", file=sys.stderr)
    shown = False

    def update(at: datetime) -> None:
        nonlocal shown
        if not shown and time.monotonic() - started < SHOWN_AFTER:
            return
        shown = True
        done = min(whole, max(0, int((at - begins).total_seconds())))
        bar.update(done - bar.pos)

    try:
        yield update
    finally:
        if shown:
            bar.render_finish()
