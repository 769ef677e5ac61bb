"""The feed: the only way in which facts come in. Row changes of history, commit by commit, oldest first.

The path runs from HEAD down to the cursor, taking at each commit the first parent that is the cursor or descends from it. After a
fast-forward onto a merge made elsewhere our line is the *second* parent, and the plain first-parent chain would show old changes again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

from dolt_watch.beads.columns import KEPT_BY_BD
from dolt_watch.beads.schema import TrackerSchema
from dolt_watch.core.rules import CompiledRule
from dolt_watch.engines import WORKING, Commit, Edge, Engine, Row
from dolt_watch.errors import NoSuchTable, SchemaChanged
from dolt_watch.model import Answers, CommitChanges, Entry, Kind, RowChange, Wrote
from dolt_watch.times import told, utc

ENTRY_COLUMNS = (
    "bead_id", "version", "kind", "attempt", "rule", "token", "cause_commit", "observed_commit", "decided_at",
    "job_id", "reason", "bead_hash", "settings_hash", "actor", "detail",
)  # fmt: skip

CELLS = ("status", "assignee", "notes", "started_at", "closed_at")
"""Columns of issues whose values the derivation needs, besides what the rules ask."""

KINDS = frozenset(kind.value for kind in Kind)

_SIDE = {
    # table: (expression of the row's own key, of its time, of who did it); {s} is the side, from or to
    "comments": ("{s}_id", "{s}_created_at", "{s}_author"),
    "events": ("{s}_id", "{s}_created_at", "{s}_actor"),
    "labels": ("{s}_label", "NULL", "''"),
    "dependencies": ("{target}", "{s}_created_at", "{s}_created_by"),
}
_SAYS = {
    "comments": ("text",),
    "events": ("event_type", "comment"),
    "labels": ("label",),
    "dependencies": ("depends_on_id", "type"),
}
"""Not what bd keeps in ``events.old_value`` and ``new_value``: that is the row of ``issues`` once more."""


class Lens(NamedTuple):
    """What the feed looks for: the compiled rules, and the columns that ``issues`` has."""

    rules: Sequence[CompiledRule]
    columns: Sequence[str]
    cells: Sequence[str] = CELLS
    """Columns of ``issues`` whose values are brought, before and after."""
    sides: bool = False
    """Of the other tables, bring what a row says (``_SAYS``) too, not only that it is there."""
    schema: TrackerSchema = TrackerSchema({})
    """The shape of beads' tables as the tick found it; empty for readers of history, who ask for what they need."""


def path(commits: Iterable[Commit], since: str, until: str, seen: Collection[str] = ()) -> list[Commit] | None:
    """The commits from after ``since`` to ``until``, oldest first, each with the parent taken as its only one.

    ``commits`` is the whole range, newest first; ``since`` itself may be among them. ``seen``: commits at which the watcher is known to have stood; at a merge the parent is taken behind which it stood last.
    None where ``since`` is no ancestor of ``until``: history was rewritten.
    """
    newest_first = [commit for commit in commits if commit.hash != since]
    if _straight(newest_first, since, until):
        return newest_first[::-1]
    known = {commit.hash: commit for commit in newest_first}
    rank = {since: 0}  # of a commit that descends from ``since``: how late the watcher stood at or behind it
    for number, commit in enumerate(_parents_first(known, until), start=1):
        behind = max((rank.get(parent, -1) for parent in known[commit].parents), default=-1)
        rank[commit] = number if commit in seen and behind >= 0 else behind
    line: list[Commit] = []
    at = until
    while at != since:
        here = known.get(at)
        if here is None or rank[at] < 0:
            return None
        parent = max(here.parents, key=lambda parent: rank.get(parent, -1))  # the first of equals
        line.append(here._replace(parents=(parent,)))
        at = parent
    line.reverse()
    return line


def _straight(newest_first: Sequence[Commit], since: str, until: str) -> bool:
    """Is it a line as it is? Most histories are, and long ones need no more memory then."""
    below = until
    for commit in newest_first:
        if commit.hash != below or len(commit.parents) != 1:
            return False
        below = commit.parents[0]
    return below == since


def _parents_first(known: Mapping[str, Commit], until: str) -> Iterator[str]:
    """Every known commit that ``until`` reaches, after its parents. Without recursion: histories are long."""
    done: set[str] = set()
    stack = [until]
    while stack:
        commit = stack[-1]
        if commit in done or commit not in known:
            stack.pop()
            continue
        waits = [parent for parent in known[commit].parents if parent in known and parent not in done]
        if waits:
            stack.extend(waits)
        else:
            done.add(commit)
            stack.pop()
            yield commit


