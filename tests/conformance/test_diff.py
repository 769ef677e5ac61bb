"""Row changes over edges of history, between any two commits."""

from __future__ import annotations

import pytest

from dolt_watch.engines import WORKING, Edge
from dolt_watch.errors import NoSuchTable, SchemaChanged, UnknownCommit
from tests.conformance.tables import branch, chain, checkout, commit, diff, head, make, write
from tests.support.servers import call


@pytest.fixture(params=["parents known", "parents unknown"])
def known(request, engine):
    """Return a function that makes the parents of commits known to the engine, or does nothing.

    ``commits`` reads the parents, and the server's engine uses them.
    """

    def tell(since: str, until: str) -> None:
        if request.param == "parents known":
            list(engine.commits(since, until))

    return tell


def rows(engine, *edges, table="t"):
    return [row for _, row in diff(engine, *edges, table=table)]


def test_added_modified_removed(engine, known):
    first = make(engine)
    second = commit(
        engine,
        "INSERT INTO t (id, v) VALUES ('c', 'new')",
        "UPDATE t SET v = '2' WHERE id = 'a'",
        "DELETE FROM t WHERE id = 'b'",
    )
    known(first, second)
    assert rows(engine, Edge(first, second)) == [
        ("modified", "a", "1", "2"),
        ("removed", "b", "1", None),
        ("added", "c", None, "new"),
    ]


def test_edges_come_grouped_in_the_order_asked(engine, known):
    made = [make(engine)]
    made += [commit(engine, f"UPDATE t SET v = '{n}'") for n in range(2, 6)]
    known(made[0], made[-1])
    edges = chain(*made)
    assert diff(engine, *edges) == [
        (edge, ("modified", key, str(n), str(n + 1)))
        for n, edge in enumerate(edges, 1)
        for key in ("a", "b")
    ]
    assert [edge for edge, _ in diff(engine, *reversed(edges))] == [
        edge for edge in reversed(edges) for _ in "ab"
    ]
    assert diff(engine) == []


def test_a_commit_that_left_the_table_alone(engine, known):
    first = make(engine)
    engine.execute_ddl("CREATE TABLE other (id int PRIMARY KEY, v int)")
    second = commit(engine, "INSERT INTO other VALUES (1, 1)", tables=["other"])
    third = commit(engine, "UPDATE t SET v = '2' WHERE id = 'a'")
    known(first, third)
    assert diff(engine, *chain(first, second, third)) == [
        (Edge(second, third), ("modified", "a", "1", "2"))
    ]
    assert diff(engine, Edge(first, second)) == []


def test_a_jump_is_the_net_change(engine, known):
    first = make(engine)
    commit(engine, "UPDATE t SET v = '2'")
    commit(engine, "UPDATE t SET v = '1' WHERE id = 'b'")
    last = commit(engine, "INSERT INTO t (id, v) VALUES ('c', 'x')")
    known(first, last)
    edge = Edge(first, last)
    assert diff(engine, edge) == [
        (edge, ("modified", "a", "1", "2")),
        (edge, ("added", "c", None, "x")),
    ]
    assert rows(engine, Edge(last, first)) == [
        ("modified", "a", "2", "1"),
        ("removed", "c", "x", None),
    ], "backwards too"
    assert rows(engine, Edge(first, first)) == []


def test_a_jump_among_steps(engine, known):
    made = [
        make(engine),
        *(commit(engine, f"UPDATE t SET v = '{n}' WHERE id = 'a'") for n in (2, 3, 4)),
    ]
    known(made[0], made[-1])
    edges = [Edge(made[0], made[1]), Edge(made[1], made[3]), Edge(made[0], made[3])]
    assert [(row[2], row[3]) for row in rows(engine, *edges)] == [
        ("1", "2"),
        ("2", "4"),
        ("1", "4"),
    ]


