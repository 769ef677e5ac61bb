"""Small tables for the conformance tests, and helpers that change and read them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from dolt_watch.engines import Edge, Engine, Param
from tests.support.servers import call

ME = "watcher <watcher@example.com>"
THEM = "person <person@example.com>"


def head(engine: Engine) -> str:
    return engine.query("SELECT HASHOF('HEAD')")[0][0]


def write(engine: Engine, sql: str, params: Sequence[Param] = ()) -> None:
    """Run a statement with an SQL commit only, like the unfinished work of a user."""
    with engine.transaction() as tx:
        tx.execute(sql, params)
        tx.commit()


def commit(
    engine: Engine, *sql: str, tables: Sequence[str] = ("t",), message: str = "m", author: str = ME
) -> str:
    """Run statements in one transaction, make a Dolt commit, and return its hash."""
    with engine.transaction() as tx:
        for text in sql:
            tx.execute(text)
        return tx.dolt_commit(tables, message, author)


def make(engine: Engine) -> str:
    """Create two tables, and return the commit's hash.

    ``t`` (id, v, w) is committed with the rows a and b. ``watch_ig`` is ignored and has one row.
    """
    engine.execute_ddl("INSERT INTO dolt_ignore VALUES ('watch_ig%', true)")
    commit(engine, tables=["dolt_ignore"], message="ignore")
    engine.execute_ddl("CREATE TABLE watch_ig (id int PRIMARY KEY, v varchar(40))")
    engine.execute_ddl("CREATE TABLE t (id varchar(20) PRIMARY KEY, v text, w text)")
    write(engine, "INSERT INTO watch_ig VALUES (1, '0')")
    return commit(engine, "INSERT INTO t (id, v) VALUES ('a', '1'), ('b', '1')", message="make")


def read(engine: Engine, key: str) -> str | None:
    rows = engine.query("SELECT v FROM t WHERE id = ?", (key,))
    return rows[0][0] if rows else None


def ignored(engine: Engine) -> str:
    return engine.query("SELECT v FROM watch_ig WHERE id = 1")[0][0]


def diff(engine: Engine, *edges: Edge, table: str = "t") -> list[tuple[Edge, tuple]]:
    columns = {
        "kind": "diff_type",
        "id": "COALESCE(to_id, from_id)",
        "before": "from_v",
        "after": "to_v",
    }
    return list(engine.diff(table, edges, columns))


def chain(*commits: str) -> list[Edge]:
    return [Edge(parent, child) for parent, child in pairwise(commits)]


def branch(engine: Engine, name: str) -> None:
    call(engine, "dolt_checkout", "-b", name)


def checkout(engine: Engine, name: str) -> None:
    call(engine, "dolt_checkout", name)