def read(engine: Engine, line: Sequence[Commit], tables: Iterable[str], lens: Lens) -> Iterator[CommitChanges]:
    """The row changes of each commit of the line, in order. Raises SchemaChanged where a column that a rule uses is gone."""
    if not line:
        return
    tables = list(tables)
    edges = [Edge(commit.parents[0], commit.hash) for commit in line]
    changed = _changed(engine, edges, [*tables, "watch_decision"])
    rows: dict[str, list[RowChange]] = {commit.hash: [] for commit in line}
    entries: dict[str, list[Entry]] = {commit.hash: [] for commit in line}
    altered: dict[str, list[tuple[str, int, str]]] = {commit.hash: [] for commit in line}
    for table in tables:
        for edge, change in _changes(engine, table, changed[table], lens):
            rows[edge.commit].append(change)
    if changed["watch_decision"]:
        wanted = {name: f"to_{name}" for name in ENTRY_COLUMNS}
        columns = {"diff_type": "diff_type", "from_bead": "from_bead_id", "from_version": "from_version", **wanted}
        with suppress(NoSuchTable):  # who only looks may ask of a database that was never initialised
            for edge, (kind, bead, version, *row) in engine.diff("watch_decision", changed["watch_decision"], columns):
                if kind == "added":
                    entries[edge.commit] += filter(None, (entry_from(row),))
                else:
                    altered[edge.commit].append((bead, version, kind))
    for commit in line:
        hash = commit.hash
        yield CommitChanges(
            hash, commit.date, commit.author, tuple(rows[hash]), tuple(entries[hash]), tuple(altered[hash])
        )  # fmt: skip


FEW = 4
"""Edges that are asked one by one which tables they touched; of more, the tables are asked."""

SELDOM = ("labels", "dependencies", "watch_decision")
"""Tables that most slices of history do not touch: asked about together first."""

TOGETHER = ("issues", "events")
"""Tables that bd writes together: who touched one of them, as good as touched both."""


def _changed(engine: Engine, edges: Sequence[Edge], tables: Sequence[str]) -> dict[str, list[Edge]]:
    """Table → the edges over which it must be read. By edge: over a whole range a label may have come and gone again, and the net says nothing of it."""
    if len(edges) > FEW:
        some, both = (
            engine.touched([table for table in tables if table in group], edges) for group in (SELDOM, TOGETHER)
        )
        known = dict.fromkeys(TOGETHER, both)
        if 8 * len(some) < len(edges):  # to read an edge in vain costs seven times what it costs to be asked about
            known |= dict.fromkeys(SELDOM, some)
        return {t: list(known[t] if t in known else engine.touched((t,), edges)) for t in tables}
    touched = {edge: engine.changed_tables(edge.parent, edge.commit) for edge in edges}
    return {table: [edge for edge in edges if table in touched[edge]] for table in tables}


def uncommitted(engine: Engine, head: str, tables: Iterable[str], lens: Lens) -> list[RowChange]:
    """What stands SQL-committed but not Dolt-committed. It may spare a bead; it never causes an act."""
    found = []
    for table in tables:
        found += [change for _, change in _changes(engine, table, [Edge(head, WORKING)], lens)]
    return found


def _changes(engine: Engine, table: str, edges: Sequence[Edge], lens: Lens) -> Iterator[tuple[Edge, RowChange]]:
    if table != "issues":
        key, at, who = _SIDE[table]
        if not edges:
            return
        columns = {"diff_type": "diff_type"}
        targets = _targets(engine) if table == "dependencies" else {}
        for side in ("from", "to"):
            columns[f"{side}_bead"] = f"{side}_issue_id"
            for name, expression in (("key", key), ("at", at), ("who", who)):
                columns[f"{side}_{name}"] = expression.format(s=side, target=targets.get(side, ""))
        says = _SAYS[table] if lens.sides else ()
        for side in ("from", "to"):
            for name in says:
                is_target = name == "depends_on_id"
                columns[f"{side}_says_{name}"] = targets[side] if is_target else f"{side}_{name}"
        for edge, row in engine.diff(table, edges, columns):
            kind = row[0]
            bead, own, when, actor = row[1:5] if kind == "removed" else row[5:9]
            before, after = (
                dict(zip(says, values, strict=True)) for values in (row[9 : 9 + len(says)], row[9 + len(says) :])
            )
            changed = tuple(name for name in says if before[name] != after[name])
            yield edge, RowChange(table, bead, kind, changed, before, after, str(own), told(when), actor or "")
        return
    asked = [_same(engine, name) for name in lens.columns]
    for rule in lens.rules:
        asked += (f"({text}) IS TRUE" for text in (rule.when_from, rule.when_to, rule.running_from, rule.running_to))
    # digits, one text: long histories cost by the cells that come over the wire
    columns = {"diff_type": "diff_type", "from": "from_id", "to": "to_id", "asked": f"CONCAT({', '.join(asked)})"}
    columns["at"] = "to_updated_at"
    for name in lens.cells:
        columns[f"from_{name}"] = f"NULLIF(from_{name}, to_{name})"  # what is alike comes once
        columns[f"to_{name}"] = f"to_{name}"
    for number, rule in enumerate(lens.rules):
        for place, expression in enumerate(rule.rank_to):
            columns[f"rank_{number}_{place}"] = expression
    differ = dict[str, tuple[str, ...]]()  # columns by the digits: most changes are of a few kinds
    try:
        for edge, row in engine.diff("issues", edges, columns):
            digits = row[3]
            if digits not in differ:
                alike = zip(lens.columns, digits[: len(lens.columns)], strict=True)  # the rules' digits come after
                differ[digits] = tuple(name for name, digit in alike if digit == "0")
            yield edge, _issue(row, lens, differ[digits])
    except SchemaChanged as error:
        used = sorted({column for rule in lens.rules for column in rule.columns})
        raise SchemaChanged(
            f"a column of issues that a rule uses is gone ({error.message}); the rules use: {', '.join(used)}",
            fix="change `when` or `order_by` in dolt_watch.toml to columns that issues has",
        ) from error


