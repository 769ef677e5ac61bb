"""An SQL transaction with ignored tables and a Dolt commit is atomic."""

from __future__ import annotations

import pytest

from dolt_watch.engines import Edge
from dolt_watch.errors import Conflict, DatabaseError, NoSuchTable, NothingToCommit
from tests.conformance.tables import ME, THEM, commit, diff, head, ignored, make, read, write
from tests.support.servers import call


def test_leaving_without_a_commit_rolls_back(engine):
    make(engine)
    with engine.transaction() as tx:
        tx.execute("UPDATE t SET v = 'x'")
        tx.execute("UPDATE watch_ig SET v = 'x'")
        assert tx.query("SELECT v FROM t WHERE id = 'a'") == [("x",)]
    assert (read(engine, "a"), ignored(engine)) == ("1", "0")


def test_an_exception_rolls_back(engine):
    make(engine)
    with pytest.raises(KeyError), engine.transaction() as tx:
        tx.execute("UPDATE t SET v = 'x'")
        raise KeyError
    assert read(engine, "a") == "1"


def test_an_interrupt_rolls_back_and_the_engine_lives_on(engine):
    make(engine)
    with pytest.raises(KeyboardInterrupt), engine.transaction() as tx:
        tx.execute("UPDATE t SET v = 'x'")
        raise KeyboardInterrupt
    assert read(engine, "a") == "1"


def test_after_an_error_the_transaction_is_over(engine):
    make(engine)
    with engine.transaction() as tx:
        tx.execute("UPDATE t SET v = 'x'")
        with pytest.raises(NoSuchTable):
            tx.query("SELECT * FROM nowhere")
        assert read(engine, "a") == "1", "rolled back at once"
        with pytest.raises(DatabaseError, match="has ended"):
            tx.execute("UPDATE t SET v = 'y'")
    assert read(engine, "a") == "1"


def test_rollback_then_nothing_more(engine):
    make(engine)
    with engine.transaction() as tx:
        tx.execute("UPDATE t SET v = 'x'")
        tx.rollback()
        with pytest.raises(DatabaseError, match="has ended"):
            tx.commit()
    assert read(engine, "a") == "1"


def test_transactions_do_not_nest(engine):
    with (
        engine.transaction(),
        pytest.raises(RuntimeError, match="already open"),
        engine.transaction(),
    ):
        pass


def test_execute_counts_rows_matched_not_rows_changed(engine):
    """A guard's UPDATE counts a row that already has the value."""
    make(engine)
    with engine.transaction() as tx:
        assert tx.execute("UPDATE t SET v = '1' WHERE id = 'a'") == 1
        assert tx.execute("UPDATE t SET v = '1' WHERE id = 'nobody'") == 0
        assert tx.execute("DELETE FROM t WHERE v = '1'") == 2


def test_an_ignored_table_is_written_with_the_commit_and_never_in_it(engine):
    before = make(engine)
    with engine.transaction() as tx:
        tx.execute("UPDATE watch_ig SET v = '1' WHERE id = 1")
        tx.execute("UPDATE t SET v = '2' WHERE id = 'a'")
        after = tx.dolt_commit(["t"], "both", ME)
    assert ignored(engine) == "1"
    assert head(engine) == after
    assert engine.changed_tables(before, after) == {"t"}
    assert not engine.dirty()


def test_staging_an_ignored_table_does_not_bring_it_in(engine):
    before = make(engine)
    with engine.transaction() as tx:
        tx.execute("UPDATE watch_ig SET v = '1' WHERE id = 1")
        tx.execute("UPDATE t SET v = '2' WHERE id = 'a'")
        after = tx.dolt_commit(["t", "watch_ig"], "both", ME)
    assert engine.changed_tables(before, after) == {"t"}


def test_an_ignored_table_rolls_back_with_a_commit_that_fails(engine):
    make(engine)
    before = head(engine)
    with pytest.raises(Conflict), engine.transaction() as tx:
        tx.execute("UPDATE watch_ig SET v = '1' WHERE id = 1")
        tx.execute("INSERT INTO t (id) VALUES ('a')")
        tx.dolt_commit(["t"], "never", ME)
    assert (ignored(engine), head(engine), engine.dirty()) == ("0", before, frozenset())


def test_nothing_to_commit_still_commits_the_sql_part(engine):
    make(engine)
    before = head(engine)
    with pytest.raises(NothingToCommit), engine.transaction() as tx:
        tx.execute("UPDATE watch_ig SET v = '1' WHERE id = 1")
        tx.dolt_commit(["t"], "nothing", ME)
    assert (ignored(engine), head(engine)) == ("1", before)


