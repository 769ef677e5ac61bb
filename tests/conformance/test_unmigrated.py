"""While bd's schema migration is uncommitted, no commit of dolt_watch includes a part of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from dolt_watch.beads.schema import NOT_COMMITTED
from dolt_watch.core.model import EntryKind
from dolt_watch.core.model.target_answers import Answer, Refused
from dolt_watch.engines import WORKING
from dolt_watch.engines.address import FileAddress, ServerAddress
from dolt_watch.replay.verification import verify
from dolt_watch.targets.protocol import BeadTask
from tests.support import migrating
from tests.support.history import History

pytestmark = pytest.mark.covering(engines="module")

CHANGES = {
    "a column of issues that may be NULL": ("issues", ["ALTER TABLE issues ADD COLUMN spare INT"]),
    "a column of issues with a default": (
        "issues",
        ["ALTER TABLE issues ADD COLUMN spare INT NOT NULL DEFAULT 1"],
    ),
    "a column of events": (
        "events",
        ["ALTER TABLE events ADD COLUMN spare INT NOT NULL DEFAULT 1"],
    ),
}
BESIDE = {
    "another table": ["ALTER TABLE comments ADD COLUMN spare INT NOT NULL DEFAULT 1"],
    "a new table": ["CREATE TABLE provenance (id INT PRIMARY KEY)"],
    "a view": ["CREATE VIEW seen AS SELECT id FROM issues"],
    "a pattern of ignored tables": [
        "INSERT INTO dolt_ignore (pattern, ignored) VALUES ('leases', 1)"
    ],
    "a mark of a migration": ["REPLACE INTO schema_migrations (version) VALUES (9999)"],
}


@pytest.fixture(params=["dolt", "doltlite"])
def history(request: pytest.FixtureRequest) -> Iterator[History]:
    address: ServerAddress | FileAddress = request.getfixturevalue(
        "dolt_address" if request.param == "dolt" else "doltlite_path"
    )
    with migrating.closing(migrating.tracker(address)) as made:
        yield made


def loose(history: History, sql: str) -> None:
    with history.engine.transaction() as tx:
        tx.execute(sql)
        tx.commit()


@pytest.mark.parametrize(("table", "changes"), CHANGES.values(), ids=CHANGES)
def test_nothing_is_adopted_and_decisions_wait(
    history: History, table: str, changes: list[str]
) -> None:
    engine = history.engine
    history.new("a", "b")
    migrating.ddl(history, *changes)
    loose(history, "UPDATE issues SET title = 'loose' WHERE id = 'b'")
    head = history.head()
    history.at("10:00").tick()
    history.at("10:05").tick()
    assert migrating.sent(history) == {}
    assert history.head() == head, "nothing was committed"
    assert table in engine.unmigrated()
    assert [line for line in history.lines if line == NOT_COMMITTED]
    migrating.commit(history)
    history.at("10:06").tick()
    assert migrating.sent(history) == {"a": 1, "b": 1}
    assert migrating.held(history, beads=2).same == 4


@pytest.mark.parametrize("changes", BESIDE.values(), ids=BESIDE)
def test_decisions_go_on_beside_it_and_nothing_is_adopted(
    history: History, changes: list[str]
) -> None:
    history.new("a")
    migrating.ddl(history, *changes)
    loose(history, "INSERT INTO labels (issue_id, label) VALUES ('a', 'loose')")
    pending = history.engine.unmigrated(("schema_migrations",))
    assert pending
    history.at("10:00").tick()
    history.at("10:05").tick()
    assert migrating.sent(history) == {"a": 1}
    assert history.engine.unmigrated(("schema_migrations",)) == pending, (
        "no part of it was committed"
    )
    assert "labels" in history.engine.changed_tables(history.head(), WORKING)
    assert NOT_COMMITTED in history.lines
    migrating.commit(history)
    assert verify(migrating.past(history)).differences == []


@pytest.mark.parametrize("answer", ["taken", "refused"])
def test_a_migration_that_begins_while_a_request_is_under_way(
    history: History, answer: str
) -> None:
    """The outcome is recorded alone.

    Its change of the row waits until the migration is committed.
    """
    history.new("a")
    send = history.target.dispatch

    def dispatch(task: BeadTask, token: str) -> Answer:
        migrating.ddl(history, "ALTER TABLE issues ADD COLUMN spare INT NOT NULL DEFAULT 1")
        taken = send(task, token)
        return taken if answer == "taken" else Refused("HTTP 500: no")

    history.target.dispatch = dispatch  # type: ignore[method-assign]
    history.at("10:00").tick()
    history.target.dispatch = send  # type: ignore[method-assign]
    kinds = [
        EntryKind(kind)
        for (kind,) in history.engine.query(
            "SELECT kind FROM watch_decision WHERE bead_id = 'a' ORDER BY version"
        )
    ]
    assert kinds == [
        EntryKind.CLAIM,
        EntryKind.DISPATCHED if answer == "taken" else EntryKind.FAILED,
    ]
    assert history.engine.unmigrated() == {"issues"}, "its commit took no schema along"
    history.at("10:01").tick()
    assert history.engine.unmigrated() == {"issues"}
    migrating.commit(history)
    history.at("10:01:30").tick()
    ((status, notes),) = history.engine.query("SELECT status, notes FROM issues WHERE id = 'a'")
    assert (status, "dispatched: job=" in notes or "dispatch failed" in notes) == (
        "in_progress" if answer == "taken" else "open",
        True,
    )
    history.at("10:10").tick()
    assert migrating.sent(history) == {"a": 1 if answer == "taken" else 2}
    assert verify(migrating.past(history)).differences == []
    assert history.what_if(timedelta(minutes=2), timedelta(minutes=5))
