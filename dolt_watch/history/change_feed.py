"""The change feed: row changes of history, commit by commit, oldest first.

All facts enter dolt_watch through the feed. The path runs from HEAD down to the cursor. At a merge,
the feed considers the parents that descend from the cursor. It follows the parent behind which the
worker made its last commit, or else the first parent. After a fast-forward onto a merge made
elsewhere, the line of dolt_watch is the *second* parent, and the first-parent chain would repeat
old changes. ``Commit.side`` contains the commits that a merge brings in from its other parents.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from dolt_watch.beads.feed_query import IDENTITY, SAYS, SIDE, FeedQuery
from dolt_watch.beads.schema import MIGRATION_MARKS, WATCHED_TABLES, TrackerSchema
from dolt_watch.core.model import Act, CommitChanges, LedgerEntry, RowChange, RuleAnswers
from dolt_watch.core.model.columns import KEPT_BY_BD, TOUCHED
from dolt_watch.core.projection.moved_rows import without_rekeyed
from dolt_watch.engines import WORKING, Changed, Commit, Edge, Engine, Row
from dolt_watch.engines.sql_text import chunks, gaps
from dolt_watch.engines.values import normalize_cell, sort_value
from dolt_watch.errors import NoSuchTable, SchemaChanged, Unexplained
from dolt_watch.ledger.codec import ENTRY_COLUMNS, decode_entry
from dolt_watch.timestamps import parse_foreign

LEDGER = "watch_decision"

_NOT_READ: Mapping[Edge, Changed] = {}

Touched = Mapping[str, Collection[Edge]]
"""Table → the edges over which the table may have changed."""


def read_changes(
    engine: Engine,
    line: Sequence[Commit],
    tables: Iterable[str],
    feed_query: FeedQuery,
    touched: Touched | None = None,
    differences: Mapping[Edge, Changed] = _NOT_READ,
) -> Iterator[CommitChanges]:
    """Yield the row changes of each commit of the line, in order.

    Raises SchemaChanged if a column that a rule uses is missing.

    Args:
        touched: the result of ``touched_edges`` for a line that contains this line.
        differences: the result of ``read_differences`` for edges of this line.
    """
    if not line:
        return
    tables = list(tables)
    edges = [Edge(commit.parents[0], commit.hash) for commit in line]
    changed, altered = _changed(engine, edges, [*tables, LEDGER], touched, differences)
    try:
        rows = _rows(engine, edges, tables, changed, _Apart(altered), feed_query)
    except Unexplained:
        rows = _rows(
            engine,
            edges,
            tables,
            changed,
            _Apart(engine.altered(tables, edges, exact=True), exact=True),
            feed_query,
        )
    entries: dict[str, list[LedgerEntry]] = {commit.hash: [] for commit in line}
    rewritten: dict[str, list[tuple[str, int, str]]] = {commit.hash: [] for commit in line}
    if changed[LEDGER]:
        wanted = {name: f"to_{name}" for name in ENTRY_COLUMNS}
        columns = {
            "diff_type": "diff_type",
            "from_bead": "from_bead_id",
            "from_version": "from_version",
            **wanted,
        }
        # A read-only command can run on a database without the tables of dolt_watch.
        with suppress(NoSuchTable):
            for edge, (kind, bead, version, *row) in engine.diff(LEDGER, changed[LEDGER], columns):
                if kind == "added":
                    entries[edge.commit] += filter(None, (decode_entry(row),))
                else:
                    rewritten[edge.commit].append((bead, version, kind))
    for commit in line:
        hash = commit.hash
        found: Sequence[RowChange] = rows[hash]
        if any(row.kind == "removed" for row in found):
            found = without_rekeyed(found)
        if commit.side is not None:
            found = list(_witnessed(engine, commit, found, feed_query))
        yield CommitChanges(
            commit=hash,
            date=commit.date,
            author=commit.author,
            rows=tuple(found),
            entries=tuple(entries[hash]),
            altered=tuple(rewritten[hash]),
            merge=commit.side is not None,
            migration=any(map(_touched, found)) and _migrates(engine, commit),
        )


def commits_with_rows(
    engine: Engine,
    line: Sequence[Commit],
    tables: Iterable[str],
    touched: Touched,
    is_wanted: Callable[[str | None, str | None], bool],
) -> list[Commit]:
    """Return the commits of the line with a wanted row change.

    Only the ids in the rows are read, which costs less than ``read_changes``. If the schema of a
    table changed, the rows are read too.

    Args:
        engine: The engine.
        line: A line of ``find_line``, or a part of one.
        tables: Tables of bd, or the ledger.
        touched: the result of ``touched_edges`` for a line that contains this line.
        is_wanted: Receives the bead of a row before and after a change. None: there was no row.
    """
    tables = list(tables)
    edges = [Edge(commit.parents[0], commit.hash) for commit in line]
    changed, altered = _changed(engine, edges, tables, touched)
    found: set[str] = set()
    crossing = {edge.commit for some in altered.values() for edge in some}
    try:
        for table, those in changed.items():
            apart = altered.get(table, ())
            found |= _commits_in_table(engine, table, is_wanted, edges, those, apart)
    except Unexplained:  # a schema changed and was changed back
        crossing = {commit.hash for commit in line}
    unsure = [commit for commit in line if commit.hash in crossing - found]
    if unsure:
        query = FeedQuery([], list(engine.columns("issues", unsure[-1].hash)))
        of_bd = [table for table in tables if table != LEDGER]
        for changes in read_changes(engine, unsure, of_bd, query):
            if any(is_wanted(*_beads(row)) for row in changes.rows) or any(
                LEDGER in tables and is_wanted(None, entry.bead) for entry in changes.entries
            ):
                found.add(changes.commit)
    return [commit for commit in line if commit.hash in found]


def _beads(row: RowChange) -> tuple[str | None, str | None]:
    """Return the bead of a row before and after its change."""
    return (
        None if row.kind == "added" else row.bead,
        None if row.kind == "removed" else row.bead,
    )


def _commits_in_table(
    engine: Engine,
    table: str,
    is_wanted: Callable[[str | None, str | None], bool],
    edges: Sequence[Edge],
    changed: Sequence[Edge],
    altered: Collection[Edge],
) -> set[str]:
    """Return the commits with a wanted change of a row of the table.

    Commits that changed the table's schema are excluded.
    """
    name = {"issues": "id", LEDGER: "bead_id"}.get(table, "issue_id")
    columns = {"before": f"from_{name}", "after": f"to_{name}"}
    found: set[str] = set()
    for stretch, alters in _by_schema(edges, changed, altered) if altered else [(changed, False)]:
        if alters or not stretch:
            continue
        at = None if table == LEDGER else stretch[-1].commit
        with suppress(NoSuchTable):  # none of these commits has the table
            for edge, (before, after) in engine.diff(table, stretch, columns, at):
                if is_wanted(before, after):
                    found.add(edge.commit)
    return found


def _migrates(engine: Engine, commit: Commit) -> bool:
    """Return the value of ``CommitChanges.migration``.

    It costs a query, so it is looked up only for a row in which nothing but `updated_at` changed,
    which is rare.
    """
    changed = engine.changed(commit.parents[0], commit.hash)
    return not (
        changed.schema.isdisjoint(WATCHED_TABLES) and changed.data.isdisjoint(MIGRATION_MARKS)
    )


def _touched(row: RowChange) -> bool:
    """Return whether `updated_at` is the only column of an `issues` row that a user can have
    changed.
    """
    return (
        row.table == "issues"
        and row.kind == "modified"
        and TOUCHED <= set(row.changed) <= TOUCHED | KEPT_BY_BD
    )


def _witnessed(
    engine: Engine, merge: Commit, rows: Sequence[RowChange], feed_query: FeedQuery
) -> Iterator[RowChange]:
    """Yield the rows that a merge changed.

    Rows of beads in the ledger include the changes that the merge's side lines made to them
    (``Act``).

    The cost is one query. The side lines' changes of ``issues`` are read only if the row of such a
    bead changed in whether it matches or runs.
    """
    moved = {
        row.bead for row in rows if row.table == "issues" and row.kind == "modified" and _moves(row)
    }
    known = _in_ledger(engine, merge.hash, moved)
    acts: dict[str, list[Act]] = {bead: [] for bead in known}
    if known:
        edges = [
            Edge(commit.parents[0], commit.hash)
            for commit in merge.side or ()
            if len(commit.parents) == 1
        ]
        edges.reverse()
        apart = _Apart(engine.altered(["issues"], edges, exact=True), exact=True)
        found = (
            _rows(engine, edges, ["issues"], {"issues": edges}, apart, feed_query) if edges else {}
        )
        for commit, changes in found.items():
            for row in changes:
                if row.bead in known:
                    acts[row.bead].append(Act(row, _tokens(engine, commit, row.bead)))
    for row in rows:
        yield (
            row._replace(acts=tuple(acts[row.bead]))
            if row.table == "issues" and row.bead in known
            else row
        )


def narrowed(changes: CommitChanges, begin: int, count: int) -> CommitChanges:
    """Return the changes with the answers of only ``count`` rules, from index ``begin``.

    A negative ``begin`` counts from the end.
    """

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
        sql = (
            f"SELECT DISTINCT bead_id FROM watch_decision AS OF '{commit}' WHERE bead_id IN"
            f" ({marks})"
        )
        with suppress(NoSuchTable):
            known.update(bead for (bead,) in engine.query(sql, some))
    return known


def _tokens(engine: Engine, commit: str, bead: str) -> frozenset[str]:
    """Return the tokens of the attempts in the ledger at this commit.

    A line that does not contain an attempt can't end the attempt.
    """
    sql = (
        f"SELECT DISTINCT token FROM watch_decision AS OF '{commit}' WHERE bead_id = ? AND token"
        " <> ''"
    )
    try:
        return frozenset(token for (token,) in engine.query(sql, (bead,)))
    except NoSuchTable:
        return frozenset()


PER_EDGE_LIMIT = 4
"""Maximum number of edges to check one by one. For more, each table is checked over all edges."""

RARELY_CHANGED = ("labels", "dependencies", LEDGER)
"""Tables that most ranges of history don't change. They are checked together first."""

