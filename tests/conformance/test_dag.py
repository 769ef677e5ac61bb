"""Diffs over histories with branches and merges.

``Engine.diff`` must return the changes that Dolt's dolt_diff_<table> loses.
"""

from __future__ import annotations

import random

import pytest

from dolt_watch.engines import Edge
from dolt_watch.engines.dolt.diff_reader import linear_edges
from tests.conformance.tables import branch, chain, checkout, commit, diff, head, make, write
from tests.support.matrix import chosen
from tests.support.servers import call

pytestmark = pytest.mark.covering


def add(engine, key: str, value: str = "x") -> str:
    return commit(engine, f"INSERT INTO t (id, v) VALUES ('{key}', '{value}')", message=key)


def merge(engine, name: str) -> str:
    call(engine, "dolt_merge", name, "--no-ff", "-m", f"merge {name}")
    return head(engine)


def contents(engine, commit_: str) -> dict[str, str]:
    return dict(engine.query(f"SELECT id, v FROM t AS OF '{commit_}'"))


def expected(engine, edge: Edge) -> list[tuple]:
    """Return the changes of an edge by comparing whole tables, which is slow but correct."""
    old, new = contents(engine, edge.parent), contents(engine, edge.commit)
    kinds = {(False, True): "added", (True, False): "removed", (True, True): "modified"}
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return [(kinds[key in old, key in new], key, old.get(key), new.get(key)) for key in keys]


def check(engine, edges: list[Edge]) -> None:
    found = diff(engine, *edges)
    for edge in edges:
        assert sorted((row for e, row in found if e == edge), key=lambda row: row[1]) == expected(
            engine, edge
        )
    order = [edge for edge in edges if expected(engine, edge)]
    assert list(dict.fromkeys(edge for edge, _ in found)) == order


def test_two_children_of_one_commit_in_one_query(engine):
    """Dolt alone returns one of the two edges twice and the other one not at all."""
    base = make(engine)
    branch(engine, "side")
    side = [add(engine, f"s{n}") for n in range(3)]
    checkout(engine, "main")
    ours = [add(engine, f"o{n}") for n in range(3)]
    last = merge(engine, "side")
    list(engine.commits(base, last))
    check(
        engine,
        [*chain(base, *ours), *chain(base, *side), Edge(ours[-1], last), Edge(side[-1], last)],
    )
    check(engine, chain(base, *ours, last))
    check(engine, chain(base, *side, last))


def test_a_merge_without_fast_forward(engine):
    """Dolt alone loses an edge, even of this one commit.

    The side's parent is the other parent of the merge.
    """
    base = make(engine)
    branch(engine, "side")
    side = [add(engine, f"s{n}") for n in range(3)]
    checkout(engine, "main")
    last = merge(engine, "side")
    after = [add(engine, f"o{n}") for n in range(3)]
    list(engine.commits(base, after[-1]))
    check(engine, chain(base, last, *after))
    check(engine, chain(base, *side, last, *after))


def test_a_merge_of_a_side_that_left_the_table_alone(engine):
    """Dolt alone loses the edge next to the merge, and its result doesn't show the loss."""
    base = make(engine)
    engine.execute_ddl("CREATE TABLE other (id int PRIMARY KEY)")
    base = commit(engine, tables=("other",))
    branch(engine, "side")
    commit(engine, "INSERT INTO other VALUES (1)", tables=("other",))
    checkout(engine, "main")
    ours = [add(engine, f"o{n}") for n in range(3)]
    last = [merge(engine, "side"), *(add(engine, f"l{n}") for n in range(3))]
    list(engine.commits(base, last[-1]))
    check(engine, chain(base, *ours, *last))


