"""Beads that move to another rule's agent during an attempt.

No rule keeps a bead that it no longer matches.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from dolt_watch.core.model.rule import Rule
from dolt_watch.core.model.target_answers import Answer, Refused
from dolt_watch.engines import Engine
from dolt_watch.targets.protocol import BeadTask
from tests.support.embedded_tracker import Light

TO_BOB = "UPDATE issues SET assignee = 'bob' WHERE id = 'bd-1'"
LATE = timedelta(minutes=45)


@pytest.fixture
def here(doltlite: Engine) -> Light:
    """Return a tracker in which bd-1 is assigned to the agent and not yet claimed."""
    made = Light(doltlite)
    ours = Rule("agent", when="assignee = 'agent' AND status = 'open'")
    made.settings = replace(
        made.settings, rules=(ours, Rule("bob", when="assignee = 'bob' AND status = 'open'"))
    )
    made.assign("bd-1")
    return made


def during_dispatch(here: Light, answer: Answer) -> None:
    """Assign the bead to bob during the next request to the target."""

    def dispatch(task: BeadTask, token: str) -> Answer:
        here.sql(TO_BOB)
        del here.target.dispatch  # type: ignore[method-assign]
        return answer

    here.target.dispatch = dispatch  # type: ignore[method-assign]


def test_a_run_that_was_handed_over_is_watched_by_the_other_rule_and_leaves_its_slot(
    here: Light,
) -> None:
    assert here.tick().dispatched == 1
    here.sql(TO_BOB)
    here.assign("bd-2")
    assert here.tick(timedelta(minutes=2)).dispatched == 1
    assert here.tick(LATE, dispatch=False).reaped == 2
    rows = here.engine.query(
        "SELECT bead_id, rule FROM watch_decision WHERE kind = 'reap' ORDER BY bead_id"
    )
    assert [tuple(row) for row in rows] == [("bd-1", "bob"), ("bd-2", "agent")]


def test_the_same_where_history_was_rewritten_meanwhile(here: Light) -> None:
    here.tick()
    here.sql(TO_BOB)
    with here.engine.transaction() as tx:
        tx.execute("UPDATE watch_cursor SET commit_hash = 'gone'")
        tx.commit()
    assert here.tick(LATE, dispatch=False).reaped == 1


def test_refused_after_it_was_handed_over_it_is_the_other_rules_to_try(here: Light) -> None:
    during_dispatch(here, Refused("HTTP 500: boom", 500))
    assert here.tick().failed == 1
    assert here.tick(timedelta(minutes=5)).dispatched == 1
    rows = here.engine.query(
        "SELECT rule FROM watch_decision WHERE bead_id = 'bd-1' AND kind = 'claim' ORDER BY version"
    )
    assert [row[0] for row in rows] == ["agent", "bob"]
