"""How far the reading of history is, for who waits at a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import click


@contextmanager
def progress(begins: datetime, ends: datetime) -> Iterator[Callable[[datetime], None]]:
    """A bar by the dates of what is read: on a terminal, for what takes longer than a second."""
    whole = max(1, int((ends - begins).total_seconds()))
    if not sys.stderr.isatty():
        yield lambda at: None
        return
    started = time.monotonic()
    bar = click.progressbar(length=whole, label="reading history", file=sys.stderr)
    shown = False

    def told(at: datetime) -> None:
        nonlocal shown
        if not shown and time.monotonic() - started < 1:
            return
        shown = True
        done = min(whole, max(0, int((at - begins).total_seconds())))
        bar.update(done - bar.pos)

    try:
        yield told
    finally:
        if shown:
            bar.render_finish()
