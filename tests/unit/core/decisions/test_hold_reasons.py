"""Hold reasons: the bead's own reason first, its place in the queue, and the hold of its rule."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dolt_watch.core.decisions.candidates import select_candidates
from dolt_watch.core.decisions.hold_reasons import Reasons, in_line, reasons, rule_words
from dolt_watch.core.decisions.planner import make_plan
from dolt_watch.core.decisions.policy import Observations, Plan, Policy, Scope
from dolt_watch.core.model import Bead, Capacity, HoldReason, Pause, Phase, Rule
from tests.unit.core.decisions.test_planner import FREE, NOW, bead, state

DISPATCH = Scope(dispatch=True)
LATER = NOW + timedelta(minutes=5)
RUNNING = bead("r", Phase.RUNNING, token="t")
FAILED = bead("f", Phase.BACKOFF, retry_at=LATER, attempt=1, reason="HTTP 500")
BACKOFF = "attempt 1 failed (HTTP 500); next attempt at 2026-04-18T22:40:46Z"
BLOCKED = HoldReason("ready", "blocked by x, which is not closed")


def found(
    *beads: Bead, outside: Observations | None = None, skip: tuple[str, ...] = (), **more: Any
) -> Reasons:
    rules = (more.pop("rule", Rule("agent")),)
    policy = Policy(rules, timedelta(seconds=2), settings_hash="s")
    stands = state(*beads, **more)
    asked = select_candidates(stands, policy, NOW, DISPATCH, skip)
    plan = make_plan(stands, policy, NOW, DISPATCH, asked, outside or Observations(FREE))
    return reasons(stands, policy, plan)


def told(reasons: Reasons) -> dict[str, str]:
    return {bead: one.why for bead, one in reasons.beads.items()}


@pytest.mark.parametrize(
    ("more", "whole"),
    [
        ({"pauses": {"": Pause("", "lunch", NOW, "tess")}}, "paused by tess: lunch"),
        ({"cooldowns": {"beadboard": LATER}}, "target beadboard is cooling down until"),
        ({"outside": Observations({"beadboard": Capacity(0, "busy")})}, "busy"),
        ({"rule": Rule("agent", max_per_hour=1), "claims": {"agent": (NOW,)}}, "1 claims in"),
    ],
)
def test_a_bead_s_own_reason_comes_before_its_rule_s(more: dict[str, Any], whole: str) -> None:
    beads = [bead("a"), FAILED, bead("n", age=1), bead("b")]
    here = found(*beads, **more)
    assert here.rules["agent"].why.startswith(whole)
    assert told(here) == {
        "a": "place 1 of 2 in the queue",
        "b": "place 2 of 2 in the queue",
        "f": BACKOFF,
        "n": "changed at 2026-04-18T22:35:45Z; settles at 2026-04-18T22:35:47Z",
    }
    assert here.beads["f"].own is not None and here.beads["a"].own is None
    assert not any(one.goes for one in here.beads.values())


def test_so_it_does_where_the_slots_are_taken() -> None:
    outside = Observations(FREE, {"b": BLOCKED})
    here = found(RUNNING, bead("a"), bead("b"), bead("c"), FAILED, outside=outside)
    assert here.rules == {"agent": HoldReason("max_in_flight", "1 of 1 in flight: r (running)")}
    assert told(here) == {
        "a": "place 1 of 2 in the queue",
        "b": BLOCKED.why,
        "c": "place 2 of 2 in the queue",
        "f": BACKOFF,
    }
    # `place` ignores the bead's own hold.
    assert {id: one.place for id, one in here.beads.items()} == {"a": 1, "b": 2, "c": 2, "f": 3}


def test_each_bead_behind_the_free_slots_has_a_place_of_its_own() -> None:
    beads = [bead(name) for name in "edcba"]
    free = Observations({"beadboard": Capacity(9)})
    here = found(*beads, rule=Rule("agent", max_in_flight=2), outside=free)
    assert told(here) == {
        name: f"place {number} of 5 in the queue" for number, name in enumerate("abcde", 1)
    }
    assert [name for name, one in here.beads.items() if one.goes] == ["a", "b"]
    assert here.rules == {"agent": HoldReason("max_in_flight", "2 slots are free")}


def test_what_a_command_attempted_already_waits_for_its_turn() -> None:
    here = found(bead("a"), bead("b"), skip=("a",))
    assert told(here) == {"a": "place 1 of 2 in the queue", "b": "place 2 of 2 in the queue"}
    assert here.rules == {}


def test_who_waits_for_a_person_is_in_no_queue() -> None:
    quarantined = bead("q", Phase.QUARANTINED, reason="HTTP 400")
    held = bead("h", Phase.HELD, reason="")
    here = found(quarantined, held, bead("x", rule="gone"), RUNNING)
    assert told(here) == {"q": "HTTP 400", "h": "held"}
    assert [one.place for one in here.beads.values()] == [0, 0]


def test_in_line_is_who_history_does_not_hold_whatever_holds_the_rule() -> None:
    policy = Policy([Rule("agent"), Rule("docs")], timedelta(seconds=2), {"agent": [True]})
    ranked = [bead(name, rank=(rank,)) for rank, name in enumerate("ab")]
    for more in ([], [RUNNING]):
        stands = state(*ranked, FAILED, bead("n", age=1), bead("x", rule="gone"), *more)
        asked = select_candidates(stands, policy, NOW, DISPATCH)
        line = in_line(stands, policy, asked)
        assert {rule: [one.id for one in beads] for rule, beads in line.items()} == {
            "agent": ["b", "a"],
            "docs": [],
        }


@pytest.mark.parametrize(("waiting", "beads"), [(0, "0 beads"), (1, "1 bead"), (2, "2 beads")])
def test_a_rule_in_words(waiting: int, beads: str) -> None:
    assert (
        rule_words("agent", HoldReason("paused", "x"), waiting)
        == f"rule agent: x ({beads} in its queue)"
    )
    assert (
        rule_words("agent", HoldReason("paused", ""), 1)
        == "rule agent: paused (1 bead in its queue)"
    )


def test_the_gates_of_a_plan_are_those_of_beads_and_of_rules() -> None:
    paused = HoldReason("paused", "x")
    plan = Plan(
        holds={"a": HoldReason("settle", "y"), "b": paused},
        rules={"docs": (HoldReason("stopped", "z"),)},
    )
    assert plan.gates == {"settle", "paused", "stopped"}
    assert Plan().gates == frozenset()
