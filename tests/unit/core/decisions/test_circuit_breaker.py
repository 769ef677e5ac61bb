"""Outages and busy targets: their start, the holds, the tries and their end."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from dolt_watch.core.decisions.candidates import select_candidates
from dolt_watch.core.decisions.circuit_breaker import (
    busy_pause,
    postpone_tries,
    short_reason,
    try_pause,
    with_recorded_tries,
)
from dolt_watch.core.decisions.planner import make_plan
from dolt_watch.core.decisions.policy import (
    IMMEDIATELY,
    Observations,
    Plan,
    Policy,
    Scope,
    busy_answers,
)
from dolt_watch.core.decisions.settlement import health_of
from dolt_watch.core.model import (
    GLOBAL,
    Bead,
    Capacity,
    EntryEffects,
    EntryKind,
    Event,
    EventKind,
    LedgerEntry,
    Outage,
    Phase,
    Rule,
    RuleMatch,
    State,
)
from dolt_watch.core.model.observations import Health
from dolt_watch.core.model.recorded_inputs import RecordedInputs
from dolt_watch.core.projection.projection import Projection
from tests.unit.core.decisions.test_planner import NOW, bead, kinds, state

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
RETRY = Rule("agent", on_unknown="retry")
WHY = 'HTTP 502: {"error":"fetch failed"}'
DISPATCH = Scope(dispatch=True)
SERVICE = Outage(NOW - 5 * MINUTE, WHY, "service", NOW, recorded=True)
"""An outage whose next try is due. Only a dispatch can show whether the service works again."""
ANSWERS, BOTH = Capacity(1, proof="target"), Capacity(1, proof="both")
DOWN = Capacity(0, "connection refused", down=True)


def unknown(id: str, age: float = 600, **more: Any) -> Bead:
    return bead(id, Phase.UNKNOWN, age, token="t", outage="beadboard", attempt=1, **more)


def planned(
    *beads: Bead,
    outage: Outage | None = SERVICE,
    capacity: Capacity | None = ANSWERS,
    rule: Rule = RETRY,
    outside: Observations | None = None,
    **more: Any,
) -> Plan:
    policy = Policy([rule], 2 * SECOND, settings_hash="s")
    stands = state(*beads, outages={"beadboard": outage} if outage else {}, **more)
    asked = select_candidates(stands, policy, NOW, DISPATCH)
    known = outside or Observations({"beadboard": capacity} if capacity else {}, jitter=0.5)
    return make_plan(stands, policy, NOW, DISPATCH, asked, known)


# -- interval between tries --------------------


def test_tries_are_doubled_from_half_a_minute_to_ten_minutes_and_jitter_never_passes_that() -> None:
    assert [try_pause(number, 0.0).total_seconds() for number in (1, 2, 3, 4, 5, 6, 99)] == [
        30,
        60,
        120,
        240,
        480,
        600,
        600,
    ]
    assert [try_pause(number, 1.0).total_seconds() for number in (1, 5, 6)] == [37.5, 600, 600]


@pytest.mark.parametrize(
    ("busy", "asked", "seconds"),
    [
        (1, None, 30),
        (1, 0, 30),
        (1, 1.0, 30),
        (2, 0, 60),
        (5, None, 480),
        (6, None, 900),
        (99, 2, 900),
        (1, 3600, 3600),
    ],
)
def test_a_busy_target_rests_for_half_a_minute_at_least(
    busy: int, asked: float | None, seconds: float
) -> None:
    assert busy_pause(busy, asked).total_seconds() == seconds


def test_what_it_said_long_ago_does_not_count() -> None:
    said = {"busy": {"beadboard": 3}}
    recent = state(cooldowns={"beadboard": NOW - 14 * MINUTE}, **said)
    old = state(cooldowns={"beadboard": NOW - 15 * MINUTE}, **said)
    assert [health_of(one, "beadboard", "a", NOW).busy for one in (recent, old, state(**said))] == [
        3,
        0,
        0,
    ]
    assert [busy_answers(one, "beadboard", NOW) for one in (recent, old)] == [3, 0]


def test_health_is_of_the_target_and_the_bead() -> None:
    away = state(outages={"beadboard": SERVICE._replace(tries=4, noted=("a",))})
    assert health_of(away, "beadboard", "a", NOW, "n") == Health(0, 4, True, "n")
    assert health_of(away, "beadboard", "b", NOW) == Health(0, 4)
    assert health_of(away, "other", "a", NOW) == Health()


# -- short reasons and hold reasons --------------------


@pytest.mark.parametrize(
    ("why", "short"),
    [
        (WHY, "HTTP 502 fetch failed"),
        ("HTTP 503", "HTTP 503"),
        ("HTTP 503: <html>", "HTTP 503: <html>"),
        ('HTTP 502: {"error":[1]}', 'HTTP 502: {"error":[1]}'),
        ("HTTP 502: [1]", "HTTP 502: [1]"),
        ('connection refused (h:1): {"error":"x"}', 'connection refused (h:1): {"error":"x"}'),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 100 + "…"),
    ],
)
def test_the_reason_in_short(why: str, short: str) -> None:
    assert short_reason(why) == short


def test_a_held_bead_says_since_when_why_and_when_the_next_try_is() -> None:
    outage = SERVICE._replace(next_at=NOW + 5 * MINUTE)
    said = (
        "target beadboard has been unreachable since 2026-04-18T22:30:46Z (HTTP 502 fetch"
        " failed); next try at 2026-04-18T22:40:46Z"
    )
    made = planned(bead("a"), bead("b"), outage=outage)
    assert {(hold.gate, hold.why) for hold in made.holds.values()} == {("outage", said)} and len(
        made.holds
    ) == 2
    assert (made.gates, made.rules["agent"]) == ({"outage"}, (made.holds["a"],))


# -- start and end --------------------


def test_it_begins_when_its_capacity_says_that_it_is_down() -> None:
    made = planned(bead("a"), outage=None, capacity=DOWN)
    begins = made.decisions[0]
    assert (begins.kind, begins.bead, begins.reason, begins.cause) == (
        EntryKind.OUTAGE,
        GLOBAL,
        "connection refused",
        "head",
    )
    assert begins.detail["given"]["jitter"] == 0.5
    assert begins.detail["given"]["capacity"] == {
        "beadboard": [0, False, "connection refused", True, ""]
    }
    assert {name: begins.detail[name] for name in ("target", "part", "since", "next_try")} == {
        "target": "beadboard",
        "part": "capacity",
        "since": NOW.isoformat(),
        "next_try": (NOW + 30 * SECOND * 1.125).isoformat(),
    }
    assert [kind for kind, _ in kinds(made)] == [EntryKind.OUTAGE]


def test_one_that_a_dispatch_found_gets_its_entry_first_of_all() -> None:
    found = SERVICE._replace(recorded=False, next_at=NOW + 30 * SECOND)
    made = planned(bead("a"), outage=found, capacity=None)
    assert kinds(made) == [(EntryKind.OUTAGE, GLOBAL)]
    assert (made.decisions[0].reason, made.decisions[0].detail["since"]) == (
        WHY,
        found.since.isoformat(),
    )
    policy = Policy([RETRY], 2 * SECOND)
    assert (
        select_candidates(state(outages={"beadboard": found}), policy, NOW, DISPATCH).due[
            "dispatch"
        ]
        == IMMEDIATELY
    )
    other = state(outages={"gone": found})
    assert select_candidates(other, policy, NOW, DISPATCH).due["dispatch"] is None, (
        "of no rule: no bead waits for it"
    )


@pytest.mark.parametrize(
    ("part", "capacity", "ends"),
    [
        ("service", ANSWERS, False),
        ("service", BOTH, True),
        ("service", Capacity(1, proof="service"), True),
        ("service", DOWN, False),
        ("service", None, False),
        ("service", Capacity(None), False),
        ("target", ANSWERS, True),
        ("target", Capacity(1, proof="service"), False),
        ("target", Capacity(None), False),
        ("capacity", Capacity(None), True),
        ("capacity", DOWN, False),
    ],
)
def test_it_ends_by_proof(part: str, capacity: Capacity | None, ends: bool) -> None:
    made = planned(bead("a"), outage=SERVICE._replace(part=part), capacity=capacity)
    assert (EntryKind.RECOVERED in [kind for kind, _ in kinds(made)]) == ends
    assert (kinds(made)[:1] == [(EntryKind.RECOVERED, GLOBAL)]) == ends


def test_it_ends_by_any_answer_to_a_dispatch() -> None:
    answered = SERVICE._replace(answered=True)
    made = planned(bead("a"), outage=answered, capacity=None)
    assert kinds(made) == [(EntryKind.RECOVERED, GLOBAL)]
    assert (made.decisions[0].detail["target"], made.decisions[0].detail["since"]) == (
        "beadboard",
        SERVICE.since.isoformat(),
    )
    policy = Policy([RETRY], 2 * SECOND)
    assert (
        select_candidates(state(outages={"beadboard": answered}), policy, NOW, DISPATCH).due[
            "dispatch"
        ]
        == IMMEDIATELY
    )


# -- choice of the bead for a try --------------------


def test_while_it_lasts_nobody_goes_and_when_it_is_due_one_tries() -> None:
    waiting = [bead("b", rank=(1,)), bead("a", rank=(2,))]
    assert kinds(planned(*waiting, outage=SERVICE._replace(next_at=NOW + SECOND))) == []
    made = planned(*waiting)
    assert kinds(made) == [(EntryKind.CLAIM, "b")]
    assert made.holds["a"].gate == "outage"
    claim = made.decisions[0]
    assert (claim.note, claim.detail["deferred_note"]) == (
        "",
        "auto-dispatcher claimed at 2026-04-18T22:35:46Z",
    )
    assert claim.detail["given"]["outages"] == {"beadboard": [1, NOW.isoformat()]}
    assert kinds(planned(*waiting, capacity=None)) == [], "it was not asked: no bead goes"
    assert kinds(planned(*waiting, capacity=DOWN)) == []


def test_the_one_that_tried_it_before_tries_it_again() -> None:
    waiting = [bead("b", rank=(1,)), bead("a", rank=(2,))]
    rule = Rule("agent", max_in_flight=5)
    assert kinds(planned(*waiting, outage=SERVICE._replace(noted=("a",)), rule=rule)) == [
        (EntryKind.CLAIM, "a")
    ]


def test_a_bead_that_is_not_ready_does_not_try_it() -> None:
    from dolt_watch.core.model import HoldReason

    known = Observations({"beadboard": ANSWERS}, {"b": HoldReason("ready", "blocked")})
    made = planned(bead("b", rank=(1,)), bead("a", rank=(2,)), outside=known)
    assert kinds(made) == [(EntryKind.CLAIM, "a")]
    assert made.holds["b"].gate == "ready"


def test_one_whose_outcome_is_unknown_is_sent_again_by_a_claim_that_leaves_its_row() -> None:
    made = planned(unknown("u"), bead("a"))
    assert kinds(made) == [(EntryKind.CLAIM, "u")]
    claim = made.decisions[0]
    since = (NOW - 10 * MINUTE).isoformat()
    assert (claim.note, claim.status, claim.attempt) == ("", "", 1)
    assert claim.detail["resend"] == {"since": since, "claimed": since}
    without = planned(unknown("u")._replace(sent_at=None), bead("a")).decisions[0]
    assert without.detail["resend"] == {"since": since, "claimed": None}


def test_and_is_waited_for() -> None:
    """No other bead is sent before the outcome is known, even if slots are free."""
    rule = Rule("agent", on_unknown="retry", max_in_flight=5)
    assert kinds(planned(unknown("u", age=599), bead("a"), rule=rule)) == []


def test_while_one_is_being_sent_no_other_tries() -> None:
    claimed = bead("c", Phase.CLAIMED, token="t", deadline=NOW + MINUTE)
    assert (
        kinds(planned(claimed, bead("a"), rule=Rule("agent", on_unknown="retry", max_in_flight=5)))
        == []
    )


def test_under_block_it_is_given_up_and_another_tries() -> None:
    block = Rule("agent", max_in_flight=2)
    assert kinds(planned(unknown("u"), bead("a"), rule=block)) == [
        (EntryKind.GIVE_UP, "u"),
        (EntryKind.CLAIM, "a"),
    ]
    assert kinds(planned(unknown("u"), bead("a"), rule=block, capacity=DOWN)) == [], (
        "it may still prove itself idle"
    )
    assert (
        kinds(planned(unknown("u"), rule=block, outage=SERVICE._replace(next_at=NOW + SECOND)))
        == []
    )
    ended = kinds(planned(unknown("u"), rule=block, capacity=BOTH))
    assert ended == [(EntryKind.RECOVERED, GLOBAL)], "and its silence counts from here"


def test_a_rule_that_is_no_more_sends_nothing_again() -> None:
    assert kinds(planned(unknown("u", rule="gone"), bead("a"))) == [(EntryKind.CLAIM, "a")]


# -- tries without an entry in history --------------------


def moved(
    *beads: Bead, outage: Outage = SERVICE, capacity: Capacity | None, rule: Rule = RETRY
) -> Outage | None:
    policy = Policy([rule], 2 * SECOND)
    stands = state(*beads, outages={"beadboard": outage, "other": outage})
    asked = select_candidates(stands, policy, NOW, DISPATCH)
    after = postpone_tries(
        stands, policy, NOW, asked, Observations({"beadboard": capacity} if capacity else {})
    )
    assert after is None or after.outages["other"] == outage
    return after.outages["beadboard"] if after is not None else None


def test_a_try_by_its_capacity_that_fails_puts_the_next_one_off() -> None:
    assert moved(bead("a"), capacity=DOWN) == SERVICE._replace(tries=2, next_at=NOW + MINUTE)
    assert moved(bead("a"), capacity=None) is None
    assert moved(bead("a"), capacity=DOWN, outage=SERVICE._replace(next_at=NOW + SECOND)) is None


def test_where_nobody_could_try_it_the_next_one_is_put_off_as_well() -> None:
    assert moved(capacity=ANSWERS) == SERVICE._replace(next_at=NOW + 30 * SECOND)
    waits = unknown("u", age=300)
    assert moved(waits, capacity=ANSWERS) == SERVICE._replace(next_at=NOW + 5 * MINUTE), (
        "until it may be sent again"
    )
    assert moved(waits, capacity=ANSWERS, rule=Rule("agent")) == SERVICE._replace(
        next_at=NOW + 30 * SECOND
    )


def test_tries_are_due_also_where_no_bead_may_go() -> None:
    """A try is due even without a free slot, because the target's health may end the outage."""
    policy = Policy([RETRY], 2 * SECOND)
    asked = select_candidates(
        state(unknown("u", 60), bead("a"), outages={"beadboard": SERVICE}), policy, NOW, DISPATCH
    )
    assert (asked.tries, asked.queues, asked.held["a"].gate) == (("beadboard",), {}, "outage")
    assert (
        select_candidates(
            state(bead("a"), outages={"beadboard": SERVICE}), policy, NOW, Scope(reap=True)
        ).tries
        == ()
    )


