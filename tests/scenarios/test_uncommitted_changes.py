"""Uncommitted changes may spare a bead, but never cause a decision."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from dolt_watch.controller.tick_result import TickResult
from dolt_watch.core.decisions.policy import Scope
from dolt_watch.core.model import Capacity
from dolt_watch.core.model.rule import Rule
from dolt_watch.engines import Engine
from dolt_watch.replay.verification import verify
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Light
from tests.support.lines import build

BLOCKS = (
    "INSERT INTO dependencies (issue_id, depends_on_id, type, created_by) VALUES ('bd-a', 'bd-x',"
    " 'blocks', 'ann')"
)
CLOSE = "UPDATE issues SET status = 'closed' WHERE id = 'bd-x'"


@pytest.fixture
def here(doltlite: Engine) -> Light:
    """Return a tracker in which bd-a goes before bd-b, and bd-x is open without an assignee."""
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


def tick(here: Light) -> TickResult:
    """Run a tick before any row is unchanged for ``settle``.

    The tick adopts nothing and doesn't wait.
    """
    clock = ShiftedClock(timedelta(minutes=1))
    loop = build(
        here.engine,
        here.settings,
        lambda name: here.target,
        clock,
        here.lines.append,
        patient=False,
    )
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
    """The claim's transaction finds the blocker.

    From then on, the tick also reads rows outside of history.
    """

    def capacity() -> Capacity:
        del here.target.capacity  # type: ignore[method-assign]
        loose(here, BLOCKS)
        return here.target.free

    here.target.capacity = capacity  # type: ignore[method-assign]
    outcome = tick(here)
    assert (outcome.conflicts, here.target.sent) == (1, ["bd-b"])
    assert verify(here.past()).differences == []


def test_a_blocker_in_a_table_that_never_enters_history(here: Light) -> None:
    made = (
        "CREATE TABLE dependencies (issue_id varchar(255), depends_on_id varchar(255), type"
        " varchar(32), created_at datetime, created_by varchar(255), PRIMARY KEY (issue_id,"
        " depends_on_id))"
    )
    here.engine.execute_ddl("DROP TABLE dependencies")
    here.engine.execute_ddl("INSERT INTO dolt_ignore VALUES ('dependencies', 1)")
    with here.engine.transaction() as tx:
        tx.dolt_commit(["dependencies", "dolt_ignore"], "dependencies are local", "ann <ann@test>")
    here.engine.execute_ddl(made)
    loose(here, BLOCKS)
    assert here.tick().conflicts <= 1
    assert here.target.sent == ["bd-b"]


COMMENT = (
    "INSERT INTO comments (id, issue_id, author, text, created_at) VALUES ('c', 'bd-a', 'agent',"
    " 'at it', '2090-01-01 00:00:00')"
)


def unadopted(here: Light) -> None:
    here.settings = replace(here.settings, adopt=False)
    here.tick()
    assert here.target.sent == ["bd-a"]


def test_an_uncommitted_comment_spares_once_and_not_for_ever(here: Light) -> None:
    unadopted(here)
    loose(here, COMMENT)
    assert here.tick(timedelta(minutes=25)).reaped == 0, "seen for the first time"
    assert here.tick(timedelta(minutes=45)).reaped == 0
    assert any("uncommitted change in comments" in line for line in here.lines)
    assert here.tick(timedelta(minutes=60)).reaped == 1


def test_what_its_agent_closed_uncommitted_is_not_reaped(here: Light) -> None:
    """Otherwise, the reap's transaction would fail, and the tick with it."""
    unadopted(here)
    loose(here, "UPDATE issues SET status = 'closed' WHERE id = 'bd-a'")
    outcome = here.tick(timedelta(hours=9), dispatch=False)
    assert (outcome.reaped, outcome.conflicts) == (0, 0)


def test_from_its_own_rule_to_another_uncommitted_its_own_rule_lets_it_be(here: Light) -> None:
    here.settings = replace(
        here.settings,
        adopt=False,
        rules=(*here.settings.rules, Rule("bob", when="assignee = 'bob' AND status = 'open'")),
    )
    loose(here, "UPDATE issues SET assignee = 'bob' WHERE id = 'bd-a'")
    assert (here.tick().conflicts, here.target.sent) == (
        0,
        ["bd-b", "bd-a"],
    ), "the first claim's commit took it along"
    assert here.engine.query(
        "SELECT rule FROM watch_decision WHERE bead_id = 'bd-a' AND kind = 'claim'"
    ) == [("bob",)]
