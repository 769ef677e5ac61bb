"""Readiness: whether `bd ready` lists a bead, decided from the tracker's rows by bd's own rule.

bd has two rules, and the shape of the tables says which one applies (never a version):

- Before `issues.is_blocked` (bd 1.0.2 to 1.0.4), bd computes the blocked beads at each `bd
  ready`. A blocked bead blocks its children, but not their children. Wisps are not read.
- Since `is_blocked` (bd 1.0.5), a blocked bead blocks its descendants at any depth, wisps count,
  and bd keeps the result in that column.

Both rules have these parts (read in bd's source, and compared with recordings of real releases):

- A bead is *active* unless its status is `closed` or `pinned`. Custom statuses are active.
- `blocks` and `conditional-blocks` block while the target is active. A target that does not
  exist, or that is external, does not block.
- `waits-for` blocks while a child of the target is active, whatever the target's own status is.
  With `{"gate": "any-children"}` in its metadata, one closed child is enough.
- A direct child of a deferred parent is not ready. Deferral does not reach grandchildren.
- A bead that is pinned, ephemeral, deferred, or of an internal type is not ready.

Where dolt_watch is stricter than `bd ready`, docs/decisions/0017-readiness.md says why.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from dolt_watch.beads.dependency_graph import CHUNK, INACTIVE, ISSUE, DependencyGraph, Query
from dolt_watch.beads.schema import TrackerSchema, schema_at
from dolt_watch.core.decisions.policy import UNCOMMITTED, UNVERSIONED
from dolt_watch.core.model import EMPTY, CommitChanges, GateResult, HoldReason, RowChange
from dolt_watch.engines import Engine
from dolt_watch.engines.sql_text import chunks
from dolt_watch.errors import NoSuchTable, SchemaChanged
from dolt_watch.timestamps import iso, parse_any

READY = "ready"
"""The gate of a bead that is not ready by the rows in history."""

INTERNAL_TYPES = ("merge-request", "gate", "molecule", "message", "agent", "role", "rig")
"""Types of issue that `bd ready` never lists."""

OWN_COLUMNS = ("pinned", "is_template", "ephemeral", "issue_type", "defer_until")
"""Columns of a bead's own row that decide whether it is ready."""

_FLAGS = {"pinned": "pinned", "is_template": "a template", "ephemeral": "ephemeral"}
_FEW = 4
"""Beads at the head of a queue that are checked first. Twenty take 2.2 ms instead of 1.4 ms."""
_GROWTH = 5
"""Each next chunk of a queue is larger by this factor."""


class Readiness(NamedTuple):
    """The beads that are not ready, as the working set or one commit has them."""

    holds: Mapping[str, HoldReason] = EMPTY
    """By bead. The gate is `ready`, or `unversioned` if the reason is not in history."""
    blocked: Mapping[str, HoldReason] = EMPTY
    """The reasons that are not in a bead's own row (parents, dependencies, `is_blocked`), by
    bead.
    """
    until: Mapping[str, datetime] = EMPTY
    """Held bead → the moment at which a deferral that holds it ends."""
    unsure: frozenset[str] = frozenset()
    """Beads without a hold for which rows outside of history can be a reason: wisps, or
    `is_blocked`.

    Always empty for the working set, in which those rows are read.
    """


def readiness(
    query: Query,
    beads: Collection[str],
    schema: TrackerSchema,
    now: datetime,
    commit: str = "",
) -> Readiness:
    """Return which of the beads are not ready, and why.

    Args:
        query: reads, inside or outside a transaction.
        schema: the shape of the tables that are read (at the commit, if there is one).
        now: aware, UTC; deferrals that end later hold a bead.
        commit: full hash; '' reads the working set.

    Costs two queries for 200 beads without dependencies; two more for each level of parents.
    Raises SchemaChanged if the shape is another one.
    """
    own: dict[str, HoldReason] = {}
    blocked: dict[str, HoldReason] = {}
    until: dict[str, datetime] = {}
    unsure: set[str] = set()
    for chunk in chunks(dict.fromkeys(beads), CHUNK):
        marked: set[str] = set()
        for bead, row in _own_rows(query, chunk, schema, commit).items():
            deferral = parse_any(row.get("defer_until"))
            if hold := own_hold(row, now):
                own[bead] = hold
            if deferral is not None and deferral > now:
                until[bead] = deferral
            if row.get("is_blocked"):
                marked.add(bead)
        graph = DependencyGraph(query, schema, commit)
        graph.load(chunk)
        for bead in chunk:
            # Most beads depend on nothing.
            depends = bool(graph.edges[ISSUE, bead])
            reasons = list(graph.reasons(bead, now)) if depends else []
            for end in (one.until for one in reasons if one.until is not None):
                until[bead] = min(end, until.get(bead, end))
            if reasons:
                first = min(reasons, key=lambda one: one.unversioned)  # stable: in the rule's order
                blocked[bead] = HoldReason(UNVERSIONED if first.unversioned else READY, first.text)
            elif commit and (bead in marked or (depends and graph.reads_wisps(bead))):
                unsure.add(bead)
            elif bead in marked:
                blocked[bead] = HoldReason(UNVERSIONED, MARKED)
    return Readiness(blocked | own, blocked, until, frozenset(unsure - own.keys()))


