"""A bead that two rules match belongs to the first rule in the file, and `why` reports it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dolt_watch.clock import DatabaseClock
from dolt_watch.core.model.rule import Rule
from dolt_watch.engines import Engine
from dolt_watch.inspection.why.decision_snapshot import snapshot_now
from dolt_watch.inspection.why.explanation import explain
from tests.support.embedded_tracker import Light
from tests.support.lines import build_reader

RULES = (
    Rule("low", when="priority > 3 AND status = 'open'"),
    Rule("agent", when="assignee = 'agent' AND status = 'open'"),
    Rule("urgent", when="priority = 0 AND status = 'open'"),
    Rule("any", when="status = 'open'", ready=False),
)


@pytest.fixture
def here(doltlite: Engine) -> Light:
    made = Light(doltlite)
    made.settings = replace(made.settings, rules=RULES)
    made.assign("bd-a", priority=0)
    return made


TOO = "bd-a matches rule urgent, any too. Rule agent applies, because it is the first in the file"


def test_why_says_so_while_it_waits(here: Light) -> None:
    def notes() -> tuple[str, ...]:
        loop = build_reader(
            here.engine, here.settings, lambda name: here.target, DatabaseClock(), here.lines.append
        )
        return explain(
            here.engine, "bd-a", here.head(), lambda: snapshot_now(loop, "bd-a")
        ).snapshot.notes

    assert notes() == (TOO,)
    here.tick()
    assert notes() == ()


def test_nothing_is_said_where_no_rule_is_behind(here: Light) -> None:
    here.settings = replace(here.settings, rules=RULES[:2])
    loop = build_reader(
        here.engine, here.settings, lambda name: here.target, DatabaseClock(), here.lines.append
    )
    now = explain(here.engine, "bd-a", here.head(), lambda: snapshot_now(loop, "bd-a"))
    assert now.snapshot.notes == ()


def test_the_tick_that_dispatches_it_reads_no_other_rule(here: Light) -> None:
    here.tick()
    assert here.target.sent == ["bd-a"]
    assert not any("matches rule" in line for line in here.lines)
