"""The fence: workers on one server decide one after another.

Capacity, ceilings and pause apply to all of them together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dolt_watch.cli.composition import ledger
from dolt_watch.controller import conflict_policy
from dolt_watch.controller.tick_result import Next, TickResult
from dolt_watch.core.decisions.policy import Plan, Scope
from dolt_watch.core.model import GLOBAL, Decision, EntryKind
from dolt_watch.errors import Conflict
from dolt_watch.ledger.decision_context import DecisionContext
from dolt_watch.ledger.writer import Written
from dolt_watch.targets.registry import TargetPool
from tests.acceptance.conftest import rows_of
from tests.faults import racing
from tests.faults.racing import AT_ONCE, CLAIMED_AND_SENT, Arena, tick_all
from tests.support.clocks import ShiftedClock
from tests.support.lines import build

pytestmark = pytest.mark.covering(engines="module")

arena, dolt_arena, tally = racing.arena, racing.dolt_arena, racing.tally


def ticked(
    arena: Arena, before: Callable[[Any, DecisionContext], object]
) -> tuple[TickResult, list[str]]:
    """Run one tick in this process.

    Args:
        before: Called with the executor between the decision and the claim.
    """
    lines: list[str] = []
    targets = TargetPool(arena.settings.targets)
    loop = build(arena.engine, arena.settings, targets, ShiftedClock(), lines.append)
    handle = loop.executor.execute

    def meddled(plan: Plan, context: DecisionContext) -> Written | Next:
        before(loop.executor, context)
        return handle(plan, context)

    loop.executor.execute = meddled  # type: ignore[method-assign]
    try:
        return loop.tick(Scope(dispatch=True)), lines
    finally:
        targets.close()


def pause(arena: Arena) -> None:
    """Record the entry of ``dolt_watch pause``, over a separate connection."""
    engine = arena.another()
    try:
        detail = {"until": None, "reaping": False, "by": "tess"}
        ledger(engine, arena.settings).record(
            Decision(EntryKind.PAUSE, GLOBAL, "", 0, "", reason="stop", detail=detail)
        )
    finally:
        engine.close()


def one_slot(arena: Arena, beads: int, tally: list[str]) -> None:
    """Let two workers tick at once and close the accepted bead, until all beads are done."""
    names, start = arena.add(beads), arena.head()
    rounds, conflicts = 0, 0
    with arena.racers(2, "settle=0s", "rules.agent.max_in_flight=1") as workers:
        while len(arena.sent()) < beads:
            before = len(arena.sent())
            answers = tick_all(workers)
            assert [(each.code, each.error) for each in answers] == [(0, "")] * 2
            [bead] = arena.sent()[before:]
            rounds, conflicts = rounds + 1, conflicts + sum(each.conflicts for each in answers)
            arena.commit(f"UPDATE issues SET status = 'closed' WHERE id = '{bead}'")
    assert sorted(arena.sent()) == names
    assert arena.streams() == dict.fromkeys(names, CLAIMED_AND_SENT)
    most = max(
        list(stands.values()).count("in_progress") for stands in arena.status_by_commit(start)
    )
    assert most == 1
    tally.append(
        f"fence  {arena.engine.name:8} 2 workers, 1 slot, {rounds} rounds: never two in flight,"
        f" {conflicts} conflicts"
    )


def test_never_two_in_flight(arena: Arena, tally: list[str]) -> None:
    one_slot(arena, 6, tally)


@pytest.mark.slow
def test_never_two_in_flight_over_many_rounds(arena: Arena, tally: list[str]) -> None:
    one_slot(arena, 200, tally)


def test_the_ceiling_of_an_hour_holds_between_two(arena: Arena) -> None:
    arena.add(12)
    with arena.racers(
        2, "settle=0s", "rules.agent.max_in_flight=100", "rules.agent.max_per_hour=3"
    ) as workers:
        for hour, sent in ((0, 3), (0, 3), (1, 6), (2, 9)):
            assert [each.code for each in tick_all(workers, hour * 3600 + hour)] == [0, 0]
            assert len(arena.sent()) == len(set(arena.sent())) == sent


def test_a_pause_between_decide_and_claim(arena: Arena) -> None:
    arena.add(1)
    before = iter([pause])
    outcome, lines = ticked(arena, lambda actor, context: [act(arena) for act in before])
    assert (outcome.exit_code, outcome.conflicts, arena.sent()) == (0, 1, [])
    assert "holding rule agent: paused by tess: stop (1 bead in its queue)" in lines
    assert arena.streams() == {GLOBAL: ["pause"]}
    assert arena.engine.query("SELECT status, notes FROM issues") == [("open", "")]


def amid_the_claim(arena: Arena, act: Callable[[Any, DecisionContext], object]) -> TickResult:
    """Run a tick in which ``act`` happens after the snapshot of the first claim.

    No second poll can see the act then.
    """
    acts = iter([act])

    def meddle(actor: Any, context: DecisionContext) -> None:
        begin = actor.ledger._read_snapshot

        def begun(*asked: Any, **named: Any) -> Any:
            found = begin(*asked, **named)
            for each in acts:
                each(actor, context)
            return found

        actor.ledger._read_snapshot = begun

    return ticked(arena, meddle)[0]


# Both write the fence, so they conflict. These tests need a server, because DoltLite has one writer
# at a time.


def test_a_pause_inside_the_claim_s_own_transaction(dolt_arena: Arena) -> None:
    dolt_arena.add(1)
    outcome = amid_the_claim(dolt_arena, lambda *_: pause(dolt_arena))
    assert (outcome.exit_code, outcome.conflicts, dolt_arena.sent()) == (0, 1, [])
    assert dolt_arena.streams() == {GLOBAL: ["pause"]}


def test_the_only_slot_goes_to_another_bead_inside_the_claim_s_own_transaction(
    dolt_arena: Arena,
) -> None:
    """The other worker claims another bead on the same history. No key of the ledger collides."""
    first, second = dolt_arena.add(2)
    dolt_arena.settings = replace(
        dolt_arena.settings,
        rules=tuple(replace(rule, max_in_flight=1) for rule in dolt_arena.settings.rules),
    )

    def claim(actor: Any, context: DecisionContext) -> None:
        engine = dolt_arena.another()
        other = ledger(engine, dolt_arena.settings)
        deadline = (context.now + timedelta(minutes=1)).isoformat()
        decision = Decision(
            EntryKind.CLAIM,
            second,
            "agent",
            1,
            "",
            token="t",
            status="in_progress",
            detail={"deadline": deadline},
        )
        other.append_decision(context, decision)
        engine.close()

    outcome = amid_the_claim(dolt_arena, claim)
    assert (outcome.exit_code, outcome.conflicts, dolt_arena.sent()) == (0, 1, [])
    assert dolt_arena.streams() == {second: ["claim"]}
    assert outcome.holds[first].gate == "max_in_flight"


def test_another_worker_s_first_start_amid_the_first_tick(arena: Arena) -> None:
    """This database made all entries so far, so nothing is held as in a clone or sent twice."""
    beads = arena.add(3)
    ticks = iter([None])
    engine = arena.another()

    def second(actor: Any, context: DecisionContext) -> None:
        if arena.sent():
            for _ in ticks:
                first, arena.engine = arena.engine, engine
                assert ticked(arena, lambda *_: None)[0].dispatched == 2
                arena.engine = first

    assert ticked(arena, second)[0].dispatched == 1
    engine.close()
    assert arena.sent() == beads
    assert arena.streams() == dict.fromkeys(beads, CLAIMED_AND_SENT)


def test_a_worker_that_dies_amid_the_first_tick_holds_nothing(arena: Arena) -> None:
    beads = arena.add(2)

    def die(actor: Any, context: DecisionContext) -> None:
        if arena.sent():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ticked(arena, die)
    assert ticked(arena, lambda *_: None)[0].dispatched == 1
    assert arena.sent() == beads


def test_overtaken_again_and_again_is_no_failure(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer commits before each claim. The worker leaves the remaining beads to the other
    workers, and its CronJob succeeds.
    """
    monkeypatch.setattr(conflict_policy, "MAX_CONFLICTS", 3)
    other = arena.add(2)[1]
    engine = arena.another()
    counter = iter(range(100))
    outcome, lines = ticked(
        arena,
        lambda *_: arena.commit(
            f"UPDATE issues SET title = '{next(counter)}' WHERE id = '{other}'", engine
        ),
    )
    engine.close()
    assert (outcome.exit_code, outcome.conflicts, arena.sent()) == (0, 4, [])
    assert lines[-1] == (
        "other workers committed first 3 times in a row; they continue with the remaining beads"
    )
    assert ticked(arena, lambda *_: None)[0].dispatched == 2


