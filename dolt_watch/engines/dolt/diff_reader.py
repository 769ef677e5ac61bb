"""Row changes from a Dolt server, read in the cheapest correct way for each edge.

There are two ways. ``DOLT_DIFF(a, b, t)`` compares any two commits, one edge a query.
``dolt_diff_<t> WHERE to_commit IN (…)`` reads 100 edges in 7 ms, and is faster than DOLT_DIFF for
one (3.2 ms compared with 4.3 ms over all columns of issues). It is correct only for linear history.

The reason is that the server stores *one* child for each parent
(``DiffPartitions.cmHashToTblInfo``, Dolt 1.86.4). It first stores the requested commits. While it
walks the parents, it then stores each parent as the child of its own parents. If a commit has two
children among these, one edge is lost without an error, and the order of the walk decides which
one. A merge without fast-forward loses an edge even if it is the only requested commit. The query
also returns nothing for commits that HEAD does not reach. It ends early at a changed primary key,
with a warning.

One query therefore contains only steps whose parent has exactly one child among all the commits
that the server handles. Every other edge is read with DOLT_DIFF. ``tests/conformance/test_dag.py``
compares both over random histories.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from dolt_watch.engines import WORKING, Edge, Row
from dolt_watch.engines.dolt.connection import DoltConnection
from dolt_watch.engines.sql_text import chunks, gaps
from dolt_watch.errors import (
    DatabaseError,
    NoSuchTable,
    SchemaChanged,
    Unexplained,
    UnknownCommit,
)

BATCH_EDGES = 400
"""Number of edges in a batch, from which as many as possible are read in one query."""

MAX_LISTED = 200
"""Maximum number of edges that a query lists.