def test_a_decision_is_made_again_on_the_tries_that_it_was_made_on() -> None:
    known = state(outages={"beadboard": SERVICE})
    again = with_recorded_tries(known, {"beadboard": (7, NOW + MINUTE), "other": (1, NOW)})
    assert again.outages == {"beadboard": SERVICE._replace(tries=7, next_at=NOW + MINUTE)}
    assert with_recorded_tries(known, {"other": (1, NOW)}) is known


# -- end of an unknown outcome --------------------


@pytest.mark.parametrize(
    ("rule", "capacity", "kind", "reason"),
    [
        (RETRY, Capacity(1), EntryKind.RETRY, "no sign of life in 10m"),
        (RETRY, None, EntryKind.RETRY, "no sign of life in 10m"),
        (RETRY, Capacity(1, idle=True), EntryKind.RETRY, "the service runs nothing"),
        (Rule("agent"), Capacity(1, idle=True), EntryKind.RETRY, "the service runs nothing"),
        (Rule("agent"), Capacity(1), EntryKind.GIVE_UP, "still unknown after 10m"),
    ],
)
def test_by_evidence_then_by_silence(
    rule: Rule, capacity: Capacity | None, kind: EntryKind, reason: str
) -> None:
    [made] = planned(unknown("u"), outage=None, capacity=capacity, rule=rule).decisions
    assert (made.kind, made.reason) == (kind, reason)


