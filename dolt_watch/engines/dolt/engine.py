"""The engine for a Dolt SQL server. It implements the contract of ``engines`` on
``DoltConnection``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from dolt_watch.engines import WORKING, Changed, Commit, Edge, Leader, Param, Row
from dolt_watch.engines.absent_columns import query_history
from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.dolt.connection import DoltConnection, StatementResult
from dolt_watch.engines.dolt.diff_reader import DiffReader
from dolt_watch.engines.sql_text import MERGING, SYSTEM, checked_hash, checked_identifier
from dolt_watch.errors import (
    Conflict,
    DatabaseError,
    DoltWatchError,
    NoSuchTable,
    NothingToCommit,
    ServerPanic,
    UnknownCommit,
    Unreachable,
)
from dolt_watch.timestamps import clamp_commit_date

LOCK_LENGTH = 64
"""Maximum length of a lock name, in bytes. MySQL's GET_LOCK allows 64 characters."""
TAKE_TURN, END_TURN = "SELECT GET_LOCK(?, ?)", "SELECT RELEASE_LOCK(?)"
MIGRATION_WAIT = 60
"""Seconds to wait for another process that migrates the tables. A migration takes under a second.
"""
HASH = re.compile(r"[0-9a-v]{32}")

LOG = "commit_hash, parents, date, committer"
"""Columns of DOLT_LOG to read.

Dolt 1.86.4 has no author column, 2.x has one. --author sets the committer too.
"""


class DoltTransaction:
    """An open transaction.

    Any error rolls it back at once. No statement can be sent in it afterwards.
    """

    def __init__(self, link: DoltConnection) -> None:
        self._link = link
        self._over = True

    def __enter__(self) -> Self:
        if self._link.in_transaction:
            raise RuntimeError("A transaction is already open on this connection.")
        self._link.begin()
        self._over = False
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._over:
            return
        if kind is None or issubclass(kind, Exception):
            self._roll_back_quietly()
        # An interrupt can leave an answer on the wire, so the socket is no longer usable.
        else:
            self._over = True
            self._link.interrupt()

    def query(self, sql: str, params: Sequence[Param] = ()) -> list[Row]:
        return self._send(sql, params).rows

    def execute(self, sql: str, params: Sequence[Param] = ()) -> int:
        return self._send(sql, params).matched

    def write(self, sql: str, params: Sequence[Param] = (), *, unmatched: str = "") -> None:
        if not self.execute(sql, params) and unmatched:
            self._roll_back_quietly()
            raise Conflict(unmatched)

    def commit(self) -> None:
        """Commit the transaction.

        Raises Conflict, BeadNotFound. Raises Unreachable if the answer was lost: it is then unknown
        whether the transaction was committed.
        """
        self._check()
        try:
            self._link.end("COMMIT")
        except DoltWatchError as error:
            self._roll_back_quietly()
            raise _mark_commit_unknown(error) from error
        self._over = True

    def dolt_commit(self, tables: Sequence[str], message: str, author: str) -> str:
        """Send DOLT_ADD and DOLT_COMMIT, and return the hash of the commit.

        The ROLLBACK afterwards ends the server's transaction and undoes nothing. DOLT_COMMIT is one
        atomic write, including the SQL part, even if it answers 'nothing to commit'.
        """
        names = [checked_identifier(table) for table in tables]
        if names:
            self._send(f"CALL DOLT_ADD({', '.join('?' * len(names))})", names)
        self._check()
        try:
            rows = self._link.send(
                "CALL DOLT_COMMIT('-m', ?, '--author', ?)", (message, author)
            ).rows
        except DoltWatchError as error:
            self._roll_back_quietly()
            raise _mark_commit_unknown(error) from error
        self._roll_back_quietly()
        if not rows or not rows[0][0]:
            raise NothingToCommit(where=self._link.address.display_name)
        return str(rows[0][0])

    def rollback(self) -> None:
        if not self._over:
            self._over = True
            self._link.end("ROLLBACK")

    def _send(self, sql: str, params: Sequence[Param]) -> StatementResult:
        self._check()
        try:
            return self._link.send(sql, params)
        except Exception:
            self._roll_back_quietly()
            raise

    def _check(self) -> None:
        if self._over:
            raise DatabaseError("The transaction has ended.", where=self._link.address.display_name)

    def _roll_back_quietly(self) -> None:
        self._over = True
        self._link.abandon()


