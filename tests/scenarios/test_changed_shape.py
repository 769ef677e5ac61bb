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
from dolt_watch.core.model.target_answers import Answer
from dolt_watch.engines import Engine
from dolt_watch.targets.protocol import BeadTask
from tests.conftest import Factory
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Answering, Light
from tests.support.lines import build


class Migrating(Answering):
    """A target during whose answer another process adds a column to ``issues``."""

    def __init__(self, engine: Engine, then: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.engine, self.then = engine, then

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        migrate(self.engine, "issues")
        self.then()
        return super().dispatch(task, token)


def migrate(engine: Engine, table: str) -> None:
    engine.execute_ddl(f"ALTER TABLE {table} ADD COLUMN later text")
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
    here.target = Migrating(other.engine, other.tick)
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
