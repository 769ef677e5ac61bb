"""Tables in plain text."""

from __future__ import annotations

from collections.abc import Sequence

from dolt_watch.sanitize import sanitize

LONGEST_CELL = 4000
"""Characters of a table's cell: as many as of a line."""


def format_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned columns; the last may run on.

    What others wrote may stand in a cell: it is escaped here, since an escape takes more room.
    """
    rows = [[sanitize(cell, LONGEST_CELL) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads) - 1)]
    return [
        "  ".join(
            [*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]
        ).rstrip()
        for row in [heads, *rows]
    ]
