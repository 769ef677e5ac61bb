"""Writes of a transaction, of which nothing lasts if one fails, and several reads in one call."""

from __future__ import annotations

import socket

import pytest

from dolt_watch.engines import WORKING, Edge
from dolt_watch.errors import Conflict, DatabaseError, DoltWatchError, NoSuchTable
from tests.conformance.tables import ME, commit, head, ignored, make, read, write


def test_writes_are_committed_in_their_order(engine):
    make(engine)
    with engine.transaction() as tx:
        tx.write("UPDATE t SET v = 'x' WHERE id = 'a'")
        tx.write("UPDATE t SET v = CONCAT(v, ?) WHERE id = 'a'", ("y",))
        assert tx.query("SELECT v FROM t WHERE id = 'a'") == [("xy",)], "a read waits for them"
        tx.write("UPDATE watch_ig SET v = '9'")
        tx.dolt_commit(["t"], "m", ME)
    assert (read(engine, "a"), ignored(engine)) == ("xy", "9")


@pytest.mark.parametrize("end", ["commit", "dolt_commit"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_nothing_lasts_where_one_of_them_fails(engine, place, end):
    """No statement behind a failure is sent."""
    make(engine)
    before = head(engine)
    writes = ["UPDATE t SET v = 'x'", "UPDATE watch_ig SET v = 'x'"]
    writes.insert(place, "INSERT INTO t (id, v) VALUES ('a', 'again')")
    with pytest.raises(Conflict), engine.transaction() as tx:
        for sql in writes:
            tx.write(sql)
        if end == "commit":
            tx.commit()
        else:
            tx.dolt_commit(["t"], "m", ME)
    assert (read(engine, "a"), ignored(engine), head(engine)) == ("1", "0", before)
    with engine.transaction() as tx:
        tx.write("UPDATE t SET v = 'after'")
        tx.dolt_commit(["t"], "m", ME)
    assert read(engine, "a") == "after", "the connection is in step"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_write_that_must_match(engine, place):
    make(engine)
    writes = [("UPDATE t SET v = 'x'", ""), ("UPDATE watch_ig SET v = 'x'", "")]
    writes.insert(place, ("UPDATE t SET v = 'z' WHERE id = 'nobody'", "it is gone"))
    with pytest.raises(Conflict, match=r"^it is gone$"), engine.transaction() as tx:
        for sql, unmatched in writes:
            tx.write(sql, unmatched=unmatched)
        tx.commit()
    assert (read(engine, "a"), ignored(engine)) == ("1", "0")
    with engine.transaction() as tx:
        tx.write("UPDATE watch_ig SET v = 'x'", unmatched="it is gone")
        tx.commit()
    assert ignored(engine) == "x"


def test_a_transaction_that_is_left_writes_nothing(engine):
    make(engine)
    with engine.transaction() as tx:
        tx.write("UPDATE t SET v = 'x'")
    assert read(engine, "a") == "1"
    with engine.transaction():
        pass
    assert engine.query("SELECT 1") == [(1,)]


def test_a_lone_write(engine):
    make(engine)
    assert engine.write("UPDATE watch_ig SET v = ?", ("x",)) == 1
    assert engine.write("UPDATE watch_ig SET v = ? WHERE v = '0'", ("y",)) == 0
    assert ignored(engine) == "x"


def test_a_failed_read_ends_its_transaction(engine):
    make(engine)
    with engine.transaction() as tx:
        with pytest.raises(NoSuchTable):
            tx.query("SELECT * FROM nowhere")
        with pytest.raises(DatabaseError, match="has ended"):
            tx.query("SELECT 1")
    assert read(engine, "a") == "1"


def test_reads_of_a_commit_that_lacks_a_column(engine):
    make(engine)
    old = head(engine)
    engine.execute_ddl("ALTER TABLE t ADD COLUMN z VARCHAR(9)")
    commit(engine)
    assert engine.query("SELECT id, z FROM t AS OF ? WHERE id = 'a'", (old,)) == [("a", None)]


def test_what_changed_over_many_edges(engine):
    make(engine)
    made = [head(engine)]
    write(engine, "UPDATE t SET v = 'x' WHERE id = 'a'")
    made.append(commit(engine))
    engine.execute_ddl("ALTER TABLE t ADD COLUMN z VARCHAR(9)")
    made.append(commit(engine))
    write(engine, "UPDATE t SET v = 'y' WHERE id = 'a'")
    edges = [Edge(made[0], made[1]), Edge(made[1], made[2]), Edge(made[2], WORKING)]
    for some in (edges, edges[:1], [], [Edge(made[0], made[0]), *edges]):
        assert engine.changed_over(some) == [engine.changed(*edge) for edge in some]
    assert [("t" in one.data, "t" in one.schema) for one in engine.changed_over(edges)] == [
        (True, False),
        (engine.changed(*edges[1]).data.__contains__("t"), True),
        (True, False),
    ]


def test_an_uncommitted_schema(engine):
    make(engine)
    write(engine, "UPDATE t SET v = 'x' WHERE id = 'a'")
    with engine.transaction():
        assert engine.uncommitted_schema(["t", "nowhere"]) == frozenset()
    engine.execute_ddl("ALTER TABLE t ADD COLUMN z VARCHAR(9)")
    with engine.transaction():
        assert engine.uncommitted_schema(["t", "nowhere"]) == {"t"}
        assert engine.uncommitted_schema(["nowhere"]) == frozenset()
    commit(engine)
    with engine.transaction():
        assert engine.uncommitted_schema(["t"]) == frozenset()


def test_an_uncommitted_primary_key(engine):
    """DOLT_DIFF_SUMMARY ends early at it, with a warning."""
    if engine.name != "dolt":
        return
    make(engine)
    engine.execute_ddl("ALTER TABLE t DROP PRIMARY KEY")
    assert engine.uncommitted_schema(["t"]) == {"t"}


def test_the_columns_of_many_tables(engine):
    make(engine)
    names = ["t", "nowhere", "watch_ig"]
    assert engine.describe(names) == {
        name: engine.columns(name) for name in names if engine.columns(name)
    }


def test_a_lost_connection(engine):
    """A read is sent again. A transaction isn't, once it has begun."""
    if engine.name != "dolt":
        return
    make(engine)

    def lose() -> None:
        engine._link._connection._sock.shutdown(socket.SHUT_RDWR)

    lose()
    assert engine.query("SELECT 1") == [(1,)]
    lose()
    with engine.transaction() as tx:
        assert tx.query("SELECT v FROM t WHERE id = 'a'") == [("1",)], "nothing was begun yet"
        tx.write("UPDATE t SET v = 'x'")
        lose()
        with pytest.raises(DoltWatchError):
            tx.dolt_commit(["t"], "m", ME)
    assert read(engine, "a") == "1"
