"""The feed: the only way in which facts come in. Row changes of history, commit by commit, oldest first.

The path runs from HEAD down to the cursor. At a merge it takes, of the parents that descend from the cursor, the one behind which the
watcher made its last commit, else the first. After a fast-forward onto a merge made elsewhere our line is the *second* parent, and the plain
first-parent chain would show old changes again. What a merge brings in from its other parents goes with it, as ``Commit.side``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

from dolt_watch.beads.columns import KEPT_BY_BD
from dolt_watch.beads.migration import MARKS
from dolt_watch.beads.schema import WATCHED_TABLES, TrackerSchema
from dolt_watch.core.reason_codes import recorded_or_derived
from dolt_watch.core.rekeyed import TOUCHED, without_rekeyed
from dolt_watch.core.rules import CompiledRule
from dolt_watch.engines import WORKING, Commit, Edge, Engine, Row
from dolt_watch.engines.sql import chunks, gaps
from dolt_watch.errors import NoSuchTable, SchemaChanged, Unexplained
from dolt_watch.model import Act, Answers, CommitChanges, Entry, Kind, RowChange, Wrote
from dolt_watch.times import told, utc

ENTRY_COLUMNS = (
    "bead_id", "version", "kind", "attempt", "rule", "token", "cause_commit", "observed_commit", "decided_at",
    "job_id", "reason", "bead_hash", "settings_hash", "actor", "detail",
)  # fmt: skip

CELLS = ("status", "assignee", "notes", "started_at", "closed_at")
"""Columns of issues whose values the derivation needs, besides what the rules ask."""

IDENTITY = ("title", "created_at")
"""Columns that a bead keeps when its id changes."""

KINDS = frozenset(kind.value for kind in Kind)

SIDE = {
    # table: (expression of the row's own key, of its time, of who did it); {s} is the side, from or to
    "comments": ("{s}_id", "{s}_created_at", "{s}_author"),
    "events": ("{s}_id", "{s}_created_at", "{s}_actor"),
    "labels": ("{s}_label", "NULL", "''"),
    "dependencies": ("{target}", "{s}_created_at", "{s}_created_by"),
}
SAYS = {
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
    """Of the other tables, bring what a row says (``SAYS``) too, not only that it is there."""
    schema: TrackerSchema = TrackerSchema({})
    """The shape of beads' tables as the tick found it; empty for readers of history, who ask for what they need."""

    def under(self, columns: Iterable[str]) -> Lens:
        """The same, where ``issues`` has these columns."""
        names = list(columns)
        every = set(self.columns) <= set(self.cells)
        cells = [*self.cells, *(name for name in names if name not in self.cells)] if every else self.cells
        return self._replace(columns=names, cells=cells)


OURS = "dolt-watch"
"""Author of every commit that a watcher makes: it marks the line on which the watcher stood."""


def path(commits: Iterable[Commit], since: str, until: str) -> list[Commit] | None:
    """The commits from after ``since`` to ``until``, oldest first, each with the parent taken as its only one.

    ``commits`` is the whole range, newest first; ``since`` itself may be among them. At a merge the parent is taken behind which the
    watcher made its last commit, and the merge gets the others' commits as its ``side``.
    None where ``since`` is no ancestor of ``until``: history was rewritten.
    """
    newest_first = [commit for commit in commits if commit.hash != since]
    if _straight(newest_first, since, until):
        return newest_first[::-1]
    known = {commit.hash: commit for commit in newest_first}
    rank = {since: 0}  # of a commit that descends from ``since``: how late the watcher stood at or behind it
    for number, commit in enumerate(_parents_first(known, until), start=1):
        behind = max((rank.get(parent, -1) for parent in known[commit].parents), default=-1)
        rank[commit] = number if known[commit].author == OURS and behind >= 0 else behind
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
    return list(_with_sides(line, known))


