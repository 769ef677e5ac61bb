"""Decisions of the dispatcher: claims, and the end of attempts that no worker will settle. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from dolt_watch.core.decisions import circuit_breaker
from dolt_watch.core.decisions.policy import (
    HOUR,
    IMMEDIATELY,
    Candidates,
    NextDue,
    Observations,
    Policy,
    active_pause,
    active_pauses,
    retry_pause,
    uncounted_claim,
)
from dolt_watch.core.decisions.reap_policy import held_by_lease
from dolt_watch.core.model import (
    BLOCKED,
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
from dolt_watch.timestamps import iso, whole_minutes


def rule_gates(
    state: State, rule: Rule, policy: Policy, now: datetime, clock: NextDue
) -> Iterator[GateResult]:
    """Yield the gates that apply to all beads of a rule, in a fixed order.

    ``free_slots`` stops at the first gate that holds.
    """
    pause = active_pause(state, rule.name, now)
    if pause is not None:
        clock.at("dispatch", pause.until)
    yield GateResult(
        "paused", pause is None, f"paused by {pause.by}: {pause.reason}" if pause else "not paused"
    )
    stopped = state.halted_rules.get(rule.name) == policy.settings_hash and bool(
        policy.settings_hash
    )
    if stopped:
        # Nothing can be dispatched, but every tick reports the rule until a user fixes it.
        clock.at("dispatch", IMMEDIATELY)
    told = (
        "its target rejected the credential or is gone (see the log); fix it, then"
        " run `dolt_watch resume`"
    )
    yield GateResult("stopped", not stopped, told if stopped else "not stopped")
    outage = state.outages.get(rule.target)
    if outage is not None:
        clock.at("dispatch", outage.next_at)
        yield GateResult(
            circuit_breaker.OUTAGE, False, circuit_breaker.outage_hold(rule.target, outage, now).why
        )
    else:
        yield GateResult(circuit_breaker.OUTAGE, True, "no outage of the target")
    resting = state.cooldowns.get(rule.target)
    if resting is not None and resting > now:
        clock.at("dispatch", resting)
        yield GateResult(
            "resting", False, f"target {rule.target} is cooling down until {iso(resting)}"
        )
    else:
        yield GateResult("resting", True, "the target is not cooling down")
    flying = in_flight(state, rule)
    names = ": " + ", ".join(f"{bead.id} ({bead.phase})" for bead in flying[:3]) if flying else ""
    yield GateResult(
        "max_in_flight",
        len(flying) < rule.max_in_flight,
        f"{len(flying)} of {rule.max_in_flight} in flight{names}",
    )
    if rule.max_per_hour:
        recent = last_hour(state, rule, now)
        full = len(recent) >= rule.max_per_hour
        if full:
            clock.at("dispatch", min(recent) + HOUR)
        yield GateResult(
            "max_per_hour",
            not full,
            f"{len(recent)} claims in the last hour, max_per_hour is {rule.max_per_hour}",
        )


def orphaned_pauses(state: State, policy: Policy, now: datetime) -> list[Pause]:
    """Return the active pauses of rules that don't exist. They have no effect."""
    return [
        pause
        for pause in active_pauses(state, now)
        if pause.rule and policy.rule(pause.rule) is None
    ]


def free_slots(
    state: State, rule: Rule, policy: Policy, now: datetime, clock: NextDue, trying: bool = False
) -> tuple[int, HoldReason | None]:
    """Return how many more beads of a rule may be dispatched, and the hold that stops all of them.

    ``trying``: ignore an outage.
    """
    for check in rule_gates(state, rule, policy, now, clock):
        if not check.ok and not (trying and check.gate == circuit_breaker.OUTAGE):
            return 0, check.hold
    free = rule.max_in_flight - len(in_flight(state, rule))
    return (
        min(free, rule.max_per_hour - len(last_hour(state, rule, now)))
        if rule.max_per_hour
        else free
    ), None


def in_flight(state: State, rule: Rule) -> list[Bead]:
    """Return the beads that occupy slots of the rule."""
    return [
        bead
        for bead in state.beads.values()
        if bead.rule == rule.name and bead.token and bead.phase in IN_FLIGHT
    ]


