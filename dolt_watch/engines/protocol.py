"""The contract of a database engine with Dolt's version control.

Two engines implement it, ``dolt`` (a Dolt SQL server, over pymysql) and ``doltlite`` (embedded,
PyPI ``doltlite``), and one conformance suite, ``tests/conformance``, runs on both. SQL is
written once, in MySQL's dialect with ``?`` for parameters; ``doltlite`` has it transpiled by
sqlglot. Parameters may be None, str, int, bytes and aware ``datetime`` (written as UTC). Values
come back as the driver gives them, except that date and time values are aware ``datetime`` in
UTC where the column's type says so (``dolt``) and text where it does not (``doltlite``):
``dolt_watch.timestamps.utc`` reads both.

Name commits by full hash: refs such as 'HEAD' belong to the snapshot in some places and are live
in others. Keep transactions short: bd does not retry a conflict, so a long transaction makes a
user's command fail. Never keep a transaction open during an HTTP request, and never expect fresh
data within one: its snapshot does not change.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

Row = tuple[Any, ...]
Param = str | int | bytes | datetime | None

WORKING = "WORKING"
"""The pseudo-commit of ``Engine.diff``: rows that are SQL-committed but not Dolt-committed."""


class Commit(NamedTuple):
    """One commit of history.

    ``date`` is its commit date: milliseconds on Dolt, whole seconds on DoltLite.
    """

    hash: str
    parents: tuple[str, ...]
    date: datetime
    author: str
    side: tuple["Commit", ...] | None = None
    """Of a merge on the feed's path: the commits that it brought in from the side lines, newest
    first. None for every other commit.
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
        """Run a write. Return the number of rows it matched. Raises Conflict, BeadNotFound."""
        ...

    def write(self, sql: str, params: Sequence[Param] = (), *, unmatched: str = "") -> None:
        """Run a write.

        Args:
            unmatched: the message of the Conflict if it matches no row; '': it may match none.

        Raises:
            Conflict, BeadNotFound: The transaction is rolled back.
        """
        ...

    def commit(self) -> None:
        """Commit in SQL only, for ignored tables only. Raises Conflict after a rollback."""
        ...

    def dolt_commit(self, tables: Sequence[str], message: str, author: str) -> str:
        """Stage ``tables`` and commit them and this transaction in one step. Return the hash.

        If HEAD moved since the transaction began, the commit's parent is the new HEAD.

        Raises:
            Conflict: rolled back, nothing staged.
            BeadNotFound: likewise.
            NothingToCommit: the SQL part is committed.
        """
        ...

    def rollback(self) -> None: ...


