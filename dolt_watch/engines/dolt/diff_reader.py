"""Row changes from a Dolt server, the cheapest right way for each edge.

Two ways. ``DOLT_DIFF(a, b, t)`` knows any two commits, one edge a query. ``dolt_diff_<t> WHERE
to_commit IN (…)`` reads 100 edges in 7 ms, and one faster than DOLT_DIFF does (3.2 ms against
4.3 over all columns of issues), but is right only where history is a line. The server keeps, for
each parent, *one* child (``DiffPartitions.cmHashToTblInfo``, 1.86.4), first those asked for,
then, while it walks the parents, each parent as the child of its own parents. So where a commit
has two children among those, one edge is lost, silently, and which one depends on the order of
the walk; a merge without fast-forward loses an edge even when it is asked for alone. It is
silent too about commits that HEAD does not reach, and ends early where a primary key changed (a
warning tells).

Hence: in one query only steps whose parent has, among all commits that the server will handle,
exactly one child; DOLT_DIFF for everything else. ``tests/conformance/test_dag.py`` compares both
over random histories.
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
"""Edges of which as many as can be are read at once."""

MAX_LISTED = 200
"""Edges that a query names.

To plan one takes the server about 2 ms, and longer than in proportion where it names many; of
issues, an edge takes 0.30 ms by 100, 0.27 by 200, 0.30 by 400.
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
        """The parents of every commit of one range that ends at ``until``.

        It replaces what was known: ``lines`` needs a range to be whole.
        """
        self._until, self._parents = until, parents

    @property
    def commit_range(self) -> tuple[str, Mapping[str, tuple[str, ...]]]:
        """As ``learn`` was told last."""
        return self._until, self._parents

    def filter_changed_edges(self, tables: Sequence[str], edges: Sequence[Edge]) -> Sequence[Edge]:
        """By DOLT_LOG's own look at the tables' hashes in each commit:

        0.01 ms a commit, where dolt_diff_<table> takes 0.07 to say 'nothing'.

        It answers for commits with one parent, over a whole range; so edges that are no chain,
        and merges, are taken unasked; so are all where no table is named.
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
        """By DOLT_SCHEMA_DIFF: of the whole range, or of each edge that `dolt_diff` says has a
        schema change.
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
        """Names of the tables whose schema differs, before and after; ignored tables too where
        ``until`` is WORKING.
        """
        sql = f"SELECT from_table_name, to_table_name FROM DOLT_SCHEMA_DIFF('{since}', '{until}')"
        return frozenset(
            table for row in self._link.send(sql, again=True).rows for table in row if table
        )

    def _with_schema_change(self, edges: Sequence[Edge]) -> list[Edge]:
        """`dolt_diff` compares a commit with its first parent: edges to another parent are all
        taken.
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
        """The table in the database as a commit holds it; as it is now for None."""
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
        """Raise Unexplained where a commit changed the table and no row shows: only its schema
        can have changed.
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
                raise Unexplained(f"the schema of {table} changed in {commit}")

    def _read_listed(
        self, table: str, edges: Sequence[Edge], columns: Sequence[str], at: str | None
    ) -> Found:
        """The rows of those edges of which this query can be believed; [] where it is silent and
        may be believed in that too.
        """
        if not edges:
            return {}
        hashes = ", ".join(f"'{edge.commit}'" for edge in edges)
        source = self._at(at, f"dolt_diff_{table}")
        where = f"WHERE to_commit IN ({hashes})"
        try:
            answer = self._link.send(f"SELECT {_select(columns)} FROM {source} {where}", again=True)
        except NoSuchTable:
            return {}  # gone by now, but DOLT_DIFF still reads it where it was
        except SchemaChanged:
            if at is None:
                raise
            filled = self._filled(columns, source, where)
            answer = self._link.send(f"SELECT {_select(columns)} FROM {filled}", again=True)
        if answer.warnings:
            if at is not None:
                raise Unexplained(f"the schema of {table} changed below {at}")
            return {}
        found: Found = {}
        for row in answer.rows:
            found.setdefault(Edge(row[0], row[1]), []).append(row[2:])
        if any(edge not in found for edge in edges) and (at is not None or self._reached()):
            found |= {edge: [] for edge in edges if edge not in found}
        return found

    def _reached(self) -> bool:
        """Does HEAD, now, reach the range that we know?"""
        try:
            answer = self._link.send(
                "SELECT HAS_ANCESTOR(HASHOF('HEAD'), ?)", (self._until,), again=True
            )
        except (UnknownCommit, DatabaseError):  # HEAD is a root by now: HAS_ANCESTOR panics there
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
                return []  # made later than both commits
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
        """The source with NULL for the columns of the expressions that its commits lack; of
        ``later`` only, where given.
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
    """Those edges that one query reads rightly together: steps to an only parent that has
    exactly one child in all that the server handles.

    ``parents``: of all commits of one range (what ``until`` reaches and ``since`` does not). A
    step's parent that is not in it lies at or before ``since``; its own parents then do too, so
    it can disturb only another such one: if there are several, they are left out. The newest so
    many commits of a range serve as well: every child of theirs is among them.
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