def test_an_sql_commit_makes_no_dolt_commit(engine):
    make(engine)
    before = head(engine)
    write(engine, "UPDATE watch_ig SET v = '1'")
    assert (ignored(engine), head(engine), engine.dirty()) == ("1", before, frozenset())


def test_ignored_rows_survive_a_hard_reset(engine):
    first = make(engine)
    commit(engine, "UPDATE t SET v = '2'", "UPDATE watch_ig SET v = '1'")
    call(engine, "dolt_reset", "--hard", first)
    assert (read(engine, "a"), ignored(engine), head(engine)) == ("1", "1", first)


def test_a_commit_says_who_and_what(engine):
    make(engine)
    message = (
        "dolt-watch: dispatch bd-12 (attempt 1, job 6f…)\n\nBead: bd-12\nReason: it's 100% \\"
        ' "fine" ?'
    )
    made = commit(engine, "UPDATE t SET v = '2'", message=message)
    sql = "SELECT message, committer, email FROM dolt_log WHERE commit_hash = ?"
    assert engine.query(sql, (made,)) == [(message, "watcher", "watcher@example.com")]


def test_a_table_that_does_not_exist_cannot_be_committed(engine):
    make(engine)
    with pytest.raises(NoSuchTable) as error, engine.transaction() as tx:
        tx.dolt_commit(["nowhere"], "m", ME)
    assert error.value.table == "nowhere"


def test_a_name_that_needs_quoting_is_refused(engine):
    with pytest.raises(ValueError, match="name"), engine.transaction() as tx:
        tx.dolt_commit(["t'); DROP TABLE t"], "m", ME)


def test_head_moved_between_begin_and_commit(dolt_factory):
    """The commit's parent is the new HEAD, and the commit contains only the new row."""
    mine, theirs = dolt_factory(), dolt_factory()
    make(mine)
    with mine.transaction() as tx:
        tx.execute("UPDATE t SET v = 'mine' WHERE id = 'a'")
        between = commit(theirs, "UPDATE t SET v = 'theirs' WHERE id = 'b'", author=THEM)
        ours = tx.dolt_commit(["t"], "mine", ME)
    assert mine.commit_of(ours).parents == (between,)
    edge = Edge(between, ours)
    assert diff(mine, edge) == [(edge, ("modified", "a", "1", "mine"))]


def test_a_commit_sweeps_in_what_others_left_uncommitted(engine_factory):
    """A commit of dolt_watch can contain other writers' changes, so each cell has its own owner."""
    mine, theirs = engine_factory(), engine_factory()
    before = make(mine)
    write(theirs, "UPDATE t SET v = 'theirs' WHERE id = 'b'")
    edge = Edge(before, commit(mine, "UPDATE t SET v = 'mine' WHERE id = 'a'"))
    assert [row for _, row in diff(mine, edge)] == [
        ("modified", "a", "1", "mine"),
        ("modified", "b", "1", "theirs"),
    ]


def test_uncommitted_rows_of_other_tables_stay_out(engine_factory):
    mine, theirs = engine_factory(), engine_factory()
    before = make(mine)
    theirs.execute_ddl("CREATE TABLE other (id int PRIMARY KEY)")
    after = commit(mine, "UPDATE t SET v = 'mine' WHERE id = 'a'")
    assert mine.changed_tables(before, after) == {"t"}
    assert mine.dirty() == {"other"}


def test_a_snapshot_is_frozen_but_reads_outside_are_fresh(dolt_factory):
    mine, theirs = dolt_factory(), dolt_factory()
    make(mine)
    with mine.transaction() as tx:
        assert tx.query("SELECT v FROM t WHERE id = 'a'") == [("1",)]
        write(theirs, "UPDATE t SET v = '2' WHERE id = 'a'")
        assert tx.query("SELECT v FROM t WHERE id = 'a'") == [("1",)]
    assert read(mine, "a") == "2"


def test_each_read_outside_a_transaction_is_fresh(engine_factory):
    mine, theirs = engine_factory(), engine_factory()
    make(mine)
    for value in ("2", "3", "4"):
        made = commit(theirs, f"UPDATE t SET v = '{value}' WHERE id = 'a'")
        assert (read(mine, "a"), head(mine)) == (value, made)
        write(theirs, f"UPDATE watch_ig SET v = '{value}'")
        assert ignored(mine) == value
