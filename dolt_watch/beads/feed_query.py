"""The query of the change feed: rules, columns and tables."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dolt_watch.beads.schema import TrackerSchema
from dolt_watch.core.rules.compiled_rule import CompiledRule

CELLS = ("status", "assignee", "notes", "started_at", "closed_at")
"""Columns of issues that the derivation of events needs, in addition to those of the rules."""

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
"""Columns with the content of a row. ``events.old_value`` and ``new_value`` are left out: they
repeat the row of ``issues``.
"""


class FeedQuery(NamedTuple):
    """The query of the feed: the compiled rules, and the columns of ``issues``."""

    rules: Sequence[CompiledRule]
    columns: Sequence[str]
    cells: Sequence[str] = CELLS
    """Columns of ``issues`` whose values each row change contains, before and after."""
    include_side_values: bool = False
    """Whether changes of other tables contain the content of the row (``SAYS``)."""
    schema: TrackerSchema = TrackerSchema({})
    """The shape of the beads tables as the tick found it. Empty for readers of history, which look
    it up.
    """

    def under(self, columns: Iterable[str]) -> "FeedQuery":
        """Return the query for a table ``issues`` with these columns."""
        names = list(columns)
        every = set(self.columns) <= set(self.cells)
        cells = (
            [*self.cells, *(name for name in names if name not in self.cells)]
            if every
            else self.cells
        )
        return self._replace(columns=names, cells=cells)
