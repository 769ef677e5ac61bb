"""Signs of life: the beads that they spare, their messages, and the cost of the check."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from dolt_watch.controller.reap_table import ReapCandidate
from dolt_watch.core.decisions.policy import Scope
from dolt_watch.core.model import JobReport, Verdict
from dolt_watch.engines import Engine
from dolt_watch.replay.verification import verify
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Light
from tests.support.lines import build_dry_run

LATE = timedelta(minutes=45)
SET = "UPDATE issues SET {} WHERE id = '{}'"
PARENT = (
    "INSERT INTO dependencies (issue_id, depends_on_id, type, created_by) VALUES ('{}', '{}',"
    " 'parent-child', 'ann')"
)


@pytest.fixture
def here(doltlite: Engine) -> Light:
    """Return a tracker in which bd-run is running."""
    made = Light(doltlite)
    made.assign("bd-run")
    assert made.tick().dispatched == 1
    return made


def minutes_on(amount: int) -> str:
    return f"{datetime.now(UTC) + timedelta(minutes=amount):%Y-%m-%d %H:%M:%S}"


@pytest.mark.parametrize("depth", [1, 2])
def test_an_epic_lives_by_its_children(here: Light, depth: int) -> None:
    here.assign("bd-child")
    here.assign("bd-between")
    here.sql("UPDATE issues SET assignee = '' WHERE id <> 'bd-run'")
    chain = ["bd-child", "bd-run"] if depth == 1 else ["bd-child", "bd-between", "bd-run"]
    here.sql(*(PARENT.format(*pair) for pair in pairwise(chain)))
    later = minutes_on(40)
    here.sql(SET.format(f"title = 'worked on', updated_at = '{later}'", "bd-child"))
    assert here.tick(LATE, dispatch=False).reaped == 0
    assert any("its child bd-child has a change of" in line for line in here.lines)
    assert here.tick(timedelta(minutes=90), dispatch=False).reaped == 1


@pytest.mark.parametrize(
    ("ahead", "spares"), [(timedelta(days=23_000), False), (timedelta(hours=13), True)]
)
def test_a_child_whose_clock_is_ahead_spares_its_epic_within_a_zone_and_not_for_ever(
    here: Light, ahead: timedelta, spares: bool
) -> None:
    here.assign("bd-child")
    here.sql(SET.format("assignee = ''", "bd-child"), PARENT.format("bd-child", "bd-run"))
    dated = minutes_on(ahead // timedelta(minutes=1))
    here.sql(SET.format(f"title = 'worked on', updated_at = '{dated}'", "bd-child"))
    assert here.tick(LATE, dispatch=False).reaped == (not spares)
    assert here.tick(timedelta(hours=15), dispatch=False).reaped == spares
    assert verify(here.past()).differences == []


def test_a_comment_from_a_clock_that_is_hours_behind_spares_and_is_told(here: Light) -> None:
    past = minutes_on(-480)
    here.sql(
        "INSERT INTO comments (id, issue_id, author, text, created_at) VALUES ('c', 'bd-run',"
        f" 'agent-7', 'busy', '{past}')"
    )
    assert here.tick(timedelta(minutes=29), dispatch=False).reaped == 0
    assert any(
        line.startswith("warning: a comment of bd-run by agent-7 is dated 8h")
        for line in here.lines
    ), here.lines


def test_the_table_of_a_dry_run(here: Light) -> None:
    def table(verdict: JobReport, at: timedelta = LATE) -> ReapCandidate:
        here.target.verdict = lambda job, started: verdict  # type: ignore[method-assign]
        loop = build_dry_run(
            here.engine,
            here.settings,
            lambda name: here.target,
            ShiftedClock(at),
            here.lines.append,
        )
        (row,) = loop.tick(Scope(reap=True)).reap_table
        return row

    row = table(JobReport(Verdict.UNKNOWN))
    assert (row.bead, row.sign, row.idle // timedelta(minutes=1), row.verdict, row.then) == (
        "bd-run",
        "no sign of life",
        44,
        "unknown",
        "block",
    )
    assert table(JobReport(Verdict.RUNNING, "queued"))[3:] == (
        "queued",
        "keep (the target reports that its job job1 is queued)",
    )
    assert table(JobReport(Verdict.RUNNING, "running"), timedelta(hours=2)).then == "block", (
        "max_runtime"
    )
    here.change(on_stale="requeue")
    assert table(JobReport(Verdict.FINISHED, "failed", "boom")).then == "requeue"
    assert table(JobReport(Verdict.FINISHED, "timeout")).then == "block", (
        "a timeout does not stop the agent"
    )
    assert table(JobReport(Verdict.UNKNOWN), timedelta(minutes=5)).verdict == "-", (
        "not asked before it is stale"
    )


def test_a_target_that_stays_busy_costs_no_write(here: Light) -> None:
    here.sql(SET.format("status = 'closed'", "bd-run"))
    here.assign("bd-next")
    here.target.free = here.target.free._replace(slots=0, why="busy")
    here.tick()

    def saved() -> str:
        return str(here.engine.query("SELECT saved FROM watch_cursor")[0][0])

    before = saved()
    for minute in (2, 3, 4):
        assert here.tick(timedelta(minutes=minute)).dispatched == 0
    assert saved() == before
    here.target.free = here.target.free._replace(slots=1)
    assert here.tick(timedelta(minutes=5)).dispatched == 1
