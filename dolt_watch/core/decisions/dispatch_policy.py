"""Decisions of the dispatcher: claims, and the end of attempts that no worker will settle. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from dolt_watch.core.decisions import circuit_breaker
from dolt_watch.core.decisions.policy import (
    HOUR,
    IMMEDIATELY,
    Candidates,
    Observations,
    Planned,
    Policy,
    active_pause,
    active_pauses,
    earliest,
    retry_pause,
)
from dolt_watch.core.decisions.reap_policy import held_by_lease
from dolt_watch.core.model import (
    BLOCKED,
    EMPTY,
    IN_FLIGHT,
    IN_PROGRESS,
    OPEN,
    Bead,
    Decision,
    EntryKind,
    GateResult,
    HoldReason,
    Pause,
    Phase,
    Rule,
    State,
    entry_payloads,
)
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.timestamps import format_span, iso, whole_minutes


def rule_gates(state: State, rule: Rule, policy: Policy, now: datetime) -> Iterator[GateResult]:
    """Yield the gates that apply to all beads of a rule, in a fixed order.

    ``free_slots`` stops at the first gate that holds.
    """
    # A user's pause comes first.
    pause = active_pause(state, rule.name, now)
    yield GateResult(
        "paused",
        pause is None,
        f"paused by {pause.by}: {pause.reason}" if pause else "not paused",
        pause.until if pause else None,
    )
    stopped = state.halted_rules.get(rule.name) == policy.settings_hash and bool(
        policy.settings_hash
    )
    told = (
        "its target rejected the credential or is gone (see the log); fix it, then"
        " run `dolt_watch resume`"
    )
    # Due at once: nothing can be dispatched, but every tick reports the rule until a user fixes it.
    yield GateResult(
        "stopped",
        not stopped,
        told if stopped else "not stopped",
        IMMEDIATELY if stopped else None,
    )
    # The target's state comes next.
    outage = state.outages.get(rule.target)
    if outage is not None:
        why = circuit_breaker.outage_hold(rule.target, outage).why
        yield GateResult(circuit_breaker.OUTAGE, False, why, outage.next_at)
    else:
        yield GateResult(circuit_breaker.OUTAGE, True, "no outage of the target")
    resting = state.cooldowns.get(rule.target)
    if resting is not None and resting > now:
        why = f"target {rule.target} is cooling down until {iso(resting)}"
        yield GateResult("resting", False, why, resting)
    else:
        yield GateResult("resting", True, "the target is not cooling down")
    # The rule's own ceilings come last: other beads of the rule fill them.
    flying = in_flight(state, rule)
    names = ": " + ", ".join(f"{bead.id} ({bead.phase})" for bead in flying[:3]) if flying else ""
    # More than the limit run after a user lowered it.
    used, limit = len(flying), rule.max_in_flight
    use = f"{used} in flight, limit {limit}" if used > limit else f"{used} of {limit} in flight"
    yield GateResult(
        "max_in_flight",
        used < limit,
        f"{use}{names}",
    )
    if rule.max_per_hour:
        recent = last_hour(state, rule, now)
        full = len(recent) >= rule.max_per_hour
        yield GateResult(
            "max_per_hour",
            not full,
            f"{len(recent)} claims in the last hour, max_per_hour is {rule.max_per_hour}",
            min(recent) + HOUR if full else None,
        )


def orphaned_pauses(state: State, policy: Policy, now: datetime) -> list[Pause]:
    """Return the active pauses of rules that don't exist. They have no effect."""
    return [
        pause
        for pause in active_pauses(state, now)
        if pause.rule and policy.rule(pause.rule) is None
    ]


class Slots(NamedTuple):
    """The number of beads of a rule that may be dispatched now."""

    free: int
    stop: HoldReason | None = None
    """The hold of all beads of the rule. None if there is no such hold."""
    due: datetime | None = None
    """When time alone changes this. None: it doesn't."""


def free_slots(
    state: State, rule: Rule, policy: Policy, now: datetime, *, ignore_outage: bool = False
) -> Slots:
    """Return how many more beads of a rule may be dispatched, and the hold that stops all of them.

    ``ignore_outage``: a bead is to try the target.
    """
    due: datetime | None = None
    for check in rule_gates(state, rule, policy, now):
        due = earliest(due, check.due)
        if not check.ok and not (ignore_outage and check.gate == circuit_breaker.OUTAGE):
            return Slots(0, check.hold, due)
    free = rule.max_in_flight - len(in_flight(state, rule))
    if rule.max_per_hour:
        free = min(free, rule.max_per_hour - len(last_hour(state, rule, now)))
    return Slots(free, due=due)


