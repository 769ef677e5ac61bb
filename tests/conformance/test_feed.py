"""The feed on both engines: every row change of a line, however many commits are read at once."""

from __future__ import annotations

from dolt_watch import feed
from dolt_watch.engines import Engine
from dolt_watch.look import WATCHED
from tests.acceptance.conftest import rows_of


def committed(engine: Engine, *texts: str) -> str:
    for text in texts:
        engine.run(text)
    with engine.transaction() as tx:
        return tx.dolt_commit(sorted(engine.dirty()), "by hand", "ann <ann@example.com>")


def test_what_came_and_went_within_the_range_is_read(beads_engine: Engine) -> None:
    """A watcher that looked in between saw it: who reads both commits at once must see the same."""
    engine = beads_engine
    first = committed(engine, rows_of(["bd-1"]))
    put = committed(engine, "INSERT INTO labels (issue_id, label) VALUES ('bd-1', 'hot')")
    gone = committed(engine, "DELETE FROM labels WHERE issue_id = 'bd-1'")
    line = feed.path(engine.commits(first, gone), first, gone)
    assert line is not None
    read = [
        (each.commit, [(row.table, row.kind) for row in each.rows])
        for each in feed.read(engine, line, WATCHED, feed.Lens([], ["id"]))
    ]
    assert read == [(put, [("labels", "added")]), (gone, [("labels", "removed")])]
