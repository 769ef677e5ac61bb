"""Immediate decisions from facts that a target reports about its runs.

The facts are a start, a missing start, a usage limit and new output.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

import pytest

from dolt_watch.core.decisions.candidates import select_candidates
from dolt_watch.core.decisions.policy import (
    IMMEDIATELY,
    RECHECK_INTERVAL,
    Observations,
    Plan,
    Policy,
    Scope,
)
from dolt_watch.core.model import Bead, EntryKind, JobReport, Outage, Phase, Rule, Verdict
from dolt_watch.core.model.reason_codes import ReasonCode
from tests.unit.core.decisions.test_planner import BOTH, FREE, NOW, bead, kinds, plan, state

MINUTE = timedelta(minutes=1)
UNKNOWN = bead("a", Phase.UNKNOWN, age=5, token="t1", attempt=2)
RUNNING = bead("a", Phase.RUNNING, age=60, token="t1", job="j1", attempt=2)
STALE = RUNNING._replace(since=NOW - 45 * MINUTE, sent_at=NOW - 45 * MINUTE)
LIMIT = JobReport(
    Verdict.FINISHED, "usage limit", "limit reached, resets 6pm", dead=True, limited=True
)
NEVER = JobReport(
    Verdict.LOST, "not started", "its agent was never started", dead=True, started=False
)


def answered(one: Bead, report: JobReport, **more: Any) -> Plan:
    return plan(one, outside=Observations(FREE, {}, {one.id: report}), **more)


# -- attempts of unknown outcome --------------------


@pytest.mark.parametrize(
    "report",
    [
        JobReport(Verdict.RUNNING, "running"),
        JobReport(Verdict.FINISHED, "failed", "exit code 1", dead=True),
        JobReport(Verdict.LOST, "lost", "the host was restarted", dead=True),
    ],
)
def test_a_run_that_started_is_a_dispatch(report: JobReport) -> None:
    (made,) = answered(UNKNOWN, report).decisions
    assert (made.kind, made.bead, made.token, made.job) == (EntryKind.DISPATCHED, "a", "t1", "t1")
    assert made.note == "dispatched: job=t1" and made.status == ""
    assert made.reason_code is ReasonCode.RUN_STARTED
    (named,) = answered(UNKNOWN, report._replace(job="pod-7")).decisions
    assert (named.job, named.note) == ("pod-7", "dispatched: job=pod-7")


def test_a_run_that_never_started_is_tried_again_at_once_and_not_counted() -> None:
    (made,) = answered(UNKNOWN, NEVER).decisions
    assert (made.kind, made.status, made.reason) == (
        EntryKind.RETRY,
        "open",
        "its agent was never started",
    )
    assert (
        made.detail["uncounted"] is True
        and made.detail["uncounted_claim"] == UNKNOWN.sent_at.isoformat()
    )  # type: ignore[union-attr]
    assert "retry_at" not in made.detail
    assert made.reason_code is ReasonCode.NEVER_STARTED
    (wordless,) = answered(UNKNOWN, NEVER._replace(error="")).decisions
    assert wordless.reason == "it was never started"


@pytest.mark.parametrize(
    ("one", "report"),
    [
        (UNKNOWN, JobReport(Verdict.UNKNOWN, error="the state directory is locked")),
        (UNKNOWN, NEVER._replace(dead=False)),
        (UNKNOWN._replace(rule="gone"), NEVER),
        (UNKNOWN._replace(token=""), NEVER),
    ],
)
def test_what_is_not_known_decides_nothing(one: Bead, report: JobReport) -> None:
    assert kinds(answered(one, report)) == []


def test_only_a_dispatcher_settles() -> None:
    assert kinds(answered(UNKNOWN, NEVER, scope=Scope(reap=True))) == []


@pytest.mark.parametrize(
    ("deduplicating", "scope", "due"),
    [
        ((), BOTH, UNKNOWN.since + timedelta(minutes=10)),
        (("beadboard",), BOTH, NOW + RECHECK_INTERVAL),
        (("beadboard",), Scope(reap=True), IMMEDIATELY),
    ],
)
def test_a_target_that_deduplicates_is_asked_at_once(
    deduplicating: Collection[str], scope: Scope, due: Any
) -> None:
    policy = Policy([Rule("agent")], timedelta(seconds=2), deduplicating=deduplicating)
    asked = select_candidates(state(UNKNOWN), policy, NOW, scope)
    assert asked.due["dispatch"] == due
    assert asked.unsettled == ((UNKNOWN,) if scope.dispatch else ())


def test_an_attempt_that_is_unknown_for_long_is_settled_by_its_target_first() -> None:
    old = UNKNOWN._replace(since=NOW - timedelta(hours=1))
    assert kinds(answered(old, NEVER))[0] == (EntryKind.RETRY, "a")


def test_silence_is_no_evidence_where_the_target_can_tell() -> None:
    old = UNKNOWN._replace(since=NOW - timedelta(hours=1))
    rule = Rule("agent", on_unknown="retry")
    assert kinds(plan(old, rule=rule)) == [(EntryKind.RETRY, "a")]
    assert kinds(answered(old, JobReport(Verdict.UNKNOWN), rule=rule)) == []


# -- usage limits --------------------


@pytest.mark.parametrize("one", [RUNNING, STALE])
def test_a_limit_rests_the_target_and_counts_against_no_bead(one: Bead) -> None:
    made = answered(one, LIMIT)
    (decision,) = made.decisions
    assert (decision.kind, decision.status, decision.note) == (EntryKind.BUSY, "open", "")
    assert decision.reason == "limit reached, resets 6pm"
    assert decision.reason_code is ReasonCode.USAGE_LIMIT
    assert (decision.token, decision.job) == ("t1", "j1")
    assert decision.detail["target"] == "beadboard" and decision.detail["busy"] == 1
    assert decision.detail["ended"] == "usage limit"
    assert decision.detail["uncounted_claim"] == one.sent_at.isoformat()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("resets", "rests"),
    [
        (None, MINUTE),
        (timedelta(hours=3), timedelta(hours=3)),
        (timedelta(days=3), timedelta(days=1)),
        (timedelta(seconds=-5), MINUTE),
    ],
)
def test_how_long_it_rests(resets: timedelta | None, rests: timedelta) -> None:
    report = LIMIT._replace(resets_at=None if resets is None else NOW + resets)
    (decision,) = answered(RUNNING, report).decisions
    assert decision.detail["until"] == (NOW + rests).isoformat()


@pytest.mark.parametrize(("busy", "minutes"), [(1, 2), (3, 8), (5, 30), (9, 30)])
def test_limits_in_a_row_rest_it_longer(busy: int, minutes: int) -> None:
    (decision,) = answered(
        RUNNING, LIMIT, busy={"beadboard": busy}, cooldowns={"beadboard": NOW}
    ).decisions
    assert decision.detail["until"] == (NOW + minutes * MINUTE).isoformat()
    assert decision.detail["busy"] == busy + 1


@pytest.mark.parametrize(("busy", "number"), [(0, 1), (1, 1), (3, 3)])
def test_agents_side_by_side_meet_one_limit(busy: int, number: int) -> None:
    rests = NOW + timedelta(hours=2)
    (decision,) = answered(
        RUNNING, LIMIT, busy={"beadboard": busy}, cooldowns={"beadboard": rests}
    ).decisions
    assert decision.detail["until"] == rests.isoformat(), "the longer rest stays"
    assert decision.detail["busy"] == number


def test_a_limit_of_processes_that_live_rests_nothing() -> None:
    assert kinds(answered(RUNNING, LIMIT._replace(dead=False))) == []


# -- ends, and signs of life --------------------


@pytest.mark.parametrize("word", ["failed", "killed", "timeout", "stopped", "lost"])
def test_a_dead_run_ends_its_attempt_at_once(word: str) -> None:
    verdict = Verdict.LOST if word == "lost" else Verdict.FINISHED
    report = JobReport(verdict, word, "boom", dead=True)
    (blocked,) = answered(RUNNING, report).decisions
    assert (blocked.kind, blocked.status) == (EntryKind.REAP, "blocked")
    assert blocked.note == f"reaper: job j1 ended {word}: boom — blocking"
    (again,) = answered(RUNNING, report, rule=Rule("agent", on_stale="requeue")).decisions
    assert (again.kind, again.status) == (EntryKind.REQUEUE, "open")


def test_exit_0_with_the_bead_in_progress_is_said_and_waits_for_the_reaper() -> None:
    done = JobReport(Verdict.FINISHED, "completed", dead=True)
    made = answered(RUNNING, done)
    assert made.decisions == ()
    assert made.holds["a"].why == "its job j1 ended completed, but the bead is still in progress"
    (reaped,) = answered(STALE, done).decisions
    assert reaped.note == "reaper: job j1 ended completed — blocking"


def test_new_output_spares_a_silent_bead() -> None:
    wrote = JobReport(Verdict.RUNNING, "running", active_at=NOW - 30 * MINUTE)
    late = STALE._replace(since=NOW - timedelta(hours=5))
    spared = answered(late, wrote)
    assert spared.decisions == () and spared.holds["a"].gate == "output"
    assert spared.holds["a"].why == "its job wrote output at 2026-04-18T22:05:46Z"
    silent = wrote._replace(active_at=NOW - 31 * MINUTE)
    assert kinds(answered(late, silent)) == [(EntryKind.REAP, "a")]
    ahead = wrote._replace(active_at=NOW + timedelta(days=1))
    assert answered(late, ahead).holds["a"].why == "its job wrote output at 2026-04-18T22:35:46Z", (
        "a clock is wrong"
    )


def test_an_outage_does_not_keep_a_target_from_settling() -> None:
    outage = Outage(NOW - MINUTE, "boom", "target", NOW + MINUTE, recorded=True)
    assert (EntryKind.RETRY, "a") in kinds(answered(UNKNOWN, NEVER, outages={"beadboard": outage}))