def in_flight(state: State, rule: Rule) -> list[Bead]:
    """Return the beads that occupy slots of the rule."""
    return [
        bead
        for bead in state.beads.values()
        if bead.rule == rule.name and bead.token and bead.phase in IN_FLIGHT
    ]


def last_hour(state: State, rule: Rule, now: datetime) -> list[datetime]:
    return [at for at in state.claims.get(rule.name, ()) if now - at < HOUR]


def time_gates(bead: Bead, policy: Policy, now: datetime) -> Iterator[GateResult]:
    """Yield the gates of one waiting bead that only depend on time."""
    if bead.phase is Phase.BACKOFF and bead.retry_at is not None:
        waits = bead.retry_at > now
        yield GateResult(
            "backoff",
            not waits,
            f"attempt {bead.attempt} failed ({bead.reason}); next attempt at {iso(bead.retry_at)}",
            bead.retry_at if waits else None,
        )
    since = _changed(bead)
    settled, settle_by = since + policy.settle, now + policy.settle
    # The change came from a clone whose clock is ahead. The bead would wait until that date.
    if since > settle_by:
        yield GateResult(
            "settle", True, f"changed at {iso(since)}, which is in the future: a clock is wrong"
        )
        return
    if settled > now:
        why = f"changed at {iso(since)}; settles at {iso(settled)}"
        yield GateResult("settle", False, why, settled)
    else:
        yield GateResult("settle", True, f"changed {format_span(now - since)} ago")


def _changed(bead: Bead) -> datetime:
    return bead.matched_at or bead.since


def time_hold(bead: Bead, policy: Policy, now: datetime) -> GateResult | None:
    """Return the first gate that holds a waiting bead until a later time; None if none does."""
    since = _changed(bead)
    if bead.phase is not Phase.BACKOFF and (
        since + policy.settle <= now or since > now + policy.settle
    ):
        return None  # Most beads of a long queue end here, so no text is built for them.
    return next((check for check in time_gates(bead, policy, now) if not check.ok), None)


def plan_resends(
    state: State, policy: Policy, asked: Candidates, probes: Mapping[str, circuit_breaker.Probe]
) -> Iterator[Decision]:
    """Yield a new claim for each bead of unknown outcome that tries its target."""
    chosen = {probe.bead for probe in probes.values() if probe.resend}
    for bead in asked.unknown:
        rule = policy.rule(bead.rule)
        if rule is not None and bead.id in chosen:
            yield circuit_breaker.plan_resend(bead, rule)


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
    asked: Candidates,
    outside: Observations,
    used: int,
    probes: Mapping[str, circuit_breaker.Probe],
) -> ClaimPlan:
    """Return the claims of one rule.

    ``used``: claims planned for the rule's target so far, by rules before this one.
    """
    outage = state.outages.get(rule.target)
    only = probes.get(rule.target, circuit_breaker.Probe()).bead
    # The note is written with an answer after which an agent runs, or never. Notes must not grow
    # with each try.
    deferred = circuit_breaker.is_unhealthy(state, rule.target, now)
    capacity = outside.capacity.get(rule.target)
    slots = None if capacity is None else capacity.slots
    free = asked.slots.get(rule.name, 0)
    decisions: list[Decision] = []
    holds: dict[str, HoldReason] = {}
    shared: dict[HoldReason, None] = {}
    for bead in asked.queues.get(rule.name, ()):
        place = len(decisions)
        # A bead's own hold comes before the hold of its rule.
        if (own := outside.holds.get(bead.id)) is not None:
            holds[bead.id] = own
            continue
        whole: HoldReason | None = None
        if outage is not None and bead.id != only:
            whole = circuit_breaker.outage_hold(rule.target, outage)
        elif place >= free:
            whole = HoldReason("max_in_flight", f"{free} slots are free")
        elif slots is not None and used + place >= slots:
            why = (capacity and capacity.why) or f"target {rule.target} accepts {slots} more"
            whole = HoldReason("capacity", why)
        if whole is not None:
            holds[bead.id] = whole
            shared[whole] = None
            continue
        decisions.append(_claim(bead, rule, now, place, free, used + place, deferred))
    return ClaimPlan(tuple(decisions), holds, tuple(shared))