def _with_sides(line: Iterable[Commit], known: Mapping[str, Commit]) -> Iterator[Commit]:
    """The line, each merge with the commits that it reaches and its parent on the line does not. Each commit is visited once."""
    reached: set[str] = set()
    for commit in line:
        parents = known[commit.hash].parents
        if len(parents) > 1:
            side: list[Commit] = []
            stack = [parent for parent in parents if parent not in commit.parents]
            while stack:
                at = stack.pop()
                if at in known and at not in reached and at not in commit.parents:
                    reached.add(at)
                    side.append(known[at])
                    stack.extend(known[at].parents)
            commit = commit._replace(side=tuple(side))
        reached.add(commit.hash)
        yield commit


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
    changed, altered = _changed(engine, edges, [*tables, "watch_decision"])
    try:
        rows = _rows(engine, edges, tables, changed, _Apart(altered), lens)
    except Unexplained:
        rows = _rows(
            engine, edges, tables, changed, _Apart(engine.altered(tables, edges, exact=True), exact=True), lens
        )
    entries: dict[str, list[Entry]] = {commit.hash: [] for commit in line}
    rewritten: dict[str, list[tuple[str, int, str]]] = {commit.hash: [] for commit in line}
    if changed["watch_decision"]:
        wanted = {name: f"to_{name}" for name in ENTRY_COLUMNS}
        columns = {"diff_type": "diff_type", "from_bead": "from_bead_id", "from_version": "from_version", **wanted}
        with suppress(NoSuchTable):  # who only looks may ask of a database that was never initialised
            for edge, (kind, bead, version, *row) in engine.diff("watch_decision", changed["watch_decision"], columns):
                if kind == "added":
                    entries[edge.commit] += filter(None, (entry_from(row),))
                else:
                    rewritten[edge.commit].append((bead, version, kind))
    for commit in line:
        hash = commit.hash
        found = without_rekeyed(rows[hash])
        if commit.side is not None:
            found = tuple(_witnessed(engine, commit, found, lens))
        yield CommitChanges(
            commit=hash,
            date=commit.date,
            author=commit.author,
            rows=found,
            entries=tuple(entries[hash]),
            altered=tuple(rewritten[hash]),
            merge=commit.side is not None,
            migration=_migrates(engine, commit, found),
        )


def _migrates(engine: Engine, commit: Commit, rows: Iterable[RowChange]) -> bool:
    """As ``CommitChanges.migration``. Costs a query where a row has a new `updated_at` and nothing else, which is seldom."""
    if not any(map(_touched, rows)):
        return False
    changed = engine.changed(commit.parents[0], commit.hash)
    return not (changed.schema.isdisjoint(WATCHED_TABLES) and changed.data.isdisjoint(MARKS))


def _touched(row: RowChange) -> bool:
    """Return whether all that a person can have changed in a row of `issues` is its time."""
    return row.table == "issues" and row.kind == "modified" and TOUCHED <= set(row.changed) <= TOUCHED | KEPT_BY_BD


def _witnessed(engine: Engine, merge: Commit, rows: Sequence[RowChange], lens: Lens) -> Iterator[RowChange]:
    """The rows that a merge changed. Those of beads in the ledger come with what its side lines did to them (``Act``).

    The cost is one query, and the side lines' changes of ``issues`` only where such a bead's row matches or runs otherwise than before.
    """
    moved = {row.bead for row in rows if row.table == "issues" and row.kind == "modified" and _moves(row)}
    known = _in_ledger(engine, merge.hash, moved)
    acts: dict[str, list[Act]] = {bead: [] for bead in known}
    if known:
        edges = [Edge(commit.parents[0], commit.hash) for commit in merge.side or () if len(commit.parents) == 1]
        edges.reverse()
        apart = _Apart(engine.altered(["issues"], edges, exact=True), exact=True)
        found = _rows(engine, edges, ["issues"], {"issues": edges}, apart, lens) if edges else {}
        for commit, changes in found.items():
            for row in changes:
                if row.bead in known:
                    acts[row.bead].append(Act(row, _tokens(engine, commit, row.bead)))
    for row in rows:
        yield row._replace(acts=tuple(acts[row.bead])) if row.table == "issues" and row.bead in known else row


def narrowed(changes: CommitChanges, begin: int, count: int) -> CommitChanges:
    """With the answers of so many rules from ``begin`` on only; ``begin`` below 0 counts from the end."""

    def narrow(row: RowChange) -> RowChange:
        acts = tuple(act._replace(row=narrow(act.row)) for act in row.acts)
        return row._replace(answers=row.answers[begin:][:count], acts=acts)

    return changes._replace(rows=tuple(narrow(row) for row in changes.rows))


def _moves(row: RowChange) -> bool:
    return any((one.matched, one.was_running) != (one.matches, one.runs) for one in row.answers)


def _in_ledger(engine: Engine, commit: str, beads: Iterable[str]) -> set[str]:
    known: set[str] = set()
    for some in chunks(sorted(beads), 200):
        marks = ", ".join("?" * len(some))
        sql = f"SELECT DISTINCT bead_id FROM watch_decision AS OF '{commit}' WHERE bead_id IN ({marks})"
        with suppress(NoSuchTable):
            known.update(bead for (bead,) in engine.query(sql, some))
    return known


def _tokens(engine: Engine, commit: str, bead: str) -> frozenset[str]:
    """Of the attempts that the ledger holds at this commit: a line that has not seen one cannot end it."""
    sql = f"SELECT DISTINCT token FROM watch_decision AS OF '{commit}' WHERE bead_id = ? AND token <> ''"
    try:
        return frozenset(token for (token,) in engine.query(sql, (bead,)))
    except NoSuchTable:
        return frozenset()