class Leader(NamedTuple):
    """The holder of the scheduler lock of a database."""

    quiet: timedelta | None = None
    """Time since its last query; None if the engine can't tell."""
    host: str = ""
    """The name of its machine; '' if the engine can't tell."""


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
        """Begin a transaction on a fresh snapshot.

        DoltLite uses BEGIN IMMEDIATE: a writer waits for its turn or gets Conflict.
        """
        ...

    def write(self, sql: str, params: Sequence[Param] = ()) -> int:
        """Run one write of ignored tables, outside a transaction, and SQL-commit it.

        Return the number of rows it matched. Raises Conflict.
        """
        ...

    def execute_ddl(self, sql: str) -> None:
        """Run one statement of DDL or of a migration, and SQL-commit it."""
        ...

    def commits(self, since: str | None, until: str, limit: int | None = None) -> Iterator[Commit]:
        """Yield the commits reachable from ``until`` and not from ``since``, newest first.

        No commit comes before its children, so the first ``limit`` commits are complete.

        Raises:
            UnknownCommit: history does not contain one of them.
        """
        ...

    def commit_of(self, hash: str) -> Commit | None:
        """Return a commit by its full hash; None if history does not contain it."""
        ...

    def is_ancestor(self, ancestor: str, head: str) -> bool:
        """Return whether ``ancestor`` is ``head`` or reachable from it; False if it is unknown."""
        ...

    def changed_tables(self, since: str, until: str) -> frozenset[str]:
        """Return the tables whose data differ between two commits, or a commit and WORKING.

        With WORKING, ignored tables count too. The comparison is by hash, and cheap.

        Raises:
            UnknownCommit: history does not contain a commit.
        """
        ...

    def changed(self, since: str, until: str) -> Changed:
        """Return the tables whose data, and those whose schema, differ. Cost: one query."""
        ...

    def changed_over(self, edges: Sequence[Edge]) -> list[Changed]:
        """Return ``changed`` of each edge. Cost: one query for all of them, on a server.

        ``Edge(head, WORKING)`` compares with the working set.
        """
        ...

    def altered(
        self, tables: Sequence[str], edges: Sequence[Edge], *, exact: bool = False
    ) -> Mapping[str, frozenset[Edge]]:
        """Return table → the edges over which its schema changed.

        ``diff`` is not reliable over such an edge: read both ends instead. DoltLite also returns
        edges with another schema than now, because it compares rows by the current columns only.

        Args:
            edges: on one line, oldest first. If an edge does not begin at the end of the one
                before, the gap between them is returned as an edge of its own if its schemas
                differ.
            exact: check each edge (0.3 ms an edge on Dolt). Otherwise the two ends of the chain
                may be compared, about one query, and a change that was reverted is not seen.
        """
        ...

    def filter_changed_edges(self, tables: Sequence[str], edges: Sequence[Edge]) -> Sequence[Edge]:
        """Return the edges over which one of the tables may differ, in their order.

        No edge with a difference is left out. Use it for many edges, if a query for each costs
        more than it saves.
        """
        ...

    def diff(
        self, table: str, edges: Iterable[Edge], columns: Mapping[str, str], at: str | None = None
    ) -> Iterator[tuple[Edge, Row]]:
        """Yield the row changes of a table over each edge, grouped by edge in the given order.

        The cost follows the number of changes. A server reads many edges in one query, DoltLite
        one by one, because IN scans history there.

        Args:
            edges: ``Edge(head, WORKING)`` reads uncommitted rows.
            columns: name → SQL expression in the engine's own dialect over ``from_<column>``,
                ``to_<column>`` and ``diff_type``.
            at: a commit that all edges lead to, at which the table has the schema of both ends of
                each edge. Rows are read under that schema, and columns that it lacks are NULL.

        Raises:
            Unexplained: the schema did change, so the result is incomplete.
        """
        ...

    def describe(self, tables: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return table → ``columns`` of those tables that exist now."""
        ...

    def columns(self, table: str, commit: str | None = None) -> dict[str, str]:
        """Return column → SQL type in lower case; empty if the table doesn't exist.

        Args:
            commit: full hash of the commit whose table is described; None: the table as it is now.

        Raises:
            UnknownCommit: history does not contain the commit.
        """
        ...

    def dirty(self) -> frozenset[str]:
        """Return the tables with uncommitted changes (``dolt_status``, without ignored tables)."""
        ...

    def unmigrated(
        self,
        marks: Collection[str] = (),
        query: Callable[[str, Sequence[Param]], list[Row]] | None = None,
    ) -> frozenset[str]:
        """Return the tables with an uncommitted schema change: created, dropped, renamed, altered.

        Views and `dolt_ignore` count too. Tables that `dolt_ignore` keeps out of history don't.

        Args:
            marks: further tables, which count if they have any uncommitted change.
            query: of an open transaction, to read its view.
        """
        ...

    def uncommitted_schema(self, tables: Collection[str]) -> frozenset[str]:
        """Return which of the versioned tables have an uncommitted schema change.

        Reads inside the open transaction. Cheaper than ``unmigrated``.
        """
        ...

    def has_unfinished_merge(self) -> bool:
        """Return whether a merge, a conflict or a constraint violation is unresolved."""
        ...

    def branch(self) -> str: ...

    def try_acquire_leadership(self) -> bool:
        """Take the scheduler lock of this database and branch. Return whether this connection has
        it.

        The lock only saves work: the ledger guarantees exclusion without it. It ends with the
        connection.
        """
        ...

    def leader(self) -> Leader | None:
        """Return the holder of the scheduler lock; None if it is free. Doesn't take the lock."""
        ...

    def take_turn(self, seconds: float) -> bool:
        """Wait for the lock with which workers of this database and branch take turns.

        Return False after ``seconds``, or if the engine has no such lock. It ends with the
        connection. Like the scheduler lock, it only saves work.
        """
        ...

    def end_turn(self) -> None:
        """Release the lock of ``take_turn``. Raises nothing: a lost connection has released it."""
        ...

    def migration_lock(self) -> AbstractContextManager[None]:
        """Return a lock for the migration of the tables, which one process at a time has.

        Pods that start together migrate one after the other.

        Raises:
            DatabaseError: Another process had the lock for too long.
        """
        ...

    def open_sibling(self) -> "Engine | None":
        """Return another connection to the same database, with which a thread can read history.

        None if parallel reading gains nothing.
        """
        ...

    def close(self) -> None: ...
