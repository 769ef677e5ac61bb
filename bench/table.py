"""Figures for the declared lines, and their format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bench.lines import FLOOR, ORIGINAL, OURS, Line, Part

WIDE = 46
HEAD = ("what", "at", "dolt_watch", "floor", "×", "original", "×", "bar", "")


class Figure(NamedTuple):
    """The measured value of the line with this name, in its unit. ``at`` is the size."""

    name: str
    ours: float
    floor: float | None = None
    original: float | None = None
    at: str = ""


class Row(NamedTuple):
    """A line and its figure."""

    line: Line
    figure: Figure

    def ratio(self, of: str) -> float | None:
        """Return the value divided by the floor or the original."""
        beside = {FLOOR: self.figure.floor, ORIGINAL: self.figure.original}[of]
        return self.figure.ours / beside if beside else None

    @property
    def holds(self) -> bool | None:
        """Return whether the figure meets its bar.

        None means that there is no bar, or no original to compare with.
        """
        bar = self.line.bar
        if bar is None:
            return None
        if bar.of == ORIGINAL and self.figure.original is None:
            return None
        value = self.figure.ours if bar.of == OURS else self.ratio(bar.of)
        return value is not None and value <= bar.most

    @property
    def cells(self) -> tuple[str, ...]:
        """Return the cells for the columns of ``HEAD``."""
        line, figure = self.line, self.figure
        by = [
            "" if (ratio := self.ratio(of)) is None else f"{ratio:.2f}" for of in (FLOOR, ORIGINAL)
        ]
        values = [_told(value, line.unit) for value in (figure.ours, figure.floor, figure.original)]
        verdict = {None: "", True: "holds", False: "fails"}[self.holds]
        return (
            line.name,
            figure.at,
            values[0],
            values[1],
            by[0],
            values[2],
            by[1],
            bar(line),
            verdict,
        )


def bar(line: Line) -> str:
    """Return the bar as text, for example '≤ 1.4 × floor'."""
    if line.bar is None:
        return ""
    if line.bar.of == OURS:
        return f"≤ {_told(line.bar.most, line.unit)}"
    return f"≤ {line.bar.most:g} × {line.bar.of}"


def rows(part: Part, figures: Iterable[Figure]) -> Iterator[Row]:
    """Yield the rows one after another, as they are measured.

    Raises RuntimeError if a line is missing or not declared.
    """
    open_lines = {line.name: line for line in part.lines}
    for figure in figures:
        if figure.name not in open_lines:
            raise RuntimeError(f"{part.name}: not declared, or measured twice: {figure.name}")
        yield Row(open_lines.pop(figure.name), figure)
    if open_lines:
        raise RuntimeError(f"{part.name}: not measured: {', '.join(open_lines)}")


def printed(cells: Iterable[str]) -> str:
    """Return the row for a terminal."""
    what, at, ours, floor, by, original, times, most, verdict = cells
    return (
        f"{what:<{WIDE}} {at:>16} {ours:>10} {floor:>9} {by:>6} {original:>9} {times:>6}"
        f"  {most:<16} {verdict}"
    )


def _told(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    digits = {"ms": 1, "s": 2, "/s": 1, "MB": 0, "KB": 0, "B": 0}.get(unit)
    return f"{value:.4g}" if digits is None else f"{value:,.{digits}f} {unit}"