FEW = 4
"""Edges that are asked one by one which tables they touched; of more, the tables are asked."""

SELDOM = ("labels", "dependencies", "watch_decision")
"""Tables that most slices of history do not touch: asked about together first."""

TOGETHER = ("issues", "events")
"""Tables that bd writes together: who touched one of them, as good as touched both."""


class _Apart(NamedTuple):
    """Table → the edges over which its schema changed: there, both ends are read and compared by what both have."""

    edges: Mapping[str, Collection[Edge]] = {}
    exact: bool = False
    """Nothing is left out for certain, so a row that shows no change has none."""


def _rows(
    engine: Engine,
    edges: Sequence[Edge],
    tables: Sequence[str],
    changed: Mapping[str, Sequence[Edge]],
    apart: _Apart,
    lens: Lens,
) -> dict[str, list[RowChange]]:
    """Row changes by commit. Raises Unexplained where the schema of a table changed on the way, and ``apart`` does not say so."""
    rows: dict[str, list[RowChange]] = {edge.commit: [] for edge in edges}
    for table in tables:
        for edge, change in _stretches(engine, table, edges, changed[table], apart, lens):
            rows[edge.commit].append(change)
    return rows


def _stretches(
    engine: Engine,
    table: str,
    edges: Sequence[Edge],
    changed: Sequence[Edge],
    apart: _Apart,
    lens: Lens,
) -> Iterator[tuple[Edge, RowChange]]:
    """The row changes over the edges that ``changed`` names, each stretch of history under its own schema."""
    altered = apart.edges.get(table)
    if not altered:
        yield from _changes(engine, table, changed, lens, apart)
        return
    from dolt_watch.across import changes as across  # seldom

    stretch, wanted, before = list[Edge](), set(changed), edges[0].parent
    for edge in edges:
        if edge in altered or Edge(before, edge.parent) in altered:
            yield from _changes(engine, table, stretch, lens, apart)
            stretch = []
        if edge in altered:
            yield from across(engine, table, edge, lens)
        elif edge in wanted:
            stretch.append(edge)
        before = edge.commit
    yield from _changes(engine, table, stretch, lens, apart)


def _changed(
    engine: Engine, edges: Sequence[Edge], tables: Sequence[str]
) -> tuple[dict[str, list[Edge]], Mapping[str, Collection[Edge]]]:
    """Table → the edges over which it must be read, and those over which its schema changed.

    By edge: over a whole range a label may have come and gone again, and the net says nothing of it.
    """
    if len(edges) > FEW:
        altered = engine.altered(tables, edges)
        some, both = (
            engine.touched([table for table in tables if table in group], edges) for group in (SELDOM, TOGETHER)
        )
        known = dict.fromkeys(TOGETHER, both)
        if 8 * len(some) < len(edges):  # to read an edge in vain costs seven times what it costs to be asked about
            known |= dict.fromkeys(SELDOM, some)
        return {t: list(known[t] if t in known else engine.touched((t,), edges)) for t in tables}, altered
    touched = {edge: engine.changed(edge.parent, edge.commit) for edge in edges}
    between = {edge: engine.changed(edge.parent, edge.commit) for edge in gaps(edges)}
    altered = {
        table: frozenset(edge for edge, one in (touched | between).items() if table in one.schema) for table in tables
    }
    return {table: [edge for edge in edges if table in touched[edge].data] for table in tables}, altered


def uncommitted(
    engine: Engine, head: str, tables: Iterable[str], lens: Lens, unmigrated: Collection[str] = ()
) -> list[RowChange]:
    """What stands SQL-committed but not Dolt-committed. It may spare a bead; it never causes an act.

    ``unmigrated``: tables whose schema in the working set is not HEAD's. Rows that a migration writes
    without changing what they say are left out.
    """
    edge = Edge(head, WORKING)
    apart = _Apart({table: (edge,) for table in unmigrated}, exact=True)
    rows = (change for table in tables for _, change in _stretches(engine, table, [edge], [edge], apart, lens))
    return [row for row in without_rekeyed(rows) if not (unmigrated and _touched(row) and _answers_alike(row))]


def _changes(
    engine: Engine, table: str, edges: Sequence[Edge], lens: Lens, apart: _Apart
) -> Iterator[tuple[Edge, RowChange]]:
    """The row changes of a stretch, in which the table has one schema."""
    if not edges:
        return
    at = edges[-1].commit if edges[-1].commit != WORKING else None
    try:
        if table == "issues":
            yield from _issues(engine, edges, lens, at, apart)
        else:
            yield from _side_rows(engine, table, edges, lens, at)
    except Unexplained:
        if not apart.exact:
            raise
        from dolt_watch.across import changes as across  # seldom

        for edge in edges:  # the server cannot render what has one schema: each end can still be read
            yield from across(engine, table, edge, lens)


