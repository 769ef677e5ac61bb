"""Histories with schema changes, on both engines.

Such a history is read, decided on and verified like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from dolt_watch.core.model import EventKind
from dolt_watch.core.model.target_answers import Refused
from dolt_watch.engines import Edge
from dolt_watch.engines.address import FileAddress, ServerAddress
from tests.support import migrating
from tests.support.history import History
from tests.support.matrix import chosen
from tests.support.migrating import REKEY_DEPENDENCIES

pytestmark = pytest.mark.covering(engines="module")


@pytest.fixture(params=["dolt", "doltlite"])
def history(request: pytest.FixtureRequest) -> Iterator[History]:
    address: ServerAddress | FileAddress = request.getfixturevalue(
        "dolt_address" if request.param == "dolt" else "doltlite_path"
    )
    with migrating.closing(migrating.tracker(address)) as made:
        yield made


@pytest.fixture
def on_dolt(dolt_address: ServerAddress) -> Iterator[History]:
    with migrating.closing(migrating.tracker(dolt_address)) as made:
        yield made


CHANGES = {
    "a column that may be NULL": ["ALTER TABLE issues ADD COLUMN spare INT"],
    "a column with a default": [
        "ALTER TABLE issues ADD COLUMN is_blocked TINYINT NOT NULL DEFAULT 0"
    ],
    "a column that a rule could use is dropped": ["ALTER TABLE issues DROP COLUMN close_reason"],
    "a column is renamed": ["ALTER TABLE issues RENAME COLUMN close_reason TO reason_closed"],
    "a column of another table": ["ALTER TABLE comments ADD COLUMN mood INT NOT NULL DEFAULT 3"],
    "several tables": [
        "ALTER TABLE events ADD COLUMN extra INT NOT NULL DEFAULT 1",
        "ALTER TABLE labels ADD COLUMN extra INT NOT NULL DEFAULT 1",
    ],
}
DOLT_ONLY = {
    "a wider type": [
        "ALTER TABLE issues MODIFY COLUMN notes LONGTEXT",
        "ALTER TABLE events MODIFY COLUMN old_value LONGTEXT",
    ],
    "the columns in another order": [
        "ALTER TABLE issues MODIFY COLUMN title VARCHAR(500) NOT NULL FIRST"
    ],
    "the key and the target of dependencies": list(REKEY_DEPENDENCIES),
    "another primary key": [
        "ALTER TABLE labels DROP FOREIGN KEY fk_labels_issue",
        "ALTER TABLE labels DROP PRIMARY KEY",
        "ALTER TABLE labels ADD PRIMARY KEY (label)",
    ],
}


IN_MAKE_TEST = (
    "a column with a default",
    "a column is renamed",
    "several tables",
    "the key and the target of dependencies",
    "another primary key",
)
"""Changes around which `make test` makes decisions. `make matrix` adds the others."""


def in_make_test(changes: list[str]) -> bool:
    return any(changes == (CHANGES | DOLT_ONLY)[name] for name in IN_MAKE_TEST)


def lived(history: History, *changes: str) -> None:
    """Make decisions before and after a migration, with one bead that runs across it."""
    history.new("before", "across", "apart")
    history.set("apart", assignee="ada")
    history.write(
        (
            (
                "INSERT INTO dependencies (issue_id, depends_on_id, type, created_at, created_by) "
                "VALUES ('apart', 'before', 'blocks', ?, 'ada')"
            ),
            (history.clock.moment,),
        )
    )
    history.at("10:01").tick()
    history.at("10:03").set("before", status="closed")
    history.at("10:04").tick()
    history.comment("across")
    history.at("10:05")
    migrating.migrate(history, *changes)
    history.at("10:06").tick()
    history.comment("across")
    history.at("10:08").set("across", status="closed")
    history.new("after")
    history.at("10:09").tick()
    history.at("10:10").set("after", status="closed")
    history.at("10:12").tick()


@pytest.mark.parametrize("changes", chosen(CHANGES.values(), in_make_test), ids=CHANGES)
def test_decisions_go_on_and_verify(history: History, changes: list[str]) -> None:
    lived(history, *changes)
    assert migrating.sent(history) == {"before": 1, "across": 1, "after": 1}
    # ``held`` also compares the states of the first bead, 'across'.
    assert migrating.held(history).same == 6


@pytest.mark.parametrize("changes", chosen(DOLT_ONLY.values(), in_make_test), ids=DOLT_ONLY)
def test_decisions_go_on_and_verify_where_only_dolt_can_change_it(
    on_dolt: History, changes: list[str]
) -> None:
    lived(on_dolt, *changes)
    assert migrating.sent(on_dolt) == {"before": 1, "across": 1, "after": 1}
    assert migrating.held(on_dolt).same == 6


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_a_migration_is_no_edit(history: History, changes: list[str]) -> None:
    history.new("a", "b")
    history.at("10:01").tick()
    history.comment("a")
    made = migrating.migrate(history, *changes)
    assert [
        event.what
        for passed in migrating.events(history)
        if passed.commit.hash == made
        for event in passed.events
    ] == []


def test_a_new_key_of_dependencies_is_no_edit_and_rows_are_read_on_both_sides(
    on_dolt: History,
) -> None:
    on_dolt.new("a", "b", "c")
    depend = (
        "INSERT INTO dependencies (issue_id, depends_on_id, type, created_at, created_by) VALUES"
        " ('a', 'b', 'blocks', ?, 'ada')"
    )
    before = on_dolt.write((depend, (on_dolt.clock.moment,)))
    made = migrating.migrate(on_dolt, *REKEY_DEPENDENCIES, "DROP TABLE labels")
    after = on_dolt.write(
        (
            (
                "INSERT INTO dependencies (id, issue_id, depends_on_issue_id, type, created_at,"
                " created_by) VALUES ('d', 'b', 'c', 'blocks', ?, 'ada')"
            ),
            (on_dolt.clock.moment,),
        )
    )
    seen = {passed.commit.hash: passed.events for passed in migrating.events(on_dolt)}
    assert [
        (event.bead, event.row.key) for hash in (before, after) for event in seen[hash] if event.row
    ] == [
        ("a", "b"),
        ("b", "c"),
    ]
    assert list(seen[made]) == []


def test_an_edit_in_the_commit_of_a_migration_is_seen(history: History) -> None:
    """bd 1.2.2 commits the new schema of issues together with its first note."""
    history.new("a", "b")
    history.at("10:01").tick()
    migrating.ddl(history, "ALTER TABLE issues ADD COLUMN is_blocked TINYINT NOT NULL DEFAULT 0")
    with history.engine.transaction() as tx:
        tx.execute("UPDATE issues SET title = 'new' WHERE id = 'b'")
        tx.commit()
    made = migrating.commit(history, "bd: update b")
    (event,) = (
        event
        for passed in migrating.events(history)
        if passed.commit.hash == made
        for event in passed.events
    )
    assert (event.bead, event.changed, event.what) == ("b", event.changed, EventKind.EDITED)
    assert "title" in event.changed and "is_blocked" not in event.changed


def test_a_column_that_comes_and_goes(history: History) -> None:
    """Both ends of the range have the same schema. Only the commits in between differ."""
    history.new("a")
    history.at("10:01").tick()
    migrating.migrate(history, "ALTER TABLE issues ADD COLUMN mood INT NOT NULL DEFAULT 1")
    with history.engine.transaction() as tx:
        tx.execute("UPDATE issues SET mood = 2 WHERE id = 'a'")
        moody = tx.dolt_commit(["issues"], "mood", "ada <ada@x>")
    for number in range(5):
        history.set("a", title=f"t{number}")
    migrating.migrate(history, "ALTER TABLE issues DROP COLUMN mood")
    seen = {passed.commit.hash: passed.events for passed in migrating.events(history)}
    assert ["mood" in event.changed for event in seen[moody]] == [True]
    assert migrating.held(history).same == 2


def test_a_table_that_was_dropped_and_made_again(history: History) -> None:
    create = (
        "CREATE TABLE labels (issue_id VARCHAR(255) NOT NULL, label VARCHAR(255) NOT NULL, PRIMARY"
        " KEY (issue_id, label))"
    )
    history.new("a")
    with history.engine.transaction() as tx:
        tx.execute("INSERT INTO labels (issue_id, label) VALUES ('a', 'old')")
        first = tx.dolt_commit(["labels"], "label", "ada <ada@x>")
    history.at("10:01").tick()
    migrating.migrate(history, "DROP TABLE labels")
    for number in range(5):
        history.set("a", title=f"t{number}")
    migrating.migrate(history, create)
    with history.engine.transaction() as tx:
        tx.execute("INSERT INTO labels (issue_id, label) VALUES ('a', 'new')")
        last = tx.dolt_commit(["labels"], "label", "ada <ada@x>")
    seen = {passed.commit.hash: passed.events for passed in migrating.events(history)}
    assert [[event.sign.what for event in seen[hash] if event.sign] for hash in (first, last)] == [
        ["label"],
        ["label"],
    ]
    assert migrating.held(history).same == 2


def test_a_key_that_changed_twice_within_one_range(on_dolt: History) -> None:
    on_dolt.new("a", "b")
    on_dolt.write(
        (
            (
                "INSERT INTO dependencies (issue_id, depends_on_id, type, created_at, created_by) "
                "VALUES ('a', 'b', 'related', ?, 'ada')"
            ),
            (on_dolt.clock.moment,),
        )
    )
    on_dolt.at("10:01").tick()
    migrating.migrate(
        on_dolt,
        "ALTER TABLE labels DROP FOREIGN KEY fk_labels_issue",
        "ALTER TABLE labels DROP PRIMARY KEY",
        "ALTER TABLE labels ADD PRIMARY KEY (label)",
    )
    with on_dolt.engine.transaction() as tx:
        tx.execute("INSERT INTO labels (issue_id, label) VALUES ('a', 'x')")
        made = tx.dolt_commit(["labels"], "label", "ada <ada@x>")
    for number in range(5):
        on_dolt.set("a", title=f"t{number}")
    back = migrating.migrate(
        on_dolt,
        "ALTER TABLE labels DROP PRIMARY KEY",
        "ALTER TABLE labels ADD PRIMARY KEY (issue_id, label)",
    )
    seen = {passed.commit.hash: passed.events for passed in migrating.events(on_dolt)}
    assert [event.sign.what for event in seen[made] if event.sign] == ["label"]
    assert list(seen[back]) == []
    assert migrating.held(on_dolt).same == 4


def test_a_rule_on_a_column_that_older_commits_lack(history: History) -> None:
    """The rule doesn't match at older commits.

    Beads match once the column exists, and that change isn't a sign of life.
    """
    history.new("a")
    history.at("10:00").tick()
    migrating.migrate(history, "ALTER TABLE issues ADD COLUMN go_ahead TINYINT NOT NULL DEFAULT 1")
    for number in range(6):
        history.set("a", title=f"t{number}")
    history.at("10:05").tick(when="assignee = 'agent' AND status = 'open' AND go_ahead = 1")
    assert history.what_if(
        timedelta(minutes=2), timedelta(minutes=5), when="assignee = 'agent' AND go_ahead = 1"
    )
    assert migrating.sent(history) == {"a": 1}


def test_reads_as_of_a_commit_without_the_column(history: History) -> None:
    history.new("a")
    before = history.head()
    migrating.migrate(
        history, "ALTER TABLE issues ADD COLUMN mood INT NOT NULL DEFAULT 1", "DROP TABLE labels"
    )
    after, query = history.head(), history.engine.query
    assert query(f"SELECT id, mood FROM issues AS OF '{before}' WHERE id = ?", ("a",)) == [
        ("a", None)
    ]
    assert query("SELECT id, mood FROM issues AS OF ? WHERE mood IS NULL", (before,)) == [
        ("a", None)
    ]
    assert query(f"SELECT i.mood FROM issues AS OF '{before}' AS i") == [(None,)]
    assert query(f"SELECT issue_id, label FROM labels AS OF '{after}' WHERE issue_id = 'a'") == []
    assert query(f"SELECT COUNT(*) FROM labels AS OF '{before}'") == [(0,)]
    migrating.migrate(history, "ALTER TABLE issues DROP COLUMN mood")
    assert query(f"SELECT mood FROM issues AS OF '{after}'") == [(1,)]
    assert query("SELECT mood FROM issues AS OF ? WHERE id IN (?)", (after, "a")) == [(1,)]


def test_schemas_that_changed_are_named(history: History) -> None:
    engine = history.engine
    before = history.head()
    made = migrating.migrate(
        history, "ALTER TABLE issues ADD COLUMN mood INT NOT NULL DEFAULT 1", "DROP TABLE labels"
    )
    history.new("a")
    edges = [Edge(before, made), Edge(made, history.head())]
    assert engine.changed(before, made).schema == {"issues", "labels"}
    assert {
        t: set(e) for t, e in engine.altered(("issues", "labels", "events"), edges).items()
    } == {
        "issues": {edges[0]},
        "labels": {edges[0]},
    }
    assert engine.altered(("events",), edges, exact=True) == {}
    assert engine.unmigrated() == frozenset()
    migrating.ddl(
        history, "ALTER TABLE comments ADD COLUMN mood INT", "CREATE TABLE odd (a INT PRIMARY KEY)"
    )
    assert engine.unmigrated() == {"comments", "odd"}
    with engine.transaction() as tx:
        assert engine.unmigrated((), tx.query) == {"comments", "odd"}


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE issues DROP COLUMN design",
        "ALTER TABLE issues DROP COLUMN estimated_minutes",
        "ALTER TABLE issues RENAME COLUMN issue_type TO kind",
    ],
)
@pytest.mark.parametrize("edited", [False, True])
def test_state_made_anew_over_a_dropped_column(history: History, change: str, edited: bool) -> None:
    """Only a user's edit makes the bead due again.

    The bead's content is compared by the columns that exist at both times.
    """
    when = "assignee = 'agent' AND status = 'open'"
    old = f"{when} AND (estimated_minutes IS NULL OR estimated_minutes > 0)"
    history.new("a")
    history.target.says["a"] = [Refused("HTTP 500: no")]
    history.at("10:00").tick(when=old, max_attempts="1")
    assert kinds(history) == ["claim", "quarantined"]
    migrating.migrate(history, change)
    if edited:
        history.set("a", title="better")
    history.at("10:30").tick(when=when, max_attempts="1")
    assert "resync" in [
        kind
        for (kind,) in history.engine.query("SELECT kind FROM watch_decision WHERE bead_id = ''")
    ]
    history.at("10:35").tick(when=when, max_attempts="1")
    assert kinds(history) == ["claim", "quarantined", *(["claim", "dispatched"] if edited else [])]


def kinds(history: History) -> list[str]:
    rows = history.engine.query(
        "SELECT kind FROM watch_decision WHERE bead_id = 'a' ORDER BY version"
    )
    return [kind for (kind,) in rows]
