"""Commits, their parents and their ancestors."""

from __future__ import annotations

from datetime import UTC, timedelta

import pytest

from dolt_watch.errors import UnknownCommit
from dolt_watch.timestamps import LATEST, to_utc
from tests.conformance.tables import branch, checkout, commit, head, make
from tests.support.servers import call, message


@pytest.fixture
def line(engine):
    """Return the commits of make → one → two → three."""
    first = make(engine)
    return [
        first,
        *(
            commit(engine, f"UPDATE t SET v = '{n}x' WHERE id = 'a'", message=f"c{n}")
            for n in range(3)
        ),
    ]


@pytest.fixture
def merged(engine):
    """Return base, main, side and their merge (parents: main, side)."""
    base = make(engine)
    branch(engine, "side")
    side = commit(engine, "UPDATE t SET v = 'side' WHERE id = 'b'", message="side")
    checkout(engine, "main")
    ours = commit(engine, "UPDATE t SET v = 'ours' WHERE id = 'a'", message="ours")
    call(engine, "dolt_merge", "side")
    return base, ours, side, head(engine)


def unknown(hash_: str) -> str:
    """Return a hash of the right length that no history contains."""
    return "0" * len(hash_)


def test_the_newest_so_many_of_a_range(engine, line):
    assert [each.hash for each in engine.commits(line[0], line[3], 2)] == [line[3], line[2]]
    assert [each.hash for each in engine.commits(line[0], line[3], 9)] == [
        line[3],
        line[2],
        line[1],
    ]


def test_a_range_newest_first(engine, line):
    found = list(engine.commits(line[0], line[3]))
    assert [c.hash for c in found] == [line[3], line[2], line[1]]
    assert [c.parents for c in found] == [(line[2],), (line[1],), (line[0],)]
    assert [message(engine, c.hash) for c in found] == ["c2", "c1", "c0"]
    assert {c.author for c in found} == {"watcher"}


def test_dates_are_utc_and_now(engine, line):
    clock = to_utc(engine.query("SELECT UTC_TIMESTAMP(6)")[0][0])
    for made in engine.commits(line[0], line[3]):
        assert made.date.tzinfo is UTC
        assert abs(clock - made.date) < timedelta(seconds=30)


def test_a_date_that_nobody_can_mean_is_cut(engine, line):
    """The committer can choose any date. Arithmetic with the date must not end a tick."""
    call(engine, "dolt_commit", "--allow-empty", "-m", "late", "--date", "9999-12-31T23:59:59Z")
    [made] = engine.commits(line[3], head(engine))
    assert made.date == engine.commit_of(head(engine)).date == LATEST


def test_all_of_history_ends_at_a_root(engine, line):
    found = list(engine.commits(None, line[3]))
    assert found[-1].parents == ()
    assert [c.hash for c in found[:4]] == line[::-1]


def test_an_empty_range(engine, line):
    assert list(engine.commits(line[3], line[3])) == []
    assert list(engine.commits(line[3], line[0])) == []


def test_a_merge_has_two_parents_in_order(engine, merged):
    base, ours, side, merge = merged
    found = list(engine.commits(base, merge))
    assert {c.hash for c in found} == {ours, side, merge}
    assert found[0].hash == merge, "children before parents"
    assert found[0].parents == (ours, side)
    assert [c.hash for c in engine.commits(ours, merge)] == [merge, side]
    assert engine.commit_of(merge).parents == (ours, side)


def test_other_queries_while_commits_are_read(engine, line):
    for made in engine.commits(line[0], line[3]):
        assert engine.commit_of(made.hash) == made


@pytest.mark.parametrize("which", ["since", "until"])
def test_commits_of_an_unknown_hash(engine, line, which):
    ends = {"since": line[0], "until": line[3], which: unknown(line[0])}
    with pytest.raises(UnknownCommit):
        list(engine.commits(**ends))


@pytest.mark.parametrize("bad", ["", "HEAD", "main", "x'); DROP TABLE t; --", "0" * 31])
def test_only_full_hashes_name_commits(engine, line, bad):
    with pytest.raises(UnknownCommit):
        engine.commits(line[0], bad)
    with pytest.raises(UnknownCommit):
        engine.changed_tables(bad, line[3])
    assert engine.commit_of(bad) is None
    assert engine.is_ancestor(bad, line[3]) is False


def test_commit_of(engine, line):
    assert engine.commit_of(line[1]).parents == (line[0],)
    assert engine.commit_of(unknown(line[1])) is None


def test_is_ancestor(engine, line):
    assert engine.is_ancestor(line[0], line[3])
    assert engine.is_ancestor(line[3], line[3])
    assert not engine.is_ancestor(line[3], line[0])
    assert not engine.is_ancestor(unknown(line[0]), line[3])
    assert not engine.is_ancestor(line[0], unknown(line[0]))
    assert not engine.is_ancestor(unknown(line[0]), unknown(line[0]))


def test_is_ancestor_of_a_root(engine, line):
    """In Dolt 1.86.4, HAS_ANCESTOR of a root commit dereferences a nil pointer in the server."""
    *_, root = engine.commits(None, line[3])
    assert not engine.is_ancestor(line[0], root.hash)
    assert engine.is_ancestor(root.hash, root.hash)
    assert engine.is_ancestor(root.hash, line[3])


def test_is_ancestor_over_merges(engine, merged):
    base, ours, side, merge = merged
    assert engine.is_ancestor(side, merge)
    assert engine.is_ancestor(ours, merge)
    assert engine.is_ancestor(base, side)
    assert not engine.is_ancestor(side, ours)


def test_a_rewritten_history_is_told_by_ancestry_not_by_resolving(engine, line):
    """The old hash can still resolve after a rewrite."""
    call(engine, "dolt_reset", "--hard", line[0])
    new = commit(engine, "UPDATE t SET v = 'else' WHERE id = 'a'", message="else")
    assert not engine.is_ancestor(line[3], new)
    assert engine.is_ancestor(line[0], new)


def test_changed_tables(engine, line):
    assert engine.changed_tables(line[0], line[3]) == {"t"}
    assert engine.changed_tables(line[3], line[3]) == frozenset()
    engine.execute_ddl("CREATE TABLE empty_one (id int PRIMARY KEY)")
    engine.execute_ddl("CREATE TABLE full_one (id int PRIMARY KEY)")
    after = commit(engine, "INSERT INTO full_one VALUES (1)", tables=["empty_one", "full_one"])
    assert engine.changed_tables(line[3], after) == {"full_one"}, (
        "a table without rows has no data that differ"
    )
    assert engine.changed_tables(line[0], after) == {"t", "full_one"}
    with pytest.raises(UnknownCommit):
        engine.changed_tables(unknown(after), after)


def test_a_dropped_table_changed(engine, line):
    engine.execute_ddl("DROP TABLE t")
    after = commit(engine, tables=["t"])
    assert engine.changed_tables(line[3], after) == {"t"}


def test_branch(engine, line):
    assert engine.branch() == "main"
    branch(engine, "side")
    assert engine.branch() == "side"


def test_a_commit_of_another_branch_is_found_but_no_ancestor(engine, merged):
    side = merged[2]
    checkout(engine, "side")
    elsewhere = commit(engine, "UPDATE t SET v = 'more' WHERE id = 'b'")
    checkout(engine, "main")
    assert engine.commit_of(elsewhere).parents == (side,)
    assert not engine.is_ancestor(elsewhere, head(engine))
