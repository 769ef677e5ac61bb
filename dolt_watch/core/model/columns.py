"""Columns of bd's tables that dolt_watch interprets. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

KEPT_BY_BD = frozenset(("is_blocked", "row_lock"))
"""Columns of `issues` that bd computes. A change of only these is neither an edit nor a sign of
life.

`is_blocked` follows from other beads and their dependencies. It changes when a blocker is closed,
and bd may leave that change uncommitted. `row_lock` is a new random number with every write of the
row.
"""

TARGETS = ("depends_on_issue_id", "depends_on_wisp_id", "depends_on_external", "depends_on_id")
"""Columns of `dependencies` that contain the target of a dependency.

Up to bd 1.0.4 the column is `depends_on_id`. Since 1.0.5 exactly one of the others is not NULL. A
commit in the middle of that migration has all four.
"""


ISSUE_TARGETS = ("depends_on_issue_id", "depends_on_id")
"""The columns of ``TARGETS`` that contain a bead of `issues`.

Outside of the migration only one of them exists, and it has an index.
"""


def target_expression(
    columns: Collection[str], prefix: str = "", among: Sequence[str] = TARGETS
) -> str:
    """Return the SQL expression of a dependency's target.

    Args:
        columns: The columns of the table.
        prefix: See ``TrackerSchema.dependency_target``.
        among: The columns to consider.

    Returns:
        The expression, or '' if no column contains a target.
    """
    found = [f"{prefix}{name}" for name in among if name in columns]
    return found[0] if len(found) == 1 else f"COALESCE({', '.join(found)})" if found else ""