def test_a_merge_by_either_parent(engine, known):
    """The edge from the first parent has the side's rows, and the other edge has main's rows."""
    base = make(engine)
    branch(engine, "side")
    side = commit(engine, "UPDATE t SET v = 'side' WHERE id = 'b'")
    checkout(engine, "main")
    ours = commit(engine, "UPDATE t SET v = 'ours' WHERE id = 'a'")
    call(engine, "dolt_merge", "side")
    merge = head(engine)
    known(base, merge)
    assert rows(engine, Edge(ours, merge)) == [("modified", "b", "1", "side")]
    assert rows(engine, Edge(side, merge)) == [("modified", "a", "1", "ours")]
    assert [row[3] for row in rows(engine, *chain(base, side, merge))] == ["side", "ours"]
    assert [row[3] for row in rows(engine, *chain(base, ours, merge))] == ["ours", "side"]


def test_a_table_made_later(engine, known):
    first = make(engine)
    second = commit(engine, "UPDATE t SET v = '2' WHERE id = 'a'")
    engine.execute_ddl("CREATE TABLE later (id int PRIMARY KEY, v text)")
    third = commit(engine, "INSERT INTO later VALUES (1, 'x')", tables=["later"])
    known(first, third)
    assert rows(engine, *chain(first, second, third), table="later") == [("added", 1, None, "x")]
    assert rows(engine, Edge(first, second), table="later") == [], "neither commit has it"
    assert rows(engine, Edge(first, third), table="later") == [("added", 1, None, "x")]


def test_the_first_commit_after_the_root(engine):
    engine.execute_ddl("CREATE TABLE t (id int PRIMARY KEY, v text)")
    made = commit(engine, "INSERT INTO t VALUES (1, 'x')")
    *_, root = engine.commits(None, made)
    assert rows(engine, Edge(root.hash, made)) == [("added", 1, None, "x")]


def test_a_root_has_no_parent_to_come_from(engine):
    made = make(engine)
    *_, root = engine.commits(None, made)
    with pytest.raises(UnknownCommit):
        diff(engine, Edge("", root.hash))


def test_uncommitted_rows(engine):
    made = make(engine)
    assert rows(engine, Edge(made, WORKING)) == []
    write(engine, "UPDATE t SET v = 'draft' WHERE id = 'a'")
    assert engine.dirty() == {"t"}
    edge = Edge(made, WORKING)
    assert diff(engine, edge) == [(edge, ("modified", "a", "1", "draft"))]
    second = commit(engine, "UPDATE t SET v = 'more' WHERE id = 'b'")
    write(engine, "DELETE FROM t WHERE id = 'a'")
    assert rows(engine, Edge(made, second), Edge(second, WORKING)) == [
        ("modified", "a", "1", "draft"),
        ("modified", "b", "1", "more"),
        ("removed", "a", "draft", None),
    ]


def test_unknown_hash(engine, known):
    made = make(engine)
    later = commit(engine, "UPDATE t SET v = '2'")
    known(made, later)
    nowhere = "0" * len(made)
    for edge in (Edge(nowhere, later), Edge(made, nowhere), Edge("HEAD", later)):
        with pytest.raises(UnknownCommit):
            diff(engine, edge)


def test_no_such_table(engine, known):
    made = make(engine)
    later = commit(engine, "UPDATE t SET v = '2'")
    known(made, later)
    with pytest.raises(NoSuchTable) as error:
        diff(engine, Edge(made, later), table="nowhere")
    assert error.value.table == "nowhere"
    with pytest.raises(ValueError, match="name"):
        diff(engine, Edge(made, later), table="t; DROP TABLE t")


def test_commits_that_head_does_not_reach(engine, known):
    """A diff exists after a rewrite, while the old commits still resolve.

    dolt_diff_<table> returns nothing for these commits, but DOLT_DIFF does.
    """
    first = make(engine)
    old = commit(engine, "UPDATE t SET v = 'old' WHERE id = 'a'")
    known(first, old)
    call(engine, "dolt_reset", "--hard", first)
    new = commit(engine, "UPDATE t SET v = 'new' WHERE id = 'a'")
    assert rows(engine, Edge(first, old)) == [("modified", "a", "1", "old")]
    assert rows(engine, Edge(old, new)) == [("modified", "a", "old", "new")]