def _claim(
    bead: Bead, rule: Rule, now: datetime, place: int, free: int, used: int, deferred: bool
) -> Decision:
    """``deferred``: the note is written only after an answer after which an agent runs."""
    note = f"auto-dispatcher claimed at {iso(now)}"
    held_note = note if deferred else ""
    payload = entry_payloads.Claimed(
        rank=tuple(bead.rank), place=place, free=free, slots_used=used, deferred_note=held_note
    )
    return Decision(
        kind=EntryKind.CLAIM,
        bead=bead.id,
        rule=rule.name,
        attempt=bead.attempt + 1,
        cause=bead.cause,
        note="" if deferred else note,
        status=IN_PROGRESS,
        detail=payload.encode(),
    )


WITHHELD = "an outcome could not be written to the bead while bd's migration was uncommitted"


def plan_note_repairs(state: State) -> Iterator[Decision]:
    for bead in state.beads.values():
        if (bead.lost_note or bead.unwritten) and bead.phase is not Phase.CLAIMED:
            status = bead.unwritten if bead.unwritten in (OPEN, BLOCKED) else ""
            yield Decision(
                kind=EntryKind.NOTE,
                bead=bead.id,
                rule=bead.rule,
                attempt=bead.attempt,
                cause=bead.cause,
                note=bead.lost_note,
                status=status,
                reason=WITHHELD if bead.unwritten else "a note of dolt_watch was overwritten",
                reason_code=(
                    ReasonCode.NOTE_WITHHELD if bead.unwritten else ReasonCode.NOTE_OVERWRITTEN
                ),
            )


LOST = "history lost this attempt; it is written again from the saved state"
REVERTED = "an old row was imported over the row of a running attempt; the attempt is written again"


def plan_restores(state: State) -> Iterator[Decision]:
    """Yield the attempts whose row went back to an older state.

    Without this entry the bead would be open, so any agent could take it, and no reaper could end
    the attempt.
    """
    for bead in state.beads.values():
        if bead.reverted and bead.phase is not Phase.CLAIMED:
            yield restore(bead, REVERTED, ReasonCode.ROW_REVERTED)


def plan_renames(state: State) -> Iterator[Decision]:
    """Yield the beads with a new id whose stream does not contain their earlier attempts yet."""
    for bead in state.beads.values():
        if bead.was and not bead.version and (bead.attempt or bead.phase is not Phase.WAITING):
            code = bead.reason_code.value if bead.reason_code is not None else None
            moments = {
                "since": bead.since,
                "sent_at": bead.sent_at,
                "deadline": bead.deadline,
                "retry_at": bead.retry_at,
            }
            detail = entry_payloads.Attempt(
                **moments,
                phase=bead.phase.value,
                why=bead.reason,
                why_code=code,
                renamed_from=bead.was,
            )
            yield Decision.of_attempt(EntryKind.RENAMED, bead)._replace(
                job=bead.job,
                reason=f"renamed from {bead.was}; its attempts continue under the new id",
                reason_code=ReasonCode.RENAMED,
                detail=detail.encode(),
            )


def restore(bead: Bead, why: str, code: ReasonCode) -> Decision:
    """Return the decision that writes a live attempt again from the state."""
    known = entry_payloads.Attempt(bead.phase.value, bead.since, bead.sent_at, bead.deadline)
    job = f"job={bead.job}" if bead.job else f"attempt {bead.attempt}"
    return Decision.of_attempt(EntryKind.RESTORE, bead)._replace(
        job=bead.job,
        status=IN_PROGRESS,
        reason=why,
        reason_code=code,
        note=f"dispatch restored: {job}",
        detail=known.encode(),
    )


