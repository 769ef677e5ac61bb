"""What the change feed reads: rules, columns and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dolt_watch.beads.schema import TrackerSchema
from dolt_watch.core.rules.compiled_rule import CompiledRule

CELLS = ("status", "assignee", "notes", "started_at", "closed_at")
"""Columns of issues whose values the derivation needs, besides what the rules ask."""

IDENTITY = ("title", "created_at")
"""Columns that a bead keeps when its id changes."""

SIDE = {
    # table: (expression of the row's own key, of its time, of who did it); {s} is the side, from
    # or to
    "comments": ("{s}_id", "{s}_created_at", "{s}_author"),
    "events": ("{s}_id", "{s}_created_at", "{s}_actor"),
    "labels": ("{s}_label", "NULL", "''"),
    "dependencies": ("{target}", "{s}_created_at", "{s}_created_by"),
}
SAYS = {
    "comments": ("text",),
    "events": ("event_type", "comment"),
    "labels": ("label",),
    "dependencies": ("depends_on_id", "type"),
}
"""Not what bd keeps in ``events.old_value`` and ``new_value``: that is the row of ``issues``
once more.
"""


class FeedQuery(NamedTuple):
    """What the feed looks for: the compiled rules, and the columns that ``issues`` has."""

    rules: Sequence[CompiledRule]
    columns: Sequence[str]
    cells: Sequence[str] = CELLS
    """Columns of ``issues`` whose values are brought, before and after."""
    include_side_values: bool = False
    """Of the other tables, bring what a row says (``SAYS``) too, not only that it is there."""
    schema: TrackerSchema = TrackerSchema({})
    """The shape of beads' tables as the tick found it; empty for readers of history, who ask for
    what they need.
    """

    def under(self, columns: Iterable[str]) -> FeedQuery:
        """The same, where ``issues`` has these columns."""
        names = list(columns)
        every = set(self.columns) <= set(self.cells)
        cells = (
            [*self.cells, *(name for name in names if name not in self.cells)]
            if every
            else self.cells
        )
        return self._replace(columns=names, cells=cells)