def test_a_column_added_since(engine, known):
    """The column is NULL at older commits, over steps and over jumps."""
    first = make(engine)
    second = commit(engine, "UPDATE t SET v = '2' WHERE id = 'a'")
    engine.execute_ddl("ALTER TABLE t ADD COLUMN extra int")
    third = commit(engine)
    fourth = commit(engine, "UPDATE t SET extra = 7 WHERE id = 'a'")
    known(first, fourth)
    columns = {"id": "to_id", "before": "from_extra", "after": "to_extra"}
    steps = list(engine.diff("t", chain(first, second, third, fourth), columns))
    assert steps == [
        (Edge(first, second), ("a", None, None)),
        (Edge(third, fourth), ("a", None, 7)),
    ]
    assert list(engine.diff("t", [Edge(first, fourth)], columns)) == [
        (Edge(first, fourth), ("a", None, 7))
    ]
    assert list(engine.diff("t", [Edge(first, third)], columns)) == [
        (Edge(first, third), ("a", None, None))
    ]


def test_a_column_that_is_not_there(engine, known):
    first = make(engine)
    second = commit(engine, "UPDATE t SET v = '2' WHERE id = 'a'")
    known(first, second)
    with pytest.raises(SchemaChanged, match="nothing_like_it"):
        list(engine.diff("t", [Edge(first, second)], {"x": "to_nothing_like_it"}))


def test_values_are_expressions_of_the_engines_dialect(engine):
    first = make(engine)
    second = commit(engine, "UPDATE t SET v = '100%?' WHERE id = 'a'")
    columns = {"matches": "to_v = '100%?' AND from_v = '1'", "kind": "diff_type"}
    assert list(engine.diff("t", [Edge(first, second)], columns)) == [
        (Edge(first, second), (1, "modified"))
    ]
    assert list(engine.diff("t", [Edge(first, second)], {})) == [(Edge(first, second), ())]


@pytest.mark.parametrize("piece", [3, 5, 100])
def test_more_edges_than_one_query_takes(engine, monkeypatch, piece):
    """Several queries return the same changes in the same order as one.

    The commits have one row, two, many or none. A column is added later, and each commit also
    changes another table.
    """
    for name, value in (("BATCH_EDGES", piece), ("MAX_LISTED", 3)):
        monkeypatch.setattr(f"dolt_watch.engines.dolt.diff_reader.{name}", value)
    made, expected = [make(engine)], []
    engine.execute_ddl("CREATE TABLE other (id int PRIMARY KEY)")
    for n in range(2, 20):
        ids = [["a"], ["a", "b"], [], [f"{n}-{m}" for m in range(7)]][n % 4]
        made.append(
            commit(
                engine,
                f"INSERT INTO other VALUES ({n})",
                *(f"REPLACE INTO t (id, v) VALUES ('{id}', '{n}')" for id in ids),
                tables=("t", "other"),
            )
        )
        expected += [(made[-1], id, str(n)) for id in ids]
        if n == 11:
            engine.execute_ddl("ALTER TABLE t ADD COLUMN later text")
            made.append(commit(engine))
    list(engine.commits(made[0], made[-1]))
    steps = chain(*made)
    found = [(edge.commit, row[1], row[3]) for edge, row in diff(engine, *steps)]
    assert sorted(found) == sorted(expected)
    assert [commit for commit, *_ in found] == [commit for commit, *_ in expected]
    changed = set(commit for commit, *_ in expected)
    only = [edge for edge in steps if edge.commit in changed]
    assert [(edge.commit, row[1], row[3]) for edge, row in diff(engine, *only)] == found
    columns = {"id": "to_id", "later": "to_later"}
    assert [(edge.commit, row) for edge, row in engine.diff("t", steps, columns)] == [
        (commit, (id, None)) for commit, id, _ in found
    ]


def test_other_queries_while_a_diff_is_read(engine):
    first = make(engine)
    second = commit(engine, "UPDATE t SET v = '2'")
    for edge, _ in engine.diff("t", iter([Edge(first, second)]), {"id": "to_id"}):
        assert engine.is_ancestor(edge.parent, edge.commit)