def test_a_target_that_is_down_is_no_evidence() -> None:
    assert kinds(planned(unknown("u"), outage=None, capacity=DOWN)) == [(EntryKind.OUTAGE, GLOBAL)]


def test_what_an_outage_left_unknown_counts_against_no_bead() -> None:
    [made] = planned(unknown("u"), outage=None).decisions
    sent = (NOW - 10 * MINUTE).isoformat()
    assert (made.status, made.note, made.detail["uncounted"], made.detail["uncounted_claim"]) == (
        "open",
        "",
        True,
        sent,
    )
    [made] = planned(unknown("u")._replace(sent_at=None), outage=None).decisions
    assert "uncounted_claim" not in made.detail
    [made] = planned(unknown("u")._replace(outage=""), outage=None).decisions
    assert (made.note, "uncounted" in made.detail) == (
        "dispatch failed no sign of life in 10m",
        False,
    )


# -- applied entries --------------------


def entry(
    kind: EntryKind, version: int, id: str = "a", at: datetime = NOW, **detail: Any
) -> LedgerEntry:
    token = "" if id == GLOBAL else "t"
    return LedgerEntry(
        id,
        version,
        kind,
        1,
        "agent",
        token,
        "",
        "",
        at,
        "",
        WHY,
        "",
        "s",
        "",
        detail,
        EntryEffects(),
    )