def plan_expired(
    state: State, policy: Policy, now: datetime, asked: Candidates, outside: Observations
) -> Planned:
    """Return the end of attempts that no worker will settle any more, and the beads that a lease
    holds.
    """
    decisions = [
        _overdue(bead, bead.deadline)
        for bead in state.beads.values()
        if bead.phase is Phase.CLAIMED and bead.deadline is not None and bead.deadline <= now
    ]
    holds: dict[str, HoldReason] = {}
    for bead in asked.unknown:
        rule = policy.rule(bead.rule)
        if rule is None:
            continue
        # If a run exists, or may exist, nothing is decided.
        if rule.on_unknown == "retry" and bead.id in outside.verdicts:
            continue  # The target can report whether the attempt runs, so silence is no evidence.
        if (hold := held_by_lease(bead, rule, outside, now)) is not None:
            holds[bead.id] = hold
            continue
        capacity, outage = outside.capacity.get(rule.target), state.outages.get(rule.target)
        ended = entry_payloads.Ended(since=bead.since)
        # Silence during an outage says nothing about the attempt.
        if outage is not None:
            if rule.on_unknown == "retry" or not circuit_breaker.is_doubtful(outage, capacity, now):
                continue  # The bead is sent again to try the target, or settled after the outage.
        elif capacity is not None and capacity.down:
            continue  # An outage begins.
        # Only a service that says that it runs nothing proves an end. Otherwise the rule decides
        # by silence.
        if outage is None and capacity is not None and capacity.idle:
            idle = ReasonCode.SERVICE_IDLE
            decisions.append(_retry(bead, rule, now, "the service runs nothing", idle, ended))
        elif rule.on_unknown == "retry":
            silent = f"no sign of life in {whole_minutes(now - bead.since)}m"
            code = ReasonCode.NO_SIGN_OF_LIFE
            decisions.append(_retry(bead, rule, now, silent, code, ended))
        else:
            decisions.append(_give_up(bead, now, ended))
    return Planned(tuple(decisions), holds)


def _overdue(bead: Bead, deadline: datetime) -> Decision:
    why = "its worker recorded no outcome before the deadline"
    return Decision.of_attempt(EntryKind.OVERDUE, bead)._replace(
        reason=why,
        reason_code=ReasonCode.DEADLINE_PASSED,
        note=f"dispatch outcome unknown ({why}): not sent again until it is known",
        detail=entry_payloads.Ended(deadline=deadline).encode(),
    )


def _give_up(bead: Bead, now: datetime, ended: entry_payloads.Ended) -> Decision:
    waited = whole_minutes(now - bead.since)
    return Decision.of_attempt(EntryKind.GIVE_UP, bead)._replace(
        status=BLOCKED,
        reason=f"still unknown after {waited}m",
        reason_code=ReasonCode.STILL_UNKNOWN,
        detail=ended.encode(),
        note=(
            f"dispatch outcome still unknown after {waited}m — blocking; set it open to try again"
        ),
    )


def _retry(
    bead: Bead,
    rule: Rule,
    now: datetime,
    why: str,
    code: ReasonCode,
    ended: entry_payloads.Ended,
) -> Decision:
    """Return the retry of an attempt that does not run.

    If an outage of the target made the outcome unknown, the attempt doesn't count.
    """
    if not bead.outage:
        return plan_failure(bead, rule, now, why, EntryKind.RETRY, ended, code=code)
    return Decision.of_attempt(EntryKind.RETRY, bead)._replace(
        rule=rule.name,
        status=OPEN,
        reason=why,
        reason_code=code,
        detail=ended._replace(uncounted=True, uncounted_claim=bead.sent_at).encode(),
    )


def plan_failure(
    bead: Bead,
    rule: Rule,
    now: datetime,
    why: str,
    kind: EntryKind,
    ended: entry_payloads.Ended,
    for_good: bool = False,
    jitter: float = 0.0,
    *,
    code: ReasonCode,
) -> Decision:
    """Return the entry of a failed attempt: a later retry, or quarantine after the last attempt.

    Args:
        bead: The bead with its attempt.
        rule: The rule.
        now: The time of the decision.
        why: The reason, for users.
        kind: The kind of entry, if the bead may be tried again.
        ended: Further payload of the entry.
        for_good: An unchanged attempt can't succeed.
        jitter: From 0 to 1. Adds up to a quarter of the pause.
        code: The code of the reason.
    """
    # Another attempt without a change can't succeed, so a user must edit the bead.
    attempt = bead.attempt
    if for_good or attempt >= rule.max_attempts:
        return Decision.of_attempt(EntryKind.QUARANTINED, bead)._replace(
            rule=rule.name,
            status=OPEN,
            reason=why,
            reason_code=code,
            note=(
                f"dispatch quarantined after {attempt} attempts: {why}; edit the bead to try again"
            ),
            detail=ended.encode(),
        )
    pause = retry_pause(rule, attempt, jitter)
    return Decision.of_attempt(kind, bead)._replace(
        rule=rule.name,
        status=OPEN,
        reason=why,
        reason_code=code,
        note=f"dispatch failed {why}",
        detail=ended._replace(retry_at=now + pause).encode(),
    )