WRITTEN_TOGETHER = ("issues", "events")
"""Tables that bd writes together. A commit that changed one of them usually changed both."""


class _Apart(NamedTuple):
    """Edges to compare under two schemas.

    ``edges`` is table → the edges over which its schema changed. Over these, both ends are read,
    and their common columns are compared.
    """

    edges: Mapping[str, Collection[Edge]] = {}
    exact: bool = False
    """Whether ``edges`` is certain to be complete. If so, a row that shows no change has none."""


def _rows(
    engine: Engine,
    edges: Sequence[Edge],
    tables: Sequence[str],
    changed: Mapping[str, Sequence[Edge]],
    apart: _Apart,
    feed_query: FeedQuery,
) -> dict[str, list[RowChange]]:
    """Return the row changes by commit.

    Raises Unexplained if the schema of a table changed on an edge that ``apart`` does not contain.
    """
    rows: dict[str, list[RowChange]] = {edge.commit: [] for edge in edges}
    for table in tables:
        if changed[table] or apart.edges.get(table):
            for edge, change in _stretches(engine, table, edges, changed[table], apart, feed_query):
                rows[edge.commit].append(change)
    return rows


def _stretches(
    engine: Engine,
    table: str,
    edges: Sequence[Edge],
    changed: Sequence[Edge],
    apart: _Apart,
    feed_query: FeedQuery,
) -> Iterator[tuple[Edge, RowChange]]:
    """Yield the row changes over the edges in ``changed``.

    Each stretch of history is read under its own schema.
    """
    altered = apart.edges.get(table, ())
    for stretch, alters in _by_schema(edges, changed, altered) if altered else [(changed, False)]:
        if not stretch:
            continue
        at = stretch[-1].commit if stretch[-1].commit != WORKING else None
        try:
            if not alters and table == "issues":
                yield from _issues(engine, stretch, feed_query, at, apart)
            elif not alters:
                yield from _side_rows(engine, table, stretch, feed_query, at)
        except Unexplained:
            if not apart.exact:
                raise
            # The server can't compare these rows although they have one schema. It can read each
            # end.
            alters = True
        if alters:
            from dolt_watch.history.schema_change import changes as across  # seldom

            for edge in stretch:
                yield from across(engine, table, edge, feed_query)


