"""Uncommitted and unfinished changes, the existing tables, and the allowed names."""

from __future__ import annotations

import contextlib

import pytest

from dolt_watch.errors import DatabaseError, DoltWatchError, NoSuchTable
from dolt_watch.ledger.schema import migrate
from tests.conformance.tables import ME, branch, checkout, commit, head, ignored, make, write
from tests.support.servers import call


def test_dirty_names_tables_with_uncommitted_rows(engine):
    make(engine)
    assert engine.dirty() == frozenset()
    write(engine, "UPDATE t SET v = 'x' WHERE id = 'a'")
    engine.execute_ddl("CREATE TABLE other (id int PRIMARY KEY)")
    assert engine.dirty() == {"t", "other"}
    commit(engine, tables=["t", "other"])
    assert engine.dirty() == frozenset()


def test_an_ignored_table_is_never_dirty(engine):
    make(engine)
    write(engine, "UPDATE watch_ig SET v = 'x'")
    assert engine.dirty() == frozenset()


def test_a_table_is_ignored_only_if_it_was_before_it_was_made(dolt):
    """A row in dolt_ignore doesn't affect a table that is already committed."""
    make(dolt)
    commit(dolt, "INSERT INTO dolt_ignore VALUES ('t', true)", tables=["dolt_ignore"])
    write(dolt, "UPDATE t SET v = 'x' WHERE id = 'a'")
    assert dolt.dirty() == {"t"}


def test_ignored_tables_are_per_branch(dolt):
    make(dolt)
    branch(dolt, "side")
    with pytest.raises(NoSuchTable):
        ignored(dolt)


@pytest.mark.parametrize("name", ["dolt_watch", "dolt_cursor", "DOLT_x"])
def test_names_that_begin_with_dolt_are_reserved(engine, name):
    with pytest.raises(DatabaseError, match="reserved"):
        engine.execute_ddl(f"CREATE TABLE {name} (id int PRIMARY KEY)")


def test_columns(engine):
    make(engine)
    assert list(engine.columns("t")) == ["id", "v", "w"]
    assert engine.columns("t")["v"] == "text"
    engine.execute_ddl("ALTER TABLE t ADD COLUMN extra int")
    assert list(engine.columns("t")) == ["id", "v", "w", "extra"]
    assert engine.columns("nowhere") == {}
    with pytest.raises(ValueError, match="name"):
        engine.columns("t`; DROP TABLE t")


def diverge(engine, ours: str, theirs: str) -> None:
    """Create a branch ``side``, and make one commit on it and one on ``main``."""
    make(engine)
    branch(engine, "side")
    commit(engine, theirs)
    checkout(engine, "main")
    commit(engine, ours)


def test_no_merge_stands(engine):
    make(engine)
    assert not engine.has_unfinished_merge()
    write(engine, "UPDATE t SET v = 'x'")
    assert not engine.has_unfinished_merge()


def test_a_finished_merge_does_not_stand(engine):
    diverge(
        engine, "UPDATE t SET v = 'ours' WHERE id = 'a'", "UPDATE t SET v = 'side' WHERE id = 'b'"
    )
    call(engine, "dolt_merge", "side")
    assert not engine.has_unfinished_merge()


def test_a_merge_without_its_commit_stands(dolt_factory):
    """Another connection sees the merge, also inside a transaction."""
    person, watcher = dolt_factory(), dolt_factory()
    diverge(
        person, "UPDATE t SET v = 'ours' WHERE id = 'a'", "UPDATE t SET v = 'side' WHERE id = 'b'"
    )
    person.query("CALL DOLT_MERGE('side', '--no-ff', '--no-commit')")
    assert watcher.has_unfinished_merge()
    with watcher.transaction():
        assert watcher.has_unfinished_merge()
    person.query("CALL DOLT_MERGE('--abort')")
    assert not watcher.has_unfinished_merge()


def test_a_commit_of_ours_would_become_the_persons_merge(dolt_factory):
    """For this reason, nothing is committed during a merge."""
    person, watcher = dolt_factory(), dolt_factory()
    diverge(
        person, "UPDATE t SET v = 'ours' WHERE id = 'a'", "UPDATE t SET v = 'side' WHERE id = 'b'"
    )
    before = head(watcher)
    person.query("CALL DOLT_MERGE('side', '--no-ff', '--no-commit')")
    made = watcher.commit_of(commit(watcher, "INSERT INTO t (id, v) VALUES ('c', 'watcher')"))
    assert made.parents[0] == before
    assert len(made.parents) == 2


def test_conflicts_stand(dolt_factory):
    person, watcher = dolt_factory(), dolt_factory()
    diverge(
        person, "UPDATE t SET v = 'ours' WHERE id = 'a'", "UPDATE t SET v = 'side' WHERE id = 'a'"
    )
    for setting in ("@@dolt_allow_commit_conflicts", "@@autocommit"):
        person.query(f"SET {setting} = 1")
    person.query("CALL DOLT_MERGE('side')")
    assert watcher.has_unfinished_merge()
    with pytest.raises(DoltWatchError):
        commit(watcher, "INSERT INTO t (id, v) VALUES ('c', 'watcher')")


def test_conflicts_in_a_doltlite_transaction(doltlite):
    """DoltLite shows conflicts inside a transaction, and never outside of it."""
    diverge(
        doltlite, "UPDATE t SET v = 'ours' WHERE id = 'a'", "UPDATE t SET v = 'side' WHERE id = 'a'"
    )
    with pytest.raises(DatabaseError, match="conflicts"):
        call(doltlite, "dolt_merge", "side")
    assert not doltlite.has_unfinished_merge()
    with doltlite.transaction():
        with contextlib.suppress(DatabaseError):
            call(doltlite, "dolt_merge", "side")
        assert doltlite.has_unfinished_merge()
    assert not doltlite.has_unfinished_merge()


def test_amending_is_possible_so_append_only_is_a_convention(dolt):
    made = make(dolt)
    dolt.query("CALL DOLT_COMMIT('--amend', '-m', 'else', '--author', ?)", (ME,))
    assert head(dolt) != made


def test_local_tables_are_ignored_where_nothing_was_before(beads_engine):
    """Dolt 1.86.4 loses the first INSERT IGNORE into a dolt_ignore that doesn't exist yet.

    bd creates this table, but a tracker may lack it.
    """
    list(migrate(beads_engine, "me <me@x>"))
    assert beads_engine.dirty() == frozenset()
