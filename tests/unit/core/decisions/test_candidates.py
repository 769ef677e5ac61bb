"""Beads that may be claimed, their claims, and the hold reasons of the other beads."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from dolt_watch.core.decisions.candidates import earliest, rule_gates, select_candidates, time_gates
from dolt_watch.core.decisions.planner import make_plan
from dolt_watch.core.decisions.policy import IMMEDIATELY, Observations, Policy, Scope
from dolt_watch.core.model import (
    Bead,
    Capacity,
    Decision,
    EntryKind,
    GateResult,
    HoldReason,
    Pause,
    Phase,
    Rule,
)
from tests.unit.core.decisions.test_planner import BOTH, FREE, NOW, bead, kinds, plan, state

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
AGENT = Rule("agent")
TO_DISPATCH = Scope(dispatch=True)


def policy(*rules: Rule, **more: Any) -> Policy:
    return Policy(rules or (AGENT,), 2 * SECOND, settings_hash="s", **more)


def due(*beads: Bead, rule: Rule = AGENT, **more: Any) -> datetime | None:
    return select_candidates(state(*beads, **more), policy(rule), NOW, BOTH).due["dispatch"]


STOPPED = (
    "its target rejected the credential or is gone (see the log); fix it, then run"
    " `dolt_watch resume`"
)
OURS = [bead(name, Phase.RUNNING, token="t") for name in ("b", "c", "d", "e")]
LIMITED = Rule("agent", max_per_hour=2)


@pytest.mark.parametrize(
    ("gate", "beads", "why", "rule", "more"),
    [
        (
            "paused",
            [],
            "paused by ops: upgrade",
            AGENT,
            {"pauses": {"": Pause("", "upgrade", NOW, "ops")}},
        ),
        (
            "paused",
            [],
            "paused by ops: x",
            AGENT,
            {"pauses": {"agent": Pause("agent", "x", NOW, "ops", NOW + SECOND)}},
        ),
        ("stopped", [], STOPPED, AGENT, {"halted_rules": {"agent": "s"}}),
        (
            "resting",
            [],
            "target beadboard is cooling down until 2026-04-18T22:35:47Z",
            AGENT,
            {"cooldowns": {"beadboard": NOW + SECOND}},
        ),
        ("max_in_flight", OURS[:1], "1 of 1 in flight: b (running)", AGENT, {}),
        (
            "max_in_flight",
            OURS,
            "4 in flight, limit 1: b (running), c (running), d (running)",
            AGENT,
            {},
        ),
        (
            "max_per_hour",
            [],
            "2 claims in the last hour, max_per_hour is 2",
            LIMITED,
            {"claims": {"agent": (NOW - HOUR, NOW - MINUTE, NOW)}},
        ),
    ],
)
def test_what_stops_a_whole_rule(
    gate: str, beads: list[Bead], why: str, rule: Rule, more: dict[str, Any]
) -> None:
    made = plan(bead("a"), bead("z"), *beads, rule=rule, scope=TO_DISPATCH, **more)
    assert kinds(made) == []
    assert (made.holds["a"], made.holds["z"]) == (HoldReason(gate, why), HoldReason(gate, why))
    assert select_candidates(state(bead("a"), *beads, **more), policy(rule), NOW, BOTH).slots == {
        "agent": 0
    }


@pytest.mark.parametrize(
    ("rule", "more"),
    [
        (AGENT, {"pauses": {"other": Pause("other", "x", NOW, "ops")}}),
        (AGENT, {"pauses": {"": Pause("", "x", NOW, "ops", NOW)}}),
        (AGENT, {"halted_rules": {"agent": "settings that have changed since"}}),
        (AGENT, {"halted_rules": {"other": "s"}}),
        (AGENT, {"cooldowns": {"beadboard": NOW}}),
        (AGENT, {"cooldowns": {"other": NOW + HOUR}}),
        (Rule("agent", max_in_flight=5), {"beads": OURS}),
        (LIMITED, {"claims": {"agent": (NOW - HOUR, NOW - MINUTE)}}),
        (LIMITED, {"claims": {"other": (NOW, NOW)}}),
    ],
)
def test_what_does_not(rule: Rule, more: dict[str, Any]) -> None:
    assert kinds(plan(bead("a"), *more.pop("beads", ()), rule=rule, scope=TO_DISPATCH, **more)) == [
        (EntryKind.CLAIM, "a")
    ]


def test_who_asks_sees_each_check_that_is_passed() -> None:
    """`dolt_watch why` shows every check, including each check that passed."""
    asked = rule_gates(state(), Rule("agent", max_per_hour=3), policy(), NOW)
    assert [(check.gate, check.why) for check in asked if check.ok] == [
        ("paused", "not paused"),
        ("stopped", "not stopped"),
        ("outage", "no outage of the target"),
        ("resting", "the target is not cooling down"),
        ("max_in_flight", "0 of 1 in flight"),
        ("max_per_hour", "0 claims in the last hour, max_per_hour is 3"),
    ]
    assert [check.gate for check in rule_gates(state(), AGENT, policy(), NOW)][
        -1
    ] == "max_in_flight"


def test_no_settings_stop_nothing() -> None:
    """An empty settings hash stops no rule, even if the state contains a stop with that hash."""
    asked = rule_gates(
        state(halted_rules={"agent": ""}),
        AGENT,
        policy()._replace(settings_hash=""),
        NOW,
    )
    assert all(check.ok for check in asked)


@pytest.mark.parametrize(
    ("waits", "why"),
    [
        (
            {"age": 1.5},
            HoldReason(
                "settle",
                "changed at 2026-04-18T22:35:44Z; settles at 2026-04-18T22:35:46Z",
            ),
        ),
        (
            {"age": -2},
            HoldReason(
                "settle",
                "changed at 2026-04-18T22:35:48Z; settles at 2026-04-18T22:35:50Z",
            ),
        ),
        # A time that a wrong clock dates into the future must not delay the bead.
        ({"age": -2.001}, None),
        ({"age": 60, "matched_at": NOW + timedelta(days=300)}, None),
        (
            {"age": 60, "matched_at": NOW},
            HoldReason(
                "settle",
                "changed at 2026-04-18T22:35:46Z; settles at 2026-04-18T22:35:48Z",
            ),
        ),
        (
            {"age": 1, "matched_at": None},
            HoldReason(
                "settle",
                "changed at 2026-04-18T22:35:45Z; settles at 2026-04-18T22:35:47Z",
            ),
        ),
        (
            {"phase": Phase.BACKOFF, "attempt": 2, "reason": "HTTP 500", "retry_at": NOW + MINUTE},
            HoldReason(
                "backoff", "attempt 2 failed (HTTP 500); next attempt at 2026-04-18T22:36:46Z"
            ),
        ),
        ({"age": 2}, None),
        ({"phase": Phase.BACKOFF, "retry_at": NOW}, None),
        ({"phase": Phase.BACKOFF}, None),
        # `retry_at` is from an earlier attempt. The bead waits and is not in backoff.
        (
            {"retry_at": NOW + MINUTE},
            None,
        ),
    ],
)
def test_what_time_alone_mends(waits: dict[str, Any], why: HoldReason | None) -> None:
    made = plan(bead("a", **waits), scope=TO_DISPATCH)
    assert made.holds.get("a") == why
    assert kinds(made) == ([] if why else [(EntryKind.CLAIM, "a")])


def test_a_bead_that_is_back_from_backoff_passes_two_checks() -> None:
    back = bead("a", Phase.BACKOFF, age=2, attempt=1, reason="x", retry_at=NOW)
    asked = list(time_gates(back, policy(), NOW))
    assert [(check.gate, check.ok) for check in asked] == [("backoff", True), ("settle", True)]
    assert [check.due for check in asked] == [None, None], "nothing is left to wait for"


def test_what_was_dated_ahead_says_so_and_waits_for_nothing() -> None:
    [check] = time_gates(bead("a", age=-60), policy(), NOW)
    assert check == GateResult(
        "settle", True, "changed at 2026-04-18T22:36:46Z, which is in the future: a clock is wrong"
    )
    assert check.due is None


def test_the_earliest_moment_counts() -> None:
    assert earliest(NOW, NOW + SECOND, None, NOW - SECOND, NOW) == NOW - SECOND
    assert earliest(None, None) is earliest() is None


@pytest.mark.parametrize(
    ("at", "waits", "rule", "more"),
    [
        (None, bead("a"), AGENT, {"pauses": {"": Pause("", "x", NOW, "ops")}}),
        (NOW + HOUR, bead("a"), AGENT, {"pauses": {"": Pause("", "x", NOW, "ops", NOW + HOUR)}}),
        # Each tick reports a stopped rule, so that a user fixes it.
        (
            IMMEDIATELY,
            bead("a"),
            AGENT,
            {"halted_rules": {"agent": "s"}},
        ),
        (NOW + SECOND, bead("a"), AGENT, {"cooldowns": {"beadboard": NOW + SECOND}}),
        (NOW + 59 * MINUTE, bead("a"), LIMITED, {"claims": {"agent": (NOW, NOW - MINUTE)}}),
        (NOW + SECOND, bead("a", age=1), AGENT, {}),
        (NOW + MINUTE, bead("a", Phase.BACKOFF, retry_at=NOW + MINUTE), AGENT, {}),
        # The bead may be dispatched now, without any further event.
        (IMMEDIATELY, bead("a"), AGENT, {}),
        (IMMEDIATELY, bead("a"), LIMITED, {"claims": {"agent": (NOW,)}}),
        (None, bead("a", Phase.QUARANTINED), AGENT, {}),
        (NOW + MINUTE, bead("a", Phase.CLAIMED, token="t", deadline=NOW + MINUTE), AGENT, {}),
        (NOW + 9 * MINUTE, bead("a", Phase.UNKNOWN, age=60, token="t"), AGENT, {}),
        (IMMEDIATELY, bead("a", Phase.RUNNING, lost_note="x"), AGENT, {}),
        (IMMEDIATELY, bead("a", Phase.HELD, lost_note="x"), AGENT, {}),
        (IMMEDIATELY, bead("a", age=1, unwritten="note"), AGENT, {}),
        (NOW + MINUTE, bead("a", Phase.CLAIMED, deadline=NOW + MINUTE, lost_note="x"), AGENT, {}),
    ],
)
def test_when_to_look_again(
    at: datetime | None, waits: Bead, rule: Rule, more: dict[str, Any]
) -> None:
    assert due(waits, rule=rule, **more) == at


def test_a_claim_says_what_it_rests_on() -> None:
    beads = [
        bead("a", rank=(1,), cause="c7", attempt=2),
        bead("b", rank=(2,)),
        bead("z", Phase.RUNNING, token="t"),
    ]
    made = plan(
        *beads,
        rule=Rule("agent", max_in_flight=3),
        outside=Observations({"beadboard": Capacity(2)}),
    )
    first, second = made.decisions
    note = "auto-dispatcher claimed at 2026-04-18T22:35:46Z"
    given = first.detail["given"]
    assert first == Decision(
        EntryKind.CLAIM,
        "a",
        "agent",
        3,
        "c7",
        note=note,
        status="in_progress",
        detail={"rank": [1], "place": 0, "free": 2, "slots_used": 0, "given": given},
    )
    assert second.detail == {"rank": [2], "place": 1, "free": 2, "slots_used": 1, "given": given}


@pytest.mark.parametrize(
    ("outside", "claimed", "holds"),
    [
        (Observations(), ["a", "b"], {"c": HoldReason("max_in_flight", "2 slots are free")}),
        (Observations({"beadboard": Capacity(None, "not asked")}), ["a", "b"], {}),
        (
            Observations({"beadboard": Capacity(1)}),
            ["a"],
            {
                "b": HoldReason("capacity", "target beadboard accepts 1 more"),
                "c": HoldReason("capacity", "target beadboard accepts 1 more"),
            },
        ),
        (
            Observations({"beadboard": Capacity(0, "busy")}),
            [],
            {"a": HoldReason("capacity", "busy")},
        ),
        # A held bead leaves its place to the next bead.
        (
            Observations(FREE, {"a": HoldReason("ready", "blocked by x")}),
            ["b"],
            {"a": HoldReason("ready", "blocked by x")},
        ),
    ],
)
def test_as_many_as_there_is_room_for(
    outside: Observations, claimed: list[str], holds: dict[str, HoldReason]
) -> None:
    made = plan(
        bead("a"), bead("b"), bead("c"), rule=Rule("agent", max_in_flight=2), outside=outside
    )
    assert [name for _, name in kinds(made)] == claimed
    assert {name: made.holds[name] for name in holds} == holds


def test_the_ceiling_of_an_hour_leaves_as_many_as_it_says() -> None:
    rule = Rule("agent", max_in_flight=9, max_per_hour=3)
    made = plan(
        bead("a"), bead("b"), bead("c"), rule=rule, outside=Observations(), claims={"agent": (NOW,)}
    )
    assert [name for _, name in kinds(made)] == ["a", "b"]


def test_two_rules_share_what_their_target_has_free() -> None:
    rules = [Rule("agent"), Rule("review"), Rule("else", target="webhook")]
    beads = [bead("a"), bead("b")._replace(rule="review"), bead("c")._replace(rule="else")]
    asked = select_candidates(state(*beads), policy(*rules), NOW, BOTH)
    made = make_plan(
        state(*beads), policy(*rules), NOW, BOTH, asked, Observations({"beadboard": Capacity(1)})
    )
    assert kinds(made) == [(EntryKind.CLAIM, "a"), (EntryKind.CLAIM, "c")]
    assert made.holds == {"b": HoldReason("capacity", "target beadboard accepts 1 more")}


def test_each_claim_takes_what_its_target_has_free() -> None:
    made = plan(
        bead("a"),
        bead("b"),
        bead("c"),
        bead("d"),
        rule=Rule("agent", max_in_flight=9),
        outside=Observations({"beadboard": Capacity(3)}),
    )
    assert [one.detail["slots_used"] for one in made.decisions] == [0, 1, 2]
    assert made.holds == {"d": HoldReason("capacity", "target beadboard accepts 3 more")}


def test_slots_are_held_by_our_own_attempts_of_the_same_rule() -> None:
    for phase in (Phase.CLAIMED, Phase.UNKNOWN, Phase.RUNNING):
        assert kinds(plan(bead("a"), bead("b", phase, token="t"))) == []
    for other in (
        bead("b", Phase.BACKOFF, token="t", retry_at=NOW + HOUR),
        bead("b", Phase.RUNNING, token="t", rule="x"),
    ):
        assert kinds(plan(bead("a"), other)) == [(EntryKind.CLAIM, "a")]