def test_a_side_that_began_before_the_cursor(engine):
    base = make(engine)
    branch(engine, "side")
    side = [add(engine, f"s{n}") for n in range(3)]
    checkout(engine, "main")
    cursor = add(engine, "cursor")
    ours = [add(engine, f"o{n}") for n in range(3)]
    last = [merge(engine, "side"), *(add(engine, f"l{n}") for n in range(3))]
    list(engine.commits(cursor, last[-1]))
    check(engine, chain(cursor, *ours, *last))
    check(engine, [*chain(base, *side), *chain(cursor, *ours, *last), Edge(base, cursor)])


@pytest.mark.parametrize("seed", chosen(range(6), lambda seed: seed < 2))
def test_random_histories(engine, seed):
    """Each edge of a random history has the changes that a comparison of whole tables finds.

    The history has branches and merges. Its edges are read in order and in random order.
    """
    rng = random.Random(seed)
    base = make(engine)
    names = ["main"]
    for step in range(24):
        checkout(engine, rng.choice(names))
        kind = rng.random()
        if kind < 0.2 and len(names) < 4:
            names.append(f"b{step}")
            branch(engine, names[-1])
        elif kind < 0.4 and len(names) > 1:
            other = rng.choice([name for name in names if name != engine.branch()])
            if not engine.is_ancestor(tip(engine, other), head(engine)):
                merge(engine, other)
        else:
            add(engine, f"k{step}")
    checkout(engine, "main")
    for name in names[1:]:
        if not engine.is_ancestor(tip(engine, name), head(engine)):
            merge(engine, name)
    until = head(engine)
    known = list(engine.commits(base, until))
    edges = [Edge(parent, made.hash) for made in known for parent in made.parents]
    for _ in range(2):
        check(engine, edges)
        rng.shuffle(edges)
    check(engine, edges[::-1])
    for since in rng.sample(known, 4):
        known_now = list(engine.commits(since.hash, until))
        check(
            engine,
            [Edge(parent, made.hash) for made in reversed(known_now) for parent in made.parents],
        )
        check(engine, [Edge(made.parents[0], made.hash) for made in reversed(known_now)])


def tip(engine, name: str) -> str:
    if engine.name == "dolt":
        return engine.query(f"SELECT HASHOF('{name}')")[0][0]
    return engine.execute_sqlite("SELECT dolt_hashof(?)", (name,))[0][0][0]


@pytest.mark.parametrize("seed", range(3))
def test_no_edge_that_touches_a_table_is_left_out(engine, seed):
    """Each edge of a random line that changes a table is returned.

    The line has rows from merges, rows of another table, and a table that is dropped and recreated.
    """
    rng = random.Random(seed)
    base = make(engine)
    engine.execute_ddl("CREATE TABLE other (id varchar(20) PRIMARY KEY)")
    line = [base, commit(engine, tables=["other"])]
    for step in range(16):
        match rng.choice(["t", "other", "other", "merge", "drop"]):
            case "t":
                line.append(add(engine, f"k{step}"))
            case "other":
                line.append(
                    commit(engine, f"INSERT INTO other VALUES ('k{step}')", tables=["other"])
                )
            case "merge":
                branch(engine, f"b{step}")
                add(engine, f"s{step}")
                checkout(engine, "main")
                line += [
                    commit(engine, f"INSERT INTO other VALUES ('m{step}')", tables=["other"]),
                    merge(engine, f"b{step}"),
                ]
            case "drop":
                engine.execute_ddl("DROP TABLE t")
                line.append(commit(engine, tables=["t"]))
                engine.execute_ddl("CREATE TABLE t (id varchar(20) PRIMARY KEY, v text, w text)")
                line.append(commit(engine, f"INSERT INTO t (id) VALUES ('d{step}')"))
    list(engine.commits(base, line[-1]))
    edges = chain(*line)
    touched = engine.filter_changed_edges(("t",), edges)
    assert list(touched) == [edge for edge in edges if edge in set(touched)], "in their order"
    differ = [edge for edge in edges if "t" in engine.changed_tables(edge.parent, edge.commit)]
    assert set(differ) <= set(touched)
    if engine.name == "dolt":
        merges = {made.hash for made in engine.commits(base, line[-1]) if len(made.parents) > 1}
        assert {edge for edge in touched if edge.commit not in merges} <= set(differ), (
            "it leaves out what it can"
        )
    assert set(engine.filter_changed_edges(("t",), edges[::2])) >= set(differ) & set(edges[::2]), (
        "no chain"
    )
    assert list(engine.filter_changed_edges(("t",), [])) == []


