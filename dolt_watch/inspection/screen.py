"""Output for people: fitted to a terminal, or plain text for a pipe or a file.

On a terminal, cells are cut to its width and states have colors. Elsewhere nothing is cut,
colored or wrapped, and times are UTC.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime
from typing import NamedTuple

import orjson
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from dolt_watch.sanitize import sanitize
from dolt_watch.timestamps import iso, local_time, localize

LONGEST_CELL = 4000
"""Maximum number of characters of a cell or a sentence."""
GAP = "  "
NARROWEST = 8
"""Cells that a column is cut down to when no column is left to leave out."""
_BAD = (
    *("quarantined", "reaped", "blocked", "stopped", "unmet", "failure"),
    *("worker", "target", "outage", "merge", "migration"),
)
STATES = {
    **dict.fromkeys(_BAD, ("✗", "x", "red")),
    **dict.fromkeys(("overdue", "silent", "warning"), ("!", "!", "yellow")),
    **dict.fromkeys(("failed", "busy", "backoff"), ("↻", "~", "yellow")),
    **dict.fromkeys(("done", "met", "ok", "recovered"), ("✓", "+", "green")),
    "unknown": ("?", "?", "magenta"),
    "running": ("▶", ">", "blue"),
    "claimed": ("…", ".", "blue"),
    "waiting": ("·", "-", "cyan"),
    "held": ("‖", "=", "yellow"),
}
"""State → its symbol, the symbol for a terminal without UTF-8, and its color."""


_ANSWER = re.compile(r'(HTTP \d{3}): (\{"(?:error|detail)": ?"(?:[^"\\]|\\.)*"\})')
"""The answer of a service whose JSON is only a message."""


def _message(found: re.Match[str]) -> str:
    try:
        (message,) = orjson.loads(found[2]).values()
    except ValueError:
        return found[0]
    return f"{found[1]}: {message}"


class Column(NamedTuple):
    """How a column adapts to the width of a terminal."""

    head: str = ""
    least: int = 0
    """The column is cut down to this many cells. 0: it is never cut."""
    drop: int = 0
    """Columns with higher numbers are left out first. 0: the column is always shown."""
    right: bool = False


class Cell(NamedTuple):
    text: str
    style: str = ""


@dataclass(frozen=True)
class Screen:
    """The output of a command."""

    terminal: bool
    """Whether it is a terminal."""
    width: int
    """Cells in a line. 0: no limit."""
    height: int
    """Lines of the terminal. 0: no limit."""
    _: KW_ONLY
    color: bool
    """Whether styles become colors."""
    unicode: bool
    """Whether symbols beyond ASCII can be shown."""
    now: datetime | None = None
    """The moment of the view. Times of that day have no date."""

    @property
    def ellipsis(self) -> str:
        return "…" if self.unicode else "..."

    @classmethod
    def of_stdout(cls) -> Screen:
        """Return the screen of standard output, by NO_COLOR, TERM and its encoding."""
        if not sys.stdout.isatty():
            return cls(False, 0, 0, color=False, unicode=False)
        size = shutil.get_terminal_size()
        encoding = (getattr(sys.stdout, "encoding", None) or "").lower()
        color = not os.environ.get("NO_COLOR") and not is_dumb()
        unicode = encoding.replace("-", "").startswith("utf")
        return cls(True, size.columns, size.lines, color=color, unicode=unicode)

    def at(self, now: datetime) -> Screen:
        """Return this screen, for a view of that moment."""
        return replace(self, now=now)

    def sentence(self, text: str) -> str:
        """Return a sentence of dolt_watch, on a terminal with local times, and with the message of
        a service instead of the JSON around it. Other output has it as it is recorded.
        """
        return localize(_ANSWER.sub(_message, text), self.now) if self.terminal else text

    def state(self, state: str) -> Cell:
        """Return the cell of a state: on a terminal its symbol and its word, else the word."""
        symbol, plain, style = STATES.get(state, (" ", " ", ""))
        if not self.terminal:
            return Cell(state)
        return Cell(f"{symbol if self.unicode else plain} {state}", style)

    def mark(self, state: str) -> Cell:
        """Return the symbol of a state, which the state's color has on a terminal."""
        symbol, plain, style = STATES[state]
        return Cell(symbol if self.unicode or not self.terminal else plain, style)

    def moment(self, at: datetime, now: datetime) -> str:
        """Return a time: local on a terminal, else UTC. A time of another day has its date."""
        return local_time(at, now) if self.terminal else iso(at)

    # -- layout --------------------

    def rows(
        self,
        columns: Sequence[Column],
        rows: Sequence[Sequence[Cell]],
        indent: int = 0,
        *,
        wrap: bool = False,
    ) -> list[Text]:
        """Return aligned lines: columns are left out and cells are cut until they fit.

        Args:
            indent: cells before each line.
            wrap: the last column is wrapped instead of cut.
        """
        table = [[Cell(sanitize(text, LONGEST_CELL), style) for text, style in row] for row in rows]
        if any(column.head for column in columns):
            table.insert(0, [Cell(column.head, "dim") for column in columns])
        widths = [
            max((cell_len(row[number].text) for row in table), default=0)
            for number in range(len(columns))
        ]
        shown = self._shown(columns, widths, indent, table, wrap)
        if not (wrap and table):
            return [self._row(row, columns, shown, indent) for row in table]
        lines = []
        *_, last = shown
        left = indent + sum(shown.values()) - shown[last] + len(GAP) * (len(shown) - 1)
        for row in table:
            text, style = row[last]
            first, *more = self._wrapped(text, shown[last])
            lines.append(self._row([*row[:last], Cell(first, style)], columns, shown, indent))
            lines += [self._fit(Text(" " * left + part, style)) for part in more]
        return lines

    def prose(
        self,
        text: str,
        indent: int = 0,
        style: str = "",
        first: str = "",
        first_style: str = "",
    ) -> list[Text]:
        """Return a sentence, on a terminal with local times and wrapped at blanks.

        Args:
            indent: cells before each line.
            first: what the first line has in place of that indent.
            first_style: the style of that.
        """
        line = Text(sanitize(self.sentence(text), LONGEST_CELL), style)
        begin = Text().append(sanitize(first, LONGEST_CELL).ljust(indent), first_style or None)
        room = self.width - indent
        if not self.width or room < 8 or cell_len(line.plain) <= room:
            return [self._fit(begin + line)]
        blank = Text(" " * indent)
        parts = [Text(part, style) for part in self._wrapped(line.plain, room)]
        return [begin + parts[0], *(blank + part for part in parts[1:])]

    def _wrapped(self, text: str, width: int) -> list[str]:
        """Break a text at blanks, never at hyphens: commands and IDs stay whole."""
        if not self.width or cell_len(text) <= width:
            return [text]
        wrapped = Text(text).wrap(Console(width=width, file=io.StringIO()), width)
        return [part.plain.rstrip() for part in wrapped] or [""]

    def heading(self, text: str, more: str = "") -> Text:
        """Return the heading of a section."""
        line = Text(sanitize(text, LONGEST_CELL), "bold")
        return self._fit(line.append(f"{GAP}{sanitize(more)}" if more else "", "not bold"))

    def split(self, left: Text, right: str) -> Text:
        """Return a line with a text at its right end, if both fit."""
        right = sanitize(right, LONGEST_CELL)
        pad = self.width - cell_len(left.plain) - cell_len(right)
        return left + Text(" " * pad + right) if self.terminal and pad >= 2 else left

    def as_text(self, lines: Iterable[Text]) -> Iterator[str]:
        """Yield lines as text, with escape sequences if the screen has colors."""
        if not self.color:
            for line in lines:
                yield line.plain.rstrip()
            return
        out = io.StringIO()
        console = Console(
            file=out, force_terminal=True, color_system="standard", width=max(self.width, 1)
        )
        for line in lines:
            line.rstrip()
            console.print(line, soft_wrap=True, highlight=False)
        yield from out.getvalue().splitlines()

    def _shown(
        self,
        columns: Sequence[Column],
        widths: Sequence[int],
        indent: int,
        table: Sequence[Sequence[Cell]],
        wrap: bool,
    ) -> dict[int, int]:
        """Return the columns that are shown → their width."""
        kept = [number for number, width in enumerate(widths) if width]
        if not self.width:
            return {number: widths[number] for number in kept}

        def least(number: int) -> int:
            return min(widths[number], columns[number].least or widths[number])

        def room() -> int:
            gaps = len(GAP) * (len(kept) - 1)
            return self.width - indent - gaps - sum(least(number) for number in kept)

        while room() < 0:
            last = max(kept, key=lambda number: (columns[number].drop, number), default=None)
            if last is None or not columns[last].drop:
                break
            kept.remove(last)
        shown = {number: least(number) for number in kept}
        free = room()
        for number in kept if free < 0 else ():  # no column is left to leave out: cut further
            if columns[number].least:
                cut_by = min(-free, max(0, shown[number] - NARROWEST))
                shown[number] -= cut_by
                free += cut_by
        # Each cell that is left goes to the column in which it shows one more character of most
        # rows. One long text doesn't take the room of a column whose texts are all cut.
        lengths = {number: [cell_len(row[number].text) for row in table] for number in kept}
        while free > 0 and (cut := [number for number in kept if shown[number] < widths[number]]):
            most = max(
                cut,
                key=lambda number: (
                    not (wrap and number == kept[-1]),  # a column that is wrapped comes last
                    sum(length > shown[number] for length in lengths[number]),
                    shown[number] - widths[number],  # what needs the least comes first
                ),
            )
            shown[most] += 1
            free -= 1
        return shown

    def _row(
        self, row: Sequence[Cell], columns: Sequence[Column], shown: dict[int, int], indent: int
    ) -> Text:
        line = Text(" " * indent)
        for place, (number, width) in enumerate(shown.items()):
            text, style = row[number]
            text = self._cut(text, width)
            pad = " " * (width - cell_len(text))
            line.append(GAP if place else "")
            line.append(pad if columns[number].right else "")
            line.append(text, style or None)
            line.append("" if columns[number].right else pad)
        line.rstrip()
        return self._fit(line)

    def _fit(self, line: Text) -> Text:
        """Cut a line that is still wider than the terminal."""
        if self.width and cell_len(line.plain) > self.width:
            return Text(self._cut(line.plain, self.width))
        return line

    def _cut(self, text: str, width: int) -> str:
        if cell_len(text) <= width:
            return text
        room = width - cell_len(self.ellipsis)
        if room < 1:
            return set_cell_size(text, width)
        return set_cell_size(text, room).rstrip() + self.ellipsis


def is_dumb() -> bool:
    """Return whether the terminal can neither move its cursor nor show colors."""
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")
