"""Silent beads: the time of their next check, and the decisions about them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from dolt_watch.core.decisions.candidates import orphaned_pauses, select_candidates
from dolt_watch.core.decisions.policy import (
    IMMEDIATELY,
    Candidates,
    Observations,
    Policy,
    Scope,
    active_pause,
    last_activity,
    sets_status,
    stale_at,
)
from dolt_watch.core.decisions.reap_policy import silence_cutoffs
from dolt_watch.core.model import (
    ActivitySignal,
    Bead,
    Capacity,
    Decision,
    EntryKind,
    HoldReason,
    JobReport,
    Lease,
    Pause,
    Phase,
    Rule,
    State,
    Verdict,
)
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.core.projection.event_deriver import is_ours
from tests.unit.core.decisions.test_planner import BOTH, FREE, NOW, bead, kinds, plan, state

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
TO_REAP = Scope(reap=True)


def signed(at: datetime, **more: Any) -> Bead:
    return bead(
        "a", Phase.RUNNING, age=7200, sign=ActivitySignal(at, "comment", "an agent", "c9"), **more
    )


def asked(
    *beads: Bead, rule: Rule | None = None, scope: Scope = TO_REAP, **more: Any
) -> Candidates:
    return select_candidates(
        state(*beads, **more), Policy([rule or Rule("agent")], 2 * SECOND), NOW, scope
    )


def test_idle_since_the_last_sign_or_the_beginning() -> None:
    began = bead("a", Phase.RUNNING, age=60)
    assert last_activity(began) == NOW - MINUTE
    assert last_activity(began._replace(sign=ActivitySignal(NOW, "notes", "x", "c"))) == NOW
    assert (
        last_activity(began._replace(sign=ActivitySignal(NOW - 2 * MINUTE, "notes", "x", "c")))
        == NOW - MINUTE
    )


@pytest.mark.parametrize(
    ("threshold", "after"),
    [
        (30 * MINUTE, 31 * MINUTE),
        (30.5 * MINUTE, 31 * MINUTE),
        (MINUTE, 2 * MINUTE),
        (59 * SECOND, 59 * SECOND),
        (1.5 * SECOND, 1.5 * SECOND),
    ],
)
def test_stale_when_whole_minutes_exceed_the_threshold(
    threshold: timedelta, after: timedelta
) -> None:
    rule = Rule("agent", stale_after=threshold)
    assert stale_at(signed(NOW), rule) == NOW + after
    assert [one.id for one in asked(signed(NOW - after), rule=rule).stale] == ["a"]
    assert asked(signed(NOW - after + timedelta(microseconds=1)), rule=rule).stale == ()


@pytest.mark.parametrize("threshold", [30 * MINUTE, 5 * SECOND])
def test_a_sign_later_than_this_would_spare_it(threshold: timedelta) -> None:
    rule = Rule("agent", stale_after=threshold)
    gone = bead("b", Phase.RUNNING, rule="a rule that is gone")
    quiet = silence_cutoffs([signed(NOW - 3600 * SECOND), gone], Policy([rule], SECOND), NOW)
    assert list(quiet) == ["a"]
    assert stale_at(signed(quiet["a"]), rule) == NOW
    assert stale_at(signed(quiet["a"] + SECOND), rule) > NOW


def test_who_was_silent_longest_comes_first() -> None:
    beads = [
        bead("c", Phase.RUNNING, age=4000),
        bead("b", Phase.RUNNING, age=4000),
        bead("z", Phase.RUNNING, age=5000),
    ]
    assert [one.id for one in asked(*beads).stale] == ["z", "b", "c"]


@pytest.mark.parametrize(
    ("runs", "scope", "due", "more"),
    [
        (bead("a", Phase.RUNNING, age=60), TO_REAP, NOW + 30 * MINUTE, {}),
        # The bead is reaped or spared now. The next check follows in a minute.
        (
            bead("a", Phase.RUNNING, age=4000),
            TO_REAP,
            NOW + MINUTE,
            {},
        ),
        # A worker with this scope can't reap, so another worker must reap now.
        (
            bead("a", Phase.RUNNING, age=31 * 60),
            Scope(dispatch=True),
            NOW,
            {},
        ),
        (
            bead("a", Phase.RUNNING),
            TO_REAP,
            None,
            {"pauses": {"": Pause("", "x", NOW, "ops", reaping=True)}},
        ),
        (
            bead("a", Phase.RUNNING),
            TO_REAP,
            NOW + SECOND,
            {"pauses": {"": Pause("", "x", NOW, "ops", NOW + SECOND, True)}},
        ),
        (
            bead("a", Phase.RUNNING, age=60),
            TO_REAP,
            NOW + 30 * MINUTE,
            {"pauses": {"": Pause("", "x", NOW, "ops")}},
        ),
        (bead("a", Phase.RUNNING, rule="a rule that is gone"), TO_REAP, None, {}),
        (bead("a"), TO_REAP, None, {}),
    ],
)
def test_when_to_look_again(
    runs: Bead, scope: Scope, due: datetime | None, more: dict[str, Any]
) -> None:
    assert asked(runs, scope=scope, **more).due["reap"] == due


def test_one_that_is_not_asked_about_keeps_no_other_from_it() -> None:
    silent = bead("z", Phase.RUNNING, age=4000)
    elsewhere = bead("a", Phase.RUNNING, age=5000, rule="a rule that is gone")
    assert [one.id for one in asked(elsewhere, silent).stale] == ["z"]
    rules = [Rule("agent"), Rule("review")]
    stands = State(
        beads={"a": elsewhere._replace(rule="review"), "z": silent},
        pauses={"review": Pause("review", "x", NOW, "ops", reaping=True)},
    )
    assert [
        one.id for one in select_candidates(stands, Policy(rules, SECOND), NOW, TO_REAP).stale
    ] == ["z"]


def test_what_is_asked_is_what_the_command_may_do() -> None:
    beads = [bead("a"), bead("b", Phase.RUNNING, age=4000), bead("c", Phase.UNKNOWN, age=4000)]

    def of(scope: Scope) -> tuple[list[str], list[str], list[str]]:
        made = asked(*beads, scope=scope, rule=Rule("agent", max_in_flight=9))
        queued = [one.id for queue in made.queues.values() for one in queue]
        return queued, [one.id for one in made.stale], [one.id for one in made.unknown]

    assert of(BOTH) == (["a"], ["b"], ["c"])
    assert of(Scope(dispatch=True)) == (["a"], [], ["c"])
    assert of(TO_REAP) == ([], ["b"], [])


# -- decisions --------------------


def test_a_reap_says_what_it_rests_on() -> None:
    runs = signed(NOW - 45.5 * MINUTE, attempt=2, token="t", job="j", cause="c7")
    (made,) = plan(runs, scope=TO_REAP).decisions
    assert made == Decision(
        EntryKind.REAP,
        "a",
        "agent",
        2,
        "c7",
        token="t",
        job="j",
        status="blocked",
        reason="no progress for 45m (threshold 30m)",
        note="reaper: no progress for 45m (threshold 30m) — blocking",
        detail={
            "last_sign": "2026-04-18T21:50:16+00:00",
            "sign": {"what": "comment", "who": "an agent", "commit": "c9"},
            "idle_seconds": 2730,
            "stale_after_seconds": 1800,
            "given": made.detail["given"],
        },
        reason_code=ReasonCode.NO_PROGRESS,
    )
    assert (
        plan(bead("a", Phase.RUNNING, age=4000), scope=TO_REAP).decisions[0].detail["sign"] is None
    )


def test_a_requeue_is_open_again_at_once() -> None:
    rule = Rule("agent", on_stale="requeue")
    (made,) = plan(
        bead("a", Phase.RUNNING, age=4000, attempt=4), rule=rule, scope=TO_REAP
    ).decisions
    note = "reaper: no progress for 66m (threshold 30m) — requeued"
    assert (made.kind, made.status, made.note) == (EntryKind.REQUEUE, "open", note)
    assert made.detail["retry_at"] == NOW.isoformat()
    (last,) = plan(
        bead("a", Phase.RUNNING, age=4000, attempt=5), rule=rule, scope=TO_REAP
    ).decisions
    assert (last.kind, last.status) == (EntryKind.REAP, "blocked")
    assert "retry_at" not in last.detail


AT_START = JobReport(Verdict.FINISHED, "failed", "no config", dead=True, failed_at_start=True)


@pytest.mark.parametrize("on_stale", ["block", "requeue"])
@pytest.mark.parametrize(("attempt", "pause"), [(1, 2), (2, 4), (4, 16)])
def test_a_failure_at_the_start_is_tried_again_after_a_growing_pause(
    on_stale: str, attempt: int, pause: int
) -> None:
    (made,) = plan(
        bead("a", Phase.RUNNING, age=30, token="t", job="j", attempt=attempt),
        rule=Rule("agent", on_stale=on_stale),
        outside=Observations(FREE, {}, {"a": AT_START}),
        scope=TO_REAP,
    ).decisions
    note = "reaper: job j ended failed: no config — requeued"
    assert (made.kind, made.status, made.note) == (EntryKind.REQUEUE, "open", note)
    assert made.detail["retry_at"] == (NOW + pause * MINUTE).isoformat()
    assert "uncounted" not in made.detail


def test_a_failure_at_the_start_blocks_the_bead_after_max_attempts() -> None:
    (made,) = plan(
        bead("a", Phase.RUNNING, age=30, token="t", job="j", attempt=5),
        outside=Observations(FREE, {}, {"a": AT_START}),
        scope=TO_REAP,
    ).decisions
    note = "reaper: job j ended failed: no config — blocking"
    assert (made.kind, made.status, made.note) == (EntryKind.REAP, "blocked", note)


def test_a_failure_at_the_start_with_living_processes_begins_no_second_run() -> None:
    report = AT_START._replace(status_text="error", dead=False)
    (made,) = plan(
        bead("a", Phase.RUNNING, age=30, token="t", job="j", attempt=1),
        outside=Observations(FREE, {}, {"a": report}),
        scope=TO_REAP,
    ).decisions
    assert (made.kind, made.status) == (EntryKind.REAP, "blocked")


@pytest.mark.parametrize("attempt", [1, 5, 9])
def test_a_failure_of_the_target_counts_against_no_bead(attempt: int) -> None:
    tried = bead("a", Phase.RUNNING, age=30, token="t", job="j", attempt=attempt)
    tried = tried._replace(sent_at=NOW - MINUTE)
    (made,) = plan(
        tried,
        rule=Rule("agent", max_attempts=5),
        outside=Observations(FREE, {}, {"a": AT_START._replace(target_failed=True)}),
        scope=TO_REAP,
    ).decisions
    assert (made.kind, made.status, made.note) == (EntryKind.REQUEUE, "open", "")
    assert made.detail["uncounted"] is True and "retry_at" not in made.detail
    assert made.detail["uncounted_claim"] == (NOW - MINUTE).isoformat()


def test_one_that_is_spared_keeps_no_other_alive() -> None:
    beads = [bead("a", Phase.RUNNING, age=5000), bead("z", Phase.RUNNING, age=4000)]
    made = plan(
        *beads,
        scope=TO_REAP,
        outside=Observations(FREE, {"a": HoldReason("children", "its child works")}),
    )
    assert kinds(made) == [(EntryKind.REAP, "z")]
    assert made.holds == {"a": HoldReason("children", "its child works")}


@pytest.mark.parametrize(
    ("age", "verdict", "why"),
    [
        (3599, JobReport(Verdict.RUNNING, "queued"), "the target reports that its job j is queued"),
        (3599, JobReport(Verdict.RUNNING), "the target reports that its job j is running"),
        (3600, JobReport(Verdict.RUNNING, "running"), None),
        (3599, JobReport(Verdict.FINISHED, "success"), None),
        (3599, JobReport(Verdict.UNKNOWN), None),
    ],
)
def test_only_a_job_that_runs_spares_and_no_longer_than_max_runtime(
    age: float, verdict: JobReport, why: str | None
) -> None:
    made = plan(
        bead("a", Phase.RUNNING, age=age, job="j"),
        outside=Observations(FREE, {}, {"a": verdict}),
        scope=TO_REAP,
    )
    assert made.holds.get("a") == (why and HoldReason("verdict", why))
    assert kinds(made) == ([] if why else [(EntryKind.REAP, "a")])


# -- job reports of the target --------------------


@pytest.mark.parametrize(
    ("report", "again", "said"),
    [
        (JobReport(Verdict.FINISHED, "failed", "boom"), True, "job j ended failed: boom"),
        (
            JobReport(Verdict.FINISHED, "failed", "x" * 201),
            True,
            f"job j ended failed: {'x' * 199}…",
        ),
        (JobReport(Verdict.LOST, "", "HTTP 404"), True, "job j ended lost: HTTP 404"),
        (
            JobReport(Verdict.FINISHED, "timeout", "too slow"),
            False,
            "job j ended timeout: too slow",
        ),
        (
            JobReport(Verdict.FINISHED, "error", "a line\ntoo long"),
            False,
            "job j ended error: a line\\ntoo long",
        ),
        (JobReport(Verdict.FINISHED, "completed"), False, "job j ended completed"),
        (JobReport(Verdict.FINISHED), False, "job j ended finished"),
        (JobReport(Verdict.RUNNING, "running"), False, "no progress for 66m (threshold 30m)"),
        (JobReport(Verdict.UNKNOWN, error="refused"), False, "no progress for 66m (threshold 30m)"),
        (JobReport(Verdict.UNKNOWN), True, "no progress for 66m (threshold 30m)"),
    ],
)
def test_a_second_run_is_begun_only_where_nobody_is_at_work(
    report: JobReport, again: bool, said: str
) -> None:
    answers = Observations(FREE, {}, {"a": report})
    silent = bead("a", Phase.RUNNING, age=4000, attempt=1, job="j")
    for on_stale in ("block", "requeue"):
        rule = Rule("agent", on_stale=on_stale, max_runtime=timedelta(minutes=40))
        (made,) = plan(silent, rule=rule, outside=answers, scope=TO_REAP).decisions
        requeued = again and on_stale == "requeue"
        assert made.kind is (EntryKind.REQUEUE if requeued else EntryKind.REAP)
        assert (made.reason, made.note) == (
            said,
            f"reaper: {said} — {'requeued' if requeued else 'blocking'}",
        )
        assert made.detail.get("ended", "") == report.ended
        assert is_ours(made.note), "so it is restored if a user overwrites it"


@pytest.mark.parametrize(
    ("word", "at_once"),
    [("failed", True), ("error", True), ("timeout", False), ("completed", False)],
)
def test_who_failed_is_not_waited_for(word: str, at_once: bool) -> None:
    busy = bead("a", Phase.RUNNING, age=60, job="j")
    answers = Observations(FREE, {}, {"a": JobReport(Verdict.FINISHED, word, "boom")})
    assert kinds(plan(busy, outside=answers, scope=TO_REAP)) == (
        [(EntryKind.REAP, "a")] if at_once else []
    )
    assert kinds(plan(busy, outside=answers, scope=Scope(dispatch=True))) == []
    assert kinds(plan(busy, outside=Observations(FREE), scope=TO_REAP)) == [], "no report"
    alive = answers._replace(holds={"a": HoldReason("uncommitted", "a row")})
    assert kinds(plan(busy, outside=alive, scope=TO_REAP)) == []


def test_a_target_that_tells_is_asked_once_a_minute_and_no_other() -> None:
    busy, silent = bead("a", Phase.RUNNING, age=60, job="j"), bead("z", Phase.RUNNING, age=60)
    stale = NOW + timedelta(minutes=30)
    for telling, beads, due in (
        ((), [busy], stale),
        (("beadboard",), [busy], NOW + timedelta(minutes=1)),
        (("beadboard",), [silent], stale),
    ):
        policy = Policy([Rule("agent")], SECOND, job_reporting_targets=telling)
        asked = select_candidates(state(*beads), policy, NOW, TO_REAP)
        assert [one.id for one in asked.jobs] == [one.id for one in beads if one.job]
        assert asked.due["reap"] == due
    asked = select_candidates(state(busy), policy, NOW, Scope(dispatch=True))
    assert (asked.jobs, asked.due["reap"] is not None and asked.due["reap"] < NOW) == ((), True), (
        "the next reaper asks"
    )


def test_what_a_rule_that_is_no_more_left_behind_is_still_settled() -> None:
    """The attempts of a renamed rule are settled even if its worker died before the answer."""
    gone, later = Policy([Rule("agents")], timedelta()), NOW + SECOND
    claimed = bead("a", Phase.CLAIMED)._replace(deadline=later)
    assert select_candidates(State(beads={"a": claimed}), gone, NOW, BOTH).due["dispatch"] == later
    lost = bead("a", Phase.RUNNING)._replace(lost_note="x")
    assert (
        select_candidates(State(beads={"a": lost}), gone, NOW, BOTH).due["dispatch"] == IMMEDIATELY
    )
    assert select_candidates(
        State(beads={"a": lost._replace(lost_note="")}), gone, NOW, BOTH
    ).due == {
        "dispatch": None,
        "reap": None,
    }


# -- rules for dispatches and reaps --------------------


def test_a_pause_is_for_all_rules_or_one_and_for_reaping_only_where_it_says_so() -> None:
    every, one = Pause("", "x", NOW, "ops"), Pause("agent", "y", NOW, "ops", reaping=True)
    stands = State(pauses={"": every, "agent": one})
    assert active_pause(stands, "agent", NOW) is every
    assert active_pause(stands, "agent", NOW, reaping=True) is one
    assert active_pause(stands, "other", NOW) is every
    assert active_pause(stands, "other", NOW, reaping=True) is None
    assert active_pause(State(pauses={"": every._replace(until=NOW)}), "agent", NOW) is None
    assert (
        active_pause(State(pauses={"": every._replace(until=NOW + SECOND)}), "agent", NOW)
        is not None
    )


def test_a_pause_of_no_rule_holds_nothing() -> None:
    one = Pause("old", "y", NOW, "ops")
    pauses = {
        "": one._replace(rule=""),
        "agent": one._replace(rule="agent"),
        "old": one,
        "past": one._replace(until=NOW),
    }
    policy = Policy([Rule("agent")], timedelta())
    assert orphaned_pauses(State(pauses=pauses), policy, NOW) == [one]
    coming = one._replace(until=NOW + SECOND)
    assert orphaned_pauses(State(pauses={"old": coming}), policy, NOW) == [coming]


@pytest.mark.parametrize(
    ("kind", "status", "stands", "sets"),
    [
        (EntryKind.REAP, "blocked", "in_progress", True),
        # The reap's transaction checks that the bead runs. A rule may name other statuses.
        (
            EntryKind.REAP,
            "blocked",
            "hooked",
            True,
        ),
        (EntryKind.FAILED, "open", "closed", False),
        (EntryKind.FAILED, "open", "open", False),
        (EntryKind.CLAIM, "in_progress", "open", True),
        (EntryKind.RESTORE, "in_progress", "open", True),
        (EntryKind.DISPATCHED, "", "in_progress", False),
    ],
)
def test_a_status_is_set_only_where_it_is_still_ours(
    kind: EntryKind, status: str, stands: str, sets: bool
) -> None:
    assert sets_status(Decision(kind, "a", "agent", 1, "c", status=status), stands) is sets


def test_the_kinds_of_a_scope() -> None:
    assert (BOTH.kinds, TO_REAP.kinds, Scope(dispatch=True).kinds) == (
        ("dispatch", "reap"),
        ("reap",),
        ("dispatch",),
    )


DAY = timedelta(days=1)


def lease(heartbeat: timedelta, expires: timedelta | None = None) -> Lease:
    """Return a lease whose times are relative to NOW."""
    at = NOW + heartbeat
    return Lease("agent", at, at + 5 * MINUTE if expires is None else NOW + expires)


@pytest.mark.parametrize(
    ("held", "spared"),
    [
        (None, False),
        (lease(-10 * SECOND), True),
        (lease(-31 * MINUTE + SECOND), True),
        (lease(-31 * MINUTE), False),
        # bd gives the bead to no other agent before the lease expires. `max_runtime` is the limit.
        (lease(-40 * MINUTE, MINUTE), True),
        (lease(-40 * MINUTE, -SECOND), False),
        (lease(-60 * MINUTE + SECOND, 9 * DAY), True),
        (lease(-60 * MINUTE, 9 * DAY), False),
        # A heartbeat in a wrong time zone counts. A heartbeat far in the future doesn't.
        (lease(14 * 60 * MINUTE), True),
        (lease(14 * 60 * MINUTE + SECOND), False),
        (lease(900 * DAY, 900 * DAY), False),
    ],
)
def test_a_fresh_lease_spares_a_silent_bead(held: Lease | None, spared: bool) -> None:
    """The default rule has a `stale_after` of 30 minutes and a `max_runtime` of 60 minutes."""
    outside = Observations(FREE, leases={"a": held} if held else {})
    made = plan(bead("a", Phase.RUNNING, age=7200), scope=TO_REAP, outside=outside)
    assert kinds(made) == ([] if spared else [(EntryKind.REAP, "a")])
    if spared and held is not None:
        at = held.heartbeat.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert made.holds == {"a": HoldReason("lease", f"agent has a lease, last heartbeat {at}")}


@pytest.mark.parametrize("idle", [True, False])
def test_a_fresh_lease_is_evidence_that_an_unknown_attempt_runs(idle: bool) -> None:
    unknown = bead("a", Phase.UNKNOWN, age=7200, attempt=1, token="t")
    free = {"beadboard": Capacity(1, idle=idle)}
    settled = plan(unknown, outside=Observations(free, leases={"a": lease(-31 * MINUTE)}))
    assert kinds(settled) == [(EntryKind.RETRY if idle else EntryKind.GIVE_UP, "a")]
    held = plan(unknown, outside=Observations(free, leases={"a": lease(-MINUTE)}))
    assert kinds(held) == [] and held.holds["a"].gate == "lease"
    assert (
        select_candidates(state(unknown), Policy([Rule("agent")], SECOND), NOW, BOTH).due[
            "dispatch"
        ]
        == NOW + MINUTE
    )
    later = select_candidates(state(unknown), Policy([Rule("agent")], SECOND), NOW, TO_REAP).due[
        "dispatch"
    ]
    assert later is not None and later <= NOW, "a reaper alone leaves it to the dispatcher"


def test_the_holds_of_a_child_come_first() -> None:
    outside = Observations(
        FREE, {"a": HoldReason("children", "its child works")}, leases={"a": lease(-MINUTE)}
    )
    assert (
        plan(bead("a", Phase.RUNNING, age=7200), scope=TO_REAP, outside=outside).holds["a"].gate
        == "children"
    )
