"""Leases: heartbeats that bd 1.3 keeps of agents at work, in a table that no commit holds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from dolt_watch.beads.schema import TrackerSchema
from dolt_watch.core.model import Lease
from dolt_watch.engines import Param, Row
from dolt_watch.engines.sql_text import chunks
from dolt_watch.timestamps import parse_foreign

_CHUNK = 200


def read_leases(
    query: Callable[[str, Sequence[Param]], list[Row]],
    schema: TrackerSchema,
    beads: Collection[str],
) -> dict[str, Lease]:
    """Return the leases of these beads as they are now. Without the table, nothing is asked."""
    if not schema.has_leases:
        return {}
    leases = {}
    for chunk in chunks(beads, _CHUNK):
        marks = ", ".join("?" * len(chunk))
        sql = (
            "SELECT issue_id, holder, heartbeat_at, lease_expires_at FROM leases WHERE issue_id IN"
            f" ({marks})"
        )
        for bead, holder, heartbeat, expires in query(sql, chunk):
            if (at := parse_foreign(heartbeat)) is not None:
                leases[bead] = Lease(holder, at, parse_foreign(expires) or at)
    return leases
