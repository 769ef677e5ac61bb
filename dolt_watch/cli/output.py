"""The log of commands that run once: its messages as lines on stdout."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from dolt_watch.cli.options import print_line
from dolt_watch.log_events import handling

if TYPE_CHECKING:
    from rich.text import Text

    from dolt_watch.inspection.screen import Screen


def show(screen: Screen, lines: Iterable[Text]) -> None:
    """Print lines that were laid out for the screen."""
    for line in screen.as_text(lines):
        click.echo(line, color=screen.color)


class Console(logging.Handler):
    """A handler that prints the message of each record on stdout.

    A line that can't be printed must not change the outcome of an attempt. ``check`` raises the
    error later.
    """

    def __init__(self) -> None:
        super().__init__()
        self._trouble: Exception | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.print(record.getMessage())

    def print(self, line: str) -> None:
        """Print a line that isn't from the log."""
        try:
            print_line(line)
        except (OSError, ValueError) as error:  # A closed file and UnicodeError are ValueErrors.
            self._trouble = self._trouble or error

    def check(self) -> None:
        """Raise the error of the first line that could not be printed."""
        if self._trouble is not None:
            raise self._trouble


@contextlib.contextmanager
def console() -> Iterator[Console]:
    """Print the log on stdout until the block ends."""
    made = Console()
    with handling(made):
        yield made
