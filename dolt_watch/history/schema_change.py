"""Row changes over a commit that changed a table's schema.

Dolt can't compare rows under two primary keys, and reports each row as modified if a column was
added or dropped. So both ends of such an edge are read, and rows are matched by their identity in
beads, not by their key in the database. Only columns of both ends can show an edit: the default
of a new column is not an edit. A rule that uses a column which one end lacks reads NULL there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dolt_watch.beads.feed_query import SAYS, SIDE, FeedQuery
from dolt_watch.beads.schema import TrackerSchema
from dolt_watch.core.model import RowChange, RuleAnswers
from dolt_watch.engines import WORKING, Edge, Engine
from dolt_watch.engines.values import normalize_cell, sort_value
from dolt_watch.timestamps import parse_foreign

_NATURAL: Mapping[str, tuple[str, ...]] = {
    "issues": ("id",),
    "comments": ("id",),
    "events": ("id",),
    "labels": ("issue_id", "label"),
    "dependencies": ("issue_id", "{target}", "type"),
}
"""Table → the columns that identify a row under any schema."""

Key = tuple[Any, ...]


class _End(NamedTuple):
    """A table at one end of the edge."""

    commit: str
    columns: Mapping[str, str]


def changes(
    engine: Engine, table: str, edge: Edge, feed_query: FeedQuery
) -> Iterator[tuple[Edge, RowChange]]:
    """Yield the row changes of the edge. Cost: all rows of the table at both ends."""
    ends = tuple(_end(engine, table, commit) for commit in edge)
    shared = [name for name in ends[1].columns if name in ends[0].columns]
    rows = (
        _issues(engine, ends, shared, feed_query)
        if table == "issues"
        else _others(engine, table, ends, shared, feed_query)
    )
    for row in rows:
        yield edge, row


def _end(engine: Engine, table: str, commit: str) -> _End:
    return _End(commit, engine.columns(table, None if commit == WORKING else commit))


def _read(
    engine: Engine, table: str, end: _End, expressions: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    if not end.columns:
        return
    of = "" if end.commit == WORKING else f" AS OF '{end.commit}'"
    yield from engine.query(f"SELECT {', '.join(expressions)} FROM {table}{of}")


def _issues(
    engine: Engine, ends: Sequence[_End], shared: Sequence[str], feed_query: FeedQuery
) -> Iterator[RowChange]:
    cells = feed_query.under([*ends[0].columns, *ends[1].columns]).cells
    conditions = [text for rule in feed_query.rules for text in (rule.when_row, rule.running_row)]
    ranks = [text for rule in feed_query.rules for text in rule.rank_row]
    found: list[dict[str, tuple[Any, ...]]] = []
    # Read both ends as whole tables: Dolt has no row diff across a change of schema.
    for end in ends:
        known = [f"`{name}`" if name in end.columns else "NULL" for name in cells]
        wanted = ["id", "updated_at", *known, *(f"({text}) IS TRUE" for text in conditions), *ranks]
        names = shared or list(end.columns)
        rows = _read(engine, "issues", end, [*wanted, *(f"`{name}`" for name in names)])
        found.append({str(row[0]): row for row in rows})
    before, after = found
    first = 2 + len(cells)
    last = first + len(conditions)

    def values(row: tuple[Any, ...]) -> dict[str, Any]:
        return {
            name: normalize_cell(name, value)
            for name, value in zip(cells, row[2:first], strict=True)
        }

    def answers(
        was: tuple[Any, ...] | None, now: tuple[Any, ...] | None
    ) -> tuple[RuleAnswers, ...]:
        rank = iter(sort_value(value) for value in (now or was or ())[last : last + len(ranks)])
        return tuple(
            RuleAnswers(
                bool(was and was[first + 2 * number]),
                bool(now and now[first + 2 * number]),
                bool(was and was[first + 2 * number + 1]),
                bool(now and now[first + 2 * number + 1]),
                tuple(next(rank) for _ in rule.rank_row),
            )
            for number, rule in enumerate(feed_query.rules)
        )

    # Then compare row by row, as the diff would.
    for bead in dict.fromkeys([*before, *after]):
        was, now = before.get(bead), after.get(bead)
        kind = "modified" if was and now else "added" if now else "removed"
        one, other = ((row[last + len(ranks) :] if row else ()) for row in (was, now))
        names = shared or list(ends[1 if now else 0].columns)
        if was and now:
            changed = tuple(name for name, a, b in zip(names, one, other, strict=True) if a != b)
        else:
            changed = tuple(
                name for name, value in zip(names, one or other, strict=True) if value is not None
            )
        empty = dict.fromkeys(cells)
        change = RowChange(
            table="issues",
            bead=bead,
            kind=kind,
            changed=changed,
            before=values(was) if was else empty,
            after=values(now) if now else empty,
            at=parse_foreign(now[1]) if now else None,
            answers=answers(was, now),
        )
        if not change.nothing:
            yield change


def _others(
    engine: Engine, table: str, ends: Sequence[_End], shared: Sequence[str], feed_query: FeedQuery
) -> Iterator[RowChange]:
    says = SAYS[table] if feed_query.include_side_values else ()
    found: list[dict[Key, tuple[Any, ...]]] = []
    for end in ends:
        target = ""
        if table == "dependencies" and end.columns:
            target = TrackerSchema({table: end.columns}).dependency_target()

        def written(text: str, target: str = target) -> str:
            return text.replace("{target}", target).replace("{s}_", "")

        natural = [written(text) for text in _NATURAL[table]]
        own = [written(text) for text in SIDE[table]]
        side_columns = [target if name == "depends_on_id" else name for name in says]
        names = [name for name in shared if name in end.columns] or list(end.columns)
        wanted = [*natural, "issue_id", *own, *side_columns, *(f"`{name}`" for name in names)]
        rows = _read(engine, table, end, wanted)
        found.append({row[: len(natural)]: row[len(natural) :] for row in rows})
    before, after = found
    first = 4 + len(says)
    for key in dict.fromkeys([*before, *after]):
        was, now = before.get(key), after.get(key)
        if was and now and (was[first:] == now[first:] or was[0] != now[0]):
            continue  # the same row, or one that belongs to another id now (`bd rename`)
        bead, own_key, moment, actor = (now or was or ())[:4]
        old, new = (
            dict(zip(says, row[4:first], strict=True)) if row else dict.fromkeys(says)
            for row in (was, now)
        )
        changed = tuple(name for name in says if old[name] != new[name])
        kind = "modified" if was and now else "added" if now else "removed"
        yield RowChange(
            table=table,
            bead=bead,
            kind=kind,
            changed=changed,
            before=old,
            after=new,
            key=str(own_key),
            at=parse_foreign(moment),
            who=actor or "",
        )
