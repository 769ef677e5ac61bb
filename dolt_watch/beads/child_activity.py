"""Activity on a bead's children spares the bead from the reaper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from dolt_watch.beads.dependency_graph import CHUNK, PARENT, Query
from dolt_watch.beads.schema import ISSUE_TARGETS, target_expression
from dolt_watch.core.decisions.reap_policy import MAX_ZONE_OFFSET
from dolt_watch.core.model import HoldReason
from dolt_watch.engines import Engine
from dolt_watch.engines.sql_text import chunks
from dolt_watch.errors import NoSuchTable
from dolt_watch.timestamps import iso, parse_foreign

_DEPTH = 50
"""Levels of children that are read, as bd does."""


def spared_by_children(
    engine: Engine, since: Mapping[str, datetime], commit: str, now: datetime
) -> dict[str, HoldReason]:
    """Return the beads, such as epics, whose children at any depth show activity.

    Activity counts by the children's own times, as bd writes them. It spares a bead and never
    causes a decision. A time further in the future than a wrong zone explains does not count: it
    would spare the bead forever.

    Args:
        since: bead → the time from which activity counts.
        commit: the commit whose rows are read.
    """
    if not since:
        return {}
    query = engine.query
    target = target_expression(engine.columns("dependencies", commit), among=ISSUE_TARGETS)
    if not target:
        return {}  # history doesn't have the table, and so no children
    holds: dict[str, HoldReason] = {}
    stands_for = {bead: {bead} for bead in since}
    seen: set[tuple[str, str]] = set()
    for _ in range(_DEPTH):
        ids = list(stands_for)
        pairs = query(
            f"SELECT issue_id, {target} FROM dependencies AS OF ? WHERE {target} IN"
            f" ({', '.join('?' * len(ids))}) AND type = '{PARENT}'",
            (commit, *ids),
        )
        below: dict[str, set[str]] = {}
        for child, parent in pairs:
            new = {bead for bead in stands_for[parent] if (child, bead) not in seen}
            if new:
                below.setdefault(child, set()).update(new)
                seen |= {(child, bead) for bead in new}
        if not below:
            break
        for child, at, what in _last(query, list(below), commit, now + MAX_ZONE_OFFSET):
            for bead in below[child]:
                if at > since[bead]:
                    holds.setdefault(
                        bead, HoldReason("children", f"its child {child} has a {what} of {iso(at)}")
                    )
        stands_for = below
    return holds


def _last(
    query: Query, ids: Sequence[str], commit: str, until: datetime
) -> Iterator[tuple[str, datetime, str]]:
    for table, key, time, what in (
        ("issues", "id", "updated_at", "change"),
        ("comments", "issue_id", "created_at", "comment"),
        ("events", "issue_id", "created_at", "event"),
    ):
        for chunk in chunks(ids, CHUNK):
            those = f"{key} IN ({', '.join('?' * len(chunk))}) AND {time} <= ?"
            try:
                rows = query(
                    f"SELECT {key}, MAX({time}) FROM {table} AS OF ? WHERE {those} GROUP BY {key}",
                    (commit, *chunk, until),
                )
            except (
                NoSuchTable
            ):  # `events` left history with bd 1.3; older commits may lack any other
                break
            yield from (
                (id, at, what)
                for id, at in ((id, parse_foreign(at)) for id, at in rows)
                if at is not None
            )