def _side_rows(
    engine: Engine, table: str, edges: Sequence[Edge], lens: Lens, at: str | None
) -> Iterator[tuple[Edge, RowChange]]:
    key, when, who = SIDE[table]
    says = SAYS[table] if lens.sides else ()
    schema = TrackerSchema({table: engine.columns(table, at)} if table == "dependencies" else {})
    if table == "dependencies" and not schema.has(table):
        return  # neither end of any of these edges has the table
    columns = {"diff_type": "diff_type"}
    says_of = dict[str, str]()
    for side in ("from", "to"):
        target = schema.dependency_target(f"{side}_") if table == "dependencies" else ""
        columns[f"{side}_bead"] = f"{side}_issue_id"
        for name, expression in (("key", key), ("at", when), ("who", who)):
            columns[f"{side}_{name}"] = expression.format(s=side, target=target)
        for name in says:
            says_of[f"{side}_says_{name}"] = target if name == "depends_on_id" else f"{side}_{name}"
    columns |= says_of
    # A table in dolt_ignore is missing on other branches and in clones, and in commits anyway: nothing to read.
    with suppress(NoSuchTable):
        for edge, row in engine.diff(table, edges, columns, at):
            kind = row[0]
            if kind == "modified" and row[1] != row[5]:
                continue  # it belongs to another id now (`bd rename`): nothing was said
            bead, own, moment, actor = row[1:5] if kind == "removed" else row[5:9]
            before, after = (
                dict(zip(says, values, strict=True)) for values in (row[9 : 9 + len(says)], row[9 + len(says) :])
            )
            changed = tuple(name for name in says if before[name] != after[name])
            yield (
                edge,
                RowChange(
                    table=table,
                    bead=bead,
                    kind=kind,
                    changed=changed,
                    before=before,
                    after=after,
                    key=str(own),
                    at=told(moment),
                    who=actor or "",
                ),
            )


def _issues(
    engine: Engine, edges: Sequence[Edge], lens: Lens, at: str | None, apart: _Apart
) -> Iterator[tuple[Edge, RowChange]]:
    if apart.exact or apart.edges.get("issues"):
        lens = lens.under(engine.columns("issues", at))
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
    for name in IDENTITY:  # last: seldom asked for, so that most rows carry nothing of it
        columns[f"is_{name}"] = f"CASE diff_type WHEN 'added' THEN to_{name} WHEN 'removed' THEN from_{name} END"
    differ = dict[str, tuple[str, ...]]()  # columns by the digits: most changes are of a few kinds
    try:
        for edge, row in engine.diff("issues", edges, columns, at):
            digits = row[3]
            if digits not in differ:
                alike = zip(lens.columns, digits[: len(lens.columns)], strict=True)  # the rules' digits come after
                differ[digits] = tuple(name for name, digit in alike if digit == "0")
            change = _issue(row, lens, differ[digits])
            if change.nothing:
                if not apart.exact:
                    raise Unexplained(f"a column of issues that is not known changed in {edge.commit}")
                continue
            yield edge, change
    except SchemaChanged as error:
        used = sorted({column for rule in lens.rules for column in rule.columns})
        raise SchemaChanged(
            f"a column of issues that a rule uses is gone ({error.message}); the rules use: {', '.join(used)}",
            fix="change `when` or `order_by` in dolt_watch.toml to columns that issues has",
        ) from error


def kept_by_bd(row: RowChange) -> bool:
    """Return whether a change of `issues` is one that bd computed, and that changes no rule's answer."""
    return row.table == "issues" and bool(row.changed) and KEPT_BY_BD.issuperset(row.changed) and _answers_alike(row)


def _answers_alike(row: RowChange) -> bool:
    return all(one.matched == one.matches and one.was_running == one.runs for one in row.answers)


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
    identity = tuple(cell(name, next(values)) for name in IDENTITY) if kind != "modified" else ()
    return RowChange(
        table="issues",
        bead=from_id if kind == "removed" else to_id,
        kind=kind,
        changed=changed,
        before=before,
        after=after,
        at=told(at),
        answers=tuple(answers),
        identity=identity,
    )


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
        bead=bead,
        version=version,
        kind=Kind(kind),
        attempt=attempt,
        rule=rule,
        token=token,
        cause=cause,
        observed=observed,
        at=moment,
        job=job,
        reason=reason,
        bead_hash=bead_hash,
        settings_hash=settings,
        actor=actor,
        detail=detail,
        wrote=_wrote(detail.get("wrote")),
        reason_code=recorded_or_derived(kind, reason, detail),
    )


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