def _by_schema(
    edges: Sequence[Edge], changed: Sequence[Edge], altered: Collection[Edge]
) -> Iterator[tuple[Sequence[Edge], bool]]:
    """Yield the edges of ``changed`` in stretches of one schema, in order, each with False.

    Yield each edge of ``altered`` separately, with True.
    """
    stretch, wanted, before = list[Edge](), set(changed), edges[0].parent
    for edge in edges:
        if edge in altered or Edge(before, edge.parent) in altered:
            yield stretch, False
            stretch = []
        if edge in altered:
            yield [edge], True
        elif edge in wanted:
            stretch.append(edge)
        before = edge.commit
    yield stretch, False


def read_differences(
    engine: Engine, line: Sequence[Commit], head: str
) -> tuple[dict[Edge, Changed], Changed]:
    """Return the tables that differ over the edges of a line, and between HEAD and the working set.

    Costs one query. A line of more than ``PER_EDGE_LIMIT`` commits is read as one edge, from its
    beginning to its end.
    """
    edges = [Edge(commit.parents[0], commit.hash) for commit in line]
    if len(edges) > PER_EDGE_LIMIT:
        edges = [Edge(edges[0].parent, edges[-1].commit)]
    edges += gaps(edges)
    *over, working = engine.changed_over([*edges, Edge(head, WORKING)])
    return dict(zip(edges, over, strict=True)), working


