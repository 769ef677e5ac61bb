"""The embedded engine: PyPI ``doltlite``, SQLite's API with Dolt's version control, in one file.

It serves the demo, tests, and inspecting a copy offline. It implements the contract of ``engines``.
SQL statements use MySQL's dialect and are transpiled.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

from dolt_watch.engines import WORKING, Changed, Commit, Edge, Leader, Param, Row
from dolt_watch.engines.absent_columns import query_history
from dolt_watch.engines.doltlite.errors import translate, unusable_lock
from dolt_watch.engines.doltlite.loader import load_sqlite3
from dolt_watch.engines.doltlite.transpiler import transpile
from dolt_watch.engines.sql_text import (
    MERGING,
    SYSTEM,
    checked_hash,
    checked_identifier,
    chunks,
    gaps,
    sql_timestamp,
)
from dolt_watch.errors import (
    Conflict,
    DatabaseError,
    NoSuchDatabase,
    NoSuchTable,
    NothingToCommit,
    SchemaChanged,
    UnknownCommit,
)
from dolt_watch.timestamps import clamp_commit_date

if TYPE_CHECKING:
    import sqlite3

HASH = re.compile(r"[0-9a-f]{40}")
_SIDED = re.compile(r"\b(?:from|to)_\w+")
_OF_A_DIFF = frozenset({"from_commit", "to_commit", "from_commit_date", "to_commit_date"})

BUSY_SECONDS = 5.0
"""Seconds that a writer waits for the write lock before it gets Conflict."""


class DoltLiteTransaction:
    """A BEGIN IMMEDIATE transaction: the only writer of the file until it ends.

    Any error rolls it back at once.
    """

    def __init__(self, engine: DoltLiteEngine) -> None:
        self._engine = engine
        self._over = True

    def __enter__(self) -> Self:
        if self._engine.in_transaction:
            raise RuntimeError("A transaction is already open on this connection.")
        self._engine.execute_sqlite("BEGIN IMMEDIATE")
        self._over = False
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._over:
            self._abandon()

    def query(self, sql: str, params: Sequence[Param] = ()) -> list[Row]:
        return self._send(_single(sql), params)[0]

    def execute(self, sql: str, params: Sequence[Param] = ()) -> int:
        return self._send(_single(sql), params)[1]

    def write(self, sql: str, params: Sequence[Param] = (), *, unmatched: str = "") -> None:
        if not self.execute(sql, params) and unmatched:
            self._abandon()
            raise Conflict(unmatched)

    def commit(self) -> None:
        self._send("COMMIT")
        self._over = True

    def dolt_commit(self, tables: Sequence[str], message: str, author: str) -> str:
        """Commit to history, and return the hash of the commit.

        dolt_commit takes effect immediately. The COMMIT afterwards only ends SQLite's own
        transaction.
        """
        for table in tables:
            self._send("SELECT dolt_add(?)", (checked_identifier(table),))
        self._check()
        try:
            rows, _ = self._engine.execute_sqlite(
                "SELECT dolt_commit('-m', ?, '--author', ?)", (message, author)
            )
        except NothingToCommit:
            self.commit()  # as in Dolt, the SQL part remains committed
            raise
        except BaseException:
            self._abandon()
            raise
        self.commit()
        return str(rows[0][0])

    def rollback(self) -> None:
        if not self._over:
            self._abandon()

    def _send(self, sql: str, params: Sequence[Param] = ()) -> tuple[list[Row], int]:
        self._check()
        try:
            return self._engine.execute_sqlite(sql, params)
        except BaseException:
            self._abandon()
            raise

    def _check(self) -> None:
        if self._over:
            raise DatabaseError("The transaction has ended.", where=self._engine.path)

    def _abandon(self) -> None:
        self._over = True
        if self._engine.in_transaction:
            with suppress(Exception):
                self._engine.execute_sqlite("ROLLBACK")


class DoltLiteEngine:
    """One connection to one file."""

    name = "doltlite"
    dialect = "sqlite"

    def __init__(self, path: str, *, create: bool = False) -> None:
        """Open the file. Raises NoSuchDatabase, DatabaseError.

        Args:
            create: whether to create the file if it doesn't exist.
        """
        self._sqlite3 = load_sqlite3()
        self.path = path
        self._lead: IO[bytes] | None = None
        if not create and not Path(path).is_file():
            raise NoSuchDatabase(
                "There is no DoltLite file.",
                where=path,
                fix="Specify an existing file, or create one with `dolt_watch demo`.",
            )
        try:
            self._connection: sqlite3.Connection = self._sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None
            )
        except self._sqlite3.Error as error:
            raise translate(getattr(error, "sqlite_errorname", ""), str(error), path) from error
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        # Off by default. As on Dolt, events must not outlive their bead.
        self.execute_sqlite("PRAGMA foreign_keys = ON")
        # The beads tables are utf8mb4_0900_bin in Dolt, so LIKE is case-sensitive there.
        self.execute_sqlite("PRAGMA case_sensitive_like = ON")
        # SQLite's default. DoltLite's is 64 MiB for each connection, and each new commit fills
        # about 20 KB of it.
        self.execute_sqlite("PRAGMA cache_size = -2000")
        self._connection.create_function("regexp", 2, _regexp, deterministic=True)
        # Read the file, so that a damaged file fails here. So does a stock SQLite file, on which
        # dolt_hashof() would crash the process.
        self.execute_sqlite("SELECT 1 FROM dolt_log LIMIT 1")

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute_sqlite(self, sql: str, params: Sequence[Param] = ()) -> tuple[list[Row], int]:
        """Execute SQL in SQLite's dialect, and return (rows, number of rows matched). Raises the
        classes of ``errors``.
        """
        try:
            cursor = self._connection.execute(sql, [_text(value) for value in params])
            try:
                return cursor.fetchall(), cursor.rowcount
            finally:
                cursor.close()
        except self._sqlite3.Error as error:
            raise translate(
                getattr(error, "sqlite_errorname", ""), str(error), self.path
            ) from error

    def query(self, sql: str, params: Sequence[Param] = ()) -> list[Row]:
        """Return current rows. While a transaction is open on this engine, read inside it."""
        return query_history(self._rows, self.columns, sql, params)

    def _rows(self, sql: str, params: Sequence[Param]) -> list[Row]:
        return self.execute_sqlite(_single(sql), params)[0]

    def transaction(self) -> DoltLiteTransaction:
        return DoltLiteTransaction(self)

    def write(self, sql: str, params: Sequence[Param] = ()) -> int:
        with self.transaction() as tx:
            matched = tx.execute(sql, params)
            tx.commit()
        return matched

    def execute_ddl(self, sql: str) -> None:
        for statement in transpile(sql):
            self.execute_sqlite(statement)

    def commits(self, since: str | None, until: str, limit: int | None = None) -> Iterator[Commit]:
        """Return the commits of the range, newest first.

        dolt_log walks the history from ``until`` (3 ms at 2,000 commits). The parents cost one
        indexed lookup for each commit.
        """
        span = self._hash(until) if since is None else f"{self._hash(since)}..{self._hash(until)}"
        most = "" if limit is None else f" LIMIT {int(limit)}"
        return self._with_parents(
            self.execute_sqlite(
                f"SELECT commit_hash, date, committer FROM dolt_log(?){most}", (span,)
            )[0]
        )

    def commit_of(self, hash: str) -> Commit | None:
        """Return a commit, even if HEAD does not reach it but the file still has it.

        Use ``is_ancestor`` to check whether HEAD reaches it.
        """
        if not HASH.fullmatch(hash):
            return None
        try:
            rows, _ = self.execute_sqlite(
                "SELECT commit_hash, date, committer FROM dolt_log(?) LIMIT 1", (hash,)
            )
        except UnknownCommit:
            return None
        return next(self._with_parents(rows), None)

    def _with_parents(self, rows: list[Row]) -> Iterator[Commit]:
        for chunk in chunks(rows, 500):
            marks = ", ".join("?" * len(chunk))
            parents: dict[str, list[str]] = {}
            for commit, parent in self.execute_sqlite(
                "SELECT commit_hash, parent_hash FROM dolt_commit_ancestors "
                f"WHERE commit_hash IN ({marks}) ORDER BY parent_index",
                [row[0] for row in chunk],
            )[0]:
                if parent:
                    parents.setdefault(commit, []).append(parent)
            for commit, date, author in chunk:
                moment_ = clamp_commit_date(datetime.fromisoformat(date).replace(tzinfo=UTC))
                yield Commit(commit, tuple(parents.get(commit, ())), moment_, author)

    def is_ancestor(self, ancestor: str, head: str) -> bool:
        """Return whether ``head`` reaches ``ancestor`` (dolt_merge_base, 7 ms at 2,000 commits)."""
        if not HASH.fullmatch(ancestor) or not HASH.fullmatch(head):
            return False
        if ancestor == head:
            return self.commit_of(head) is not None
        try:
            return bool(
                self.execute_sqlite("SELECT dolt_merge_base(?, ?) = ?", (head, ancestor, ancestor))[
                    0
                ][0][0]
            )
        except UnknownCommit:
            return False

    def changed_tables(self, since: str, until: str) -> frozenset[str]:
        return self.changed(since, until).data

    def changed(self, since: str, until: str) -> Changed:
        rows, _ = self.execute_sqlite(
            "SELECT from_table_name, to_table_name, data_change, schema_change FROM"
            " dolt_diff_summary(?, ?)",
            (self._hash(since), self._hash_or_working(until)),
        )
        data = {table for *names, differs, _ in rows if differs for table in names if table}
        return Changed(
            frozenset(data),
            frozenset(table for *names, _, differs in rows if differs for table in names if table),
        )

    def changed_over(self, edges: Sequence[Edge]) -> list[Changed]:
        return [self.changed(*edge) for edge in edges]

    def altered(
        self, tables: Sequence[str], edges: Sequence[Edge], *, exact: bool = False
    ) -> Mapping[str, frozenset[Edge]]:
        if not edges:
            return {}
        if not exact:
            net = self._altered(Edge(edges[0].parent, edges[-1].commit))
            if net.isdisjoint(tables):
                return {}
        found: dict[str, set[Edge]] = {table: set() for table in tables}
        for edge in [*edges, *gaps(edges)]:
            for table in self._altered(edge).intersection(tables):
                found[table].add(edge)
        return {table: frozenset(those) for table, those in found.items() if those}

    def _altered(self, edge: Edge) -> frozenset[str]:
        """Return the tables whose schema differs between the ends, or between its end and now.

        A table that neither end has can't differ over the edge. bd 1.3 keeps the table events out
        of history, so no commit has it.
        """
        names = self._schemas(edge.parent, edge.commit)
        return names | {was for was, _ in self._schema_diff(edge.commit, WORKING) if was}

    def _schemas(self, since: str, until: str) -> frozenset[str]:
        """Return the names of the tables whose schema differs, before and after."""
        return frozenset(name for row in self._schema_diff(since, until) for name in row if name)

    def _schema_diff(self, since: str, until: str) -> list[Row]:
        """Return the names of each table whose schema differs, before and after; '' for none."""
        span = (self._hash(since), self._hash_or_working(until))
        sql = "SELECT from_table_name, to_table_name FROM dolt_schema_diff(?, ?)"
        return self.execute_sqlite(sql, span)[0]

    def filter_changed_edges(self, tables: Sequence[str], edges: Sequence[Edge]) -> Sequence[Edge]:
        """Return all edges.

        Asking dolt_diff which tables a commit changed costs as much as the diff of one table (0.2
        ms).
        """
        return edges

    def diff(
        self, table: str, edges: Iterable[Edge], columns: Mapping[str, str], at: str | None = None
    ) -> Iterator[tuple[Edge, Row]]:
        """Return the row changes of the edges, with one query for each edge.

        In DoltLite, dolt_diff_<table> with IN scans the whole history.
        """
        select = ", ".join(columns.values()) or "1"
        source = f"dolt_diff_{checked_identifier(table)}(?, ?)"
        for edge in edges:
            span = (self._hash(edge.parent), self._hash_or_working(edge.commit))
            try:
                rows = self.execute_sqlite(f"SELECT {select} FROM {source}", span)[0]
            except SchemaChanged:
                if at is None:
                    raise
                rows = self.execute_sqlite(
                    f"SELECT {select} FROM {self._filled(table, source, select)}", span
                )[0]
            except NoSuchTable:
                if at is None:
                    raise
                rows = []  # neither the commit nor the working set has the table
            for row in rows:
                yield edge, row if columns else ()

    def _filled(self, table: str, source: str, select: str) -> str:
        """Return the source, with NULL for the columns of the expressions that the table lacks."""
        have = {f"{side}_{column}" for side in ("from", "to") for column in self.columns(table)}
        missing = dict.fromkeys(
            name for name in _SIDED.findall(select) if name not in have | _OF_A_DIFF
        )
        return (
            f"(SELECT d.*{''.join(f', NULL AS `{column}`' for column in missing)} FROM {source} AS"
            " d) AS filled"
        )

    def unmigrated(
        self,
        marks: Collection[str] = (),
        query: Callable[[str, Sequence[Param]], list[Row]] | None = None,
    ) -> frozenset[str]:
        ask = query or self.query
        dirty = {text for (text,) in ask("SELECT table_name FROM dolt_status", ())}
        if not dirty:
            return frozenset()
        names = self._schemas(
            str(self.execute_sqlite("SELECT dolt_hashof('HEAD')")[0][0][0]), WORKING
        )
        return frozenset(dirty & (names | {*marks, *SYSTEM}))

    def uncommitted_schema(self, tables: Collection[str]) -> frozenset[str]:
        return self.unmigrated().intersection(tables)

    def describe(self, tables: Sequence[str]) -> dict[str, dict[str, str]]:
        return {table: columns for table in tables if (columns := self.columns(table))}

    def columns(self, table: str, commit: str | None = None) -> dict[str, str]:
        """Return column → type, now or at a commit.

        At a commit, the columns come from its CREATE statement if that differs from the working
        set's.
        """
        if commit is not None:
            rows, _ = self.execute_sqlite(
                "SELECT from_table_name, from_create_statement FROM dolt_schema_diff(?, 'WORKING') "
                "WHERE ? IN (from_table_name, to_table_name) ORDER BY from_table_name = ? DESC",
                (self._hash(commit), checked_identifier(table), table),
            )
            if rows and rows[0][0] != table:
                return {}
            if rows:
                with closing(self._sqlite3.connect(":memory:")) as scratch:
                    scratch.execute(rows[0][1])
                    return self._columns(scratch, table)
        return self._columns(self._connection, table)

    def _columns(self, connection: sqlite3.Connection, table: str) -> dict[str, str]:
        rows = connection.execute(f"PRAGMA table_info({checked_identifier(table)})").fetchall()
        return {row[1]: str(row[2]).lower() for row in rows}

    def dirty(self) -> frozenset[str]:
        return frozenset(
            row[0] for row in self.execute_sqlite("SELECT table_name FROM dolt_status")[0]
        )

    def has_unfinished_merge(self) -> bool:
        return bool(self.execute_sqlite(MERGING)[0][0][0])

    def branch(self) -> str:
        return str(self.execute_sqlite("SELECT active_branch()")[0][0][0])

    def try_acquire_leadership(self) -> bool:
        """Return whether this process has the lock: a file next to the database, locked until the
        process exits.
        """
        if self._lead is None:
            # Late: few commands need the lock.
            import fcntl

            path = Path(f"{self.path}.lead")
            try:
                file = path.open("ab", buffering=0)  # Closing it releases the lock.
            except OSError as error:
                raise unusable_lock(path, error) from None
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                return False
            try:
                file.truncate(0)
                file.write(socket.gethostname().encode())
            except OSError as error:
                file.close()
                raise unusable_lock(path, error) from None
            self._lead = file
        return True

    def migration_lock(self) -> AbstractContextManager[None]:
        """Return a lock that does nothing: SQLite's own lock admits one writer to the file."""
        return nullcontext()

    def leader(self) -> Leader | None:
        """Return the leader. The locked file contains its host.

        The time of its last query is unknown.
        """
        # Late: few commands need the lock.
        import fcntl

        path = Path(f"{self.path}.lead")
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                host = file.read().strip()
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError:
                    return Leader(host=host)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unusable_lock(path, error) from None
        return None

    def take_turn(self, seconds: float) -> bool:
        """Return False: BEGIN IMMEDIATE already lets writers wait for their turn."""
        return False

    def end_turn(self) -> None:
        return None

    def open_sibling(self) -> None:
        """Return None: this process does all the work."""
        return

    def close(self) -> None:
        if self._lead is not None:
            self._lead.close()
        self._connection.close()

    def _hash(self, commit: str) -> str:
        return checked_hash(commit, HASH, self.path)

    def _hash_or_working(self, commit: str) -> str:
        return commit if commit == WORKING else self._hash(commit)


def _single(sql: str) -> str:
    (statement,) = transpile(sql)
    return statement


def _text(value: Param) -> str | int | bytes | None:
    """Return a time as text, because SQLite has no type for times.

    A whole second has no fraction, so that the text compares with CURRENT_TIMESTAMP.
    """
    return str(sql_timestamp(value)) if isinstance(value, datetime) else value


def _regexp(pattern: str | None, text: object) -> bool | None:
    """Return whether the pattern occurs anywhere, as in MySQL. SQLite calls regexp(Y, X) for X
    REGEXP Y.
    """
    return None if pattern is None or text is None else re.search(pattern, str(text)) is not None
