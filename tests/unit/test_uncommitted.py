"""What stands uncommitted may spare a bead, and never causes an act."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dolt_watch.cli.wiring import build
from dolt_watch.core.policy import Scope
from dolt_watch.engines import Engine
from dolt_watch.model import Capacity
from dolt_watch.round import Outcome
from dolt_watch.times import ShiftedClock
from dolt_watch.verify import verify
from tests.light import Light

BLOCKS = "INSERT INTO dependencies (issue_id, depends_on_id, type, created_by) VALUES ('bd-a', 'bd-x', 'blocks', 'ann')"
CLOSE = "UPDATE issues SET status = 'closed' WHERE id = 'bd-x'"


@pytest.fixture
def here(doltlite: Engine) -> Light:
    """bd-a goes before bd-b; bd-x is nobody's, and open."""
    made = Light(doltlite)
    made.assign("bd-x")
    made.sql("UPDATE issues SET assignee = '' WHERE id = 'bd-x'")
    made.assign("bd-a", priority=1)
    made.assign("bd-b")
    return made


def loose(here: Light, text: str) -> None:
    with here.engine.transaction() as tx:
        tx.execute(text)
        tx.commit()


def tick(here: Light) -> Outcome:
    """Before anything has stood for ``settle``, so that nothing is adopted; and nobody waits for it."""
    clock = ShiftedClock(timedelta(minutes=1))
    loop = build(here.engine, here.settings, lambda name: here.target, clock, here.lines.append, patient=False)
    return loop.tick(Scope(dispatch=True, reap=True))


def test_a_close_that_stands_uncommitted_lets_nobody_go(here: Light) -> None:
    here.sql(BLOCKS)
    loose(here, CLOSE)
    tick(here)
    assert here.target.sent == ["bd-b"]
    assert verify(here.past()).differences == []
    here.change(max_in_flight=2)
    here.tick(timedelta(minutes=3))
    assert here.target.sent == ["bd-b", "bd-a"], "the claim's commit took it along"


def test_a_blocker_that_stands_uncommitted_holds_and_the_next_one_goes(here: Light) -> None:
    loose(here, BLOCKS)
    assert tick(here).conflicts == 0
    assert here.target.sent == ["bd-b"]
    assert verify(here.past()).differences == [], "it says what was left out"


def test_a_blocker_that_comes_after_the_look(here: Light) -> None:
    """The claim's own transaction meets it; from then on the tick asks what stands beside history too."""

    def capacity() -> Capacity:
        del here.target.capacity  # type: ignore[method-assign]
        loose(here, BLOCKS)
        return here.target.free

    here.target.capacity = capacity  # type: ignore[method-assign]
    outcome = tick(here)
    assert (outcome.conflicts, here.target.sent) == (1, ["bd-b"])
    assert verify(here.past()).differences == []


def test_a_blocker_in_a_table_that_never_enters_history(here: Light) -> None:
    made = "CREATE TABLE dependencies (issue_id varchar(255), depends_on_id varchar(255), type varchar(32), created_at datetime, created_by varchar(255), PRIMARY KEY (issue_id, depends_on_id))"
    here.engine.run("DROP TABLE dependencies")
    here.engine.run("INSERT INTO dolt_ignore VALUES ('dependencies', 1)")
    with here.engine.transaction() as tx:
        tx.dolt_commit(["dependencies", "dolt_ignore"], "dependencies are local", "ann <ann@test>")
    here.engine.run(made)
    loose(here, BLOCKS)
    assert here.tick().conflicts <= 1
    assert here.target.sent == ["bd-b"]
