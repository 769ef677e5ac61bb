"""Rows with another key: renamed beads, and rows to which a migration of bd gives another ID. Pure.

`bd rename` and `bd rename-prefix` remove a bead's row and add it under another ID, in one commit.
bd's migrations derive the IDs of comments and events from their content.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from dolt_watch.core.model import RowChange

WITH_IDS = frozenset(("comments", "events"))
"""Tables whose key is an id without a meaning.

Labels and dependencies are identified by their content.
"""


def without_rekeyed(rows: Sequence[RowChange]) -> tuple[RowChange, ...]:
    """Return one commit's row changes without the pairs that give a row another id.

    Such a pair removes a row and adds one of the same table, bead, author and time.
    """
    gone = Counter(_content(row) for row in rows if row.kind == "removed" and _has_id(row))
    made = (
        Counter(_content(row) for row in rows if row.kind == "added" and _has_id(row))
        if gone
        else Counter()
    )
    pairs = gone & made
    if not pairs:
        return tuple(rows)
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


COMPARED = ("status", "assignee", "notes", "started_at", "closed_at")


def renames(rows: Iterable[RowChange]) -> Iterator[tuple[RowChange, RowChange]]:
    """Yield the rows of ``issues`` that one commit moved to another id.

    Both rows have the same ``created_at``, and the same title or the same end of the id: `bd
    rename-prefix` also rewrites ids in texts. If several rows fit equally well, none is taken.

    Yields:
        The removed row, and the change from it to the row under the new id.
    """
    rows = list(rows)
    gone = [row for row in rows if row.kind == "removed" and row.identity]
    made = [row for row in rows if row.kind == "added" and row.identity] if gone else []
    by_time: dict[object, list[RowChange]] = {}
    for new in made:
        by_time.setdefault(new.identity[1], []).append(new)
    taken: set[str] = set()
    for old in gone:
        fits = [
            (_likeness(old, new), new)
            for new in by_time.get(old.identity[1], ())
            if new.bead not in taken
        ]
        best = max((like for like, _ in fits), default=0)
        found = [new for like, new in fits if like == best]
        if best and len(found) == 1:
            taken.add(found[0].bead)
            yield old, _moved(old, found[0])


def _likeness(old: RowChange, new: RowChange) -> int:
    """Return how alike two rows are. Zero: they are different beads.

    The end of the id counts most: if many beads are renamed at once, each keeps it.
    """
    end = _end(old.bead) == _end(new.bead)
    title = old.identity[0] == new.identity[0]
    alike = sum(old.before.get(name) == new.after.get(name) for name in COMPARED)
    return 1 + 20 * end + 10 * title + alike if end or title else 0


def _end(bead: str) -> str:
    return bead.rpartition("-")[2]


def _moved(old: RowChange, new: RowChange) -> RowChange:
    """Return the removal and the addition as one change of one row."""
    names = {*old.before, *new.after} - {"id", "updated_at"}
    changed = tuple(sorted(name for name in names if old.before.get(name) != new.after.get(name)))
    pairs = zip(old.answers, new.answers, strict=True)
    answers = tuple(
        now._replace(matched=was.matched, was_running=was.was_running) for was, now in pairs
    )
    return new._replace(
        kind="modified", changed=(*changed, "id"), before=old.before, answers=answers
    )