def folded(start: State, *entries: LedgerEntry, facts: RuleMatch | None = None) -> State:
    projection = Projection(start)
    for one in entries:
        projection.apply([Event(EventKind.LEDGER, one.bead, "c", one.at, facts=facts, entry=one)])
    return projection.state()


AGAIN = NOW + 30 * SECOND
FAILS: dict[str, Any] = {
    "target": "beadboard",
    "unreachable": "service",
    "tries": 1,
    "next_try": AGAIN.isoformat(),
}
CLAIMED = bead("a", Phase.CLAIMED, token="t", attempt=1)


def test_a_dispatch_that_finds_it_unreachable_begins_it() -> None:
    after = folded(state(CLAIMED, busy={"beadboard": 2}), entry(EntryKind.UNKNOWN, 1, **FAILS))
    assert after.outages == {"beadboard": Outage(NOW, WHY, "service", AGAIN, noted=("a",))}
    assert after.busy == {}
    assert (after.beads["a"].phase, after.beads["a"].outage) == (Phase.UNKNOWN, "beadboard")
    later = (NOW + 9 * MINUTE).isoformat()
    more = folded(after, entry(EntryKind.UNKNOWN, 2, **{**FAILS, "tries": 2, "next_try": later}))
    [one] = more.outages.values()
    assert (one.since, one.tries, one.next_at, one.noted) == (NOW, 2, NOW + 9 * MINUTE, ("a",))
    slower = folded(more, entry(EntryKind.UNKNOWN, 3, **{**FAILS, "tries": "x", "next_try": None}))
    assert slower.outages == more.outages, "another worker's, sent before it began"


