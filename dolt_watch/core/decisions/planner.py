"""The plan: a function of the state, the time and the observations. Pure.

Planning has two steps, so that only observations that can make a difference are made.
``select_candidates`` returns the beads and targets to ask about. ``make_plan`` takes the
observations. A replay passes recorded observations to the same two functions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from dolt_watch.core.decisions import circuit_breaker, known_runs
from dolt_watch.core.decisions.dispatch_policy import (
    Slots,
    free_slots,
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
    UNCOMMITTED,
    UNVERSIONED,
    Candidates,
    Observations,
    Plan,
    Policy,
    Scope,
    earliest,
)
from dolt_watch.core.decisions.reap_policy import plan_reaps, reap_candidates
from dolt_watch.core.model import EMPTY, Bead, Decision, EntryKind, HoldReason, Phase, Rule, State
from dolt_watch.core.model.recorded_inputs import RecordedInputs
from dolt_watch.core.rules.compiled_rule import CompiledRule, queue_sort_key


def with_queue_order(policy: Policy, rules: Sequence[CompiledRule]) -> Policy:
    """Return the policy with the direction of each ``order_by`` key of its rules."""
    return policy._replace(descending={rule.rule: rule.descending for rule in rules})


def select_candidates(
    state: State, policy: Policy, now: datetime, scope: Scope, skip: Collection[str] = ()
) -> Candidates:
    """Return the beads for which a decision is possible now.

    ``skip``: beads that this command has already attempted. A command attempts a bead once.
    """
    # One pass over all beads: a long queue is sorted by rule once, not once a rule.
    waiting: dict[str, list[Bead]] = {}
    held: dict[str, HoldReason] = {}
    for bead in state.beads.values():
        if bead.phase is Phase.WAITING or (bead.phase is Phase.BACKOFF and bead.matches):
            waiting.setdefault(bead.rule, []).append(bead)
        elif bead.phase in (Phase.QUARANTINED, Phase.HELD):
            held[bead.id] = HoldReason(bead.phase.value, bead.reason)
    # The queue of each rule. A rule without waiting beads is not asked, so a pause or an outage
    # that holds no bead makes nothing due.
    found = {
        rule.name: _of_rule(state, rule, waiting[rule.name], policy, now, skip)
        for rule in policy.rules
        if rule.name in waiting
    }
    for of_rule in found.values():
        held |= of_rule.held
    # Attempts under way come after the queues: they are the reaper's, or free a slot next time.
    attempts = reap_candidates(state, policy, now, scope)
    unrecorded = IMMEDIATELY if circuit_breaker.has_unrecorded_outage(state, policy) else None
    dispatch_due = earliest(
        unrecorded, attempts.dispatch_due, *(of_rule.due for of_rule in found.values())
    )
    # A command observes only for the kinds of decision that it takes, but the next due time is
    # returned for both kinds.
    queues = {name: of_rule.queue for name, of_rule in found.items() if of_rule.queue}
    tries = dict.fromkeys(of_rule.tries for of_rule in found.values() if of_rule.tries)
    return Candidates(
        queues=queues if scope.dispatch else {},
        slots={name: of_rule.slots for name, of_rule in found.items()},
        stale=attempts.stale if scope.reap else (),
        jobs=attempts.jobs if scope.reap else (),
        unsettled=known_runs.unsettled(state) if scope.dispatch else (),
        unknown=attempts.unknown if scope.dispatch else (),
        tries=tuple(tries) if scope.dispatch else (),
        held=held,
        due={"dispatch": dispatch_due, "reap": attempts.reap_due},
        stops={name: of_rule.stop for name, of_rule in found.items() if of_rule.stop is not None},
        settles=any(of_rule.settles for of_rule in found.values()),
    )


class _RuleCandidates(NamedTuple):
    """The queue of one rule, and its held beads."""

    queue: tuple[Bead, ...]
    held: Mapping[str, HoldReason]
    slots: int
    stop: HoldReason | None
    tries: str
    """The target with an outage that is to be tried now, '' for none."""
    settles: bool
    due: datetime | None


def _of_rule(
    state: State,
    rule: Rule,
    waiting: Sequence[Bead],
    policy: Policy,
    now: datetime,
    skip: Collection[str],
) -> _RuleCandidates:
    slots, tries = _slots(state, rule, policy, now)
    # The order of a queue that as a whole is held does not matter, and costs.
    ordered = waiting
    if slots.stop is None:
        direction = policy.descending.get(rule.name, ())
        ordered = sorted(waiting, key=lambda bead: queue_sort_key(bead.rank, direction, bead.id))
    due, settles, queue = [slots.due], False, []
    held: dict[str, HoldReason] = {}
    for bead in ordered:
        # A bead's own reason is shown before the reason of its rule. While the rule is held, the
        # bead's own times don't wake the loop.
        own = time_hold(bead, policy, now)
        if own is not None and slots.stop is None:
            due.append(own.due)
            settles = settles or own.gate == "settle"
        hold = own.hold if own is not None else slots.stop
        if hold is None and bead.id in skip:
            hold = HoldReason(ATTEMPTED, "already attempted by this command")
            # Due for the next command. Nothing else may happen that would wake the loop.
            due.append(IMMEDIATELY)
        if hold is None:
            queue.append(bead)
        else:
            held[bead.id] = hold
    if queue:
        due.append(IMMEDIATELY)
    return _RuleCandidates(
        queue=tuple(queue),
        held=held,
        slots=slots.free,
        stop=slots.stop,
        tries=tries,
        settles=settles,
        due=earliest(*due),
    )


def _slots(state: State, rule: Rule, policy: Policy, now: datetime) -> tuple[Slots, str]:
    """Return the free slots of a rule, and its target if that has an outage and is to be tried."""
    slots = free_slots(state, rule, policy, now)
    if (
        slots.stop is None
        or slots.stop.gate != circuit_breaker.OUTAGE
        or state.outages[rule.target].next_at > now
    ):
        return slots, ""
    # The outage holds no longer, unless another gate behind it holds the rule as well.
    behind = free_slots(state, rule, policy, now, ignore_outage=True)
    stop = slots.stop if behind.stop is not None else None
    return Slots(behind.free, stop, earliest(slots.due, behind.due)), rule.target


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
    decisions: list[Decision] = [*plan_renames(state), *plan_restores(state)]
    holds = dict(asked.held)
    rules: dict[str, tuple[HoldReason, ...]] = {rule: (hold,) for rule, hold in asked.stops.items()}
    probes: Mapping[str, circuit_breaker.Probe] = EMPTY
    if scope.dispatch:
        # An outage is decided before the attempts that it left unknown: it says how they end.
        decisions += circuit_breaker.plan_outage_changes(state, policy, now, outside)
        decisions += known_runs.settled_by_target(policy, asked, outside)
        expired = plan_expired(state, policy, now, asked, outside)
        decisions += expired.decisions
        holds |= expired.holds
        probes = circuit_breaker.select_probes(state, policy, now, asked, outside)
    if scope.reap:
        decisions += known_runs.rested(state, policy, now, asked, outside)
        reaps = plan_reaps(policy, now, asked, outside)
        decisions += reaps.decisions
        holds |= reaps.holds
    if scope.dispatch:
        decisions += plan_note_repairs(state)
        decisions += plan_resends(state, policy, asked, probes)
        # Rules that share a target share its capacity: the first in the file goes first.
        used: dict[str, int] = {}
        for rule in policy.rules:
            taken = used.get(rule.target, 0)
            claims = plan_claims(state, rule, now, asked, outside, taken, probes)
            used[rule.target] = taken + len(claims.decisions)
            decisions += claims.decisions
            holds |= claims.holds
            if claims.shared:
                rules[rule.name] = (*rules.get(rule.name, ()), *claims.shared)
    given = record_inputs(state, now, scope, holds, outside, policy.poll)
    if any(one.kind is EntryKind.OUTAGE for one in decisions):
        given = given._replace(jitter=outside.jitter)
    # Read-only commands also observe the gates of beads that their rule holds. The result is such a
    # bead's own reason.
    shared = asked.stops.values()
    holds |= {bead: hold for bead, hold in outside.holds.items() if asked.held.get(bead) in shared}
    inputs = given.encode()
    decided = tuple(one._replace(detail={**one.detail, **inputs}) for one in decisions)
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


READINESS = 2
"""Version of the readiness rule (`dolt_watch.beads.readiness`).

Version 1 is kept for `replay --verify`.
"""

UNRECORDED = (ATTEMPTED, UNCOMMITTED, UNVERSIONED)
"""Gates whose beads are recorded, because history doesn't contain what the gates saw."""


def record_inputs(
    state: State,
    now: datetime,
    scope: Scope,
    holds: Mapping[str, HoldReason],
    outside: Observations,
    poll: timedelta | None = None,
) -> RecordedInputs:
    """Return the inputs of these decisions that history doesn't contain."""
    return RecordedInputs(
        now=now,
        scope=scope.kinds,
        made=state.made,
        acts=True,
        readiness=READINESS if scope.dispatch else None,
        poll=poll,
        passed={bead: hold.gate for bead, hold in holds.items() if hold.gate in UNRECORDED},
        capacity=outside.capacity,
        verdicts=outside.verdicts,
        leases=outside.leases,
        outages={name: (one.tries, one.next_at) for name, one in state.outages.items()},
    )