class DoltEngine:
    """One connection to one database of a server.

    A read that finds the connection lost reopens it once, but never inside a transaction.
    """

    name = "dolt"
    dialect = "mysql"

    def __init__(self, address: ServerAddress) -> None:
        """Connect. Raises Unreachable, AccessDenied, NoSuchDatabase, SettingsError (CA file)."""
        self.address = address
        self._link = DoltConnection(address)
        self._diff = DiffReader(self._link, self.columns)
        self._turn = ""
        """Name of the lock of ``take_turn``. '' until it is used."""
        self._leader_connection = 0
        """Number of the connection that has the scheduler lock. 0: no connection has it."""

    def query(self, sql: str, params: Sequence[Param] = ()) -> list[Row]:
        """Return current rows. While a transaction is open on this engine, read inside it."""
        return query_history(self._rows, self.columns, sql, params)

    def _rows(self, sql: str, params: Sequence[Param]) -> list[Row]:
        return self._link.send(sql, params, again=True).rows

    def transaction(self) -> DoltTransaction:
        return DoltTransaction(self._link)

    def write(self, sql: str, params: Sequence[Param] = ()) -> int:
        """Execute a write and commit it. A lost connection is not retried: it may have run."""
        try:
            return self._link.send(sql, params, session=True).matched
        except DoltWatchError as error:
            raise _mark_commit_unknown(error) from error

    def execute_ddl(self, sql: str) -> None:
        """Execute a DDL statement. A lost connection is not retried: the statement may have run."""
        self._link.send(sql, session=True)

    def commits(self, since: str | None, until: str, limit: int | None = None) -> Iterator[Commit]:
        """Return the commits of the range, newest first.

        The range is fetched completely, about 0.4 KB a commit, so that the connection is free for
        other queries. ``diff`` uses the parents of the latest range to read many edges in one
        query.
        """
        seen: dict[str, str] = {}  # parents whose row is still to come, to store each hash once

        def commit(row: Row) -> Commit:
            hash, parents, date, author = row
            parents = tuple(seen.setdefault(parent, parent) for parent in _parents(parents))
            return Commit(
                seen.pop(hash, hash), parents, clamp_commit_date(date), sys.intern(author)
            )

        span = self._hash(until) if since is None else f"{self._hash(since)}..{self._hash(until)}"
        more = None if limit is None else limit + 1  # one more shows whether the list is complete
        sql = f"SELECT {LOG} FROM DOLT_LOG('{span}', '--parents'){_limit(more)}"
        found: list[Any] = self._link.send(sql, again=True, each=commit).rows
        if since is None and (limit is None or len(found) <= limit):
            # Parents without a row are missing from a shallow clone (DOLT_CLONE --depth).
            # Dolt 1.86.4 ends the connection if it is asked for one of them.
            found = [_known(one, seen) for one in found] if seen else found
        elif limit is not None:
            del found[limit:]
        self._diff.set_commit_range(until, {one.hash: one.parents for one in found})
        return iter(found)

    def commit_of(self, hash: str) -> Commit | None:
        """Return a commit, even if HEAD does not reach it but the server still has it.

        Use ``is_ancestor`` to check whether HEAD reaches it.
        """
        if not HASH.fullmatch(hash):
            return None
        try:
            rows = self.query(f"SELECT {LOG} FROM DOLT_LOG('{hash}', '--parents') LIMIT 1")
        except UnknownCommit:
            return None
        except Unreachable:
            # For a commit that a shallow clone lacks, Dolt 1.86.4 panics and drops the connection.
            if self.query("SELECT 1 FROM dolt_commits WHERE commit_hash = ?", (hash,)):
                raise
            return None
        if not rows:
            return None
        hash, parents, date, author = rows[0]
        return Commit(hash, _parents(parents), clamp_commit_date(date), author)

    def is_ancestor(self, ancestor: str, head: str) -> bool:
        if not HASH.fullmatch(ancestor) or not HASH.fullmatch(head):
            return False
        try:
            return bool(self.query("SELECT HAS_ANCESTOR(?, ?)", (head, ancestor))[0][0])
        except UnknownCommit:
            return False
        except ServerPanic:
            pass
        # Dolt 1.86.4: HAS_ANCESTOR dereferences a nil pointer for a root commit, which has no
        # ancestors.
        return self.query("SELECT DOLT_MERGE_BASE(?, ?)", (head, ancestor)) == [(ancestor,)]

    def changed_tables(self, since: str, until: str) -> frozenset[str]:
        return self.changed(since, until).data

    def changed(self, since: str, until: str) -> Changed:
        """Return the tables that differ.

        At a changed primary key, DOLT_DIFF_SUMMARY ends early with a warning. The result may then
        contain tables that did not change.
        """
        span = f"'{self._hash(since)}', '{self._hash_or_working(until)}'"
        sql = (
            "SELECT from_table_name, to_table_name, data_change, schema_change FROM"
            f" DOLT_DIFF_SUMMARY({span})"
        )
        return self._changed(since, until, self._link.send(sql, again=True))

    def changed_over(self, edges: Sequence[Edge]) -> list[Changed]:
        if len(edges) == 1:
            return [self.changed(*edges[0])]
        parts = [
            f"SELECT {number}, from_table_name, to_table_name, data_change, schema_change FROM"
            f" DOLT_DIFF_SUMMARY('{self._hash(since)}', '{self._hash_or_working(until)}')"
            for number, (since, until) in enumerate(edges)
        ]
        answer = self._link.send(" UNION ALL ".join(parts), again=True) if parts else None
        if answer is None or answer.warnings:
            return [self.changed(since, until) for since, until in edges]
        found: list[list[Row]] = [[] for _ in edges]
        for number, *row in answer.rows:
            found[int(number)].append(tuple(row))
        return [
            self._changed(since, until, answer._replace(rows=rows))
            for (since, until), rows in zip(edges, found, strict=True)
        ]

    def _changed(self, since: str, until: str, answer: StatementResult) -> Changed:
        data = {table for *names, differs, _ in answer.rows if differs for table in names if table}
        schema = {
            table for *names, _, differs in answer.rows if differs for table in names if table
        }
        if answer.warnings:
            schema |= self._diff.schema_changes(since, until)
            data |= schema | self._tables(since) | self._tables(until)
        return Changed(frozenset(data), frozenset(schema))

    def _tables(self, commit: str) -> frozenset[str]:
        if commit == WORKING:
            return self.dirty()
        database = self.address.database_name.replace("`", "``")
        return frozenset(row[0] for row in self.query(f"SHOW TABLES FROM `{database}/{commit}`"))

    def altered(
        self, tables: Sequence[str], edges: Sequence[Edge], *, exact: bool = False
    ) -> Mapping[str, frozenset[Edge]]:
        for edge in (*edges[:1], *edges[-1:]):
            self._hash(edge.parent)
            self._hash(edge.commit)
        return self._diff.altered(tables, edges, exact)

    def unmigrated(
        self,
        marks: Collection[str] = (),
        query: Callable[[str, Sequence[Param]], list[Row]] | None = None,
    ) -> frozenset[str]:
        """Return the uncommitted tables that a schema migration changed.

        These include tables with a changed primary key: DOLT_SCHEMA_DIFF lists them,
        DOLT_DIFF_SUMMARY does not.
        """
        ask = query or self.query
        status = ask("SELECT table_name, HASHOF('HEAD') FROM dolt_status", ())
        if not status:
            return frozenset()
        dirty = {one for text, _ in status for one in text.split(" -> ")}
        sql = (
            f"SELECT from_table_name, to_table_name FROM DOLT_SCHEMA_DIFF('{status[0][1]}',"
            " 'WORKING')"
        )
        names = {table for row in ask(sql, ()) for table in row if table}
        return frozenset(dirty & (names | {*marks, *SYSTEM}))

    def uncommitted_schema(self, tables: Collection[str]) -> frozenset[str]:
        """Return the tables whose schema differs from HEAD's.

        DOLT_DIFF_SUMMARY takes 1 ms, dolt_status 2 ms. At a changed primary key it ends early with
        a warning.
        """
        sql = (
            "SELECT from_table_name, to_table_name, schema_change FROM"
            " DOLT_DIFF_SUMMARY('HEAD', 'WORKING')"
        )
        answer = self._link.send(sql, again=True)
        if answer.warnings:
            return self.unmigrated().intersection(tables)
        found = {table for *names, differs in answer.rows if differs for table in names if table}
        return frozenset(found.intersection(tables))

    def filter_changed_edges(self, tables: Sequence[str], edges: Sequence[Edge]) -> Sequence[Edge]:
        if edges:  # only these two hashes become part of the SQL
            self._hash(edges[0].parent)
            self._hash(edges[-1].commit)
        return self._diff.filter_changed_edges(
            [checked_identifier(table) for table in tables], edges
        )

    def diff(
        self, table: str, edges: Iterable[Edge], columns: Mapping[str, str], at: str | None = None
    ) -> Iterator[tuple[Edge, Row]]:
        """Return the row changes of the edges. An edge needs a parent, so root commits have none.

        Raises UnknownCommit, NoSuchTable, SchemaChanged or Unexplained during iteration.
        """
        under = None if at is None else self._hash(at)
        return self._diff.rows(
            checked_identifier(table), self._checked(edges), tuple(columns.values()), under
        )

    def columns(self, table: str, commit: str | None = None) -> dict[str, str]:
        of = "" if commit is None else f" AS OF '{self._hash(commit)}'"
        try:
            rows = self.query(f"SHOW COLUMNS FROM `{checked_identifier(table)}`{of}")
        except NoSuchTable:
            return {}
        return {row[0]: str(row[1]).lower() for row in rows}

    def describe(self, tables: Sequence[str]) -> dict[str, dict[str, str]]:
        return {table: columns for table in tables if (columns := self.columns(table))}

    def dirty(self) -> frozenset[str]:
        return frozenset(row[0] for row in self.query("SELECT table_name FROM dolt_status"))

    def has_unfinished_merge(self) -> bool:
        return bool(self.query(MERGING)[0][0])

    def branch(self) -> str:
        return str(self.query("SELECT ACTIVE_BRANCH()")[0][0])

    def try_acquire_leadership(self) -> bool:
        if self._leader_connection != self._link.connections:
            lock = lock_name(self.address.database_name, self.branch())
            taken = self.query("SELECT GET_LOCK(?, 0)", (lock,)) == [(1,)]
            self._leader_connection = self._link.connections if taken else 0
        return self._leader_connection != 0

    def leader(self) -> Leader | None:
        """Return the connection that has the scheduler lock.

        TIME in the process list counts from the last command. A user with only SELECT can read it
        too (Dolt 1.86.4, 2.2.0).
        """
        lock = lock_name(self.address.database_name, self.branch())
        [(holder,)] = self.query("SELECT IS_USED_LOCK(?)", (lock,))
        if holder is None:
            return None
        rows = self.query(
            "SELECT TIME FROM information_schema.processlist WHERE ID = ?", (int(holder),)
        )
        return Leader(timedelta(seconds=int(rows[0][0])) if rows else None)

    def take_turn(self, seconds: float) -> bool:
        """Wait with GET_LOCK.

        Dolt 1.86.4 and 2.2.0 release it when the holder's connection ends, even if it was killed.
        A server without the function, or a user who may not call it, has no turns.
        """
        if not self._turn:
            self._turn = lock_name(self.address.database_name, f"turn:{self.branch()}")
        try:
            return self.query(TAKE_TURN, (self._turn, int(seconds))) == [(1,)]
        except Unreachable:
            raise
        except DatabaseError:
            return False

    def end_turn(self) -> None:
        with suppress(DoltWatchError):
            self.query(END_TURN, (self._turn,))

    @contextmanager
    def migration_lock(self) -> Iterator[None]:
        lock = lock_name(self.address.database_name, f"{self.branch()}:init")
        if self.query("SELECT GET_LOCK(?, ?)", (lock, MIGRATION_WAIT)) != [(1,)]:
            raise DatabaseError(
                f"Another `dolt_watch init` was not done after {MIGRATION_WAIT} s.",
                fix="Wait until it ends, then run `dolt_watch init` again.",
            )
        try:
            yield
        finally:
            # A lost connection has released it already.
            with suppress(DatabaseError):
                self.query("SELECT RELEASE_LOCK(?)", (lock,))

    def open_sibling(self) -> DoltEngine:
        twin = DoltEngine(self.address)
        twin._diff.set_commit_range(*self._diff.commit_range)
        return twin

    def close(self) -> None:
        self._link.close()

    def _checked(self, edges: Iterable[Edge]) -> Iterator[Edge]:
        named = self._diff.commit_range[1]  # hashes from the server need no check
        for edge in edges:
            if edge.parent not in named:
                self._hash(edge.parent)
            if edge.commit not in named:
                self._hash_or_working(edge.commit)
            yield edge

    def _hash(self, commit: str) -> str:
        return checked_hash(commit, HASH, self.address.display_name)

    def _hash_or_working(self, commit: str) -> str:
        return commit if commit == WORKING else self._hash(commit)


def _known(commit: Commit, missing: Collection[str]) -> Commit:
    """Return the commit without the parents that history does not have."""
    if not any(parent in missing for parent in commit.parents):
        return commit
    return commit._replace(parents=tuple(p for p in commit.parents if p not in missing))


def lock_name(database: str, branch: str) -> str:
    """Return the name of the service's lock on the server, in at most 64 bytes, MySQL's limit.

    A longer name is hashed. Truncating it could give two trackers with similar names the same lock.
    """
    name = f"dolt_watch:{database}:{branch}"
    if len(name.encode()) <= LOCK_LENGTH:
        return name
    # Late: only long names are hashed.
    import hashlib

    return "dolt_watch:" + hashlib.sha256(name.encode()).hexdigest()[: LOCK_LENGTH - 11]


def _limit(limit: int | None) -> str:
    return "" if limit is None else f" LIMIT {int(limit)}"


def _parents(text: str | None) -> tuple[str, ...]:
    return tuple((text or "").replace(",", " ").split())


def _mark_commit_unknown(error: DoltWatchError) -> DoltWatchError:
    """Add to a lost answer that the outcome of the commit is unknown."""
    if isinstance(error, Unreachable):
        error.with_detail("; it is not known whether the commit took place")
    return error
