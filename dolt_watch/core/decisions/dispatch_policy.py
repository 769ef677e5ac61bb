"""Decisions of the dispatcher: who may be claimed, and what becomes of attempts that nobody will
settle any more. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
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
from dolt_watch.timestamps import iso, whole_minutes

LONGEST = timedelta(days=366)
"""Nothing waits longer for its next attempt: doubled often enough, any pause would end after the
last date there is.
"""


def rule_gates(state: State, rule: Rule, policy: Policy, now: datetime) -> Iterator[GateResult]:
    """What may stop all beads of a rule, one gate after the other.

    ``free_slots`` asks no further than the first that does.
    """
    # A person's word comes first.
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
        "its target does not take our credential, or is gone (the log says which); mend it, then"
        " `dolt_watch resume`"
    )
    # Due at once: nothing is dispatched, but each tick reports it, since a person must act.
    yield GateResult(
        "stopped",
        not stopped,
        told if stopped else "not stopped",
        IMMEDIATELY if stopped else None,
    )
    # Then what the target says, or does not say.
    outage = state.outages.get(rule.target)
    if outage is not None:
        why = circuit_breaker.outage_hold(rule.target, outage, now).why
        yield GateResult(circuit_breaker.OUTAGE, False, why, outage.next_at)
    else:
        yield GateResult(circuit_breaker.OUTAGE, True, "no outage of its target")
    resting = state.cooldowns.get(rule.target)
    if resting is not None and resting > now:
        why = f"target {rule.target} asked to be left alone until {iso(resting)}"
        yield GateResult("resting", False, why, resting)
    else:
        yield GateResult("resting", True, "not asked to be left alone")
    # Last the rule's own ceilings, which other beads of it fill.
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
        yield GateResult(
            "max_per_hour",
            not full,
            f"{len(recent)} claims in the last hour, the ceiling is {rule.max_per_hour}",
            min(recent) + HOUR if full else None,
        )


def orphaned_pauses(state: State, policy: Policy, now: datetime) -> list[Pause]:
    """Pauses of rules that there are none of (any more): they hold nothing, whatever whoever set
    them thinks.
    """
    return [
        pause
        for pause in active_pauses(state, now)
        if pause.rule and policy.rule(pause.rule) is None
    ]


class Slots(NamedTuple):
    """How many more beads may go under a rule."""

    free: int
    stop: HoldReason | None = None
    """What holds all beads of the rule; None if nothing does."""
    due: datetime | None = None
    """When time alone changes this; None: it does not."""


def free_slots(
    state: State, rule: Rule, policy: Policy, now: datetime, *, ignore_outage: bool = False
) -> Slots:
    """``ignore_outage``: an outage of the target holds nothing, since a bead is to try it."""
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
    """The beads that hold its slots."""
    return [
        bead
        for bead in state.beads.values()
        if bead.rule == rule.name and bead.token and bead.phase in IN_FLIGHT
    ]


def last_hour(state: State, rule: Rule, now: datetime) -> list[datetime]:
    return [at for at in state.claims.get(rule.name, ()) if now - at < HOUR]


def time_gates(bead: Bead, policy: Policy, now: datetime) -> Iterator[GateResult]:
    """What time alone mends, of one waiting bead."""
    if bead.phase is Phase.BACKOFF and bead.retry_at is not None:
        waits = bead.retry_at > now
        yield GateResult(
            "backoff",
            not waits,
            f"attempt {bead.attempt} failed ({bead.reason}); again at {iso(bead.retry_at)}",
            bead.retry_at if waits else None,
        )
    since = _changed(bead)
    settled, settle_by = since + policy.settle, now + policy.settle
    if since > settle_by:  # pulled from a clone whose clock is ahead: it would wait until that date
        yield GateResult(
            "settle", True, f"changed at {iso(since)}, which is still to come: a clock is wrong"
        )
        return
    if settled > now:
        why = f"changed at {iso(since)}; settled at {iso(settled)}"
        yield GateResult("settle", False, why, settled)
    else:
        yield GateResult("settle", True, f"changed {int((now - since).total_seconds())}s ago")


def _changed(bead: Bead) -> datetime:
    return bead.matched_at or bead.since


def time_hold(bead: Bead, policy: Policy, now: datetime) -> GateResult | None:
    """Return the first gate that holds a waiting bead until a later time; None if none does."""
    since = _changed(bead)
    if bead.phase is not Phase.BACKOFF and (
        since + policy.settle <= now or since > now + policy.settle
    ):
        return None  # nearly all of a long queue, so no words are made of it
    return next((check for check in time_gates(bead, policy, now) if not check.ok), None)


def plan_resends(
    state: State, policy: Policy, asked: Candidates, probes: Mapping[str, circuit_breaker.Probe]
) -> Iterator[Decision]:
    """Of each target with an outage the bead whose outcome is unknown, where that is the one to
    try it.
    """
    chosen = {probe.bead for probe in probes.values() if probe.resend}
    for bead in asked.unknown:
        rule = policy.rule(bead.rule)
        if rule is not None and bead.id in chosen:
            yield circuit_breaker.plan_resend(bead, rule)


class ClaimPlan(NamedTuple):
    """The claims of one rule, and what holds the rest of its queue."""

    decisions: tuple[Decision, ...] = ()
    holds: Mapping[str, HoldReason] = EMPTY
    """Bead → why it is held."""
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
    """``used``: claims planned for the rule's target so far, by rules before this one."""
    outage = state.outages.get(rule.target)
    only = probes.get(rule.target, circuit_breaker.Probe()).bead
    # Notes must not grow by each try: the claim's note is written with an answer after which
    # something runs, or not at all.
    deferred = circuit_breaker.is_unhealthy(state, rule.target, now)
    capacity = outside.capacity.get(rule.target)
    slots = None if capacity is None else capacity.slots
    free = asked.slots.get(rule.name, 0)
    decisions: list[Decision] = []
    holds: dict[str, HoldReason] = {}
    shared: dict[HoldReason, None] = {}
    for bead in asked.queues.get(rule.name, ()):
        place = len(decisions)
        # A reason of the bead's own comes before what holds its whole rule.
        if (own := outside.holds.get(bead.id)) is not None:
            holds[bead.id] = own
            continue
        whole: HoldReason | None = None
        if outage is not None and bead.id != only:
            whole = circuit_breaker.outage_hold(rule.target, outage, now)
        elif place >= free:
            whole = HoldReason("max_in_flight", f"{free} may go now")
        elif slots is not None and used + place >= slots:
            why = (capacity and capacity.why) or f"target {rule.target} takes {slots} more"
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
    """``deferred``: the note waits in the entry for an answer after which something runs."""
    note = f"auto-dispatcher claimed at {iso(now)}"
    held_note = note if deferred else ""
    payload = entry_payloads.Claimed(tuple(bead.rank), place, free, used, held_note)
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


