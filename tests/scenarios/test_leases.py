"""Heartbeats of bd 1.3 are signs of life, although no commit contains them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from dolt_watch.controller.executors import LiveExecutor
from dolt_watch.core.model import Capacity
from dolt_watch.core.model.target_answers import Unknown
from dolt_watch.engines import Engine, Param
from dolt_watch.inspection.why.conditions import Condition
from dolt_watch.inspection.why.decision_snapshot import NO_EVENTS, snapshot_now
from dolt_watch.inspection.why.explanation import Explanation, explain
from dolt_watch.replay.verification import verify
from dolt_watch.timestamps import to_utc
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Light
from tests.support.lines import build_reader

MINUTE = timedelta(minutes=1)


class Tracker(Light):
    """A tracker of bd 1.3 with an agent that sends heartbeats."""

    def __init__(self, engine: Engine, **rule: Any) -> None:
        super().__init__(engine, shape="1.3", **rule)

    def now(self) -> datetime:
        at = to_utc(self.engine.query("SELECT UTC_TIMESTAMP(6)")[0][0])
        assert at is not None
        return at

    def heartbeat(
        self, at: timedelta, bead: str = "bd-a", expires: timedelta | None = None
    ) -> None:
        """Write a heartbeat as `bd heartbeat` does: a row of `leases` without a commit."""
        moment = (self.now() + at).replace(microsecond=0)
        until = moment + 5 * MINUTE if expires is None else self.now() + expires
        values: list[Param] = [bead, "agent", moment, until, moment]
        with self.engine.transaction() as tx:
            tx.execute(
                "REPLACE INTO leases (issue_id, holder, granted_at, lease_expires_at, heartbeat_at)"
                " VALUES (?, ?, ?, ?, ?)",
                values,
            )
            tx.commit()

    def given(self, bead: str = "bd-a") -> Any:
        rows = self.engine.query(
            "SELECT detail FROM watch_decision WHERE bead_id = ? ORDER BY version DESC LIMIT 1",
            (bead,),
        )
        return orjson.loads(rows[0][0])["given"]


@pytest.fixture
def here(doltlite: Engine) -> Tracker:
    made = Tracker(doltlite)
    made.assign("bd-a")
    made.tick(MINUTE, reap=False)
    return made


def test_a_heartbeat_spares_and_its_end_does_not(here: Tracker) -> None:
    here.heartbeat(39 * MINUTE)
    spared = here.tick(40 * MINUTE)
    assert here.kinds("bd-a") == ["claim", "dispatched"]
    assert next(row.then for row in spared.reap_table).startswith(
        "keep (agent has a lease, last heartbeat "
    )
    assert any(line.startswith("keeping bd-a (agent has a lease") for line in here.lines)
    here.tick(72 * MINUTE)
    assert here.kinds("bd-a") == ["claim", "dispatched", "reap"]
    holder, heartbeat, _ = here.given()["leases"]["bd-a"]
    # The heartbeat uses the database's clock, shifted. Near midnight it belongs to the next day.
    assert holder == "agent"
    assert heartbeat[:10] in {str(here.now() + shift)[:10] for shift in (0 * MINUTE, 39 * MINUTE)}
    found = verify(here.past())
    assert (found.same, found.differences) == (3, [])


def test_the_lease_that_was_seen_is_recorded_of_the_bead_that_was_spared(here: Tracker) -> None:
    """The record alone shows why the other bead was reaped first."""
    here.target.free = Capacity(2)
    here.change(max_in_flight=2)
    here.assign("bd-b")
    here.tick(MINUTE, reap=False)
    here.heartbeat(39 * MINUTE)
    here.tick(40 * MINUTE)
    assert (here.kinds("bd-a"), here.kinds("bd-b")[-1]) == (["claim", "dispatched"], "reap")
    assert list(here.given("bd-b")["leases"]) == ["bd-a"]
    assert verify(here.past()).differences == []


def test_a_lease_of_the_far_future_spares_nobody(here: Tracker) -> None:
    here.heartbeat(timedelta(days=3650))
    here.tick(40 * MINUTE)
    assert here.kinds("bd-a")[-1] == "reap"


def test_a_heartbeat_between_decision_and_write_spares(
    here: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heartbeat changes neither HEAD nor the fence."""
    handle, beats = LiveExecutor.execute, iter([39 * MINUTE])

    def late(self: LiveExecutor, plan: Any, standing: Any) -> Any:
        for at in beats:
            here.heartbeat(at)
        return handle(self, plan, standing)

    monkeypatch.setattr(LiveExecutor, "execute", late)
    outcome = here.tick(40 * MINUTE)
    assert (here.kinds("bd-a"), outcome.conflicts) == (["claim", "dispatched"], 1)


def test_an_attempt_with_a_lease_is_not_given_up(doltlite: Engine) -> None:
    here = Tracker(doltlite)
    here.target.answers.append(Unknown("no answer"))
    here.assign("bd-a")
    here.tick(MINUTE)
    here.target.free = Capacity(1, idle=True)
    here.heartbeat(29 * MINUTE)
    here.tick(30 * MINUTE)
    assert (here.kinds("bd-a"), len(here.target.sent)) == (["claim", "unknown"], 1)
    here.tick(65 * MINUTE)
    assert here.kinds("bd-a")[2:3] == ["retry"]
    assert verify(here.past()).differences == []


def test_why_shows_the_lease_and_that_no_commit_holds_events(here: Tracker) -> None:
    def why(at: timedelta) -> tuple[Explanation, dict[str, Condition]]:
        loop = build_reader(
            here.engine,
            here.settings,
            lambda name: here.target,
            ShiftedClock(at),
            here.lines.append,
        )
        found = explain(here.engine, "bd-a", here.head(), lambda: snapshot_now(loop, "bd-a"))
        return found, {one.name: one for one in found.views[0].conditions}

    found, conditions = why(2 * MINUTE)
    assert "lease" not in conditions and NO_EVENTS in found.snapshot.notes
    here.heartbeat(39 * MINUTE)
    for at, fresh in ((40 * MINUTE, True), (72 * MINUTE, False)):
        found, conditions = why(at)
        assert conditions["lease"].satisfied is fresh
        assert conditions["lease"].value.startswith("agent, heartbeat at ")
        assert ("the next reap takes it" in found.views[0].verdict) is not fresh


def test_leases_are_read_only_where_a_bead_is_silent(
    here: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    query = here.engine.query

    def counted(sql: str, params: Any = ()) -> Any:
        asked.append(sql)
        return query(sql, params)

    monkeypatch.setattr(here.engine, "query", counted)
    here.tick(2 * MINUTE)
    here.heartbeat(2 * MINUTE)
    asked.clear()
    assert here.tick(3 * MINUTE).rounds == 0
    assert len(asked) == 1, "a heartbeat leaves an idle tick at its one query"
    here.tick(40 * MINUTE)
    assert sum("FROM leases" in sql for sql in asked) >= 1


def test_our_own_and_other_rows_of_events_leave_a_tick_idle(here: Tracker) -> None:
    """Each write of bd changes the working hash of an ignored table, but the tick stays idle."""
    here.tick(2 * MINUTE)
    before = here.head()
    with here.engine.transaction() as tx:
        tx.execute(
            "INSERT INTO events (id, issue_id, event_type, actor) VALUES ('e', 'bd-a', 'updated',"
            " 'ada')"
        )
        tx.commit()
    outcome = here.tick(3 * MINUTE)
    assert (outcome.rounds, here.head()) == (0, before)
    assert not any("adopt" in line for line in here.lines)
