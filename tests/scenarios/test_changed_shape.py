"""A schema change of another process during a tick: the tick and the next one use the new shape."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from datetime import timedelta

import pytest

from dolt_watch.beads.schema import tracker_schema
from dolt_watch.checkpoint.poll import Poller
from dolt_watch.controller.loop import ControlLoop
from dolt_watch.core.decisions.policy import BOTH
from dolt_watch.core.model.target_answers import Accepted, Answer, Refused
from dolt_watch.engines import Engine
from dolt_watch.errors import NewerSchema, UnsupportedSchema
from dolt_watch.replay.verification import verify
from dolt_watch.targets.protocol import BeadTask
from tests.conftest import Factory
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Answering, Light
from tests.support.lines import build


class Migrating(Answering):
    """A target during whose answer another process changes the columns of ``issues``."""

    def __init__(
        self,
        engine: Engine,
        change: str = "ADD COLUMN later text",
        then: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__()
        self.engine, self.change, self.then = engine, change, then

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        migrate(self.engine, "issues", self.change)
        self.then()
        return super().dispatch(task, token)


def migrate(engine: Engine, table: str, change: str = "ADD COLUMN later text") -> None:
    engine.execute_ddl(f"ALTER TABLE {table} {change}")
    with engine.transaction() as tx:
        tx.dolt_commit([table], "bd: migrate", "bd <bd@test>")


def running(here: Light) -> ControlLoop:
    """Return the loop of a process that stays up."""
    clock = ShiftedClock(timedelta(minutes=1))
    return build(here.engine, here.settings, lambda name: here.target, clock, here.lines.append)


def test_a_shape_that_changes_during_a_tick_is_saved_as_it_is(doltlite: Engine) -> None:
    here = Light(doltlite)
    here.tick()
    here.target = Migrating(doltlite)
    here.assign("bd-a")
    assert here.tick().dispatched == 1
    shape = Poller(doltlite).poll().compiled["shape"]
    assert "later" in shape["tables"]["issues"]
    assert shape == tracker_schema(doltlite).to_json()


@pytest.mark.parametrize("answer", [Accepted("job1"), Refused("HTTP 500: boom", 500)])
def test_an_answer_is_recorded_if_a_column_was_dropped_meanwhile(
    engine: Engine, answer: Answer
) -> None:
    here = Light(engine)
    here.target = Migrating(engine, "DROP COLUMN owner")
    here.target.answers.append(answer)
    here.assign("bd-a")
    here.tick()
    outcome = "dispatched" if isinstance(answer, Accepted) else "failed"
    assert here.kinds("bd-a")[:2] == ["claim", outcome]
    here.target = Answering()
    here.tick()
    status, notes = here.row("bd-a", "status", "notes")
    note, after = {
        "dispatched": ("dispatched: job=job1", "in_progress"),
        "failed": ("dispatch failed HTTP 500: boom", "open"),
    }[outcome]
    assert (status, notes.splitlines()[1:]) == (after, [note])
    assert verify(here.past()).differences == []


@pytest.mark.parametrize("table", ["issues", "comments"])
def test_the_shape_that_another_process_saved_is_kept(doltlite: Engine, table: str) -> None:
    """A process that stays up compiled its rules before another process saw the migration."""
    here = Light(doltlite)
    loop = running(here)
    here.assign("bd-a")
    loop.tick(BOTH)
    migrate(doltlite, table)
    here.tick()
    here.sql("UPDATE issues SET status = 'closed'")
    loop.tick(BOTH)
    shape = Poller(doltlite).poll().compiled["shape"]
    assert shape == tracker_schema(doltlite).to_json()


def test_a_shape_that_another_process_saves_during_a_tick(doltlite_factory: Factory) -> None:
    here = Light(doltlite_factory())
    loop = running(here)
    loop.tick(BOTH)
    other = copy(here)
    other.engine = doltlite_factory()
    here.target = Migrating(other.engine, then=other.tick)
    here.assign("bd-a")
    assert loop.tick(BOTH).dispatched == 1
    shape = Poller(here.engine).poll().compiled["shape"]
    assert shape == tracker_schema(here.engine).to_json()


def test_the_shape_of_another_release_is_read_again(doltlite: Engine) -> None:
    """Another release of dolt_watch may read other tables."""
    here = Light(doltlite)
    here.tick()
    shape = Poller(doltlite).poll().compiled["shape"]
    doltlite.write(
        "UPDATE watch_cursor SET compiled ="
        " JSON_SET(JSON_REMOVE(compiled, '$.shape.tables.labels'), '$.checked[0]', '0.0.1')"
    )
    here.assign("bd-a")
    here.tick()
    assert Poller(doltlite).poll().compiled["shape"] == shape


def test_ticks_continue_when_dolt_ignore_excludes_the_table_of_beads(doltlite: Engine) -> None:
    here = Light(doltlite)
    here.assign("bd-a")
    assert here.tick().dispatched == 1
    with doltlite.transaction() as tx:
        tx.execute("INSERT INTO dolt_ignore VALUES ('issues', 1)")
        tx.dolt_commit(["dolt_ignore"], "ignore", "ann <ann@test>")
    for text in "one", "two":
        here.sql(f"INSERT INTO labels (issue_id, label) VALUES ('bd-a', '{text}')")
        assert here.tick().exit_code == 0


def test_a_lost_table_outside_of_history_is_an_error(engine: Engine) -> None:
    """No commit shows that the table is gone, so the saved shape still has it."""
    here = Light(engine, shape="1.3")
    here.tick()
    engine.execute_ddl("DROP TABLE events")
    with engine.transaction() as tx:
        tx.execute(
            "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes,"
            " assignee) VALUES ('bd-a', 't', '', '', 'must', '', 'agent')"
        )
        tx.dolt_commit(["issues"], "bd: create bd-a", "bd <bd@test>")
    with pytest.raises(UnsupportedSchema, match="events"):
        here.tick()
    assert (here.target.sent, here.kinds("bd-a")) == ([], [])
    assert engine.dirty() == frozenset()


def test_an_answer_is_recorded_without_a_table_outside_of_history(engine: Engine) -> None:
    here = Light(engine, shape="1.3")
    here.tick()
    here.target = Migrating(engine, then=lambda: engine.execute_ddl("DROP TABLE events"))
    here.assign("bd-a")
    with pytest.raises(UnsupportedSchema, match="events"):
        here.tick()
    assert here.kinds("bd-a") == ["claim", "dispatched"]


def test_a_table_that_is_back_is_polled_again(engine: Engine) -> None:
    """A migration of bd can replace a table between two polls of a process that stays up."""
    Light(engine)
    poller = Poller(engine)
    engine.execute_ddl("ALTER TABLE comments RENAME TO away")
    assert "comments" not in poller.poll().hashes
    engine.execute_ddl("ALTER TABLE away RENAME TO comments")
    assert "comments" in poller.poll().hashes
    assert "comments" in poller.tables


def test_no_process_writes_after_a_migration_by_a_newer_release(engine: Engine) -> None:
    """Neither a process that stays up nor a command that relies on the check of that process."""
    here = Light(engine)
    loop = running(here)
    here.assign("bd-a")
    loop.tick(BOTH)
    with engine.transaction() as tx:
        tx.execute("INSERT INTO watch_migration VALUES (99, 'later', '99', UTC_TIMESTAMP(6))")
        tx.dolt_commit(["watch_migration"], "dolt-watch: migration 0099 later", "d <d@test>")
    here.assign("bd-b")
    for tick in (loop.tick, lambda scope: here.tick()):
        with pytest.raises(NewerSchema):
            tick(BOTH)
    assert here.target.sent == ["bd-a"]
