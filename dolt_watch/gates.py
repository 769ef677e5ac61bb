"""Gates: why a bead that matches its rule may not go now, asked of the rows as they are.

Readiness is bd's own: what `bd ready` leaves out is not dispatched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from dolt_watch.beads.columns import ISSUE_TARGETS, target_expression
from dolt_watch.beads.readiness import PARENT, readiness, readiness_at
from dolt_watch.beads.schema import TrackerSchema
from dolt_watch.core.policy import UNCOMMITTED, UNVERSIONED, Questions
from dolt_watch.core.rules import CompiledRule
from dolt_watch.engines import Engine, Param, Row
from dolt_watch.engines.sql import chunks
from dolt_watch.errors import NoSuchTable
from dolt_watch.model import Hold, RowChange
from dolt_watch.times import iso, told

Query = Callable[[str, Sequence[Param]], list[Row]]

READ_FOR_READINESS = ("issues", "dependencies")
"""Versioned tables whose rows decide whether a bead is ready."""

AHEAD = timedelta(hours=14)
"""No zone is further ahead of UTC."""

_CHUNK, _FEW = 200, 20
_DEPTH = 50
"""Parents above one another that are asked for, as bd does."""


def until_ready(
    engine: Engine,
    queue: Sequence[str],
    enough: int,
    held: Collection[str],
    schema: TrackerSchema,
    now: datetime,
    commit: str,
    loose: bool,
) -> dict[str, Hold]:
    """Return why beads are not ready, from the head of the queue on, until ``enough`` are found that are ready and not in ``held``.

    Beads further back can't be dispatched in this tick, and aren't checked. Decides by the rows of ``commit``: a row outside of history
    never lets a bead go. Such a row can hold one back: an uncommitted one, if ``loose``, a wisp, or the mark `is_blocked`.
    ``schema``: the shape of the working set. Raises SchemaChanged.
    """
    holds: dict[str, Hold] = {}
    for chunk in _growing(queue, enough):
        found = readiness_at(engine, chunk, schema, now, commit)
        holds |= found.holds
        left = [bead for bead in chunk if bead not in holds and bead not in held]
        again = [bead for bead in left if loose or bead in found.unsure]
        beside = readiness(engine.query, again, schema, now).holds if again else {}
        holds |= {bead: _unversioned(hold) for bead, hold in beside.items()}
        enough -= sum(bead not in holds and bead not in held for bead in chunk)
        if enough <= 0:
            break
    return holds


def _unversioned(hold: Hold) -> Hold:
    """Return a hold of the working set under a gate that a replay doesn't ask again."""
    if hold.gate == UNVERSIONED:
        return hold
    return Hold(UNCOMMITTED, f"by what stands uncommitted: {hold.why}")


def _growing(queue: Sequence[str], enough: int) -> Iterator[Sequence[str]]:
    """Few at first: most often the head of the queue may go."""
    start, size = 0, max(_FEW, 2 * enough)
    while start < len(queue):
        yield queue[start : start + size]
        start, size = start + size, _CHUNK


def matches_too(query: Query, rules: Sequence[CompiledRule], bead: str, rule: str, commit: str) -> str:
    """In words, which rules behind the one that it goes by the bead matches as well, as ``commit`` has its row; '' for none. Nothing is asked where there are none behind."""
    behind = list(rules)[[one.rule for one in rules].index(rule) + 1 :]
    asked = ", ".join(one.when_row for one in behind)
    rows = query(f"SELECT {asked} FROM issues AS OF '{commit}' WHERE id = ?", (bead,)) if behind else []
    names = [one.rule for one, answer in zip(behind, rows[0], strict=True) if answer] if rows else []
    return f"{bead} matches rule {', '.join(names)} too: it goes by {rule}, the first in the file" if names else ""


def uncommitted(
    loose: Sequence[RowChange], asked: Questions, rules: Sequence[str], quiet: Mapping[str, datetime], since: Mapping[str, datetime]
) -> dict[str, Hold]:  # fmt: skip
    """Beads that a row which stands uncommitted keeps back or spares. ``rules``: in the order of the rows' answers; ``quiet``: as ``quiet_since`` has it.

    ``since``: table → when it was first seen as it stands: a row that nobody ever commits is a sign of life once, and not for ever.
    """
    place = {name: number for number, name in enumerate(rules)}
    waits = {bead.id: place[name] for name, queue in asked.queues.items() for bead in queue} if loose else {}
    runs = {bead.id: place[bead.rule] for bead in asked.stale if bead.rule in place}
    holds: dict[str, Hold] = {}
    for row in loose:
        own = row.answers if row.table == "issues" else ()
        if row.bead in runs:
            if own and not own[runs[row.bead]].runs:
                holds[row.bead] = Hold(UNCOMMITTED, "an uncommitted change ends it")
            elif since[row.table] > quiet[row.bead]:
                holds[row.bead] = Hold(UNCOMMITTED, f"uncommitted change in {row.table}: it is alive")
        elif own and not (own[waits[row.bead]].matches if row.bead in waits else any(one.matches for one in own)):
            holds[row.bead] = Hold(UNCOMMITTED, "an uncommitted change takes it out of its rule")
    return holds


def alive_by_children(engine: Engine, since: Mapping[str, datetime], commit: str, now: datetime) -> dict[str, Hold]:
    """Beads (an epic) on whose children, at any depth, somebody was at work: bead → since when that counts. As ``commit`` has the rows.

    By the children's own times, as bd writes them: they spare a bead, and never cause an act. None that lies further ahead than a wrong zone can explain
    counts: it would spare for ever.
    """
    if not since:
        return {}
    query, of = engine.query, f" AS OF '{commit}'"
    target = target_expression(engine.columns("dependencies", commit), among=ISSUE_TARGETS)
    if not target:
        return {}  # history doesn't have the table, and so no children
    holds: dict[str, Hold] = {}
    stands_for = {bead: {bead} for bead in since}
    seen: set[tuple[str, str]] = set()
    for _ in range(_DEPTH):
        asked = list(stands_for)
        pairs = query(
            f"SELECT issue_id, {target} FROM dependencies{of} WHERE {target} IN ({_marks(asked)}) AND type = '{PARENT}'",
            asked,
        )
        below: dict[str, set[str]] = {}
        for child, parent in pairs:
            new = {bead for bead in stands_for[parent] if (child, bead) not in seen}
            if new:
                below.setdefault(child, set()).update(new)
                seen |= {(child, bead) for bead in new}
        if not below:
            break
        for child, at, what in _last(query, list(below), of, now + AHEAD):
            for bead in below[child]:
                if at > since[bead]:
                    holds.setdefault(bead, Hold("children", f"its child {child} has a {what} of {iso(at)}"))
        stands_for = below
    return holds


def _last(query: Query, ids: Sequence[str], of: str, until: datetime) -> Iterator[tuple[str, datetime, str]]:
    for table, key, time, what in (
        ("issues", "id", "updated_at", "change"),
        ("comments", "issue_id", "created_at", "comment"),
        ("events", "issue_id", "created_at", "event"),
    ):
        for chunk in chunks(ids, _CHUNK):
            those = f"{key} IN ({_marks(chunk)}) AND {time} <= ?"
            try:
                rows = query(
                    f"SELECT {key}, MAX({time}) FROM {table}{of} WHERE {those} GROUP BY {key}", (*chunk, until)
                )
            except NoSuchTable:  # `events` left history with bd 1.3; older commits may lack any other
                break
            yield from ((id, at, what) for id, at in ((id, told(at)) for id, at in rows) if at is not None)


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
