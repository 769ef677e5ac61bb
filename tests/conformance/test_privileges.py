"""The minimal privileges of dolt_watch's user on a server, and the statements they forbid."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dolt_watch.beads.leases import read_leases
from dolt_watch.beads.schema import tracker_schema
from dolt_watch.engines import WORKING, Edge
from dolt_watch.engines.connect import open_engine
from dolt_watch.engines.dolt.connection import DoltConnection
from dolt_watch.errors import AccessDenied
from tests.conformance.tables import ME, chain, commit, head, write
from tests.support.beads import SHAPES, create_beads

GRANTS = (
    "SELECT ON `{db}`.*",
    "UPDATE ON `{db}`.issues",
    "INSERT ON `{db}`.events",
    "INSERT ON `{db}`.watch_decision",
    "INSERT, UPDATE, DELETE ON `{db}`.watch_cursor",
    "EXECUTE ON PROCEDURE `{db}`.dolt_add",
    "EXECUTE ON PROCEDURE `{db}`.dolt_commit",
)
BEAD = (
    "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes) VALUES"
    " ('bd-1', 'T', '', '', '', '')"
)


@pytest.fixture(params=SHAPES)
def limited(request, dolt_server, dolt_address, dolt):
    """Yield an engine of a user with minimal privileges, in each shape of beads' tables."""
    create_beads(dolt, request.param)
    write(dolt, "INSERT INTO dolt_ignore VALUES ('watch_cursor', true)")
    commit(dolt, tables=["dolt_ignore"])
    dolt.execute_ddl("CREATE TABLE watch_cursor (id int PRIMARY KEY, fence varchar(40))")
    dolt.execute_ddl(
        "CREATE TABLE watch_decision (bead_id varchar(255), version int, token varchar(40), PRIMARY"
        " KEY (bead_id, version))"
    )
    commit(
        dolt, BEAD, "INSERT INTO watch_cursor VALUES (1, 'a')", tables=["issues", "watch_decision"]
    )
    user = f"u_{dolt_address.database}"
    dolt_server.sql(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'hunter2'")
    dolt_server.sql(
        *(f"GRANT {grant.format(db=dolt_address.database)} TO '{user}'@'%'" for grant in GRANTS)
    )
    engine = open_engine(replace(dolt_address, user=user, password="hunter2"))
    yield engine
    engine.close()
    dolt_server.sql(f"DROP USER '{user}'@'%'")


def test_it_can_read_a_long_piece_of_history(limited, monkeypatch):
    """The user can read in the database at a commit, which needs only the database's privilege."""
    made = [head(limited)]
    for n in range(6):
        with limited.transaction() as tx:
            tx.execute("UPDATE issues SET status = ? WHERE id = 'bd-1'", (f"s{n}",))
            made.append(tx.dolt_commit(["issues"], "m", ME))
    list(limited.commits(made[0], made[-1]))
    asked = []
    plain = DoltConnection.send
    monkeypatch.setattr(
        DoltConnection,
        "send",
        lambda link, sql, *rest, **how: asked.append(sql) or plain(link, sql, *rest, **how),
    )
    found = limited.diff("issues", chain(*made), {"s": "to_status"}, made[-1])
    assert [row for _, row in found] == [(f"s{n}",) for n in range(6)]
    assert len(asked) == 1 and f"{made[-1]}`.`dolt_diff_issues`" in asked[0]


def test_it_can_do_all_that_the_loop_does(limited):
    before = head(limited)
    with limited.transaction() as tx:
        assert tx.execute("UPDATE watch_cursor SET fence = 'b' WHERE fence = 'a'") == 1
        assert tx.execute("UPDATE issues SET status = 'in_progress' WHERE id = 'bd-1'") == 1
        tx.execute(
            "INSERT INTO events (id, issue_id, event_type, actor) VALUES ('e', 'bd-1', 'updated',"
            " 'w')"
        )
        tx.execute("INSERT INTO watch_decision VALUES ('bd-1', 1, 'token')")
        shape = tracker_schema(limited)
        beads = [table for table in ("issues", "events") if table not in shape.unversioned]
        assert read_leases(tx.query, shape, ["bd-1"]) == {}
        after = tx.dolt_commit([*beads, "watch_decision"], "m", ME)
    edge = Edge(before, after)
    assert [made.hash for made in limited.commits(before, after)] == [after]
    assert list(limited.diff("issues", [edge], {"s": "to_status"})) == [(edge, ("in_progress",))]
    assert list(limited.diff("issues", [Edge(after, WORKING)], {"s": "to_status"})) == []
    assert limited.changed_tables(before, after) == {*beads, "watch_decision"}
    assert limited.is_ancestor(before, after)
    assert limited.commit_of(after).author == "watcher"
    assert (limited.dirty(), limited.has_unfinished_merge(), limited.branch()) == (
        frozenset(),
        False,
        "main",
    )
    assert "status" in limited.columns("issues")
    assert limited.query("SELECT DOLT_HASHOF_TABLE('issues'), fence FROM watch_cursor")[0][1] == "b"


@pytest.mark.covering
@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM issues",
        "INSERT INTO issues (id) VALUES ('x')",
        "UPDATE watch_decision SET token = 'x'",
        "DELETE FROM watch_decision",
        "UPDATE events SET actor = 'x'",
        "CALL DOLT_RESET('--hard', 'HEAD~1')",
        "CALL DOLT_GC()",
        "DROP TABLE issues",
        "CREATE TABLE watch_x (id int PRIMARY KEY)",
        "SELECT * FROM mysql.user",
    ],
)
def test_it_cannot(limited, sql):
    before = head(limited)
    with pytest.raises(AccessDenied):
        limited.execute_ddl(sql)
    assert (head(limited), limited.dirty()) == (before, frozenset())
