"""Gates: why a bead that matches its rule may not go now, asked of the rows as they are.

Readiness is bd's own: what `bd ready` leaves out is not dispatched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from dolt_watch.beads.columns import ISSUE_TARGETS, target_expression
from dolt_watch.core.policy import UNCOMMITTED, Questions
from dolt_watch.core.rules import CompiledRule
from dolt_watch.engines import Engine, Param, Row
from dolt_watch.engines.sql import chunks
from dolt_watch.errors import NoSuchTable
from dolt_watch.model import Check, Hold, RowChange
from dolt_watch.times import iso, told, written

Query = Callable[[str, Sequence[Param]], list[Row]]

BLOCKING = ("blocks", "conditional-blocks", "waits-for")
PARENT = "parent-child"
LEFT_OUT = ("merge-request", "gate", "molecule", "message", "agent", "role", "rig")
"""Types of issue that `bd ready` never lists."""

READY = ("issues", "dependencies")
"""Tables that readiness is asked of."""

AHEAD = timedelta(hours=14)
"""No zone is further ahead of UTC."""

_FLAGS = {"pinned": "pinned", "is_template": "a template", "ephemeral": "ephemeral"}
_CHUNK, _FEW = 200, 20
_DEPTH = 50
"""Parents above one another that are asked for, as bd does."""


def readiness(
    query: Query, beads: Collection[str], columns: Collection[str], now: datetime, commit: str = ""
) -> dict[str, Hold]:
    """The beads that are not ready, and why: of the rows as they are now, or as ``commit`` has them. ``columns``: those that ``issues`` has."""
    holds: dict[str, Hold] = {}
    of = f" AS OF '{commit}'" if commit else ""
    asked = ["id", *(name for name in (*_FLAGS, "issue_type", "defer_until") if name in columns)]
    for chunk in chunks(beads, _CHUNK):
        for row in query(f"SELECT {', '.join(asked)} FROM issues{of} WHERE id IN ({_marks(chunk)})", chunk):
            if hold := by_itself(dict(zip(asked, row, strict=True)), now):
                holds[row[0]] = hold
        try:
            holds |= blocked(query, chunk, of)
        except NoSuchTable:
            if not commit:
                raise  # else history does not have the table, and so no dependency
    return holds


def until_ready(
    query: Query, queue: Sequence[str], enough: int, held: Collection[str], columns: Collection[str], now: datetime, commit: str, loose: bool,
) -> dict[str, Hold]:  # fmt: skip
    """``readiness`` from the head of the queue on, until ``enough`` are found that neither this nor ``held`` keeps back: who stands behind them does not go.

    As ``commit`` has the rows: what history does not hold never lets a bead go. ``loose``: rows may stand beside it, and may keep one back.
    """
    holds: dict[str, Hold] = {}
    for chunk in _growing(queue, enough):
        holds |= readiness(query, chunk, columns, now, commit)
        left = [bead for bead in chunk if bead not in holds and bead not in held] if loose else []
        beside = readiness(query, left, columns, now) if left else {}
        holds |= {bead: Hold(UNCOMMITTED, f"by what stands uncommitted: {hold.why}") for bead, hold in beside.items()}
        enough -= sum(bead not in holds and bead not in held for bead in chunk)
        if enough <= 0:
            break
    return holds


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


def by_itself(row: Mapping[str, Any], now: datetime) -> Hold | None:
    """What the bead's own row says against it."""
    return next((check.hold for check in asked_of(row, now) if not check.ok), None)


def asked_of(row: Mapping[str, Any], now: datetime) -> Iterator[Check]:
    """What the bead's own row is asked, one thing after the other; ``row`` holds those columns that ``issues`` has."""
    deferred = written(row.get("defer_until"))  # 9999-12-31 is how people say never
    flag = next((words for name, words in _FLAGS.items() if row.get(name)), None)
    yield Check("ready", flag is None, f"it is {flag or 'not pinned, no template, not ephemeral'}")
    kind = row.get("issue_type")
    out = kind in LEFT_OUT
    yield Check("ready", not out, f"bd ready leaves out the type {kind}" if out else f"bd ready lists the type {kind}")
    waits = deferred is not None and deferred > now
    yield Check("ready", not waits, f"deferred until {iso(deferred)}" if deferred and waits else "not deferred")


def blocked(query: Query, ids: Sequence[str], of: str = "") -> dict[str, Hold]:
    """The beads that wait for one that is not closed, themselves or by a parent. One query where nothing depends on anything."""
    kinds = ", ".join(f"'{kind}'" for kind in (*BLOCKING, PARENT))
    stands_for: dict[str, set[str]] = {id: {id} for id in ids}
    """A bead, or at the next steps an ancestor → the beads that ask."""
    seen: set[tuple[str, str]] = set()
    holds: dict[str, Hold] = {}
    for _ in range(_DEPTH):
        asked = list(stands_for)
        rows = query(
            f"SELECT issue_id, depends_on_id, type FROM dependencies{of} WHERE issue_id IN ({_marks(asked)}) AND type IN ({kinds})",
            asked,
        )
        waits = sorted((on, id) for id, on, kind in rows if kind != PARENT)
        alive = _open(query, [on for on, _ in waits], of) if waits else set()
        for on, id in waits:
            for bead in stands_for[id] if on in alive else ():
                who = "" if bead == id else f"its parent {id} is "
                holds.setdefault(bead, Hold("ready", f"{who}blocked by {on}, which is not closed"))
        above: dict[str, set[str]] = {}
        for id, parent, kind in rows:
            new = {bead for bead in stands_for[id] if (parent, bead) not in seen} if kind == PARENT else set()
            if new:
                above.setdefault(parent, set()).update(new)
                seen |= {(parent, bead) for bead in new}
        if not above:
            break
        stands_for = above
    return holds


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


def _open(query: Query, ids: Sequence[str], of: str) -> set[str]:
    """Those of them that exist and are not closed."""
    found = set[str]()
    for chunk in chunks(dict.fromkeys(ids), _CHUNK):
        rows = query(f"SELECT id FROM issues{of} WHERE id IN ({_marks(chunk)}) AND status <> 'closed'", chunk)
        found |= {row[0] for row in rows}
    return found


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
