"""The dependencies that decide whether a bead is ready, read level by level.

``readiness`` has the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from dolt_watch.beads.schema import TrackerSchema
from dolt_watch.engines import Param, Row
from dolt_watch.engines.sql_text import chunks
from dolt_watch.errors import NoSuchTable
from dolt_watch.timestamps import iso, parse_any

Query = Callable[[str, Sequence[Param]], list[Row]]

BLOCKING = ("blocks", "conditional-blocks")
WAITS_FOR = "waits-for"
PARENT = "parent-child"
INACTIVE = ("closed", "pinned")
"""Statuses of beads that block nothing."""

ANY_CHILDREN = "any-children"

CHUNK = 200
"""Beads that one statement asks for."""

ISSUE, WISP = "issues", "wisps"

Key = tuple[str, str]
"""A table, ``ISSUE`` or ``WISP``, and an id in it."""


class Edge(NamedTuple):
    kind: str
    target: Key
    any_children: bool


class _Row(NamedTuple):
    status: str
    defer_until: datetime | None

    @property
    def active(self) -> bool:
        return self.status not in INACTIVE


class Reason(NamedTuple):
    """A reason why a bead is not ready."""

    text: str
    unversioned: bool
    """Whether it rests on a wisp."""
    until: datetime | None = None
    """When it ends by time alone."""


_SOURCES = {ISSUE: "dependencies", WISP: "wisp_dependencies"}
"""The table that holds the dependencies of the beads of a table."""

_SPLIT = {ISSUE: "depends_on_issue_id", WISP: "depends_on_wisp_id"}
"""The column of a dependency's target, by the target's table. External targets never block."""


class DependencyGraph:
    """The dependencies, parents and children that decide about some beads, read level by level."""

    def __init__(self, query: Query, schema: TrackerSchema, commit: str) -> None:
        self.query, self.schema = query, schema
        self.of = " AS OF ?" if commit else ""
        self.at = (commit,) if commit else ()
        self.recursive = schema.has("issues", "is_blocked") or schema.has(
            "dependencies", *_SPLIT.values()
        )
        """Whether the newer of the two rules applies."""
        self.tables = [ISSUE]
        if self.recursive and not commit and schema.has_wisps:
            self.tables.append(WISP)  # `dolt_ignore` keeps wisps out of every commit
        self.edges: dict[Key, list[Edge]] = {}
        self.children: dict[Key, list[Key]] = {}
        self.rows: dict[Key, _Row | None] = {}

    def load(self, beads: Iterable[str]) -> None:
        """Read what decides about the beads. Costs one query if they depend on nothing."""
        level = [(ISSUE, bead) for bead in beads]
        first = True
        while level:
            self._load_edges(level)
            edges = [edge for key in level for edge in self.edges[key]]
            if not edges:
                return
            self._load_children({edge.target for edge in edges if edge.kind == WAITS_FOR})
            wanted = {edge.target for edge in edges if edge.kind != WAITS_FOR}
            for edge in edges:
                wanted.update(self.children[edge.target] if edge.kind == WAITS_FOR else ())
            self._load_rows(wanted)
            if not (first or self.recursive):
                return
            parents = {
                edge.target for edge in edges if edge.kind == PARENT and self._active(edge.target)
            }
            level, first = sorted(parents - self.edges.keys()), False

    def reasons(self, bead: str, now: datetime) -> Iterator[Reason]:
        """Yield the reasons why the bead is not ready: deferral first, then blockers from the
        bead upwards.
        """
        me = (ISSUE, bead)
        parents = sorted(edge.target for edge in self.edges[me] if edge.kind == PARENT)
        for parent in parents:
            row = self.rows[parent]
            if row is not None and row.defer_until is not None and row.defer_until > now:
                text = f"its parent {_name(parent)} is deferred until {iso(row.defer_until)}"
                yield Reason(text, parent[0] == WISP, row.defer_until)
        yield from self._blockers(me)
        seen, level, who = {me}, parents, "parent"
        while level:
            above: list[Key] = []
            for key in level:
                if key in seen or not self._active(key):
                    continue
                seen.add(key)
                for reason in self._blockers(key):
                    text = f"its {who} {_name(key)} is {reason.text}"
                    yield Reason(text, reason.unversioned or key[0] == WISP)
                above += [edge.target for edge in self.edges[key] if edge.kind == PARENT]
            level, who = sorted(above) if self.recursive else [], "ancestor"

    def reads_wisps(self, bead: str) -> bool:
        """Return whether rows of wisps, which no commit holds, can be a reason against the bead."""
        seen, level = set[Key](), [(ISSUE, bead)] if self.recursive else []
        while level:
            key = level.pop()
            if key in seen or key not in self.edges:
                continue
            seen.add(key)
            for edge in self.edges[key]:
                if edge.kind == WAITS_FOR or edge.target[0] == WISP:
                    return True
                level += [edge.target] if edge.kind == PARENT else []
        return False

    def _blockers(self, key: Key) -> Iterator[Reason]:
        """Yield what blocks the bead itself, in order of ids."""
        for edge in sorted(self.edges[key]):
            if edge.kind in BLOCKING:
                row = self.rows[edge.target]
                if row is not None and row.active:
                    text = f"blocked by {_name(edge.target)} ({row.status})"
                    yield Reason(text, edge.target[0] == WISP)
            elif edge.kind == WAITS_FOR:
                yield from self._waits(edge)

    def _waits(self, edge: Edge) -> Iterator[Reason]:
        found = [
            (key, row) for key in sorted(self.children[edge.target]) if (row := self.rows[key])
        ]
        if edge.any_children and any(row.status == "closed" for _, row in found):
            return
        for key, row in found:
            if row.active:
                text = f"waiting for {_name(key)} ({row.status}), a child of {_name(edge.target)}"
                yield Reason(text, WISP in (key[0], edge.target[0]))

    def _active(self, key: Key) -> bool:
        row = self.rows.get(key)
        return row is not None and row.active

    def _load_edges(self, keys: Sequence[Key]) -> None:
        self.edges |= {key: [] for key in keys}
        for table, ids in _by_table(keys).items():
            source = _SOURCES[table]
            targets = self._targets(source)
            if not targets:
                continue
            kinds = ", ".join(f"'{kind}'" for kind in (*BLOCKING, WAITS_FOR, PARENT))
            metadata = "metadata" if self.schema.has(source, "metadata") else "NULL"
            sql = (
                f"SELECT issue_id, type, {metadata}, {', '.join(targets.values())} FROM"
                f" {source}{self.of} WHERE type IN ({kinds}) AND issue_id IN ({{}})"
            )
            for id, kind, data, *columns in self._read(table, sql, ids):
                for to, target in zip(targets, columns, strict=True):
                    if target is not None:
                        self.edges[table, id].append(Edge(kind, (to, target), _any_children(data)))

    def _load_children(self, parents: Collection[Key]) -> None:
        new = [key for key in parents if key not in self.children]
        self.children |= {key: [] for key in new}
        for to, ids in _by_table(new).items():
            for table in self.tables:
                source = _SOURCES[table]
                target = self._targets(source).get(to)
                if target is None:
                    continue
                sql = (
                    f"SELECT issue_id, {target} FROM {source}{self.of} WHERE type = '{PARENT}' AND"
                    f" {target} IN ({{}})"
                )
                for child, parent in self._read(table, sql, ids):
                    self.children[to, parent].append((table, child))
        self._load_rows({child for key in new for child in self.children[key]})

    def _load_rows(self, keys: Collection[Key]) -> None:
        new = [key for key in keys if key not in self.rows]
        self.rows |= dict.fromkeys(new)
        for table, ids in _by_table(new).items():
            defer = "defer_until" if self.schema.has(table, "defer_until") else "NULL"
            sql = f"SELECT id, status, {defer} FROM {table}{self.of} WHERE id IN ({{}})"
            for id, status, until in self._read(table, sql, ids):
                self.rows[table, id] = _Row(status, parse_any(until))

    def _read(self, table: str, sql: str, ids: Sequence[str]) -> Iterator[Row]:
        """Yield the rows; none of a table that is not read, or that the commit does not have."""
        if table not in self.tables:
            return
        for chunk in chunks(ids, CHUNK):
            try:
                yield from self.query(sql.format(", ".join("?" * len(chunk))), (*self.at, *chunk))
            except NoSuchTable:
                if not self.of:
                    raise
                return

    def _targets(self, source: str) -> dict[str, str]:
        """Return the columns of a dependency's target by the target's table; empty if the table
        is missing.
        """
        split = {to: column for to, column in _SPLIT.items() if self.schema.has(source, column)}
        whole = {ISSUE: "depends_on_id"} if self.schema.has(source, "depends_on_id") else {}
        return split or whole


def _any_children(metadata: Any) -> bool:
    """Return whether a `waits-for` is met by the first closed child.

    What is no JSON asks for all of them.
    """
    try:
        value = orjson.loads(metadata) if isinstance(metadata, str | bytes) else metadata
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) and value.get("gate") == ANY_CHILDREN


def _name(key: Key) -> str:
    return key[1] if key[0] == ISSUE else f"the wisp {key[1]}"


def _by_table(keys: Iterable[Key]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for table, id in sorted(keys):
        found.setdefault(table, []).append(id)
    return found