def test_no_way_through_where_nothing_moves_is_a_failure(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure stops no other bead, and the next one is dispatched."""
    monkeypatch.setattr(conflict_policy, "CONFLICTS_BEFORE_CHECK", 3)
    first, second = arena.add(2)
    tries = []

    def refuse(*_: Any) -> None:
        if len(tries) < 3:
            tries.append(0)
            raise Conflict("always")

    words = f"Could not write to {first} in 3 tries, and no other worker committed: always"
    with pytest.raises(Conflict, match=words):
        ticked(arena, refuse)
    assert arena.sent() == [second]


@pytest.mark.slow
def test_what_a_scheduler_lock_would_save(dolt_arena: Arena, tally: list[str]) -> None:
    """The other tests here prove that correctness needs no lock.

    GET_LOCK works between connections. This test counts the conflicts with and without it.
    """
    one, two = dolt_arena.another(), dolt_arena.another()
    assert one.query("SELECT GET_LOCK('race', 0)") == [(1,)]
    assert two.query("SELECT GET_LOCK('race', 0)") == [(0,)]
    assert one.query("SELECT RELEASE_LOCK('race')") == [(1,)]
    assert two.query("SELECT GET_LOCK('race', 0)") == [(1,)]
    one.close()
    two.close()
    for count, lock in ((4, ()), (4, ("--lock",))):
        dolt_arena.commit("UPDATE issues SET status = 'closed'") if dolt_arena.sent() else None
        before = len(dolt_arena.sent())
        names = [f"bd-{count}{'-l' if lock else ''}-{number}" for number in range(24)]
        dolt_arena.commit(rows_of(names))
        with dolt_arena.racers(count, *AT_ONCE, *lock) as workers:
            answers = tick_all(workers)
        assert [(each.code, each.error) for each in answers] == [(0, "")] * count
        assert sorted(dolt_arena.sent()[before:]) == sorted(names)
        spent = max(each.seconds for each in answers)
        tally.append(
            f"lock   dolt     {count} workers × 24 beads, {'GET_LOCK' if lock else 'no lock '}: "
            f"{sum(each.conflicts for each in answers):4} conflicts, {24 / spent:4.1f} beads/s"
        )