def _changed(
    engine: Engine,
    edges: Sequence[Edge],
    tables: Sequence[str],
    touched: Touched | None = None,
    differences: Mapping[Edge, Changed] = _NOT_READ,
) -> tuple[dict[str, list[Edge]], Mapping[str, Collection[Edge]]]:
    """Return table → the edges over which to read it, and table → the edges that changed its
    schema.

    Edges are checked individually: a label can be added and removed again within a range, which the
    range's net difference doesn't show.
    """
    if len(edges) > PER_EDGE_LIMIT:
        altered = engine.altered(tables, edges)
        known = touched or touched_edges(engine, edges, tables)
        return {table: [edge for edge in edges if edge in known[table]] for table in tables}, (
            altered
        )
    unknown = [edge for edge in [*edges, *gaps(edges)] if edge not in differences]
    found = {**differences, **dict(zip(unknown, engine.changed_over(unknown), strict=True))}
    differ = {edge: found[edge] for edge in edges}
    between = {edge: found[edge] for edge in gaps(edges)}
    altered = {
        table: frozenset(edge for edge, one in (differ | between).items() if table in one.schema)
        for table in tables
    }
    return {
        table: [edge for edge in edges if table in differ[edge].data] for table in tables
    }, altered


def touched_edges(engine: Engine, edges: Sequence[Edge], tables: Sequence[str]) -> Touched:
    """Return the edges over which each table may have changed. No edge that changed it is missing.

    This costs two or three queries, which take little longer for many edges than for few.
    """
    some, both = (
        engine.filter_changed_edges([table for table in tables if table in group], edges)
        for group in (RARELY_CHANGED, WRITTEN_TOGETHER)
    )
    known = dict.fromkeys(WRITTEN_TOGETHER, frozenset(both))
    # Reading an edge without changes costs seven times as much as checking it.
    if 8 * len(some) < len(edges):
        known |= dict.fromkeys(RARELY_CHANGED, frozenset(some))
    return {
        t: known[t] if t in known else frozenset(engine.filter_changed_edges((t,), edges))
        for t in tables
    }


def read_uncommitted(
    engine: Engine,
    head: str,
    tables: Iterable[str],
    feed_query: FeedQuery,
    unmigrated: Collection[str] = (),
) -> list[RowChange]:
    """Return the changes that are committed in SQL but not in Dolt.

    They can protect a bead from an action, but never cause one. Rows whose answers a migration
    leaves unchanged are omitted.

    Args:
        unmigrated: tables whose schema in the working set differs from the schema at HEAD.
    """
    edge = Edge(head, WORKING)
    apart = _Apart({table: (edge,) for table in unmigrated}, exact=True)
    rows = [
        change
        for table in tables
        for _, change in _stretches(engine, table, [edge], [edge], apart, feed_query)
    ]
    return [
        row
        for row in without_rekeyed(rows)
        if not (unmigrated and _touched(row) and _answers_alike(row))
    ]


def _side_rows(
    engine: Engine, table: str, edges: Sequence[Edge], feed_query: FeedQuery, at: str | None
) -> Iterator[tuple[Edge, RowChange]]:
    key, when, who = SIDE[table]
    says = SAYS[table] if feed_query.include_side_values else ()
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
    # A table in dolt_ignore is in no commit, and not on other branches or in clones.
    with suppress(NoSuchTable):
        for edge, row in engine.diff(table, edges, columns, at):
            kind = row[0]
            if kind == "modified" and row[1] != row[5]:
                continue  # `bd rename` moved the row to another id, which is no activity
            bead, own, moment, actor = row[1:5] if kind == "removed" else row[5:9]
            before, after = (
                dict(zip(says, values, strict=True))
                for values in (row[9 : 9 + len(says)], row[9 + len(says) :])
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
                    at=parse_foreign(moment),
                    who=actor or "",
                ),
            )


