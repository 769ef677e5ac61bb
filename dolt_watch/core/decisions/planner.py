"""The plan: a function of the state, the time and the observations. Pure.

Planning has two steps, so that only observations that can make a difference are made.
``select_candidates`` returns the beads and targets to ask about. ``make_plan`` takes the
observations. A replay passes recorded observations to the same two functions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from dolt_watch.core.decisions import circuit_breaker, known_runs
from dolt_watch.core.decisions.dispatch_policy import free_slots as slots_of
from dolt_watch.core.decisions.dispatch_policy import (
    plan_claims,
    plan_expired,
    plan_note_repairs,
    plan_renames,
    plan_resends,
    plan_restores,
    time_hold,
)
from dolt_watch.core.decisions.policy import (
    ATTEMPTED,
    IMMEDIATELY,
    Candidates,
    NextDue,
    Observations,
    Plan,
    Policy,
    Scope,
)
from dolt_watch.core.decisions.reap_policy import plan_reaps, reap_candidates
from dolt_watch.core.decisions.recorded_inputs import record_inputs
from dolt_watch.core.model import Bead, EntryKind, HoldReason, Phase, State
from dolt_watch.core.rules.compiled_rule import queue_sort_key


def select_candidates(
    state: State, policy: Policy, now: datetime, scope: Scope, skip: Collection[str] = ()
) -> Candidates:
    """Return the beads for which a decision is possible now.

    ``skip``: beads that this command has already attempted. A command attempts a bead once.
    """
    queues: dict[str, tuple[Bead, ...]] = {}
    slots: dict[str, int] = {}
    held: dict[str, HoldReason] = {}
    stops: dict[str, HoldReason] = {}
    settles = False
    clock = NextDue()
    waiting: dict[str, list[Bead]] = {}
    for bead in state.beads.values():
        if bead.phase is Phase.WAITING or (bead.phase is Phase.BACKOFF and bead.matches):
            waiting.setdefault(bead.rule, []).append(bead)
        elif bead.phase in (Phase.QUARANTINED, Phase.HELD):
            held[bead.id] = HoldReason(bead.phase.value, bead.reason)
    if circuit_breaker.has_unrecorded_outage(state, policy):
        clock.at("dispatch", IMMEDIATELY)
    tries: dict[str, None] = {}
    for rule in policy.rules:
        queue = waiting.get(rule.name)
        if not queue:
            continue
        free, stop = slots_of(state, rule, policy, now, clock)
        if (
            stop is not None
            and stop.gate == circuit_breaker.OUTAGE
            and state.outages[rule.target].next_at <= now
        ):
            tries[rule.target] = None
            free, other = slots_of(state, rule, policy, now, clock, trying=True)
            stop = stop if other is not None else None
        # A bead's own reason is shown before the reason of its rule. While the rule is held, the
        # bead's own times don't wake the loop.
        own_clock = clock if stop is None else NextDue()
        if stop is not None:
            stops[rule.name] = stop
        else:
            direction = policy.descending.get(rule.name, ())
            queue = _in_order(queue, direction)
        slots[rule.name] = free
        going = []
        for bead in queue:
            hold = time_hold(bead, policy, now, own_clock)
            settles = settles or (stop is None and hold is not None and hold.gate == "settle")
            hold = hold or stop
            if hold is None and bead.id in skip:
                hold = HoldReason(ATTEMPTED, "already attempted by this command")
                clock.at(
                    "dispatch", IMMEDIATELY
                )  # Due for the next command. Nothing else may happen that would wake the loop.
            if hold is None:
                going.append(bead)
            else:
                held[bead.id] = hold
        if going:
            queues[rule.name] = tuple(going)
            clock.at("dispatch", IMMEDIATELY)
    stale, jobs, unknown = reap_candidates(state, policy, now, scope, clock)
    unsettled = known_runs.unsettled(state) if scope.dispatch else ()
    return Candidates(
        queues=queues if scope.dispatch else {},
        slots=slots,
        stale=stale if scope.reap else (),
        jobs=jobs if scope.reap else (),
        unsettled=unsettled,
        unknown=unknown if scope.dispatch else (),
        tries=tuple(tries) if scope.dispatch else (),
        held=held,
        due=clock.due,
        stops=stops,
        settles=settles,
    )


def _in_order(queue: Sequence[Bead], direction: Sequence[bool]) -> list[Bead]:
    return sorted(queue, key=lambda bead: queue_sort_key(bead.rank, direction, bead.id))


def make_plan(
    state: State,
    policy: Policy,
    now: datetime,
    scope: Scope,
    asked: Candidates,
    outside: Observations,
) -> Plan:
    """Return the plan.

    Renames and restores come first, because other decisions depend on them. Expired attempts
    follow, since they may free a slot, then the decisions of the reaper, then the claims in queue
    order.
    """
    holds = dict(asked.held)
    rules: dict[str, tuple[HoldReason, ...]] = {rule: (hold,) for rule, hold in asked.stops.items()}
    decisions = [*plan_renames(state), *plan_restores(state)]
    probes: Mapping[str, circuit_breaker.Probe] = {}
    if scope.dispatch:
        decisions += circuit_breaker.plan_outage_changes(state, policy, now, outside)
        decisions += known_runs.settled_by_target(policy, asked, outside)
        decisions += plan_expired(state, policy, now, asked, outside, holds)
        probes = circuit_breaker.select_probes(state, policy, now, asked, outside)
    if scope.reap:
        decisions += known_runs.rested(state, policy, now, asked, outside)
        decisions += plan_reaps(policy, now, asked, outside, holds)
    if scope.dispatch:
        decisions += plan_note_repairs(state)
        decisions += plan_resends(state, policy, asked, probes)
        taken: dict[str, int] = {}
        for rule in policy.rules:
            decisions += plan_claims(state, rule, now, asked, outside, taken, holds, rules, probes)
    given = record_inputs(state, now, scope, holds, outside, policy.poll)
    if any(one.kind is EntryKind.OUTAGE for one in decisions):
        given["jitter"] = outside.jitter
    # Read-only commands also observe the gates of beads that their rule holds. The result is such a
    # bead's own reason.
    shared = asked.stops.values()
    holds |= {bead: hold for bead, hold in outside.holds.items() if asked.held.get(bead) in shared}
    decided = tuple(one._replace(detail={**one.detail, "given": given}) for one in decisions)
    return Plan(decided, holds, rules)


def settle_wait(asked: Candidates, policy: Policy, now: datetime) -> float:
    """Return how many seconds a one-shot command waits, once, for a bead that only has to settle.

    Returns 0 if there is no such bead.
    """
    due = asked.due.get("dispatch")
    if due is None or not asked.settles:
        return 0.0
    settle = policy.settle.total_seconds()
    return min((due - now).total_seconds() + 0.001, settle) if due > now else settle
