"""The log of a one-shot command: its lines on stdout, as they are."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from dolt_watch.cli.options import say
from dolt_watch.log_events import handling

if TYPE_CHECKING:
    from rich.text import Text

    from dolt_watch.inspection.screen import Screen


def show(screen: Screen, lines: Iterable[Text]) -> None:
    """Print lines that were laid out for the screen."""
    for line in screen.as_text(lines):
        click.echo(line, color=screen.color)


class Console(logging.Handler):
    """Prints the message of each record on stdout.

    A line that nobody takes must not decide what becomes of an attempt: ``check`` raises it later.
    """

    def __init__(self) -> None:
        super().__init__()
        self._trouble: Exception | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.print(record.getMessage())

    def print(self, line: str) -> None:
        """Print a line of the command's own."""
        try:
            say(line)
        except (OSError, ValueError) as error:  # UnicodeError is a ValueError, as is a closed file
            self._trouble = self._trouble or error

    def check(self) -> None:
        """Raises what the first line that was lost had raised."""
        if self._trouble is not None:
            raise self._trouble


@contextlib.contextmanager
def console() -> Iterator[Console]:
    """Print the log on stdout until the block ends."""
    made = Console()
    with handling(made):
        yield made
