"""Tables as plain text."""

from __future__ import annotations

from collections.abc import Sequence

from dolt_watch.sanitize import sanitize

LONGEST_CELL = 4000
"""Maximum number of characters of a cell, as of a line."""


def format_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table with aligned columns. The last column isn't padded.

    Cells are escaped before they are measured, because an escape is wider than its character.
    """
    rows = [[sanitize(cell, LONGEST_CELL) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads) - 1)]
    return [
        "  ".join(
            [*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]
        ).rstrip()
        for row in [heads, *rows]
    ]
