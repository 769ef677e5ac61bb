"""Columns of bd's tables that dolt_watch interprets. Pure."""

from __future__ import annotations

KEPT_BY_BD = frozenset(("is_blocked", "row_lock"))
"""Columns of `issues` that bd computes. A change of only these is neither an edit nor a sign of
life.

`is_blocked` follows from other beads and their dependencies. It changes when a blocker is closed,
and bd may leave that change uncommitted. `row_lock` is a new random number with every write of the
row.
"""

TOUCHED = frozenset(("updated_at",))
"""The column of `issues` that differs after a migration wrote a row: it is ON UPDATE
CURRENT_TIMESTAMP.
"""
