"""`status`, `why`, the report page and the log name the same hold reason for a bead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from dolt_watch.cli.composition import ledger
from dolt_watch.controller.loop import ControlLoop
from dolt_watch.controller.state_reader import StateReader
from dolt_watch.core.decisions.policy import BOTH
from dolt_watch.core.model import GLOBAL, Capacity, Decision, EntryKind
from dolt_watch.core.model.target_answers import Busy, Refused
from dolt_watch.engines import Engine
from dolt_watch.inspection.report.collector import ReportCollector
from dolt_watch.inspection.report.html import render
from dolt_watch.inspection.status import collect_status
from dolt_watch.inspection.why.decision_snapshot import snapshot_now
from dolt_watch.inspection.why.explanation import explain
from dolt_watch.log_events import LogEvent
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Light
from tests.support.lines import Records, build, build_reader
from tests.support.report_page import data_of, rows_of

MINUTE = timedelta(minutes=1)
WAITS = ["bd-a", "bd-b", "bd-c", "bd-d"]


class Stands(Light):
    """A tracker with four waiting beads. Every command sees it at the moment ``at``."""

    at = 2 * MINUTE

    def loop(self, hear: Any) -> ControlLoop:
        clock = ShiftedClock(self.at)
        return build(self.engine, self.settings, lambda name: self.target, clock, hear)

    def reader(self) -> StateReader:
        clock = ShiftedClock(self.at)
        return build_reader(
            self.engine, self.settings, lambda name: self.target, clock, self.lines.append
        )

    def decided(self, kind: str, **detail: str) -> None:
        one = Decision(EntryKind(kind), GLOBAL, "", 0, "", reason="lunch", detail=detail)
        ledger(self.engine, self.settings).record(one)


def nothing(here: Stands) -> None:
    here.target.free = Capacity(0, "busy with a person's job")


def paused(here: Stands) -> None:
    here.decided("pause", by="tess")


def slots_taken(here: Stands) -> None:
    here.tick(MINUTE)


def slots_taken_and_one_blocked(here: Stands) -> None:
    here.tick(MINUTE)
    here.sql(
        "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes)"
        " VALUES ('bd-x', 't', '', '', '', '')",
        "INSERT INTO dependencies (issue_id, depends_on_id, type, created_by) VALUES ('bd-c',"
        " 'bd-x', 'blocks', 'ann')",
    )


def paused_and_one_deferred(here: Stands) -> None:
    here.decided("pause", by="tess")
    here.sql("UPDATE issues SET defer_until = '2099-01-01 00:00:00' WHERE id = 'bd-b'")


def one_failed(here: Stands) -> None:
    here.target.answers.append(Refused("HTTP 500: boom", 500))
    here.tick(MINUTE)
    here.at = MINUTE + timedelta(seconds=10)


def one_failed_for_good(here: Stands) -> None:
    here.target.answers.append(Refused("HTTP 400: no", 400, permanent=True))
    here.tick(MINUTE)


def resting(here: Stands) -> None:
    here.target.answers.append(Busy("HTTP 409: {}", 409))
    here.tick(MINUTE)
    here.at = MINUTE + timedelta(seconds=5)


def settling(here: Stands) -> None:
    here.decided("pause", by="tess")
    here.settings = replace(here.settings, settle=timedelta(days=2))


def one_loose_change(here: Stands) -> None:
    here.settings = replace(here.settings, adopt=False)
    here.target.free = Capacity(0, "busy")
    with here.engine.transaction() as tx:
        tx.execute("UPDATE issues SET assignee = 'ann' WHERE id = 'bd-c'")
        tx.commit()


def an_hour_s_worth(here: Stands) -> None:
    here.change(max_per_hour=1)
    here.tick(MINUTE)
    here.sql("UPDATE issues SET status = 'closed' WHERE id = 'bd-a'")


SITUATIONS: list[tuple[Callable[[Stands], None], str, dict[str, str]]] = [
    (nothing, "capacity", {}),
    (paused, "paused", {}),
    (slots_taken, "max_in_flight", {}),
    (slots_taken_and_one_blocked, "max_in_flight", {"bd-c": "ready"}),
    (paused_and_one_deferred, "paused", {"bd-b": "ready"}),
    (one_failed, "max_in_flight", {"bd-a": "backoff"}),
    (one_failed_for_good, "max_in_flight", {"bd-a": "quarantined"}),
    (resting, "resting", {}),
    (settling, "paused", dict.fromkeys(WAITS, "settle")),
    (one_loose_change, "capacity", {"bd-c": "uncommitted"}),
    (an_hour_s_worth, "max_per_hour", {}),
]


@pytest.mark.parametrize(("situation", "whole", "own"), SITUATIONS)
def test_all_four_agree(
    doltlite: Engine, situation: Callable[[Stands], None], whole: str, own: dict[str, str]
) -> None:
    here = Stands(doltlite)
    here.tick(timedelta())
    here.assign(*WAITS)
    situation(here)
    targets = here.target

    now = collect_status(here.reader(), lambda name: targets.capacity())
    status = {bead.bead: bead.why for bead in now.beads}
    gates = {bead.bead: bead.gate for bead in now.beads if bead.gate}
    assert (gates, now.rules["agent"].gate) == (own, whole)
    waiting = [bead for bead in now.beads if bead.place]
    turn = [bead for bead in waiting if not bead.gate]
    places = [f"place {number} of {len(turn)} in the queue" for number in range(1, len(turn) + 1)]
    assert sorted(bead.why for bead in turn) == places

    for bead in [*waiting, *(one for one in now.beads if one.phase == "quarantined")]:
        found = explain(
            here.engine, bead.bead, here.head(), partial(snapshot_now, here.reader(), bead.bead)
        )
        (view,) = found.views
        assert (view.reason, view.rule_held) == (status[bead.bead], now.rules["agent"].why)

    page = ReportCollector().report(
        here.reader(),
        lambda at: at - timedelta(hours=1),
        (),
        lambda name: targets.capacity(),
    )
    html = render("report", page)
    data = data_of(html)
    rows = rows_of(data)
    waiting_on_page = {bead.bead: rows[bead.bead].why for bead in waiting}
    assert waiting_on_page == {bead.bead: status[bead.bead] for bead in waiting}
    assert [rule[4] for rule in data["rules"]] == [now.rules["agent"].why or whole]
    assert now.held_rules == page.now.held_rules

    kept = Records()
    here.loop(kept).tick(BOTH, thorough=True)
    lines = kept.records
    said = {
        line.fields["bead"]: line.getMessage() for line in lines if line.event is LogEvent.HOLDING
    }
    # A tick checks only the rows of beads with a slot, and reports no unchecked hold.
    assert said.items() <= {id: f"holding {id}: {status[id]}" for id in gates}.items()
    assert {id for id in gates if gates[id] not in ("ready",)} <= said.keys()
    (rule,) = [line for line in lines if line.event is LogEvent.RULE_HELD]
    assert (rule.fields["rule"], rule.fields["gate"]) == ("agent", whole)
    assert rule.getMessage().startswith(f"holding rule agent: {now.rules['agent'].why}")