def _issues(
    engine: Engine, edges: Sequence[Edge], feed_query: FeedQuery, at: str | None, apart: _Apart
) -> Iterator[tuple[Edge, RowChange]]:
    if apart.exact or apart.edges.get("issues"):
        feed_query = feed_query.under(engine.columns("issues", at))
    same = "<=>" if engine.dialect == "mysql" else "IS"
    unchanged = [f"from_{name} {same} to_{name}" for name in feed_query.columns]
    for rule in feed_query.rules:
        unchanged += (
            f"({text}) IS TRUE"
            for text in (rule.when_from, rule.when_to, rule.running_from, rule.running_to)
        )
    # The answers are digits in one text, because each cell that is sent adds to the cost.
    columns = {
        "diff_type": "diff_type",
        "from": "from_id",
        "to": "to_id",
        "asked": f"CONCAT({', '.join(unchanged)})",
    }
    columns["at"] = "to_updated_at"
    for name in feed_query.cells:
        # Notes may be long, so equal ones are sent once. An expression takes the server 0.3 ms, and
        # a cell 0.3 µs (Dolt 1.86.4).
        long = name == "notes"
        columns[f"from_{name}"] = f"NULLIF(from_{name}, to_{name})" if long else f"from_{name}"
        columns[f"to_{name}"] = f"to_{name}"
    for number, rule in enumerate(feed_query.rules):
        for place, expression in enumerate(rule.rank_to):
            columns[f"rank_{number}_{place}"] = expression
    for name in IDENTITY:
        columns[f"was_{name}"], columns[f"is_{name}"] = f"from_{name}", f"to_{name}"
    differ = dict[str, tuple[str, ...]]()  # columns by digits: few distinct values
    try:
        for edge, row in engine.diff("issues", edges, columns, at):
            digits = row[3]
            if digits not in differ:
                # The digits of the rules follow those of the columns.
                alike = zip(feed_query.columns, digits[: len(feed_query.columns)], strict=True)
                differ[digits] = tuple(name for name, digit in alike if digit == "0")
            change = _issue(row, feed_query, differ[digits])
            if not change.changed and change.nothing:
                if not apart.exact:
                    raise Unexplained(f"An unknown column of issues changed in {edge.commit}.")
                continue
            yield edge, change
    except SchemaChanged as error:
        used = sorted({column for rule in feed_query.rules for column in rule.columns})
        raise SchemaChanged(
            f"A column of issues that a rule uses is missing ({error.clause}). The rules use"
            f" {', '.join(used)}.",
            fix="Change `when` or `order_by` in dolt_watch.toml to columns of issues.",
        ) from error


def kept_by_bd(row: RowChange) -> bool:
    """Return whether a change of `issues` contains only computed columns of bd and changes no
    rule's answer.
    """
    return (
        row.table == "issues"
        and bool(row.changed)
        and KEPT_BY_BD.issuperset(row.changed)
        and _answers_alike(row)
    )


def _answers_alike(row: RowChange) -> bool:
    return all(one.matched == one.matches and one.was_running == one.runs for one in row.answers)


def _issue(row: Row, feed_query: FeedQuery, changed: tuple[str, ...]) -> RowChange:
    kind, from_id, to_id, digits, at = row[:5]
    values = iter(row[5:])
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    # Before and after of each cell. An unchanged cell isn't compared: its two values are the same.
    for name in feed_query.cells:
        was, after[name] = next(values), normalize_cell(name, next(values))
        before[name] = normalize_cell(name, was) if name in changed else after[name]
    answers = []
    # Four digits for each rule: matched, matches, ran, runs. A missing row matches nothing.
    for number, rule in enumerate(feed_query.rules):
        start = len(feed_query.columns) + 4 * number
        was, now, ran, runs = (digit == "1" for digit in digits[start : start + 4])
        rank = tuple(sort_value(next(values)) for _ in rule.rank_to)
        was, ran = was and kind != "added", ran and kind != "added"
        now, runs = now and kind != "removed", runs and kind != "removed"
        answers.append(RuleAnswers(was, now, ran, runs, rank))
    identity: tuple[Any, ...] = ()
    if kind != "modified":
        sides = [(name, next(values), next(values)) for name in IDENTITY]
        identity = tuple(
            normalize_cell(name, was if kind == "removed" else now) for name, was, now in sides
        )
    return RowChange(
        table="issues",
        bead=from_id if kind == "removed" else to_id,
        kind=kind,
        changed=changed,
        before=before,
        after=after,
        at=parse_foreign(at),
        answers=tuple(answers),
        identity=identity,
    )
