"""The change feed on both engines: every row change, for any number of commits in one read."""

from __future__ import annotations

from dolt_watch.beads import feed_query
from dolt_watch.checkpoint.poll import WATCHED
from dolt_watch.core.model import Rule
from dolt_watch.core.rules.compiled_rule import compile_for
from dolt_watch.engines import Engine
from dolt_watch.history import change_feed, reader
from tests.acceptance.conftest import rows_of


def committed(engine: Engine, *texts: str) -> str:
    for text in texts:
        engine.execute_ddl(text)
    with engine.transaction() as tx:
        return tx.dolt_commit(sorted(engine.dirty()), "by hand", "ann <ann@example.com>")


def test_what_came_and_went_within_the_range_is_read(shaped_engine: Engine) -> None:
    """A read of both commits returns the row that was added and deleted between them.

    A watcher that polled in between saw that row.
    """
    engine = shaped_engine
    first = committed(engine, rows_of(["bd-1"]))
    put = committed(engine, "INSERT INTO labels (issue_id, label) VALUES ('bd-1', 'hot')")
    gone = committed(engine, "DELETE FROM labels WHERE issue_id = 'bd-1'")
    line = reader.commit_path(engine.commits(first, gone), first, gone)
    assert line is not None
    read = [
        (each.commit, [(row.table, row.kind) for row in each.rows])
        for each in change_feed.read_changes(
            engine, line, WATCHED, feed_query.FeedQuery([], ["id"])
        )
    ]
    assert read == [(put, [("labels", "added")]), (gone, [("labels", "removed")])]


def test_a_row_is_told_before_and_after_with_each_rules_answers(shaped_engine: Engine) -> None:
    """An unchanged cell has one value on both sides, and a changed cell has each side's value.

    A rule that evaluates to NULL doesn't match.
    """
    engine = shaped_engine
    columns = engine.columns("issues")
    rules = [
        Rule("old", when="priority > 1", running="assignee = 'ann'"),
        Rule("done", when="closed_at > started_at"),
    ]
    lens = feed_query.FeedQuery(
        [compile_for(rule, columns, engine.dialect) for rule in rules], list(columns)
    )
    first = committed(engine, rows_of(["bd-1"]))
    committed(
        engine, "UPDATE issues SET priority = 1, notes = 'kept', assignee = 'ann' WHERE id = 'bd-1'"
    )
    # updated_at is ON UPDATE CURRENT_TIMESTAMP, in whole seconds. Without an explicit value, it
    # could change too.
    last = committed(
        engine,
        "UPDATE issues SET priority = 2, assignee = NULL, updated_at = updated_at WHERE id ="
        " 'bd-1'",
    )
    line = reader.commit_path(engine.commits(first, last), first, last)
    assert line is not None
    _, change = (each.rows[0] for each in change_feed.read_changes(engine, line, ["issues"], lens))
    assert change.changed == ("priority", "assignee")
    assert change.before == {
        "status": "open",
        "assignee": "ann",
        "notes": "kept",
        "started_at": None,
        "closed_at": None,
    }
    assert change.after == {**change.before, "assignee": None}
    old, done = change.answers
    assert old[:4] == (False, True, True, False)
    assert done[:4] == (False, False, False, False)
