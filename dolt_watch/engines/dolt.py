"""The engine for a Dolt SQL server: the contract of ``engines``, over ``Link``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from dolt_watch.engines import WORKING, Commit, Edge, Param, Row
from dolt_watch.engines.address import Address
from dolt_watch.engines.dolt_diff import Differ
from dolt_watch.engines.dolt_link import Answer, Link
from dolt_watch.engines.sql import MERGING, hash_of, name
from dolt_watch.errors import DatabaseError, DoltWatchError, NoSuchTable, NothingToCommit, UnknownCommit, Unreachable
from dolt_watch.times import dated

HASH = re.compile(r"[0-9a-v]{32}")

LOG = "commit_hash, parents, date, committer"
"""DOLT_LOG's columns are named: 1.86.4 has no author column, 2.x has. --author sets the committer too."""


class DoltTransaction:
    """An open transaction. Any error rolls it back at once: after one, nothing can be asked of it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._over = True

    def __enter__(self) -> Self:
        if self._link.in_transaction:
            raise RuntimeError("a transaction is open on this connection: transactions do not nest")
        self._link.begin()
        self._over = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._over:
            return
        if kind is None or issubclass(kind, Exception):
            self._abandon()
        else:  # interrupted, perhaps while an answer was under way: the socket cannot be used any more
            self._over, self._link.in_transaction = True, False
            self._link.drop()

    def query(self, sql: str, params: Sequence[Param] = ()) -> list[Row]:
        return self._send(sql, params).rows

    def execute(self, sql: str, params: Sequence[Param] = ()) -> int:
        return self._send(sql, params).matched

    def commit(self) -> None:
        """Raises Conflict, BeadGone; Unreachable where the answer was lost, and then nobody knows whether it committed."""
        self._check()
        try:
            self._link.end("COMMIT")
        except DoltWatchError as error:
            self._abandon()
            raise _unsure(error) from error
        self._over = True

    def dolt_commit(self, tables: Sequence[str], message: str, author: str) -> str:
        """DOLT_ADD, DOLT_COMMIT. The ROLLBACK after it ends the server's transaction and undoes nothing: the commit is one atomic
        write, also of the SQL part, and also where it says 'nothing to commit'.
        """
        names = [name(table) for table in tables]
        if names:
            self._send(f"CALL DOLT_ADD({', '.join('?' * len(names))})", names)
        self._check()
        try:
            rows = self._link.send("CALL DOLT_COMMIT('-m', ?, '--author', ?)", (message, author)).rows
        except DoltWatchError as error:
            self._abandon()
            raise _unsure(error) from error
        self._abandon()
        if not rows or not rows[0][0]:
            raise NothingToCommit(where=self._link.address.where)
        return str(rows[0][0])

    def rollback(self) -> None:
        if not self._over:
            self._over = True
            self._link.end("ROLLBACK")

    def _send(self, sql: str, params: Sequence[Param]) -> Answer:
        self._check()
        try:
            return self._link.send(sql, params)
        except Exception:
            self._abandon()
            raise

    def _check(self) -> None:
        if self._over:
            raise DatabaseError("the transaction is over", where=self._link.address.where)

    def _abandon(self) -> None:
        self._over = True
        self._link.abandon()


class DoltEngine:
    """One connection to one database of a server. Made anew once where a read finds it lost; never inside a transaction."""

    name = "dolt"
    dialect = "mysql"

    def __init__(self, address: Address) -> None:
        """Connects. Raises Unreachable, AccessDenied, NoSuchDatabase, SettingsError (CA file)."""
        self.address = address
        self._link = Link(address)
        self._diff = Differ(self._link, self.columns)
        self._led_by = 0
        """Number of the connection that holds the scheduler lock, 0: none does."""

    def query(self, sql: str, params: Sequence[Param] = ()) -> list[Row]:
        """Outside a transaction, fresh. While one is open on this engine, it reads inside it."""
        return self._link.send(sql, params, again=True).rows

    def transaction(self) -> DoltTransaction:
        return DoltTransaction(self._link)

    def run(self, sql: str) -> None:
        """Not tried again when the connection is lost: it may have happened."""
        self._link.send(sql, session=True)

    def commits(self, since: str | None, until: str, limit: int | None = None) -> Iterator[Commit]:
        """The range is fetched whole, about 0.4 KB a commit, so that the connection is free for other queries meanwhile.

        It also tells ``diff`` the parents: edges of the range that was asked for last are read many at once.
        """
        seen: dict[str, str] = {}  # parents whose own row is still to come: each hash is held once

        def commit(row: Row) -> Commit:
            hash, parents, date, author = row
            parents = tuple(seen.setdefault(parent, parent) for parent in _parents(parents))
            return Commit(seen.pop(hash, hash), parents, dated(date), sys.intern(author))

        span = self._hash(until) if since is None else f"{self._hash(since)}..{self._hash(until)}"
        sql = f"SELECT {LOG} FROM DOLT_LOG('{span}', '--parents'){_limit(limit)}"
        found: list[Any] = self._link.send(sql, again=True, each=commit).rows
        self._diff.learn(until, {one.hash: one.parents for one in found})
        return iter(found)

    def commit_of(self, hash: str) -> Commit | None:
        """Also a commit that HEAD does not reach but the server still holds: ask ``is_ancestor`` for that."""
        if not HASH.fullmatch(hash):
            return None
        try:
            rows = self.query(f"SELECT {LOG} FROM DOLT_LOG('{hash}', '--parents') LIMIT 1")
        except UnknownCommit:
            return None
        if not rows:
            return None
        hash, parents, date, author = rows[0]
        return Commit(hash, _parents(parents), dated(date), author)

    def is_ancestor(self, ancestor: str, head: str) -> bool:
        if not HASH.fullmatch(ancestor) or not HASH.fullmatch(head):
            return False
        try:
            return bool(self.query("SELECT HAS_ANCESTOR(?, ?)", (head, ancestor))[0][0])
        except UnknownCommit:
            return False
        except DatabaseError as error:
            if "panic" not in error.message:
                raise
        # Dolt 1.86.4: HAS_ANCESTOR of a root commit (it has no ancestors to look in) is a nil pointer
        return self.query("SELECT DOLT_MERGE_BASE(?, ?)", (head, ancestor)) == [(ancestor,)]

    def changed_tables(self, since: str, until: str) -> frozenset[str]:
        rows = self.query(
            "SELECT from_table_name, to_table_name FROM "
            f"DOLT_DIFF_SUMMARY('{self._hash(since)}', '{self._hash_or_working(until)}') WHERE data_change"
        )
        return frozenset(table for row in rows for table in row if table)

    def touched(self, tables: Sequence[str], edges: Sequence[Edge]) -> Sequence[Edge]:
        if edges:  # what is built into SQL; the others are compared only
            self._hash(edges[0].parent)
            self._hash(edges[-1].commit)
        return self._diff.touched([name(table) for table in tables], edges)

    def diff(self, table: str, edges: Iterable[Edge], columns: Mapping[str, str]) -> Iterator[tuple[Edge, Row]]:
        """Raises UnknownCommit, NoSuchTable, SchemaChanged as it is read. An edge needs a parent: a root commit has none."""
        return self._diff.rows(name(table), self._checked(edges), tuple(columns.values()))

    def columns(self, table: str, commit: str | None = None) -> dict[str, str]:
        of = "" if commit is None else f" AS OF '{self._hash(commit)}'"
        try:
            rows = self.query(f"SHOW COLUMNS FROM `{name(table)}`{of}")
        except NoSuchTable:
            return {}
        return {row[0]: str(row[1]).lower() for row in rows}

    def dirty(self) -> frozenset[str]:
        return frozenset(row[0] for row in self.query("SELECT table_name FROM dolt_status"))

    def merging(self) -> bool:
        return bool(self.query(MERGING)[0][0])

    def branch(self) -> str:
        return str(self.query("SELECT ACTIVE_BRANCH()")[0][0])

    def lead(self) -> bool:
        if self._led_by != self._link.connections:
            lock = f"dolt_watch:{self.address.database}:{self.branch()}"[:64]
            taken = self.query("SELECT GET_LOCK(?, 0)", (lock,)) == [(1,)]
            self._led_by = self._link.connections if taken else 0
        return self._led_by != 0

    def twin(self) -> DoltEngine:
        twin = DoltEngine(self.address)
        twin._diff.learn(*self._diff.known)
        return twin

    def close(self) -> None:
        self._link.close()

    def _checked(self, edges: Iterable[Edge]) -> Iterator[Edge]:
        named = self._diff.known[1]  # by the server itself
        for edge in edges:
            if edge.parent not in named:
                self._hash(edge.parent)
            if edge.commit not in named:
                self._hash_or_working(edge.commit)
            yield edge

    def _hash(self, commit: str) -> str:
        return hash_of(commit, HASH, self.address.where)

    def _hash_or_working(self, commit: str) -> str:
        return commit if commit == WORKING else self._hash(commit)


def _limit(limit: int | None) -> str:
    return "" if limit is None else f" LIMIT {int(limit)}"


def _parents(text: str | None) -> tuple[str, ...]:
    return tuple((text or "").replace(",", " ").split())


def _unsure(error: DoltWatchError) -> DoltWatchError:
    """An answer lost on a commit is no 'no': say so."""
    if isinstance(error, Unreachable):
        error.message += "; it is not known whether the commit took place"
    return error
