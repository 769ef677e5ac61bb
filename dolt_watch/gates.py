"""Gates: why a bead that matches its rule may not go now, asked of the rows as they are.

Readiness is bd's own: what `bd ready` leaves out is not dispatched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from dolt_watch.engines import Param, Row
from dolt_watch.model import Hold
from dolt_watch.times import iso, told

Query = Callable[[str, Sequence[Param]], list[Row]]

BLOCKING = ("blocks", "conditional-blocks", "waits-for")
LEFT_OUT = ("merge-request", "gate", "molecule", "message", "agent", "role", "rig")
"""Types of issue that `bd ready` never lists."""

_FLAGS = {"pinned": "pinned", "is_template": "a template", "ephemeral": "ephemeral"}
_CHUNK = 200


def readiness(query: Query, beads: Collection[str], columns: Collection[str], now: datetime) -> dict[str, Hold]:
    """The beads that are not ready, and why. ``columns``: those that ``issues`` has in this release of beads."""
    holds: dict[str, Hold] = {}
    ids = list(beads)
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        holds |= _rows(query, chunk, columns, now)
    return holds


def _rows(query: Query, ids: Sequence[str], columns: Collection[str], now: datetime) -> dict[str, Hold]:
    asked = [name for name in (*_FLAGS, "issue_type", "defer_until") if name in columns]
    marks, kinds = ", ".join("?" * len(ids)), ", ".join(f"'{kind}'" for kind in BLOCKING)
    rows = query(
        "SELECT b.id, (SELECT MIN(d.depends_on_id) FROM dependencies d JOIN issues i ON i.id = d.depends_on_id "
        f"WHERE d.issue_id = b.id AND d.type IN ({kinds}) AND i.status <> 'closed'), "
        f"{', '.join(f'b.{name}' for name in asked)} FROM issues b WHERE b.id IN ({marks})",
        ids,
    )
    holds = {}
    for bead, blocker, *values in rows:
        cells = dict(zip(asked, values, strict=True))
        deferred = told(cells.get("defer_until"))
        if blocker:
            holds[bead] = Hold("ready", f"blocked by {blocker}, which is not closed")
        elif flag := next((words for name, words in _FLAGS.items() if cells.get(name)), None):
            holds[bead] = Hold("ready", f"it is {flag}")
        elif cells.get("issue_type") in LEFT_OUT:
            holds[bead] = Hold("ready", f"bd ready leaves out the type {cells['issue_type']}")
        elif deferred is not None and deferred > now:
            holds[bead] = Hold("ready", f"deferred until {iso(deferred)}")
    return holds