def last_hour(state: State, rule: Rule, now: datetime) -> list[datetime]:
    return [at for at in state.claims.get(rule.name, ()) if now - at < HOUR]


def time_gates(bead: Bead, policy: Policy, now: datetime, clock: NextDue) -> Iterator[GateResult]:
    """Yield the gates of one waiting bead that only depend on time."""
    if bead.phase is Phase.BACKOFF and bead.retry_at is not None:
        waits = bead.retry_at > now
        if waits:
            clock.at("dispatch", bead.retry_at)
        yield GateResult(
            "backoff",
            not waits,
            f"attempt {bead.attempt} failed ({bead.reason}); next attempt at {iso(bead.retry_at)}",
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
        clock.at("dispatch", settled)
        why = f"changed at {iso(since)}; settles at {iso(settled)}"
        yield GateResult("settle", False, why)
    else:
        yield GateResult("settle", True, f"changed {int((now - since).total_seconds())}s ago")


def _changed(bead: Bead) -> datetime:
    return bead.matched_at or bead.since


def time_hold(bead: Bead, policy: Policy, now: datetime, clock: NextDue) -> HoldReason | None:
    since = _changed(bead)
    if bead.phase is not Phase.BACKOFF and (
        since + policy.settle <= now or since > now + policy.settle
    ):
        return None  # Most beads of a long queue end here, so no text is built for them.
    return next(
        (check.hold for check in time_gates(bead, policy, now, clock) if not check.ok), None
    )


def plan_resends(
    state: State, policy: Policy, asked: Candidates, probes: Mapping[str, circuit_breaker.Probe]
) -> Iterator[Decision]:
    """Yield a new claim for each bead of unknown outcome that tries its target."""
    chosen = {probe.bead for probe in probes.values() if probe.resend}
    for bead in asked.unknown:
        rule = policy.rule(bead.rule)
        if rule is not None and bead.id in chosen:
            yield circuit_breaker.plan_resend(bead, rule)


def plan_claims(
    state: State,
    rule: Rule,
    now: datetime,
    asked: Candidates,
    outside: Observations,
    taken: dict[str, int],
    holds: dict[str, HoldReason],
    rules: dict[str, tuple[HoldReason, ...]],
    probes: Mapping[str, circuit_breaker.Probe],
) -> Iterator[Decision]:
    """Yield the claims of one rule.

    Args:
        state: The state at HEAD.
        rule: The rule.
        now: The time of the decision.
        asked: The candidates.
        outside: The observations.
        taken: Target to the number of claims planned so far. Updated.
        holds: Bead to its hold, as in ``Plan``. Updated.
        rules: Rule to its holds, as in ``Plan``. Updated.
        probes: Target to the bead that tries it.
    """
    queue = asked.queues.get(rule.name, ())
    outage = state.outages.get(rule.target)
    only = probes.get(rule.target, circuit_breaker.Probe()).bead
    unwell = circuit_breaker.is_unhealthy(state, rule.target, now)
    capacity = outside.capacity.get(rule.target)
    free = asked.slots.get(rule.name, 0)
    place = 0
    for bead in queue:
        hold = outside.holds.get(bead.id)
        shared: HoldReason | None = None
        if hold is None and outage is not None and bead.id != only:
            hold = shared = circuit_breaker.outage_hold(rule.target, outage, now)
        if hold is None and place >= free:
            hold = shared = HoldReason("max_in_flight", f"{free} slots are free")
        slots = None if capacity is None else capacity.slots
        if hold is None and slots is not None and taken.get(rule.target, 0) >= slots:
            why = (capacity and capacity.why) or f"target {rule.target} accepts {slots} more"
            hold = shared = HoldReason("capacity", why)
        if hold is not None:
            holds[bead.id] = hold
            if shared is not None and shared not in rules.get(rule.name, ()):
                rules[rule.name] = (*rules.get(rule.name, ()), shared)
            continue
        detail = {
            "rank": list(bead.rank),
            "place": place,
            "free": free,
            "slots_used": taken.get(rule.target, 0),
        }
        note = f"auto-dispatcher claimed at {iso(now)}"
        # The note is written with an answer after which an agent runs, or never. Notes must not
        # grow with each try.
        if unwell:
            detail, note = {**detail, "deferred_note": note}, ""
        yield Decision(
            kind=EntryKind.CLAIM,
            bead=bead.id,
            rule=rule.name,
            attempt=bead.attempt + 1,
            cause=bead.cause,
            note=note,
            status=IN_PROGRESS,
            detail=detail,
        )
        taken[rule.target] = taken.get(rule.target, 0) + 1
        place += 1


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
    state: State,
    policy: Policy,
    now: datetime,
    asked: Candidates,
    outside: Observations,
    holds: dict[str, HoldReason],
) -> Iterator[Decision]:
    """Yield the end of attempts that no worker will settle any more.

    ``holds`` is updated with the beads that a lease holds.
    """
    for bead in state.beads.values():
        if bead.phase is Phase.CLAIMED and bead.deadline is not None and bead.deadline <= now:
            why = "its worker recorded no outcome before the deadline"
            yield Decision.of_attempt(EntryKind.OVERDUE, bead)._replace(
                reason=why,
                reason_code=ReasonCode.DEADLINE_PASSED,
                note=f"dispatch outcome unknown ({why}): not sent again until it is known",
                detail={"deadline": bead.deadline.isoformat()},
            )
    for bead in asked.unknown:
        rule = policy.rule(bead.rule)
        if rule is None:
            continue
        if rule.on_unknown == "retry" and bead.id in outside.verdicts:
            continue  # The target can report whether the attempt runs, so silence is no evidence.
        if (hold := held_by_lease(bead, rule, outside, now)) is not None:
            holds[bead.id] = hold
            continue
        capacity, outage = outside.capacity.get(rule.target), state.outages.get(rule.target)
        detail = {"since": bead.since.isoformat()}
        if outage is not None:
            if rule.on_unknown == "retry" or not circuit_breaker.is_doubtful(outage, capacity, now):
                continue  # The bead is sent again to try the target, or settled after the outage.
        elif capacity is not None and capacity.down:
            continue  # An outage begins.
        if outage is None and capacity is not None and capacity.idle:
            yield _retry(
                bead, rule, now, "the service runs nothing", ReasonCode.SERVICE_IDLE, detail
            )
        elif rule.on_unknown == "retry":
            silent = f"no sign of life in {whole_minutes(now - bead.since)}m"
            yield _retry(bead, rule, now, silent, ReasonCode.NO_SIGN_OF_LIFE, detail)
        else:
            waited = whole_minutes(now - bead.since)
            yield Decision.of_attempt(EntryKind.GIVE_UP, bead)._replace(
                status=BLOCKED,
                reason=f"still unknown after {waited}m",
                reason_code=ReasonCode.STILL_UNKNOWN,
                detail=detail,
                note=(
                    f"dispatch outcome still unknown after {waited}m — blocking; set it open to try"
                    " again"
                ),
            )


