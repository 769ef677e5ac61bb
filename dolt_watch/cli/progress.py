"""Progress bars on a terminal, for commands that read all of history."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

QUIET = 1.0
"""Seconds of a phase before its bar is shown: a short command prints none."""


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function that reports progress: phase, steps done, all steps of the phase.

    Each phase has its own bar, so no bar shows 100 % during the next phase.
    """
    if not sys.stderr.isatty():
        yield lambda phase, done, total: None
        return
    bars = _Bars()
    try:
        yield bars.report
    finally:
        bars.finish()


class _Bars:
    """The bar of the current phase."""

    def __init__(self) -> None:
        self._phase = ""
        self._started = time.monotonic()
        self._bar: ProgressBar[int] | None = None

    def report(self, phase: str, done: int, total: int) -> None:
        if phase != self._phase:
            self.finish()
            self._phase, self._started = phase, time.monotonic()
        if self._bar is None:
            if time.monotonic() - self._started < QUIET:
                return
            self._bar = click.progressbar(length=max(1, total), label=phase, file=sys.stderr)
        self._bar.update(min(done, max(1, total)) - self._bar.pos)

    def finish(self) -> None:
        if self._bar is not None:
            self._bar.render_finish()
        self._bar = None
