"""The plan: a function of the state, the time and the observations. Pure.

Planning has two steps, so that only observations that can make a difference are made.
``select_candidates`` (in ``candidates``) returns the beads and targets to ask about. ``make_plan``
takes the observations. A replay passes recorded observations to the same two functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from dolt_watch.core.decisions import attempt_recovery, known_runs
from dolt_watch.core.decisions.circuit_breaker import (
    Probe,
    outage_hold,
    plan_outage_changes,
    select_probes,
)
from dolt_watch.core.decisions.policy import (
    ATTEMPTED,
    UNCOMMITTED,
    UNVERSIONED,
    Candidates,
    Observations,
    Plan,
    Policy,
    Scope,
    busy_answers,
)
from dolt_watch.core.decisions.reap_policy import plan_reaps
from dolt_watch.core.model import (
    EMPTY,
    IN_PROGRESS,
    Decision,
    EntryKind,
    HoldReason,
    Phase,
    Rule,
    State,
    entry_payloads,
)
from dolt_watch.timestamps import iso

if TYPE_CHECKING:
    from dolt_watch.core.model.recorded_inputs import RecordedInputs


def make_plan(
    state: State,
    policy: Policy,
    now: datetime,
    scope: Scope,
    candidates: Candidates,
    outside: Observations,
) -> Plan:
    """Return the plan.

    Renames and restores come first, because other decisions depend on them. Expired attempts
    follow, since they may free a slot, then the decisions of the reaper, then the claims in queue
    order.
    """
    decisions: list[Decision] = []
    holds = dict(candidates.held)
    rules: dict[str, tuple[HoldReason, ...]] = {
        rule: (hold,) for rule, hold in candidates.stops.items()
    }
    probes: Mapping[str, Probe] = EMPTY
    # Most ticks need none of these planners: they are called if there is something for them.
    # In the order of ids: a replay has the same beads in another order, and decides the same.
    claimed = sorted(
        (bead for bead in state.beads.values() if bead.phase is Phase.CLAIMED), key=attrgetter("id")
    )
    damaged = sorted(
        (
            bead
            for bead in state.beads.values()
            if bead.was or bead.reverted or bead.lost_note or bead.unwritten
        ),
        key=attrgetter("id"),
    )
    if damaged:
        decisions += attempt_recovery.plan_renames(damaged)
        decisions += attempt_recovery.plan_restores(damaged)
    if scope.dispatch:
        # An outage is decided before the attempts that it left unknown: it says how they end.
        if state.outages or any(one.down for one in outside.capacity.values()):
            decisions += plan_outage_changes(state, policy, now, outside)
            probes = select_probes(state, policy, now, candidates, outside)
        if candidates.unsettled:
            decisions += known_runs.settled_by_target(policy, candidates, outside)
        if claimed or candidates.unknown:
            expired = attempt_recovery.plan_expired(
                claimed, state, policy, now, candidates, outside
            )
            decisions += expired.decisions
            holds |= expired.holds
    if scope.reap and (candidates.stale or candidates.jobs):
        decisions += known_runs.rested(state, policy, now, candidates, outside)
        reaps = plan_reaps(policy, now, candidates, outside)
        decisions += reaps.decisions
        holds |= reaps.holds
    if scope.dispatch:
        if damaged:
            decisions += attempt_recovery.plan_note_repairs(damaged)
        if probes:
            decisions += attempt_recovery.plan_resends(policy, candidates, probes)
        # Rules that share a target share its capacity: the first in the file goes first.
        used: dict[str, int] = {}
        for rule in policy.rules:
            taken = used.get(rule.target, 0)
            claims = plan_claims(state, rule, now, candidates, outside, taken, probes)
            used[rule.target] = taken + len(claims.decisions)
            decisions += claims.decisions
            holds |= claims.holds
            if claims.shared:
                rules[rule.name] = (*rules.get(rule.name, ()), *claims.shared)
    inputs: Mapping[str, Any] = EMPTY
    if decisions:
        given = record_inputs(state, now, scope, holds, outside, policy.poll)
        if any(one.kind is EntryKind.OUTAGE for one in decisions):
            given = given._replace(jitter=outside.jitter)
        inputs = given.encode()
    # Read-only commands also observe the gates of beads that their rule holds. The result is such a
    # bead's own reason.
    shared = candidates.stops.values()
    holds |= {
        bead: hold for bead, hold in outside.holds.items() if candidates.held.get(bead) in shared
    }
    decided = tuple(one._replace(detail={**one.detail, **inputs}) for one in decisions)
    return Plan(decided, holds, rules)


class ClaimPlan(NamedTuple):
    """The claims of one rule, and the holds of the rest of its queue."""

    decisions: tuple[Decision, ...] = ()
    holds: Mapping[str, HoldReason] = EMPTY
    """Bead → its hold."""
    shared: tuple[HoldReason, ...] = ()
    """Those of these reasons that hold the rule and not one bead."""


def plan_claims(
    state: State,
    rule: Rule,
    now: datetime,
    candidates: Candidates,
    outside: Observations,
    used: int,
    probes: Mapping[str, Probe],
) -> ClaimPlan:
    """Return the claims of one rule.

    ``used``: claims planned for the rule's target so far, by rules before this one.
    """
    outage = state.outages.get(rule.target)
    only = probes.get(rule.target, Probe()).bead
    # If a dispatch is likely to fail, the note is written with an answer after which an agent runs,
    # or never. Notes must not grow with each try.
    deferred = outage is not None or busy_answers(state, rule.target, now) > 0
    note = f"auto-dispatcher claimed at {iso(now)}"
    capacity = outside.capacity.get(rule.target)
    slots = None if capacity is None else capacity.slots
    free = candidates.slots.get(rule.name, 0)
    decisions: list[Decision] = []
    holds: dict[str, HoldReason] = {}
    shared: dict[HoldReason, None] = {}
    # The holds of the rule are built once, because its queue may be long.
    down = outage_hold(rule.target, outage) if outage is not None else None
    full = HoldReason("max_in_flight", f"{free} slots are free")
    why = (capacity and capacity.why) or f"target {rule.target} accepts {slots} more"
    busy = HoldReason("capacity", why)
    for bead in candidates.queues.get(rule.name, ()):
        place = len(decisions)
        # A bead's own hold comes before the hold of its rule.
        if (own := outside.holds.get(bead.id)) is not None:
            holds[bead.id] = own
            continue
        whole: HoldReason | None = None
        if down is not None and bead.id != only:
            whole = down
        elif place >= free:
            whole = full
        elif slots is not None and used + place >= slots:
            whole = busy
        if whole is not None:
            holds[bead.id] = whole
            shared[whole] = None
            continue
        payload = entry_payloads.Claimed(
            rank=tuple(bead.rank),
            place=place,
            free=free,
            slots_used=used + place,
            deferred_note=note if deferred else "",
        )
        claim = Decision(
            kind=EntryKind.CLAIM,
            bead=bead.id,
            rule=rule.name,
            attempt=bead.attempt + 1,
            cause=bead.cause,
            note="" if deferred else note,
            status=IN_PROGRESS,
            detail=payload.encode(),
        )
        decisions.append(claim)
    return ClaimPlan(tuple(decisions), holds, tuple(shared))


def settle_wait(candidates: Candidates, policy: Policy, now: datetime) -> float:
    """Return how many seconds a one-shot command waits, once, for a bead that only has to settle.

    Returns 0 if there is no such bead.
    """
    due = candidates.due.get("dispatch")
    if due is None or not candidates.settles:
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
    # Late: most ticks decide nothing.
    from dolt_watch.core.model.recorded_inputs import RecordedInputs

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
