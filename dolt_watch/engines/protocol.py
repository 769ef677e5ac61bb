"""What dolt_watch asks of a database with Dolt's version control: the whole contract, on one page.

Two engines fulfil it, ``dolt`` (a Dolt SQL server, over pymysql) and ``doltlite`` (embedded,
PyPI ``doltlite``), and one conformance suite, ``tests/conformance``, runs on both. SQL is
written once, in MySQL's dialect with ``?`` for parameters; ``doltlite`` has it transpiled by
sqlglot. Parameters may be None, str, int, bytes and aware ``datetime`` (written as UTC). Values
come back as the driver gives them, except that date and time values are aware ``datetime`` in
UTC where the column's type says so (``dolt``) and text where it does not (``doltlite``):
``dolt_watch.timestamps.utc`` reads both.

DO name commits by full hash: refs such as 'HEAD' are of the snapshot in some places and live in
others. DO keep transactions short: bd does not retry a conflict, so a long one of ours makes a
person's command fail. DON'T hold a transaction over HTTP, and don't read twice in one when the
second look must be fresh: a snapshot is frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

Row = tuple[Any, ...]
Param = str | int | bytes | datetime | None

WORKING = "WORKING"
"""The pseudo-commit of ``Engine.diff``: what is SQL-committed but not Dolt-committed."""


class Commit(NamedTuple):
    """One commit of history.

    ``date`` is its commit date: milliseconds on Dolt, whole seconds on DoltLite.
    """

    hash: str
    parents: tuple[str, ...]
    date: datetime
    author: str
    side: tuple[Commit, ...] | None = None
    """On the feed's path, where this is a merge: the commits that it brought in from the side
    lines, newest first. None for every other commit.
    """


class Edge(NamedTuple):
    """A step of history: the rows that differ between ``parent`` and ``commit``."""

    parent: str
    commit: str


class Changed(NamedTuple):
    """Tables that differ between two commits: in their rows, and in their schema."""

    data: frozenset[str]
    schema: frozenset[str]


class Transaction(Protocol):
    """An open SQL transaction. Leaving its ``with`` block without a commit rolls it back."""

    def query(self, sql: str, params: Sequence[Param] = ()) -> list[Row]: ...

    def execute(self, sql: str, params: Sequence[Param] = ()) -> int:
        """Run a write; the number of rows it matched. Raises Conflict, BeadGone."""
        ...

    def commit(self) -> None:
        """SQL commit: ignored tables only, no Dolt commit. Raises Conflict (then rolled back)."""
        ...

    def dolt_commit(self, tables: Sequence[str], message: str, author: str) -> str:
        """Stage ``tables`` and commit them and this transaction in one step; the new commit's hash.

        Raises Conflict (rolled back, nothing staged), BeadGone (likewise), NothingToCommit (the
        SQL part stands committed). If HEAD moved since the transaction began, the commit's
        parent is the new HEAD.
        """
        ...

    def rollback(self) -> None: ...


class Leader(NamedTuple):
    """Who has the scheduler lock of a database."""

    quiet: timedelta | None = None
    """Since its last query; None where the engine cannot tell."""
    host: str = ""
    """The name of its machine; '' where the engine cannot tell."""


class Engine(Protocol):
    """One connection to one database on one branch.

    Not thread-safe. Raises the classes of ``errors`` for exit 3.
    """

    name: str
    """'dolt' or 'doltlite'."""
    dialect: str
    """sqlglot's name of the SQL that rule expressions are compiled to: 'mysql' or 'sqlite'."""

    def query(self, sql: str, params: Sequence[Param] = ()) -> list[Row]:
        """Read, outside a transaction: each call sees the newest state, working set included.

        Raises NoSuchTable.

        In a read ``table AS OF 'commit'``, a column that the commit lacks is NULL, and a table
        that it lacks has no rows.
        """
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin, on a fresh snapshot (DoltLite:

        BEGIN IMMEDIATE, so a writer waits for its turn or gets Conflict).
        """
        ...

    def execute_ddl(self, sql: str) -> None:
        """One statement of DDL or of a migration, SQL-committed at once."""
        ...

    def commits(self, since: str | None, until: str, limit: int | None = None) -> Iterator[Commit]:
        """All commits reachable from ``until`` and not from ``since``, newest first: none before
        its children, so that the first ``limit`` of them are whole in that. Raises UnknownCommit
        for either.
        """
        ...

    def commit_of(self, hash: str) -> Commit | None:
        """One commit by its full hash, or None where history does not hold it."""
        ...

    def is_ancestor(self, ancestor: str, head: str) -> bool:
        """Is ``ancestor`` reachable from ``head`` (or the same)?

        False for a hash that history does not know.
        """
        ...

    def changed_tables(self, since: str, until: str) -> frozenset[str]:
        """Names of the tables whose data differ between two commits, or a commit and WORKING
        (ignored tables then count too): by hash, cheap.

        Raises UnknownCommit.
        """
        ...

    def changed(self, since: str, until: str) -> Changed:
        """As ``changed_tables``, and the tables whose schema differs. Cost: the same one query."""
        ...

    def altered(
        self, tables: Sequence[str], edges: Sequence[Edge], *, exact: bool = False
    ) -> Mapping[str, frozenset[Edge]]:
        """Table → those edges over which its schema changed, so that ``diff`` cannot be
        believed: read both ends instead.

        ``edges``: on one line, oldest first. Where one does not begin at the end of the one
        before, the gap between them is named too, as an edge of its own, if the schemas at its
        two ends differ. Without ``exact`` they may be found by comparing the two ends of the
        chain only, which costs about one query: a change that was taken back within it is not
        seen then. ``exact`` costs 0.3 ms an edge on Dolt. DoltLite also names edges with another
        schema than now: it compares rows by the present columns only.
        """
        ...

    def filter_changed_edges(self, tables: Sequence[str], edges: Sequence[Edge]) -> Sequence[Edge]:
        """Those edges over which one of the tables may differ, in their order: none that does is
        left out. For many edges, where asking each one would cost more than it saves.
        """
        ...

    def diff(
        self, table: str, edges: Iterable[Edge], columns: Mapping[str, str], at: str | None = None
    ) -> Iterator[tuple[Edge, Row]]:
        """Row changes of ``table`` over each edge, grouped by edge in the order given, with the
        values of ``columns`` (name → SQL expression in the engine's own dialect over
        ``from_<column>``, ``to_<column>`` and ``diff_type``). ``Edge(head, WORKING)`` shows
        uncommitted rows.

        ``at``: a commit that all edges lead to, at which the table has the schema that it has at
        both ends of each of them. Rows are read under that schema, and columns that it lacks are
        NULL. Raises Unexplained where an answer is incomplete: the schema did change.

        Cost: by what changed. A server reads many edges in one query, DoltLite one by one
        (facts: IN scans history there).
        """
        ...

    def columns(self, table: str, commit: str | None = None) -> dict[str, str]:
        """Column name → SQL type, lower case, of the table as it is now; empty where there is none.

        ``commit``: as the commit with this full hash holds the table. Raises UnknownCommit.
        """
        ...

    def dirty(self) -> frozenset[str]:
        """Names of tables with uncommitted changes (``dolt_status``; ignored tables never
        count).
        """
        ...

    def unmigrated(
        self,
        marks: Collection[str] = (),
        query: Callable[[str, Sequence[Param]], list[Row]] | None = None,
    ) -> frozenset[str]:
        """Names of tables with a schema change that is not committed: made, dropped, renamed,
        altered; views and `dolt_ignore` count too.

        Tables that `dolt_ignore` keeps out of history do not count. ``marks``: more tables,
        which count where they are dirty at all. ``query``: of an open transaction, to ask as
        that sees them.
        """
        ...

    def has_unfinished_merge(self) -> bool:
        """Does a merge stand unfinished:

        ``dolt_merge_status``, conflicts, or constraint violations?
        """
        ...

    def branch(self) -> str: ...

    def try_acquire_leadership(self) -> bool:
        """Take the scheduler lock of this database and branch, or see that this connection has
        it. It only saves work: the ledger excludes without it.

        It goes with the connection: where that is lost, another one may take it within its next
        try.
        """
        ...

    def leader(self) -> Leader | None:
        """Which connection has the scheduler lock; None: it is free. Takes nothing."""
        ...

    def open_sibling(self) -> Engine | None:
        """Another connection to the same database, for another thread to read history by.

        None where reading beside this one gains nothing.
        """
        ...

    def close(self) -> None: ...
