"""The plan, computed from state, clock and answers alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dolt_watch.core.decisions.attempt_recovery import plan_failure
from dolt_watch.core.decisions.candidates import select_candidates, with_queue_order
from dolt_watch.core.decisions.planner import make_plan, settle_wait
from dolt_watch.core.decisions.policy import Candidates, Observations, Plan, Policy, Scope, stale_at
from dolt_watch.core.model import (
    ActivitySignal,
    Bead,
    Capacity,
    EntryKind,
    HoldReason,
    JobReport,
    Pause,
    Phase,
    Rule,
    State,
    Verdict,
)
from dolt_watch.core.model.entry_payloads import Ended
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.core.rules.compiled_rule import compile_rule

NOW = datetime(2026, 4, 18, 22, 35, 46, tzinfo=UTC)
BOTH = Scope(dispatch=True, reap=True)
FREE = {"beadboard": Capacity(1)}


def bead(
    id: str,
    phase: Phase = Phase.WAITING,
    age: float = 60,
    rank: tuple[Any, ...] = (2, "x"),
    **more: Any,
) -> Bead:
    since = NOW - timedelta(seconds=age)
    waits = phase in (Phase.WAITING, Phase.BACKOFF, Phase.QUARANTINED)
    made = Bead(
        id,
        phase,
        "agent",
        since,
        "c",
        matches=waits,
        runs=not waits,
        rank=rank,
        matched_at=since,
        sent_at=since,
    )
    return made._replace(**more)


def state(*beads: Bead, **more: Any) -> State:
    return State("head", "m", {one.id: one for one in beads}, **more)


def plan(
    *beads: Bead,
    rule: Rule | None = None,
    outside: Observations | None = None,
    scope: Scope = BOTH,
    **more: Any,
) -> Plan:
    policy = Policy([rule or Rule("agent")], timedelta(seconds=2), settings_hash="s")
    stands = state(*beads, **more)
    asked = select_candidates(stands, policy, NOW, scope)
    return make_plan(stands, policy, NOW, scope, asked, outside or Observations(FREE))


def kinds(made: Plan) -> list[tuple[EntryKind, str]]:
    return [(decision.kind, decision.bead) for decision in made.decisions]


def test_the_queue_goes_by_priority_then_age_then_id_and_one_at_a_time() -> None:
    beads = [
        bead("b", rank=(1, "2")),
        bead("c", rank=(1, "1")),
        bead("d", rank=(0, "9")),
        bead("a", rank=(1, "1")),
    ]
    made = plan(
        *beads,
        rule=Rule("agent", max_in_flight=9),
        outside=Observations({"beadboard": Capacity(9)}),
    )
    assert [name for _, name in kinds(made)] == ["d", "a", "c", "b"]
    assert kinds(plan(*beads)) == [(EntryKind.CLAIM, "d")]


def test_the_claims_note_is_the_originals() -> None:
    assert plan(bead("a")).decisions[0].note == "auto-dispatcher claimed at 2026-04-18T22:35:46Z"


@pytest.mark.parametrize(
    ("gate", "beads", "more"),
    [
        ("settle", [bead("a", age=1)], {}),
        ("max_in_flight", [bead("a"), bead("b", Phase.RUNNING, token="t")], {}),
        ("paused", [bead("a")], {"pauses": {"": Pause("", "upgrade", NOW, "ops")}}),
        ("resting", [bead("a")], {"cooldowns": {"beadboard": NOW + timedelta(seconds=5)}}),
        ("stopped", [bead("a")], {"halted_rules": {"agent": "s"}}),
        ("backoff", [bead("a", Phase.BACKOFF, retry_at=NOW + timedelta(seconds=5))], {}),
        ("quarantined", [bead("a", Phase.QUARANTINED)], {}),
        (
            "ready",
            [bead("a")],
            {"outside": Observations(FREE, {"a": HoldReason("ready", "blocked by b")})},
        ),
        ("capacity", [bead("a")], {"outside": Observations({"beadboard": Capacity(0, "busy")})}),
        (
            "max_per_hour",
            [bead("a")],
            {"rule": Rule("agent", max_per_hour=1), "claims": {"agent": (NOW,)}},
        ),
    ],
)
def test_each_gate_holds_and_says_so(gate: str, beads: list[Bead], more: dict[str, Any]) -> None:
    made = plan(*beads, scope=Scope(dispatch=True), **more)
    assert kinds(made) == []
    assert made.holds["a"].gate == gate


def test_a_person_s_own_run_takes_no_slot() -> None:
    assert kinds(plan(bead("a"), bead("b", Phase.RUNNING))) == [(EntryKind.CLAIM, "a")]


def test_a_pause_that_is_over_holds_nothing() -> None:
    over = Pause("", "x", NOW, "ops", until=NOW - timedelta(seconds=1))
    assert kinds(plan(bead("a"), pauses={"": over})) == [(EntryKind.CLAIM, "a")]


@pytest.mark.parametrize(("age", "reaped"), [(30 * 60 + 59, False), (31 * 60, True)])
def test_reaped_when_whole_minutes_exceed_the_threshold(age: float, reaped: bool) -> None:
    made = plan(bead("a", Phase.RUNNING, age=age))
    assert bool(made.decisions) is reaped
    if reaped:
        assert made.decisions[0].note == "reaper: no progress for 31m (threshold 30m) — blocking"
        assert made.decisions[0].status == "blocked"


def test_a_threshold_under_a_minute() -> None:
    rule = Rule("agent", stale_after=timedelta(seconds=5))
    assert plan(bead("a", Phase.RUNNING, age=4), rule=rule).decisions == ()
    made = plan(bead("a", Phase.RUNNING, age=6), rule=rule)
    assert made.decisions[0].note == "reaper: no progress for 0m (threshold <1m) — blocking"


def test_any_sign_of_life_spares() -> None:
    sign = ActivitySignal(NOW - timedelta(minutes=5), "comment", "agent", "c")
    alive = bead("a", Phase.RUNNING, age=3600, sign=sign)
    assert plan(alive).decisions == ()
    assert stale_at(alive, Rule("agent")) == sign.at + timedelta(minutes=31)


@pytest.mark.parametrize(
    ("word", "on_stale", "kind"),
    [
        ("failed", "requeue", EntryKind.REQUEUE),
        ("timeout", "requeue", EntryKind.REAP),
        ("failed", "block", EntryKind.REAP),
    ],
)
def test_a_verdict_decides_what_becomes_of_it(word: str, on_stale: str, kind: EntryKind) -> None:
    answers = Observations(FREE, {}, {"a": JobReport(Verdict.FINISHED, word)})
    made = plan(
        bead("a", Phase.RUNNING, age=4000, attempt=1),
        rule=Rule("agent", on_stale=on_stale),
        outside=answers,
    )
    assert kinds(made) == [(kind, "a")]


def test_a_job_that_runs_is_spared_up_to_max_runtime() -> None:
    answers = Observations(FREE, {}, {"a": JobReport(Verdict.RUNNING, "running")})
    assert plan(bead("a", Phase.RUNNING, age=40 * 60), outside=answers).decisions == ()
    # No second run begins while the target reports the first one.
    for on_stale in (
        "block",
        "requeue",
    ):
        made = plan(
            bead("a", Phase.RUNNING, age=61 * 60),
            rule=Rule("agent", on_stale=on_stale),
            outside=answers,
        )
        assert kinds(made) == [(EntryKind.REAP, "a")]


def test_a_claim_past_its_deadline_is_unknown_and_never_before() -> None:
    late = bead("a", Phase.CLAIMED, token="t", deadline=NOW)
    assert kinds(plan(late)) == [(EntryKind.OVERDUE, "a")]
    assert plan(late._replace(deadline=NOW + timedelta(seconds=1))).decisions == ()


@pytest.mark.parametrize(
    ("capacity", "kind"),
    [(Capacity(1), EntryKind.GIVE_UP), (Capacity(1, idle=True), EntryKind.RETRY)],
)
def test_unknown_ends_by_evidence_or_is_blocked(capacity: Capacity, kind: EntryKind) -> None:
    answers = Observations({"beadboard": capacity})
    assert plan(bead("a", Phase.UNKNOWN, age=599, token="t"), outside=answers).decisions == ()
    made = plan(bead("a", Phase.UNKNOWN, age=660, token="t", attempt=1), outside=answers)
    assert kinds(made) == [(kind, "a")]
    if kind is EntryKind.GIVE_UP:
        assert made.decisions[0].note == (
            "dispatch outcome still unknown after 11m — blocking; set it open to try again"
        )


def test_backoff_doubles_and_ends_in_quarantine_with_one_note() -> None:
    rule = Rule("agent")
    waits = []
    for attempt in (1, 2, 3):
        made = plan_failure(
            bead("a", attempt=attempt),
            rule,
            NOW,
            "HTTP 500: x",
            EntryKind.FAILED,
            Ended(),
            code=ReasonCode.REFUSED,
        )
        waits.append(datetime.fromisoformat(made.detail["retry_at"]) - NOW)
        assert made.note == "dispatch failed HTTP 500: x"
    assert waits == [timedelta(minutes=2), timedelta(minutes=4), timedelta(minutes=8)]
    last = plan_failure(
        bead("a", attempt=5),
        rule,
        NOW,
        "HTTP 500: x",
        EntryKind.FAILED,
        Ended(),
        code=ReasonCode.REFUSED,
    )
    assert (last.kind, last.note) == (
        EntryKind.QUARANTINED,
        "dispatch quarantined after 5 attempts: HTTP 500: x; edit the bead to try again",
    )


def test_due_is_the_next_moment_at_which_time_alone_matters() -> None:
    policy = Policy([Rule("agent")], timedelta(seconds=2))
    running = bead("a", Phase.RUNNING, age=60, token="t")
    asked = select_candidates(State("h", "", {"a": running, "b": bead("b")}), policy, NOW, BOTH)
    assert asked.due == {"dispatch": None, "reap": NOW + timedelta(minutes=30)}
    asked = select_candidates(State("h", "", {"b": bead("b", age=0.5)}), policy, NOW, BOTH)
    assert asked.due == {"dispatch": NOW + timedelta(seconds=1.5), "reap": None}


def test_what_this_command_attempted_is_due_for_the_next() -> None:
    """A bead that this tick requeued is due for the next tick, because no event will follow."""
    policy = Policy([Rule("agent")], timedelta(seconds=2))
    requeued = bead("a", Phase.BACKOFF, age=1, retry_at=NOW)
    asked = select_candidates(
        State("h", "", {"a": requeued}), policy, NOW + timedelta(seconds=5), BOTH, {"a"}
    )
    assert asked.held["a"].gate == "attempted"
    assert asked.due["dispatch"] is not None and asked.due["dispatch"] <= NOW


def test_the_queues_of_several_rules_each_in_its_own_direction() -> None:
    rules = [Rule("idle"), Rule("up"), Rule("down"), Rule("plain")]
    policy = Policy(rules, timedelta(seconds=2), {"up": (False,), "down": (True,)}, "s")
    beads = [
        bead(f"{rule}{n}", rank=(n,))._replace(rule=rule)
        for n in (2, 1, 3)
        for rule in ("down", "up", "plain")
    ]
    asked = select_candidates(State(beads={one.id: one for one in beads}), policy, NOW, BOTH)
    queues = {rule: [one.id for one in queue] for rule, queue in asked.queues.items()}
    assert queues == {
        "up": ["up1", "up2", "up3"],
        "down": ["down3", "down2", "down1"],
        "plain": ["plain1", "plain2", "plain3"],
    }
    assert asked.slots == {"up": 1, "down": 1, "plain": 1}


@pytest.mark.parametrize("phase", [Phase.QUARANTINED, Phase.HELD])
def test_who_needs_a_person_is_held_with_its_reason(phase: Phase) -> None:
    made = plan(bead("a", phase, reason="HTTP 400: no"), bead("b"))
    assert kinds(made) == [(EntryKind.CLAIM, "b")]
    assert made.holds == {"a": HoldReason(phase.value, "HTTP 400: no")}


def test_one_that_may_not_go_yet_keeps_no_other_back() -> None:
    policy = Policy([Rule("agent")], timedelta(seconds=2))
    beads = [bead("a"), bead("b", age=1), bead("c", Phase.BACKOFF, matches=False), bead("d")]
    asked = select_candidates(State(beads={one.id: one for one in beads}), policy, NOW, BOTH, {"a"})
    assert [one.id for one in asked.queues["agent"]] == ["d"]
    assert asked.held == {
        "a": HoldReason("attempted", "already attempted by this command"),
        "b": HoldReason(
            "settle",
            "changed at 2026-04-18T22:35:45Z; settles at 2026-04-18T22:35:47Z",
        ),
    }


def everything() -> list[Bead]:
    return [
        bead("late", Phase.CLAIMED, token="t", deadline=NOW),
        bead("quiet", Phase.RUNNING, age=4000, job="j"),
        bead("note", Phase.RUNNING, age=1, lost_note="x"),
        bead("next"),
    ]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (BOTH, ["overdue", "reap", "note", "claim"]),
        (Scope(dispatch=True), ["overdue", "note", "claim"]),
        (Scope(reap=True), ["reap"]),
        (Scope(), []),
    ],
)
def test_first_what_is_overdue_then_the_reapers_then_notes_and_claims(
    scope: Scope, expected: list[str]
) -> None:
    made = plan(*everything(), rule=Rule("agent", max_in_flight=2), scope=scope)
    assert [decision.kind.value for decision in made.decisions] == expected


def test_every_decision_says_what_a_replay_could_not_know() -> None:
    hold, gate = HoldReason("uncommitted", "a row"), HoldReason("ready", "blocked by b")
    beads = [*everything(), bead("spared", Phase.RUNNING, age=4000), bead("blocked")]
    verdict = JobReport(Verdict.LOST, "failed", "boom")
    answers = Observations(
        {"beadboard": Capacity(1, "one free", idle=True)},
        {"spared": hold, "blocked": gate},
        {"quiet": verdict},
    )
    made = plan(*beads, rule=Rule("agent", max_in_flight=2), outside=answers)
    assert [one.detail["given"] for one in made.decisions] == 4 * [
        {
            "now": "2026-04-18T22:35:46+00:00",
            "scope": ["dispatch", "reap"],
            "made": "m",
            "acts": True,
            "readiness": 2,
            "passed": {"spared": "uncommitted"},
            "capacity": {"beadboard": [1, True, "one free"]},
            "verdicts": {"quiet": ["lost", "failed", "boom"]},
        }
    ]
    assert plan(bead("a"), outside=Observations()).decisions[0].detail["given"] == {
        "now": "2026-04-18T22:35:46+00:00",
        "scope": ["dispatch", "reap"],
        "made": "m",
        "acts": True,
        "readiness": 2,
    }


@pytest.mark.parametrize(
    ("ages", "wait"),
    [
        # A little longer than necessary, so that the bead has settled at the next poll.
        ([0.5], 1.501),
        ([0], 2.0),
        ([0.5, 1.25], 0.751),
        # The other bead is due now, but an observation holds it.
        (
            [0.5, 60],
            2.0,
        ),
        ([60], 0.0),
    ],
)
def test_a_command_waits_once_for_what_only_has_to_settle(ages: list[float], wait: float) -> None:
    policy = Policy([Rule("agent")], timedelta(seconds=2))
    stands = State(beads={str(n): bead(str(n), age=age) for n, age in enumerate(ages)})
    asked = select_candidates(stands, policy, NOW, BOTH)
    assert settle_wait(asked, policy, NOW) == wait
    assert settle_wait(Candidates(), policy, NOW) == 0.0
    at_once = Candidates(due={"dispatch": NOW}, settles=True)
    assert settle_wait(at_once, policy, NOW) == 2.0


def test_a_queue_goes_in_the_direction_of_its_rule() -> None:
    rule = Rule("agent", order_by="priority DESC, title")
    types = {"priority": "int", "title": "text", "status": "text", "assignee": "text"}
    columns = dict.fromkeys(("id", "acceptance_criteria"), "text") | types
    policy = with_queue_order(Policy([rule], timedelta()), [compile_rule(rule, columns, "mysql")])
    assert policy.descending == {"agent": (True, False)}
    stands = state(bead("a", rank=(1, "x")), bead("b", rank=(3, "y")), bead("c", rank=(3, "x")))
    queue = select_candidates(stands, policy, NOW, BOTH).queues["agent"]
    assert [one.id for one in queue] == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("phase", "more", "kind"),
    [
        (Phase.CLAIMED, {"deadline": NOW}, EntryKind.OVERDUE),
        (Phase.RUNNING, {"lost_note": "reaper: …"}, EntryKind.NOTE),
        (Phase.RUNNING, {"reverted": True}, EntryKind.RESTORE),
        (Phase.RUNNING, {"was": "old", "attempt": 1}, EntryKind.RENAMED),
    ],
)
def test_the_plan_does_not_depend_on_the_order_of_the_state(
    phase: Phase, more: dict[str, Any], kind: EntryKind
) -> None:
    """A replay applies all of history, and a worker reads a saved state, in other orders."""
    beads = [bead(id, phase, token=id, **more) for id in ("b1", "b2", "b3")]
    orders = (beads, beads[::-1], [beads[1], beads[2], beads[0]])
    assert [kinds(plan(*order)) for order in orders] == [
        [(kind, "b1"), (kind, "b2"), (kind, "b3")]
    ] * 3
