"""beads' real tables on both engines, and a real bd on the server."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from dolt_watch.beads.schema import tracker_schema
from dolt_watch.engines import Edge
from dolt_watch.engines.connect import open_engine
from dolt_watch.engines.sql_text import split_statements
from dolt_watch.errors import BeadNotFound, Conflict
from dolt_watch.ledger.schema import migrate
from tests.conformance.tables import ME, THEM, commit, head, write
from tests.support.beads import ROOT, SHAPES, SHAPES_FOLDER, create_beads
from tests.support.servers import Source, choose_bd

TABLES = ["issues", "events", "comments", "labels", "dependencies", "metadata", "config"]
BEAD = (
    "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes) VALUES"
    " ('bd-1', 'T', '', '', '', '')"
)
EVENT = (
    "INSERT INTO events (id, issue_id, event_type, actor) VALUES ('e-1', 'bd-1', 'updated',"
    " 'watcher')"
)


@pytest.fixture
def workspace_engine(beads_workspace):
    engine = open_engine(beads_workspace.address)
    yield engine
    engine.close()


def test_our_copy_of_the_schema_is_bds_own(beads_workspace, workspace_engine, dolt):
    """The copy has bd's columns, types, defaults and keys, so that a change by bd is noticed.

    The copies are those of three releases. Another release must belong to a supported generation.
    """
    found = tracker_schema(workspace_engine)
    found.require()
    choice = choose_bd(os.environ, shutil.which)
    shape = choice.why if choice.source is Source.STANDIN else version_of(choice.why)
    if shape not in SHAPES:
        assert found.generation, f"bd {shape}: its tables are of no generation that is supported"
        return
    create_beads(dolt, shape)
    assert found.generation == tracker_schema(dolt).generation != ""
    for table in TABLES:
        ours, bds = (e.query(f"SHOW CREATE TABLE {table}") for e in (dolt, workspace_engine))
        assert ours == bds


def version_of(program: str) -> str:
    """Return the version, for example '1.0.2' of 'bd version 1.0.2 (…)'."""
    said = subprocess.run(
        [program, "version"], capture_output=True, text=True, check=True, timeout=300
    ).stdout
    return said.split()[2]


def test_the_demos_tables_are_those_of_the_newest_shape():
    demo, shape = (
        split_statements(path.read_text(encoding="utf-8"))
        for path in (
            ROOT / "dolt_watch" / "demo" / "beads.sql",
            SHAPES_FOLDER / f"{SHAPES[-1]}.sql",
        )
    )
    assert demo == shape
    assert all(text.startswith(("CREATE ", "INSERT INTO dolt_ignore")) for text in demo)


def test_the_tables_on_both_engines(beads_engine):
    assert not beads_engine.dirty()
    commit(beads_engine, BEAD, EVENT, tables=["issues", "events"])
    row = beads_engine.query(
        "SELECT status, priority, issue_type, assignee, metadata, pinned, close_reason FROM issues"
    )
    assert row == [("open", 2, "task", None, "{}", 0, "")]
    assert [name for name in beads_engine.columns("issues")][:3] == ["id", "content_hash", "title"]
    write(
        beads_engine, "INSERT INTO comments (issue_id, author, text) VALUES ('bd-1', 'p', 'hello')"
    )
    assert len(beads_engine.query("SELECT id FROM comments")[0][0]) == 36


def test_deleting_a_bead_takes_its_rows_along(beads_engine):
    commit(beads_engine, BEAD, EVENT, tables=["issues", "events"])
    write(beads_engine, "DELETE FROM issues WHERE id = 'bd-1'")
    assert beads_engine.query("SELECT * FROM events") == []


def test_an_event_of_a_bead_that_is_gone(beads_engine):
    with pytest.raises(BeadNotFound), beads_engine.transaction() as tx:
        tx.execute(EVENT)
    assert not beads_engine.dirty()


@pytest.mark.parametrize("how", ["commit", "dolt_commit"])
def test_an_event_races_the_deletion_of_its_bead(dolt_factory, how):
    mine, theirs = dolt_factory(), dolt_factory()
    create_beads(mine)
    commit(mine, BEAD, tables=["issues"])
    with pytest.raises(BeadNotFound, match="1105"), mine.transaction() as tx:
        tx.execute(EVENT)
        commit(theirs, "DELETE FROM issues WHERE id = 'bd-1'", tables=["issues"], author=THEM)
        if how == "commit":
            tx.commit()
        else:
            tx.dolt_commit(["events"], "m", ME)
    assert mine.query("SELECT * FROM events") == []
    assert not mine.dirty()
    assert not mine.has_unfinished_merge()


def test_an_update_races_the_deletion_of_its_bead(dolt_factory):
    mine, theirs = dolt_factory(), dolt_factory()
    create_beads(mine)
    commit(mine, BEAD, tables=["issues"])
    with pytest.raises(Conflict, match="1213"), mine.transaction() as tx:
        tx.execute("UPDATE issues SET status = 'in_progress' WHERE id = 'bd-1'")
        write(theirs, "DELETE FROM issues WHERE id = 'bd-1'")
        tx.commit()


def test_bd_and_we_see_each_other(beads_workspace, workspace_engine):
    before = head(workspace_engine)
    bead = beads_workspace.create("Paint it", "-a", "agent", "--acceptance", "It is red")
    after = head(workspace_engine)
    assert "issues" in workspace_engine.changed_tables(before, after)
    edges = [
        Edge(made.parents[0], made.hash)
        for made in reversed(list(workspace_engine.commits(before, after)))
    ]
    columns = {"id": "to_id", "assignee": "to_assignee", "kind": "diff_type"}
    assert [row for _, row in workspace_engine.diff("issues", edges, columns)] == [
        (bead, "agent", "added")
    ]
    commit(
        workspace_engine,
        f"UPDATE issues SET status = 'in_progress' WHERE id = '{bead}'",
        tables=["issues"],
    )
    assert '"in_progress"' in beads_workspace.run("show", bead, "--json")


def test_deleted_by_bd(beads_workspace, workspace_engine):
    bead = beads_workspace.create("Gone soon")
    beads_workspace.run("delete", bead, "--force")
    with pytest.raises(BeadNotFound), workspace_engine.transaction() as tx:
        tx.execute(
            "INSERT INTO events (id, issue_id, event_type, actor) VALUES ('e-1', ?, 'updated',"
            " 'w')",
            (bead,),
        )
        tx.dolt_commit(["events"], "m", ME)


def test_flatten_rewrites_history_and_loses_what_only_sql_committed(
    beads_workspace, workspace_engine
):
    """Ignored tables and Dolt-committed rows survive a flatten."""
    commit(
        workspace_engine,
        "INSERT INTO dolt_ignore VALUES ('watch_ig', true)",
        tables=["dolt_ignore"],
    )
    workspace_engine.execute_ddl("CREATE TABLE watch_ig (id int PRIMARY KEY)")
    workspace_engine.execute_ddl("CREATE TABLE watch_d (id int PRIMARY KEY)")
    write(workspace_engine, "INSERT INTO watch_ig VALUES (1)")
    old = commit(workspace_engine, "INSERT INTO watch_d VALUES (1)", tables=["watch_d"])
    write(workspace_engine, "INSERT INTO watch_d VALUES (2)")
    beads_workspace.create("Something")
    beads_workspace.run("flatten", "--force")
    new = head(workspace_engine)
    assert not workspace_engine.is_ancestor(old, new)
    assert workspace_engine.query("SELECT id FROM watch_ig") == [(1,)]
    assert workspace_engine.query("SELECT id FROM watch_d") == [(1,)], (
        "row 2 was only SQL-committed"
    )


def test_our_local_tables_are_ignored_from_the_first(beads_engine):
    """The tables are ignored even in a tracker that never had a row in dolt_ignore.

    Dolt 1.86.4 loses the first INSERT IGNORE into dolt_ignore, and reports '1 row'.
    """
    list(migrate(beads_engine, ME))
    write(beads_engine, "UPDATE watch_cursor SET fence = 'moved' WHERE id = 1")
    assert beads_engine.dirty() == frozenset()
