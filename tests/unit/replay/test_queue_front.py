"""Decisions with a long queue, verified with its front, and with the whole queue if necessary."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dolt_watch.core.decisions.policy import Policy
from dolt_watch.core.model import Bead, Capacity, Phase, Rule, State
from dolt_watch.core.model.target_answers import Busy, Refused, Unknown
from dolt_watch.engines import Engine
from dolt_watch.replay import queue_front, verification
from dolt_watch.replay.queue_front import QueueFront
from tests.support.embedded_tracker import Light

AT = datetime(2026, 4, 18, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def blocks(here: Light, blocker: str, *beads: str) -> None:
    rows = ", ".join(f"('{bead}', '{blocker}', 'blocks', NOW(), 'ann')" for bead in beads)
    columns = "issue_id, depends_on_id, type, created_at, created_by"
    here.sql(f"INSERT INTO dependencies ({columns}) VALUES {rows}".replace("NOW()", "'2026-01-01'"))


def test_the_claimed_bead_is_far_behind_blocked_ones(
    doltlite: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_front, "FRONT", 2)
    here = Light(doltlite)
    here.assign("bd-x", priority=3)
    names = [f"bd-{number:02}" for number in range(12)]
    here.assign(*names)
    blocks(here, "bd-x", *names[:10])
    here.tick()
    assert here.target.sent == ["bd-10"]
    found = verification.verify(here.past())
    assert (found.differences, found.same) == ([], 2)


def test_readiness_is_read_again_after_what_changes_it(
    doltlite: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_front, "FRONT", 2)
    here = Light(doltlite, max_in_flight=9)
    here.target.free = Capacity(9)
    here.assign("bd-a", "bd-b", "bd-c", "bd-d")
    here.assign("bd-x", "bd-y")
    here.sql("UPDATE issues SET assignee = '' WHERE id IN ('bd-x', 'bd-y')")
    blocks(here, "bd-x", "bd-a", "bd-c")
    here.sql("UPDATE issues SET defer_until = '2999-01-01' WHERE id = 'bd-d'")
    here.tick()
    assert here.target.sent == ["bd-b"]
    here.sql("UPDATE issues SET status = 'closed' WHERE id = 'bd-x'")
    blocks(here, "bd-y", "bd-c")
    here.tick(9 * MINUTE)
    assert here.target.sent == ["bd-b", "bd-a"]
    here.sql("DELETE FROM dependencies WHERE depends_on_id = 'bd-y'")
    here.sql("UPDATE issues SET defer_until = NULL WHERE id = 'bd-d'")
    here.tick(18 * MINUTE)
    assert here.target.sent == ["bd-b", "bd-a", "bd-c", "bd-d"]
    found = verification.verify(here.past())
    assert (found.differences, found.planned_not_made, found.same) == ([], [], 8)


def test_a_decision_that_is_not_explained_is_a_difference(
    doltlite: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole queue doesn't explain an entry that is wrong in the ledger."""
    monkeypatch.setattr(queue_front, "FRONT", 1)
    here = Light(doltlite)
    here.assign(*(f"bd-{number}" for number in range(8)))
    here.tick()
    here.sql("UPDATE watch_decision SET attempt = 5 WHERE kind = 'claim'")
    assert "attempt" in {one.field for one in verification.verify(here.past()).differences}


def test_beads_stay_in_the_order_of_the_state() -> None:
    """The first bead in the state gets the first of two decisions that are due at the same time."""
    beads = [
        Bead(id=f"bd-{number}", phase=phase, rule="agent", since=AT, cause="c", rank=(number,))
        for number, phase in enumerate([Phase.CLAIMED, Phase.WAITING, Phase.UNKNOWN] * 20)
    ]
    for order in (beads, beads[::-1]):
        state = State("c", "c", {bead.id: bead for bead in order})
        front = QueueFront().of(state, Policy((Rule("agent"),), timedelta()))
        kept = [bead.id for bead in order if bead.id in front.beads]
        assert list(front.beads) == kept and 40 < len(kept) <= 60


def test_the_front_follows_history(doltlite: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A front that follows each commit equals a front that is sorted again at each commit."""
    monkeypatch.setattr(queue_front, "FRONT", 1)
    here = Light(doltlite, max_in_flight=2)
    here.target.free = Capacity(2)
    here.target.answers.extend([Refused("HTTP 500", 500), Unknown("?"), Busy("HTTP 409", 409)])
    here.assign(*(f"bd-{number}" for number in range(8)))
    here.tick()
    here.sql("UPDATE issues SET priority = 0 WHERE id = 'bd-7'")
    here.sql("UPDATE issues SET assignee = 'ann' WHERE id = 'bd-3'")
    here.tick(9 * MINUTE)
    here.sql("UPDATE issues SET id = 'bd-new' WHERE id = 'bd-5'")
    here.sql("DELETE FROM issues WHERE id = 'bd-6'")
    here.assign("bd-first", priority=0)
    here.tick(40 * MINUTE)
    past = here.past()
    begin = past.first_replayable_commit()
    assert begin is not None
    front, cut = QueueFront(), 0
    for step in past.steps(begin):
        front.follow(step)
        state, policy = step.projection.state(), step.settings.policy
        found = front.of(state, policy)
        assert found == QueueFront().of(state, policy)
        waiting = {id for id, bead in state.beads.items() if bead.phase is Phase.WAITING}
        assert state.beads.keys() - found.beads.keys() <= waiting
        cut += len(state.beads) - len(found.beads)
    assert cut > 10