def _targets(engine: Engine) -> dict[str, str]:
    """Return the SQL expression of a dependency's target before and after a change, by side of the diff."""
    schema = TrackerSchema({"dependencies": engine.columns("dependencies")})
    return {side: schema.dependency_target(f"{side}_") for side in ("from", "to")}


def kept_by_bd(row: RowChange) -> bool:
    """Return whether a change of `issues` is one that bd computed, and that changes no rule's answer."""
    same = all(one.matched == one.matches and one.was_running == one.runs for one in row.answers)
    return row.table == "issues" and bool(row.changed) and KEPT_BY_BD.issuperset(row.changed) and same


def _same(engine: Engine, name: str) -> str:
    return f"from_{name} <=> to_{name}" if engine.dialect == "mysql" else f"from_{name} IS to_{name}"


def _issue(row: Row, lens: Lens, changed: tuple[str, ...]) -> RowChange:
    kind, from_id, to_id, digits, at = row[:5]
    values = iter(row[5:])
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for name in lens.cells:
        was, after[name] = next(values), cell(name, next(values))
        before[name] = cell(name, was) if name in changed else after[name]
    answers = []
    for number, rule in enumerate(lens.rules):
        start = len(lens.columns) + 4 * number
        was, now, ran, runs = (digit == "1" for digit in digits[start : start + 4])
        rank = tuple(sortable(next(values)) for _ in rule.rank_to)
        was, ran = was and kind != "added", ran and kind != "added"
        now, runs = now and kind != "removed", runs and kind != "removed"
        answers.append(Answers(was, now, ran, runs, rank))
    return RowChange(
        "issues", from_id if kind == "removed" else to_id, kind, changed, before, after, at=told(at), answers=tuple(answers)
    )  # fmt: skip


def ledger_at(engine: Engine, commit: str) -> list[Entry]:
    """The whole ledger as a commit has it, stream by stream. Raises NoSuchTable."""
    wanted = ", ".join(ENTRY_COLUMNS)
    rows = engine.query(f"SELECT {wanted} FROM watch_decision AS OF '{commit}' ORDER BY bead_id, version")
    return [entry for row in rows if (entry := entry_from(row)) is not None]


def plain(value: Any) -> Any:
    """A cell as JSON holds it: times as ISO text, so that what was written and what comes back compare equal."""
    if value is None or isinstance(value, str | int | float):
        return value
    moment = utc(value) if hasattr(value, "isoformat") else None
    return moment.isoformat() if moment is not None else str(value)


def sortable(value: Any) -> Any:
    """A key of ``order_by`` as JSON holds it, in the order in which the database sorts it: as text, 10 hours come before 2."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not isinstance(value, Decimal):
        return plain(value)
    return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else float(value)


def cell(name: str, value: Any) -> Any:
    """A cell of ``issues`` for comparing: DoltLite gives times as text, Dolt as times."""
    return plain(told(value) or value) if name.endswith("_at") else plain(value)


def entry_from(row: Sequence[Any]) -> Entry | None:
    """One row of watch_decision, in the order of ``ENTRY_COLUMNS``. None where no dolt_watch wrote it: somebody's import must not end every tick."""
    (bead, version, kind, attempt, rule, token, cause, observed, at, job, reason, bead_hash, settings, actor, text) = (
        row
    )
    try:
        detail = orjson.loads(text)
    except ValueError:
        return None
    moment = told(at)
    if not isinstance(detail, dict) or moment is None or kind not in KINDS:
        return None
    return Entry(
        bead, version, Kind(kind), attempt, rule, token, cause, observed, moment, job, reason, bead_hash, settings,
        actor, detail, _wrote(detail.get("wrote")),
    )  # fmt: skip


def _wrote(value: Any) -> Wrote:
    if not isinstance(value, dict):
        return Wrote()
    cells, note, events = value.get("cells"), value.get("note"), value.get("events")
    pairs = cells.items() if isinstance(cells, dict) else ()
    return Wrote(
        {name: (pair[0], pair[1]) for name, pair in pairs if isinstance(pair, list) and len(pair) == 2},
        note if isinstance(note, str) else "",
        tuple(event for event in events if isinstance(event, str)) if isinstance(events, list) else (),
        value.get("events_in_history") is not False,
    )
