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

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from dolt_watch.beads.schema import TrackerSchema, schema_at
from dolt_watch.core.decisions.policy import UNVERSIONED
from dolt_watch.core.model import EMPTY, CommitChanges, GateResult, HoldReason, RowChange
from dolt_watch.engines import Engine, Param, Row
from dolt_watch.engines.sql_text import chunks
from dolt_watch.errors import NoSuchTable, SchemaChanged
from dolt_watch.timestamps import iso, parse_any

Query = Callable[[str, Sequence[Param]], list[Row]]

READY = "ready"
"""The gate of a bead that is not ready by the rows in history."""

BLOCKING = ("blocks", "conditional-blocks")
WAITS_FOR = "waits-for"
PARENT = "parent-child"
INACTIVE = ("closed", "pinned")
"""Statuses of beads that block nothing."""

INTERNAL_TYPES = ("merge-request", "gate", "molecule", "message", "agent", "role", "rig")
"""Types of issue that `bd ready` never lists."""

ANY_CHILDREN = "any-children"

OWN_COLUMNS = ("pinned", "is_template", "ephemeral", "issue_type", "defer_until")
"""Columns of a bead's own row that decide whether it is ready."""

_FLAGS = {"pinned": "pinned", "is_template": "a template", "ephemeral": "ephemeral"}
_CHUNK = 200


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
    for chunk in chunks(dict.fromkeys(beads), _CHUNK):
        graph = _Graph(query, schema, commit)
        for bead, row in _own_rows(query, chunk, schema, commit).items():
            deferral = parse_any(row.get("defer_until"))
            if hold := own_hold(row, now):
                own[bead] = hold
            if deferral is not None and deferral > now:
                until[bead] = deferral
            if row.get("is_blocked"):
                graph.marked.add(bead)
        graph.load(chunk)
        for bead in chunk:
            reasons = list(graph.reasons(bead, now))
            for end in (one.until for one in reasons if one.until is not None):
                until[bead] = min(end, until.get(bead, end))
            if reasons:
                first = min(reasons, key=lambda one: one.unversioned)  # stable: in the rule's order
                blocked[bead] = HoldReason(UNVERSIONED if first.unversioned else READY, first.text)
            elif commit and (bead in graph.marked or graph.reads_wisps(bead)):
                unsure.add(bead)
            elif bead in graph.marked:
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
    sql = f"SELECT {', '.join(names)} FROM issues{_as_of(commit)} WHERE id IN ({_marks(beads)})"
    try:
        rows = query(sql, (*_at(commit), *beads))
        return {row[0]: dict(zip(names, row, strict=True)) for row in rows}
    except NoSuchTable:
        if not commit:
            raise
        return {}  # the commit is older than the tracker


# -- the graph --------------------

ISSUE, WISP = "issues", "wisps"

Key = tuple[str, str]
"""A table, ``ISSUE`` or ``WISP``, and an id in it."""


class _Edge(NamedTuple):
    kind: str
    target: Key
    any_children: bool


class _Row(NamedTuple):
    status: str
    defer_until: datetime | None

    @property
    def active(self) -> bool:
        return self.status not in INACTIVE


class _Reason(NamedTuple):
    text: str
    unversioned: bool
    """Whether it rests on a wisp."""
    until: datetime | None = None
    """When it ends by time alone."""


_SOURCES = {ISSUE: "dependencies", WISP: "wisp_dependencies"}
"""The table that holds the dependencies of the beads of a table."""

_SPLIT = {ISSUE: "depends_on_issue_id", WISP: "depends_on_wisp_id"}
"""The column of a dependency's target, by the target's table. External targets never block."""


