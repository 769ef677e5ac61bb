"""Columns of beads' tables with a meaning of their own. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

KEPT_BY_BD = frozenset(("is_blocked", "row_lock"))
"""Columns of `issues` that bd computes: a change of nothing else is no edit, and no sign of life.

`is_blocked` follows from other beads and their dependencies: it flips when a blocker is closed,
and bd may leave the flip uncommitted. `row_lock` is a new random number with every write of the
row.
"""

TARGETS = ("depends_on_issue_id", "depends_on_wisp_id", "depends_on_external", "depends_on_id")
"""Columns of `dependencies` that hold the target of a dependency.

Up to bd 1.0.4 it is `depends_on_id`. Since 1.0.5 exactly one of the others is not NULL. A commit
in the middle of that migration has all four.
"""


ISSUE_TARGETS = ("depends_on_issue_id", "depends_on_id")
"""Those of them that hold a bead of `issues`.

Only one exists outside of the migration, and it has an index.
"""


def target_expression(
    columns: Collection[str], prefix: str = "", among: Sequence[str] = TARGETS
) -> str:
    """Return the SQL expression of a dependency's target, '' if no column holds one.

    ``columns``: those of the table. ``prefix``: see ``TrackerSchema.dependency_target``.
    """
    found = [f"{prefix}{name}" for name in among if name in columns]
    return found[0] if len(found) == 1 else f"COALESCE({', '.join(found)})" if found else ""