def test_what_dolt_itself_loses(dolt):
    """The edges are sorted beforehand, because Dolt loses one.

    If this test fails, Dolt has fixed it.
    """
    base = make(dolt)
    branch(dolt, "side")
    side = add(dolt, "s")
    checkout(dolt, "main")
    ours = add(dolt, "o")
    sql = f"SELECT from_commit, to_commit FROM dolt_diff_t WHERE to_commit IN ('{side}', '{ours}')"
    checkout(dolt, "main")
    merge(dolt, "side")
    assert len(set(dolt.query(sql))) == 1
    assert len(diff(dolt, Edge(base, side), Edge(base, ours))) == 2


def test_a_primary_key_that_changed_ends_the_fast_way(dolt):
    """No edge after a change of the primary key is lost.

    dolt_diff_<table> stops at the change with a warning. DOLT_DIFF continues.
    """
    first = make(dolt)
    before = [add(dolt, f"b{n}") for n in range(3)]
    write(dolt, "UPDATE t SET w = ''")
    dolt.execute_ddl("ALTER TABLE t MODIFY w varchar(20) NOT NULL DEFAULT ''")
    dolt.execute_ddl("ALTER TABLE t DROP PRIMARY KEY")
    dolt.execute_ddl("ALTER TABLE t ADD PRIMARY KEY (id, w)")
    changed = commit(dolt)
    after = [add(dolt, f"a{n}") for n in range(3)]
    list(dolt.commits(first, after[-1]))
    edges = [*chain(first, *before), *chain(before[-1], changed, *after)]
    found = [(edge, row[:2]) for edge, row in diff(dolt, *edges) if edge.commit != changed]
    want = [
        *zip(chain(first, *before), ["b0", "b1", "b2"], strict=True),
        *zip(chain(changed, *after), ["a0", "a1", "a2"], strict=True),
    ]
    assert found == [(edge, ("added", key)) for edge, key in want]


def test_lines():
    """Lines are read at once. Forks, merges, unknown commits and jumps aren't."""
    parents = {"b": ("a",), "c": ("b",), "m": ("c", "x"), "x": ("b",), "d": ("m",)}
    line = [Edge("a", "b"), Edge("m", "d")]
    assert linear_edges(
        [Edge("a", "b"), Edge("b", "c"), Edge("c", "m"), Edge("m", "d")], parents
    ) == [
        Edge("a", "b"),
        Edge("b", "c"),
        Edge("m", "d"),
    ]
    assert linear_edges([Edge("b", "c"), Edge("b", "x")], parents) == [], "two children"
    assert (
        linear_edges(
            [*line, Edge("b", "m"), Edge("a", "c"), Edge("d", "WORKING"), Edge("q", "r")], parents
        )
        == line
    )
    assert linear_edges([*line, *line], parents) == line
    assert linear_edges([Edge("p", "e"), Edge("q", "f")], {"e": ("p",), "f": ("q",)}) == [], (
        "two of unknown parents"
    )
    assert linear_edges([Edge("p", "e"), Edge("e", "f")], {"e": ("p",), "f": ("e",)}) == [
        Edge("p", "e"),
        Edge("e", "f"),
    ]
    merged_line = {"s": ("o",), "m": ("o", "s"), "n": ("m",), "p": ("o",)}
    assert linear_edges([Edge("m", "n"), Edge("o", "p")], merged_line) == [Edge("m", "n")], (
        "the walk of m makes m o's child"
    )