def _retry(
    bead: Bead, rule: Rule, now: datetime, why: str, code: ReasonCode, detail: Mapping[str, object]
) -> Decision:
    """Return the retry of an attempt that does not run.

    If an outage of the target made the outcome unknown, the attempt doesn't count.
    """
    if not bead.outage:
        return plan_failure(bead, rule, now, why, EntryKind.RETRY, detail, code=code)
    return Decision.of_attempt(EntryKind.RETRY, bead)._replace(
        rule=rule.name,
        status=OPEN,
        reason=why,
        reason_code=code,
        detail={**detail, "uncounted": True, **uncounted_claim(bead)},
    )


def plan_failure(
    bead: Bead,
    rule: Rule,
    now: datetime,
    why: str,
    kind: EntryKind,
    detail: Mapping[str, object],
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
        detail: Further detail of the entry.
        for_good: An unchanged attempt can't succeed.
        jitter: From 0 to 1. Adds up to a quarter of the pause.
        code: The code of the reason.
    """
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
            detail=detail,
        )
    pause = retry_pause(rule, attempt, jitter)
    return Decision.of_attempt(kind, bead)._replace(
        rule=rule.name,
        status=OPEN,
        reason=why,
        reason_code=code,
        note=f"dispatch failed {why}",
        detail={**detail, "retry_at": (now + pause).isoformat()},
    )