def test_a_refused_connection_gives_the_bead_back_uncounted() -> None:
    claim = NOW - 60 * SECOND
    start = state(CLAIMED._replace(matches=True), claims={"agent": (NOW - MINUTE * 2, claim)})
    after = folded(start, entry(EntryKind.FAILED, 1, **FAILS, uncounted_claim=claim.isoformat()))
    again = after.beads["a"]
    assert (again.phase, again.attempt, again.token, again.reason) == (Phase.WAITING, 0, "", WHY)
    assert after.claims == {"agent": (NOW - MINUTE * 2,)}


def test_its_entry_marks_it_recorded_or_begins_it() -> None:
    known = folded(
        state(outages={"beadboard": SERVICE._replace(recorded=False)}),
        entry(EntryKind.OUTAGE, 1, GLOBAL, target="beadboard"),
    )
    assert known.outages == {"beadboard": SERVICE}
    detail = {
        "target": "beadboard",
        "part": "capacity",
        "since": SERVICE.since.isoformat(),
        "next_try": AGAIN.isoformat(),
    }
    made = folded(state(), entry(EntryKind.OUTAGE, 1, GLOBAL, **detail))
    assert made.outages == {
        "beadboard": Outage(SERVICE.since, WHY, "capacity", AGAIN, recorded=True)
    }
    bare = folded(state(), entry(EntryKind.OUTAGE, 1, GLOBAL, target="beadboard"))
    assert bare.outages == {"beadboard": Outage(NOW, WHY, "", NOW, recorded=True)}
    assert folded(state(), entry(EntryKind.OUTAGE, 1, GLOBAL, target=7)).outages == {}
    assert folded(state(), entry(EntryKind.OUTAGE, 1, GLOBAL)).outages == {}


@pytest.mark.parametrize(
    "kind", [EntryKind.DISPATCHED, EntryKind.FAILED, EntryKind.UNKNOWN, EntryKind.STOPPED]
)
def test_any_other_answer_ends_it_and_ends_being_busy(kind: EntryKind) -> None:
    start = state(CLAIMED, outages={"beadboard": SERVICE}, busy={"beadboard": 2})
    after = folded(start, entry(kind, 1, target="beadboard"))
    assert (after.outages["beadboard"].answered, after.busy) == (True, {})
    busy = folded(state(CLAIMED, busy={"beadboard": 2}), entry(kind, 1, target="beadboard"))
    assert (busy.outages, busy.busy) == ({}, {})
    assert folded(start, entry(kind, 1)).outages == start.outages, (
        "one that was sent before it began"
    )


