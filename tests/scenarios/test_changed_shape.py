"""A schema change of another process during a tick: the tick and the next one use the new shape."""

from __future__ import annotations

from dolt_watch.beads.schema import tracker_schema
from dolt_watch.checkpoint.poll import Poller
from dolt_watch.core.model.target_answers import Answer
from dolt_watch.engines import Engine
from dolt_watch.targets.protocol import BeadTask
from tests.support.embedded_tracker import Answering, Light


class Migrating(Answering):
    """A target during whose answer another process adds a column to ``issues``."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        self.engine.execute_ddl("ALTER TABLE issues ADD COLUMN later text")
        with self.engine.transaction() as tx:
            tx.dolt_commit(["issues"], "bd: migrate", "bd <bd@test>")
        return super().dispatch(task, token)


def test_a_shape_that_changes_during_a_tick_is_saved_as_it_is(doltlite: Engine) -> None:
    here = Light(doltlite)
    here.tick()
    here.target = Migrating(doltlite)
    here.assign("bd-a")
    assert here.tick().dispatched == 1
    shape = Poller(doltlite).poll().compiled["shape"]
    assert "later" in shape["tables"]["issues"]
    assert shape == tracker_schema(doltlite).to_json()