WITHHELD = "a report could not write the bead while bd's migration was not committed"


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
                reason=WITHHELD if bead.unwritten else "a note of ours was overwritten",
                reason_code=(
                    ReasonCode.NOTE_WITHHELD if bead.unwritten else ReasonCode.NOTE_OVERWRITTEN
                ),
            )


LOST = "history lost this attempt; written again as the saved state knew it"
REVERTED = (
    "its row went back to an older state while the attempt is under way: an old row was imported;"
    " written again"
)


def plan_restores(state: State) -> Iterator[Decision]:
    """Attempts under way whose row went back: else it would be open, for anybody to take, and no
    reaper could end it.
    """
    for bead in state.beads.values():
        if bead.reverted and bead.phase is not Phase.CLAIMED:
            yield restore(bead, REVERTED, ReasonCode.ROW_REVERTED)


def plan_renames(state: State) -> Iterator[Decision]:
    """Beads with a new id, whose stream does not say yet how far the attempts under the old one
    had come.
    """
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
                reason=f"renamed from {bead.was}: what was begun under that id goes on",
                reason_code=ReasonCode.RENAMED,
                detail=detail.encode(),
            )


def restore(bead: Bead, why: str, code: ReasonCode) -> Decision:
    """A live attempt is written again as the state knows it."""
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
    """Attempts that nobody will settle any more, and those that a lease holds."""
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
        # Evidence that something runs, or may: nothing is decided.
        if rule.on_unknown == "retry" and bead.id in outside.verdicts:
            continue  # its target can tell whether it runs, so silence is no evidence
        if (hold := held_by_lease(bead, rule, outside, now)) is not None:
            holds[bead.id] = hold
            continue
        capacity, outage = outside.capacity.get(rule.target), state.outages.get(rule.target)
        ended = entry_payloads.Ended(since=bead.since)
        # Silence during an outage is the target's, and not the attempt's.
        if outage is not None:
            if rule.on_unknown == "retry" or not circuit_breaker.is_doubtful(outage, capacity, now):
                continue  # sent again to try the target, or settled when that answers again
        elif capacity is not None and capacity.down:
            continue  # an outage begins
        # Only a service that says that it runs nothing proves an end; else the rule says what
        # silence means.
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
    why = "no word from its worker by the deadline"
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
    """It runs nowhere.

    What an outage of its target left unknown does not count against the bead.
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
    """An attempt failed: try again later, or, for the last time, quarantine.

    ``jitter`` from 0 to 1 adds up to a quarter of the pause.
    """
    # Trying again unchanged cannot help, or has not helped often enough: a person edits the bead.
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
    # The jitter keeps beads that failed together from coming back together.
    pause = min(rule.retry_after * 2 ** (min(attempt, 20) - 1) * (1 + jitter / 4), LONGEST)
    return Decision.of_attempt(kind, bead)._replace(
        rule=rule.name,
        status=OPEN,
        reason=why,
        reason_code=code,
        note=f"dispatch failed {why}",
        detail=ended._replace(retry_at=now + pause).encode(),
    )