def test_busy_answers_are_counted() -> None:
    start = state(CLAIMED, outages={"beadboard": SERVICE})
    after = folded(
        start, entry(EntryKind.BUSY, 1, target="beadboard", until=AGAIN.isoformat(), busy=3)
    )
    assert (after.busy, after.cooldowns, after.outages["beadboard"].answered) == (
        {"beadboard": 3},
        {"beadboard": AGAIN},
        True,
    )
    old = folded(start, entry(EntryKind.BUSY, 1, target="beadboard", until=AGAIN.isoformat()))
    assert (old.busy, old.outages) == ({}, start.outages)


def test_when_it_ends_the_silence_of_what_it_left_unknown_counts_from_there() -> None:
    """A target that was frozen may begin its pending requests after it recovers."""
    start = state(
        unknown("u"),
        unknown("v")._replace(outage="other"),
        unknown("w", age=-60),
        bead("r", Phase.RUNNING),
        outages={"beadboard": SERVICE, "other": SERVICE},
    )
    after = folded(start, entry(EntryKind.RECOVERED, 1, GLOBAL, target="beadboard"))
    assert list(after.outages) == ["other"]
    ages = {id: (NOW - one.since).total_seconds() for id, one in after.beads.items()}
    assert ages == {"u": 0, "v": 600, "w": -60, "r": 60}


def test_a_claim_of_one_that_is_sent_again_takes_its_place() -> None:
    sent = NOW - 10 * MINUTE
    start = state(unknown("a"), claims={"agent": (sent,)})
    again = entry(
        EntryKind.CLAIM, 1, resend={"since": sent.isoformat(), "claimed": sent.isoformat()}
    )
    after = folded(start, again)
    assert after.claims == {"agent": (NOW,)}
    one = after.beads["a"]
    assert (one.phase, one.runs, one.matches, one.outage, one.sent_at) == (
        Phase.CLAIMED,
        True,
        False,
        "",
        NOW,
    )


def test_a_retry_of_what_an_outage_left_unknown_counts_no_attempt() -> None:
    start = state(unknown("a")._replace(matches=True, token="t"))
    after = folded(start, entry(EntryKind.RETRY, 1, uncounted=True))
    assert (after.beads["a"].phase, after.beads["a"].attempt, after.beads["a"].outage) == (
        Phase.WAITING,
        0,
        "",
    )


def test_a_sign_of_life_ends_the_doubt() -> None:
    from dolt_watch.core.model import ActivitySignal

    sign = ActivitySignal(NOW, "notes", "agent", "c")
    projection = Projection(state(unknown("a")))
    projection.apply([Event(EventKind.SIGN, "a", "c", NOW, sign=sign)])
    assert (projection.beads["a"].phase, projection.beads["a"].outage) == (Phase.RUNNING, "")


# -- recorded inputs --------------------


@pytest.mark.parametrize(
    ("given", "health", "tries"),
    [
        ({}, None, {}),
        ({"health": [1, 2, True, "n"]}, Health(1, 2, True, "n"), {}),
        ({"health": [1, 2]}, None, {}),
        ({"health": ["1", 2, True, ""]}, None, {}),
        ({"outages": {"b": [3, NOW.isoformat()]}}, None, {"b": (3, NOW)}),
        ({"outages": {"b": [3, "never"], "c": 7}}, None, {}),
        ({"outages": 7}, None, {}),
    ],
)
def test_what_is_not_of_its_shape_reads_as_not_recorded(
    given: Any, health: Health | None, tries: Any
) -> None:
    found = RecordedInputs.decode({"given": given})
    assert (found.health, found.outages) == (health, tries)


def test_capacity_is_read_in_both_shapes() -> None:
    given = {"capacity": {"a": [1, True, "w"], "b": [None, False, "", True, "target"], "c": [1]}}
    assert RecordedInputs.decode({"given": given}).capacity == {
        "a": Capacity(1, "w", True),
        "b": Capacity(None, "", False, True, "target"),
    }


def test_a_target_that_is_well_leaves_no_trace_in_what_is_recorded() -> None:
    made = planned(bead("a"), outage=None, capacity=Capacity(1))
    given = made.decisions[0].detail["given"]
    assert (
        given["capacity"] == {"beadboard": [1, False, ""]}
        and not {"outages", "jitter"} & given.keys()
    )
    assert made.decisions[0].note and "deferred_note" not in made.decisions[0].detail