class _Graph:
    """The dependencies, parents and children that decide about some beads, read level by level."""

    def __init__(self, query: Query, schema: TrackerSchema, commit: str) -> None:
        self.query, self.schema = query, schema
        self.of, self.at = _as_of(commit), _at(commit)
        self.recursive = schema.has("issues", "is_blocked") or schema.has(
            "dependencies", *_SPLIT.values()
        )
        """Whether the newer of the two rules applies."""
        self.tables = [ISSUE]
        if self.recursive and not commit and schema.has_wisps:
            self.tables.append(WISP)  # `dolt_ignore` keeps wisps out of every commit
        self.edges: dict[Key, list[_Edge]] = {}
        self.children: dict[Key, list[Key]] = {}
        self.rows: dict[Key, _Row | None] = {}
        self.marked: set[str] = set()

    def load(self, beads: Iterable[str]) -> None:
        """Read what decides about the beads. Costs one query if they depend on nothing."""
        level = [(ISSUE, bead) for bead in beads]
        first = True
        while level:
            self._load_edges(level)
            edges = [edge for key in level for edge in self.edges[key]]
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

    def reasons(self, bead: str, now: datetime) -> Iterator[_Reason]:
        """Yield the reasons why the bead is not ready: deferral first, then blockers from the
        bead upwards.
        """
        me = (ISSUE, bead)
        parents = sorted(edge.target for edge in self.edges[me] if edge.kind == PARENT)
        for parent in parents:
            row = self.rows[parent]
            if row is not None and row.defer_until is not None and row.defer_until > now:
                text = f"its parent {_name(parent)} is deferred until {iso(row.defer_until)}"
                yield _Reason(text, parent[0] == WISP, row.defer_until)
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
                    yield _Reason(text, reason.unversioned or key[0] == WISP)
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

    def _blockers(self, key: Key) -> Iterator[_Reason]:
        """Yield what blocks the bead itself, in order of ids."""
        for edge in sorted(self.edges[key]):
            if edge.kind in BLOCKING:
                row = self.rows[edge.target]
                if row is not None and row.active:
                    text = f"blocked by {_name(edge.target)} ({row.status})"
                    yield _Reason(text, edge.target[0] == WISP)
            elif edge.kind == WAITS_FOR:
                yield from self._waits(edge)

    def _waits(self, edge: _Edge) -> Iterator[_Reason]:
        found = [
            (key, row) for key in sorted(self.children[edge.target]) if (row := self.rows[key])
        ]
        if edge.any_children and any(row.status == "closed" for _, row in found):
            return
        for key, row in found:
            if row.active:
                text = f"waiting for {_name(key)} ({row.status}), a child of {_name(edge.target)}"
                yield _Reason(text, WISP in (key[0], edge.target[0]))

    def _active(self, key: Key) -> bool:
        row = self.rows.get(key)
        return row is not None and row.active

    def _load_edges(self, keys: Sequence[Key]) -> None:
        self.edges |= {key: [] for key in keys}
        kinds = (*BLOCKING, WAITS_FOR, PARENT)
        for table, ids in _by_table(keys).items():
            source = _SOURCES[table]
            targets = self._targets(source)
            if not targets:
                continue
            metadata = "metadata" if self.schema.has(source, "metadata") else "NULL"
            sql = (
                f"SELECT issue_id, type, {metadata}, {', '.join(targets.values())} FROM"
                f" {source}{self.of} WHERE type IN ({_words(kinds)}) AND issue_id IN ({{}})"
            )
            for id, kind, data, *columns in self._read(table, sql, ids):
                for to, target in zip(targets, columns, strict=True):
                    if target is not None:
                        self.edges[table, id].append(_Edge(kind, (to, target), _any_children(data)))

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
        for chunk in chunks(ids, _CHUNK):
            try:
                yield from self.query(sql.format(_marks(chunk)), (*self.at, *chunk))
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


def _as_of(commit: str) -> str:
    return " AS OF ?" if commit else ""


def _at(commit: str) -> tuple[str, ...]:
    """Return the parameter of ``_as_of``."""
    return (commit,) if commit else ()


def _words(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
