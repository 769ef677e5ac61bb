"""The content of a what-if page: the queue and the running beads in both versions, and the
settings.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta

import pytest

from dolt_watch.core.model import Bead, Phase
from dolt_watch.engines.address import FileAddress
from dolt_watch.inspection.report.html import render
from dolt_watch.inspection.report.what_if import Compared, changed_settings, mentioned_beads
from dolt_watch.replay.simulation.queue_depth import QueueDepthRecorder
from dolt_watch.replay.simulation.what_if import WhatIfResult
from dolt_watch.stats import QueueDepth
from tests.support.history import Deeds, History, clock


@pytest.fixture
def history(doltlite_path: FileAddress) -> Iterator[History]:
    made = History(doltlite_path)
    with contextlib.closing(made.engine):
        yield made.at("10:00")


def both(study: WhatIfResult) -> tuple[tuple[QueueDepth, ...], ...]:
    return tuple(one.since(study.question.begins.date) for one in study.depths)


def over_time(depths: tuple[QueueDepth, ...]) -> list[tuple[str, int, int]]:
    return [(f"{one.at:%H:%M:%S}", one.waiting, one.under_way) for one in depths]


TWO: Deeds = {
    "10:01": lambda h: h.new("a"),
    "10:03": lambda h: h.new("b"),
    "10:11:30": lambda h: h.set("a", status="closed"),
    "10:25:30": lambda h: h.set("b", status="closed"),
}


def test_depths_recorded_and_here(history: History) -> None:
    history.play("10:40", TWO)
    recorded, here = both(history.what_if(max_in_flight="2"))
    assert over_time(recorded)[1:] == [
        ("10:01:00", 1, 0),
        ("10:02:00", 0, 1),
        ("10:03:00", 1, 1),
        ("10:11:30", 1, 0),
        ("10:12:00", 0, 1),
        ("10:25:30", 0, 0),
    ]
    assert over_time(here)[1:] == [
        ("10:01:00", 1, 0),
        ("10:02:00", 0, 1),
        ("10:03:00", 1, 1),
        ("10:04:00", 0, 2),
        ("10:11:30", 0, 1),
        ("10:17:30", 0, 0),
    ]
    assert recorded[0] == here[0]._replace(at=recorded[0].at)


def test_depths_from_the_middle(history: History) -> None:
    """A simulation may begin with beads that already wait and run."""
    history.play("10:40", TWO)
    middle = next(
        one.hash
        for one in history.engine.commits(None, history.head())
        if one.date == clock("10:03")
    )
    recorded, here = both(history.what_if(begins=middle))
    assert [over_time(depths)[0] for depths in (recorded, here)] == [("10:03:00", 1, 1)] * 2
    assert over_time(here) == over_time(recorded)


def test_depths_after_state_was_made_anew(history: History) -> None:
    """A changed rule causes a rebuild, after which beads stop waiting without an event."""
    history.new("a", "b")
    history.new("c", assignee="other")
    history.tick()
    history.at("10:04").tick(when="assignee = 'other' AND status = 'open'", max_in_flight="2")
    history.at("10:06").new("the-end", assignee="")
    recorded, _ = both(history.what_if(run_time=timedelta(minutes=5)))
    assert recorded[-1].waiting == 0


def test_depths_of_one_rule_and_of_wrong_clocks() -> None:
    at = clock("10:00")
    one = {
        bead: Bead(bead, Phase.WAITING, rule, at, "")
        for bead, rule in (("a", "agent"), ("b", "other"))
    }
    depths = QueueDepthRecorder(one, "agent")
    depths.record(clock("10:05"), "b", one["b"]._replace(phase=Phase.RUNNING))
    depths.record(clock("9:00"), "a", one["a"]._replace(phase=Phase.CLAIMED))
    depths.record(clock("10:09"), "a", None)
    assert over_time(depths.since(at)) == [
        ("10:00:00", 1, 0),
        ("10:00:00", 0, 1),
        ("10:09:00", 0, 0),
    ]
    depths.reset(clock("10:10"), one)
    assert over_time(depths.since(at))[-1] == ("10:10:00", 1, 0)


def test_settings_that_are_asked_about(history: History) -> None:
    history.play("10:40", TWO)
    assert changed_settings(history.what_if()) == []
    found = changed_settings(
        history.what_if(stale_after="9m", ready="false", running="status = 'hooked'")
    )
    assert found == [
        ("rules.agent.ready", "true", "false"),
        ("rules.agent.running", "not set", "status = 'hooked'"),
        ("rules.agent.stale_after", "30m", "9m"),
    ]


def test_settings_where_nothing_was_decided(history: History) -> None:
    history.new("the-end", assignee="")
    study: WhatIfResult = history.what_if(begins=history.head())
    assert (study.last_policy, changed_settings(study)) == (None, [])
    assert "No decision is recorded" in render("whatif", Compared(study, {}))


def test_what_others_wrote_is_text(history: History) -> None:
    evil = "<script>\u202e"
    history.new(evil, priority=3)
    history.tick()
    history.at("10:04").new("the-end", assignee="")
    study = history.what_if(when="assignee = 'x'")
    page = render("whatif", Compared(study, {evil: "<script>alert(1)</script>"}))
    assert mentioned_beads(study) == {evil}
    assert (
        page.count("<script") == 3
        and "\u202e" not in page
        and "\\u003cscript\\u003e\\\\u202e" in page
    )
