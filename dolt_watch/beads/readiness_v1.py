"""The first readiness rule of dolt_watch, for `replay --verify` of decisions that were made by it.

An entry of the ledger without `given.readiness` was decided by this rule. It differs from bd's
own rule: any status but `closed` blocks, `waits-for` asks for the target's own status, a blocked
bead blocks its descendants at any depth, and a parent's deferral has no effect. Nothing else may
call it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from dolt_watch.beads.dependency_graph import BLOCKING, CHUNK, PARENT, WAITS_FOR, Query
from dolt_watch.beads.readiness import OWN_COLUMNS, READY, own_hold
from dolt_watch.beads.schema import TrackerSchema
from dolt_watch.core.model import HoldReason
from dolt_watch.engines.sql_text import chunks

_DEPTH = 50
"""Levels of parents that the rule reads."""


def readiness_v1(
    query: Query, beads: Collection[str], schema: TrackerSchema, now: datetime, commit: str
) -> dict[str, HoldReason]:
    """Return the beads that were not ready at the commit, by bead. ``schema``: the commit's."""
    holds: dict[str, HoldReason] = {}
    names = ["id", *(name for name in OWN_COLUMNS if schema.has("issues", name))]
    for chunk in chunks(beads, CHUNK):
        marks = ", ".join("?" * len(chunk))
        sql = f"SELECT {', '.join(names)} FROM issues AS OF ? WHERE id IN ({marks})"
        for row in query(sql, (commit, *chunk)):
            if hold := own_hold(dict(zip(names, row, strict=True)), now):
                holds[row[0]] = hold
        if schema.has("dependencies"):
            holds |= dict.fromkeys(
                _blocked(query, chunk, schema, commit), HoldReason(READY, "blocked")
            )
    return holds


def _blocked(query: Query, ids: Sequence[str], schema: TrackerSchema, commit: str) -> set[str]:
    """Return those that wait for a bead that is not closed, themselves or through a parent."""
    kinds = ", ".join(f"'{kind}'" for kind in (*BLOCKING, WAITS_FOR, PARENT))
    descendants = {id: {id} for id in ids}
    """A bead, or at the next levels an ancestor → the beads of ``ids`` below it."""
    seen: set[tuple[str, str]] = set()
    blocked: set[str] = set()
    # One level of parents a query.
    for _ in range(_DEPTH):
        level = list(descendants)
        rows = query(
            f"SELECT issue_id, {schema.dependency_target()}, type FROM dependencies AS OF"
            f" ? WHERE issue_id IN ({', '.join('?' * len(level))}) AND type IN ({kinds})",
            (commit, *level),
        )
        waits = [(target, id) for id, target, kind in rows if kind != PARENT]
        unclosed = _unclosed(query, [target for target, _ in waits], commit)
        for target, id in waits:
            blocked |= descendants[id] if target in unclosed else set()
        # A pair that was seen ends here: parents can form a cycle.
        above: dict[str, set[str]] = {}
        for id, parent, kind in rows:
            new = (
                {one for one in descendants[id] if (parent, one) not in seen}
                if kind == PARENT
                else set()
            )
            if new:
                above.setdefault(parent, set()).update(new)
                seen |= {(parent, one) for one in new}
        if not above:
            break
        descendants = above
    return blocked


def _unclosed(query: Query, ids: Sequence[str], commit: str) -> set[str]:
    found: set[str] = set()
    for chunk in chunks(dict.fromkeys(ids), CHUNK):
        marks = ", ".join("?" * len(chunk))
        sql = f"SELECT id FROM issues AS OF ? WHERE id IN ({marks}) AND status <> 'closed'"
        found |= {row[0] for row in query(sql, (commit, *chunk))}
    return found