MARKED = "bd marks it as blocked (is_blocked is 1), although no dependency blocks it"
"""The reason of a bead whose `is_blocked` is out of date: `bd ready` leaves it out."""


def readiness_at(
    engine: Engine, beads: Collection[str], schema: TrackerSchema, now: datetime, commit: str
) -> Readiness:
    """Return the readiness of the beads as a commit has them.

    ``schema``: the shape of the tables as they are now, which is the commit's in most cases. If
    the commit has another shape, it is looked up.
    """
    try:
        return readiness(engine.query, beads, schema, now, commit)
    except SchemaChanged:
        return readiness(engine.query, beads, schema_at(engine, commit), now, commit)


def unready_until_enough(
    engine: Engine,
    queue: Sequence[str],
    enough: int,
    held: Collection[str],
    schema: TrackerSchema,
    now: datetime,
    commit: str,
    loose: bool,
) -> Readiness:
    """Return why beads are not ready, from the head of the queue on, until ``enough`` are found
    that are ready and not in ``held``.

    Beads further back can't be dispatched in this tick, and aren't checked. Decides by the rows
    of ``commit``: a row outside of history never lets a bead go. Such a row can hold one back:
    an uncommitted one, if ``loose``, a wisp, or the mark `is_blocked`. ``schema``: the shape of
    the working set. Of the result, only ``holds`` and ``unsure`` are filled: the holds, and the
    ready beads for which rows outside of history count. Raises SchemaChanged.
    """
    holds: dict[str, HoldReason] = {}
    unsure: set[str] = set()
    for chunk in growing_chunks(queue, enough):
        found = readiness_at(engine, chunk, schema, now, commit)
        holds |= found.holds
        left = [bead for bead in chunk if bead not in holds and bead not in held]
        unsure.update(found.unsure.intersection(left))
        again = [bead for bead in left if loose or bead in found.unsure]
        beside = readiness(engine.query, again, schema, now).holds if again else {}
        holds |= {bead: _unversioned(hold) for bead, hold in beside.items()}
        enough -= sum(bead not in holds and bead not in held for bead in chunk)
        if enough <= 0:
            break
    return Readiness(holds, unsure=frozenset(unsure))


def growing_chunks(queue: Sequence[str], enough: int) -> Iterator[Sequence[str]]:
    """Yield the queue in growing chunks: its head is ready in most cases."""
    start, size = 0, max(_FEW, 2 * enough)
    while start < len(queue):
        yield queue[start : start + size]
        start, size = start + size, min(_GROWTH * size, CHUNK)


def _unversioned(hold: HoldReason) -> HoldReason:
    """Return a hold of the working set under a gate that a replay doesn't ask again."""
    if hold.gate == UNVERSIONED:
        return hold
    return HoldReason(UNCOMMITTED, f"by an uncommitted change: {hold.why}")


def changes_readiness(changes: CommitChanges) -> bool:
    """Return whether a commit may make a bead ready, or not ready any more."""
    return any(
        row.table == "dependencies" or (row.table == "issues" and _may_ready(row))
        for row in changes.rows
    )


def _may_ready(row: RowChange) -> bool:
    if row.kind != "modified" or not _OWN.isdisjoint(row.changed):
        return True
    return _blocking_status(row.before.get("status")) != _blocking_status(row.after.get("status"))


_OWN = frozenset(OWN_COLUMNS)


def _blocking_status(status: object) -> str:
    """Return the part of a status that readiness depends on: closed, pinned, or '' for active."""
    return str(status) if status in INACTIVE else ""


def own_hold(row: Mapping[str, Any], now: datetime) -> HoldReason | None:
    """Return the reason that the bead's own row has against it, None if it has none."""
    return next((check.hold for check in own_checks(row, now) if not check.ok), None)


def own_checks(row: Mapping[str, Any], now: datetime) -> Iterator[GateResult]:
    """Yield each check of the bead's own row; ``row`` has those of ``OWN_COLUMNS`` that exist."""
    deferred = parse_any(row.get("defer_until"))  # 9999-12-31 is how people say never
    flag = next((words for name, words in _FLAGS.items() if row.get(name)), None)
    yield GateResult(
        READY, flag is None, f"it is {flag or 'not pinned, no template, not ephemeral'}"
    )
    kind = row.get("issue_type")
    internal = kind in INTERNAL_TYPES
    lists = f"bd ready {'leaves out' if internal else 'lists'} the type {kind}"
    yield GateResult(READY, not internal, lists)
    waits = deferred is not None and deferred > now
    yield GateResult(
        READY,
        not waits,
        f"deferred until {iso(deferred)}" if deferred and waits else "not deferred",
    )


def _own_rows(
    query: Query, beads: Sequence[str], schema: TrackerSchema, commit: str
) -> dict[str, dict[str, Any]]:
    """Return the columns that decide, by bead; a bead without a row is left out."""
    names = ["id", *(name for name in (*OWN_COLUMNS, "is_blocked") if schema.has("issues", name))]
    of, at = (" AS OF ?", (commit,)) if commit else ("", ())
    marks = ", ".join("?" * len(beads))
    sql = f"SELECT {', '.join(names)} FROM issues{of} WHERE id IN ({marks})"
    try:
        rows = query(sql, (*at, *beads))
    except NoSuchTable:
        if not commit:
            raise
        return {}  # the commit is older than the tracker
    return {row[0]: dict(zip(names, row, strict=True)) for row in rows}