The server plans a query in about 2 ms, and more than proportionally longer for a long list. An edge
of issues takes 0.30 ms in lists of 100, 0.27 ms of 200, and 0.30 ms of 400.
"""

Found = dict[Edge, list[Row]]

_SIDED = re.compile(r"\b(?:from|to)_\w+")
"""A column of a diff in an expression."""


class DiffReader:
    def __init__(self, link: DoltConnection, columns: Callable[[str], dict[str, str]]) -> None:
        self._link = link
        self._columns = columns
        self._parents: Mapping[str, tuple[str, ...]] = {}
        self._until = ""

    def set_commit_range(self, until: str, parents: Mapping[str, tuple[str, ...]]) -> None:
        """Set the parents of every commit of one complete range that ends at ``until``.

        The range replaces the previous one, because ``linear_edges`` needs a complete range.
        """
        self._until, self._parents = until, parents

    @property
    def commit_range(self) -> tuple[str, Mapping[str, tuple[str, ...]]]:
        """Return the range that ``set_commit_range`` set last."""
        return self._until, self._parents

    def filter_changed_edges(self, tables: Sequence[str], edges: Sequence[Edge]) -> Sequence[Edge]:
        """Return the edges that may have changed the tables, by DOLT_LOG's comparison of table
        hashes.

        This costs 0.01 ms a commit. dolt_diff_<table> takes 0.07 ms to find no change.

        DOLT_LOG answers for commits with one parent, over a whole range. Merges are therefore
        always returned. All edges are returned if they are not a chain, or if ``tables`` is empty.
        """
        if (
            not tables
            or not edges
            or any(edge.parent != before.commit for before, edge in pairwise(edges))
        ):
            return edges
        span = f"{edges[0].parent}..{edges[-1].commit}"
        sql = f"SELECT commit_hash FROM DOLT_LOG('{span}', '--tables', '{','.join(tables)}')"
        rows = self._link.send(sql, again=True).rows
        found = {row[0] for row in rows}
        return [e for e in edges if e.commit in found or self._parents.get(e.commit) != (e.parent,)]

    def altered(
        self, tables: Sequence[str], edges: Sequence[Edge], exact: bool
    ) -> dict[str, frozenset[Edge]]:
        """Return table → the edges over which its schema changed, by DOLT_SCHEMA_DIFF.

        Compare the whole range first, unless ``exact``. If it differs, compare each edge that
        `dolt_diff` marks with a schema change.
        """
        if not edges:
            return {}
        if not exact and self.schema_changes(edges[0].parent, edges[-1].commit).isdisjoint(tables):
            return {}
        found: dict[str, set[Edge]] = {table: set() for table in tables}
        for edge in [*self._with_schema_change(edges), *gaps(edges)]:
            for table in self.schema_changes(edge.parent, edge.commit).intersection(tables):
                found[table].add(edge)
        return {table: frozenset(those) for table, those in found.items() if those}

    def schema_changes(self, since: str, until: str) -> frozenset[str]:
        """Return the names of the tables whose schema differs, before and after.

        If ``until`` is WORKING, ignored tables are included.
        """
        sql = f"SELECT from_table_name, to_table_name FROM DOLT_SCHEMA_DIFF('{since}', '{until}')"
        return frozenset(
            table for row in self._link.send(sql, again=True).rows for table in row if table
        )

    def _with_schema_change(self, edges: Sequence[Edge]) -> list[Edge]:
        """Return the edges with a schema change, and all edges to a parent other than the first.

        `dolt_diff` compares a commit only with its first parent.
        """
        source = self._at(edges[-1].commit, "dolt_diff")
        marked: set[str] = set()
        for some in chunks(edges, MAX_LISTED):
            hashes = ", ".join(f"'{edge.commit}'" for edge in some)
            sql = (
                f"SELECT DISTINCT commit_hash FROM {source} WHERE schema_change AND commit_hash IN"
                f" ({hashes})"
            )
            marked.update(row[0] for row in self._link.send(sql, again=True).rows)
        return [
            e for e in edges if e.commit in marked or self._parents.get(e.commit) != (e.parent,)
        ]

    def _at(self, commit: str | None, table: str) -> str:
        """Return the table's name at a commit. None: the table as it is now."""
        if commit is None:
            return f"`{table}`"
        database = self._link.address.database_name.replace("`", "``")
        return f"`{database}/{commit}`.`{table}`"

    def rows(
        self, table: str, edges: Iterable[Edge], columns: Sequence[str], at: str | None = None
    ) -> Iterator[tuple[Edge, Row]]:
        for chunk in chunks(edges, BATCH_EDGES):
            straight = linear_edges(chunk, self._parents)
            found: Found = {}
            for named in chunks(straight, MAX_LISTED):
                found |= self._read_listed(table, named, columns, at)
            if at is not None:
                self._account(table, straight, found)
            for edge in chunk:
                rows = found.get(edge)
                for row in self._read_pairwise(table, edge, columns, at) if rows is None else rows:
                    yield edge, row

    def _account(self, table: str, edges: Sequence[Edge], found: Found) -> None:
        """Raise Unexplained if a commit changed the table but no row differs.

        In that case only the table's schema can have changed.
        """
        silent = {edge.commit for edge in edges if found.get(edge) == []}
        if not silent:
            return
        span = f"{edges[0].parent}..{edges[-1].commit}"
        rows = self._link.send(
            f"SELECT commit_hash FROM DOLT_LOG('{span}', '--tables', '{table}')", again=True
        ).rows
        for (commit,) in rows:
            if commit in silent:
                raise Unexplained(f"The schema of {table} changed in {commit}.")

    def _read_listed(
        self, table: str, edges: Sequence[Edge], columns: Sequence[str], at: str | None
    ) -> Found:
        """Return the rows of the edges for which this query is reliable.

        An edge has [] only if it is certain that it has no rows.
        """
        if not edges:
            return {}
        hashes = ", ".join(f"'{edge.commit}'" for edge in edges)
        source = self._at(at, f"dolt_diff_{table}")
        where = f"WHERE to_commit IN ({hashes})"
        try:
            answer = self._link.send(f"SELECT {_select(columns)} FROM {source} {where}", again=True)
        except NoSuchTable:
            return {}  # dropped since, but DOLT_DIFF still reads it in older commits
        except SchemaChanged:
            if at is None:
                raise
            filled = self._filled(columns, source, where)
            answer = self._link.send(f"SELECT {_select(columns)} FROM {filled}", again=True)
        if answer.warnings:
            if at is not None:
                raise Unexplained(f"The schema of {table} changed before {at}.")
            return {}
        found: Found = {}
        for row in answer.rows:
            found.setdefault(Edge(row[0], row[1]), []).append(row[2:])
        if any(edge not in found for edge in edges) and (at is not None or self._reached()):
            found |= {edge: [] for edge in edges if edge not in found}
        return found

    def _reached(self) -> bool:
        """Return whether the current HEAD reaches the known range."""
        try:
            answer = self._link.send(
                "SELECT HAS_ANCESTOR(HASHOF('HEAD'), ?)", (self._until,), again=True
            )
        except (UnknownCommit, DatabaseError):  # HAS_ANCESTOR panics if HEAD is a root commit
            return False
        return bool(answer.rows[0][0])

    def _read_pairwise(
        self, table: str, edge: Edge, columns: Sequence[str], at: str | None
    ) -> list[Row]:
        source = f"DOLT_DIFF('{edge.parent}', '{edge.commit}', '{table}')"
        try:
            return [row[2:] for row in self._read(columns, source)]
        except NoSuchTable:
            if self._columns(table):
                return []  # created after both commits
            raise
        except SchemaChanged:
            later = None if at is not None else self._columns(table)
            return [
                row[2:] for row in self._read(columns, self._filled(columns, source, later=later))
            ]

    def _filled(
        self,
        columns: Sequence[str],
        source: str,
        where: str = "",
        later: Mapping[str, str] | None = None,
    ) -> str:
        """Return the source, with NULL for the columns of the expressions that its commits lack.

        Args:
            later: the columns that may be filled. None: all columns.
        """
        have = self._link.send(f"SELECT * FROM {source} LIMIT 0", again=True).names
        wanted = dict.fromkeys(name for text in columns for name in _SIDED.findall(text))
        missing = "".join(
            f", NULL AS `{column}`"
            for column in wanted
            if column not in have and (later is None or column.partition("_")[2] in later)
        )
        return f"(SELECT d.*{missing} FROM {source} AS d {where}) AS filled"

    def _read(self, columns: Sequence[str], source: str) -> list[Row]:
        return self._link.send(f"SELECT {_select(columns)} FROM {source}", again=True).rows


