"""The log lines of a tick about waiting beads: one for each bead, and a summary of many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dolt_watch.controller.messages import LISTED, log_holds
from dolt_watch.controller.tick_result import Iteration, Next, TickResult
from dolt_watch.core.decisions.policy import BOTH, Plan, Policy, Scope
from dolt_watch.core.model import Bead, Capacity, EntryKind, HoldReason, Phase, Rule, State
from dolt_watch.engines import Engine
from dolt_watch.targets.service_health import SERVICE
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Light
from tests.support.lines import build
from tests.support.lines import heard as hear

NOW = datetime(2026, 4, 18, 12, tzinfo=UTC)


def waits(number: int) -> Bead:
    return Bead(f"bd-{number:05}", Phase.WAITING, "agent", NOW, "c", matches=True)


def lines(count: int, gate: str = "max_in_flight", more: int = 0) -> list[str]:
    beads = {bead.id: bead for bead in map(waits, range(count + more))}
    holds = {
        id: HoldReason(gate if place < count else "settle", "why") for place, id in enumerate(beads)
    }
    said: list[str] = []
    policy = Policy([Rule("agent")], timedelta(seconds=1))
    with hear(said.append):
        log_holds(State(beads=beads), Plan(holds=holds), policy, NOW, Scope(dispatch=True))
    return said


@pytest.mark.parametrize("count", [1, LISTED])
def test_few_are_named(count: int) -> None:
    assert lines(count) == [f"holding bd-{n:05}: why" for n in range(count)]


def test_of_many_it_says_how_many_more_and_where_they_are_named() -> None:
    said = lines(10_000)
    assert (len(said), said[-2]) == (LISTED + 1, f"holding bd-{LISTED - 1:05}: why")
    assert (
        said[-1] == f"holding {10_000 - LISTED} more: max_in_flight (dolt_watch status names them)"
    )


def test_many_at_one_gate_hide_nobody_at_another() -> None:
    assert lines(LISTED + 5, more=2)[-3:] == [
        f"holding bd-{LISTED + 5:05}: why",
        f"holding bd-{LISTED + 6:05}: why",
        "holding 5 more: max_in_flight (dolt_watch status names them)",
    ]


def test_attempted_in_this_tick_already_is_no_news() -> None:
    assert lines(3, gate="attempted") == []


@pytest.mark.parametrize(
    ("minutes", "told"),
    [
        ((4, 5), []),
        (
            (4, 6),
            ["warning: bd-00001 matched 6m in the future: a clock is wrong, so settle is ignored"],
        ),
        (
            (180, 6),
            [
                "warning: bd-00000 and 1 more matched 3h 0m in the future: a clock is wrong, so"
                " settle is ignored"
            ],
        ),
    ],
)
def test_a_clock_that_is_ahead_is_told_once(minutes: tuple[int, ...], told: list[str]) -> None:
    beads = [
        waits(n)._replace(matched_at=NOW + timedelta(minutes=ahead))
        for n, ahead in enumerate(minutes)
    ]
    state, policy = (
        State(beads={bead.id: bead for bead in beads}),
        Policy([Rule("agent")], timedelta(seconds=1)),
    )
    said: list[str] = []
    with hear(said.append):
        log_holds(state, Plan(), policy, NOW, Scope(dispatch=True))
    assert said == told
    said.clear()
    with hear(said.append):
        log_holds(state, Plan(), policy, NOW, Scope(reap=True))
    assert said == []


@pytest.mark.parametrize(
    ("name", "capacity", "said"),
    [
        (
            "beadboard",
            Capacity(0, "claude-agent-service is busy", speaks_for=SERVICE),
            ["claude-agent-service is busy — skipping tick"],
        ),
        ("local", Capacity(0), ["target local is busy — skipping tick"]),
        (
            "beadboard",
            Capacity(0, """claude-agent-service's health: HTTP 200: {"busy":"yes"}""", down=True),
            [],
        ),
    ],
)
def test_busy_is_not_what_is_down(name: str, capacity: Capacity, said: list[str]) -> None:
    heard: list[str] = []
    bead, policy = waits(1), Policy([Rule("agent", target=name)], timedelta(seconds=1))
    hold = HoldReason("capacity", capacity.why or "full")
    plan = Plan(holds={bead.id: hold}, rules={"agent": (hold,)})
    with hear(heard.append):
        log_holds(
            State(beads={bead.id: bead}), plan, policy, NOW, Scope(dispatch=True), {name: capacity}
        )
    assert heard[1:] == said


@pytest.mark.parametrize("kind", EntryKind)
def test_an_entry_counts_once(kind: EntryKind) -> None:
    """The exit code and the numbers of the report depend on these counts."""
    result = TickResult()
    result.add(Iteration(Next.AGAIN, kinds=[kind]))
    assert result.kinds == {kind: 1}
    counted = (result.dispatched, result.reaped, result.failed, result.unknown)
    assert counted == {
        EntryKind.DISPATCHED: (1, 0, 0, 0),
        EntryKind.REAP: (0, 1, 0, 0),
        EntryKind.REQUEUE: (0, 1, 0, 0),
        EntryKind.FAILED: (0, 0, 1, 0),
        EntryKind.QUARANTINED: (0, 0, 1, 0),
        EntryKind.STOPPED: (0, 0, 1, 0),
        EntryKind.RETRY: (0, 0, 1, 0),
        EntryKind.GIVE_UP: (0, 0, 1, 0),
        EntryKind.UNKNOWN: (0, 0, 0, 1),
        EntryKind.OVERDUE: (0, 0, 0, 1),
    }.get(kind, (0, 0, 0, 0))
    assert result.exit_code == int(bool(result.failed or result.unknown))


def test_a_tick_without_new_commits_has_no_lag(doltlite: Engine) -> None:
    """`run` keeps its loop. Time alone makes a decision due."""
    here, clock = Light(doltlite), ShiftedClock(timedelta(minutes=1))
    loop = build(here.engine, here.settings, lambda _: here.target, clock)
    loop.tick(BOTH)
    here.assign("bd-a")
    first = loop.tick(BOTH)
    clock.offset += timedelta(minutes=45)
    later = loop.tick(BOTH)
    assert (first.dispatched, first.lag[0]) == (1, 1)
    assert (later.reaped, later.lag) == (1, (0, 0.0))
