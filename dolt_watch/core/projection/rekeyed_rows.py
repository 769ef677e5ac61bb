"""Rows with a new id and the same content. Pure.

bd's migrations derive the ids of comments and events from their content.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from dolt_watch.core.model import RowChange

WITH_IDS = frozenset(("comments", "events"))
"""Tables whose key is an id without a meaning.

Labels and dependencies are identified by their content.
"""

TOUCHED = frozenset(("updated_at",))
"""The column of `issues` that differs after a migration wrote a row: it is ON UPDATE
CURRENT_TIMESTAMP.
"""


def without_rekeyed(rows: Iterable[RowChange]) -> tuple[RowChange, ...]:
    """Return one commit's row changes without the pairs that give a row another id.

    Such a pair removes a row and adds one of the same table, bead, author and time.
    """
    rows = tuple(rows)
    gone = Counter(_content(row) for row in rows if row.kind == "removed" and _has_id(row))
    made = (
        Counter(_content(row) for row in rows if row.kind == "added" and _has_id(row))
        if gone
        else Counter()
    )
    pairs = gone & made
    if not pairs:
        return rows
    left = {"removed": Counter(pairs), "added": Counter(pairs)}
    kept = []
    for row in rows:
        if row.kind in left and _has_id(row) and left[row.kind][_content(row)]:
            left[row.kind][_content(row)] -= 1
        else:
            kept.append(row)
    return tuple(kept)


def _has_id(row: RowChange) -> bool:
    return row.table in WITH_IDS and row.at is not None


def _content(row: RowChange) -> tuple[object, ...]:
    return row.table, row.bead, row.who, row.at