def linear_edges(edges: Iterable[Edge], parents: Mapping[str, tuple[str, ...]]) -> list[Edge]:
    """Return the edges that one query reads correctly together.

    These are steps to an only parent that has exactly one child among the commits that the server
    handles.

    A parent outside the range is at or before ``since``, and so are its own parents. It can
    conflict only with another such parent, so if there are several, their edges are omitted. The
    newest part of a range is sufficient too, because it contains every child of its commits.

    Args:
        parents: of all commits of one range (reachable from ``until`` but not from ``since``).
    """
    steps = [
        edge
        for edge in edges
        if edge.commit != WORKING and parents.get(edge.commit) == (edge.parent,)
    ]
    children: dict[str, set[str]] = {}
    for edge in steps:
        children.setdefault(edge.parent, set()).add(edge.commit)
    for parent in list(children):
        for grandparent in parents.get(parent, ()):
            if grandparent in children:
                children[grandparent].add(parent)
    before = [parent for parent in children if parent not in parents]
    unsure = set(before) if len(before) > 1 else set()
    return list(
        dict.fromkeys(e for e in steps if len(children[e.parent]) == 1 and e.parent not in unsure)
    )


def _select(columns: Sequence[str]) -> str:
    return ", ".join(("from_commit", "to_commit", *columns))
