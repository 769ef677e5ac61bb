"""Changes of a bead's id. Pure.

`bd rename` and `bd rename-prefix` remove the row and add it under another id, in one commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dolt_watch.core.model import RowChange

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
