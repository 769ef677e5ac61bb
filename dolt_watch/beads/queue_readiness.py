"""Readiness of the beads in a queue: beads that `bd ready` leaves out are not dispatched."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from dolt_watch.beads.readiness import readiness, readiness_at
from dolt_watch.beads.schema import TrackerSchema
from dolt_watch.beads.uncommitted import _unversioned
from dolt_watch.core.model import HoldReason
from dolt_watch.core.rules.compiled_rule import CompiledRule
from dolt_watch.engines import Engine, Param, Row

Query = Callable[[str, Sequence[Param]], list[Row]]

READ_FOR_READINESS = ("issues", "dependencies")
"""Versioned tables whose rows decide whether a bead is ready."""

MAX_ZONE_OFFSET = timedelta(hours=14)
"""No zone is further ahead of UTC."""

_CHUNK, _FEW = 200, 20
_DEPTH = 50
"""Parents above one another that are asked for, as bd does."""


def unready_until_enough(
    engine: Engine,
    queue: Sequence[str],
    enough: int,
    held: Collection[str],
    schema: TrackerSchema,
    now: datetime,
    commit: str,
    loose: bool,
) -> dict[str, HoldReason]:
    """Return why beads are not ready, from the head of the queue on, until ``enough`` are found
    that are ready and not in ``held``.

    Beads further back can't be dispatched in this tick, and aren't checked. Decides by the rows
    of ``commit``: a row outside of history never lets a bead go. Such a row can hold one back:
    an uncommitted one, if ``loose``, a wisp, or the mark `is_blocked`. ``schema``: the shape of
    the working set. Raises SchemaChanged.
    """
    holds: dict[str, HoldReason] = {}
    for chunk in growing_chunks(queue, enough):
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


def growing_chunks(queue: Sequence[str], enough: int) -> Iterator[Sequence[str]]:
    """Yield the queue in chunks, a small one first: its head is ready in most cases."""
    start, size = 0, max(_FEW, 2 * enough)
    while start < len(queue):
        yield queue[start : start + size]
        start, size = start + size, _CHUNK


def other_matching_rules(
    query: Query, rules: Sequence[CompiledRule], bead: str, rule: str, commit: str
) -> str:
    """Return a sentence that names the later rules that the bead matches too, or ''.

    Args:
        rule: The bead's rule. Only rules after it in the file are checked.
        commit: The commit whose row is checked.
    """
    behind = list(rules)[[one.rule for one in rules].index(rule) + 1 :]
    asked = ", ".join(one.when_row for one in behind)
    rows = (
        query(f"SELECT {asked} FROM issues AS OF ? WHERE id = ?", (commit, bead)) if behind else []
    )
    names = (
        [one.rule for one, answer in zip(behind, rows[0], strict=True) if answer] if rows else []
    )
    return (
        f"{bead} matches rule {', '.join(names)} too. Rule {rule} applies, because it is the first"
        " in the file"
        if names
        else ""
    )


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
